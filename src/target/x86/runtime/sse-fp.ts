/**
 * AssemblyScript. SSE..SSE4.1 floating point, exact, with MXCSR: rounding, DAZ, FTZ, sticky flags, unmasked exceptions
 * (#XM, or #UD without CR4.OSXMMEXCPT, before any destination changes). Translated code runs wasm arithmetic while
 * env.FP_FAST is set and comes here otherwise. Source: Intel SDM vol 1, 11.5 and 4.8.3.5; vol 2.
 *
 * Lane helpers take and return raw bits (binary32 in the low 32 bits). Packed helpers, h_sse_p*(dst, src, imm), take
 * linear-memory addresses of 16-byte operands and work in place, so that the exceptions of all lanes come together.
 */
import {
  addBits,
  CMP_EQUAL,
  CMP_GREATER,
  CMP_LESS,
  CMP_UNORDERED,
  compareBits,
  divBits,
  F32,
  F64,
  isNan,
  isSignalling,
  mulBits,
  quiet,
  signOf,
  sqrtBits,
} from "../../../accel/tcg/runtime/softfloat-binary";
import { f32ToF64, f64ToF32, fromInt, roundIntegral, toInt } from "../../../accel/tcg/runtime/softfloat-convert";
import {
  ROUND_ZERO,
  SF_INEXACT,
  SF_INVALID,
  sfBegin,
  sfDaz,
  sfFlags,
  sfRaise,
  sfSetFlags,
  sfSetFlush,
  sfSetRounding,
} from "../../../accel/tcg/runtime/softfloat-core";
import { FP_FAST, HF_OSXMMEXCPT, HFLAGS, MXCSR } from "../layout";
import { env, raise } from "./env";

const MX_FLAGS: u32 = 0x3f;
const MX_DAZ: u32 = 0x40;
const MX_MASKS: u32 = 0x1f80;
const MX_RC: u32 = 0x6000;
const MX_FTZ: u32 = 0x8000;
const MX_VALID: u32 = 0xffff;
const X_UD: i32 = 6;
const X_GP: i32 = 13;
const X_XM: i32 = 19;

/** Operations, as the low four bits of their opcodes (0F 51, 58..5F); packed only: 0F D0, 7C, 7D. */
export const SSE_SQRT: u32 = 0x1;
export const SSE_ADD: u32 = 0x8;
export const SSE_MUL: u32 = 0x9;
export const SSE_SUB: u32 = 0xc;
export const SSE_MIN: u32 = 0xd;
export const SSE_DIV: u32 = 0xe;
export const SSE_MAX: u32 = 0xf;
export const SSE_ADDSUB: u32 = 0x10;
export const SSE_HADD: u32 = 0x1c;
export const SSE_HSUB: u32 = 0x1d;

// --- MXCSR ---

/** Sets FP_FAST from MXCSR; to be called whenever MXCSR has changed. */
export function updateFpFast(): void {
  const mask = MX_RC | MX_FTZ | MX_DAZ | SF_INEXACT;
  const mxcsr = load<u32>(env + MXCSR);
  store<u32>(env + FP_FAST, (mxcsr & MX_MASKS) != MX_MASKS ? 0 : (mxcsr & mask) == SF_INEXACT ? 1 : 2);
}

/** LDMXCSR: a = value; #GP(0) for reserved bits. */
export function h_ldmxcsr(a: u64, b: u64, imm: u32): u64 {
  const value = u32(a);
  if ((value & ~MX_VALID) != 0) raise(X_GP, 0);
  store<u32>(env + MXCSR, value);
  updateFpFast();
  return 0;
}

export function h_stmxcsr(a: u64, b: u64, imm: u32): u64 {
  return load<u32>(env + MXCSR);
}

/** Exceptions of the lanes finished so far. */
let gathered: u32 = 0;
/** Masked exceptions of finished stages (dot products). */
let staged: u32 = 0;

function begin(): void {
  const mxcsr = load<u32>(env + MXCSR);
  sfBegin((mxcsr >> 13) & 3, (mxcsr >> 7) & 0x3f);
  if ((mxcsr & (MX_DAZ | MX_FTZ)) != 0) sfSetFlush((mxcsr & MX_DAZ) != 0, (mxcsr & MX_FTZ) != 0);
  gathered = 0;
  staged = 0;
}

/** Between lanes: an invalid lane must not take back what another has signalled. */
function nextLane(): void {
  gathered |= sfFlags;
  sfSetFlags(0);
}

/** Merges the exceptions; raises. */
function finish(): void {
  let flags = gathered | sfFlags;
  sfSetFlush(false, false);
  if ((flags | staged) == 0) return;
  const mxcsr = load<u32>(env + MXCSR);
  const unmasked = flags & ~(mxcsr >> 7) & MX_FLAGS;
  // Unmasked pre-computation exceptions: there is no result that could signal more.
  if ((unmasked & 7) != 0) flags &= 7;
  flags |= staged;
  if ((mxcsr & flags) != flags) {
    store<u32>(env + MXCSR, mxcsr | flags);
    updateFpFast();
  }
  if (unmasked != 0) raise((load<u32>(env + HFLAGS) & HF_OSXMMEXCPT) != 0 ? X_XM : X_UD, 0);
}

// --- arithmetic ---

/** Two-operand NaN rule: the first operand if it is a NaN, else the second, quieted. */
function nanOf(a: u64, b: u64, fraction: u32): u64 {
  if (isSignalling(a, fraction) || isSignalling(b, fraction)) sfRaise(SF_INVALID);
  return quiet(isNan(a, fraction) ? a : b, fraction);
}

/** MIN and MAX give the second operand unless the first is strictly beyond it. */
function extreme(a: u64, b: u64, wanted: i32, fraction: u32): u64 {
  const order = compareBits(a, b, fraction);
  if (order == CMP_UNORDERED) sfRaise(SF_INVALID);
  const result = order == wanted ? a : b;
  // Under DAZ a denormal operand counts, and comes out, as a zero.
  if (sfDaz && (result << (fraction == F64 ? 1 : 33)) >> (fraction == F64 ? 53 : 56) == 0)
    return u64(signOf(result, fraction)) << (fraction == F64 ? 63 : 31);
  return result;
}

function lane(a: u64, b: u64, op: u32, fraction: u32): u64 {
  if (op == SSE_MIN) return extreme(a, b, CMP_LESS, fraction);
  if (op == SSE_MAX) return extreme(a, b, CMP_GREATER, fraction);
  if (op == SSE_SQRT) return isNan(b, fraction) ? nanOf(b, b, fraction) : sqrtBits(b, fraction);
  if (isNan(a, fraction) || isNan(b, fraction)) return nanOf(a, b, fraction);
  if (op == SSE_ADD) return addBits(a, b, 0, fraction);
  if (op == SSE_SUB) return addBits(a, b, 1, fraction);
  if (op == SSE_MUL) return mulBits(a, b, fraction);
  return divBits(a, b, fraction);
}

/** a op b; SQRT is of b. imm = SSE_*. */
export function h_sse_f64(a: u64, b: u64, imm: u32): u64 {
  begin();
  const result = lane(a, b, imm, F64);
  finish();
  return result;
}

export function h_sse_f32(a: u64, b: u64, imm: u32): u64 {
  begin();
  const result = lane(a & 0xffffffff, b & 0xffffffff, imm, F32);
  finish();
  return result;
}

// @ts-ignore: decorator
@inline
function at64(p: u64, i: u32): u64 {
  return load<u64>(usize(p) + (i << 3));
}
// @ts-ignore: decorator
@inline
function at32(p: u64, i: u32): u64 {
  return load<u32>(usize(p) + (i << 2));
}
// @ts-ignore: decorator
@inline
function put2(p: u64, x: u64, y: u64): void {
  store<u64>(usize(p), x);
  store<u64>(usize(p), y, 8);
}
// @ts-ignore: decorator
@inline
function put4(p: u64, w: u64, x: u64, y: u64, z: u64): void {
  put2(p, w | (x << 32), y | (z << 32));
}

function next64(a: u64, b: u64, op: u32): u64 {
  const result = lane(a, b, op, F64);
  nextLane();
  return result;
}

function next32(a: u64, b: u64, op: u32): u64 {
  const result = lane(a, b, op, F32);
  nextLane();
  return result;
}

/** ADDPD and so on, also ADDSUBPD, HADDPD, HSUBPD. a = destination address, b = source address, imm = SSE_*. */
export function h_sse_pd(a: u64, b: u64, imm: u32): u64 {
  const x0 = at64(a, 0);
  const x1 = at64(a, 1);
  const y0 = at64(b, 0);
  const y1 = at64(b, 1);
  begin();
  let r0: u64;
  let r1: u64;
  if (imm == SSE_ADDSUB) {
    r0 = next64(x0, y0, SSE_SUB);
    r1 = next64(x1, y1, SSE_ADD);
  } else if (imm >= SSE_HADD) {
    const op = imm == SSE_HADD ? SSE_ADD : SSE_SUB;
    r0 = next64(x0, x1, op);
    r1 = next64(y0, y1, op);
  } else {
    r0 = next64(x0, y0, imm);
    r1 = next64(x1, y1, imm);
  }
  finish();
  put2(a, r0, r1);
  return 0;
}

/** ADDPS and so on, also ADDSUBPS, HADDPS, HSUBPS. */
export function h_sse_ps(a: u64, b: u64, imm: u32): u64 {
  const x0 = at32(a, 0);
  const x1 = at32(a, 1);
  const x2 = at32(a, 2);
  const x3 = at32(a, 3);
  const y0 = at32(b, 0);
  const y1 = at32(b, 1);
  const y2 = at32(b, 2);
  const y3 = at32(b, 3);
  begin();
  let r0: u64;
  let r1: u64;
  let r2: u64;
  let r3: u64;
  if (imm == SSE_HADD || imm == SSE_HSUB) {
    const op = imm == SSE_HADD ? SSE_ADD : SSE_SUB;
    r0 = next32(x0, x1, op);
    r1 = next32(x2, x3, op);
    r2 = next32(y0, y1, op);
    r3 = next32(y2, y3, op);
  } else {
    const even = imm == SSE_ADDSUB ? SSE_SUB : imm;
    const odd = imm == SSE_ADDSUB ? SSE_ADD : imm;
    r0 = next32(x0, y0, even);
    r1 = next32(x1, y1, odd);
    r2 = next32(x2, y2, even);
    r3 = next32(x3, y3, odd);
  }
  finish();
  put4(a, r0, r1, r2, r3);
  return 0;
}

/** The dot products work in stages; a stage's unmasked exception comes before the next stage's. */
function endStage(): void {
  if ((gathered & ~(load<u32>(env + MXCSR) >> 7) & MX_FLAGS) != 0) finish();
  staged |= gathered;
  gathered = 0;
}

/** DPPD: imm8. */
export function h_dppd(a: u64, b: u64, imm: u32): u64 {
  begin();
  const t0 = imm & 0x10 ? next64(at64(a, 0), at64(b, 0), SSE_MUL) : 0;
  const t1 = imm & 0x20 ? next64(at64(a, 1), at64(b, 1), SSE_MUL) : 0;
  endStage();
  const sum = next64(t0, t1, SSE_ADD);
  finish();
  put2(a, imm & 1 ? sum : 0, imm & 2 ? sum : 0);
  return 0;
}

/** DPPS: imm8. */
export function h_dpps(a: u64, b: u64, imm: u32): u64 {
  begin();
  const t0 = imm & 0x10 ? next32(at32(a, 0), at32(b, 0), SSE_MUL) : 0;
  const t1 = imm & 0x20 ? next32(at32(a, 1), at32(b, 1), SSE_MUL) : 0;
  const t2 = imm & 0x40 ? next32(at32(a, 2), at32(b, 2), SSE_MUL) : 0;
  const t3 = imm & 0x80 ? next32(at32(a, 3), at32(b, 3), SSE_MUL) : 0;
  endStage();
  const low = next32(t0, t1, SSE_ADD);
  const high = next32(t2, t3, SSE_ADD);
  endStage();
  const sum = next32(low, high, SSE_ADD);
  finish();
  put4(a, imm & 1 ? sum : 0, imm & 2 ? sum : 0, imm & 4 ? sum : 0, imm & 8 ? sum : 0);
  return 0;
}

// --- comparison ---

/** Outcomes for which each of the 16 predicates holds: bit 0 less, 1 equal, 2 greater, 3 unordered. */
function predicateOutcomes(p: u32): u32 {
  // EQ LT LE UNORD NEQ NLT NLE ORD EQ_UQ NGE NGT FALSE NEQ_OQ GE GT TRUE, lowest nibble first.
  return u32(0xf4650b9a7ced8312 >> (u64(p & 15) << 2)) & 15;
}

/** SDM table of CMPPD: predicates 1, 2, 5, 6 and their kin signal quiet NaNs; bit 4 turns that round. */
function predicateSignals(p: u32): bool {
  const low = p & 3;
  return (low == 1 || low == 2) != ((p & 16) != 0);
}

function compareLane(a: u64, b: u64, predicate: u32, fraction: u32): bool {
  const order = compareBits(a, b, fraction);
  if (order == CMP_UNORDERED && (predicateSignals(predicate) || isSignalling(a, fraction) || isSignalling(b, fraction)))
    sfRaise(SF_INVALID);
  nextLane();
  return ((predicateOutcomes(predicate) >> u32(order + 1)) & 1) != 0;
}

/** CMPSD: all ones or zero. imm = predicate (0..7; 8..31 as AVX). */
export function h_sse_cmp_f64(a: u64, b: u64, imm: u32): u64 {
  begin();
  const yes = compareLane(a, b, imm, F64);
  finish();
  return yes ? 0xffffffffffffffff : 0;
}

/** CMPSS: all ones in 32 bits, or zero. */
export function h_sse_cmp_f32(a: u64, b: u64, imm: u32): u64 {
  begin();
  const yes = compareLane(a & 0xffffffff, b & 0xffffffff, imm, F32);
  finish();
  return yes ? 0xffffffff : 0;
}

export function h_sse_cmp_pd(a: u64, b: u64, imm: u32): u64 {
  begin();
  const r0 = compareLane(at64(a, 0), at64(b, 0), imm, F64);
  const r1 = compareLane(at64(a, 1), at64(b, 1), imm, F64);
  finish();
  put2(a, 0 - u64(r0), 0 - u64(r1));
  return 0;
}

export function h_sse_cmp_ps(a: u64, b: u64, imm: u32): u64 {
  begin();
  let r: u32 = 0;
  for (let i: u32 = 0; i < 4; i++) r |= u32(compareLane(at32(a, i), at32(b, i), imm, F32)) << i;
  finish();
  for (let i: u32 = 0; i < 4; i++) store<u32>(usize(a) + (i << 2), 0 - ((r >> i) & 1));
  return 0;
}

/** Flags image ZF PF CF; OF SF AF are zero. */
function comis(a: u64, b: u64, quietly: u32, fraction: u32): u64 {
  begin();
  const order = compareBits(a, b, fraction);
  if (order == CMP_UNORDERED && (quietly == 0 || isSignalling(a, fraction) || isSignalling(b, fraction))) sfRaise(SF_INVALID);
  finish();
  return order == CMP_UNORDERED ? 0x45 : order == CMP_EQUAL ? 0x40 : order == CMP_LESS ? 1 : 0;
}

/** COMISD (imm 0), UCOMISD (imm 1): the EFLAGS image. */
export function h_sse_comi_f64(a: u64, b: u64, imm: u32): u64 {
  return comis(a, b, imm, F64);
}

/** COMISS (imm 0), UCOMISS (imm 1). */
export function h_sse_comi_f32(a: u64, b: u64, imm: u32): u64 {
  return comis(a & 0xffffffff, b & 0xffffffff, imm, F32);
}

// --- conversions ---

/** CVTSI2SD r32. */
export function h_cvt_i32_f64(a: u64, b: u64, imm: u32): u64 {
  return reinterpret<u64>(f64(i32(a)));
}

/** CVTSI2SD r64. */
export function h_cvt_i64_f64(a: u64, b: u64, imm: u32): u64 {
  begin();
  const result = fromInt(i64(a), F64);
  finish();
  return result;
}

/** CVTSI2SS r32. */
export function h_cvt_i32_f32(a: u64, b: u64, imm: u32): u64 {
  begin();
  const result = fromInt(i64(i32(a)), F32);
  finish();
  return result;
}

/** CVTSI2SS r64. */
export function h_cvt_i64_f32(a: u64, b: u64, imm: u32): u64 {
  begin();
  const result = fromInt(i64(a), F32);
  finish();
  return result;
}

function convertToInt(a: u64, width: u32, truncate: u32, fraction: u32): u64 {
  begin();
  if (truncate != 0) sfSetRounding(ROUND_ZERO);
  const result = toInt(a, width, fraction);
  finish();
  return result;
}

/** CVTSD2SI r32; CVTTSD2SI with imm 1. Zero-extended. */
export function h_cvt_f64_i32(a: u64, b: u64, imm: u32): u64 {
  return convertToInt(a, 32, imm, F64);
}

export function h_cvt_f64_i64(a: u64, b: u64, imm: u32): u64 {
  return convertToInt(a, 64, imm, F64);
}

export function h_cvt_f32_i32(a: u64, b: u64, imm: u32): u64 {
  return convertToInt(a & 0xffffffff, 32, imm, F32);
}

export function h_cvt_f32_i64(a: u64, b: u64, imm: u32): u64 {
  return convertToInt(a & 0xffffffff, 64, imm, F32);
}

/** CVTSS2SD. */
export function h_cvt_f32_f64(a: u64, b: u64, imm: u32): u64 {
  begin();
  const result = f32ToF64(a & 0xffffffff);
  finish();
  return result;
}

/** CVTSD2SS. */
export function h_cvt_f64_f32(a: u64, b: u64, imm: u32): u64 {
  begin();
  const result = f64ToF32(a);
  finish();
  return result;
}

// Packed conversions: a = destination address, b = source address (only the low 8 bytes are read where the SDM says m64).

/** CVTDQ2PS. */
export function h_cvt_dq_ps(a: u64, b: u64, imm: u32): u64 {
  begin();
  const r0 = fromInt(load<i32>(usize(b)), F32);
  const r1 = fromInt(load<i32>(usize(b), 4), F32);
  const r2 = fromInt(load<i32>(usize(b), 8), F32);
  const r3 = fromInt(load<i32>(usize(b), 12), F32);
  finish();
  put4(a, r0, r1, r2, r3);
  return 0;
}

function nextInt(bits: u64, fraction: u32): u64 {
  const result = toInt(bits, 32, fraction);
  nextLane();
  return result;
}

/** CVTPS2DQ; CVTTPS2DQ with imm 1. */
export function h_cvt_ps_dq(a: u64, b: u64, imm: u32): u64 {
  begin();
  if (imm != 0) sfSetRounding(ROUND_ZERO);
  const r0 = nextInt(at32(b, 0), F32);
  const r1 = nextInt(at32(b, 1), F32);
  const r2 = nextInt(at32(b, 2), F32);
  const r3 = nextInt(at32(b, 3), F32);
  finish();
  put4(a, r0, r1, r2, r3);
  return 0;
}

/** CVTPD2DQ; CVTTPD2DQ with imm 1. The upper half becomes zero. */
export function h_cvt_pd_dq(a: u64, b: u64, imm: u32): u64 {
  begin();
  if (imm != 0) sfSetRounding(ROUND_ZERO);
  const r0 = nextInt(at64(b, 0), F64);
  const r1 = nextInt(at64(b, 1), F64);
  finish();
  put4(a, r0, r1, 0, 0);
  return 0;
}

/** CVTDQ2PD. */
export function h_cvt_dq_pd(a: u64, b: u64, imm: u32): u64 {
  const x = reinterpret<u64>(f64(load<i32>(usize(b))));
  const y = reinterpret<u64>(f64(load<i32>(usize(b), 4)));
  put2(a, x, y);
  return 0;
}

/** CVTPS2PD. */
export function h_cvt_ps_pd(a: u64, b: u64, imm: u32): u64 {
  begin();
  const r0 = f32ToF64(at32(b, 0));
  nextLane();
  const r1 = f32ToF64(at32(b, 1));
  finish();
  put2(a, r0, r1);
  return 0;
}

/** CVTPD2PS. The upper half becomes zero. */
export function h_cvt_pd_ps(a: u64, b: u64, imm: u32): u64 {
  begin();
  const r0 = f64ToF32(at64(b, 0));
  nextLane();
  const r1 = f64ToF32(at64(b, 1));
  finish();
  put4(a, r0, r1, 0, 0);
  return 0;
}

// --- rounding (SSE4.1) ---

function roundLane(bits: u64, imm: u32, fraction: u32): u64 {
  if ((imm & 4) == 0) sfSetRounding(imm & 3);
  const result = roundIntegral(bits, fraction);
  if ((imm & 8) != 0) sfSetFlags(sfFlags & ~SF_INEXACT);
  nextLane();
  return result;
}

/** ROUNDSD: imm8 (bits 0-1 mode, 2 use MXCSR, 3 no inexact). */
export function h_round_f64(a: u64, b: u64, imm: u32): u64 {
  begin();
  const result = roundLane(a, imm, F64);
  finish();
  return result;
}

export function h_round_f32(a: u64, b: u64, imm: u32): u64 {
  begin();
  const result = roundLane(a & 0xffffffff, imm, F32);
  finish();
  return result;
}

export function h_round_pd(a: u64, b: u64, imm: u32): u64 {
  begin();
  const r0 = roundLane(at64(b, 0), imm, F64);
  const r1 = roundLane(at64(b, 1), imm, F64);
  finish();
  put2(a, r0, r1);
  return 0;
}

export function h_round_ps(a: u64, b: u64, imm: u32): u64 {
  begin();
  const r0 = roundLane(at32(b, 0), imm, F32);
  const r1 = roundLane(at32(b, 1), imm, F32);
  const r2 = roundLane(at32(b, 2), imm, F32);
  const r3 = roundLane(at32(b, 3), imm, F32);
  finish();
  put4(a, r0, r1, r2, r3);
  return 0;
}

// --- approximations: relative error at most 1.5 * 2^-12, no exceptions, MXCSR ignored ---

/** Rounds a positive normal double to 13 significant bits as binary32; below the normal range 0. */
function shortF32(x: f64): u64 {
  const bits = reinterpret<u64>(x) + (u64(1) << 39);
  const e = i32(bits >> 52) - 1023 + 127;
  if (e <= 0) return 0;
  return (u64(e) << 23) | (((bits >> 40) & 0xfff) << 11);
}

/** The middle of the interval of operands that share the upper 12 fraction bits: 1.xxxxxxxxxxxx1. */
function middle(bits: u32): f64 {
  return f64(reinterpret<f32>((bits & 0x7ffff800) | 0x400));
}

/** RCPSS lane: the reciprocal of the middle of the operand's interval, to 13 bits. */
export function h_rcp_f32(a: u64, b: u64, imm: u32): u64 {
  const bits = u32(a);
  const sign = u64(bits & 0x80000000);
  const e = (bits >> 23) & 0xff;
  if (isNan(bits, F32)) return quiet(bits, F32);
  if (e == 0xff) return sign;
  if (e == 0) return sign | 0x7f800000;
  return sign | shortF32(1.0 / middle(bits));
}

/** RSQRTSS lane, likewise. */
export function h_rsqrt_f32(a: u64, b: u64, imm: u32): u64 {
  const bits = u32(a);
  const sign = u64(bits & 0x80000000);
  const e = (bits >> 23) & 0xff;
  if (isNan(bits, F32)) return quiet(bits, F32);
  if (e == 0) return sign | 0x7f800000;
  if (sign != 0) return 0xffc00000;
  if (e == 0xff) return 0;
  return shortF32(1.0 / Math.sqrt(middle(bits)));
}
