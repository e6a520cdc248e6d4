/** The protocol driver `null-co`: reads as zeroes, forgets what is written. Source: QEMU's `BlockdevOptionsNull`. */
import { type BlockNode, type BlockStatus, checkRange } from "./node.js";

const DEFAULT_SIZE = 2 ** 30;

export class NullNode implements BlockNode {
  readonly driver = "null-co";
  readonly name = "null-co://";
  readonly filename = "null-co://";

  constructor(
    readonly sizeBytes = DEFAULT_SIZE,
    readonly readOnly = false,
  ) {}

  async read(offsetBytes: number, out: Uint8Array): Promise<void> {
    checkRange(this, offsetBytes, out.length);
    out.fill(0);
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    checkRange(this, offsetBytes, data.length);
  }

  async discard(offsetBytes: number, sizeBytes: number): Promise<void> {
    checkRange(this, offsetBytes, sizeBytes);
  }

  writeZeroes(offsetBytes: number, sizeBytes: number): Promise<void> {
    return this.discard(offsetBytes, sizeBytes);
  }

  async flush(): Promise<void> {}

  async status(offsetBytes: number, sizeBytes: number): Promise<BlockStatus> {
    return { kind: "zero", sizeBytes: Math.min(sizeBytes, this.sizeBytes - offsetBytes), offsetBytes };
  }

  async close(): Promise<void> {}
}
