/**
 * The timer of a local APIC: one-shot, periodic and TSC-deadline.
 *
 * Source: Intel SDM vol. 3, 11.5.4 "APIC timer". The input clock is 1 GHz, as QEMU's is; guests measure it.
 *
 * Host load: a period shorter than 20 µs is stretched to it. Periods missed because the host was late are made up for, one
 * each 200 µs, as the 8254 does: Linux compares the two and gives the APIC timer up when they differ. Lateness of more than
 * 50 ms is forgotten.
 */
import type { Clock, Timer, TimerQueue } from "../core/clock.js";
import type { DeviceState } from "../core/device.js";

export type TimerMode = "oneShot" | "periodic" | "tscDeadline";

const MIN_PERIOD_NS = 20_000;
/** Periods later than this are dropped instead of delivered one after the other. */
const MAX_LAG_NS = 50e6;
/** Between periods made up for: time for the guest to see each. */
const CATCH_UP_NS = 200_000;

/** Divide configuration register values (bits 3, 1, 0) to divisors. */
const DIVISORS = [2, 4, 8, 16, 32, 64, 128, 1] as const;

/** Counts down from an initial count at 1 GHz / divisor, or waits for a TSC value. */
export class ApicTimer {
  private mode: TimerMode = "oneShot";
  private divide = 0;
  private initial = 0;
  /** When the count was loaded. */
  private startNs = 0;
  private deadlineTsc = 0n;
  /** When the period under way should end, which a late host may have passed. */
  private dueNs = 0;
  private readonly timer: Timer;

  /** @param expired called at each end of the count @param tscToNs virtual time at which this vCPU's TSC has a value */
  constructor(
    private readonly clock: Clock,
    private readonly timers: TimerQueue,
    private readonly expired: () => void,
    private readonly tscToNs: (tsc: bigint) => number,
  ) {
    this.timer = timers.create(() => this.onTimer());
  }

  private get divisor(): number {
    return DIVISORS[((this.divide >> 1) & 4) | (this.divide & 3)]!;
  }

  private get spanNs(): number {
    return this.initial * this.divisor;
  }

  /** LVT bits 18:17. A change between TSC-deadline and the others disarms. */
  setMode(mode: TimerMode): void {
    if (mode === this.mode) return;
    const wasDeadline = this.mode === "tscDeadline";
    if (wasDeadline || mode === "tscDeadline") {
      this.mode = mode;
      this.initial = 0;
      this.deadlineTsc = 0n;
      this.timer.disarm();
      return;
    }
    // One-shot that has run out stays so; otherwise the running count goes on.
    const now = this.clock.nowNs();
    const left = this.countAt(now);
    this.mode = mode;
    if (left === 0) this.timer.disarm();
    else this.schedule(now);
  }

  get divideConfiguration(): number {
    return this.divide;
  }

  setDivide(value: number): void {
    const now = this.clock.nowNs();
    const left = this.countAt(now);
    this.divide = value & 0x0b;
    if (this.mode === "tscDeadline" || this.initial === 0) return;
    // What is left of the count goes on at the new rate.
    this.startNs = now - (this.initial - left) * this.divisor;
    this.schedule(now);
  }

  get initialCount(): number {
    return this.initial;
  }

  setInitialCount(count: number): void {
    if (this.mode === "tscDeadline") return;
    this.initial = count >>> 0;
    this.startNs = this.clock.nowNs();
    this.schedule(this.startNs);
  }

  /** The current count register. */
  current(): number {
    return this.countAt(this.clock.nowNs());
  }

  private countAt(now: number): number {
    if (this.mode === "tscDeadline" || this.initial === 0) return 0;
    const elapsed = Math.floor((now - this.startNs) / this.divisor);
    if (this.mode === "periodic") return this.initial - (elapsed % this.initial);
    return Math.max(0, this.initial - elapsed);
  }

  /** IA32_TSC_DEADLINE; 0 when not armed or in another mode. */
  get tscDeadline(): bigint {
    return this.deadlineTsc;
  }

  setTscDeadline(tsc: bigint): void {
    if (this.mode !== "tscDeadline") return;
    this.deadlineTsc = tsc;
    if (tsc === 0n) this.timer.disarm();
    else this.timer.arm(Math.max(this.tscToNs(tsc), this.clock.nowNs()));
  }

  /** The TSC has been written or its rate changed. */
  tscChanged(): void {
    if (this.deadlineTsc !== 0n) this.setTscDeadline(this.deadlineTsc);
  }

  /** `now` is the one reading of the clock that the caller decided by: the host may take its time between two. */
  private schedule(now: number): void {
    if (this.initial === 0) {
      this.timer.disarm();
      return;
    }
    const span = this.spanNs;
    if (this.mode === "oneShot") {
      if (now < this.startNs + span) this.timer.arm(this.startNs + span);
      else this.timer.disarm();
      return;
    }
    this.dueNs = this.startNs + (Math.floor((now - this.startNs) / span) + 1) * span;
    this.timer.arm(span < MIN_PERIOD_NS ? Math.max(this.dueNs, now + MIN_PERIOD_NS) : this.dueNs);
  }

  /** The next period after one that has ended: soon, when the host is late. */
  private nextPeriod(): void {
    const now = this.clock.nowNs();
    const span = this.spanNs;
    if (span < MIN_PERIOD_NS || now - this.dueNs > MAX_LAG_NS) {
      this.schedule(now);
      return;
    }
    this.dueNs += span;
    this.timer.arm(Math.max(this.dueNs, now + Math.min(CATCH_UP_NS, span / 2)));
  }

  private onTimer(): void {
    if (this.mode === "tscDeadline") {
      // A conversion that rounds may be early by a tick; the deadline is over all the same.
      this.deadlineTsc = 0n;
    } else if (this.mode === "periodic") this.nextPeriod();
    this.expired();
  }

  reset(): void {
    this.mode = "oneShot";
    this.divide = 0;
    this.initial = 0;
    this.startNs = 0;
    this.deadlineTsc = 0n;
    this.dueNs = 0;
    this.timer.disarm();
  }

  save(): DeviceState {
    return {
      mode: this.mode,
      divide: this.divide,
      initial: this.initial,
      startNs: this.startNs,
      deadlineTsc: this.deadlineTsc,
      dueNs: this.dueNs,
      armedNs: this.timer.armed ? this.timer.deadlineNs : null,
    };
  }

  restore(s: DeviceState): void {
    this.mode = s.mode as TimerMode;
    this.divide = s.divide as number;
    this.initial = s.initial as number;
    this.startNs = s.startNs as number;
    this.deadlineTsc = s.deadlineTsc as bigint;
    this.dueNs = s.dueNs as number;
    if (s.armedNs === null) this.timer.disarm();
    else this.timer.arm(s.armedNs as number);
  }

  dispose(): void {
    this.timers.remove(this.timer);
  }
}
