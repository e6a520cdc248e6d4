/**
 * Migration as its owner sees it: saving a machine to a stream, loading one, where that stands, its capabilities and
 * parameters. The machine stands still while it is saved (no pre-copy). Source of the words: QEMU 7.2 qapi/migration.json.
 */
import { VmError } from "../base/errors.js";
import type { Host } from "../host/host.js";
import type { ByteSink, ByteSource, StreamHost } from "../host/stream.js";
import { type Progress, receiveState, type Snapshotable, saveState } from "../migration/index.js";
import type { MigrationStatus, RunState } from "./events.js";

/** Switches; what is not here is not supported. */
export const MIGRATION_CAPABILITIES = ["events"] as const;
export type MigrationCapability = (typeof MIGRATION_CAPABILITIES)[number];

/** Most bytes a second when nothing is said: no limit. */
const NO_LIMIT = Number.MAX_SAFE_INTEGER;

/** What a migration is, for `query-migrate`. Times in ms. */
export interface MigrationInfo {
  readonly status: MigrationStatus;
  readonly totalTimeMs: number | undefined;
  readonly downtimeMs: number | undefined;
  readonly error: string | undefined;
  readonly progress: Progress;
  /** Bytes of a second on average. */
  readonly rate: number;
}

/** What the machine does for its migration. */
export interface MigrationOwner {
  readonly runState: RunState;
  /** Stops the vCPUs and shows this state. */
  hold(state: RunState): Promise<void>;
  /** Shows a state without starting anything. */
  become(state: RunState): void;
  run(): void;
  snapshot(): Snapshotable | undefined;
  status(status: MigrationStatus): void;
}

export class Migration {
  readonly capabilities: { [K in MigrationCapability]: boolean } = { events: false };
  /** Bytes of a second. */
  maxBandwidth = NO_LIMIT;
  private state: MigrationStatus = "none";
  private progress: Progress = emptyProgress();
  private startMs = 0;
  private endMs: number | undefined;
  private error: string | undefined;
  private incoming = false;

  constructor(
    private readonly owner: MigrationOwner,
    private readonly host: Host,
  ) {}

  /** Undefined when there was none. */
  get info(): MigrationInfo | undefined {
    if (this.state === "none") return undefined;
    const timeMs = (this.endMs ?? this.nowMs()) - this.startMs;
    return {
      status: this.state,
      totalTimeMs: this.incoming ? undefined : timeMs,
      downtimeMs: this.state === "completed" && !this.incoming ? timeMs : undefined,
      error: this.error,
      progress: this.progress,
      rate: timeMs > 0 ? (this.progress.streamBytes * 1000) / timeMs : 0,
    };
  }

  get busy(): boolean {
    return this.state === "setup" || this.state === "active" || this.state === "cancelling";
  }

  private nowMs(): number {
    return this.host.clock.monotonicNs() / 1e6;
  }

  private set(state: MigrationStatus): void {
    this.state = state;
    if (!this.busy) this.endMs = this.nowMs();
    if (this.capabilities.events) this.owner.status(state);
  }

  private begin(incoming: boolean): { snapshot: Snapshotable; streams: StreamHost } {
    if (this.busy) throw new VmError("machine/invalid", "There's a migration process in progress");
    const snapshot = this.owner.snapshot();
    const { streams } = this.host;
    if (!snapshot) throw new VmError("machine/invalid", "this machine cannot be saved");
    if (!streams) throw new VmError("machine/invalid", "this host has no streams for machine state");
    this.progress = emptyProgress();
    this.incoming = incoming;
    this.error = undefined;
    this.startMs = this.nowMs();
    this.endMs = undefined;
    return { snapshot, streams };
  }

  /**
   * Saves the machine to a stream: it stands still from now on, and stays so ("postmigrate") when all has arrived. After a
   * failure it goes on as before.
   * @throws VmError before anything has happened; afterwards `info` tells
   * @returns when it is over
   */
  async start(uri: string): Promise<{ readonly done: Promise<void> }> {
    const { runState } = this.owner;
    if (runState === "inmigrate") throw new VmError("machine/invalid", "Guest is waiting for an incoming migration");
    const { snapshot, streams } = this.begin(false);
    this.set("setup");
    let sink: ByteSink;
    try {
      sink = await streams.openSink(uri);
    } catch (e) {
      this.fail(e);
      throw e;
    }
    return { done: this.send(sink, snapshot, streams, runState) };
  }

  private async send(sink: ByteSink, snapshot: Snapshotable, host: StreamHost, before: RunState): Promise<void> {
    try {
      this.set("active");
      await this.owner.hold("finish-migrate");
      await saveState(snapshot, sink, {
        host,
        notes: { runState: before },
        progress: this.progress,
        pace: (bytes) => this.pace(bytes),
        cancelled: () => this.state === "cancelling",
      });
      await sink.close();
      this.owner.become("postmigrate");
      this.set("completed");
    } catch (e) {
      sink.abort();
      const cancelled = this.state === "cancelling";
      if (cancelled) this.set("cancelled");
      else this.fail(e);
      this.owner.become(before === "running" ? "paused" : before);
      if (before === "running") this.owner.run();
    }
  }

  /** Waits as long as the bytes so far are too many for the time so far. */
  private async pace(streamBytes: number): Promise<void> {
    if (this.maxBandwidth >= NO_LIMIT) return;
    const aheadMs = (streamBytes * 1000) / this.maxBandwidth - (this.nowMs() - this.startMs);
    if (aheadMs > 1) await new Promise<void>((resolve) => this.host.scheduler.after(Math.min(aheadMs, 1000), resolve));
  }

  cancel(): void {
    if (this.state === "setup" || this.state === "active") this.set("cancelling");
  }

  private fail(e: unknown): void {
    this.error = e instanceof Error ? e.message : String(e);
    this.set("failed");
  }

  /**
   * Loads a machine's state into this one, which has not run yet. @returns the run state it was saved in
   * @throws VmError; nothing of the machine has changed unless the code is "migration/bad-stream" and a device refused it
   */
  async load(uri: string, signal?: AbortSignal): Promise<string> {
    const { snapshot, streams } = this.begin(true);
    this.set("setup");
    let source: ByteSource | undefined;
    try {
      source = await streams.openSource(uri, signal);
      this.set("active");
      const received = await receiveState(snapshot, source, streams);
      await received.apply();
      await source.close();
      this.set("completed");
      return String(received.notes.runState);
    } catch (e) {
      await source?.close().catch(() => {});
      this.fail(e);
      throw e;
    }
  }
}

function emptyProgress(): Progress {
  return { totalBytes: 0, doneBytes: 0, zeroBytes: 0, streamBytes: 0 };
}
