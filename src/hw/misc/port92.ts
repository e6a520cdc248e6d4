/**
 * Port 92h, system control port A: fast A20 and fast reset.
 *
 * Source: 82371SB (PIIX3) datasheet, "Port 92"; IBM PS/2 hardware interface technical reference.
 *
 * *Not emulated*: the disk activity lights and the security lock (bits 7:6 and 3 are stored).
 */
import type { AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Device, DeviceState } from "../core/device.js";
import type { IrqLine } from "../core/irq.js";

const Bit = { reset: 0x01, a20: 0x02 } as const;

export interface Port92Options {
  /** The A20 gate, shared with the 8042: whoever writes last sets it. */
  readonly a20: IrqLine;
  /** INIT to the processors. */
  readonly onReset: () => void;
}

export class Port92 implements Device, IoHandler {
  readonly type = "port92";
  readonly name = "port92";
  readonly maxAccess = 1;
  private value = 0;

  constructor(private readonly options: Port92Options) {}

  map(io: AddressSpace): void {
    io.mapIo(0x92, 1, this);
  }

  read(): number {
    return (this.value & ~Bit.a20) | (this.options.a20.level ? Bit.a20 : 0);
  }

  write(_offset: number, _size: number, value: number): void {
    const rose = value & ~this.value & Bit.reset;
    this.value = value & 0xff;
    this.options.a20.set((value & Bit.a20) !== 0);
    if (rose) this.options.onReset();
  }

  /** The A20 gate itself is put back by the 8042. */
  reset(): void {
    this.value = 0;
  }

  save(): DeviceState {
    return { value: this.value };
  }

  restore(state: DeviceState): void {
    this.value = state.value as number;
  }
}
