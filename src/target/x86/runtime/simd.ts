/**
 * AssemblyScript. Integer vector instructions without a counterpart in wasm: AES-NI, PCLMULQDQ, the SSE4.2 string
 * compares, PHMINPOSUW, MPSADBW, PSADBW. Source: Intel SDM vol 2, vol 1 chapter 14 (SSE4.2); FIPS 197.
 *
 * h_name(a, b, imm): a and b are linear-memory (host) addresses of 16-byte operands; the destination `a` is changed in
 * place. Nothing raises.
 */
import { GPR, XMM } from "../layout";
import { AES_INV_MIX, AES_INV_SBOX, AES_MIX, AES_SBOX } from "./aes-tables";
import { env } from "./env";

// --- AES ---

// @ts-ignore: decorator
@inline
function byteAt(word: u32, n: u32): usize {
  return usize((word >> (n << 3)) & 0xff);
}

// @ts-ignore: decorator
@inline
function mixed(table: usize, w0: u32, w1: u32, w2: u32, w3: u32): u32 {
  return (
    load<u32>(table + (byteAt(w0, 0) << 2)) ^
    rotl<u32>(load<u32>(table + (byteAt(w1, 1) << 2)), 8) ^
    rotl<u32>(load<u32>(table + (byteAt(w2, 2) << 2)), 16) ^
    rotl<u32>(load<u32>(table + (byteAt(w3, 3) << 2)), 24)
  );
}

// @ts-ignore: decorator
@inline
function substituted(table: usize, w0: u32, w1: u32, w2: u32, w3: u32): u32 {
  return (
    u32(load<u8>(table + byteAt(w0, 0))) |
    (u32(load<u8>(table + byteAt(w1, 1))) << 8) |
    (u32(load<u8>(table + byteAt(w2, 2))) << 16) |
    (u32(load<u8>(table + byteAt(w3, 3))) << 24)
  );
}

// @ts-ignore: decorator
@inline
function put4(p: usize, w0: u32, w1: u32, w2: u32, w3: u32): void {
  store<u32>(p, w0);
  store<u32>(p, w1, 4);
  store<u32>(p, w2, 8);
  store<u32>(p, w3, 12);
}

/** AESENC: one round of encryption with round key b. */
export function h_aesenc(a: u64, b: u64, imm: u32): u64 {
  const p = usize(a);
  const w0 = load<u32>(p);
  const w1 = load<u32>(p, 4);
  const w2 = load<u32>(p, 8);
  const w3 = load<u32>(p, 12);
  const key = v128.load(usize(b));
  put4(p, mixed(AES_MIX, w0, w1, w2, w3), mixed(AES_MIX, w1, w2, w3, w0), mixed(AES_MIX, w2, w3, w0, w1), mixed(AES_MIX, w3, w0, w1, w2));
  v128.store(p, v128.xor(v128.load(p), key));
  return 0;
}

/** AESENCLAST: without MixColumns. */
export function h_aesenclast(a: u64, b: u64, imm: u32): u64 {
  const p = usize(a);
  const w0 = load<u32>(p);
  const w1 = load<u32>(p, 4);
  const w2 = load<u32>(p, 8);
  const w3 = load<u32>(p, 12);
  const key = v128.load(usize(b));
  const s = AES_SBOX;
  put4(p, substituted(s, w0, w1, w2, w3), substituted(s, w1, w2, w3, w0), substituted(s, w2, w3, w0, w1), substituted(s, w3, w0, w1, w2));
  v128.store(p, v128.xor(v128.load(p), key));
  return 0;
}

/** AESDECLAST: InvShiftRows, InvSubBytes, key. */
export function h_aesdeclast(a: u64, b: u64, imm: u32): u64 {
  const p = usize(a);
  const w0 = load<u32>(p);
  const w1 = load<u32>(p, 4);
  const w2 = load<u32>(p, 8);
  const w3 = load<u32>(p, 12);
  const key = v128.load(usize(b));
  const s = AES_INV_SBOX;
  put4(p, substituted(s, w0, w3, w2, w1), substituted(s, w1, w0, w3, w2), substituted(s, w2, w1, w0, w3), substituted(s, w3, w2, w1, w0));
  v128.store(p, v128.xor(v128.load(p), key));
  return 0;
}

/** AESIMC: InvMixColumns of b to a. */
export function h_aesimc(a: u64, b: u64, imm: u32): u64 {
  const q = usize(b);
  const w0 = load<u32>(q);
  const w1 = load<u32>(q, 4);
  const w2 = load<u32>(q, 8);
  const w3 = load<u32>(q, 12);
  const t = AES_INV_MIX;
  put4(usize(a), mixed(t, w0, w0, w0, w0), mixed(t, w1, w1, w1, w1), mixed(t, w2, w2, w2, w2), mixed(t, w3, w3, w3, w3));
  return 0;
}

/** AESDEC: the equivalent inverse cipher's round: InvShiftRows, InvSubBytes, InvMixColumns, key. */
export function h_aesdec(a: u64, b: u64, imm: u32): u64 {
  const p = usize(a);
  const key = v128.load(usize(b));
  const w0 = load<u32>(p);
  const w1 = load<u32>(p, 4);
  const w2 = load<u32>(p, 8);
  const w3 = load<u32>(p, 12);
  const s = AES_INV_SBOX;
  put4(p, substituted(s, w0, w3, w2, w1), substituted(s, w1, w0, w3, w2), substituted(s, w2, w1, w0, w3), substituted(s, w3, w2, w1, w0));
  h_aesimc(a, a, 0);
  v128.store(p, v128.xor(v128.load(p), key));
  return 0;
}

/** AESKEYGENASSIST of b to a: imm = round constant. */
export function h_aeskeygenassist(a: u64, b: u64, imm: u32): u64 {
  const q = usize(b);
  const w1 = load<u32>(q, 4);
  const w3 = load<u32>(q, 12);
  const s1 = substituted(AES_SBOX, w1, w1, w1, w1);
  const s3 = substituted(AES_SBOX, w3, w3, w3, w3);
  put4(usize(a), s1, rotr<u32>(s1, 8) ^ imm, s3, rotr<u32>(s3, 8) ^ imm);
  return 0;
}

// --- carry-less multiplication ---

/**
 * 32 x 32 bits without carries. Operands are cut into four with every fourth bit: in an ordinary product of two such
 * parts at most eight ones meet in a column, which the three bits between columns can hold.
 */
function carryless32(x: u64, y: u64): u64 {
  const m: u64 = 0x1111111111111111;
  const x0 = x & m;
  const x1 = x & (m << 1);
  const x2 = x & (m << 2);
  const x3 = x & (m << 3);
  const y0 = y & m;
  const y1 = y & (m << 1);
  const y2 = y & (m << 2);
  const y3 = y & (m << 3);
  const z0 = (x0 * y0) ^ (x1 * y3) ^ (x2 * y2) ^ (x3 * y1);
  const z1 = (x0 * y1) ^ (x1 * y0) ^ (x2 * y3) ^ (x3 * y2);
  const z2 = (x0 * y2) ^ (x1 * y1) ^ (x2 * y0) ^ (x3 * y3);
  const z3 = (x0 * y3) ^ (x1 * y2) ^ (x2 * y1) ^ (x3 * y0);
  return (z0 & m) | (z1 & (m << 1)) | (z2 & (m << 2)) | (z3 & (m << 3));
}

/** PCLMULQDQ: imm bit 0 selects the half of a, bit 4 that of b. */
export function h_pclmulqdq(a: u64, b: u64, imm: u32): u64 {
  const x = load<u64>(usize(a) + ((imm & 1) << 3));
  const y = load<u64>(usize(b) + (((imm >> 4) & 1) << 3));
  const xl = x & 0xffffffff;
  const xh = x >> 32;
  const yl = y & 0xffffffff;
  const yh = y >> 32;
  const low = carryless32(xl, yl);
  const high = carryless32(xh, yh);
  const middle = carryless32(xl ^ xh, yl ^ yh) ^ low ^ high;
  store<u64>(usize(a), low ^ (middle << 32));
  store<u64>(usize(a), high ^ (middle >> 32), 8);
  return 0;
}

// --- SSE4.2 string compares ---

/** imm: bits 0-7 imm8; bit 8 explicit lengths (PCMPESTR*) in RAX and RDX; bit 9 they are 64 bits wide (REX.W). */
const STR_EXPLICIT: u32 = 0x100;
const STR_WIDE: u32 = 0x200;

/** |length| in RAX or RDX, at most `limit`. */
function explicitLength(at: usize, imm: u32, limit: u32): u32 {
  const raw = load<i64>(at);
  const value = (imm & STR_WIDE) != 0 ? raw : i64(i32(raw));
  // The most negative number stays negative, and large.
  const magnitude = u64(value < 0 ? 0 - value : value);
  return magnitude > u64(limit) ? limit : u32(magnitude);
}

function implicitLength(p: usize, words: bool, limit: u32): u32 {
  let n: u32 = 0;
  while (n < limit && (words ? load<u16>(p + (n << 1)) != 0 : load<u8>(p + n) != 0)) n++;
  return n;
}

// @ts-ignore: decorator
@inline
function element(p: usize, i: u32, format: u32): i32 {
  if (format == 0) return i32(load<u8>(p + i));
  if (format == 1) return i32(load<u16>(p + (i << 1)));
  if (format == 2) return i32(load<i8>(p + i));
  return i32(load<i16>(p + (i << 1)));
}

/** IntRes2 of the SDM in the low half, the flags image (CF ZF SF OF) in the high half. */
function compareStrings(x: usize, y: usize, imm: u32): u64 {
  const format = imm & 3;
  const words = (format & 1) != 0;
  const count: u32 = words ? 8 : 16;
  const xLength = (imm & STR_EXPLICIT) != 0 ? explicitLength(env + GPR, imm, count) : implicitLength(x, words, count);
  const yLength = (imm & STR_EXPLICIT) != 0 ? explicitLength(env + GPR + 16, imm, count) : implicitLength(y, words, count);
  let result: u32 = 0;
  const aggregation = (imm >> 2) & 3;
  for (let j: u32 = 0; j < count; j++) {
    let hit = false;
    if (aggregation == 0) {
      // Equal any: y[j] is one of x.
      if (j < yLength) {
        const value = element(y, j, format);
        for (let i: u32 = 0; i < xLength && !hit; i++) hit = element(x, i, format) == value;
      }
    } else if (aggregation == 1) {
      // Ranges: pairs of bounds in x.
      if (j < yLength) {
        const value = element(y, j, format);
        for (let i: u32 = 0; i + 1 < xLength && !hit; i += 2) hit = element(x, i, format) <= value && value <= element(x, i + 1, format);
      }
    } else if (aggregation == 2) {
      // Equal each; beyond both ends counts as equal.
      if (j < xLength && j < yLength) hit = element(x, j, format) == element(y, j, format);
      else hit = j >= xLength && j >= yLength;
    } else {
      // Equal ordered: x occurs in y at j, as far as y's register reaches.
      hit = true;
      for (let i: u32 = 0; i < xLength && i + j < count && hit; i++) {
        hit = i + j < yLength && element(x, i, format) == element(y, i + j, format);
      }
    }
    result |= u32(hit) << j;
  }
  const all = (u32(1) << count) - 1;
  const polarity = (imm >> 4) & 3;
  if (polarity == 1) result ^= all;
  else if (polarity == 3) result ^= (u32(1) << yLength) - 1;
  const flags = u32(result != 0) | (u32(yLength < count) << 6) | (u32(xLength < count) << 7) | ((result & 1) << 11);
  return u64(result) | (u64(flags) << 32);
}

/** PCMPESTRI and PCMPISTRI: a, b as in the SDM's operand order; index (for ECX) in the low half, EFLAGS image in the high half. */
export function h_pcmpstri(a: u64, b: u64, imm: u32): u64 {
  const found = compareStrings(usize(a), usize(b), imm);
  const result = u32(found);
  let index: u32 = (imm & 1) != 0 ? 8 : 16;
  if (result != 0) index = (imm & 0x40) != 0 ? 31 - clz(result) : ctz(result);
  return (found & 0xffffffff00000000) | u64(index);
}

/** PCMPESTRM and PCMPISTRM: the mask goes to XMM0; EFLAGS image in the high half of the result. */
export function h_pcmpstrm(a: u64, b: u64, imm: u32): u64 {
  const found = compareStrings(usize(a), usize(b), imm);
  const result = u32(found);
  const to = env + XMM;
  if ((imm & 0x40) == 0) {
    store<u64>(to, u64(result));
    store<u64>(to, 0, 8);
  } else if ((imm & 1) != 0) for (let i: u32 = 0; i < 8; i++) store<u16>(to + (i << 1), u16(0 - ((result >> i) & 1)));
  else for (let i: u32 = 0; i < 16; i++) store<u8>(to + i, u8(0 - ((result >> i) & 1)));
  return found & 0xffffffff00000000;
}

// --- sums and minima ---

/** PHMINPOSUW of b to a: the smallest word and the index of its first occurrence. */
export function h_phminposuw(a: u64, b: u64, imm: u32): u64 {
  let best: u32 = 0x10000;
  let at: u32 = 0;
  for (let i: u32 = 0; i < 8; i++) {
    const value: u32 = load<u16>(usize(b) + (i << 1));
    if (value < best) {
      best = value;
      at = i;
    }
  }
  store<u64>(usize(a), u64(best | (at << 16)));
  store<u64>(usize(a), 0, 8);
  return 0;
}

/** |x - y| of 16 unsigned bytes. */
// @ts-ignore: decorator
@inline
function distance(x: v128, y: v128): v128 {
  return v128.or(i8x16.sub_sat_u(x, y), i8x16.sub_sat_u(y, x));
}

/** PSADBW. */
export function h_psadbw(a: u64, b: u64, imm: u32): u64 {
  const d = distance(v128.load(usize(a)), v128.load(usize(b)));
  const sums = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(d));
  store<u64>(usize(a), u64(i32x4.extract_lane(sums, 0) + i32x4.extract_lane(sums, 1)));
  store<u64>(usize(a), u64(i32x4.extract_lane(sums, 2) + i32x4.extract_lane(sums, 3)), 8);
  return 0;
}

/** MPSADBW: imm bits 0-1 block of b (4 bytes), bit 2 start in a (4 bytes). */
export function h_mpsadbw(a: u64, b: u64, imm: u32): u64 {
  const x = usize(a) + (imm & 4);
  const block = usize(b) + ((imm & 3) << 2);
  let low: u64 = 0;
  let high: u64 = 0;
  for (let i: u32 = 0; i < 8; i++) {
    let sum: u32 = 0;
    for (let j: u32 = 0; j < 4; j++) {
      const d = i32(load<u8>(x + i + j)) - i32(load<u8>(block + j));
      sum += u32(d < 0 ? -d : d);
    }
    if (i < 4) low |= u64(sum) << (u64(i) << 4);
    else high |= u64(sum) << (u64(i - 4) << 4);
  }
  store<u64>(usize(a), low);
  store<u64>(usize(a), high, 8);
  return 0;
}
