/** AssemblyScript. Load and store string, atomic memory operations (Power ISA 3.0B I 3.3.7, II 4.5). */
import { env, raise } from "./env";
import { slowLoad, slowStore } from "./mmu";
import { gpr, setGpr } from "./state";
import { FAULT_ADDR, V_DATA_STORAGE, FAULT_STATUS } from "../layout";

// @ts-ignore: decorator
@inline
function address(ea: u64, imm: u32): u64 {
  return (imm & 0x400) != 0 ? ea & 0xffffffff : ea;
}

/** a = address, b = bytes; imm: first register | MMU index << 8 | 32-bit mode << 10. Big-endian. */
export function h_lsw(a: u64, b: u64, imm: u32): u64 {
  const n = <u32>b & 0x7f;
  const mmu = (imm >> 8) & 3;
  // Everything is read before a register changes.
  for (let i: u32 = 0; i < n; i++) store<u8>(env + BUFFER + i, <u8>slowLoad(address(a + i, imm), 0, mmu));
  let r = imm & 31;
  for (let i: u32 = 0; i < n; i += 4) {
    let v: u64 = 0;
    for (let k: u32 = 0; k < 4; k++) v = (v << 8) | (i + k < n ? <u64>load<u8>(env + BUFFER + i + k) : 0);
    setGpr(r, v);
    r = (r + 1) & 31;
  }
  return 0;
}

export function h_stsw(a: u64, b: u64, imm: u32): u64 {
  const n = <u32>b & 0x7f;
  const mmu = (imm >> 8) & 3;
  let r = imm & 31;
  for (let i: u32 = 0; i < n; i += 4) {
    const v = gpr(r);
    for (let k: u32 = 0; k < 4 && i + k < n; k++) slowStore(address(a + i + k, imm), (v >> (24 - (k << 3))) & 255, 0, mmu);
    r = (r + 1) & 31;
  }
  return 0;
}
/** 128 bytes of the translator's temporaries, which are free in a helper. */
const BUFFER: usize = 0x1f00;

// --- atomic memory operations ---
const LITTLE: u32 = 0x800;

function get(at: u64, imm: u32): u64 {
  const v = slowLoad(at, imm >> 12 == 4 ? 2 : 3, (imm >> 8) & 3);
  if ((imm & LITTLE) != 0) return v;
  return imm >> 12 == 4 ? <u64>bswap<u32>(<u32>v) : bswap<u64>(v);
}

function put(at: u64, v: u64, imm: u32): void {
  if ((imm & LITTLE) == 0) v = imm >> 12 == 4 ? <u64>bswap<u32>(<u32>v) : bswap<u64>(v);
  slowStore(at, v, imm >> 12 == 4 ? 2 : 3, (imm >> 8) & 3);
}

function signed(v: u64, imm: u32): i64 {
  return imm >> 12 == 4 ? <i64>(<i32>v) : <i64>v;
}

function invalid(at: u64): void {
  store<u64>(env + FAULT_ADDR, at);
  store<u64>(env + FAULT_STATUS, 0x04000000);
  raise(V_DATA_STORAGE, 0);
}

/** a = address, b = number of RT; imm: function | MMU index << 8 | little-endian << 11 | bytes << 12. */
export function h_lat(a: u64, b: u64, imm: u32): u64 {
  const rt = <u32>b;
  const size: u64 = imm >> 12;
  const mask: u64 = size == 4 ? 0xffffffff : <u64>-1;
  const x = gpr((rt + 1) & 31) & mask;
  const f = imm & 31;
  if (f >= 24) {
    // Compare with the neighbour: increment (decrement) bounded, equal.
    const other = get(f == 28 ? a - size : a + size, imm);
    const here = get(a, imm);
    const go = f == 24 || f == 28 ? here != other : here == other;
    if (f != 24 && f != 25 && f != 28) invalid(a);
    if (go) put(a, (f == 28 ? here - 1 : here + 1) & mask, imm);
    setGpr(rt, go ? here : <u64>1 << (size * 8 - 1));
    return 0;
  }
  const old = get(a, imm);
  let next: u64 = 0;
  switch (f) {
    case 0: next = old + x; break;
    case 1: next = old ^ x; break;
    case 2: next = old | x; break;
    case 3: next = old & x; break;
    case 4: next = old > x ? old : x; break;
    case 5: next = signed(old, imm) > signed(x, imm) ? old : x; break;
    case 6: next = old < x ? old : x; break;
    case 7: next = signed(old, imm) < signed(x, imm) ? old : x; break;
    case 8: next = x; break;
    case 16: next = old != x ? gpr((rt + 2) & 31) : old; break;
    default: invalid(a);
  }
  put(a, next & mask, imm);
  setGpr(rt, old);
  return 0;
}

/** a = address, b = RS. */
export function h_stat(a: u64, b: u64, imm: u32): u64 {
  const size: u64 = imm >> 12;
  const mask: u64 = size == 4 ? 0xffffffff : <u64>-1;
  const x = b & mask;
  const old = get(a, imm);
  let next: u64 = old;
  switch (imm & 31) {
    case 0: next = old + x; break;
    case 1: next = old ^ x; break;
    case 2: next = old | x; break;
    case 3: next = old & x; break;
    case 4: next = old > x ? old : x; break;
    case 5: next = signed(old, imm) > signed(x, imm) ? old : x; break;
    case 6: next = old < x ? old : x; break;
    case 7: next = signed(old, imm) < signed(x, imm) ? old : x; break;
    case 24: {
      const other = get(a + size, imm);
      if (old == other) {
        put(a, x, imm);
        put(a + size, x, imm);
      }
      return 0;
    }
    default: invalid(a);
  }
  put(a, next & mask, imm);
  return 0;
}
