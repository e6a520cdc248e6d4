/**
 * AssemblyScript. Segment registers: descriptor fetch, loads with their checks, LLDT, LTR, LAR, LSL, VERR, VERW, limit
 * checks. Source: Intel SDM vol 3 chapters 3 and 5, vol 2 instruction pages.
 * Not emulated: AMD's keeping of FS/GS bases on null selector loads (Intel's clearing is).
 */
import {
  FL_VM, GDT_BASE, GDT_LIMIT, HF_CS64, HF_UMIP, HFLAGS, IDT_BASE, IDT_LIMIT, INHIBIT, LDTR_BASE, LDTR_FLAGS, LDTR_LIMIT, LDTR_SEL,
  MMU_KERNEL, SEG_BASE, SEG_FLAGS, SEG_LIMIT, SEG_SEL, TR_BASE, TR_FLAGS, TR_LIMIT, TR_SEL,
} from "../layout";
import { setZf } from "./eflags";
import { env, raise } from "./env";
import { updateHflags } from "./hflags";
import { ld32, ld64, st8 } from "./mmu";
import {
  canonical, cpl, CS, D_A, D_B, D_CODE, D_EC, D_G, D_L, D_P, D_RW, D_S, FS, hflags, isCode64, isLma, isPe, isProt, isVm, r32, r64,
  requireCpl0, segBase, segFlags, segLimit, segSel, SS, w32, w64, X_GP, X_NP, X_SS, X_UD,
} from "./state";

// The descriptor that was fetched last.
export let dLow: u32 = 0;
export let dHigh: u32 = 0;
/** Linear address of it. */
export let dAt: u64 = 0;

/** VM86 segments: present, DPL 3, read/write, accessed. */
export const VM86_FLAGS: u32 = 0xf300;

// @ts-ignore: decorator
@inline export function baseOf(low: u32, high: u32): u32 { return (low >> 16) | ((high & 0xff) << 16) | (high & 0xff000000); }
// @ts-ignore: decorator
@inline export function dplOf(high: u32): u32 { return (high >> 13) & 3; }

export function limitOf(low: u32, high: u32): u32 {
  const limit = (low & 0xffff) | (high & 0xf0000);
  return (high & D_G) != 0 ? (limit << 12) | 0xfff : limit;
}

/** Address of a selector's descriptor of some bytes, or -1 when it is outside its table. */
function descriptorAt(sel: u32, bytes: u32): u64 {
  const index = sel & 0xfff8;
  if ((sel & 4) != 0) {
    if ((r32(LDTR_FLAGS) & D_P) == 0 || index + bytes - 1 > r32(LDTR_LIMIT)) return <u64>-1;
    return r64(LDTR_BASE) + index;
  }
  if (index + bytes - 1 > r32(GDT_LIMIT)) return <u64>-1;
  return r64(GDT_BASE) + index;
}

/** Wraps an implicit address in legacy mode. */
function implicit(at: u64): u64 {
  return isLma() ? at : at & 0xffffffff;
}

/** Fetches into dLow, dHigh, dAt. @returns false outside the table */
export function tryDescriptor(sel: u32): bool {
  const at = descriptorAt(sel, 8);
  if (at == <u64>-1) return false;
  dAt = implicit(at);
  const d = ld64(dAt, MMU_KERNEL);
  dLow = <u32>d;
  dHigh = <u32>(d >> 32);
  return true;
}

/** Fetches; outside the table raises vector(selector | ext). */
export function descriptor(sel: u32, vector: i32, ext: u32): void {
  if (!tryDescriptor(sel)) raise(vector, (sel & 0xfffc) | ext);
}

/** Upper half of a 16-byte system descriptor fetched last: base bits 32-63; its type field must be zero. */
export function highBase(sel: u32): u64 {
  if (descriptorAt(sel, 16) == <u64>-1) raise(X_GP, sel & 0xfffc);
  const d = ld64(dAt + 8, MMU_KERNEL);
  if (((d >> 40) & 0x1f) != 0) raise(X_GP, sel & 0xfffc);
  return d << 32;
}

/** Sets the accessed bit in memory of the descriptor at an address. @returns the high dword with it */
export function markAccessed(at: u64, high: u32): u32 {
  if ((high & D_A) == 0) st8(at + 5, <u64>((high | D_A) >> 8) & 0xff, MMU_KERNEL);
  return high | D_A;
}

/** Writes a segment register's parts; updateHflags is the caller's. */
export function setSeg(seg: u32, sel: u32, base: u64, limit: u32, flags: u32): void {
  store<u32>(env + SEG_SEL + (seg << 2), sel & 0xffff);
  store<u64>(env + SEG_BASE + (seg << 3), base);
  store<u32>(env + SEG_LIMIT + (seg << 2), limit);
  store<u32>(env + SEG_FLAGS + (seg << 2), flags);
}

/** From a descriptor's two dwords. */
export function setSegDesc(seg: u32, sel: u32, low: u32, high: u32): void {
  setSeg(seg, sel, <u64>baseOf(low, high), limitOf(low, high), high);
}

/** Null selector in a data segment register. */
export function setSegNull(seg: u32, sel: u32): void {
  setSeg(seg, sel, 0, 0, seg == SS ? cpl() << 13 : 0);
}

/** Real mode: only selector and base change; virtual-8086 mode: the fixed attributes. */
export function setSegReal(seg: u32, sel: u32): void {
  sel &= 0xffff;
  if (isVm()) setSeg(seg, sel, <u64>sel << 4, 0xffff, VM86_FLAGS);
  else {
    store<u32>(env + SEG_SEL + (seg << 2), sel);
    store<u64>(env + SEG_BASE + (seg << 3), <u64>sel << 4);
  }
}

/**
 * CS from a checked code descriptor (its accessed bit set by the caller) with a new CPL as RPL. In 64-bit code the base is
 * zero. Does not touch SS: CPL follows SS.DPL.
 */
export function setCs(sel: u32, level: u32, low: u32, high: u32): void {
  const long = isLma() && (high & D_L) != 0;
  setSeg(CS, (sel & 0xfffc) | level, long ? 0 : <u64>baseOf(low, high), limitOf(low, high), high);
}

/** Makes SS null with a privilege level (64-bit mode). */
export function setSsNull(level: u32, sel: u32): void {
  setSeg(SS, sel, 0, 0xffffffff, (level << 13) | D_P | D_S | D_RW | D_A | D_B | D_G);
}

/** Checks a selector for SS at a privilege level and fetches it. Errors: selector ones by `vector` (#GP or #TS). */
export function checkStackSegment(sel: u32, level: u32, vector: i32, ext: u32): void {
  if ((sel & 0xfffc) == 0) raise(vector, ext);
  descriptor(sel, vector, ext);
  if ((sel & 3) != level || (dHigh & (D_S | D_CODE | D_RW)) != (D_S | D_RW) || dplOf(dHigh) != level) raise(vector, (sel & 0xfffc) | ext);
  if ((dHigh & D_P) == 0) raise(X_SS, (sel & 0xfffc) | ext);
}

/** A data segment register in protected mode, all checks. */
export function loadSegProt(seg: u32, sel: u32): void {
  sel &= 0xffff;
  if ((sel & 0xfffc) == 0) {
    if (seg == SS) {
      if (!isCode64() || cpl() == 3 || (sel & 3) != cpl()) raise(X_GP, 0);
      setSsNull(cpl(), sel);
    } else setSegNull(seg, sel);
    return;
  }
  if (seg == SS) {
    checkStackSegment(sel, cpl(), X_GP, 0);
  } else {
    descriptor(sel, X_GP, 0);
    if ((dHigh & D_S) == 0 || (dHigh & (D_CODE | D_RW)) == D_CODE) raise(X_GP, sel & 0xfffc);
    if ((dHigh & (D_CODE | D_EC)) != (D_CODE | D_EC) && ((sel & 3) > dplOf(dHigh) || cpl() > dplOf(dHigh))) raise(X_GP, sel & 0xfffc);
    if ((dHigh & D_P) == 0) raise(X_NP, sel & 0xfffc);
  }
  const low = dLow;
  const high = markAccessed(dAt, dHigh);
  setSegDesc(seg, sel, low, high);
}

/** MOV/POP/Lxx to ES, SS, DS, FS, GS. imm: segment, 0x100 = interrupt shadow. */
export function h_load_seg(a: u64, b: u64, imm: u32): u64 {
  const seg = imm & 7;
  if (isProt()) loadSegProt(seg, <u32>a);
  else setSegReal(seg, <u32>a);
  if ((imm & 0x100) != 0) w32(INHIBIT, 2);
  updateHflags();
  return 0;
}

/** Base that counts in the current mode. */
export function effBase(seg: u32): u64 {
  return isCode64() && seg < FS ? 0 : segBase(seg);
}

/** Raises #SS(0) or #GP(0) unless [offset, offset + bytes) may be accessed through a segment. Not for 64-bit code. */
export function checkSegment(seg: u32, offset: u32, bytes: u32, write: bool): void {
  const f = segFlags(seg);
  let ok = true;
  if (isProt()) {
    if ((f & D_P) == 0) ok = false;
    else if ((f & D_CODE) != 0) ok = !write && (f & D_RW) != 0;
    else if (write && (f & D_RW) == 0) ok = false;
  }
  const last = <u64>offset + bytes - 1;
  const limit = <u64>segLimit(seg);
  if ((f & (D_CODE | D_EC)) == D_EC) {
    if (<u64>offset <= limit || last > ((f & D_B) != 0 ? 0xffffffff : 0xffff)) ok = false;
  } else if (last > limit) ok = false;
  if (!ok) raise(seg == SS ? X_SS : X_GP, 0);
}

/** Linear address of seg:offset for an explicit access, checked; non-canonical ones are found by the access itself. */
export function linearOf(seg: u32, offset: u64, bytes: u32, write: bool): u64 {
  if (isCode64()) return seg < FS ? offset : segBase(seg) + offset;
  checkSegment(seg, <u32>offset, bytes, write);
  return (segBase(seg) + offset) & 0xffffffff;
}

export function h_segchk(a: u64, b: u64, imm: u32): u64 {
  const seg = (imm >> 16) & 7;
  if (isCode64()) return 0;
  checkSegment(seg, <u32>a, imm & 0xff, (imm & 0x1100) != 0);
  return 0;
}

function requireProt(): void {
  if (!isProt()) raise(X_UD, 0);
}

export function loadLdt(sel: u32, vector: i32): void {
  sel &= 0xffff;
  if ((sel & 0xfffc) == 0) {
    w32(LDTR_SEL, sel);
    w32(LDTR_FLAGS, 0);
    w32(LDTR_LIMIT, 0);
    w64(LDTR_BASE, 0);
    return;
  }
  if ((sel & 4) != 0) raise(vector, sel & 0xfffc);
  descriptor(sel, vector, 0);
  if ((dHigh & (D_S | 0xf00)) != 0x200) raise(vector, sel & 0xfffc);
  if ((dHigh & D_P) == 0) raise(vector == X_GP ? X_NP : vector, sel & 0xfffc);
  let base = <u64>baseOf(dLow, dHigh);
  if (isLma()) {
    base |= highBase(sel);
    if (!canonical(base)) raise(X_GP, sel & 0xfffc);
  }
  w32(LDTR_SEL, sel);
  w32(LDTR_FLAGS, dHigh);
  w32(LDTR_LIMIT, limitOf(dLow, dHigh));
  w64(LDTR_BASE, base);
}

export function h_lldt(a: u64, b: u64, imm: u32): u64 {
  requireProt();
  requireCpl0();
  loadLdt(<u32>a, X_GP);
  return 0;
}

export function h_ltr(a: u64, b: u64, imm: u32): u64 {
  requireProt();
  requireCpl0();
  const sel = <u32>a & 0xffff;
  if ((sel & 0xfffc) == 0) raise(X_GP, 0);
  if ((sel & 4) != 0) raise(X_GP, sel & 0xfffc);
  descriptor(sel, X_GP, 0);
  const type = dHigh & (D_S | 0xf00);
  if (type != 0x900 && (type != 0x100 || isLma())) raise(X_GP, sel & 0xfffc);
  if ((dHigh & D_P) == 0) raise(X_NP, sel & 0xfffc);
  let base = <u64>baseOf(dLow, dHigh);
  if (isLma()) {
    base |= highBase(sel);
    if (!canonical(base)) raise(X_GP, sel & 0xfffc);
  }
  const low = dLow;
  const high = dHigh | 0x200;
  st8(dAt + 5, <u64>(high >> 8) & 0xff, MMU_KERNEL);
  w32(TR_SEL, sel);
  w32(TR_FLAGS, high);
  w32(TR_LIMIT, limitOf(low, high));
  w64(TR_BASE, base);
  return 0;
}

export function h_umip(a: u64, b: u64, imm: u32): u64 {
  if ((hflags() & HF_UMIP) != 0 && cpl() == 3) raise(X_GP, 0);
  return 0;
}

export function h_sldt(a: u64, b: u64, imm: u32): u64 {
  requireProt();
  h_umip(0, 0, 0);
  return <u64>r32(LDTR_SEL);
}

export function h_str(a: u64, b: u64, imm: u32): u64 {
  requireProt();
  h_umip(0, 0, 0);
  return <u64>r32(TR_SEL);
}

export function h_lgdt(a: u64, b: u64, imm: u32): u64 {
  loadTable(GDT_BASE, GDT_LIMIT, a, b, imm);
  return 0;
}

export function h_lidt(a: u64, b: u64, imm: u32): u64 {
  loadTable(IDT_BASE, IDT_LIMIT, a, b, imm);
  return 0;
}

function loadTable(baseAt: u32, limitAt: u32, base: u64, limit: u64, size: u32): void {
  if (isPe()) requireCpl0();
  if (isCode64()) {
    if (!canonical(base)) raise(X_GP, 0);
  } else base &= size == 1 ? 0xffffff : 0xffffffff;
  w64(baseAt, base);
  w32(limitAt, <u32>limit & 0xffff);
}

/** Whether LAR (or LSL) sees a system descriptor type. Bit t = type t. */
const LAR_TYPES: u32 = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 4) | (1 << 5) | (1 << 9) | (1 << 11) | (1 << 12);
const LAR_TYPES_LONG: u32 = (1 << 2) | (1 << 9) | (1 << 11) | (1 << 12);
const LSL_TYPES: u32 = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 9) | (1 << 11);
const LSL_TYPES_LONG: u32 = (1 << 2) | (1 << 9) | (1 << 11);

function visible(sel: u32, types: u32): bool {
  if ((sel & 0xfffc) == 0 || !tryDescriptor(sel)) return false;
  const dpl = dplOf(dHigh);
  if ((dHigh & D_S) == 0) {
    if (((types >> ((dHigh >> 8) & 15)) & 1) == 0) return false;
  } else if ((dHigh & (D_CODE | D_EC)) == (D_CODE | D_EC)) return true;
  return dpl >= cpl() && dpl >= (sel & 3);
}

export function h_lar(a: u64, b: u64, imm: u32): u64 {
  requireProt();
  const ok = visible(<u32>a & 0xffff, isLma() ? LAR_TYPES_LONG : LAR_TYPES);
  setZf(ok);
  return ok ? <u64>(dHigh & 0x00f0ff00) : b;
}

export function h_lsl(a: u64, b: u64, imm: u32): u64 {
  requireProt();
  const ok = visible(<u32>a & 0xffff, isLma() ? LSL_TYPES_LONG : LSL_TYPES);
  setZf(ok);
  return ok ? <u64>limitOf(dLow, dHigh) : b;
}

export function h_verr(a: u64, b: u64, imm: u32): u64 {
  requireProt();
  setZf(visible(<u32>a & 0xffff, 0) && (dHigh & (D_CODE | D_RW)) != D_CODE);
  return 0;
}

export function h_verw(a: u64, b: u64, imm: u32): u64 {
  requireProt();
  setZf(visible(<u32>a & 0xffff, 0) && (dHigh & (D_CODE | D_RW)) == D_RW);
  return 0;
}

export function h_arpl(a: u64, b: u64, imm: u32): u64 {
  requireProt();
  const less = (a & 3) < (b & 3);
  setZf(less);
  return less ? (a & ~3) | (b & 3) : a;
}
