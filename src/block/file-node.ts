/**
 * The protocol driver `file`: bytes of a host file. Reads past its end give zeroes, writes there make it longer.
 * Source: QEMU's `BlockdevOptionsFile`. *Not emulated*: O_DIRECT (the host's page cache is always used), persistent reservations.
 */
import { VmError } from "../base/errors.js";
import type { HostFile } from "../host/file.js";
import { type BlockNode, type BlockStatus, zeroesInPieces } from "./node.js";

export class FileNode implements BlockNode {
  readonly growable = true;
  readonly name: string;
  private closed = false;
  /** The host refused to punch holes once; it is not asked again. */
  private noHoles: boolean;

  constructor(
    private readonly hostFile: HostFile,
    readonly filename: string,
    readonly driver: "file" | "host_device" = "file",
    /** `cache.no-flush`: flushes are not passed on. */
    private readonly noFlush = false,
  ) {
    this.name = filename;
    this.noHoles = !hostFile.discard;
  }

  get sizeBytes(): number {
    return this.hostFile.sizeBytes;
  }

  get readOnly(): boolean {
    return this.hostFile.readOnly;
  }

  get identity(): string | undefined {
    return this.hostFile.identity;
  }

  private check(offset: number, size: number): void {
    if (this.closed) throw new VmError("closed", `${this.filename} is closed`);
    if (!(offset >= 0 && size >= 0 && Number.isSafeInteger(offset + size)))
      throw new VmError("block/io", `${this.filename}: ${size} bytes at ${offset} are past the end`);
  }

  async read(offsetBytes: number, out: Uint8Array): Promise<void> {
    this.check(offsetBytes, out.length);
    const got = offsetBytes < this.sizeBytes ? await this.hostFile.read(offsetBytes, out) : 0;
    if (got < out.length) out.fill(0, got);
  }

  write(offsetBytes: number, data: Uint8Array): Promise<void> {
    this.check(offsetBytes, data.length);
    return this.hostFile.write(offsetBytes, data);
  }

  async flush(): Promise<void> {
    this.check(0, 0);
    if (!this.readOnly && !this.noFlush) await this.hostFile.flush();
  }

  async discard(offsetBytes: number, sizeBytes: number): Promise<void> {
    this.check(offsetBytes, sizeBytes);
    await this.punch(offsetBytes, sizeBytes);
  }

  /** @returns whether the range now reads as zeroes */
  private async punch(offset: number, size: number): Promise<boolean> {
    if (this.noHoles) return false;
    const inside = Math.min(size, this.sizeBytes - offset);
    if (inside <= 0) return true;
    try {
      await this.hostFile.discard!(offset, inside);
      return true;
    } catch {
      this.noHoles = true;
      return false;
    }
  }

  async writeZeroes(offsetBytes: number, sizeBytes: number, unmap = false): Promise<void> {
    this.check(offsetBytes, sizeBytes);
    const end = offsetBytes + sizeBytes;
    if (unmap && (await this.punch(offsetBytes, sizeBytes))) {
      if (end > this.sizeBytes) await this.resize(end);
      return;
    }
    // What lies past the end is zero by making the file longer.
    const inside = Math.max(0, Math.min(sizeBytes, this.sizeBytes - offsetBytes));
    await zeroesInPieces((o, d) => this.write(o, d), offsetBytes, inside);
    if (end > this.sizeBytes) await this.resize(end);
  }

  async resize(sizeBytes: number): Promise<void> {
    this.check(0, sizeBytes);
    if (this.hostFile.resize) return this.hostFile.resize(sizeBytes);
    if (sizeBytes > this.sizeBytes) return this.write(sizeBytes - 1, new Uint8Array(1));
    throw new VmError("block/io", `${this.filename}: this host cannot make files shorter`);
  }

  async status(offsetBytes: number, sizeBytes: number): Promise<BlockStatus> {
    this.check(offsetBytes, sizeBytes);
    const rest = this.sizeBytes - offsetBytes;
    if (rest <= 0) return { kind: "zero", sizeBytes };
    const most = Math.min(sizeBytes, rest);
    if (!this.hostFile.extent) return { kind: "data", sizeBytes: most, offsetBytes };
    const e = await this.hostFile.extent(offsetBytes);
    return { kind: e.data ? "data" : "zero", sizeBytes: Math.max(1, Math.min(most, e.sizeBytes)), offsetBytes };
  }

  allocatedBytes(): Promise<number> {
    return this.hostFile.allocatedBytes?.() ?? Promise.resolve(this.sizeBytes);
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.hostFile.close();
  }
}
