import assert from "node:assert/strict";
import test from "node:test";
import { VmError } from "../../base/errors.js";
import type { Drive } from "../../block/backend.js";
import { MemoryBackend } from "../../block/memory.js";
import { ScsiCdrom } from "../scsi/cdrom.js";
import { ScsiDisk } from "../scsi/disk.js";
import { type Buffer, kitMachine, le, modernTransport, plug, VirtioDriver, WITHOUT_EVENT_IDX } from "./driver-kit.js";
import { VirtioPci } from "./pci.js";
import { VirtioScsi } from "./scsi.js";

const DISK = 2 * 2 ** 20;

function driveOf(
  id: string,
  bytes: Uint8Array | undefined,
  media: "disk" | "cdrom",
  policy: Drive["werror"] = "report",
  readOnly = false,
): Drive & { backend: MemoryBackend | undefined } {
  return {
    id,
    backend: bytes && new MemoryBackend(bytes, id, readOnly),
    media,
    werror: policy,
    rerror: policy === "enospc" ? "report" : policy,
    serial: undefined,
    onIoError: () => {},
    onMediaChange: () => {},
    inFlight: 0,
  };
}

function setup(o: { policy?: Drive["werror"]; readOnly?: boolean } = {}) {
  const machine = kitMachine();
  const disk = driveOf(
    "hd",
    new Uint8Array(DISK).map((_, i) => (i >> 9) + i),
    "disk",
    o.policy,
    o.readOnly,
  );
  const cd = driveOf("cd", new Uint8Array(100 * 2048).fill(3), "cdrom");
  const host = new VirtioScsi(machine, {});
  host.addUnit(new ScsiDisk({ target: 0, lun: 0, drive: disk, blockBytes: 512, serial: "S1" }));
  host.addUnit(new ScsiCdrom({ target: 2, lun: 0, drive: cd }));
  const pci = new VirtioPci(machine, "virtio-scsi-pci", host, { vectors: 3 });
  plug(pci);
  const driver = new VirtioDriver(machine, modernTransport(machine, pci));
  assert.ok(driver.init(3, WITHOUT_EVENT_IDX));
  const q = driver.queues[2]!;
  const request = (cdb: number[], target = 0, lun = 0, tag = 7) =>
    Uint8Array.from([
      1,
      target,
      0x40 | (lun >> 8),
      lun & 255,
      0,
      0,
      0,
      0,
      ...le([tag, 8]),
      0,
      0,
      0,
      ...cdb,
      ...new Array<number>(32 - cdb.length).fill(0),
    ]);
  /** One command. */
  const run = async (cdb: number[], data: { in?: number; out?: Uint8Array } = {}, target = 0, lun = 0) => {
    const buffers: Buffer[] = [{ out: request(cdb, target, lun) }];
    if (data.out) buffers.push({ out: data.out });
    buffers.push({ in: 108 });
    if (data.in) buffers.push({ in: data.in });
    q.add(buffers);
    q.kick();
    await machine.settle();
    const [used] = q.take();
    if (!used) return undefined;
    const head = used.in[0]!;
    return {
      response: head[11]!,
      status: head[10]!,
      sense: [head[14]! & 15, head[24]!, head[25]!],
      residual: new DataView(head.buffer, head.byteOffset).getUint32(4, true),
      data: used.in[1],
    };
  };
  /** The unit says once that it was reset. */
  const ready = async () => {
    for (const target of [0, 2]) assert.deepEqual((await run([0, 0, 0, 0, 0, 0], {}, target))!.sense, [6, 0x29, 0]);
  };
  return { machine, disk, cd, host, pci, driver, q, run, ready, request };
}

const be = (n: number, v: number) => Array.from({ length: n }, (_, i) => Math.floor(v / 2 ** (8 * (n - 1 - i))) & 255);
const GOOD = [0, 0];

test("discovery: luns, inquiry, absent targets and units", async () => {
  const { run } = setup();
  const luns = await run([0xa0, 0, 0, 0, 0, 0, ...be(4, 64)], { in: 64 });
  assert.deepEqual(
    [luns!.response, [...luns!.data!.subarray(0, 16)], luns!.residual],
    [0, [...be(4, 8), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 48],
  );
  const hd = await run([0x12, 0, 0, 0, 96, 0], { in: 96 });
  assert.deepEqual(
    [hd!.data![0], hd!.data![2], new TextDecoder().decode(hd!.data!.subarray(8, 32))],
    [0, 5, "QEMU    QEMU HARDDISK   "],
  );
  const cd = await run([0x12, 0, 0, 0, 96, 0], { in: 96 }, 2);
  assert.deepEqual([cd!.data![0], cd!.data![1], cd!.data![2]], [5, 0x80, 5]);
  const serial = await run([0x12, 1, 0x80, 0, 96, 0], { in: 96 });
  assert.equal(new TextDecoder().decode(serial!.data!.subarray(4, 6)), "S1");
  assert.equal((await run([0x12, 0, 0, 0, 96, 0], { in: 96 }, 5))!.response, 3);
  assert.equal((await run([0, 0, 0, 0, 0, 0], {}, 0, 3))!.response, 12);
  assert.equal((await run([0x12, 0, 0, 0, 96, 0], { in: 96 }, 0, 3))!.data![0], 0x7f);
});

test("a disk: capacity, reads and writes of every length, flush, cache page", async () => {
  const { run, ready, disk } = setup();
  await ready();
  assert.deepEqual([...(await run([0x25], { in: 8 }))!.data!], [...be(4, DISK / 512 - 1), ...be(4, 512)]);
  const long = await run([0x9e, 0x10, ...be(8, 0), ...be(4, 32)], { in: 32 });
  assert.deepEqual([...long!.data!.subarray(0, 12)], [...be(8, DISK / 512 - 1), ...be(4, 512)]);
  for (const [cdb, offset, size] of [
    [[0x08, 0, 0, 3, 2, 0], 3, 2],
    [[0x28, 0, ...be(4, 9), 0, ...be(2, 1), 0], 9, 1],
    [[0xa8, 0, ...be(4, 7), ...be(4, 4), 0, 0], 7, 4],
    [[0x88, 0, ...be(8, 1), ...be(4, 2000), 0, 0], 1, 2000],
  ] as const) {
    const r = await run([...cdb], { in: size * 512 });
    assert.deepEqual([r!.response, r!.status], GOOD);
    assert.deepEqual(r!.data, disk.backend!.bytes.slice(offset * 512, (offset + size) * 512));
  }
  for (const [cdb, offset] of [
    [[0x0a, 0, 0, 3, 2, 0], 3],
    [[0x2a, 0, ...be(4, 9), 0, ...be(2, 2), 0], 9],
    [[0xaa, 0, ...be(4, 7), ...be(4, 2), 0, 0], 7],
    [[0x8a, 0, ...be(8, 100), ...be(4, 2), 0, 0], 100],
  ] as const) {
    const data = new Uint8Array(1024).fill(offset);
    assert.deepEqual([(await run([...cdb], { out: data }))!.status], [0]);
    assert.deepEqual(disk.backend!.bytes.slice(offset * 512, offset * 512 + 1024), data);
  }
  assert.equal(disk.backend!.flushes, 0);
  await run([0x35], {});
  assert.equal(disk.backend!.flushes, 1);
  await run([0x2a, 8, ...be(4, 9), 0, ...be(2, 1), 0], { out: new Uint8Array(512) });
  assert.equal(disk.backend!.flushes, 2);
  const mode = await run([0x1a, 8, 8, 0, 64, 0], { in: 64 });
  assert.deepEqual([...mode!.data!.subarray(0, 7)], [23, 0, 0x10, 0, 8, 18, 4]);
  // Without the write cache every write is flushed.
  const page = [0, 0, 0, 0, 8, 18, ...new Array<number>(18).fill(0)];
  assert.deepEqual([(await run([0x15, 0x10, 0, 0, page.length, 0], { out: Uint8Array.from(page) }))!.status], [0]);
  const before = disk.backend!.flushes;
  await run([0x0a, 0, 0, 3, 1, 0], { out: new Uint8Array(512) });
  assert.equal(disk.backend!.flushes, before + 1);
});

test("unmap and write same", async () => {
  const { run, ready, disk } = setup();
  await ready();
  const list = Uint8Array.from([...be(2, 22), ...be(2, 16), 0, 0, 0, 0, ...be(8, 8), ...be(4, 8), 0, 0, 0, 0]);
  assert.equal((await run([0x42, 0, 0, 0, 0, 0, 0, ...be(2, 24), 0], { out: list }))!.status, 0);
  assert.ok(disk.backend!.bytes.subarray(4096, 8192).every((b) => b === 0));
  const pattern = new Uint8Array(512).fill(5);
  assert.equal((await run([0x93, 0, ...be(8, 20), ...be(4, 30), 0, 0], { out: pattern }))!.status, 0);
  assert.ok(disk.backend!.bytes.subarray(20 * 512, 50 * 512).every((b) => b === 5));
  assert.notEqual(disk.backend!.bytes[50 * 512 + 1], 5);
  assert.equal((await run([0x41, 8, ...be(4, 20), 0, ...be(2, 3), 0], { out: new Uint8Array(512) }))!.status, 0);
  assert.ok(disk.backend!.bytes.subarray(20 * 512, 23 * 512).every((b) => b === 0));
});

/** Commands that are refused: what is asked, the sense. */
for (const [name, cdb, data, want] of [
  ["read past the end", [0x28, 0, ...be(4, DISK / 512), 0, ...be(2, 1), 0], { in: 512 }, [5, 0x21, 0]],
  ["read at 2^64-1", [0x88, 0, ...new Array<number>(8).fill(255), ...be(4, 1), 0, 0], { in: 512 }, [5, 0x21, 0]],
  ["read of 2^32-1 blocks", [0xa8, 0, ...be(4, 0), ...be(4, 0xffffffff), 0, 0], { in: 512 }, [5, 0x21, 0]],
  ["unknown command", [0xff], {}, [5, 0x20, 0]],
  ["inquiry of an unknown page", [0x12, 1, 0x77, 0, 96, 0], { in: 96 }, [5, 0x24, 0]],
  ["protected read", [0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0], { in: 512 }, [5, 0x24, 0]],
  [
    "unmap past the end",
    [0x42, 0, 0, 0, 0, 0, 0, ...be(2, 24), 0],
    { out: Uint8Array.from([...be(2, 22), ...be(2, 16), 0, 0, 0, 0, ...be(8, 2 ** 40), ...be(4, 8), 0, 0, 0, 0]) },
    [5, 0x21, 0],
  ],
  ["unmap, list cut short", [0x42, 0, 0, 0, 0, 0, 0, ...be(2, 24), 0], { out: new Uint8Array(4) }, [5, 0x1a, 0]],
  ["unmap, list too long", [0x42, 0, 0, 0, 0, 0, 0, ...be(2, 0xffff), 0], { out: new Uint8Array(4) }, [5, 0x26, 0]],
  ["write same of the whole disk", [0x93, 0, ...be(8, 0), ...be(4, 0), 0, 0], { out: new Uint8Array(512) }, [5, 0x24, 0]],
  [
    "mode select of what cannot change",
    [0x15, 0x10, 0, 0, 24, 0],
    { out: Uint8Array.from([0, 0, 0, 0, 8, 18, 0xff, ...new Array<number>(17).fill(0)]) },
    [5, 0x26, 0],
  ],
  ["mode sense of saved pages", [0x1a, 0, 0xc8, 0, 64, 0], { in: 64 }, [5, 0x39, 0]],
] as [string, number[], { in?: number; out?: Uint8Array }, number[]][])
  test(`refused: ${name}`, async () => {
    const { run, ready } = setup();
    await ready();
    const r = await run(cdb, data);
    assert.deepEqual([r!.response, r!.status, r!.sense], [0, 2, want]);
  });

test("read-only, too little room, broken requests", async () => {
  const { run, ready, q, driver, request } = setup({ readOnly: true });
  await ready();
  assert.deepEqual((await run([0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], { out: new Uint8Array(512) }))!.sense, [7, 0x27, 0]);
  assert.equal((await run([0x28, 0, 0, 0, 0, 0, 0, 0, 4, 0], { in: 512 }))!.response, 1);
  q.add([{ out: request([0]).subarray(0, 40) }, { in: 108 }]);
  q.kick();
  assert.equal(driver.transport.status() & 0x40, 0x40);
});

test("a CD: medium, tray, lock, reads", async () => {
  const { run, ready, cd } = setup();
  await ready();
  assert.deepEqual([...(await run([0x25], { in: 8 }, 2))!.data!], [...be(4, 99), ...be(4, 2048)]);
  const r = await run([0x28, 0, ...be(4, 98), 0, ...be(2, 2), 0], { in: 4096 }, 2);
  assert.ok(r!.data!.every((b) => b === 3));
  assert.deepEqual((await run([0x28, 0, ...be(4, 99), 0, ...be(2, 2), 0], { in: 4096 }, 2))!.sense, [5, 0x21, 0]);
  await run([0x1e, 0, 0, 0, 1, 0], {}, 2);
  assert.equal(cd.trayLocked, true);
  assert.deepEqual((await run([0x1b, 0, 0, 0, 2, 0], {}, 2))!.sense, [2, 0x53, 2]);
  await run([0x1e, 0, 0, 0, 0, 0], {}, 2);
  await run([0x1b, 0, 0, 0, 2, 0], {}, 2);
  assert.deepEqual((await run([0], {}, 2))!.sense, [2, 0x3a, 0]);
  cd.backend = undefined;
  cd.onMediaChange();
  assert.deepEqual((await run([0], {}, 2))!.sense, [6, 0x28, 0]);
  assert.deepEqual((await run([0], {}, 2))!.sense, [2, 0x3a, 0]);
});

for (const [policy, outcome] of [
  ["report", 2],
  ["ignore", 0],
  ["stop", undefined],
] as const)
  test(`a host error under ${policy}`, async () => {
    const { run, ready, disk, machine, q } = setup({ policy });
    await ready();
    let broken = true;
    disk.backend!.faults.before = () => {
      if (broken) throw new VmError("block/io", "bad");
    };
    let stops = 0;
    disk.onIoError = () => stops++;
    const r = await run([0x0a, 0, 0, 3, 1, 0], { out: new Uint8Array(512).fill(9) });
    assert.equal(r?.status, outcome);
    assert.equal(disk.inFlight, 0);
    if (outcome !== undefined) return;
    assert.equal(stops, 1);
    broken = false;
    machine.advance(20_000_000);
    await machine.settle();
    assert.equal(q.take()[0]!.in[0]![10], 0);
    assert.equal(disk.backend!.bytes[3 * 512], 9);
  });

test("task management, and a held request in a snapshot", async () => {
  const { run, ready, disk, machine, q, driver, pci, host } = setup({ policy: "stop" });
  await ready();
  const control = driver.queues[0]!;
  const tmf = async (subtype: number, target = 0, tag = 7) => {
    control.add([
      { out: Uint8Array.from([...le([0, 4], [subtype, 4]), 1, target, 0x40, 0, 0, 0, 0, 0, ...le([tag, 8])]) },
      { in: 1 },
    ]);
    control.kick();
    await machine.settle();
    return control.take()[0]?.in[0]?.[0];
  };
  assert.equal(await tmf(6), 0);
  assert.equal(await tmf(5, 9), 3);
  assert.equal(await tmf(99), 11);
  let broken = true;
  disk.backend!.faults.before = () => {
    if (broken) throw new VmError("block/io", "bad");
  };
  assert.equal(await run([0x0a, 0, 0, 3, 1, 0], { out: new Uint8Array(512).fill(9) }), undefined);
  assert.equal(await tmf(6), 10);
  const state = structuredClone(pci.save());
  // A unit reset ends the held request.
  assert.equal(await tmf(5), 0);
  assert.equal(q.take()[0]!.in[0]![11], 4);
  pci.reset();
  broken = false;
  pci.restore(state);
  machine.advance(20_000_000);
  await machine.settle();
  assert.equal(disk.backend!.bytes[3 * 512], 9);
  assert.equal(host.units.length, 2);
});
