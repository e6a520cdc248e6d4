/**
 * VGA graphics controller: its registers, and the path of CPU data through rotator, set/reset, ALU, bit mask and latches.
 * The four planes lie interleaved in video RAM: plane p of address a is byte 4a + p, so a latch load is one 32-bit word
 * with plane 0 in the low byte.
 * Source: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem, "Graphics Controller Registers".
 */
import { Gfx, GfxMisc, GfxMode } from "./vga-registers.js";

const WRITABLE = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff];

/** Four plane bits as four bytes of all zeros or all ones. */
export const PLANE_BYTES = Uint32Array.from({ length: 16 }, (_, m) => {
  let v = 0;
  for (let p = 0; p < 4; p++) if (m & (1 << p)) v |= 0xff << (8 * p);
  return v >>> 0;
});

/** A byte in all four planes. */
function spread(byte: number): number {
  return Math.imul(byte, 0x01010101);
}

export class VgaGraphics {
  index = 0;
  readonly regs = new Uint8Array(16);
  /** What the last CPU read found in the four planes. */
  latch = 0;
  /** CPU data reaches the planes unchanged: write mode 0 without rotation, ALU, set/reset or bit mask. */
  transparent = false;

  reset(): void {
    this.index = 0;
    this.regs.fill(0);
    this.latch = 0;
    this.update();
  }

  read(): number {
    return this.regs[this.index & 15]!;
  }

  write(value: number): void {
    const i = this.index & 15;
    this.regs[i] = value & (WRITABLE[i] ?? 0);
    this.update();
  }

  /** Recomputes what is derived from the registers, after they were set as a whole. */
  update(): void {
    const r = this.regs;
    this.transparent =
      (r[Gfx.mode]! & GfxMode.writeMode) === 0 &&
      r[Gfx.enableSetReset] === 0 &&
      r[Gfx.dataRotate] === 0 &&
      r[Gfx.bitMask] === 0xff;
  }

  /** CPU reads alternate between even and odd planes. */
  get oddEven(): boolean {
    return (this.regs[Gfx.mode]! & GfxMode.oddEven) !== 0;
  }

  get graphics(): boolean {
    return (this.regs[Gfx.misc]! & GfxMisc.graphics) !== 0;
  }

  /** 0: A0000 128K; 1: A0000 64K; 2: B0000 32K; 3: B8000 32K. */
  get memoryMap(): number {
    return (this.regs[Gfx.misc]! & GfxMisc.memoryMap) >> 2;
  }

  get readMode1(): boolean {
    return (this.regs[Gfx.mode]! & GfxMode.readMode1) !== 0;
  }

  get readMap(): number {
    return this.regs[Gfx.readMap]!;
  }

  /** How the planes are shifted out: 0 planar, 1 CGA pairs, 2 and 3 bytes. */
  get shiftMode(): number {
    return (this.regs[Gfx.mode]! & GfxMode.shift) >> 5;
  }

  /** Read mode 1: a one for each pixel whose cared-for planes equal the colour compare register. */
  compare(latch: number): number {
    const care = PLANE_BYTES[this.regs[Gfx.colorDontCare]!]!;
    const want = PLANE_BYTES[this.regs[Gfx.colorCompare]!]!;
    const differ = (latch ^ want) & care;
    return ~(differ | (differ >>> 8) | (differ >>> 16) | (differ >>> 24)) & 0xff;
  }

  /** The four bytes a CPU write of `value` produces, before the plane mask. */
  combine(value: number): number {
    const r = this.regs;
    const mode = r[Gfx.mode]! & GfxMode.writeMode;
    if (mode === 1) return this.latch;
    const rotate = r[Gfx.dataRotate]! & 7;
    const setReset = PLANE_BYTES[r[Gfx.setReset]!]!;
    let mask = r[Gfx.bitMask]!;
    let data: number;
    if (mode === 2) data = PLANE_BYTES[value & 15]!;
    else {
      const rotated = ((value >>> rotate) | (value << (8 - rotate))) & 0xff;
      if (mode === 3) {
        mask &= rotated;
        data = setReset;
      } else {
        const enable = PLANE_BYTES[r[Gfx.enableSetReset]!]!;
        data = (spread(rotated) & ~enable) | (setReset & enable);
      }
    }
    switch ((r[Gfx.dataRotate]! >> 3) & 3) {
      case 1:
        data &= this.latch;
        break;
      case 2:
        data |= this.latch;
        break;
      case 3:
        data ^= this.latch;
        break;
    }
    const bits = spread(mask);
    return (data & bits) | (this.latch & ~bits);
  }
}
