/**
 * AssemblyScript. x87 arithmetic and comparison. Source: Intel SDM vol 1, 4.8.3.5 (NaN results), 8.3, 8.5; vol 2.
 *
 * Operation numbers are the /reg field of D8 and DC: 0 add, 1 mul, 4 sub, 5 subr, 6 div, 7 divr (dst = dst op src; r:
 * dst = src op dst). DC and DE with register operands swap 4/5 and 6/7 in their encodings relative to dst: `fsub
 * st(i), st` is DC E8+i = op 4 here. See h_farith_sti_st0.
 */
import { SF_INVALID, sfFlags, sfSetFlags } from "../../../accel/tcg/runtime/softfloat-core";
import {
  add80,
  compare80,
  div80,
  isNan80,
  isUnsupported80,
  mul80,
  rSe,
  rSig,
  setInvalid,
  setResult,
  sqrt80,
} from "../../../accel/tcg/runtime/softfloat-f80";
import {
  extract80,
  fromInt80,
  remainder80,
  remPartial,
  remQuotient,
  roundIntegral80,
  scale80,
  splitSe,
  splitSig,
  widenF32,
  widenF64,
} from "../../../accel/tcg/runtime/softfloat-f80-convert";
import { FSW } from "../layout";
import { env } from "./env";
import {
  begin,
  clearC1,
  finish,
  FSW_C0,
  FSW_C1,
  FSW_C2,
  FSW_C3,
  FSW_CC,
  INDEFINITE_SE,
  INDEFINITE_SIG,
  isEmpty,
  markValid,
  pop,
  pushRaw,
  put,
  seOf,
  setCc,
  sigOf,
  st,
  stackFault,
  underflowTo,
} from "./x87-state";

/**
 * NaN or unsupported operands: leaves the result and returns true. A denormal operand met before is not signalled.
 * Of two NaNs the one with the larger significand survives, of equal ones the positive one; a signalling NaN beside a
 * quiet one does not.
 */
export function nanResult(aSig: u64, aSe: u32, bSig: u64, bSe: u32): bool {
  if (isUnsupported80(aSig, aSe) || isUnsupported80(bSig, bSe)) {
    setInvalid();
    return true;
  }
  const aNan = isNan80(aSig, aSe);
  const bNan = isNan80(bSig, bSe);
  if (!aNan && !bNan) return false;
  const aQuiet = ((aSig >> 62) & 1) != 0;
  const bQuiet = ((bSig >> 62) & 1) != 0;
  sfSetFlags((aNan && !aQuiet) || (bNan && !bQuiet) ? SF_INVALID : 0);
  let first: bool;
  if (!bNan) first = true;
  else if (!aNan) first = false;
  else if (aQuiet != bQuiet) first = aQuiet;
  else if (aSig != bSig) first = aSig > bSig;
  else first = aSe < bSe;
  if (first) setResult(aSig | INDEFINITE_SIG, aSe);
  else setResult(bSig | INDEFINITE_SIG, bSe);
  return true;
}

/** The same for one operand. */
export function nanResult1(sig: u64, se: u32): bool {
  if (isUnsupported80(sig, se)) {
    setInvalid();
    return true;
  }
  if (!isNan80(sig, se)) return false;
  sfSetFlags(((sig >> 62) & 1) == 0 ? SF_INVALID : 0);
  setResult(sig | INDEFINITE_SIG, se);
  return true;
}

// @ts-ignore: decorator
@inline
function plain(sig: u64, se: u32): bool {
  return (se & 0x7fff) - 1 < 0x7ffe && sig >> 63 != 0;
}

/** dst = dst op (bSig, bSe). False: an unmasked exception kept dst. */
function operate(op: u32, dst: usize, bSig: u64, bSe: u32): bool {
  const aSig = sigOf(dst);
  const aSe = seOf(dst);
  if ((plain(aSig, aSe) && plain(bSig, bSe)) || !nanResult(aSig, aSe, bSig, bSe)) {
    switch (op) {
      case 0:
        add80(aSig, aSe, bSig, bSe, 0);
        break;
      case 1:
        mul80(aSig, aSe, bSig, bSe);
        break;
      case 4:
        add80(aSig, aSe, bSig, bSe, 0x8000);
        break;
      case 5:
        add80(bSig, bSe, aSig, aSe, 0x8000);
        break;
      case 6:
        div80(aSig, aSe, bSig, bSe);
        break;
      default:
        div80(bSig, bSe, aSig, aSe);
        break;
    }
  }
  if (!finish()) return false;
  put(dst, rSig, rSe);
  return true;
}

/** ST(0) = ST(0) op ST(i). imm = op | i << 3. */
export function h_farith_st0_sti(a: u64, b: u64, imm: u32): u64 {
  const i = (imm >> 3) & 7;
  if (isEmpty(0) || isEmpty(i)) {
    underflowTo(0);
    return 0;
  }
  begin();
  const src = st(i);
  operate(imm & 7, st(0), sigOf(src), seOf(src));
  return 0;
}

/** ST(i) = ST(i) op ST(0), then a pop when bit 6 is set (unless an unmasked exception stopped it). imm = op | i << 3 | pop << 6. */
export function h_farith_sti_st0(a: u64, b: u64, imm: u32): u64 {
  const i = (imm >> 3) & 7;
  let done: bool;
  if (isEmpty(0) || isEmpty(i)) done = underflowTo(i);
  else {
    begin();
    const src = st(0);
    done = operate(imm & 7, st(i), sigOf(src), seOf(src));
  }
  if (done && (imm & 64) != 0) pop();
  return 0;
}

// @ts-ignore: decorator
@inline
function withWidened(op: u32): u64 {
  operate(op, st(0), rSig, rSe);
  return 0;
}

/** ST(0) = ST(0) op binary32 a. imm = op; likewise below. */
export function h_farith_st0_f32(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0)) {
    underflowTo(0);
    return 0;
  }
  begin();
  widenF32(a);
  return withWidened(imm & 7);
}

export function h_farith_st0_f64(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0)) {
    underflowTo(0);
    return 0;
  }
  begin();
  widenF64(a);
  return withWidened(imm & 7);
}

export function h_farith_st0_i16(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0)) {
    underflowTo(0);
    return 0;
  }
  begin();
  fromInt80(i64(i16(a)));
  return withWidened(imm & 7);
}

export function h_farith_st0_i32(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0)) {
    underflowTo(0);
    return 0;
  }
  begin();
  fromInt80(i64(i32(a)));
  return withWidened(imm & 7);
}

// --- comparison ---

const UNORDERED: u32 = FSW_C3 | FSW_C2 | FSW_C0;
/** C3 C2 C0 of the last comparison. */
let order: u32 = 0;

/** Compares ST(0) with the operand, into `order`. False: an unmasked exception, no pop. */
function compareTo(bSig: u64, bSe: u32, quiet: bool): bool {
  const reg = st(0);
  const aSig = sigOf(reg);
  const aSe = seOf(reg);
  if (nanResult(aSig, aSe, bSig, bSe)) {
    if (!quiet) sfSetFlags(SF_INVALID);
    order = UNORDERED;
  } else {
    const c = compare80(aSig, aSe, bSig, bSe);
    order = c > 0 ? 0 : c < 0 ? FSW_C0 : FSW_C3;
  }
  return finish();
}

function compareEmpty(): bool {
  order = UNORDERED;
  return stackFault(0);
}

// @ts-ignore: decorator
@inline
function compareEnd(done: bool, pops: u32): u64 {
  // AMD sets the condition codes also when an unmasked exception follows; the SDM leaves that open.
  setCc(order);
  if (!done) return 0;
  if (pops > 0) pop();
  if (pops > 1) pop();
  return 0;
}

/** FCOM, FUCOM and their pops. imm = i << 3 | unordered << 6 | pops << 8. */
export function h_fcom_sti(a: u64, b: u64, imm: u32): u64 {
  const i = (imm >> 3) & 7;
  const pops = (imm >> 8) & 3;
  if (isEmpty(0) || isEmpty(i)) return compareEnd(compareEmpty(), pops);
  begin();
  const src = st(i);
  return compareEnd(compareTo(sigOf(src), seOf(src), (imm & 64) != 0), pops);
}

/** FCOM(P) m32fp. imm = pops << 8; likewise below. */
export function h_fcom_f32(a: u64, b: u64, imm: u32): u64 {
  const pops = (imm >> 8) & 3;
  if (isEmpty(0)) return compareEnd(compareEmpty(), pops);
  begin();
  widenF32(a);
  return compareEnd(compareTo(rSig, rSe, false), pops);
}

export function h_fcom_f64(a: u64, b: u64, imm: u32): u64 {
  const pops = (imm >> 8) & 3;
  if (isEmpty(0)) return compareEnd(compareEmpty(), pops);
  begin();
  widenF64(a);
  return compareEnd(compareTo(rSig, rSe, false), pops);
}

export function h_fcom_i16(a: u64, b: u64, imm: u32): u64 {
  const pops = (imm >> 8) & 3;
  if (isEmpty(0)) return compareEnd(compareEmpty(), pops);
  begin();
  fromInt80(i64(i16(a)));
  return compareEnd(compareTo(rSig, rSe, false), pops);
}

export function h_fcom_i32(a: u64, b: u64, imm: u32): u64 {
  const pops = (imm >> 8) & 3;
  if (isEmpty(0)) return compareEnd(compareEmpty(), pops);
  begin();
  fromInt80(i64(i32(a)));
  return compareEnd(compareTo(rSig, rSe, false), pops);
}

/**
 * FCOMI, FUCOMI and their pops: the EFLAGS image ZF PF CF (OF SF AF zero), valid also when an unmasked exception follows.
 * imm as h_fcom_sti. C1 changes with a stack underflow only (as on AMD).
 */
export function h_fcomi(a: u64, b: u64, imm: u32): u64 {
  const i = (imm >> 3) & 7;
  const c1 = load<u32>(env + FSW) & FSW_C1;
  let done: bool;
  if (isEmpty(0) || isEmpty(i)) done = compareEmpty();
  else {
    begin();
    const src = st(i);
    done = compareTo(sigOf(src), seOf(src), (imm & 64) != 0);
    store<u32>(env + FSW, load<u32>(env + FSW) | c1);
  }
  if (done && ((imm >> 8) & 3) != 0) pop();
  return u64((order & FSW_C3 ? 0x40 : 0) | (order & FSW_C2 ? 4 : 0) | (order & FSW_C0 ? 1 : 0));
}

export function h_ftst(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0)) return compareEnd(compareEmpty(), 0);
  begin();
  return compareEnd(compareTo(0, 0, false), 0);
}

export function h_fxam(a: u64, b: u64, imm: u32): u64 {
  const reg = st(0);
  const sig = sigOf(reg);
  const se = seOf(reg);
  const e = se & 0x7fff;
  let cc: u32 = se >> 15 != 0 ? FSW_C1 : 0;
  if (isEmpty(0)) cc |= FSW_C3 | FSW_C0;
  else if (e == 0) cc |= sig == 0 ? FSW_C3 : FSW_C3 | FSW_C2;
  else if (sig >> 63 == 0) cc |= 0;
  else if (e != 0x7fff) cc |= FSW_C2;
  else cc |= sig << 1 == 0 ? FSW_C2 | FSW_C0 : FSW_C0;
  setCc(cc);
  return 0;
}

// --- one operand ---

export function h_fchs(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0)) {
    underflowTo(0);
    return 0;
  }
  clearC1();
  const reg = st(0);
  store<u16>(reg, load<u16>(reg, 8) ^ 0x8000, 8);
  return 0;
}

export function h_fabs(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0)) {
    underflowTo(0);
    return 0;
  }
  clearC1();
  const reg = st(0);
  store<u16>(reg, load<u16>(reg, 8) & 0x7fff, 8);
  return 0;
}

export function h_fsqrt(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0)) {
    underflowTo(0);
    return 0;
  }
  begin();
  const reg = st(0);
  if (!nanResult1(sigOf(reg), seOf(reg))) sqrt80(sigOf(reg), seOf(reg));
  if (finish()) put(reg, rSig, rSe);
  return 0;
}

export function h_frndint(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0)) {
    underflowTo(0);
    return 0;
  }
  begin();
  const reg = st(0);
  if (!nanResult1(sigOf(reg), seOf(reg))) roundIntegral80(sigOf(reg), seOf(reg));
  if (finish()) put(reg, rSig, rSe);
  return 0;
}

export function h_fscale(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0) || isEmpty(1)) {
    underflowTo(0);
    return 0;
  }
  begin();
  const reg = st(0);
  const by = st(1);
  if (!nanResult(sigOf(reg), seOf(reg), sigOf(by), seOf(by))) scale80(sigOf(reg), seOf(reg), sigOf(by), seOf(by));
  if (finish()) put(reg, rSig, rSe);
  return 0;
}

/** ST(0) becomes the exponent, then the significand is pushed. */
export function h_fxtract(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0) || !isEmpty(7)) {
    if (!stackFault(isEmpty(0) ? 0 : FSW_C1)) return 0;
    put(st(0), INDEFINITE_SIG, INDEFINITE_SE);
    markValid(0);
    pushRaw(INDEFINITE_SIG, INDEFINITE_SE);
    return 0;
  }
  begin();
  const reg = st(0);
  const nan = nanResult1(sigOf(reg), seOf(reg));
  if (!nan) extract80(sigOf(reg), seOf(reg));
  if (!finish()) return 0;
  put(reg, rSig, rSe);
  if (nan) pushRaw(rSig, rSe);
  else pushRaw(splitSig, splitSe);
  return 0;
}

function remainder(nearest: bool): u64 {
  store<u32>(env + FSW, load<u32>(env + FSW) & ~FSW_C2);
  if (isEmpty(0) || isEmpty(1)) {
    underflowTo(0);
    return 0;
  }
  begin();
  const reg = st(0);
  const by = st(1);
  // Without a quotient only C2 (and C1) are cleared.
  let cc: u32 = load<u32>(env + FSW) & (FSW_C0 | FSW_C3);
  if (!nanResult(sigOf(reg), seOf(reg), sigOf(by), seOf(by))) {
    remainder80(sigOf(reg), seOf(reg), sigOf(by), seOf(by), nearest);
    const q = remQuotient;
    if ((sfFlags & SF_INVALID) == 0)
      cc = (q & 4 ? FSW_C0 : 0) | (q & 2 ? FSW_C3 : 0) | (q & 1 ? FSW_C1 : 0) | (remPartial ? FSW_C2 : 0);
  }
  if (finish()) {
    put(reg, rSig, rSe);
    setCc(cc);
  }
  return 0;
}

export function h_fprem(a: u64, b: u64, imm: u32): u64 {
  return remainder(false);
}

export function h_fprem1(a: u64, b: u64, imm: u32): u64 {
  return remainder(true);
}
