/**
 * The VGA's own graphics modes: planar 16 colours, CGA four colours and monochrome, 256 colours (chain-4 and unchained).
 * Source: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem, "Graphics Modes" and graphics register 05.
 */
import type { VgaAttribute } from "./vga-attribute.js";
import type { VgaCrtc } from "./vga-crtc.js";
import type { VgaGraphics } from "./vga-graphics.js";
import { scanFrame } from "./vga-scan.js";
import type { VgaSequencer } from "./vga-sequencer.js";
import { PLANE_MASK } from "./vga-window.js";

/** Dots of a character clock in graphics. */
const DOTS = 8;

export interface GraphicUnits {
  readonly u32: Uint32Array;
  readonly crtc: VgaCrtc;
  readonly seq: VgaSequencer;
  readonly gfx: VgaGraphics;
  readonly attr: VgaAttribute;
}

/** Dots on the screen that one pixel of the shift register takes: 2 in 256-colour and 320-pixel modes. */
function dotsPerPixel(units: GraphicUnits): number {
  return units.gfx.shiftMode >= 2 || units.seq.halfDotClock ? 2 : 1;
}

/** Pixels that one character clock gives. */
function pixelsPerCell(units: GraphicUnits): number {
  return units.gfx.shiftMode >= 2 ? 4 : 8;
}

/** Width of the picture in dots. */
export function graphicWidth(units: GraphicUnits): number {
  return units.crtc.columns * pixelsPerCell(units) * dotsPerPixel(units);
}

/** Unpacks one fetch (four plane bytes) into pixel values; returns how many. */
type Unpack = (word: number, pixels: Uint8Array) => void;

/** Each plane gives one bit of eight pixels. */
const unpackPlanar: Unpack = (w, px) => {
  for (let i = 0; i < DOTS; i++) {
    const b = 7 - i;
    px[i] = ((w >>> b) & 1) | (((w >>> (b + 8)) & 1) << 1) | (((w >>> (b + 16)) & 1) << 2) | (((w >>> (b + 24)) & 1) << 3);
  }
};

/** Planes 0 and 1 in turn give pairs of bits; planes 2 and 3 the two above them. */
const unpackInterleaved: Unpack = (w, px) => {
  for (let i = 0; i < DOTS; i++) {
    const shift = (i < 4 ? 0 : 8) + 6 - 2 * (i & 3);
    px[i] = ((w >>> shift) & 3) | (((w >>> (shift + 16)) & 3) << 2);
  }
};

/** Each plane gives a pixel. */
const unpackBytes: Unpack = (w, px) => {
  for (let i = 0; i < 4; i++) px[i] = (w >>> (8 * i)) & 0xff;
};

/**
 * Draws a frame into rows of `graphicWidth` pixels.
 * @param colors16 RGB of the 16 attribute colours
 * @param colors256 RGB of the 256 DAC entries
 */
export function drawGraphics(units: GraphicUnits, colors16: Uint32Array, colors256: Uint32Array, out: Uint32Array): void {
  const { u32, crtc, seq, gfx, attr } = units;
  const shiftMode = gfx.shiftMode;
  const bytes = shiftMode >= 2;
  const unpack = bytes ? unpackBytes : shiftMode === 1 ? unpackInterleaved : unpackPlanar;
  const colors = bytes ? colors256 : colors16;
  const perCell = pixelsPerCell(units);
  const scale = dotsPerPixel(units);
  const width = graphicWidth(units);
  const { columns } = crtc;
  // Chained CPU addresses are packed in video RAM, which undoes the CRTC's word or doubleword addressing.
  const shift = Math.max(0, crtc.addressShift - (seq.chain4 ? 2 : seq.oddEven ? 1 : 0));
  const pixels = new Uint8Array(DOTS);

  let previous = -1;
  let key = "";
  scanFrame(crtc, attr, DOTS, ({ y, address, rowScan, panning }) => {
    const row = y * width;
    // Double scan and 200-line modes fetch the same line twice: copy it.
    const thisKey = `${address},${rowScan & 3},${panning}`;
    if (thisKey === key) {
      out.copyWithin(row, previous, previous + width);
      return;
    }
    key = thisKey;
    previous = row;
    const end = row + width;
    const skip = bytes ? panning >> 1 : panning;
    let x = row - skip * scale;
    const cells = columns + (skip > 0 ? 1 : 0);
    for (let c = 0; c < cells; c++) {
      const a = (crtc.rowScanAddress(address + c, rowScan) << shift) & PLANE_MASK;
      unpack(u32[a]!, pixels);
      for (let i = 0; i < perCell; i++) {
        const color = colors[pixels[i]!]!;
        for (let s = 0; s < scale; s++, x++) if (x >= row && x < end) out[x] = color;
      }
    }
  });
}
