/**
 * Types of the devices that the pc board has by itself: what `-global`, `qom-list-types` and `device-list-properties` know
 * of them. `-device` does not make them.
 */
import type { BusKind, DeviceCategory, DeviceProperty, DeviceType } from "../hw/core/device-type.js";

const own = (
  name: string,
  bus: BusKind,
  category: DeviceCategory,
  description: string,
  properties: readonly DeviceProperty[] = [],
): DeviceType => ({ name, aliases: [], bus, category, description, properties });

/** Sleep states other than off are not offered to the guest, so these have one value. */
const sleepState = (name: string, state: string): DeviceProperty => ({
  name,
  type: "uint8",
  default: 1,
  description: `1: the guest is not offered ${state}; 0 is not supported`,
});

export const PIIX4_PM_TYPE = own("PIIX4_PM", "pci", "bridge", "ACPI power management", [
  sleepState("disable_s3", "S3 (sleep)"),
  sleepState("disable_s4", "S4 (hibernation)"),
]);

export const PC_BOARD_TYPES: readonly DeviceType[] = [
  own("i440FX-pcihost", "sysbus", "bridge", "i440FX host bridge"),
  own("i440FX", "pci", "bridge", "i440FX, function 0"),
  own("PIIX3", "pci", "bridge", "PCI-to-ISA bridge"),
  own("piix3-ide", "pci", "storage", "IDE controller"),
  PIIX4_PM_TYPE,
  own("isa-i8259", "isa", "misc", "interrupt controllers"),
  own("ioapic", "sysbus", "misc", "I/O APIC"),
  own("apic", "none", "misc", "local APIC"),
  own("isa-pit", "isa", "misc", "8254 interval timer"),
  own("isa-pcspk", "isa", "sound", "speaker port"),
  own("mc146818rtc", "isa", "misc", "real-time clock and CMOS memory"),
  own("i8257", "isa", "misc", "DMA controllers"),
  own("i8042", "isa", "input", "keyboard controller"),
  own("port92", "isa", "misc", "system control port A"),
  own("hpet", "sysbus", "misc", "high precision event timer"),
  own("isa-fdc", "isa", "storage", "floppy disk controller"),
  own("fw_cfg", "sysbus", "misc", "firmware configuration"),
];
