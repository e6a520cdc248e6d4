/**
 * The loop that gives the vCPUs of a TCG machine their turns, between timers and the host's event loop. Turns are short
 * where guest code is slow, so that timers are not late.
 */
import type { TcgEngine } from "../accel/tcg/engine.js";
import type { HostScheduler } from "../host/scheduler.js";
import { InstructionClock, type MachineClock, type TimerQueue } from "../hw/core/clock.js";

/** Guest instructions of one turn of a vCPU: fewer while a turn takes long. */
const TURN_INSNS = 50_000;
const TURN_INSNS_MIN = 500;
/** Timers are looked at between turns, so this is how late they may be. */
const TURN_LONGEST_NS = 500_000;
/** How long the loop runs before the host's event loop has its turn. */
const SLICE_NS = 4e6;
/** Longest sleep, so that wall-clock changes are seen. */
const MAX_SLEEP_MS = 1000;
/** A shorter wait than this goes through the event loop once instead. */
const SHORTEST_SLEEP_MS = 0.05;

export interface TurnLoopOptions {
  readonly engine: Pick<TcgEngine<never>, "run" | "envOf" | "lastUsed" | "target" | "ram">;
  readonly cpus: number;
  readonly scheduler: HostScheduler;
  readonly clock: MachineClock;
  /** With an InstructionClock: whether an idle machine waits for real time. */
  readonly icountSleep: boolean;
  readonly timers: TimerQueue;
  readonly hostMs: () => number;
  /** Nothing to run and nothing to look at. */
  readonly isIdle: (cpu: number) => boolean;
  /** Ends the running vCPU's turn soon. */
  readonly requestExit: (cpu: number) => void;
  /** Around a turn. */
  readonly onTurn?: (cpu: number, begins: boolean) => void;
  readonly onInternalError: (error: unknown) => void;
}

export class TurnLoop {
  /** The vCPU whose turn it is. */
  current = 0;
  running = false;
  private cancelSleep: (() => void) | undefined;
  private scheduled = false;
  private inSlice = false;
  private stopped: (() => void)[] = [];
  private turn = 0;
  private turnInsns = TURN_INSNS;
  /** Asks the slice under way to end. */
  private breakSlice = false;

  constructor(private readonly o: TurnLoopOptions) {
    o.timers.onChange = () => this.wake();
  }

  /** Lets the running slice end soon. */
  requestBreak(): void {
    this.breakSlice = true;
    this.o.requestExit(this.current);
  }

  start(): void {
    if (this.running) return;
    this.running = true;
    this.o.clock.start();
    this.schedule();
  }

  /** Resolves once the slice under way has ended. */
  stop(): Promise<void> {
    this.running = false;
    this.cancelSleep?.();
    this.cancelSleep = undefined;
    this.o.clock.stop();
    if (!this.inSlice) return Promise.resolve();
    this.requestBreak();
    return new Promise((resolve) => this.stopped.push(resolve));
  }

  private schedule(): void {
    if (this.scheduled || !this.running) return;
    this.scheduled = true;
    this.o.scheduler.soon(() => {
      this.scheduled = false;
      this.slice();
    });
  }

  /** Something happened that an idle machine must see. */
  wake(): void {
    if (this.inSlice || !this.running) return;
    this.cancelSleep?.();
    this.cancelSleep = undefined;
    this.schedule();
  }

  private slice(): void {
    if (!this.running) return;
    const { clock, timers } = this.o;
    this.inSlice = true;
    this.breakSlice = false;
    let idle = false;
    try {
      const end = this.o.hostMs() + SLICE_NS / 1e6;
      while (this.running && !this.breakSlice) {
        timers.runDue();
        idle = true;
        for (let i = 0; i < this.o.cpus && this.running && !this.breakSlice; i++) {
          const cpu = this.turn;
          this.turn = (this.turn + 1) % this.o.cpus;
          this.current = cpu;
          if (this.o.isIdle(cpu)) continue;
          this.o.onTurn?.(cpu, true);
          if (this.runTurn(cpu) !== "halted") idle = false;
          this.o.onTurn?.(cpu, false);
        }
        // One vCPU may have woken another that had its turn before.
        for (let i = 0; idle && i < this.o.cpus; i++) idle = this.o.isIdle(i);
        const now = clock.nowNs();
        if (idle && timers.nextDeadlineNs() > now) {
          // Counted time with sleep=off does not wait: it is the next event's time at once.
          if (!(clock instanceof InstructionClock) || this.o.icountSleep || timers.nextDeadlineNs() === Number.POSITIVE_INFINITY)
            break;
          clock.advanceTo(timers.nextDeadlineNs());
        }
        idle = false;
        if (this.o.hostMs() >= end) break;
      }
    } catch (error) {
      this.running = false;
      this.inSlice = false;
      clock.stop();
      this.o.onInternalError(error);
      return;
    }
    this.inSlice = false;
    for (const resolve of this.stopped.splice(0)) resolve();
    if (!this.running) return;
    if (!idle) {
      this.schedule();
      return;
    }
    const delay = Math.min((timers.nextDeadlineNs() - clock.nowNs()) / 1e6, MAX_SLEEP_MS);
    const wake = () => {
      // Counted time stands while nothing runs: it gets what has been slept.
      if (clock instanceof InstructionClock && timers.nextDeadlineNs() !== Number.POSITIVE_INFINITY)
        clock.advanceTo(clock.nowNs() + Math.ceil(delay * 1e6));
      this.schedule();
    };
    if (delay <= SHORTEST_SLEEP_MS) wake();
    else
      this.cancelSleep = this.o.scheduler.after(delay, () => {
        this.cancelSleep = undefined;
        wake();
      });
  }

  /** One vCPU's turn; with counted time it ends at the next timer. */
  private runTurn(cpu: number): string {
    const { clock, timers, engine } = this.o;
    if (!(clock instanceof InstructionClock)) return this.timedTurn(cpu);
    const left = (timers.nextDeadlineNs() - clock.nowNs()) / 2 ** clock.shift;
    const budget = Math.max(1, Math.min(TURN_INSNS, Math.ceil(left)));
    const { i32 } = engine.ram;
    const at = (engine.envOf(cpu) + engine.target.layout.budget) >>> 2;
    i32[at] = budget;
    clock.turnInsns = () => budget - i32[at]!;
    const end = engine.run(cpu, budget);
    clock.turnInsns = () => 0;
    clock.endTurn(engine.lastUsed);
    return end;
  }

  private timedTurn(cpu: number): string {
    const { clock, engine } = this.o;
    const start = clock.nowNs();
    const end = engine.run(cpu, this.turnInsns);
    const tookNs = clock.nowNs() - start;
    if (tookNs > TURN_LONGEST_NS) this.turnInsns = Math.max(TURN_INSNS_MIN, this.turnInsns >> 1);
    else if (tookNs < TURN_LONGEST_NS / 4) this.turnInsns = Math.min(TURN_INSNS, this.turnInsns << 1);
    return end;
  }
}
