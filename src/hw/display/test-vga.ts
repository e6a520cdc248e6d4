/** For the display tests: a VGA on a bare machine, mode tables in the manual's register order, expected pictures. */
import assert from "node:assert/strict";
import { Trace } from "../../base/trace.js";
import { AddressSpace } from "../../memory/address-space.js";
import { GuestRam } from "../../memory/ram.js";
import type { Surface } from "../../ui/display.js";
import { ManualClock, TimerQueue } from "../core/clock.js";
import type { DeviceContext } from "../core/device.js";
import { Vga } from "./vga.js";
import { Attr } from "./vga-registers.js";

export interface TestContext extends DeviceContext {
  readonly clock: ManualClock;
}

export function testContext(ramBytes = 20 * 2 ** 20): TestContext {
  const ram = new GuestRam(0, ramBytes, false);
  const clock = new ManualClock();
  return {
    clock,
    timers: new TimerQueue(clock),
    memory: new AddressSpace("memory", 2 ** 36, ram),
    io: new AddressSpace("io", 0x10000, ram),
    ram,
    trace: new Trace(),
    wallMs: () => 0,
  };
}

/** Misc, sequencer 0-4, CRTC 0-18h, graphics 0-8, attribute 10h-14h; the palette is the identity. */
export interface ModeTable {
  readonly misc: number;
  readonly seq: readonly number[];
  readonly crtc: string;
  readonly gfx: readonly number[];
  readonly attr: readonly number[];
}

const TEXT_SEQ = [3, 0x00, 0x03, 0x00, 0x02];
/** IBM's BIOS modes by number, 0x13x: mode 13h unchained. */
export const MODES = {
  1: {
    misc: 0x67,
    seq: [3, 0x08, 0x03, 0x00, 0x02],
    crtc: "2d2728902ba0bf1f004f0d0e000000009c8e8f141f96b9a3ff",
    gfx: [0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff],
    attr: [0x0c, 0, 0x0f, 0x08, 0],
  },
  3: {
    misc: 0x67,
    seq: TEXT_SEQ,
    crtc: "5f4f50825581bf1f004f0d0e000000009c8e8f281f96b9a3ff",
    gfx: [0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff],
    attr: [0x0c, 0, 0x0f, 0x08, 0],
  },
  4: {
    misc: 0x63,
    seq: [3, 0x09, 0x03, 0x00, 0x02],
    crtc: "2d2728902b80bf1f00c10000000000009c8e8f140096b9a2ff",
    gfx: [0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff],
    attr: [0x01, 0, 0x03, 0, 0],
  },
  6: {
    misc: 0x63,
    seq: [3, 0x01, 0x01, 0x00, 0x06],
    crtc: "5f4f50825480bf1f00c10000000000009c8e8f280096b9c2ff",
    gfx: [0, 0, 0, 0, 0, 0x00, 0x0d, 0, 0xff],
    attr: [0x01, 0, 0x01, 0, 0],
  },
  13: {
    misc: 0x63,
    seq: [3, 0x09, 0x0f, 0x00, 0x06],
    crtc: "2d2728902b80bf1f00c00000000000009c8e8f140096b9e3ff",
    gfx: [0, 0, 0, 0, 0, 0x00, 0x05, 0x0f, 0xff],
    attr: [0x01, 0, 0x0f, 0, 0],
  },
  18: {
    misc: 0xe3,
    seq: [3, 0x01, 0x0f, 0x00, 0x06],
    crtc: "5f4f508254800b3e0040000000000000ea8cdf2800e704e3ff",
    gfx: [0, 0, 0, 0, 0, 0x00, 0x05, 0x0f, 0xff],
    attr: [0x01, 0, 0x0f, 0, 0],
  },
  19: {
    misc: 0x63,
    seq: [3, 0x01, 0x0f, 0x00, 0x0e],
    crtc: "5f4f50825480bf1f00410000000000009c8e8f284096b9a3ff",
    gfx: [0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff],
    attr: [0x41, 0, 0x0f, 0, 0],
  },
  314: {
    misc: 0x63,
    seq: [3, 0x01, 0x0f, 0x00, 0x06],
    crtc: "5f4f50825480bf1f00410000000000009c8e8f280096b9e3ff",
    gfx: [0, 0, 0, 0, 0, 0x40, 0x05, 0x0f, 0xff],
    attr: [0x41, 0, 0x0f, 0, 0],
  },
} as const satisfies Record<number, ModeTable>;

/** A VGA driven through the ports and the window, as a guest does. */
export class TestVga {
  readonly ctx = testContext();
  readonly vga: Vga;

  constructor(vramBytes = 16 * 2 ** 20) {
    this.vga = new Vga(this.ctx, this.ctx.ram.allocate("vga.vram", vramBytes));
    this.vga.attach();
  }

  get vram(): Uint8Array {
    return this.ctx.ram.bytes(this.vga.vram);
  }

  out(port: number, value: number): void {
    this.ctx.io.write(port, 1, value);
  }

  in(port: number): number {
    return this.ctx.io.read(port, 1);
  }

  seq(index: number, value: number): void {
    this.ctx.io.write(0x3c4, 2, index | (value << 8));
  }

  gfx(index: number, value: number): void {
    this.ctx.io.write(0x3ce, 2, index | (value << 8));
  }

  crtc(index: number, value: number): void {
    this.ctx.io.write(0x3d4, 2, index | (value << 8));
  }

  attr(index: number, value: number): void {
    this.in(0x3da);
    this.out(0x3c0, index);
    this.out(0x3c0, value);
    this.out(0x3c0, 0x20);
  }

  vbe(index: number, value?: number): number {
    this.ctx.io.write(0x1ce, 2, index);
    if (value !== undefined) this.ctx.io.write(0x1cf, 2, value);
    return this.ctx.io.read(0x1cf, 2);
  }

  poke(address: number, ...bytes: number[]): void {
    for (const [i, b] of bytes.entries()) this.ctx.memory.write(address + i, 1, b);
  }

  peek(address: number): number {
    return this.ctx.memory.read(address, 1);
  }

  /** Sets a BIOS mode, the palette to `paletteColor`. */
  mode(number: keyof typeof MODES): this {
    const m: ModeTable = MODES[number];
    this.out(0x3c2, m.misc);
    m.seq.forEach((v, i) => {
      this.seq(i, v);
    });
    this.crtc(0x11, 0);
    for (let i = 0; i < m.crtc.length / 2; i++) this.crtc(i, Number.parseInt(m.crtc.slice(2 * i, 2 * i + 2), 16));
    m.gfx.forEach((v, i) => {
      this.gfx(i, v);
    });
    this.in(0x3da);
    for (let i = 0; i < 16; i++) {
      this.out(0x3c0, i);
      this.out(0x3c0, i);
    }
    m.attr.forEach((v, i) => {
      this.attr(Attr.mode + i, v);
    });
    this.palette();
    return this;
  }

  palette(): void {
    this.out(0x3c8, 0);
    for (let i = 0; i < 256; i++) for (const part of paletteParts(i)) this.out(0x3c9, part);
    this.attr(0x14, 0);
  }
}

/** Six-bit components that are different for each index. */
function paletteParts(i: number): readonly [number, number, number] {
  return [i & 0x3e, (i >> 2) & 0x3e, ((i & 1) << 5) | 2];
}

/** The RGB a DAC entry of `palette()` shows: components are even, so the low bits are zero. */
export function color(i: number): number {
  const [r, g, b] = paletteParts(i);
  return (r << 18) | (g << 10) | (b << 2);
}

/** FNV-1a over size and pixels. */
export function pictureHash({ width, height, pixels }: Surface): string {
  let h = 0x811c9dc5;
  const mix = (v: number) => {
    for (let s = 0; s < 32; s += 8) h = Math.imul(h ^ ((v >>> s) & 0xff), 0x01000193) >>> 0;
  };
  mix(width);
  mix(height);
  for (const p of pixels) mix(p);
  return h.toString(16);
}

/** Compares a surface with the picture that `expected` describes. */
export function assertPicture(
  name: string,
  actual: Surface,
  width: number,
  height: number,
  expected: (x: number, y: number) => number,
): void {
  assert.deepEqual([actual.width, actual.height], [width, height], `${name}: size`);
  const pixels = new Uint32Array(width * height);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) pixels[y * width + x] = expected(x, y);
  if (pictureHash(actual) === pictureHash({ width, height, pixels })) return;
  const at = pixels.findIndex((p, i) => p !== actual.pixels[i]);
  const hex = (v: number | undefined) => (v ?? 0).toString(16).padStart(6, "0");
  assert.fail(`${name}: pixel ${at % width},${Math.floor(at / width)} is ${hex(actual.pixels[at])}, not ${hex(pixels[at])}`);
}
