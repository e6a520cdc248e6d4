import assert from "node:assert/strict";
import { test } from "node:test";
import { commandLine, qemuLike, run } from "./emulators.js";
import { newc } from "./initramfs.js";
import { geometricMean, median } from "./statistics.js";

const GUEST = { arch: "amd64", kernel: "k", initrd: "i", seconds: 2, only: "fib", memoryMib: 64 } as const;

test("medians and means", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.ok(Number.isNaN(median([])));
  assert.ok(Math.abs(geometricMean([1, 4]) - 2) < 1e-12);
});

test("a newc archive: headers of 110 bytes, names and data on four-byte borders, a trailer", () => {
  const a = newc([{ name: "init", mode: 0o100755, data: Buffer.from("hello") }]);
  assert.equal(a.length % 4, 0);
  assert.equal(a.subarray(0, 6).toString(), "070701");
  assert.equal(Number.parseInt(a.subarray(54, 62).toString(), 16), 5);
  assert.equal(a.subarray(110, 114).toString(), "init");
  assert.equal(a.subarray(116, 121).toString(), "hello");
  assert.match(a.subarray(124).toString("latin1"), /^070701.*TRAILER!!!/s);
});

test("the guest's command line and an emulator's", () => {
  assert.match(commandLine(GUEST), /rdinit=\/init .*benchsecs=2 benchonly=fib$/);
  assert.deepEqual(qemuLike("x", ["a", "b"]).command(GUEST).slice(0, 4), ["a", "b", "-m", "64"]);
});

/** An emulator that is a line of JavaScript. */
const script = (text: string) => ({ name: "script", command: () => [process.execPath, "-e", text] });

test("what a run prints is read; a panic, silence and an early end are errors", async () => {
  const r = await run(script("console.log('x\\r\\nMARK userland 1.5\\r\\nBENCH fib 12\\r\\n')"), GUEST, 20);
  assert.equal(r.speeds.get("fib"), 12);
  assert.equal(r.marks.get("userland"), 1.5);
  assert.ok(r.bootSeconds > 0);
  await assert.rejects(
    run(script("console.log('[ 1.0] Kernel panic - not syncing'); setInterval(() => {}, 1000)"), GUEST, 20),
    /Kernel panic/,
  );
  await assert.rejects(run(script(""), GUEST, 20), /no results/);
  await assert.rejects(run({ name: "none", command: () => ["/no/such/program"] }, GUEST, 20), /none: spawn/);
});
