/**
 * A USB device behind a port: its default control pipe with the standard requests, and what a host controller asks of it.
 * Source: Universal Serial Bus Specification 1.1, chapters 8 and 9.
 * Not emulated: data toggles (nothing is lost on the way), isochronous endpoints.
 */
import type { Device, DeviceState } from "../core/device.js";

export const UsbPid = { in: 0x69, out: 0xe1, setup: 0x2d } as const;
/** What a transaction comes to. A number: so many bytes were moved. */
export type UsbResult = number | "nak" | "stall" | "babble";

const RequestType = {
  deviceIn: 0x80,
  deviceOut: 0,
  interfaceIn: 0x81,
  interfaceOut: 1,
  endpointIn: 0x82,
  endpointOut: 2,
} as const;
const Request = {
  getStatus: 0,
  clearFeature: 1,
  setFeature: 3,
  setAddress: 5,
  getDescriptor: 6,
  getConfiguration: 8,
  setConfiguration: 9,
  getInterface: 10,
  setInterface: 11,
} as const;
const Descriptor = { device: 1, configuration: 2, string: 3 } as const;
const LANGUAGE_ENGLISH = [4, Descriptor.string, 9, 4];
const SETUP_BYTES = 8;
/** Data of one control transfer. */
const MAX_CONTROL_BYTES = 4096;

/** What a device says of itself. */
export interface UsbDescriptors {
  readonly device: readonly number[];
  /** Configuration, interfaces, endpoints, class descriptors in one. */
  readonly configuration: readonly number[];
  readonly strings: readonly string[];
}

/** Setup packet. */
export interface UsbSetup {
  readonly type: number;
  readonly request: number;
  readonly value: number;
  readonly index: number;
  readonly length: number;
}

export abstract class UsbDevice implements Device {
  abstract readonly type: string;
  readonly lowSpeed: boolean = false;
  address = 0;
  configuration = 0;
  private setup: UsbSetup | undefined;
  private data = new Uint8Array(0);
  private moved = 0;
  private newAddress: number | undefined;
  private readonly halted = new Set<number>();
  /** The host controller looks again: an interrupt endpoint has something. */
  onWork: () => void = () => {};

  constructor(
    protected readonly descriptors: UsbDescriptors,
    readonly id?: string | undefined,
  ) {}

  /** A transaction. `bytes`: what an OUT or SETUP brings, or room for an IN. */
  transaction(pid: number, endpoint: number, bytes: Uint8Array): UsbResult {
    if (endpoint === 0) return this.control(pid, bytes);
    const key = endpoint | (pid === UsbPid.in ? 0x80 : 0);
    if (this.configuration === 0 || this.halted.has(key)) return "stall";
    return this.transfer(pid, endpoint, bytes);
  }

  /** A transaction of an endpoint other than 0. */
  protected abstract transfer(pid: number, endpoint: number, bytes: Uint8Array): UsbResult;
  /** A request that is not a standard one. @returns bytes for the host (none for OUT), or undefined: stall */
  protected abstract classRequest(setup: UsbSetup, data: Uint8Array): ArrayLike<number> | undefined;
  protected onConfigured(): void {}

  private control(pid: number, bytes: Uint8Array): UsbResult {
    if (pid === UsbPid.setup) return this.begin(bytes);
    const { setup } = this;
    if (!setup) return "stall";
    const toHost = (setup.type & 0x80) !== 0;
    if (pid === UsbPid.in && toHost) {
      const n = Math.min(bytes.length, this.data.length - this.moved);
      bytes.set(this.data.subarray(this.moved, this.moved + n));
      this.moved += n;
      return n;
    }
    if (pid === UsbPid.out && !toHost) {
      const n = Math.min(bytes.length, this.data.length - this.moved);
      this.data.set(bytes.subarray(0, n), this.moved);
      this.moved += n;
      return n;
    }
    // Status stage: the other direction, no data.
    if (!toHost) {
      const ok = this.perform(setup, this.data.subarray(0, this.moved)) !== undefined;
      this.setup = undefined;
      if (!ok) return "stall";
      if (this.newAddress !== undefined) this.address = this.newAddress;
      this.newAddress = undefined;
    } else this.setup = undefined;
    return 0;
  }

  private begin(b: Uint8Array): UsbResult {
    this.setup = undefined;
    if (b.length !== SETUP_BYTES) return "stall";
    const word = (o: number) => b[o]! | (b[o + 1]! << 8);
    const setup: UsbSetup = { type: b[0]!, request: b[1]!, value: word(2), index: word(4), length: word(6) };
    this.moved = 0;
    if (setup.type & 0x80) {
      const answer = this.perform(setup, EMPTY);
      // A stall comes in the data stage.
      if (answer === undefined) return SETUP_BYTES;
      this.data = Uint8Array.from(Array.from(answer).slice(0, setup.length));
    } else this.data = new Uint8Array(Math.min(setup.length, MAX_CONTROL_BYTES));
    this.setup = setup;
    return SETUP_BYTES;
  }

  private perform(s: UsbSetup, data: Uint8Array): ArrayLike<number> | undefined {
    if ((s.type & 0x60) !== 0) return this.classRequest(s, data);
    switch (s.type) {
      case RequestType.deviceIn:
        if (s.request === Request.getDescriptor) return this.descriptor(s.value >> 8, s.value & 255);
        if (s.request === Request.getConfiguration) return [this.configuration];
        if (s.request === Request.getStatus) return [1, 0];
        break;
      case RequestType.deviceOut:
        if (s.request === Request.setAddress) {
          this.newAddress = s.value & 0x7f;
          return [];
        }
        if (s.request === Request.setConfiguration) {
          this.configuration = s.value & 255;
          this.halted.clear();
          this.onConfigured();
          return [];
        }
        if (s.request === Request.clearFeature || s.request === Request.setFeature) return [];
        break;
      case RequestType.interfaceIn:
        if (s.request === Request.getStatus) return [0, 0];
        if (s.request === Request.getInterface) return [0];
        return this.classRequest(s, data);
      case RequestType.interfaceOut:
        if (s.request === Request.setInterface) return s.value === 0 ? [] : undefined;
        break;
      case RequestType.endpointIn:
        if (s.request === Request.getStatus) return [this.halted.has(s.index & 0x8f) ? 1 : 0, 0];
        break;
      case RequestType.endpointOut:
        if (s.value !== 0) break;
        if (s.request === Request.clearFeature) this.halted.delete(s.index & 0x8f);
        else if (s.request === Request.setFeature) this.halted.add(s.index & 0x8f);
        else break;
        return [];
    }
    return undefined;
  }

  private descriptor(kind: number, index: number): ArrayLike<number> | undefined {
    switch (kind) {
      case Descriptor.device:
        return this.descriptors.device;
      case Descriptor.configuration:
        return index === 0 ? this.descriptors.configuration : undefined;
      case Descriptor.string: {
        if (index === 0) return LANGUAGE_ENGLISH;
        const text = this.descriptors.strings[index - 1];
        if (text === undefined) return undefined;
        return [
          2 + 2 * text.length,
          Descriptor.string,
          ...[...text].flatMap((c) => [c.charCodeAt(0) & 255, c.charCodeAt(0) >> 8]),
        ];
      }
    }
    return undefined;
  }

  /** Bus reset: address 0, not configured. */
  reset(): void {
    this.address = 0;
    this.configuration = 0;
    this.setup = undefined;
    this.newAddress = undefined;
    this.halted.clear();
    this.onConfigured();
  }

  save(): DeviceState {
    return {
      address: this.address,
      configuration: this.configuration,
      setup: this.setup ? { ...this.setup } : null,
      data: this.data.slice(),
      moved: this.moved,
      newAddress: this.newAddress ?? -1,
      halted: [...this.halted],
    };
  }

  restore(s: DeviceState): void {
    this.address = s.address as number;
    this.configuration = s.configuration as number;
    this.setup = (s.setup as unknown as UsbSetup | null) ?? undefined;
    this.data = (s.data as Uint8Array).slice(0, MAX_CONTROL_BYTES);
    this.moved = Math.min(s.moved as number, this.data.length);
    this.newAddress = (s.newAddress as number) < 0 ? undefined : (s.newAddress as number);
    this.halted.clear();
    for (const e of s.halted as number[]) this.halted.add(e);
  }
}

const EMPTY = new Uint8Array(0);

/** A device descriptor (9.6.1). Strings: maker 1, product 2, serial number 3. */
export function deviceDescriptor(vendor: number, product: number, maxPacket0 = 8): number[] {
  const w = (v: number) => [v & 255, v >> 8];
  return [18, Descriptor.device, 0x10, 1, 0, 0, 0, maxPacket0, ...w(vendor), ...w(product), 0, 0, 1, 2, 3, 1];
}
