/**
 * What a board is to the machine around it: guest hardware, wired, with its engine; no policy. `pc.ts` implements it and
 * `boards.ts` chooses among boards. The `Machine` (vm.ts) owns the policy: what a reset or power-off request leads to,
 * run states, events, backends.
 *
 * Contract
 * - `createBoard` resolves with everything wired and reset, not running; it throws VmError for what the user asked wrongly.
 * - `start` lets the engine run in slices off `host.scheduler` and starts the virtual clock; it returns at once.
 * - `stop` resolves after the slice under way has ended, the clock stands and no drive has I/O in flight.
 * - A request (reset, shutdown, ...) is reported through `onRequest`, synchronously, after the vCPUs have left guest code
 *   and before they enter it again; the callee may call `reset()` or `stop()` right there. Requests from `reset()` itself
 *   do not occur. After `shutdown` the callee always calls `stop()` or `dispose()`.
 * - `stop` may be called in any state; so may `dispose`, once.
 */
import type { AcceleratorName } from "../accel/accelerator.js";
import type { KvmHost } from "../accel/kvm/host.js";
import type { Trace } from "../base/trace.js";
import type { Drive } from "../block/backend.js";
import type { Chardev } from "../host/chardev.js";
import type { Host } from "../host/host.js";
import type { Device } from "../hw/core/device.js";
import type { DeviceType } from "../hw/core/device-type.js";
import type { PciDevice } from "../hw/pci/device.js";
import type { AddressSpace } from "../memory/address-space.js";
import type { Snapshotable } from "../migration/index.js";
import type { NetBackend } from "../net/backend.js";
import type { Display } from "../ui/display.js";
import type { InputHub } from "../ui/input.js";
import type { DeviceConfig, MachineConfig } from "./config.js";
import type { PropertyValues } from "./device-properties.js";
import type { MachineEvent } from "./events.js";
import type { QomProperty } from "./qom.js";

/** What the guest, or an engine on its behalf, asks of the machine. */
export type BoardRequest =
  /** Port 0xcf9, 0x92, keyboard controller, ACPI reset register, triple fault. */
  | { readonly kind: "reset"; readonly reason: "guest-reset" | "triple-fault" }
  /** ACPI S5. */
  | { readonly kind: "shutdown"; readonly reason: "guest-shutdown" }
  /** isa-debug-exit: the process ends with this status. */
  | { readonly kind: "exit"; readonly status: number }
  /** ACPI S3; `wakeup` resets the CPUs and leaves RAM. */
  | { readonly kind: "suspend" }
  /** A watchdog has not been told for too long. */
  | { readonly kind: "watchdog" }
  | { readonly kind: "panic"; readonly action: "panicked" | "crash-loaded" }
  /** A drive's werror/rerror says stop; the request is tried again after `start`. */
  | { readonly kind: "io-error"; readonly drive: string; readonly write: boolean; readonly message: string }
  /** The engine met a bug of ours: the machine stops, the message says what. */
  | { readonly kind: "internal-error"; readonly message: string };

/** A vCPU in `info cpus`. */
export interface VcpuSummary {
  readonly index: number;
  readonly halted: boolean;
  /** Linear address of the next instruction. */
  readonly pc: bigint;
}

/** A line of disassembly. */
export interface DisassembledInsn {
  readonly address: bigint;
  readonly bytes: Uint8Array;
  readonly text: string;
}

/** A node of `info qtree`: buses hold devices, devices have buses. */
export interface BusNode {
  readonly name: string;
  readonly type: string;
  readonly devices: readonly DeviceNode[];
}
export interface DeviceNode {
  readonly type: string;
  readonly id?: string | undefined;
  readonly props: readonly (readonly [name: string, value: string])[];
  readonly buses: readonly BusNode[];
}

/** A device as the object tree shows it. */
export interface DeviceRecord {
  readonly type: DeviceType;
  readonly id: string | undefined;
  /** Made by the user, or wired by the board. */
  readonly place: "peripheral" | "unattached";
  /** The values it was made with. */
  readonly values: PropertyValues;
  readonly hotplugged: boolean;
  readonly device: Device | undefined;
  /** Properties that change while it lives. */
  readonly dynamic?: readonly QomProperty[] | undefined;
}

/** A balloon as monitors see it; bytes. */
export interface BalloonControl {
  readonly actualBytes: number;
  setTarget(bytes: number): void;
  stats(): { readonly updatedNs: number; readonly values: ReadonlyMap<string, number> };
}

/** Reports that the board or engine writes as text, lines separated by "\n". */
export type ReportTopic = "pic" | "irq" | "tlb" | "mem" | "jit" | "kvm";

/** A look into the board, for monitors and debuggers; allowed at any time between slices. */
export interface BoardInspection {
  cpus(): readonly VcpuSummary[];
  /** `info registers` of one vCPU as text in QEMU's layout. */
  registers(cpu: number): string;
  /** A register by its lower-case name (`rip`, `eax`, `cs.base`, `cr3`), for `$name` in expressions. */
  register(cpu: number, name: string): bigint | undefined;
  /** Reads through the vCPU's page tables without side effects on them. @returns false at an unmapped page */
  readVirtual(cpu: number, address: bigint, out: Uint8Array): boolean;
  /** Absent when the target has no disassembler. `physical` reads past the page tables. */
  disassemble?(cpu: number, address: bigint, count: number, physical: boolean): readonly DisassembledInsn[];
  report(topic: ReportTopic, cpu: number): string;
  /** Memory, I/O and others, for `info mtree` and physical reads; the first is system memory, the second the ports. */
  addressSpaces(): readonly AddressSpace[];
  pciFunctions(): readonly { readonly bus: number; readonly device: PciDevice }[];
  /** The main system bus. */
  deviceTree(): BusNode;
  /** The first display adapter. */
  display(): Display | undefined;
  /** Every device for the object tree: the user's in their order, then the board's own. */
  records?(): readonly DeviceRecord[];
  /** The device the user gave this id. */
  deviceById?(id: string): Device | undefined;
  readonly balloon?: BalloonControl | undefined;
}

/** Guest hardware and its engine. */
export interface Board extends BoardInspection {
  /** "tcg" or "kvm", after the choice. */
  readonly accelerator: AcceleratorName;
  /**
   * Changes it; the board stands still. `kvm` is given for "kvm". Absent on boards that run on TCG only.
   * @throws VmError "accel/failed" and nothing has changed
   */
  setAccelerator?(name: AcceleratorName, kvm: KvmHost | undefined): void;
  readonly running: boolean;
  /** Set by the machine before the first `start`. */
  onRequest: (request: BoardRequest) => void;
  /** What happens on the board that needs no decision: balloon, trays, unplugged devices. Set by the machine. */
  onEvent?: (event: MachineEvent) => void;
  start(): void;
  stop(): Promise<void>;
  /** Hardware reset of every device and vCPU. */
  reset(): void;
  /** Presses the ACPI power button. */
  powerdown(): void;
  /** Wakes from S3. */
  wakeup(): void;
  nmi(): void;
  /**
   * Presses keys together and lets them go after `holdMs`. Names are QEMU's (`ctrl`, `alt`, `ret`, `f1`, `a`, `0x1c`).
   * @throws VmError "monitor/bad-command" for an unknown name, before any key is pressed
   */
  sendKeys(names: readonly string[], holdMs: number): void;
  /** All drives, also empty ones, in the order of `config.drives` and then the board's own. */
  drives(): readonly Drive[];
  /** Where keys and pointers of displays go; absent on a board without. */
  readonly inputs?: InputHub | undefined;
  /** Every device, for tests. */
  devices(): readonly Device[];
  /** `device_add` while the machine is there. @throws VmError; nothing has changed then */
  plugDevice?(config: DeviceConfig): void;
  /** `device_del`: asks the guest to let it go; "device-deleted" tells when it has gone. @throws VmError "device/unknown" */
  unplugDevice?(id: string): void;
  /** The board's state for a stream; absent where it cannot be saved. The board is stopped while it is used. */
  snapshot?(): Snapshotable;
  /** Virtual time. */
  clockNs?(): number;
  dispose(): Promise<void>;
}

/** A network card as `info network` shows it. */
export interface NetCard {
  readonly model: string;
  readonly name: string;
  readonly mac: string;
}

/** What the machine gives the board besides its configuration. */
export interface BoardParts {
  readonly host: Host;
  readonly trace: Trace;
  /** The vCPUs run on it; absent = on TCG. */
  readonly kvm?: KvmHost | undefined;
  /** The backend behind a chardev id; throws VmError "chardev/unknown". Each id can be taken once unless it is a mux. */
  chardev(id: string): Chardev;
  /**
   * The network of a `-netdev` id, for one card, which is introduced by name; throws VmError "net/unknown",
   * "device/invalid-property" when another card has it.
   */
  netdev(id: string, card: NetCard): NetBackend;
  /** A card without a network. */
  looseCard(card: NetCard): void;
  /** A hot-unplugged device has let go of what its properties name (`drive`, `netdev`). Resolves when that is free. */
  release(values: PropertyValues): Promise<void>;
  /** The drive of a `-drive` id, opened and locked; throws VmError "block/not-found". */
  drive(id: string): Drive;
  /**
   * A whole file the user named, for loaders. Errors name the option and value. `limitBytes` bounds what is read.
   * @throws VmError "image/not-found" | "image/too-large"
   */
  readFile(option: string, path: string, limitBytes: number): Promise<Uint8Array>;
  /** A firmware image: a path, or a name in `-L` folders, or a built-in one. @throws VmError "image/not-found" */
  readFirmware(option: string, name: string): Promise<Uint8Array>;
}

/** Builds a board. @throws VmError for everything the user may have got wrong; nothing is left open then. */
export type CreateBoard = (config: MachineConfig, parts: BoardParts) => Promise<Board>;
