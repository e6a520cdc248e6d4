/** AssemblyScript. Privileged instructions: MSR and SPRs with effects, SLB, TLB invalidation, doorbells, hypercalls. */
import {
  AMR_FILLED, DEC_DEADLINE, ENV_SIZE, EVENTS, EV_CHECK, FAULT_ADDR, HALT_STOP, HALTED, INT_DECREMENTER, INT_DOORBELL, LPCR, LPCR_GTSE,
  LPCR_LD, MSR, MSR_EE, MSR_LE, MSR_ME, MSR_PR, MSR_RI, NIP, PENDING, PROGRAM_PRIVILEGED, SCRATCH, SLB, SLB_SIZE, SPR_AMR, SPR_FSCR,
  SPR_IAMR, SPR_PID, TB_OFFSET, V_ALIGNMENT, V_PROGRAM,
} from "../layout";
import { ENVS as ENVS_AT } from "../../../accel/tcg/map";
import { env, hostDecrementerSet, hostHypercall, hostRandom, hostTimeBase, raise, setEnv } from "./env";
import { cpuCount, flushLower, flushPages, flushTlb } from "./mmu";
import { checkPending, msr, r32, r64, setGpr, setMsr, setSpr, spr, updateHflags, w32, w64 } from "./state";
import { slbFind } from "./walk";

const ENVS: usize = ENVS_AT;

/** Unused table index of the translator's common part. */
export function h_none(a: u64, b: u64, imm: u32): u64 {
  unreachable();
  return 0;
}

/** a = address that is not aligned. */
export function h_alignment(a: u64, b: u64, imm: u32): u64 {
  w64(FAULT_ADDR, a);
  raise(V_ALIGNMENT, 0);
  return 0;
}

/** imm bit 0: only EE and RI; bit 1: mtmsr, which keeps the upper half. */
export function h_mtmsr(a: u64, b: u64, imm: u32): u64 {
  const old = msr();
  let next: u64;
  if ((imm & 1) != 0) {
    next = (old & ~(<u64>(MSR_EE | MSR_RI))) | (a & (MSR_EE | MSR_RI));
    store<u64>(env + MSR, next);
    checkPending();
    return 0;
  }
  next = (imm & 2) != 0 ? (old & 0xffffffff00000000) | (a & 0xffffffff) : a;
  // LE and ME stay.
  next = (next & ~(<u64>(MSR_LE | MSR_ME))) | (old & (MSR_LE | MSR_ME));
  setMsr(next);
  return 0;
}

// --- time ---
export function h_time_base(a: u64, b: u64, imm: u32): u64 {
  return <u64>hostTimeBase() + r64(TB_OFFSET);
}

function large(): bool {
  return (r64(LPCR) & LPCR_LD) != 0;
}

export function h_read_dec(a: u64, b: u64, imm: u32): u64 {
  const left = r64(DEC_DEADLINE) - <u64>hostTimeBase() - 1;
  return large() ? <u64>(<i64>(left << 8) >> 8) : left & 0xffffffff;
}

export function h_write_dec(a: u64, b: u64, imm: u32): u64 {
  const value: i64 = large() ? <i64>(a << 8) >> 8 : <i64>(<i32>a);
  // Negative from the tick after zero.
  const deadline = <u64>hostTimeBase() + <u64>value + 1;
  w64(DEC_DEADLINE, deadline);
  if (value < 0) {
    atomic.or<u32>(env + PENDING, INT_DECREMENTER);
    hostDecrementerSet(Infinity);
    checkPending();
  } else {
    atomic.and<u32>(env + PENDING, ~INT_DECREMENTER);
    hostDecrementerSet(<f64>deadline);
  }
  return 0;
}

// --- SPRs with effects ---
export function h_write_pid(a: u64, b: u64, imm: u32): u64 {
  if (spr(SPR_PID) == a) return 0;
  setSpr(SPR_PID, a);
  flushLower(false);
  return 0;
}

export function h_write_fscr(a: u64, b: u64, imm: u32): u64 {
  setSpr(SPR_FSCR, a);
  updateHflags();
  return 0;
}

/** AMR: entries of MMU_KERNEL were filled under one value of key 0's bits; both set has an index of its own. */
export function h_write_amr(a: u64, b: u64, imm: u32): u64 {
  const old = spr(SPR_AMR);
  if (old == a) return 0;
  setSpr(SPR_AMR, a);
  if (((old ^ a) & 0x3fffffffffffffff) != 0) flushTlb();
  else {
    const key = <u32>(a >> 62);
    if (key != 3 && key != r32(AMR_FILLED)) {
      flushLower(true);
      w32(AMR_FILLED, key);
    }
  }
  updateHflags();
  return 0;
}

export function h_write_iamr(a: u64, b: u64, imm: u32): u64 {
  if (spr(SPR_IAMR) == a) return 0;
  setSpr(SPR_IAMR, a);
  flushTlb();
  return 0;
}

/** imm: 0 32 bits, 1 conditioned, 2 raw. */
export function h_darn(a: u64, b: u64, imm: u32): u64 {
  if (imm > 2) return <u64>-1;
  hostRandom();
  const v = load<u64>(env + SCRATCH);
  return imm == 0 ? v & 0xffffffff : v;
}

// --- SLB (III 5.9.3.2) ---
const SLB_V: u64 = 0x08000000;

// @ts-ignore: decorator
@inline
function slbAt(n: u32): usize {
  return env + SLB + <usize>(n << 4);
}

export function h_slbmte(a: u64, b: u64, imm: u32): u64 {
  const n = <u32>a & 0xfff;
  if (n >= r32(SLB_SIZE)) return 0;
  const e = slbAt(n);
  const esid = a & 0xfffffffff8000000;
  if (load<u64>(e) == esid && load<u64>(e, 8) == b) return 0;
  if ((load<u64>(e) & SLB_V) != 0) flushTlb();
  store<u64>(e, esid);
  store<u64>(e, b, 8);
  return 0;
}

export function h_slbie(a: u64, b: u64, imm: u32): u64 {
  const e = slbFind(a);
  if (e == 0) return 0;
  store<u64>(e, load<u64>(e) & ~SLB_V);
  flushTlb();
  return 0;
}

export function h_slbia(a: u64, b: u64, imm: u32): u64 {
  // Entry 0 stays but for IH 4; class 1 only with IH 3 (ISA 3.0).
  const n = r32(SLB_SIZE);
  let any = false;
  for (let i: u32 = imm == 4 ? 0 : 1; i < n; i++) {
    const e = slbAt(i);
    if ((load<u64>(e) & SLB_V) == 0) continue;
    if (imm == 3 && (load<u64>(e, 8) & 0x80) == 0) continue;
    store<u64>(e, load<u64>(e) & ~SLB_V);
    any = true;
  }
  if (any) flushTlb();
  return 0;
}

export function h_slbmfev(a: u64, b: u64, imm: u32): u64 {
  const n = <u32>a & 0xfff;
  return n < r32(SLB_SIZE) ? load<u64>(slbAt(n), 8) : 0;
}

export function h_slbmfee(a: u64, b: u64, imm: u32): u64 {
  const n = <u32>a & 0xfff;
  return n < r32(SLB_SIZE) ? load<u64>(slbAt(n)) : 0;
}

/** The VSID word of the entry that translates a, or all ones. */
export function h_slbfee(a: u64, b: u64, imm: u32): u64 {
  const e = slbFind(a);
  return e == 0 ? <u64>-1 : load<u64>(e, 8);
}

// --- TLB invalidation by a partition (III 5.9.3.3), needs LPCR.GTSE unless local ---
function invalidateHere(rb: u64, everything: bool): void {
  if (everything) {
    flushTlb();
    return;
  }
  const ap = <u32>(rb >> 5) & 7;
  const bytes: u32 = ap == 0 ? 4096 : ap == 5 ? 65536 : 0;
  if (bytes == 0) flushTlb();
  else flushPages(rb & ~(<u64>bytes - 1), bytes);
}

/** a = RB, b = RS; imm: RIC | PRS << 2 | R << 3 | local << 4. */
export function h_tlbie(a: u64, b: u64, imm: u32): u64 {
  if ((imm & 16) == 0 && (r64(LPCR) & LPCR_GTSE) == 0) raise(V_PROGRAM, PROGRAM_PRIVILEGED);
  const is = <u32>(a >> 10) & 3;
  const everything = is != 0 || (imm & 3) != 0 || (imm & 8) == 0;
  if ((imm & 16) != 0) {
    invalidateHere(a, everything);
    return 0;
  }
  const before = env;
  for (let i: u32 = 0; i < cpuCount(); i++) {
    setEnv(ENVS + i * ENV_SIZE);
    invalidateHere(a, everything);
  }
  setEnv(before);
  return 0;
}

// --- doorbells between threads of a core (III 10.2): here a core has one thread, itself ---
export function h_msgsndp(a: u64, b: u64, imm: u32): u64 {
  if ((<u32>(a >> 27) & 31) != 5 || (<u32>a & 0xff) != 0) return 0;
  atomic.or<u32>(env + PENDING, INT_DOORBELL);
  checkPending();
  return 0;
}

export function h_msgclrp(a: u64, b: u64, imm: u32): u64 {
  if ((<u32>(a >> 27) & 31) == 5) atomic.and<u32>(env + PENDING, ~INT_DOORBELL);
  return 0;
}

// --- leaving the partition ---
const H_PRIVILEGE: u64 = <u64>-3;

/** sc 1: a = next address. */
export function h_hypercall(a: u64, b: u64, imm: u32): u64 {
  w64(NIP, a);
  if ((msr() & MSR_PR) != 0) setGpr(3, H_PRIVILEGE);
  else hostHypercall();
  return 0;
}

/** stop: until an interrupt, which is taken only if MSR.EE lets it through. */
export function h_stop(a: u64, b: u64, imm: u32): u64 {
  w64(NIP, a);
  if (r32(PENDING) != 0) return 0;
  w32(HALTED, HALT_STOP);
  atomic.or<u32>(env + EVENTS, EV_CHECK);
  return 0;
}
