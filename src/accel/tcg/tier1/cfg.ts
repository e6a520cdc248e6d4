/** Control flow of a region: order, dominators, loops; edges that would make it irreducible become exits. */

/** A directed graph by successor lists; node 0 is the entry. */
export interface Graph {
  readonly succ: number[][];
}

export interface Structure {
  /** Reverse post-order number by node, -1 = unreachable. */
  readonly rpo: Int32Array;
  readonly idom: Int32Array;
  /** Children in the dominator tree. */
  readonly children: number[][];
  readonly isMerge: boolean[];
  readonly isLoop: boolean[];
  /** Whether the node lies in any loop. */
  readonly inLoop: boolean[];
}

/** Depth-first post-order without recursion. */
function reversePostOrder(g: Graph): { order: number[]; rpo: Int32Array } {
  const n = g.succ.length;
  const state = new Uint8Array(n);
  const post: number[] = [];
  const stack: [number, number][] = [[0, 0]];
  state[0] = 1;
  while (stack.length) {
    const top = stack[stack.length - 1]!;
    const s = g.succ[top[0]]!;
    if (top[1] < s.length) {
      const next = s[top[1]++]!;
      if (!state[next]) {
        state[next] = 1;
        stack.push([next, 0]);
      }
    } else {
      post.push(top[0]);
      stack.pop();
    }
  }
  const order = post.reverse();
  const rpo = new Int32Array(n).fill(-1);
  for (const [i, x] of order.entries()) rpo[x] = i;
  return { order, rpo };
}

/** Immediate dominators (Cooper, Harvey, Kennedy: "A Simple, Fast Dominance Algorithm"). */
function dominators(g: Graph, order: number[], rpo: Int32Array): Int32Array {
  const n = g.succ.length;
  const pred: number[][] = Array.from({ length: n }, () => []);
  for (const x of order) for (const y of g.succ[x]!) pred[y]!.push(x);
  const idom = new Int32Array(n).fill(-1);
  idom[0] = 0;
  const intersect = (a: number, b: number): number => {
    while (a !== b) {
      while (rpo[a]! > rpo[b]!) a = idom[a]!;
      while (rpo[b]! > rpo[a]!) b = idom[b]!;
    }
    return a;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (const x of order) {
      if (x === 0) continue;
      let d = -1;
      for (const p of pred[x]!) if (idom[p]! >= 0) d = d < 0 ? p : intersect(d, p);
      if (d !== idom[x]) {
        idom[x] = d;
        changed = true;
      }
    }
  }
  return idom;
}

/** Nodes of natural loops: those that reach a back edge's source without passing its header. */
function loopBodies(g: Graph, order: number[], rpo: Int32Array): boolean[] {
  const n = g.succ.length;
  const pred: number[][] = Array.from({ length: n }, () => []);
  for (const x of order) for (const y of g.succ[x]!) pred[y]!.push(x);
  const inLoop = new Array<boolean>(n).fill(false);
  for (const x of order)
    for (const header of g.succ[x]!) {
      if (rpo[header]! > rpo[x]!) continue;
      const seen = new Set([header]);
      const stack = [x];
      while (stack.length) {
        const y = stack.pop()!;
        if (seen.has(y)) continue;
        seen.add(y);
        for (const p of pred[y]!) stack.push(p);
      }
      for (const y of seen) inLoop[y] = true;
    }
  return inLoop;
}

/**
 * Analyses the graph. `cut(from, to)` is called for each edge that must become an exit (a jump into the middle of a loop);
 * the edge is removed from `g`.
 */
export function structure(g: Graph, cut: (from: number, to: number) => void): Structure {
  for (;;) {
    const { order, rpo } = reversePostOrder(g);
    const idom = dominators(g, order, rpo);
    const dominates = (a: number, b: number): boolean => {
      while (rpo[b]! > rpo[a]!) b = idom[b]!;
      return a === b;
    };
    let removed = false;
    const n = g.succ.length;
    const isLoop = new Array<boolean>(n).fill(false);
    const forward = new Int32Array(n);
    for (const x of order)
      for (const y of [...g.succ[x]!]) {
        if (rpo[y]! > rpo[x]!) forward[y]!++;
        else if (dominates(y, x)) isLoop[y] = true;
        else {
          g.succ[x] = g.succ[x]!.filter((s) => s !== y);
          cut(x, y);
          removed = true;
        }
      }
    if (removed) continue;
    const children: number[][] = Array.from({ length: n }, () => []);
    for (const x of order) if (x !== 0) children[idom[x]!]!.push(x);
    const isMerge = Array.from({ length: n }, (_, i) => forward[i]! > 1);
    return { rpo, idom, children, isMerge, isLoop, inLoop: loopBodies(g, order, rpo) };
  }
}
