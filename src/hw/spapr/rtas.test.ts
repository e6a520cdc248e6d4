import assert from "node:assert/strict";
import { test } from "node:test";
import { hcall, partition } from "../../../testkit/hcall.js";
import { SpaprEvents } from "./events.js";
import { Hcall, HcallTable, HStatus } from "./hcall.js";
import { SpaprNvram } from "./nvram.js";
import { Rtas, rtasEntryCode } from "./rtas.js";
import { addSystemServices, RtasClock } from "./rtas-system.js";
import { Xics } from "./xics.js";
import { addXicsRtas } from "./xics-calls.js";

const BLOCK = 0x1000;
const BUFFER = 0x2000;

function rig() {
  const { memory, trace } = partition();
  const table = new HcallTable(trace);
  const rtas = new Rtas(memory, trace);
  table.on(Hcall.KVMPPC_H_RTAS, (f) => rtas.hcall(f));
  const done: string[] = [];
  const wallMs = () => Date.UTC(2026, 1, 28, 23, 59, 58) + 250;
  addSystemServices(rtas, {
    wallMs,
    putCharacter: (c) => done.push(`put ${c}`),
    powerOff: () => done.push("off"),
    reboot: () => done.push("reboot"),
    panic: () => done.push("panic"),
    cpus: 2,
    memoryBytes: 2 ** 28,
    name: "guest",
    uuid: Uint8Array.from({ length: 16 }, (_, i) => i),
  });
  const clock = new RtasClock(wallMs);
  clock.addServices(rtas);
  new SpaprNvram(0x71000001).addServices(rtas);
  const events = new SpaprEvents(() => done.push("epow"), wallMs);
  events.addServices(rtas);
  const xics = new Xics(0x1000, 16, 2, () => {});
  addXicsRtas(rtas, xics);
  /** Calls a service. @returns the values it gives back, signed */
  const call = (name: string, args: number[], returns: number, at = BLOCK): number[] => {
    const bytes = new Uint8Array(4 * (3 + args.length + returns));
    const view = new DataView(bytes.buffer);
    for (const [i, w] of [rtas.token(name), args.length, returns, ...args].entries()) view.setUint32(4 * i, w >>> 0);
    memory.writeBytes(at, bytes);
    assert.equal(hcall(table, Hcall.KVMPPC_H_RTAS, [at]).status, HStatus.H_SUCCESS);
    memory.readBytes(at, bytes);
    return Array.from({ length: returns }, (_, i) => view.getInt32(4 * (3 + args.length + i)));
  };
  const text = (at: number, length: number) => {
    const bytes = new Uint8Array(length);
    memory.readBytes(at, bytes);
    return Buffer.from(bytes).toString("latin1");
  };
  return { call, text, memory, table, done, events, rtas };
}

const rows: readonly [name: string, args: number[], returns: number, expected: number[], done?: string[]][] = [
  ["display-character", [65], 1, [0], ["put 65"]],
  ["power-off", [0, 0], 1, [0], ["off"]],
  ["system-reboot", [], 1, [0], ["reboot"]],
  ["ibm,os-term", [0], 1, [0], ["panic"]],
  ["get-time-of-day", [], 8, [0, 2026, 2, 28, 23, 59, 58, 250_000_000]],
  ["set-time-of-day", [2026, 13, 1, 0, 0, 0, 0], 1, [-3]],
  ["set-time-of-day", [2027, 1, 2, 3, 4, 5, 0], 1, [0]],
  ["set-indicator", [9005, 0, 1], 1, [0]],
  ["set-indicator", [1, 0, 1], 1, [-3]],
  ["get-sensor-state", [9, 0], 2, [-3, 0]],
  ["ibm,set-xive", [0x1003, 1, 5], 1, [0]],
  ["ibm,set-xive", [0x1003, 2, 5], 1, [-3]],
  ["ibm,set-xive", [0x1003, 1, 0x100], 1, [-3]],
  ["ibm,set-xive", [0x2000, 1, 5], 1, [-3]],
  ["ibm,get-xive", [0x1003], 3, [0, 0, 255]],
  ["ibm,get-xive", [0xfff], 3, [-3, 0, 0]],
  ["ibm,int-on", [0xffffffff], 1, [-3]],
  ["nvram-store", [0xffff, BUFFER, 2], 2, [-3, 0]],
  ["nvram-store", [0, 0xfffffff0, 8], 2, [-1, 0]],
  ["nvram-fetch", [0xffffffff, BUFFER, 1], 2, [-3, 0]],
  ["nvram-fetch", [0, BUFFER, 0xffffffff], 2, [-3, 0]],
  ["event-scan", [0xffffffff, 0, BUFFER, 64], 1, [1]],
  ["ibm,get-system-parameter", [20, 0xfffffff0, 64], 1, [-9999]],
  ["ibm,get-system-parameter", [999, BUFFER, 64], 1, [-3]],
  // Fewer arguments or values than the service has.
  ["ibm,set-xive", [0x1003], 1, [-3]],
  ["get-time-of-day", [], 1, [-3]],
  ["no-such-service", [], 1, [-3]],
];
for (const [name, args, returns, expected, done = []] of rows)
  test(`RTAS ${name}(${args.join(", ")})`, () => {
    const r = rig();
    assert.deepEqual([r.call(name, args, returns), r.done], [expected, done]);
  });

test("RTAS: a source masked and let through again keeps its priority", () => {
  const { call } = rig();
  call("ibm,set-xive", [0x1003, 1, 5], 1);
  call("ibm,int-off", [0x1003], 1);
  assert.deepEqual(call("ibm,get-xive", [0x1003], 3), [0, 1, 255]);
  call("ibm,int-on", [0x1003], 1);
  assert.deepEqual(call("ibm,get-xive", [0x1003], 3), [0, 1, 5]);
});

test("RTAS: what NVRAM stores it gives back", () => {
  const { call, memory, text } = rig();
  memory.writeBytes(BUFFER, Buffer.from("kept"));
  assert.deepEqual(call("nvram-store", [0xfffc, BUFFER, 4], 2), [0, 4]);
  assert.deepEqual(call("nvram-fetch", [0xfffa, BUFFER + 16, 6], 2), [0, 6]);
  assert.equal(text(BUFFER + 16, 6), "\0\0kept");
});

test("RTAS: system parameters have a length of two bytes before them, and are cut to the room there is", () => {
  const { call, text } = rig();
  assert.deepEqual(call("ibm,get-system-parameter", [55, BUFFER, 64], 1), [0]);
  assert.equal(text(BUFFER, 9), "\0\x06guest\0\0");
  assert.deepEqual(call("ibm,get-system-parameter", [20, BUFFER, 10], 1), [0]);
  assert.equal(text(BUFFER + 2, 10), "MaxEntCa\0\0");
});

test("RTAS: the power button is an EPOW log, fetched once", () => {
  const { call, text, events, done } = rig();
  events.powerdown();
  assert.deepEqual(done, ["epow"]);
  assert.deepEqual(call("check-exception", [0x500, 0x1000, 0x40000000, 1, BUFFER, 2048], 1), [0]);
  const log = text(BUFFER, 128);
  assert.match(log, /PH.*UH.*EP/s);
  const epow = log.indexOf("EP\0");
  // The sensor says shutdown, normal.
  assert.deepEqual([log.charCodeAt(epow + 8), log.charCodeAt(epow + 9)], [3, 1]);
  assert.deepEqual(call("check-exception", [0x500, 0x1000, 0x40000000, 1, BUFFER, 2048], 1), [1]);
});

test("RTAS: argument blocks that are not in memory or claim too much", () => {
  const { table, memory } = rig();
  const call = (at: bigint | number) => hcall(table, Hcall.KVMPPC_H_RTAS, [at]).status;
  for (const at of [2 ** 20 - 4, 2 ** 31, 1n << 40n, (1n << 64n) - 8n]) assert.equal(call(at), HStatus.H_PARAMETER, `${at}`);
  for (const counts of [
    [17, 0],
    [0, 17],
    [10, 10],
    [0xffffffff, 0xffffffff],
  ]) {
    const bytes = new Uint8Array(12);
    const view = new DataView(bytes.buffer);
    view.setUint32(4, counts[0]!);
    view.setUint32(8, counts[1]!);
    memory.writeBytes(BLOCK, bytes);
    assert.equal(call(BLOCK), HStatus.H_PARAMETER, `${counts}`);
  }
});

test("RTAS: the entry passes r3 on and makes the call", () => {
  assert.equal(Buffer.from(rtasEntryCode()).toString("hex"), "7c641b783c6000006063f000440000224e800020");
});
