/**
 * What the opcode tables' emit functions work with: operands as IR slots, memory operands with their segment rules, lazy
 * flags, block ends. One Translator a machine; it is reused for every block.
 */
import { type IrBuilder, NONE, Op } from "../../accel/tcg/ir/builder.js";
import { opCode } from "../../accel/tcg/ir/ops.js";
import { DS, ES, FS, GS, Insn, RSP, SS } from "./insn.js";
import * as L from "./layout.js";

/** IR operation codes by name; a wrong name fails at load. */
const cache = new Map<string, number>();
export function ir(name: string): number {
  let c = cache.get(name);
  if (c === undefined) {
    c = opCode(name);
    cache.set(name, c);
  }
  return c;
}

/** A guest memory operand: offset slot and displacement, segment, and what the access needs. */
export interface Mem {
  /** Slot of the linear address before `disp` is added. */
  slot: number;
  disp: number;
  /** Record bits: MMU index, stack flag, 32-bit wrap. */
  hi: number;
  /** For limit checks: the offset within the segment. */
  offSlot: number;
  offDisp: number;
  segment: number;
  check: boolean;
}

const LOADS_U = [ir("ld8u"), ir("ld16u"), ir("ld32u"), ir("ld64")];
const LOADS_S = [ir("ld8s"), ir("ld16s"), ir("ld32s"), ir("ld64")];
const STORES = [ir("st8"), ir("st16"), ir("st32"), ir("st64")];
const EXT_U = [ir("ext8u"), ir("ext16u"), ir("ext32u"), ir("mov")];
const EXT_S = [ir("ext8s"), ir("ext16s"), ir("ext32s"), ir("mov")];

/** Offset of a general register's slot. */
export const gpr = (n: number) => L.GPR + n * 8;

export class Translator {
  readonly i = new Insn();
  hflags = 0;
  /** 64-bit code. */
  long = false;
  /** Address of the block (PC value, not linear). */
  pcLo = 0;
  pcHi = 0;
  /** Statically known CC_OP, or -1. */
  cc = -1;
  /** Set when the block must end after this instruction. */
  ended = false;
  mmu = 0;
  /** Why the block ended, for region growth. */
  endKind: "jump" | "branch" | "call" | "indirect" | "return" | "system" | "split" = "split";

  constructor(
    readonly b: IrBuilder,
    private readonly helperIndex: (name: string) => number,
    private readonly features: ReadonlySet<string>,
  ) {}

  // --- plain emission ---
  op(name: string, d: number, a = NONE, b = NONE, imm = 0): number {
    this.b.op(ir(name), d, a, b, imm);
    return d;
  }

  /** A new temporary holding op(a, b, imm). */
  t(name: string, a = NONE, b = NONE, imm = 0): number {
    return this.op(name, this.b.temp(), a, b, imm);
  }

  /** `name` for 64-bit operands, name + "32" for smaller. */
  w(name: string, size: number): string {
    return size === 3 ? name : `${name}32`;
  }

  const(lo: number, hi = lo >> 31): number {
    const t = this.b.temp();
    this.b.movi(t, lo, hi);
    return t;
  }

  mov(d: number, s: number): void {
    if (d !== s) this.b.op(Op.mov, d, s);
  }

  call(name: string, a = NONE, b = NONE, imm = 0, d = -1): number {
    const dest = d < 0 ? this.b.temp() : d;
    this.b.call(this.helperIndex(name), dest, a, b, imm);
    return dest;
  }

  callPure(name: string, a = NONE, b = NONE, imm = 0): number {
    const t = this.b.temp();
    this.b.callPure(this.helperIndex(name), t, a, b, imm);
    return t;
  }

  /** A pure helper of the lazy flags. */
  callFlags(name: string, a = NONE, b = NONE, imm = 0): number {
    const t = this.b.temp();
    this.b.callFlags(this.helperIndex(name), t, a, b, imm);
    return t;
  }

  /** A floating-point or vector operation with an exact helper behind it (ops.ts: fhelper and what follows). */
  fp(name: string, d: number, a: number, b: number, helper: string, imm = 0): number {
    this.b.emit(ir(name), d, a, b, imm, this.helperIndex(helper));
    return d;
  }

  raise(vector: number, error = 0): void {
    this.b.tier0Only = true;
    this.b.emit(Op.raise, NONE, NONE, NONE, vector, error);
    this.ended = true;
  }

  /** Raises if the slot is not zero. */
  raiseIf(slot: number, vector: number, error = 0): void {
    this.b.emit(Op.raisenz, NONE, slot, NONE, vector, error);
  }

  /** Records emitted by `body` run only if the slot is not zero. */
  when(slot: number, body: () => void): void {
    const r = this.b.emit(Op.skipz, NONE, slot, NONE, 0, 0);
    body();
    this.b.patchSkip(r);
  }

  /** d = c (0 or 1) ? a : b */
  select(d: number, a: number, b: number, c: number): void {
    this.b.emit(ir("select"), d, a, b, c, 0);
  }

  /** A division too large for the fast path: tier 0's helper, which raises #DE or writes both registers. */
  divSlow(helper: string, value: number, size: number): void {
    const t = this.b.temp();
    this.b.emit(ir("slowcall"), t, value, NONE, size, this.helperIndex(helper));
  }

  /** Whether the CPU model has a feature. */
  feature(name: string): boolean {
    return this.features.has(name);
  }

  // --- extension ---
  /** The value zero-extended from `size`. */
  zext(slot: number, size: number): number {
    if (size === 3) return slot;
    const t = this.b.temp();
    this.b.op(EXT_U[size]!, t, slot);
    return t;
  }

  sext(slot: number, size: number): number {
    if (size === 3) return slot;
    const t = this.b.temp();
    this.b.op(EXT_S[size]!, t, slot);
    return t;
  }

  // --- registers ---
  /** A slot whose low bits are the register; the bits above `size` may be anything. */
  reg(n: number, size: number): number {
    if (size === 0 && n >= 4 && n < 8 && !this.i.hasRex) return this.t("ext8h", gpr(n - 4));
    return gpr(n);
  }

  /** Where a result of 4 or 8 bytes may be computed directly, else a temporary for `setReg`. */
  dest(n: number, size: number): number {
    return size >= 2 ? gpr(n) : this.b.temp();
  }

  /** Writes a register; a 4-byte value must be zero-extended already. */
  setReg(n: number, size: number, slot: number): void {
    if (size >= 2) {
      this.mov(gpr(n), slot);
      return;
    }
    if (size === 1) this.op("dep16", gpr(n), gpr(n), slot);
    else if (n >= 4 && n < 8 && !this.i.hasRex) this.op("dep8h", gpr(n - 4), gpr(n - 4), slot);
    else this.op("dep8", gpr(n), gpr(n), slot);
  }

  /** Writes a register from a value with junk above `size`. */
  setRegClean(n: number, size: number, slot: number): void {
    if (size === 2) this.op("ext32u", gpr(n), slot);
    else this.setReg(n, size, slot);
  }

  // --- memory operands ---
  /** The offset part of the ModRM memory operand: slot (or NONE) and displacement, before segmentation. */
  private offset(): { slot: number; disp: number } {
    const i = this.i;
    if (i.base === 16) {
      const lo = this.pcLo + i.offset + i.length;
      const sum = addPc(this.pcLo, this.pcHi, i.offset + i.length, i.disp);
      void lo;
      const t = this.b.temp();
      this.b.movi(t, sum[0], i.adsize === 2 ? 0 : sum[1]);
      return { slot: t, disp: 0 };
    }
    if (i.adsize === 1) {
      let s = NONE;
      if (i.base >= 0) s = i.index >= 0 ? this.t("add", gpr(i.base), gpr(i.index)) : gpr(i.base);
      if (s === NONE) return { slot: this.const(i.disp & 0xffff, 0), disp: 0 };
      if (i.disp) s = this.t("addi", s, NONE, i.disp);
      return { slot: this.t("ext16u", s), disp: 0 };
    }
    let s = NONE;
    if (i.base >= 0) s = gpr(i.base);
    if (i.index >= 0) {
      const t = this.b.temp();
      if (s !== NONE || i.base === 0) this.b.op(ir("lea"), t, s, gpr(i.index), i.scale);
      else this.b.op(ir("shli"), t, gpr(i.index), NONE, i.scale);
      s = t;
    } else if (i.base < 0) {
      const t = this.b.temp();
      this.b.movi(t, i.disp, this.long && i.adsize === 3 ? i.disp >> 31 : 0);
      return { slot: t, disp: 0 };
    }
    if (this.long && i.adsize === 2) {
      // 32-bit addresses in 64-bit mode wrap before anything else is added.
      if (i.disp) s = this.t("addi32", s, NONE, i.disp);
      else s = this.t("ext32u", s);
      return { slot: s, disp: 0 };
    }
    return { slot: s, disp: i.disp };
  }

  /** The segment of the ModRM operand. */
  private defaultSegment(): number {
    const i = this.i;
    if (i.segment >= 0) return i.segment;
    // The SDM's table 3-5: rSP and rBP as base mean SS.
    if (i.base === 4 || i.base === 5) return SS;
    return DS;
  }

  /** Adds segment base, checks and MMU bits to an offset. */
  memAt(offSlot: number, disp: number, segment: number): Mem {
    if (this.long) {
      const stack = segment === SS ? 4 : 0;
      if (segment === FS || segment === GS) {
        const lin = this.t("add", offSlot, L.SEG_BASE + segment * 8);
        return { slot: lin, disp, hi: this.mmu, offSlot, offDisp: disp, segment, check: false };
      }
      return { slot: offSlot, disp, hi: this.mmu | stack, offSlot, offDisp: disp, segment, check: false };
    }
    const flat = (this.hflags & L.HF_SEGCHK) === 0;
    // Real mode with a 32-bit address: no limit check, as under QEMU's TCG. Firmware made for it (SeaVGABIOS called by
    // U-Boot) reaches device memory that way without having raised the limits; a processor would fault.
    const unreal = this.i.adsize === 2 && (this.hflags & (L.HF_PE | L.HF_CS32)) === 0 && segment !== SS;
    const check = !unreal && (!flat || segment === FS || segment === GS || segment === 1);
    const needBase = segment >= FS || segment === 1 || (this.hflags & L.HF_ADDSEG) !== 0;
    const lin = needBase ? this.t("add", offSlot, L.SEG_BASE + segment * 8) : offSlot;
    return { slot: lin, disp, hi: this.mmu | 0x100, offSlot, offDisp: disp, segment, check };
  }

  /** The ModRM memory operand. */
  mem(): Mem {
    const o = this.offset();
    return this.memAt(o.slot, o.disp, this.defaultSegment());
  }

  /** The effective address as LEA gives it (not truncated to the operand size). */
  leaSlot(): number {
    const o = this.offset();
    let s = o.slot;
    if (o.disp) s = this.t(this.i.adsize === 3 ? "addi" : "addi32", s, NONE, o.disp);
    else if (this.i.adsize === 2) s = this.t("ext32u", s);
    return s;
  }

  /** The same memory operand `bytes` further. */
  memPlus(m: Mem, bytes: number): Mem {
    return { ...m, disp: m.disp + bytes, offDisp: m.offDisp + bytes };
  }

  /** The linear address as a value, for helpers. */
  linear(m: Mem): number {
    const s = m.disp ? this.t("addi", m.slot, NONE, m.disp) : m.slot;
    return this.long ? s : this.t("ext32u", s);
  }

  private segCheck(m: Mem, bytes: number, write: number): void {
    if (!m.check) {
      if (this.hflags & L.HF_DR7) this.call("h_dr_check", this.linear(m), NONE, bytes | (write << 8));
      return;
    }
    const limit = (write ? L.SEG_WLIM : L.SEG_RLIM) + 8 * m.segment;
    this.b.emit(Op.segchk, NONE, m.offSlot, NONE, m.offDisp, bytes | ((write | (m.segment << 1)) << 8) | (limit << 16));
    if (this.hflags & L.HF_DR7) this.call("h_dr_check", this.linear(m), NONE, bytes | (write << 8));
  }

  /** Checks an access made by a helper. */
  checkSegment(m: Mem, bytes: number, write: boolean): void {
    if (m.check) this.segCheck(m, bytes, write ? 1 : 0);
  }

  ld(m: Mem, size: number, d = this.b.temp()): number {
    this.segCheck(m, 1 << size, 0);
    this.b.emit(LOADS_U[size]!, d, m.slot, NONE, m.disp, m.hi);
    return d;
  }

  lds(m: Mem, size: number, d = this.b.temp()): number {
    this.segCheck(m, 1 << size, 0);
    this.b.emit(LOADS_S[size]!, d, m.slot, NONE, m.disp, m.hi);
    return d;
  }

  st(m: Mem, size: number, value: number): void {
    this.segCheck(m, 1 << size, 1);
    this.b.emit(STORES[size]!, NONE, m.slot, value, m.disp, m.hi);
  }

  ldv(m: Mem, d: number): number {
    this.segCheck(m, 16, 0);
    this.b.emit(ir("ldv"), d, m.slot, NONE, m.disp, m.hi);
    return d;
  }

  stv(m: Mem, v: number): void {
    this.segCheck(m, 16, 1);
    this.b.emit(ir("stv"), NONE, m.slot, v, m.disp, m.hi);
  }

  /** #GP(0) unless the operand is 16-byte aligned. */
  checkAligned(m: Mem): void {
    const t = this.t("andi", this.linear(m), NONE, 15);
    this.raiseIf(t, 13, 0);
  }

  // --- E and G operands ---
  get isMem(): boolean {
    return this.i.mod !== 3;
  }

  /** Reads the E operand; for a memory operand that will be written too, pass its `Mem`. */
  readE(size: number, m?: Mem): number {
    return this.isMem ? this.ld(m ?? this.mem(), size) : this.reg(this.i.rm, size);
  }

  readG(size: number): number {
    return this.reg(this.i.reg, size);
  }

  /** Writes the E operand; 4-byte register values must be zero-extended. */
  writeE(size: number, slot: number, m?: Mem): void {
    if (this.isMem) this.st(m ?? this.mem(), size, slot);
    else this.setReg(this.i.rm, size, slot);
  }

  writeG(size: number, slot: number): void {
    this.setReg(this.i.reg, size, slot);
  }

  immSlot(): number {
    return this.const(this.i.imm, this.i.immHi);
  }

  // --- flags ---
  setCc(op: number, size: number, dst: number, src: number): void {
    this.cc = op + size;
    this.b.emit(Op.setcc, NONE, dst, src, op + size, 0);
  }

  setCcImm(op: number, size: number, dst: number, src: number): void {
    this.cc = op + size;
    this.b.emit(Op.setcci, NONE, dst, NONE, src, op + size);
  }

  setLogic(size: number, dst: number): void {
    this.setCcImm(L.CC_LOGIC, size, dst, 0);
  }

  /** Sets all arithmetic flags from an image slot. */
  setEflags(image: number): void {
    this.cc = L.CC_EFLAGS;
    this.b.emit(Op.setcc, NONE, image, image, L.CC_EFLAGS, 0);
  }

  /** The arithmetic flags as an image. */
  flagsImage(): number {
    if (this.cc === L.CC_EFLAGS) return this.t("andi", L.CC_SRC, NONE, L.FL_ARITH);
    return this.callFlags("h_cc_compute");
  }

  /** Changes some flags, keeps the others: `image` has the new values of `mask` and zeros elsewhere. */
  mergeFlags(image: number, mask: number): void {
    const old = this.flagsImage();
    const kept = this.t("andi", old, NONE, L.FL_ARITH & ~mask);
    this.setEflags(this.t("or", kept, image));
  }

  /** Condition code 0-15 (SDM vol 2 appendix B) as a slot with 0 or 1. */
  cond(code: number): number {
    const known = this.cc >= 0 ? this.condStatic(code) : -1;
    return known >= 0 ? known : this.callFlags("h_cond", NONE, NONE, code);
  }

  private condStatic(code: number): number {
    const kind = this.cc & ~3;
    const size = this.cc & 3;
    const even = code & ~1;
    const not = (code & 1) === 1;
    const flip = (slot: number) => (not ? this.t("xori", slot, NONE, 1) : slot);
    const D = L.CC_DST;
    const S = L.CC_SRC;
    if (kind === L.CC_SUB) {
      const n = size === 3 ? "" : "32";
      const u = (s: number) => (size < 2 ? this.zext(s, size) : s);
      const s = (x: number) => (size < 2 ? this.sext(x, size) : x);
      switch (even) {
        case 2:
          return not ? this.t(`setleu${n}`, u(S), u(D)) : this.t(`setltu${n}`, u(D), u(S));
        case 4:
          return this.t(`${not ? "setne" : "seteq"}${n}`, u(D), u(S));
        case 6:
          return not ? this.t(`setltu${n}`, u(S), u(D)) : this.t(`setleu${n}`, u(D), u(S));
        case 8: {
          const r = this.sext(this.t("sub", D, S), size);
          return flip(this.t("shri", r, NONE, 63));
        }
        case 10:
          return flip(this.t("parity", this.t("sub", D, S)));
        case 12:
          return not ? this.t(`setle${n}`, s(S), s(D)) : this.t(`setlt${n}`, s(D), s(S));
        case 14:
          return not ? this.t(`setlt${n}`, s(S), s(D)) : this.t(`setle${n}`, s(D), s(S));
      }
      return -1;
    }
    if (this.cc === L.CC_EFLAGS) {
      const bit = (n: number) => flip(this.t("andi", this.t("shri", S, NONE, n), NONE, 1));
      switch (even) {
        case 0:
          return bit(11);
        case 2:
          return bit(0);
        case 4:
          return bit(6);
        case 6:
          return this.t(not ? "seteqi" : "setnei", this.t("andi", S, NONE, L.FL_CF | L.FL_ZF));
        case 8:
          return bit(7);
        case 10:
          return bit(2);
      }
      const less = this.t("andi", this.t("xor", this.t("shri", S, NONE, 7), this.t("shri", S, NONE, 11)), NONE, 1);
      if (even === 12) return flip(less);
      const zf = this.t("andi", this.t("shri", S, NONE, 6), NONE, 1);
      return flip(this.t("or", less, zf));
    }
    // Result-based kinds: Z, S, P come from CC_DST alone.
    switch (even) {
      case 4: {
        const n = size === 3 ? "" : "32";
        return this.t(not ? `setnei${n}` : `seteqi${n}`, size < 2 ? this.zext(D, size) : D);
      }
      case 8:
        return flip(this.t("shri", this.sext(D, size), NONE, 63));
      case 10:
        return flip(this.t("parity", D));
    }
    if (kind === L.CC_LOGIC) {
      const n = size === 3 ? "" : "32";
      const s = size < 2 ? this.sext(D, size) : D;
      switch (even) {
        case 0:
        case 2:
          return this.const(not ? 1 : 0);
        case 6:
          return this.t(not ? `setnei${n}` : `seteqi${n}`, size < 2 ? this.zext(D, size) : D);
        case 12:
          return flip(this.t(`setlti${n}`, s));
        case 14:
          return flip(this.t(`setlei${n}`, s));
      }
    }
    if (even === 2) {
      if (kind === L.CC_ADD) {
        const n = size === 3 ? "" : "32";
        const d = size < 2 ? this.zext(D, size) : D;
        const s = size < 2 ? this.zext(S, size) : S;
        return not ? this.t(`setleu${n}`, s, d) : this.t(`setltu${n}`, d, s);
      }
      if (kind === L.CC_INC || kind === L.CC_DEC || kind === L.CC_SHL || kind === L.CC_SHR)
        return flip(this.t("andi", S, NONE, 1));
      if (kind === L.CC_MUL) return this.t(not ? "seteqi" : "setnei", S);
    }
    if (kind === L.CC_INC || kind === L.CC_DEC) {
      // Signed comparisons after INC/DEC: result < 0 xor overflow; overflow only at the extreme value: leave to the helper.
      return -1;
    }
    return -1;
  }

  // --- stack ---
  /** Size of the stack pointer as log2. */
  get stackSize(): number {
    return this.long ? 3 : this.hflags & L.HF_SS32 ? 2 : 1;
  }

  /** A stack slot at rSP + disp (before any change of rSP). */
  stackMem(disp: number): Mem {
    const n = this.stackSize;
    if (n === 3) return { slot: gpr(RSP), disp, hi: this.mmu | 4, offSlot: gpr(RSP), offDisp: disp, segment: SS, check: false };
    if (n === 2) return this.memAt(gpr(RSP), disp, SS);
    return this.memAt(this.t("ext16u", this.t("addi", gpr(RSP), NONE, disp)), 0, SS);
  }

  addSp(bytes: number): void {
    const n = this.stackSize;
    if (n === 3) this.op("addi", gpr(RSP), gpr(RSP), NONE, bytes);
    else if (n === 2) this.op("addi32", gpr(RSP), gpr(RSP), NONE, bytes);
    else this.op("dep16", gpr(RSP), gpr(RSP), this.t("addi", gpr(RSP), NONE, bytes));
  }

  push(slot: number, size: number): void {
    const n = 1 << size;
    this.st(this.stackMem(-n), size, slot);
    this.addSp(-n);
  }

  /** Reads the top of the stack; the caller adds to rSP once nothing can fault any more. */
  top(size: number, disp = 0): number {
    return this.ld(this.stackMem(disp), size);
  }

  // --- program counter ---
  /** PC of the next instruction plus `delta`, as halves, truncated for the mode and operand size. */
  target(delta: number): [number, number] {
    const [lo, hi] = addPc(this.pcLo, this.pcHi, this.i.offset + this.i.length, delta);
    if (this.long) return [lo, hi];
    return [this.i.opsize === 1 ? lo & 0xffff : lo, 0];
  }

  nextPc(): [number, number] {
    const [lo, hi] = addPc(this.pcLo, this.pcHi, this.i.offset + this.i.length, 0);
    if (this.long) return [lo, hi];
    return [this.codeIs16 ? lo & 0xffff : lo, 0];
  }

  private get codeIs16(): boolean {
    return !this.long && !(this.hflags & L.HF_CS32);
  }

  nextPcSlot(): number {
    const [lo, hi] = this.nextPc();
    const t = this.b.temp();
    this.b.movi(t, lo, hi);
    return t;
  }

  /** Writes NEXT_RIP for a helper. */
  setNextRip(): void {
    const [lo, hi] = this.nextPc();
    this.b.movi(L.NEXT_RIP, lo, hi);
  }

  /** Single stepping: the trap belongs before the jump that ends the instruction. */
  private stepTrap(): void {
    if (this.hflags & L.HF_TF) this.call("h_step_trap");
  }

  jump(lo: number, hi: number): void {
    this.stepTrap();
    this.b.emit(Op.jmp, NONE, NONE, NONE, lo, hi);
    this.ended = true;
  }

  jumpNext(): void {
    const [lo, hi] = this.nextPc();
    this.jump(lo, hi);
  }

  /** Conditional jump; falls through to the next instruction. */
  branch(cond: number, lo: number, hi: number): void {
    this.stepTrap();
    this.b.emit(Op.jnz, NONE, cond, NONE, lo, hi);
    const [nl, nh] = this.nextPc();
    this.b.emit(Op.jmp, NONE, NONE, NONE, nl, nh);
    this.ended = true;
  }

  jumpSlot(slot: number): void {
    this.stepTrap();
    this.b.emit(Op.jind, NONE, slot, NONE, 0, 0);
    this.ended = true;
  }

  /** The block ends; a helper has written RIP. */
  exit(): void {
    this.stepTrap();
    this.b.emit(Op.exit, NONE, NONE, NONE, 0, 0);
    this.ended = true;
  }

  /** The same after a software interrupt or exception: no single-step trap. */
  exitNoTrap(): void {
    this.b.emit(Op.exit, NONE, NONE, NONE, 0, 0);
    this.ended = true;
  }

  /** A repeated string instruction: if `again`, it is executed once more; events are looked at in between. */
  repeat(again: number): void {
    this.stepTrap();
    this.b.emit(Op.jnz, NONE, again, NONE, ...addPc(this.pcLo, this.pcHi, this.i.offset, 0));
    const [lo, hi] = this.nextPc();
    this.b.emit(Op.jmp, NONE, NONE, NONE, lo, hi);
    this.endKind = "system";
    this.ended = true;
  }

  /** PAUSE: gives the turn to another vCPU. */
  yield(): void {
    this.b.tier0Only = true;
    this.setNextRip();
    this.call("h_pause");
    this.jumpNext();
  }

  /** Whether a mode is at least protected and not virtual-8086. */
  get protectedMode(): boolean {
    return (this.hflags & L.HF_PE) !== 0 && (this.hflags & L.HF_VM) === 0;
  }

  get cpl(): number {
    return this.hflags & L.HF_CPL;
  }

  get iopl(): number {
    return (this.hflags >> L.HF_IOPL_SHIFT) & 3;
  }

  /** The segment for string sources and XLAT: override or DS. */
  get dataSegment(): number {
    return this.i.segment >= 0 ? this.i.segment : DS;
  }

  readonly es = ES;
  readonly gs = GS;
}

/** PC arithmetic on halves: pc + offset + delta. */
export function addPc(lo: number, hi: number, offset: number, delta: number): [number, number] {
  const sum = (lo >>> 0) + offset + delta;
  return [sum | 0, (hi + Math.floor(sum / 2 ** 32)) | 0];
}
