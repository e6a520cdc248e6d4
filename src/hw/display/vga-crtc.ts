/**
 * VGA CRT controller: timing, start address, cursor, split screen.
 * Source: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem, "CRT Controller Registers".
 * Not emulated: the vertical interrupt, light pen, skew, the blanking registers (the border is not shown).
 */
import { Crtc, CrtcCursorStart, CrtcMaxScan, CrtcMode, CrtcOverflow, CrtcRetraceEnd, CrtcUnderline } from "./vga-registers.js";

/** One frame's times, in character clocks and scan lines. */
export interface CrtcTiming {
  readonly charsPerLine: number;
  readonly charsShown: number;
  readonly linesPerFrame: number;
  readonly linesShown: number;
  readonly retraceStart: number;
  readonly retraceLines: number;
}

export class VgaCrtc {
  index = 0;
  readonly regs = new Uint8Array(0x20);

  reset(): void {
    this.index = 0;
    this.regs.fill(0);
  }

  read(): number {
    return this.regs[this.index & 0x1f]!;
  }

  write(value: number): void {
    const i = this.index & 0x1f;
    if (i > Crtc.lineCompare) return;
    if (i <= Crtc.overflow && this.regs[Crtc.retraceEnd]! & CrtcRetraceEnd.protect) {
      // Protection spares one bit: line compare bit 8.
      if (i === Crtc.overflow) this.regs[i] = (this.regs[i]! & ~CrtcOverflow.lineCompare8) | (value & CrtcOverflow.lineCompare8);
      return;
    }
    this.regs[i] = value;
  }

  private pair(high: number, low: number): number {
    return (this.regs[high]! << 8) | this.regs[low]!;
  }

  /** Character columns shown (1 to 256). */
  get columns(): number {
    return this.regs[Crtc.horizontalDisplayEnd]! + 1;
  }

  /** Scan lines shown (1 to 2048). */
  get lines(): number {
    const o = this.regs[Crtc.overflow]!;
    const end = this.regs[Crtc.displayEnd]! | ((o & 0x02) << 7) | ((o & 0x40) << 3);
    return (end + 1) << (this.regs[Crtc.mode]! & CrtcMode.halfLineClock ? 1 : 0);
  }

  /** Address counter of the first cell. */
  get start(): number {
    return this.pair(Crtc.startHigh, Crtc.startLow);
  }

  /** Address counter steps from one row to the next. */
  get rowStep(): number {
    return this.regs[Crtc.offset]! * 2;
  }

  get presetRowScan(): number {
    return this.regs[Crtc.presetRowScan]! & 0x1f;
  }

  /** Byte panning: cells added to the start address. */
  get bytePan(): number {
    return (this.regs[Crtc.presetRowScan]! >> 5) & 3;
  }

  /** Scan lines of a character row (1 to 32). */
  get rowLines(): number {
    return (this.regs[Crtc.maxScanLine]! & 0x1f) + 1;
  }

  get doubleScan(): boolean {
    return (this.regs[Crtc.maxScanLine]! & CrtcMaxScan.doubleScan) !== 0;
  }

  /** The scan line after which the address counter starts again at 0. */
  get lineCompare(): number {
    const hi = (this.regs[Crtc.overflow]! & CrtcOverflow.lineCompare8) << 4;
    const top = (this.regs[Crtc.maxScanLine]! & CrtcMaxScan.lineCompare9) << 3;
    return this.regs[Crtc.lineCompare]! | hi | top;
  }

  get underlineRow(): number {
    return this.regs[Crtc.underline]! & 0x1f;
  }

  /** Cursor address, and the first and last row scan it covers; undefined when off. */
  get cursor(): { address: number; first: number; last: number } | undefined {
    const s = this.regs[Crtc.cursorStart]!;
    if (s & CrtcCursorStart.off) return undefined;
    const address = this.pair(Crtc.cursorHigh, Crtc.cursorLow);
    return { address, first: s & 0x1f, last: this.regs[Crtc.cursorEnd]! & 0x1f };
  }

  /** log2 of the bytes by which one step of the counter moves: byte, word or doubleword addressing. */
  get addressShift(): 0 | 1 | 2 {
    if (this.regs[Crtc.underline]! & CrtcUnderline.doubleWord) return 2;
    return this.regs[Crtc.mode]! & CrtcMode.byteMode ? 0 : 1;
  }

  /** Replaces counter bits by row-scan bits, as CGA and Hercules graphics have it. */
  rowScanAddress(counter: number, rowScan: number): number {
    const mode = this.regs[Crtc.mode]!;
    // The replaced bits are 13 and 14 of the address after the shift to words.
    const low = mode & CrtcMode.byteMode ? 13 : 12;
    if (!(mode & CrtcMode.rowScan0)) counter = (counter & ~(1 << low)) | ((rowScan & 1) << low);
    if (!(mode & CrtcMode.rowScan1)) counter = (counter & ~(1 << (low + 1))) | (((rowScan >> 1) & 1) << (low + 1));
    return counter;
  }

  timing(): CrtcTiming {
    const r = this.regs;
    const o = r[Crtc.overflow]!;
    const scale = r[Crtc.mode]! & CrtcMode.halfLineClock ? 2 : 1;
    const total = r[Crtc.verticalTotal]! | ((o & 0x01) << 8) | ((o & 0x20) << 4);
    const retrace = r[Crtc.retraceStart]! | ((o & 0x04) << 6) | ((o & 0x80) << 2);
    // Only the low four bits of the retrace's end are kept.
    const length = ((r[Crtc.retraceEnd]! & 15) - retrace) & 15;
    return {
      charsPerLine: r[Crtc.horizontalTotal]! + 5,
      charsShown: this.columns,
      linesPerFrame: (total + 2) * scale,
      linesShown: this.lines,
      retraceStart: retrace * scale,
      retraceLines: Math.max(1, length) * scale,
    };
  }
}
