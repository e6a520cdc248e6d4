/**
 * A bounded cache of metadata pieces (L2 tables, refcount blocks) by their offset in the file. Clean pieces are dropped, least
 * recently used first; dirty ones stay until they are written, and whoever makes them dirty writes them in time
 * (`isCrowded`).
 */
import type { BlockNode } from "../node.js";
import { type Table, tableOf } from "./entry.js";

export class TableCache {
  private readonly pieces = new Map<number, Table>();
  private readonly dirtyOffsets = new Set<number>();
  private readonly loading = new Map<number, Promise<Table>>();
  private readonly limit: number;
  /** Counts `drop`s: what was being loaded meanwhile is not kept. */
  private epoch = 0;

  constructor(
    private readonly file: BlockNode,
    readonly pieceBytes: number,
    limitBytes: number,
  ) {
    this.limit = Math.max(8, Math.floor(limitBytes / pieceBytes));
  }

  /** A piece that is here. */
  peek(offset: number): Table | undefined {
    const t = this.pieces.get(offset);
    if (t && this.pieces.size > this.limit / 2) {
      this.pieces.delete(offset);
      this.pieces.set(offset, t);
    }
    return t;
  }

  load(offset: number): Promise<Table> {
    const here = this.peek(offset);
    if (here) return Promise.resolve(here);
    const under = this.loading.get(offset);
    if (under) return under;
    const { epoch } = this;
    const promise = (async () => {
      const table = tableOf(new Uint8Array(this.pieceBytes));
      await this.file.read(offset, table.bytes);
      // Somebody may have put a new one there in the meantime.
      const newer = this.pieces.get(offset);
      if (newer) return newer;
      if (epoch === this.epoch) this.insert(offset, table);
      return table;
    })().finally(() => this.loading.delete(offset));
    this.loading.set(offset, promise);
    return promise;
  }

  private insert(offset: number, table: Table): void {
    this.pieces.set(offset, table);
    if (this.pieces.size <= this.limit) return;
    for (const key of this.pieces.keys()) {
      if (this.dirtyOffsets.has(key)) continue;
      this.pieces.delete(key);
      if (this.pieces.size <= this.limit) return;
    }
  }

  /** The piece has been changed: it is written with the next flush. */
  markDirty(offset: number, table: Table): void {
    this.dirtyOffsets.add(offset);
    if (this.pieces.get(offset) !== table) this.insert(offset, table);
  }

  /** A new piece, dirty. */
  create(offset: number, bytes: Uint8Array): Table {
    const table = tableOf(bytes);
    this.markDirty(offset, table);
    return table;
  }

  get dirtyCount(): number {
    return this.dirtyOffsets.size;
  }

  /** Half of it is dirty. */
  get isCrowded(): boolean {
    return this.dirtyOffsets.size * 2 > this.limit;
  }

  /** Writes all dirty pieces, neighbours in one request. Nobody changes them meanwhile. */
  async writeDirty(): Promise<void> {
    const offsets = [...this.dirtyOffsets].sort((a, b) => a - b);
    const most = Math.max(1, Math.floor(2 ** 20 / this.pieceBytes));
    for (let i = 0; i < offsets.length; ) {
      let n = 1;
      while (n < most && i + n < offsets.length && offsets[i + n] === offsets[i]! + n * this.pieceBytes) n++;
      const run = offsets.slice(i, i + n);
      let data = this.pieces.get(run[0]!)!.bytes;
      if (n > 1) {
        data = new Uint8Array(n * this.pieceBytes);
        for (const [k, o] of run.entries()) data.set(this.pieces.get(o)!.bytes, k * this.pieceBytes);
      }
      await this.file.write(run[0]!, data);
      for (const o of run) this.dirtyOffsets.delete(o);
      i += n;
    }
  }

  /** Forgets a range, dirty or not: its clusters are free, or hold something else now. */
  forget(offset: number, sizeBytes: number): void {
    for (let o = offset; o < offset + sizeBytes; o += this.pieceBytes) {
      this.pieces.delete(o);
      this.dirtyOffsets.delete(o);
    }
  }

  /** Forgets everything. */
  drop(): void {
    this.epoch++;
    this.pieces.clear();
    this.dirtyOffsets.clear();
  }
}
