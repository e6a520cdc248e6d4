/**
 * x87: opcodes D8-DF and WAIT (Intel SDM vol 1 chapter 8, vol 2). All arithmetic is in the runtime's helpers, which do
 * not raise: an unmasked exception sets ES, and the next waiting instruction takes #MF. FIP, FDP and FOP are kept.
 *
 * Not emulated: FERR# and IRQ 13 (CR0.NE = 0): #MF is raised then too.
 */
import { NONE } from "../../../accel/tcg/ir/builder.js";
import { MMX, RAX, X87 } from "../insn.js";
import * as L from "../layout.js";
import { op } from "../opcodes.js";
import type { Mem, Translator } from "../translator.js";
import { checkPending } from "./vector.js";

/** Emits an instruction; returns its memory operand, if any, for FDP. */
type Fpu = (t: Translator) => Mem | undefined;

/** A waiting, non-control instruction. */
function fp(key: string, text: string, emit: Fpu, feature = "fpu"): void {
  op(
    key,
    text,
    (t) => {
      if (!t.feature(feature)) return t.raise(6);
      checkPending(t);
      note(t, emit(t));
    },
    X87,
  );
}

/** Records instruction and operand pointers. Nothing may fault any more. */
function note(t: Translator, m: Mem | undefined): void {
  const lo = (t.pcLo >>> 0) + t.i.offset;
  t.b.movi(L.FIP, lo | 0, t.long ? t.pcHi + (lo >= 2 ** 32 ? 1 : 0) : 0);
  const opcode = ((t.i.opcode & 7) << 8) | t.i.modrm;
  if (t.long) t.b.movi(L.FOP, opcode, 0);
  else {
    const cs = t.t("shli", t.t("ldst32", NONE, NONE, L.SEG_SEL + 4), NONE, 32);
    t.op("ori", L.FOP, cs, NONE, opcode);
  }
  if (!m) return;
  if (t.long) t.op("addi", L.FDP, m.offSlot, NONE, m.offDisp);
  else {
    t.op("addi32", L.FDP, m.offSlot, NONE, m.offDisp);
    // FDS shares its slot with MXCSR.
    const upper = t.t("shli", t.t("ldst32", NONE, NONE, L.MXCSR), NONE, 32);
    t.op("or", L.FDS, upper, t.t("ldst32", NONE, NONE, L.SEG_SEL + 4 * m.segment));
  }
}

const sti = (t: Translator) => t.i.modrm & 7;

/** A helper with nothing but an immediate. */
const plain =
  (helper: string, imm: (t: Translator) => number = () => 0): Fpu =>
  (t) => {
    t.callPure(helper, NONE, NONE, imm(t));
    return undefined;
  };

// --- arithmetic: /0 ADD, 1 MUL, 2 COM, 3 COMP, 4 SUB, 5 SUBR, 6 DIV, 7 DIVR ---
const ARITH = ["FADD", "FMUL", "FCOM", "FCOMP", "FSUB", "FSUBR", "FDIV", "FDIVR"];
/** opcode, memory type, its log2 size */
const MEMORY = [["d8", "f32", 2], ["da", "i32", 2], ["dc", "f64", 3], ["de", "i16", 1]] as const;
for (const [code, type, size] of MEMORY)
  for (const [r, name] of ARITH.entries())
    fp(`${code} /${r} m`, `${type[0] === "i" ? name.replace("F", "FI") : name} M${type}`, (t) => {
      const m = t.mem();
      const v = t.ld(m, size);
      if (r === 2 || r === 3) t.callPure(`h_fcom_${type}`, v, NONE, (r - 2) << 8);
      else t.callPure(`h_farith_st0_${type}`, v, NONE, r);
      return m;
    });
const compare = (unordered: number, pops: number) => plain("h_fcom_sti", (t) => (sti(t) << 3) | (unordered << 6) | (pops << 8));
for (const [r, name] of ARITH.entries()) {
  if (r === 2 || r === 3) {
    fp(`d8 /${r} r`, `${name} STi`, compare(0, r - 2));
    // Undocumented second encoding.
    fp(`dc /${r} r`, `${name} STi`, compare(0, r - 2));
    continue;
  }
  fp(`d8 /${r} r`, `${name} ST,STi`, plain("h_farith_st0_sti", (t) => r | (sti(t) << 3)));
  // With ST(i) as destination the reversed forms change places.
  const to = r < 4 ? r : r ^ 1;
  const reversed = ARITH[to]!;
  fp(`dc /${r} r`, `${reversed} STi,ST`, plain("h_farith_sti_st0", (t) => to | (sti(t) << 3)));
  fp(`de /${r} r`, `${reversed}P STi,ST`, plain("h_farith_sti_st0", (t) => to | (sti(t) << 3) | 64));
}
fp("de /2 r", "FCOMP STi", compare(0, 1));
fp("dd /4 r", "FUCOM STi", compare(1, 0));
fp("dd /5 r", "FUCOMP STi", compare(1, 1));
const comparePop2 = (unordered: number) => plain("h_fcom_sti", () => (1 << 3) | (unordered << 6) | (2 << 8));
fp("de =d9", "FCOMPP", comparePop2(0));
fp("da =e9", "FUCOMPP", comparePop2(1));
/** To EFLAGS: unordered, pops. */
const compareFlags =
  (unordered: number, pops: number): Fpu =>
  (t) => {
    t.setEflags(t.callPure("h_fcomi", NONE, NONE, (sti(t) << 3) | (unordered << 6) | (pops << 8)));
    return undefined;
  };
fp("db /5 r", "FUCOMI STi", compareFlags(1, 0), "cmov");
fp("db /6 r", "FCOMI STi", compareFlags(0, 0), "cmov");
fp("df /5 r", "FUCOMIP STi", compareFlags(1, 1), "cmov");
fp("df /6 r", "FCOMIP STi", compareFlags(0, 1), "cmov");

// --- loads ---
const load =
  (helper: string, size: number): Fpu =>
  (t) => {
    const m = t.mem();
    t.callPure(helper, t.ld(m, size));
    return m;
  };
fp("d9 /0 m", "FLD Mf32", load("h_fld_f32", 2));
fp("dd /0 m", "FLD Mf64", load("h_fld_f64", 3));
fp("db /0 m", "FILD Mi32", load("h_fld_i32", 2));
fp("df /0 m", "FILD Mi16", load("h_fld_i16", 1));
fp("df /5 m", "FILD Mi64", load("h_fld_i64", 3));
const load80 =
  (helper: string): Fpu =>
  (t) => {
    const m = t.mem();
    const sig = t.ld(m, 3);
    t.callPure(helper, sig, t.ld(t.memPlus(m, 8), 1));
    return m;
  };
fp("db /5 m", "FLD Mf80", load80("h_fld_f80"));
fp("df /4 m", "FBLD Mbcd", load80("h_fbld"));
fp("d9 /0 r", "FLD STi", plain("h_fld_sti", sti));
for (const [k, name] of ["FLD1", "FLDL2T", "FLDL2E", "FLDPI", "FLDLG2", "FLDLN2", "FLDZ"].entries())
  fp(`d9 =${(0xe8 + k).toString(16)}`, name, plain("h_fld_const", () => k));

// --- stores: bit 32 of HELPER_HI forbids the store and the pop ---
const store =
  (helper: string, size: number, pop: boolean, imm = 0): Fpu =>
  (t) => {
    const m = t.mem();
    const v = t.callPure(helper, NONE, NONE, imm);
    const go = t.t("xori", t.t("andi", t.t("shri", L.HELPER_HI, NONE, 32), NONE, 1), NONE, 1);
    const high = size === 4 ? t.t("mov", L.HELPER_HI) : NONE;
    t.when(go, () => {
      t.st(m, Math.min(size, 3), v);
      if (size === 4) t.st(t.memPlus(m, 8), 1, high);
      if (pop) t.callPure("h_fpop");
    });
    return m;
  };
fp("d9 /2 m", "FST Mf32", store("h_fst_f32", 2, false));
fp("d9 /3 m", "FSTP Mf32", store("h_fst_f32", 2, true));
fp("dd /2 m", "FST Mf64", store("h_fst_f64", 3, false));
fp("dd /3 m", "FSTP Mf64", store("h_fst_f64", 3, true));
fp("db /7 m", "FSTP Mf80", store("h_fst_f80", 4, true));
fp("df /6 m", "FBSTP Mbcd", store("h_fbstp", 4, true));
fp("df /2 m", "FIST Mi16", store("h_fist16", 1, false));
fp("df /3 m", "FISTP Mi16", store("h_fist16", 1, true));
fp("db /2 m", "FIST Mi32", store("h_fist32", 2, false));
fp("db /3 m", "FISTP Mi32", store("h_fist32", 2, true));
fp("df /7 m", "FISTP Mi64", store("h_fist64", 3, true));
fp("df /1 m", "FISTTP Mi16", store("h_fist16", 1, true, 1), "pni");
fp("db /1 m", "FISTTP Mi32", store("h_fist32", 2, true, 1), "pni");
fp("dd /1 m", "FISTTP Mi64", store("h_fist64", 3, true, 1), "pni");
const storeSti = (pop: number) => plain("h_fst_sti", (t) => (sti(t) << 3) | (pop << 6));
fp("dd /2 r", "FST STi", storeSti(0));
fp("dd /3 r", "FSTP STi", storeSti(1));
// Undocumented second encodings.
for (const key of ["d9 /3 r", "df /2 r", "df /3 r"]) fp(key, "FSTP STi", storeSti(1));

// --- register moves ---
for (const key of ["d9 /1 r", "dd /1 r", "df /1 r"]) fp(key, "FXCH STi", plain("h_fxch", sti));
fp("dd /0 r", "FFREE STi", plain("h_ffree", sti));
fp("df /0 r", "FFREEP STi", (t) => {
  t.callPure("h_ffree", NONE, NONE, sti(t));
  t.callPure("h_fpop");
  return undefined;
});
for (const [code, not] of [["da", 0], ["db", 1]] as const)
  for (const [r, name, condition] of [[0, "B", 2], [1, "E", 4], [2, "BE", 6], [3, "U", 10]] as const)
    fp(
      `${code} /${r} r`,
      `FCMOV${not ? "N" : ""}${name} ST,STi`,
      (t) => {
        const move = t.cond(condition | not);
        t.callPure("h_fcmov", move, NONE, sti(t));
        return undefined;
      },
      "cmov",
    );

// --- one whole ModRM byte ---
for (const [modrm, name] of [
  ["e0", "FCHS"],
  ["e1", "FABS"],
  ["e4", "FTST"],
  ["e5", "FXAM"],
  ["f0", "F2XM1"],
  ["f1", "FYL2X"],
  ["f2", "FPTAN"],
  ["f3", "FPATAN"],
  ["f4", "FXTRACT"],
  ["f5", "FPREM1"],
  ["f6", "FDECSTP"],
  ["f7", "FINCSTP"],
  ["f8", "FPREM"],
  ["f9", "FYL2XP1"],
  ["fa", "FSQRT"],
  ["fb", "FSINCOS"],
  ["fc", "FRNDINT"],
  ["fd", "FSCALE"],
  ["fe", "FSIN"],
  ["ff", "FCOS"],
] as const)
  fp(`d9 =${modrm}`, name, plain(`h_${name.toLowerCase()}`));
fp("d9 =d0", "FNOP", () => undefined);

// --- control: no pointers are recorded; the FN forms do not wait ---
function control(key: string, text: string, waits: boolean, emit: (t: Translator) => void): void {
  op(
    key,
    text,
    (t) => {
      if (!t.feature("fpu")) return t.raise(6);
      if (waits) checkPending(t);
      emit(t);
    },
    X87,
  );
}
control("d9 /5 m", "FLDCW Mw", true, (t) => t.callPure("h_fldcw", t.ld(t.mem(), 1)));
control("d9 /7 m", "FNSTCW Mw", false, (t) => t.st(t.mem(), 1, t.t("ldst32", NONE, NONE, L.FCW)));
control("dd /7 m", "FNSTSW Mw", false, (t) => t.st(t.mem(), 1, t.callPure("h_fnstsw")));
control("df =e0", "FNSTSW AX", false, (t) => t.setReg(RAX, 1, t.callPure("h_fnstsw")));
control("db =e2", "FNCLEX", false, (t) => t.callPure("h_fnclex"));
control("db =e3", "FNINIT", false, (t) => t.callPure("h_fninit"));
// 8087 and 80287 instructions that later processors ignore.
for (const [modrm, name] of [["e0", "FNENI"], ["e1", "FNDISI"], ["e4", "FNSETPM"]] as const) control(`db =${modrm}`, name, false, () => {});
/** The environment's format: bit 0 32-bit, bit 1 real-address or virtual-8086 mode. */
const image = (helper: string, registers: boolean, write: boolean) => (t: Translator) => {
  const long = t.i.opsize !== 1;
  const m = t.mem();
  t.checkSegment(m, (long ? 28 : 14) + (registers ? 80 : 0), write);
  t.call(helper, t.linear(m), NONE, (long ? 1 : 0) | (t.protectedMode ? 0 : 2));
};
control("d9 /4 m", "FLDENV M", true, image("h_fldenv", false, false));
control("d9 /6 m", "FNSTENV M", false, image("h_fnstenv", false, true));
control("dd /4 m", "FRSTOR M", true, image("h_frstor", true, false));
control("dd /6 m", "FNSAVE M", false, image("h_fsave", true, true));

op("9b", "WAIT", (t) => {
  if ((t.hflags & (L.HF_MP | L.HF_TS)) === (L.HF_MP | L.HF_TS)) return t.raise(7);
  checkPending(t);
});

op(
  "np 0f 77",
  "EMMS",
  (t) => {
    if (!t.feature("mmx")) return t.raise(6);
    checkPending(t);
    t.callPure("h_emms");
  },
  MMX,
);
