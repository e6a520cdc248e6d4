/**
 * The protocol drivers `http` and `https`: a file on a web server, read by ranges, with what was read ahead kept in memory.
 * Only for reading: writes go to an overlay (`snapshot=on`, or a qcow2 image whose backing file it is).
 * Source: RFC 9110 §14 (ranges); QEMU's `BlockdevOptionsCurlHttp`.
 */
import { VmError } from "../base/errors.js";
import type { HostHttp } from "../host/connection.js";
import { type BlockNode, type BlockStatus, checkRange } from "./node.js";

export interface HttpNodeOptions {
  readonly readaheadBytes?: number | undefined;
  readonly timeoutSec?: number | undefined;
  readonly cookie?: string | undefined;
}

const DEFAULT_READAHEAD = 256 * 1024;
const MAX_READAHEAD = 64 * 2 ** 20;
const DEFAULT_TIMEOUT_SEC = 5;
/** Pieces kept. */
const KEPT = 16;
/** Bytes of an answer that were not asked for, before it is cut off. */
const SLACK = 4096;

export class HttpNode implements BlockNode {
  readonly readOnly = true;
  readonly name: string;
  /** By their number. */
  private readonly pieces = new Map<number, Promise<Uint8Array>>();
  private closed = false;

  private constructor(
    readonly driver: "http" | "https",
    private readonly http: HostHttp,
    readonly filename: string,
    readonly sizeBytes: number,
    /** The file's version as the server names it: another one is not mixed in. */
    private readonly version: string | undefined,
    private readonly pieceBytes: number,
    private readonly timeoutMs: number,
    private readonly headers: Readonly<Record<string, string>>,
  ) {
    this.name = filename;
  }

  /** @throws VmError "block/io" */
  static async open(http: HostHttp, driver: "http" | "https", url: string, options: HttpNodeOptions): Promise<HttpNode> {
    const fail = (what: string): never => {
      throw new VmError("block/io", `${url}: ${what}`);
    };
    if (!url.startsWith(`${driver}://`)) fail(`the address of driver ${driver} begins with ${driver}://`);
    const timeoutMs = (options.timeoutSec ?? DEFAULT_TIMEOUT_SEC) * 1000;
    const headers = options.cookie === undefined ? {} : { cookie: options.cookie };
    // One byte by range tells both whether the server has ranges and how long the file is.
    const answer = await http
      .request("GET", url, { ...headers, range: "bytes=0-0" }, SLACK, timeoutMs)
      .catch((e) => fail(e instanceof Error ? e.message : String(e)));
    if (answer.status === 200) fail("Server does not support 'range' (byte ranges)");
    if (answer.status === 416) fail("the file is empty");
    if (answer.status !== 206) fail(`the server answers ${answer.status}`);
    const total = /^bytes 0-0\/(\d+)$/.exec(answer.headers.get("content-range") ?? "")?.[1];
    const size = Number(total);
    if (total === undefined || !Number.isSafeInteger(size)) fail("the server does not say how long the file is");
    const piece = options.readaheadBytes ?? DEFAULT_READAHEAD;
    if (piece < 512 || piece > MAX_READAHEAD || piece % 512 !== 0)
      fail(`readahead=${piece}: a multiple of 512 up to ${MAX_READAHEAD} is needed`);
    return new HttpNode(driver, http, url, size, versionOf(answer.headers), piece, timeoutMs, headers);
  }

  async read(offsetBytes: number, out: Uint8Array): Promise<void> {
    if (this.closed) throw new VmError("closed", `${this.name} is closed`);
    checkRange(this, offsetBytes, out.length);
    for (let done = 0; done < out.length; ) {
      const index = Math.floor((offsetBytes + done) / this.pieceBytes);
      const piece = await this.piece(index);
      const from = (offsetBytes + done) % this.pieceBytes;
      const part = piece.subarray(from, from + out.length - done);
      out.set(part, done);
      done += part.length;
    }
  }

  private piece(index: number): Promise<Uint8Array> {
    const here = this.pieces.get(index);
    if (here) {
      this.pieces.delete(index);
      this.pieces.set(index, here);
      return here;
    }
    const promise = this.fetch(index);
    this.pieces.set(index, promise);
    promise.catch(() => this.pieces.delete(index));
    for (const key of this.pieces.keys()) {
      if (this.pieces.size <= KEPT) break;
      this.pieces.delete(key);
    }
    return promise;
  }

  private async fetch(index: number): Promise<Uint8Array> {
    const from = index * this.pieceBytes;
    const size = Math.min(this.pieceBytes, this.sizeBytes - from);
    const range = `bytes=${from}-${from + size - 1}`;
    const answer = await this.http.request("GET", this.filename, { ...this.headers, range }, size + SLACK, this.timeoutMs);
    const where = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(answer.headers.get("content-range") ?? "");
    if (answer.status !== 206 || !where || Number(where[1]) !== from || answer.body.length !== size)
      throw new VmError("block/io", `${this.filename}: the server did not send the bytes asked for (status ${answer.status})`);
    if (Number(where[3]) !== this.sizeBytes || versionOf(answer.headers) !== this.version)
      throw new VmError("block/io", `${this.filename}: the file has changed on the server`);
    return answer.body;
  }

  async write(): Promise<void> {
    throw new VmError("block/read-only", `${this.name} is read-only`);
  }

  discard(): Promise<void> {
    return this.write();
  }

  writeZeroes(): Promise<void> {
    return this.write();
  }

  async flush(): Promise<void> {}

  async status(offsetBytes: number, sizeBytes: number): Promise<BlockStatus> {
    return { kind: "data", sizeBytes: Math.min(sizeBytes, this.sizeBytes - offsetBytes), offsetBytes };
  }

  async close(): Promise<void> {
    this.closed = true;
    this.pieces.clear();
  }
}

function versionOf(headers: ReadonlyMap<string, string>): string | undefined {
  const tag = headers.get("etag");
  return tag !== undefined && !tag.startsWith("W/") ? tag : headers.get("last-modified");
}
