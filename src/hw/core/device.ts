/** What every device model implements, and what it is given. */
import type { Trace } from "../../base/trace.js";
import type { AddressSpace } from "../../memory/address-space.js";
import type { GuestRam } from "../../memory/ram.js";
import type { Clock, TimerQueue } from "./clock.js";

/** Declared state in a snapshot: plain data only, the same on every host and engine. */
export type StateValue = number | bigint | boolean | string | null | Uint8Array | StateValue[] | { [name: string]: StateValue };
export type DeviceState = { [name: string]: StateValue };

/** A device of a machine. Bus interfaces (IoHandler, PciDevice) are separate; a device implements what it needs. */
export interface Device {
  /** QEMU's type name, e.g. "isa-serial". */
  readonly type: string;
  /** The user's `id=`, if any. */
  readonly id?: string | undefined;
  /** Hardware reset. */
  reset(): void;
  /** State for a snapshot; `restore` gets the same object back. */
  save(): DeviceState;
  restore(state: DeviceState): void;
  /** Detaches from host resources. */
  dispose?(): void;
}

/** The machine as a device sees it. */
export interface DeviceContext {
  readonly clock: Clock;
  readonly timers: TimerQueue;
  /** System memory: the space devices do DMA in. */
  readonly memory: AddressSpace;
  /** The 64 KiB port space. */
  readonly io: AddressSpace;
  readonly ram: GuestRam;
  readonly trace: Trace;
  /** Wall-clock time of the guest's RTC in ms since 1970 UTC, following `-rtc`. */
  wallMs(): number;
}
