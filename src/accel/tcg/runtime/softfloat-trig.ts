/**
 * AssemblyScript. sin, cos, tan and arc tangent of the 80-bit format. Arguments are reduced with the 66-bit value of pi
 * that the x87 uses (Intel SDM vol 1, 8.3.8). Error below 0.51 units in the last place; results are inexact whenever
 * they are not trivial, and directed rounding is respected.
 *
 * Method: a table at multiples of 1/64 with 128-bit entries, and short Taylor series for the rest. "Wide" numbers are
 * (exponent, high, low) with bit 63 of high set: high.low * 2^(exponent - 127).
 */
import { mulHigh, mulWide, sfLow, sfSetUp, shiftRightJam } from "./softfloat-core";
import { BIAS80, pack80, rSe, rSig, setPrecision } from "./softfloat-f80";
import { ATAN, ATAN_POLY, COS_POLY, PI_HIGH, PI_LOW, SIN_POLY, SINCOS } from "./softfloat-tables";
import { add128, div128, mul128, mulShift, polynomial, setWide, sub128, wLow } from "./softfloat-wide";

/** Normalises high.low with the weight of bit 63 = 2^exp and rounds it; always inexact. */
export function packWide(sign: u32, exp: i32, high: u64, low: u64): void {
  if (high == 0) {
    high = low;
    low = 0;
    exp -= 64;
  }
  const n = clz(high);
  if (n != 0) {
    high = (high << n) | (low >> (64 - n));
    low <<= n;
    exp -= i32(n);
  }
  setPrecision(64);
  pack80(sign, exp + BIAS80, high, low | 1);
}

// --- sine and cosine ---

/** Sine and cosine of the reduced argument, as wide numbers. */
let sinExp: i32 = 0;
let sinHigh: u64 = 0;
let sinLow: u64 = 0;
let cosHigh: u64 = 0;
let cosLow: u64 = 0;

/** For 0 < r <= pi/4 given as a wide number. Cosine: weight of bit 63 is 1/2. */
function kernel(exp: i32, high: u64, low: u64): void {
  const shift = u32(-1 - exp);
  let dHigh = shiftRightJam(high, low, shift);
  let dLow = sfLow;
  const k = u32((dHigh + (u64(1) << 57)) >> 58);
  const base = u64(k) << 58;
  const below = dHigh < base;
  if (below) {
    dHigh = sub128(base, 0, dHigh, dLow);
    dLow = wLow;
  } else dHigh -= base;
  // x = 2^6 d, u = 2^12 d^2
  const x = (dHigh << 6) | (dLow >> 58);
  const u = mulHigh(x, x);
  const s = mulHigh(u, polynomial(u, SIN_POLY, 4, false));
  const v = mulHigh(u, polynomial(u, COS_POLY, 4, false));
  if (k == 0) {
    // Relative to the argument itself, which may be very small: at least one unit less.
    let cut = mulShift(high, s, 12);
    let cutLow = wLow;
    if (cut == 0 && cutLow == 0) cutLow = 1;
    sinHigh = sub128(high, low, cut, cutLow);
    sinLow = wLow;
    sinExp = exp;
    if (sinHigh >> 63 == 0) {
      sinHigh = (sinHigh << 1) | (sinLow >> 63);
      sinLow <<= 1;
      sinExp--;
    }
    cut = v >> 12;
    cutLow = v << 52;
    if (v == 0) cutLow = 1;
    cosHigh = sub128(0, 0, cut, cutLow);
    cosLow = wLow;
    return;
  }
  // sin d with 128 fraction bits
  let cut = mulShift(x, s, 18);
  const sdHigh = sub128(dHigh, dLow, cut, wLow);
  const sdLow = wLow;
  const entry = SINCOS + (usize(k) << 5);
  const tableSin = load<u64>(entry);
  const tableSinLow = load<u64>(entry, 8);
  const tableCos = load<u64>(entry, 16);
  const tableCosLow = load<u64>(entry, 24);
  cut = mulShift(tableSin, v, 12);
  let sum = sub128(tableSin, tableSinLow, cut, wLow);
  let sumLow = wLow;
  let other = mul128(tableCos, tableCosLow, sdHigh, sdLow);
  sinHigh = below ? sub128(sum, sumLow, other, wLow) : add128(sum, sumLow, other, wLow);
  sinLow = wLow;
  const n = clz(sinHigh);
  if (n != 0) {
    sinHigh = (sinHigh << n) | (sinLow >> (64 - n));
    sinLow <<= n;
  }
  sinExp = -1 - i32(n);
  cut = mulShift(tableCos, v, 12);
  sum = sub128(tableCos, tableCosLow, cut, wLow);
  sumLow = wLow;
  other = mul128(tableSin, tableSinLow, sdHigh, sdLow);
  cosHigh = below ? add128(sum, sumLow, other, wLow) : sub128(sum, sumLow, other, wLow);
  cosLow = wLow;
}

/** pi/2 with 65 fraction bits: 66 significant bits. */
const HALF_PI_HIGH: u64 = 3;
const HALF_PI_LOW: u64 = 0x243f6a8885a308d3;

/** The reduced argument, its sign, and the quadrant (mod 4). */
let redExp: i32 = 0;
let redHigh: u64 = 0;
let redLow: u64 = 0;
let redSign: u32 = 0;
let quadrant: u32 = 0;

/** |x| = sig * 2^(exp - 63), exp < 63, modulo pi/2 to [-pi/4, pi/4]. */
function reduce(exp: i32, sig: u64): void {
  quadrant = 0;
  redSign = 0;
  if (exp < -1 || (exp == -1 && sig <= 0xc90fdaa22168c234)) {
    redExp = exp;
    redHigh = sig;
    redLow = 0;
    return;
  }
  // Long division in units of 2^-65; the argument of exponent -1 is sig << 1.
  let high = sig >> 63;
  let low = sig << 1;
  for (let i = -1; i < exp; i++) {
    high = (high << 1) | (low >> 63);
    low <<= 1;
    quadrant <<= 1;
    if (high > HALF_PI_HIGH || (high == HALF_PI_HIGH && low >= HALF_PI_LOW)) {
      high = sub128(high, low, HALF_PI_HIGH, HALF_PI_LOW);
      low = wLow;
      quadrant |= 1;
    }
  }
  // Beyond pi/4?
  const restHigh = sub128(HALF_PI_HIGH, HALF_PI_LOW, high, low);
  const restLow = wLow;
  if (restHigh < high || (restHigh == high && restLow < low)) {
    high = restHigh;
    low = restLow;
    redSign = 1;
    quadrant++;
  }
  quadrant &= 3;
  // Never zero: no number of 64 bits is a multiple of one of 66 odd bits.
  let e = -1;
  if (high == 0) {
    high = low;
    low = 0;
    e -= 64;
  }
  const n = clz(high);
  redHigh = n == 0 ? high : (high << n) | (low >> (64 - n));
  redLow = n == 0 ? low : low << n;
  // Weight of bit 63 of the upper word before: 2^(127 - 65).
  redExp = e + 63 - i32(n);
}

export const TRIG_SIN: u32 = 0;
export const TRIG_COS: u32 = 1;
export const TRIG_TAN: u32 = 2;

/** The cosine beside a sine. */
export let cosSig: u64 = 0;
export let cosSe: u32 = 0;

function packSin(sign: u32): void {
  packWide(sign ^ redSign, sinExp, sinHigh, sinLow);
}

function packCos(sign: u32): void {
  packWide(sign, -1, cosHigh, cosLow);
}

/** sin (with the cosine in cosSig, cosSe if `both`), cos or tan of a finite nonzero number with exponent below 63. */
export function trig80(sign: u32, exp: i32, sig: u64, what: u32, both: bool): void {
  reduce(exp, sig);
  if (what == TRIG_TAN && redExp < -32) {
    smallTangent(sign ^ redSign ^ (quadrant & 1), (quadrant & 1) != 0);
    return;
  }
  kernel(redExp, redHigh, redLow);
  const q = quadrant;
  if (what == TRIG_TAN) {
    tangent(sign, (q & 1) != 0);
    return;
  }
  if (what == TRIG_COS || both) {
    // Quadrants: cos r, -sin r, -cos r, sin r.
    const negative = u32(q == 1 || q == 2);
    if ((q & 1) != 0) packSin(negative);
    else packCos(negative);
    if (!both) return;
    cosSig = rSig;
    cosSe = rSe;
    // C1 tells about the sine.
    sfSetUp(0);
  }
  const negative = sign ^ u32(q >= 2);
  if ((q & 1) != 0) packCos(negative);
  else packSin(negative);
}

/** r < 2^-32: tan r = r + r^3 / 3, or its negative reciprocal (the sign is the caller's). */
function smallTangent(sign: u32, odd: bool): void {
  const shift = u32(-2 * redExp - 66);
  const cube = mulHigh(redHigh, mulHigh(mulHigh(redHigh, redHigh), 0x5555555555555555));
  // At least a unit of the last place, to respect directed rounding.
  const tail = (shift < 64 ? cube >> shift : 0) | 1;
  let high = add128(redHigh, redLow, 0, tail);
  let low = wLow;
  let exp = redExp;
  if (high >> 63 == 0) {
    low = (low >> 1) | (high << 63);
    high = (high >> 1) | 0x8000000000000000;
    exp++;
  }
  if (odd) {
    // 1 / (1.m): half of it is a fraction.
    high = div128(0x4000000000000000, 0, high, low);
    low = wLow;
    exp = -exp;
  }
  packWide(sign, exp, high, low);
}

/** tan r = sin / cos, or -cos / sin in odd quadrants. */
function tangent(sign: u32, odd: bool): void {
  let nHigh = sinHigh;
  let nLow = sinLow;
  let dHigh = cosHigh;
  let dLow = cosLow;
  // Cosine lies in [0.7, 1): bit 63 is set and weighs 1/2.
  let exp = sinExp + 1;
  sign ^= redSign;
  if (odd) {
    nHigh = cosHigh;
    nLow = cosLow;
    dHigh = sinHigh;
    dLow = sinLow;
    exp = -1 - sinExp;
    sign ^= 1;
  }
  if (nHigh > dHigh || (nHigh == dHigh && nLow >= dLow)) {
    nLow = (nLow >> 1) | (nHigh << 63);
    nHigh >>= 1;
    exp++;
  }
  const q = div128(nHigh, nLow, dHigh, dLow);
  packWide(sign, exp - 1, q, wLow);
}

// --- arc tangent ---

/**
 * Angle of the point (x, y), both finite and nonzero: significands normalised, exponents of their leading bits.
 */
export function atan80(ySign: u32, yExp: i32, ySig: u64, xSign: u32, xExp: i32, xSig: u64): void {
  const swap = yExp > xExp || (yExp == xExp && ySig > xSig);
  const nSig = swap ? xSig : ySig;
  const dSig = swap ? ySig : xSig;
  const lag = swap ? yExp - xExp : xExp - yExp;
  // The arc tangent of the ratio n / d <= 1 as high.low with bit 63 weighing 2^exp.
  let exp: i32 = -1;
  let high: u64;
  let low: u64;
  let k: u32 = 0;
  if (lag < 8) k = u32((f64(nSig) / f64(dSig)) * f64(u32(64) << 8 >> u32(lag)) / 256.0 + 0.5);
  if (k == 0) {
    exp = -lag;
    if (nSig >= dSig) high = div128(nSig >> 1, nSig << 63, dSig, 0);
    else {
      high = div128(nSig, 0, dSig, 0);
      exp--;
    }
    low = wLow;
    const shift = u32(-7 - exp);
    const x = shift < 64 ? high >> shift : 0;
    const u = mulHigh(x, x);
    const s = mulHigh(u, polynomial(u, ATAN_POLY, 5, false));
    const cut = mulShift(high, s, 12);
    let cutLow = wLow;
    if (cut == 0 && cutLow == 0) cutLow = 1;
    high = sub128(high, low, cut, cutLow);
    low = wLow;
  } else {
    // t = (n/d - k/64) / (1 + k/64 n/d), numerator and denominator halved, d scaled to bit 127.
    const nHigh = nSig >> u32(lag + 1);
    const nLow = nSig << u32(63 - lag);
    const aHigh = mulWide(dSig, u64(k) << 57);
    const aLow = sfLow;
    const below = nHigh < aHigh || (nHigh == aHigh && nLow < aLow);
    let tHigh = below ? sub128(aHigh, aLow, nHigh, nLow) : sub128(nHigh, nLow, aHigh, aLow);
    let tLow = wLow;
    let bHigh = k == 64 ? setWide(nHigh, nLow) : mul128(nHigh, nLow, u64(k) << 58, 0);
    bHigh = add128(bHigh, wLow, dSig >> 1, dSig << 63);
    let bLow = wLow;
    if (bHigh >> 63 == 0) {
      bHigh = (bHigh << 1) | (bLow >> 63);
      bLow <<= 1;
      tHigh = (tHigh << 1) | (tLow >> 63);
      tLow <<= 1;
    }
    tHigh = div128(tHigh, tLow, bHigh, bLow);
    tLow = wLow;
    const x = (tHigh << 6) | (tLow >> 58);
    const u = mulHigh(x, x);
    const s = mulHigh(u, polynomial(u, ATAN_POLY, 5, false));
    const cut = mulShift(x, s, 18);
    tHigh = sub128(tHigh, tLow, cut, wLow);
    tLow = wLow;
    const entry = ATAN + (usize(k) << 4);
    high = load<u64>(entry);
    low = load<u64>(entry, 8);
    high = below ? sub128(high, low, tHigh, tLow) : add128(high, low, tHigh, tLow);
    low = wLow;
  }
  if (!swap && xSign == 0) {
    packWide(ySign, exp, high, low);
    return;
  }
  // To 126 fraction bits, bit 63 weighing 2.
  high = shiftRightJam(high, low, u32(1 - exp));
  low = sfLow;
  if (!swap) high = sub128(PI_HIGH, PI_LOW, high, low);
  else {
    const halfHigh = PI_HIGH >> 1;
    const halfLow = (PI_LOW >> 1) | (PI_HIGH << 63);
    high = xSign != 0 ? add128(halfHigh, halfLow, high, low) : sub128(halfHigh, halfLow, high, low);
  }
  packWide(ySign, 1, high, wLow);
}

/** pi * n / 4 with a sign, n = 1..4. */
export function piQuarters80(sign: u32, n: u32): void {
  if (n == 3) {
    // 3 pi / 4 = pi/2 + pi/4
    const high = add128(PI_HIGH >> 1, (PI_LOW >> 1) | (PI_HIGH << 63), PI_HIGH >> 2, (PI_LOW >> 2) | (PI_HIGH << 62));
    packWide(sign, 1, high, wLow);
  } else packWide(sign, n == 4 ? 1 : n == 2 ? 0 : -1, PI_HIGH, PI_LOW);
}
