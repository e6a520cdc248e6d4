/**
 * The ACPI power management block of the PIIX4: PM1a event and control, PM timer, GPE0, APM ports B2h/B3h.
 *
 * Source: ACPI 6.4 §4.8.3 (fixed hardware registers); Intel 82371AB (PIIX4) datasheet, §7.3 (I/O space registers).
 *
 * SCI is raised for enabled events while SCI_EN is set. Sleep types are those of QEMU's PIIX4: 0 is S5, 1 is S3, 2 is S4.
 * GPE0 is a block of its own of four bytes (two status, two enable), as QEMU has it at AFE0h.
 *
 * *Not emulated*: SMI for PM events with SCI_EN clear, clock throttling (PCNTRL and PLVL read 0 and do nothing), device
 * activity monitors, BIOS_RLS/GBL_RLS handshakes beyond their status bits, other sleep types (ignored).
 */
import type { AccessSize, AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Timer } from "../core/clock.js";
import type { Device, DeviceContext, DeviceState } from "../core/device.js";
import type { IrqLine } from "../core/irq.js";

/** PM timer clock. */
export const PM_TIMER_HZ = 3579545;
/** GPE0 block of the PC machine. */
export const GPE0_BASE = 0xafe0;

const Reg = { status: 0x00, enable: 0x02, control: 0x04, timer: 0x08, globalControl: 0x28 } as const;
const Pm1 = { timer: 0x0001, busMaster: 0x0010, global: 0x0020, powerButton: 0x0100, rtc: 0x0400, wake: 0x8000 } as const;
const PM1_STATUS_CLEARABLE = Pm1.timer | Pm1.busMaster | Pm1.global | Pm1.powerButton | Pm1.rtc | Pm1.wake;
const PM1_ENABLE_WRITABLE = Pm1.timer | Pm1.global | Pm1.powerButton | Pm1.rtc;
const Pm1Control = { sciEnable: 0x0001, sleepType: 0x1c00, sleepEnable: 0x2000 } as const;
const PM1_CONTROL_WRITABLE = 0x1c03;
const TIMER_MASK = 0xffffff;
/** The status bit follows each change of the timer's highest bit. */
const TIMER_HALF = 0x800000;
const SMI_ENABLE = 0x01;

/** Commands at port B2h, as the FADT names them. */
export const AcpiCommand = { enable: 0xf1, disable: 0xf0 } as const;

export type SleepState = "S3" | "S4" | "S5";
const SLEEP_TYPES: readonly (SleepState | undefined)[] = ["S5", "S3", "S4"];

export interface AcpiPmOptions {
  /** The guest asked to sleep; S5 is power off. */
  readonly onSleep: (state: SleepState) => void;
  /** A write to port B2h that is to make an SMI. */
  readonly onSmi?: () => void;
  /** Whether port B2h makes SMIs now (PIIX4: APMC_EN). Default never. */
  readonly smiEnabled?: () => boolean;
  /** S3 and S4 are not offered; the guest's attempt is ignored. */
  readonly disableS3?: boolean;
  readonly disableS4?: boolean;
}

const ticksAt = (ns: number): number => {
  const s = Math.floor(ns / 1e9);
  return s * PM_TIMER_HZ + Math.floor(((ns - s * 1e9) * PM_TIMER_HZ) / 1e9);
};
const nsAt = (ticks: number): number => {
  const s = Math.floor(ticks / PM_TIMER_HZ);
  return s * 1e9 + Math.ceil(((ticks - s * PM_TIMER_HZ) * 1e9) / PM_TIMER_HZ);
};

/** The register block (64 bytes at PMBASE). `gpe` and `apm` are separate handlers. */
export class AcpiPm implements Device, IoHandler {
  readonly type = "acpi-pm";
  readonly name = "acpi-pm";
  private status = 0;
  private enable = 0;
  private control = 0;
  private globalControl = 0;
  private gpeStatus = 0;
  private gpeEnable = 0;
  private apmControl = 0;
  private apmStatus = 0;
  /** Half periods of the timer already turned into TMR_STS. */
  private seenHalves = 0;
  private readonly timer: Timer;

  /** GPE0: status in bytes 0-1, enable in bytes 2-3. */
  readonly gpe: IoHandler = {
    name: "acpi-gpe0",
    maxAccess: 1,
    read: (offset) => (offset < 2 ? this.gpeStatus >> (8 * offset) : this.gpeEnable >> (8 * (offset - 2))) & 0xff,
    write: (offset, _size, value) => {
      const shift = 8 * (offset & 1);
      if (offset < 2) this.gpeStatus &= ~((value & 0xff) << shift);
      else this.gpeEnable = (this.gpeEnable & ~(0xff << shift)) | ((value & 0xff) << shift);
      this.updateSci();
    },
  };

  /** APM control and status ports B2h and B3h. */
  readonly apm: IoHandler = {
    name: "apm",
    maxAccess: 1,
    read: (offset) => (offset === 0 ? this.apmControl : this.apmStatus),
    write: (offset, _size, value) => {
      if (offset === 0) this.apmCommand(value & 0xff);
      else this.apmStatus = value & 0xff;
    },
  };

  /** @param sci the SCI (IRQ9, level) */
  constructor(
    private readonly ctx: DeviceContext,
    readonly sci: IrqLine,
    private readonly options: AcpiPmOptions,
  ) {
    this.timer = ctx.timers.create(() => this.onTimer());
    this.seenHalves = this.halves();
  }

  /** Maps the GPE block and the APM ports; the PM block itself lies where the PM function says. */
  map(io: AddressSpace, gpeBase = GPE0_BASE): void {
    io.mapIo(gpeBase, 4, this.gpe);
    io.mapIo(0xb2, 2, this.apm);
  }

  private halves(): number {
    return Math.floor(ticksAt(this.ctx.clock.nowNs()) / TIMER_HALF);
  }

  private syncTimer(): void {
    const halves = this.halves();
    if (halves > this.seenHalves) this.status |= Pm1.timer;
    this.seenHalves = halves;
  }

  private schedule(): void {
    if (this.enable & Pm1.timer && !(this.status & Pm1.timer)) this.timer.arm(nsAt((this.seenHalves + 1) * TIMER_HALF));
    else this.timer.disarm();
  }

  private onTimer(): void {
    this.syncTimer();
    this.updateSci();
  }

  private updateSci(): void {
    const pending = (this.status & this.enable & PM1_ENABLE_WRITABLE) !== 0 || (this.gpeStatus & this.gpeEnable) !== 0;
    this.sci.set(pending && (this.control & Pm1Control.sciEnable) !== 0);
    this.schedule();
  }

  /** The operating system owns ACPI (SCI_EN). */
  get acpiEnabled(): boolean {
    return (this.control & Pm1Control.sciEnable) !== 0;
  }

  /** The front button was pressed (`system_powerdown`). */
  powerButton(): void {
    this.status |= Pm1.powerButton;
    this.updateSci();
  }

  /** The RTC's alarm has gone off. */
  rtcAlarm(): void {
    this.status |= Pm1.rtc;
    this.updateSci();
  }

  /** The machine wakes from S3 (`system_wakeup`). */
  wake(reason: "rtc" | "pmtimer" | "other" = "other"): void {
    this.status |= Pm1.wake | (reason === "rtc" ? Pm1.rtc : reason === "pmtimer" ? Pm1.timer : 0);
    this.updateSci();
  }

  /** General purpose event `n` (0 to 15): latched until the guest clears it. */
  raiseGpe(n: number): void {
    this.gpeStatus |= 1 << (n & 15);
    this.updateSci();
  }

  private apmCommand(value: number): void {
    this.apmControl = value;
    if (value === AcpiCommand.enable) this.control |= Pm1Control.sciEnable;
    else if (value === AcpiCommand.disable) this.control &= ~Pm1Control.sciEnable;
    else if (this.options.smiEnabled?.()) this.options.onSmi?.();
    this.updateSci();
  }

  private word(index: number): number {
    switch (index) {
      case Reg.status:
        this.syncTimer();
        return this.status;
      case Reg.enable:
        return this.enable;
      case Reg.control:
        return this.control;
      case Reg.globalControl:
        return this.globalControl & 0xffff;
      case Reg.globalControl + 2:
        return this.globalControl >>> 16;
      default:
        return 0;
    }
  }

  read(offset: number, size: AccessSize): number {
    if ((offset & ~3) === Reg.timer) {
      const v = (ticksAt(this.ctx.clock.nowNs()) & TIMER_MASK) >>> (8 * (offset & 3));
      return size === 4 ? v : v & (size === 2 ? 0xffff : 0xff);
    }
    let v = 0;
    for (let i = size - 1; i >= 0; i--) v = v * 256 + ((this.word((offset + i) & ~1) >> (8 * ((offset + i) & 1))) & 0xff);
    return v;
  }

  write(offset: number, size: AccessSize, value: number): void {
    // Whole words where they are written whole, so that SLP_TYP and SLP_EN are seen together.
    for (let i = 0; i < size; ) {
      const at = offset + i;
      const bytes = at & 1 || size - i === 1 ? 1 : 2;
      const shift = 8 * (at & 1);
      const mask = bytes === 2 ? 0xffff : 0xff << shift;
      this.writeWord(at & ~1, ((value >>> (8 * i)) << shift) & mask, mask);
      i += bytes;
    }
  }

  private writeWord(index: number, value: number, mask: number): void {
    switch (index) {
      case Reg.status:
        this.syncTimer();
        this.status &= ~(value & PM1_STATUS_CLEARABLE);
        this.updateSci();
        return;
      case Reg.enable:
        this.syncTimer();
        this.enable = (this.enable & ~mask) | (value & PM1_ENABLE_WRITABLE);
        this.updateSci();
        return;
      case Reg.control: {
        this.control = ((this.control & ~mask) | value) & PM1_CONTROL_WRITABLE;
        this.updateSci();
        if (value & Pm1Control.sleepEnable) this.sleep((this.control & Pm1Control.sleepType) >> 10);
        return;
      }
      case Reg.globalControl:
      case Reg.globalControl + 2: {
        const shift = 8 * (index & 2);
        this.globalControl = ((this.globalControl & ~(mask << shift)) | (value << shift)) >>> 0;
        return;
      }
      default:
        return;
    }
  }

  private sleep(type: number): void {
    const state = SLEEP_TYPES[type];
    if (!state || (state === "S3" && this.options.disableS3) || (state === "S4" && this.options.disableS4)) {
      this.ctx.trace.guestError("acpi-pm", () => `sleep type ${type} is not offered`);
      return;
    }
    this.options.onSleep(state);
  }

  /** GLBCTL bit 0. */
  get smiGloballyEnabled(): boolean {
    return (this.globalControl & SMI_ENABLE) !== 0;
  }

  reset(): void {
    this.status = 0;
    this.enable = 0;
    this.control = 0;
    this.globalControl = 0;
    this.gpeStatus = 0;
    this.gpeEnable = 0;
    this.apmControl = 0;
    this.apmStatus = 0;
    this.seenHalves = this.halves();
    this.updateSci();
  }

  save(): DeviceState {
    return {
      status: this.status,
      enable: this.enable,
      control: this.control,
      globalControl: this.globalControl,
      gpeStatus: this.gpeStatus,
      gpeEnable: this.gpeEnable,
      apmControl: this.apmControl,
      apmStatus: this.apmStatus,
      seenHalves: this.seenHalves,
      sci: this.sci.level,
    };
  }

  restore(s: DeviceState): void {
    this.status = s.status as number;
    this.enable = s.enable as number;
    this.control = s.control as number;
    this.globalControl = s.globalControl as number;
    this.gpeStatus = s.gpeStatus as number;
    this.gpeEnable = s.gpeEnable as number;
    this.apmControl = s.apmControl as number;
    this.apmStatus = s.apmStatus as number;
    this.seenHalves = s.seenHalves as number;
    this.sci.level = s.sci as boolean;
    this.schedule();
  }
}
