/**
 * PCI functions: configuration space (PCI Local Bus 3.0 §6), base address registers, interrupt pins, capabilities.
 * A bus maps BARs into the memory and port spaces as the guest programs them.
 */
import { assert } from "../../base/errors.js";
import type { IoHandler, Mapping, Region } from "../../memory/address-space.js";
import type { Device, DeviceContext, DeviceState } from "../core/device.js";
import { IrqLine } from "../core/irq.js";

/** Standard header offsets. */
export const PciReg = {
  vendorId: 0x00,
  deviceId: 0x02,
  command: 0x04,
  status: 0x06,
  revision: 0x08,
  progIf: 0x09,
  subclass: 0x0a,
  classCode: 0x0b,
  cacheLine: 0x0c,
  latency: 0x0d,
  headerType: 0x0e,
  bar0: 0x10,
  subsystemVendor: 0x2c,
  subsystemId: 0x2e,
  romBar: 0x30,
  capabilities: 0x34,
  interruptLine: 0x3c,
  interruptPin: 0x3d,
} as const;

export const PciCommand = { io: 1, memory: 2, master: 4, intxDisable: 0x400 } as const;

export interface PciIds {
  vendor: number;
  device: number;
  revision?: number;
  /** 24 bits: class, subclass, programming interface. */
  class: number;
  subsystemVendor?: number;
  subsystem?: number;
  /** 1 = INTA#; 0 = none. */
  interruptPin?: 0 | 1 | 2 | 3 | 4;
}

interface Bar {
  readonly index: number;
  readonly kind: "io" | "mem32" | "mem64" | "rom";
  readonly size: number;
  readonly region: Region;
  mapping: Mapping | undefined;
  address: number;
}

/** What a PCI function needs of the bus it sits on; given by `PciBus.attach`. */
export interface PciSlot {
  readonly bus: number;
  /** device << 3 | function */
  readonly devfn: number;
  /** The interrupt wire behind a pin, after routing. */
  setIrq(pin: number, level: boolean): void;
}

/** A conventional PCI function. Subclasses add BARs and capabilities in their constructor. */
export abstract class PciDevice implements Device {
  abstract readonly type: string;
  readonly config = new Uint8Array(256);
  /** Bits the guest can write. */
  readonly writeMask = new Uint8Array(256);
  /** Bits the guest clears by writing one. */
  readonly w1cMask = new Uint8Array(256);
  private readonly initial = new Uint8Array(256);
  private readonly bars: Bar[] = [];
  private capEnd = 0x40;
  private slot: PciSlot | undefined;
  private sealed = false;
  /** INTx#, level. */
  readonly irq = new IrqLine((level) => this.updateIrq(level));

  constructor(
    protected readonly ctx: DeviceContext,
    ids: PciIds,
    readonly id?: string | undefined,
  ) {
    const c = this.config;
    const w16 = (o: number, v: number) => {
      c[o] = v;
      c[o + 1] = v >> 8;
    };
    w16(PciReg.vendorId, ids.vendor);
    w16(PciReg.deviceId, ids.device);
    c[PciReg.revision] = ids.revision ?? 0;
    c[PciReg.progIf] = ids.class & 255;
    w16(PciReg.subclass, ids.class >> 8);
    w16(PciReg.subsystemVendor, ids.subsystemVendor ?? 0x1af4);
    w16(PciReg.subsystemId, ids.subsystem ?? 0x1100);
    c[PciReg.interruptPin] = ids.interruptPin ?? 0;
    // Command: I/O, memory, master, parity, SERR#, INTx disable.
    this.writeMask[PciReg.command] = 0x47;
    this.writeMask[PciReg.command + 1] = 0x05;
    this.w1cMask[PciReg.status + 1] = 0xf9;
    this.writeMask[PciReg.cacheLine] = 0xff;
    this.writeMask[PciReg.latency] = 0xff;
    this.writeMask[PciReg.interruptLine] = 0xff;
  }

  /** Declares a BAR backed by a handler. Sizes are powers of two; at least 16 (memory) or 4 (I/O). */
  protected addBar(index: number, kind: "io" | "mem32" | "mem64", size: number, handler: IoHandler): void {
    this.addBarRegion(index, kind, size, { kind: "io", handler, offset: 0 });
  }

  /** Declares a BAR backed by any region (video RAM, ROM). `prefetchable` sets bit 3. */
  protected addBarRegion(
    index: number,
    kind: "io" | "mem32" | "mem64" | "rom",
    size: number,
    region: Region,
    prefetchable = false,
  ): void {
    assert(size >= 4 && 2 ** Math.round(Math.log2(size)) === size, `BAR size ${size}`);
    const offset = kind === "rom" ? PciReg.romBar : PciReg.bar0 + 4 * index;
    const mask = kind === "rom" ? (~(size - 1) | 1) >>> 0 : size >= 2 ** 32 ? 0 : ~(size - 1) >>> 0;
    for (let i = 0; i < 4; i++) this.writeMask[offset + i] = (mask >>> (8 * i)) & 255;
    if (kind === "io") this.config[offset] = 1;
    if (kind === "mem64") {
      this.config[offset] = 4;
      const high = size > 2 ** 32 ? ~(size / 2 ** 32 - 1) >>> 0 : 0xffffffff;
      for (let i = 0; i < 4; i++) this.writeMask[offset + 4 + i] = (high >>> (8 * i)) & 255;
    }
    if (prefetchable && (kind === "mem32" || kind === "mem64")) this.config[offset] = this.config[offset]! | 8;
    this.bars.push({ index, kind, size, region, mapping: undefined, address: -1 });
  }

  /** Adds a capability; returns its offset. `bytes` is what follows the id and next pointer. */
  protected addCapability(id: number, bytes: ArrayLike<number>, writeMask?: ArrayLike<number>): number {
    const offset = this.capEnd;
    assert(offset + 2 + bytes.length <= 256, "PCI capability space");
    this.config[offset] = id;
    this.config[offset + 1] = this.config[PciReg.capabilities]!;
    this.config.set(Array.from(bytes), offset + 2);
    if (writeMask) this.writeMask.set(Array.from(writeMask), offset + 2);
    this.config[PciReg.capabilities] = offset;
    this.config[PciReg.status] = this.config[PciReg.status]! | 0x10;
    this.capEnd = (offset + 2 + bytes.length + 3) & ~3;
    return offset;
  }

  /** Called by the bus once the function is in its slot; from here on the reset state is what it is now. */
  attach(slot: PciSlot): void {
    this.slot = slot;
    this.initial.set(this.config);
    this.sealed = true;
  }

  get devfn(): number {
    return this.slot?.devfn ?? -1;
  }

  configRead(offset: number, size: 1 | 2 | 4): number {
    let v = 0;
    for (let i = size - 1; i >= 0; i--) v = v * 256 + (offset + i < 256 ? this.config[offset + i]! : 0xff);
    return v;
  }

  configWrite(offset: number, size: 1 | 2 | 4, value: number): void {
    for (let i = 0; i < size && offset + i < 256; i++) {
      const o = offset + i;
      const b = (value >>> (8 * i)) & 255;
      const w = this.writeMask[o]!;
      const c = this.w1cMask[o]!;
      this.config[o] = (this.config[o]! & ~w & ~(b & c)) | (b & w);
    }
    if (offset < PciReg.command + 2 || (offset >= PciReg.bar0 && offset < PciReg.romBar + 4)) this.updateMappings();
    if (offset <= PciReg.command + 1 && offset + size > PciReg.command) this.updateIrq(this.irq.level);
  }

  get command(): number {
    return this.config[PciReg.command]! | (this.config[PciReg.command + 1]! << 8);
  }

  /** Whether the guest lets this function do DMA. */
  get busMaster(): boolean {
    return (this.command & PciCommand.master) !== 0;
  }

  /** The address a BAR decodes at, or -1. */
  barAddress(index: number): number {
    return this.bars.find((b) => b.kind !== "rom" && b.index === index)?.address ?? -1;
  }

  /** The declared BARs, for `info pci`. */
  barList(): readonly { index: number; kind: string; size: number; address: number }[] {
    return this.bars;
  }

  private raw32(offset: number): number {
    const c = this.config;
    return (c[offset]! | (c[offset + 1]! << 8) | (c[offset + 2]! << 16) | (c[offset + 3]! << 24)) >>> 0;
  }

  /** Maps BARs where the guest has put them. */
  protected updateMappings(): void {
    for (const bar of this.bars) {
      const space = bar.kind === "io" ? this.ctx.io : this.ctx.memory;
      let address = -1;
      if (bar.kind === "io") {
        if (this.command & PciCommand.io) address = this.raw32(PciReg.bar0 + 4 * bar.index) & ~3;
        if (address === 0 || address + bar.size > 0x10000) address = -1;
      } else if (this.command & PciCommand.memory) {
        if (bar.kind === "rom") {
          const v = this.raw32(PciReg.romBar);
          if (v & 1) address = (v & ~0x7ff) >>> 0;
        } else {
          const low = this.raw32(PciReg.bar0 + 4 * bar.index);
          address = (low & ~15) >>> 0;
          if (bar.kind === "mem64") address += this.raw32(PciReg.bar0 + 4 * bar.index + 4) * 2 ** 32;
        }
        // All ones is how a guest asks for the size; zero is unassigned.
        if (address === 0 || address + bar.size > space.sizeBytes || (bar.kind !== "mem64" && address + bar.size > 0xffffffff))
          address = -1;
      }
      if (address === bar.address) continue;
      bar.address = address;
      space.batch(() => {
        if (bar.mapping) space.unmap(bar.mapping);
        bar.mapping = undefined;
        if (address >= 0)
          bar.mapping = space.map(address, bar.size, bar.region, {
            priority: 1,
            name: `${this.type}.bar${bar.kind === "rom" ? "rom" : bar.index}`,
          });
      });
      this.onBarMapped(bar.index, address);
    }
  }

  /** For devices that need to know; address is -1 when unmapped. */
  protected onBarMapped(_index: number, _address: number): void {}

  private updateIrq(level: boolean): void {
    const pin = this.config[PciReg.interruptPin]!;
    this.config[PciReg.status] = (this.config[PciReg.status]! & ~8) | (level ? 8 : 0);
    if (pin > 0) this.slot?.setIrq(pin - 1, level && !(this.command & PciCommand.intxDisable));
  }

  /** Resets configuration space and BAR mappings; subclasses extend it. */
  reset(): void {
    this.irq.lower();
    if (this.sealed) this.config.set(this.initial);
    this.updateMappings();
  }

  /** Subclasses extend both; the configuration space is under "pci". */
  save(): DeviceState {
    return { pci: this.config.slice(), irq: this.irq.level };
  }

  restore(state: DeviceState): void {
    this.config.set(state.pci as Uint8Array);
    this.updateMappings();
    this.irq.level = state.irq as boolean;
  }

  /** Unplugs: removes every mapping. */
  dispose(): void {
    this.irq.lower();
    this.config[PciReg.command] = 0;
    this.updateMappings();
  }
}
