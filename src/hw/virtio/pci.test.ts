import assert from "node:assert/strict";
import test from "node:test";
import { VmError } from "../../base/errors.js";
import { PciReg } from "../pci/device.js";
import {
  findStructure,
  kitMachine,
  legacyTransport,
  modernTransport,
  plug,
  VirtioDriver,
  WITHOUT_EVENT_IDX,
} from "./driver-kit.js";
import { VirtioPci, type VirtioPciOptions } from "./pci.js";
import { VirtioRng } from "./rng.js";

function make(options: VirtioPciOptions = {}, msi = true) {
  const machine = kitMachine();
  const rng = new VirtioRng(machine, { fill: (b) => b.fill(0xa5) });
  const pci = new VirtioPci(machine, "virtio-rng-pci", rng, { ...options, ...(msi ? { sendMsi: machine.sendMsi } : {}) });
  return { machine, pci, rng, ...plug(pci) };
}

test("identity, rows", () => {
  const rows: { options: VirtioPciOptions; device: number; revision: number; subsystem: number; bars: string[] }[] = [
    { options: {}, device: 0x1005, revision: 0, subsystem: 4, bars: ["mem64:4:16384", "mem32:1:4096", "io:0:32"] },
    { options: { disableLegacy: "on" }, device: 0x1044, revision: 1, subsystem: 0x1100, bars: ["mem64:4:16384", "mem32:1:4096"] },
    { options: { disableModern: true }, device: 0x1005, revision: 0, subsystem: 4, bars: ["mem32:1:4096", "io:0:32"] },
    { options: { vectors: 0 }, device: 0x1005, revision: 0, subsystem: 4, bars: ["mem64:4:16384", "io:0:32"] },
  ];
  for (const row of rows) {
    const { pci } = make(row.options);
    assert.equal(pci.configRead(PciReg.vendorId, 2), 0x1af4);
    assert.equal(pci.configRead(PciReg.deviceId, 2), row.device);
    assert.equal(pci.configRead(PciReg.revision, 1), row.revision);
    assert.equal(pci.configRead(PciReg.subsystemId, 2), row.subsystem);
    assert.deepEqual(
      pci.barList().map((b) => `${b.kind}:${b.index}:${b.size}`),
      row.bars,
    );
  }
  assert.throws(
    () => make({ disableLegacy: "on", disableModern: true }),
    (e) => e instanceof VmError,
  );
});

test("capabilities lie where QEMU has them", () => {
  const { pci, machine } = make();
  const list: string[] = [];
  for (let cap = pci.configRead(PciReg.capabilities, 1); cap !== 0; cap = pci.configRead(cap + 1, 1))
    list.push(`${cap.toString(16)}:${pci.configRead(cap, 1)}:${pci.configRead(cap + 3, 1)}`);
  assert.deepEqual(list, ["98:17:0", "84:9:5", "70:9:2", "60:9:4", "50:9:3", "40:9:1"]);
  assert.equal(pci.configRead(PciReg.bar0 + 16, 4) & 15, 12);
  assert.deepEqual(findStructure(pci, 2), { address: pci.barAddress(4) + 0x3000, length: 0x1000, multiplier: 4 });
  assert.equal(machine.memory.read(findStructure(pci, 1).address + 0x12, 2), 1);
});

test("features by interface", () => {
  const { machine, pci } = make();
  const modern = modernTransport(machine, pci).deviceFeatures();
  const legacy = legacyTransport(machine, pci).deviceFeatures();
  assert.equal(modern, (1n << 28n) | (1n << 29n) | (1n << 32n) | (1n << 40n));
  assert.equal(legacy, (1n << 24n) | (1n << 27n) | (1n << 28n) | (1n << 29n));
});

test("FEATURES_OK stays clear for features that are not offered", () => {
  for (const [extra, ok] of [
    [0n, true],
    [1n << 5n, false],
    [1n << 33n, false],
  ] as const) {
    const { machine, pci } = make();
    const t = modernTransport(machine, pci);
    t.setStatus(3);
    t.setFeatures((1n << 32n) | extra);
    t.setStatus(11);
    assert.equal((t.status() & 8) !== 0, ok);
    // Too late now.
    t.setFeatures(0n);
    assert.equal(machine.errors.length > 0, true);
  }
});

test("MSI-X: vectors, masks, pending", () => {
  const { machine, pci, intx } = make();
  const table = pci.barAddress(1);
  for (const v of [0, 1]) {
    machine.memory.write(table + 16 * v, 4, 0xfee00000);
    machine.memory.write(table + 16 * v + 8, 4, 0x4040 + v);
    machine.memory.write(table + 16 * v + 12, 4, 0);
  }
  pci.configWrite(0x98 + 2, 2, 0x8000);
  const t = modernTransport(machine, pci);
  const driver = new VirtioDriver(machine, t);
  driver.init(1, WITHOUT_EVENT_IDX);
  assert.equal(t.setConfigVector(0), 0);
  assert.equal(t.setQueueVector(0, 2), 0xffff);
  assert.equal(t.setQueueVector(0, 1), 1);
  const q = driver.queues[0]!;
  const go = () => {
    q.add([{ in: 8 }]);
    q.kick();
    machine.advance();
    assert.equal(q.take().length, 1);
  };
  go();
  assert.deepEqual(machine.msis, [{ address: 0xfee00000, data: 0x4041 }]);
  assert.equal(intx(), false);
  // Masked by vector, then by function.
  for (const [mask, unmask] of [
    [() => machine.memory.write(table + 16 + 12, 4, 1), () => machine.memory.write(table + 16 + 12, 4, 0)],
    [() => pci.configWrite(0x98 + 2, 2, 0xc000), () => pci.configWrite(0x98 + 2, 2, 0x8000)],
  ] as const) {
    machine.msis.length = 0;
    mask();
    go();
    go();
    assert.deepEqual(machine.msis, []);
    assert.equal(machine.memory.read(table + 2048, 4), 2);
    unmask();
    assert.deepEqual(machine.msis, [{ address: 0xfee00000, data: 0x4041 }]);
    assert.equal(machine.memory.read(table + 2048, 4), 0);
  }
  // No vector: no interrupt.
  machine.msis.length = 0;
  t.setQueueVector(0, 0xffff);
  go();
  assert.deepEqual(machine.msis, []);
});

test("legacy configuration moves with MSI-X", () => {
  const { machine, pci } = make();
  const io = pci.barAddress(0);
  pci.configWrite(0x98 + 2, 2, 0x8000);
  assert.equal(machine.io.read(io + 20, 2), 0xffff);
  machine.io.write(io + 20, 2, 1);
  assert.equal(machine.io.read(io + 20, 2), 1);
  machine.io.write(io + 20, 2, 7);
  assert.equal(machine.io.read(io + 20, 2), 0xffff);
});

test("the window in configuration space reaches the modern BAR", () => {
  const { machine, pci } = make();
  const cap = 0x84;
  const at = (offset: number, length: number) => {
    pci.configWrite(cap + 4, 1, 4);
    pci.configWrite(cap + 8, 4, offset);
    pci.configWrite(cap + 12, 4, length);
  };
  at(0x12, 2);
  assert.equal(pci.configRead(cap + 16, 2), 1);
  at(0x14, 1);
  pci.configWrite(cap + 16, 1, 3);
  assert.equal(machine.memory.read(pci.barAddress(4) + 0x14, 1), 3);
  // Nonsense does nothing.
  for (const [offset, length] of [
    [0xfffffffc, 4],
    [0x4000, 1],
    [0x13, 2],
    [0, 3],
    [0, 0],
    [0, 0xffffffff],
  ] as const) {
    at(offset, length);
    pci.configWrite(cap + 16, 4, 0xffffffff);
    pci.configRead(cap + 16, 4);
  }
  assert.equal(machine.memory.read(pci.barAddress(4) + 0x14, 1), 3);
});

test("every offset of every size of both BARs answers", () => {
  const { machine, pci } = make();
  const bar = pci.barAddress(4);
  const io = pci.barAddress(0);
  for (const size of [1, 2, 4] as const)
    for (const value of [0, 1, 0xffffffff]) {
      for (let o = 0; o < 0x50; o++) {
        machine.memory.write(bar + o, size, value);
        machine.memory.read(bar + o, size);
        machine.io.write(io + (o & 31), size, value);
        machine.io.read(io + (o & 31), size);
      }
      for (const o of [0x0fff, 0x1000, 0x1fff, 0x2000, 0x2fff, 0x3000, 0x3003, 0x3fff]) {
        machine.memory.write(bar + o, size, value);
        machine.memory.read(bar + o, size);
      }
      for (let o = 0; o < 256; o++) {
        pci.configRead(o, size);
        pci.configWrite(o, size, value);
      }
      plug(pci);
    }
});

test("without bus mastering nothing is read", () => {
  const { machine, pci } = make();
  const driver = new VirtioDriver(machine, modernTransport(machine, pci));
  driver.init(1, WITHOUT_EVENT_IDX);
  pci.configWrite(PciReg.command, 2, 3);
  driver.queues[0]!.add([{ in: 8 }]);
  driver.queues[0]!.kick();
  assert.equal(driver.queues[0]!.take().length, 0);
  // A legacy driver that starts the device gets it switched on.
  const legacy = legacyTransport(machine, pci);
  legacy.setStatus(0);
  legacy.setStatus(7);
  assert.equal(pci.busMaster, true);
});
