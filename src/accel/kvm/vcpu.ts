/**
 * A vCPU of KVM on the calling thread: KVM_RUN and what it came back with. An alarm interrupts it, so that a guest that
 * never leaves by itself gives way after the time it was given.
 *
 * A port or MMIO access is complete only when KVM_RUN is entered again (api.rst, "kvm_run"): before anything else touches
 * registers, `settle` enters it with immediate_exit.
 */
import { VmError } from "../../base/errors.js";
import { Errno, type HostSyscalls, type Mapping } from "../../host/syscalls.js";
import type { RunLimit, Vcpu } from "../accelerator.js";
import type { VcpuExit } from "../exits.js";
import { strerror } from "./device.js";
import { EXIT, INTERNAL_EMULATION, Vcpu as Request, Vm as VmRequest } from "./ioctls.js";
import { Struct } from "./layout.js";
import * as S from "./structs.js";

const { at } = S.RUN;
const IO = S.EXIT_AT;
type Changing<T> = { -readonly [K in keyof T]: T[K] };

/** Moves the target's state in and out of a vCPU. */
export interface StateTransfer<State> {
  get(vcpu: KvmVcpu<State>): State;
  set(vcpu: KvmVcpu<State>, state: State): void;
}

export class KvmVcpu<State> implements Vcpu<State> {
  /** kvm_run. */
  readonly run8: Uint8Array;
  readonly view: DataView;
  /** KVM_RUN calls, and exits by KVM's number. */
  runs = 0;
  readonly exits = new Uint32Array(64);
  /** An access is to be completed by KVM before registers are looked at. */
  private completing = false;
  private readonly mapping: Mapping;
  /** Accesses come by the ten thousand a second: one object for all, valid until the next run. */
  private readonly ioExit: Changing<Extract<VcpuExit, { kind: "io" }>>;
  private readonly mmioExit: Changing<Extract<VcpuExit, { kind: "mmio" }>>;

  constructor(
    readonly sys: HostSyscalls,
    vmFd: number,
    readonly index: number,
    mmapBytes: number,
    private readonly transfer: StateTransfer<State>,
    readonly fd = createVcpu(sys, vmFd, index),
  ) {
    const mapping = sys.mmap(fd, mmapBytes);
    if (typeof mapping === "number")
      throw new VmError("accel/failed", `failed to initialize kvm: mapping vCPU ${index}: ${strerror(-mapping)}`);
    this.mapping = mapping;
    this.run8 = new Uint8Array(mapping.buffer);
    this.view = new DataView(mapping.buffer);
    this.ioExit = { kind: "io", direction: "out", port: 0, size: 1, count: 1, data: this.view, at: 0 };
    this.mmioExit = { kind: "mmio", write: false, address: 0, size: 0, data: this.view, at: IO + 8 };
  }

  /** One KVM_RUN; the caller's alarm, a kick or an exit ends it. */
  run(_limit: RunLimit): VcpuExit {
    this.runs++;
    const r = this.sys.ioctl(this.fd, Request.run, 0);
    this.completing = false;
    if (r < 0) {
      this.run8[at.immediate_exit] = 0;
      if (r === -Errno.EINTR || r === -Errno.EAGAIN) return r === -Errno.EAGAIN ? AGAIN : BUDGET;
      return { kind: "failed", reason: `KVM_RUN: ${strerror(-r)}` };
    }
    return this.decode();
  }

  private decode(): VcpuExit {
    const v = this.view;
    const reason = v.getUint32(at.exit_reason, true);
    this.exits[reason & 63]!++;
    switch (reason) {
      case EXIT.io: {
        this.completing = true;
        const e = this.ioExit;
        e.direction = v.getUint8(IO) ? "out" : "in";
        e.port = v.getUint16(IO + 2, true);
        e.size = v.getUint8(IO + 1) as 1 | 2 | 4;
        e.count = v.getUint32(IO + 4, true);
        // An offset into this mapping: its high half is zero.
        e.at = v.getUint32(IO + 8, true);
        return e;
      }
      case EXIT.mmio:
        return this.decodeMmio();
      case EXIT.hlt:
        return HALTED;
      case EXIT.intr:
        return BUDGET;
      case EXIT.irqWindowOpen:
        return WINDOW;
      case EXIT.shutdown:
        return { kind: "shutdown" };
      case EXIT.internalError:
        return this.internalError();
      case EXIT.rdmsr:
        this.completing = true;
        return {
          kind: "msr-read",
          index: v.getUint32(IO + S.EXIT_MSR.at.index, true),
          reply: (value) => {
            v.setUint8(IO, value === undefined ? 1 : 0);
            if (value !== undefined) v.setBigUint64(IO + S.EXIT_MSR.at.data, value, true);
          },
        };
      case EXIT.wrmsr:
        this.completing = true;
        return {
          kind: "msr-write",
          index: v.getUint32(IO + S.EXIT_MSR.at.index, true),
          value: v.getBigUint64(IO + S.EXIT_MSR.at.data, true),
          reply: (accepted) => v.setUint8(IO, accepted ? 0 : 1),
        };
      case EXIT.ioapicEoi:
        return { kind: "eoi", vector: v.getUint8(IO) };
      case EXIT.failEntry:
        return {
          kind: "failed",
          reason: `KVM: entry failed, hardware error 0x${v.getBigUint64(IO, true).toString(16)}`,
        };
      default:
        return { kind: "failed", reason: `KVM: exit reason ${reason}` };
    }
  }

  private decodeMmio(): VcpuExit {
    const v = this.view;
    this.completing = true;
    const e = this.mmioExit;
    e.write = v.getUint8(IO + 20) !== 0;
    e.address = v.getUint32(IO + 4, true) * 2 ** 32 + v.getUint32(IO, true);
    e.size = Math.min(8, v.getUint32(IO + 16, true));
    return e;
  }

  private internalError(): VcpuExit {
    const e = new Struct(S.EXIT_EMULATION, this.run8.subarray(IO, IO + S.EXIT_EMULATION.sizeBytes));
    const suberror = e.get("suberror");
    if (suberror !== INTERNAL_EMULATION) return { kind: "failed", reason: `KVM internal error. Suberror: ${suberror}` };
    // Flags say whether the bytes are there; ndata counts the 64-bit words in use, these among them.
    const has = e.get("ndata") >= 3 && (this.view.getUint8(IO + 8) & 1) !== 0;
    const from = IO + S.EXIT_EMULATION.at.insn_bytes;
    return { kind: "emulation-failure", bytes: has ? this.run8.slice(from, from + Math.min(15, e.get("insn_size"))) : EMPTY };
  }

  /** Completes a port or MMIO access under way, so that registers may be read and written. */
  settle(): void {
    if (!this.completing) return;
    this.run8[at.immediate_exit] = 1;
    this.sys.ioctl(this.fd, Request.run, 0);
    this.run8[at.immediate_exit] = 0;
    this.completing = false;
  }

  kick(): void {
    this.run8[at.immediate_exit] = 1;
  }

  /** Whether the guest takes an interrupt right now. */
  get readyForInterrupt(): boolean {
    return this.run8[at.ready_for_interrupt_injection] !== 0;
  }

  /** The state has been set: whether the guest takes an interrupt is not what the last exit said. */
  assumeFlags(interruptFlag: boolean, shadow: boolean): void {
    this.run8[at.if_flag] = interruptFlag ? 1 : 0;
    this.run8[at.ready_for_interrupt_injection] = interruptFlag && !shadow ? 1 : 0;
  }

  /** RFLAGS.IF at the last exit. */
  get interruptFlag(): boolean {
    return this.run8[at.if_flag] !== 0;
  }

  /** Asks for an exit as soon as the guest can take an interrupt. */
  set wantWindow(on: boolean) {
    this.run8[at.request_interrupt_window] = on ? 1 : 0;
  }

  get wantWindow(): boolean {
    return this.run8[at.request_interrupt_window] !== 0;
  }

  get cr8(): number {
    return this.run8[at.cr8]!;
  }

  set cr8(value: number) {
    this.run8[at.cr8] = value;
  }

  get apicBase(): bigint {
    return this.view.getBigUint64(at.apic_base, true);
  }

  private readonly irq = new Struct(S.INTERRUPT);

  /** Queues an interrupt; only when `readyForInterrupt`. */
  interrupt(vector: number): void {
    this.irq.set("irq", vector);
    this.check("KVM_INTERRUPT", this.sys.ioctlData(this.fd, Request.interrupt, this.irq.bytes));
  }

  nmi(): void {
    this.check("KVM_NMI", this.sys.ioctl(this.fd, Request.nmi, 0));
  }

  getState(): State {
    this.settle();
    return this.transfer.get(this);
  }

  setState(state: State): void {
    this.settle();
    this.transfer.set(this, state);
  }

  /** Reads a structure from the kernel. */
  read(name: string, request: number, bytes: Uint8Array): void {
    this.check(name, this.sys.ioctlData(this.fd, request, bytes));
  }

  private check(name: string, r: number): void {
    if (r < 0) throw new VmError("accel/failed", `${name} of vCPU ${this.index}: ${strerror(-r)}`);
  }

  dispose(): void {
    this.sys.munmap(this.mapping);
    this.sys.close(this.fd);
  }
}

const BUDGET: VcpuExit = { kind: "budget" };
const AGAIN: VcpuExit = { kind: "asked" };
const HALTED: VcpuExit = { kind: "halted" };
const WINDOW: VcpuExit = { kind: "interrupt-window" };
const EMPTY = new Uint8Array(0);

function createVcpu(sys: HostSyscalls, vmFd: number, index: number): number {
  const fd = sys.ioctl(vmFd, VmRequest.createVcpu, index);
  if (fd < 0) throw new VmError("accel/failed", `failed to initialize kvm: creating vCPU ${index}: ${strerror(-fd)}`);
  return fd;
}
