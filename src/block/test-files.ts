/** Host files in memory, for tests. */
import { VmError } from "../base/errors.js";
import type { HostFile, HostFileOptions, HostFiles } from "../host/file.js";

/** A folder of named contents. */
export class MemoryFiles implements HostFiles {
  readonly contents = new Map<string, Uint8Array>();
  /** What happened, in order: "open a ro", "flush a", "close a". */
  readonly log: string[] = [];

  async open(path: string, options: HostFileOptions): Promise<HostFile> {
    if (!this.contents.has(path)) {
      if (!options.create) throw new VmError("block/not-found", "No such file or directory");
      this.contents.set(path, new Uint8Array(0));
    }
    const { contents, log } = this;
    log.push(`open ${path} ${options.readOnly ? "ro" : "rw"}`);
    return {
      path,
      get sizeBytes() {
        return contents.get(path)!.length;
      },
      readOnly: options.readOnly,
      async read(offset, out) {
        const part = contents.get(path)!.subarray(offset, offset + out.length);
        out.set(part);
        return part.length;
      },
      async write(offset, data) {
        if (options.readOnly) throw new VmError("block/read-only", "read-only");
        log.push(`write ${path} ${offset}+${data.length}`);
        const old = contents.get(path)!;
        const now = new Uint8Array(Math.max(old.length, offset + data.length));
        now.set(old);
        now.set(data, offset);
        contents.set(path, now);
      },
      async resize(size) {
        const now = new Uint8Array(size);
        now.set(contents.get(path)!.subarray(0, size));
        contents.set(path, now);
      },
      async flush() {
        log.push(`flush ${path}`);
      },
      async discard(offset, size) {
        log.push(`discard ${path} ${offset}+${size}`);
        contents.get(path)!.fill(0, offset, offset + size);
      },
      async close() {
        log.push(`close ${path}`);
      },
    };
  }
}
