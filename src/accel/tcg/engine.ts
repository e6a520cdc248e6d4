/**
 * The run loop of TCG: dispatches between tier 0 and tier 1, translates what is missing, delivers faults, drops code that
 * is written. One engine serves all vCPUs of a machine, which take turns on its thread.
 */
import type { Trace } from "../../base/trace.js";
import type { GuestRam } from "../../memory/ram.js";
import { Block, CodeCache } from "./code-cache.js";
import type { FpHelperIndexes } from "./fp.js";
import { IrBuilder, Op } from "./ir/builder.js";
import { printIr } from "./ir/print.js";
import {
  BH_LINK_JMP,
  BH_LINK_JNZ,
  BH_SIZE,
  BH_TARGET_COUNT,
  BH_TARGETS,
  CODE_PAGES,
  CPU_COUNT,
  ENVS,
  LINK_NEVER,
  SCRATCH_BLOCK,
} from "./map.js";
import { joinRecords } from "./sequences.js";
import type { CodeSource, EnvLayout, FrontEnd } from "./target.js";
import { BlockHeader, buildTier0, Exit, Site } from "./tier0.js";
import { Tier1 } from "./tier1/tier1.js";

/** What the guest CPU's runtime exports (docs/helpers.md); the engine needs these, the rest are helpers. */
export interface RuntimeExports {
  setEnv(base: number): void;
  resetCpu(): void;
  deliverException(): void;
  serviceEvents(): number;
  codeHost(offset: number): number;
  codePhys(offset: number): number;
  protectCode(hostPage: number): void;
  unprotectCode(hostPage: number): void;
  flushTlbAll(): void;
  [name: string]: unknown;
}

/** What every guest CPU asks of its machine; a target's own bus adds to it. */
export interface PhysBus {
  /** Guest physical access to what is not plain memory, by address halves; size 1, 2 or 4, values little-endian. */
  physRead(low: number, high: number, size: number): number;
  physWrite(low: number, high: number, size: number, value: number): void;
}

/** What a target's host imports need of the engine. */
export interface EngineSite {
  /** The vCPU whose turn it is, and the address of its state. */
  cpu(): number;
  env(): number;
  readonly u32: Uint32Array;
  readonly trace: Trace;
}

/** Describes a guest architecture to the engine. */
export interface TcgTarget<Bus extends PhysBus = PhysBus> {
  readonly layout: EnvLayout;
  /** Offsets the fault path needs. */
  readonly ripExact: number;
  readonly cpuIndex: number;
  readonly excVector: number;
  frontEnd(helperIndex: (name: string) => number, builder: IrBuilder): FrontEnd;
  fpHelpers(helperIndex: (name: string) => number): FpHelperIndexes;
  /** What the runtime imports from "host" beyond unwind, codeWrite and the bus's two methods. */
  // biome-ignore lint/suspicious/noExplicitAny: imports have many shapes
  hostImports(bus: Bus, at: EngineSite): Record<string, (...args: any[]) => number | void>;
}

/** Thrown through WebAssembly frames to unwind to the run loop. Not Errors: no stack is captured. */
const UNWIND = { unwind: "fault" };
const RESTART = { unwind: "restart" };

/** Why a vCPU's turn ended. */
export type TurnEnd = "budget" | "halted" | "exit";

export class TcgEngine<Bus extends PhysBus = PhysBus> {
  readonly runtime: RuntimeExports;
  readonly cache: CodeCache;
  private readonly interp: (env: number, records: number) => number;
  private readonly frontEnd: FrontEnd;
  private readonly builder: IrBuilder;
  private readonly helpers = new Map<string, number>();
  readonly table: WebAssembly.Table;
  readonly tier1: Tier1;
  private readonly L: EnvLayout;
  private readonly u32: Uint32Array;
  private readonly i32: Int32Array;
  private readonly byHeader = new Map<number, Block>();
  private readonly source: PageSource;
  private env = ENVS;
  private cpu = 0;
  /** In `run`: the interpreter is executing IR records (a fault's place is in irPc). */
  private inCode = false;
  /** Where single instructions that are not kept go: one at a time. */
  private readonly scratchBlock = SCRATCH_BLOCK;
  readonly stats = { blocks: 0, translatedInsns: 0, misses: 0, faults: 0, smc: 0, siteBlocks: 0, unwinds: 0, insns: 0 };

  constructor(
    readonly ram: GuestRam,
    readonly target: TcgTarget<Bus>,
    runtimeModule: WebAssembly.Module,
    readonly cpus: number,
    readonly bus: Bus,
    readonly trace: Trace,
    readonly shared: boolean,
    /** `threshold`: runs of a block in tier 0 before it is compiled. */
    options: { tier1: boolean; synchronous?: boolean; threshold?: number } = { tier1: true, synchronous: true },
    /** Host milliseconds, for the compile time counter. */
    readonly now: () => number = () => 0,
  ) {
    this.L = target.layout;
    this.u32 = ram.u32;
    this.i32 = ram.i32;
    const pages = ram.u8.length / 65536;
    this.table = new WebAssembly.Table({ element: "anyfunc", initial: 1024 });
    const host = {
      unwind: () => {
        throw UNWIND;
      },
      physRead: (lo: number, hi: number, s: number) => bus.physRead(lo >>> 0, hi >>> 0, s),
      physWrite: (lo: number, hi: number, s: number, v: number) => bus.physWrite(lo >>> 0, hi >>> 0, s, v >>> 0),
      codeWrite: (at: number, size: number) => this.codeWrite(at >>> 0, size),
      ...target.hostImports(bus, { cpu: () => this.cpu, env: () => this.env, u32: ram.u32, trace }),
    };
    const instance = new WebAssembly.Instance(runtimeModule, {
      env: {
        memory: ram.memory,
        abort: () => {
          throw new Error("runtime abort");
        },
      },
      host,
    });
    this.runtime = instance.exports as unknown as RuntimeExports;
    let index = 1;
    for (const [name, value] of Object.entries(instance.exports)) {
      if (!name.startsWith("h_") || typeof value !== "function") continue;
      this.table.set(index, value);
      this.helpers.set(name, index++);
    }
    const helperIndex = (name: string): number => {
      const i = this.helpers.get(name);
      if (i === undefined) throw new Error(`no runtime helper ${name}`);
      return i;
    };
    this.builder = new IrBuilder(this.L);
    this.frontEnd = target.frontEnd(helperIndex, this.builder);
    const fp = target.fpHelpers(helperIndex);
    const interp = new WebAssembly.Instance(new WebAssembly.Module(buildTier0(this.L, pages, shared, fp)), {
      env: { memory: ram.memory, table: this.table },
      runtime: this.runtime as unknown as Record<string, unknown>,
    });
    this.interp = interp.exports.run as (env: number, records: number) => number;
    this.source = new PageSource(ram.u8, this.runtime, (lo, hi) => bus.physRead(lo, hi, 1));
    this.cache = new CodeCache(
      ram.u8,
      ram.u32,
      (p) => this.runtime.protectCode(p),
      (p) => this.runtime.unprotectCode(p),
      (region) => {
        if (region) this.tier1.dropped(region);
        this.bumpGenerations();
      },
    );
    this.tier1 = new Tier1(this, this.L, fp, index, options.tier1, options.synchronous ?? false, options.threshold);
    this.u32[CPU_COUNT >>> 2] = cpus;
    for (let i = 0; i < cpus; i++) {
      this.select(i);
      this.u32[(this.env + target.cpuIndex) >>> 2] = i;
      this.runtime.resetCpu();
    }
    this.select(0);
  }

  helperIndex(name: string): number {
    return this.helpers.get(name) ?? 0;
  }

  private helperName(index: number): string | undefined {
    for (const [name, i] of this.helpers) if (i === index) return name;
    return undefined;
  }

  get frontend(): FrontEnd {
    return this.frontEnd;
  }

  get irBuilder(): IrBuilder {
    return this.builder;
  }

  /** Address of a vCPU's state. */
  envOf(cpu: number): number {
    return ENVS + cpu * this.L.envSize;
  }

  /** Chooses the vCPU whose state the runtime works on. */
  select(cpu: number): void {
    this.cpu = cpu;
    this.env = this.envOf(cpu);
    this.runtime.setEnv(this.env);
  }

  /** The vCPU chosen last. */
  get selected(): number {
    return this.cpu;
  }

  /** Sets event bits of a vCPU: seen at its next block. */
  signal(cpu: number, bits: number): void {
    this.u32[(this.envOf(cpu) + this.L.events) >>> 2]! |= bits;
  }

  clear(cpu: number, bits: number): void {
    this.u32[(this.envOf(cpu) + this.L.events) >>> 2]! &= ~bits;
  }

  private bumpGenerations(): void {
    for (let i = 0; i < this.cpus; i++) {
      const at = (this.envOf(i) + this.L.tlbGen) >>> 2;
      this.u32[at]!++;
      this.u32[at + 1]!++;
    }
  }

  /** A device wrote host bytes. */
  ramWritten(at: number, length: number): void {
    const u8 = this.ram.u8;
    for (let p = Math.floor(at / 4096); p * 4096 < at + length; p++)
      if (u8[CODE_PAGES + p]) {
        this.cache.invalidate(at, length);
        return;
      }
  }

  /** A store of the running vCPU is about to hit a page with code. */
  private codeWrite(at: number, size: number): void {
    if (this.inCode) {
      const header = this.u32[(this.env + this.L.curBlock) >>> 2]!;
      if (this.u32[(header + BlockHeader.insns) >>> 2]! > 1 && this.cache.hits(at, size, header)) {
        // The rest of the block is about to change: do this one instruction alone.
        this.stats.smc++;
        throw RESTART;
      }
    }
    this.cache.invalidate(at, size);
  }

  /**
   * Runs a vCPU for at most `budget` guest instructions.
   * @returns why it stopped; the instructions used are in `lastUsed`
   */
  lastUsed = 0;
  run(cpu: number, budget: number): TurnEnd {
    this.select(cpu);
    const env = this.env;
    const L = this.L;
    const budgetAt = (env + L.budget) >>> 2;
    this.i32[budgetAt] = budget;
    let start = 0;
    let end: TurnEnd | undefined;
    for (;;) {
      let code: number;
      try {
        this.inCode = true;
        code = this.interp(env, start);
        this.inCode = false;
        start = 0;
        switch (code) {
          case Exit.miss:
            start = this.fillJumpCache();
            break;
          case Exit.hot:
            this.hot();
            break;
          case Exit.site:
            start = this.siteBlock();
            break;
          case Exit.events:
          case Exit.done: {
            if (this.i32[budgetAt]! < 0) end = "budget";
            const r = this.runtime.serviceEvents();
            if (r === 1) {
              start = this.singleBlock();
              end = undefined;
            } else if (r === 2) end = "halted";
            else if (r === 3) end = "exit";
            break;
          }
        }
      } catch (e) {
        if (e !== UNWIND && e !== RESTART) {
          this.inCode = false;
          throw e;
        }
        start = this.unwound(e === RESTART);
      }
      if (end) {
        this.tier1.endTurn();
        this.lastUsed = budget - this.i32[budgetAt]!;
        this.stats.insns += this.lastUsed;
        return end;
      }
    }
  }

  /**
   * Runs the one instruction at the vCPU's PC, or delivers the fault it meets. Nothing translated is used or kept: the guest's
   * memory may have changed without the engine's knowledge.
   */
  step(cpu: number): void {
    this.select(cpu);
    let start = this.singleBlock();
    while (start) {
      try {
        this.inCode = true;
        this.interp(this.env, start);
        this.inCode = false;
        return;
      } catch (e) {
        if (e !== UNWIND && e !== RESTART) {
          this.inCode = false;
          throw e;
        }
        start = this.unwound(e === RESTART);
      }
    }
  }

  /** Calls a runtime function for a vCPU; a guest fault that it raises is delivered. */
  deliver(cpu: number, call: () => void): void {
    this.select(cpu);
    try {
      call();
    } catch (e) {
      if (e !== UNWIND) throw e;
      this.unwound(false);
    }
  }

  /** After an unwind: puts RIP where it belongs and delivers the exception. @returns a block to run alone, or 0 */
  private unwound(restart: boolean): number {
    const env = this.env;
    const L = this.L;
    this.stats.unwinds++;
    const exactAt = (env + this.target.ripExact) >>> 2;
    if (this.inCode && !this.u32[exactAt]) this.locate();
    this.inCode = false;
    if (restart) return this.singleBlock();
    this.stats.faults++;
    if (this.trace.on("int")) {
      const v = this.i32[(env + this.target.excVector) >>> 2]!;
      const pc = (this.u32[(env + L.pc + 4) >>> 2]! * 2 ** 32 + this.u32[(env + L.pc) >>> 2]!).toString(16);
      const error = this.u32[(env + this.target.excVector + 4) >>> 2]!.toString(16);
      this.trace.log("int", `cpu ${this.cpu}: v=${v.toString(16).padStart(2, "0")} e=${error} pc=${pc}`);
    }
    for (let tries = 0; tries < 8; tries++) {
      try {
        this.runtime.deliverException();
        break;
      } catch (e) {
        if (e !== UNWIND) throw e;
      }
    }
    return 0;
  }

  /** Writes RIP and gives back the budget of instructions not executed, from the IR record that was running. */
  private locate(): void {
    const env = this.env;
    const L = this.L;
    const header = this.u32[(env + L.curBlock) >>> 2]!;
    if (!header) return;
    const record = (this.u32[(env + L.irPc) >>> 2]! - header - BlockHeader.size) >> 4;
    const insns = this.u32[(header + BlockHeader.insns) >>> 2]!;
    const records = this.u32[(header + BlockHeader.records) >>> 2]!;
    const side = header + BlockHeader.size + records * 16;
    let n = 0;
    while (n + 1 < insns && this.ram.u16[(side + (n + 1) * 4) >>> 1]! <= record) n++;
    const offset = this.ram.u16[(side + n * 4 + 2) >>> 1]!;
    const lo = this.u32[(header + BlockHeader.pc) >>> 2]! + offset;
    this.u32[(env + L.pc) >>> 2] = lo;
    this.u32[(env + L.pc + 4) >>> 2] = this.u32[(header + BlockHeader.pc + 4) >>> 2]! + (lo >= 2 ** 32 ? 1 : 0);
    this.i32[(env + L.budget) >>> 2]! += insns - n;
  }

  /** Finds or makes the block at the vCPU's PC and enters it into the jump cache. May unwind with a fetch fault. */
  private fillJumpCache(): number {
    this.stats.misses++;
    const host = this.runtime.codeHost(0) >>> 0;
    if (!host) return this.uncachedBlock();
    this.translate(host, 64, true);
    return 0;
  }

  /** Code outside RAM and ROM: translated anew each time, one instruction. */
  private uncachedBlock(): number {
    return this.translate(0, 1, false, true).header;
  }

  /** The one instruction at the PC, as a block of its own. */
  private singleBlock(): number {
    try {
      const host = this.runtime.codeHost(0) >>> 0;
      return this.translate(host, 1, false, true).header;
    } catch (e) {
      if (e !== UNWIND) throw e;
      this.unwound(false);
      return 0;
    }
  }

  private translate(host: number, maxInsns: number, keep: boolean, scratch = false): Block {
    const env = this.env;
    const L = this.L;
    const u32 = this.u32;
    const pcLo = u32[(env + L.pc) >>> 2]! | 0;
    const pcHi = u32[(env + L.pc + 4) >>> 2]! | 0;
    const flags = u32[(env + L.flags) >>> 2]!;
    const base = u32[(env + L.codeBase) >>> 2]!;
    const b = this.builder;
    this.source.begin(host, b);
    const t = this.frontEnd.translate(b, this.source, pcLo, pcHi, flags, maxInsns);
    const bytes = BlockHeader.size + b.length * 16 + b.insns * 4;
    let at = scratch ? this.scratchBlock : this.cache.allocate(bytes);
    if (!at) {
      this.flushAll();
      at = this.cache.allocate(bytes);
    }
    const w = at >>> 2;
    u32[w] = t.insns;
    this.i32[w + 1] = t.simple && this.tier1.enabled && keep ? this.tier1.thresholdOf(t.insns) : 0x7fffffff;
    u32[w + 2] = host;
    u32[w + 3] = b.length;
    u32[w + 4] = pcLo;
    u32[w + 5] = pcHi;
    u32[w + 6] = flags;
    u32[w + 7] = base;
    u32[w + 8] = 0;
    u32[w + 9] = 0;
    u32[w + 10] = 0;
    u32[w + 11] = this.source.secondPage;
    u32.fill(0, w + BH_TARGETS / 4, w + BH_SIZE / 4);
    this.i32.set(b.words.subarray(0, b.length * 4), w + BlockHeader.size / 4);
    joinRecords(this.i32, w + BlockHeader.size / 4, b.length);
    this.linkable(b, w, pcLo, pcHi, !scratch && base % 4096 === 0);
    const side = (at + BlockHeader.size + b.length * 16) >>> 1;
    for (let i = 0; i < b.insns; i++) {
      this.ram.u16[side + i * 2] = b.insnRecord[i]!;
      this.ram.u16[side + i * 2 + 1] = b.insnOffset[i]!;
    }
    const block = new Block(host, this.source.secondPage, pcLo, pcHi, flags, base, t.insns, t.size, t.simple, t.end, b.length);
    block.header = at;
    this.stats.blocks++;
    this.stats.translatedInsns += t.insns;
    if (keep) {
      this.cache.add(block);
      this.byHeader.set(at, block);
    }
    if (this.trace.on("in_asm")) this.trace.log("in_asm", () => this.listing(block));
    if (this.trace.on("op"))
      this.trace.log("op", () => `OP:\n${printIr(b.words, b.length, { ...L, helperName: (i) => this.helperName(i) })}\n`);
    return block;
  }

  /** Says which jumps of the block just translated may be linked: those that stay in its page (a code base that begins within one makes PCs no guide). */
  private linkable(b: IrBuilder, header: number, pcLo: number, pcHi: number, allowed: boolean): void {
    const links = { [Op.jmp]: header + BH_LINK_JMP / 4, [Op.jnz]: header + BH_LINK_JNZ / 4 };
    for (let i = 0; i < b.length; i++) {
      const link = links[b.words[i * 4]! & 0xffff];
      if (link === undefined) continue;
      const samePage = b.words[i * 4 + 3] === pcHi && b.words[i * 4 + 2]! >> 12 === pcLo >> 12;
      if (!allowed || !samePage) this.u32[link] = LINK_NEVER;
    }
  }

  /** The guest code of the block just translated, for `-d in_asm`. */
  private listing(block: Block): string {
    const out = ["----------------", "IN:"];
    const pc = (BigInt(block.pcHi >>> 0) << 32n) | BigInt(block.pcLo >>> 0);
    const linear = pc + BigInt(block.base);
    const peek = { byte: (o: number) => this.source.peek(o) };
    const b = this.builder;
    for (let i = 0; i < b.insns; i++) {
      const offset = b.insnOffset[i]!;
      const at = linear + BigInt(offset);
      const end = i + 1 < b.insns ? b.insnOffset[i + 1]! : block.size;
      const text = this.frontEnd.disassemble?.(peek, offset, at, block.flags).text ?? "";
      const bytes: string[] = [];
      for (let o = offset; o < end; o++) bytes.push(peek.byte(o).toString(16).padStart(2, "0"));
      out.push(`0x${at.toString(16).padStart(8, "0")}:  ${bytes.join(" ").padEnd(24)} ${text}`.trimEnd());
    }
    return `${out.join("\n")}\n`;
  }

  /** Counters that translated code keeps, over all vCPUs. */
  executed(): { tier0: number; regionEntries: number; siteExits: number } {
    const sum = (offset: number) => {
      let n = 0;
      for (let i = 0; i < this.cpus; i++) {
        const at = (this.envOf(i) + offset) >>> 2;
        n += this.u32[at]! + this.u32[at + 1]! * 2 ** 32;
      }
      return n;
    };
    return { tier0: sum(this.L.countTier0), regionEntries: sum(this.L.countRegions), siteExits: sum(this.L.countSites) };
  }

  /** The block in CUR_BLOCK is hot. */
  private hot(): void {
    const header = this.u32[(this.env + this.L.curBlock) >>> 2]!;
    const block = this.byHeader.get(header);
    if (!block?.valid) {
      this.i32[(header + BlockHeader.counter) >>> 2] = 0x7fffffff;
      return;
    }
    if (!this.tier1.compile(block, this.env)) this.i32[(header + BlockHeader.counter) >>> 2] = 0x7fffffff;
  }

  /** How often a block has run in tier 0. */
  executions(b: Block): number {
    if (this.u32[(b.header + BlockHeader.func) >>> 2]) return this.tier1.thresholdOf(b.insns);
    return this.tier1.thresholdOf(b.insns) - this.i32[(b.header + BlockHeader.counter) >>> 2]!;
  }

  /** Where the indirect jump at a block's end has gone lately: PC halves. */
  targets(b: Block): [number, number][] {
    const out: [number, number][] = [];
    for (let i = 0; i < BH_TARGET_COUNT; i++) {
      const at = (b.header + BH_TARGETS + i * 8) >>> 2;
      if (this.u32[at] || this.u32[at + 1]) out.push([this.i32[at]!, this.i32[at + 1]!]);
    }
    return out;
  }

  /** The block counts from the beginning again. */
  recount(b: Block): void {
    this.i32[(b.header + BlockHeader.counter) >>> 2] = this.tier1.thresholdOf(b.insns);
  }

  /** Code bytes at a host address, for translating blocks that are not at the PC. */
  sourceAt(host: number): CodeSource {
    this.source.begin(host, this.builder);
    return this.source;
  }

  /** Tier 1 left at a site seen for the first time: its instruction alone. */
  private siteBlock(): number {
    this.stats.siteBlocks++;
    const site = this.u32[(this.env + this.L.exitSite) >>> 2]!;
    const host = this.runtime.codeHost(0) >>> 0;
    const before = this.cache.flushes;
    const b = this.translate(host, 1, false);
    if (this.cache.flushes === before && host) this.u32[(site + Site.block) >>> 2] = b.header;
    return b.header;
  }

  /** Drops all translated code. */
  flushAll(): void {
    this.cache.flush();
    this.byHeader.clear();
    this.tier1.flush();
    this.bumpGenerations();
  }

  /** The memory map changed: every cached translation of addresses is stale. */
  mapChanged(): void {
    this.runtime.flushTlbAll();
  }
}

/** Code bytes at the vCPU's PC: the first page by host address, the second on demand. */
class PageSource implements CodeSource {
  crossed = false;
  secondPage = 0;
  private host = 0;
  private first = 0;
  private builder: IrBuilder | undefined;

  constructor(
    private readonly u8: Uint8Array,
    private readonly runtime: RuntimeExports,
    private readonly physByte: (lo: number, hi: number) => number,
  ) {}

  begin(host: number, builder: IrBuilder): void {
    this.host = host;
    this.first = host ? 4096 - (host % 4096) : 0;
    this.secondPage = 0;
    this.crossed = false;
    this.builder = builder;
  }

  fits(offset: number): boolean {
    return offset < this.first;
  }

  byte(offset: number): number {
    if (offset < this.first) return this.u8[this.host + offset]!;
    if (this.host && this.builder!.insns > 0) {
      this.crossed = true;
      return 0;
    }
    if (this.host) {
      if (!this.secondPage) this.secondPage = this.runtime.codeHost(this.first) >>> 0;
      if (this.secondPage) return this.u8[this.secondPage + offset - this.first]!;
    }
    const phys = this.runtime.codePhys(offset);
    return this.physByte(phys % 2 ** 32, Math.floor(phys / 2 ** 32));
  }

  /** A byte of the block just translated, without faults. Code outside RAM and ROM is not read again: 0. */
  peek(offset: number): number {
    if (offset < this.first) return this.u8[this.host + offset]!;
    return this.secondPage ? this.u8[this.secondPage + offset - this.first]! : 0;
  }
}
