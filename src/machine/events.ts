/** What happens to a machine, as async iterators give it. */

import type { VncEvent } from "../ui/vnc/server.js";

export type RunState =
  | "prelaunch"
  | "running"
  | "paused"
  | "shutdown"
  | "suspended"
  | "io-error"
  | "guest-panicked"
  | "watchdog"
  | "internal-error"
  /** Waits for a stream (`-incoming`). */
  | "inmigrate"
  /** Saved; a stopped copy of a machine that may run elsewhere. */
  | "postmigrate"
  | "finish-migrate"
  | "restore-vm"
  | "save-vm";

/** What a watchdog's end of time leads to. */
export const WATCHDOG_ACTIONS = ["reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi"] as const;
export type WatchdogAction = (typeof WATCHDOG_ACTIONS)[number];

export type MachineEvent =
  | { readonly type: "resume" | "stop" | "powerdown" | "suspend" | "wakeup" }
  /** `guest`: the guest asked, else the user. */
  | { readonly type: "reset"; readonly guest: boolean; readonly reason: string }
  | { readonly type: "shutdown"; readonly guest: boolean; readonly reason: string }
  | { readonly type: "watchdog"; readonly action: WatchdogAction }
  | { readonly type: "guest-panicked"; readonly action: "panicked" | "crash-loaded" }
  | { readonly type: "io-error"; readonly drive: string; readonly write: boolean; readonly message: string }
  | { readonly type: "internal-error"; readonly message: string }
  /** The guest's memory less its balloon, in bytes. */
  | { readonly type: "balloon"; readonly actualBytes: number }
  /** A hot-unplugged device has gone. `path` is its place in the object tree. */
  | { readonly type: "device-deleted"; readonly id: string | undefined; readonly path: string }
  | { readonly type: "tray-moved"; readonly drive: string; readonly qdev: string; readonly open: boolean }
  /** Somebody has come to a VNC server, is in, has gone. */
  | ({ readonly type: "vnc"; readonly auth: "vnc" | "none" } & VncEvent)
  | { readonly type: "migration"; readonly status: MigrationStatus }
  /** The vCPUs run on another accelerator. */
  | { readonly type: "accelerator"; readonly from: string; readonly to: string };

/** QEMU's words for where a migration stands. */
export type MigrationStatus = "none" | "setup" | "active" | "cancelling" | "cancelled" | "completed" | "failed";

/** Events an iterator may be behind; then the oldest are lost. */
const QUEUE_LIMIT = 1024;

/** Events to any number of iterators; each sees what happens after it was made. */
export class EventQueue<T> {
  private readonly readers = new Set<{ queue: T[]; wake: () => void }>();
  private closed = false;

  emit(event: T): void {
    for (const r of this.readers) {
      r.queue.push(event);
      if (r.queue.length > QUEUE_LIMIT) r.queue.shift();
      r.wake();
    }
  }

  /** Ends all iterators, after what they have not yet seen. */
  close(): void {
    this.closed = true;
    for (const r of this.readers) r.wake();
  }

  /** Listens from now on, not from the first `next`. */
  iterate(signal?: AbortSignal): AsyncIterableIterator<T> {
    const reader = { queue: [] as T[], wake: () => {} };
    this.readers.add(reader);
    const end = () => this.readers.delete(reader);
    const it: AsyncIterableIterator<T> = {
      next: async () => {
        for (;;) {
          const value = reader.queue.shift();
          if (value !== undefined) return { done: false, value };
          if (this.closed || signal?.aborted) {
            end();
            return { done: true, value: undefined };
          }
          await new Promise<void>((resolve) => {
            const onAbort = () => resolve();
            signal?.addEventListener("abort", onAbort, { once: true });
            reader.wake = () => {
              signal?.removeEventListener("abort", onAbort);
              resolve();
            };
          });
        }
      },
      return: async () => {
        end();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]: () => it,
    };
    return it;
  }
}
