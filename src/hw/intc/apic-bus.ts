/**
 * The bus between local APICs, I/O APICs and MSI senders: who a message is for.
 *
 * Source: Intel SDM vol. 3, 11.6.2 "Determining IPI destination", 11.11 "Message signalled interrupts", 11.12.10 (x2APIC
 * logical mode).
 *
 * Lowest-priority messages go to the matching processor with the lowest priority class; among equals, to the one after
 * the last that was chosen.
 *
 * *Not emulated*: focus processor, bus arbitration, interrupt remapping (destinations from MSI and I/O APIC are 8 bits).
 */
import type { Trace } from "../../base/trace.js";

/** Delivery mode field of ICR, LVT, redirection entries and MSI data. */
export const DeliveryMode = {
  fixed: 0,
  lowestPriority: 1,
  smi: 2,
  nmi: 4,
  init: 5,
  startup: 6,
  extInt: 7,
} as const;

/** Something a local APIC is asked to take. */
export interface ApicMessage {
  readonly destination: number;
  readonly destMode: "physical" | "logical";
  /** A value of `DeliveryMode`; 3 is reserved and dropped. */
  readonly deliveryMode: number;
  readonly vector: number;
  /** Assert; false is the level de-assert of INIT. */
  readonly level: boolean;
  readonly trigger: "edge" | "level";
  /** `destination` has 32 bits (sent by an x2APIC); otherwise 8. */
  readonly wide?: boolean;
}

/** What the bus needs of a local APIC. */
export interface ApicTarget {
  /** Global enable; a disabled one hears nothing. */
  readonly enabled: boolean;
  /** Software enable; without it fixed messages are not taken. */
  readonly softwareEnabled: boolean;
  /** Arbitration priority: the processor priority. */
  readonly priority: number;
  matches(message: ApicMessage): boolean;
  accept(deliveryMode: number, vector: number, trigger: "edge" | "level", level: boolean): void;
}

/** Connects the local APICs of a machine. */
export class ApicBus {
  private readonly targets: ApicTarget[] = [];
  private lastChosen = -1;
  private eoiListeners: ((vector: number) => void)[] = [];

  constructor(private readonly trace: Trace) {}

  attach(target: ApicTarget): void {
    this.targets.push(target);
  }

  detach(target: ApicTarget): void {
    const i = this.targets.indexOf(target);
    if (i >= 0) this.targets.splice(i, 1);
  }

  /** An I/O APIC listens for the EOI of level-triggered vectors. */
  onEoi(listener: (vector: number) => void): void {
    this.eoiListeners = [...this.eoiListeners, listener];
  }

  /** A local APIC has ended a level-triggered interrupt. */
  broadcastEoi(vector: number): void {
    for (const l of this.eoiListeners) l(vector);
  }

  /** @returns false when no processor took the message */
  deliver(message: ApicMessage): boolean {
    return this.deliverTo(
      this.targets.filter((t) => t.enabled && t.matches(message)),
      message,
    );
  }

  /** To all, or to all but one (ICR shorthands). */
  broadcast(message: ApicMessage, except?: ApicTarget): boolean {
    return this.deliverTo(
      this.targets.filter((t) => t.enabled && t !== except),
      message,
    );
  }

  private deliverTo(targets: readonly ApicTarget[], m: ApicMessage): boolean {
    if (m.deliveryMode === 3) {
      this.trace.guestError("apic", "reserved delivery mode 3");
      return false;
    }
    if (m.deliveryMode === DeliveryMode.lowestPriority) {
      const chosen = this.lowest(targets.filter((t) => t.softwareEnabled));
      chosen?.accept(DeliveryMode.fixed, m.vector, m.trigger, m.level);
      return chosen !== undefined;
    }
    for (const t of targets) t.accept(m.deliveryMode, m.vector, m.trigger, m.level);
    return targets.length > 0;
  }

  private lowest(candidates: readonly ApicTarget[]): ApicTarget | undefined {
    let best: ApicTarget | undefined;
    let bestRank = Number.POSITIVE_INFINITY;
    const n = this.targets.length;
    for (const t of candidates) {
      const index = this.targets.indexOf(t);
      const turn = (index - this.lastChosen - 1 + n) % n;
      const rank = (t.priority >> 4) * n + turn;
      if (rank < bestRank) {
        bestRank = rank;
        best = t;
      }
    }
    if (best) this.lastChosen = this.targets.indexOf(best);
    return best;
  }

  /**
   * A message-signalled interrupt: a 32-bit write of `data` to `addr` in FEExxxxxh (SDM vol. 3, 11.11). Addresses outside
   * are dropped. @returns false when no processor took it
   */
  deliverMsi(addr: number, data: number): boolean {
    if (addr < 0xfee00000 || addr > 0xfeefffff) {
      this.trace.guestError("apic", () => `MSI to ${addr.toString(16)}`);
      return false;
    }
    const redirectionHint = (addr & 8) !== 0;
    const logical = (addr & 4) !== 0;
    const mode = (data >>> 8) & 7;
    return this.deliver({
      destination: (addr >>> 12) & 0xff,
      destMode: logical ? "logical" : "physical",
      // The hint asks for one processor among the logical set.
      deliveryMode: redirectionHint && logical && mode === DeliveryMode.fixed ? DeliveryMode.lowestPriority : mode,
      vector: data & 0xff,
      level: (data & 0x8000) === 0 || (data & 0x4000) !== 0,
      trigger: data & 0x8000 ? "level" : "edge",
    });
  }
}
