/**
 * The event loop of a Worker (or page) as HostScheduler. Timers nested in timers are held to 4 ms by browsers (WHATWG HTML,
 * 8.6), which would slow the guest's clock interrupt; short delays therefore wait with Atomics.waitAsync where there is one.
 */
import type { HostScheduler } from "../scheduler.js";

/** Delays from here on are left to setTimeout. */
const SHORT_MS = 8;

/** What Atomics.waitAsync gives (ECMAScript 2024, 25.4.14), not yet in every lib. */
type WaitAsync = (
  array: Int32Array,
  index: number,
  value: number,
  timeoutMs: number,
) => { async: false } | { async: true; value: Promise<"ok" | "not-equal" | "timed-out"> };

export class BrowserScheduler implements HostScheduler {
  private readonly channel = new MessageChannel();
  private queue: (() => void)[] = [];
  private readonly cell: Int32Array | undefined;
  private readonly waitAsync: WaitAsync | undefined;

  constructor() {
    this.channel.port1.onmessage = () => this.drain();
    const waitAsync = (Atomics as unknown as { waitAsync?: WaitAsync }).waitAsync;
    if (waitAsync && typeof SharedArrayBuffer !== "undefined") {
      this.cell = new Int32Array(new SharedArrayBuffer(4));
      this.waitAsync = waitAsync.bind(Atomics);
    }
  }

  soon(task: () => void): void {
    this.queue.push(task);
    this.channel.port2.postMessage(null);
  }

  after(delayMs: number, task: () => void): () => void {
    let live = true;
    const run = () => {
      if (live) task();
    };
    if (this.cell && this.waitAsync && delayMs < SHORT_MS) {
      // Nothing ever wakes the cell: the wait ends by its time-out.
      const wait = this.waitAsync(this.cell, 0, 0, Math.max(0, delayMs));
      if (wait.async) void wait.value.then(run);
      else this.soon(run);
      return () => {
        live = false;
      };
    }
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  }

  /** One task a message, so that messages from the page get their turn between two. */
  private drain(): void {
    this.queue.shift()?.();
  }
}
