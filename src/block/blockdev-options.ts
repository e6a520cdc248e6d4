/**
 * `-blockdev` and the arguments of `blockdev-add`: the tree of options of a node, read and checked against a table of drivers.
 * Source: QEMU 7.2's QMP reference, `BlockdevOptions` and its branches. An option that means nothing here (how requests reach
 * the kernel, sizes of caches) is checked and otherwise left alone; one that would change what is read or written and is not
 * supported is refused by name.
 */
import { VmError } from "../base/errors.js";

/** JSON, or its dotted form in which every scalar is a string. */
export type OptionValue = string | number | boolean | null | OptionTree | OptionValue[];
export interface OptionTree {
  [name: string]: OptionValue;
}

/** Longest text, deepest nesting, most options: far more than any tree of images. */
const TEXT_LIMIT = 1 << 20;
const DEPTH_LIMIT = 64;
const OPTIONS_LIMIT = 4096;

type OptionType = "str" | "bool" | "size" | "int" | "node" | "server" | "cache" | readonly string[];
interface OptionRow {
  readonly type: OptionType;
  /** Known to QEMU; refused with any value but these (absent: with any value). */
  readonly refused?: true | readonly string[];
}

const DETECT_ZEROES = ["off", "on", "unmap"] as const;
const COMMON: { readonly [name: string]: OptionRow } = {
  driver: { type: "str" },
  "node-name": { type: "str" },
  discard: { type: ["ignore", "unmap"] },
  cache: { type: "cache" },
  "read-only": { type: "bool" },
  "auto-read-only": { type: "bool" },
  "force-share": { type: "bool" },
  "detect-zeroes": { type: DETECT_ZEROES },
};
const FILE: { readonly [name: string]: OptionRow } = {
  filename: { type: "str" },
  aio: { type: ["threads", "native", "io_uring"] },
  "aio-max-batch": { type: "int" },
  locking: { type: ["auto", "on", "off"] },
  "drop-cache": { type: "bool" },
  "x-check-cache-dropped": { type: "bool" },
  "pr-manager": { type: "str", refused: true },
};
const HTTP: { readonly [name: string]: OptionRow } = {
  url: { type: "str" },
  readahead: { type: "size" },
  timeout: { type: "int" },
  username: { type: "str" },
  "password-secret": { type: "str", refused: true },
  "proxy-username": { type: "str", refused: true },
  "proxy-password-secret": { type: "str", refused: true },
  cookie: { type: "str" },
  "cookie-secret": { type: "str", refused: true },
};

/** Options of drivers beside the common ones. */
export const DRIVERS: { readonly [driver: string]: { readonly [name: string]: OptionRow } } = {
  file: FILE,
  host_device: FILE,
  raw: { file: { type: "node" }, offset: { type: "size" }, size: { type: "size" } },
  qcow2: {
    file: { type: "node" },
    backing: { type: "node" },
    "lazy-refcounts": { type: "bool" },
    "pass-discard-request": { type: "bool" },
    "pass-discard-snapshot": { type: "bool" },
    "pass-discard-other": { type: "bool" },
    "overlap-check": { type: "str" },
    "cache-size": { type: "size" },
    "l2-cache-size": { type: "size" },
    "l2-cache-entry-size": { type: "size" },
    "refcount-cache-size": { type: "size" },
    "cache-clean-interval": { type: "int" },
    encrypt: { type: "str", refused: true },
    "data-file": { type: "node", refused: true },
  },
  "null-co": { size: { type: "size" }, "latency-ns": { type: "int", refused: ["0"] }, "read-zeroes": { type: "bool" } },
  nbd: {
    server: { type: "server" },
    export: { type: "str" },
    "tls-creds": { type: "str", refused: true },
    "tls-hostname": { type: "str", refused: true },
    "x-dirty-bitmap": { type: "str", refused: true },
    "reconnect-delay": { type: "int" },
    "open-timeout": { type: "int" },
  },
  http: HTTP,
  https: { ...HTTP, sslverify: { type: "bool" } },
};

/** What nodes of all drivers have. */
export interface NodeOptions {
  readonly driver: string;
  readonly nodeName: string | undefined;
  readonly readOnly: boolean | undefined;
  readonly autoReadOnly: boolean;
  readonly forceShare: boolean;
  readonly discard: boolean | undefined;
  readonly noFlush: boolean | undefined;
  readonly direct: boolean | undefined;
  readonly detectZeroes: "off" | "on" | "unmap";
  /** Options of the driver, in their types: string, number, boolean. */
  readonly own: ReadonlyMap<string, string | number | boolean>;
  /** Children: a node's name, options of a new one, or null for none. */
  readonly children: ReadonlyMap<string, string | null | NodeOptions>;
}

function fail(origin: string, what: string, code: "invalid" | "unknown" | "unsupported" | "missing" = "invalid"): never {
  throw new VmError(`option/${code}`, origin === "" ? what : `${origin}: ${what}`);
}

/** Reads JSON, or `driver=x,file.driver=y`; `pairs` splits the latter. @throws VmError "option/invalid" */
export function parseOptionTree(
  text: string,
  origin: string,
  pairs: (text: string) => readonly { readonly name: string; readonly value: string }[],
): OptionTree {
  if (text.length > TEXT_LIMIT) fail(origin, `more than ${TEXT_LIMIT} characters`);
  if (!text.startsWith("{")) {
    const flat = new Map<string, string>();
    for (const { name, value } of pairs(text)) flat.set(name, value);
    return unflatten(flat, origin);
  }
  checkDepth(text, origin);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    fail(origin, `JSON parse error, ${cause instanceof Error ? cause.message : cause}`);
  }
  return json as OptionTree;
}

/** Before the parser recurses as deep as the text says. */
function checkDepth(text: string, origin: string): void {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c === "\\") i++;
      else if (c === '"') quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === "{" || c === "[") {
      if (++depth > DEPTH_LIMIT) fail(origin, `JSON nested deeper than ${DEPTH_LIMIT}`);
    } else if (c === "}" || c === "]") depth--;
  }
}

/** `a.b=1` as `{a: {b: "1"}}`. */
export function unflatten(flat: ReadonlyMap<string, string>, origin: string): OptionTree {
  if (flat.size > OPTIONS_LIMIT) fail(origin, `more than ${OPTIONS_LIMIT} options`);
  // Without a prototype: a name like "__proto__" is a name.
  const root = Object.create(null) as OptionTree;
  for (const [name, value] of flat) {
    const parts = name.split(".");
    if (parts.length > DEPTH_LIMIT) fail(origin, `'${name.slice(0, 40)}...' is nested too deep`);
    let at = root;
    parts.slice(0, -1).forEach((part, i) => {
      at[part] ??= Object.create(null) as OptionTree;
      const next = at[part];
      if (typeof next !== "object" || next === null || Array.isArray(next))
        fail(origin, `Parameters '${parts.slice(0, i + 1).join(".")}.*' used inconsistently`);
      at = next as OptionTree;
    });
    const last = parts.at(-1)!;
    if (typeof at[last] === "object") fail(origin, `Parameters '${name}.*' used inconsistently`);
    at[last] = value;
  }
  return root;
}

const isTree = (v: OptionValue | undefined): v is OptionTree => typeof v === "object" && v !== null && !Array.isArray(v);

/** Checks a tree of options. @throws VmError "option/..." that names the option */
export function readNodeOptions(
  tree: OptionValue,
  origin: string,
  path = "",
  defaults: { readonly driver?: string } = {},
): NodeOptions {
  if (!isTree(tree))
    fail(origin, path === "" ? "Expected a JSON object" : `Invalid parameter type for '${path}', expected: object`);
  const name = (n: string) => (path === "" ? n : `${path}.${n}`);
  if (path.split(".").length > DEPTH_LIMIT) fail(origin, "the options are nested too deep");
  const driver = tree.driver ?? defaults.driver;
  if (driver === undefined) fail(origin, `Parameter '${name("driver")}' is missing`, "missing");
  if (typeof driver !== "string" || !Object.hasOwn(DRIVERS, driver))
    fail(
      origin,
      `Parameter '${name("driver")}' does not accept value '${String(driver)}': one of ${Object.keys(DRIVERS).join(", ")}`,
    );
  const table = DRIVERS[driver]!;
  const own = new Map<string, string | number | boolean>();
  const children = new Map<string, string | null | NodeOptions>();
  let noFlush: boolean | undefined;
  let direct: boolean | undefined;
  for (const [key, value] of Object.entries(tree)) {
    const row = Object.hasOwn(COMMON, key) ? COMMON[key]! : Object.hasOwn(table, key) ? table[key]! : undefined;
    if (!row) fail(origin, `Invalid parameter '${name(key)}'`, "unknown");
    if (row.refused && !(row.refused !== true && row.refused.includes(String(value))))
      fail(origin, `${name(key)}=${typeof value === "object" ? "..." : value} is not supported`, "unsupported");
    switch (row.type) {
      case "node":
        if (value === null || typeof value === "string") children.set(key, value === "" ? null : value);
        else children.set(key, readNodeOptions(value, origin, name(key)));
        break;
      case "cache":
        if (!isTree(value)) fail(origin, `Invalid parameter type for '${name(key)}', expected: object`);
        for (const [k, v] of Object.entries(value)) {
          if (k === "no-flush") noFlush = scalar(v, "bool", name(`${key}.${k}`), origin) as boolean;
          else if (k === "direct") direct = scalar(v, "bool", name(`${key}.${k}`), origin) as boolean;
          else fail(origin, `Invalid parameter '${name(`${key}.${k}`)}'`, "unknown");
        }
        break;
      case "server":
        for (const [k, v] of readServer(value, name(key), origin)) own.set(`server.${k}`, v);
        break;
      default:
        own.set(key, scalar(value, row.type, name(key), origin));
    }
  }
  const take = <T>(key: string) => own.get(key) as T | undefined;
  const nodeName = take<string>("node-name");
  if (nodeName !== undefined && !/^[A-Za-z][A-Za-z0-9._-]{0,30}$/.test(nodeName))
    fail(origin, `Invalid node-name: '${nodeName}'`);
  return {
    driver,
    nodeName,
    readOnly: take<boolean>("read-only"),
    autoReadOnly: take<boolean>("auto-read-only") ?? false,
    forceShare: take<boolean>("force-share") ?? false,
    discard: take("discard") === undefined ? undefined : take("discard") === "unmap",
    noFlush,
    direct,
    detectZeroes: take<"off" | "on" | "unmap">("detect-zeroes") ?? "off",
    own: new Map([...own].filter(([k]) => !Object.hasOwn(COMMON, k))),
    children,
  };
}

const SWITCH: { readonly [word: string]: boolean } = { on: true, off: false, yes: true, no: false, true: true, false: false };

function scalar(value: OptionValue, type: OptionType, name: string, origin: string): string | number | boolean {
  if (Array.isArray(type)) {
    if (typeof value !== "string" || !type.includes(value))
      fail(origin, `Parameter '${name}' does not accept value '${String(value)}': one of ${type.join(", ")}`);
    return value;
  }
  const expected = (what: string): never => fail(origin, `Invalid parameter type for '${name}', expected: ${what}`);
  switch (type) {
    case "str":
      return typeof value === "string" ? value : expected("string");
    case "bool":
      if (typeof value === "boolean") return value;
      if (typeof value !== "string" || !Object.hasOwn(SWITCH, value)) return expected("boolean");
      return SWITCH[value]!;
    default: {
      const n = typeof value === "number" ? value : typeof value === "string" ? sizeOf(value, type === "size") : Number.NaN;
      if (!Number.isSafeInteger(n) || n < 0) return expected("integer");
      return n;
    }
  }
}

const SUFFIX: { readonly [letter: string]: number } = { b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40, p: 2 ** 50 };

/** A number with QEMU's size suffixes; NaN when it is none. */
export function sizeOf(text: string, suffixes = true): number {
  const m = /^(\d+(?:\.\d+)?)([bkmgtp])?$/i.exec(text);
  if (!m || (m[2] !== undefined && !suffixes)) return /^0x[0-9a-f]+$/i.test(text) ? Number(text) : Number.NaN;
  return Math.floor(Number(m[1]) * (m[2] === undefined ? 1 : SUFFIX[m[2].toLowerCase()]!));
}

/** `SocketAddress`: `{type: "inet", host, port}` or `{type: "unix", path}`. */
function readServer(value: OptionValue, name: string, origin: string): [string, string][] {
  if (!isTree(value)) fail(origin, `Invalid parameter type for '${name}', expected: object`);
  const text = (k: string): string => {
    const v = value[k];
    if (v === undefined) fail(origin, `Parameter '${name}.${k}' is missing`, "missing");
    return typeof v === "string" ? v : fail(origin, `Invalid parameter type for '${name}.${k}', expected: string`);
  };
  const type = text("type");
  const keys = type === "inet" ? ["host", "port"] : type === "unix" ? ["path"] : [];
  if (keys.length === 0) fail(origin, `${name}.type=${type} is not supported; use inet or unix`, "unsupported");
  for (const k of Object.keys(value))
    if (k !== "type" && !keys.includes(k)) fail(origin, `Invalid parameter '${name}.${k}'`, "unknown");
  return [["type", type], ...keys.map((k): [string, string] => [k, text(k)])];
}
