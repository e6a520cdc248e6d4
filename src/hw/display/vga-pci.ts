/**
 * The standard PCI VGA of `-vga std`, 1234:1111: video RAM in BAR0, registers in BAR2, the VGA BIOS in the ROM BAR.
 * Source: QEMU docs/specs/standard-vga (PCI ids, layout of BAR2), Bochs "VBE Display Interface" document.
 * Legacy ports and the window at 0xA0000 are decoded whatever the command register says, as in QEMU.
 */
import type { AccessSize, IoHandler } from "../../memory/address-space.js";
import type { RamBlock } from "../../memory/ram.js";
import type { Display, Surface } from "../../ui/display.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { DeviceType } from "../core/device-type.js";
import { PciDevice } from "../pci/device.js";
import { makeEdid, type PreferredMode } from "./edid.js";
import { Vga } from "./vga.js";

/** Parts of BAR2. */
const MMIO_SIZE = 0x1000;
const EDID_END = 0x100;
const PORTS = { start: 0x400, end: 0x420, firstPort: 0x3c0 } as const;
const DISPI = { start: 0x500, end: 0x516 } as const;
const EXT = { size: 0x600, byteOrder: 0x604, end: 0x608 } as const;
const BYTE_ORDER = { little: 0x1e1e1e1e, big: 0xbebebebe } as const;

export interface VgaPciOptions {
  /** Video RAM: a power of two, 16 MiB as a rule. */
  readonly vram: RamBlock;
  /** The VGA BIOS, its block a power of two in size (at least 2 KiB). */
  readonly rom?: RamBlock | undefined;
  readonly id?: string | undefined;
  /** What the monitor wants to show; default 1280x800. */
  readonly preferred?: PreferredMode | undefined;
}

export const VGA_PCI_TYPE: DeviceType = {
  name: "VGA",
  aliases: [],
  bus: "pci",
  category: "display",
  description: "standard VGA with the Bochs VBE extensions",
  properties: [
    { name: "vgamem_mb", type: "uint32", default: 16, description: "video RAM in MiB, a power of two from 1 to 256" },
    { name: "xres", type: "uint32", default: 1280, description: "width the monitor prefers" },
    { name: "yres", type: "uint32", default: 800, description: "height the monitor prefers" },
  ],
};

/** The device. Its ports and the window are mapped from construction to `dispose`. */
export class VgaPci extends PciDevice implements Display {
  readonly type = "VGA";
  readonly vga: Vga;
  private readonly edid: Uint8Array;

  constructor(ctx: DeviceContext, options: VgaPciOptions) {
    super(ctx, { vendor: 0x1234, device: 0x1111, revision: 2, class: 0x030000 }, options.id);
    this.vga = new Vga(ctx, options.vram);
    this.edid = makeEdid(options.preferred ?? { width: 1280, height: 800 });
    const { vram, rom } = options;
    this.addBarRegion(0, "mem32", vram.sizeBytes, { kind: "ram", block: vram, offset: 0 }, true);
    const mmio: IoHandler = {
      name: "vga.mmio",
      maxAccess: 2,
      read: (offset, size) => this.readMmio(offset, size),
      write: (offset, size, value) => this.writeMmio(offset, size, value),
    };
    this.addBar(2, "mem32", MMIO_SIZE, mmio);
    if (rom) this.addBarRegion(0, "rom", rom.sizeBytes, { kind: "rom", block: rom, offset: 0 });
    this.vga.attach();
  }

  private readMmio(offset: number, size: AccessSize): number {
    if (size === 2 && offset & 1) return this.readMmio(offset, 1) | (this.readMmio(offset + 1, 1) << 8);
    if (offset < EDID_END) {
      const at = (i: number) => this.edid[i] ?? 0;
      return size === 1 ? at(offset) : at(offset) | (at(offset + 1) << 8);
    }
    if (offset >= PORTS.start && offset < PORTS.end) {
      const port = PORTS.firstPort + offset - PORTS.start;
      return size === 1 ? this.vga.readPort(port) : this.vga.readPort(port) | (this.vga.readPort(port + 1) << 8);
    }
    let word = 0xffff;
    if (offset >= DISPI.start && offset < DISPI.end) {
      const saved = this.vga.dispi.index;
      this.vga.dispi.index = (offset - DISPI.start) >> 1;
      word = this.vga.dispi.read();
      this.vga.dispi.index = saved;
    } else if (offset >= EXT.size && offset < EXT.byteOrder) word = offset < EXT.size + 2 ? EXT.end - EXT.size : 0;
    else if (offset >= EXT.byteOrder && offset < EXT.end)
      word = (this.vga.bigEndian ? BYTE_ORDER.big : BYTE_ORDER.little) & 0xffff;
    return size === 1 ? (word >> (8 * (offset & 1))) & 0xff : word;
  }

  private writeMmio(offset: number, size: AccessSize, value: number): void {
    if (offset >= PORTS.start && offset < PORTS.end) {
      const port = PORTS.firstPort + offset - PORTS.start;
      this.vga.writePort(port, value & 0xff);
      if (size === 2) this.vga.writePort(port + 1, value >>> 8);
    } else if (offset >= DISPI.start && offset < DISPI.end) {
      const saved = this.vga.dispi.index;
      this.vga.dispi.index = (offset - DISPI.start) >> 1;
      this.vga.writeDispi(value & 0xffff);
      this.vga.dispi.index = saved;
    } else if (offset >= EXT.byteOrder && offset < EXT.end) {
      // The word arrives in two halves that say the same.
      if (value === (BYTE_ORDER.big & 0xffff)) this.vga.bigEndian = true;
      else if (value === (BYTE_ORDER.little & 0xffff)) this.vga.bigEndian = false;
    } else this.ctx.trace.guestError("VGA", () => `write of ${value} to BAR2 offset 0x${offset.toString(16)}`);
  }

  refresh(): Surface {
    return this.vga.refresh();
  }

  text(): string[] | undefined {
    return this.vga.text();
  }

  override reset(): void {
    super.reset();
    this.vga.reset();
  }

  override save(): DeviceState {
    return { ...super.save(), vga: this.vga.save() };
  }

  override restore(state: DeviceState): void {
    super.restore(state);
    this.vga.restore(state.vga as DeviceState);
  }

  override dispose(): void {
    this.vga.detach();
    super.dispose();
  }
}
