/**
 * pvpanic: the guest tells that its kernel has panicked.
 *
 * Source: QEMU's specification "pvpanic device" (docs/specs): one port; reads give the events that are understood,
 * writes report some.
 */
import type { AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Device, DeviceContext, DeviceState } from "../core/device.js";
import type { DeviceType } from "../core/device-type.js";

/** What the guest reports: a panic, a crash kernel that runs, an orderly shutdown. */
export type PvpanicEvent = "panicked" | "crashloaded" | "shutdown";

const EVENTS: readonly (readonly [number, PvpanicEvent])[] = [
  [1, "panicked"],
  [2, "crashloaded"],
  [4, "shutdown"],
];
const ALL = 7;

export interface PvpanicOptions {
  readonly id?: string | undefined;
  /** Default 505h. */
  readonly ioport?: number;
  /** Offered events as a mask. Default all. */
  readonly events?: number;
  readonly onEvent: (event: PvpanicEvent) => void;
}

export class Pvpanic implements Device, IoHandler {
  readonly type = "pvpanic";
  readonly name = "pvpanic";
  readonly maxAccess = 1;
  readonly id: string | undefined;
  private readonly events: number;

  constructor(
    private readonly ctx: DeviceContext,
    private readonly options: PvpanicOptions,
  ) {
    this.id = options.id;
    this.events = (options.events ?? ALL) & ALL;
  }

  map(io: AddressSpace): void {
    io.mapIo((this.options.ioport ?? 0x505) & 0xffff, 1, this);
  }

  read(): number {
    return this.events;
  }

  write(_offset: number, _size: number, value: number): void {
    if (value & ~this.events) this.ctx.trace.guestError("pvpanic", () => `event ${value.toString(16)}`);
    for (const [bit, event] of EVENTS) if (value & this.events & bit) this.options.onEvent(event);
  }

  reset(): void {}

  save(): DeviceState {
    return {};
  }

  restore(): void {}
}

export const pvpanicType: DeviceType = {
  name: "pvpanic",
  aliases: [],
  bus: "isa",
  category: "misc",
  description: "guest panic notification",
  properties: [
    { name: "ioport", type: "uint16", default: 0x505, description: "port" },
    { name: "events", type: "uint8", default: ALL, description: "events offered: 1 panicked, 2 crash loaded, 4 shutdown" },
  ],
};
