/**
 * The format driver `raw`: byte n of the disk is byte n of the node below, or of a part of it (`offset=`, `size=`).
 * A file whose size is not a multiple of 512 is rounded up; what lies past its end reads as zeroes.
 * Source: QEMU's `BlockdevOptionsRaw`.
 */
import { VmError } from "../base/errors.js";
import { type BlockNode, type BlockStatus, checkRange } from "./node.js";
import { probeFormat } from "./probe.js";

const SECTOR = 512;

export interface RawNodeOptions {
  readonly readOnly?: boolean | undefined;
  readonly offsetBytes?: number | undefined;
  readonly sizeBytes?: number | undefined;
  /** Nobody said that it is raw: the first sector is never made to look like another format. */
  readonly guessed?: boolean | undefined;
}

export class RawNode implements BlockNode {
  readonly driver = "raw";
  readonly backing = undefined;
  readonly readOnly: boolean;
  private readonly offset: number;
  private readonly limit: number | undefined;
  private closed = false;

  constructor(
    readonly file: BlockNode,
    private readonly options: RawNodeOptions = {},
  ) {
    this.readOnly = file.readOnly || options.readOnly === true;
    this.offset = options.offsetBytes ?? 0;
    this.limit = options.sizeBytes;
    if (this.offset > file.sizeBytes || this.offset + (this.limit ?? 0) > Math.ceil(file.sizeBytes / SECTOR) * SECTOR)
      throw new VmError("option/invalid", "The requested offset and size are larger than the size of the containing file");
  }

  get filename(): string {
    return this.file.filename;
  }

  get name(): string {
    return this.file.name;
  }

  get sizeBytes(): number {
    return Math.ceil((this.limit ?? this.file.sizeBytes - this.offset) / SECTOR) * SECTOR;
  }

  get growable(): boolean {
    return this.limit === undefined && this.file.growable === true;
  }

  private check(offset: number, size: number): void {
    if (this.closed) throw new VmError("closed", `${this.name} is closed`);
    checkRange(this, offset, size);
  }

  private checkWrite(offset: number, size: number): void {
    if (this.readOnly) throw new VmError("block/read-only", `${this.name} is read-only`);
    this.check(offset, size);
  }

  async read(offsetBytes: number, out: Uint8Array): Promise<void> {
    this.check(offsetBytes, out.length);
    await this.readBelow(this.offset + offsetBytes, out);
  }

  /** The last sector of a node that is no multiple of one is filled up with zeroes. */
  private readBelow(at: number, out: Uint8Array): Promise<void> | void {
    const there = Math.max(0, Math.min(out.length, this.file.sizeBytes - at));
    if (there === out.length || this.file.growable) return this.file.read(at, out);
    out.fill(0, there);
    if (there > 0) return this.file.read(at, out.subarray(0, there));
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    this.checkWrite(offsetBytes, data.length);
    if (this.options.guessed && offsetBytes < SECTOR && data.length > 0) await this.checkFirstSector(offsetBytes, data);
    await this.file.write(this.offset + offsetBytes, data);
  }

  /** A guest that could write another format's header would have its image opened as that format the next time. */
  private async checkFirstSector(offset: number, data: Uint8Array): Promise<void> {
    const sector = new Uint8Array(SECTOR);
    await this.readBelow(this.offset, sector);
    sector.set(data.subarray(0, SECTOR - offset), offset);
    const format = probeFormat(sector);
    if (format !== "raw")
      throw new VmError(
        "block/io",
        `${this.name}: a write to sector 0 would make the image look like ${format}; say format=raw to allow it`,
        {
          cause: { code: "EPERM" },
        },
      );
  }

  async flush(): Promise<void> {
    this.check(0, 0);
    if (!this.readOnly) await this.file.flush();
  }

  async discard(offsetBytes: number, sizeBytes: number): Promise<void> {
    this.checkWrite(offsetBytes, sizeBytes);
    await this.file.discard(this.offset + offsetBytes, sizeBytes);
  }

  async writeZeroes(offsetBytes: number, sizeBytes: number, unmap = false): Promise<void> {
    this.checkWrite(offsetBytes, sizeBytes);
    await this.file.writeZeroes(this.offset + offsetBytes, sizeBytes, unmap);
  }

  async status(offsetBytes: number, sizeBytes: number): Promise<BlockStatus> {
    this.check(offsetBytes, sizeBytes);
    const s = await this.file.status(this.offset + offsetBytes, sizeBytes);
    // Whatever lies in a raw file is its own, also a hole.
    return { ...s, offsetBytes: this.offset + offsetBytes };
  }

  async resize(sizeBytes: number): Promise<void> {
    this.checkWrite(0, 0);
    if (this.limit !== undefined) throw new VmError("option/unsupported", "Cannot resize fixed-size raw disks");
    if (!this.file.resize) throw new VmError("option/unsupported", "Image format driver does not support resize");
    await this.file.resize(this.offset + sizeBytes);
  }

  allocatedBytes(): Promise<number> {
    return this.file.allocatedBytes?.() ?? Promise.resolve(this.sizeBytes);
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.file.close();
  }
}
