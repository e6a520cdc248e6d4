/**
 * AssemblyScript. Address translation and guest memory access: page walks (none, 32-bit with PSE-36, PAE, 4-level), the
 * software TLB of layout.ts, slow paths of loads and stores, what the translator and both tiers ask for.
 * Source: Intel SDM vol 3 chapter 4; AMD APM vol 2 chapter 5.
 * Not emulated: alignment checks (#AC), 5-level paging, protection keys, PCID tags (CR3 writes flush), memory types.
 */
import {
  CODE_FILTER, CODE_FILTER_SIZE,
  A20_MASK, CR2, CR3, ENV_SIZE, FAULT_ADDR, GLOBAL_SEEN, HF_CS64, HF_LMA, HFLAGS, LARGE_SEEN, MMU_KERNEL, MMU_KERNEL_SMAP, MMU_USER,
  FEAT_81_EDX, PDPTE, PHYS_MASK, TAG_CODE, TAG_INVALID, TAG_SLOW, TLB, TLB_BITS, TLB_ENTRY, TLB_EXEC, TLB_GEN, TLB_HOST, TLB_MMU_SIZE,
  TLB_MODES, TLB_PHYS, TLB_READ, TLB_USED, TLB_WRITE,
} from "../layout";
import {
  CODE_PAGES as CODE_PAGES_AT, CPU_COUNT, ENVS as ENVS_AT, MAP_KIND, MAP_MMIO, MAP_RAM, MAX_CPUS as MAX_CPUS_N, PHYS_MAP as PHYS_MAP_AT,
  PHYS_MAP_PAGES as PAGES,
} from "../../../accel/tcg/map";
import { codeWrite, env, physRead, physWrite, raise } from "./env";
import {
  canonical, cpl, cr0, CR0_PG, CR0_WP, cr4, CR4_PAE, CR4_PGE, CR4_PSE, CR4_SMEP, efer, EFER_LMA, EFER_NXE, r32, r64, w32, w64, X_GP,
  X_PF, X_SS,
} from "./state";

const CODE_PAGES: usize = CODE_PAGES_AT;
const PHYS_MAP: usize = PHYS_MAP_AT;
const PHYS_MAP_PAGES: u64 = PAGES;
const ENVS: usize = ENVS_AT;
const MAX_CPUS: u32 = MAX_CPUS_N;
const MODES: u32 = TLB_MODES;

/** Added to an MMU index: a non-canonical address is #SS(0). */
export const MMU_STACK: u32 = 4;
export const ACC_READ: u32 = 0;
export const ACC_WRITE: u32 = 1;
export const ACC_EXEC: u32 = 2;

// Page-table entry bits.
const P: u64 = 1;
const RW: u64 = 2;
const US: u64 = 4;
const A: u64 = 0x20;
const DIRTY: u64 = 0x40;
const PS: u64 = 0x80;
const G: u64 = 0x100;
const NX: u64 = 1 << 63;
/** Address bits of an 8-byte entry. */
const ADDR: u64 = 0x000ffffffffff000;

// In TLB_PHYS, above the page number.
const PHYS_GLOBAL: u32 = 0x80000000;
const PHYS_LARGE: u32 = 0x40000000;
const PHYS_PAGE: u32 = 0x0fffffff;

/** No address. */
const NONE: u64 = 0xffffffffffffffff;
/** A fault that is not #PF: the address is not canonical. */
const NOT_CANONICAL: i32 = 0x10000;

// What the last successful walk found.
let walkPhys: u64 = 0;
/** Bits 0 read, 1 write, 2 execute. */
let walkProt: u32 = 0;
let walkGlobal: bool = false;
let walkLarge: bool = false;

/** @returns host address of the page that holds a physical address | MAP_* kind, or 0 */
function mapEntry(phys: u64): u32 {
  const page = phys >> 12;
  if (page >= PHYS_MAP_PAGES) return 0;
  return load<u32>(PHYS_MAP + (<usize>page << 2));
}

/** @returns host address of a physical byte, 0 when it is not RAM or ROM */
function hostOf(phys: u64): usize {
  const e = mapEntry(phys);
  return (e & MAP_KIND) == MAP_MMIO ? 0 : <usize>((e & ~0xfff) | (<u32>phys & 0xfff));
}

export function physHost(low: u32, high: u32): u32 {
  return <u32>hostOf(<u64>low | (<u64>high << 32));
}

function a20(phys: u64): u64 {
  return phys & (<u64>r32(A20_MASK) | 0xffffffff00000000);
}

/** Physical load of any size for tables and save areas; what is not memory reads as all ones. */
function pte32(phys: u64): u64 {
  const h = hostOf(a20(phys));
  return h == 0 ? 0xffffffff : <u64>atomic.load<u32>(h);
}

function pte64(phys: u64): u64 {
  const h = hostOf(a20(phys));
  return h == 0 ? <u64>-1 : atomic.load<u64>(h);
}

/** Sets accessed and dirty bits unless the entry has moved meanwhile. */
function setBits(phys: u64, old: u64, bits: u64, size: u32): void {
  if ((old & bits) == bits) return;
  const p = a20(phys);
  const e = mapEntry(p);
  if ((e & MAP_KIND) != MAP_RAM) return;
  const h = <usize>((e & ~0xfff) | (<u32>p & 0xfff));
  if (load<u8>(CODE_PAGES + (h >> 12)) != 0) codeWrite(<u32>h, size);
  if (size == 4) atomic.cmpxchg<u32>(h, <u32>old, <u32>(old | bits));
  else atomic.cmpxchg<u64>(h, old, old | bits);
}

function faultCode(present: bool, reserved: bool, access: u32, user: bool): i32 {
  let code: i32 = present ? 1 : 0;
  if (reserved) code |= 9;
  if (access == ACC_WRITE) code |= 2;
  if (user) code |= 4;
  if (access == ACC_EXEC && ((efer() & EFER_NXE) != 0 && (cr4() & CR4_PAE) != 0 || (cr4() & CR4_SMEP) != 0)) code |= 16;
  return code;
}

/** @returns -1 when the access is allowed (walkPhys and the rest are set), else the error code of #PF or NOT_CANONICAL */
function walk(linear: u64, access: u32, mmu: u32, force: bool): i32 {
  const c0 = cr0();
  if ((c0 & CR0_PG) == 0) {
    walkPhys = a20(linear & 0xfffff000);
    walkProt = 7;
    walkGlobal = false;
    walkLarge = false;
    return -1;
  }
  const c4 = cr4();
  const ef = efer();
  const user = mmu == MMU_USER;
  const nxe = (ef & EFER_NXE) != 0;
  const physMask = r64(PHYS_MASK);
  let p1: u64 = NONE;
  let p2: u64 = NONE;
  let p3: u64 = NONE;
  let p4: u64 = 0;
  let e1: u64 = 0;
  let e2: u64 = 0;
  let e3: u64 = 0;
  /** The leaf and where it is. */
  let leaf: u64 = 0;
  let at: u64 = NONE;
  /** Rights: AND of RW and US, OR of NX. */
  let rights: u64 = RW | US;
  let nx: u64 = 0;
  let offsetMask: u64 = 0xfff;
  const entrySize: u32 = (c4 & CR4_PAE) != 0 ? 8 : 4;
  let phys: u64 = 0;

  if (entrySize == 8) {
    let reserved: u64 = ~physMask & ADDR;
    if (!nxe) reserved |= NX;
    let table: u64;
    if ((ef & EFER_LMA) != 0) {
      if (!canonical(linear)) return NOT_CANONICAL;
      p1 = (r64(CR3) & ADDR) + (((linear >> 39) & 511) << 3);
      e1 = pte64(p1);
      if ((e1 & P) == 0) return faultCode(false, false, access, user);
      if ((e1 & (reserved | PS)) != 0) return faultCode(true, true, access, user);
      rights &= e1;
      nx |= e1;
      p2 = (e1 & ADDR) + (((linear >> 30) & 511) << 3);
      e2 = pte64(p2);
      if ((e2 & P) == 0) return faultCode(false, false, access, user);
      if ((e2 & reserved) != 0) return faultCode(true, true, access, user);
      rights &= e2;
      nx |= e2;
      if ((e2 & PS) != 0) {
        if ((r32(FEAT_81_EDX) & (1 << 26)) == 0 || (e2 & 0x3fffe000) != 0) return faultCode(true, true, access, user);
        leaf = e2;
        at = p2;
        p2 = NONE;
        offsetMask = 0x3fffffff;
      }
      table = e2 & ADDR;
    } else {
      linear &= 0xffffffff;
      // Bits 52-62 are reserved too outside long mode.
      reserved |= 0x7ff0000000000000;
      e1 = r64(PDPTE + ((<u32>(linear >> 30) & 3) << 3));
      if ((e1 & P) == 0) return faultCode(false, false, access, user);
      table = e1 & ADDR;
    }
    if (at == NONE) {
      p3 = table + (((linear >> 21) & 511) << 3);
      e3 = pte64(p3);
      if ((e3 & P) == 0) return faultCode(false, false, access, user);
      if ((e3 & reserved) != 0) return faultCode(true, true, access, user);
      rights &= e3;
      nx |= e3;
      if ((e3 & PS) != 0) {
        if ((e3 & 0x1fe000) != 0) return faultCode(true, true, access, user);
        leaf = e3;
        at = p3;
        p3 = NONE;
        offsetMask = 0x1fffff;
      } else {
        p4 = (e3 & ADDR) + (((linear >> 12) & 511) << 3);
        leaf = pte64(p4);
        if ((leaf & P) == 0) return faultCode(false, false, access, user);
        if ((leaf & reserved) != 0) return faultCode(true, true, access, user);
        rights &= leaf;
        nx |= leaf;
        at = p4;
      }
    }
    phys = leaf & ADDR & ~offsetMask;
  } else {
    linear &= 0xffffffff;
    p3 = (r64(CR3) & 0xfffff000) + ((linear >> 22) << 2);
    e3 = pte32(p3);
    if ((e3 & P) == 0) return faultCode(false, false, access, user);
    rights &= e3;
    if ((e3 & PS) != 0 && (c4 & CR4_PSE) != 0) {
      // PSE-36: bits 13-20 are physical address bits 32-39, bit 21 is reserved.
      const high = ((e3 >> 13) & 0xff) << 32;
      if ((e3 & 0x200000) != 0 || (high & ~physMask) != 0) return faultCode(true, true, access, user);
      leaf = e3;
      at = p3;
      p3 = NONE;
      offsetMask = 0x3fffff;
      phys = (e3 & 0xffc00000) | high;
    } else {
      p4 = (e3 & 0xfffff000) + (((linear >> 12) & 1023) << 2);
      leaf = pte32(p4);
      if ((leaf & P) == 0) return faultCode(false, false, access, user);
      rights &= leaf;
      at = p4;
      phys = leaf & 0xfffff000;
    }
  }

  const userPage = (rights & US) != 0;
  let prot: u32 = 0;
  if (user ? userPage : !(mmu == MMU_KERNEL_SMAP && userPage)) {
    prot = 1;
    if ((rights & RW) != 0 || (!user && (c0 & CR0_WP) == 0)) prot = 3;
  }
  if (!(nxe && (nx & NX) != 0) && (user ? userPage : !(userPage && (c4 & CR4_SMEP) != 0))) prot |= 4;
  walkPhys = a20(phys | (linear & offsetMask & ~0xfff));
  walkGlobal = (c4 & CR4_PGE) != 0 && (leaf & G) != 0;
  walkLarge = offsetMask != 0xfff;
  if (force) {
    walkProt = prot;
    return -1;
  }
  if ((prot & (1 << access)) == 0) return faultCode(true, false, access, user);
  if (p1 != NONE) setBits(p1, e1, A, 8);
  if (p2 != NONE) setBits(p2, e2, A, 8);
  if (p3 != NONE) setBits(p3, e3, A, entrySize);
  setBits(at, leaf, access == ACC_WRITE ? A | DIRTY : A, entrySize);
  // The first store to a clean page must come here again to set D.
  if (access != ACC_WRITE && (leaf & DIRTY) == 0) prot &= ~2;
  walkProt = prot;
  return -1;
}

// @ts-ignore: decorator
@inline
function entryOf(linear: u64, mmu: u32): usize {
  return env + TLB + <usize>(mmu * TLB_MMU_SIZE) + (<usize>(<u32>(linear >> 12) & ((1 << TLB_BITS) - 1)) << 5);
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
    w32(LARGE_SEEN, 1);
  }
  let writeSlow: u64 = slow;
  if (kind == MAP_RAM) {
    if (load<u8>(CODE_PAGES + (host >> 12)) != 0) writeSlow = TAG_CODE;
  } else writeSlow = TAG_SLOW;
  w32(TLB_USED, r32(TLB_USED) | (1 << mmu));
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

/** Device read in pieces a bus can do. */
function mmioRead(phys: u64, bytes: u32): u64 {
  if (bytes == 8) return mmioRead(phys, 4) | (mmioRead(phys + 4, 4) << 32);
  return <u64>physRead(<u32>phys, <u32>(phys >> 32), bytes);
}

function mmioWrite(phys: u64, bytes: u32, value: u64): void {
  if (bytes == 8) {
    mmioWrite(phys, 4, value);
    mmioWrite(phys + 4, 4, value >> 32);
  } else physWrite(<u32>phys, <u32>(phys >> 32), bytes, bytes == 4 ? <u32>value : <u32>value & ((1 << (bytes * 8)) - 1));
}

// @ts-ignore: decorator
@inline
function hostLoad(h: usize, size: u32): u64 {
  return size == 0 ? <u64>load<u8>(h) : size == 1 ? <u64>load<u16>(h) : size == 2 ? <u64>load<u32>(h) : load<u64>(h);
}

// @ts-ignore: decorator
@inline
function hostStore(h: usize, value: u64, size: u32): void {
  if (size == 0) store<u8>(h, <u8>value);
  else if (size == 1) store<u16>(h, <u16>value);
  else if (size == 2) store<u32>(h, <u32>value);
  else store<u64>(h, value);
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
  if (load<u8>(CODE_PAGES + (h >> 12)) == 0) store<u64>(e + TLB_WRITE, load<u64>(e + TLB_WRITE) & ~(<u64>TAG_CODE));
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
  if (load<u8>(CODE_PAGES + (h >> 12)) != 0) codeWrite(<u32>h, bytes);
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
  memory.fill(env + CODE_FILTER, 0, CODE_FILTER_SIZE);
}

/** Forgets translations; with keepGlobal those of global pages stay. */
export function flushTlb(keepGlobal: u32): void {
  bumpGen();
  const used = r32(TLB_USED);
  const keep = keepGlobal != 0 && r32(GLOBAL_SEEN) != 0;
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
  if ((load<u8>(env + CODE_FILTER + (page >> 3)) & (1 << (page & 7))) != 0) bumpGen();
  for (let m: u32 = 0; m < MODES; m++) invalidate(entryOf(linear, m));
  if (r32(LARGE_SEEN) == 0) return;
  const end = env + TLB + TLB_MMU_SIZE * TLB_MODES;
  for (let e = env + TLB; e < end; e += TLB_ENTRY) {
    if ((load<u32>(e + TLB_PHYS) & PHYS_LARGE) == 0) continue;
    const tag = load<u64>(e + TLB_READ) & load<u64>(e + TLB_WRITE) & load<u64>(e + TLB_EXEC);
    if (((tag ^ linear) >> 30) != 0) continue;
    if ((load<u64>(e + TLB_EXEC) & TAG_INVALID) == 0) bumpGen();
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
}

/** Marks a host page as holding translated code; stores to it take the slow path from now on, on every vCPU. */
export function protectCode(hostPage: u32): void {
  hostPage &= ~0xfff;
  if (load<u8>(CODE_PAGES + (hostPage >> 12)) != 0) return;
  store<u8>(CODE_PAGES + (hostPage >> 12), 1);
  retag(hostPage, TAG_CODE);
}

/** The page holds no code any more. */
export function unprotectCode(hostPage: u32): void {
  hostPage &= ~0xfff;
  store<u8>(CODE_PAGES + (hostPage >> 12), 0);
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

// --- physical access for tables that are read without paging (SMRAM state) ---

export function physLoad(phys: u64, size: u32): u64 {
  const h = hostOf(a20(phys));
  return h == 0 ? mmioRead(a20(phys), 1 << size) : hostLoad(h, size);
}

export function physStore(phys: u64, value: u64, size: u32): void {
  const p = a20(phys);
  const e = mapEntry(p);
  if ((e & MAP_KIND) != MAP_RAM) {
    mmioWrite(p, 1 << size, value);
    return;
  }
  const h = <usize>((e & ~0xfff) | (<u32>p & 0xfff));
  if (load<u8>(CODE_PAGES + (h >> 12)) != 0) codeWrite(<u32>h, 1 << size);
  hostStore(h, value, size);
}

/** Loads the four PDPTEs of PAE paging. @returns false when reserved bits are set (state unchanged) */
export function loadPdptes(cr3: u64): bool {
  const base = cr3 & 0xffffffe0;
  // Bits 1-2, 5-8 and those above the physical address width.
  const reserved: u64 = (~r64(PHYS_MASK) & ~0xfff) | 0x1e6;
  for (let i: u32 = 0; i < 4; i++) {
    const e = pte64(base + (i << 3));
    if ((e & P) != 0 && (e & reserved) != 0) return false;
  }
  for (let i: u32 = 0; i < 4; i++) w64(PDPTE + (i << 3), pte64(base + (i << 3)));
  return true;
}

/** Whether paging uses PDPTEs held in registers. */
export function usesPdptes(): bool {
  return (cr0() & CR0_PG) != 0 && (cr4() & CR4_PAE) != 0 && (efer() & EFER_LMA) == 0;
}

/** Linear address space of the mode: implicit accesses in compatibility mode are 64-bit. */
export function isLongMode(): bool {
  return (load<u32>(env + HFLAGS) & HF_LMA) != 0;
}
