/**
 * virtio memory balloon (virtio 1.2 §5.5): inflate and deflate, guest statistics, deflate on out-of-memory, free page
 * reporting. The pages' fate is the board's: it gets each run of pages by callback.
 *
 * One chain names at most 4096 pages; what a driver names beyond that is ignored.
 *
 * Not emulated: free page hinting, page poison, pages that the driver must ask back (MUST_TELL_HOST).
 */
import type { Timer } from "../core/clock.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { DeviceProperty, DeviceType } from "../core/device-type.js";
import type { Chain } from "./chain.js";
import { get32, put32, VirtioDevice } from "./device.js";
import { VirtioPci, type VirtioPciOptions, virtioCommonProperties, virtioPciProperties } from "./pci.js";
import type { VirtQueue } from "./queue.js";
import { featureBits, VirtioId } from "./spec.js";

/** Feature bits (§5.5.3). */
export const BalloonFeature = { statsVq: 1, deflateOnOom: 2, reporting: 5 } as const;

/** Configuration layout (§5.5.4). */
const Config = { numPages: 0, actual: 4, bytes: 8 } as const;
/** The balloon's page, whatever the guest's is. */
export const BALLOON_PAGE_BYTES = 4096;
const MAX_PAGES_PER_CHAIN = 4096;
const QUEUE_SIZE = 128;
const STATS_QUEUE = 2;
/** A statistic: tag (16 bits), value (64 bits), packed. */
const STAT_BYTES = 10;
const MAX_STATS = 32;
const NS_PER_S = 1_000_000_000;

/** Names of the statistics by tag (§5.5.6.3), in QEMU's words. */
export const balloonStatNames = [
  "stat-swap-in",
  "stat-swap-out",
  "stat-major-faults",
  "stat-minor-faults",
  "stat-free-memory",
  "stat-total-memory",
  "stat-available-memory",
  "stat-disk-caches",
  "stat-htlb-pgalloc",
  "stat-htlb-pgfail",
] as const;

export interface VirtioBalloonOptions {
  /** Size of the guest's RAM: what "no balloon" means. */
  ramBytes: number;
  /** A run of guest-physical pages was given up (true) or taken back (false). */
  onPage?: ((address: number, sizeBytes: number, inflated: boolean) => void) | undefined;
  /** The guest's actual memory in bytes has changed: QMP BALLOON_CHANGE. */
  onChange?: ((actualBytes: number) => void) | undefined;
  deflateOnOom?: boolean | undefined;
  freePageReporting?: boolean | undefined;
  indirectDesc?: boolean | undefined;
  eventIdx?: boolean | undefined;
}

/** The device; a transport carries it. */
export class VirtioBalloon extends VirtioDevice {
  override readonly virtioId = VirtioId.balloon;
  private readonly statsQueue: VirtQueue;
  /** The driver's statistics buffer, held until the next poll. */
  private statsChain: Chain | undefined;
  /** A snapshot says that this chain was held. */
  private restoredStats = -1;
  private readonly values = new Map<number, number>();
  private updatedNs = 0;
  private intervalNs = 0;
  private readonly timer: Timer;
  private readonly pfns = new Uint8Array(MAX_PAGES_PER_CHAIN * 4);

  constructor(
    ctx: DeviceContext,
    private readonly options: VirtioBalloonOptions,
  ) {
    let features = featureBits(BalloonFeature.statsVq);
    if (options.deflateOnOom) features |= featureBits(BalloonFeature.deflateOnOom);
    if (options.freePageReporting) features |= featureBits(BalloonFeature.reporting);
    super(ctx, "virtio-balloon", features, new Uint8Array(Config.bytes), options);
    this.addQueue(QUEUE_SIZE, (q) => this.pages(q, true));
    this.addQueue(QUEUE_SIZE, (q) => this.pages(q, false));
    this.statsQueue = this.addQueue(QUEUE_SIZE, () => this.receiveStats());
    if (options.freePageReporting) this.addQueue(32, (q) => this.reported(q));
    this.timer = ctx.timers.create(() => {
      this.pollStats();
      if (this.intervalNs > 0) this.timer.arm(this.ctx.clock.nowNs() + this.intervalNs);
    });
  }

  /** What the guest has left of its RAM, in bytes. */
  get actualBytes(): number {
    return Math.max(0, this.options.ramBytes - get32(this.config, Config.actual) * BALLOON_PAGE_BYTES);
  }

  /** Asks the guest to make do with so many bytes; it follows as it can. */
  setTarget(bytes: number): void {
    const target = Math.min(Math.max(0, bytes), this.options.ramBytes);
    put32(this.config, Config.numPages, Math.floor((this.options.ramBytes - target) / BALLOON_PAGE_BYTES));
    this.configChanged();
  }

  // Pages.

  private pages(queue: VirtQueue, inflated: boolean): void {
    let done = 0;
    this.drain(queue, (chain) => {
      const n = Math.min(chain.readable.total, this.pfns.length) & ~3;
      if (chain.readable.total > n) this.ctx.trace.guestError(this.name, () => `${chain.readable.total} bytes of page numbers`);
      chain.readable.read(0, this.pfns.subarray(0, n));
      this.runs(n, inflated);
      queue.push(chain, 0);
      done++;
    });
    if (done > 0) this.interrupt(queue);
  }

  /** Reports page numbers as runs: drivers name neighbours one after the other, upwards or downwards. */
  private runs(bytes: number, inflated: boolean): void {
    const { onPage } = this.options;
    if (!onPage) return;
    let first = -1;
    let last = -1;
    const emit = () => {
      if (first >= 0) onPage(first * BALLOON_PAGE_BYTES, (last - first + 1) * BALLOON_PAGE_BYTES, inflated);
    };
    for (let i = 0; i < bytes; i += 4) {
      const pfn = get32(this.pfns, i);
      // A page outside RAM is not the guest's to give.
      if (this.memory.hostOffset(pfn * BALLOON_PAGE_BYTES, BALLOON_PAGE_BYTES) < 0) {
        this.ctx.trace.guestError(this.name, () => `page 0x${pfn.toString(16)} is not RAM`);
        continue;
      }
      if (pfn === last + 1 && first >= 0) last = pfn;
      else if (pfn === first - 1 && first >= 0) first = pfn;
      else {
        emit();
        first = last = pfn;
      }
    }
    emit();
  }

  /** Free pages come as the writable buffers themselves; their contents are undefined until the driver uses them. */
  private reported(queue: VirtQueue): void {
    let done = 0;
    this.drain(queue, (chain) => {
      if (this.options.onPage)
        chain.writable.forEach((address, length) => {
          const start = Math.ceil(address / BALLOON_PAGE_BYTES) * BALLOON_PAGE_BYTES;
          const end = Math.floor((address + length) / BALLOON_PAGE_BYTES) * BALLOON_PAGE_BYTES;
          if (end > start) this.options.onPage?.(start, end - start, true);
        });
      queue.push(chain, 0);
      done++;
    });
    if (done > 0) this.interrupt(queue);
  }

  // Statistics.

  /** The guest's numbers by QEMU's names, and when they came (virtual ns); none before the first answer. */
  stats(): { readonly updatedNs: number; readonly values: ReadonlyMap<string, number> } {
    const values = new Map<string, number>();
    for (const [tag, v] of this.values) {
      const name = balloonStatNames[tag];
      if (name) values.set(name, v);
    }
    return { updatedNs: this.updatedNs, values };
  }

  /** `guest-stats-polling-interval`; 0 stops. */
  setStatsInterval(seconds: number): void {
    this.intervalNs = Math.max(0, seconds) * NS_PER_S;
    if (this.intervalNs > 0) this.timer.arm(this.ctx.clock.nowNs() + this.intervalNs);
    else this.timer.disarm();
  }

  /** Gives the buffer back to the driver, which fills it anew. */
  pollStats(): void {
    this.retakeStats();
    const chain = this.statsChain;
    if (!chain) return;
    this.statsChain = undefined;
    this.statsQueue.push(chain, 0);
    this.interrupt(this.statsQueue);
  }

  private receiveStats(): void {
    this.retakeStats();
    this.drain(this.statsQueue, (chain) => {
      // One buffer goes round; a second one replaces it.
      if (this.statsChain) {
        this.statsQueue.push(this.statsChain, 0);
        this.interrupt(this.statsQueue);
      }
      this.statsChain = chain;
      const bytes = new Uint8Array(Math.min(chain.readable.total, MAX_STATS * STAT_BYTES));
      chain.readable.read(0, bytes);
      this.values.clear();
      for (let i = 0; i + STAT_BYTES <= bytes.length; i += STAT_BYTES)
        this.values.set(bytes[i]! | (bytes[i + 1]! << 8), get32(bytes, i + 2) + get32(bytes, i + 6) * 2 ** 32);
      this.updatedNs = this.ctx.clock.nowNs();
    });
  }

  private retakeStats(): void {
    if (this.restoredStats < 0) return;
    this.statsChain = this.statsQueue.takeHead(this.restoredStats);
    this.restoredStats = -1;
  }

  private dropStats(): void {
    if (this.statsChain) this.statsQueue.release(this.statsChain);
    this.statsChain = undefined;
    this.restoredStats = -1;
  }

  // Device events.

  protected override onConfigWrite(offset: number, size: number, value: number): void {
    if (offset >= Config.actual && offset + size <= Config.bytes) {
      for (let i = 0; i < size; i++) this.config[offset + i] = value >>> (8 * i);
      this.options.onChange?.(this.actualBytes);
      return;
    }
    super.onConfigWrite(offset, size, value);
  }

  protected override onReset(): void {
    this.dropStats();
    this.values.clear();
    // The driver deflates before it goes; one that was cut off has all of its memory after reset.
    put32(this.config, Config.actual, 0);
  }

  protected override onQueueReset(queue: VirtQueue): void {
    if (queue === this.statsQueue && queue.index === STATS_QUEUE) this.dropStats();
  }

  protected override saveDevice(): DeviceState {
    return {
      statsHead: this.statsChain?.head ?? this.restoredStats,
      stats: [...this.values].map(([tag, value]) => [tag, value]),
      updatedNs: this.updatedNs,
    };
  }

  protected override restoreDevice(state: DeviceState): void {
    this.restoredStats = state.statsHead as number;
    this.values.clear();
    for (const [tag, value] of (state.stats as number[][]).slice(0, MAX_STATS)) this.values.set(tag!, value!);
    this.updatedNs = state.updatedNs as number;
  }

  override dispose(): void {
    super.dispose();
    this.ctx.timers.remove(this.timer);
  }
}

/** A balloon in a PCI slot. */
export function createVirtioBalloonPci(ctx: DeviceContext, options: VirtioBalloonOptions & VirtioPciOptions): VirtioPci {
  const balloon = new VirtioBalloon(ctx, options);
  return new VirtioPci(ctx, virtioBalloonType.name, balloon, { ...options, vectors: options.vectors ?? 0 });
}

const balloonProperties: readonly DeviceProperty[] = [
  { name: "deflate-on-oom", type: "bool", default: false, description: "the guest may take memory back when it runs out" },
  { name: "free-page-reporting", type: "bool", default: false, description: "the guest reports pages it does not use" },
  {
    name: "guest-stats-polling-interval",
    type: "uint32",
    default: 0,
    description: "seconds between two reports of guest statistics; 0 = none",
  },
];

export const virtioBalloonType: DeviceType = {
  name: "virtio-balloon-pci",
  aliases: ["virtio-balloon", "virtio-balloon-pci-transitional"],
  bus: "pci",
  category: "misc",
  description: "virtio memory balloon",
  properties: [...balloonProperties, ...virtioPciProperties(0)],
};

export const virtioBalloonMmioType: DeviceType = {
  name: "virtio-balloon-device",
  aliases: [],
  bus: "virtio",
  category: "misc",
  description: "virtio memory balloon on a virtio-mmio bus",
  properties: [...balloonProperties, ...virtioCommonProperties],
};
