/**
 * DMA windows: tables of translation control entries that a guest fills by hypercall, and the PCI bus's memory as its
 * devices see it through one.
 * Source: LoPAR §14.5.4.3 (H_PUT_TCE and others).
 * Not emulated: dynamic DMA windows (ibm,create-pe-dma-window), pages other than 4 KiB.
 */
import { AddressSpace } from "../../memory/address-space.js";
import type { GuestRam } from "../../memory/ram.js";
import type { Device, DeviceState } from "../core/device.js";
import { Hcall, type HcallFrame, type HcallTable, HStatus } from "./hcall.js";

const PAGE = 4096;
const READ = 1;
const WRITE = 2;
/** Entries that one H_PUT_TCE_INDIRECT carries. */
const INDIRECT_MAX = 512;

/** One window. */
export class TceTable implements Device {
  readonly type = "spapr-tce-table";
  private readonly low: Uint32Array;
  private readonly high: Uint32Array;

  /** @param liobn logical bus number, by which calls name the table; @param sizeBytes of the window, from bus address 0 */
  constructor(
    readonly liobn: number,
    readonly sizeBytes: number,
  ) {
    this.low = new Uint32Array(sizeBytes / PAGE);
    this.high = new Uint32Array(sizeBytes / PAGE);
  }

  put(index: number, hi: number, lo: number): void {
    this.low[index] = lo;
    this.high[index] = hi;
  }

  get(index: number): { hi: number; lo: number } {
    return { hi: this.high[index]!, lo: this.low[index]! };
  }

  /** The real address behind a bus address, or -1 when the window does not let the access through. */
  translate(address: number, write: boolean): number {
    if (!(address < this.sizeBytes)) return -1;
    const i = Math.floor(address / PAGE);
    const lo = this.low[i]!;
    if (!(lo & (write ? WRITE : READ))) return -1;
    return this.high[i]! * 2 ** 32 + ((lo & -PAGE) >>> 0) + (address % PAGE);
  }

  reset(): void {
    this.low.fill(0);
    this.high.fill(0);
  }

  save(): DeviceState {
    const bytes = (a: Uint32Array) => new Uint8Array(a.buffer).slice();
    return { low: bytes(this.low), high: bytes(this.high) };
  }

  restore(state: DeviceState): void {
    for (const [to, from] of [
      [this.low, state.low],
      [this.high, state.high],
    ] as const)
      new Uint8Array(to.buffer).set((from as Uint8Array).subarray(0, to.byteLength));
  }
}

export function addTceHcalls(table: HcallTable, tables: readonly TceTable[], memory: AddressSpace): void {
  /** The entries that r4 (bus number), r5 (bus address) and a count name. */
  const range = (f: HcallFrame, count: number) => {
    const t = tables.find((x) => x.liobn === f.arg(0));
    const at = f.arg(1);
    const first = Math.floor(at / PAGE);
    return t && at % PAGE === 0 && count >= 0 && first + count <= t.sizeBytes / PAGE ? { t, first } : undefined;
  };
  table.on(Hcall.H_PUT_TCE, (f) => {
    const r = range(f, 1);
    if (!r) return HStatus.H_PARAMETER;
    r.t.put(r.first, f.hi(2), f.lo(2));
    return HStatus.H_SUCCESS;
  });
  table.on(Hcall.H_GET_TCE, (f) => {
    const r = range(f, 1);
    if (!r) return HStatus.H_PARAMETER;
    const { hi, lo } = r.t.get(r.first);
    f.result64(0, hi, lo);
    return HStatus.H_SUCCESS;
  });
  table.on(Hcall.H_STUFF_TCE, (f) => {
    const count = f.arg(3);
    const r = range(f, count);
    if (!r) return HStatus.H_PARAMETER;
    for (let i = 0; i < count; i++) r.t.put(r.first + i, f.hi(2), f.lo(2));
    return HStatus.H_SUCCESS;
  });
  table.on(Hcall.H_PUT_TCE_INDIRECT, (f) => {
    const count = f.arg(3);
    const list = f.arg(2);
    if (count > INDIRECT_MAX || list % PAGE) return HStatus.H_PARAMETER;
    const r = range(f, count);
    if (!r) return HStatus.H_PARAMETER;
    const bytes = new Uint8Array(8 * count);
    if (!memory.readBytes(list, bytes)) return HStatus.H_PARAMETER;
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < count; i++) r.t.put(r.first + i, view.getUint32(8 * i), view.getUint32(8 * i + 4));
    return HStatus.H_SUCCESS;
  });
}

/**
 * PCI memory: devices' base address registers are mapped in it, and what devices read and write goes through the window
 * into system memory.
 */
export class PciMemory extends AddressSpace {
  constructor(
    name: string,
    sizeBytes: number,
    ram: GuestRam,
    private readonly system: AddressSpace,
    private readonly window: TceTable,
  ) {
    super(name, sizeBytes, ram);
  }

  /** Goes over a transfer page by page. @returns false where the window lets nothing through */
  private pages(
    address: number,
    length: number,
    write: boolean,
    page: (real: number, at: number, n: number) => boolean,
  ): boolean {
    let ok = true;
    for (let done = 0; done < length; ) {
      const n = Math.min(length - done, PAGE - ((address + done) % PAGE));
      const real = this.window.translate(address + done, write);
      ok = page(real, done, n) && real >= 0 && ok;
      done += n;
    }
    return ok;
  }

  override readBytes(address: number, out: Uint8Array): boolean {
    return this.pages(address, out.length, false, (real, at, n) => {
      const part = out.subarray(at, at + n);
      if (real >= 0) return this.system.readBytes(real, part);
      part.fill(0xff);
      return false;
    });
  }

  override writeBytes(address: number, data: Uint8Array): boolean {
    return this.pages(address, data.length, true, (real, at, n) =>
      real >= 0 ? this.system.writeBytes(real, data.subarray(at, at + n)) : false,
    );
  }

  override hostOffset(address: number, length: number): number {
    let first = -1;
    const whole = this.pages(address, length, true, (real, at) => {
      if (at === 0) first = real;
      return real >= 0 && real === first + at;
    });
    return whole && first >= 0 ? this.system.hostOffset(first, length) : -1;
  }
}
