/**
 * virtio SCSI host device (virtio 1.2 §5.6): a bus of logical units behind one control queue, one event queue and one
 * request queue. Data moves through pooled buffers, as in the block device; a request that fails under `stop` is kept,
 * saved in snapshots, and tried again when virtual time goes on.
 * A task management function ends when the requests it is about have ended.
 * Not emulated: hot-plug of units, protection information, more than one request queue, asynchronous notification.
 */
import type { BlockBackend, ErrorPolicy } from "../../block/backend.js";
import { errorAction, isNoSpace } from "../../block/requests.js";
import type { Timer } from "../core/clock.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { DeviceProperty, DeviceType } from "../core/device-type.js";
import { type Sense, senseData } from "../ide/mmc.js";
import { IO_ERROR, NO_SPACE, type ScsiPlan, ScsiStatus, type ScsiUnit } from "../scsi/target.js";
import { BufferPool } from "./buffers.js";
import type { Chain } from "./chain.js";
import { get32, put16, put32, VirtioDevice } from "./device.js";
import { virtioPciProperties } from "./pci.js";
import type { VirtQueue } from "./queue.js";
import { featureBits, VirtioId } from "./spec.js";

export const ScsiFeature = { inout: 0, hotplug: 1, change: 2 } as const;
/** §5.6.6.1 */
export const ScsiResponse = {
  ok: 0,
  overrun: 1,
  aborted: 2,
  badTarget: 3,
  reset: 4,
  busy: 5,
  failure: 9,
  succeeded: 10,
  rejected: 11,
  incorrectLun: 12,
} as const;
/** §5.6.6.2 */
const ControlType = { tmf: 0, anQuery: 1, anSubscribe: 2 } as const;
const Tmf = {
  abortTask: 0,
  abortTaskSet: 1,
  clearAca: 2,
  clearTaskSet: 3,
  nexusReset: 4,
  unitReset: 5,
  queryTask: 6,
  queryTaskSet: 7,
} as const;
const EVENT_PARAM_CHANGE = 3;
const EVENT_MISSED = 0x80000000;
const Config = {
  numQueues: 0,
  segMax: 4,
  maxSectors: 8,
  cmdPerLun: 12,
  eventInfoSize: 16,
  senseSize: 20,
  cdbSize: 24,
  maxChannel: 28,
  maxTarget: 30,
  maxLun: 32,
  bytes: 36,
} as const;

const DEFAULT_SENSE = 96;
const DEFAULT_CDB = 32;
const MAX_SENSE = 252;
const MAX_CDB = 255;
/** Up to the command itself: address, tag, attribute, priority, reference number. */
const REQUEST_HEAD = 19;
/** Up to the sense data: its length, residual, qualifier, status, response. */
const RESPONSE_HEAD = 12;
const MAX_TARGETS = 256;
const MAX_IN_FLIGHT = 64;
const MOVE_BYTES = 512 * 1024;
const RETRY_NS = 10_000_000;
const REQUEST_QUEUE = 2;
/** The unit that lists units, at every target. */
const REPORT_LUNS_WLUN = 0xc1;

export interface VirtioScsiOptions {
  queueSize?: number | undefined;
  cmdPerLun?: number | undefined;
  maxSectors?: number | undefined;
  indirectDesc?: boolean | undefined;
  eventIdx?: boolean | undefined;
}

interface Request {
  readonly chain: Chain;
  readonly number: number;
  readonly tag: bigint;
  readonly unit: ScsiUnit;
  readonly dataAt: number;
  plan: ScsiPlan;
}

/** The device; a transport carries it. */
export class VirtioScsi extends VirtioDevice {
  override readonly virtioId = VirtioId.scsi;
  readonly units: ScsiUnit[] = [];
  private readonly control: VirtQueue;
  private readonly events: VirtQueue;
  private readonly queue: VirtQueue;
  private readonly pool = new BufferPool(MOVE_BYTES);
  private readonly requests = new Set<Request>();
  private readonly writing = new Set<Promise<void>>();
  private held: Request[] = [];
  private restored: number[] = [];
  private waiting = false;
  private missed = false;
  private nextNumber = 0;
  /** Task management functions that wait for requests. */
  private tmfs: { readonly chain: Chain; readonly left: Set<Request> }[] = [];
  private readonly retryTimer: Timer;

  constructor(ctx: DeviceContext, options: VirtioScsiOptions) {
    super(ctx, "virtio-scsi", featureBits(ScsiFeature.inout, ScsiFeature.change), new Uint8Array(Config.bytes), options);
    const size = options.queueSize ?? 256;
    this.control = this.addQueue(size, () => this.workControl());
    this.events = this.addQueue(size, () => this.tellMissed());
    this.queue = this.addQueue(size, () => this.work());
    const c = this.config;
    put32(c, Config.numQueues, 1);
    put32(c, Config.segMax, size - 2);
    put32(c, Config.maxSectors, options.maxSectors ?? 0xffff);
    put32(c, Config.cmdPerLun, options.cmdPerLun ?? 128);
    put32(c, Config.eventInfoSize, 16);
    put16(c, Config.maxChannel, 0);
    put16(c, Config.maxTarget, MAX_TARGETS - 1);
    put32(c, Config.maxLun, 16383);
    this.resetSizes();
    this.retryTimer = ctx.timers.create(() => this.retry());
  }

  private resetSizes(): void {
    put32(this.config, Config.senseSize, DEFAULT_SENSE);
    put32(this.config, Config.cdbSize, DEFAULT_CDB);
  }

  private get senseSize(): number {
    return get32(this.config, Config.senseSize);
  }

  private get cdbSize(): number {
    return get32(this.config, Config.cdbSize);
  }

  /** Puts a unit on the bus. */
  addUnit(unit: ScsiUnit): void {
    this.units.push(unit);
    unit.onChange = (sense) => this.changed(unit, sense);
  }

  /** The target of an address of 8 bytes; the units of another channel are none. */
  private find(address: Uint8Array): { target: number; lun: number; unit: ScsiUnit | undefined } {
    const target = address[0] === 1 ? address[1]! : -1;
    const lun = ((address[2]! << 8) | address[3]!) & 0x3fff;
    return { target, lun, unit: this.units.find((u) => u.target === target && u.lun === lun) };
  }

  private work(): void {
    this.takeRestored();
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

  /** Starts a command. @returns false when it broke the device */
  private begin(chain: Chain): boolean {
    const headBytes = REQUEST_HEAD + this.cdbSize;
    if (chain.readable.total < headBytes || chain.writable.total < RESPONSE_HEAD + this.senseSize) {
      this.queue.release(chain);
      this.fail("request shorter than its header, or without room for the response");
      return false;
    }
    const head = new Uint8Array(headBytes);
    chain.readable.read(0, head);
    const cdb = new Uint8Array(Math.max(16, this.cdbSize));
    cdb.set(head.subarray(REQUEST_HEAD));
    const { target, unit } = this.find(head);
    const present = this.units.filter((u) => u.target === target);
    if (!unit || (cdb[0] === 0xa0 && present.length > 0) || head[0] === REPORT_LUNS_WLUN) {
      this.absent(chain, head, cdb, present);
      return true;
    }
    const tag = new DataView(head.buffer).getBigUint64(8, true);
    const request: Request = { chain, number: this.nextNumber++, tag, unit, dataAt: headBytes, plan: unit.command(cdb) };
    this.requests.add(request);
    this.start(request);
    return true;
  }

  /** A command for the target as such, or for nobody. */
  private absent(chain: Chain, head: Uint8Array, cdb: Uint8Array, present: readonly ScsiUnit[]): void {
    const wlun = head[0] === REPORT_LUNS_WLUN || (head[0] === 1 && head[2] === REPORT_LUNS_WLUN);
    if (cdb[0] === 0xa0 && (present.length > 0 || wlun)) {
      const luns = present.map((u) => u.lun).sort((a, b) => a - b);
      const data = new Uint8Array(8 + 8 * luns.length);
      new DataView(data.buffer).setUint32(0, 8 * luns.length);
      for (const [i, lun] of luns.entries()) data.set([lun < 256 ? 0 : 0x40 | (lun >> 8), lun & 255], 8 + 8 * i);
      const room = new DataView(cdb.buffer).getUint32(6);
      return this.answerIn(chain, data.subarray(0, room));
    }
    if (present.length > 0 && cdb[0] === 0x12) {
      // A target answers INQUIRY for a unit that it has not: no such device can be there.
      const data = new Uint8Array(36);
      data.set([0x7f, 0, 5, 2, 31]);
      return this.answerIn(chain, data.subarray(0, (cdb[3]! << 8) | cdb[4]!));
    }
    this.complete(chain, { response: present.length > 0 ? ScsiResponse.incorrectLun : ScsiResponse.badTarget });
  }

  private answerIn(chain: Chain, data: Uint8Array): void {
    const at = RESPONSE_HEAD + this.senseSize;
    const room = chain.writable.total - at;
    chain.writable.write(at, data.subarray(0, room));
    this.complete(chain, { residual: Math.max(0, room - data.length), written: Math.min(room, data.length) });
  }

  private start(request: Request): void {
    const { chain, unit } = request;
    const outRoom = chain.readable.total - request.dataAt;
    const inRoom = chain.writable.total - RESPONSE_HEAD - this.senseSize;
    for (;;) {
      const { plan } = request;
      switch (plan.kind) {
        case "done":
          return this.finish(request, { residual: Math.max(outRoom, inRoom) });
        case "sense":
          return this.finish(request, { sense: plan.sense, residual: Math.max(outRoom, inRoom) });
        case "in":
          this.requests.delete(request);
          this.answerIn(chain, plan.data);
          return this.ended(request);
        case "list": {
          const list = new Uint8Array(Math.min(plan.size, outRoom));
          chain.readable.read(request.dataAt, list);
          request.plan = plan.next(list);
          continue;
        }
        case "read":
          if (plan.size > inRoom) return this.finish(request, { response: ScsiResponse.overrun });
          void this.run(request, false, (b) => this.readInto(b, request, plan.offset, plan.size), inRoom - plan.size, plan.size);
          return;
        case "write":
          if (plan.size > outRoom) return this.finish(request, { response: ScsiResponse.overrun });
          this.runWrite(
            request,
            plan.fua || unit.writethrough,
            (b) => this.writeFrom(b, request, plan.offset, plan.size),
            outRoom - plan.size,
          );
          return;
        case "flush": {
          const before = [...this.writing];
          void this.run(request, true, async (b) => {
            await Promise.all(before);
            await b.flush();
          });
          return;
        }
        case "discard":
          this.runWrite(request, unit.writethrough, async (b) => {
            for (const r of plan.ranges) await b.discard?.(r.offset, r.size);
          });
          return;
        default:
          this.runWrite(request, unit.writethrough, (b) => this.fill(b, request, plan.offset, plan.size, plan.pattern));
          return;
      }
    }
  }

  private runWrite(request: Request, through: boolean, operation: (b: BlockBackend) => Promise<void>, residual = 0): void {
    const promise = this.run(
      request,
      true,
      async (b) => {
        await operation(b);
        if (through) await b.flush();
      },
      residual,
    );
    this.writing.add(promise);
    void promise.then(() => this.writing.delete(promise));
  }

  private async run(
    request: Request,
    isWrite: boolean,
    operation: (b: BlockBackend) => Promise<void>,
    residual = 0,
    written = 0,
  ): Promise<void> {
    const { drive } = request.unit;
    const { backend } = drive;
    if (!backend) return this.finish(request, { sense: IO_ERROR });
    drive.inFlight++;
    try {
      await operation(backend);
      this.finish(request, { residual, written });
    } catch (error) {
      this.failed(request, isWrite, error);
    } finally {
      drive.inFlight--;
    }
  }

  private failed(request: Request, isWrite: boolean, error: unknown): void {
    const { drive } = request.unit;
    const policy: ErrorPolicy = isWrite ? drive.werror : drive.rerror;
    const action = errorAction(policy, error);
    if (action === "stop" && this.queue.isCurrent(request.chain)) {
      this.held.push(request);
      this.retryTimer.arm(this.ctx.clock.nowNs() + RETRY_NS);
      drive.onIoError(error, isWrite);
      return;
    }
    this.finish(request, action === "ignore" ? {} : { sense: isNoSpace(error) ? NO_SPACE : IO_ERROR });
  }

  private async readInto(backend: BlockBackend, { chain }: Request, offset: number, size: number): Promise<void> {
    const at = RESPONSE_HEAD + this.senseSize;
    for (let done = 0; done < size && this.queue.isCurrent(chain); done += MOVE_BYTES) {
      const n = Math.min(MOVE_BYTES, size - done);
      const buffer = this.pool.take(n);
      const bytes = buffer.subarray(0, n);
      await backend.read(offset + done, bytes);
      if (this.queue.isCurrent(chain)) chain.writable.write(at + done, bytes);
      this.pool.give(buffer);
    }
  }

  private async writeFrom(backend: BlockBackend, { chain, dataAt }: Request, offset: number, size: number): Promise<void> {
    for (let done = 0; done < size && this.queue.isCurrent(chain); done += MOVE_BYTES) {
      const n = Math.min(MOVE_BYTES, size - done);
      const buffer = this.pool.take(n);
      const bytes = buffer.subarray(0, n);
      chain.readable.read(dataAt + done, bytes);
      await backend.write(offset + done, bytes);
      this.pool.give(buffer);
    }
  }

  private async fill(
    backend: BlockBackend,
    { chain }: Request,
    offset: number,
    size: number,
    pattern: Uint8Array,
  ): Promise<void> {
    if (backend.writeZeroes && pattern.every((b) => b === 0)) return backend.writeZeroes(offset, size);
    const buffer = new Uint8Array(Math.min(size, MOVE_BYTES - (MOVE_BYTES % pattern.length)));
    for (let at = 0; at < buffer.length; at += pattern.length) buffer.set(pattern.subarray(0, buffer.length - at), at);
    for (let done = 0; done < size && this.queue.isCurrent(chain); done += buffer.length)
      await backend.write(offset + done, buffer.subarray(0, Math.min(buffer.length, size - done)));
  }

  private finish(request: Request, outcome: Outcome): void {
    this.requests.delete(request);
    this.complete(request.chain, outcome);
    this.ended(request);
  }

  /** Fills in the response and gives the chain back. */
  private complete(chain: Chain, { response = ScsiResponse.ok, sense, residual = 0, written = 0 }: Outcome): void {
    if (this.queue.isCurrent(chain)) {
      const head = new Uint8Array(RESPONSE_HEAD + this.senseSize);
      if (sense) {
        const data = senseData(sense).subarray(0, this.senseSize);
        put32(head, 0, data.length);
        head.set(data, RESPONSE_HEAD);
      }
      put32(head, 4, Math.min(0xffffffff, residual));
      head[10] = sense ? ScsiStatus.checkCondition : ScsiStatus.good;
      head[11] = response;
      chain.writable.write(0, head);
      this.interruptSoon(this.queue);
    }
    this.queue.push(chain, RESPONSE_HEAD + this.senseSize + written);
    if (this.waiting && this.queue.stale === 0) {
      this.waiting = false;
      this.kickLater(REQUEST_QUEUE);
    }
  }

  private ended(request: Request): void {
    for (const t of this.tmfs) t.left.delete(request);
    const over = this.tmfs.filter((t) => t.left.size === 0);
    if (over.length === 0) return;
    this.tmfs = this.tmfs.filter((t) => t.left.size > 0);
    for (const t of over) this.endControl(t.chain, Uint8Array.of(ScsiResponse.ok));
  }

  private retry(): void {
    this.takeRestored();
    const again = this.held;
    this.held = [];
    for (const request of again) this.start(request);
  }

  private takeRestored(): void {
    const heads = this.restored;
    this.restored = [];
    for (const head of heads) {
      const chain = this.queue.takeHead(head);
      if (!chain || !this.begin(chain)) return;
    }
  }

  // Task management.

  private workControl(): void {
    this.drain(this.control, (chain) => {
      const head = new Uint8Array(24);
      const n = chain.readable.read(0, head);
      const type = get32(head, 0);
      if (n < 4 || chain.writable.total < 1) {
        this.control.release(chain);
        this.fail("control request without type or response");
        return false;
      }
      if (type === ControlType.tmf && n >= 24) this.taskManagement(chain, head);
      else if ((type === ControlType.anQuery || type === ControlType.anSubscribe) && n >= 16 && chain.writable.total >= 5)
        // No asynchronous notification is there to subscribe to.
        this.endControl(chain, Uint8Array.of(0, 0, 0, 0, ScsiResponse.ok));
      else this.endControl(chain, Uint8Array.of(ScsiResponse.rejected));
      return true;
    });
  }

  private taskManagement(chain: Chain, head: Uint8Array): void {
    const subtype = get32(head, 4);
    const { target, unit } = this.find(head.subarray(8, 16));
    const tag = new DataView(head.buffer).getBigUint64(16, true);
    const end = (response: number) => this.endControl(chain, Uint8Array.of(response));
    const units = subtype === Tmf.nexusReset ? this.units.filter((u) => u.target === target) : unit ? [unit] : [];
    if (units.length === 0)
      return end(this.units.some((u) => u.target === target) ? ScsiResponse.incorrectLun : ScsiResponse.badTarget);
    const about = [...this.requests].filter((r) => units.includes(r.unit));
    const one = about.filter((r) => r.tag === tag);
    switch (subtype) {
      case Tmf.queryTask:
        return end(one.length > 0 ? ScsiResponse.succeeded : ScsiResponse.ok);
      case Tmf.queryTaskSet:
        return end(about.length > 0 ? ScsiResponse.succeeded : ScsiResponse.ok);
      case Tmf.abortTask:
        return this.endRequests(chain, one, ScsiResponse.aborted);
      case Tmf.abortTaskSet:
      case Tmf.clearTaskSet:
        return this.endRequests(chain, about, ScsiResponse.aborted);
      case Tmf.nexusReset:
      case Tmf.unitReset:
        for (const u of units) u.reset();
        return this.endRequests(chain, about, ScsiResponse.reset);
      default:
        return end(ScsiResponse.rejected);
    }
  }

  /** Held requests end at once; those that the host works on end by themselves. */
  private endRequests(chain: Chain, about: readonly Request[], response: number): void {
    for (const r of about)
      if (this.held.includes(r)) {
        this.held.splice(this.held.indexOf(r), 1);
        this.finish(r, { response });
      }
    const left = new Set(about.filter((r) => this.requests.has(r)));
    if (left.size === 0) this.endControl(chain, Uint8Array.of(ScsiResponse.ok));
    else this.tmfs.push({ chain, left });
  }

  private endControl(chain: Chain, answer: Uint8Array): void {
    if (this.control.isCurrent(chain)) {
      chain.writable.write(0, answer);
      this.interruptSoon(this.control);
    }
    this.control.push(chain, answer.length);
  }

  // Events.

  private changed(unit: ScsiUnit, sense: Sense): void {
    if (!this.driverOk || !this.has(ScsiFeature.change)) return;
    this.event(EVENT_PARAM_CHANGE, unit, sense[1] | (sense[2] << 8));
  }

  private event(type: number, unit: ScsiUnit | undefined, reason: number): void {
    const chain = this.events.usable ? this.events.pop() : undefined;
    if (!chain) {
      this.missed = true;
      return;
    }
    const data = new Uint8Array(16);
    put32(data, 0, (this.missed ? type | EVENT_MISSED : type) >>> 0);
    this.missed = false;
    if (unit) data.set([1, unit.target, unit.lun < 256 ? 0 : 0x40 | (unit.lun >> 8), unit.lun & 255], 4);
    put32(data, 12, reason);
    chain.writable.write(0, data);
    this.events.push(chain, Math.min(16, chain.writable.total));
    this.interruptSoon(this.events);
  }

  private tellMissed(): void {
    if (this.missed) this.event(0, undefined, 0);
  }

  protected override onConfigWrite(offset: number, size: number, value: number): void {
    if (size === 4 && offset === Config.senseSize && value <= MAX_SENSE) put32(this.config, offset, value);
    else if (size === 4 && offset === Config.cdbSize && value <= MAX_CDB) put32(this.config, offset, value);
    else super.onConfigWrite(offset, size, value);
  }

  protected override onReset(): void {
    this.dropRequests();
    this.resetSizes();
    for (const u of this.units) u.reset();
    this.missed = false;
  }

  private dropRequests(): void {
    for (const request of this.held) {
      this.requests.delete(request);
      this.queue.release(request.chain);
    }
    for (const t of this.tmfs) this.control.release(t.chain);
    this.tmfs = [];
    this.held = [];
    this.restored = [];
    this.waiting = false;
    this.retryTimer.disarm();
  }

  protected override onQueueReset(): void {
    this.dropRequests();
  }

  protected override saveDevice(): DeviceState {
    const heads = [...this.requests]
      .filter((r) => this.queue.isCurrent(r.chain))
      .sort((a, b) => a.number - b.number)
      .map((r) => r.chain.head);
    return {
      heads: [...this.restored, ...heads],
      waiting: this.waiting,
      missed: this.missed,
      units: this.units.map((u) => u.save()) as DeviceState[],
    };
  }

  protected override restoreDevice(state: DeviceState): void {
    this.restored = [...(state.heads as number[])];
    this.missed = state.missed === true;
    const units = state.units as { [name: string]: unknown }[];
    for (const [i, u] of this.units.entries()) if (units[i]) u.restore(units[i]);
    if (this.restored.length > 0) this.retryTimer.arm(this.ctx.clock.nowNs());
    if (state.waiting) this.kickLater(REQUEST_QUEUE);
  }

  override dispose(): void {
    super.dispose();
    this.ctx.timers.remove(this.retryTimer);
    for (const u of this.units) u.drive.onMediaChange = () => {};
  }
}

interface Outcome {
  readonly response?: number | undefined;
  readonly sense?: Sense | undefined;
  /** Bytes of room that were not used. */
  readonly residual?: number | undefined;
  readonly written?: number | undefined;
}

const properties: readonly DeviceProperty[] = [
  { name: "num_queues", type: "uint32", default: 1, description: "request queues; only 1" },
  { name: "virtqueue_size", type: "uint32", default: 256, description: "entries of a queue" },
  { name: "max_sectors", type: "uint32", default: 0xffff, description: "sectors of the largest request" },
  { name: "cmd_per_lun", type: "uint32", default: 128, description: "commands that a unit takes at a time" },
];

export const virtioScsiType: DeviceType = {
  name: "virtio-scsi-pci",
  aliases: ["virtio-scsi", "virtio-scsi-pci-transitional"],
  bus: "pci",
  category: "storage",
  description: "virtio SCSI host adapter",
  properties: [...properties, ...virtioPciProperties(3)],
};
