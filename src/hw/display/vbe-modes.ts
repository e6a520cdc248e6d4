/**
 * Pictures of the Bochs modes: 4 (planar), 8 (palette), 15, 16, 24 and 32 bits a pixel, little- or big-endian.
 * Source: Bochs "VBE Display Interface" document; VESA BIOS Extension 3.0, section 4.3.2 (memory models).
 */

export interface VbePicture {
  readonly width: number;
  readonly height: number;
  readonly bpp: number;
  /** Byte offset of the first pixel, and bytes from line to line; the last pixel lies inside video RAM. */
  readonly start: number;
  readonly lineBytes: number;
  readonly bigEndian: boolean;
}

/** Widens a component of `bits` bits to eight. */
function widen(v: number, bits: 5 | 6): number {
  return (v << (8 - bits)) | (v >> (2 * bits - 8));
}

function rgb555(v: number): number {
  return (widen((v >> 10) & 31, 5) << 16) | (widen((v >> 5) & 31, 5) << 8) | widen(v & 31, 5);
}

function rgb565(v: number): number {
  return (widen((v >> 11) & 31, 5) << 16) | (widen((v >> 5) & 63, 6) << 8) | widen(v & 31, 5);
}

type Line = (at: number, row: number) => void;

/** Draws the picture into rows of `width` pixels. */
export function drawVbe(
  pic: VbePicture,
  vram: Uint8Array,
  colors16: Uint32Array,
  colors256: Uint32Array,
  out: Uint32Array,
): void {
  const line = lineDrawer(pic, vram, colors16, colors256, out);
  for (let y = 0; y < pic.height; y++) line(pic.start + y * pic.lineBytes, y * pic.width);
}

function lineDrawer(pic: VbePicture, vram: Uint8Array, colors16: Uint32Array, colors256: Uint32Array, out: Uint32Array): Line {
  const { width, bigEndian } = pic;
  switch (pic.bpp) {
    case 4:
      return (at, row) => {
        for (let x = 0; x < width; x++) {
          const a = at + (x >> 3) * 4;
          const b = 7 - (x & 7);
          const v =
            ((vram[a]! >> b) & 1) |
            (((vram[a + 1]! >> b) & 1) << 1) |
            (((vram[a + 2]! >> b) & 1) << 2) |
            (((vram[a + 3]! >> b) & 1) << 3);
          out[row + x] = colors16[v]!;
        }
      };
    case 8:
      return (at, row) => {
        for (let x = 0; x < width; x++) out[row + x] = colors256[vram[at + x]!]!;
      };
    case 15:
    case 16: {
      const color = pic.bpp === 15 ? rgb555 : rgb565;
      const low = bigEndian ? 1 : 0;
      return (at, row) => {
        for (let x = 0; x < width; x++, at += 2) out[row + x] = color(vram[at + low]! | (vram[at + 1 - low]! << 8));
      };
    }
    case 24: {
      const red = bigEndian ? 0 : 2;
      return (at, row) => {
        for (let x = 0; x < width; x++, at += 3)
          out[row + x] = (vram[at + red]! << 16) | (vram[at + 1]! << 8) | vram[at + 2 - red]!;
      };
    }
    default: {
      if (!bigEndian && (vram.byteOffset + pic.start) % 4 === 0) {
        const words = new Uint32Array(vram.buffer, vram.byteOffset, vram.length >> 2);
        return (at, row) => {
          const w = at >> 2;
          for (let x = 0; x < width; x++) out[row + x] = words[w + x]! & 0xffffff;
        };
      }
      const [r, g, b] = bigEndian ? [1, 2, 3] : [2, 1, 0];
      return (at, row) => {
        for (let x = 0; x < width; x++, at += 4) out[row + x] = (vram[at + r!]! << 16) | (vram[at + g!]! << 8) | vram[at + b!]!;
      };
    }
  }
}
