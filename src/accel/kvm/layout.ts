/** C structures of the kernel's interface as tables: field names and types give offsets, sizes and ioctl numbers. */

const SIZES = { u8: 1, u16: 2, u32: 4, i32: 4, u64: 8, i64: 8 } as const;
export type Scalar = keyof typeof SIZES;

/** A scalar, an array of them, or bytes of a structure inside. */
export type FieldType = Scalar | readonly [Scalar, number] | Layout<string>;

/** Where the fields of a structure are. */
export interface Layout<Name extends string> {
  readonly sizeBytes: number;
  readonly align: number;
  readonly at: Readonly<Record<Name, number>>;
  readonly types: Readonly<Record<Name, FieldType>>;
}

/** Lays fields out as C does on x86-64: each at a multiple of its alignment, the whole a multiple of the largest. */
export function layout<const F extends Record<string, FieldType>>(fields: F): Layout<keyof F & string> {
  const at: Record<string, number> = {};
  let pos = 0;
  let align = 1;
  for (const [name, type] of Object.entries(fields)) {
    const [size, a] = sizeOf(type);
    pos = Math.ceil(pos / a) * a;
    at[name] = pos;
    pos += size;
    align = Math.max(align, a);
  }
  return { sizeBytes: Math.ceil(pos / align) * align, align, at, types: fields } as unknown as Layout<keyof F & string>;
}

function sizeOf(type: FieldType): [size: number, align: number] {
  if (typeof type === "string") return [SIZES[type], SIZES[type]];
  if (Array.isArray(type)) return [SIZES[type[0] as Scalar] * (type[1] as number), SIZES[type[0] as Scalar]];
  const l = type as Layout<string>;
  return [l.sizeBytes, l.align];
}

/** A structure in bytes: its scalars by name. u64 and i64 are bigints, the others numbers. */
export class Struct<Name extends string> {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(
    readonly layout: Layout<Name>,
    bytes: Uint8Array = new Uint8Array(layout.sizeBytes),
  ) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get(name: Name, base = 0): number {
    const at = base + this.layout.at[name];
    switch (scalarOf(this.layout.types[name])) {
      case "u8":
        return this.view.getUint8(at);
      case "u16":
        return this.view.getUint16(at, true);
      case "u32":
        return this.view.getUint32(at, true);
      case "i32":
        return this.view.getInt32(at, true);
      default:
        return Number(this.view.getBigUint64(at, true));
    }
  }

  set(name: Name, value: number, base = 0): void {
    const at = base + this.layout.at[name];
    switch (scalarOf(this.layout.types[name])) {
      case "u8":
        this.view.setUint8(at, value);
        return;
      case "u16":
        this.view.setUint16(at, value, true);
        return;
      case "u32":
      case "i32":
        this.view.setUint32(at, value, true);
        return;
      default:
        this.view.setBigUint64(at, BigInt(value), true);
    }
  }

  get64(name: Name, base = 0): bigint {
    return this.view.getBigUint64(base + this.layout.at[name], true);
  }

  set64(name: Name, value: bigint, base = 0): void {
    this.view.setBigUint64(base + this.layout.at[name], value, true);
  }
}

function scalarOf(type: FieldType): Scalar | undefined {
  return typeof type === "string" ? type : Array.isArray(type) ? (type[0] as Scalar) : undefined;
}

/** Sets several fields of a new structure: numbers by name. */
export function structOf<Name extends string>(l: Layout<Name>, values: Partial<Record<Name, number>>): Struct<Name> {
  const s = new Struct(l);
  for (const [name, v] of Object.entries(values) as [Name, number][]) s.set(name, v);
  return s;
}

// --- ioctl numbers: direction in bits 30-31, size in 16-29, type in 8-15, number in 0-7 (asm-generic/ioctl.h) ---
const WRITE = 1;
const READ = 2;
const encode = (direction: number, type: number, n: number, size: number) =>
  direction * 2 ** 30 + size * 2 ** 16 + type * 2 ** 8 + n;

/** The argument is a number, or nothing. */
export const io = (type: number, n: number): number => encode(0, type, n, 0);
/** The kernel reads the structure. */
export const iow = (type: number, n: number, size: number): number => encode(WRITE, type, n, size);
/** The kernel fills the structure. */
export const ior = (type: number, n: number, size: number): number => encode(READ, type, n, size);
export const iowr = (type: number, n: number, size: number): number => encode(READ | WRITE, type, n, size);
