/**
 * Tier 0: one WebAssembly function that dispatches blocks and interprets IR records, generated from the op table. State is
 * in memory: every slot is loaded and stored where it lives, so the state is exact at every record.
 */
import { emitFpOp, type FpHelperIndexes } from "./fp.js";
import { emitExpr, type Operand, type Operands } from "./ir/expr.js";
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
  BH_TARGET_COUNT,
  BH_TARGETS,
} from "./map.js";
import type { EnvLayout } from "./target.js";
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
  w.i64n(12);
  w.op("i64.shr_u");
  w.op("i64.xor");
  w.op("i32.wrap_i64");
  w.i32(4095);
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
  const w = new FunctionWriter(["i32", "i32"]);
  const env = 0;
  const pc = w.local("i32");
  const t32 = w.local("i32");
  const jc = w.local("i32");
  const single = w.local("i32");
  const addr = w.local("i64");
  const val = w.local("i64");
  const vec = w.local("v128");
  const vec2 = w.local("v128");
  const vec3 = w.local("v128");

  const field = (offset: number) => {
    w.get(pc);
    w.op("i32.load16_u", offset);
    w.get(env);
    w.op("i32.add");
  };
  const slotOffset: Record<Operand | "d", number> = { d: 2, a: 4, b: 6, c: 8 };
  const operands: Operands = {
    i64: (o) => {
      field(slotOffset[o]);
      w.op("i64.load");
    },
    i32: (o) => {
      field(slotOffset[o]);
      w.op("i32.load");
    },
    v128: (o) => {
      field(slotOffset[o]);
      w.op("v128.load");
    },
    imm64: () => {
      w.get(pc);
      w.op("i64.load", 8);
    },
    imm32: () => {
      w.get(pc);
      w.op("i32.load", 8);
    },
  };

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
  const next = 16;
  const dispatch = w.loop();
  const opsDone = w.block();
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
      w.tee(pc);
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
  }
  w.end();
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
  const bad = w.block();
  const labels: number[] = [];
  for (let i = OPS.length - 1; i >= 0; i--) labels[i] = w.block();
  w.get(pc);
  w.op("i32.load16_u", 0);
  w.brTable(labels, bad);
  const step = (n = next) => {
    w.get(pc);
    w.i32(n);
    w.op("i32.add");
    w.set(pc);
    w.br(ops);
  };
  const leave = () => {
    w.i32(0);
    w.set(pc);
    w.br(dispatch);
  };
  const setPcImm = () => {
    w.get(env);
    operands.imm64();
    w.op("i64.store", L.pc);
  };
  const saveIrPc = () => {
    w.get(env);
    w.get(pc);
    w.op("i32.store", L.irPc);
  };
  /** Leaves the guest address in `addr`. */
  const address = () => {
    operands.i64("a");
    w.get(pc);
    w.op("i64.load32_s", 8);
    w.op("i64.add");
    w.i64n(-1);
    w.get(pc);
    w.op("i64.load8_u", 13);
    w.i64n(5);
    w.op("i64.shl");
    w.op("i64.shr_u");
    w.op("i64.and");
    w.set(addr);
  };
  /** Pushes the MMU index. */
  const mmu = () => {
    w.get(pc);
    w.op("i32.load8_u", 12);
  };
  /** Leaves the TLB entry's address (minus L.tlb) in t32, pushes whether the access hits. */
  const tlbHit = (size: number, tag: number) => {
    w.get(addr);
    w.i64n(7);
    w.op("i64.shr_u");
    w.op("i32.wrap_i64");
    w.i32(0x7fe0);
    w.op("i32.and");
    mmu();
    w.i32(3);
    w.op("i32.and");
    w.i32(Math.log2(L.tlbMmuSize));
    w.op("i32.shl");
    w.op("i32.add");
    w.get(env);
    w.op("i32.add");
    w.tee(t32);
    w.op("i64.load", L.tlb + tag);
    w.get(addr);
    if (size > 1) {
      w.i64n(size - 1);
      w.op("i64.add");
    }
    w.i64n(-4096);
    w.op("i64.and");
    w.op("i64.eq");
  };
  /** Pushes the host address of a hit. */
  const hostAddress = () => {
    w.get(addr);
    w.op("i32.wrap_i64");
    w.i32(4095);
    w.op("i32.and");
    w.get(t32);
    w.op("i32.load", L.tlb + 24);
    w.op("i32.add");
  };
  const signed: Record<string, string> = { ld8s: "i64.extend8_s", ld16s: "i64.extend16_s", ld32s: "i64.extend32_s" };
  const loads: Record<string, string> = {
    ld8u: "i64.load8_u",
    ld8s: "i64.load8_s",
    ld16u: "i64.load16_u",
    ld16s: "i64.load16_s",
    ld32u: "i64.load32_u",
    ld32s: "i64.load32_s",
    ld64: "i64.load",
  };
  const stores: Record<number, string> = { 1: "i64.store8", 2: "i64.store16", 4: "i64.store32", 8: "i64.store" };
  const log2: Record<number, number> = { 1: 0, 2: 1, 4: 2, 8: 3 };

  const special = (op: OpDef) => {
    switch (op.name) {
      case "exit":
        leave();
        return;
      case "jmp":
        setPcImm();
        leave();
        return;
      case "jnz":
        operands.i64("a");
        w.op("i64.eqz");
        w.if();
        step();
        w.end();
        setPcImm();
        leave();
        return;
      case "jind":
        w.get(env);
        operands.i64("a");
        w.tee(val);
        w.op("i64.store", L.pc);
        // Remember where it went, for region growth.
        w.get(val);
        w.op("i32.wrap_i64");
        w.tee(t32);
        w.i32(2);
        w.op("i32.shr_u");
        w.get(t32);
        w.i32(6);
        w.op("i32.shr_u");
        w.op("i32.xor");
        w.i32(BH_TARGET_COUNT - 1);
        w.op("i32.and");
        w.i32(3);
        w.op("i32.shl");
        w.get(env);
        w.op("i32.load", L.curBlock);
        w.op("i32.add");
        w.get(val);
        w.op("i64.store", BH_TARGETS);
        leave();
        return;
      case "skipz":
        operands.i64("a");
        w.op("i64.eqz");
        w.if();
        w.get(pc);
        w.get(pc);
        w.op("i32.load", 8);
        w.i32(4);
        w.op("i32.shl");
        w.op("i32.add");
        w.set(pc);
        w.end();
        step();
        return;
      case "call":
      case "callp":
      case "callcc":
      case "slowcall":
        saveIrPc();
        operands.i64("a");
        operands.i64("b");
        operands.imm32();
        w.get(pc);
        w.op("i32.load", 12);
        w.callIndirect(helperType);
        w.set(val);
        field(2);
        w.get(val);
        w.op("i64.store");
        step();
        return;
      case "raise":
      case "raisenz":
        if (op.name === "raisenz") {
          operands.i64("a");
          w.op("i64.eqz");
          w.if();
          step();
          w.end();
        }
        saveIrPc();
        w.get(pc);
        w.op("i32.load", 8);
        w.get(pc);
        w.op("i32.load", 12);
        w.call(imports.raise!);
        w.unreachable();
        return;
      case "ldst32":
        field(2);
        w.get(env);
        operands.imm32();
        w.op("i32.add");
        w.op("i64.load32_u");
        w.op("i64.store");
        step();
        return;
      case "setcc":
        w.get(env);
        operands.i64("a");
        w.op("i64.store", L.ccDst);
        w.get(env);
        operands.i64("b");
        w.op("i64.store", L.ccSrc);
        w.get(env);
        w.get(pc);
        w.op("i64.load32_u", 8);
        w.op("i64.store", L.ccOp);
        step();
        return;
      case "setcci":
        w.get(env);
        operands.i64("a");
        w.op("i64.store", L.ccDst);
        w.get(env);
        w.get(pc);
        w.op("i64.load32_s", 8);
        w.op("i64.store", L.ccSrc);
        w.get(env);
        w.get(pc);
        w.op("i64.load32_u", 12);
        w.op("i64.store", L.ccOp);
        step();
        return;
      case "segchk":
        // offset + size <= limit, else the careful check.
        operands.i64("a");
        w.get(pc);
        w.op("i64.load32_s", 8);
        w.op("i64.add");
        w.i64n(0xffffffff);
        w.op("i64.and");
        w.tee(addr);
        w.get(pc);
        w.op("i64.load8_u", 12);
        w.op("i64.add");
        w.get(pc);
        w.op("i32.load16_u", 14);
        w.get(env);
        w.op("i32.add");
        w.op("i64.load");
        w.op("i64.gt_u");
        w.if();
        saveIrPc();
        w.get(addr);
        w.i64n(0);
        // bytes | write << 8 | segment << 16 from: imm hi byte 0 = bytes, byte 1 = write | segment << 1.
        w.get(pc);
        w.op("i32.load8_u", 12);
        w.get(pc);
        w.op("i32.load8_u", 13);
        w.tee(t32);
        w.i32(1);
        w.op("i32.and");
        w.i32(8);
        w.op("i32.shl");
        w.op("i32.or");
        w.get(t32);
        w.i32(1);
        w.op("i32.shr_u");
        w.i32(16);
        w.op("i32.shl");
        w.op("i32.or");
        w.i32(fpHelpers.segchk);
        w.callIndirect(helperType);
        w.drop();
        w.end();
        step();
        return;
    }
    const load = loads[op.name];
    if (load) {
      address();
      tlbHit(op.size, 0);
      w.if("i64");
      hostAddress();
      w.op(load);
      w.else();
      saveIrPc();
      w.get(addr);
      w.i32(log2[op.size]!);
      mmu();
      w.call(imports.slowLoad!);
      const s = signed[op.name];
      if (s) w.op(s);
      w.end();
      w.set(val);
      field(2);
      w.get(val);
      w.op("i64.store");
      step();
      return;
    }
    if (op.name.startsWith("st") && op.size <= 8) {
      address();
      operands.i64("b");
      w.set(val);
      tlbHit(op.size, 8);
      w.if();
      hostAddress();
      w.get(val);
      w.op(stores[op.size]!);
      w.else();
      saveIrPc();
      w.get(addr);
      w.get(val);
      w.i32(log2[op.size]!);
      mmu();
      w.call(imports.slowStore!);
      w.end();
      step();
      return;
    }
    if (op.name === "ldv") {
      address();
      tlbHit(16, 0);
      w.if();
      field(2);
      hostAddress();
      w.op("v128.load");
      w.op("v128.store");
      w.else();
      saveIrPc();
      // Both halves are read before the register changes.
      w.v128(new Uint8Array(16));
      w.get(addr);
      w.i32(3);
      mmu();
      w.call(imports.slowLoad!);
      w.op("i64x2.replace_lane", 0);
      w.get(addr);
      w.i64n(8);
      w.op("i64.add");
      w.i32(3);
      mmu();
      w.call(imports.slowLoad!);
      w.op("i64x2.replace_lane", 1);
      w.set(vec);
      field(2);
      w.get(vec);
      w.op("v128.store");
      w.end();
      step();
      return;
    }
    if (op.name === "stv") {
      address();
      operands.v128("b");
      w.set(vec);
      tlbHit(16, 8);
      w.if();
      hostAddress();
      w.get(vec);
      w.op("v128.store");
      w.else();
      saveIrPc();
      // Touch the second half first for write permission: its fault must come before the first half changes memory.
      w.get(addr);
      w.i64n(15);
      w.op("i64.add");
      w.i64n(-8);
      w.op("i64.and");
      w.get(addr);
      w.op("i64.xor");
      w.i64n(4095);
      w.op("i64.gt_u");
      w.if();
      w.get(addr);
      w.i64n(8);
      w.op("i64.add");
      w.get(vec);
      w.op("i64x2.extract_lane", 1);
      w.i32(3);
      mmu();
      w.call(imports.slowStore!);
      w.end();
      w.get(addr);
      w.get(vec);
      w.op("i64x2.extract_lane", 0);
      w.i32(3);
      mmu();
      w.call(imports.slowStore!);
      w.get(addr);
      w.i64n(8);
      w.op("i64.add");
      w.get(vec);
      w.op("i64x2.extract_lane", 1);
      w.i32(3);
      mmu();
      w.call(imports.slowStore!);
      w.end();
      step();
      return;
    }
    // Floating point and conversions: always by the exact helper here (tier 1 has the native path).
    emitFpOp(w, op, {
      call: (index) => {
        w.i32(index);
        w.callIndirect(helperType);
      },
      indexes: fpHelpers,
      env,
      fpFast: L.fpFast,
      push: (o, t) => (t === "v128" ? operands.v128(o) : operands.i64(o)),
      imm: () => operands.imm32(),
      callImm: () => {
        w.get(pc);
        w.op("i32.load", 12);
        w.callIndirect(helperType);
      },
      scratch: L.fpScratch,
      temps: { vec, vec2, vec3, val, t32 },
      slow: saveIrPc,
    });
    if (op.result === "v128") {
      w.set(vec);
      field(2);
      w.get(vec);
      w.op("v128.store");
    } else {
      w.set(val);
      field(2);
      w.get(val);
      w.op("i64.store");
    }
    step();
  };

  for (const op of OPS) {
    w.end(); // the case's block: we arrive here
    if (op.special) {
      special(op);
      continue;
    }
    field(2);
    emitExpr(w, op.expr!, operands);
    if (op.expr!.type === "v128") w.op("v128.store");
    else {
      if (op.expr!.type === "i32") w.op("i64.extend_i32_u");
      w.op("i64.store");
    }
    step();
  }
  w.end(); // bad
  w.unreachable();
  w.end(); // ops
  w.end(); // opsDone
  w.end(); // dispatch
  w.unreachable();
  void opsDone;
  m.add({ params: ["i32", "i32"], results: ["i32"] }, w.finish(), "run");
  return m.finish();
}
