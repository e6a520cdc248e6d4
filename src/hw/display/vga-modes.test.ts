import assert from "node:assert/strict";
import { test } from "node:test";
import { assertPicture, color, TestVga } from "./test-vga.js";

/** A glyph of the test's font: row r of character c. */
function glyph(c: number, r: number): number {
  return (c * 7 + r * 29 + (c >> 3)) & 0xff;
}

/** Loads the font into map 0 as a BIOS does, through plane 2. */
function loadFont(t: TestVga, base = 0, of = glyph): void {
  t.seq(2, 4);
  t.seq(4, 7);
  t.gfx(5, 0);
  t.gfx(6, 4);
  for (let c = 0; c < 256; c++) for (let r = 0; r < 16; r++) t.poke(0xa0000 + base + c * 32 + r, of(c, r));
  t.seq(2, 3);
  t.seq(4, 2);
  t.gfx(5, 0x10);
  t.gfx(6, 0x0e);
}

function cell(i: number): readonly [char: number, attribute: number] {
  return [(i * 3) & 0xff, (i * 5) & 0x7f];
}

function fillText(t: TestVga, cells: number): void {
  for (let i = 0; i < cells; i++) t.poke(0xb8000 + 2 * i, ...cell(i));
}

/** Whether a dot of a character is lit, the ninth included. */
function dot(char: number, r: number, d: number): boolean {
  const g = glyph(char, r);
  return d < 8 ? ((g >> (7 - d)) & 1) === 1 : char >= 0xc0 && char <= 0xdf && (g & 1) === 1;
}

/** The expected text picture; `at` gives the cell index and scan line within it. */
function textPixel(columns: number, cellDots: number, scale: number) {
  return (x: number, y: number): number => {
    const px = Math.floor(x / scale);
    const [char, attribute] = cell(Math.floor(y / 16) * columns + Math.floor(px / cellDots));
    return color(dot(char, y % 16, px % cellDots) ? attribute & 15 : attribute >> 4);
  };
}

/** Puts the cursor out of the way. */
function noCursor(t: TestVga): void {
  t.crtc(0x0a, 0x20);
}

test("text: 80 and 40 columns, 9 and 8 dots", () => {
  for (const [mode, columns, dots, scale] of [
    [3, 80, 9, 1],
    [3, 80, 8, 1],
    [1, 40, 9, 2],
    [1, 40, 8, 2],
  ] as const) {
    const t = new TestVga().mode(mode);
    loadFont(t);
    fillText(t, columns * 25);
    noCursor(t);
    t.seq(1, (dots === 8 ? 1 : 0) | (scale === 2 ? 8 : 0));
    if (dots === 8) t.attr(0x13, 0);
    const picture = t.vga.refresh();
    assertPicture(`${columns} columns of ${dots}`, picture, columns * dots * scale, 400, textPixel(columns, dots, scale));
  }
});

test("text: cursor, blink, underline, second font, line graphics off", () => {
  const blank = (t: TestVga) => {
    loadFont(t, 0, () => 0);
    for (let i = 0; i < 2000; i++) t.poke(0xb8000 + 2 * i, 0, 0x07);
  };
  const frame = 1e9 / 70.08;

  const c = new TestVga().mode(3);
  blank(c);
  c.crtc(0x0a, 13);
  c.crtc(0x0b, 14);
  c.crtc(0x0e, 0);
  c.crtc(0x0f, 81);
  const cursor = (x: number, y: number) => color(x >= 9 && x < 18 && (y === 16 + 13 || y === 16 + 14) ? 7 : 0);
  assertPicture("cursor", c.vga.refresh(), 720, 400, cursor);
  c.ctx.clock.set(frame * 8.5);
  assertPicture("cursor in its dark half", c.vga.refresh(), 720, 400, () => color(0));
  c.ctx.clock.set(frame * 16.5);
  assertPicture("cursor again", c.vga.refresh(), 720, 400, cursor);

  const b = new TestVga().mode(3);
  loadFont(b, 0, () => 0xff);
  noCursor(b);
  for (let i = 0; i < 2000; i++) b.poke(0xb8000 + 2 * i, 0, 0x94);
  const solid = (on: number, ninth: number) => (x: number) => color(x % 9 === 8 ? ninth : on);
  b.attr(0x10, 0x04);
  assertPicture("no blink: 16 backgrounds", b.vga.refresh(), 720, 400, solid(4, 9));
  b.attr(0x10, 0x0c | 0x08);
  assertPicture("blink, lit half", b.vga.refresh(), 720, 400, solid(4, 1));
  b.ctx.clock.set(frame * 16.5);
  assertPicture("blink, dark half", b.vga.refresh(), 720, 400, () => color(1));

  const u = new TestVga().mode(3);
  blank(u);
  noCursor(u);
  u.crtc(0x14, 12);
  for (let i = 0; i < 80; i++) u.poke(0xb8001 + 2 * i, i & 1 ? 0x01 : 0x02);
  assertPicture("underline", u.vga.refresh(), 720, 400, (x, y) => color(y === 12 && Math.floor(x / 9) & 1 ? 1 : 0));

  const f = new TestVga().mode(3);
  loadFont(f, 0, () => 0xf0);
  loadFont(f, 0x4000, () => 0x0f);
  noCursor(f);
  f.seq(3, 0b0100);
  f.attr(0x12, 7);
  for (let i = 0; i < 2000; i++) f.poke(0xb8000 + 2 * i, 0xc1, i & 1 ? 0x0f : 0x07);
  f.attr(0x10, 0);
  assertPicture("512 characters, no line graphics", f.vga.refresh(), 720, 400, (x) => {
    const d = x % 9;
    const second = Math.floor(x / 9) & 1;
    return color(d < 8 && d < 4 !== (second === 1) ? 7 : 0);
  });
});

test("text: start address, panning, split screen, preset row scan, double scan", () => {
  const make = () => {
    const t = new TestVga().mode(3);
    loadFont(t);
    fillText(t, 8000);
    noCursor(t);
    return t;
  };
  /** Expected pixel when the screen shows from `start` with a shift in dots and lines. */
  const shifted = (start: number, dx: number, dy: number) => (x: number, y: number) => {
    const px = x + dx;
    const py = y + dy;
    const [char, attribute] = cell(start + Math.floor(py / 16) * 80 + Math.floor(px / 9));
    return color(dot(char, py % 16, px % 9) ? attribute & 15 : attribute >> 4);
  };
  const start = make();
  start.crtc(0x0c, 0x01);
  start.crtc(0x0d, 0x23);
  assertPicture("start", start.vga.refresh(), 720, 400, shifted(0x123, 0, 0));

  const pan = make();
  pan.attr(0x13, 2);
  pan.crtc(0x08, 0x20 | 5);
  assertPicture("panning 3 dots, byte panning 1, 5 lines up", pan.vga.refresh(), 720, 400, shifted(1, 3, 5));

  for (const compat of [0, 0x20]) {
    const split = make();
    split.attr(0x13, 3);
    split.attr(0x10, 0x04 | compat);
    split.crtc(0x0c, 0x04);
    split.crtc(0x18, 199);
    split.crtc(0x07, 0x0f);
    split.crtc(0x09, 0x0f);
    const top = shifted(0x400, 4, 0);
    const bottom = shifted(0, compat ? 0 : 4, 0);
    assertPicture(`split, panning ${compat ? "above" : "everywhere"}`, split.vga.refresh(), 720, 400, (x, y) =>
      y < 200 ? top(x, y) : bottom(x, y - 200),
    );
  }

  const double = make();
  double.crtc(0x09, 0xcf);
  const half = shifted(0, 0, 0);
  assertPicture("double scan", double.vga.refresh(), 720, 400, (x, y) => half(x, y >> 1));
});

test("text(): the screen as lines", () => {
  const t = new TestVga().mode(3);
  for (const [i, c] of [..."Hello, VGA"].entries()) t.poke(0xb8000 + 160 + 2 * i, c.charCodeAt(0), 7);
  t.poke(0xb8000 + 320, 0xc9, 7, 0xe9, 7);
  const lines = t.vga.text();
  assert.equal(lines?.length, 25);
  assert.deepEqual(lines?.slice(0, 4), ["", "Hello, VGA", "╔Θ", ""]);
  assert.equal(new TestVga().mode(0x13).vga.text(), undefined);
  t.seq(1, 0x20);
  assert.equal(t.vga.text(), undefined, "screen off");
});

/** A byte of noise by position. */
function noise(i: number): number {
  return (Math.imul(i + 1, 0x9e3779b1) >>> 13) & 0xff;
}

test("graphics modes", () => {
  const fill = (t: TestVga, base: number, n: number) => {
    for (let i = 0; i < n; i++) t.poke(base + i, noise(i));
  };
  interface Row {
    readonly name: string;
    readonly set: () => TestVga;
    readonly size: readonly [number, number];
    readonly pixel: (x: number, y: number) => number;
  }
  /** Four planes written one after the other with different noise. */
  const planar = (mode: 0x0d | 0x12 | 0x13a, bytes: number) => () => {
    const t = new TestVga().mode(mode);
    for (let p = 0; p < 4; p++) {
      t.seq(2, 1 << p);
      for (let i = 0; i < bytes; i++) t.poke(0xa0000 + i, noise(i * 4 + p));
    }
    return t;
  };
  const planarPixel = (x: number, y: number, bytesPerLine: number) => {
    let v = 0;
    for (let p = 0; p < 4; p++) v |= ((noise((y * bytesPerLine + (x >> 3)) * 4 + p) >> (7 - (x & 7))) & 1) << p;
    return color(v);
  };
  const cgaByte = (x: number, y: number) => noise((y & 1) * 0x2000 + (y >> 1) * 80 + x);
  const filled = (mode: 0x04 | 0x06 | 0x13, base: number, n: number) => () => {
    const t = new TestVga().mode(mode);
    fill(t, base, n);
    return t;
  };
  const rows: readonly Row[] = [
    {
      name: "4: 320x200, 4 colours",
      set: filled(0x04, 0xb8000, 0x4000),
      size: [640, 400],
      pixel: (x, y) => color((cgaByte(x >> 3, y >> 1) >> (6 - 2 * ((x >> 1) & 3))) & 3),
    },
    {
      name: "6: 640x200, 2 colours",
      set: filled(0x06, 0xb8000, 0x4000),
      size: [640, 400],
      pixel: (x, y) => color((cgaByte(x >> 3, y >> 1) >> (7 - (x & 7))) & 1),
    },
    {
      name: "D: 320x200, 16 colours",
      set: planar(0x0d, 8000),
      size: [640, 400],
      pixel: (x, y) => planarPixel(x >> 1, y >> 1, 40),
    },
    { name: "12: 640x480, 16 colours", set: planar(0x12, 38400), size: [640, 480], pixel: (x, y) => planarPixel(x, y, 80) },
    {
      name: "13: 320x200, 256 colours",
      set: filled(0x13, 0xa0000, 64000),
      size: [640, 400],
      pixel: (x, y) => color(noise((y >> 1) * 320 + (x >> 1))),
    },
    {
      name: "X: 320x200 unchained",
      set: planar(0x13a, 16000),
      size: [640, 400],
      pixel: (x, y) => color(noise(((y >> 1) * 80 + (x >> 3)) * 4 + ((x >> 1) & 3))),
    },
    {
      name: "X: second page, panned by one pixel",
      set: () => {
        const t = planar(0x13a, 40000)();
        t.crtc(0x0c, 16000 >> 8);
        t.crtc(0x0d, 16000 & 0xff);
        t.attr(0x13, 2);
        return t;
      },
      size: [640, 400],
      pixel: (x, y) => {
        const px = (x >> 1) + 1;
        return color(noise((16000 + (y >> 1) * 80 + (px >> 2)) * 4 + (px & 3)));
      },
    },
    {
      name: "12: split at line 100, panned by 5 above",
      set: () => {
        const t = planar(0x12, 60000)();
        t.crtc(0x0c, 0x10);
        t.crtc(0x18, 99);
        t.crtc(0x07, 0x2e);
        t.crtc(0x09, 0);
        t.attr(0x10, 0x21);
        t.attr(0x13, 5);
        return t;
      },
      size: [640, 480],
      pixel: (x, y) => {
        if (y >= 100) return planarPixel(x, y - 100, 80);
        const at = 0x1000 + y * 80 + ((x + 5) >> 3);
        return planarPixel(at * 8 + ((x + 5) & 7), 0, 0);
      },
    },
  ];
  for (const row of rows) assertPicture(row.name, row.set().vga.refresh(), ...row.size, row.pixel);
});

test("attribute palette: plane enable, colour select, pixel mask", () => {
  const t = new TestVga().mode(0x12);
  t.seq(2, 0x0f);
  t.gfx(5, 2);
  for (let i = 0; i < 80 * 480; i++) t.poke(0xa0000 + i, 13);
  const all = (v: number) => assertPicture(`colour ${v}`, t.vga.refresh(), 640, 480, () => color(v));
  all(13);
  t.attr(0x12, 0b0111);
  all(5);
  t.attr(5, 0x2a);
  all(0x2a);
  t.attr(0x14, 0b1100);
  all(0xea);
  t.attr(0x10, 0x81);
  t.attr(0x14, 0b0111);
  all(0x7a);
  t.out(0x3c6, 0x0f);
  all(0x0a);
});

test("Bochs modes", () => {
  const value = (i: number, bytes: number) => {
    let v = 0;
    for (let b = bytes - 1; b >= 0; b--) v = v * 256 + noise(i * bytes + b);
    return v >>> 0;
  };
  const wide5 = (v: number) => ((v & 31) << 3) | ((v & 31) >> 2);
  const wide6 = (v: number) => ((v & 63) << 2) | ((v & 63) >> 4);
  const rows: readonly (readonly [bpp: number, pixel: (i: number) => number])[] = [
    [4, (i) => color([0, 1, 2, 3].reduce((v, p) => v | (((noise((i >> 3) * 4 + p) >> (7 - (i & 7))) & 1) << p), 0))],
    [8, (i) => color(noise(i))],
    [15, (i) => (wide5(value(i, 2) >> 10) << 16) | (wide5(value(i, 2) >> 5) << 8) | wide5(value(i, 2))],
    [16, (i) => (wide5(value(i, 2) >> 11) << 16) | (wide6(value(i, 2) >> 5) << 8) | wide5(value(i, 2))],
    [24, (i) => value(i, 3)],
    [32, (i) => value(i, 4) & 0xffffff],
  ];
  for (const [bpp, pixel] of rows) {
    const t = new TestVga().mode(3);
    for (const [i, v] of [
      [1, 320],
      [2, 48],
      [3, bpp],
      [4, 0x41],
    ] as const)
      t.vbe(i, v);
    const n = 400 * 64 * 4;
    for (let i = 0; i < n; i++) t.vram[i] = noise(i);
    assertPicture(`${bpp} bpp`, t.vga.refresh(), 320, 48, (x, y) => pixel(y * 320 + x));
    t.vbe(6, 400);
    t.vbe(8, 8);
    t.vbe(9, 3);
    assertPicture(`${bpp} bpp, moved`, t.vga.refresh(), 320, 48, (x, y) => pixel((y + 3) * 400 + x + 8));
    if (bpp < 16) continue;
    t.vga.bigEndian = true;
    t.vbe(6, 320);
    t.vbe(8, 0);
    t.vbe(9, 0);
    const swap = (i: number) => {
      const size = bpp / 8;
      for (let b = 0; b < size; b++) t.vram[i * size + b] = noise(i * size + size - 1 - b);
    };
    for (let i = 0; i < 320 * 48; i++) swap(i);
    assertPicture(`${bpp} bpp, big-endian`, t.vga.refresh(), 320, 48, (x, y) => pixel(y * 320 + x));
  }
});

test("8-bit DAC", () => {
  const t = new TestVga().mode(3);
  for (const [i, v] of [
    [1, 64],
    [2, 8],
    [3, 8],
    [4, 0x21],
  ] as const)
    t.vbe(i, v);
  t.out(0x3c8, 0);
  for (const v of [0x81, 0xfe, 0x03]) t.out(0x3c9, v);
  assertPicture("8-bit components", t.vga.refresh(), 64, 8, () => 0x81fe03);
  t.out(0x3c7, 0);
  assert.deepEqual([t.in(0x3c7), t.in(0x3c9), t.in(0x3c9), t.in(0x3c9)], [3, 0x81, 0xfe, 0x03]);
});
