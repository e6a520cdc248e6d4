import assert from "node:assert/strict";
import { test } from "node:test";
import { BlobFiles } from "./files.js";

const PAGE = 65536;
const pattern = (n: number) => Uint8Array.from({ length: n }, (_, i) => (i * 31 + (i >> 8)) & 0xff);

test("reads see the blob, writes stay over it", async () => {
  const content = pattern(3 * PAGE + 100);
  const files = new BlobFiles();
  files.add("disk", new Blob([content]));
  const f = await files.open("disk", { readOnly: false, lock: true });
  assert.equal(f.sizeBytes, content.length);
  const expect = content.slice();
  for (const [at, n, fill] of [
    [0, 1, 1],
    [PAGE - 3, 6, 2],
    [2 * PAGE, PAGE, 3],
    [3 * PAGE + 90, 10, 4],
  ] as const) {
    await f.write(at, new Uint8Array(n).fill(fill));
    expect.fill(fill, at, at + n);
    for (const [from, length] of [
      [0, content.length],
      [PAGE - 10, 30],
      [at, n],
      [3 * PAGE, 1000],
    ] as const) {
      const out = new Uint8Array(length);
      const got = await f.read(from, out);
      assert.equal(got, Math.min(length, content.length - from));
      assert.deepEqual(out.subarray(0, got), expect.subarray(from, from + got), `${at} ${from}`);
    }
  }
  // Grows, and what lies between reads as zeroes.
  await f.write(5 * PAGE, Uint8Array.of(9));
  const out = new Uint8Array(2);
  assert.equal(await f.read(5 * PAGE - 1, out), 2);
  assert.deepEqual([...out], [0, 9]);
  assert.equal(await f.read(6 * PAGE, out), 0);
});

test("refusals", async () => {
  const files = new BlobFiles();
  files.add("a", new Blob([pattern(10)]));
  await assert.rejects(files.open("b", { readOnly: true, lock: false }), { code: "block/not-found" });
  const r = await files.open("a", { readOnly: true, lock: true });
  await assert.rejects(r.write(0, Uint8Array.of(1)), { code: "block/read-only" });
  await assert.rejects(files.open("a", { readOnly: false, lock: true }), { code: "block/locked" });
  await r.close();
  await r.close();
  await assert.rejects(r.read(0, new Uint8Array(1)), { code: "block/io" });
  const w = await files.open("a", { readOnly: false, lock: true });
  await assert.rejects(files.open("a", { readOnly: true, lock: true }), { code: "block/locked" });
  await w.close();
  const made = await files.open("new", { readOnly: false, lock: true, create: true });
  assert.equal(made.sizeBytes, 0);
});
