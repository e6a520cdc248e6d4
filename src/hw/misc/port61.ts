/**
 * Port 61h, NMI status and control: gate and data of the speaker, refresh toggle, counter 2's output.
 *
 * Source: 82371SB (PIIX3) datasheet, "NMISC"; IBM PC/AT technical reference.
 *
 * *Not emulated*: sound (a callback tells the tone), parity and channel-check NMIs: their enable bits are kept, their
 * status reads 0.
 */
import type { AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Device, DeviceContext, DeviceState } from "../core/device.js";
import type { I8254 } from "../timer/i8254.js";

const Bit = { gate2: 0x01, speaker: 0x02, serrDisable: 0x04, iochkDisable: 0x08, refresh: 0x10, out2: 0x20 } as const;
const WRITABLE = Bit.gate2 | Bit.speaker | Bit.serrDisable | Bit.iochkDisable;
/** Time between two refresh cycles on the AT. */
const REFRESH_NS = 15_085;

/** One byte at 61h. */
export class Port61 implements Device, IoHandler {
  readonly type = "isa-pcspk";
  readonly name = "pcspk";
  readonly maxAccess = 1;
  private value = 0;
  /** The tone the speaker now gives, in Hz; 0 is silence. */
  onSpeaker: (hz: number) => void = () => {};

  constructor(
    private readonly ctx: DeviceContext,
    private readonly pit: I8254,
  ) {}

  map(io: AddressSpace): void {
    io.mapIo(0x61, 1, this);
  }

  read(): number {
    const refresh = Math.floor(this.ctx.clock.nowNs() / REFRESH_NS) & 1;
    return this.value | (refresh ? Bit.refresh : 0) | (this.pit.out2 ? Bit.out2 : 0);
  }

  write(_offset: number, _size: number, value: number): void {
    this.value = value & WRITABLE;
    this.pit.setGate2((value & Bit.gate2) !== 0);
    this.onSpeaker((value & (Bit.gate2 | Bit.speaker)) === (Bit.gate2 | Bit.speaker) ? this.pit.speakerHz : 0);
  }

  reset(): void {
    this.value = 0;
    this.pit.setGate2(false);
    this.onSpeaker(0);
  }

  save(): DeviceState {
    return { value: this.value };
  }

  restore(state: DeviceState): void {
    this.value = state.value as number;
  }
}
