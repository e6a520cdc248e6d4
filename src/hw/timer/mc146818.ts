/**
 * The MC146818A real-time clock and the PC's CMOS RAM behind it, ports 70h and 71h.
 *
 * Source: Motorola MC146818A datasheet; 82371SB datasheet (RTC index register, NMI enable); IBM PC/AT technical
 * reference for the CMOS bytes. The century in byte 32h is a PC convention.
 *
 * Time is the machine's wall clock plus what the guest has set. It is read when asked for; a timer runs only for enabled
 * interrupts, and missed periodic interrupts are not made up for. Seconds change when UIP falls: UIP is high for the
 * 2.2 ms before, during which the old time can still be read.
 *
 * *Not emulated*: daylight saving (the DSE bit is stored and has no effect), the square wave pin, time bases other than
 * 32.768 kHz (a stopped divider stops the clock), a day of week other than the date's, leap-year differences of the
 * chip's two-digit calendar, the upper bank at ports 72h/73h.
 */
import type { AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Timer } from "../core/clock.js";
import type { Device, DeviceContext, DeviceState } from "../core/device.js";
import type { IrqLine } from "../core/irq.js";

const Reg = {
  seconds: 0,
  secondsAlarm: 1,
  minutes: 2,
  minutesAlarm: 3,
  hours: 4,
  hoursAlarm: 5,
  weekday: 6,
  day: 7,
  month: 8,
  year: 9,
  a: 10,
  b: 11,
  c: 12,
  d: 13,
  century: 0x32,
} as const;

const A = { updateInProgress: 0x80, divider: 0x70, rate: 0x0f } as const;
const DIVIDER_32KHZ = 0x20;
const B = { set: 0x80, periodic: 0x40, alarm: 0x20, updateEnded: 0x10, squareWave: 0x08, binary: 0x04, hours24: 0x02 } as const;
const C = { irq: 0x80, periodic: 0x40, alarm: 0x20, updateEnded: 0x10 } as const;
const D_VALID = 0x80;
const PM = 0x80;
const ALARM_ANY = 0xc0;
const NMI_MASK = 0x80;

/** UIP rises 244 µs before the update cycle of 1984 µs. */
const UIP_MS = 2.228;
const DAY = 86400;
const NS_PER_CLOCK = 1e9 / 32768;

/** Time fields in plain numbers. */
interface Fields {
  second: number;
  minute: number;
  hour: number;
  day: number;
  month: number;
  /** All four digits. */
  year: number;
}

const toBcd = (v: number) => (Math.floor(v / 10) << 4) | (v % 10);
const fromBcd = (v: number) => (v >> 4) * 10 + (v & 15);

/** RTC and 128 bytes of CMOS RAM. */
export class Mc146818 implements Device, IoHandler {
  readonly type = "mc146818rtc";
  readonly name = "rtc";
  readonly maxAccess = 1;
  private readonly cmos = new Uint8Array(128);
  private index = 0;
  private nmiMask = false;
  /** Guest time minus wall time, in ms. */
  private offsetMs = 0;
  /** Guest time in ms while the clock stands still (SET, or divider in reset). */
  private frozenMs: number | undefined;
  /** The guest second up to which update-ended and alarm have been seen. */
  private seenSecond = 0;
  /** Virtual time from which periods count. */
  private periodBaseNs = 0;
  /** Periods already turned into PF. */
  private seenPeriods = 0;
  private readonly secondTimer: Timer;
  private readonly periodicTimer: Timer;
  /** The guest has set the time: the new offset to the wall clock in seconds. */
  onTimeSet: (offsetSeconds: number) => void = () => {};
  /** Bit 7 of port 70h. */
  onNmiMask: (masked: boolean) => void = () => {};
  /** An enabled alarm has gone off (the PM block's RTC_STS). */
  onAlarm: () => void = () => {};

  /** @param irq IRQ8 */
  constructor(
    private readonly ctx: DeviceContext,
    readonly irq: IrqLine,
  ) {
    this.cmos[Reg.a] = DIVIDER_32KHZ | 6;
    this.cmos[Reg.b] = B.hours24;
    this.secondTimer = ctx.timers.create(() => this.onSecond());
    this.periodicTimer = ctx.timers.create(() => this.onPeriod());
    this.seenSecond = this.nowSecond();
  }

  map(io: AddressSpace): void {
    io.mapIo(0x70, 2, this);
  }

  /** Writes a CMOS byte for the board (memory size, boot order); time and status registers are not for it. */
  set(index: number, value: number): void {
    this.cmos[index & 0x7f] = value;
  }

  /** The stored byte, without side effects. */
  get(index: number): number {
    return this.cmos[index & 0x7f]!;
  }

  get nmiMasked(): boolean {
    return this.nmiMask;
  }

  // --- time

  private guestMs(): number {
    return this.frozenMs ?? this.ctx.wallMs() + this.offsetMs;
  }

  private nowSecond(): number {
    return Math.floor(this.guestMs() / 1000);
  }

  private get running(): boolean {
    return !(this.cmos[Reg.b]! & B.set) && (this.cmos[Reg.a]! & A.divider) === DIVIDER_32KHZ;
  }

  private fields(): Fields {
    const d = new Date(this.nowSecond() * 1000);
    return {
      second: d.getUTCSeconds(),
      minute: d.getUTCMinutes(),
      hour: d.getUTCHours(),
      day: d.getUTCDate(),
      month: d.getUTCMonth() + 1,
      year: d.getUTCFullYear(),
    };
  }

  private encode(v: number): number {
    return this.cmos[Reg.b]! & B.binary ? v : toBcd(v);
  }

  private decode(v: number): number {
    return this.cmos[Reg.b]! & B.binary ? v : fromBcd(v);
  }

  private encodeHour(h: number): number {
    if (this.cmos[Reg.b]! & B.hours24) return this.encode(h);
    return this.encode(h % 12 || 12) | (h >= 12 ? PM : 0);
  }

  private decodeHour(v: number): number {
    if (this.cmos[Reg.b]! & B.hours24) return this.decode(v);
    return (this.decode(v & ~PM) % 12) + (v & PM ? 12 : 0);
  }

  private readTime(register: number): number {
    const f = this.fields();
    switch (register) {
      case Reg.seconds:
        return this.encode(f.second);
      case Reg.minutes:
        return this.encode(f.minute);
      case Reg.hours:
        return this.encodeHour(f.hour);
      case Reg.weekday:
        return this.encode(new Date(this.nowSecond() * 1000).getUTCDay() + 1);
      case Reg.day:
        return this.encode(f.day);
      case Reg.month:
        return this.encode(f.month);
      case Reg.year:
        return this.encode(f.year % 100);
      default:
        return this.encode(Math.floor(f.year / 100));
    }
  }

  /** Fields that the guest has written while the clock stood still, raw; a date is made of them when it goes on. */
  private staged = new Map<number, number>();

  private writeTime(register: number, value: number): void {
    this.staged.set(register, value);
    if (this.running) this.commit();
  }

  /** Turns staged fields into a new offset. Fields out of range carry over, as a date's do. */
  private commit(): void {
    if (this.staged.size > 0) {
      const f = this.fields();
      const field = (r: number, now: number) => {
        const raw = this.staged.get(r);
        return raw === undefined ? now : this.decode(raw);
      };
      const rawHour = this.staged.get(Reg.hours);
      const d = new Date(0);
      d.setUTCFullYear(
        field(Reg.century, Math.floor(f.year / 100)) * 100 + field(Reg.year, f.year % 100),
        field(Reg.month, f.month) - 1,
        field(Reg.day, f.day),
      );
      d.setUTCHours(
        rawHour === undefined ? f.hour : this.decodeHour(rawHour),
        field(Reg.minutes, f.minute),
        field(Reg.seconds, f.second),
      );
      const ms = d.getTime();
      const fraction = this.frozenMs === undefined ? (((this.ctx.wallMs() + this.offsetMs) % 1000) + 1000) % 1000 : 0;
      this.staged.clear();
      if (this.frozenMs !== undefined) this.frozenMs = ms;
      else this.offsetMs = ms + fraction - this.ctx.wallMs();
      this.seenSecond = Math.floor(ms / 1000);
      if (this.frozenMs === undefined) this.timeSet();
    }
    this.schedule();
  }

  private timeSet(): void {
    this.onTimeSet(Math.round(this.offsetMs / 1000));
  }

  /** Starts or stops the clock after a change of SET or the divider. */
  private updateRunning(wasRunning: boolean): void {
    if (wasRunning && !this.running) {
      this.syncFlags();
      this.frozenMs = Math.floor((this.ctx.wallMs() + this.offsetMs) / 1000) * 1000;
    } else if (!wasRunning && this.running && this.frozenMs !== undefined) {
      const wrote = this.staged.size > 0;
      this.commit();
      // The divider restarts: the first update comes half a second later.
      this.offsetMs = this.frozenMs + 500 - this.ctx.wallMs();
      this.frozenMs = undefined;
      this.seenSecond = this.nowSecond();
      if (wrote) this.timeSet();
    }
    this.schedule();
  }

  // --- alarm and update-ended

  private alarmMatches(register: number, value: number): boolean {
    const raw = this.cmos[register]!;
    if ((raw & ALARM_ANY) === ALARM_ANY) return true;
    return (register === Reg.hoursAlarm ? this.decodeHour(raw) : this.decode(raw)) === value;
  }

  private canMatch(register: number, limit: number): boolean {
    for (let v = 0; v < limit; v++) if (this.alarmMatches(register, v)) return true;
    return false;
  }

  /** The first second after `second` at which the alarm matches, or undefined when it never does. */
  private nextAlarm(second: number): number | undefined {
    // Values that no clock shows; without this test the search below would walk two days in seconds.
    if (!this.canMatch(Reg.secondsAlarm, 60) || !this.canMatch(Reg.minutesAlarm, 60)) return undefined;
    const from = second + 1;
    const day = Math.floor(from / DAY) * DAY;
    for (let pass = 0; pass < 2; pass++) {
      // On the second pass all of the next day counts.
      const first = pass === 0 ? from - day : 0;
      for (let h = Math.floor(first / 3600); h < 24; h++) {
        if (!this.alarmMatches(Reg.hoursAlarm, h)) continue;
        for (let m = 0; m < 60; m++) {
          if (h * 3600 + m * 60 + 59 < first || !this.alarmMatches(Reg.minutesAlarm, m)) continue;
          for (let s = 0; s < 60; s++) {
            const t = h * 3600 + m * 60 + s;
            if (t >= first && this.alarmMatches(Reg.secondsAlarm, s)) return day + pass * DAY + t;
          }
        }
      }
    }
    return undefined;
  }

  /** Brings UF, AF and PF up to now. */
  private syncFlags(): void {
    let flags = 0;
    if (this.running) {
      const second = this.nowSecond();
      if (second > this.seenSecond) {
        flags |= C.updateEnded;
        const alarm = this.nextAlarm(this.seenSecond);
        if (alarm !== undefined && alarm <= second) flags |= C.alarm;
      }
      this.seenSecond = second;
    }
    const period = this.periodNs();
    if (period > 0) {
      const periods = Math.floor((this.ctx.clock.nowNs() - this.periodBaseNs) / period);
      if (periods > this.seenPeriods) flags |= C.periodic;
      this.seenPeriods = periods;
    }
    this.raise(flags);
  }

  private raise(flags: number): void {
    const { cmos } = this;
    const rose = flags & ~cmos[Reg.c]! & cmos[Reg.b]!;
    cmos[Reg.c] = cmos[Reg.c]! | flags;
    if (rose & C.alarm) this.onAlarm();
    this.updateIrq();
  }

  /** Flag and enable bits have the same places in C and B. */
  private updateIrq(): void {
    const { cmos } = this;
    const active = (cmos[Reg.c]! & cmos[Reg.b]! & (C.periodic | C.alarm | C.updateEnded)) !== 0;
    cmos[Reg.c] = (cmos[Reg.c]! & ~C.irq) | (active ? C.irq : 0);
    this.irq.set(active);
  }

  /** Period of the periodic interrupt, 0 when off. */
  private periodNs(): number {
    const a = this.cmos[Reg.a]!;
    const rate = a & A.rate;
    if (rate === 0 || (a & A.divider) !== DIVIDER_32KHZ) return 0;
    // Rates 1 and 2 are those of 8 and 9.
    return (1 << ((rate <= 2 ? rate + 7 : rate) - 1)) * NS_PER_CLOCK;
  }

  private schedule(): void {
    const b = this.cmos[Reg.b]!;
    const now = this.ctx.clock.nowNs();
    let target: number | undefined;
    if (this.running) {
      if (b & B.updateEnded) target = this.seenSecond + 1;
      else if (b & B.alarm) target = this.nextAlarm(this.seenSecond);
    }
    if (target === undefined) this.secondTimer.disarm();
    // Wall time may run unlike virtual time; a deadline that comes too early is set again, but not at once.
    else this.secondTimer.arm(now + Math.max(target * 1000 - this.guestMs(), 0.5) * 1e6);

    const period = this.periodNs();
    if (b & B.periodic && period > 0) this.periodicTimer.arm(this.periodBaseNs + (this.seenPeriods + 1) * period);
    else this.periodicTimer.disarm();
  }

  private onSecond(): void {
    this.syncFlags();
    this.schedule();
  }

  private onPeriod(): void {
    this.syncFlags();
    this.schedule();
  }

  // --- registers

  read(offset: number): number {
    if (offset === 0) return 0xff; // the index cannot be read
    const r = this.index;
    switch (r) {
      case Reg.seconds:
      case Reg.minutes:
      case Reg.hours:
      case Reg.weekday:
      case Reg.day:
      case Reg.month:
      case Reg.year:
      case Reg.century:
        return this.staged.get(r) ?? this.readTime(r);
      case Reg.a: {
        const uip = this.running && ((this.guestMs() % 1000) + 1000) % 1000 >= 1000 - UIP_MS;
        return (this.cmos[Reg.a]! & ~A.updateInProgress) | (uip ? A.updateInProgress : 0);
      }
      case Reg.c: {
        this.syncFlags();
        const c = this.cmos[Reg.c]!;
        this.cmos[Reg.c] = 0;
        this.updateIrq();
        this.schedule();
        return c;
      }
      case Reg.d:
        return D_VALID;
      default:
        return this.cmos[r]!;
    }
  }

  write(offset: number, _size: number, value: number): void {
    value &= 0xff;
    if (offset === 0) {
      this.index = value & 0x7f;
      const masked = (value & NMI_MASK) !== 0;
      if (masked !== this.nmiMask) {
        this.nmiMask = masked;
        this.onNmiMask(masked);
      }
      return;
    }
    const r = this.index;
    switch (r) {
      case Reg.seconds:
      case Reg.minutes:
      case Reg.hours:
      case Reg.weekday:
      case Reg.day:
      case Reg.month:
      case Reg.year:
      case Reg.century:
        this.writeTime(r, value);
        return;
      case Reg.secondsAlarm:
      case Reg.minutesAlarm:
      case Reg.hoursAlarm:
        this.syncFlags();
        this.cmos[r] = value;
        this.schedule();
        return;
      case Reg.a:
        this.writeA(value);
        return;
      case Reg.b:
        this.writeB(value);
        return;
      case Reg.c:
      case Reg.d:
        return; // read-only
      default:
        this.cmos[r] = value;
    }
  }

  private writeA(value: number): void {
    this.syncFlags();
    const was = this.running;
    const old = this.cmos[Reg.a]!;
    this.cmos[Reg.a] = value & ~A.updateInProgress;
    if ((old ^ value) & (A.rate | A.divider)) {
      this.periodBaseNs = this.ctx.clock.nowNs();
      this.seenPeriods = 0;
    }
    this.updateRunning(was);
  }

  private writeB(value: number): void {
    this.syncFlags();
    const was = this.running;
    // Setting the time masks the update-ended interrupt.
    if (value & B.set) value &= ~B.updateEnded;
    this.cmos[Reg.b] = value;
    this.updateIrq();
    this.updateRunning(was);
  }

  /** The RESET pin: interrupts off; time, divider and RAM stay. */
  reset(): void {
    const b = this.cmos[Reg.b]!;
    this.cmos[Reg.b] = b & ~(B.periodic | B.alarm | B.updateEnded | B.squareWave);
    this.cmos[Reg.c] = 0;
    this.index = 0;
    if (this.nmiMask) {
      this.nmiMask = false;
      this.onNmiMask(false);
    }
    this.updateIrq();
    this.schedule();
  }

  save(): DeviceState {
    return {
      cmos: this.cmos.slice(),
      index: this.index,
      nmiMask: this.nmiMask,
      offsetMs: this.offsetMs,
      frozenMs: this.frozenMs ?? null,
      staged: [...this.staged].flat(),
      seenSecond: this.seenSecond,
      periodBaseNs: this.periodBaseNs,
      seenPeriods: this.seenPeriods,
      irq: this.irq.level,
    };
  }

  restore(s: DeviceState): void {
    this.cmos.set((s.cmos as Uint8Array).subarray(0, 128));
    this.index = s.index as number;
    this.nmiMask = s.nmiMask as boolean;
    this.offsetMs = s.offsetMs as number;
    this.frozenMs = s.frozenMs === null ? undefined : (s.frozenMs as number);
    const staged = s.staged as number[];
    this.staged = new Map();
    for (let i = 0; i + 1 < staged.length; i += 2) this.staged.set(staged[i]!, staged[i + 1]!);
    this.seenSecond = s.seenSecond as number;
    this.periodBaseNs = s.periodBaseNs as number;
    this.seenPeriods = s.seenPeriods as number;
    this.irq.level = s.irq as boolean;
    this.schedule();
  }
}
