import assert from "node:assert/strict";
import { test } from "node:test";
import { color, MODES, pictureHash, TestVga } from "./test-vga.js";

test("registers keep their writable bits", () => {
  const rows: readonly (readonly [name: string, index: number, data: number, kept: readonly number[]])[] = [
    ["sequencer", 0x3c4, 0x3c5, [0x03, 0x3d, 0x0f, 0x3f, 0x0e, 0, 0, 0]],
    ["graphics", 0x3ce, 0x3cf, [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff, 0, 0]],
    ["crtc", 0x3d4, 0x3d5, [...Array(0x11).fill(0xff), 0x7f, ...Array(7).fill(0xff), 0, 0]],
  ];
  for (const [name, index, data, kept] of rows) {
    const t = new TestVga();
    t.out(0x3c2, 0x01);
    for (const [i, expect] of kept.entries()) {
      t.out(index, i);
      t.out(data, name === "crtc" && i === 0x11 ? 0x7f : 0xff);
      assert.equal(t.in(data), expect, `${name} ${i}`);
      assert.equal(t.in(index), i);
    }
  }
});

test("attribute flip-flop", () => {
  const t = new TestVga();
  t.out(0x3c2, 1);
  t.in(0x3da);
  t.out(0x3c0, 0x10);
  t.out(0x3c0, 0xff);
  assert.equal(t.in(0x3c1), 0xef);
  t.out(0x3c0, 0x33);
  assert.equal(t.in(0x3c0), 0, "waiting for data");
  t.in(0x3da);
  assert.equal(t.in(0x3c0), 0x33);
  t.out(0x3c0, 0x05);
  t.out(0x3c0, 0xff);
  assert.equal(t.in(0x3c1), 0x3f);
});

test("CRTC protection and the monochrome ports", () => {
  const t = new TestVga().mode(3);
  t.crtc(0x11, 0x80);
  t.crtc(0, 0x12);
  t.crtc(7, 0xef);
  t.crtc(8, 0x12);
  for (const [i, v] of [
    [0, 0x5f],
    [7, 0x0f],
    [8, 0x12],
  ] as const) {
    t.out(0x3d4, i);
    assert.equal(t.in(0x3d5), v, `register ${i}`);
  }
  assert.deepEqual([t.in(0x3b4), t.in(0x3ba)], [0xff, 0xff]);
  t.out(0x3c2, 0x66);
  assert.deepEqual([t.in(0x3d4), t.in(0x3b4), t.in(0x3cc)], [0xff, 8, 0x66]);
});

test("DAC: six bits, three components, both indexes count", () => {
  const t = new TestVga();
  t.out(0x3c8, 254);
  for (let i = 0; i < 9; i++) t.out(0x3c9, 0xc0 + i);
  t.out(0x3c7, 254);
  assert.deepEqual(
    Array.from({ length: 9 }, () => t.in(0x3c9)),
    [0, 1, 2, 3, 4, 5, 6, 7, 8],
  );
  assert.equal(t.in(0x3c8), 1);
});

test("input status 1 follows the clock", () => {
  // Mode 3: 900 dots of 28.322 MHz a line, 449 lines; retrace from line 412 to 414.
  const lineNs = (900 * 1e9) / 28_322_000;
  const t = new TestVga().mode(3);
  for (const [line, part, expect] of [
    [0, 0.1, 0x00],
    [0, 0.95, 0x01],
    [399, 0.1, 0x00],
    [400, 0.1, 0x01],
    [411, 0.5, 0x01],
    [412, 0.5, 0x09],
    [413, 0.5, 0x09],
    [414, 0.5, 0x01],
    [449, 0.1, 0x00],
  ] as const) {
    t.ctx.clock.set((line + part) * lineNs);
    assert.equal(t.in(0x3da), expect, `line ${line}`);
  }
});

test("a guest that waits for the retrace gets it, whatever the registers say", () => {
  for (const fill of [0x00, 0xff, 0x55, 0xaa]) {
    const t = new TestVga();
    t.out(0x3c2, 1);
    for (let i = 0; i < 0x19; i++) if (i !== 0x11) t.crtc(i, fill);
    const seen = new Set<number>();
    for (let us = 0; us < 60_000; us += 4) {
      t.ctx.clock.set(us * 1000);
      seen.add(t.in(0x3da) & 8);
    }
    assert.deepEqual([...seen].sort(), [0, 8], `registers ${fill}`);
  }
});

test("Bochs registers", () => {
  const t = new TestVga();
  assert.equal(t.vbe(0), 0xb0c5);
  assert.equal(t.vbe(0, 0xb0c2), 0xb0c2);
  assert.equal(t.vbe(0, 0xb0c6), 0xb0c2, "an unknown version is not taken");
  assert.equal(t.vbe(10), 256);
  assert.equal(t.vbe(11), 0);
  assert.equal(t.vbe(0xffff, 0x1234), 0);
  t.vbe(4, 2);
  assert.deepEqual([t.vbe(1), t.vbe(2), t.vbe(3)], [16000, 12000, 32]);
  assert.equal(t.ctx.io.read(0x1ce, 2), 3);
  t.ctx.io.write(0x1ce, 2, 1);
  assert.equal(t.ctx.io.read(0x1d0, 2), 16000, "data also at 1D0");
  t.vram.fill(0xee);
  for (const [i, v] of [
    [1, 1024],
    [2, 768],
    [3, 32],
    [4, 0x41],
  ] as const)
    t.vbe(i, v);
  assert.deepEqual([t.vbe(6), t.vbe(7), t.vram[0], t.vram[1024 * 768 * 4 - 1], t.vram[1024 * 768 * 4]], [1024, 4096, 0, 0, 0xee]);
  t.vbe(4, 0);
  t.vram.fill(0xee);
  t.vbe(4, 0xc1);
  assert.equal(t.vram[0], 0xee, "no clear");
});

test("hostile Bochs values: the picture stays inside video RAM and bounds", () => {
  const wild = [0, 1, 7, 8, 9, 640, 4095, 15999, 16001, 0x7fff, 0x8000, 0xffff];
  for (const vramBytes of [2 ** 20, 2 ** 24]) {
    for (const bpp of [0, 1, 4, 8, 15, 16, 24, 32, 33, 0xffff]) {
      for (const [i, w] of wild.entries()) {
        const t = new TestVga(vramBytes).mode(3);
        const { dispi } = t.vga;
        t.vbe(1, w);
        t.vbe(2, wild[(i * 5 + 3) % wild.length]!);
        t.vbe(3, bpp);
        t.vbe(4, 0xc1);
        for (const [k, virt] of wild.entries()) {
          t.vbe(6, virt);
          t.vbe(8, wild[(k * 7 + i) % wild.length]!);
          t.vbe(9, wild[(k + i) % wild.length]!);
          t.vbe(5, virt);
          const bits = dispi.bpp === 15 ? 16 : dispi.bpp;
          const end = dispi.startBytes + (dispi.height - 1) * dispi.lineBytes + (dispi.width * bits) / 8;
          assert.ok(end <= vramBytes, `${w} ${bpp} ${virt}`);
          assert.ok(dispi.width >= 8 && dispi.height >= 1 && dispi.width * dispi.height <= 16 * 2 ** 20);
        }
        // The window at the last bank, through every width.
        for (const size of [1, 2, 4] as const) {
          t.ctx.memory.write(0xaffff, size, 0xffffffff);
          t.ctx.memory.read(0xaffff, size);
        }
      }
    }
  }
});

test("hostile VGA registers: every picture answers within bounds", () => {
  for (const mode of [3, 4, 0x12, 0x13, 0x13a] as const) {
    for (const value of [0xff, 0x00, 0x7f, 0xa5]) {
      const t = new TestVga().mode(mode);
      t.crtc(0x11, 0);
      for (let i = 0; i < MODES[mode].crtc.length / 2; i++) t.crtc(i, i === 0x11 ? 0 : value);
      t.attr(0x13, 15);
      t.seq(3, 0xff);
      const s = t.vga.refresh();
      assert.equal(s.pixels.length, s.width * s.height);
      assert.ok(s.width <= 256 * 18 && s.height <= 4096);
      assert.ok((t.vga.text() ?? []).length <= 256);
      assert.equal(t.vga.refresh(), s, "same object while the mode stays");
    }
  }
});

test("fonts written during a picture; every register of every unit at random", () => {
  const t = new TestVga().mode(3);
  let seed = 1;
  const random = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed >>> 8;
  };
  for (let i = 0; i < 4000; i++) {
    const r = random();
    t.out(0x3b0 + (r % 0x30), random() & 0xff);
    t.ctx.memory.write(0xa0000 + (random() & 0x1ffff), 4, random());
    t.ctx.memory.read(0xa0000 + (random() & 0x1ffff), 2);
    if (i % 500 === 0) t.vga.refresh();
  }
});

test("a restored machine shows the same", () => {
  for (const mode of [3, 0x12, 0x13] as const) {
    const a = new TestVga().mode(mode);
    for (let i = 0; i < 3000; i++) a.vram[i] = (i * 37) >> 3;
    a.peek(0xa0001);
    a.out(0x3c8, 9);
    a.out(0x3c9, 1);
    const b = new TestVga();
    b.vga.restore(structuredClone(a.vga.save()));
    b.vram.set(a.vram);
    assert.equal(pictureHash(b.vga.refresh()), pictureHash(a.vga.refresh()), `mode ${mode}`);
    assert.deepEqual(b.vga.save(), a.vga.save());
    // In the middle of a palette entry.
    for (const t of [a, b]) for (const v of [2, 3]) t.out(0x3c9, v);
    assert.deepEqual([...b.vga.dac.palette.subarray(27, 30)], [1, 2, 3]);
  }
  const a = new TestVga().mode(3);
  for (const [i, v] of [
    [1, 640],
    [2, 480],
    [3, 8],
    [4, 1],
    [9, 5],
  ] as const)
    a.vbe(i, v);
  const b = new TestVga();
  b.vga.restore(a.vga.save());
  assert.deepEqual([b.vga.dispi.startBytes, b.vga.dispi.lineBytes], [3200, 640]);
  assert.equal(b.vga.refresh().pixels[0], color(0));
});

test("blank: palette off, after reset", () => {
  const t = new TestVga().mode(0x13);
  t.vram.fill(5);
  t.in(0x3da);
  t.out(0x3c0, 0);
  assert.ok(t.vga.refresh().pixels.every((p) => p === 0));
  t.vga.reset();
  assert.equal(t.vga.refresh().pixels.length, 720 * 400);
  assert.equal(t.vga.text(), undefined);
});
