import assert from "node:assert/strict";
import { test } from "node:test";
import { partition } from "../../../testkit/hcall.js";
import { acceptsVersion, agreedVector5, readCasRequest, Vector5, vector5Byte } from "./cas.js";

const { memory } = partition();

/** Processor versions as pairs of words, then vectors, each with its length less one before it. */
function put(at: number, versions: number[], vectors: number[][]): void {
  const bytes: number[] = [];
  for (const w of versions) bytes.push(w >>> 24, (w >>> 16) & 255, (w >>> 8) & 255, w & 255);
  bytes.push(vectors.length - 1, ...vectors.flatMap((v) => [v.length - 1, ...v]));
  memory.writeBytes(at, Uint8Array.from(bytes));
}

// As Linux asks: POWER9 by its version, any of level 3.0, and the end of the list.
const LINUX = [0xffff0000, 0x004e0000, 0xffffffff, 0x0f000005, 0xfffffffe, 0x0f000001];

test("versions and vectors as a kernel writes them", () => {
  const five = new Array(26).fill(0);
  five[23] = Vector5.mmu.radix;
  five[25] = Vector5.radixGtse.bit;
  put(0x1000, LINUX, [[0x80], [1, 2], [3], [4], five]);
  const r = readCasRequest(memory, 0x1000)!;
  assert.deepEqual(
    [0x004e1200, 0x0f000005, 0x004d0200, 0x0f000004].map((v) => acceptsVersion(r, v)),
    [true, true, false, false],
  );
  assert.deepEqual([...r.vectors[2]!], [1, 2]);
  assert.deepEqual(
    [24, 26, 1, 27, 99].map((n) => vector5Byte(r, n)),
    [0x40, 0x40, 0, 0, 0],
  );
});

test("a short vector 5 reads as zeroes", () => {
  put(0x1000, LINUX, [[0], [0]]);
  assert.equal(vector5Byte(readCasRequest(memory, 0x1000)!, 24), 0);
});

test("requests without an end or outside memory are refused", () => {
  memory.writeBytes(0x10000, new Uint8Array(0x20000).fill(0xff));
  for (const at of [2 ** 20 - 16, 2 ** 20, 2 ** 40, 0x10000]) assert.equal(readCasRequest(memory, at), undefined, `${at}`);
  // More vectors than there is memory.
  put(2 ** 20 - 27, LINUX, [[0]]);
  memory.writeBytes(2 ** 20 - 3, Uint8Array.of(6));
  assert.equal(readCasRequest(memory, 2 ** 20 - 27), undefined);
});

test("vector 5 as agreed", () => {
  const bytes = agreedVector5({ radix: true, gtse: true, xive: true });
  assert.deepEqual([bytes.length, bytes[22], bytes[23], bytes[25]], [26, 0x40, 0x40, 0x40]);
  assert.deepEqual(
    agreedVector5({ radix: false, gtse: false, xive: false }).some((b) => b),
    false,
  );
});
