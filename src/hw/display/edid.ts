/**
 * EDID of the monitor that a display adapter shows to the guest.
 * Source: VESA Enhanced Extended Display Identification Data Standard, release A rev. 2 (EDID 1.4).
 */

/** A mode in the guest's eyes: pixels. */
export interface PreferredMode {
  readonly width: number;
  readonly height: number;
}

/** Millimetres a pixel at 100 dpi. */
const MM_PER_PIXEL = 0.254;
const REFRESH_HZ = 75;
const NAME = "Tandem";
/** Established timings: 640x480, 800x600 at 60 Hz; 1024x768 at 60 Hz. */
const ESTABLISHED = [0x21, 0x08, 0x00];
/** Standard timings (60 Hz): x/8 - 31, aspect in the two top bits (0 16:10, 1 4:3, 2 5:4, 3 16:9). */
const STANDARD: readonly (readonly [number, number])[] = [
  [1920, 3],
  [1280, 2],
  [1440, 0],
  [1680, 0],
  [1600, 1],
  [1280, 1],
  [1280, 0],
  [1152, 1],
];

/** 128 bytes: base block without extensions, preferred mode first. Width and height are at most 4095. */
export function makeEdid(mode: PreferredMode): Uint8Array {
  const e = new Uint8Array(128);
  e.set([0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00]);
  // Manufacturer: three letters of five bits, big-endian.
  const id = [..."TDM"].reduce((v, c) => (v << 5) | (c.charCodeAt(0) - 64), 0);
  e.set([id >> 8, id & 0xff, 0x34, 0x12, 0, 0, 0, 0, 42, 24, 1, 4], 8);
  const mm = [Math.round(mode.width * MM_PER_PIXEL), Math.round(mode.height * MM_PER_PIXEL)] as const;
  // Digital input of 8 bits a colour, size in cm, gamma 2.2, sRGB and preferred timing first.
  e.set([0xa5, Math.min(255, Math.round(mm[0] / 10)), Math.min(255, Math.round(mm[1] / 10)), 120, 0x06], 20);
  // sRGB chromaticity.
  e.set([0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54], 25);
  e.set(ESTABLISHED, 35);
  STANDARD.forEach(([x, aspect], i) => {
    e.set([x / 8 - 31, aspect << 6], 38 + 2 * i);
  });
  e.set(detailedTiming(mode, mm), 54);
  e.set([0, 0, 0, 0xfc, 0, ...text(NAME)], 72);
  // Range limits: 50 to 125 Hz, 30 to 160 kHz, up to 2550 MHz.
  e.set([0, 0, 0, 0xfd, 0, 50, 125, 30, 160, 255, 1, 10, 32, 32, 32, 32, 32, 32], 90);
  e.set([0, 0, 0, 0x10], 108);
  e[127] = -e.reduce((a, b) => a + b, 0) & 0xff;
  return e;
}

function text(s: string): number[] {
  return Array.from({ length: 13 }, (_, i) => (i < s.length ? s.charCodeAt(i) : i === s.length ? 10 : 32));
}

/** Section 3.10.2. Blanking is a plausible share of the mode; nothing reads it back. */
function detailedTiming({ width, height }: PreferredMode, [mmX, mmY]: readonly [number, number]): number[] {
  const blankX = (Math.floor(width * 0.35) + 7) & ~7;
  const blankY = Math.floor(height * 0.035) + 1;
  const frontX = Math.floor(width * 0.25);
  const syncX = Math.floor(width * 0.03);
  const frontY = Math.floor(height * 0.005) & 15;
  const syncY = Math.max(1, Math.floor(height * 0.005)) & 15;
  const clock10kHz = Math.min(0xffff, Math.round((REFRESH_HZ * (width + blankX) * (height + blankY)) / 10_000));
  const top = (a: number, b: number) => (((a >> 8) & 15) << 4) | ((b >> 8) & 15);
  return [
    clock10kHz & 0xff,
    clock10kHz >> 8,
    width & 0xff,
    blankX & 0xff,
    top(width, blankX),
    height & 0xff,
    blankY & 0xff,
    top(height, blankY),
    frontX & 0xff,
    syncX & 0xff,
    (frontY << 4) | syncY,
    (((frontX >> 8) & 3) << 6) | (((syncX >> 8) & 3) << 4),
    mmX & 0xff,
    mmY & 0xff,
    top(mmX, mmY),
    0,
    0,
    0x18,
  ];
}
