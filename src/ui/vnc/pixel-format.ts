/** Pixels as a client wants them. Source: RFC 6143 7.4. */

export interface PixelFormat {
  readonly bitsPerPixel: 8 | 16 | 32;
  readonly depth: number;
  readonly bigEndian: boolean;
  readonly trueColour: boolean;
  readonly redMax: number;
  readonly greenMax: number;
  readonly blueMax: number;
  readonly redShift: number;
  readonly greenShift: number;
  readonly blueShift: number;
}

/** The format of our surfaces: what a client gets that asks for nothing else. */
export const NATIVE_FORMAT: PixelFormat = {
  bitsPerPixel: 32,
  depth: 24,
  bigEndian: false,
  trueColour: true,
  redMax: 255,
  greenMax: 255,
  blueMax: 255,
  redShift: 16,
  greenShift: 8,
  blueShift: 0,
};

/** What a client without true colour gets: 256 colours of a map that is sent to it. */
const MAPPED: PixelFormat = {
  ...NATIVE_FORMAT,
  bitsPerPixel: 8,
  depth: 8,
  redMax: 7,
  greenMax: 7,
  blueMax: 3,
  redShift: 0,
  greenShift: 3,
  blueShift: 6,
};

export const FORMAT_BYTES = 16;

/** Reads the 16 bytes of a format; undefined for one that cannot be. */
export function readFormat(b: Uint8Array): PixelFormat | undefined {
  const bitsPerPixel = b[0];
  if (bitsPerPixel !== 8 && bitsPerPixel !== 16 && bitsPerPixel !== 32) return undefined;
  if (!b[3]) return bitsPerPixel === 8 ? { ...MAPPED, trueColour: false } : undefined;
  const max = (o: number) => (b[o]! << 8) | b[o + 1]!;
  const format: PixelFormat = {
    bitsPerPixel,
    depth: b[1]!,
    bigEndian: b[2] !== 0,
    trueColour: true,
    redMax: max(4),
    greenMax: max(6),
    blueMax: max(8),
    redShift: b[10]!,
    greenShift: b[11]!,
    blueShift: b[12]!,
  };
  const fits = (m: number, shift: number) => m > 0 && m <= 255 && ((m + 1) & m) === 0 && shift + Math.log2(m + 1) <= bitsPerPixel;
  return fits(format.redMax, format.redShift) &&
    fits(format.greenMax, format.greenShift) &&
    fits(format.blueMax, format.blueShift)
    ? format
    : undefined;
}

export function writeFormat(f: PixelFormat): Uint8Array {
  const b = new Uint8Array(FORMAT_BYTES);
  b.set([f.bitsPerPixel, f.depth, f.bigEndian ? 1 : 0, f.trueColour ? 1 : 0]);
  b.set([0, f.redMax, 0, f.greenMax, 0, f.blueMax, f.redShift, f.greenShift, f.blueShift], 4);
  return b;
}

/** The SetColourMapEntries message for a client without true colour. */
export function colourMap(): Uint8Array {
  const b = new Uint8Array(6 + 256 * 6);
  b.set([1, 0, 0, 0, 1, 0]);
  for (let i = 0; i < 256; i++) {
    const rgb = [((i & 7) * 255) / 7, (((i >> 3) & 7) * 255) / 7, ((i >> 6) * 255) / 3];
    for (const [c, v] of rgb.entries()) b[6 + 6 * i + 2 * c] = b[7 + 6 * i + 2 * c] = Math.round(v);
  }
  return b;
}

/** Turns 0x00RRGGBB into a client's values and bytes. */
export class PixelWriter {
  readonly bytesPerPixel: number;
  /** Bytes of a pixel in ZRLE: three where they suffice (RFC 6143 7.7.5). */
  readonly compactBytes: number;
  /** The unused byte of a compact pixel is the first of four, as bytes stand. */
  private readonly compactSkip: number;
  /** Tight sends red, green, blue as three bytes. */
  readonly tightRgb: boolean;
  private readonly native: boolean;
  private readonly red = new Uint32Array(256);
  private readonly green = new Uint32Array(256);
  private readonly blue = new Uint32Array(256);

  constructor(readonly format: PixelFormat) {
    const f = format;
    this.bytesPerPixel = f.bitsPerPixel / 8;
    const fill = (table: Uint32Array, max: number, shift: number) => {
      for (let v = 0; v < 256; v++) table[v] = (Math.round((v * max) / 255) << shift) >>> 0;
    };
    fill(this.red, f.redMax, f.redShift);
    fill(this.green, f.greenMax, f.greenShift);
    fill(this.blue, f.blueMax, f.blueShift);
    const used = (this.red[255]! | this.green[255]! | this.blue[255]!) >>> 0;
    const low = used < 0x1000000;
    const high = (used & 0xff) === 0;
    const compact = f.bitsPerPixel === 32 && f.depth <= 24 && (low || high);
    this.compactBytes = compact ? 3 : this.bytesPerPixel;
    // Low bytes come first in little-endian order: the unused one is the last then.
    this.compactSkip = compact && (low ? f.bigEndian : !f.bigEndian) ? 1 : 0;
    this.tightRgb = f.bitsPerPixel === 32 && f.depth === 24 && f.redMax === 255 && f.greenMax === 255 && f.blueMax === 255;
    this.native = !f.bigEndian && this.tightRgb && f.redShift === 16 && f.greenShift === 8 && f.blueShift === 0;
  }

  value(rgb: number): number {
    return this.native
      ? rgb & 0xffffff
      : (this.red[(rgb >> 16) & 255]! | this.green[(rgb >> 8) & 255]! | this.blue[rgb & 255]!) >>> 0;
  }

  /** Writes one pixel. @returns where the next goes */
  put(out: Uint8Array, at: number, rgb: number): number {
    const v = this.value(rgb);
    const n = this.bytesPerPixel;
    if (this.format.bigEndian) for (let i = 0; i < n; i++) out[at + i] = v >>> (8 * (n - 1 - i));
    else for (let i = 0; i < n; i++) out[at + i] = v >>> (8 * i);
    return at + n;
  }

  putCompact(out: Uint8Array, at: number, rgb: number): number {
    if (this.compactBytes === this.bytesPerPixel) return this.put(out, at, rgb);
    const four = FOUR;
    this.put(four, 0, rgb);
    for (let i = 0; i < 3; i++) out[at + i] = four[this.compactSkip + i]!;
    return at + 3;
  }

  putTight(out: Uint8Array, at: number, rgb: number): number {
    if (!this.tightRgb) return this.put(out, at, rgb);
    out[at] = rgb >> 16;
    out[at + 1] = rgb >> 8;
    out[at + 2] = rgb;
    return at + 3;
  }

  get tightBytes(): number {
    return this.tightRgb ? 3 : this.bytesPerPixel;
  }

  /** All pixels in order. */
  bytes(pixels: Uint32Array): Uint8Array {
    const out = new Uint8Array(pixels.length * this.bytesPerPixel);
    let at = 0;
    for (let i = 0; i < pixels.length; i++) at = this.put(out, at, pixels[i]!);
    return out;
  }
}

const FOUR = new Uint8Array(4);
