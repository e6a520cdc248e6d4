/**
 * The PCI host bridge and its functions in the device tree, and the addresses that a start without firmware gives them.
 * Source: IEEE 1275 PCI bus binding 2.1; LoPAR §B.6.
 */
import { type PciDevice, PciReg } from "../../hw/pci/device.js";
import { IrqSense, SpaprIrq } from "../../hw/spapr/irq.js";
import {
  msixOf,
  PHB_BUID,
  PHB_DMA_BYTES,
  PHB_IO,
  PHB_LIOBN,
  PHB_LSIS,
  PHB_MEM32,
  PHB_MEM64,
  type SpaprPciHost,
} from "../../hw/spapr/pci-host.js";
import { cells64, FdtNode } from "../fdt/tree.js";

/** Of the interrupt controller. */
export const INTC_PHANDLE = 0x1111;
export const PHB_NODE = "pci@800000020000000";

/** Address spaces of an address's first cell. */
const Space = { config: 0, io: 0x01000000, mem32: 0x02000000, mem64: 0x03000000 } as const;
const NOT_RELOCATABLE = 0x80000000;
const SLOTS = 32;

/** Where a start without firmware puts base address registers; ports from here, so that none is at 0. */
const IO_FIRST = 0x1000;

/** Generic names by class code (24 bits): class and subclass, else the class. */
const NAMES: { readonly [classCode: number]: string } = {
  0x0000: "legacy-device",
  0x0001: "display",
  0x0100: "scsi",
  0x0101: "ide",
  0x0180: "mass-storage",
  0x0200: "ethernet",
  0x0300: "vga",
  0x0380: "display",
  0x0600: "host",
  0x0601: "isa",
  0x0780: "communication-controller",
  0x0c03: "usb",
};

/** "scsi@3", "ethernet@4,1". */
export function pciNodeName(device: PciDevice): string {
  const class16 = device.config[PciReg.classCode]! * 256 + device.config[PciReg.subclass]!;
  const { devfn } = device;
  const unit = (devfn >> 3).toString(16) + (devfn & 7 ? `,${(devfn & 7).toString(16)}` : "");
  const vendor = device.config[0]! | (device.config[1]! << 8);
  const id = device.config[2]! | (device.config[3]! << 8);
  return `${NAMES[class16] ?? (class16 >> 8 === 0 ? "legacy-device" : `pci${vendor.toString(16)},${id.toString(16)}`)}@${unit}`;
}

/** Puts every base address register somewhere in the bridge's windows, as firmware would. Largest first leaves no gaps. */
export function assignPciAddresses(functions: readonly PciDevice[]): void {
  const bars = functions.flatMap((d) => d.barList().map((b) => ({ d, b }))).filter(({ b }) => b.kind !== "rom");
  bars.sort((x, y) => y.b.size - x.b.size);
  const next: { [kind: string]: number } = { io: IO_FIRST, mem32: PHB_MEM32.bus, mem64: PHB_MEM64.bus };
  for (const { d, b } of bars) {
    const at = Math.ceil(next[b.kind]! / b.size) * b.size;
    next[b.kind] = at + b.size;
    const register = PciReg.bar0 + 4 * b.index;
    d.configWrite(register, 4, at % 2 ** 32);
    if (b.kind === "mem64") d.configWrite(register + 4, 4, Math.floor(at / 2 ** 32));
  }
}

function functionNode(device: PciDevice, assigned: boolean): FdtNode {
  const c = device.config;
  const u16 = (at: number) => c[at]! | (c[at + 1]! << 8);
  const place = device.devfn << 8;
  const reg = [place, 0, 0, 0, 0];
  const addresses: number[] = [];
  for (const b of [...device.barList()].sort((x, y) => x.index - y.index)) {
    const register = b.kind === "rom" ? PciReg.romBar : PciReg.bar0 + 4 * b.index;
    const space = b.kind === "io" ? Space.io : b.kind === "mem64" ? Space.mem64 : Space.mem32;
    reg.push(space | place | register, 0, 0, ...cells64(b.size));
    const raw = (at: number) => (u16(at) | (u16(at + 2) << 16)) >>> 0;
    if (assigned && b.kind !== "rom") {
      const low = b.kind === "io" ? raw(register) & ~3 : (raw(register) & ~15) >>> 0;
      const high = b.kind === "mem64" ? raw(register + 4) : 0;
      addresses.push((NOT_RELOCATABLE | space | place | register) >>> 0, high, low, ...cells64(b.size));
    }
  }
  const msix = msixOf(device);
  return new FdtNode(pciNodeName(device)).setAll({
    "vendor-id": u16(PciReg.vendorId),
    "device-id": u16(PciReg.deviceId),
    "revision-id": c[PciReg.revision]!,
    "class-code": c[PciReg.progIf]! | (u16(PciReg.subclass) << 8),
    interrupts: c[PciReg.interruptPin]! || undefined,
    "subsystem-id": u16(PciReg.subsystemId),
    "subsystem-vendor-id": u16(PciReg.subsystemVendor),
    "cache-line-size": 0,
    "devsel-speed": 0,
    "min-grant": 0,
    "max-latency": 0,
    "ibm,loc-code": `qemu_${device.type}:0000:00:${(device.devfn >> 3).toString(16).padStart(2, "0")}.${device.devfn & 7}`,
    "ibm,req#msi-x": msix?.entries,
    reg,
    "assigned-addresses": assigned ? addresses : undefined,
  });
}

/** The bridge's node. @param assigned base address registers have their addresses, and the nodes say so */
export function pciHostNode(host: SpaprPciHost, assigned: boolean): FdtNode {
  const interruptMap: number[] = [];
  for (let slot = 0; slot < SLOTS; slot++)
    for (let pin = 1; pin <= 4; pin++)
      interruptMap.push(slot << 11, 0, 0, pin, INTC_PHANDLE, SpaprIrq.pciLsi + ((slot + pin - 1) % PHB_LSIS), IrqSense.level);
  const range = (space: number, w: { bus: number; system: number; size: number }) => [
    space,
    ...cells64(w.bus),
    ...cells64(w.system),
    ...cells64(w.size),
  ];
  const node = new FdtNode(PHB_NODE).setAll({
    device_type: "pci",
    compatible: "IBM,Logical_PHB",
    "#address-cells": 3,
    "#size-cells": 2,
    "#interrupt-cells": 1,
    "used-by-rtas": true,
    "bus-range": [0, 0xff],
    ranges: [...range(Space.io, PHB_IO), ...range(Space.mem32, PHB_MEM32), ...range(Space.mem64, PHB_MEM64)],
    reg: [PHB_BUID.hi, PHB_BUID.lo, 0, 0],
    "ibm,pci-config-space-type": 1,
    "ibm,pe-total-#msi": SpaprIrq.msiCount,
    "interrupt-map-mask": [0xf800, 0, 0, 0xffffffff],
    "interrupt-map": interruptMap,
    "ibm,#dma-address-cells": 2,
    "ibm,#dma-size-cells": 2,
    "ibm,dma-window": [PHB_LIOBN, 0, 0, ...cells64(PHB_DMA_BYTES)],
    "qemu,phb-enumerated": 1,
  });
  node.children.push(...host.bus.devices().map((d) => functionNode(d, assigned)));
  return node;
}
