/** The host's network on Node. */
import { createSocket } from "node:dgram";
import { getServers } from "node:dns";
import { connect, createServer, isIPv6, Socket } from "node:net";
import { VmError } from "../../base/errors.js";
import type { HostNetwork, NetAddress, TcpListener, TcpStream, TcpStreamEvents, UdpSocket } from "../network.js";
import { reasonOf } from "./files.js";
import { openTap } from "./tap.js";
import { listenWebSocket } from "./websocket.js";

const DNS_PORT = 53;
/** Connections that a listener's kernel queue holds before they are accepted. */
const BACKLOG = 511;

const IGNORE: TcpStreamEvents = { data() {}, ended() {}, drained() {}, closed() {} };

const REASONS: { readonly [code: string]: "refused" | "unreachable" | "timeout" | "reset" } = {
  ECONNREFUSED: "refused",
  ENETUNREACH: "unreachable",
  EHOSTUNREACH: "unreachable",
  EADDRNOTAVAIL: "unreachable",
  EACCES: "unreachable",
  ETIMEDOUT: "timeout",
  ECONNRESET: "reset",
  EPIPE: "reset",
};

class NodeTcpStream implements TcpStream {
  private corked = false;
  private failure: string | undefined;

  constructor(
    private readonly socket: Socket,
    readonly remote: NetAddress,
    public events: TcpStreamEvents,
  ) {
    socket.on("connect", () => {
      socket.setNoDelay(true);
      this.events.connected?.();
    });
    socket.on("data", (bytes: Uint8Array) => this.events.data(bytes));
    socket.on("end", () => this.events.ended());
    socket.on("drain", () => this.events.drained());
    socket.on("error", (e: NodeJS.ErrnoException) => {
      this.failure = e.code ?? "failed";
    });
    socket.on("close", (hadError: boolean) => {
      const { events } = this;
      this.events = IGNORE;
      events.closed(hadError || this.failure !== undefined ? (REASONS[this.failure ?? ""] ?? "failed") : undefined);
    });
  }

  get queuedBytes(): number {
    return this.socket.writableLength;
  }

  write(bytes: Uint8Array): void {
    const { socket } = this;
    if (socket.destroyed || socket.writableEnded) return;
    // Many small segments of one turn leave by one call.
    if (!this.corked) {
      this.corked = true;
      socket.cork();
      process.nextTick(() => {
        this.corked = false;
        socket.uncork();
      });
    }
    socket.write(Buffer.from(bytes), this.onWritten);
  }

  private readonly onWritten = (): void => this.events.drained();

  end(): void {
    if (!this.socket.destroyed) this.socket.end();
  }

  setReading(on: boolean): void {
    if (on) this.socket.resume();
    else this.socket.pause();
  }

  destroy(): void {
    this.events = IGNORE;
    this.socket.resetAndDestroy();
  }
}

class NodeUdpSocket implements UdpSocket {
  onDatagram: (bytes: Uint8Array, from: NetAddress) => void = () => {};
  private closed = false;

  constructor(private readonly socket: ReturnType<typeof createSocket>) {
    socket.on("message", (bytes, from) => this.onDatagram(bytes, { host: from.address, port: from.port }));
    socket.on("error", () => {});
  }

  get local(): NetAddress {
    const { address, port } = this.socket.address();
    return { host: address, port };
  }

  send(bytes: Uint8Array, to: NetAddress): void {
    if (this.closed) return;
    try {
      this.socket.send(Buffer.from(bytes), to.port, to.host, () => {});
    } catch {
      // An address that the host does not take: the datagram is lost, as any may be.
    }
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.socket.close();
  }
}

const where = (a: NetAddress) => a.path ?? `${isIPv6(a.host) ? `[${a.host}]` : a.host}:${a.port}`;

/** `nameServers`: instead of those the host is configured with. */
export function nodeNetwork(nameServers?: readonly NetAddress[]): HostNetwork {
  return {
    connectTcp(to, events) {
      const socket = connect({ host: to.host, port: to.port, allowHalfOpen: true, noDelay: true });
      return new NodeTcpStream(socket, to, events);
    },

    listenTcp(at, onConnection) {
      return new Promise<TcpListener>((resolve, reject) => {
        const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
          const remote = { host: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 };
          onConnection(new NodeTcpStream(socket, remote, IGNORE));
        });
        server.once("error", (cause) =>
          reject(new VmError("net/io", `could not listen on ${where(at)}: ${reasonOf(cause)}`, { cause })),
        );
        const target = at.path === undefined ? { host: at.host, port: at.port } : { path: at.path };
        server.listen({ ...target, backlog: BACKLOG }, () => {
          server.removeAllListeners("error");
          server.on("error", () => {});
          const bound = server.address();
          const port = typeof bound === "object" && bound ? bound.port : at.port;
          resolve({ local: { ...at, port }, close: () => void server.close() });
        });
      });
    },

    openUdp(at, options) {
      return new Promise<UdpSocket>((resolve, reject) => {
        const socket = createSocket({ type: isIPv6(at.host) ? "udp6" : "udp4", reuseAddr: options?.group !== undefined });
        socket.once("error", (cause) => {
          socket.close();
          reject(new VmError("net/io", `could not bind UDP ${where(at)}: ${reasonOf(cause)}`, { cause }));
        });
        socket.bind({ address: at.host, port: at.port }, () => {
          try {
            if (options?.group !== undefined) socket.addMembership(options.group, options.local);
            if (options?.local !== undefined) socket.setMulticastInterface(options.local);
          } catch (cause) {
            socket.close();
            reject(
              new VmError("net/io", `could not use multicast at ${options?.local ?? options?.group}: ${reasonOf(cause)}`, {
                cause,
              }),
            );
            return;
          }
          socket.removeAllListeners("error");
          resolve(new NodeUdpSocket(socket));
        });
      });
    },

    listenWebSocket,
    openTap,

    adoptTcp(fd) {
      const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
      return new NodeTcpStream(socket, { host: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 }, IGNORE);
    },

    nameServers: () => nameServers ?? systemNameServers(),
  };
}

function systemNameServers(): NetAddress[] {
  return getServers().map((s) => {
    const m = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(s);
    return m ? { host: m[1] ?? m[2]!, port: Number(m[3]) } : { host: s, port: DNS_PORT };
  });
}
