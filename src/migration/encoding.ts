/**
 * Declared state as bytes: a tag, then the value; lengths and counts are 32 bits, little-endian. An object's members keep
 * their order. What is read was perhaps written by an enemy: counts are checked against the bytes that are there, nesting
 * against DEPTH_LIMIT.
 */
import { VmError } from "../base/errors.js";
import type { StateValue } from "../hw/core/device.js";

const Tag = { null: 0, false: 1, true: 2, number: 3, bigint: 4, string: 5, bytes: 6, array: 7, object: 8 } as const;

/** Deepest nesting of arrays and objects. */
export const DEPTH_LIMIT = 32;
/** Longest bigint in bytes: state has 64-bit registers. */
const BIGINT_BYTES = 16;

class Writer {
  private bytes = new Uint8Array(4096);
  private view = new DataView(this.bytes.buffer);
  private size = 0;

  private room(n: number): number {
    const at = this.size;
    this.size += n;
    if (this.size > this.bytes.length) {
      const more = new Uint8Array(Math.max(this.size, this.bytes.length * 2));
      more.set(this.bytes);
      this.bytes = more;
      this.view = new DataView(more.buffer);
    }
    return at;
  }

  u8(v: number): void {
    const at = this.room(1);
    this.bytes[at] = v;
  }

  u32(v: number): void {
    const at = this.room(4);
    this.view.setUint32(at, v, true);
  }

  f64(v: number): void {
    const at = this.room(8);
    this.view.setFloat64(at, v, true);
  }

  raw(data: Uint8Array): void {
    const at = this.room(data.length);
    this.bytes.set(data, at);
  }

  text(s: string): void {
    const data = new TextEncoder().encode(s);
    this.u32(data.length);
    this.raw(data);
  }

  finish(): Uint8Array {
    return this.bytes.subarray(0, this.size);
  }
}

function put(w: Writer, v: StateValue | undefined): void {
  if (v === null || v === undefined) w.u8(Tag.null);
  else if (typeof v === "boolean") w.u8(v ? Tag.true : Tag.false);
  else if (typeof v === "number") {
    w.u8(Tag.number);
    w.f64(v);
  } else if (typeof v === "bigint") {
    w.u8(Tag.bigint);
    for (let i = 0, rest = BigInt.asUintN(BIGINT_BYTES * 8, v); i < BIGINT_BYTES; i++, rest >>= 8n) w.u8(Number(rest & 0xffn));
  } else if (typeof v === "string") {
    w.u8(Tag.string);
    w.text(v);
  } else if (v instanceof Uint8Array) {
    w.u8(Tag.bytes);
    w.u32(v.length);
    w.raw(v);
  } else if (Array.isArray(v)) {
    w.u8(Tag.array);
    w.u32(v.length);
    for (const item of v) put(w, item);
  } else {
    const members = Object.entries(v);
    w.u8(Tag.object);
    w.u32(members.length);
    for (const [name, value] of members) {
      w.text(name);
      put(w, value);
    }
  }
}

/** A value as bytes. */
export function encodeState(value: StateValue): Uint8Array {
  const w = new Writer();
  put(w, value);
  return w.finish();
}

/** Bytes as a value: all of them are used. @throws VmError "migration/bad-stream" */
export function decodeState(bytes: Uint8Array): StateValue {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const utf8 = new TextDecoder("utf-8", { fatal: true });
  let pos = 0;
  const bad = (what: string): never => {
    throw new VmError("migration/bad-stream", `damaged state: ${what} at byte ${pos}`);
  };
  const take = (n: number): number => {
    if (n > bytes.length - pos) bad("it ends in the middle of a value");
    pos += n;
    return pos - n;
  };
  /** A count of things that are at least so many bytes each. */
  const count = (eachBytes: number): number => {
    const n = view.getUint32(take(4), true);
    if (n * eachBytes > bytes.length - pos) bad(`a count of ${n} is more than there is`);
    return n;
  };
  const text = (): string => {
    const n = count(1);
    const at = take(n);
    try {
      return utf8.decode(bytes.subarray(at, at + n));
    } catch {
      return bad("a text that is not UTF-8");
    }
  };
  const value = (depth: number): StateValue => {
    if (depth > DEPTH_LIMIT) bad(`nesting deeper than ${DEPTH_LIMIT}`);
    const tag = view.getUint8(take(1));
    switch (tag) {
      case Tag.null:
        return null;
      case Tag.false:
        return false;
      case Tag.true:
        return true;
      case Tag.number:
        return view.getFloat64(take(8), true);
      case Tag.bigint: {
        const at = take(BIGINT_BYTES);
        const v = view.getBigUint64(at, true) | (view.getBigUint64(at + 8, true) << 64n);
        return BigInt.asIntN(BIGINT_BYTES * 8, v);
      }
      case Tag.string:
        return text();
      case Tag.bytes: {
        const n = count(1);
        const at = take(n);
        return bytes.slice(at, at + n);
      }
      case Tag.array: {
        const n = count(1);
        return Array.from({ length: n }, () => value(depth + 1));
      }
      case Tag.object: {
        const n = count(5);
        const out: { [name: string]: StateValue } = {};
        for (let i = 0; i < n; i++) {
          const name = text();
          if (name === "__proto__" || Object.hasOwn(out, name)) bad(`member '${name}'`);
          out[name] = value(depth + 1);
        }
        return out;
      }
      default:
        return bad(`a value of kind ${tag}`);
    }
  };
  const result = value(0);
  if (pos !== bytes.length) bad("bytes after the value");
  return result;
}
