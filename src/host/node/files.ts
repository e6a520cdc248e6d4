/**
 * Files through `node:fs`, asynchronous. Holes are punched and found, and locks taken, through the C library where koffi is
 * installed. *Not emulated*: O_DIRECT.
 */
import { constants } from "node:fs";
import { type FileHandle, open, readFile } from "node:fs/promises";
import { VmError } from "../../base/errors.js";
import type { HostFile, HostFileOptions, HostFiles } from "../file.js";
import { fileCalls } from "./file-calls.js";
import { type ImageLock, lockImage } from "./image-lock.js";

/** Errors in the host's own words, as strerror has them. */
const REASON: { readonly [code: string]: string } = {
  ENOENT: "No such file or directory",
  ENOTDIR: "Not a directory",
  EISDIR: "Is a directory",
  EACCES: "Permission denied",
  EPERM: "Operation not permitted",
  EROFS: "Read-only file system",
  ENOSPC: "No space left on device",
  EIO: "Input/output error",
  ENAMETOOLONG: "File name too long",
  ELOOP: "Too many levels of symbolic links",
  EMFILE: "Too many open files",
  ETXTBSY: "Text file busy",
  EFBIG: "File too large",
  EINVAL: "Invalid argument",
  EADDRINUSE: "Address already in use",
  EADDRNOTAVAIL: "Cannot assign requested address",
  ECONNREFUSED: "Connection refused",
  ENXIO: "No such device or address",
  ENOTFOUND: "Name or service not known",
};

/** An errno error as one short phrase. */
export function reasonOf(e: unknown): string {
  const { code, message } = e as NodeJS.ErrnoException;
  return (code !== undefined && Object.hasOwn(REASON, code) ? REASON[code] : undefined) ?? message ?? String(e);
}

const OPEN_CODE: { readonly [code: string]: "block/not-found" | "block/read-only" } = {
  ENOENT: "block/not-found",
  ENOTDIR: "block/not-found",
  EISDIR: "block/not-found",
  EROFS: "block/read-only",
};

function ioError(cause: unknown): VmError {
  return new VmError("block/io", reasonOf(cause), { cause });
}

/** Descriptors that the process inherited, as paths; pipes among them may be written. */
const FD_FOLDER = "/dev/fd/";

class NodeFile implements HostFile {
  constructor(
    readonly path: string,
    readonly readOnly: boolean,
    public sizeBytes: number,
    private readonly handle: FileHandle,
    private readonly lock: ImageLock | undefined,
    readonly identity: string,
    private readonly regular: boolean,
    /** A pipe: bytes go where they go. */
    private readonly isPipe: boolean,
  ) {
    if (fileCalls && regular) {
      const { fd } = handle;
      this.discard = (offset, size) => fileCalls!.punchHole(fd, offset, size);
      this.extent = async (offset) => fileCalls!.extent(fd, offset, this.sizeBytes);
    }
  }

  readonly discard?: (offsetBytes: number, sizeBytes: number) => Promise<void>;
  readonly extent?: (offsetBytes: number) => Promise<{ data: boolean; sizeBytes: number }>;

  async resize(sizeBytes: number): Promise<void> {
    if (this.readOnly) throw new VmError("block/read-only", "File is open for reading only");
    if (!this.regular) throw new VmError("block/io", "Cannot resize a device");
    try {
      await this.handle.truncate(sizeBytes);
    } catch (e) {
      throw ioError(e);
    }
    this.sizeBytes = sizeBytes;
  }

  async allocatedBytes(): Promise<number> {
    try {
      return (await this.handle.stat()).blocks * 512;
    } catch (e) {
      throw ioError(e);
    }
  }

  async read(offsetBytes: number, out: Uint8Array): Promise<number> {
    let done = 0;
    try {
      while (done < out.length) {
        const { bytesRead } = await this.handle.read(out, done, out.length - done, offsetBytes + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
    } catch (e) {
      throw ioError(e);
    }
    return done;
  }

  async write(offsetBytes: number, data: Uint8Array): Promise<void> {
    if (this.readOnly) throw new VmError("block/read-only", "File is open for reading only");
    let done = 0;
    try {
      while (done < data.length) {
        const { bytesWritten } = await this.handle.write(data, done, data.length - done, this.isPipe ? null : offsetBytes + done);
        done += bytesWritten;
      }
    } catch (e) {
      throw ioError(e);
    }
    this.sizeBytes = Math.max(this.sizeBytes, offsetBytes + done);
  }

  async flush(): Promise<void> {
    try {
      await this.handle.datasync();
    } catch (e) {
      throw ioError(e);
    }
  }

  async close(): Promise<void> {
    try {
      await this.handle.close();
    } finally {
      await this.lock?.release();
    }
  }
}

export const nodeFiles: HostFiles = {
  async open(path: string, options: HostFileOptions): Promise<HostFile> {
    let handle: FileHandle;
    const inherited = path.startsWith(FD_FOLDER);
    try {
      const flags = options.readOnly
        ? constants.O_RDONLY
        : options.create
          ? constants.O_RDWR | constants.O_CREAT | (options.lock ? 0 : constants.O_TRUNC)
          : constants.O_RDWR;
      // Without O_NONBLOCK the open of a FIFO would hold one of the few pool threads until somebody writes.
      handle = await open(path, inherited ? flags : flags | constants.O_NONBLOCK, 0o666);
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code ?? "";
      throw new VmError(
        Object.hasOwn(OPEN_CODE, code)
          ? OPEN_CODE[code]!
          : code === "EACCES" && !options.readOnly
            ? "block/read-only"
            : "block/io",
        reasonOf(cause),
        { cause },
      );
    }
    try {
      const stat = await handle.stat({ bigint: true });
      if (stat.isDirectory()) throw new VmError("block/not-found", "Is a directory");
      const isPipe = inherited && stat.isFIFO();
      if ((stat.isFIFO() && !isPipe) || stat.isSocket() || (options.lock && stat.isCharacterDevice()))
        throw new VmError("block/io", "Not a regular file or block device");
      const size = stat.isBlockDevice() ? await blockDeviceSize(stat.rdev) : Number(stat.size);
      const lock = options.lock
        ? await lockImage({
            fd: handle.fd,
            device: stat.dev,
            inode: stat.ino,
            write: !options.readOnly,
            share: options.share === true,
          })
        : undefined;
      const identity = `${stat.dev}:${stat.ino}`;
      const file = new NodeFile(path, options.readOnly, isPipe ? 0 : size, handle, lock, identity, stat.isFile(), isPipe);
      // Emptied under the lock only: another program's image stays as it is.
      if (options.create && options.lock && stat.isFile()) await file.resize(0);
      return file;
    } catch (e) {
      await handle.close();
      throw e;
    }
  },
};

/** Linux tells a device's size, in sectors of 512 bytes, under /sys. */
async function blockDeviceSize(rdev: bigint): Promise<number> {
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xfff00n);
  const major = (rdev >> 8n) & 0xfffn;
  try {
    return Number(await readFile(`/sys/dev/block/${major}:${minor}/size`, "utf8")) * 512;
  } catch (cause) {
    throw new VmError("block/io", "Could not get the size of the block device", { cause });
  }
}
