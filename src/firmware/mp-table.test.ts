import assert from "node:assert/strict";
import { test } from "node:test";
import { type MpConfig, mpPointer, mpTable } from "./mp-table.js";

const CONFIG: MpConfig = {
  apicIds: [0, 1],
  cpuSignature: 0x60fb1,
  cpuFeatures: 0x178bfbfd,
  localApicAddress: 0xfee00000,
  ioApicId: 0,
  ioApicAddress: 0xfec00000,
  ioApicVersion: 0x20,
  levelIrqs: [5, 9, 10, 11],
  pciInterrupts: [
    { slot: 3, pin: 1, irq: 11 },
    { slot: 3, pin: 1, irq: 11 },
    { slot: 4, pin: 0, irq: 0 },
    { slot: 31, pin: 4, irq: 10 },
  ],
};
const sum = (b: Uint8Array) => b.reduce((a, v) => (a + v) & 255, 0);

test("floating pointer", () => {
  const p = mpPointer(0xe1230);
  assert.deepEqual([...p.subarray(0, 10)], [0x5f, 0x4d, 0x50, 0x5f, 0x30, 0x12, 0x0e, 0, 1, 4]);
  assert.equal(p.length, 16);
  assert.equal(sum(p), 0);
});

test("table: every entry has the length of its type, and header and counts agree", () => {
  for (const cpus of [1, 2, 64]) {
    const t = mpTable({ ...CONFIG, apicIds: Array.from({ length: cpus }, (_, i) => i) });
    const v = new DataView(t.buffer, t.byteOffset);
    assert.equal(String.fromCharCode(...t.subarray(0, 4), ...t.subarray(8, 28)), "PCMPTANDEM  PC          ");
    assert.deepEqual([v.getUint16(4, true), t[6], v.getUint32(36, true)], [t.length, 4, 0xfee00000]);
    assert.equal(sum(t), 0);
    const entries: number[][] = [];
    for (let at = 44; at < t.length; ) {
      const size = t[at] === 0 ? 20 : 8;
      entries.push([...t.subarray(at, at + size)]);
      at += size;
    }
    assert.equal(entries.length, v.getUint16(34, true));
    assert.deepEqual(
      [0, 1, 2, 3, 4].map((type) => entries.filter((e) => e[0] === type).length),
      [cpus, 2, 1, 2 + 15, 2],
    );
    assert.deepEqual(
      entries.filter((e) => e[0] === 0).map((e) => [e[1], e[3]]),
      Array.from({ length: cpus }, (_, i) => [i, i === 0 ? 3 : 1]),
    );
    const routes = entries.filter((e) => e[0] === 3).map((e) => e.slice(1).join(" "));
    for (const want of ["0 13 0 0 12 0 11", "0 13 0 0 127 0 10", "0 0 0 1 0 0 2", "0 0 0 1 4 0 4", "0 13 0 1 9 0 9"])
      assert.ok(routes.includes(want), `${want} in ${routes}`);
  }
});
