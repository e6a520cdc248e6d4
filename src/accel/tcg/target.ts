/** What the translator knows of a guest CPU: where things are in its state, and how to turn bytes into IR. */
import type { IrBuilder } from "./ir/builder.js";

/** Byte offsets in the vCPU state that the tiers and the run loop use. */
export interface EnvLayout {
  readonly envSize: number;
  /** u64: program counter. */
  readonly pc: number;
  /** u32: flags that translated code depends on. */
  readonly flags: number;
  /** u32: base added to the program counter to get the linear address (x86 CS base, else a zero word). */
  readonly codeBase: number;
  readonly events: number;
  readonly budget: number;
  readonly irPc: number;
  readonly curBlock: number;
  readonly exitSite: number;
  readonly tlbGen: number;
  readonly ccDst: number;
  readonly ccSrc: number;
  readonly ccOp: number;
  readonly temps: number;
  readonly tempsEnd: number;
  readonly vtemps: number;
  readonly vtempsEnd: number;
  /** u32: nonzero = native floating point gives exact flags. */
  readonly fpFast: number;
  readonly tlb: number;
  readonly tlbMmuSize: number;
  readonly jc: number;
  /** i64 slots that hold guest registers for whole regions: [first, end) byte offsets. */
  readonly globalsEnd: number;
  /** Vector register slots: [first, end) byte offsets, 16 bytes each. */
  readonly vectorFirst: number;
  readonly vectorEnd: number;
}

/** Why a block ends, for region growth. */
export interface BlockEnd {
  /** Static successors (program counters): [taken or only, fall-through]. NaN = none. */
  readonly kind: "jump" | "branch" | "call" | "indirect" | "return" | "system" | "split";
}

/** Reads guest code bytes at the program counter's address space. @throws the run loop's unwind for a fetch fault */
export interface CodeSource {
  /** Byte at linear address (as low and high halves). */
  byte(offset: number): number;
}

/** What one translated basic block is. */
export interface TranslatedBlock {
  /** Guest instructions. */
  insns: number;
  /** Guest bytes. */
  size: number;
  /** Whether tier 1 can compile it: no `call`, no special state. */
  simple: boolean;
  end: BlockEnd["kind"];
}

/** A guest CPU's front end. */
export interface FrontEnd {
  /**
   * Translates one basic block.
   * @param pc program counter (two 32-bit halves)
   * @param maxInsns 1 for single stepping
   */
  translate(b: IrBuilder, code: CodeSource, pcLo: number, pcHi: number, flags: number, maxInsns: number): TranslatedBlock;
}
