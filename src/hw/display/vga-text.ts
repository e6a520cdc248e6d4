/**
 * VGA text: cells of character and attribute in planes 0 and 1, fonts in plane 2.
 * Source: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem, "Alphanumeric Modes".
 */
import { CP437 } from "./cp437.js";
import type { VgaAttribute } from "./vga-attribute.js";
import type { VgaCrtc } from "./vga-crtc.js";
import { AttrMode } from "./vga-registers.js";
import { scanFrame } from "./vga-scan.js";
import type { VgaSequencer } from "./vga-sequencer.js";
import { PLANE_MASK } from "./vga-window.js";

/** Bytes from one glyph to the next in a font. */
const GLYPH_STRIDE = 32;
/** Frames in half a blink: the cursor's is half the characters'. */
const CURSOR_BLINK_FRAMES = 8;
const CHAR_BLINK_FRAMES = 16;
const UNDERLINE_ATTRIBUTE = 1;

export interface TextUnits {
  readonly u8: Uint8Array;
  readonly crtc: VgaCrtc;
  readonly seq: VgaSequencer;
  readonly attr: VgaAttribute;
}

/** Width in dots of one cell on the screen. */
export function cellWidth(seq: VgaSequencer): number {
  return seq.charDots * (seq.halfDotClock ? 2 : 1);
}

/**
 * Draws a frame into rows of `columns * cellWidth` pixels.
 * @param colors RGB of the 16 attribute colours
 * @param frame frames since some start, for blinking
 */
export function drawText(units: TextUnits, colors: Uint32Array, frame: number, out: Uint32Array): void {
  const { u8, crtc, seq, attr } = units;
  const { columns } = crtc;
  const dots = seq.charDots;
  const scale = seq.halfDotClock ? 2 : 1;
  const width = columns * dots * scale;
  const fonts = [seq.fontOffset(0), seq.fontOffset(1)] as const;
  const blink = attr.has(AttrMode.blink);
  const blinkOff = blink && ((frame / CHAR_BLINK_FRAMES) & 1) === 1;
  const lineGraphics = attr.has(AttrMode.lineGraphics);
  const cursor = ((frame / CURSOR_BLINK_FRAMES) & 1) === 0 ? crtc.cursor : undefined;
  const underlineRow = crtc.underlineRow;

  scanFrame(crtc, attr, dots, ({ y, address, rowScan, panning }) => {
    const row = y * width;
    const end = row + width;
    const cursorHere = cursor && rowScan >= cursor.first && rowScan <= cursor.last;
    const extra = panning > 0 ? 1 : 0;
    let x = row - panning * scale;
    for (let c = 0; c < columns + extra; c++) {
      const a = (address + c) & PLANE_MASK;
      const char = u8[a * 4]!;
      const attribute = u8[a * 4 + 1]!;
      const font = fonts[(attribute >> 3) & 1]!;
      let bits = u8[((font + char * GLYPH_STRIDE + rowScan) & PLANE_MASK) * 4 + 2]! << 1;
      // The ninth dot: line-drawing characters repeat the eighth.
      if (lineGraphics && char >= 0xc0 && char <= 0xdf) bits |= (bits >> 1) & 1;
      if (rowScan === underlineRow && (attribute & 7) === UNDERLINE_ATTRIBUTE) bits = 0x1ff;
      if (blinkOff && attribute & 0x80) bits = 0;
      if (cursorHere && a === (cursor.address & PLANE_MASK)) bits = 0x1ff;
      const fg = colors[attribute & 15]!;
      const bg = colors[(attribute >> 4) & (blink ? 7 : 15)]!;
      for (let d = 8; d > 8 - dots; d--) {
        const color = (bits >> d) & 1 ? fg : bg;
        for (let s = 0; s < scale; s++, x++) if (x >= row && x < end) out[x] = color;
      }
    }
  });
}

/** The screen's characters as lines, trailing blanks removed, code page 437 as Unicode. */
export function readText(units: TextUnits): string[] {
  const { u8, crtc } = units;
  const rows = Math.min(256, Math.ceil(crtc.lines / (crtc.rowLines * (crtc.doubleScan ? 2 : 1))));
  const split = crtc.lineCompare;
  const rowHeight = crtc.rowLines * (crtc.doubleScan ? 2 : 1);
  const lines: string[] = [];
  let address = crtc.start + crtc.bytePan;
  for (let r = 0; r < rows; r++) {
    let text = "";
    for (let c = 0; c < crtc.columns; c++) text += CP437[u8[((address + c) & PLANE_MASK) * 4]!];
    lines.push(text.trimEnd());
    address = split >= r * rowHeight && split < (r + 1) * rowHeight ? 0 : address + crtc.rowStep;
  }
  return lines;
}
