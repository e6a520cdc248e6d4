/**
 * The object tree of a machine: what `qom-list`, `qom-get` and `qom-set` walk. It is made from the machine at each request;
 * nothing is kept beside the devices. Source of the layout: QEMU 7.2 (`/machine/peripheral/ID`, `/machine/peripheral-anon`,
 * `/machine/unattached/device[N]`, `/objects/ID`, `/chardevs/ID`).
 */

import { VmError } from "../base/errors.js";
import { CPU_MODELS, cpuModel, featureProperties } from "../target/x86/cpu-models.js";
import type { BoardInspection } from "./board.js";
import { MACHINE_TYPES } from "./catalog.js";
import type { MachineConfig } from "./config.js";
import { cpuTypeName } from "./cpu-types.js";
import { commonProperties } from "./device-properties.js";
import { propertyInfo } from "./qom-types.js";

export interface QomProperty {
  readonly name: string;
  readonly type: string;
  readonly description?: string | undefined;
  readonly get?: (() => unknown) | undefined;
  /** @throws VmError for values it does not take */
  readonly set?: ((value: unknown) => void) | undefined;
}

export interface QomObject {
  readonly type: string;
  readonly properties: readonly QomProperty[];
  readonly children: ReadonlyMap<string, QomObject>;
}

/** What the tree is made of. */
export interface QomSource {
  readonly config: MachineConfig;
  readonly inspect: BoardInspection;
  chardevs(): readonly { readonly label: string; readonly filename: string }[];
}

const container = (children: Iterable<readonly [string, QomObject]>): QomObject => ({
  type: "container",
  properties: [],
  children: new Map(children),
});

/** The whole tree. */
export function qomRoot(source: QomSource): QomObject {
  const { config, inspect } = source;
  const records = inspect.records?.() ?? [];
  const peripheral: [string, QomObject][] = [];
  const anonymous: [string, QomObject][] = [];
  const unattached: [string, QomObject][] = inspect.cpus().map((c) => [`device[${c.index}]`, cpuObject(source)]);
  for (const r of records) {
    const object: QomObject = {
      type: r.type.name,
      properties: [
        { name: "type", type: "string", get: () => r.type.name },
        { name: "realized", type: "bool", get: () => true },
        { name: "hotplugged", type: "bool", get: () => r.hotplugged },
        ...[...r.type.properties, ...commonProperties(r.type)]
          .filter((p) => !r.dynamic?.some((d) => d.name === p.name))
          .map((p) => ({
            ...propertyInfo(p),
            get: () => r.values[p.name] ?? zeroOf(p.type),
          })),
        ...(r.dynamic ?? []),
      ],
      children: new Map(
        r.type.name.startsWith("virtio-") && r.type.bus === "pci" ? [["virtio-backend", backendObject(r.type.name)]] : [],
      ),
    };
    if (r.place === "unattached") unattached.push([`device[${unattached.length}]`, object]);
    else if (r.id === undefined) anonymous.push([`device[${anonymous.length}]`, object]);
    else peripheral.push([r.id, object]);
  }
  const machine: QomObject = {
    type: `${MACHINE_TYPES.find((m) => m.name === config.machine.type)!.canonical}-machine`,
    properties: [
      { name: "type", type: "string", get: () => machine.type },
      ...Object.entries(config.machine.props).map(([name, value]) => ({ name, type: "string", get: () => value })),
    ],
    children: new Map([
      ["peripheral", container(peripheral)],
      ["peripheral-anon", container(anonymous)],
      ["unattached", container(unattached)],
    ]),
  };
  const objects = config.objects.map((o): [string, QomObject] => [
    o.id,
    {
      type: o.type,
      properties: [
        { name: "type", type: "string", get: () => o.type },
        ...Object.entries(o.props)
          .filter(([name]) => o.type !== "secret" || name === "format")
          .map(([name, value]) => ({ name, type: "string", get: () => value })),
      ],
      children: new Map(),
    },
  ]);
  const chardevs = source
    .chardevs()
    .map((c): [string, QomObject] => [
      c.label,
      { type: "chardev", properties: [{ name: "filename", type: "string", get: () => c.filename }], children: new Map() },
    ]);
  return container([
    ["machine", machine],
    ["objects", container(objects)],
    ["chardevs", container(chardevs)],
  ]);
}

/** The virtio half of a PCI function. */
function backendObject(pciType: string): QomObject {
  return { type: pciType.replace(/-pci.*$/, "-device"), properties: [], children: new Map() };
}

/** What a property without a value shows. */
function zeroOf(type: string): unknown {
  if (type === "bool") return false;
  return /^(uint|size|pci-address)/.test(type) ? 0 : "";
}

function cpuObject({ config }: QomSource): QomObject {
  const { model, features } = config.cpu;
  const type = cpuTypeName(config.arch, model);
  const known = Object.hasOwn(CPU_MODELS, model);
  const cpu = known ? cpuModel(model, features) : undefined;
  return {
    type,
    properties: [
      { name: "type", type: "string", get: () => type },
      { name: "realized", type: "bool", get: () => true },
      { name: "unavailable-features", type: "strList", get: () => cpu?.missing ?? [] },
      ...(config.arch === "ppc64" ? [] : featureProperties()).map((name) => ({
        name,
        type: "bool",
        get: () => cpu?.features.has(name) ?? false,
      })),
    ],
    children: new Map(),
  };
}

/** Follows an absolute path, or finds the one object that a partial path ends with. @throws VmError "device/unknown" */
export function qomFind(root: QomObject, path: string): QomObject {
  const parts = path.split("/").filter((p) => p !== "");
  const walk = (from: QomObject): QomObject | undefined => {
    let at: QomObject | undefined = from;
    for (const p of parts) at = at?.children.get(p);
    return at;
  };
  if (path.startsWith("/")) {
    const found = walk(root);
    if (found) return found;
  } else if (parts.length > 0) {
    const found: QomObject[] = [];
    const search = (o: QomObject) => {
      const hit = walk(o);
      if (hit && !found.includes(hit)) found.push(hit);
      for (const c of o.children.values()) search(c);
    };
    search(root);
    if (found.length === 1) return found[0]!;
    if (found.length > 1) throw new VmError("device/unknown", `Path '${path}' does not uniquely identify an object`);
  }
  throw new VmError("device/unknown", `Device '${path}' not found`);
}
