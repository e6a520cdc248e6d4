/**
 * AssemblyScript. The vector facility's floating point: round to nearest, no exceptions; VSCR.NJ makes denormal operands and
 * results zeros. And what VSX has of parts of floating-point numbers. Source: Power ISA 3.0B I 6.10, 7.6.
 */
import { SATURATED_NOW, VSCR } from "../layout";
import { ROUND_DOWN, ROUND_NEAREST, ROUND_UP, ROUND_ZERO, sfBegin } from "../../../accel/tcg/runtime/softfloat-core";
import { compareBits, F32, F64, isNan, quiet, roundPack } from "../../../accel/tcg/runtime/softfloat-binary";
import { roundIntegral } from "../../../accel/tcg/runtime/softfloat-convert";
import { env } from "./env";
import { FPCC, fpscr, setFpscrLow } from "./fpscr";
import { ADD, arith, MADD, NMSUB, RECIPROCAL, RSQRT, SUB } from "./fp-arith";

// @ts-ignore: decorator
@inline
function flush(x: u32, nj: bool): u32 {
  return nj && (x & 0x7f800000) == 0 ? x & 0x80000000 : x;
}

// @ts-ignore: decorator
@inline
function nonJava(): bool {
  return load<u32>(env + VSCR) != 0;
}

function begin(): void {
  sfBegin(ROUND_NEAREST, 0x3f);
}

/** vaddfp, vsubfp, vmaxfp, vminfp. */
export function h_vfpa(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const nj = nonJava();
  begin();
  for (let i = p; i < p + 16; i += 4) {
    const x = flush(load<u32>(i), nj);
    const y = flush(load<u32>(i, 16), nj);
    let r: u32;
    if (imm < 2) r = flush(<u32>arith(imm == 0 ? ADD : SUB, x, y, 0, F32, F32), nj);
    else if (isNan(x, F32)) r = <u32>quiet(x, F32);
    else if (isNan(y, F32)) r = <u32>quiet(y, F32);
    else {
      const o = compareBits(x, y, F32);
      // +0 is greater than -0.
      const less = o == 0 ? (x & 0x80000000) != 0 : o == -1;
      r = less == (imm == 3) ? x : y;
    }
    store<u32>(i, r);
  }
  return 0;
}

/** vmaddfp: a * c + b; vnmsubfp: -(a * c - b). */
export function h_vmaddfp(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const nj = nonJava();
  begin();
  for (let i = p; i < p + 16; i += 4) {
    const r = arith(imm == 0 ? MADD : NMSUB, flush(load<u32>(i), nj), flush(load<u32>(i, 16), nj), flush(load<u32>(i, 32), nj), F32, F32);
    store<u32>(i, flush(<u32>r, nj));
  }
  return 0;
}

/** vrefp, vrsqrtefp, vexptefp, vlogefp, vrfin, vrfiz, vrfip, vrfim. */
export function h_vfp1(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const nj = nonJava();
  for (let i = p; i < p + 16; i += 4) {
    const x = flush(load<u32>(i, 16), nj);
    begin();
    let r: u32 = 0;
    switch (imm) {
      case 0: r = <u32>arith(RECIPROCAL, 0, x, 0, F32, F32); break;
      case 1: r = <u32>arith(RSQRT, 0, x, 0, F32, F32); break;
      case 2: r = estimate(x, true); break;
      case 3: r = estimate(x, false); break;
      default:
        sfBegin(imm == 4 ? ROUND_NEAREST : imm == 5 ? ROUND_ZERO : imm == 6 ? ROUND_UP : ROUND_DOWN, 0x3f);
        r = isNan(x, F32) ? <u32>quiet(x, F32) : <u32>roundIntegral(x, F32);
    }
    store<u32>(i, flush(r, nj));
  }
  return 0;
}

/** 2 to the power of x, or the logarithm of x to base 2: estimates, here as good as a double's. */
function estimate(x: u32, power: bool): u32 {
  if (isNan(x, F32)) return <u32>quiet(x, F32);
  const v = <f64>reinterpret<f32>(x);
  if (!power && v < 0) return 0x7fc00000;
  return reinterpret<u32>(<f32>(power ? Math.pow(2, v) : Math.log2(v)));
}

/** Kinds: equal, greater or equal, greater; 3 = bounds. */
export function h_vcmpfp(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  begin();
  for (let i = p; i < p + 16; i += 4) {
    const x = <u64>load<u32>(i);
    const y = <u64>load<u32>(i, 16);
    const o = compareBits(x, y, F32);
    if (imm == 3) {
      const le = o == -1 || o == 0;
      const n = compareBits(x, y ^ 0x80000000, F32);
      const ge = n == 1 || n == 0;
      store<u32>(i, (le ? 0 : 0x80000000) | (ge ? 0 : 0x40000000));
    } else store<i32>(i, (imm == 0 ? o == 0 : imm == 1 ? o == 0 || o == 1 : o == 1) ? -1 : 0);
  }
  return 0;
}

/** vcfux, vcfsx, vctuxs, vctsxs (imm bits 0-1); bits 4-8 the scale's exponent. */
export function h_vcf(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  const uim = <i32>(imm >> 4);
  let saturated = false;
  begin();
  for (let i = p; i < p + 16; i += 4) {
    const x = load<u32>(i, 16);
    if ((imm & 3) < 2) {
      const v = (imm & 1) != 0 ? <i64>(<i32>x) : <i64>x;
      if (v == 0) store<u32>(i, 0);
      else {
        const sign = u32(v < 0);
        const m = <u64>(v < 0 ? -v : v);
        const n = clz(m);
        store<u32>(i, <u32>roundPack(sign, i32(63 - n) - uim, m << n, 0, F32));
      }
      continue;
    }
    const signed = (imm & 1) != 0;
    let r: u32 = 0;
    // A NaN becomes 0 and does not count as saturated.
    if (!isNan(x, F32)) {
      const v = Math.trunc(<f64>reinterpret<f32>(x) * reinterpret<f64>(<u64>(1023 + uim) << 52));
      const most: f64 = signed ? 2147483647 : 4294967295;
      const least: f64 = signed ? -2147483648 : 0;
      if (v > most) {
        saturated = true;
        r = signed ? 0x7fffffff : 0xffffffff;
      } else if (v < least) {
        saturated = true;
        r = signed ? 0x80000000 : 0;
      } else r = signed ? <u32>(<i32>v) : <u32>v;
    }
    store<u32>(i, r);
  }
  store<u64>(env + SATURATED_NOW, saturated ? 1 : 0);
  store<u64>(env + SATURATED_NOW, 0, 8);
  return 0;
}

// --- parts of numbers ---
export function h_xsxsigdp(a: u64, b: u64, imm: u32): u64 {
  const e = (a >> 52) & 0x7ff;
  return (a & 0xfffffffffffff) | (e != 0 && e != 0x7ff ? 0x10000000000000 : 0);
}

/** xvxexpdp (0), xvxsigdp (1), xvxexpsp (8), xvxsigsp (9). */
export function h_vfparts(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  if (imm < 8) for (let i = p; i < p + 16; i += 8) store<u64>(i, imm == 0 ? (load<u64>(i, 16) >> 52) & 0x7ff : h_xsxsigdp(load<u64>(i, 16), 0, 0));
  else
    for (let i = p; i < p + 16; i += 4) {
      const x = load<u32>(i, 16);
      const e = (x >> 23) & 255;
      store<u32>(i, imm == 8 ? e : (x & 0x7fffff) | (e != 0 && e != 255 ? 0x800000 : 0));
    }
  return 0;
}

/** xviexpdp (0), xviexpsp (1): a's sign and fraction, b's exponent. */
export function h_vfinsert(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  if (imm == 0) for (let i = p; i < p + 16; i += 8) store<u64>(i, (load<u64>(i) & 0x800fffffffffffff) | ((load<u64>(i, 16) & 0x7ff) << 52));
  else for (let i = p; i < p + 16; i += 4) store<u32>(i, (load<u32>(i) & 0x807fffff) | ((load<u32>(i, 16) & 255) << 23));
  return 0;
}

/** Whether a number is of a class that DCMX names: NaN, +inf, -inf, +0, -0, +denormal, -denormal (bits 6-0). */
function inClass(x: u64, f: u32, dcmx: u32): bool {
  const top: u64 = f == F64 ? 0x8000000000000000 : 0x80000000;
  const negative = (x & top) != 0;
  const m = x & (top - 1);
  const infinite: u64 = f == F64 ? 0x7ff0000000000000 : 0x7f800000;
  if (m > infinite) return (dcmx & 64) != 0;
  if (m == infinite) return (dcmx & (negative ? 16 : 32)) != 0;
  if (m == 0) return (dcmx & (negative ? 4 : 8)) != 0;
  if (m < <u64>1 << f) return (dcmx & (negative ? 1 : 2)) != 0;
  return false;
}

/** xststdcdp; imm bit 7: xststdcsp, where a number no single has is marked SO. */
export function h_tstdc(a: u64, b: u64, imm: u32): u64 {
  const single = (imm & 0x80) != 0;
  let r: u64 = <i64>a < 0 ? 8 : 0;
  if (!single) return toFpcc(r | (inClass(a, F64, imm & 127) ? 2 : 0));
  const e = (a >> 52) & 0x7ff;
  const m = a & 0x7fffffffffffffff;
  // Denormal as a single, or not a single at all.
  let match = inClass(a, F64, imm & 124);
  if (e != 0 && e < 0x381) match = (imm & (<i64>a < 0 ? 1 : 2)) != 0;
  else if (e == 0 && m != 0) match = (imm & (<i64>a < 0 ? 1 : 2)) != 0;
  const s = reinterpret<f64>(a);
  const isNumber = m < 0x7ff0000000000000;
  const exact = isNumber ? <f64>(<f32>s) == s : m == 0x7ff0000000000000;
  if (match) r |= 2;
  if (!exact) r |= 1;
  return toFpcc(r);
}

function toFpcc(r: u64): u64 {
  setFpscrLow((fpscr() & ~FPCC) | (<u32>r << 12));
  return r;
}

export function h_vtstdc(a: u64, b: u64, imm: u32): u64 {
  const p = <usize>a;
  if ((imm & 0x80) != 0) for (let i = p; i < p + 16; i += 4) store<i32>(i, inClass(<u64>load<u32>(i, 16), F32, imm & 127) ? -1 : 0);
  else for (let i = p; i < p + 16; i += 8) store<i64>(i, inClass(load<u64>(i, 16), F64, imm & 127) ? -1 : 0);
  return 0;
}
