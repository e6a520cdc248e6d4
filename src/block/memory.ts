/** A disk in the process's memory: tests, the browser, `-drive` from bytes of the API. */
import { VmError } from "../base/errors.js";
import type { BlockBackend } from "./backend.js";

/** How a test makes a disk misbehave. */
export interface MemoryFaults {
  /** Called before each request; throwing fails it. May await, to hold a request back. */
  before?: ((kind: "read" | "write" | "flush", offsetBytes: number, sizeBytes: number) => void | Promise<void>) | undefined;
}

/** A RAM-backed image of a fixed size. Owns `bytes`. */
export class MemoryBackend implements BlockBackend {
  readonly sizeBytes: number;
  readonly faults: MemoryFaults = {};
  /** Flushes that have been asked for. */
  flushes = 0;
  private closed = false;

  constructor(
    readonly bytes: Uint8Array,
    readonly name = "memory",
    readonly readOnly = false,
  ) {
    this.sizeBytes = bytes.length;
  }

  private async check(kind: "read" | "write" | "flush", offset: number, size: number): Promise<void> {
    if (this.closed) throw new VmError("closed", `${this.name} is closed`);
    if (!(offset >= 0 && offset + size <= this.sizeBytes))
      throw new VmError("block/io", `${this.name}: ${kind} of ${size} bytes at ${offset} is past the end (${this.sizeBytes})`);
    await this.faults.before?.(kind, offset, size);
  }

  async read(offsetBytes: number, out: Uint8Array): Promise<void> {
    await this.check("read", offsetBytes, out.length);
    out.set(this.bytes.subarray(offsetBytes, offsetBytes + out.length));
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    if (this.readOnly) throw new VmError("block/read-only", `${this.name} is read-only`);
    await this.check("write", offsetBytes, data.length);
    this.bytes.set(data, offsetBytes);
  }

  async flush(): Promise<void> {
    await this.check("flush", 0, 0);
    this.flushes++;
  }

  async discard(offsetBytes: number, sizeBytes: number): Promise<void> {
    await this.check("write", offsetBytes, sizeBytes);
    this.bytes.fill(0, offsetBytes, offsetBytes + sizeBytes);
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}
