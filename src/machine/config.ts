/**
 * A machine's configuration: plain data, the same from the command line and from the API. The option parser fills it in,
 * `createMachine` checks what only the machine can know, and the board wires what it says.
 *
 * Words are QEMU's. A property list is an object of strings as the user wrote them (`on`, `off`, `512M`, `0x3f8`);
 * `machine/properties.ts` reads it against a DeviceType. Look properties up with `Object.hasOwn`, never by prototype.
 */
import type { TraceItem } from "../base/trace.js";
import type { NodeOptions } from "../block/blockdev-options.js";
import type { DriveOptions } from "../block/drive-options.js";
import type { SocketAddress } from "../host/host.js";
import type { NetAddress } from "../host/network.js";
import type { UserNetConfig } from "../net/user/config.js";
import type { WatchdogAction } from "./events.js";

/** Names to values as written. */
export type Properties = { readonly [name: string]: string };

export type GuestArch = "x86_64" | "i386" | "ppc64";

/** One `-accel`, in the order of preference. */
export interface AccelConfig {
  /** "auto": whichever is fast here. */
  readonly name: "tcg" | "kvm" | "auto";
  readonly props: Properties;
}

/** `-cpu MODEL,+feature,-feature,prop=value`. */
export interface CpuConfig {
  readonly model: string;
  /** In the order written: a later one wins. */
  readonly features: readonly { readonly name: string; readonly on: boolean }[];
  /** What has a value that is not a switch: `level`, `model-id`, `vendor`, ... */
  readonly props: Properties;
}

/** `-smp`. The product of sockets, cores and threads is `maxCpus`. */
export interface SmpConfig {
  readonly cpus: number;
  readonly maxCpus: number;
  readonly sockets: number;
  readonly cores: number;
  readonly threads: number;
}

/** Direct boot. */
export interface KernelConfig {
  readonly image: string;
  /** As written: one file, or for multiboot `file args,file args` (a comma in a name is doubled). */
  readonly initrd?: string | undefined;
  readonly append?: string | undefined;
}

/** `-device`. */
export interface DeviceConfig {
  readonly driver: string;
  readonly id?: string | undefined;
  readonly bus?: string | undefined;
  readonly props: Properties;
  /** The option as written, for messages. */
  readonly origin: string;
}

/** `-object`. */
export interface ObjectConfig {
  readonly type: string;
  readonly id: string;
  readonly props: Properties;
  readonly origin: string;
}

/** `-netdev`, and what `-nic` and `-net` stand for. */
export type NetdevConfig = { readonly id: string; readonly origin: string } & (
  | { readonly type: "user"; readonly user: UserNetConfig }
  | { readonly type: "socket"; readonly mode: "listen" | "connect"; readonly address: NetAddress }
  | { readonly type: "socket"; readonly mode: "mcast"; readonly address: NetAddress; readonly local?: string | undefined }
  | { readonly type: "socket"; readonly mode: "udp"; readonly address: NetAddress; readonly local: NetAddress }
  /** `fd`: an open descriptor of a tap device. */
  | { readonly type: "tap"; readonly fd: number }
  /** `netdev`: a network that hangs at the port instead of a card. */
  | { readonly type: "hubport"; readonly hub: number; readonly netdev?: string | undefined }
);

/** `-vnc`. */
export interface VncConfig {
  readonly id: string;
  readonly address: NetAddress | undefined;
  /** Ports tried from the address on. */
  readonly tries: number;
  readonly websocketPort?: number | undefined;
  readonly password: boolean;
  /** Id of the secret object that holds it. */
  readonly passwordSecret?: string | undefined;
  /** Id of the audio backend, all of which are silent. */
  readonly audiodev?: string | undefined;
  readonly share: "allow-exclusive" | "force-shared" | "ignore";
  readonly origin: string;
}

/** `-chardev` and what the short forms of -serial, -monitor stand for. */
export type ChardevConfig = {
  readonly id: string;
  /** May be shared by several frontends, with Ctrl-a commands. */
  readonly mux: boolean;
  /** Copy of the output. */
  readonly logFile?: string | undefined;
  readonly logAppend?: boolean | undefined;
  readonly origin: string;
} & ChardevBackendConfig;

export type ChardevBackendConfig =
  | { readonly backend: "null" }
  | { readonly backend: "ringbuf"; readonly sizeBytes: number }
  /** `signal`: Ctrl-C ends the emulator rather than reaching the guest. */
  | { readonly backend: "stdio"; readonly signal: boolean }
  | { readonly backend: "file"; readonly path: string; readonly append: boolean; readonly inputPath?: string | undefined }
  | { readonly backend: "pipe"; readonly path: string }
  /** A pseudo terminal; the monitor tells which. */
  | { readonly backend: "pty" }
  | {
      readonly backend: "socket";
      readonly address: SocketAddress;
      readonly server: boolean;
      /** A server holds the machine back until a client has come. */
      readonly wait: boolean;
      readonly nodelay: boolean;
      /** Seconds between attempts of a client; 0 = no second attempt. */
      readonly reconnectSec: number;
      /** Descriptors that come with bytes are for the frontend: QMP's `getfd`. */
      readonly passFds?: boolean | undefined;
    }
  /** Given by the API: the bytes are the streams of `Machine.chardev(id)`. */
  | { readonly backend: "stream" };

/** One `-serial`: COM1 to COM4 in order. `chardev: undefined` = this port is not there (`none`). */
export interface SerialConfig {
  readonly chardev?: string | undefined;
}

export interface MonitorConfig {
  readonly chardev: string;
  /** The human monitor, or QMP. */
  readonly mode: "readline" | "control";
  /** QMP with one member a line. */
  readonly pretty?: boolean | undefined;
}

/** What the process does around its machine. */
export interface ProcessConfig {
  /** `-daemonize` */
  readonly daemonize: boolean;
  /** `-pidfile` */
  readonly pidFile?: string | undefined;
  /** `-msg`: what messages begin with. */
  readonly msgTimestamp: boolean;
  readonly msgGuestName: boolean;
}

/** `-add-fd`: an inherited descriptor under a set's number, for paths `/dev/fdset/SET`. */
export interface FdSetConfig {
  readonly set: number;
  readonly fd: number;
  readonly opaque?: string | undefined;
}

/** `-rtc`. */
export interface RtcConfig {
  readonly base: "utc" | "localtime" | { readonly startMs: number };
  readonly clock: "host" | "vm" | "rt";
}

/** `-icount`. `shift`: one instruction is 2^shift ns of virtual time. */
export interface IcountConfig {
  readonly shift: number | "auto";
  readonly align: boolean;
  /** Whether virtual time waits for real time while the guest is idle; off = jumps to the next timer. */
  readonly sleep: boolean;
}

/** `-boot`. */
export interface BootConfig {
  /** Drive letters: a b floppies, c disk, d CD-ROM, n network. */
  readonly order: string;
  readonly once?: string | undefined;
  readonly menu: boolean;
  readonly strict: boolean;
  readonly splashTimeMs?: number | undefined;
  readonly rebootTimeoutMs?: number | undefined;
}

/** `-blockdev`: a node of the block graph. */
export interface BlockdevConfig {
  readonly options: NodeOptions;
  /** The option as written, for messages. */
  readonly origin: string;
}

/** `-global driver.property=value`. */
export interface GlobalConfig {
  readonly driver: string;
  readonly property: string;
  readonly value: string;
  readonly origin: string;
}

export interface TraceConfig {
  readonly items: readonly TraceItem[];
  /** `-D`; absent = stderr. */
  readonly file?: string | undefined;
}

/** Everything about a machine. */
export interface MachineConfig {
  readonly arch: GuestArch;
  /** `-machine`: the type without aliases, and its properties as written and checked. */
  readonly machine: { readonly type: "pc" | "pseries" | "none"; readonly props: Properties };
  readonly accel: readonly AccelConfig[];
  readonly cpu: CpuConfig;
  readonly memoryBytes: number;
  readonly smp: SmpConfig;
  readonly kernel?: KernelConfig | undefined;
  /** `-bios`; absent = the board's own SeaBIOS. */
  readonly bios?: string | undefined;
  /** `-L`, in order; after them comes what is built in. */
  readonly firmwarePath: readonly string[];
  /** In the order given, then the empty drives every PC has; those with `if=virtio` have their `-device` in `devices`. */
  readonly drives: readonly DriveOptions[];
  /** `-blockdev`, in order. */
  readonly blockdevs: readonly BlockdevConfig[];
  readonly devices: readonly DeviceConfig[];
  readonly objects: readonly ObjectConfig[];
  readonly chardevs: readonly ChardevConfig[];
  readonly netdevs: readonly NetdevConfig[];
  readonly vnc: readonly VncConfig[];
  readonly serials: readonly SerialConfig[];
  readonly monitors: readonly MonitorConfig[];
  readonly fdSets: readonly FdSetConfig[];
  readonly launch: ProcessConfig;
  readonly display: "none";
  /** Off with -nographic: the firmware talks to the first serial port too. */
  readonly graphics: boolean;
  readonly vga: "none" | "std";
  readonly rtc: RtcConfig;
  readonly icount?: IcountConfig | undefined;
  readonly boot: BootConfig;
  readonly name?: string | undefined;
  /** 36 characters; absent = zeroes, as in QEMU. */
  readonly uuid?: string | undefined;
  readonly acpi: boolean;
  readonly hpet: boolean;
  /** Boot sector signature check of the floppy drive by the BIOS. */
  readonly fdBootCheck: boolean;
  /** A guest's reset ends the machine. */
  readonly noReboot: boolean;
  /** A guest's power-off stops the machine and keeps it. */
  readonly noShutdown: boolean;
  /** What a watchdog's end of time leads to. */
  readonly watchdogAction: WatchdogAction;
  /** `-incoming`: waits for the state of another machine; a stream's address, or "defer" until a monitor gives one. */
  readonly incoming?: string | undefined;
  /** `-loadvm`: an internal snapshot to start from. */
  readonly loadSnapshot?: string | undefined;
  /** `-S`: created, not running. */
  readonly startPaused: boolean;
  /** `-nodefaults`; what it leaves out is left out of the lists above already. */
  readonly noDefaults: boolean;
  readonly globals: readonly GlobalConfig[];
  readonly trace: TraceConfig;
}

const DEFAULT_CPU = { x86_64: "qemu64", i386: "qemu32", ppc64: "power9_v2.0" } as const;
const DEFAULT_MEMORY_MIB = { x86_64: 128, i386: 128, ppc64: 512 } as const;

/** The configuration of `tandem-system-x86_64` without arguments, less its default devices. */
export function defaultConfig(arch: GuestArch = "x86_64"): MachineConfig {
  return {
    arch,
    machine: { type: arch === "ppc64" ? "pseries" : "pc", props: {} },
    accel: [{ name: "tcg", props: {} }],
    cpu: { model: DEFAULT_CPU[arch], features: [], props: {} },
    memoryBytes: DEFAULT_MEMORY_MIB[arch] * 2 ** 20,
    smp: { cpus: 1, maxCpus: 1, sockets: 1, cores: 1, threads: 1 },
    firmwarePath: [],
    drives: [],
    blockdevs: [],
    devices: [],
    objects: [],
    chardevs: [],
    netdevs: [],
    vnc: [],
    serials: [],
    monitors: [],
    fdSets: [],
    launch: { daemonize: false, msgTimestamp: false, msgGuestName: false },
    display: "none",
    graphics: true,
    vga: arch === "ppc64" ? "none" : "std",
    rtc: { base: "utc", clock: "host" },
    boot: { order: "cad", menu: false, strict: false },
    acpi: true,
    hpet: true,
    fdBootCheck: true,
    noReboot: false,
    noShutdown: false,
    watchdogAction: "reset",
    startPaused: false,
    noDefaults: false,
    globals: [],
    trace: { items: [] },
  };
}
