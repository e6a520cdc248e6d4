/** A node as `query-block` and `query-named-block-nodes` show it: `BlockDeviceInfo`. Source: QEMU 7.2 qapi/block-core.json. */
import { chainOf, driverOf } from "./chain.js";
import type { GraphNode } from "./graph-node.js";
import { type ImageInfo, imageInfo } from "./image-info.js";
import type { BlockNode } from "./node.js";
import { Qcow2Image } from "./qcow2/image.js";

export interface BlockDeviceInfo {
  readonly file: string;
  readonly "node-name": string;
  readonly ro: boolean;
  readonly drv: string;
  readonly backing_file?: string;
  readonly backing_file_depth: number;
  readonly encrypted: boolean;
  readonly detect_zeroes: "off" | "on" | "unmap";
  readonly [limit: `bps${string}` | `iops${string}`]: number;
  readonly image: ImageInfo & { readonly "backing-image"?: ImageInfo };
  readonly cache: { readonly writeback: boolean; readonly direct: boolean; readonly "no-flush": boolean };
  readonly write_threshold: number;
}

export interface CacheInfo {
  readonly writeback: boolean;
  readonly noFlush: boolean;
}

async function withBacking(node: BlockNode): Promise<ImageInfo & { readonly "backing-image"?: ImageInfo }> {
  const info = await imageInfo(node);
  return node.backing ? { ...info, "backing-image": await withBacking(node.backing) } : info;
}

/** @throws VmError "block/io" */
export async function blockDeviceInfo(node: GraphNode, cache?: CacheInfo): Promise<BlockDeviceInfo> {
  const image = driverOf(node);
  const backing = image instanceof Qcow2Image ? image.core.header.backingFile : undefined;
  return {
    file: node.filename,
    "node-name": node.nodeName,
    ro: node.readOnly,
    drv: node.driver,
    ...(backing === undefined ? {} : { backing_file: backing }),
    backing_file_depth: chainOf(node).length - 1,
    encrypted: false,
    detect_zeroes: node.options.detectZeroes,
    bps: 0,
    bps_rd: 0,
    bps_wr: 0,
    iops: 0,
    iops_rd: 0,
    iops_wr: 0,
    image: await withBacking(node),
    cache: {
      writeback: cache?.writeback ?? true,
      // The host's page cache is always used.
      direct: false,
      "no-flush": cache?.noFlush ?? node.options.noFlush ?? false,
    },
    write_threshold: 0,
  };
}
