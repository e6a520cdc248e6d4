/** What character backends over Node streams share: bounded input with flow control, output gathered per turn. */
import type { Readable, Writable } from "node:stream";
import type { Chardev, ChardevFrontend } from "../chardev.js";

/** Input that waits for the guest before the source is paused. */
const INPUT_HIGH = 65536;
/** Output that waits for a slow reader; beyond it the guest's output is dropped. */
export const OUTPUT_LIMIT = 2 ** 20;

/** A backend whose source and sink may come and go. Subclasses call `connect` and `disconnect`. */
export class NodeChardev implements Chardev {
  private frontend: ChardevFrontend | undefined;
  private source: Readable | undefined;
  private sink: Writable | undefined;
  private input: Uint8Array[] = [];
  private inputBytes = 0;
  private draining = false;
  private output: Buffer[] = [];
  private flushing = false;
  private opened = false;
  /** Sees input first; returns what is left for the guest. */
  protected filter: (data: Uint8Array) => Uint8Array = (data) => data;

  constructor(readonly id: string) {}

  protected connect(source: Readable | undefined, sink: Writable | undefined): void {
    this.source = source;
    this.sink = sink;
    this.opened = true;
    source?.on("data", this.onData);
    sink?.on("drain", this.onDrain);
    if (this.inputBytes >= INPUT_HIGH) source?.pause();
    this.frontend?.event?.("opened");
  }

  protected disconnect(): void {
    this.source?.off("data", this.onData);
    this.sink?.off("drain", this.onDrain);
    this.source = undefined;
    this.sink = undefined;
    this.output = [];
    if (!this.opened) return;
    this.opened = false;
    this.frontend?.event?.("closed");
  }

  private readonly onData = (chunk: Buffer): void => {
    const data = this.filter(chunk);
    if (data.length === 0) return;
    this.input.push(data);
    this.inputBytes += data.length;
    this.resume();
    if (this.inputBytes >= INPUT_HIGH) this.source?.pause();
  };

  /** A frontend that held back because nobody read may go on. */
  private readonly onDrain = (): void => this.resume();

  unread(): number {
    return this.sink?.writableLength ?? 0;
  }

  /** Hands descriptors over; nobody wants them: `false`. */
  protected giveFds(fds: readonly number[]): boolean {
    if (!this.frontend?.receiveFds) return false;
    this.frontend.receiveFds(fds);
    return true;
  }

  write(data: Uint8Array): void {
    if (!this.sink) return;
    this.output.push(Buffer.from(data));
    if (this.flushing) return;
    this.flushing = true;
    // Devices write byte by byte; one host call a turn of the event loop is enough.
    setImmediate(() => this.flushOutput());
  }

  /** Hands over what has been gathered. */
  flushOutput(): void {
    this.flushing = false;
    const { sink } = this;
    if (this.output.length === 0) return;
    const all = Buffer.concat(this.output);
    this.output = [];
    if (sink && !sink.destroyed && sink.writableLength < OUTPUT_LIMIT) sink.write(all);
  }

  attach(frontend: ChardevFrontend | undefined): void {
    this.frontend = frontend;
    if (this.opened) frontend?.event?.("opened");
    this.resume();
  }

  resume(): void {
    const { frontend } = this;
    if (!frontend || this.draining) return;
    this.draining = true;
    try {
      for (let head = this.input[0]; head; head = this.input[0]) {
        const n = Math.min(frontend.canReceive(), head.length);
        if (n <= 0) break;
        if (n === head.length) this.input.shift();
        else this.input[0] = head.subarray(n);
        this.inputBytes -= n;
        frontend.receive(head.subarray(0, n));
      }
    } finally {
      this.draining = false;
    }
    if (this.inputBytes < INPUT_HIGH && this.source?.isPaused()) this.source.resume();
  }

  close(): void {
    this.flushOutput();
    this.disconnect();
    this.frontend = undefined;
  }
}
