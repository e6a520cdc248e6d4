/**
 * Reference counts of clusters, and the allocator on top of them. Changes stay in the cache until `writeDirty`; only new
 * blocks and tables are written at once, before anything names them.
 * Callers hold the image's metadata lock.
 * Source: docs/interop/qcow2.txt "Host cluster management".
 */
import { VmError } from "../../base/errors.js";
import type { BlockNode } from "../node.js";
import { BAD_OFFSET, get64, offsetAt, set64, type Table, tableOf } from "./entry.js";
import { MAX_REFTABLE_BYTES, type QcowHeader } from "./header.js";
import { TableCache } from "./table-cache.js";

const CACHE_BYTES = 4 * 2 ** 20;
/** Largest cluster index: offsets have 56 bits in the format, 53 here. */
const MAX_FILE_BYTES = BAD_OFFSET;

/** A count in a block of counts of 2^order bits. */
export function readCount({ bytes, view }: Table, order: number, index: number): number {
  switch (order) {
    case 3:
      return bytes[index]!;
    case 4:
      return view.getUint16(index * 2);
    case 5:
      return view.getUint32(index * 4);
    case 6:
      return get64(view, index * 8);
    default: {
      const perByte = 8 >> order;
      return (bytes[Math.floor(index / perByte)]! >> ((index % perByte) << order)) & ((1 << (1 << order)) - 1);
    }
  }
}

export function writeCount({ bytes, view }: Table, order: number, index: number, value: number): void {
  switch (order) {
    case 3:
      bytes[index] = value;
      return;
    case 4:
      view.setUint16(index * 2, value);
      return;
    case 5:
      view.setUint32(index * 4, value);
      return;
    case 6:
      set64(view, index * 8, value);
      return;
    default: {
      const perByte = 8 >> order;
      const at = Math.floor(index / perByte);
      const shift = (index % perByte) << order;
      const mask = ((1 << (1 << order)) - 1) << shift;
      bytes[at] = (bytes[at]! & ~mask) | (value << shift);
    }
  }
}

/** What the refcounts need of the image around them. */
export interface RefcountOwner {
  readonly file: BlockNode;
  readonly header: QcowHeader;
  /** Clusters of metadata: nothing is allocated over them. */
  readonly reserved: Set<number>;
  /** Writes the header. */
  saveHeader(): Promise<void>;
  /** Sets the corrupt bit. @throws VmError always */
  corrupt(what: string): Promise<never>;
}

export class Refcounts {
  readonly order: number;
  readonly maxCount: number;
  readonly perBlock: number;
  readonly clusterBytes: number;
  table: Table;
  readonly cache: TableCache;
  /** No cluster below it is free. */
  private freeHint = 0;

  private constructor(
    private readonly owner: RefcountOwner,
    table: Table,
  ) {
    const { header } = owner;
    this.order = header.refcountOrder;
    this.maxCount = Math.min(2 ** (2 ** this.order) - 1, Number.MAX_SAFE_INTEGER);
    this.clusterBytes = 2 ** header.clusterBits;
    this.perBlock = (this.clusterBytes * 8) / 2 ** this.order;
    this.table = table;
    this.cache = new TableCache(owner.file, this.clusterBytes, CACHE_BYTES);
  }

  static async open(owner: RefcountOwner): Promise<Refcounts> {
    const { header, file } = owner;
    const table = tableOf(new Uint8Array(header.refTableClusters * 2 ** header.clusterBits));
    await file.read(header.refTableOffset, table.bytes);
    return new Refcounts(owner, table);
  }

  get tableEntries(): number {
    return this.table.bytes.length / 8;
  }

  /** The offset of the block that counts a cluster; 0 where there is none yet. */
  blockOffset(block: number): number {
    return block < this.tableEntries ? offsetAt(this.table.view, block * 8) : 0;
  }

  private async block(index: number): Promise<Table> {
    const offset = this.blockOffset(index);
    if (offset % this.clusterBytes !== 0 || offset >= MAX_FILE_BYTES)
      return this.owner.corrupt(`Refblock offset ${offset.toString(16)} unaligned (reftable index: ${index})`);
    return this.cache.peek(offset) ?? (await this.cache.load(offset));
  }

  async get(cluster: number): Promise<number> {
    const block = Math.floor(cluster / this.perBlock);
    if (this.blockOffset(block) === 0) return 0;
    return readCount(await this.block(block), this.order, cluster % this.perBlock);
  }

  /**
   * Adds `delta` to the counts of clusters. `freed` hears of each whose count falls to 0.
   * @throws VmError "block/io" when a count would leave its range; those before it are changed
   */
  async update(first: number, count: number, delta: number, freed?: (cluster: number) => void): Promise<void> {
    for (let c = first; c < first + count; ) {
      const index = Math.floor(c / this.perBlock);
      if (this.blockOffset(index) === 0) {
        await this.owner.corrupt(`Cluster ${c} is in use, but nothing counts it`);
      }
      const block = await this.block(index);
      const offset = this.blockOffset(index);
      const end = Math.min(first + count, (index + 1) * this.perBlock);
      for (; c < end; c++) {
        const old = readCount(block, this.order, c % this.perBlock);
        const now = old + delta;
        if (now < 0) await this.owner.corrupt(`Refcount of cluster ${c} would fall below zero`);
        if (now > this.maxCount)
          throw new VmError("block/io", `The reference count of cluster ${c} cannot be larger than ${this.maxCount}`, {
            cause: { code: "EINVAL" },
          });
        writeCount(block, this.order, c % this.perBlock, now);
        if (now === 0) {
          this.freeHint = Math.min(this.freeHint, c);
          freed?.(c);
        }
      }
      this.cache.markDirty(offset, block);
    }
  }

  /** Takes `count` clusters in a row. @returns the first one's index */
  async allocate(count: number): Promise<number> {
    let start = this.freeHint;
    let length = 0;
    let firstFree = -1;
    for (let c = start; length < count; ) {
      const index = Math.floor(c / this.perBlock);
      if (c * this.clusterBytes >= MAX_FILE_BYTES)
        throw new VmError("block/io", "The image file cannot grow further", { cause: { code: "EFBIG" } });
      if (this.blockOffset(index) === 0) {
        await this.makeBlocks(index, length > 0 ? start : c, count);
        continue;
      }
      const block = await this.block(index);
      const end = (index + 1) * this.perBlock;
      for (; c < end && length < count; c++) {
        if (readCount(block, this.order, c % this.perBlock) === 0) {
          if (length === 0) start = c;
          if (firstFree < 0) firstFree = c;
          length++;
        } else length = 0;
      }
    }
    if (firstFree < start) this.freeHint = firstFree;
    else this.freeHint = start + count;
    for (let c = start; c < start + count; c++)
      if (this.owner.reserved.has(c))
        await this.owner.corrupt(`Preventing invalid write on metadata (cluster ${c} is in use but not counted)`);
    await this.update(start, count, 1);
    return start;
  }

  /**
   * Blocks from `index` on for `count` clusters from `first` on that are about to be taken. They lie behind those; where
   * that place is counted already, one block is made that lies in the first cluster it counts.
   */
  private async makeBlocks(index: number, first: number, count: number): Promise<void> {
    let at = first + count;
    let blocks = 1;
    while (Math.floor((at + blocks - 1) / this.perBlock) >= index + blocks) blocks++;
    if (index + blocks > this.tableEntries) return this.growTable(index + blocks - 1);
    for (let i = 1; i < blocks; i++)
      if (this.blockOffset(index + i) !== 0) {
        at = index * this.perBlock;
        blocks = 1;
        break;
      }
    const { file, header, reserved } = this.owner;
    for (let i = 0; i < blocks; i++) {
      const block = tableOf(new Uint8Array(this.clusterBytes));
      const from = (index + i) * this.perBlock;
      for (let c = Math.max(at, from); c < Math.min(at + blocks, from + this.perBlock); c++)
        writeCount(block, this.order, c - from, 1);
      if (reserved.has(at + i))
        await this.owner.corrupt(`Preventing invalid write on metadata (cluster ${at + i} is in use but not counted)`);
      await file.write((at + i) * this.clusterBytes, block.bytes);
      reserved.add(at + i);
    }
    await file.flush();
    for (let i = 0; i < blocks; i++) set64(this.table.view, (index + i) * 8, (at + i) * this.clusterBytes);
    const sector = Math.floor((index * 8) / 512) * 512;
    const end = Math.ceil(((index + blocks) * 8) / 512) * 512;
    await file.write(header.refTableOffset + sector, this.table.bytes.subarray(sector, end));
  }

  /** A larger table behind everything the old one counts, with the blocks that count it. */
  private async growTable(index: number): Promise<void> {
    const { header, file, reserved } = this.owner;
    const perCluster = this.clusterBytes / 8;
    const clusters = Math.ceil(Math.ceil((index + 1) * 1.5) / perCluster);
    if (clusters * this.clusterBytes > MAX_REFTABLE_BYTES)
      throw new VmError("block/io", "The image file cannot grow further", { cause: { code: "EFBIG" } });
    const first = this.tableEntries;
    const base = first * this.perBlock;
    let blocks = 1;
    while (blocks * this.perBlock < blocks + clusters) blocks++;
    const table = tableOf(new Uint8Array(clusters * this.clusterBytes));
    table.bytes.set(this.table.bytes);
    for (let i = 0; i < blocks; i++) {
      // The blocks lie in a row; each counts its part of blocks and table.
      const block = tableOf(new Uint8Array(this.clusterBytes));
      for (let c = 0; c < this.perBlock; c++) {
        if (i * this.perBlock + c >= blocks + clusters) break;
        writeCount(block, this.order, c, 1);
      }
      if (reserved.has(base + i)) await this.owner.corrupt("Preventing invalid write on metadata");
      await file.write((base + i) * this.clusterBytes, block.bytes);
      set64(table.view, (first + i) * 8, (base + i) * this.clusterBytes);
      reserved.add(base + i);
    }
    const offset = (base + blocks) * this.clusterBytes;
    await file.write(offset, table.bytes);
    await file.flush();
    const old = { first: header.refTableOffset / this.clusterBytes, count: header.refTableClusters };
    header.refTableOffset = offset;
    header.refTableClusters = clusters;
    this.table = table;
    await this.owner.saveHeader();
    await file.flush();
    for (let i = 0; i < clusters; i++) reserved.add(base + blocks + i);
    for (let i = 0; i < old.count; i++) reserved.delete(old.first + i);
    await this.update(old.first, old.count, -1);
  }

  /** Behind the last cluster that is counted. */
  async endCluster(): Promise<number> {
    for (let index = this.tableEntries - 1; index >= 0; index--) {
      if (this.blockOffset(index) === 0) continue;
      const block = await this.block(index);
      for (let i = this.perBlock - 1; i >= 0; i--)
        if (readCount(block, this.order, i) !== 0) return index * this.perBlock + i + 1;
    }
    return 0;
  }

  get dirty(): boolean {
    return this.cache.dirtyCount > 0;
  }
}
