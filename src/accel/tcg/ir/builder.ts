/** Builds IR records for one block in a reusable buffer: four 32-bit words a record (ops.ts). */
import { assert } from "../../../base/errors.js";
import { opCode } from "./ops.js";

/** No result slot, no operand. */
export const NONE = 0;
const MAX_RECORDS = 4096;

/** Codes by name, looked up once. */
const code = (name: string) => opCode(name);
export const Op = {
  exit: code("exit"),
  jmp: code("jmp"),
  jnz: code("jnz"),
  jind: code("jind"),
  skipz: code("skipz"),
  call: code("call"),
  callp: code("callp"),
  callcc: code("callcc"),
  raise: code("raise"),
  raisenz: code("raisenz"),
  segchk: code("segchk"),
  setcc: code("setcc"),
  setcci: code("setcci"),
  movi: code("movi"),
  mov: code("mov"),
  addi: code("addi"),
  ldst32: code("ldst32"),
} as const;

export interface BuilderSlots {
  temps: number;
  tempsEnd: number;
  vtemps: number;
  vtempsEnd: number;
}

/** A guest instruction's place: where its records begin and where it lies in guest code. */
export class IrBuilder {
  readonly words = new Int32Array(MAX_RECORDS * 4);
  /** Records so far. */
  length = 0;
  /** Per guest instruction: record index, then offset in bytes from the block's start. */
  readonly insnRecord = new Uint16Array(MAX_RECORDS);
  readonly insnOffset = new Uint16Array(MAX_RECORDS);
  insns = 0;
  /** Set by any record that tier 1 cannot compile. */
  tier0Only = false;
  private nextTemp: number;
  private nextVtemp: number;

  constructor(private readonly slots: BuilderSlots) {
    this.nextTemp = slots.temps;
    this.nextVtemp = slots.vtemps;
  }

  reset(): void {
    this.length = 0;
    this.insns = 0;
    this.tier0Only = false;
    this.nextTemp = this.slots.temps;
    this.nextVtemp = this.slots.vtemps;
  }

  /** Marks the start of a guest instruction `offset` bytes into the block. Temporaries do not live across it. */
  startInsn(offset: number): void {
    this.insnRecord[this.insns] = this.length;
    this.insnOffset[this.insns] = offset;
    this.insns++;
    this.nextTemp = this.slots.temps;
    this.nextVtemp = this.slots.vtemps;
  }

  /** Takes back the last instruction, whose records begin at `mark`. */
  dropInsn(mark: number): void {
    this.length = mark;
    this.insns--;
    this.tier0Only = false;
  }

  /** Room for one more instruction of the largest kind. */
  get full(): boolean {
    return this.length > MAX_RECORDS - 512;
  }

  temp(): number {
    const t = this.nextTemp;
    this.nextTemp += 8;
    assert(t < this.slots.tempsEnd, "out of IR temporaries");
    return t;
  }

  vtemp(): number {
    const t = this.nextVtemp;
    this.nextVtemp += 16;
    assert(t < this.slots.vtempsEnd, "out of IR vector temporaries");
    return t;
  }

  /** Appends a record; returns its index. */
  emit(op: number, d: number, a: number, b: number, immLo: number, immHi: number): number {
    const i = this.length++;
    const w = this.words;
    const p = i * 4;
    w[p] = op | (d << 16);
    w[p + 1] = a | (b << 16);
    w[p + 2] = immLo;
    w[p + 3] = immHi;
    return i;
  }

  /** d = op(a, b) with a sign-extended 32-bit immediate. */
  op(op: number, d: number, a = NONE, b = NONE, imm = 0): void {
    this.emit(op, d, a, b, imm | 0, imm < 0 ? -1 : 0);
  }

  movi(d: number, lo: number, hi: number): void {
    this.emit(Op.movi, d, NONE, NONE, lo, hi);
  }

  /** d = helper[index](a, b, imm); tier 0 only. */
  call(index: number, d: number, a: number, b: number, imm: number): void {
    this.tier0Only = true;
    this.emit(Op.call, d, a, b, imm, index);
  }

  callFlags(index: number, d: number, a: number, b: number, imm: number): void {
    this.emit(Op.callcc, d, a, b, imm, index);
  }

  callPure(index: number, d: number, a: number, b: number, imm: number): void {
    this.emit(Op.callp, d, a, b, imm, index);
  }

  /** Fills in a `skipz` so that it skips to here. */
  patchSkip(record: number): void {
    this.words[record * 4 + 2] = this.length - record - 1;
  }
}
