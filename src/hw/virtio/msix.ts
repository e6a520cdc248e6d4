/**
 * MSI-X (PCI Local Bus 3.0 §6.8.2): a table of messages and their pending bits in one BAR of a function. Knows nothing of
 * virtio.
 *
 * The BAR is laid out as table at 0, pending bits in its upper half.
 *
 * Not emulated: table and pending bits in different BARs, per-entry steering tags.
 */
import type { AccessSize, IoHandler } from "../../memory/address-space.js";
import type { DeviceState } from "../core/device.js";

const ENTRY_BYTES = 16;
const ENTRY_ADDRESS_LOW = 0;
const ENTRY_ADDRESS_HIGH = 4;
const ENTRY_DATA = 8;
const ENTRY_CONTROL = 12;
const ENTRY_MASKED = 1;
const MIN_BAR_BYTES = 4096;

/** Capability id. */
export const MSIX_CAPABILITY = 0x11;
/** Bits of the upper byte of message control. */
export const MsixControl = { functionMask: 0x40, enable: 0x80 } as const;

/** A message-signalled interrupt goes out: a 32-bit write to an address. */
export type SendMsi = (address: number, data: number) => void;

/** The table of one function. */
export class MsixTable implements IoHandler {
  readonly name = "msix";
  readonly barBytes: number;
  readonly pbaOffset: number;
  private readonly table: Uint8Array;
  private readonly view: DataView;
  private readonly pending: Uint8Array;
  private on = false;
  private functionMasked = false;

  /** @param entries 1 to 2048 */
  constructor(
    readonly entries: number,
    private readonly send: SendMsi,
  ) {
    let bar = MIN_BAR_BYTES;
    while (bar / 2 < entries * ENTRY_BYTES) bar *= 2;
    this.barBytes = bar;
    this.pbaOffset = bar / 2;
    this.table = new Uint8Array(entries * ENTRY_BYTES);
    this.view = new DataView(this.table.buffer);
    this.pending = new Uint8Array(Math.ceil(entries / 64) * 8);
    this.reset();
  }

  /** What follows id and next pointer in the capability, for a table and pending bits in BAR `bar`. */
  capabilityBytes(bar: number): number[] {
    const words = [this.entries - 1, bar, this.pbaOffset | bar];
    return [words[0]! & 255, words[0]! >> 8, ...word32(words[1]!), ...word32(words[2]!)];
  }

  reset(): void {
    this.table.fill(0);
    for (let i = 0; i < this.entries; i++) this.table[i * ENTRY_BYTES + ENTRY_CONTROL] = ENTRY_MASKED;
    this.pending.fill(0);
    this.on = false;
    this.functionMasked = false;
  }

  /** Whether messages replace INTx#. */
  get enabled(): boolean {
    return this.on;
  }

  /** Message control (its upper byte) was written. */
  setControl(upper: number): void {
    this.on = (upper & MsixControl.enable) !== 0;
    this.functionMasked = (upper & MsixControl.functionMask) !== 0;
    this.deliverPending();
  }

  private masked(vector: number): boolean {
    return this.functionMasked || (this.table[vector * ENTRY_BYTES + ENTRY_CONTROL]! & ENTRY_MASKED) !== 0;
  }

  /** Raises a vector: sent now, or pending while it is masked. Vectors out of range are nothing. */
  notify(vector: number): void {
    if (!this.on || vector >= this.entries) return;
    if (this.masked(vector)) {
      this.pending[vector >> 3] = this.pending[vector >> 3]! | (1 << (vector & 7));
      return;
    }
    const at = vector * ENTRY_BYTES;
    const low = this.view.getUint32(at + ENTRY_ADDRESS_LOW, true);
    const high = this.view.getUint32(at + ENTRY_ADDRESS_HIGH, true);
    this.send(low + high * 2 ** 32, this.view.getUint32(at + ENTRY_DATA, true));
  }

  /** Writes an entry's message on behalf of a hypervisor that owns the table; its mask stays. */
  setMessage(vector: number, address: number, data: number): void {
    if (vector >= this.entries) return;
    const at = vector * ENTRY_BYTES;
    this.view.setUint32(at + ENTRY_ADDRESS_LOW, address % 2 ** 32, true);
    this.view.setUint32(at + ENTRY_ADDRESS_HIGH, Math.floor(address / 2 ** 32), true);
    this.view.setUint32(at + ENTRY_DATA, data, true);
  }

  /** Takes a pending vector back (its cause is gone). */
  clearPending(vector: number): void {
    if (vector < this.entries) this.pending[vector >> 3] = this.pending[vector >> 3]! & ~(1 << (vector & 7));
  }

  private deliverPending(): void {
    if (!this.on || this.functionMasked) return;
    for (let v = 0; v < this.entries; v++) {
      if (!(this.pending[v >> 3]! & (1 << (v & 7))) || this.masked(v)) continue;
      this.clearPending(v);
      this.notify(v);
    }
  }

  read(offset: number, size: AccessSize): number {
    let v = 0;
    for (let i = size - 1; i >= 0; i--) v = v * 256 + this.byteAt(offset + i);
    return v;
  }

  private byteAt(offset: number): number {
    if (offset < this.pbaOffset) return this.table[offset] ?? 0;
    return this.pending[offset - this.pbaOffset] ?? 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    // Pending bits are read-only; entries take whole and half words, bytes are not required to work but do.
    if (offset + size > this.table.length) return;
    for (let i = 0; i < size; i++) {
      const o = offset + i;
      const b = (value >>> (8 * i)) & 255;
      const field = o % ENTRY_BYTES;
      if (field === ENTRY_ADDRESS_LOW) this.table[o] = b & ~3;
      else if (field < ENTRY_CONTROL) this.table[o] = b;
      else if (field === ENTRY_CONTROL) this.table[o] = b & ENTRY_MASKED;
    }
    this.deliverPending();
  }

  save(): DeviceState {
    return { table: this.table.slice(), pending: this.pending.slice() };
  }

  /** @param upper the restored upper byte of message control */
  restore(state: DeviceState, upper: number): void {
    this.table.set((state.table as Uint8Array).subarray(0, this.table.length));
    this.pending.set((state.pending as Uint8Array).subarray(0, this.pending.length));
    this.on = (upper & MsixControl.enable) !== 0;
    this.functionMasked = (upper & MsixControl.functionMask) !== 0;
  }
}

function word32(v: number): number[] {
  return [v & 255, (v >>> 8) & 255, (v >>> 16) & 255, v >>> 24];
}
