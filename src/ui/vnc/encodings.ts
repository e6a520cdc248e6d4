/**
 * Encodings of rectangles. Sources: RFC 6143 7.7 (raw, hextile, ZRLE), the community's rfbproto 7.7 (tight, zlib).
 * Not emulated: tight's JPEG and gradient filter (what is sent is exact).
 */
import type { CreateDeflater, Deflater } from "../../host/deflate.js";
import type { PixelWriter } from "./pixel-format.js";

export const Encoding = { raw: 0, copyRect: 1, hextile: 5, zlib: 6, tight: 7, zrle: 16 } as const;

/** Pixels of one rectangle, row after row, 0x00RRGGBB. */
export interface Tile {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint32Array;
}

/** A client's streams: they live as long as it does. */
export class Compressor {
  private readonly streams = new Map<string, Deflater>();
  level = 6;

  constructor(private readonly create: CreateDeflater) {}

  deflate(name: string, data: Uint8Array): Promise<Uint8Array> {
    let s = this.streams.get(name);
    if (!s) {
      s = this.create(this.level);
      this.streams.set(name, s);
    }
    return s.deflate(data);
  }

  close(): void {
    for (const s of this.streams.values()) s.close();
    this.streams.clear();
  }
}

export type Encoder = (tile: Tile, writer: PixelWriter, compressor: Compressor) => Promise<Uint8Array>;

export const ENCODERS: ReadonlyMap<number, Encoder> = new Map<number, Encoder>([
  [Encoding.raw, async (tile, writer) => writer.bytes(tile.pixels)],
  [Encoding.hextile, async (tile, writer) => hextile(tile, writer)],
  [Encoding.zlib, async (tile, writer, z) => withLength(await z.deflate("zlib", writer.bytes(tile.pixels)))],
  [Encoding.tight, tight],
  [Encoding.zrle, async (tile, writer, z) => withLength(await z.deflate("zrle", zrleTiles(tile, writer)))],
]);

function withLength(data: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + data.length);
  new DataView(out.buffer).setUint32(0, data.length);
  out.set(data, 4);
  return out;
}

/** A part of a tile. */
export function part(tile: Tile, x: number, y: number, width: number, height: number): Tile {
  if (x === 0 && width === tile.width) return { width, height, pixels: tile.pixels.subarray(y * width, (y + height) * width) };
  const pixels = new Uint32Array(width * height);
  for (let row = 0; row < height; row++) {
    const from = (y + row) * tile.width + x;
    pixels.set(tile.pixels.subarray(from, from + width), row * width);
  }
  return { width, height, pixels };
}

/** The colours of a tile in order of appearance, as far as `limit`; undefined when there are more. */
function palette(tile: Tile, limit: number): Map<number, number> | undefined {
  const found = new Map<number, number>();
  let last = -1;
  for (const p of tile.pixels) {
    if (p === last) continue;
    last = p;
    if (found.has(p)) continue;
    if (found.size === limit) return undefined;
    found.set(p, found.size);
  }
  return found;
}

/** Indices into a palette, packed from the high bit on, rows padded to bytes. */
function packed(tile: Tile, colours: Map<number, number>, bits: number): Uint8Array {
  const stride = Math.ceil((tile.width * bits) / 8);
  const out = new Uint8Array(stride * tile.height);
  for (let y = 0; y < tile.height; y++)
    for (let x = 0; x < tile.width; x++) {
      const bit = x * bits;
      const at = y * stride + (bit >> 3);
      out[at] = out[at]! | (colours.get(tile.pixels[y * tile.width + x]!)! << (8 - bits - (bit & 7)));
    }
  return out;
}

/** Grows as bytes come. */
class ByteSink {
  private data = new Uint8Array(4096);
  private used = 0;
  reserve(n: number): { data: Uint8Array; at: number } {
    if (this.used + n > this.data.length) {
      const grown = new Uint8Array(Math.max(this.data.length * 2, this.used + n));
      grown.set(this.data.subarray(0, this.used));
      this.data = grown;
    }
    return { data: this.data, at: this.used };
  }
  byte(v: number): void {
    const { data, at } = this.reserve(1);
    data[at] = v;
    this.used++;
  }
  bytes(b: Uint8Array): void {
    const { data, at } = this.reserve(b.length);
    data.set(b, at);
    this.used += b.length;
  }
  pixel(put: (out: Uint8Array, at: number, rgb: number) => number, rgb: number): void {
    const { data, at } = this.reserve(4);
    this.used = put(data, at, rgb);
  }
  get length(): number {
    return this.used;
  }
  done(): Uint8Array {
    return this.data.subarray(0, this.used);
  }
}

// Hextile (7.7.4).

const HEXTILE = 16;
const Hex = { raw: 1, background: 2, foreground: 4, subrects: 8, coloured: 16 } as const;

function hextile(tile: Tile, writer: PixelWriter): Uint8Array {
  const out = new ByteSink();
  const put = (o: Uint8Array, at: number, rgb: number) => writer.put(o, at, rgb);
  for (let y = 0; y < tile.height; y += HEXTILE)
    for (let x = 0; x < tile.width; x += HEXTILE) {
      const t = part(tile, x, y, Math.min(HEXTILE, tile.width - x), Math.min(HEXTILE, tile.height - y));
      const background = mostCommon(t.pixels);
      const rects = subrects(t, background);
      const colours = new Set(rects.map((r) => r.rgb));
      const bpp = writer.bytesPerPixel;
      const coloured = colours.size > 1;
      const size = bpp + (coloured ? 0 : bpp) + 1 + rects.length * (2 + (coloured ? bpp : 0));
      if (rects.length > 255 || size > t.pixels.length * bpp) {
        out.byte(Hex.raw);
        out.bytes(writer.bytes(t.pixels));
        continue;
      }
      if (rects.length === 0) {
        out.byte(Hex.background);
        out.pixel(put, background);
        continue;
      }
      out.byte(Hex.background | Hex.subrects | (coloured ? Hex.coloured : Hex.foreground));
      out.pixel(put, background);
      if (!coloured) out.pixel(put, rects[0]!.rgb);
      out.byte(rects.length);
      for (const r of rects) {
        if (coloured) out.pixel(put, r.rgb);
        out.byte((r.x << 4) | r.y);
        out.byte(((r.width - 1) << 4) | (r.height - 1));
      }
    }
  return out.done();
}

function mostCommon(pixels: Uint32Array): number {
  const counts = new Map<number, number>();
  let best = pixels[0]!;
  let most = 0;
  for (const p of pixels) {
    const n = (counts.get(p) ?? 0) + 1;
    counts.set(p, n);
    if (n > most) {
      most = n;
      best = p;
    }
  }
  return best;
}

/** Rectangles of one colour that cover everything but the background. */
function subrects(t: Tile, background: number) {
  const done = new Uint8Array(t.pixels.length);
  const rects: { x: number; y: number; width: number; height: number; rgb: number }[] = [];
  for (let y = 0; y < t.height; y++)
    for (let x = 0; x < t.width; x++) {
      const at = y * t.width + x;
      const rgb = t.pixels[at]!;
      if (done[at] || rgb === background) continue;
      let width = 1;
      while (x + width < t.width && t.pixels[at + width] === rgb && !done[at + width]) width++;
      let height = 1;
      grow: for (; y + height < t.height; height++)
        for (let i = 0; i < width; i++) {
          const p = at + height * t.width + i;
          if (t.pixels[p] !== rgb || done[p]) break grow;
        }
      for (let row = 0; row < height; row++) done.fill(1, at + row * t.width, at + row * t.width + width);
      rects.push({ x, y, width, height, rgb });
    }
  return rects;
}

// ZRLE (7.7.6).

const ZRLE = 64;
const Zrle = { raw: 0, solid: 1, rle: 128 } as const;
const MAX_ZRLE_PALETTE = 127;
const MAX_PACKED = 16;

function zrleTiles(tile: Tile, writer: PixelWriter): Uint8Array {
  const out = new ByteSink();
  for (let y = 0; y < tile.height; y += ZRLE)
    for (let x = 0; x < tile.width; x += ZRLE)
      zrleTile(part(tile, x, y, Math.min(ZRLE, tile.width - x), Math.min(ZRLE, tile.height - y)), writer, out);
  return out.done();
}

function zrleTile(t: Tile, writer: PixelWriter, out: ByteSink): void {
  const put = (o: Uint8Array, at: number, rgb: number) => writer.putCompact(o, at, rgb);
  const cpixel = writer.compactBytes;
  const colours = palette(t, MAX_ZRLE_PALETTE);
  if (colours?.size === 1) {
    out.byte(Zrle.solid);
    out.pixel(put, t.pixels[0]!);
    return;
  }
  // Runs of one colour, and of length one.
  let runs = 0;
  let singles = 0;
  for (let i = 0; i < t.pixels.length; ) {
    let n = 1;
    while (i + n < t.pixels.length && t.pixels[i + n] === t.pixels[i]) n++;
    if (n === 1) singles++;
    else runs += 1 + Math.floor((n - 1) / 255);
    i += n;
  }
  const raw = t.pixels.length * cpixel;
  const plain = (runs + singles) * cpixel + runs + singles;
  const indexed = colours ? colours.size * cpixel + 2 * runs + singles : Number.POSITIVE_INFINITY;
  const bits = colours && colours.size <= MAX_PACKED ? (colours.size <= 2 ? 1 : colours.size <= 4 ? 2 : 4) : 0;
  const pack = bits > 0 ? colours!.size * cpixel + Math.ceil((t.width * bits) / 8) * t.height : Number.POSITIVE_INFINITY;
  const best = Math.min(raw, plain, indexed, pack);
  if (best === pack) {
    out.byte(colours!.size);
    for (const rgb of colours!.keys()) out.pixel(put, rgb);
    out.bytes(packed(t, colours!, bits));
  } else if (best === raw) {
    out.byte(Zrle.raw);
    for (const rgb of t.pixels) out.pixel(put, rgb);
  } else {
    const byIndex = best === indexed;
    out.byte(byIndex ? Zrle.rle + colours!.size : Zrle.rle);
    if (byIndex) for (const rgb of colours!.keys()) out.pixel(put, rgb);
    for (let i = 0; i < t.pixels.length; ) {
      const rgb = t.pixels[i]!;
      let n = 1;
      while (i + n < t.pixels.length && t.pixels[i + n] === rgb) n++;
      i += n;
      if (byIndex) {
        const index = colours!.get(rgb)!;
        out.byte(n === 1 ? index : index | 128);
        if (n === 1) continue;
      } else out.pixel(put, rgb);
      for (n--; n >= 255; n -= 255) out.byte(255);
      out.byte(n);
    }
  }
}

// Tight.

const TIGHT_MAX_WIDTH = 2048;
const TIGHT_MAX_PIXELS = 65536;
/** Shorter data is sent as it is. */
const TIGHT_MIN_TO_COMPRESS = 12;
const Tight = { fill: 0x80, explicitFilter: 0x40, streamShift: 4, palette: 1 } as const;
const TightStream = { full: 0, mono: 1, indexed: 2 } as const;
const MAX_TIGHT_PALETTE = 256;

/** How a rectangle has to be cut for tight: its rectangles have limits of their own. */
export function tightParts(width: number, height: number): { x: number; y: number; width: number; height: number }[] {
  const out = [];
  const w = Math.min(width, TIGHT_MAX_WIDTH);
  const h = Math.max(1, Math.floor(TIGHT_MAX_PIXELS / w));
  for (let y = 0; y < height; y += h)
    for (let x = 0; x < width; x += w) out.push({ x, y, width: Math.min(w, width - x), height: Math.min(h, height - y) });
  return out;
}

async function tight(tile: Tile, writer: PixelWriter, z: Compressor): Promise<Uint8Array> {
  const out = new ByteSink();
  const put = (o: Uint8Array, at: number, rgb: number) => writer.putTight(o, at, rgb);
  const data = async (stream: number, bytes: Uint8Array) => {
    if (bytes.length < TIGHT_MIN_TO_COMPRESS) {
      out.bytes(bytes);
      return;
    }
    const deflated = await z.deflate(`tight${stream}`, bytes);
    // Length in 7, 7 and 8 bits.
    const n = deflated.length;
    out.byte(n < 128 ? n : (n & 127) | 128);
    if (n >= 128) out.byte(n < 16384 ? n >> 7 : ((n >> 7) & 127) | 128);
    if (n >= 16384) out.byte(n >> 14);
    out.bytes(deflated);
  };
  const colours = palette(tile, MAX_TIGHT_PALETTE);
  if (colours?.size === 1) {
    out.byte(Tight.fill);
    out.pixel(put, tile.pixels[0]!);
  } else if (colours) {
    const stream = colours.size === 2 ? TightStream.mono : TightStream.indexed;
    out.byte(Tight.explicitFilter | (stream << Tight.streamShift));
    out.byte(Tight.palette);
    out.byte(colours.size - 1);
    for (const rgb of colours.keys()) out.pixel(put, rgb);
    await data(stream, packed(tile, colours, colours.size === 2 ? 1 : 8));
  } else {
    out.byte(TightStream.full << Tight.streamShift);
    const bytes = new Uint8Array(tile.pixels.length * writer.tightBytes);
    let at = 0;
    for (const rgb of tile.pixels) at = writer.putTight(bytes, at, rgb);
    await data(TightStream.full, bytes);
  }
  return out.done();
}
