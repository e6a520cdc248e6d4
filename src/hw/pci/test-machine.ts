/** A bare machine for tests of PCI functions and drives: memory, ports, a manual clock, nothing on them. */
import { Trace } from "../../base/trace.js";
import { AddressSpace } from "../../memory/address-space.js";
import { GuestRam, type RamBlock } from "../../memory/ram.js";
import { ManualClock, TimerQueue } from "../core/clock.js";
import type { DeviceContext } from "../core/device.js";

/** The context, with the parts a test turns itself. */
export interface TestMachine extends DeviceContext {
  readonly clock: ManualClock;
  readonly block: RamBlock;
  /** Lines of guest errors and unimplemented accesses. */
  readonly log: string[];
  /** Virtual time goes on and due timers fire. */
  advance(ns: number): void;
}

/**
 * @param ramBytes size of the RAM block "pc.ram"
 * @param mapRam whether RAM is mapped at 0 (a test of the host bridge maps it itself)
 */
export function testMachine(ramBytes = 0x200000, mapRam = true, extraBytes = 0): TestMachine {
  const ram = new GuestRam(0, ramBytes + extraBytes + 0x10000, false);
  const block = ram.allocate("pc.ram", ramBytes);
  const memory = new AddressSpace("memory", 2 ** 40, ram);
  if (mapRam) memory.map(0, ramBytes, { kind: "ram", block, offset: 0 });
  const clock = new ManualClock();
  const timers = new TimerQueue(clock);
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
    wallMs: () => 0,
    block,
    log,
    advance(ns) {
      clock.advance(ns);
      timers.runDue();
    },
  };
}
