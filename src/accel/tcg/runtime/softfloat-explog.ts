/**
 * AssemblyScript. 2^x - 1 and y log2 x of the 80-bit format. Error below 0.51 units in the last place. Method and "wide"
 * numbers as in softfloat-trig.ts.
 */
import { MSB, mulHigh, mulWide, SF_INEXACT, SF_UNDERFLOW, sfLow, sfRaise, shiftRightJam } from "./softfloat-core";
import { BIAS80, pack80, rSe, setPrecision, setResult } from "./softfloat-f80";
import { EXP2, EXP_POLY, LN2_HIGH, LN2_LOW, LOG2, LOG2E_HIGH, LOG2E_LOW, LOG_POLY } from "./softfloat-tables";
import { packWide } from "./softfloat-trig";
import { add128, mul128, mulShift, polynomial, sub128, wLow } from "./softfloat-wide";

/** 2^7 |(e^v - 1) / v - 1| for w = 2^6 |v|. */
function expTail(w: u64, negative: bool): u64 {
  const square = mulHigh(w, mulHigh(w, polynomial(w, EXP_POLY, 7, !negative)));
  return negative ? w - square : w + square;
}

/** 2^x - 1 for finite nonzero |x| <= 1. */
export function exp2m1(sign: u32, exp: i32, sig: u64): void {
  if (exp >= 0) {
    // x = 1 or -1: exact, but signalled.
    sfRaise(SF_INEXACT);
    setResult(MSB, sign != 0 ? 0xbffe : 0x3fff);
    return;
  }
  const xHigh = shiftRightJam(sig, 0, u32(-1 - exp));
  const xLow = sfLow;
  const negative = sign != 0;
  let k = u32(((xHigh >> 57) + 1) >> 1);
  if (k == 0) {
    let vHigh = mul128(sig, 0, LN2_HIGH, LN2_LOW);
    let vLow = wLow;
    if (vHigh >> 63 == 0) {
      vHigh = (vHigh << 1) | (vLow >> 63);
      vLow <<= 1;
      exp--;
    }
    const shift = u32(-7 - exp);
    const tail = shift < 64 ? expTail(vHigh >> shift, negative) : 0;
    const part = mulShift(vHigh, tail, 7);
    if (negative) vHigh = sub128(vHigh, vLow, part, wLow);
    else {
      const sum = add128(vHigh, vLow, part, wLow);
      if (sum < vHigh) {
        // Carried out.
        packWide(sign, exp + 1, (sum >> 1) | MSB, (wLow >> 1) | (sum << 63));
        return;
      }
      vHigh = sum;
    }
    packWide(sign, exp, vHigh, wLow);
    return;
  }
  if (k > 63) k = 63;
  const base = u64(k) << 58;
  const below = xHigh < base;
  const dHigh = below ? sub128(base, 0, xHigh, xLow) : xHigh - base;
  const dLow = below ? wLow : xLow;
  // e^v - 1, v = d ln 2
  const vHigh = mul128(dHigh, dLow, LN2_HIGH, LN2_LOW);
  const vLow = wLow;
  const vNegative = below != negative;
  const w = (vHigh << 6) | (vLow >> 58);
  const part = mulShift(w, expTail(w, vNegative), 13);
  const eHigh = vNegative ? sub128(vHigh, vLow, part, wLow) : add128(vHigh, vLow, part, wLow);
  const eLow = wLow;
  const entry = EXP2 + (usize(negative ? 64 - k : k) << 4);
  const tHigh = load<u64>(entry);
  const tLow = load<u64>(entry, 8);
  let high: u64;
  if (negative) {
    // 1 - T -+ T E with bit 63 weighing 1/2
    high = sub128(0, 0, tHigh, tLow);
    const low = wLow;
    const product = mul128(tHigh, tLow, eHigh, eLow);
    high = vNegative ? add128(high, low, product, wLow) : sub128(high, low, product, wLow);
    packWide(1, -1, high, wLow);
  } else {
    // T - 1 +- T E with bit 63 weighing 1
    const product = mul128(tHigh, tLow, eHigh, eLow);
    high = vNegative ? sub128(tHigh - MSB, tLow, product, wLow) : add128(tHigh - MSB, tLow, product, wLow);
    packWide(0, 0, high, wLow);
  }
}

/** The logarithm: sign, wide number, and whether it is exact. */
let logSign: u32 = 0;
let logExp: i32 = 0;
let logHigh: u64 = 0;
let logLow: u64 = 0;
let logExact: bool = false;

/** 2^7 |1 - ln(1 + r) / r| for w = 2^6 |r|. */
function logTail(w: u64, negative: bool): u64 {
  const square = mulHigh(w, mulHigh(w, polynomial(w, LOG_POLY, 10, negative)));
  return negative ? w + square : w - square;
}

/** log2(1 + r) for 0 < |r| <= 2^-7 as a wide number. */
function logNear(sign: u32, exp: i32, high: u64, low: u64): void {
  logExact = false;
  logSign = sign;
  const shift = u32(-7 - exp);
  const tail = shift < 64 ? logTail(high >> shift, sign != 0) : 0;
  const part = mulShift(high, tail, 7);
  // One bit of headroom.
  const partHigh = part >> 1;
  const partLow = (wLow >> 1) | (part << 63);
  const h = high >> 1;
  const l = (low >> 1) | (high << 63);
  high = sign != 0 ? add128(h, l, partHigh, partLow) : sub128(h, l, partHigh, partLow);
  high = mul128(high, wLow, LOG2E_HIGH, LOG2E_LOW);
  normaliseLog(exp + 2, high, wLow);
}

/** Bit 63 weighs 2^exp. */
function normaliseLog(exp: i32, high: u64, low: u64): void {
  if (high == 0) {
    high = low;
    low = 0;
    exp -= 64;
  }
  const n = clz(high);
  logHigh = n == 0 ? high : (high << n) | (low >> (64 - n));
  logLow = n == 0 ? low : low << n;
  logExp = exp - i32(n);
}

/** log2 of a wide number. False: it is zero. */
function log2Wide(exp: i32, high: u64, low: u64): bool {
  if (exp == 0 && high >> 56 == 0x80) {
    // 1 <= z < 1 + 2^-7
    const rHigh = high - MSB;
    if ((rHigh | low) == 0) return false;
    nearFrom(0, rHigh, low, 0);
    return true;
  }
  if (exp == -1 && high >> 56 == 0xff) {
    // 1 - 2^-8 <= z < 1
    const rHigh = sub128(0, 0, high, low);
    nearFrom(1, rHigh, wLow, -1);
    return true;
  }
  // f in [sqrt(1/2), sqrt 2), 127 fraction bits.
  if (high > 0xb504f333f9de6484) {
    exp++;
    low = (low >> 1) | (high << 63);
    high >>= 1;
  }
  const k = u32((high + (u64(1) << 56)) >> 57);
  const entry = LOG2 + usize(k - 44) * 24;
  const c = load<u64>(entry);
  // c f - 1, 126 fraction bits.
  let rHigh = mulWide(c, high);
  let rLow = sfLow;
  const more = mulHigh(c, low);
  rLow += more;
  rHigh += u64(rLow < more);
  const one = u64(1) << 62;
  const negative = rHigh < one;
  if (negative) {
    rHigh = sub128(one, 0, rHigh, rLow);
    rLow = wLow;
  } else rHigh -= one;
  logExact = k == 64 && (rHigh | rLow) == 0;
  rHigh = (rHigh << 2) | (rLow >> 62);
  rLow <<= 2;
  const w = (rHigh << 6) | (rLow >> 58);
  const part = mulShift(w, logTail(w, negative), 13);
  rHigh = negative ? add128(rHigh, rLow, part, wLow) : sub128(rHigh, rLow, part, wLow);
  rHigh = mul128(rHigh, wLow, LOG2E_HIGH, LOG2E_LOW);
  rLow = wLow;
  // Sum with 112 fraction bits, two's complement.
  const addHigh = rHigh >> 15;
  const addLow = (rLow >> 15) | (rHigh << 49);
  let sum = load<u64>(entry, 8) + (u64(i64(exp)) << 48);
  sum = negative ? sub128(sum, load<u64>(entry, 16), addHigh, addLow) : add128(sum, load<u64>(entry, 16), addHigh, addLow);
  let sumLow = wLow;
  logSign = u32(sum >> 63);
  if (logSign != 0) {
    sum = sub128(0, 0, sum, sumLow);
    sumLow = wLow;
  }
  normaliseLog(15, sum, sumLow);
  return true;
}

function nearFrom(sign: u32, high: u64, low: u64, exp: i32): void {
  if (high == 0) {
    high = low;
    low = 0;
    exp -= 64;
  }
  const n = clz(high);
  logNear(sign, exp - i32(n), n == 0 ? high : (high << n) | (low >> (64 - n)), n == 0 ? low : low << n);
}

function timesLog(sign: u32, exp: i32, sig: u64): void {
  let high = mulWide(sig, logHigh);
  let low = sfLow;
  const more = mulWide(sig, logLow);
  const sticky = u64(sfLow != 0 || !logExact);
  low += more;
  high += u64(low < more);
  let e = exp + logExp + 1;
  if (high >> 63 == 0) {
    high = (high << 1) | (low >> 63);
    low <<= 1;
    e--;
  }
  setPrecision(64);
  pack80(sign ^ logSign, e + BIAS80, high, low | sticky);
  // Processors signal inexact for powers of two as well.
  sfRaise((rSe & 0x7fff) == 0 ? SF_INEXACT | SF_UNDERFLOW : SF_INEXACT);
}

/** y log2 x; x > 0, both finite and nonzero. */
export function ylog2x(ySign: u32, yExp: i32, ySig: u64, xExp: i32, xSig: u64): void {
  if (log2Wide(xExp, xSig, 0)) timesLog(ySign, yExp, ySig);
  else setResult(0, ySign << 15);
}

/** y log2(1 + x); x > -1, both finite and nonzero. */
export function ylog2xp1(ySign: u32, yExp: i32, ySig: u64, xSign: u32, xExp: i32, xSig: u64): void {
  if (xExp < -8) logNear(xSign, xExp, xSig, 0);
  else if (xExp >= 63) log2Wide(xExp, xSig, 0);
  else if (xSign != 0) {
    // 1 - |x| with 128 fraction bits; exact, as |x| >= 2^-8.
    const high = shiftRightJam(xSig, 0, u32(-1 - xExp));
    const rest = sub128(0, 0, high, sfLow);
    logOf(-1, rest, wLow);
  } else {
    // 1 + x with bit 63 weighing 2^(e + 1)
    const e = xExp > 0 ? xExp : 0;
    const high = shiftRightJam(xSig, 0, u32(e + 1 - xExp));
    const sum = add128(high, sfLow, u64(1) << u32(62 - e), 0);
    logOf(e + 1, sum, wLow);
  }
  timesLog(ySign, yExp, ySig);
}

function logOf(exp: i32, high: u64, low: u64): void {
  if (high == 0) {
    high = low;
    low = 0;
    exp -= 64;
  }
  const n = clz(high);
  log2Wide(exp - i32(n), n == 0 ? high : (high << n) | (low >> (64 - n)), n == 0 ? low : low << n);
}
