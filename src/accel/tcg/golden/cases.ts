/** Guest code whose translation is kept under review: name, mode, bytes. The texts beside it are made by `npm run golden`. */

export interface GoldenCase {
  readonly name: string;
  readonly mode: 16 | 32 | 64;
  /** Guest bytes in hexadecimal; the block ends where a jump does. */
  readonly code: string;
}

/** Files by name: cases in one golden text. */
export const GOLDEN: { readonly [file: string]: readonly GoldenCase[] } = {
  integer: [
    { name: "add to a register", mode: 64, code: "48 01 d8" },
    { name: "add 32 bits clears the upper half", mode: 64, code: "01 d8" },
    { name: "add to a byte register", mode: 32, code: "00 d8" },
    { name: "add to the second byte", mode: 32, code: "00 dc" },
    { name: "load, with base, index and displacement", mode: 64, code: "48 8b 44 cb 10" },
    { name: "store relative to RIP", mode: 64, code: "89 05 00 10 00 00" },
    { name: "read, change, write", mode: 64, code: "48 83 07 01" },
    { name: "address in 16-bit code", mode: 16, code: "03 40 10" },
    { name: "zero by exclusive or", mode: 64, code: "31 c0" },
    { name: "shift by one", mode: 64, code: "d1 e0" },
    { name: "shift by CL", mode: 64, code: "48 d3 e8" },
    { name: "multiplication 64 x 64 = 128", mode: 64, code: "48 f7 e3" },
    { name: "division of 64 by 32 bits", mode: 32, code: "f7 f3" },
    { name: "set on condition after comparison", mode: 64, code: "48 39 d8 0f 9c c1" },
    { name: "add with carry after add", mode: 64, code: "48 01 d8 48 11 ca" },
    { name: "push and pop", mode: 64, code: "53 58" },
    { name: "locked compare and exchange", mode: 64, code: "f0 48 0f b1 0f" },
    { name: "byte swap", mode: 64, code: "48 0f c8" },
    { name: "trailing zeros", mode: 64, code: "48 0f bc c3" },
  ],
  control: [
    { name: "compare and branch", mode: 64, code: "48 39 d8 7c 10" },
    { name: "test and branch", mode: 64, code: "85 c0 74 10" },
    { name: "a loop that sums an array", mode: 64, code: "48 03 07 48 83 c7 08 48 ff c9 75 f4" },
    { name: "a loop that copies bytes", mode: 64, code: "0f b6 06 48 ff c6 88 07 48 ff c7 84 c0 75 f1" },
    { name: "call", mode: 64, code: "e8 00 10 00 00" },
    { name: "call in 32-bit code", mode: 32, code: "e8 00 10 00 00" },
    { name: "return", mode: 64, code: "c3" },
    { name: "jump through a table", mode: 64, code: "ff 24 c5 00 20 00 00" },
    { name: "function entry", mode: 64, code: "55 48 89 e5 48 83 ec 20 89 7d ec eb 00" },
  ],
  vector: [
    { name: "load unaligned, add bytes", mode: 64, code: "f3 0f 6f 07 66 0f fc c1" },
    { name: "load aligned", mode: 64, code: "66 0f 6f 07" },
    { name: "compare bytes and take the mask", mode: 64, code: "66 0f 74 c8 66 0f d7 c1" },
    { name: "shuffle", mode: 64, code: "66 0f 70 c1 1b" },
    { name: "zero", mode: 64, code: "66 0f ef c0" },
    { name: "store", mode: 64, code: "0f 11 07" },
    { name: "double multiplication", mode: 64, code: "f2 0f 59 c1" },
    { name: "packed single addition", mode: 64, code: "0f 58 c1" },
    { name: "convert integer to double", mode: 64, code: "f2 0f 2a c0" },
    { name: "compare doubles", mode: 64, code: "66 0f 2e c1 77 10" },
  ],
};
