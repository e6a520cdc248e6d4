/** The declaration of a `-device` type: data beside the device's class, from which option parser, help and object tree derive. */

/** What kind of value a property takes; `size` accepts k/M/G suffixes, the reference kinds name an object by its id. */
export type PropertyKind =
  | "bool"
  | "uint8"
  | "uint16"
  | "uint32"
  | "uint64"
  | "size"
  | "str"
  | "drive"
  | "chardev"
  | "netdev"
  | "macaddr"
  | "pci-address"
  | "on-off-auto";

/** One property of a device, under QEMU's name. */
export interface DeviceProperty {
  readonly name: string;
  readonly type: PropertyKind;
  /** What holds when the user says nothing; `undefined` when there is no value. `on-off-auto` defaults are their word. */
  readonly default: string | number | boolean | undefined;
  /** One line for `-device NAME,help`. */
  readonly description: string;
}

/** The bus a device plugs into, in QEMU's short words; "none" for a device that is wired by the board alone. */
export type BusKind =
  | "pci"
  | "isa"
  | "ide"
  | "scsi"
  | "usb"
  | "i2c"
  | "floppy"
  | "virtio"
  | "virtio-serial"
  | "spapr-vio"
  | "sysbus"
  | "none";

/** The heading a device stands under in `-device help`. */
export type DeviceCategory =
  | "bridge"
  | "usb"
  | "storage"
  | "network"
  | "input"
  | "display"
  | "sound"
  | "cpu"
  | "watchdog"
  | "misc";

/** A device type that the user can name. */
export interface DeviceType {
  /** QEMU's type name, e.g. "virtio-blk-pci". */
  readonly name: string;
  readonly aliases: readonly string[];
  readonly bus: BusKind;
  readonly category: DeviceCategory;
  readonly description: string;
  readonly properties: readonly DeviceProperty[];
}
