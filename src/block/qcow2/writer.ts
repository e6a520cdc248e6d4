/**
 * Writes that need new clusters: space is taken under the lock, data is written without it, then the L2 entries are changed
 * under it again. Writes to the same clusters wait for one another.
 */
import { VmError } from "../../base/errors.js";
import type { HostCodecs } from "../../host/codec.js";
import type { BlockNode } from "../node.js";
import type { Qcow2Core } from "./core.js";
import { COPIED, flagsAt, offsetAt, set64, setCompressed } from "./entry.js";
import { markSubclusters, type Run, runIn } from "./mapping.js";

/** Padding and data up to this size go out in one request. */
const JOIN_BYTES = 2 ** 20;

/** Clusters whose entries are about to change. */
interface Pending {
  readonly first: number;
  readonly last: number;
  readonly done: Promise<void>;
  readonly finish: () => void;
}

export class Qcow2Writer {
  private readonly pending: Pending[] = [];
  /** The unfinished cluster into which compressed ones are packed, and how much of it is used. */
  private packed = { cluster: 0, used: 0 };

  constructor(
    private readonly core: Qcow2Core,
    /** Old content, zeroes where there is none. */
    private readonly readOld: (guest: number, out: Uint8Array) => Promise<void>,
    private readonly backing: () => BlockNode | undefined,
  ) {
    core.onFreed.push((cluster) => {
      // The next packed bytes must not go into a cluster that somebody else may take.
      if (cluster === this.packed.cluster) this.packed = { cluster: 0, used: 0 };
    });
  }

  private register(first: number, last: number): Pending {
    let finish = () => {};
    const done = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const p = { first, last, done, finish };
    this.pending.push(p);
    return p;
  }

  private unregister(p: Pending): void {
    this.pending.splice(this.pending.indexOf(p), 1);
    p.finish();
  }

  /** Takes the lock once nobody else is about to change a cluster. */
  private async lockFor(cluster: number): Promise<void> {
    for (;;) {
      const wait = this.core.lock.acquire();
      if (wait) await wait;
      const other = this.pending.find((p) => p.first <= cluster && cluster <= p.last);
      if (!other) return;
      this.core.lock.release();
      await other.done;
    }
  }

  /** Writes the beginning of `data` where it cannot be written in place. @returns how many bytes; 0 to look at the map again */
  async write(guest: number, data: Uint8Array): Promise<number> {
    const { core } = this;
    const { clusterBytes, granuleBytes } = core;
    const first = Math.floor(guest / clusterBytes);
    await this.lockFor(first);
    let plan: { host: number; bytes: number; isNew: boolean; whole: boolean; wasZero: boolean; fresh: boolean };
    let mine: Pending;
    try {
      core.checkUsable();
      const table = await core.writableTable(guest);
      const piece = await core.l2Cache.load(core.pieceOffset(table, core.l2Index(guest)));
      const start = core.entryAt(core.l2Index(guest));
      const entryLimit = (piece.bytes.length - start) / core.entryBytes;
      let last = Math.min(Math.floor((guest + data.length - 1) / clusterBytes), first + entryLimit - 1);
      for (const p of this.pending) if (p.first > first && p.first <= last) last = p.first - 1;
      const run = await runIn(core, piece, guest, data.length);
      if (run.kind === "data" && run.copied) return 0;
      const keep = run.host !== 0 && run.copied;
      let bytes = Math.min(data.length, (last + 1) * clusterBytes - guest);
      if (keep) bytes = Math.min(bytes, run.bytes);
      else {
        // As many clusters as need a new place; what they were does not matter.
        let n = 1;
        while (first + n <= last && needsPlace(await runIn(core, piece, (first + n) * clusterBytes, clusterBytes))) n++;
        bytes = Math.min(bytes, (first + n) * clusterBytes - guest);
      }
      const clusters = Math.floor((guest + bytes - 1) / clusterBytes) - first + 1;
      await core.beginLazy();
      const sizeBefore = core.file.sizeBytes;
      const host = keep ? run.host - (guest % clusterBytes) : (await core.refcounts.allocate(clusters)) * clusterBytes;
      // Subclusters of a new cluster are filled one by one, unless the old one had content of its own.
      const whole = !keep && (granuleBytes === clusterBytes || anyPlace(core, piece.view, start, clusters));
      plan = {
        host,
        bytes,
        isNew: !keep,
        whole,
        wasZero:
          !(whole && granuleBytes < clusterBytes) && (run.kind === "zero" || (run.kind === "unallocated" && !this.backing())),
        fresh: !keep && core.file.growable === true && host >= sizeBefore,
      };
      mine = this.register(first, first + clusters - 1);
    } finally {
      core.lock.release();
    }
    const clusters = mine.last - mine.first + 1;
    try {
      const unit = plan.whole ? clusterBytes : granuleBytes;
      const padStart = Math.floor(guest / unit) * unit;
      const padEnd = Math.ceil((guest + plan.bytes) / unit) * unit;
      try {
        await this.fill(guest, data.subarray(0, plan.bytes), padStart, padEnd, plan.host - first * clusterBytes, plan);
      } catch (e) {
        if (plan.isNew) await core.lock.run(() => core.refcounts.update(plan.host / clusterBytes, clusters, -1));
        throw e;
      }
      await this.link(guest, plan.host, clusters, plan.isNew, plan.whole, padStart, padEnd);
    } finally {
      this.unregister(mine);
    }
    return plan.bytes;
  }

  /** Data and the old bytes around it up to whole granules; `shift` leads from guest to file offsets. */
  private async fill(
    guest: number,
    data: Uint8Array,
    padStart: number,
    padEnd: number,
    shift: number,
    plan: { readonly wasZero: boolean; readonly fresh: boolean },
  ): Promise<void> {
    const { core } = this;
    const head = guest - padStart;
    const tail = padEnd - guest - data.length;
    const overlap = core.checkOverlap(shift + padStart, padEnd - padStart);
    if (overlap) await overlap;
    // A new cluster behind the end of the file reads as zeroes by itself.
    if (
      (head === 0 && tail === 0) ||
      (plan.wasZero && plan.fresh && data.length < padEnd - padStart && (await this.tailIsZero(guest + data.length, tail)))
    ) {
      await core.file.write(shift + guest, data);
      return;
    }
    if (padEnd - padStart <= JOIN_BYTES) {
      const all = new Uint8Array(padEnd - padStart);
      await Promise.all([
        this.readOld(padStart, all.subarray(0, head)),
        this.readOld(guest + data.length, all.subarray(head + data.length)),
      ]);
      all.set(data, head);
      await core.file.write(shift + padStart, all);
      return;
    }
    const pad = async (at: number, size: number) => {
      if (size === 0) return;
      const old = new Uint8Array(size);
      await this.readOld(at, old);
      await core.file.write(shift + at, old);
    };
    await Promise.all([pad(padStart, head), pad(guest + data.length, tail), core.file.write(shift + guest, data)]);
  }

  /** The cluster where a write ends may have been something else than the one where it begins. */
  private async tailIsZero(guest: number, size: number): Promise<boolean> {
    if (size === 0) return true;
    const found = this.core.piece(guest);
    if (found === undefined) return !this.backing();
    const run = await runIn(this.core, found instanceof Promise ? await found : found, guest, size);
    return run.bytes >= size && (run.kind === "zero" || (run.kind === "unallocated" && !this.backing()));
  }

  private async link(
    guest: number,
    host: number,
    clusters: number,
    isNew: boolean,
    whole: boolean,
    padStart: number,
    padEnd: number,
  ): Promise<void> {
    const { core } = this;
    const { clusterBytes, granuleBytes, entryBytes } = core;
    const wait = core.lock.acquire();
    if (wait) await wait;
    try {
      const offset = core.pieceOffset(core.l2Offset(guest), core.l2Index(guest));
      const piece = await core.l2Cache.load(offset);
      const { view } = piece;
      const first = Math.floor(guest / clusterBytes);
      let at = core.entryAt(core.l2Index(guest));
      for (let i = 0; i < clusters; i++, at += entryBytes) {
        const from = Math.max(padStart, (first + i) * clusterBytes);
        const count = (Math.min(padEnd, (first + i + 1) * clusterBytes) - from) / granuleBytes;
        if (isNew) {
          core.freeEntry(view, at);
          if (entryBytes === 16 && whole) set64(view, at + 8, 0);
        }
        set64(view, at, host + i * clusterBytes, COPIED);
        if (entryBytes === 16) markSubclusters(view, at, (from % clusterBytes) / granuleBytes, count);
      }
      core.l2Cache.markDirty(offset, piece);
      if (core.crowded) await core.flush();
    } finally {
      core.lock.release();
    }
  }

  /** Writes one whole cluster compressed; as it is when it does not shrink. @throws VmError where it is allocated already */
  async writeCompressed(guest: number, data: Uint8Array, codecs: HostCodecs): Promise<void> {
    const { core } = this;
    const { clusterBytes } = core;
    if (core.header.compression !== "zlib")
      throw new VmError("block/io", "qcow2: writing zstd clusters is not supported", { cause: { code: "ENOTSUP" } });
    let whole = data;
    if (data.length < clusterBytes) {
      whole = new Uint8Array(clusterBytes);
      whole.set(data);
    }
    const small = await codecs.deflate(whole);
    if (small.length >= clusterBytes) {
      for (let done = 0; done < data.length; ) done += await this.write(guest + done, data.subarray(done));
      return;
    }
    await this.lockFor(Math.floor(guest / clusterBytes));
    try {
      const table = await core.writableTable(guest);
      const offset = core.pieceOffset(table, core.l2Index(guest));
      const run = await runIn(core, await core.l2Cache.load(offset), guest, clusterBytes);
      if (run.kind !== "unallocated" || run.host !== 0)
        throw new VmError("block/io", "qcow2: a compressed cluster cannot replace another", { cause: { code: "EIO" } });
      await core.beginLazy();
      const host = await this.placeBytes(small.length);
      const overlap = core.checkOverlap(host, small.length);
      if (overlap) await overlap;
      await core.file.write(host, small);
      const piece = await core.l2Cache.load(offset);
      const at = core.entryAt(core.l2Index(guest));
      const sectors = Math.floor((host + small.length - 1) / 512) - Math.floor(host / 512) + 1;
      setCompressed(piece.view, at, core.header.clusterBits, host, sectors);
      if (core.entryBytes === 16) set64(piece.view, at + 8, 0);
      core.l2Cache.markDirty(offset, piece);
      if (core.crowded) await core.flush();
    } finally {
      core.lock.release();
    }
  }

  /** Room for compressed bytes: behind the last ones where they fit, each cluster counted once for every one that touches it. */
  private async placeBytes(size: number): Promise<number> {
    const { core, packed } = this;
    const { clusterBytes, refcounts } = core;
    const room = packed.used === 0 ? 0 : clusterBytes - packed.used;
    if (room >= size && (await refcounts.get(packed.cluster)) < refcounts.maxCount) {
      await refcounts.update(packed.cluster, 1, 1);
      const at = packed.cluster * clusterBytes + packed.used;
      packed.used = (packed.used + size) % clusterBytes;
      return at;
    }
    const next = await refcounts.allocate(1);
    if (room > 0 && next === packed.cluster + 1 && (await refcounts.get(packed.cluster)) < refcounts.maxCount) {
      await refcounts.update(packed.cluster, 1, 1);
      const at = packed.cluster * clusterBytes + packed.used;
      this.packed = { cluster: next, used: size - room };
      return at;
    }
    this.packed = { cluster: next, used: size % clusterBytes };
    return next * clusterBytes;
  }
}

function needsPlace(run: Run): boolean {
  return run.host === 0 || !run.copied;
}

/** Whether an extended entry among these has a cluster, or compressed bytes. */
function anyPlace(core: Qcow2Core, view: DataView, at: number, clusters: number): boolean {
  for (let i = 0; i < clusters; i++, at += core.entryBytes)
    if (offsetAt(view, at) !== 0 || flagsAt(view, at) & 0x40000000) return true;
  return false;
}
