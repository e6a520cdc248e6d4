/**
 * The table of internal snapshots, read and written.
 * Source: docs/interop/qcow2.txt "Snapshots".
 */
import { VmError } from "../../base/errors.js";
import type { BlockNode } from "../node.js";
import { get64, set64 } from "./entry.js";
import { MAX_L1_BYTES, type QcowHeader } from "./header.js";

/** QEMU's limits: of the whole table, and of the extra data of an entry. */
const MAX_TABLE_BYTES = 64 * 2 ** 20;
const MAX_EXTRA_BYTES = 1024;
const FIXED_BYTES = 40;
/** Read at a time. */
const CHUNK_BYTES = 65536 * 2;

/** An internal snapshot. */
export interface Snapshot {
  readonly l1Offset: number;
  readonly l1Entries: number;
  readonly id: string;
  readonly name: string;
  readonly dateSec: number;
  readonly dateNsec: number;
  readonly vmClockNs: number;
  vmStateBytes: number;
  /** Of the virtual disk when it was taken. */
  readonly diskBytes: number;
  /** Instructions counted under icount; undefined when not recorded. */
  readonly icount: number | undefined;
  /** Extra data behind what is known, kept as it is. */
  readonly extra: Uint8Array;
}

const NO_ICOUNT = 2 ** 53;

export async function readSnapshotTable(file: BlockNode, header: QcowHeader): Promise<Snapshot[]> {
  const out: Snapshot[] = [];
  const text = new TextDecoder();
  const fail = (what: string): never => {
    throw new VmError("block/bad-format", `qcow2: ${what}`);
  };
  let at = header.snapshotsOffset;
  const limit = Math.min(file.sizeBytes, header.snapshotsOffset + MAX_TABLE_BYTES);
  for (let i = 0; i < header.snapshotCount; i++) {
    const chunk = new Uint8Array(Math.max(0, Math.min(CHUNK_BYTES + FIXED_BYTES + MAX_EXTRA_BYTES, limit - at)));
    if (chunk.length < FIXED_BYTES) fail("Snapshot table ends too early");
    await file.read(at, chunk);
    const view = new DataView(chunk.buffer);
    const idSize = view.getUint16(12);
    const nameSize = view.getUint16(14);
    const extraSize = view.getUint32(36);
    if (extraSize > MAX_EXTRA_BYTES) fail("Too much extra metadata in snapshot table entry");
    const total = FIXED_BYTES + extraSize + idSize + nameSize;
    if (total > chunk.length) fail("Snapshot table ends too early");
    const l1Entries = view.getUint32(8);
    const l1Offset = get64(view, 0);
    if (l1Entries > MAX_L1_BYTES / 8) fail("Snapshot L1 table too large");
    if (l1Offset % 2 ** header.clusterBits !== 0 || l1Offset + l1Entries * 8 > 2 ** 53) fail("Snapshot L1 table offset invalid");
    const extra = FIXED_BYTES;
    const idAt = extra + extraSize;
    out.push({
      l1Offset,
      l1Entries,
      id: text.decode(chunk.subarray(idAt, idAt + idSize)),
      name: text.decode(chunk.subarray(idAt + idSize, idAt + idSize + nameSize)),
      dateSec: view.getUint32(16),
      dateNsec: view.getUint32(20),
      vmClockNs: get64(view, 24),
      vmStateBytes: extraSize >= 8 ? get64(view, extra) : view.getUint32(32),
      diskBytes: extraSize >= 16 ? get64(view, extra + 8) : header.sizeBytes,
      icount: extraSize >= 24 && get64(view, extra + 16) < NO_ICOUNT ? get64(view, extra + 16) : undefined,
      extra: chunk.slice(extra + Math.min(extraSize, 24), extra + extraSize),
    });
    at += Math.ceil(total / 8) * 8;
  }
  return out;
}

/** The table's bytes. */
export function writeSnapshotTable(snapshots: readonly Snapshot[]): Uint8Array {
  const encoder = new TextEncoder();
  const parts = snapshots.map((s) => {
    const id = encoder.encode(s.id);
    const name = encoder.encode(s.name);
    const extra = 24 + s.extra.length;
    const bytes = new Uint8Array(Math.ceil((FIXED_BYTES + extra + id.length + name.length) / 8) * 8);
    const view = new DataView(bytes.buffer);
    set64(view, 0, s.l1Offset);
    view.setUint32(8, s.l1Entries);
    view.setUint16(12, id.length);
    view.setUint16(14, name.length);
    view.setUint32(16, s.dateSec);
    view.setUint32(20, s.dateNsec);
    set64(view, 24, s.vmClockNs);
    view.setUint32(32, s.vmStateBytes > 0xffffffff ? 0 : s.vmStateBytes);
    view.setUint32(36, extra);
    set64(view, 40, s.vmStateBytes);
    set64(view, 48, s.diskBytes);
    if (s.icount === undefined) bytes.fill(0xff, 56, 64);
    else set64(view, 56, s.icount);
    bytes.set(s.extra, 64);
    bytes.set(id, FIXED_BYTES + extra);
    bytes.set(name, FIXED_BYTES + extra + id.length);
    return bytes;
  });
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  if (out.length > MAX_TABLE_BYTES) throw new VmError("block/io", "qcow2: the snapshot table would be too large");
  return out;
}
