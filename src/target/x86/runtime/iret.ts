/**
 * AssemblyScript. IRET in every mode, and the checks of a return to another code and stack segment, which RETF shares.
 * Source: Intel SDM vol 2 IRET, vol 3 20.2. Not emulated: shadow stacks.
 */
import {
  EFLAGS, FL_AC, FL_ARITH, FL_DF, FL_ID, FL_IF, FL_IOPL, FL_NT, FL_RF, FL_TF, FL_VIF, FL_VIP, FL_VM, HF_CPL, HF_DR7, MMU_KERNEL,
  MMU_USER, NEXT_RIP, NMI_BLOCKED, TR_BASE,
} from "../layout";
import { raise } from "./env";
import {
  canonical, cpl, cr4, CR4_VME, CS, D_B, D_CODE, D_EC, D_L, D_P, D_S, DS, ES, FS, gpr, GS, hflags, iopl, isCode64, isLma, isPe,
  isVm, r32, r64, RSP, segBase, segFlags, segLimit, segSel, setGpr, setRip, SS, w32, X_GP, X_NP, X_SS,
} from "./state";
import { setEflags } from "./eflags";
import { updateHflags } from "./hflags";
import { ld16, ld32, ld64, MMU_STACK } from "./mmu";
import {
  checkStackSegment, dAt, descriptor, dHigh, dLow, dplOf, limitOf, markAccessed, setCs, setSeg, setSegDesc, setSegNull,
  setSegReal, setSsNull, VM86_FLAGS,
} from "./segments";
import { SWITCH_IRET, switchTask } from "./tasks";
import { stackMask } from "./exceptions";

/** Reading side of a stack. */
let pSp: u64 = 0;
let pMask: u64 = 0;

function popStart(): void {
  pMask = isCode64() ? <u64>-1 : stackMask(segFlags(SS));
  pSp = gpr(RSP) & pMask;
}

/** Raises #SS(0) unless bytes fit above pSp. */
function popRoom(bytes: u32): void {
  if (pMask == <u64>-1) return;
  const limit = segLimit(SS);
  const low = <u32>pSp;
  const high = <u32>((pSp + bytes - 1) & pMask);
  const f = segFlags(SS);
  if ((f & (D_CODE | D_EC)) == D_EC ? low <= limit || high <= limit || high < low : low > limit || high > limit) raise(X_SS, 0);
}

function pop(size: u32): u64 {
  const mmu = (hflags() & HF_CPL) == 3 ? MMU_USER : <u32>((hflags() >> 9) & 3);
  const at = pMask == <u64>-1 ? pSp : (segBase(SS) + pSp) & 0xffffffff;
  pSp = (pSp + (1 << size)) & pMask;
  return size == 1 ? ld16(at, mmu | MMU_STACK) : size == 2 ? ld32(at, mmu | MMU_STACK) : ld64(at, mmu | MMU_STACK);
}

function commitPop(): void {
  if (pMask == 0xffff) setGpr(RSP, (gpr(RSP) & ~0xffff) | pSp);
  else setGpr(RSP, pSp);
}

/** Nulls data segments that a less privileged level may not use. */
export function dropSegments(level: u32): void {
  for (let i: u32 = 0; i < 4; i++) {
    const s = i == 0 ? ES : i + 2;
    const f = segFlags(s);
    const code = (f & D_CODE) != 0;
    if ((segSel(s) & 0xfffc) == 0) {
      // A null selector with a base (long mode) stays.
      continue;
    }
    if ((f & D_S) != 0 && dplOf(f) < level && (!code || (f & D_EC) == 0)) setSegNull(s, 0);
  }
}

function iretReal(size: u32): void {
  popStart();
  popRoom(3 << size);
  const ip = pop(size);
  const cs = <u32>pop(size) & 0xffff;
  let f = <u32>pop(size);
  let mask: u32;
  if (isVm()) {
    if (iopl() < 3) {
      if (size != 1 || (cr4() & CR4_VME) == 0) raise(X_GP, 0);
      if ((f & FL_TF) != 0 || ((f & FL_IF) != 0 && (r32(EFLAGS) & FL_VIP) != 0)) raise(X_GP, 0);
      f = (f & ~FL_VIF) | ((f & FL_IF) != 0 ? FL_VIF : 0);
      mask = FL_ARITH | FL_DF | FL_TF | FL_NT | FL_VIF;
    } else {
      mask = FL_ARITH | FL_DF | FL_TF | FL_NT | FL_IF;
      if (size == 2) mask |= FL_RF | FL_AC | FL_ID;
    }
  } else {
    mask = FL_ARITH | FL_DF | FL_TF | FL_NT | FL_IF | FL_IOPL;
    if (size == 2) mask |= FL_RF | FL_AC | FL_ID;
  }
  if (ip > 0xffff && ip > segLimit(CS)) raise(X_GP, 0);
  commitPop();
  setSegReal(CS, cs);
  setRip(ip);
  setEflags(f, mask);
}

function iretToVm(ip: u64, cs: u32, f: u32): void {
  popRoom(24);
  const sp = pop(2);
  const ss = <u32>pop(2) & 0xffff;
  const es = <u32>pop(2) & 0xffff;
  const ds = <u32>pop(2) & 0xffff;
  const fs = <u32>pop(2) & 0xffff;
  const gs = <u32>pop(2) & 0xffff;
  setEflags(f, FL_ARITH | FL_DF | FL_TF | FL_NT | FL_IF | FL_IOPL | FL_RF | FL_AC | FL_ID | FL_VM | FL_VIF | FL_VIP);
  setSeg(CS, cs, <u64>cs << 4, 0xffff, VM86_FLAGS);
  setSeg(SS, ss, <u64>ss << 4, 0xffff, VM86_FLAGS);
  setSeg(ES, es, <u64>es << 4, 0xffff, VM86_FLAGS);
  setSeg(DS, ds, <u64>ds << 4, 0xffff, VM86_FLAGS);
  setSeg(FS, fs, <u64>fs << 4, 0xffff, VM86_FLAGS);
  setSeg(GS, gs, <u64>gs << 4, 0xffff, VM86_FLAGS);
  setGpr(RSP, sp);
  setRip(ip & 0xffff);
  updateHflags();
}

// --- a return to a code segment, shared with RETF ---
/** New CS of a return. */
export let retLow: u32 = 0;
export let retHigh: u32 = 0;
let retAt: u64 = 0;
/** New SS of an outer return; retSsNull when it is null. */
let ssLow: u32 = 0;
let ssHigh: u32 = 0;
let ssAt: u64 = 0;
let ssNull: bool = false;

/** Checks CS of a return; result in ret*. */
export function checkReturnCs(sel: u32): void {
  if ((sel & 0xfffc) == 0) raise(X_GP, 0);
  descriptor(sel, X_GP, 0);
  const rpl = sel & 3;
  const dpl = dplOf(dHigh);
  const err = sel & 0xfffc;
  if ((dHigh & (D_S | D_CODE)) != (D_S | D_CODE) || rpl < cpl()) raise(X_GP, err);
  if ((dHigh & D_EC) != 0 ? dpl > rpl : dpl != rpl) raise(X_GP, err);
  if (isLma() && (dHigh & (D_L | D_B)) == (D_L | D_B)) raise(X_GP, err);
  if ((dHigh & D_P) == 0) raise(X_NP, err);
  retLow = dLow;
  retHigh = dHigh;
  retAt = dAt;
}

/** Checks RIP against the new CS. */
export function checkReturnRip(ip: u64): void {
  if (isLma() && (retHigh & D_L) != 0) {
    if (!canonical(ip)) raise(X_GP, 0);
  } else if (ip > <u64>limitOf(retLow, retHigh)) raise(X_GP, 0);
}

/** Checks SS of a return to level rpl. */
export function checkReturnSs(sel: u32, rpl: u32): void {
  ssNull = false;
  if ((sel & 0xfffc) == 0) {
    if (!isLma() || (retHigh & D_L) == 0 || rpl == 3 || (sel & 3) != rpl) raise(X_GP, 0);
    ssNull = true;
    return;
  }
  checkStackSegment(sel, rpl, X_GP, 0);
  ssLow = dLow;
  ssHigh = dHigh;
  ssAt = dAt;
}

/** Loads CS and RIP of a checked return. */
export function commitReturnCs(sel: u32, ip: u64): void {
  retHigh = markAccessed(retAt, retHigh);
  setCs(sel, sel & 3, retLow, retHigh);
  setRip(ip);
}

/** Loads SS and the stack pointer of a checked return. */
export function commitReturnSs(sel: u32, rpl: u32, sp: u64): void {
  if (ssNull) {
    setSsNull(rpl, sel);
    setGpr(RSP, sp);
    return;
  }
  ssHigh = markAccessed(ssAt, ssHigh);
  setSegDesc(SS, sel, ssLow, ssHigh);
  if (isLma() && (retHigh & D_L) != 0) setGpr(RSP, sp);
  else if ((ssHigh & D_B) != 0) setGpr(RSP, sp & 0xffffffff);
  else setGpr(RSP, (gpr(RSP) & ~0xffff) | (sp & 0xffff));
}

function iretProtected(size: u32): void {
  const level = cpl();
  const fl = r32(EFLAGS);
  if ((fl & FL_NT) != 0) {
    if (isLma()) raise(X_GP, 0);
    w32(NMI_BLOCKED, 0);
    const link = <u32>ld16(r64(TR_BASE) & 0xffffffff, MMU_KERNEL);
    switchTask(link, SWITCH_IRET, r64(NEXT_RIP), false, 0, 0, false);
    return;
  }
  popStart();
  popRoom(3 << size);
  const ip = pop(size);
  const cs = <u32>pop(size) & 0xffff;
  const f = <u32>pop(size);
  if (size == 2 && (f & FL_VM) != 0 && level == 0 && !isLma()) {
    w32(NMI_BLOCKED, 0);
    iretToVm(ip, cs, f);
    return;
  }
  checkReturnCs(cs);
  const rpl = cs & 3;
  checkReturnRip(ip);
  const outer = rpl > level;
  const popsSs = outer || isCode64();
  let sp: u64 = 0;
  let ss: u32 = 0;
  if (popsSs) {
    popRoom(2 << size);
    sp = pop(size);
    ss = <u32>pop(size) & 0xffff;
    checkReturnSs(ss, rpl);
  }
  let mask: u32 = FL_ARITH | FL_DF | FL_TF | FL_NT;
  if (size != 1) mask |= FL_RF | FL_AC | FL_ID;
  if (level <= iopl()) mask |= FL_IF;
  if (level == 0) {
    mask |= FL_IOPL;
    if (size != 1) mask |= FL_VIF | FL_VIP;
  }
  if (popsSs) commitReturnSs(ss, rpl, sp);
  else commitPop();
  commitReturnCs(cs, ip);
  if (outer) dropSegments(rpl);
  w32(NMI_BLOCKED, 0);
  setEflags(f, mask);
}

export function h_iret(a: u64, b: u64, imm: u32): u64 {
  if (!isPe() || isVm()) {
    iretReal(imm);
    w32(NMI_BLOCKED, 0);
  } else iretProtected(imm);
  // RF only means something to instruction breakpoints; kept without them it would show up in later frames.
  if ((hflags() & HF_DR7) == 0) w32(EFLAGS, r32(EFLAGS) & ~FL_RF);
  return 0;
}
