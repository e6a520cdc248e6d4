/**
 * An encoder for ACPI Machine Language: each function returns the bytes of one term, and terms nest as function calls nest.
 * Source: ACPI 6.4, chapter 20 "ACPI Machine Language (AML) Specification" (the section is named at each function).
 * Not here: what our tables do not need (events, mutexes, index and bank fields, loops, references, `Alias`).
 */
import { assert } from "../../base/errors.js";
import { ByteWriter } from "../bytes.js";

/** The bytes of a term. */
export type Aml = Uint8Array;

/** Several terms one after another. */
export function concat(...parts: Aml[]): Aml {
  const w = new ByteWriter(parts.reduce((n, p) => n + p.length, 0) || 1);
  for (const p of parts) w.bytes(p);
  return w.finish();
}

const op = (...bytes: number[]): Aml => Uint8Array.from(bytes);

/**
 * A name string (20.2.2): "\\_SB.PCI0" from the root, "^X" from the parent, segments filled to four characters with "_".
 */
export function nameString(path: string): Aml {
  const prefix = /^[\\^]*/.exec(path)![0];
  const segments = path
    .slice(prefix.length)
    .split(".")
    .filter((s) => s.length > 0);
  for (const s of segments) assert(/^[A-Z_][A-Z0-9_]{0,3}$/.test(s), `AML name ${path}`);
  const w = new ByteWriter(16).text(prefix);
  if (segments.length === 0) w.u8(0);
  else if (segments.length === 2) w.u8(0x2e);
  else if (segments.length > 2) w.u8(0x2f, segments.length);
  for (const s of segments) w.text(s, 4, 0x5f);
  return w.finish();
}

/** A package length (20.2.4), which counts itself, before `body`. */
function withLength(body: Aml): Aml {
  const n = body.length;
  for (let extra = 0; extra < 4; extra++) {
    const total = n + 1 + extra;
    if (extra === 0 ? total > 63 : total >= 2 ** (4 + 8 * extra)) continue;
    if (extra === 0) return concat(op(total), body);
    const w = new ByteWriter(4 + n).u8((extra << 6) | (total & 15));
    for (let i = 0; i < extra; i++) w.u8((total >>> (4 + 8 * i)) & 255);
    return w.bytes(body).finish();
  }
  throw new Error("assertion failed: AML package over 256 MiB");
}

/** The shortest encoding of an integer (20.2.3), 0 to 2^53. */
export function integer(value: number): Aml {
  if (value === 0) return op(0x00);
  if (value === 1) return op(0x01);
  if (value < 2 ** 8) return op(0x0a, value);
  if (value < 2 ** 16) return new ByteWriter(3).u8(0x0b).u16(value).finish();
  if (value < 2 ** 32) return new ByteWriter(5).u8(0x0c).u32(value).finish();
  return new ByteWriter(9).u8(0x0e).u64(value).finish();
}

/** A string of ASCII characters (20.2.3). */
export function string(text: string): Aml {
  return new ByteWriter(text.length + 2).u8(0x0d).text(text).u8(0).finish();
}

/** `Buffer(length) { bytes }` (20.2.5.4). */
export function buffer(bytes: Uint8Array): Aml {
  return concat(op(0x11), withLength(concat(integer(bytes.length), bytes)));
}

/** `Package(count) { elements }` (20.2.5.4). */
export function pack(...elements: Aml[]): Aml {
  assert(elements.length < 256, "AML package elements");
  return concat(op(0x12), withLength(concat(op(elements.length), ...elements)));
}

/** `Name(name, value)` (20.2.5.1). */
export function name(path: string, value: Aml): Aml {
  return concat(op(0x08), nameString(path), value);
}

/** `Scope(path) { terms }` (20.2.5.1). */
export function scope(path: string, ...terms: Aml[]): Aml {
  return concat(op(0x10), withLength(concat(nameString(path), ...terms)));
}

/** `Device(path) { terms }` (20.2.5.2). */
export function device(path: string, ...terms: Aml[]): Aml {
  return concat(op(0x5b, 0x82), withLength(concat(nameString(path), ...terms)));
}

/** `Processor(path, id, 0, 0) {}` (ACPI 5.1, 20.2.5.2): the form old systems know. */
export function processor(path: string, id: number): Aml {
  return concat(op(0x5b, 0x83), withLength(concat(nameString(path), op(id, 0, 0, 0, 0, 0))));
}

/** `Method(path, argumentCount, serialized) { terms }` (20.2.5.2). */
export function method(path: string, argumentCount: number, serialized: boolean, ...terms: Aml[]): Aml {
  return concat(op(0x14), withLength(concat(nameString(path), op(argumentCount | (serialized ? 8 : 0)), ...terms)));
}

/** Address spaces of an operation region. */
export const RegionSpace = { memory: 0, io: 1, pciConfig: 2 } as const;

/** `OperationRegion(path, space, offset, length)` (20.2.5.2). */
export function operationRegion(path: string, space: number, offset: number, length: number): Aml {
  return concat(op(0x5b, 0x80), nameString(path), op(space), integer(offset), integer(length));
}

/** `Field(region, ByteAcc, NoLock, Preserve) { name, bits ... }` (20.2.5.2); a field without a name is a gap. */
export function byteField(region: string, fields: readonly (readonly [name: string | undefined, bits: number])[]): Aml {
  const list = fields.map(([n, bits]) => {
    assert(bits < 64, "AML field width");
    return n === undefined ? op(0x00, bits) : concat(new ByteWriter(4).text(n, 4, 0x5f).finish(), op(bits));
  });
  return concat(op(0x5b, 0x81), withLength(concat(nameString(region), op(0x01), ...list)));
}

/** The same with DWordAcc; `writeAsZeros`: bits that are not written are 0 rather than what was read. */
export function dwordField(region: string, names: readonly string[], writeAsZeros = false): Aml {
  const list = names.map((n) => concat(new ByteWriter(4).text(n, 4, 0x5f).finish(), op(32)));
  return concat(op(0x5b, 0x81), withLength(concat(nameString(region), op(writeAsZeros ? 0x43 : 0x03), ...list)));
}

/** `Notify(object, value)` (20.2.5.3). */
export const notify = (object: string, value: Aml): Aml => concat(op(0x86), nameString(object), value);

/** `Local0` to `Local7` (20.2.6.2). */
export const local = (n: number): Aml => op(0x60 + n);
/** `Arg0` to `Arg6` (20.2.6.1). */
export const arg = (n: number): Aml => op(0x68 + n);
/** A reference to a named object, as an operand. */
export const ref = nameString;
/** A method call. */
export const call = (path: string, ...args: Aml[]): Aml => concat(nameString(path), ...args);

/** `Store(value, target)` (20.2.5.4). */
export const store = (value: Aml, target: Aml): Aml => concat(op(0x70), value, target);
/** `And(a, b)` without a target. */
export const and = (a: Aml, b: Aml): Aml => concat(op(0x7b), a, b, op(0x00));
/** `Or(a, b, target)`. */
export const or = (a: Aml, b: Aml, target: Aml): Aml => concat(op(0x7d), a, b, target);
/** `LLess(a, b)`. */
export const lessThan = (a: Aml, b: Aml): Aml => concat(op(0x95), a, b);
/** `LEqual(a, b)`. */
export const equal = (a: Aml, b: Aml): Aml => concat(op(0x93), a, b);
/** `CreateDWordField(source, byteIndex, name)`. */
export const createDwordField = (source: Aml, index: number, field: string): Aml =>
  concat(op(0x8a), source, integer(index), nameString(field));

/** `Return(value)` (20.2.5.3). */
export const ret = (value: Aml): Aml => concat(op(0xa4), value);
/** `If(condition) { terms }` (20.2.5.3). */
export const when = (condition: Aml, ...terms: Aml[]): Aml => concat(op(0xa0), withLength(concat(condition, ...terms)));
/** `Else { terms }`, right after `when`. */
export const otherwise = (...terms: Aml[]): Aml => concat(op(0xa1), withLength(concat(...terms)));

/** A compressed EISA id (6.1.5): "PNP0A03" as the integer that `_HID` holds. */
export function eisaId(id: string): Aml {
  assert(/^[A-Z]{3}[0-9A-F]{4}$/.test(id), `EISA id ${id}`);
  const letter = (i: number) => id.charCodeAt(i) - 0x40;
  const vendor = (letter(0) << 10) | (letter(1) << 5) | letter(2);
  const product = Number.parseInt(id.slice(3), 16);
  return new ByteWriter(5).u8(0x0c, vendor >> 8, vendor & 255, product >> 8, product & 255).finish();
}
