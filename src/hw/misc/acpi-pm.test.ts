import assert from "node:assert/strict";
import { test } from "node:test";
import { IrqLine } from "../core/irq.js";
import { PM_TIMER_HZ } from "./acpi-pm.js";
import { Piix4Pm } from "./piix4-pm.js";
import { testContext } from "./test-context.js";

function pc(smm = false) {
  const ctx = testContext();
  const sci = new IrqLine();
  const events: string[] = [];
  const dev = new Piix4Pm(ctx, sci, { smm, onSleep: (s) => events.push(s), onSmi: () => events.push("smi") });
  dev.attach({ bus: 0, devfn: 0x0b, setIrq: () => {} });
  dev.pm.map(ctx.io);
  dev.reset();
  const cfg = (r: number, size: 1 | 2 | 4, v: number) => dev.configWrite(r, size, v);
  cfg(0x40, 4, 0xb001);
  cfg(0x80, 1, 1);
  cfg(0x90, 4, 0xb101);
  const o = (p: number, size: 1 | 2 | 4, v: number) => ctx.io.write(p, size, v);
  const i = (p: number, size: 1 | 2 | 4) => ctx.io.read(p, size);
  return { ctx, sci, events, dev, cfg, o, i };
}
type M = ReturnType<typeof pc>;
const MSB_NS = Math.ceil((0x800000 * 1e9) / PM_TIMER_HZ);

const rows: [string, (m: M) => unknown, unknown][] = [
  ["identity", (m) => [m.dev.configRead(0, 4), m.dev.configRead(8, 4), m.dev.configRead(0x3d, 1)], [0x71138086, 0x06800003, 1]],
  [
    "base moves and goes",
    (m) => {
      const a = m.dev.pmBase;
      m.cfg(0x40, 4, 0x601);
      const b = [m.dev.pmBase, m.i(0xb004, 2), m.i(0x604, 2)];
      m.cfg(0x80, 1, 0);
      return [a, b, m.dev.pmBase, m.i(0x604, 2), m.dev.configRead(0x40, 4)];
    },
    [0xb000, [0x600, 0xffff, 0], -1, 0xffff, 0x601],
  ],
  [
    "PM timer counts 24 bits",
    (m) => {
      m.ctx.run(1e9);
      const a = m.i(0xb008, 4);
      m.ctx.run(4e9);
      return [a, m.i(0xb008, 4)];
    },
    [PM_TIMER_HZ, (5 * PM_TIMER_HZ) & 0xffffff],
  ],
  [
    "timer status at each change of the highest bit, with SCI",
    (m) => {
      m.o(0xb2, 1, 0xf1);
      m.o(0xb002, 2, 1);
      m.ctx.run(MSB_NS - 1);
      const a = [m.i(0xb000, 2), m.sci.level];
      m.ctx.run(1);
      const b = [m.i(0xb000, 2), m.sci.level];
      m.o(0xb000, 2, 1);
      const c = [m.i(0xb000, 2), m.sci.level];
      m.ctx.run(MSB_NS);
      return [a, b, c, m.sci.level];
    },
    [[0, false], [1, true], [0, false], true],
  ],
  [
    "power button needs enable and SCI_EN",
    (m) => {
      m.dev.pm.powerButton();
      const a = m.sci.level;
      m.o(0xb002, 2, 0x100);
      const b = m.sci.level;
      m.o(0xb2, 1, 0xf1);
      const c = [m.sci.level, m.i(0xb004, 2)];
      m.o(0xb000, 2, 0x100);
      m.o(0xb2, 1, 0xf0);
      return [a, b, c, m.sci.level, m.i(0xb004, 2)];
    },
    [false, false, [true, 1], false, 0],
  ],
  [
    "sleep types",
    (m) => {
      m.o(0xb004, 2, 0x2001);
      m.o(0xb004, 2, 0x2401);
      m.o(0xb004, 2, 0x2801);
      m.o(0xb004, 2, 0x3c01);
      return [m.events, m.i(0xb004, 2)];
    },
    [["S5", "S3", "S4"], 0x1c01],
  ],
  [
    "sleep by bytes",
    (m) => {
      m.o(0xb005, 1, 0x24);
      return m.events;
    },
    ["S3"],
  ],
  [
    "GPE0",
    (m) => {
      m.o(0xb2, 1, 0xf1);
      m.dev.pm.raiseGpe(9);
      const a = [m.i(0xafe0, 2), m.sci.level];
      m.o(0xafe3, 1, 2);
      const b = [m.i(0xafe2, 2), m.sci.level];
      m.o(0xafe1, 1, 2);
      return [a, b, m.sci.level];
    },
    [[0x200, false], [0x200, true], false],
  ],
  ["without SMM the setup bit is always there", (m) => [m.cfg(0x58, 4, 0), m.dev.configRead(0x58, 4)][1], 0x02000000],
  [
    "APM status stores",
    (m) => {
      m.o(0xb3, 1, 0x5a);
      m.o(0xb2, 1, 0x11);
      return [m.i(0xb3, 1), m.i(0xb2, 1), m.events];
    },
    [0x5a, 0x11, []],
  ],
  [
    "wake",
    (m) => {
      m.dev.pm.wake();
      return m.i(0xb000, 2);
    },
    0x8000,
  ],
];
for (const [name, run, want] of rows)
  test(`acpi-pm: ${name}`, () => {
    assert.deepEqual(run(pc()), want);
  });

test("acpi-pm: APMC_EN makes SMIs when there is SMM", () => {
  const m = pc(true);
  m.o(0xb2, 1, 0x11);
  m.cfg(0x58, 4, 0x02000000);
  m.o(0xb2, 1, 0x11);
  assert.deepEqual(m.events, ["smi"]);
});

test("acpi-pm: reset and state", () => {
  const a = pc();
  a.o(0xb2, 1, 0xf1);
  a.o(0xb002, 2, 0x101);
  const b = pc();
  b.dev.restore(a.dev.save());
  assert.deepEqual(b.dev.save(), a.dev.save());
  a.dev.reset();
  assert.deepEqual([a.dev.pmBase, a.dev.configRead(0x40, 4), a.sci.level], [-1, 1, false]);
});
