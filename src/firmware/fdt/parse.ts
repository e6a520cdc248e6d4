/**
 * Reads a flattened device tree, from a file or from guest memory: every offset is checked.
 * Source: Devicetree Specification 0.4 §5.
 */
import { VmError } from "../../base/errors.js";
import { FDT_HEADER_BYTES, FDT_LAST_COMPATIBLE, FDT_MAGIC, FDT_VERSION, FdtToken } from "./flatten.js";
import { FdtNode } from "./tree.js";

/** Nodes inside nodes; real trees have fewer than ten levels. */
const MAX_DEPTH = 32;
/** Nodes and properties together. */
const MAX_ITEMS = 100_000;

/** @throws VmError "image/bad-format" | "image/truncated" saying what is wrong, without naming a file */
export function parseFdt(bytes: Uint8Array): FdtNode {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const bad = (what: string): never => {
    throw new VmError("image/bad-format", `device tree: ${what}`);
  };
  if (bytes.length < FDT_HEADER_BYTES) throw new VmError("image/truncated", `device tree: ${bytes.length} bytes`);
  if (view.getUint32(0) !== FDT_MAGIC) bad("no device tree magic");
  const total = view.getUint32(4);
  if (total > bytes.length) throw new VmError("image/truncated", `device tree: ${bytes.length} bytes of ${total}`);
  if (view.getUint32(24) > FDT_VERSION || view.getUint32(20) < FDT_LAST_COMPATIBLE) bad(`version ${view.getUint32(20)}`);
  const stringsAt = view.getUint32(12);
  const stringsEnd = stringsAt + view.getUint32(32);
  let at = view.getUint32(8);
  const end = at + view.getUint32(36);
  if (at % 4 || end > total || stringsEnd > total) bad("blocks outside the file");
  const text = (from: number, limit: number): string => {
    const nul = bytes.indexOf(0, from);
    if (from >= limit || nul < 0 || nul >= limit) return bad("a name without end");
    return String.fromCharCode(...bytes.subarray(from, nul));
  };
  const word = (): number => {
    if (at + 4 > end) return bad("the structure block has no end");
    at += 4;
    return view.getUint32(at - 4);
  };
  const root = new FdtNode("");
  const stack: FdtNode[] = [];
  for (let items = 0; ; items++) {
    if (items > MAX_ITEMS) bad(`more than ${MAX_ITEMS} nodes and properties`);
    const token = word();
    const top = stack[stack.length - 1];
    if (token === FdtToken.beginNode) {
      const name = text(at, end);
      at += Math.ceil((name.length + 1) / 4) * 4;
      const node = top ? new FdtNode(name) : root;
      if (!top && items > 0 && root.children.length + root.properties.size > 0) bad("two roots");
      top?.children.push(node);
      if (stack.length >= MAX_DEPTH) bad(`nodes more than ${MAX_DEPTH} deep`);
      stack.push(node);
    } else if (token === FdtToken.endNode) {
      if (!stack.pop()) bad("a node ends that has not begun");
    } else if (token === FdtToken.prop) {
      const length = word();
      const name = text(stringsAt + word(), stringsEnd);
      if (at + length > end) bad(`property ${name} reaches beyond its block`);
      if (!top) return bad(`property ${name} outside a node`);
      top.properties.set(name, bytes.slice(at, at + length));
      at += Math.ceil(length / 4) * 4;
    } else if (token === FdtToken.end) {
      if (stack.length > 0) bad("a node has no end");
      return root;
    } else if (token !== FdtToken.nop) bad(`token ${token}`);
  }
}
