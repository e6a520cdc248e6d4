/**
 * The VGA on the ISA bus (`-device isa-vga`): the same units, the linear framebuffer of the Bochs modes at 0xE0000000.
 * Source: Bochs "VBE Display Interface" document. The board puts the VGA BIOS at 0xC0000.
 */
import type { Mapping } from "../../memory/address-space.js";
import type { RamBlock } from "../../memory/ram.js";
import type { Display, Surface } from "../../ui/display.js";
import type { Device, DeviceContext, DeviceState } from "../core/device.js";
import type { DeviceType } from "../core/device-type.js";
import { Vga } from "./vga.js";

/** Where the Bochs interface without PCI has its framebuffer. */
const LINEAR_BASE = 0xe0000000;

export const VGA_ISA_TYPE: DeviceType = {
  name: "isa-vga",
  aliases: [],
  bus: "isa",
  category: "display",
  description: "standard VGA on the ISA bus",
  properties: [{ name: "vgamem_mb", type: "uint32", default: 8, description: "video RAM in MiB, a power of two from 1 to 256" }],
};

export class VgaIsa implements Device, Display {
  readonly type = "isa-vga";
  readonly vga: Vga;
  private readonly linear: Mapping;

  /** @param vram a power of two from 1 to 256 MiB */
  constructor(
    private readonly ctx: DeviceContext,
    vram: RamBlock,
    readonly id?: string | undefined,
  ) {
    this.vga = new Vga(ctx, vram);
    this.vga.attach();
    this.linear = ctx.memory.map(LINEAR_BASE, vram.sizeBytes, { kind: "ram", block: vram, offset: 0 }, { priority: 1 });
  }

  refresh(): Surface {
    return this.vga.refresh();
  }

  text(): string[] | undefined {
    return this.vga.text();
  }

  reset(): void {
    this.vga.reset();
  }

  save(): DeviceState {
    return { vga: this.vga.save() };
  }

  restore(state: DeviceState): void {
    this.vga.restore(state.vga as DeviceState);
  }

  dispose(): void {
    this.vga.detach();
    this.ctx.memory.unmap(this.linear);
  }
}
