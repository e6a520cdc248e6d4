/** A descriptor chain as a device sees it: bytes to read, then bytes to write, wherever in guest memory they lie. */
import type { AddressSpace } from "../../memory/address-space.js";

/**
 * Host byte offset of guest bytes that are RAM and lie together in the host even when several mappings show them
 * (the BIOS area is cut into 16 KiB pieces), else -1.
 */
export function contiguousHost(memory: AddressSpace, addr: number, length: number): number {
  const fast = memory.hostOffset(addr, length);
  if (fast >= 0) return fast;
  const start = memory.hostOffset(addr, 1);
  if (start < 0) return -1;
  const end = addr + length;
  let pos = addr;
  while (pos < end) {
    const r = memory.find(pos);
    if (r?.mapping.region.kind !== "ram") return -1;
    const host = r.mapping.region.block.hostOffset + r.mapping.region.offset + (pos - r.mapping.base);
    if (host !== start + (pos - addr)) return -1;
    pos = r.end;
  }
  return start;
}

/** Pieces of guest memory in order. Pieces that follow each other in RAM are one. */
export class SegmentList {
  /** Number of pieces. */
  count = 0;
  /** Sum of the pieces' lengths in bytes. */
  total = 0;
  /** Bytes of pieces that are not RAM in one piece. */
  nonRam = 0;
  private readonly addrs: number[] = [];
  private readonly lens: number[] = [];
  /** Host byte offset, or -1. */
  private readonly hosts: number[] = [];

  constructor(private readonly memory: AddressSpace) {}

  clear(): void {
    this.count = 0;
    this.total = 0;
    this.nonRam = 0;
  }

  add(addr: number, length: number): void {
    const host = contiguousHost(this.memory, addr, length);
    this.total += length;
    if (host < 0) this.nonRam += length;
    const last = this.count - 1;
    if (
      host >= 0 &&
      last >= 0 &&
      this.hosts[last]! + this.lens[last]! === host &&
      this.addrs[last]! + this.lens[last]! === addr &&
      this.hosts[last]! >= 0
    ) {
      this.lens[last] = this.lens[last]! + length;
      return;
    }
    this.addrs[this.count] = addr;
    this.lens[this.count] = length;
    this.hosts[this.count] = host;
    this.count++;
  }

  /** Host byte offset of [offset, offset+length) when it is one piece of RAM, else -1. Mark writes with `markWritten`. */
  direct(offset: number, length: number): number {
    for (let i = 0; i < this.count; i++) {
      const len = this.lens[i]!;
      if (offset < len) return offset + length <= len && this.hosts[i]! >= 0 ? this.hosts[i]! + offset : -1;
      offset -= len;
    }
    return -1;
  }

  /** Reads guest bytes from `offset` on into `out`. @returns how many there were */
  read(offset: number, out: Uint8Array): number {
    let done = 0;
    for (let i = 0; i < this.count && done < out.length; i++) {
      const len = this.lens[i]!;
      if (offset >= len) {
        offset -= len;
        continue;
      }
      const n = Math.min(len - offset, out.length - done);
      const host = this.hosts[i]!;
      if (host >= 0) out.set(this.memory.ram.u8.subarray(host + offset, host + offset + n), done);
      else this.memory.readBytes(this.addrs[i]! + offset, out.subarray(done, done + n));
      done += n;
      offset = 0;
    }
    return done;
  }

  /** Writes guest bytes from `offset` on. @returns how many fitted */
  write(offset: number, data: Uint8Array): number {
    let done = 0;
    for (let i = 0; i < this.count && done < data.length; i++) {
      const len = this.lens[i]!;
      if (offset >= len) {
        offset -= len;
        continue;
      }
      const n = Math.min(len - offset, data.length - done);
      const host = this.hosts[i]!;
      const piece = n === data.length ? data : data.subarray(done, done + n);
      if (host >= 0) {
        this.memory.ram.u8.set(piece, host + offset);
        this.memory.onRamWrite(host + offset, n);
      } else this.memory.writeBytes(this.addrs[i]! + offset, piece);
      done += n;
      offset = 0;
    }
    return done;
  }

  /** Calls `each` with the guest address and length of every piece that is RAM. */
  forEach(each: (address: number, length: number) => void): void {
    for (let i = 0; i < this.count; i++) if (this.hosts[i]! >= 0) each(this.addrs[i]!, this.lens[i]!);
  }

  /** Writes `length` zero bytes from `offset` on, in bounded pieces. */
  zero(offset: number, length: number): void {
    const end = Math.min(offset + length, this.total);
    for (let at = offset; at < end; at += ZEROES.length) this.write(at, ZEROES.subarray(0, Math.min(ZEROES.length, end - at)));
  }

  /** After bytes were written through `direct`. */
  markWritten(host: number, length: number): void {
    this.memory.onRamWrite(host, length);
  }
}

const ZEROES = new Uint8Array(4096);

/** A chain that the device owns from `VirtQueue.pop` until `push`. Objects are used again after `push`. */
export class Chain {
  /** Index of its first descriptor: the driver's name for it. */
  head = 0;
  /** The queue's generation when it was taken; a chain of an earlier one completes without effect. */
  generation = 0;
  /** What the driver wrote for the device. */
  readonly readable: SegmentList;
  /** Room for the device's answer. */
  readonly writable: SegmentList;

  constructor(memory: AddressSpace) {
    this.readable = new SegmentList(memory);
    this.writable = new SegmentList(memory);
  }

  clear(): void {
    this.readable.clear();
    this.writable.clear();
  }
}
