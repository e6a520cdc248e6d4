/** What the translator has done for KVM, counted by instruction: the part of `info kvm` that QEMU has no word for. */

/** Instructions told apart; what else comes counts as "other". */
const MNEMONICS_MAX = 256;
const OTHER = "other";
const REASONS_MAX = 16;

export class FallbackLog {
  /** Failures of KVM's emulator by mnemonic. */
  readonly byMnemonic = new Map<string, number>();
  /** States that KVM has refused, by its answer. */
  readonly refusals = new Map<string, number>();
  failures = 0;
  shutdowns = 0;
  /** Interrupts that waited too long for their window. */
  lateWindows = 0;
  /** Stretches in modes that this KVM emulates. */
  assists = 0;
  /** Native runs of user code behind a guard. */
  guardedRuns = 0;
  /** Instructions that the translator has run. */
  insns = 0;

  failure(mnemonic: string): void {
    this.failures++;
    count(this.byMnemonic, mnemonic, MNEMONICS_MAX);
  }

  refused(reason: string): void {
    count(this.refusals, reason, REASONS_MAX);
  }

  shutdown(): void {
    this.shutdowns++;
  }

  guarded(): void {
    this.guardedRuns++;
  }

  assisted(): void {
    this.assists++;
  }

  lateWindow(): void {
    this.lateWindows++;
  }

  translated(insns: number): void {
    this.insns += insns;
  }
}

function count(map: Map<string, number>, key: string, limit: number): void {
  const k = map.has(key) || map.size < limit ? key : OTHER;
  map.set(k, (map.get(k) ?? 0) + 1);
}
