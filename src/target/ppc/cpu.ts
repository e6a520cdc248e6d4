/**
 * One PowerPC vCPU as its machine handles it: registers, interrupt lines, start and stop, what the hypervisor owns (LPCR,
 * page tables). Values are 64-bit BigInts; `arg` and `result` are for hypercalls.
 */
import type { TcgEngine } from "../../accel/tcg/engine.js";
import type { PpcBus } from "./bus.js";
import * as L from "./layout.js";

/** Names of plain registers for `reg` and `setReg`. */
const PLACES: { readonly [name: string]: number } = {
  nip: L.NIP,
  lr: L.LR,
  ctr: L.CTR,
  srr0: L.SPR + 8 * L.SPR_SRR0,
  srr1: L.SPR + 8 * L.SPR_SRR1,
  dar: L.SPR + 8 * L.SPR_DAR,
  dsisr: L.SPR + 8 * L.SPR_DSISR,
  pid: L.SPR + 8 * L.SPR_PID,
  sprg0: L.SPR + 8 * L.SPR_SPRG0,
  sprg1: L.SPR + 8 * (L.SPR_SPRG0 + 1),
  sprg2: L.SPR + 8 * (L.SPR_SPRG0 + 2),
  sprg3: L.SPR + 8 * (L.SPR_SPRG0 + 3),
  cfar: L.SPR + 8 * L.SPR_CFAR,
  pir: L.SPR + 8 * L.SPR_PIR,
  fpscr: L.FPSCR,
};

/** Runtime exports that take no part in translated code. */
interface SystemExports {
  setMsr(value: bigint): void;
  getXer(): bigint;
  setXer(value: bigint): void;
  getCr(): number;
  setCr(value: number): void;
  checkPending(): void;
  flushTlb(): void;
  flushTlbAll(): void;
  resetCpu(): void;
  debugPhys(address: bigint): number;
}

export class PpcCpu {
  private readonly env: number;
  private readonly system: SystemExports;
  private readonly view: DataView;

  constructor(
    private readonly engine: TcgEngine<PpcBus>,
    readonly index: number,
  ) {
    this.env = engine.envOf(index);
    this.view = engine.ram.view;
    this.system = engine.runtime as unknown as SystemExports;
  }

  private u64(offset: number): bigint {
    return this.view.getBigUint64(this.env + offset, true);
  }

  private setU64(offset: number, value: bigint): void {
    this.view.setBigUint64(this.env + offset, BigInt.asUintN(64, value), true);
  }

  private u32(offset: number): number {
    return this.view.getUint32(this.env + offset, true);
  }

  private setU32(offset: number, value: number): void {
    this.view.setUint32(this.env + offset, value >>> 0, true);
  }

  /** Runs a function of the runtime on this vCPU's state. */
  private with<T>(body: () => T): T {
    const before = this.engine.selected;
    if (before === this.index) return body();
    this.engine.select(this.index);
    try {
      return body();
    } finally {
      this.engine.select(before);
    }
  }

  gpr(n: number): bigint {
    return this.u64(L.GPR + n * 8);
  }

  setGpr(n: number, value: bigint | number): void {
    this.setU64(L.GPR + n * 8, BigInt(value));
  }

  /** A GPR as a number: exact below 2^53. */
  arg(n: number): number {
    return this.u32(L.GPR + n * 8) + this.u32(L.GPR + n * 8 + 4) * 2 ** 32;
  }

  /** A register by lower-case name: nip, lr, ctr, srr0, srr1, dar, dsisr, pid, sprg0-3, cfar, pir, fpscr, msr, cr, xer. */
  reg(name: string): bigint {
    if (name === "msr") return this.u64(L.MSR);
    if (name === "xer")
      return BigInt.asUintN(
        64,
        this.with(() => this.system.getXer()),
      );
    if (name === "cr") return BigInt(this.with(() => this.system.getCr()) >>> 0);
    return this.u64(placeOf(name));
  }

  setReg(name: string, value: bigint): void {
    if (name === "msr") this.with(() => this.system.setMsr(value));
    else if (name === "xer") this.with(() => this.system.setXer(value));
    else if (name === "cr") this.with(() => this.system.setCr(Number(value)));
    else this.setU64(placeOf(name), value);
  }

  /** VSR n (FPRs 0-31, VRs 32-63): [doubleword 0, doubleword 1]. */
  vsr(n: number): [bigint, bigint] {
    return [this.u64(L.VSR + n * 16), this.u64(L.VSR + n * 16 + 8)];
  }

  get msr(): bigint {
    return this.u64(L.MSR);
  }

  /** MSR.LE. */
  get littleEndian(): boolean {
    return (this.u32(L.MSR) & L.MSR_LE) !== 0;
  }

  // --- what the hypervisor owns ---
  get lpcr(): bigint {
    return this.u64(L.LPCR);
  }

  /** LPCR (L.LPCR_*): ILE and AIL of H_SET_MODE, HR, UPRT and GTSE of H_REGISTER_PROC_TBL, LD. */
  set lpcr(value: bigint) {
    if (value === this.lpcr) return;
    this.setU64(L.LPCR, value);
    this.with(() => this.system.flushTlb());
  }

  /**
   * The hashed page table: address in the machine's linear memory (a RamBlock that is no guest memory), size in bytes, a
   * power of two from 2^18. 0, 0 = none.
   */
  setHashTable(hostOffset: number, sizeBytes: number): void {
    this.setU32(L.HPT_HOST, hostOffset);
    this.setU64(L.HPT_MASK, BigInt(Math.max(sizeBytes - 1, 0)));
    this.with(() => this.system.flushTlb());
  }

  /** Second doubleword of the partition table entry: the process table's guest physical address, and its size (2^(12+PRTS)) in bits 0-4. */
  setProcessTable(pate1: bigint): void {
    this.setU64(L.PATE1, pate1);
    this.with(() => this.system.flushTlb());
  }

  /** Real-mode accesses at or beyond this many bytes fault. */
  setRmaSize(sizeBytes: number): void {
    this.setU64(L.RMA_SIZE, BigInt(sizeBytes));
  }

  /** Forgets this vCPU's translations (after the hash table or LPCR changed under it). */
  flushTlb(): void {
    this.with(() => this.system.flushTlb());
  }

  // --- interrupts ---
  private pend(bit: number, on: boolean): void {
    const now = this.u32(L.PENDING);
    const next = on ? now | bit : now & ~bit;
    if (now === next) return;
    this.setU32(L.PENDING, next);
    if (on) this.engine.signal(this.index, L.EV_CHECK);
  }

  /** Level of the external interrupt input. */
  setExternal(level: boolean): void {
    this.pend(L.INT_EXTERNAL, level);
  }

  /** The decrementer's deadline has passed (PpcBus.decrementerSet). */
  decrementerExpired(): void {
    this.pend(L.INT_DECREMENTER, true);
  }

  /** System reset interrupt (H_SIGNAL_SYS_RESET, the monitor's `nmi`). */
  systemReset(): void {
    this.pend(L.INT_RESET, true);
  }

  // --- running ---
  get halted(): boolean {
    return this.u32(L.HALTED) !== 0;
  }

  /** Nothing to run: halted and no event. */
  get idle(): boolean {
    return this.halted && this.u32(L.EVENTS) === 0;
  }

  /** H_CEDE: MSR.EE is set, and the vCPU sleeps until an interrupt. */
  cede(): void {
    this.setU64(L.MSR, this.msr | BigInt(L.MSR_EE));
    this.setU32(L.HALTED, L.HALT_CEDED);
    this.engine.signal(this.index, L.EV_CHECK);
  }

  /** H_PROD: ends H_CEDE's sleep. */
  prod(): void {
    if (this.u32(L.HALTED) !== L.HALT_STOPPED) this.setU32(L.HALTED, 0);
  }

  /** Stopped until `start`: secondary vCPUs, RTAS stop-self. */
  stop(): void {
    this.setU32(L.HALTED, L.HALT_STOPPED);
    this.engine.signal(this.index, L.EV_CHECK);
  }

  /** Runs from `nip` with r3 and an MSR (RTAS start-cpu; boot). */
  start(nip: bigint, r3: bigint, msr: bigint): void {
    this.setReg("msr", msr);
    this.setReg("nip", nip);
    this.setGpr(3, r3);
    this.setU32(L.HALTED, 0);
  }

  /** Power-on state: registers zero, MSR as a partition starts with (SF and ME), stopped. Model, LPCR and page tables are kept. */
  reset(): void {
    this.with(() => this.system.resetCpu());
  }

  /** Ends the turn under way soon (`run` gives "exit"). */
  requestExit(): void {
    this.engine.signal(this.index, L.EV_EXIT);
  }

  /** Translation of a data address for a debugger: guest physical address, or -1. */
  debugPhys(address: bigint): number {
    return this.with(() => this.system.debugPhys(BigInt.asUintN(64, address)));
  }
}

function placeOf(name: string): number {
  const at = PLACES[name];
  if (at === undefined) throw new Error(`no register ${name}`);
  return at;
}
