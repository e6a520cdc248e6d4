/**
 * The CPU's window on the planes at 0xA0000 to 0xBFFFF: which addresses decode, how they are chained to planes, latches.
 * Planes lie interleaved (plane p of address a is byte 4a + p of video RAM), so chain-4 addresses are plain byte offsets
 * and the Bochs linear modes see the same bytes.
 * Source: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem, "Video Memory Organization".
 * Not emulated: the RAM-enable bit of the miscellaneous output register, the odd/even page bit; odd/even and chain-4
 * addresses are packed (address >> 1, >> 2) where the IBM hardware leaves gaps, as QEMU does.
 */
import type { AccessSize, IoHandler } from "../../memory/address-space.js";
import type { VgaDispi } from "./vga-dispi.js";
import { PLANE_BYTES, type VgaGraphics } from "./vga-graphics.js";
import type { VgaSequencer } from "./vga-sequencer.js";

export const WINDOW_BASE = 0xa0000;
export const WINDOW_SIZE = 0x20000;
/** What the IBM VGA holds in four planes; modes other than Bochs' wrap here. */
export const PLANE_MASK = 0xffff;

/** Start and size of the decoded part, as offsets in the window, by memory map. */
const MAPS: readonly (readonly [number, number])[] = [
  [0, 0x20000],
  [0, 0x10000],
  [0x10000, 0x8000],
  [0x18000, 0x8000],
];

export class VgaWindow implements IoHandler {
  readonly name = "vga.window";

  /**
   * @param u8 video RAM's bytes
   * @param u32 the same as 32-bit words, one a plane address (little-endian host, as WebAssembly memory is)
   * @param onWrite told of each write's byte offset in video RAM and length
   */
  constructor(
    private readonly u8: Uint8Array,
    private readonly u32: Uint32Array,
    private readonly seq: VgaSequencer,
    private readonly gfx: VgaGraphics,
    private readonly dispi: VgaDispi,
    private readonly onWrite: (offset: number, length: number) => void,
  ) {}

  /** A Bochs mode of 8 or more bits: the window shows video RAM byte for byte. */
  private get linear(): boolean {
    return this.dispi.enabled && this.dispi.bpp > 4;
  }

  /** Offset in the decoded part, or -1. */
  private decode(offset: number): number {
    const [start, size] = MAPS[this.gfx.memoryMap]!;
    const o = offset - start;
    return o >= 0 && o < size ? o : -1;
  }

  /**
   * Byte offset in video RAM that the window's 64 KiB at 0xA0000 show as plain memory: chain-4 or linear mode in which
   * every plane is written and data passes unchanged; else -1.
   */
  plainOffset(): number {
    if (this.gfx.memoryMap !== 1) return -1;
    if (this.linear) return this.dispi.bankBytes;
    const plain = this.seq.chain4 && this.seq.mapMask === 15 && this.gfx.transparent && !this.gfx.readMode1;
    return plain && !this.dispi.enabled ? 0 : -1;
  }

  read(offset: number, size: AccessSize): number {
    let v = 0;
    for (let i = size - 1; i >= 0; i--) v = v * 256 + this.readByte(offset + i);
    return v;
  }

  write(offset: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) this.writeByte(offset + i, (value >>> (8 * i)) & 0xff);
  }

  /** The plane address of a decoded offset, or -1 when it lies beyond video RAM. */
  private planeAddress(o: number): number {
    if (!this.dispi.enabled) return o & PLANE_MASK;
    const a = o + this.dispi.bankBytes;
    return a < this.u32.length ? a : -1;
  }

  private readByte(offset: number): number {
    const o = this.decode(offset);
    if (o < 0) return 0xff;
    if (this.linear) return this.u8[o + this.dispi.bankBytes] ?? 0xff;
    const { gfx } = this;
    let plane = gfx.readMap;
    let address = o;
    if (this.seq.chain4) {
      plane = o & 3;
      address = o >> 2;
    } else if (gfx.oddEven) {
      plane = (plane & 2) | (o & 1);
      address = o >> 1;
    }
    const a = this.planeAddress(address);
    if (a < 0) return 0xff;
    gfx.latch = this.u32[a]!;
    return gfx.readMode1 ? gfx.compare(gfx.latch) : (gfx.latch >>> (8 * plane)) & 0xff;
  }

  private writeByte(offset: number, value: number): void {
    const o = this.decode(offset);
    if (o < 0) return;
    if (this.linear) {
      const at = o + this.dispi.bankBytes;
      if (at >= this.u8.length) return;
      this.u8[at] = value;
      return this.onWrite(at, 1);
    }
    let planes = this.seq.mapMask;
    let address = o;
    if (this.seq.chain4) {
      planes &= 1 << (o & 3);
      address = o >> 2;
    } else if (this.seq.oddEven) {
      planes &= o & 1 ? 0b1010 : 0b0101;
      address = o >> 1;
    }
    const a = this.planeAddress(address);
    if (a < 0 || planes === 0) return;
    const mask = PLANE_BYTES[planes]!;
    const data = this.gfx.transparent ? Math.imul(value, 0x01010101) : this.gfx.combine(value);
    this.u32[a] = (this.u32[a]! & ~mask) | (data & mask);
    this.onWrite(a * 4, 4);
  }
}
