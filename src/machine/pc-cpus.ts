/**
 * The processors of the pc machine: TCG's engine, a local APIC each, and the loop that gives them turns between timers
 * and the host's event loop. The machine's virtual time is the host's monotonic time while it runs.
 */
import type { AcceleratorName } from "../accel/accelerator.js";
import type { CpuidEntry } from "../accel/kvm/cpuid.js";
import type { KvmHost } from "../accel/kvm/host.js";
import { TcgEngine } from "../accel/tcg/engine.js";
import { MAP_RAM, MAP_ROM, PHYS_MAP, PHYS_MAP_PAGES } from "../accel/tcg/map.js";
import { VmError } from "../base/errors.js";
import type { Trace } from "../base/trace.js";
import type { HostScheduler } from "../host/scheduler.js";
import { InstructionClock, type MachineClock, type TimerQueue } from "../hw/core/clock.js";
import type { DeviceContext } from "../hw/core/device.js";
import { Apic } from "../hw/intc/apic.js";
import { ApicBus } from "../hw/intc/apic-bus.js";
import type { I8259Pair } from "../hw/intc/i8259.js";
import type { AddressSpace, FlatRange } from "../memory/address-space.js";
import type { GuestRam } from "../memory/ram.js";
import type { CpuModel } from "../target/x86/cpu-models.js";
import type { X86CpuState } from "../target/x86/cpu-state.js";
import { type Carried, type EnvAccess, readCpuState, writeCpuState } from "../target/x86/cpu-state-tcg.js";
import * as L from "../target/x86/layout.js";
import { applyModel, x86Target } from "../target/x86/target.js";
import { PcKvm } from "./pc-kvm.js";

/** Guest instructions of one turn of a vCPU: fewer while a turn takes long (code that changes its own page, ports). */
const TURN_INSNS = 50_000;
const TURN_INSNS_MIN = 500;
/** Timers are looked at between turns, so this is how late they may be. */
const TURN_LONGEST_NS = 500_000;
/** How long the loop runs before the host's event loop has its turn. */
const SLICE_NS = 4e6;
/** A turn on KVM, and where several vCPUs share the thread. */
const KVM_TURN_NS = 4e6;
const KVM_SHARED_TURN_NS = 500_000;
/** TCG's time stamp counter, when no KVM sets another rate. */
const TCG_TSC_KHZ = 1e6;
/** Longest sleep, so that wall-clock changes are seen. */
const MAX_SLEEP_MS = 1000;
/** A shorter wait than this goes through the event loop once instead. */
const SHORTEST_SLEEP_MS = 0.05;

const APIC_BASE_MSR = 0x1b;
const TSC_DEADLINE_MSR = 0x6e0;

/** CPUID leaves whose subleaf matters, with the number of rows that are not empty. */
const SUBLEAVES: Readonly<Record<number, number>> = { 4: 4, 7: 1, 0xb: 3, 0xd: 3 };
const TCG_SIGNATURE = "TCGTCGTCGTCG";
const KVM_SIGNATURE = "KVMKVMKVM";

export interface PcCpusOptions {
  readonly count: number;
  /** Cores of a socket, threads of a core. */
  readonly cores: number;
  readonly threads: number;
  readonly model: CpuModel;
  readonly runtime: WebAssembly.Module;
  readonly shared: boolean;
  readonly trace: Trace;
  readonly scheduler: HostScheduler;
  readonly clock: MachineClock;
  /** With an InstructionClock: whether an idle machine waits for real time. */
  readonly icountSleep: boolean;
  readonly timers: TimerQueue;
  readonly randomBytes: (out: Uint8Array) => void;
  readonly tier1: boolean;
  readonly hostMs: () => number;
  readonly onTripleFault: () => void;
  readonly onInternalError: (error: unknown) => void;
  /** Runs on KVM from the start. */
  readonly kvm?: KvmHost | undefined;
  /** TCG helps a KVM without hardware where it is slow. */
  readonly kvmAssist: boolean;
  readonly disassemble: (bytes: Uint8Array, hflags: number) => string;
  readonly note: (line: string) => void;
}

/** Engine, APICs and run loop. */
export class PcCpus {
  readonly engine: TcgEngine;
  readonly bus: ApicBus;
  readonly apics: Apic[] = [];
  pic: I8259Pair | undefined;
  /** The vCPU whose turn it is. */
  current = 0;
  running = false;
  private cancelSleep: (() => void) | undefined;
  private scheduled = false;
  private inSlice = false;
  private stopped: (() => void)[] = [];
  private flat: readonly FlatRange[] = [];
  private turn = 0;
  private turnInsns = TURN_INSNS;
  /** Asks the slice under way to end. */
  private breakSlice = false;
  idleNs = 0;
  /** Set while the vCPUs run on KVM. */
  kvm: PcKvm | undefined;
  /** Rate of the machine's time stamp counter. */
  tscKhz = TCG_TSC_KHZ;
  /** The guest has seen the rate. */
  private started = false;

  constructor(
    private readonly ctx: DeviceContext,
    private readonly memory: AddressSpace,
    private readonly ram: GuestRam,
    private readonly o: PcCpusOptions,
  ) {
    const { io } = ctx;
    this.bus = new ApicBus(o.trace);
    const model = o.model;
    this.engine = new TcgEngine(
      ram,
      x86Target(model),
      o.runtime,
      o.count,
      {
        ioRead: (port, size) => io.read(port, size as 1 | 2 | 4),
        ioWrite: (port, size, value) => io.write(port, size as 1 | 2 | 4, value),
        physRead: (low, high, size) => memory.read(high * 2 ** 32 + low, size as 1 | 2 | 4),
        physWrite: (low, high, size, value) => memory.write(high * 2 ** 32 + low, size as 1 | 2 | 4, value),
        tsc: () => this.tsc(),
        msrRead: (cpu, index) => this.msrRead(cpu, index),
        msrWrite: (cpu, index, low, high) => this.msrWrite(cpu, index, low, high),
        acknowledge: (cpu) => this.acknowledge(cpu),
        tprRead: (cpu) => this.apics[cpu]!.tpr >> 4,
        tprWrite: (cpu, value) => {
          this.apics[cpu]!.tpr = (value & 15) << 4;
        },
        cpuid: (cpu, leaf, subleaf, out) => this.cpuid(cpu, leaf, subleaf, out),
        random: (out) => {
          const bytes = new Uint8Array(8);
          o.randomBytes(bytes);
          out[0] = bytes[0]! | (bytes[1]! << 8) | (bytes[2]! << 16) | (bytes[3]! << 24);
          out[1] = bytes[4]! | (bytes[5]! << 8) | (bytes[6]! << 16) | (bytes[7]! << 24);
        },
        notify: (_cpu, what) => {
          if (what === 2) {
            this.breakSlice = true;
            o.onTripleFault();
          }
        },
      },
      o.trace,
      o.shared,
      { tier1: o.tier1, synchronous: o.clock instanceof InstructionClock },
      () => o.hostMs(),
    );
    for (let i = 0; i < o.count; i++) {
      applyModel(ram.u32, this.engine.envOf(i), model);
      this.apics.push(
        new Apic(
          ctx,
          this.bus,
          {
            updateInterrupt: () => this.updateInterrupt(i),
            nmi: () => this.signal(i, L.EV_NMI),
            smi: () => this.signal(i, L.EV_SMI),
            init: () => this.signal(i, L.EV_INIT),
            startup: (vector) => {
              ram.u32[(this.engine.envOf(i) + L.SIPI_VECTOR) >>> 2] = vector;
              this.signal(i, L.EV_SIPI);
            },
          },
          {
            id: i,
            bsp: i === 0,
            x2apic: model.features.has("x2apic"),
            physBits: model.physBits,
            tscToNs: (t) => this.tscToNs(i, t),
          },
        ),
      );
    }
    if (o.kvm) this.useKvm(o.kvm);
    memory.onRamWrite = (at, length) => this.engine.ramWritten(at, length);
    memory.changed.on(() => this.mapMemory());
    this.mapMemory();
    o.timers.onChange = () => this.wake();
  }

  /** Puts the flattened memory map into the engine's page table of the machine. */
  private mapMemory(): void {
    const u32 = this.ram.u32;
    const base = PHYS_MAP >>> 2;
    const old = this.flat;
    const now = this.memory.ranges();
    const same = (a: FlatRange, b: FlatRange) => a.start === b.start && a.end === b.end && a.mapping === b.mapping;
    const limit = PHYS_MAP_PAGES * 4096;
    for (const r of old)
      if (!now.some((n) => same(n, r)))
        u32.fill(0, base + Math.floor(r.start / 4096), base + Math.ceil(Math.min(r.end, limit) / 4096));
    for (const r of now) {
      const region = r.mapping.region;
      if (region.kind === "io" || region.kind === "none" || r.start >= limit) continue;
      if (old.some((p) => same(p, r))) continue;
      const first = Math.ceil(r.start / 4096);
      const last = Math.floor(Math.min(r.end, limit) / 4096);
      const host = region.block.hostOffset + region.offset - r.mapping.base;
      if ((host + first * 4096) % 4096) continue;
      const kind = region.kind === "ram" ? MAP_RAM : MAP_ROM;
      for (let p = first; p < last; p++) u32[base + p] = ((host + p * 4096) | kind) >>> 0;
    }
    this.flat = now;
    this.engine.mapChanged();
  }

  /** The machine's time stamp counter, before a vCPU's offset. */
  private tsc(): number {
    const ns = this.o.clock.nowNs();
    return Math.floor(this.tscKhz === TCG_TSC_KHZ ? ns : (ns * this.tscKhz) / 1e6);
  }

  /** Changes the rate; every vCPU's counter goes on from where it is. */
  private setTscKhz(khz: number): void {
    const before = BigInt(this.tsc());
    this.tscKhz = khz;
    const change = before - BigInt(this.tsc());
    for (let i = 0; i < this.o.count; i++) {
      const at = this.engine.envOf(i) + L.TSC_OFFSET;
      this.ram.view.setBigUint64(at, BigInt.asUintN(64, this.ram.view.getBigUint64(at, true) + change), true);
    }
  }

  /** Virtual time at which a vCPU's TSC will have a value. */
  private tscToNs(cpu: number, value: bigint): number {
    this.kvm?.pull(cpu);
    const { view } = this.ram;
    const offset = view.getBigUint64(this.engine.envOf(cpu) + L.TSC_OFFSET, true);
    const ticks = Number(BigInt.asIntN(64, value - offset));
    return this.tscKhz === TCG_TSC_KHZ ? ticks : (ticks * 1e6) / this.tscKhz;
  }

  private cpuid(cpu: number, leaf: number, subleaf: number, out: Uint32Array): void {
    const { o, ram } = this;
    const env = this.engine.envOf(cpu);
    o.model.cpuid(
      leaf,
      subleaf,
      {
        index: cpu,
        cores: o.cores,
        threads: o.threads,
        osxsave: (ram.u32[(env + L.CR4) >>> 2]! & (1 << 18)) !== 0,
        apicEnabled: this.apics[cpu]!.enabled,
        xcr0: ram.u32[(env + L.XCR0) >>> 2]!,
        hypervisor: this.kvm ? KVM_SIGNATURE : TCG_SIGNATURE,
      },
      out,
    );
  }

  /** Value of an MSR that the machine owns; undefined = #GP. */
  private machineMsr(cpu: number, index: number): bigint | undefined {
    const apic = this.apics[cpu]!;
    if (index === APIC_BASE_MSR) return apic.readApicBase();
    if (index === TSC_DEADLINE_MSR && this.o.model.features.has("tsc-deadline")) return apic.tscDeadline;
    return index >= 0x800 && index < 0x900 ? apic.readMsr(index) : undefined;
  }

  private setMachineMsr(cpu: number, index: number, value: bigint): boolean {
    const apic = this.apics[cpu]!;
    if (index === APIC_BASE_MSR) return apic.writeApicBase(value);
    if (index === TSC_DEADLINE_MSR && this.o.model.features.has("tsc-deadline")) {
      apic.setTscDeadline(value);
      return true;
    }
    return index >= 0x800 && index < 0x900 && apic.writeMsr(index, value);
  }

  private msrRead(cpu: number, index: number): number {
    const v = this.machineMsr(cpu, index);
    if (v !== undefined) return Number(v);
    this.ram.i32[(this.engine.envOf(cpu) + L.EXC_VECTOR) >>> 2] = 13;
    return 0;
  }

  private msrWrite(cpu: number, index: number, low: number, high: number): number {
    return this.setMachineMsr(cpu, index, (BigInt(high) << 32n) | BigInt(low)) ? 1 : 0;
  }

  /** Rate of the machine's time stamp counter, as a snapshot has it. What KVM cannot give is noted, and its own is used. */
  restoreTscKhz(khz: number): void {
    this.started = true;
    if (!this.kvm) this.tscKhz = khz;
    else {
      this.kvm.setTscKhz(khz);
      this.checkTscKhz(khz);
    }
  }

  private checkTscKhz(khz: number): void {
    if (khz > 0 && khz !== this.tscKhz)
      this.o.note(
        `warning: TSC frequency mismatch between VM (${khz} kHz) and host (${this.tscKhz} kHz), and TSC scaling unavailable`,
      );
  }

  // --- the engine and the state

  get accelerator(): AcceleratorName {
    return this.kvm ? "kvm" : "tcg";
  }

  /** The vCPUs go on on KVM; their state is where it was. @throws VmError "accel/failed" and nothing has changed */
  useKvm(host: KvmHost): void {
    if (this.kvm) return;
    const { o, apics } = this;
    this.kvm = new PcKvm(
      host.device,
      {
        memory: this.memory,
        io: this.ctx.io,
        ram: this.ram,
        engine: this.engine,
        nowNs: () => o.clock.nowNs(),
        nextDeadlineNs: () => o.timers.nextDeadlineNs(),
        interruptPending: (cpu) => this.interruptPending(cpu),
        acknowledge: (cpu) => this.acknowledge(cpu),
        getTpr: (cpu) => apics[cpu]!.tpr,
        setTpr: (cpu, tpr) => {
          apics[cpu]!.tpr = tpr;
        },
        msrRead: (cpu, index) => this.machineMsr(cpu, index),
        msrWrite: (cpu, index, value) => this.setMachineMsr(cpu, index, value),
        tripleFault: () => {
          this.breakSlice = true;
          o.onTripleFault();
        },
        cpuidEntries: (cpu) => this.cpuidEntries(cpu),
        features: o.model.features,
        hardware: host.hardware,
        assist: o.kvmAssist,
        tsc: () => this.tsc(),
        tscKhz: (khz) => this.setTscKhz(khz),
        disassemble: o.disassemble,
      },
      o.count,
    );
    for (let i = 0; i < o.count; i++) this.kvm.carry(i, this.carried[i]);
    // A machine that begins here has the host's rate; a running one keeps its own where it can.
    const rate = this.started ? this.tscKhz : 0;
    this.kvm.start(rate);
    this.checkTscKhz(rate);
  }

  /** The vCPUs go on on TCG. @throws VmError "accel/failed" when the guest uses what TCG has not */
  useTcg(): void {
    const { kvm } = this;
    if (!kvm) return;
    const { beyondTcg } = this.o.model;
    if (beyondTcg.length > 0)
      throw new VmError("accel/failed", `accelerator tcg cannot go on: it has not the processor's ${beyondTcg.join(", ")}`);
    for (let i = 0; i < this.o.count; i++) {
      const env = this.stateOf(i);
      const { view } = this.ram;
      const beyond = view.getBigUint64(env + L.XCR0, true) & ~view.getBigUint64(env + L.XCR0_VALID, true);
      if (beyond !== 0n)
        throw new VmError(
          "accel/failed",
          `accelerator tcg cannot go on: vCPU ${i} uses processor state that TCG has not (XCR0 bits 0x${beyond.toString(16)})`,
        );
    }
    for (let i = 0; i < this.o.count; i++) this.carried[i] = kvm.carriedOf(i);
    kvm.dispose();
    this.kvm = undefined;
    // The guest has written memory without TCG's knowledge.
    this.engine.flushAll();
    this.engine.mapChanged();
    for (let i = 0; i < this.o.count; i++) this.updateInterrupt(i);
  }

  /** Gives back what the host has lent. */
  dispose(): void {
    this.kvm?.dispose();
    this.kvm = undefined;
  }

  /** Makes the translator's memory hold a vCPU's newest state, for whoever looks. @returns its address */
  stateOf(cpu: number): number {
    this.kvm?.pull(cpu);
    return this.engine.envOf(cpu);
  }

  /** Somebody has written a vCPU's state there. */
  stateChanged(cpu: number): void {
    this.kvm?.envChanged(cpu);
  }

  private readonly carried: (Carried | undefined)[] = [];

  /** A vCPU's state as plain data. The machine stands still. */
  saveCpu(cpu: number): X86CpuState {
    const env = this.stateOf(cpu);
    this.engine.select(cpu);
    return readCpuState(this.envAccess(), env, this.kvm?.carriedOf(cpu) ?? this.carried[cpu]);
  }

  /** Loads a vCPU's state. The machine stands still; the interrupt controllers have theirs already. */
  restoreCpu(cpu: number, state: X86CpuState): void {
    this.engine.select(cpu);
    this.carried[cpu] = writeCpuState(this.envAccess(), this.engine.envOf(cpu), state);
    this.kvm?.carry(cpu, this.carried[cpu]);
    this.stateChanged(cpu);
    this.engine.flushAll();
    this.engine.mapChanged();
    this.updateInterrupt(cpu);
  }

  private envAccess(): EnvAccess {
    const runtime = this.engine.runtime as unknown as EnvAccess["runtime"];
    return { u8: this.ram.u8, view: this.ram.view, runtime, tsc: () => this.tsc() };
  }

  /** CPUID's table for KVM: every leaf of the model. */
  private cpuidEntries(cpu: number): CpuidEntry[] {
    const out: CpuidEntry[] = [];
    const add = (leaf: number, subleaf: number, indexed: boolean) => {
      const values = new Uint32Array(4);
      this.cpuid(cpu, leaf, subleaf, values);
      out.push({ leaf, subleaf, indexed, values });
      return values;
    };
    for (const base of [0, 0x40000000, 0x80000000]) {
      const last = Math.min(add(base, 0, false)[0]!, base + 0x40);
      for (let leaf = base + 1; leaf <= last; leaf++) {
        const subleaves = SUBLEAVES[leaf] ?? 0;
        for (let s = 0; s < Math.max(1, subleaves); s++) add(leaf, s, subleaves > 0);
      }
    }
    return out;
  }

  /** Whether the controllers have an interrupt for a vCPU. */
  private interruptPending(cpu: number): boolean {
    const apic = this.apics[cpu]!;
    return apic.hasInterrupt() || (cpu === 0 && !!this.pic?.output.level && apic.acceptsPicInterrupt());
  }

  private acknowledge(cpu: number): number {
    const apic = this.apics[cpu]!;
    let vector = -1;
    if (apic.hasInterrupt()) vector = apic.acknowledge();
    else if (cpu === 0 && this.pic?.output.level && apic.acceptsPicInterrupt()) vector = this.pic.acknowledge();
    this.updateInterrupt(cpu);
    return vector;
  }

  /** Keeps EV_INTR at the level of what is pending. */
  updateInterrupt(cpu: number): void {
    const apic = this.apics[cpu];
    if (!apic) return;
    if (this.interruptPending(cpu)) this.signal(cpu, L.EV_INTR);
    else {
      this.engine.clear(cpu, L.EV_INTR);
      this.ram.u32[(this.engine.envOf(cpu) + L.INTR_WAIT) >>> 2] = 0;
    }
  }

  signal(cpu: number, bits: number): void {
    this.engine.signal(cpu, bits);
    this.wake();
  }

  /** Lets the running turn end soon. */
  requestBreak(): void {
    this.breakSlice = true;
    this.engine.signal(this.current, L.EV_EXIT);
  }

  start(): void {
    if (this.running) return;
    this.running = true;
    this.started = true;
    this.o.clock.start();
    this.schedule();
  }

  /** Resolves once the slice under way has ended. */
  stop(): Promise<void> {
    this.running = false;
    this.cancelSleep?.();
    this.cancelSleep = undefined;
    this.o.clock.stop();
    if (!this.inSlice) return Promise.resolve();
    this.requestBreak();
    return new Promise((resolve) => this.stopped.push(resolve));
  }

  private schedule(): void {
    if (this.scheduled || !this.running) return;
    this.scheduled = true;
    this.o.scheduler.soon(() => {
      this.scheduled = false;
      this.slice();
    });
  }

  /** Something happened that an idle machine must see. */
  private wake(): void {
    if (this.inSlice || !this.running) return;
    this.cancelSleep?.();
    this.cancelSleep = undefined;
    this.schedule();
  }

  private slice(): void {
    if (!this.running) return;
    const { clock, timers } = this.o;
    this.inSlice = true;
    this.breakSlice = false;
    let idle = false;
    try {
      const end = this.o.hostMs() + SLICE_NS / 1e6;
      while (this.running && !this.breakSlice) {
        timers.runDue();
        idle = true;
        for (let i = 0; i < this.o.count && this.running && !this.breakSlice; i++) {
          const cpu = this.turn;
          this.turn = (this.turn + 1) % this.o.count;
          this.current = cpu;
          if (this.isIdle(cpu)) continue;
          if (this.runTurn(cpu) !== "halted") idle = false;
        }
        // One vCPU may have woken another that had its turn before.
        for (let i = 0; idle && i < this.o.count; i++) idle = this.isIdle(i);
        const now = clock.nowNs();
        if (idle && timers.nextDeadlineNs() > now) {
          // Counted time with sleep=off does not wait: it is the next event's time at once.
          if (!(clock instanceof InstructionClock) || this.o.icountSleep || timers.nextDeadlineNs() === Number.POSITIVE_INFINITY)
            break;
          clock.advanceTo(timers.nextDeadlineNs());
        }
        idle = false;
        if (this.o.hostMs() >= end) break;
      }
    } catch (error) {
      this.running = false;
      this.inSlice = false;
      clock.stop();
      this.o.onInternalError(error);
      return;
    }
    this.inSlice = false;
    this.kvm?.rest();
    for (const resolve of this.stopped.splice(0)) resolve();
    if (!this.running) return;
    if (!idle) {
      this.schedule();
      return;
    }
    const delay = Math.min((timers.nextDeadlineNs() - clock.nowNs()) / 1e6, MAX_SLEEP_MS);
    const wake = () => {
      // Counted time stands while nothing runs: it gets what has been slept.
      if (clock instanceof InstructionClock && timers.nextDeadlineNs() !== Number.POSITIVE_INFINITY)
        clock.advanceTo(clock.nowNs() + Math.ceil(delay * 1e6));
      this.schedule();
    };
    if (delay <= SHORTEST_SLEEP_MS) wake();
    else
      this.cancelSleep = this.o.scheduler.after(delay, () => {
        this.cancelSleep = undefined;
        wake();
      });
  }

  /** One vCPU's turn; with counted time it ends at the next timer. */
  private runTurn(cpu: number): string {
    const { clock, timers } = this.o;
    if (this.kvm) return this.kvm.turn(cpu, clock.nowNs() + (this.o.count > 1 ? KVM_SHARED_TURN_NS : KVM_TURN_NS));
    if (!(clock instanceof InstructionClock)) return this.timedTurn(cpu);
    const left = (timers.nextDeadlineNs() - clock.nowNs()) / 2 ** clock.shift;
    const budget = Math.max(1, Math.min(TURN_INSNS, Math.ceil(left)));
    const at = (this.engine.envOf(cpu) + L.BUDGET) >>> 2;
    this.ram.i32[at] = budget;
    clock.turnInsns = () => budget - this.ram.i32[at]!;
    const end = this.engine.run(cpu, budget);
    clock.turnInsns = () => 0;
    clock.endTurn(this.engine.lastUsed);
    return end;
  }

  private timedTurn(cpu: number): string {
    const { clock } = this.o;
    const start = clock.nowNs();
    const end = this.engine.run(cpu, this.turnInsns);
    const tookNs = clock.nowNs() - start;
    if (tookNs > TURN_LONGEST_NS) this.turnInsns = Math.max(TURN_INSNS_MIN, this.turnInsns >> 1);
    else if (tookNs < TURN_LONGEST_NS / 4) this.turnInsns = Math.min(TURN_INSNS, this.turnInsns << 1);
    return end;
  }

  private isIdle(cpu: number): boolean {
    const env = this.engine.envOf(cpu) >>> 2;
    const halted = this.ram.u32[env + (L.HALTED >>> 2)]!;
    if (!halted) return false;
    const events = this.ram.u32[env + (L.EVENTS >>> 2)]!;
    // Under KVM the word does not say whether the guest takes an interrupt.
    if (this.kvm && halted === 1 && events === L.EV_INTR) return !this.kvm.wakes(cpu);
    return events === 0;
  }

  halted(cpu: number): boolean {
    return this.ram.u32[(this.engine.envOf(cpu) + L.HALTED) >>> 2] !== 0;
  }

  /** Power-on state of all vCPUs; the others wait for SIPI. */
  reset(): void {
    for (let i = 0; i < this.o.count; i++) {
      this.engine.select(i);
      this.engine.runtime.resetCpu();
      this.apics[i]!.reset();
      const env = this.engine.envOf(i) >>> 2;
      this.ram.u32[env + (L.EVENTS >>> 2)] = 0;
      this.ram.u32[env + (L.HALTED >>> 2)] = i === 0 ? 0 : 2;
      applyModel(this.ram.u32, this.engine.envOf(i), this.o.model);
    }
    this.engine.select(0);
    this.engine.flushAll();
    this.engine.mapChanged();
    for (let i = 0; i < this.o.count; i++) {
      this.stateChanged(i);
      this.updateInterrupt(i);
    }
  }

  setA20(open: boolean): void {
    const mask = open ? 0xffffffff : 0xffefffff;
    for (let i = 0; i < this.o.count; i++) this.ram.u32[(this.engine.envOf(i) + L.A20_MASK) >>> 2] = mask;
    this.engine.mapChanged();
  }
}
