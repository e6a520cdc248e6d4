/**
 * A device tree in memory: nodes with properties, in the order they were added. `flatten.ts` turns it into the flattened
 * form that firmware and kernels read, `parse.ts` back.
 * Source: Devicetree Specification 0.4 §2.2 (nodes and properties).
 */
import { encodeText } from "../bytes.js";

/** A property's value: cells are big-endian u32; a list of texts is NUL-separated; `true` is an empty property. */
export type FdtValue = number | readonly number[] | string | readonly string[] | Uint8Array | true;

/** A node. The root's name is empty. */
export class FdtNode {
  readonly properties = new Map<string, Uint8Array>();
  readonly children: FdtNode[] = [];

  constructor(readonly name: string) {}

  /** Sets a property; the same name again replaces it. */
  set(name: string, value: FdtValue): this {
    this.properties.set(name, encodeValue(value));
    return this;
  }

  /** Sets several. */
  setAll(values: { readonly [name: string]: FdtValue | undefined }): this {
    for (const [name, value] of Object.entries(values)) if (value !== undefined) this.set(name, value);
    return this;
  }

  /** The child of that name, made when it is not there. */
  child(name: string): FdtNode {
    let node = this.children.find((c) => c.name === name);
    if (!node) {
      node = new FdtNode(name);
      this.children.push(node);
    }
    return node;
  }

  /** The node at a path ("/cpus/PowerPC,POWER9@0"; "" or "/" is this node). */
  find(path: string): FdtNode | undefined {
    let node: FdtNode | undefined = this;
    for (const part of path.split("/")) if (part !== "") node = node?.children.find((c) => c.name === part);
    return node;
  }

  /** A property as big-endian u32 cells; what is left over at the end is dropped. */
  cells(name: string): number[] | undefined {
    const bytes = this.properties.get(name);
    if (!bytes) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return Array.from({ length: bytes.length >> 2 }, (_, i) => view.getUint32(4 * i));
  }

  /** A property as text up to its first NUL. */
  text(name: string): string | undefined {
    const bytes = this.properties.get(name);
    if (!bytes) return undefined;
    const end = bytes.indexOf(0);
    return String.fromCharCode(...bytes.subarray(0, end < 0 ? bytes.length : end));
  }
}

/** Two cells of a 64-bit number below 2^53. */
export function cells64(value: number): [number, number] {
  return [Math.floor(value / 2 ** 32), value % 2 ** 32];
}

function encodeValue(value: FdtValue): Uint8Array {
  if (value === true) return new Uint8Array(0);
  if (value instanceof Uint8Array) return value;
  if (typeof value === "string") return encodeText(value, true);
  if (typeof value === "number") return encodeCells([value]);
  if (value.length > 0 && typeof value[0] === "string") return encodeText((value as readonly string[]).join("\0"), true);
  return encodeCells(value as readonly number[]);
}

function encodeCells(cells: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * cells.length);
  const view = new DataView(bytes.buffer);
  for (const [i, c] of cells.entries()) view.setUint32(4 * i, c >>> 0);
  return bytes;
}
