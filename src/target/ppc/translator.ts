/**
 * What the instruction table's emit functions work with: registers as IR slots, memory accesses in the current byte order,
 * condition fields, block ends. One PpcTranslator a machine; it is reused for every block.
 */
import { type IrBuilder, NONE, Op } from "../../accel/tcg/ir/builder.js";
import { opCode } from "../../accel/tcg/ir/ops.js";
import type { BlockEnd } from "../../accel/tcg/target.js";
import * as L from "./layout.js";

const codes = new Map<string, number>();
/** IR operation code by name. @throws Error for a wrong name (a bug of ours) */
export function ir(name: string): number {
  let c = codes.get(name);
  if (c === undefined) {
    c = opCode(name);
    codes.set(name, c);
  }
  return c;
}

export const gpr = (n: number) => L.GPR + n * 8;
export const crf = (n: number) => L.CRF + n * 8;
export const vsr = (n: number) => L.VSR + n * 16;
export const vr = (n: number) => L.VSR + (n + 32) * 16;
export const spr = (n: number) => L.SPR + n * 8;

/** No slot: the comparison is with a constant. */
const IMM = -1;

/** Operands of the comparison that set a CR field last, as long as they have not changed. */
interface Comparison {
  readonly signed: boolean;
  readonly wide: boolean;
  readonly a: number;
  /** Slot, or IMM for the constant `imm`. */
  readonly b: number;
  readonly imm: number;
}

const LOADS: { readonly [size: number]: readonly [string, string] } = {
  1: ["ld8u", "ld8s"],
  2: ["ld16u", "ld16s"],
  4: ["ld32u", "ld32s"],
  8: ["ld64", "ld64"],
};

export class PpcTranslator {
  hflags = 0;
  /** Little-endian accesses and instructions. */
  le = false;
  /** 64-bit mode. */
  sf = true;
  user = false;
  mmu = 0;
  pcLo = 0;
  pcHi = 0;
  /** The instruction's word and its offset in the block. */
  word = 0;
  offset = 0;
  ended = false;
  endKind: BlockEnd = "split";
  private readonly compared: (Comparison | undefined)[] = new Array(8);

  constructor(
    readonly b: IrBuilder,
    private readonly helperIndex: (name: string) => number,
    readonly isa300: boolean,
  ) {}

  begin(hflags: number, pcLo: number, pcHi: number): void {
    this.hflags = hflags;
    this.le = (hflags & L.HF_LE) !== 0;
    this.sf = (hflags & L.HF_SF) !== 0;
    this.user = (hflags & L.HF_PR) !== 0;
    this.mmu = hflags & 3;
    this.pcLo = pcLo;
    this.pcHi = pcHi;
    this.ended = false;
    this.endKind = "split";
    this.compared.fill(undefined);
  }

  startInsn(word: number, offset: number): void {
    this.word = word;
    this.offset = offset;
  }

  // --- plain emission ---
  /** Appends a record; keeps track of what a write makes unknown. */
  private emit(op: number, d: number, a: number, b: number, lo: number, hi: number): void {
    this.b.emit(op, d, a, b, lo, hi);
    if (d < L.GLOBALS_END) this.written(d);
  }

  private written(d: number): void {
    for (let i = 0; i < 8; i++) {
      const c = this.compared[i];
      if (c && (c.a === d || c.b === d || d === crf(i))) this.compared[i] = undefined;
    }
  }

  /** d = op(a, b, imm) */
  op(name: string, d: number, a = NONE, b = NONE, imm = 0): number {
    this.emit(ir(name), d, a, b, imm | 0, imm < 0 ? -1 : 0);
    return d;
  }

  /** A new temporary holding op(a, b, imm). */
  t(name: string, a = NONE, b = NONE, imm = 0): number {
    return this.op(name, this.b.temp(), a, b, imm);
  }

  /** d = op(a, b, c), for operations with three slots. */
  op3(name: string, d: number, a: number, b: number, c: number): number {
    this.emit(ir(name), d, a, b, c, 0);
    return d;
  }

  t3(name: string, a: number, b: number, c: number): number {
    return this.op3(name, this.b.temp(), a, b, c);
  }

  /** A new vector temporary. */
  v(name: string, a = NONE, b = NONE, imm = 0): number {
    return this.op(name, this.b.vtemp(), a, b, imm);
  }

  v3(name: string, a: number, b: number, c: number): number {
    return this.op3(name, this.b.vtemp(), a, b, c);
  }

  const(lo: number, hi = lo >> 31): number {
    const t = this.b.temp();
    this.b.movi(t, lo, hi);
    return t;
  }

  /** d = a 64-bit constant, by halves. */
  movWide(d: number, lo: number, hi: number): void {
    this.emit(Op.movi, d, NONE, NONE, lo, hi);
  }

  /** d = op(a, imm) with a 64-bit immediate, by halves. */
  opWide(name: string, d: number, a: number, lo: number, hi: number): number {
    this.emit(ir(name), d, a, NONE, lo | 0, hi | 0);
    return d;
  }

  /** a AND a 64-bit constant. */
  mask(a: number, lo: number, hi: number, d = this.b.temp()): number {
    this.emit(ir("andi"), d, a, NONE, lo, hi);
    return d;
  }

  mov(d: number, s: number): void {
    if (d !== s) this.emit(Op.mov, d, s, NONE, 0, 0);
  }

  /** Tier 0's helper: may fault, may read and write all state. */
  call(name: string, a = NONE, b = NONE, imm = 0, d = -1): number {
    const dest = d < 0 ? this.b.temp() : d;
    this.b.call(this.helperIndex(name), dest, a, b, imm);
    this.compared.fill(undefined);
    return dest;
  }

  /** A helper that neither faults nor touches slots. */
  callPure(name: string, a = NONE, b = NONE, imm = 0, d = this.b.temp()): number {
    this.emit(Op.callp, d, a, b, imm, this.helperIndex(name));
    return d;
  }

  /** Vector helpers: d = what the helper leaves at its first operand's copy. */
  vcall(name: string, d: number, a: number, b: number, imm = 0): number {
    this.emit(ir("vcallp"), d, a, b, imm, this.helperIndex(name));
    return d;
  }

  /** The same with three operands; imm has 16 bits. */
  vcall3(name: string, d: number, a: number, b: number, c: number, imm = 0): number {
    this.emit(ir("vcall3p"), d, a, b, c | (imm << 16), this.helperIndex(name));
    return d;
  }

  /** Floating-point helpers, which may raise while exceptions are enabled. */
  fcall(name: string, d: number, a: number, b: number, c: number, imm: number): number {
    this.emit(ir("fv3helper"), d, a, b, c | (imm << 16), this.helperIndex(name));
    return d;
  }

  /** A floating-point helper with a scalar result. */
  fscalar(name: string, d: number, a: number, b: number, imm: number): number {
    this.emit(ir("fhelper"), d, a, b, imm, this.helperIndex(name));
    return d;
  }

  raise(vector: number, detail = 0): void {
    this.b.tier0Only = true;
    this.b.emit(Op.raise, NONE, NONE, NONE, vector, detail);
    this.ended = true;
  }

  /** Program interrupt: L.PROGRAM_*. */
  program(cause: number): void {
    this.raise(L.V_PROGRAM, cause);
  }

  raiseIf(slot: number, vector: number, detail = 0): void {
    this.b.emit(Op.raisenz, NONE, slot, NONE, vector, detail);
  }

  /** Records emitted by `body` run only if the slot is not zero. */
  when(slot: number, body: () => void): void {
    const r = this.b.emit(Op.skipz, NONE, slot, NONE, 0, 0);
    body();
    this.b.patchSkip(r);
  }

  /** c (0 or 1) ? a : b */
  select(a: number, b: number, c: number, d = this.b.temp()): number {
    return this.op3("select", d, a, b, c);
  }

  // --- registers ---
  /** (RA|0) */
  gprOrZero(n: number): number {
    return n ? gpr(n) : this.const(0);
  }

  // --- memory ---
  /** Effective address (RA|0) + displacement: slot and what a record's immediate adds. */
  addressD(ra: number, disp: number): { slot: number; disp: number } {
    if (ra) return { slot: gpr(ra), disp };
    return { slot: this.const(disp), disp: 0 };
  }

  /** (RA|0) + (RB). */
  addressX(ra: number, rb: number): number {
    return ra ? this.t("add", gpr(ra), gpr(rb)) : gpr(rb);
  }

  /** The effective address as a value (update forms): truncated in 32-bit mode. */
  effective(slot: number, disp = 0): number {
    if (this.sf) return disp ? this.t("addi", slot, NONE, disp) : slot;
    return this.t("addi32", slot, NONE, disp);
  }

  private accessHi(): number {
    return this.mmu | (this.sf ? 0 : 0x100);
  }

  /** d = guest value of `size` bytes; `reversed` against the current byte order. */
  load(d: number, slot: number, disp: number, size: number, signed = false, reversed = false): number {
    const swap = size > 1 && this.le === reversed;
    const name = LOADS[size]![signed && !swap ? 1 : 0];
    this.emit(ir(name), d, slot, NONE, disp, this.accessHi());
    if (swap) {
      if (size === 2) this.op("bswap16", d, d);
      else if (size === 4) this.op("bswap32", d, d);
      else this.op("bswap64", d, d);
      if (signed && size === 2) this.op("ext16s", d, d);
      if (signed && size === 4) this.op("ext32s", d, d);
    }
    return d;
  }

  store(value: number, slot: number, disp: number, size: number, reversed = false): void {
    let v = value;
    if (size > 1 && this.le === reversed) v = this.t(size === 2 ? "bswap16" : size === 4 ? "bswap32" : "bswap64", value);
    this.b.emit(ir(`st${size * 8}`), NONE, slot, v, disp, this.accessHi());
  }

  /** 16 bytes as they lie in memory, byte 0 in the vector's byte 0. */
  loadVector(slot: number, disp = 0, d = this.b.vtemp()): number {
    this.emit(ir("ldv"), d, slot, NONE, disp, this.accessHi());
    return d;
  }

  storeVector(v: number, slot: number, disp = 0): void {
    this.b.emit(ir("stv"), NONE, slot, v, disp, this.accessHi());
  }

  /** Alignment interrupt unless the address is a multiple of `bytes`. */
  alignment(ea: number, bytes: number): void {
    const low = this.t("andi", ea, NONE, bytes - 1);
    this.when(low, () => {
      this.b.emit(ir("slowcall"), this.b.temp(), ea, NONE, 0, this.helperIndex("h_alignment"));
    });
  }

  // --- condition fields ---
  /** CR field = comparison of two slots, with XER.SO. */
  compare(field: number, a: number, b: number, signed: boolean, wide: boolean): void {
    const name = `cmp_${signed ? "s" : "u"}${wide ? "" : "32"}`;
    this.op3(name, crf(field), a, b, L.SO);
    this.compared[field] = { signed, wide, a, b, imm: 0 };
  }

  compareImm(field: number, a: number, imm: number, signed: boolean, wide: boolean): void {
    if (imm === 0 && signed) {
      this.op(wide ? "cmp_s0" : "cmp_s032", crf(field), a, L.SO);
    } else {
      const c = this.const(imm, signed ? imm >> 31 : 0);
      this.op3(`cmp_${signed ? "s" : "u"}${wide ? "" : "32"}`, crf(field), a, c, L.SO);
    }
    this.compared[field] = { signed, wide, a, b: IMM, imm };
  }

  /** CR0 of a record form. */
  record(slot: number): void {
    this.compareImm(0, slot, 0, true, this.sf);
    // A temporary does not outlive its instruction.
    if (slot >= L.GLOBALS_END) this.compared[0] = undefined;
  }

  /** A slot that is not zero when CR bit `bi` is set. */
  crBit(bi: number): number {
    const field = bi >> 2;
    const c = this.compared[field];
    const which = bi & 3;
    if (c && which < 3 && this.alive(c)) {
      const w = c.wide ? "" : "32";
      const u = c.signed ? "" : "u";
      if (c.b !== IMM) {
        if (which === 0) return this.t(`setlt${u}${w}`, c.a, c.b);
        if (which === 1) return this.t(`setlt${u}${w}`, c.b, c.a);
        return this.t(`seteq${w}`, c.a, c.b);
      }
      if (which === 0) return this.t(`setlt${u}i${w}`, c.a, NONE, c.imm);
      if (which === 1) {
        // a > imm = not (a <= imm)
        return this.t("xori", this.t(`setle${u}i${w}`, c.a, NONE, c.imm), NONE, 1);
      }
      return this.t(`seteqi${w}`, c.a, NONE, c.imm);
    }
    return this.t("andi", crf(field), NONE, 8 >> which);
  }

  /** CR bit `bi` as 0 or 1. */
  crBitValue(bi: number): number {
    const c = this.compared[bi >> 2];
    if (c && (bi & 3) < 3 && this.alive(c)) return this.crBit(bi);
    return this.t("bit", crf(bi >> 2), NONE, 3 - (bi & 3));
  }

  /** CR6 of a vector comparison: all true, 0, none true, 0. */
  recordVector(v: number): void {
    this.setField(6, this.t("or", this.t("shli", this.t("vones", v), NONE, 3), this.t("shli", this.t("vzeros", v), NONE, 1)));
  }

  setField(field: number, slot: number): void {
    this.mov(crf(field), slot);
  }

  private alive(c: Comparison): boolean {
    return c.a < L.GLOBALS_END && (c.b === IMM || c.b < L.GLOBALS_END);
  }

  // --- ends of blocks ---
  /** Address `bytes` after the instruction's, as constant halves. */
  relative(bytes: number): [number, number] {
    const lo = (this.pcLo >>> 0) + this.offset + bytes;
    const hi = this.sf ? this.pcHi + Math.floor(lo / 2 ** 32) : 0;
    return [lo | 0, hi | 0];
  }

  /** The next instruction's address as a slot. */
  nextPc(): number {
    const [lo, hi] = this.relative(4);
    return this.const(lo, hi);
  }

  pcSlot(): number {
    const [lo, hi] = this.relative(0);
    return this.const(lo, hi);
  }

  jump(to: readonly [number, number], kind: BlockEnd = "jump"): void {
    this.b.emit(Op.jmp, NONE, NONE, NONE, to[0], to[1]);
    this.ended = true;
    this.endKind = kind;
  }

  jumpNext(): void {
    this.jump(this.relative(4), "split");
  }

  /** To `to` if the slot is not zero (or, with `sense` false, if it is zero), else to the next instruction. */
  branchIf(slot: number, sense: boolean, to: readonly [number, number], kind: BlockEnd = "branch"): void {
    const next = this.relative(4);
    const [yes, no] = sense ? [to, next] : [next, to];
    this.b.emit(Op.jnz, NONE, slot, NONE, yes[0], yes[1]);
    this.b.emit(Op.jmp, NONE, NONE, NONE, no[0], no[1]);
    this.ended = true;
    this.endKind = kind;
  }

  jumpIndirect(slot: number, kind: BlockEnd): void {
    this.b.emit(Op.jind, NONE, slot, NONE, 0, 0);
    this.ended = true;
    this.endKind = kind;
  }

  /** Ends the block after a helper that has set NIP. */
  leave(): void {
    this.b.tier0Only = true;
    this.b.emit(Op.exit, NONE, NONE, NONE, 0, 0);
    this.ended = true;
    this.endKind = "system";
  }

  /** Ends the block of a single-stepped instruction: trace interrupt at the next one. */
  traceNext(): void {
    this.call("h_trace", this.nextPc());
    this.leave();
  }
}
