/**
 * Names of the VGA's ports, registers and bits, said once for all units.
 * Source: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem (May 1992), sections 2-52 to 2-96.
 */

/** Ports, as the CPU sees them. CRTC and status have a monochrome (3Bx) and a colour (3Dx) address. */
export const VgaPort = {
  crtcIndexMono: 0x3b4,
  crtcDataMono: 0x3b5,
  statusMono: 0x3ba,
  attributeIndex: 0x3c0,
  attributeData: 0x3c1,
  miscWrite: 0x3c2,
  enable: 0x3c3,
  sequencerIndex: 0x3c4,
  sequencerData: 0x3c5,
  dacMask: 0x3c6,
  dacReadIndex: 0x3c7,
  dacWriteIndex: 0x3c8,
  dacData: 0x3c9,
  featureRead: 0x3ca,
  miscRead: 0x3cc,
  graphicsIndex: 0x3ce,
  graphicsData: 0x3cf,
  crtcIndexColor: 0x3d4,
  crtcDataColor: 0x3d5,
  statusColor: 0x3da,
} as const;

/** Miscellaneous output register. */
export const Misc = { colorPorts: 0x01, clockSelect: 0x0c, clock28: 0x04 } as const;

/** Input status 0 and 1. */
export const Status0 = { switchSense: 0x10 } as const;
export const Status1 = { displayDisabled: 0x01, verticalRetrace: 0x08 } as const;

/** Sequencer registers. */
export const Seq = { reset: 0, clocking: 1, mapMask: 2, charMap: 3, memoryMode: 4 } as const;
export const SeqClocking = { eightDots: 0x01, halfDotClock: 0x08, screenOff: 0x20 } as const;
/** `sequential` set means odd/even addressing is off. */
export const SeqMemory = { extended: 0x02, sequential: 0x04, chain4: 0x08 } as const;

/** CRT controller registers. */
export const Crtc = {
  horizontalTotal: 0x00,
  horizontalDisplayEnd: 0x01,
  horizontalBlankStart: 0x02,
  verticalTotal: 0x06,
  overflow: 0x07,
  presetRowScan: 0x08,
  maxScanLine: 0x09,
  cursorStart: 0x0a,
  cursorEnd: 0x0b,
  startHigh: 0x0c,
  startLow: 0x0d,
  cursorHigh: 0x0e,
  cursorLow: 0x0f,
  retraceStart: 0x10,
  retraceEnd: 0x11,
  displayEnd: 0x12,
  offset: 0x13,
  underline: 0x14,
  blankStart: 0x15,
  blankEnd: 0x16,
  mode: 0x17,
  lineCompare: 0x18,
} as const;
export const CrtcRetraceEnd = { protect: 0x80 } as const;
export const CrtcOverflow = { lineCompare8: 0x10 } as const;
export const CrtcMaxScan = { lineCompare9: 0x40, doubleScan: 0x80 } as const;
export const CrtcCursorStart = { off: 0x20 } as const;
export const CrtcUnderline = { doubleWord: 0x40 } as const;
/** In `mode`: `rowScan0` clear replaces address bit 13 by row-scan bit 0, `rowScan1` bit 14 by bit 1 (CGA, Hercules). */
export const CrtcMode = { rowScan0: 0x01, rowScan1: 0x02, halfLineClock: 0x04, byteMode: 0x40 } as const;

/** Graphics controller registers. */
export const Gfx = {
  setReset: 0,
  enableSetReset: 1,
  colorCompare: 2,
  dataRotate: 3,
  readMap: 4,
  mode: 5,
  misc: 6,
  colorDontCare: 7,
  bitMask: 8,
} as const;
export const GfxMode = {
  writeMode: 0x03,
  readMode1: 0x08,
  oddEven: 0x10,
  shift: 0x60,
  interleave: 0x20,
  color256: 0x40,
} as const;
export const GfxMisc = { graphics: 0x01, chainOddEven: 0x02, memoryMap: 0x0c } as const;

/** Attribute controller registers; the palette is 0 to 15. */
export const Attr = { mode: 0x10, overscan: 0x11, planeEnable: 0x12, pelPanning: 0x13, colorSelect: 0x14 } as const;
export const AttrMode = {
  graphics: 0x01,
  mono: 0x02,
  lineGraphics: 0x04,
  blink: 0x08,
  panningCompat: 0x20,
  pelWidth: 0x40,
  paletteSelect: 0x80,
} as const;
