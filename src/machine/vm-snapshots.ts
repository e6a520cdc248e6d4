/**
 * Internal snapshots of the whole machine: the disks' in their qcow2 images, the machine's state in the first of them
 * (`savevm`, `loadvm`, `delvm`). Source: QEMU 7.2 for order, names and messages. A state is read and found whole, and of this
 * machine, before disks or machine change.
 */

import { VmError } from "../base/errors.js";
import { AttachedImage } from "../block/attached-image.js";
import type { Drive } from "../block/backend.js";
import { Qcow2Image } from "../block/qcow2/image.js";
import type { Snapshot } from "../block/qcow2/snapshot-table.js";
import {
  applySnapshot,
  createSnapshot,
  deleteSnapshot,
  findSnapshot,
  openSnapshot,
  writeVmState,
} from "../block/qcow2/snapshots.js";
import type { Host } from "../host/host.js";
import type { ByteSink, ByteSource, StreamHost } from "../host/stream.js";
import { receiveState, type Snapshotable, saveState } from "../migration/index.js";
import type { RunState } from "./events.js";

/** Bytes of state written or read at a time. */
const PIECE = 2 ** 20;

/** What the machine does for its snapshots. */
export interface SnapshotOwner {
  readonly runState: RunState;
  /** Stops the vCPUs and shows this state; disks are flushed. */
  hold(state: RunState): Promise<void>;
  become(state: RunState): void;
  run(): void;
  snapshot(): Snapshotable | undefined;
  /** Drives with an image that may be written. */
  writable(): readonly Drive[];
  /** Virtual time in ns. */
  clockNs(): number;
}

interface Disk {
  readonly id: string;
  readonly image: Qcow2Image;
}

/** Gathers what the stream writes into pieces of the image's VM state. */
class StateSink implements ByteSink {
  private pending: Uint8Array[] = [];
  private pendingBytes = 0;
  bytes = 0;

  constructor(private readonly image: Qcow2Image) {}

  async write(data: Uint8Array): Promise<void> {
    this.pending.push(data.slice());
    this.pendingBytes += data.length;
    if (this.pendingBytes >= PIECE) await this.flush();
  }

  private async flush(): Promise<void> {
    if (this.pendingBytes === 0) return;
    const all = new Uint8Array(this.pendingBytes);
    let at = 0;
    for (const p of this.pending) {
      all.set(p, at);
      at += p.length;
    }
    this.pending = [];
    this.pendingBytes = 0;
    await writeVmState(this.image, this.bytes, all);
    this.bytes += all.length;
  }

  close(): Promise<void> {
    return this.flush();
  }

  abort(): void {
    this.pending = [];
    this.pendingBytes = 0;
  }
}

async function stateSource(image: Qcow2Image, name: string): Promise<ByteSource> {
  const { snapshot, readVmState } = await openSnapshot(image, name);
  let at = 0;
  return {
    async read() {
      if (at >= snapshot.vmStateBytes) return undefined;
      const piece = new Uint8Array(Math.min(PIECE, snapshot.vmStateBytes - at));
      await readVmState(at, piece);
      at += piece.length;
      return piece;
    },
    async close() {},
  };
}

export class VmSnapshots {
  private busy = false;

  constructor(
    private readonly owner: SnapshotOwner,
    private readonly host: Host,
  ) {}

  /** Disks that a snapshot is of. @throws VmError when one cannot be, or there is none */
  private disks(): Disk[] {
    const disks = this.owner.writable().map((drive): Disk => {
      const node = drive.backend instanceof AttachedImage ? drive.backend.node.inner : undefined;
      if (!(node instanceof Qcow2Image))
        throw new VmError("machine/invalid", `Device '${drive.id}' is writable but does not support snapshots`);
      return { id: drive.id, image: node };
    });
    if (disks.length === 0) throw new VmError("machine/invalid", "No block device supports snapshots");
    return disks;
  }

  private parts(): { snapshot: Snapshotable; streams: StreamHost } {
    const snapshot = this.owner.snapshot();
    const { streams } = this.host;
    if (!snapshot || !streams) throw new VmError("machine/invalid", "this machine cannot be saved");
    return { snapshot, streams };
  }

  /** One at a time. */
  private async alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.busy) throw new VmError("machine/invalid", "A snapshot is being saved or loaded");
    this.busy = true;
    try {
      return await work();
    } finally {
      this.busy = false;
    }
  }

  /** Snapshots of the first disk that all disks have; none when the machine has no disk that can. */
  list(): readonly Snapshot[] {
    let disks: Disk[];
    try {
      disks = this.disks();
    } catch {
      return [];
    }
    const [first, ...rest] = disks;
    return first!.image.core.snapshots.filter((s) => rest.every((d) => findSnapshot(d.image, s.name)));
  }

  /** `savevm`: another of that name is replaced. The machine stands still meanwhile. @throws VmError */
  save(name: string): Promise<void> {
    return this.alone(async () => {
      if (name === "") throw new VmError("option/invalid", "a snapshot needs a name");
      const { owner } = this;
      const { snapshot, streams } = this.parts();
      const disks = this.disks();
      const before = owner.runState;
      if (before === "inmigrate") throw new VmError("machine/invalid", "Guest is waiting for an incoming migration");
      await owner.hold("save-vm");
      try {
        for (const d of disks) if (findSnapshot(d.image, name)) await deleteSnapshot(d.image, name);
        const first = disks[0]!.image;
        const sink = new StateSink(first);
        await saveState(snapshot, sink, { host: streams, notes: { runState: before } });
        await sink.close();
        const now = this.host.clock.wallMs();
        for (const d of disks)
          await createSnapshot(d.image, {
            name,
            dateSec: Math.floor(now / 1000),
            dateNsec: Math.floor((now % 1000) * 1e6),
            vmClockNs: owner.clockNs(),
            vmStateBytes: d.image === first ? sink.bytes : 0,
          });
      } catch (e) {
        // Half a snapshot is none.
        for (const d of disks) if (findSnapshot(d.image, name)) await deleteSnapshot(d.image, name).catch(() => {});
        throw e;
      } finally {
        this.resume(before);
      }
    });
  }

  /** `loadvm`. The machine runs afterwards if it ran before. @throws VmError; nothing has changed unless a disk failed */
  load(name: string): Promise<void> {
    return this.alone(async () => {
      const { owner } = this;
      const { snapshot, streams } = this.parts();
      const disks = this.disks();
      for (const d of disks)
        if (!findSnapshot(d.image, name))
          throw new VmError("block/not-found", `Snapshot '${name}' does not exist in one or more devices`);
      const first = disks[0]!.image;
      if (findSnapshot(first, name)!.vmStateBytes === 0)
        throw new VmError("machine/invalid", "This is a disk-only snapshot. Revert to it offline using qemu-img");
      const before = owner.runState;
      await owner.hold("restore-vm");
      try {
        const received = await receiveState(snapshot, await stateSource(first, name), streams);
        for (const d of disks) await applySnapshot(d.image, name);
        await received.apply();
      } finally {
        this.resume(before);
      }
    });
  }

  /** `delvm`. @throws VmError "block/not-found" */
  remove(name: string): Promise<void> {
    return this.alone(async () => {
      const disks = this.disks().filter((d) => findSnapshot(d.image, name));
      if (disks.length === 0) throw new VmError("block/not-found", `Snapshot '${name}' not found`);
      for (const d of disks) await deleteSnapshot(d.image, name);
    });
  }

  private resume(before: RunState): void {
    this.owner.become(before === "running" ? "paused" : before);
    if (before === "running") this.owner.run();
  }
}
