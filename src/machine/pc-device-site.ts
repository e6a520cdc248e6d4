/** What the devices of one machine take as they are made: buses by name, drives, boot indices. */
import { VmError, type VmErrorCode } from "../base/errors.js";
import type { Drive } from "../block/backend.js";
import { DriveState } from "../block/drive.js";
import type { BootDevice } from "../firmware/boot-order.js";
import type { Chardev } from "../host/chardev.js";
import type { Device, DeviceContext } from "../hw/core/device.js";
import type { BusKind, DeviceType } from "../hw/core/device-type.js";
import { parsePciAddress } from "../hw/pci/bus.js";
import type { PciDevice } from "../hw/pci/device.js";
import type { Uhci } from "../hw/usb/uhci.js";
import type { VirtioBalloon } from "../hw/virtio/balloon.js";
import type { VirtioSerial } from "../hw/virtio/console.js";
import type { VirtioScsi } from "../hw/virtio/scsi.js";
import { formatMac } from "../net/address.js";
import type { NetBackend } from "../net/backend.js";
import type { InputHub } from "../ui/input.js";
import type { BoardParts } from "./board.js";
import type { DeviceConfig, MachineConfig } from "./config.js";
import type { PropertyValue, PropertyValues } from "./device-properties.js";
import type { MachineEvent } from "./events.js";
import type { PcBoard } from "./pc.js";

/** Buses the board has itself; a virtio-serial device brings its own. */
const BOARD_BUSES: readonly { readonly name: string; readonly kind: BusKind }[] = [
  { name: "pci.0", kind: "pci" },
  { name: "isa.0", kind: "isa" },
  { name: "ide.0", kind: "ide" },
  { name: "ide.1", kind: "ide" },
  { name: "floppy-bus.0", kind: "floppy" },
];

/** Bus kinds as QEMU's messages call them. */
const KIND_TEXT: { readonly [K in BusKind]?: string } = {
  pci: "PCI",
  isa: "ISA",
  ide: "IDE",
  floppy: "floppy-bus",
  usb: "usb-bus",
  "virtio-serial": "virtio-serial-bus",
  scsi: "SCSI",
  "spapr-vio": "spapr-vio-bus",
};

/** What every board offers the makers of its devices. */
export interface SiteBoard {
  readonly config: MachineConfig;
  /** For devices that reach memory by its real address, as virtio does. */
  readonly ctx: DeviceContext;
  /** For PCI functions: what their base address registers are mapped in. */
  readonly pciCtx: DeviceContext;
  readonly bootDevices: BootDevice[];
  balloon: VirtioBalloon | undefined;
  /** Where keys and pointers of displays go. */
  readonly inputs?: InputHub | undefined;
  /** Tells the machine's owner what happened. */
  onEvent?: (event: MachineEvent) => void;
  sendMsi(address: number, data: number): void;
  addDevice(device: Device): void;
  addDrive(drive: Drive): void;
  removeDrive?(id: string): void;
  attachPci(device: PciDevice, devfn: number | undefined, multifunction: boolean): void;
}

export interface Bus {
  readonly name: string;
  readonly kind: BusKind;
  readonly serial?: VirtioSerial;
  readonly usb?: Uhci;
  readonly scsi?: { readonly host: VirtioScsi; readonly devfn: number };
}

/** First Ethernet address that a card without one gets; the next cards count on. */
const FIRST_MAC = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];

/** State shared by all makers of one board. */
export class DeviceSite<B extends SiteBoard = PcBoard> {
  private readonly buses: Bus[];
  private readonly drivesInUse = new Set<string>();
  private readonly bootIndices = new Set<number>();
  private nextMac = 0;
  private lastMac = Uint8Array.from(FIRST_MAC);
  private cards = 0;

  constructor(
    readonly board: B,
    readonly parts: BoardParts,
    buses: readonly Bus[] = BOARD_BUSES,
  ) {
    this.buses = [...buses];
  }

  /** The bus of a `-device`: the one it names, or its kind's first. @throws VmError */
  bus(type: DeviceType, config: DeviceConfig): Bus {
    const wanted = config.bus;
    if (wanted === undefined) {
      const first = this.buses.find((b) => b.kind === type.bus);
      if (!first)
        throw new VmError("device/no-bus", `No '${KIND_TEXT[type.bus] ?? type.bus}' bus found for device '${type.name}'`);
      return first;
    }
    const found = this.buses.find((b) => b.name === wanted);
    if (!found) throw new VmError("device/no-bus", `Bus '${wanted}' not found`);
    if (found.kind !== type.bus)
      throw new VmError("device/no-bus", `Device '${type.name}' can't go on ${KIND_TEXT[found.kind]} bus`);
    return found;
  }

  addSerialBus(id: string | undefined, serial: VirtioSerial): void {
    const n = this.buses.filter((b) => b.kind === "virtio-serial").length;
    this.buses.push({ name: id === undefined ? `virtio-serial-bus.${n}` : `${id}.0`, kind: "virtio-serial", serial });
  }

  addUsbBus(id: string | undefined, usb: Uhci): void {
    const n = this.buses.filter((b) => b.kind === "usb").length;
    this.buses.push({ name: id === undefined ? `usb-bus.${n}` : `${id}.0`, kind: "usb", usb });
  }

  addScsiBus(id: string | undefined, host: VirtioScsi, devfn: number): void {
    const n = this.buses.filter((b) => b.kind === "scsi").length;
    this.buses.push({ name: id === undefined ? `scsi.${n}` : `${id}.0`, kind: "scsi", scsi: { host, devfn } });
  }

  /** The drive of a `drive=` property, for one device only. @throws VmError */
  drive(property: PropertyValue | undefined): Drive | undefined {
    if (property === undefined) return undefined;
    const id = String(property);
    if (this.drivesInUse.has(id)) throw new VmError("device/invalid-property", `Drive '${id}' is already in use`);
    this.drivesInUse.add(id);
    const drive = this.parts.drive(id);
    this.board.addDrive(drive);
    return drive;
  }

  /** A drive that holds nothing, for a removable device without `drive=`. */
  emptyDrive(id: string, media: "cdrom" | "floppy"): Drive {
    const drive = new DriveState({ id, media });
    this.board.addDrive(drive);
    return drive;
  }

  chardev(property: PropertyValue | undefined): Chardev | undefined {
    return property === undefined ? undefined : this.parts.chardev(String(property));
  }

  /** Remembers a `bootindex`. @throws VmError when another device has it */
  bootIndex(property: PropertyValue | undefined, path: string): void {
    if (property === undefined) return;
    const index = Number(property);
    if (this.bootIndices.has(index)) throw new VmError("device/invalid-property", `The bootindex ${index} has already been used`);
    this.bootIndices.add(index);
    this.board.bootDevices.push({ path, index });
  }

  /** Puts a function where `addr=` says, or into the first free slot. @returns its devfn */
  attachPci(device: PciDevice, props: PropertyValues): number {
    const devfn = props.addr === undefined ? undefined : parsePciAddress(String(props.addr));
    this.board.attachPci(device, devfn, props.multifunction === true);
    return device.devfn;
  }

  /** The network of a card's `netdev=`. @throws VmError when there is none of that name, or another card has it */
  netdev(
    property: PropertyValue | undefined,
    order: { readonly type: DeviceType; readonly config: DeviceConfig },
  ): NetBackend | undefined {
    const model = order.type.name;
    const card = { model, name: order.config.id ?? `${model}.${this.cards++}`, mac: formatMac(this.lastMac) };
    if (property !== undefined) return this.parts.netdev(String(property), card);
    this.parts.looseCard(card);
    return undefined;
  }

  /** A device with these properties is no more: what it had is free. */
  release(values: PropertyValues): void {
    if (values.drive !== undefined) {
      this.drivesInUse.delete(String(values.drive));
      this.board.removeDrive?.(String(values.drive));
    }
    const index = values.bootindex === undefined ? undefined : Number(values.bootindex);
    if (index === undefined) return;
    this.bootIndices.delete(index);
    const at = this.board.bootDevices.findIndex((d) => d.index === index);
    if (at >= 0) this.board.bootDevices.splice(at, 1);
  }

  /** The Ethernet address of a card. */
  mac(property: PropertyValue | undefined): Uint8Array {
    if (property !== undefined)
      this.lastMac = Uint8Array.from(
        String(property)
          .split(":")
          .map((b) => Number.parseInt(b, 16)),
      );
    else {
      this.lastMac = Uint8Array.from(FIRST_MAC);
      this.lastMac[5] = (this.lastMac[5]! + this.nextMac++) & 255;
    }
    return this.lastMac;
  }
}

/** A number that was given or has a default; undefined where there is none. */
export function num(value: PropertyValue | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}

/** @throws VmError when the number is not within the bounds */
export function within(name: string, value: number, min: number, max: number): number {
  if (!(value >= min && value <= max))
    throw new VmError("device/invalid-property", `${name} must be between ${min} and ${max}, not ${value}`);
  return value;
}

export function text(value: PropertyValue | undefined): string | undefined {
  return value === undefined ? undefined : String(value);
}

/** @throws VmError when the text is longer */
export function textOf(name: string, value: PropertyValue | undefined, max: number): string | undefined {
  const t = text(value);
  if (t !== undefined && (t.length > max || !/^[\x20-\x7e]*$/.test(t)))
    throw new VmError("device/invalid-property", `${name}=${t}: at most ${max} printable characters`);
  return t;
}

/** Puts the option as written before an error that does not name it yet. */
export function withOrigin<T>(origin: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (!(cause instanceof VmError) || cause.message.startsWith(`${origin}:`)) throw cause;
    throw new VmError(cause.code satisfies VmErrorCode, `${origin}: ${cause.message}`, { cause });
  }
}
