import assert from "node:assert/strict";
import { test } from "node:test";
import { TestVga } from "./test-vga.js";

/** Planes of an address as a 32-bit number, plane 3 first. */
function planes(t: TestVga, address: number): number {
  return t.ctx.ram.view.getUint32(t.vga.vram.hostOffset + address * 4, true);
}

test("write modes, read modes, latches", () => {
  interface Row {
    readonly name: string;
    /** Graphics registers set before; the latches hold 0x44332211. */
    readonly gfx?: readonly (readonly [number, number])[];
    readonly mask?: number;
    readonly write: number;
    readonly expect: number;
  }
  const rows: readonly Row[] = [
    { name: "mode 0, all planes", write: 0xa5, expect: 0xa5a5a5a5 },
    { name: "mode 0, planes 0 and 2", mask: 5, write: 0xa5, expect: 0x99a577a5 },
    { name: "mode 0, no plane", mask: 0, write: 0xa5, expect: 0x99887766 },
    { name: "mode 0, rotated by 3", gfx: [[3, 3]], write: 0b00001111, expect: 0xe1e1e1e1 },
    { name: "mode 0, bit mask takes the latch", gfx: [[8, 0xf0]], write: 0xa5, expect: 0xa4a3a2a1 },
    { name: "mode 0, and", gfx: [[3, 0x08]], write: 0x13, expect: 0x00130211 },
    { name: "mode 0, or", gfx: [[3, 0x10]], write: 0x80, expect: 0xc4b3a291 },
    { name: "mode 0, xor", gfx: [[3, 0x18]], write: 0xff, expect: 0xbbccddee },
    {
      name: "mode 0, set/reset on planes 1 and 2",
      gfx: [
        [0, 0b0010],
        [1, 0b0110],
      ],
      write: 0x5a,
      expect: 0x5a00ff5a,
    },
    { name: "mode 1", gfx: [[5, 1]], write: 0xa5, expect: 0x44332211 },
    { name: "mode 1, plane 3", gfx: [[5, 1]], mask: 8, write: 0xa5, expect: 0x44887766 },
    {
      name: "mode 2, bit mask",
      gfx: [
        [5, 2],
        [8, 0x0f],
      ],
      write: 0b1010,
      expect: 0x4f302f10,
    },
    {
      name: "mode 2, xor",
      gfx: [
        [5, 2],
        [3, 0x18],
      ],
      write: 0b0001,
      expect: 0x443322ee,
    },
    {
      name: "mode 3, data and bit mask select set/reset",
      gfx: [
        [5, 3],
        [0, 0b1001],
        [8, 0xf0],
      ],
      write: 0x3c,
      expect: 0x74030231,
    },
    {
      name: "mode 3, rotated",
      gfx: [
        [5, 3],
        [0, 0b1111],
        [3, 4],
      ],
      write: 0x0f,
      expect: 0xf4f3f2f1,
    },
  ];
  for (const row of rows) {
    const t = new TestVga().mode(0x12);
    t.ctx.ram.view.setUint32(t.vga.vram.hostOffset + 0, 0x44332211, true);
    t.ctx.ram.view.setUint32(t.vga.vram.hostOffset + 400, 0x99887766, true);
    assert.equal(t.peek(0xa0000), 0x11);
    for (const [i, v] of row.gfx ?? []) t.gfx(i, v);
    t.seq(2, row.mask ?? 15);
    t.poke(0xa0000 + 100, row.write);
    assert.equal(planes(t, 100).toString(16), row.expect.toString(16), row.name);
  }
});

test("read map and colour compare", () => {
  const t = new TestVga().mode(0x12);
  t.ctx.ram.view.setUint32(t.vga.vram.hostOffset + 28, 0xf0cc_aa0f, true);
  for (const [plane, expect] of [0x0f, 0xaa, 0xcc, 0xf0].entries()) {
    t.gfx(4, plane);
    assert.equal(t.peek(0xa0007), expect, `plane ${plane}`);
  }
  t.gfx(5, 8);
  // Pixel 7 (leftmost) has planes 3, 2, 1 set: colour 14; the rightmost plane 0 only.
  for (const [compare, care, expect] of [
    [14, 15, 0x80],
    [1, 15, 0x01],
    [15, 0, 0xff],
    [1, 1, 0x0f],
    [0, 1, 0xf0],
    [10, 10, 0xa0],
  ] as const) {
    t.gfx(2, compare);
    t.gfx(7, care);
    assert.equal(t.peek(0xa0007), expect, `compare ${compare} care ${care}`);
  }
});

test("memory maps", () => {
  const rows: readonly (readonly [map: number, first: number, last: number])[] = [
    [0, 0xa0000, 0xbffff],
    [1, 0xa0000, 0xaffff],
    [2, 0xb0000, 0xb7fff],
    [3, 0xb8000, 0xbffff],
  ];
  for (const [map, first, last] of rows) {
    const t = new TestVga().mode(0x12);
    t.vram.fill(0x5a, 0, 0x80000);
    t.gfx(6, 1 | (map << 2));
    for (const [a, inside] of [
      [first - 1, false],
      [first, true],
      [last, true],
      [last + 1, false],
    ] as const)
      assert.equal(t.peek(a), inside ? 0x5a : 0xff, `map ${map} address ${a.toString(16)}`);
    t.poke(first, 1);
    assert.equal(planes(t, 0), 0x01010101);
    // Above 64 KiB of plane addresses the planes wrap.
    if (map === 0) {
      t.poke(0xb0000, 2);
      assert.equal(planes(t, 0), 0x02020202);
    }
  }
});

test("odd/even and chain-4 addresses", () => {
  const text = new TestVga().mode(3);
  text.poke(0xb8000, 0x41, 0x07, 0x42, 0x17);
  assert.deepEqual([planes(text, 0), planes(text, 1)], [0x0741, 0x1742]);
  assert.equal(text.ctx.memory.read(0xb8000, 4), 0x17420741);

  const c4 = new TestVga().mode(0x13);
  c4.ctx.memory.write(0xa0101, 4, 0x44332211);
  assert.deepEqual([...c4.vram.subarray(0x100, 0x106)], [0, 0x11, 0x22, 0x33, 0x44, 0]);
  c4.seq(2, 0b0010);
  c4.ctx.memory.write(0xa0200, 4, 0xffffffff);
  assert.deepEqual([...c4.vram.subarray(0x200, 0x204)], [0, 0xff, 0, 0]);
});

test("plain mapping comes with a frame and goes with the register that ends it", () => {
  const mapped = (t: TestVga) => t.ctx.memory.find(0xa0000)?.mapping.region.kind === "ram";
  const t = new TestVga().mode(0x13);
  assert.equal(mapped(t), false);
  t.vga.refresh();
  assert.equal(mapped(t), true);
  t.poke(0xa0000 + 321, 77);
  assert.equal(t.vram[321], 77);
  t.seq(2, 1);
  assert.equal(mapped(t), false);
  t.seq(2, 15);
  assert.equal(mapped(t), false, "only a frame maps it again");
  t.vga.refresh();
  assert.equal(mapped(t), true);
  t.gfx(8, 0x0f);
  assert.equal(mapped(t), false);
  // A Bochs bank: the window follows it.
  t.vbe(4, 0);
  for (const [i, v] of [
    [1, 1024],
    [2, 768],
    [3, 8],
    [4, 1],
  ] as const)
    t.vbe(i, v);
  t.vbe(5, 3);
  t.vga.refresh();
  assert.equal(mapped(t), true);
  t.poke(0xa0005, 9);
  assert.equal(t.vram[0x30005], 9);
  t.vbe(5, 4);
  assert.equal(mapped(t), false);
  t.poke(0xa0005, 10);
  assert.equal(t.vram[0x40005], 10);
  t.vga.reset();
  assert.equal(mapped(t), false);
});
