/**
 * Keeps translated code when the guest has meanwhile run elsewhere: the pages that code was translated from are compared with
 * copies, and what has changed is dropped. Exact, and far cheaper than translating anew.
 */
import type { TcgEngine } from "../accel/tcg/engine.js";
import type { GuestRam } from "../memory/ram.js";

const PAGE = 4096;
const WORDS = PAGE / 4;
/** Copies kept; with more code than that everything is dropped. */
const PAGES_MAX = 4096;

export class CodeWatch {
  private copies = new Map<number, Uint32Array>();

  constructor(
    private readonly engine: TcgEngine,
    private readonly ram: GuestRam,
  ) {}

  /** The translator rests from now on. */
  leave(): void {
    const { u32 } = this.ram;
    const now = new Map<number, Uint32Array>();
    for (const page of this.engine.cache.codePages()) {
      if (now.size === PAGES_MAX) break;
      const copy = this.copies.get(page) ?? new Uint32Array(WORDS);
      copy.set(u32.subarray(page >>> 2, (page >>> 2) + WORDS));
      now.set(page, copy);
    }
    this.copies = now;
  }

  /** The translator goes on: drops code translated from bytes that are others now. */
  enter(): void {
    if (this.copies.size === PAGES_MAX) {
      this.engine.flushAll();
      return;
    }
    for (const [page, copy] of this.copies) {
      const at = this.firstChange(page, copy);
      if (at >= 0) this.engine.ramWritten(page, PAGE);
    }
  }

  private firstChange(page: number, copy: Uint32Array): number {
    const { u32 } = this.ram;
    const base = page >>> 2;
    for (let i = 0; i < WORDS; i++) if (u32[base + i] !== copy[i]) return i;
    return -1;
  }
}
