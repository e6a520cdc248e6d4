import assert from "node:assert/strict";
import { test } from "node:test";
import { VmError } from "../base/errors.js";
import type { ErrorPolicy } from "./backend.js";
import { DriveState, openDrive, openImage } from "./drive.js";
import { type DriveOptions, parseDriveOptions } from "./drive-options.js";
import { FileNode } from "./file-node.js";
import { guessGeometry } from "./geometry.js";
import { BlockGraph } from "./graph.js";
import { MemoryBackend } from "./memory.js";
import { CLUSTER_BYTES, OverlayBackend } from "./overlay.js";
import { RawNode } from "./raw-node.js";
import { DriveRequests, isNoSpace } from "./requests.js";
import { MemoryFiles } from "./test-files.js";

const context = { nextIndex: () => 0 };
const parse = (text: string): DriveOptions =>
  parseDriveOptions(
    new Map(text.split(",").map((p) => [p.split("=")[0]!, p.slice(p.indexOf("=") + 1)])),
    `-drive ${text}`,
    context,
  );

for (const [text, expected] of [
  [
    "file=a",
    {
      id: "ide0-hd0",
      if: "ide",
      index: 0,
      media: "disk",
      readOnly: false,
      cache: "writeback",
      werror: "enospc",
      rerror: "report",
    },
  ],
  ["file=a,if=ide,bus=1,unit=1,media=cdrom", { id: "ide1-cd1", index: 3, readOnly: true }],
  ["if=floppy,index=1", { id: "floppy1", file: undefined }],
  ["if=none,id=x,file=a,format=raw,serial=S1", { id: "x", format: "raw", serial: "S1" }],
  ["file=a,cache=none,aio=native,discard=unmap", { cache: "writeback", discard: true }],
  ["file=a,cache=directsync", { cache: "writethrough" }],
  ["file=a,cache=unsafe,werror=stop,rerror=ignore", { cache: "unsafe", werror: "stop", rerror: "ignore" }],
  ["file=a,snapshot=on", { snapshot: true }],
  ["file=a,readonly=on,snapshot=on", { snapshot: false, readOnly: true }],
] as const)
  test(`-drive ${text}`, () => {
    const got = parse(text) as unknown as Record<string, unknown>;
    for (const [k, v] of Object.entries(expected)) assert.equal(got[k], v, k);
  });

for (const [text, message] of [
  ["file=a,if=scsi", /-drive file=a,if=scsi: if=scsi is not supported/],
  ["file=a,if=foo", /if=foo: expected one of ide, floppy, virtio, none/],
  ["file=a,index=4", /index=4: if=ide takes drives 0 to 3/],
  ["file=a,index=1,bus=0", /index cannot be used with bus and unit/],
  ["file=a,unit=2", /unit=2/],
  ["file=a,index=-1", /index=-1: expected a number/],
  ["if=ide", /a disk needs file=/],
  ["file=a,format=vmdk", /Unknown driver 'vmdk'/],
  ["file=a,cache=constructor", /cache=constructor: expected one of/],
  ["file=a,werror=panic", /werror=panic/],
  ["file=a,rerror=enospc", /rerror=enospc/],
  ["file=a,readonly=maybe", /readonly=maybe: expected on or off/],
  ["file=a,colour=red", /Invalid parameter 'colour'/],
  ["file=a,throttling.bps-total=1", /throttling.bps-total is not supported/],
  ["file=a,serial=123456789012345678901", /serial=/],
] as const)
  test(`-drive ${text} is refused`, () => assert.throws(() => parse(text), message));

const bytes = (n: number, f: (i: number) => number) => Uint8Array.from({ length: n }, (_, i) => f(i));

test("raw: sizes that are no multiple of 512 are padded with zeroes, writes there extend", async () => {
  const files = new MemoryFiles();
  files.contents.set(
    "a",
    bytes(700, () => 7),
  );
  const raw = new RawNode(new FileNode(await files.open("a", { readOnly: false, lock: true }), "a"));
  assert.equal(raw.sizeBytes, 1024);
  const out = new Uint8Array(512).fill(0xee);
  await raw.read(512, out);
  assert.deepEqual([out[187], out[188], out[511]], [7, 0, 0]);
  await raw.write(512, out.fill(9));
  assert.equal(files.contents.get("a")!.length, 1024);
  for (const [offset, size] of [
    [1024, 1],
    [-1, 1],
    [513, 512],
    [2 ** 53, 512],
    [Number.NaN, 1],
  ] as const)
    await assert.rejects(raw.read(offset, new Uint8Array(size)), /past the end/);
  await raw.close();
  await assert.rejects(raw.read(0, out), /closed/);
});

test("drives: cache modes, discard, zeroes, read-only", async () => {
  for (const [options, log] of [
    ["cache=writeback", ["write a 0+512", "flush a"]],
    ["cache=writethrough", ["write a 0+512", "flush a", "flush a"]],
    ["cache=unsafe", ["write a 0+512"]],
    ["discard=unmap", ["write a 0+512", "flush a", "discard a 0+512"]],
    ["detect-zeroes=unmap,discard=unmap", ["discard a 0+512", "flush a", "discard a 0+512"]],
  ] as const) {
    const files = new MemoryFiles();
    files.contents.set("a", new Uint8Array(1024));
    const image = await openImage(parse(`file=a,format=raw,${options}`), new BlockGraph({ files }));
    files.log.length = 0;
    await image.write(0, new Uint8Array(512));
    await image.flush();
    await image.discard!(0, 512);
    assert.deepEqual(files.log, log, options);
  }
  const files = new MemoryFiles();
  files.contents.set("a", new Uint8Array(1024));
  const ro = await openImage(parse("file=a,readonly=on"), new BlockGraph({ files }));
  await assert.rejects(ro.write(0, new Uint8Array(1)), /read-only/);
});

test("overlay agrees with a plain disk over random requests, and leaves the image alone", async () => {
  const size = 4 * CLUSTER_BYTES + 1536;
  const base = bytes(size, (i) => i * 7);
  const below = new MemoryBackend(base.slice(), "b", true);
  const overlay = new OverlayBackend(below);
  const model = base.slice();
  let seed = 1;
  const random = (n: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return Math.floor((seed / 2 ** 32) * n);
  };
  for (let i = 0; i < 120; i++) {
    const offset = random(size / 512) * 512;
    const length = Math.min(size - offset, 512 * (1 + random(300)));
    if (random(2)) {
      const data = bytes(length, () => random(256));
      model.set(data, offset);
      await overlay.write(offset, data);
    } else {
      const out = new Uint8Array(length);
      await overlay.read(offset, out);
      assert.deepEqual(out, model.slice(offset, offset + length), `row ${i}`);
    }
  }
  assert.deepEqual(below.bytes, base);
  assert.ok(overlay.usedBytes <= 5 * CLUSTER_BYTES);
});

test("overlay: concurrent partial writes of one cluster, and a limit", async () => {
  const overlay = new OverlayBackend(new MemoryBackend(new Uint8Array(4 * CLUSTER_BYTES)), CLUSTER_BYTES);
  await Promise.all([overlay.write(0, new Uint8Array(512).fill(1)), overlay.write(512, new Uint8Array(512).fill(2))]);
  const out = new Uint8Array(1024);
  await overlay.read(0, out);
  assert.deepEqual([out[0], out[511], out[512], out[1023]], [1, 1, 2, 2]);
  const error = await overlay.write(CLUSTER_BYTES, new Uint8Array(1)).then(
    () => undefined,
    (e: unknown) => e,
  );
  assert.ok(isNoSpace(error));
});

for (const [head, format, message] of [
  [[0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 1], undefined, /is a qcow image/],
  [[0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 2], undefined, /not in qcow2 format/],
  [[0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 2], "raw", undefined],
  [[0x4b, 0x44, 0x4d, 0x56], undefined, /is a vmdk image/],
  [[0xeb, 0x3c], undefined, undefined],
  [[], undefined, undefined],
] as const)
  test(`hostile 22: image beginning ${head.join(" ")} format=${format}`, async () => {
    const files = new MemoryFiles();
    files.contents.set("a", Uint8Array.from(head));
    const opening = openImage(parse(format ? `file=a,format=${format}` : "file=a"), new BlockGraph({ files }));
    if (message) {
      await assert.rejects(opening, message);
      assert.equal(files.log.at(-1), "close a");
    } else await opening;
  });

test("opening: messages, protocols, snapshot opens read-only", async () => {
  const files = new MemoryFiles();
  files.contents.set("a", new Uint8Array(512));
  const graph = new BlockGraph({ files });
  await assert.rejects(openImage(parse("file=b"), graph), (e: VmError) => {
    assert.equal(e.code, "block/not-found");
    assert.equal(e.message, "-drive file=b: Could not open 'b': No such file or directory");
    return true;
  });
  await assert.rejects(openImage(parse("file=sheepdog://x/y"), graph), /Unknown protocol 'sheepdog'/);
  assert.equal((await openImage(parse("file=null-co://"), graph)).sizeBytes, 2 ** 30);
  await openImage(parse("file=file:a"), graph);
  const drive = await openDrive(parse("file=a,snapshot=on"), graph);
  assert.deepEqual(files.log, ["open a rw", "open a ro"]);
  assert.equal(drive.backend?.readOnly, false);
  await drive.close();
  assert.equal(files.log.at(-1), "close a");
});

const enospc = new VmError("block/io", "write", { cause: { code: "ENOSPC" } });
const eio = new VmError("block/io", "write", { cause: { code: "EIO" } });
for (const [policy, kind, error, outcome] of [
  ["report", "write", eio, "error"],
  ["ignore", "write", eio, "ok"],
  ["stop", "write", eio, "held"],
  ["enospc", "write", eio, "error"],
  ["enospc", "write", enospc, "held"],
  ["enospc", "flush", enospc, "held"],
  ["report", "read", eio, "error"],
  ["stop", "read", eio, "held"],
] as [ErrorPolicy, "read" | "write" | "flush", VmError, string][])
  test(`hostile 25: ${kind} fails with ${(error.cause as { code: string }).code}, policy ${policy}: ${outcome}`, async () => {
    const drive = new DriveState({ id: "d", media: "disk", werror: policy, rerror: policy === "enospc" ? "report" : policy });
    const requests = new DriveRequests(drive);
    let broken = true;
    let stops = 0;
    drive.onIoError = () => stops++;
    const results: unknown[] = [];
    requests.start(
      kind,
      async () => {
        if (broken) throw error;
      },
      (e) => results.push(e === undefined ? "ok" : "error"),
    );
    await drive.settled();
    assert.deepEqual([results, stops], outcome === "held" ? [[], 1] : [[outcome], 0]);
    broken = false;
    drive.retry();
    await drive.settled();
    await Promise.resolve();
    assert.deepEqual(results, [outcome === "held" ? "ok" : outcome]);
  });

test("a cancelled request does not reach the device", async () => {
  const drive = new DriveState({ id: "d", media: "disk" });
  const requests = new DriveRequests(drive);
  requests.start(
    "read",
    async () => {},
    () => assert.fail("called"),
  );
  requests.cancel();
  await drive.settled();
  assert.equal(drive.inFlight, 0);
});

test("eject and change", async () => {
  const a = new MemoryBackend(new Uint8Array(512));
  const drive = new DriveState({ id: "cd", media: "cdrom", backend: a });
  let changes = 0;
  let wishes = 0;
  drive.onMediaChange = () => changes++;
  drive.onEjectRequest = () => wishes++;
  drive.trayLocked = true;
  await assert.rejects(drive.eject(), /Device 'cd' is locked/);
  assert.equal(wishes, 1);
  await drive.eject(true);
  assert.equal(drive.backend, undefined);
  await assert.rejects(a.read(0, new Uint8Array(1)), /closed/);
  await drive.setMedium(new MemoryBackend(new Uint8Array(512)));
  assert.equal(changes, 2);
  await assert.rejects(new DriveState({ id: "hd", media: "disk" }).eject(), /not removable/);
});

const table = (entries: [endHead: number, endSector: number, length: number][]) => {
  const b = new Uint8Array(512);
  b[510] = 0x55;
  b[511] = 0xaa;
  entries.forEach(([head, sector, length], i) => {
    const at = 0x1be + 16 * i;
    b[at + 5] = head;
    b[at + 6] = sector;
    new DataView(b.buffer).setUint32(at + 12, length, true);
  });
  return b;
};
for (const [boot, total, expected] of [
  [undefined, 20480, [20, 16, 63, "none"]],
  [undefined, 2 ** 21, [2080, 16, 63, "lba"]],
  [undefined, 2 ** 31, [16383, 16, 63, "lba"]],
  [undefined, 1, [2, 16, 63, "none"]],
  [table([[15, 63, 1000]]), 1008 * 500, [500, 16, 63, "none"]],
  [table([[7, 17, 1000]]), 8 * 17 * 100, [100, 8, 17, "none"]],
  [table([[254, 63, 1000]]), 2 ** 21, [2080, 16, 63, "large"]],
  [table([[254, 63, 1000]]), 2 ** 25, [16383, 16, 63, "lba"]],
  [table([[0, 0, 0xffffffff]]), 20480, [20, 16, 63, "none"]],
  [new Uint8Array(512), 20480, [20, 16, 63, "none"]],
] as const)
  test(`geometry of ${total} sectors${boot ? " with a boot sector" : ""}: ${expected.join("/")}`, () => {
    const g = guessGeometry(boot, total);
    assert.deepEqual([g.cylinders, g.heads, g.sectors, g.translation], expected);
  });
