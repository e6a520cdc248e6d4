import assert from "node:assert/strict";
import test from "node:test";
import { IrqLine } from "../core/irq.js";
import { kitMachine, mmioTransport, VirtioDriver, WITHOUT_EVENT_IDX } from "./driver-kit.js";
import { VIRTIO_MMIO_BYTES, VirtioMmio } from "./mmio.js";
import { VirtioNet } from "./net.js";
import { VirtioRng, type VirtioRngOptions } from "./rng.js";

const BASE = 0xfeb00000;

function setup(options: Partial<VirtioRngOptions> = {}) {
  const machine = kitMachine();
  const irq = new IrqLine();
  let next = 0;
  const rng = new VirtioRng(machine, {
    fill: (b) => {
      for (let i = 0; i < b.length; i++) b[i] = next++;
    },
    ...options,
  });
  const mmio = new VirtioMmio(machine, rng, irq);
  machine.memory.mapIo(BASE, VIRTIO_MMIO_BYTES, mmio);
  mmio.reset();
  return { machine, irq, mmio, driver: new VirtioDriver(machine, mmioTransport(machine, BASE)) };
}

test("identity, with and without a device", () => {
  const { machine, irq } = setup();
  machine.memory.mapIo(BASE + 0x200, VIRTIO_MMIO_BYTES, new VirtioMmio(machine, undefined, irq));
  for (const [offset, full, empty] of [
    [0, 0x74726976, 0x74726976],
    [4, 2, 2],
    [8, 4, 0],
    [12, 0x554d4551, 0x554d4551],
    [0x34, 8, 0],
    [0xb0, 0xffffffff, 0],
    [0xfc, 0, 0],
  ] as const) {
    assert.equal(machine.memory.read(BASE + offset, 4), full);
    assert.equal(machine.memory.read(BASE + 0x200 + offset, 4), empty);
  }
});

test("entropy over MMIO, interrupt and acknowledge", () => {
  const { machine, driver, irq } = setup();
  assert.ok(driver.init(1, WITHOUT_EVENT_IDX));
  const q = driver.queues[0]!;
  for (let round = 0; round < 20; round++) {
    q.add([{ in: 3 }, { in: 5 }]);
    q.kick();
    const [used] = q.take();
    assert.equal(used?.length, 8);
    assert.deepEqual(
      used?.in.flatMap((b) => [...b]),
      Array.from({ length: 8 }, (_, i) => (round * 8 + i) & 255),
    );
    assert.equal(irq.level, true);
    assert.equal(machine.memory.read(BASE + 0x60, 4), 1);
    driver.transport.readIsr();
    assert.equal(irq.level, false);
  }
});

test("entropy is rationed", () => {
  const { machine, driver } = setup({ maxBytes: 10, periodMs: 1000 });
  driver.init(1, WITHOUT_EVENT_IDX);
  const q = driver.queues[0]!;
  for (let i = 0; i < 3; i++) q.add([{ in: 8 }]);
  q.kick();
  assert.deepEqual(
    q.take().map((u) => u.length),
    [8, 2],
  );
  machine.advance(999_000_000);
  assert.equal(q.take().length, 0);
  machine.advance(1_000_000);
  assert.deepEqual(
    q.take().map((u) => u.length),
    [8],
  );
});

test("gigabytes asked of the entropy device: bounded", () => {
  const { driver } = setup();
  driver.init(1, WITHOUT_EVENT_IDX);
  const q = driver.queues[0]!;
  q.add(Array.from({ length: 8 }, () => ({ addr: 0x400000, length: 4 << 20, write: true })));
  q.kick();
  assert.equal(q.take()[0]?.length, 65536);
});

test("every register takes every width", () => {
  const { machine, mmio } = setup();
  for (const size of [1, 2, 4] as const)
    for (const value of [0, 1, 3, 0xffffffff])
      for (let o = 0; o < VIRTIO_MMIO_BYTES; o++) {
        machine.memory.write(BASE + o, size, value);
        machine.memory.read(BASE + o, size);
      }
  mmio.reset();
  assert.equal(machine.memory.read(BASE + 0x70, 4), 0);
});

test("save and restore", () => {
  const { driver, mmio, irq, machine } = setup();
  driver.init(1, WITHOUT_EVENT_IDX);
  const q = driver.queues[0]!;
  q.add([{ in: 3 }]);
  q.kick();
  q.take();
  const state = structuredClone(mmio.save());
  mmio.reset();
  assert.equal(irq.level, false);
  mmio.restore(state);
  assert.equal(irq.level, true);
  assert.equal(machine.memory.read(BASE + 0x70, 4), 15);
  q.add([{ in: 3 }]);
  q.kick();
  assert.equal(q.take().length, 1);
});

test("a card over MMIO", () => {
  const machine = kitMachine();
  const net = new VirtioNet(machine, { mac: Uint8Array.of(2, 0, 0, 0, 0, 1) });
  machine.memory.mapIo(BASE, VIRTIO_MMIO_BYTES, new VirtioMmio(machine, net, new IrqLine()));
  const driver = new VirtioDriver(machine, mmioTransport(machine, BASE));
  assert.ok(driver.init(3));
  assert.equal(machine.memory.read(BASE + 0x100, 4), 2);
  assert.equal(driver.transport.config(5, 1), 1);
});
