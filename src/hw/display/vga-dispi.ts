/**
 * Bochs VBE display interface ("dispi"): high-resolution modes set through an index and a data register.
 * Source: Bochs "VBE Display Interface" document (vbe_display_api.txt), interface versions B0C0 to B0C5.
 * Not emulated: pixel widths that are no multiple of 8 (rounded down, as QEMU does).
 */

export const Dispi = {
  id: 0,
  xres: 1,
  yres: 2,
  bpp: 3,
  enable: 4,
  bank: 5,
  virtWidth: 6,
  virtHeight: 7,
  xOffset: 8,
  yOffset: 9,
  memory64k: 10,
} as const;
export const DispiEnable = { enabled: 0x01, getCaps: 0x02, dac8: 0x20, linear: 0x40, noClear: 0x80 } as const;
const REGISTERS = 11;
const ID_FIRST = 0xb0c0;
const ID_LAST = 0xb0c5;
export const DISPI_MAX_XRES = 16000;
export const DISPI_MAX_YRES = 12000;
/** Limit on the pixels of one picture, so that 4-bit modes cannot ask for a surface of twice the size of 8-bit ones. */
export const MAX_SURFACE_PIXELS = 16 * 1024 * 1024;

/** What happened on a register write, for the board of units around it. */
export type DispiEvent = "none" | "mode-set" | "changed";

export class VgaDispi {
  index = 0;
  readonly regs = new Uint16Array(REGISTERS);
  /** Bytes of video RAM from one line to the next. */
  lineBytes = 0;
  /** Byte offset in video RAM of the first line. */
  startBytes = 0;

  constructor(private readonly vramBytes: number) {
    this.reset();
  }

  reset(): void {
    this.index = 0;
    this.regs.fill(0);
    this.regs[Dispi.id] = ID_LAST;
    this.lineBytes = 0;
    this.startBytes = 0;
  }

  get enabled(): boolean {
    return (this.regs[Dispi.enable]! & DispiEnable.enabled) !== 0;
  }

  get width(): number {
    return this.regs[Dispi.xres]!;
  }

  get height(): number {
    return this.regs[Dispi.yres]!;
  }

  get bpp(): number {
    return this.regs[Dispi.bpp]!;
  }

  /** Byte offset of the 64 KiB window (for 4-bit modes: in each plane). */
  get bankBytes(): number {
    return this.regs[Dispi.bank]! << 16;
  }

  read(): number {
    const i = this.index;
    if (i === Dispi.memory64k) return this.vramBytes >>> 16;
    if (i >= REGISTERS) return 0;
    if (this.regs[Dispi.enable]! & DispiEnable.getCaps) {
      if (i === Dispi.xres) return DISPI_MAX_XRES;
      if (i === Dispi.yres) return DISPI_MAX_YRES;
      if (i === Dispi.bpp) return 32;
    }
    return this.regs[i]!;
  }

  write(value: number): DispiEvent {
    const r = this.regs;
    switch (this.index) {
      case Dispi.id:
        if (value >= ID_FIRST && value <= ID_LAST) r[Dispi.id] = value;
        return "none";
      case Dispi.xres:
      case Dispi.yres:
      case Dispi.bpp:
      case Dispi.virtWidth:
      case Dispi.xOffset:
      case Dispi.yOffset:
        r[this.index] = value;
        this.fit();
        return "changed";
      case Dispi.bank: {
        const banks = this.vramBytes >>> 16;
        r[Dispi.bank] = value & ((this.bpp === 4 ? Math.max(1, banks >> 2) : banks) - 1);
        return "changed";
      }
      case Dispi.enable: {
        const was = this.enabled;
        r[Dispi.enable] = value;
        r[Dispi.bank] = 0;
        if (!was && this.enabled) {
          r[Dispi.virtWidth] = 0;
          r[Dispi.xOffset] = 0;
          r[Dispi.yOffset] = 0;
          this.fit();
          return "mode-set";
        }
        return "changed";
      }
      default:
        return "none";
    }
  }

  /** Brings a wish of the guest into what video RAM holds. While disabled the registers are kept as written. */
  fit(): void {
    if (!this.enabled) return;
    const r = this.regs;
    const allowed = [4, 8, 15, 16, 24, 32];
    if (!allowed.includes(r[Dispi.bpp]!)) r[Dispi.bpp] = 8;
    const bits = r[Dispi.bpp] === 15 ? 16 : r[Dispi.bpp]!;
    const width = Math.min(Math.max(r[Dispi.xres]! & ~7, 8), DISPI_MAX_XRES);
    let virt = Math.min(Math.max(r[Dispi.virtWidth]! & ~7, width), DISPI_MAX_XRES);
    if ((virt * bits) / 8 > this.vramBytes) virt = width;
    const line = (virt * bits) / 8;
    const maxLines = Math.floor(this.vramBytes / line);
    const maxShown = Math.min(maxLines, DISPI_MAX_YRES, Math.floor(MAX_SURFACE_PIXELS / width));
    const height = Math.min(Math.max(r[Dispi.yres]!, 1), maxShown);
    r[Dispi.xres] = width;
    r[Dispi.yres] = height;
    r[Dispi.virtWidth] = virt;
    r[Dispi.virtHeight] = Math.min(maxLines, 0xffff);
    // Each plane's byte holds eight pixels: 4-bit modes move in steps of 8 pixels, which is 4 bytes.
    const x = bits === 4 ? (r[Dispi.xOffset]! >> 3) * 4 : (r[Dispi.xOffset]! * bits) / 8;
    const start = r[Dispi.yOffset]! * line + x;
    // The last line ends where its last pixel does.
    if (start + (height - 1) * line + Math.ceil((width * bits) / 8) > this.vramBytes) {
      r[Dispi.xOffset] = 0;
      r[Dispi.yOffset] = 0;
      this.startBytes = 0;
    } else this.startBytes = start;
    this.lineBytes = line;
  }
}
