/**
 * Checks a qcow2 image: counts every reference and compares with the refcounts, looks at offsets and flags; repairs leaks, or
 * all that can be. Works on the file itself, trusts no number of it, and takes time and memory by the file's length only:
 * a table that is named a thousand times is read once.
 * Source: docs/interop/qcow2.txt "Host cluster management"; the words are those of `qemu-img check`.
 */
import { VmError } from "../../base/errors.js";
import { readBitmapDirectory } from "./bitmaps.js";
import type { Qcow2Core } from "./core.js";
import { BAD_OFFSET, COMPRESSED, COPIED, compressedAt, flagsAt, offsetAt, set64, type Table, tableOf, ZERO } from "./entry.js";
import { Autoclear, Incompatible, MAX_REFTABLE_BYTES } from "./header.js";
import type { Qcow2Image } from "./image.js";
import { readCount, writeCount } from "./refcounts.js";

/** What a check found. */
export interface CheckResult {
  corruptions: number;
  leaks: number;
  corruptionsFixed: number;
  leaksFixed: number;
  imageEndOffset: number;
  totalClusters: number;
  allocatedClusters: number;
  fragmentedClusters: number;
  compressedClusters: number;
}

export type RepairMode = "none" | "leaks" | "all";

const CHUNK = 32768;
/** Lines said about one image; the rest is only counted. */
const MAX_LINES = 10000;

/** Counts of references by cluster. */
class References {
  private readonly chunks = new Map<number, Uint32Array>();
  /** Clusters below this one are in the file. */
  constructor(readonly limit: number) {}

  get(cluster: number): number {
    return this.chunks.get(Math.floor(cluster / CHUNK))?.[cluster % CHUNK] ?? 0;
  }

  /** @returns false when the cluster lies behind the file's end */
  add(cluster: number, times = 1): boolean {
    if (cluster > this.limit) return false;
    const index = Math.floor(cluster / CHUNK);
    let chunk = this.chunks.get(index);
    if (!chunk) {
      chunk = new Uint32Array(CHUNK);
      this.chunks.set(index, chunk);
    }
    chunk[cluster % CHUNK] = Math.min(0xffffffff, chunk[cluster % CHUNK]! + times);
    return true;
  }

  /** The highest cluster that is referenced. */
  highest(): number {
    let best = -1;
    for (const [index, chunk] of this.chunks)
      for (let i = CHUNK - 1; i >= 0 && index * CHUNK + i > best; i--) if (chunk[i]) best = index * CHUNK + i;
    return best;
  }

  *entries(): Generator<[number, number]> {
    for (const [index, chunk] of [...this.chunks].sort((a, b) => a[0] - b[0]))
      for (let i = 0; i < CHUNK; i++) if (chunk[i]) yield [index * CHUNK + i, chunk[i]!];
  }
}

class Check {
  readonly result: CheckResult = {
    corruptions: 0,
    leaks: 0,
    corruptionsFixed: 0,
    leaksFixed: 0,
    imageEndOffset: 0,
    totalClusters: 0,
    allocatedClusters: 0,
    fragmentedClusters: 0,
    compressedClusters: 0,
  };
  readonly references: References;
  private readonly clusterBytes: number;
  private readonly fileClusters: number;
  /** The refcount structure cannot be patched and has to be made anew. */
  private rebuild = false;
  private lines = 0;

  constructor(
    private readonly core: Qcow2Core,
    private readonly repair: RepairMode,
    private readonly out: (line: string) => void,
  ) {
    this.clusterBytes = core.clusterBytes;
    this.fileClusters = Math.ceil(core.file.sizeBytes / core.clusterBytes);
    this.references = new References(this.fileClusters);
  }

  private say(line: string): void {
    if (this.lines++ < MAX_LINES) this.out(line);
    else if (this.lines === MAX_LINES + 1) this.out("Further lines are left out.");
  }

  private error(line: string): void {
    this.result.corruptions++;
    this.say(line);
  }

  /** Counts the clusters of a range. */
  private count(offset: number, bytes: number, times = 1): void {
    if (bytes <= 0) return;
    const last = Math.floor((offset + bytes - 1) / this.clusterBytes);
    for (let c = Math.floor(offset / this.clusterBytes); c <= last; c++)
      if (!this.references.add(c, times)) {
        this.error(
          `ERROR: counting reference for region exceeding the end of the file by one cluster or more: offset 0x${offset.toString(16)} size 0x${bytes.toString(16)}`,
        );
        return;
      }
  }

  private aligned(offset: number): boolean {
    return offset < BAD_OFFSET && offset % this.clusterBytes === 0;
  }

  async run(): Promise<CheckResult> {
    const { core, result } = this;
    const { header } = core;
    result.totalClusters = Math.ceil(header.sizeBytes / this.clusterBytes);
    this.count(0, this.clusterBytes);
    // The same L2 table may be named often; it is walked once, and each reference counts as often as it is named.
    const tables = new Map<number, number>();
    const l1 = core.l1;
    await this.countL1(header.l1Offset, header.l1Entries, l1, tables);
    const active = new Set(tables.keys());
    for (const s of core.snapshots) {
      if (s.l1Offset + s.l1Entries * 8 > core.file.sizeBytes + this.clusterBytes) {
        this.error(
          `ERROR snapshot ${s.id} (${s.name}) l1_offset=0x${s.l1Offset.toString(16)}: L1 table is past the end of the file`,
        );
        continue;
      }
      const table = tableOf(new Uint8Array(Math.max(8, s.l1Entries * 8)));
      await core.file.read(s.l1Offset, table.bytes);
      await this.countL1(s.l1Offset, s.l1Entries, table, tables);
    }
    for (const [offset, times] of tables) await this.countL2(offset, times, active.has(offset));
    if (header.snapshotCount > 0) {
      const { writeSnapshotTable } = await import("./snapshot-table.js");
      this.count(header.snapshotsOffset, writeSnapshotTable(core.snapshots).length);
    }
    await this.countBitmaps();
    this.count(header.refTableOffset, header.refTableClusters * this.clusterBytes);
    this.countBlocks();
    await this.compare(false);
    if (this.repair !== "none" && !this.rebuild) await this.compare(true);
    if (this.rebuild && this.repair === "all") await this.rebuildAll();
    if (!this.rebuild || this.repair === "all") await this.checkCopied(l1, active);
    result.imageEndOffset = (this.references.highest() + 1) * this.clusterBytes;
    return result;
  }

  private async countL1(offset: number, entries: number, l1: Table, tables: Map<number, number>): Promise<void> {
    this.count(offset, entries * 8);
    for (let i = 0; i < entries; i++) {
      const l2 = offsetAt(l1.view, i * 8);
      if (l2 === 0) continue;
      if (!this.aligned(l2)) {
        this.error(`ERROR l2_offset=${l2.toString(16)}: Table is not cluster aligned; L1 entry corrupted`);
        continue;
      }
      if (!tables.has(l2) && tables.size > this.fileClusters) continue;
      tables.set(l2, (tables.get(l2) ?? 0) + 1);
    }
  }

  private async countL2(offset: number, times: number, active: boolean): Promise<void> {
    const { core, result } = this;
    this.count(offset, this.clusterBytes, times);
    if (offset >= core.file.sizeBytes) return;
    const table = tableOf(new Uint8Array(this.clusterBytes));
    await core.file.read(offset, table.bytes);
    let next = 0;
    for (let at = 0; at < this.clusterBytes; at += core.entryBytes) {
      if (table.view.getUint32(at) & COMPRESSED) {
        const c = compressedAt(table.view, at, core.header.clusterBits);
        if (table.view.getUint32(at) & COPIED)
          this.error(`ERROR: coffset=0x${c.offset.toString(16)}: copied flag must never be set for compressed clusters`);
        const start = Math.floor(c.offset / 512) * 512;
        this.count(start, c.sectors * 512, times);
        if (active) {
          result.allocatedClusters++;
          result.compressedClusters++;
          result.fragmentedClusters++;
        }
        continue;
      }
      const host = offsetAt(table.view, at);
      if (host === 0) continue;
      if (!this.aligned(host)) {
        this.error(`ERROR offset=${host.toString(16)}: Cluster is not properly aligned; L2 entry corrupted.`);
        continue;
      }
      if (active && !(core.entryBytes === 8 && table.view.getUint32(at + 4) & ZERO)) {
        result.allocatedClusters++;
        if (next !== 0 && host !== next) result.fragmentedClusters++;
        next = host + this.clusterBytes;
      }
      this.count(host, this.clusterBytes, times);
    }
  }

  private async countBitmaps(): Promise<void> {
    const { core } = this;
    const { header, file } = core;
    if (!header.bitmaps || !(header.autoclear & Autoclear.bitmaps)) return;
    try {
      const { entries } = await readBitmapDirectory(file, header);
      this.count(header.bitmaps.directoryOffset, header.bitmaps.directoryBytes);
      for (const e of entries) {
        if (e.tableOffset + e.tableEntries * 8 > file.sizeBytes + this.clusterBytes) {
          this.error(`ERROR bitmap '${e.name}': its table is past the end of the file`);
          continue;
        }
        this.count(e.tableOffset, e.tableEntries * 8);
        const table = tableOf(new Uint8Array(e.tableEntries * 8));
        await file.read(e.tableOffset, table.bytes);
        for (let i = 0; i < e.tableEntries; i++) {
          const offset = offsetAt(table.view, i * 8);
          if (offset !== 0 && this.aligned(offset)) this.count(offset, this.clusterBytes);
          else if (offset !== 0) this.error(`ERROR bitmap '${e.name}' table entry ${i}: unaligned`);
        }
      }
    } catch (e) {
      if (!(e instanceof VmError)) throw e;
      this.error(`ERROR: ${e.message}`);
    }
  }

  /** The blocks themselves are clusters in use. */
  private countBlocks(): void {
    const { refcounts } = this.core;
    for (let i = 0; i < refcounts.tableEntries; i++) {
      const offset = refcounts.blockOffset(i);
      if (offset === 0) continue;
      if (!this.aligned(offset)) {
        this.error(`ERROR refcount block ${i} is not cluster aligned; refcount table entry corrupted`);
        this.rebuild = true;
        continue;
      }
      if (offset >= this.core.file.sizeBytes) {
        this.error(`ERROR refcount block ${i} is outside image`);
        this.rebuild = true;
        continue;
      }
      this.references.add(offset / this.clusterBytes);
      if (this.references.get(offset / this.clusterBytes) !== 1) {
        this.error(`ERROR refcount block ${i} refcount=${this.references.get(offset / this.clusterBytes)}`);
        this.rebuild = true;
      }
    }
  }

  /** Every count against what was found; repaired where that was asked for. */
  private async compare(repairing: boolean): Promise<void> {
    const { core, result, references } = this;
    const { refcounts, file } = core;
    const seen = new Set<number>();
    // What is counted behind the file's end, and named by nobody, takes no space.
    const last = Math.max(this.fileClusters - 1, references.highest());
    for (let index = 0; index < refcounts.tableEntries; index++) {
      const offset = refcounts.blockOffset(index);
      if (offset === 0 || !this.aligned(offset) || offset >= file.sizeBytes) continue;
      seen.add(index);
      const block = tableOf(new Uint8Array(this.clusterBytes));
      await file.read(offset, block.bytes);
      let dirty = false;
      for (let i = 0; i < refcounts.perBlock; i++) {
        const cluster = index * refcounts.perBlock + i;
        const is = readCount(block, refcounts.order, i);
        const want = Math.min(references.get(cluster), refcounts.maxCount);
        if (is === want || cluster > last) continue;
        if (repairing && this.repair !== "all" && is < want) continue;
        this.say(
          `${repairing ? "Repairing" : is < want ? "ERROR" : "Leaked"} cluster ${cluster} refcount=${is} reference=${want}`,
        );
        if (!repairing) {
          if (is < want) result.corruptions++;
          else result.leaks++;
          continue;
        }
        writeCount(block, refcounts.order, i, want);
        dirty = true;
        if (is < want) result.corruptionsFixed++;
        else result.leaksFixed++;
      }
      if (dirty) await file.write(offset, block.bytes);
    }
    for (const [cluster, want] of references.entries())
      if (!repairing && !seen.has(Math.floor(cluster / refcounts.perBlock))) {
        this.error(`ERROR cluster ${cluster} refcount=0 reference=${want}`);
        this.rebuild = true;
      }
    await file.flush();
  }

  /** New refcount blocks and table behind everything in use. */
  private async rebuildAll(): Promise<void> {
    const { core, references, result } = this;
    const { refcounts, file, header } = core;
    this.say("Rebuilding refcount structure");
    // What only counted the old table and blocks is free.
    const counts = new Map<number, number>(references.entries());
    const drop = (c: number) => {
      const n = (counts.get(c) ?? 0) - 1;
      if (n <= 0) counts.delete(c);
      else counts.set(c, n);
    };
    for (let i = 0; i < header.refTableClusters; i++) drop(header.refTableOffset / this.clusterBytes + i);
    for (let i = 0; i < refcounts.tableEntries; i++) {
      const offset = refcounts.blockOffset(i);
      if (offset !== 0 && this.aligned(offset) && offset < file.sizeBytes) drop(offset / this.clusterBytes);
    }
    let first = 0;
    for (const c of counts.keys()) first = Math.max(first, c + 1);
    first = Math.max(first, this.fileClusters);
    const needed = new Set<number>();
    for (const c of counts.keys()) needed.add(Math.floor(c / refcounts.perBlock));
    let tableClusters = 1;
    for (;;) {
      const total = needed.size + tableClusters;
      const before = needed.size;
      for (let c = first; c < first + total; c++) needed.add(Math.floor(c / refcounts.perBlock));
      const highest = [...needed].reduce((a, b) => Math.max(a, b), 0);
      const clusters = Math.ceil(((highest + 1) * 8) / this.clusterBytes);
      if (needed.size === before && clusters <= tableClusters) break;
      tableClusters = Math.max(tableClusters, clusters);
    }
    if (tableClusters * this.clusterBytes > MAX_REFTABLE_BYTES)
      throw new VmError("block/io", "The refcount table would be too large");
    const blocks = [...needed].sort((a, b) => a - b);
    for (let i = 0; i < blocks.length + tableClusters; i++) counts.set(first + i, 1);
    const table = tableOf(new Uint8Array(tableClusters * this.clusterBytes));
    for (const [n, index] of blocks.entries()) {
      const block = tableOf(new Uint8Array(this.clusterBytes));
      for (let i = 0; i < refcounts.perBlock; i++) {
        const count = counts.get(index * refcounts.perBlock + i);
        if (count) writeCount(block, refcounts.order, i, Math.min(count, refcounts.maxCount));
      }
      await file.write((first + n) * this.clusterBytes, block.bytes);
      set64(table.view, index * 8, (first + n) * this.clusterBytes);
    }
    const offset = (first + blocks.length) * this.clusterBytes;
    await file.write(offset, table.bytes);
    await file.flush();
    header.refTableOffset = offset;
    header.refTableClusters = tableClusters;
    await core.saveHeader();
    await file.flush();
    refcounts.table = table;
    refcounts.cache.drop();
    result.corruptionsFixed = result.corruptions;
    result.leaksFixed = result.leaks;
    for (const [c, n] of counts) if (references.get(c) === 0) references.add(c, n);
  }

  /** The flag that says "counted once" against the counts. */
  private async checkCopied(l1: Table, active: Set<number>): Promise<void> {
    const { core, result } = this;
    const count = (offset: number) => this.references.get(offset / this.clusterBytes);
    const fix = this.repair === "all";
    let dirtyL1 = false;
    for (let i = 0; i < core.header.l1Entries; i++) {
      const l2 = offsetAt(l1.view, i * 8);
      if (l2 === 0 || !this.aligned(l2)) continue;
      if ((count(l2) === 1) === ((flagsAt(l1.view, i * 8) & COPIED) !== 0)) continue;
      this.say(
        `${fix ? "Repairing" : "ERROR"} OFLAG_COPIED L2 cluster: l1_index=${i} l1_entry=${l1.view.getBigUint64(i * 8).toString(16)} refcount=${count(l2)}`,
      );
      result.corruptions++;
      if (!fix) continue;
      l1.view.setUint32(
        i * 8,
        count(l2) === 1 ? (l1.view.getUint32(i * 8) | COPIED) >>> 0 : (l1.view.getUint32(i * 8) & ~COPIED) >>> 0,
      );
      result.corruptionsFixed++;
      dirtyL1 = true;
    }
    if (dirtyL1) await core.file.write(core.header.l1Offset, l1.bytes.subarray(0, core.header.l1Entries * 8));
    for (const offset of active) {
      if (offset >= core.file.sizeBytes) continue;
      const table = tableOf(new Uint8Array(this.clusterBytes));
      await core.file.read(offset, table.bytes);
      let dirty = false;
      for (let at = 0; at < this.clusterBytes; at += core.entryBytes) {
        const high = table.view.getUint32(at);
        if (high & COMPRESSED) continue;
        const host = offsetAt(table.view, at);
        if (host === 0 || !this.aligned(host)) continue;
        if ((count(host) === 1) === ((high & COPIED) !== 0)) continue;
        this.say(
          `${fix ? "Repairing" : "ERROR"} OFLAG_COPIED data cluster: l2_entry=${table.view.getBigUint64(at).toString(16)} refcount=${count(host)}`,
        );
        result.corruptions++;
        if (!fix) continue;
        table.view.setUint32(at, count(host) === 1 ? (high | COPIED) >>> 0 : (high & ~COPIED) >>> 0);
        result.corruptionsFixed++;
        dirty = true;
      }
      if (dirty) await core.file.write(offset, table.bytes);
    }
    await core.file.flush();
  }
}

/**
 * Checks an image opened with `forCheck`, and repairs it where its file is writable. A repair that leaves no corruption takes
 * the dirty and corrupt bits away.
 */
export async function checkImage(image: Qcow2Image, repair: RepairMode, out: (line: string) => void): Promise<CheckResult> {
  const { core } = image;
  const result = await new Check(core, repair, out).run();
  if (repair !== "none" && result.corruptions === result.corruptionsFixed && result.leaks === result.leaksFixed) {
    const bits = Incompatible.dirty | Incompatible.corrupt;
    if (core.header.incompatible & bits) {
      core.header.incompatible &= ~bits;
      await core.saveHeader();
      await core.file.flush();
    }
  }
  return result;
}

/** What opening for writing does to an image that lazy refcounts left behind. @throws VmError "block/bad-format" */
export async function repairDirty(image: Qcow2Image): Promise<void> {
  const result = await new Check(image.core, "all", () => {}).run();
  if (result.corruptions !== result.corruptionsFixed)
    throw new VmError("block/bad-format", "qcow2: the image was not closed properly, and could not be repaired");
  image.core.refcounts.cache.drop();
  image.core.l2Cache.drop();
  image.core.header.incompatible &= ~Incompatible.dirty;
  await image.core.saveHeader();
  await image.core.file.flush();
}
