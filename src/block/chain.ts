/** A node with the backing files below it: what a range is, and in which of them. */
import type { BlockNode, BlockStatus } from "./node.js";

export interface ChainStatus extends BlockStatus {
  /** How far below the top the range lies. */
  readonly depth: number;
  readonly node: BlockNode;
  /** It lies in that node rather than in nothing at all. */
  readonly present: boolean;
}

/** Deeper chains than any that opens. */
const MAX_DEPTH = 1000;

/** The node's driver, without its place in a graph. */
export function driverOf(node: BlockNode): BlockNode {
  const { inner } = node as { inner?: BlockNode };
  return inner ?? node;
}

/** What a range of a node is; where nobody below has it, zeroes. With `base`, the chain ends above it. */
export async function chainStatus(top: BlockNode, offset: number, size: number, base?: BlockNode): Promise<ChainStatus> {
  let node = top;
  let most = size;
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    const s = await node.status(offset, most);
    most = Math.min(most, s.sizeBytes);
    if (s.kind !== "unallocated") return { ...s, sizeBytes: most, depth, node, present: true };
    const below = node.backing;
    if (!below || below === base)
      return { kind: below ? "unallocated" : "zero", sizeBytes: most, offsetBytes: s.offsetBytes, depth, node, present: false };
    // Behind the end of a shorter file below there are zeroes of this one.
    if (offset >= below.sizeBytes) return { kind: "zero", sizeBytes: most, depth, node, present: false };
    most = Math.min(most, below.sizeBytes - offset);
    node = below;
  }
  throw new Error("a chain of images without end");
}

/** The node and everything below it. */
export function chainOf(top: BlockNode): BlockNode[] {
  const out: BlockNode[] = [];
  for (let n: BlockNode | undefined = top; n && out.length < MAX_DEPTH; n = n.backing) out.push(n);
  return out;
}
