/**
 * The machine as a monitor sees it: run control, what is in it, and a look inside. `Machine` (machine/vm.ts) has this
 * shape; monitors and tests depend on nothing more.
 */
import type { Emitter } from "../base/event.js";
import type { Drive } from "../block/backend.js";
import type { TcpStream } from "../host/network.js";
import type { BlockControl } from "../machine/backends.js";
import type { Board, BoardInspection } from "../machine/board.js";
import type { DeviceConfig, MachineConfig } from "../machine/config.js";
import type { MachineEvent, RunState } from "../machine/events.js";
import type { Migration } from "../machine/migration.js";
import type { Networks } from "../machine/networks.js";
import type { MachinePolicy } from "../machine/vm.js";
import type { VmSnapshots } from "../machine/vm-snapshots.js";
import type { VncServers } from "../machine/vnc.js";
import type { InputHub } from "../ui/input.js";

/** A character backend in `info chardev`. */
export interface ChardevSummary {
  readonly label: string;
  /** As QEMU prints it: "stdio", "file", "disconnected:unix:/tmp/s,server=on". */
  readonly filename: string;
  readonly frontendOpen: boolean;
}

/** Everything `info block` shows, beside the drive's own fields. */
export interface BlockSummary {
  readonly drive: Drive;
  /** Host path or "". */
  readonly file: string;
  readonly cache: string;
  readonly trayOpen: boolean;
}

/** What a monitor command can do. */
export interface MonitorTarget {
  readonly name: string | undefined;
  readonly uuid: string;
  readonly accelerator: string;
  readonly runState: RunState;
  readonly inspect: BoardInspection;
  readonly config: MachineConfig;
  /** What happens to the machine, as it happens. */
  readonly occurred: Pick<Emitter<MachineEvent>, "on">;
  readonly policy: MachinePolicy;
  readonly migration: Migration;
  readonly snapshots: VmSnapshots;
  /** `device_add`. @throws VmError */
  plugDevice(config: DeviceConfig): void;
  /** `device_del`. @throws VmError "device/unknown" */
  unplugDevice(id: string): void;
  /** Loads a state (`-incoming defer`). @throws VmError */
  load(uri: string): Promise<void>;
  /** Accelerators that this host has for the guest, by name. */
  accelerators(): readonly string[];
  /** @throws VmError "accel/unavailable", "accel/failed" */
  setAccelerator(name: "tcg" | "kvm"): Promise<void>;
  /** The host thread a vCPU runs on. */
  threadId(cpu: number): number;
  wallMs(): number;
  closeFd(fd: number): void;
  /** One line to whoever runs the process. */
  note(line: string): void;
  stop(): Promise<void>;
  /** @throws VmError when the state does not allow it (after a shutdown: reset first) */
  cont(): void;
  reset(): void;
  powerdown(): void;
  wakeup(): void;
  nmi(): void;
  /** Ends the machine and, on the command line, the process. */
  quit(): void;
  sendKeys: Board["sendKeys"];
  blocks(): readonly BlockSummary[];
  /** Images by node. */
  readonly block: BlockControl;
  /** The device of a node's drive: its path, or its id. */
  nodeDevice(nodeName: string): string | undefined;
  chardevs(): readonly ChardevSummary[];
  /** Takes the medium out. @throws VmError "device/unknown" | "block/..." (locked by the guest, unless forced) */
  eject(device: string, force: boolean): Promise<void>;
  change(device: string, file: string, readOnly: "retain" | "read-only" | "read-write"): Promise<void>;
  /** Writes a host file, for screendump and the like. @throws VmError "block/io" */
  writeFile(path: string, data: Uint8Array): Promise<void>;
  /** A ring buffer chardev. */
  ringbuf(id: string): { read(limit: number): Uint8Array; send(data: Uint8Array): number } | undefined;
  readonly vnc: VncServers;
  readonly inputs: InputHub | undefined;
  /** A connected socket that came as a descriptor. @throws VmError "net/io" */
  adoptSocket(fd: number): TcpStream;
  /** Networks and cards. */
  readonly networks: Pick<Networks, "list" | "looseCards" | "user" | "users" | "remove" | "setLink">;
  /** `netdev_add` with the text of a `-netdev`. @throws VmError */
  addNetdev(text: string): Promise<void>;
  /** Sets the `-d` items: `log`. */
  setTrace(items: readonly string[]): void;
}
