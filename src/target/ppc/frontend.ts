/** The PowerPC front end: one basic block of guest code to IR. */
import type { IrBuilder } from "../../accel/tcg/ir/builder.js";
import type { CodeSource, FrontEnd, TranslatedBlock } from "../../accel/tcg/target.js";
import type { PpcCpuModel } from "./cpu-models.js";
import { type Disassembly, disassemble } from "./disassemble.js";
import { fieldsOf, lookup, type Row } from "./isa.js";
import * as L from "./layout.js";
import "./tables/index.js";
import { PpcTranslator } from "./translator.js";

/** Guest instructions in one block at most. */
const MAX_INSNS = 64;

export class PpcFrontEnd implements FrontEnd {
  readonly t: PpcTranslator;

  constructor(
    helperIndex: (name: string) => number,
    private readonly model: PpcCpuModel,
    builder: IrBuilder,
  ) {
    this.t = new PpcTranslator(builder, helperIndex, model.isa300);
  }

  translate(b: IrBuilder, code: CodeSource, pcLo: number, pcHi: number, hflags: number, maxInsns: number): TranslatedBlock {
    const t = this.t;
    b.reset();
    t.begin(hflags, pcLo, pcHi);
    const step = (hflags & (L.HF_SE | L.HF_BE)) !== 0;
    const limit = step ? 1 : Math.min(maxInsns, MAX_INSNS);
    let offset = 0;
    while (b.insns < limit && !b.full) {
      // Instructions are aligned: none reaches into the next page.
      if (offset > 0 && !code.fits(offset)) break;
      const word = wordAt(code, offset, t.le);
      const mark = b.length;
      b.startInsn(offset);
      t.startInsn(word, offset);
      this.instruction(lookup(word), word);
      if (b.tier0Only && offset > 0) {
        // What tier 1 cannot compile stands alone, so that its neighbours can be compiled.
        b.dropInsn(mark);
        t.ended = false;
        t.endKind = "split";
        break;
      }
      offset += 4;
      if (t.ended || b.tier0Only) break;
    }
    if (!t.ended) {
      t.startInsn(0, offset - 4);
      if (step) t.traceNext();
      else t.jumpNext();
    }
    return { insns: b.insns, size: offset, simple: !b.tier0Only, end: t.endKind };
  }

  lastCc(): number {
    return -1;
  }

  disassemble(code: { byte(offset: number): number }, offset: number, address: bigint, hflags: number): Disassembly {
    return disassemble(wordAt(code, offset, (hflags & L.HF_LE) !== 0), address);
  }

  private instruction(row: Row | undefined, word: number): void {
    const t = this.t;
    if (!row?.emit || (row.isa300 && !this.model.isa300)) {
      t.program(L.PROGRAM_ILLEGAL);
      return;
    }
    const h = t.hflags;
    if (row.privileged && h & L.HF_PR) {
      t.program(L.PROGRAM_PRIVILEGED);
      return;
    }
    const f = fieldsOf(row, word);
    const needs = row.needs?.endsWith("-or-vec") ? ((f.xt ?? 0) >= 32 ? "vec" : row.needs.slice(0, -7)) : row.needs;
    switch (needs) {
      case "fp":
        if (!(h & L.HF_FP)) return t.raise(L.V_FP_UNAVAILABLE);
        break;
      case "vec":
        if (!(h & L.HF_VEC)) return t.raise(L.V_VEC_UNAVAILABLE);
        break;
      case "vsx":
        if (!(h & L.HF_VSX)) return t.raise(L.V_VSX_UNAVAILABLE);
        break;
    }
    row.emit(t, f);
  }
}

function wordAt(code: { byte(offset: number): number }, offset: number, littleEndian: boolean): number {
  const b0 = code.byte(offset);
  const b1 = code.byte(offset + 1);
  const b2 = code.byte(offset + 2);
  const b3 = code.byte(offset + 3);
  return littleEndian ? b0 | (b1 << 8) | (b2 << 16) | (b3 << 24) : (b0 << 24) | (b1 << 16) | (b2 << 8) | b3;
}
