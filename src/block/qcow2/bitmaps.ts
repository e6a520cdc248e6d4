/**
 * Persistent dirty bitmaps: those that record writes by themselves ("auto") are loaded, kept up to date and stored again when
 * the image is closed; the others stay as they are. While an image is open for writing its loaded bitmaps are marked in use,
 * so that after a crash nobody relies on them.
 * Source: docs/interop/qcow2.txt "Bitmaps extension".
 */
import { VmError } from "../../base/errors.js";
import type { BlockNode } from "../node.js";
import type { Qcow2Core } from "./core.js";
import { BAD_OFFSET, get64, offsetAt, set64, tableOf } from "./entry.js";
import { Autoclear, type QcowHeader } from "./header.js";

export const BitmapFlag = { inUse: 1, auto: 2, extraDataCompatible: 4 } as const;
const FIXED_BYTES = 24;
const MAX_BITMAPS = 65535;
const MAX_DIRECTORY_BYTES = 1024 * MAX_BITMAPS;
const TYPE_DIRTY = 1;
/** All bitmaps of an image in memory together. */
const MAX_LOADED_BYTES = 128 * 2 ** 20;

/** An entry of the bitmap directory. */
export interface BitmapEntry {
  /** Where in the directory it lies. */
  readonly at: number;
  tableOffset: number;
  tableEntries: number;
  flags: number;
  readonly type: number;
  readonly granularityBits: number;
  readonly name: string;
}

/** @throws VmError "block/bad-format" */
export async function readBitmapDirectory(
  file: BlockNode,
  header: QcowHeader,
): Promise<{ bytes: Uint8Array; entries: BitmapEntry[] }> {
  const ext = header.bitmaps;
  if (!ext) return { bytes: new Uint8Array(0), entries: [] };
  const fail = (what: string): never => {
    throw new VmError("block/bad-format", `qcow2: ${what}`);
  };
  if (ext.count === 0 || ext.count > MAX_BITMAPS) fail("bitmaps_ext: a wrong number of bitmaps");
  if (ext.directoryOffset % 2 ** header.clusterBits !== 0) fail("bitmaps_ext: invalid bitmap directory offset");
  if (
    ext.directoryBytes > MAX_DIRECTORY_BYTES ||
    ext.directoryBytes < ext.count * FIXED_BYTES ||
    ext.directoryOffset + ext.directoryBytes > file.sizeBytes + 2 ** header.clusterBits
  )
    fail("bitmaps_ext: invalid bitmap directory size");
  const bytes = new Uint8Array(ext.directoryBytes);
  await file.read(ext.directoryOffset, bytes);
  const view = new DataView(bytes.buffer);
  const entries: BitmapEntry[] = [];
  let at = 0;
  for (let i = 0; i < ext.count; i++) {
    if (at + FIXED_BYTES > bytes.length) fail("Broken bitmap directory");
    const nameSize = view.getUint16(at + 18);
    const extra = view.getUint32(at + 20);
    const total = Math.ceil((FIXED_BYTES + extra + nameSize) / 8) * 8;
    if (nameSize === 0 || nameSize > 1023 || at + FIXED_BYTES + extra + nameSize > bytes.length) fail("Broken bitmap directory");
    const nameAt = at + FIXED_BYTES + extra;
    entries.push({
      at,
      tableOffset: get64(view, at),
      tableEntries: view.getUint32(at + 8),
      flags: view.getUint32(at + 12),
      type: bytes[at + 16]!,
      granularityBits: bytes[at + 17]!,
      name: new TextDecoder().decode(bytes.subarray(nameAt, nameAt + nameSize)),
    });
    at += total;
  }
  return { bytes, entries };
}

/** A bitmap in memory: one bit, lowest first, for each granule. */
interface Loaded {
  readonly entry: BitmapEntry;
  bits: Uint8Array;
}

/** @returns undefined when the image has none that anybody may rely on */
export async function openBitmaps(core: Qcow2Core): Promise<TrackedBitmaps | undefined> {
  const { header, file } = core;
  if (!header.bitmaps) return undefined;
  if (!(header.autoclear & Autoclear.bitmaps)) {
    // Somebody wrote without keeping them: they say nothing any more.
    header.bitmaps = undefined;
    await core.saveHeader();
    return undefined;
  }
  const directory = await readBitmapDirectory(file, header);
  const loaded: Loaded[] = [];
  let total = 0;
  for (const entry of directory.entries) {
    if (entry.type !== TYPE_DIRTY || entry.flags & BitmapFlag.inUse || !(entry.flags & BitmapFlag.auto)) continue;
    if (entry.granularityBits < 9 || entry.granularityBits > 31)
      throw new VmError("block/bad-format", `qcow2: bitmap '${entry.name}' has a granularity of 2^${entry.granularityBits}`);
    const size = bitBytes(header.sizeBytes, entry.granularityBits);
    total += size;
    if (total > MAX_LOADED_BYTES)
      throw new VmError(
        "block/bad-format",
        `qcow2: dirty bitmaps of more than ${MAX_LOADED_BYTES} bytes are not supported for writing`,
      );
    loaded.push({ entry, bits: await loadBits(core, entry, size) });
  }
  const tracked = new TrackedBitmaps(core, directory.bytes, directory.entries, loaded);
  if (loaded.length > 0) await tracked.markInUse();
  return tracked;
}

function bitBytes(sizeBytes: number, granularityBits: number): number {
  return Math.ceil(Math.ceil(sizeBytes / 2 ** granularityBits) / 8);
}

async function loadBits(core: Qcow2Core, entry: BitmapEntry, size: number): Promise<Uint8Array> {
  const { clusterBytes, file } = core;
  const fail = (): never => {
    throw new VmError("block/bad-format", `qcow2: the table of bitmap '${entry.name}' is damaged`);
  };
  if (
    entry.tableEntries !== Math.ceil(size / clusterBytes) ||
    entry.tableOffset % clusterBytes !== 0 ||
    entry.tableOffset >= BAD_OFFSET
  )
    fail();
  const table = tableOf(new Uint8Array(entry.tableEntries * 8));
  await file.read(entry.tableOffset, table.bytes);
  const bits = new Uint8Array(size);
  for (let i = 0; i < entry.tableEntries; i++) {
    const part = bits.subarray(i * clusterBytes, (i + 1) * clusterBytes);
    const offset = offsetAt(table.view, i * 8);
    if (offset >= BAD_OFFSET || offset % clusterBytes !== 0) fail();
    if (offset !== 0) await file.read(offset, part);
    else if (table.bytes[i * 8 + 7]! & 1) part.fill(0xff);
  }
  return bits;
}

/** The bitmaps of an image that is open for writing. */
export class TrackedBitmaps {
  constructor(
    private readonly core: Qcow2Core,
    private readonly directory: Uint8Array,
    readonly entries: readonly BitmapEntry[],
    private readonly loaded: Loaded[],
  ) {}

  /** All of the image's bitmaps are loaded. */
  get all(): boolean {
    return this.loaded.length === this.entries.length;
  }

  /** A range has been written, or is about to be. */
  mark(offset: number, size: number): void {
    if (size <= 0 || offset >= this.core.header.sizeBytes) return;
    for (const { entry, bits } of this.loaded) {
      const granule = 2 ** entry.granularityBits;
      const last = Math.floor((offset + size - 1) / granule);
      for (let g = Math.floor(offset / granule); g <= last; g++) {
        if (g % 8 === 0 && g + 8 <= last + 1) {
          bits[g / 8] = 0xff;
          g += 7;
        } else bits[g >>> 3]! |= 1 << (g & 7);
      }
    }
  }

  markAll(): void {
    this.mark(0, this.core.header.sizeBytes);
  }

  /** The disk has another size now; new granules are clean. */
  resize(sizeBytes: number): void {
    for (const l of this.loaded) {
      const bits = new Uint8Array(bitBytes(sizeBytes, l.entry.granularityBits));
      bits.set(l.bits.subarray(0, bits.length));
      const granules = Math.ceil(sizeBytes / 2 ** l.entry.granularityBits);
      if (granules % 8 !== 0) bits[bits.length - 1]! &= (1 << (granules % 8)) - 1;
      l.bits = bits;
    }
  }

  private async saveDirectory(): Promise<void> {
    const view = new DataView(this.directory.buffer, this.directory.byteOffset);
    for (const e of this.entries) {
      set64(view, e.at, e.tableOffset);
      view.setUint32(e.at + 8, e.tableEntries);
      view.setUint32(e.at + 12, e.flags);
    }
    await this.core.file.write(this.core.header.bitmaps!.directoryOffset, this.directory);
    await this.core.file.flush();
  }

  async markInUse(): Promise<void> {
    for (const { entry } of this.loaded) entry.flags |= BitmapFlag.inUse;
    await this.saveDirectory();
  }

  /** Writes the bitmaps to new clusters, and frees the old. Under the lock, at the image's end. */
  async store(): Promise<void> {
    if (this.loaded.length === 0) return;
    const { core } = this;
    const { clusterBytes, refcounts, file } = core;
    const old: number[] = [];
    for (const { entry, bits } of this.loaded) {
      const count = Math.ceil(bits.length / clusterBytes);
      const before = tableOf(new Uint8Array(entry.tableEntries * 8));
      await file.read(entry.tableOffset, before.bytes);
      for (let i = 0; i < entry.tableEntries; i++) {
        const offset = offsetAt(before.view, i * 8);
        if (offset !== 0) old.push(offset / clusterBytes);
      }
      for (let i = 0; i < Math.ceil((entry.tableEntries * 8) / clusterBytes); i++) old.push(entry.tableOffset / clusterBytes + i);
      await core.beginLazy();
      const table = tableOf(new Uint8Array(Math.max(1, Math.ceil((count * 8) / clusterBytes)) * clusterBytes));
      for (let i = 0; i < count; i++) {
        const part = bits.subarray(i * clusterBytes, (i + 1) * clusterBytes);
        if (part.every((b) => b === 0)) continue;
        const cluster = await refcounts.allocate(1);
        const whole = new Uint8Array(clusterBytes);
        whole.set(part);
        await file.write(cluster * clusterBytes, whole);
        set64(table.view, i * 8, cluster * clusterBytes);
      }
      const first = await refcounts.allocate(table.bytes.length / clusterBytes);
      await file.write(first * clusterBytes, table.bytes);
      entry.tableOffset = first * clusterBytes;
      entry.tableEntries = count;
      entry.flags &= ~BitmapFlag.inUse;
    }
    await core.flush();
    await this.saveDirectory();
    for (const c of old) await core.release(c, 1);
  }
}
