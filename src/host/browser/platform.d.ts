// What the browser host and the page's Worker use of the web platform, beside base/web-platform.d.ts. The DOM library is not
// used here: its WebAssembly types and ours exclude each other. Sources: WHATWG HTML, Fetch, File API, URL, HR Time.
interface MessageEvent<T = unknown> {
  readonly data: T;
}
interface Transferable {
  readonly byteLength?: number;
}
interface MessagePort {
  onmessage: ((event: MessageEvent) => void) | null;
  postMessage(message: unknown, transfer?: readonly unknown[]): void;
}
declare class MessageChannel {
  readonly port1: MessagePort;
  readonly port2: MessagePort;
}
declare class Blob {
  constructor(parts?: readonly (Blob | Uint8Array | string)[]);
  readonly size: number;
  slice(start?: number, end?: number): Blob;
  arrayBuffer(): Promise<ArrayBuffer>;
}
declare class URL {
  constructor(url: string, base?: string);
  readonly href: string;
}
interface Response {
  readonly ok: boolean;
  readonly status: number;
  arrayBuffer(): Promise<ArrayBuffer>;
}
declare function fetch(url: URL | string): Promise<Response>;
declare function setTimeout(task: () => void, delayMs: number): number;
declare function clearTimeout(timer: number | undefined): void;
declare function setInterval(task: () => void, periodMs: number): number;
declare function clearInterval(timer: number | undefined): void;
declare const performance: { now(): number };
declare const crypto: { getRandomValues(out: Uint8Array): Uint8Array };
declare const console: { warn(...what: unknown[]): void; error(...what: unknown[]): void };
declare const self: { readonly location: { readonly href: string } };
