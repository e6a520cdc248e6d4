/**
 * AssemblyScript. HFLAGS and the segment limits that translated code looks at, derived from the architectural state.
 */
import {
  CR0, CR4, DR, EFER, EFLAGS, EV_INTR, EVENTS, FL_AC, FL_IF, FL_IOPL, FL_TF, FL_VM, HFLAGS, HF_ADDSEG, HF_CR4_DE, HF_CS32, HF_CS64, HF_CSCHK, HF_DR7,
  HF_EM, HF_FSGSBASE, HF_IOPL_SHIFT, HF_LMA, HF_MMU_SHIFT, HF_MP, HF_OSFXSR, HF_OSXMMEXCPT, HF_OSXSAVE, HF_PE, HF_SEGCHK, HF_SMM,
  HF_SS32, HF_TF, HF_TS, HF_UMIP, HF_VM, INTR_WAIT, MMU_KERNEL, MMU_KERNEL_SMAP, MMU_USER, SEG_RLIM, SEG_WLIM, SMM,
} from "../layout";
import { env } from "./env";
import {
  CR0_EM, CR0_MP, CR0_PE, CR0_PG, CR0_TS, CR4_DE, CR4_FSGSBASE, CR4_OSFXSR, CR4_OSXMMEXCPT, CR4_OSXSAVE, CR4_SMAP, CR4_UMIP, CS,
  D_B, D_CODE, D_EC, D_L, D_P, D_RW, DS, EFER_LMA, ES, r32, r64, segBase, segFlags, segLimit, SS, w32,
} from "./state";

/** 4 GiB: a limit that checks nothing. */
const FLAT: u64 = 0x100000000;

/** Recomputes everything derived: HFLAGS, SEG_RLIM, SEG_WLIM. CPL is the DPL of SS. */
export function updateHflags(): void {
  const c0 = r64(CR0);
  const c4 = r64(CR4);
  const fl = r32(EFLAGS);
  const ssFlags = segFlags(SS);
  const csFlags = segFlags(CS);
  let h: u32 = 0;
  let level: u32 = 0;
  const checked = (c0 & CR0_PE) != 0 && (fl & FL_VM) == 0;
  if ((c0 & CR0_PE) != 0) {
    level = (fl & FL_VM) != 0 ? 3 : (ssFlags >> 13) & 3;
    h |= HF_PE | level;
    if ((fl & FL_VM) != 0) h |= HF_VM;
  }
  if ((fl & FL_TF) != 0) h |= HF_TF;
  let mmu: u32 = MMU_KERNEL;
  if (level == 3) mmu = MMU_USER;
  else if ((c4 & CR4_SMAP) != 0 && (c0 & CR0_PG) != 0 && (fl & FL_AC) == 0) mmu = MMU_KERNEL_SMAP;
  h |= mmu << HF_MMU_SHIFT;
  if ((c0 & CR0_TS) != 0) h |= HF_TS;
  if ((c0 & CR0_EM) != 0) h |= HF_EM;
  if ((c0 & CR0_MP) != 0) h |= HF_MP;
  if ((c4 & CR4_OSFXSR) != 0) h |= HF_OSFXSR;
  if ((c4 & CR4_OSXSAVE) != 0) h |= HF_OSXSAVE;
  if ((c4 & CR4_DE) != 0) h |= HF_CR4_DE;
  if ((c4 & CR4_UMIP) != 0) h |= HF_UMIP;
  if ((c4 & CR4_FSGSBASE) != 0) h |= HF_FSGSBASE;
  if ((c4 & CR4_OSXMMEXCPT) != 0) h |= HF_OSXMMEXCPT;
  if (r32(SMM) != 0) h |= HF_SMM;
  if ((<u32>r64(DR + 56) & 0xff) != 0) h |= HF_DR7;
  h |= ((fl & FL_IOPL) >> 12) << HF_IOPL_SHIFT;
  const lma = (r64(EFER) & EFER_LMA) != 0;
  if (lma) h |= HF_LMA;
  for (let s: u32 = 0; s < 6; s++) segmentLimits(s, checked);
  if (lma && (csFlags & D_L) != 0) h |= HF_CS64 | HF_CS32 | HF_SS32;
  else {
    if ((csFlags & D_B) != 0) h |= HF_CS32;
    if ((ssFlags & D_B) != 0) h |= HF_SS32;
    if ((segBase(ES) | segBase(SS) | segBase(DS)) != 0) h |= HF_ADDSEG;
    if (wlim(ES) != FLAT || wlim(SS) != FLAT || wlim(DS) != FLAT) h |= HF_SEGCHK;
    if (segBase(CS) != 0 || rlim(CS) != FLAT) h |= HF_CSCHK;
  }
  w32(HFLAGS, h);
  if ((fl & FL_IF) != 0) resumeInterrupts();
}

/** IF is set: an interrupt that waited for it counts again. */
export function resumeInterrupts(): void {
  if (r32(INTR_WAIT) == 0) return;
  w32(INTR_WAIT, 0);
  atomic.or<u32>(env + EVENTS, EV_INTR);
}

// @ts-ignore: decorator
@inline
function wlim(s: u32): u64 {
  return load<u64>(env + SEG_WLIM + (s << 3));
}

// @ts-ignore: decorator
@inline
function rlim(s: u32): u64 {
  return load<u64>(env + SEG_RLIM + (s << 3));
}

function segmentLimits(s: u32, checked: bool): void {
  const f = segFlags(s);
  let read = <u64>segLimit(s) + 1;
  let write = read;
  const code = (f & D_CODE) != 0;
  if (!code && (f & D_EC) != 0) read = write = 0;
  else if (checked) {
    if ((f & D_P) == 0) read = write = 0;
    else if (code) {
      write = 0;
      if ((f & D_RW) == 0) read = 0;
    } else if ((f & D_RW) == 0) write = 0;
  }
  store<u64>(env + SEG_RLIM + (s << 3), read);
  store<u64>(env + SEG_WLIM + (s << 3), write);
}
