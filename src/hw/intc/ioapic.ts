/**
 * The 82093AA I/O APIC: 24 pins, each with a redirection entry.
 *
 * Source: Intel 82093AA datasheet (290566-001), §3; the EOI register at 40h is that of later parts (version 20h).
 *
 * A level-triggered pin sends its message once and waits with remote IRR set for the EOI. Changing an entry to edge clears
 * remote IRR, by which operating systems without the EOI register make good a lost EOI.
 *
 * *Not emulated*: pin polarity (wires here carry "asserted"; the bit is stored), the delivery status (reads 0), bus
 * arbitration (the arbitration id follows the id).
 */
import type { AccessSize, AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Device, DeviceContext, DeviceState } from "../core/device.js";
import { IrqLine } from "../core/irq.js";
import { type ApicBus, DeliveryMode } from "./apic-bus.js";

export const IOAPIC_BASE = 0xfec00000;
export const IOAPIC_PINS = 24;

const Window = { select: 0x00, data: 0x10, eoi: 0x40 } as const;
const Index = { id: 0, version: 1, arbitration: 2, redirection: 0x10 } as const;
/** Low word of a redirection entry. */
const Entry = { logical: 0x800, remoteIrr: 0x4000, level: 0x8000, masked: 0x10000 } as const;
const ENTRY_WRITABLE = 0x1afff;

export interface IoApicOptions {
  /** Version register: 11h (82093AA) or 20h (with EOI register). Default 20h. */
  readonly version?: 0x11 | 0x20;
  /** INTA to the 8259 pair, for pins in ExtINT mode. */
  readonly picAcknowledge?: () => number;
}

export class IoApic implements Device, IoHandler {
  readonly type = "ioapic";
  readonly name = "ioapic";
  /** Pins 0 to 23 (global system interrupts). */
  readonly inputs: readonly IrqLine[];
  private apicId = 0;
  private select = 0;
  private readonly low = new Uint32Array(IOAPIC_PINS).fill(Entry.masked);
  private readonly high = new Uint32Array(IOAPIC_PINS);
  private readonly version: number;

  constructor(
    private readonly ctx: DeviceContext,
    private readonly bus: ApicBus,
    private readonly options: IoApicOptions = {},
  ) {
    this.version = options.version ?? 0x20;
    this.inputs = Array.from({ length: IOAPIC_PINS }, (_, n) => new IrqLine((level) => level && this.asserted(n)));
    bus.onEoi((vector) => this.endOfInterrupt(vector));
  }

  map(memory: AddressSpace, base = IOAPIC_BASE): void {
    memory.mapIo(base, 0x1000, this);
  }

  private asserted(n: number): void {
    const entry = this.low[n]!;
    if (entry & Entry.level) this.serviceLevel(n);
    // An edge at a masked pin is lost.
    else if (!(entry & Entry.masked)) this.send(n);
  }

  private serviceLevel(n: number): void {
    const entry = this.low[n]!;
    if (entry & (Entry.masked | Entry.remoteIrr) || !(entry & Entry.level) || !this.inputs[n]!.level) return;
    const mode = (entry >> 8) & 7;
    // Only vectored interrupts have an EOI.
    if (mode === DeliveryMode.fixed || mode === DeliveryMode.lowestPriority) this.low[n] = entry | Entry.remoteIrr;
    this.send(n);
  }

  private send(n: number): void {
    const entry = this.low[n]!;
    let deliveryMode = (entry >> 8) & 7;
    let vector = entry & 0xff;
    if (deliveryMode === DeliveryMode.extInt) {
      if (!this.options.picAcknowledge) return;
      vector = this.options.picAcknowledge();
      deliveryMode = DeliveryMode.fixed;
    }
    const vectored = deliveryMode === DeliveryMode.fixed || deliveryMode === DeliveryMode.lowestPriority;
    this.bus.deliver({
      destination: this.high[n]! >>> 24,
      destMode: entry & Entry.logical ? "logical" : "physical",
      deliveryMode,
      vector,
      level: true,
      trigger: vectored && entry & Entry.level ? "level" : "edge",
    });
  }

  private endOfInterrupt(vector: number): void {
    for (let n = 0; n < IOAPIC_PINS; n++) {
      const entry = this.low[n]!;
      if (!(entry & Entry.level) || (entry & 0xff) !== vector || !(entry & Entry.remoteIrr)) continue;
      this.low[n] = entry & ~Entry.remoteIrr;
      this.serviceLevel(n);
    }
  }

  private readIndexed(): number {
    const i = this.select;
    if (i === Index.id || i === Index.arbitration) return this.apicId << 24;
    if (i === Index.version) return this.version | ((IOAPIC_PINS - 1) << 16);
    const n = (i - Index.redirection) >> 1;
    if (n < 0 || n >= IOAPIC_PINS) {
      this.ctx.trace.guestError("ioapic", () => `read of register ${i}`);
      return 0;
    }
    return i & 1 ? this.high[n]! : this.low[n]!;
  }

  private writeIndexed(value: number): void {
    const i = this.select;
    if (i === Index.id) {
      this.apicId = (value >>> 24) & 15;
      return;
    }
    const n = (i - Index.redirection) >> 1;
    if (n < 0 || n >= IOAPIC_PINS) {
      this.ctx.trace.guestError("ioapic", () => `write to register ${i}`);
      return;
    }
    if (i & 1) {
      this.high[n] = value & 0xff000000;
      return;
    }
    let entry = (value & ENTRY_WRITABLE) | (this.low[n]! & Entry.remoteIrr);
    if (!(entry & Entry.level)) entry &= ~Entry.remoteIrr;
    this.low[n] = entry;
    this.serviceLevel(n);
  }

  read(offset: number, size: AccessSize): number {
    const reg = offset & 0xfc;
    const value = (reg === Window.select ? this.select : reg === Window.data ? this.readIndexed() : 0) >>> (8 * (offset & 3));
    return size === 4 ? value : value & (size === 2 ? 0xffff : 0xff);
  }

  write(offset: number, size: AccessSize, value: number): void {
    switch (offset & 0xff) {
      case Window.select:
        this.select = value & 0xff;
        return;
      case Window.data:
        if (size === 4) this.writeIndexed(value >>> 0);
        else this.ctx.trace.guestError("ioapic", () => `write of ${size} bytes`);
        return;
      case Window.eoi:
        if (this.version >= 0x20) this.endOfInterrupt(value & 0xff);
        return;
    }
  }

  reset(): void {
    this.apicId = 0;
    this.select = 0;
    this.low.fill(Entry.masked);
    this.high.fill(0);
  }

  /** Lines for `info pic`. */
  describe(): string[] {
    return [...this.low].map((entry, n) => {
      const dest = this.high[n]! >>> 24;
      return (
        `pin ${n}: vec=${entry & 0xff} mode=${(entry >> 8) & 7} ${entry & Entry.level ? "level" : "edge"} dest=${dest}` +
        `${entry & Entry.logical ? " logical" : ""}${entry & Entry.masked ? " masked" : ""}` +
        `${entry & Entry.remoteIrr ? " remote-irr" : ""}${this.inputs[n]!.level ? " high" : ""}`
      );
    });
  }

  save(): DeviceState {
    return {
      id: this.apicId,
      select: this.select,
      low: [...this.low],
      high: [...this.high],
      inputs: this.inputs.map((l) => l.level),
    };
  }

  restore(s: DeviceState): void {
    this.apicId = s.id as number;
    this.select = s.select as number;
    this.low.set((s.low as number[]).slice(0, IOAPIC_PINS));
    this.high.set((s.high as number[]).slice(0, IOAPIC_PINS));
    (s.inputs as boolean[]).forEach((level, n) => {
      const line = this.inputs[n];
      if (line) line.level = level;
    });
  }
}
