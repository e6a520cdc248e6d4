/** `socket` character backend: a server that serves one client at a time, or a client that may try again. */
import { closeSync, rmSync } from "node:fs";
import { stat } from "node:fs/promises";
import { connect, createServer, type Server, Socket } from "node:net";
import { Readable } from "node:stream";
import { VmError } from "../../base/errors.js";
import type { ChardevSpec, SocketAddress } from "../host.js";
import { type Descriptors, descriptors } from "./descriptors.js";
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
  /** Set when the peer's descriptors are received. */
  private io: Descriptors | undefined;

  private constructor(private readonly spec: SocketSpec) {
    super(spec.id);
  }

  /** @throws VmError "chardev/io" */
  static async open(spec: SocketSpec, signal?: AbortSignal): Promise<SocketChardev> {
    const chardev = new SocketChardev(spec);
    // Without the FFI library descriptors that a client sends are lost; the rest works.
    if (spec.passFds && spec.address.kind !== "tcp") chardev.io = await descriptors().catch(() => undefined);
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
      this.server = createServer({ pauseOnConnect: this.io !== undefined }, (socket) => {
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
    const fd = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd;
    this.connect(this.io && fd !== undefined ? this.receiving(socket, fd, this.io) : socket, socket);
  }

  /** Reads past Node, which would drop the descriptors. */
  private receiving(socket: Socket, fd: number, io: Descriptors): Readable {
    let stop = () => {};
    const wait = (): void => {
      stop();
      stop = io.once(fd, () => {
        if (socket.destroyed) return;
        const got = io.receive(fd);
        if (!got) return wait();
        if (got.data.length === 0) return void socket.destroy();
        if (got.fds.length > 0 && !this.giveFds(got.fds)) for (const f of got.fds) closeSync(f);
        source.push(got.data);
      });
    };
    const source = new Readable({ read: wait });
    socket.once("close", () => {
      stop();
      source.destroy();
    });
    return source;
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
