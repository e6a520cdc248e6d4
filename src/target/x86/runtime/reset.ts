/**
 * AssemblyScript. Power-on, INIT and start-up IPI states. Source: Intel SDM vol 3 table 9-1, 8.4.
 */
import {
  A20_MASK,
  CPU_INDEX,
  CPU_SIGNATURE,
  CR0,
  CR2,
  CR3,
  CR4,
  CC_DST,
  CC_OP,
  CC_SRC,
  CC_SRC2,
  DF,
  DR,
  EFER,
  EFLAGS,
  EVENTS,
  EXC_OLD,
  EXC_VECTOR,
  FCW,
  FPR,
  FSW,
  FTAGS,
  FTOP,
  GDT_BASE,
  GDT_LIMIT,
  GPR,
  HALTED,
  ICOUNT,
  IDT_BASE,
  IDT_LIMIT,
  INHIBIT,
  INTR_WAIT,
  LDTR_BASE,
  LDTR_FLAGS,
  LDTR_LIMIT,
  LDTR_SEL,
  MISC_ENABLE,
  MTRR_DEF_TYPE,
  MTRR_FIXED,
  MXCSR,
  NMI_BLOCKED,
  PAT,
  PENDING_DR6,
  RIP_EXACT,
  SMBASE,
  SMM,
  STAR,
  SYSENTER_CS,
  SYSENTER_EIP,
  SYSENTER_ESP,
  TR_BASE,
  TR_FLAGS,
  TR_LIMIT,
  TR_SEL,
  TLB_USED,
  TSC_ADJUST,
  TSC_AUX,
  TSC_OFFSET,
  XCR0,
  XMM,
  YMMH,
} from "../layout";
import { env, hostTsc, notify } from "./env";
import { updateHflags } from "./hflags";
import { flushTlb } from "./mmu";
import { CR0_CD, CR0_ET, CR0_NW, CS, r32, r64, RDX, setGpr, setRip, w32, w64 } from "./state";
import { updateFpFast } from "./sse-fp";
import { setSeg } from "./segments";

/** What INIT and power-on have in common. */
function commonReset(): void {
  memory.fill(env + GPR, 0, 128);
  setGpr(RDX, <u64>r32(CPU_SIGNATURE));
  w32(EFLAGS, 2);
  w64(CC_OP, 0);
  w64(CC_SRC, 0);
  w64(CC_SRC2, 0);
  w64(CC_DST, 0);
  w64(DF, 1);
  w64(CR2, 0);
  w64(CR3, 0);
  w64(CR4, 0);
  w64(EFER, 0);
  memory.fill(env + DR, 0, 64);
  w64(DR + 48, 0xffff0ff0);
  w64(DR + 56, 0x400);
  for (let s: u32 = 0; s < 6; s++) setSeg(s, 0, 0, 0xffff, 0x9300);
  setSeg(CS, 0xf000, 0xffff0000, 0xffff, 0x9b00);
  setRip(0xfff0);
  w32(LDTR_SEL, 0);
  w64(LDTR_BASE, 0);
  w32(LDTR_LIMIT, 0xffff);
  w32(LDTR_FLAGS, 0x8200);
  w32(TR_SEL, 0);
  w64(TR_BASE, 0);
  w32(TR_LIMIT, 0xffff);
  w32(TR_FLAGS, 0x8b00);
  w64(GDT_BASE, 0);
  w32(GDT_LIMIT, 0xffff);
  w64(IDT_BASE, 0);
  w32(IDT_LIMIT, 0xffff);
  w32(EXC_VECTOR, <u32>-1);
  w32(EXC_OLD, <u32>-1);
  w32(RIP_EXACT, 0);
  w32(INHIBIT, 0);
  w32(NMI_BLOCKED, 0);
  w32(PENDING_DR6, 0);
  if (r32(SMM) != 0) {
    w32(SMM, 0);
    notify(1, 0);
  }
  w32(HALTED, r32(CPU_INDEX) == 0 ? 0 : 2);
}

/** Power-on state of the current vCPU; vCPU 0 runs, the others wait for SIPI. */
export function resetCpu(): void {
  commonReset();
  w64(CR0, CR0_CD | CR0_NW | CR0_ET);
  w32(EVENTS, 0);
  w32(INTR_WAIT, 0);
  memory.fill(env + STAR, 0, 40);
  w64(SYSENTER_CS, 0);
  w64(SYSENTER_ESP, 0);
  w64(SYSENTER_EIP, 0);
  w64(PAT, 0x0007040600070406);
  w64(MISC_ENABLE, 1);
  w64(TSC_OFFSET, -(<u64>hostTsc()));
  w64(TSC_AUX, 0);
  w64(TSC_ADJUST, 0);
  w64(MTRR_DEF_TYPE, 0);
  memory.fill(env + MTRR_FIXED, 0, 88 + 8 + 128);
  w64(XCR0, 1);
  w32(FCW, 0x40);
  w32(FSW, 0);
  w32(FTOP, 0);
  w32(FTAGS, 0);
  w32(MXCSR, 0x1f80);
  memory.fill(env + FPR, 0, 128);
  memory.fill(env + XMM, 0, 256);
  memory.fill(env + YMMH, 0, 256);
  w32(SMBASE, 0x30000);
  w64(ICOUNT, 0);
  if (r32(A20_MASK) == 0) w32(A20_MASK, 0xffffffff);
  updateFpFast();
  // Whatever the memory held is no translation.
  w32(TLB_USED, 7);
  flushTlb(0);
  updateHflags();
}

/** INIT: as power-on, but caches, FPU, MSRs and the TSC are kept; vCPUs other than 0 wait for SIPI. */
export function initCpu(): void {
  const cache = r64(CR0) & (CR0_CD | CR0_NW);
  commonReset();
  w64(CR0, cache | CR0_ET);
  flushTlb(0);
  updateHflags();
}

/** Start-up IPI: real mode at vector << 12. */
export function startup(vector: u32): void {
  vector &= 0xff;
  setSeg(CS, vector << 8, <u64>(vector << 12), 0xffff, 0x9b00);
  setRip(0);
  w32(HALTED, 0);
  updateHflags();
}
