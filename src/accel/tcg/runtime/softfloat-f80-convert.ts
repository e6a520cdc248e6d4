/**
 * AssemblyScript. The 80-bit format to and from binary32, binary64, integers and packed decimal, and what works on its
 * parts: rounding to integral, scaling, splitting, remainder. Results in rSig and rSe of softfloat-f80.
 * Source: Intel SDM vol 1, 4.7 and 8.3; vol 2 (FBLD, FBSTP, FPREM, FPREM1, FRNDINT, FSCALE, FXTRACT).
 */
import { defaultNan, F32, F64, infinity, quiet, roundPack, signOf } from "./softfloat-binary";
import { finiteToInt, roundMagnitude, tooLarge, wasInexact } from "./softfloat-convert";
import {
  CLASS_FINITE,
  CLASS_INF,
  CLASS_NAN,
  CLASS_UNSUPPORTED,
  CLASS_ZERO,
  MSB,
  SF_DENORMAL,
  SF_DIVZERO,
  SF_INEXACT,
  SF_INVALID,
  sfFlags,
  sfRaise,
  sfSetFlags,
  sfSetUp,
} from "./softfloat-core";
import { BIAS80, pack80, rSe, rSig, setInf, setInvalid, setPrecision, setResult, setZero, unpack80, xExp, xSig } from "./softfloat-f80";

/** binary64 widened; exact. NaNs keep their payload and their signalling bit. Signals denormal operands. */
// @ts-ignore: decorator
@inline
export function widenF64(bits: u64): void {
  const e = u32(bits >> 52) & 0x7ff;
  if (e - 1 < 0x7fe) setResult(MSB | (bits << 11), (u32(bits >> 48) & 0x8000) | (e + 0x3c00));
  else widenEdge(bits, F64);
}

/** binary32 widened, as widenF64. */
// @ts-ignore: decorator
@inline
export function widenF32(bits: u64): void {
  const e = u32(bits >> 23) & 0xff;
  if (e - 1 < 0xfe) setResult(MSB | (bits << 40), (u32(bits >> 16) & 0x8000) | (e + 0x3f80));
  else widenEdge(bits & 0xffffffff, F32);
}

function widenEdge(bits: u64, fraction: u32): void {
  const sign = signOf(bits, fraction) << 15;
  const f = bits & ((u64(1) << fraction) - 1);
  const exponents: u32 = fraction == F64 ? 0x7ff : 0xff;
  if ((u32(bits >> fraction) & exponents) != 0) setResult(MSB | (f << (63 - fraction)), sign | 0x7fff);
  else if (f == 0) setResult(0, sign);
  else {
    sfRaise(SF_DENORMAL);
    const n = clz(f);
    const bias: u32 = fraction == F64 ? 1023 : 127;
    setResult(f << n, sign | (u32(BIAS80) + 64 - bias - fraction - u32(n)));
  }
}

/** A signed integer; exact. */
export function fromInt80(value: i64): void {
  if (value == 0) {
    setResult(0, 0);
    return;
  }
  const m = u64(value < 0 ? 0 - value : value);
  const n = clz(m);
  setResult(m << n, (u32(value < 0) << 15) | u32(BIAS80 + 63 - i32(n)));
}

/** Rounded to binary32 or binary64. */
export function narrow80(sig: u64, se: u32, fraction: u32): u64 {
  const sign = (se >> 15) & 1;
  const kind = unpack80(sig, se);
  // A denormal operand is not signalled by stores; the result underflows anyway.
  if (kind == CLASS_FINITE) {
    sfSetFlags(sfFlags & ~SF_DENORMAL);
    return roundPack(sign, xExp - BIAS80, xSig, 0, fraction);
  }
  if (kind == CLASS_ZERO) return infinity(sign, fraction) & (fraction == F64 ? MSB : 0x80000000);
  if (kind == CLASS_INF) return infinity(sign, fraction);
  if (kind == CLASS_UNSUPPORTED) {
    sfRaise(SF_INVALID);
    return defaultNan(fraction);
  }
  if (((sig >> 62) & 1) == 0) sfRaise(SF_INVALID);
  return quiet(infinity(sign, fraction) | ((sig << 1) >> (64 - fraction)), fraction);
}

/** Rounded to an integer of `width` bits. */
export function toInt80(sig: u64, se: u32, width: u32): u64 {
  const kind = unpack80(sig, se);
  sfSetFlags(0);
  if (kind == CLASS_ZERO) return 0;
  if (kind == CLASS_FINITE) return finiteToInt((se >> 15) & 1, xExp - BIAS80, xSig, width);
  sfSetFlags(SF_INVALID);
  return u64(1) << (width - 1);
}

/** FRNDINT of a non-NaN operand. */
export function roundIntegral80(sig: u64, se: u32): void {
  const kind = unpack80(sig, se);
  if (kind != CLASS_FINITE || xExp >= BIAS80 + 63) {
    setResult(sig, se);
    return;
  }
  const sign = se >> 15;
  const m = roundMagnitude(sign, xExp - BIAS80, xSig);
  if (wasInexact) sfRaise(SF_INEXACT);
  if (m == 0) setZero(sign);
  else {
    const n = clz(m);
    setResult(m << n, (sign << 15) | u32(BIAS80 + 63 - i32(n)));
  }
}

/** FSCALE: a * 2^trunc(b), operands without NaNs. */
export function scale80(aSig: u64, aSe: u32, bSig: u64, bSe: u32): void {
  const sign = aSe >> 15;
  const aClass = unpack80(aSig, aSe);
  const aExp = xExp;
  const aNorm = xSig;
  const bClass = unpack80(bSig, bSe);
  const down = bSe >> 15 != 0;
  if (bClass == CLASS_INF) {
    if (aClass == (down ? CLASS_INF : CLASS_ZERO)) setInvalid();
    else if (down) setZero(sign);
    else setInf(sign);
    return;
  }
  if (aClass == CLASS_INF) {
    setInf(sign);
    return;
  }
  if (aClass == CLASS_ZERO) {
    setZero(sign);
    return;
  }
  let n: i32 = 0;
  if (bClass == CLASS_FINITE && xExp >= BIAS80) {
    // Beyond 2^17 every scale overflows or underflows alike.
    n = xExp > BIAS80 + 16 ? 0x20000 : i32(xSig >> u64(63 - (xExp - BIAS80)));
    if (down) n = -n;
  }
  setPrecision(64);
  pack80(sign, aExp + n, aNorm, 0);
}

/** FXTRACT: the exponent as a number; the significand is in splitSig and splitSe. */
export let splitSig: u64 = 0;
export let splitSe: u32 = 0;
export function extract80(sig: u64, se: u32): void {
  const sign = se & 0x8000;
  const kind = unpack80(sig, se);
  splitSe = sign | u32(BIAS80);
  if (kind == CLASS_ZERO) {
    sfRaise(SF_DIVZERO);
    splitSig = 0;
    splitSe = sign;
    setInf(1);
  } else if (kind == CLASS_INF) {
    splitSig = MSB;
    splitSe = se;
    setInf(0);
  } else {
    splitSig = xSig;
    fromInt80(xExp - BIAS80);
  }
}

/** Low bits of the quotient of the last complete remainder; partial = true when the reduction is not complete (C2). */
export let remQuotient: u32 = 0;
export let remPartial: bool = false;

/**
 * FPREM (nearest = false) and FPREM1 (nearest = true) of operands without NaNs. When the exponents differ by 64 or more,
 * one call reduces the difference by 32 to 63 and leaves remPartial set.
 */
export function remainder80(aSig: u64, aSe: u32, bSig: u64, bSe: u32, nearest: bool): void {
  remQuotient = 0;
  remPartial = false;
  let sign = aSe >> 15;
  const aClass = unpack80(aSig, aSe);
  const aExp = xExp;
  const aNorm = xSig;
  const bClass = unpack80(bSig, bSe);
  if (aClass == CLASS_INF || bClass == CLASS_ZERO) {
    setInvalid();
    return;
  }
  if (aClass == CLASS_ZERO) {
    setZero(sign);
    return;
  }
  setPrecision(64);
  if (bClass == CLASS_INF) {
    pack80(sign, aExp, aNorm, 0);
    return;
  }
  const bExp = xExp;
  const bNorm = xSig;
  const d = aExp - bExp;
  if (d < -1 || (d < 0 && !nearest)) {
    pack80(sign, aExp, aNorm, 0);
    return;
  }
  // r is below 2 * bNorm throughout; `extra` is its bit 64.
  let r = aNorm;
  let quotient: u64 = 0;
  if (d >= 64) {
    // Reduce by n bits of quotient, keeping r's exponent d - n above b's.
    const n = 32 + (d & 31);
    remPartial = true;
    r = reduce(r, bNorm, n);
    if (r == 0) setZero(sign);
    else {
      const z = clz(r);
      pack80(sign, aExp - n - i32(z), r << z, 0);
    }
    return;
  }
  let rExp = bExp;
  if (d >= 0) {
    r = reduce(r, bNorm, d);
    quotient = reduceQuotient;
  } else {
    // Exponent one less than the divisor's: half the range may round up to a quotient of 1.
    rExp = aExp;
  }
  if (nearest) {
    // r against b / 2, in units of rExp.
    let up: bool;
    if (d < 0) up = r > bNorm;
    else {
      const other = bNorm - r;
      up = r > other || (r == other && (quotient & 1) != 0);
    }
    if (up) {
      // b has one more bit than r when the exponents differ.
      r = d < 0 ? (bNorm << 1) - r : bNorm - r;
      sign ^= 1;
      quotient++;
    }
  }
  remQuotient = u32(quotient) & 7;
  if (r == 0) setZero(aSe >> 15);
  else {
    const z = clz(r);
    pack80(sign, rExp - i32(z), r << z, 0);
  }
}

let reduceQuotient: u64 = 0;

/** a * 2^n mod b for normalised a and b, 0 <= n < 64, by long division; quotient (low 64 bits) in reduceQuotient. */
function reduce(a: u64, b: u64, n: i32): u64 {
  let q: u64 = 0;
  let r = a;
  if (r >= b) {
    r -= b;
    q = 1;
  }
  for (let i = 0; i < n; i++) {
    const carry = r >> 63;
    r <<= 1;
    q <<= 1;
    if (carry != 0 || r >= b) {
      r -= b;
      q |= 1;
    }
  }
  reduceQuotient = q;
  return r;
}

/** Packed decimal to a number: 18 digits in low and the low byte of high, sign in bit 15 of high. Exact. */
export function fromBcd80(low: u64, high: u32): void {
  let value: u64 = 0;
  for (let i: i32 = 1; i >= 0; i--) value = value * 10 + ((high >> (i * 4)) & 15);
  for (let i: i32 = 15; i >= 0; i--) value = value * 10 + ((low >> (u64(i) * 4)) & 15);
  fromInt80(i64(value));
  setResult(rSig, rSe | (high & 0x8000));
}

/** High 16 bits of the packed decimal made by toBcd80. */
export let bcdHigh: u32 = 0;

/** Rounded to 18 decimal digits: low 64 bits; bcdHigh the rest. Out of range and NaN: invalid, packed indefinite. */
export function toBcd80(sig: u64, se: u32): u64 {
  const sign = (se >> 15) & 1;
  const kind = unpack80(sig, se);
  sfSetFlags(0);
  let m: u64 = 0;
  if (kind == CLASS_FINITE) {
    m = roundMagnitude(sign, xExp - BIAS80, xSig);
    if (tooLarge) m = 0xffffffffffffffff;
  }
  if (kind >= CLASS_INF || m > 999999999999999999) {
    sfSetFlags(SF_INVALID);
    sfSetUp(0);
    bcdHigh = 0xffff;
    return 0xc000000000000000;
  }
  if (kind == CLASS_FINITE && wasInexact) sfRaise(SF_INEXACT);
  let low: u64 = 0;
  for (let i: u64 = 0; i < 16; i++) {
    low |= m % 10 << (i * 4);
    m /= 10;
  }
  bcdHigh = (sign << 15) | (u32(m / 10) << 4) | u32(m % 10);
  return low;
}
