/**
 * What a device has of an image: a node, with the cache mode and the other properties of the device's own end.
 * `writethrough` flushes after every write; discards reach the node only where they are wanted; zeroes are detected where
 * that was asked for.
 */
import { VmError } from "../base/errors.js";
import type { BlockBackend } from "./backend.js";
import type { GraphNode } from "./graph-node.js";
import { checkRange } from "./node.js";

export interface AttachOptions {
  readonly readOnly: boolean;
  readonly writethrough?: boolean | undefined;
  readonly discard?: boolean | undefined;
  readonly detectZeroes?: "off" | "on" | "unmap" | undefined;
}

export class AttachedImage implements BlockBackend {
  private closed = false;

  constructor(
    public node: GraphNode,
    private readonly options: AttachOptions,
    /** Lets go of the node. */
    private readonly release: () => Promise<void>,
  ) {}

  get sizeBytes(): number {
    return Math.ceil(this.node.sizeBytes / 512) * 512;
  }

  get readOnly(): boolean {
    return this.options.readOnly || this.node.readOnly;
  }

  get name(): string {
    return this.node.filename;
  }

  private check(offset: number, size: number): void {
    if (this.closed) throw new VmError("closed", `${this.name} is closed`);
    checkRange(this, offset, size);
  }

  private checkWrite(offset: number, size: number): void {
    this.check(offset, size);
    if (this.readOnly) throw new VmError("block/read-only", `${this.name} is read-only`);
  }

  async read(offsetBytes: number, out: Uint8Array): Promise<void> {
    this.check(offsetBytes, out.length);
    await this.node.read(offsetBytes, out);
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    this.checkWrite(offsetBytes, data.length);
    const detect = this.options.detectZeroes ?? "off";
    if (detect !== "off" && isZero(data)) await this.node.writeZeroes(offsetBytes, data.length, detect === "unmap");
    else await this.node.write(offsetBytes, data);
    if (this.options.writethrough) await this.node.flush();
  }

  async flush(): Promise<void> {
    this.check(0, 0);
    if (!this.readOnly) await this.node.flush();
  }

  async discard(offsetBytes: number, sizeBytes: number): Promise<void> {
    this.checkWrite(offsetBytes, sizeBytes);
    if (this.options.discard !== false) await this.node.discard(offsetBytes, sizeBytes);
  }

  async writeZeroes(offsetBytes: number, sizeBytes: number): Promise<void> {
    this.checkWrite(offsetBytes, sizeBytes);
    await this.node.writeZeroes(offsetBytes, sizeBytes, this.options.discard !== false);
    if (this.options.writethrough) await this.node.flush();
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.release();
  }
}

/** Whether all bytes are 0. */
export function isZero(data: Uint8Array): boolean {
  let at = 0;
  for (; at < data.length && (data.byteOffset + at) % 4 !== 0; at++) if (data[at] !== 0) return false;
  const words = new Int32Array(data.buffer, data.byteOffset + at, (data.length - at) >> 2);
  for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
  for (at += words.length * 4; at < data.length; at++) if (data[at] !== 0) return false;
  return true;
}
