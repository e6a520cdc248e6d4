import assert from "node:assert/strict";
import { test } from "node:test";
import { HF_CS32 } from "../target/x86/layout.js";
import { disassembleAt } from "./pc-disassemble.js";

/** Memory from 0x1000 on; everything else is unmapped. */
const memory = (bytes: readonly number[]) => (address: bigint, out: Uint8Array) => {
  for (let i = 0; i < out.length; i++) {
    const b = bytes[Number(address) - 0x1000 + i];
    if (b === undefined) return false;
    out[i] = b;
  }
  return true;
};
const lines = (bytes: readonly number[], count: number, at = 0x1000n) =>
  disassembleAt(memory(bytes), at, count, HF_CS32).map((d) => `${d.address.toString(16)} ${d.bytes.length} ${d.text}`);

test("instructions follow each other", () =>
  assert.deepEqual(lines([0x90, 0x89, 0xd8, 0xc3, ...new Array(32).fill(0x90)], 3), [
    "1000 1 nop",
    "1001 2 movl     %ebx, %eax",
    "1003 1 retl",
  ]));
test("the last instruction before unmapped memory is shown", () =>
  assert.deepEqual(lines([0x90, 0x89, 0xd8], 5), ["1000 1 nop", "1001 2 movl     %ebx, %eax"]));
test("an instruction that runs into unmapped memory is not", () =>
  assert.deepEqual(lines([0x90, 0xb8, 1, 2], 5), ["1000 1 nop"]));
test("nothing is mapped", () => assert.deepEqual(lines([], 5), []));
test("bytes that are no instruction", () =>
  assert.deepEqual(lines([0x0f, 0x04, 0x90, ...new Array(20).fill(0x90)], 2), [
    "1000 1 .byte    0x0f",
    "1001 2 addb     $-0x70, %al",
  ]));
