/** The machine's accelerator: what it runs on, what it could run on, and the change from one to the other while it runs. */
import type { AcceleratorName } from "../accel/accelerator.js";
import { type AcceleratorChoice, wrongArchitecture } from "../accel/choose.js";
import { KVM_PATH } from "../accel/kvm/device.js";
import { cannotOpen, type KvmHost, openKvm } from "../accel/kvm/host.js";
import { VmError } from "../base/errors.js";
import type { Host } from "../host/host.js";
import type { Board } from "./board.js";
import type { MachineConfig } from "./config.js";

/** What the change needs of the machine around it. */
export interface AcceleratedMachine {
  readonly board: Board;
  readonly running: boolean;
  changed(from: AcceleratorName, to: AcceleratorName): void;
}

export class Accelerators {
  private kvm: KvmHost | undefined;
  /** One change at a time. */
  private changing: Promise<void> = Promise.resolve();

  constructor(
    private readonly config: MachineConfig,
    private readonly host: Host,
    choice: AcceleratorChoice,
    private readonly machine: AcceleratedMachine,
  ) {
    this.kvm = choice.kvm;
  }

  /** Accelerators that this host has for the guest. */
  present(): readonly AcceleratorName[] {
    const kvm =
      this.kvm !== undefined ||
      (wrongArchitecture("kvm", this.config.arch, this.host.arch) === undefined &&
        this.host.linux?.accessible(KVM_PATH) === true);
    return kvm ? ["tcg", "kvm"] : ["tcg"];
  }

  /**
   * The machine goes on on another accelerator: the vCPUs stop between two instructions, their state moves, memory and devices
   * stay as they are. @throws VmError "accel/unavailable", "accel/failed"; then nothing has changed
   */
  set(name: AcceleratorName): Promise<void> {
    const next = this.changing.then(() => this.change(name));
    this.changing = next.catch(() => {});
    return next;
  }

  private async change(name: AcceleratorName): Promise<void> {
    const { board } = this.machine;
    const from = board.accelerator;
    if (name === from) return;
    if (!board.setAccelerator)
      throw new VmError(
        "accel/unavailable",
        `invalid accelerator ${name}\nthe ${this.config.machine.type} machine runs on TCG only`,
      );
    if (name === "kvm") await this.openKvm();
    const wasRunning = this.machine.running;
    await board.stop();
    try {
      board.setAccelerator(name, this.kvm);
    } finally {
      if (wasRunning && this.machine.running) board.start();
    }
    this.machine.changed(from, name);
  }

  private async openKvm(): Promise<void> {
    if (this.kvm) return;
    const { arch, icount } = this.config;
    const reason = wrongArchitecture("kvm", arch, this.host.arch);
    if (reason) throw new VmError("accel/unavailable", `invalid accelerator kvm\n${reason}`);
    if (icount) throw new VmError("accel/unavailable", "invalid accelerator kvm\n-icount counts instructions, which KVM cannot");
    const kvm = await openKvm(this.host);
    if (cannotOpen(kvm)) throw new VmError("accel/unavailable", `${kvm.line}\n${kvm.advice}`);
    this.kvm = kvm;
  }

  close(): void {
    this.kvm?.device.close();
    this.kvm = undefined;
  }
}
