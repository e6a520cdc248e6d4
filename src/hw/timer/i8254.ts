/**
 * The 8254 programmable interval timer: three counters on one 1.193182 MHz clock, ports 40h to 43h.
 *
 * Source: Intel 8254 datasheet (231164-005); IBM PC/AT technical reference for the wiring (counter 0 to IRQ0, counter 1
 * refresh, counter 2 speaker with its gate in port 61h).
 *
 * Counters are not stepped: count and output are functions of the time since the counter was loaded. A count is loaded
 * at once instead of at the next clock pulse, so every delay is one clock (0.84 µs) shorter than the data sheet's. The
 * one-clock low pulse of modes 2 and 4 on counter 0 is given to IRQ0 as a pulse at its rising edge.
 *
 * Host load: counter 0 makes at most one event each 10 µs; edges that are late by more than 50 ms are skipped.
 *
 * *Not emulated*: the undefined counts of illegal programming (a count of 1 in modes 2 and 3 counts as 2).
 */
import type { AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Timer } from "../core/clock.js";
import type { Device, DeviceContext, DeviceState } from "../core/device.js";
import type { IrqLine } from "../core/irq.js";

/** Input clock in Hz. */
export const PIT_HZ = 1193182;

const NS = 1e9;
/** Least virtual time between two events of counter 0. */
const MIN_EVENT_NS = 10_000;
/** The same while the host is late: time for the guest to see each edge. */
const CATCH_UP_NS = 200_000;
/** Edges later than this are dropped instead of delivered one after the other. */
const MAX_LAG_NS = 50e6;

/** Whole clock pulses up to a time. */
function ticksAt(ns: number): number {
  const s = Math.floor(ns / NS);
  return s * PIT_HZ + Math.floor(((ns - s * NS) * PIT_HZ) / NS);
}

/** The first nanosecond at which `ticksAt` gives `ticks`. */
function nsAt(ticks: number): number {
  const s = Math.floor(ticks / PIT_HZ);
  return s * NS + Math.ceil(((ticks - s * PIT_HZ) * NS) / PIT_HZ);
}

const toBcd = (v: number) =>
  (v % 10) | ((Math.floor(v / 10) % 10) << 4) | ((Math.floor(v / 100) % 10) << 8) | ((Math.floor(v / 1000) % 10) << 12);
const fromBcd = (v: number) => (v & 15) + ((v >> 4) & 15) * 10 + ((v >> 8) & 15) * 100 + ((v >> 12) & 15) * 1000;

type Access = 1 | 2 | 3;
type Half = "low" | "high";

/** One counter. All times are in clock pulses. */
class Counter {
  mode = 3;
  private bcd = false;
  private access: Access = 3;
  /** The count register (CR): 1 to 65536. */
  private countRegister = 65536;
  /** What is counted now. */
  private active = 65536;
  /** Modes 2 and 3: takes over from `active` at the end of the (half) period. */
  private next: number | undefined;
  /** When `active` was loaded; undefined until a count or trigger came. */
  private start: number | undefined;
  /** Modes 0 and 4 with the gate low: pulses counted so far. */
  private heldAt: number | undefined;
  /** A count has been written since the control word. */
  private armed = false;
  private writeHalf: Half = "low";
  private readHalf: Half = "low";
  private lowByte = 0;
  private latchedCount: number | undefined;
  private latchedStatus: number | undefined;
  gate: boolean;

  constructor(
    private readonly gateAtReset: boolean,
    private readonly now: () => number,
  ) {
    this.gate = gateAtReset;
  }

  reset(): void {
    this.mode = 3;
    this.bcd = false;
    this.access = 3;
    this.countRegister = 65536;
    this.active = 65536;
    this.next = undefined;
    this.start = undefined;
    this.heldAt = undefined;
    this.armed = false;
    this.writeHalf = "low";
    this.readHalf = "low";
    this.lowByte = 0;
    this.latchedCount = undefined;
    this.latchedStatus = undefined;
    this.gate = this.gateAtReset;
  }

  private get modulus(): number {
    return this.bcd ? 10000 : 65536;
  }

  control(value: number): void {
    this.access = ((value >> 4) & 3) as Access;
    const mode = (value >> 1) & 7;
    this.mode = mode > 5 ? mode & 3 : mode;
    this.bcd = (value & 1) !== 0;
    this.start = undefined;
    this.heldAt = undefined;
    this.next = undefined;
    this.armed = false;
    this.writeHalf = "low";
    this.readHalf = "low";
    this.latchedCount = undefined;
    this.latchedStatus = undefined;
  }

  latchCount(): void {
    this.latchedCount ??= this.count();
  }

  latchStatus(): void {
    this.latchedStatus ??=
      (this.out() ? 0x80 : 0) |
      (!this.armed || this.next !== undefined || this.start === undefined ? 0x40 : 0) |
      (this.access << 4) |
      (this.mode << 1) |
      (this.bcd ? 1 : 0);
  }

  write(byte: number): void {
    switch (this.access) {
      case 1:
        this.load(byte);
        return;
      case 2:
        this.load(byte << 8);
        return;
      case 3:
        if (this.writeHalf === "low") {
          this.lowByte = byte;
          this.writeHalf = "high";
          // Mode 0: the first byte stops the count and the output goes low.
          if (this.mode === 0) {
            this.start = undefined;
            this.heldAt = undefined;
            this.armed = false;
          }
        } else {
          this.writeHalf = "low";
          this.load(this.lowByte | (byte << 8));
        }
        return;
    }
  }

  private load(raw: number): void {
    this.sync();
    const n = (this.bcd ? fromBcd(raw) : raw) || this.modulus;
    this.countRegister = n;
    const first = !this.armed;
    this.armed = true;
    const t = this.now();
    switch (this.mode) {
      case 0:
      case 4:
        this.active = n;
        this.start = t;
        this.heldAt = this.gate ? undefined : 0;
        return;
      case 1:
      case 5:
        return; // waits for the gate's rising edge
      default:
        if (first || this.start === undefined) {
          this.active = Math.max(n, 2);
          this.start = this.gate ? t : undefined;
        } else this.next = Math.max(n, 2);
    }
  }

  setGate(level: boolean): void {
    if (level === this.gate) return;
    this.sync();
    this.gate = level;
    const t = this.now();
    switch (this.mode) {
      case 0:
      case 4:
        if (this.start === undefined) return;
        if (!level) this.heldAt = t - this.start;
        else if (this.heldAt !== undefined) {
          this.start = t - this.heldAt;
          this.heldAt = undefined;
        }
        return;
      case 1:
      case 5:
        if (level && this.armed) {
          this.active = this.countRegister;
          this.start = t;
        }
        return;
      default:
        this.next = undefined;
        if (!level) this.start = undefined;
        else if (this.armed) {
          this.active = Math.max(this.countRegister, 2);
          this.start = t;
        }
    }
  }

  /** Takes a new count over once the period (mode 2) or half period (mode 3) in which it was written has ended. */
  private sync(): void {
    const { next, start } = this;
    if (next === undefined || start === undefined) return;
    const elapsed = this.now() - start;
    if (this.mode === 2) {
      // The write lay in the period that began at `start` + k * active; older periods have been folded in by `fold`.
      if (elapsed >= this.active) {
        this.start = start + this.active;
        this.active = next;
        this.next = undefined;
      }
      return;
    }
    const high = (this.active + 1) >> 1;
    if (elapsed >= this.active) {
      this.start = start + this.active;
      this.active = next;
      this.next = undefined;
    } else if (elapsed >= high && this.nextInHigh) {
      this.start = start + high - ((next + 1) >> 1);
      this.active = next;
      this.next = undefined;
    }
  }

  /** Mode 3: the new count was written in the high half. */
  private nextInHigh = false;

  /** Brings `start` into the running period, so that a new count replaces the right one. */
  fold(): void {
    this.sync();
    if (this.start === undefined || (this.mode !== 2 && this.mode !== 3)) return;
    const elapsed = this.now() - this.start;
    this.start += Math.floor(elapsed / this.active) * this.active;
    this.nextInHigh = this.now() - this.start < (this.active + 1) >> 1;
  }

  private elapsed(): number {
    return this.heldAt ?? this.now() - this.start!;
  }

  /** The counting element, as it would be latched. */
  private count(): number {
    this.sync();
    const m = this.modulus;
    let v: number;
    if (this.start === undefined) v = this.armed && (this.mode === 2 || this.mode === 3) ? this.countRegister : this.active;
    else {
      const d = this.elapsed();
      const n = this.active;
      if (this.mode === 2) v = n - (d % n);
      else if (this.mode === 3) {
        const p = d % n;
        const high = (n + 1) >> 1;
        const even = n & ~1;
        v = even - 2 * (p < high ? p : p - high);
      } else v = (((n - d) % m) + m) % m;
    }
    v %= m;
    return this.bcd ? toBcd(v) : v;
  }

  /** The output pin. */
  out(): boolean {
    this.sync();
    if (this.start === undefined) return this.mode !== 0;
    const d = this.elapsed();
    const n = this.active;
    switch (this.mode) {
      case 0:
      case 1:
        return d >= n;
      case 2:
        return d % n !== n - 1;
      case 3:
        return d % n < (n + 1) >> 1;
      default:
        return d !== n;
    }
  }

  /**
   * The next event after clock pulse `t`: when, and what the output does there. `pulse`: a one-clock low pulse ends.
   */
  nextEvent(t: number): { at: number; kind: "rise" | "fall" | "pulse" } | undefined {
    const { start, active: n } = this;
    if (start === undefined || this.heldAt !== undefined) return undefined;
    // The caller may have looked at the clock before the count was loaded.
    const d = Math.max(0, t - start);
    switch (this.mode) {
      case 0:
      case 1:
        return d < n ? { at: start + n, kind: "rise" } : undefined;
      case 4:
      case 5:
        return d < n + 1 ? { at: start + n + 1, kind: "pulse" } : undefined;
      case 2: {
        const k = Math.floor(d / n) + 1;
        return { at: start + k * n, kind: "pulse" };
      }
      default: {
        const k = Math.floor(d / n);
        const high = (n + 1) >> 1;
        const inHigh = d - k * n < high;
        return inHigh ? { at: start + k * n + high, kind: "fall" } : { at: start + (k + 1) * n, kind: "rise" };
      }
    }
  }

  read(): number {
    if (this.latchedStatus !== undefined) {
      const s = this.latchedStatus;
      this.latchedStatus = undefined;
      return s;
    }
    const value = this.latchedCount ?? this.count();
    switch (this.access) {
      case 1:
        this.latchedCount = undefined;
        return value & 0xff;
      case 2:
        this.latchedCount = undefined;
        return value >> 8;
      default:
        if (this.readHalf === "low") {
          this.readHalf = "high";
          return value & 0xff;
        }
        this.readHalf = "low";
        this.latchedCount = undefined;
        return value >> 8;
    }
  }

  /** Frequency in Hz of a running square wave or rate generator, else 0. */
  frequency(): number {
    return this.start !== undefined && (this.mode === 2 || this.mode === 3) ? PIT_HZ / this.active : 0;
  }

  save(): DeviceState {
    this.fold();
    return {
      mode: this.mode,
      bcd: this.bcd,
      access: this.access,
      countRegister: this.countRegister,
      active: this.active,
      next: this.next ?? null,
      nextInHigh: this.nextInHigh,
      start: this.start ?? null,
      heldAt: this.heldAt ?? null,
      armed: this.armed,
      writeHalf: this.writeHalf,
      readHalf: this.readHalf,
      lowByte: this.lowByte,
      latchedCount: this.latchedCount ?? null,
      latchedStatus: this.latchedStatus ?? null,
      gate: this.gate,
    };
  }

  restore(s: DeviceState): void {
    const opt = (v: unknown) => (v === null ? undefined : (v as number));
    this.mode = s.mode as number;
    this.bcd = s.bcd as boolean;
    this.access = s.access as Access;
    this.countRegister = s.countRegister as number;
    this.active = s.active as number;
    this.next = opt(s.next);
    this.nextInHigh = s.nextInHigh as boolean;
    this.start = opt(s.start);
    this.heldAt = opt(s.heldAt);
    this.armed = s.armed as boolean;
    this.writeHalf = s.writeHalf as Half;
    this.readHalf = s.readHalf as Half;
    this.lowByte = s.lowByte as number;
    this.latchedCount = opt(s.latchedCount);
    this.latchedStatus = opt(s.latchedStatus);
    this.gate = s.gate as boolean;
  }
}

/** The three counters. `map` at 40h; IRQ0 is driven by counter 0. */
export class I8254 implements Device, IoHandler {
  readonly type = "isa-pit";
  readonly name = "pit";
  readonly maxAccess = 1;
  private readonly counters: readonly Counter[];
  private readonly timer: Timer;
  private scheduled: "rise" | "fall" | "pulse" = "rise";
  /** Clock pulse of the event that the timer waits for. */
  private scheduledAt = 0;
  private lastEventNs = Number.NEGATIVE_INFINITY;
  private irqOn = true;
  private outLevel = false;

  /** @param irq IRQ0, driven with counter 0's output */
  constructor(
    private readonly ctx: DeviceContext,
    readonly irq: IrqLine,
  ) {
    const now = () => ticksAt(ctx.clock.nowNs());
    this.counters = [true, true, false].map((gate) => new Counter(gate, now));
    this.timer = ctx.timers.create(() => this.onTimer());
  }

  /** Maps ports 40h to 43h. */
  map(io: AddressSpace): void {
    io.mapIo(0x40, 4, this);
  }

  /** Counter 2's gate, from port 61h. */
  setGate2(level: boolean): void {
    this.counters[2]!.setGate(level);
  }

  get gate2(): boolean {
    return this.counters[2]!.gate;
  }

  /** Counter 2's output now. */
  get out2(): boolean {
    return this.counters[2]!.out();
  }

  /** Counter 2's tone in Hz, 0 when it makes none. */
  get speakerHz(): number {
    return this.counters[2]!.frequency();
  }

  /** False while the HPET's legacy replacement owns IRQ0. */
  setIrqEnabled(on: boolean): void {
    this.irqOn = on;
    this.irq.set(on && this.outLevel);
    this.schedule();
  }

  read(offset: number): number {
    if (offset === 3) return 0xff; // the control word cannot be read
    return this.counters[offset]!.read();
  }

  write(offset: number, _size: number, value: number): void {
    value &= 0xff;
    // Events after this moment are still to come, however long the host takes for what follows.
    const before = ticksAt(this.ctx.clock.nowNs());
    if (offset < 3) {
      const c = this.counters[offset]!;
      c.fold();
      c.write(value);
      if (offset === 0) this.refresh(before);
      return;
    }
    const select = value >> 6;
    if (select === 3) {
      // Read-back: bit 5 low latches counts, bit 4 low latches status.
      for (let i = 0; i < 3; i++) {
        if (!(value & (2 << i))) continue;
        if (!(value & 0x20)) this.counters[i]!.latchCount();
        if (!(value & 0x10)) this.counters[i]!.latchStatus();
      }
      return;
    }
    const c = this.counters[select]!;
    if ((value & 0x30) === 0) {
      c.latchCount();
      return;
    }
    c.control(value);
    if (select === 0) this.refresh(before);
  }

  /** After a change of counter 0. */
  private refresh(before: number): void {
    this.drive(this.counters[0]!.out());
    this.schedule(before);
  }

  private drive(level: boolean): void {
    this.outLevel = level;
    if (this.irqOn) this.irq.set(level);
  }

  private schedule(after = ticksAt(this.ctx.clock.nowNs())): void {
    const e = this.irqOn ? this.counters[0]!.nextEvent(after) : undefined;
    if (!e) {
      this.timer.disarm();
      return;
    }
    this.scheduled = e.kind;
    this.scheduledAt = e.at;
    const at = nsAt(e.at);
    const late = at < this.lastEventNs;
    const apart = late ? Math.max(MIN_EVENT_NS, Math.min(CATCH_UP_NS, (at - nsAt(after)) / 2)) : MIN_EVENT_NS;
    this.timer.arm(Math.max(at, this.lastEventNs + apart));
  }

  private onTimer(): void {
    const now = this.ctx.clock.nowNs();
    this.lastEventNs = now;
    // A new count takes over at the period's end, before the edge after it is computed.
    this.counters[0]!.out();
    if (this.scheduled === "pulse") this.drive(false);
    this.drive(this.scheduled !== "fall");
    const late = now - nsAt(this.scheduledAt) > MAX_LAG_NS;
    this.schedule(late ? ticksAt(now) : this.scheduledAt);
  }

  reset(): void {
    for (const c of this.counters) c.reset();
    this.irqOn = true;
    this.lastEventNs = Number.NEGATIVE_INFINITY;
    this.drive(false);
    this.timer.disarm();
  }

  save(): DeviceState {
    return {
      counters: this.counters.map((c) => c.save()),
      irqOn: this.irqOn,
      outLevel: this.outLevel,
      irq: this.irq.level,
    };
  }

  restore(state: DeviceState): void {
    (state.counters as DeviceState[]).forEach((s, i) => {
      this.counters[i]?.restore(s);
    });
    this.irqOn = state.irqOn as boolean;
    this.outLevel = state.outLevel as boolean;
    this.irq.level = state.irq as boolean;
    this.lastEventNs = Number.NEGATIVE_INFINITY;
    this.schedule();
  }
}
