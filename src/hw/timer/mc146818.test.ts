import assert from "node:assert/strict";
import { test } from "node:test";
import { IrqLine } from "../core/irq.js";
import { testContext } from "../misc/test-context.js";
import { Mc146818 } from "./mc146818.js";

function pc(wall = Date.UTC(2024, 1, 28, 23, 59, 58)) {
  const ctx = testContext(wall);
  let edges = 0;
  const irq: IrqLine = new IrqLine((l) => {
    if (l) edges++;
  });
  const rtc = new Mc146818(ctx, irq);
  rtc.map(ctx.io);
  rtc.reset();
  const w = (r: number, v: number) => {
    ctx.io.write(0x70, 1, r);
    ctx.io.write(0x71, 1, v);
  };
  const r = (n: number) => {
    ctx.io.write(0x70, 1, n);
    return ctx.io.read(0x71, 1);
  };
  const time = () => [0x32, 9, 8, 7, 4, 2, 0].map((n) => r(n).toString(16).padStart(2, "0")).join(" ");
  return { ctx, irq, rtc, w, r, time, edges: () => edges };
}
type M = ReturnType<typeof pc>;
const S = 1e9;

const rows: [string, (m: M) => unknown, unknown][] = [
  ["BCD, 24 hours", (m) => [m.time(), m.r(6)], ["20 24 02 28 23 59 58", 4]],
  [
    "leap day",
    (m) => {
      m.ctx.run(2 * S);
      return m.time();
    },
    "20 24 02 29 00 00 00",
  ],
  [
    "binary",
    (m) => {
      m.w(11, 6);
      return [m.r(4), m.r(2), m.r(0), m.r(9), m.r(0x32)];
    },
    [23, 59, 58, 24, 20],
  ],
  [
    "12 hours",
    (m) => {
      m.w(11, 0);
      const pm = m.r(4);
      m.ctx.run(3 * S);
      return [pm, m.r(4)];
    },
    [0x91, 0x12],
  ],
  ["status at reset", (m) => [10, 11, 12, 13].map(m.r), [0x26, 0x02, 0, 0x80]],
  [
    "SET: write all, then go",
    (m) => {
      m.w(11, 0x82);
      for (const [r, v] of [
        [0x32, 0x19],
        [9, 0x99],
        [8, 0x12],
        [7, 0x31],
        [4, 0x23],
        [2, 0x59],
        [0, 0x59],
      ] as const)
        m.w(r, v);
      m.ctx.run(10 * S);
      const still = m.time();
      m.w(11, 0x02);
      const go = m.time();
      m.ctx.run(0.6 * S);
      return [still, go, m.time()];
    },
    ["19 99 12 31 23 59 59", "19 99 12 31 23 59 59", "20 00 01 01 00 00 00"],
  ],
  [
    "one field without SET",
    (m) => {
      m.w(4, 0x11);
      return m.time();
    },
    "20 24 02 28 11 59 58",
  ],
  [
    "UIP before the second's end",
    (m) => {
      m.ctx.run(0.997 * S);
      const a = m.r(10);
      m.ctx.run(0.001 * S);
      const b = m.r(10);
      m.ctx.run(0.0021 * S);
      return [a, b, m.r(10)];
    },
    [0x26, 0xa6, 0x26],
  ],
  [
    "update-ended interrupt",
    (m) => {
      m.ctx.run(0.3 * S);
      m.w(11, 0x12);
      m.ctx.run(0.6 * S);
      const a = m.irq.level;
      m.ctx.run(0.2 * S);
      return [a, m.irq.level, m.r(12), m.irq.level, m.r(12)];
    },
    [false, true, 0xd0, false, 0],
  ],
  [
    "update flag without interrupt",
    (m) => {
      m.w(10, 0x20);
      m.r(12);
      m.ctx.run(1.5 * S);
      return [m.irq.level, m.r(12), m.r(12)];
    },
    [false, 0x10, 0],
  ],
  [
    "alarm",
    (m) => {
      m.w(1, 0x03);
      m.w(3, 0x00);
      m.w(5, 0x00);
      m.w(11, 0x22);
      m.ctx.run(4.5 * S);
      const a = m.irq.level;
      m.ctx.run(1 * S);
      return [a, m.irq.level, m.r(12) & 0xa0, m.time()];
    },
    [false, true, 0xa0, "20 24 02 29 00 00 03"],
  ],
  [
    "alarm each second with don't-care",
    (m) => {
      for (const r of [1, 3, 5]) m.w(r, 0xff);
      m.w(11, 0x22);
      let n = 0;
      for (let i = 0; i < 5; i++) {
        m.ctx.run(S);
        if (m.r(12) & 0x20) n++;
      }
      return n;
    },
    5,
  ],
  [
    "alarm that cannot match",
    (m) => {
      m.w(1, 0x77);
      m.w(11, 0x22);
      m.ctx.run(100 * S);
      return m.irq.level;
    },
    false,
  ],
  [
    "periodic 1024 Hz",
    (m) => {
      m.w(11, 0x42);
      let n = 0;
      for (let i = 0; i < 1000; i++) {
        m.ctx.run(S / 1000);
        if (m.r(12) & 0x40) n++;
      }
      return [n, m.edges()];
    },
    [1000, 1000],
  ],
  [
    "without a read of C no further edge",
    (m) => {
      m.w(11, 0x42);
      m.ctx.run(S);
      return [m.edges(), m.irq.level];
    },
    [1, true],
  ],
  [
    "CMOS RAM, NMI mask",
    (m) => {
      m.rtc.set(0x10, 0x44);
      m.w(0x90, 0x55);
      return [m.r(0x10), m.rtc.nmiMasked, m.ctx.io.read(0x70, 1)];
    },
    [0x55, false, 0xff],
  ],
  [
    "nonsense in the date does not throw",
    (m) => {
      m.w(11, 0x82);
      for (let r = 0; r < 10; r++) m.w(r, 0xff);
      m.w(0x32, 0xff);
      m.w(11, 0x02);
      m.ctx.run(S);
      return typeof m.r(0);
    },
    "number",
  ],
];
for (const [name, run, want] of rows)
  test(`rtc: ${name}`, () => {
    assert.deepEqual(run(pc()), want);
  });

test("rtc: state survives", () => {
  const a = pc();
  a.w(11, 0x52);
  a.w(4, 0x05);
  a.ctx.run(1.25 * S);
  const b = pc();
  b.ctx.clock.set(a.ctx.clock.nowNs());
  b.rtc.restore(a.rtc.save());
  a.ctx.run(S);
  b.ctx.run(S);
  assert.equal(b.time(), a.time());
  assert.deepEqual(b.rtc.save(), a.rtc.save());
});
