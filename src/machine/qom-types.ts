/**
 * The types of the object tree, derived from how devices, CPU models, machines, accelerators and user-creatable objects
 * are declared. Source of the names: QEMU 7.2.
 */
import type { BusKind, DeviceProperty, DeviceType } from "../hw/core/device-type.js";
import { featureProperties } from "../target/x86/cpu-models.js";
import { ACCELERATORS, MACHINE_TYPES } from "./catalog.js";
import type { GuestArch } from "./config.js";
import { cpuBaseType, cpuModelNames, cpuTypeName } from "./cpu-types.js";
import { commonProperties, KIND_WORD } from "./device-properties.js";
import { deviceTypes } from "./device-types.js";
import { OBJECT_TYPES } from "./object-types.js";
import { PC_BOARD_TYPES } from "./pc-board-types.js";

/** A property as introspection shows it. */
export interface PropertyInfo {
  readonly name: string;
  readonly type: string;
  readonly description?: string | undefined;
  readonly default?: string | number | boolean | undefined;
}

export interface QomType {
  readonly name: string;
  readonly parent: string | undefined;
  readonly abstract: boolean;
  readonly properties: readonly PropertyInfo[];
  /** A device: `device-list-properties` answers for it. */
  readonly device: boolean;
}

/** The abstract parent of the devices on a bus. */
const BUS_PARENT: { readonly [K in BusKind]: string } = {
  pci: "pci-device",
  isa: "isa-device",
  ide: "ide-device",
  scsi: "scsi-device",
  usb: "usb-device",
  i2c: "i2c-slave",
  floppy: "device",
  virtio: "virtio-device",
  "virtio-serial": "virtio-serial-port",
  sysbus: "sys-bus-device",
  "spapr-vio": "vio-spapr-device",
  none: "device",
};

export function propertyInfo(p: DeviceProperty): PropertyInfo {
  return { name: p.name, type: KIND_WORD[p.type], description: p.description, default: p.default };
}

function deviceType(type: DeviceType, name = type.name): QomType {
  return {
    name,
    parent: BUS_PARENT[type.bus],
    abstract: false,
    device: true,
    properties: [...type.properties, ...commonProperties(type)].map(propertyInfo),
  };
}

const abstractType = (name: string, parent: string | undefined): QomType => ({
  name,
  parent,
  abstract: true,
  device: false,
  properties: [],
});

const plain = (name: string, parent: string, properties: readonly PropertyInfo[] = []): QomType => ({
  name,
  parent,
  abstract: false,
  device: false,
  properties,
});

/** Properties of every x86 CPU type. */
export function cpuProperties(): PropertyInfo[] {
  return [
    { name: "unavailable-features", type: "strList" },
    { name: "check", type: "bool", default: true },
    { name: "enforce", type: "bool", default: false },
    ...featureProperties().map((name) => ({ name, type: "bool" })),
  ];
}

const cache = new Map<GuestArch, ReadonlyMap<string, QomType>>();

/** All types by name. */
export function qomTypes(arch: GuestArch): ReadonlyMap<string, QomType> {
  const found = cache.get(arch);
  if (found) return found;
  const list: QomType[] = [
    abstractType("object", undefined),
    abstractType("device", "object"),
    abstractType("bus", "object"),
    abstractType("machine", "object"),
    abstractType("accel", "object"),
    abstractType("cpu", "device"),
    abstractType(cpuBaseType(arch), "cpu"),
    plain("container", "object"),
    ...[...new Set(Object.values(BUS_PARENT))].filter((p) => p !== "device").map((p) => abstractType(p, "device")),
    ...ACCELERATORS.map((a) => plain(`${a.name}-accel`, "accel")),
    ...MACHINE_TYPES.filter((m) => m.archs.includes(arch)).map((m) =>
      plain(
        `${m.canonical}-machine`,
        "machine",
        m.properties.map((p) => ({
          name: p.name,
          type: p.accepts.every((v) => v === "on" || v === "off") ? "bool" : "string",
          description: p.description,
        })),
      ),
    ),
    ...cpuModelNames(arch).map((name) => ({
      ...plain(cpuTypeName(arch, name), cpuBaseType(arch), arch === "ppc64" ? [] : cpuProperties()),
      device: true,
    })),
    ...OBJECT_TYPES.map((o) =>
      plain(
        o.name,
        "object",
        o.properties.map((name) => ({ name, type: "string" })),
      ),
    ),
    ...deviceTypes(arch).flatMap((t) => [t.name, ...t.aliases].map((name) => deviceType(t, name))),
    ...(arch === "ppc64" ? [] : PC_BOARD_TYPES).map((t) => deviceType(t)),
  ];
  const types = new Map(list.map((t) => [t.name, t]));
  cache.set(arch, types);
  return types;
}

/** Whether a type is another one or comes from it. */
export function implementsType(types: ReadonlyMap<string, QomType>, name: string, ancestor: string): boolean {
  for (let t = types.get(name); t; t = t.parent === undefined ? undefined : types.get(t.parent))
    if (t.name === ancestor) return true;
  return false;
}
