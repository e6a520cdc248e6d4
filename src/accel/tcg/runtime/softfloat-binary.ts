/**
 * AssemblyScript. IEEE 754 binary32 and binary64 arithmetic on raw bits (binary32 in the low half of a u64), for the
 * rounding mode, masks and flush modes of softfloat-core. Underflow is detected after rounding. NaN *operands* of
 * two-operand operations are the caller's business, as the rules of propagation differ between architectures; an
 * invalid operation gives the default NaN with its sign set (x86).
 *
 * The format is named by its number of stored fraction bits: 23 or 52.
 */
import {
  CLASS_FINITE,
  CLASS_INF,
  CLASS_NAN,
  CLASS_ZERO,
  MSB,
  ROUND_DOWN,
  ROUND_NEAREST,
  ROUND_UP,
  SF_DENORMAL,
  SF_DIVZERO,
  SF_INEXACT,
  SF_INVALID,
  SF_OVERFLOW,
  SF_UNDERFLOW,
  sfDaz,
  sfFlags,
  sfFtz,
  sfIncrement,
  sfMask,
  sfRaise,
  sfRounding,
  sfTinyBefore,
  sfSetFlags,
  sfSetUp,
  sigAdd,
  sigDiv,
  sigMul,
  sigSqrt,
  zExp,
  zLow,
  zSign,
} from "./softfloat-core";

export const F32: u32 = 23;
export const F64: u32 = 52;

// @ts-ignore: decorator
@inline
function biasOf(fraction: u32): i32 {
  return fraction == F64 ? 1023 : 127;
}
// @ts-ignore: decorator
@inline
function exponentMask(fraction: u32): u32 {
  return fraction == F64 ? 0x7ff : 0xff;
}
// @ts-ignore: decorator
@inline
function signShift(fraction: u32): u64 {
  return fraction == F64 ? 63 : 31;
}

// @ts-ignore: decorator
@inline
export function signOf(bits: u64, fraction: u32): u32 {
  return u32(bits >> signShift(fraction)) & 1;
}

export function infinity(sign: u32, fraction: u32): u64 {
  return (u64(sign) << signShift(fraction)) | (u64(exponentMask(fraction)) << fraction);
}

/** The NaN of an invalid operation. */
export function defaultNan(fraction: u32): u64 {
  return fraction == F64 ? 0xfff8000000000000 : 0xffc00000;
}

// @ts-ignore: decorator
@inline
export function isNan(bits: u64, fraction: u32): bool {
  const magnitude = fraction == F64 ? bits & 0x7fffffffffffffff : bits & 0x7fffffff;
  return magnitude > u64(exponentMask(fraction)) << fraction;
}

// @ts-ignore: decorator
@inline
export function isSignalling(bits: u64, fraction: u32): bool {
  return isNan(bits, fraction) && ((bits >> (fraction - 1)) & 1) == 0;
}

// @ts-ignore: decorator
@inline
export function quiet(bits: u64, fraction: u32): u64 {
  return bits | (u64(1) << (fraction - 1));
}

/** Unbiased exponent and normalised significand of the operand unpacked last. */
export let uExp: i32 = 0;
export let uSig: u64 = 0;

/** Class of `bits`; for finite nonzero operands also uExp and uSig. Signals denormal operands unless DAZ. */
export function unpack(bits: u64, fraction: u32): u32 {
  const mask = exponentMask(fraction);
  const e = u32(bits >> fraction) & mask;
  const f = bits & ((u64(1) << fraction) - 1);
  if (e == mask) return f == 0 ? CLASS_INF : CLASS_NAN;
  if (e == 0) {
    if (f == 0 || sfDaz) return CLASS_ZERO;
    sfRaise(SF_DENORMAL);
    const n = clz(f);
    uSig = f << n;
    uExp = 1 - biasOf(fraction) + i32(63 - fraction) - i32(n);
    return CLASS_FINITE;
  }
  uExp = i32(e) - biasOf(fraction);
  uSig = MSB | (f << (63 - fraction));
  return CLASS_FINITE;
}

function overflow(sign: u32, fraction: u32): u64 {
  sfRaise((sfMask & SF_OVERFLOW) != 0 ? SF_OVERFLOW | SF_INEXACT : SF_OVERFLOW);
  if (sfRounding == ROUND_NEAREST || (sfRounding == ROUND_DOWN && sign != 0) || (sfRounding == ROUND_UP && sign == 0)) {
    sfSetUp(1);
    return infinity(sign, fraction);
  }
  sfSetUp(0);
  return infinity(sign, fraction) - 1;
}

/** Rounds sign * high.low * 2^(exp - 63), bit 63 of high set, to the format. */
export function roundPack(sign: u32, exp: i32, high: u64, low: u64, fraction: u32): u64 {
  const bias = biasOf(fraction);
  const cut = 63 - fraction;
  const jam = u64(low != 0);
  const signBit = u64(sign) << signShift(fraction);
  const rest = (high << (64 - cut)) | jam;
  if (exp > -bias) {
    let m = high >> cut;
    if (rest != 0) {
      sfRaise(SF_INEXACT);
      if (sfIncrement(sign, m, rest)) {
        sfSetUp(1);
        m++;
        if (m >> (fraction + 1) != 0) {
          m >>= 1;
          exp++;
        }
      }
    }
    if (exp > bias) return overflow(sign, fraction);
    return signBit + (u64(exp + bias - 1) << fraction) + m;
  }
  const d = u32(1 - bias - exp);
  // Tiny unless rounding with an unbounded exponent would reach the smallest normal number.
  const tiny = sfTinyBefore || !(d == 1 && ~(high >> cut) << (63 - fraction) == 0 && sfIncrement(sign, 1, rest));
  if (tiny && sfFtz && (sfMask & SF_UNDERFLOW) != 0) {
    sfRaise(SF_UNDERFLOW | SF_INEXACT);
    return signBit;
  }
  const c = cut + d;
  let m: u64;
  let lost: u64;
  if (c < 64) {
    m = high >> c;
    lost = (high << (64 - c)) | jam;
  } else {
    m = 0;
    lost = c == 64 ? high | jam : 1;
  }
  if (tiny && (sfMask & SF_UNDERFLOW) == 0) {
    // The trap finds the result rounded with an unbounded exponent; nothing is denormalised.
    sfRaise(rest != 0 ? SF_UNDERFLOW | SF_INEXACT : SF_UNDERFLOW);
    return signBit | m;
  }
  if (lost != 0) {
    sfRaise(tiny ? SF_INEXACT | SF_UNDERFLOW : SF_INEXACT);
    if (sfIncrement(sign, m, lost)) {
      sfSetUp(1);
      m++;
    }
  }
  return signBit | m;
}

function invalid(fraction: u32): u64 {
  sfSetFlags((sfFlags & ~SF_DENORMAL) | SF_INVALID);
  return defaultNan(fraction);
}

/** a + b, or a - b with negate = 1. No NaN operands. */
export function addBits(a: u64, b: u64, negate: u32, fraction: u32): u64 {
  const aSign = signOf(a, fraction);
  const bSign = signOf(b, fraction) ^ negate;
  const aClass = unpack(a, fraction);
  const aExp = uExp;
  const aSig = uSig;
  const bClass = unpack(b, fraction);
  if (aClass == CLASS_INF) {
    if (bClass == CLASS_INF && aSign != bSign) return invalid(fraction);
    return infinity(aSign, fraction);
  }
  if (bClass == CLASS_INF) return infinity(bSign, fraction);
  if (aClass == CLASS_ZERO) {
    if (bClass == CLASS_ZERO) {
      const sign = aSign == bSign ? aSign : u32(sfRounding == ROUND_DOWN);
      return u64(sign) << signShift(fraction);
    }
    return roundPack(bSign, uExp, uSig, 0, fraction);
  }
  if (bClass == CLASS_ZERO) return roundPack(aSign, aExp, aSig, 0, fraction);
  const high = sigAdd(aSign, aExp, aSig, bSign, uExp, uSig);
  if (high == 0) return u64(zSign) << signShift(fraction);
  return roundPack(zSign, zExp, high, zLow, fraction);
}

/** a * b. No NaN operands. */
export function mulBits(a: u64, b: u64, fraction: u32): u64 {
  const sign = signOf(a, fraction) ^ signOf(b, fraction);
  const aClass = unpack(a, fraction);
  const aExp = uExp;
  const aSig = uSig;
  const bClass = unpack(b, fraction);
  if (aClass == CLASS_INF || bClass == CLASS_INF) {
    if (aClass == CLASS_ZERO || bClass == CLASS_ZERO) return invalid(fraction);
    return infinity(sign, fraction);
  }
  if (aClass == CLASS_ZERO || bClass == CLASS_ZERO) return u64(sign) << signShift(fraction);
  const high = sigMul(aExp, aSig, uExp, uSig);
  return roundPack(sign, zExp, high, zLow, fraction);
}

/** a / b. No NaN operands. */
export function divBits(a: u64, b: u64, fraction: u32): u64 {
  const sign = signOf(a, fraction) ^ signOf(b, fraction);
  const aClass = unpack(a, fraction);
  const aExp = uExp;
  const aSig = uSig;
  const bClass = unpack(b, fraction);
  if (aClass == CLASS_INF) {
    if (bClass == CLASS_INF) return invalid(fraction);
    return infinity(sign, fraction);
  }
  if (bClass == CLASS_INF) return u64(sign) << signShift(fraction);
  if (bClass == CLASS_ZERO) {
    if (aClass == CLASS_ZERO) return invalid(fraction);
    sfSetFlags((sfFlags & ~SF_DENORMAL) | SF_DIVZERO);
    return infinity(sign, fraction);
  }
  if (aClass == CLASS_ZERO) return u64(sign) << signShift(fraction);
  const high = sigDiv(aExp, aSig, uExp, uSig);
  return roundPack(sign, zExp, high, zLow, fraction);
}

/** Square root of a. No NaN operand. */
export function sqrtBits(a: u64, fraction: u32): u64 {
  const sign = signOf(a, fraction);
  const kind = unpack(a, fraction);
  if (kind == CLASS_ZERO) return u64(sign) << signShift(fraction);
  if (sign != 0) return invalid(fraction);
  if (kind == CLASS_INF) return a;
  const high = sigSqrt(uExp, uSig);
  return roundPack(0, zExp, high, zLow, fraction);
}

/** Results of compareBits. */
export const CMP_LESS: i32 = -1;
export const CMP_EQUAL: i32 = 0;
export const CMP_GREATER: i32 = 1;
export const CMP_UNORDERED: i32 = 2;

/** Order of a and b. Any NaN gives CMP_UNORDERED and signals nothing; denormal operands are signalled otherwise. */
export function compareBits(a: u64, b: u64, fraction: u32): i32 {
  if (isNan(a, fraction) || isNan(b, fraction)) return CMP_UNORDERED;
  const aClass = unpack(a, fraction);
  const bClass = unpack(b, fraction);
  const aSign = signOf(a, fraction);
  const bSign = signOf(b, fraction);
  if (aClass == CLASS_ZERO && bClass == CLASS_ZERO) return CMP_EQUAL;
  if (aClass == CLASS_ZERO) return bSign != 0 ? CMP_GREATER : CMP_LESS;
  if (bClass == CLASS_ZERO) return aSign != 0 ? CMP_LESS : CMP_GREATER;
  if (aSign != bSign) return aSign != 0 ? CMP_LESS : CMP_GREATER;
  if (a == b) return CMP_EQUAL;
  return a < b != (aSign != 0) ? CMP_LESS : CMP_GREATER;
}
