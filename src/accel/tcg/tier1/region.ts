/** Growing a region from a hot block: which blocks belong to it, and their IR. */
import type { Block } from "../code-cache.js";
import type { IrBuilder } from "../ir/builder.js";
import { Op } from "../ir/builder.js";
import type { CodeSource, FrontEnd } from "../target.js";

/** Where control goes at a node's end. */
export type Terminator =
  | { kind: "jump"; to: Edge }
  | { kind: "branch"; cond: number; taken: Edge; other: Edge }
  /** The likely targets are compared with first. */
  | { kind: "indirect"; slot: number; targets: Edge[] };

/** A static successor: a node of the region, or an exit to a PC. */
export interface Edge {
  node: number;
  readonly pcLo: number;
  readonly pcHi: number;
}

export interface Node {
  readonly index: number;
  readonly pcLo: number;
  readonly pcHi: number;
  /** IR words without the terminator, four a record. */
  words: Int32Array;
  records: number;
  insnRecord: Uint16Array;
  readonly insnOffset: Uint16Array;
  readonly insns: number;
  readonly size: number;
  terminator: Terminator;
  /** Statically known CC_OP at the end, or -1. */
  outCc: number;
}

export interface Region {
  readonly nodes: Node[];
  /** Host pages with code of the region. */
  readonly pages: Set<number>;
  /** Guest pages (PC halves of a byte in it) with the host page they must map to. */
  readonly mapping: { pcLo: number; pcHi: number; host: number }[];
}

export interface RegionLimits {
  readonly maxNodes: number;
  readonly maxInsns: number;
}

/** What region growth asks of the engine. */
export interface RegionHost {
  readonly frontEnd: FrontEnd;
  readonly builder: IrBuilder;
  /** Host address of code at a PC in the current mode, or 0. */
  probe(pcLo: number, pcHi: number): number;
  /** The tier 0 block at a PC if it has run often enough to be worth compiling. */
  warm(host: number, pcLo: number, pcHi: number): Block | undefined;
  source(host: number): CodeSource;
  /** How often a block has run. */
  executions(block: Block): number;
  /** Where a block's indirect jump has gone lately. */
  targets(block: Block): [number, number][];
}

const key = (lo: number, hi: number) => `${hi >>> 0}:${lo >>> 0}`;

/** Grows the region whose entry is `entry`. @returns undefined if the entry cannot be compiled */
export function growRegion(entry: Block, host: RegionHost, limits: RegionLimits): Region | undefined {
  const nodes: Node[] = [];
  const byPc = new Map<string, number>();
  const pages = new Set<number>();
  const mapping: Region["mapping"] = [];
  let insns = 0;
  const queue: { block: Block; weight: number }[] = [{ block: entry, weight: 0 }];
  const pending = new Map<string, Edge[]>();
  const blocks: Block[] = [];
  while (queue.length && nodes.length < limits.maxNodes && insns < limits.maxInsns) {
    // The block that has run most comes next.
    let best = 0;
    for (let i = 1; i < queue.length; i++) if (queue[i]!.weight > queue[best]!.weight) best = i;
    const { block } = queue.splice(best, 1)[0]!;
    const k = key(block.pcLo, block.pcHi);
    if (byPc.has(k)) continue;
    const b = host.builder;
    const t = host.frontEnd.translate(b, host.source(block.host), block.pcLo, block.pcHi, block.flags, 64);
    if (!t.simple) {
      if (nodes.length === 0) return undefined;
      continue;
    }
    const index = nodes.length;
    byPc.set(k, index);
    const { terminator, records, edges } = terminatorOf(b.words, b.length);
    if (terminator.kind === "indirect")
      for (const [pcLo, pcHi] of host.targets(block)) {
        const e: Edge = { node: -1, pcLo, pcHi };
        terminator.targets.push(e);
        edges.push(e);
      }
    const node: Node = {
      index,
      pcLo: block.pcLo,
      pcHi: block.pcHi,
      words: b.words.slice(0, records * 4),
      records,
      insnRecord: b.insnRecord.slice(0, b.insns),
      insnOffset: b.insnOffset.slice(0, b.insns),
      insns: b.insns,
      size: t.size,
      terminator,
      outCc: host.frontEnd.lastCc(),
    };
    nodes.push(node);
    blocks.push(block);
    insns += b.insns;
    const page = block.host - (block.host % 4096);
    if (!pages.has(page)) {
      pages.add(page);
      mapping.push({ pcLo: block.pcLo, pcHi: block.pcHi, host: block.host });
    }
    for (const e of edges) {
      const ek = key(e.pcLo, e.pcHi);
      const list = pending.get(ek);
      if (list) list.push(e);
      else pending.set(ek, [e]);
      if (byPc.has(ek)) continue;
      const at = host.probe(e.pcLo, e.pcHi);
      const next = at ? host.warm(at, e.pcLo, e.pcHi) : undefined;
      if (next?.simple && !next.host2) queue.push({ block: next, weight: host.executions(next) });
    }
  }
  for (const [k, list] of pending) {
    const n = byPc.get(k);
    if (n !== undefined) for (const e of list) e.node = n;
  }
  for (const node of nodes) knowFlags(node, nodes, blocks[node.index]!, host);
  return { nodes, pages, mapping };
}

/** The static successors of a node. */
function edgesOf(t: Terminator): readonly Edge[] {
  return t.kind === "jump" ? [t.to] : t.kind === "branch" ? [t.taken, t.other] : t.targets;
}

/**
 * Translates a node again if all ways into it leave the same flags operation. What is known at a node's end holds whatever
 * was known at its beginning, so one pass in any order is sound.
 */
function knowFlags(node: Node, nodes: readonly Node[], block: Block, host: RegionHost): void {
  if (node.index === 0) return;
  let cc = -2;
  for (const p of nodes)
    for (const e of edgesOf(p.terminator)) {
      if (e.node !== node.index) continue;
      if (p.outCc < 0 || (cc !== -2 && cc !== p.outCc)) return;
      cc = p.outCc;
    }
  if (cc < 0) return;
  const b = host.builder;
  host.frontEnd.translate(b, host.source(block.host), block.pcLo, block.pcHi, block.flags, 64, cc);
  const { terminator, records } = terminatorOf(b.words, b.length);
  node.words = b.words.slice(0, records * 4);
  node.records = records;
  node.insnRecord = b.insnRecord.slice(0, b.insns);
  node.outCc = host.frontEnd.lastCc();
  const t = node.terminator;
  if (t.kind === "branch" && terminator.kind === "branch") t.cond = terminator.cond;
  if (t.kind === "indirect" && terminator.kind === "indirect") t.slot = terminator.slot;
}

/** Splits the terminator off a block's records. */
function terminatorOf(words: Int32Array, length: number): { terminator: Terminator; records: number; edges: Edge[] } {
  const last = length - 1;
  const opOf = (i: number) => words[i * 4]! & 0xffff;
  const edge = (i: number): Edge => ({ node: -1, pcLo: words[i * 4 + 2]!, pcHi: words[i * 4 + 3]! });
  if (opOf(last) === Op.jind)
    return { terminator: { kind: "indirect", slot: words[last * 4 + 1]! & 0xffff, targets: [] }, records: last, edges: [] };
  if (opOf(last) !== Op.jmp) throw new Error("block without a terminator");
  const other = edge(last);
  if (last > 0 && opOf(last - 1) === Op.jnz) {
    const taken = edge(last - 1);
    return {
      terminator: { kind: "branch", cond: words[(last - 1) * 4 + 1]! & 0xffff, taken, other },
      records: last - 1,
      edges: [taken, other],
    };
  }
  return { terminator: { kind: "jump", to: other }, records: last, edges: [other] };
}
