/**
 * What all virtio devices have in common (virtio 1.2 §2): status, feature negotiation, queues, configuration space,
 * interrupts. A transport (PCI, MMIO) sits between it and the guest.
 *
 * A kick takes at most one queue's worth of chains; the rest waits for a timer that is due at once, so that a driver on
 * another thread that never stops adding chains cannot hold the loop.
 *
 * Not emulated: packed queues, IOMMU platform addresses, in-order use, shared memory regions, big-endian legacy guests.
 */
import type { Disposable } from "../../base/event.js";
import type { AddressSpace } from "../../memory/address-space.js";
import type { Timer } from "../core/clock.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { Chain } from "./chain.js";
import { type QueueOwner, VirtQueue } from "./queue.js";
import { featureBits, IsrBit, VirtioFeature, VirtioStatus } from "./spec.js";

/** The transport as its device sees it. */
export interface VirtioTransport {
  /** The used ring of a queue was changed and the driver wants to know. ISR bit is set already. */
  queueInterrupt(queue: VirtQueue): void;
  /** The configuration space or the status changed. ISR bits are set already. */
  configInterrupt(): void;
  /** Whether the guest lets the device do DMA. */
  readonly dmaAllowed: boolean;
}

/** Features that each device can switch off by property. */
export interface VirtioCommonOptions {
  /** VIRTIO_F_RING_INDIRECT_DESC; default on. */
  indirectDesc?: boolean | undefined;
  /** VIRTIO_F_RING_EVENT_IDX; default on. */
  eventIdx?: boolean | undefined;
}

/** A virtio device without its transport. */
export abstract class VirtioDevice implements QueueOwner {
  /** The specification's device type. */
  abstract readonly virtioId: number;
  readonly memory: AddressSpace;
  readonly queues: VirtQueue[] = [];
  /** Device status as the driver reads it. */
  status = 0;
  /** Interrupt status. */
  isr = 0;
  /** Vector of configuration changes; the transport's. */
  configVector = 0xffff;
  /** Counts changes of the configuration space that the driver did not make. */
  generation = 0;
  /** What is offered. */
  readonly hostFeatures: bigint;
  /** What the driver took. */
  driverFeatures = 0n;
  eventIdx = false;
  notifyOnEmpty = false;
  broken = false;
  mapGeneration = 0;
  transport: VirtioTransport | undefined;
  private badFeatures = false;
  private readonly handlers: (() => void)[] = [];
  private readonly pendingKicks = new Set<number>();
  private readonly draining = new Set<number>();
  private readonly kickTimer: Timer;
  private readonly mapSubscription: Disposable;
  private readonly pendingInterrupts = new Set<VirtQueue>();

  /**
   * @param name for messages, QEMU's type name
   * @param features bits of the device class itself; the common ones are added
   * @param config the configuration space; the device keeps writing into it
   */
  constructor(
    protected readonly ctx: DeviceContext,
    readonly name: string,
    features: bigint,
    readonly config: Uint8Array,
    common: VirtioCommonOptions = {},
  ) {
    this.memory = ctx.memory;
    let all = features | featureBits(VirtioFeature.notifyOnEmpty, VirtioFeature.anyLayout);
    all |= featureBits(VirtioFeature.version1, VirtioFeature.ringReset);
    if (common.indirectDesc ?? true) all |= featureBits(VirtioFeature.indirectDesc);
    if (common.eventIdx ?? true) all |= featureBits(VirtioFeature.eventIdx);
    this.hostFeatures = all;
    this.kickTimer = ctx.timers.create(() => this.runPending());
    this.mapSubscription = ctx.memory.changed.on(() => {
      this.mapGeneration++;
    });
  }

  // Declaring queues and handling chains.

  /** Declares the next queue. `onKick` is called when the driver notifies it. */
  protected addQueue(size: number, onKick: (queue: VirtQueue) => void): VirtQueue {
    const queue = new VirtQueue(this, this.queues.length, size);
    this.queues.push(queue);
    this.handlers.push(() => onKick(queue));
    return queue;
  }

  /**
   * Handles chains until the queue is empty or one queue's worth is done; then the rest waits for the next turn.
   * `handle` returns false to stop (no room): it has given the chain back, and calls `kick` itself later.
   */
  protected drain(queue: VirtQueue, handle: (chain: Chain) => boolean | void): void {
    // Guest DMA into the notify register: the outer call sees the new chains.
    if (this.draining.has(queue.index)) return;
    this.draining.add(queue.index);
    try {
      for (let budget = queue.size; ; ) {
        queue.setNotification(false);
        let chain: Chain | undefined;
        while (budget > 0) {
          chain = queue.pop();
          if (!chain) break;
          budget--;
          if (handle(chain) === false) return;
        }
        if (budget === 0) {
          this.kickLater(queue.index);
          return;
        }
        queue.setNotification(true);
        if (queue.empty) return;
      }
    } finally {
      this.draining.delete(queue.index);
    }
  }

  /** Has a queue looked at in the next turn of the machine. */
  protected kickLater(index: number): void {
    this.pendingKicks.add(index);
    this.kickTimer.arm(this.ctx.clock.nowNs());
  }

  private runPending(): void {
    const indices = [...this.pendingKicks];
    this.pendingKicks.clear();
    for (const i of indices) this.kick(i);
  }

  /** The driver notified a queue. */
  kick(index: number): void {
    const queue = this.queues[index];
    if (!queue) {
      this.ctx.trace.guestError(this.name, () => `notification of queue ${index}`);
      return;
    }
    if (!queue.usable || !this.dmaAllowed) return;
    this.handlers[index]!();
  }

  /** Whether the device may touch guest memory. */
  get dmaAllowed(): boolean {
    return this.transport?.dmaAllowed ?? false;
  }

  /** Interrupts the driver for a queue if it wants that. */
  protected interrupt(queue: VirtQueue): void {
    if (!queue.shouldInterrupt()) return;
    this.isr |= IsrBit.queue;
    this.transport?.queueInterrupt(queue);
  }

  /** As `interrupt`, once for all completions of this burst of host events. */
  protected interruptSoon(queue: VirtQueue): void {
    if (this.pendingInterrupts.size === 0) void Promise.resolve().then(() => this.flushInterrupts());
    this.pendingInterrupts.add(queue);
  }

  private flushInterrupts(): void {
    const queues = [...this.pendingInterrupts];
    this.pendingInterrupts.clear();
    for (const q of queues) this.interrupt(q);
  }

  // Features, status, configuration: what transports drive.

  has(bit: number): boolean {
    return ((this.driverFeatures >> BigInt(bit)) & 1n) === 1n;
  }

  get driverOk(): boolean {
    return (this.status & VirtioStatus.driverOk) !== 0 && !this.broken;
  }

  /** The driver's answer to the offered features; too late once FEATURES_OK or DRIVER_OK is set. */
  setDriverFeatures(features: bigint): void {
    if (this.status & (VirtioStatus.featuresOk | VirtioStatus.driverOk)) {
      this.ctx.trace.guestError(this.name, "features written after FEATURES_OK");
      return;
    }
    this.badFeatures = (features & ~this.hostFeatures) !== 0n;
    if (this.badFeatures)
      this.ctx.trace.guestError(this.name, () => `driver takes features that are not offered: ${features.toString(16)}`);
    this.driverFeatures = features & this.hostFeatures;
    this.featuresChanged();
  }

  private featuresChanged(): void {
    this.eventIdx = this.has(VirtioFeature.eventIdx);
    this.notifyOnEmpty = this.has(VirtioFeature.notifyOnEmpty);
    this.onFeatures();
  }

  /** Writes the status register; zero resets. */
  setStatus(value: number): void {
    value &= 0xff;
    if (value === 0) {
      this.reset();
      return;
    }
    const had = this.status;
    if (value & VirtioStatus.featuresOk && !(had & VirtioStatus.featuresOk) && (this.badFeatures || !this.validateFeatures()))
      value &= ~VirtioStatus.featuresOk;
    // The driver cannot clear this one but by reset.
    this.status = value | (had & VirtioStatus.needsReset);
    if (this.status !== had) this.onStatus(had);
  }

  /** Device reset, from any transport and from the machine. */
  reset(): void {
    const had = this.status;
    this.onReset();
    for (const q of this.queues) q.reset();
    this.pendingKicks.clear();
    this.kickTimer.disarm();
    this.pendingInterrupts.clear();
    this.status = 0;
    this.isr = 0;
    this.configVector = 0xffff;
    this.driverFeatures = 0n;
    this.badFeatures = false;
    this.broken = false;
    this.featuresChanged();
    if (had !== 0) this.onStatus(had);
  }

  /** The driver resets one queue (VIRTIO_F_RING_RESET). */
  resetQueue(queue: VirtQueue): void {
    this.onQueueReset(queue);
    queue.reset();
  }

  fail(what: string): void {
    if (this.broken) return;
    this.broken = true;
    this.ctx.trace.guestError(this.name, `${what}; the device needs a reset`);
    // A legacy driver does not know the bit.
    if (this.has(VirtioFeature.version1)) this.status |= VirtioStatus.needsReset;
    this.configInterrupt();
  }

  /** The device changed its configuration space. */
  protected configChanged(): void {
    this.generation = (this.generation + 1) & 0xff;
    if (this.status & VirtioStatus.driverOk) this.configInterrupt();
  }

  private configInterrupt(): void {
    this.isr |= IsrBit.queue | IsrBit.config;
    this.transport?.configInterrupt();
  }

  /** Reads the configuration space; beyond its end bytes are zero. */
  readConfig(offset: number, size: 1 | 2 | 4): number {
    let v = 0;
    for (let i = size - 1; i >= 0; i--) v = v * 256 + (this.config[offset + i] ?? 0);
    return v;
  }

  /** Writes the configuration space; what a device lets the driver change it takes in `onConfigWrite`. */
  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    if (offset + size > this.config.length) {
      this.ctx.trace.guestError(this.name, () => `configuration write at ${offset}`);
      return;
    }
    this.onConfigWrite(offset, size, value);
  }

  // What a device class overrides.

  /** Features were negotiated or reset. */
  protected onFeatures(): void {}
  /** May refuse a combination: FEATURES_OK then stays clear. */
  protected validateFeatures(): boolean {
    return true;
  }
  protected onStatus(_had: number): void {}
  /** Gives back or forgets chains that are held, before the queues are reset. */
  protected onReset(): void {}
  protected onQueueReset(_queue: VirtQueue): void {}
  protected onConfigWrite(offset: number, _size: number, _value: number): void {
    this.ctx.trace.guestError(this.name, () => `configuration write at ${offset}: read-only`);
  }
  /** The device's own state; queues and features are saved already. */
  protected abstract saveDevice(): DeviceState;
  /** Its counterpart; queues are restored already, and guest memory too. */
  protected abstract restoreDevice(state: DeviceState): void;

  /** Transports save the device before themselves: interrupts that are due are raised here. */
  save(): DeviceState {
    this.flushInterrupts();
    return {
      status: this.status,
      isr: this.isr,
      configVector: this.configVector,
      generation: this.generation,
      driverFeatures: this.driverFeatures,
      badFeatures: this.badFeatures,
      broken: this.broken,
      config: this.config.slice(),
      kicks: [...this.pendingKicks],
      queues: this.queues.map((q) => q.save()),
      device: this.saveDevice(),
    };
  }

  restore(state: DeviceState): void {
    this.onReset();
    this.status = state.status as number;
    this.isr = state.isr as number;
    this.configVector = state.configVector as number;
    this.generation = state.generation as number;
    this.driverFeatures = state.driverFeatures as bigint;
    this.badFeatures = state.badFeatures as boolean;
    this.broken = state.broken as boolean;
    this.config.set(state.config as Uint8Array);
    this.featuresChanged();
    const queues = state.queues as DeviceState[];
    for (const [i, q] of this.queues.entries()) if (queues[i]) q.restore(queues[i]);
    this.pendingKicks.clear();
    this.pendingInterrupts.clear();
    this.restoreDevice(state.device as DeviceState);
    for (const i of state.kicks as number[]) this.kickLater(i);
  }

  dispose(): void {
    this.onReset();
    this.mapSubscription.dispose();
    this.ctx.timers.remove(this.kickTimer);
  }
}

/** Little-endian stores into a configuration space. */
export function put16(config: Uint8Array, offset: number, value: number): void {
  config[offset] = value;
  config[offset + 1] = value >>> 8;
}

export function put32(config: Uint8Array, offset: number, value: number): void {
  put16(config, offset, value);
  put16(config, offset + 2, value >>> 16);
}

/** @param value bytes or sectors, exact to 2^53 */
export function put64(config: Uint8Array, offset: number, value: number): void {
  put32(config, offset, value >>> 0);
  put32(config, offset + 4, Math.floor(value / 2 ** 32) >>> 0);
}

/** Little-endian load. */
export function get32(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! | (bytes[offset + 1]! << 8) | (bytes[offset + 2]! << 16) | (bytes[offset + 3]! << 24)) >>> 0;
}
