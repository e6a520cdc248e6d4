/**
 * AssemblyScript. Read-modify-write instructions with LOCK (and XCHG), and compare-and-exchange of 8 and 16 bytes: atomic on
 * aligned RAM, plain on devices and across alignment. Source: Intel SDM vol 3 8.1.
 * Not emulated: bus locks across alignment; CMPXCHG16B is two 8-byte accesses.
 */
import { setZf } from "./eflags";
import { raise } from "./env";
import { atomicHost, atomicPrepare, prepareStore, slowLoad, slowStore } from "./mmu";
import { dataMmu, gpr, RAX, RBX, RCX, RDX, setGpr, trunc, X_GP } from "./state";

const A_ADD: u32 = 0;
const A_SUB: u32 = 1;
const A_AND: u32 = 2;
const A_OR: u32 = 3;
const A_XOR: u32 = 4;
const A_XCHG: u32 = 5;

function combine(op: u32, x: u64, y: u64): u64 {
  switch (op) {
    case A_ADD:
      return x + y;
    case A_SUB:
      return x - y;
    case A_AND:
      return x & y;
    case A_OR:
      return x | y;
    case A_XOR:
      return x ^ y;
  }
  return y;
}

/** Replaces size bytes at a host address if they equal `expected`. @returns what was there */
function swap(h: usize, expected: u64, value: u64, size: u32): u64 {
  if (size == 0) return <u64>atomic.cmpxchg<u8>(h, <u8>expected, <u8>value);
  if (size == 1) return <u64>atomic.cmpxchg<u16>(h, <u16>expected, <u16>value);
  if (size == 2) return <u64>atomic.cmpxchg<u32>(h, <u32>expected, <u32>value);
  return atomic.cmpxchg<u64>(h, expected, value);
}

function hostLoad(h: usize, size: u32): u64 {
  return size == 0
    ? <u64>atomic.load<u8>(h)
    : size == 1
      ? <u64>atomic.load<u16>(h)
      : size == 2
        ? <u64>atomic.load<u32>(h)
        : atomic.load<u64>(h);
}

function modify(op: u32, at: u64, y: u64, size: u32): u64 {
  const mmu = dataMmu();
  const h = atomicHost(at, size, mmu);
  if (h == 0) {
    const x = slowLoad(at, size, mmu);
    slowStore(at, combine(op, x, y), size, mmu);
    return x;
  }
  atomicPrepare(h, 1 << size);
  let x = hostLoad(h, size);
  while (true) {
    const seen = swap(h, x, trunc(combine(op, x, y), size), size);
    if (seen == x) break;
    x = seen;
  }
  return x;
}

export function h_lock_add(a: u64, b: u64, imm: u32): u64 {
  return modify(A_ADD, a, b, imm & 3);
}
export function h_lock_sub(a: u64, b: u64, imm: u32): u64 {
  return modify(A_SUB, a, b, imm & 3);
}
export function h_lock_and(a: u64, b: u64, imm: u32): u64 {
  return modify(A_AND, a, b, imm & 3);
}
export function h_lock_or(a: u64, b: u64, imm: u32): u64 {
  return modify(A_OR, a, b, imm & 3);
}
export function h_lock_xor(a: u64, b: u64, imm: u32): u64 {
  return modify(A_XOR, a, b, imm & 3);
}
export function h_xadd(a: u64, b: u64, imm: u32): u64 {
  return modify(A_ADD, a, b, imm & 3);
}
export function h_xchg(a: u64, b: u64, imm: u32): u64 {
  return modify(A_XCHG, a, b, imm & 3);
}

/** Compares with rAX; stores b when equal, else what was there (a locked write is always done). @returns what was there */
export function h_cmpxchg(a: u64, b: u64, imm: u32): u64 {
  const size = imm & 3;
  const mmu = dataMmu();
  const expected = trunc(gpr(RAX), size);
  const h = atomicHost(a, size, mmu);
  if (h == 0) {
    const x = slowLoad(a, size, mmu);
    slowStore(a, x == expected ? b : x, size, mmu);
    return x;
  }
  atomicPrepare(h, 1 << size);
  return swap(h, expected, trunc(b, size), size);
}

export function h_cmpxchg8b(a: u64, b: u64, imm: u32): u64 {
  const mmu = dataMmu();
  const expected = (gpr(RDX) << 32) | (gpr(RAX) & 0xffffffff);
  const value = (gpr(RCX) << 32) | (gpr(RBX) & 0xffffffff);
  const h = atomicHost(a, 3, mmu);
  let x: u64;
  if (h == 0) {
    x = slowLoad(a, 3, mmu);
    slowStore(a, x == expected ? value : x, 3, mmu);
  } else {
    atomicPrepare(h, 8);
    x = swap(h, expected, value, 3);
  }
  setZf(x == expected);
  if (x != expected) {
    setGpr(RAX, x & 0xffffffff);
    setGpr(RDX, x >> 32);
  }
  return 0;
}

export function h_cmpxchg16b(a: u64, b: u64, imm: u32): u64 {
  if ((a & 15) != 0) raise(X_GP, 0);
  const mmu = dataMmu();
  prepareStore(a, 16, mmu);
  const low = slowLoad(a, 3, mmu);
  const high = slowLoad(a + 8, 3, mmu);
  const same = low == gpr(RAX) && high == gpr(RDX);
  slowStore(a, same ? gpr(RBX) : low, 3, mmu);
  slowStore(a + 8, same ? gpr(RCX) : high, 3, mmu);
  setZf(same);
  if (!same) {
    setGpr(RAX, low);
    setGpr(RDX, high);
  }
  return 0;
}
