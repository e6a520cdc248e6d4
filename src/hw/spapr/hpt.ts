/**
 * The hashed page table of a partition and the calls by which its kernel writes it. The table lies outside guest memory.
 * Source: LoPAR §14.5.4.1 (H_ENTER and others); entries: Power ISA 3.0B book III §5.7.9.
 * Not emulated: H_RESIZE_HPT_*, H_BLOCK_REMOVE, CMO page states.
 */
import type { AddressSpace } from "../../memory/address-space.js";
import type { GuestRam, RamBlock } from "../../memory/ram.js";
import type { Device, DeviceState } from "../core/device.js";
import { Hcall, type HcallFrame, type HcallTable, HStatus } from "./hcall.js";

const ENTRY_BYTES = 16;
const GROUP = 8;

/** First doubleword, low word. */
const V_VALID = 1;
const V_LARGE = 4;
/** Software and lock bits that a guest may not set. */
const V_HYPERVISOR = 0x60;
/** AVPN, as H_AVPN compares it. */
const V_COMPARED = ~0x7f;
/** Second doubleword, low word. */
const R_REFERENCED = 0x100;
const R_CHANGED = 0x80;
const R_WIMG = 0x78;
const R_M = 0x10;
const R_WIM = 0x70;
const R_I = 0x20;
const R_LOW_PROTECTION = 0xe07;
/** Second doubleword, high word: PP0 and the upper key bits. */
const R_HIGH_PROTECTION = 0xb0000000;
const R_RPN_HIGH = 0x0fffffff;

/** Flags of the calls in r4: bits of the low word, and of the high word. */
const Flag = { avpn: 0x80000000, andCond: 0x40000000 } as const;
const HighFlag = { exact: 0x80, read4: 0x20 } as const;

/** H_BULK_REMOVE: the high word of each request. */
const Bulk = {
  type: 0xc0000000,
  request: 0x40000000,
  response: 0x80000000,
  end: 0xc0000000,
  notFound: 0x10000000,
  parameter: 0x20000000,
  avpn: 0x02000000,
  andCond: 0x01000000,
  index: 0x00ffffff,
  requests: 4,
} as const;

/** Base-2 logarithm of the bytes of the table for a memory size: a 128th, at least 256 KiB. */
export function hptShift(ramBytes: number): number {
  return Math.max(18, Math.ceil(Math.log2(ramBytes / 128)));
}

/** The table. */
export class HashPageTable implements Device {
  readonly type = "spapr-hpt";
  private readonly view: DataView;
  private readonly entries: number;

  /**
   * @param block as many bytes as a power of two; not guest memory
   * @param flush every vCPU forgets its translations
   */
  constructor(
    private readonly ram: GuestRam,
    readonly block: RamBlock,
    private readonly memory: AddressSpace,
    private readonly flush: () => void,
  ) {
    this.view = new DataView(ram.memory.buffer, block.hostOffset, block.sizeBytes);
    this.entries = block.sizeBytes / ENTRY_BYTES;
  }

  addHcalls(table: HcallTable): void {
    table.on(Hcall.H_ENTER, (f) => this.enter(f));
    table.on(Hcall.H_REMOVE, (f) => this.remove(f));
    table.on(Hcall.H_BULK_REMOVE, (f) => this.bulkRemove(f));
    table.on(Hcall.H_PROTECT, (f) => this.protect(f));
    table.on(Hcall.H_READ, (f) => this.read(f));
    table.on(Hcall.H_CLEAR_REF, (f) => this.clear(f, R_REFERENCED));
    table.on(Hcall.H_CLEAR_MOD, (f) => this.clear(f, R_CHANGED));
  }

  /** The entry an argument names, as a byte offset, or -1. */
  private entry(f: HcallFrame, i: number): number {
    return f.arg(i) < this.entries ? f.lo(i) * ENTRY_BYTES : -1;
  }

  private enter(f: HcallFrame): number {
    const at = this.entry(f, 1);
    if (at < 0) return HStatus.H_PARAMETER;
    const shift = pageShift(f.lo(2), f.lo(3));
    if (shift < 0) return HStatus.H_PARAMETER;
    // A page of real memory is coherent and cached, one of a device is not cached.
    const real = Math.floor(((f.hi(3) & R_RPN_HIGH) * 2 ** 32 + f.lo(3)) / 2 ** shift) * 2 ** shift;
    const kind = this.memory.find(real)?.mapping.region.kind;
    if (kind === "ram" ? (f.lo(3) & R_WIMG) !== R_M : (f.lo(3) & R_WIM) !== R_I) return HStatus.H_PARAMETER;
    let slot = -1;
    const group = at - (at % (GROUP * ENTRY_BYTES));
    if (f.hi(0) & HighFlag.exact) slot = this.valid(at) ? -1 : at;
    else for (let i = 0; i < GROUP && slot < 0; i++) if (!this.valid(group + i * ENTRY_BYTES)) slot = group + i * ENTRY_BYTES;
    if (slot < 0) return HStatus.H_PTEG_FULL;
    this.view.setUint32(slot + 8, f.hi(3));
    this.view.setUint32(slot + 12, f.lo(3));
    this.view.setUint32(slot, f.hi(2));
    this.view.setUint32(slot + 4, f.lo(2) & ~V_HYPERVISOR);
    f.result(0, slot / ENTRY_BYTES);
    return HStatus.H_SUCCESS;
  }

  private valid(at: number): boolean {
    return (this.view.getUint32(at + 4) & V_VALID) !== 0;
  }

  /** Whether an entry is the one the caller means. */
  private matches(at: number, avpn: boolean, andCond: boolean, hi: number, lo: number): boolean {
    const vHi = this.view.getUint32(at);
    const vLo = this.view.getUint32(at + 4);
    if (!(vLo & V_VALID)) return false;
    if (avpn && (vHi !== hi || (vLo & V_COMPARED) >>> 0 !== lo)) return false;
    return !(andCond && (vHi & hi || vLo & lo));
  }

  private remove(f: HcallFrame): number {
    const at = this.entry(f, 1);
    if (at < 0) return HStatus.H_PARAMETER;
    const flags = f.lo(0);
    if (!this.matches(at, (flags & Flag.avpn) !== 0, (flags & Flag.andCond) !== 0, f.hi(2), f.lo(2))) return HStatus.H_NOT_FOUND;
    this.give(f, 0, at);
    this.invalidate(at);
    this.flush();
    return HStatus.H_SUCCESS;
  }

  /** Both doublewords of an entry into results `i` and `i + 1`. */
  private give(f: HcallFrame, i: number, at: number): void {
    f.result64(i, this.view.getUint32(at), this.view.getUint32(at + 4));
    f.result64(i + 1, this.view.getUint32(at + 8), this.view.getUint32(at + 12));
  }

  private invalidate(at: number): void {
    this.view.setUint32(at, 0);
    this.view.setUint32(at + 4, 0);
    this.view.setUint32(at + 8, 0);
    this.view.setUint32(at + 12, 0);
  }

  private bulkRemove(f: HcallFrame): number {
    let status: number = HStatus.H_SUCCESS;
    let removed = false;
    for (let i = 0; i < Bulk.requests; i++) {
      const hi = f.hi(2 * i);
      const type = (hi & Bulk.type) >>> 0;
      if (type === Bulk.end) break;
      if (type !== Bulk.request) {
        status = HStatus.H_PARAMETER;
        break;
      }
      const index = (hi & Bulk.index) * 2 ** 32 + f.lo(2 * i);
      const both = (hi & Bulk.avpn) !== 0 && (hi & Bulk.andCond) !== 0;
      let code = 0;
      if (both || index >= this.entries) code = Bulk.parameter;
      else {
        const at = index * ENTRY_BYTES;
        if (this.matches(at, (hi & Bulk.avpn) !== 0, (hi & Bulk.andCond) !== 0, f.hi(2 * i + 1), f.lo(2 * i + 1))) {
          // R and C of the entry, in bits 4 and 5 from the top.
          code = (this.view.getUint32(at + 12) & (R_REFERENCED | R_CHANGED)) << 19;
          this.invalidate(at);
          removed = true;
        } else code = Bulk.notFound;
      }
      f.result64(2 * i, ((hi & Bulk.index) | Bulk.response | code) >>> 0, f.lo(2 * i));
      if (code === Bulk.parameter) {
        status = HStatus.H_PARAMETER;
        break;
      }
    }
    if (removed) this.flush();
    return status;
  }

  private protect(f: HcallFrame): number {
    const at = this.entry(f, 1);
    if (at < 0) return HStatus.H_PARAMETER;
    const flags = f.lo(0);
    if (!this.matches(at, (flags & Flag.avpn) !== 0, false, f.hi(2), f.lo(2))) return HStatus.H_NOT_FOUND;
    // PP0 is bit 8 of the flags, the upper key bits 12 and 13.
    const high = (((flags << 23) & 0x80000000) | ((flags << 16) & 0x30000000)) >>> 0;
    this.view.setUint32(at + 8, ((this.view.getUint32(at + 8) & ~R_HIGH_PROTECTION) | high) >>> 0);
    this.view.setUint32(at + 12, (this.view.getUint32(at + 12) & ~R_LOW_PROTECTION) | (flags & R_LOW_PROTECTION));
    this.flush();
    return HStatus.H_SUCCESS;
  }

  private read(f: HcallFrame): number {
    let at = this.entry(f, 1);
    if (at < 0) return HStatus.H_PARAMETER;
    const four = (f.hi(0) & HighFlag.read4) !== 0;
    if (four) at -= at % (4 * ENTRY_BYTES);
    for (let i = 0; i < (four ? 4 : 1); i++) this.give(f, 2 * i, at + i * ENTRY_BYTES);
    return HStatus.H_SUCCESS;
  }

  private clear(f: HcallFrame, bit: number): number {
    const at = this.entry(f, 1);
    if (at < 0) return HStatus.H_PARAMETER;
    if (!this.valid(at)) return HStatus.H_NOT_FOUND;
    f.result64(0, this.view.getUint32(at + 8), this.view.getUint32(at + 12));
    this.view.setUint32(at + 12, this.view.getUint32(at + 12) & ~bit);
    this.flush();
    return HStatus.H_SUCCESS;
  }

  /** A partition starts with an empty table. */
  reset(): void {
    this.ram.bytes(this.block).fill(0);
    this.flush();
  }

  save(): DeviceState {
    return { entries: this.ram.bytes(this.block).slice() };
  }

  restore(state: DeviceState): void {
    const entries = state.entries as Uint8Array;
    if (entries.length === this.block.sizeBytes) this.ram.bytes(this.block).set(entries);
    this.flush();
  }
}

/** log2 of the page size that an entry says: 4 KiB, 64 KiB (also in a 4 KiB segment) or 16 MiB; -1 for none that there is. */
function pageShift(vLow: number, rLow: number): number {
  if (!(vLow & V_LARGE)) return 12;
  const encoding = (rLow >>> 12) & 0xff;
  if ((encoding & 0xf) === 1) return 16;
  if (encoding === 0 || encoding === 3 || encoding === 8 || encoding === 7 || encoding === 0x38) return encoding === 7 ? 16 : 24;
  return -1;
}
