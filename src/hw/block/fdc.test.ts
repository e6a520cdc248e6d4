import assert from "node:assert/strict";
import { test } from "node:test";
import { VmError } from "../../base/errors.js";
import type { ErrorPolicy } from "../../block/backend.js";
import { DriveState } from "../../block/drive.js";
import { MemoryBackend } from "../../block/memory.js";
import { IrqLine } from "../core/irq.js";
import { testMachine } from "../pci/test-machine.js";
import { type DmaChannel, Fdc } from "./fdc.js";
import { FloppyDrive } from "./floppy-drive.js";
import { driveTypeFor, type FloppyFormat, formatOfSize } from "./floppy-media.js";

const SIZE_144 = 1474560;

/** A DMA channel of one buffer, which ends after as many bytes as the guest has programmed. */
class TestDma implements DmaChannel {
  memory: Uint8Array = new Uint8Array(0);
  pos = 0;
  masked = false;
  requested = false;
  onReady = () => {};
  program(bytes: number | Uint8Array): void {
    this.memory = typeof bytes === "number" ? new Uint8Array(bytes) : bytes;
    this.pos = 0;
  }
  private take(length: number): number {
    return this.masked ? 0 : Math.min(length, this.memory.length - this.pos);
  }
  private result(count: number) {
    this.pos += count;
    return { count, terminalCount: count > 0 && this.pos === this.memory.length };
  }
  toMemory(bytes: Uint8Array) {
    const n = this.take(bytes.length);
    this.memory.set(bytes.subarray(0, n), this.pos);
    return this.result(n);
  }
  fromMemory(out: Uint8Array) {
    const n = this.take(out.length);
    out.set(this.memory.subarray(this.pos, this.pos + n));
    return this.result(n);
  }
  setRequest(level: boolean): void {
    this.requested = level;
  }
}

function machine(options: { size?: number | null; readOnly?: boolean; werror?: ErrorPolicy; second?: number } = {}) {
  const m = testMachine();
  const irqs: boolean[] = [];
  const irq = new IrqLine((level) => irqs.push(level));
  const fill = (size: number) => Uint8Array.from({ length: size }, (_, i) => (i >> 9) * 3 + (i & 0xff));
  const size = options.size === undefined ? SIZE_144 : options.size;
  const image = size === null ? undefined : new MemoryBackend(fill(size), "a", options.readOnly ?? false);
  const drive = new DriveState({ id: "floppy0", media: "floppy", backend: image, werror: options.werror });
  const a = new FloppyDrive(drive);
  const b = options.second
    ? new FloppyDrive(new DriveState({ id: "floppy1", media: "floppy", backend: new MemoryBackend(fill(options.second)) }))
    : undefined;
  const dma = new TestDma();
  const fdc = new Fdc(m, { irq, dma, drives: [a, b] });
  const out = (port: number, value: number) => m.io.write(port, 1, value);
  const inb = (port: number) => m.io.read(port, 1);
  const settle = async () => {
    for (let i = 0; i < 20; i++) await Promise.resolve();
    await drive.settled();
  };
  const g = {
    m,
    fdc,
    a,
    b,
    image: image!,
    drive,
    dma,
    irq,
    irqs,
    out,
    in: inb,
    msr: () => inb(0x3f4),
    settle,
    send(...bytes: number[]) {
      for (const b of bytes) {
        assert.equal(g.msr() & 0xc0, 0x80, `ready for 0x${b.toString(16)}`);
        out(0x3f5, b);
      }
    },
    result(): number[] {
      const r: number[] = [];
      while ((g.msr() & 0xd0) === 0xd0 && r.length < 32) r.push(inb(0x3f5));
      return r;
    },
    async run(...bytes: number[]): Promise<number[]> {
      g.send(...bytes);
      await settle();
      m.advance(200_000_000);
      await settle();
      return g.result();
    },
  };
  return g;
}

/** Through reset, at the rate of the disk. */
async function ready(options: Parameters<typeof machine>[0] = {}, rate = 0) {
  const g = machine(options);
  g.out(0x3f2, 0x18);
  g.out(0x3f2, 0x1c);
  for (let i = 0; i < 4; i++) assert.deepEqual(await g.run(0x08), [0xc0 + i, 0]);
  g.out(0x3f7, rate);
  g.send(0x03, 0xaf, 0x02);
  g.irqs.length = 0;
  return g;
}

const sectors = (g: { image: MemoryBackend }, lba: number, n = 1) => g.image.bytes.slice(512 * lba, 512 * (lba + n));
const pattern = (n: number) => Uint8Array.from({ length: n }, (_, i) => (i * 5 + 1 + (i >> 8)) & 255);

for (const [kib, tracks, heads, perTrack, type] of [
  [160, 40, 1, 8, "144"],
  [180, 40, 1, 9, "144"],
  [320, 40, 2, 8, "144"],
  [360, 40, 2, 9, "144"],
  [720, 80, 2, 9, "144"],
  [1200, 80, 2, 15, "120"],
  [1440, 80, 2, 18, "144"],
  [1680, 80, 2, 21, "144"],
  [2880, 80, 2, 36, "288"],
  [1000, 80, 2, 15, "120"],
  [1.5, 40, 1, 8, "144"],
  [9999, 80, 2, 36, "288"],
] as const)
  test(`format of ${kib} KiB`, () => {
    const f: FloppyFormat = formatOfSize(kib * 1024);
    assert.deepEqual([f.tracks, f.heads, f.sectors, driveTypeFor(f)], [tracks, heads, perTrack, type]);
  });

test("reset: interrupt, four changed ready lines, then nothing to sense", async () => {
  const g = machine();
  g.out(0x3f2, 0x00);
  assert.equal(g.msr(), 0);
  g.out(0x3f2, 0x0c);
  assert.equal(g.irq.level, true);
  assert.equal(g.msr(), 0x80);
  for (let i = 0; i < 4; i++) assert.deepEqual(await g.run(0x08), [0xc0 + i, 0]);
  assert.equal(g.irq.level, false);
  assert.deepEqual(await g.run(0x08), [0x80]);
  g.out(0x3f4, 0x80);
  assert.deepEqual(await g.run(0x08), [0xc0, 0]);
  // Polling off: no interrupt after a reset.
  await ready();
  g.out(0x3f5, 0x13);
  g.send(0, 0x10, 0);
  g.out(0x3f4, 0x80);
  assert.equal(g.irq.level, false);
});

for (const [name, bytes, result] of [
  ["VERSION", [0x10], [0x90]],
  ["PART ID", [0x18], [0x41]],
  ["LOCK", [0x94], [0x10]],
  ["UNLOCK", [0x14], [0]],
  ["SENSE DRIVE A", [0x04, 0x00], [0x38]],
  ["SENSE DRIVE B, absent", [0x04, 0x05], [0x2d]],
  ["DUMPREG", [0x0e], [0, 0, 0, 0, 0xaf, 0x02, 0, 0, 0x60, 0]],
  ["invalid", [0x1f], [0x80]],
  ["SCAN EQUAL", [0xd1, 0, 0, 0, 1, 2, 18, 27, 255], [0x80]],
  ["POWERDOWN MODE", [0x17, 0x02], [0x02]],
  ["PERPENDICULAR", [0x12, 0x84], []],
  ["DRIVE SPECIFICATION", [0x8e, 0x12, 0x80], [0, 0, 0, 0]],
  ["READ ID", [0x4a, 0x04], [0x04, 0, 0, 0, 1, 1, 2]],
] as const)
  test(`${name}`, async () => {
    const g = await ready();
    assert.deepEqual(await g.run(...bytes), [...result]);
    assert.equal(g.msr(), 0x80);
  });

test("CONFIGURE survives a reset only as far as LOCK says", async () => {
  const g = await ready();
  for (const [lock, threshold] of [
    [0x94, 0x0a],
    [0x14, 0x00],
  ] as const) {
    g.send(0x13, 0, 0x4a, 0x05);
    await g.run(lock);
    g.out(0x3f4, 0x80);
    for (let i = 0; i < 4; i++) await g.run(0x08);
    assert.equal((await g.run(0x0e))[8]! & 0x0f, threshold);
  }
});

test("SEEK, RECALIBRATE, RELATIVE SEEK; disk change", async () => {
  const g = await ready();
  assert.equal(g.in(0x3f7) & 0x80, 0x80);
  for (const [bytes, sense] of [
    [
      [0x0f, 0x00, 10],
      [0x20, 10],
    ],
    [
      [0x0f, 0x04, 10],
      [0x24, 10],
    ],
    [
      [0x8f, 0x00, 3],
      [0x20, 7],
    ],
    [
      [0xcf, 0x00, 4],
      [0x20, 11],
    ],
    [
      [0x07, 0x00],
      [0x20, 0],
    ],
    [
      [0x07, 0x01],
      [0x71, 0],
    ],
  ] as const) {
    g.send(...bytes);
    assert.equal(g.irq.level, true);
    assert.deepEqual(await g.run(0x08), [...sense]);
    assert.equal(g.irq.level, false);
  }
  assert.equal(g.in(0x3f7) & 0x80, 0);
  await g.drive.setMedium(new MemoryBackend(new Uint8Array(737280)));
  assert.equal(g.in(0x3f7) & 0x80, 0x80);
  assert.equal(g.a.format?.sectors, 9);
  await g.drive.eject();
  g.send(0x0f, 0, 5);
  assert.equal(g.in(0x3f7) & 0x80, 0x80);
});

// Drive, C, H, R, N, EOT as the command has them; where data comes from; result without N.
for (const [name, command, hds, c, h, r, eot, bytes, lba, result] of [
  ["one sector", 0xe6, 0, 0, 0, 1, 18, 512, 0, [0x00, 0, 0, 0, 0, 2]],
  ["a track", 0xe6, 4, 3, 1, 1, 18, 18 * 512, (3 * 2 + 1) * 18, [0x24, 0, 0, 4, 0, 1]],
  ["both sides, multi-track", 0xe6, 0, 2, 0, 1, 18, 36 * 512, 72, [0x24, 0, 0, 3, 0, 1]],
  ["side 0 of a multi-track read", 0xe6, 0, 2, 0, 1, 18, 18 * 512, 72, [0x20, 0, 0, 2, 1, 1]],
  ["without multi-track", 0x46, 0, 2, 0, 1, 18, 18 * 512, 72, [0x20, 0, 0, 3, 0, 1]],
  ["part of a sector", 0xe6, 0, 0, 0, 5, 18, 100, 4, [0x00, 0, 0, 0, 0, 6]],
  ["READ TRACK", 0x42, 0, 0, 0, 7, 18, 9 * 512, 0, [0x00, 0, 0, 0, 0, 10]],
] as const)
  test(`read by DMA: ${name}`, async () => {
    const g = await ready();
    g.dma.program(bytes);
    assert.deepEqual((await g.run(command, hds, c, h, r, 2, eot, 27, 255)).slice(0, 6), [...result]);
    assert.deepEqual(g.dma.memory, g.image.bytes.slice(lba * 512, lba * 512 + bytes));
    assert.deepEqual(g.irqs.slice(-2), [true, false]);
  });

for (const [name, options, bytes, result] of [
  ["no terminal count", {}, [0xe6, 0, 0, 0, 17, 2, 18, 27, 255], [0x44, 0x80, 0, 1, 0, 1]],
  ["sector past the track", {}, [0xe6, 0, 0, 0, 19, 2, 19, 27, 255], [0x40, 0x04, 0, 0, 0, 19]],
  ["EOT past the track", {}, [0x46, 0, 0, 0, 18, 2, 20, 27, 255], [0x40, 0x04, 0, 0, 0, 19]],
  ["sector 0", {}, [0xe6, 0, 0, 0, 0, 2, 18, 27, 255], [0x40, 0x04, 0, 0, 0, 0]],
  ["cylinder past the disk", {}, [0xe6, 0, 90, 0, 1, 2, 18, 27, 255], [0x40, 0x04, 0x10, 90, 0, 1]],
  ["another head in the ID", {}, [0xe6, 4, 0, 0, 1, 2, 18, 27, 255], [0x44, 0x04, 0, 0, 0, 1]],
  ["another sector size", {}, [0xe6, 0, 0, 0, 1, 3, 18, 27, 255], [0x40, 0x04, 0, 0, 0, 1]],
  ["sector size 255", {}, [0xe6, 0, 0, 0, 1, 255, 18, 27, 255], [0x40, 0x04, 0, 0, 0, 1]],
  ["no drive", {}, [0xe6, 2, 0, 0, 1, 2, 18, 27, 255], [0x42, 0x01, 0, 0, 0, 1]],
  ["no disk", { size: null }, [0xe6, 0, 0, 0, 1, 2, 18, 27, 255], [0x40, 0x01, 0, 0, 0, 1]],
  ["another rate", { size: 737280 }, [0xe6, 0, 0, 0, 1, 2, 9, 27, 255], [0x40, 0x01, 0, 0, 0, 1]],
  ["write protected", { readOnly: true }, [0xc5, 0, 0, 0, 1, 2, 18, 27, 255], [0x40, 0x02, 0, 0, 0, 1]],
  ["second side of a one-sided disk", { size: 163840 }, [0x46, 4, 0, 1, 1, 2, 8, 27, 255], [0x44, 0x01, 0, 0, 1, 1]],
  ["deleted data, skipping others", {}, [0x6c, 0, 0, 0, 1, 2, 18, 27, 255], [0x40, 0x80, 0, 1, 0, 1]],
  ["deleted data", {}, [0x4c, 0, 0, 0, 1, 2, 18, 27, 255], [0x00, 0, 0x40, 0, 0, 1]],
  ["VERIFY", {}, [0xf6, 0, 0, 0, 1, 2, 18, 27, 255], [0x04, 0, 0, 1, 0, 1]],
  ["VERIFY by count", {}, [0xf6, 0x80, 0, 0, 1, 2, 18, 27, 3], [0x00, 0, 0, 0, 0, 4]],
] as const)
  test(`transfer: ${name}`, async () => {
    const g = await ready(options);
    g.dma.program(100000);
    assert.deepEqual((await g.run(...bytes)).slice(0, 6), [...result]);
    assert.equal(g.msr(), 0x80);
  });

for (const [name, bytes, data, lba] of [
  ["sectors of both sides", [0xc5, 0, 1, 0, 17, 2, 18, 27, 255], pattern(4 * 512), 36 + 16],
  ["a cut sector is filled with zeroes", [0xc5, 0, 1, 0, 1, 2, 18, 27, 255], pattern(700), 36],
  ["deleted data", [0xc9, 0, 1, 0, 1, 2, 18, 27, 255], pattern(512), 36],
] as const)
  test(`write by DMA: ${name}`, async () => {
    const g = await ready();
    g.dma.program(data.slice());
    assert.equal((await g.run(...bytes))[0]! & 0xc0, 0);
    const padded = new Uint8Array(Math.ceil(data.length / 512) * 512);
    padded.set(data);
    assert.deepEqual(sectors(g, lba, padded.length / 512), padded);
  });

test("PIO reads and writes", async () => {
  const g = await ready();
  g.send(0x03, 0xaf, 0x03);
  g.send(0x46, 0, 0, 0, 2, 2, 3, 27, 255);
  await g.settle();
  assert.equal(g.irq.level, true);
  assert.equal(g.msr(), 0xf0);
  const got = Uint8Array.from({ length: 1024 }, () => g.in(0x3f5));
  assert.deepEqual(got, sectors(g, 1, 2));
  assert.deepEqual((await g.run()).slice(0, 6), [0x40, 0x80, 0, 1, 0, 1]);
  g.send(0x45, 0, 0, 0, 2, 2, 2, 27, 255);
  assert.equal(g.msr(), 0xb0);
  for (const b of pattern(512)) g.out(0x3f5, b);
  await g.settle();
  assert.deepEqual(sectors(g, 1), pattern(512));
  assert.equal(g.result().length, 7);
});

test("FORMAT TRACK", async () => {
  const g = await ready();
  g.dma.program(Uint8Array.from({ length: 72 }, (_, i) => [0, 0, (i >> 2) + 1, 2][i & 3]!));
  assert.deepEqual(await g.run(0x4d, 0, 2, 18, 0x50, 0xf6), [0, 0, 0, 0, 0, 1, 2]);
  assert.ok(sectors(g, 0, 18).every((b) => b === 0xf6));
  assert.ok(!sectors(g, 18).every((b) => b === 0xf6));
  // IDs of elsewhere are passed over.
  g.dma.program(Uint8Array.from({ length: 72 }, () => 0xff));
  const before = g.image.bytes.slice();
  await g.run(0x4d, 0, 2, 18, 0x50, 0x11);
  assert.deepEqual(g.image.bytes, before);
  assert.equal((await g.run(0x4d, 0, 2, 255, 0x50, 0x11))[1], 0x04);
});

test("a transfer waits for its DMA channel, and a reset ends the wait", async () => {
  const g = await ready();
  g.dma.program(512);
  g.dma.masked = true;
  g.send(0xe6, 0, 0, 0, 1, 2, 18, 27, 255);
  await g.settle();
  assert.equal(g.msr(), 0x10);
  assert.equal(g.dma.requested, true);
  g.dma.masked = false;
  g.dma.onReady();
  assert.equal(g.result().length, 7);
  assert.equal(g.dma.requested, false);
  assert.deepEqual(g.dma.memory, sectors(g, 0));
  g.dma.masked = true;
  g.send(0xe6, 0, 0, 0, 1, 2, 18, 27, 255);
  await g.settle();
  g.out(0x3f2, 0x18);
  g.out(0x3f2, 0x1c);
  assert.deepEqual(await g.run(0x08), [0xc0, 0]);
  assert.equal(g.dma.requested, false);
});

test("two drives", async () => {
  const g = await ready({ second: 737280 }, 2);
  assert.deepEqual(g.fdc.cmosTypes, [4, 4]);
  g.dma.program(512);
  g.send(0xe6, 1, 0, 0, 2, 2, 9, 27, 255);
  await g.b!.drive.backend!.flush();
  for (let i = 0; i < 20; i++) await Promise.resolve();
  assert.deepEqual(g.result(), [1, 0, 0, 0, 0, 3, 2]);
  assert.equal(g.dma.memory[0], 3);
});

test("hostile 12: the FIFO is flooded in every phase, and the size code changes", async () => {
  const g = await ready();
  let seed = 7;
  const random = (n: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return Math.floor((seed / 2 ** 32) * n);
  };
  for (let i = 0; i < 60000; i++) {
    const port = [0x3f5, 0x3f5, 0x3f5, 0x3f5, 0x3f4, 0x3f2, 0x3f7, 0x3f1][random(8)]!;
    if (random(4)) g.out(port, random(256));
    else g.in(port);
    if (i % 200 === 0) await g.settle();
  }
  for (let i = 0; i < 5000; i++) g.out(0x3f5, 0x8e);
  g.out(0x3f2, 0x18);
  g.out(0x3f2, 0x1c);
  await g.settle();
  g.out(0x3f4, 0x00);
  g.send(0x13, 0, 0x60, 0);
  g.send(0x03, 0xaf, 0x02);
  g.dma.program(512);
  assert.equal((await g.run(0xe6, 0, 0, 0, 1, 2, 18, 27, 255))[0]! & 0xc0, 0);
  assert.equal(g.image.bytes.length, SIZE_144);
});

for (const restored of [false, true])
  test(`stop policy: a write is tried again on cont${restored ? " of the restored machine" : ""}`, async () => {
    let g = await ready({ werror: "stop" });
    let stops = 0;
    g.drive.onIoError = () => stops++;
    g.image.faults.before = () => {
      throw new VmError("block/io", "no");
    };
    g.dma.program(pattern(512));
    g.send(0xc5, 0, 0, 0, 3, 2, 18, 27, 255);
    await g.settle();
    assert.equal(stops, 1);
    assert.equal(g.msr(), 0x10);
    if (restored) {
      const state = structuredClone(g.fdc.save());
      g = await ready({ werror: "stop" });
      g.fdc.restore(state);
    }
    g.image.faults.before = undefined;
    g.drive.retry();
    await g.settle();
    assert.deepEqual(g.result().slice(0, 6), [0, 0, 0, 0, 0, 4]);
    assert.deepEqual(sectors(g, 2), pattern(512));
  });

test("a snapshot in the middle of a PIO read and of READ ID goes on elsewhere", async () => {
  const a = await ready();
  a.send(0x03, 0xaf, 0x03);
  a.send(0x46, 0, 0, 0, 2, 2, 2, 27, 255);
  await a.settle();
  for (let i = 0; i < 100; i++) a.in(0x3f5);
  const b = await ready();
  b.fdc.restore(structuredClone(a.fdc.save()));
  assert.deepEqual(
    Uint8Array.from({ length: 412 }, () => b.in(0x3f5)),
    sectors(b, 1).slice(100),
  );
  b.result();
  b.send(0x4a, 0);
  const c = await ready();
  c.fdc.restore(structuredClone(b.fdc.save()));
  assert.equal((await c.run()).length, 7);
});

test("a short image reads as zeroes past its end", async () => {
  const g = await ready({ size: 163840 - 512 - 100 }, 2);
  g.dma.program(1024);
  await g.run(0x46, 0, 39, 0, 7, 2, 8, 27, 255);
  assert.deepEqual([g.dma.memory[411]! > 0, g.dma.memory[412], g.dma.memory[1023]], [true, 0, 0]);
});
