/**
 * Hypervisor calls of a PAPR machine: numbers, status codes, and the table that a machine fills in.
 * Source: Linux on Power Architecture Reference (LoPAR) §14 and appendix A; the 0xf000 range is QEMU's own
 * (docs/specs/ppc-spapr-hcalls).
 */
import type { Trace } from "../../base/trace.js";

/** Call numbers: r3 of the guest. */
export const Hcall = {
  H_REMOVE: 0x04,
  H_ENTER: 0x08,
  H_READ: 0x0c,
  H_CLEAR_MOD: 0x10,
  H_CLEAR_REF: 0x14,
  H_PROTECT: 0x18,
  H_GET_TCE: 0x1c,
  H_PUT_TCE: 0x20,
  H_SET_SPRG0: 0x24,
  H_SET_DABR: 0x28,
  H_PAGE_INIT: 0x2c,
  H_LOGICAL_CI_LOAD: 0x3c,
  H_LOGICAL_CI_STORE: 0x40,
  H_LOGICAL_CACHE_LOAD: 0x44,
  H_LOGICAL_CACHE_STORE: 0x48,
  H_LOGICAL_ICBI: 0x4c,
  H_LOGICAL_DCBF: 0x50,
  H_GET_TERM_CHAR: 0x54,
  H_PUT_TERM_CHAR: 0x58,
  H_EOI: 0x64,
  H_CPPR: 0x68,
  H_IPI: 0x6c,
  H_IPOLL: 0x70,
  H_XIRR: 0x74,
  H_REGISTER_VPA: 0xdc,
  H_CEDE: 0xe0,
  H_CONFER: 0xe4,
  H_PROD: 0xe8,
  H_VIO_SIGNAL: 0x104,
  H_BULK_REMOVE: 0x124,
  H_SET_XDABR: 0x134,
  H_STUFF_TCE: 0x138,
  H_PUT_TCE_INDIRECT: 0x13c,
  H_XIRR_X: 0x2fc,
  H_RANDOM: 0x300,
  H_SET_MODE: 0x31c,
  H_REGISTER_PROC_TBL: 0x37c,
  H_SIGNAL_SYS_RESET: 0x380,
  H_INT_GET_SOURCE_INFO: 0x3a8,
  H_INT_SET_SOURCE_CONFIG: 0x3ac,
  H_INT_GET_SOURCE_CONFIG: 0x3b0,
  H_INT_GET_QUEUE_INFO: 0x3b4,
  H_INT_SET_QUEUE_CONFIG: 0x3b8,
  H_INT_GET_QUEUE_CONFIG: 0x3bc,
  H_INT_SET_OS_REPORTING_LINE: 0x3c0,
  H_INT_GET_OS_REPORTING_LINE: 0x3c4,
  H_INT_ESB: 0x3c8,
  H_INT_SYNC: 0x3cc,
  H_INT_RESET: 0x3d0,
  KVMPPC_H_RTAS: 0xf000,
  KVMPPC_H_LOGICAL_MEMOP: 0xf001,
  KVMPPC_H_CAS: 0xf002,
  KVMPPC_H_UPDATE_DT: 0xf003,
} as const;

/** What a call gives back in r3. */
export const HStatus = {
  H_SUCCESS: 0,
  H_BUSY: 1,
  H_NOT_AVAILABLE: 3,
  H_HARDWARE: -1,
  H_FUNCTION: -2,
  H_PRIVILEGE: -3,
  H_PARAMETER: -4,
  H_PTEG_FULL: -6,
  H_NOT_FOUND: -7,
  H_NO_MEM: -9,
  H_AUTHORITY: -10,
  H_PERMISSION: -11,
  H_RESOURCE: -16,
  H_P2: -55,
  H_P3: -56,
  H_P4: -57,
  H_P5: -58,
  H_TOO_BIG: -64,
  H_UNSUPPORTED_FLAG: -256,
  H_MULTI_THREADS_ACTIVE: -9005,
} as const;

const NAMES = new Map<number, string>(Object.entries(Hcall).map(([name, code]) => [code, name]));

/** One call under way: the caller's registers. Registers are 64 bits; addresses and sizes are exact below 2^53. */
export interface HcallFrame {
  /** The vCPU that calls. */
  readonly cpu: number;
  /** Argument `i`: r4 is 0. Values above 2^53 are rounded: compare them with limits only. */
  arg(i: number): number;
  /** Its halves, exact. */
  lo(i: number): number;
  hi(i: number): number;
  /** Sets r4 + `i`: a non-negative number below 2^53. */
  result(i: number, value: number): void;
  result64(i: number, hi: number, lo: number): void;
}

/** Carries out a call. @returns what goes into r3 */
export type HcallHandler = (frame: HcallFrame) => number;

/** The calls a machine answers; all others are H_FUNCTION. */
export class HcallTable {
  private readonly handlers = new Map<number, HcallHandler>();
  private readonly reported = new Set<number>();

  constructor(private readonly trace: Trace) {}

  on(code: number, handler: HcallHandler): void {
    this.handlers.set(code, handler);
  }

  codes(): number[] {
    return [...this.handlers.keys()].sort((a, b) => a - b);
  }

  call(code: number, frame: HcallFrame): number {
    const handler = this.handlers.get(code);
    if (handler) {
      const status = handler(frame);
      if (this.trace.on("int")) this.trace.log("int", `cpu ${frame.cpu}: ${hcallName(code)} = ${status}`);
      return status;
    }
    // Once each: a guest may ask again and again.
    if (!this.reported.has(code) && this.reported.size < 1000) {
      this.reported.add(code);
      this.trace.log("unimp", () => `hypercall ${hcallName(code)} is not there`);
    }
    return HStatus.H_FUNCTION;
  }
}

export function hcallName(code: number): string {
  return NAMES.get(code) ?? `0x${code.toString(16)}`;
}
