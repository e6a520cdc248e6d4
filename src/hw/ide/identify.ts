/** The data of IDENTIFY DEVICE and IDENTIFY PACKET DEVICE. Source: ATA/ATAPI-7 vol. 1 §6.17, §6.18. */
import type { Geometry } from "../../block/geometry.js";

/** What IDENTIFY tells of a disk. */
export interface DiskIdentity {
  readonly geometry: Geometry;
  /** Heads and sectors of the current translation. */
  readonly currentHeads: number;
  readonly currentSectors: number;
  readonly totalSectors: number;
  readonly serial: string;
  readonly model: string;
  readonly firmware: string;
  /** Sectors a block of READ MULTIPLE, 0 = off. */
  readonly multiple: number;
  /** The selected mode as SET FEATURES has it: 0x20 | n multiword, 0x40 | n ultra. */
  readonly dmaMode: number;
  readonly writeCache: boolean;
  readonly smart: boolean;
  readonly trim: boolean;
}

export const MAX_MULTIPLE = 16;
/** Blocks of 512 bytes that DATA SET MANAGEMENT takes. */
export const MAX_TRIM_BLOCKS = 8;

const MULTIWORD = 0x20;
const ULTRA = 0x40;
const LBA28_MAX = 0x0fffffff;

class Words {
  readonly bytes = new Uint8Array(512);
  private readonly view = new DataView(this.bytes.buffer);

  set(word: number, value: number): void {
    this.view.setUint16(2 * word, value, true);
  }

  dword(word: number, value: number): void {
    this.view.setUint32(2 * word, value, true);
  }

  /** ASCII, padded with blanks, the first character in the high byte. */
  text(word: number, words: number, text: string): void {
    for (let i = 0; i < 2 * words; i++) this.bytes[2 * word + (i ^ 1)] = i < text.length ? text.charCodeAt(i) : 0x20;
  }

  /** Word 255: the sum of all bytes is zero. */
  seal(): Uint8Array {
    this.bytes[510] = 0xa5;
    let sum = 0;
    for (let i = 0; i < 511; i++) sum += this.bytes[i]!;
    this.bytes[511] = -sum & 0xff;
    return this.bytes;
  }
}

/** Modes 0 to n supported, and the selected one. */
function modes(selected: number, kind: number, highest: number): number {
  const supported = (1 << (highest + 1)) - 1;
  return supported | ((selected & 0xf8) === kind ? 1 << (8 + (selected & 7)) : 0);
}

/** IDENTIFY DEVICE: 512 bytes. */
export function identifyDisk(d: DiskIdentity): Uint8Array {
  const w = new Words();
  const { cylinders, heads, sectors } = d.geometry;
  const lba28 = Math.min(d.totalSectors, LBA28_MAX);
  const perCylinder = d.currentHeads * d.currentSectors;
  const currentCylinders = Math.min(0xffff, Math.floor(lba28 / perCylinder));
  w.set(0, 0x0040);
  w.set(1, cylinders);
  w.set(3, heads);
  w.set(4, 512 * sectors);
  w.set(5, 512);
  w.set(6, sectors);
  w.text(10, 10, d.serial);
  w.set(20, 3);
  w.set(21, 512);
  w.set(22, 4);
  w.text(23, 4, d.firmware);
  w.text(27, 20, d.model);
  w.set(47, 0x8000 | MAX_MULTIPLE);
  w.set(48, 1);
  w.set(49, 0x0b00);
  w.set(50, 0x4000);
  w.set(51, 0x0200);
  w.set(52, 0x0200);
  w.set(53, 0x0007);
  w.set(54, currentCylinders);
  w.set(55, d.currentHeads);
  w.set(56, d.currentSectors);
  w.dword(57, currentCylinders * perCylinder);
  w.set(59, d.multiple ? 0x0100 | d.multiple : 0);
  w.dword(60, lba28);
  w.set(63, modes(d.dmaMode, MULTIWORD, 2));
  w.set(64, 0x0003);
  for (const word of [65, 66, 67, 68]) w.set(word, 120);
  w.set(80, 0x00f0);
  w.set(81, 0x0016);
  // Supported: NOP, read/write buffer, look-ahead, write cache, power management, SMART.
  const supported = 0x7069;
  w.set(82, supported);
  w.set(83, 0x7400);
  w.set(84, 0x4040);
  w.set(85, (supported & ~0x0021) | (d.writeCache ? 0x20 : 0) | (d.smart ? 1 : 0));
  w.set(86, 0x3400);
  w.set(87, 0x4040);
  w.set(88, modes(d.dmaMode, ULTRA, 5));
  w.set(93, 0x6001);
  w.dword(100, d.totalSectors >>> 0);
  w.dword(102, Math.floor(d.totalSectors / 2 ** 32));
  w.set(106, 0x4000);
  if (d.trim) {
    w.set(69, 0x4020);
    w.set(105, MAX_TRIM_BLOCKS);
    w.set(169, 0x0001);
  }
  return w.seal();
}

/** What IDENTIFY PACKET DEVICE tells of a CD-ROM drive. */
export interface PacketIdentity {
  readonly serial: string;
  readonly model: string;
  readonly firmware: string;
  readonly dmaMode: number;
}

/** IDENTIFY PACKET DEVICE: 512 bytes. */
export function identifyPacket(d: PacketIdentity): Uint8Array {
  const w = new Words();
  // ATAPI, CD-ROM, removable, DRQ within 50 us of PACKET, 12-byte packets.
  w.set(0, 0x85c0);
  w.text(10, 10, d.serial);
  w.set(20, 3);
  w.set(21, 512);
  w.set(22, 4);
  w.text(23, 4, d.firmware);
  w.text(27, 20, d.model);
  w.set(48, 1);
  w.set(49, 0x0b00);
  w.set(51, 0x0200);
  w.set(53, 0x0007);
  w.set(63, modes(d.dmaMode, MULTIWORD, 2));
  w.set(64, 0x0003);
  w.set(65, 0xb4);
  w.set(66, 0xb4);
  w.set(67, 0x012c);
  w.set(68, 0xb4);
  w.set(71, 30);
  w.set(72, 30);
  w.set(80, 0x001e);
  // Supported and enabled: NOP, DEVICE RESET, PACKET.
  w.set(82, 0x4210);
  w.set(83, 0x4000);
  w.set(84, 0x4000);
  w.set(85, 0x4210);
  w.set(87, 0x4000);
  w.set(88, modes(d.dmaMode, ULTRA, 5));
  w.set(93, 0x6001);
  return w.seal();
}

/** The mode of SET FEATURES 3 as kept, or undefined when it is not supported; PIO modes leave DMA as it is. */
export function transferMode(value: number, current: number): number | undefined {
  const mode = value & 7;
  switch (value & 0xf8) {
    case 0x00:
      return mode <= 1 ? current : undefined;
    case 0x08:
      return mode <= 4 ? current : undefined;
    case MULTIWORD:
      return mode <= 2 ? value : undefined;
    case ULTRA:
      return mode <= 5 ? value : undefined;
    default:
      return undefined;
  }
}

/** The mode after power-on. */
export const DEFAULT_DMA_MODE = ULTRA | 5;
