/**
 * AssemblyScript. What a vCPU does between instructions: INIT, SIPI, SMI, debug traps, NMI, interrupts, in the order of the Intel SDM
 * vol 3 table 6-2.
 */
import {
  EFLAGS, EV_EXIT, EV_INIT, EV_INTR, EV_NMI, EV_SIPI, EV_SMI, EV_TRAP, EVENTS, EXC_ERROR, EXC_VECTOR, FL_IF, HALTED, INHIBIT,
  INTR_WAIT, NMI_BLOCKED, SIPI_VECTOR, SMM,
} from "../layout";
import { acknowledge, env } from "./env";
import { r32, w32, X_DB, X_NMI } from "./state";
import { deliverException, deliverInterrupt } from "./exceptions";
import { initCpu, startup } from "./reset";
import { enterSmm } from "./smm";

function take(bit: u32): void {
  atomic.and<u32>(env + EVENTS, ~bit);
}

/** Between blocks; see docs/helpers.md for the result. */
export function serviceEvents(): u32 {
  const ev = atomic.load<u32>(env + EVENTS);
  if ((ev & EV_EXIT) != 0) {
    take(EV_EXIT);
    return 3;
  }
  if ((ev & EV_INIT) != 0) {
    take(EV_INIT | EV_TRAP);
    initCpu();
    // A SIPI that came meanwhile is for the CPU as it is now.
    if ((ev & EV_SIPI) == 0) return r32(HALTED) != 0 ? 2 : 0;
  }
  if (r32(HALTED) == 3) return 2;
  if ((ev & EV_SIPI) != 0) {
    take(EV_SIPI);
    if (r32(HALTED) == 2) startup(r32(SIPI_VECTOR));
  }
  if (r32(HALTED) == 2) return 2;
  if ((ev & EV_SMI) != 0 && r32(SMM) == 0) {
    take(EV_SMI);
    enterSmm();
    return 0;
  }
  const inhibit = r32(INHIBIT);
  if ((ev & EV_TRAP) != 0 && inhibit != 2) {
    take(EV_TRAP);
    w32(EXC_VECTOR, X_DB);
    w32(EXC_ERROR, 0);
    w32(INHIBIT, 0);
    deliverException();
    return 0;
  }
  if ((ev & (EV_INTR | EV_NMI | EV_TRAP)) != 0 && inhibit != 0) {
    w32(INHIBIT, 0);
    // A CPU that halted in the shadow (STI; HLT) has executed its one instruction.
    if (r32(HALTED) == 0) return 1;
  }
  if ((ev & EV_NMI) != 0 && r32(NMI_BLOCKED) == 0) {
    take(EV_NMI);
    w32(NMI_BLOCKED, 1);
    deliverInterrupt(X_NMI);
    return 0;
  }
  if ((ev & EV_INTR) != 0) {
    if ((r32(EFLAGS) & FL_IF) != 0) {
      const vector = acknowledge();
      if (vector >= 0) {
        deliverInterrupt(<u32>vector & 0xff);
        return 0;
      }
      take(EV_INTR);
    } else {
      // Out of the way of polling loops until IF is set (updateHflags, STI).
      w32(INTR_WAIT, 1);
      take(EV_INTR);
    }
  }
  w32(INHIBIT, 0);
  return r32(HALTED) != 0 ? 2 : 0;
}
