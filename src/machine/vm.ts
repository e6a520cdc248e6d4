/**
 * The machine as its owner sees it: a board, its backends, run states and policy (what a guest's reset, power-off, panic
 * or disk error leads to). The command line, the monitors and the API all use this class.
 *
 * Source of the policy: QEMU 7.2, `-no-reboot`, `-no-shutdown`, run states of QAPI.
 */
import type { AcceleratorName } from "../accel/accelerator.js";
import { type AcceleratorChoice, chooseAccelerator } from "../accel/choose.js";
import { VmError } from "../base/errors.js";
import { Emitter } from "../base/event.js";
import { Trace, type TraceItem } from "../base/trace.js";
import type { Drive } from "../block/backend.js";
import type { Chardev } from "../host/chardev.js";
import type { Host } from "../host/host.js";
import type { TcpStream } from "../host/network.js";
import type { InputHub } from "../ui/input.js";
import { Accelerators } from "./accelerators.js";
import { Backends, type BlockControl } from "./backends.js";
import type { Board, BoardInspection, BoardRequest, CreateBoard } from "./board.js";
import { TRACE_ITEMS } from "./catalog.js";
import type { DeviceConfig, MachineConfig, MonitorConfig, NetdevConfig } from "./config.js";
import { EventQueue, type MachineEvent, type MigrationStatus, type RunState, type WatchdogAction } from "./events.js";
import { readFirmware, readWhole } from "./images.js";
import type { StreamChardev } from "./memory-chardevs.js";
import { Migration } from "./migration.js";
import type { Networks } from "./networks.js";
import { VmSnapshots } from "./vm-snapshots.js";
import { VncServers } from "./vnc.js";
import { waitForText } from "./wait-for-text.js";

/** States in which a machine may have been saved and stays. */
const STOPPED_STATES: readonly RunState[] = [
  "prelaunch",
  "paused",
  "shutdown",
  "suspended",
  "io-error",
  "guest-panicked",
  "watchdog",
];

const HOLD_MS = 24 * 3600 * 1000;

/** What a machine is put together from; `index.ts` and tests give it. */
export interface MachineEnvironment {
  readonly host: Host;
  readonly createBoard: CreateBoard;
  /** Puts a monitor on a chardev. */
  readonly openMonitor: (machine: Machine, chardev: Chardev, config: MonitorConfig) => void;
  /** Reads the text of a `-netdev`, for `netdev_add`. @throws VmError */
  readonly readNetdev?: ((text: string, origin: string) => NetdevConfig) | undefined;
}

/** How a machine ended. `status` is the exit status of the process on the command line. */
export interface MachineEnd {
  readonly reason: "guest-shutdown" | "guest-reset" | "guest-panicked" | "guest-exit" | "quit" | "internal-error";
  readonly status: number;
}

/** What a guest's requests lead to: `-no-reboot`, `-no-shutdown`, QMP `set-action`. */
export interface MachinePolicy {
  reboot: "reset" | "shutdown";
  shutdown: "poweroff" | "pause";
  panic: "pause" | "shutdown" | "exit-failure" | "none";
  watchdog: WatchdogAction;
}

/** Both directions of a character device. */
export interface ByteStreams {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array | string>;
}

/** A running machine. `await using` quits it. */
export class Machine implements AsyncDisposable {
  private board!: Board;
  /** The machine's VNC servers. */
  vnc = new VncServers();
  private state: RunState = "prelaunch";
  private readonly queue = new EventQueue<MachineEvent>();
  /** Events as they happen, synchronously; `events()` gives the same to async iterators. */
  readonly occurred = new Emitter<MachineEvent>();
  readonly policy: MachinePolicy;
  readonly migration: Migration;
  readonly snapshots: VmSnapshots;
  private readonly accelerating: Accelerators;
  private resolveEnd!: (end: MachineEnd) => void;
  private ending = false;
  private stopping: Promise<void> | undefined;
  readonly trace = new Trace();
  /** Resolves, once, when the machine has ended and everything is flushed and closed. */
  readonly ended: Promise<MachineEnd>;
  /** `cont` has been asked for before the state came. */
  private startWhenLoaded = false;
  /** Lets the process end. */
  private release = () => {};

  private constructor(
    readonly config: MachineConfig,
    private readonly host: Host,
    private readonly backends: Backends,
    private readonly readNetdev: MachineEnvironment["readNetdev"],
    accelerator: AcceleratorChoice,
  ) {
    const machine = this;
    this.accelerating = new Accelerators(config, host, accelerator, {
      get board() {
        return machine.board;
      },
      get running() {
        return machine.state === "running";
      },
      changed: (from, to) => this.emit({ type: "accelerator", from, to }),
    });
    this.ended = new Promise((resolve) => {
      this.resolveEnd = resolve;
    });
    this.policy = {
      reboot: config.noReboot ? "shutdown" : "reset",
      shutdown: config.noShutdown ? "pause" : "poweroff",
      panic: "shutdown",
      watchdog: config.watchdogAction,
    };
    const owner = {
      get runState() {
        return machine.state;
      },
      hold: async (state: RunState) => {
        await machine.stopAs(state);
        await backends.flush();
      },
      become: (state: RunState) => {
        machine.state = state;
      },
      run: () => machine.run(),
      snapshot: () => machine.board.snapshot?.(),
      status: (status: MigrationStatus) => machine.emit({ type: "migration", status }),
      writable: () => machine.board.drives().filter((d) => d.backend && !d.backend.readOnly),
      clockNs: () => machine.board.clockNs?.() ?? 0,
    };
    this.migration = new Migration(owner, host);
    this.snapshots = new VmSnapshots(owner, host);
    if (config.incoming !== undefined) this.state = "inmigrate";
    this.hold();
  }

  /** A machine keeps its process alive, also when it is stopped or its guest waits for an interrupt that never comes. */
  private hold(): void {
    this.release = this.host.scheduler.after(HOLD_MS, () => this.hold());
  }

  /**
   * Builds a machine; it does not run yet.
   * @throws VmError for everything the user may have got wrong; then nothing stays open
   */
  static async create(config: MachineConfig, environment: MachineEnvironment, signal?: AbortSignal): Promise<Machine> {
    signal?.throwIfAborted();
    const { host } = environment;
    const choice = await chooseAccelerator(config.accel, config.arch, host);
    if (config.icount && choice.kvm) {
      choice.kvm.device.close();
      throw new VmError("option/unsupported", "-icount: counts instructions, which KVM cannot; use -accel tcg");
    }
    for (const note of choice.notes) host.note(note);
    let machine: Machine | undefined;
    const backends = await Backends.open(
      config,
      host,
      {
        quit: () => machine?.quit(),
        flushDisks: () => void backends.flush().catch((e) => host.note(String(e instanceof Error ? e.message : e))),
        nowMs: () => host.clock.monotonicNs() / 1e6,
      },
      signal,
    );
    try {
      const m = new Machine(config, host, backends, environment.readNetdev, choice);
      machine = m;
      m.trace.sink = (line) => (backends.traceLog ? backends.traceLog.line(line) : host.note(line));
      for (const item of config.trace.items) m.trace.enable(item);
      m.board = await environment.createBoard(config, {
        host,
        trace: m.trace,
        kvm: choice.kvm,
        chardev: (id) => backends.chardev(id),
        drive: (id) => backends.drive(id),
        netdev: (id, card) => backends.networks.attach(id, card),
        looseCard: (card) => backends.networks.addLooseCard(card),
        release: async (values) => {
          if (values.netdev !== undefined) backends.networks.detach(String(values.netdev));
          if (values.drive !== undefined) await backends.releaseNodeDrive(String(values.drive));
        },
        readFile: (option, path, limit) => readWhole(host.files, option, path, limit),
        readFirmware: (option, name) => readFirmware(host, config.firmwarePath, option, name),
      });
      m.vnc = await VncServers.open(
        config,
        {
          name: config.name,
          display: () => m.board.display(),
          input: m.board.inputs,
          onEvent: (e) => m.emit({ type: "vnc", ...e, auth: m.vnc.list()[0]?.needsPassword ? "vnc" : "none" }),
        },
        host,
      );
      m.board.onRequest = (request) => m.handle(request);
      m.board.onEvent = (event) => m.emit(event);
      for (const d of m.board.drives()) d.onIoError = m.ioErrorOf(d);
      for (const mon of config.monitors) environment.openMonitor(m, backends.chardev(mon.chardev), mon);
      backends.sayNotes();
      return m;
    } catch (e) {
      machine?.release();
      machine?.vnc.close();
      await machine?.board?.dispose();
      choice.kvm?.device.close();
      await backends.close();
      throw e;
    }
  }

  get name(): string | undefined {
    return this.config.name;
  }

  get uuid(): string {
    return this.config.uuid ?? "00000000-0000-0000-0000-000000000000";
  }

  get accelerator(): AcceleratorName {
    return this.board.accelerator;
  }

  get runState(): RunState {
    return this.state;
  }

  /** A look inside, for monitors, debuggers and tests. */
  get inspect(): BoardInspection {
    return this.board;
  }

  // --- run control ---

  /** Lets the guest run. @throws VmError "closed"; "machine/invalid" after a power-off, until `reset` */
  run(): void {
    this.checkOpen();
    if (this.state === "running") return;
    if (this.state === "inmigrate") {
      this.startWhenLoaded = true;
      return;
    }
    if (this.state === "finish-migrate") throw new VmError("machine/invalid", "The machine is being saved");
    if (this.state === "shutdown" || this.state === "internal-error" || this.state === "guest-panicked")
      throw new VmError("machine/invalid", "Resetting the Virtual Machine is required");
    if (this.state === "suspended") return;
    const wasIoError = this.state === "io-error";
    this.state = "running";
    this.emit({ type: "resume" });
    this.backends.networks.setRunning(true);
    this.board.start();
    if (wasIoError) for (const d of this.board.drives()) d.onRetry?.();
  }

  /** The monitor's word for `run`. */
  cont(): void {
    this.run();
  }

  /** Resolves when the guest stands still and no disk request is under way. */
  async pause(): Promise<void> {
    this.checkOpen();
    if (this.state === "inmigrate") this.startWhenLoaded = false;
    if (this.state === "running" || this.state === "suspended") await this.stopAs("paused");
  }

  stop(): Promise<void> {
    return this.pause();
  }

  /** Presses the reset button. A guest that has powered off stays stopped until `run`. */
  reset(): void {
    this.checkOpen();
    this.resetBoard(false, "host-qmp-system-reset");
  }

  /** Presses the power button (ACPI). */
  powerdown(): void {
    this.checkOpen();
    this.emit({ type: "powerdown" });
    this.board.powerdown();
  }

  wakeup(): void {
    this.checkOpen();
    if (this.state !== "suspended") throw new VmError("machine/invalid", "Unable to wake up: guest is not in suspended state");
    this.board.wakeup();
    this.emit({ type: "wakeup" });
    this.state = "running";
    this.backends.networks.setRunning(true);
    this.board.start();
  }

  nmi(): void {
    this.checkOpen();
    this.board.nmi();
  }

  sendKeys(names: readonly string[], holdMs: number): void {
    this.checkOpen();
    this.board.sendKeys(names, holdMs);
  }

  /** Ends the machine: flushes and closes everything. `ended` resolves. */
  quit(status = 0, reason: "host-qmp-quit" | "host-signal" | "host-ui" = "host-qmp-quit"): void {
    if (this.ending) return;
    this.emit({ type: "shutdown", guest: false, reason });
    this.end({ reason: "quit", status });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.quit();
    await this.ended;
  }

  /**
   * Loads another machine's state; only with `incoming`, before the first `run`. It runs then, if `run` has been called and
   * the other one ran. @throws VmError; the machine still waits then
   */
  async load(uri: string, signal?: AbortSignal): Promise<void> {
    this.checkOpen();
    if (this.state !== "inmigrate") throw new VmError("machine/invalid", "'-incoming' was not specified on the command line");
    const before = await this.migration.load(uri, signal);
    this.checkOpen();
    const stopped = before === "running" || before === "inmigrate" ? "paused" : before;
    this.state = STOPPED_STATES.find((s) => s === stopped) ?? "paused";
    if (this.startWhenLoaded && before === "running") this.run();
  }

  // --- looking and listening ---

  /** What happens from now on. The iterator ends with the machine or the signal. */
  events(signal?: AbortSignal): AsyncIterableIterator<MachineEvent> {
    return this.queue.iterate(signal);
  }

  /** Streams of a chardev with the stream backend. @throws VmError "chardev/unknown" */
  chardev(id: string): ByteStreams {
    return this.streamChardev(id);
  }

  /** Streams of COM1 (0) to COM4 (3). @throws VmError "chardev/unknown" when the port has no stream backend */
  serial(port = 0): ByteStreams {
    return this.streamChardev(this.serialId(port));
  }

  /**
   * Resolves with all output of a serial port from now on once it holds `text`. The streams are not consumed.
   * @throws VmError "aborted" | "closed" (the machine ended first)
   */
  waitForSerial(text: string | RegExp, options: { readonly signal?: AbortSignal; readonly port?: number } = {}): Promise<string> {
    return waitForText(this.streamChardev(this.serialId(options.port ?? 0)), text, this.ended, options.signal);
  }

  private serialId(port: number): string {
    const id = this.config.serials[port]?.chardev;
    if (id === undefined) throw new VmError("chardev/unknown", `serial port ${port} is not there`);
    return id;
  }

  private streamChardev(id: string): StreamChardev {
    const stream = this.backends.stream(id);
    if (!stream) throw new VmError("chardev/unknown", `chardev '${id}' is not a stream`);
    return stream;
  }

  /** Images by node, as monitors change them. */
  get block(): BlockControl {
    return this.backends;
  }

  /** The device that a node's drive belongs to, as its path in the object tree. */
  nodeDevice(nodeName: string): string | undefined {
    const record = this.board.records?.().find((r) => r.values.drive === nodeName);
    if (record?.id === undefined) return undefined;
    return record.type.name.startsWith("virtio-blk") ? `/machine/peripheral/${record.id}/virtio-backend` : record.id;
  }

  blocks() {
    return this.backends.drives().map(({ state, options }) => ({
      drive: state,
      file: options.file ?? "",
      cache: options.cache,
      trayOpen: state.trayOpen,
    }));
  }

  /** `device_add`. @throws VmError */
  plugDevice(config: DeviceConfig): void {
    this.checkOpen();
    if (!this.board.plugDevice) throw new VmError("machine/invalid", "this machine has no hot-plug");
    this.board.plugDevice(config);
    for (const d of this.board.drives()) d.onIoError = this.ioErrorOf(d);
  }

  /** `device_del`. @throws VmError "device/unknown" */
  unplugDevice(id: string): void {
    this.checkOpen();
    if (!this.board.unplugDevice) throw new VmError("machine/invalid", "this machine has no hot-plug");
    this.board.unplugDevice(id);
  }

  private ioErrorOf(drive: Drive) {
    return (error: unknown, write: boolean) =>
      this.handle({
        kind: "io-error",
        drive: drive.id,
        write,
        message: error instanceof Error ? error.message : String(error),
      });
  }

  /** `netdev_add` with the text of a `-netdev`. @throws VmError */
  async addNetdev(text: string): Promise<void> {
    this.checkOpen();
    if (!this.readNetdev) throw new VmError("monitor/bad-command", "netdev_add is not supported here");
    await this.networks.add(this.readNetdev(text, "netdev_add"));
  }

  /** Where keys and pointers go. */
  get inputs(): InputHub | undefined {
    return this.board.inputs;
  }

  /** A connected socket that came as a descriptor. @throws VmError "net/io" */
  adoptSocket(fd: number): TcpStream {
    const adopt = this.host.network?.adoptTcp;
    if (!adopt) throw new VmError("net/io", "this host takes no descriptors");
    return adopt(fd);
  }

  /** The machine's networks and cards. */
  get networks(): Networks {
    return this.backends.networks;
  }

  chardevs() {
    return this.backends.chardevSummaries();
  }

  ringbuf(id: string) {
    return this.backends.ringbuf(id);
  }

  eject(device: string, force: boolean): Promise<void> {
    return this.backends.eject(device, force);
  }

  change(device: string, file: string, readOnly: "retain" | "read-only" | "read-write"): Promise<void> {
    return this.backends.change(device, file, readOnly);
  }

  async writeFile(path: string, data: Uint8Array): Promise<void> {
    const file = await this.host.files.open(path, { readOnly: false, lock: false, create: true });
    try {
      await file.write(0, data);
    } finally {
      await file.close();
    }
  }

  /** Accelerators that this host has for the guest. */
  accelerators(): readonly string[] {
    return this.accelerating.present();
  }

  /**
   * Goes on on another accelerator; the guest does not notice. @throws VmError "accel/unavailable", "accel/failed": then it goes
   * on as before
   */
  setAccelerator(name: AcceleratorName): Promise<void> {
    this.checkOpen();
    return this.accelerating.set(name);
  }

  /** The host thread a vCPU runs on; the process's number where vCPUs share its threads. */
  threadId(_cpu: number): number {
    return this.host.processId ?? 0;
  }

  wallMs(): number {
    return this.host.clock.wallMs();
  }

  note(line: string): void {
    this.host.note(line);
  }

  /** Closes a descriptor that a monitor's client gave. */
  closeFd(fd: number): void {
    this.host.closeFd?.(fd);
  }

  /** Sets the trace items to these. @throws VmError "option/invalid" */
  setTrace(items: readonly string[]): void {
    const unknown = items.find((i) => !TRACE_ITEMS.some((t) => t.name === i));
    if (unknown !== undefined) throw new VmError("option/invalid", `unknown log item '${unknown}'`);
    for (const t of TRACE_ITEMS) {
      if (items.includes(t.name)) this.trace.enable(t.name as TraceItem);
      else this.trace.disable(t.name as TraceItem);
    }
  }

  // --- policy ---

  private handle(request: BoardRequest): void {
    if (this.ending) return;
    switch (request.kind) {
      case "reset":
        // A triple fault is a reset like another to whoever listens.
        if (this.policy.reboot === "shutdown") this.shutdown("guest-reset", "guest-reset");
        else this.resetBoard(true, "guest-reset");
        return;
      case "shutdown":
        this.shutdown("guest-shutdown", request.reason);
        return;
      case "exit":
        this.emit({ type: "shutdown", guest: true, reason: "guest-shutdown" });
        this.end({ reason: "guest-exit", status: request.status });
        return;
      case "suspend":
        this.emit({ type: "suspend" });
        void this.stopAs("suspended");
        return;
      case "watchdog":
        this.watchdog();
        return;
      case "panic":
        this.emit({ type: "guest-panicked", action: request.action });
        if (request.action === "panicked") this.panic();
        return;
      case "io-error":
        this.emit({ type: "io-error", drive: request.drive, write: request.write, message: request.message });
        void this.stopAs("io-error");
        return;
      case "internal-error":
        this.emit({ type: "internal-error", message: request.message });
        this.host.note(`internal error: ${request.message}`);
        this.end({ reason: "internal-error", status: 1 });
        return;
    }
  }

  private resetBoard(guest: boolean, reason: string): void {
    this.board.reset();
    this.emit({ type: "reset", guest, reason });
    if (this.state === "shutdown" || this.state === "guest-panicked" || this.state === "internal-error") this.state = "paused";
    else if (this.state === "suspended") {
      this.state = "running";
      this.backends.networks.setRunning(true);
      this.board.start();
    }
  }

  private shutdown(reason: MachineEnd["reason"], detail: string): void {
    this.emit({ type: "shutdown", guest: true, reason: detail });
    if (this.policy.shutdown === "pause") void this.stopAs(reason === "guest-panicked" ? "guest-panicked" : "shutdown");
    else this.end({ reason, status: 0 });
  }

  private watchdog(): void {
    const action = this.policy.watchdog;
    this.emit({ type: "watchdog", action });
    switch (action) {
      case "reset":
        if (this.policy.reboot === "shutdown") this.shutdown("guest-reset", "guest-reset");
        else this.resetBoard(true, "guest-reset");
        return;
      case "shutdown":
        this.powerdown();
        return;
      case "poweroff":
        this.shutdown("guest-shutdown", "guest-shutdown");
        return;
      case "pause":
        void this.stopAs("watchdog");
        return;
      case "debug":
        this.host.note("watchdog: timer fired");
        return;
      case "inject-nmi":
        this.nmi();
        return;
      case "none":
        return;
    }
  }

  private panic(): void {
    switch (this.policy.panic) {
      case "none":
        return;
      case "pause":
        void this.stopAs("guest-panicked");
        return;
      case "shutdown":
        this.shutdown("guest-panicked", "guest-panic");
        return;
      case "exit-failure":
        this.emit({ type: "shutdown", guest: true, reason: "guest-panic" });
        this.end({ reason: "guest-panicked", status: 1 });
    }
  }

  /** Stops the board; the state is the new one at once. */
  private stopAs(state: RunState): Promise<void> {
    const wasRunning = this.state === "running";
    this.state = state;
    if (wasRunning) this.emit({ type: "stop" });
    this.backends.networks.setRunning(false);
    this.stopping = this.board.stop();
    return this.stopping;
  }

  private end(end: MachineEnd): void {
    if (this.ending) return;
    this.ending = true;
    void this.close().then(
      () => this.resolveEnd(end),
      (e) => {
        this.host.note(e instanceof Error ? e.message : String(e));
        this.resolveEnd({ ...end, status: end.status || 1 });
      },
    );
  }

  private async close(): Promise<void> {
    this.state = "shutdown";
    try {
      this.vnc.close();
      await this.board.stop();
      await this.board.dispose();
    } finally {
      this.accelerating.close();
      await this.backends.close();
      this.queue.close();
      this.release();
    }
  }

  private checkOpen(): void {
    if (this.ending) throw new VmError("closed", "the machine has ended");
  }

  private emit(event: MachineEvent): void {
    this.occurred.emit(event);
    this.queue.emit(event);
  }
}
