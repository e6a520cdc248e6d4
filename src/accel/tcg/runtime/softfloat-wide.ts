/**
 * AssemblyScript. 128-bit fixed point for the transcendental functions: truncating products and quotients with an error
 * of a few units in the last of 128 places. The high half is returned, the low half left in wLow.
 */
import { divWide, mulHigh, mulWide, sfLow } from "./softfloat-core";

export let wLow: u64 = 0;

// @ts-ignore: decorator
@inline
export function setWide(high: u64, low: u64): u64 {
  wLow = low;
  return high;
}

export function add128(aHigh: u64, aLow: u64, bHigh: u64, bLow: u64): u64 {
  const low = aLow + bLow;
  wLow = low;
  return aHigh + bHigh + u64(low < aLow);
}

export function sub128(aHigh: u64, aLow: u64, bHigh: u64, bLow: u64): u64 {
  wLow = aLow - bLow;
  return aHigh - bHigh - u64(aLow < bLow);
}

/** Upper half of the 256-bit product. */
export function mul128(aHigh: u64, aLow: u64, bHigh: u64, bLow: u64): u64 {
  let high = mulWide(aHigh, bHigh);
  let low = sfLow;
  const x = mulHigh(aHigh, bLow);
  low += x;
  high += u64(low < x);
  const y = mulHigh(aLow, bHigh);
  low += y;
  high += u64(low < y);
  wLow = low;
  return high;
}

/** (a * b) >> n, as 128 bits; 0 < n < 64. */
export function mulShift(a: u64, b: u64, n: u64): u64 {
  const high = mulWide(a, b);
  wLow = (sfLow >> n) | (high << (64 - n));
  return high >> n;
}

/** n / d as a fraction of 128 bits, for n < d and bit 63 of dHigh set. */
export function div128(nHigh: u64, nLow: u64, dHigh: u64, dLow: u64): u64 {
  let q: u64;
  let r: u64;
  let carry = false;
  if (nHigh >= dHigh) {
    q = 0xffffffffffffffff;
    r = nLow + dHigh;
    carry = r < dHigh;
  } else {
    q = divWide(nHigh, nLow, dHigh);
    r = sfLow;
  }
  const pHigh = mulWide(q, dLow);
  const pLow = sfLow;
  let low = 0 - pLow;
  let negative = !carry && (r < pHigh || (r == pHigh && pLow != 0));
  r = r - pHigh - u64(pLow != 0);
  // At most two steps back.
  for (let i = 0; i < 2 && negative; i++) {
    q--;
    const sum = low + dLow;
    const add = dHigh + u64(sum < low);
    low = sum;
    r += add;
    negative = r >= add;
  }
  wLow = r >= dHigh ? 0xffffffffffffffff : divWide(r, low, dHigh);
  return q;
}

/** c0 - w (c1 - w (c2 - ...)) or, with plus, c0 + w (c1 + ...); coefficients and w with 64 fraction bits. */
export function polynomial(w: u64, table: usize, count: u32, plus: bool): u64 {
  let i = table + ((count - 1) << 3);
  let sum = load<u64>(i);
  while (i > table) {
    i -= 8;
    const product = mulHigh(w, sum);
    sum = plus ? load<u64>(i) + product : load<u64>(i) - product;
  }
  return sum;
}
