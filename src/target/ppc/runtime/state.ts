/** AssemblyScript. Access to the state, MSR and what follows from it. */
import {
  AMR_FILLED, CA, CA32, CRF, EVENTS, EV_CHECK, GPR, HF_BE, HF_FETCH_SHIFT, HF_FP, HF_LE, HF_PR, HF_SCV, HF_SE, HF_SF, HF_TAR, HF_VEC, HF_VSX,
  HFLAGS, IS_ISA300, MMU_KERNEL, MMU_KERNEL_LOCKED, MMU_REAL, MMU_USER, MSR, MSR_BE, MSR_DR, MSR_EE, MSR_FP, MSR_IR, MSR_LE, MSR_PR,
  MSR_SE, MSR_VEC, MSR_VSX, NIP, OV, OV32, PENDING, SO, SPR, SPR_AMR, SPR_FSCR, XER_BYTES,
} from "../layout";
import { env } from "./env";
import { updateFpFast } from "./fpscr";

// @ts-ignore: decorator
@inline export function r32(at: u32): u32 { return load<u32>(env + at); }
// @ts-ignore: decorator
@inline export function w32(at: u32, v: u32): void { store<u32>(env + at, v); }
// @ts-ignore: decorator
@inline export function r64(at: u32): u64 { return load<u64>(env + at); }
// @ts-ignore: decorator
@inline export function w64(at: u32, v: u64): void { store<u64>(env + at, v); }
// @ts-ignore: decorator
@inline export function gpr(n: u32): u64 { return load<u64>(env + GPR + (<usize>n << 3)); }
// @ts-ignore: decorator
@inline export function setGpr(n: u32, v: u64): void { store<u64>(env + GPR + (<usize>n << 3), v); }
// @ts-ignore: decorator
@inline export function spr(n: u32): u64 { return load<u64>(env + SPR + (<usize>n << 3)); }
// @ts-ignore: decorator
@inline export function setSpr(n: u32, v: u64): void { store<u64>(env + SPR + (<usize>n << 3), v); }
// @ts-ignore: decorator
@inline export function msr(): u64 { return r64(MSR); }

export const MSR_SF: u64 = 0x8000000000000000;
/** Bits of MSR that exist here: SF, VEC, VSX, EE, PR, FP, ME, FE0, SE, BE, FE1, IR, DR, RI, LE. */
const MSR_VALID: u64 = MSR_SF | 0x2000000 | 0x800000 | 0xff00 | 0x200 | 0x100 | 0x30 | 0x2 | 0x1;
const FSCR_DSCR: u64 = 4;
const FSCR_TAR: u64 = 0x100;
const FSCR_SCV: u64 = 0x1000;

/** HFLAGS from MSR, FSCR and AMR. */
export function updateHflags(): void {
  const m = msr();
  const user = (m & MSR_PR) != 0;
  const locked = spr(SPR_AMR) >> 62 == 3;
  const mapped: u32 = user ? MMU_USER : locked ? MMU_KERNEL_LOCKED : MMU_KERNEL;
  let h: u32 = (m & MSR_DR) != 0 ? mapped : MMU_REAL;
  h |= ((m & MSR_IR) != 0 ? (user ? MMU_USER : MMU_KERNEL) : MMU_REAL) << HF_FETCH_SHIFT;
  if ((m & MSR_LE) != 0) h |= HF_LE;
  if ((m & MSR_SF) != 0) h |= HF_SF;
  if (user) h |= HF_PR;
  if ((m & MSR_FP) != 0) h |= HF_FP;
  if ((m & MSR_VEC) != 0) h |= HF_VEC;
  if ((m & MSR_VSX) != 0) h |= HF_VSX;
  if ((m & MSR_SE) != 0) h |= HF_SE;
  if ((m & MSR_BE) != 0) h |= HF_BE;
  const fscr = spr(SPR_FSCR);
  if ((fscr & FSCR_TAR) != 0 || !user) h |= HF_TAR;
  if ((fscr & FSCR_SCV) != 0) h |= HF_SCV;
  w32(HFLAGS, h);
}

/** Sets MSR; problem state implies EE, IR and DR. */
export function setMsr(value: u64): void {
  let m = value & MSR_VALID;
  if ((m & MSR_PR) != 0) m |= MSR_EE | MSR_IR | MSR_DR;
  w64(MSR, m);
  updateHflags();
  updateFpFast();
  checkPending();
}

/** An interrupt that waits may be let through now. */
export function checkPending(): void {
  if (r32(PENDING) != 0) atomic.or<u32>(env + EVENTS, EV_CHECK);
}

export function setNip(v: u64): void {
  w64(NIP, v);
}

export function getXer(): u64 {
  let v = r64(XER_BYTES) | (r64(SO) << 31) | (r64(OV) << 30) | (r64(CA) << 29);
  if (r32(IS_ISA300) != 0) v |= (r64(OV32) << 19) | (r64(CA32) << 18);
  return v;
}

export function setXer(v: u64): void {
  w64(SO, (v >> 31) & 1);
  w64(OV, (v >> 30) & 1);
  w64(CA, (v >> 29) & 1);
  w64(OV32, (v >> 19) & 1);
  w64(CA32, (v >> 18) & 1);
  w64(XER_BYTES, v & 0x7f);
}

export function getCr(): u32 {
  let v: u32 = 0;
  for (let i: u32 = 0; i < 8; i++) v = (v << 4) | <u32>r64(CRF + (i << 3));
  return v;
}

export function setCr(v: u32): void {
  for (let i: u32 = 0; i < 8; i++) w64(CRF + (i << 3), <u64>((v >> (28 - (i << 2))) & 15));
}

/** The AMR that supervisor entries of the TLB were filled under. */
export function amrFilled(): u32 {
  return r32(AMR_FILLED);
}
