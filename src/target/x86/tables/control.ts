/** Jumps, calls, returns, interrupts, loops (Intel SDM vol 2). */
import { NONE } from "../../../accel/tcg/ir/builder.js";
import { F64, MEM, NO64, RCX } from "../insn.js";
import * as L from "../layout.js";
import { op } from "../opcodes.js";
import { gpr, type Translator } from "../translator.js";

const CONDITIONS = "O NO B NB Z NZ BE NBE S NS P NP L NL LE NLE".split(" ");

/** A near target must lie within the code segment when that is not flat. */
function near(t: Translator, delta: number): [number, number] {
  const [lo, hi] = t.target(delta);
  if (t.hflags & L.HF_CSCHK && t.i.opsize === 2) t.call("h_segchk", t.const(lo, 0), NONE, 1 | (1 << 16));
  return [lo, hi];
}

for (const [cc, name] of CONDITIONS.entries()) {
  const emit = (t: Translator) => {
    const c = t.cond(cc);
    const [lo, hi] = t.target(t.i.imm);
    t.branch(c, lo, hi);
  };
  op((0x70 + cc).toString(16), `J${name} Jb`, emit, F64);
  op(`0f ${(0x80 + cc).toString(16)}`, `J${name} Jz`, emit, F64);
}
const jmp = (t: Translator) => {
  const [lo, hi] = near(t, t.i.imm);
  t.jump(lo, hi);
};
op("eb", "JMP Jb", jmp, F64);
op("e9", "JMP Jz", jmp, F64);
op(
  "e8",
  "CALL Jz",
  (t) => {
    const [lo, hi] = near(t, t.i.imm);
    t.push(t.nextPcSlot(), t.i.opsize);
    t.endKind = "call";
    t.jump(lo, hi);
  },
  F64,
);

/** An indirect target: truncated, and checked as the mode asks. */
function indirect(t: Translator, slot: number): number {
  const size = t.i.opsize;
  if (size === 3) return slot;
  const v = t.zext(slot, size);
  if (t.hflags & L.HF_CSCHK) t.call("h_segchk", v, NONE, 1 | (1 << 16));
  return v;
}
op("ff /4", "JMP Ev", (t) => t.jumpSlot(indirect(t, t.readE(t.i.opsize))), F64);
op(
  "ff /2",
  "CALL Ev",
  (t) => {
    const target = t.t("mov", indirect(t, t.readE(t.i.opsize)));
    t.push(t.nextPcSlot(), t.i.opsize);
    t.endKind = "call";
    t.jumpSlot(target);
  },
  F64,
);
const ret = (t: Translator) => {
  const size = t.i.opsize;
  const v = indirect(t, t.top(size));
  t.addSp((1 << size) + (t.i.imm & 0xffff));
  t.endKind = "return";
  t.jumpSlot(v);
};
op("c2", "RET Iw", ret, F64);
op("c3", "RET", ret, F64);

// --- far ---
function far(t: Translator, helper: string, selector: number, offset: number): void {
  t.setNextRip();
  t.call(helper, selector, offset, t.i.opsize);
  t.exit();
}
const pointer = (helper: string) => (t: Translator) => {
  const size = t.i.opsize;
  const m = t.mem();
  const off = t.ld(m, size);
  far(t, helper, t.ld(t.memPlus(m, 1 << size), 1), off);
};
op("ea", "JMP Ap", (t) => far(t, "h_far_jmp", t.const(t.i.imm2, 0), t.const(t.i.imm, 0)), NO64);
op("9a", "CALL Ap", (t) => far(t, "h_far_call", t.const(t.i.imm2, 0), t.const(t.i.imm, 0)), NO64);
op("ff /5 m", "JMP Mp", pointer("h_far_jmp"), MEM);
op("ff /3 m", "CALL Mp", pointer("h_far_call"), MEM);
const retf = (t: Translator) => {
  t.setNextRip();
  t.call("h_far_ret", t.const(t.i.imm & 0xffff, 0), NONE, t.i.opsize);
  t.exit();
};
op("ca", "RETF Iw", retf);
op("cb", "RETF", retf);
const control = (helper: string, imm?: (t: Translator) => number) => (t: Translator) => {
  t.setNextRip();
  t.call(helper, NONE, NONE, imm ? imm(t) : 0);
  t.cc = -1;
  t.exitNoTrap();
};
op("cf", "IRET", (t) => {
  t.setNextRip();
  t.call("h_iret", NONE, NONE, t.i.opsize);
  t.exit();
});
op("cc", "INT3", control("h_int3"));
op("cd", "INT Ib", control("h_int_n", (t) => t.i.imm & 255));
op("ce", "INTO", control("h_into"), NO64);
op("f1", "ICEBP", control("h_icebp"));
op("62 m", "BOUND Gv,Ma", (t) => {
  const m = t.mem();
  t.checkSegment(m, 2 << t.i.opsize, false);
  t.call("h_bound", t.linear(m), t.sext(t.readG(t.i.opsize), t.i.opsize), t.i.opsize);
}, NO64 | MEM);

// --- loops ---
function counter(t: Translator): { next: number; write: () => void; zero: (s: number) => number } {
  const size = t.i.adsize;
  const next = t.t("addi", gpr(RCX), NONE, -1);
  return {
    next,
    write: () => t.setRegClean(RCX, size, next),
    zero: (s) => t.t("seteqi", t.zext(s, size)),
  };
}
const loop = (kind: "LOOP" | "LOOPE" | "LOOPNE") => (t: Translator) => {
  const zf = kind === "LOOP" ? NONE : t.cond(kind === "LOOPE" ? 4 : 5);
  const c = counter(t);
  let go = t.t("xori", c.zero(c.next), NONE, 1);
  c.write();
  if (kind !== "LOOP") go = t.t("and", go, zf);
  const [lo, hi] = t.target(t.i.imm);
  t.branch(go, lo, hi);
};
op("e0", "LOOPNE Jb", loop("LOOPNE"), F64);
op("e1", "LOOPE Jb", loop("LOOPE"), F64);
op("e2", "LOOP Jb", loop("LOOP"), F64);
op(
  "e3",
  "JrCXZ Jb",
  (t) => {
    const [lo, hi] = t.target(t.i.imm);
    t.branch(t.t("seteqi", t.zext(gpr(RCX), t.i.adsize)), lo, hi);
  },
  F64,
);
