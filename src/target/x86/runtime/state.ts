/**
 * AssemblyScript. Short names for the vCPU state's fields, so that the rest of the runtime reads like the manuals.
 */
import {
  CR0, CR4, EFER, EFLAGS, GPR, HF_CPL, HF_CS64, HF_LMA, HF_MMU_SHIFT, HF_PE, HF_VM, HFLAGS, RIP, SEG_BASE, SEG_FLAGS,
  SEG_LIMIT, SEG_SEL,
} from "../layout";
import { env, raise } from "./env";

// Registers, in encoding order.
export const RAX: u32 = 0;
export const RCX: u32 = 1;
export const RDX: u32 = 2;
export const RBX: u32 = 3;
export const RSP: u32 = 4;
export const RBP: u32 = 5;
export const RSI: u32 = 6;
export const RDI: u32 = 7;
export const ES: u32 = 0;
export const CS: u32 = 1;
export const SS: u32 = 2;
export const DS: u32 = 3;
export const FS: u32 = 4;
export const GS: u32 = 5;

// Exception vectors.
export const X_DE = 0;
export const X_DB = 1;
export const X_NMI = 2;
export const X_BP = 3;
export const X_OF = 4;
export const X_BR = 5;
export const X_UD = 6;
export const X_NM = 7;
export const X_DF = 8;
export const X_TS = 10;
export const X_NP = 11;
export const X_SS = 12;
export const X_GP = 13;
export const X_PF = 14;
export const X_MF = 16;
export const X_AC = 17;

// Control register bits.
export const CR0_PE: u64 = 1;
export const CR0_MP: u64 = 2;
export const CR0_EM: u64 = 4;
export const CR0_TS: u64 = 8;
export const CR0_ET: u64 = 16;
export const CR0_NE: u64 = 32;
export const CR0_WP: u64 = 1 << 16;
export const CR0_AM: u64 = 1 << 18;
export const CR0_NW: u64 = 1 << 29;
export const CR0_CD: u64 = 1 << 30;
export const CR0_PG: u64 = 0x80000000;
export const CR4_VME: u64 = 1;
export const CR4_PVI: u64 = 2;
export const CR4_TSD: u64 = 4;
export const CR4_DE: u64 = 8;
export const CR4_PSE: u64 = 16;
export const CR4_PAE: u64 = 32;
export const CR4_MCE: u64 = 64;
export const CR4_PGE: u64 = 128;
export const CR4_PCE: u64 = 256;
export const CR4_OSFXSR: u64 = 512;
export const CR4_OSXMMEXCPT: u64 = 1024;
export const CR4_UMIP: u64 = 2048;
export const CR4_FSGSBASE: u64 = 1 << 16;
export const CR4_PCIDE: u64 = 1 << 17;
export const CR4_OSXSAVE: u64 = 1 << 18;
export const CR4_SMEP: u64 = 1 << 20;
export const CR4_SMAP: u64 = 1 << 21;
export const EFER_SCE: u64 = 1;
export const EFER_LME: u64 = 1 << 8;
export const EFER_LMA: u64 = 1 << 10;
export const EFER_NXE: u64 = 1 << 11;

// Descriptor bits, in the high dword.
export const D_A: u32 = 1 << 8;
/** Writable (data) or readable (code). */
export const D_RW: u32 = 1 << 9;
/** Expand-down (data) or conforming (code). */
export const D_EC: u32 = 1 << 10;
export const D_CODE: u32 = 1 << 11;
export const D_S: u32 = 1 << 12;
export const D_DPL_SHIFT: u32 = 13;
export const D_P: u32 = 1 << 15;
export const D_L: u32 = 1 << 21;
/** Default size 32 (code), big (stack). */
export const D_B: u32 = 1 << 22;
export const D_G: u32 = 1 << 23;

// @ts-ignore: decorator
@inline export function r32(o: u32): u32 { return load<u32>(env + o); }
// @ts-ignore: decorator
@inline export function w32(o: u32, v: u32): void { store<u32>(env + o, v); }
// @ts-ignore: decorator
@inline export function r64(o: u32): u64 { return load<u64>(env + o); }
// @ts-ignore: decorator
@inline export function w64(o: u32, v: u64): void { store<u64>(env + o, v); }
// @ts-ignore: decorator
@inline export function gpr(n: u32): u64 { return load<u64>(env + GPR + (n << 3)); }
// @ts-ignore: decorator
@inline export function setGpr(n: u32, v: u64): void { store<u64>(env + GPR + (n << 3), v); }
// @ts-ignore: decorator
@inline export function segSel(s: u32): u32 { return load<u32>(env + SEG_SEL + (s << 2)); }
// @ts-ignore: decorator
@inline export function segBase(s: u32): u64 { return load<u64>(env + SEG_BASE + (s << 3)); }
// @ts-ignore: decorator
@inline export function segLimit(s: u32): u32 { return load<u32>(env + SEG_LIMIT + (s << 2)); }
// @ts-ignore: decorator
@inline export function segFlags(s: u32): u32 { return load<u32>(env + SEG_FLAGS + (s << 2)); }
// @ts-ignore: decorator
@inline export function hflags(): u32 { return load<u32>(env + HFLAGS); }
// @ts-ignore: decorator
@inline export function cpl(): u32 { return load<u32>(env + HFLAGS) & HF_CPL; }
// @ts-ignore: decorator
@inline export function dataMmu(): u32 { return (load<u32>(env + HFLAGS) >> HF_MMU_SHIFT) & 3; }
// @ts-ignore: decorator
@inline export function isPe(): bool { return (load<u32>(env + HFLAGS) & HF_PE) != 0; }
// @ts-ignore: decorator
@inline export function isVm(): bool { return (load<u32>(env + HFLAGS) & HF_VM) != 0; }
/** Protected mode and not VM86. */
export function isProt(): bool { return (load<u32>(env + HFLAGS) & (HF_PE | HF_VM)) == HF_PE; }
// @ts-ignore: decorator
@inline export function isLma(): bool { return (load<u32>(env + HFLAGS) & HF_LMA) != 0; }
// @ts-ignore: decorator
@inline export function isCode64(): bool { return (load<u32>(env + HFLAGS) & HF_CS64) != 0; }
// @ts-ignore: decorator
@inline export function iopl(): u32 { return (load<u32>(env + EFLAGS) >> 12) & 3; }
// @ts-ignore: decorator
@inline export function cr0(): u64 { return load<u64>(env + CR0); }
// @ts-ignore: decorator
@inline export function cr4(): u64 { return load<u64>(env + CR4); }
// @ts-ignore: decorator
@inline export function efer(): u64 { return load<u64>(env + EFER); }
// @ts-ignore: decorator
@inline export function rip(): u64 { return load<u64>(env + RIP); }
// @ts-ignore: decorator
@inline export function setRip(v: u64): void { store<u64>(env + RIP, v); }
// @ts-ignore: decorator
@inline export function canonical(v: u64): bool { return <u64>((<i64>v << 16) >> 16) == v; }

/** Value of an operand size (log2 bytes) as unsigned. */
export function trunc(v: u64, size: u32): u64 {
  return size == 0 ? v & 0xff : size == 1 ? v & 0xffff : size == 2 ? v & 0xffffffff : v;
}

/** Writes a register as an instruction of that size (log2) would. */
export function setGprSized(n: u32, v: u64, size: u32): void {
  if (size == 3) setGpr(n, v);
  else if (size == 2) setGpr(n, v & 0xffffffff);
  else if (size == 1) setGpr(n, (gpr(n) & ~0xffff) | (v & 0xffff));
  else setGpr(n, (gpr(n) & ~0xff) | (v & 0xff));
}

/** #GP(0) unless CPL is 0. */
export function requireCpl0(): void {
  if (cpl() != 0) raise(X_GP, 0);
}
