/** Trace items of `-d`, in QEMU's words. */
export type TraceItem = "in_asm" | "op" | "out_wasm" | "int" | "cpu_reset" | "guest_errors" | "unimp";

/** Where trace lines go; items that are off cost one test. */
export class Trace {
  private readonly enabled = new Set<TraceItem>();
  /** Receives whole lines without the newline. */
  sink: (line: string) => void = () => {};

  enable(item: TraceItem): void {
    this.enabled.add(item);
  }

  disable(item: TraceItem): void {
    this.enabled.delete(item);
  }

  on(item: TraceItem): boolean {
    return this.enabled.has(item);
  }

  log(item: TraceItem, line: string | (() => string)): void {
    if (this.enabled.has(item)) this.sink(typeof line === "string" ? line : line());
  }

  /** The guest misused a device; the device's defined behaviour follows. */
  guestError(device: string, what: string | (() => string)): void {
    if (this.enabled.has("guest_errors")) this.sink(`${device}: ${typeof what === "string" ? what : what()}`);
  }

  /** The guest asked for something that is not emulated. */
  unimp(device: string, what: string | (() => string)): void {
    if (this.enabled.has("unimp")) this.sink(`${device}: unimplemented: ${typeof what === "string" ? what : what()}`);
  }
}
