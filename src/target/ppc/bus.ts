/** What PowerPC CPUs ask of their machine, which is the hypervisor of the partition they run in. */
import type { PhysBus } from "../../accel/tcg/engine.js";

export interface PpcBus extends PhysBus {
  /** The machine's time base: ticks since power-on at the model's `timeBaseHz`, whole, below 2^53. */
  timeBase(): number;
  /**
   * `sc 1` in supervisor state: number in r3, arguments from r4, results from r3 (`PpcCpu.gpr`). NIP already points behind
   * the instruction; the call may change any state of this vCPU (`cede`, `stop`, LPCR).
   */
  hypercall(cpu: number): void;
  /**
   * The decrementer of a vCPU will turn negative when `timeBase()` reaches `deadline` (a double, may be in the past or
   * beyond 2^53). Then the machine calls `PpcCpu.decrementerExpired()`. A new call replaces the former.
   */
  decrementerSet(cpu: number, deadline: number): void;
  /** 64 random bits (darn). */
  random(out: Uint32Array): void;
}
