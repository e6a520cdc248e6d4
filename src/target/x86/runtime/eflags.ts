/**
 * AssemblyScript. EFLAGS out of the lazy condition codes (layout.ts CC_*), conditions, PUSHF, POPF, CLI, STI with the
 * virtual-8086 and protected-mode virtual interrupt rules. Source: Intel SDM vol 1 3.4.3, vol 2, vol 3 20.3.
 */
import { h_mulhi_s } from "./arith";
import {
  CC_ADC, CC_ADD, CC_DEC, CC_DST, CC_EFLAGS, CC_IMULQ, CC_INC, CC_LOGIC, CC_MUL, CC_OP, CC_SBB, CC_SHL, CC_SHR, CC_SRC, CC_SRC2, CC_SUB, DF,
  EFLAGS, FL_AC, FL_AF, FL_ARITH, FL_CF, FL_DF, FL_ID, FL_IF, FL_IOPL, FL_NT, FL_OF, FL_PF, FL_RF, FL_SF, FL_TF, FL_VIF, FL_VIP, FL_VM,
  FL_ZF, INHIBIT,
} from "../layout";
import { env, raise } from "./env";
import { resumeInterrupts, updateHflags } from "./hflags";
import { cpl, cr4, CR4_PVI, CR4_VME, iopl, isPe, isVm, r32, r64, trunc, w32, w64, X_GP } from "./state";

/** Result flags ZF, SF, PF of a value of an operand size. */
function zsp(res: u64, size: u32): u32 {
  let f: u32 = 0;
  if (trunc(res, size) == 0) f |= FL_ZF;
  if (((res >> ((8 << size) - 1)) & 1) != 0) f |= FL_SF;
  if ((popcnt<u32>(<u32>res & 0xff) & 1) == 0) f |= FL_PF;
  return f;
}

// @ts-ignore: decorator
@inline
function top(v: u64, size: u32): u32 {
  return <u32>(v >> ((8 << size) - 1)) & 1;
}

/** CF PF AF ZF SF OF in place, CC_* unchanged. */
export function arithFlags(): u32 {
  const op = <u32>r64(CC_OP);
  const size = op & 3;
  const src = r64(CC_SRC);
  if ((op & ~3) == CC_EFLAGS) return <u32>src & FL_ARITH;
  const dst = r64(CC_DST);
  let f: u32 = 0;
  switch (op & ~3) {
    case CC_ADD: {
      const one = dst - src;
      f = zsp(dst, size) | (<u32>(dst ^ src ^ one) & FL_AF);
      if (trunc(dst, size) < trunc(one, size)) f |= FL_CF;
      if (top((one ^ dst) & (src ^ dst), size) != 0) f |= FL_OF;
      break;
    }
    case CC_ADC: {
      const c = r64(CC_SRC2) & 1;
      const one = dst - src - c;
      f = zsp(dst, size) | (<u32>(dst ^ src ^ one) & FL_AF);
      const d = trunc(dst, size);
      const o = trunc(one, size);
      if (c != 0 ? d <= o : d < o) f |= FL_CF;
      if (top((one ^ dst) & (src ^ dst), size) != 0) f |= FL_OF;
      break;
    }
    case CC_SUB: {
      const res = dst - src;
      f = zsp(res, size) | (<u32>(res ^ src ^ dst) & FL_AF);
      if (trunc(dst, size) < trunc(src, size)) f |= FL_CF;
      if (top((dst ^ src) & (dst ^ res), size) != 0) f |= FL_OF;
      break;
    }
    case CC_SBB: {
      const c = r64(CC_SRC2) & 1;
      const one = dst + src + c;
      f = zsp(dst, size) | (<u32>(dst ^ src ^ one) & FL_AF);
      const o = trunc(one, size);
      const s = trunc(src, size);
      if (c != 0 ? o <= s : o < s) f |= FL_CF;
      if (top((one ^ src) & (one ^ dst), size) != 0) f |= FL_OF;
      break;
    }
    case CC_LOGIC:
      f = zsp(dst, size);
      break;
    case CC_INC:
      f = zsp(dst, size) | (<u32>src & FL_CF);
      if ((<u32>dst & 15) == 0) f |= FL_AF;
      if (trunc(dst, size) == <u64>1 << ((8 << size) - 1)) f |= FL_OF;
      break;
    case CC_DEC:
      f = zsp(dst, size) | (<u32>src & FL_CF);
      if ((<u32>dst & 15) == 15) f |= FL_AF;
      if (trunc(dst, size) == (<u64>1 << ((8 << size) - 1)) - 1) f |= FL_OF;
      break;
    case CC_SHL:
      f = zsp(dst, size) | (<u32>src & 1);
      if ((top(dst, size) ^ (<u32>src & 1)) != 0) f |= FL_OF;
      break;
    case CC_SHR:
      f = zsp(dst, size) | (<u32>src & 1);
      if (top(dst ^ (dst << 1), size) != 0) f |= FL_OF;
      break;
    case CC_IMULQ:
      f = zsp(dst, 3);
      if (h_mulhi_s(src, r64(CC_SRC2), 0) != <u64>(<i64>dst >> 63)) f |= FL_CF | FL_OF;
      break;
    case CC_MUL:
      f = zsp(dst, size);
      if (src != 0) f |= FL_CF | FL_OF;
      break;
    default:
      f = <u32>src & FL_ARITH;
  }
  return f;
}

/** Sets the six arithmetic flags. */
export function setArith(f: u32): void {
  w64(CC_OP, CC_EFLAGS);
  w64(CC_SRC, <u64>(f & FL_ARITH));
  w64(CC_DST, 0);
}

/** The whole EFLAGS image. */
export function getEflags(): u32 {
  return (r32(EFLAGS) & ~(FL_ARITH | FL_DF)) | 2 | arithFlags() | (<i64>r64(DF) < 0 ? FL_DF : 0);
}

/** Sets the bits of mask; recomputes HFLAGS. */
export function setEflags(value: u32, mask: u32): void {
  if ((mask & FL_ARITH) != 0) setArith((arithFlags() & ~mask) | (value & mask));
  if ((mask & FL_DF) != 0) w64(DF, (value & FL_DF) != 0 ? <u64>-1 : 1);
  const rest: u32 = mask & ~(FL_ARITH | FL_DF | 2);
  w32(EFLAGS, (r32(EFLAGS) & ~rest) | (value & rest) | 2);
  updateHflags();
}

export function h_cc_compute(a: u64, b: u64, imm: u32): u64 {
  return <u64>arithFlags();
}

/** Condition codes 0-15 as encoded. */
export function h_cond(a: u64, b: u64, imm: u32): u64 {
  const f = arithFlags();
  let r = false;
  const sf = (f & FL_SF) != 0;
  const ov = (f & FL_OF) != 0;
  switch ((imm >> 1) & 7) {
    case 0: r = ov; break;
    case 1: r = (f & FL_CF) != 0; break;
    case 2: r = (f & FL_ZF) != 0; break;
    case 3: r = (f & (FL_CF | FL_ZF)) != 0; break;
    case 4: r = sf; break;
    case 5: r = (f & FL_PF) != 0; break;
    case 6: r = sf != ov; break;
    default: r = (f & FL_ZF) != 0 || sf != ov;
  }
  return <u64>(<u32>r ^ (imm & 1));
}

/** Replaces ZF, the others kept. */
export function setZf(on: bool): void {
  setArith((arithFlags() & ~FL_ZF) | (on ? FL_ZF : 0));
}

export function h_lahf(a: u64, b: u64, imm: u32): u64 {
  return <u64>((arithFlags() & 0xd5) | 2);
}

export function h_sahf(a: u64, b: u64, imm: u32): u64 {
  setArith((arithFlags() & FL_OF) | (<u32>a & 0xd5));
  return 0;
}

/** Whether CLI and STI act on VIF instead of IF: CR4.VME in virtual-8086 mode, CR4.PVI at CPL 3. */
function virtualIf(): bool {
  if (isVm()) return (cr4() & CR4_VME) != 0;
  return isPe() && cpl() == 3 && (cr4() & CR4_PVI) != 0;
}

export function h_pushf(a: u64, b: u64, imm: u32): u64 {
  let f = getEflags() & ~(FL_RF | FL_VM);
  if (isVm() && iopl() < 3) {
    if (imm != 1 || (cr4() & CR4_VME) == 0) raise(X_GP, 0);
    f = (f & ~FL_IF) | FL_IOPL | ((f & FL_VIF) != 0 ? FL_IF : 0);
  }
  return <u64>f;
}

export function h_popf(a: u64, b: u64, imm: u32): u64 {
  const value = <u32>a;
  let mask: u32 = FL_ARITH | FL_TF | FL_DF | FL_NT;
  if (imm != 1) mask |= FL_AC | FL_ID;
  if (isVm()) {
    if (iopl() == 3) mask |= FL_IF;
    else {
      if (imm != 1 || (cr4() & CR4_VME) == 0) raise(X_GP, 0);
      if ((value & FL_TF) != 0 || ((value & FL_IF) != 0 && (r32(EFLAGS) & FL_VIP) != 0)) raise(X_GP, 0);
      setEflags((value & ~FL_VIF) | ((value & FL_IF) != 0 ? FL_VIF : 0), mask | FL_VIF);
      return 0;
    }
  } else if (!isPe() || cpl() == 0) mask |= FL_IF | FL_IOPL;
  else if (cpl() <= iopl()) mask |= FL_IF;
  if (imm != 1) mask |= FL_RF;
  setEflags(value & ~FL_RF, mask);
  return 0;
}

export function h_cli(a: u64, b: u64, imm: u32): u64 {
  let bit: u32 = FL_IF;
  if (isPe() && cpl() > iopl()) {
    if (!virtualIf()) raise(X_GP, 0);
    bit = FL_VIF;
  }
  w32(EFLAGS, r32(EFLAGS) & ~bit);
  return 0;
}

export function h_sti(a: u64, b: u64, imm: u32): u64 {
  const f = r32(EFLAGS);
  if (isPe() && cpl() > iopl()) {
    if (!virtualIf() || (f & FL_VIP) != 0) raise(X_GP, 0);
    w32(EFLAGS, f | FL_VIF);
    return 0;
  }
  if ((f & FL_IF) == 0) {
    w32(EFLAGS, f | FL_IF);
    w32(INHIBIT, 1);
    resumeInterrupts();
  }
  return 0;
}
