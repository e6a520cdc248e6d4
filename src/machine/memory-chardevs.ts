/** Character backends that need no host: null, ring buffer, and the streams of the API. */
import type { Chardev, ChardevFrontend } from "../host/chardev.js";

/** Takes everything, gives nothing. */
export class NullChardev implements Chardev {
  constructor(readonly id: string) {}
  write(): void {}
  attach(): void {}
  resume(): void {}
  close(): void {}
}

/** The guest's last output, in memory: what `ringbuf_read` takes. The oldest bytes are lost. */
export class RingbufChardev implements Chardev {
  private readonly bytes: Uint8Array;
  private produced = 0;
  private consumed = 0;
  private frontend: ChardevFrontend | undefined;
  private readonly input: Pending;

  /** @param sizeBytes a power of two */
  constructor(
    readonly id: string,
    sizeBytes: number,
  ) {
    this.bytes = new Uint8Array(sizeBytes);
    this.input = new Pending(sizeBytes);
  }

  write(data: Uint8Array): void {
    for (const b of data) this.bytes[this.produced++ % this.bytes.length] = b;
    if (this.produced - this.consumed > this.bytes.length) this.consumed = this.produced - this.bytes.length;
  }

  /** Takes up to `limit` bytes out, oldest first. */
  read(limit: number): Uint8Array {
    const n = Math.min(limit, this.produced - this.consumed);
    const out = new Uint8Array(n);
    for (let i = 0; i < n; i++) out[i] = this.bytes[this.consumed++ % this.bytes.length]!;
    return out;
  }

  /** Gives bytes to the guest: `ringbuf_write`. @returns how many were taken */
  send(data: Uint8Array): number {
    const n = this.input.push(data);
    this.resume();
    return n;
  }

  attach(frontend: ChardevFrontend | undefined): void {
    this.frontend = frontend;
    frontend?.event?.("opened");
    this.resume();
  }

  resume(): void {
    this.input.drain(this.frontend);
  }

  close(): void {
    this.frontend = undefined;
  }
}

/** Bytes on their way to a frontend, bounded. */
export class Pending {
  private chunks: Uint8Array[] = [];
  private size = 0;
  private draining = false;

  constructor(readonly limit: number) {}

  get length(): number {
    return this.size;
  }

  /** @returns how many bytes were taken */
  push(data: Uint8Array): number {
    const n = Math.min(data.length, this.limit - this.size);
    if (n > 0) {
      this.chunks.push(data.slice(0, n));
      this.size += n;
    }
    return n;
  }

  /** Hands over what the frontend has room for. */
  drain(frontend: ChardevFrontend | undefined): void {
    if (!frontend || this.draining) return;
    this.draining = true;
    try {
      for (let head = this.chunks[0]; head; head = this.chunks[0]) {
        const n = Math.min(frontend.canReceive(), head.length);
        if (n <= 0) return;
        if (n === head.length) this.chunks.shift();
        else this.chunks[0] = head.subarray(n);
        this.size -= n;
        frontend.receive(head.subarray(0, n));
      }
    } finally {
      this.draining = false;
    }
  }

  clear(): void {
    this.chunks = [];
    this.size = 0;
  }
}

/** What the guest may have written without anyone reading; then the oldest goes. */
const STREAM_LIMIT = 2 ** 20;
const STREAM_INPUT_LIMIT = 65536;

/** Both directions as Web Streams, for the API. */
export class StreamChardev implements Chardev {
  private frontend: ChardevFrontend | undefined;
  private readonly input = new Pending(STREAM_INPUT_LIMIT);
  private output: Uint8Array[] = [];
  private outputBytes = 0;
  private wake: (() => void) | undefined;
  private inputWaiters: (() => void)[] = [];
  private closed = false;
  /** Called with every piece of the guest's output. */
  readonly taps = new Set<(data: Uint8Array) => void>();
  /** From the guest. A reader that falls behind by more than 1 MiB loses the oldest output. */
  readonly readable: ReadableStream<Uint8Array>;
  /** To the guest; writes wait for room. */
  readonly writable: WritableStream<Uint8Array | string>;

  constructor(readonly id: string) {
    this.readable = new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          while (this.output.length === 0 && !this.closed) await new Promise<void>((resolve) => (this.wake = resolve));
          for (const chunk of this.output.splice(0)) controller.enqueue(chunk);
          this.outputBytes = 0;
          if (this.closed) controller.close();
        },
      },
      { highWaterMark: 0 },
    );
    const encoder = new TextEncoder();
    this.writable = new WritableStream<Uint8Array | string>({
      write: async (chunk) => {
        let rest = typeof chunk === "string" ? encoder.encode(chunk) : chunk;
        while (!this.closed) {
          rest = rest.subarray(this.input.push(rest));
          this.resume();
          if (rest.length === 0) return;
          await new Promise<void>((resolve) => this.inputWaiters.push(resolve));
        }
      },
    });
  }

  write(data: Uint8Array): void {
    const copy = data.slice();
    for (const tap of this.taps) tap(copy);
    this.output.push(copy);
    this.outputBytes += copy.length;
    while (this.outputBytes > STREAM_LIMIT) this.outputBytes -= this.output.shift()!.length;
    this.wake?.();
  }

  attach(frontend: ChardevFrontend | undefined): void {
    this.frontend = frontend;
    frontend?.event?.("opened");
    this.resume();
  }

  resume(): void {
    this.input.drain(this.frontend);
    if (this.input.length < this.input.limit) for (const w of this.inputWaiters.splice(0)) w();
  }

  close(): void {
    this.closed = true;
    this.frontend = undefined;
    this.wake?.();
    for (const w of this.inputWaiters.splice(0)) w();
  }
}
