/**
 * The header of qcow2 images, version 2 and 3: read with every number checked before it is used, and written.
 * Source: docs/interop/qcow2.txt "Header", "Header extensions"; limits are QEMU's (block/qcow2.h's as documented there).
 * *Not emulated*: encryption, external data files (both are refused).
 */
import { VmError } from "../../base/errors.js";
import { get64, set64 } from "./entry.js";

export const QCOW_MAGIC = 0x514649fb;
/** Bits of `incompatible`. */
export const Incompatible = { dirty: 1, corrupt: 2, dataFile: 4, compression: 8, extendedL2: 16 } as const;
export const Compatible = { lazyRefcounts: 1 } as const;
export const Autoclear = { bitmaps: 1, rawExternal: 2 } as const;

const V2_BYTES = 72;
const V3_BYTES = 104;
/** With the compression type and its padding: what we write. */
const V3_WRITTEN_BYTES = 112;
const Extension = {
  end: 0,
  backingFormat: 0xe2792aca,
  features: 0x6803f857,
  bitmaps: 0x23852875,
  dataFile: 0x44415441,
  crypto: 0x0537be77,
};
export const MIN_CLUSTER_BITS = 9;
export const MAX_CLUSTER_BITS = 21;
export const MAX_L1_BYTES = 32 * 2 ** 20;
export const MAX_REFTABLE_BYTES = 8 * 2 ** 20;
export const MAX_SNAPSHOTS = 65536;
const MAX_BACKING_NAME = 1023;
/** Extensions of an unknown kind that are kept. */
const MAX_EXTENSIONS = 64;
/** How much of the file is read to have the whole header: a header cluster is no larger. */
export const HEADER_READ_BYTES = 65536;

export interface BitmapExtension {
  readonly count: number;
  readonly directoryBytes: number;
  readonly directoryOffset: number;
}

/** A header. Sizes and offsets in bytes unless named otherwise. */
export interface QcowHeader {
  version: 2 | 3;
  clusterBits: number;
  sizeBytes: number;
  l1Entries: number;
  l1Offset: number;
  refTableOffset: number;
  refTableClusters: number;
  snapshotCount: number;
  snapshotsOffset: number;
  /** The three feature words; no bit above 52 can be told apart, and none is known. */
  incompatible: number;
  compatible: number;
  autoclear: number;
  refcountOrder: number;
  compression: "zlib" | "zstd";
  backingFile: string | undefined;
  backingFormat: string | undefined;
  bitmaps: BitmapExtension | undefined;
  /** Kept as they are. */
  unknownExtensions: { readonly type: number; readonly data: Uint8Array }[];
}

function bad(what: string): never {
  throw new VmError("block/bad-format", what);
}

const text = new TextDecoder();

/** Names of features: QEMU's own, then what the image's table says. */
function featureNames(data: Uint8Array | undefined): Map<number, string> {
  const names = new Map<number, string>();
  for (let at = 0; data && at + 48 <= data.length; at += 48) {
    if (data[at] !== 0) continue;
    const raw = data.subarray(at + 2, at + 48);
    const end = raw.indexOf(0);
    names.set(data[at + 1]!, text.decode(end < 0 ? raw : raw.subarray(0, end)).replace(/[^\x20-\x7e]/g, "?"));
  }
  return names;
}

/** Whether bytes begin as a qcow2 image of a version we know does. */
export function isQcow2(head: Uint8Array): boolean {
  if (head.length < 8) return false;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  return view.getUint32(0) === QCOW_MAGIC && view.getUint32(4) >= 2;
}

/**
 * @param head the first bytes of the file, at most HEADER_READ_BYTES and all of them if it is shorter
 * @throws VmError "block/bad-format"
 */
export function parseHeader(head: Uint8Array): QcowHeader {
  if (head.length < V2_BYTES) bad("Image is not in qcow2 format");
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (view.getUint32(0) !== QCOW_MAGIC) bad("Image is not in qcow2 format");
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) bad(`Unsupported qcow2 version ${version}`);
  if (version === 3 && head.length < V3_BYTES) bad("qcow2 header too short");
  const clusterBits = view.getUint32(20);
  if (clusterBits < MIN_CLUSTER_BITS || clusterBits > MAX_CLUSTER_BITS) bad(`Unsupported cluster size: 2^${clusterBits}`);
  const clusterBytes = 2 ** clusterBits;
  const headerLength = version === 3 ? view.getUint32(100) : V2_BYTES;
  if (version === 3 && headerLength < V3_BYTES) bad("qcow2 header too short");
  if (headerLength > clusterBytes) bad("qcow2 header exceeds cluster size");
  const backingOffset = get64(view, 8);
  const backingLength = view.getUint32(16);
  if (backingOffset > clusterBytes) bad("Invalid backing file offset");

  const header: QcowHeader = {
    version,
    clusterBits,
    sizeBytes: get64(view, 24),
    l1Entries: view.getUint32(36),
    l1Offset: get64(view, 40),
    refTableOffset: get64(view, 48),
    refTableClusters: view.getUint32(56),
    snapshotCount: view.getUint32(60),
    snapshotsOffset: get64(view, 64),
    incompatible: version === 3 ? get64(view, 72) : 0,
    compatible: version === 3 ? get64(view, 80) : 0,
    autoclear: version === 3 ? get64(view, 88) : 0,
    refcountOrder: version === 3 ? view.getUint32(96) : 4,
    compression: "zlib",
    backingFile: undefined,
    backingFormat: undefined,
    bitmaps: undefined,
    unknownExtensions: [],
  };
  const names = parseExtensions(header, head, view, headerLength, backingOffset || clusterBytes);
  checkFeatures(header, names);
  if (view.getUint32(32) !== 0) bad("encrypted images are not supported");
  if (headerLength > V3_BYTES && head.length > V3_BYTES) {
    const type = head[V3_BYTES]!;
    if (type > 1) bad(`qcow2: unknown compression type: ${type}`);
    if ((type === 1) !== ((header.incompatible & Incompatible.compression) !== 0))
      bad("qcow2: Compression type incompatible feature bit must be set if and only if the compression type is not zlib");
    if (type === 1) header.compression = "zstd";
  } else if (header.incompatible & Incompatible.compression)
    bad("qcow2: Compression type incompatible feature bit must not be set");
  checkNumbers(header, clusterBytes);
  if (backingOffset !== 0 && backingLength !== 0) {
    if (backingLength > Math.min(MAX_BACKING_NAME, clusterBytes - backingOffset)) bad("Backing file name too long");
    if (backingOffset + backingLength > head.length) bad("Could not read backing file name");
    const raw = head.subarray(backingOffset, backingOffset + backingLength);
    if (raw.includes(0)) bad("Invalid backing file name");
    header.backingFile = text.decode(raw);
  }
  return header;
}

function parseExtensions(h: QcowHeader, head: Uint8Array, view: DataView, start: number, limit: number): Map<number, string> {
  let names = new Map<number, string>();
  const end = Math.min(limit, head.length);
  // Version 2 headers have extensions too, where there is room for one.
  for (let at = start, n = 0; at + 8 <= end; n++) {
    const type = view.getUint32(at);
    const length = view.getUint32(at + 4);
    if (type === Extension.end) break;
    at += 8;
    if (length > end - at) bad("Header extension too large");
    if (n >= MAX_EXTENSIONS) bad("Too many header extensions");
    const data = head.slice(at, at + length);
    switch (type) {
      case Extension.backingFormat:
        if (length > 15) bad("ERROR: ext_backing_format: len too large");
        h.backingFormat = text.decode(data);
        break;
      case Extension.features:
        names = featureNames(data);
        break;
      case Extension.bitmaps:
        if (length !== 24) bad("bitmaps_ext: Invalid extension length");
        else {
          const v = new DataView(data.buffer);
          h.bitmaps = { count: v.getUint32(0), directoryBytes: get64(v, 8), directoryOffset: get64(v, 16) };
        }
        break;
      case Extension.crypto:
        bad("encrypted images are not supported");
        break;
      default:
        h.unknownExtensions.push({ type, data });
    }
    at += Math.ceil(length / 8) * 8;
  }
  return names;
}

function checkFeatures(h: QcowHeader, names: Map<number, string>): void {
  const known =
    Incompatible.dirty | Incompatible.corrupt | Incompatible.dataFile | Incompatible.compression | Incompatible.extendedL2;
  const unknown: string[] = [];
  for (let bit = 0; bit < 64; bit++) {
    // BAD_OFFSET stands for a word with bits above 52.
    if (Math.floor(h.incompatible / 2 ** bit) % 2 === 0) continue;
    if (bit < 32 && known & (1 << bit)) continue;
    unknown.push(
      names.get(bit) || (bit >= 53 ? "Unknown incompatible feature" : `Unknown incompatible feature: ${(2 ** bit).toString(16)}`),
    );
  }
  if (unknown.length > 0) bad(`Unsupported qcow2 feature(s): ${unknown.join(", ")}`);
  if (h.incompatible & Incompatible.dataFile) bad("external data files are not supported");
}

function checkNumbers(h: QcowHeader, clusterBytes: number): void {
  if (h.refcountOrder > 6) bad("Reference count entry width too large; may not exceed 64 bits");
  if (h.incompatible & Incompatible.extendedL2 && h.clusterBits < 14)
    bad("Extended L2 entries are only supported with cluster sizes of at least 16384 bytes");
  if (!Number.isSafeInteger(h.sizeBytes)) bad("Image is too big");
  if (h.refTableClusters > MAX_REFTABLE_BYTES / clusterBytes) bad("Reference count table too large");
  if (h.refTableClusters === 0) bad("Image does not contain a reference count table");
  const table = (offset: number, bytes: number, what: string) => {
    if (offset % clusterBytes !== 0 || !Number.isSafeInteger(offset + bytes)) bad(`${what} offset invalid`);
  };
  table(h.refTableOffset, h.refTableClusters * clusterBytes, "Reference count table");
  if (h.snapshotCount > MAX_SNAPSHOTS) bad("Snapshot table too large");
  if (h.snapshotCount > 0) table(h.snapshotsOffset, 0, "Snapshot table");
  if (h.l1Entries > MAX_L1_BYTES / 8) bad("Active L1 table too large");
  if (h.l1Entries > 0) table(h.l1Offset, h.l1Entries * 8, "Active L1 table");
  if (h.l1Entries < l1EntriesFor(h, h.sizeBytes)) bad("L1 table is too small");
}

/** L2 entries take 8 bytes, extended ones 16. */
export function l2EntryBytes(h: Pick<QcowHeader, "incompatible">): number {
  return h.incompatible & Incompatible.extendedL2 ? 16 : 8;
}

/** How many L1 entries a disk of a size needs. */
export function l1EntriesFor(h: Pick<QcowHeader, "incompatible" | "clusterBits">, sizeBytes: number): number {
  const clusterBytes = 2 ** h.clusterBits;
  return Math.ceil(sizeBytes / (clusterBytes * (clusterBytes / l2EntryBytes(h))));
}

const FEATURES: readonly [type: number, bit: number, name: string][] = [
  [0, 0, "dirty bit"],
  [0, 1, "corrupt bit"],
  [0, 2, "external data file"],
  [0, 3, "compression type"],
  [0, 4, "extended L2 entries"],
  [1, 0, "lazy refcounts"],
  [2, 0, "bitmaps"],
  [2, 1, "raw external data"],
];

/** The header's cluster, all of it. @throws VmError "block/bad-format" when it does not fit */
export function writeHeader(h: QcowHeader): Uint8Array {
  const bytes = new Uint8Array(2 ** h.clusterBits);
  const view = new DataView(bytes.buffer);
  const encoder = new TextEncoder();
  const headerLength = h.version === 3 ? V3_WRITTEN_BYTES : V2_BYTES;
  let at = headerLength;
  const room = (n: number) => {
    if (at + n > bytes.length) bad("The header does not fit into a cluster; a shorter backing file name would");
  };
  const extension = (type: number, data: Uint8Array) => {
    const padded = Math.ceil(data.length / 8) * 8;
    room(8 + padded);
    view.setUint32(at, type);
    view.setUint32(at + 4, data.length);
    bytes.set(data, at + 8);
    at += 8 + padded;
  };
  if (h.backingFormat !== undefined) extension(Extension.backingFormat, encoder.encode(h.backingFormat));
  // The names are a courtesy to older programs: the smallest clusters have no room for them.
  if (h.version === 3 && h.clusterBits > MIN_CLUSTER_BITS) {
    const table = new Uint8Array(48 * FEATURES.length);
    FEATURES.forEach(([type, bit, name], i) => {
      table[48 * i] = type;
      table[48 * i + 1] = bit;
      table.set(encoder.encode(name), 48 * i + 2);
    });
    extension(Extension.features, table);
  }
  if (h.bitmaps) {
    const data = new Uint8Array(24);
    const v = new DataView(data.buffer);
    v.setUint32(0, h.bitmaps.count);
    set64(v, 8, h.bitmaps.directoryBytes);
    set64(v, 16, h.bitmaps.directoryOffset);
    extension(Extension.bitmaps, data);
  }
  for (const e of h.unknownExtensions) extension(e.type, e.data);
  extension(Extension.end, new Uint8Array(0));
  const backing = h.backingFile === undefined ? undefined : encoder.encode(h.backingFile);
  if (backing) {
    if (backing.length > MAX_BACKING_NAME) bad("Backing file name too long");
    room(backing.length);
    bytes.set(backing, at);
    set64(view, 8, at);
    view.setUint32(16, backing.length);
  }
  view.setUint32(0, QCOW_MAGIC);
  view.setUint32(4, h.version);
  view.setUint32(20, h.clusterBits);
  set64(view, 24, h.sizeBytes);
  view.setUint32(36, h.l1Entries);
  set64(view, 40, h.l1Offset);
  set64(view, 48, h.refTableOffset);
  view.setUint32(56, h.refTableClusters);
  view.setUint32(60, h.snapshotCount);
  set64(view, 64, h.snapshotsOffset);
  if (h.version === 3) {
    set64(view, 72, h.incompatible);
    set64(view, 80, h.compatible);
    set64(view, 88, h.autoclear);
    view.setUint32(96, h.refcountOrder);
    view.setUint32(100, headerLength);
    bytes[V3_BYTES] = h.compression === "zstd" ? 1 : 0;
  }
  return bytes;
}
