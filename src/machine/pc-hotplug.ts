/**
 * `device_add` and `device_del` on the pc machine: PCI functions come and go through ACPI (hw/misc/acpi-pci-hotplug.ts). A
 * device that is to go leaves when the guest ejects it, or at the next reset. Source: QEMU 7.2 for what is refused, and how.
 */
import { VmError } from "../base/errors.js";
import { AcpiPciHotplug, PCI_HOTPLUG_GPE } from "../hw/misc/acpi-pci-hotplug.js";
import { PciDevice } from "../hw/pci/device.js";
import type { BoardParts, DeviceRecord } from "./board.js";
import type { DeviceConfig } from "./config.js";
import type { PcBoard } from "./pc.js";
import type { DeviceSite } from "./pc-device-site.js";
import { makeDevice, orderOf } from "./pc-devices.js";

/** PCI devices that stay where they are. */
const FIXED = ["VGA", "piix3-usb-uhci"];

const slotOf = (device: PciDevice) => device.devfn >> 3;

function canMove(record: DeviceRecord): boolean {
  return record.type.bus === "pci" && record.device instanceof PciDevice && !FIXED.includes(record.type.name);
}

export class PcHotplug {
  readonly registers: AcpiPciHotplug;
  /** Devices on their way out. */
  private readonly leaving = new Set<DeviceRecord>();

  constructor(
    private readonly board: PcBoard,
    private readonly site: DeviceSite,
    private readonly parts: BoardParts,
  ) {
    this.registers = new AcpiPciHotplug({
      notify: () => board.pm.pm.raiseGpe(PCI_HOTPLUG_GPE),
      onEject: (slot) => this.eject(slot),
      removable: () => this.movable().reduce((bits, r) => bits | (1 << slotOf(r.device as PciDevice)), 0) >>> 0,
    });
    this.registers.map(board.io);
  }

  private movable(): DeviceRecord[] {
    return this.board.deviceRecords.filter(canMove);
  }

  /** Slots that the DSDT describes as ejectable: all but those of devices that stay. */
  ejectableSlots(): number[] {
    const { board } = this;
    const fixed = new Set(board.pci.devices().map((d) => d.devfn >> 3));
    for (const r of this.movable()) fixed.delete(slotOf(r.device as PciDevice));
    return Array.from({ length: 32 }, (_, slot) => slot).filter((slot) => !fixed.has(slot));
  }

  /** Adds a device to the running machine. @throws VmError; the machine is as before then */
  plug(config: DeviceConfig): void {
    const { board, site } = this;
    const order = orderOf(config, board.config.globals);
    const { type } = order;
    if (config.id !== undefined && board.deviceRecords.some((r) => r.id === config.id))
      throw new VmError("device/invalid-property", `Duplicate device ID '${config.id}'`);
    const bus = site.bus(type, config);
    if (bus.kind !== "pci") throw new VmError("device/no-bus", `Bus '${bus.name}' does not support hotplugging`);
    if (FIXED.includes(type.name))
      throw new VmError("device/invalid-property", `Device '${type.name}' does not support hotplugging`);
    const before = board.devices().length;
    let record: DeviceRecord;
    try {
      record = makeDevice(site, order, true);
    } catch (e) {
      // What was taken on the way is given back.
      for (const d of board.devices().slice(before)) board.removeDevice(d);
      site.release(order.props);
      throw e;
    }
    const device = record.device as PciDevice;
    device.reset();
    board.deviceRecords.push(record);
    this.registers.plugged(slotOf(device));
  }

  /** Asks the guest to let a device go. @throws VmError "device/unknown" when there is none of that name that can */
  unplug(id: string): void {
    const record = this.board.deviceRecords.find(
      (r) => r.place === "peripheral" && (r.id === id || `/machine/peripheral/${r.id}` === id),
    );
    if (!record) throw new VmError("device/unknown", `Device '${id}' not found`);
    if (!canMove(record)) {
      const bus = record.type.bus === "pci" ? `Device '${record.type.name}'` : `Bus of '${record.type.name}'`;
      throw new VmError("device/invalid-property", `${bus} does not support hotplugging`);
    }
    this.leaving.add(record);
    this.registers.requestUnplug(slotOf(record.device as PciDevice));
  }

  /** The guest has ejected a slot. */
  private eject(slot: number): void {
    for (const r of this.movable()) if (slotOf(r.device as PciDevice) === slot) this.remove(r);
    this.registers.emptied(slot);
  }

  /** A reset finishes what the guest has not. */
  beforeReset(): void {
    for (const r of [...this.leaving]) this.remove(r);
  }

  private remove(record: DeviceRecord): void {
    const { board } = this;
    const device = record.device as PciDevice;
    this.leaving.delete(record);
    this.registers.emptied(slotOf(device));
    board.deviceRecords.splice(board.deviceRecords.indexOf(record), 1);
    board.removeDevice(device);
    this.site.release(record.values);
    // Whoever hears of it may delete drive and network at once: they are free then.
    void this.parts.release(record.values).then(() => {
      const path = `/machine/${record.id === undefined ? "peripheral-anon" : `peripheral/${record.id}`}`;
      board.onEvent({ type: "device-deleted", id: record.id, path });
    });
  }
}
