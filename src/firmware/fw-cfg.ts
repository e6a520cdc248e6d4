/**
 * fw_cfg: how the machine hands configuration, tables and ROMs to its firmware.
 * Source: QEMU's interface specification "QEMU Firmware Configuration (fw_cfg) Device" (docs/specs/fw_cfg), x86 port layout.
 *
 *   0x510  selector, 16 bits, write only; selecting starts the item at its first byte
 *   0x511  data, one byte at a time; past the end reads give zero; writes are ignored
 *   0x514  DMA address, 64 bits big-endian; writing the low half (0x518) starts a transfer; reads give "QEMU CFG"
 *
 * Not emulated: the traditional write interface through the data port (QEMU dropped it in 2.4), the memory-mapped variant.
 */
import { assert } from "../base/errors.js";
import type { Device, DeviceContext, DeviceState } from "../hw/core/device.js";
import type { AddressSpace, IoHandler } from "../memory/address-space.js";
import { ByteWriter, encodeText } from "./bytes.js";

/** Well-known items. Numbers from 0x8000 are local to the architecture (x86). */
export const FwCfgKey = {
  signature: 0x00,
  id: 0x01,
  uuid: 0x02,
  ramSize: 0x03,
  noGraphic: 0x04,
  nbCpus: 0x05,
  machineId: 0x06,
  kernelAddr: 0x07,
  kernelSize: 0x08,
  kernelCmdline: 0x09,
  initrdAddr: 0x0a,
  initrdSize: 0x0b,
  bootDevice: 0x0c,
  numa: 0x0d,
  bootMenu: 0x0e,
  maxCpus: 0x0f,
  kernelEntry: 0x10,
  kernelData: 0x11,
  initrdData: 0x12,
  cmdlineAddr: 0x13,
  cmdlineSize: 0x14,
  cmdlineData: 0x15,
  setupAddr: 0x16,
  setupSize: 0x17,
  setupData: 0x18,
  fileDir: 0x19,
  fileFirst: 0x20,
  acpiTables: 0x8000,
  smbiosEntries: 0x8001,
  irq0Override: 0x8002,
  e820Table: 0x8003,
  hpet: 0x8004,
} as const;

/** Ports on x86. */
export const FW_CFG_PORT = 0x510;
export const FW_CFG_DMA_PORT = 0x514;

/** Bits of a DMA request's control word. The upper 16 bits are the item when `select` is set. */
export const FwCfgDma = { error: 1, read: 2, skip: 4, select: 8, write: 16 } as const;

/** Bits of the `id` item. */
const ID_TRADITIONAL = 1;
const ID_DMA = 2;

const KEY_WRITE_CHANNEL = 0x4000;
const KEY_ARCH_LOCAL = 0x8000;
const KEY_INVALID = 0xffff;
/** Named files the directory holds at most. */
export const FW_CFG_FILE_SLOTS = 0x100;
/** A file's name, without the final NUL. */
export const FW_CFG_NAME_MAX = 55;
/** A DMA read may run past its item's end by this much (it is filled with zeroes); beyond that it fails. */
export const FW_CFG_DMA_FILL_MAX = 16 * 2 ** 20;
const DMA_REQUEST_BYTES = 16;

export interface FwCfgItemOptions {
  /** The guest may write it by DMA. */
  writable?: boolean;
  /** Called when the guest selects the item, before it reads a byte: it may replace the bytes with `replace`. */
  onSelect?: (replace: (bytes: Uint8Array) => void) => void;
  /** Called after a DMA write into the item. */
  onWrite?: (bytes: Uint8Array, offset: number, length: number) => void;
}

interface Item extends FwCfgItemOptions {
  bytes: Uint8Array;
}

interface File {
  readonly name: string;
  readonly item: Item;
}

/** The device. The board adds items before the machine starts and maps `ports` and `dma`. */
export class FwCfg implements Device {
  readonly type = "fw_cfg";
  private readonly items = new Map<number, Item>();
  /** Sorted by name; the directory and the file's keys follow from the order, fixed when the guest first looks. */
  private files: File[] = [];
  private sealed = false;
  private key: number = KEY_INVALID;
  private offset = 0;
  private dmaHigh = 0;
  private directoryRead = false;
  private readonly directoryListeners: (() => void)[] = [];

  /** Selector and data: map at 0x510, 2 bytes. */
  readonly ports: IoHandler;
  /** DMA address register: map at 0x514, 8 bytes. */
  readonly dma: IoHandler;

  /** @param dmaEnabled offers the DMA interface (`-fw_cfg`'s default on every machine since 2.9) */
  constructor(
    private readonly ctx: Pick<DeviceContext, "memory" | "trace">,
    readonly dmaEnabled = true,
  ) {
    this.ports = {
      name: "fwcfg",
      maxAccess: 2,
      read: (offset, size) => this.readPort(offset, size),
      write: (offset, size, value) => this.writePort(offset, size, value),
    };
    this.dma = {
      name: "fwcfg.dma",
      read: (offset, size) => readSignature(offset, size),
      write: (offset, size, value) => this.writeDma(offset, size, value),
    };
    this.addItem(FwCfgKey.signature, encodeText("QEMU"));
    this.addU32(FwCfgKey.id, ID_TRADITIONAL | (dmaEnabled ? ID_DMA : 0));
  }

  /** Maps both handlers at the x86 ports. */
  mapPorts(io: AddressSpace): void {
    io.mapIo(FW_CFG_PORT, 2, this.ports);
    if (this.dmaEnabled) io.mapIo(FW_CFG_DMA_PORT, 8, this.dma);
  }

  /** Adds or replaces a numbered item. The bytes are not copied. */
  addItem(key: number, bytes: Uint8Array, options: FwCfgItemOptions = {}): void {
    assert((key & ~KEY_ARCH_LOCAL) < FwCfgKey.fileFirst && key !== FwCfgKey.fileDir, `fw_cfg key 0x${key.toString(16)}`);
    this.items.set(key, { ...options, bytes });
  }

  addU16(key: number, value: number): void {
    this.addItem(key, new ByteWriter(2).u16(value).finish());
  }

  addU32(key: number, value: number): void {
    this.addItem(key, new ByteWriter(4).u32(value).finish());
  }

  addU64(key: number, value: number): void {
    this.addItem(key, new ByteWriter(8).u64(value).finish());
  }

  /** Adds a named file, or replaces its bytes when it exists. The bytes are not copied. */
  addFile(name: string, bytes: Uint8Array, options: FwCfgItemOptions = {}): void {
    assert(name.length > 0 && name.length <= FW_CFG_NAME_MAX, `fw_cfg file name "${name}"`);
    const old = this.files.find((f) => f.name === name);
    if (old) {
      Object.assign(old.item, options, { bytes });
    } else {
      assert(this.files.length < FW_CFG_FILE_SLOTS, "fw_cfg file slots");
      assert(!this.sealed, `fw_cfg file ${name} added after the guest read the directory`);
      this.files.push({ name, item: { ...options, bytes } });
      this.files.sort((a, b) => (a.name < b.name ? -1 : 1));
    }
  }

  /**
   * Calls `listener` when the guest selects the directory for the first time after a reset, as firmware does first of all:
   * the moment to replace files whose size may have changed, because firmware keeps the sizes it reads there.
   */
  onDirectory(listener: () => void): void {
    this.directoryListeners.push(listener);
  }

  /** The names in the directory, for the monitor. */
  fileNames(): string[] {
    return this.files.map((f) => f.name);
  }

  /** The selector of a file. Fixed once all files are added. */
  fileKey(name: string): number | undefined {
    const i = this.files.findIndex((f) => f.name === name);
    return i < 0 ? undefined : FwCfgKey.fileFirst + i;
  }

  private directory(): Uint8Array {
    const w = new ByteWriter(4 + 64 * this.files.length).u32be(this.files.length);
    this.files.forEach((f, i) => {
      w.u32be(f.item.bytes.length)
        .u16be(FwCfgKey.fileFirst + i)
        .zero(2)
        .text(f.name, FW_CFG_NAME_MAX + 1);
    });
    return w.finish();
  }

  private lookup(key: number): Item | undefined {
    if (key === FwCfgKey.fileDir) return { bytes: this.directory() };
    if (key >= FwCfgKey.fileFirst && key < FwCfgKey.fileFirst + this.files.length)
      return this.files[key - FwCfgKey.fileFirst]!.item;
    return this.items.get(key);
  }

  private current: Item | undefined;

  private select(key: number): void {
    this.offset = 0;
    const base = key & ~KEY_WRITE_CHANNEL;
    if (base === FwCfgKey.fileDir || (base >= FwCfgKey.fileFirst && base < KEY_ARCH_LOCAL)) this.sealed = true;
    if (base === FwCfgKey.fileDir && !this.directoryRead) {
      this.directoryRead = true;
      for (const listener of this.directoryListeners) listener();
    }
    this.key = base;
    this.current = this.lookup(base);
    if (!this.current) {
      this.key = KEY_INVALID;
      return;
    }
    const item = this.current;
    item.onSelect?.((bytes) => {
      item.bytes = bytes;
    });
  }

  private readByte(): number {
    const item = this.current;
    if (!item || this.offset >= item.bytes.length) return 0;
    return item.bytes[this.offset++]!;
  }

  private readPort(offset: number, size: number): number {
    if (offset !== 1 || size !== 1) return size === 1 ? 0xff : 0xffff;
    return this.readByte();
  }

  private writePort(offset: number, size: number, value: number): void {
    if (offset === 0 && size === 2) this.select(value);
    else
      this.ctx.trace.guestError(
        "fw_cfg",
        () => `write of ${size} bytes at port 0x${(FW_CFG_PORT + offset).toString(16)} ignored`,
      );
  }

  private writeDma(offset: number, size: number, value: number): void {
    if (size !== 4) {
      this.ctx.trace.guestError("fw_cfg", () => `DMA address written with ${size} bytes`);
      return;
    }
    const v = swap32(value);
    if (offset === 0) this.dmaHigh = v;
    else if (offset === 4) {
      const address = this.dmaHigh * 2 ** 32 + v;
      this.dmaHigh = 0;
      this.transfer(address);
    }
  }

  /** One DMA request: control, length, address, each big-endian, at `at`. The control word is written back last. */
  private transfer(at: number): void {
    const memory = this.ctx.memory;
    const request = new Uint8Array(DMA_REQUEST_BYTES);
    if (!isMemory(memory, at, DMA_REQUEST_BYTES) || !memory.readBytes(at, request)) {
      this.ctx.trace.guestError("fw_cfg", () => `DMA request at 0x${at.toString(16)} is not in memory`);
      return;
    }
    const view = new DataView(request.buffer);
    const control = view.getUint32(0);
    const length = view.getUint32(4);
    const address = view.getUint32(8) * 2 ** 32 + view.getUint32(12);
    if (control & FwCfgDma.select) this.select(control >>> 16);
    const ok = this.transferData(control, length, address);
    if (!ok)
      this.ctx.trace.guestError(
        "fw_cfg",
        () => `DMA of ${length} bytes at 0x${address.toString(16)} failed (control 0x${control.toString(16)})`,
      );
    memory.writeBytes(at, new Uint8Array([0, 0, 0, ok ? 0 : FwCfgDma.error]));
  }

  private transferData(control: number, length: number, address: number): boolean {
    const memory = this.ctx.memory;
    const item = this.current;
    const left = item ? Math.max(0, item.bytes.length - this.offset) : 0;
    const n = Math.min(length, left);
    // Read wins over write, write over skip, as in the specification.
    if (control & FwCfgDma.read) {
      if (length - n > FW_CFG_DMA_FILL_MAX || !isMemory(memory, address, length)) return false;
      if (item) memory.writeBytes(address, item.bytes.subarray(this.offset, this.offset + n));
      if (length > n) memory.writeBytes(address + n, new Uint8Array(length - n));
    } else if (control & FwCfgDma.write) {
      if (!item?.writable || n !== length || !isMemory(memory, address, length)) return false;
      if (!memory.readBytes(address, item.bytes.subarray(this.offset, this.offset + n))) return false;
      item.onWrite?.(item.bytes, this.offset, n);
    } else if (!(control & FwCfgDma.skip)) return true;
    this.offset += n;
    return true;
  }

  reset(): void {
    this.select(FwCfgKey.signature);
    this.dmaHigh = 0;
    this.sealed = false;
    this.directoryRead = false;
  }

  /** Besides the position: the bytes of files the guest may have written. */
  save(): DeviceState {
    const written: { [name: string]: Uint8Array } = {};
    for (const f of this.files) if (f.item.writable) written[f.name] = f.item.bytes.slice();
    return { key: this.key, offset: this.offset, dmaHigh: this.dmaHigh, directoryRead: this.directoryRead, written };
  }

  restore(state: DeviceState): void {
    const written = state.written as { [name: string]: Uint8Array };
    for (const f of this.files) {
      const bytes = written[f.name];
      if (f.item.writable && bytes?.length === f.item.bytes.length) f.item.bytes.set(bytes);
    }
    this.key = state.key as number;
    this.current = this.lookup(this.key);
    this.offset = state.offset as number;
    this.dmaHigh = state.dmaHigh as number;
    this.directoryRead = state.directoryRead as boolean;
  }
}

function swap32(v: number): number {
  return (((v & 0xff) << 24) | ((v & 0xff00) << 8) | ((v >>> 8) & 0xff00) | (v >>> 24)) >>> 0;
}

/** Port reads of the DMA register: the bytes "QEMU CFG". */
function readSignature(offset: number, size: number): number {
  const signature = "QEMU CFG";
  let v = 0;
  for (let i = size - 1; i >= 0; i--) v = v * 256 + (signature.charCodeAt(offset + i) || 0);
  return v;
}

/** Whether [address, address+length) is RAM or ROM throughout; the number of steps is that of flat ranges, not bytes. */
function isMemory(memory: AddressSpace, address: number, length: number): boolean {
  const end = address + length;
  // Also keeps the sum exact: above 2^53 it would round.
  if (end > memory.sizeBytes) return false;
  let at = address;
  while (at < end) {
    const r = memory.find(at);
    if (!r || (r.mapping.region.kind !== "ram" && r.mapping.region.kind !== "rom")) return false;
    at = r.end;
  }
  return true;
}
