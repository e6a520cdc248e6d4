/**
 * AssemblyScript. Conversions between integers, binary32 and binary64, and rounding to integral values. Source: IEEE 754-2019
 * 5.4 and 5.9. Out-of-range conversions to integers signal invalid only and give the smallest integer ("integer
 * indefinite" of x86).
 */
import { defaultNan, F32, F64, infinity, quiet, roundPack, signOf, uExp, unpack, uSig } from "./softfloat-binary";
import {
  CLASS_FINITE,
  CLASS_INF,
  CLASS_NAN,
  CLASS_ZERO,
  MSB,
  SF_INEXACT,
  SF_INVALID,
  sfIncrement,
  sfRaise,
  sfSetFlags,
  sfSetUp,
} from "./softfloat-core";

/** Set by roundMagnitude when the magnitude does not fit 64 bits. */
export let tooLarge: bool = false;
/** Set by roundMagnitude when something was cut off. The exception is not signalled. */
export let wasInexact: bool = false;

/** sig * 2^(exp - 63) rounded to an integer magnitude. */
export function roundMagnitude(sign: u32, exp: i32, sig: u64): u64 {
  tooLarge = false;
  wasInexact = false;
  if (exp > 63) {
    tooLarge = true;
    return 0;
  }
  if (exp == 63) return sig;
  let m: u64;
  let rest: u64;
  if (exp >= 0) {
    m = sig >> u64(63 - exp);
    rest = sig << u64(exp + 1);
  } else {
    m = 0;
    rest = exp == -1 ? sig : 1;
  }
  if (rest == 0) return m;
  wasInexact = true;
  if (sfIncrement(sign, m, rest)) {
    sfSetUp(1);
    m++;
  }
  return m;
}

/** Integer of `width` bits (16, 32, 64) from a finite number; the low `width` bits are the result. */
export function finiteToInt(sign: u32, exp: i32, sig: u64, width: u32): u64 {
  const m = roundMagnitude(sign, exp, sig);
  const limit = u64(1) << (width - 1);
  if (tooLarge || m > limit || (m == limit && sign == 0)) {
    sfSetFlags(SF_INVALID);
    sfSetUp(0);
    return limit;
  }
  if (wasInexact) sfRaise(SF_INEXACT);
  const value = sign != 0 ? 0 - m : m;
  return width == 64 ? value : value & ((u64(1) << width) - 1);
}

/** Any operand to an integer. Does not signal denormal operands. */
export function toInt(bits: u64, width: u32, fraction: u32): u64 {
  const kind = unpack(bits, fraction);
  sfSetFlags(0);
  if (kind == CLASS_ZERO) return 0;
  if (kind != CLASS_FINITE) {
    sfSetFlags(SF_INVALID);
    return u64(1) << (width - 1);
  }
  return finiteToInt(signOf(bits, fraction), uExp, uSig, width);
}

/** A signed integer to the format. */
export function fromInt(value: i64, fraction: u32): u64 {
  if (value == 0) return 0;
  const sign = u32(value < 0);
  const m = u64(value < 0 ? 0 - value : value);
  const n = clz(m);
  return roundPack(sign, i32(63 - n), m << n, 0, fraction);
}

/** binary32 to binary64; NaNs are quieted, a signalling one is signalled. */
export function f32ToF64(bits: u64): u64 {
  const sign = signOf(bits, F32);
  const kind = unpack(bits, F32);
  if (kind == CLASS_NAN) {
    if (((bits >> 22) & 1) == 0) sfRaise(SF_INVALID);
    return quiet((u64(sign) << 63) | 0x7ff0000000000000 | ((bits & 0x7fffff) << 29), F64);
  }
  if (kind == CLASS_INF) return infinity(sign, F64);
  if (kind == CLASS_ZERO) return u64(sign) << 63;
  return roundPack(sign, uExp, uSig, 0, F64);
}

/** binary64 to binary32; NaNs lose their low payload bits and are quieted. */
export function f64ToF32(bits: u64): u64 {
  const sign = signOf(bits, F64);
  const kind = unpack(bits, F64);
  if (kind == CLASS_NAN) {
    if (((bits >> 51) & 1) == 0) sfRaise(SF_INVALID);
    return quiet((u64(sign) << 31) | 0x7f800000 | ((bits >> 29) & 0x7fffff), F32);
  }
  if (kind == CLASS_INF) return infinity(sign, F32);
  if (kind == CLASS_ZERO) return u64(sign) << 31;
  return roundPack(sign, uExp, uSig, 0, F32);
}

/** Rounded to an integral value in the current mode. Denormal operands are not signalled; NaN as usual. */
export function roundIntegral(bits: u64, fraction: u32): u64 {
  const sign = signOf(bits, fraction);
  const kind = unpack(bits, fraction);
  sfSetFlags(0);
  const signBit = u64(sign) << (fraction == F64 ? 63 : 31);
  if (kind == CLASS_NAN) {
    if (((bits >> (fraction - 1)) & 1) == 0) sfRaise(SF_INVALID);
    return quiet(bits, fraction);
  }
  if (kind == CLASS_INF) return bits;
  if (kind == CLASS_ZERO) return signBit;
  if (uExp >= i32(fraction)) return bits;
  const m = roundMagnitude(sign, uExp, uSig);
  if (wasInexact) sfRaise(SF_INEXACT);
  if (m == 0) return signBit;
  const n = clz(m);
  return roundPack(sign, i32(63 - n), m << n, 0, fraction);
}
