/**
 * AssemblyScript. The 80-bit extended format of the x87: a 64-bit significand with explicit integer bit, and sign plus
 * 15-bit exponent ("se"). Results are left in rSig and rSe. Rounding precision 24, 53 or 64 bits (x87 precision control)
 * with the full exponent range. Source: Intel SDM vol 1, 4.8, 8.1.5.2, 8.5; IEEE 754-2019.
 *
 * NaN and unsupported operands are the caller's business. Unmasked overflow and underflow give the result with its
 * exponent wrapped by 24576, as the x87 stores it in registers.
 */
import {
  CLASS_FINITE,
  CLASS_INF,
  CLASS_NAN,
  CLASS_UNSUPPORTED,
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
  sfFlags,
  sfIncrement,
  sfMask,
  sfRaise,
  sfRounding,
  sfSetFlags,
  sfSetUp,
  shiftRightJam,
  sfLow,
  sigAdd,
  sigDiv,
  sigMul,
  sigSqrt,
  zExp,
  zLow,
  zSign,
} from "./softfloat-core";

export const BIAS80: i32 = 16383;
const WRAP: i32 = 24576;
const NAN_SIG: u64 = 0xc000000000000000;

/** Significand and sign/exponent of the last result. */
export let rSig: u64 = 0;
export let rSe: u32 = 0;
/** Rounding precision in bits. */
export let precision: u32 = 64;

// @ts-ignore: decorator
@inline
export function setPrecision(bits: u32): void {
  precision = bits;
}

// @ts-ignore: decorator
@inline
export function setResult(sig: u64, se: u32): void {
  rSig = sig;
  rSe = se;
}

export function setInf(sign: u32): void {
  setResult(MSB, (sign << 15) | 0x7fff);
}

export function setZero(sign: u32): void {
  setResult(0, sign << 15);
}

/** Signals invalid (and nothing else before it) and gives the default NaN. */
export function setInvalid(): void {
  sfSetFlags(SF_INVALID);
  setResult(NAN_SIG, 0xffff);
}

/** Biased exponent and normalised significand of the operand unpacked last. */
export let xExp: i32 = 0;
export let xSig: u64 = 0;

/** Class of an operand; for finite nonzero ones also xExp (biased, may be <= 0) and xSig. Signals denormals. */
export function unpack80(sig: u64, se: u32): u32 {
  const e = se & 0x7fff;
  if (e == 0x7fff) {
    if (sig >> 63 == 0) return CLASS_UNSUPPORTED;
    return sig << 1 == 0 ? CLASS_INF : CLASS_NAN;
  }
  if (e == 0) {
    if (sig == 0) return CLASS_ZERO;
    sfRaise(SF_DENORMAL);
    const n = clz(sig);
    xSig = sig << n;
    xExp = 1 - i32(n);
    return CLASS_FINITE;
  }
  if (sig >> 63 == 0) return CLASS_UNSUPPORTED;
  xExp = i32(e);
  xSig = sig;
  return CLASS_FINITE;
}

// @ts-ignore: decorator
@inline
export function isNan80(sig: u64, se: u32): bool {
  return (se & 0x7fff) == 0x7fff && sig << 1 != 0;
}

/** Not a valid encoding: exponent nonzero and integer bit clear. */
// @ts-ignore: decorator
@inline
export function isUnsupported80(sig: u64, se: u32): bool {
  return (se & 0x7fff) != 0 && sig >> 63 == 0;
}

/** Rounds sign * high.low with biased exponent `e` (bit 63 of high set) to the current precision. */
// @ts-ignore: decorator
@inline
export function pack80(sign: u32, e: i32, high: u64, low: u64): void {
  if (u32(e - 1) < 0x7ffe && precision == 64) {
    if (low != 0) {
      sfRaise(SF_INEXACT);
      if (sfIncrement(sign, high, low)) {
        sfSetUp(1);
        high++;
        if (high == 0) {
          high = MSB;
          e++;
          if (e == 0x7fff) {
            overflow80(sign, e, high);
            return;
          }
        }
      }
    }
    rSig = high;
    rSe = (sign << 15) | u32(e);
    return;
  }
  packGeneral(sign, e, high, low);
}

let roundedCarry: bool = false;

/** Rounds high.low to its upper `bits` bits (1..64); the kept bits stay in place. */
function roundAt(sign: u32, high: u64, low: u64, bits: u32): u64 {
  roundedCarry = false;
  const cut = u64(64 - bits);
  const rest = cut == 0 ? low : (high << bits) | u64(low != 0);
  if (rest == 0) return high;
  sfRaise(SF_INEXACT);
  const unit = u64(1) << cut;
  high &= 0 - unit;
  if (!sfIncrement(sign, high >> cut, rest)) return high;
  sfSetUp(1);
  high += unit;
  if (high == 0) {
    roundedCarry = true;
    return MSB;
  }
  return high;
}

function packGeneral(sign: u32, e: i32, high: u64, low: u64): void {
  if (e > 0) {
    const sig = roundAt(sign, high, low, precision);
    if (roundedCarry) e++;
    if (e >= 0x7fff) overflow80(sign, e, sig);
    else setResult(sig, (sign << 15) | u32(e));
    return;
  }
  const flags = sfFlags;
  // With an unbounded exponent: does rounding reach the smallest normal number?
  const sig = roundAt(sign, high, low, precision);
  const tiny = e < 0 || !roundedCarry;
  if (!tiny) {
    // Rounded again below with one bit less, to the same value.
    sfSetFlags(flags);
  } else if ((sfMask & SF_UNDERFLOW) == 0) {
    sfRaise(SF_UNDERFLOW);
    if (roundedCarry) e++;
    e += WRAP;
    if (e > 0) setResult(sig, (sign << 15) | u32(e));
    else {
      sfRaise(SF_INEXACT);
      setZero(sign);
    }
    return;
  }
  sfSetFlags(flags & ~SF_INEXACT);
  sfSetUp(0);
  const jammed = shiftRightJam(high, low, u32(1 - e));
  const jammedLow = sfLow;
  const denormal = roundAt(sign, jammed, jammedLow, precision);
  if (tiny && (sfFlags & SF_INEXACT) != 0) sfRaise(SF_UNDERFLOW);
  sfRaise(flags);
  setResult(denormal, (sign << 15) | u32(denormal >> 63));
}

function overflow80(sign: u32, e: i32, sig: u64): void {
  if ((sfMask & SF_OVERFLOW) == 0) {
    sfRaise(SF_OVERFLOW);
    e -= WRAP;
    if (e < 0x7fff) setResult(sig, (sign << 15) | u32(e));
    else {
      sfRaise(SF_INEXACT);
      sfSetUp(1);
      setInf(sign);
    }
    return;
  }
  sfRaise(SF_OVERFLOW | SF_INEXACT);
  if (sfRounding == ROUND_NEAREST || (sfRounding == ROUND_DOWN && sign != 0) || (sfRounding == ROUND_UP && sign == 0)) {
    sfSetUp(1);
    setInf(sign);
  } else {
    sfSetUp(0);
    setResult(0xffffffffffffffff << (64 - precision), (sign << 15) | 0x7ffe);
  }
}

/** Exponents in 1..0x7ffe and integer bits set: no special case. */
// @ts-ignore: decorator
@inline
function bothNormal(aSig: u64, aSe: u32, bSig: u64, bSe: u32): bool {
  return (aSe & 0x7fff) - 1 < 0x7ffe && (bSe & 0x7fff) - 1 < 0x7ffe && (aSig & bSig) >> 63 != 0;
}

/** a + b, or a - b with negate = 0x8000. */
export function add80(aSig: u64, aSe: u32, bSig: u64, bSe: u32, negate: u32): void {
  bSe ^= negate;
  if (bothNormal(aSig, aSe, bSig, bSe)) {
    const high = sigAdd(aSe >> 15, aSe & 0x7fff, aSig, bSe >> 15, bSe & 0x7fff, bSig);
    if (high == 0) setZero(zSign);
    else pack80(zSign, zExp, high, zLow);
    return;
  }
  const aSign = aSe >> 15;
  const bSign = bSe >> 15;
  const aClass = unpack80(aSig, aSe);
  const aExp = xExp;
  const aNorm = xSig;
  const bClass = unpack80(bSig, bSe);
  if (aClass == CLASS_INF) {
    if (bClass == CLASS_INF && aSign != bSign) setInvalid();
    else setInf(aSign);
  } else if (bClass == CLASS_INF) setInf(bSign);
  else if (aClass == CLASS_ZERO) {
    if (bClass == CLASS_ZERO) setZero(aSign == bSign ? aSign : u32(sfRounding == ROUND_DOWN));
    else pack80(bSign, xExp, xSig, 0);
  } else if (bClass == CLASS_ZERO) pack80(aSign, aExp, aNorm, 0);
  else {
    const high = sigAdd(aSign, aExp, aNorm, bSign, xExp, xSig);
    if (high == 0) setZero(zSign);
    else pack80(zSign, zExp, high, zLow);
  }
}

/** a * b. */
export function mul80(aSig: u64, aSe: u32, bSig: u64, bSe: u32): void {
  const sign = (aSe ^ bSe) >> 15;
  if (bothNormal(aSig, aSe, bSig, bSe)) {
    const high = sigMul(aSe & 0x7fff, aSig, bSe & 0x7fff, bSig);
    pack80(sign, zExp - BIAS80, high, zLow);
    return;
  }
  const aClass = unpack80(aSig, aSe);
  const aExp = xExp;
  const aNorm = xSig;
  const bClass = unpack80(bSig, bSe);
  if (aClass == CLASS_INF || bClass == CLASS_INF) {
    if (aClass == CLASS_ZERO || bClass == CLASS_ZERO) setInvalid();
    else setInf(sign);
  } else if (aClass == CLASS_ZERO || bClass == CLASS_ZERO) setZero(sign);
  else {
    const high = sigMul(aExp, aNorm, xExp, xSig);
    pack80(sign, zExp - BIAS80, high, zLow);
  }
}

/** a / b. */
export function div80(aSig: u64, aSe: u32, bSig: u64, bSe: u32): void {
  const sign = (aSe ^ bSe) >> 15;
  if (bothNormal(aSig, aSe, bSig, bSe)) {
    const high = sigDiv(aSe & 0x7fff, aSig, bSe & 0x7fff, bSig);
    pack80(sign, zExp + BIAS80, high, zLow);
    return;
  }
  const aClass = unpack80(aSig, aSe);
  const aExp = xExp;
  const aNorm = xSig;
  const bClass = unpack80(bSig, bSe);
  if (aClass == CLASS_INF) {
    if (bClass == CLASS_INF) setInvalid();
    else setInf(sign);
  } else if (bClass == CLASS_INF) setZero(sign);
  else if (bClass == CLASS_ZERO) {
    if (aClass == CLASS_ZERO) setInvalid();
    else {
      sfSetFlags((sfFlags & ~SF_DENORMAL) | SF_DIVZERO);
      setInf(sign);
    }
  } else if (aClass == CLASS_ZERO) setZero(sign);
  else {
    const high = sigDiv(aExp, aNorm, xExp, xSig);
    pack80(sign, zExp + BIAS80, high, zLow);
  }
}

/** Square root. */
export function sqrt80(sig: u64, se: u32): void {
  const kind = unpack80(sig, se);
  if (kind == CLASS_ZERO) setResult(sig, se);
  else if (se >> 15 != 0) setInvalid();
  else if (kind == CLASS_INF) setInf(0);
  else {
    const high = sigSqrt(xExp - BIAS80, xSig);
    pack80(0, zExp + BIAS80, high, zLow);
  }
}

/** Order of two operands without NaNs and unsupported encodings: -1, 0, 1. */
export function compare80(aSig: u64, aSe: u32, bSig: u64, bSe: u32): i32 {
  const aExp = aSe & 0x7fff;
  const bExp = bSe & 0x7fff;
  if ((aExp == 0 && aSig != 0) || (bExp == 0 && bSig != 0)) sfRaise(SF_DENORMAL);
  if ((aSig | bSig) == 0) return 0;
  const aSign = aSe >> 15;
  if (aSig == 0) return bSe >> 15 != 0 ? 1 : -1;
  if (bSig == 0 || aSign != bSe >> 15) return aSign != 0 ? -1 : 1;
  // Denormals have the exponent of the smallest normal numbers.
  const ea = aExp + u32(aExp == 0);
  const eb = bExp + u32(bExp == 0);
  if (ea == eb && aSig == bSig) return 0;
  const less = ea != eb ? ea < eb : aSig < bSig;
  return less != (aSign != 0) ? -1 : 1;
}
