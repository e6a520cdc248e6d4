/**
 * What Node's streams do not do with descriptors: receiving others with the bytes (SCM_RIGHTS, unix(7)), pseudo terminals
 * (pts(4)), waiting for any descriptor. One waiting thread serves all of them, for Node's pool has few. Needs the FFI library.
 */
import { type Koffi, loadKoffi } from "./syscalls.js";

const POLLIN = 1;
const POLLHUP = 16;
const EFD_FLAGS = 0o2004000;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
/** Bytes and room for control data of one message. */
const MESSAGE_BYTES = 65536;
const CONTROL_BYTES = 1024;
const CONTROL_HEADER = 16;

/** Bytes from a socket, and the descriptors that came with them. Zero bytes: the peer has closed. */
export interface Received {
  readonly data: Uint8Array;
  readonly fds: readonly number[];
}

export interface Descriptors {
  /** Calls back on the event loop when the descriptor is readable or hung up, once. @returns takes it back */
  once(fd: number, onReady: () => void): () => void;
  /** Whether nobody has the other side open. */
  hungUp(fd: number): boolean;
  /** What has come on a unix socket; undefined when nothing has. */
  receive(fd: number): Received | undefined;
}

let loaded: Promise<Descriptors> | undefined;

/** @throws VmError "host/no-ffi" */
export function descriptors(): Promise<Descriptors> {
  loaded ??= loadKoffi().then(bind);
  return loaded;
}

function bind(koffi: Koffi): Descriptors {
  const libc = koffi.load("libc.so.6");
  const poll = libc.func("int poll(void*, unsigned long, int)");
  const eventfd = libc.func("int eventfd(unsigned int, int)");
  const read = libc.func("int64_t read(int, void*, size_t)");
  const write = libc.func("int64_t write(int, const void*, size_t)");
  const recvmsg = libc.func("int64_t recvmsg(int, void*, int)");
  const address = (bytes: Uint8Array) => BigInt(koffi.address(bytes));

  const waiting = new Map<number, Set<() => void>>();
  const wakeFd = eventfd(0, EFD_FLAGS);
  const one = new Uint8Array(new BigUint64Array([1n]).buffer);
  let polling = false;

  // A process ends only when its pool's threads do.
  process.once("exit", () => write(wakeFd, one, 8));

  const start = (): void => {
    if (polling || waiting.size === 0) return;
    polling = true;
    const fds = [...waiting.keys()];
    const set = new Uint8Array(8 * (fds.length + 1));
    const view = new DataView(set.buffer);
    for (const [i, fd] of [...fds, wakeFd].entries()) {
      view.setInt32(8 * i, fd, true);
      view.setInt16(8 * i + 4, POLLIN, true);
    }
    poll.async(set, fds.length + 1, -1, () => {
      polling = false;
      read(wakeFd, new Uint8Array(8), 8);
      for (const [i, fd] of fds.entries()) {
        if (view.getInt16(8 * i + 6, true) === 0) continue;
        const callbacks = waiting.get(fd);
        waiting.delete(fd);
        for (const c of callbacks ?? []) c();
      }
      start();
    });
  };
  const changed = () => {
    if (polling) write(wakeFd, one, 8);
    else start();
  };

  return {
    once(fd, onReady) {
      const callbacks = waiting.get(fd) ?? new Set();
      callbacks.add(onReady);
      waiting.set(fd, callbacks);
      changed();
      return () => {
        callbacks.delete(onReady);
        if (callbacks.size > 0 || waiting.get(fd) !== callbacks) return;
        waiting.delete(fd);
        changed();
      };
    },
    hungUp(fd) {
      const set = new Uint8Array(8);
      const view = new DataView(set.buffer);
      view.setInt32(0, fd, true);
      poll(set, 1, 0);
      return (view.getInt16(6, true) & POLLHUP) !== 0;
    },
    receive(fd) {
      const data = new Uint8Array(MESSAGE_BYTES);
      const control = new Uint8Array(CONTROL_BYTES);
      const iov = new BigUint64Array([address(data), BigInt(data.length)]);
      const message = new BigUint64Array(7);
      message[2] = address(new Uint8Array(iov.buffer));
      message[3] = 1n;
      message[4] = address(control);
      message[5] = BigInt(control.length);
      const n = Number(recvmsg(fd, new Uint8Array(message.buffer), MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
      if (n < 0) return undefined;
      const view = new DataView(control.buffer);
      const fds: number[] = [];
      const end = Math.min(Number(message[5]), control.length);
      for (let at = 0; at + CONTROL_HEADER <= end; ) {
        const length = Number(view.getBigUint64(at, true));
        if (length < CONTROL_HEADER || at + length > end) break;
        if (view.getInt32(at + 8, true) === SOL_SOCKET && view.getInt32(at + 12, true) === SCM_RIGHTS)
          for (let o = at + CONTROL_HEADER; o + 4 <= at + length; o += 4) fds.push(view.getInt32(o, true));
        at += (length + 7) & ~7;
      }
      return { data: data.subarray(0, n), fds };
    },
  };
}
