/**
 * AssemblyScript. Hardware task switches, 16- and 32-bit TSS. Source: Intel SDM vol 3 chapter 7.
 */
import {
  CR0,
  CR3,
  EXC_OLD,
  FL_NT,
  FL_RF,
  FL_VM,
  GDT_BASE,
  LDTR_FLAGS,
  LDTR_SEL,
  MMU_KERNEL,
  RIP_EXACT,
  TR_BASE,
  TR_FLAGS,
  TR_LIMIT,
  TR_SEL,
} from "../layout";
import { getEflags, setEflags } from "./eflags";
import { raise } from "./env";
import { taskTrap } from "./debug";
import { updateHflags } from "./hflags";
import { checkAccess, flushTlb, ld16, ld32, ld8, st16, st32, st8 } from "./mmu";
import { ACC_READ, ACC_WRITE, loadPdptes, usesPdptes } from "./page-walk";
import {
  baseOf,
  checkStackSegment,
  dAt,
  descriptor,
  dHigh,
  dLow,
  dplOf,
  limitOf,
  loadLdt,
  markAccessed,
  setCs,
  setSeg,
  setSegDesc,
  VM86_FLAGS,
} from "./segments";
import {
  cr0,
  CR0_PG,
  CR0_TS,
  CS,
  D_B,
  D_CODE,
  D_EC,
  D_P,
  D_RW,
  D_S,
  ES,
  gpr,
  r32,
  r64,
  RSP,
  segBase,
  segFlags,
  segLimit,
  segSel,
  setGpr,
  setRip,
  SS,
  w32,
  w64,
  X_GP,
  X_NP,
  X_SS,
  X_TS,
} from "./state";

export const SWITCH_JMP: u32 = 0;
export const SWITCH_IRET: u32 = 1;
/** CALL, interrupts, exceptions. */
export const SWITCH_CALL: u32 = 2;

/** Linear addresses wrap: there are no tasks in long mode. */
function lin(base: u64, offset: u32): u64 {
  return (base + offset) & 0xffffffff;
}

/**
 * Switches to the task of a TSS selector.
 * @param ret EIP saved for the old task
 * @param ext EXT bit of error codes
 * @param fault the saved EFLAGS get RF
 */
export function switchTask(sel: u32, source: u32, ret: u64, withError: bool, error: u32, ext: u32, fault: bool): void {
  sel &= 0xffff;
  const vector = source == SWITCH_IRET ? X_TS : X_GP;
  const selError = (sel & 0xfffc) | ext;
  if ((sel & 0xfffc) == 0 || (sel & 4) != 0) raise(vector, selError);
  descriptor(sel, vector, ext);
  const newLow = dLow;
  let newHigh = dHigh;
  const newAt = dAt;
  const type = newHigh & (D_S | 0xf00);
  const busy = (type & 0x200) != 0;
  if ((type & ~0xa00) != 0x100 || busy != (source == SWITCH_IRET)) raise(vector, selError);
  if ((newHigh & D_P) == 0) raise(X_NP, selError);
  const wide = (type & 0x800) != 0;
  const newLimit = limitOf(newLow, newHigh);
  const needed: u32 = wide ? 0x67 : 0x2b;
  if (newLimit < needed) raise(X_TS, selError);
  const to = <u64>baseOf(newLow, newHigh);
  const oldWide = (r32(TR_FLAGS) & 0x800) != 0;
  const from = r64(TR_BASE);
  const oldSel = r32(TR_SEL);
  const oldNeeded: u32 = oldWide ? 0x5f : 0x29;
  if (r32(TR_LIMIT) < oldNeeded) raise(X_TS, (oldSel & 0xfffc) | ext);
  const oldAt = lin(r64(GDT_BASE), oldSel & 0xfff8);
  // Page faults of everything touched, in the old task.
  checkAccess(lin(from, 0), oldWide ? 0x68 : 0x2c, MMU_KERNEL, ACC_WRITE);
  checkAccess(lin(to, 0), wide ? 0x68 : 0x2c, MMU_KERNEL, source == SWITCH_CALL ? ACC_WRITE : ACC_READ);
  checkAccess(newAt, 8, MMU_KERNEL, ACC_WRITE);
  if (source != SWITCH_CALL) checkAccess(oldAt, 8, MMU_KERNEL, ACC_WRITE);

  // The new state.
  let nCr3: u64 = 0;
  let nIp: u64 = 0;
  let nFlags: u32 = 0;
  let nLdt: u32 = 0;
  let trap: u32 = 0;
  if (wide) {
    nCr3 = ld32(lin(to, 0x1c), MMU_KERNEL);
    nIp = ld32(lin(to, 0x20), MMU_KERNEL);
    nFlags = <u32>ld32(lin(to, 0x24), MMU_KERNEL);
    nLdt = <u32>ld16(lin(to, 0x60), MMU_KERNEL);
    trap = <u32>ld16(lin(to, 0x64), MMU_KERNEL) & 1;
  } else {
    nIp = ld16(lin(to, 0x0e), MMU_KERNEL);
    nFlags = <u32>ld16(lin(to, 0x10), MMU_KERNEL);
    nLdt = <u32>ld16(lin(to, 0x2a), MMU_KERNEL);
  }

  // The old state.
  let saved = getEflags();
  if (fault) saved |= FL_RF;
  if (source == SWITCH_IRET) saved &= ~FL_NT;
  if (oldWide) {
    st32(lin(from, 0x20), ret, MMU_KERNEL);
    st32(lin(from, 0x24), <u64>saved, MMU_KERNEL);
    for (let i: u32 = 0; i < 8; i++) st32(lin(from, 0x28 + i * 4), gpr(i), MMU_KERNEL);
    for (let i: u32 = 0; i < 6; i++) st16(lin(from, 0x48 + i * 4), <u64>segSel(i), MMU_KERNEL);
  } else {
    st16(lin(from, 0x0e), ret, MMU_KERNEL);
    st16(lin(from, 0x10), <u64>saved, MMU_KERNEL);
    for (let i: u32 = 0; i < 8; i++) st16(lin(from, 0x12 + i * 2), gpr(i), MMU_KERNEL);
    for (let i: u32 = 0; i < 4; i++) st16(lin(from, 0x22 + i * 2), <u64>segSel(i), MMU_KERNEL);
  }
  if (source != SWITCH_CALL) {
    const t = ld8(oldAt + 5, MMU_KERNEL);
    st8(oldAt + 5, t & ~2, MMU_KERNEL);
  } else {
    st16(lin(to, 0), <u64>oldSel, MMU_KERNEL);
    nFlags |= FL_NT;
  }
  if (source != SWITCH_IRET) {
    newHigh |= 0x200;
    st8(newAt + 5, <u64>(newHigh >> 8) & 0xff, MMU_KERNEL);
  }

  // Commit: from here on faults belong to the new task.
  w32(TR_SEL, sel);
  w64(TR_BASE, to);
  w32(TR_LIMIT, newLimit);
  w32(TR_FLAGS, newHigh | 0x200);
  w64(CR0, cr0() | CR0_TS);
  setRip(nIp);
  w32(RIP_EXACT, 1);
  const vm = wide && (nFlags & FL_VM) != 0;
  // The registers must be read before CR3 changes: the TSS need not be mapped in the new address space.
  let sels: u64 = 0;
  let sels2: u64 = 0;
  if (wide) {
    for (let i: u32 = 0; i < 8; i++) setGpr(i, ld32(lin(to, 0x28 + i * 4), MMU_KERNEL));
    for (let i: u32 = 0; i < 4; i++) sels |= ld16(lin(to, 0x48 + i * 4), MMU_KERNEL) << (i << 4);
    for (let i: u32 = 0; i < 2; i++) sels2 |= ld16(lin(to, 0x58 + i * 4), MMU_KERNEL) << (i << 4);
  } else {
    for (let i: u32 = 0; i < 8; i++) setGpr(i, (gpr(i) & 0xffff0000) | ld16(lin(to, 0x12 + i * 2), MMU_KERNEL));
    for (let i: u32 = 0; i < 4; i++) sels |= ld16(lin(to, 0x22 + i * 2), MMU_KERNEL) << (i << 4);
  }
  const csSel = <u32>(sels >> 16) & 0xffff;
  const level = csSel & 3;
  if (vm) {
    for (let i: u32 = 0; i < 6; i++) {
      const s = <u32>(i < 4 ? sels >> (i << 4) : sels2 >> ((i - 4) << 4)) & 0xffff;
      setSeg(i, s, (<u64>s) << 4, 0xffff, VM86_FLAGS);
    }
  } else {
    // Not usable until loaded below; SS carries the new CPL.
    for (let i: u32 = 0; i < 6; i++) {
      const s = <u32>(i < 4 ? sels >> (i << 4) : sels2 >> ((i - 4) << 4)) & 0xffff;
      setSeg(i, s, 0, 0, level << 13);
    }
  }
  setEflags(nFlags, wide ? 0x003f7fd7 : 0x7fd7);
  if (!wide) setEflags(0, FL_VM | FL_RF);
  if (wide && (cr0() & CR0_PG) != 0 && r64(CR3) != nCr3) {
    w64(CR3, nCr3);
    flushTlb(1);
    if (usesPdptes() && !loadPdptes(nCr3)) raise(X_TS, selError);
  }
  w32(LDTR_SEL, nLdt & 0xffff);
  w32(LDTR_FLAGS, 0);
  loadLdt(nLdt, X_TS);
  if (!vm) loadTaskSegments(sels, sels2, level, ext);
  updateHflags();
  if (nIp > <u64>segLimit(CS)) raise(X_GP, ext);
  if (withError) pushError(error, wide, ext);
  if (trap != 0) taskTrap();
  if (<i32>r32(EXC_OLD) < 0) w32(RIP_EXACT, 0);
}

function loadTaskSegments(sels: u64, sels2: u64, level: u32, ext: u32): void {
  const csSel = <u32>(sels >> 16) & 0xffff;
  const csError = (csSel & 0xfffc) | ext;
  if ((csSel & 0xfffc) == 0) raise(X_TS, ext);
  descriptor(csSel, X_TS, ext);
  if ((dHigh & (D_S | D_CODE)) != (D_S | D_CODE)) raise(X_TS, csError);
  if ((dHigh & D_EC) != 0 ? dplOf(dHigh) > level : dplOf(dHigh) != level) raise(X_TS, csError);
  if ((dHigh & D_P) == 0) raise(X_NP, csError);
  const cLow = dLow;
  const cHigh = markAccessed(dAt, dHigh);
  setCs(csSel, level, cLow, cHigh);
  updateHflags();
  const ssSel = <u32>(sels >> 32) & 0xffff;
  checkStackSegment(ssSel, level, X_TS, ext);
  const sLow = dLow;
  const sHigh = markAccessed(dAt, dHigh);
  setSegDesc(SS, ssSel, sLow, sHigh);
  updateHflags();
  for (let i: u32 = 0; i < 4; i++) {
    const seg = i == 0 ? ES : i + 2;
    const s = <u32>(seg < 4 ? sels >> (seg << 4) : sels2 >> ((seg - 4) << 4)) & 0xffff;
    if ((s & 0xfffc) == 0) {
      setSeg(seg, s, 0, 0, 0);
      continue;
    }
    const err = (s & 0xfffc) | ext;
    descriptor(s, X_TS, ext);
    if ((dHigh & D_S) == 0 || (dHigh & (D_CODE | D_RW)) == D_CODE) raise(X_TS, err);
    const dpl = dplOf(dHigh);
    if ((dHigh & (D_CODE | D_EC)) != (D_CODE | D_EC) && ((s & 3) > dpl || level > dpl)) raise(X_TS, err);
    if ((dHigh & D_P) == 0) raise(X_NP, err);
    const low = dLow;
    const high = markAccessed(dAt, dHigh);
    setSegDesc(seg, s, low, high);
  }
}

function pushError(error: u32, wide: bool, ext: u32): void {
  const size: u32 = wide ? 4 : 2;
  const mask: u64 = (segFlags(SS) & D_B) != 0 ? 0xffffffff : 0xffff;
  const sp = (gpr(RSP) - size) & mask;
  const f = segFlags(SS);
  const limit = segLimit(SS);
  const down = (f & (D_CODE | D_EC)) == D_EC;
  if (down ? <u32>sp <= limit : <u32>sp + size - 1 > limit) raise(X_SS, ext);
  const at = (segBase(SS) + sp) & 0xffffffff;
  if (wide) st32(at, <u64>error, MMU_KERNEL);
  else st16(at, <u64>error, MMU_KERNEL);
  setGpr(RSP, mask == 0xffff ? (gpr(RSP) & ~0xffff) | sp : sp);
}
