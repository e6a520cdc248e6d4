/** A decoded x86 instruction, and the rows of the opcode table. Notation: Intel SDM vol 2 appendix A. */
import type { Translator } from "./translator.js";

export type Emit = (t: Translator) => void;

/** One row: an opcode (with prefix, map, ModRM conditions) and its operands in the SDM's letters. */
export interface Row {
  /** e.g. "ADD Ev,Gv" */
  readonly text: string;
  readonly mnemonic: string;
  readonly operands: readonly string[];
  readonly modrm: boolean;
  /** Immediate kinds in order: "b" 8-bit signed, "w" 16, "z" 16/32, "v" 16/32/64, "a" far pointer, "o" moffs. */
  readonly imms: string;
  readonly emit: Emit | undefined;
  readonly flags: number;
  readonly key: string;
}

/** Row flags. */
export const LOCK = 1;
/** Default operand size is 64 in 64-bit mode (near branches, PUSH, POP). */
export const D64 = 2;
/** Not in 64-bit mode. */
export const NO64 = 4;
/** Only in 64-bit mode. */
export const ONLY64 = 8;
/** Operand size is forced to 64 in 64-bit mode, 66 ignored (near branches). */
export const F64 = 16;
/** Ends the block. */
export const ENDS = 32;
/** Needs a memory operand (mod != 3). */
export const MEM = 64;
/** Needs a register operand (mod = 3). */
export const REG = 128;
/** Not in real or virtual-8086 mode (#UD). */
export const PROT = 256;
/** CPL 0 only (#GP). */
export const CPL0 = 512;
/** Uses SSE state: #UD/#NM checks by CR0 and CR4.OSFXSR. */
export const SSE = 1024;
/** Uses MMX state. */
export const MMX = 2048;
/** Uses x87 state. */
export const X87 = 4096;

/** Segment numbers. */
export const ES = 0;
export const CS = 1;
export const SS = 2;
export const DS = 3;
export const FS = 4;
export const GS = 5;

/** Registers by number. */
export const RAX = 0;
export const RCX = 1;
export const RDX = 2;
export const RBX = 3;
export const RSP = 4;
export const RBP = 5;
export const RSI = 6;
export const RDI = 7;

/** The instruction being translated. One object, reused. */
export class Insn {
  row: Row | undefined;
  /** Bytes. */
  length = 0;
  /** Offset of the first byte from the block's start. */
  offset = 0;
  opcode = 0;
  /** 0 = one byte, 1 = 0F, 2 = 0F 38, 3 = 0F 3A. */
  map = 0;
  /** Operand size as log2 of bytes: 1, 2, 3. */
  opsize = 2;
  /** Address size as log2 of bytes: 1, 2, 3. */
  adsize = 2;
  rex = 0;
  hasRex = false;
  prefix66 = false;
  prefix67 = false;
  /** 0, 0xf2 or 0xf3. */
  rep = 0;
  lock = false;
  /** Segment override or -1. */
  segment = -1;
  modrm = 0;
  mod = 0;
  /** With REX.R. */
  reg = 0;
  /** With REX.B when a register. */
  rm = 0;
  /** Base register with REX.B, or -1; 16 = RIP. */
  base = -1;
  index = -1;
  scale = 0;
  disp = 0;
  /** Immediate: low and high halves (sign-extended). */
  imm = 0;
  immHi = 0;
  /** Second immediate (ENTER, far pointer selector). */
  imm2 = 0;
}
