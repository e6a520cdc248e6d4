/**
 * AssemblyScript. x87 loads, stores and register moves. The front end does the memory access: loads take the bits read,
 * stores return the bits to write (conventions: x87-state.ts). Source: Intel SDM vol 1, 8.3.1 to 8.3.3; vol 2.
 */
import { F32, F64 } from "../../../accel/tcg/runtime/softfloat-binary";
import {
  MSB,
  ROUND_DOWN,
  ROUND_NEAREST,
  ROUND_UP,
  ROUND_ZERO,
  SF_INVALID,
  sfFlags,
  sfRaise,
  sfSetRounding,
} from "../../../accel/tcg/runtime/softfloat-core";
import { isNan80, rSe, rSig } from "../../../accel/tcg/runtime/softfloat-f80";
import {
  bcdHigh,
  fromBcd80,
  fromInt80,
  narrow80,
  toBcd80,
  toInt80,
  widenF32,
  widenF64,
} from "../../../accel/tcg/runtime/softfloat-f80-convert";
import { FCW, FTAGS, FTOP, HELPER_HI } from "../layout";
import { env } from "./env";
import {
  begin,
  clearC1,
  finish,
  finishStore,
  INDEFINITE_SE,
  INDEFINITE_SIG,
  isEmpty,
  markValid,
  NO_STORE,
  pop,
  push,
  pushOverflow,
  pushRaw,
  put,
  seOf,
  sigOf,
  st,
  stackFault,
  underflowTo,
} from "./x87-state";

// --- loads ---

/** Pushes rSig, rSe widened from memory: the only place where a load may signal. */
function pushWidened(): void {
  if (!isEmpty(7)) {
    pushOverflow();
    return;
  }
  let sig = rSig;
  const se = rSe;
  if (isNan80(sig, se) && ((sig >> 62) & 1) == 0) {
    sfRaise(SF_INVALID);
    sig |= INDEFINITE_SIG;
  }
  // A denormal operand is loaded even if it is to trap, as on AMD.
  if (finish() || (sfFlags & SF_INVALID) == 0) pushRaw(sig, se);
}

/** FLD m32fp: a = bits. */
export function h_fld_f32(a: u64, b: u64, imm: u32): u64 {
  begin();
  widenF32(a);
  pushWidened();
  return 0;
}

/** FLD m64fp. */
export function h_fld_f64(a: u64, b: u64, imm: u32): u64 {
  const e = u32(a >> 52) & 0x7ff;
  if (e - 1 < 0x7fe) {
    push(MSB | (a << 11), (u32(a >> 48) & 0x8000) | (e + 0x3c00));
    return 0;
  }
  begin();
  widenF64(a);
  pushWidened();
  return 0;
}

/** FLD m80fp: a = significand, b = sign and exponent. Signals nothing but stack overflow. */
export function h_fld_f80(a: u64, b: u64, imm: u32): u64 {
  push(a, u32(b) & 0xffff);
  return 0;
}

/** FILD. */
export function h_fld_i16(a: u64, b: u64, imm: u32): u64 {
  fromInt80(i64(i16(a)));
  push(rSig, rSe);
  return 0;
}

export function h_fld_i32(a: u64, b: u64, imm: u32): u64 {
  fromInt80(i64(i32(a)));
  push(rSig, rSe);
  return 0;
}

export function h_fld_i64(a: u64, b: u64, imm: u32): u64 {
  fromInt80(i64(a));
  push(rSig, rSe);
  return 0;
}

/** FBLD: a = low 64 bits, b = high 16 bits. */
export function h_fbld(a: u64, b: u64, imm: u32): u64 {
  fromBcd80(a, u32(b) & 0xffff);
  push(rSig, rSe);
  return 0;
}

/** FLD ST(i): imm = i. */
export function h_fld_sti(a: u64, b: u64, imm: u32): u64 {
  const src = st(imm & 7);
  const sig = sigOf(src);
  const se = seOf(src);
  if (isEmpty(imm & 7)) {
    if (stackFault(0)) pushRaw(INDEFINITE_SIG, INDEFINITE_SE);
    return 0;
  }
  push(sig, se);
  return 0;
}

/** Significand truncated to 64 bits, and whether what is cut off exceeds one half. Order of D9 E8..EE. */
function constantSig(k: u32): u64 {
  switch (k) {
    case 1:
      return 0xd49a784bcd1b8afe;
    case 2:
      return 0xb8aa3b295c17f0bb;
    case 3:
      return 0xc90fdaa22168c234;
    case 4:
      return 0x9a209a84fbcff798;
    default:
      return 0xb17217f7d1cf79ab;
  }
}

/** FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ: imm = 0..6. Rounded by RC; no exception. */
export function h_fld_const(a: u64, b: u64, imm: u32): u64 {
  if (imm == 0) push(MSB, 0x3fff);
  else if (imm >= 6) push(0, 0);
  else {
    const rc = (load<u32>(env + FCW) >> 10) & 3;
    // All but log2(10) lie above the middle between their neighbours.
    const up = rc == ROUND_UP || (rc == ROUND_NEAREST && imm != 1);
    const se: u32 = imm == 1 || imm == 3 ? 0x4000 : imm == 2 ? 0x3fff : imm == 4 ? 0x3ffd : 0x3ffe;
    push(constantSig(imm) + u64(up), se);
  }
  return 0;
}

// --- stores ---

// @ts-ignore: decorator
@inline
function storeUnderflow(): bool {
  const masked = stackFault(0);
  store<u64>(env + HELPER_HI, masked ? 0 : NO_STORE);
  return masked;
}

/** FST m32fp: the bits to store. */
export function h_fst_f32(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0)) {
    storeUnderflow();
    return 0xffc00000;
  }
  begin();
  const reg = st(0);
  const bits = narrow80(sigOf(reg), seOf(reg), F32);
  finishStore();
  return bits;
}

/** FST m64fp. */
export function h_fst_f64(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0)) {
    storeUnderflow();
    return 0xfff8000000000000;
  }
  const reg = st(0);
  const sig = sigOf(reg);
  const se = seOf(reg);
  const e = (se & 0x7fff) - 0x3c00;
  if (e - 1 < 0x7fe && sig >> 63 != 0 && (sig & 0x7ff) == 0) {
    clearC1();
    store<u64>(env + HELPER_HI, 0);
    return (u64(se >> 15) << 63) | (u64(e) << 52) | ((sig << 1) >> 12);
  }
  begin();
  const bits = narrow80(sig, se, F64);
  finishStore();
  return bits;
}

/** FSTP m80fp: the significand; sign and exponent in the low half of HELPER_HI. */
export function h_fst_f80(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0)) {
    store<u64>(env + HELPER_HI, stackFault(0) ? u64(INDEFINITE_SE) : NO_STORE);
    return INDEFINITE_SIG;
  }
  clearC1();
  const reg = st(0);
  store<u64>(env + HELPER_HI, seOf(reg));
  return sigOf(reg);
}

function storeInt(width: u32, truncate: u32): u64 {
  if (isEmpty(0)) {
    storeUnderflow();
    return u64(1) << (width - 1);
  }
  begin();
  if ((truncate & 1) != 0) sfSetRounding(ROUND_ZERO);
  const reg = st(0);
  const value = toInt80(sigOf(reg), seOf(reg), width);
  finishStore();
  return value;
}

/** FIST, FISTP; FISTTP with imm bit 0. */
export function h_fist16(a: u64, b: u64, imm: u32): u64 {
  return storeInt(16, imm);
}

export function h_fist32(a: u64, b: u64, imm: u32): u64 {
  return storeInt(32, imm);
}

export function h_fist64(a: u64, b: u64, imm: u32): u64 {
  return storeInt(64, imm);
}

/** FBSTP: low 64 bits; the high 16 bits in the low half of HELPER_HI. */
export function h_fbstp(a: u64, b: u64, imm: u32): u64 {
  if (isEmpty(0)) {
    store<u64>(env + HELPER_HI, stackFault(0) ? 0xffff : NO_STORE);
    return INDEFINITE_SIG;
  }
  begin();
  const reg = st(0);
  const low = toBcd80(sigOf(reg), seOf(reg));
  if (finishStore()) store<u64>(env + HELPER_HI, bcdHigh);
  return low;
}

/** The pop after a store to memory. */
export function h_fpop(a: u64, b: u64, imm: u32): u64 {
  pop();
  return 0;
}

// --- register moves ---

/** FST(P) ST(i): imm = i << 3 | pop << 6. */
export function h_fst_sti(a: u64, b: u64, imm: u32): u64 {
  const i = (imm >> 3) & 7;
  if (isEmpty(0)) {
    if (!underflowTo(i)) return 0;
  } else {
    clearC1();
    const reg = st(0);
    put(st(i), sigOf(reg), seOf(reg));
    markValid(i);
  }
  if ((imm & 64) != 0) pop();
  return 0;
}

/** FXCH ST(i): imm = i. */
export function h_fxch(a: u64, b: u64, imm: u32): u64 {
  const i = imm & 7;
  if (isEmpty(0) || isEmpty(i)) {
    const empty0 = isEmpty(0);
    const emptyI = isEmpty(i);
    if (!stackFault(0)) return 0;
    if (empty0) {
      put(st(0), INDEFINITE_SIG, INDEFINITE_SE);
      markValid(0);
    }
    if (emptyI) {
      put(st(i), INDEFINITE_SIG, INDEFINITE_SE);
      markValid(i);
    }
  } else clearC1();
  const x = st(0);
  const y = st(i);
  const sig = sigOf(x);
  const se = seOf(x);
  put(x, sigOf(y), seOf(y));
  put(y, sig, se);
  return 0;
}

/** FCMOVcc: a = condition (nonzero: move), imm = i. */
export function h_fcmov(a: u64, b: u64, imm: u32): u64 {
  const i = imm & 7;
  if (isEmpty(0) || isEmpty(i)) {
    underflowTo(0);
    return 0;
  }
  if (a != 0) {
    const src = st(i);
    put(st(0), sigOf(src), seOf(src));
  }
  return 0;
}

/** FFREE ST(i): imm = i. */
export function h_ffree(a: u64, b: u64, imm: u32): u64 {
  clearC1();
  const tags = load<u32>(env + FTAGS);
  store<u32>(env + FTAGS, tags | (1 << ((load<u32>(env + FTOP) + imm) & 7)));
  return 0;
}

export function h_fincstp(a: u64, b: u64, imm: u32): u64 {
  clearC1();
  store<u32>(env + FTOP, (load<u32>(env + FTOP) + 1) & 7);
  return 0;
}

export function h_fdecstp(a: u64, b: u64, imm: u32): u64 {
  clearC1();
  store<u32>(env + FTOP, (load<u32>(env + FTOP) - 1) & 7);
  return 0;
}
