/**
 * A node of the block graph: an image as a format or a protocol sees it, over the nodes it is made of.
 * Source: QEMU's documentation of the block layer ("Block device options", `BlockdevOptions` of the QMP reference).
 */
import { VmError } from "../base/errors.js";
import type { BlockBackend } from "./backend.js";

/** What a range of a node is, not looking at the backing file. */
export interface BlockStatus {
  /** `data`: bytes of its own; `zero`: reads as zeroes; `unallocated`: the backing file's, and zeroes where there is none. */
  readonly kind: "data" | "zero" | "unallocated";
  /** How far it reaches: at most as far as was asked, more than 0. */
  readonly sizeBytes: number;
  /** Where the bytes lie in the file below, if they lie there as they are (also of a zero cluster that keeps its place). */
  readonly offsetBytes?: number | undefined;
  readonly compressed?: boolean | undefined;
}

export interface BlockNode extends BlockBackend {
  /** The driver's name: "qcow2". */
  readonly driver: string;
  /** The file, or a name of QEMU's form for what is none: "nbd://host/export". */
  readonly filename: string;
  /** What holds the image's bytes; absent for protocols. */
  readonly file?: BlockNode | undefined;
  backing?: BlockNode | undefined;
  /** Writes past the end make it longer. */
  readonly growable?: boolean | undefined;
  /** How far it is the same from an offset on. @throws VmError "block/io" */
  status(offsetBytes: number, sizeBytes: number): Promise<BlockStatus>;
  /** Zeroes a range; with `unmap` its space may be given back. */
  writeZeroes(offsetBytes: number, sizeBytes: number, unmap?: boolean): Promise<void>;
  discard(offsetBytes: number, sizeBytes: number): Promise<void>;
  /** Makes the image this long. @throws VmError where it cannot be */
  readonly resize?: ((sizeBytes: number) => Promise<void>) | undefined;
  /** Bytes taken on the host; undefined where nobody knows. */
  allocatedBytes?(): Promise<number>;
}

/** @throws VmError "block/io" unless the range lies within the node */
export function checkRange(node: BlockBackend, offset: number, size: number): void {
  if (!(offset >= 0 && size >= 0 && offset + size <= node.sizeBytes))
    throw new VmError("block/io", `${node.name}: ${size} bytes at ${offset} are past the end of the image (${node.sizeBytes})`);
}

const ZERO_PIECE = 1 << 20;
let zeroes: Uint8Array | undefined;

/** Writes zeroes where there is no better way. */
export async function zeroesInPieces(
  write: (offset: number, data: Uint8Array) => Promise<void>,
  offset: number,
  size: number,
): Promise<void> {
  zeroes ??= new Uint8Array(ZERO_PIECE);
  for (let done = 0; done < size; done += ZERO_PIECE)
    await write(offset + done, zeroes.subarray(0, Math.min(ZERO_PIECE, size - done)));
}
