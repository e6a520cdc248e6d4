/**
 * One region as one WebAssembly function. Guest registers, flags and vectors live in locals; the places where the region
 * can be left all branch to one of two shared blocks that write them back, so precise faults cost the hot path nothing.
 */
import { emitFpOp, type FpHelperIndexes } from "../fp.js";
import { emitExpr, type Operand, type Operands } from "../ir/expr.js";
import { OPS } from "../ir/ops.js";
import { POISON_PAGE } from "../map.js";
import type { EnvLayout } from "../target.js";
import { emitJcAddress, emitJcMatch, Jc } from "../tier0.js";
import { type FunctionBody, FunctionWriter, type ModuleWriter } from "../wasm/writer.js";
import { type Graph, type Structure, structure } from "./cfg.js";
import type { Edge, Node, Region } from "./region.js";

/** A place where the region is left for one instruction in tier 0. */
export interface SiteInfo {
  pcLo: number;
  pcHi: number;
  /** Instructions of the node that were counted but not executed. */
  budgetBack: number;
}

export interface EmitContext {
  readonly L: EnvLayout;
  readonly fp: FpHelperIndexes;
  readonly module: ModuleWriter;
  /** Function indexes of the TLB look-ups of this module, for reads and for writes (emitTlbLookup). */
  readonly lookup: readonly [number, number];
  /** Function index of the runtime's `probe`. */
  readonly probe: number;
  /** Function index of an imported helper, by table index. */
  helper(tableIndex: number): number;
  /** Address of a site record for this site. */
  site(info: SiteInfo): number;
}

/**
 * Page tag of no page, as halves: an address that is not canonical, so that no access succeeds there, and that no program
 * has by accident (one that uses it all the same gets POISON_PAGE instead of #GP).
 */
const NO_PAGE: readonly [number, number] = [0x7f4a7000, 0x9e3779b9 | 0];

/** Page-tag locals of one region at most, per kind of access. */
const MAX_TAGS = 12;

interface Tag {
  tag: number;
  host: number;
}

/** Emits the region. @returns the function body */
export function emitRegion(region: Region, c: EmitContext): FunctionBody {
  return new RegionEmitter(region, c).run();
}

class RegionEmitter {
  private readonly w = new FunctionWriter(["i32"]);
  private readonly L: EnvLayout;
  private readonly globals = new Map<number, number>();
  private readonly vectors = new Map<number, number>();
  private readonly written = new Set<number>();
  private readonly vwritten = new Set<number>();
  private readonly temps = new Map<number, number>();
  private readonly vtemps = new Map<number, number>();
  private readonly tags = new Map<string, Tag>();
  private readonly tagLists: { r: Tag[]; w: Tag[] } = { r: [], w: [] };
  private readonly budget: number;
  private readonly siteLocal: number;
  private readonly exitPc: number;
  private readonly addr: number;
  private readonly val: number;
  private readonly i32temp: number;
  private readonly vec: number;
  private readonly vec2: number;
  private readonly vec3: number;
  private s!: Structure;
  private exitLabel = 0;
  private deoptLabel = 0;
  private readonly loopLabel: number[] = [];
  private readonly blockLabel: number[] = [];
  /** Slots known to hold a constant at this point of the node. */
  private readonly consts = new Map<number, [number, number]>();
  /** How a temporary was made, for choosing page tags. */
  private readonly origin = new Map<number, string>();

  constructor(
    private readonly region: Region,
    private readonly c: EmitContext,
  ) {
    this.L = c.L;
    const w = this.w;
    this.budget = w.local("i32");
    this.siteLocal = w.local("i32");
    this.i32temp = w.local("i32");
    this.exitPc = w.local("i64");
    this.addr = w.local("i64");
    this.val = w.local("i64");
    this.vec = w.local("v128");
    this.vec2 = w.local("v128");
    this.vec3 = w.local("v128");
  }

  private isGlobal(offset: number): boolean {
    return offset < this.L.globalsEnd;
  }

  private isVector(offset: number): boolean {
    return offset >= this.L.vectorFirst && offset < this.L.vectorEnd;
  }

  run(): FunctionBody {
    const w = this.w;
    const L = this.L;
    this.scan();
    // Entry: load what the region uses.
    for (const [slot, local] of this.globals) {
      w.get(0);
      w.op("i64.load", slot);
      w.set(local);
    }
    for (const [slot, local] of this.vectors) {
      w.get(0);
      w.op("v128.load", slot);
      w.set(local);
    }
    w.get(0);
    w.op("i32.load", L.budget);
    w.set(this.budget);
    const graph: Graph = {
      succ: this.region.nodes.map((n) =>
        n.terminator.kind === "jump"
          ? edges(n.terminator.to)
          : n.terminator.kind === "branch"
            ? edges(n.terminator.taken, n.terminator.other)
            : edges(...n.terminator.targets),
      ),
    };
    this.s = structure(graph, (from, to) => {
      const t = this.region.nodes[from]!.terminator;
      const list = t.kind === "jump" ? [t.to] : t.kind === "branch" ? [t.taken, t.other] : t.targets;
      for (const e of list) if (e.node === to) e.node = -1;
    });
    // Tags are declared while emitting; their initial values are put here afterwards.
    const tagInit = w.length;
    this.deoptLabel = w.block();
    this.exitLabel = w.block();
    this.tree(0);
    w.end();
    this.emitExit();
    w.end();
    this.emitDeopt();
    this.insertTagInit(tagInit);
    return w.finishBody();
  }

  /** Puts the tags' initial values at a place emitted earlier. */
  private insertTagInit(at: number): void {
    const w = this.w;
    w.insert(at, () => {
      for (const t of [...this.tagLists.r, ...this.tagLists.w]) {
        w.i64(...NO_PAGE);
        w.set(t.tag);
        w.i32(POISON_PAGE);
        w.set(t.host);
      }
    });
  }

  /** Finds all slots in use and gives them locals. */
  private scan(): void {
    const useG = (o: number) => {
      if (this.isGlobal(o) && !this.globals.has(o)) this.globals.set(o, this.w.local("i64"));
    };
    const useV = (o: number) => {
      if (this.isVector(o) && !this.vectors.has(o)) this.vectors.set(o, this.w.local("v128"));
    };
    const write = (o: number) => {
      useG(o);
      if (this.isGlobal(o)) this.written.add(o);
    };
    for (const n of this.region.nodes) {
      for (let i = 0; i < n.records; i++) {
        const w0 = n.words[i * 4]!;
        const w1 = n.words[i * 4 + 1]!;
        const op = OPS[w0 & 0xffff]!;
        const offsets = { a: w1 & 0xffff, b: w1 >>> 16, c: n.words[i * 4 + 2]! & 0xffff };
        for (const x of op.inputs) (x.type === "v128" ? useV : useG)(offsets[x.which]);
        const d = w0 >>> 16;
        if (op.result === "i64") write(d);
        else if (op.result === "v128") {
          useV(d);
          if (this.isVector(d)) this.vwritten.add(d);
        }
        if (op.name === "setcc" || op.name === "setcci") for (const f of [this.L.ccDst, this.L.ccSrc, this.L.ccOp]) write(f);
      }
      const t = n.terminator;
      if (t.kind === "branch") useG(t.cond);
      if (t.kind === "indirect") useG(t.slot);
    }
  }

  // --- structure (Ramsey, "Beyond Relooper": blocks for merge nodes around their dominator) ---
  private tree(x: number): void {
    const kids = this.s.children[x]!.filter((k) => this.s.isMerge[k]).sort((a, b) => this.s.rpo[b]! - this.s.rpo[a]!);
    if (this.s.isLoop[x]) {
      this.loopLabel[x] = this.w.loop();
      this.within(x, kids, 0);
      this.w.end();
      this.w.unreachable();
    } else this.within(x, kids, 0);
  }

  private within(x: number, kids: number[], k: number): void {
    if (k === kids.length) {
      this.node(this.region.nodes[x]!);
      return;
    }
    const y = kids[k]!;
    this.blockLabel[y] = this.w.block();
    this.within(x, kids, k + 1);
    this.w.end();
    this.tree(y);
  }

  private branch(from: number, e: Edge): void {
    const w = this.w;
    if (e.node < 0) {
      w.i64(e.pcLo, e.pcHi);
      w.set(this.exitPc);
      w.br(this.exitLabel);
      return;
    }
    if (this.s.rpo[e.node]! <= this.s.rpo[from]!) w.br(this.loopLabel[e.node]!);
    else if (this.s.isMerge[e.node]) w.br(this.blockLabel[e.node]!);
    else this.tree(e.node);
  }

  // --- leaving ---
  private spill(): void {
    const w = this.w;
    for (const slot of this.written) {
      w.get(0);
      w.get(this.globals.get(slot)!);
      w.op("i64.store", slot);
    }
    for (const slot of this.vwritten) {
      w.get(0);
      w.get(this.vectors.get(slot)!);
      w.op("v128.store", slot);
    }
    w.get(0);
    w.get(this.budget);
    w.op("i32.store", this.L.budget);
  }

  private emitExit(): void {
    const w = this.w;
    const L = this.L;
    this.spill();
    w.get(0);
    w.get(this.exitPc);
    w.op("i64.store", L.pc);
    w.get(this.budget);
    w.i32(0);
    w.op("i32.ge_s");
    w.if();
    emitJcAddress(w, L, 0, this.exitPc);
    w.set(this.i32temp);
    emitJcMatch(w, L, 0, this.exitPc, this.i32temp);
    w.get(this.i32temp);
    w.op("i32.load", L.jc + Jc.func);
    w.tee(this.siteLocal);
    w.i32(0);
    w.op("i32.ne");
    w.op("i32.and");
    w.if();
    w.get(this.siteLocal);
    w.return();
    w.end();
    w.end();
    w.i32(0);
    w.return();
  }

  private emitDeopt(): void {
    const w = this.w;
    this.spill();
    w.get(0);
    w.get(this.siteLocal);
    w.op("i32.store", this.L.exitSite);
    w.i32(1);
  }

  // --- a node ---
  private cur!: Node;
  private curInsn = 0;

  private leaveHere(): void {
    const n = this.cur;
    const lo = (n.pcLo >>> 0) + n.insnOffset[this.curInsn]!;
    const site = this.c.site({ pcLo: lo | 0, pcHi: (n.pcHi + (lo >= 2 ** 32 ? 1 : 0)) | 0, budgetBack: n.insns - this.curInsn });
    this.w.i32(site);
    this.w.set(this.siteLocal);
    this.w.br(this.deoptLabel);
  }

  /** Condition on the stack: leave the region if it is not zero. */
  private leaveIf(): void {
    this.w.if("none", false);
    this.leaveHere();
    this.w.end();
  }

  private readonly operandOffset = { a: 0, b: 0, c: 0 };
  private immLo = 0;
  private immHi = 0;

  private readonly operands: Operands = {
    i64: (o: Operand) => this.pushSlot(this.operandOffset[o]),
    i32: (o: Operand) => this.pushSlot32(this.operandOffset[o]),
    v128: (o: Operand) => this.pushVector(this.operandOffset[o]),
    imm64: () => this.w.i64(this.immLo, this.immHi),
    imm32: () => this.w.i32(this.immLo),
  };

  private pushSlot(offset: number): void {
    const k = this.consts.get(offset);
    if (k) {
      this.w.i64(k[0], k[1]);
      return;
    }
    const g = this.globals.get(offset);
    if (g !== undefined) this.w.get(g);
    else if (offset >= this.L.temps && offset < this.L.tempsEnd) this.w.get(this.tempLocal(offset));
    else {
      this.w.get(0);
      this.w.op("i64.load", offset);
    }
  }

  private pushSlot32(offset: number): void {
    const k = this.consts.get(offset);
    if (k) {
      this.w.i32(k[0]);
      return;
    }
    this.pushSlot(offset);
    this.w.op("i32.wrap_i64");
  }

  private pushVector(offset: number): void {
    const v = this.vectors.get(offset);
    if (v !== undefined) this.w.get(v);
    else if (offset >= this.L.vtemps && offset < this.L.vtempsEnd) this.w.get(this.vtempLocal(offset));
    else {
      this.w.get(0);
      this.w.op("v128.load", offset);
    }
  }

  private tempLocal(offset: number): number {
    let t = this.temps.get(offset);
    if (t === undefined) {
      t = this.w.local("i64");
      this.temps.set(offset, t);
    }
    return t;
  }

  private vtempLocal(offset: number): number {
    let t = this.vtemps.get(offset);
    if (t === undefined) {
      t = this.w.local("v128");
      this.vtemps.set(offset, t);
    }
    return t;
  }

  /** Whether a slot lives in memory (stores need the address first). */
  private inMemory(offset: number): boolean {
    return !this.isGlobal(offset) && !(offset >= this.L.temps && offset < this.L.tempsEnd);
  }

  /** Takes the i64 on the stack as the slot's value. */
  private popSlot(offset: number): void {
    this.consts.delete(offset);
    const g = this.globals.get(offset);
    if (g !== undefined) {
      this.w.set(g);
      return;
    }
    if (!this.inMemory(offset)) {
      this.w.set(this.tempLocal(offset));
      return;
    }
    this.w.set(this.val);
    this.w.get(0);
    this.w.get(this.val);
    this.w.op("i64.store", offset);
  }

  private popVector(offset: number): void {
    const v = this.vectors.get(offset);
    if (v !== undefined) this.w.set(v);
    else if (offset >= this.L.vtemps && offset < this.L.vtempsEnd) this.w.set(this.vtempLocal(offset));
    else {
      this.w.set(this.vec);
      this.w.get(0);
      this.w.get(this.vec);
      this.w.op("v128.store", offset);
    }
  }

  private node(n: Node): void {
    const w = this.w;
    this.consts.clear();
    this.origin.clear();
    if (this.s.isLoop[n.index]) {
      w.get(this.budget);
      w.i32(0);
      w.op("i32.lt_s");
      w.if("none", false);
      w.i64(n.pcLo, n.pcHi);
      w.set(this.exitPc);
      w.br(this.exitLabel);
      w.end();
    }
    w.get(this.budget);
    w.i32(n.insns);
    w.op("i32.sub");
    w.set(this.budget);
    this.cur = n;
    this.curInsn = 0;
    const skipEnds: number[] = [];
    for (let i = 0; i < n.records; i++) {
      while (skipEnds.length && skipEnds[skipEnds.length - 1] === i) {
        skipEnds.pop();
        w.end();
        this.consts.clear();
      }
      while (this.curInsn + 1 < n.insns && n.insnRecord[this.curInsn + 1]! <= i) this.curInsn++;
      this.record(n, i, skipEnds);
    }
    while (skipEnds.length) {
      skipEnds.pop();
      w.end();
      this.consts.clear();
    }
    const t = n.terminator;
    switch (t.kind) {
      case "jump":
        this.branch(n.index, t.to);
        return;
      case "branch":
        this.pushSlot32(t.cond);
        w.if();
        this.branch(n.index, t.taken);
        w.end();
        this.branch(n.index, t.other);
        return;
      case "indirect":
        this.pushSlot(t.slot);
        w.set(this.exitPc);
        for (const e of t.targets) {
          if (e.node < 0) continue;
          w.get(this.exitPc);
          w.i64(e.pcLo, e.pcHi);
          w.op("i64.eq");
          w.if();
          this.branch(n.index, e);
          w.end();
        }
        w.br(this.exitLabel);
    }
  }

  private record(n: Node, i: number, skipEnds: number[]): void {
    const w = this.w;
    const w0 = n.words[i * 4]!;
    const w1 = n.words[i * 4 + 1]!;
    const op = OPS[w0 & 0xffff]!;
    const d = w0 >>> 16;
    this.operandOffset.a = w1 & 0xffff;
    this.operandOffset.b = w1 >>> 16;
    this.immLo = n.words[i * 4 + 2]!;
    this.immHi = n.words[i * 4 + 3]!;
    this.operandOffset.c = this.immLo & 0xffff;
    if (!op.special) {
      this.noteOrigin(op.name, d);
      if (op.name === "movi") {
        w.i64(this.immLo, this.immHi);
        const lo = this.immLo;
        const hi = this.immHi;
        this.popSlot(d);
        if (!this.inMemory(d)) this.consts.set(d, [lo, hi]);
        return;
      }
      if (op.name === "vpermi") {
        // The indexes are known here: a shuffle instead of a table look-up.
        this.pushVector(this.operandOffset.a);
        this.pushVector(this.operandOffset.a);
        w.shuffle(Array.from({ length: 16 }, (_, k) => ((k < 8 ? this.immLo : this.immHi) >>> ((k & 7) * 4)) & 15));
      } else emitExpr(w, op.expr!, this.operands);
      if (op.result === "v128") this.popVector(d);
      else {
        if (op.expr!.type === "i32") w.op("i64.extend_i32_u");
        this.popSlot(d);
      }
      return;
    }
    switch (op.name) {
      case "skipz":
        w.block();
        this.pushSlot(this.operandOffset.a);
        w.op("i64.eqz");
        w.u8(0x0d);
        w.u32(0);
        skipEnds.push(i + 1 + this.immLo);
        this.consts.clear();
        return;
      case "callcc":
      case "callp":
        if (op.name === "callcc") this.spillFlags();
        this.pushSlot(this.operandOffset.a);
        this.pushSlot(this.operandOffset.b);
        w.i32(this.immLo);
        w.call(this.c.helper(this.immHi));
        this.popSlot(d);
        return;
      case "slowcall":
        this.leaveHere();
        return;
      case "raisenz":
        this.pushSlot(this.operandOffset.a);
        w.op("i64.eqz");
        w.op("i32.eqz");
        this.leaveIf();
        return;
      case "ldst32":
        w.get(0);
        w.op("i64.load32_u", this.immLo);
        this.popSlot(d);
        return;
      case "setcc":
      case "setcci": {
        const reg = op.name === "setcc";
        // Both operands first: they may be the fields themselves.
        this.pushSlot(this.operandOffset.a);
        const aConst = this.consts.get(this.operandOffset.a);
        if (reg) {
          this.pushSlot(this.operandOffset.b);
          const bConst = this.consts.get(this.operandOffset.b);
          this.popSlot(this.L.ccSrc);
          if (bConst) this.consts.set(this.L.ccSrc, bConst);
        } else {
          w.i64(this.immLo, this.immLo >> 31);
          this.popSlot(this.L.ccSrc);
          this.consts.set(this.L.ccSrc, [this.immLo, this.immLo >> 31]);
        }
        this.popSlot(this.L.ccDst);
        if (aConst) this.consts.set(this.L.ccDst, aConst);
        w.i64(reg ? this.immLo : this.immHi, 0);
        this.popSlot(this.L.ccOp);
        return;
      }
      case "segchk": {
        const bytes = this.immHi & 255;
        const limit = (this.immHi >>> 16) & 0xffff;
        this.pushSlot(this.operandOffset.a);
        if (this.immLo) {
          w.i64(this.immLo, this.immLo >> 31);
          w.op("i64.add");
        }
        w.i64(-1, 0);
        w.op("i64.and");
        w.i64(bytes, 0);
        w.op("i64.add");
        w.get(0);
        w.op("i64.load", limit);
        w.op("i64.gt_u");
        this.leaveIf();
        return;
      }
    }
    if (op.name.startsWith("ld") || op.name.startsWith("st")) {
      this.memory(op.name, op.size, d);
      return;
    }
    emitFpOp(w, op, {
      call: (index) => w.call(this.c.helper(index)),
      indexes: this.c.fp,
      env: 0,
      fpFast: this.L.fpFast,
      push: (o, t) => (t === "v128" ? this.pushVector(this.operandOffset[o]) : this.pushSlot(this.operandOffset[o])),
      imm: () => w.i32(this.immLo),
      callImm: () => w.call(this.c.helper(this.immHi)),
      immLo: this.immLo,
      scratch: this.L.fpScratch,
      temps: { vec: this.vec, vec2: this.vec2, vec3: this.vec3, val: this.val, t32: this.i32temp },
      slow: () => {},
      leaveIf: () => this.leaveIf(),
    });
    if (op.result === "v128") this.popVector(d);
    else this.popSlot(d);
  }

  /** The lazy flags, for a helper that reads them in the state. */
  private spillFlags(): void {
    for (const slot of this.L.ccSlots) {
      const local = this.globals.get(slot);
      if (local === undefined || !this.written.has(slot)) continue;
      this.w.get(0);
      this.w.get(local);
      this.w.op("i64.store", slot);
    }
  }

  private noteOrigin(name: string, d: number): void {
    if (d < this.L.temps) return;
    const a = this.operandOffset.a;
    if (name === "movi") this.origin.set(d, `c${this.immHi}:${this.immLo >>> 12}`);
    else if (name === "lea" || name === "add" || name === "addi" || name === "addi32" || name === "shli" || name === "ext32u")
      this.origin.set(d, `${this.origin.get(a) ?? a}`);
  }

  // --- guest memory ---
  private tagFor(kind: "r" | "w", slot: number): Tag {
    const name = `${kind}${slot >= this.L.temps ? (this.origin.get(slot) ?? `t${slot}`) : slot}`;
    let t = this.tags.get(name);
    if (t) return t;
    const list = this.tagLists[kind];
    if (list.length >= MAX_TAGS) t = list[this.tags.size % MAX_TAGS]!;
    else {
      t = { tag: this.w.local("i64"), host: this.w.local("i32") };
      list.push(t);
    }
    this.tags.set(name, t);
    return t;
  }

  private memory(name: string, size: number, d: number): void {
    const w = this.w;
    const store = name.startsWith("st");
    const slot = this.operandOffset.a;
    // A tag pays where the access is made again: in loops, and for the many accesses next to each other on the stack.
    const tagged = this.s.inLoop[this.cur.index] || slot === this.L.stackPointer;
    const tag = tagged ? this.tagFor(store ? "w" : "r", slot) : undefined;
    this.pushSlot(slot);
    if (this.immLo) {
      w.i64(this.immLo, this.immLo >> 31);
      w.op("i64.add");
    }
    if (this.immHi & 0x100) {
      w.i64(-1, 0);
      w.op("i64.and");
    }
    const access = store ? 1 : 0;
    const mmu = this.immHi & 3;
    if (tag) {
      w.tee(this.addr);
      w.get(tag.tag);
      w.op("i64.sub");
      w.i64(4097 - size, 0);
      w.op("i64.ge_u");
      w.if("none", false);
      w.get(0);
      w.get(this.addr);
      w.i32(size);
      w.i32(mmu);
      w.call(this.c.lookup[access]);
    } else {
      // The TLB entry in line.
      const field = this.L.tlb + mmu * this.L.tlbMmuSize;
      w.tee(this.addr);
      w.i64(7, 0);
      w.op("i64.shr_u");
      w.op("i32.wrap_i64");
      w.i32(0x7fe0);
      w.op("i32.and");
      w.get(0);
      w.op("i32.add");
      w.tee(this.i32temp);
      w.op("i64.load", field + access * 8);
      w.get(this.i32temp);
      w.op("i32.load", field + 24);
      w.set(this.i32temp);
      w.get(this.addr);
      if (size > 1) {
        w.i64(size - 1, 0);
        w.op("i64.add");
      }
      w.i64(-4096, -1);
      w.op("i64.and");
      w.op("i64.ne");
      w.if("none", false);
      w.get(this.addr);
      w.i32(size);
      w.i32(mmu);
      w.i32(access);
      w.call(this.c.probe);
    }
    w.tee(this.i32temp);
    w.op("i32.eqz");
    this.leaveIf();
    if (tag) {
      w.get(this.i32temp);
      w.set(tag.host);
      w.get(this.addr);
      w.i64(-4096, -1);
      w.op("i64.and");
      w.set(tag.tag);
    }
    w.end();
    // Host address: that of the page, and the offset in it.
    w.get(this.addr);
    w.op("i32.wrap_i64");
    w.i32(4095);
    w.op("i32.and");
    w.get(tag ? tag.host : this.i32temp);
    w.op("i32.add");
    switch (name) {
      case "ld8u":
        w.op("i64.load8_u");
        break;
      case "ld8s":
        w.op("i64.load8_s");
        break;
      case "ld16u":
        w.op("i64.load16_u");
        break;
      case "ld16s":
        w.op("i64.load16_s");
        break;
      case "ld32u":
        w.op("i64.load32_u");
        break;
      case "ld32s":
        w.op("i64.load32_s");
        break;
      case "ld64":
        w.op("i64.load");
        break;
      case "ldv":
        w.op("v128.load");
        this.popVector(d);
        return;
      case "st8":
      case "st16":
      case "st32":
        this.pushSlot(this.operandOffset.b);
        w.op(name === "st8" ? "i64.store8" : name === "st16" ? "i64.store16" : "i64.store32");
        return;
      case "st64":
        this.pushSlot(this.operandOffset.b);
        w.op("i64.store");
        return;
      case "stv":
        this.pushVector(this.operandOffset.b);
        w.op("v128.store");
        return;
    }
    this.popSlot(d);
  }
}

/**
 * The look-up behind a page tag that misses: (env, address, bytes, MMU index) -> host address of the page, 0 = the access
 * is for tier 0. First the TLB entry, then the runtime.
 */
export function emitTlbLookup(L: EnvLayout, probe: number, access: 0 | 1): Uint8Array {
  const w = new FunctionWriter(["i32", "i64", "i32", "i32"]);
  const entry = w.local("i32");
  w.get(1);
  w.i64n(7);
  w.op("i64.shr_u");
  w.op("i32.wrap_i64");
  w.i32(0x7fe0);
  w.op("i32.and");
  w.get(3);
  w.i32(Math.log2(L.tlbMmuSize));
  w.op("i32.shl");
  w.op("i32.add");
  w.get(0);
  w.op("i32.add");
  w.tee(entry);
  w.op("i64.load", L.tlb + (access ? 8 : 0));
  w.get(1);
  w.get(2);
  w.i32(1);
  w.op("i32.sub");
  w.op("i64.extend_i32_u");
  w.op("i64.add");
  w.i64n(-4096);
  w.op("i64.and");
  w.op("i64.eq");
  w.if("none", true);
  w.get(entry);
  w.op("i32.load", L.tlb + 24);
  w.return();
  w.end();
  w.get(1);
  w.get(2);
  w.get(3);
  w.i32(access);
  w.call(probe);
  return w.finish();
}

function edges(...list: Edge[]): number[] {
  return list.map((e) => e.node).filter((n) => n >= 0);
}
