/**
 * AssemblyScript. The software TLB of layout.ts and guest memory access by linear address: slow paths of loads and stores,
 * what the translator and both tiers ask for, flushes.
 * Not emulated: alignment checks (#AC), PCID tags (CR3 writes flush), memory types.
 */
import {
  CODE_FILTER, CODE_FILTER_SIZE, CR2, ENV_SIZE, FAULT_ADDR, GLOBAL_SEEN, HF_CS64, HFLAGS, LARGE_SEEN, MMU_KERNEL, MMU_USER,
  TAG_CODE, TAG_INVALID, TAG_SLOW, TLB, TLB_BITS, TLB_ENTRY, TLB_EXEC, TLB_GEN, TLB_HOST, TLB_MMU_SIZE, TLB_MODES, TLB_PHYS,
  TLB_LOG, TLB_LOG_COUNT, TLB_LOG_SIZE, TLB_READ, TLB_USED, TLB_WRITE, UPPER_LOCAL,
} from "../layout";
import { CPU_COUNT, ENVS as ENVS_AT, MAP_KIND, MAP_MMIO, MAP_RAM, MAX_CPUS as MAX_CPUS_N } from "../../../accel/tcg/map";
import { codeWrite, env, raise } from "./env";
import { cpl, r32, w32, w64, X_GP, X_PF, X_SS } from "./state";
import { holdsCode, hostLoad, hostStore, mapEntry, mmioRead, mmioWrite, setHoldsCode } from "./phys";
import { ACC_EXEC, ACC_READ, ACC_WRITE, NOT_CANONICAL, walk, walkGlobal, walkLarge, walkPhys, walkProt } from "./page-walk";

const ENVS: usize = ENVS_AT;
const MAX_CPUS: u32 = MAX_CPUS_N;
const MODES: u32 = TLB_MODES;

/** Added to an MMU index: a non-canonical address is #SS(0). */
export const MMU_STACK: u32 = 4;

// In TLB_PHYS, above the page number.
const PHYS_GLOBAL: u32 = 0x80000000;
const PHYS_LARGE: u32 = 0x40000000;
const PHYS_PAGE: u32 = 0x0fffffff;

// @ts-ignore: decorator
@inline
function entryOf(linear: u64, mmu: u32): usize {
  return env + TLB + <usize>(mmu * TLB_MMU_SIZE) + (<usize>(<u32>(linear >> 12) & ((1 << TLB_BITS) - 1)) << 5);
}

// @ts-ignore: decorator
@inline
function half(linear: u64): u32 {
  return <i64>linear < 0 ? 2 : 1;
}

/** Notes an entry that the next flush must drop. */
function logFill(e: usize): void {
  const n = r32(TLB_LOG_COUNT);
  if (n > <u32>TLB_LOG_SIZE) return;
  if (n < <u32>TLB_LOG_SIZE) store<u16>(env + TLB_LOG + <usize>(n << 1), <u16>((e - env - TLB) >> 5));
  w32(TLB_LOG_COUNT, n + 1);
}

/** @returns the walk's result: -1 = filled */
function fill(linear: u64, mmu: u32, access: u32): i32 {
  const code = walk(linear, access, mmu, false);
  if (code >= 0) return code;
  const e = entryOf(linear, mmu);
  const page = linear & ~0xfff;
  const m = mapEntry(walkPhys);
  const kind = m & MAP_KIND;
  const host = m & ~0xfff;
  const slow: u64 = kind == MAP_MMIO ? TAG_SLOW : 0;
  let number = <u32>(walkPhys >> 12) & PHYS_PAGE;
  if (walkGlobal) {
    number |= PHYS_GLOBAL;
    w32(GLOBAL_SEEN, 1);
  }
  if (walkLarge) {
    number |= PHYS_LARGE;
    w32(LARGE_SEEN, r32(LARGE_SEEN) | half(linear));
  }
  let writeSlow: u64 = slow;
  if (kind == MAP_RAM) {
    if (holdsCode(host)) writeSlow = TAG_CODE;
  } else writeSlow = TAG_SLOW;
  w32(TLB_USED, r32(TLB_USED) | (1 << mmu));
  if (!walkGlobal) logFill(e);
  store<u32>(e + TLB_HOST, host);
  store<u32>(e + TLB_PHYS, number);
  store<u64>(e + TLB_READ, (walkProt & 1) != 0 ? page | slow : <u64>-1);
  store<u64>(e + TLB_WRITE, (walkProt & 2) != 0 ? page | writeSlow : <u64>-1);
  store<u64>(e + TLB_EXEC, (walkProt & 4) != 0 ? page | slow : <u64>-1);
  return -1;
}

/** Fills the TLB entry of an address. @returns the entry's address; raises #PF, #GP or #SS */
export function tlbFill(linear: u64, mmu: u32, access: u32): u32 {
  const code = fill(linear, mmu & 3, access);
  if (code >= 0) {
    store<u64>(env + FAULT_ADDR, linear);
    if (code == NOT_CANONICAL) raise((mmu & MMU_STACK) != 0 ? X_SS : X_GP, 0);
    w64(CR2, linear);
    raise(X_PF, code);
  }
  return <u32>entryOf(linear, mmu & 3);
}

/** The entry that translates an address for an access, filled when it was not there. */
// @ts-ignore: decorator
@inline
function lookup(linear: u64, mmu: u32, access: u32): usize {
  const e = entryOf(linear, mmu & 3);
  const tag = load<u64>(e + (access << 3));
  if ((tag & ~(<u64>0xfff ^ TAG_INVALID)) == (linear & ~0xfff)) return e;
  return <usize>tlbFill(linear, mmu, access);
}

// @ts-ignore: decorator
@inline
function physOf(e: usize, linear: u64): u64 {
  return (<u64>(load<u32>(e + TLB_PHYS) & PHYS_PAGE) << 12) | (linear & 0xfff);
}

/** The page after an address, with the wrap at 4 GiB outside 64-bit code. */
function nextPage(linear: u64): u64 {
  const next = (linear & ~0xfff) + 0x1000;
  return linear <= 0xffffffff && (load<u32>(env + HFLAGS) & HF_CS64) == 0 ? next & 0xffffffff : next;
}

/** One load that does not cross a page, its entry found. */
function loadVia(e: usize, linear: u64, size: u32, access: u32): u64 {
  if ((load<u64>(e + (access << 3)) & TAG_SLOW) != 0) return mmioRead(physOf(e, linear), 1 << size);
  return hostLoad(<usize>(load<u32>(e + TLB_HOST) + (<u32>linear & 0xfff)), size);
}

function storeVia(e: usize, linear: u64, value: u64, size: u32): void {
  const tag = load<u64>(e + TLB_WRITE);
  if ((tag & TAG_SLOW) != 0) {
    mmioWrite(physOf(e, linear), 1 << size, value);
    return;
  }
  const h = <usize>(load<u32>(e + TLB_HOST) + (<u32>linear & 0xfff));
  // Before the store: the host may restart the instruction when it overwrites the block it is part of.
  if ((tag & TAG_CODE) != 0) codeStore(e, h, 1 << size);
  hostStore(h, value, size);
}

/** A store into a page with translated code is about to be done. */
function codeStore(e: usize, h: usize, bytes: u32): void {
  codeWrite(<u32>h, bytes);
  if (!holdsCode(h)) store<u64>(e + TLB_WRITE, load<u64>(e + TLB_WRITE) & ~(<u64>TAG_CODE));
}

function loadAs(linear: u64, size: u32, mmu: u32, access: u32): u64 {
  const bytes: u32 = 1 << size;
  if ((<u32>linear & 0xfff) + bytes <= 0x1000) return loadVia(lookup(linear, mmu, access), linear, size, access);
  // Both pages first: a device must not see half an access that then faults.
  const second = nextPage(linear);
  lookup(linear, mmu, access);
  lookup(second, mmu, access);
  const first: u32 = 0x1000 - (<u32>linear & 0xfff);
  let value: u64 = 0;
  for (let i: u32 = 0; i < bytes; i++) {
    const at = i < first ? linear + i : second + (i - first);
    value |= loadVia(lookup(at, mmu, access), at, 0, access) << (i << 3);
  }
  return value;
}

/** Guest load of 1 << size bytes; raises. */
export function slowLoad(linear: u64, size: u32, mmu: u32): u64 {
  return loadAs(linear, size, mmu, ACC_READ);
}

/** Guest store of 1 << size bytes; raises before anything is stored. */
export function slowStore(linear: u64, value: u64, size: u32, mmu: u32): void {
  const bytes: u32 = 1 << size;
  if ((<u32>linear & 0xfff) + bytes <= 0x1000) {
    storeVia(lookup(linear, mmu, ACC_WRITE), linear, value, size);
    return;
  }
  const second = nextPage(linear);
  const first: u32 = 0x1000 - (<u32>linear & 0xfff);
  prepareStore(linear, bytes, mmu);
  for (let i: u32 = 0; i < bytes; i++) {
    const at = i < first ? linear + i : second + (i - first);
    storeVia(lookup(at, mmu, ACC_WRITE), at, value >> (i << 3), 0);
  }
}

export function ld8(linear: u64, mmu: u32): u64 {
  return loadVia(lookup(linear, mmu, ACC_READ), linear, 0, ACC_READ);
}
export function ld16(linear: u64, mmu: u32): u64 {
  return loadAs(linear, 1, mmu, ACC_READ);
}
export function ld32(linear: u64, mmu: u32): u64 {
  return loadAs(linear, 2, mmu, ACC_READ);
}
export function ld64(linear: u64, mmu: u32): u64 {
  return loadAs(linear, 3, mmu, ACC_READ);
}
export function ldx8(linear: u64, mmu: u32): u64 {
  return loadAs(linear, 0, mmu, ACC_EXEC);
}
export function ldx16(linear: u64, mmu: u32): u64 {
  return loadAs(linear, 1, mmu, ACC_EXEC);
}
export function ldx32(linear: u64, mmu: u32): u64 {
  return loadAs(linear, 2, mmu, ACC_EXEC);
}
export function ldx64(linear: u64, mmu: u32): u64 {
  return loadAs(linear, 3, mmu, ACC_EXEC);
}
export function st8(linear: u64, value: u64, mmu: u32): void {
  storeVia(lookup(linear, mmu, ACC_WRITE), linear, value, 0);
}
export function st16(linear: u64, value: u64, mmu: u32): void {
  slowStore(linear, value, 1, mmu);
}
export function st32(linear: u64, value: u64, mmu: u32): void {
  slowStore(linear, value, 2, mmu);
}
export function st64(linear: u64, value: u64, mmu: u32): void {
  slowStore(linear, value, 3, mmu);
}

function prepareIn(linear: u64, bytes: u32, mmu: u32): void {
  const e = lookup(linear, mmu, ACC_WRITE);
  if ((load<u64>(e + TLB_WRITE) & (TAG_CODE | TAG_SLOW)) == TAG_CODE) {
    codeStore(e, <usize>(load<u32>(e + TLB_HOST) + (<u32>linear & 0xfff)), bytes);
  }
}

/** What a store of at most a page can raise or unwind for, done before it: faults of both pages, translated code. */
export function prepareStore(linear: u64, bytes: u32, mmu: u32): void {
  const first: u32 = 0x1000 - (<u32>linear & 0xfff);
  if (bytes <= first) {
    prepareIn(linear, bytes, mmu);
    return;
  }
  const second = nextPage(linear);
  lookup(linear, mmu, ACC_WRITE);
  lookup(second, mmu, ACC_WRITE);
  prepareIn(linear, first, mmu);
  prepareIn(second, bytes - first, mmu);
}

/** Raises unless all of [linear, linear + bytes) may be accessed; bytes at most a page. */
export function checkAccess(linear: u64, bytes: u32, mmu: u32, access: u32): void {
  lookup(linear, mmu, access);
  if ((<u32>linear & 0xfff) + bytes > 0x1000) lookup(nextPage(linear), mmu, access);
}

/**
 * @returns host address of the page when [linear, linear + bytes) lies within it and can be accessed directly, else 0. Sets
 * accessed and dirty bits; never raises, calls no device.
 */
export function probe(linear: u64, bytes: u32, mmu: u32, access: u32): u32 {
  if ((<u32>linear & 0xfff) + bytes > 0x1000) return 0;
  const e = entryOf(linear, mmu & 3);
  const page = linear & ~0xfff;
  let tag = load<u64>(e + (access << 3));
  if (tag == page) return load<u32>(e + TLB_HOST);
  if ((tag & ~(<u64>0xfff ^ TAG_INVALID)) == page) return 0;
  if (fill(linear, mmu & 3, access) >= 0) return 0;
  tag = load<u64>(e + (access << 3));
  return tag == page ? load<u32>(e + TLB_HOST) : 0;
}

export function probeWrite(linear: u64, bytes: u32, mmu: u32): u32 {
  return probe(linear, bytes, mmu, ACC_WRITE);
}

/**
 * For bulk work: host address of the byte when the page can be accessed directly, else 0; raises faults.
 */
export function direct(linear: u64, mmu: u32, access: u32): usize {
  const e = lookup(linear, mmu, access);
  if (load<u64>(e + (access << 3)) != (linear & ~0xfff)) return 0;
  return <usize>(load<u32>(e + TLB_HOST) + (<u32>linear & 0xfff));
}

/** Host address of [linear, linear + 1 << size) in RAM, aligned, code pages included, for atomic work; else 0. Raises. */
export function atomicHost(linear: u64, size: u32, mmu: u32): usize {
  if ((<u32>linear & ((1 << size) - 1)) != 0) return 0;
  const e = lookup(linear, mmu, ACC_WRITE);
  if ((load<u64>(e + TLB_WRITE) & TAG_SLOW) != 0) return 0;
  return <usize>(load<u32>(e + TLB_HOST) + (<u32>linear & 0xfff));
}

/** Before a store to atomicHost's address. */
export function atomicPrepare(h: usize, bytes: u32): void {
  if (holdsCode(h)) codeWrite(<u32>h, bytes);
}

/** Guest physical address of an instruction byte; raises. */
export function fetchPhys(linear: u64): f64 {
  return <f64>physOf(lookup(linear, cpl() == 3 ? MMU_USER : MMU_KERNEL, ACC_EXEC), linear);
}

/** Host address of an instruction byte, 0 when it is not in RAM or ROM; raises. */
export function fetchHost(linear: u64): u32 {
  const e = lookup(linear, cpl() == 3 ? MMU_USER : MMU_KERNEL, ACC_EXEC);
  if ((load<u64>(e + TLB_EXEC) & TAG_SLOW) != 0) return 0;
  return load<u32>(e + TLB_HOST) + (<u32>linear & 0xfff);
}

/** Translation for a debugger: no rights, no A/D, no faults. @returns the physical address or -1 */
export function debugPhys(linear: u64): f64 {
  if (walk(linear, ACC_READ, MMU_KERNEL, true) >= 0) return -1;
  return <f64>(walkPhys | (linear & 0xfff));
}

function bumpGen(): void {
  w32(TLB_GEN, r32(TLB_GEN) + 1);
  w32(TLB_GEN + 4, r32(TLB_GEN + 4) + 1);
  w32(UPPER_LOCAL, 0);
  memory.fill(env + CODE_FILTER, 0, CODE_FILTER_SIZE);
}

/** The mapping of one page with code is gone. Outside 64-bit code a PC need not lie in the half its linear address does. */
function bumpHalf(linear: u64): void {
  if ((r32(HFLAGS) & HF_CS64) == 0) {
    bumpGen();
    return;
  }
  const at: u32 = TLB_GEN + (upperHalf(linear) << 2);
  w32(at, r32(at) + 1);
}

/** Which generation a PC's look-ups go by: kernels live in the upper half, 32-bit ones in the fourth GiB (EnvLayout.upperGib). */
export function upperHalf(pc: u64): u32 {
  return <u32>(pc >> 63) | <u32>(pc >> 30 == 3);
}

/** Code was fetched at an address: look-ups above survive a change of CR3 only if their pages are global. */
export function noteUpperCode(linear: u64, pc: u64): void {
  if (upperHalf(pc) == 0) return;
  const e = entryOf(linear, (r32(HFLAGS) & 3) == 3 ? MMU_USER : MMU_KERNEL);
  if ((load<u32>(e + TLB_PHYS) & PHYS_GLOBAL) == 0) w32(UPPER_LOCAL, 1);
}

/** Forgets translations; with keepGlobal those of global pages stay. */
export function flushTlb(keepGlobal: u32): void {
  const used = r32(TLB_USED);
  const keep = keepGlobal != 0 && r32(GLOBAL_SEEN) != 0;
  const logged = r32(TLB_LOG_COUNT);
  w32(TLB_LOG_COUNT, 0);
  if (keep && r32(UPPER_LOCAL) == 0) w32(TLB_GEN, r32(TLB_GEN) + 1);
  else bumpGen();
  if (keep && logged <= <u32>TLB_LOG_SIZE) {
    for (let i: u32 = 0; i < logged; i++) {
      const e = env + TLB + (<usize>load<u16>(env + TLB_LOG + <usize>(i << 1)) << 5);
      if ((load<u32>(e + TLB_PHYS) & PHYS_GLOBAL) == 0) invalidate(e);
    }
    return;
  }
  for (let m: u32 = 0; m < MODES; m++) {
    if (((used >> m) & 1) == 0) continue;
    const start = env + TLB + <usize>(m * TLB_MMU_SIZE);
    if (!keep) {
      memory.fill(start, 0xff, TLB_MMU_SIZE);
      continue;
    }
    for (let e = start; e < start + TLB_MMU_SIZE; e += TLB_ENTRY) {
      if ((load<u32>(e + TLB_PHYS) & PHYS_GLOBAL) == 0) invalidate(e);
    }
  }
  if (keep) return;
  w32(TLB_USED, 0);
  w32(LARGE_SEEN, 0);
  w32(GLOBAL_SEEN, 0);
}

// @ts-ignore: decorator
@inline
function invalidate(e: usize): void {
  store<u64>(e + TLB_READ, <u64>-1);
  store<u64>(e + TLB_WRITE, <u64>-1);
  store<u64>(e + TLB_EXEC, <u64>-1);
}

/** Forgets one page, and all pieces of large pages near it. */
export function invlpg(linear: u64): void {
  // Cached look-ups of code depend on this page only if code was fetched from it.
  const page = <u32>(linear >> 12) & 4095;
  if ((load<u8>(env + CODE_FILTER + (page >> 3)) & (1 << (page & 7))) != 0) bumpHalf(linear);
  for (let m: u32 = 0; m < MODES; m++) invalidate(entryOf(linear, m));
  if ((r32(LARGE_SEEN) & half(linear)) == 0) return;
  const end = env + TLB + TLB_MMU_SIZE * TLB_MODES;
  for (let e = env + TLB; e < end; e += TLB_ENTRY) {
    if ((load<u32>(e + TLB_PHYS) & PHYS_LARGE) == 0) continue;
    const tag = load<u64>(e + TLB_READ) & load<u64>(e + TLB_WRITE) & load<u64>(e + TLB_EXEC);
    if (((tag ^ linear) >> 30) != 0) continue;
    if ((load<u64>(e + TLB_EXEC) & TAG_INVALID) == 0) bumpHalf(linear);
    invalidate(e);
  }
}

function cpuCount(): u32 {
  const n = load<u32>(CPU_COUNT);
  return n == 0 ? 1 : n > MAX_CPUS ? MAX_CPUS : n;
}

/** Forgets everything of every vCPU: the physical map has changed. */
export function flushTlbAll(): void {
  for (let i: u32 = 0; i < cpuCount(); i++) flushCpu(ENVS + i * ENV_SIZE);
  if (env < ENVS || env >= ENVS + cpuCount() * ENV_SIZE) flushCpu(env);
}

function flushCpu(base: usize): void {
  memory.fill(base + TLB, 0xff, TLB_MMU_SIZE * TLB_MODES);
  store<u32>(base + TLB_GEN, load<u32>(base + TLB_GEN) + 1);
    store<u32>(base + TLB_GEN + 4, load<u32>(base + TLB_GEN + 4) + 1);
    store<u32>(base + TLB_LOG_COUNT, TLB_LOG_SIZE + 1);
}

/** Marks a host page as holding translated code; stores to it take the slow path from now on, on every vCPU. */
export function protectCode(hostPage: u32): void {
  hostPage &= ~0xfff;
  if (holdsCode(hostPage)) return;
  setHoldsCode(hostPage, 1);
  retag(hostPage, TAG_CODE);
}

/** The page holds no code any more. */
export function unprotectCode(hostPage: u32): void {
  hostPage &= ~0xfff;
  setHoldsCode(hostPage, 0);
  retag(hostPage, 0);
}

function retag(hostPage: u32, bit: u64): void {
  for (let i: u32 = 0; i < cpuCount(); i++) retagCpu(ENVS + i * ENV_SIZE, hostPage, bit);
  if (env < ENVS || env >= ENVS + cpuCount() * ENV_SIZE) retagCpu(env, hostPage, bit);
}

function retagCpu(base: usize, hostPage: u32, bit: u64): void {
  const end = base + TLB + TLB_MMU_SIZE * TLB_MODES;
  for (let e = base + TLB; e < end; e += TLB_ENTRY) {
    if (load<u32>(e + TLB_HOST) != hostPage) continue;
    const tag = load<u64>(e + TLB_WRITE);
    if ((tag & (TAG_INVALID | TAG_SLOW)) == 0) store<u64>(e + TLB_WRITE, (tag & ~(<u64>TAG_CODE)) | bit);
  }
}
