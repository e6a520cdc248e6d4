/**
 * Locks on disk images, between processes, that a crash cannot leave behind.
 *
 * With koffi on Linux they are QEMU's own: open file description locks on bytes of the file, one that is held for each
 * permission used (100 + permission) and one for each that others may not use (200 + permission), so that QEMU and its
 * tools see ours and we theirs.
 *
 * Without it, a name in the abstract socket namespace serves: binding it is atomic and exclusive, and the kernel lets go of
 * it with the process. A writer binds one name and all reader slots, a reader binds one slot. Locks that other programs
 * hold on the file are read from /proc/locks.
 *
 * Source: unix(7) "Abstract sockets"; proc(5) "/proc/locks"; QEMU block/file-posix.c's lock bytes as documented in
 * docs/system/images "Disk image file locking" (100 + permission used, 200 + permission not shared).
 * *Not emulated*: without koffi, other programs do not see our locks, and across network namespaces there are none; hosts
 * other than Linux and Windows have none.
 */
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { VmError } from "../../base/errors.js";
import { type FileCalls, fileCalls } from "./file-calls.js";

/** How many processes may read one image at a time. */
const READER_SLOTS = 8;

export interface ImageLock {
  release(): Promise<void>;
}

/** What is locked, and for what. */
export interface LockRequest {
  readonly fd: number;
  readonly device: bigint;
  readonly inode: bigint;
  readonly write: boolean;
  /** Others may write. */
  readonly share: boolean;
}

/** @throws VmError "block/locked" */
export async function lockImage(request: LockRequest): Promise<ImageLock> {
  if (fileCalls) return lockBytes(fileCalls, request);
  if (request.share) return { release: async () => {} };
  return lockNames(request.device, request.inode, request.write);
}

/** Permissions by their bit. */
const PERMISSIONS = ["consistent read", "write", "write unchanged", "resize"];

/** QEMU's order: take both kinds of bytes, then look whether another's bytes are in the way. */
function lockBytes(calls: FileCalls, { fd, write, share }: LockRequest): ImageLock {
  const uses = write ? [0, 1, 3] : [0];
  const unshares = share ? [] : [1, 3];
  const taken: number[] = [];
  const refuse = (what: string): never => {
    for (const byte of taken) calls.unlock({ fd, byte });
    throw new VmError("block/locked", `Failed to get ${what} lock`);
  };
  const take = (byte: number, what: string) => {
    // A file system without locks (ENOLCK, EINVAL) cannot hold anybody else's either.
    if (calls.lockShared({ fd, byte })) taken.push(byte);
    else if (calls.held({ fd, byte })) refuse(what);
  };
  for (const p of uses) take(QEMU_USES + p, `"${PERMISSIONS[p]}"`);
  for (const p of unshares) take(QEMU_UNSHARES + p, `shared "${PERMISSIONS[p]}"`);
  for (const p of uses) if (calls.held({ fd, byte: QEMU_UNSHARES + p })) refuse(`"${PERMISSIONS[p]}"`);
  for (const p of unshares) if (calls.held({ fd, byte: QEMU_USES + p })) refuse(`shared "${PERMISSIONS[p]}"`);
  // Closing the file lets go of them; the lock is released after that.
  return { release: async () => {} };
}

async function lockNames(device: bigint, inode: bigint, exclusive: boolean): Promise<ImageLock> {
  await checkForeignLocks(device, inode, exclusive);
  const name = (part: string) => {
    const id = `tandem-image-${device}-${inode}-${part}`;
    return process.platform === "win32" ? `\\\\.\\pipe\\${id}` : `\0${id}`;
  };
  const held: Server[] = [];
  const release = async () => {
    await Promise.all(held.map((s) => new Promise<void>((resolve) => s.close(() => resolve()))));
  };
  if (process.platform !== "linux" && process.platform !== "win32") return { release };
  const slots = Array.from({ length: READER_SLOTS }, (_, i) => name(`r${i}`));
  const wanted = exclusive ? [name("w"), ...slots] : slots;
  for (const path of wanted) {
    const server = await bind(path);
    if (server) held.push(server);
    if (exclusive ? !server : server) break;
  }
  if (held.length < (exclusive ? wanted.length : 1)) {
    await release();
    throw new VmError(
      "block/locked",
      `Failed to get "${exclusive ? "write" : "shared read"}" lock: another process is using the image`,
    );
  }
  return { release };
}

/** @returns undefined when the name is taken */
function bind(path: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    server.once("error", (e: NodeJS.ErrnoException) => (e.code === "EADDRINUSE" ? resolve(undefined) : reject(e)));
    server.listen({ path, exclusive: true }, () => resolve(server));
  });
}

/** QEMU's bytes: permissions that a holder uses, and that it does not share. */
const QEMU_USES = 100;
const QEMU_UNSHARES = 200;
const Permission = { write: 1, resize: 3 } as const;

/** @throws VmError "block/locked" when the lines of /proc/locks say that another program is in the way */
export function checkLockTable(table: string, device: bigint, inode: bigint, exclusive: boolean, ownPid: number): void {
  const minor = Number((device & 0xffn) | ((device >> 12n) & 0xfff00n));
  const major = Number((device >> 8n) & 0xfffn);
  const key = `${hex2(major)}:${hex2(minor)}:${inode}`;
  for (const line of table.split("\n")) {
    // "1: OFDLCK ADVISORY  READ -1 08:01:1234 100 101"; "->" marks one that waits
    const f = line.trim().split(/\s+/);
    if (f.length < 8 || f[1] === "->" || f[5] !== key || Number(f[4]) === ownPid) continue;
    const start = Number(f[6]);
    const end = f[7] === "EOF" ? Number.POSITIVE_INFINITY : Number(f[7]);
    const covers = (byte: number) => start <= byte && byte <= end;
    const writes = covers(QEMU_USES + Permission.write) || covers(QEMU_USES + Permission.resize);
    const refusesWriters = covers(QEMU_UNSHARES + Permission.write);
    if (f[3] === "WRITE" || writes || (exclusive && refusesWriters))
      throw new VmError(
        "block/locked",
        `Failed to get "${exclusive ? "write" : "shared read"}" lock: another process is using the image`,
      );
  }
}

function hex2(n: number): string {
  return n.toString(16).padStart(2, "0");
}

async function checkForeignLocks(device: bigint, inode: bigint, exclusive: boolean): Promise<void> {
  if (process.platform !== "linux") return;
  let table: string;
  try {
    table = await readFile("/proc/locks", "utf8");
  } catch {
    return;
  }
  checkLockTable(table, device, inode, exclusive, process.pid);
}
