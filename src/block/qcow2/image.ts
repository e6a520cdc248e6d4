/**
 * The format driver `qcow2`, version 2 and 3: reads, writes, zeroes and discards of the guest on a mapped image file.
 * Source: docs/interop/qcow2.txt; `BlockdevOptionsQcow2` for the options.
 * *Not emulated*: encryption, external data files, writing zstd clusters.
 */
import { VmError } from "../../base/errors.js";
import type { HostCodecs } from "../../host/codec.js";
import { Gate } from "../locks.js";
import { type BlockNode, type BlockStatus, checkRange, zeroesInPieces } from "../node.js";
import { openBitmaps, type TrackedBitmaps } from "./bitmaps.js";
import { Qcow2Core } from "./core.js";
import { compressedAt, offsetAt, set64, ZERO } from "./entry.js";
import { Autoclear, Compatible, Incompatible } from "./header.js";
import { mapRun, runIn, zeroSubclusters } from "./mapping.js";
import { Qcow2Writer } from "./writer.js";

export interface Qcow2Options {
  readonly readOnly: boolean;
  readonly codecs?: HostCodecs | undefined;
  /** Overrides the image's own setting. */
  readonly lazyRefcounts?: boolean | undefined;
  /** `discard=unmap`: freed clusters are punched out of the file. */
  readonly discard?: boolean | undefined;
  /** Opened to be checked or repaired: dirty and corrupt images are let through, and metadata is not looked at. */
  readonly forCheck?: boolean | undefined;
}

/** Requests to the file below at a time for one request of the guest. */
const PARALLEL = 16;
/** Decompressed clusters kept. */
const UNPACKED_KEPT = 4;

export class Qcow2Image implements BlockNode {
  readonly driver = "qcow2";
  backing: BlockNode | undefined;
  readonly gate = new Gate();
  readonly writer: Qcow2Writer;
  bitmaps: TrackedBitmaps | undefined;
  private closed = false;
  /** By the place of its L2 entry's bytes: offset in the file. */
  private readonly unpacked = new Map<number, Promise<Uint8Array>>();

  private constructor(
    readonly core: Qcow2Core,
    readonly options: Qcow2Options,
  ) {
    this.writer = new Qcow2Writer(
      core,
      (guest, out) => this.readInside(guest, out),
      () => this.backing,
    );
    core.passDiscard = options.discard === true;
    // Other bytes may be packed where a freed cluster's were.
    core.onFreed.push(() => this.unpacked.clear());
  }

  /** Owns `file` from here on, also when it fails. @throws VmError "block/bad-format" | "block/io" */
  static async open(file: BlockNode, options: Qcow2Options): Promise<Qcow2Image> {
    const readOnly = options.readOnly || file.readOnly;
    const core = await Qcow2Core.open(file, readOnly || options.forCheck === true);
    const { header } = core;
    const image = new Qcow2Image(core, options);
    if (options.forCheck) return image;
    if (header.incompatible & Incompatible.corrupt && !readOnly)
      throw new VmError("block/bad-format", "qcow2: Image is corrupt; cannot be opened read/write");
    if (readOnly) return image;
    if (header.incompatible & Incompatible.dirty) {
      const { repairDirty } = await import("./check.js");
      await repairDirty(image);
      core.reserveMetadata();
    }
    if (options.lazyRefcounts !== undefined && header.version === 3) {
      if (options.lazyRefcounts) header.compatible |= Compatible.lazyRefcounts;
      else header.compatible &= ~Compatible.lazyRefcounts;
    }
    image.bitmaps = await openBitmaps(core);
    // Whoever writes without knowing a feature says so by clearing its bit.
    if (header.autoclear !== 0 && header.autoclear !== (header.bitmaps ? Autoclear.bitmaps : 0)) {
      header.autoclear = header.autoclear & Autoclear.bitmaps && header.bitmaps ? Autoclear.bitmaps : 0;
      await core.saveHeader();
    }
    return image;
  }

  /** Another look at the same file and backing file, for reading what this one's tables do not name. Not to be closed. */
  async view(): Promise<Qcow2Image> {
    const other = new Qcow2Image(await Qcow2Core.open(this.core.file, true), this.options);
    other.backing = this.backing;
    return other;
  }

  get file(): BlockNode {
    return this.core.file;
  }

  get filename(): string {
    return this.core.file.filename;
  }

  get name(): string {
    return this.core.file.name;
  }

  get sizeBytes(): number {
    return Math.floor(this.core.header.sizeBytes / 512) * 512;
  }

  get readOnly(): boolean {
    return this.core.readOnly;
  }

  private check(offset: number, size: number): void {
    if (this.closed) throw new VmError("closed", `${this.filename} is closed`);
    checkRange(this, offset, size);
  }

  private checkWrite(offset: number, size: number): void {
    this.check(offset, size);
    if (this.readOnly) throw new VmError("block/read-only", `${this.filename} is read-only`);
    this.core.checkUsable();
  }

  async read(offsetBytes: number, out: Uint8Array): Promise<void> {
    this.check(offsetBytes, out.length);
    const wait = this.gate.enter();
    if (wait) await wait;
    try {
      await this.readInside(offsetBytes, out);
    } finally {
      this.gate.leave();
    }
  }

  /** Reads, the gate passed; also past the disk's end, where VM state lies. */
  async readInside(guest: number, out: Uint8Array): Promise<void> {
    const { core } = this;
    let under: Promise<void>[] | undefined;
    for (let done = 0; done < out.length; ) {
      const found = core.piece(guest + done);
      const run =
        found instanceof Promise || found === undefined
          ? await mapRun(core, guest + done, out.length - done)
          : await runIn(core, found, guest + done, out.length - done);
      const part = run.bytes === out.length ? out : out.subarray(done, done + run.bytes);
      let work: Promise<void> | undefined;
      switch (run.kind) {
        case "data":
          work = core.file.read(run.host, part);
          break;
        case "zero":
          part.fill(0);
          break;
        case "compressed":
          await this.readCompressed(guest + done, part);
          break;
        default:
          work = this.readBacking(guest + done, part);
      }
      done += run.bytes;
      if (!work) continue;
      if (done === out.length && !under) return work;
      // A failure is seen by the wait below; until then it must not count as unhandled.
      work.catch(() => {});
      under ??= [];
      under.push(work);
      if (under.length >= PARALLEL) {
        await Promise.all(under);
        under = undefined;
      }
    }
    if (under) await Promise.all(under);
  }

  private readBacking(guest: number, out: Uint8Array): Promise<void> | undefined {
    const { backing } = this;
    const size = this.core.header.sizeBytes;
    const there = backing ? Math.max(0, Math.min(out.length, backing.sizeBytes - guest, size - guest)) : 0;
    if (there < out.length) out.fill(0, there);
    return there > 0 ? backing!.read(guest, there === out.length ? out : out.subarray(0, there)) : undefined;
  }

  private async readCompressed(guest: number, out: Uint8Array): Promise<void> {
    const { core } = this;
    const found = core.piece(guest);
    if (found === undefined) return void out.fill(0);
    const piece = found instanceof Promise ? await found : found;
    const { offset, sectors } = compressedAt(piece.view, core.entryAt(core.l2Index(guest)), core.header.clusterBits);
    const at = guest % core.clusterBytes;
    let cluster = this.unpacked.get(offset);
    if (!cluster) {
      cluster = this.unpack(offset, sectors);
      this.unpacked.set(offset, cluster);
      for (const old of this.unpacked.keys()) {
        if (this.unpacked.size <= UNPACKED_KEPT) break;
        this.unpacked.delete(old);
      }
      cluster.catch(() => this.unpacked.delete(offset));
    }
    out.set((await cluster).subarray(at, at + out.length));
  }

  private async unpack(offset: number, sectors: number): Promise<Uint8Array> {
    const { core, options } = this;
    const { codecs } = options;
    if (!codecs) throw new VmError("block/io", "qcow2: this host cannot unpack compressed clusters");
    const data = new Uint8Array(sectors * 512 - (offset % 512));
    await core.file.read(offset, data);
    const out = await (core.header.compression === "zstd" ? codecs.unzstd : codecs.inflate)(data, core.clusterBytes);
    if (!out) throw new VmError("block/io", `${this.filename}: a compressed cluster at ${offset.toString(16)} is damaged`);
    return out;
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    this.checkWrite(offsetBytes, data.length);
    const wait = this.gate.enter();
    if (wait) await wait;
    try {
      this.bitmaps?.mark(offsetBytes, data.length);
      await this.writeInside(offsetBytes, data);
    } finally {
      this.gate.leave();
    }
  }

  /** Writes, the gate passed; also past the disk's end. */
  async writeInside(guest: number, data: Uint8Array): Promise<void> {
    const { core } = this;
    let under: Promise<void>[] | undefined;
    for (let done = 0; done < data.length; ) {
      const found = core.piece(guest + done);
      const run =
        found instanceof Promise || found === undefined
          ? await mapRun(core, guest + done, data.length - done)
          : await runIn(core, found, guest + done, data.length - done);
      if (run.kind !== "data" || !run.copied) {
        done += await this.writer.write(guest + done, data.subarray(done));
        continue;
      }
      const overlap = core.checkOverlap(run.host, run.bytes);
      if (overlap) await overlap;
      const work = core.file.write(run.host, run.bytes === data.length ? data : data.subarray(done, done + run.bytes));
      done += run.bytes;
      if (done === data.length && !under) return work;
      work.catch(() => {});
      under ??= [];
      under.push(work);
      if (under.length >= PARALLEL) {
        await Promise.all(under);
        under = undefined;
      }
    }
    if (under) await Promise.all(under);
  }

  /** Writes whole clusters compressed, from a cluster's start on. @throws VmError */
  async writeCompressed(offsetBytes: number, data: Uint8Array): Promise<void> {
    this.checkWrite(offsetBytes, data.length);
    const { codecs } = this.options;
    if (!codecs) throw new VmError("block/io", "qcow2: this host cannot compress");
    const { clusterBytes } = this.core;
    const wait = this.gate.enter();
    if (wait) await wait;
    try {
      this.bitmaps?.mark(offsetBytes, data.length);
      for (let done = 0; done < data.length; done += clusterBytes)
        await this.writer.writeCompressed(offsetBytes + done, data.subarray(done, done + clusterBytes), codecs);
    } finally {
      this.gate.leave();
    }
  }

  async flush(): Promise<void> {
    this.check(0, 0);
    if (this.readOnly) return;
    await this.core.lock.run(() => this.core.flush());
  }

  async writeZeroes(offsetBytes: number, sizeBytes: number, unmap = false): Promise<void> {
    this.checkWrite(offsetBytes, sizeBytes);
    const { core } = this;
    // Without the zero flag (version 2), an entry can only be emptied where nothing shines through.
    const canFlag = core.header.version >= 3;
    await this.inUnits(
      offsetBytes,
      sizeBytes,
      canFlag || !this.backing ? core.granuleBytes : Number.POSITIVE_INFINITY,
      (offset, size) => this.zeroClusters(offset, size, unmap || !canFlag, canFlag ? "flag" : "empty"),
      (offset, size) => zeroesInPieces((o, d) => this.write(o, d), offset, size),
    );
  }

  async discard(offsetBytes: number, sizeBytes: number): Promise<void> {
    this.checkWrite(offsetBytes, sizeBytes);
    const { core } = this;
    // A version 2 image would show its backing file again.
    if (core.header.version < 3 && this.backing) return;
    await this.inUnits(
      offsetBytes,
      sizeBytes,
      core.clusterBytes,
      (offset, size) => this.zeroClusters(offset, size, true, core.header.version >= 3 ? "flag" : "empty"),
      async () => {},
    );
  }

  /** Whole units in the middle one way, the rest another. A unit that the disk's end cuts off is whole. */
  private async inUnits(
    offset: number,
    size: number,
    unit: number,
    whole: (offset: number, size: number) => Promise<void>,
    rest: (offset: number, size: number) => Promise<void>,
  ): Promise<void> {
    const end = offset + size;
    if (unit === Number.POSITIVE_INFINITY) return rest(offset, size);
    const first = Math.ceil(offset / unit) * unit;
    const last = end === this.sizeBytes ? end : Math.floor(end / unit) * unit;
    if (last <= first) return size > 0 ? rest(offset, size) : undefined;
    if (first > offset) await rest(offset, first - offset);
    await whole(first, last - first);
    if (end > last) await rest(last, end - last);
  }

  /** Changes entries so that a range of whole granules reads as zeroes; alone, since clusters may go. */
  async zeroClusters(offset: number, size: number, unmap: boolean, how: "flag" | "empty"): Promise<void> {
    const { core } = this;
    await this.gate.exclusively(async () => {
      this.bitmaps?.mark(offset, Math.min(size, core.header.sizeBytes - offset));
      await core.lock.run(async () => {
        const { clusterBytes, granuleBytes, entryBytes } = core;
        const end = offset + size;
        for (let guest = offset; guest < end; ) {
          const span = clusterBytes * core.l2Entries;
          if (core.l2Offset(guest) === 0 && (how === "empty" || !this.backing)) {
            guest = (Math.floor(guest / span) + 1) * span;
            continue;
          }
          await core.beginLazy();
          const table = await core.writableTable(guest);
          const pieceAt = core.pieceOffset(table, core.l2Index(guest));
          const piece = await core.l2Cache.load(pieceAt);
          const { view } = piece;
          let changed = false;
          for (let at = core.entryAt(core.l2Index(guest)); at < piece.bytes.length && guest < end; at += entryBytes) {
            const next = (Math.floor(guest / clusterBytes) + 1) * clusterBytes;
            const part = Math.min(end, next) - guest;
            const whole = guest % clusterBytes === 0 && (part === clusterBytes || end >= core.header.sizeBytes);
            const host = offsetAt(view, at);
            const compressed = (view.getUint32(at) & 0x40000000) !== 0;
            const empty =
              !compressed && host === 0 && view.getUint32(at + 4) === 0 && (entryBytes === 8 || view.getBigUint64(at + 8) === 0n);
            if (empty && (how === "empty" || !this.backing)) {
              // Reads as zeroes already.
            } else if (!whole) {
              // Only part of an extended cluster.
              if (compressed) await this.unpackInPlace(guest, piece.view, at);
              const from = (guest % clusterBytes) / granuleBytes;
              zeroSubclusters(view, at, from, Math.ceil(part / granuleBytes));
              changed = true;
            } else {
              const keep = !unmap && !compressed && host !== 0 && (view.getUint32(at) & 0x80000000) !== 0;
              if (!keep) {
                core.freeEntry(view, at);
                set64(view, at, 0);
              }
              if (entryBytes === 16) set64BitsAll(view, at + 8, how === "flag");
              else if (how === "flag") view.setUint32(at + 4, (view.getUint32(at + 4) | ZERO) >>> 0);
              changed = true;
            }
            guest = next;
          }
          if (changed) core.l2Cache.markDirty(pieceAt, piece);
          if (core.crowded) await core.flush();
        }
      });
      this.unpacked.clear();
    });
  }

  /** A compressed cluster of which only a part is zeroed becomes a plain one. Under gate and lock. */
  private async unpackInPlace(guest: number, view: DataView, at: number): Promise<void> {
    const { core } = this;
    const start = Math.floor(guest / core.clusterBytes) * core.clusterBytes;
    const bytes = new Uint8Array(core.clusterBytes);
    await this.readCompressed(start, bytes);
    const cluster = await core.refcounts.allocate(1);
    await core.file.write(cluster * core.clusterBytes, bytes);
    core.freeEntry(view, at);
    set64(view, at, cluster * core.clusterBytes, 0x80000000);
    set64(view, at + 8, 0xffffffff);
  }

  async status(offsetBytes: number, sizeBytes: number): Promise<BlockStatus> {
    this.check(offsetBytes, Math.min(sizeBytes, this.sizeBytes - offsetBytes));
    const wait = this.gate.enter();
    if (wait) await wait;
    try {
      const run = await mapRun(this.core, offsetBytes, sizeBytes);
      const here = { sizeBytes: run.bytes };
      switch (run.kind) {
        case "compressed":
          return { ...here, kind: "data", compressed: true };
        case "data":
          return { ...here, kind: "data", offsetBytes: run.host };
        case "zero":
          return { ...here, kind: "zero", offsetBytes: run.host === 0 ? undefined : run.host };
        default:
          return { ...here, kind: "unallocated", offsetBytes: run.host === 0 ? undefined : run.host };
      }
    } finally {
      this.gate.leave();
    }
  }

  /** Does something alone that changes the image's structure; all metadata is on disk before and after. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    this.checkWrite(0, 0);
    return this.gate.exclusively(() =>
      this.core.lock.run(async () => {
        await this.core.flush();
        try {
          return await work();
        } finally {
          await this.core.flush();
          this.unpacked.clear();
        }
      }),
    );
  }

  /** Changes what the header says of the backing file; what is read does not change by it. @throws VmError */
  async setBacking(file: string | undefined, format: string | undefined): Promise<void> {
    const { header } = this.core;
    const old = { file: header.backingFile, format: header.backingFormat };
    await this.alone(async () => {
      header.backingFile = file;
      header.backingFormat = format;
      try {
        await this.core.saveHeader();
      } catch (e) {
        header.backingFile = old.file;
        header.backingFormat = old.format;
        throw e;
      }
    });
  }

  async resize(sizeBytes: number): Promise<void> {
    const { resizeImage } = await import("./resize.js");
    await resizeImage(this, sizeBytes);
  }

  allocatedBytes(): Promise<number> {
    return this.core.file.allocatedBytes?.() ?? Promise.resolve(this.core.file.sizeBytes);
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    try {
      if (!this.readOnly && !this.options.forCheck && !this.core.broken)
        await this.core.lock.run(async () => {
          await this.core.flush();
          await this.bitmaps?.store();
          await this.core.settle();
        });
    } finally {
      try {
        await this.core.file.close();
      } finally {
        await this.backing?.close();
      }
    }
  }
}

/** The bitmap of an extended entry: all subclusters zero, or none of anything. */
function set64BitsAll(view: DataView, at: number, zero: boolean): void {
  view.setUint32(at, zero ? 0xffffffff : 0);
  view.setUint32(at + 4, 0);
}
