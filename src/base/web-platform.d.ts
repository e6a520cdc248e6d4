// What our layers use of the web platform and lib.es* does not declare: WHATWG Streams, DOM AbortSignal, WHATWG Encoding.
// Node 20 and browsers have all of it. Only the core project sees this file: projects with DOM or Node types leave it out.
interface ReadableStreamDefaultController<R = unknown> {
  readonly desiredSize: number | null;
  close(): void;
  enqueue(chunk?: R): void;
  error(e?: unknown): void;
}
interface ReadableStreamDefaultReader<R = unknown> {
  readonly closed: Promise<void>;
  read(): Promise<{ done: false; value: R } | { done: true; value: R | undefined }>;
  cancel(reason?: unknown): Promise<void>;
  releaseLock(): void;
}
interface ReadableStream<R = unknown> {
  readonly locked: boolean;
  cancel(reason?: unknown): Promise<void>;
  getReader(): ReadableStreamDefaultReader<R>;
  pipeTo(destination: WritableStream<R>): Promise<void>;
}
declare var ReadableStream: {
  new <R = unknown>(
    source?: {
      start?(controller: ReadableStreamDefaultController<R>): void | PromiseLike<void>;
      pull?(controller: ReadableStreamDefaultController<R>): void | PromiseLike<void>;
      cancel?(reason?: unknown): void | PromiseLike<void>;
    },
    strategy?: { highWaterMark?: number; size?: (chunk: R) => number },
  ): ReadableStream<R>;
};
interface WritableStreamDefaultWriter<W = unknown> {
  readonly closed: Promise<void>;
  readonly ready: Promise<void>;
  write(chunk?: W): Promise<void>;
  close(): Promise<void>;
  abort(reason?: unknown): Promise<void>;
  releaseLock(): void;
}
interface WritableStream<W = unknown> {
  readonly locked: boolean;
  abort(reason?: unknown): Promise<void>;
  close(): Promise<void>;
  getWriter(): WritableStreamDefaultWriter<W>;
}
declare var WritableStream: {
  new <W = unknown>(
    sink?: {
      write?(chunk: W): void | PromiseLike<void>;
      close?(): void | PromiseLike<void>;
      abort?(reason?: unknown): void | PromiseLike<void>;
    },
    strategy?: { highWaterMark?: number; size?: (chunk: W) => number },
  ): WritableStream<W>;
};
interface AbortSignal {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: "abort", listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: "abort", listener: () => void): void;
  throwIfAborted(): void;
}
declare class TextEncoder {
  encode(text?: string): Uint8Array;
}
declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean });
  decode(bytes?: Uint8Array, options?: { stream?: boolean }): string;
}
