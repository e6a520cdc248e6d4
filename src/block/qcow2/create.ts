/**
 * New qcow2 images.
 * Source: docs/interop/qcow2.txt; options and defaults are `BlockdevCreateOptionsQcow2`'s.
 */
import { VmError } from "../../base/errors.js";
import type { BlockNode } from "../node.js";
import { COPIED, set64, tableOf } from "./entry.js";
import {
  Autoclear,
  Compatible,
  Incompatible,
  l1EntriesFor,
  l2EntryBytes,
  MAX_CLUSTER_BITS,
  MAX_L1_BYTES,
  MIN_CLUSTER_BITS,
  type QcowHeader,
  writeHeader,
} from "./header.js";
import { writeCount } from "./refcounts.js";

export type Preallocation = "off" | "metadata" | "falloc" | "full";

export interface Qcow2CreateOptions {
  readonly sizeBytes: number;
  readonly version?: 2 | 3 | undefined;
  readonly clusterBytes?: number | undefined;
  readonly refcountBits?: number | undefined;
  readonly lazyRefcounts?: boolean | undefined;
  readonly extendedL2?: boolean | undefined;
  readonly compression?: "zlib" | "zstd" | undefined;
  readonly backingFile?: string | undefined;
  readonly backingFormat?: string | undefined;
  readonly preallocation?: Preallocation | undefined;
}

/**
 * Lays an empty image out in an empty file: header, refcount table and blocks, L1 table, and with preallocation all L2
 * tables and room for the data.
 * @throws VmError "option/invalid" | "block/io"
 */
export async function createQcow2(file: BlockNode, options: Qcow2CreateOptions): Promise<void> {
  const { sizeBytes } = options;
  const version = options.version ?? 3;
  const clusterBytes = options.clusterBytes ?? 65536;
  const clusterBits = Math.log2(clusterBytes);
  const invalid = (what: string): never => {
    throw new VmError("option/invalid", what);
  };
  if (!Number.isInteger(clusterBits) || clusterBits < MIN_CLUSTER_BITS || clusterBits > MAX_CLUSTER_BITS)
    invalid(`Cluster size must be a power of two between ${2 ** MIN_CLUSTER_BITS} and ${2 ** (MAX_CLUSTER_BITS - 10)}k`);
  const refcountBits = options.refcountBits ?? 16;
  const order = Math.log2(refcountBits);
  if (!Number.isInteger(order) || order < 0 || order > 6)
    invalid("Refcount width must be a power of two and may not exceed 64 bits");
  if (version < 3 && refcountBits !== 16)
    invalid("Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)");
  if (version < 3 && options.lazyRefcounts)
    invalid("Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or greater)");
  if (version < 3 && options.compression === "zstd")
    invalid("Non-zlib compression type is only supported with compatibility level 1.1 and above (use version=v3 or greater)");
  if (options.extendedL2) {
    if (version < 3)
      invalid("Extended L2 entries are only supported with compatibility level 1.1 and above (use version=v3 or greater)");
    if (clusterBytes < 16384) invalid("Extended L2 entries are only supported with cluster sizes of at least 16384 bytes");
  }
  if (sizeBytes % 512 !== 0) invalid("The image size must be a multiple of 512 bytes");
  const header: QcowHeader = {
    version,
    clusterBits,
    sizeBytes,
    l1Entries: 0,
    l1Offset: 0,
    refTableOffset: 0,
    refTableClusters: 1,
    snapshotCount: 0,
    snapshotsOffset: 0,
    incompatible:
      (options.compression === "zstd" ? Incompatible.compression : 0) | (options.extendedL2 ? Incompatible.extendedL2 : 0),
    compatible: options.lazyRefcounts ? Compatible.lazyRefcounts : 0,
    autoclear: 0 & Autoclear.bitmaps,
    refcountOrder: order,
    compression: options.compression ?? "zlib",
    backingFile: options.backingFile,
    backingFormat: options.backingFormat,
    bitmaps: undefined,
    unknownExtensions: [],
  };
  header.l1Entries = Math.max(1, l1EntriesFor(header, sizeBytes));
  if (header.l1Entries * 8 > MAX_L1_BYTES)
    invalid(`The image size is too large for file format 'qcow2' (try using a larger cluster size)`);
  const perCluster = clusterBytes / 8;
  const perBlock = (clusterBytes * 8) / refcountBits;
  const l1Clusters = Math.ceil(header.l1Entries / perCluster);
  const dataClusters = options.preallocation && options.preallocation !== "off" ? Math.ceil(sizeBytes / clusterBytes) : 0;
  const entryBytes = l2EntryBytes(header);
  const l2Tables = dataClusters > 0 ? l1EntriesFor(header, sizeBytes) : 0;
  // Header, refcount table, refcount blocks, L1, L2 tables, data, in this order.
  const rest = 1 + l1Clusters + l2Tables + dataClusters;
  let tableClusters = 1;
  let blocks = 1;
  for (;;) {
    const b = Math.ceil((rest + tableClusters + blocks) / perBlock);
    const t = Math.ceil(Math.max(b, blocks) / perCluster);
    if (b <= blocks && t <= tableClusters) break;
    blocks = Math.max(blocks, b);
    tableClusters = Math.max(tableClusters, t);
  }
  const total = rest + tableClusters + blocks;
  header.refTableOffset = clusterBytes;
  header.refTableClusters = tableClusters;
  const firstBlock = 1 + tableClusters;
  const firstL1 = firstBlock + blocks;
  header.l1Offset = firstL1 * clusterBytes;
  const headerBytes = writeHeader(header);

  const table = tableOf(new Uint8Array(tableClusters * clusterBytes));
  for (let i = 0; i < blocks; i++) {
    set64(table.view, i * 8, (firstBlock + i) * clusterBytes);
    const block = tableOf(new Uint8Array(clusterBytes));
    for (let c = 0; c < Math.min(perBlock, total - i * perBlock); c++) writeCount(block, order, c, 1);
    await file.write((firstBlock + i) * clusterBytes, block.bytes);
  }
  await file.write(header.refTableOffset, table.bytes);
  const l1 = tableOf(new Uint8Array(l1Clusters * clusterBytes));
  const firstL2 = firstL1 + l1Clusters;
  const firstData = firstL2 + l2Tables;
  for (let i = 0; i < l2Tables; i++) {
    set64(l1.view, i * 8, (firstL2 + i) * clusterBytes, COPIED);
    const l2 = tableOf(new Uint8Array(clusterBytes));
    const entries = clusterBytes / entryBytes;
    for (let e = 0; e < entries && i * entries + e < dataClusters; e++) {
      set64(l2.view, e * entryBytes, (firstData + i * entries + e) * clusterBytes, COPIED);
      if (entryBytes === 16) l2.view.setUint32(e * 16 + 12, options.backingFile === undefined ? 0xffffffff : 0);
    }
    await file.write((firstL2 + i) * clusterBytes, l2.bytes);
  }
  await file.write(header.l1Offset, l1.bytes);
  if (dataClusters > 0) {
    if (options.preallocation === "full") await file.writeZeroes(firstData * clusterBytes, dataClusters * clusterBytes);
    else if (file.resize) await file.resize(total * clusterBytes);
  }
  await file.write(0, headerBytes);
  await file.flush();
}
