/**
 * The high precision event timer: a 64-bit counter of 10 ns and three comparators, 1 KiB at FED0_0000h.
 *
 * Source: IA-PC HPET specification 1.0a, §2.3 (registers), §2.3.9.2 (periodic mode), §2.4.6 (legacy replacement).
 *
 * A one-shot comparator that was written a moment too late fires at once, where hardware would wait for the counter to
 * wrap. Eight-byte accesses come as two halves, low first; a 64-bit read of the running counter is made whole by latching
 * the high half at the read of the low one.
 *
 * Host load: a comparator makes at most one event each 20 µs; periods missed because the host was late are skipped.
 *
 * *Not emulated*: status bits of comparators whose interrupt is disabled, more than three comparators.
 */
import type { AccessSize, AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Timer } from "../core/clock.js";
import type { Device, DeviceContext, DeviceState } from "../core/device.js";
import type { IrqLine } from "../core/irq.js";

export const HPET_BASE = 0xfed00000;

const COMPARATORS = 3;
const TICK_NS = 10;
/** Counter period in femtoseconds. */
const PERIOD_FS = 10_000_000;
/** Revision 1, three comparators, 64-bit counter, legacy replacement, vendor 8086h. */
const CAPABILITIES = (0x01 | ((COMPARATORS - 1) << 8) | 0x2000 | 0x8000 | (0x8086 << 16)) >>> 0;

const Reg = { capabilities: 0x000, configuration: 0x010, status: 0x020, counter: 0x0f0, timers: 0x100 } as const;
const TimerReg = { config: 0x00, comparator: 0x08, fsb: 0x10 } as const;
const TIMER_STRIDE = 0x20;
const GeneralConfig = { enable: 0x1, legacy: 0x2 } as const;
const Config = {
  level: 0x0002,
  interruptEnable: 0x0004,
  periodic: 0x0008,
  periodicCapable: 0x0010,
  size64: 0x0020,
  setValue: 0x0040,
  mode32: 0x0100,
  route: 0x3e00,
  fsbEnable: 0x4000,
  fsbCapable: 0x8000,
} as const;
const CONFIG_WRITABLE =
  Config.level | Config.interruptEnable | Config.periodic | Config.setValue | Config.mode32 | Config.route | Config.fsbEnable;
const CONFIG_FIXED = Config.periodicCapable | Config.size64;

const MASK32 = 0xffffffffn;
const MASK64 = 0xffffffffffffffffn;
/** A comparator at most this many ticks in the past counts as just missed. */
const JUST_MISSED = 1n << 31n;
const MIN_EVENT_NS = 20_000;
/** Deadlines further off than this are looked at again then. */
const MAX_WAIT_TICKS = 1n << 44n;

const low = (v: bigint) => Number(v & MASK32);
const high = (v: bigint) => Number(v >> 32n);
const withHalf = (v: bigint, upper: boolean, half: number) =>
  upper ? (v & MASK32) | (BigInt(half) << 32n) : (v & ~MASK32) | BigInt(half);

export interface HpetOptions {
  /** Global system interrupts (I/O APIC pins; the board also takes 0-15 to the 8259). */
  readonly gsi: readonly IrqLine[];
  /** IRQ0 and IRQ8 while legacy replacement is on. */
  readonly irq0: IrqLine;
  readonly irq8: IrqLine;
  /** Legacy replacement went on or off: the PIT and the RTC lose or get back their lines. */
  readonly onLegacy?: (on: boolean) => void;
  /** Message-signalled interrupts; without it the capability is absent. */
  readonly msi?: (address: number, data: number) => void;
  /** Interrupts a comparator may be routed to, as a bit mask. Default 4 (GSI 2). */
  readonly routes?: number;
}

/** One comparator. */
class Comparator {
  config: number;
  value = MASK64;
  period = 0n;
  fsbValue = 0;
  fsbAddress = 0;
  /** It has fired since it was last written, or was never written: a value in the past is no longer "just missed". */
  fired = true;
  /** The low half was just written with SETVAL: the high half belongs to it. */
  setHigh = false;
  readonly timer: Timer;

  constructor(
    readonly index: number,
    ctx: DeviceContext,
    private readonly fixed: number,
    fire: (c: Comparator) => void,
  ) {
    this.config = fixed;
    this.timer = ctx.timers.create(() => fire(this));
  }

  get periodic(): boolean {
    return (this.config & Config.periodic) !== 0;
  }

  get mask(): bigint {
    return this.config & Config.mode32 ? MASK32 : MASK64;
  }

  reset(): void {
    this.config = this.fixed;
    this.value = MASK64;
    this.period = 0n;
    this.fsbValue = 0;
    this.fsbAddress = 0;
    this.fired = true;
    this.setHigh = false;
    this.timer.disarm();
  }
}

export class Hpet implements Device, IoHandler {
  readonly type = "hpet";
  readonly name = "hpet";
  private general = 0;
  private status = 0;
  /** Counter minus elapsed ticks while running; the counter itself while halted. */
  private offset = 0n;
  private latchedHigh: number | undefined;
  private readonly comparators: readonly Comparator[];
  private readonly routes: number;
  private readonly fixed: number;

  constructor(
    private readonly ctx: DeviceContext,
    private readonly options: HpetOptions,
  ) {
    this.routes = options.routes ?? 0x4;
    this.fixed = CONFIG_FIXED | (options.msi ? Config.fsbCapable : 0);
    this.comparators = Array.from({ length: COMPARATORS }, (_, n) => new Comparator(n, ctx, this.fixed, (c) => this.fire(c)));
  }

  map(memory: AddressSpace, base = HPET_BASE): void {
    memory.mapIo(base, 0x400, this);
  }

  private get running(): boolean {
    return (this.general & GeneralConfig.enable) !== 0;
  }

  private get legacy(): boolean {
    return (this.general & GeneralConfig.legacy) !== 0;
  }

  private ticks(): bigint {
    return BigInt(Math.floor(this.ctx.clock.nowNs() / TICK_NS));
  }

  private counter(): bigint {
    return this.running ? (this.offset + this.ticks()) & MASK64 : this.offset;
  }

  // --- comparators

  /** Moves a periodic comparator past the counter, as its accumulator would have gone. */
  private advance(c: Comparator, now: bigint): void {
    if (!c.periodic || c.period === 0n) return;
    const { mask } = c;
    // Distance from the comparator to the counter; the upper half of the range means it lies ahead.
    const behind = (now - c.value) & mask;
    if (behind <= mask >> 1n) c.value = (c.value + (behind / c.period + 1n) * c.period) & mask;
  }

  private schedule(c: Comparator, notBeforeNs = 0): void {
    if (!this.running || !(c.config & Config.interruptEnable)) {
      c.timer.disarm();
      return;
    }
    const now = this.counter();
    if (c.periodic && c.fired) this.advance(c, now);
    let wait = (c.value - now) & c.mask;
    // Just missed and not yet fired: now. Fired already: at the next wrap.
    if (!c.fired && wait > c.mask - JUST_MISSED) wait = 0n;
    else if (c.fired && wait === 0n) wait = c.mask;
    if (wait > MAX_WAIT_TICKS) wait = MAX_WAIT_TICKS;
    const at = (Math.floor(this.ctx.clock.nowNs() / TICK_NS) + Number(wait)) * TICK_NS;
    c.timer.arm(Math.max(at, notBeforeNs));
  }

  private fire(c: Comparator): void {
    const nowNs = this.ctx.clock.nowNs();
    const now = this.counter();
    if (((now - c.value) & c.mask) > c.mask >> 1n) {
      // Only as far as the longest wait.
      this.schedule(c);
      return;
    }
    c.fired = true;
    this.interrupt(c);
    this.schedule(c, nowNs + MIN_EVENT_NS);
  }

  private line(c: Comparator): IrqLine | undefined {
    if (this.legacy && c.index < 2) return c.index === 0 ? this.options.irq0 : this.options.irq8;
    return this.options.gsi[(c.config & Config.route) >> 9];
  }

  private interrupt(c: Comparator): void {
    if (c.config & Config.fsbEnable && this.options.msi) {
      this.options.msi(c.fsbAddress, c.fsbValue);
      return;
    }
    if (c.config & Config.level) {
      this.status |= 1 << c.index;
      this.line(c)?.raise();
    } else this.line(c)?.pulse();
  }

  private lower(c: Comparator): void {
    if (!(this.status & (1 << c.index))) return;
    this.status &= ~(1 << c.index);
    this.line(c)?.lower();
  }

  // --- registers

  read(offset: number, size: AccessSize): number {
    const v = this.readWord(offset & 0x3fc) >>> (8 * (offset & 3));
    return size === 4 ? v : v & (size === 2 ? 0xffff : 0xff);
  }

  private readWord(reg: number): number {
    if (reg >= Reg.timers && reg < Reg.timers + COMPARATORS * TIMER_STRIDE) return this.readTimer(reg - Reg.timers);
    switch (reg) {
      case Reg.capabilities:
        return CAPABILITIES;
      case Reg.capabilities + 4:
        return PERIOD_FS;
      case Reg.configuration:
        return this.general;
      case Reg.status:
        return this.status;
      case Reg.counter: {
        const v = this.counter();
        this.latchedHigh = high(v);
        return low(v);
      }
      case Reg.counter + 4: {
        const v = this.latchedHigh ?? high(this.counter());
        this.latchedHigh = undefined;
        return v;
      }
      default:
        return 0;
    }
  }

  private readTimer(reg: number): number {
    const c = this.comparators[Math.floor(reg / TIMER_STRIDE)]!;
    if (c.periodic && this.running && c.fired) this.advance(c, this.counter());
    switch (reg % TIMER_STRIDE) {
      case TimerReg.config:
        return c.config;
      case TimerReg.config + 4:
        return this.routes >>> 0;
      case TimerReg.comparator:
        return low(c.value);
      case TimerReg.comparator + 4:
        return high(c.value);
      case TimerReg.fsb:
        return c.fsbValue;
      case TimerReg.fsb + 4:
        return c.fsbAddress;
      default:
        return 0;
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (size !== 4 || offset & 3) {
      this.ctx.trace.guestError("hpet", () => `write of ${size} bytes at ${offset.toString(16)}`);
      return;
    }
    value >>>= 0;
    if (offset >= Reg.timers && offset < Reg.timers + COMPARATORS * TIMER_STRIDE) {
      this.writeTimer(offset - Reg.timers, value);
      return;
    }
    switch (offset) {
      case Reg.configuration:
        this.writeConfiguration(value);
        return;
      case Reg.status:
        for (const c of this.comparators) if (value & (1 << c.index)) this.lower(c);
        return;
      case Reg.counter:
      case Reg.counter + 4: {
        if (this.running) this.ctx.trace.guestError("hpet", "counter written while it runs");
        const v = withHalf(this.counter(), offset !== Reg.counter, value);
        this.offset = this.running ? (v - this.ticks()) & MASK64 : v;
        for (const c of this.comparators) this.schedule(c);
        return;
      }
    }
  }

  private writeConfiguration(value: number): void {
    const before = this.general;
    const counter = this.counter();
    const wasLegacy = this.legacy;
    if ((before ^ value) & GeneralConfig.legacy) for (const c of this.comparators) this.lower(c);
    this.general = value & (GeneralConfig.enable | GeneralConfig.legacy);
    if ((before ^ value) & GeneralConfig.enable) {
      this.offset = this.running ? (counter - this.ticks()) & MASK64 : counter;
      for (const c of this.comparators) {
        if (!this.running) this.lower(c);
        this.schedule(c);
      }
    }
    if (this.legacy !== wasLegacy) this.options.onLegacy?.(this.legacy);
  }

  private writeTimer(reg: number, value: number): void {
    const c = this.comparators[Math.floor(reg / TIMER_STRIDE)]!;
    const r = reg % TIMER_STRIDE;
    switch (r) {
      case TimerReg.config: {
        // A line that is up belongs to the old route.
        if ((c.config ^ value) & (Config.route | Config.level | Config.fsbEnable) || !(value & Config.interruptEnable))
          this.lower(c);
        c.config = (value & CONFIG_WRITABLE & (this.options.msi ? 0xffff : ~Config.fsbEnable)) | this.fixed;
        if (c.config & Config.mode32) {
          c.value &= MASK32;
          c.period &= MASK32;
        }
        c.setHigh = false;
        this.schedule(c);
        return;
      }
      case TimerReg.comparator:
        if (!c.periodic || c.config & Config.setValue) c.value = withHalf(c.value, false, value) & c.mask;
        if (c.periodic) c.period = withHalf(c.period, false, value) & c.mask;
        c.setHigh = c.periodic && (c.config & Config.setValue) !== 0;
        c.config &= ~Config.setValue;
        c.fired = false;
        this.schedule(c);
        return;
      case TimerReg.comparator + 4:
        if (c.config & Config.mode32) return;
        if (!c.periodic || c.setHigh || c.config & Config.setValue) c.value = withHalf(c.value, true, value);
        if (c.periodic) c.period = withHalf(c.period, true, value);
        c.setHigh = false;
        c.config &= ~Config.setValue;
        c.fired = false;
        this.schedule(c);
        return;
      case TimerReg.fsb:
        c.fsbValue = value;
        return;
      case TimerReg.fsb + 4:
        c.fsbAddress = value;
        return;
    }
  }

  reset(): void {
    for (const c of this.comparators) {
      this.lower(c);
      c.reset();
    }
    const wasLegacy = this.legacy;
    this.general = 0;
    this.status = 0;
    this.offset = 0n;
    this.latchedHigh = undefined;
    if (wasLegacy) this.options.onLegacy?.(false);
  }

  save(): DeviceState {
    return {
      general: this.general,
      status: this.status,
      offset: this.offset,
      latchedHigh: this.latchedHigh ?? null,
      comparators: this.comparators.map((c) => ({
        config: c.config,
        value: c.value,
        period: c.period,
        fsbValue: c.fsbValue,
        fsbAddress: c.fsbAddress,
        fired: c.fired,
        setHigh: c.setHigh,
      })),
    };
  }

  /** The board restores the interrupt controllers' inputs; lines here follow the status register. */
  restore(s: DeviceState): void {
    this.general = s.general as number;
    this.status = s.status as number;
    this.offset = s.offset as bigint;
    this.latchedHigh = s.latchedHigh === null ? undefined : (s.latchedHigh as number);
    (s.comparators as DeviceState[]).forEach((saved, i) => {
      const c = this.comparators[i];
      if (!c) return;
      c.config = saved.config as number;
      c.value = saved.value as bigint;
      c.period = saved.period as bigint;
      c.fsbValue = saved.fsbValue as number;
      c.fsbAddress = saved.fsbAddress as number;
      c.fired = saved.fired as boolean;
      c.setHigh = saved.setHigh as boolean;
      const line = this.line(c);
      if (line && this.status & (1 << c.index)) line.level = true;
      this.schedule(c);
    });
    this.options.onLegacy?.(this.legacy);
  }
}
