/**
 * VGA sequencer: clocking, which planes are written, which fonts are shown, how CPU addresses are chained.
 * Source: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem, "Sequencer Registers".
 * Not emulated: the effect of the two reset bits, the shift-load bits.
 */
import { Seq, SeqClocking, SeqMemory } from "./vga-registers.js";

const WRITABLE = [0x03, 0x3d, 0x0f, 0x3f, 0x0e];

export class VgaSequencer {
  index = 0;
  readonly regs = new Uint8Array(8);

  reset(): void {
    this.index = 0;
    this.regs.fill(0);
  }

  read(): number {
    return this.regs[this.index]!;
  }

  write(value: number): void {
    this.regs[this.index] = value & (WRITABLE[this.index] ?? 0);
  }

  /** Planes that CPU writes reach, a bit each. */
  get mapMask(): number {
    return this.regs[Seq.mapMask]!;
  }

  get chain4(): boolean {
    return (this.regs[Seq.memoryMode]! & SeqMemory.chain4) !== 0;
  }

  /** CPU writes alternate between even and odd planes. */
  get oddEven(): boolean {
    return (this.regs[Seq.memoryMode]! & SeqMemory.sequential) === 0;
  }

  /** Width of a character cell in dots. */
  get charDots(): 8 | 9 {
    return this.regs[Seq.clocking]! & SeqClocking.eightDots ? 8 : 9;
  }

  /** Each dot lasts two clocks: 320-pixel and 40-column modes. */
  get halfDotClock(): boolean {
    return (this.regs[Seq.clocking]! & SeqClocking.halfDotClock) !== 0;
  }

  get screenOff(): boolean {
    return (this.regs[Seq.clocking]! & SeqClocking.screenOff) !== 0;
  }

  /** Offset in plane 2 of the font for characters whose attribute bit 3 is `bit3`. */
  fontOffset(bit3: 0 | 1): number {
    const s = this.regs[Seq.charMap]!;
    const map = bit3 ? ((s >> 2) & 3) | ((s >> 3) & 4) : (s & 3) | ((s >> 2) & 4);
    // Maps 0 to 3 lie at multiples of 16 KiB, 4 to 7 in the halves between them.
    return (map & 3) * 0x4000 + (map >> 2) * 0x2000;
  }
}
