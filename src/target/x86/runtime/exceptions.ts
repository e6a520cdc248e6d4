/**
 * AssemblyScript. Exceptions and interrupts: gates of every mode, stack switches, software interrupts, IRET, what happens
 * between instructions. Source: Intel SDM vol 3 chapters 6, 10.8, 17, 20; vol 2 INT n and IRET.
 * Not emulated: shadow stacks, FRED, machine checks.
 */
import {
  CC_DST, DR, EFLAGS, EV_EXIT, EV_INIT, EV_INTR, EV_NMI, EV_SIPI, EV_SMI, EV_TRAP, EVENTS, EXC_ERROR, EXC_OLD, EXC_VECTOR, FL_AC, FL_DF,
  FL_ID, FL_IF, FL_IOPL, FL_NT, FL_OF, FL_RF, FL_TF, FL_VIF, FL_VIP, FL_VM, FL_ARITH, HALTED, HF_CPL, HF_CR4_DE, HF_DR7, IDT_BASE, IDT_LIMIT,
  INHIBIT, INTR_WAIT, MMU_KERNEL, MMU_USER, NEXT_RIP, NMI_BLOCKED, PENDING_DR6, RIP_EXACT, SIPI_VECTOR, SMM, TR_BASE, TR_FLAGS,
  TR_LIMIT, TR_SEL,
} from "../layout";
import { arithFlags, getEflags, setEflags } from "./eflags";
import { acknowledge, env, notify, raise } from "./env";
import { updateHflags } from "./hflags";
import { checkAccess, ACC_WRITE, ld16, ld32, ld64, MMU_STACK, st16, st32, st64 } from "./mmu";
import { initCpu, startup } from "./reset";
import {
  baseOf, checkStackSegment, dAt, descriptor, dHigh, dLow, dplOf, limitOf, markAccessed, setCs, setSeg, setSegDesc, setSegNull,
  setSegReal, setSsNull, VM86_FLAGS,
} from "./segments";
import { enterSmm } from "./smm";
import {
  canonical, cpl, cr4, CR4_VME, CS, D_B, D_CODE, D_EC, D_L, D_P, D_RW, D_S, DS, ES, FS, gpr, GS, hflags, iopl, isCode64, isLma, isPe, isVm,
  r32, r64, rip, RSP, segBase, segFlags, segLimit, segSel, setGpr, setRip, SS, w32, w64, X_AC, X_BP, X_DB, X_DE, X_DF, X_GP, X_NMI, X_NP,
  X_OF, X_PF, X_SS, X_TS,
} from "./state";
import { SWITCH_CALL, SWITCH_IRET, switchTask } from "./tasks";

// What kind of event a delivery is.
const K_FAULT: u32 = 0;
const K_TRAP: u32 = 1;
const K_EXTERNAL: u32 = 2;
/** INT n, INT3, INTO: the gate's DPL is checked, EXT is clear. */
const K_SOFTWARE: u32 = 3;

const DR6_BS: u32 = 1 << 14;
const DR6_BD: u32 = 1 << 13;
const DR6_BT: u32 = 1 << 15;
const DR7_GD: u64 = 1 << 13;

function contributory(v: i32): bool {
  return v == X_DE || (v >= X_TS && v <= X_GP);
}

function hasErrorCode(v: i32): bool {
  return v == X_DF || (v >= X_TS && v <= X_PF) || v == X_AC || v == 21;
}

// --- a stack under construction: nothing of the CPU changes until the frame is complete ---
let kBase: u64 = 0;
let kMask: u64 = 0;
let kSp: u64 = 0;
let kMmu: u32 = 0;

/** Mask of the stack pointer for SS's flags. */
// @ts-ignore: decorator
@inline
function stackMask(flags: u32): u64 {
  return (flags & D_B) != 0 ? 0xffffffff : 0xffff;
}

function stackOnCurrent(): void {
  kBase = segBase(SS);
  kMask = stackMask(segFlags(SS));
  kSp = gpr(RSP) & kMask;
  kMmu = cpl() == 3 ? MMU_USER : MMU_KERNEL;
}

/** Raises #SS(error) unless `bytes` fit below kSp in a segment with these flags and limit. */
function needRoom(bytes: u32, flags: u32, limit: u32, error: u32): void {
  const top = <u32>kMask;
  let low = <u32>((kSp - bytes) & kMask);
  // Every item must be inside; the extremes tell, unless SP wraps, which is legal when both ends are inside.
  const high = <u32>((kSp - 1) & kMask);
  let ok: bool;
  if ((flags & (D_CODE | D_EC)) == D_EC) ok = low > limit && high > limit && high <= top;
  else ok = low <= limit && high <= limit;
  if (!ok) raise(X_SS, error);
}

function push(v: u64, size: u32): void {
  kSp = (kSp - (1 << size)) & kMask;
  const at = kMask == <u64>-1 ? kSp : (kBase + kSp) & 0xffffffff;
  if (size == 1) st16(at, v, kMmu);
  else if (size == 2) st32(at, v, kMmu);
  else st64(at, v, kMmu);
}

/** Raises page faults of the whole frame before anything is pushed. */
function probeFrame(bytes: u32): void {
  const low = (kSp - bytes) & kMask;
  if (kMask == <u64>-1) checkAccess(low, bytes, kMmu, ACC_WRITE);
  else if (low < kSp) checkAccess((kBase + low) & 0xffffffff, bytes, kMmu, ACC_WRITE);
}

function commitSp(): void {
  if (kMask == 0xffff) setGpr(RSP, (gpr(RSP) & ~0xffff) | kSp);
  else setGpr(RSP, kSp);
}

// --- delivery ---

function deliverReal(vector: u32, ret: u64): void {
  if (vector * 4 + 3 > r32(IDT_LIMIT)) raise(X_GP, vector * 8 + 2);
  const entry = ld32((r64(IDT_BASE) + vector * 4) & 0xffffffff, MMU_KERNEL);
  stackOnCurrent();
  needRoom(6, segFlags(SS), segLimit(SS), 0);
  probeFrame(6);
  push(<u64>(getEflags() & 0xffff), 1);
  push(<u64>segSel(CS), 1);
  push(ret, 1);
  commitSp();
  setSegReal(CS, <u32>entry >> 16);
  setRip(entry & 0xffff);
  setEflags(0, FL_IF | FL_TF | FL_RF | FL_AC);
}

/** An interrupt through the virtual machine's own IVT (VME). */
function deliverVme(vector: u32, ret: u64): void {
  const entry = ld32(vector * 4, MMU_USER);
  stackOnCurrent();
  needRoom(6, segFlags(SS), segLimit(SS), 0);
  probeFrame(6);
  let f = getEflags();
  const virtual = iopl() < 3;
  if (virtual) f = (f & ~FL_IF) | FL_IOPL | ((f & FL_VIF) != 0 ? FL_IF : 0);
  push(<u64>(f & 0xffff), 1);
  push(<u64>segSel(CS), 1);
  push(ret, 1);
  commitSp();
  setSegReal(CS, <u32>entry >> 16);
  setRip(entry & 0xffff);
  setEflags(0, (virtual ? FL_VIF : FL_IF) | FL_TF | FL_RF);
}

/** Flags image a frame gets. */
function savedFlags(kind: u32): u64 {
  const f = getEflags();
  return <u64>(kind == K_FAULT ? f | FL_RF : f);
}

function clearedFlags(interruptGate: bool): u32 {
  return FL_TF | FL_NT | FL_RF | FL_VM | (interruptGate ? FL_IF : 0);
}

/** Inner stack of a legacy TSS for a level, into nSel and nSp. */
export let nSel: u32 = 0;
export let nSp: u64 = 0;

export function tssStack(level: u32, ext: u32): void {
  const tr = (r32(TR_SEL) & 0xfffc) | ext;
  const base = r64(TR_BASE);
  if ((r32(TR_FLAGS) & 0x800) != 0) {
    const at = level * 8 + 4;
    if (at + 5 > r32(TR_LIMIT)) raise(X_TS, tr);
    nSp = ld32((base + at) & 0xffffffff, MMU_KERNEL);
    nSel = <u32>ld16((base + at + 4) & 0xffffffff, MMU_KERNEL);
  } else {
    const at = level * 4 + 2;
    if (at + 3 > r32(TR_LIMIT)) raise(X_TS, tr);
    nSp = ld16((base + at) & 0xffffffff, MMU_KERNEL);
    nSel = <u32>ld16((base + at + 2) & 0xffffffff, MMU_KERNEL);
  }
}

/** RSP0-2 (slots 0-2) or IST1-7 (slots 4-10) of the 64-bit TSS, by byte offset. */
export function tssRsp(at: u32, ext: u32): u64 {
  if (at + 7 > r32(TR_LIMIT)) raise(X_TS, (r32(TR_SEL) & 0xfffc) | ext);
  const sp = ld64(r64(TR_BASE) + at, MMU_KERNEL);
  if (!canonical(sp)) raise(X_SS, ext);
  return sp;
}

function deliverProtected(vector: u32, kind: u32, withError: bool, error: u32, ret: u64): void {
  const ext: u32 = kind == K_SOFTWARE ? 0 : 1;
  const idtError = vector * 8 + 2 + ext;
  if (vector * 8 + 7 > r32(IDT_LIMIT)) raise(X_GP, idtError);
  const gate = ld64((r64(IDT_BASE) + vector * 8) & 0xffffffff, MMU_KERNEL);
  const low = <u32>gate;
  const high = <u32>(gate >> 32);
  const type = (high >> 8) & 0x1f;
  if (type != 5 && type != 6 && type != 7 && type != 14 && type != 15) raise(X_GP, idtError);
  const level = cpl();
  if (kind == K_SOFTWARE && dplOf(high) < level) raise(X_GP, idtError);
  if ((high & D_P) == 0) raise(X_NP, idtError);
  if (type == 5) {
    switchTask(low >> 16, SWITCH_CALL, ret, withError, error, ext, kind == K_FAULT);
    return;
  }
  const sel = low >> 16;
  const size: u32 = (type & 8) != 0 ? 2 : 1;
  const offset: u64 = size == 2 ? <u64>((high & 0xffff0000) | (low & 0xffff)) : <u64>(low & 0xffff);
  if ((sel & 0xfffc) == 0) raise(X_GP, ext);
  descriptor(sel, X_GP, ext);
  const cLow = dLow;
  let cHigh = dHigh;
  const cAt = dAt;
  const selError = (sel & 0xfffc) | ext;
  const dpl = dplOf(cHigh);
  if ((cHigh & (D_S | D_CODE)) != (D_S | D_CODE) || dpl > level) raise(X_GP, selError);
  if ((cHigh & D_P) == 0) raise(X_NP, selError);
  const fromVm = isVm();
  const inner = (cHigh & D_EC) == 0 && dpl < level;
  const flags = savedFlags(kind);
  let sLow: u32 = 0;
  let sHigh: u32 = 0;
  let sAt: u64 = 0;
  let ssSel: u32 = 0;
  let words: u32 = withError ? 4 : 3;
  if (inner) {
    if (fromVm && dpl != 0) raise(X_GP, selError);
    tssStack(dpl, ext);
    ssSel = nSel;
    checkStackSegment(ssSel, dpl, X_TS, ext);
    sLow = dLow;
    sHigh = dHigh;
    sAt = dAt;
    words += fromVm ? 6 : 2;
    kBase = <u64>baseOf(sLow, sHigh);
    kMask = stackMask(sHigh);
    kSp = nSp & kMask;
    kMmu = dpl == 3 ? MMU_USER : MMU_KERNEL;
    needRoom(words << size, sHigh, limitOf(sLow, sHigh), (ssSel & 0xfffc) | ext);
  } else {
    if (fromVm) raise(X_GP, selError);
    stackOnCurrent();
    needRoom(words << size, segFlags(SS), segLimit(SS), ext);
  }
  if (size == 2 || offset <= 0xffff) {
    if (offset > limitOf(cLow, cHigh)) raise(X_GP, ext);
  }
  probeFrame(words << size);
  cHigh = markAccessed(cAt, cHigh);
  if (inner) {
    sHigh = markAccessed(sAt, sHigh);
    if (fromVm) {
      push(<u64>segSel(GS), size);
      push(<u64>segSel(FS), size);
      push(<u64>segSel(DS), size);
      push(<u64>segSel(ES), size);
    }
    push(<u64>segSel(SS), size);
    push(gpr(RSP), size);
  }
  push(flags, size);
  push(<u64>segSel(CS), size);
  push(ret, size);
  if (withError) push(<u64>error, size);
  if (inner) {
    if (fromVm) {
      setSegNull(ES, 0);
      setSegNull(DS, 0);
      setSegNull(FS, 0);
      setSegNull(GS, 0);
    }
    setSegDesc(SS, ssSel, sLow, sHigh);
  }
  commitSp();
  setCs(sel, inner ? dpl : level, cLow, cHigh);
  setRip(offset);
  setEflags(0, clearedFlags((type & 1) == 0));
}

function deliverLong(vector: u32, kind: u32, withError: bool, error: u32, ret: u64): void {
  const ext: u32 = kind == K_SOFTWARE ? 0 : 1;
  const idtError = vector * 8 + 2 + ext;
  if (vector * 16 + 15 > r32(IDT_LIMIT)) raise(X_GP, idtError);
  const at = r64(IDT_BASE) + vector * 16;
  const gate = ld64(at, MMU_KERNEL);
  const low = <u32>gate;
  const high = <u32>(gate >> 32);
  const offset = (gate & 0xffff) | ((gate >> 32) & 0xffff0000) | (ld64(at + 8, MMU_KERNEL) << 32);
  const type = (high >> 8) & 0x1f;
  if (type != 14 && type != 15) raise(X_GP, idtError);
  const level = cpl();
  if (kind == K_SOFTWARE && dplOf(high) < level) raise(X_GP, idtError);
  if ((high & D_P) == 0) raise(X_NP, idtError);
  const sel = low >> 16;
  if ((sel & 0xfffc) == 0) raise(X_GP, ext);
  descriptor(sel, X_GP, ext);
  const cLow = dLow;
  let cHigh = dHigh;
  const cAt = dAt;
  const selError = (sel & 0xfffc) | ext;
  const dpl = dplOf(cHigh);
  if ((cHigh & (D_S | D_CODE)) != (D_S | D_CODE) || dpl > level || (cHigh & (D_L | D_B)) != D_L) raise(X_GP, selError);
  if ((cHigh & D_P) == 0) raise(X_NP, selError);
  const inner = (cHigh & D_EC) == 0 && dpl < level;
  const ist = high & 7;
  const newLevel = inner ? dpl : level;
  let sp: u64;
  if (ist != 0) sp = tssRsp(0x24 + (ist - 1) * 8, ext);
  else if (inner) sp = tssRsp(4 + dpl * 8, ext);
  else sp = isCode64() ? gpr(RSP) : gpr(RSP) & stackMask(segFlags(SS));
  const flags = savedFlags(kind);
  kBase = 0;
  kMask = <u64>-1;
  kSp = sp & ~15;
  kMmu = newLevel == 3 ? MMU_USER : MMU_KERNEL;
  kMmu |= MMU_STACK;
  probeFrame(withError ? 48 : 40);
  cHigh = markAccessed(cAt, cHigh);
  push(<u64>segSel(SS), 3);
  push(gpr(RSP), 3);
  push(flags, 3);
  push(<u64>segSel(CS), 3);
  push(ret, 3);
  if (withError) push(<u64>error, 3);
  if (inner) setSsNull(dpl, dpl);
  setGpr(RSP, kSp);
  setCs(sel, newLevel, cLow, cHigh);
  setRip(offset);
  setEflags(0, clearedFlags(type == 14));
}

function deliver(vector: u32, kind: u32, withError: bool, error: u32, ret: u64): void {
  if (!isPe()) deliverReal(vector, ret);
  else if (isLma()) deliverLong(vector, kind, withError, error, ret);
  else deliverProtected(vector, kind, withError, error, ret);
}

function shutDown(): void {
  w32(HALTED, 3);
  w32(EXC_OLD, <u32>-1);
  w32(RIP_EXACT, 0);
  notify(2, 0);
}

/** Delivers EXC_VECTOR / EXC_ERROR at RIP (for #DB: EXC_ERROR 1 = fault). May unwind with the next exception. */
export function deliverException(): void {
  let vector = <i32>r32(EXC_VECTOR);
  let error = r32(EXC_ERROR);
  const old = <i32>r32(EXC_OLD);
  let kind = K_FAULT;
  if (old >= 0) {
    if (old == X_DF) {
      shutDown();
      return;
    }
    if ((contributory(old) && contributory(vector)) || (old == X_PF && (contributory(vector) || vector == X_PF))) {
      vector = X_DF;
      error = 0;
    }
  }
  if (vector == X_DB) {
    kind = error == 1 ? K_FAULT : K_TRAP;
    w64(DR + 48, r64(DR + 48) | r32(PENDING_DR6));
    w64(DR + 56, r64(DR + 56) & ~DR7_GD);
    w32(PENDING_DR6, 0);
    updateHflags();
  } else if (vector == X_BP || vector == X_OF) kind = K_TRAP;
  w32(EXC_VECTOR, vector);
  w32(EXC_ERROR, error);
  w32(EXC_OLD, vector);
  w32(RIP_EXACT, 1);
  // Every injected event ends an interrupt shadow and HLT.
  w32(INHIBIT, 0);
  if (r32(HALTED) == 1) w32(HALTED, 0);
  deliver(vector, kind, isPe() && hasErrorCode(vector), error, rip());
  finish();
}

function finish(): void {
  w32(EXC_OLD, <u32>-1);
  w32(RIP_EXACT, 0);
}

/** An external interrupt at RIP. */
export function deliverInterrupt(vector: u32): void {
  w32(RIP_EXACT, 1);
  w32(EXC_OLD, 0x100);
  if (r32(HALTED) == 1) w32(HALTED, 0);
  deliver(vector, K_EXTERNAL, false, 0, rip());
  finish();
}

// --- software interrupts ---

/** VM86 redirection: true when the bit of the vector is clear, i.e. the virtual machine's own handler takes it. */
function redirected(vector: u32): bool {
  const limit = r32(TR_LIMIT);
  if ((r32(TR_FLAGS) & 0x800) == 0 || limit < 0x67) return false;
  const base = r64(TR_BASE);
  const map = <u32>ld16((base + 0x66) & 0xffffffff, MMU_KERNEL);
  const at = map - 32 + (vector >> 3);
  if (map < 32 || at > limit) return false;
  return ((<u32>ld16((base + (at & ~1)) & 0xffffffff, MMU_KERNEL) >> (((at & 1) << 3) + (vector & 7))) & 1) == 0;
}

function software(vector: u32): void {
  deliver(vector, K_SOFTWARE, false, 0, r64(NEXT_RIP));
}

export function h_int_n(a: u64, b: u64, imm: u32): u64 {
  const vector = imm & 0xff;
  if (isVm()) {
    if ((cr4() & CR4_VME) != 0) {
      if (redirected(vector)) {
        deliverVme(vector, r64(NEXT_RIP));
        return 0;
      }
    }
    if (iopl() < 3) raise(X_GP, 0);
  }
  software(vector);
  return 0;
}

export function h_int3(a: u64, b: u64, imm: u32): u64 {
  software(X_BP);
  return 0;
}

export function h_into(a: u64, b: u64, imm: u32): u64 {
  if ((arithFlags() & FL_OF) == 0) setRip(r64(NEXT_RIP));
  else software(X_OF);
  return 0;
}

export function h_icebp(a: u64, b: u64, imm: u32): u64 {
  w64(DR + 56, r64(DR + 56) & ~DR7_GD);
  updateHflags();
  deliver(X_DB, K_TRAP, false, 0, r64(NEXT_RIP));
  return 0;
}

export function h_raise(a: u64, b: u64, imm: u32): u64 {
  raise(imm & 0xff, imm >> 16);
  return 0;
}

// --- IRET ---

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

// --- between instructions ---

/** Single step: last thing of an instruction that began with TF set. */
export function h_step_trap(a: u64, b: u64, imm: u32): u64 {
  w32(PENDING_DR6, r32(PENDING_DR6) | DR6_BS);
  atomic.or<u32>(env + EVENTS, EV_TRAP);
  return 0;
}

/** The T bit of a TSS just switched to. */
export function taskTrap(): void {
  w32(PENDING_DR6, r32(PENDING_DR6) | DR6_BT);
  atomic.or<u32>(env + EVENTS, EV_TRAP);
}

/** Which of DR0-3 that are enabled with these R/W kinds (bit k = kind k) overlap [linear, linear + bytes). */
function drHits(linear: u64, bytes: u32, kinds: u32): u32 {
  const dr7 = <u32>r64(DR + 56);
  let hits: u32 = 0;
  for (let i: u32 = 0; i < 4; i++) {
    if (((dr7 >> (i * 2)) & 3) == 0) continue;
    if (((kinds >> ((dr7 >> (16 + i * 4)) & 3)) & 1) == 0) continue;
    const code = (dr7 >> (18 + i * 4)) & 3;
    const length: u64 = code == 0 ? 1 : code == 1 ? 2 : code == 2 ? 8 : 4;
    const at = r64(DR + (i << 3)) & ~(length - 1);
    if (linear < at + length && at < linear + bytes) hits |= 1 << i;
  }
  return hits;
}

/** Data breakpoints. imm: bytes | write << 8. The trap comes after the instruction. */
export function h_dr_check(a: u64, b: u64, imm: u32): u64 {
  const hits = drHits(a, imm & 0xff, (imm & 0x100) != 0 ? (1 << 1) | (1 << 3) : 1 << 3);
  if (hits != 0) {
    w32(PENDING_DR6, r32(PENDING_DR6) | hits);
    atomic.or<u32>(env + EVENTS, EV_TRAP);
  }
  return 0;
}

/** I/O breakpoints (CR4.DE). */
export function ioBreakpoint(port: u32, bytes: u32): void {
  if ((hflags() & HF_CR4_DE) == 0) return;
  const hits = drHits(<u64>port, bytes, 1 << 2);
  if (hits != 0) {
    w32(PENDING_DR6, r32(PENDING_DR6) | hits);
    atomic.or<u32>(env + EVENTS, EV_TRAP);
  }
}

/** Instruction breakpoints, before the instruction at linear address a. EFLAGS.RF suppresses them for one instruction. */
export function h_dr_exec(a: u64, b: u64, imm: u32): u64 {
  const fl = r32(EFLAGS);
  if ((fl & FL_RF) != 0) {
    w32(EFLAGS, fl & ~FL_RF);
    return 0;
  }
  const hits = drHits(a, 1, 1);
  if (hits != 0) {
    w32(PENDING_DR6, r32(PENDING_DR6) | hits);
    raise(X_DB, 1);
  }
  return 0;
}

/** General detect: MOV DR with DR7.GD set. */
export function generalDetect(): void {
  w32(PENDING_DR6, r32(PENDING_DR6) | DR6_BD);
  raise(X_DB, 1);
}

function take(bit: u32): void {
  atomic.and<u32>(env + EVENTS, ~bit);
}

/** Between blocks; see docs/helpers.md for the result. */
export function serviceEvents(): u32 {
  const ev = atomic.load<u32>(env + EVENTS);
  if ((ev & EV_EXIT) != 0) {
    take(EV_EXIT);
    return 3;
  }
  if ((ev & EV_INIT) != 0) {
    take(EV_INIT | EV_SIPI | EV_TRAP);
    initCpu();
    return r32(HALTED) != 0 ? 2 : 0;
  }
  if (r32(HALTED) == 3) return 2;
  if ((ev & EV_SIPI) != 0) {
    take(EV_SIPI);
    if (r32(HALTED) == 2) startup(r32(SIPI_VECTOR));
  }
  if (r32(HALTED) == 2) return 2;
  if ((ev & EV_SMI) != 0 && r32(SMM) == 0) {
    take(EV_SMI);
    enterSmm();
    return 0;
  }
  const inhibit = r32(INHIBIT);
  if ((ev & EV_TRAP) != 0 && inhibit != 2) {
    take(EV_TRAP);
    w32(EXC_VECTOR, X_DB);
    w32(EXC_ERROR, 0);
    w32(INHIBIT, 0);
    deliverException();
    return 0;
  }
  if ((ev & (EV_INTR | EV_NMI | EV_TRAP)) != 0 && inhibit != 0) {
    w32(INHIBIT, 0);
    // A CPU that halted in the shadow (STI; HLT) has executed its one instruction.
    if (r32(HALTED) == 0) return 1;
  }
  if ((ev & EV_NMI) != 0 && r32(NMI_BLOCKED) == 0) {
    take(EV_NMI);
    w32(NMI_BLOCKED, 1);
    deliverInterrupt(X_NMI);
    return 0;
  }
  if ((ev & EV_INTR) != 0) {
    if ((r32(EFLAGS) & FL_IF) != 0) {
      const vector = acknowledge();
      if (vector >= 0) {
        deliverInterrupt(<u32>vector & 0xff);
        return 0;
      }
      take(EV_INTR);
    } else {
      // Out of the way of polling loops until IF is set (updateHflags, STI).
      w32(INTR_WAIT, 1);
      take(EV_INTR);
    }
  }
  w32(INHIBIT, 0);
  return r32(HALTED) != 0 ? 2 : 0;
}
