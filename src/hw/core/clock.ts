/** The machine's virtual time and the timers of its devices. */
import type { HostClock } from "../../host/clock.js";

/** Nanoseconds of virtual time since the machine was created; stands still while the machine is stopped. */
export interface Clock {
  nowNs(): number;
}

/** The machine's time, as its owner starts and stops it. */
export interface MachineClock extends Clock {
  start(): void;
  stop(): void;
  /** Sets the time, as a restored snapshot does. */
  set(ns: number): void;
}

/** Virtual time by executed instructions (`-icount`): one is 2^shift ns. The same on every host and run. */
export class InstructionClock implements MachineClock {
  private ns = 0;
  /** Instructions of the turn under way. */
  turnInsns: () => number = () => 0;

  constructor(readonly shift: number) {}

  nowNs(): number {
    return this.ns + this.turnInsns() * 2 ** this.shift;
  }

  /** A turn has ended after so many instructions. */
  endTurn(insns: number): void {
    this.ns += insns * 2 ** this.shift;
  }

  /** Idle: the time is that of the next event. */
  advanceTo(ns: number): void {
    if (ns > this.ns) this.ns = ns;
  }

  start(): void {}
  stop(): void {}

  set(ns: number): void {
    this.ns = ns;
  }
}

/** Virtual time that follows the host's monotonic clock while running. */
export class VirtualClock implements MachineClock {
  private baseNs = 0;
  private startedAt: number | undefined;

  constructor(private readonly host: HostClock) {}

  nowNs(): number {
    return this.startedAt === undefined ? this.baseNs : this.baseNs + (this.host.monotonicNs() - this.startedAt);
  }

  start(): void {
    this.startedAt ??= this.host.monotonicNs();
  }

  stop(): void {
    this.baseNs = this.nowNs();
    this.startedAt = undefined;
  }

  /** Sets the time, as a restored snapshot does. */
  set(ns: number): void {
    this.baseNs = ns;
    if (this.startedAt !== undefined) this.startedAt = this.host.monotonicNs();
  }
}

/** Time that moves only when told: `-icount`, tests. */
export class ManualClock implements Clock {
  constructor(private ns = 0) {}
  nowNs(): number {
    return this.ns;
  }
  advance(ns: number): void {
    this.ns += ns;
  }
  set(ns: number): void {
    this.ns = ns;
  }
}

/** One timer of a device. Deadlines are virtual nanoseconds. */
export class Timer {
  /** Deadline, or Infinity when not armed. */
  deadlineNs = Number.POSITIVE_INFINITY;
  constructor(
    private readonly queue: TimerQueue,
    readonly fire: () => void,
  ) {}

  arm(deadlineNs: number): void {
    this.deadlineNs = deadlineNs;
    this.queue.changed();
  }

  disarm(): void {
    this.deadlineNs = Number.POSITIVE_INFINITY;
    this.queue.changed();
  }

  get armed(): boolean {
    return this.deadlineNs !== Number.POSITIVE_INFINITY;
  }
}

/** All timers of a machine. There are few, so a scan beats a heap. */
export class TimerQueue {
  private readonly timers: Timer[] = [];
  private next = Number.POSITIVE_INFINITY;
  private stale = false;
  /** Called when a deadline may have moved, so that a sleeping run loop can be woken. */
  onChange: () => void = () => {};

  constructor(readonly clock: Clock) {}

  create(fire: () => void): Timer {
    const t = new Timer(this, fire);
    this.timers.push(t);
    return t;
  }

  remove(timer: Timer): void {
    const i = this.timers.indexOf(timer);
    if (i >= 0) this.timers.splice(i, 1);
    this.changed();
  }

  changed(): void {
    this.stale = true;
    this.onChange();
  }

  /** The earliest deadline in virtual nanoseconds, Infinity if none. */
  nextDeadlineNs(): number {
    if (this.stale) {
      this.stale = false;
      let n = Number.POSITIVE_INFINITY;
      for (const t of this.timers) if (t.deadlineNs < n) n = t.deadlineNs;
      this.next = n;
    }
    return this.next;
  }

  /** Fires what is due, in the order of deadlines; at most `limit` firings a call, so that a 1 ns period cannot hold the loop. */
  runDue(limit = 64): void {
    const now = this.clock.nowNs();
    for (let i = 0; i < limit && this.nextDeadlineNs() <= now; i++) {
      let due: Timer | undefined;
      for (const t of this.timers) if (t.deadlineNs <= now && (!due || t.deadlineNs < due.deadlineNs)) due = t;
      if (!due) return;
      due.deadlineNs = Number.POSITIVE_INFINITY;
      this.stale = true;
      due.fire();
    }
  }
}
