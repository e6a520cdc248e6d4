/**
 * `snapshot=on`: what is written stays in memory, in sparse clusters of 64 KiB, and is lost at the end. A cluster that is
 * written in part is first filled from the image below.
 * Memory is bounded by the size of the disk, or by `limitBytes`; past the limit writes fail as on a full host disk.
 */
import { VmError } from "../base/errors.js";
import type { BlockBackend } from "./backend.js";

/** Bytes in a cluster. */
export const CLUSTER_BYTES = 65536;

/** A copy-on-write layer over an image, which it owns and never writes. */
export class OverlayBackend implements BlockBackend {
  readonly readOnly = false;
  readonly sizeBytes: number;
  readonly name: string;
  private readonly clusters = new Map<number, Uint8Array>();
  /** Clusters being filled from below, so that two partial writes of one cluster do not lose each other. */
  private readonly filling = new Map<number, Promise<Uint8Array>>();

  constructor(
    readonly below: BlockBackend,
    private readonly limitBytes = Number.POSITIVE_INFINITY,
  ) {
    this.sizeBytes = below.sizeBytes;
    this.name = below.name;
  }

  /** Memory taken by written clusters. */
  get usedBytes(): number {
    return (this.clusters.size + this.filling.size) * CLUSTER_BYTES;
  }

  private check(offset: number, size: number): void {
    if (!(offset >= 0 && size >= 0 && offset + size <= this.sizeBytes))
      throw new VmError("block/io", `${this.name}: ${size} bytes at ${offset} are past the end of the image (${this.sizeBytes})`);
  }

  /** Calls `visit` for each cluster that a range touches, with the range's part of it. */
  private *pieces(offset: number, size: number): Generator<{ cluster: number; from: number; at: number; length: number }> {
    for (let at = 0; at < size; ) {
      const cluster = Math.floor((offset + at) / CLUSTER_BYTES);
      const from = (offset + at) % CLUSTER_BYTES;
      const length = Math.min(size - at, CLUSTER_BYTES - from);
      yield { cluster, from, at, length };
      at += length;
    }
  }

  async read(offsetBytes: number, out: Uint8Array): Promise<void> {
    this.check(offsetBytes, out.length);
    // Runs of clusters that are not here are read from below in one request.
    let below = -1;
    const readBelow = async (end: number) => {
      const start = below;
      below = -1;
      if (start >= 0) await this.below.read(offsetBytes + start, out.subarray(start, end));
    };
    for (const { cluster, from, at, length } of this.pieces(offsetBytes, out.length)) {
      const pending = this.filling.get(cluster);
      const bytes = this.clusters.get(cluster) ?? (pending ? await pending : undefined);
      if (!bytes) {
        if (below < 0) below = at;
        continue;
      }
      await readBelow(at);
      out.set(bytes.subarray(from, from + length), at);
    }
    await readBelow(out.length);
  }

  private async owned(cluster: number, whole: boolean): Promise<Uint8Array> {
    const here = this.clusters.get(cluster) ?? this.filling.get(cluster);
    if (here) return here;
    if (this.usedBytes + CLUSTER_BYTES > this.limitBytes)
      throw new VmError("block/io", `${this.name}: the snapshot's memory is full (${this.limitBytes} bytes)`, {
        cause: { code: "ENOSPC" },
      });
    const bytes = new Uint8Array(CLUSTER_BYTES);
    if (whole) {
      this.clusters.set(cluster, bytes);
      return bytes;
    }
    const start = cluster * CLUSTER_BYTES;
    const fill = this.below
      .read(start, bytes.subarray(0, Math.min(CLUSTER_BYTES, this.sizeBytes - start)))
      .then(() => {
        this.clusters.set(cluster, bytes);
        return bytes;
      })
      .finally(() => this.filling.delete(cluster));
    this.filling.set(cluster, fill);
    return fill;
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    this.check(offsetBytes, data.length);
    for (const { cluster, from, at, length } of this.pieces(offsetBytes, data.length)) {
      const bytes = await this.owned(cluster, length === CLUSTER_BYTES);
      bytes.set(data.subarray(at, at + length), from);
    }
  }

  async flush(): Promise<void> {}

  async discard(offsetBytes: number, sizeBytes: number): Promise<void> {
    this.check(offsetBytes, sizeBytes);
    for (const { cluster, from, length } of this.pieces(offsetBytes, sizeBytes))
      if (this.clusters.has(cluster)) this.clusters.get(cluster)!.fill(0, from, from + length);
  }

  async close(): Promise<void> {
    this.clusters.clear();
    await this.below.close();
  }
}
