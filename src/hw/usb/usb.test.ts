import assert from "node:assert/strict";
import { test } from "node:test";
import { InputHub } from "../../ui/input.js";
import { QCODES } from "../input/qcodes.js";
import { PciReg } from "../pci/device.js";
import { testMachine } from "../pci/test-machine.js";
import { UsbKeyboard, UsbMouse, UsbTablet } from "./hid.js";
import { Uhci } from "./uhci.js";
import { type UsbDevice, UsbPid } from "./usb-device.js";

const IO = 0xc000;
const FRAMES = 0x1000;
const QH = 0x3000;
const TDS = 0x4000;
const DATA = 0x8000;
const ACTIVE = 1 << 23;
const IOC = 1 << 24;
const SPD = 1 << 29;

function setup(...devices: UsbDevice[]) {
  const m = testMachine();
  const hc = new Uhci(m);
  let line = false;
  hc.attach({
    bus: 0,
    devfn: 0x0a,
    setIrq: (_pin, level) => {
      line = level;
    },
  });
  const hub = new InputHub();
  for (const d of devices) {
    hc.plug(d);
    if (d instanceof UsbTablet || d instanceof UsbMouse || d instanceof UsbKeyboard) d.attachInput(hub);
  }
  hc.configWrite(PciReg.bar0 + 16, 4, IO);
  hc.configWrite(PciReg.command, 2, 5);
  const read = (offset: number) => m.io.read(IO + offset, 2);
  const write = (offset: number, value: number) => m.io.write(IO + offset, 2, value);
  for (let i = 0; i < 1024; i++) m.memory.write(FRAMES + 4 * i, 4, QH | 2);
  m.memory.write(QH, 4, 1);
  m.memory.write(QH + 4, 4, 1);
  m.io.write(IO + 8, 4, FRAMES);
  write(4, 15);
  for (let n = 0; n < devices.length; n++) {
    write(0x10 + 2 * n, 0x200);
    write(0x10 + 2 * n, 4);
  }
  write(0, 1);
  /** Puts transfers behind the queue head and lets frames pass. @returns status words */
  const run = (
    tds: { pid: number; address: number; endpoint: number; length: number; data?: ArrayLike<number> }[],
    frames = 8,
  ) => {
    for (const [i, t] of tds.entries()) {
      const td = TDS + 32 * i;
      m.memory.write(td, 4, i + 1 < tds.length ? (td + 32) | 4 : 1);
      m.memory.write(td + 4, 4, (ACTIVE | IOC | SPD | (3 << 27)) >>> 0);
      m.memory.write(td + 8, 4, ((((t.length - 1) & 0x7ff) << 21) | (t.endpoint << 15) | (t.address << 8) | t.pid) >>> 0);
      m.memory.write(td + 12, 4, DATA + 0x100 * i);
      if (t.data) m.memory.writeBytes(DATA + 0x100 * i, Uint8Array.from(t.data));
    }
    m.memory.write(QH + 4, 4, TDS);
    for (let i = 0; i < frames; i++) m.advance(1_000_000);
    return tds.map((_, i) => m.memory.read(TDS + 32 * i + 4, 4));
  };
  const bytes = (i: number, n: number) => {
    const out = new Uint8Array(n);
    m.memory.readBytes(DATA + 0x100 * i, out);
    return [...out];
  };
  /** A control transfer with data for the host. */
  const ask = (address: number, packet: number[], length: number) => {
    const status = run([
      { pid: UsbPid.setup, address, endpoint: 0, length: 8, data: packet },
      { pid: UsbPid.in, address, endpoint: 0, length },
      { pid: UsbPid.out, address, endpoint: 0, length: 0 },
    ]);
    const n = ((status[1]! + 1) & 0x7ff) % 0x800;
    return { status, data: bytes(1, n) };
  };
  const tell = (address: number, packet: number[]) =>
    run([
      { pid: UsbPid.setup, address, endpoint: 0, length: 8, data: packet },
      { pid: UsbPid.in, address, endpoint: 0, length: 0 },
    ]);
  return { m, hc, hub, read, write, run, ask, tell, bytes, irq: () => line };
}

test("ports: what is plugged in, reset, enabled", () => {
  const { read, write, hc } = setup(new UsbTablet());
  assert.equal(read(0x10) & 7, 7);
  assert.equal(read(0x12) & 1, 0);
  write(0x10, 6);
  assert.equal(read(0x10) & 7, 5);
  write(0x12, 4);
  assert.equal(read(0x12) & 4, 0, "nothing there");
  const second = new UsbMouse();
  assert.equal(hc.plug(second), 1);
  assert.equal(read(0x12) & 3, 3);
  assert.equal(hc.plug(new UsbMouse()), -1);
  hc.unplug(second);
  assert.equal(read(0x12) & 3, 2);
});

test("enumeration of a tablet, and its reports", () => {
  const t = setup(new UsbTablet());
  const device = t.ask(0, [0x80, 6, 0, 1, 0, 0, 18, 0], 18);
  assert.deepEqual(device.data.slice(0, 12), [18, 1, 0x10, 1, 0, 0, 0, 8, 0x27, 6, 1, 0]);
  assert.equal(t.irq(), true);
  t.write(2, 1);
  assert.equal(t.irq(), false);
  t.tell(0, [0, 5, 7, 0, 0, 0, 0, 0]);
  const config = t.ask(7, [0x80, 6, 0, 2, 0, 0, 255, 0], 64);
  assert.deepEqual([config.data.length, config.data[2]], [34, 34]);
  const report = t.ask(7, [0x81, 6, 0, 0x22, 0, 0, 255, 0], 128);
  assert.equal(report.data.length, config.data[25]);
  assert.deepEqual(
    t.ask(7, [0x80, 6, 2, 3, 9, 4, 255, 0], 64).data.filter((_, i) => i >= 2 && i % 2 === 0),
    [..."QEMU USB Tablet"].map((c) => c.charCodeAt(0)),
  );
  assert.equal(t.hub.pointers()[0]?.absolute, true);
  const poll = { pid: UsbPid.in, address: 7, endpoint: 1, length: 8 };
  assert.ok(t.run([poll])[0]! & (1 << 22), "not configured: stall");
  t.tell(7, [0, 9, 1, 0, 0, 0, 0, 0]);
  const waiting = t.run([poll])[0]!;
  assert.deepEqual([waiting & ACTIVE, waiting & (1 << 19)], [ACTIVE, 1 << 19], "NAK stays active");
  t.hub.moveTo(0x1234, 0x7fff, 0, 1);
  t.hub.moveTo(0x1235, 0x7fff, 0, 1);
  assert.equal((t.run([poll])[0]! & 0x7ff) + 1, 6);
  assert.deepEqual(t.bytes(0, 6), [1, 0x35, 0x12, 0xff, 0x7f, 0]);
  t.hub.moveTo(0, 0, 1, 0);
  t.run([poll]);
  assert.deepEqual(t.bytes(0, 6), [0, 0, 0, 0, 0, 255]);
});

test("a keyboard's reports and lights, a mouse's", () => {
  const keyboard = new UsbKeyboard();
  const t = setup(keyboard, new UsbMouse());
  // Both have address 0 until they are told: one port at a time.
  t.write(0x12, 0);
  t.tell(0, [0, 5, 1, 0, 0, 0, 0, 0]);
  t.write(0x12, 4);
  t.tell(0, [0, 5, 2, 0, 0, 0, 0, 0]);
  for (const a of [1, 2]) t.tell(a, [0, 9, 1, 0, 0, 0, 0, 0]);
  const poll = (address: number, n: number) => {
    t.run([{ pid: UsbPid.in, address, endpoint: 1, length: 8 }]);
    return t.bytes(0, n);
  };
  t.hub.key("shift", true);
  t.hub.key("a", true);
  assert.deepEqual(poll(1, 8), [2, 0, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual(poll(1, 8), [2, 0, 4, 0, 0, 0, 0, 0]);
  for (const k of ["b", "c", "d", "e", "f", "g"]) t.hub.key(k, true);
  for (let i = 0; i < 5; i++) poll(1, 8);
  assert.deepEqual(poll(1, 8), [2, 0, 1, 1, 1, 1, 1, 1], "more than six");
  t.run([
    { pid: UsbPid.setup, address: 1, endpoint: 0, length: 8, data: [0x21, 9, 0, 2, 0, 0, 1, 0] },
    { pid: UsbPid.out, address: 1, endpoint: 0, length: 1, data: [5] },
    { pid: UsbPid.in, address: 1, endpoint: 0, length: 0 },
  ]);
  assert.equal(keyboard.lights, 5);
  t.hub.moveBy(-5, 200, 0, 4);
  assert.deepEqual(poll(2, 4), [4, 251, 127, 0]);
});

test("no device at an address: the error count runs out", () => {
  const { run, read, irq } = setup(new UsbTablet());
  const [status] = run([{ pid: UsbPid.in, address: 99, endpoint: 0, length: 8 }], 20);
  assert.deepEqual([status! & ACTIVE, status! & (1 << 18), (status! >> 27) & 3], [0, 1 << 18, 0]);
  assert.equal(read(2) & 2, 2);
  assert.equal(irq(), true);
});

test("state goes round", () => {
  const a = setup(new UsbTablet());
  a.tell(0, [0, 5, 7, 0, 0, 0, 0, 0]);
  a.tell(7, [0, 9, 1, 0, 0, 0, 0, 0]);
  a.hub.moveTo(5, 6, 0, 1);
  const b = setup(new UsbTablet());
  b.hc.restore(a.hc.save());
  b.run([{ pid: UsbPid.in, address: 7, endpoint: 1, length: 8 }]);
  assert.deepEqual(b.bytes(0, 6), [1, 5, 0, 6, 0, 0]);
});

test("hostile schedules: circles, addresses nowhere, bad tokens, requests of every kind", () => {
  const t = setup(new UsbTablet());
  // Queue heads and transfers that point to themselves.
  t.m.memory.write(QH, 4, QH | 2);
  t.m.memory.write(QH + 4, 4, QH | 2);
  for (let i = 0; i < 50; i++) t.m.advance(1_000_000);
  t.m.memory.write(FRAMES, 4, TDS);
  for (let i = 0; i < 1024; i++) t.m.memory.write(FRAMES + 4 * i, 4, TDS);
  t.m.memory.write(TDS, 4, TDS);
  t.m.memory.write(TDS + 4, 4, ACTIVE);
  t.m.memory.write(TDS + 8, 4, (7 << 21) | UsbPid.in);
  for (let i = 0; i < 50; i++) t.m.advance(1_000_000);
  t.m.io.write(IO + 8, 4, 0xfffff000);
  for (let i = 0; i < 50; i++) t.m.advance(1_000_000);
  // A token that is none stops the controller.
  t.m.io.write(IO + 8, 4, FRAMES);
  t.m.memory.write(TDS + 4, 4, ACTIVE);
  t.m.memory.write(TDS + 8, 4, 0x55);
  for (let i = 0; i < 50; i++) t.m.advance(1_000_000);
  assert.equal(t.read(2) & 0x30, 0x30);
  assert.equal(t.read(0) & 1, 0);
  for (let at = 0; at < 32; at++)
    for (const size of [1, 2, 4] as const) {
      t.m.io.read(IO + at, size);
      t.m.io.write(IO + at, size, 0xffffffff % 2 ** (8 * size));
    }
  t.hc.reset();
  const device = new UsbKeyboard();
  let seed = 1;
  const random = () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return seed >>> 16;
  };
  for (let i = 0; i < 20_000; i++) {
    const pid = [UsbPid.in, UsbPid.out, UsbPid.setup][random() % 3]!;
    device.transaction(pid, random() % 3, Uint8Array.from({ length: random() % 20 }, random));
  }
});

test("every key of a PC keyboard but those of multimedia has a usage", async () => {
  const { HID_USAGES } = await import("./hid-usages.js");
  const known = new Set<string>(QCODES);
  for (const name of HID_USAGES.keys()) if (name !== "kp_equals") assert.ok(known.has(name), name);
  assert.ok(HID_USAGES.size > 100);
});
