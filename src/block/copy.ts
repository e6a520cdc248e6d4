/**
 * Work that goes through whole images: copying, comparing, committing, rebasing. Requests of 2 MiB, several at a time.
 * Source: the behaviour of `qemu-img` as its manual has it.
 */
import { VmError } from "../base/errors.js";
import { isZero } from "./attached-image.js";
import { chainStatus, driverOf } from "./chain.js";
import type { BlockNode } from "./node.js";
import { Qcow2Image } from "./qcow2/image.js";

const CHUNK_BYTES = 2 * 2 ** 20;
const MAX_PARALLEL = 16;
const SECTOR = 512;

/** Hears how much is done, 0 to 1. */
export type Progress = (done: number) => void;

/** Runs pieces in order, up to `parallel` at a time; the first failure ends it once all under way have ended. */
class Lanes {
  private readonly under = new Set<Promise<void>>();
  private error: unknown;

  constructor(private readonly parallel: number) {}

  async add(work: () => Promise<void>): Promise<void> {
    while (this.under.size >= this.parallel) await Promise.race(this.under);
    if (this.error) throw this.error;
    const p = work().then(
      () => {
        this.under.delete(p);
      },
      (e: unknown) => {
        this.under.delete(p);
        this.error ??= e ?? new Error("I/O error");
      },
    );
    this.under.add(p);
  }

  async end(): Promise<void> {
    while (this.under.size > 0) await Promise.race(this.under);
    if (this.error) throw this.error;
  }
}

/** What a range of the source is, for copying. */
export interface CopySource {
  readonly sizeBytes: number;
  read(offset: number, out: Uint8Array): Promise<void>;
  status(offset: number, size: number): Promise<{ readonly kind: "data" | "zero" | "unallocated"; readonly sizeBytes: number }>;
}

export interface CopyOptions {
  /** Runs of zeroes of this many bytes are left out or zeroed; 0: never looked for. */
  readonly sparseBytes: number;
  readonly compress?: boolean | undefined;
  /** The target reads as zeroes already. */
  readonly targetIsZero: boolean;
  /** What the source leaves unallocated shows through from the target's backing file. */
  readonly keepUnallocated?: boolean | undefined;
  readonly parallel?: number | undefined;
  /** Ranges that cannot be read become zeroes; each is told. */
  readonly salvage?: ((offset: number, error: VmError) => void) | undefined;
  readonly progress?: Progress | undefined;
  readonly bytesPerSec?: number | undefined;
}

/** Copies a source over the beginning of a target. @throws VmError */
export async function copyImage(source: CopySource, target: BlockNode, options: CopyOptions): Promise<void> {
  const size = source.sizeBytes;
  const image = driverOf(target);
  const compress = options.compress ? (image instanceof Qcow2Image ? image : undefined) : undefined;
  if (options.compress && !compress) throw new VmError("option/unsupported", "Compression not supported for this file format");
  // Compressed clusters are packed behind one another, in order.
  const lanes = new Lanes(compress ? 1 : Math.min(MAX_PARALLEL, options.parallel ?? 8));
  const unit = compress ? compress.core.clusterBytes : SECTOR;
  const chunk = Math.max(unit, CHUNK_BYTES);
  const zero = async (offset: number, n: number) => {
    if (!options.targetIsZero) await target.writeZeroes(offset, n, true);
  };
  const read = async (offset: number, out: Uint8Array) => {
    try {
      await source.read(offset, out);
    } catch (e) {
      if (!options.salvage || !(e instanceof VmError)) throw e;
      for (let at = 0; at < out.length; at += SECTOR)
        try {
          await source.read(offset + at, out.subarray(at, at + SECTOR));
        } catch (bad) {
          out.fill(0, at, at + SECTOR);
          options.salvage(offset + at, bad as VmError);
        }
    }
  };
  let done = 0;
  const report = (n: number) => {
    done += n;
    options.progress?.(done / size);
  };
  for (let offset = 0; offset < size; ) {
    const s = await source.status(offset, size - offset);
    let n = Math.min(s.sizeBytes, size - offset);
    const at = offset;
    if (s.kind === "data" || (s.kind === "unallocated" && !options.keepUnallocated)) {
      n = Math.min(n, chunk - (offset % chunk));
      // Compressed clusters are whole: what begins or ends inside one is taken with the rest of it.
      if (compress) n = Math.min(size - offset, Math.ceil((offset + n) / unit) * unit - offset);
      await lanes.add(async () => {
        const data = new Uint8Array(n);
        await read(at, data);
        if (compress) await writeCompressed(compress, at, data, options.targetIsZero);
        else await writeSparse(target, at, data, options.sparseBytes, zero);
        report(n);
      });
    } else {
      if (compress && s.kind === "zero")
        n = Math.max(SECTOR, n - ((offset + n) % unit === 0 || offset + n === size ? 0 : (offset + n) % unit));
      if (compress && (offset % unit !== 0 || n < Math.min(unit, size - offset))) {
        // The tail of a cluster that begins with zeroes: as data.
        const whole = Math.min(unit, size - offset);
        await lanes.add(async () => {
          const data = new Uint8Array(whole);
          await read(at, data);
          await writeCompressed(compress, at, data, options.targetIsZero);
          report(whole);
        });
        offset += whole;
        continue;
      }
      await lanes.add(async () => {
        if (s.kind === "zero") {
          if (options.keepUnallocated) await target.writeZeroes(at, n, true);
          else await zero(at, n);
        }
        report(n);
      });
    }
    offset += n;
  }
  await lanes.end();
}

async function writeCompressed(image: Qcow2Image, offset: number, data: Uint8Array, zeroIsNothing: boolean): Promise<void> {
  const unit = image.core.clusterBytes;
  for (let at = 0; at < data.length; at += unit) {
    const part = data.subarray(at, at + unit);
    if (zeroIsNothing && isZero(part)) continue;
    await image.writeCompressed(offset + at, part);
  }
}

/** Writes data, zeroes in it (whole runs of `sparse` bytes) as such. */
async function writeSparse(
  target: BlockNode,
  offset: number,
  data: Uint8Array,
  sparse: number,
  zero: (offset: number, n: number) => Promise<void>,
): Promise<void> {
  if (sparse === 0) return target.write(offset, data);
  let start = 0;
  let was: boolean | undefined;
  const flush = async (end: number) => {
    if (end === start) return;
    if (was) await zero(offset + start, end - start);
    else await target.write(offset + start, data.subarray(start, end));
  };
  for (let at = 0; at < data.length; at += sparse) {
    const is = isZero(data.subarray(at, at + sparse));
    if (was !== undefined && is !== was) {
      await flush(at);
      start = at;
    }
    was = is;
  }
  await flush(data.length);
}

/** A node with its backing files as one source. */
export function wholeSource(node: BlockNode): CopySource {
  return {
    sizeBytes: node.sizeBytes,
    read: (offset, out) => node.read(offset, out),
    status: (offset, size) => chainStatus(node, offset, size),
  };
}

/** Only what the node itself has. */
export function ownSource(node: BlockNode): CopySource {
  return {
    sizeBytes: node.sizeBytes,
    read: (offset, out) => node.read(offset, out),
    status: (offset, size) => node.status(offset, size),
  };
}

/** Images one behind the other. */
export function joinedSource(parts: readonly CopySource[]): CopySource {
  if (parts.length === 1) return parts[0]!;
  const starts: number[] = [];
  let total = 0;
  for (const p of parts) {
    starts.push(total);
    total += p.sizeBytes;
  }
  const find = (offset: number) => {
    let i = parts.length - 1;
    while (i > 0 && starts[i]! > offset) i--;
    return { part: parts[i]!, at: offset - starts[i]! };
  };
  return {
    sizeBytes: total,
    async read(offset, out) {
      for (let done = 0; done < out.length; ) {
        const { part, at } = find(offset + done);
        const n = Math.min(out.length - done, part.sizeBytes - at);
        await part.read(at, out.subarray(done, done + n));
        done += n;
      }
    },
    status(offset, size) {
      const { part, at } = find(offset);
      return part.status(at, Math.min(size, part.sizeBytes - at));
    },
  };
}

/** Where two images differ first; undefined where they do not. A longer one may hold zeroes behind the other's end. */
export async function compareImages(
  a: BlockNode,
  b: BlockNode,
  options: { readonly strict: boolean; readonly progress?: Progress | undefined },
): Promise<{ readonly offset: number; readonly allocation?: boolean } | undefined> {
  const common = Math.min(a.sizeBytes, b.sizeBytes);
  const total = Math.max(a.sizeBytes, b.sizeBytes);
  const bufferA = new Uint8Array(CHUNK_BYTES);
  const bufferB = new Uint8Array(CHUNK_BYTES);
  for (let offset = 0; offset < common; ) {
    const sa = await chainStatus(a, offset, common - offset);
    const sb = await chainStatus(b, offset, common - offset);
    let n = Math.min(sa.sizeBytes, sb.sizeBytes);
    if (options.strict && sa.kind !== sb.kind) return { offset, allocation: true };
    if (sa.kind !== "zero" || sb.kind !== "zero") {
      n = Math.min(n, CHUNK_BYTES);
      const pa = bufferA.subarray(0, n);
      const pb = bufferB.subarray(0, n);
      await Promise.all([a.read(offset, pa), b.read(offset, pb)]);
      const at = firstDifference(pa, pb);
      if (at >= 0) return { offset: offset + at - (at % SECTOR) };
    }
    offset += n;
    options.progress?.(offset / total);
  }
  const longer = a.sizeBytes > b.sizeBytes ? a : b;
  for (let offset = common; offset < total; ) {
    const s = await chainStatus(longer, offset, total - offset);
    let n = s.sizeBytes;
    if (s.kind !== "zero") {
      n = Math.min(n, CHUNK_BYTES);
      const p = bufferA.subarray(0, n);
      await longer.read(offset, p);
      if (!isZero(p)) return { offset: offset + p.findIndex((x) => x !== 0) };
    }
    offset += n;
    options.progress?.(offset / total);
  }
  return undefined;
}

function firstDifference(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return i;
  return -1;
}

/**
 * Writes what lies above `base` in the chain of `top` into `base`, which must be writable and is made longer where it must be.
 * @throws VmError
 */
export async function commitImage(top: BlockNode, base: BlockNode, progress?: Progress): Promise<void> {
  if (base.sizeBytes < top.sizeBytes) {
    if (!base.resize) throw new VmError("block/io", "The backing file is shorter, and cannot be made longer");
    await base.resize(top.sizeBytes);
  }
  const source: CopySource = {
    sizeBytes: top.sizeBytes,
    read: (offset, out) => top.read(offset, out),
    status: async (offset, size) => chainStatus(top, offset, size, base),
  };
  await copyImage(source, base, { sparseBytes: 4096, targetIsZero: false, keepUnallocated: true, progress });
  await base.flush();
}

/** Makes an overlay hold whatever differs between its old backing file and another, so that the other can take its place. */
export async function rebaseImage(image: BlockNode, next: BlockNode | undefined, progress?: Progress): Promise<void> {
  const old = image.backing;
  const size = image.sizeBytes;
  const a = new Uint8Array(CHUNK_BYTES);
  const b = new Uint8Array(CHUNK_BYTES);
  const fill = async (node: BlockNode | undefined, offset: number, out: Uint8Array) => {
    const there = node ? Math.max(0, Math.min(out.length, node.sizeBytes - offset)) : 0;
    if (there > 0) await node!.read(offset, out.subarray(0, there));
    out.fill(0, there);
  };
  for (let offset = 0; offset < size; ) {
    const s = await image.status(offset, size - offset);
    let n = s.sizeBytes;
    if (s.kind === "unallocated") {
      n = Math.min(n, CHUNK_BYTES);
      const was = a.subarray(0, n);
      const willBe = b.subarray(0, n);
      await Promise.all([fill(old, offset, was), fill(next, offset, willBe)]);
      for (let at = 0; at < n; ) {
        if (sameSector(was, willBe, at)) {
          at += SECTOR;
          continue;
        }
        let end = at + SECTOR;
        while (end < n && !sameSector(was, willBe, end)) end += SECTOR;
        await image.write(offset + at, was.subarray(at, Math.min(end, n)));
        at = end;
      }
    }
    offset += n;
    progress?.(offset / size);
  }
  await image.flush();
}

function sameSector(a: Uint8Array, b: Uint8Array, at: number): boolean {
  for (let i = at; i < Math.min(at + SECTOR, a.length); i++) if (a[i] !== b[i]) return false;
  return true;
}
