import assert from "node:assert/strict";
import { test } from "node:test";
import { IrqLine } from "../core/irq.js";
import { testContext } from "../misc/test-context.js";
import { HPET_BASE, Hpet } from "./hpet.js";

function pc() {
  const ctx = testContext();
  const events: [string, number][] = [];
  const line = (name: string) =>
    new IrqLine((l) => {
      if (l) events.push([name, ctx.clock.nowNs()]);
    });
  const gsi = Array.from({ length: 24 }, (_, n) => line(`gsi${n}`));
  const hpet = new Hpet(ctx, {
    gsi,
    irq0: line("irq0"),
    irq8: line("irq8"),
    onLegacy: (on) => events.push([`legacy ${on}`, ctx.clock.nowNs()]),
    msi: (a, d) => events.push([`msi ${a.toString(16)} ${d.toString(16)}`, ctx.clock.nowNs()]),
  });
  hpet.map(ctx.memory);
  hpet.reset();
  const w = (r: number, v: number) => ctx.memory.write(HPET_BASE + r, 4, v);
  const r = (o: number) => ctx.memory.read(HPET_BASE + o, 4);
  return { ctx, events, hpet, gsi, w, r };
}
type M = ReturnType<typeof pc>;
const GSI2 = 2 << 9;

const rows: [string, (m: M) => unknown, unknown][] = [
  ["capabilities", (m) => [m.r(0), m.r(4), m.r(0x100), m.r(0x104)], [0x8086a201, 10_000_000, 0x8030, 4]],
  [
    "counter runs only when enabled, keeps its value",
    (m) => {
      m.ctx.run(1000);
      const a = m.r(0xf0);
      m.w(0x10, 1);
      m.ctx.run(1000);
      const b = m.r(0xf0);
      m.w(0x10, 0);
      m.ctx.run(1000);
      return [a, b, m.r(0xf0)];
    },
    [0, 100, 100],
  ],
  [
    "64-bit counter in halves",
    (m) => {
      m.w(0xf0, 0xfffffffe);
      m.w(0xf4, 5);
      m.w(0x10, 1);
      m.ctx.run(10);
      const l = m.r(0xf0);
      m.ctx.run(100);
      return [l, m.r(0xf4), m.r(0xf4)];
    },
    [0xffffffff, 5, 6],
  ],
  [
    "one-shot edge",
    (m) => {
      m.w(0x10, 1);
      m.w(0x100, 4 | GSI2);
      m.w(0x108, 5000);
      m.w(0x10c, 0);
      m.ctx.run(200_000);
      return m.events;
    },
    [["gsi2", 50_000]],
  ],
  [
    "periodic as Linux programs it, legacy route",
    (m) => {
      m.w(0x10, 3);
      m.w(0x100, 0x14c);
      m.w(0x108, 10_000);
      m.w(0x108, 10_000);
      m.ctx.run(350_000);
      return [m.events, m.r(0x108)];
    },
    [
      [
        ["legacy true", 0],
        ["irq0", 100_000],
        ["irq0", 200_000],
        ["irq0", 300_000],
      ],
      40_000,
    ],
  ],
  [
    "level until the status is cleared",
    (m) => {
      m.w(0x10, 1);
      m.w(0x120, 6 | GSI2);
      m.w(0x128, 100);
      m.w(0x12c, 0);
      m.ctx.run(1000);
      const a = [m.gsi[2]!.level, m.r(0x20)];
      m.w(0x20, 2);
      return [a, m.gsi[2]!.level, m.r(0x20)];
    },
    [[true, 2], false, 0],
  ],
  [
    "FSB",
    (m) => {
      m.w(0x10, 1);
      m.w(0x150, 0x41);
      m.w(0x154, 0xfee00000);
      m.w(0x140, 0x4004);
      m.w(0x148, 100);
      m.w(0x14c, 0);
      m.ctx.run(2000);
      return m.events;
    },
    [["msi fee00000 41", 1000]],
  ],
  [
    "a comparator just missed fires at once, once",
    (m) => {
      m.w(0x10, 1);
      m.ctx.run(100_000);
      m.w(0x100, 0x104 | GSI2);
      m.w(0x108, 9990);
      m.ctx.run(1_000_000);
      return m.events.length;
    },
    1,
  ],
  [
    "32-bit one-shot comes again after a wrap",
    (m) => {
      m.w(0x10, 1);
      m.w(0x100, 0x104 | GSI2);
      m.w(0x108, 100);
      m.ctx.run(43e9);
      return m.events.map(([, t]) => t);
    },
    [1000, 1000 + 2 ** 32 * 10],
  ],
  [
    "period of one tick is held at 20 us",
    (m) => {
      m.w(0x10, 1);
      m.w(0x100, 0x14c | GSI2);
      m.w(0x108, 1);
      m.w(0x108, 1);
      m.ctx.run(1e6);
      return m.events.length > 40 && m.events.length <= 51;
    },
    true,
  ],
  [
    "enabling with the reset comparator is quiet",
    (m) => {
      m.w(0x10, 1);
      m.w(0x100, 4 | GSI2);
      m.ctx.run(1e9);
      return m.events;
    },
    [],
  ],
];
for (const [name, run, want] of rows)
  test(`hpet: ${name}`, () => {
    assert.deepEqual(run(pc()), want);
  });

test("hpet: state survives", () => {
  const a = pc();
  a.w(0x10, 1);
  a.w(0x100, 0x14c | GSI2);
  a.w(0x108, 10_000);
  a.w(0x108, 10_000);
  a.ctx.run(123_456);
  const b = pc();
  b.ctx.clock.set(a.ctx.clock.nowNs());
  b.hpet.restore(a.hpet.save());
  b.events.length = 0;
  a.events.length = 0;
  a.ctx.run(300_000);
  b.ctx.run(300_000);
  assert.deepEqual(b.events, a.events);
});
