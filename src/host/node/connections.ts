/** Sockets as byte streams, and HTTP, through `node:net` and `node:http`. */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect, type Socket } from "node:net";
import { VmError } from "../../base/errors.js";
import type { HostConnection, HostConnections, HostHttp, HttpAnswer } from "../connection.js";
import { reasonOf } from "./files.js";

const MAX_REDIRECTS = 5;

function ioError(cause: unknown): VmError {
  return new VmError("block/io", reasonOf(cause), { cause });
}

/** A socket that is read by demand: what is not asked for waits in the kernel. */
class SocketStream implements HostConnection {
  private error: VmError | undefined;
  private wake: (() => void) | undefined;

  constructor(private readonly socket: Socket) {
    const ended = (error: VmError) => {
      this.error ??= error;
      this.wake?.();
    };
    socket.on("readable", () => this.wake?.());
    socket.on("error", (e) => ended(ioError(e)));
    socket.on("end", () => ended(new VmError("block/io", "Unexpected end-of-file before all bytes were read")));
    socket.on("close", () => ended(new VmError("block/io", "the connection is closed")));
  }

  async read(out: Uint8Array, timeoutMs: number): Promise<void> {
    for (let done = 0; done < out.length; ) {
      const want = Math.min(out.length - done, this.socket.readableLength);
      const chunk: Uint8Array | null = want > 0 ? this.socket.read(want) : this.socket.read(0);
      if (chunk && chunk.length > 0) {
        out.set(chunk, done);
        done += chunk.length;
        continue;
      }
      if (this.error && this.socket.readableLength === 0) throw this.error;
      const timedOut = await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(true), timeoutMs);
        this.wake = () => {
          clearTimeout(timer);
          resolve(false);
        };
        if (this.error) this.wake();
      });
      this.wake = undefined;
      if (timedOut) throw new VmError("block/io", "the other side did not answer in time");
    }
  }

  write(data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.error) return reject(this.error);
      this.socket.write(data, (e) => (e ? reject(ioError(e)) : resolve()));
    });
  }

  close(): void {
    this.socket.destroy();
  }
}

export const nodeConnections: HostConnections = {
  connect: (address, timeoutMs) =>
    new Promise((resolve, reject) => {
      const socket = address.kind === "unix" ? connect(address.path) : connect(address.port, address.host);
      const timer = setTimeout(() => {
        socket.destroy();
        reject(new VmError("block/io", "Connection timed out"));
      }, timeoutMs);
      socket.once("connect", () => {
        clearTimeout(timer);
        socket.removeAllListeners("error");
        socket.setNoDelay(true);
        resolve(new SocketStream(socket));
      });
      socket.once("error", (e) => {
        clearTimeout(timer);
        reject(ioError(e));
      });
    }),
};

function once(
  method: string,
  url: URL,
  headers: Readonly<Record<string, string>>,
  maxBytes: number,
  timeoutMs: number,
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const make = url.protocol === "https:" ? httpsRequest : httpRequest;
    const req = make(url, { method, headers });
    // A server that trickles bytes would reset an idle timer for ever.
    const timer = setTimeout(() => req.destroy(new Error("the server did not answer in time")), timeoutMs);
    const fail = (e: unknown) => {
      clearTimeout(timer);
      reject(ioError(e));
    };
    req.on("error", fail);
    req.on("response", (answer: IncomingMessage) => {
      const parts: Uint8Array[] = [];
      let size = 0;
      answer.on("data", (part: Uint8Array) => {
        size += part.length;
        if (size > maxBytes) req.destroy(new Error("the server sent more than was asked for"));
        else parts.push(part);
      });
      answer.on("error", fail);
      answer.on("end", () => {
        clearTimeout(timer);
        const headers = new Map<string, string>();
        for (const [k, v] of Object.entries(answer.headers)) if (v !== undefined) headers.set(k, String(v));
        resolve({ status: answer.statusCode ?? 0, headers, body: parts.length === 1 ? parts[0]! : Buffer.concat(parts) });
      });
    });
    req.end();
  });
}

export const nodeHttp: HostHttp = {
  async request(method, url, headers, maxBytes, timeoutMs) {
    let target = new URL(url);
    for (let i = 0; ; i++) {
      const answer = await once(method, target, headers, maxBytes, timeoutMs);
      const next = answer.headers.get("location");
      if (![301, 302, 303, 307, 308].includes(answer.status) || next === undefined) return answer;
      if (i === MAX_REDIRECTS) throw new VmError("block/io", `more than ${MAX_REDIRECTS} redirections`);
      try {
        target = new URL(next, target);
      } catch (cause) {
        throw new VmError("block/io", "redirected to an address that is none", { cause });
      }
      if (target.protocol !== "http:" && target.protocol !== "https:")
        throw new VmError("block/io", `redirected to ${target.protocol}//, which is not HTTP`);
    }
  },
};
