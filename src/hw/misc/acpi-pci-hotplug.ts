/**
 * Registers through which ACPI code in the DSDT learns of PCI slots that fill or empty while the guest runs, and ejects them.
 * Source: QEMU 7.2 docs/specs/acpi_pci_hotplug.rst. One bit a slot of the selected bus:
 *
 *     0  slots with a new device (read; reading clears)      4  slots whose device should go (read)
 *     8  eject (write)                                       12 slots that can be ejected (read)
 *     16 bus (read, write; there is bus 0 only)
 *
 * *Not emulated*: buses behind bridges, the ACPI index register.
 */
import type { AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Device, DeviceState } from "../core/device.js";

export const PCI_HOTPLUG_BASE = 0xae00;
export const PCI_HOTPLUG_BYTES = 0x18;
/** The general purpose event that tells of a change. */
export const PCI_HOTPLUG_GPE = 1;

const Reg = { up: 0, down: 4, eject: 8, removable: 12, bus: 16 } as const;

export interface AcpiPciHotplugOptions {
  /** Raises the general purpose event. */
  readonly notify: () => void;
  /** The guest lets a slot's device go. */
  readonly onEject: (slot: number) => void;
  /** Slots that hold a device which may go, one bit each. */
  readonly removable: () => number;
}

export class AcpiPciHotplug implements Device, IoHandler {
  readonly type = "acpi-pci-hotplug";
  readonly name = "acpi-pci-hotplug";
  readonly maxAccess = 4;
  private up = 0;
  private down = 0;
  private bus = 0;

  constructor(private readonly options: AcpiPciHotplugOptions) {}

  map(io: AddressSpace): void {
    io.mapIo(PCI_HOTPLUG_BASE, PCI_HOTPLUG_BYTES, this);
  }

  /** A device has come into a slot. */
  plugged(slot: number): void {
    this.up = (this.up | (1 << slot)) >>> 0;
    this.options.notify();
  }

  /** Asks the guest to let a slot's device go. */
  requestUnplug(slot: number): void {
    this.down = (this.down | (1 << slot)) >>> 0;
    this.options.notify();
  }

  /** A device has gone, whoever saw to it. */
  emptied(slot: number): void {
    this.up = (this.up & ~(1 << slot)) >>> 0;
    this.down = (this.down & ~(1 << slot)) >>> 0;
  }

  /** Whether the guest has been asked to let the device go. */
  unplugRequested(slot: number): boolean {
    return (this.down & (1 << slot)) !== 0;
  }

  read(offset: number, size: number): number {
    let v = 0;
    const register = offset & ~3;
    if (register === Reg.bus) v = this.bus;
    else if (this.bus === 0) {
      if (register === Reg.up) {
        v = this.up;
        this.up = 0;
      } else if (register === Reg.down) v = this.down;
      else if (register === Reg.removable) v = this.options.removable();
    }
    return size === 4 ? v >>> 0 : (v >>> (8 * (offset & 3))) & (size === 2 ? 0xffff : 0xff);
  }

  write(offset: number, _size: number, value: number): void {
    if (offset === Reg.bus) this.bus = value >>> 0;
    else if (offset === Reg.eject && this.bus === 0 && value !== 0) {
      // The lowest bit names the slot.
      const slot = 31 - Math.clz32(value & -value);
      this.options.onEject(slot);
    }
  }

  reset(): void {
    this.up = 0;
    this.down = 0;
    this.bus = 0;
  }

  save(): DeviceState {
    return { up: this.up, down: this.down, bus: this.bus };
  }

  restore(state: DeviceState): void {
    this.up = state.up as number;
    this.down = state.down as number;
    this.bus = state.bus as number;
  }
}
