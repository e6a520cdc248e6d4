/**
 * System calls from Node through koffi, an optional dependency. Linux on x86-64.
 *
 * A kick is a signal whose handler does nothing: libc's `abs` serves, so no JavaScript runs in signal context. Sources:
 * signal(7), timer_create(2), eventfd(2); glibc's struct sigaction and struct sigevent.
 */
import { VmError } from "../../base/errors.js";
import { type Alarm, Errno, type HostSyscalls, type Mapping } from "../syscalls.js";

/** SIGRTMIN + 6: neither glibc, Node nor V8 use it. */
export const KICK_SIGNAL = 40;
const SA_RESTART = 0x10000000;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const CLOCK_MONOTONIC = 1;
const SIGEV_THREAD_ID = 4;
const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;
const POLLIN = 1;
const NS = 1e9;

type Call = (...args: unknown[]) => number;

/** The part of koffi's interface that is used. */
export interface Koffi {
  load(name: string): { func(prototype: string): Call & { async(...args: unknown[]): void }; symbol?(name: string): unknown };
  address(value: unknown): number | bigint;
  view(pointer: unknown, length: number): ArrayBuffer;
  errno(): number;
  proto(prototype: string): unknown;
  call(pointer: unknown, prototype: unknown, ...args: unknown[]): unknown;
}

/** @throws VmError "host/no-ffi" with the reason */
export async function loadKoffi(): Promise<Koffi> {
  if (process.platform !== "linux" || process.arch !== "x64")
    throw new VmError("host/no-ffi", `system calls are made on x86-64 Linux only, this is ${process.arch} ${process.platform}`);
  try {
    const module = (await import("koffi")) as unknown as { default?: Koffi } & Koffi;
    return module.default ?? module;
  } catch (cause) {
    const code = (cause as { code?: string }).code;
    const what = code === "ERR_MODULE_NOT_FOUND" ? "is not installed" : `does not load (${firstLine(cause)})`;
    throw new VmError("host/no-ffi", `the FFI library koffi ${what}; npm install koffi`, { cause });
  }
}

function firstLine(e: unknown): string {
  return (e instanceof Error ? e.message : String(e)).split("\n")[0]!;
}

let loaded: Promise<HostSyscalls> | undefined;

/** This process's system calls. @throws VmError "host/no-ffi" */
export function nodeSyscalls(): Promise<HostSyscalls> {
  loaded ??= loadKoffi().then(bind);
  return loaded;
}

/** Makes the calls; installs the handler of the kick. */
export function bind(koffi: Koffi): HostSyscalls {
  let libc: ReturnType<Koffi["load"]>;
  try {
    libc = koffi.load("libc.so.6");
  } catch (cause) {
    throw new VmError("host/no-ffi", `the FFI library finds no glibc (${firstLine(cause)})`, { cause });
  }
  const open = libc.func("int open(const char*, int)");
  const close = libc.func("int close(int)");
  const ioctl = libc.func("int ioctl(int, unsigned long, uint64_t)");
  const ioctlData = libc.func("int ioctl(int, unsigned long, void*)");
  const mmap = libc.func("void* mmap(void*, size_t, int, int, int, int64_t)") as unknown as (...a: unknown[]) => unknown;
  const munmap = libc.func("int munmap(uint64_t, size_t)");
  const makeEventfd = libc.func("int eventfd(unsigned int, int)");
  const readFd = libc.func("int64_t read(int, void*, size_t)");
  const writeFd = libc.func("int64_t write(int, const void*, size_t)");
  const gettid = libc.func("int gettid()");
  const tgkill = libc.func("int tgkill(int, int, int)");
  const poll = libc.func("int poll(void*, uint64_t, int)");
  const timerCreate = libc.func("int timer_create(int, const void*, void*)");
  const timerSettime = libc.func("int timer_settime(uint64_t, int, const void*, void*)");
  const timerDelete = libc.func("int timer_delete(uint64_t)");
  const negative = (r: number) => (r < 0 ? -koffi.errno() : r);
  const tid = () => gettid();
  installKick(libc, koffi);

  const calls: HostSyscalls = {
    pid: process.pid,
    tid,
    open: (path, flags) => negative(open(path, flags)),
    close: (fd) => negative(close(fd)),
    ioctl: (fd, request, argument) => negative(ioctl(fd, request, argument)),
    ioctlData: (fd, request, data) => negative(ioctlData(fd, request, data)),
    mmap: (fd, sizeBytes) => {
      const p = mmap(null, sizeBytes, PROT_READ_WRITE, MAP_SHARED, fd, 0);
      const address = Number(koffi.address(p));
      // MAP_FAILED is -1.
      if (address <= 0 || address >= 2 ** 63) return -koffi.errno();
      return { buffer: koffi.view(p, sizeBytes), address };
    },
    munmap: (m: Mapping) => void munmap(m.address, m.buffer.byteLength),
    addressOf: (bytes) => Number(koffi.address(bytes)),
    eventfd: () => negative(makeEventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
    eventfdSignal: (fd) => void writeFd(fd, ONE, 8),
    eventfdTake: (fd) => {
      const out = new BigUint64Array(1);
      return readFd(fd, new Uint8Array(out.buffer), 8) === 8 ? Number(out[0]) : 0;
    },
    watch: (fds, onReadable) => watch(calls, poll, fds, onReadable),
    alarm: () => alarm(tid(), timerCreate, timerSettime, timerDelete),
    kick: (thread) => void tgkill(process.pid, thread, KICK_SIGNAL),
  };
  return calls;
}

const ONE = new Uint8Array(new BigUint64Array([1n]).buffer);

/** Makes `abs` the handler of the kick signal, for the whole process. */
function installKick(libc: ReturnType<Koffi["load"]>, koffi: Koffi): void {
  const dlsym = libc.func("void* dlsym(void*, const char*)") as unknown as (...a: unknown[]) => unknown;
  const sigaction = libc.func("int sigaction(int, const void*, void*)");
  const action = new Uint8Array(152);
  const view = new DataView(action.buffer);
  view.setBigUint64(0, BigInt(koffi.address(dlsym(null, "abs"))), true);
  view.setUint32(136, SA_RESTART, true);
  if (sigaction(KICK_SIGNAL, action, null) !== 0)
    throw new VmError("host/no-ffi", `cannot install a handler for signal ${KICK_SIGNAL}: errno ${koffi.errno()}`);
}

function alarm(tid: number, create: Call, settime: Call, remove: Call): Alarm {
  const event = new Uint8Array(64);
  const e = new DataView(event.buffer);
  e.setInt32(8, KICK_SIGNAL, true);
  e.setInt32(12, SIGEV_THREAD_ID, true);
  e.setInt32(16, tid, true);
  const id = new BigUint64Array(1);
  if (create(CLOCK_MONOTONIC, event, new Uint8Array(id.buffer)) !== 0)
    throw new VmError("host/no-ffi", "timer_create failed: no timer can interrupt a vCPU");
  const timer = Number(id[0]);
  // struct itimerspec: interval, value.
  const spec = new Uint8Array(32);
  const s = new DataView(spec.buffer);
  const put = (at: number, ns: number) => {
    s.setBigInt64(at, BigInt(Math.floor(ns / NS)), true);
    s.setBigInt64(at + 8, BigInt(Math.floor(ns % NS)), true);
  };
  return {
    arm(delayNs, intervalNs) {
      put(0, intervalNs);
      put(16, Math.max(1, delayNs));
      settime(timer, 0, spec, null);
    },
    disarm() {
      put(0, 0);
      put(16, 0);
      settime(timer, 0, spec, null);
    },
    dispose: () => void remove(timer),
  };
}

/** One poll() in a pool thread; an eventfd of its own ends it, since a thread that waits would keep the process. */
function watch(
  calls: HostSyscalls,
  poll: Call & { async(...args: unknown[]): void },
  fds: readonly number[],
  onReadable: () => void,
): { close(): void } {
  const stop = calls.eventfd();
  if (stop < 0) throw new VmError("host/no-ffi", `eventfd failed: errno ${-stop}`);
  let closed = false;
  const set = new Uint8Array(8 * (fds.length + 1));
  const v = new DataView(set.buffer);
  for (const [i, fd] of [...fds, stop].entries()) {
    v.setInt32(8 * i, fd, true);
    v.setInt16(8 * i + 4, POLLIN, true);
  }
  const wait = () =>
    poll.async(set, fds.length + 1, -1, (error: unknown, ready: number) => {
      if (closed) {
        calls.close(stop);
        return;
      }
      if (error || (ready < 0 && ready !== -Errno.EINTR)) return;
      onReadable();
      if (closed) calls.close(stop);
      else wait();
    });
  wait();
  return {
    close() {
      if (closed) return;
      closed = true;
      calls.eventfdSignal(stop);
    },
  };
}
