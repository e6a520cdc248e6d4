/**
 * AssemblyScript. Page walks: none, 32-bit with PSE-36, PAE, 4-level; NX, WP, SMEP, SMAP, reserved bits, accessed and dirty
 * bits. Source: Intel SDM vol 3 chapter 4; AMD APM vol 2 chapter 5.
 * Not emulated: 5-level paging, protection keys.
 */
import { CR3, FEAT_81_EDX, MMU_KERNEL_SMAP, MMU_USER, PDPTE, PHYS_MASK } from "../layout";
import { MAP_KIND, MAP_RAM } from "../../../accel/tcg/map";
import { codeWrite } from "./env";
import {
  canonical, cr0, CR0_PG, CR0_WP, cr4, CR4_PAE, CR4_PGE, CR4_PSE, CR4_SMEP, efer, EFER_LMA, EFER_NXE, r32, r64, w64,
} from "./state";
import { a20, holdsCode, mapEntry, pte32, pte64 } from "./phys";

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

/** No address. */
const NONE: u64 = 0xffffffffffffffff;
/** A fault that is not #PF: the address is not canonical. */
export const NOT_CANONICAL: i32 = 0x10000;

// What the last successful walk found.
export let walkPhys: u64 = 0;
/** Bits 0 read, 1 write, 2 execute. */
export let walkProt: u32 = 0;
export let walkGlobal: bool = false;
export let walkLarge: bool = false;

/** Sets accessed and dirty bits unless the entry has moved meanwhile. */
function setBits(phys: u64, old: u64, bits: u64, size: u32): void {
  if ((old & bits) == bits) return;
  const p = a20(phys);
  const e = mapEntry(p);
  if ((e & MAP_KIND) != MAP_RAM) return;
  const h = <usize>((e & ~0xfff) | (<u32>p & 0xfff));
  if (holdsCode(h)) codeWrite(<u32>h, size);
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
export function walk(linear: u64, access: u32, mmu: u32, force: bool): i32 {
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
