/** The processors of the pseries machine: TCG's engine, a `PpcCpu` each, their decrementers, and who has which turn. */
import { TcgEngine } from "../accel/tcg/engine.js";
import { MAP_RAM, MAP_ROM, PHYS_MAP, PHYS_MAP_PAGES } from "../accel/tcg/map.js";
import type { Trace } from "../base/trace.js";
import type { HostScheduler } from "../host/scheduler.js";
import { InstructionClock, type MachineClock, type Timer, type TimerQueue } from "../hw/core/clock.js";
import type { AddressSpace, FlatRange } from "../memory/address-space.js";
import type { GuestRam } from "../memory/ram.js";
import type { PpcBus } from "../target/ppc/bus.js";
import { PpcCpu } from "../target/ppc/cpu.js";
import type { PpcCpuModel } from "../target/ppc/cpu-models.js";
import { applyPpcModel, ppcTarget } from "../target/ppc/target.js";
import { TurnLoop } from "./turn-loop.js";

export interface PseriesCpusOptions {
  readonly count: number;
  readonly model: PpcCpuModel;
  readonly runtime: WebAssembly.Module;
  readonly shared: boolean;
  readonly trace: Trace;
  readonly scheduler: HostScheduler;
  readonly clock: MachineClock;
  readonly icountSleep: boolean;
  readonly timers: TimerQueue;
  readonly randomBytes: (out: Uint8Array) => void;
  readonly tier1: boolean;
  readonly hostMs: () => number;
  readonly hypercall: (cpu: number) => void;
  readonly onTurn: ((cpu: number, begins: boolean) => void) | undefined;
  readonly onInternalError: (error: unknown) => void;
}

export class PseriesCpus {
  readonly engine: TcgEngine<PpcBus>;
  readonly cpus: readonly PpcCpu[];
  readonly loop: TurnLoop;
  private readonly decrementers: Timer[];
  private readonly deadlines: number[] = [];
  private flat: readonly FlatRange[] = [];

  constructor(
    private readonly memory: AddressSpace,
    private readonly ram: GuestRam,
    private readonly o: PseriesCpusOptions,
  ) {
    const bytes = new Uint8Array(8);
    const bus: PpcBus = {
      physRead: (low, high, size) => memory.read(high * 2 ** 32 + low, size as 1 | 2 | 4),
      physWrite: (low, high, size, value) => memory.write(high * 2 ** 32 + low, size as 1 | 2 | 4, value),
      timeBase: () => this.timeBase(),
      hypercall: (cpu) => o.hypercall(cpu),
      decrementerSet: (cpu, deadline) => this.setDecrementer(cpu, deadline),
      random: (out) => {
        o.randomBytes(bytes);
        const view = new DataView(bytes.buffer);
        out[0] = view.getUint32(0);
        out[1] = view.getUint32(4);
      },
    };
    this.decrementers = Array.from({ length: o.count }, (_, i) => o.timers.create(() => this.decrementerDue(i)));
    this.engine = new TcgEngine(
      ram,
      ppcTarget(o.model),
      o.runtime,
      o.count,
      bus,
      o.trace,
      o.shared,
      { tier1: o.tier1, synchronous: o.clock instanceof InstructionClock },
      () => o.hostMs(),
    );
    this.cpus = Array.from({ length: o.count }, (_, i) => new PpcCpu(this.engine, i));
    for (const cpu of this.cpus) applyPpcModel(ram.u32, this.engine.envOf(cpu.index), o.model);
    this.loop = new TurnLoop({
      engine: this.engine,
      cpus: o.count,
      scheduler: o.scheduler,
      clock: o.clock,
      icountSleep: o.icountSleep,
      timers: o.timers,
      hostMs: o.hostMs,
      isIdle: (cpu) => this.cpus[cpu]!.idle,
      requestExit: (cpu) => this.cpus[cpu]!.requestExit(),
      ...(o.onTurn ? { onTurn: o.onTurn } : {}),
      onInternalError: o.onInternalError,
    });
    memory.onRamWrite = (at, length) => this.engine.ramWritten(at, length);
    memory.changed.on(() => this.mapMemory());
    this.mapMemory();
  }

  /** Ticks of the time base since the machine's clock began. */
  timeBase(): number {
    return Math.floor((this.o.clock.nowNs() * this.o.model.timeBaseHz) / 1e9);
  }

  private setDecrementer(cpu: number, deadline: number): void {
    this.deadlines[cpu] = deadline;
    const ns = Math.ceil((deadline * 1e9) / this.o.model.timeBaseHz);
    const timer = this.decrementers[cpu]!;
    if (ns > Number.MAX_SAFE_INTEGER) timer.disarm();
    else timer.arm(ns);
  }

  private decrementerDue(cpu: number): void {
    // Rounding between nanoseconds and ticks may come a moment early.
    if (this.timeBase() < this.deadlines[cpu]!) this.decrementers[cpu]!.arm(this.o.clock.nowNs() + 1);
    else this.cpus[cpu]!.decrementerExpired();
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
      if (r.start < limit && !now.some((n) => same(n, r)))
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

  /** Power-on state: every vCPU stopped, no translated code. */
  reset(): void {
    for (const [i, cpu] of this.cpus.entries()) {
      cpu.lpcr = 0n;
      cpu.reset();
      cpu.setExternal(false);
      this.decrementers[i]!.disarm();
    }
    this.engine.select(0);
    this.engine.flushAll();
    this.engine.mapChanged();
  }
}
