/**
 * A 16550A serial port, 8 byte-wide registers, as on the PC's COM1 to COM4.
 *
 * Source: National Semiconductor PC16550D datasheet, §8 (registers) and §8.11 (FIFO interrupt and polled modes).
 *
 * Transmission takes no time: a byte written to the THR is at the backend at once, THRE and TEMT always read 1, and the
 * THRE interrupt follows each write. Its pending state is exact: it rises when the THR empties or when IER enables it,
 * and falls when the THR is written or when the IIR is read while it is the source reported. The interrupt line drops
 * for a moment at each THR write, so that an edge-triggered controller sees every one.
 * Reception is as fast as the guest reads; the character timeout takes four character times at the programmed rate.
 *
 * *Not emulated*: baud rate towards the backend, parity and framing errors, a break towards the backend, DMA mode, the
 * PC's gating of the interrupt by OUT2 (the line is driven whatever MCR says).
 */
import type { Chardev, ChardevFrontend } from "../../host/chardev.js";
import type { AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Timer } from "../core/clock.js";
import type { Device, DeviceContext, DeviceState } from "../core/device.js";
import type { DeviceType } from "../core/device-type.js";
import type { IrqLine } from "../core/irq.js";

const Reg = { data: 0, ier: 1, iirFcr: 2, lcr: 3, mcr: 4, lsr: 5, msr: 6, scr: 7 } as const;
const Ier = { received: 0x01, thrEmpty: 0x02, lineStatus: 0x04, modemStatus: 0x08 } as const;
/** IIR values: bit 0 is "none pending". */
const Iir = {
  modemStatus: 0x00,
  none: 0x01,
  thrEmpty: 0x02,
  received: 0x04,
  lineStatus: 0x06,
  timeout: 0x0c,
  fifos: 0xc0,
} as const;
const Fcr = { enable: 0x01, clearReceive: 0x02, clearTransmit: 0x04, dma: 0x08, trigger: 0xc0 } as const;
const Lcr = { wordLength: 0x03, stopBits: 0x04, parity: 0x08, break: 0x40, divisorLatch: 0x80 } as const;
const Mcr = { dtr: 0x01, rts: 0x02, out1: 0x04, out2: 0x08, loop: 0x10 } as const;
const Lsr = {
  dataReady: 0x01,
  overrun: 0x02,
  parity: 0x04,
  framing: 0x08,
  break: 0x10,
  thrEmpty: 0x20,
  transmitterEmpty: 0x40,
  fifoError: 0x80,
} as const;
const LSR_ERRORS = Lsr.overrun | Lsr.parity | Lsr.framing | Lsr.break;
const Msr = {
  deltaCts: 0x01,
  deltaDsr: 0x02,
  trailingRi: 0x04,
  deltaDcd: 0x08,
  cts: 0x10,
  dsr: 0x20,
  ri: 0x40,
  dcd: 0x80,
} as const;

const FIFO_SIZE = 16;
const TRIGGER_LEVELS = [1, 4, 8, 14] as const;
/** 1.8432 MHz / 16 */
const BASE_BAUD = 115200;

export interface UartOptions {
  readonly id?: string | undefined;
  /** Take no input while the guest holds RTS low. Off by default: many guests never raise it. */
  readonly rtsFlow?: boolean;
}

/** One serial port. Map 8 bytes at its base; `chardev` may be absent (nothing connected). */
export class Uart16550 implements Device, IoHandler, ChardevFrontend {
  readonly type = "isa-serial";
  readonly name = "serial";
  readonly maxAccess = 1;
  readonly id: string | undefined;
  private ier = 0;
  private fcr = 0;
  private lcr = 0;
  private mcr = 0;
  private scr = 0;
  private divisor = 12;
  /** Sticky error bits of the LSR. */
  private errors = 0;
  /** Delta bits of the MSR. */
  private deltas = 0;
  private thrPending = false;
  private timeoutPending = false;
  /** Received characters, oldest first: low byte the data, high byte its LSR errors. */
  private fifo: number[] = [];
  /** What RBR gives when nothing is there. */
  private lastRead = 0;
  private readonly timeout: Timer;
  private readonly rtsFlow: boolean;

  /** @param irq driven high while an enabled interrupt is pending */
  constructor(
    private readonly ctx: DeviceContext,
    readonly irq: IrqLine,
    private readonly chardev: Chardev | undefined,
    options: UartOptions = {},
  ) {
    this.id = options.id;
    this.rtsFlow = options.rtsFlow ?? false;
    this.timeout = ctx.timers.create(() => this.onTimeout());
    chardev?.attach(this);
  }

  map(io: AddressSpace, base: number): void {
    io.mapIo(base, 8, this);
  }

  private get fifoEnabled(): boolean {
    return (this.fcr & Fcr.enable) !== 0;
  }

  private get trigger(): number {
    return this.fifoEnabled ? TRIGGER_LEVELS[(this.fcr >> 6) & 3]! : 1;
  }

  private get looped(): boolean {
    return (this.mcr & Mcr.loop) !== 0;
  }

  // --- interrupts

  private iir(): number {
    const { ier } = this;
    if (ier & Ier.lineStatus && this.lineErrors() & LSR_ERRORS) return Iir.lineStatus;
    if (ier & Ier.received) {
      // With FIFOs the trigger level counts; a timeout tells of fewer.
      if (this.fifo.length >= this.trigger) return Iir.received;
      if (this.timeoutPending && this.fifo.length > 0) return Iir.timeout;
    }
    if (ier & Ier.thrEmpty && this.thrPending) return Iir.thrEmpty;
    if (ier & Ier.modemStatus && this.deltas) return Iir.modemStatus;
    return Iir.none;
  }

  private update(): void {
    this.irq.set(this.iir() !== Iir.none);
  }

  /** Errors as the LSR shows them: sticky ones and those of the character at the FIFO's head. */
  private lineErrors(): number {
    return this.errors | ((this.fifo[0] ?? 0) >> 8);
  }

  /** Nanoseconds for four characters: start, data, parity and stop bits. */
  private timeoutNs(): number {
    const { lcr } = this;
    const bits = 1 + 5 + (lcr & Lcr.wordLength) + (lcr & Lcr.parity ? 1 : 0) + (lcr & Lcr.stopBits ? 2 : 1);
    return (4 * bits * (this.divisor || 1) * 1e9) / BASE_BAUD;
  }

  private startTimeout(): void {
    this.timeoutPending = false;
    if (this.fifoEnabled && this.fifo.length > 0) this.timeout.arm(this.ctx.clock.nowNs() + this.timeoutNs());
    else if (this.timeout.armed) this.timeout.disarm();
  }

  private onTimeout(): void {
    if (this.fifo.length === 0) return;
    this.timeoutPending = true;
    this.update();
  }

  // --- backend

  canReceive(): number {
    if (this.looped || (this.rtsFlow && !(this.mcr & Mcr.rts))) return 0;
    return this.fifoEnabled ? FIFO_SIZE - this.fifo.length : this.fifo.length === 0 ? 1 : 0;
  }

  receive(data: Uint8Array): void {
    if (this.looped) return;
    for (const byte of data) this.push(byte);
    this.startTimeout();
    this.update();
  }

  event(event: "opened" | "closed" | "break"): void {
    if (event !== "break" || this.looped) return;
    this.push(Lsr.break << 8);
    this.startTimeout();
    this.update();
  }

  private push(entry: number): void {
    if (this.fifo.length < (this.fifoEnabled ? FIFO_SIZE : 1)) {
      this.fifo.push(entry);
      return;
    }
    this.errors |= Lsr.overrun;
    // Without FIFOs the new character overwrites the old one; with them it is lost in the shift register.
    if (!this.fifoEnabled) this.fifo[0] = entry;
  }

  // --- registers

  read(offset: number): number {
    switch (offset) {
      case Reg.data:
        return this.lcr & Lcr.divisorLatch ? this.divisor & 0xff : this.readData();
      case Reg.ier:
        return this.lcr & Lcr.divisorLatch ? this.divisor >> 8 : this.ier;
      case Reg.iirFcr: {
        const iir = this.iir();
        if (iir === Iir.thrEmpty) {
          this.thrPending = false;
          this.update();
        }
        return iir | (this.fifoEnabled ? Iir.fifos : 0);
      }
      case Reg.lcr:
        return this.lcr;
      case Reg.mcr:
        return this.mcr;
      case Reg.lsr:
        return this.readLineStatus();
      case Reg.msr: {
        const msr = this.modemLines() | this.deltas;
        this.deltas = 0;
        this.update();
        return msr;
      }
      default:
        return this.scr;
    }
  }

  private readData(): number {
    const entry = this.fifo.shift();
    if (entry === undefined) return this.lastRead;
    // An error that was not read from the LSR goes with its character into the sticky bits.
    this.errors |= entry >> 8;
    this.lastRead = entry & 0xff;
    this.startTimeout();
    this.update();
    if (!this.looped) this.chardev?.resume();
    return this.lastRead;
  }

  private readLineStatus(): number {
    const anyError = this.fifoEnabled && this.fifo.some((e) => e >> 8);
    const lsr =
      (this.fifo.length > 0 ? Lsr.dataReady : 0) |
      this.lineErrors() |
      Lsr.thrEmpty |
      Lsr.transmitterEmpty |
      (anyError ? Lsr.fifoError : 0);
    if (lsr & LSR_ERRORS) {
      this.errors = 0;
      if (this.fifo.length > 0) this.fifo[0] = this.fifo[0]! & 0xff;
      this.update();
    }
    return lsr;
  }

  private modemLines(): number {
    if (!this.looped) return this.chardev ? Msr.cts | Msr.dsr | Msr.dcd : 0;
    const m = this.mcr;
    return (m & Mcr.rts ? Msr.cts : 0) | (m & Mcr.dtr ? Msr.dsr : 0) | (m & Mcr.out1 ? Msr.ri : 0) | (m & Mcr.out2 ? Msr.dcd : 0);
  }

  write(offset: number, _size: number, value: number): void {
    value &= 0xff;
    switch (offset) {
      case Reg.data:
        if (this.lcr & Lcr.divisorLatch) this.divisor = (this.divisor & 0xff00) | value;
        else this.transmit(value);
        return;
      case Reg.ier:
        if (this.lcr & Lcr.divisorLatch) this.divisor = (this.divisor & 0xff) | (value << 8);
        else this.writeIer(value & 0x0f);
        return;
      case Reg.iirFcr:
        this.writeFcr(value);
        return;
      case Reg.lcr:
        if (value & ~this.lcr & Lcr.break && this.looped) {
          this.push(Lsr.break << 8);
          this.startTimeout();
        }
        this.lcr = value;
        this.update();
        return;
      case Reg.mcr:
        this.writeMcr(value & 0x1f);
        return;
      case Reg.scr:
        this.scr = value;
        return;
      default:
        return; // LSR and MSR are read-only (factory test)
    }
  }

  private transmit(byte: number): void {
    this.thrPending = false;
    this.update();
    if (this.looped) {
      this.push(byte);
      this.startTimeout();
    } else this.chardev?.write(Uint8Array.of(byte));
    this.thrPending = true;
    this.update();
  }

  private writeIer(value: number): void {
    // Enabling the interrupt with an empty THR makes it pending.
    if (value & ~this.ier & Ier.thrEmpty) this.thrPending = true;
    this.ier = value;
    this.update();
  }

  private writeFcr(value: number): void {
    const enabled = (value & Fcr.enable) !== 0;
    if (enabled !== this.fifoEnabled) value |= Fcr.clearReceive | Fcr.clearTransmit;
    this.fcr = enabled ? value & (Fcr.enable | Fcr.dma | Fcr.trigger) : 0;
    if (value & Fcr.clearReceive) {
      this.fifo = [];
      this.startTimeout();
    }
    if (value & Fcr.clearTransmit) this.thrPending = true;
    this.update();
    if (value & Fcr.clearReceive) this.chardev?.resume();
  }

  private writeMcr(value: number): void {
    const before = this.modemLines();
    const wasOpen = this.canReceive() > 0;
    this.mcr = value;
    const after = this.modemLines();
    const changed = before ^ after;
    // Ring counts at its trailing edge only.
    this.deltas |=
      ((changed >> 4) & (Msr.deltaCts | Msr.deltaDsr | Msr.deltaDcd)) | (changed & before & Msr.ri ? Msr.trailingRi : 0);
    this.update();
    if (!wasOpen && this.canReceive() > 0) this.chardev?.resume();
  }

  reset(): void {
    this.ier = 0;
    this.fcr = 0;
    this.lcr = 0;
    this.mcr = 0;
    this.scr = 0;
    this.divisor = 12;
    this.errors = 0;
    this.deltas = 0;
    this.thrPending = false;
    this.timeoutPending = false;
    this.fifo = [];
    this.lastRead = 0;
    this.timeout.disarm();
    this.update();
    this.chardev?.resume();
  }

  save(): DeviceState {
    return {
      ier: this.ier,
      fcr: this.fcr,
      lcr: this.lcr,
      mcr: this.mcr,
      scr: this.scr,
      divisor: this.divisor,
      errors: this.errors,
      deltas: this.deltas,
      thrPending: this.thrPending,
      timeoutPending: this.timeoutPending,
      fifo: [...this.fifo],
      lastRead: this.lastRead,
      timeoutNs: this.timeout.armed ? this.timeout.deadlineNs : null,
      irq: this.irq.level,
    };
  }

  restore(s: DeviceState): void {
    this.ier = s.ier as number;
    this.fcr = s.fcr as number;
    this.lcr = s.lcr as number;
    this.mcr = s.mcr as number;
    this.scr = s.scr as number;
    this.divisor = s.divisor as number;
    this.errors = s.errors as number;
    this.deltas = s.deltas as number;
    this.thrPending = s.thrPending as boolean;
    this.timeoutPending = s.timeoutPending as boolean;
    this.fifo = (s.fifo as number[]).slice(0, FIFO_SIZE);
    this.lastRead = s.lastRead as number;
    if (s.timeoutNs === null) this.timeout.disarm();
    else this.timeout.arm(s.timeoutNs as number);
    this.irq.level = s.irq as boolean;
    this.chardev?.resume();
  }

  dispose(): void {
    this.chardev?.attach(undefined);
    this.ctx.timers.remove(this.timeout);
  }
}

/** Base port and interrupt of COM1 to COM4. */
export const COM_PORTS = [
  { base: 0x3f8, irq: 4 },
  { base: 0x2f8, irq: 3 },
  { base: 0x3e8, irq: 4 },
  { base: 0x2e8, irq: 3 },
] as const;

export const isaSerialType: DeviceType = {
  name: "isa-serial",
  aliases: [],
  bus: "isa",
  category: "input",
  description: "16550A serial port",
  properties: [
    { name: "chardev", type: "chardev", default: undefined, description: "backend" },
    { name: "index", type: "uint32", default: undefined, description: "0 to 3: COM1 to COM4" },
    { name: "iobase", type: "uint32", default: undefined, description: "first port" },
    { name: "irq", type: "uint32", default: undefined, description: "ISA interrupt" },
  ],
};
