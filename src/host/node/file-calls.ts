/**
 * Linux file calls that Node has not: fallocate, lseek for holes, open file description locks. Through koffi, which is an
 * optional dependency: `fileCalls` is undefined without it, and on other systems.
 * Source: fallocate(2), lseek(2), fcntl(2) "Open file description locks".
 */
import { createRequire } from "node:module";
import { VmError } from "../../base/errors.js";

/** A lock of one byte. */
export interface ByteLock {
  readonly fd: number;
  readonly byte: number;
}

export interface FileCalls {
  /** @throws VmError "block/io" */
  punchHole(fd: number, offsetBytes: number, sizeBytes: number): Promise<void>;
  extent(fd: number, offsetBytes: number, fileBytes: number): { data: boolean; sizeBytes: number };
  /** Takes a shared lock on a byte. @returns false when somebody holds it for writing */
  lockShared(lock: ByteLock): boolean;
  unlock(lock: ByteLock): void;
  /** Whether another open file has a lock on the byte. */
  held(lock: ByteLock): boolean;
}

const PUNCH_HOLE_KEEP_SIZE = 3;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const LockType = { read: 0, write: 1, none: 2 } as const;

/** `struct flock`: type and whence as 16 bits, then start, length and process, on 64-bit Linux. */
function flock(type: number, byte: number): Uint8Array {
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  view.setInt16(0, type, true);
  view.setBigInt64(8, BigInt(byte), true);
  view.setBigInt64(16, 1n, true);
  return bytes;
}

type Call<A extends unknown[], R> = ((...args: A) => R) & {
  async(...args: [...A, (error: Error | null, result: R) => void]): void;
};
interface Koffi {
  load(path: string | null): { func<A extends unknown[], R>(declaration: string): Call<A, R> };
  errno(): number;
}

function load(): FileCalls | undefined {
  if (process.platform !== "linux" || (process.arch !== "x64" && process.arch !== "arm64")) return undefined;
  let koffi: Koffi;
  try {
    koffi = createRequire(import.meta.url)("koffi") as Koffi;
  } catch {
    return undefined;
  }
  const libc = koffi.load(null);
  const fallocate = libc.func<[number, number, number, number], number>(
    "int fallocate(int fd, int mode, int64_t offset, int64_t length)",
  );
  const lseek = libc.func<[number, number, number], number | bigint>("int64_t lseek(int fd, int64_t offset, int whence)");
  const fcntl = libc.func<[number, number, Uint8Array], number>("int fcntl(int fd, int command, void *lock)");
  return {
    punchHole: (fd, offset, size) =>
      new Promise((resolve, reject) =>
        fallocate.async(fd, PUNCH_HOLE_KEEP_SIZE, offset, size, (error, result) => {
          if (error || result !== 0) reject(new VmError("block/io", "The file system cannot punch holes", { cause: error }));
          else resolve();
        }),
      ),
    extent(fd, offset, fileBytes) {
      const rest = fileBytes - offset;
      const data = Number(lseek(fd, offset, SEEK_DATA));
      // No data up to the end: ENXIO. A file system that does not know answers otherwise, and all is data then.
      if (data < 0) return { data: koffi.errno() !== 6, sizeBytes: rest };
      if (data > offset) return { data: false, sizeBytes: Math.min(rest, data - offset) };
      const hole = Number(lseek(fd, offset, SEEK_HOLE));
      return { data: true, sizeBytes: hole > offset ? Math.min(rest, hole - offset) : rest };
    },
    lockShared: ({ fd, byte }) => fcntl(fd, F_OFD_SETLK, flock(LockType.read, byte)) === 0,
    unlock: ({ fd, byte }) => void fcntl(fd, F_OFD_SETLK, flock(LockType.none, byte)),
    held({ fd, byte }) {
      const l = flock(LockType.write, byte);
      return fcntl(fd, F_OFD_GETLK, l) === 0 && l[0] !== LockType.none;
    },
  };
}

export const fileCalls: FileCalls | undefined = load();
