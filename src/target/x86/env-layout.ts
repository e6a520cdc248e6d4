/** The x86 state's places that the translator's common part uses. */
import type { EnvLayout } from "../../accel/tcg/target.js";
import * as L from "./layout.js";

export const X86_ENV: EnvLayout = {
  envSize: L.ENV_SIZE,
  pc: L.RIP,
  flags: L.HFLAGS,
  codeBase: L.SEG_BASE + 8,
  events: L.EVENTS,
  budget: L.BUDGET,
  irPc: L.IR_PC,
  curBlock: L.CUR_BLOCK,
  exitSite: L.EXIT_SITE,
  tlbGen: L.TLB_GEN,
  ccDst: L.CC_DST,
  ccSrc: L.CC_SRC,
  ccOp: L.CC_OP,
  ccSlots: [L.CC_DST, L.CC_SRC, L.CC_SRC2, L.CC_OP],
  temps: L.TEMPS,
  tempsEnd: L.TEMPS_END,
  vtemps: L.VTEMP,
  vtempsEnd: L.VTEMP + 256,
  fpFast: L.FP_FAST,
  fpScratch: L.SCRATCH,
  tlb: L.TLB,
  tlbMmuSize: L.TLB_MMU_SIZE,
  jc: L.JC,
  globalsEnd: L.SEG_BASE + 48,
  vectorFirst: L.XMM,
  vectorEnd: L.XMM + 256,
};
