/** AssemblyScript. AES and SHA-2 steps (Power ISA 3.0B I 6.11; FIPS 197, FIPS 180-4), and loads and stores with length. */
import { VSR } from "../layout";
import { env } from "./env";
import { slowLoad, slowStore } from "./mmu";
import { el } from "./vector";

/** Multiplication in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1. */
function times(x: u32, y: u32): u32 {
  let r: u32 = 0;
  while (y != 0) {
    if ((y & 1) != 0) r ^= x;
    x = (x << 1) ^ ((x & 0x80) != 0 ? 0x11b : 0);
    y >>= 1;
  }
  return r & 255;
}

const BOX = memory.data(256);
const INVERSE_BOX = memory.data(256);
let boxes: bool = false;

/** FIPS 197 5.1.1: inverse in the field, then the affine map. */
function makeBoxes(): void {
  boxes = true;
  let p: u32 = 1;
  let q: u32 = 1;
  do {
    // p runs through the field by 3, q through the inverses.
    p = times(p, 3);
    q ^= q << 1;
    q ^= q << 2;
    q ^= q << 4;
    q &= 255;
    if ((q & 0x80) != 0) q ^= 9;
    const x = (q ^ rot(q, 1) ^ rot(q, 2) ^ rot(q, 3) ^ rot(q, 4) ^ 0x63) & 255;
    store<u8>(BOX + p, <u8>x);
  } while (p != 1);
  store<u8>(BOX, 0x63);
  for (let i: u32 = 0; i < 256; i++) store<u8>(INVERSE_BOX + <usize>load<u8>(BOX + i), <u8>i);
}

// @ts-ignore: decorator
@inline
function rot(x: u32, n: u32): u32 {
  return ((x << n) | (x >> (8 - n))) & 255;
}

// @ts-ignore: decorator
@inline
function get(p: usize, e: u32): u32 {
  return <u32>load<u8>(p + el(e, 1));
}

const OUT: usize = 0xbb0;

/** vcipher, vcipherlast, vncipher, vncipherlast, vsbox. Byte element 4 c + r is row r of column c. */
export function h_vaes(a: u64, b: u64, imm: u32): u64 {
  if (!boxes) makeBoxes();
  const p = <usize>a;
  const out = env + OUT;
  if (imm == 4) {
    for (let i = p; i < p + 16; i++) store<u8>(i, load<u8>(BOX + <usize>load<u8>(i)));
    return 0;
  }
  const decrypt = imm >= 2;
  for (let e: u32 = 0; e < 16; e++) {
    // Row r moves r columns to the left (right when deciphering).
    const r = e & 3;
    const from = ((decrypt ? e - (r << 2) : e + (r << 2)) & 12) | r;
    store<u8>(out + e, load<u8>((decrypt ? INVERSE_BOX : BOX) + <usize>get(p, from)));
  }
  if (decrypt) for (let e: u32 = 0; e < 16; e++) store<u8>(out + e, load<u8>(out + e) ^ <u8>get(p + 16, e));
  for (let c: u32 = 0; c < 16; c += 4) {
    const x0 = <u32>load<u8>(out + c);
    const x1 = <u32>load<u8>(out + c + 1);
    const x2 = <u32>load<u8>(out + c + 2);
    const x3 = <u32>load<u8>(out + c + 3);
    if (imm == 0) {
      put(p, c, times(x0, 2) ^ times(x1, 3) ^ x2 ^ x3);
      put(p, c + 1, x0 ^ times(x1, 2) ^ times(x2, 3) ^ x3);
      put(p, c + 2, x0 ^ x1 ^ times(x2, 2) ^ times(x3, 3));
      put(p, c + 3, times(x0, 3) ^ x1 ^ x2 ^ times(x3, 2));
    } else if (imm == 2) {
      put(p, c, times(x0, 14) ^ times(x1, 11) ^ times(x2, 13) ^ times(x3, 9));
      put(p, c + 1, times(x0, 9) ^ times(x1, 14) ^ times(x2, 11) ^ times(x3, 13));
      put(p, c + 2, times(x0, 13) ^ times(x1, 9) ^ times(x2, 14) ^ times(x3, 11));
      put(p, c + 3, times(x0, 11) ^ times(x1, 13) ^ times(x2, 9) ^ times(x3, 14));
    } else {
      put(p, c, x0);
      put(p, c + 1, x1);
      put(p, c + 2, x2);
      put(p, c + 3, x3);
    }
  }
  if (!decrypt) v128.store(p, v128.xor(v128.load(p), v128.load(p, 16)));
  return 0;
}

// @ts-ignore: decorator
@inline
function put(p: usize, e: u32, v: u32): void {
  store<u8>(p + el(e, 1), <u8>v);
}

/** imm bits 0-3 SIX, bit 4 ST, bit 5 doublewords. */
export function h_vshasigma(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const st = (imm & 16) != 0;
  if ((imm & 32) == 0) {
    for (let e: u32 = 0; e < 4; e++) {
      const x = load<u32>(p + el(e, 4));
      const one = ((imm >> (3 - e)) & 1) != 0;
      let r: u32;
      if (!st) r = one ? rotr<u32>(x, 17) ^ rotr<u32>(x, 19) ^ (x >> 10) : rotr<u32>(x, 7) ^ rotr<u32>(x, 18) ^ (x >> 3);
      else r = one ? rotr<u32>(x, 6) ^ rotr<u32>(x, 11) ^ rotr<u32>(x, 25) : rotr<u32>(x, 2) ^ rotr<u32>(x, 13) ^ rotr<u32>(x, 22);
      store<u32>(p + el(e, 4), r);
    }
    return 0;
  }
  for (let e: u32 = 0; e < 2; e++) {
    const x = load<u64>(p + <usize>(e << 3));
    const one = ((imm >> (3 - 2 * e)) & 1) != 0;
    let r: u64;
    if (!st) r = one ? rotr<u64>(x, 19) ^ rotr<u64>(x, 61) ^ (x >> 6) : rotr<u64>(x, 1) ^ rotr<u64>(x, 8) ^ (x >> 7);
    else r = one ? rotr<u64>(x, 14) ^ rotr<u64>(x, 18) ^ rotr<u64>(x, 41) : rotr<u64>(x, 28) ^ rotr<u64>(x, 34) ^ rotr<u64>(x, 39);
    store<u64>(p + <usize>(e << 3), r);
  }
  return 0;
}

/** lxvl, lxvll: a = address, b = length in bits 0-7; imm: VSR | MMU index << 6 | little-endian << 8 | left-justified << 9. */
export function h_lxvl(a: u64, b: u64, imm: u32): u64 {
  const n = min(<u32>(b >> 56), 16);
  const out = env + OUT;
  v128.store(out, v128.splat<i64>(0));
  const reversed = (imm & 0x300) == 0x100;
  for (let i: u32 = 0; i < n; i++) store<u8>(out + el(reversed ? 15 - i : i, 1), <u8>slowLoad(a + i, 0, (imm >> 6) & 3));
  v128.store(env + VSR + <usize>((imm & 63) << 4), v128.load(out));
  return 0;
}

export function h_stxvl(a: u64, b: u64, imm: u32): u64 {
  const n = min(<u32>(b >> 56), 16);
  const from = env + VSR + <usize>((imm & 63) << 4);
  const reversed = (imm & 0x300) == 0x100;
  for (let i: u32 = 0; i < n; i++) slowStore(a + i, <u64>load<u8>(from + el(reversed ? 15 - i : i, 1)), 0, (imm >> 6) & 3);
  return 0;
}
