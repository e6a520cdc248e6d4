/**
 * One connection to an NBD server: the handshake, then requests that may overlap and be answered in any order. The server is
 * not trusted: every length it sends is checked against what was asked before a byte of it is read, and a server that breaks
 * the rules, or is silent for a minute while it owes an answer, is left.
 * Source: doc/proto.md of the NBD project. *Not emulated*: TLS, oldstyle servers.
 */
import { VmError } from "../../base/errors.js";
import type { HostConnection } from "../../host/connection.js";
import {
  Allocation,
  CHUNK_DONE,
  Chunk,
  Command,
  ERRNO,
  ExportFlag,
  HandshakeFlag,
  Info,
  Magic,
  OPTION_ERRORS,
  Option,
  OptionReply,
} from "./protocol.js";

const TIMEOUT_MS = 60_000;
/** Replies to one option, and the bytes of one. */
const MAX_REPLIES = 64;
const MAX_REPLY_BYTES = 16384;
const MAX_ERROR_BYTES = 4096;
const MAX_EXTENTS_BYTES = 65536;
const DEFAULT_MAX_REQUEST = 32 * 2 ** 20;
/** Chunks in the answer to one request. */
const MAX_CHUNKS = 4096;

export interface ExportInfo {
  readonly sizeBytes: number;
  readonly flags: number;
  readonly minBlock: number;
  readonly maxRequest: number;
}

interface Waiting {
  readonly command: number;
  readonly offset: number;
  readonly length: number;
  readonly out: Uint8Array | undefined;
  received: number;
  chunks: number;
  error: VmError | undefined;
  extent: { kind: "data" | "zero"; sizeBytes: number } | undefined;
  readonly resolve: () => void;
  readonly reject: (e: VmError) => void;
}

export class NbdConnection {
  info!: ExportInfo;
  private structured = false;
  private contextId: number | undefined;
  private readonly waiting = new Map<number, Waiting>();
  private nextCookie = 1;
  private reading = false;
  broken: VmError | undefined;

  private constructor(
    private readonly stream: HostConnection,
    private readonly name: string,
  ) {}

  /** @throws VmError "block/io" */
  static async open(stream: HostConnection, exportName: string, name: string): Promise<NbdConnection> {
    const c = new NbdConnection(stream, name);
    try {
      await c.handshake(exportName);
      return c;
    } catch (e) {
      stream.close();
      throw e;
    }
  }

  private fail(what: string, code = "EIO"): never {
    throw new VmError("block/io", `${this.name}: ${what}`, { cause: { code } });
  }

  private async bytes(n: number): Promise<DataView> {
    const out = new Uint8Array(n);
    await this.stream.read(out, TIMEOUT_MS);
    return new DataView(out.buffer);
  }

  private async handshake(exportName: string): Promise<void> {
    const greeting = await this.bytes(18);
    if (greeting.getBigUint64(0) !== Magic.nbd) this.fail("the other side is no NBD server (bad magic)");
    if (greeting.getBigUint64(8) !== Magic.option) this.fail("oldstyle NBD servers are not supported");
    const server = greeting.getUint16(16);
    if (!(server & HandshakeFlag.fixedNewstyle)) this.fail("the server does not speak the fixed newstyle protocol");
    const flags = new Uint8Array(4);
    const noZeroes = (server & HandshakeFlag.noZeroes) !== 0;
    flags[3] = HandshakeFlag.fixedNewstyle | (noZeroes ? HandshakeFlag.noZeroes : 0);
    await this.stream.write(flags);
    this.structured = await this.simpleOption(Option.structuredReply);
    if (this.structured) await this.askAllocation(exportName);
    if (!(await this.go(exportName))) await this.exportName(exportName, noZeroes);
    if (this.info.minBlock > 512) this.fail(`the server demands blocks of ${this.info.minBlock} bytes; up to 512 are supported`);
  }

  private async sendOption(option: number, data: Uint8Array): Promise<void> {
    const out = new Uint8Array(16 + data.length);
    const view = new DataView(out.buffer);
    view.setBigUint64(0, Magic.option);
    view.setUint32(8, option);
    view.setUint32(12, data.length);
    out.set(data, 16);
    await this.stream.write(out);
  }

  /** One reply to an option. */
  private async optionReply(option: number): Promise<{ type: number; data: DataView }> {
    const head = await this.bytes(20);
    if (head.getBigUint64(0) !== Magic.optionReply) this.fail("an option's reply has a bad magic");
    if (head.getUint32(8) !== option) this.fail("a reply to another option than the one sent");
    const length = head.getUint32(16);
    if (length > MAX_REPLY_BYTES) this.fail(`a reply of ${length} bytes to an option`);
    return { type: head.getUint32(12), data: await this.bytes(length) };
  }

  private async simpleOption(option: number): Promise<boolean> {
    await this.sendOption(option, new Uint8Array(0));
    const { type } = await this.optionReply(option);
    return type === OptionReply.ack;
  }

  private async askAllocation(exportName: string): Promise<void> {
    const name = new TextEncoder().encode(exportName);
    const query = new TextEncoder().encode("base:allocation");
    const data = new Uint8Array(4 + name.length + 4 + 4 + query.length);
    const view = new DataView(data.buffer);
    view.setUint32(0, name.length);
    data.set(name, 4);
    view.setUint32(4 + name.length, 1);
    view.setUint32(8 + name.length, query.length);
    data.set(query, 12 + name.length);
    await this.sendOption(Option.setMetaContext, data);
    for (let i = 0; i < MAX_REPLIES; i++) {
      const reply = await this.optionReply(Option.setMetaContext);
      if (reply.type === OptionReply.ack || reply.type >= OptionReply.error) return;
      if (reply.type !== OptionReply.metaContext || reply.data.byteLength < 4) this.fail("a wrong reply about contexts");
      this.contextId = reply.data.getUint32(0);
    }
    this.fail("too many replies to an option");
  }

  /** @returns false when the server does not know the option */
  private async go(exportName: string): Promise<boolean> {
    const name = new TextEncoder().encode(exportName);
    const data = new Uint8Array(4 + name.length + 4);
    const view = new DataView(data.buffer);
    view.setUint32(0, name.length);
    data.set(name, 4);
    view.setUint16(4 + name.length, 1);
    view.setUint16(6 + name.length, Info.blockSize);
    await this.sendOption(Option.go, data);
    let size: number | undefined;
    let flags = 0;
    let minBlock = 1;
    let maxRequest = DEFAULT_MAX_REQUEST;
    for (let i = 0; i < MAX_REPLIES; i++) {
      const { type, data: d } = await this.optionReply(Option.go);
      if (type === OptionReply.unsupported) return false;
      if (type >= OptionReply.error) {
        const text = new TextDecoder()
          .decode(new Uint8Array(d.buffer))
          .replace(/[^\x20-\x7e]/g, "?")
          .slice(0, 200);
        this.fail(`${OPTION_ERRORS[type] ?? "the server refuses"}${text === "" ? "" : ` (${text})`}`);
      }
      if (type === OptionReply.ack) {
        if (size === undefined) this.fail("the server did not say how large the export is");
        this.info = { sizeBytes: size, flags, minBlock, maxRequest };
        return true;
      }
      if (type !== OptionReply.info || d.byteLength < 2) this.fail("a wrong reply to an option");
      const kind = d.getUint16(0);
      if (kind === Info.export) {
        if (d.byteLength !== 12) this.fail("a wrong reply about the export");
        size = this.checkSize(d.getBigUint64(2));
        flags = d.getUint16(10);
      } else if (kind === Info.blockSize) {
        if (d.byteLength !== 14) this.fail("a wrong reply about block sizes");
        minBlock = d.getUint32(2);
        const most = d.getUint32(10);
        if (minBlock === 0 || (minBlock & (minBlock - 1)) !== 0 || most < minBlock || most < 512)
          this.fail("the server's block sizes contradict themselves");
        maxRequest = Math.min(DEFAULT_MAX_REQUEST, most - (most % 512));
      }
    }
    return this.fail("too many replies to an option");
  }

  private checkSize(size: bigint): number {
    if (size > BigInt(Number.MAX_SAFE_INTEGER)) this.fail(`an export of ${size} bytes is too large`);
    return Number(size);
  }

  private async exportName(name: string, noZeroes: boolean): Promise<void> {
    await this.sendOption(Option.exportName, new TextEncoder().encode(name));
    const d = await this.bytes(noZeroes ? 10 : 134);
    this.info = {
      sizeBytes: this.checkSize(d.getBigUint64(0)),
      flags: d.getUint16(8),
      minBlock: 1,
      maxRequest: DEFAULT_MAX_REQUEST,
    };
  }

  get knowsAllocation(): boolean {
    return this.contextId !== undefined;
  }

  has(flag: number): boolean {
    return (this.info.flags & ExportFlag.hasFlags) !== 0 && (this.info.flags & flag) !== 0;
  }

  /** A request; `out` receives what is read. @throws VmError "block/io", its cause's code the server's error */
  async request(
    command: number,
    flags: number,
    offset: number,
    length: number,
    data?: Uint8Array,
    out?: Uint8Array,
  ): Promise<Waiting["extent"]> {
    if (this.broken) throw this.broken;
    const cookie = this.nextCookie++;
    const head = new Uint8Array(28);
    const view = new DataView(head.buffer);
    view.setUint32(0, Magic.request);
    view.setUint16(4, flags);
    view.setUint16(6, command);
    view.setBigUint64(8, BigInt(cookie));
    view.setBigUint64(16, BigInt(offset));
    view.setUint32(24, length);
    let w!: Waiting;
    const answered = new Promise<void>((resolve, reject) => {
      w = { command, offset, length, out, received: 0, chunks: 0, error: undefined, extent: undefined, resolve, reject };
    });
    this.waiting.set(cookie, w);
    const sent = [this.stream.write(head)];
    if (data) sent.push(this.stream.write(data));
    Promise.all(sent).catch((e) => this.breakUp(e));
    if (!this.reading) {
      this.reading = true;
      this.readReplies().catch((e) => this.breakUp(e));
    }
    await answered;
    return w.extent;
  }

  private breakUp(e: unknown): void {
    this.broken ??= new VmError("block/io", `${this.name}: ${e instanceof Error ? e.message : e}`, { cause: { code: "EIO" } });
    this.stream.close();
    const all = [...this.waiting.values()];
    this.waiting.clear();
    for (const w of all) w.reject(this.broken);
  }

  /** Reads as long as the server owes an answer. */
  private async readReplies(): Promise<void> {
    while (this.waiting.size > 0 && !this.broken) {
      const head = await this.bytes(16);
      const magic = head.getUint32(0);
      const cookie = Number(head.getBigUint64(8));
      const w = this.waiting.get(cookie);
      if (!w) this.fail("a reply to a request that was never sent");
      if (magic === Magic.simpleReply) await this.simple(w, cookie, head.getUint32(4));
      else if (magic === Magic.structuredReply && this.structured)
        await this.chunk(w, cookie, head.getUint16(4), head.getUint16(6));
      else this.fail("a reply has a bad magic");
    }
    // In the same step as the look at what is waiting: the next request starts it again.
    this.reading = false;
  }

  private error(code: number, text = ""): VmError {
    const name = ERRNO[code] ?? "EIO";
    return new VmError("block/io", `${this.name}: the server answers ${name}${text === "" ? "" : ` (${text})`}`, {
      cause: { code: name },
    });
  }

  private async simple(w: Waiting, cookie: number, code: number): Promise<void> {
    if (this.structured && w.command === Command.read) this.fail("a simple reply to a read");
    if (code === 0 && w.out) await this.stream.read(w.out, TIMEOUT_MS);
    this.waiting.delete(cookie);
    if (code === 0) w.resolve();
    else w.reject(this.error(code));
  }

  private async chunk(w: Waiting, cookie: number, flags: number, type: number): Promise<void> {
    const length = (await this.bytes(4)).getUint32(0);
    if (++w.chunks > MAX_CHUNKS) this.fail("too many pieces in an answer");
    const inside = (offset: number, size: number) => {
      w.received += size;
      if (!w.out || size === 0 || offset < w.offset || offset + size > w.offset + w.length || w.received > w.length)
        this.fail("the server sends bytes that were not asked for");
    };
    switch (type) {
      case Chunk.none:
        if (length !== 0 || !(flags & CHUNK_DONE)) this.fail("a wrong end of an answer");
        break;
      case Chunk.offsetData: {
        if (length <= 8) this.fail("a piece of data that holds none");
        const offset = this.checkSize((await this.bytes(8)).getBigUint64(0));
        inside(offset, length - 8);
        await this.stream.read(w.out!.subarray(offset - w.offset, offset - w.offset + length - 8), TIMEOUT_MS);
        break;
      }
      case Chunk.offsetHole: {
        if (length !== 12) this.fail("a hole of a wrong form");
        const d = await this.bytes(12);
        const offset = this.checkSize(d.getBigUint64(0));
        inside(offset, d.getUint32(8));
        w.out!.fill(0, offset - w.offset, offset - w.offset + d.getUint32(8));
        break;
      }
      case Chunk.blockStatus: {
        if (w.command !== Command.blockStatus || length < 12 || length > MAX_EXTENTS_BYTES || (length - 4) % 8 !== 0)
          this.fail("an extent of a wrong form");
        const d = await this.bytes(length);
        if (d.getUint32(0) !== this.contextId) break;
        const size = d.getUint32(4);
        if (size === 0) this.fail("an extent of no length");
        w.extent = { kind: d.getUint32(8) & Allocation.zero ? "zero" : "data", sizeBytes: Math.min(size, w.length) };
        break;
      }
      default: {
        if (!(type & Chunk.errorBit)) this.fail(`an answer of unknown kind ${type}`);
        if (length < 6 || length > MAX_ERROR_BYTES) this.fail("an error of a wrong form");
        const d = await this.bytes(length);
        const text = Math.min(d.getUint16(4), length - 6);
        const words = new TextDecoder().decode(new Uint8Array(d.buffer, 6, text)).replace(/[^\x20-\x7e]/g, "?");
        w.error ??= this.error(d.getUint32(0) || 5, words);
      }
    }
    if (!(flags & CHUNK_DONE)) return;
    if (w.out && !w.error && w.received !== w.length) this.fail("the server sent less than was asked for");
    this.waiting.delete(cookie);
    if (w.error) w.reject(w.error);
    else w.resolve();
  }

  /** Says goodbye and closes. */
  async close(): Promise<void> {
    if (!this.broken) {
      const head = new Uint8Array(28);
      const view = new DataView(head.buffer);
      view.setUint32(0, Magic.request);
      view.setUint16(6, Command.disconnect);
      await this.stream.write(head).catch(() => {});
    }
    this.breakUp(new Error("closed"));
  }
}
