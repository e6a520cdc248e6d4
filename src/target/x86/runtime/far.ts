/**
 * AssemblyScript. Far jumps, calls and returns, call gates. Source: Intel SDM vol 3 5.8, vol 2 CALL, JMP, RET.
 * Not emulated: shadow stacks.
 */
import { MMU_KERNEL, MMU_USER, NEXT_RIP } from "../layout";
import { raise } from "./env";
import {
  canonical, cpl, CS, D_B, D_CODE, D_EC, D_L, D_P, D_S, dataMmu, gpr, isCode64, isLma, isProt, r64, RSP, segFlags, segLimit,
  segSel, setGpr, setRip, SS, trunc, X_GP, X_NP, X_SS, X_TS,
} from "./state";
import { nSel, nSp, tssRsp, tssStack } from "./exceptions";
import { updateHflags } from "./hflags";
import { checkReturnCs, checkReturnRip, checkReturnSs, commitReturnCs, commitReturnSs, dropSegments } from "./iret";
import { checkAccess, ld16, ld32, ld64, MMU_STACK, st16, st32, st64 } from "./mmu";
import { ACC_WRITE } from "./page-walk";
import {
  baseOf, checkStackSegment, dAt, descriptor, dHigh, dLow, dplOf, effBase, highBase, limitOf, markAccessed, setCs, setSegDesc,
  setSegReal, setSsNull,
} from "./segments";
import { SWITCH_CALL, SWITCH_JMP, switchTask } from "./tasks";

// --- the stack while an instruction works on it ---
let base: u64 = 0;
let mask: u64 = 0;
let sp: u64 = 0;
let mmu: u32 = 0;

function currentStack(): void {
  base = effBase(SS);
  mask = isCode64() ? <u64>-1 : (segFlags(SS) & D_B) != 0 ? 0xffffffff : 0xffff;
  sp = gpr(RSP) & mask;
  mmu = dataMmu() | MMU_STACK;
}

/** Raises #SS(error) unless [from, from + bytes) is inside a stack segment. */
function inside(from: u64, bytes: u32, flags: u32, limit: u32, error: u32): void {
  if (mask == <u64>-1) return;
  const low = <u32>(from & mask);
  const high = <u32>((from + bytes - 1) & mask);
  const down = (flags & (D_CODE | D_EC)) == D_EC;
  if (down ? low <= limit || high <= limit : low > limit || high > limit) raise(X_SS, error);
}

function linear(at: u64): u64 {
  return mask == <u64>-1 ? at : (base + (at & mask)) & 0xffffffff;
}

function push(v: u64, size: u32): void {
  sp = (sp - (1 << size)) & mask;
  const at = linear(sp);
  if (size == 1) st16(at, v, mmu);
  else if (size == 2) st32(at, v, mmu);
  else st64(at, v, mmu);
}

function peek(offset: u32, size: u32): u64 {
  const at = linear(sp + offset);
  return size == 1 ? ld16(at, mmu) : size == 2 ? ld32(at, mmu) : ld64(at, mmu);
}

function probeFrame(bytes: u32): void {
  const low = (sp - bytes) & mask;
  if (low < sp) checkAccess(linear(low), bytes, mmu, ACC_WRITE);
}

function commitSp(): void {
  if (mask == 0xffff) setGpr(RSP, (gpr(RSP) & ~0xffff) | sp);
  else setGpr(RSP, sp);
}

/** Raises #GP(0) unless an offset is valid in a code segment. */
function checkTarget(offset: u64, low: u32, high: u32): void {
  if (isLma() && (high & D_L) != 0) {
    if (!canonical(offset)) raise(X_GP, 0);
  } else if (offset > <u64>limitOf(low, high)) raise(X_GP, 0);
}

/** Checks a code descriptor as target of a direct far JMP or CALL. */
function checkCode(sel: u32): void {
  const err = sel & 0xfffc;
  const dpl = dplOf(dHigh);
  if ((dHigh & D_EC) != 0) {
    if (dpl > cpl()) raise(X_GP, err);
  } else if ((sel & 3) > cpl() || dpl != cpl()) raise(X_GP, err);
  if (isLma() && (dHigh & (D_L | D_B)) == (D_L | D_B)) raise(X_GP, err);
  if ((dHigh & D_P) == 0) raise(X_NP, err);
}

function realJump(sel: u32, offset: u64): void {
  setSegReal(CS, sel);
  setRip(offset);
  updateHflags();
}

export function h_far_jmp(a: u64, b: u64, imm: u32): u64 {
  const sel = <u32>a & 0xffff;
  const offset = trunc(b, imm);
  if (!isProt()) {
    if (offset > <u64>segLimit(CS)) raise(X_GP, 0);
    realJump(sel, offset);
    return 0;
  }
  if ((sel & 0xfffc) == 0) raise(X_GP, 0);
  descriptor(sel, X_GP, 0);
  if ((dHigh & (D_S | D_CODE)) == (D_S | D_CODE)) {
    checkCode(sel);
    checkTarget(offset, dLow, dHigh);
    const low = dLow;
    const high = markAccessed(dAt, dHigh);
    setCs(sel, cpl(), low, high);
    setRip(offset);
    updateHflags();
    return 0;
  }
  if ((dHigh & D_S) != 0) raise(X_GP, sel & 0xfffc);
  farSystem(sel, false);
  return 0;
}

export function h_far_call(a: u64, b: u64, imm: u32): u64 {
  const sel = <u32>a & 0xffff;
  const offset = trunc(b, imm);
  const ret = r64(NEXT_RIP);
  if (!isProt()) {
    if (offset > <u64>segLimit(CS)) raise(X_GP, 0);
    currentStack();
    inside(sp - (2 << imm), 2 << imm, segFlags(SS), segLimit(SS), 0);
    probeFrame(2 << imm);
    push(<u64>segSel(CS), imm);
    push(ret, imm);
    commitSp();
    realJump(sel, offset);
    return 0;
  }
  if ((sel & 0xfffc) == 0) raise(X_GP, 0);
  descriptor(sel, X_GP, 0);
  if ((dHigh & (D_S | D_CODE)) == (D_S | D_CODE)) {
    checkCode(sel);
    checkTarget(offset, dLow, dHigh);
    const low = dLow;
    let high = dHigh;
    const at = dAt;
    currentStack();
    inside(sp - (2 << imm), 2 << imm, segFlags(SS), segLimit(SS), 0);
    probeFrame(2 << imm);
    high = markAccessed(at, high);
    push(<u64>segSel(CS), imm);
    push(ret, imm);
    commitSp();
    setCs(sel, cpl(), low, high);
    setRip(offset);
    updateHflags();
    return 0;
  }
  if ((dHigh & D_S) != 0) raise(X_GP, sel & 0xfffc);
  farSystem(sel, true);
  return 0;
}

/** Far transfer through the system descriptor fetched last: call gate, task gate, TSS. */
function farSystem(sel: u32, call: bool): void {
  const err = sel & 0xfffc;
  const type = (dHigh >> 8) & 15;
  const dpl = dplOf(dHigh);
  const long = isLma();
  if (type == 12 || (type == 4 && !long)) {
    if (dpl < cpl() || dpl < (sel & 3)) raise(X_GP, err);
    if ((dHigh & D_P) == 0) raise(X_NP, err);
    if (long) longGate(sel, call);
    else legacyGate(call);
    return;
  }
  if (long || (type != 1 && type != 9 && type != 5)) raise(X_GP, err);
  if (dpl < cpl() || dpl < (sel & 3)) raise(X_GP, err);
  let target = sel;
  if (type == 5) {
    if ((dHigh & D_P) == 0) raise(X_NP, err);
    target = dLow >> 16;
  }
  switchTask(target, call ? SWITCH_CALL : SWITCH_JMP, r64(NEXT_RIP), false, 0, 0, false);
}

/** Fetches and checks a gate's code segment. */
function gateCode(sel: u32, call: bool, long: bool): void {
  if ((sel & 0xfffc) == 0) raise(X_GP, 0);
  const err = sel & 0xfffc;
  descriptor(sel, X_GP, 0);
  const dpl = dplOf(dHigh);
  if ((dHigh & (D_S | D_CODE)) != (D_S | D_CODE) || dpl > cpl()) raise(X_GP, err);
  if (long && (dHigh & (D_L | D_B)) != D_L) raise(X_GP, err);
  if (!call && (dHigh & D_EC) == 0 && dpl != cpl()) raise(X_GP, err);
  if ((dHigh & D_P) == 0) raise(X_NP, err);
}

function legacyGate(call: bool): void {
  const gHigh = dHigh;
  const gLow = dLow;
  const size: u32 = (gHigh & 0x800) != 0 ? 2 : 1;
  const params = gHigh & 31;
  const sel = gLow >> 16;
  const offset: u64 = size == 2 ? <u64>((gHigh & 0xffff0000) | (gLow & 0xffff)) : <u64>(gLow & 0xffff);
  gateCode(sel, call, false);
  const low = dLow;
  let high = dHigh;
  const at = dAt;
  if (offset > <u64>limitOf(low, high)) raise(X_GP, 0);
  const dpl = dplOf(high);
  let level = cpl();
  if (call) {
    const ret = r64(NEXT_RIP);
    if ((high & D_EC) == 0 && dpl < level) {
      tssStack(dpl, 0);
      const ssSel = nSel;
      checkStackSegment(ssSel, dpl, X_TS, 0);
      const sLow = dLow;
      let sHigh = dHigh;
      const sAt = dAt;
      // Parameters come from the old stack, at old rights.
      currentStack();
      const oldBase = base;
      const oldMask = mask;
      const oldSp = sp;
      const oldMmu = mmu;
      if (params != 0) inside(sp, params << size, segFlags(SS), segLimit(SS), 0);
      for (let i: u32 = 0; i < params; i++) peek(i << size, size);
      const bytes = (4 + params) << size;
      base = <u64>baseOf(sLow, sHigh);
      mask = (sHigh & D_B) != 0 ? 0xffffffff : 0xffff;
      sp = nSp & mask;
      mmu = MMU_KERNEL;
      if (dpl == 3) mmu = MMU_USER;
      inside(sp - bytes, bytes, sHigh, limitOf(sLow, sHigh), ssSel & 0xfffc);
      probeFrame(bytes);
      high = markAccessed(at, high);
      sHigh = markAccessed(sAt, sHigh);
      push(<u64>segSel(SS), size);
      push(gpr(RSP), size);
      for (let i = <i32>params - 1; i >= 0; i--) {
        const from = (oldBase + ((oldSp + ((<u32>i) << size)) & oldMask)) & 0xffffffff;
        push(size == 1 ? ld16(from, oldMmu) : ld32(from, oldMmu), size);
      }
      push(<u64>segSel(CS), size);
      push(ret, size);
      setSegDesc(SS, ssSel, sLow, sHigh);
      commitSp();
      level = dpl;
    } else {
      currentStack();
      inside(sp - (2 << size), 2 << size, segFlags(SS), segLimit(SS), 0);
      probeFrame(2 << size);
      high = markAccessed(at, high);
      push(<u64>segSel(CS), size);
      push(ret, size);
      commitSp();
    }
  } else high = markAccessed(at, high);
  setCs(sel, level, low, high);
  setRip(offset);
  updateHflags();
}

function longGate(gate: u32, call: bool): void {
  const gLow = dLow;
  const gHigh = dHigh;
  const offset = <u64>((gHigh & 0xffff0000) | (gLow & 0xffff)) | highBase(gate);
  const sel = gLow >> 16;
  gateCode(sel, call, true);
  const low = dLow;
  let high = dHigh;
  const at = dAt;
  if (!canonical(offset)) raise(X_GP, 0);
  const dpl = dplOf(high);
  let level = cpl();
  if (call) {
    const inner = (high & D_EC) == 0 && dpl < level;
    if (inner) {
      sp = tssRsp(4 + dpl * 8, 0);
      base = 0;
      mask = <u64>-1;
      mmu = (dpl == 3 ? MMU_USER : MMU_KERNEL) | MMU_STACK;
    } else {
      currentStack();
      base = 0;
      mask = <u64>-1;
    }
    probeFrame(inner ? 32 : 16);
    high = markAccessed(at, high);
    if (inner) {
      push(<u64>segSel(SS), 3);
      push(gpr(RSP), 3);
    }
    push(<u64>segSel(CS), 3);
    push(r64(NEXT_RIP), 3);
    if (inner) {
      setSsNull(dpl, dpl);
      level = dpl;
    }
    setGpr(RSP, sp);
  } else high = markAccessed(at, high);
  setCs(sel, level, low, high);
  setRip(offset);
  updateHflags();
}

/** RETF. a: bytes of parameters to drop. */
export function h_far_ret(a: u64, b: u64, imm: u32): u64 {
  const drop = <u32>a & 0xffff;
  currentStack();
  inside(sp, 2 << imm, segFlags(SS), segLimit(SS), 0);
  const ip = peek(0, imm);
  const cs = <u32>peek(1 << imm, imm) & 0xffff;
  if (!isProt()) {
    if (ip > <u64>segLimit(CS)) raise(X_GP, 0);
    sp = (sp + (2 << imm) + drop) & mask;
    commitSp();
    realJump(cs, ip);
    return 0;
  }
  checkReturnCs(cs);
  checkReturnRip(ip);
  const rpl = cs & 3;
  if (rpl == cpl()) {
    sp = (sp + (2 << imm) + drop) & mask;
    commitSp();
    commitReturnCs(cs, ip);
  } else {
    const at = (2 << imm) + drop;
    inside(sp + at, 2 << imm, segFlags(SS), segLimit(SS), 0);
    const newSp = peek(at, imm);
    const ss = <u32>peek(at + (1 << imm), imm) & 0xffff;
    checkReturnSs(ss, rpl);
    commitReturnSs(ss, rpl, newSp);
    commitReturnCs(cs, ip);
    updateHflags();
    const m: u64 = isCode64() ? <u64>-1 : (segFlags(SS) & D_B) != 0 ? 0xffffffff : 0xffff;
    const after = gpr(RSP) + drop;
    setGpr(RSP, m == 0xffff ? (gpr(RSP) & ~0xffff) | (after & 0xffff) : after & m);
    dropSegments(rpl);
  }
  updateHflags();
  return 0;
}
