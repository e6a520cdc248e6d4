/**
 * The device's half of a split virtqueue (virtio 1.2 §2.7), with indirect descriptors (§2.7.5.3) and event index
 * (§2.7.7, §2.7.10), over either layout: three addresses (modern) or one page number (legacy, §2.7.2).
 *
 * Rings must lie in RAM. Every walk is bounded; whatever a driver may not do ends in `owner.fail`, which marks the
 * device broken.
 *
 * Not emulated: packed virtqueues, VIRTIO_F_IN_ORDER, platform address translation, big-endian legacy rings.
 */
import type { AddressSpace } from "../../memory/address-space.js";
import type { DeviceState } from "../core/device.js";
import { Chain, contiguousHost } from "./chain.js";
import {
  AVAIL_NO_INTERRUPT,
  DESC_BYTES,
  DescFlag,
  MAX_CHAIN_DESCRIPTORS,
  MAX_NON_RAM_BYTES,
  MAX_QUEUE_SIZE,
  NO_VECTOR,
  USED_NO_NOTIFY,
} from "./spec.js";

/** What a queue needs of its device. */
export interface QueueOwner {
  readonly memory: AddressSpace;
  /** Changes whenever the memory map does. */
  readonly mapGeneration: number;
  /** Negotiated VIRTIO_F_EVENT_IDX. */
  readonly eventIdx: boolean;
  /** Negotiated VIRTIO_F_NOTIFY_ON_EMPTY. */
  readonly notifyOnEmpty: boolean;
  readonly broken: boolean;
  /** The driver broke a rule that leaves the device without a way on. */
  fail(what: string): void;
}

/** Legacy rings: the used ring begins at the next multiple of this. */
const LEGACY_ALIGN = 4096;
const AVAIL_FLAGS = 0;
const AVAIL_IDX = 2;
const AVAIL_RING = 4;
const USED_FLAGS = 0;
const USED_IDX = 2;
const USED_RING = 4;

/** Whether an index step from `old` to `now` passed the event index (§2.7.7.2). */
export function needEvent(event: number, now: number, old: number): boolean {
  return ((now - event - 1) & 0xffff) < ((now - old) & 0xffff);
}

/** Size of the parts of a ring in bytes. */
export function ringBytes(size: number): { desc: number; avail: number; used: number } {
  return { desc: DESC_BYTES * size, avail: 6 + 2 * size, used: 6 + 8 * size };
}

/** One virtqueue. Transports program it, the device pops and pushes. */
export class VirtQueue {
  /** As programmed; a power of two. */
  size: number;
  vector = NO_VECTOR;
  /** queue_enable, QueueReady, or a legacy page number that is not zero. */
  enabled = false;
  /** Addresses as halves, low then high, as the registers hold them. */
  readonly descAddr: [number, number] = [0, 0];
  readonly availAddr: [number, number] = [0, 0];
  readonly usedAddr: [number, number] = [0, 0];
  /** Legacy page number as written. */
  pfn = 0;
  /** Chains that the device holds. */
  inUse = 0;
  /** Chains of before a reset that are still under way inside the device; it does not touch their memory any more. */
  stale = 0;

  private lastAvail = 0;
  private usedIdx = 0;
  private signalled = 0;
  private signalledValid = false;
  private notifying = true;
  private generation = 0;
  private seenMap = -1;
  /** Host offsets of the rings, valid for `seenMap`. */
  private desc = -1;
  private avail = -1;
  private used = -1;
  private readonly pool: Chain[] = [];
  private scratch: Chain | undefined;

  constructor(
    private readonly owner: QueueOwner,
    readonly index: number,
    readonly maxSize: number,
  ) {
    this.size = maxSize;
  }

  /** Back to what it is after device reset or queue reset; chains under way become stale. */
  reset(): void {
    this.size = this.maxSize;
    this.vector = NO_VECTOR;
    this.enabled = false;
    this.pfn = 0;
    for (const a of [this.descAddr, this.availAddr, this.usedAddr]) a[0] = a[1] = 0;
    this.stale += this.inUse;
    this.inUse = 0;
    this.generation++;
    this.lastAvail = this.usedIdx = this.signalled = 0;
    this.signalledValid = false;
    this.notifying = true;
    this.seenMap = -1;
  }

  /** Programs a size. @returns false (and nothing changes) when it is none: zero, no power of two, above the maximum */
  setSize(size: number): boolean {
    if (size === 0 || size > this.maxSize || size > MAX_QUEUE_SIZE || (size & (size - 1)) !== 0) return false;
    this.size = size;
    this.seenMap = -1;
    return true;
  }

  /** Programs all three parts from a legacy page number; zero disables. */
  setLegacyPage(pfn: number): void {
    const bytes = ringBytes(this.size);
    const desc = pfn * 4096;
    const avail = desc + bytes.desc;
    const used = Math.ceil((avail + bytes.avail) / LEGACY_ALIGN) * LEGACY_ALIGN;
    this.pfn = pfn;
    setAddress(this.descAddr, desc);
    setAddress(this.availAddr, avail);
    setAddress(this.usedAddr, used);
    this.enabled = pfn !== 0;
    this.seenMap = -1;
  }

  /** To be called after an address was changed. */
  addressChanged(): void {
    this.seenMap = -1;
  }

  /** Whether it may be looked at at all: enabled, and given an address. */
  get usable(): boolean {
    return this.enabled && !this.owner.broken && (this.descAddr[0] !== 0 || this.descAddr[1] !== 0);
  }

  /** Finds the rings in host memory. */
  private resolve(): boolean {
    if (!this.usable) return false;
    if (this.seenMap === this.owner.mapGeneration) return true;
    const memory = this.owner.memory;
    const bytes = ringBytes(this.size);
    const desc = address(this.descAddr);
    const avail = address(this.availAddr);
    const used = address(this.usedAddr);
    if (desc % 16 !== 0 || avail % 2 !== 0 || used % 4 !== 0) {
      this.owner.fail(`queue ${this.index}: ring not aligned`);
      return false;
    }
    this.desc = contiguousHost(memory, desc, bytes.desc);
    this.avail = contiguousHost(memory, avail, bytes.avail);
    this.used = contiguousHost(memory, used, bytes.used);
    if (this.desc < 0 || this.avail < 0 || this.used < 0) {
      this.owner.fail(`queue ${this.index}: ring is not in RAM`);
      return false;
    }
    this.seenMap = this.owner.mapGeneration;
    return true;
  }

  // The driver may run on another thread: indices are read and written in order with what they guard.
  private availIdx(): number {
    return Atomics.load(this.owner.memory.ram.u16, (this.avail + AVAIL_IDX) >>> 1);
  }

  /** How many chains the driver has made available, or 0 after `fail` when it claims more than the queue holds. */
  private available(): number {
    if (!this.resolve()) return 0;
    const n = (this.availIdx() - this.lastAvail) & 0xffff;
    if (n > this.size) {
      this.owner.fail(`queue ${this.index}: available index jumped by ${n}`);
      return 0;
    }
    return n;
  }

  get empty(): boolean {
    return this.available() === 0;
  }

  /** Takes the next chain; undefined when there is none or the device is broken. */
  pop(): Chain | undefined {
    if (this.available() === 0) return undefined;
    if (this.inUse >= this.size) {
      this.owner.fail(`queue ${this.index}: more chains than the queue's size`);
      return undefined;
    }
    const head = this.headAt(this.lastAvail);
    if (head < 0) return undefined;
    const chain = this.take(head);
    if (!chain) return undefined;
    this.lastAvail = (this.lastAvail + 1) & 0xffff;
    if (this.owner.eventIdx && this.notifying) this.writeAvailEvent(this.lastAvail);
    return chain;
  }

  /** Whether the driver still waits for a chain: not so after a reset. Stale chains must not be read or written. */
  isCurrent(chain: Chain): boolean {
    return chain.generation === this.generation;
  }

  /** Gives the chain that was popped last back to the driver, unused. */
  unpop(chain: Chain): void {
    if (chain.generation !== this.generation) {
      this.release(chain);
      return;
    }
    this.lastAvail = (this.lastAvail - 1) & 0xffff;
    this.release(chain);
  }

  /** Takes a chain by its head without the available ring: one that a snapshot says the device held. */
  takeHead(head: number): Chain | undefined {
    if (!this.resolve() || this.inUse >= this.size) return undefined;
    if (!(head >= 0 && head < this.size)) {
      this.owner.fail(`queue ${this.index}: head ${head}`);
      return undefined;
    }
    return this.take(head);
  }

  private take(head: number): Chain | undefined {
    const chain = this.pool.pop() ?? new Chain(this.owner.memory);
    chain.generation = this.generation;
    const error = this.walk(head, chain);
    if (error) {
      this.pool.push(chain);
      this.owner.fail(`queue ${this.index}: ${error}`);
      return undefined;
    }
    this.inUse++;
    return chain;
  }

  private headAt(index: number): number {
    const { view } = this.owner.memory.ram;
    const head = view.getUint16(this.avail + AVAIL_RING + 2 * (index & (this.size - 1)), true);
    if (head < this.size) return head;
    this.owner.fail(`queue ${this.index}: head ${head}`);
    return -1;
  }

  /** Adds up the bytes that the driver has made available for the device to write, up to `limit`, taking nothing. */
  writableBytes(limit: number): number {
    let sum = 0;
    const n = this.available();
    this.scratch ??= new Chain(this.owner.memory);
    for (let i = 0; i < n && sum < limit; i++) {
      const head = this.headAt((this.lastAvail + i) & 0xffff);
      if (head < 0) return 0;
      const error = this.walk(head, this.scratch);
      if (error) {
        this.owner.fail(`queue ${this.index}: ${error}`);
        return 0;
      }
      sum += this.scratch.writable.total;
    }
    return Math.min(sum, limit);
  }

  /** Fills a chain from the descriptors. @returns what is wrong with them, or "" */
  private walk(head: number, chain: Chain): string {
    const memory = this.owner.memory;
    const { view } = memory.ram;
    chain.clear();
    chain.head = head;
    let table = this.desc;
    let count = this.size;
    let indirect = false;
    let i = head;
    // A table of n entries cannot chain more than n; the other limit holds for both tables together.
    let total = 0;
    for (let steps = 0; ; ) {
      if (++steps > count) return "descriptors form a loop";
      if (++total > MAX_CHAIN_DESCRIPTORS) return "chain too long";
      const d = table + DESC_BYTES * i;
      const addr = view.getUint32(d, true) + view.getUint32(d + 4, true) * 2 ** 32;
      const length = view.getUint32(d + 8, true);
      const flags = view.getUint16(d + 12, true);
      const next = view.getUint16(d + 14, true);
      if (flags & DescFlag.indirect) {
        if (indirect) return "indirect table inside an indirect table";
        if (length === 0 || length % DESC_BYTES !== 0) return `indirect table of ${length} bytes`;
        table = contiguousHost(memory, addr, length);
        if (table < 0) return "indirect table is not in RAM";
        count = length / DESC_BYTES;
        indirect = true;
        i = 0;
        steps = 0;
        continue;
      }
      if (length === 0) return "descriptor of no bytes";
      if (flags & DescFlag.write) chain.writable.add(addr, length);
      else if (chain.writable.count > 0) return "readable descriptor behind a writable one";
      else chain.readable.add(addr, length);
      if (chain.readable.nonRam + chain.writable.nonRam > MAX_NON_RAM_BYTES) return "buffer is not in RAM";
      if (!(flags & DescFlag.next)) return "";
      if (next >= count) return `next descriptor ${next} of ${count}`;
      i = next;
    }
  }

  /** Takes a chain out of use without telling the driver: the driver's memory is no longer touched. */
  release(chain: Chain): void {
    if (chain.generation === this.generation) this.inUse--;
    else this.stale--;
    this.pool.push(chain);
  }

  /** Gives a chain back through the used ring. @param written bytes written into its writable part */
  push(chain: Chain, written: number): void {
    const current = chain.generation === this.generation;
    const head = chain.head;
    this.release(chain);
    if (!current || !this.resolve()) return;
    const { memory } = this.owner;
    const { ram } = memory;
    const at = this.used + USED_RING + 8 * (this.usedIdx & (this.size - 1));
    ram.view.setUint32(at, head, true);
    ram.view.setUint32(at + 4, written >>> 0, true);
    memory.onRamWrite(at, 8);
    this.usedIdx = (this.usedIdx + 1) & 0xffff;
    Atomics.store(ram.u16, (this.used + USED_IDX) >>> 1, this.usedIdx);
    memory.onRamWrite(this.used + USED_IDX, 2);
    // After so many uses without an interrupt the remembered index says nothing any more.
    const since = (this.usedIdx - this.signalled) & 0xffff;
    if (since === 0 || since >= 0x8000) this.signalledValid = false;
  }

  /** Whether the driver wants an interrupt for what was pushed since the last one. */
  shouldInterrupt(): boolean {
    if (!this.resolve()) return false;
    if (this.owner.notifyOnEmpty && this.inUse === 0 && this.empty) return true;
    const { ram } = this.owner.memory;
    if (!this.owner.eventIdx) return (Atomics.load(ram.u16, (this.avail + AVAIL_FLAGS) >>> 1) & AVAIL_NO_INTERRUPT) === 0;
    const old = this.signalled;
    const valid = this.signalledValid;
    this.signalled = this.usedIdx;
    this.signalledValid = true;
    const event = Atomics.load(ram.u16, (this.avail + AVAIL_RING + 2 * this.size) >>> 1);
    return !valid || needEvent(event, this.usedIdx, old);
  }

  /** Asks the driver for notifications, or spares them. After switching on, look at `empty` once more. */
  setNotification(on: boolean): void {
    if (on === this.notifying && !(on && this.owner.eventIdx)) return;
    this.notifying = on;
    if (!this.resolve()) return;
    const { memory } = this.owner;
    const { ram } = memory;
    if (this.owner.eventIdx) {
      if (on) this.writeAvailEvent(this.availIdx());
      return;
    }
    Atomics.store(ram.u16, (this.used + USED_FLAGS) >>> 1, on ? 0 : USED_NO_NOTIFY);
    memory.onRamWrite(this.used + USED_FLAGS, 2);
  }

  private writeAvailEvent(index: number): void {
    const { memory } = this.owner;
    const { ram } = memory;
    const at = this.used + USED_RING + 8 * this.size;
    Atomics.store(ram.u16, at >>> 1, index);
    memory.onRamWrite(at, 2);
  }

  save(): DeviceState {
    return {
      size: this.size,
      vector: this.vector,
      enabled: this.enabled,
      pfn: this.pfn,
      desc: [...this.descAddr],
      avail: [...this.availAddr],
      used: [...this.usedAddr],
      lastAvail: this.lastAvail,
      usedIdx: this.usedIdx,
      signalled: this.signalled,
      signalledValid: this.signalledValid,
      notifying: this.notifying,
    };
  }

  /** The counterpart of `save`. Chains the device held are taken again by `takeHead`. */
  restore(state: DeviceState): void {
    this.reset();
    this.setSize(state.size as number);
    this.vector = state.vector as number;
    this.enabled = state.enabled as boolean;
    this.pfn = state.pfn as number;
    for (const [to, from] of [
      [this.descAddr, state.desc],
      [this.availAddr, state.avail],
      [this.usedAddr, state.used],
    ] as const) {
      const halves = from as number[];
      to[0] = halves[0]! >>> 0;
      to[1] = halves[1]! >>> 0;
    }
    this.lastAvail = state.lastAvail as number;
    this.usedIdx = state.usedIdx as number;
    this.signalled = state.signalled as number;
    this.signalledValid = state.signalledValid as boolean;
    this.notifying = state.notifying as boolean;
    this.seenMap = -1;
  }
}

function address(halves: readonly [number, number]): number {
  return halves[0] + halves[1] * 2 ** 32;
}

function setAddress(halves: [number, number], value: number): void {
  halves[0] = value % 2 ** 32;
  halves[1] = Math.floor(value / 2 ** 32);
}
