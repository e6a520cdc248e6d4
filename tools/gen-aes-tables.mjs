#!/usr/bin/env node
// Writes src/target/x86/runtime/aes-tables.ts: the S-boxes and round tables of FIPS 197, from GF(2^8) arithmetic.
//   node tools/gen-aes-tables.mjs
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1. */
function times(a, b) {
  let product = 0;
  for (; b; b >>= 1) {
    if (b & 1) product ^= a;
    a = a & 0x80 ? (a << 1) ^ 0x11b : a << 1;
  }
  return product;
}

const sbox = [];
for (let x = 0; x < 256; x++) {
  let inverse = 0;
  for (let y = 1; y < 256 && x; y++) if (times(x, y) === 1) inverse = y;
  let value = 0x63;
  for (let i = 0; i < 5; i++) value ^= ((inverse << i) | (inverse >> (8 - i))) & 0xff;
  sbox.push(value);
}
const inverse = sbox.map((_, x) => sbox.indexOf(x));
/** A column (little-endian, first row lowest) that a byte contributes to with the given coefficients. */
const column = (x, coefficients) => coefficients.reduce((sum, c, i) => (sum | (times(x, c) << (8 * i))) >>> 0, 0);

const hex = (value, digits) => `0x${value.toString(16).padStart(digits, "0")}`;
function table(name, doc, type, digits, values) {
  const perLine = type === "u8" ? 20 : 10;
  const lines = [];
  for (let i = 0; i < values.length; i += perLine) {
    lines.push(
      `  ${values
        .slice(i, i + perLine)
        .map((v) => hex(v, digits))
        .join(", ")},`,
    );
  }
  return [`/** ${doc} */`, `export const ${name}: usize = memory.data<${type}>([`, ...lines, "]);", ""];
}
const mix = [2, 1, 1, 3];
const unmix = [14, 9, 13, 11];
const text = [
  "/** AssemblyScript. AES tables (FIPS 197). Made by tools/gen-aes-tables.mjs; do not edit. */",
  ...table("AES_SBOX", "S-box.", "u8", 2, sbox),
  ...table("AES_INV_SBOX", "Inverse S-box.", "u8", 2, inverse),
  ...table(
    "AES_MIX",
    "MixColumns of the S-box of a byte in row 0.",
    "u32",
    8,
    sbox.map((s) => column(s, mix)),
  ),
  ...table(
    "AES_INV_MIX",
    "InvMixColumns of a byte in row 0.",
    "u32",
    8,
    sbox.map((_, x) => column(x, unmix)),
  ),
];
writeFileSync(fileURLToPath(new URL("../src/target/x86/runtime/aes-tables.ts", import.meta.url)), text.join("\n"));
