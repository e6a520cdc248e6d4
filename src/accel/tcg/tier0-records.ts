/**
 * How tier 0 runs one IR record: the op table's expressions with every operand loaded from and stored to the vCPU's state,
 * and control, memory and calls by hand. State is exact at every record.
 */
import { emitFpOp, type FpHelperIndexes } from "./fp.js";
import { emitExpr, type Operand, type Operands } from "./ir/expr.js";
import type { OpDef } from "./ir/ops.js";
import { BH_LINK_JMP, BH_LINK_JNZ, BH_TARGET_COUNT, BH_TARGETS } from "./map.js";
import type { EnvLayout } from "./target.js";
import type { FunctionWriter } from "./wasm/writer.js";

/** Bytes of a record. */
export const RECORD_BYTES = 16;

/** The function that records are lowered into. */
export interface RecordContext {
  readonly L: EnvLayout;
  /** Local with the vCPU state's address. */
  readonly env: number;
  /** Local with the address of the first record of the sequence. */
  readonly pc: number;
  readonly fpHelpers: FpHelperIndexes;
  /** Function indexes of the runtime's imports. */
  readonly slowLoad: number;
  readonly slowStore: number;
  readonly raise: number;
  /** Type index of helpers. */
  readonly helperType: number;
  /** Goes on at the record `bytes` after `pc`. */
  step(bytes: number): void;
  /** Ends the block: continues at the state's PC. */
  leave(): void;
  /** The same at a PC known at translation; `link` is the field of the block's header that may hold its block. */
  jump(link: number): void;
}

/**
 * Lowers records one after another: `position` is their place in a sequence, `last` whether the dispatch follows,
 * `addressBits` how wide guest addresses are: 0 = as the record says.
 */
export type LowerRecord = (op: OpDef, position: number, last: boolean, addressBits: 0 | 32 | 64) => void;

/** Prepares the lowering into a function. */
export function recordLowering(w: FunctionWriter, c: RecordContext): LowerRecord {
  const { L, env, pc } = c;
  const t32 = w.local("i32");
  const addr = w.local("i64");
  const val = w.local("i64");
  const vec = w.local("v128");
  const vec2 = w.local("v128");
  const vec3 = w.local("v128");
  /** Byte offset of the record from `pc`. */
  let base = 0;
  let bits: 0 | 32 | 64 = 0;
  /** Label behind a record that is not the last of its sequence, else 0. */
  let following = 0;

  const field = (offset: number) => {
    w.get(pc);
    w.op("i32.load16_u", base + offset);
    w.get(env);
    w.op("i32.add");
  };
  /** Pushes a part of the record. */
  const word = (load: string, offset: number) => {
    w.get(pc);
    w.op(load, base + offset);
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
    imm64: () => word("i64.load", 8),
    imm32: () => word("i32.load", 8),
  };

  const step = () => {
    if (following) w.br(following);
    else c.step(base + RECORD_BYTES);
  };
  const setPcImm = () => {
    w.get(env);
    operands.imm64();
    w.op("i64.store", L.pc);
  };
  const saveIrPc = () => {
    w.get(env);
    w.get(pc);
    if (base) {
      w.i32(base);
      w.op("i32.add");
    }
    w.op("i32.store", L.irPc);
  };
  /** Leaves the guest address in `addr`. */
  const address = () => {
    operands.i64("a");
    word("i64.load32_s", 8);
    w.op("i64.add");
    if (bits === 64) {
      w.set(addr);
      return;
    }
    if (bits === 32) {
      w.i64n(0xffffffff);
      w.op("i64.and");
      w.set(addr);
      return;
    }
    w.i64n(-1);
    word("i64.load8_u", 13);
    w.i64n(5);
    w.op("i64.shl");
    w.op("i64.shr_u");
    w.op("i64.and");
    w.set(addr);
  };
  /** Pushes the MMU index. */
  const mmu = () => {
    word("i32.load8_u", 12);
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
        c.leave();
        return;
      case "jmp":
        setPcImm();
        c.jump(BH_LINK_JMP);
        return;
      case "jnz":
        operands.i64("a");
        w.op("i64.eqz");
        w.if();
        step();
        w.end();
        setPcImm();
        c.jump(BH_LINK_JNZ);
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
        c.leave();
        return;
      case "skipz":
        operands.i64("a");
        w.op("i64.eqz");
        w.if();
        w.get(pc);
        word("i32.load", 8);
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
        word("i32.load", 12);
        w.callIndirect(c.helperType);
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
        word("i32.load", 8);
        word("i32.load", 12);
        w.call(c.raise);
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
        word("i64.load32_u", 8);
        w.op("i64.store", L.ccOp);
        step();
        return;
      case "setcci":
        w.get(env);
        operands.i64("a");
        w.op("i64.store", L.ccDst);
        w.get(env);
        word("i64.load32_s", 8);
        w.op("i64.store", L.ccSrc);
        w.get(env);
        word("i64.load32_u", 12);
        w.op("i64.store", L.ccOp);
        step();
        return;
      case "segchk":
        // offset + size <= limit, else the careful check.
        operands.i64("a");
        word("i64.load32_s", 8);
        w.op("i64.add");
        w.i64n(0xffffffff);
        w.op("i64.and");
        w.tee(addr);
        word("i64.load8_u", 12);
        w.op("i64.add");
        word("i32.load16_u", 14);
        w.get(env);
        w.op("i32.add");
        w.op("i64.load");
        w.op("i64.gt_u");
        w.if();
        saveIrPc();
        w.get(addr);
        w.i64n(0);
        // bytes | write << 8 | segment << 16 from: imm hi byte 0 = bytes, byte 1 = write | segment << 1.
        word("i32.load8_u", 12);
        word("i32.load8_u", 13);
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
        w.i32(c.fpHelpers.segchk);
        w.callIndirect(c.helperType);
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
      w.call(c.slowLoad);
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
      w.call(c.slowStore);
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
      w.call(c.slowLoad);
      w.op("i64x2.replace_lane", 0);
      w.get(addr);
      w.i64n(8);
      w.op("i64.add");
      w.i32(3);
      mmu();
      w.call(c.slowLoad);
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
      w.call(c.slowStore);
      w.end();
      w.get(addr);
      w.get(vec);
      w.op("i64x2.extract_lane", 0);
      w.i32(3);
      mmu();
      w.call(c.slowStore);
      w.get(addr);
      w.i64n(8);
      w.op("i64.add");
      w.get(vec);
      w.op("i64x2.extract_lane", 1);
      w.i32(3);
      mmu();
      w.call(c.slowStore);
      w.end();
      step();
      return;
    }
    // Floating point and conversions: always by the exact helper here (tier 1 has the native path).
    emitFpOp(w, op, {
      call: (index) => {
        w.i32(index);
        w.callIndirect(c.helperType);
      },
      indexes: c.fpHelpers,
      env,
      fpFast: L.fpFast,
      push: (o, t) => (t === "v128" ? operands.v128(o) : operands.i64(o)),
      imm: () => operands.imm32(),
      callImm: () => {
        word("i32.load", 12);
        w.callIndirect(c.helperType);
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

  const lower = (op: OpDef): void => {
    if (op.special) {
      special(op);
      return;
    }
    field(2);
    emitExpr(w, op.expr!, operands);
    if (op.expr!.type === "v128") w.op("v128.store");
    else {
      if (op.expr!.type === "i32") w.op("i64.extend_i32_u");
      w.op("i64.store");
    }
    step();
  };

  return (op, position, last, addressBits) => {
    base = position * RECORD_BYTES;
    bits = addressBits;
    following = last ? 0 : w.block();
    lower(op);
    if (following) w.end();
  };
}
