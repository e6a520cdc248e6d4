/** Fixed-point arithmetic, comparison, logic (Power ISA 3.0B I 3.3.9 to 3.3.13). */
import { NONE } from "../../../accel/tcg/ir/builder.js";
import { section } from "../isa.js";
import * as L from "../layout.js";
import { gpr, type PpcTranslator } from "../translator.js";

/** Bit 63 of `slot` is the overflow of 64 bits, bit 31 that of 32. */
function setOverflow(t: PpcTranslator, slot: number): void {
  t.op("bit", L.OV, slot, NONE, t.sf ? 63 : 31);
  if (t.isa300) t.op("bit", L.OV32, slot, NONE, 31);
  t.op("or", L.SO, L.SO, L.OV);
}

/** OV (and OV32) from a slot of 0 or 1. */
function setOverflowFlag(t: PpcTranslator, slot: number): void {
  t.mov(L.OV, slot);
  if (t.isa300) t.mov(L.OV32, slot);
  t.op("or", L.SO, L.SO, L.OV);
}

/** CA and CA32 of c = a + b (+ 1). */
function setCarry(t: PpcTranslator, a: number, b: number, c: number): void {
  const carries = t.t3("carries", a, b, c);
  t.op("bit", L.CA, carries, NONE, t.sf ? 63 : 31);
  if (t.isa300) t.op("bit", L.CA32, carries, NONE, 31);
}

/** rt = a + b + carry, with what the form asks for. `carry` is a slot, or NONE. */
function addition(
  t: PpcTranslator,
  rt: number,
  a: number,
  b: number,
  carry: number,
  o: { ca?: boolean; oe?: number; rc?: number },
): void {
  let sum = t.t("add", a, b);
  if (carry !== NONE) sum = t.t("add", sum, carry);
  if (o.oe) setOverflow(t, t.t("andc", t.t("xor", a, sum), t.t("xor", a, b)));
  if (o.ca) setCarry(t, a, b, sum);
  t.mov(gpr(rt), sum);
  if (o.rc) t.record(gpr(rt));
}

const I = section("Power ISA I 3.3.9");
I("addi", "001110 rt:5 ra:5 si:s16", (t, f) => {
  if (f.ra) t.op("addi", gpr(f.rt), gpr(f.ra), NONE, f.si);
  else t.op("movi", gpr(f.rt), NONE, NONE, f.si);
});
I("addis", "001111 rt:5 ra:5 si:s16", (t, f) => {
  if (f.ra) t.op("addi", gpr(f.rt), gpr(f.ra), NONE, f.si << 16);
  else t.op("movi", gpr(f.rt), NONE, NONE, f.si << 16);
});
I(
  "addpcis",
  "010011 rt:5 d.1:5 d.6:s10 00010 d:1",
  (t, f) => {
    const [lo, hi] = t.relative(4);
    t.op("addi", gpr(f.rt), t.const(lo, hi), NONE, f.d << 16);
  },
  { isa300: true },
);
I("addic", "001100 rt:5 ra:5 si:s16", (t, f) => addition(t, f.rt, gpr(f.ra), t.const(f.si), NONE, { ca: true }));
I("addic.", "001101 rt:5 ra:5 si:s16", (t, f) => addition(t, f.rt, gpr(f.ra), t.const(f.si), NONE, { ca: true, rc: 1 }));
I("subfic", "001000 rt:5 ra:5 si:s16", (t, f) => addition(t, f.rt, t.t("not", gpr(f.ra)), t.const(f.si), t.const(1), { ca: true }));
I("add", "011111 rt:5 ra:5 rb:5 oe:1 #266:9 rc:1", (t, f) => {
  if (f.oe) return addition(t, f.rt, gpr(f.ra), gpr(f.rb), NONE, f);
  t.op("add", gpr(f.rt), gpr(f.ra), gpr(f.rb));
  if (f.rc) t.record(gpr(f.rt));
});
I("addc", "011111 rt:5 ra:5 rb:5 oe:1 #10:9 rc:1", (t, f) => addition(t, f.rt, gpr(f.ra), gpr(f.rb), NONE, { ...f, ca: true }));
I("adde", "011111 rt:5 ra:5 rb:5 oe:1 #138:9 rc:1", (t, f) => addition(t, f.rt, gpr(f.ra), gpr(f.rb), L.CA, { ...f, ca: true }));
I("addme", "011111 rt:5 ra:5 /5 oe:1 #234:9 rc:1", (t, f) => addition(t, f.rt, gpr(f.ra), t.const(-1), L.CA, { ...f, ca: true }));
I("addze", "011111 rt:5 ra:5 /5 oe:1 #202:9 rc:1", (t, f) => addition(t, f.rt, gpr(f.ra), t.const(0), L.CA, { ...f, ca: true }));
I(
  "addex",
  "011111 rt:5 ra:5 rb:5 cy:2 #170:8 /1",
  (t, f) => {
    if (f.cy) return t.program(L.PROGRAM_ILLEGAL);
    const sum = t.t("add", t.t("add", gpr(f.ra), gpr(f.rb)), L.OV);
    const carries = t.t3("carries", gpr(f.ra), gpr(f.rb), sum);
    t.op("bit", L.OV, carries, NONE, t.sf ? 63 : 31);
    t.op("bit", L.OV32, carries, NONE, 31);
    t.mov(gpr(f.rt), sum);
  },
  { isa300: true },
);
I("subf", "011111 rt:5 ra:5 rb:5 oe:1 #40:9 rc:1", (t, f) => {
  if (f.oe) return addition(t, f.rt, t.t("not", gpr(f.ra)), gpr(f.rb), t.const(1), f);
  t.op("sub", gpr(f.rt), gpr(f.rb), gpr(f.ra));
  if (f.rc) t.record(gpr(f.rt));
});
I("subfc", "011111 rt:5 ra:5 rb:5 oe:1 #8:9 rc:1", (t, f) =>
  addition(t, f.rt, t.t("not", gpr(f.ra)), gpr(f.rb), t.const(1), { ...f, ca: true }),
);
I("subfe", "011111 rt:5 ra:5 rb:5 oe:1 #136:9 rc:1", (t, f) =>
  addition(t, f.rt, t.t("not", gpr(f.ra)), gpr(f.rb), L.CA, { ...f, ca: true }),
);
I("subfme", "011111 rt:5 ra:5 /5 oe:1 #232:9 rc:1", (t, f) =>
  addition(t, f.rt, t.t("not", gpr(f.ra)), t.const(-1), L.CA, { ...f, ca: true }),
);
I("subfze", "011111 rt:5 ra:5 /5 oe:1 #200:9 rc:1", (t, f) =>
  addition(t, f.rt, t.t("not", gpr(f.ra)), t.const(0), L.CA, { ...f, ca: true }),
);
I("neg", "011111 rt:5 ra:5 /5 oe:1 #104:9 rc:1", (t, f) =>
  addition(t, f.rt, t.t("not", gpr(f.ra)), t.const(0), t.const(1), f),
);

I("mulli", "000111 rt:5 ra:5 si:s16", (t, f) => {
  t.op("muli", gpr(f.rt), gpr(f.ra), NONE, f.si);
});
I("mullw", "011111 rt:5 ra:5 rb:5 oe:1 #235:9 rc:1", (t, f) => {
  const p = t.t("mul", t.t("ext32s", gpr(f.ra)), t.t("ext32s", gpr(f.rb)));
  if (f.oe) setOverflowFlag(t, t.t("setne", p, t.t("ext32s", p)));
  t.mov(gpr(f.rt), p);
  if (f.rc) t.record(gpr(f.rt));
});
I("mulld", "011111 rt:5 ra:5 rb:5 oe:1 #233:9 rc:1", (t, f) => {
  const p = t.t("mul", gpr(f.ra), gpr(f.rb));
  if (f.oe) setOverflowFlag(t, t.t("setne", t.callPure("h_mulhd", gpr(f.ra), gpr(f.rb)), t.t("sari", p, NONE, 63)));
  t.mov(gpr(f.rt), p);
  if (f.rc) t.record(gpr(f.rt));
});
for (const [name, op, ext, sh] of [
  ["mulhw", 75, "ext32s", "sari"],
  ["mulhwu", 11, "ext32u", "shri"],
] as const)
  I(name, `011111 rt:5 ra:5 rb:5 /1 #${op}:9 rc:1`, (t, f) => {
    t.op("ext32u", gpr(f.rt), t.t(sh, t.t("mul", t.t(ext, gpr(f.ra)), t.t(ext, gpr(f.rb))), NONE, 32));
    if (f.rc) t.record(gpr(f.rt));
  });
for (const [name, op] of [
  ["mulhd", 73],
  ["mulhdu", 9],
] as const)
  I(name, `011111 rt:5 ra:5 rb:5 /1 #${op}:9 rc:1`, (t, f) => {
    t.callPure(`h_${name}`, gpr(f.ra), gpr(f.rb), 0, gpr(f.rt));
    if (f.rc) t.record(gpr(f.rt));
  });
const A = (op: number) => `000100 rt:5 ra:5 rb:5 rc:5 #${op}:6` as const;
I("maddld", A(51), (t, f) => void t.op("add", gpr(f.rt), t.t("mul", gpr(f.ra), gpr(f.rb)), gpr(f.rc)), { isa300: true });
for (const [name, op] of [
  ["maddhd", 48],
  ["maddhdu", 49],
] as const)
  I(
    name,
    A(op),
    (t, f) => {
      const high = t.callPure(name === "maddhd" ? "h_mulhd" : "h_mulhdu", gpr(f.ra), gpr(f.rb));
      const low = t.t("mul", gpr(f.ra), gpr(f.rb));
      const carry = t.t("setltu", t.t("add", low, gpr(f.rc)), low);
      const sum = t.t("add", high, carry);
      if (name === "maddhdu") t.mov(gpr(f.rt), sum);
      else t.op("add", gpr(f.rt), sum, t.t("sari", gpr(f.rc), NONE, 63));
    },
    { isa300: true },
  );

/** Operands of a division, the divisor made 1 where there is no result; `bad` is 1 there. */
function divisionOperands(t: PpcTranslator, ra: number, rb: number, signed: boolean, wide: boolean) {
  const ext = wide ? undefined : signed ? "ext32s" : "ext32u";
  const a = ext ? t.t(ext, gpr(ra)) : gpr(ra);
  const b = ext ? t.t(ext, gpr(rb)) : gpr(rb);
  let bad = t.t("seteqi", b, NONE, 0);
  if (signed) {
    const least = wide ? t.const(0, -0x80000000) : t.const(-0x80000000);
    bad = t.t("or", bad, t.t("and", t.t("seteqi", b, NONE, -1), t.t("seteq", a, least)));
  }
  return { a, b: t.select(t.const(1), b, bad), bad };
}

for (const [name, op, signed, wide] of [
  ["divw", 491, true, false],
  ["divwu", 459, false, false],
  ["divd", 489, true, true],
  ["divdu", 457, false, true],
] as const)
  I(name, `011111 rt:5 ra:5 rb:5 oe:1 #${op}:9 rc:1`, (t, f) => {
    const d = divisionOperands(t, f.ra, f.rb, signed, wide);
    const q = t.t(signed ? "divs32" : "divu32", d.a, d.b);
    if (f.oe) setOverflowFlag(t, d.bad);
    if (wide) t.mov(gpr(f.rt), q);
    else t.op("ext32u", gpr(f.rt), q);
    if (f.rc) t.record(gpr(f.rt));
  });
for (const [name, op, signed, wide] of [
  ["modsw", 779, true, false],
  ["moduw", 267, false, false],
  ["modsd", 777, true, true],
  ["modud", 265, false, true],
] as const)
  I(
    name,
    `011111 rt:5 ra:5 rb:5 #${op}:10 /1`,
    (t, f) => {
      const d = divisionOperands(t, f.ra, f.rb, signed, wide);
      t.op(signed ? "rems32" : "remu32", gpr(f.rt), d.a, d.b);
    },
    { isa300: true },
  );
// The helper leaves the quotient, or for its immediate's bit 8 whether there is none.
for (const [name, op, kind] of [
  ["divwe", 427, 0],
  ["divweu", 395, 1],
  ["divde", 425, 2],
  ["divdeu", 393, 3],
] as const)
  I(name, `011111 rt:5 ra:5 rb:5 oe:1 #${op}:9 rc:1`, (t, f) => {
    const q = t.callPure("h_dive", gpr(f.ra), gpr(f.rb), kind);
    if (f.oe) setOverflowFlag(t, t.callPure("h_dive", gpr(f.ra), gpr(f.rb), kind | 0x100));
    t.mov(gpr(f.rt), q);
    if (f.rc) t.record(gpr(f.rt));
  });
I("darn", "011111 rt:5 /3 l:2 /5 #755:10 /1", (t, f) => void t.callPure("h_darn", NONE, NONE, f.l, gpr(f.rt)), { isa300: true });

const C = section("Power ISA I 3.3.10");
C("cmpi", "001011 bf:3 /1 l:1 ra:5 si:s16", (t, f) => t.compareImm(f.bf, gpr(f.ra), f.si, true, f.l === 1));
C("cmp", "011111 bf:3 /1 l:1 ra:5 rb:5 #0:10 /1", (t, f) => t.compare(f.bf, gpr(f.ra), gpr(f.rb), true, f.l === 1));
C("cmpli", "001010 bf:3 /1 l:1 ra:5 ui:16", (t, f) => t.compareImm(f.bf, gpr(f.ra), f.ui, false, f.l === 1));
C("cmpl", "011111 bf:3 /1 l:1 ra:5 rb:5 #32:10 /1", (t, f) => t.compare(f.bf, gpr(f.ra), gpr(f.rb), false, f.l === 1));
C("cmprb", "011111 bf:3 /1 l:1 ra:5 rb:5 #192:10 /1", (t, f) => t.setField(f.bf, t.callPure("h_cmprb", gpr(f.ra), gpr(f.rb), f.l)), {
  isa300: true,
});
C("cmpeqb", "011111 bf:3 /2 ra:5 rb:5 #224:10 /1", (t, f) => t.setField(f.bf, t.callPure("h_cmpeqb", gpr(f.ra), gpr(f.rb))), {
  isa300: true,
});

const T = section("Power ISA I 3.3.11");
/** Traps if a condition that TO names holds. */
function trap(t: PpcTranslator, to: number, a: number, b: number): void {
  if (to === 31) return t.raise(L.V_PROGRAM, L.PROGRAM_TRAP);
  let any = -1;
  const add = (slot: number) => {
    any = any < 0 ? slot : t.t("or", any, slot);
  };
  if (to & 16) add(t.t("setlt", a, b));
  if (to & 8) add(t.t("setlt", b, a));
  if (to & 4) add(t.t("seteq", a, b));
  if (to & 2) add(t.t("setltu", a, b));
  if (to & 1) add(t.t("setltu", b, a));
  if (any >= 0) t.raiseIf(any, L.V_PROGRAM, L.PROGRAM_TRAP);
}
T("twi", "000011 to:5 ra:5 si:s16", (t, f) => trap(t, f.to, t.t("ext32s", gpr(f.ra)), t.const(f.si)));
T("tw", "011111 to:5 ra:5 rb:5 #4:10 /1", (t, f) => trap(t, f.to, t.t("ext32s", gpr(f.ra)), t.t("ext32s", gpr(f.rb))));
T("tdi", "000010 to:5 ra:5 si:s16", (t, f) => trap(t, f.to, gpr(f.ra), t.const(f.si)));
T("td", "011111 to:5 ra:5 rb:5 #68:10 /1", (t, f) => trap(t, f.to, gpr(f.ra), gpr(f.rb)));
section("Power ISA I 3.3.12")("isel", "011111 rt:5 ra:5 rb:5 bc:5 #15:5 /1", (t, f) => {
  t.select(t.gprOrZero(f.ra), gpr(f.rb), t.crBitValue(f.bc), gpr(f.rt));
});

const G = section("Power ISA I 3.3.13");
for (const [name, op, high, rc, what] of [
  ["andi.", "011100", 0, 1, "andi"],
  ["andis.", "011101", 16, 1, "andi"],
  ["ori", "011000", 0, 0, "ori"],
  ["oris", "011001", 16, 0, "ori"],
  ["xori", "011010", 0, 0, "xori"],
  ["xoris", "011011", 16, 0, "xori"],
] as const)
  G(name, `${op} rs:5 ra:5 ui:16`, (t, f) => {
    t.opWide(what, gpr(f.ra), gpr(f.rs), f.ui << high, 0);
    if (rc) t.record(gpr(f.ra));
  });
for (const [name, op, what] of [
  ["and", 28, "and"],
  ["or", 444, "or"],
  ["xor", 316, "xor"],
  ["nand", 476, "nand"],
  ["nor", 124, "nor"],
  ["eqv", 284, "eqv"],
  ["andc", 60, "andc"],
  ["orc", 412, "orc"],
] as const)
  G(name, `011111 rs:5 ra:5 rb:5 #${op}:10 rc:1`, (t, f) => {
    if (f.rs === f.rb && (what === "or" || what === "and")) t.mov(gpr(f.ra), gpr(f.rs));
    else t.op(what, gpr(f.ra), gpr(f.rs), gpr(f.rb));
    if (f.rc) t.record(gpr(f.ra));
  });
for (const [name, op, what] of [
  ["extsb", 954, "ext8s"],
  ["extsh", 922, "ext16s"],
  ["extsw", 986, "ext32s"],
  ["cntlzw", 26, "clz32"],
  ["cntlzd", 58, "clz"],
] as const)
  G(name, `011111 rs:5 ra:5 /5 #${op}:10 rc:1`, (t, f) => {
    t.op(what, gpr(f.ra), gpr(f.rs));
    if (f.rc) t.record(gpr(f.ra));
  });
for (const [name, op, what] of [
  ["cnttzw", 538, "ctz32"],
  ["cnttzd", 570, "ctz"],
] as const)
  G(
    name,
    `011111 rs:5 ra:5 /5 #${op}:10 rc:1`,
    (t, f) => {
      t.op(what, gpr(f.ra), gpr(f.rs));
      if (f.rc) t.record(gpr(f.ra));
    },
    { isa300: true },
  );
G("popcntd", "011111 rs:5 ra:5 /5 #506:10 /1", (t, f) => void t.op("popcnt", gpr(f.ra), gpr(f.rs)));
for (const [name, op] of [
  ["popcntb", 122],
  ["popcntw", 378],
  ["prtyw", 154],
  ["prtyd", 186],
  ["cdtbcd", 282],
  ["cbcdtd", 314],
] as const)
  G(name, `011111 rs:5 ra:5 /5 #${op}:10 /1`, (t, f) => void t.callPure(`h_${name}`, gpr(f.rs), NONE, 0, gpr(f.ra)));
for (const [name, op] of [
  ["cmpb", 508],
  ["bpermd", 252],
] as const)
  G(name, `011111 rs:5 ra:5 rb:5 #${op}:10 /1`, (t, f) => void t.callPure(`h_${name}`, gpr(f.rs), gpr(f.rb), 0, gpr(f.ra)));
G("addg6s", "011111 rt:5 ra:5 rb:5 /1 #74:9 /1", (t, f) => void t.callPure("h_addg6s", gpr(f.ra), gpr(f.rb), 0, gpr(f.rt)));
