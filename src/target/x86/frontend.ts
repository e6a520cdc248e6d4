/** The x86 front end: one basic block of guest code to IR. */
import { type IrBuilder, NONE } from "../../accel/tcg/ir/builder.js";
import { opCode } from "../../accel/tcg/ir/ops.js";
import type { CodeSource, FrontEnd, TranslatedBlock } from "../../accel/tcg/target.js";
import { type Bytes, decode } from "./decode.js";
import { type Disassembly, disassemble } from "./disassemble.js";
import { LOCK, MMX, SSE, X87 } from "./insn.js";
import * as L from "./layout.js";
import { Translator } from "./translator.js";
import "./tables/index.js";

const segchk = opCode("segchk");

/** Guest instructions in one block at most. */
const MAX_INSNS = 64;

export class X86FrontEnd implements FrontEnd {
  readonly t: Translator;

  /**
   * @param helperIndex table index of a runtime helper by name
   * @param features names of the CPU model's features
   */
  constructor(helperIndex: (name: string) => number, features: ReadonlySet<string>, builder: IrBuilder) {
    this.t = new Translator(builder, helperIndex, features);
  }

  translate(
    b: IrBuilder,
    code: CodeSource,
    pcLo: number,
    pcHi: number,
    hflags: number,
    maxInsns: number,
    entryCc = -1,
  ): TranslatedBlock {
    const t = this.t;
    b.reset();
    t.hflags = hflags;
    t.long = (hflags & L.HF_CS64) !== 0;
    t.pcLo = pcLo;
    t.pcHi = pcHi;
    t.cc = entryCc;
    t.ended = false;
    t.endKind = "split";
    t.mmu = (hflags >> L.HF_MMU_SHIFT) & 3;
    const step = (hflags & (L.HF_TF | L.HF_DR7)) !== 0;
    const limit = step ? 1 : Math.min(maxInsns, MAX_INSNS);
    let offset = 0;
    const i = t.i;
    while (b.insns < limit && !b.full) {
      // An instruction that reaches into the next page begins its own block, so that its fetch fault is its own.
      if (offset > 0 && !code.fits(offset)) break;
      const what = decode(i, code, offset, hflags);
      if (offset > 0 && code.crossed) {
        code.crossed = false;
        break;
      }
      const mark = b.length;
      const ccBefore = t.cc;
      b.startInsn(offset);
      if (hflags & L.HF_DR7) t.call("h_dr_exec", this.linearPc(offset));
      if (what === "too-long") t.raise(13, 0);
      else if (what === "undefined" || !i.row?.emit) t.raise(6);
      else if (i.lock && (!(i.row.flags & LOCK) || i.mod === 3) && !(i.map === 1 && i.opcode >= 0x20 && i.opcode <= 0x22))
        t.raise(6);
      else if (i.row.flags & (SSE | MMX | X87) && !this.fpuUsable(i.row.flags)) {
        // #UD or #NM has been emitted.
      } else {
        if (hflags & L.HF_CSCHK) this.checkCodeLimit(offset + i.length);
        i.row.emit(t);
      }
      if (b.tier0Only) {
        // What tier 1 cannot compile stands alone, so that its neighbours can be compiled.
        if (offset > 0) {
          b.dropInsn(mark);
          t.cc = ccBefore;
          t.ended = false;
          t.endKind = "split";
          break;
        }
        offset += i.length;
        break;
      }
      offset += i.length;
      if (t.ended) break;
    }
    if (!t.ended) {
      t.i.offset = offset;
      t.i.length = 0;
      t.jumpNext();
    }
    const last = t.endKind;
    return { insns: b.insns, size: offset, simple: !b.tier0Only, end: last };
  }

  lastCc(): number {
    return this.t.cc;
  }

  disassemble(code: Bytes, offset: number, address: bigint, hflags: number): Disassembly {
    return disassemble(code, offset, address, hflags);
  }

  private linearPc(offset: number): number {
    const t = this.t;
    const c = t.const((t.pcLo + offset) | 0, t.long ? t.pcHi : 0);
    return t.long ? c : t.t("ext32u", t.t("add", c, L.SEG_BASE + 8));
  }

  /** The last byte of the instruction must lie within CS. */
  private checkCodeLimit(end: number): void {
    const t = this.t;
    t.b.emit(segchk, NONE, t.const((t.pcLo + end - 1) | 0, 0), NONE, 0, 1 | ((0 | (1 << 1)) << 8) | ((L.SEG_RLIM + 8) << 16));
  }

  /** Emits the exception that CR0 and CR4 ask for. @returns whether the instruction may run */
  private fpuUsable(flags: number): boolean {
    const t = this.t;
    const h = t.hflags;
    if (flags & X87) {
      if (h & (L.HF_EM | L.HF_TS)) {
        t.raise(7);
        return false;
      }
      return true;
    }
    if (h & L.HF_EM || (flags & SSE && !(h & L.HF_OSFXSR))) {
      t.raise(6);
      return false;
    }
    if (h & L.HF_TS) {
      t.raise(7);
      return false;
    }
    return true;
  }
}
