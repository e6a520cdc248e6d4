import assert from "node:assert/strict";
import test from "node:test";
import { VmError } from "../../base/errors.js";
import type { BlockBackend, Drive } from "../../block/backend.js";
import { BlkRequest, createVirtioBlkPci, type VirtioBlkOptions } from "./blk.js";
import {
  type Buffer,
  kitMachine,
  le,
  legacyTransport,
  modernTransport,
  plug,
  VirtioDriver,
  WITHOUT_EVENT_IDX,
} from "./driver-kit.js";

const DISK_BYTES = 2 * 2 ** 20;

/** A disk in memory whose operations complete when told, or at once. */
class TestDisk implements BlockBackend {
  readonly bytes = new Uint8Array(DISK_BYTES);
  readonly sizeBytes = DISK_BYTES;
  readonly name = "test";
  readonly log: string[] = [];
  manual = false;
  error: Error | undefined;
  readonly waiting: (() => void)[] = [];
  constructor(readonly readOnly = false) {}

  private async turn(what: string): Promise<void> {
    this.log.push(what);
    if (this.manual) await new Promise<void>((resolve) => this.waiting.push(resolve));
    if (this.error) throw this.error;
  }
  async read(offset: number, out: Uint8Array): Promise<void> {
    await this.turn(`read ${offset} ${out.length}`);
    out.set(this.bytes.subarray(offset, offset + out.length));
  }
  async write(offset: number, data: Uint8Array): Promise<void> {
    await this.turn(`write ${offset} ${data.length}`);
    this.bytes.set(data, offset);
  }
  async flush(): Promise<void> {
    await this.turn("flush");
  }
  async discard(offset: number, size: number): Promise<void> {
    await this.turn(`discard ${offset} ${size}`);
  }
  async close(): Promise<void> {}
}

function setup(options: Partial<VirtioBlkOptions> & { modern?: boolean; readOnly?: boolean; policy?: Drive["werror"] } = {}) {
  const machine = kitMachine();
  const disk = new TestDisk(options.readOnly);
  for (let i = 0; i < disk.bytes.length; i++) disk.bytes[i] = (i >> 9) + i;
  const stops: boolean[] = [];
  const drive: Drive = {
    id: "disk0",
    backend: disk,
    media: "disk",
    werror: options.policy ?? "report",
    rerror: options.policy ?? "report",
    serial: "TANDEM-0001",
    onIoError: (_e, isWrite) => stops.push(isWrite),
    onMediaChange: () => {},
    inFlight: 0,
  };
  const pci = createVirtioBlkPci(machine, { drive, ...options });
  const wires = plug(pci);
  const transport = options.modern === false ? legacyTransport(machine, pci) : modernTransport(machine, pci);
  const driver = new VirtioDriver(machine, transport);
  assert.ok(driver.init(1, WITHOUT_EVENT_IDX));
  return { machine, disk, drive, pci, driver, q: driver.queues[0]!, stops, ...wires };
}

function header(type: number, sector = 0): Uint8Array {
  return le([type, 4], [0, 4], [sector, 8]);
}

const filled = (n: number, v: number) => new Uint8Array(n).fill(v);

interface Row {
  name: string;
  buffers: Buffer[];
  status: number;
  log?: string[];
  options?: Parameters<typeof setup>[0];
}
const rows: Row[] = [
  { name: "read a sector", buffers: [{ out: header(0, 3) }, { in: 512 }, { in: 1 }], status: 0, log: ["read 1536 512"] },
  { name: "read, status in the data buffer", buffers: [{ out: header(0, 3) }, { in: 513 }], status: 0, log: ["read 1536 512"] },
  { name: "read nothing", buffers: [{ out: header(0, 3) }, { in: 1 }], status: 0, log: [] },
  {
    name: "read 1 MiB in pieces",
    buffers: [{ out: header(0, 0) }, { in: 2 ** 20 }, { in: 1 }],
    status: 0,
    log: ["read 0 524288", "read 524288 524288"],
  },
  { name: "read the last sector", buffers: [{ out: header(0, 4095) }, { in: 512 }, { in: 1 }], status: 0 },
  { name: "read past the end", buffers: [{ out: header(0, 4095) }, { in: 1024 }, { in: 1 }], status: 1, log: [] },
  { name: "read at 2^55", buffers: [{ out: header(0, 2 ** 55) }, { in: 512 }, { in: 1 }], status: 1, log: [] },
  {
    name: "read at the last sector of 64 bits",
    buffers: [{ out: le([0, 8], [0xffffffff, 4], [0xffffffff, 4]) }, { in: 513 }],
    status: 1,
  },
  { name: "read an odd length", buffers: [{ out: header(0, 0) }, { in: 511 }, { in: 1 }], status: 1, log: [] },
  { name: "write", buffers: [{ out: header(1, 8) }, { out: filled(1024, 7) }, { in: 1 }], status: 0, log: ["write 4096 1024"] },
  {
    name: "write with the legacy barrier bit",
    buffers: [{ out: header(0x80000001, 8) }, { out: filled(512, 7) }, { in: 1 }],
    status: 0,
  },
  { name: "write an odd length", buffers: [{ out: header(1, 8) }, { out: filled(100, 7) }, { in: 1 }], status: 1, log: [] },
  { name: "write past the end", buffers: [{ out: header(1, 4096) }, { out: filled(512, 7) }, { in: 1 }], status: 1, log: [] },
  {
    name: "write to a read-only disk",
    buffers: [{ out: header(1, 0) }, { out: filled(512, 7) }, { in: 1 }],
    status: 1,
    log: [],
    options: { readOnly: true },
  },
  {
    name: "header in single bytes",
    buffers: [...header(0, 2)].map((b): Buffer => ({ out: Uint8Array.of(b) })).concat([{ in: 512 }, { in: 1 }]),
    status: 0,
    log: ["read 1024 512"],
  },
  { name: "flush", buffers: [{ out: header(4) }, { in: 1 }], status: 0, log: ["flush"] },
  { name: "unknown type", buffers: [{ out: header(99) }, { in: 1 }], status: 2, log: [] },
  { name: "SCSI", buffers: [{ out: header(2) }, { in: 1 }], status: 2, log: [] },
  {
    name: "discard",
    buffers: [{ out: header(11) }, { out: le([16, 8], [8, 4], [0, 4]) }, { in: 1 }],
    status: 0,
    log: ["discard 8192 4096"],
  },
  {
    name: "discard with a flag",
    buffers: [{ out: header(11) }, { out: le([16, 8], [8, 4], [1, 4]) }, { in: 1 }],
    status: 2,
    log: [],
  },
  {
    name: "discard past the end",
    buffers: [{ out: header(11) }, { out: le([4095, 8], [2, 4], [0, 4]) }, { in: 1 }],
    status: 1,
    log: [],
  },
  {
    name: "discard too long",
    buffers: [{ out: header(11) }, { out: le([0, 8], [0xffffffff, 4], [0, 4]) }, { in: 1 }],
    status: 1,
  },
  { name: "discard, short range", buffers: [{ out: header(11) }, { out: le([0, 8]) }, { in: 1 }], status: 1, log: [] },
  {
    name: "discard not offered",
    buffers: [{ out: header(11) }, { out: le([16, 8], [8, 8]) }, { in: 1 }],
    status: 2,
    options: { discard: false },
  },
  {
    name: "write zeroes, may unmap",
    buffers: [{ out: header(13) }, { out: le([16, 8], [2, 4], [1, 4]) }, { in: 1 }],
    status: 0,
    log: ["write 8192 1024"],
  },
];
for (const modern of [true, false])
  for (const row of rows)
    test(`request, ${modern ? "modern" : "legacy"}: ${row.name}`, async () => {
      const { q, machine, disk, drive, intx } = setup({ modern, ...row.options });
      q.add(row.buffers);
      q.kick();
      await machine.settle();
      const [used] = q.take();
      assert.equal(used?.in.at(-1)?.at(-1), row.status);
      assert.equal(
        used?.length,
        used?.in.reduce((n, b) => n + b.length, 0),
      );
      if (row.log) assert.deepEqual(disk.log, row.log);
      assert.equal(intx(), true);
      assert.equal(drive.inFlight, 0);
      if (row.status === 0 && disk.log[0]?.startsWith("read")) {
        const [, offset] = disk.log[0].split(" ").map(Number);
        const data = used!.in[0]!;
        for (const i of [0, 100, 511]) assert.equal(data[i], disk.bytes[offset! + i]);
      }
    });

test("what was written is read back, over scattered buffers", async () => {
  const { q, machine, disk } = setup();
  const pieces = [1, 511, 512, 1000, 24];
  let value = 1;
  const outs = pieces.map((n): Buffer => ({ out: filled(n, value++) }));
  q.add([{ out: header(1, 100) }, ...outs, { in: 1 }], true);
  q.kick();
  await machine.settle();
  assert.equal(q.take()[0]!.in[0]![0], 0);
  assert.equal(disk.bytes[51200], 1);
  assert.equal(disk.bytes[51201], 2);
  q.add([{ out: header(0, 100) }, ...pieces.map((n): Buffer => ({ in: n })), { in: 1 }], true);
  q.kick();
  await machine.settle();
  const got = q.take()[0]!.in;
  for (const [i, n] of pieces.entries()) assert.deepEqual(got[i], filled(n, i + 1));
});

test("serial number, rows", async () => {
  for (const [serial, room, want] of [
    [undefined, 20, "TANDEM-0001"],
    ["X", 20, "X"],
    ["12345678901234567890EXTRA", 20, "12345678901234567890"],
    ["12345678901234567890", 5, "12345"],
  ] as const) {
    const { q, machine } = setup({ serial });
    q.add([{ out: header(BlkRequest.getId) }, { in: room }, { in: 1 }]);
    q.kick();
    await machine.settle();
    const [used] = q.take();
    assert.equal(new TextDecoder().decode(used!.in[0]).replace(/\0+$/, ""), want);
    assert.equal(used!.in[1]![0], 0);
  }
});

test("configuration space", () => {
  const { driver } = setup({ logicalBlockSize: 4096, physicalBlockSize: 8192, optIoSize: 65536 });
  const t = driver.transport;
  for (const [offset, size, want] of [
    [0, 4, DISK_BYTES / 512],
    [4, 4, 0],
    [12, 4, 254],
    [20, 4, 4096],
    [24, 1, 1],
    [28, 4, 16],
    [32, 1, 1],
    [34, 2, 1],
    [60, 4, 0],
    [4000, 4, 0],
  ] as const)
    assert.equal(t.config(offset, size), want, `offset ${offset}`);
});

test("missing header or status breaks the device", () => {
  for (const buffers of [[{ out: header(0).slice(0, 15) }, { in: 513 }], [{ out: header(0) }], [{ in: 513 }]] as Buffer[][]) {
    const { q, driver } = setup();
    q.add(buffers);
    q.kick();
    assert.equal(driver.transport.status() & 0x40, 0x40);
  }
});

test("many in flight, completed out of order; the rest waits in the queue", async () => {
  const { q, machine, disk, drive } = setup();
  disk.manual = true;
  const heads = [];
  for (let i = 0; i < 80; i++) heads.push(q.add([{ out: header(0, i) }, { in: 513 }]));
  q.kick();
  await machine.settle();
  assert.equal(disk.log.length, 64);
  assert.equal(drive.inFlight, 64);
  assert.equal(q.wantsKick(0), false);
  disk.waiting[10]!();
  await machine.settle();
  assert.deepEqual(
    q.take().map((u) => u.head),
    [heads[10]],
  );
  assert.equal(disk.log.length, 65);
  disk.manual = false;
  for (const w of disk.waiting) w();
  await machine.settle();
  assert.equal(q.take().length, 79);
  assert.equal(drive.inFlight, 0);
  assert.equal(q.wantsKick(0), true);
});

test("a flush begins after the writes before it, not after those behind it", async () => {
  const { q, machine, disk } = setup();
  disk.manual = true;
  const write = (sector: number) => q.add([{ out: header(1, sector) }, { out: filled(512, 1) }, { in: 1 }]);
  write(0);
  write(1);
  q.add([{ out: header(4) }, { in: 1 }]);
  write(2);
  q.kick();
  await machine.settle();
  assert.deepEqual(disk.log, ["write 0 512", "write 512 512", "write 1024 512"]);
  disk.waiting[0]!();
  await machine.settle();
  assert.equal(disk.log.includes("flush"), false);
  disk.waiting[1]!();
  await machine.settle();
  assert.equal(disk.log[3], "flush");
});

test("write cache: rows", async () => {
  const CONFIG_WCE = 1n << 11n;
  const FLUSH = 1n << 9n;
  for (const [name, without, set, flushed] of [
    ["on", 0n, undefined, false],
    ["switched off by the driver", 0n, 0, true],
    ["a driver that cannot flush", CONFIG_WCE | FLUSH, undefined, true],
    ["a driver that can flush", CONFIG_WCE, undefined, false],
  ] as const) {
    const { machine, driver, disk } = setup();
    assert.ok(driver.init(1, WITHOUT_EVENT_IDX | without));
    const q = driver.queues[0]!;
    if (set !== undefined) driver.transport.setConfig(32, 1, set);
    q.add([{ out: header(1, 0) }, { out: filled(512, 1) }, { in: 1 }]);
    q.kick();
    await machine.settle();
    assert.deepEqual(disk.log, flushed ? ["write 0 512", "flush"] : ["write 0 512"], name);
  }
});

const noSpace = new VmError("block/io", "disk full", { cause: Object.assign(new Error("no space"), { code: "ENOSPC" }) });
const broken = new VmError("block/io", "bad");
const policies: { policy: Drive["werror"]; error: Error; status: number | "held" }[] = [
  { policy: "report", error: broken, status: 1 },
  { policy: "ignore", error: broken, status: 0 },
  { policy: "stop", error: broken, status: "held" },
  { policy: "enospc", error: noSpace, status: "held" },
  { policy: "enospc", error: broken, status: 1 },
];
for (const row of policies)
  for (const type of [0, 1])
    test(`error policy ${row.policy}, ${row.error.message}, ${type ? "write" : "read"}`, async () => {
      const { q, machine, disk, stops, drive } = setup({ policy: row.policy });
      disk.error = row.error;
      q.add(type ? [{ out: header(1, 0) }, { out: filled(512, 1) }, { in: 1 }] : [{ out: header(0, 0) }, { in: 512 }, { in: 1 }]);
      q.kick();
      await machine.settle();
      assert.equal(drive.inFlight, 0);
      if (row.status !== "held") {
        assert.equal(q.take()[0]?.in.at(-1)?.[0], row.status);
        assert.deepEqual(stops, []);
        return;
      }
      assert.deepEqual(stops, [type === 1]);
      assert.equal(q.take().length, 0);
      // Virtual time goes on: it is tried again, and again fails, then succeeds.
      machine.advance(20_000_000);
      await machine.settle();
      assert.equal(stops.length, 2);
      disk.error = undefined;
      machine.advance(20_000_000);
      await machine.settle();
      assert.equal(q.take()[0]?.in.at(-1)?.[0], 0);
      assert.equal(stops.length, 2);
    });

test("a held request survives a snapshot", async () => {
  const { q, machine, disk, pci } = setup({ policy: "stop" });
  disk.error = broken;
  q.add([{ out: header(1, 5) }, { out: filled(512, 9) }, { in: 1 }]);
  q.kick();
  await machine.settle();
  const state = structuredClone(pci.save());
  pci.reset();
  disk.error = undefined;
  machine.advance(20_000_000);
  await machine.settle();
  assert.equal(disk.log.length, 1);
  pci.restore(state);
  machine.advance(20_000_000);
  await machine.settle();
  assert.equal(q.take()[0]?.in[0]?.[0], 0);
  assert.equal(disk.bytes[5 * 512], 9);
});

test("reset with requests under way: the guest's memory stays as it is, new requests wait for old ones", async () => {
  const { q, machine, disk, driver } = setup();
  disk.manual = true;
  q.add([{ out: header(0, 0) }, { in: 512 }, { in: 1 }]);
  q.add([{ out: header(1, 9) }, { out: filled(512, 3) }, { in: 1 }]);
  q.kick();
  await machine.settle();
  const again = new VirtioDriver(machine, driver.transport);
  again.heap.alloc(0x100000);
  assert.ok(again.init(1, WITHOUT_EVENT_IDX));
  const q2 = again.queues[0]!;
  q2.add([{ out: header(0, 9) }, { in: 512 }, { in: 1 }]);
  q2.kick();
  await machine.settle();
  assert.equal(disk.log.length, 2);
  disk.manual = false;
  for (const w of disk.waiting) w();
  await machine.settle();
  assert.equal(q.take().length, 0);
  const [used] = q2.take();
  assert.equal(used?.in[0]?.[0], 3);
});

test("a resized disk: capacity and interrupt", () => {
  const { driver, drive, intx } = setup();
  drive.backend = undefined;
  drive.onMediaChange();
  assert.equal(driver.transport.config(0, 4), 0);
  assert.equal(intx(), true);
});
