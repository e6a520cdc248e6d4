/**
 * VGA attribute controller: 16-colour palette, blink, panning, and the flip-flop that shares port 3C0 between index and data.
 * Source: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem, "Attribute Controller Registers".
 * Not emulated: the overscan border (the register is kept), the lock on the palette while the display has it (as in QEMU).
 */
import { Attr, AttrMode } from "./vga-registers.js";

/** Index bit that gives the palette to the display; clear, the screen is blank. */
const PALETTE_SOURCE = 0x20;
const WRITABLE = [0xef, 0xff, 0x0f, 0x0f, 0x0f];

export class VgaAttribute {
  index = 0;
  /** The next write to 3C0 is data. */
  expectData = false;
  readonly regs = new Uint8Array(0x20);

  reset(): void {
    this.index = 0;
    this.expectData = false;
    this.regs.fill(0);
  }

  write(value: number): void {
    if (this.expectData) {
      const i = this.index & 0x1f;
      this.regs[i] = value & (i < 16 ? 0x3f : (WRITABLE[i - 16] ?? 0));
    } else this.index = value & 0x3f;
    this.expectData = !this.expectData;
  }

  readData(): number {
    return this.regs[this.index & 0x1f]!;
  }

  get paletteOn(): boolean {
    return (this.index & PALETTE_SOURCE) !== 0;
  }

  has(bit: number): boolean {
    return (this.regs[Attr.mode]! & bit) !== 0;
  }

  get planeEnable(): number {
    return this.regs[Attr.planeEnable]!;
  }

  /** Pixels by which the picture moves left in a mode with cells of `dots` dots. */
  panning(dots: 8 | 9): number {
    const p = this.regs[Attr.pelPanning]!;
    if (dots === 9) return p >= 8 ? 0 : p + 1;
    return p & 7;
  }

  /** The DAC index of a 4-bit colour, after plane enable. */
  dacIndex(color: number): number {
    const p = this.regs[color & this.planeEnable]!;
    const select = this.regs[Attr.colorSelect]!;
    const low = this.has(AttrMode.paletteSelect) ? (p & 0x0f) | ((select & 3) << 4) : p;
    return low | ((select & 0x0c) << 4);
  }
}
