/** For tests: a viewer that speaks RFB over a stream of its own, and decodes every encoding by its specification. */
import { createInflate, type Inflate } from "node:zlib";
import type { NetAddress, TcpStream, TcpStreamEvents } from "../../host/network.js";
import { Encoding } from "./encodings.js";
import { type PixelFormat, PixelWriter, writeFormat } from "./pixel-format.js";
import { Pseudo } from "./protocol.js";

/** The server's end, and what it has written. */
export class ViewerStream implements TcpStream {
  readonly remote: NetAddress = { host: "127.0.0.1", port: 5 };
  events!: TcpStreamEvents;
  queuedBytes = 0;
  closed = false;
  written: number[] = [];
  onWrite: () => void = () => {};
  write(bytes: Uint8Array): void {
    for (const b of bytes) this.written.push(b);
    this.onWrite();
  }
  end(): void {
    this.closed = true;
  }
  setReading(): void {}
  destroy(): void {
    this.closed = true;
  }
  /** The viewer's bytes. */
  send(...bytes: number[]): void {
    this.events.data(Uint8Array.from(bytes));
  }
}

/** Inflates one of the server's streams, piece by piece. */
class Inflater {
  private readonly stream: Inflate = createInflate();
  private out: number[] = [];
  constructor() {
    this.stream.on("data", (d: Buffer) => this.out.push(...d));
  }
  async inflate(data: Uint8Array): Promise<Uint8Array> {
    await new Promise<void>((resolve) => this.stream.write(data, () => resolve()));
    return Uint8Array.from(this.out.splice(0));
  }
}

export interface ReceivedRect {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly encoding: number;
}

export class Viewer {
  width = 0;
  height = 0;
  name = "";
  /** Pixels as the client's values. */
  pixels = new Uint32Array(0);
  format: PixelFormat;
  readonly rects: ReceivedRect[] = [];
  private readonly inflaters = new Map<string, Inflater>();
  private writer: PixelWriter;
  private taken: Uint8Array = new Uint8Array(0);
  private at = 0;

  constructor(
    readonly stream: ViewerStream,
    format: PixelFormat,
  ) {
    this.format = format;
    this.writer = new PixelWriter(format);
  }

  private async bytes(n: number): Promise<Uint8Array> {
    const { stream } = this;
    while (this.taken.length - this.at < n) {
      if (stream.written.length > 0) {
        const fresh = stream.written.splice(0);
        const all = new Uint8Array(this.taken.length - this.at + fresh.length);
        all.set(this.taken.subarray(this.at));
        all.set(fresh, this.taken.length - this.at);
        this.taken = all;
        this.at = 0;
        continue;
      }
      if (stream.closed) throw new Error("closed");
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 20);
        stream.onWrite = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.at += n;
    return this.taken.slice(this.at - n, this.at);
  }

  private async u16(): Promise<number> {
    const b = await this.bytes(2);
    return b[0]! * 256 + b[1]!;
  }

  private async u32(): Promise<number> {
    const b = await this.bytes(4);
    return new DataView(b.buffer).getUint32(0);
  }

  private inflate(name: string, data: Uint8Array): Promise<Uint8Array> {
    let i = this.inflaters.get(name);
    if (!i) {
      i = new Inflater();
      this.inflaters.set(name, i);
    }
    return i.inflate(data);
  }

  /** The handshake without a password, up to the server's init. */
  async connect(): Promise<void> {
    await this.bytes(12);
    this.stream.send(...new TextEncoder().encode("RFB 003.008\n"));
    await this.bytes(2);
    this.stream.send(1);
    await this.bytes(4);
    this.stream.send(1);
    await this.serverInit();
  }

  async serverInit(): Promise<void> {
    this.width = await this.u16();
    this.height = await this.u16();
    await this.bytes(16);
    this.name = new TextDecoder().decode(await this.bytes(await this.u32()));
    this.pixels = new Uint32Array(this.width * this.height);
    this.stream.send(0, 0, 0, 0, ...writeFormat(this.format));
  }

  encodings(...list: number[]): void {
    const b = new Uint8Array(4 + 4 * list.length);
    b[0] = 2;
    const v = new DataView(b.buffer);
    v.setUint16(2, list.length);
    for (const [i, e] of list.entries()) v.setInt32(4 + 4 * i, e);
    this.stream.events.data(b);
  }

  request(incremental: boolean): void {
    const { width: w, height: h } = this;
    this.stream.send(3, incremental ? 1 : 0, 0, 0, 0, 0, w >> 8, w & 255, h >> 8, h & 255);
  }

  /** Takes one update. */
  async update(): Promise<void> {
    const head = await this.bytes(4);
    if (head[0] === 1) {
      await this.bytes(2 + 256 * 6);
      return this.update();
    }
    if (head[0] !== 0) throw new Error(`message ${head[0]}`);
    for (let n = head[2]! * 256 + head[3]!; n > 0; n--) {
      const [x, y, width, height] = [await this.u16(), await this.u16(), await this.u16(), await this.u16()];
      const encoding = (await this.u32()) | 0;
      this.rects.push({ x, y, width, height, encoding });
      await this.rect(x, y, width, height, encoding);
    }
  }

  private value(b: Uint8Array, at: number, n: number): number {
    let v = 0;
    if (this.format.bigEndian) for (let i = 0; i < n; i++) v = v * 256 + b[at + i]!;
    else for (let i = n - 1; i >= 0; i--) v = v * 256 + b[at + i]!;
    return v;
  }

  private async pixel(): Promise<number> {
    const n = this.format.bitsPerPixel / 8;
    return this.value(await this.bytes(n), 0, n);
  }

  private fill(x: number, y: number, w: number, h: number, value: number): void {
    for (let row = y; row < y + h; row++) this.pixels.fill(value, row * this.width + x, row * this.width + x + w);
  }

  private async rect(x: number, y: number, w: number, h: number, encoding: number): Promise<void> {
    const bpp = this.format.bitsPerPixel / 8;
    const set = (i: number, value: number) => {
      this.pixels[(y + Math.floor(i / w)) * this.width + x + (i % w)] = value;
    };
    switch (encoding) {
      case Encoding.raw: {
        const b = await this.bytes(w * h * bpp);
        for (let i = 0; i < w * h; i++) set(i, this.value(b, i * bpp, bpp));
        return;
      }
      case Encoding.copyRect: {
        const sx = await this.u16();
        const sy = await this.u16();
        const old = this.pixels.slice();
        for (let r = 0; r < h; r++)
          for (let c = 0; c < w; c++) this.pixels[(y + r) * this.width + x + c] = old[(sy + r) * this.width + sx + c]!;
        return;
      }
      case Encoding.hextile:
        return this.hextile(x, y, w, h);
      case Encoding.zlib: {
        const b = await this.inflate("zlib", await this.bytes(await this.u32()));
        if (b.length !== w * h * bpp) throw new Error("zlib length");
        for (let i = 0; i < w * h; i++) set(i, this.value(b, i * bpp, bpp));
        return;
      }
      case Encoding.tight:
        return this.tight(x, y, w, h);
      case Encoding.zrle: {
        const b = await this.inflate("zrle", await this.bytes(await this.u32()));
        let at = 0;
        for (let ty = 0; ty < h; ty += 64)
          for (let tx = 0; tx < w; tx += 64)
            at = this.zrleTile(b, at, x + tx, y + ty, Math.min(64, w - tx), Math.min(64, h - ty));
        if (at !== b.length) throw new Error(`zrle: ${at} of ${b.length}`);
        return;
      }
      case Pseudo.desktopSize:
        this.resize(w, h);
        return;
      case Pseudo.extendedDesktopSize: {
        const n = (await this.bytes(4))[0]!;
        await this.bytes(16 * n);
        this.resize(w, h);
        return;
      }
      case Pseudo.extendedKey:
      case Pseudo.pointerMotion:
        return;
    }
    throw new Error(`encoding ${encoding}`);
  }

  private resize(w: number, h: number): void {
    if (w === this.width && h === this.height) return;
    this.width = w;
    this.height = h;
    this.pixels = new Uint32Array(w * h);
  }

  private async hextile(x: number, y: number, w: number, h: number): Promise<void> {
    let background = 0;
    let foreground = 0;
    for (let ty = 0; ty < h; ty += 16)
      for (let tx = 0; tx < w; tx += 16) {
        const tw = Math.min(16, w - tx);
        const th = Math.min(16, h - ty);
        const kind = (await this.bytes(1))[0]!;
        if (kind & 1) {
          for (let i = 0; i < tw * th; i++) this.fill(x + tx + (i % tw), y + ty + Math.floor(i / tw), 1, 1, await this.pixel());
          continue;
        }
        if (kind & 2) background = await this.pixel();
        if (kind & 4) foreground = await this.pixel();
        this.fill(x + tx, y + ty, tw, th, background);
        if (!(kind & 8)) continue;
        for (let n = (await this.bytes(1))[0]!; n > 0; n--) {
          const colour = kind & 16 ? await this.pixel() : foreground;
          const [a, b] = (await this.bytes(2)) as unknown as [number, number];
          this.fill(x + tx + (a >> 4), y + ty + (a & 15), (b >> 4) + 1, (b & 15) + 1, colour);
        }
      }
  }

  private zrleTile(b: Uint8Array, start: number, x: number, y: number, w: number, h: number): number {
    const n = this.writer.compactBytes;
    let at = start;
    const cpixel = () => {
      let v: number;
      if (n === this.format.bitsPerPixel / 8) v = this.value(b, at, n);
      else {
        const four = new Uint8Array(4);
        // The three bytes that hold the colours, wherever they stand in the pixel.
        const used = [255, 255 << 8, 255 << 16].map((rgb) => new PixelWriter(this.format).value(rgb));
        const low = used.every((u) => u < 0x1000000);
        const skip = low === this.format.bigEndian ? 1 : 0;
        four.set(b.subarray(at, at + 3), skip);
        v = this.value(four, 0, 4);
      }
      at += n;
      return v;
    };
    const set = (i: number, v: number) => {
      this.pixels[(y + Math.floor(i / w)) * this.width + x + (i % w)] = v;
    };
    const run = () => {
      let length = 1;
      let more: number;
      do {
        more = b[at++]!;
        length += more;
      } while (more === 255);
      return length;
    };
    const kind = b[at++]!;
    if (kind === 0) for (let i = 0; i < w * h; i++) set(i, cpixel());
    else if (kind === 1) this.fill(x, y, w, h, cpixel());
    else if (kind <= 16) {
      const colours = Array.from({ length: kind }, cpixel);
      const bits = kind === 2 ? 1 : kind <= 4 ? 2 : 4;
      for (let row = 0; row < h; row++) {
        for (let c = 0; c < w; c++) {
          const bit = c * bits;
          set(row * w + c, colours[(b[at + (bit >> 3)]! >> (8 - bits - (bit & 7))) & ((1 << bits) - 1)]!);
        }
        at += Math.ceil((w * bits) / 8);
      }
    } else if (kind === 128)
      for (let i = 0; i < w * h; ) {
        const v = cpixel();
        for (let k = run(); k > 0; k--) set(i++, v);
      }
    else {
      const colours = Array.from({ length: kind - 128 }, cpixel);
      for (let i = 0; i < w * h; ) {
        const index = b[at++]!;
        const length = index & 128 ? run() : 1;
        for (let k = length; k > 0; k--) set(i++, colours[index & 127]!);
      }
    }
    return at;
  }

  private async tight(x: number, y: number, w: number, h: number): Promise<void> {
    const n = this.writer.tightBytes;
    const decode = (b: Uint8Array, at: number) =>
      n === 3 && this.format.bitsPerPixel === 32
        ? this.writer.value((b[at]! << 16) | (b[at + 1]! << 8) | b[at + 2]!)
        : this.value(b, at, n);
    const control = (await this.bytes(1))[0]!;
    if (control >> 4 === 8) {
      this.fill(x, y, w, h, decode(await this.bytes(n), 0));
      return;
    }
    let colours: number[] | undefined;
    if (control & 0x40) {
      const filter = (await this.bytes(1))[0];
      if (filter !== 1) throw new Error(`filter ${filter}`);
      const count = (await this.bytes(1))[0]! + 1;
      const b = await this.bytes(count * n);
      colours = Array.from({ length: count }, (_, i) => decode(b, i * n));
    }
    const rowBytes = colours ? (colours.length === 2 ? Math.ceil(w / 8) : w) : w * n;
    const size = rowBytes * h;
    let data: Uint8Array;
    if (size < 12) data = await this.bytes(size);
    else {
      let length = 0;
      for (let i = 0; i < 3; i++) {
        const b = (await this.bytes(1))[0]!;
        length |= (i < 2 ? b & 127 : b) << (7 * i);
        if (i < 2 && !(b & 128)) break;
      }
      data = await this.inflate(`tight${(control >> 4) & 3}`, await this.bytes(length));
    }
    if (data.length !== size) throw new Error(`tight: ${data.length} of ${size}`);
    for (let row = 0; row < h; row++)
      for (let c = 0; c < w; c++) {
        const v = !colours
          ? decode(data, row * rowBytes + c * n)
          : colours.length === 2
            ? colours[(data[row * rowBytes + (c >> 3)]! >> (7 - (c & 7))) & 1]!
            : colours[data[row * rowBytes + c]!]!;
        this.pixels[(y + row) * this.width + x + c] = v;
      }
  }
}
