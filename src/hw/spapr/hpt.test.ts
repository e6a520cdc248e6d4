import assert from "node:assert/strict";
import { test } from "node:test";
import { hcall, partition } from "../../../testkit/hcall.js";
import { Hcall, HcallTable, HStatus } from "./hcall.js";
import { HashPageTable, hptShift } from "./hpt.js";

const H = HStatus;
/** An entry of a 4 KiB page: valid, secondary off; real page 0x5000, coherent, read-write. */
const V = 0x0000_1234_5678_9001n;
const R = 0x5012n;
const EXACT = 1n << 39n;
const AVPN = 1n << 31n;
const ANDCOND = 1n << 30n;
const READ4 = 1n << 37n;

function rig() {
  const { memory, ram, trace } = partition();
  const table = new HcallTable(trace);
  let flushes = 0;
  const hpt = new HashPageTable(ram, ram.allocate("hpt", 2 ** 18), memory, () => flushes++);
  hpt.addHcalls(table);
  const call = (code: number, ...args: (bigint | number)[]) => hcall(table, code, args);
  const entry = (n: number): [bigint, bigint] => {
    const view = new DataView(ram.memory.buffer, hpt.block.hostOffset + 16 * n);
    return [view.getBigUint64(0), view.getBigUint64(8)];
  };
  return { call, entry, hpt, flushes: () => flushes };
}

const enters: readonly [name: string, args: (bigint | number)[], status: number, slot?: number][] = [
  ["into the first free slot of the group", [0n, 16 + 5, V, R], H.H_SUCCESS, 16],
  ["into exactly this slot", [EXACT, 16 + 5, V, R], H.H_SUCCESS, 21],
  ["beyond the table", [0n, 2 ** 14, V, R], H.H_PARAMETER],
  ["an index of 64 bits", [0n, 1n << 63n, V, R], H.H_PARAMETER],
  ["real memory that is not coherent", [0n, 0, V, 0x5002n], H.H_PARAMETER],
  ["a device's page, not cached", [0n, 0, V, 0x2000_8000_0000n | 0x2an], H.H_SUCCESS, 0],
  ["a device's page, cached", [0n, 0, V, 0x2000_8000_0000n | 0x12n], H.H_PARAMETER],
  ["a page of 64 KiB", [0n, 0, V | 4n, 0x1_0000n | 0x1012n], H.H_SUCCESS, 0],
  ["a page size that there is not", [0n, 0, V | 4n, 0x2012n], H.H_PARAMETER],
];
for (const [name, args, status, slot] of enters)
  test(`H_ENTER: ${name}`, () => {
    const { call, entry } = rig();
    const got = call(Hcall.H_ENTER, ...args);
    assert.equal(got.status, status);
    if (slot === undefined) return;
    assert.equal(got.r[0], BigInt(slot));
    assert.deepEqual(entry(slot), [BigInt(args[2]!), BigInt(args[3]!)]);
  });

test("H_ENTER: a full group, an occupied slot", () => {
  const { call } = rig();
  for (let i = 0; i < 8; i++) assert.equal(call(Hcall.H_ENTER, 0, 8, V, R).r[0], BigInt(8 + i));
  assert.equal(call(Hcall.H_ENTER, 0, 8, V, R).status, H.H_PTEG_FULL);
  assert.equal(call(Hcall.H_ENTER, EXACT, 9, V, R).status, H.H_PTEG_FULL);
});

const removes: readonly [name: string, args: (bigint | number)[], status: number][] = [
  ["without a condition", [0n, 3, 0n], H.H_SUCCESS],
  ["of this page", [AVPN, 3, V & ~0x7fn], H.H_SUCCESS],
  ["of another page", [AVPN, 3, (V + 0x1000n) & ~0x7fn], H.H_NOT_FOUND],
  ["whose bits are clear", [ANDCOND, 3, 0x10n], H.H_SUCCESS],
  ["whose bits are not clear", [ANDCOND, 3, 0x1n], H.H_NOT_FOUND],
  ["of an empty slot", [0n, 4, 0n], H.H_NOT_FOUND],
  ["beyond the table", [0n, 2 ** 20, 0n], H.H_PARAMETER],
];
for (const [name, args, status] of removes)
  test(`H_REMOVE: ${name}`, () => {
    const { call, entry, flushes } = rig();
    call(Hcall.H_ENTER, EXACT, 3, V, R);
    const got = call(Hcall.H_REMOVE, ...args);
    assert.equal(got.status, status);
    assert.deepEqual(entry(3), status === H.H_SUCCESS ? [0n, 0n] : [V, R]);
    assert.equal(flushes(), status === H.H_SUCCESS ? 1 : 0);
    if (status === H.H_SUCCESS) assert.deepEqual(got.r.slice(0, 2), [V, R]);
  });

test("H_PROTECT: protection and keys, not the page", () => {
  const { call, entry } = rig();
  call(Hcall.H_ENTER, EXACT, 3, V, R | 0x180n);
  // PP0 is bit 8 of the flags, the upper key bits 12 and 13, the rest as in the entry.
  assert.equal(call(Hcall.H_PROTECT, AVPN | 0x3000n | 0x100n | 0xe07n, 3, V & ~0x7fn).status, H.H_SUCCESS);
  assert.deepEqual(entry(3), [V, 0xb000_0000_0000_0000n | (R & ~7n) | 0x180n | 0xe07n]);
  assert.equal(call(Hcall.H_PROTECT, AVPN, 3, 0n).status, H.H_NOT_FOUND);
});

test("H_READ: one entry, or its four", () => {
  const { call } = rig();
  for (const i of [4, 5, 7]) call(Hcall.H_ENTER, EXACT, i, V + BigInt(i << 12), R);
  assert.deepEqual(call(Hcall.H_READ, 0, 5).r.slice(0, 2), [V + 0x5000n, R]);
  assert.deepEqual(call(Hcall.H_READ, READ4, 6).r.slice(0, 8), [V + 0x4000n, R, V + 0x5000n, R, 0n, 0n, V + 0x7000n, R]);
});

test("H_CLEAR_REF, H_CLEAR_MOD: give the bits and clear them", () => {
  const { call, entry } = rig();
  call(Hcall.H_ENTER, EXACT, 3, V, R | 0x180n);
  assert.equal(call(Hcall.H_CLEAR_REF, 0, 3).r[0], R | 0x180n);
  assert.equal(call(Hcall.H_CLEAR_MOD, 0, 3).r[0], R | 0x80n);
  assert.equal(entry(3)[1], R);
  assert.equal(call(Hcall.H_CLEAR_REF, 0, 9).status, H.H_NOT_FOUND);
});

test("H_BULK_REMOVE: several, each with its own answer", () => {
  const { call, entry } = rig();
  call(Hcall.H_ENTER, EXACT, 3, V, R | 0x180n);
  call(Hcall.H_ENTER, EXACT, 4, V, R);
  const request = (index: bigint, flags = 0n) => (1n << 62n) | flags | index;
  const avpn = 2n << 56n;
  const got = call(Hcall.H_BULK_REMOVE, request(3n), 0n, request(4n, avpn), 0n, request(9n), 0n, 3n << 62n, 0n);
  assert.equal(got.status, H.H_SUCCESS);
  const response = 2n << 62n;
  // R and C of the first, "not found" for the others.
  assert.equal(got.r[0]! & (3n << 62n), response);
  assert.equal((got.r[0]! >> 58n) & 3n, 3n);
  assert.equal((got.r[2]! >> 60n) & 3n, 1n);
  assert.equal((got.r[4]! >> 60n) & 3n, 1n);
  assert.deepEqual(
    [entry(3), entry(4)],
    [
      [0n, 0n],
      [V, R],
    ],
  );
  assert.equal(call(Hcall.H_BULK_REMOVE, request(1n << 40n), 0n).status, H.H_PARAMETER);
});

test("a table of a 128th of memory", () => {
  for (const [bytes, shift] of [
    [2 ** 28, 21],
    [2 ** 29, 22],
    [3 * 2 ** 28, 23],
    [2 ** 20, 18],
  ] as const)
    assert.equal(hptShift(bytes), shift, `${bytes}`);
});
