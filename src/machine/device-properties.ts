/** Reads the properties of a `-device` against the type's declaration. */
import { VmError } from "../base/errors.js";
import type { BusKind, DeviceProperty, DeviceType, PropertyKind } from "../hw/core/device-type.js";
import type { DeviceConfig, GlobalConfig } from "./config.js";

/** A property's value as a device's constructor takes it; `uint64` and `size` beyond 2^53 are bigint. */
export type PropertyValue = string | number | bigint | boolean;
export type PropertyValues = { readonly [name: string]: PropertyValue | undefined };

/** Properties every device on a bus has. */
const BY_BUS: { readonly [K in BusKind]?: readonly DeviceProperty[] } = {
  pci: [
    {
      name: "addr",
      type: "pci-address",
      default: undefined,
      description: "Slot and optional function number, example: 06.0 or 06",
    },
    { name: "multifunction", type: "bool", default: false, description: "on/off" },
  ],
  ide: [{ name: "unit", type: "uint32", default: undefined, description: "0 = master, 1 = slave" }],
  "virtio-serial": [{ name: "nr", type: "uint32", default: undefined, description: "port number" }],
};

/** What a device has of its bus, less what its own declaration says. */
export function commonProperties(type: DeviceType): readonly DeviceProperty[] {
  return (BY_BUS[type.bus] ?? []).filter((p) => !type.properties.some((q) => q.name === p.name));
}

export function findDeviceType(types: readonly DeviceType[], name: string): DeviceType | undefined {
  return types.find((t) => t.name === name || t.aliases.includes(name));
}

/** The text of `-device NAME,help`. */
export function propertyHelp(type: DeviceType): string {
  const rows = [...type.properties, ...commonProperties(type)].sort((a, b) => (a.name < b.name ? -1 : 1));
  const line = (p: DeviceProperty) => {
    const shown = typeof p.default === "boolean" ? (p.default ? "on" : "off") : p.default;
    const left = `  ${p.name}=<${KIND_WORD[p.type]}>`;
    return `${left.padEnd(23)} - ${p.description}${shown === undefined ? "" : ` (default: ${shown})`}\n`;
  };
  return `${type.name} options:\n${rows.map(line).join("")}`;
}

/** Property kinds as QEMU names them. */
export const KIND_WORD: { readonly [K in PropertyKind]: string } = {
  bool: "bool",
  uint8: "uint8",
  uint16: "uint16",
  uint32: "uint32",
  uint64: "uint64",
  size: "size",
  str: "str",
  drive: "str",
  chardev: "str",
  netdev: "str",
  macaddr: "str",
  "pci-address": "int32",
  "on-off-auto": "OnOffAuto",
};

const BITS: { readonly [kind: string]: number } = { uint8: 8, uint16: 16, uint32: 32, uint64: 64, size: 64 };
const SUFFIX: { readonly [letter: string]: bigint } = {
  B: 1n,
  K: 2n ** 10n,
  M: 2n ** 20n,
  G: 2n ** 30n,
  T: 2n ** 40n,
  P: 2n ** 50n,
};

/**
 * Reads one value. PCI addresses stay text (`parsePciAddress` reads them), so do MAC addresses: lower case, with colons.
 * @throws VmError "device/invalid-property"
 */
export function readProperty(property: DeviceProperty, text: string, origin: string): PropertyValue {
  const { name, type } = property;
  const bad = (expected: string): never => {
    throw new VmError("device/invalid-property", `${origin}: Parameter '${name}' expects ${expected}, not '${text}'`);
  };
  switch (type) {
    case "bool":
      if (["on", "yes", "true", "y"].includes(text)) return true;
      if (["off", "no", "false", "n"].includes(text)) return false;
      return bad("'on' or 'off'");
    case "on-off-auto":
      return ["on", "off", "auto"].includes(text) ? text : bad("'on', 'off' or 'auto'");
    case "uint8":
    case "uint16":
    case "uint32":
    case "uint64":
    case "size": {
      const m = /^(0x[0-9a-f]{1,16}|\d{1,20})([BKMGTP])?$/i.exec(text);
      if (!m || (m[2] && type !== "size")) return bad(type === "size" ? "a size" : "a number");
      const n = BigInt(m[1]!) * SUFFIX[(m[2] ?? "B").toUpperCase()]!;
      if (n >= 1n << BigInt(BITS[type]!)) return bad(`a number below 2^${BITS[type]}`);
      return n <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(n) : n;
    }
    case "macaddr": {
      if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text)) return bad("a MAC address");
      return text.toLowerCase().replaceAll("-", ":");
    }
    case "pci-address": {
      const m = /^(?:0x)?([0-9a-f]{1,2})(?:\.(?:0x)?[0-7])?$/i.exec(text);
      return m && Number.parseInt(m[1]!, 16) < 32 ? text : bad("SLOT or SLOT.FUNCTION");
    }
    case "str":
    case "drive":
    case "chardev":
    case "netdev":
      return text;
  }
}

/**
 * All properties of a device: the declaration's defaults, then `-global` for the type or one of its aliases, then its own.
 * @throws VmError "device/invalid-property"
 */
export function readProperties(
  type: DeviceType,
  config: Pick<DeviceConfig, "props" | "origin">,
  globals: readonly GlobalConfig[],
): PropertyValues {
  const known = [...type.properties, ...commonProperties(type)];
  const values = new Map<string, PropertyValue | undefined>(known.map((p) => [p.name, p.default]));
  const find = (name: string, origin: string) => {
    const property = known.find((p) => p.name === name);
    if (!property) throw new VmError("device/invalid-property", `${origin}: Property '${type.name}.${name}' not found`);
    return property;
  };
  for (const g of globals)
    if (g.driver === type.name || type.aliases.includes(g.driver))
      values.set(g.property, readProperty(find(g.property, g.origin), g.value, g.origin));
  for (const [name, text] of Object.entries(config.props))
    values.set(name, readProperty(find(name, config.origin), text, config.origin));
  return Object.fromEntries(values);
}

/** What holds when the user says nothing. */
export function defaultValues(type: DeviceType): PropertyValues {
  return Object.fromEntries([...type.properties, ...commonProperties(type)].map((p) => [p.name, p.default]));
}
