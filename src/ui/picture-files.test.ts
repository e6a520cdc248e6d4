import assert from "node:assert/strict";
import { test } from "node:test";
import { inflateSync } from "node:zlib";
import { zlibCompress } from "./deflate.js";
import type { Surface } from "./display.js";
import { encodePng } from "./png.js";
import { encodePpm } from "./ppm.js";

/** Deterministic noise. */
function noise(n: number, seed: number, mask = 0xff): Uint8Array {
  let s = seed;
  return Uint8Array.from({ length: n }, () => {
    s = (Math.imul(s, 1103515245) + 12345) >>> 0;
    return (s >>> 16) & mask;
  });
}

const INPUTS: readonly (readonly [string, Uint8Array, number])[] = [
  ["empty", new Uint8Array(), 16],
  ["one byte", Uint8Array.of(200), 16],
  ["two bytes", Uint8Array.of(1, 1), 16],
  ["zeros", new Uint8Array(100_000), 1000],
  ["run of 258 + 3", new Uint8Array(261).fill(7), 32],
  ["noise", noise(70_000, 1), 80_000],
  ["four values", noise(70_000, 2, 3), 60_000],
  ["period of the window", new Uint8Array([...noise(32767, 3), ...noise(32767, 3)]), 40_000],
  ["period beyond the window", new Uint8Array([...noise(32769, 4), ...noise(32769, 4)]), 80_000],
];

test("deflate: every input comes back", () => {
  for (const [name, input, limit] of INPUTS) {
    const packed = zlibCompress(input);
    assert.deepEqual(new Uint8Array(inflateSync(packed)), input, name);
    assert.ok(packed.length <= limit, `${name}: ${packed.length} bytes`);
  }
});

/** Reads a PNG of the kind that encodePng writes, by the specification. */
function decodePng(png: Uint8Array): Surface {
  const view = new DataView(png.buffer, png.byteOffset);
  const width = view.getUint32(16);
  const height = view.getUint32(20);
  const raw = inflateSync(png.subarray(41, 41 + view.getUint32(33)));
  const pixels = new Uint32Array(width * height);
  const above = new Uint8Array(width * 3);
  for (let y = 0; y < height; y++) {
    const row = raw.subarray(y * (1 + width * 3), (y + 1) * (1 + width * 3));
    assert.equal(row[0], 2);
    for (let i = 0; i < above.length; i++) above[i] = above[i]! + row[1 + i]!;
    for (let x = 0; x < width; x++) pixels[y * width + x] = (above[x * 3]! << 16) | (above[x * 3 + 1]! << 8) | above[x * 3 + 2]!;
  }
  return { width, height, pixels };
}

test("PNG: header, chunks, pixels", () => {
  for (const [width, height] of [
    [1, 1],
    [3, 2],
    [64, 48],
  ] as const) {
    const bytes = noise(width * height * 4, width);
    const pixels = new Uint32Array(bytes.buffer).map((p) => p & 0xffffff);
    const png = encodePng({ width, height, pixels });
    assert.equal(String.fromCharCode(...png.subarray(1, 4), ...png.subarray(12, 16), ...png.subarray(37, 41)), "PNGIHDRIDAT");
    // The last chunk is the same in every file, with its CRC.
    assert.deepEqual([...png.subarray(-12)], [0, 0, 0, 0, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82]);
    assert.deepEqual(decodePng(png), { width, height, pixels });
  }
});

test("PNG: a text screen is small", () => {
  const pixels = new Uint32Array(720 * 400);
  for (let i = 0; i < 2000; i++) pixels[(i * 97) % pixels.length] = 0xa8a8a8;
  assert.ok(encodePng({ width: 720, height: 400, pixels }).length < 30_000);
});

test("PPM", () => {
  const ppm = encodePpm({ width: 2, height: 1, pixels: Uint32Array.of(0x010203, 0xfffefd) });
  assert.deepEqual([...ppm], [...new TextEncoder().encode("P6\n2 1\n255\n"), 1, 2, 3, 255, 254, 253]);
});
