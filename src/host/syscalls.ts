/**
 * System calls of a Linux host, by foreign function interface: what KVM needs and JavaScript has not. The meaning of
 * requests and structures stays with the caller (accel/kvm). Where the FFI library is missing there are none.
 *
 * Results are the call's own, or the negative errno: `-EINTR` is -4.
 */

/** errno values that callers tell apart. */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENOTTY: 25,
  ENOSYS: 38,
} as const;

/** Memory of a file descriptor, shared with the kernel. */
export interface Mapping {
  readonly buffer: ArrayBuffer;
  /** Host virtual address. */
  readonly address: number;
}

/** A POSIX timer that interrupts system calls of the thread that made it (EINTR). */
export interface Alarm {
  /** First after `delayNs`, then every `intervalNs` until disarmed: an alarm that comes just before the call is not lost. */
  arm(delayNs: number, intervalNs: number): void;
  disarm(): void;
  dispose(): void;
}

export interface HostSyscalls {
  readonly pid: number;
  /** The calling thread. */
  tid(): number;
  open(path: string, flags: number): number;
  close(fd: number): number;
  ioctl(fd: number, request: number, argument: number): number;
  /** The argument is the address of `data`, which the kernel may write. */
  ioctlData(fd: number, request: number, data: Uint8Array): number;
  /** Maps a descriptor's first bytes, shared, for reading and writing. */
  mmap(fd: number, sizeBytes: number): Mapping | number;
  munmap(mapping: Mapping): void;
  /** Host virtual address of the first byte of a buffer that never moves (WebAssembly.Memory, SharedArrayBuffer). */
  addressOf(bytes: Uint8Array): number;
  /** A non-blocking eventfd. */
  eventfd(): number;
  /** Adds to an eventfd's counter. */
  eventfdSignal(fd: number): void;
  /** Takes an eventfd's counter; 0 = it was not signalled. */
  eventfdTake(fd: number): number;
  /** Waits without a thread of the caller's until a descriptor is readable; calls back on the event loop until closed. */
  watch(fds: readonly number[], onReadable: () => void): { close(): void };
  /** An alarm for the calling thread. */
  alarm(): Alarm;
  /** Interrupts a system call of another thread of this process. */
  kick(tid: number): void;
}
