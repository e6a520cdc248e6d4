import assert from "node:assert/strict";
import { test } from "node:test";
import type { DeviceContext } from "../core/device.js";
import { formatPciAddress, PciBus, parsePciAddress, pciDevfn } from "./bus.js";
import { PciConfigPorts } from "./config-ports.js";
import { PciDevice } from "./device.js";
import { testMachine } from "./test-machine.js";

class Probe extends PciDevice {
  readonly type = "probe";
  constructor(ctx: DeviceContext, id?: string, bar = false, pin: 0 | 1 | 2 | 3 | 4 = 1) {
    super(ctx, { vendor: 0x1234, device: 0x5678, class: 0xff0000, interruptPin: pin }, id);
    if (bar) {
      this.addBar(0, "mem32", 0x1000, { name: "probe", read: (o) => 0xa0 + o, write: () => {} });
      this.addBar(1, "mem64", 0x1000, { name: "probe64", read: () => 0x64, write: () => {} });
      this.addBar(3, "io", 0x20, { name: "probe-io", read: (o) => 0x10 + o, write: () => {} });
    }
  }
}

test("slots are assigned in order and multi-function rules hold", () => {
  const m = testMachine();
  const bus = new PciBus();
  assert.equal(bus.attach(new Probe(m), { devfn: 0 }), 0);
  assert.equal(bus.attach(new Probe(m), { devfn: pciDevfn(1), multifunction: true }), 8);
  assert.equal(bus.attach(new Probe(m), { devfn: pciDevfn(1, 3) }), 11);
  assert.equal(bus.attach(new Probe(m)), 16);
  assert.throws(() => bus.attach(new Probe(m, "x"), { devfn: pciDevfn(2, 1) }), /single function device probe in slot 02.0/);
  assert.throws(() => bus.attach(new Probe(m, "x"), { devfn: 8 }), /slot 01.0 is in use by probe, x cannot use it/);
  bus.attach(new Probe(m), { devfn: pciDevfn(5, 2) });
  assert.throws(() => bus.attach(new Probe(m), { devfn: pciDevfn(5) }), /needs multifunction=on/);
  assert.equal(bus.configRead(8, 0x0e, 1), 0x80);
  assert.equal(bus.configRead(8, 0x0c, 4), 0x00800000);
  assert.equal(bus.configRead(16, 0x0e, 1), 0);
  while (bus.devices().filter((d) => (d.devfn & 7) === 0).length < 31) bus.attach(new Probe(m));
  assert.throws(() => bus.attach(new Probe(m)), /no slot is free/);
});

for (const [text, devfn] of [
  ["05", 0x28],
  ["5.1", 0x29],
  ["0x1f.7", 0xff],
  ["0x3.0x0", 0x18],
] as const)
  test(`addr=${text}`, () => {
    assert.equal(parsePciAddress(text), devfn);
    assert.equal(parsePciAddress(formatPciAddress(devfn)), devfn);
  });

for (const text of ["20", "1.8", "", "x", "-1", "1.", "100"])
  test(`addr=${text} is refused`, () => assert.throws(() => parsePciAddress(text), /Parameter 'addr'/));

test("configuration mechanism 1: dword address only, 0xcf9 is the reset register", () => {
  const m = testMachine();
  const bus = new PciBus();
  bus.attach(new Probe(m), { devfn: pciDevfn(3) });
  const ports = new PciConfigPorts(bus, m.io);
  const reset: number[] = [];
  ports.resetControl = { read: () => 0x02, write: (v) => reset.push(v) };
  m.io.write(0xcf8, 4, 0x8000_1803);
  assert.equal(m.io.read(0xcf8, 4), 0x8000_1800);
  const rows: [number, 1 | 2 | 4, number][] = [
    [0xcfc, 4, 0x56781234],
    [0xcfc, 2, 0x1234],
    [0xcfe, 2, 0x5678],
    [0xcfd, 2, 0x7812],
    [0xcff, 1, 0x56],
    [0xcfd, 1, 0x12],
  ];
  for (const [port, size, value] of rows) assert.equal(m.io.read(port, size), value, `${port.toString(16)}/${size}`);
  m.io.write(0xcf9, 1, 6);
  m.io.write(0xcf8, 1, 0);
  m.io.write(0xcfa, 2, 0);
  assert.deepEqual(reset, [6]);
  assert.equal(m.io.read(0xcf9, 1), 2);
  assert.equal(m.io.read(0xcf8, 4), 0x8000_1800);
  assert.equal(m.io.read(0xcf8, 1), 0xff);
  m.io.write(0xcf8, 4, 0x0000_1800);
  assert.equal(m.io.read(0xcfc, 4), 0xffffffff);
  m.io.write(0xcf8, 4, 0x8001_1800);
  assert.equal(m.io.read(0xcfc, 4), 0xffffffff);
  m.io.write(0xcf8, 4, 0x8000_2000);
  assert.equal(m.io.read(0xcfc, 2), 0xffff);
  const saved = ports.save();
  ports.reset();
  ports.restore(saved);
  assert.equal(m.io.read(0xcf8, 4), 0x8000_2000);
});

test("INTx swizzle and shared levels", () => {
  const m = testMachine();
  const bus = new PciBus();
  const events: string[] = [];
  bus.onPirq = (pirq, level) => events.push(`${"ABCD"[pirq]}${level ? "+" : "-"}`);
  const at = (slot: number, pin: 1 | 2 | 3 | 4) => {
    const d = new Probe(m, undefined, false, pin);
    bus.attach(d, { devfn: pciDevfn(slot) });
    return d;
  };
  const a1 = at(1, 1);
  const a2 = at(2, 1);
  const d2 = at(3, 4);
  const a5 = at(5, 1);
  const d0 = at(0, 1);
  a1.irq.raise();
  a5.irq.raise();
  a1.irq.lower();
  a5.irq.lower();
  a2.irq.raise();
  d2.irq.raise();
  d0.irq.raise();
  d0.configWrite(4, 2, 0x400);
  d0.configWrite(4, 2, 0);
  bus.detach(d0);
  assert.deepEqual(events, ["A+", "A-", "B+", "D+", "D-", "D+", "D-"]);
  const saved = bus.save();
  const other = new PciBus();
  other.restore(saved);
  assert.deepEqual(other.save(), saved);
  assert.equal(bus.at(0), undefined);
});

test("hostile: BARs over each other and RAM, half-written 64-bit BAR, every config access size and offset", () => {
  const m = testMachine();
  const bus = new PciBus();
  const p = new Probe(m, "p", true);
  const q = new Probe(m, "q", true);
  bus.attach(p, { devfn: pciDevfn(1) });
  bus.attach(q, { devfn: pciDevfn(2) });
  for (const d of [p, q]) {
    d.configWrite(0x04, 2, 7);
    for (const value of [0xffffffff, 0xfffff000, 0x1000, 0, 0xfebf0000]) {
      d.configWrite(0x10, 4, value);
      d.configWrite(0x14, 4, value);
      d.configWrite(0x18, 4, value);
      d.configWrite(0x1c, 4, value);
      m.memory.read(0xfebf0000, 4);
    }
  }
  p.configWrite(0x10, 4, 0xfebf0000);
  p.configWrite(0x18, 4, 0);
  // Among equals the BAR mapped last wins, and goes on winning.
  assert.equal(m.memory.read(0xfebf0000, 1), 0x64);
  for (let devfn = 0; devfn < 256; devfn++)
    for (let offset = 0; offset < 260; offset += 1)
      for (const size of [1, 2, 4] as const) {
        const v = bus.configRead(devfn, offset, size);
        assert.ok(v >= 0 && v < 2 ** (8 * size));
        bus.configWrite(devfn, offset, size, v);
      }
  bus.detach(p);
  bus.detach(q);
  assert.equal(m.memory.read(0xfebf0000, 1), 0xff);
  assert.equal(m.memory.allMappings().length, 1);
});
