/** A 256-bit register of a local APIC (IRR, ISR, TMR): eight 32-bit words. */
export class VectorSet {
  readonly words = new Uint32Array(8);

  set(vector: number): void {
    this.words[vector >> 5]! |= 1 << (vector & 31);
  }

  clear(vector: number): void {
    this.words[vector >> 5]! &= ~(1 << (vector & 31));
  }

  has(vector: number): boolean {
    return ((this.words[vector >> 5]! >>> (vector & 31)) & 1) === 1;
  }

  /** The highest vector in it, or -1. */
  highest(): number {
    for (let i = 7; i >= 0; i--) {
      const w = this.words[i]!;
      if (w) return i * 32 + 31 - Math.clz32(w);
    }
    return -1;
  }

  reset(): void {
    this.words.fill(0);
  }

  save(): number[] {
    return [...this.words];
  }

  restore(words: readonly number[]): void {
    for (let i = 0; i < 8; i++) this.words[i] = words[i] ?? 0;
  }
}
