/**
 * The pc's processors on KVM. The translator's memory (env) is where a vCPU's state rests whenever it is not in KVM: reset,
 * boot loaders, monitors and the translator work there, and it moves to KVM before the next entry and back when somebody asks.
 *
 * The interrupt controllers are the machine's own (kernel_irqchip=off): KVM asks for nothing but vectors.
 *
 * What KVM cannot run - an instruction its emulator lacks, a state it refuses - the translator runs on the same state. One
 * instruction, or a stretch that grows while such instructions follow each other closely.
 */
import type { VcpuExit } from "../accel/exits.js";
import { syscallEntersKernel } from "../accel/kvm/calibrate.js";
import { type CpuidEntry, setCpuid } from "../accel/kvm/cpuid.js";
import type { KvmDevice } from "../accel/kvm/device.js";
import { Vcpu } from "../accel/kvm/ioctls.js";
import { X86Transfer } from "../accel/kvm/state-x86.js";
import { KvmVcpu } from "../accel/kvm/vcpu.js";
import { KvmVm } from "../accel/kvm/vm.js";
import type { TcgEngine } from "../accel/tcg/engine.js";
import { VmError } from "../base/errors.js";
import type { Disposable } from "../base/event.js";
import type { Alarm } from "../host/syscalls.js";
import type { AddressSpace } from "../memory/address-space.js";
import type { GuestRam } from "../memory/ram.js";
import type { X86CpuState } from "../target/x86/cpu-state.js";
import { type Carried, type EnvAccess, readCpuState, writeCpuState } from "../target/x86/cpu-state-tcg.js";
import * as L from "../target/x86/layout.js";
import { CodeWatch } from "./code-watch.js";
import { FallbackLog } from "./kvm-fallback-log.js";
import { serveMmio, servePort } from "./vcpu-io.js";

/** What the processors give KVM's side. */
export interface PcKvmBus {
  readonly memory: AddressSpace;
  readonly io: AddressSpace;
  readonly ram: GuestRam;
  readonly engine: TcgEngine;
  /** Virtual nanoseconds, and the next deadline of a timer. */
  nowNs(): number;
  nextDeadlineNs(): number;
  interruptPending(cpu: number): boolean;
  /** The vector, or -1. */
  acknowledge(cpu: number): number;
  getTpr(cpu: number): number;
  setTpr(cpu: number, tpr: number): void;
  msrRead(cpu: number, index: number): bigint | undefined;
  msrWrite(cpu: number, index: number, value: bigint): boolean;
  tripleFault(): void;
  cpuidEntries(cpu: number): readonly CpuidEntry[];
  readonly features: ReadonlySet<string>;
  /** The host's processor virtualises in hardware. Without, KVM's own limits show as shutdowns. */
  readonly hardware: boolean;
  /** The translator helps where such a KVM is slow. */
  readonly assist: boolean;
  /** The machine's TSC before TSC_OFFSET, as the translator sees it; and its rate from now on. */
  tsc(): number;
  tscKhz(khz: number): void;
  disassemble(bytes: Uint8Array, flags: number): string;
}

/** How a turn ended. */
export type KvmTurnEnd = "budget" | "halted" | "exit";

/** Where the newest state of a vCPU is. */
type Owner = "env" | "kvm" | "both";

/** Longest stretch of the translator, in instructions. */
const STRETCH_MAX = 1_000_000;
/** A failure this soon after the last one doubles the stretch. */
const STRETCH_CLOSE_NS = 1_000_000;
/** Instructions that the translator runs before a state that KVM has refused is offered again. */
const REFUSED_STRETCH = 100_000;
/** A guest that has run for so long without an exit is looked at; the first stretch if its mode is a slow one. */
const ASSIST_AFTER_NS = 1_000_000;
const ASSIST_FIRST = 100_000;
/** Instructions between two looks at the mode, and looks in a row that find user code before KVM gets it. */
const GUARD_STRETCH = 20_000;
const USER_STREAK = 16;
const EFER_SCE = 1;
/** How long an interrupt waits for its window on a KVM without hardware, and what the translator runs then. */
const WINDOW_LATE_NS = 300_000;
const WINDOW_STRETCH = 5_000;
/** How soon the alarm comes again when it has found the thread outside KVM_RUN. */
const ALARM_INTERVAL_NS = 500_000;
/** KVM's IRQ window comes late on emulating hosts, EAGAIN repeats: bound on entries without progress. */
const AGAIN_MAX = 1000;
const HALTED_RUNNING = 0;
const HALTED_HLT = 1;
const HALTED_SHUTDOWN = 3;

export class PcKvm {
  readonly vm: KvmVm;
  readonly vcpus: KvmVcpu<X86CpuState>[] = [];
  readonly log = new FallbackLog();
  private readonly transfer: X86Transfer;
  private readonly owners: Owner[] = [];
  private readonly carried: (Carried | undefined)[] = [];
  private readonly stretch: number[] = [];
  private readonly lastFailureNs: number[] = [];
  /** When an interrupt began to wait for the guest. */
  private readonly waitingSince: number[] = [];
  /** The next stretch in a slow mode. */
  private readonly assistInsns: number[] = [];
  /** How often in a row the translator has found a vCPU in user mode. */
  private readonly userStreak: number[] = [];
  private readonly syscallBroken: boolean;
  /** Instructions that the translator has left to do on a state that KVM refuses. */
  private readonly refusedFor: number[] = [];
  /** KVM's TSC runs on by itself, unless somebody has set another. */
  private readonly tscChanged: boolean[] = [];
  private readonly envAccess: EnvAccess;
  private readonly alarm: Alarm;
  private armedUntil = 0;
  private readonly mapped: Disposable;
  /** Memory has been written behind the translator's back since its code was last dropped. */
  private staleCode = true;
  private readonly code: CodeWatch;

  constructor(
    readonly device: KvmDevice,
    private readonly bus: PcKvmBus,
    count: number,
  ) {
    const max = device.maxVcpus;
    if (count > max)
      throw new VmError(
        "accel/failed",
        `Number of SMP cpus requested (${count}) exceeds the maximum cpus supported by KVM (${max})`,
      );
    this.vm = new KvmVm(device, bus.memory, bus.ram);
    this.alarm = device.sys.alarm();
    this.syscallBroken = !bus.hardware && bus.assist && bus.features.has("lm") && !syscallEntersKernel(device);
    this.code = new CodeWatch(bus.engine, bus.ram);
    bus.engine.flushAll();
    this.transfer = new X86Transfer(device, { irqchip: false, features: bus.features });
    const runtime = bus.engine.runtime as unknown as EnvAccess["runtime"];
    this.envAccess = { u8: bus.ram.u8, view: bus.ram.view, runtime, tsc: () => bus.tsc() };
    this.vm.interceptMsrs([
      { first: 0x1b, count: 1 },
      { first: 0x6e0, count: 1 },
    ]);
    for (let i = 0; i < count; i++) {
      const v = new KvmVcpu(device.sys, this.vm.fd, i, device.mmapBytes, this.transfer);
      this.vcpus.push(v);
      setCpuid(v as KvmVcpu<unknown>, bus.cpuidEntries(i));
      this.owners.push("env");
      this.carried.push(undefined);
      this.stretch.push(1);
      this.lastFailureNs.push(Number.NEGATIVE_INFINITY);
      this.refusedFor.push(0);
      this.tscChanged.push(true);
      this.waitingSince.push(0);
      this.assistInsns.push(ASSIST_FIRST);
      this.userStreak.push(0);
    }
    this.vm.mapMemory();
    this.mapped = bus.memory.changed.on(() => this.vm.mapMemory());
  }

  // --- state

  /** Makes env hold the vCPU's newest state. */
  pull(cpu: number): void {
    if (this.owners[cpu] !== "kvm") return;
    const s = this.vcpus[cpu]!.getState();
    const env = this.env(cpu);
    // What rests in env alone: controllers' signals and the activity.
    const events = this.u32(env + L.EVENTS);
    const halted = this.u32(env + L.HALTED);
    const smbase = this.u32(env + L.SMBASE);
    this.bus.engine.select(cpu);
    this.carried[cpu] = writeCpuState(this.envAccess, env, s);
    this.set(env + L.SMBASE, smbase);
    this.set(env + L.HALTED, halted);
    this.set(env + L.EVENTS, this.u32(env + L.EVENTS) | events);
    this.owners[cpu] = "both";
    const { exception, exceptionError, interrupt } = s.events;
    if (interrupt >= 0) this.changed(cpu, () => this.call("deliverInterrupt", interrupt));
    else if (exception >= 0)
      this.changed(cpu, () => {
        this.set(env + L.EXC_VECTOR, exception);
        this.set(env + L.EXC_ERROR, Math.max(0, exceptionError));
        this.call("deliverException");
      });
  }

  /** env has been written by somebody else: it is the newest, its TSC too. */
  envChanged(cpu: number): void {
    this.owners[cpu] = "env";
    this.refusedFor[cpu] = 0;
    this.tscChanged[cpu] = true;
  }

  /** Begins with the state that rests in env. */
  start(wantedKhz: number): void {
    this.setTscKhz(wantedKhz);
  }

  /** Gives the guest's TSC this rate, where the host can (0 = the host's own). What it is then, goes to the machine. */
  setTscKhz(wantedKhz: number): void {
    if (wantedKhz > 0 && this.tscKhz !== wantedKhz && this.device.capability("tsc_control"))
      for (const v of this.vcpus) v.sys.ioctl(v.fd, Vcpu.setTscKhz, wantedKhz);
    const khz = this.tscKhz;
    if (khz > 0) this.bus.tscKhz(khz);
  }

  /** Rate of the guest's TSC, 0 = unknown. */
  private get tscKhz(): number {
    const v = this.vcpus[0]!;
    return this.device.capability("get_tsc_khz") ? Math.max(0, v.sys.ioctl(v.fd, Vcpu.getTscKhz, 0)) : 0;
  }

  /** What of the vCPU's state the translator has no place for. */
  carriedOf(cpu: number): Carried | undefined {
    return this.carried[cpu];
  }

  carry(cpu: number, carried: Carried | undefined): void {
    this.carried[cpu] = carried;
  }

  /** Whether a halted vCPU takes the interrupt that is pending. */
  wakes(cpu: number): boolean {
    return this.bus.interruptPending(cpu) && this.interruptFlag(cpu, this.env(cpu), this.vcpus[cpu]!);
  }

  private changed(cpu: number, call: () => void): void {
    this.bus.engine.deliver(cpu, call);
    this.owners[cpu] = "env";
  }

  private call(name: "deliverInterrupt" | "deliverException" | "serviceEvents", ...args: number[]): number {
    return (this.bus.engine.runtime[name] as (...a: number[]) => number)(...args);
  }

  /** Moves env to KVM. @returns false when KVM refuses the state */
  private push(cpu: number): boolean {
    const v = this.vcpus[cpu]!;
    this.bus.engine.select(cpu);
    const s = readCpuState(this.envAccess, this.env(cpu), this.carried[cpu]);
    // Signals of the controllers are injected, not loaded.
    s.events.nmiPending = false;
    v.cr8 = this.bus.getTpr(cpu) >> 4;
    this.transfer.writesTsc = this.tscChanged[cpu]!;
    try {
      v.setState(s);
    } catch (e) {
      if (!(e instanceof VmError)) throw e;
      this.log.refused(e.message);
      return false;
    }
    v.assumeFlags((s.rflags & BigInt(L.FL_IF)) !== 0n, s.events.interruptShadow !== "none");
    this.tscChanged[cpu] = false;
    this.owners[cpu] = "both";
    return true;
  }

  private env(cpu: number): number {
    return this.bus.engine.envOf(cpu);
  }

  private u32(at: number): number {
    return this.bus.ram.u32[at >>> 2]!;
  }

  private set(at: number, value: number): void {
    this.bus.ram.u32[at >>> 2] = value;
  }

  // --- running

  /** Runs a vCPU until `untilNs`, the next timer, or something stops it. */
  turn(cpu: number, untilNs: number): KvmTurnEnd {
    const { bus } = this;
    const v = this.vcpus[cpu]!;
    const env = this.env(cpu);
    for (let again = 0; ; ) {
      const deadline = Math.min(untilNs, bus.nextDeadlineNs());
      const now = bus.nowNs();
      if (now >= deadline) return "budget";
      const before = this.beforeEntry(cpu, env, v);
      if (before) return before;
      if (this.guardsUserMode(cpu)) {
        const end = this.guardedTurn(cpu, now, deadline);
        if (end) return end;
        continue;
      }
      if (this.refusedFor[cpu]! > 0) {
        const end = this.translate(cpu, REFUSED_STRETCH);
        this.refusedFor[cpu]! -= REFUSED_STRETCH;
        if (end !== "budget") return end;
        continue;
      }
      if (this.owners[cpu] === "env" && !this.push(cpu)) {
        this.refusedFor[cpu] = REFUSED_STRETCH;
        continue;
      }
      if (this.windowLate(cpu, now)) {
        const end = this.translate(cpu, WINDOW_STRETCH);
        if (end !== "budget") return end;
        continue;
      }
      this.inject(cpu, env, v);
      v.cr8 = bus.getTpr(cpu) >> 4;
      this.arm(now, deadline);
      this.owners[cpu] = "kvm";
      this.leaveTranslator();
      const exit = v.run(NO_LIMIT);
      const tpr = v.cr8;
      if (tpr !== bus.getTpr(cpu) >> 4) bus.setTpr(cpu, tpr << 4);
      if (exit.kind === "asked") {
        if (++again > AGAIN_MAX) throw new VmError("accel/failed", `kvm: vCPU ${cpu} does not run (EAGAIN)`);
        continue;
      }
      const end = this.serve(cpu, exit);
      if (end) return end;
      if (exit.kind === "budget") {
        this.armedUntil = 0;
        return this.assist(cpu, now) ?? "budget";
      }
      this.assistInsns[cpu] = ASSIST_FIRST;
    }
  }

  /** Events between instructions that KVM is not asked to deliver. @returns why the vCPU does not run */
  private beforeEntry(cpu: number, env: number, v: KvmVcpu<X86CpuState>): KvmTurnEnd | undefined {
    const events = this.u32(env + L.EVENTS);
    if (events & L.EV_EXIT) {
      this.set(env + L.EVENTS, events & ~L.EV_EXIT);
      return "exit";
    }
    if (events & (L.EV_INIT | L.EV_SIPI | L.EV_SMI | L.EV_TRAP)) {
      this.pull(cpu);
      this.changed(cpu, () => void this.call("serviceEvents"));
    }
    const halted = this.u32(env + L.HALTED);
    if (halted === HALTED_RUNNING) return undefined;
    if (halted !== HALTED_HLT) return "halted";
    const nmi = (this.u32(env + L.EVENTS) & L.EV_NMI) !== 0;
    if (!nmi && !(this.bus.interruptPending(cpu) && this.interruptFlag(cpu, env, v))) return "halted";
    this.set(env + L.HALTED, HALTED_RUNNING);
    return undefined;
  }

  private interruptFlag(cpu: number, env: number, v: KvmVcpu<X86CpuState>): boolean {
    return this.owners[cpu] === "env" ? (this.u32(env + L.EFLAGS) & L.FL_IF) !== 0 : v.interruptFlag;
  }

  /**
   * Whether an interrupt waits too long for the guest to open its window. An emulating KVM looks at the window only every
   * thousand instructions, and guests that poll open it for two or three.
   */
  private windowLate(cpu: number, now: number): boolean {
    if (this.bus.hardware || !this.vcpus[cpu]!.wantWindow || !this.bus.interruptPending(cpu)) {
      this.waitingSince[cpu] = now;
      return false;
    }
    if (now - this.waitingSince[cpu]! < WINDOW_LATE_NS) return false;
    this.waitingSince[cpu] = now;
    this.log.lateWindow();
    return true;
  }

  /**
   * A whole turn without an exit, on a KVM without hardware: if the guest is in a mode that such a KVM emulates, the translator
   * goes on for a stretch that is longer each time.
   */
  private assist(cpu: number, startNs: number): KvmTurnEnd | undefined {
    if (this.bus.hardware || !this.bus.assist || this.bus.nowNs() - startNs < ASSIST_AFTER_NS) return undefined;
    if (this.transfer.inUserMode64(this.vcpus[cpu]!)) return undefined;
    const insns = this.assistInsns[cpu]!;
    this.assistInsns[cpu] = Math.min(STRETCH_MAX, insns * 2);
    this.log.assisted();
    return this.translate(cpu, insns);
  }

  /** Gives KVM what the controllers have. */
  private inject(cpu: number, env: number, v: KvmVcpu<X86CpuState>): void {
    const events = this.u32(env + L.EVENTS);
    if (events & L.EV_NMI) {
      this.set(env + L.EVENTS, events & ~L.EV_NMI);
      v.nmi();
    }
    if (!this.bus.interruptPending(cpu)) {
      v.wantWindow = false;
      return;
    }
    if (v.readyForInterrupt) {
      const vector = this.bus.acknowledge(cpu);
      if (vector >= 0) v.interrupt(vector);
      v.wantWindow = this.bus.interruptPending(cpu);
    } else v.wantWindow = true;
  }

  /** Makes the alarm come at the deadline at the latest. */
  private arm(now: number, deadline: number): void {
    if (this.armedUntil > now && this.armedUntil <= deadline) return;
    this.armedUntil = deadline;
    this.alarm.arm(Math.min(deadline - now, 1e9), ALARM_INTERVAL_NS);
  }

  /** The event loop has its turn: nothing is to be interrupted. */
  rest(): void {
    if (this.armedUntil === 0) return;
    this.armedUntil = 0;
    this.alarm.disarm();
  }

  private serve(cpu: number, exit: VcpuExit): KvmTurnEnd | undefined {
    switch (exit.kind) {
      case "io":
        servePort(this.bus.io, exit);
        return undefined;
      case "mmio":
        serveMmio(this.bus.memory, exit);
        return undefined;
      case "halted":
        this.set(this.env(cpu) + L.HALTED, HALTED_HLT);
        return undefined;
      case "msr-read":
        exit.reply(this.bus.msrRead(cpu, exit.index));
        return undefined;
      case "msr-write":
        exit.reply(this.bus.msrWrite(cpu, exit.index, exit.value));
        return undefined;
      case "emulation-failure":
        return this.fallBack(cpu, exit.bytes);
      case "shutdown":
        return this.shutDown(cpu);
      case "failed":
        throw new VmError("accel/failed", `${exit.reason} (vCPU ${cpu})`);
      case "budget":
      case "asked":
      case "interrupt-window":
      case "eoi":
        return undefined;
    }
  }

  // --- programs of an operating system on a KVM whose SYSCALL does not enter the kernel

  /** Whether the guest's programs use SYSCALL where this KVM gets it wrong. */
  private guardsUserMode(cpu: number): boolean {
    return this.syscallBroken && (this.u32(this.env(cpu) + L.EFER) & EFER_SCE) !== 0;
  }

  /**
   * The translator runs the kernel, and user code until it has shown that it computes. Then KVM runs it natively behind a guard: an
   * empty IDT and no SYSCALL, so that whatever would enter the kernel shuts the vCPU down instead, before the instruction. The
   * translator executes that instruction on the state as it was.
   */
  private guardedTurn(cpu: number, now: number, deadline: number): KvmTurnEnd | undefined {
    if (this.userStreak[cpu]! < USER_STREAK || this.bus.interruptPending(cpu)) {
      const end = this.translate(cpu, GUARD_STRETCH);
      const flags = this.u32(this.env(cpu) + L.HFLAGS);
      const user = (flags & L.HF_CPL) === 3 && (flags & L.HF_CS64) !== 0;
      this.userStreak[cpu] = user && end === "budget" ? this.userStreak[cpu]! + 1 : 0;
      return end === "budget" ? undefined : end;
    }
    const v = this.vcpus[cpu]!;
    const env = this.env(cpu);
    this.pull(cpu);
    const idtLimit = this.u32(env + L.IDT_LIMIT);
    const efer = this.u32(env + L.EFER);
    this.set(env + L.IDT_LIMIT, 0);
    this.set(env + L.EFER, efer & ~EFER_SCE);
    this.owners[cpu] = "env";
    const taken = this.push(cpu);
    let exit: VcpuExit | undefined;
    if (taken) {
      v.wantWindow = false;
      this.arm(now, deadline);
      this.leaveTranslator();
      this.owners[cpu] = "kvm";
      do exit = v.run(NO_LIMIT);
      while (exit.kind === "asked");
      this.armedUntil = 0;
      this.pull(cpu);
    }
    this.set(env + L.IDT_LIMIT, idtLimit);
    this.set(env + L.EFER, efer);
    this.owners[cpu] = "env";
    this.log.guarded();
    if (exit?.kind === "budget") return "budget";
    // It entered the kernel: a system call, a fault. It has to show itself again.
    this.userStreak[cpu] = 0;
    return undefined;
  }

  private leaveTranslator(): void {
    if (this.staleCode) return;
    this.staleCode = true;
    this.code.leave();
  }

  // --- the translator's part

  private fallBack(cpu: number, bytes: Uint8Array): KvmTurnEnd | undefined {
    const now = this.bus.nowNs();
    const close = now - this.lastFailureNs[cpu]! < STRETCH_CLOSE_NS;
    this.stretch[cpu] = close ? Math.min(STRETCH_MAX, this.stretch[cpu]! * 2) : Math.max(1, this.stretch[cpu]! >> 1);
    this.pull(cpu);
    this.log.failure(this.bus.disassemble(bytes, this.u32(this.env(cpu) + L.HFLAGS)));
    const end = this.translate(cpu, this.stretch[cpu]!);
    this.lastFailureNs[cpu] = this.bus.nowNs();
    return end === "budget" ? undefined : end;
  }

  /** A triple fault, or what looks like one where KVM itself refuses what the guest may do. */
  private shutDown(cpu: number): KvmTurnEnd | undefined {
    if (!this.bus.hardware) {
      this.pull(cpu);
      this.log.shutdown();
      const end = this.translate(cpu, 1);
      if (this.u32(this.env(cpu) + L.HALTED) !== HALTED_SHUTDOWN) return end === "budget" ? undefined : end;
      return "exit";
    }
    this.set(this.env(cpu) + L.HALTED, HALTED_SHUTDOWN);
    this.bus.tripleFault();
    return "exit";
  }

  /** Runs a vCPU on the translator for so many instructions. */
  private translate(cpu: number, insns: number): KvmTurnEnd {
    this.pull(cpu);
    const { engine } = this.bus;
    this.owners[cpu] = "env";
    if (this.bus.interruptPending(cpu)) engine.signal(cpu, L.EV_INTR);
    if (insns === 1) {
      engine.step(cpu);
      this.log.translated(1);
      return this.u32(this.env(cpu) + L.HALTED) === HALTED_RUNNING ? "budget" : "halted";
    }
    if (this.staleCode) this.code.enter();
    const end = engine.run(cpu, insns);
    this.staleCode = false;
    this.log.translated(engine.lastUsed);
    return end;
  }

  dispose(): void {
    this.rest();
    this.mapped.dispose();
    this.alarm.dispose();
    for (const v of this.vcpus) v.dispose();
    this.vm.close();
  }
}

const NO_LIMIT = { insns: 0, ns: 0 };
