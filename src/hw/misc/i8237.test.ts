import assert from "node:assert/strict";
import { test } from "node:test";
import { I8237Pair } from "./i8237.js";
import { testContext } from "./test-context.js";

function pc() {
  const ctx = testContext();
  const dma = new I8237Pair(ctx);
  dma.map(ctx.io);
  dma.reset();
  const o = (p: number, v: number) => ctx.io.write(p, 1, v);
  const i = (p: number) => ctx.io.read(p, 1);
  /** Channel 2 at `page:address`, `count` bytes. */
  const program = (mode: number, address: number, count: number, page = 0) => {
    o(0x0a, 6);
    o(0x0c, 0);
    o(0x04, address & 255);
    o(0x04, address >> 8);
    o(0x05, (count - 1) & 255);
    o(0x05, (count - 1) >> 8);
    o(0x81, page);
    o(0x0b, mode | 2);
    o(0x0a, 2);
  };
  const mem = (a: number, n: number) => {
    const out = new Uint8Array(n);
    ctx.memory.readBytes(a, out);
    return [...out];
  };
  const word = (p: number) => i(p) | (i(p) << 8);
  return { ctx, dma, o, i, program, mem, word };
}
type M = ReturnType<typeof pc>;
const data = Uint8Array.of(1, 2, 3, 4);

const rows: [string, (m: M) => unknown, unknown][] = [
  [
    "device to memory, to terminal count",
    (m) => {
      m.program(0x44, 0x1000, 4);
      const r = m.dma.channel(2).toMemory(data);
      return [r, m.mem(0x1000, 5), m.i(8), m.i(8), m.dma.channel(2).ready, m.word(4), m.word(5)];
    },
    [{ count: 4, terminalCount: true }, [1, 2, 3, 4, 0], 4, 0, false, 0x1004, 0xffff],
  ],
  [
    "in two parts",
    (m) => {
      m.program(0x44, 0x1000, 6);
      const c = m.dma.channel(2);
      const a = c.toMemory(data);
      const left = c.remaining;
      return [a.terminalCount, left, c.toMemory(data), m.mem(0x1000, 7)];
    },
    [false, 2, { count: 2, terminalCount: true }, [1, 2, 3, 4, 1, 2, 0]],
  ],
  [
    "memory to device",
    (m) => {
      m.ctx.memory.writeBytes(0x2000, data);
      m.program(0x48, 0x2000, 4);
      const out = new Uint8Array(4);
      return [m.dma.channel(2).fromMemory(out).count, [...out]];
    },
    [4, [1, 2, 3, 4]],
  ],
  [
    "verify counts and stores nothing",
    (m) => {
      m.program(0x40, 0x1000, 4);
      return [m.dma.channel(2).toMemory(data), m.mem(0x1000, 4)];
    },
    [{ count: 4, terminalCount: true }, [0, 0, 0, 0]],
  ],
  [
    "autoinit",
    (m) => {
      m.program(0x54, 0x1000, 4);
      m.dma.channel(2).toMemory(data);
      return [m.dma.channel(2).ready, m.word(4), m.word(5)];
    },
    [true, 0x1000, 3],
  ],
  [
    "decrement",
    (m) => {
      m.program(0x64, 0x1003, 4);
      m.dma.channel(2).toMemory(data);
      return m.mem(0x1000, 4);
    },
    [4, 3, 2, 1],
  ],
  [
    "the address wraps inside its page",
    (m) => {
      m.program(0x44, 0xfffe, 4);
      m.dma.channel(2).toMemory(data);
      return [m.mem(0xfffe, 2), m.mem(0, 2)];
    },
    [
      [1, 2],
      [3, 4],
    ],
  ],
  [
    "masked, disabled, cascade, wrong way: nothing",
    (m) => {
      const c = m.dma.channel(2);
      m.program(0x44, 0x1000, 4);
      m.o(0x0a, 6);
      const masked = c.toMemory(data).count;
      m.o(0x0a, 2);
      m.o(8, 4);
      const off = c.toMemory(data).count;
      m.o(8, 0);
      m.program(0xc4, 0x1000, 4);
      const cascade = c.toMemory(data).count;
      m.program(0x48, 0x1000, 4);
      return [masked, off, cascade, c.toMemory(data).count, m.ctx.log.length];
    },
    [0, 0, 0, 0, 1],
  ],
  [
    "words on channel 5",
    (m) => {
      m.o(0xd8, 0);
      m.o(0xc4, 0x00);
      m.o(0xc4, 0x08);
      m.o(0xc6, 1);
      m.o(0xc6, 0);
      m.o(0x8b, 0);
      m.o(0xd6, 0x45);
      m.o(0xd4, 1);
      return [m.dma.channel(5).remaining, m.dma.channel(5).toMemory(data), m.mem(0x1000, 4)];
    },
    [4, { count: 4, terminalCount: true }, [1, 2, 3, 4]],
  ],
  [
    "unmasking wakes a waiting device",
    (m) => {
      let woken = 0;
      const c = m.dma.channel(2);
      c.onReady = () => woken++;
      c.setRequest(true);
      m.program(0x44, 0, 4);
      return [woken > 0, m.i(8)];
    },
    [true, 0x40],
  ],
  [
    "mask register",
    (m) => [m.i(0x0f), m.o(0x0f, 5), m.i(0x0f), m.o(0x0e, 0), m.i(0x0f)].filter((v) => v !== undefined),
    [0xff, 0xf5, 0xf0],
  ],
  ["page registers store", (m) => [m.o(0x84, 0x5a), m.i(0x84)][1], 0x5a],
];
for (const [name, run, want] of rows)
  test(`i8237: ${name}`, () => {
    assert.deepEqual(run(pc()), want);
  });

test("i8237: state survives", () => {
  const a = pc();
  a.program(0x54, 0x1000, 9);
  a.dma.channel(2).toMemory(data);
  const b = pc();
  b.dma.restore(a.dma.save());
  assert.deepEqual(b.dma.save(), a.dma.save());
});
