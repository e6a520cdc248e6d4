/**
 * The PC's pair of 8259A interrupt controllers with the chipset's ELCR.
 *
 * Source: Intel 8259A datasheet (231468-003); 82371SB (PIIX3) datasheet, "Interrupt control registers" and ELCR
 * 4D0h/4D1h.
 *
 * An edge stays latched in the IRR when its line falls again before the acknowledge, so that a pulse is never lost; a
 * level request that goes away gives the spurious vector 7 (or 15).
 *
 * *Not emulated*: MCS-80/85 mode (ICW4 bit 0 is ignored), buffered mode, the single bit of ICW1 other than skipping
 * ICW3, slaves on other inputs than IR2.
 */
import type { Trace } from "../../base/trace.js";
import type { AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Device, DeviceContext, DeviceState } from "../core/device.js";
import { IrqLine } from "../core/irq.js";

const CASCADE = 2;
const SPURIOUS = 7;

const Icw1 = { icw4: 0x01, single: 0x02, levelTriggered: 0x08, select: 0x10 } as const;
const Icw4 = { autoEoi: 0x02, specialFullyNested: 0x10 } as const;
const Ocw3 = { readIsr: 0x01, readRegister: 0x02, poll: 0x04, select: 0x08, specialMask: 0x20, enableSpecialMask: 0x40 } as const;

/** OCW2 bits 7:5 (R, SL, EOI). */
const Ocw2 = {
  rotateAutoEoiClear: 0,
  eoi: 1,
  nop: 2,
  specificEoi: 3,
  rotateAutoEoiSet: 4,
  rotateEoi: 5,
  setPriority: 6,
  rotateSpecificEoi: 7,
} as const;

/** What the next write to the odd port is. */
type InitState = "ready" | "icw2" | "icw3" | "icw4";

/** One 8259A. */
class Chip {
  /** Input levels as they are. */
  lines = 0;
  /** Edges seen and not yet acknowledged. */
  private edges = 0;
  imr = 0;
  isr = 0;
  vectorBase = 0;
  elcr = 0;
  private ltim = false;
  /** IR number of highest priority. */
  private top = 0;
  private readIsr = false;
  private poll = false;
  private specialMask = false;
  private autoEoi = false;
  private rotateOnAutoEoi = false;
  private specialFullyNested = false;
  private initState: InitState = "ready";
  private needsIcw4 = false;
  private single = false;

  constructor(
    private readonly master: boolean,
    /** Bits of the ELCR that exist. */
    readonly elcrMask: number,
    private readonly changed: () => void,
    private readonly trace: Trace,
  ) {}

  private get levelMask(): number {
    return this.ltim ? 0xff : this.elcr;
  }

  get irr(): number {
    const level = this.levelMask;
    return (this.edges & ~level) | (this.lines & level);
  }

  reset(): void {
    this.initialise();
    this.elcr = 0;
    this.ltim = false;
    this.initState = "ready";
  }

  /** ICW1: everything but the ELCR. The edge sense is cleared: a line that is high needs a new rise. */
  private initialise(): void {
    this.edges = 0;
    this.imr = 0;
    this.isr = 0;
    this.vectorBase = 0;
    this.top = 0;
    this.readIsr = false;
    this.poll = false;
    this.specialMask = false;
    this.autoEoi = false;
    this.rotateOnAutoEoi = false;
    this.specialFullyNested = false;
    this.needsIcw4 = false;
    this.single = false;
  }

  setLine(n: number, level: boolean): void {
    const bit = 1 << n;
    if (level) {
      if (!(this.lines & bit)) this.edges |= bit;
      this.lines |= bit;
    } else this.lines &= ~bit;
    if (this.levelMask & bit) this.edges &= ~bit;
    this.changed();
  }

  /** Rank of the foremost request in `bits`: 0 is highest, 8 is none. */
  private rank(bits: number): number {
    for (let r = 0; r < 8; r++) if (bits & (1 << ((r + this.top) & 7))) return r;
    return 8;
  }

  /** The input to be served now, or -1. */
  pending(): number {
    const request = this.rank(this.irr & ~this.imr);
    if (request === 8) return -1;
    let inService = this.isr;
    if (this.specialMask) inService &= ~this.imr;
    // In special fully nested mode a slave in service does not lock out its own higher requests.
    if (this.specialFullyNested && this.master) inService &= ~(1 << CASCADE);
    return request < this.rank(inService) ? (request + this.top) & 7 : -1;
  }

  /** INTA for input `n`. */
  acknowledge(n: number): void {
    const bit = 1 << n;
    this.edges &= ~bit;
    if (!this.autoEoi) this.isr |= bit;
    else if (this.rotateOnAutoEoi) this.top = (n + 1) & 7;
  }

  read(odd: boolean): number {
    if (this.poll) {
      this.poll = false;
      const n = this.pending();
      if (n < 0) return 0;
      this.acknowledge(n);
      this.changed();
      return 0x80 | n;
    }
    if (odd) return this.imr;
    return this.readIsr ? this.isr : this.irr;
  }

  write(odd: boolean, value: number): void {
    if (odd) this.writeOdd(value);
    else if (value & Icw1.select) this.writeIcw1(value);
    else if (value & Ocw3.select) this.writeOcw3(value);
    else this.writeOcw2(value);
    this.changed();
  }

  private writeIcw1(value: number): void {
    this.initialise();
    this.needsIcw4 = (value & Icw1.icw4) !== 0;
    this.single = (value & Icw1.single) !== 0;
    this.ltim = (value & Icw1.levelTriggered) !== 0;
    this.initState = "icw2";
    if (this.single) this.trace.unimp("i8259", "single mode");
  }

  private writeOdd(value: number): void {
    switch (this.initState) {
      case "ready":
        this.imr = value;
        return;
      case "icw2":
        this.vectorBase = value & 0xf8;
        this.initState = this.single ? (this.needsIcw4 ? "icw4" : "ready") : "icw3";
        return;
      case "icw3":
        this.initState = this.needsIcw4 ? "icw4" : "ready";
        return;
      case "icw4":
        this.autoEoi = (value & Icw4.autoEoi) !== 0;
        this.specialFullyNested = (value & Icw4.specialFullyNested) !== 0;
        this.initState = "ready";
        return;
    }
  }

  private writeOcw2(value: number): void {
    const n = value & 7;
    switch (value >> 5) {
      case Ocw2.rotateAutoEoiClear:
        this.rotateOnAutoEoi = false;
        return;
      case Ocw2.rotateAutoEoiSet:
        this.rotateOnAutoEoi = true;
        return;
      case Ocw2.eoi:
      case Ocw2.rotateEoi: {
        // In special mask mode a masked input's in-service bit is out of a non-specific EOI's sight.
        const r = this.rank(this.specialMask ? this.isr & ~this.imr : this.isr);
        if (r === 8) return;
        const served = (r + this.top) & 7;
        this.isr &= ~(1 << served);
        if (value >> 5 === Ocw2.rotateEoi) this.top = (served + 1) & 7;
        return;
      }
      case Ocw2.specificEoi:
        this.isr &= ~(1 << n);
        return;
      case Ocw2.setPriority:
        this.top = (n + 1) & 7;
        return;
      case Ocw2.rotateSpecificEoi:
        this.isr &= ~(1 << n);
        this.top = (n + 1) & 7;
        return;
    }
  }

  private writeOcw3(value: number): void {
    this.poll = (value & Ocw3.poll) !== 0;
    if (value & Ocw3.readRegister) this.readIsr = (value & Ocw3.readIsr) !== 0;
    if (value & Ocw3.enableSpecialMask) this.specialMask = (value & Ocw3.specialMask) !== 0;
  }

  setElcr(value: number): void {
    this.elcr = value & this.elcrMask;
    this.edges &= ~this.elcr;
    this.changed();
  }

  save(): DeviceState {
    return {
      lines: this.lines,
      edges: this.edges,
      imr: this.imr,
      isr: this.isr,
      vectorBase: this.vectorBase,
      elcr: this.elcr,
      ltim: this.ltim,
      top: this.top,
      readIsr: this.readIsr,
      poll: this.poll,
      specialMask: this.specialMask,
      autoEoi: this.autoEoi,
      rotateOnAutoEoi: this.rotateOnAutoEoi,
      specialFullyNested: this.specialFullyNested,
      initState: this.initState,
      needsIcw4: this.needsIcw4,
      single: this.single,
    };
  }

  restore(s: DeviceState): void {
    this.lines = s.lines as number;
    this.edges = s.edges as number;
    this.imr = s.imr as number;
    this.isr = s.isr as number;
    this.vectorBase = s.vectorBase as number;
    this.elcr = s.elcr as number;
    this.ltim = s.ltim as boolean;
    this.top = s.top as number;
    this.readIsr = s.readIsr as boolean;
    this.poll = s.poll as boolean;
    this.specialMask = s.specialMask as boolean;
    this.autoEoi = s.autoEoi as boolean;
    this.rotateOnAutoEoi = s.rotateOnAutoEoi as boolean;
    this.specialFullyNested = s.specialFullyNested as boolean;
    this.initState = s.initState as InitState;
    this.needsIcw4 = s.needsIcw4 as boolean;
    this.single = s.single as boolean;
  }

  describe(index: number): string {
    const h = (v: number) => v.toString(16).padStart(2, "0");
    return (
      `pic${index}: irr=${h(this.irr)} imr=${h(this.imr)} isr=${h(this.isr)} hprio=${this.top} irq_base=${h(this.vectorBase)} ` +
      `rr_sel=${+this.readIsr} elcr=${h(this.elcr)} fnm=${+this.specialFullyNested}`
    );
  }
}

/** Two 8259As, the second on the first's IR2. Ports 20h/21h, A0h/A1h and 4D0h/4D1h. */
export class I8259Pair implements Device {
  readonly type = "isa-i8259";
  /** ISA interrupts 0 to 15; number 2 is the cascade and ignores its driver. */
  readonly inputs: readonly IrqLine[];
  private readonly master: Chip;
  private readonly slave: Chip;
  private readonly handlers: readonly { base: number; handler: IoHandler }[];

  /** @param output INTR to the processor (LINT0): high while a request is waiting */
  constructor(
    ctx: DeviceContext,
    readonly output: IrqLine,
  ) {
    this.master = new Chip(true, 0xf8, () => this.updateOutput(), ctx.trace);
    this.slave = new Chip(false, 0xde, () => this.updateCascade(), ctx.trace);
    this.inputs = Array.from({ length: 16 }, (_, n) => {
      if (n === CASCADE) return new IrqLine();
      const chip = n < 8 ? this.master : this.slave;
      return new IrqLine((level) => chip.setLine(n & 7, level));
    });
    const commandPorts = (name: string, chip: Chip): IoHandler => ({
      name,
      maxAccess: 1,
      read: (offset) => chip.read(offset === 1),
      write: (offset, _size, value) => chip.write(offset === 1, value & 0xff),
    });
    this.handlers = [
      { base: 0x20, handler: commandPorts("pic", this.master) },
      { base: 0xa0, handler: commandPorts("pic2", this.slave) },
      {
        base: 0x4d0,
        handler: {
          name: "elcr",
          maxAccess: 1,
          read: (offset) => (offset === 0 ? this.master : this.slave).elcr,
          write: (offset, _size, value) => (offset === 0 ? this.master : this.slave).setElcr(value),
        },
      },
    ];
  }

  /** Maps the command ports and the ELCR. */
  map(io: AddressSpace): void {
    for (const { base, handler } of this.handlers) io.mapIo(base, 2, handler);
  }

  private updateCascade(): void {
    this.master.setLine(CASCADE, this.slave.pending() >= 0);
  }

  private updateOutput(): void {
    this.output.set(this.master.pending() >= 0);
  }

  /** INTA: takes the foremost request and returns its vector; with none waiting, the spurious vector. */
  acknowledge(): number {
    const { master, slave } = this;
    const n = master.pending();
    if (n < 0) return master.vectorBase + SPURIOUS;
    let vector = master.vectorBase + n;
    master.acknowledge(n);
    if (n === CASCADE) {
      const s = slave.pending();
      vector = slave.vectorBase + (s < 0 ? SPURIOUS : s);
      if (s >= 0) slave.acknowledge(s);
      // The slave drops INT during the cycle, so that what it still has makes a new edge.
      master.setLine(CASCADE, false);
      this.updateCascade();
    } else this.updateOutput();
    return vector;
  }

  reset(): void {
    this.slave.reset();
    this.master.reset();
    this.updateCascade();
    this.updateOutput();
  }

  /** Lines for `info pic`. */
  describe(): string[] {
    return [this.slave.describe(1), this.master.describe(0)];
  }

  save(): DeviceState {
    return { master: this.master.save(), slave: this.slave.save(), output: this.output.level };
  }

  restore(state: DeviceState): void {
    this.master.restore(state.master as DeviceState);
    this.slave.restore(state.slave as DeviceState);
    this.inputs.forEach((line, n) => {
      if (n !== CASCADE) line.level = (((n < 8 ? this.master : this.slave).lines >> (n & 7)) & 1) === 1;
    });
    this.output.level = state.output as boolean;
  }
}
