/**
 * AssemblyScript. Floating-point arithmetic by software on raw bits, with PowerPC's NaN rules and exception causes (Power
 * ISA 3.0B I 4.3 to 4.6, 7.2). Operands are doubles (or singles, for vectors of them); `to` is the format the result is
 * rounded to. Not emulated: the scaled result of an enabled overflow or underflow.
 */
import {
  CLASS_INF, CLASS_ZERO, MSB, ROUND_DOWN, SF_DIVZERO, sfRaise, sfRounding, shiftRightJam, sfLow, sigAdd, sigDiv, sigMul, sigSqrt,
  zExp, zLow, zSign,
} from "../../../accel/tcg/runtime/softfloat-core";
import { F32, F64, infinity, isNan, isSignalling, quiet, roundPack, signOf, uExp, unpack, uSig } from "../../../accel/tcg/runtime/softfloat-binary";
import { invalid, VXIDI, VXIMZ, VXISI, VXSNAN, VXSQRT, VXZDZ } from "./fpscr";

export const ADD: u32 = 0;
export const SUB: u32 = 1;
export const MUL: u32 = 2;
export const DIV: u32 = 3;
export const SQRT: u32 = 4;
export const MADD: u32 = 5;
export const MSUB: u32 = 6;
export const NMADD: u32 = 7;
export const NMSUB: u32 = 8;
export const RECIPROCAL: u32 = 9;
export const RSQRT: u32 = 10;
export const ROUND: u32 = 11;

// @ts-ignore: decorator
@inline
function signShift(f: u32): u64 {
  return f == F64 ? 63 : 31;
}

export function defaultNan(f: u32): u64 {
  return f == F64 ? 0x7ff8000000000000 : 0x7fc00000;
}

/** A single's bits as a double's: exact. */
export function widen(bits: u64): u64 {
  const s = <u32>bits;
  if ((s & 0x7f800000) == 0x7f800000) return ((bits & 0x80000000) << 32) | 0x7ff0000000000000 | ((bits & 0x7fffff) << 29);
  return reinterpret<u64>(<f64>reinterpret<f32>(s));
}

/** The first NaN of the operands, quieted, in format f. */
function nanOf(a: u64, b: u64, f: u32): u64 {
  if (isSignalling(a, f) || isSignalling(b, f)) invalid(VXSNAN);
  return quiet(isNan(a, f) ? a : b, f);
}

// @ts-ignore: decorator
@inline
function finish(sign: u32, exp: i32, high: u64, low: u64, from: u32, to: u32): u64 {
  const r = roundPack(sign, exp, high, low, to);
  return from == F64 && to == F32 ? widen(r) : r;
}

// @ts-ignore: decorator
@inline
function zero(sign: u32, f: u32): u64 {
  return <u64>sign << signShift(f);
}

/** NaN of operands of format `from`, for a result rounded to `to`: a single keeps 23 fraction bits. */
// @ts-ignore: decorator
@inline
function narrowed(nan: u64, from: u32, to: u32): u64 {
  return from == F64 && to == F32 ? nan & ~(<u64>0x1fffffff) : nan;
}

export function addTo(a: u64, b: u64, negate: u32, f: u32, to: u32): u64 {
  if (isNan(a, f) || isNan(b, f)) return narrowed(nanOf(a, b, f), f, to);
  const aSign = signOf(a, f);
  const bSign = signOf(b, f) ^ negate;
  const aClass = unpack(a, f);
  const aExp = uExp;
  const aSig = uSig;
  const bClass = unpack(b, f);
  if (aClass == CLASS_INF) {
    if (bClass == CLASS_INF && aSign != bSign) {
      invalid(VXISI);
      return defaultNan(f);
    }
    return infinity(aSign, f);
  }
  if (bClass == CLASS_INF) return infinity(bSign, f);
  if (aClass == CLASS_ZERO) {
    if (bClass == CLASS_ZERO) return zero(aSign == bSign ? aSign : u32(sfRounding == ROUND_DOWN), f);
    return finish(bSign, uExp, uSig, 0, f, to);
  }
  if (bClass == CLASS_ZERO) return finish(aSign, aExp, aSig, 0, f, to);
  const high = sigAdd(aSign, aExp, aSig, bSign, uExp, uSig);
  if (high == 0) return zero(zSign, f);
  return finish(zSign, zExp, high, zLow, f, to);
}

export function mulTo(a: u64, b: u64, f: u32, to: u32): u64 {
  if (isNan(a, f) || isNan(b, f)) return narrowed(nanOf(a, b, f), f, to);
  const sign = signOf(a, f) ^ signOf(b, f);
  const aClass = unpack(a, f);
  const aExp = uExp;
  const aSig = uSig;
  const bClass = unpack(b, f);
  if (aClass == CLASS_INF || bClass == CLASS_INF) {
    if (aClass == CLASS_ZERO || bClass == CLASS_ZERO) {
      invalid(VXIMZ);
      return defaultNan(f);
    }
    return infinity(sign, f);
  }
  if (aClass == CLASS_ZERO || bClass == CLASS_ZERO) return zero(sign, f);
  const high = sigMul(aExp, aSig, uExp, uSig);
  return finish(sign, zExp, high, zLow, f, to);
}

export function divTo(a: u64, b: u64, f: u32, to: u32): u64 {
  if (isNan(a, f) || isNan(b, f)) return narrowed(nanOf(a, b, f), f, to);
  const sign = signOf(a, f) ^ signOf(b, f);
  const aClass = unpack(a, f);
  const aExp = uExp;
  const aSig = uSig;
  const bClass = unpack(b, f);
  if (aClass == CLASS_INF) {
    if (bClass == CLASS_INF) {
      invalid(VXIDI);
      return defaultNan(f);
    }
    return infinity(sign, f);
  }
  if (bClass == CLASS_INF) return zero(sign, f);
  if (bClass == CLASS_ZERO) {
    if (aClass == CLASS_ZERO) {
      invalid(VXZDZ);
      return defaultNan(f);
    }
    sfRaise(SF_DIVZERO);
    return infinity(sign, f);
  }
  if (aClass == CLASS_ZERO) return zero(sign, f);
  const high = sigDiv(aExp, aSig, uExp, uSig);
  return finish(sign, zExp, high, zLow, f, to);
}

export function sqrtTo(a: u64, f: u32, to: u32): u64 {
  if (isNan(a, f)) return narrowed(nanOf(a, a, f), f, to);
  const sign = signOf(a, f);
  const kind = unpack(a, f);
  if (kind == CLASS_ZERO) return zero(sign, f);
  if (sign != 0) {
    invalid(VXSQRT);
    return defaultNan(f);
  }
  if (kind == CLASS_INF) return a;
  const high = sigSqrt(uExp, uSig);
  return finish(0, zExp, high, zLow, f, to);
}

/** a * c + b, rounded once; flip: 1 = subtract b, 2 = negate the result unless it is a NaN. */
export function maddTo(a: u64, c: u64, b: u64, flip: u32, f: u32, to: u32): u64 {
  const aClass0 = isNan(a, f);
  const bNan = isNan(b, f);
  const cNan = isNan(c, f);
  if (aClass0 || bNan || cNan) {
    if (isSignalling(a, f) || isSignalling(b, f) || isSignalling(c, f)) invalid(VXSNAN);
    if (!aClass0 && !cNan) {
      // The product's own invalid operation counts beside the addend's NaN.
      const x = unpack(a, f);
      const y = unpack(c, f);
      if ((x == CLASS_INF && y == CLASS_ZERO) || (x == CLASS_ZERO && y == CLASS_INF)) invalid(VXIMZ);
    }
    return narrowed(quiet(aClass0 ? a : bNan ? b : c, f), f, to);
  }
  const negate = (flip >> 1) & 1;
  const pSign = signOf(a, f) ^ signOf(c, f);
  const bSign = signOf(b, f) ^ (flip & 1);
  const aClass = unpack(a, f);
  const aExp = uExp;
  const aSig = uSig;
  const cClass = unpack(c, f);
  const cExp = uExp;
  const cSig = uSig;
  const bClass = unpack(b, f);
  const bExp = uExp;
  const bSig = uSig;
  if (aClass == CLASS_INF || cClass == CLASS_INF) {
    if (aClass == CLASS_ZERO || cClass == CLASS_ZERO) {
      invalid(VXIMZ);
      return defaultNan(f);
    }
    if (bClass == CLASS_INF && bSign != pSign) {
      invalid(VXISI);
      return defaultNan(f);
    }
    return infinity(pSign ^ negate, f);
  }
  if (bClass == CLASS_INF) return infinity(bSign ^ negate, f);
  if (aClass == CLASS_ZERO || cClass == CLASS_ZERO) {
    if (bClass == CLASS_ZERO) return zero((pSign == bSign ? pSign : u32(sfRounding == ROUND_DOWN)) ^ negate, f);
    return negated(finish(bSign, bExp, bSig, 0, f, to), negate, f);
  }
  const pHigh = sigMul(aExp, aSig, cExp, cSig);
  const pLow = zLow;
  const pExp = zExp;
  if (bClass == CLASS_ZERO) return negated(finish(pSign, pExp, pHigh, pLow, f, to), negate, f);
  const high = addWide(pSign, pExp, pHigh, pLow, bSign, bExp, bSig, 0);
  if (high == 0) return zero(u32(sfRounding == ROUND_DOWN) ^ negate, f);
  return negated(finish(wSign, wExp, high, wLow, f, to), negate, f);
}

// @ts-ignore: decorator
@inline
function negated(v: u64, negate: u32, f: u32): u64 {
  return v ^ (<u64>negate << signShift(f));
}

let wSign: u32 = 0;
let wExp: i32 = 0;
let wLow: u64 = 0;

/** Sum of two normalised 128-bit numbers; the high half, 0 for an exact zero. */
function addWide(aSign: u32, aExp: i32, aHigh: u64, aLow: u64, bSign: u32, bExp: i32, bHigh: u64, bLow: u64): u64 {
  if (bExp > aExp || (bExp == aExp && (bHigh > aHigh || (bHigh == aHigh && bLow > aLow)))) {
    const s = aSign;
    aSign = bSign;
    bSign = s;
    const e = aExp;
    aExp = bExp;
    bExp = e;
    const h = aHigh;
    aHigh = bHigh;
    bHigh = h;
    const l = aLow;
    aLow = bLow;
    bLow = l;
  }
  bHigh = shiftRightJam(bHigh, bLow, u32(aExp - bExp));
  bLow = sfLow;
  wSign = aSign;
  let high: u64;
  let low: u64;
  if (aSign == bSign) {
    low = aLow + bLow;
    const carry = u64(low < aLow);
    high = aHigh + bHigh + carry;
    if (high < aHigh || (carry != 0 && high == aHigh && bHigh == 0xffffffffffffffff)) {
      low = (low >> 1) | (low & 1) | (high << 63);
      high = (high >> 1) | MSB;
      aExp++;
    }
  } else {
    low = aLow - bLow;
    high = aHigh - bHigh - u64(aLow < bLow);
    if ((high | low) == 0) return 0;
    if (high == 0) {
      high = low;
      low = 0;
      aExp -= 64;
    }
    const n = clz(high);
    if (n != 0) {
      high = (high << n) | (low >> (64 - n));
      low <<= n;
      aExp -= i32(n);
    }
  }
  wExp = aExp;
  wLow = low;
  return high;
}

/** 1 / a as QEMU estimates it: correctly rounded. */
export function reciprocalTo(a: u64, f: u32, to: u32): u64 {
  return divTo(f == F64 ? 0x3ff0000000000000 : 0x3f800000, a, f, to);
}

/** 1 / sqrt(a): correctly rounded square root, then quotient. */
export function rsqrtTo(a: u64, f: u32, to: u32): u64 {
  if (isNan(a, f)) return narrowed(nanOf(a, a, f), f, to);
  const root = sqrtTo(a, f, f);
  if (isNan(root, f)) return root;
  return divTo(f == F64 ? 0x3ff0000000000000 : 0x3f800000, root, f, to);
}

/** A double rounded to a single's precision, as a double. */
export function roundToSingle(a: u64): u64 {
  if (isNan(a, F64)) return nanOf(a, a, F64) & ~(<u64>0x1fffffff);
  const sign = signOf(a, F64);
  const kind = unpack(a, F64);
  if (kind == CLASS_INF || kind == CLASS_ZERO) return a;
  return widen(roundPack(sign, uExp, uSig, 0, F32));
}

/** The single nearest to a double, as its bits; NaNs lose their low payload bits. */
export function toSingleBits(a: u64): u64 {
  if (isNan(a, F64)) {
    if (isSignalling(a, F64)) invalid(VXSNAN);
    return ((a >> 32) & 0x80000000) | 0x7fc00000 | ((a >> 29) & 0x3fffff);
  }
  const sign = signOf(a, F64);
  const kind = unpack(a, F64);
  if (kind == CLASS_INF) return infinity(sign, F32);
  if (kind == CLASS_ZERO) return <u64>sign << 31;
  return roundPack(sign, uExp, uSig, 0, F32);
}

/** A single's bits to a double, a signalling NaN signalled and quieted. */
export function fromSingleBits(a: u64): u64 {
  if (isSignalling(a, F32)) {
    invalid(VXSNAN);
    return quiet(widen(a), F64);
  }
  return widen(a);
}

/** One operation of the table above. */
export function arith(op: u32, a: u64, b: u64, c: u64, f: u32, to: u32): u64 {
  switch (op) {
    case ADD: return addTo(a, b, 0, f, to);
    case SUB: return addTo(a, b, 1, f, to);
    case MUL: return mulTo(a, b, f, to);
    case DIV: return divTo(a, b, f, to);
    case SQRT: return sqrtTo(b, f, to);
    case MADD: return maddTo(a, c, b, 0, f, to);
    case MSUB: return maddTo(a, c, b, 1, f, to);
    case NMADD: return maddTo(a, c, b, 2, f, to);
    case NMSUB: return maddTo(a, c, b, 3, f, to);
    case RECIPROCAL: return reciprocalTo(b, f, to);
    case RSQRT: return rsqrtTo(b, f, to);
  }
  return roundToSingle(b);
}
