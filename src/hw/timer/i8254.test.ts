import assert from "node:assert/strict";
import { test } from "node:test";
import { IrqLine } from "../core/irq.js";
import { Port61 } from "../misc/port61.js";
import { testContext } from "../misc/test-context.js";
import { I8254, PIT_HZ } from "./i8254.js";

const clocks = (n: number) => Math.ceil((n * 1e9) / PIT_HZ);

function pc() {
  const ctx = testContext();
  const edges: [number, boolean][] = [];
  const irq: IrqLine = new IrqLine((l) => edges.push([Math.floor((ctx.clock.nowNs() * PIT_HZ) / 1e9 + 0.001), l]));
  const pit = new I8254(ctx, irq);
  const p61 = new Port61(ctx, pit);
  pit.map(ctx.io);
  p61.map(ctx.io);
  pit.reset();
  p61.reset();
  const o = (p: number, v: number) => ctx.io.write(p, 1, v);
  const i = (p: number) => ctx.io.read(p, 1);
  const count = (c: number) => {
    o(0x43, c << 6);
    return i(0x40 + c) | (i(0x40 + c) << 8);
  };
  const program = (c: number, mode: number, n: number, bcd = 0) => {
    o(0x43, (c << 6) | 0x30 | (mode << 1) | bcd);
    o(0x40 + c, n & 255);
    o(0x40 + c, n >> 8);
  };
  const status = (c: number) => {
    o(0x43, 0xe0 | (2 << c));
    return i(0x40 + c);
  };
  return { ctx, pit, irq, edges, o, i, count, program, status };
}
type M = ReturnType<typeof pc>;

const rows: [string, (m: M) => unknown, unknown][] = [
  [
    "mode 0: low until the count, then high",
    (m) => {
      m.program(0, 0, 100);
      const a = m.irq.level;
      m.ctx.run(clocks(99));
      const b = m.irq.level;
      m.ctx.run(clocks(1));
      return [a, b, m.irq.level, m.edges];
    },
    [
      false,
      false,
      true,
      [
        [0, true],
        [0, false],
        [100, true],
      ].slice(2),
    ],
  ],
  [
    "mode 2: a rising edge each period",
    (m) => {
      m.program(0, 2, 1000);
      m.ctx.run(clocks(3500));
      return m.edges.filter(([t, l]) => l && t > 0).map(([t]) => t);
    },
    [1000, 2000, 3000],
  ],
  [
    "mode 3: both edges, odd count is longer high",
    (m) => {
      m.program(0, 3, 1001);
      m.ctx.run(clocks(2100));
      return m.edges.filter(([t]) => t > 0);
    },
    [
      [501, false],
      [1001, true],
      [1502, false],
      [2002, true],
    ],
  ],
  [
    "mode 4: one pulse",
    (m) => {
      m.program(0, 4, 50);
      m.ctx.run(clocks(500));
      return m.edges.filter(([t]) => t > 0);
    },
    [
      [51, false],
      [51, true],
    ],
  ],
  [
    "mode 2 count",
    (m) => {
      m.program(2, 2, 1000);
      m.o(0x61, 1);
      m.ctx.run(clocks(1));
      const a = m.count(2);
      m.ctx.run(clocks(998));
      return [a, m.count(2)];
    },
    [999, 1],
  ],
  [
    "mode 3 counts by two",
    (m) => {
      m.program(0, 3, 1000);
      m.ctx.run(clocks(10));
      const a = m.count(0);
      m.ctx.run(clocks(500));
      return [a, m.count(0)];
    },
    [980, 980],
  ],
  [
    "mode 0 counts on past zero",
    (m) => {
      m.program(0, 0, 10);
      m.ctx.run(clocks(12));
      return m.count(0);
    },
    0xfffe,
  ],
  [
    "BCD",
    (m) => {
      m.program(0, 2, 0x1000, 1);
      m.ctx.run(clocks(1));
      return m.count(0).toString(16);
    },
    "999",
  ],
  [
    "count 0 is 65536",
    (m) => {
      m.program(0, 2, 0);
      m.ctx.run(clocks(1));
      const a = m.count(0);
      m.ctx.run(clocks(65536));
      return [a, m.edges.filter(([t, l]) => l && t > 0).length];
    },
    [0xffff, 1],
  ],
  [
    "a latched count stays while time goes on; second latch is ignored",
    (m) => {
      m.program(0, 2, 5000);
      m.o(0x43, 0);
      m.ctx.run(clocks(100));
      m.o(0x43, 0);
      const a = m.i(0x40) | (m.i(0x40) << 8);
      return [a, m.count(0)];
    },
    [5000, 4900],
  ],
  [
    "status: out, null count, access, mode",
    (m) => {
      m.o(0x43, 0x36);
      const before = m.status(0);
      m.o(0x40, 0);
      m.o(0x40, 1);
      return [before, m.status(0)];
    },
    [0xf6, 0xb6],
  ],
  [
    "read-back of status and count together: status first",
    (m) => {
      m.program(0, 2, 0x1234);
      m.o(0x43, 0xc2);
      return [m.i(0x40), m.i(0x40), m.i(0x40)];
    },
    [0xb4, 0x34, 0x12],
  ],
  [
    "low byte only",
    (m) => {
      m.o(0x43, 0x14);
      m.o(0x40, 200);
      m.ctx.run(clocks(1));
      m.o(0x43, 0);
      return [m.i(0x40), m.status(0) & 0x30];
    },
    [199, 0x10],
  ],
  [
    "counter 2: gate holds mode 0, out in bit 5 of port 61h",
    (m) => {
      m.program(2, 0, 100);
      m.ctx.run(clocks(1000));
      const held = [m.count(2), m.i(0x61) & 0x20];
      m.o(0x61, 1);
      m.ctx.run(clocks(50));
      m.o(0x61, 0);
      m.ctx.run(clocks(500));
      const half = m.count(2);
      m.o(0x61, 1);
      m.ctx.run(clocks(49));
      const before = m.i(0x61) & 0x20;
      m.ctx.run(clocks(2));
      return [...held, half, before, m.i(0x61) & 0x20];
    },
    [100, 0, 50, 0, 0x20],
  ],
  [
    "counter 2: mode 1 is triggered by the gate",
    (m) => {
      m.program(2, 1, 100);
      const a = m.i(0x61) & 0x20;
      m.o(0x61, 1);
      const b = m.i(0x61) & 0x20;
      m.ctx.run(clocks(101));
      return [a, b, m.i(0x61) & 0x20];
    },
    [0x20, 0, 0x20],
  ],
  [
    "a new count in mode 2 takes over at the period's end",
    (m) => {
      m.program(0, 2, 1000);
      m.ctx.run(clocks(500));
      m.o(0x40, 2000 & 255);
      m.o(0x40, 2000 >> 8);
      m.ctx.run(clocks(4000));
      return m.edges.filter(([t, l]) => l && t > 0).map(([t]) => t);
    },
    [1000, 3000],
  ],
  [
    "refresh toggles",
    (m) => {
      const a = m.i(0x61) & 0x10;
      m.ctx.run(15_100);
      return [a, m.i(0x61) & 0x10];
    },
    [0, 0x10],
  ],
  [
    "period of two clocks: at most one event each 10 us",
    (m) => {
      m.program(0, 2, 2);
      m.ctx.run(1e6);
      return m.edges.length <= 202 && m.edges.length > 150;
    },
    true,
  ],
];

for (const [name, run, want] of rows)
  test(`i8254: ${name}`, () => {
    assert.deepEqual(run(pc()), want);
  });

test("i8254: a late host catches up, but not for ever", () => {
  const m = pc();
  m.program(0, 2, 11932);
  m.ctx.clock.advance(45e6);
  const before = m.edges.length;
  for (let i = 0; i < 10; i++) {
    m.ctx.timers.runDue();
    m.ctx.clock.advance(200_000);
  }
  assert.equal(m.edges.filter(([, l]) => l).length - (before ? 1 : 0), 4);
  m.ctx.clock.advance(100e9);
  m.edges.length = 0;
  for (let i = 0; i < 100; i++) {
    m.ctx.timers.runDue();
    m.ctx.clock.advance(10_000);
  }
  assert.ok(m.edges.length <= 4);
});

test("i8254: state survives", () => {
  const a = pc();
  a.program(0, 3, 1000);
  a.ctx.run(clocks(1234));
  const b = pc();
  b.ctx.clock.set(a.ctx.clock.nowNs());
  b.pit.restore(a.pit.save());
  a.edges.length = 0;
  b.edges.length = 0;
  a.ctx.run(clocks(3000));
  b.ctx.run(clocks(3000));
  assert.deepEqual(b.edges, a.edges);
  assert.equal(b.count(0), a.count(0));
});
