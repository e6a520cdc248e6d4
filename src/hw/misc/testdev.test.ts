import assert from "node:assert/strict";
import { test } from "node:test";
import type { Chardev } from "../../host/chardev.js";
import { IrqLine } from "../core/irq.js";
import { Debugcon } from "./debugcon.js";
import { IsaDebugExit } from "./isa-debug-exit.js";
import { PcTestdev } from "./pc-testdev.js";
import { PciTestdev } from "./pci-testdev.js";
import { Pvpanic } from "./pvpanic.js";
import { testContext } from "./test-context.js";

test("isa-debug-exit: status of each width", () => {
  for (const [port, size, value, want] of [
    [0xf4, 1, 0, 1],
    [0xf4, 1, 0x10, 0x21],
    [0xf4, 4, 0x80000001, 3],
    [0xf5, 2, 0x101, 0x203],
  ] as const) {
    const ctx = testContext();
    const seen: number[] = [];
    new IsaDebugExit({ iobase: 0xf4, iosize: 4, onExit: (s) => seen.push(s) }).map(ctx.io);
    ctx.io.write(port, size, value);
    assert.deepEqual([seen, ctx.io.read(port, 1)], [[want], 0]);
  }
});

test("debugcon: bytes out, readback", () => {
  const ctx = testContext();
  const out: number[] = [];
  const chardev: Chardev = { id: "x", write: (d) => out.push(...d), attach: () => {}, resume: () => {}, close: () => {} };
  new Debugcon(chardev, { iobase: 0x402 }).map(ctx.io);
  ctx.io.write(0x402, 1, 0x41);
  assert.deepEqual([out, ctx.io.read(0x402, 1), ctx.io.read(0xe9, 1)], [[0x41], 0xe9, 0xff]);
});

test("pvpanic: events", () => {
  const ctx = testContext();
  const seen: string[] = [];
  new Pvpanic(ctx, { events: 3, onEvent: (e) => seen.push(e) }).map(ctx.io);
  ctx.io.write(0x505, 1, 1);
  ctx.io.write(0x505, 1, 6);
  assert.deepEqual([ctx.io.read(0x505, 1), seen, ctx.log.length], [3, ["panicked", "crashloaded"], 1]);
});

test("pc-testdev: latch, bytes, irq lines, memory", () => {
  const ctx = testContext();
  const gsi = Array.from({ length: 24 }, () => new IrqLine());
  const pages: number[] = [];
  const dev = new PcTestdev({ gsi, onFlushPage: (p) => pages.push(p) });
  dev.map(ctx.io, ctx.memory);
  ctx.io.write(0xe0, 4, 0x12345678);
  ctx.io.write(0xe1, 1, 0xaa);
  ctx.io.write(0xe8, 4, 0x04030201);
  ctx.io.write(0xe4, 4, 0x5678);
  ctx.io.write(0x2017, 1, 1);
  ctx.memory.write(0xff000010, 4, 0xdeadbeef);
  const rows: [unknown, unknown][] = [
    [ctx.io.read(0xe0, 4), 0x1234aa78],
    [ctx.io.read(0xe2, 2), 0x1234],
    [ctx.io.read(0xe9, 1), 2],
    [pages, [0x5000]],
    [gsi[23]!.level, true],
    [ctx.memory.read(0xff000012, 2), 0xdead],
  ];
  for (const [got, want] of rows) assert.deepEqual(got, want);
  ctx.io.write(0x2017, 1, 0);
  assert.equal(gsi[23]!.level, false);
});

test("pci-testdev: each test counts its writes", () => {
  const ctx = testContext();
  const dev = new PciTestdev(ctx);
  dev.attach({ bus: 0, devfn: 0x20, setIrq: () => {} });
  dev.configWrite(0x10, 4, 0xfe000000);
  dev.configWrite(0x14, 4, 0xc000);
  dev.configWrite(4, 2, 3);
  const names: string[] = [];
  for (let n = 0; n < 7; n++) {
    const io = n >= 3;
    const space = io ? ctx.io : ctx.memory;
    const base = io ? 0xc000 : 0xfe000000;
    space.write(base, 1, n);
    let name = "";
    for (let i = 16; i < 64; i++) {
      const c = space.read(base + i, 1);
      if (!c) break;
      name += String.fromCharCode(c);
    }
    names.push(name);
    if (!name) continue;
    const offset = space.read(base + 4, 4);
    const data = space.read(base + 8, 1);
    space.write(base + offset, 1, data);
    space.write(base + offset, 1, data ^ 1);
    space.write(base + offset + 1, 1, data);
    assert.equal(space.read(base + 12, 4), name.includes("wildcard") ? 2 : 1, name);
  }
  assert.deepEqual(names, [
    "mmio-no-eventfd",
    "mmio-wildcard-eventfd",
    "mmio-datamatch-eventfd",
    "portio-no-eventfd",
    "portio-wildcard-eventfd",
    "portio-datamatch-eventfd",
    "",
  ]);
});
