/** A VNC server: who is connected, the password and its time, the rhythm of updates. */

import type { HostClock } from "../../host/clock.js";
import type { CreateDeflater } from "../../host/deflate.js";
import type { HostNetwork, NetAddress, TcpListener, TcpStream } from "../../host/network.js";
import type { HostScheduler } from "../../host/scheduler.js";
import type { Display, Surface } from "../display.js";
import type { InputHub } from "../input.js";
import { VncClient, type VncHost } from "./client.js";

/** Connections at a time. */
export const MAX_CLIENTS = 64;
/** Time between two looks at the screen while somebody waits for a change. */
const REFRESH_MS = 30;
/** What is shown without a display adapter. */
const EMPTY: Surface = { width: 640, height: 480, pixels: new Uint32Array(640 * 480) };

export type SharePolicy = "allow-exclusive" | "force-shared" | "ignore";

export interface VncServerOptions {
  readonly id: string;
  readonly name: string;
  readonly needsPassword: boolean;
  readonly share: SharePolicy;
  readonly network: HostNetwork;
  readonly scheduler: HostScheduler;
  readonly clock: HostClock;
  readonly createDeflater: CreateDeflater;
  random(out: Uint8Array): void;
  display(): Display | undefined;
  readonly input: InputHub;
  qcodeOfScancode(code: number): string | undefined;
  note(text: string): void;
}

/** What happens at a server. */
export interface VncEvent {
  readonly event: "connected" | "initialized" | "disconnected";
  readonly server: NetAddress;
  readonly client: NetAddress;
  readonly websocket: boolean;
}

export class VncServer implements VncHost {
  private readonly clients = new Set<VncClient>();
  private readonly listeners: { readonly listener: TcpListener; readonly websocket: boolean }[] = [];
  private cancelRefresh: (() => void) | undefined;
  private secret: string | undefined;
  /** Wall-clock time at which the password ends to hold. */
  private expiresMs = Number.POSITIVE_INFINITY;
  private closed = false;
  onEvent: (e: VncEvent) => void = () => {};

  constructor(private readonly options: VncServerOptions) {}

  get id(): string {
    return this.options.id;
  }
  get name(): string {
    return this.options.name;
  }
  get needsPassword(): boolean {
    return this.options.needsPassword;
  }
  get createDeflater(): CreateDeflater {
    return this.options.createDeflater;
  }
  get input(): InputHub {
    return this.options.input;
  }

  /** Listens; of several ports the first that is free. @throws VmError "net/io" */
  async listen(at: NetAddress, tries = 1, websocket = false): Promise<void> {
    const { network } = this.options;
    for (let n = 0; ; n++) {
      const address = { ...at, port: at.port + n };
      try {
        const accept = (stream: TcpStream) => this.accept(stream, false, websocket);
        const listener =
          websocket && network.listenWebSocket
            ? await network.listenWebSocket(address, accept)
            : await network.listenTcp(address, accept);
        this.listeners.push({ listener, websocket });
        return;
      } catch (e) {
        if (n + 1 >= tries) throw e;
      }
    }
  }

  /** A connection that somebody else has accepted: `add_client`. */
  accept(stream: TcpStream, skipAuth: boolean, websocket = false): void {
    if (this.closed || this.clients.size >= MAX_CLIENTS) {
      stream.destroy();
      return;
    }
    const client = new VncClient(this, stream, skipAuth, websocket);
    this.clients.add(client);
    this.tell("connected", client);
  }

  // Password.

  /** `set_password`: sets it; the empty one lets nobody in. */
  setPassword(password: string): void {
    this.secret = password;
  }

  /** `expire_password`: when it ends to hold, in ms since 1970; Infinity = never. */
  setExpiry(wallMs: number): void {
    this.expiresMs = wallMs;
  }

  password(): string | undefined {
    if (this.secret === undefined || this.secret === "" || this.options.clock.wallMs() >= this.expiresMs) return undefined;
    return this.secret;
  }

  // What clients ask.

  random(out: Uint8Array): void {
    this.options.random(out);
  }

  surface(): Surface {
    return this.options.display()?.refresh() ?? EMPTY;
  }

  qcodeOfScancode(code: number): string | undefined {
    return this.options.qcodeOfScancode(code);
  }

  note(text: string): void {
    this.options.note(`vnc: ${text}`);
  }

  admitted(client: VncClient, shared: boolean): boolean {
    const { share } = this.options;
    if (share === "force-shared" && !shared) return false;
    if (share === "allow-exclusive" && !shared)
      for (const c of [...this.clients]) if (c !== client && c.ready) c.drop("another client wants to be alone");
    this.tell("initialized", client);
    return true;
  }

  wantsUpdates(): void {
    // A look at once, and one each while somebody waits.
    if (!this.cancelRefresh) this.schedule(0);
  }

  gone(client: VncClient): void {
    if (!this.clients.delete(client)) return;
    this.tell("disconnected", client);
    if (this.clients.size === 0) {
      this.cancelRefresh?.();
      this.cancelRefresh = undefined;
    }
  }

  private schedule(ms: number): void {
    this.cancelRefresh = this.options.scheduler.after(ms, () => {
      this.cancelRefresh = undefined;
      for (const c of this.clients) c.update();
      if (this.clients.size > 0 && !this.closed) this.schedule(REFRESH_MS);
    });
  }

  private tell(event: VncEvent["event"], client: VncClient): void {
    this.onEvent({ event, server: this.address ?? { host: "", port: 0 }, client: client.remote, websocket: client.websocket });
  }

  /** Where it listens. */
  get address(): NetAddress | undefined {
    return this.listeners.find((l) => !l.websocket)?.listener.local;
  }

  get websocketAddress(): NetAddress | undefined {
    return this.listeners.find((l) => l.websocket)?.listener.local;
  }

  connections(): readonly { readonly remote: NetAddress; readonly websocket: boolean }[] {
    return [...this.clients].filter((c) => c.ready);
  }

  close(): void {
    this.closed = true;
    this.cancelRefresh?.();
    for (const { listener } of this.listeners) listener.close();
    for (const c of [...this.clients]) c.drop();
  }
}
