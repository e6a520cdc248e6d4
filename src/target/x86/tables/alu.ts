/** Integer arithmetic and logic: Intel SDM vol 2, one-byte map rows 0-3, groups 1, 2, 3, 4, 5 and their 0F relatives. */
import { LOCK, NO64, RAX, RCX, RDX } from "../insn.js";
import * as L from "../layout.js";
import { op } from "../opcodes.js";
import { gpr, type Mem, type Translator } from "../translator.js";
import { NONE } from "../../../accel/tcg/ir/builder.js";

/** Operand size of the row: 0 for the b forms. */
type Size = (t: Translator) => number;
const B: Size = () => 0;
const V: Size = (t) => t.i.opsize;

type AluOp = "ADD" | "OR" | "ADC" | "SBB" | "AND" | "SUB" | "XOR" | "CMP";
const ALU: AluOp[] = ["ADD", "OR", "ADC", "SBB", "AND", "SUB", "XOR", "CMP"];
const LOGIC_IR: Record<string, string> = { OR: "or", AND: "and", XOR: "xor" };

/**
 * Computes `a op b` into `dest` (or a temporary of its own when dest < 0) and sets the flags after `store` has run, so
 * that a faulting store leaves them alone.
 */
function alu(t: Translator, kind: AluOp, size: number, a: number, b: number, dest: number, store?: (r: number) => void): void {
  const d = dest >= 0 ? dest : t.b.temp();
  switch (kind) {
    case "ADD": {
      const src = b === d ? t.t("mov", b) : b;
      t.op(t.w("add", size), d, a, src);
      store?.(d);
      t.setCc(L.CC_ADD, size, d, src);
      return;
    }
    case "SUB":
      if (store) {
        const r = t.t(t.w("sub", size), a, b);
        store(r);
        t.setCc(L.CC_SUB, size, a, b);
        return;
      }
      t.setCc(L.CC_SUB, size, a, b);
      t.op(t.w("sub", size), d, a, b);
      return;
    case "CMP":
      t.setCc(L.CC_SUB, size, a, b);
      return;
    case "ADC":
    case "SBB": {
      const carry = t.cond(2);
      const src = t.t("mov", b);
      const n = kind === "ADC" ? "add" : "sub";
      const r = t.t(t.w(n, size), t.t(t.w(n, size), a, src), carry);
      store?.(r);
      if (!store && dest >= 0) t.mov(dest, r);
      t.op("mov", L.CC_SRC2, carry);
      t.setCc(kind === "ADC" ? L.CC_ADC : L.CC_SBB, size, r, src);
      return;
    }
    default:
      t.op(t.w(LOGIC_IR[kind]!, size), d, a, b);
      store?.(d);
      t.setLogic(size, d);
  }
}

/** E op= value. */
function aluE(t: Translator, kind: AluOp, size: number, b: number): void {
  if (t.isMem) {
    const m = t.mem();
    const a = t.ld(m, size);
    if (kind === "CMP") alu(t, kind, size, a, b, -1);
    else alu(t, kind, size, a, b, -1, (r) => t.st(m, size, r));
    return;
  }
  aluReg(t, kind, size, t.i.rm, b);
}

/** register op= value. */
function aluReg(t: Translator, kind: AluOp, size: number, reg: number, b: number): void {
  if (kind === "CMP") return alu(t, kind, size, t.reg(reg, size), b, -1);
  if (size >= 2) {
    // XOR r,r and SUB r,r are zero.
    if ((kind === "XOR" || kind === "SUB") && b === gpr(reg)) {
      t.b.movi(gpr(reg), 0, 0);
      t.setLogic(size, gpr(reg));
      return;
    }
    return alu(t, kind, size, gpr(reg), b, gpr(reg));
  }
  const a = t.reg(reg, size);
  // Partial registers: the operands of the flags must survive the write.
  const src = b === gpr(reg) || kind === "SUB" ? t.t("mov", b) : b;
  alu(t, kind, size, kind === "SUB" ? t.t("mov", a) : a, src, -1, (r) => t.setReg(reg, size, r));
}

for (const [k, kind] of ALU.entries()) {
  const lock = kind === "CMP" ? 0 : LOCK;
  const code = (n: number) => (k * 8 + n).toString(16).padStart(2, "0");
  op(code(0), `${kind} Eb,Gb`, (t) => aluE(t, kind, 0, t.readG(0)), lock);
  op(code(1), `${kind} Ev,Gv`, (t) => aluE(t, kind, t.i.opsize, t.readG(t.i.opsize)), lock);
  op(code(2), `${kind} Gb,Eb`, (t) => aluReg(t, kind, 0, t.i.reg, t.readE(0)));
  op(code(3), `${kind} Gv,Ev`, (t) => aluReg(t, kind, t.i.opsize, t.i.reg, t.readE(t.i.opsize)));
  op(code(4), `${kind} AL,Ib`, (t) => aluReg(t, kind, 0, RAX, t.immSlot()));
  op(code(5), `${kind} rAX,Iz`, (t) => aluReg(t, kind, t.i.opsize, RAX, t.immSlot()));
  op(`80 /${k}`, `${kind} Eb,Ib`, (t) => aluE(t, kind, 0, t.immSlot()), lock);
  op(`81 /${k}`, `${kind} Ev,Iz`, (t) => aluE(t, kind, t.i.opsize, t.immSlot()), lock);
  op(`82 /${k}`, `${kind} Eb,Ib`, (t) => aluE(t, kind, 0, t.immSlot()), lock | NO64);
  op(`83 /${k}`, `${kind} Ev,Ib`, (t) => aluE(t, kind, t.i.opsize, t.immSlot()), lock);
}

// --- TEST ---
function test(t: Translator, size: number, a: number, b: number): void {
  if (a === b) t.setLogic(size, a);
  else t.setLogic(size, t.t(t.w("and", size), a, b));
}
op("84", "TEST Eb,Gb", (t) => test(t, 0, t.readE(0), t.readG(0)));
op("85", "TEST Ev,Gv", (t) => test(t, t.i.opsize, t.readE(t.i.opsize), t.readG(t.i.opsize)));
op("a8", "TEST AL,Ib", (t) => test(t, 0, t.reg(RAX, 0), t.immSlot()));
op("a9", "TEST rAX,Iz", (t) => test(t, t.i.opsize, gpr(RAX), t.immSlot()));
for (const r of [0, 1]) {
  op(`f6 /${r}`, "TEST Eb,Ib", (t) => test(t, 0, t.readE(0), t.immSlot()));
  op(`f7 /${r}`, "TEST Ev,Iz", (t) => test(t, t.i.opsize, t.readE(t.i.opsize), t.immSlot()));
}

// --- INC, DEC, NOT, NEG ---
/** Reads E, computes, writes E, then flags. */
function rmw(t: Translator, size: number, compute: (a: number) => number, flags: (r: number, a: number) => void): void {
  if (t.isMem) {
    const m = t.mem();
    const a = t.ld(m, size);
    const r = compute(a);
    t.st(m, size, r);
    flags(r, a);
    return;
  }
  const a = t.reg(t.i.rm, size);
  const old = t.t("mov", a);
  const r = compute(old);
  t.setReg(t.i.rm, size, r);
  flags(r, old);
}

function incdec(t: Translator, size: number, delta: 1 | -1, reg = -1): void {
  const carry = t.cond(2);
  const kind = delta > 0 ? L.CC_INC : L.CC_DEC;
  if (reg >= 0 || (!t.isMem && size >= 2)) {
    const n = reg >= 0 ? reg : t.i.rm;
    if (size >= 2) {
      t.op(size === 3 ? "addi" : "addi32", gpr(n), gpr(n), NONE, delta);
      t.setCc(kind, size, gpr(n), carry);
    } else {
      const r = t.t("addi", gpr(n), NONE, delta);
      t.setReg(n, size, r);
      t.setCc(kind, size, r, carry);
    }
    return;
  }
  rmw(
    t,
    size,
    (a) => t.t(size === 3 ? "addi" : "addi32", a, NONE, delta),
    (r) => t.setCc(kind, size, r, carry),
  );
}
op("fe /0", "INC Eb", (t) => incdec(t, 0, 1), LOCK);
op("fe /1", "DEC Eb", (t) => incdec(t, 0, -1), LOCK);
op("ff /0", "INC Ev", (t) => incdec(t, t.i.opsize, 1), LOCK);
op("ff /1", "DEC Ev", (t) => incdec(t, t.i.opsize, -1), LOCK);
op("40+r", "INC Zv", (t) => incdec(t, t.i.opsize, 1, t.i.opcode & 7), NO64);
op("48+r", "DEC Zv", (t) => incdec(t, t.i.opsize, -1, t.i.opcode & 7), NO64);

for (const [code, letter, size] of [["f6", "b", B], ["f7", "v", V]] as const) {
  op(`${code} /2`, `NOT E${letter}`, (t) => rmw(t, size(t), (a) => t.t(t.w("not", size(t)), a), () => {}), LOCK);
  op(
    `${code} /3`,
    `NEG E${letter}`,
    (t) => rmw(t, size(t), (a) => t.t(t.w("neg", size(t)), a), (_r, a) => t.setCc(L.CC_SUB, size(t), t.const(0), a)),
    LOCK,
  );
}

// --- multiplication ---
/** rDX:rAX = rAX * E. */
function mul(t: Translator, size: number, signed: boolean): void {
  const src = t.readE(size);
  if (size === 3) {
    const b = t.t("mov", src);
    const lo = t.t("mul", gpr(RAX), b);
    const hi = t.callPure(signed ? "h_mulhi_s" : "h_mulhi_u", gpr(RAX), b);
    t.mov(gpr(RAX), lo);
    t.mov(gpr(RDX), hi);
    t.setCc(L.CC_MUL, 3, gpr(RAX), signed ? t.t("xor", hi, t.t("sari", lo, NONE, 63)) : hi);
    return;
  }
  const ext = (s: number) => (signed ? t.sext(s, size) : t.zext(s, size));
  const p = t.t("mul", ext(t.reg(RAX, size)), ext(src));
  if (size === 0) t.setReg(RAX, 1, p);
  else if (size === 1) {
    t.setReg(RAX, 1, p);
    t.setReg(RDX, 1, t.t("shri", p, NONE, 16));
  } else {
    t.op("ext32u", gpr(RAX), p);
    t.op("shri", gpr(RDX), p, NONE, 32);
  }
  t.setCc(L.CC_MUL, size, p, signed ? t.t("xor", p, t.sext(p, size)) : t.t("shri", p, NONE, 8 << size));
}
/** G = a * b, truncated. */
function imul(t: Translator, size: number, a: number, b: number): void {
  if (size === 3) {
    const x = t.t("mov", a);
    const y = t.t("mov", b);
    const lo = t.t("mul", x, y);
    t.mov(gpr(t.i.reg), lo);
    t.op("mov", L.CC_SRC2, y);
    t.setCc(L.CC_IMULQ, 3, lo, x);
    return;
  }
  const p = t.t("mul", t.sext(a, size), t.sext(b, size));
  t.setRegClean(t.i.reg, size, p);
  t.setCc(L.CC_MUL, size, p, t.t("xor", p, t.sext(p, size)));
}
for (const [code, letter, size] of [["f6", "b", B], ["f7", "v", V]] as const) {
  op(`${code} /4`, `MUL E${letter}`, (t) => mul(t, size(t), false));
  op(`${code} /5`, `IMUL E${letter}`, (t) => mul(t, size(t), true));
  op(`${code} /6`, `DIV E${letter}`, (t) => div(t, size(t), false));
  op(`${code} /7`, `IDIV E${letter}`, (t) => div(t, size(t), true));
}
op("0f af", "IMUL Gv,Ev", (t) => imul(t, t.i.opsize, gpr(t.i.reg), t.readE(t.i.opsize)));
op("69", "IMUL Gv,Ev,Iz", (t) => imul(t, t.i.opsize, t.readE(t.i.opsize), t.immSlot()));
op("6b", "IMUL Gv,Ev,Ib", (t) => imul(t, t.i.opsize, t.readE(t.i.opsize), t.immSlot()));

/** DIV and IDIV: 32-bit in IR (with #DE checked first), the rest by helper. */
function div(t: Translator, size: number, signed: boolean): void {
  const src = t.readE(size);
  if (size !== 2) {
    const v = signed ? t.sext(src, size) : t.zext(src, size);
    if (size === 3 && !signed) {
      // The common case in compiled code: rDX = 0, so a 64-bit division.
      const bad = t.t("or", t.t("setnei", gpr(RDX)), t.t("seteqi", v));
      const value = t.t("mov", v);
      const skip = t.t("xori", bad, NONE, 1);
      t.when(bad, () => t.divSlow("h_div", value, 3));
      t.when(skip, () => {
        const q = t.t("divu32", gpr(RAX), value);
        t.op("remu32", gpr(RDX), gpr(RAX), value);
        t.mov(gpr(RAX), q);
      });
      return;
    }
    if (size === 3) {
      // IDIV: rDX the sign of rAX, divisor neither 0 nor -1.
      const sign = t.t("setne", gpr(RDX), t.t("sari", gpr(RAX), NONE, 63));
      const tiny = t.t("setleui", t.t("addi", v, NONE, 1), NONE, 1);
      const bad = t.t("or", sign, tiny);
      const value = t.t("mov", v);
      const skip = t.t("xori", bad, NONE, 1);
      t.when(bad, () => t.divSlow("h_idiv", value, 3));
      t.when(skip, () => {
        const q = t.t("divs32", gpr(RAX), value);
        t.op("rems32", gpr(RDX), gpr(RAX), value);
        t.mov(gpr(RAX), q);
      });
      return;
    }
    t.call(signed ? "h_idiv" : "h_div", v, NONE, size);
    return;
  }
  const n = t.t("or", t.t("shli", gpr(RDX), NONE, 32), t.t("ext32u", gpr(RAX)));
  if (!signed) {
    const d = t.zext(src, 2);
    t.raiseIf(t.t("seteqi", d), 0);
    const q = t.t("divu32", n, d);
    t.raiseIf(t.t("setnei", t.t("shri", q, NONE, 32)), 0);
    const r = t.t("remu32", n, d);
    t.op("ext32u", gpr(RAX), q);
    t.op("ext32u", gpr(RDX), r);
    return;
  }
  const d = t.sext(src, 2);
  t.raiseIf(t.t("seteqi", d), 0);
  // The one 64-bit overflow, INT64_MIN / -1, does not fit 32 bits anyway.
  const min = t.t("shli", t.const(1), NONE, 63);
  t.raiseIf(t.t("and", t.t("seteq", n, min), t.t("seteqi", d, NONE, -1)), 0);
  const q = t.t("divs32", n, d);
  t.raiseIf(t.t("setne", q, t.sext(q, 2)), 0);
  const r = t.t("rems32", n, d);
  t.op("ext32u", gpr(RAX), q);
  t.op("ext32u", gpr(RDX), r);
}

// --- shifts and rotates ---
const SHIFT = ["ROL", "ROR", "RCL", "RCR", "SHL", "SHR", "SHL", "SAR"] as const;
type Shift = (typeof SHIFT)[number];

/** By a known count (already masked, not zero). */
function shiftConst(t: Translator, kind: Shift, size: number, n: number): void {
  const bits = 8 << size;
  let m: Mem | undefined;
  let a: number;
  if (t.isMem) {
    m = t.mem();
    a = t.ld(m, size);
  } else a = t.t("mov", t.reg(t.i.rm, size));
  const finish = (r: number) => {
    if (m) t.st(m, size, r);
    else t.setReg(t.i.rm, size, r);
  };
  switch (kind) {
    case "SHL": {
      const r = t.t(size === 3 ? "shli" : n > 31 ? "shli" : "shli32", a, NONE, n);
      finish(r);
      const cf = n <= bits ? t.t("andi", t.t("shri", a, NONE, bits - n), NONE, 1) : t.const(0);
      t.setCc(L.CC_SHL, size, r, cf);
      return;
    }
    case "SHR":
    case "SAR": {
      const x = kind === "SHR" ? t.zext(a, size) : t.sext(a, size);
      let r = t.t(kind === "SHR" ? "shri" : "sari", x, NONE, n);
      const cf = t.t("andi", t.t(kind === "SHR" ? "shri" : "sari", x, NONE, n - 1), NONE, 1);
      if (size === 2 && kind === "SAR") r = t.t("ext32u", r);
      finish(r);
      t.setCc(L.CC_SHR, size, r, cf);
      return;
    }
    case "ROL":
    case "ROR": {
      const k = n & (bits - 1);
      const r = rotate(t, kind, size, a, t.const(k));
      finish(r);
      rotateFlags(t, kind, size, r);
      return;
    }
    default: {
      // The helper changes the flags: whether memory can be written must be known before.
      if (m) t.st(m, size, a);
      const r = t.call(kind === "RCL" ? "h_rcl" : "h_rcr", t.zext(a, size), t.const(n), size);
      t.cc = -1;
      finish(r);
    }
  }
}

/** Rotates the low `size` bits; the count slot is within the operand size. */
function rotate(t: Translator, kind: "ROL" | "ROR", size: number, a: number, count: number): number {
  if (size >= 2) return t.t(t.w(kind === "ROL" ? "rotl" : "rotr", size), a, count);
  // Copies of the operand fill 32 bits, so that a 32-bit rotate does it.
  let x = t.zext(a, size);
  if (size === 0) x = t.t("or", x, t.t("shli", x, NONE, 8));
  x = t.t("or", x, t.t("shli", x, NONE, 16));
  return t.t(kind === "ROL" ? "rotl32" : "rotr32", x, count);
}

/** CF and OF of a rotate from its result; the others stay. */
function rotateFlags(t: Translator, kind: "ROL" | "ROR", size: number, r: number): void {
  const top = (8 << size) - 1;
  const msb = t.t("andi", t.t("shri", r, NONE, top), NONE, 1);
  let cf: number;
  let of: number;
  if (kind === "ROL") {
    cf = t.t("andi", r, NONE, 1);
    of = t.t("xor", msb, cf);
  } else {
    cf = msb;
    of = t.t("xor", msb, t.t("andi", t.t("shri", r, NONE, top - 1), NONE, 1));
  }
  t.mergeFlags(t.t("or", cf, t.t("shli", of, NONE, 11)), L.FL_CF | L.FL_OF);
}

/** By CL: a count of zero changes neither flags nor destination (but a memory destination is written all the same). */
function shiftCl(t: Translator, kind: Shift, size: number): void {
  const bits = 8 << size;
  let m: Mem | undefined;
  let a: number;
  if (t.isMem) {
    m = t.mem();
    a = t.ld(m, size);
  } else a = t.t("mov", t.reg(t.i.rm, size));
  const n = t.t("andi", gpr(RCX), NONE, size === 3 ? 63 : 31);
  if (kind === "RCL" || kind === "RCR") {
    if (m) t.st(m, size, a);
    const r = t.call(kind === "RCL" ? "h_rcl" : "h_rcr", t.zext(a, size), n, size);
    t.cc = -1;
    if (m) t.st(m, size, r);
    else t.setRegClean(t.i.rm, size, r);
    return;
  }
  let r: number;
  let cf = 0;
  if (kind === "ROL" || kind === "ROR") r = rotate(t, kind, size, a, t.t("andi", n, NONE, bits - 1));
  else {
    const x = kind === "SAR" ? t.sext(a, size) : t.zext(a, size);
    const irOp = kind === "SHL" ? "shl" : kind === "SHR" ? "shr" : "sar";
    r = t.t(irOp, x, n);
    // The last bit out: shift by n - 1 first (n = 0 is skipped below).
    const before = t.t(irOp, x, t.t("andi", t.t("addi", n, NONE, -1), NONE, 63));
    cf = kind === "SHL" ? t.t("andi", t.t("shri", before, NONE, bits - 1), NONE, 1) : t.t("andi", before, NONE, 1);
    if (size === 2) r = t.t("ext32u", r);
  }
  if (m) t.st(m, size, r);
  else t.setReg(t.i.rm, size, r);
  t.when(n, () => {
    if (kind === "ROL" || kind === "ROR") rotateFlags(t, kind, size, r);
    else t.setCc(kind === "SHL" ? L.CC_SHL : L.CC_SHR, size, r, cf);
  });
  t.cc = -1;
}

for (const [k, kind] of SHIFT.entries()) {
  for (const [code, letter, size] of [["c0", "b", B], ["c1", "v", V]] as const)
    op(`${code} /${k}`, `${kind} E${letter},Ib`, (t) => {
      const s = size(t);
      const n = t.i.imm & (s === 3 ? 63 : 31);
      if (n) shiftConst(t, kind, s, n);
      else if (t.isMem) {
        const m = t.mem();
        t.st(m, s, t.ld(m, s));
      } else if (s === 2) t.op("ext32u", gpr(t.i.rm), gpr(t.i.rm));
    });
  for (const [code, letter, size] of [["d0", "b", B], ["d1", "v", V]] as const)
    op(`${code} /${k}`, `${kind} E${letter},1`, (t) => shiftConst(t, kind, size(t), 1));
  for (const [code, letter, size] of [["d2", "b", B], ["d3", "v", V]] as const)
    op(`${code} /${k}`, `${kind} E${letter},CL`, (t) => shiftCl(t, kind, size(t)));
}

/** SHLD and SHRD. 16-bit counts above 16 and CL counts by helper. */
function shiftDouble(t: Translator, left: boolean, byCl: boolean): void {
  const size = t.i.opsize;
  const m = t.isMem ? t.mem() : undefined;
  const a = t.readE(size, m);
  const write = (r: number) => {
    if (m) t.st(m, size, r);
    else t.setReg(t.i.rm, size, r);
  };
  const n = t.i.imm & (size === 3 ? 63 : 31);
  if (byCl || size === 1) {
    if (!byCl && n === 0) return write(t.t("mov", a));
    if (m) t.st(m, size, a);
    const r = t.call(left ? "h_shld" : "h_shrd", t.zext(a, size), t.zext(t.readG(size), size), byCl ? size | 0x10000 : size | (n << 8));
    t.cc = -1;
    write(size === 2 ? t.t("ext32u", r) : r);
    return;
  }
  if (n === 0) {
    if (size === 2) write(t.t("ext32u", a));
    return;
  }
  const bits = 8 << size;
  const x = t.zext(a, size);
  const y = t.zext(t.readG(size), size);
  let r = left
    ? t.t("or", t.t("shli", x, NONE, n), t.t("shri", y, NONE, bits - n))
    : t.t("or", t.t("shri", x, NONE, n), t.t("shli", y, NONE, bits - n));
  const cf = t.t("andi", t.t("shri", x, NONE, left ? bits - n : n - 1), NONE, 1);
  if (size === 2) r = t.t("ext32u", r);
  write(r);
  t.setCc(left ? L.CC_SHL : L.CC_SHR, size, r, cf);
}
op("0f a4", "SHLD Ev,Gv,Ib", (t) => shiftDouble(t, true, false));
op("0f a5", "SHLD Ev,Gv,CL", (t) => shiftDouble(t, true, true));
op("0f ac", "SHRD Ev,Gv,Ib", (t) => shiftDouble(t, false, false));
op("0f ad", "SHRD Ev,Gv,CL", (t) => shiftDouble(t, false, true));

// --- decimal ---
for (const [code, name] of [["27", "DAA"], ["2f", "DAS"], ["37", "AAA"], ["3f", "AAS"]] as const)
  op(
    code,
    name,
    (t) => {
      t.call(`h_${name.toLowerCase()}`);
      t.cc = -1;
    },
    NO64,
  );
for (const [code, name] of [["d4", "AAM"], ["d5", "AAD"]] as const)
  op(
    code,
    `${name} Ib`,
    (t) => {
      t.call(`h_${name.toLowerCase()}`, NONE, NONE, t.i.imm & 255);
      t.cc = -1;
    },
    NO64,
  );
op(
  "d6",
  "SALC",
  (t) => {
    t.setReg(RAX, 0, t.t("neg", t.cond(2)));
  },
  NO64,
);
