/**
 * The flattened form of a device tree: header, memory reservations, structure block, strings block.
 * Source: Devicetree Specification 0.4 §5 (version 17, compatible with 16).
 */
import { VmError } from "../../base/errors.js";
import { ByteWriter, encodeText } from "../bytes.js";
import { cells64, type FdtNode } from "./tree.js";

export const FDT_MAGIC = 0xd00dfeed;
export const FDT_VERSION = 17;
export const FDT_LAST_COMPATIBLE = 16;
export const FDT_HEADER_BYTES = 40;
/** Tokens of the structure block. */
export const FdtToken = { beginNode: 1, endNode: 2, prop: 3, nop: 4, end: 9 } as const;

export interface FlattenOptions {
  /** Memory the kernel must not use: addresses and sizes below 2^53. */
  readonly reserved?: readonly { readonly address: number; readonly size: number }[];
  /** The physical id of the processor that boots. */
  readonly bootCpu?: number;
  /** What there is room for. */
  readonly limitBytes?: number;
}

/** @throws VmError "image/too-large" when the result has more than `limitBytes` bytes */
export function flatten(root: FdtNode, options: FlattenOptions = {}): Uint8Array {
  const { reserved = [], bootCpu = 0, limitBytes = Number.POSITIVE_INFINITY } = options;
  const strings = new ByteWriter(1024);
  const offsets = new Map<string, number>();
  const stringOffset = (name: string): number => {
    let at = offsets.get(name);
    if (at === undefined) {
      at = strings.length;
      offsets.set(name, at);
      strings.bytes(encodeText(name, true));
    }
    return at;
  };
  const structure = new ByteWriter(16384);
  const emit = (node: FdtNode): void => {
    structure.u32be(FdtToken.beginNode).bytes(encodeText(node.name, true)).align(4);
    for (const [name, value] of node.properties)
      structure.u32be(FdtToken.prop).u32be(value.length).u32be(stringOffset(name)).bytes(value).align(4);
    for (const child of node.children) emit(child);
    structure.u32be(FdtToken.endNode);
  };
  emit(root);
  structure.u32be(FdtToken.end);
  const reservations = FDT_HEADER_BYTES;
  const structureAt = reservations + 16 * (reserved.length + 1);
  const stringsAt = structureAt + structure.length;
  const total = Math.ceil((stringsAt + strings.length) / 8) * 8;
  if (total > limitBytes)
    throw new VmError("image/too-large", `the device tree has ${total} bytes, there is room for ${limitBytes}`);
  const out = new ByteWriter(total);
  for (const word of [
    FDT_MAGIC,
    total,
    structureAt,
    stringsAt,
    reservations,
    FDT_VERSION,
    FDT_LAST_COMPATIBLE,
    bootCpu,
    strings.length,
    structure.length,
  ])
    out.u32be(word);
  for (const { address, size } of [...reserved, { address: 0, size: 0 }])
    for (const cell of [...cells64(address), ...cells64(size)]) out.u32be(cell);
  out.bytes(structure.finish()).bytes(strings.finish());
  return out.align(8).finish();
}
