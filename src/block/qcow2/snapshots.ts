/**
 * Internal snapshots: a copy of the L1 table, and one more reference to everything it leads to.
 * Source: docs/interop/qcow2.txt "Snapshots"; what each step may leave behind after a crash is leaked clusters.
 */
import { VmError } from "../../base/errors.js";
import { type Qcow2Core, roundUp } from "./core.js";
import { BAD_OFFSET, COMPRESSED, COPIED, compressedAt, offsetAt, set64, type Table, tableOf } from "./entry.js";
import { l1EntriesFor, MAX_SNAPSHOTS } from "./header.js";
import type { Qcow2Image } from "./image.js";
import { mapRun } from "./mapping.js";
import { growL1 } from "./resize.js";
import { type Snapshot, writeSnapshotTable } from "./snapshot-table.js";

/** What a snapshot is made with. */
export interface SnapshotRequest {
  readonly name: string;
  readonly dateSec: number;
  readonly dateNsec: number;
  readonly vmClockNs: number;
  /** How much VM state was written before. */
  readonly vmStateBytes: number;
  readonly icount?: number | undefined;
}

/** By id first, then by name, as QEMU looks. */
export function findSnapshot(image: Qcow2Image, idOrName: string): Snapshot | undefined {
  const { snapshots } = image.core;
  return snapshots.find((s) => s.id === idOrName) ?? snapshots.find((s) => s.name === idOrName);
}

function need(image: Qcow2Image, idOrName: string): Snapshot {
  const s = findSnapshot(image, idOrName);
  if (!s) throw new VmError("block/not-found", `snapshot '${idOrName}' does not exist`);
  return s;
}

/** An L1 table of the file. */
async function readL1(core: Qcow2Core, offset: number, entries: number): Promise<Table> {
  const table = tableOf(new Uint8Array(Math.max(512, roundUp(entries * 8, 512))));
  if (entries > 0) await core.file.read(offset, table.bytes.subarray(0, entries * 8));
  return table;
}

async function setFlag(core: Qcow2Core, view: DataView, at: number, cluster: number): Promise<boolean> {
  const high = view.getUint32(at);
  const now = (await core.refcounts.get(cluster)) === 1 ? (high | COPIED) >>> 0 : (high & ~COPIED) >>> 0;
  if (now === high) return false;
  view.setUint32(at, now);
  return true;
}

/**
 * Adds `delta` to the counts of everything an L1 table leads to, and sets the flags that say "counted once" (not when
 * references go: that table is about to be forgotten). `l1` is changed.
 */
async function adjust(core: Qcow2Core, l1: Table, entries: number, delta: -1 | 0 | 1): Promise<void> {
  const { clusterBytes, entryBytes, refcounts } = core;
  const { pieceBytes } = core.l2Cache;
  const change = async (first: number, count: number) => {
    if (delta > 0) await refcounts.update(first, count, 1);
    else if (delta < 0) await core.release(first, count);
  };
  for (let i = 0; i < entries; i++) {
    const table = offsetAt(l1.view, i * 8);
    if (table === 0) continue;
    if (table >= BAD_OFFSET || table % clusterBytes !== 0)
      await core.corrupt(`L2 table offset ${table.toString(16)} unaligned (L1 index: ${i})`);
    for (let p = 0; p < clusterBytes; p += pieceBytes) {
      const piece = await core.l2Cache.load(table + p);
      let dirty = false;
      for (let at = 0; at < pieceBytes; at += entryBytes) {
        if (piece.view.getUint32(at) & COMPRESSED) {
          if (delta === 0) continue;
          const { offset, sectors } = compressedAt(piece.view, at, core.header.clusterBits);
          const end = Math.floor(offset / 512) * 512 + sectors * 512;
          const first = Math.floor(offset / clusterBytes);
          await change(first, Math.ceil(end / clusterBytes) - first);
          continue;
        }
        const host = offsetAt(piece.view, at);
        if (host === 0) continue;
        if (host >= BAD_OFFSET || host % clusterBytes !== 0)
          await core.corrupt(`Cluster allocation offset ${host.toString(16)} unaligned`);
        await change(host / clusterBytes, 1);
        if (delta >= 0 && (await setFlag(core, piece.view, at, host / clusterBytes))) dirty = true;
      }
      if (dirty) core.l2Cache.markDirty(table + p, piece);
      if (core.crowded) await core.flush();
    }
    await change(table / clusterBytes, 1);
    if (delta >= 0 && (await setFlag(core, l1.view, i * 8, table / clusterBytes)) && l1 === core.l1) core.markL1Dirty(i);
  }
}

/** Whether every count can take one more. */
async function checkRoom(core: Qcow2Core): Promise<void> {
  if (core.refcounts.order >= 4) return;
  for (let guest = 0; guest < core.header.l1Entries * core.clusterBytes * core.l2Entries; ) {
    const table = core.l2Offset(guest);
    if (table === 0) {
      guest += core.clusterBytes * core.l2Entries;
      continue;
    }
    const run = await mapRun(core, guest, core.clusterBytes);
    for (const host of [table, run.host - (run.host % core.clusterBytes)])
      if (host > 0 && (await core.refcounts.get(host / core.clusterBytes)) >= core.refcounts.maxCount)
        throw new VmError(
          "block/io",
          `The reference counts of ${2 ** core.refcounts.order} bits have no room for another snapshot`,
        );
    guest += core.clusterBytes;
  }
}

/** Writes a new table and makes the header name it. */
async function replaceTable(core: Qcow2Core, snapshots: Snapshot[]): Promise<void> {
  const { header, clusterBytes, refcounts } = core;
  const bytes = writeSnapshotTable(snapshots);
  const oldBytes = writeSnapshotTable(core.snapshots).length;
  const old = { first: header.snapshotsOffset / clusterBytes, count: Math.ceil(oldBytes / clusterBytes) };
  let first = 0;
  const count = Math.ceil(bytes.length / clusterBytes);
  if (count > 0) {
    first = await refcounts.allocate(count);
    await core.file.write(first * clusterBytes, bytes);
  }
  await core.flush();
  header.snapshotCount = snapshots.length;
  header.snapshotsOffset = first * clusterBytes;
  await core.saveHeader();
  await core.file.flush();
  for (let i = 0; i < count; i++) core.reserved.add(first + i);
  if (core.snapshots.length > 0) for (let i = 0; i < old.count; i++) core.free(old.first + i);
  core.snapshots = snapshots;
}

/** Takes a snapshot of what the disk is now. @throws VmError */
export async function createSnapshot(image: Qcow2Image, request: SnapshotRequest): Promise<Snapshot> {
  const { core } = image;
  const { header, clusterBytes } = core;
  if (new TextEncoder().encode(request.name).length > 255) throw new VmError("option/invalid", "The snapshot's name is too long");
  if (core.snapshots.length >= MAX_SNAPSHOTS) throw new VmError("block/io", `The image has ${MAX_SNAPSHOTS} snapshots already`);
  const snapshot = await image.alone(async () => {
    await checkRoom(core);
    await core.beginLazy();
    const entries = header.l1Entries;
    const count = Math.ceil((entries * 8) / clusterBytes);
    const first = count > 0 ? await core.refcounts.allocate(count) : 0;
    await adjust(core, core.l1, entries, 1);
    // Tables first lose the flag that lets them be written in place; then the copy counts.
    await core.flush();
    if (count > 0) await core.file.write(first * clusterBytes, core.l1.bytes.subarray(0, entries * 8));
    const id = core.snapshots.reduce((n, s) => Math.max(n, Number.parseInt(s.id, 10) || 0), 0) + 1;
    const made: Snapshot = {
      l1Offset: first * clusterBytes,
      l1Entries: entries,
      id: String(id),
      name: request.name,
      dateSec: request.dateSec,
      dateNsec: request.dateNsec,
      vmClockNs: request.vmClockNs,
      vmStateBytes: request.vmStateBytes,
      diskBytes: header.sizeBytes,
      icount: request.icount,
      extra: new Uint8Array(0),
    };
    await core.file.flush();
    await replaceTable(core, [...core.snapshots, made]);
    for (let i = 0; i < count; i++) core.reserved.add(first + i);
    return made;
  });
  // The VM state belongs to the snapshot alone now.
  if (request.vmStateBytes > 0)
    await image.zeroClusters(vmStateStart(core), roundUp(request.vmStateBytes, clusterBytes), true, "empty");
  return snapshot;
}

/** @throws VmError "block/not-found" */
export async function deleteSnapshot(image: Qcow2Image, idOrName: string): Promise<void> {
  const { core } = image;
  const snapshot = need(image, idOrName);
  await image.alone(async () => {
    await core.beginLazy();
    const l1 = await readL1(core, snapshot.l1Offset, snapshot.l1Entries);
    await replaceTable(
      core,
      core.snapshots.filter((s) => s !== snapshot),
    );
    await core.flush();
    await adjust(core, l1, snapshot.l1Entries, -1);
    await core.release(snapshot.l1Offset / core.clusterBytes, Math.ceil((snapshot.l1Entries * 8) / core.clusterBytes));
    await core.flush();
    await adjust(core, core.l1, core.header.l1Entries, 0);
  });
}

/** Makes the disk what it was. @throws VmError "block/not-found" */
export async function applySnapshot(image: Qcow2Image, idOrName: string): Promise<Snapshot> {
  const { core } = image;
  const { header, clusterBytes } = core;
  const snapshot = need(image, idOrName);
  if (header.bitmaps && snapshot.diskBytes !== header.sizeBytes && !image.bitmaps?.all)
    throw new VmError("option/unsupported", "Cannot change the size of an image with dirty bitmaps that are not loaded");
  await image.alone(async () => {
    await core.beginLazy();
    const l1 = await readL1(core, snapshot.l1Offset, snapshot.l1Entries);
    await adjust(core, l1, snapshot.l1Entries, 1);
    await core.flush();
    const entries = Math.max(snapshot.l1Entries, l1EntriesFor(header, snapshot.diskBytes));
    const bytes = new Uint8Array(roundUp(Math.max(1, entries) * 8, 512));
    bytes.set(l1.bytes.subarray(0, snapshot.l1Entries * 8));
    const count = Math.max(1, Math.ceil((entries * 8) / clusterBytes));
    const first = await core.refcounts.allocate(count);
    await core.file.write(first * clusterBytes, bytes);
    await core.flush();
    const old = { l1: core.l1, entries: header.l1Entries, first: header.l1Offset / clusterBytes };
    core.replaceL1(first * clusterBytes, entries, bytes);
    const resized = header.sizeBytes !== snapshot.diskBytes;
    header.sizeBytes = snapshot.diskBytes;
    if (resized) image.bitmaps?.resize(header.sizeBytes);
    await core.saveHeader();
    await core.file.flush();
    for (let i = 0; i < count; i++) core.reserved.add(first + i);
    await adjust(core, old.l1, old.entries, -1);
    await core.release(old.first, Math.ceil((old.entries * 8) / clusterBytes));
    await core.flush();
    await adjust(core, core.l1, header.l1Entries, 0);
    core.reserveMetadata();
    image.bitmaps?.markAll();
  });
  return snapshot;
}

/** Where VM state lies: behind what the disk's size needs of the L1 table. */
function vmStateStart(core: Qcow2Core): number {
  return l1EntriesFor(core.header, core.header.sizeBytes) * core.clusterBytes * core.l2Entries;
}

/** Writes VM state at a position, to be part of the next snapshot. @throws VmError */
export async function writeVmState(image: Qcow2Image, position: number, data: Uint8Array): Promise<void> {
  const { core } = image;
  const start = vmStateStart(core) + position;
  const entries = core.l1Index(start + data.length - 1) + 1;
  if (entries > core.header.l1Entries) await image.alone(() => growL1(core, entries));
  const wait = image.gate.enter();
  if (wait) await wait;
  try {
    await image.writeInside(start, data);
  } finally {
    image.gate.leave();
  }
}

/** A snapshot's disk and VM state, to be read; good until the image changes. */
export async function openSnapshot(
  image: Qcow2Image,
  idOrName: string,
): Promise<{
  readonly snapshot: Snapshot;
  read(offsetBytes: number, out: Uint8Array): Promise<void>;
  readVmState(position: number, out: Uint8Array): Promise<void>;
}> {
  const snapshot = need(image, idOrName);
  if (!image.readOnly) await image.flush();
  const view = await image.view();
  await showSnapshot(view.core, snapshot);
  const start = vmStateStart(view.core);
  return {
    snapshot,
    read: (offset, out) => view.readInside(offset, out),
    readVmState: (position, out) => view.readInside(start + position, out),
  };
}

/** Makes a read-only image show a snapshot. */
export async function showSnapshot(core: Qcow2Core, snapshot: Snapshot): Promise<void> {
  const l1 = await readL1(core, snapshot.l1Offset, snapshot.l1Entries);
  core.header.sizeBytes = snapshot.diskBytes;
  core.replaceL1(snapshot.l1Offset, snapshot.l1Entries, l1.bytes);
}
