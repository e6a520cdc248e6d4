/** AssemblyScript. Where the translator finds the code at the vCPU's RIP. */
import { EVENTS, EV_EXIT, HF_CPL, HF_CS64, HFLAGS, MMU_KERNEL, MMU_USER, RIP, SEG_BASE } from "../layout";
import { CPU_COUNT } from "../../../accel/tcg/map";
import { env } from "./env";
import { fetchHost, fetchPhys, probe } from "./mmu";

/** Linear address `offset` bytes after RIP. */
function codeLinear(offset: u32): u64 {
  const lin = load<u64>(env + SEG_BASE + 8) + load<u64>(env + RIP) + <u64>offset;
  return (load<u32>(env + HFLAGS) & HF_CS64) != 0 ? load<u64>(env + RIP) + <u64>offset : lin & 0xffffffff;
}

/** Host address of the code byte at RIP + offset, 0 when it is not in RAM or ROM; raises fetch faults. */
export function codeHost(offset: u32): u32 {
  return fetchHost(codeLinear(offset));
}

/** Guest physical address of the code byte at RIP + offset; raises fetch faults. */
export function codePhys(offset: u32): f64 {
  return fetchPhys(codeLinear(offset));
}

/** PAUSE: with several vCPUs the turn passes. */
export function h_pause(a: u64, b: u64, imm: u32): u64 {
  if (load<u32>(CPU_COUNT) > 1) store<u32>(env + EVENTS, load<u32>(env + EVENTS) | EV_EXIT);
  return 0;
}

/** Host address of the code byte at a PC of the current mode, 0 when it cannot be fetched directly; never raises. */
export function codeProbe(pcLow: u32, pcHigh: u32): u32 {
  const pc = (<u64>pcHigh << 32) | <u64>pcLow;
  const flags = load<u32>(env + HFLAGS);
  const lin = (flags & HF_CS64) != 0 ? pc : (load<u64>(env + SEG_BASE + 8) + pc) & 0xffffffff;
  const page = probe(lin, 1, (flags & HF_CPL) == 3 ? MMU_USER : MMU_KERNEL, 2);
  return page == 0 ? 0 : page + (<u32>lin & 0xfff);
}
