/**
 * `-device` on the pc machine: who makes what. The devices that every PC has and the short forms (-hda, -serial, -vga, ...)
 * come through here too, so that -global reaches them.
 */
import { VmError } from "../base/errors.js";
import type { Geometry } from "../block/geometry.js";
import { BootPath } from "../firmware/boot-order.js";
import { FLOPPY_TYPE, FloppyDrive } from "../hw/block/floppy-drive.js";
import type { FloppyDriveType } from "../hw/block/floppy-media.js";
import { COM_PORTS, isaSerialType, Uart16550 } from "../hw/char/uart16550.js";
import type { DeviceType } from "../hw/core/device-type.js";
import { VGA_ISA_TYPE, VgaIsa } from "../hw/display/vga-isa.js";
import { VGA_PCI_TYPE, VgaPci } from "../hw/display/vga-pci.js";
import { AtaDisk, IDE_HD } from "../hw/ide/ata-disk.js";
import { AtapiCdrom, IDE_CD } from "../hw/ide/atapi-cdrom.js";
import { Debugcon, debugconType } from "../hw/misc/debugcon.js";
import { I6300esb, i6300esbType } from "../hw/misc/i6300esb.js";
import { IsaDebugExit, isaDebugExitType } from "../hw/misc/isa-debug-exit.js";
import { PcTestdev, pcTestdevType } from "../hw/misc/pc-testdev.js";
import { PciTestdev, pciTestdevType } from "../hw/misc/pci-testdev.js";
import { Pvpanic, pvpanicType } from "../hw/misc/pvpanic.js";
import type { DeviceRecord } from "./board.js";
import type { DeviceConfig, MachineConfig } from "./config.js";
import { findDeviceType, type PropertyValues, readProperties } from "./device-properties.js";
import type { PcBoard } from "./pc.js";
import { PC_BOARD_TYPES, PIIX4_PM_TYPE } from "./pc-board-types.js";
import { type DeviceSite, num, type SiteBoard, textOf, within, withOrigin } from "./pc-device-site.js";
import { VIRTIO_MAKERS } from "./pc-virtio-devices.js";
import { PCI_NETWORK_MAKERS } from "./pci-network-devices.js";
import type { QomProperty } from "./qom.js";
import { USB_MAKERS } from "./usb-devices.js";

/** One device to make. */
export interface Order {
  readonly type: DeviceType;
  readonly props: PropertyValues;
  readonly config: DeviceConfig;
}

/** Makes the devices of one type. */
export interface Maker<B extends SiteBoard = PcBoard> {
  readonly type: DeviceType;
  /** @returns properties that change while the device lives, if any @throws VmError for what the user got wrong */
  make(site: DeviceSite<B>, order: Order): readonly QomProperty[] | void;
}

const MIB = 2 ** 20;
const IDE_SLOT = 1;
const IDE_FUNCTION = 1;
const PORT_MAX = 0xffff;

/** What a user says of a disk's shape; undefined when nothing. */
function geometry(p: PropertyValues): Geometry | undefined {
  const [cylinders, heads, sectors] = [num(p.cyls)!, num(p.heads)!, num(p.secs)!];
  if (cylinders === 0 && heads === 0 && sectors === 0) return undefined;
  return {
    cylinders: within("cyls", cylinders, 1, 65535),
    heads: within("heads", heads, 1, 16),
    sectors: within("secs", sectors, 1, 255),
    translation: cylinders <= 1024 ? "none" : "lba",
  };
}

/** Where an IDE drive goes: the place it names, or the first that is free. */
function idePlace(site: DeviceSite, { type, props, config }: Order): { channel: 0 | 1; unit: 0 | 1 } {
  const { channels } = site.board.ide;
  const free = (channel: 0 | 1) => ([0, 1] as const).find((u) => !channels[channel].at(u));
  let channel: 0 | 1 = site.bus(type, config).name === "ide.1" ? 1 : 0;
  if (config.bus === undefined && props.unit === undefined && free(0) === undefined) channel = 1;
  const wanted = num(props.unit);
  if (wanted !== undefined && wanted > 1)
    throw new VmError("device/invalid-property", `Can't create IDE unit ${wanted}, bus supports only 2 units`);
  const unit = wanted === undefined ? free(channel) : (wanted as 0 | 1);
  if (unit === undefined || channels[channel].at(unit))
    throw new VmError("device/invalid-property", `IDE unit ${unit ?? 1} is in use`);
  return { channel, unit };
}

/** The display adapter there can be, and what it needs of the machine. */
function claimDisplay(board: PcBoard): void {
  if (board.vga) throw new VmError("device/invalid-property", "there can be only one display adapter");
}

function vgaMemory(p: PropertyValues): number {
  const mb = num(p.vgamem_mb)!;
  if (mb < 1 || mb > 256 || 2 ** Math.round(Math.log2(mb)) !== mb)
    throw new VmError("device/invalid-property", `vgamem_mb=${mb}: a power of two from 1 to 256`);
  return mb * MIB;
}

const FLOPPY_TYPES: { readonly [name: string]: FloppyDriveType | undefined } = {
  "120": "120",
  "144": "144",
  "288": "288",
  auto: undefined,
};

/** QEMU's words for what pvpanic tells. */
const PANIC = { panicked: "panicked", crashloaded: "crash-loaded" } as const;

const MAKERS: readonly Maker[] = [
  {
    type: IDE_HD,
    make(site, order) {
      const { props, config } = order;
      const { channel, unit } = idePlace(site, order);
      const drive = site.drive(props.drive);
      if (!drive) throw new VmError("device/invalid-property", "No drive specified");
      if (!drive.backend) throw new VmError("device/invalid-property", "Device needs media, but drive is empty");
      if (drive.media === "cdrom") throw new VmError("device/invalid-property", "ide-hd cannot use a drive with media=cdrom");
      const device = new AtaDisk(
        site.board.ctx,
        drive,
        {
          serial: textOf("serial", props.serial, 20) ?? drive.serial,
          model: textOf("model", props.model, 40),
          firmware: textOf("ver", props.ver, 8),
          geometry: geometry(props),
        },
        config.id,
      );
      site.board.ide.channels[channel].attach(device, unit);
      site.bootIndex(props.bootindex, BootPath.ide(IDE_SLOT, IDE_FUNCTION, channel, unit));
    },
  },
  {
    type: IDE_CD,
    make(site, order) {
      const { props, config } = order;
      const { channel, unit } = idePlace(site, order);
      const drive = site.drive(props.drive) ?? site.emptyDrive(config.id ?? `ide${channel}-cd${unit}`, "cdrom");
      const device = new AtapiCdrom(
        site.board.ctx,
        drive,
        {
          serial: textOf("serial", props.serial, 20) ?? drive.serial,
          model: textOf("model", props.model, 40),
          firmware: textOf("ver", props.ver, 8),
        },
        config.id,
      );
      site.board.ide.channels[channel].attach(device, unit);
      site.bootIndex(props.bootindex, BootPath.ide(IDE_SLOT, IDE_FUNCTION, channel, unit));
    },
  },
  {
    type: FLOPPY_TYPE,
    make(site, { type, props, config }) {
      site.bus(type, config);
      const { floppies } = site.board;
      const unit = num(props.unit) ?? [0, 1].find((u) => !floppies[u]) ?? 0;
      if (unit > 1) throw new VmError("device/invalid-property", `Can't create floppy unit ${unit}, bus supports only 2 units`);
      if (floppies[unit]) throw new VmError("device/invalid-property", `Floppy unit ${unit} is in use`);
      const kind = String(props["drive-type"]);
      if (!Object.hasOwn(FLOPPY_TYPES, kind))
        throw new VmError("device/invalid-property", `drive-type=${kind}: expected 144, 288, 120 or auto`);
      const drive = site.drive(props.drive) ?? site.emptyDrive(config.id ?? `floppy${unit}`, "floppy");
      floppies[unit] = new FloppyDrive(drive, FLOPPY_TYPES[kind]);
      site.bootIndex(props.bootindex, BootPath.floppy(unit));
    },
  },
  {
    type: VGA_PCI_TYPE,
    make(site, { type, props, config }) {
      const { board } = site;
      site.bus(type, config);
      claimDisplay(board);
      const device = new VgaPci(board.ctx, {
        vram: board.ram.allocate("vga.vram", vgaMemory(props)),
        rom: board.files.vgaBios ? board.romBlock("vga.rom", board.files.vgaBios) : undefined,
        id: config.id,
        preferred: { width: within("xres", num(props.xres)!, 1, 8192), height: within("yres", num(props.yres)!, 1, 8192) },
      });
      site.attachPci(device, props);
      board.vga = device;
    },
  },
  {
    type: VGA_ISA_TYPE,
    make(site, { type, props, config }) {
      const { board } = site;
      site.bus(type, config);
      claimDisplay(board);
      const device = new VgaIsa(board.ctx, board.ram.allocate("vga.vram", vgaMemory(props)), config.id);
      board.addDevice(device);
      board.vga = device;
    },
  },
  {
    type: isaSerialType,
    make(site, { type, props, config }) {
      site.bus(type, config);
      const { board } = site;
      const index = num(props.index) ?? board.nextSerial;
      const standard = COM_PORTS[index];
      if (!standard)
        throw new VmError("device/invalid-property", `Max. supported number of ISA serial ports is ${COM_PORTS.length}.`);
      board.nextSerial = index + 1;
      const irq = within("irq", num(props.irq) ?? standard.irq, 0, 15);
      const base = within("iobase", num(props.iobase) ?? standard.base, 0, PORT_MAX - 7);
      const uart = new Uart16550(board.ctx, board.irq(irq), site.chardev(props.chardev), { id: config.id });
      uart.map(board.io, base);
      board.addDevice(uart);
      if (!board.serials[index]) board.serials[index] = { uart, base, irq };
    },
  },
  {
    type: debugconType,
    make(site, { type, props, config }) {
      site.bus(type, config);
      const chardev = site.chardev(props.chardev);
      if (!chardev) throw new VmError("device/invalid-property", "Can't create debugcon device, empty char device");
      const iobase = within("iobase", num(props.iobase)!, 0, PORT_MAX);
      const device = new Debugcon(chardev, { id: config.id, iobase, readback: num(props.readback)! });
      device.map(site.board.io);
      site.board.addDevice(device);
    },
  },
  {
    type: isaDebugExitType,
    make(site, { type, props, config }) {
      site.bus(type, config);
      const { board } = site;
      const iosize = within("iosize", num(props.iosize)!, 1, 4);
      const device = new IsaDebugExit({
        id: config.id,
        iobase: within("iobase", num(props.iobase)!, 0, PORT_MAX + 1 - iosize),
        iosize,
        onExit: (status) => board.request({ kind: "exit", status }),
      });
      device.map(board.io);
      board.addDevice(device);
    },
  },
  {
    type: pvpanicType,
    make(site, { type, props, config }) {
      site.bus(type, config);
      const { board } = site;
      const device = new Pvpanic(board.ctx, {
        id: config.id,
        ioport: num(props.ioport)!,
        events: num(props.events)!,
        onEvent: (event) =>
          board.request(
            event === "shutdown" ? { kind: "shutdown", reason: "guest-shutdown" } : { kind: "panic", action: PANIC[event] },
          ),
      });
      device.map(board.io);
      board.addDevice(device);
    },
  },
  {
    type: pcTestdevType,
    make(site, { type, config }) {
      site.bus(type, config);
      const { board } = site;
      const device = new PcTestdev({ id: config.id, gsi: Array.from({ length: 24 }, (_, n) => board.gsi(n)) });
      device.map(board.io, board.memory);
      board.addDevice(device);
    },
  },
  {
    type: pciTestdevType,
    make(site, { type, props, config }) {
      site.bus(type, config);
      site.attachPci(new PciTestdev(site.board.ctx, config.id), props);
    },
  },
  ...PCI_NETWORK_MAKERS,
  {
    type: i6300esbType,
    make(site, { props, config }) {
      const { board } = site;
      const device = new I6300esb(board.ctx, config.id);
      device.onExpired = () => board.request({ kind: "watchdog" });
      site.attachPci(device, props);
    },
  },
  ...USB_MAKERS,
  ...VIRTIO_MAKERS,
];

/** Types that `-device` makes on this board. */
export const PC_DEVICE_TYPES: readonly DeviceType[] = MAKERS.map((m) => m.type);

/** What a configuration asks for without `-device`: display, serial ports, drives. They come before the user's devices. */
function standardDevices(config: MachineConfig): DeviceConfig[] {
  const out: DeviceConfig[] = [];
  if (config.vga === "std") out.push({ driver: VGA_PCI_TYPE.name, props: { addr: "2" }, origin: "-vga std" });
  for (const [n, s] of config.serials.entries())
    if (s.chardev !== undefined)
      out.push({ driver: isaSerialType.name, props: { index: String(n), chardev: s.chardev }, origin: "-serial" });
  for (const d of config.drives) {
    if (d.if === "ide")
      out.push({
        driver: d.media === "cdrom" ? IDE_CD.name : IDE_HD.name,
        bus: `ide.${d.index >> 1}`,
        props: { unit: String(d.index & 1), drive: d.id },
        origin: d.origin,
      });
    if (d.if === "floppy")
      out.push({ driver: FLOPPY_TYPE.name, props: { unit: String(d.index), drive: d.id }, origin: d.origin });
  }
  return out;
}

/** What a `-device` asks for, with its maker. @throws VmError */
export function orderOf(device: DeviceConfig, globals: MachineConfig["globals"]): Order & { readonly maker: Maker } {
  const type = findDeviceType(PC_DEVICE_TYPES, device.driver);
  const maker = MAKERS.find((m) => m.type === type);
  if (!maker) throw new VmError("device/unknown", `${device.origin}: '${device.driver}' is not a valid device model name`);
  return { maker, type: maker.type, props: readProperties(maker.type, device, globals), config: device };
}

function orders(config: MachineConfig): (Order & { readonly maker: Maker })[] {
  for (const g of config.globals) {
    const type = findDeviceType(PC_DEVICE_TYPES, g.driver) ?? PC_BOARD_TYPES.find((t) => t.name === g.driver);
    if (!type) throw new VmError("device/unknown", `${g.origin}: '${g.driver}' is not a valid device model name`);
    // Checks the property, whether or not there is such a device.
    const values = readProperties(type, { props: {}, origin: g.origin }, [g]);
    if (type === PIIX4_PM_TYPE && values[g.property] === 0)
      throw new VmError("option/unsupported", `${g.origin}: sleep states are not supported; ${g.property}=1`);
  }
  return [...standardDevices(config), ...config.devices].map((device) => orderOf(device, config.globals));
}

/** Makes one device. @throws VmError naming the option */
export function makeDevice(site: DeviceSite, order: Order & { readonly maker: Maker }, hotplugged: boolean): DeviceRecord {
  const { board } = site;
  const before = board.devices().length;
  const dynamic = withOrigin(order.config.origin, () => order.maker.make(site, order));
  return {
    type: order.type,
    id: order.config.id,
    place: hotplugged || board.config.devices.includes(order.config) ? "peripheral" : "unattached",
    values: order.props,
    hotplugged,
    device: board.devices()[before],
    dynamic: dynamic ?? undefined,
  };
}

/** The display adapter a configuration asks for: how much memory, and which BIOS it has. @throws VmError naming the option */
export function displayNeeds(config: MachineConfig): { readonly vramBytes: number; readonly bios: string | undefined } {
  for (const { type, props, config: device } of orders(config))
    if (type === VGA_PCI_TYPE || type === VGA_ISA_TYPE)
      return {
        vramBytes: withOrigin(device.origin, () => vgaMemory(props)),
        bios: type === VGA_PCI_TYPE ? "vgabios-stdvga.bin" : "vgabios-isavga.bin",
      };
  return { vramBytes: 0, bios: undefined };
}

/** Makes every device of the configuration that is not the board's own. @throws VmError naming the option */
export function addDevices(site: DeviceSite): void {
  const { board } = site;
  for (const order of orders(board.config)) board.deviceRecords.push(makeDevice(site, order, false));
}
