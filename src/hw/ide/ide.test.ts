import assert from "node:assert/strict";
import { test } from "node:test";
import { VmError } from "../../base/errors.js";
import type { ErrorPolicy } from "../../block/backend.js";
import { DriveState } from "../../block/drive.js";
import { MemoryBackend } from "../../block/memory.js";
import { IrqLine } from "../core/irq.js";
import { PciBus, pciDevfn } from "../pci/bus.js";
import { testMachine } from "../pci/test-machine.js";
import { AtaDisk } from "./ata-disk.js";
import { AtapiCdrom } from "./atapi-cdrom.js";
import { Piix3Ide } from "./piix3-ide.js";

const SECTORS = 4096;
const BM = 0xc000;
const PRDT = 0x8000;

/** A machine with a disk as primary master and a CD-ROM drive as secondary master. */
function machine(options: { werror?: ErrorPolicy; rerror?: ErrorPolicy; sectors?: number; medium?: Uint8Array | null } = {}) {
  const m = testMachine(0x400000);
  const irqs: string[] = [];
  const line = (n: number) => new IrqLine((level) => level && irqs.push(String(n)));
  const ide = new Piix3Ide(m, { irq14: line(14), irq15: line(15) });
  const bus = new PciBus();
  bus.attach(ide, { devfn: pciDevfn(1, 1) });
  const image = new MemoryBackend(
    Uint8Array.from({ length: 512 * (options.sectors ?? SECTORS) }, (_, i) => (i >> 9) ^ (i & 0xff)),
  );
  const drive = new DriveState({ id: "hd", media: "disk", backend: image, werror: options.werror, rerror: options.rerror });
  const disk = new AtaDisk(m, drive);
  ide.channels[0].attach(disk, 0);
  const medium =
    options.medium === null
      ? undefined
      : new MemoryBackend(options.medium ?? new Uint8Array(2048 * 600).map((_, i) => i >> 11), "cd", true);
  const cdDrive = new DriveState({ id: "cd", media: "cdrom", backend: medium });
  const cd = new AtapiCdrom(m, cdDrive);
  ide.channels[1].attach(cd, 0);
  bus.configWrite(9, 0x20, 4, BM);
  bus.configWrite(9, 4, 2, 5);
  const io = m.io;
  const settle = async () => {
    for (let i = 0; i < 50; i++) await Promise.resolve();
    for (const d of [drive, cdDrive]) await d.settled();
  };
  const g = {
    m,
    ide,
    bus,
    image,
    drive,
    disk,
    cd,
    cdDrive,
    irqs,
    settle,
    out: (port: number, value: number) => io.write(port, 1, value),
    in: (port: number) => io.read(port, 1),
    status: () => io.read(0x3f6, 1),
    /** Registers 1-6 of the primary channel, then the command. */
    command(code: number, r: { feature?: number; count?: number; lba?: number; device?: number; ext?: boolean } = {}) {
      const lba = r.lba ?? 0;
      g.out(0x1f6, (r.device ?? 0x40) | (r.ext ? 0 : Math.floor(lba / 2 ** 24) & 15));
      if (r.ext) {
        g.out(0x1f2, ((r.count ?? 0) >> 8) & 255);
        for (const [port, n] of [
          [0x1f3, 3],
          [0x1f4, 4],
          [0x1f5, 5],
        ] as const)
          g.out(port, Math.floor(lba / 256 ** n) & 255);
      }
      g.out(0x1f1, r.feature ?? 0);
      g.out(0x1f2, (r.count ?? 0) & 255);
      for (const [port, n] of [
        [0x1f3, 0],
        [0x1f4, 1],
        [0x1f5, 2],
      ] as const)
        g.out(port, Math.floor(lba / 256 ** n) & 255);
      g.out(0x1f7, code);
    },
    words(base: number, bytes: number): Uint8Array {
      const b = new Uint8Array(bytes);
      for (let i = 0; i < bytes; i += 2) {
        const w = io.read(base, 2);
        b[i] = w;
        if (i + 1 < bytes) b[i + 1] = w >> 8;
      }
      return b;
    },
    give(base: number, bytes: Uint8Array) {
      for (let i = 0; i < bytes.length; i += 2) io.write(base, 2, bytes[i]! | (bytes[i + 1]! << 8));
    },
    prds(entries: [address: number, count: number, last?: boolean][], at = PRDT, channel = 0) {
      entries.forEach(([address, count, last], i) => {
        m.memory.write(at + 8 * i, 4, address);
        m.memory.write(at + 8 * i + 4, 4, ((count & 0xffff) | (last ? 0x80000000 : 0)) >>> 0);
      });
      io.write(BM + 8 * channel + 4, 4, at);
    },
    memory(at: number, n: number) {
      const b = new Uint8Array(n);
      m.memory.readBytes(at, b);
      return b;
    },
    /** A packet command on the secondary channel; `limit` is the byte count limit, or DMA. */
    packet(bytes: number[], limit: number | "dma" = 0xf000) {
      g.out(0x176, 0xa0);
      g.out(0x171, limit === "dma" ? 1 : 0);
      g.out(0x174, limit === "dma" ? 0 : limit & 255);
      g.out(0x175, limit === "dma" ? 0 : limit >> 8);
      g.out(0x177, 0xa0);
      assert.equal(g.in(0x376) & 0x88, 0x08);
      assert.equal(g.in(0x172), 1);
      g.give(0x170, Uint8Array.from([...bytes, ...new Array(12 - bytes.length).fill(0)]));
    },
    /** All PIO blocks of a packet command. */
    async drain(): Promise<{ bytes: number[]; blocks: number[] }> {
      const all: number[] = [];
      const blocks: number[] = [];
      for (let i = 0; i < 5000; i++) {
        await settle();
        if (!(g.in(0x177) & 0x08)) break;
        const n = g.in(0x174) | (g.in(0x175) << 8);
        blocks.push(n);
        all.push(...g.words(0x170, n));
      }
      return { bytes: all, blocks };
    },
    async sense(): Promise<string> {
      g.packet([3, 0, 0, 0, 18]);
      const { bytes } = await g.drain();
      return [bytes[2], bytes[12], bytes[13]].map((b) => b!.toString(16)).join("/");
    },
  };
  irqs.length = 0;
  return g;
}

type Machine = ReturnType<typeof machine>;
const image = (g: Machine, sector: number, n = 1) => g.image.bytes.slice(512 * sector, 512 * (sector + n));
const pattern = (n: number, seed = 3) => Uint8Array.from({ length: n }, (_, i) => (i * 7 + seed + (i >> 8)) & 255);
const word = (b: Uint8Array, n: number) => b[2 * n]! | (b[2 * n + 1]! << 8);

test("signatures, presence, absent slave, reset", () => {
  const g = machine();
  const regs = (base: number) => [2, 3, 4, 5].map((r) => g.in(base + r));
  assert.deepEqual(regs(0x1f0), [1, 1, 0, 0]);
  assert.equal(g.in(0x1f7), 0x50);
  assert.deepEqual(regs(0x170), [1, 1, 0x14, 0xeb]);
  assert.equal(g.in(0x177), 0);
  g.out(0x1f6, 0xb0);
  assert.equal(g.in(0x1f7), 0);
  g.out(0x1f2, 0x55);
  assert.equal(g.in(0x1f2), 0);
  g.out(0x1f7, 0xec);
  assert.equal(g.in(0x1f7), 0);
  g.out(0x1f6, 0xa0);
  g.out(0x1f2, 0x55);
  assert.equal(g.in(0x1f2), 0x55);
  g.out(0x3f6, 4);
  assert.equal(g.status(), 0x80);
  g.out(0x3f6, 0);
  assert.equal(g.status(), 0x50);
  assert.deepEqual(regs(0x1f0), [1, 1, 0, 0]);
  assert.equal(g.in(0x1f1), 1);
  g.out(0x1f7, 0x90);
  assert.deepEqual([g.in(0x1f1), g.status(), ...g.irqs], [1, 0x50, "14"]);
});

test("IDENTIFY DEVICE", () => {
  const g = machine();
  g.command(0xec);
  assert.equal(g.status(), 0x58);
  const b = g.words(0x1f0, 512);
  assert.equal(g.in(0x1f7), 0x50);
  assert.deepEqual(
    [word(b, 0), word(b, 1), word(b, 3), word(b, 6), word(b, 60), word(b, 61), word(b, 100)],
    [0x40, 4, 16, 63, SECTORS, 0, SECTORS],
  );
  assert.equal(String.fromCharCode(...[1, 0, 3, 2, 5, 4].map((i) => b[54 + i]!)), "TANDEM");
  assert.equal(b.reduce((s, x) => s + x, 0) & 255, 0);
  assert.deepEqual(g.irqs, ["14"]);
});

for (const [name, code, options, first, sectors] of [
  ["READ SECTORS", 0x20, { count: 3, lba: 5 }, 5, 3],
  ["READ SECTORS CHS", 0x20, { count: 2, lba: 0x000002, device: 0x01 }, 64, 2],
  ["READ SECTORS 256", 0x20, { count: 0, lba: 100 }, 100, 256],
  ["READ SECTORS EXT", 0x24, { count: 700, lba: 1000, ext: true }, 1000, 700],
  ["READ MULTIPLE", 0xc4, { count: 40, lba: 7 }, 7, 40],
  ["READ MULTIPLE EXT", 0x29, { count: 17, lba: 7, ext: true }, 7, 17],
  ["last sector", 0x20, { count: 1, lba: SECTORS - 1 }, SECTORS - 1, 1],
] as const)
  test(`PIO ${name}`, async () => {
    const g = machine();
    g.command(code, options);
    assert.equal(g.status() & 0x80, 0x80);
    const out: number[] = [];
    const block = code === 0xc4 || code === 0x29 ? 16 : 1;
    while (out.length < sectors * 512) {
      await g.settle();
      assert.equal(g.in(0x1f7), 0x58);
      out.push(...g.words(0x1f0, 512 * Math.min(block, sectors - out.length / 512)));
    }
    assert.equal(g.in(0x1f7), 0x50);
    assert.deepEqual(Uint8Array.from(out), image(g, first, sectors));
    assert.equal(g.irqs.length, Math.ceil(sectors / block));
  });

for (const [name, code, options, first, sectors, flushes] of [
  ["WRITE SECTORS", 0x30, { count: 3, lba: 5 }, 5, 3, 0],
  ["WRITE SECTORS EXT", 0x34, { count: 600, lba: 1000, ext: true }, 1000, 600, 0],
  ["WRITE MULTIPLE", 0xc5, { count: 40, lba: 7 }, 7, 40, 0],
  ["WRITE MULTIPLE FUA EXT", 0xce, { count: 3, lba: 7, ext: true }, 7, 3, 1],
] as const)
  test(`PIO ${name}`, async () => {
    const g = machine();
    const data = pattern(sectors * 512);
    const before = image(g, first + sectors);
    g.command(code, options);
    const block = code === 0xc5 || code === 0xce ? 16 : 1;
    for (let at = 0; at < sectors; at += block) {
      assert.equal(g.in(0x1f7), 0x58);
      g.give(0x1f0, data.subarray(512 * at, 512 * Math.min(sectors, at + block)));
      await g.settle();
    }
    assert.equal(g.in(0x1f7), 0x50);
    assert.deepEqual(image(g, first, sectors), data);
    assert.deepEqual(image(g, first + sectors), before);
    assert.equal(g.irqs.length, Math.ceil(sectors / block));
    assert.equal(g.image.flushes, flushes);
  });

for (const [name, code, options, write, prds] of [
  ["READ DMA", 0xc8, { count: 4, lba: 9 }, false, [[0x10000, 2048, true]]],
  [
    "READ DMA scattered",
    0xc8,
    { count: 4, lba: 9 },
    false,
    [
      [0x10000, 1000],
      [0x20000, 24],
      [0x30000, 1024, true],
    ],
  ],
  [
    "READ DMA EXT over several chunks",
    0x25,
    { count: 1300, lba: 9, ext: true },
    false,
    Array.from({ length: 11 }, (_, i) => [0x100000 + i * 65536, 0, i === 10]),
  ],
  [
    "WRITE DMA",
    0xca,
    { count: 4, lba: 9 },
    true,
    [
      [0x10000, 1024],
      [0x10400, 1024, true],
    ],
  ],
  [
    "WRITE DMA EXT over several chunks",
    0x35,
    { count: 1300, lba: 9, ext: true },
    true,
    Array.from({ length: 11 }, (_, i) => [0x100000 + i * 65536, 0, i === 10]),
  ],
  ["WRITE DMA FUA EXT", 0x3d, { count: 4, lba: 9, ext: true }, true, [[0x10000, 2048, true]]],
] as [string, number, { count: number; lba: number; ext?: boolean }, boolean, [number, number, boolean?][]][])
  for (const startFirst of [false, true])
    test(`${name}, bus master started ${startFirst ? "before" : "after"} the command`, async () => {
      const g = machine();
      const bytes = options.count * 512;
      const data = pattern(bytes);
      if (write) {
        let at = 0;
        for (const [address, count] of prds) {
          const n = Math.min(bytes - at, count || 65536);
          g.m.memory.writeBytes(address, data.subarray(at, at + n));
          at += n;
        }
      }
      g.prds(prds);
      if (startFirst) g.out(BM, write ? 1 : 9);
      g.command(code, options);
      if (!startFirst) {
        await g.settle();
        assert.deepEqual(g.irqs, []);
        g.out(BM, write ? 1 : 9);
      }
      await g.settle();
      assert.deepEqual(g.irqs, ["14"]);
      assert.equal(g.in(BM + 2) & 6, 4);
      g.out(BM + 2, 4);
      g.out(BM, 0);
      assert.equal(g.in(BM + 2) & 7, 0);
      assert.equal(g.in(0x1f7), 0x50);
      if (write) assert.deepEqual(image(g, options.lba, options.count), data);
      else {
        const got: number[] = [];
        for (const [address, count] of prds) got.push(...g.memory(address, Math.min(bytes - got.length, count || 65536)));
        assert.deepEqual(Uint8Array.from(got), image(g, options.lba, options.count));
      }
      assert.equal(g.image.flushes, code === 0x3d ? 1 : 0);
    });

for (const [name, code, options, status, error, registers] of [
  ["NOP", 0x00, {}, 0x51, 4, undefined],
  ["unknown", 0xfa, {}, 0x51, 4, undefined],
  ["PACKET", 0xa0, {}, 0x51, 4, undefined],
  ["RECALIBRATE", 0x10, {}, 0x50, 0, undefined],
  ["SEEK", 0x70, { lba: 5 }, 0x50, 0, undefined],
  ["SEEK past the end", 0x70, { lba: SECTORS }, 0x51, 0x10, undefined],
  ["VERIFY", 0x40, { lba: 0, count: 0 }, 0x50, 0, undefined],
  ["VERIFY EXT past the end", 0x42, { lba: SECTORS - 1, count: 2, ext: true }, 0x51, 0x10, undefined],
  ["READ past the end", 0x20, { lba: SECTORS, count: 1 }, 0x51, 0x10, undefined],
  ["READ EXT far past the end", 0x24, { lba: 2 ** 48 - 1, count: 0, ext: true }, 0x51, 0x10, undefined],
  ["READ CHS sector 0", 0x20, { lba: 0, count: 1, device: 0x01 }, 0x51, 0x10, undefined],
  ["READ CHS sector 64", 0x20, { lba: 64, count: 1, device: 0 }, 0x51, 0x10, undefined],
  ["SET MULTIPLE 8", 0xc6, { count: 8 }, 0x50, 0, undefined],
  ["SET MULTIPLE 3", 0xc6, { count: 3 }, 0x51, 4, undefined],
  ["SET MULTIPLE 32", 0xc6, { count: 32 }, 0x51, 4, undefined],
  ["FLUSH CACHE", 0xe7, {}, 0x50, 0, undefined],
  ["FLUSH CACHE EXT", 0xea, {}, 0x50, 0, undefined],
  ["SET FEATURES ultra DMA 5", 0xef, { feature: 3, count: 0x45 }, 0x50, 0, undefined],
  ["SET FEATURES ultra DMA 6", 0xef, { feature: 3, count: 0x46 }, 0x51, 4, undefined],
  ["SET FEATURES unknown", 0xef, { feature: 0x77 }, 0x51, 4, undefined],
  ["SET FEATURES write cache off", 0xef, { feature: 0x82 }, 0x50, 0, undefined],
  ["IDLE", 0xe3, {}, 0x50, 0, undefined],
  ["STANDBY IMMEDIATE", 0xe0, {}, 0x50, 0, undefined],
  ["CHECK POWER", 0xe5, {}, 0x50, 0, [0xff]],
  ["READ NATIVE MAX", 0xf8, {}, 0x50, 0, [0, 0xff, 0x0f, 0]],
  ["READ NATIVE MAX EXT", 0x27, {}, 0x50, 0, [0, 0xff, 0x0f, 0]],
  ["SMART without the key", 0xb0, { feature: 0xda }, 0x51, 4, undefined],
  ["SMART RETURN STATUS", 0xb0, { feature: 0xda, lba: 0xc24f00 }, 0x50, 0, [0, 0, 0x4f, 0xc2]],
  ["INITIALIZE DEVICE PARAMETERS", 0x91, { count: 32, device: 7 }, 0x50, 0, undefined],
] as const)
  test(`${name}: status ${status.toString(16)} error ${error.toString(16)}`, async () => {
    const g = machine();
    g.command(code, options);
    await g.settle();
    assert.deepEqual(g.irqs, ["14"]);
    assert.equal(g.in(0x1f7), status);
    assert.equal(g.in(0x1f1), error);
    if (registers)
      assert.deepEqual(
        registers.map((_, i) => g.in(0x1f2 + i)),
        [...registers],
      );
  });

test("CHS follows INITIALIZE DEVICE PARAMETERS; HOB shows the previous registers; nIEN holds the interrupt", async () => {
  const g = machine();
  g.command(0x91, { count: 32, device: 7 });
  g.command(0x20, { count: 1, lba: 0x000101, device: 0x02 });
  await g.settle();
  assert.deepEqual(g.words(0x1f0, 512), image(g, (1 * 8 + 2) * 32));
  g.out(0x1f2, 0x12);
  g.out(0x1f2, 0x34);
  assert.equal(g.in(0x1f2), 0x34);
  g.out(0x3f6, 0x80);
  assert.equal(g.in(0x1f2), 0x12);
  g.out(0x3f6, 2);
  g.irqs.length = 0;
  g.command(0x10);
  assert.deepEqual(g.irqs, []);
  g.out(0x3f6, 0);
  assert.deepEqual(g.irqs, ["14"]);
});

test("TRIM", async () => {
  const g = machine();
  const view = new DataView(new ArrayBuffer(512));
  view.setUint32(0, 10, true);
  view.setUint16(6, 4, true);
  view.setUint32(8, 0xffffffff, true);
  view.setUint16(14, 0xffff, true);
  g.m.memory.writeBytes(0x10000, new Uint8Array(view.buffer));
  g.prds([[0x10000, 512, true]]);
  g.out(BM, 1);
  g.command(0x06, { feature: 1, count: 1, ext: true });
  await g.settle();
  assert.equal(g.in(0x1f7), 0x50);
  assert.deepEqual(image(g, 10, 4), new Uint8Array(2048));
  assert.notDeepEqual(image(g, 14), new Uint8Array(512));
});

// Hostile row 10. Afterwards the channel must work again after SRST.
for (const [name, attack] of [
  ["PRD table at the end of memory", (g: Machine) => g.prds([], 0x3ffffc)],
  ["PRD table nowhere", (g: Machine) => g.prds([], 0xfffffff8)],
  ["PRD buffer past the end of RAM", (g: Machine) => g.prds([[0x3fff00, 0x1000, true]])],
  ["PRD buffer in a device", (g: Machine) => g.prds([[0xfebf0000, 0x1000, true]])],
  ["PRD count 0 and odd address", (g: Machine) => g.prds([[0x10001, 0, true]])],
  ["PRDs too short", (g: Machine) => g.prds([[0x10000, 512, true]])],
  [
    "PRDs of 2 bytes without an end",
    (g: Machine) =>
      g.prds(
        Array.from({ length: 8192 }, () => [0x20000, 2]),
        0x30000,
      ),
  ],
  ["no bus mastering", (g: Machine) => g.bus.configWrite(9, 4, 2, 1)],
  ["start without a table", (g: Machine) => g.m.io.write(BM + 4, 4, 0)],
] as const)
  for (const code of [0xc8, 0xca])
    test(`hostile 10: ${name}, command ${code.toString(16)}`, async () => {
      const g = machine();
      let depth = 0;
      g.m.memory.mapIo(0xfebf0000, 0x1000, { name: "dev", read: () => depth++ & 255, write: () => {} });
      g.out(BM, 1);
      g.out(BM, 0);
      attack(g);
      g.out(BM, code === 0xc8 ? 9 : 1);
      g.command(code, { count: 200, lba: 1 });
      await g.settle();
      g.out(BM + 2, 6);
      for (let r = 1; r < 8; r++) g.out(0x1f0 + r, 0xff);
      await g.settle();
      g.out(BM, 0);
      g.out(0x3f6, 4);
      g.out(0x3f6, 0);
      g.bus.configWrite(9, 4, 2, 5);
      g.prds([[0x10000, 512, true]]);
      g.out(BM, 9);
      g.command(0xc8, { count: 1, lba: 77 });
      await g.settle();
      assert.equal(g.in(0x1f7), 0x50);
      assert.deepEqual(g.memory(0x10000, 512), image(g, 77));
    });

test("hostile 10: writes during BSY and DRQ are ignored; reset drops a read that is late", async () => {
  const g = machine();
  let release = () => {};
  g.image.faults.before = () => new Promise((resolve) => (release = resolve));
  g.command(0x20, { count: 1, lba: 3 });
  g.out(0x1f3, 99);
  g.out(0x1f7, 0xec);
  g.give(0x1f0, pattern(4096));
  g.words(0x1f0, 4096);
  assert.equal(g.status(), 0x80);
  await Promise.resolve();
  g.out(0x3f6, 4);
  g.out(0x3f6, 0);
  g.image.faults.before = undefined;
  g.command(0xec);
  release();
  await g.settle();
  assert.equal(g.status(), 0x58);
  assert.equal(word(g.words(0x1f0, 512), 0), 0x40);
  g.command(0x20, { count: 1, lba: 3 });
  await g.settle();
  assert.deepEqual(g.words(0x1f0, 512), image(g, 3));
});

const failure = new VmError("block/io", "no", { cause: { code: "EIO" } });
for (const [code, policy, kind, status, error] of [
  [0x20, "report", "read", 0x51, 0x40],
  [0x40, "report", "read", 0x51, 0x40],
  [0x30, "report", "write", 0x51, 0x04],
  [0xe7, "report", "flush", 0x51, 0x04],
  [0x30, "ignore", "write", 0x50, 0],
] as const)
  test(`hostile 25: command ${code.toString(16)} fails on the host, ${policy}`, async () => {
    const g = machine({ werror: policy, rerror: policy });
    g.image.faults.before = (k) => {
      if (k === kind) throw failure;
    };
    g.command(code, { count: 1, lba: 5 });
    if (code === 0x30) g.give(0x1f0, pattern(512));
    await g.settle();
    assert.equal(g.in(0x1f7), status);
    assert.equal(g.in(0x1f1), error);
  });

for (const restored of [false, true])
  test(`stop policy: the write is tried again on cont${restored ? " of the restored machine" : ""}`, async () => {
    let g = machine({ werror: "stop" });
    let stops = 0;
    const broken = () => {
      throw failure;
    };
    g.drive.onIoError = () => stops++;
    g.image.faults.before = broken;
    const data = pattern(512);
    g.command(0x30, { count: 1, lba: 5 });
    g.give(0x1f0, data);
    await g.settle();
    assert.deepEqual([stops, g.status(), g.irqs], [1, 0x80, []]);
    if (restored) {
      const state = structuredClone(g.ide.save());
      g = machine({ werror: "stop" });
      g.ide.restore(state);
    }
    g.image.faults.before = undefined;
    g.drive.retry();
    await g.settle();
    assert.equal(g.in(0x1f7), 0x50);
    assert.deepEqual(image(g, 5), data);
    assert.deepEqual(g.irqs, ["14"]);
  });

test("a snapshot in the middle of a PIO read goes on elsewhere", async () => {
  const a = machine();
  a.command(0xc4, { count: 20, lba: 30 });
  await a.settle();
  const first = a.words(0x1f0, 100);
  const b = machine();
  b.ide.restore(structuredClone(a.ide.save()));
  const rest = b.words(0x1f0, 20 * 512 - 100);
  assert.deepEqual(Uint8Array.from([...first, ...rest]), image(b, 30, 20));
  assert.equal(b.in(0x1f7), 0x50);
});

test("a drive that is empty or read-only is refused", () => {
  const m = testMachine();
  assert.throws(() => new AtaDisk(m, new DriveState({ id: "e", media: "disk" })), /drive 'e' is empty/);
  const ro = new DriveState({ id: "r", media: "disk", backend: new MemoryBackend(new Uint8Array(512), "r", true) });
  assert.throws(() => new AtaDisk(m, ro), /drive 'r' is read-only/);
});

// ATAPI

test("IDENTIFY PACKET DEVICE; IDENTIFY DEVICE shows the signature", () => {
  const g = machine();
  g.out(0x177, 0xec);
  assert.equal(g.in(0x177), 0x51);
  assert.deepEqual([g.in(0x174), g.in(0x175)], [0x14, 0xeb]);
  g.out(0x177, 0xa1);
  const b = g.words(0x170, 512);
  assert.equal(word(b, 0), 0x85c0);
  assert.equal(g.in(0x177), 0x50);
});

for (const [name, packet, expected] of [
  ["INQUIRY", [0x12, 0, 0, 0, 36], [0x05, 0x80, 0x00, 0x21, 31]],
  ["INQUIRY cut", [0x12, 0, 0, 0, 5], [0x05, 0x80, 0x00, 0x21, 31]],
  ["READ CAPACITY", [0x25], [0, 0, 2, 0x57, 0, 0, 8, 0]],
  ["READ TOC", [0x43, 0, 0, 0, 0, 0, 0, 0, 100], [0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 2, 0x58]],
  ["READ TOC MSF", [0x43, 2, 0, 0, 0, 0, 0xaa, 0, 100], [0, 10, 1, 1, 0, 0x14, 0xaa, 0, 0, 0, 10, 0]],
  ["READ TOC session", [0x43, 0, 1, 0, 0, 0, 0, 0, 100], [0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0]],
  ["MODE SENSE 10 capabilities", [0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 10], [0, 28, 1, 0, 0, 0, 0, 0, 0x2a, 20]],
  ["MODE SENSE 6 recovery", [0x1a, 0, 0x01, 0, 100], [11, 1, 0, 0, 1, 6, 0, 5, 0, 0, 0, 0]],
  ["GET CONFIGURATION header", [0x46, 2, 0, 0x1e, 0, 0, 0, 0, 100], [0, 0, 0, 12, 0, 0, 0, 8, 0, 0x1e, 0x09, 4, 0, 0, 0, 0]],
  ["GET EVENT STATUS media", [0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8], [0, 6, 4, 0x10, 0, 2, 0, 0]],
  ["GET EVENT STATUS other", [0x4a, 1, 0, 0, 0x02, 0, 0, 0, 8], [0, 2, 0x80, 0x10]],
  ["MECHANISM STATUS", [0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8], [0, 0, 0, 0, 0, 1, 0, 0]],
  ["READ DISC INFORMATION", [0x51, 0, 0, 0, 0, 0, 0, 0, 7], [0, 32, 0x0e, 1, 1, 1, 1]],
  ["REQUEST SENSE", [0x03, 0, 0, 0, 8], [0x70, 0, 0, 0, 0, 0, 0, 10]],
] as const)
  test(`packet ${name}`, async () => {
    const g = machine();
    g.packet([...packet]);
    const { bytes } = await g.drain();
    assert.deepEqual(bytes.slice(0, expected.length), [...expected]);
    assert.deepEqual([g.in(0x177), g.in(0x172)], [0x50, 3]);
    assert.equal(g.irqs.length, 2);
  });

for (const [name, packet, sense] of [
  ["unknown command", [0xff], "5/20/0"],
  ["READ past the end", [0x28, 0, 0, 0, 2, 0x58, 0, 0, 1], "5/21/0"],
  ["READ at ffffffff", [0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff], "5/21/0"],
  ["READ 12 of 2^32-1", [0xa8, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], "5/21/0"],
  ["READ CD audio", [0xbe, 0x04, 0, 0, 0, 0, 0, 0, 1, 0x10], "5/64/0"],
  ["READ CD strange field", [0xbe, 0, 0, 0, 0, 0, 0, 0, 1, 0x20], "5/24/0"],
  ["READ TOC track 5", [0x43, 0, 0, 0, 0, 0, 5, 0, 100], "5/24/0"],
  ["MODE SENSE saved", [0x5a, 0, 0xea, 0, 0, 0, 0, 0, 10], "5/39/0"],
  ["MODE SENSE page 9", [0x5a, 0, 0x09, 0, 0, 0, 0, 0, 10], "5/24/0"],
  ["GET EVENT STATUS asynchronous", [0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8], "5/24/0"],
] as const)
  test(`packet ${name}: sense ${sense}`, async () => {
    const g = machine();
    g.packet([...packet]);
    await g.settle();
    assert.equal(g.in(0x177) & 0x89, 0x01);
    assert.equal(g.in(0x171) >> 4, Number.parseInt(sense, 16));
    assert.equal(await g.sense(), sense);
  });

for (const [name, packet] of [
  ["length 0", [0x28, 0, 0, 0, 0, 0, 0, 0, 0]],
  ["READ CD of nothing", [0xbe, 0, 0, 0, 0, 0, 0, 0, 5, 0]],
  ["allocation 0", [0x12, 0, 0, 0, 0]],
  ["SEEK", [0x2b, 0, 0, 0, 0, 5]],
  ["TEST UNIT READY", [0x00]],
] as const)
  test(`hostile 10: packet ${name} is good and has no data`, async () => {
    const g = machine();
    g.packet([...packet]);
    await g.settle();
    assert.equal(g.in(0x177), 0x50);
  });

for (const [limit, blocks] of [
  [2048, new Array(300).fill(2048)],
  [0, undefined],
  [0xffff, undefined],
  [0xfffe, undefined],
  [1025, undefined],
  [1, undefined],
] as [number, number[] | undefined][])
  test(`READ 10 by PIO, byte count limit ${limit}`, async () => {
    const g = machine();
    const n = limit === 1 ? 1 : 300;
    g.packet([0x28, 0, 0, 0, 0, 7, 0, n >> 8, n & 255], limit);
    const got = await g.drain();
    assert.deepEqual(
      Uint8Array.from(got.bytes),
      Uint8Array.from({ length: n * 2048 }, (_, i) => 7 + (i >> 11)),
    );
    if (blocks) assert.deepEqual(got.blocks, blocks);
    assert.ok(got.blocks.every((b, i) => i === got.blocks.length - 1 || b % 2 === 0));
  });

test("READ 10 and READ CD raw by DMA", async () => {
  const g = machine();
  for (const [packet, blocks, bytes] of [
    [[0x28, 0, 0, 0, 0, 7, 0, 1, 0x2c], 300, 2048],
    [[0xbe, 0, 0, 0, 0, 7, 0, 0, 20, 0xf8], 20, 2352],
  ] as const) {
    g.prds(
      Array.from({ length: 10 }, (_, i) => [0x100000 + i * 65536, 0, i === 9]),
      PRDT,
      1,
    );
    g.out(BM + 8, 9);
    g.irqs.length = 0;
    g.packet([...packet], "dma");
    await g.settle();
    assert.equal(g.in(0x177), 0x50);
    assert.deepEqual(g.irqs, ["15"]);
    g.out(BM + 8, 0);
    const last = g.memory(0x100000 + (blocks - 1) * bytes, bytes);
    if (bytes === 2048) assert.ok(last.every((b) => b === ((7 + blocks - 1) & 255)));
    else {
      assert.deepEqual([...last.subarray(0, 17)], [0, ...new Array(10).fill(255), 0, 0x00, 0x02, 0x26, 1, 7 + blocks - 1]);
    }
  }
});

test("tray, lock, and a medium changed by the user", async () => {
  const g = machine();
  const code = async (packet: number[]) => {
    g.packet(packet);
    await g.drain();
    return g.in(0x177) & 1 ? g.sense() : "good";
  };
  assert.equal(await code([0x1e, 0, 0, 0, 1]), "good");
  assert.equal(await code([0x1b, 0, 0, 0, 2]), "2/53/2");
  await assert.rejects(g.cdDrive.eject(), /locked/);
  g.packet([0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8]);
  assert.equal((await g.drain()).bytes[4], 1);
  assert.equal(await code([0x1e, 0, 0, 0, 0]), "good");
  assert.equal(await code([0x1b, 0, 0, 0, 2]), "good");
  assert.equal(g.cdDrive.trayOpen, true);
  assert.equal(await code([0x00]), "2/3a/0");
  assert.equal(await code([0x1b, 0, 0, 0, 3]), "good");
  assert.equal(await code([0x00]), "6/28/0");
  assert.equal(await code([0x00]), "good");
  await g.cdDrive.eject();
  assert.equal(await code([0x00]), "2/3a/0");
  await g.cdDrive.setMedium(new MemoryBackend(new Uint8Array(2048 * 10 + 512).fill(9), "new", true));
  assert.equal(await code([0x25]), "2/3a/0");
  assert.equal(await code([0x25]), "6/28/0");
  g.packet([0x25]);
  assert.deepEqual((await g.drain()).bytes.slice(0, 4), [0, 0, 0, 10]);
  g.packet([0x28, 0, 0, 0, 0, 10, 0, 0, 1]);
  const { bytes } = await g.drain();
  assert.deepEqual([bytes[511], bytes[512], bytes[2047]], [9, 0, 0]);
});

test("no medium; DEVICE RESET during a read", async () => {
  const g = machine({ medium: null });
  g.packet([0x00]);
  assert.equal(await g.sense(), "2/3a/0");
  g.packet([0x46, 0, 0, 0, 0, 0, 0, 0, 8]);
  assert.deepEqual((await g.drain()).bytes.slice(6), [0, 0]);
  const h = machine();
  h.packet([0x28, 0, 0, 0, 0, 7, 0, 0, 9]);
  assert.equal(h.in(0x376), 0x80);
  h.out(0x177, 0x08);
  assert.deepEqual([h.in(0x376), h.in(0x174), h.in(0x175), h.in(0x171)], [0, 0x14, 0xeb, 1]);
  await h.settle();
  assert.equal(h.in(0x376), 0);
});
