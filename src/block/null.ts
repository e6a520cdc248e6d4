/** `null-co://`: a disk that reads as zeroes and forgets what is written. For tests and benchmarks. */
import { VmError } from "../base/errors.js";
import type { BlockBackend } from "./backend.js";

const DEFAULT_SIZE = 2 ** 30;

/** A disk of nothing. */
export class NullBackend implements BlockBackend {
  constructor(
    readonly sizeBytes = DEFAULT_SIZE,
    readonly readOnly = false,
    readonly name = "null-co://",
  ) {}

  private check(offset: number, size: number): void {
    if (!(offset >= 0 && offset + size <= this.sizeBytes)) throw new VmError("block/io", `${this.name}: past the end`);
  }

  async read(offsetBytes: number, out: Uint8Array): Promise<void> {
    this.check(offsetBytes, out.length);
    out.fill(0);
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    if (this.readOnly) throw new VmError("block/read-only", `${this.name} is read-only`);
    this.check(offsetBytes, data.length);
  }

  async flush(): Promise<void> {}

  async discard(offsetBytes: number, sizeBytes: number): Promise<void> {
    this.check(offsetBytes, sizeBytes);
  }

  async close(): Promise<void> {}
}
