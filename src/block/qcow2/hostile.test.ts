import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { debianTest } from "../../../testkit/debian.js";
import { VmError } from "../../base/errors.js";
import type { HostFile } from "../../host/file.js";
import { FileNode } from "../file-node.js";
import { BlockGraph } from "../graph.js";
import { isNoSpace } from "../requests.js";
import { MemoryFiles } from "../test-files.js";
import { checkedByQemu, imageFolder, openFile, openQcow2, QEMU_IMG, qemuImg, randomFrom } from "../test-images.js";
import { checkImage } from "./check.js";
import { createQcow2 } from "./create.js";
import { Qcow2Image } from "./image.js";
import { createSnapshot } from "./snapshots.js";

const at = imageFolder();

/** An image in memory with some data, and its bytes. */
async function made(options: { version?: 2 | 3; clusterBytes?: number; snapshot?: boolean } = {}): Promise<Uint8Array> {
  const files = new MemoryFiles();
  const open = async () => new FileNode(await files.open("i", { readOnly: false, lock: false, create: true }), "i");
  const node = await open();
  await createQcow2(node, { sizeBytes: 2 ** 20, clusterBytes: 4096, ...options });
  const image = await Qcow2Image.open(node, { readOnly: false });
  await image.write(0, new Uint8Array(50000 - (50000 % 512)).fill(5));
  if (options.snapshot) await createSnapshot(image, { name: "s", dateSec: 0, dateNsec: 0, vmClockNs: 0, vmStateBytes: 0 });
  await image.write(512 * 1000, new Uint8Array(4096).fill(6));
  await image.close();
  return files.contents.get("i")!;
}

async function openBytes(bytes: Uint8Array, options: { readOnly?: boolean; forCheck?: boolean } = {}): Promise<Qcow2Image> {
  const files = new MemoryFiles();
  files.contents.set("i", bytes.slice());
  const file = await files.open("i", { readOnly: options.readOnly ?? false, lock: false });
  return Qcow2Image.open(new FileNode(file, "i"), { readOnly: false, ...options });
}

const view = (b: Uint8Array) => new DataView(b.buffer, b.byteOffset, b.byteLength);

/** Headers that are refused, with what is said. */
for (const [name, damage, message] of [
  ["cluster bits 0", (v) => v.setUint32(20, 0), /Unsupported cluster size: 2\^0/],
  ["cluster bits 63", (v) => v.setUint32(20, 63), /Unsupported cluster size: 2\^63/],
  ["size 2^63", (v) => v.setBigUint64(24, 2n ** 63n), /too big/],
  ["size 2^50", (v) => v.setBigUint64(24, 2n ** 50n), /L1 table is too small/],
  ["L1 of 2^32-1 entries", (v) => v.setUint32(36, 0xffffffff), /Active L1 table too large/],
  ["L1 of 2^22 entries in a short file", (v) => v.setUint32(36, 2 ** 22), /the file ends before it/],
  ["L1 unaligned", (v) => v.setBigUint64(40, 4097n), /Active L1 table offset invalid/],
  ["L1 at 2^62", (v) => v.setBigUint64(40, 2n ** 62n), /Active L1 table offset invalid/],
  ["L1 behind the end", (v) => v.setBigUint64(40, 2n ** 40n), /the file ends before it/],
  ["refcount table of 2^32-1 clusters", (v) => v.setUint32(56, 0xffffffff), /Reference count table too large/],
  ["refcount table of no cluster", (v) => v.setUint32(56, 0), /does not contain a reference count table/],
  ["refcount table behind the end", (v) => v.setBigUint64(48, 2n ** 40n), /the file ends before its table/],
  ["refcounts of 2^7 bits", (v) => v.setUint32(96, 7), /width too large/],
  ["2^32-1 snapshots", (v) => v.setUint32(60, 0xffffffff), /Snapshot table too large/],
  ["snapshots behind the end", (v) => (v.setUint32(60, 3), v.setBigUint64(64, 2n ** 40n)), /Snapshot table ends too early/],
  ["version 4", (v) => v.setUint32(4, 4), /Unsupported qcow2 version 4/],
  ["header length 0", (v) => v.setUint32(100, 0), /header too short/],
  ["header longer than a cluster", (v) => v.setUint32(100, 5000), /exceeds cluster size/],
  ["encrypted", (v) => v.setUint32(32, 1), /encrypted images are not supported/],
  ["unknown incompatible bit 40", (v) => v.setBigUint64(72, 2n ** 40n), /Unsupported qcow2 feature\(s\)/],
  ["unknown incompatible bit 63", (v) => v.setBigUint64(72, 2n ** 63n), /Unsupported qcow2 feature\(s\)/],
  ["external data file", (v) => v.setBigUint64(72, 4n), /external data files are not supported/],
  ["compression bit without a type", (v) => v.setBigUint64(72, 8n), /Compression type incompatible feature bit/],
  ["compression type 9", (v) => v.setUint8(104, 9), /unknown compression type: 9/],
  ["corrupt", (v) => v.setBigUint64(72, 2n), /Image is corrupt; cannot be opened read\/write/],
  ["extension longer than the header", (v) => v.setUint32(116, 0xfffffff0), /Header extension too large/],
  ["backing file name behind the cluster", (v) => (v.setBigUint64(8, 5000n), v.setUint32(16, 10)), /Invalid backing file offset/],
  ["backing file name of 2^32-1 bytes", (v) => (v.setBigUint64(8, 600n), v.setUint32(16, 0xffffffff)), /name too long/],
  ["L2 table over the header", (v) => v.setBigUint64(Number(v.getBigUint64(40)), 2n ** 63n), undefined],
  [
    "L2 table over the L1 table",
    (v) => v.setBigUint64(Number(v.getBigUint64(40)), v.getBigUint64(40) | (2n ** 63n)),
    /overlaps other metadata/,
  ],
  [
    "L2 table over the refcount table",
    (v) => v.setBigUint64(Number(v.getBigUint64(40)), v.getBigUint64(48) | (2n ** 63n)),
    /overlaps other metadata/,
  ],
  [
    "refcount block over the header",
    (v) => v.setBigUint64(Number(v.getBigUint64(48)) + 8, v.getBigUint64(40)),
    /overlaps other metadata/,
  ],
  ["refcount block unaligned", (v) => v.setBigUint64(Number(v.getBigUint64(48)), 4608n), /unaligned/],
] as [string, (v: DataView) => unknown, RegExp | undefined][])
  debianTest(`hostile 22: qcow2 header, ${name}`, [], async () => {
    const bytes = await made();
    damage(view(bytes));
    if (message === undefined) return void (await openBytes(bytes));
    await assert.rejects(openBytes(bytes), (e: unknown) => {
      assert.ok(e instanceof VmError, String(e));
      assert.match(e.message, message);
      return true;
    });
  });

debianTest("hostile 22: an image cut off at any byte of its header, and behind it", [], async () => {
  const bytes = await made();
  for (const length of [...Array(140).keys(), 511, 512, 4095, 4096, 8192, 12288, 16384, 20480])
    for (const readOnly of [true, false]) {
      const opening = openBytes(bytes.subarray(0, length), { readOnly });
      await opening.then(
        async (image) => {
          const out = new Uint8Array(65536);
          await image.read(0, out).catch((e) => assert.ok(e instanceof VmError));
          await image.close().catch((e) => assert.ok(e instanceof VmError));
        },
        (e) => assert.ok(e instanceof VmError, `${length}: ${e}`),
      );
    }
});

/** Entries that lead astray: an error for the request, never data over metadata. */
for (const [name, damage] of [
  ["a data cluster over the L1 table", (v, l2) => v.setBigUint64(l2, v.getBigUint64(40) | (2n ** 63n))],
  ["a data cluster over the header", (v, l2) => v.setBigUint64(l2 + 8, (BigInt(l2) & ~0xfffn) | (2n ** 63n))],
  ["a data cluster unaligned", (v, l2) => v.setBigUint64(l2, (2n ** 63n) | 0x4600n)],
  ["a data cluster at 2^55", (v, l2) => v.setBigUint64(l2, (2n ** 63n) | (2n ** 55n))],
] as [string, (v: DataView, l2: number) => void][])
  debianTest(`hostile 22: ${name}`, [], async () => {
    const bytes = await made();
    const v = view(bytes);
    const l2 = Number(v.getBigUint64(Number(v.getBigUint64(40))) & 0xfffffffffffe00n);
    damage(v, l2);
    const image = await openBytes(bytes);
    const data = new Uint8Array(4096).fill(0xee);
    const errors: string[] = [];
    for (const offset of [0, 4096]) await image.write(offset, data).catch((e: Error) => errors.push(e.message));
    assert.match(errors.join(), /Marking image as corrupt|marked corrupt/);
    // No more writes, and the next program sees the mark.
    await assert.rejects(image.write(65536, data), /marked corrupt/);
    await image.close();
  });

debianTest("hostile 22: compressed clusters that are damaged, or unpack to more", [QEMU_IMG], async () => {
  const [raw, file] = [at("c.raw"), at("c.qcow2")];
  writeFileSync(raw, new Uint8Array(2 ** 20).fill(65));
  for (const type of ["zlib", "zstd"]) {
    rmSync(file, { force: true });
    qemuImg("convert", "-c", "-O", "qcow2", "-o", `compression_type=${type}`, raw, file);
    const bytes = readFileSync(file);
    const random = randomFrom(3);
    for (let i = 0; i < 40; i++) {
      const broken = Uint8Array.from(bytes);
      for (let k = 0; k < 8; k++) broken[0x50000 + random(Math.max(1, bytes.length - 0x50000))] = random(256);
      writeFileSync(at("cb.qcow2"), broken);
      const image = await openQcow2(at("cb.qcow2"), { readOnly: true }).catch((e) => {
        assert.ok(e instanceof VmError);
      });
      if (!image) continue;
      await image.read(0, new Uint8Array(2 ** 20)).catch((e) => assert.ok(e instanceof VmError, String(e)));
      await image.close();
    }
  }
});

debianTest("hostile 22: random bytes in the metadata: opening, reading, writing, checking all end", [], async () => {
  const random = randomFrom(99);
  for (let i = 0; i < 400; i++) {
    const bytes = await made({ snapshot: i % 2 === 0, version: i % 3 === 0 ? 2 : 3 });
    const n = 1 + random(6);
    for (let k = 0; k < n; k++) bytes[random(2) ? random(120) : random(bytes.length)] = random(256);
    const vm = (e: unknown) => assert.ok(e instanceof VmError, `row ${i}: ${e instanceof Error ? e.stack : e}`);
    for (const options of [{ readOnly: true }, {}, { forCheck: true }]) {
      const image = await openBytes(bytes, options).catch((e) => void vm(e));
      if (!image) continue;
      await image.read(0, new Uint8Array(Math.min(image.sizeBytes, 65536))).catch(vm);
      if ("forCheck" in options) await checkImage(image, i % 2 ? "all" : "none", () => {}).catch(vm);
      else if (!image.readOnly) {
        await image.write(0, new Uint8Array(Math.min(image.sizeBytes, 65536))).catch(vm);
        await image.writeZeroes(0, Math.min(image.sizeBytes, 8192)).catch(vm);
        await createSnapshot(image, { name: "x", dateSec: 0, dateNsec: 0, vmClockNs: 0, vmStateBytes: 0 }).catch(vm);
      }
      await image.close().catch(vm);
    }
  }
});

debianTest("hostile 22: a million L1 entries that name one L2 table: the check ends", [], async () => {
  const files = new MemoryFiles();
  const node = new FileNode(await files.open("i", { readOnly: false, lock: false, create: true }), "i");
  await createQcow2(node, { sizeBytes: 2 ** 20 * 512 * 4, clusterBytes: 512 });
  await node.close();
  const bytes = files.contents.get("i")!;
  const v = view(bytes);
  const l1 = Number(v.getBigUint64(40));
  const entries = v.getUint32(36);
  for (let i = 0; i < entries; i++) v.setBigUint64(l1 + 8 * i, BigInt(l1));
  const image = await openBytes(bytes, { forCheck: true, readOnly: true });
  const result = await checkImage(image, "none", () => {});
  assert.ok(result.corruptions > 0);
});

/** Backing files. */
debianTest("hostile 22: backing files that form a loop, are json:, or are named by a guessed image", [QEMU_IMG], async () => {
  const { nodeHost } = await import("../../host/node/index.js");
  const [a, b, c, secret] = [at("a.qcow2"), at("b.qcow2"), at("c.qcow2"), at("secret")];
  writeFileSync(secret, "secret".repeat(1000));
  const graph = () => new BlockGraph(nodeHost());
  qemuImg("create", "-q", "-f", "qcow2", a, "1M");
  qemuImg("create", "-q", "-f", "qcow2", "-b", a, "-F", "qcow2", b);
  qemuImg("rebase", "-u", "-b", b, "-F", "qcow2", a);
  await assert.rejects(graph().openFile(b, { readOnly: true }), /form a loop/);
  await assert.rejects(graph().openFile(b, { readOnly: false }), /form a loop|lock/);
  qemuImg("rebase", "-u", "-b", a, "-F", "qcow2", a);
  await assert.rejects(graph().openFile(a, { readOnly: true }), /form a loop/);
  qemuImg("rebase", "-u", "-b", `json:{"driver":"raw","file":{"driver":"file","filename":"${secret}"}}`, "-F", "raw", a);
  await assert.rejects(graph().openFile(a, { readOnly: true }), /json: name in an image is not followed/);
  // c records no format for b; b is what a guest could have made of a raw disk, and names a file of the host.
  qemuImg("rebase", "-u", "-b", secret, "-F", "raw", b);
  writeFileSync(c, "");
  const node0 = await openFile(c);
  await createQcow2(node0, { sizeBytes: 2 ** 20, backingFile: b });
  await node0.close();
  await assert.rejects(graph().openFile(c, { readOnly: true }), /its own format was guessed/);
  // Named and recorded, it opens.
  qemuImg("rebase", "-u", "-b", b, "-F", "qcow2", c);
  const g = graph();
  const node = await g.openFile(c, { readOnly: true });
  const out = new Uint8Array(6);
  await node.read(0, out);
  assert.equal(new TextDecoder().decode(out), "secret");
  await g.close();
});

/** A host file that is full after some bytes, or fails. */
class FullFile extends FileNode {
  constructor(
    file: HostFile,
    private readonly limit: () => number,
  ) {
    super(file, "full");
  }
  override async write(offset: number, data: Uint8Array): Promise<void> {
    if (offset + data.length > this.limit() && offset + data.length > this.sizeBytes)
      throw new VmError("block/io", "No space left on device", { cause: { code: "ENOSPC" } });
    return super.write(offset, data);
  }
}

debianTest(
  "hostile 25: the host's disk is full: the writes fail, the image stays whole, and goes on when there is room",
  [QEMU_IMG],
  async () => {
    const { nodeFiles } = await import("../../host/node/files.js");
    const file = at("full.qcow2");
    for (const layout of ["cluster_size=64k", "cluster_size=512"]) {
      rmSync(file, { force: true });
      qemuImg("create", "-q", "-f", "qcow2", "-o", layout, file, "64M");
      let limit = 2 ** 20;
      const image = await Qcow2Image.open(
        new FullFile(await nodeFiles.open(file, { readOnly: false, lock: true }), () => limit),
        { readOnly: false },
      );
      const model = new Map<number, number>();
      let refused = 0;
      for (let i = 0; i < 200; i++) {
        const offset = ((i * 37) % 500) * 65536;
        try {
          await image.write(offset, new Uint8Array(16384).fill(i + 1));
          model.set(offset, i + 1);
        } catch (e) {
          assert.ok(isNoSpace(e), String(e));
          refused++;
        }
        if (i % 20 === 0) await image.flush().catch((e) => assert.ok(isNoSpace(e), String(e)));
      }
      assert.ok(refused > 50, `${refused}`);
      limit = 2 ** 30;
      await image.flush();
      await image.write(0, new Uint8Array(16384).fill(250));
      model.set(0, 250);
      for (const [offset, value] of model) {
        const out = new Uint8Array(512);
        await image.read(offset, out);
        assert.equal(out[100], value);
      }
      await image.close();
      checkedByQemu(file);
    }
  },
);
