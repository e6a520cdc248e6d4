/** Tier 1: hot regions compiled to WebAssembly, their functions in the shared table, and how they die. */
import type { Block, CodeUser } from "../code-cache.js";
import type { TcgEngine } from "../engine.js";
import type { FpHelperIndexes } from "../fp.js";
import { OPS } from "../ir/ops.js";
import { JC_BITS } from "../map.js";
import type { EnvLayout } from "../target.js";
import { HELPER_TYPE, Jc, REGION_TYPE, Site } from "../tier0.js";
import { printWasm } from "../wasm/print.js";
import { ModuleWriter } from "../wasm/writer.js";
import { emitRegion, emitTlbLookup, type SiteInfo } from "./emit.js";
import { growRegion, type Region } from "./region.js";

/** A compiled region. */
class Compiled implements CodeUser {
  valid = true;
  /** Table index, 0 until the module is there. */
  func = 0;
  /** List of the places it relies on, 0 = none. */
  map = 0;
  constructor(
    readonly block: Block,
    readonly region: Region,
  ) {}
}

/** Operations whose immediate's upper half is a helper's table index. */
const CALLS = new Set(
  OPS.filter(
    (o) =>
      o.special && /^(callp|callcc|fhelper|fvhelper|vcallp|fv3helper|vcall3p)$|^v(f(min|max|cmp|sqrt|round)|cvt)/.test(o.name),
  ).map((o) => o.code),
);
/** Regions of one module, and how many turns a region waits for others. */
const BATCH = 24;
const BATCH_TURNS = 6;
/**
 * A block is compiled when the time it has taken in tier 0 is about what its compilation takes: measured by the instructions
 * it has run. The other two bound the number of its executions.
 */
const HOT_INSNS = 60_000;
const HOT_LEAST = 500;
const HOT_MOST = 20_000;
const LIMITS = { maxNodes: 40, maxInsns: 300 };

export class Tier1 {
  /** Executions of a block in tier 0 before it is compiled, the same for all; undefined = by HOT_INSNS. */
  readonly threshold: number | undefined;
  private readonly compiled = new Map<Block, Compiled>();
  private readonly free: number[] = [];
  private nextFunc: number;
  private readonly queue: Compiled[] = [];
  private age = 0;
  readonly stats = { regions: 0, bytes: 0, nodes: 0, insns: 0, failed: 0, compileMs: 0, modules: 0 };

  constructor(
    private readonly engine: TcgEngine,
    private readonly L: EnvLayout,
    private readonly fp: FpHelperIndexes,
    firstIndex: number,
    readonly enabled: boolean,
    /** Compile on the spot: runs are then the same every time (`-icount`, tests). */
    private readonly synchronous: boolean,
    threshold = synchronous ? 200 : undefined,
  ) {
    this.nextFunc = firstIndex;
    this.threshold = threshold;
  }

  /** Executions in tier 0 after which a block of so many instructions is compiled. */
  thresholdOf(insns: number): number {
    return this.threshold ?? Math.min(HOT_MOST, Math.max(HOT_LEAST, Math.floor(HOT_INSNS / insns)));
  }

  /** The function of a block's region, 0 = none. */
  find(block: Block): number {
    const c = this.compiled.get(block);
    return c?.valid ? c.func : 0;
  }

  /** The code cache has dropped a region: some of its code was written. */
  dropped(region: CodeUser): void {
    if (!(region instanceof Compiled) || this.compiled.get(region.block) !== region) return;
    this.drop(region.block, region);
    if (region.block.valid) this.engine.recount(region.block);
  }

  private drop(block: Block, c: Compiled): void {
    this.compiled.delete(block);
    if (block.valid) this.engine.cache.setRegion(block, 0, 0);
    c.valid = false;
    if (!c.func) return;
    this.engine.table.set(c.func, null);
    this.free.push(c.func);
  }

  /** Compiles the region that begins at a hot block. @returns whether there is a function now */
  compile(block: Block, env: number): boolean {
    const known = this.compiled.get(block);
    if (known?.valid) {
      if (known.func) this.enter(block, env);
      return true;
    }
    const e = this.engine;
    const probe = e.runtime.codeProbe as (lo: number, hi: number) => number;
    const region = growRegion(
      block,
      {
        frontEnd: e.frontend,
        builder: e.irBuilder,
        probe: (lo, hi) => probe(lo, hi) >>> 0,
        warm: (host, lo, hi) => {
          const b = e.cache.find(host, lo, hi, block.flags, block.base);
          // What has a region of its own is reached through it, not copied.
          if (!b || (b !== block && this.compiled.has(b))) return undefined;
          return e.executions(b) >= this.thresholdOf(b.insns) / 8 ? b : undefined;
        },
        source: (host) => e.sourceAt(host),
        executions: (b) => e.executions(b),
        targets: (b) => e.targets(b),
      },
      LIMITS,
    );
    if (!region) {
      this.stats.failed++;
      return false;
    }
    const c = new Compiled(block, region);
    this.compiled.set(block, c);
    e.cache.addRegion(region.pages, c);
    this.queue.push(c);
    this.age = 0;
    if (this.synchronous) this.emit();
    return true;
  }

  /** Called at the end of each turn: waiting regions become one module once there are enough of them or they are old. */
  endTurn(): void {
    if (this.queue.length === 0) return;
    if (this.queue.length >= BATCH || ++this.age >= BATCH_TURNS) this.emit();
  }

  /** One module of all waiting regions. */
  private emit(): void {
    const e = this.engine;
    const batch = this.queue.splice(0).filter((c) => c.valid);
    if (batch.length === 0) return;
    const m = new ModuleWriter(e.ram.u8.length / 65536, e.shared, false);
    const imports: Record<string, unknown> = { probe: e.runtime.probe };
    const importIndex = new Map<number, number>();
    const probeIndex = m.import("runtime", "probe", { params: ["i64", "i32", "i32", "i32"], results: ["i32"] });
    const helpers = new Set<number>(Object.values(this.fp));
    for (const c of batch) for (const t of helpersUsed(c.region)) helpers.add(t);
    for (const t of helpers) {
      importIndex.set(t, m.import("runtime", `h${t}`, HELPER_TYPE));
      imports[`h${t}`] = e.table.get(t);
    }
    const lookup: [number, number] = [m.importCount, m.importCount + 1];
    for (const access of [0, 1] as const)
      m.add(
        { params: ["i32", "i64", "i32", "i32"], results: ["i32"] },
        emitTlbLookup(this.L, probeIndex, access),
        undefined,
        access ? "tlb-write" : "tlb-read",
      );
    let full = false;
    const allocate = (bytes: number): number => {
      const at = e.cache.allocate(bytes);
      if (!at) full = true;
      return at;
    };
    for (const [n, c] of batch.entries()) {
      const { region } = c;
      const siteAt = new Map<string, number>();
      const body = emitRegion(region, {
        L: this.L,
        fp: this.fp,
        module: m,
        lookup,
        probe: probeIndex,
        helper: (t) => importIndex.get(t)!,
        site: (info) => {
          const key = `${info.pcHi}:${info.pcLo}:${info.budgetBack}`;
          let at = siteAt.get(key);
          if (at === undefined) {
            at = allocate(Site.size);
            siteAt.set(key, at);
            if (at) this.writeSite(at, info);
          }
          return at;
        },
      });
      m.add(REGION_TYPE, body, `f${n}`, `region ${hexPc(region.nodes[0]!)}`);
      e.trace.log("out_wasm", () => regionListing(region, body.code));
      if (region.mapping.length > 1) {
        c.map = allocate(4 + 12 * region.mapping.length);
        if (c.map) {
          e.ram.u32[c.map >>> 2] = region.mapping.length;
          for (const [i, p] of region.mapping.entries()) e.ram.u32.set([p.pcLo, p.pcHi, p.host], (c.map >>> 2) + 1 + i * 3);
        }
      }
      this.stats.regions++;
      this.stats.nodes += region.nodes.length;
      for (const node of region.nodes) this.stats.insns += node.insns;
    }
    if (full) {
      e.flushAll();
      return;
    }
    const bytes = m.finish();
    this.stats.modules++;
    this.stats.bytes += bytes.length;
    const install = (module: WebAssembly.Module) => {
      const instance = new WebAssembly.Instance(module, { env: { memory: e.ram.memory }, runtime: imports });
      for (const [n, c] of batch.entries()) {
        if (!c.valid || this.compiled.get(c.block) !== c) continue;
        const func = this.free.pop() ?? this.nextFunc++;
        if (func >= e.table.length) e.table.grow(Math.max(1024, e.table.length));
        e.table.set(func, instance.exports[`f${n}`]);
        c.func = func;
        e.cache.setRegion(c.block, func, c.map);
        for (let i = 0; i < e.cpus; i++) this.enter(c.block, e.envOf(i));
      }
    };
    if (this.synchronous) {
      const started = e.now();
      install(new WebAssembly.Module(bytes));
      this.stats.compileMs += e.now() - started;
      return;
    }
    this.pending++;
    WebAssembly.compile(bytes).then(
      (module) => {
        this.pending--;
        install(module);
      },
      (error) => {
        this.pending--;
        this.onError(error);
      },
    );
  }

  private writeSite(at: number, info: SiteInfo): void {
    const w = at >>> 2;
    const i32 = this.engine.ram.i32;
    i32[w] = info.pcLo;
    i32[w + 1] = info.pcHi;
    i32[w + 2] = info.budgetBack;
    i32[w + 3] = 0;
  }

  /** Regions being compiled on the host's other threads. */
  pending = 0;
  /** A module was refused: a bug of ours. */
  onError: (error: unknown) => void = () => {};

  /** The block has a function now: its jump cache entry is to be filled again. */
  private enter(block: Block, env: number): void {
    const u32 = this.engine.ram.u32;
    const hash = (block.pcLo ^ ((block.pcLo >>> JC_BITS) | (block.pcHi << (32 - JC_BITS)))) & ((1 << JC_BITS) - 1);
    const at = (env + this.L.jc + hash * Jc.size) >>> 2;
    // This very block's entry (the same PC is other code in another segment, mode or address space) becomes stale, so that
    // `refill` checks what the region relies on before it is entered.
    if (u32[at + Jc.block / 4] === block.header) u32[at + Jc.gen / 4] = u32[at + Jc.gen / 4]! - 1;
  }

  flush(): void {
    this.queue.length = 0;
    for (const [block, c] of [...this.compiled]) this.drop(block, c);
  }
}

function hexPc(n: { pcLo: number; pcHi: number }): string {
  return ((BigInt(n.pcHi >>> 0) << 32n) | BigInt(n.pcLo >>> 0)).toString(16).padStart(8, "0");
}

/** A region's function for `-d out_wasm`. */
export function regionListing(region: Region, body: Uint8Array): string {
  const insns = region.nodes.reduce((sum, n) => sum + n.insns, 0);
  const w = printWasm(body);
  const head = `OUT: region at 0x${hexPc(region.nodes[0]!)}: ${region.nodes.length} blocks, ${insns} guest instructions, ${w.instructions} WebAssembly instructions, ${body.length} bytes`;
  const blocks = region.nodes.map((n) => `  block ${n.index} at 0x${hexPc(n)}: ${n.insns} instructions, ${n.records} records`);
  return [head, ...blocks, `locals: ${w.locals.join(", ")}`, ...w.lines, ""].join("\n");
}

function helpersUsed(region: Region): Set<number> {
  const out = new Set<number>();
  for (const n of region.nodes)
    for (let i = 0; i < n.records; i++) if (CALLS.has(n.words[i * 4]! & 0xffff)) out.add(n.words[i * 4 + 3]!);
  return out;
}
