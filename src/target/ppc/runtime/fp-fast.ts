/**
 * AssemblyScript. Scalar arithmetic with the host's own, rounding to nearest: the error of each operation is computed exactly
 * (Dekker, "A floating-point technique for extending the available precision"; Boldo, Melquiond, "Emulation of a FMA and
 * correctly rounded sums"), so that FI and FR are exact too. What lies near the ends of the range is left to fp-arith.ts.
 */
import { ADD, DIV, MADD, MUL, NMADD, NMSUB, MSUB, SQRT, SUB } from "./fp-arith";

/** Result of fastArith and the sign of what it lacks: 0 exact, else the exact result lies on that side. */
export let fastResult: u64 = 0;
export let fastError: f64 = 0;

const SPLIT: f64 = 134217729;

// @ts-ignore: decorator
@inline
function exponent(x: f64): u32 {
  return <u32>(reinterpret<u64>(x) >> 52) & 0x7ff;
}

/** Whether products and their errors stay clear of the ends of the range. */
// @ts-ignore: decorator
@inline
function middle(x: f64): bool {
  return exponent(x) - 400 < 1200;
}

/** a * b - p, exactly. */
// @ts-ignore: decorator
@inline
function productError(a: f64, b: f64, p: f64): f64 {
  const ca = SPLIT * a;
  const ah = ca - (ca - a);
  const al = a - ah;
  const cb = SPLIT * b;
  const bh = cb - (cb - b);
  const bl = b - bh;
  return al * bl - (p - ah * bh - al * bh - ah * bl);
}

/** a + b - s, exactly. */
// @ts-ignore: decorator
@inline
function sumError(a: f64, b: f64, s: f64): f64 {
  const bb = s - a;
  return a - (s - bb) + (b - bb);
}

/** x moved to an odd last place on the side of what it lacks. */
// @ts-ignore: decorator
@inline
function toOdd(x: f64, error: f64): f64 {
  const bits = reinterpret<u64>(x);
  if (error == 0 || (bits & 1) != 0) return x;
  return reinterpret<f64>(error > 0 == x > 0 ? bits + 1 : bits - 1);
}

/** @returns whether the operation was done; only for rounding to nearest */
export function fastArith(op: u32, aBits: u64, bBits: u64, cBits: u64, single: bool): bool {
  const a = reinterpret<f64>(aBits);
  const b = reinterpret<f64>(bBits);
  let r: f64;
  let e: f64;
  switch (op) {
    case ADD:
    case SUB: {
      const y = op == ADD ? b : -b;
      if (exponent(a) > 2000 || exponent(b) > 2000) return false;
      r = a + y;
      e = sumError(a, y, r);
      break;
    }
    case MUL:
      if (!middle(a) || !middle(b)) return false;
      r = a * b;
      if (!middle(r)) return false;
      e = productError(a, b, r);
      break;
    case DIV: {
      if (!middle(a) || !middle(b)) return false;
      r = a / b;
      if (!middle(r)) return false;
      const p = r * b;
      const rest = a - p - productError(r, b, p);
      e = b > 0 ? rest : -rest;
      break;
    }
    case SQRT: {
      if (!middle(b) || b < 0) return false;
      r = Math.sqrt(b);
      const p = r * r;
      e = b - p - productError(r, r, p);
      break;
    }
    case MADD:
    case MSUB:
    case NMADD:
    case NMSUB: {
      const c = reinterpret<f64>(cBits);
      const y = op == MADD || op == NMADD ? b : -b;
      if (!middle(a) || !middle(c) || (!middle(b) && b != 0)) return false;
      const uh = a * c;
      if (!middle(uh)) return false;
      const ul = productError(a, c, uh);
      const th = y + ul;
      const tl = sumError(y, ul, th);
      const vh = uh + th;
      const vl = sumError(uh, th, vh);
      const w = tl + vl;
      const we = sumError(tl, vl, w);
      const odd = toOdd(w, we);
      r = vh + odd;
      // The last steps must not reach the bottom of the range, nor the result be a zero whose sign is to be chosen.
      if (!middle(r)) return false;
      e = sumError(vh, odd, r);
      if (e == 0) e = we;
      break;
    }
    default:
      return false;
  }
  if (single) {
    const odd = toOdd(r, e);
    const s = <f64>(<f32>odd);
    const x = exponent(s);
    // A single's normal numbers.
    if (x - 898 > 250) return false;
    e = odd - s;
    r = s;
  }
  if (op == NMADD || op == NMSUB) {
    r = -r;
    e = -e;
  }
  fastResult = reinterpret<u64>(r);
  fastError = e;
  return true;
}
