/** A file that the user named, as bytes, with bounded reads; and the layout of several such in guest memory. */
import { VmError } from "../../base/errors.js";
import type { AddressSpace } from "../../memory/address-space.js";
import { type E820Entry, ramEnd } from "../e820.js";

/** A file and the option that named it, for messages. */
export interface ImageSource {
  /** "-kernel", "-initrd". */
  readonly option: string;
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** "-kernel vmlinuz: what". */
export function imageError(
  image: ImageSource,
  code: "image/truncated" | "image/bad-format" | "image/wrong-architecture" | "image/too-large",
  what: string,
): VmError {
  return new VmError(code, `${image.option} ${image.name}: ${what}`);
}

/** Little-endian reads from an image; every one is checked. */
export class ImageReader {
  private readonly view: DataView;

  constructor(readonly image: ImageSource) {
    const b = image.bytes;
    this.view = new DataView(b.buffer, b.byteOffset, b.byteLength);
  }

  get length(): number {
    return this.image.bytes.length;
  }

  private check(offset: number, size: number): void {
    if (offset < 0 || offset + size > this.length)
      throw imageError(this.image, "image/truncated", `needs ${offset + size} bytes, the file has ${this.length}`);
  }

  u8(offset: number): number {
    this.check(offset, 1);
    return this.view.getUint8(offset);
  }

  u16(offset: number): number {
    this.check(offset, 2);
    return this.view.getUint16(offset, true);
  }

  u32(offset: number): number {
    this.check(offset, 4);
    return this.view.getUint32(offset, true);
  }

  /** May lose the lowest bits above 2^53, which no bound below lets through. */
  u64(offset: number): number {
    return this.u32(offset) + this.u32(offset + 4) * 2 ** 32;
  }

  /** A view, no copy. */
  bytes(offset: number, length: number): Uint8Array {
    this.check(offset, length);
    return this.image.bytes.subarray(offset, offset + length);
  }

  /** Latin-1 text up to a NUL, at most `max` characters. */
  text(offset: number, max: number): string {
    let s = "";
    for (let i = 0; i < max && offset + i < this.length; i++) {
      const c = this.image.bytes[offset + i]!;
      if (c === 0) break;
      s += String.fromCharCode(c);
    }
    return s;
  }
}

interface Piece {
  readonly owner: string;
  readonly base: number;
  readonly size: number;
  /** Absent: claimed only, or zeroes when `zero`. */
  readonly data?: Uint8Array;
  readonly zero?: boolean;
}

const ZEROES = new Uint8Array(65536);

/** "16 MiB", "3 bytes". */
export function sizeText(bytes: number): string {
  for (const [unit, name] of [
    [2 ** 30, "GiB"],
    [2 ** 20, "MiB"],
    [2 ** 10, "KiB"],
  ] as const)
    if (bytes >= unit) return `${Math.round((bytes / unit) * 10) / 10} ${name}`;
  return `${bytes} bytes`;
}

/**
 * Pieces that are to go into guest memory: each must lie in RAM, and pieces of different owners must not touch. Nothing is
 * written and nothing of a claimed size is allocated until `commit`.
 */
export class Layout {
  private readonly pieces: Piece[] = [];

  constructor(private readonly map: readonly E820Entry[]) {}

  private add(image: ImageSource, piece: Piece): void {
    const end = piece.base + piece.size;
    if (piece.size > 0 && !(ramEnd(this.map, piece.base) >= end))
      throw imageError(
        image,
        "image/too-large",
        `${sizeText(piece.size)} at 0x${piece.base.toString(16)} do not fit guest memory (${sizeText(this.ramBytes())})`,
      );
    const other = this.pieces.find((p) => p.owner !== piece.owner && piece.base < p.base + p.size && p.base < end);
    if (other && piece.size > 0)
      throw imageError(
        image,
        "image/too-large",
        `${sizeText(piece.size)} at 0x${piece.base.toString(16)} overlap the ${other.owner} at 0x${other.base.toString(16)}`,
      );
    this.pieces.push(piece);
  }

  private ramBytes(): number {
    return this.map.reduce((n, e) => (e.type === 1 ? n + e.length : n), 0);
  }

  /** Places bytes. @throws VmError "image/too-large" */
  put(image: ImageSource, owner: string, base: number, data: Uint8Array): void {
    this.add(image, { owner, base, size: data.length, data });
  }

  /** Places zeroes. @throws VmError "image/too-large" */
  putZero(image: ImageSource, owner: string, base: number, size: number): void {
    this.add(image, { owner, base, size, zero: true });
  }

  /** Keeps others out of a range that its owner will use. @throws VmError "image/too-large" */
  claim(image: ImageSource, owner: string, base: number, size: number): void {
    this.add(image, { owner, base, size });
  }

  /** Whether a range lies in RAM and is free of other owners' pieces. */
  isFree(owner: string, base: number, size: number): boolean {
    return (
      ramEnd(this.map, base) >= base + size &&
      !this.pieces.some((p) => p.owner !== owner && base < p.base + p.size && p.base < base + size)
    );
  }

  /**
   * The highest aligned place for `size` bytes that ends at or below `limit`, above 1 MiB, in the RAM that begins there.
   * @throws VmError "image/too-large"
   */
  top(image: ImageSource, size: number, align: number, limit: number): number {
    const low = 2 ** 20;
    let end = Math.min(limit, ramEnd(this.map, low));
    for (let i = 0; i <= this.pieces.length; i++) {
      const base = Math.floor((end - size) / align) * align;
      if (base < low) break;
      const clash = this.pieces.find((p) => base < p.base + p.size && p.base < base + size);
      if (!clash) return base;
      end = clash.base;
    }
    throw imageError(image, "image/too-large", `${sizeText(size)} do not fit guest memory (${sizeText(this.ramBytes())})`);
  }

  /** The first aligned address above everything placed so far that is above `from`. */
  after(from: number, align: number): number {
    const end = this.pieces.reduce((n, p) => Math.max(n, p.base + p.size), from);
    return Math.ceil(end / align) * align;
  }

  /** Writes everything, in the order it was put. */
  commit(memory: AddressSpace): void {
    for (const p of this.pieces) {
      if (p.data) memory.writeBytes(p.base, p.data);
      else if (p.zero)
        for (let done = 0; done < p.size; done += ZEROES.length)
          memory.writeBytes(p.base + done, ZEROES.subarray(0, Math.min(ZEROES.length, p.size - done)));
    }
  }
}
