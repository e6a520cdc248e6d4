/**
 * virtio entropy device (virtio 1.2 §5.4): fills buffers with random bytes, at most `maxBytes` a period.
 *
 * Not emulated: nothing of the specification is left out.
 */
import type { Timer } from "../core/clock.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { DeviceProperty, DeviceType } from "../core/device-type.js";
import { VirtioDevice } from "./device.js";
import { VirtioPci, type VirtioPciOptions, virtioCommonProperties, virtioPciProperties } from "./pci.js";
import type { VirtQueue } from "./queue.js";
import { VirtioId } from "./spec.js";

/** Most bytes of one buffer that are filled; a driver asks again for more. */
const MAX_FILL_BYTES = 65536;
const QUEUE_SIZE = 8;
const NS_PER_MS = 1_000_000;

export interface VirtioRngOptions {
  /** Fills with random bytes; at most 65536 a call. */
  fill: (bytes: Uint8Array) => void;
  /** Limit of bytes a period; default none. */
  maxBytes?: number | undefined;
  periodMs?: number | undefined;
  indirectDesc?: boolean | undefined;
  eventIdx?: boolean | undefined;
}

/** The device; a transport carries it. */
export class VirtioRng extends VirtioDevice {
  override readonly virtioId = VirtioId.rng;
  private readonly queue: VirtQueue;
  private readonly scratch = new Uint8Array(MAX_FILL_BYTES);
  private readonly maxBytes: number;
  private readonly periodNs: number;
  private readonly timer: Timer;
  /** Bytes left of this period. */
  private quota: number;

  constructor(
    ctx: DeviceContext,
    private readonly options: VirtioRngOptions,
  ) {
    super(ctx, "virtio-rng", 0n, new Uint8Array(0), options);
    this.maxBytes = options.maxBytes ?? Number.POSITIVE_INFINITY;
    this.periodNs = Math.max(1, options.periodMs ?? 65536) * NS_PER_MS;
    this.quota = this.maxBytes;
    this.timer = ctx.timers.create(() => {
      this.quota = this.maxBytes;
      this.kick(0);
    });
    this.queue = this.addQueue(QUEUE_SIZE, () => this.work());
  }

  private work(): void {
    let done = 0;
    this.drain(this.queue, (chain) => {
      if (this.quota <= 0) {
        this.queue.unpop(chain);
        return false;
      }
      const n = Math.min(chain.writable.total, MAX_FILL_BYTES, this.quota);
      const bytes = this.scratch.subarray(0, n);
      this.options.fill(bytes);
      chain.writable.write(0, bytes);
      if (this.maxBytes !== Number.POSITIVE_INFINITY) {
        this.quota -= n;
        if (!this.timer.armed) this.timer.arm(this.ctx.clock.nowNs() + this.periodNs);
      }
      this.queue.push(chain, n);
      done++;
      return true;
    });
    if (done > 0) this.interrupt(this.queue);
  }

  protected override onReset(): void {
    this.timer.disarm();
    this.quota = this.maxBytes;
  }

  protected override saveDevice(): DeviceState {
    return { quota: Number.isFinite(this.quota) ? this.quota : null, deadline: this.timer.armed ? this.timer.deadlineNs : null };
  }

  protected override restoreDevice(state: DeviceState): void {
    this.quota = (state.quota as number | null) ?? Number.POSITIVE_INFINITY;
    if (state.deadline !== null) this.timer.arm(state.deadline as number);
  }

  override dispose(): void {
    super.dispose();
    this.ctx.timers.remove(this.timer);
  }
}

/** An entropy source in a PCI slot. */
export function createVirtioRngPci(ctx: DeviceContext, options: VirtioRngOptions & VirtioPciOptions): VirtioPci {
  return new VirtioPci(ctx, virtioRngType.name, new VirtioRng(ctx, options), { ...options, vectors: options.vectors ?? 2 });
}

const rngProperties: readonly DeviceProperty[] = [
  { name: "rng", type: "str", default: undefined, description: "id of an rng object; default the host's random source" },
  { name: "max-bytes", type: "uint64", default: undefined, description: "most bytes a period" },
  { name: "period", type: "uint32", default: 65536, description: "period of max-bytes in ms" },
];

export const virtioRngType: DeviceType = {
  name: "virtio-rng-pci",
  aliases: ["virtio-rng", "virtio-rng-pci-transitional"],
  bus: "pci",
  category: "misc",
  description: "virtio entropy source",
  properties: [...rngProperties, ...virtioPciProperties(2)],
};

export const virtioRngMmioType: DeviceType = {
  name: "virtio-rng-device",
  aliases: [],
  bus: "virtio",
  category: "misc",
  description: "virtio entropy source on a virtio-mmio bus",
  properties: [...rngProperties, ...virtioCommonProperties],
};
