/**
 * Files of a page: blobs the user chose and images the page made, by name. A chosen file is never changed: what the guest
 * writes stays in memory, in pages, until the page is gone.
 */
import { VmError } from "../../base/errors.js";
import type { HostFile, HostFileOptions, HostFiles } from "../file.js";

const PAGE_BYTES = 65536;
/** Written pages kept for all files together (1 GiB); more is "no space left". */
const MAX_PAGES = 16384;

export class BlobFiles implements HostFiles {
  private readonly blobs = new Map<string, Stored>();
  private pages = 0;

  /** Adds or replaces a file. */
  add(path: string, content: Blob): void {
    this.blobs.set(path, { blob: content, size: content.size, pages: new Map(), writers: 0, readers: 0 });
  }

  async open(path: string, options: HostFileOptions): Promise<HostFile> {
    if (options.create && !options.readOnly) this.add(path, new Blob());
    const stored = this.blobs.get(path);
    if (!stored) throw new VmError("block/not-found", "no file of this name was given to the page");
    if (options.lock && (stored.writers > 0 || (!options.readOnly && stored.readers > 0)))
      throw new VmError("block/locked", "the file is in use by another drive");
    return new BlobFile(path, stored, options, () => {
      if (this.pages >= MAX_PAGES) throw new VmError("block/io", "no space left", { cause: { code: "ENOSPC" } });
      this.pages++;
    });
  }
}

interface Stored {
  readonly blob: Blob;
  size: number;
  /** Written pages by number. */
  readonly pages: Map<number, Uint8Array>;
  writers: number;
  readers: number;
}

class BlobFile implements HostFile {
  readonly readOnly: boolean;
  private open = true;

  constructor(
    readonly path: string,
    private readonly stored: Stored,
    private readonly options: HostFileOptions,
    /** Accounts for one more page; throws when there are too many. */
    private readonly takePage: () => void,
  ) {
    this.readOnly = options.readOnly;
    this.count(1);
  }

  private count(n: number): void {
    if (!this.options.lock) return;
    if (this.readOnly) this.stored.readers += n;
    else this.stored.writers += n;
  }

  private checkOpen(): void {
    if (!this.open) throw new VmError("block/io", "the file is closed");
  }

  get sizeBytes(): number {
    return this.stored.size;
  }

  async read(offsetBytes: number, out: Uint8Array): Promise<number> {
    this.checkOpen();
    const { stored } = this;
    const total = Math.max(0, Math.min(out.length, stored.size - offsetBytes));
    for (let done = 0; done < total; ) {
      const at = offsetBytes + done;
      const number = Math.floor(at / PAGE_BYTES);
      const inPage = at % PAGE_BYTES;
      const page = stored.pages.get(number);
      if (page) {
        const n = Math.min(total - done, PAGE_BYTES - inPage);
        out.set(page.subarray(inPage, inPage + n), done);
        done += n;
        continue;
      }
      // As far as no written page lies in between.
      let n = Math.min(total - done, PAGE_BYTES - inPage);
      for (let next = number + 1; done + n < total && !stored.pages.has(next); next++) n = Math.min(total - done, n + PAGE_BYTES);
      out.set(await this.original(at, n), done);
      done += n;
    }
    return total;
  }

  /** Bytes of the blob as it was given, zeroes past its end. */
  private async original(at: number, n: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(n);
    if (at >= this.stored.blob.size) return bytes;
    try {
      bytes.set(new Uint8Array(await this.stored.blob.slice(at, at + n).arrayBuffer()));
    } catch (cause) {
      throw new VmError("block/io", "the browser could not read the file", { cause });
    }
    return bytes;
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    this.checkOpen();
    if (this.readOnly) throw new VmError("block/read-only", "opened for reading only");
    const { stored } = this;
    for (let done = 0; done < data.length; ) {
      const at = offsetBytes + done;
      const number = Math.floor(at / PAGE_BYTES);
      const inPage = at % PAGE_BYTES;
      const n = Math.min(data.length - done, PAGE_BYTES - inPage);
      let page = stored.pages.get(number);
      if (!page) {
        const fresh = n === PAGE_BYTES ? new Uint8Array(PAGE_BYTES) : await this.original(number * PAGE_BYTES, PAGE_BYTES);
        // Another write may have made the page in the meantime.
        page = stored.pages.get(number);
        if (!page) {
          this.takePage();
          stored.pages.set(number, fresh);
          page = fresh;
        }
      }
      page.set(data.subarray(done, done + n), inPage);
      done += n;
    }
    stored.size = Math.max(stored.size, offsetBytes + data.length);
  }

  async flush(): Promise<void> {
    this.checkOpen();
  }

  async close(): Promise<void> {
    if (!this.open) return;
    this.open = false;
    this.count(-1);
  }
}
