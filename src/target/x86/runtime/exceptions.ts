/**
 * AssemblyScript. Delivery of exceptions and interrupts: gates of every mode, stack switches, double and triple faults,
 * software interrupts. Source: Intel SDM vol 3 chapters 6, 20; vol 2 INT n. Not emulated: shadow stacks, FRED, machine checks.
 * One file although long: the modes' deliveries differ in small things that are best read side by side.
 */
import {
  DR, EXC_ERROR, EXC_OLD, EXC_VECTOR, FL_AC, FL_IF, FL_IOPL, FL_NT, FL_OF, FL_RF, FL_TF, FL_VIF, FL_VM, HALTED, IDT_BASE,
  IDT_LIMIT, INHIBIT, MMU_KERNEL, MMU_USER, NEXT_RIP, PENDING_DR6, RIP_EXACT, TR_BASE, TR_FLAGS, TR_LIMIT, TR_SEL,
} from "../layout";
import { notify, raise } from "./env";
import {
  canonical, cpl, cr4, CR4_VME, CS, D_B, D_CODE, D_EC, D_L, D_P, D_S, DS, ES, FS, gpr, GS, iopl, isCode64, isLma, isPe, isVm,
  r32, r64, rip, RSP, segBase, segFlags, segLimit, segSel, setGpr, setRip, SS, w32, w64, X_AC, X_BP, X_DB, X_DE, X_DF, X_GP,
  X_NP, X_OF, X_PF, X_SS, X_TS,
} from "./state";
import { arithFlags, getEflags, setEflags } from "./eflags";
import { updateHflags } from "./hflags";
import { checkAccess, ld16, ld32, ld64, MMU_STACK, st16, st32, st64 } from "./mmu";
import { ACC_WRITE } from "./page-walk";
import {
  baseOf, checkStackSegment, dAt, descriptor, dHigh, dLow, dplOf, limitOf, markAccessed, setCs, setSegDesc, setSegNull,
  setSegReal, setSsNull,
} from "./segments";
import { SWITCH_CALL, switchTask } from "./tasks";

// What kind of event a delivery is.
const K_FAULT: u32 = 0;
const K_TRAP: u32 = 1;
const K_EXTERNAL: u32 = 2;
/** INT n, INT3, INTO: the gate's DPL is checked, EXT is clear. */
const K_SOFTWARE: u32 = 3;

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
export function stackMask(flags: u32): u64 {
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
