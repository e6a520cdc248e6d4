/**
 * The metadata of an open qcow2 image: header, L1 table, L2 tables, refcounts, and the order in which changes of them reach
 * the file, so that an image whose writer was killed at any moment has leaked clusters at worst:
 *
 *   data, refcounts that grew → flush → L2 tables → flush → L1 entries → flush → refcounts that fell
 *
 * Clusters that nothing names any more are therefore free only after the next flush (`pendingFree`).
 * Source: docs/interop/qcow2.txt; the ordering is what its "Consistency checking" needs.
 */
import { VmError } from "../../base/errors.js";
import { Mutex } from "../locks.js";
import type { BlockNode } from "../node.js";
import { BAD_OFFSET, COPIED, compressedAt, flagsAt, offsetAt, set64, type Table, tableOf } from "./entry.js";
import {
  Compatible,
  HEADER_READ_BYTES,
  Incompatible,
  l2EntryBytes,
  parseHeader,
  type QcowHeader,
  writeHeader,
} from "./header.js";
import { type RefcountOwner, Refcounts } from "./refcounts.js";
import { readSnapshotTable, type Snapshot } from "./snapshot-table.js";
import { TableCache } from "./table-cache.js";

/** L2 tables are read and kept in pieces of at most this size. */
const PIECE_BYTES = 65536;
/** 32 MiB hold the tables of 256 GiB at clusters of 64 KiB, as in QEMU. */
const L2_CACHE_BYTES = 32 * 2 ** 20;
/** Freed clusters that wait for a flush; more bring one about. */
const MAX_PENDING_FREE = 65536;

export class Qcow2Core implements RefcountOwner {
  readonly clusterBytes: number;
  readonly entryBytes: number;
  readonly l2Entries: number;
  /** Granules of allocation: clusters, or 32 subclusters in each. */
  readonly granuleBytes: number;
  readonly lock = new Mutex();
  readonly l2Cache: TableCache;
  readonly reserved = new Set<number>();
  refcounts!: Refcounts;
  l1: Table;
  snapshots: Snapshot[] = [];
  private readonly dirtyL1 = new Set<number>();
  private pendingFree: number[] = [];
  /** Lazy refcounts: blocks need not be written before the image is closed. */
  private lazy = false;
  broken = false;
  /** Hear of clusters that are free from now on. */
  readonly onFreed: ((cluster: number) => void)[] = [];
  /** Freed clusters are given back to the file's host. */
  passDiscard = false;

  private constructor(
    readonly file: BlockNode,
    readonly header: QcowHeader,
    readonly readOnly: boolean,
    l1: Table,
  ) {
    this.clusterBytes = 2 ** header.clusterBits;
    this.entryBytes = l2EntryBytes(header);
    this.l2Entries = this.clusterBytes / this.entryBytes;
    this.granuleBytes = this.entryBytes === 16 ? this.clusterBytes / 32 : this.clusterBytes;
    this.l2Cache = new TableCache(file, Math.min(this.clusterBytes, PIECE_BYTES), L2_CACHE_BYTES);
    this.l1 = l1;
  }

  /** Reads what there is to know. A writable one also learns where all metadata lies. @throws VmError */
  static async open(file: BlockNode, readOnly: boolean): Promise<Qcow2Core> {
    const head = new Uint8Array(Math.min(HEADER_READ_BYTES, file.sizeBytes));
    await file.read(0, head);
    const header = parseHeader(head);
    // Tables that lie past the file's end would read as zeroes: nothing is allocated for claims of a short file.
    if (header.l1Offset + header.l1Entries * 8 > roundUp(file.sizeBytes, 512))
      throw new VmError("block/bad-format", "Could not read L1 table: the file ends before it");
    const l1 = tableOf(new Uint8Array(Math.max(512, roundUp(header.l1Entries * 8, 512))));
    if (header.l1Entries > 0) await file.read(header.l1Offset, l1.bytes.subarray(0, header.l1Entries * 8));
    const core = new Qcow2Core(file, header, readOnly, l1);
    if (header.refTableOffset >= file.sizeBytes)
      throw new VmError("block/bad-format", "Could not initialize refcount handling: the file ends before its table");
    core.refcounts = await Refcounts.open(core);
    core.snapshots = await readSnapshotTable(file, header);
    if (!readOnly) core.reserveMetadata();
    return core;
  }

  /** @throws VmError "block/bad-format" where metadata lies over other metadata */
  reserveMetadata(): void {
    const { header, reserved, clusterBytes } = this;
    reserved.clear();
    const take = (offset: number, bytes: number, what: string, sharedWith?: Set<number>) => {
      if (offset >= BAD_OFFSET || offset % clusterBytes !== 0)
        throw new VmError("block/bad-format", `qcow2: ${what} offset ${offset.toString(16)} unaligned`);
      for (let c = offset / clusterBytes; c < Math.ceil((offset + bytes) / clusterBytes); c++) {
        if (sharedWith?.has(c)) continue;
        if (reserved.has(c))
          throw new VmError("block/bad-format", `qcow2: ${what} at ${offset.toString(16)} overlaps other metadata`);
        reserved.add(c);
        sharedWith?.add(c);
      }
    };
    take(0, clusterBytes, "header");
    take(header.refTableOffset, header.refTableClusters * clusterBytes, "refcount table");
    for (let i = 0; i < this.refcounts.tableEntries; i++) {
      const offset = this.refcounts.blockOffset(i);
      if (offset !== 0) take(offset, clusterBytes, "refcount block");
    }
    if (header.l1Entries > 0) take(header.l1Offset, header.l1Entries * 8, "active L1 table");
    const l2 = new Set<number>();
    for (let i = 0; i < header.l1Entries; i++) {
      const offset = offsetAt(this.l1.view, i * 8);
      if (offset !== 0) take(offset, clusterBytes, "L2 table", l2);
    }
    if (header.snapshotCount > 0) take(header.snapshotsOffset, 1, "snapshot table");
    const inactive = new Set<number>();
    for (const s of this.snapshots) if (s.l1Entries > 0) take(s.l1Offset, s.l1Entries * 8, "inactive L1 table", inactive);
  }

  checkUsable(): void {
    if (this.broken) throw new VmError("block/io", "qcow2: the image is marked corrupt; run a check with repair on it");
  }

  async saveHeader(): Promise<void> {
    await this.file.write(0, writeHeader(this.header));
  }

  /** Sets the corrupt bit, and takes no more requests. @throws VmError "block/io" always */
  async corrupt(what: string): Promise<never> {
    if (!this.readOnly && !this.broken) {
      this.broken = true;
      if (this.header.version === 3) {
        this.header.incompatible |= Incompatible.corrupt;
        try {
          await this.saveHeader();
        } catch {
          // The image takes no more writes from us, whatever the header says.
        }
      }
    }
    throw new VmError("block/io", `qcow2: Marking image as corrupt: ${what}`);
  }

  /** Before the first change of refcounts under lazy refcounts: says on disk that they cannot be relied on. */
  async beginLazy(): Promise<void> {
    if (this.lazy || !(this.header.compatible & Compatible.lazyRefcounts)) return;
    this.header.incompatible |= Incompatible.dirty;
    await this.saveHeader();
    await this.file.flush();
    this.lazy = true;
  }

  /** Nothing can be written where metadata lies. */
  checkOverlap(hostOffset: number, bytes: number): Promise<never> | undefined {
    const end = hostOffset + bytes;
    for (let c = Math.floor(hostOffset / this.clusterBytes); c * this.clusterBytes < end; c++)
      if (this.reserved.has(c)) return this.corrupt(`Preventing invalid write on metadata (cluster ${c})`);
    return undefined;
  }

  l1Index(guestOffset: number): number {
    return Math.floor(guestOffset / (this.clusterBytes * this.l2Entries));
  }

  l2Index(guestOffset: number): number {
    return Math.floor(guestOffset / this.clusterBytes) % this.l2Entries;
  }

  /** The L2 table of a guest offset in the file; 0 where there is none. */
  l2Offset(guestOffset: number): number {
    const index = this.l1Index(guestOffset);
    if (index >= this.header.l1Entries) return 0;
    return offsetAt(this.l1.view, index * 8);
  }

  /** The piece of an L2 table that has a guest offset's entry, and where in it the entry is. */
  pieceOffset(l2Offset: number, l2Index: number): number {
    const { pieceBytes } = this.l2Cache;
    return l2Offset + Math.floor((l2Index * this.entryBytes) / pieceBytes) * pieceBytes;
  }

  entryAt(l2Index: number): number {
    return (l2Index * this.entryBytes) % this.l2Cache.pieceBytes;
  }

  /** The piece for a guest offset, where the image has one. */
  piece(guestOffset: number): Table | undefined | Promise<Table> {
    const table = this.l2Offset(guestOffset);
    if (table === 0) return undefined;
    if (table % this.clusterBytes !== 0 || table >= BAD_OFFSET)
      return this.corrupt(`L2 table offset ${table.toString(16)} unaligned (L1 index: ${this.l1Index(guestOffset)})`);
    const at = this.pieceOffset(table, this.l2Index(guestOffset));
    return this.l2Cache.peek(at) ?? this.l2Cache.load(at);
  }

  /** Makes sure that the L2 table of a guest offset exists and belongs to the active image alone. Under the lock. */
  async writableTable(guestOffset: number): Promise<number> {
    const index = this.l1Index(guestOffset);
    if (index >= this.header.l1Entries) throw new VmError("block/io", "qcow2: the L1 table ends before this offset");
    const old = offsetAt(this.l1.view, index * 8);
    if (old !== 0 && flagsAt(this.l1.view, index * 8) & (COPIED >>> 0)) {
      if (old % this.clusterBytes !== 0 || old >= BAD_OFFSET)
        await this.corrupt(`L2 table offset ${old.toString(16)} unaligned (L1 index: ${index})`);
      return old;
    }
    await this.beginLazy();
    const bytes = new Uint8Array(this.clusterBytes);
    const { pieceBytes } = this.l2Cache;
    if (old !== 0) {
      if (old % this.clusterBytes !== 0 || old >= BAD_OFFSET)
        await this.corrupt(`L2 table offset ${old.toString(16)} unaligned (L1 index: ${index})`);
      for (let at = 0; at < this.clusterBytes; at += pieceBytes) bytes.set((await this.l2Cache.load(old + at)).bytes, at);
    }
    const cluster = await this.refcounts.allocate(1);
    const offset = cluster * this.clusterBytes;
    this.reserved.add(cluster);
    if (pieceBytes === this.clusterBytes) this.l2Cache.create(offset, bytes);
    else
      try {
        await this.file.write(offset, bytes);
      } catch (e) {
        this.reserved.delete(cluster);
        await this.refcounts.update(cluster, 1, -1);
        throw e;
      }
    set64(this.l1.view, index * 8, offset, COPIED);
    this.markL1Dirty(index);
    // The old table still counts as metadata: a snapshot has it.
    if (old !== 0) this.free(old / this.clusterBytes);
    return offset;
  }

  markL1Dirty(index: number): void {
    this.dirtyL1.add(Math.floor((index * 8) / 512));
  }

  /** A cluster that the active image no longer names. */
  free(cluster: number): void {
    this.pendingFree.push(cluster);
  }

  /** What an L2 entry names is no longer named. */
  freeEntry(view: DataView, at: number): void {
    const high = view.getUint32(at);
    if (high & 0x40000000) {
      const { offset, sectors } = compressedAt(view, at, this.header.clusterBits);
      const end = Math.floor(offset / 512) * 512 + sectors * 512;
      for (let c = Math.floor(offset / this.clusterBytes); c * this.clusterBytes < end; c++) this.free(c);
      return;
    }
    const offset = offsetAt(view, at);
    if (offset !== 0) this.free(offset / this.clusterBytes);
  }

  /** L2 tables or the list of freed clusters are so many that they should be written before more is done. */
  get crowded(): boolean {
    return this.l2Cache.isCrowded || this.refcounts.cache.isCrowded || this.pendingFree.length >= MAX_PENDING_FREE;
  }

  get dirty(): boolean {
    return (
      this.l2Cache.dirtyCount > 0 || this.dirtyL1.size > 0 || this.pendingFree.length > 0 || (this.refcounts.dirty && !this.lazy)
    );
  }

  /** Writes changed metadata in its order; at the end all of it, and the data before it, is on stable storage. Under the lock. */
  async flush(): Promise<void> {
    const { file } = this;
    if (this.refcounts.dirty && (!this.lazy || this.refcounts.cache.isCrowded)) await this.refcounts.cache.writeDirty();
    await file.flush();
    if (this.l2Cache.dirtyCount > 0) {
      await this.l2Cache.writeDirty();
      await file.flush();
    }
    if (this.dirtyL1.size > 0) {
      for (const sector of [...this.dirtyL1].sort((a, b) => a - b)) {
        const at = sector * 512;
        await file.write(this.header.l1Offset + at, this.l1.bytes.subarray(at, Math.min(at + 512, this.header.l1Entries * 8)));
        this.dirtyL1.delete(sector);
      }
      await file.flush();
    }
    await this.releaseFreed();
  }

  private async releaseFreed(): Promise<void> {
    if (this.pendingFree.length === 0) return;
    await this.beginLazy();
    const clusters = this.pendingFree.sort((a, b) => a - b);
    this.pendingFree = [];
    for (let i = 0; i < clusters.length; ) {
      let n = 1;
      while (i + n < clusters.length && clusters[i + n] === clusters[i]! + n) n++;
      await this.release(clusters[i]!, n);
      i += n;
    }
  }

  /** Lowers the counts of clusters that nothing on disk names any more. */
  async release(first: number, count: number): Promise<void> {
    const gone: number[] = [];
    await this.refcounts.update(first, count, -1, (c) => {
      gone.push(c);
      for (const hear of this.onFreed) hear(c);
      this.reserved.delete(c);
      this.l2Cache.forget(c * this.clusterBytes, this.clusterBytes);
    });
    if (!this.passDiscard) return;
    for (let i = 0; i < gone.length; ) {
      let n = 1;
      while (i + n < gone.length && gone[i + n] === gone[i]! + n) n++;
      await this.file.discard(gone[i]! * this.clusterBytes, n * this.clusterBytes).catch(() => {});
      i += n;
    }
  }

  /** Writes everything, also what lazy refcounts held back, and takes the dirty bit away. */
  async settle(): Promise<void> {
    await this.flush();
    if (this.refcounts.dirty) await this.refcounts.cache.writeDirty();
    await this.file.flush();
    if (this.lazy || this.header.incompatible & Incompatible.dirty) {
      this.header.incompatible &= ~Incompatible.dirty;
      await this.saveHeader();
      await this.file.flush();
      this.lazy = false;
    }
  }

  /** Puts another L1 table in the place of the active one: it is on disk already. Nothing of the old one is freed. */
  replaceL1(offset: number, entries: number, bytes: Uint8Array): void {
    this.header.l1Offset = offset;
    this.header.l1Entries = entries;
    const padded = new Uint8Array(Math.max(512, roundUp(entries * 8, 512)));
    padded.set(bytes.subarray(0, entries * 8));
    this.l1 = tableOf(padded);
    this.dirtyL1.clear();
  }
}

export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
