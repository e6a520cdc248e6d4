/** Timers on a host that takes a millisecond between any two looks at the clock: nothing that was set may get lost. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Clock, TimerQueue } from "../core/clock.js";
import { IrqLine } from "../core/irq.js";
import { ApicTimer } from "../intc/apic-timer.js";
import { testContext } from "../misc/test-context.js";
import { Hpet } from "./hpet.js";
import { I8254 } from "./i8254.js";

class SlowClock implements Clock {
  private ns = 0;
  nowNs(): number {
    this.ns += 1_000_000;
    return this.ns;
  }
}

function machine() {
  const clock = new SlowClock();
  const timers = new TimerQueue(clock);
  return { ctx: { ...testContext(), clock, timers }, clock, timers };
}

/** Rows: what sets a timer that is due after some microseconds. */
const rows: [name: string, set: (m: ReturnType<typeof machine>, fired: () => void) => void][] = [
  [
    "APIC timer, one-shot",
    ({ clock, timers }, fired) => {
      const t = new ApicTimer(clock, timers, fired, Number);
      t.setDivide(0xb);
      t.setInitialCount(5000);
    },
  ],
  [
    "APIC timer, periodic",
    ({ clock, timers }, fired) => {
      const t = new ApicTimer(clock, timers, fired, Number);
      t.setMode("periodic");
      t.setInitialCount(5000);
    },
  ],
  [
    "8254, mode 0",
    ({ ctx }, fired) => {
      const pit = new I8254(ctx, new IrqLine((level) => level && fired()));
      pit.write(3, 1, 0x30);
      pit.write(0, 1, 10);
      pit.write(0, 1, 0);
    },
  ],
  [
    "8254, mode 4",
    ({ ctx }, fired) => {
      const pit = new I8254(ctx, new IrqLine((level) => level && fired()));
      pit.write(3, 1, 0x38);
      pit.write(0, 1, 10);
      pit.write(0, 1, 0);
    },
  ],
  [
    "HPET, one-shot",
    ({ ctx }, fired) => {
      const gsi = Array.from({ length: 24 }, () => new IrqLine((level) => level && fired()));
      const hpet = new Hpet(ctx, { gsi, irq0: new IrqLine(), irq8: new IrqLine(), onLegacy: () => {}, msi: () => {} });
      hpet.write(0x010, 4, 1);
      hpet.write(0x100, 4, 0x0104 | (20 << 9));
      hpet.write(0x108, 4, hpet.read(0x0f0, 4) + 5);
    },
  ],
];

for (const [name, set] of rows)
  test(`${name}: fires although it is late`, () => {
    const m = machine();
    let count = 0;
    set(m, () => count++);
    for (let i = 0; i < 5; i++) m.timers.runDue();
    assert.ok(count > 0);
  });

test("APIC timer, periodic: periods that a late host missed are made up for, those of long ago are not", () => {
  let ns = 0;
  const timers = new TimerQueue({ nowNs: () => ns });
  let count = 0;
  const t = new ApicTimer({ nowNs: () => ns }, timers, () => count++, Number);
  t.setMode("periodic");
  t.setDivide(0xb);
  t.setInitialCount(1_000_000);
  const advance = (byNs: number, steps: number) => {
    ns += byNs;
    for (let i = 0; i < steps; i++) {
      timers.runDue();
      ns += 250_000;
    }
    return count;
  };
  assert.equal(advance(10_400_000, 30), 17);
  assert.equal(advance(100_000_000, 3), 19);
});
