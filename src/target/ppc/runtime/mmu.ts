/**
 * AssemblyScript. The software TLB of layout.ts and guest memory access by effective address: slow paths of loads and
 * stores, what the translator and both tiers ask for, flushes. Not emulated: memory attributes other than guarded.
 */
import {
  CODE_FILTER, CODE_FILTER_SIZE, ENV_SIZE, FAULT_ADDR, FAULT_STATUS, HF_FETCH_SHIFT, HF_SF, HFLAGS, MMU_KERNEL, MMU_REAL, TAG_CODE,
  TAG_INVALID, TAG_SLOW, TLB, TLB_BITS, TLB_ENTRY, TLB_EXEC, TLB_GEN, TLB_HOST, TLB_LOG, TLB_LOG_COUNT, TLB_LOG_SIZE, TLB_MMU_SIZE,
  TLB_MODES, TLB_PHYS, TLB_READ, TLB_USED, TLB_WRITE, V_DATA_SEGMENT, V_DATA_STORAGE, V_INSN_SEGMENT, V_INSN_STORAGE,
} from "../layout";
import { CPU_COUNT, ENVS as ENVS_AT, MAP_KIND, MAP_MMIO, MAP_RAM, MAX_CPUS as MAX_CPUS_N } from "../../../accel/tcg/map";
import { codeWrite, env, raise, setEnv } from "./env";
import { holdsCode, hostLoad, hostStore, mapEntry, mmioRead, mmioWrite, setHoldsCode } from "./phys";
import { r32, w32 } from "./state";
import { ACC_EXEC, ACC_READ, ACC_WRITE, IS_STORE, walk, WALK_OK, WALK_SEGMENT, walkPhys, walkProt, walkStatus } from "./walk";

const ENVS: usize = ENVS_AT;
const MAX_CPUS: u32 = MAX_CPUS_N;
const MODES: u32 = TLB_MODES;

// @ts-ignore: decorator
@inline
function entryOf(ea: u64, mmu: u32): usize {
  return env + TLB + <usize>(mmu * TLB_MMU_SIZE) + (<usize>(<u32>(ea >> 12) & ((1 << TLB_BITS) - 1)) << 5);
}

/** Notes an entry of the lower half, which a change of process drops. */
function logFill(e: usize): void {
  const n = r32(TLB_LOG_COUNT);
  if (n > <u32>TLB_LOG_SIZE) return;
  if (n < <u32>TLB_LOG_SIZE) store<u16>(env + TLB_LOG + <usize>(n << 1), <u16>((e - env - TLB) >> 5));
  w32(TLB_LOG_COUNT, n + 1);
}

function fill(ea: u64, mmu: u32, access: u32): i32 {
  const code = walk(ea, access, mmu, false);
  if (code != WALK_OK) return code;
  const e = entryOf(ea, mmu);
  const page = ea & ~0xfff;
  const m = mapEntry(walkPhys);
  const kind = m & MAP_KIND;
  const host = m & ~0xfff;
  const slow: u64 = kind == MAP_MMIO ? TAG_SLOW : 0;
  let writeSlow: u64 = slow;
  if (kind == MAP_RAM) {
    if (holdsCode(host)) writeSlow = TAG_CODE;
  } else writeSlow = TAG_SLOW;
  w32(TLB_USED, r32(TLB_USED) | (1 << mmu));
  if (<i64>ea >= 0 && mmu != MMU_REAL) logFill(e);
  // A device's page has no host address: there stand the bits of its physical address that TLB_PHYS has no room for.
  store<u32>(e + TLB_HOST, kind == MAP_MMIO ? <u32>(walkPhys >> 44) : host);
  store<u32>(e + TLB_PHYS, <u32>(walkPhys >> 12));
  store<u64>(e + TLB_READ, (walkProt & 1) != 0 ? page | slow : <u64>-1);
  store<u64>(e + TLB_WRITE, (walkProt & 2) != 0 ? page | writeSlow : <u64>-1);
  store<u64>(e + TLB_EXEC, (walkProt & 4) != 0 ? page | slow : <u64>-1);
  return WALK_OK;
}

/** Fills the TLB entry of an address. @returns the entry's address; raises storage and segment interrupts */
export function tlbFill(ea: u64, mmu: u32, access: u32): u32 {
  const code = fill(ea, mmu, access);
  if (code != WALK_OK) {
    store<u64>(env + FAULT_ADDR, ea);
    store<u64>(env + FAULT_STATUS, <u64>walkStatus | (access == ACC_WRITE ? <u64>IS_STORE : 0));
    if (code == WALK_SEGMENT) raise(access == ACC_EXEC ? V_INSN_SEGMENT : V_DATA_SEGMENT, 0);
    raise(access == ACC_EXEC ? V_INSN_STORAGE : V_DATA_STORAGE, 0);
  }
  return <u32>entryOf(ea, mmu);
}

/** The entry that translates an address for an access, filled when it was not there. */
// @ts-ignore: decorator
@inline
function lookup(ea: u64, mmu: u32, access: u32): usize {
  const e = entryOf(ea, mmu);
  const tag = load<u64>(e + (access << 3));
  if ((tag & ~(<u64>0xfff ^ TAG_INVALID)) == (ea & ~0xfff)) return e;
  return <usize>tlbFill(ea, mmu, access);
}

// @ts-ignore: decorator
@inline
function physOf(e: usize, ea: u64): u64 {
  const host = load<u32>(e + TLB_HOST);
  const high: u64 = host < 0x1000 ? <u64>host << 44 : 0;
  return high | (<u64>load<u32>(e + TLB_PHYS) << 12) | (ea & 0xfff);
}

/** The page after an address, with the wrap at 4 GiB in 32-bit mode. */
function nextPage(ea: u64): u64 {
  const next = (ea & ~0xfff) + 0x1000;
  return (r32(HFLAGS) & HF_SF) == 0 ? next & 0xffffffff : next;
}

function loadVia(e: usize, ea: u64, size: u32, access: u32): u64 {
  if ((load<u64>(e + (access << 3)) & TAG_SLOW) != 0) return mmioRead(physOf(e, ea), 1 << size);
  return hostLoad(<usize>(load<u32>(e + TLB_HOST) + (<u32>ea & 0xfff)), size);
}

function storeVia(e: usize, ea: u64, value: u64, size: u32): void {
  const tag = load<u64>(e + TLB_WRITE);
  if ((tag & TAG_SLOW) != 0) {
    mmioWrite(physOf(e, ea), 1 << size, value);
    return;
  }
  const h = <usize>(load<u32>(e + TLB_HOST) + (<u32>ea & 0xfff));
  // Before the store: the host may restart the instruction when it overwrites the block it is part of.
  if ((tag & TAG_CODE) != 0) codeStore(e, h, 1 << size);
  hostStore(h, value, size);
}

/** A store into a page with translated code is about to be done. */
function codeStore(e: usize, h: usize, bytes: u32): void {
  codeWrite(<u32>h, bytes);
  if (!holdsCode(h)) store<u64>(e + TLB_WRITE, load<u64>(e + TLB_WRITE) & ~(<u64>TAG_CODE));
}

/** Guest load of 1 << size bytes; raises. */
export function slowLoad(ea: u64, size: u32, mmu: u32): u64 {
  const bytes: u32 = 1 << size;
  mmu &= 3;
  if ((<u32>ea & 0xfff) + bytes <= 0x1000) return loadVia(lookup(ea, mmu, ACC_READ), ea, size, ACC_READ);
  // Both pages first: a device must not see half an access that then faults.
  const second = nextPage(ea);
  lookup(ea, mmu, ACC_READ);
  lookup(second, mmu, ACC_READ);
  const first: u32 = 0x1000 - (<u32>ea & 0xfff);
  let value: u64 = 0;
  for (let i: u32 = 0; i < bytes; i++) {
    const at = i < first ? ea + i : second + (i - first);
    value |= loadVia(lookup(at, mmu, ACC_READ), at, 0, ACC_READ) << (i << 3);
  }
  return value;
}

/** Guest store of 1 << size bytes; raises before anything is stored. */
export function slowStore(ea: u64, value: u64, size: u32, mmu: u32): void {
  const bytes: u32 = 1 << size;
  mmu &= 3;
  if ((<u32>ea & 0xfff) + bytes <= 0x1000) {
    storeVia(lookup(ea, mmu, ACC_WRITE), ea, value, size);
    return;
  }
  const second = nextPage(ea);
  const first: u32 = 0x1000 - (<u32>ea & 0xfff);
  lookup(ea, mmu, ACC_WRITE);
  lookup(second, mmu, ACC_WRITE);
  prepareIn(ea, first, mmu);
  prepareIn(second, bytes - first, mmu);
  for (let i: u32 = 0; i < bytes; i++) {
    const at = i < first ? ea + i : second + (i - first);
    storeVia(lookup(at, mmu, ACC_WRITE), at, value >> (i << 3), 0);
  }
}

function prepareIn(ea: u64, bytes: u32, mmu: u32): void {
  const e = lookup(ea, mmu, ACC_WRITE);
  if ((load<u64>(e + TLB_WRITE) & (TAG_CODE | TAG_SLOW)) == TAG_CODE) {
    codeStore(e, <usize>(load<u32>(e + TLB_HOST) + (<u32>ea & 0xfff)), bytes);
  }
}

/**
 * @returns host address of the page when [ea, ea + bytes) lies within it and can be accessed directly, else 0. Sets
 * reference and change bits; never raises, calls no device.
 */
export function probe(ea: u64, bytes: u32, mmu: u32, access: u32): u32 {
  if ((<u32>ea & 0xfff) + bytes > 0x1000) return 0;
  mmu &= 3;
  const e = entryOf(ea, mmu);
  const page = ea & ~0xfff;
  let tag = load<u64>(e + (access << 3));
  if (tag == page) return load<u32>(e + TLB_HOST);
  if ((tag & ~(<u64>0xfff ^ TAG_INVALID)) == page) return 0;
  if (fill(ea, mmu, access) != WALK_OK) return 0;
  tag = load<u64>(e + (access << 3));
  return tag == page ? load<u32>(e + TLB_HOST) : 0;
}

// @ts-ignore: decorator
@inline
function fetchMode(): u32 {
  return (r32(HFLAGS) >> HF_FETCH_SHIFT) & 3;
}

/** Guest physical address of an instruction byte; raises. */
export function fetchPhys(ea: u64): f64 {
  return <f64>physOf(lookup(ea, fetchMode(), ACC_EXEC), ea);
}

/** Host address of an instruction byte, 0 when it is not in RAM or ROM; raises. */
export function fetchHost(ea: u64): u32 {
  const e = lookup(ea, fetchMode(), ACC_EXEC);
  if ((load<u64>(e + TLB_EXEC) & TAG_SLOW) != 0) return 0;
  return load<u32>(e + TLB_HOST) + (<u32>ea & 0xfff);
}

export function fetchProbe(ea: u64): u32 {
  const page = probe(ea, 4, fetchMode(), ACC_EXEC);
  return page == 0 ? 0 : page + (<u32>ea & 0xfff);
}

/** Translation for a debugger: no rights, no changes, no faults. @returns the physical address or -1 */
export function debugPhys(ea: u64): f64 {
  if (walk(ea, ACC_READ, r32(HFLAGS) & 3, true) != WALK_OK) return -1;
  return <f64>walkPhys;
}

/** Notes that look-ups of code depend on a page. */
export function noteCode(ea: u64): void {
  const page = <u32>(ea >> 12) & 4095;
  const at = env + CODE_FILTER + <usize>(page >> 3);
  store<u8>(at, load<u8>(at) | <u8>(<u32>1 << (page & 7)));
}

// @ts-ignore: decorator
@inline
function invalidate(e: usize): void {
  store<u64>(e + TLB_READ, <u64>-1);
  store<u64>(e + TLB_WRITE, <u64>-1);
  store<u64>(e + TLB_EXEC, <u64>-1);
}

/** Forgets all translations of this vCPU. */
export function flushTlb(): void {
  const used = r32(TLB_USED);
  w32(TLB_LOG_COUNT, 0);
  w32(TLB_USED, 0);
  w32(TLB_GEN, r32(TLB_GEN) + 1);
  w32(TLB_GEN + 4, r32(TLB_GEN + 4) + 1);
  memory.fill(env + CODE_FILTER, 0, CODE_FILTER_SIZE);
  for (let m: u32 = 0; m < MODES; m++) {
    if (((used >> m) & 1) != 0) memory.fill(env + TLB + <usize>(m * TLB_MMU_SIZE), 0xff, TLB_MMU_SIZE);
  }
}

/** Forgets translations of addresses with bit 63 clear (a process's), in supervisor state's index only if `kernelOnly`. */
export function flushLower(kernelOnly: bool): void {
  const logged = r32(TLB_LOG_COUNT);
  if (!kernelOnly) {
    w32(TLB_GEN, r32(TLB_GEN) + 1);
    w32(TLB_LOG_COUNT, 0);
  }
  if (logged <= <u32>TLB_LOG_SIZE) {
    for (let i: u32 = 0; i < logged; i++) {
      const n = <u32>load<u16>(env + TLB_LOG + <usize>(i << 1));
      if (kernelOnly && n >> TLB_BITS != MMU_KERNEL) continue;
      const e = env + TLB + (<usize>n << 5);
      // A later fill may have been of the upper half.
      if (<i64>load<u64>(e + TLB_READ) >= 0 || <i64>load<u64>(e + TLB_WRITE) >= 0 || <i64>load<u64>(e + TLB_EXEC) >= 0) invalidate(e);
    }
    return;
  }
  for (let m: u32 = 0; m < MODES; m++) {
    if (m == MMU_REAL || (kernelOnly && m != MMU_KERNEL)) continue;
    const start = env + TLB + <usize>(m * TLB_MMU_SIZE);
    for (let e = start; e < start + TLB_MMU_SIZE; e += TLB_ENTRY) {
      if (<i64>load<u64>(e + TLB_READ) >= 0 || <i64>load<u64>(e + TLB_WRITE) >= 0 || <i64>load<u64>(e + TLB_EXEC) >= 0) invalidate(e);
    }
  }
}

/** Forgets the pages of [ea, ea + bytes), bytes a multiple of 4096, in all modes but real. */
export function flushPages(ea: u64, bytes: u32): void {
  let code = false;
  for (let at = ea & ~0xfff; at < (ea & ~0xfff) + bytes; at += 4096) {
    const page = <u32>(at >> 12) & 4095;
    if (((load<u8>(env + CODE_FILTER + <usize>(page >> 3)) >> <u8>(page & 7)) & 1) != 0) code = true;
    for (let m: u32 = 0; m < MODES; m++) {
      if (m == MMU_REAL) continue;
      const e = entryOf(at, m);
      const keep = ~(<u64>0xfff);
      if ((load<u64>(e + TLB_READ) & keep) == at || (load<u64>(e + TLB_WRITE) & keep) == at || (load<u64>(e + TLB_EXEC) & keep) == at)
        invalidate(e);
    }
  }
  if (code) {
    const at: u32 = <i64>ea < 0 ? TLB_GEN + 4 : TLB_GEN;
    w32(at, r32(at) + 1);
  }
}

export function cpuCount(): u32 {
  const n = load<u32>(CPU_COUNT);
  return n == 0 || n > MAX_CPUS ? 1 : n;
}

/** Every vCPU's translations (the memory map, the hashed table or a process table changed). */
export function flushTlbAll(): void {
  const before = env;
  for (let i: u32 = 0; i < cpuCount(); i++) {
    setEnv(ENVS + i * ENV_SIZE);
    flushTlb();
  }
  setEnv(before);
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
  for (let i: u32 = 0; i < cpuCount(); i++) {
    const base = ENVS + i * ENV_SIZE;
    const end = base + TLB + TLB_MMU_SIZE * TLB_MODES;
    for (let e = base + TLB; e < end; e += TLB_ENTRY) {
      if (load<u32>(e + TLB_HOST) != hostPage) continue;
      const tag = load<u64>(e + TLB_WRITE);
      if ((tag & (TAG_INVALID | TAG_SLOW)) == 0) store<u64>(e + TLB_WRITE, (tag & ~(<u64>TAG_CODE)) | bit);
    }
  }
}
