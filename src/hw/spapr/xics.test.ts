import assert from "node:assert/strict";
import { test } from "node:test";
import { XICS_IPI, Xics } from "./xics.js";

const FIRST = 0x1000;

interface Rig {
  x: Xics;
  out: boolean[];
}

function rig(): Rig {
  const out = [false, false];
  const x = new Xics(FIRST, 32, 2, (server, level) => {
    out[server] = level;
  });
  x.setCppr(0, 0xff);
  x.setCppr(1, 0xff);
  return { x, out };
}

const route = (x: Xics, nr: number, server: number, priority: number) =>
  x.setSource(FIRST + nr, { server, priority, savedPriority: priority });

/** XIRR: the CPPR before in the upper byte, the source below. */
const xirr = (cppr: number, source: number) => ((cppr << 24) | source) >>> 0;

const rows: readonly [name: string, run: (r: Rig) => unknown, expected: unknown][] = [
  ["nothing pending: the CPPR stays", ({ x }) => [x.accept(0), x.poll(0).xirr], [xirr(0xff, 0), xirr(0xff, 0)]],
  [
    "an event goes to its server",
    ({ x, out }) => {
      route(x, 3, 1, 5);
      x.pulse(FIRST + 3);
      return [[...out], x.accept(0), x.accept(1), [...out], x.poll(1).xirr];
    },
    [[false, true], xirr(0xff, 0), xirr(0xff, FIRST + 3), [false, false], xirr(5, 0)],
  ],
  [
    "a masked source keeps one event until it is let through",
    ({ x, out }) => {
      x.pulse(FIRST + 1);
      x.pulse(FIRST + 1);
      const before = [...out];
      route(x, 1, 0, 4);
      const first = x.accept(0);
      x.eoi(0, first);
      return [before, first, x.accept(0)];
    },
    [[false, false], xirr(0xff, FIRST + 1), xirr(0xff, 0)],
  ],
  [
    "a more favoured source displaces the one shown, which comes back after it",
    ({ x }) => {
      route(x, 1, 0, 7);
      route(x, 2, 0, 3);
      x.pulse(FIRST + 1);
      x.pulse(FIRST + 2);
      const first = x.accept(0);
      x.eoi(0, first);
      return [first, x.accept(0)];
    },
    [xirr(0xff, FIRST + 2), xirr(0xff, FIRST + 1)],
  ],
  [
    "a source not favoured enough waits for the CPPR",
    ({ x, out }) => {
      x.setCppr(0, 5);
      route(x, 1, 0, 5);
      x.pulse(FIRST + 1);
      const before = out[0];
      x.setCppr(0, 0xff);
      return [before, out[0], x.accept(0)];
    },
    [false, true, xirr(0xff, FIRST + 1)],
  ],
  [
    "a lowered CPPR takes back what is shown",
    ({ x, out }) => {
      route(x, 1, 0, 5);
      x.pulse(FIRST + 1);
      x.setCppr(0, 5);
      const after = out[0];
      const none = x.accept(0);
      x.setCppr(0, 0xff);
      return [after, none, x.accept(0)];
    },
    [false, xirr(5, 0), xirr(0xff, FIRST + 1)],
  ],
  [
    "a level source comes again while its input is high",
    ({ x, out }) => {
      const line = x.line(FIRST + 4);
      route(x, 4, 0, 5);
      line.set(true);
      const first = x.accept(0);
      x.eoi(0, first);
      const again = x.accept(0);
      line.set(false);
      x.eoi(0, again);
      return [first, again, out[0], x.accept(0)];
    },
    [xirr(0xff, FIRST + 4), xirr(0xff, FIRST + 4), false, xirr(0xff, 0)],
  ],
  [
    "a level source that is high while masked shows when let through",
    ({ x }) => {
      const line = x.line(FIRST + 4);
      line.set(true);
      route(x, 4, 0, 5);
      return x.accept(0);
    },
    xirr(0xff, FIRST + 4),
  ],
  [
    "one server asks another",
    ({ x, out }) => {
      x.setMfrr(1, 4);
      const shown = [...out];
      const taken = x.accept(1);
      x.setMfrr(1, 0xff);
      x.eoi(1, taken);
      return [shown, taken, out[1]];
    },
    [[false, true], xirr(0xff, XICS_IPI), false],
  ],
  [
    "a request that is not taken back comes again",
    ({ x }) => {
      x.setMfrr(0, 4);
      const taken = x.accept(0);
      x.eoi(0, taken);
      return x.accept(0);
    },
    xirr(0xff, XICS_IPI),
  ],
  [
    "a message displaced by a request is not lost",
    ({ x }) => {
      route(x, 1, 0, 5);
      x.pulse(FIRST + 1);
      x.setMfrr(0, 4);
      const ipi = x.accept(0);
      x.setMfrr(0, 0xff);
      x.eoi(0, ipi);
      return [ipi, x.accept(0)];
    },
    [xirr(0xff, XICS_IPI), xirr(0xff, FIRST + 1)],
  ],
  [
    "sources out of range are nothing",
    ({ x, out }) => {
      x.pulse(5);
      x.pulse(FIRST + 32);
      x.eoi(0, xirr(0xff, 0xffffff));
      return [...out];
    },
    [false, false],
  ],
];

for (const [name, run, expected] of rows) test(`XICS: ${name}`, () => assert.deepEqual(run(rig()), expected));

test("XICS: a saved controller goes on where it was", () => {
  const a = rig();
  route(a.x, 1, 0, 7);
  route(a.x, 2, 0, 3);
  a.x.pulse(FIRST + 1);
  a.x.pulse(FIRST + 2);
  const b = rig();
  b.x.restore(structuredClone(a.x.save()));
  assert.deepEqual(b.out, a.out);
  const first = b.x.accept(0);
  b.x.eoi(0, first);
  assert.deepEqual([first, b.x.accept(0)], [xirr(0xff, FIRST + 2), xirr(0xff, FIRST + 1)]);
});

test("XICS: after a reset nothing is routed and nothing pends", () => {
  const { x, out } = rig();
  route(x, 1, 0, 5);
  x.pulse(FIRST + 1);
  x.reset();
  assert.deepEqual([out[0], x.accept(0), x.setting(FIRST + 1).priority], [false, 0, 0xff]);
});
