/**
 * Requests of a device to its drive, with the error policies `werror=` and `rerror=`: report the error to the guest,
 * ignore it, or pause the machine and try again on `cont` (`stop`; `enospc` does so only when the host's disk is full).
 */
import type { Drive, ErrorPolicy } from "./backend.js";

/** What a request does; a flush or discard counts as a write for the policies. */
export type RequestKind = "read" | "write" | "flush" | "discard";

const MAX_CAUSES = 8;

/** Whether an error says, itself or through its causes, that the host has no space left. */
export function isNoSpace(error: unknown): boolean {
  let e = error;
  for (let i = 0; i < MAX_CAUSES && typeof e === "object" && e !== null; i++) {
    const code = (e as { code?: unknown }).code;
    if (code === "ENOSPC" || code === "EDQUOT") return true;
    e = (e as { cause?: unknown }).cause;
  }
  return false;
}

/** What happens to a failed request. */
export function errorAction(policy: ErrorPolicy, error: unknown): "report" | "ignore" | "stop" {
  if (policy === "enospc") return isNoSpace(error) ? "stop" : "report";
  return policy;
}

interface Held {
  readonly kind: RequestKind;
  readonly operation: () => Promise<void>;
  readonly done: (error: unknown) => void;
}

/** The requests of one device. A device bounds how many it has under way. */
export class DriveRequests {
  private epoch = 0;
  private held: Held[] = [];
  /** Operations under way. After a cancel, new ones wait for them: a late write must not overtake a newer one. */
  private readonly running = new Set<Promise<void>>();
  private orphans: Promise<unknown> | undefined;

  constructor(private readonly drive: Drive) {
    drive.onRetry = () => this.retry();
  }

  /** Requests that a `stop` policy holds back. */
  get heldCount(): number {
    return this.held.length;
  }

  /**
   * Starts an operation. `done` is called once it has ended, on the host's event loop and never within this call, with
   * the error to report or undefined; not at all after `cancel`.
   */
  start(kind: RequestKind, operation: () => Promise<void>, done: (error: unknown) => void): void {
    const { drive, epoch } = this;
    drive.inFlight++;
    const ended = (error: unknown) => {
      this.running.delete(promise);
      drive.inFlight--;
      if (epoch !== this.epoch) return;
      if (error === undefined) return done(undefined);
      const policy = kind === "read" ? drive.rerror : drive.werror;
      switch (errorAction(policy, error)) {
        case "report":
          return done(error);
        case "ignore":
          return done(undefined);
        case "stop":
          this.held.push({ kind, operation, done });
          return drive.onIoError(error, kind !== "read");
      }
    };
    const promise = this.orphans ? this.orphans.then(operation) : run(operation);
    this.running.add(promise);
    promise.then(
      () => ended(undefined),
      (error: unknown) => ended(error ?? new Error("I/O error")),
    );
  }

  /** Issues again what was held back. */
  retry(): void {
    const held = this.held;
    this.held = [];
    for (const h of held) this.start(h.kind, h.operation, h.done);
  }

  /** Forgets everything: results of operations under way no longer reach the device. What is written is written. */
  cancel(): void {
    this.epoch++;
    this.held = [];
    if (this.running.size === 0) return;
    const orphans = Promise.allSettled([...this.running]).then(() => {
      if (this.orphans === orphans) this.orphans = undefined;
    });
    this.orphans = orphans;
  }
}

/** A rejection, also where the operation throws before its first await. */
async function run(operation: () => Promise<void>): Promise<void> {
  return operation();
}
