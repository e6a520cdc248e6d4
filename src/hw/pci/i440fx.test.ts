import assert from "node:assert/strict";
import { test } from "node:test";
import { IrqLine } from "../core/irq.js";
import { PciBus, pciDevfn } from "./bus.js";
import { I440fx, splitRam } from "./i440fx.js";
import { Piix3Isa, type ResetKind } from "./piix3.js";
import { testMachine } from "./test-machine.js";

const MIB = 2 ** 20;
const GIB = 2 ** 30;

for (const [size, below4g, above4g] of [
  [128 * MIB, 128 * MIB, 0],
  [3 * GIB, 3 * GIB, 0],
  [3.5 * GIB - MIB, 3.5 * GIB - MIB, 0],
  [3.5 * GIB, 3 * GIB, 0.5 * GIB],
  [8 * GIB, 3 * GIB, 5 * GIB],
] as const)
  test(`split of ${size / MIB} MiB`, () => assert.deepEqual(splitRam(size), { below4g, above4g }));

function bridge(ramBytes = 32 * MIB) {
  const m = testMachine(ramBytes, false, 0x40000);
  const bios = m.ram.allocate("pc.bios", 0x40000);
  m.ram.bytes(bios).fill(0xb1);
  m.ram.bytes(bios)[0x3fff0] = 0xea;
  m.ram.bytes(m.block).fill(0x55);
  const vga = { name: "vga-lowmem", read: () => 0x76, write: () => {} };
  m.memory.mapIo(0xa0000, 0x20000, vga, { priority: 1 });
  const host = new I440fx(m, { ram: m.block, ramSizeBytes: ramBytes, bios });
  const bus = new PciBus();
  bus.attach(host, { devfn: 0 });
  return { m, host, bus, bios };
}

test("after reset: ROM alias, VGA window, RAM", () => {
  const { m, bus } = bridge();
  assert.equal(bus.configRead(0, 0, 4), 0x12378086);
  const rows: [number, number][] = [
    [0x9ffff, 0x55],
    [0xa0000, 0x76],
    [0xbffff, 0x76],
    [0xc0000, 0xff],
    [0xdffff, 0xff],
    [0xe0000, 0xb1],
    [0xffff0, 0xea],
    [0x100000, 0x55],
    [32 * MIB - 1, 0x55],
    [32 * MIB, 0xff],
    [0xfffffff0, 0xea],
    [0xfffc0000, 0xb1],
    [0xfffbffff, 0xff],
  ];
  for (const [addr, value] of rows) assert.equal(m.memory.read(addr, 1), value, addr.toString(16));
});

// The attribute of one segment; reads and writes at its first byte.
for (const [register, value, addr, read, lands] of [
  [0x59, 0x10, 0xf0000, "ram", false],
  [0x59, 0x20, 0xf0000, "rom", true],
  [0x59, 0x30, 0xf0000, "ram", true],
  [0x59, 0x00, 0xf0000, "rom", false],
  [0x59, 0x33, 0xec000, "rom", false],
  [0x5a, 0x01, 0xc0000, "ram", false],
  [0x5a, 0x02, 0xc0000, "none", true],
  [0x5a, 0x30, 0xc4000, "ram", true],
  [0x5a, 0x30, 0xc0000, "none", false],
  [0x5b, 0x33, 0xc8000, "ram", true],
  [0x5c, 0x33, 0xd0000, "ram", true],
  [0x5d, 0x30, 0xdc000, "ram", true],
  [0x5e, 0x03, 0xe0000, "ram", true],
  [0x5e, 0x20, 0xe4000, "rom", true],
  [0x5f, 0x02, 0xe8000, "rom", true],
  [0x5f, 0x20, 0xec000, "rom", true],
  [0x5f, 0x33, 0xf0000, "rom", false],
] as const)
  test(`PAM ${register.toString(16)}=${value.toString(16)} at ${addr.toString(16)}: reads ${read}, write lands: ${lands}`, () => {
    const { m, bus } = bridge();
    bus.configWrite(0, register, 1, value);
    assert.equal(m.memory.read(addr, 1), { ram: 0x55, rom: 0xb1, none: 0xff }[read]);
    m.memory.write(addr, 4, 0x12345678);
    bus.configWrite(0, 0x59, 1, 0x30);
    for (let r = 0x5a; r <= 0x5f; r++) bus.configWrite(0, r, 1, 0x33);
    assert.equal(m.memory.read(addr, 4), lands ? 0x12345678 : 0x55555555);
  });

test("write-only writes drop translated code", () => {
  const { m, bus } = bridge();
  bus.configWrite(0, 0x59, 1, 0x20);
  const seen: [number, number][] = [];
  m.memory.onRamWrite = (h, n) => seen.push([h - m.block.hostOffset, n]);
  m.memory.write(0xf1234, 2, 1);
  assert.deepEqual(seen, [[0xf1234, 2]]);
});

test("SMRAM: open, close, lock", () => {
  const { m, bus, host } = bridge();
  const views: string[] = [];
  host.onSmram = (v) => views.push(`${+v.enabled}${+v.open}${+v.closed}`);
  bus.configWrite(0, 0x72, 1, 0x4a);
  assert.equal(m.memory.read(0xa0000, 1), 0x55);
  bus.configWrite(0, 0x72, 1, 0x2a);
  assert.equal(m.memory.read(0xa0000, 1), 0x76);
  bus.configWrite(0, 0x72, 1, 0x5a);
  assert.equal(bus.configRead(0, 0x72, 1), 0x1a);
  bus.configWrite(0, 0x72, 1, 0x4a);
  assert.equal(bus.configRead(0, 0x72, 1), 0x1a);
  assert.equal(m.memory.read(0xa0000, 1), 0x76);
  assert.deepEqual(views, ["110", "101", "100"]);
  assert.equal(host.smramHostOffset, m.block.hostOffset + 0xa0000);
  host.reset();
  assert.equal(bus.configRead(0, 0x72, 1), 0x02);
});

test("memory hole, BAR under RAM, reset and restore", () => {
  const { m, bus, host } = bridge();
  m.memory.mapIo(15 * MIB, 0x1000, { name: "bar", read: () => 0xba, write: () => {} }, { priority: 1 });
  assert.equal(m.memory.read(15 * MIB, 1), 0x55);
  bus.configWrite(0, 0x68, 1, 0x80);
  assert.equal(m.memory.read(15 * MIB, 1), 0xba);
  assert.equal(m.memory.read(16 * MIB, 1), 0x55);
  const saved = host.save();
  bus.configWrite(0, 0x68, 1, 0x40);
  assert.equal(m.memory.read(0x7ffff, 1), 0x55);
  assert.equal(m.memory.read(0x80000, 1), 0xff);
  host.reset();
  assert.equal(m.memory.read(0x80000, 1), 0x55);
  assert.equal(m.memory.read(15 * MIB, 1), 0x55);
  host.restore(saved);
  assert.equal(m.memory.read(15 * MIB, 1), 0xba);
});

test("RAM smaller than 1 MiB", () => {
  const { m, bus } = bridge(0x80000);
  for (let r = 0x59; r <= 0x5f; r++) bus.configWrite(0, r, 1, 0x22);
  m.memory.write(0xf0000, 1, 1);
  assert.equal(m.memory.read(0x80000, 1), 0xff);
  assert.equal(m.memory.read(0xf0000, 1), 0xb1);
});

test("PIRQ routing follows PIRQRC, also while levels are high", () => {
  const m = testMachine();
  const events: string[] = [];
  const irqs = Array.from({ length: 16 }, (_, n) => new IrqLine((level) => events.push(`${n}${level ? "+" : "-"}`)));
  const resets: ResetKind[] = [];
  const bus = new PciBus();
  const isa = new Piix3Isa(m, { irqs, onReset: (kind) => resets.push(kind) });
  bus.onPirq = (pirq, level) => isa.setPirq(pirq, level);
  bus.attach(isa, { devfn: pciDevfn(1), multifunction: true });
  assert.equal(bus.configRead(8, 0, 4), 0x70008086);
  assert.equal(bus.configRead(8, 0x0e, 1), 0x80);
  isa.setPirq(0, true);
  assert.deepEqual(events, []);
  bus.configWrite(8, 0x60, 4, 0x0b0a0b0a);
  isa.setPirq(2, true);
  isa.setPirq(0, false);
  isa.setPirq(1, true);
  assert.deepEqual(events.splice(0), ["10+", "11+"]);
  bus.configWrite(8, 0x62, 1, 0x05);
  assert.deepEqual(events.splice(0), ["10-", "5+"]);
  bus.configWrite(8, 0x62, 1, 0x0d);
  assert.deepEqual(events.splice(0), ["5-"]);
  assert.deepEqual(
    [0, 1, 2, 3].map((p) => isa.routeOf(p)),
    [10, 11, undefined, 11],
  );
  const saved = isa.save();
  isa.reset();
  assert.deepEqual(events.splice(0), ["11-"]);
  isa.restore(saved);
  assert.deepEqual(events, []);
  assert.equal(irqs[11]!.level, true);
  isa.setPirq(1, false);
  assert.deepEqual(events, ["11-"]);
  for (const [value, expected, read] of [
    [0x02, [], 2],
    [0x06, ["hard"], 2],
    [0x04, ["soft"], 0],
    [0x00, [], 0],
  ] as const) {
    isa.resetControl.write(value);
    assert.deepEqual(resets.splice(0), expected);
    assert.equal(isa.resetControl.read(), read);
  }
});
