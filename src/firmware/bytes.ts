/** Little helpers to lay out binary tables: a growing buffer with the field widths that ACPI, SMBIOS and boot protocols use. */

/** Bytes being written, little-endian unless said otherwise. Grows as needed. */
export class ByteWriter {
  private buffer: Uint8Array;
  private view: DataView;
  /** Bytes written so far. */
  length = 0;

  constructor(capacityBytes = 256) {
    this.buffer = new Uint8Array(capacityBytes);
    this.view = new DataView(this.buffer.buffer);
  }

  private room(n: number): number {
    const at = this.length;
    if (at + n > this.buffer.length) {
      const bigger = new Uint8Array(Math.max(this.buffer.length * 2, at + n));
      bigger.set(this.buffer.subarray(0, at));
      this.buffer = bigger;
      this.view = new DataView(bigger.buffer);
    }
    this.length = at + n;
    return at;
  }

  u8(...values: number[]): this {
    for (const v of values) {
      const at = this.room(1);
      this.buffer[at] = v;
    }
    return this;
  }

  u16(...values: number[]): this {
    for (const v of values) {
      const at = this.room(2);
      this.view.setUint16(at, v, true);
    }
    return this;
  }

  u32(...values: number[]): this {
    for (const v of values) {
      const at = this.room(4);
      this.view.setUint32(at, v, true);
    }
    return this;
  }

  /** A 64-bit value from a non-negative safe integer. */
  u64(...values: number[]): this {
    for (const v of values) this.u32(v % 2 ** 32, Math.floor(v / 2 ** 32));
    return this;
  }

  u16be(v: number): this {
    const at = this.room(2);
    this.view.setUint16(at, v, false);
    return this;
  }

  u32be(v: number): this {
    const at = this.room(4);
    this.view.setUint32(at, v, false);
    return this;
  }

  bytes(data: ArrayLike<number>): this {
    const at = this.room(data.length);
    this.buffer.set(data, at);
    return this;
  }

  /** Text as Latin-1, cut or filled to `width` bytes (when given) with `fill`. */
  text(s: string, width = s.length, fill = 0): this {
    for (let i = 0; i < width; i++) this.u8(i < s.length ? s.charCodeAt(i) & 255 : fill);
    return this;
  }

  zero(n: number): this {
    const at = this.room(n);
    this.buffer.fill(0, at, at + n);
    return this;
  }

  /** Fills with zeroes up to a multiple of `alignment`. */
  align(alignment: number): this {
    return this.zero((alignment - (this.length % alignment)) % alignment);
  }

  /** A copy of what has been written. */
  finish(): Uint8Array {
    return this.buffer.slice(0, this.length);
  }
}

/** The byte that makes the sum of `data` and itself zero modulo 256. */
export function checksumByte(data: Uint8Array, start = 0, length = data.length - start): number {
  let sum = 0;
  for (let i = start; i < start + length; i++) sum += data[i]!;
  return -sum & 255;
}

/** Text as bytes (UTF-8), with a final NUL when asked. */
export function encodeText(s: string, nul = false): Uint8Array {
  const out: number[] = [];
  for (const ch of s) {
    const c = ch.codePointAt(0)!;
    if (c < 0x80) out.push(c);
    else if (c < 0x800) out.push(0xc0 | (c >> 6), 0x80 | (c & 63));
    else if (c < 0x10000) out.push(0xe0 | (c >> 12), 0x80 | ((c >> 6) & 63), 0x80 | (c & 63));
    else out.push(0xf0 | (c >> 18), 0x80 | ((c >> 12) & 63), 0x80 | ((c >> 6) & 63), 0x80 | (c & 63));
  }
  if (nul) out.push(0);
  return Uint8Array.from(out);
}
