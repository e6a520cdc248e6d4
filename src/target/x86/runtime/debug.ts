/**
 * AssemblyScript. Debug exceptions: single step, breakpoint registers, task switch traps. Source: Intel SDM vol 3 17.2-17.3.
 * Not emulated: DR7.LE/GE, RTM, branch stepping.
 */
import { DR, EFLAGS, EV_TRAP, EVENTS, FL_RF, HF_CR4_DE, PENDING_DR6 } from "../layout";
import { env, raise } from "./env";
import { hflags, r32, r64, w32, X_DB } from "./state";

const DR6_BS: u32 = 1 << 14;
const DR6_BD: u32 = 1 << 13;
const DR6_BT: u32 = 1 << 15;

/** Single step: last thing of an instruction that began with TF set. */
export function h_step_trap(a: u64, b: u64, imm: u32): u64 {
  w32(PENDING_DR6, r32(PENDING_DR6) | DR6_BS);
  atomic.or<u32>(env + EVENTS, EV_TRAP);
  return 0;
}

/** The T bit of a TSS just switched to. */
export function taskTrap(): void {
  w32(PENDING_DR6, r32(PENDING_DR6) | DR6_BT);
  atomic.or<u32>(env + EVENTS, EV_TRAP);
}

/** Which of DR0-3 that are enabled with these R/W kinds (bit k = kind k) overlap [linear, linear + bytes). */
function drHits(linear: u64, bytes: u32, kinds: u32): u32 {
  const dr7 = <u32>r64(DR + 56);
  let hits: u32 = 0;
  for (let i: u32 = 0; i < 4; i++) {
    if (((dr7 >> (i * 2)) & 3) == 0) continue;
    if (((kinds >> ((dr7 >> (16 + i * 4)) & 3)) & 1) == 0) continue;
    const code = (dr7 >> (18 + i * 4)) & 3;
    const length: u64 = code == 0 ? 1 : code == 1 ? 2 : code == 2 ? 8 : 4;
    const at = r64(DR + (i << 3)) & ~(length - 1);
    if (linear < at + length && at < linear + bytes) hits |= 1 << i;
  }
  return hits;
}

/** Data breakpoints. imm: bytes | write << 8. The trap comes after the instruction. */
export function h_dr_check(a: u64, b: u64, imm: u32): u64 {
  const hits = drHits(a, imm & 0xff, (imm & 0x100) != 0 ? (1 << 1) | (1 << 3) : 1 << 3);
  if (hits != 0) {
    w32(PENDING_DR6, r32(PENDING_DR6) | hits);
    atomic.or<u32>(env + EVENTS, EV_TRAP);
  }
  return 0;
}

/** I/O breakpoints (CR4.DE). */
export function ioBreakpoint(port: u32, bytes: u32): void {
  if ((hflags() & HF_CR4_DE) == 0) return;
  const hits = drHits(<u64>port, bytes, 1 << 2);
  if (hits != 0) {
    w32(PENDING_DR6, r32(PENDING_DR6) | hits);
    atomic.or<u32>(env + EVENTS, EV_TRAP);
  }
}

/** Instruction breakpoints, before the instruction at linear address a. EFLAGS.RF suppresses them for one instruction. */
export function h_dr_exec(a: u64, b: u64, imm: u32): u64 {
  const fl = r32(EFLAGS);
  if ((fl & FL_RF) != 0) {
    w32(EFLAGS, fl & ~FL_RF);
    return 0;
  }
  const hits = drHits(a, 1, 1);
  if (hits != 0) {
    w32(PENDING_DR6, r32(PENDING_DR6) | hits);
    raise(X_DB, 1);
  }
  return 0;
}

/** General detect: MOV DR with DR7.GD set. */
export function generalDetect(): void {
  w32(PENDING_DR6, r32(PENDING_DR6) | DR6_BD);
  raise(X_DB, 1);
}
