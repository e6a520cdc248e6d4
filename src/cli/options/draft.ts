/** What the options have said so far, and the pieces that option parsers share. */
import type { TraceItem } from "../../base/trace.js";
import type { DriveInterface, DriveOptions } from "../../block/drive-options.js";
import type { DeviceType } from "../../hw/core/device-type.js";
import type { MachineType } from "../../machine/catalog.js";
import type {
  AccelConfig,
  BlockdevConfig,
  BootConfig,
  ChardevConfig,
  CpuConfig,
  DeviceConfig,
  FdSetConfig,
  GlobalConfig,
  GuestArch,
  IcountConfig,
  MonitorConfig,
  NetdevConfig,
  ObjectConfig,
  ProcessConfig,
  RtcConfig,
  SmpConfig,
  VncConfig,
} from "../../machine/config.js";

import type { WatchdogAction } from "../../machine/events.js";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** A request to print something and end with status 0: `-help`, `-version`, `-cpu help`. Not an error. */
export class PrintAndExit {
  constructor(readonly text: string) {}
}

/** A `-serial` or `-monitor` whose port may be absent. */
export interface CharUse {
  /** Chardev id, or undefined for "none". */
  readonly chardev: string | undefined;
  readonly origin: string;
}

/** Where option parsers write. */
export interface Draft {
  readonly program: string;
  readonly arch: GuestArch;
  readonly deviceTypes: readonly DeviceType[];
  machineType: MachineType["name"];
  machineProps: Map<string, string>;
  memoryBackend: { readonly id: string; readonly origin: string } | undefined;
  accels: AccelConfig[];
  cpu: CpuConfig | undefined;
  memoryBytes: number | undefined;
  smp: SmpConfig | undefined;
  smpOrigin: string;
  kernel: string | undefined;
  initrd: string | undefined;
  append: string | undefined;
  bios: string | undefined;
  firmwarePath: string[];
  /** Drives in order; indexes are chosen once all are known. */
  drives: { props: Map<string, string>; origin: string }[];
  blockdevs: BlockdevConfig[];
  snapshot: boolean;
  devices: DeviceConfig[];
  objects: ObjectConfig[];
  chardevs: ChardevConfig[];
  netdevs: NetdevConfig[];
  /** Cards of -nic. */
  nics: DeviceConfig[];
  /** Cards and networks of -net. */
  hubCards: { card: DeviceConfig; netdev: string | undefined }[];
  hubNets: NetdevConfig[];
  /** -nic or -net was given. */
  netSet: boolean;
  vnc: VncConfig[];
  nicNone: boolean;
  serials: CharUse[];
  monitors: (CharUse & Partial<Pick<MonitorConfig, "mode" | "pretty">>)[];
  monitorSet: boolean;
  nographic: boolean;
  vga: "none" | "std" | undefined;
  rtc: Mutable<RtcConfig>;
  icount: IcountConfig | undefined;
  boot: Mutable<BootConfig>;
  name: string | undefined;
  uuid: string | undefined;
  noReboot: boolean;
  noShutdown: boolean;
  watchdogAction: WatchdogAction;
  usb: boolean;
  incoming: string | undefined;
  loadSnapshot: string | undefined;
  fdSets: FdSetConfig[];
  launch: Mutable<ProcessConfig>;
  startPaused: boolean;
  noDefaults: boolean;
  globals: GlobalConfig[];
  traceItems: TraceItem[];
  traceFile: string | undefined;
}

export function newDraft(program: string, arch: GuestArch, deviceTypes: readonly DeviceType[]): Draft {
  return {
    program,
    arch,
    deviceTypes,
    machineType: arch === "ppc64" ? "pseries" : "pc",
    machineProps: new Map(),
    memoryBackend: undefined,
    accels: [],
    cpu: undefined,
    memoryBytes: undefined,
    smp: undefined,
    smpOrigin: "-smp",
    kernel: undefined,
    initrd: undefined,
    append: undefined,
    bios: undefined,
    firmwarePath: [],
    drives: [],
    blockdevs: [],
    snapshot: false,
    devices: [],
    objects: [],
    chardevs: [],
    netdevs: [],
    nics: [],
    hubCards: [],
    hubNets: [],
    netSet: false,
    vnc: [],
    nicNone: false,
    serials: [],
    monitors: [],
    monitorSet: false,
    nographic: false,
    vga: undefined,
    rtc: { base: "utc", clock: "host" },
    icount: undefined,
    boot: { order: "cad", menu: false, strict: false },
    name: undefined,
    uuid: undefined,
    noReboot: false,
    noShutdown: false,
    watchdogAction: "reset",
    usb: false,
    incoming: undefined,
    loadSnapshot: undefined,
    fdSets: [],
    launch: { daemonize: false, msgTimestamp: false, msgGuestName: false },
    startPaused: false,
    noDefaults: false,
    globals: [],
    traceItems: [],
    traceFile: undefined,
  };
}

/** One option of the command line. */
export interface OptionSpec {
  /** Without dashes. */
  readonly names: readonly string[];
  /** What `-help` shows for the argument; absent = takes none. */
  readonly argument?: string;
  /** Lines of `-help`. */
  readonly help: readonly string[];
  /** Reads it into the draft. `origin` is the option as written. @throws VmError | PrintAndExit */
  readonly parse: (draft: Draft, value: string, origin: string) => void;
}

/** Options under a heading of `-help`. */
export interface OptionGroup {
  readonly heading: string;
  readonly options: readonly OptionSpec[];
}

export type { DriveInterface, DriveOptions };
