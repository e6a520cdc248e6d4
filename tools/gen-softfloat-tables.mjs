#!/usr/bin/env node
// Writes src/accel/tcg/runtime/softfloat-tables.ts: constants of the x87 transcendental functions, computed with 320-bit
// fixed-point series.
//   node tools/gen-softfloat-tables.mjs
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const BITS = 320n;
const ONE = 1n << BITS;
// Towards zero, so that the terms of every series vanish.
const mul = (a, b) => (a * b) / ONE;
const div = (a, b) => (a << BITS) / b;
const rational = (n, d) => (BigInt(n) << BITS) / BigInt(d);

/** Sum of terms until they vanish; next(term, n) gives term n from term n - 1. */
function series(first, next) {
  let sum = 0n;
  let term = first;
  for (let n = 1; term !== 0n; n++) {
    sum += term;
    term = next(term, BigInt(n));
  }
  return sum;
}

const sin = (x) => series(x, (t, n) => -mul(mul(t, x), x) / (2n * n * (2n * n + 1n)));
const cos = (x) => series(ONE, (t, n) => -mul(mul(t, x), x) / ((2n * n - 1n) * 2n * n));
const exp = (x) => series(ONE, (t, n) => mul(t, x) / n);
/** Natural logarithm of z: 2 artanh((z - 1) / (z + 1)). */
function log(z) {
  const s = div(z - ONE, z + ONE);
  const square = mul(s, s);
  let power = s;
  let sum = 0n;
  for (let n = 1n; power !== 0n; n += 2n) {
    sum += power / n;
    power = mul(power, square);
  }
  return 2n * sum;
}
/** Arc tangent of x <= 1, by the double-angle formula first. */
function atan(x) {
  if (x === 0n) return 0n;
  // atan x = 2 atan(x / (1 + sqrt(1 + x^2)))
  const root = sqrt(ONE + mul(x, x));
  const y = div(x, ONE + root);
  const square = mul(y, y);
  let power = y;
  let sum = 0n;
  for (let n = 1n; power !== 0n; n += 2n) {
    sum += power / n;
    power = -mul(power, square);
  }
  return 2n * sum;
}
function sqrt(x) {
  let r = x;
  for (let i = 0; i < 200; i++) r = (r + div(x, r)) >> 1n;
  return r;
}

const LN2 = log(2n * ONE);
const LOG2E = div(ONE, LN2);
const PI = 4n * atan(ONE);

/** Rounded to `bits` fraction bits, as two's complement of 128 bits: [high, low]. */
function split(x, bits) {
  const drop = BITS - BigInt(bits);
  const rounded = BigInt.asUintN(128, (x + (1n << (drop - 1n))) >> drop);
  return [rounded >> 64n, rounded & ((1n << 64n) - 1n)];
}

const out = [];
const hex = (x) => `0x${x.toString(16).padStart(16, "0")}`;
function table(name, doc, rows) {
  out.push(`/** ${doc} */`, `export const ${name}: usize = memory.data<u64>([`);
  for (const row of rows) out.push(`  ${row.map(hex).join(", ")},`);
  out.push("]);", "");
}
function pair(name, doc, x, bits) {
  const [high, low] = split(x, bits);
  out.push(`/** ${doc} */`, `export const ${name}_HIGH: u64 = ${hex(high)};`, `export const ${name}_LOW: u64 = ${hex(low)};`);
}

out.push(
  "/**",
  " * AssemblyScript. Constants of softfloat-trans.ts. Made by tools/gen-softfloat-tables.mjs; do not edit.",
  " * A number of 128 bits is stored as high and low half.",
  " */",
);
pair("LN2", "ln 2, 128 fraction bits.", LN2, 128);
pair("LOG2E", "log2 e, 127 fraction bits.", LOG2E, 127);
pair("PI", "pi, 126 fraction bits.", PI, 126);
out.push("");
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
table(
  "SINCOS",
  "sin(k / 64), cos(k / 64) for k = 0..51 with 128 fraction bits (entry 0 is not used).",
  range(0, 51).map((k) =>
    k === 0 ? [0n, 0n, 0n, 0n] : [...split(sin(rational(k, 64)), 128), ...split(cos(rational(k, 64)), 128)],
  ),
);
table(
  "ATAN",
  "atan(k / 64) for k = 0..64 with 128 fraction bits.",
  range(0, 64).map((k) => split(atan(rational(k, 64)), 128)),
);
table(
  "EXP2",
  "2^(k / 64 - 1) for k = 0..63 with 128 fraction bits.",
  range(0, 63).map((k) => split(exp(mul(LN2, rational(k, 64))) >> 1n, 128)),
);
table(
  "LOG2",
  "c = 64 / k with 63 fraction bits, then -log2(c) with 112 fraction bits (two's complement), for k = 44..91.",
  range(44, 91).map((k) => {
    const c = ((64n << 63n) + BigInt(k) / 2n) / BigInt(k);
    return [c, ...split(-mul(log(c << (BITS - 63n)), LOG2E), 112)];
  }),
);
/** Coefficients of polynomials in a positive w = 2^6 |x| (or u = 2^12 x^2), 64 fraction bits, lowest power first. */
function coefficients(name, doc, list) {
  table(name, doc, [list.map(([n, d]) => ((n << 65n) / d + 1n) >> 1n)]);
}
const factorial = (n) => (n <= 1n ? 1n : n * factorial(n - 1n));
const upTo = (n) => Array.from({ length: n }, (_, i) => BigInt(i));
coefficients(
  "SIN_POLY",
  "2^12 (1 - sin(x) / x) = u (c0 - u (c1 - ...)).",
  upTo(4).map((i) => [1n, factorial(2n * i + 3n) << (12n * i)]),
);
coefficients(
  "COS_POLY",
  "2^12 (1 - cos x) = u (c0 - u (c1 - ...)).",
  upTo(4).map((i) => [1n, factorial(2n * i + 2n) << (12n * i)]),
);
coefficients(
  "ATAN_POLY",
  "2^12 (1 - atan(x) / x) = u (c0 - u (c1 - ...)).",
  upTo(5).map((i) => [1n, (2n * i + 3n) << (12n * i)]),
);
coefficients(
  "EXP_POLY",
  "2^7 ((e^x - 1) / x - 1) = w + w^2 (c0 + w (c1 + ...)).",
  upTo(7).map((i) => [1n, factorial(i + 3n) << (6n * i + 5n)]),
);
coefficients(
  "LOG_POLY",
  "2^7 (1 - ln(1 + x) / x) = w - w^2 (c0 - w (c1 - ...)).",
  upTo(10).map((i) => [1n, (i + 3n) << (6n * i + 5n)]),
);
const target = fileURLToPath(new URL("../src/accel/tcg/runtime/softfloat-tables.ts", import.meta.url));
writeFileSync(target, out.join("\n"));
