/**
 * AssemblyScript. Address translation of a partition: real mode, radix trees, hashed page table with the SLB. Source: Power
 * ISA 3.0B III 5.7; the page table entry format of the hashed table is that of H_ENTER (2.07).
 */
import {
  HPT_HOST, HPT_MASK, LPCR, LPCR_HR, MMU_REAL, MMU_USER, PATE1, RMA_SIZE, SLB, SLB_SIZE, SPR_AMR,
  SPR_IAMR, SPR_PID,
} from "../layout";
import { env } from "./env";
import { hostOf, table64 } from "./phys";
import { r32, r64, spr } from "./state";

export const ACC_READ: u32 = 0;
export const ACC_WRITE: u32 = 1;
export const ACC_EXEC: u32 = 2;

/** What a failed walk is: a segment interrupt, or a storage interrupt with `walkStatus`. */
export const WALK_OK: i32 = 0;
export const WALK_STORAGE: i32 = 1;
export const WALK_SEGMENT: i32 = 2;

/** Physical address of the page's byte; rights: 1 read, 2 write, 4 execute. */
export let walkPhys: u64 = 0;
export let walkProt: u32 = 0;
/** DSISR, or SRR1 for a fetch. */
export let walkStatus: u32 = 0;

const NO_ENTRY: u32 = 0x40000000;
const NO_EXEC: u32 = 0x10000000;
const PROTECTION: u32 = 0x08000000;
const BAD_TABLE: u32 = 0x00080000;
const PROCESS_TABLE: u32 = 0x00020000;
export const IS_STORE: u32 = 0x02000000;

const R: u64 = 0x100;
const C: u64 = 0x80;

function fail(status: u32): i32 {
  walkStatus = status;
  return WALK_STORAGE;
}

// @ts-ignore: decorator
@inline
function refused(access: u32): i32 {
  return fail(access == ACC_EXEC ? NO_EXEC : PROTECTION);
}

/** Key 0's rights in AMR and IAMR. */
function keyZero(): u32 {
  const amr = spr(SPR_AMR);
  let prot: u32 = 0;
  if (<i64>amr >= 0) prot |= 2;
  if (((amr >> 62) & 1) == 0) prot |= 1;
  if (((spr(SPR_IAMR) >> 62) & 1) == 0) prot |= 4;
  return prot;
}

// --- radix (5.7.10) ---
const PTE_VALID: u64 = 0x8000000000000000;
const PTE_LEAF: u64 = 0x4000000000000000;

function radix(ea: u64, access: u32, mmu: u32, debug: bool): i32 {
  const quadrant = ea >> 62;
  if (quadrant == 1 || quadrant == 2) return WALK_SEGMENT;
  const pid: u64 = quadrant == 0 ? spr(SPR_PID) & 0xfffff : 0;
  const pate1 = r64(PATE1);
  const entry = pid << 4;
  if (entry >= (<u64>1 << ((pate1 & 0x1f) + 12))) return fail(PROCESS_TABLE);
  const root = table64((pate1 & 0x0ffffffffffff000) + entry);
  let bits = <u32>((((root >> 56) & 0x60) >> 2) | ((root >> 5) & 7)) + 31;
  let level = <u32>root & 0x1f;
  const low = ea & 0x3fffffffffffffff;
  if (bits < 64 && low >> bits != 0) return WALK_SEGMENT;
  let table = root & 0x0fffffffffffff00;
  for (;;) {
    if (level < 5 || level > bits) return fail(BAD_TABLE);
    const index = (low >> (bits - level)) & ((<u64>1 << level) - 1);
    const at = table + (index << 3);
    const pte = table64(at);
    if ((pte & PTE_VALID) == 0) return fail(NO_ENTRY);
    bits -= level;
    if ((pte & PTE_LEAF) == 0) {
      level = <u32>pte & 0x1f;
      table = pte & 0x01ffffffffffff00;
      continue;
    }
    return radixLeaf(ea, at, pte, bits, access, mmu, debug);
  }
}

function radixLeaf(ea: u64, at: u64, pte: u64, bits: u32, access: u32, mmu: u32, debug: bool): i32 {
  const offset = (<u64>1 << bits) - 1;
  walkPhys = (pte & 0x01fffffffffff000 & ~offset) | (ea & offset);
  if (debug) return WALK_OK;
  let prot: u32 = 0;
  if ((pte & 4) != 0) prot |= 1;
  if ((pte & 2) != 0) prot |= 3;
  if ((pte & 1) != 0) prot |= 4;
  const privileged = (pte & 8) != 0;
  if (mmu == MMU_USER) {
    if (privileged) prot = 0;
  } else if (!privileged) prot &= keyZero();
  // Non-idempotent I/O is guarded: no execution.
  if ((pte & 0x30) == 0x20) prot &= ~4;
  if (((prot >> access) & 1) == 0) return refused(access);
  let next = pte | R;
  if (access == ACC_WRITE) next |= C;
  if (next != pte) {
    const h = hostOf(at);
    if (h != 0) store<u64>(h, bswap<u64>(next));
  }
  // Without C the first store comes here again.
  if ((next & C) == 0) prot &= ~2;
  walkProt = prot;
  return WALK_OK;
}

// --- hashed page table (5.7.8, 5.7.9) ---
const SLB_V: u64 = 0x08000000;
const VSID_B1T: u64 = 0x4000000000000000;
const VSID_KS: u64 = 0x800;
const VSID_KP: u64 = 0x400;
const VSID_N: u64 = 0x200;
const VSID_LLP: u64 = 0x130;

/** @returns address of the SLB entry's words that translates `ea`, or 0 */
export function slbFind(ea: u64): usize {
  const small = (ea & 0xfffffffff0000000) | SLB_V;
  const large = (ea & 0xffffff0000000000) | SLB_V;
  const n = r32(SLB_SIZE);
  for (let i: u32 = 0; i < n; i++) {
    const e = env + SLB + <usize>(i << 4);
    const esid = load<u64>(e) & 0xfffffffff8000000;
    if (esid != small && esid != large) continue;
    if ((load<u64>(e, 8) & VSID_B1T) != 0 ? esid == large : esid == small) return e;
  }
  return 0;
}

/** Shift of the base page size of a segment, 0 = no such encoding. */
function segmentShift(vsid: u64): u32 {
  switch (<u32>(vsid & VSID_LLP)) {
    case 0: return 12;
    case 0x110: return 16;
    case 0x100: return 24;
    case 0x120: return 34;
  }
  return 0;
}

function large(base: u32, second: u64): u32 {
  const lp = <u32>(second >> 12);
  if (base == 12) {
    if ((lp & 0xf) == 7) return 16;
    if ((lp & 0xfff) == 0x38) return 24;
  } else if (base == 16) {
    if ((lp & 0xf) == 1) return 16;
    if ((lp & 0xfff) == 8) return 24;
  } else if (base == 24) {
    if ((lp & 0xfff) == 0) return 24;
  } else if (base == 34 && (lp & 0x3fffff) == 3) return 34;
  return 0;
}

/** Page size of an entry in a segment with base page size `base`, 0 = not for it. */
function entryShift(base: u32, first: u64, second: u64): u32 {
  if ((first & 4) == 0) return base == 12 ? 12 : 0;
  return large(base, second);
}

let foundShift: u32 = 0;

/** @returns address of the entry in one group, or 0 */
function searchGroup(group: usize, want: u64, base: u32): usize {
  for (let i: usize = 0; i < 8; i++) {
    const e = group + (i << 4);
    const first = bswap<u64>(load<u64>(e));
    if (((first ^ want) & 0xffffffffffffff83) != 0) continue;
    const shift = entryShift(base, first, bswap<u64>(load<u64>(e, 8)));
    if (shift == 0) continue;
    foundShift = shift;
    return e;
  }
  return 0;
}

function hashed(ea: u64, access: u32, mmu: u32, debug: bool): i32 {
  const s = slbFind(ea);
  if (s == 0) return WALK_SEGMENT;
  const vsid = load<u64>(s, 8);
  if (access == ACC_EXEC && (vsid & VSID_N) != 0) return fail(NO_EXEC);
  const base = segmentShift(vsid);
  const htab = <usize>r32(HPT_HOST);
  if (base == 0 || htab == 0) return fail(NO_ENTRY);
  const pageMask = ~((<u64>1 << base) - 1);
  let id: u64;
  let epn: u64;
  let hash: u64;
  if ((vsid & VSID_B1T) != 0) {
    id = (vsid & 0x3ffffffffffff000) >> 24;
    epn = ea & 0x000000ffffffffff & pageMask;
    hash = id ^ (id << 25) ^ (epn >> base);
  } else {
    id = (vsid & 0x3ffffffffffff000) >> 12;
    epn = ea & 0x0fffffff & pageMask;
    hash = id ^ (epn >> base);
  }
  const want = (vsid & 0xfffffffffffff000) | ((epn >> 16) & 0x3fffffffffffff80) | 1;
  const groups = (r64(HPT_MASK) + 1) / 128 - 1;
  let e = searchGroup(htab + <usize>((hash & groups) << 7), want, base);
  if (e == 0) e = searchGroup(htab + <usize>((~hash & groups) << 7), want | 2, base);
  if (e == 0) return fail(NO_ENTRY);
  const second = bswap<u64>(load<u64>(e, 8));
  const offset = (<u64>1 << foundShift) - 1;
  walkPhys = (second & 0x0ffffffffffff000 & ~offset) | (ea & offset);
  if (debug) return WALK_OK;
  const key = mmu == MMU_USER ? (vsid & VSID_KP) != 0 : (vsid & VSID_KS) != 0;
  const pp = <u32>(second & 3) | (<u32>(second >> 61) & 4);
  let prot: u32;
  if (!key) prot = pp <= 2 ? 3 : pp == 3 || pp == 6 ? 1 : 0;
  else prot = pp == 2 ? 3 : pp == 1 || pp == 3 ? 1 : 0;
  if ((second & 0xc) == 0) prot |= 4;
  // Virtual page class key protection.
  const k = (<u32>(second >> 57) & 0x18) | (<u32>(second >> 9) & 7);
  const amr = <u32>(spr(SPR_AMR) >> (2 * (31 - k))) & 3;
  if ((amr & 2) != 0) prot &= ~2;
  if ((amr & 1) != 0) prot &= ~1;
  if (((spr(SPR_IAMR) >> (2 * (31 - k))) & 1) != 0) prot &= ~4;
  if (((prot >> access) & 1) == 0) return refused(access);
  let next = second | R;
  if (access == ACC_WRITE) next |= C;
  if (next != second) store<u64>(e, bswap<u64>(next), 8);
  if ((next & C) == 0) prot &= ~2;
  walkProt = prot;
  return WALK_OK;
}

/** Translates; on success walkPhys and walkProt. With `debug` no rights count and nothing is changed. */
export function walk(ea: u64, access: u32, mmu: u32, debug: bool): i32 {
  if (mmu == MMU_REAL) {
    walkPhys = ea & 0x0fffffffffffffff;
    walkProt = 7;
    if (walkPhys >= r64(RMA_SIZE)) return fail(PROTECTION);
    return WALK_OK;
  }
  return (r64(LPCR) & LPCR_HR) != 0 ? radix(ea, access, mmu, debug) : hashed(ea, access, mmu, debug);
}
