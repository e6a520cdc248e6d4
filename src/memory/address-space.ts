/** Guest physical memory and the port space: regions mapped at addresses, with priorities, as flat ranges. */
import { Emitter } from "../base/event.js";
import type { GuestRam, RamBlock } from "./ram.js";

/** Access width in bytes. */
export type AccessSize = 1 | 2 | 4;

/**
 * A bus device: two methods, and it knows only offsets. Values are unsigned. Eight-byte accesses arrive as two of four
 * bytes, low half first. Accesses wider than `maxAccess` are split, narrower ones than `minAccess` arrive widened
 * (reads only; narrower writes are passed with their own size).
 */
export interface IoHandler {
  readonly name: string;
  read(offset: number, size: AccessSize): number;
  write(offset: number, size: AccessSize, value: number): void;
  /** Largest width passed to the handler; default 4. */
  readonly maxAccess?: AccessSize;
}

/** What can be mapped. */
export type Region =
  | { readonly kind: "ram"; readonly block: RamBlock; readonly offset: number }
  /** Reads give the block's bytes; writes go to `onWrite` or are ignored. */
  | { readonly kind: "rom"; readonly block: RamBlock; readonly offset: number; readonly onWrite?: IoHandler }
  | { readonly kind: "io"; readonly handler: IoHandler; readonly offset: number }
  /** Decodes to nothing: reads give all ones, writes are ignored. Hides what lies below it. */
  | { readonly kind: "none" };

/** A region at an address. Higher priority hides lower; among equals the one mapped later wins. */
export interface Mapping {
  readonly base: number;
  readonly size: number;
  readonly region: Region;
  readonly priority: number;
  enabled: boolean;
  readonly name: string;
}

/** A piece of the flattened space: no overlaps, in order. */
export interface FlatRange {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  readonly mapping: Mapping;
}

export interface MapOptions {
  priority?: number;
  name?: string;
  /** Offset into the region at which the mapping starts. */
  offset?: number;
  enabled?: boolean;
}

/** A 2^n-byte space of mappings. Unmapped reads give all ones. */
export class AddressSpace {
  private readonly mappings: Mapping[] = [];
  private flat: FlatRange[] = [];
  private dirty = false;
  private batching = 0;
  private last: FlatRange | undefined;
  /** Fires after the flattened view has changed. */
  readonly changed = new Emitter<void>();
  /** Called after a write by a device into RAM (host byte offset, length): the engine drops code translated from it. */
  onRamWrite: (hostOffset: number, length: number) => void = () => {};
  private ioDepth = 0;

  constructor(
    readonly name: string,
    readonly sizeBytes: number,
    readonly ram: GuestRam,
  ) {}

  /** Maps a region. The returned object stays valid for `unmap` and `setEnabled`. */
  map(base: number, size: number, region: Region, options: MapOptions = {}): Mapping {
    const name =
      options.name ?? (region.kind === "io" ? region.handler.name : region.kind === "none" ? "none" : region.block.name);
    const mapping: Mapping = { base, size, region, priority: options.priority ?? 0, enabled: options.enabled ?? true, name };
    this.mappings.push(mapping);
    if (mapping.enabled) this.touch();
    return mapping;
  }

  /** Maps a handler: `mapIo(0x3f8, 8, uart)`. */
  mapIo(base: number, size: number, handler: IoHandler, options: MapOptions = {}): Mapping {
    return this.map(base, size, { kind: "io", handler, offset: options.offset ?? 0 }, options);
  }

  unmap(mapping: Mapping): void {
    const i = this.mappings.indexOf(mapping);
    if (i < 0) return;
    this.mappings.splice(i, 1);
    if (mapping.enabled) this.touch();
  }

  setEnabled(mapping: Mapping, enabled: boolean): void {
    if (mapping.enabled === enabled) return;
    mapping.enabled = enabled;
    this.touch();
  }

  /** Groups several changes into one event. */
  batch(change: () => void): void {
    this.batching++;
    try {
      change();
    } finally {
      if (--this.batching === 0 && this.dirty) this.touch();
    }
  }

  private touch(): void {
    this.dirty = true;
    this.last = undefined;
    if (this.batching === 0) {
      this.flatten();
      this.changed.emit();
    }
  }

  private flatten(): void {
    this.dirty = false;
    const active = this.mappings
      .map((m, order) => ({ m, order }))
      .filter(({ m }) => m.enabled && m.size > 0 && m.base < this.sizeBytes);
    active.sort((a, b) => b.m.priority - a.m.priority || b.order - a.order);
    const flat: FlatRange[] = [];
    // Highest first; each later one fills only the gaps that are left.
    for (const { m } of active) {
      let pos = m.base;
      const end = Math.min(m.base + m.size, this.sizeBytes);
      let i = lowerBound(flat, pos);
      while (pos < end) {
        const next = flat[i];
        if (next && next.start <= pos) {
          pos = next.end;
          i++;
          continue;
        }
        const stop = next ? Math.min(end, next.start) : end;
        flat.splice(i, 0, { start: pos, end: stop, mapping: m });
        i++;
        pos = stop;
      }
    }
    this.flat = flat;
  }

  /** The flattened view, in order. */
  ranges(): readonly FlatRange[] {
    return this.flat;
  }

  /** All mappings, also hidden and disabled ones, for `info mtree`. */
  allMappings(): readonly Mapping[] {
    return this.mappings;
  }

  find(addr: number): FlatRange | undefined {
    const last = this.last;
    if (last && addr >= last.start && addr < last.end) return last;
    const i = lowerBound(this.flat, addr);
    const r = this.flat[i];
    if (!r || addr < r.start) return undefined;
    this.last = r;
    return r;
  }

  /** One access of 1, 2 or 4 bytes; crossing a range's end splits it. */
  read(addr: number, size: AccessSize): number {
    const r = this.find(addr);
    if (!r) return size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff;
    if (addr + size > r.end) return this.splitRead(addr, size);
    const m = r.mapping;
    switch (m.region.kind) {
      case "ram":
      case "rom": {
        const h = m.region.block.hostOffset + m.region.offset + (addr - m.base);
        return size === 1 ? this.ram.u8[h]! : size === 2 ? this.ram.view.getUint16(h, true) : this.ram.view.getUint32(h, true);
      }
      case "io":
        return readHandler(m.region.handler, addr - m.base + m.region.offset, size);
      case "none":
        return size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff;
    }
  }

  write(addr: number, size: AccessSize, value: number): void {
    const r = this.find(addr);
    if (!r) return;
    if (addr + size > r.end) return this.splitWrite(addr, size, value);
    const m = r.mapping;
    switch (m.region.kind) {
      case "ram": {
        const h = m.region.block.hostOffset + m.region.offset + (addr - m.base);
        if (size === 1) this.ram.u8[h] = value;
        else if (size === 2) this.ram.view.setUint16(h, value, true);
        else this.ram.view.setUint32(h, value, true);
        this.onRamWrite(h, size);
        return;
      }
      case "rom":
        if (m.region.onWrite) writeHandler(m.region.onWrite, addr - m.base + m.region.offset, size, value);
        return;
      case "io":
        writeHandler(m.region.handler, addr - m.base + m.region.offset, size, value);
        return;
      case "none":
        return;
    }
  }

  private splitRead(addr: number, size: AccessSize): number {
    let v = 0;
    for (let i = size - 1; i >= 0; i--) v = v * 256 + this.read(addr + i, 1);
    return v;
  }

  private splitWrite(addr: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) this.write(addr + i, 1, (value >>> (8 * i)) & 255);
  }

  /**
   * DMA read into `out`. Handlers are reached byte by byte, at most one level deep (a device's DMA into a device does
   * not start further DMA); unmapped bytes read 0xff. @returns false if any byte was not memory
   */
  readBytes(addr: number, out: Uint8Array): boolean {
    let ok = true;
    let pos = 0;
    while (pos < out.length) {
      const a = addr + pos;
      const r = this.find(a);
      if (r && (r.mapping.region.kind === "ram" || r.mapping.region.kind === "rom")) {
        const n = Math.min(out.length - pos, r.end - a);
        const h = r.mapping.region.block.hostOffset + r.mapping.region.offset + (a - r.mapping.base);
        out.set(this.ram.u8.subarray(h, h + n), pos);
        pos += n;
        continue;
      }
      ok = false;
      if (r && r.mapping.region.kind === "io" && this.ioDepth === 0) {
        this.ioDepth++;
        try {
          out[pos++] = readHandler(r.mapping.region.handler, a - r.mapping.base + r.mapping.region.offset, 1);
        } finally {
          this.ioDepth--;
        }
      } else out[pos++] = 0xff;
    }
    return ok;
  }

  /** DMA write. @returns false if any byte did not reach memory */
  writeBytes(addr: number, data: Uint8Array): boolean {
    let ok = true;
    let pos = 0;
    while (pos < data.length) {
      const a = addr + pos;
      const r = this.find(a);
      if (r && r.mapping.region.kind === "ram") {
        const n = Math.min(data.length - pos, r.end - a);
        const h = r.mapping.region.block.hostOffset + r.mapping.region.offset + (a - r.mapping.base);
        this.ram.u8.set(data.subarray(pos, pos + n), h);
        this.onRamWrite(h, n);
        pos += n;
        continue;
      }
      ok = false;
      if (r && r.mapping.region.kind === "io" && this.ioDepth === 0) {
        this.ioDepth++;
        try {
          writeHandler(r.mapping.region.handler, a - r.mapping.base + r.mapping.region.offset, 1, data[pos]!);
        } finally {
          this.ioDepth--;
        }
      }
      pos++;
    }
    return ok;
  }

  /**
   * Host byte offset of guest bytes [addr, addr+length) when they are RAM in one piece, else -1: the fast path for rings
   * and bulk data. Call `onRamWrite` after writing through it.
   */
  hostOffset(addr: number, length: number): number {
    const r = this.find(addr);
    if (r?.mapping.region.kind !== "ram" || addr + length > r.end) return -1;
    return r.mapping.region.block.hostOffset + r.mapping.region.offset + (addr - r.mapping.base);
  }
}

function readHandler(h: IoHandler, offset: number, size: AccessSize): number {
  const max = h.maxAccess ?? 4;
  if (size <= max) return h.read(offset, size);
  let v = 0;
  for (let i = size - max; i >= 0; i -= max) v = v * 2 ** (8 * max) + h.read(offset + i, max);
  return v;
}

function writeHandler(h: IoHandler, offset: number, size: AccessSize, value: number): void {
  const max = h.maxAccess ?? 4;
  if (size <= max) return h.write(offset, size, value);
  for (let i = 0; i < size; i += max) h.write(offset + i, max, (value >>> (8 * i)) & (max === 1 ? 0xff : 0xffff));
}

/** Index of the first range whose end is above `addr`. */
function lowerBound(flat: FlatRange[], addr: number): number {
  let lo = 0;
  let hi = flat.length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (flat[mid]!.end <= addr) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}
