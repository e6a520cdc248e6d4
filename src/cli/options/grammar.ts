/**
 * QEMU's option grammar: `a=b,c=d`, a doubled comma for a comma in a value, bare names as switches (`foo`, `nofoo`), an
 * implied first key, switches, numbers and sizes, and JSON objects where an option takes them.
 *
 * Source: QEMU 7.2 documentation, "Invocation"; behaviour of `qemu-system-x86_64` 7.2 where that is silent.
 */
import { VmError } from "../../base/errors.js";
import type { Properties } from "../../machine/config.js";

/** One `name=value`. `bare`: written without a value; then `value` is "on" or "off". */
export interface Pair {
  readonly name: string;
  readonly value: string;
  readonly bare: boolean;
}

/**
 * Splits a list. A first item without "=" is the value of `impliedKey` where there is one.
 * Never throws: names are checked by whoever knows them.
 */
export function splitList(text: string, impliedKey?: string): Pair[] {
  const pairs: Pair[] = [];
  let pos = 0;
  while (pos < text.length) {
    const equals = text.indexOf("=", pos);
    const comma = text.indexOf(",", pos);
    const named = equals >= 0 && (comma < 0 || equals < comma);
    if (named || (pairs.length === 0 && impliedKey !== undefined)) {
      const name = named ? text.slice(pos, equals) : impliedKey!;
      const { value, end } = readValue(text, named ? equals + 1 : pos);
      pairs.push({ name, value, bare: false });
      pos = end;
    } else {
      const end = comma < 0 ? text.length : comma;
      const name = text.slice(pos, end);
      const off = name.startsWith("no") && name !== "no" && !KEEP_NO.has(name);
      pairs.push(
        off
          ? { name: name.startsWith("no-") ? name.slice(3) : name.slice(2), value: "off", bare: true }
          : { name, value: "on", bare: true },
      );
      pos = end + 1;
    }
  }
  return pairs;
}

/** Names that begin with "no" and mean themselves. */
const KEEP_NO = new Set(["nodelay", "node-name", "nodes"]);

/** Reads a value up to a single comma. */
function readValue(text: string, start: number): { value: string; end: number } {
  let value = "";
  let pos = start;
  for (;;) {
    const comma = text.indexOf(",", pos);
    if (comma < 0) return { value: value + text.slice(pos), end: text.length };
    value += text.slice(pos, comma);
    if (text[comma + 1] !== ",") return { value, end: comma + 1 };
    value += ",";
    pos = comma + 2;
  }
}

/** A list as a map; a later value wins. */
export function toMap(pairs: readonly Pair[]): Map<string, string> {
  return new Map(pairs.map((p) => [p.name, p.value]));
}

/** A map as plain properties; `__proto__` becomes an own property like any other. */
export function toProperties(map: Iterable<readonly [string, string]>): Properties {
  return Object.fromEntries(map);
}

/** Whether the user asks for the list of values. */
export function isHelp(text: string): boolean {
  return text === "help" || text === "?";
}

/** Longest JSON text and deepest nesting taken. */
const JSON_LIMIT = 1 << 16;
const JSON_DEPTH = 8;

/**
 * A list, or a JSON object when the text begins with "{": nested objects become dotted names, arrays numbered ones.
 * @throws VmError "option/invalid"
 */
export function parseObject(text: string, impliedKey: string, origin: string): Map<string, string> {
  if (!text.startsWith("{")) return toMap(splitList(text, impliedKey));
  const bad = (what: string) => new VmError("option/invalid", `${origin}: ${what}`);
  if (text.length > JSON_LIMIT) throw bad(`JSON text of more than ${JSON_LIMIT} characters`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new VmError("option/invalid", `${origin}: JSON parse error, ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
  const out = new Map<string, string>();
  const walk = (value: unknown, name: string, depth: number): void => {
    if (depth > JSON_DEPTH) throw bad(`JSON nested deeper than ${JSON_DEPTH}`);
    if (value === null) throw bad(`'${name}' cannot be null`);
    if (typeof value === "object") {
      const prefix = name === "" ? "" : `${name}.`;
      for (const [k, v] of Object.entries(value)) walk(v, prefix + k, depth + 1);
    } else out.set(name, typeof value === "boolean" ? (value ? "on" : "off") : String(value));
  };
  walk(json, "", 0);
  return out;
}

const SWITCH = new Map([
  ...["on", "yes", "true", "y"].map((w) => [w, true] as const),
  ...["off", "no", "false", "n"].map((w) => [w, false] as const),
]);

/** on/yes/true/y or off/no/false/n; undefined for anything else. */
export function parseSwitch(text: string): boolean | undefined {
  return SWITCH.get(text);
}

/** Decimal, 0x and 0 (octal) as C reads them; undefined when not a whole number in [0, 2^53). */
export function parseNumber(text: string): number | undefined {
  let n: number;
  if (/^0x[0-9a-f]+$/i.test(text)) n = Number(text);
  else if (/^0[0-7]+$/.test(text)) n = Number.parseInt(text, 8);
  else if (/^\d+$/.test(text)) n = Number(text);
  else return undefined;
  return Number.isSafeInteger(n) ? n : undefined;
}

const SUFFIX: { readonly [letter: string]: number } = {
  B: 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
  P: 2 ** 50,
  E: 2 ** 60,
};

/**
 * A size in bytes: `512`, `1.5G`, `0x1000`, with suffix B K M G T P E in either case; `defaultSuffix` holds when there is
 * none. Undefined when it is not one or reaches 2^53.
 */
export function parseSize(text: string, defaultSuffix: keyof typeof SUFFIX = "B"): number | undefined {
  if (/^0x[0-9a-f]+$/i.test(text)) return checked(Number(text) * SUFFIX[defaultSuffix]!);
  const m = /^(\d+(?:\.\d*)?|\.\d+)([BKMGTPE])?$/i.exec(text);
  if (!m) return undefined;
  const unit = SUFFIX[(m[2] ?? defaultSuffix).toString().toUpperCase()]!;
  // A fraction of a byte is a mistake.
  if (unit === 1 && m[1]!.includes(".")) return undefined;
  return checked(Math.floor(Number(m[1]) * unit));
}

function checked(n: number): number | undefined {
  return Number.isSafeInteger(n) ? n : undefined;
}
