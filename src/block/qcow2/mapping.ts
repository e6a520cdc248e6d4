/**
 * Where guest bytes lie: L2 entries, plain and extended, as runs of the same kind.
 * Source: docs/interop/qcow2.txt "Cluster mapping", "Extended L2 Entries".
 */
import type { Qcow2Core } from "./core.js";
import { BAD_OFFSET, COMPRESSED, COPIED, offsetAt, type Table, ZERO } from "./entry.js";

export type RunKind = "data" | "zero" | "unallocated" | "compressed";

/** Guest bytes from an offset on that are all of one kind. */
export interface Run {
  readonly kind: RunKind;
  readonly bytes: number;
  /** Of the first byte in the file; for compressed ones unused; 0 where no cluster stands behind it. */
  readonly host: number;
  /** The cluster belongs to the active image alone and may be written in place. */
  readonly copied: boolean;
}

const SUBCLUSTERS = 32;

/** The kind of one granule, and the offset of its cluster in the file. */
function granule(core: Qcow2Core, piece: Table, at: number, sub: number): { kind: RunKind; host: number; copied: boolean } {
  const { view } = piece;
  const high = view.getUint32(at);
  if (high & COMPRESSED) return { kind: "compressed", host: 0, copied: false };
  const host = offsetAt(view, at);
  const copied = (high & COPIED) !== 0;
  if (core.entryBytes === 16) {
    const allocated = (view.getUint32(at + 12) >>> sub) & 1;
    const zero = (view.getUint32(at + 8) >>> sub) & 1;
    return { kind: zero ? "zero" : allocated && host !== 0 ? "data" : "unallocated", host, copied };
  }
  if (view.getUint32(at + 4) & ZERO) return { kind: "zero", host, copied };
  return { kind: host === 0 ? "unallocated" : "data", host, copied };
}

/** The run that begins at a guest offset, `most` bytes long at most. It ends with the piece of the L2 table. */
export async function mapRun(core: Qcow2Core, guest: number, most: number): Promise<Run> {
  const found = core.piece(guest);
  if (found === undefined) {
    const span = core.clusterBytes * core.l2Entries;
    let bytes = span - (guest % span);
    while (bytes < most && core.l2Offset(guest + bytes) === 0) bytes += span;
    return { kind: "unallocated", bytes: Math.min(most, bytes), host: 0, copied: false };
  }
  const piece = found instanceof Promise ? await found : found;
  return runIn(core, piece, guest, most);
}

export function runIn(core: Qcow2Core, piece: Table, guest: number, most: number): Run | Promise<never> {
  const { clusterBytes, granuleBytes, entryBytes } = core;
  const perCluster = entryBytes === 16 ? SUBCLUSTERS : 1;
  let at = core.entryAt(core.l2Index(guest));
  const inCluster = guest % clusterBytes;
  let sub = Math.floor(inCluster / granuleBytes);
  const first = granule(core, piece, at, sub);
  if (first.host >= BAD_OFFSET || first.host % clusterBytes !== 0)
    return core.corrupt(`Cluster allocation offset ${first.host.toString(16)} unaligned (guest offset: ${guest.toString(16)})`);
  if (core.header.version < 3 && first.kind === "zero") return core.corrupt("Zero cluster entry found in pre-v3 image");
  const host = first.host === 0 ? 0 : first.host + inCluster;
  if (first.kind === "compressed")
    return { kind: "compressed", bytes: Math.min(most, clusterBytes - inCluster), host: 0, copied: false };
  let bytes = granuleBytes - (guest % granuleBytes);
  while (bytes < most) {
    if (++sub === perCluster) {
      sub = 0;
      at += entryBytes;
      if (at >= piece.bytes.length) break;
    }
    const next = granule(core, piece, at, sub);
    if (next.kind !== first.kind || next.copied !== first.copied) break;
    if (first.host === 0 ? next.host !== 0 : next.host + sub * granuleBytes !== host + bytes) break;
    bytes += granuleBytes;
  }
  return { kind: first.kind, bytes: Math.min(most, bytes), host, copied: first.copied };
}

/** Marks subclusters of an extended entry as holding data, and no longer as zero. */
export function markSubclusters(view: DataView, at: number, from: number, count: number): void {
  const mask = count >= SUBCLUSTERS ? 0xffffffff : ((2 ** count - 1) * 2 ** from) >>> 0;
  view.setUint32(at + 12, (view.getUint32(at + 12) | mask) >>> 0);
  view.setUint32(at + 8, (view.getUint32(at + 8) & ~mask) >>> 0);
}

/** Marks subclusters as zero, their place kept. */
export function zeroSubclusters(view: DataView, at: number, from: number, count: number): void {
  const mask = count >= SUBCLUSTERS ? 0xffffffff : ((2 ** count - 1) * 2 ** from) >>> 0;
  view.setUint32(at + 12, (view.getUint32(at + 12) & ~mask) >>> 0);
  view.setUint32(at + 8, (view.getUint32(at + 8) | mask) >>> 0);
}
