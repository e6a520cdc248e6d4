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
  /** u32 event word; the u32 after it is the halted state: neither may be set for blocks to run. */
  readonly events: number;
  /** Slot of the stack pointer. */
  readonly stackPointer: number;
  readonly budget: number;
  readonly irPc: number;
  readonly curBlock: number;
  readonly exitSite: number;
  /** Two u32: generations of code look-ups for PCs with bit 63 clear and set. */
  readonly tlbGen: number;
  /** Whether PCs of the fourth GiB count as the upper half too (32-bit kernels live there). */
  readonly upperGib: boolean;
  readonly ccDst: number;
  readonly ccSrc: number;
  readonly ccOp: number;
  /** All slots of the lazy flags. */
  readonly ccSlots: readonly number[];
  readonly temps: number;
  readonly tempsEnd: number;
  readonly vtemps: number;
  readonly vtempsEnd: number;
  /** u32: 1 = native floating point gives exact results and flags, 2 = helpers raise nothing, 0 = they may. */
  readonly fpFast: number;
  /** 48 bytes for the operands of vector helpers. */
  readonly fpScratch: number;
  /** u64 counters for `info jit`. */
  readonly countTier0: number;
  readonly countRegions: number;
  readonly countSites: number;
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
export type BlockEnd = "jump" | "branch" | "call" | "indirect" | "return" | "system" | "split";

/** Guest code bytes of the block being translated. */
export interface CodeSource {
  /** Byte at an offset from the block's start. @throws the run loop's unwind for a fetch fault */
  byte(offset: number): number;
  /** Whether at least one byte at `offset` lies in the block's first page. */
  fits(offset: number): boolean;
  /** Set when a byte beyond the first page was asked for while the block already had instructions. */
  crossed: boolean;
}

/** What one translated basic block is. */
export interface TranslatedBlock {
  /** Guest instructions. */
  insns: number;
  /** Guest bytes. */
  size: number;
  /** Whether tier 1 can compile it: no `call`, no special state. */
  simple: boolean;
  end: BlockEnd;
}

/** A guest CPU's front end. */
export interface FrontEnd {
  /**
   * Translates one basic block.
   * @param pcLo program counter's low half; pcHi its high half
   * @param maxInsns 1 for single stepping
   */
  translate(
    b: IrBuilder,
    code: CodeSource,
    pcLo: number,
    pcHi: number,
    flags: number,
    maxInsns: number,
    entryCc?: number,
  ): TranslatedBlock;
  /** The flags operation known at the end of the last block translated, or -1. */
  lastCc(): number;
  /**
   * One instruction as text, for `-d in_asm`.
   * @param address linear address of the instruction
   */
  disassemble?(
    code: { byte(offset: number): number },
    offset: number,
    address: bigint,
    flags: number,
  ): { readonly length: number; readonly text: string };
}
