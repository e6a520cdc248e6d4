/**
 * AssemblyScript. The x87 register stack and what every x87 helper shares: stack faults, rounding control, merging of
 * exceptions into the status word. Source: Intel SDM vol 1, chapter 8.
 *
 * Conventions of all x87 helpers, h_name(a, b, imm):
 * - They never raise. An unmasked exception sets ES and B in FSW; the next waiting instruction finds ES (bit 7) set and
 *   takes #MF (front end). With an unmasked invalid, denormal-operand or zero-divide exception, and with an unmasked
 *   stack fault, the operation leaves registers and TOP as they were, as the SDM demands.
 * - Helpers that return a value for memory (h_fst_f*, h_fist*, h_fbstp) write env.HELPER_HI: bit 32 set means "do not
 *   store, do not pop". The low half is the second part of 80-bit values.
 * - A pop that goes with a memory store is h_fpop, called after the store has succeeded.
 * - FIP, FDP and FOP are recorded by h_fpu_note only.
 */
import { FCS, FCW, FDP, FDS, FIP, FOP, FPR, FSW, FTAGS, FTOP, HELPER_HI, SEG_SEL } from "../layout";
import { env } from "./env";
import {
  SF_INEXACT,
  SF_INVALID,
  SF_OVERFLOW,
  SF_UNDERFLOW,
  sfBegin,
  sfFlags,
  sfSetFlags,
  sfSetUp,
  sfUp,
} from "../../../accel/tcg/runtime/softfloat-core";
import { setPrecision } from "../../../accel/tcg/runtime/softfloat-f80";

export const FSW_SF: u32 = 0x40;
export const FSW_ES: u32 = 0x80;
export const FSW_C0: u32 = 0x100;
export const FSW_C1: u32 = 0x200;
export const FSW_C2: u32 = 0x400;
export const FSW_C3: u32 = 0x4000;
export const FSW_B: u32 = 0x8000;
export const FSW_CC: u32 = 0x4700;
/** HELPER_HI: the result is not to be used. */
export const NO_STORE: u64 = 0x100000000;
/** The default NaN ("real indefinite"). */
export const INDEFINITE_SIG: u64 = 0xc000000000000000;
export const INDEFINITE_SE: u32 = 0xffff;

/** Address of ST(i). */
// @ts-ignore: decorator
@inline
export function st(i: u32): usize {
  return env + FPR + (((load<u32>(env + FTOP) + i) & 7) << 4);
}

// @ts-ignore: decorator
@inline
export function sigOf(reg: usize): u64 {
  return load<u64>(reg);
}

// @ts-ignore: decorator
@inline
export function seOf(reg: usize): u32 {
  return load<u16>(reg, 8);
}

// @ts-ignore: decorator
@inline
export function put(reg: usize, sig: u64, se: u32): void {
  store<u64>(reg, sig);
  store<u16>(reg, u16(se), 8);
}

// @ts-ignore: decorator
@inline
export function isEmpty(i: u32): bool {
  return ((load<u32>(env + FTAGS) >> ((load<u32>(env + FTOP) + i) & 7)) & 1) != 0;
}

export function markValid(i: u32): void {
  const tags = load<u32>(env + FTAGS);
  store<u32>(env + FTAGS, tags & ~(1 << ((load<u32>(env + FTOP) + i) & 7)));
}

/** Clean flags, rounding mode, masks and precision from FCW. */
// @ts-ignore: decorator
@inline
export function begin(): void {
  const fcw = load<u32>(env + FCW);
  sfBegin((fcw >> 10) & 3, fcw & 0x3f);
  const pc = (fcw >> 8) & 3;
  setPrecision(pc == 0 ? 24 : pc == 2 ? 53 : 64);
}

/** Merges the accumulated exceptions. False: an unmasked one forbids the result. */
// @ts-ignore: decorator
@inline
export function finish(): bool {
  const flags = sfFlags;
  if (flags == 0) {
    store<u32>(env + FSW, load<u32>(env + FSW) & ~FSW_C1);
    return true;
  }
  return mergeFlags(flags, 7);
}

/** As finish, for stores: unmasked overflow and underflow forbid them too. Writes HELPER_HI. */
export function finishStore(): bool {
  if ((sfFlags & ~load<u32>(env + FCW) & (SF_OVERFLOW | SF_UNDERFLOW)) != 0) {
    // Nothing is stored, so nothing is rounded.
    sfSetFlags(sfFlags & ~SF_INEXACT);
    sfSetUp(0);
  }
  const stored = mergeFlags(sfFlags, 0x1f);
  store<u64>(env + HELPER_HI, stored ? 0 : NO_STORE);
  return stored;
}

function mergeFlags(flags: u32, blocking: u32): bool {
  const fcw = load<u32>(env + FCW);
  let fsw = load<u32>(env + FSW) & ~FSW_C1;
  const unmasked = flags & ~fcw & 0x3f;
  if (unmasked != 0) {
    fsw |= FSW_ES | FSW_B;
    if ((unmasked & 7) != 0) {
      // Found before the operation: nothing that follows from a result.
      store<u32>(env + FSW, fsw | (flags & 7));
      return false;
    }
  }
  store<u32>(env + FSW, fsw | flags | (sfUp != 0 ? FSW_C1 : 0));
  return (unmasked & blocking) == 0;
}

/** Stack overflow (C1 = 1) or underflow (C1 = 0). True when masked: the caller then delivers the indefinite value. */
export function stackFault(c1: u32): bool {
  let fsw = (load<u32>(env + FSW) & ~FSW_C1) | FSW_SF | SF_INVALID | c1;
  const masked = (load<u32>(env + FCW) & SF_INVALID) != 0;
  if (!masked) fsw |= FSW_ES | FSW_B;
  store<u32>(env + FSW, fsw);
  return masked;
}

/** Stack underflow of an operation whose result goes to ST(i). */
export function underflowTo(i: u32): bool {
  if (!stackFault(0)) return false;
  put(st(i), INDEFINITE_SIG, INDEFINITE_SE);
  markValid(i);
  return true;
}

// @ts-ignore: decorator
@inline
export function clearC1(): void {
  store<u32>(env + FSW, load<u32>(env + FSW) & ~FSW_C1);
}

export function setCc(bits: u32): void {
  store<u32>(env + FSW, (load<u32>(env + FSW) & ~FSW_CC) | bits);
}

/** Decrements TOP and writes ST(0); the caller has seen that the register is free. */
// @ts-ignore: decorator
@inline
export function pushRaw(sig: u64, se: u32): void {
  const top = (load<u32>(env + FTOP) - 1) & 7;
  store<u32>(env + FTOP, top);
  store<u32>(env + FTAGS, load<u32>(env + FTAGS) & ~(1 << top));
  put(env + FPR + (top << 4), sig, se);
}

/** Pushes, or answers the stack overflow. */
// @ts-ignore: decorator
@inline
export function push(sig: u64, se: u32): void {
  if (isEmpty(7)) {
    clearC1();
    pushRaw(sig, se);
  } else pushOverflow();
}

export function pushOverflow(): void {
  if (stackFault(FSW_C1)) pushRaw(INDEFINITE_SIG, INDEFINITE_SE);
}

// @ts-ignore: decorator
@inline
export function pop(): void {
  const top = load<u32>(env + FTOP);
  store<u32>(env + FTAGS, load<u32>(env + FTAGS) | (1 << top));
  store<u32>(env + FTOP, (top + 1) & 7);
}

/** ES and B as FCW and the exception flags demand. */
export function refreshSummary(): void {
  const fsw = load<u32>(env + FSW) & ~(FSW_ES | FSW_B);
  const pending = fsw & ~load<u32>(env + FCW) & 0x3f;
  store<u32>(env + FSW, pending != 0 ? fsw | FSW_ES | FSW_B : fsw);
}

/** Records the last non-control instruction. a = its EIP/RIP, b = operand offset, imm = opcode bits 0-10, segment << 16. */
export function h_fpu_note(a: u64, b: u64, imm: u32): u64 {
  store<u64>(env + FIP, a);
  store<u64>(env + FDP, b);
  store<u32>(env + FOP, imm & 0x7ff);
  store<u32>(env + FCS, load<u32>(env + SEG_SEL + 4));
  store<u32>(env + FDS, load<u32>(env + SEG_SEL + (((imm >> 16) & 7) << 2)));
  return 0;
}
