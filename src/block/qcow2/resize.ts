/** Longer and shorter qcow2 images, and larger L1 tables. */
import { VmError } from "../../base/errors.js";
import { type Qcow2Core, roundUp } from "./core.js";
import { COPIED, flagsAt, offsetAt, set64 } from "./entry.js";
import { l1EntriesFor, MAX_L1_BYTES } from "./header.js";
import type { Qcow2Image } from "./image.js";

/** Moves the L1 table to where it has room for more entries. Alone, under the lock. */
export async function growL1(core: Qcow2Core, entries: number): Promise<void> {
  const { header, clusterBytes } = core;
  if (entries <= header.l1Entries) return;
  if (entries > MAX_L1_BYTES / 8)
    throw new VmError("block/io", "qcow2: the L1 table would be too large", { cause: { code: "EFBIG" } });
  await core.flush();
  const bytes = new Uint8Array(roundUp(entries * 8, 512));
  bytes.set(core.l1.bytes.subarray(0, header.l1Entries * 8));
  const old = { first: header.l1Offset / clusterBytes, count: Math.ceil((header.l1Entries * 8) / clusterBytes) };
  const count = Math.ceil((entries * 8) / clusterBytes);
  await core.beginLazy();
  const first = await core.refcounts.allocate(count);
  await core.file.write(first * clusterBytes, bytes);
  await core.flush();
  core.replaceL1(first * clusterBytes, entries, bytes);
  await core.saveHeader();
  await core.file.flush();
  for (let i = 0; i < count; i++) core.reserved.add(first + i);
  for (let i = 0; i < old.count; i++) core.free(old.first + i);
}

/** @throws VmError "block/io" | "block/read-only" */
export async function resizeImage(image: Qcow2Image, sizeBytes: number): Promise<void> {
  const { core } = image;
  const { header } = core;
  if (sizeBytes % 512 !== 0) throw new VmError("option/invalid", "The new size must be a multiple of 512");
  if (header.snapshotCount > 0 && header.version < 3)
    throw new VmError("option/unsupported", "Can't resize a v2 image which has snapshots");
  if (header.bitmaps && !image.bitmaps?.all)
    throw new VmError("option/unsupported", "Cannot resize an image with dirty bitmaps that are not loaded; remove them first");
  const old = header.sizeBytes;
  const { clusterBytes } = core;
  if (sizeBytes < old) {
    const keep = roundUp(sizeBytes, clusterBytes);
    if (keep < roundUp(old, clusterBytes)) await image.zeroClusters(keep, roundUp(old, clusterBytes) - keep, true, "empty");
    await image.alone(async () => {
      header.sizeBytes = sizeBytes;
      await core.saveHeader();
      for (let i = l1EntriesFor(header, sizeBytes); i < header.l1Entries; i++) {
        const offset = offsetAt(core.l1.view, i * 8);
        if (offset === 0) continue;
        if (!(flagsAt(core.l1.view, i * 8) & COPIED)) await core.writableTable(i * clusterBytes * core.l2Entries);
        core.free(offsetAt(core.l1.view, i * 8) / clusterBytes);
        set64(core.l1.view, i * 8, 0);
        core.markL1Dirty(i);
      }
      image.bitmaps?.resize(sizeBytes);
    });
    return;
  }
  await image.alone(async () => {
    await growL1(core, l1EntriesFor(header, sizeBytes));
    header.sizeBytes = sizeBytes;
    await core.saveHeader();
    image.bitmaps?.resize(sizeBytes);
  });
  // What the backing file holds behind the old end must not come into sight; nor what a partial cluster holds there.
  const shows = image.backing ? Math.min(sizeBytes, image.backing.sizeBytes) : 0;
  const end = Math.max(Math.min(sizeBytes, roundUp(old, clusterBytes)), shows);
  if (end > old) await image.writeZeroes(old, end - old);
}
