/** AssemblyScript. FPSCR (Power ISA 3.0B I 4.2.2): what an operation's exceptions do to it, moves to and from it. */
import { FP_FAST, FPSCR, MSR, MSR_FE0, MSR_FE1, PROGRAM_FP, V_PROGRAM } from "../layout";
import {
  ROUND_DOWN, ROUND_NEAREST, ROUND_UP, ROUND_ZERO, SF_DIVZERO, SF_INEXACT, SF_OVERFLOW, SF_UNDERFLOW, sfBegin, sfFlags, sfUp,
} from "../../../accel/tcg/runtime/softfloat-core";
import { env, raise } from "./env";

export const FX: u32 = 0x80000000;
export const FEX: u32 = 0x40000000;
export const VX: u32 = 0x20000000;
export const OX: u32 = 0x10000000;
export const UX: u32 = 0x08000000;
export const ZX: u32 = 0x04000000;
export const XX: u32 = 0x02000000;
export const VXSNAN: u32 = 0x01000000;
export const VXISI: u32 = 0x00800000;
export const VXIDI: u32 = 0x00400000;
export const VXZDZ: u32 = 0x00200000;
export const VXIMZ: u32 = 0x00100000;
export const VXVC: u32 = 0x00080000;
export const FR: u32 = 0x00040000;
export const FI: u32 = 0x00020000;
export const FPRF: u32 = 0x0001f000;
export const FPCC: u32 = 0x0000f000;
export const VXSOFT: u32 = 0x00000400;
export const VXSQRT: u32 = 0x00000200;
export const VXCVI: u32 = 0x00000100;
export const VE: u32 = 0x80;
export const ZE: u32 = 0x10;
const VX_ALL: u32 = VXSNAN | VXISI | VXIDI | VXZDZ | VXIMZ | VXVC | VXSOFT | VXSQRT | VXCVI;
const EXCEPTIONS: u32 = OX | UX | ZX | XX | VX_ALL;

// @ts-ignore: decorator
@inline export function fpscr(): u32 { return <u32>load<u64>(env + FPSCR); }
// @ts-ignore: decorator
@inline export function setFpscrLow(v: u32): void { store<u32>(env + FPSCR, v); }

/** FP_FAST from FPSCR: native arithmetic needs rounding to nearest, the inexact bit set, no enabled exception, no non-IEEE mode. */
export function updateFpFast(): void {
  const f = fpscr();
  store<u32>(env + FP_FAST, (f & 0xf8) != 0 ? 0 : (f & 7) == 0 && (f & XX) != 0 ? 1 : 2);
}

/** VX and FEX from the other bits. */
export function summarise(f: u32): u32 {
  f = (f & VX_ALL) != 0 ? f | VX : f & ~VX;
  return ((f >> 22) & f & 0xf8) != 0 ? f | FEX : f & ~FEX;
}

// @ts-ignore: decorator
@inline
export function roundingOf(rn: u32): u32 {
  switch (rn & 3) {
    case 0: return ROUND_NEAREST;
    case 1: return ROUND_ZERO;
    case 2: return ROUND_UP;
  }
  return ROUND_DOWN;
}

/** Invalid operation causes (VX*) of the operation under way. */
export let causes: u32 = 0;

// @ts-ignore: decorator
@inline
export function invalid(bits: u32): void {
  causes |= bits;
}

/** Starts an operation in FPSCR's rounding mode. */
export function beginFp(): void {
  causes = 0;
  sfBegin(roundingOf(fpscr()), 0x3f);
}

export function beginFpRounding(mode: u32): void {
  causes = 0;
  sfBegin(mode, 0x3f);
}

/** Whether the operation's result must not be written: an enabled invalid operation or division by zero. */
export function suppressed(): bool {
  const f = fpscr();
  return (causes != 0 && (f & VE) != 0) || ((sfFlags & SF_DIVZERO) != 0 && (f & ZE) != 0);
}

/** Ends an operation: sticky bits and, for a scalar one, FR and FI. */
export function endFp(scalar: bool): void {
  const old = fpscr();
  let f = old;
  const s = sfFlags;
  f |= causes;
  if ((s & SF_OVERFLOW) != 0) f |= OX;
  if ((s & SF_UNDERFLOW) != 0) f |= UX;
  if ((s & SF_DIVZERO) != 0) f |= ZX;
  if ((s & SF_INEXACT) != 0) f |= XX;
  if (scalar) {
    f &= ~(FR | FI);
    if ((s & SF_INEXACT) != 0) f |= FI | (sfUp != 0 ? FR : 0);
  }
  if ((f & ~old & EXCEPTIONS) != 0) f |= FX;
  f = summarise(f);
  store<u32>(env + FPSCR, f);
  if ((old ^ f) & XX) updateFpFast();
}

export function setFprf(value: u32): void {
  store<u32>(env + FPSCR, (fpscr() & ~FPRF) | (value << 12));
}

/** Class and sign of a double as FPRF has them. */
export function classOf(bits: u64): u32 {
  const negative = <i64>bits < 0;
  const magnitude = bits & 0x7fffffffffffffff;
  if (magnitude > 0x7ff0000000000000) return 0x11;
  if (magnitude == 0x7ff0000000000000) return negative ? 0x09 : 0x05;
  if (magnitude == 0) return negative ? 0x12 : 0x02;
  if (magnitude < 0x0010000000000000) return negative ? 0x18 : 0x14;
  return negative ? 0x08 : 0x04;
}

export function classOfSingle(bits: u32): u32 {
  const negative = <i32>bits < 0;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x11;
  if (magnitude == 0x7f800000) return negative ? 0x09 : 0x05;
  if (magnitude == 0) return negative ? 0x12 : 0x02;
  if (magnitude < 0x00800000) return negative ? 0x18 : 0x14;
  return negative ? 0x08 : 0x04;
}

/** An enabled exception is pending and MSR asks for interrupts: program interrupt at this instruction. */
export function raiseEnabled(before: u32): void {
  const now = fpscr();
  if ((now & FEX) == 0) return;
  if ((load<u32>(env + MSR) & (MSR_FE0 | MSR_FE1)) == 0) return;
  const risen = causes != 0 || sfFlags != 0;
  if (!risen && (before & FEX) != 0) return;
  raise(V_PROGRAM, PROGRAM_FP);
}

/** Writes FPSCR under a mask of bits that a move may change; FEX and VX follow. */
function writeMasked(value: u64, mask: u64): void {
  const allowed: u64 = 0x00000007fffff7ff & ~(<u64>(FEX | VX));
  const m = mask & allowed;
  const old = load<u64>(env + FPSCR);
  const next = (old & ~m) | (value & m);
  store<u64>(env + FPSCR, next);
  store<u32>(env + FPSCR, summarise(<u32>next));
  updateFpFast();
}

/** mtfsf and kin: a = value, b = mask. */
export function h_write_fpscr(a: u64, b: u64, imm: u32): u64 {
  const before = fpscr();
  writeMasked(a, b);
  // Moves that set an exception bit do not set FX by themselves; with imm they do (mtfsb1).
  if (imm != 0 && (fpscr() & ~before & EXCEPTIONS) != 0) store<u32>(env + FPSCR, fpscr() | FX);
  if ((fpscr() & FEX) != 0 && (load<u32>(env + MSR) & (MSR_FE0 | MSR_FE1)) != 0) {
    raise(V_PROGRAM, PROGRAM_FP);
  }
  return 0;
}

/** mcrfs: exception bits of field imm are cleared once copied. @returns the field */
export function h_mcrfs(a: u64, b: u64, imm: u32): u64 {
  const f = fpscr();
  const shift = 28 - (imm << 2);
  const field = (f >> shift) & 15;
  const clear = (<u32>15 << shift) & (EXCEPTIONS | FX);
  store<u32>(env + FPSCR, summarise(f & ~clear));
  updateFpFast();
  return <u64>field;
}
