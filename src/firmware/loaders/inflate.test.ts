import assert from "node:assert/strict";
import { test } from "node:test";
import { constants, deflateRawSync, gzipSync } from "node:zlib";
import { gunzip, inflate, isGzip } from "./inflate.js";

const noise = (length: number) => {
  let x = 1;
  return Uint8Array.from({ length }, () => {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    return x >>> 24;
  });
};
const TEXT = new Uint8Array(Buffer.from("A kernel is unpacked once. ".repeat(50)));
const MIXED = new Uint8Array(100000);
for (let i = 0; i < MIXED.length; i += 1777) MIXED.set(noise(i % 300), i);

const CONTENTS: readonly [string, Uint8Array][] = [
  ["nothing", new Uint8Array(0)],
  ["a byte", Uint8Array.of(7)],
  ["text", TEXT],
  ["zeroes", new Uint8Array(100000)],
  ["noise", noise(70000)],
  ["mixed", MIXED.subarray(0, 99000)],
];

test("what zlib packs", () => {
  for (const [name, contents] of CONTENTS)
    for (const level of [0, 1, 6, 9])
      for (const strategy of [constants.Z_DEFAULT_STRATEGY, constants.Z_FIXED, constants.Z_HUFFMAN_ONLY, constants.Z_RLE]) {
        const what = `${name}, level ${level}, strategy ${strategy}`;
        const raw = new Uint8Array(deflateRawSync(contents, { level, strategy }));
        const out = new Uint8Array(contents.length);
        assert.equal(inflate(raw, out), raw.length, what);
        assert.deepEqual(out, contents, what);
        const file = new Uint8Array(gzipSync(contents, { level, strategy }));
        assert.ok(isGzip(file));
        assert.deepEqual(gunzip(file, contents.length)?.slice(), contents, what);
        if (contents.length) assert.equal(gunzip(file, contents.length - 1), undefined, `${what}, too large`);
      }
});

test("header fields", () => {
  const plain = new Uint8Array(gzipSync(TEXT));
  const withHeader = (flags: number, ...bytes: number[]) =>
    Uint8Array.of(...plain.subarray(0, 3), flags, ...plain.subarray(4, 10), ...bytes, ...plain.subarray(10));
  for (const [name, file, good] of [
    ["a name", withHeader(8, 65, 66, 0), true],
    ["a comment and a name", withHeader(24, 65, 0, 66, 0), true],
    ["extra bytes", withHeader(4, 3, 0, 1, 2, 3), true],
    ["a header checksum", withHeader(2, 1, 2), true],
    ["a name without an end", withHeader(8).map((b, i) => (i > 10 && i < plain.length - 8 ? b || 1 : b)), false],
    ["extra bytes past the end", withHeader(4, 255, 255), false],
    ["reserved flags", withHeader(0x20), false],
  ] as const)
    assert.equal(gunzip(file, TEXT.length) !== undefined, good, name);
});

test("truncated and changed files are refused", () => {
  const file = new Uint8Array(gzipSync(TEXT));
  for (let n = 0; n < file.length; n++) assert.equal(gunzip(file.subarray(0, n), 2 ** 20), undefined, `${n} bytes`);
  // The header's time, flags and system (bytes 4 to 9) mean nothing here.
  for (let at = 10; at < file.length; at++)
    for (const flip of [1, 0x20, 0xff]) {
      const changed = file.slice();
      changed[at] = changed[at]! ^ flip;
      // The last block's last byte has bits that mean nothing.
      const got = gunzip(changed, 2 ** 20)?.slice();
      if (at === file.length - 9) assert.deepEqual(got ?? TEXT, TEXT);
      else assert.equal(got, undefined, `byte ${at} ^ ${flip}`);
    }
});

test("hostile blocks", () => {
  for (const [name, size, ...data] of [
    ["nothing", 0],
    ["a third block type", 1, 7],
    ["a stored block without its length", 1, 1, 1],
    ["a stored length that does not match its inverse", 1, 1, 1, 0, 0, 0, 9],
    ["a stored block longer than the data", 2, 1, 2, 0, 0xfd, 0xff, 9],
    ["a match before the first byte", 4, 3, 2, 0],
    ["a dynamic block with 287 literals", 1, 0xf5, 0, 0, 0, 0, 0, 0],
    ["lengths that fill no code", 1, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ["too many codes of one bit", 1, 5, 0xe0, 0x24, 0x92, 0x24, 0x49, 0x92, 0x24, 0x49],
    ["blocks without an end", 0, ...new Array<number>(100).fill(0)],
  ] as const)
    assert.equal(inflate(Uint8Array.from(data as readonly number[]), new Uint8Array(size)), undefined, name);
});
