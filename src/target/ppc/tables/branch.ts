/** Branches and condition register (Power ISA 3.0B I 2.4, 2.5, 3.3.17). Not emulated: CFAR stays what software wrote. */
import { NONE } from "../../../accel/tcg/ir/builder.js";
import { section } from "../isa.js";
import * as L from "../layout.js";
import { crf, gpr, type PpcTranslator, spr } from "../translator.js";

const B = section("Power ISA I 2.4");
const link = (t: PpcTranslator) => {
  const [lo, hi] = t.relative(4);
  t.movWide(L.LR, lo, hi);
};
const absolute = (t: PpcTranslator, disp: number): [number, number] => [disp, t.sf ? disp >> 31 : 0];

B("b", "010010 li:s24 aa:1 lk:1", (t, f) => {
  if (f.lk) link(t);
  t.jump(f.aa ? absolute(t, f.li << 2) : t.relative(f.li << 2), f.lk ? "call" : "jump");
});

/** Decrements CTR if BO says so. @returns a slot that is not zero when the branch is taken, negated if `sense` is false; or "always" */
function condition(t: PpcTranslator, bo: number, bi: number): { slot: number; sense: boolean } | "always" {
  let counter: { slot: number; sense: boolean } | undefined;
  if (!(bo & 4)) {
    t.op("addi", L.CTR, L.CTR, NONE, -1);
    counter = { slot: t.sf ? t.t("setnei", L.CTR, NONE, 0) : t.t("setnei32", L.CTR, NONE, 0), sense: !(bo & 2) };
  }
  if (bo & 16) return counter ?? "always";
  const bit = { slot: t.crBit(bi), sense: (bo & 8) !== 0 };
  if (!counter) return bit;
  const one = (c: { slot: number; sense: boolean }) => t.t(c.sense ? "setnei" : "seteqi", c.slot, NONE, 0);
  return { slot: t.t("and", one(counter), one(bit)), sense: true };
}

B("bc", "010000 bo:5 bi:5 bd:s14 aa:1 lk:1", (t, f) => {
  const c = condition(t, f.bo, f.bi);
  if (f.lk) link(t);
  const to = f.aa ? absolute(t, f.bd << 2) : t.relative(f.bd << 2);
  if (c === "always") t.jump(to, f.lk ? "call" : "jump");
  else t.branchIf(c.slot, c.sense, to);
});

function indirect(t: PpcTranslator, f: { bo: number; bi: number; lk: number }, register: number, kind: "return" | "indirect"): void {
  const c = condition(t, f.bo, f.bi);
  let to = t.mask(register, -4, t.sf ? -1 : 0);
  if (c !== "always") {
    const taken = t.t(c.sense ? "setnei" : "seteqi", c.slot, NONE, 0);
    to = t.select(to, t.nextPc(), taken);
  }
  if (f.lk) link(t);
  t.jumpIndirect(to, f.lk ? "call" : kind);
}
B("bclr", "010011 bo:5 bi:5 /3 bh:2 #16:10 lk:1", (t, f) => indirect(t, f, L.LR, "return"));
B("bcctr", "010011 bo:5 bi:5 /3 bh:2 #528:10 lk:1", (t, f) => {
  // Decrementing CTR here is an invalid form.
  if (!(f.bo & 4)) return t.program(L.PROGRAM_ILLEGAL);
  indirect(t, f, L.CTR, "indirect");
});
B("bctar", "010011 bo:5 bi:5 /3 bh:2 #560:10 lk:1", (t, f) => {
  if (!(t.hflags & L.HF_TAR)) return t.raise(L.V_FACILITY_UNAVAILABLE, 8);
  indirect(t, f, spr(L.SPR_TAR), "indirect");
});

const C = section("Power ISA I 2.5");
for (const [name, op, what] of [
  ["crand", 257, "and"],
  ["crandc", 129, "andc"],
  ["creqv", 289, "eqv"],
  ["crnand", 225, "nand"],
  ["crnor", 33, "nor"],
  ["cror", 449, "or"],
  ["crorc", 417, "orc"],
  ["crxor", 193, "xor"],
] as const)
  C(name, `010011 bt:5 ba:5 bb:5 #${op}:10 /1`, (t, f) => {
    const a = t.t("bit", crf(f.ba >> 2), NONE, 3 - (f.ba & 3));
    const b = f.ba === f.bb ? a : t.t("bit", crf(f.bb >> 2), NONE, 3 - (f.bb & 3));
    const place = 3 - (f.bt & 3);
    const bit = t.t("shli", t.t("andi", t.t(what, a, b), NONE, 1), NONE, place);
    t.setField(f.bt >> 2, t.t("or", t.t("andi", crf(f.bt >> 2), NONE, 15 & ~(1 << place)), bit));
  });
C("mcrf", "010011 bf:3 /2 bfa:3 /7 #0:10 /1", (t, f) => t.mov(crf(f.bf), crf(f.bfa)));

const M = section("Power ISA I 3.3.17");
M("mfcr", "011111 rt:5 0 /9 #19:10 /1", (t, f) => {
  let all = crf(0);
  for (let i = 1; i < 8; i++) all = t.t("or", t.t("shli", all, NONE, 4), crf(i));
  t.mov(gpr(f.rt), all);
});
M("mfocrf", "011111 rt:5 1 fxm:8 /1 #19:10 /1", (t, f) => {
  const n = 31 - Math.clz32(f.fxm);
  if (f.fxm === 1 << n) t.op("shli", gpr(f.rt), crf(7 - n), NONE, n * 4);
});
const toCr = (t: PpcTranslator, fxm: number, rs: number) => {
  for (let i = 0; i < 8; i++) if (fxm & (0x80 >> i)) t.op("andi", crf(i), t.t("shri", gpr(rs), NONE, 28 - i * 4), NONE, 15);
};
M("mtcrf", "011111 rs:5 0 fxm:8 /1 #144:10 /1", (t, f) => toCr(t, f.fxm, f.rs));
M("mtocrf", "011111 rs:5 1 fxm:8 /1 #144:10 /1", (t, f) => toCr(t, f.fxm, f.rs));
M(
  "mcrxrx",
  "011111 bf:3 /2 /5 /5 #576:10 /1",
  (t, f) => {
    let v = t.t("shli", L.OV, NONE, 3);
    v = t.t("or", v, t.t("shli", L.OV32, NONE, 2));
    v = t.t("or", v, t.t("shli", L.CA, NONE, 1));
    t.op("or", crf(f.bf), v, L.CA32);
  },
  { isa300: true },
);
M(
  "setb",
  "011111 rt:5 bfa:3 /2 /5 #128:10 /1",
  (t, f) => {
    const lt = t.t("bit", crf(f.bfa), NONE, 3);
    const gt = t.t("bit", crf(f.bfa), NONE, 2);
    t.select(t.const(-1), gt, lt, gpr(f.rt));
  },
  { isa300: true },
);
