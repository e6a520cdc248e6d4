/** Failures of the host or of the user's input. A guest's fault is a value, never one of these. */

/** The closed list of reasons; the part before the slash is the area. */
export type VmErrorCode =
  | "option/unknown"
  | "option/invalid"
  | "option/missing"
  | "option/unsupported"
  | "machine/unknown"
  | "machine/invalid"
  | "cpu/unknown"
  | "cpu/unsupported-feature"
  | "device/unknown"
  | "device/invalid-property"
  | "device/no-bus"
  | "memory/too-large"
  | "memory/exhausted"
  | "image/not-found"
  | "image/truncated"
  | "image/bad-format"
  | "image/wrong-architecture"
  | "image/too-large"
  | "block/not-found"
  | "block/locked"
  | "block/read-only"
  | "block/io"
  | "block/bad-format"
  | "chardev/unknown"
  | "chardev/io"
  | "net/unknown"
  | "net/io"
  | "accel/unknown"
  | "accel/unavailable"
  | "accel/failed"
  | "host/no-ffi"
  | "monitor/bad-command"
  /** A stream of machine state: damaged, or of another machine. */
  | "migration/bad-stream"
  | "migration/mismatch"
  | "migration/io"
  | "aborted"
  | "closed";

/** A host or user failure: one clear line that names the thing and what to do about it. */
export class VmError extends Error {
  override readonly name = "VmError";
  constructor(
    readonly code: VmErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** A bug of ours. */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${what}`);
}
