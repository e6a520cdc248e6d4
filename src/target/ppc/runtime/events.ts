/** AssemblyScript. What a vCPU does between instructions, power-on state, and the traps of single steps. */
import {
  CRF, CTR, DEC_DEADLINE, EV_CHECK, EV_EXIT, EVENTS, EXC_VECTOR, FP_LAZY, FPSCR, GLOBALS_END, GPR, HALT_STOPPED, HALTED, MSR_ME, NIP,
  PC_EXACT, PENDING, RESERVE_EA, SLB, SPR, SPR_CTRL, SPR_PIR, CPU_INDEX, TLB_USED, V_TRACE, VSCR, VSR, VECTORS_END, XER_BYTES,
} from "../layout";
import { sfSetTinyBefore } from "../../../accel/tcg/runtime/softfloat-core";
import { env, hostDecrementerSet } from "./env";
import { deliverPending, enter } from "./interrupts";
import { flushTlb } from "./mmu";
import { MSR_SF, r32, setMsr, setSpr, w32, w64 } from "./state";

/** Between blocks: 0 go on, 2 halted, 3 the run loop is to return. */
export function serviceEvents(): u32 {
  const ev = atomic.load<u32>(env + EVENTS);
  if ((ev & EV_EXIT) != 0) {
    atomic.and<u32>(env + EVENTS, ~EV_EXIT);
    return 3;
  }
  if ((ev & EV_CHECK) != 0) {
    // What MSR does not let through waits in PENDING; a change of MSR looks again.
    atomic.and<u32>(env + EVENTS, ~EV_CHECK);
    if (r32(HALTED) != HALT_STOPPED) deliverPending();
  }
  return r32(HALTED) != 0 ? 2 : 0;
}

/** Power-on state of the current vCPU: stopped. Model, LPCR and page tables are kept. */
export function resetCpu(): void {
  sfSetTinyBefore(true);
  memory.fill(env + GPR, 0, GLOBALS_END);
  memory.fill(env + VSR, 0, VECTORS_END - VSR);
  memory.fill(env + SPR, 0, 8192);
  memory.fill(env + SLB, 0, 1024);
  w64(RESERVE_EA, <u64>-1);
  w64(NIP, 0);
  w64(CTR, 0);
  w64(FPSCR, 0);
  w64(FP_LAZY, 0);
  w64(CRF, 0);
  w64(XER_BYTES, 0);
  w32(VSCR, 0x10000);
  w32(PENDING, 0);
  w32(EVENTS, 0);
  w32(EXC_VECTOR, 0);
  w32(PC_EXACT, 0);
  w64(DEC_DEADLINE, <u64>0x7fffffffffffffff);
  setSpr(SPR_PIR, <u64>r32(CPU_INDEX));
  setSpr(SPR_CTRL, 1);
  // Whatever the memory held is no translation.
  w32(TLB_USED, 15);
  flushTlb();
  setMsr(MSR_SF | MSR_ME);
  w32(HALTED, HALT_STOPPED);
  hostDecrementerSet(Infinity);
}

/** After a single-stepped instruction: a = the next one's address. */
export function h_trace(a: u64, b: u64, imm: u32): u64 {
  enter(V_TRACE, a, 0);
  return 0;
}
