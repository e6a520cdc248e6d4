/**
 * The PCI-to-ISA bridge of the PIIX3, PCI function 8086:7000: PIRQ routing and the reset control register.
 * Source: Intel 82371SB datasheet (290550), §2.2 (PCI function 0 registers), §2.3.1 (RC register at 0xcf9).
 * A PIRQ that is routed to IRQ n drives the interrupt wire n, which the board takes both to the 8259 pair and to pin n of
 * the I/O APIC. Not emulated: DMA/ISA timing, SMI sources, motherboard device routing, clock throttling (registers store).
 */
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { IrqLine } from "../core/irq.js";
import type { ResetControlPort } from "./config-ports.js";
import { PciDevice, PciReg } from "./device.js";

const PIRQRC = 0x60;
const ROUTE_DISABLED = 0x80;
const ROUTE_IRQ = 0x0f;
/** IRQs a PIRQ may be routed to: not 0-2, 8 and 13. */
const ROUTABLE = 0b1101_1110_1111_1000;
const RC_HARD = 2;
const RC_RESET_CPU = 4;

/** Register, value after reset. */
const RESET_VALUES: readonly (readonly [number, number])[] = [
  [0x4c, 0x4d],
  [0x4e, 0x03],
  [0x60, ROUTE_DISABLED],
  [0x61, ROUTE_DISABLED],
  [0x62, ROUTE_DISABLED],
  [0x63, ROUTE_DISABLED],
  [0x69, 0x02],
  [0x70, 0x80],
  [0x76, 0x0c],
  [0x77, 0x0c],
  [0x78, 0x02],
  [0xa0, 0x08],
  [0xa8, 0x0f],
];

/** What the guest asked for at 0xcf9: a hard reset of the machine, or INIT of the processors only. */
export type ResetKind = "hard" | "soft";

/** The wires of the bridge. */
export interface Piix3Options {
  /** ISA interrupt wires 0-15, shared with ISA devices (each driver its own input). */
  readonly irqs: readonly IrqLine[];
  /** A reset was asked for through 0xcf9. */
  readonly onReset: (kind: ResetKind) => void;
}

/** ISA bridge. Attach at slot 1 with `multifunction: true`; set the bus's `onPirq` to `setPirq` and the config ports' `resetControl`. */
export class Piix3Isa extends PciDevice {
  readonly type = "PIIX3";
  private readonly pirqLevels = [false, false, false, false];
  private resetControlRegister = 0;
  /** The port at 0xcf9. */
  readonly resetControl: ResetControlPort = {
    read: () => this.resetControlRegister,
    write: (value) => this.writeResetControl(value),
  };

  constructor(
    ctx: DeviceContext,
    private readonly options: Piix3Options,
  ) {
    super(ctx, { vendor: 0x8086, device: 0x7000, class: 0x060100 });
    this.config[PciReg.command] = 0x07;
    this.config[PciReg.status + 1] = 0x02;
    for (let r = 0x40; r < 0x100; r++) this.writeMask[r] = 0xff;
    for (let pirq = 0; pirq < 4; pirq++) this.writeMask[PIRQRC + pirq] = ROUTE_DISABLED | ROUTE_IRQ;
    for (const [register, value] of RESET_VALUES) this.config[register] = value;
  }

  /** The IRQ (0-15) that PIRQ 0-3 goes to, or undefined. */
  routeOf(pirq: number): number | undefined {
    const route = this.config[PIRQRC + pirq]!;
    const irq = route & ROUTE_IRQ;
    return route & ROUTE_DISABLED || !(ROUTABLE & (1 << irq)) ? undefined : irq;
  }

  /** A PIRQ line changed its level. */
  setPirq(pirq: number, level: boolean): void {
    this.pirqLevels[pirq] = level;
    const irq = this.routeOf(pirq);
    if (irq !== undefined) this.drive(irq);
  }

  private drive(irq: number): void {
    let level = false;
    for (let pirq = 0; pirq < 4; pirq++) if (this.pirqLevels[pirq] && this.routeOf(pirq) === irq) level = true;
    this.options.irqs[irq]?.set(level);
  }

  private reroute(change: () => void): void {
    const before = [0, 1, 2, 3].map((pirq) => this.routeOf(pirq));
    change();
    for (let pirq = 0; pirq < 4; pirq++) {
      const old = before[pirq];
      const now = this.routeOf(pirq);
      if (old === now) continue;
      if (old !== undefined) this.drive(old);
      if (now !== undefined) this.drive(now);
    }
  }

  override configWrite(offset: number, size: 1 | 2 | 4, value: number): void {
    this.reroute(() => super.configWrite(offset, size, value));
  }

  private writeResetControl(value: number): void {
    const trigger = (value & RC_RESET_CPU) !== 0 && !(this.resetControlRegister & RC_RESET_CPU);
    // The trigger bit is not kept: a machine that goes on after a soft reset can ask again.
    this.resetControlRegister = value & RC_HARD;
    if (trigger) this.options.onReset(value & RC_HARD ? "hard" : "soft");
  }

  override reset(): void {
    this.reroute(() => super.reset());
    this.resetControlRegister = 0;
  }

  override save(): DeviceState {
    return { ...super.save(), pirqs: [...this.pirqLevels], resetControl: this.resetControlRegister };
  }

  override restore(state: DeviceState): void {
    super.restore(state);
    (state.pirqs as boolean[]).forEach((level, pirq) => {
      this.pirqLevels[pirq & 3] = level;
    });
    this.resetControlRegister = state.resetControl as number;
    for (let irq = 0; irq < 16; irq++) {
      // The controllers restore their own inputs; only the wire's memory follows.
      const wire = this.options.irqs[irq];
      if (wire) wire.level = this.pirqLevels.some((level, pirq) => level && this.routeOf(pirq) === irq);
    }
  }
}
