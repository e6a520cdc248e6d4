import assert from "node:assert/strict";
import { test } from "node:test";
import type { AccessSize } from "../../memory/address-space.js";
import { makeEdid } from "./edid.js";
import { assertPicture, testContext } from "./test-vga.js";
import { VgaIsa } from "./vga-isa.js";
import { VgaPci } from "./vga-pci.js";

const FB = 0xfd000000;
const MMIO = 0xfebf0000;
const ROM = 0xfeb00000;

function make() {
  const ctx = testContext();
  const rom = ctx.ram.allocate("vga.rom", 0x10000);
  ctx.ram.bytes(rom).set([0x55, 0xaa, 0x4e]);
  const dev = new VgaPci(ctx, { vram: ctx.ram.allocate("vga.vram", 2 ** 24), rom });
  dev.attach({ bus: 0, devfn: 0x10, setIrq: () => {} });
  dev.configWrite(0x10, 4, FB);
  dev.configWrite(0x18, 4, MMIO);
  dev.configWrite(0x30, 4, ROM | 1);
  dev.configWrite(0x04, 2, 3);
  const read = (o: number, size: AccessSize) => ctx.memory.read(MMIO + o, size);
  const write = (o: number, size: AccessSize, v: number) => ctx.memory.write(MMIO + o, size, v);
  return { ctx, dev, read, write };
}

test("configuration space", () => {
  const { ctx, dev } = make();
  const rows: readonly (readonly [number, 1 | 2 | 4, number])[] = [
    [0x00, 4, 0x11111234],
    [0x08, 4, 0x03000002],
    [0x10, 4, FB | 8],
    [0x18, 4, MMIO],
    [0x2c, 4, 0x11001af4],
    [0x3d, 1, 0],
  ];
  for (const [o, size, v] of rows) assert.equal(dev.configRead(o, size), v >>> 0, o.toString(16));
  assert.equal(ctx.memory.read(ROM, 4), 0x004eaa55);
  for (const [o, v] of [
    [0x10, 0xff000008],
    [0x18, 0xfffff000],
    [0x30, 0xffff0000],
  ] as const) {
    dev.configWrite(o, 4, o === 0x30 ? 0xfffffffe : 0xffffffff);
    assert.equal(dev.configRead(o, 4), v, "size of BAR");
  }
});

test("BAR2: a driver without a BIOS sets a mode", () => {
  const { ctx, dev, read, write } = make();
  assert.equal(read(0x500, 2), 0xb0c5);
  assert.equal(read(0x514, 2), 256);
  assert.deepEqual([read(0x600, 4), read(0x604, 4)], [8, 0x1e1e1e1e]);
  write(0x400, 1, 0x20);
  for (const [i, v] of [
    [1, 64],
    [2, 4],
    [3, 32],
    [4, 0x41],
  ] as const)
    write(0x500 + 2 * i, 2, v);
  ctx.memory.write(FB + 4, 4, 0xff123456);
  assertPicture("32 bpp", dev.refresh(), 64, 4, (x, y) => (x === 1 && y === 0 ? 0x123456 : 0));
  write(0x604, 4, 0xbebebebe);
  assert.equal(read(0x604, 4), 0xbebebebe);
  assertPicture("big-endian", dev.refresh(), 64, 4, (x, y) => (x === 1 && y === 0 ? 0x3412ff : 0));
  write(0x604, 4, 0x1e1e1e1e);
  assert.equal(dev.vga.bigEndian, false);
  // Palette through the ports in BAR2, two bytes at once.
  write(0x408, 2, 0x3f05);
  write(0x409, 1, 0x20);
  write(0x409, 1, 0x10);
  write(0x407, 1, 5);
  assert.deepEqual([read(0x409, 1), read(0x409, 1), read(0x409, 1)], [0x3f, 0x20, 0x10]);
});

test("every access size at every offset of BAR2", () => {
  const { ctx, dev } = make();
  for (let o = 0; o < 0x1000; o++)
    for (const size of [1, 2, 4] as const) {
      const v = ctx.memory.read(MMIO + o, size);
      assert.ok(Number.isInteger(v) && v >= 0 && v < 256 ** size, `${o} ${size}: ${v}`);
      ctx.memory.write(MMIO + o, size, 0xffffffff);
    }
  dev.refresh();
  dev.reset();
  assert.equal(ctx.memory.find(FB), undefined);
  dev.dispose();
  assert.equal(ctx.io.find(0x3c0), undefined);
  assert.equal(ctx.memory.find(0xa0000), undefined);
});

test("EDID", () => {
  for (const [width, height] of [
    [1280, 800],
    [640, 480],
    [4095, 4095],
  ] as const) {
    const e = makeEdid({ width, height });
    assert.deepEqual([...e.subarray(0, 8)], [0, 255, 255, 255, 255, 255, 255, 0]);
    assert.equal(e.reduce((a, b) => a + b, 0) & 255, 0);
    assert.equal(e[56]! | ((e[58]! >> 4) << 8), width);
    assert.equal(e[59]! | ((e[61]! >> 4) << 8), height);
  }
  const { read } = make();
  assert.deepEqual([read(0, 4), read(4, 4), read(1, 2)], [0xffffff00, 0x00ffffff, 0xffff]);
});

test("isa-vga: framebuffer at E0000000, snapshot", () => {
  const ctx = testContext();
  const dev = new VgaIsa(ctx, ctx.ram.allocate("vga.vram", 2 ** 23));
  ctx.memory.write(0xe0000000, 1, 7);
  assert.equal(ctx.ram.bytes(dev.vga.vram)[0], 7);
  const state = dev.save();
  dev.reset();
  dev.restore(state);
  dev.dispose();
  assert.equal(ctx.memory.find(0xe0000000), undefined);
});
