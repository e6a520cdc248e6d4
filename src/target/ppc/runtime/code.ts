/** AssemblyScript. Where the translator finds the code at the vCPU's NIP. */
import { HF_SF, HFLAGS, JC, JC_ENTRY, NIP, TLB_GEN } from "../layout";
import { BH_FLAGS, BH_FUNC, BH_HOST, BH_MAP, BH_NEXT, BH_PC, BLOCK_HASH, BLOCK_HASH_SIZE, JC_BITS } from "../../../accel/tcg/map";
import { env } from "./env";
import { fetchHost, fetchPhys, fetchProbe, noteCode } from "./mmu";
import { r32, r64 } from "./state";

// Jump cache entry (accel/tcg/tier0.ts).
const JC_PC: u32 = 0;
const JC_FLAGS: u32 = 8;
const JC_BASE: u32 = 12;
const JC_GEN: u32 = 16;
const JC_BLOCK: u32 = 20;
const JC_FUNC: u32 = 24;

function codeAddress(offset: u32): u64 {
  const ea = r64(NIP) + <u64>offset;
  return (r32(HFLAGS) & HF_SF) != 0 ? ea : ea & 0xffffffff;
}

/** Host address of the code byte at NIP + offset, 0 when it is not in RAM or ROM; raises fetch faults. */
export function codeHost(offset: u32): u32 {
  const ea = codeAddress(offset);
  noteCode(ea);
  return fetchHost(ea);
}

/** Guest physical address of the code byte at NIP + offset; raises fetch faults. */
export function codePhys(offset: u32): f64 {
  return fetchPhys(codeAddress(offset));
}

/** Host address of the code byte at a PC of the current mode, 0 when it cannot be fetched directly; never raises. */
export function codeProbe(pcLow: u32, pcHigh: u32): u32 {
  const pc = (<u64>pcHigh << 32) | <u64>pcLow;
  noteCode(pc);
  return fetchProbe(pc);
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
 * Fills the jump cache entry of NIP from the blocks there are.
 * @returns 0 when the code there has not been translated (or is not in RAM or ROM); raises fetch faults
 */
export function refill(): u32 {
  const host = codeHost(0);
  if (host == 0) return 0;
  const pc = r64(NIP);
  const flags = r32(HFLAGS);
  const pcPage = <u32>(pc >> 12);
  let h = <usize>load<u32>(BLOCK_HASH + (((host ^ (host >> 12) ^ pcPage ^ (pcPage >> 8)) & (BLOCK_HASH_SIZE - 1)) << 2));
  while (h != 0) {
    if (load<u32>(h, BH_HOST) == host && load<u64>(h, BH_PC) == pc && load<u32>(h, BH_FLAGS) == flags) break;
    h = <usize>load<u32>(h, BH_NEXT);
  }
  if (h == 0) return 0;
  let func = load<u32>(h, BH_FUNC);
  if (func != 0) {
    const list = <usize>load<u32>(h, BH_MAP);
    if (list != 0 && !mapped(list)) func = 0;
  }
  const e = env + JC + <usize>((<u32>(pc ^ (pc >> JC_BITS)) & ((1 << JC_BITS) - 1)) * JC_ENTRY);
  store<u64>(e, pc, JC_PC);
  store<u32>(e, flags, JC_FLAGS);
  store<u32>(e, 0, JC_BASE);
  store<u32>(e, load<u32>(env + TLB_GEN + (<usize>(pc >> 63) << 2)), JC_GEN);
  store<u32>(e, <u32>h, JC_BLOCK);
  store<u32>(e, func, JC_FUNC);
  return 1;
}
