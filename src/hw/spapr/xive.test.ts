import assert from "node:assert/strict";
import { test } from "node:test";
import { hcall, partition } from "../../../testkit/hcall.js";
import { Hcall, HcallTable, HStatus } from "./hcall.js";
import { XIVE_ESB_BASE, XIVE_TIMA_OS, Xive } from "./xive.js";
import { addXiveHcalls } from "./xive-calls.js";

const H = HStatus;
const QUEUE = 0x10000;
const LSI = 40;

function rig() {
  const { memory, trace } = partition();
  const out = [false, false];
  let running = 0;
  const x = new Xive(
    memory,
    64,
    2,
    () => running,
    (server, level) => {
      out[server] = level;
    },
  );
  const line = x.line(LSI);
  x.setEnabled(true);
  const table = new HcallTable(trace);
  let active = true;
  addXiveHcalls(table, x, () => active);
  const call = (code: number, ...args: (bigint | number)[]) => hcall(table, code, args);
  const page = (lisn: number, management: boolean) => XIVE_ESB_BASE + (2 * lisn + (management ? 1 : 0)) * 0x10000;
  /** An eight-byte load as a guest makes it: two words. */
  const load64 = (at: number): bigint => {
    const bytes = new DataView(new ArrayBuffer(8));
    bytes.setUint32(0, memory.read(at, 4), true);
    bytes.setUint32(4, memory.read(at + 4, 4), true);
    return bytes.getBigUint64(0);
  };
  const store64 = (at: number) => {
    memory.write(at, 4, 0);
    memory.write(at + 4, 4, 0);
  };
  return {
    x,
    out,
    line,
    call,
    memory,
    esb: (lisn: number, offset: number) => Number(load64(page(lisn, true) + offset)),
    trigger: (lisn: number) => store64(page(lisn, false)),
    cppr: (value: number, cpu = 0) => {
      running = cpu;
      memory.write(XIVE_TIMA_OS + 0x11, 1, value);
    },
    /** NSR in the upper byte, CPPR in the lower. */
    ack: (cpu = 0) => {
      running = cpu;
      const v = memory.read(XIVE_TIMA_OS + 0x810, 2);
      return ((v & 0xff) << 8) | (v >> 8);
    },
    entry: (i: number) => {
      const bytes = new Uint8Array(4);
      memory.readBytes(QUEUE + 4 * i, bytes);
      return new DataView(bytes.buffer).getUint32(0);
    },
    setActive: (on: boolean) => {
      active = on;
    },
    /** A source with a queue of vCPU 0 at priority 6. */
    ready: (lisn: number, eisn: number, server = 0, priority = 6) => {
      call(Hcall.H_INT_SET_QUEUE_CONFIG, 1, server, priority, QUEUE, 16);
      call(Hcall.H_INT_SET_SOURCE_CONFIG, 2, lisn, server, priority, eisn);
      Number(load64(page(lisn, true) + 0xc00));
    },
  };
}

test("XIVE: an event reaches the queue and the vCPU, once until its end", () => {
  const r = rig();
  r.cppr(0xff);
  r.ready(20, 0x1234);
  r.trigger(20);
  assert.deepEqual([r.out[0], r.entry(0), r.entry(1)], [true, 0x80001234, 0]);
  r.trigger(20);
  assert.equal(r.entry(1), 0, "a second event is remembered in the source");
  assert.deepEqual([r.ack(), r.out[0]], [0x8006, false]);
  // As Linux ends it: the state set to reset; with Q set before, another trigger.
  assert.equal(r.esb(20, 0xc00), 3);
  r.trigger(20);
  assert.deepEqual([r.entry(1), r.out[0]], [0x80001234, false], "not shown at the same priority");
  r.cppr(0xff);
  assert.equal(r.out[0], true);
  assert.equal(r.ack(), 0x8006);
  assert.equal(r.ack(), 0x0006, "nothing more");
});

test("XIVE: a source that is off keeps nothing, its state reads back", () => {
  const r = rig();
  r.cppr(0xff);
  r.ready(20, 1);
  assert.equal(r.esb(20, 0xd00), 0);
  r.trigger(20);
  assert.deepEqual([r.esb(20, 0x800), r.entry(0), r.out[0]], [1, 0, false]);
  assert.equal(r.esb(20, 0xe00), 1);
  r.trigger(20);
  assert.equal(r.esb(20, 0x800), 3);
  assert.equal(r.esb(20, 0), 1, "the end of a queued event is another one");
  assert.equal(r.entry(0), 0x80000001);
});

test("XIVE: the most favoured priority is shown first", () => {
  const r = rig();
  r.cppr(0xff);
  r.ready(20, 1, 0, 6);
  r.ready(21, 2, 0, 3);
  r.trigger(20);
  r.trigger(21);
  assert.equal(r.ack(), 0x8003);
  r.cppr(0xff);
  assert.equal(r.ack(), 0x8006);
});

test("XIVE: one vCPU asks the other", () => {
  const r = rig();
  r.cppr(0xff, 1);
  r.ready(1, 0x42, 1, 6);
  r.trigger(1);
  assert.deepEqual([...r.out, r.ack(1)], [false, true, 0x8006]);
});

test("XIVE: a full queue begins again with the other generation", () => {
  const r = rig();
  r.ready(20, 5);
  const entries = 0x10000 / 4;
  for (let i = 0; i <= entries; i++) {
    r.trigger(20);
    r.esb(20, 0xc00);
  }
  assert.deepEqual([r.entry(0), r.entry(1)], [5, 0x80000005]);
  assert.deepEqual(r.call(Hcall.H_INT_GET_QUEUE_CONFIG, 1, 0, 6).r.slice(0, 5), [1n, BigInt(QUEUE), 16n, 0n, 1n]);
});

test("XIVE: a level source comes again while its input is high", () => {
  const r = rig();
  r.cppr(0xff);
  r.call(Hcall.H_INT_SET_QUEUE_CONFIG, 1, 0, 6, QUEUE, 16);
  r.call(Hcall.H_INT_SET_SOURCE_CONFIG, 2, LSI, 0, 6, 9);
  r.line.set(true);
  assert.equal(r.entry(0), 0, "off");
  const esb = (offset: number) => r.call(Hcall.H_INT_ESB, 0, LSI, offset, 0).r[0];
  esb(0xc00);
  assert.deepEqual([r.entry(0), r.ack()], [0x80000009, 0x8006]);
  assert.equal(esb(0), 1n);
  assert.equal(r.entry(1), 0x80000009);
  r.line.set(false);
  assert.equal(esb(0), 0n);
  assert.equal(r.entry(2), 0);
});

const calls: readonly [name: string, code: number, args: (bigint | number)[], status: number][] = [
  ["source information", Hcall.H_INT_GET_SOURCE_INFO, [0, 20], H.H_SUCCESS],
  ["flags", Hcall.H_INT_GET_SOURCE_INFO, [1, 20], H.H_PARAMETER],
  ["no such source", Hcall.H_INT_GET_SOURCE_INFO, [0, 64], H.H_P2],
  ["a source of 64 bits", Hcall.H_INT_GET_SOURCE_INFO, [0, 1n << 63n], H.H_P2],
  ["no such server", Hcall.H_INT_SET_SOURCE_CONFIG, [2, 20, 2, 6, 0], H.H_P3],
  ["the hypervisor's priority", Hcall.H_INT_SET_SOURCE_CONFIG, [2, 20, 0, 7, 0], H.H_P4],
  ["masked", Hcall.H_INT_SET_SOURCE_CONFIG, [2, 20, 99, 255, 0], H.H_SUCCESS],
  ["no such source's setting", Hcall.H_INT_GET_SOURCE_CONFIG, [0, 99], H.H_P2],
  ["queue information", Hcall.H_INT_GET_QUEUE_INFO, [0, 1, 6], H.H_SUCCESS],
  ["a queue of no server", Hcall.H_INT_GET_QUEUE_INFO, [0, 9, 6], H.H_P2],
  ["a queue of the hypervisor", Hcall.H_INT_GET_QUEUE_INFO, [0, 1, 7], H.H_P3],
  ["a queue size that there is not", Hcall.H_INT_SET_QUEUE_CONFIG, [1, 0, 6, QUEUE, 63], H.H_P5],
  ["a queue not aligned", Hcall.H_INT_SET_QUEUE_CONFIG, [1, 0, 6, QUEUE + 4096, 16], H.H_P4],
  ["a queue beyond memory", Hcall.H_INT_SET_QUEUE_CONFIG, [1, 0, 6, 1n << 60n, 16], H.H_P4],
  ["no queue", Hcall.H_INT_SET_QUEUE_CONFIG, [1, 0, 6, 0, 0], H.H_SUCCESS],
  ["a page of no source", Hcall.H_INT_ESB, [0, 64, 0, 0], H.H_P2],
  ["beyond the page", Hcall.H_INT_ESB, [0, 20, 0x10000, 0], H.H_P3],
  ["sync", Hcall.H_INT_SYNC, [0, 20], H.H_SUCCESS],
  ["sync of no source", Hcall.H_INT_SYNC, [0, 99], H.H_P2],
  ["reset", Hcall.H_INT_RESET, [0], H.H_SUCCESS],
  ["a reporting line", Hcall.H_INT_SET_OS_REPORTING_LINE, [0, 0, 0], H.H_FUNCTION],
];
for (const [name, code, args, status] of calls)
  test(`XIVE call: ${name}`, () => {
    const r = rig();
    assert.equal(r.call(code, ...args).status, status);
    r.setActive(false);
    assert.equal(r.call(code, ...args).status, H.H_FUNCTION, "while the guest has XICS");
  });

test("XIVE: where a source's pages are", () => {
  const r = rig();
  const at = (lisn: number) => r.call(Hcall.H_INT_GET_SOURCE_INFO, 0, lisn).r.slice(0, 4);
  const page = BigInt(XIVE_ESB_BASE + 40 * 0x10000);
  assert.deepEqual(at(20), [0n, page + 0x10000n, page, 16n]);
  assert.deepEqual(at(LSI), [12n, (1n << 64n) - 1n, (1n << 64n) - 1n, 16n]);
});

test("XIVE: a queue outside memory loses events, not the machine; pages that are off are not there", () => {
  const r = rig();
  r.call(Hcall.H_INT_SET_QUEUE_CONFIG, 1, 0, 6, 2 ** 40, 16);
  r.call(Hcall.H_INT_SET_SOURCE_CONFIG, 2, 20, 0, 6, 5);
  r.esb(20, 0xc00);
  r.trigger(20);
  r.x.setEnabled(false);
  assert.equal(r.esb(20, 0x800), Number((1n << 64n) - 1n));
});

test("XIVE: a saved controller goes on where it was", () => {
  const a = rig();
  a.cppr(0xff);
  a.ready(20, 7);
  a.trigger(20);
  const b = rig();
  b.x.restore(structuredClone(a.x.save()));
  assert.deepEqual([b.out[0], b.ack(), b.esb(20, 0x800)], [true, 0x8006, 2]);
});
