/** Bit tests and scans, byte swaps, conditional moves and sets, compare-and-exchange (Intel SDM vol 2). */
import { NONE } from "../../../accel/tcg/ir/builder.js";
import { LOCK, MEM, RAX } from "../insn.js";
import * as L from "../layout.js";
import { op } from "../opcodes.js";
import { gpr, type Mem, type Translator } from "../translator.js";

// --- BT, BTS, BTR, BTC ---
const BT = ["BT", "BTS", "BTR", "BTC"] as const;

function bitTest(t: Translator, kind: (typeof BT)[number], immediate: boolean): void {
  const size = t.i.opsize;
  const bits = 8 << size;
  let m: Mem | undefined;
  let index: number;
  if (immediate) {
    index = t.const(t.i.imm & (bits - 1), 0);
    if (t.isMem) m = t.mem();
  } else {
    index = t.t("andi", t.readG(size), NONE, bits - 1);
    if (t.isMem) {
      // A register index reaches beyond the operand: signed, in units of the operand size.
      m = t.mem();
      const units = t.t("sari", t.sext(t.readG(size), size), NONE, 3 + size);
      const delta = t.t("shli", units, NONE, size);
      let off = t.t("add", m.offSlot, delta);
      let lin = t.t("add", m.slot, delta);
      if (t.i.adsize === 1) {
        off = t.t("ext16u", t.t("addi", off, NONE, m.disp));
        lin = t.memAt(off, 0, m.segment).slot;
        m = { ...m, slot: lin, disp: 0, offSlot: off, offDisp: 0 };
      } else m = { ...m, slot: lin, offSlot: off };
    }
  }
  const a = t.zext(m ? t.ld(m, size) : t.reg(t.i.rm, size), size);
  const zf = t.cond(4);
  const cf = t.t("andi", t.t("shr", a, index), NONE, 1);
  if (kind !== "BT") {
    const one = t.t("shl", t.const(1), index);
    const r = kind === "BTS" ? t.t("or", a, one) : kind === "BTC" ? t.t("xor", a, one) : t.t("and", a, t.t("not", one));
    if (m) t.st(m, size, r);
    else t.setReg(t.i.rm, size, r);
  }
  // ZF stays; the others are undefined.
  t.setEflags(t.t("or", cf, t.t("shli", zf, NONE, 6)));
}
for (const [k, kind] of BT.entries()) {
  const lock = kind === "BT" ? 0 : LOCK;
  op(`0f ${(0xa3 + 8 * k).toString(16)}`, `${kind} Ev,Gv`, (t) => bitTest(t, kind, false), lock);
  op(`0f ba /${4 + k}`, `${kind} Ev,Ib`, (t) => bitTest(t, kind, true), lock);
}

// --- scans ---
/** BSF, BSR: ZF from the source; a zero source leaves the destination (as every CPU does). */
function scan(t: Translator, forward: boolean): void {
  const size = t.i.opsize;
  const a = t.t("mov", t.zext(t.readE(size), size));
  const index = forward ? t.t("ctz", a) : t.t("xori", t.t("clz", a), NONE, 63);
  const old = size === 1 ? t.zext(t.readG(1), 1) : gpr(t.i.reg);
  const r = t.b.temp();
  // select(d = c ? a : b): c in the upper half of the immediate.
  t.select(r, index, old, t.t("setnei", a));
  t.setReg(t.i.reg, size, r);
  t.setLogic(size, a);
}
op("0f bc", "BSF Gv,Ev", (t) => scan(t, true));
op("0f bd", "BSR Gv,Ev", (t) => scan(t, false));

op("f3 0f b8", "POPCNT Gv,Ev", (t) => {
  if (!t.feature("popcnt")) return t.raise(6);
  const size = t.i.opsize;
  const a = t.zext(t.readE(size), size);
  const r = t.t("popcnt", a);
  t.setEflags(t.t("shli", t.t("seteqi", a), NONE, 6));
  t.setReg(t.i.reg, size, r);
});
op("f3 0f bc", "TZCNT Gv,Ev", (t) => {
  if (!t.feature("bmi1")) return scan(t, true);
  const size = t.i.opsize;
  const a = t.zext(t.readE(size), size);
  const guard = size === 3 ? a : t.t("or", a, t.t("shli", t.const(1), NONE, 8 << size));
  const r = t.t("ctz", guard);
  const zf = t.t("shli", t.t("seteqi", r), NONE, 6);
  t.setEflags(t.t("or", zf, t.t("seteqi", a)));
  t.setReg(t.i.reg, size, r);
});
op("f3 0f bd", "LZCNT Gv,Ev", (t) => {
  if (!t.feature("lzcnt")) return scan(t, false);
  const size = t.i.opsize;
  const a = t.zext(t.readE(size), size);
  const r = t.t("addi", t.t("clz", a), NONE, (8 << size) - 64);
  const zf = t.t("shli", t.t("seteqi", r), NONE, 6);
  t.setEflags(t.t("or", zf, t.t("seteqi", a)));
  t.setReg(t.i.reg, size, r);
});

for (let r = 0; r < 8; r++)
  op(`0f ${(0xc8 + r).toString(16)}`, "BSWAP Zv", (t) => {
    const n = (t.i.opcode & 7) | ((t.i.rex & 1) << 3);
    // 16-bit BSWAP is undefined; processors clear the register's low word.
    if (t.i.opsize === 1) t.setReg(n, 1, t.const(0));
    else t.op(t.i.opsize === 3 ? "bswap64" : "bswap32", gpr(n), gpr(n));
  });

// --- by condition ---
const CONDITIONS = "O NO B NB Z NZ BE NBE S NS P NP L NL LE NLE".split(" ");
for (const [cc, name] of CONDITIONS.entries()) {
  op(`0f ${(0x40 + cc).toString(16)}`, `CMOV${name} Gv,Ev`, (t) => {
    const size = t.i.opsize;
    const value = t.readE(size);
    const c = t.cond(cc);
    const r = size === 3 ? gpr(t.i.reg) : t.b.temp();
    t.select(r, value, gpr(t.i.reg), c);
    if (size !== 3) t.setRegClean(t.i.reg, size, r);
  });
  op(`0f ${(0x90 + cc).toString(16)}`, `SET${name} Eb`, (t) => t.writeE(0, t.cond(cc)));
}

// --- CMPXCHG, XADD ---
function cmpxchg(t: Translator, size: number): void {
  const m = t.isMem ? t.mem() : undefined;
  const old = t.t("mov", t.readE(size, m));
  const acc = t.t("mov", t.reg(RAX, size));
  const src = t.t("mov", t.readG(size));
  const equal = t.t("seteq", t.zext(acc, size), t.zext(old, size));
  const r = t.b.temp();
  t.select(r, src, old, equal);
  if (m) t.st(m, size, r);
  // The accumulator first: as destination (always equal) it takes the source.
  const value = t.b.temp();
  if (size === 2) {
    t.select(value, gpr(RAX), t.t("ext32u", old), equal);
    t.mov(gpr(RAX), value);
  } else {
    t.select(value, acc, old, equal);
    t.setReg(RAX, size, value);
  }
  if (!m) {
    // A 4-byte register destination is written (zero-extended) only when equal.
    if (size === 2) {
      const full = t.b.temp();
      t.select(full, t.t("ext32u", src), gpr(t.i.rm), equal);
      t.mov(gpr(t.i.rm), full);
    } else t.setReg(t.i.rm, size, r);
  }
  t.setCc(L.CC_SUB, size, acc, old);
}
op("0f b0", "CMPXCHG Eb,Gb", (t) => cmpxchg(t, 0), LOCK);
op("0f b1", "CMPXCHG Ev,Gv", (t) => cmpxchg(t, t.i.opsize), LOCK);

function xadd(t: Translator, size: number): void {
  const m = t.isMem ? t.mem() : undefined;
  const a = t.t("mov", t.readE(size, m));
  const src = t.t("mov", t.readG(size));
  const r = t.t(t.w("add", size), a, src);
  if (m) {
    t.st(m, size, r);
    t.setRegClean(t.i.reg, size, a);
  } else {
    t.setRegClean(t.i.reg, size, a);
    t.setReg(t.i.rm, size, r);
  }
  t.setCc(L.CC_ADD, size, r, src);
}
op("0f c0", "XADD Eb,Gb", (t) => xadd(t, 0), LOCK);
op("0f c1", "XADD Ev,Gv", (t) => xadd(t, t.i.opsize), LOCK);

op(
  "0f c7 /1 m",
  "CMPXCHG8B Mq",
  (t) => {
    const wide = t.i.opsize === 3;
    if (!t.feature(wide ? "cx16" : "cx8")) return t.raise(6);
    const m = t.mem();
    t.checkSegment(m, wide ? 16 : 8, true);
    t.call(wide ? "h_cmpxchg16b" : "h_cmpxchg8b", t.linear(m));
    t.cc = -1;
  },
  LOCK | MEM,
);

// --- CRC32, MOVBE ---
for (const [key, letter] of [["f0", "b"], ["f1", "v"]] as const)
  op(`f2 0f 38 ${key}`, `CRC32 Gd,E${letter}`, (t) => {
    if (!t.feature("sse4.2")) return t.raise(6);
    const size = letter === "b" ? 0 : t.i.prefix66 && t.i.opsize !== 3 ? 1 : t.i.opsize;
    const r = t.callPure("h_crc32", t.t("ext32u", gpr(t.i.reg)), t.zext(t.readE(size), size), size);
    t.op("ext32u", gpr(t.i.reg), r);
  });
const movbe = (load: boolean) => (t: Translator) => {
  if (!t.feature("movbe")) return t.raise(6);
  const size = t.i.opsize;
  const m = t.mem();
  const swap = (s: number) =>
    size === 3 ? t.t("bswap64", s) : size === 2 ? t.t("bswap32", s) : t.t("shri32", t.t("bswap32", s), NONE, 16);
  if (load) t.setReg(t.i.reg, size, swap(t.ld(m, size)));
  else t.st(m, size, swap(t.readG(size)));
};
for (const p of ["np", "66"]) {
  op(`${p} 0f 38 f0 m`, "MOVBE Gv,Mv", movbe(true));
  op(`${p} 0f 38 f1 m`, "MOVBE Mv,Gv", movbe(false));
}
