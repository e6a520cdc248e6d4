/** Data movement: MOV and relatives, stack, exchange, segment registers (Intel SDM vol 2). */
import { NONE } from "../../../accel/tcg/ir/builder.js";
import { D64, ES, FS, GS, LOCK, MEM, NO64, ONLY64, RAX, RBP, RBX, RSP, SS } from "../insn.js";
import * as L from "../layout.js";
import { op } from "../opcodes.js";
import { gpr, type Translator } from "../translator.js";

op("88", "MOV Eb,Gb", (t) => t.writeE(0, t.readG(0)));
op("89", "MOV Ev,Gv", (t) => {
  const size = t.i.opsize;
  if (t.isMem) t.st(t.mem(), size, t.readG(size));
  else t.setRegClean(t.i.rm, size, t.readG(size));
});
op("8a", "MOV Gb,Eb", (t) => t.writeG(0, t.readE(0)));
op("8b", "MOV Gv,Ev", (t) => {
  const size = t.i.opsize;
  if (!t.isMem) return t.setRegClean(t.i.reg, size, gpr(t.i.rm));
  if (size >= 2) t.ld(t.mem(), size, gpr(t.i.reg));
  else t.setReg(t.i.reg, size, t.ld(t.mem(), size));
});
op("c6 /0", "MOV Eb,Ib", (t) => t.writeE(0, t.immSlot()));
op("c7 /0", "MOV Ev,Iz", (t) => {
  if (t.isMem) t.st(t.mem(), t.i.opsize, t.immSlot());
  else movImm(t, t.i.rm, t.i.opsize);
});
function movImm(t: Translator, reg: number, size: number): void {
  if (size >= 2) t.b.movi(gpr(reg), t.i.imm, size === 2 ? 0 : t.i.immHi);
  else t.setReg(reg, size, t.immSlot());
}
const zreg = (t: Translator) => (t.i.opcode & 7) | ((t.i.rex & 1) << 3);
op("b0+r", "MOV Zb,Ib", (t) => movImm(t, zreg(t), 0));
op("b8+r", "MOV Zv,Iv", (t) => movImm(t, zreg(t), t.i.opsize));

// --- moffs ---
const moffs = (t: Translator) => {
  const c = t.b.temp();
  t.b.movi(c, t.i.imm, t.i.immHi);
  return t.memAt(c, 0, t.dataSegment);
};
op("a0", "MOV AL,Ob", (t) => t.setReg(RAX, 0, t.ld(moffs(t), 0)));
op("a1", "MOV rAX,Ov", (t) => t.setReg(RAX, t.i.opsize, t.ld(moffs(t), t.i.opsize)));
op("a2", "MOV Ob,AL", (t) => t.st(moffs(t), 0, gpr(RAX)));
op("a3", "MOV Ov,rAX", (t) => t.st(moffs(t), t.i.opsize, gpr(RAX)));

// --- widening ---
const widen = (from: number, signed: boolean) => (t: Translator) => {
  const size = t.i.opsize;
  const direct = size >= 2;
  if (t.isMem) {
    if (!signed) {
      const v = t.ld(t.mem(), from, direct ? gpr(t.i.reg) : t.b.temp());
      if (!direct) t.setReg(t.i.reg, size, v);
    } else if (size === 3) t.lds(t.mem(), from, gpr(t.i.reg));
    else t.setRegClean(t.i.reg, size, t.lds(t.mem(), from));
    return;
  }
  const s = t.reg(t.i.rm, from);
  if (!direct) return t.setReg(t.i.reg, size, signed ? t.sext(s, from) : t.zext(s, from));
  const d = gpr(t.i.reg);
  if (!signed) t.op(from === 0 ? "ext8u" : "ext16u", d, s);
  else if (size === 3) t.op(from === 0 ? "ext8s" : from === 1 ? "ext16s" : "ext32s", d, s);
  else t.op(from === 0 ? "ext8s32" : "ext16s32", d, s);
};
op("0f b6", "MOVZX Gv,Eb", widen(0, false));
op("0f b7", "MOVZX Gv,Ew", widen(1, false));
op("0f be", "MOVSX Gv,Eb", widen(0, true));
op("0f bf", "MOVSX Gv,Ew", widen(1, true));
op(
  "63",
  "MOVSXD Gv,Ed",
  (t) => {
    if (t.i.opsize === 3) return widen(2, true)(t);
    const size = t.i.opsize;
    t.setRegClean(t.i.reg, size, t.readE(size));
  },
  ONLY64,
);
op("98", "CBW", (t) => {
  const size = t.i.opsize;
  if (size === 3) t.op("ext32s", gpr(RAX), gpr(RAX));
  else if (size === 2) t.op("ext16s32", gpr(RAX), gpr(RAX));
  else t.setReg(RAX, 1, t.t("ext8s", gpr(RAX)));
});
op("99", "CWD", (t) => {
  const size = t.i.opsize;
  if (size === 3) t.op("sari", gpr(2), gpr(RAX), NONE, 63);
  else if (size === 2) t.op("sari32", gpr(2), gpr(RAX), NONE, 31);
  else t.setReg(2, 1, t.t("sari", t.t("ext16s", gpr(RAX)), NONE, 15));
});

op(
  "8d",
  "LEA Gv,M",
  (t) => t.setRegClean(t.i.reg, t.i.opsize, t.leaSlot()),
  MEM,
);

op("d7", "XLAT", (t) => {
  const sum = t.t("add", gpr(RBX), t.t("ext8u", gpr(RAX)));
  const off = t.i.adsize === 3 ? sum : t.t(t.i.adsize === 2 ? "ext32u" : "ext16u", sum);
  t.setReg(RAX, 0, t.ld(t.memAt(off, 0, t.dataSegment), 0));
});

// --- exchange ---
function xchg(t: Translator, size: number): void {
  if (t.isMem) {
    const m = t.mem();
    const old = t.ld(m, size);
    t.st(m, size, t.readG(size));
    t.setReg(t.i.reg, size, old);
    return;
  }
  const a = t.t("mov", t.reg(t.i.rm, size));
  const b = t.t("mov", t.readG(size));
  t.setRegClean(t.i.rm, size, b);
  t.setRegClean(t.i.reg, size, a);
}
op("86", "XCHG Eb,Gb", (t) => xchg(t, 0), LOCK);
op("87", "XCHG Ev,Gv", (t) => xchg(t, t.i.opsize), LOCK);
for (let r = 0; r < 8; r++)
  op((0x90 + r).toString(16), r === 0 ? "NOP" : "XCHG Zv,rAX", (t) => {
    const n = zreg(t);
    if (n === 0) {
      // PAUSE: another vCPU may hold what this one spins for.
      if (t.i.rep === 0xf3) t.yield();
      return;
    }
    const size = t.i.opsize;
    const a = t.t("mov", gpr(RAX));
    const b = t.t("mov", gpr(n));
    t.setRegClean(RAX, size, b);
    t.setRegClean(n, size, a);
  });
for (const k of ["0f 0d m", "0f 18", "0f 19", "0f 1a", "0f 1b", "0f 1c", "0f 1d", "0f 1e", "0f 1f"]) op(k, "NOP Ev", () => {});

// --- stack ---
const pushReg = (t: Translator) => t.push(gpr(zreg(t)), t.i.opsize);
op("50+r", "PUSH Zv", pushReg, D64);
op(
  "58+r",
  "POP Zv",
  (t) => {
    const size = t.i.opsize;
    const v = t.top(size);
    t.addSp(1 << size);
    t.setReg(zreg(t), size, v);
  },
  D64,
);
op("68", "PUSH Iz", (t) => t.push(t.immSlot(), t.i.opsize), D64);
op("6a", "PUSH Ib", (t) => t.push(t.immSlot(), t.i.opsize), D64);
op("ff /6", "PUSH Ev", (t) => t.push(t.readE(t.i.opsize), t.i.opsize), D64);
op(
  "8f /0",
  "POP Ev",
  (t) => {
    const size = t.i.opsize;
    const v = t.top(size);
    if (!t.isMem) {
      t.addSp(1 << size);
      t.setReg(t.i.rm, size, v);
      return;
    }
    // An address with rSP as base uses the value after the increment; the store may still fault, so rSP is put back first.
    if (t.i.base === RSP) t.i.disp += 1 << size;
    const m = t.mem();
    t.st(m, size, v);
    t.addSp(1 << size);
  },
  D64,
);
op(
  "60",
  "PUSHA",
  (t) => {
    const size = t.i.opsize;
    const n = 1 << size;
    for (let r = 0; r < 8; r++) t.st(t.stackMem(-n * (r + 1)), size, gpr(r));
    t.addSp(-8 * n);
  },
  NO64,
);
op(
  "61",
  "POPA",
  (t) => {
    const size = t.i.opsize;
    const n = 1 << size;
    const v: number[] = [];
    for (let k = 0; k < 8; k++) v.push(k === 3 ? NONE : t.top(size, n * k));
    t.addSp(8 * n);
    for (let k = 0; k < 8; k++) if (k !== 3) t.setReg(7 - k, size, v[k]!);
  },
  NO64,
);
op("9c", "PUSHF", (t) => t.push(t.call("h_pushf", NONE, NONE, t.i.opsize), t.i.opsize), D64);
op(
  "9d",
  "POPF",
  (t) => {
    const size = t.i.opsize;
    const v = t.top(size);
    t.call("h_popf", v, NONE, size);
    t.cc = -1;
    t.addSp(1 << size);
    t.jumpNext();
  },
  D64,
);
op(
  "c8",
  "ENTER Iw,Ib",
  (t) => {
    t.call("h_enter", t.const(t.i.imm & 0xffff, 0), t.const(t.i.imm2 & 31, 0), t.i.opsize);
  },
  D64,
);
op(
  "c9",
  "LEAVE",
  (t) => {
    const size = t.i.opsize;
    const n = t.stackSize;
    const base = n === 3 ? gpr(RBP) : t.t(n === 2 ? "ext32u" : "ext16u", gpr(RBP));
    const m = t.memAt(base, 0, SS);
    const v = t.ld(n === 3 ? { ...m, hi: m.hi | 4 } : m, size);
    if (n === 3) t.op("addi", gpr(RSP), gpr(RBP), NONE, 1 << size);
    else if (n === 2) t.op("addi32", gpr(RSP), gpr(RBP), NONE, 1 << size);
    else t.op("dep16", gpr(RSP), gpr(RSP), t.t("addi", gpr(RBP), NONE, 1 << size));
    t.setReg(RBP, size, v);
  },
  D64,
);

// --- segment registers ---
const selector = (s: number) => L.SEG_SEL + 4 * s;
op("8c", "MOV Ev,Sw", (t) => {
  const s = t.i.reg & 7;
  if (s > 5) return t.raise(6);
  const v = t.t("ldst32", NONE, NONE, selector(s));
  if (t.isMem) t.st(t.mem(), 1, v);
  else t.setReg(t.i.rm, t.i.opsize, v);
});
op("8e", "MOV Sw,Ew", (t) => {
  const s = t.i.reg & 7;
  if (s > 5 || s === 1) return t.raise(6);
  loadSegment(t, s, t.zext(t.readE(1), 1));
});
/** Loading a segment may change HFLAGS: the block ends. */
function loadSegment(t: Translator, s: number, sel: number, before?: () => void): void {
  t.call("h_load_seg", sel, NONE, s === SS ? s | 0x100 : s);
  before?.();
  t.jumpNext();
}
for (const [s, push, pop] of [[0, "06", "07"], [1, "0e", ""], [2, "16", "17"], [3, "1e", "1f"], [4, "0f a0", "0f a1"], [5, "0f a8", "0f a9"]] as const) {
  const flags = s < 4 ? NO64 : D64;
  const name = `${"ECSDFG"[s]}S`;
  op(
    push,
    `PUSH ${name}`,
    (t) => {
      const n = 1 << t.i.opsize;
      // The selector is 16 bits; the rest of the slot is written as zero by current processors only for 64-bit pushes.
      const v = t.t("ldst32", NONE, NONE, selector(s));
      if (t.i.opsize === 2) {
        t.st(t.stackMem(-n), 1, v);
        t.addSp(-n);
      } else t.push(v, t.i.opsize);
    },
    flags,
  );
  if (pop)
    op(
      pop,
      `POP ${name}`,
      (t) => {
        const v = t.zext(t.top(1), 1);
        loadSegment(t, s, v, () => t.addSp(1 << t.i.opsize));
      },
      flags,
    );
}
for (const [key, s, flags] of [["c4 m", ES, NO64], ["c5 m", 3, NO64], ["0f b2 m", SS, 0], ["0f b4 m", FS, 0], ["0f b5 m", GS, 0]] as const)
  op(
    key,
    `L${"ECSDFG"[s]}S Gv,Mp`,
    (t) => {
      const size = t.i.opsize;
      const m = t.mem();
      const off = t.ld(m, size);
      const sel = t.ld(t.memPlus(m, 1 << size), 1);
      t.call("h_load_seg", sel, NONE, s);
      t.setReg(t.i.reg, size, off);
      t.jumpNext();
    },
    flags | MEM,
  );
op("np 0f c3 m", "MOVNTI My,Gy", (t) => t.st(t.mem(), t.i.opsize === 3 ? 3 : 2, gpr(t.i.reg)), MEM);
