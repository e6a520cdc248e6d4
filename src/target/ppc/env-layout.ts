/** The PowerPC state's places that the translator's common part uses. */
import type { EnvLayout } from "../../accel/tcg/target.js";
import * as L from "./layout.js";

export const PPC_ENV: EnvLayout = {
  envSize: L.ENV_SIZE,
  pc: L.NIP,
  flags: L.HFLAGS,
  codeBase: L.CODE_BASE,
  events: L.EVENTS,
  stackPointer: L.GPR + 8,
  budget: L.BUDGET,
  irPc: L.IR_PC,
  curBlock: L.CUR_BLOCK,
  exitSite: L.EXIT_SITE,
  tlbGen: L.TLB_GEN,
  upperGib: false,
  // No lazy flags in the sense of `setcc`: CR fields are slots.
  ccDst: L.CRF,
  ccSrc: L.CRF,
  ccOp: L.CRF,
  ccSlots: [],
  temps: L.TEMPS,
  tempsEnd: L.TEMPS_END,
  vtemps: L.VTEMP,
  vtempsEnd: L.VTEMP_END,
  fpFast: L.FP_FAST,
  fpScratch: L.SCRATCH,
  countTier0: L.COUNT_TIER0,
  countRegions: L.COUNT_REGIONS,
  countSites: L.COUNT_SITES,
  tlb: L.TLB,
  tlbMmuSize: L.TLB_MMU_SIZE,
  jc: L.JC,
  globalsEnd: L.GLOBALS_END,
  vectorFirst: L.VSR,
  vectorEnd: L.VECTORS_END,
};
