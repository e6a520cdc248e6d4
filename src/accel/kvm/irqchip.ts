/**
 * Interrupt controllers and timers in the kernel, and eventfds that stand for interrupts and doorbells.
 * Source: Linux, api.rst: KVM_CREATE_IRQCHIP, KVM_CAP_SPLIT_IRQCHIP, KVM_CREATE_PIT2, KVM_IRQFD, KVM_IOEVENTFD, KVM_SIGNAL_MSI.
 */
import { VmError } from "../../base/errors.js";
import { strerror } from "./device.js";
import { Vcpu as VcpuRequest, Vm } from "./ioctls.js";
import { Struct, structOf } from "./layout.js";
import * as S from "./structs.js";
import type { KvmVcpu } from "./vcpu.js";
import type { KvmVm } from "./vm.js";

/** Where the controllers are: all in the kernel, the local APICs alone, none. */
export type IrqchipKind = "on" | "split" | "off";

/** Pins of the I/O APIC that a split one reserves routes for. */
const IOAPIC_PINS = 24;

/** A doorbell: writes to it signal an eventfd and do not leave the guest for user space. */
export interface Doorbell {
  readonly space: "port" | "memory";
  readonly address: number;
  /** Width of the writes that count; 0 = any. */
  readonly size: 0 | 1 | 2 | 4 | 8;
  /** Only this value counts. */
  readonly value?: number;
}

export class KvmIrqchip {
  constructor(
    private readonly vm: KvmVm,
    readonly kind: Exclude<IrqchipKind, "off">,
  ) {
    if (kind === "split") {
      if (!vm.enable("split_irqchip", IOAPIC_PINS)) throw new VmError("accel/failed", "kvm: split irqchip not supported");
    } else this.check("KVM_CREATE_IRQCHIP", vm.sys.ioctl(vm.fd, Vm.createIrqchip, 0));
  }

  /** An i8254 with its gate and speaker port. */
  createPit(): void {
    this.ioctl("KVM_CREATE_PIT2", Vm.createPit2, new Struct(S.PIT_CONFIG).bytes);
  }

  /** Level of a GSI: 0-15 reach the 8259 and the I/O APIC, 16-23 the I/O APIC. */
  setLine(gsi: number, level: boolean): void {
    this.ioctl("KVM_IRQ_LINE", Vm.irqLine, structOf(S.IRQ_LEVEL, { irq: gsi, level: level ? 1 : 0 }).bytes);
  }

  /** Makes an eventfd pulse a GSI, or ends that. */
  irqfd(eventfd: number, gsi: number, on = true): void {
    this.ioctl("KVM_IRQFD", Vm.irqfd, structOf(S.IRQFD, { fd: eventfd, gsi, flags: on ? 0 : S.IRQFD_DEASSIGN }).bytes);
  }

  /** A message-signalled interrupt. @returns whether an APIC took it */
  signalMsi(address: number, data: number): boolean {
    const msi = structOf(S.MSI, { address_lo: address >>> 0, address_hi: Math.floor(address / 2 ** 32), data });
    return this.check("KVM_SIGNAL_MSI", this.vm.sys.ioctlData(this.vm.fd, Vm.signalMsi, msi.bytes)) > 0;
  }

  /** One of the kernel's chips, as its registers: S.PIC_STATE or S.IOAPIC_STATE. */
  getChip(id: number): Uint8Array {
    const chip = structOf(S.IRQCHIP, { chip_id: id });
    this.ioctl("KVM_GET_IRQCHIP", Vm.getIrqchip, chip.bytes);
    return chip.bytes.slice(S.IRQCHIP.at.chip);
  }

  setChip(id: number, state: Uint8Array): void {
    const chip = structOf(S.IRQCHIP, { chip_id: id });
    chip.bytes.set(state.subarray(0, 512), S.IRQCHIP.at.chip);
    this.ioctl("KVM_SET_IRQCHIP", Vm.setIrqchip, chip.bytes);
  }

  getPit(): Uint8Array {
    const pit = new Struct(S.PIT_STATE2);
    this.ioctl("KVM_GET_PIT2", Vm.getPit2, pit.bytes);
    return pit.bytes;
  }

  setPit(state: Uint8Array): void {
    this.ioctl("KVM_SET_PIT2", Vm.setPit2, state);
  }

  /** A vCPU's local APIC: its register page. */
  getLapic(vcpu: KvmVcpu<unknown>): Uint8Array {
    const lapic = new Struct(S.LAPIC);
    vcpu.read("KVM_GET_LAPIC", VcpuRequest.getLapic, lapic.bytes);
    return lapic.bytes;
  }

  setLapic(vcpu: KvmVcpu<unknown>, regs: Uint8Array): void {
    vcpu.read("KVM_SET_LAPIC", VcpuRequest.setLapic, regs);
  }

  private ioctl(name: string, request: number, bytes: Uint8Array): void {
    this.check(name, this.vm.sys.ioctlData(this.vm.fd, request, bytes));
  }

  private check(name: string, r: number): number {
    if (r < 0) throw new VmError("accel/failed", `kvm: ${name}: ${strerror(-r)}`);
    return r;
  }
}

/** Makes a doorbell signal an eventfd, or ends that. Works with and without controllers in the kernel. @throws VmError */
export function setDoorbell(vm: KvmVm, eventfd: number, bell: Doorbell, on = true): void {
  const flags =
    (bell.space === "port" ? S.IOEVENT.pio : 0) |
    (bell.value !== undefined ? S.IOEVENT.datamatch : 0) |
    (on ? 0 : S.IOEVENT.deassign);
  const s = structOf(S.IOEVENTFD, { datamatch: bell.value ?? 0, addr: bell.address, len: bell.size, fd: eventfd, flags });
  const r = vm.sys.ioctlData(vm.fd, Vm.ioeventfd, s.bytes);
  if (r < 0) throw new VmError("accel/failed", `kvm: KVM_IOEVENTFD at 0x${bell.address.toString(16)}: ${strerror(-r)}`);
}
