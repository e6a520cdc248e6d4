/** AssemblyScript. Where the translator finds the code at the vCPU's RIP. */
import { CODE_FILTER, EVENTS, EV_EXIT, HF_CPL, HF_CS64, HFLAGS, JC, JC_BLOCK, JC_CSBASE, JC_ENTRY, JC_FUNC, JC_GEN, JC_HFLAGS, JC_RIP, MMU_KERNEL, MMU_USER, RIP, SEG_BASE, TLB_GEN } from "../layout";
import {
  BH_BASE, BH_FLAGS, BH_FUNC, BH_HOST, BH_HOST2, BH_MAP, BH_NEXT, BH_PC, BLOCK_HASH, BLOCK_HASH_SIZE, CPU_COUNT, JC_BITS,
} from "../../../accel/tcg/map";
import { env } from "./env";
import { noteUpperCode, fetchHost, fetchPhys, probe, upperHalf } from "./mmu";

/** Linear address `offset` bytes after RIP. */
function codeLinear(offset: u32): u64 {
  const lin = load<u64>(env + SEG_BASE + 8) + load<u64>(env + RIP) + <u64>offset;
  return (load<u32>(env + HFLAGS) & HF_CS64) != 0 ? load<u64>(env + RIP) + <u64>offset : lin & 0xffffffff;
}

/** Notes that look-ups of code depend on a page. */
function noteCode(linear: u64): void {
  const page = <u32>(linear >> 12) & 4095;
  const at = env + CODE_FILTER + <usize>(page >> 3);
  store<u8>(at, load<u8>(at) | <u8>(<u32>1 << (page & 7)));
}

/** Host address of the code byte at RIP + offset, 0 when it is not in RAM or ROM; raises fetch faults. */
export function codeHost(offset: u32): u32 {
  const lin = codeLinear(offset);
  noteCode(lin);
  const host = fetchHost(lin);
  noteUpperCode(lin, load<u64>(env + RIP));
  return host;
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
  noteCode(lin);
  const page = probe(lin, 1, (flags & HF_CPL) == 3 ? MMU_USER : MMU_KERNEL, 2);
  if (page != 0) noteUpperCode(lin, pc);
  return page == 0 ? 0 : page + (<u32>lin & 0xfff);
}

/** Whether every place a region relies on is still mapped to the same code. */
function mapped(list: usize): bool {
  const n = load<u32>(list);
  for (let i: u32 = 0; i < n; i++) {
    const e = list + 4 + i * 12;
    if (codeProbe(load<u32>(e), load<u32>(e, 4)) != load<u32>(e, 8)) return false;
  }
  return true;
}

/**
 * Fills the jump cache entry of RIP from the blocks there are.
 * @returns 0 when the code there has not been translated (or is not in RAM or ROM); raises fetch faults
 */
export function refill(): u32 {
  const host = codeHost(0);
  if (host == 0) return 0;
  const rip = load<u64>(env + RIP);
  const flags = load<u32>(env + HFLAGS);
  const base = load<u32>(env + SEG_BASE + 8);
  // The PC's page belongs to the key: one program's code lies at another address in every process.
  const pcPage = <u32>(rip >> 12);
  let h = <usize>load<u32>(BLOCK_HASH + (((host ^ (host >> 12) ^ pcPage ^ (pcPage >> 8)) & (BLOCK_HASH_SIZE - 1)) << 2));
  while (h != 0) {
    if (load<u32>(h, BH_HOST) == host && load<u64>(h, BH_PC) == rip && load<u32>(h, BH_FLAGS) == flags && load<u32>(h, BH_BASE) == base) {
      const second = load<u32>(h, BH_HOST2);
      if (second == 0 || codeHost(4096 - (host & 4095)) == second) break;
    }
    h = <usize>load<u32>(h, BH_NEXT);
  }
  if (h == 0) return 0;
  let func = load<u32>(h, BH_FUNC);
  if (func != 0) {
    const list = <usize>load<u32>(h, BH_MAP);
    if (list != 0 && !mapped(list)) func = 0;
  }
  const e = env + JC + <usize>((<u32>(rip ^ (rip >> JC_BITS)) & ((1 << JC_BITS) - 1)) * JC_ENTRY);
  store<u64>(e, rip, JC_RIP);
  store<u32>(e, flags, JC_HFLAGS);
  store<u32>(e, base, JC_CSBASE);
  store<u32>(e, load<u32>(env + TLB_GEN + (<usize>upperHalf(rip) << 2)), JC_GEN);
  store<u32>(e, <u32>h, JC_BLOCK);
  store<u32>(e, func, JC_FUNC);
  return 1;
}
