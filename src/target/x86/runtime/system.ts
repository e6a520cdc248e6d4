/**
 * AssemblyScript. System instructions: control and debug registers, TSC, CPUID, HLT, TLB, XCR0, FS/GS bases.
 * Source: Intel SDM vol 2 and vol 3 2.8, 17.2. Model-specific registers: msr.ts.
 */
import {
  CR0,
  CR2,
  CR3,
  CR4,
  DR,
  EFLAGS,
  EV_EXIT,
  EVENTS,
  FEAT_1_ECX,
  FL_AC,
  FL_IF,
  HALTED,
  HF_FSGSBASE,
  NEXT_RIP,
  SCRATCH,
  SEG_BASE,
  TSC_AUX,
  TSC_OFFSET,
  XCR0,
  XCR0_VALID,
} from "../layout";
import { CPU_COUNT } from "../../../accel/tcg/map";
import { requireTrue, writeCr0, writeCr3, writeCr4 } from "./control-regs";
import { setArith, setEflags } from "./eflags";
import { env, hostCpuid, hostRandom, hostTsc, raise, tprRead, tprWrite } from "./env";
import { generalDetect } from "./debug";
import { updateHflags } from "./hflags";
import { flushTlb, invlpg, ld64, ld8 } from "./mmu";
import {
  canonical,
  cpl,
  cr0,
  CR0_TS,
  cr4,
  CR4_DE,
  CR4_OSXSAVE,
  CR4_TSD,
  dataMmu,
  gpr,
  hflags,
  isCode64,
  isLma,
  isPe,
  r32,
  r64,
  RAX,
  RBX,
  RCX,
  RDX,
  requireCpl0,
  setGpr,
  setRip,
  trunc,
  w32,
  w64,
  X_GP,
  X_UD,
} from "./state";

export function h_mov_to_cr(a: u64, b: u64, imm: u32): u64 {
  requireCpl0();
  if (!isCode64()) a &= 0xffffffff;
  if (imm == 0) requireTrue(writeCr0(a));
  else if (imm == 2) w64(CR2, a);
  else if (imm == 3) requireTrue(writeCr3(a));
  else if (imm == 4) requireTrue(writeCr4(a));
  else if (imm == 8) {
    if ((a & ~15) != 0) raise(X_GP, 0);
    tprWrite(<u32>a);
  } else raise(X_UD, 0);
  return 0;
}

export function h_mov_from_cr(a: u64, b: u64, imm: u32): u64 {
  requireCpl0();
  if (imm == 0) return cr0();
  if (imm == 2) return r64(CR2);
  if (imm == 3) return r64(CR3);
  if (imm == 4) return r64(CR4);
  if (imm == 8) return <u64>tprRead();
  raise(X_UD, 0);
  return 0;
}

export function h_smsw(a: u64, b: u64, imm: u32): u64 {
  return r64(CR0);
}

export function h_lmsw(a: u64, b: u64, imm: u32): u64 {
  requireCpl0();
  // PE can be set but not cleared.
  const keep = cr0() & ~14;
  requireTrue(writeCr0(keep | (a & 15)));
  return 0;
}

export function h_clts(a: u64, b: u64, imm: u32): u64 {
  requireCpl0();
  w64(CR0, cr0() & ~CR0_TS);
  updateHflags();
  return 0;
}

/** DR4 and DR5 are DR6 and DR7 unless CR4.DE. */
function drNumber(n: u32): u32 {
  if (n == 4 || n == 5) {
    if ((cr4() & CR4_DE) != 0) raise(X_UD, 0);
    n += 2;
  }
  if (n > 7) raise(X_UD, 0);
  requireCpl0();
  if ((r64(DR + 56) & (1 << 13)) != 0) generalDetect();
  return n;
}

export function h_mov_to_dr(a: u64, b: u64, imm: u32): u64 {
  const n = drNumber(imm);
  if (!isCode64()) a &= 0xffffffff;
  if (n >= 6 && a >> 32 != 0) raise(X_GP, 0);
  if (n == 6) a = (a & 0xe00f) | 0xffff0ff0;
  if (n == 7) a = (a & 0xffff23ff) | 0x400;
  if (n < 4 && !canonical(a)) raise(X_GP, 0);
  w64(DR + (n << 3), a);
  updateHflags();
  return 0;
}

export function h_mov_from_dr(a: u64, b: u64, imm: u32): u64 {
  return r64(DR + (drNumber(imm) << 3));
}

export function h_invlpg(a: u64, b: u64, imm: u32): u64 {
  requireCpl0();
  if (isLma() && !canonical(a)) return 0;
  invlpg(a);
  return 0;
}

export function h_invpcid(a: u64, b: u64, imm: u32): u64 {
  requireCpl0();
  const low = ld64(b, dataMmu());
  const address = ld64(b + 8, dataMmu());
  if (a > 3 || (low & ~0xfff) != 0) raise(X_GP, 0);
  if (a == 0) {
    if (!canonical(address)) raise(X_GP, 0);
    invlpg(address);
  } else flushTlb(a == 2 ? 0 : 1);
  return 0;
}

export function h_wbinvd(a: u64, b: u64, imm: u32): u64 {
  requireCpl0();
  return 0;
}

/** The guest's time stamp counter. */
export function readTsc(): u64 {
  return <u64>hostTsc() + r64(TSC_OFFSET);
}

function tscToRegisters(): void {
  if ((cr4() & CR4_TSD) != 0 && cpl() != 0) raise(X_GP, 0);
  const t = readTsc();
  setGpr(RAX, t & 0xffffffff);
  setGpr(RDX, t >> 32);
}

export function h_rdtsc(a: u64, b: u64, imm: u32): u64 {
  tscToRegisters();
  return 0;
}

export function h_rdtscp(a: u64, b: u64, imm: u32): u64 {
  tscToRegisters();
  setGpr(RCX, r64(TSC_AUX) & 0xffffffff);
  return 0;
}

export function h_rdpid(a: u64, b: u64, imm: u32): u64 {
  return r64(TSC_AUX) & 0xffffffff;
}

/** There are no performance counters. */
export function h_rdpmc(a: u64, b: u64, imm: u32): u64 {
  raise(X_GP, 0);
  return 0;
}

/** Bytes of an XSAVE area for a mask of components. */
export function xsaveSize(mask: u64): u32 {
  return (mask & 4) != 0 ? 832 : 576;
}

export function h_cpuid(a: u64, b: u64, imm: u32): u64 {
  const leaf = <u32>gpr(RAX);
  const sub = <u32>gpr(RCX);
  hostCpuid(leaf, sub);
  const eax = r32(SCRATCH);
  let ebx = r32(SCRATCH + 4);
  let ecx = r32(SCRATCH + 8);
  const edx = r32(SCRATCH + 12);
  if (leaf == 1) {
    ecx &= ~(1 << 27);
    if ((ecx & (1 << 26)) != 0 && (cr4() & CR4_OSXSAVE) != 0) ecx |= 1 << 27;
  } else if (leaf == 13 && sub < 2 && (r32(FEAT_1_ECX) & (1 << 26)) != 0) ebx = xsaveSize(r64(XCR0));
  setGpr(RAX, <u64>eax);
  setGpr(RBX, <u64>ebx);
  setGpr(RCX, <u64>ecx);
  setGpr(RDX, <u64>edx);
  return 0;
}

export function h_hlt(a: u64, b: u64, imm: u32): u64 {
  requireCpl0();
  setRip(r64(NEXT_RIP));
  w32(HALTED, 1);
  return 0;
}

export function h_monitor(a: u64, b: u64, imm: u32): u64 {
  if (cpl() != 0) raise(X_UD, 0);
  if (gpr(RCX) != 0) raise(X_GP, 0);
  ld8(a, dataMmu());
  return 0;
}

/** MWAIT may end at any time: with one vCPU and interrupts on it is HLT, else it only yields. */
export function h_mwait(a: u64, b: u64, imm: u32): u64 {
  if (cpl() != 0) raise(X_UD, 0);
  setRip(r64(NEXT_RIP));
  if (load<u32>(CPU_COUNT) <= 1 && (r32(EFLAGS) & FL_IF) != 0) w32(HALTED, 1);
  else atomic.or<u32>(env + EVENTS, EV_EXIT);
  return 0;
}

export function h_xgetbv(a: u64, b: u64, imm: u32): u64 {
  if ((cr4() & CR4_OSXSAVE) == 0) raise(X_UD, 0);
  const index = <u32>gpr(RCX);
  if (index > 1) raise(X_GP, 0);
  const v = r64(XCR0);
  setGpr(RAX, v & 0xffffffff);
  setGpr(RDX, v >> 32);
  return 0;
}

export function h_xsetbv(a: u64, b: u64, imm: u32): u64 {
  if ((cr4() & CR4_OSXSAVE) == 0) raise(X_UD, 0);
  requireCpl0();
  const v = (gpr(RAX) & 0xffffffff) | (gpr(RDX) << 32);
  if (<u32>gpr(RCX) != 0 || (v & 1) == 0 || (v & ~r64(XCR0_VALID)) != 0 || (v & 6) == 4) raise(X_GP, 0);
  w64(XCR0, v);
  updateHflags();
  return 0;
}

function requireFsgsbase(): void {
  if (!isCode64() || (hflags() & HF_FSGSBASE) == 0) raise(X_UD, 0);
}

export function h_rdfsgsbase(a: u64, b: u64, imm: u32): u64 {
  requireFsgsbase();
  return load<u64>(env + SEG_BASE + (imm << 3));
}

export function h_wrfsgsbase(a: u64, b: u64, imm: u32): u64 {
  requireFsgsbase();
  if (!canonical(a)) raise(X_GP, 0);
  store<u64>(env + SEG_BASE + (imm << 3), a);
  return 0;
}

export function h_clac(a: u64, b: u64, imm: u32): u64 {
  if (!isPe() || cpl() != 0) raise(X_UD, 0);
  setEflags(0, FL_AC);
  return 0;
}

export function h_stac(a: u64, b: u64, imm: u32): u64 {
  if (!isPe() || cpl() != 0) raise(X_UD, 0);
  setEflags(FL_AC, FL_AC);
  return 0;
}

export function h_rdrand(a: u64, b: u64, imm: u32): u64 {
  hostRandom();
  setArith(1);
  return trunc(r64(SCRATCH), imm);
}

export function h_rdseed(a: u64, b: u64, imm: u32): u64 {
  return h_rdrand(a, b, imm);
}
