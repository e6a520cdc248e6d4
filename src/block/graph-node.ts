/**
 * A node with its place in the graph: it forwards requests to the driver behind it, which can be exchanged while its users
 * keep it (`blockdev-reopen`), and lives as long as somebody uses it or, if it was added by name, until it is deleted.
 */
import type { NodeOptions } from "./blockdev-options.js";
import { Gate } from "./locks.js";
import type { BlockNode, BlockStatus } from "./node.js";

export class GraphNode implements BlockNode {
  /** Who uses it ("as 'file' of 'x'", "by device 'y'"); a device can be given another node in its place. */
  readonly users = new Map<string, ((node: GraphNode) => void) | undefined>();
  /** Requests, against exchanges of the driver. */
  private readonly gate = new Gate();
  closed = false;

  constructor(
    readonly nodeName: string,
    public inner: BlockNode,
    public options: NodeOptions,
    /** Added by name: it is not closed with its last user. */
    readonly explicit: boolean,
    private readonly onUnused: (node: GraphNode) => Promise<void>,
  ) {}

  get driver(): string {
    return this.inner.driver;
  }
  get filename(): string {
    return this.inner.filename;
  }
  get name(): string {
    return this.inner.name;
  }
  get sizeBytes(): number {
    return this.inner.sizeBytes;
  }
  get readOnly(): boolean {
    return this.inner.readOnly;
  }
  get growable(): boolean | undefined {
    return this.inner.growable;
  }
  get file(): BlockNode | undefined {
    return this.inner.file;
  }
  get backing(): BlockNode | undefined {
    return this.inner.backing;
  }
  set backing(node: BlockNode | undefined) {
    this.inner.backing = node;
  }

  private through<T>(work: () => Promise<T>): Promise<T> {
    const wait = this.gate.enter();
    const run = async () => {
      if (wait) await wait;
      try {
        return await work();
      } finally {
        this.gate.leave();
      }
    };
    return run();
  }

  read(offsetBytes: number, out: Uint8Array): Promise<void> {
    return this.through(() => this.inner.read(offsetBytes, out));
  }
  write(offsetBytes: number, data: Uint8Array): Promise<void> {
    return this.through(() => this.inner.write(offsetBytes, data));
  }
  flush(): Promise<void> {
    return this.through(() => this.inner.flush());
  }
  /** `discard=ignore`, which is what nodes have that the user made and said nothing about. */
  private get ignoresDiscard(): boolean {
    return !(this.options.discard ?? !this.explicit);
  }

  async discard(offsetBytes: number, sizeBytes: number): Promise<void> {
    if (this.ignoresDiscard) return;
    return this.through(() => this.inner.discard(offsetBytes, sizeBytes));
  }
  writeZeroes(offsetBytes: number, sizeBytes: number, unmap?: boolean): Promise<void> {
    return this.through(() => this.inner.writeZeroes(offsetBytes, sizeBytes, unmap && !this.ignoresDiscard));
  }
  status(offsetBytes: number, sizeBytes: number): Promise<BlockStatus> {
    return this.through(() => this.inner.status(offsetBytes, sizeBytes));
  }
  get resize(): ((sizeBytes: number) => Promise<void>) | undefined {
    return this.inner.resize ? (size) => this.through(() => this.inner.resize!(size)) : undefined;
  }
  allocatedBytes(): Promise<number> {
    return this.inner.allocatedBytes?.() ?? Promise.resolve(this.sizeBytes);
  }

  /** With no request under way. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    return this.gate.exclusively(work);
  }

  /** A parent lets go; see `release`. */
  async close(): Promise<void> {
    await this.onUnused(this);
  }
}
