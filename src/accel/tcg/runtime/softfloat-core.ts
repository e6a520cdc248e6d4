/**
 * AssemblyScript. What all software floating point shares: rounding mode, accumulated exceptions, and 128-bit integer
 * steps. Source: IEEE 754-2019 (4.3 rounding, 7 exceptions). Functions that need two results leave the second in an
 * exported global, which is read before the next call.
 *
 * Exception bits and rounding modes are in the order of x86 (MXCSR, x87 control and status words); other targets map.
 */

export const SF_INVALID: u32 = 1;
export const SF_DENORMAL: u32 = 2;
export const SF_DIVZERO: u32 = 4;
export const SF_OVERFLOW: u32 = 8;
export const SF_UNDERFLOW: u32 = 16;
export const SF_INEXACT: u32 = 32;

export const ROUND_NEAREST: u32 = 0;
export const ROUND_DOWN: u32 = 1;
export const ROUND_UP: u32 = 2;
export const ROUND_ZERO: u32 = 3;

/** Operand classes, as returned by the unpack functions. */
export const CLASS_ZERO: u32 = 0;
export const CLASS_FINITE: u32 = 1;
export const CLASS_INF: u32 = 2;
export const CLASS_NAN: u32 = 3;
/** 80-bit encodings that the 387 and later refuse: unnormals, pseudo-infinities, pseudo-NaNs. */
export const CLASS_UNSUPPORTED: u32 = 4;

export const MSB: u64 = 0x8000000000000000;
const LOW32: u64 = 0xffffffff;

/** Exceptions since the last `sfBegin`. */
export let sfFlags: u32 = 0;
export let sfRounding: u32 = 0;
/** Masked exceptions (SF_* bits); an unmasked underflow is signalled by tiny exact results too. */
export let sfMask: u32 = 0x3f;
/** 1 when the last rounding enlarged the magnitude (x87 C1). */
export let sfUp: u32 = 0;
/** Denormal operands are zeros. */
export let sfDaz: bool = false;
/** Tiny results become zeros while underflow is masked. */
export let sfFtz: bool = false;

/** Underflow is detected before rounding (PowerPC), not after it. */
export let sfTinyBefore: bool = false;

export function sfSetTinyBefore(on: bool): void {
  sfTinyBefore = on;
}

/** Starts an operation with clean flags. */
// @ts-ignore: decorator
@inline
export function sfBegin(rounding: u32, mask: u32): void {
  sfFlags = 0;
  sfUp = 0;
  sfRounding = rounding;
  sfMask = mask;
}

// @ts-ignore: decorator
@inline
export function sfRaise(bits: u32): void {
  sfFlags |= bits;
}

// @ts-ignore: decorator
@inline
export function sfSetFlags(bits: u32): void {
  sfFlags = bits;
}

// @ts-ignore: decorator
@inline
export function sfSetRounding(mode: u32): void {
  sfRounding = mode;
}

// @ts-ignore: decorator
@inline
export function sfSetUp(up: u32): void {
  sfUp = up;
}

export function sfSetFlush(daz: bool, ftz: bool): void {
  sfDaz = daz;
  sfFtz = ftz;
}

/**
 * Whether the magnitude whose last kept bit is `odd` & 1 goes up by one unit, given the discarded part `rest` as a
 * fraction of that unit (half = MSB; everything below the 64th bit jammed into bit 0).
 */
// @ts-ignore: decorator
@inline
export function sfIncrement(sign: u32, odd: u64, rest: u64): bool {
  if (sfRounding == ROUND_NEAREST) return rest > MSB || (rest == MSB && (odd & 1) != 0);
  if (rest == 0 || sfRounding == ROUND_ZERO) return false;
  return (sfRounding == ROUND_DOWN) == (sign != 0);
}

/** Second result of mulWide, divWide, shiftRightJam, add128, ...: low half or remainder. */
export let sfLow: u64 = 0;

// @ts-ignore: decorator
@inline
export function sfSetLow(value: u64): void {
  sfLow = value;
}

/** High half of a * b; low half in sfLow. */
// @ts-ignore: decorator
@inline
export function mulWide(a: u64, b: u64): u64 {
  const a0 = a & LOW32;
  const a1 = a >> 32;
  const b0 = b & LOW32;
  const b1 = b >> 32;
  const p01 = a0 * b1;
  const middle = ((a0 * b0) >> 32) + (p01 & LOW32) + a1 * b0;
  sfLow = a * b;
  return a1 * b1 + (middle >> 32) + (p01 >> 32);
}

/** High half of a * b only. */
// @ts-ignore: decorator
@inline
export function mulHigh(a: u64, b: u64): u64 {
  const a0 = a & LOW32;
  const a1 = a >> 32;
  const b0 = b & LOW32;
  const b1 = b >> 32;
  const p01 = a0 * b1;
  const middle = ((a0 * b0) >> 32) + (p01 & LOW32) + a1 * b0;
  return a1 * b1 + (middle >> 32) + (p01 >> 32);
}

/** Quotient of (high, low) / d with high < d and bit 63 of d set; remainder in sfLow. */
export function divWide(high: u64, low: u64, d: u64): u64 {
  const d1 = d >> 32;
  const d0 = d & LOW32;
  const l1 = low >> 32;
  const l0 = low & LOW32;
  let q1 = high / d1;
  let r = high - q1 * d1;
  while (q1 >> 32 != 0 || q1 * d0 > ((r << 32) | l1)) {
    q1--;
    r += d1;
    if (r >> 32 != 0) break;
  }
  const middle = ((high << 32) | l1) - q1 * d;
  let q0 = middle / d1;
  r = middle - q0 * d1;
  while (q0 >> 32 != 0 || q0 * d0 > ((r << 32) | l0)) {
    q0--;
    r += d1;
    if (r >> 32 != 0) break;
  }
  sfLow = ((middle << 32) | l0) - q0 * d;
  return (q1 << 32) | q0;
}

/** (high, low) >> n, lost bits jammed into bit 0 of the low half (sfLow); returns the high half. n >= 0. */
export function shiftRightJam(high: u64, low: u64, n: u32): u64 {
  if (n == 0) {
    sfLow = low;
    return high;
  }
  if (n < 64) {
    sfLow = (high << (64 - n)) | (low >> n) | u64((low << (64 - n)) != 0);
    return high >> n;
  }
  if (n < 128) {
    const m = n - 64;
    const lost = m == 0 ? low : (high << (64 - m)) | low;
    sfLow = (high >> m) | u64(lost != 0);
    return 0;
  }
  sfLow = u64((high | low) != 0);
  return 0;
}

/** Result of sigAdd, sigMul, sigDiv, sigSqrt: value = zHigh.zLow * 2^(zExp - 63), bit 63 of zHigh set unless zero. */
export let zSign: u32 = 0;
export let zExp: i32 = 0;
export let zLow: u64 = 0;

/**
 * Sum of two nonzero numbers sign * sig * 2^(exp - 63), significands normalised. Returns the high half, 0 for an exact
 * zero (zSign then is the sign of x - x for the rounding mode).
 */
export function sigAdd(aSign: u32, aExp: i32, aSig: u64, bSign: u32, bExp: i32, bSig: u64): u64 {
  if (bExp > aExp || (bExp == aExp && bSig > aSig)) {
    const s = aSign;
    aSign = bSign;
    bSign = s;
    const e = aExp;
    aExp = bExp;
    bExp = e;
    const m = aSig;
    aSig = bSig;
    bSig = m;
  }
  const d = u32(aExp - bExp);
  let high: u64;
  let low: u64;
  if (d == 0) {
    high = bSig;
    low = 0;
  } else if (d < 64) {
    high = bSig >> d;
    low = bSig << (64 - d);
  } else {
    high = 0;
    low = d == 64 ? bSig : d < 128 ? (bSig >> (d - 64)) | u64(bSig << (128 - d) != 0) : 1;
  }
  zSign = aSign;
  if (aSign == bSign) {
    high += aSig;
    if (high < aSig) {
      low = (low >> 1) | (low & 1) | (high << 63);
      high = (high >> 1) | MSB;
      aExp++;
    }
  } else {
    high = aSig - high - u64(low != 0);
    low = 0 - low;
    if (high == 0) {
      if (low == 0) {
        zSign = u32(sfRounding == ROUND_DOWN);
        return 0;
      }
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
  zExp = aExp;
  zLow = low;
  return high;
}

/** Product of two normalised significands; exponents add. */
// @ts-ignore: decorator
@inline
export function sigMul(aExp: i32, aSig: u64, bExp: i32, bSig: u64): u64 {
  let high = mulWide(aSig, bSig);
  let low = sfLow;
  zExp = aExp + bExp + 1;
  if (high >> 63 == 0) {
    high = (high << 1) | (low >> 63);
    low <<= 1;
    zExp--;
  }
  zLow = low;
  return high;
}

/** Quotient of two normalised significands. zLow tells the remainder against one half: 0, 1, MSB, MSB | 1. */
export function sigDiv(aExp: i32, aSig: u64, bExp: i32, bSig: u64): u64 {
  let q: u64;
  if (aSig >= bSig) {
    q = divWide(aSig >> 1, aSig << 63, bSig);
    zExp = aExp - bExp;
  } else {
    q = divWide(aSig, 0, bSig);
    zExp = aExp - bExp - 1;
  }
  const r = sfLow;
  const other = bSig - r;
  zLow = r == 0 ? 0 : r < other ? 1 : r == other ? MSB : MSB | 1;
  return q;
}

/** Square root of a normalised significand. */
export function sigSqrt(exp: i32, sig: u64): u64 {
  // The radicand as (high, low) in [2^126, 2^128), its root in [2^63, 2^64).
  const odd = (exp & 1) != 0;
  const high = odd ? sig : sig >> 1;
  const low = odd ? 0 : sig << 63;
  zExp = exp >> 1;
  let root = sqrtEstimate(high);
  // One correction with the remainder taken as a double is exact to a unit; the loops settle the rest.
  let square = mulWide(root, root);
  let restLow = low - sfLow;
  let rest = i64(high - square - u64(low < sfLow));
  const correction = (f64(rest) * 18446744073709551616.0 + f64(restLow)) / (2.0 * f64(root));
  const step = i64(correction);
  const next = root + u64(step);
  // Guard against leaving [2^63, 2^64) at the ends of the range.
  if (step >= 0 && next < root) root = 0xffffffffffffffff;
  else root = next;
  square = mulWide(root, root);
  restLow = low - sfLow;
  rest = i64(high - square - u64(low < sfLow));
  while (rest < 0) {
    // (root - 1)^2 = root^2 - 2 root + 1
    root--;
    const back = root * 2 + 1;
    const sum = restLow + back;
    rest += i64(root >> 63) + i64(u64(sum < back));
    restLow = sum;
  }
  for (;;) {
    // root^2 + 2 root + 1 <= radicand?
    const twice = root << 1;
    const carry = root >> 63;
    if (root == 0xffffffffffffffff) break;
    if (u64(rest) < carry || (u64(rest) == carry && restLow <= twice)) break;
    rest = i64(u64(rest) - carry - u64(restLow < twice + 1));
    restLow -= twice + 1;
    root++;
  }
  // A root is never halfway: (root + 1/2)^2 = root^2 + root + 1/4 is no integer.
  zLow = rest == 0 && restLow == 0 ? 0 : u64(rest) > 0 || restLow > root ? MSB | 1 : 1;
  return root;
}

function sqrtEstimate(high: u64): u64 {
  const root = Math.sqrt(f64(high)) * 4294967296.0;
  return root >= 18446744073709551615.0 ? 0xffffffffffffffff : u64(root);
}
