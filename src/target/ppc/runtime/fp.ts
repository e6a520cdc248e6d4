/**
 * AssemblyScript. Floating-point helpers of translated code: scalars in doubleword 0, vectors lane by lane. A helper gets
 * the addresses of copies of its operands (a, b, and c behind b) and leaves the result at a's.
 */
import { VSR } from "../layout";
import {
  CLASS_INF, CLASS_ZERO, ROUND_DOWN, ROUND_NEAREST, ROUND_UP, ROUND_ZERO, SF_INEXACT, SF_OVERFLOW, SF_UNDERFLOW, sfFlags, sfIncrement, sfRaise,
  sfRounding, sfSetFlags, sfSetUp,
} from "../../../accel/tcg/runtime/softfloat-core";
import { compareBits, F32, F64, isNan, isSignalling, quiet, roundPack, signOf, uExp, unpack, uSig } from "../../../accel/tcg/runtime/softfloat-binary";
import { fromInt, roundIntegral, roundMagnitude, tooLarge, wasInexact } from "../../../accel/tcg/runtime/softfloat-convert";
import { env } from "./env";
import { fastArith, fastError, fastResult } from "./fp-fast";
import { arith, fromSingleBits, toSingleBits, widen } from "./fp-arith";
import {
  beginFp, beginFpRounding, causes, classOf, classOfSingle, endFp, FI, FPCC, FPRF, fpscr, FR, FX, invalid, raiseEnabled, roundingOf, setFpscrLow, setFprf, suppressed, VE,
  updateFpFast, VXCVI, VXSNAN, VXVC, XX,
} from "./fpscr";

// imm of scalar helpers: operation, bit 5 = rounded to single; target register in bits 10-15.
const SINGLE: u32 = 0x20;

// @ts-ignore: decorator
@inline
function target(imm: u32): usize {
  return env + VSR + <usize>((imm >> 10) << 4);
}

/** Ends a scalar operation: FPSCR, result class, target; raises what is enabled. */
function endScalar(at: usize, result: u64, imm: u32, old: u32): void {
  const keep = suppressed();
  endFp(true);
  if (keep) v128.store(at, v128.load(target(imm)));
  else {
    setFprf(classOf(result));
    store<u64>(at, result);
    store<u64>(at, 0, 8);
  }
  if ((old & 0xf8) != 0) {
    // The target is written before the interrupt.
    v128.store(target(imm), v128.load(at));
    raiseEnabled(old);
  }
}

/** Scalar arithmetic on doublewords 0. */
export function h_fp(a: u64, b: u64, imm: u32): u64 {
  const at = <usize>a;
  const old = fpscr();
  // Nothing enabled, rounding to nearest: the host's arithmetic.
  if ((old & 0xff) == 0 && fastArith(imm & 31, load<u64>(at), load<u64>(at, 16), load<u64>(at, 32), (imm & SINGLE) != 0)) {
    const r = fastResult;
    let f = (old & ~(FR | FI | FPRF)) | (classOf(r) << 12);
    if (fastError != 0) {
      f |= FI;
      if (fastError > 0 != reinterpret<f64>(r) > 0) f |= FR;
      if ((old & XX) == 0) f |= XX | FX;
    }
    setFpscrLow(f);
    if (((old ^ f) & XX) != 0) updateFpFast();
    store<u64>(at, r);
    store<u64>(at, 0, 8);
    return 0;
  }
  beginFp();
  const r = arith(imm & 31, load<u64>(at), load<u64>(at, 16), load<u64>(at, 32), F64, (imm & SINGLE) != 0 ? F32 : F64);
  endScalar(at, r, imm, old);
  return 0;
}

/** Vector arithmetic: imm bit 5 = four singles, else two doubles. */
export function h_vfp(a: u64, b: u64, imm: u32): u64 {
  const at = <usize>a;
  const old = fpscr();
  beginFp();
  if ((imm & SINGLE) != 0) {
    for (let i: usize = at; i < at + 16; i += 4)
      store<u32>(i, <u32>arith(imm & 31, <u64>load<u32>(i), <u64>load<u32>(i, 16), <u64>load<u32>(i, 32), F32, F32));
  } else {
    for (let i: usize = at; i < at + 16; i += 8) store<u64>(i, arith(imm & 31, load<u64>(i), load<u64>(i, 16), load<u64>(i, 32), F64, F64));
  }
  endVector(at, imm, old);
  return 0;
}

function endVector(at: usize, imm: u32, old: u32): void {
  const keep = suppressed();
  endFp(false);
  if (keep) v128.store(at, v128.load(target(imm)));
  if ((old & 0xf8) != 0) {
    v128.store(target(imm), v128.load(at));
    raiseEnabled(old);
  }
}

// --- conversions to integers ---
/** Kinds: 0 i32, 1 u32, 2 i64, 3 u64. @returns the integer, saturated */
function toInteger(bits: u64, f: u32, kind: u32): u64 {
  const before = sfFlags;
  if (isNan(bits, f)) {
    if (isSignalling(bits, f)) invalid(VXSNAN);
    invalid(VXCVI);
    return kind == 0 ? 0x80000000 : kind == 2 ? 0x8000000000000000 : 0;
  }
  const sign = signOf(bits, f);
  const c = unpack(bits, f);
  sfSetFlags(before);
  if (c == CLASS_ZERO) return 0;
  let m: u64 = 0;
  let over = c == CLASS_INF;
  if (!over) {
    m = roundMagnitude(sign, uExp, uSig);
    over = tooLarge;
  }
  switch (kind) {
    case 0:
      if (over || m > 0x80000000 || (m == 0x80000000 && sign == 0)) return saturated(sign != 0 ? 0xffffffff80000000 : 0x7fffffff);
      break;
    case 1:
      if (over || m > 0xffffffff || (sign != 0 && m != 0)) return saturated(sign != 0 ? 0 : 0xffffffff);
      break;
    case 2:
      if (over || m > 0x8000000000000000 || (m == 0x8000000000000000 && sign == 0)) return saturated(sign != 0 ? 0x8000000000000000 : 0x7fffffffffffffff);
      break;
    default:
      if (over || (sign != 0 && m != 0)) return saturated(sign != 0 ? 0 : <u64>-1);
  }
  if (wasInexact) sfRaise(SF_INEXACT);
  return sign != 0 ? 0 - m : m;
}

function saturated(v: u64): u64 {
  invalid(VXCVI);
  sfSetUp(0);
  return v;
}

/** fcti*, xscvdps*ds...: imm bits 0-1 kind, bit 2 = toward zero, bit 3 = result in both words, bit 4 = FPRF is that of a NaN when invalid. */
export function h_fcti(a: u64, b: u64, imm: u32): u64 {
  const at = <usize>a;
  const old = fpscr();
  beginFpRounding((imm & 4) != 0 ? ROUND_ZERO : roundingOf(old));
  let r = toInteger(load<u64>(at, 16), F64, imm & 3);
  const keep = suppressed();
  endFp(true);
  // Undefined in the manual; as QEMU has it.
  if ((imm & 16) != 0 && causes != 0 && !keep) setFprf(0x11);
  if ((imm & 8) != 0) r = (r << 32) | (r & 0xffffffff);
  if (keep) v128.store(at, v128.load(target(imm)));
  else {
    store<u64>(at, r);
    store<u64>(at, 0, 8);
  }
  if ((old & 0xf8) != 0) {
    v128.store(target(imm), v128.load(at));
    raiseEnabled(old);
  }
  return 0;
}

/** fcfid*: imm bit 0 unsigned, bit 5 single. */
export function h_fcfid(a: u64, b: u64, imm: u32): u64 {
  const at = <usize>a;
  const old = fpscr();
  beginFp();
  const v = load<u64>(at, 16);
  const f = (imm & SINGLE) != 0 ? F32 : F64;
  let r: u64;
  if ((imm & 1) == 0) r = fromInt(<i64>v, f);
  else if (v == 0) r = 0;
  else {
    const n = clz(v);
    r = roundPack(0, i32(63 - n), v << n, 0, f);
  }
  endScalar(at, f == F32 ? widen(r) : r, imm, old);
  return 0;
}

/** fri*, xsrdpi*: imm bits 0-2: 0 nearest away, 1 toward zero, 2 up, 3 down, 4 FPSCR's mode (inexact counts). */
function roundBits(bits: u64, mode: u32, f: u32): u64 {
  if (isNan(bits, f)) {
    if (isSignalling(bits, f)) invalid(VXSNAN);
    return quiet(bits, f);
  }
  const before = sfFlags;
  let r: u64;
  if (mode != 0) r = roundIntegral(bits, f);
  else {
    // Half away from zero: truncate the magnitude plus one half.
    const kind = unpack(bits, f);
    if (kind == CLASS_ZERO || kind == CLASS_INF || uExp >= i32(f)) r = bits;
    else {
      const sign = signOf(bits, f);
      let m: u64 = 0;
      if (uExp >= -1) m = ((uExp == -1 ? 0 : uSig >> u64(63 - uExp)) + ((uSig >> u64(62 - uExp)) & 1));
      if (m == 0) r = <u64>sign << (f == F64 ? 63 : 31);
      else {
        const n = clz(m);
        r = roundPack(sign, i32(63 - n), m << n, 0, f);
      }
    }
  }
  const now = sfFlags;
  sfSetFlags(mode == 4 ? before | (now & SF_INEXACT) : before);
  return r;
}

function roundMode(imm: u32): u32 {
  switch (imm & 7) {
    case 0: return ROUND_NEAREST;
    case 1: return ROUND_ZERO;
    case 2: return ROUND_UP;
    case 3: return ROUND_DOWN;
  }
  return roundingOf(fpscr());
}

export function h_fri(a: u64, b: u64, imm: u32): u64 {
  const at = <usize>a;
  const old = fpscr();
  beginFpRounding(roundMode(imm));
  endScalar(at, roundBits(load<u64>(at, 16), imm & 7, F64), imm, old);
  return 0;
}

export function h_vfri(a: u64, b: u64, imm: u32): u64 {
  const at = <usize>a;
  const old = fpscr();
  beginFpRounding(roundMode(imm));
  if ((imm & SINGLE) != 0) for (let i = at; i < at + 16; i += 4) store<u32>(i, <u32>roundBits(<u64>load<u32>(i, 16), imm & 7, F32));
  else for (let i = at; i < at + 16; i += 8) store<u64>(i, roundBits(load<u64>(i, 16), imm & 7, F64));
  endVector(at, imm, old);
  return 0;
}

// --- comparisons ---
function order(a: u64, b: u64, f: u32): u32 {
  switch (compareBits(a, b, f)) {
    case -1: return 8;
    case 1: return 4;
    case 0: return 2;
  }
  return 1;
}

/** fcmpu, fcmpo (imm bit 0), xscmpudp, xscmpodp: a, b = doubles. @returns the CR field; FPCC too */
export function h_fcmp(a: u64, b: u64, imm: u32): u64 {
  const old = fpscr();
  beginFp();
  const r = order(a, b, F64);
  if (r == 1) {
    if (isSignalling(a, F64) || isSignalling(b, F64)) {
      invalid(VXSNAN);
      if ((imm & 1) != 0 && (old & VE) == 0) invalid(VXVC);
    } else if ((imm & 1) != 0) invalid(VXVC);
  }
  sfSetFlags(0);
  const fr = old & 0x60000;
  endFp(false);
  setFpscrLow((fpscr() & ~(FPCC | 0x60000)) | (r << 12) | fr);
  if ((old & 0xf8) != 0) raiseEnabled(old);
  return <u64>r;
}

/** xscmpexpdp: exponents. */
export function h_fcmpexp(a: u64, b: u64, imm: u32): u64 {
  let r: u32 = 1;
  if (!isNan(a, F64) && !isNan(b, F64)) {
    const x = (a >> 52) & 0x7ff;
    const y = (b >> 52) & 0x7ff;
    r = x < y ? 8 : x > y ? 4 : 2;
  }
  setFpscrLow((fpscr() & ~FPCC) | (r << 12));
  return <u64>r;
}

/** xscmpeqdp, xscmpgtdp, xscmpgedp (imm 0-2): all ones or zero. */
export function h_fcmpmask(a: u64, b: u64, imm: u32): u64 {
  const at = <usize>a;
  const old = fpscr();
  beginFp();
  const r = compareMask(load<u64>(at), load<u64>(at, 16), imm & 3, F64);
  const keep = suppressed();
  sfSetFlags(0);
  endFp(false);
  if (keep) v128.store(at, v128.load(target(imm)));
  else {
    store<u64>(at, r ? <u64>-1 : 0);
    store<u64>(at, 0, 8);
  }
  if ((old & 0xf8) != 0) raiseEnabled(old);
  return 0;
}

/** 0 equal, 1 greater, 2 greater or equal, 3 not equal; NaNs signal as the vector compares do. */
function compareMask(a: u64, b: u64, kind: u32, f: u32): bool {
  const r = order(a, b, f);
  if (r == 1) {
    if (isSignalling(a, f) || isSignalling(b, f)) {
      invalid(VXSNAN);
      if ((kind == 1 || kind == 2) && (fpscr() & VE) == 0) invalid(VXVC);
    } else if (kind == 1 || kind == 2) invalid(VXVC);
    return kind == 3;
  }
  switch (kind) {
    case 0: return r == 2;
    case 1: return r == 4;
    case 2: return r == 4 || r == 2;
  }
  return r != 2;
}

/** xvcmp*: imm bits 0-1 kind, bit 5 singles. */
export function h_vfcmp(a: u64, b: u64, imm: u32): u64 {
  const at = <usize>a;
  const old = fpscr();
  beginFp();
  if ((imm & SINGLE) != 0) {
    for (let i = at; i < at + 16; i += 4) store<i32>(i, compareMask(<u64>load<u32>(i), <u64>load<u32>(i, 16), imm & 3, F32) ? -1 : 0);
  } else for (let i = at; i < at + 16; i += 8) store<i64>(i, compareMask(load<u64>(i), load<u64>(i, 16), imm & 3, F64) ? -1 : 0);
  sfSetFlags(0);
  endVector(at, imm, old);
  return 0;
}

// --- maximum and minimum ---
/** imm & 1 = minimum; the operand that is a number wins over a quiet NaN. */
function extreme(a: u64, b: u64, minimum: bool, f: u32): u64 {
  const aNan = isNan(a, f);
  const bNan = isNan(b, f);
  if (isSignalling(a, f) || isSignalling(b, f)) {
    invalid(VXSNAN);
    return quiet(isSignalling(a, f) ? a : aNan && !isSignalling(b, f) ? a : b, f);
  }
  if (aNan) return b;
  if (bNan) return a;
  const r = order(a, b, f);
  if (r == 2) {
    // Zeros: the sign decides.
    const top: u64 = f == F64 ? 0x8000000000000000 : 0x80000000;
    return minimum ? a | (b & top) : (a & top) == 0 ? a : b;
  }
  return (r == 8) == minimum ? a : b;
}

export function h_fminmax(a: u64, b: u64, imm: u32): u64 {
  const at = <usize>a;
  const old = fpscr();
  beginFp();
  const r = extreme(load<u64>(at), load<u64>(at, 16), (imm & 1) != 0, F64);
  const keep = suppressed();
  sfSetFlags(0);
  endFp(false);
  if (keep) v128.store(at, v128.load(target(imm)));
  else {
    store<u64>(at, r);
    store<u64>(at, 0, 8);
  }
  if ((old & 0xf8) != 0) raiseEnabled(old);
  return 0;
}

/** xsmaxcdp, xsmincdp, xsmaxjdp, xsminjdp (imm bit 0 minimum, bit 1 "J"). */
export function h_fminmaxc(a: u64, b: u64, imm: u32): u64 {
  const at = <usize>a;
  const old = fpscr();
  beginFp();
  const x = load<u64>(at);
  const y = load<u64>(at, 16);
  const minimum = (imm & 1) != 0;
  let r: u64;
  if (isSignalling(x, F64) || isSignalling(y, F64)) invalid(VXSNAN);
  if ((imm & 2) == 0) {
    if (isNan(x, F64) || isNan(y, F64)) r = y;
    else {
      const o = order(x, y, F64);
      r = o == (minimum ? 8 : 4) ? x : y;
    }
  } else if (isNan(x, F64)) r = x;
  else if (isNan(y, F64)) r = y;
  else {
    const o = order(x, y, F64);
    if (o == 2) r = minimum ? (<i64>x < 0 ? x : y) : <i64>x >= 0 ? x : y;
    else r = o == (minimum ? 8 : 4) ? x : y;
  }
  const keep = suppressed();
  sfSetFlags(0);
  endFp(false);
  if (keep) v128.store(at, v128.load(target(imm)));
  else {
    store<u64>(at, r);
    store<u64>(at, 0, 8);
  }
  if ((old & 0xf8) != 0) raiseEnabled(old);
  return 0;
}

export function h_vfminmax(a: u64, b: u64, imm: u32): u64 {
  const at = <usize>a;
  const old = fpscr();
  beginFp();
  const minimum = (imm & 1) != 0;
  if ((imm & SINGLE) != 0) for (let i = at; i < at + 16; i += 4) store<u32>(i, <u32>extreme(<u64>load<u32>(i), <u64>load<u32>(i, 16), minimum, F32));
  else for (let i = at; i < at + 16; i += 8) store<u64>(i, extreme(load<u64>(i), load<u64>(i, 16), minimum, F64));
  sfSetFlags(0);
  endVector(at, imm, old);
  return 0;
}

// --- test for divide and square root: a, b bits; the CR field ---
function testDivide(a: u64, b: u64, f: u32): u32 {
  const bias: i32 = f == F64 ? 1023 : 127;
  const mask: u64 = f == F64 ? 0x7ff : 0xff;
  const ea = i32((a >> f) & mask);
  const eb = i32((b >> f) & mask);
  const magnitude: u64 = f == F64 ? 0x7fffffffffffffff : 0x7fffffff;
  const top: i32 = i32(mask);
  const a0 = (a & magnitude) == 0;
  const b0 = (b & magnitude) == 0;
  let fe = false;
  let fg = false;
  if ((ea == top && !isNan(a, f)) || (eb == top && !isNan(b, f)) || b0) {
    fe = true;
    fg = true;
  } else {
    const x = ea - bias;
    const y = eb - bias;
    const emin: i32 = 1 - bias;
    const nf: i32 = i32(f);
    fe = isNan(a, f) || isNan(b, f) || y <= emin || y >= bias - 2 || (!a0 && (x - y >= bias || x - y <= emin + 1 || x <= emin + nf));
    fg = eb == 0;
  }
  return 8 | (fg ? 4 : 0) | (fe ? 2 : 0);
}

export function h_ftdiv(a: u64, b: u64, imm: u32): u64 {
  return testDivide(a, b, F64);
}

function testSqrt(b: u64, f: u32): u32 {
  const bias: i32 = f == F64 ? 1023 : 127;
  const mask: u64 = f == F64 ? 0x7ff : 0xff;
  const magnitude: u64 = f == F64 ? 0x7fffffffffffffff : 0x7fffffff;
  const e = i32((b >> f) & mask);
  const b0 = (b & magnitude) == 0;
  let fe = false;
  let fg = false;
  if ((e == i32(mask) && !isNan(b, f)) || b0) {
    fe = true;
    fg = true;
  } else {
    const negative = (b & ~magnitude & (f == F64 ? <u64>-1 : 0xffffffff)) != 0;
    fe = isNan(b, f) || negative || e - bias <= 1 - bias + i32(f);
    fg = e == 0;
  }
  return 8 | (fg ? 4 : 0) | (fe ? 2 : 0);
}

export function h_ftsqrt(a: u64, b: u64, imm: u32): u64 {
  return testSqrt(a, F64);
}

/** xvtdiv*, xvtsqrt*: a = lane bits of both operands as they lie; imm bit 5 singles. Fields of all lanes or'ed. */
export function h_vftdiv(a: u64, b: u64, imm: u32): u64 {
  if ((imm & SINGLE) == 0) return testDivide(a, b, F64);
  return testDivide(a & 0xffffffff, b & 0xffffffff, F32) | testDivide(a >> 32, b >> 32, F32);
}

export function h_vftsqrt(a: u64, b: u64, imm: u32): u64 {
  if ((imm & SINGLE) == 0) return testSqrt(a, F64);
  return testSqrt(a & 0xffffffff, F32) | testSqrt(a >> 32, F32);
}

// --- format conversions ---
/** xscvdpsp (result in words 0 and 1), xscvspdp (imm bit 0). */
export function h_fcvt(a: u64, b: u64, imm: u32): u64 {
  const at = <usize>a;
  const old = fpscr();
  beginFp();
  if ((imm & 1) != 0) {
    endScalar(at, fromSingleBits(load<u64>(at, 16) >> 32), imm, old);
    return 0;
  }
  const s = toSingleBits(load<u64>(at, 16));
  const keep = suppressed();
  endFp(true);
  if (keep) v128.store(at, v128.load(target(imm)));
  else {
    setFprf(classOfSingle(<u32>s));
    store<u64>(at, (s << 32) | s);
    store<u64>(at, 0, 8);
  }
  if ((old & 0xf8) != 0) {
    v128.store(target(imm), v128.load(at));
    raiseEnabled(old);
  }
  return 0;
}

/** Half precision: xscvhpdp (imm 0), xscvdphp (1), xvcvhpsp (2), xvcvsphp (3). */
export function h_half(a: u64, b: u64, imm: u32): u64 {
  const at = <usize>a;
  const old = fpscr();
  beginFp();
  switch (imm & 3) {
    case 0:
      endScalar(at, fromHalf(<u32>load<u16>(at, 16)), imm, old);
      return 0;
    case 1: {
      const h = toHalf(load<u64>(at, 16), F64);
      const keep = suppressed();
      endFp(true);
      if (keep) v128.store(at, v128.load(target(imm)));
      else {
        setFprf(classOfHalf(h));
        store<u64>(at, <u64>h);
        store<u64>(at, 0, 8);
      }
      if ((old & 0xf8) != 0) raiseEnabled(old);
      return 0;
    }
    case 2:
      for (let i = at; i < at + 16; i += 4) store<u32>(i, <u32>toSingleBits(fromHalf(<u32>load<u16>(i, 16))));
      break;
    default:
      for (let i = at; i < at + 16; i += 4) store<u32>(i, toHalf(<u64>load<u32>(i, 16), F32));
  }
  endVector(at, imm, old);
  return 0;
}

function classOfHalf(h: u32): u32 {
  const negative = (h & 0x8000) != 0;
  const m = h & 0x7fff;
  if (m > 0x7c00) return 0x11;
  if (m == 0x7c00) return negative ? 0x09 : 0x05;
  if (m == 0) return negative ? 0x12 : 0x02;
  if (m < 0x400) return negative ? 0x18 : 0x14;
  return negative ? 0x08 : 0x04;
}

function fromHalf(h: u32): u64 {
  const sign = <u64>(h & 0x8000) << 48;
  const e = (h >> 10) & 31;
  const m = <u64>(h & 0x3ff);
  if (e == 31) {
    if (m == 0) return sign | 0x7ff0000000000000;
    if ((m & 0x200) == 0) invalid(VXSNAN);
    return sign | 0x7ff8000000000000 | (m << 42);
  }
  if (e == 0) {
    if (m == 0) return sign;
    const n = clz(m);
    return sign | (<u64>(1023 - 14 + 53 - i32(n)) << 52) | ((m << (n - 11)) & 0xfffffffffffff);
  }
  return sign | (<u64>(e + 1008) << 52) | (m << 42);
}

/** Rounds to binary16: by way of the significand and a half's range. */
function toHalf(bits: u64, f: u32): u32 {
  const sign = signOf(bits, f) << 15;
  if (isNan(bits, f)) {
    if (isSignalling(bits, f)) invalid(VXSNAN);
    return sign | 0x7e00 | <u32>((bits >> (f - 10)) & 0x1ff);
  }
  const before = sfFlags;
  const kind = unpack(bits, f);
  sfSetFlags(before);
  if (kind == CLASS_INF) return sign | 0x7c00;
  if (kind == CLASS_ZERO) return sign;
  return sign | roundHalf(sign >> 15, uExp, uSig);
}

/** Magnitude of sig * 2^(exp - 63) as a binary16. */
function roundHalf(sign: u32, exp: i32, sig: u64): u32 {
  const tiny = exp < -14;
  const cut: u32 = 53 + (tiny ? <u32>(-14 - exp) : 0);
  let m: u64;
  let rest: u64;
  if (cut < 64) {
    m = sig >> cut;
    rest = sig << (64 - cut);
  } else {
    m = 0;
    rest = cut == 64 ? sig : 1;
  }
  let h = (tiny ? 0 : <u32>(exp + 14) << 10) + <u32>m;
  if (rest != 0) {
    sfRaise(tiny ? SF_INEXACT | SF_UNDERFLOW : SF_INEXACT);
    if (sfIncrement(sign, m, rest)) {
      sfSetUp(1);
      h++;
    }
  }
  if (h >= 0x7c00) {
    sfRaise(SF_OVERFLOW | SF_INEXACT);
    const toInfinity = sfRounding == ROUND_NEAREST || (sfRounding == ROUND_DOWN && sign != 0) || (sfRounding == ROUND_UP && sign == 0);
    sfSetUp(toInfinity ? 1 : 0);
    return toInfinity ? 0x7c00 : 0x7bff;
  }
  return h;
}

/** xvcvdpsp (0), xvcvspdp (1). */
export function h_vfcvt(a: u64, b: u64, imm: u32): u64 {
  const at = <usize>a;
  const old = fpscr();
  beginFp();
  if ((imm & 1) == 0) {
    for (let i = at; i < at + 16; i += 8) {
      const s = toSingleBits(load<u64>(i, 16));
      store<u64>(i, (s << 32) | s);
    }
  } else for (let i = at; i < at + 16; i += 8) store<u64>(i, fromSingleBits(<u64>load<u32>(i + 20)));
  endVector(at, imm, old);
  return 0;
}

/** Vector conversions to integers, toward zero: imm bits 0-1 kind; bit 5 from singles; result lanes as wide as the wider one. */
export function h_vfcti(a: u64, b: u64, imm: u32): u64 {
  const at = <usize>a;
  const old = fpscr();
  beginFpRounding(ROUND_ZERO);
  const kind = imm & 3;
  if ((imm & SINGLE) != 0) {
    if (kind < 2) for (let i = at; i < at + 16; i += 4) store<u32>(i, <u32>toInteger(<u64>load<u32>(i, 16), F32, kind));
    else for (let i = at; i < at + 16; i += 8) store<u64>(i, toInteger(<u64>load<u32>(i + 20), F32, kind));
  } else {
    for (let i = at; i < at + 16; i += 8) {
      const v = toInteger(load<u64>(i, 16), F64, kind);
      store<u64>(i, kind < 2 ? (v << 32) | (v & 0xffffffff) : v);
    }
  }
  endVector(at, imm, old);
  return 0;
}

/** Vector conversions from integers: imm bits 0-1 kind (0 i32, 1 u32, 2 i64, 3 u64); bit 5 to singles. */
export function h_vfcf(a: u64, b: u64, imm: u32): u64 {
  const at = <usize>a;
  const old = fpscr();
  beginFp();
  const kind = imm & 3;
  const f = (imm & SINGLE) != 0 ? F32 : F64;
  if (kind < 2 && f == F32) {
    for (let i = at; i < at + 16; i += 4) store<u32>(i, <u32>fromInt(kind == 0 ? <i64>load<i32>(i, 16) : <i64>load<u32>(i, 16), F32));
  } else {
    for (let i = at; i < at + 16; i += 8) {
      let v: u64;
      if (kind == 0) v = fromInt(<i64>load<i32>(i + 20), f);
      else if (kind == 1) v = fromInt(<i64>load<u32>(i + 20), f);
      else if (kind == 2) v = fromInt(load<i64>(i, 16), f);
      else {
        const u = load<u64>(i, 16);
        if (u == 0) v = 0;
        else {
          const n = clz(u);
          v = roundPack(0, i32(63 - n), u << n, 0, f);
        }
      }
      store<u64>(i, f == F32 ? (v << 32) | v : v);
    }
  }
  endVector(at, imm, old);
  return 0;
}

/** Nonsignalling: xscvdpspn (0), xscvspdpn (1). */
export function h_fcvtn(a: u64, b: u64, imm: u32): u64 {
  if ((imm & 1) != 0) return widen(a >> 32);
  const e = (a >> 52) & 0x7ff;
  let s: u64;
  if (e > 896) s = ((a >> 32) & 0xc0000000) | ((a >> 29) & 0x3fffffff);
  else {
    s = (a >> 32) & 0x80000000;
    if (e >= 874) s |= ((a & 0xfffffffffffff) | 0x10000000000000) >> (926 - e);
  }
  return (s << 32) | s;
}
