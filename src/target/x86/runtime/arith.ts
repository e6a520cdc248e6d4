/**
 * AssemblyScript. Integer instructions that are too long for IR: division, high products, rotates through carry, double
 * shifts, decimal adjustments, CRC32, PEXT, PDEP, BOUND, ENTER. Source: Intel SDM vol 2.
 */
import { CC_DST, CC_OP, CC_SHL, CC_SHR, CC_SRC, FL_AF, FL_CF, FL_OF, FL_PF, FL_SF, FL_ZF } from "../layout";
import { arithFlags, setArith } from "./eflags";
import { raise } from "./env";
import { checkAccess, MMU_STACK, slowLoad, slowStore } from "./mmu";
import { ACC_WRITE } from "./page-walk";
import { linearOf } from "./segments";
import {
  D_B,
  dataMmu,
  gpr,
  isCode64,
  RAX,
  RBP,
  RCX,
  RDX,
  RSP,
  segFlags,
  setGpr,
  setGprSized,
  SS,
  trunc,
  w64,
  X_BR,
  X_DE,
} from "./state";

/** Sign-extends from an operand size. */
function signed(v: u64, size: u32): i64 {
  return size == 0 ? <i64>(<i8>v) : size == 1 ? <i64>(<i16>v) : size == 2 ? <i64>(<i32>v) : <i64>v;
}

let remainder: u64 = 0;

/** (high:low) / d for high < d: the quotient; remainder is set. */
function divide128(high: u64, low: u64, d: u64): u64 {
  if (high == 0) {
    remainder = low % d;
    return low / d;
  }
  // Two steps of 64 by 32 bits with a normalised divisor (Knuth 4.3.1 D).
  const s = clz<u64>(d);
  d <<= s;
  const dh = d >> 32;
  const dl = d & 0xffffffff;
  const n32 = s == 0 ? high : (high << s) | (low >> (64 - s));
  const n10 = low << s;
  const n1 = n10 >> 32;
  const n0 = n10 & 0xffffffff;
  let q1 = n32 / dh;
  let r = n32 - q1 * dh;
  while (q1 >= 0x100000000 || q1 * dl > ((r << 32) | n1)) {
    q1--;
    r += dh;
    if (r >= 0x100000000) break;
  }
  const n21 = (n32 << 32) + n1 - q1 * d;
  let q0 = n21 / dh;
  r = n21 - q0 * dh;
  while (q0 >= 0x100000000 || q0 * dl > ((r << 32) | n0)) {
    q0--;
    r += dh;
    if (r >= 0x100000000) break;
  }
  remainder = ((n21 << 32) + n0 - q0 * d) >> s;
  return (q1 << 32) + q0;
}

/** DIV: rDX:rAX (AX) by a; imm = size. */
export function h_div(a: u64, b: u64, imm: u32): u64 {
  const d = trunc(a, imm);
  if (d == 0) raise(X_DE, 0);
  if (imm == 3) {
    const high = gpr(RDX);
    if (high >= d) raise(X_DE, 0);
    const q = divide128(high, gpr(RAX), d);
    setGpr(RAX, q);
    setGpr(RDX, remainder);
    return 0;
  }
  const n = imm == 0 ? gpr(RAX) & 0xffff : (trunc(gpr(RDX), imm) << (8 << imm)) | trunc(gpr(RAX), imm);
  const q = n / d;
  if (q != trunc(q, imm)) raise(X_DE, 0);
  putQuotient(q, n % d, imm);
  return 0;
}

function putQuotient(q: u64, r: u64, size: u32): void {
  if (size == 0) setGprSized(RAX, (q & 0xff) | ((r & 0xff) << 8), 1);
  else {
    setGprSized(RAX, q, size);
    setGprSized(RDX, r, size);
  }
}

export function h_idiv(a: u64, b: u64, imm: u32): u64 {
  const d = signed(a, imm);
  if (d == 0) raise(X_DE, 0);
  if (imm == 3) {
    let low = gpr(RAX);
    let high = gpr(RDX);
    const negative = <i64>high < 0;
    if (negative) {
      low = 0 - low;
      high = ~high + (low == 0 ? 1 : 0);
    }
    const m: u64 = d < 0 ? 0 - <u64>d : <u64>d;
    if (high >= m) raise(X_DE, 0);
    const q = divide128(high, low, m);
    const flip = negative != d < 0;
    if (flip ? q > 0x8000000000000000 : q > 0x7fffffffffffffff) raise(X_DE, 0);
    setGpr(RAX, flip ? 0 - q : q);
    setGpr(RDX, negative ? 0 - remainder : remainder);
    return 0;
  }
  const n: i64 =
    imm == 0
      ? <i64>(<i16>gpr(RAX))
      : imm == 1
        ? <i64>(<i32>(((<u32>gpr(RDX)) << 16) | (<u32>gpr(RAX) & 0xffff)))
        : <i64>((gpr(RDX) << 32) | (gpr(RAX) & 0xffffffff));
  // The one quotient that i64 cannot hold.
  if (n == i64.MIN_VALUE && d == -1) raise(X_DE, 0);
  const q = n / d;
  if (q != signed(<u64>q, imm)) raise(X_DE, 0);
  putQuotient(<u64>q, <u64>(n % d), imm);
  return 0;
}

export function h_mulhi_u(a: u64, b: u64, imm: u32): u64 {
  const al = a & 0xffffffff;
  const ah = a >> 32;
  const bl = b & 0xffffffff;
  const bh = b >> 32;
  const m1 = ah * bl + ((al * bl) >> 32);
  const m2 = al * bh + (m1 & 0xffffffff);
  return ah * bh + (m1 >> 32) + (m2 >> 32);
}

export function h_mulhi_s(a: u64, b: u64, imm: u32): u64 {
  let r = h_mulhi_u(a, b, 0);
  if (<i64>a < 0) r -= b;
  if (<i64>b < 0) r -= a;
  return r;
}

/** Sets CF and OF, the other flags kept. */
function setCfOf(cf: u64, of_: u64): void {
  setArith((arithFlags() & ~(FL_CF | FL_OF)) | (cf != 0 ? FL_CF : 0) | (of_ != 0 ? FL_OF : 0));
}

function carry(): u64 {
  return <u64>(arithFlags() & FL_CF);
}

/** RCL. @returns the result; flags unchanged for a count of zero */
export function h_rcl(a: u64, b: u64, imm: u32): u64 {
  const bits: u32 = 8 << imm;
  let v = trunc(a, imm);
  let n = <u32>b & (imm == 3 ? 63 : 31);
  if (n == 0) return v;
  if (imm < 2) n %= bits + 1;
  let c = carry();
  if (n != 0) {
    // The value with CF on top is rotated as one word of bits + 1.
    const out = (v >> (bits - n)) & 1;
    const low = n == 1 ? 0 : v >> (bits - n + 1);
    v = trunc((n < 64 ? v << n : 0) | (c << (n - 1)) | low, imm);
    c = out;
  }
  setCfOf(c, (v >> (bits - 1)) ^ c);
  return v;
}

export function h_rcr(a: u64, b: u64, imm: u32): u64 {
  const bits: u32 = 8 << imm;
  let v = trunc(a, imm);
  let n = <u32>b & (imm == 3 ? 63 : 31);
  if (n == 0) return v;
  if (imm < 2) n %= bits + 1;
  let c = carry();
  if (n != 0) {
    const out = (v >> (n - 1)) & 1;
    const high = n == 1 ? 0 : v << (bits - n + 1);
    v = trunc((n < bits ? v >> n : 0) | (c << (bits - n)) | high, imm);
    c = out;
  }
  setCfOf(c, (v >> (bits - 1)) ^ ((v >> (bits - 2)) & 1));
  return v;
}

function shiftCount(imm: u32): u32 {
  const n = (imm & 0x10000) != 0 ? <u32>gpr(RCX) : (imm >> 8) & 0xff;
  return n & ((imm & 3) == 3 ? 63 : 31);
}

function setShift(op: u32, res: u64, cf: u64, size: u32): void {
  w64(CC_DST, res);
  w64(CC_SRC, cf & 1);
  w64(CC_OP, op + size);
}

export function h_shld(a: u64, b: u64, imm: u32): u64 {
  const size = imm & 3;
  const bits: u32 = 8 << size;
  const n = shiftCount(imm);
  const v = trunc(a, size);
  if (n == 0) return v;
  let r: u64;
  let cf: u64;
  if (size == 1) {
    // Counts of 16 to 31 (undefined in the manual): the source follows, then the destination again.
    const w = (v << 32) | (trunc(b, 1) << 16) | v;
    r = (w >> (32 - n)) & 0xffff;
    cf = (w >> (48 - n)) & 1;
  } else {
    r = trunc((v << n) | (trunc(b, size) >> (bits - n)), size);
    cf = (v >> (bits - n)) & 1;
  }
  setShift(CC_SHL, r, cf, size);
  return r;
}

export function h_shrd(a: u64, b: u64, imm: u32): u64 {
  const size = imm & 3;
  const bits: u32 = 8 << size;
  const n = shiftCount(imm);
  const v = trunc(a, size);
  if (n == 0) return v;
  let r: u64;
  let cf: u64;
  if (size == 1) {
    const w = v | (trunc(b, 1) << 16) | (v << 32);
    r = (w >> n) & 0xffff;
    cf = (w >> (n - 1)) & 1;
  } else {
    r = trunc((v >> n) | (trunc(b, size) << (bits - n)), size);
    cf = (v >> (n - 1)) & 1;
  }
  setShift(CC_SHR, r, cf, size);
  return r;
}

// --- decimal ---

/** ZF, SF, PF of AL. */
function flagsOf8(v: u32): u32 {
  v &= 0xff;
  return (v == 0 ? FL_ZF : 0) | (v & FL_SF) | ((popcnt<u32>(v) & 1) == 0 ? FL_PF : 0);
}

function decimal(subtract: bool): void {
  const f = arithFlags();
  const old = <u32>gpr(RAX) & 0xff;
  let al = old;
  let out: u32 = 0;
  if ((al & 15) > 9 || (f & FL_AF) != 0) {
    out |= FL_AF;
    if (subtract && (al < 6 || (f & FL_CF) != 0)) out |= FL_CF;
    al = subtract ? al - 6 : al + 6;
  }
  if (old > 0x99 || (f & FL_CF) != 0) {
    al = subtract ? al - 0x60 : al + 0x60;
    out |= FL_CF;
  }
  setGprSized(RAX, <u64>al, 0);
  setArith(out | flagsOf8(al));
}

export function h_daa(a: u64, b: u64, imm: u32): u64 {
  decimal(false);
  return 0;
}

export function h_das(a: u64, b: u64, imm: u32): u64 {
  decimal(true);
  return 0;
}

function ascii(subtract: bool): void {
  let ax = <u32>gpr(RAX) & 0xffff;
  let out: u32 = 0;
  if ((ax & 15) > 9 || (arithFlags() & FL_AF) != 0) {
    ax = subtract ? ax - 0x106 : ax + 0x106;
    out = FL_AF | FL_CF;
  }
  ax &= 0xff0f;
  setGprSized(RAX, <u64>ax, 1);
  setArith(out | flagsOf8(ax));
}

export function h_aaa(a: u64, b: u64, imm: u32): u64 {
  ascii(false);
  return 0;
}

export function h_aas(a: u64, b: u64, imm: u32): u64 {
  ascii(true);
  return 0;
}

export function h_aam(a: u64, b: u64, imm: u32): u64 {
  const d = imm & 0xff;
  if (d == 0) raise(X_DE, 0);
  const al = <u32>gpr(RAX) & 0xff;
  setGprSized(RAX, <u64>(((al / d) << 8) | (al % d)), 1);
  setArith(flagsOf8(al % d));
  return 0;
}

export function h_aad(a: u64, b: u64, imm: u32): u64 {
  const ax = <u32>gpr(RAX);
  const al = (((ax >> 8) & 0xff) * (imm & 0xff) + (ax & 0xff)) & 0xff;
  setGprSized(RAX, <u64>al, 1);
  setArith(flagsOf8(al));
  return 0;
}

// --- bits ---

/** CRC-32C of 1 << imm bytes of b. */
export function h_crc32(a: u64, b: u64, imm: u32): u64 {
  let crc = <u32>a;
  for (let i: u32 = 0; i < <u32>(1 << imm); i++) {
    crc ^= <u32>(b >> (i << 3)) & 0xff;
    for (let k = 0; k < 8; k++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
  }
  return <u64>crc;
}

export function h_pext(a: u64, b: u64, imm: u32): u64 {
  let r: u64 = 0;
  let bit: u64 = 1;
  while (b != 0) {
    const low = b & (0 - b);
    if ((a & low) != 0) r |= bit;
    bit <<= 1;
    b ^= low;
  }
  return r;
}

export function h_pdep(a: u64, b: u64, imm: u32): u64 {
  let r: u64 = 0;
  while (b != 0) {
    const low = b & (0 - b);
    if ((a & 1) != 0) r |= low;
    a >>= 1;
    b ^= low;
  }
  return r;
}

// --- BOUND, ENTER ---

export function h_bound(a: u64, b: u64, imm: u32): u64 {
  const low = signed(slowLoad(a, imm, dataMmu()), imm);
  const high = signed(slowLoad((a + (1 << imm)) & 0xffffffff, imm, dataMmu()), imm);
  const index = signed(b, imm);
  if (index < low || index > high) raise(X_BR, 0);
  return 0;
}

export function h_enter(a: u64, b: u64, imm: u32): u64 {
  const level = <u32>b & 31;
  const bytes: u32 = 1 << imm;
  const mask: u64 = isCode64() ? <u64>-1 : (segFlags(SS) & D_B) != 0 ? 0xffffffff : 0xffff;
  const mmu = dataMmu() | MMU_STACK;
  let sp = (gpr(RSP) - bytes) & mask;
  let bp = gpr(RBP) & mask;
  slowStore(linearOf(SS, sp, bytes, true), gpr(RBP), imm, mmu);
  const frame = sp;
  for (let i: u32 = 1; i < level; i++) {
    bp = (bp - bytes) & mask;
    const v = slowLoad(linearOf(SS, bp, bytes, false), imm, mmu);
    sp = (sp - bytes) & mask;
    slowStore(linearOf(SS, sp, bytes, true), v, imm, mmu);
  }
  if (level > 0) {
    sp = (sp - bytes) & mask;
    slowStore(linearOf(SS, sp, bytes, true), frame, imm, mmu);
  }
  sp = (sp - (a & 0xffff)) & mask;
  // The new top of the stack must be writable.
  checkAccess(linearOf(SS, sp, bytes, true), bytes, mmu, ACC_WRITE);
  setGprSized(RBP, frame, mask == 0xffff ? 1 : imm == 1 ? 1 : imm);
  if (mask == 0xffff) setGprSized(RSP, sp, 1);
  else setGpr(RSP, sp);
  return 0;
}
