/** Time from Node: `performance.now` (monotonic, sub-microsecond) and the wall clock. */
import { performance } from "node:perf_hooks";
import type { HostClock } from "../clock.js";

export const nodeClock: HostClock = {
  // A double of milliseconds since the process began: exact to a nanosecond for a hundred days.
  monotonicNs: () => Math.floor(performance.now() * 1e6),
  wallMs: () => Date.now(),
};
