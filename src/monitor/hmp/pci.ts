/** `info pci`: functions, their interrupts and BARs. */
import { type PciDevice, PciReg } from "../../hw/pci/device.js";

/** Names of classes, by class and subclass (PCI Code and ID Assignment 1.11). */
const CLASSES: { readonly [code: number]: string } = {
  256: "SCSI controller",
  257: "IDE controller",
  258: "Floppy controller",
  262: "SATA controller",
  512: "Ethernet controller",
  768: "VGA controller",
  1025: "Audio controller",
  1024: "Multimedia device",
  1280: "RAM controller",
  1536: "Host bridge",
  1537: "ISA bridge",
  1540: "PCI bridge",
  1664: "Bridge",
  1792: "Serial port",
  1920: "Communication controller",
  3075: "USB controller",
};

function describe(bus: number, device: PciDevice): string {
  const word = (offset: number) => device.configRead(offset, 2);
  const hex4 = (n: number) => n.toString(16).padStart(4, "0");
  let out = `  Bus ${String(bus).padStart(2)}, device ${String(device.devfn >> 3).padStart(3)}, function ${device.devfn & 7}:\n`;
  const code = word(PciReg.subclass);
  const name = Object.hasOwn(CLASSES, code) ? CLASSES[code]! : `Class ${hex4(code)}`;
  out += `    ${name}: PCI device ${hex4(word(PciReg.vendorId))}:${hex4(word(PciReg.deviceId))}\n`;
  const subsystem = word(PciReg.subsystemVendor);
  if (subsystem !== 0) out += `      PCI subsystem ${hex4(subsystem)}:${hex4(word(PciReg.subsystemId))}\n`;
  const pin = device.config[PciReg.interruptPin]!;
  if (pin > 0) out += `      IRQ ${device.config[PciReg.interruptLine]}, pin ${String.fromCharCode(64 + pin)}\n`;
  for (const bar of device.barList()) {
    const at = bar.address < 0 ? "unmapped" : `0x${bar.address.toString(16)} [0x${(bar.address + bar.size - 1).toString(16)}]`;
    if (bar.kind === "rom") out += `      ROM: 32 bit memory at ${at}, ${bar.size} bytes.\n`;
    else if (bar.kind === "io") out += `      BAR${bar.index}: I/O at ${at}.\n`;
    else {
      const prefetchable = (device.config[PciReg.bar0 + 4 * bar.index]! & 8) !== 0;
      out += `      BAR${bar.index}: ${bar.kind === "mem64" ? 64 : 32} bit ${prefetchable ? "prefetchable " : ""}memory at ${at}.\n`;
    }
  }
  return `${out}      id "${device.id ?? ""}"\n`;
}

export function pciText(functions: readonly { readonly bus: number; readonly device: PciDevice }[]): string {
  return [...functions]
    .sort((a, b) => a.bus - b.bus || a.device.devfn - b.device.devfn)
    .map((f) => describe(f.bus, f.device))
    .join("");
}
