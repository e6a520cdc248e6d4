/** `socket` character backend: a server that serves one client at a time, or a client that may try again. */
import { rmSync } from "node:fs";
import { stat } from "node:fs/promises";
import { connect, createServer, type Server, Socket } from "node:net";
import { VmError } from "../../base/errors.js";
import type { ChardevSpec, SocketAddress } from "../host.js";
import { reasonOf } from "./files.js";
import { NodeChardev } from "./stream-chardev.js";

type SocketSpec = Extract<ChardevSpec, { backend: "socket" }>;

/** Clients that may wait for the one before them. */
const WAITING_LIMIT = 8;

export class SocketChardev extends NodeChardev {
  private server: Server | undefined;
  private client: Socket | undefined;
  private waiting: Socket[] = [];
  private timer: NodeJS.Timeout | undefined;
  private ended = false;

  private constructor(private readonly spec: SocketSpec) {
    super(spec.id);
  }

  /** @throws VmError "chardev/io" */
  static async open(spec: SocketSpec, signal?: AbortSignal): Promise<SocketChardev> {
    const chardev = new SocketChardev(spec);
    try {
      if (spec.server) await chardev.listen(signal);
      else await chardev.dial();
    } catch (e) {
      chardev.close();
      throw e;
    }
    return chardev;
  }

  /** The address in use: the port when port 0 was asked for. */
  get address(): SocketAddress {
    const bound = this.server?.address();
    const { address } = this.spec;
    return address.kind === "tcp" && bound && typeof bound === "object" ? { ...address, port: bound.port } : address;
  }

  filename(): string {
    const bound = this.server?.address();
    const { address, server } = this.spec;
    let where: string;
    if (address.kind === "tcp") {
      const at = this.address as { readonly host: string; readonly port: number };
      where = `tcp:${at.host}:${at.port}`;
    } else if (address.kind === "unix") where = `unix:${address.path}`;
    else if (typeof bound === "string") where = `unix:${bound}`;
    else where = bound ? `tcp:${bound.address}:${bound.port}` : "unix:";
    return `${this.client ? "" : "disconnected:"}${where}${server ? ",server=on" : ""}`;
  }

  private async listen(signal: AbortSignal | undefined): Promise<void> {
    const { address, wait } = this.spec;
    if (address.kind === "unix" && (await stat(address.path).catch(() => undefined))?.isSocket())
      rmSync(address.path, { force: true });
    const first = new Promise<void>((resolve, reject) => {
      this.server = createServer((socket) => {
        this.accept(socket);
        resolve();
      });
      const abort = () => reject(new VmError("aborted", "gave up waiting for a client"));
      if (signal?.aborted) abort();
      else signal?.addEventListener("abort", abort, { once: true });
    });
    first.catch(() => {});
    const server = this.server!;
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause) => reject(this.failure("bind", cause)));
      server.listen(target(address), resolve);
    });
    server.on("error", () => {});
    if (wait) await first;
  }

  private accept(socket: Socket): void {
    if (this.client) {
      if (this.waiting.length >= WAITING_LIMIT) socket.destroy();
      else {
        socket.on("error", () => {});
        this.waiting.push(socket);
      }
      return;
    }
    this.client = socket;
    socket.setNoDelay(this.spec.nodelay);
    socket.on("error", () => {});
    socket.once("close", () => this.gone());
    // A client that half-closes has gone, as for QEMU.
    socket.once("end", () => socket.end());
    this.connect(socket, socket);
  }

  private gone(): void {
    this.client = undefined;
    if (this.ended) return;
    this.disconnect();
    const next = this.waiting.shift();
    if (next) this.accept(next);
    else if (!this.spec.server && this.spec.reconnectSec > 0) this.retry();
  }

  private retry(): void {
    if (this.ended) return;
    this.timer = setTimeout(() => void this.dial().catch(() => {}), this.spec.reconnectSec * 1000);
    this.timer.unref();
  }

  private dial(): Promise<void> {
    return new Promise((resolve, reject) => {
      const { address } = this.spec;
      if (address.kind === "fd") {
        // Connected already by whoever started us.
        try {
          this.accept(new Socket({ fd: address.fd, readable: true, writable: true }));
          resolve();
        } catch (cause) {
          reject(this.failure("use", cause));
        }
        return;
      }
      const socket = connect(address.kind === "unix" ? { path: address.path } : tcp(address));
      socket.once("connect", () => {
        socket.off("error", failed);
        if (this.ended) socket.destroy();
        else this.accept(socket);
        resolve();
      });
      const failed = (cause: Error) => {
        if (this.spec.reconnectSec > 0) {
          this.retry();
          resolve();
        } else reject(this.failure("connect", cause));
      };
      socket.once("error", failed);
    });
  }

  private failure(what: string, cause: unknown): VmError {
    const { address } = this.spec;
    const where =
      address.kind === "unix"
        ? `'${address.path}'`
        : address.kind === "fd"
          ? `fd ${address.fd}`
          : `${address.host}:${address.port}`;
    return new VmError("chardev/io", `Failed to ${what} socket ${where}: ${reasonOf(cause)}`, { cause });
  }

  override close(): void {
    this.ended = true;
    super.close();
    clearTimeout(this.timer);
    this.client?.end();
    this.client?.unref();
    for (const s of this.waiting) s.destroy();
    this.server?.close();
    const { address } = this.spec;
    if (this.server?.listening === false && address.kind === "unix") rmSync(address.path, { force: true });
  }
}

function target(address: SocketAddress) {
  if (address.kind === "fd") return { fd: address.fd };
  return address.kind === "unix" ? { path: address.path } : tcp(address);
}

function tcp({ host, port }: { readonly host: string; readonly port: number }) {
  return { host: host === "" ? "localhost" : host, port };
}
