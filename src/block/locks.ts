/** Waiting for one another, within one thread: a mutex, and a gate of many or one. */

/** One at a time, in order of asking. */
export class Mutex {
  private held = false;
  private readonly waiting: (() => void)[] = [];

  /** Undefined when it is free and now taken: no promise is made then. */
  acquire(): Promise<void> | undefined {
    if (!this.held) {
      this.held = true;
      return undefined;
    }
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  release(): void {
    const next = this.waiting.shift();
    if (next) next();
    else this.held = false;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    const wait = this.acquire();
    if (wait) await wait;
    try {
      return await work();
    } finally {
      this.release();
    }
  }
}

/** Many pass at the same time, or one alone; who wants to be alone holds later ones back. */
export class Gate {
  private inside = 0;
  private alone = false;
  private readonly waiting: { readonly alone: boolean; readonly go: () => void }[] = [];

  /** Undefined when the way is free and now taken. */
  enter(): Promise<void> | undefined {
    if (!this.alone && this.waiting.length === 0) {
      this.inside++;
      return undefined;
    }
    return new Promise((go) => this.waiting.push({ alone: false, go }));
  }

  leave(): void {
    this.inside--;
    this.next();
  }

  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    if (this.inside > 0 || this.alone) await new Promise<void>((go) => this.waiting.push({ alone: true, go }));
    else this.alone = true;
    try {
      return await work();
    } finally {
      this.alone = false;
      this.next();
    }
  }

  private next(): void {
    while (this.waiting.length > 0 && !this.alone) {
      const w = this.waiting[0]!;
      if (w.alone) {
        if (this.inside > 0) return;
        this.alone = true;
      } else this.inside++;
      this.waiting.shift();
      w.go();
    }
  }
}
