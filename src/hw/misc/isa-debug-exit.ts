/**
 * isa-debug-exit: a write ends the machine with an exit status, so that a test in the guest can say how it went.
 *
 * Source: QEMU's device of that name (its documented behaviour): status = (value << 1) | 1. Reads give 0.
 */
import type { AccessSize, AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Device, DeviceState } from "../core/device.js";
import type { DeviceType } from "../core/device-type.js";

export interface IsaDebugExitOptions {
  readonly id?: string | undefined;
  /** Default 501h. */
  readonly iobase?: number;
  /** Bytes, 1 to 4. Default 2. */
  readonly iosize?: number;
  /** The machine is to end with this status; only its low 8 bits reach a Unix parent. */
  readonly onExit: (status: number) => void;
}

export class IsaDebugExit implements Device, IoHandler {
  readonly type = "isa-debug-exit";
  readonly name = "isa-debug-exit";
  readonly id: string | undefined;

  constructor(private readonly options: IsaDebugExitOptions) {
    this.id = options.id;
  }

  map(io: AddressSpace): void {
    const size = Math.max(1, Math.min(4, this.options.iosize ?? 2));
    io.mapIo((this.options.iobase ?? 0x501) & 0xffff, size, this);
  }

  read(): number {
    return 0;
  }

  write(_offset: number, _size: AccessSize, value: number): void {
    this.options.onExit(((value << 1) | 1) >>> 0);
  }

  reset(): void {}

  save(): DeviceState {
    return {};
  }

  restore(): void {}
}

export const isaDebugExitType: DeviceType = {
  name: "isa-debug-exit",
  aliases: [],
  bus: "isa",
  category: "misc",
  description: "end the machine with a status",
  properties: [
    { name: "iobase", type: "uint32", default: 0x501, description: "first port" },
    { name: "iosize", type: "uint32", default: 2, description: "number of ports" },
  ],
};
