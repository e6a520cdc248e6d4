/**
 * AssemblyScript. RDMSR and WRMSR: architectural registers; what the machine owns (APIC base, x2APIC, TSC deadline, those of
 * a hypervisor) and everything unknown is asked of the host. Source: Intel SDM vol 4, AMD APM vol 2 appendix A.
 * Not emulated: performance counters, machine-check banks, last-branch records, SPEC_CTRL. AMD's configuration registers
 * C001xxxxh read zero and ignore writes.
 */
import {
  CSTAR,
  EFER,
  EFER_VALID,
  EXC_VECTOR,
  FEAT_81_EDX,
  KERNEL_GS_BASE,
  LSTAR,
  MISC_ENABLE,
  MTRR_DEF_TYPE,
  MTRR_FIXED,
  MTRR_VAR,
  PAT,
  SEG_BASE,
  SFMASK,
  STAR,
  SYSENTER_CS,
  SYSENTER_EIP,
  SYSENTER_ESP,
  TSC_ADJUST,
  TSC_AUX,
  TSC_OFFSET,
} from "../layout";
import { requireTrue, writeEfer } from "./control-regs";
import { hostMsrRead, hostMsrWrite, raise } from "./env";
import { canonical, gpr, isLma, r32, r64, RAX, RCX, RDX, requireCpl0, setGpr, w32, w64, X_GP } from "./state";
import { readTsc } from "./system";

const HAS_LM: u32 = 1 << 29;

/** Offset in the state of a register that is only kept, 0 = none. */
function kept(index: u32): u32 {
  if (index >= 0x200 && index < 0x210) return MTRR_VAR + ((index - 0x200) << 3);
  if (index >= 0x268 && index < 0x270) return MTRR_FIXED + ((index - 0x268 + 3) << 3);
  switch (index) {
    case 0x174:
      return SYSENTER_CS;
    case 0x175:
      return SYSENTER_ESP;
    case 0x176:
      return SYSENTER_EIP;
    case 0x1a0:
      return MISC_ENABLE;
    case 0x250:
      return MTRR_FIXED;
    case 0x258:
      return MTRR_FIXED + 8;
    case 0x259:
      return MTRR_FIXED + 16;
    case 0x277:
      return PAT;
    case 0x2ff:
      return MTRR_DEF_TYPE;
    case 0xc0000081:
      return STAR;
    case 0xc0000103:
      return TSC_AUX;
  }
  if ((r32(FEAT_81_EDX) & HAS_LM) == 0) return 0;
  switch (index) {
    case 0xc0000082:
      return LSTAR;
    case 0xc0000083:
      return CSTAR;
    case 0xc0000084:
      return SFMASK;
    case 0xc0000100:
      return SEG_BASE + 32;
    case 0xc0000101:
      return SEG_BASE + 40;
    case 0xc0000102:
      return KERNEL_GS_BASE;
  }
  return 0;
}

/** Registers that read as a constant and ignore writes. */
function constant(index: u32): bool {
  return (
    (index >= 0xc0010000 && index < 0xc0020000) ||
    index == 0x17 ||
    index == 0x8b ||
    index == 0x79 ||
    index == 0x17a ||
    index == 0x1d9 ||
    (index >= 0x1db && index <= 0x1de) ||
    index == 0x198
  );
}

function read(index: u32): u64 {
  const at = kept(index);
  if (at != 0) return r64(at);
  switch (index) {
    case 0x10:
      return readTsc();
    case 0x3b:
      return r64(TSC_ADJUST);
    // Eight variable ranges, fixed ranges, write combining.
    case 0xfe:
      return 0x508;
    case 0x179:
      return 0;
    case 0x8b:
      return 0x100000000;
    // Nominal ratio, as in a CPU that does not scale.
    case 0x198:
      return 0x40000000000 | 1000;
    case 0xc0000080:
      if (r64(EFER_VALID) != 0) return r64(EFER);
      break;
  }
  if (constant(index)) return 0;
  w32(EXC_VECTOR, <u32>-1);
  const v = hostMsrRead(index);
  if (<i32>r32(EXC_VECTOR) >= 0) raise(X_GP, 0);
  return <u64>v;
}

function validTypes(v: u64): bool {
  for (let i: u32 = 0; i < 64; i += 8) {
    const t = <u32>(v >> i) & 0xff;
    if (t > 7 || t == 2 || t == 3) return false;
  }
  return true;
}

function validMtrrType(t: u32): bool {
  return t == 0 || t == 1 || (t >= 4 && t <= 6);
}

function write(index: u32, v: u64): void {
  const at = kept(index);
  if (at != 0) {
    let ok = true;
    switch (index) {
      case 0x175:
      case 0x176:
        ok = !isLma() || canonical(v);
        break;
      case 0xc0000082:
      case 0xc0000083:
      case 0xc0000100:
      case 0xc0000101:
      case 0xc0000102:
        ok = canonical(v);
        break;
      case 0x277:
        ok = validTypes(v);
        break;
      case 0x2ff:
        ok = (v & ~0xcff) == 0 && validMtrrType(<u32>v & 0xff);
        break;
      case 0xc0000103:
      case 0xc0000084:
        ok = v >> 32 == 0;
        break;
    }
    if (index >= 0x200 && index < 0x210 && (index & 1) == 0) ok = (v & 0xf00) == 0 && validMtrrType(<u32>v & 0xff);
    requireTrue(ok);
    w64(at, v);
    return;
  }
  switch (index) {
    case 0x10: {
      const delta = v - readTsc();
      w64(TSC_OFFSET, r64(TSC_OFFSET) + delta);
      w64(TSC_ADJUST, r64(TSC_ADJUST) + delta);
      return;
    }
    case 0x3b:
      w64(TSC_OFFSET, r64(TSC_OFFSET) + v - r64(TSC_ADJUST));
      w64(TSC_ADJUST, v);
      return;
    case 0xc0000080:
      requireTrue(r64(EFER_VALID) != 0 && writeEfer(v));
      return;
  }
  if (constant(index)) return;
  requireTrue(hostMsrWrite(index, <u32>v, <u32>(v >> 32)) != 0);
}

export function h_rdmsr(a: u64, b: u64, imm: u32): u64 {
  requireCpl0();
  const v = read(<u32>gpr(RCX));
  setGpr(RAX, v & 0xffffffff);
  setGpr(RDX, v >> 32);
  return 0;
}

export function h_wrmsr(a: u64, b: u64, imm: u32): u64 {
  requireCpl0();
  write(<u32>gpr(RCX), (gpr(RAX) & 0xffffffff) | (gpr(RDX) << 32));
  return 0;
}
