/**
 * Raw images: byte n of the disk is byte n of the file.
 * A file whose size is not a multiple of 512 is rounded up; what lies past its end reads as zeroes, and a write there makes
 * the file longer. Not emulated: cache=none (the host's page cache is always used).
 */
import { VmError } from "../base/errors.js";
import type { HostFile } from "../host/file.js";
import type { BlockBackend } from "./backend.js";

const SECTOR = 512;

/** How a raw image is used. */
export interface RawOptions {
  /** What the user called it, for messages. */
  readonly name: string;
  /** Refuses writes although the file is writable. */
  readonly readOnly?: boolean | undefined;
  /** `writethrough` flushes after every write, `unsafe` never. */
  readonly cache?: "writeback" | "writethrough" | "unsafe" | undefined;
  /** `discard=unmap`: discards give the space back where the host can. */
  readonly discard?: boolean | undefined;
  /** Where in the file the disk starts, and how long it is (`raw,offset=,size=`). */
  readonly offsetBytes?: number | undefined;
  readonly sizeBytes?: number | undefined;
}

/** A raw image over an open file, which it owns. */
export class RawBackend implements BlockBackend {
  readonly name: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  private readonly offset: number;
  private closed = false;

  constructor(
    private readonly file: HostFile,
    private readonly options: RawOptions,
  ) {
    this.name = options.name;
    this.readOnly = file.readOnly || options.readOnly === true;
    this.offset = options.offsetBytes ?? 0;
    const size = options.sizeBytes ?? Math.max(0, file.sizeBytes - this.offset);
    this.sizeBytes = Math.ceil(size / SECTOR) * SECTOR;
  }

  private check(offset: number, size: number): void {
    if (this.closed) throw new VmError("closed", `${this.name} is closed`);
    if (!(offset >= 0 && size >= 0 && offset + size <= this.sizeBytes))
      throw new VmError("block/io", `${this.name}: ${size} bytes at ${offset} are past the end of the image (${this.sizeBytes})`);
  }

  private checkWrite(offset: number, size: number): void {
    if (this.readOnly) throw new VmError("block/read-only", `${this.name} is read-only`);
    this.check(offset, size);
  }

  async read(offsetBytes: number, out: Uint8Array): Promise<void> {
    this.check(offsetBytes, out.length);
    const got = await this.file.read(this.offset + offsetBytes, out);
    if (got < out.length) out.fill(0, got);
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    this.checkWrite(offsetBytes, data.length);
    await this.file.write(this.offset + offsetBytes, data);
    if (this.options.cache === "writethrough") await this.file.flush();
  }

  async flush(): Promise<void> {
    this.check(0, 0);
    if (this.options.cache !== "unsafe" && !this.readOnly) await this.file.flush();
  }

  async discard(offsetBytes: number, sizeBytes: number): Promise<void> {
    this.checkWrite(offsetBytes, sizeBytes);
    if (this.options.discard && this.file.discard) await this.file.discard(this.offset + offsetBytes, sizeBytes);
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.file.close();
  }
}
