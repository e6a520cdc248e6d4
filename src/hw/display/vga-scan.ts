/**
 * The order in which a VGA frame's lines are fetched: rows, double scan, split screen, panning.
 * Source: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem, "CRT Controller Registers" (start address,
 * preset row scan, line compare, offset) and attribute register 13.
 */
import type { VgaAttribute } from "./vga-attribute.js";
import type { VgaCrtc } from "./vga-crtc.js";
import { AttrMode } from "./vga-registers.js";

/** One line of the picture; the object is reused from line to line. */
export interface ScanLine {
  y: number;
  /** Address counter of the first cell. */
  address: number;
  /** Line within the character row. */
  rowScan: number;
  /** Pixels by which the line moves left. */
  panning: number;
}

/** Calls `draw` for each line of the frame; at most 4096 times. `dots` is the width of a cell. */
export function scanFrame(crtc: VgaCrtc, attr: VgaAttribute, dots: 8 | 9, draw: (line: ScanLine) => void): void {
  const { lines, rowLines, rowStep, lineCompare, doubleScan } = crtc;
  const line: ScanLine = {
    y: 0,
    address: crtc.start + crtc.bytePan,
    rowScan: crtc.presetRowScan % rowLines,
    panning: attr.panning(dots),
  };
  let repeat = false;
  for (let y = 0; y < lines; y++) {
    line.y = y;
    draw(line);
    if (y === lineCompare) {
      line.address = 0;
      line.rowScan = 0;
      repeat = false;
      if (attr.has(AttrMode.panningCompat)) line.panning = 0;
      continue;
    }
    repeat = doubleScan && !repeat;
    if (repeat) continue;
    if (++line.rowScan >= rowLines) {
      line.rowScan = 0;
      line.address += rowStep;
    }
  }
}
