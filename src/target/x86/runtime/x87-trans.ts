/**
 * AssemblyScript. x87 transcendental instructions. Source: Intel SDM vol 1, 8.3.7 to 8.3.10; vol 2 (tables of special
 * operands). Results are within 0.6 units in the last place of the exact value (for trigonometric functions: of the
 * value for the 66-bit pi); real processors differ among themselves there.
 */
import { exp2m1, ylog2x, ylog2xp1 } from "../../../accel/tcg/runtime/softfloat-explog";
import {
  CLASS_FINITE,
  CLASS_INF,
  CLASS_ZERO,
  MSB,
  SF_DENORMAL,
  SF_DIVZERO,
  SF_INEXACT,
  sfFlags,
  sfRaise,
  sfSetFlags,
} from "../../../accel/tcg/runtime/softfloat-core";
import {
  BIAS80,
  rSe,
  rSig,
  setInf,
  setInvalid,
  setResult,
  setZero,
  unpack80,
  xExp,
  xSig,
} from "../../../accel/tcg/runtime/softfloat-f80";
import {
  atan80,
  cosSe,
  cosSig,
  piQuarters80,
  TRIG_COS,
  TRIG_SIN,
  TRIG_TAN,
  trig80,
} from "../../../accel/tcg/runtime/softfloat-trig";
import { FSW } from "../layout";
import { env } from "./env";
import { nanResult, nanResult1 } from "./x87-arith";
import {
  begin,
  finish,
  FSW_C1,
  FSW_C2,
  INDEFINITE_SE,
  INDEFINITE_SIG,
  isEmpty,
  markValid,
  pop,
  pushRaw,
  put,
  seOf,
  sigOf,
  st,
  stackFault,
  underflowTo,
} from "./x87-state";

const ONE_SE: u32 = 0x3fff;

// @ts-ignore: decorator
@inline
function setC2(on: bool): void {
  const fsw = load<u32>(env + FSW);
  store<u32>(env + FSW, on ? fsw | FSW_C2 : fsw & ~FSW_C2);
}

/** The operand's magnitude is 2^63 or more: C2 is set and nothing else happens. */
function outOfRange(se: u32): bool {
  const e = se & 0x7fff;
  if (e < u32(BIAS80) + 63 || e == 0x7fff) {
    setC2(false);
    return false;
  }
  store<u32>(env + FSW, (load<u32>(env + FSW) & ~FSW_C1) | FSW_C2);
  return true;
}

/** FSIN and FCOS. */
function sinOrCos(what: u32): u64 {
  if (isEmpty(0)) {
    setC2(false);
    underflowTo(0);
    return 0;
  }
  const reg = st(0);
  const sig = sigOf(reg);
  const se = seOf(reg);
  begin();
  if (!nanResult1(sig, se)) {
    if (outOfRange(se)) return 0;
    const kind = unpack80(sig, se);
    if (kind == CLASS_INF) setInvalid();
    else if (kind == CLASS_ZERO) {
      if (what == TRIG_SIN) setResult(sig, se);
      else setResult(MSB, ONE_SE);
    } else trig80(se >> 15, xExp - BIAS80, xSig, what, false);
  }
  setC2(false);
  if (finish()) put(reg, rSig, rSe);
  return 0;
}

export function h_fsin(a: u64, b: u64, imm: u32): u64 {
  return sinOrCos(TRIG_SIN);
}

export function h_fcos(a: u64, b: u64, imm: u32): u64 {
  return sinOrCos(TRIG_COS);
}

/** Stack faults of instructions that replace ST(0) and push: true when handled. */
function replacePushFault(): bool {
  const empty = isEmpty(0);
  if (!empty && isEmpty(7)) return false;
  setC2(false);
  if (stackFault(empty ? 0 : FSW_C1)) {
    put(st(0), INDEFINITE_SIG, INDEFINITE_SE);
    markValid(0);
    pushRaw(INDEFINITE_SIG, INDEFINITE_SE);
  }
  return true;
}

/** FSINCOS: ST(0) = sin, then cos is pushed. */
export function h_fsincos(a: u64, b: u64, imm: u32): u64 {
  if (replacePushFault()) return 0;
  const reg = st(0);
  const sig = sigOf(reg);
  const se = seOf(reg);
  let secondSig: u64 = 0;
  let secondSe: u32 = 0;
  begin();
  if (nanResult1(sig, se)) {
    secondSig = rSig;
    secondSe = rSe;
  } else {
    if (outOfRange(se)) return 0;
    const kind = unpack80(sig, se);
    if (kind == CLASS_INF) {
      setInvalid();
      secondSig = rSig;
      secondSe = rSe;
    } else if (kind == CLASS_ZERO) {
      setResult(sig, se);
      secondSig = MSB;
      secondSe = ONE_SE;
    } else {
      trig80(se >> 15, xExp - BIAS80, xSig, TRIG_SIN, true);
      secondSig = cosSig;
      secondSe = cosSe;
    }
  }
  setC2(false);
  if (finish()) {
    put(reg, rSig, rSe);
    pushRaw(secondSig, secondSe);
  }
  return 0;
}

/** FPTAN: ST(0) = tan, then 1.0 is pushed (a NaN after a NaN). */
export function h_fptan(a: u64, b: u64, imm: u32): u64 {
  if (replacePushFault()) return 0;
  const reg = st(0);
  const sig = sigOf(reg);
  const se = seOf(reg);
  let secondSig: u64 = MSB;
  let secondSe: u32 = ONE_SE;
  begin();
  if (nanResult1(sig, se)) {
    secondSig = rSig;
    secondSe = rSe;
  } else {
    if (outOfRange(se)) return 0;
    const kind = unpack80(sig, se);
    if (kind == CLASS_INF) {
      setInvalid();
      secondSig = rSig;
      secondSe = rSe;
    } else if (kind == CLASS_ZERO) setResult(sig, se);
    else trig80(se >> 15, xExp - BIAS80, xSig, TRIG_TAN, false);
  }
  setC2(false);
  if (finish()) {
    put(reg, rSig, rSe);
    pushRaw(secondSig, secondSe);
  }
  return 0;
}

/** Result of a two-operand function to ST(1), then a pop. */
function finishToSt1(): u64 {
  if (finish()) {
    put(st(1), rSig, rSe);
    pop();
  }
  return 0;
}

function underflowSt1(): u64 {
  if (underflowTo(1)) pop();
  return 0;
}

/** FPATAN: ST(1) = angle of the point (ST(0), ST(1)), pop. */
export function h_fpatan(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0) || isEmpty(1)) return underflowSt1();
  const x = st(0);
  const y = st(1);
  begin();
  if (!nanResult(sigOf(x), seOf(x), sigOf(y), seOf(y))) {
    const xSign = seOf(x) >> 15;
    const ySign = seOf(y) >> 15;
    const yClass = unpack80(sigOf(y), seOf(y));
    const yExponent = xExp;
    const ySignificand = xSig;
    const xClass = unpack80(sigOf(x), seOf(x));
    if (yClass == CLASS_INF) piQuarters80(ySign, xClass == CLASS_INF ? (xSign != 0 ? 3 : 1) : 2);
    else if (yClass == CLASS_ZERO || xClass == CLASS_INF) {
      if (xSign != 0) piQuarters80(ySign, 4);
      else setZero(ySign);
    } else if (xClass == CLASS_ZERO) piQuarters80(ySign, 2);
    else atan80(ySign, yExponent - BIAS80, ySignificand, xSign, xExp - BIAS80, xSig);
  }
  return finishToSt1();
}

/** F2XM1: ST(0) = 2^ST(0) - 1. Beyond [-1, 1] the operand stays as it is (undefined by the SDM). */
export function h_f2xm1(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0)) {
    underflowTo(0);
    return 0;
  }
  const reg = st(0);
  const sig = sigOf(reg);
  const se = seOf(reg);
  begin();
  if (!nanResult1(sig, se)) {
    const sign = se >> 15;
    const kind = unpack80(sig, se);
    if (kind == CLASS_INF && sign != 0) setResult(MSB, 0xbfff);
    else if (kind != CLASS_FINITE) setResult(sig, se);
    else if (xExp > BIAS80 || (xExp == BIAS80 && xSig != MSB)) {
      sfRaise(SF_INEXACT);
      setResult(sig, se);
    } else exp2m1(sign, xExp - BIAS80, xSig);
  }
  if (finish()) put(reg, rSig, rSe);
  return 0;
}

/** FYL2X: ST(1) = ST(1) log2 ST(0), pop. */
export function h_fyl2x(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0) || isEmpty(1)) return underflowSt1();
  const x = st(0);
  const y = st(1);
  begin();
  if (!nanResult(sigOf(x), seOf(x), sigOf(y), seOf(y))) {
    const ySign = seOf(y) >> 15;
    const negative = seOf(x) >> 15 != 0;
    const yClass = unpack80(sigOf(y), seOf(y));
    const yExponent = xExp;
    const ySignificand = xSig;
    const xClass = unpack80(sigOf(x), seOf(x));
    // Sign of log2 x where it matters: x below one.
    const below = u32(xClass == CLASS_ZERO || (xClass == CLASS_FINITE && xExp < BIAS80));
    const isOne = xClass == CLASS_FINITE && xExp == BIAS80 && xSig == MSB;
    if (xClass != CLASS_ZERO && negative) setInvalid();
    else if (xClass == CLASS_ZERO && yClass == CLASS_FINITE) {
      sfSetFlags((sfFlags & ~SF_DENORMAL) | SF_DIVZERO);
      setInf(ySign ^ 1);
    } else if (yClass == CLASS_ZERO) {
      if (xClass != CLASS_FINITE) setInvalid();
      else setZero(ySign ^ below);
    } else if (yClass == CLASS_INF) {
      if (isOne) setInvalid();
      else setInf(ySign ^ below);
    } else if (xClass == CLASS_INF) setInf(ySign);
    else ylog2x(ySign, yExponent - BIAS80, ySignificand, xExp - BIAS80, xSig);
  }
  return finishToSt1();
}

/** FYL2XP1: ST(1) = ST(1) log2(1 + ST(0)), pop. */
export function h_fyl2xp1(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0) || isEmpty(1)) return underflowSt1();
  const x = st(0);
  const y = st(1);
  begin();
  if (!nanResult(sigOf(x), seOf(x), sigOf(y), seOf(y))) {
    const ySign = seOf(y) >> 15;
    const xSign = seOf(x) >> 15;
    const yClass = unpack80(sigOf(y), seOf(y));
    const yExponent = xExp;
    const ySignificand = xSig;
    const xClass = unpack80(sigOf(x), seOf(x));
    // Undefined by the SDM for x <= -1.
    if (xSign != 0 && (xClass == CLASS_INF || (xClass == CLASS_FINITE && xExp >= BIAS80))) setInvalid();
    else if (xClass == CLASS_ZERO) {
      if (yClass == CLASS_INF) setInvalid();
      else setZero(xSign ^ ySign);
    } else if (yClass == CLASS_ZERO) {
      if (xClass == CLASS_INF) setInvalid();
      else setZero(xSign ^ ySign);
    } else if (yClass == CLASS_INF || xClass == CLASS_INF) setInf(xSign ^ ySign);
    else ylog2xp1(ySign, yExponent - BIAS80, ySignificand, xSign, xExp - BIAS80, xSig);
  }
  return finishToSt1();
}
