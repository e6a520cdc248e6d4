/** `-device` on the pseries machine: virtio and network cards on its PCI bus, terminals and a random number source on the virtual I/O bus. */
import { VmError } from "../base/errors.js";
import type { DeviceType } from "../hw/core/device-type.js";
import { SpaprVty, spaprVtyType } from "../hw/spapr/vty.js";
import type { BoardParts } from "./board.js";
import type { DeviceConfig, MachineConfig } from "./config.js";
import { findDeviceType, readProperties } from "./device-properties.js";
import { type Bus, DeviceSite, num, within, withOrigin } from "./pc-device-site.js";
import type { Maker, Order } from "./pc-devices.js";
import { checkRng, VIRTIO_MAKERS } from "./pc-virtio-devices.js";
import { PCI_NETWORK_MAKERS } from "./pci-network-devices.js";
import type { PseriesBoard } from "./pseries.js";

const BUSES: readonly Bus[] = [
  { name: "pci.0", kind: "pci" },
  { name: "spapr-vio", kind: "spapr-vio" },
];

/** Unit addresses of virtual I/O devices count from here. */
export const VIO_FIRST_UNIT = 0x71000000;
const VIO_UNITS = 0x100;

const spaprRngType: DeviceType = {
  name: "spapr-rng",
  aliases: [],
  bus: "spapr-vio",
  category: "misc",
  description: "random numbers by hypervisor call (H_RANDOM)",
  properties: [{ name: "rng", type: "str", default: undefined, description: "ID of the rng object" }],
};

const MAKERS: readonly Maker<PseriesBoard>[] = [
  {
    type: spaprVtyType,
    make(site, { type, props, config }) {
      site.bus(type, config);
      const { board } = site;
      const unit = within("reg", num(props.reg) ?? board.freeVioUnit(), VIO_FIRST_UNIT, VIO_FIRST_UNIT + VIO_UNITS - 1);
      if (board.vioUnits.has(unit))
        throw new VmError("device/invalid-property", `reg=0x${unit.toString(16)}: the address is in use`);
      board.vioUnits.add(unit);
      const irq = board.vioIrq(unit);
      const tty = new SpaprVty(unit, site.chardev(props.chardev), () => board.pulse(irq), config.id);
      board.ttys.push(tty);
      board.addDevice(tty);
    },
  },
  {
    type: spaprRngType,
    make(site, { type, props, config }) {
      site.bus(type, config);
      if (props.rng === undefined) throw new VmError("device/invalid-property", "spapr-rng needs an RNG backend: rng=ID");
      checkRng(site, String(props.rng));
      site.board.random = true;
    },
  },
  ...PCI_NETWORK_MAKERS,
  ...VIRTIO_MAKERS,
];

/** Types that `-device` makes on this board. */
export const PSERIES_DEVICE_TYPES: readonly DeviceType[] = MAKERS.map((m) => m.type);

/** What a configuration asks for without `-device`: the serial ports. */
function standardDevices(config: MachineConfig): DeviceConfig[] {
  return config.serials.flatMap((s) =>
    s.chardev === undefined ? [] : [{ driver: spaprVtyType.name, props: { chardev: s.chardev }, origin: "-serial" }],
  );
}

function orders(config: MachineConfig): (Order & { readonly maker: Maker<PseriesBoard> })[] {
  for (const g of config.globals) {
    const type = findDeviceType(PSERIES_DEVICE_TYPES, g.driver);
    if (!type) throw new VmError("device/unknown", `${g.origin}: '${g.driver}' is not a valid device model name`);
    readProperties(type, { props: {}, origin: g.origin }, [g]);
  }
  return [...standardDevices(config), ...config.devices].map((device) => {
    const type = findDeviceType(PSERIES_DEVICE_TYPES, device.driver);
    const maker = MAKERS.find((m) => m.type === type);
    if (!maker)
      throw new VmError("device/unknown", `${device.origin}: '${device.driver}' is not a device of the pseries machine`);
    return { maker, type: maker.type, props: readProperties(maker.type, device, config.globals), config: device };
  });
}

/** Makes every device of the configuration. @throws VmError naming the option */
export function addPseriesDevices(board: PseriesBoard, parts: BoardParts): void {
  const { config } = board;
  for (const d of config.drives)
    if (d.if !== "virtio" && d.if !== "none")
      throw new VmError("option/unsupported", `${d.origin}: if=${d.if} is not supported on pseries; use -drive if=virtio`);
  const site = new DeviceSite<PseriesBoard>(board, parts, BUSES);
  for (const order of orders(config)) withOrigin(order.config.origin, () => order.maker.make(site, order));
}

/** An Open Firmware path of the pc machine's PCI bus as SLOF names it. */
export function slofBootPath(path: string, host: string): string {
  return path.replace(/^\/pci@i0cf8\//, `/${host}/`);
}
