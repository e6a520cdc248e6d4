/**
 * JSON of the monitor protocol. Source: RFC 8259; QMP specification of QEMU 7.2 (docs/interop/qmp-spec.txt) §2.1: strings
 * may also stand in single quotes, integers keep 64 bits.
 *
 * Objects come without a prototype, so that a key named `__proto__` is a key. Whole numbers beyond 2^53 are bigint.
 */
import { VmError } from "../../base/errors.js";

export type Json = null | boolean | number | bigint | string | Json[] | JsonObject;
export interface JsonObject {
  [name: string]: Json;
}

/** Deepest nesting taken. */
export const NESTING_LIMIT = 1024;
/** Longest message taken, in bytes. */
export const MESSAGE_LIMIT = 4 * 2 ** 20;

const ESCAPES: { readonly [letter: string]: string } = {
  '"': '"',
  "'": "'",
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

const INT64_MIN = -(2n ** 63n);
const UINT64_MAX = 2n ** 64n - 1n;

/** Reads one JSON text. @throws VmError "monitor/bad-command": "JSON parse error, ..." */
export function parseJson(text: string): Json {
  let pos = 0;
  const fail = (what: string): never => {
    throw new VmError("monitor/bad-command", `JSON parse error, ${what}`);
  };
  const skip = () => {
    while (pos < text.length && " \t\r\n".includes(text[pos]!)) pos++;
  };
  const string = (): string => {
    const quote = text[pos++]!;
    let out = "";
    for (;;) {
      const c = text[pos++];
      if (c === undefined) return fail("unterminated string");
      if (c === quote) return out;
      if (c < " ") return fail("control character in string");
      if (c !== "\\") {
        out += c;
        continue;
      }
      const e = text[pos++] ?? "";
      if (e === "u") {
        const hex = text.slice(pos, pos + 4);
        if (!/^[0-9a-fA-F]{4}$/.test(hex)) return fail("invalid escape sequence in string");
        out += String.fromCharCode(Number.parseInt(hex, 16));
        pos += 4;
      } else if (Object.hasOwn(ESCAPES, e)) out += ESCAPES[e]!;
      else return fail("invalid escape sequence in string");
    }
  };
  const scalar = (): Json => {
    const word = /^[-+.\w]*/.exec(text.slice(pos, pos + 512))![0];
    pos += word.length;
    if (word === "true") return true;
    if (word === "false") return false;
    if (word === "null") return null;
    if (/^-?(0|[1-9]\d*)$/.test(word)) {
      const n = BigInt(word);
      if (n < INT64_MIN || n > UINT64_MAX) return Number(word);
      const small = Number(n);
      return Number.isSafeInteger(small) ? small : n;
    }
    if (/^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(word)) return Number(word);
    return fail(word === "" ? "expecting value" : `invalid keyword '${word.slice(0, 32)}'`);
  };
  const value = (depth: number): Json => {
    skip();
    if (depth > NESTING_LIMIT) return fail("nesting too deep");
    const c = text[pos];
    if (c === '"' || c === "'") return string();
    if (c === "[") {
      const items: Json[] = [];
      pos++;
      skip();
      if (text[pos] === "]") {
        pos++;
        return items;
      }
      for (;;) {
        items.push(value(depth + 1));
        skip();
        const sep = text[pos++];
        if (sep === "]") return items;
        if (sep !== ",") return fail("expected separator in list");
      }
    }
    if (c === "{") {
      const object: JsonObject = Object.create(null);
      pos++;
      skip();
      if (text[pos] === "}") {
        pos++;
        return object;
      }
      for (;;) {
        skip();
        if (text[pos] !== '"' && text[pos] !== "'") return fail("key is not a string in object");
        const key = string();
        if (key in object) return fail("duplicate key");
        skip();
        if (text[pos++] !== ":") return fail("missing : in object pair");
        object[key] = value(depth + 1);
        skip();
        const sep = text[pos++];
        if (sep === "}") return object;
        if (sep !== ",") return fail("expected separator in dict");
      }
    }
    return scalar();
  };
  const result = value(1);
  skip();
  if (pos < text.length) fail("unexpected characters after the value");
  return result;
}

/** Writes JSON; `undefined` members are left out. `indent`: one member a line, as `pretty=on` has it. */
export function writeJson(value: unknown, indent = false, level = 0): string {
  if (value === null || value === undefined) return "null";
  if (typeof value === "bigint" || typeof value === "boolean") return String(value);
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : "null";
  if (typeof value === "string") return JSON.stringify(value);
  const inner = indent ? `\r\n${"    ".repeat(level + 1)}` : "";
  const outer = indent ? `\r\n${"    ".repeat(level)}` : "";
  const separator = indent ? "," : ", ";
  const list = (open: string, items: string[], close: string) =>
    items.length === 0 ? open + close : `${open}${items.map((i) => inner + i).join(separator)}${outer}${close}`;
  if (Array.isArray(value))
    return list(
      "[",
      value.map((v) => writeJson(v, indent, level + 1)),
      "]",
    );
  const members = Object.entries(value as object).filter(([, v]) => v !== undefined);
  return list(
    "{",
    members.map(([k, v]) => `${JSON.stringify(k)}: ${writeJson(v, indent, level + 1)}`),
    "}",
  );
}

const LF = 10;
const QUOTE = 0x22;
const APOSTROPHE = 0x27;
const BACKSLASH = 0x5c;
const isSpace = (b: number) => b === 0x20 || b === 9 || b === LF || b === 13;

/** What `JsonStream` finds. */
export type JsonMessage = { readonly value: Json } | { readonly error: string };

/**
 * Cuts a byte stream into JSON texts. A text ends with its last bracket; what is not JSON is one error a line, and reading
 * goes on in the next line. Never holds more than MESSAGE_LIMIT bytes.
 */
export class JsonStream {
  private bytes: number[] = [];
  private depth = 0;
  private quote = 0;
  private escaped = false;
  /** Throws everything away up to the end of the line. */
  private discarding = false;
  private readonly decoder = new TextDecoder("utf-8", { fatal: true });

  /** Takes bytes. @returns what has become complete */
  push(data: Uint8Array): JsonMessage[] {
    const found: JsonMessage[] = [];
    for (const b of data) this.byte(b, found);
    return found;
  }

  private byte(b: number, found: JsonMessage[]): void {
    if (this.discarding) {
      if (b === LF) this.discarding = false;
      return;
    }
    if (this.bytes.length === 0 && isSpace(b)) return;
    this.bytes.push(b);
    if (this.bytes.length > MESSAGE_LIMIT) return this.give(found, `JSON message size limit of ${MESSAGE_LIMIT} bytes exceeded`);
    if (this.quote) {
      if (b === LF) return this.finish(found);
      if (this.escaped) this.escaped = false;
      else if (b === BACKSLASH) this.escaped = true;
      else if (b === this.quote) this.quote = 0;
      return;
    }
    switch (b) {
      case QUOTE:
      case APOSTROPHE:
        this.quote = b;
        return;
      case 0x5b:
      case 0x7b:
        if (++this.depth > NESTING_LIMIT) this.give(found, `JSON nesting depth limit of ${NESTING_LIMIT} exceeded`);
        return;
      case 0x5d:
      case 0x7d:
        this.depth--;
        if (this.depth <= 0) this.finish(found);
        return;
      case LF:
        // A value without brackets ends with its line.
        if (this.depth === 0) this.finish(found);
    }
  }

  private finish(found: JsonMessage[]): void {
    const bytes = Uint8Array.from(this.bytes);
    try {
      const value = parseJson(this.decoder.decode(bytes));
      this.reset();
      found.push({ value });
    } catch (e) {
      this.give(
        found,
        e instanceof VmError ? e.message : "JSON parse error, invalid UTF-8 sequence in string",
        bytes.at(-1) !== LF,
      );
    }
  }

  private give(found: JsonMessage[], error: string, discard = true): void {
    this.reset();
    this.discarding = discard;
    found.push({ error });
  }

  /** Forgets what has been read of the text under way: a new client. */
  reset(): void {
    this.bytes = [];
    this.depth = 0;
    this.quote = 0;
    this.escaped = false;
    this.discarding = false;
  }
}
