/** A bare machine for device tests: manual time, small RAM, empty buses. Not used by boards. */
import { Trace } from "../../base/trace.js";
import { AddressSpace } from "../../memory/address-space.js";
import { GuestRam } from "../../memory/ram.js";
import { ManualClock, TimerQueue } from "../core/clock.js";
import type { DeviceContext } from "../core/device.js";

export interface TestContext extends DeviceContext {
  readonly clock: ManualClock;
  /** guest_errors and unimp lines seen so far. */
  readonly log: string[];
  /** Moves time on by `ns`, stopping at every deadline on the way. */
  run(ns: number): void;
}

/** @param wallMs wall-clock time at virtual time 0 */
export function testContext(wallMs = Date.UTC(2024, 0, 1)): TestContext {
  const clock = new ManualClock();
  const timers = new TimerQueue(clock);
  const ram = new GuestRam(0, 0x20000, false);
  const memory = new AddressSpace("memory", 2 ** 40, ram);
  memory.map(0, 0x10000, { kind: "ram", block: ram.allocate("ram", 0x10000), offset: 0 });
  const trace = new Trace();
  const log: string[] = [];
  trace.enable("guest_errors");
  trace.enable("unimp");
  trace.sink = (line) => log.push(line);
  return {
    clock,
    timers,
    memory,
    io: new AddressSpace("io", 0x10000, ram),
    ram,
    trace,
    log,
    wallMs: () => wallMs + clock.nowNs() / 1e6,
    run(ns) {
      const end = clock.nowNs() + ns;
      for (let i = 0; i < 1e6; i++) {
        const next = timers.nextDeadlineNs();
        if (next > end) break;
        clock.set(Math.max(clock.nowNs(), next));
        timers.runDue();
      }
      clock.set(end);
    },
  };
}
