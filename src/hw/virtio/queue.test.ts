import assert from "node:assert/strict";
import test from "node:test";
import type { DeviceState } from "../core/device.js";
import type { Chain } from "./chain.js";
import { VirtioDevice } from "./device.js";
import {
  type Buffer,
  KIT_MODERN_BAR,
  KIT_RAM_BYTES,
  KIT_ROM,
  kitMachine,
  legacyTransport,
  modernTransport,
  plug,
  VirtioDriver,
  WITHOUT_EVENT_IDX,
} from "./driver-kit.js";
import { VirtioPci } from "./pci.js";
import { needEvent } from "./queue.js";
import { DescFlag, VirtioId, VirtioStatus } from "./spec.js";

/** Gives every chain back with the readable bytes copied into the writable ones. */
class EchoDevice extends VirtioDevice {
  override readonly virtioId = VirtioId.rng;
  handled = 0;
  paused = false;
  readonly queue = this.addQueue(8, (q) =>
    this.drain(q, (chain: Chain) => {
      if (this.paused) {
        q.unpop(chain);
        return false;
      }
      this.handled++;
      const bytes = new Uint8Array(Math.min(chain.readable.total, 4096));
      chain.readable.read(0, bytes);
      const n = chain.writable.write(0, bytes);
      q.push(chain, n);
      this.interrupt(q);
      return true;
    }),
  );
  protected override saveDevice(): DeviceState {
    return {};
  }
  protected override restoreDevice(): void {}
}

function setup(modern = true, without = WITHOUT_EVENT_IDX) {
  const machine = kitMachine();
  const device = new EchoDevice(machine, "echo", 0n, new Uint8Array(8));
  const pci = new VirtioPci(machine, "echo-pci", device, { vectors: 2, sendMsi: machine.sendMsi });
  const wires = plug(pci);
  const driver = new VirtioDriver(machine, modern ? modernTransport(machine, pci) : legacyTransport(machine, pci));
  assert.ok(driver.init(1, without));
  return { machine, device, pci, driver, q: driver.queues[0]!, wires };
}

const hello = new TextEncoder().encode("hello, device");
const shapes: { name: string; buffers: Buffer[]; want: string[] }[] = [
  { name: "one out, one in", buffers: [{ out: hello }, { in: 13 }], want: ["hello, device"] },
  { name: "split out", buffers: [{ out: hello.slice(0, 1) }, { out: hello.slice(1) }, { in: 13 }], want: ["hello, device"] },
  { name: "split in", buffers: [{ out: hello }, { in: 5 }, { in: 2 }, { in: 6 }], want: ["hello", ", ", "device"] },
  { name: "in too short", buffers: [{ out: hello }, { in: 5 }], want: ["hello"] },
  { name: "only out", buffers: [{ out: hello }], want: [] },
];
for (const modern of [true, false])
  for (const indirect of [false, true])
    for (const row of shapes)
      test(`chain, ${modern ? "modern" : "legacy"}, ${indirect ? "indirect" : "direct"}: ${row.name}`, () => {
        const { q, driver, wires } = setup(modern);
        // Several rounds: indices wrap around the ring.
        for (let round = 0; round < 40; round++) {
          const head = q.add(row.buffers, indirect);
          q.kick();
          const [used, ...rest] = q.take();
          assert.equal(rest.length, 0);
          assert.equal(used?.head, head);
          assert.deepEqual(
            used?.in.map((b) => new TextDecoder().decode(b)),
            row.want,
          );
          assert.equal(used?.length, row.want.join("").length);
          assert.equal(wires.intx(), true);
          assert.equal(driver.transport.readIsr(), 1);
          assert.equal(wires.intx(), false);
        }
      });

test("chain crossing contiguous mappings and a ring over a seam", () => {
  const { machine, q } = setup();
  const block = machine.ram.blocks[0]!;
  // The same RAM, mapped again on top: the flat view is cut, the bytes stay where they are.
  machine.memory.map(0x11000, 0x1000, { kind: "ram", block, offset: 0x11000 }, { priority: 2 });
  for (let i = 0; i < 300; i++) {
    q.add([{ out: hello }, { in: 13 }]);
    q.kick();
    assert.equal(new TextDecoder().decode(q.take()[0]?.in[0]), "hello, device");
  }
});

test("needEvent, rows", () => {
  for (const [event, now, old, want] of [
    [0, 1, 0, true],
    [1, 1, 0, false],
    [0, 5, 0, true],
    [4, 5, 0, true],
    [5, 5, 0, false],
    [0xffff, 0, 0xffff, true],
    [0xffff, 0xffff, 0xfffe, false],
    [10, 5, 0, false],
  ] as const)
    assert.equal(needEvent(event, now, old), want, `${event} ${now} ${old}`);
});

test("event index: interrupts only where asked for", () => {
  const { q, driver, wires } = setup(true, 0n);
  q.setUsedEvent(2);
  const levels = [];
  for (let i = 0; i < 5; i++) {
    q.add([{ out: hello }]);
    q.kick();
    levels.push(wires.intx());
    driver.transport.readIsr();
  }
  // The first always comes: nothing was signalled before it. Then the third, which passes index 2.
  assert.deepEqual(levels, [true, false, true, false, false]);
});

test("event index: the device asks for notifications again when the ring is empty", () => {
  const { q } = setup(true, 0n);
  for (let i = 0; i < 20; i++) {
    const old = q.availIdx;
    q.add([{ out: hello }]);
    assert.equal(q.wantsKick(old), true, `round ${i}`);
    q.kick();
  }
});

test("no interrupt by flag, but on empty ring for a legacy driver", () => {
  for (const modern of [true, false]) {
    const { q, wires } = setup(modern);
    q.setNoInterrupt(true);
    q.add([{ out: hello }]);
    q.kick();
    assert.equal(wires.intx(), !modern);
  }
});

test("held-back chains: no notifications wanted until resumed", () => {
  const { q, device } = setup();
  device.paused = true;
  q.add([{ out: hello }]);
  q.kick();
  assert.equal(q.wantsKick(0), false);
  device.paused = false;
  device.kick(0);
  assert.equal(q.wantsKick(0), true);
  assert.equal(device.handled, 1);
});

// docs: hostile rows 1 to 4.
const BIG = 2 ** 63;
const hostile: { name: string; spoil: (k: ReturnType<typeof setup>) => void }[] = [
  {
    name: "next points to itself",
    spoil: ({ q }) => {
      q.setDesc(0, 0x10000, 16, DescFlag.next, 0);
      q.offer(0);
    },
  },
  {
    name: "cycle of three",
    spoil: ({ q }) => {
      for (let i = 0; i < 3; i++) q.setDesc(i, 0x10000, 16, DescFlag.next, (i + 1) % 3);
      q.offer(0);
    },
  },
  {
    name: "next beyond the table",
    spoil: ({ q }) => {
      q.setDesc(0, 0x10000, 16, DescFlag.next, 8);
      q.offer(0);
    },
  },
  {
    name: "head beyond the table",
    spoil: ({ q }) => q.offer(8),
  },
  {
    name: "descriptor without bytes",
    spoil: ({ q }) => {
      q.setDesc(0, 0x10000, 0, 0);
      q.offer(0);
    },
  },
  {
    name: "readable behind writable",
    spoil: ({ q }) => {
      q.setDesc(0, 0x10000, 16, DescFlag.next | DescFlag.write, 1);
      q.setDesc(1, 0x10000, 16, 0);
      q.offer(0);
    },
  },
  {
    name: "indirect inside indirect",
    spoil: ({ q, driver }) => {
      const table = driver.heap.alloc(32);
      q.setDesc(0, table, 32, DescFlag.indirect, 0, table);
      q.setDesc(0, table, 32, DescFlag.indirect);
      q.offer(0);
    },
  },
  ...[0, 15, 17, 0xffffffff].map((length) => ({
    name: `indirect table of ${length} bytes`,
    spoil: ({ q }: ReturnType<typeof setup>) => {
      q.setDesc(0, 0x10000, length, DescFlag.indirect);
      q.offer(0);
    },
  })),
  {
    name: "loop in an indirect table",
    spoil: ({ q, driver }) => {
      const table = driver.heap.alloc(32);
      q.setDesc(0, 0x10000, 16, DescFlag.next, 1, table);
      q.setDesc(1, 0x10000, 16, DescFlag.next, 0, table);
      q.setDesc(0, table, 32, DescFlag.indirect);
      q.offer(0);
    },
  },
  {
    name: "indirect table of 2048 entries in a row",
    spoil: ({ q, driver }) => {
      const table = driver.heap.alloc(2048 * 16);
      for (let i = 0; i < 2048; i++) q.setDesc(i, 0x10000, 16, DescFlag.next, i + 1, table);
      q.setDesc(0, table, 2048 * 16, DescFlag.indirect);
      q.offer(0);
    },
  },
  ...[
    { at: "ROM", addr: KIT_ROM },
    { at: "nowhere", addr: 2 ** 41 },
    { at: "2^63", addr: BIG },
    { at: "a BAR", addr: KIT_MODERN_BAR },
    { at: "the end of RAM", addr: KIT_RAM_BYTES - 16 },
  ].map(({ at, addr }) => ({
    name: `indirect table at ${at}`,
    spoil: ({ q }: ReturnType<typeof setup>) => {
      q.setDesc(0, addr, 32, DescFlag.indirect);
      q.offer(0);
    },
  })),
  {
    name: "available index jumps",
    spoil: ({ q, machine }) => machine.memory.write(q.avail + 2, 2, 9),
  },
  {
    name: "four gigabytes beyond RAM",
    spoil: ({ q }) => {
      q.setDesc(0, KIT_RAM_BYTES - 4096, 0xffffffff, 0);
      q.offer(0);
    },
  },
];
for (const row of hostile)
  test(`hostile: ${row.name}`, () => {
    const k = setup();
    row.spoil(k);
    k.q.kick();
    assert.equal(k.driver.transport.status() & VirtioStatus.needsReset, VirtioStatus.needsReset);
    assert.equal(k.wires.intx(), true);
    assert.equal(k.driver.transport.readIsr() & 2, 2);
    assert.equal(k.machine.errors.length > 0, true);
    assert.equal(k.device.handled, 0);
    // More of it changes nothing; a reset makes it work again.
    for (let i = 0; i < 100; i++) k.q.kick();
    const driver = new VirtioDriver(k.machine, k.driver.transport);
    assert.ok(driver.init(1, WITHOUT_EVENT_IDX));
    driver.queues[0]!.add([{ out: hello }, { in: 13 }]);
    driver.queues[0]!.kick();
    assert.equal(driver.queues[0]!.take().length, 1);
  });

const rings: { name: string; at: (q: { desc: number; avail: number; used: number }) => [number, number, number]; ok?: true }[] = [
  { name: "where they belong", at: (q) => [q.desc, q.avail, q.used], ok: true },
  { name: "descriptors at 2^63", at: (q) => [BIG, q.avail, q.used] },
  { name: "descriptors in ROM", at: (q) => [KIT_ROM, q.avail, q.used] },
  { name: "descriptors in the device's own BAR", at: (q) => [KIT_MODERN_BAR, q.avail, q.used] },
  { name: "descriptors unaligned", at: (q) => [q.desc + 1, q.avail, q.used] },
  { name: "available ring unaligned", at: (q) => [q.desc, q.avail + 1, q.used] },
  { name: "used ring unaligned", at: (q) => [q.desc, q.avail, q.used + 2] },
  { name: "used ring over the end of RAM", at: (q) => [q.desc, q.avail, KIT_RAM_BYTES - 8] },
  { name: "available ring above RAM", at: (q) => [q.desc, KIT_RAM_BYTES, q.used] },
  { name: "used ring in ROM", at: (q) => [q.desc, q.avail, KIT_ROM] },
];
for (const row of rings)
  test(`rings: ${row.name}`, () => {
    const { driver, machine } = setup();
    const t = driver.transport;
    t.setStatus(0);
    t.setStatus(3);
    t.setFeatures(driver.features);
    t.setStatus(0xb);
    const q = driver.queues[0]!;
    t.setQueue(0, 8, ...row.at(q));
    t.setStatus(0xf);
    q.offer(0);
    q.setDesc(0, 0x10000, 8, 0);
    q.kick();
    assert.equal((t.status() & VirtioStatus.needsReset) === 0, row.ok ?? false);
    assert.equal(machine.errors.length === 0, row.ok ?? false);
  });

const sizes: [write: number, reads: number][] = [
  [0, 8],
  [3, 8],
  [16, 8],
  [32769, 8],
  [4, 4],
  [1, 1],
  [8, 8],
];
test("queue size, selector, enable: rows", () => {
  for (const [write, want] of sizes) {
    const { machine, pci, driver } = setup();
    driver.transport.setStatus(0);
    const common = pci.barAddress(4);
    machine.memory.write(common + 0x18, 2, write);
    assert.equal(machine.memory.read(common + 0x18, 2), want, `size ${write}`);
    machine.memory.write(common + 0x16, 2, 1);
    assert.equal(machine.memory.read(common + 0x18, 2), 0);
    assert.equal(machine.memory.read(common + 0x1c, 2), 0);
    machine.memory.write(common + 0x1c, 2, 1);
    machine.memory.write(common + 0x20, 4, 0x1234);
    assert.equal(machine.memory.read(common + 0x20, 4), 0);
    // Enabled before it has an address: a kick does nothing.
    machine.memory.write(common + 0x16, 2, 0);
    machine.memory.write(common + 0x1c, 2, 1);
    driver.transport.notify(0);
    assert.equal(machine.memory.read(common + 0x1c, 2), 1);
  }
});

test("save and restore between two chains", () => {
  const a = setup();
  for (let i = 0; i < 5; i++) {
    a.q.add([{ out: hello }, { in: 13 }]);
    a.q.kick();
  }
  a.q.take();
  const state = a.pci.save();
  a.q.add([{ out: hello }, { in: 13 }]);
  a.q.kick();
  assert.equal(a.q.take().length, 1);
  // The same RAM, the device goes back to before the sixth chain.
  const usedIdx = a.q.used + 2;
  a.machine.memory.write(usedIdx, 2, 5);
  a.q.usedIdx = 5;
  a.pci.restore(structuredClone(state));
  a.q.kick();
  assert.equal(a.q.take().length, 1);
  assert.equal(a.device.handled, 7);
});

test("queue reset and enable again", () => {
  const { machine, pci, q, driver } = setup();
  q.add([{ out: hello }]);
  q.kick();
  const common = pci.barAddress(4);
  machine.memory.write(common + 0x16, 2, 0);
  machine.memory.write(common + 0x3a, 2, 1);
  assert.equal(machine.memory.read(common + 0x3a, 2), 0);
  assert.equal(machine.memory.read(common + 0x1c, 2), 0);
  machine.memory.write(q.avail + 2, 2, 0);
  machine.memory.write(q.used + 2, 2, 0);
  q.availIdx = q.usedIdx = 0;
  driver.transport.setQueue(0, 8, q.desc, q.avail, q.used);
  q.add([{ out: hello }, { in: 13 }]);
  q.kick();
  assert.equal(q.take().length, 1);
});

test("chain whose buffer is the device's own notify register: no endless recursion", () => {
  const { q, device } = setup();
  q.add([{ out: new Uint8Array(64) }, { addr: KIT_MODERN_BAR + 0x3000, length: 64, write: true }]);
  q.add([{ out: hello }]);
  q.kick();
  assert.equal(q.take().length, 2);
  assert.equal(device.handled, 2);
});
