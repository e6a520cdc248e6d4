/** The object tree and its types. Source: QEMU 7.2 qapi/qom.json, qapi/qdev.json. */
import { VmError } from "../../../base/errors.js";
import { type QomObject, qomFind, qomRoot } from "../../../machine/qom.js";
import { implementsType, type PropertyInfo, qomTypes } from "../../../machine/qom-types.js";
import type { MonitorTarget } from "../../target.js";
import { command, type QmpCommand } from "../command.js";
import { deviceNotFound, generic, QmpError } from "../errors.js";
import { any, array, bool, optional, str, struct } from "../types.js";

const PROPERTY_INFO = struct("ObjectPropertyInfo", {
  name: str,
  type: str,
  description: optional(str),
  "default-value": optional(any),
});

function find(target: MonitorTarget, path: string): QomObject {
  try {
    return qomFind(qomRoot(target), path);
  } catch (e) {
    if (e instanceof VmError && e.code === "device/unknown") throw new QmpError("DeviceNotFound", e.message);
    throw e;
  }
}

function property(target: MonitorTarget, path: string, name: string) {
  const object = find(target, path);
  const found = object.properties.find((p) => p.name === name);
  if (!found) throw generic(`Property '${object.type}.${name}' not found`);
  return found;
}

const shown = (p: PropertyInfo) => ({
  name: p.name,
  type: p.type,
  description: p.description,
  "default-value": p.default,
});

/** Types whose properties clients ask for without looking whether they are there; libvirt 9.0 ends at an error. */
const ABSENT_BUT_ASKED = /^memory-backend-/;

export const QOM_COMMANDS: readonly QmpCommand[] = [
  command("qom-list", {
    doc: "Properties and children of an object.",
    args: { path: str },
    returns: array(PROPERTY_INFO),
    run: ({ target }, { path }) => {
      const object = find(target, path);
      return [
        ...(object.properties.some((p) => p.name === "type") ? [] : [{ name: "type", type: "string" }]),
        ...object.properties.map((p) => ({ name: p.name, type: p.type, description: p.description })),
        ...[...object.children].map(([name, child]) => ({ name, type: `child<${child.type}>` })),
      ];
    },
  }),
  command("qom-get", {
    doc: "The value of a property.",
    args: { path: str, property: str },
    returns: any,
    run: ({ target }, { path, property: name }) => {
      if (name === "type") return find(target, path).type;
      const p = property(target, path, name);
      if (!p.get) throw generic(`Property '${name}' is not readable`);
      return p.get();
    },
  }),
  command("qom-set", {
    doc: "Sets a property that may change while the machine is there.",
    args: { path: str, property: str, value: any },
    run: ({ target }, { path, property: name, value }) => {
      const p = property(target, path, name);
      if (!p.set) throw generic(`Property '${name}' cannot be set after the device was made`);
      p.set(value);
    },
  }),
  command("qom-list-types", {
    doc: "The types, or those that implement another one.",
    args: { implements: optional(str), abstract: optional(bool) },
    returns: array(struct("ObjectTypeInfo", { name: str, abstract: optional(bool), parent: optional(str) })),
    run: ({ target }, { implements: ancestor, abstract = false }) => {
      const types = qomTypes(target.config.arch);
      return [...types.values()]
        .filter((t) => (abstract || !t.abstract) && (ancestor === undefined || implementsType(types, t.name, ancestor)))
        .map((t) => ({ name: t.name, abstract: t.abstract || undefined, parent: t.parent }));
    },
  }),
  command("qom-list-properties", {
    doc: "The properties of a type.",
    args: { typename: str },
    returns: array(PROPERTY_INFO),
    run: ({ target }, { typename }) => {
      const type = qomTypes(target.config.arch).get(typename);
      if (type) return type.properties.map(shown);
      if (ABSENT_BUT_ASKED.test(typename)) return [];
      throw new QmpError("DeviceNotFound", `Class '${typename}' not found`);
    },
  }),
  command("device-list-properties", {
    doc: "The properties of a device type.",
    args: { typename: str },
    returns: array(PROPERTY_INFO),
    run: ({ target }, { typename }) => {
      const type = qomTypes(target.config.arch).get(typename);
      if (!type) throw deviceNotFound(typename);
      if (!type.device || type.abstract) throw generic(`Parameter 'typename' expects a non-abstract device type`);
      return type.properties.map(shown);
    },
  }),
];
