import assert from "node:assert/strict";
import { test } from "node:test";
import { CODE_AT, ProgramRig } from "../../../../testkit/program-rig.js";
import { Random } from "../../../../testkit/random-program.js";
import { type Graph, structure } from "./cfg.js";

function randomGraph(r: Random, n: number): Graph {
  const succ: number[][] = [];
  for (let i = 0; i < n; i++) {
    const near = () => Math.max(0, Math.min(n - 1, i + r.below(7) - 2));
    const one = () => (r.chance(3) ? r.below(n) : near());
    const kind = r.below(6);
    succ.push(kind === 0 ? [] : kind < 3 ? [one()] : kind < 5 ? [one(), one()] : [one(), one(), one()]);
  }
  return { succ };
}

/** Nodes that can be reached from `start` without passing `without`. */
function reachable(succ: readonly number[][], start: number, without = -1): Set<number> {
  const seen = new Set<number>();
  const stack = start === without ? [] : [start];
  while (stack.length) {
    const x = stack.pop()!;
    if (seen.has(x)) continue;
    seen.add(x);
    for (const y of succ[x]!) if (y !== without && !seen.has(y)) stack.push(y);
  }
  return seen;
}

test("dominators, merges and loops of random graphs; what is left after cutting is reducible", () => {
  for (let seed = 1; seed <= 400; seed++) {
    const r = new Random(seed);
    const g = randomGraph(r, 1 + r.below(24));
    const before = g.succ.map((s) => [...s]);
    const cuts: [number, number][] = [];
    const s = structure(g, (from, to) => cuts.push([from, to]));
    const where = `seed ${seed}`;
    for (const [from, to] of cuts) {
      assert.ok(before[from]!.includes(to), where);
      assert.ok(!g.succ[from]!.includes(to), where);
    }
    for (const [i, list] of g.succ.entries()) for (const t of list) assert.ok(before[i]!.includes(t), where);
    const live = reachable(g.succ, 0);
    for (let x = 0; x < g.succ.length; x++) {
      assert.equal(s.rpo[x]! >= 0, live.has(x), `${where}: node ${x} reachable`);
      if (!live.has(x)) continue;
      // x's immediate dominator dominates it, and nothing between them does.
      if (x !== 0) {
        const d = s.idom[x]!;
        assert.ok(!reachable(g.succ, 0, d).has(x), `${where}: ${d} dominates ${x}`);
        assert.ok(s.children[d]!.includes(x), where);
        for (const y of live)
          if (y !== x && y !== d && !reachable(g.succ, 0, y).has(x))
            assert.ok(!reachable(g.succ, 0, y).has(d), `${where}: ${y} must dominate ${d}, the immediate dominator of ${x}`);
      }
      const forward = [...live].flatMap((p) => g.succ[p]!.filter((t) => t === x && s.rpo[p]! < s.rpo[x]!));
      const back = [...live].filter((p) => g.succ[p]!.includes(x) && s.rpo[p]! >= s.rpo[x]!);
      assert.equal(s.isMerge[x], forward.length > 1, `${where}: merge ${x}`);
      assert.equal(s.isLoop[x], back.length > 0, `${where}: loop ${x}`);
      // Reducible: every edge backwards goes to a dominator.
      for (const p of back) assert.ok(p === x || !reachable(g.succ, 0, x).has(p), `${where}: ${p} back to ${x}`);
    }
  }
});

test("a loop with two entries is cut, a loop with one is not", () => {
  const cuts: string[] = [];
  structure({ succ: [[1, 2], [2], [1]] }, (a, b) => cuts.push(`${a}-${b}`));
  assert.equal(cuts.length, 1);
  structure({ succ: [[1], [2], [1, 3], [0]] }, () => assert.fail("nothing to cut"));
});

/**
 * A random graph as guest code (32-bit). Each node changes eax in its own way, counts ecx down (out at zero), and chooses
 * its successor by bits of eax.
 */
function program(g: Graph): { code: number[]; offsets: number[] } {
  const code: number[] = [];
  const offsets: number[] = [];
  const fixes: [at: number, node: number][] = [];
  const le = (v: number) => [v & 255, (v >> 8) & 255, (v >> 16) & 255, v >>> 24];
  const jump = (op: number[], node: number) => {
    code.push(...op);
    fixes.push([code.length, node]);
    code.push(0, 0, 0, 0);
  };
  for (const [i, succ] of g.succ.entries()) {
    offsets.push(code.length);
    // imul eax,eax,1103515245; add eax,i+1; dec ecx; jz out
    code.push(0x69, 0xc0, ...le(1103515245), 0x05, ...le(i + 1), 0x49);
    jump([0x0f, 0x84], g.succ.length);
    if (succ.length === 0) {
      jump([0xe9], g.succ.length);
      continue;
    }
    for (let k = 0; k < succ.length - 1; k++) {
      // test eax, 1 << (16 + k); jnz
      code.push(0xa9, ...le(1 << (16 + k)));
      jump([0x0f, 0x85], succ[k]!);
    }
    jump([0xe9], succ[succ.length - 1]!);
  }
  offsets.push(code.length);
  code.push(0xf4);
  for (const [at, node] of fixes) for (const [k, b] of le(offsets[node]! - (at + 4)).entries()) code[at + k] = b;
  return { code, offsets };
}

/** The same in JavaScript. */
function reference(g: Graph, start: number, steps: number): [eax: number, ecx: number] {
  let eax = start;
  let ecx = steps;
  for (let x = 0; ; ) {
    eax = (Math.imul(eax, 1103515245) + x + 1) >>> 0;
    ecx--;
    const succ = g.succ[x]!;
    if (ecx === 0 || succ.length === 0) return [eax, ecx];
    let k = 0;
    while (k < succ.length - 1 && !(eax & (1 << (16 + k)))) k++;
    x = succ[k]!;
  }
}

test("random graphs as guest code: both tiers take the reference's path", () => {
  const rigs = [
    new ProgramRig({ mode: 32, tier: 0 }),
    new ProgramRig({ mode: 32, tier: 1, threshold: 1 }),
    new ProgramRig({ mode: 32, tier: 1, threshold: 8 }),
  ];
  for (let seed = 1; seed <= 150; seed++) {
    const r = new Random(seed * 7919);
    const g = randomGraph(r, 2 + r.below(30));
    const { code } = program(g);
    for (const [n, rig] of rigs.entries()) {
      rig.dma(CODE_AT, code);
      rig.engine.flushAll();
      for (let again = 0; again < 3; again++) {
        const start = (seed * 2654435761 + again) >>> 0;
        const steps = 1 + r.below(2000);
        rig.resetState();
        rig.setGpr(0, BigInt(start));
        rig.setGpr(1, BigInt(steps));
        const s = rig.run(1_000_000, 333);
        const [eax, ecx] = reference(g, start, steps);
        assert.deepEqual([s.gpr[0], s.gpr[1]], [BigInt(eax), BigInt(ecx)], `seed ${seed}, rig ${n}: ${JSON.stringify(g.succ)}`);
      }
    }
  }
  assert.ok(rigs[2]!.engine.tier1.stats.nodes > rigs[2]!.engine.tier1.stats.regions);
});
