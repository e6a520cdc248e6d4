import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { debianTest } from "../../../testkit/debian.js";
import { RawNode } from "../raw-node.js";
import {
  checkedByQemu,
  comparedByQemu,
  imageFolder,
  openFile,
  openQcow2,
  QEMU_IMG,
  qemuImg,
  qemuIo,
  randomFrom,
} from "../test-images.js";
import { readBitmapDirectory } from "./bitmaps.js";
import { checkImage } from "./check.js";
import type { Qcow2Image } from "./image.js";
import { applySnapshot, createSnapshot, deleteSnapshot, openSnapshot, writeVmState } from "./snapshots.js";

const at = imageFolder();
const SNAPSHOT = { dateSec: 1, dateNsec: 0, vmClockNs: 0, vmStateBytes: 0 };

const LAYOUTS = [
  "cluster_size=64k",
  "cluster_size=512",
  "cluster_size=4k,refcount_bits=1",
  "cluster_size=64k,extended_l2=on",
  "compat=0.10",
  "cluster_size=2M",
  "lazy_refcounts=on",
  "refcount_bits=64,cluster_size=1k",
  "preallocation=metadata",
  "cluster_size=16k,extended_l2=on,refcount_bits=4",
];

/** Random requests, snapshots and reopenings against a model in memory; at the end QEMU looks at the image. */
async function randomRun(layout: string, seed: number, operations: number): Promise<void> {
  const random = randomFrom(seed);
  const backed = random(2) === 1 && !layout.includes("prealloc");
  const size = 512 * (1 + random(12000));
  const [file, base, flat] = [at("random.qcow2"), at("random-base.raw"), at("random-model.raw")];
  for (const f of [file, base, flat]) rmSync(f, { force: true });
  const model = new Uint8Array(size);
  if (backed) {
    const b = new Uint8Array(512 * (1 + random(12000)));
    for (let i = 0; i < b.length; i++) b[i] = i * 7 + (i >> 9);
    writeFileSync(base, b);
    model.set(b.subarray(0, size));
  }
  qemuImg("create", "-q", "-f", "qcow2", "-o", layout, ...(backed ? ["-b", base, "-F", "raw"] : []), file, String(size));
  const open = async () => {
    const image = await openQcow2(file, { discard: random(2) === 1 });
    if (backed) image.backing = new RawNode(await openFile(base, true));
    return image;
  };
  let image = await open();
  const snapshots: { id: string; model: Uint8Array }[] = [];
  const write = (offset: number, length: number, value: number) => {
    const data = new Uint8Array(length).fill(value);
    model.set(data, offset);
    return image.write(offset, data);
  };
  for (let n = 0; n < operations; n++) {
    const offset = 512 * random(size / 512);
    const length = Math.min(size - offset, 512 * (1 + random(random(4) ? 40 : 1000)));
    const kind = random(20);
    if (kind < 7) await write(offset, length, 1 + random(255));
    else if (kind < 11) {
      const out = new Uint8Array(length);
      await image.read(offset, out);
      assert.ok(
        Buffer.compare(out, model.subarray(offset, offset + length)) === 0,
        `seed ${seed}, ${layout}: read ${n} at ${offset}`,
      );
    } else if (kind < 13) {
      model.fill(0, offset, offset + length);
      await image.writeZeroes(offset, length, random(2) === 1);
    } else if (kind < 14) {
      await image.discard(offset, length);
      const unit = image.core.clusterBytes;
      const from = Math.ceil(offset / unit) * unit;
      const to = offset + length === size ? size : Math.floor((offset + length) / unit) * unit;
      if (to > from && (image.core.header.version > 2 || !backed)) model.fill(0, from, to);
    } else if (kind < 15) await image.flush();
    else if (kind < 16) {
      const writes: Promise<void>[] = [];
      for (let i = 0, p = offset; i < 8 && p < size; i++) {
        const part = Math.min(size - p, 512 * (1 + random(20)));
        writes.push(write(p, part, random(256)));
        p += part;
      }
      await Promise.all(writes);
    } else if (kind < 17) {
      await image.close();
      image = await open();
    } else if (kind < 18 && snapshots.length < 3 && !layout.endsWith("bits=1")) {
      const s = await createSnapshot(image, { ...SNAPSHOT, name: `s${n}` });
      snapshots.push({ id: s.id, model: model.slice() });
    } else if (kind < 19 && snapshots.length > 0)
      await deleteSnapshot(image, snapshots.splice(random(snapshots.length), 1)[0]!.id);
    else if (snapshots.length > 0) {
      const s = snapshots[random(snapshots.length)]!;
      await applySnapshot(image, s.id);
      model.set(s.model);
    }
  }
  await image.close();
  checkedByQemu(file);
  writeFileSync(flat, model);
  comparedByQemu(flat, "raw", file, "qcow2");
  for (const s of snapshots) {
    qemuImg("convert", "-l", `snapshot.id=${s.id}`, "-O", "raw", file, flat);
    assert.ok(Buffer.compare(readFileSync(flat), s.model) === 0, `seed ${seed}, ${layout}: snapshot ${s.id}`);
  }
}

for (const layout of LAYOUTS)
  debianTest(`random requests, snapshots, reopenings: ${layout}`, [QEMU_IMG], async () => {
    await randomRun(layout, 1000 + LAYOUTS.indexOf(layout), 80);
  });

/** The same requests by qemu-io and by us on twins. */
for (const layout of [
  "cluster_size=64k",
  "cluster_size=4k,extended_l2=off,refcount_bits=8",
  "cluster_size=64k,extended_l2=on",
  "compat=0.10",
])
  debianTest(`qemu-io and we do the same: ${layout}`, [QEMU_IMG], async () => {
    const [ours, theirs] = [at("ours.qcow2"), at("theirs.qcow2")];
    qemuImg("create", "-q", "-f", "qcow2", "-o", layout, ours, "8M");
    copyFileSync(ours, theirs);
    const random = randomFrom(77);
    for (let round = 0; round < 2; round++) {
      const image = await openQcow2(ours, { discard: true });
      const commands: string[] = [];
      for (let i = 0; i < 40; i++) {
        const offset = 512 * random(16384);
        const length = Math.min(8 * 2 ** 20 - offset, 512 * (1 + random(300)));
        const kind = random(6);
        if (kind < 4) {
          const value = 1 + random(255);
          commands.push(`write -P ${value} ${offset} ${length}`);
          await image.write(offset, new Uint8Array(length).fill(value));
        } else if (kind < 5) {
          commands.push(`write -z ${random(2) ? "-u " : ""}${offset} ${length}`);
          await image.writeZeroes(offset, length, true);
        } else {
          commands.push("flush");
          await image.flush();
        }
      }
      await image.close();
      qemuIo(theirs, commands);
      checkedByQemu(ours);
      comparedByQemu(ours, "qcow2", theirs, "qcow2");
      // Each goes on with the other's image.
      copyFileSync(ours, at("swap.qcow2"));
      copyFileSync(theirs, ours);
      copyFileSync(at("swap.qcow2"), theirs);
    }
  });

/** What qemu-img makes is read here. */
for (const [name, options] of [
  ["zlib", ["-c"]],
  ["zstd", ["-c", "-o", "compression_type=zstd"]],
  ["zstd, small clusters", ["-c", "-o", "compression_type=zstd,cluster_size=4k"]],
  ["zlib, largest clusters", ["-c", "-o", "cluster_size=2M"]],
  ["zlib, version 2", ["-c", "-o", "compat=0.10"]],
  ["zlib, extended L2", ["-c", "-o", "extended_l2=on"]],
  ["extended L2", ["-o", "extended_l2=on,cluster_size=32k"]],
  ["all data allocated", ["-S", "0"]],
  ["preallocated", ["-o", "preallocation=full"]],
] as const)
  debianTest(`reads qemu-img's image: ${name}`, [QEMU_IMG], async () => {
    const [raw, file] = [at("source.raw"), at("read.qcow2")];
    const random = randomFrom(5);
    const bytes = new Uint8Array(5 * 2 ** 20 + 3 * 512);
    for (let i = 0; i < bytes.length; i++) bytes[i] = (i >> 16) % 3 === 0 ? 0 : (i >> 14) % 2 === 0 ? random(256) : i >> 8;
    writeFileSync(raw, bytes);
    rmSync(file, { force: true });
    qemuImg("convert", "-O", "qcow2", ...options, raw, file);
    const image = await openQcow2(file);
    const out = new Uint8Array(bytes.length);
    await image.read(0, out);
    assert.ok(Buffer.compare(out, bytes) === 0);
    for (let i = 0; i < 30; i++) {
      const offset = random(bytes.length - 100000);
      const part = out.subarray(0, 1 + random(100000));
      await image.read(offset, part);
      assert.ok(Buffer.compare(part, bytes.subarray(offset, offset + part.length)) === 0, `at ${offset}`);
    }
    // Written over, compressed clusters among them.
    for (let i = 0; i < 30; i++) {
      const offset = 512 * random(bytes.length / 512 - 200);
      const data = new Uint8Array(512 * (1 + random(200))).fill(i + 1);
      bytes.set(data, offset);
      await image.write(offset, data);
      if (i % 10 === 0) await image.writeZeroes(512 * i, 512);
      if (i % 10 === 0) bytes.fill(0, 512 * i, 512 * i + 512);
    }
    await image.close();
    checkedByQemu(file);
    writeFileSync(raw, bytes);
    comparedByQemu(raw, "raw", file, "qcow2");
  });

debianTest("compressed clusters that we write, packed, read back and replaced", [QEMU_IMG], async () => {
  const [raw, file] = [at("packed.raw"), at("packed.qcow2")];
  qemuImg("create", "-q", "-f", "qcow2", file, "4M");
  const bytes = new Uint8Array(4 * 2 ** 20);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i >> 5) * 7 + (i >> 17);
  let image = await openQcow2(file);
  await image.writeCompressed(0, bytes);
  await image.close();
  checkedByQemu(file);
  writeFileSync(raw, bytes);
  comparedByQemu(raw, "raw", file, "qcow2");
  assert.ok(readFileSync(file).length < 2 * 2 ** 20);
  image = await openQcow2(file);
  await createSnapshot(image, { ...SNAPSHOT, name: "packed" });
  for (let i = 0; i < 20; i++) {
    const data = new Uint8Array(3000 * 512).fill(i);
    bytes.set(data.subarray(0, 1024), i * 200000 - ((i * 200000) % 512));
    await image.write(i * 200000 - ((i * 200000) % 512), data.subarray(0, 1024));
  }
  await image.close();
  checkedByQemu(file);
  writeFileSync(raw, bytes);
  comparedByQemu(raw, "raw", file, "qcow2");
});

debianTest("VM state in snapshots", [QEMU_IMG], async () => {
  const file = at("vmstate.qcow2");
  qemuImg("create", "-q", "-f", "qcow2", file, "64M");
  const image = await openQcow2(file);
  const state = Uint8Array.from({ length: 3_000_000 }, (_, i) => i * 13);
  await image.write(0, new Uint8Array(4096).fill(1));
  for (let p = 0; p < state.length; p += 700_000) await writeVmState(image, p, state.subarray(p, p + 700_000));
  await createSnapshot(image, { ...SNAPSHOT, name: "vm", vmStateBytes: state.length });
  await image.write(0, new Uint8Array(4096).fill(2));
  const view = await openSnapshot(image, "vm");
  const back = new Uint8Array(state.length);
  await view.readVmState(0, back);
  assert.deepEqual(back, state);
  const disk = new Uint8Array(4096);
  await view.read(0, disk);
  assert.equal(disk[0], 1);
  await image.close();
  checkedByQemu(file);
  assert.match(qemuImg("snapshot", "-l", file), /1 {9}vm {15}2\.86 MiB/);
  const again = await openQcow2(file);
  await applySnapshot(again, "vm");
  await deleteSnapshot(again, "vm");
  await again.close();
  checkedByQemu(file);
});

debianTest("sizes: longer, shorter, over a longer backing file", [QEMU_IMG], async () => {
  const [file, base] = [at("size.qcow2"), at("size-base.raw")];
  writeFileSync(base, new Uint8Array(3 * 2 ** 20).fill(9));
  for (const compat of ["1.1", "0.10"]) {
    rmSync(file, { force: true });
    qemuImg("create", "-q", "-f", "qcow2", "-o", `compat=${compat},cluster_size=4k`, "-b", base, "-F", "raw", file, "1M");
    const image = await openQcow2(file);
    image.backing = new RawNode(await openFile(base, true));
    await image.resize(2 * 2 ** 20);
    const out = new Uint8Array(2 * 2 ** 20);
    await image.read(0, out);
    assert.deepEqual([out[0], out[2 ** 20 - 1], out[2 ** 20], out[2 ** 21 - 1]], [9, 9, 0, 0], compat);
    await image.write(1500 * 1024, new Uint8Array(1024).fill(4));
    await image.resize(2 ** 20 + 512);
    await image.resize(600 * 2 ** 20);
    await image.read(0, out);
    assert.deepEqual([out[0], out[2 ** 20], out[1500 * 1024]], [9, 0, 0], compat);
    await image.close();
    checkedByQemu(file);
  }
});

debianTest("dirty bitmaps are kept, and follow what is written", [QEMU_IMG], async () => {
  const file = at("bitmaps.qcow2");
  qemuImg("create", "-q", "-f", "qcow2", file, "16M");
  qemuImg("bitmap", "--add", "-g", "64k", file, "auto");
  qemuImg("bitmap", "--add", "-g", "64k", file, "off");
  qemuImg("bitmap", "--disable", file, "off");
  const image = await openQcow2(file);
  await image.write(65536 * 10, new Uint8Array(65536 * 3));
  const { entries } = await readBitmapDirectory(image.file, image.core.header);
  assert.deepEqual(
    entries.map((e) => [e.name, e.flags & 1]),
    [
      ["auto", 1],
      ["off", 0],
    ],
  );
  await image.close();
  checkedByQemu(file);
  const info = JSON.parse(qemuImg("info", "--output=json", file));
  assert.deepEqual(
    info["format-specific"].data.bitmaps.map((b: { name: string; flags: string[] }) => [b.name, b.flags]),
    [
      ["auto", ["auto"]],
      ["off", []],
    ],
  );
  // QEMU's own reading of the bitmap: its granules as an NBD block status.
  const map = execFileSync("sh", [
    "-c",
    `qemu-nbd -k ${at("bm.sock")} --read-only -B auto -f qcow2 -x e ${file} & p=$!; for i in 1 2 3 4 5 6 7 8 9 10; do [ -S ${at("bm.sock")} ] && break; sleep 0.2; done; qemu-img map --output=json --image-opts "driver=nbd,export=e,server.type=unix,server.path=${at("bm.sock")},x-dirty-bitmap=qemu:dirty-bitmap:auto"; kill $p 2>/dev/null; wait`,
  ]).toString();
  const dirty = (JSON.parse(map) as { start: number; length: number; data: boolean }[]).filter((e) => !e.data);
  assert.deepEqual(
    dirty.map((e) => [e.start / 65536, e.length / 65536]),
    [[10, 3]],
  );
});

debianTest("checks agree with qemu-img, repairs satisfy it", [QEMU_IMG], async () => {
  const file = at("broken.qcow2");
  const make = async (damage: (bytes: DataView, image: Qcow2Image) => void) => {
    rmSync(file, { force: true });
    qemuImg("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", file, "4M");
    const image = await openQcow2(file);
    await image.write(0, new Uint8Array(200 * 1024).fill(7));
    await createSnapshot(image, { ...SNAPSHOT, name: "s" });
    await image.write(4096, new Uint8Array(40960).fill(8));
    await image.close();
    const bytes = readFileSync(file);
    damage(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), image);
    writeFileSync(file, bytes);
  };
  const l2 = (v: DataView, image: Qcow2Image) => Number(v.getBigUint64(image.core.header.l1Offset) & 0xfffffffffffe00n);
  const block = (image: Qcow2Image) => image.core.refcounts.blockOffset(0);
  for (const [name, damage] of [
    ["a leak", (v, i) => v.setUint16(block(i) + 2 * 20, 5)],
    ["a count too low", (v, i) => v.setUint16(block(i) + 2 * 20, 0)],
    ["counts all gone", (v, i) => new Uint8Array(v.buffer, v.byteOffset + block(i), 4096).fill(0)],
    ["no refcount block", (v, i) => v.setBigUint64(i.core.header.refTableOffset, 0n)],
    ["refcount block unaligned", (v, i) => v.setBigUint64(i.core.header.refTableOffset, BigInt(block(i) + 512))],
    ["copied flag missing", (v, i) => v.setUint8(l2(v, i) + 8, 0)],
    ["two entries, one cluster", (v, i) => v.setBigUint64(l2(v, i) + 16, v.getBigUint64(l2(v, i) + 8))],
  ] as [string, (v: DataView, i: Qcow2Image) => void][]) {
    await make(damage);
    const ask = async (repair: "none" | "all", readOnly: boolean) => {
      const image = await openQcow2(file, { forCheck: true, readOnly });
      const result = await checkImage(image, repair, () => {});
      await image.close();
      return result;
    };
    const found = await ask("none", true);
    assert.ok(found.corruptions + found.leaks > 0, name);
    await ask("all", false);
    const after = await ask("none", true);
    assert.deepEqual([after.corruptions, after.leaks], [0, 0], `${name}: after the repair`);
    checkedByQemu(file);
    const image = await openQcow2(file);
    await image.write(3 * 2 ** 20, new Uint8Array(65536).fill(3));
    await image.close();
    checkedByQemu(file);
  }
});
