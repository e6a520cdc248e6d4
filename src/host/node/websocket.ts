/** WebSocket connections as streams of bytes, by the package `ws`. Source: RFC 6455; subprotocol "binary" as noVNC asks. */
import { type WebSocket, WebSocketServer } from "ws";
import { VmError } from "../../base/errors.js";
import type { NetAddress, TcpListener, TcpStream, TcpStreamEvents } from "../network.js";
import { reasonOf } from "./files.js";

/** One message of a client; longer ones end the connection. */
const MAX_MESSAGE_BYTES = 2 ** 21;
const IGNORE: TcpStreamEvents = { data() {}, ended() {}, drained() {}, closed() {} };

class WebSocketStream implements TcpStream {
  events: TcpStreamEvents = IGNORE;

  constructor(
    private readonly socket: WebSocket,
    readonly remote: NetAddress,
  ) {
    socket.on("message", (data, isBinary) => {
      const bytes = Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as Buffer);
      if (isBinary) this.events.data(bytes);
      else this.destroy();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      const { events } = this;
      this.events = IGNORE;
      events.closed();
    });
  }

  get queuedBytes(): number {
    return this.socket.bufferedAmount;
  }

  write(bytes: Uint8Array): void {
    if (this.socket.readyState === this.socket.OPEN)
      this.socket.send(Buffer.from(bytes), { binary: true }, () => this.events.drained());
  }

  end(): void {
    this.socket.close();
  }

  setReading(on: boolean): void {
    if (on) this.socket.resume();
    else this.socket.pause();
  }

  destroy(): void {
    this.events = IGNORE;
    this.socket.terminate();
  }
}

/** @throws VmError "net/io" */
export function listenWebSocket(at: NetAddress, onConnection: (stream: TcpStream) => void): Promise<TcpListener> {
  return new Promise((resolve, reject) => {
    const server = new WebSocketServer({
      host: at.host,
      port: at.port,
      maxPayload: MAX_MESSAGE_BYTES,
      perMessageDeflate: false,
      handleProtocols: (offered) => (offered.has("binary") ? "binary" : false),
    });
    server.once("error", (cause) =>
      reject(new VmError("net/io", `could not listen on ${at.host}:${at.port}: ${reasonOf(cause)}`, { cause })),
    );
    server.on("connection", (socket, request) => {
      const { remoteAddress = "", remotePort = 0 } = request.socket;
      onConnection(new WebSocketStream(socket, { host: remoteAddress, port: remotePort }));
    });
    server.once("listening", () => {
      server.on("error", () => {});
      const bound = server.address();
      const port = typeof bound === "object" && bound ? bound.port : at.port;
      resolve({ local: { host: at.host, port }, close: () => server.close() });
    });
  });
}
