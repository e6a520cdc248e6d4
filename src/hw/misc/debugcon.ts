/**
 * isa-debugcon: each byte written to the port goes to a character backend; firmware logs to port 402h this way.
 *
 * Source: the Bochs port E9h convention. Reads give the readback value, by which the guest finds the port.
 */
import type { Chardev } from "../../host/chardev.js";
import type { AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Device, DeviceState } from "../core/device.js";
import type { DeviceType } from "../core/device-type.js";

export interface DebugconOptions {
  readonly id?: string | undefined;
  /** Default E9h; SeaBIOS and OVMF write to 402h. */
  readonly iobase?: number;
  /** What reads give. Default E9h. */
  readonly readback?: number;
}

export class Debugcon implements Device, IoHandler {
  readonly type = "isa-debugcon";
  readonly name = "isa-debugcon";
  readonly maxAccess = 1;
  readonly id: string | undefined;

  constructor(
    private readonly chardev: Chardev,
    private readonly options: DebugconOptions = {},
  ) {
    this.id = options.id;
  }

  map(io: AddressSpace): void {
    io.mapIo((this.options.iobase ?? 0xe9) & 0xffff, 1, this);
  }

  read(): number {
    return (this.options.readback ?? 0xe9) & 0xff;
  }

  write(_offset: number, _size: number, value: number): void {
    this.chardev.write(Uint8Array.of(value));
  }

  reset(): void {}

  save(): DeviceState {
    return {};
  }

  restore(): void {}
}

export const debugconType: DeviceType = {
  name: "isa-debugcon",
  aliases: [],
  bus: "isa",
  category: "misc",
  description: "debug console port",
  properties: [
    { name: "chardev", type: "chardev", default: undefined, description: "backend" },
    { name: "iobase", type: "uint32", default: 0xe9, description: "port" },
    { name: "readback", type: "uint32", default: 0xe9, description: "what reads give" },
  ],
};
