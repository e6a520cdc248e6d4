import assert from "node:assert/strict";
import test from "node:test";
import { createVirtioBalloonPci, type VirtioBalloon, type VirtioBalloonOptions } from "./balloon.js";
import {
  type DriverQueue,
  KIT_RAM_BYTES,
  kitMachine,
  le,
  legacyTransport,
  modernTransport,
  plug,
  VirtioDriver,
  WITHOUT_EVENT_IDX,
} from "./driver-kit.js";

function setup(options: Partial<VirtioBalloonOptions> & { modern?: boolean } = {}) {
  const machine = kitMachine();
  const runs: [number, number, boolean][] = [];
  const changes: number[] = [];
  const pci = createVirtioBalloonPci(machine, {
    ramBytes: KIT_RAM_BYTES,
    onPage: (a, s, inflated) => runs.push([a, s, inflated]),
    onChange: (bytes) => changes.push(bytes),
    ...options,
  });
  const wires = plug(pci);
  const transport = options.modern === false ? legacyTransport(machine, pci) : modernTransport(machine, pci);
  const driver = new VirtioDriver(machine, transport);
  assert.ok(driver.init(options.freePageReporting ? 4 : 3, WITHOUT_EVENT_IDX));
  const [inflate, deflate, stats, reporting] = driver.queues as [DriverQueue, DriverQueue, DriverQueue, DriverQueue];
  return {
    machine,
    pci,
    balloon: pci.virtio as VirtioBalloon,
    driver,
    runs,
    changes,
    inflate,
    deflate,
    stats,
    reporting,
    ...wires,
  };
}

const pfns = (...list: number[]) => le(...list.map((p): [number, number] => [p, 4]));

test("inflate and deflate, rows", () => {
  for (const [name, list, want] of [
    ["one page", [5], [[0x5000, 0x1000]]],
    ["a run upwards", [5, 6, 7], [[0x5000, 0x3000]]],
    ["a run downwards", [7, 6, 5], [[0x5000, 0x3000]]],
    [
      "two runs",
      [5, 6, 9],
      [
        [0x5000, 0x2000],
        [0x9000, 0x1000],
      ],
    ],
    ["outside RAM", [5, 0xffffffff, 2048, 6], [[0x5000, 0x2000]]],
    ["none", [], []],
  ] as [string, number[], number[][]][]) {
    const { inflate, deflate, runs } = setup();
    for (const [q, up] of [
      [inflate, true],
      [deflate, false],
    ] as const) {
      runs.length = 0;
      q.add([{ out: list.length ? pfns(...list) : Uint8Array.of(0, 0) }]);
      q.kick();
      assert.equal(q.take().length, 1);
      assert.deepEqual(
        runs,
        want.map((r) => [...r, up]),
        name,
      );
    }
  }
});

test("the target, and what the guest has done of it", () => {
  for (const modern of [true, false]) {
    const { balloon, driver, intx, changes } = setup({ modern });
    balloon.setTarget(KIT_RAM_BYTES - 0x10000);
    assert.equal(intx(), true);
    assert.equal(driver.transport.config(0, 4), 16);
    driver.transport.setConfig(4, 4, 10);
    assert.equal(balloon.actualBytes, KIT_RAM_BYTES - 0xa000);
    assert.deepEqual(changes, [KIT_RAM_BYTES - 0xa000]);
    driver.transport.setConfig(4, 4, 0xffffffff);
    assert.equal(balloon.actualBytes, 0);
    driver.transport.setConfig(0, 4, 77);
    assert.equal(driver.transport.config(0, 4), 16);
    balloon.setTarget(2 ** 60);
    assert.equal(driver.transport.config(0, 4), 0);
    balloon.setTarget(-1);
    assert.equal(driver.transport.config(0, 4), KIT_RAM_BYTES / 4096);
  }
});

test("millions of page numbers in one chain: bounded", () => {
  const { inflate, runs, machine } = setup();
  // All of RAM as page numbers, again and again.
  inflate.add(Array.from({ length: 100 }, () => ({ addr: 0, length: 8 << 20, write: false })));
  inflate.kick();
  assert.equal(inflate.take().length, 1);
  assert.equal(runs.length <= 4096, true);
  assert.equal(machine.errors.length > 0, true);
});

test("statistics go round", () => {
  const { stats, balloon, machine, pci } = setup();
  const report = (free: number) => {
    stats.add([{ out: le([4, 2], [free, 8], [5, 2], [1000, 8], [99, 2], [1, 8]) }]);
    stats.kick();
  };
  report(2 ** 33);
  assert.equal(stats.take().length, 0);
  assert.deepEqual(
    [...balloon.stats().values],
    [
      ["stat-free-memory", 2 ** 33],
      ["stat-total-memory", 1000],
    ],
  );
  balloon.setStatsInterval(2);
  machine.advance(1_000_000_000);
  assert.equal(stats.take().length, 0);
  machine.advance(1_000_000_000);
  assert.equal(stats.take().length, 1);
  report(7);
  assert.equal(balloon.stats().values.get("stat-free-memory"), 7);
  // The buffer that the device holds is held after a snapshot, too.
  const state = structuredClone(pci.save());
  pci.reset();
  assert.equal(balloon.stats().values.size, 0);
  pci.restore(state);
  machine.advance(2_000_000_000);
  assert.equal(stats.take().length, 1);
  assert.equal(balloon.stats().values.get("stat-free-memory"), 7);
});

test("free page reporting", () => {
  const { reporting, runs } = setup({ freePageReporting: true });
  reporting.add([
    { addr: 0x200000, length: 0x400000, write: true },
    { addr: 0x700800, length: 0x2000, write: true },
  ]);
  reporting.kick();
  assert.equal(reporting.take().length, 1);
  assert.deepEqual(runs, [
    [0x200000, 0x400000, true],
    [0x701000, 0x1000, true],
  ]);
});
