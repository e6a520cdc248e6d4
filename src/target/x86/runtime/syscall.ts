/**
 * AssemblyScript. SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS. Source: Intel SDM vol 2 and vol 3 5.8.7-5.8.8; AMD APM vol 3
 * (SYSCALL outside 64-bit mode, which Intel refuses, works as AMD's).
 */
import {
  CSTAR, FL_IF, FL_RF, FL_VM, KERNEL_GS_BASE, LSTAR, NEXT_RIP, SEG_BASE, SFMASK, STAR, SYSENTER_CS, SYSENTER_EIP, SYSENTER_ESP,
} from "../layout";
import { env, raise } from "./env";
import {
  canonical, CS, efer, EFER_SCE, gpr, isCode64, isLma, isPe, isProt, r64, RCX, RDX, requireCpl0, RSP, setGpr, setRip, SS, w64,
  X_GP, X_UD,
} from "./state";
import { getEflags, setEflags } from "./eflags";
import { updateHflags } from "./hflags";
import { setSeg } from "./segments";

// Fixed attributes: present, accessed, flat 4 GiB.
const CODE32: u32 = 0x00c09b00;
const CODE64: u32 = 0x00a09b00;
const DATA: u32 = 0x00c09300;
const DPL3: u32 = 0x6000;

function flatCs(sel: u32, flags: u32): void {
  setSeg(CS, sel, 0, 0xffffffff, flags);
}

function flatSs(sel: u32, flags: u32): void {
  setSeg(SS, sel, 0, 0xffffffff, flags);
}

export function h_syscall(a: u64, b: u64, imm: u32): u64 {
  if ((efer() & EFER_SCE) == 0 || !isProt()) raise(X_UD, 0);
  const star = r64(STAR);
  const sel = <u32>(star >> 32) & 0xfffc;
  if (isLma()) {
    const wasLong = isCode64();
    const flags = getEflags();
    setGpr(RCX, r64(NEXT_RIP));
    setGpr(11, <u64>(flags & ~FL_RF));
    flatCs(sel, CODE64);
    flatSs(sel + 8, DATA);
    setRip(wasLong ? r64(LSTAR) : r64(CSTAR));
    setEflags(0, <u32>r64(SFMASK) | FL_RF);
  } else {
    setGpr(RCX, r64(NEXT_RIP) & 0xffffffff);
    flatCs(sel, CODE32);
    flatSs(sel + 8, DATA);
    setRip(star & 0xffffffff);
    setEflags(0, FL_IF | FL_RF | FL_VM);
  }
  return 0;
}

export function h_sysret(a: u64, b: u64, imm: u32): u64 {
  if ((efer() & EFER_SCE) == 0 || !isProt()) raise(X_UD, 0);
  requireCpl0();
  const sel = <u32>(r64(STAR) >> 48) & 0xffff;
  if (isLma()) {
    const rcx = gpr(RCX);
    if (imm == 3) {
      if (!canonical(rcx)) raise(X_GP, 0);
      flatCs((sel + 16) | 3, CODE64 | DPL3);
      setRip(rcx);
    } else {
      flatCs(sel | 3, CODE32 | DPL3);
      setRip(rcx & 0xffffffff);
    }
    flatSs((sel + 8) | 3, DATA | DPL3);
    setEflags(<u32>gpr(11) & 0x3c7fd7, 0x003f7fd7 & ~FL_VM);
  } else {
    flatCs(sel | 3, CODE32 | DPL3);
    flatSs((sel + 8) | 3, DATA | DPL3);
    setRip(gpr(RCX) & 0xffffffff);
    setEflags(FL_IF, FL_IF);
  }
  return 0;
}

export function h_sysenter(a: u64, b: u64, imm: u32): u64 {
  const sel = <u32>r64(SYSENTER_CS) & 0xfffc;
  if (!isPe() || sel == 0) raise(X_GP, 0);
  const long = isLma();
  flatCs(sel, long ? CODE64 : CODE32);
  flatSs(sel + 8, DATA);
  setGpr(RSP, long ? r64(SYSENTER_ESP) : r64(SYSENTER_ESP) & 0xffffffff);
  setRip(long ? r64(SYSENTER_EIP) : r64(SYSENTER_EIP) & 0xffffffff);
  setEflags(0, FL_VM | FL_IF | FL_RF);
  return 0;
}

export function h_sysexit(a: u64, b: u64, imm: u32): u64 {
  const sel = <u32>r64(SYSENTER_CS) & 0xfffc;
  if (!isProt() || sel == 0) raise(X_GP, 0);
  requireCpl0();
  if (imm == 3) {
    if (!canonical(gpr(RCX)) || !canonical(gpr(RDX))) raise(X_GP, 0);
    flatCs((sel + 32) | 3, CODE64 | DPL3);
    flatSs((sel + 40) | 3, DATA | DPL3);
    setGpr(RSP, gpr(RCX));
    setRip(gpr(RDX));
  } else {
    flatCs((sel + 16) | 3, CODE32 | DPL3);
    flatSs((sel + 24) | 3, DATA | DPL3);
    setGpr(RSP, gpr(RCX) & 0xffffffff);
    setRip(gpr(RDX) & 0xffffffff);
  }
  updateHflags();
  return 0;
}

export function h_swapgs(a: u64, b: u64, imm: u32): u64 {
  if (!isCode64()) raise(X_UD, 0);
  requireCpl0();
  const gs = env + SEG_BASE + 40;
  const old = load<u64>(gs);
  store<u64>(gs, r64(KERNEL_GS_BASE));
  w64(KERNEL_GS_BASE, old);
  return 0;
}
