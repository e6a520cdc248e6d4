/**
 * The protocol driver `nbd`: an export of an NBD server. A broken connection fails the requests under way; the next request
 * connects again, and goes on if the export is still what it was.
 * Source: QEMU's `BlockdevOptionsNbd`. *Not emulated*: TLS, resizing.
 */
import { VmError } from "../../base/errors.js";
import type { HostConnections, PeerAddress } from "../../host/connection.js";
import { type BlockNode, type BlockStatus, checkRange, zeroesInPieces } from "../node.js";
import { NbdConnection } from "./connection.js";
import { Command, CommandFlag, ExportFlag } from "./protocol.js";

const CONNECT_MS = 30_000;
/** Requests that the server has at a time, as QEMU's. */
const MAX_IN_FLIGHT = 16;
const MAX_ZEROES = 2 ** 30;

export class NbdNode implements BlockNode {
  readonly driver = "nbd";
  readonly name: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  private inFlight = 0;
  private readonly queue: (() => void)[] = [];
  private connecting: Promise<NbdConnection> | undefined;
  private closed = false;

  private constructor(
    private connection: NbdConnection,
    private readonly connect: () => Promise<NbdConnection>,
    readonly filename: string,
    readOnly: boolean,
  ) {
    this.name = filename;
    this.sizeBytes = connection.info.sizeBytes;
    this.readOnly = readOnly || connection.has(ExportFlag.readOnly);
  }

  /** @throws VmError "block/io" */
  static async open(connections: HostConnections, address: PeerAddress, exportName: string, readOnly: boolean): Promise<NbdNode> {
    const filename =
      address.kind === "unix"
        ? `nbd+unix:///${exportName}?socket=${address.path}`
        : `nbd://${address.host}:${address.port}${exportName === "" ? "" : `/${exportName}`}`;
    const connect = async () => NbdConnection.open(await connections.connect(address, CONNECT_MS), exportName, filename);
    const connection = await connect();
    return new NbdNode(connection, connect, filename, readOnly);
  }

  private async live(): Promise<NbdConnection> {
    if (this.closed) throw new VmError("closed", `${this.name} is closed`);
    if (!this.connection.broken) return this.connection;
    this.connecting ??= (async () => {
      const next = await this.connect();
      if (next.info.sizeBytes !== this.sizeBytes || (!this.readOnly && next.has(ExportFlag.readOnly))) {
        await next.close();
        throw new VmError("block/io", `${this.name}: the export is another one since the connection broke`);
      }
      this.connection = next;
      return next;
    })().finally(() => {
      this.connecting = undefined;
    });
    return this.connecting;
  }

  private async send(command: number, flags: number, offset: number, length: number, data?: Uint8Array, out?: Uint8Array) {
    if (this.inFlight >= MAX_IN_FLIGHT) await new Promise<void>((go) => this.queue.push(go));
    else this.inFlight++;
    try {
      return await (await this.live()).request(command, flags, offset, length, data, out);
    } finally {
      const next = this.queue.shift();
      if (next) next();
      else this.inFlight--;
    }
  }

  async read(offsetBytes: number, out: Uint8Array): Promise<void> {
    checkRange(this, offsetBytes, out.length);
    const most = this.connection.info.maxRequest;
    for (let done = 0; done < out.length; done += most) {
      const part = out.subarray(done, done + most);
      await this.send(Command.read, 0, offsetBytes + done, part.length, undefined, part);
    }
  }

  private checkWrite(offset: number, size: number): void {
    if (this.readOnly) throw new VmError("block/read-only", `${this.name} is read-only`);
    checkRange(this, offset, size);
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    this.checkWrite(offsetBytes, data.length);
    const most = this.connection.info.maxRequest;
    for (let done = 0; done < data.length; done += most) {
      const part = data.subarray(done, done + most);
      await this.send(Command.write, 0, offsetBytes + done, part.length, part);
    }
  }

  async flush(): Promise<void> {
    if (!this.readOnly && this.connection.has(ExportFlag.flush)) await this.send(Command.flush, 0, 0, 0);
  }

  async discard(offsetBytes: number, sizeBytes: number): Promise<void> {
    this.checkWrite(offsetBytes, sizeBytes);
    if (!this.connection.has(ExportFlag.trim)) return;
    for (let done = 0; done < sizeBytes; done += MAX_ZEROES)
      await this.send(Command.trim, 0, offsetBytes + done, Math.min(MAX_ZEROES, sizeBytes - done));
  }

  async writeZeroes(offsetBytes: number, sizeBytes: number, unmap = false): Promise<void> {
    this.checkWrite(offsetBytes, sizeBytes);
    if (!this.connection.has(ExportFlag.writeZeroes)) return zeroesInPieces((o, d) => this.write(o, d), offsetBytes, sizeBytes);
    for (let done = 0; done < sizeBytes; done += MAX_ZEROES)
      await this.send(
        Command.writeZeroes,
        unmap ? 0 : CommandFlag.noHole,
        offsetBytes + done,
        Math.min(MAX_ZEROES, sizeBytes - done),
      );
  }

  async status(offsetBytes: number, sizeBytes: number): Promise<BlockStatus> {
    checkRange(this, offsetBytes, Math.min(sizeBytes, this.sizeBytes - offsetBytes));
    const size = Math.min(sizeBytes, this.sizeBytes - offsetBytes, MAX_ZEROES);
    if (!this.connection.knowsAllocation) return { kind: "data", sizeBytes: size, offsetBytes };
    const extent = await this.send(Command.blockStatus, CommandFlag.oneExtent, offsetBytes, size);
    return extent ? { ...extent, offsetBytes } : { kind: "data", sizeBytes: size, offsetBytes };
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.connection.close();
  }
}
