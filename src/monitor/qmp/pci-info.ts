/** `query-pci`. Source: QEMU 7.2 qapi/pci.json. */
import { type PciDevice, PciReg } from "../../hw/pci/device.js";

function functionInfo(device: PciDevice, bus: number) {
  const word = (offset: number) => device.configRead(offset, 2);
  const pin = device.config[PciReg.interruptPin]!;
  return {
    bus,
    slot: device.devfn >> 3,
    function: device.devfn & 7,
    class_info: { class: word(PciReg.subclass) },
    id: { vendor: word(PciReg.vendorId), device: word(PciReg.deviceId) },
    irq: pin > 0 ? device.config[PciReg.interruptLine] : undefined,
    irq_pin: pin,
    qdev_id: device.id ?? "",
    regions: device
      .barList()
      .filter((b) => b.kind !== "rom")
      .map((b) => ({
        bar: b.index,
        type: b.kind === "io" ? "io" : "memory",
        address: b.address,
        size: b.size,
        ...(b.kind === "io"
          ? {}
          : { prefetch: (device.config[PciReg.bar0 + 4 * b.index]! & 8) !== 0, mem_type_64: b.kind === "mem64" }),
      })),
  };
}

/** Buses with their functions in order. */
export function pciInfo(functions: readonly { readonly bus: number; readonly device: PciDevice }[]) {
  const buses = [...new Set(functions.map((f) => f.bus))].sort((a, b) => a - b);
  return buses.map((bus) => ({
    bus,
    devices: functions
      .filter((f) => f.bus === bus)
      .sort((a, b) => a.device.devfn - b.device.devfn)
      .map((f) => functionInfo(f.device, bus)),
  }));
}
