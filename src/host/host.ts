/** Everything outside the machine, in one place: what `host/node` and `host/browser` implement. */
import type { Chardev } from "./chardev.js";
import type { HostClock } from "./clock.js";
import type { HostCodecs } from "./codec.js";
import type { HostConnections, HostHttp } from "./connection.js";
import type { CreateDeflater } from "./deflate.js";
import type { FileHost } from "./file.js";
import type { HostNetwork } from "./network.js";
import type { HostScheduler } from "./scheduler.js";
import type { StreamHost } from "./stream.js";
import type { HostSyscalls } from "./syscalls.js";

/** A host. One process has one; machines share it. */
export interface Host {
  readonly clock: HostClock;
  readonly scheduler: HostScheduler;
  readonly files: FileHost;
  /** Absent where the host has none: images that need them are refused. */
  readonly codecs?: HostCodecs | undefined;
  readonly connections?: HostConnections | undefined;
  readonly http?: HostHttp | undefined;
  /** Absent on a host without an uplink: user-mode networks reach only themselves. */
  readonly network?: HostNetwork | undefined;
  /** zlib streams, for displays over the network. */
  readonly createDeflater?: CreateDeflater | undefined;
  /** Where machine state goes to and comes from; absent on hosts that have no such things. */
  readonly streams?: StreamHost;
  /** The processor's architecture in Node's words: "x64", "arm64"; "wasm" in a browser. */
  readonly arch: string;
  /** What only a Linux host has. */
  readonly linux?: LinuxHost | undefined;
  /**
   * A file that comes with Tandem, e.g. `firmware/bios-256k.bin` or `guests/x86_64/vmlinuz`.
   * @throws VmError "image/not-found"
   */
  readBuiltIn(path: string): Promise<Uint8Array>;
  /** Fills with bytes fit for keys. */
  randomBytes(out: Uint8Array): void;
  /** One line to whoever runs the process: stderr, the console. */
  note(line: string): void;
  /** The process's number, for monitors; absent where there are no processes. */
  readonly processId?: number;
  /** Closes a descriptor that a peer gave. */
  closeFd?(fd: number): void;
  /** Minutes that local time is ahead of UTC at a moment, for `-rtc base=localtime`. */
  localOffsetMinutes(wallMs: number): number;
  /**
   * Opens a character backend; resolves when it may be used (a socket server with `wait`: when a client has come).
   * @throws VmError "chardev/io" | "chardev/unknown" when this host has no such kind
   */
  openChardev(spec: ChardevSpec, signal?: AbortSignal): Promise<Chardev>;
}

/** Linux below the host. */
export interface LinuxHost {
  /** @throws VmError "host/no-ffi" with the reason */
  syscalls(): Promise<HostSyscalls>;
  /** A file of /proc or /sys; undefined when it is not there or not readable. */
  readText(path: string): Promise<string | undefined>;
  /** Whether this process may read and write a device. */
  accessible(path: string): boolean;
}

/** A character backend that needs the outside; plain data. Paths and addresses are the host's. */
export type ChardevSpec = { readonly id: string } & (
  | { readonly backend: "stdio"; readonly signal: boolean }
  | { readonly backend: "file"; readonly path: string; readonly append: boolean; readonly inputPath?: string | undefined }
  | { readonly backend: "pipe"; readonly path: string }
  | { readonly backend: "pty" }
  | {
      readonly backend: "socket";
      readonly address: SocketAddress;
      readonly server: boolean;
      readonly wait: boolean;
      readonly nodelay: boolean;
      readonly reconnectSec: number;
      /** The frontend takes descriptors that come with bytes. */
      readonly passFds?: boolean | undefined;
    }
);

export type SocketAddress =
  | { readonly kind: "unix"; readonly path: string }
  /** A socket that the process inherited: listening with `server`, else connected. */
  | { readonly kind: "fd"; readonly fd: number }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };
