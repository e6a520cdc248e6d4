import assert from "node:assert/strict";
import { test } from "node:test";
import { IrqLine } from "../core/irq.js";
import { testContext } from "../misc/test-context.js";
import { I8259Pair } from "./i8259.js";

function pc(auto = false) {
  const ctx = testContext();
  const out = new IrqLine();
  const pic = new I8259Pair(ctx, out);
  pic.map(ctx.io);
  const o = (p: number, v: number) => ctx.io.write(p, 1, v);
  o(0x20, 0x11);
  o(0x21, 0x08);
  o(0x21, 0x04);
  o(0x21, auto ? 3 : 1);
  o(0xa0, 0x11);
  o(0xa1, 0x70);
  o(0xa1, 0x02);
  o(0xa1, auto ? 3 : 1);
  return { ctx, pic, out, o, i: (p: number) => ctx.io.read(p, 1) };
}

type M = ReturnType<typeof pc>;
const irq = (m: M, n: number, level = true) => m.pic.inputs[n]!.set(level);

const rows: [string, boolean, (m: M) => unknown[], unknown[]][] = [
  ["idle", false, (m) => [m.out.level, m.pic.acknowledge()], [false, 15]],
  ["irq 1 edge", false, (m) => [irq(m, 1), m.out.level, m.pic.acknowledge(), m.out.level].slice(1), [true, 9, false]],
  [
    "a pulse stays latched",
    false,
    (m) => {
      m.pic.inputs[3]!.pulse();
      return [m.out.level, m.i(0x20), m.pic.acknowledge(), m.i(0x20)];
    },
    [true, 8, 11, 0],
  ],
  [
    "slave through cascade, both EOIs",
    false,
    (m) => {
      irq(m, 12);
      const v = m.pic.acknowledge();
      m.o(0x20, 0x0b);
      m.o(0xa0, 0x0b);
      const isr = [m.i(0x20), m.i(0xa0)];
      m.o(0xa0, 0x20);
      m.o(0x20, 0x20);
      return [v, ...isr, m.i(0x20), m.i(0xa0), m.out.level];
    },
    [0x74, 4, 0x10, 0, 0, false],
  ],
  [
    "lower priority waits for EOI",
    false,
    (m) => {
      irq(m, 1);
      m.pic.acknowledge();
      irq(m, 4);
      const before = m.out.level;
      irq(m, 0);
      const higher = m.out.level;
      const v0 = m.pic.acknowledge();
      m.o(0x20, 0x20);
      const still = m.out.level;
      m.o(0x20, 0x20);
      return [before, higher, v0, still, m.out.level, m.pic.acknowledge()];
    },
    [false, true, 8, false, true, 12],
  ],
  [
    "level line in ELCR comes again until lowered; then spurious 7",
    false,
    (m) => {
      m.o(0x4d0, 0xff);
      m.o(0x4d1, 0xff);
      irq(m, 5);
      const a = m.pic.acknowledge();
      m.o(0x20, 0x20);
      const again = m.out.level;
      irq(m, 5, false);
      return [m.i(0x4d0), m.i(0x4d1), a, again, m.out.level, m.pic.acknowledge()];
    },
    [0xf8, 0xde, 13, true, false, 15],
  ],
  [
    "spurious 15: level request on the slave vanishes, the master's cascade edge stays",
    false,
    (m) => {
      m.o(0x4d1, 0x08);
      irq(m, 11);
      irq(m, 11, false);
      const v = m.pic.acknowledge();
      m.o(0xa0, 0x0b);
      m.o(0x20, 0x0b);
      return [v, m.i(0xa0), m.i(0x20)];
    },
    [0x77, 0, 4],
  ],
  [
    "mask and unmask",
    false,
    (m) => {
      m.o(0x21, 0x02);
      irq(m, 1);
      const masked = m.out.level;
      m.o(0x21, 0);
      return [masked, m.out.level, m.i(0x21)];
    },
    [false, true, 0],
  ],
  [
    "poll",
    false,
    (m) => {
      irq(m, 6);
      m.o(0x20, 0x0c);
      const p = m.i(0x20);
      m.o(0x20, 0x0c);
      return [p, m.i(0x20), m.out.level];
    },
    [0x86, 0, false],
  ],
  [
    "auto EOI; the slave's second request makes a new edge",
    true,
    (m) => {
      irq(m, 8);
      irq(m, 10);
      return [m.pic.acknowledge(), m.out.level, m.pic.acknowledge(), m.out.level];
    },
    [0x70, true, 0x72, false],
  ],
  [
    "rotate on EOI",
    false,
    (m) => {
      irq(m, 0);
      m.pic.acknowledge();
      m.o(0x20, 0xa0);
      irq(m, 0, false);
      irq(m, 0);
      irq(m, 7);
      return [m.pic.acknowledge()];
    },
    [15],
  ],
  [
    "set priority",
    false,
    (m) => {
      m.o(0x20, 0xc3);
      irq(m, 1);
      irq(m, 4);
      return [m.pic.acknowledge()];
    },
    [12],
  ],
  [
    "special mask mode lets lower ones in",
    false,
    (m) => {
      irq(m, 3);
      m.pic.acknowledge();
      m.o(0x21, 0x08);
      m.o(0x20, 0x68);
      irq(m, 6);
      const v = m.pic.acknowledge();
      m.o(0x20, 0x20);
      m.o(0x20, 0x0b);
      return [v, m.i(0x20)];
    },
    [14, 8],
  ],
  [
    "specific EOI",
    false,
    (m) => {
      irq(m, 3);
      m.pic.acknowledge();
      m.o(0x20, 0x63);
      m.o(0x20, 0x0b);
      return [m.i(0x20)];
    },
    [0],
  ],
  [
    "ICW1 forgets edges; a high line needs a new rise",
    false,
    (m) => {
      irq(m, 1);
      m.o(0x20, 0x11);
      m.o(0x21, 0x20);
      m.o(0x21, 4);
      m.o(0x21, 1);
      const a = m.out.level;
      irq(m, 1, false);
      irq(m, 1);
      return [a, m.pic.acknowledge()];
    },
    [false, 0x21],
  ],
];

for (const [name, auto, run, want] of rows)
  test(`i8259: ${name}`, () => {
    assert.deepEqual(run(pc(auto)), want);
  });

test("i8259: state survives", () => {
  const a = pc();
  irq(a, 12);
  irq(a, 1);
  a.pic.acknowledge();
  const b = pc();
  b.pic.restore(a.pic.save());
  a.o(0x20, 0x20);
  b.o(0x20, 0x20);
  assert.deepEqual(b.pic.save(), a.pic.save());
  assert.equal(b.pic.acknowledge(), 0x74);
});
