/** Checks a client's values against their description; the texts are QEMU's. */
import { generic } from "./errors.js";
import type { Json, JsonObject } from "./json.js";
import { type Builtin, type Members, memberType, type QapiType } from "./types.js";

const EXPECTED: { readonly [K in Builtin]: string } = {
  str: "string",
  int: "integer",
  number: "number",
  bool: "boolean",
  null: "null",
  any: "value",
};

function wrongType(name: string, expected: string): never {
  throw generic(`Invalid parameter type for '${name}', expected: ${expected}`);
}

function isObject(v: Json): v is JsonObject {
  return typeof v === "object" && v !== null && !Array.isArray(v);
}

/**
 * Checks a value. `name` is its path in messages ("arguments" members have their own names, deeper ones are dotted).
 * @returns the same value @throws QmpError GenericError
 */
export function check(type: QapiType, value: Json, name: string): unknown {
  const { meta } = type;
  switch (meta.kind) {
    case "builtin":
      if (!matches(meta.name, meta.wide ?? false, value)) wrongType(name, EXPECTED[meta.name]);
      return value;
    case "enum":
      if (typeof value !== "string") wrongType(name, "string");
      if (!meta.values.includes(value)) throw generic(`Parameter '${name}' does not accept value '${value}'`);
      return value;
    case "array":
      if (!Array.isArray(value)) wrongType(name, "array");
      for (const [i, v] of value.entries()) check(meta.element, v, `${name}[${i}]`);
      return value;
    case "struct":
      if (!isObject(value)) wrongType(name, "object");
      checkMembers(meta.members, value, name, meta.open);
      return value;
    case "union": {
      if (!isObject(value)) wrongType(name, "object");
      const tag = Object.hasOwn(value, meta.tag) ? value[meta.tag] : undefined;
      if (tag === undefined) throw generic(`Parameter '${path(name, meta.tag)}' is missing`);
      check(memberType(meta.base[meta.tag]!), tag, path(name, meta.tag));
      const variant = Object.hasOwn(meta.variants, tag as string) ? meta.variants[tag as string]!.meta : undefined;
      const more = variant?.kind === "struct" ? variant.members : {};
      checkMembers({ ...meta.base, ...more }, value, name, variant?.kind === "struct" && variant.open);
      return value;
    }
    case "alternate":
      for (const t of meta.of)
        try {
          return check(t, value, name);
        } catch {
          // The next one may fit.
        }
      return wrongType(name, meta.name);
  }
}

function matches(kind: Builtin, wide: boolean, v: Json): boolean {
  switch (kind) {
    case "str":
      return typeof v === "string";
    case "bool":
      return typeof v === "boolean";
    case "null":
      return v === null;
    case "number":
      return typeof v === "number" || typeof v === "bigint";
    case "int":
      return Number.isSafeInteger(v) || (wide && typeof v === "bigint");
    case "any":
      return true;
  }
}

const path = (outer: string, inner: string) => (outer === "" ? inner : `${outer}.${inner}`);

function checkMembers(members: Members, value: JsonObject, name: string, open: boolean): void {
  for (const [key, m] of Object.entries(members)) {
    if (Object.hasOwn(value, key)) check(memberType(m), value[key]!, path(name, key));
    else if (!("optional" in m)) throw generic(`Parameter '${path(name, key)}' is missing`);
  }
  if (!open)
    for (const key of Object.keys(value))
      if (!Object.hasOwn(members, key)) throw generic(`Parameter '${path(name, key)}' is unexpected`);
}
