/**
 * A local APIC: xAPIC registers, x2APIC registers, IA32_APIC_BASE.
 *
 * Source: Intel SDM vol. 3, chapter 11 ("Advanced programmable interrupt controller"); register numbers are the x2APIC's
 * (MSR 800h + n; the xAPIC register lies at 16 * n, see apic-page.ts).
 *
 * After reset LINT0 of the bootstrap processor is open for the 8259 (ExtINT), as firmware leaves it and as QEMU has it.
 *
 * *Not emulated*: thermal and performance-counter sources (their LVT entries store), CMCI, EOI-broadcast suppression,
 * APIC arbitration IDs (the register reads 0), level-triggered LINT with remote IRR.
 * Long for one reason: registers and their side effects are one state machine.
 */
import type { Device, DeviceContext, DeviceState } from "../core/device.js";
import { IrqLine } from "../core/irq.js";
import type { ApicBus, ApicMessage, ApicTarget } from "./apic-bus.js";
import { DeliveryMode } from "./apic-bus.js";
import { ApicTimer, type TimerMode } from "./apic-timer.js";
import { VectorSet } from "./vector-set.js";

/** What a local APIC needs of its processor. */
export interface ApicCpu {
  /** The pending interrupt may have changed: look at `hasInterrupt`. */
  updateInterrupt(): void;
  nmi(): void;
  smi(): void;
  /** INIT: the APIC has reset itself already. */
  init(): void;
  /** STARTUP: begin at vector << 12 if waiting for it. */
  startup(vector: number): void;
}

/** Register numbers: xAPIC offset / 16, x2APIC MSR - 800h. */
export const ApicReg = {
  id: 0x02,
  version: 0x03,
  tpr: 0x08,
  apr: 0x09,
  ppr: 0x0a,
  eoi: 0x0b,
  rrd: 0x0c,
  ldr: 0x0d,
  dfr: 0x0e,
  svr: 0x0f,
  isr: 0x10,
  tmr: 0x18,
  irr: 0x20,
  esr: 0x28,
  icrLow: 0x30,
  icrHigh: 0x31,
  lvtTimer: 0x32,
  lvtThermal: 0x33,
  lvtPerf: 0x34,
  lvtLint0: 0x35,
  lvtLint1: 0x36,
  lvtError: 0x37,
  initialCount: 0x38,
  currentCount: 0x39,
  divide: 0x3e,
  selfIpi: 0x3f,
} as const;

/** Version 14h, six LVT entries, no EOI-broadcast suppression. */
const VERSION = 0x14 | (5 << 16);
const SVR_ENABLE = 0x100;
const SVR_MASK = 0x1ff;
const LVT_MASKED = 0x10000;
const LVT_TIMER_MODE = 0x60000;
const BASE = { bsp: 0x100n, x2: 0x400n, enable: 0x800n } as const;
export const APIC_DEFAULT_BASE = 0xfee00000;
const Esr = { sendIllegal: 0x20, receiveIllegal: 0x40, illegalRegister: 0x80 } as const;
/** Vectors below are reserved for exceptions. */
const FIRST_VECTOR = 16;
const ICR_WRITABLE = 0x000ccfff;
const DFR_FLAT = 0xf;

/** Writable bits of each LVT entry, in register order from the timer. */
const LVT_WRITABLE = [0x000700ff, 0x000107ff, 0x000107ff, 0x0001a7ff, 0x0001a7ff, 0x000100ff] as const;

type X2Access = "none" | "read" | "write" | "both";

function x2Access(reg: number): X2Access {
  const r = ApicReg;
  if (reg >= r.isr && reg < r.irr + 8) return "read";
  switch (reg) {
    case r.id:
    case r.version:
    case r.ppr:
    case r.ldr:
    case r.currentCount:
      return "read";
    case r.eoi:
    case r.selfIpi:
      return "write";
    case r.tpr:
    case r.svr:
    case r.esr:
    case r.icrLow:
    case r.lvtTimer:
    case r.lvtThermal:
    case r.lvtPerf:
    case r.lvtLint0:
    case r.lvtLint1:
    case r.lvtError:
    case r.initialCount:
    case r.divide:
      return "both";
    default:
      return "none";
  }
}

/** Bits that may be set in a write to an x2APIC register; others are #GP. */
function x2Reserved(reg: number, value: number): boolean {
  const r = ApicReg;
  if (reg >= r.lvtTimer && reg <= r.lvtError) return (value & ~(LVT_WRITABLE[reg - r.lvtTimer]! | 0x5000)) !== 0;
  switch (reg) {
    case r.tpr:
    case r.selfIpi:
      return value > 0xff;
    case r.svr:
      return (value & ~SVR_MASK) !== 0;
    case r.eoi:
    case r.esr:
      return value !== 0;
    case r.divide:
      return (value & ~0x0b) !== 0;
    default:
      return false;
  }
}

export interface ApicOptions {
  /** Initial APIC id. */
  readonly id: number;
  /** Bootstrap processor. */
  readonly bsp: boolean;
  /** Whether the guest's CPUID offers x2APIC; without it the EXTD bit is reserved. Default true. */
  readonly x2apic?: boolean;
  /** Physical address width, for the reserved bits of IA32_APIC_BASE. Default 40. */
  readonly physBits?: number;
  /** Virtual time in ns at which this vCPU's TSC reaches a value, rounded up. Needed for TSC-deadline mode. */
  readonly tscToNs?: (tsc: bigint) => number;
}

/** One local APIC. */
export class Apic implements Device, ApicTarget {
  readonly type = "apic";
  /** LINT0 and LINT1 for sources other than the 8259 (an NMI button on LINT1). */
  readonly lint: readonly [IrqLine, IrqLine];
  /** IA32_APIC_BASE has moved or switched the page. */
  onBaseChange: () => void = () => {};
  private base: bigint;
  private xapicId: number;
  private readonly irr = new VectorSet();
  private readonly isr = new VectorSet();
  private readonly tmr = new VectorSet();
  private taskPriority = 0;
  private ldr = 0;
  private dfr = 0xffffffff;
  private svr = 0xff;
  private esr = 0;
  /** Errors since the last write to the ESR. */
  private errors = 0;
  private icrLow = 0;
  private icrHigh = 0;
  private readonly lvt = new Uint32Array(6);
  private readonly timer: ApicTimer;
  /** Highest of the IRR if it is above the processor priority, else -1. */
  private pending = -1;

  constructor(
    ctx: DeviceContext,
    private readonly bus: ApicBus,
    private readonly cpu: ApicCpu,
    private readonly options: ApicOptions,
  ) {
    this.base = this.baseAtReset();
    this.xapicId = options.id & 0xff;
    this.timer = new ApicTimer(
      ctx.clock,
      ctx.timers,
      () => this.fireLvt(ApicReg.lvtTimer),
      options.tscToNs ?? (() => Number.POSITIVE_INFINITY),
    );
    this.lint = [
      new IrqLine((level) => level && this.fireLvt(ApicReg.lvtLint0)),
      new IrqLine((level) => level && this.fireLvt(ApicReg.lvtLint1)),
    ];
    this.resetRegisters();
    bus.attach(this);
  }

  private baseAtReset(): bigint {
    return BigInt(APIC_DEFAULT_BASE) | BASE.enable | (this.options.bsp ? BASE.bsp : 0n);
  }

  // --- identity and modes

  /** Global enable (IA32_APIC_BASE.EN): also what CPUID.1:EDX.APIC shows. */
  get enabled(): boolean {
    return (this.base & BASE.enable) !== 0n;
  }

  /** x2APIC mode: no page, MSRs instead. */
  get x2(): boolean {
    return (this.base & BASE.x2) !== 0n;
  }

  get softwareEnabled(): boolean {
    return (this.svr & SVR_ENABLE) !== 0;
  }

  /** The id it answers to in the present mode. */
  get apicId(): number {
    return this.x2 ? this.options.id : this.xapicId;
  }

  /** Physical address of the register page. */
  get baseAddress(): number {
    return Number(this.base & ~0xfffn);
  }

  /** RDMSR of IA32_APIC_BASE. */
  readApicBase(): bigint {
    return this.base;
  }

  /** WRMSR of IA32_APIC_BASE. @returns false for #GP: reserved bits or a transition that is not allowed (SDM 11.12.5) */
  writeApicBase(value: bigint): boolean {
    const physMask = (1n << BigInt(this.options.physBits ?? 40)) - 1n;
    let legal = (physMask & ~0xfffn) | BASE.bsp | BASE.enable;
    if (this.options.x2apic ?? true) legal |= BASE.x2;
    if (value & ~legal) return false;
    const enable = (value & BASE.enable) !== 0n;
    const x2 = (value & BASE.x2) !== 0n;
    if (x2 && !enable) return false;
    if (this.x2 && enable && !x2) return false;
    if (!this.enabled && x2) return false;
    const was = this.base;
    this.base = value;
    const wasEnabled = (was & BASE.enable) !== 0n;
    if (wasEnabled && !enable) {
      this.resetRegisters();
      this.xapicId = this.options.id & 0xff;
    } else if (x2 && !(was & BASE.x2)) {
      const id = this.options.id;
      this.ldr = (((id >>> 4) << 16) | (1 << (id & 15))) >>> 0;
      this.icrHigh = 0;
    }
    this.refresh();
    // Whether the 8259 is heard may have changed.
    this.cpu.updateInterrupt();
    if (was !== value) this.onBaseChange();
    return true;
  }

  // --- bus side

  matches(m: ApicMessage): boolean {
    const d = m.destination;
    if (d === (m.wide ? 0xffffffff : 0xff)) return true;
    if (m.destMode === "physical") return d === this.apicId;
    if (this.x2) return this.ldr >>> 16 === d >>> 16 && (this.ldr & d & 0xffff) !== 0;
    if (d > 0xff) return false;
    const logicalId = this.ldr >>> 24;
    if (this.dfr >>> 28 === DFR_FLAT) return (logicalId & d) !== 0;
    // Cluster model: cluster in the high nibble, 15 for all of them.
    return (d >> 4 === 15 || d >> 4 === logicalId >> 4) && (d & logicalId & 15) !== 0;
  }

  get priority(): number {
    return this.ppr();
  }

  accept(deliveryMode: number, vector: number, trigger: "edge" | "level", level: boolean): void {
    switch (deliveryMode) {
      case DeliveryMode.fixed:
      case DeliveryMode.lowestPriority:
        if (this.softwareEnabled) this.setIrr(vector, trigger);
        return;
      case DeliveryMode.smi:
        this.cpu.smi();
        return;
      case DeliveryMode.nmi:
        this.cpu.nmi();
        return;
      case DeliveryMode.init:
        // The level de-assert only synchronised arbitration ids.
        if (trigger === "level" && !level) return;
        this.resetRegisters();
        this.cpu.init();
        return;
      case DeliveryMode.startup:
        this.cpu.startup(vector);
        return;
      default:
        return; // ExtINT reaches the processor by its INTR pin
    }
  }

  private setIrr(vector: number, trigger: "edge" | "level"): void {
    if (vector < FIRST_VECTOR) {
      this.error(Esr.receiveIllegal);
      return;
    }
    this.irr.set(vector);
    if (trigger === "level") this.tmr.set(vector);
    else this.tmr.clear(vector);
    this.refresh();
  }

  private error(bit: number): void {
    const rose = (this.errors & bit) === 0;
    this.errors |= bit;
    // An error interrupt with an illegal vector would make the next error.
    if (rose && (this.lvt[ApicReg.lvtError - ApicReg.lvtTimer]! & 0xff) >= FIRST_VECTOR) this.fireLvt(ApicReg.lvtError);
  }

  /** A local source. */
  private fireLvt(reg: number): void {
    const entry = this.lvt[reg - ApicReg.lvtTimer]!;
    if (!this.enabled) {
      // Without an APIC the pins are INTR and NMI.
      if (reg === ApicReg.lvtLint1) this.cpu.nmi();
      return;
    }
    if (entry & LVT_MASKED) return;
    const mode = reg === ApicReg.lvtTimer || reg === ApicReg.lvtError ? DeliveryMode.fixed : (entry >> 8) & 7;
    switch (mode) {
      case DeliveryMode.fixed:
        this.setIrr(entry & 0xff, "edge");
        return;
      case DeliveryMode.smi:
        this.cpu.smi();
        return;
      case DeliveryMode.nmi:
        this.cpu.nmi();
        return;
      case DeliveryMode.init:
        this.resetRegisters();
        this.cpu.init();
        return;
      default:
        return; // ExtINT: see acceptsPicInterrupt
    }
  }

  // --- processor side

  private ppr(): number {
    const served = this.isr.highest();
    const inService = served < 0 ? 0 : served & 0xf0;
    return (this.taskPriority & 0xf0) >= inService ? this.taskPriority : inService;
  }

  /** Recomputes the pending vector and tells the processor if it changed. */
  private refresh(): void {
    const top = this.enabled ? this.irr.highest() : -1;
    const pending = top >= 0 && (top & 0xf0) > (this.ppr() & 0xf0) ? top : -1;
    if (pending === this.pending) return;
    this.pending = pending;
    this.cpu.updateInterrupt();
  }

  /** Whether an interrupt waits that the processor may take (RFLAGS.IF aside). */
  hasInterrupt(): boolean {
    return this.pending >= 0;
  }

  /** The vector that `acknowledge` would take, or -1. */
  pendingVector(): number {
    return this.pending;
  }

  /** The processor takes the interrupt: IRR to ISR. @returns its vector, or the spurious one when it has gone */
  acknowledge(): number {
    const vector = this.pending;
    if (vector < 0) return this.svr & 0xff;
    this.irr.clear(vector);
    this.isr.set(vector);
    this.refresh();
    return vector;
  }

  /** Whether the 8259's INTR reaches this processor: LINT0 open as ExtINT, or no APIC. */
  acceptsPicInterrupt(): boolean {
    if (!this.enabled) return true;
    const lint0 = this.lvt[ApicReg.lvtLint0 - ApicReg.lvtTimer]!;
    return !(lint0 & LVT_MASKED) && ((lint0 >> 8) & 7) === DeliveryMode.extInt;
  }

  /** Task priority, 0 to 255; CR8 is bits 7:4. */
  get tpr(): number {
    return this.taskPriority;
  }

  set tpr(value: number) {
    this.taskPriority = value & 0xff;
    this.refresh();
  }

  private endOfInterrupt(): void {
    const vector = this.isr.highest();
    if (vector < 0) return;
    this.isr.clear(vector);
    const levelTriggered = this.tmr.has(vector);
    this.refresh();
    if (levelTriggered) this.bus.broadcastEoi(vector);
  }

  // --- TSC deadline

  /** RDMSR of IA32_TSC_DEADLINE. */
  get tscDeadline(): bigint {
    return this.timer.tscDeadline;
  }

  /** WRMSR of IA32_TSC_DEADLINE; ignored in other timer modes. */
  setTscDeadline(value: bigint): void {
    this.timer.setTscDeadline(value);
  }

  /** The vCPU's TSC was written. */
  tscChanged(): void {
    this.timer.tscChanged();
  }

  // --- registers

  /** Reads a register by number; for xAPIC and x2APIC alike. */
  private readRegister(reg: number): number {
    const r = ApicReg;
    if (reg >= r.isr && reg < r.isr + 8) return this.isr.words[reg - r.isr]!;
    if (reg >= r.tmr && reg < r.tmr + 8) return this.tmr.words[reg - r.tmr]!;
    if (reg >= r.irr && reg < r.irr + 8) return this.irr.words[reg - r.irr]!;
    if (reg >= r.lvtTimer && reg <= r.lvtError) return this.lvt[reg - r.lvtTimer]!;
    switch (reg) {
      case r.id:
        return this.x2 ? this.options.id : (this.xapicId << 24) >>> 0;
      case r.version:
        return VERSION;
      case r.tpr:
        return this.taskPriority;
      case r.ppr:
        return this.ppr();
      case r.ldr:
        return this.ldr;
      case r.dfr:
        return this.dfr;
      case r.svr:
        return this.svr;
      case r.esr:
        return this.esr;
      case r.icrLow:
        return this.icrLow;
      case r.icrHigh:
        return this.icrHigh;
      case r.initialCount:
        return this.timer.initialCount;
      case r.currentCount:
        return this.timer.current();
      case r.divide:
        return this.timer.divideConfiguration;
      default:
        return 0; // APR, RRD, EOI
    }
  }

  private writeRegister(reg: number, value: number): void {
    const r = ApicReg;
    if (reg >= r.lvtTimer && reg <= r.lvtError) {
      this.writeLvt(reg, value);
      return;
    }
    switch (reg) {
      case r.tpr:
        this.tpr = value;
        return;
      case r.eoi:
        this.endOfInterrupt();
        return;
      case r.svr:
        this.svr = value & SVR_MASK;
        if (!this.softwareEnabled) for (let i = 0; i < 6; i++) this.lvt[i]! |= LVT_MASKED;
        return;
      case r.esr:
        this.esr = this.errors;
        this.errors = 0;
        return;
      case r.icrLow:
        this.icrLow = value & ICR_WRITABLE;
        this.sendIpi();
        return;
      case r.icrHigh:
        this.icrHigh = this.x2 ? value : (value & 0xff000000) >>> 0;
        return;
      case r.initialCount:
        this.timer.setInitialCount(value);
        return;
      case r.divide:
        this.timer.setDivide(value);
        return;
    }
  }

  private writeLvt(reg: number, value: number): void {
    const i = reg - ApicReg.lvtTimer;
    let v = value & LVT_WRITABLE[i]!;
    if (!this.softwareEnabled) v |= LVT_MASKED;
    this.lvt[i] = v;
    if (reg === ApicReg.lvtTimer) {
      const modes: readonly TimerMode[] = ["oneShot", "periodic", "tscDeadline", "oneShot"];
      this.timer.setMode(modes[(v & LVT_TIMER_MODE) >> 17]!);
    }
    // ExtINT may have opened or closed.
    if (reg === ApicReg.lvtLint0) this.cpu.updateInterrupt();
  }

  private sendIpi(): void {
    const low = this.icrLow;
    const vector = low & 0xff;
    const mode = (low >> 8) & 7;
    const isVectored = mode === DeliveryMode.fixed || mode === DeliveryMode.lowestPriority;
    if (isVectored && vector < FIRST_VECTOR) {
      this.error(Esr.sendIllegal);
      return;
    }
    const message: ApicMessage = {
      destination: this.x2 ? this.icrHigh : this.icrHigh >>> 24,
      destMode: low & 0x800 ? "logical" : "physical",
      deliveryMode: mode,
      vector,
      level: (low & 0x4000) !== 0,
      // Only INIT knows a level; all other IPIs are edges on processors since the Pentium 4.
      trigger: mode === DeliveryMode.init && low & 0x8000 ? "level" : "edge",
      wide: this.x2,
    };
    switch ((low >> 18) & 3) {
      case 0:
        this.bus.deliver(message);
        return;
      case 1:
        this.accept(mode, vector, message.trigger, message.level);
        return;
      case 2:
        this.bus.broadcast(message);
        return;
      default:
        this.bus.broadcast(message, this);
    }
  }

  /** A 32-bit read of the xAPIC page at 16 * `reg`. */
  readXapic(reg: number): number {
    const known = x2Access(reg) !== "none" || reg === ApicReg.icrHigh || reg === ApicReg.dfr || reg === ApicReg.apr;
    if (!known && reg !== ApicReg.rrd) this.error(Esr.illegalRegister);
    return reg === ApicReg.selfIpi ? 0 : this.readRegister(reg);
  }

  /** A 32-bit write to the xAPIC page at 16 * `reg`. */
  writeXapic(reg: number, value: number): void {
    switch (reg) {
      case ApicReg.id:
        this.xapicId = value >>> 24;
        return;
      case ApicReg.ldr:
        this.ldr = (value & 0xff000000) >>> 0;
        return;
      case ApicReg.dfr:
        this.dfr = (value | 0x0fffffff) >>> 0;
        return;
      case ApicReg.selfIpi:
        this.error(Esr.illegalRegister);
        return;
      default: {
        const access = x2Access(reg);
        if (access === "none" && reg !== ApicReg.icrHigh) this.error(Esr.illegalRegister);
        else if (access !== "read") this.writeRegister(reg, value);
      }
    }
  }

  /** RDMSR of 800h to 8FFh. @returns undefined for #GP */
  readMsr(msr: number): bigint | undefined {
    const reg = msr - 0x800;
    const access = x2Access(reg);
    if (!this.enabled || !this.x2 || (access !== "read" && access !== "both")) return undefined;
    const low = BigInt(this.readRegister(reg));
    return reg === ApicReg.icrLow ? (BigInt(this.icrHigh) << 32n) | low : low;
  }

  /** WRMSR of 800h to 8FFh. @returns false for #GP */
  writeMsr(msr: number, value: bigint): boolean {
    const reg = msr - 0x800;
    const access = x2Access(reg);
    if (!this.enabled || !this.x2 || (access !== "write" && access !== "both")) return false;
    const low = Number(value & 0xffffffffn);
    const high = Number((value >> 32n) & 0xffffffffn);
    if (reg === ApicReg.icrLow) {
      if (low & ~(ICR_WRITABLE | 0x1000)) return false;
      this.icrHigh = high;
    } else if (high !== 0 || x2Reserved(reg, low)) return false;
    if (reg === ApicReg.selfIpi) {
      if (low < FIRST_VECTOR) this.error(Esr.sendIllegal);
      else if (this.softwareEnabled) this.setIrr(low, "edge");
    } else this.writeRegister(reg, low);
    return true;
  }

  // --- reset and state

  /** What INIT does: everything but the ids and IA32_APIC_BASE. */
  private resetRegisters(): void {
    this.irr.reset();
    this.isr.reset();
    this.tmr.reset();
    this.taskPriority = 0;
    const id = this.options.id;
    this.ldr = this.x2 ? (((id >>> 4) << 16) | (1 << (id & 15))) >>> 0 : 0;
    this.dfr = 0xffffffff;
    this.svr = 0xff;
    this.esr = 0;
    this.errors = 0;
    this.icrLow = 0;
    this.icrHigh = 0;
    this.lvt.fill(LVT_MASKED);
    if (this.options.bsp) this.lvt[ApicReg.lvtLint0 - ApicReg.lvtTimer] = DeliveryMode.extInt << 8;
    this.timer.reset();
    this.refresh();
  }

  reset(): void {
    const moved = this.base !== this.baseAtReset();
    this.base = this.baseAtReset();
    this.xapicId = this.options.id & 0xff;
    this.resetRegisters();
    if (moved) this.onBaseChange();
  }

  /** One line for `info lapic`. */
  describe(): string {
    const h = (v: number, n = 8) => v.toString(16).padStart(n, "0");
    const list = (s: VectorSet) => {
      const out: string[] = [];
      for (let v = 0; v < 256; v++) if (s.has(v)) out.push(String(v));
      return out.join(" ") || "(none)";
    };
    return (
      `apic ${this.apicId}${this.x2 ? " x2" : ""}: base=${this.base.toString(16)} svr=${h(this.svr, 3)} tpr=${h(this.tpr, 2)} ` +
      `ppr=${h(this.ppr(), 2)} icr=${h(this.icrHigh)}:${h(this.icrLow)} lvt=[${[...this.lvt].map((v) => h(v, 5)).join(" ")}] ` +
      `isr: ${list(this.isr)} irr: ${list(this.irr)}`
    );
  }

  save(): DeviceState {
    return {
      base: this.base,
      xapicId: this.xapicId,
      irr: this.irr.save(),
      isr: this.isr.save(),
      tmr: this.tmr.save(),
      tpr: this.taskPriority,
      ldr: this.ldr,
      dfr: this.dfr,
      svr: this.svr,
      esr: this.esr,
      errors: this.errors,
      icrLow: this.icrLow,
      icrHigh: this.icrHigh,
      lvt: [...this.lvt],
      timer: this.timer.save(),
      lint: this.lint.map((l) => l.level),
    };
  }

  restore(s: DeviceState): void {
    this.base = s.base as bigint;
    this.xapicId = s.xapicId as number;
    this.irr.restore(s.irr as number[]);
    this.isr.restore(s.isr as number[]);
    this.tmr.restore(s.tmr as number[]);
    this.taskPriority = s.tpr as number;
    this.ldr = s.ldr as number;
    this.dfr = s.dfr as number;
    this.svr = s.svr as number;
    this.esr = s.esr as number;
    this.errors = s.errors as number;
    this.icrLow = s.icrLow as number;
    this.icrHigh = s.icrHigh as number;
    this.lvt.set((s.lvt as number[]).slice(0, 6));
    this.timer.restore(s.timer as DeviceState);
    (s.lint as boolean[]).forEach((level, i) => {
      this.lint[i & 1]!.level = level;
    });
    this.onBaseChange();
    this.refresh();
  }

  dispose(): void {
    this.bus.detach(this);
    this.timer.dispose();
  }
}
