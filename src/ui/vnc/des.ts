/**
 * One DES block, for VNC authentication, which nothing newer speaks without TLS. Source: FIPS 46-3; RFC 6143 7.2.2 (the
 * password's bytes are the key, each with its bits in reverse order).
 */

const IP = [
  58, 50, 42, 34, 26, 18, 10, 2, 60, 52, 44, 36, 28, 20, 12, 4, 62, 54, 46, 38, 30, 22, 14, 6, 64, 56, 48, 40, 32, 24, 16, 8, 57,
  49, 41, 33, 25, 17, 9, 1, 59, 51, 43, 35, 27, 19, 11, 3, 61, 53, 45, 37, 29, 21, 13, 5, 63, 55, 47, 39, 31, 23, 15, 7,
];
const FP = IP.map((_, i) => IP.indexOf(i + 1) + 1);
const E = Array.from({ length: 48 }, (_, i) => ((Math.floor(i / 6) * 4 + (i % 6) + 31) % 32) + 1);
const P = [16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10, 2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25];
const PC1 = [
  57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36, 63, 55, 47, 39, 31,
  23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4,
];
const PC2 = [
  14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2, 41, 52, 31, 37, 47, 55, 30, 40, 51, 45,
  33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
];
const SHIFTS = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1];
/** S-boxes, four rows of sixteen each, in hexadecimal. */
const S = [
  "e4d12fb83a6c5907 0f74e2d1a6cb9538 41e8d62bfc973a50 fc8249175b3ea06d",
  "f18e6b34972dc05a 3d47f28ec01a69b5 0e7ba4d158c6932f d8a13f42b67c05e9",
  "a09e63f51dc7b428 d709346a285ecbf1 d6498f30b12c5ae7 1ad069874fe3b52c",
  "7de3069a1285bc4f d8b56f03472c1ae9 a690cb7df13e5284 3f06a1d8945bc72e",
  "2c417ab6853fd0e9 eb2c47d150fa3986 421bad78f9c5630e b8c71e2d6f09a453",
  "c1af92680d34e75b af427c9561de0b38 9ef528c3704a1db6 432c95fabe17608d",
  "4b2ef08d3c975a61 d0b7491ae35c2f86 14bdc37eaf680592 6bd814a7950fe23c",
  "d2846fb1a93e50c7 1fd8a374c56b0e92 7b419ce206adf358 21e74a8dfc90356b",
].map((row) => [...row.replaceAll(" ", "")].map((d) => Number.parseInt(d, 16)));

const pick = (bits: readonly number[], table: readonly number[]) => table.map((n) => bits[n - 1]!);
const toBits = (bytes: ArrayLike<number>) => Array.from(bytes).flatMap((b) => [7, 6, 5, 4, 3, 2, 1, 0].map((i) => (b >> i) & 1));

/** Encrypts 8 bytes by a key of 8 bytes (parity bits are ignored). */
export function desEncrypt(key: Uint8Array, block: Uint8Array): Uint8Array {
  const k = pick(toBits(key), PC1);
  let c = k.slice(0, 28);
  let d = k.slice(28);
  const bits = pick(toBits(block), IP);
  let left = bits.slice(0, 32);
  let right = bits.slice(32);
  for (const shift of SHIFTS) {
    c = [...c.slice(shift), ...c.slice(0, shift)];
    d = [...d.slice(shift), ...d.slice(0, shift)];
    const round = pick([...c, ...d], PC2);
    const mixed = pick(right, E).map((b, i) => b ^ round[i]!);
    const out: number[] = [];
    for (let box = 0; box < 8; box++) {
      const [b0, b1, b2, b3, b4, b5] = mixed.slice(6 * box, 6 * box + 6) as [number, number, number, number, number, number];
      const v = S[box]![((b0 << 1) | b5) * 16 + ((b1 << 3) | (b2 << 2) | (b3 << 1) | b4)]!;
      out.push((v >> 3) & 1, (v >> 2) & 1, (v >> 1) & 1, v & 1);
    }
    const f = pick(out, P);
    [left, right] = [right, left.map((b, i) => b ^ f[i]!)];
  }
  const last = pick([...right, ...left], FP);
  return Uint8Array.from({ length: 8 }, (_, i) => last.slice(8 * i, 8 * i + 8).reduce((n, b) => n * 2 + b, 0));
}

function reversed(b: number): number {
  let r = 0;
  for (let i = 0; i < 8; i++) r |= ((b >> i) & 1) << (7 - i);
  return r;
}

/** What a client answers to a challenge of 16 bytes. Only the first 8 characters of the password count. */
export function vncResponse(password: string, challenge: Uint8Array): Uint8Array {
  const key = new Uint8Array(8);
  for (let i = 0; i < Math.min(8, password.length); i++) key[i] = reversed(password.charCodeAt(i) & 0xff);
  const out = new Uint8Array(16);
  for (const at of [0, 8]) out.set(desEncrypt(key, challenge.subarray(at, at + 8)), at);
  return out;
}
