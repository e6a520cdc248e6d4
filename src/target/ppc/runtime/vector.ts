/**
 * AssemblyScript. Integer vector instructions without a counterpart in WebAssembly. Source: Power ISA 3.0B I 6. A helper gets
 * the addresses of copies of its operands (a, b, and c behind b) and leaves the result at a's. Operations that do not move
 * elements between places go by lanes; the others by `el`, an element's place by its big-endian number.
 */
import { SATURATED_NOW, VSCR } from "../layout";
import { mulWide, sfLow } from "../../../accel/tcg/runtime/softfloat-core";
import { env } from "./env";

/** Offset of element e of s bytes. */
// @ts-ignore: decorator
@inline
export function el(e: u32, s: u32): usize {
  const at = e * s;
  return <usize>((at & 8) + 8 - s - (at & 7));
}

let saturated: bool = false;

function beginSaturation(): void {
  saturated = false;
}

function endSaturation(): void {
  store<u64>(env + SATURATED_NOW, saturated ? 1 : 0);
  store<u64>(env + SATURATED_NOW, 0, 8);
}

// @ts-ignore: decorator
@inline
function clamp(v: i64, least: i64, most: i64): i64 {
  if (v < least) {
    saturated = true;
    return least;
  }
  if (v > most) {
    saturated = true;
    return most;
  }
  return v;
}

export function h_write_vscr(a: u64, b: u64, imm: u32): u64 {
  store<u32>(env + VSCR, <u32>a & 0x10000);
  return 0;
}

/** vaddcuw, vsubcuw. */
export function h_vcarry(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  for (let i = p; i < p + 16; i += 4) {
    const x = load<u32>(i);
    const y = load<u32>(i, 16);
    store<u32>(i, imm == 0 ? <u32>(x + y < x) : <u32>(x >= y));
  }
  return 0;
}

let qHigh: u64 = 0;
let qLow: u64 = 0;
let qCarry: u64 = 0;

function add128(aHigh: u64, aLow: u64, bHigh: u64, bLow: u64, carry: u64): void {
  const l = aLow + bLow;
  const low = l + carry;
  const c = u64(l < aLow) | u64(low < l);
  const h = aHigh + bHigh;
  const high = h + c;
  qCarry = u64(h < aHigh) | u64(high < h);
  qHigh = high;
  qLow = low;
}

// @ts-ignore: decorator
@inline
function putQuad(p: usize, carryOnly: bool): void {
  store<u64>(p, carryOnly ? 0 : qHigh);
  store<u64>(p, carryOnly ? qCarry : qLow, 8);
}

/** vadduqm, vaddcuq, vsubuqm, vsubcuq. */
export function h_vquad(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const flip: u64 = (imm & 2) != 0 ? <u64>-1 : 0;
  add128(load<u64>(p), load<u64>(p, 8), load<u64>(p, 16) ^ flip, load<u64>(p, 24) ^ flip, flip & 1);
  putQuad(p, (imm & 1) != 0);
  return 0;
}

/** vaddeuqm, vaddecuq, vsubeuqm, vsubecuq: carry in c's last bit. */
export function h_vquad3(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const flip: u64 = (imm & 2) != 0 ? <u64>-1 : 0;
  add128(load<u64>(p), load<u64>(p, 8), load<u64>(p, 16) ^ flip, load<u64>(p, 24) ^ flip, load<u64>(p, 40) & 1);
  putQuad(p, (imm & 1) != 0);
  return 0;
}

/** imm: 2 unsigned words; 4, 5, 6 signed bytes, halfwords, words. */
export function h_vavg(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  switch (imm) {
    case 2:
      for (let i = p; i < p + 16; i += 4) store<u32>(i, <u32>((<u64>load<u32>(i) + <u64>load<u32>(i, 16) + 1) >> 1));
      break;
    case 4:
      for (let i = p; i < p + 16; i++) store<i8>(i, <i8>((<i32>load<i8>(i) + <i32>load<i8>(i, 16) + 1) >> 1));
      break;
    case 5:
      for (let i = p; i < p + 16; i += 2) store<i16>(i, <i16>((<i32>load<i16>(i) + <i32>load<i16>(i, 16) + 1) >> 1));
      break;
    default:
      for (let i = p; i < p + 16; i += 4) store<i32>(i, <i32>((<i64>load<i32>(i) + <i64>load<i32>(i, 16) + 1) >> 1));
  }
  return 0;
}

/** imm bits 0-1 size, bits 2-3: rotate, shift left, right, right algebraic. */
export function h_vshift(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const kind = imm >> 2;
  switch (imm & 3) {
    case 0:
      for (let i = p; i < p + 16; i++) {
        const x = <u32>load<u8>(i);
        const n = <u32>load<u8>(i, 16) & 7;
        store<u8>(i, <u8>(kind == 0 ? (x << n) | (x >> (8 - n)) : kind == 1 ? x << n : kind == 2 ? x >> n : <u32>(<i32>(<i8>x) >> n)));
      }
      break;
    case 1:
      for (let i = p; i < p + 16; i += 2) {
        const x = <u32>load<u16>(i);
        const n = <u32>load<u16>(i, 16) & 15;
        store<u16>(i, <u16>(kind == 0 ? (x << n) | (x >> (16 - n)) : kind == 1 ? x << n : kind == 2 ? x >> n : <u32>(<i32>(<i16>x) >> n)));
      }
      break;
    case 2:
      for (let i = p; i < p + 16; i += 4) {
        const x = load<u32>(i);
        const n = load<u32>(i, 16) & 31;
        store<u32>(i, kind == 0 ? rotl<u32>(x, n) : kind == 1 ? x << n : kind == 2 ? x >> n : <u32>(<i32>x >> n));
      }
      break;
    default:
      for (let i = p; i < p + 16; i += 8) {
        const x = load<u64>(i);
        const n = load<u64>(i, 16) & 63;
        store<u64>(i, kind == 0 ? rotl<u64>(x, n) : kind == 1 ? x << n : kind == 2 ? x >> n : <u64>(<i64>x >> n));
      }
  }
  return 0;
}

function shiftQuad(p: usize, bits: u32, left: bool): void {
  let high = load<u64>(p);
  let low = load<u64>(p, 8);
  if (bits >= 64) {
    if (left) {
      high = low;
      low = 0;
    } else {
      low = high;
      high = 0;
    }
    bits -= 64;
  }
  if (bits != 0) {
    if (left) {
      high = (high << bits) | (low >> (64 - bits));
      low <<= bits;
    } else {
      low = (low >> bits) | (high << (64 - bits));
      high >>= bits;
    }
  }
  store<u64>(p, high);
  store<u64>(p, low, 8);
}

/** vsl, vsr, vslo, vsro, vslv, vsrv. */
export function h_vshiftall(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  if (imm < 4) {
    const last = <u32>load<u64>(p, 24);
    shiftQuad(p, imm < 2 ? last & 7 : last & 0x78, (imm & 1) == 0);
    return 0;
  }
  // Each byte is shifted with its neighbour.
  let before: u32 = 0;
  if (imm == 4) {
    for (let e: i32 = 15; e >= 0; e--) {
      const x = <u32>load<u8>(p + el(e, 1));
      const n = <u32>load<u8>(p + 16 + el(e, 1)) & 7;
      store<u8>(p + el(e, 1), <u8>(((x << 8) | before) >> (8 - n)));
      before = x;
    }
  } else {
    for (let e: u32 = 0; e < 16; e++) {
      const x = <u32>load<u8>(p + el(e, 1));
      const n = <u32>load<u8>(p + 16 + el(e, 1)) & 7;
      store<u8>(p + el(e, 1), <u8>(((before << 8) | x) >> n));
      before = x;
    }
  }
  return 0;
}

/** imm bits 0-1 size, bit 2 signed, bit 3 even elements. */
export function h_vmul(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const signed = (imm & 4) != 0;
  // Even elements are the upper parts of the double-width lanes.
  const size: u32 = 1 << (imm & 3);
  const part: usize = (imm & 8) != 0 ? <usize>size : 0;
  for (let i = p; i < p + 16; i += size * 2) {
    const q = i + part;
    switch (size) {
      case 1:
        store<u16>(i, signed ? <u16>(<i32>load<i8>(q) * <i32>load<i8>(q, 16)) : <u16>(<u32>load<u8>(q) * <u32>load<u8>(q, 16)));
        break;
      case 2:
        store<u32>(i, signed ? <u32>(<i32>load<i16>(q) * <i32>load<i16>(q, 16)) : <u32>load<u16>(q) * <u32>load<u16>(q, 16));
        break;
      default:
        store<u64>(i, signed ? <u64>(<i64>load<i32>(q) * <i64>load<i32>(q, 16)) : <u64>load<u32>(q) * <u64>load<u32>(q, 16));
    }
  }
  return 0;
}

let cHigh: u64 = 0;
let cLow: u64 = 0;
/** Carry-less product. */
function carryless(x: u64, y: u64): void {
  cHigh = 0;
  cLow = 0;
  for (let i: u64 = 0; i < 64 && y >> i != 0; i++) {
    if (((y >> i) & 1) == 0) continue;
    cLow ^= x << i;
    if (i != 0) cHigh ^= x >> (64 - i);
  }
}

export function h_vpmsum(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  switch (imm) {
    case 0:
      for (let i = p; i < p + 16; i += 2) {
        carryless(load<u8>(i), load<u8>(i, 16));
        const x = cLow;
        carryless(load<u8>(i, 1), load<u8>(i, 17));
        store<u16>(i, <u16>(x ^ cLow));
      }
      break;
    case 1:
      for (let i = p; i < p + 16; i += 4) {
        carryless(load<u16>(i), load<u16>(i, 16));
        const x = cLow;
        carryless(load<u16>(i, 2), load<u16>(i, 18));
        store<u32>(i, <u32>(x ^ cLow));
      }
      break;
    case 2:
      for (let i = p; i < p + 16; i += 8) {
        carryless(load<u32>(i), load<u32>(i, 16));
        const x = cLow;
        carryless(load<u32>(i, 4), load<u32>(i, 20));
        store<u64>(i, x ^ cLow);
      }
      break;
    default: {
      carryless(load<u64>(p), load<u64>(p, 16));
      const h = cHigh;
      const l = cLow;
      carryless(load<u64>(p, 8), load<u64>(p, 24));
      store<u64>(p, h ^ cHigh);
      store<u64>(p, l ^ cLow, 8);
    }
  }
  return 0;
}

function pixel(w: u32): u16 {
  return <u16>(((w >> 9) & 0x8000) | ((w >> 9) & 0x7c00) | ((w >> 6) & 0x3e0) | ((w >> 3) & 0x1f));
}

export function h_vpkpx(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const out = env + SCRATCH_OUT;
  for (let e: u32 = 0; e < 4; e++) {
    store<u16>(out + el(e, 2), pixel(load<u32>(p + el(e, 4))));
    store<u16>(out + el(e + 4, 2), pixel(load<u32>(p + 16 + el(e, 4))));
  }
  v128.store(p, v128.load(out));
  return 0;
}
/** Behind the three operands in the state's scratch. */
const SCRATCH_OUT: usize = 0xbb0;

export function h_vupkpx(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const out = env + SCRATCH_OUT;
  for (let e: u32 = 0; e < 4; e++) {
    const h = <u32>load<u16>(p + 16 + el(e + (imm << 2), 2));
    const top: u32 = (h & 0x8000) != 0 ? 0xff000000 : 0;
    store<u32>(out + el(e, 4), top | ((h & 0x7c00) << 6) | ((h & 0x3e0) << 3) | (h & 0x1f));
  }
  v128.store(p, v128.load(out));
  return 0;
}

export function h_vbpermq(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  let r: u64 = 0;
  for (let e: u32 = 0; e < 16; e++) {
    const index = <u32>load<u8>(p + 16 + el(e, 1));
    if (index >= 128) continue;
    const bit = (load<u64>(p + <usize>(index >> 3 & 8)) >> (63 - (index & 63))) & 1;
    r |= bit << (15 - e);
  }
  store<u64>(p, r);
  store<u64>(p, 0, 8);
  return 0;
}

export function h_vbpermd(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  for (let d: usize = 0; d < 16; d += 8) {
    const word = load<u64>(p + d);
    let r: u64 = 0;
    for (let e: u64 = 0; e < 8; e++) {
      const index = (load<u64>(p + 16 + d) >> (56 - e * 8)) & 255;
      if (index < 64) r |= ((word >> (63 - index)) & 1) << (7 - e);
    }
    store<u64>(p + d, r);
  }
  return 0;
}

export function h_vabsd(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  switch (imm) {
    case 0:
      for (let i = p; i < p + 16; i++) {
        const x = load<u8>(i);
        const y = load<u8>(i, 16);
        store<u8>(i, x > y ? x - y : y - x);
      }
      break;
    case 1:
      for (let i = p; i < p + 16; i += 2) {
        const x = load<u16>(i);
        const y = load<u16>(i, 16);
        store<u16>(i, x > y ? x - y : y - x);
      }
      break;
    default:
      for (let i = p; i < p + 16; i += 4) {
        const x = load<u32>(i);
        const y = load<u32>(i, 16);
        store<u32>(i, x > y ? x - y : y - x);
      }
  }
  return 0;
}

function mask32(mb: u32, me: u32): u32 {
  const from: u32 = 0xffffffff >> mb;
  const to: u32 = 0xffffffff << (31 - me);
  return mb <= me ? from & to : from | to;
}

function mask64(mb: u64, me: u64): u64 {
  const from = <u64>-1 >> mb;
  const to = <u64>-1 << (63 - me);
  return mb <= me ? from & to : from | to;
}

/** vrlwnm, vrldnm. */
export function h_vrlm(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  if (imm == 0)
    for (let i = p; i < p + 16; i += 4) {
      const c = load<u32>(i, 16);
      store<u32>(i, rotl<u32>(load<u32>(i), c & 31) & mask32((c >> 16) & 31, (c >> 8) & 31));
    }
  else
    for (let i = p; i < p + 16; i += 8) {
      const c = load<u64>(i, 16);
      store<u64>(i, rotl<u64>(load<u64>(i), c & 63) & mask64((c >> 16) & 63, (c >> 8) & 63));
    }
  return 0;
}

/** vrlwmi, vrldmi: c is the target. */
export function h_vrlmi(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  if (imm == 0)
    for (let i = p; i < p + 16; i += 4) {
      const c = load<u32>(i, 16);
      const m = mask32((c >> 16) & 31, (c >> 8) & 31);
      store<u32>(i, (rotl<u32>(load<u32>(i), c & 31) & m) | (load<u32>(i, 32) & ~m));
    }
  else
    for (let i = p; i < p + 16; i += 8) {
      const c = load<u64>(i, 16);
      const m = mask64((c >> 16) & 63, (c >> 8) & 63);
      store<u64>(i, (rotl<u64>(load<u64>(i), c & 63) & m) | (load<u64>(i, 32) & ~m));
    }
  return 0;
}

/** vmul10uq, vmul10cuq; with bit 1 a digit from b is added. */
export function h_vmul10(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const digit = (imm & 2) != 0 ? load<u64>(p, 24) & 15 : 0;
  const top = mulWide(load<u64>(p, 8), 10);
  let low = sfLow + digit;
  const carry = top + u64(low < digit);
  const over = mulWide(load<u64>(p), 10);
  const high = sfLow + carry;
  const c = over + u64(high < carry);
  const carryOut = (imm & 1) != 0;
  store<u64>(p, carryOut ? 0 : high);
  store<u64>(p, carryOut ? c : low, 8);
  return 0;
}

/** vadduws, vaddsws, vsubuws, vsubsws. */
export function h_vsatw(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  beginSaturation();
  for (let i = p; i < p + 16; i += 4) {
    if ((imm & 1) == 0) {
      const x = <i64>load<u32>(i);
      const y = <i64>load<u32>(i, 16);
      store<u32>(i, <u32>clamp(imm == 0 ? x + y : x - y, 0, 0xffffffff));
    } else {
      const x = <i64>load<i32>(i);
      const y = <i64>load<i32>(i, 16);
      store<u32>(i, <u32>clamp(imm == 1 ? x + y : x - y, -0x80000000, 0x7fffffff));
    }
  }
  endSaturation();
  return 0;
}

/** imm bits 0-1: from halfwords, words, doublewords; 0 unsigned to unsigned, 4 signed to unsigned, 8 signed to signed. */
export function h_vpack(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const out = env + SCRATCH_OUT;
  beginSaturation();
  const size: u32 = 2 << (imm & 3);
  const n: u32 = 16 / size;
  const kind = imm >> 2;
  const bits = size * 4;
  const most: i64 = kind == 2 ? (<i64>1 << (bits - 1)) - 1 : (<i64>1 << bits) - 1;
  const least: i64 = kind == 2 ? -(<i64>1 << (bits - 1)) : 0;
  for (let e: u32 = 0; e < n * 2; e++) {
    const q = p + (e >= n ? 16 : 0) + el(e >= n ? e - n : e, size);
    let v: i64;
    if (size == 2) v = kind == 0 ? <i64>load<u16>(q) : <i64>load<i16>(q);
    else if (size == 4) v = kind == 0 ? <i64>load<u32>(q) : <i64>load<i32>(q);
    else {
      v = load<i64>(q);
      if (kind == 0 && v < 0) {
        saturated = true;
        v = most;
      }
    }
    v = clamp(v, least, most);
    const o = out + el(e, size / 2);
    if (size == 2) store<u8>(o, <u8>v);
    else if (size == 4) store<u16>(o, <u16>v);
    else store<u32>(o, <u32>v);
  }
  v128.store(p, v128.load(out));
  endSaturation();
  return 0;
}

/** vsum4ubs, vsum4sbs, vsum4shs, vsum2sws, vsumsws. */
export function h_vsum(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  beginSaturation();
  switch (imm) {
    case 0:
      for (let i = p; i < p + 16; i += 4) {
        let s = <i64>load<u32>(i, 16);
        for (let k: usize = 0; k < 4; k++) s += <i64>load<u8>(i + k);
        store<u32>(i, <u32>clamp(s, 0, 0xffffffff));
      }
      break;
    case 1:
      for (let i = p; i < p + 16; i += 4) {
        let s = <i64>load<i32>(i, 16);
        for (let k: usize = 0; k < 4; k++) s += <i64>load<i8>(i + k);
        store<u32>(i, <u32>clamp(s, -0x80000000, 0x7fffffff));
      }
      break;
    case 2:
      for (let i = p; i < p + 16; i += 4)
        store<u32>(i, <u32>clamp(<i64>load<i32>(i, 16) + <i64>load<i16>(i) + <i64>load<i16>(i, 2), -0x80000000, 0x7fffffff));
      break;
    case 3:
      for (let i = p; i < p + 16; i += 8)
        store<u64>(i, <u64>(<u32>clamp(<i64>load<i32>(i, 16) + <i64>load<i32>(i) + <i64>load<i32>(i, 4), -0x80000000, 0x7fffffff)));
      break;
    default: {
      const s = <i64>load<i32>(p + 24) + <i64>load<i32>(p) + <i64>load<i32>(p, 4) + <i64>load<i32>(p, 8) + <i64>load<i32>(p, 12);
      store<u64>(p, 0);
      store<u64>(p, <u64>(<u32>clamp(s, -0x80000000, 0x7fffffff)), 8);
    }
  }
  endSaturation();
  return 0;
}

/** vmhaddshs, vmhraddshs. */
export function h_vmhadd(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  beginSaturation();
  for (let i = p; i < p + 16; i += 2) {
    const product = <i32>load<i16>(i) * <i32>load<i16>(i, 16) + (imm != 0 ? 0x4000 : 0);
    store<i16>(i, <i16>clamp(<i64>(product >> 15) + <i64>load<i16>(i, 32), -0x8000, 0x7fff));
  }
  endSaturation();
  return 0;
}

export function h_vmsum(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  beginSaturation();
  if (imm == 6) {
    let high = load<u64>(p, 32);
    let low = load<u64>(p, 40);
    for (let d: usize = 0; d < 16; d += 8) {
      const h = mulWide(load<u64>(p + d), load<u64>(p + d, 16));
      const l = sfLow;
      low += l;
      high += h + u64(low < l);
    }
    store<u64>(p, high);
    store<u64>(p, low, 8);
  } else
    for (let i = p; i < p + 16; i += 4) {
      if (imm == 0) {
        let s = load<u32>(i, 32);
        for (let k: usize = 0; k < 4; k++) s += <u32>load<u8>(i + k) * <u32>load<u8>(i + k, 16);
        store<u32>(i, s);
      } else if (imm == 1) {
        let s = load<i32>(i, 32);
        for (let k: usize = 0; k < 4; k++) s += <i32>load<i8>(i + k) * <i32>load<u8>(i + k, 16);
        store<i32>(i, s);
      } else if (imm == 2 || imm == 3) {
        const s = <u64>load<u32>(i, 32) + <u64>(<u32>load<u16>(i) * <u32>load<u16>(i, 16)) + <u64>(<u32>load<u16>(i, 2) * <u32>load<u16>(i, 18));
        store<u32>(i, imm == 2 ? <u32>s : <u32>clamp(<i64>s, 0, 0xffffffff));
      } else {
        const s = <i64>load<i32>(i, 32) + <i64>load<i16>(i) * <i64>load<i16>(i, 16) + <i64>load<i16>(i, 2) * <i64>load<i16>(i, 18);
        store<u32>(i, imm == 4 ? <u32>s : <u32>clamp(s, -0x80000000, 0x7fffffff));
      }
    }
  endSaturation();
  return 0;
}

export function h_vpermxor(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const out = env + SCRATCH_OUT;
  for (let e: u32 = 0; e < 16; e++) {
    const c = <u32>load<u8>(p + 32 + el(e, 1));
    store<u8>(out + el(e, 1), load<u8>(p + el(c >> 4, 1)) ^ load<u8>(p + 16 + el(c & 15, 1)));
  }
  v128.store(p, v128.load(out));
  return 0;
}

/** imm bits 0-1 size; bits 2-3: leading zeros, ones, trailing zeros. */
export function h_vcount(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const kind = imm >> 2;
  switch (imm & 3) {
    case 0:
      for (let i = p; i < p + 16; i++) {
        const x = <u32>load<u8>(i, 16);
        store<u8>(i, <u8>(kind == 0 ? clz<u32>(x) - 24 : kind == 1 ? popcnt<u32>(x) : ctz<u32>(x | 0x100)));
      }
      break;
    case 1:
      for (let i = p; i < p + 16; i += 2) {
        const x = <u32>load<u16>(i, 16);
        store<u16>(i, <u16>(kind == 0 ? clz<u32>(x) - 16 : kind == 1 ? popcnt<u32>(x) : ctz<u32>(x | 0x10000)));
      }
      break;
    case 2:
      for (let i = p; i < p + 16; i += 4) {
        const x = load<u32>(i, 16);
        store<u32>(i, kind == 0 ? clz<u32>(x) : kind == 1 ? popcnt<u32>(x) : ctz<u32>(x));
      }
      break;
    default:
      for (let i = p; i < p + 16; i += 8) {
        const x = load<u64>(i, 16);
        store<u64>(i, kind == 0 ? clz<u64>(x) : kind == 1 ? popcnt<u64>(x) : ctz<u64>(x));
      }
  }
  return 0;
}

/** vgbbd: an 8 x 8 bit matrix is transposed. */
export function h_vgbbd(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  for (let d: usize = 0; d < 16; d += 8) {
    const x = load<u64>(p + d, 16);
    let r: u64 = 0;
    for (let row: u64 = 0; row < 8; row++) for (let column: u64 = 0; column < 8; column++) r |= ((x >> (row * 8 + column)) & 1) << (column * 8 + row);
    store<u64>(p + d, r);
  }
  return 0;
}

export function h_vneg(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  if (imm == 2) for (let i = p; i < p + 16; i += 4) store<u32>(i, 0 - load<u32>(i, 16));
  else for (let i = p; i < p + 16; i += 8) store<u64>(i, 0 - load<u64>(i, 16));
  return 0;
}

/** Parity of the bytes' low bits: words, doublewords, the quadword. */
export function h_vparity(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const low: u64 = 0x0101010101010101;
  if (imm == 2) for (let i = p; i < p + 16; i += 4) store<u32>(i, popcnt<u32>(load<u32>(i, 16) & <u32>low) & 1);
  else if (imm == 3) for (let i = p; i < p + 16; i += 8) store<u64>(i, popcnt<u64>(load<u64>(i, 16) & low) & 1);
  else {
    const n = popcnt<u64>(load<u64>(p, 16) & low) + popcnt<u64>(load<u64>(p, 24) & low);
    store<u64>(p, 0);
    store<u64>(p, n & 1, 8);
  }
  return 0;
}

/** vextsb2w, vextsh2w, vextsb2d, vextsh2d, vextsw2d. */
export function h_vexts(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  switch (imm) {
    case 0:
      for (let i = p; i < p + 16; i += 4) store<i32>(i, <i32>load<i8>(i, 16));
      break;
    case 1:
      for (let i = p; i < p + 16; i += 4) store<i32>(i, <i32>load<i16>(i, 16));
      break;
    case 2:
      for (let i = p; i < p + 16; i += 8) store<i64>(i, <i64>load<i8>(i, 16));
      break;
    case 3:
      for (let i = p; i < p + 16; i += 8) store<i64>(i, <i64>load<i16>(i, 16));
      break;
    default:
      for (let i = p; i < p + 16; i += 8) store<i64>(i, <i64>load<i32>(i, 16));
  }
  return 0;
}

/** vclzlsbb, vctzlsbb: bytes before one whose low bit is set; a, b = doublewords. */
export function h_vlsbb(a: u64, b: u64, imm: u32): u64 {
  const low: u64 = 0x0101010101010101;
  const x = a & low;
  const y = b & low;
  if (imm == 0) return x != 0 ? clz(x) >> 3 : 8 + (y != 0 ? clz(y) >> 3 : 8);
  return y != 0 ? ctz(y) >> 3 : 8 + (x != 0 ? ctz(x) >> 3 : 8);
}

/** imm: byte index | bytes << 4. The element goes to doubleword 0's low end. */
export function h_vextract(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const size = imm >> 4;
  let v: u64 = 0;
  for (let k: u32 = 0; k < size; k++) v = (v << 8) | <u64>load<u8>(p + 16 + el(((imm & 15) + k) & 15, 1));
  store<u64>(p, v);
  store<u64>(p, 0, 8);
  return 0;
}

/** The element at doubleword 0's low end of b goes to byte index. */
export function h_vinsert(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const size = imm >> 4;
  const v = load<u64>(p, 16);
  for (let k: u32 = 0; k < size; k++) {
    const e = (imm & 15) + k;
    if (e < 16) store<u8>(p + el(e, 1), <u8>(v >> ((size - 1 - k) << 3)));
  }
  return 0;
}

export function h_xxextractuw(a: u64, b: u64, imm: u32): u64 {
  return h_vextract(a, b, imm | 0x40);
}

/** The word is element 1 of b. */
export function h_xxinsertw(a: u64, b: u64, imm: u32): u64 {
  return h_vinsert(a, b, imm | 0x40);
}
