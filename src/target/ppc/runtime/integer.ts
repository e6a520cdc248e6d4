/** AssemblyScript. Fixed-point operations without a short IR form. Source: Power ISA 3.0B I 3.3. */
import { mulWide } from "../../../accel/tcg/runtime/softfloat-core";

function mulHighSigned(a: u64, b: u64): u64 {
  let h = mulWide(a, b);
  if (<i64>a < 0) h -= b;
  if (<i64>b < 0) h -= a;
  return h;
}

export function h_mulhd(a: u64, b: u64, imm: u32): u64 {
  return mulHighSigned(a, b);
}

export function h_mulhdu(a: u64, b: u64, imm: u32): u64 {
  return mulWide(a, b);
}

let ok: bool = false;

/** (a << 64) / d, bit by bit; ok = it fits. */
function divideExtended(a: u64, d: u64): u64 {
  ok = d != 0 && a < d;
  if (!ok) return 0;
  let rest = a;
  let q: u64 = 0;
  for (let i = 0; i < 64; i++) {
    const carry = rest >> 63;
    rest <<= 1;
    q <<= 1;
    if (carry != 0 || rest >= d) {
      rest -= d;
      q |= 1;
    }
  }
  return q;
}

/** divwe, divweu, divde, divdeu (imm 0-3); with bit 8 whether there is no quotient. */
export function h_dive(a: u64, b: u64, imm: u32): u64 {
  const kind = imm & 3;
  let q: u64 = 0;
  let good = true;
  if (kind < 2) {
    if (kind == 0) {
      const n = <i64>(<i64>(<i32>a) << 32);
      const d = <i64>(<i32>b);
      if (d == 0 || (d == -1 && n == i64.MIN_VALUE)) good = false;
      else {
        const v = n / d;
        good = v == <i64>(<i32>v);
        q = good ? <u64>v : 0;
      }
    } else {
      const n = a << 32;
      const d = b & 0xffffffff;
      if (d == 0) good = false;
      else {
        q = n / d;
        good = q >> 32 == 0;
        if (!good) q = 0;
      }
    }
  } else if (kind == 3) {
    q = divideExtended(a, b);
    good = ok;
  } else {
    const negative = <i64>a < 0 != <i64>b < 0;
    q = divideExtended(<i64>a < 0 ? 0 - a : a, <i64>b < 0 ? 0 - b : b);
    good = ok && (negative ? q <= 0x8000000000000000 : q < 0x8000000000000000);
    if (negative) q = 0 - q;
  }
  if ((imm & 0x100) != 0) return good ? 0 : 1;
  // Without a quotient the result is undefined.
  return q;
}

export function h_popcntb(a: u64, b: u64, imm: u32): u64 {
  let v = a - ((a >> 1) & 0x5555555555555555);
  v = (v & 0x3333333333333333) + ((v >> 2) & 0x3333333333333333);
  return (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0f;
}

export function h_popcntw(a: u64, b: u64, imm: u32): u64 {
  return (<u64>popcnt<u32>(<u32>(a >> 32)) << 32) | <u64>popcnt<u32>(<u32>a);
}

export function h_prtyw(a: u64, b: u64, imm: u32): u64 {
  const v = a & 0x0101010101010101;
  return ((popcnt(v >> 32) & 1) << 32) | (popcnt(v & 0xffffffff) & 1);
}

export function h_prtyd(a: u64, b: u64, imm: u32): u64 {
  return popcnt(a & 0x0101010101010101) & 1;
}

export function h_cmpb(a: u64, b: u64, imm: u32): u64 {
  let r: u64 = 0;
  for (let i: u64 = 0; i < 64; i += 8) if (((a ^ b) >> i & 255) == 0) r |= <u64>255 << i;
  return r;
}

export function h_bpermd(a: u64, b: u64, imm: u32): u64 {
  let r: u64 = 0;
  for (let i: u64 = 0; i < 8; i++) {
    const index = (a >> (i << 3)) & 255;
    if (index < 64 && ((b >> (63 - index)) & 1) != 0) r |= <u64>1 << i;
  }
  return r;
}

/** Whether the low byte of a lies in a range of b: [b2, b3], or with L also [b0, b1]; as a CR field. */
export function h_cmprb(a: u64, b: u64, imm: u32): u64 {
  const v = <u32>a & 255;
  const w = <u32>b;
  let within = v >= (w & 255) && v <= ((w >> 8) & 255);
  if (imm != 0) within = within || (v >= ((w >> 16) & 255) && v <= w >> 24);
  return within ? 4 : 0;
}

export function h_cmpeqb(a: u64, b: u64, imm: u32): u64 {
  for (let i: u64 = 0; i < 64; i += 8) if (((b >> i) & 255) == (a & 255)) return 4;
  return 0;
}

export function h_addg6s(a: u64, b: u64, imm: u32): u64 {
  // 6 in each nibble that a + b did not carry out of.
  const sum = a + b;
  const carry = (a & b) | ((a | b) & ~sum);
  const c = ~carry & 0x8888888888888888;
  return (c >> 1) | (c >> 2);
}

/** Declets to BCD and back (I appendix B), six digits a word. */
function decletToBcd(d: u32): u32 {
  const p = (d >> 7) & 7;
  const q = (d >> 4) & 7;
  const v = (d >> 3) & 1;
  const wx = (d >> 1) & 3;
  const y = d & 1;
  const low = d & 7;
  if (v == 0) return (p << 8) | (q << 4) | low;
  switch (wx) {
    case 0: return (p << 8) | (q << 4) | (8 | y);
    case 1: return (p << 8) | ((8 | (q & 1)) << 4) | ((q & 6) | y);
    case 2: return ((8 | (p & 1)) << 8) | (q << 4) | ((p & 6) | y);
  }
  switch ((q >> 1) & 3) {
    case 0: return ((8 | (p & 1)) << 8) | ((8 | (q & 1)) << 4) | ((p & 6) | y);
    case 1: return ((8 | (p & 1)) << 8) | (((p & 6) | (q & 1)) << 4) | (8 | y);
    case 2: return (p << 8) | ((8 | (q & 1)) << 4) | (8 | y);
  }
  return ((8 | (p & 1)) << 8) | ((8 | (q & 1)) << 4) | (8 | y);
}

function bcdToDeclet(v: u32): u32 {
  const x = (v >> 8) & 15;
  const y = (v >> 4) & 15;
  const z = v & 15;
  const large = (x & 8) >> 1 | (y & 8) >> 2 | z >> 3;
  const x0 = x & 1;
  const y0 = y & 1;
  const z0 = z & 1;
  switch (large) {
    case 0: return ((x & 7) << 7) | ((y & 7) << 4) | (z & 7);
    case 1: return ((x & 7) << 7) | ((y & 7) << 4) | 8 | z0;
    case 2: return ((x & 7) << 7) | ((z & 6) << 4) | (y0 << 4) | 10 | z0;
    case 3: return ((x & 7) << 7) | (4 << 4) | (y0 << 4) | 14 | z0;
    case 4: return ((z & 6) << 7) | (x0 << 7) | ((y & 7) << 4) | 12 | z0;
    case 5: return ((y & 6) << 7) | (x0 << 7) | (2 << 4) | (y0 << 4) | 14 | z0;
    case 6: return ((z & 6) << 7) | (x0 << 7) | (y0 << 4) | 14 | z0;
  }
  return (x0 << 7) | (6 << 4) | (y0 << 4) | 14 | z0;
}

export function h_cdtbcd(a: u64, b: u64, imm: u32): u64 {
  let r: u64 = 0;
  for (let w: u64 = 0; w < 64; w += 32) {
    const v = <u32>(a >> w);
    r |= (<u64>((decletToBcd((v >> 10) & 1023) << 12) | decletToBcd(v & 1023))) << w;
  }
  return r;
}

export function h_cbcdtd(a: u64, b: u64, imm: u32): u64 {
  let r: u64 = 0;
  for (let w: u64 = 0; w < 64; w += 32) {
    const v = <u32>(a >> w);
    r |= (<u64>((bcdToDeclet((v >> 12) & 0xfff) << 10) | bcdToDeclet(v & 0xfff))) << w;
  }
  return r;
}
