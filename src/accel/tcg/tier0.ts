/**
 * Tier 0: one WebAssembly function that dispatches blocks and interprets IR records, generated from the op table. State is
 * in memory: every slot is loaded and stored where it lives, so the state is exact at every record.
 */
import type { FpHelperIndexes } from "./fp.js";
import { OPS, type OpDef } from "./ir/ops.js";
import {
  BH_BASE,
  BH_COUNTER,
  BH_FLAGS,
  BH_FUNC,
  BH_HOST,
  BH_HOST2,
  BH_INSNS,
  BH_MAP,
  BH_NEXT,
  BH_PC,
  BH_RECORDS,
  BH_SIZE,
  JC_BITS,
  LINK_NEVER,
} from "./map.js";
import { SEQUENCES } from "./sequences.js";
import type { EnvLayout } from "./target.js";
import { RECORD_BYTES, type RecordContext, recordLowering } from "./tier0-records.js";
import type { ValType } from "./wasm/opcodes.js";
import { FunctionWriter, ModuleWriter } from "./wasm/writer.js";

/** Why `run` returned. */
export const Exit = {
  /** EVENTS is not zero or the budget is used up. */
  events: 1,
  /** No block is known for the state's PC. */
  miss: 2,
  /** The block in CUR_BLOCK has become hot (it has not run this time). */
  hot: 3,
  /** Tier 1 left at the site in EXIT_SITE, which has no single-instruction block yet. */
  site: 4,
  /** The records given to `run` are done (single instruction). */
  done: 5,
} as const;

/** Fields of a block's header (map.ts). */
export const BlockHeader = {
  insns: BH_INSNS,
  counter: BH_COUNTER,
  host: BH_HOST,
  records: BH_RECORDS,
  pc: BH_PC,
  flags: BH_FLAGS,
  base: BH_BASE,
  next: BH_NEXT,
  func: BH_FUNC,
  map: BH_MAP,
  host2: BH_HOST2,
  size: BH_SIZE,
} as const;

/** A tier 1 exit site in memory. */
export const Site = { pc: 0, budgetBack: 8, block: 12, size: 16 } as const;

/** Jump cache entry. */
export const Jc = { pc: 0, flags: 8, base: 12, gen: 16, block: 20, func: 24, size: 32 } as const;

/** Runtime functions the interpreter calls, by the name of the import. */
export const TIER0_IMPORTS = {
  slowLoad: { params: ["i64", "i32", "i32"], results: ["i64"] },
  slowStore: { params: ["i64", "i64", "i32", "i32"], results: [] },
  raise: { params: ["i32", "i32"], results: [] },
  /** Fills the jump cache for the state's PC from the blocks there are; 0 = none. May raise a fetch fault. */
  refill: { params: [], results: ["i32"] },
} as const;

/** Type of a region's function: env -> 0 = continue at PC, 1 = left at EXIT_SITE, else the function to call next. */
export const REGION_TYPE = { params: ["i32"] as ValType[], results: ["i32"] as ValType[] };
/** Type of a helper. */
export const HELPER_TYPE = { params: ["i64", "i64", "i32"] as ValType[], results: ["i64"] as ValType[] };

/** Emits the hash of a PC into a jump cache entry's address: needs the PC (i64) in a local. */
export function emitJcAddress(w: FunctionWriter, L: EnvLayout, env: number, pc: number): void {
  w.get(pc);
  w.get(pc);
  w.i64n(JC_BITS);
  w.op("i64.shr_u");
  w.op("i64.xor");
  w.op("i32.wrap_i64");
  w.i32((1 << JC_BITS) - 1);
  w.op("i32.and");
  w.i32(5);
  w.op("i32.shl");
  w.get(env);
  w.op("i32.add");
}

/** Pushes 1 if the jump cache entry at local `jc` (plus L.jc) matches the PC in `pc` and the current mode. */
export function emitJcMatch(w: FunctionWriter, L: EnvLayout, env: number, pc: number, jc: number): void {
  w.get(jc);
  w.op("i64.load", L.jc + Jc.pc);
  w.get(pc);
  w.op("i64.eq");
  for (const [field, state] of [
    [Jc.flags, L.flags],
    [Jc.base, L.codeBase],
    [Jc.gen, L.tlbGen],
  ] as const) {
    w.get(jc);
    w.op("i32.load", L.jc + field);
    w.get(env);
    if (field === Jc.gen) {
      // The generation of the PC's half of the address space.
      w.get(pc);
      w.i64n(63);
      w.op("i64.shr_u");
      w.op("i32.wrap_i64");
      if (L.upperGib) {
        w.get(pc);
        w.i64n(30);
        w.op("i64.shr_u");
        w.i64n(3);
        w.op("i64.eq");
        w.op("i32.or");
      }
      w.i32(2);
      w.op("i32.shl");
      w.op("i32.add");
    }
    w.op("i32.load", state);
    w.op("i32.eq");
    w.op("i32.and");
  }
}

/** Builds the module: exports `run(env, records): exit`. `records` = 0 dispatches at the state's PC. */
export function buildTier0(L: EnvLayout, memoryPages: number, shared: boolean, fpHelpers: FpHelperIndexes): Uint8Array {
  const m = new ModuleWriter(memoryPages, shared);
  const imports: Record<string, number> = {};
  for (const [name, t] of Object.entries(TIER0_IMPORTS))
    imports[name] = m.import("runtime", name, t as unknown as { params: ValType[]; results: ValType[] });
  const helperType = m.type(HELPER_TYPE);
  const regionType = m.type(REGION_TYPE);
  const lowering = {
    L,
    fpHelpers,
    helperType,
    slowLoad: imports.slowLoad!,
    slowStore: imports.slowStore!,
    raise: imports.raise!,
  };
  const rare = m.add({ params: ["i32", "i32"], results: [] }, rareRecords(lowering), undefined, "rare-records");
  const w = new FunctionWriter(["i32", "i32"]);
  const env = 0;
  const pc = w.local("i32");
  const t32 = w.local("i32");
  const jc = w.local("i32");
  const single = w.local("i32");
  const addr = w.local("i64");
  /** The block a jump is linked to, 0 = to be looked up; then the header field that will hold it, 0 = none. */
  const linked = w.local("i32");
  const link = w.local("i32");

  /** Adds one (or a local) to a counter. */
  const bump = (counter: number, by = -1) => {
    w.get(env);
    w.get(env);
    w.op("i64.load", counter);
    if (by < 0) w.i64n(1);
    else {
      w.get(by);
      w.op("i64.extend_i32_u");
    }
    w.op("i64.add");
    w.op("i64.store", counter);
  };
  w.get(1);
  w.tee(pc);
  w.set(single);
  const dispatch = w.loop();
  const entered = w.block();
  // A given record address skips the look-up.
  w.get(pc);
  w.op("i32.eqz");
  w.if();
  {
    w.get(single);
    w.if();
    w.i32(Exit.done);
    w.return();
    w.end();
    w.get(env);
    w.op("i64.load", L.events);
    w.i64n(0);
    w.op("i64.ne");
    w.get(env);
    w.op("i32.load", L.budget);
    w.i32(0);
    w.op("i32.lt_s");
    w.op("i32.or");
    w.if();
    w.i32(Exit.events);
    w.return();
    w.end();
    // A linked block with the mode at hand and without a region is entered at once.
    const looked = w.block();
    w.get(linked);
    w.if();
    w.get(linked);
    w.tee(pc);
    w.op("i32.load", BlockHeader.flags);
    w.get(env);
    w.op("i32.load", L.flags);
    w.op("i32.eq");
    w.get(pc);
    w.op("i32.load", BlockHeader.func);
    w.op("i32.eqz");
    w.op("i32.and");
    w.get(pc);
    w.op("i64.load", BlockHeader.pc);
    w.get(env);
    w.op("i64.load", L.pc);
    w.op("i64.eq");
    w.op("i32.and");
    w.i32(0);
    w.set(linked);
    w.brIf(looked);
    w.i32(0);
    w.set(pc);
    w.end();
    w.get(env);
    w.op("i64.load", L.pc);
    w.set(addr);
    emitJcAddress(w, L, env, addr);
    w.set(jc);
    emitJcMatch(w, L, env, addr, jc);
    w.op("i32.eqz");
    w.if();
    // A fetch fault is reported at the state's PC, not in a block.
    w.get(env);
    w.i32(0);
    w.op("i32.store", L.curBlock);
    w.call(imports.refill!);
    w.op("i32.eqz");
    w.if();
    w.i32(Exit.miss);
    w.return();
    w.end();
    w.end();
    w.get(jc);
    w.op("i32.load", L.jc + Jc.func);
    w.tee(t32);
    w.if();
    {
      w.i32(0);
      w.set(link);
      // Region after region: each returns 0 (look the PC up), 1 (left at a site) or the next one's index.
      const chain = w.loop();
      bump(L.countRegions);
      w.get(env);
      w.get(t32);
      w.callIndirect(regionType);
      w.tee(t32);
      w.op("i32.eqz");
      w.brIf(dispatch);
      w.get(t32);
      w.i32(1);
      w.op("i32.ne");
      w.brIf(chain);
      w.end();
      // Left at a site: one instruction in tier 0.
      bump(L.countSites);
      w.get(env);
      w.op("i32.load", L.exitSite);
      w.set(t32);
      w.get(env);
      w.get(t32);
      w.op("i64.load", Site.pc);
      w.op("i64.store", L.pc);
      w.get(env);
      w.get(env);
      w.op("i32.load", L.budget);
      w.get(t32);
      w.op("i32.load", Site.budgetBack);
      w.op("i32.add");
      w.op("i32.store", L.budget);
      w.get(t32);
      w.op("i32.load", Site.block);
      w.tee(pc);
      w.op("i32.eqz");
      w.if();
      w.i32(Exit.site);
      w.return();
      w.end();
    }
    w.else();
    {
      w.get(jc);
      w.op("i32.load", L.jc + Jc.block);
      w.set(pc);
      w.get(link);
      w.if();
      w.get(link);
      w.get(pc);
      w.op("i32.store", 0);
      w.i32(0);
      w.set(link);
      w.end();
      w.br(looked);
    }
    w.end();
    w.br(entered);
    w.end(); // looked
    w.get(pc);
    w.get(pc);
    w.op("i32.load", BlockHeader.counter);
    w.i32(1);
    w.op("i32.sub");
    w.tee(t32);
    w.op("i32.store", BlockHeader.counter);
    w.get(t32);
    w.op("i32.eqz");
    w.if();
    w.get(env);
    w.get(pc);
    w.op("i32.store", L.curBlock);
    w.i32(Exit.hot);
    w.return();
    w.end();
  }
  w.end();
  w.end(); // entered
  // Enter the block in `pc`.
  w.get(env);
  w.get(pc);
  w.op("i32.store", L.curBlock);
  w.get(env);
  w.get(env);
  w.op("i32.load", L.budget);
  w.get(pc);
  w.op("i32.load", BlockHeader.insns);
  w.tee(t32);
  w.op("i32.sub");
  w.op("i32.store", L.budget);
  bump(L.countTier0, t32);
  w.get(pc);
  w.i32(BlockHeader.size);
  w.op("i32.add");
  w.set(pc);

  const ops = w.loop();
  // One block a case, innermost first.
  // One case a sequence, innermost first; records that are rare all go to one.
  const bad = w.block();
  const rareCase = w.block();
  const cases = [...OPS.map((op) => ({ ops: [op], addressBits: 0 as const })), ...SEQUENCES];
  const labels: number[] = [];
  for (let i = cases.length - 1; i >= 0; i--) labels[i] = isRare(cases[i]!.ops) ? rareCase : w.block();
  w.get(pc);
  w.op("i32.load16_u", 0);
  w.brTable(labels, bad);
  const step = (bytes: number) => {
    w.get(pc);
    w.i32(bytes);
    w.op("i32.add");
    w.set(pc);
    w.br(ops);
  };
  const leave = () => {
    w.i32(0);
    w.set(pc);
    w.br(dispatch);
  };
  const lower = recordLowering(w, {
    ...lowering,
    env,
    pc,
    step,
    leave,
    jump: (field) => {
      w.get(env);
      w.op("i32.load", L.curBlock);
      w.tee(t32);
      w.op("i32.load", field);
      w.tee(linked);
      w.i32(LINK_NEVER);
      w.op("i32.le_u");
      w.if();
      w.get(t32);
      w.i32(field);
      w.op("i32.add");
      w.i32(0);
      w.get(linked);
      w.op("i32.eqz");
      w.select();
      w.set(link);
      w.i32(0);
      w.set(linked);
      w.end();
      leave();
    },
  });
  for (const { ops: records, addressBits } of cases) {
    if (isRare(records)) continue;
    w.end(); // the case's block: we arrive here
    for (const [n, op] of records.entries()) lower(op, n, n + 1 === records.length, addressBits);
  }
  w.end(); // rareCase
  w.get(env);
  w.get(pc);
  w.op("i32.store", L.irPc);
  w.get(env);
  w.get(pc);
  w.call(rare);
  step(RECORD_BYTES);
  w.end(); // bad
  w.unreachable();
  w.end(); // ops
  w.end(); // dispatch
  w.unreachable();
  m.add({ params: ["i32", "i32"], results: ["i32"] }, w.finish(), "run");
  return m.finish();
}

/** Vectors and floating point: in a function of their own, which keeps the hot one small enough for V8's better register allocator. */
function isRare(sequence: readonly OpDef[]): boolean {
  return sequence.length === 1 && (sequence[0]!.result === "v128" || sequence[0]!.inputs.some((i) => i.type === "v128"));
}

/** The function (env, record) that runs one rare record. */
function rareRecords(shared: Omit<RecordContext, "env" | "pc" | "step" | "leave" | "jump">): Uint8Array {
  const w = new FunctionWriter(["i32", "i32"]);
  const lower = recordLowering(w, {
    ...shared,
    env: 0,
    pc: 1,
    step: () => w.return(),
    leave: () => w.unreachable(),
    jump: () => w.unreachable(),
  });
  const bad = w.block();
  const labels: number[] = [];
  for (let i = OPS.length - 1; i >= 0; i--) labels[i] = isRare([OPS[i]!]) ? w.block() : bad;
  w.get(1);
  w.op("i32.load16_u", 0);
  w.brTable(labels, bad);
  for (const op of OPS) {
    if (!isRare([op])) continue;
    w.end();
    lower(op, 0, true, 0);
  }
  w.end(); // bad
  w.unreachable();
  return w.finish();
}
