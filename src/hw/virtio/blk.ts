/**
 * virtio block device (virtio 1.2 §5.2) over a Drive.
 *
 * Up to 64 requests are in flight at a time; further ones stay in the queue. Each moves through a pooled buffer and never
 * directly between host and guest RAM: after a reset a host read may still arrive and a host write may still be on its
 * way, and neither may see what the guest has made of that memory by then. Requests after a reset wait for those before.
 *
 * A flush begins when the writes taken before it have ended. With the write cache off every write is flushed before it
 * completes. A request that fails under `stop` (or `enospc` on a full host) is kept, saved in snapshots, and tried again
 * when virtual time goes on.
 *
 * Not emulated: more than one request queue, SCSI commands, lifetime, secure erase, zoned devices.
 */
import type { BlockBackend, Drive, ErrorPolicy } from "../../block/backend.js";
import type { Timer } from "../core/clock.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { DeviceProperty, DeviceType } from "../core/device-type.js";
import { BufferPool } from "./buffers.js";
import type { Chain } from "./chain.js";
import { get32, put16, put32, put64, VirtioDevice } from "./device.js";
import { VirtioPci, type VirtioPciOptions, virtioCommonProperties, virtioPciProperties } from "./pci.js";
import type { VirtQueue } from "./queue.js";
import { featureBits, VirtioId } from "./spec.js";

/** Feature bits (§5.2.3). */
export const BlkFeature = {
  segMax: 2,
  geometry: 4,
  readOnly: 5,
  blkSize: 6,
  flush: 9,
  topology: 10,
  configWce: 11,
  discard: 13,
  writeZeroes: 14,
} as const;

/** Request types (§5.2.6). */
export const BlkRequest = { in: 0, out: 1, flush: 4, getId: 8, discard: 11, writeZeroes: 13 } as const;
/** Bit of a request's type that legacy drivers may set. */
const BLK_BARRIER = 0x80000000;
/** Status byte (§5.2.6). */
export const BlkStatus = { ok: 0, ioError: 1, unsupported: 2 } as const;

/** Configuration layout (§5.2.4). */
const Config = {
  capacity: 0,
  segMax: 12,
  cylinders: 16,
  heads: 18,
  sectors: 19,
  blkSize: 20,
  physicalBlockExp: 24,
  alignmentOffset: 25,
  minIoSize: 26,
  optIoSize: 28,
  writeback: 32,
  numQueues: 34,
  maxDiscardSectors: 36,
  maxDiscardSeg: 40,
  discardSectorAlignment: 44,
  maxWriteZeroesSectors: 48,
  maxWriteZeroesSeg: 52,
  writeZeroesMayUnmap: 56,
  bytes: 60,
} as const;

const SECTOR = 512;
const HEADER_BYTES = 16;
const ID_BYTES = 20;
/** A discard or write-zeroes segment: sector, number of sectors, flags. */
const RANGE_BYTES = 16;
const RANGE_UNMAP = 1;
/** Requests that are worked on at a time. */
const MAX_IN_FLIGHT = 64;
/** Bytes that one request moves at a time. */
const MOVE_BYTES = 512 * 1024;
/** Largest range of one discard or write-zeroes request, in sectors: 2 GiB less a sector. */
const MAX_RANGE_SECTORS = 4194303;
/** How long (virtual time) before a request that failed is tried again; the machine stands still meanwhile. */
const RETRY_NS = 10_000_000;

export interface VirtioBlkOptions {
  drive: Drive;
  /** At most 20 bytes; default the drive's. */
  serial?: string | undefined;
  logicalBlockSize?: number | undefined;
  physicalBlockSize?: number | undefined;
  minIoSize?: number | undefined;
  optIoSize?: number | undefined;
  discardGranularity?: number | undefined;
  cyls?: number | undefined;
  heads?: number | undefined;
  secs?: number | undefined;
  queueSize?: number | undefined;
  /** Offer the driver to switch the write cache; default on. */
  configWce?: boolean | undefined;
  /** State of the write cache after reset; default on. */
  writeCache?: boolean | undefined;
  discard?: boolean | undefined;
  writeZeroes?: boolean | undefined;
  indirectDesc?: boolean | undefined;
  eventIdx?: boolean | undefined;
}

interface Request {
  readonly chain: Chain;
  readonly isWrite: boolean;
  /** Order of arrival. */
  readonly number: number;
}

/** The device; a transport carries it. */
export class VirtioBlk extends VirtioDevice {
  override readonly virtioId = VirtioId.block;
  private readonly drive: Drive;
  private readonly queue: VirtQueue;
  private readonly id: Uint8Array;
  private readonly readOnly: boolean;
  private readonly initialWriteback: boolean;
  private readonly blockSize: number;
  private readonly pool = new BufferPool(MOVE_BYTES);
  private readonly header = new Uint8Array(HEADER_BYTES);
  /** Everything under way or held, also of before a reset. */
  private readonly requests = new Set<Request>();
  private readonly writing = new Set<Promise<void>>();
  /** Failed requests that wait to be tried again. */
  private held: Request[] = [];
  /** Heads that a snapshot says were under way. */
  private restored: number[] = [];
  /** Chains wait in the queue for a request to end. */
  private waiting = false;
  private nextNumber = 0;
  private readonly retryTimer: Timer;

  constructor(ctx: DeviceContext, options: VirtioBlkOptions) {
    const { drive } = options;
    const readOnly = drive.backend?.readOnly ?? false;
    let features = featureBits(BlkFeature.segMax, BlkFeature.geometry, BlkFeature.blkSize, BlkFeature.topology, BlkFeature.flush);
    if (options.configWce ?? true) features |= featureBits(BlkFeature.configWce);
    if (readOnly) features |= featureBits(BlkFeature.readOnly);
    else {
      if (options.discard ?? true) features |= featureBits(BlkFeature.discard);
      if (options.writeZeroes ?? true) features |= featureBits(BlkFeature.writeZeroes);
    }
    super(ctx, "virtio-blk", features, new Uint8Array(Config.bytes), options);
    this.drive = drive;
    this.readOnly = readOnly;
    this.initialWriteback = options.writeCache ?? true;
    this.blockSize = options.logicalBlockSize ?? SECTOR;
    this.id = serialBytes(options.serial ?? drive.serial ?? "");
    const queueSize = options.queueSize ?? 256;
    this.queue = this.addQueue(queueSize, () => this.work());
    this.fillConfig(options, queueSize);
    drive.onMediaChange = () => {
      this.fillCapacity();
      this.configChanged();
    };
    this.retryTimer = ctx.timers.create(() => this.retry());
  }

  private fillConfig(o: VirtioBlkOptions, queueSize: number): void {
    const c = this.config;
    const granularity = o.discardGranularity ?? this.blockSize;
    put32(c, Config.segMax, Math.max(1, queueSize - 2));
    put32(c, Config.blkSize, this.blockSize);
    c[Config.physicalBlockExp] = Math.max(0, Math.round(Math.log2((o.physicalBlockSize ?? this.blockSize) / this.blockSize)));
    put16(c, Config.minIoSize, (o.minIoSize ?? 0) / this.blockSize);
    put32(c, Config.optIoSize, (o.optIoSize ?? 0) / this.blockSize);
    c[Config.writeback] = this.initialWriteback ? 1 : 0;
    put16(c, Config.numQueues, 1);
    put32(c, Config.maxDiscardSectors, MAX_RANGE_SECTORS);
    put32(c, Config.maxDiscardSeg, 1);
    put32(c, Config.discardSectorAlignment, granularity / SECTOR);
    put32(c, Config.maxWriteZeroesSectors, MAX_RANGE_SECTORS);
    put32(c, Config.maxWriteZeroesSeg, 1);
    c[Config.writeZeroesMayUnmap] = 1;
    this.fillCapacity();
    const heads = o.heads ?? 16;
    const secs = o.secs ?? 63;
    const guess = Math.floor(this.capacitySectors / (heads * secs));
    put16(c, Config.cylinders, o.cyls ?? Math.max(2, Math.min(16383, guess)));
    c[Config.heads] = heads;
    c[Config.sectors] = secs;
  }

  private fillCapacity(): void {
    put64(this.config, Config.capacity, this.capacitySectors);
  }

  private get capacitySectors(): number {
    return Math.floor((this.drive.backend?.sizeBytes ?? 0) / SECTOR);
  }

  private get writeback(): boolean {
    return this.config[Config.writeback] !== 0;
  }

  /** The drive's size changed. */
  resized(): void {
    this.drive.onMediaChange();
  }

  // Requests.

  private work(): void {
    this.takeRestored();
    // What was written before a reset must be on the disk before what comes after is read.
    if (this.queue.stale > 0) {
      this.waiting = true;
      return;
    }
    this.drain(this.queue, (chain) => {
      if (this.requests.size >= MAX_IN_FLIGHT) {
        this.queue.unpop(chain);
        this.waiting = true;
        return false;
      }
      return this.begin(chain);
    });
  }

  /** Starts a request. @returns false when it broke the device */
  private begin(chain: Chain): boolean {
    if (chain.readable.total < HEADER_BYTES || chain.writable.total < 1) {
      this.queue.release(chain);
      this.fail("request without header or status");
      return false;
    }
    chain.readable.read(0, this.header);
    const type = (get32(this.header, 0) & ~BLK_BARRIER) >>> 0;
    const isWrite = type !== BlkRequest.in && type !== BlkRequest.getId;
    const request: Request = { chain, isWrite, number: this.nextNumber++ };
    this.requests.add(request);
    this.start(request);
    return true;
  }

  private start(request: Request): void {
    const { chain } = request;
    chain.readable.read(0, this.header);
    const type = (get32(this.header, 0) & ~BLK_BARRIER) >>> 0;
    const offset = (get32(this.header, 8) + get32(this.header, 12) * 2 ** 32) * SECTOR;
    switch (type) {
      case BlkRequest.in: {
        const length = chain.writable.total - 1;
        if (!this.validRange(offset, length)) return this.finish(request, BlkStatus.ioError);
        this.run(request, (backend) => this.readInto(backend, request, offset, length));
        return;
      }
      case BlkRequest.out: {
        const length = chain.readable.total - HEADER_BYTES;
        if (this.readOnly || !this.validRange(offset, length)) return this.finish(request, BlkStatus.ioError);
        this.runWrite(request, (backend) => this.writeFrom(backend, request, offset, length));
        return;
      }
      case BlkRequest.flush: {
        const before = [...this.writing];
        this.run(request, async (backend) => {
          if (before.length > 0) await Promise.all(before);
          await backend.flush();
        });
        return;
      }
      case BlkRequest.getId:
        chain.writable.write(0, this.id.subarray(0, Math.min(ID_BYTES, chain.writable.total - 1)));
        return this.finish(request, BlkStatus.ok);
      case BlkRequest.discard:
      case BlkRequest.writeZeroes:
        return this.startRange(request, type === BlkRequest.writeZeroes);
      default:
        this.ctx.trace.unimp(this.name, () => `request type ${type}`);
        return this.finish(request, BlkStatus.unsupported);
    }
  }

  private startRange(request: Request, zeroes: boolean): void {
    const { readable } = request.chain;
    const offered = (this.hostFeatures >> BigInt(zeroes ? BlkFeature.writeZeroes : BlkFeature.discard)) & 1n;
    if (!offered) return this.finish(request, BlkStatus.unsupported);
    const range = new Uint8Array(RANGE_BYTES);
    if (readable.total !== HEADER_BYTES + RANGE_BYTES) return this.finish(request, BlkStatus.ioError);
    readable.read(HEADER_BYTES, range);
    const offset = (get32(range, 0) + get32(range, 4) * 2 ** 32) * SECTOR;
    const sectors = get32(range, 8);
    const flags = get32(range, 12);
    if (flags & ~RANGE_UNMAP || (!zeroes && flags !== 0)) return this.finish(request, BlkStatus.unsupported);
    if (sectors > MAX_RANGE_SECTORS || !this.validRange(offset, sectors * SECTOR)) return this.finish(request, BlkStatus.ioError);
    this.runWrite(request, (backend) => this.wipe(backend, request, offset, sectors * SECTOR, zeroes));
  }

  /** Whether bytes are whole blocks inside the disk. Sums of 2^64 are doubles here: they do not wrap. */
  private validRange(offset: number, length: number): boolean {
    const inside =
      offset + length <= this.capacitySectors * SECTOR && offset % this.blockSize === 0 && length % this.blockSize === 0;
    if (!inside) this.ctx.trace.guestError(this.name, () => `request of ${length} bytes at ${offset}`);
    return inside;
  }

  private runWrite(request: Request, operation: (backend: BlockBackend) => Promise<void>): void {
    const promise = this.run(request, async (backend) => {
      await operation(backend);
      if (!this.writeback) await backend.flush();
    });
    this.writing.add(promise);
    void promise.then(() => this.writing.delete(promise));
  }

  /** Runs the host's part and completes the request; never rejects. */
  private async run(request: Request, operation: (backend: BlockBackend) => Promise<void>): Promise<void> {
    const { backend } = this.drive;
    if (!backend) return this.finish(request, BlkStatus.ioError);
    this.drive.inFlight++;
    try {
      await operation(backend);
      this.finish(request, BlkStatus.ok);
    } catch (error) {
      this.failed(request, error);
    } finally {
      this.drive.inFlight--;
    }
  }

  private async readInto(backend: BlockBackend, request: Request, offset: number, length: number): Promise<void> {
    const { chain } = request;
    for (let done = 0; done < length && this.queue.isCurrent(chain); done += MOVE_BYTES) {
      const n = Math.min(MOVE_BYTES, length - done);
      const buffer = this.pool.take(n);
      const bytes = buffer.subarray(0, n);
      await backend.read(offset + done, bytes);
      if (this.queue.isCurrent(chain)) chain.writable.write(done, bytes);
      this.pool.give(buffer);
    }
  }

  private async writeFrom(backend: BlockBackend, request: Request, offset: number, length: number): Promise<void> {
    const { chain } = request;
    for (let done = 0; done < length && this.queue.isCurrent(chain); done += MOVE_BYTES) {
      const n = Math.min(MOVE_BYTES, length - done);
      const buffer = this.pool.take(n);
      const bytes = buffer.subarray(0, n);
      chain.readable.read(HEADER_BYTES + done, bytes);
      await backend.write(offset + done, bytes);
      this.pool.give(buffer);
    }
  }

  private async wipe(backend: BlockBackend, request: Request, offset: number, length: number, zeroes: boolean): Promise<void> {
    if (!zeroes) {
      await backend.discard?.(offset, length);
      return;
    }
    if (backend.writeZeroes) {
      await backend.writeZeroes(offset, length);
      return;
    }
    const buffer = this.pool.take(Math.min(length, MOVE_BYTES)).fill(0);
    for (let done = 0; done < length && this.queue.isCurrent(request.chain); done += buffer.length)
      await backend.write(offset + done, buffer.subarray(0, Math.min(buffer.length, length - done)));
    this.pool.give(buffer);
  }

  /** Completes a request towards the driver. */
  private finish(request: Request, status: number): void {
    const { chain } = request;
    const room = chain.writable.total;
    this.requests.delete(request);
    if (this.queue.isCurrent(chain)) {
      chain.writable.write(room - 1, Uint8Array.of(status));
      this.interruptSoon(this.queue);
    }
    this.queue.push(chain, room);
    if (this.waiting && this.queue.stale === 0) {
      this.waiting = false;
      this.kickLater(this.queue.index);
    }
  }

  private failed(request: Request, error: unknown): void {
    const policy: ErrorPolicy = request.isWrite ? this.drive.werror : this.drive.rerror;
    const stop = policy === "stop" || (policy === "enospc" && isNoSpace(error));
    if (!stop || !this.queue.isCurrent(request.chain)) {
      this.finish(request, policy === "ignore" ? BlkStatus.ok : BlkStatus.ioError);
      return;
    }
    this.held.push(request);
    this.retryTimer.arm(this.ctx.clock.nowNs() + RETRY_NS);
    this.drive.onIoError(error, request.isWrite);
  }

  private retry(): void {
    this.takeRestored();
    const again = this.held;
    this.held = [];
    for (const request of again) this.start(request);
  }

  private takeRestored(): void {
    if (this.restored.length === 0) return;
    const heads = this.restored;
    this.restored = [];
    for (const head of heads) {
      const chain = this.queue.takeHead(head);
      if (!chain || !this.begin(chain)) return;
    }
  }

  // Device events.

  protected override onStatus(had: number): void {
    const started = this.status & ~had & 4;
    // A driver that cannot flush gets writes that are on the disk when they complete.
    if (started && !this.has(BlkFeature.configWce)) this.config[Config.writeback] = this.has(BlkFeature.flush) ? 1 : 0;
  }

  protected override onConfigWrite(offset: number, size: number, value: number): void {
    if (offset === Config.writeback && size === 1 && this.has(BlkFeature.configWce)) {
      this.config[Config.writeback] = value & 1;
      return;
    }
    super.onConfigWrite(offset, size, value);
  }

  protected override onReset(): void {
    for (const request of this.held) {
      this.requests.delete(request);
      this.queue.release(request.chain);
    }
    this.held = [];
    this.restored = [];
    this.waiting = false;
    this.retryTimer.disarm();
    this.config[Config.writeback] = this.initialWriteback ? 1 : 0;
  }

  protected override onQueueReset(): void {
    const writeback = this.config[Config.writeback]!;
    this.onReset();
    this.config[Config.writeback] = writeback;
  }

  protected override saveDevice(): DeviceState {
    const heads = [...this.requests]
      .filter((r) => this.queue.isCurrent(r.chain))
      .sort((a, b) => a.number - b.number)
      .map((r) => r.chain.head);
    return { heads: [...this.restored, ...heads], waiting: this.waiting };
  }

  protected override restoreDevice(state: DeviceState): void {
    this.restored = [...(state.heads as number[])];
    this.fillCapacity();
    if (this.restored.length > 0) this.retryTimer.arm(this.ctx.clock.nowNs());
    if (state.waiting) this.kickLater(this.queue.index);
  }

  override dispose(): void {
    super.dispose();
    this.ctx.timers.remove(this.retryTimer);
    this.drive.onMediaChange = () => {};
  }
}

function serialBytes(serial: string): Uint8Array {
  const out = new Uint8Array(ID_BYTES);
  for (let i = 0; i < Math.min(ID_BYTES, serial.length); i++) out[i] = serial.charCodeAt(i);
  return out;
}

/** Whether the host's disk is full, by the errno that a VmError "block/io" carries as its cause. */
function isNoSpace(error: unknown): boolean {
  for (let e = error, depth = 0; e instanceof Error && depth < 4; e = e.cause, depth++)
    if ((e as { code?: unknown }).code === "ENOSPC") return true;
  return false;
}

/** A disk in a PCI slot. */
export function createVirtioBlkPci(ctx: DeviceContext, options: VirtioBlkOptions & VirtioPciOptions): VirtioPci {
  return new VirtioPci(ctx, virtioBlkType.name, new VirtioBlk(ctx, options), { ...options, vectors: options.vectors ?? 2 });
}

const blkProperties: readonly DeviceProperty[] = [
  { name: "drive", type: "drive", default: undefined, description: "id of the drive" },
  { name: "serial", type: "str", default: undefined, description: "what the guest reads as serial number, at most 20 bytes" },
  { name: "bootindex", type: "uint32", default: undefined, description: "place in the firmware's boot order" },
  { name: "logical_block_size", type: "size", default: 512, description: "smallest unit of a request" },
  { name: "physical_block_size", type: "size", default: 512, description: "unit that the disk writes without reading" },
  { name: "min_io_size", type: "size", default: 0, description: "smallest request that is efficient" },
  { name: "opt_io_size", type: "size", default: 0, description: "request size that is best" },
  { name: "discard_granularity", type: "size", default: undefined, description: "unit of discards" },
  { name: "cyls", type: "uint32", default: undefined, description: "cylinders of the geometry" },
  { name: "heads", type: "uint32", default: undefined, description: "heads of the geometry" },
  { name: "secs", type: "uint32", default: undefined, description: "sectors a track of the geometry" },
  { name: "write-cache", type: "on-off-auto", default: "auto", description: "state of the write cache at reset" },
  { name: "config-wce", type: "bool", default: true, description: "the guest may switch the write cache" },
  { name: "discard", type: "bool", default: true, description: "offer discard" },
  { name: "write-zeroes", type: "bool", default: true, description: "offer write-zeroes" },
  { name: "num-queues", type: "uint16", default: 1, description: "request queues; only 1" },
  { name: "queue-size", type: "uint16", default: 256, description: "entries of the queue" },
];

export const virtioBlkType: DeviceType = {
  name: "virtio-blk-pci",
  aliases: ["virtio-blk", "virtio-blk-pci-transitional"],
  bus: "pci",
  category: "storage",
  description: "virtio block device",
  properties: [...blkProperties, ...virtioPciProperties(2)],
};

export const virtioBlkMmioType: DeviceType = {
  name: "virtio-blk-device",
  aliases: [],
  bus: "virtio",
  category: "storage",
  description: "virtio block device on a virtio-mmio bus",
  properties: [...blkProperties, ...virtioCommonProperties],
};
