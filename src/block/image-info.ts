/** What is to be said about an image: `ImageInfo` of QEMU's QMP reference, for `query-block`, and `info`. */
import { driverOf } from "./chain.js";
import { resolveBacking } from "./filename.js";
import type { BlockNode } from "./node.js";
import { BitmapFlag, readBitmapDirectory } from "./qcow2/bitmaps.js";
import { Autoclear, Compatible, Incompatible } from "./qcow2/header.js";
import { Qcow2Image } from "./qcow2/image.js";

/** `SnapshotInfo`. */
export interface SnapshotInfo {
  readonly id: string;
  readonly name: string;
  readonly "vm-state-size": number;
  readonly "date-sec": number;
  readonly "date-nsec": number;
  readonly "vm-clock-sec": number;
  readonly "vm-clock-nsec": number;
  readonly icount?: number;
}

export interface ImageInfo {
  readonly filename: string;
  readonly format: string;
  readonly "virtual-size": number;
  readonly "actual-size"?: number;
  readonly "dirty-flag": boolean;
  readonly "cluster-size"?: number;
  readonly compressed?: boolean;
  readonly "backing-filename"?: string;
  readonly "full-backing-filename"?: string;
  readonly "backing-filename-format"?: string;
  readonly snapshots?: readonly SnapshotInfo[];
  readonly "format-specific"?: { readonly type: string; readonly data: Record<string, unknown> };
}

/** @throws VmError "block/io" */
export async function imageInfo(node: BlockNode): Promise<ImageInfo> {
  const image = driverOf(node);
  const actual = await node.allocatedBytes?.();
  const common = {
    filename: node.filename,
    format: node.driver,
    "virtual-size": node.sizeBytes,
    ...(actual === undefined ? {} : { "actual-size": actual }),
  };
  if (!(image instanceof Qcow2Image)) return { ...common, "dirty-flag": false };
  const { header, snapshots } = image.core;
  const backing = header.backingFile;
  return {
    ...common,
    "dirty-flag": (header.incompatible & Incompatible.dirty) !== 0,
    "cluster-size": image.core.clusterBytes,
    ...(backing === undefined
      ? {}
      : {
          "backing-filename": backing,
          "full-backing-filename": resolveBacking(node.filename, backing),
          ...(header.backingFormat === undefined ? {} : { "backing-filename-format": header.backingFormat }),
        }),
    ...(snapshots.length === 0
      ? {}
      : {
          snapshots: snapshots.map((s) => ({
            id: s.id,
            name: s.name,
            "vm-state-size": s.vmStateBytes,
            "date-sec": s.dateSec,
            "date-nsec": s.dateNsec,
            "vm-clock-sec": Math.floor(s.vmClockNs / 1e9),
            "vm-clock-nsec": s.vmClockNs % 1e9,
            ...(s.icount === undefined ? {} : { icount: s.icount }),
          })),
        }),
    "format-specific": {
      type: "qcow2",
      data:
        header.version < 3
          ? { compat: "0.10", "compression-type": header.compression, "refcount-bits": 2 ** header.refcountOrder }
          : {
              compat: "1.1",
              "compression-type": header.compression,
              "lazy-refcounts": (header.compatible & Compatible.lazyRefcounts) !== 0,
              ...(await bitmapInfo(image)),
              "refcount-bits": 2 ** header.refcountOrder,
              corrupt: (header.incompatible & Incompatible.corrupt) !== 0,
              "extended-l2": image.core.entryBytes === 16,
            },
    },
  };
}

async function bitmapInfo(image: Qcow2Image): Promise<Record<string, unknown>> {
  const { header, file } = image.core;
  if (!header.bitmaps || !(header.autoclear & Autoclear.bitmaps)) return {};
  const { entries } = await readBitmapDirectory(file, header);
  return {
    bitmaps: entries.map((e) => ({
      flags: [...(e.flags & BitmapFlag.inUse ? ["in-use"] : []), ...(e.flags & BitmapFlag.auto ? ["auto"] : [])],
      name: e.name,
      granularity: 2 ** e.granularityBits,
    })),
  };
}
