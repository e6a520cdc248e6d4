/** Streams of machine state on Node: commands, files, descriptors, sockets. */
import { type ChildProcess, spawn } from "node:child_process";
import { close, closeSync, createReadStream, createWriteStream, open, read as readFd, write as writeFd } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import { promisify } from "node:util";
import { constants, deflateRaw, inflateRaw } from "node:zlib";
import { VmError } from "../../base/errors.js";
import type { ByteSink, ByteSource, StreamHost } from "../stream.js";
import { reasonOf } from "./files.js";

const READ_BYTES = 2 ** 20;
/** How long a descriptor that would block is left alone. */
const AGAIN_MS = 5;

function failure(uri: string, cause: unknown): VmError {
  return cause instanceof VmError ? cause : new VmError("migration/io", `${uri}: ${reasonOf(cause)}`, { cause });
}

/** How long a command whose input is closed has to say how it ended. */
const REASON_MS = 2000;

const later = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const isAgain = (e: unknown) => (e as NodeJS.ErrnoException).code === "EAGAIN";

/** A descriptor at its own position: a file that a management program has positioned, a pipe. */
function fdSink(uri: string, fd: number): ByteSink {
  const write = promisify(writeFd) as (fd: number, data: Uint8Array, at: number, n: number) => Promise<{ bytesWritten: number }>;
  return {
    async write(data) {
      for (let at = 0; at < data.length; )
        try {
          at += (await write(fd, data, at, data.length - at)).bytesWritten;
        } catch (e) {
          if (!isAgain(e)) throw failure(uri, e);
          await later(AGAIN_MS);
        }
    },
    close: () => promisify(close)(fd).catch((e) => Promise.reject(failure(uri, e))),
    abort: () => {
      try {
        closeSync(fd);
      } catch {
        // Closed already.
      }
    },
  };
}

function fdSource(uri: string, fd: number): ByteSource {
  const buffer = new Uint8Array(READ_BYTES);
  const read = promisify(readFd) as unknown as (
    fd: number,
    to: Uint8Array,
    at: number,
    n: number,
    position: null,
  ) => Promise<{ bytesRead: number }>;
  return {
    async read() {
      for (;;)
        try {
          const { bytesRead } = await read(fd, buffer, 0, buffer.length, null);
          return bytesRead === 0 ? undefined : buffer.slice(0, bytesRead);
        } catch (e) {
          if (!isAgain(e)) throw failure(uri, e);
          await later(AGAIN_MS);
        }
    },
    close: () => promisify(close)(fd).catch(() => {}),
  };
}

/** `finished`: what must have happened after the last byte. */
function streamSink(uri: string, stream: Writable, finished: Promise<void>): ByteSink {
  let error: unknown;
  stream.on("error", (e) => {
    error ??= e;
  });
  finished.catch(() => {});
  /** Why the other side no longer takes anything: its own end says more than a broken pipe. */
  const fail = async (e: unknown): Promise<never> => {
    await Promise.race([finished, later(REASON_MS)]);
    throw failure(uri, error ?? e);
  };
  return {
    async write(data) {
      if (error || stream.destroyed) await fail(error ?? new Error("the other side has closed"));
      const e = await new Promise<Error | null | undefined>((resolve) => stream.write(data, resolve));
      if (e) await fail(e);
    },
    close: async () => {
      const e = await new Promise<unknown>((resolve) => {
        if (error) return resolve(error);
        stream.once("error", resolve);
        stream.end(() => resolve(undefined));
      });
      if (e) await fail(e);
      await finished;
    },
    abort: () => stream.destroy(),
  };
}

function streamSource(uri: string, stream: Readable, finished: Promise<void>): ByteSource {
  const iterator = stream[Symbol.asyncIterator]();
  finished.catch(() => {});
  return {
    async read() {
      let next: IteratorResult<Uint8Array>;
      try {
        next = await iterator.next();
      } catch (e) {
        throw failure(uri, e);
      }
      if (!next.done) return next.value;
      await finished;
      return undefined;
    },
    close: async () => void stream.destroy(),
  };
}

/** Resolves when a command has ended well. */
function ended(uri: string, child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once("error", (e) => reject(failure(uri, e)));
    child.once("close", (status, signal) => {
      if (status === 0) resolve();
      else reject(new VmError("migration/io", `${uri}: the command ended with ${signal ?? `status ${status}`}`));
    });
  });
}

function socketAddress(uri: string, scheme: "unix" | "tcp", rest: string) {
  if (scheme === "unix") return { path: rest };
  const m = /^(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(rest);
  if (!m) throw new VmError("migration/io", `${uri}: expected tcp:HOST:PORT`);
  return { host: m[1] ?? (m[2] === "" || m[2] === undefined ? "localhost" : m[2]), port: Number(m[3]) };
}

function dial(uri: string, scheme: "unix" | "tcp", rest: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketAddress(uri, scheme, rest));
    socket.once("connect", () => resolve(socket));
    socket.once("error", (e) => reject(failure(uri, e)));
  });
}

/** Listens for one peer. */
function accept(uri: string, scheme: "unix" | "tcp", rest: string, signal: AbortSignal | undefined): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      server.close();
      resolve(socket);
    });
    server.once("error", (e) => reject(failure(uri, e)));
    signal?.addEventListener(
      "abort",
      () => {
        server.close();
        reject(new VmError("aborted", `${uri}: gave up waiting`));
      },
      { once: true },
    );
    server.listen(socketAddress(uri, scheme, rest));
  });
}

function parse(uri: string): { scheme: "exec" | "file" | "fd" | "unix" | "tcp"; rest: string } {
  const m = /^(exec|file|fd|unix|tcp):(.+)$/s.exec(uri);
  if (!m) throw new VmError("migration/io", `unknown migration protocol: ${uri}`);
  return { scheme: m[1] as "exec", rest: m[2]! };
}

function descriptor(uri: string, rest: string): number {
  const fd = /^\d+$/.test(rest) ? Number(rest) : -1;
  if (fd < 0 || fd > 2 ** 20) throw new VmError("migration/io", `${uri}: file descriptor named '${rest}' has not been found`);
  return fd;
}

function filePath(uri: string, rest: string): { path: string; offset: number } {
  const m = /^(.*?)(?:,offset=(\d+))?$/s.exec(rest)!;
  if (m[1] === "") throw new VmError("migration/io", `${uri}: a file name is needed`);
  return { path: m[1]!, offset: Number(m[2] ?? 0) };
}

const openFile = promisify(open) as (path: string, flags: string, mode?: number) => Promise<number>;
const NOTHING = Promise.resolve();

export const nodeStreams: StreamHost = {
  async openSink(uri) {
    const { scheme, rest } = parse(uri);
    switch (scheme) {
      case "fd":
        return fdSink(uri, descriptor(uri, rest));
      case "file": {
        const { path, offset } = filePath(uri, rest);
        try {
          const fd = await openFile(path, offset > 0 ? "r+" : "w", 0o666);
          return streamSink(uri, createWriteStream(path, { fd, start: offset }), NOTHING);
        } catch (e) {
          throw failure(uri, e);
        }
      }
      case "exec": {
        const child = spawn("/bin/sh", ["-c", rest], { stdio: ["pipe", "ignore", "inherit"] });
        return streamSink(uri, child.stdin!, ended(uri, child));
      }
      default:
        return streamSink(uri, await dial(uri, scheme, rest), NOTHING);
    }
  },
  async openSource(uri, signal) {
    const { scheme, rest } = parse(uri);
    switch (scheme) {
      case "fd":
        return fdSource(uri, descriptor(uri, rest));
      case "file": {
        const { path, offset } = filePath(uri, rest);
        try {
          const fd = await openFile(path, "r");
          return streamSource(uri, createReadStream(path, { fd, start: offset, highWaterMark: READ_BYTES }), NOTHING);
        } catch (e) {
          throw failure(uri, e);
        }
      }
      case "exec": {
        const child = spawn("/bin/sh", ["-c", rest], { stdio: ["ignore", "pipe", "inherit"] });
        return streamSource(uri, child.stdout!, ended(uri, child));
      }
      default:
        return streamSource(uri, await accept(uri, scheme, rest, signal), NOTHING);
    }
  },
  deflate: promisify((data: Uint8Array, done: (e: Error | null, out: Uint8Array) => void) =>
    deflateRaw(data, { level: constants.Z_BEST_SPEED }, done),
  ),
  inflate: promisify((data: Uint8Array, limitBytes: number, done: (e: Error | null, out: Uint8Array) => void) =>
    inflateRaw(data, { maxOutputLength: Math.max(1, limitBytes) }, done),
  ),
};
