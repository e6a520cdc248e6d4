/** Opens what a configuration names on the host (drives, character backends, logs), gives it to the board, and closes it. */
import { VmError } from "../base/errors.js";
import { AttachedImage } from "../block/attached-image.js";
import type { Drive } from "../block/backend.js";
import type { NodeOptions } from "../block/blockdev-options.js";
import { attach, DriveState, firstSector, openDrive, openImage } from "../block/drive.js";
import type { DriveOptions } from "../block/drive-options.js";
import { BlockGraph } from "../block/graph.js";
import type { GraphNode } from "../block/graph-node.js";
import type { Chardev, ChardevFrontend } from "../host/chardev.js";
import type { Host } from "../host/host.js";
import { ChardevMux, type MuxActions } from "./chardev-mux.js";
import type { ChardevConfig, FdSetConfig, MachineConfig } from "./config.js";
import { LogFile } from "./log-file.js";
import { NullChardev, RingbufChardev, StreamChardev } from "./memory-chardevs.js";
import { Networks } from "./networks.js";

interface OpenChardev {
  readonly config: ChardevConfig;
  readonly backend: Chardev;
  readonly mux: ChardevMux | undefined;
  taken: boolean;
}

/** What monitors do with images. */
export type BlockControl = Pick<
  Backends,
  "graph" | "addBlockdev" | "delBlockdev" | "resizeBlock" | "node" | "nodeDriveStates" | "releaseNodeDrive"
>;

/** Everything of one machine that is open on the host. */
export class Backends {
  private readonly chardevs = new Map<string, OpenChardev>();
  private readonly driveMap = new Map<string, { state: DriveState; options: DriveOptions }>();
  /** Drives of nodes that a device names without a `-drive`: made when the device is. */
  private readonly nodeDrives = new Map<string, DriveState>();
  private readonly logs: LogFile[] = [];
  readonly graph: BlockGraph;
  traceLog: LogFile | undefined;
  networks!: Networks;
  /** What opening has to say that is no error. */
  private readonly notes: string[] = [];

  private constructor(
    private readonly host: Host,
    private readonly fdSets: readonly FdSetConfig[],
  ) {
    this.graph = new BlockGraph(host);
  }

  /** Says it, once the machine stands: an error stands alone. */
  sayNotes(): void {
    for (const line of this.notes.splice(0)) this.host.note(line);
  }

  /** @throws VmError for the first that cannot be opened; the others are closed again */
  static async open(config: MachineConfig, host: Host, actions: MuxActions, signal?: AbortSignal): Promise<Backends> {
    const b = new Backends(host, config.fdSets);
    try {
      if (config.trace.file !== undefined) b.traceLog = await b.openLog("-D", config.trace.file, false);
      for (const { options, origin } of config.blockdevs) {
        try {
          await b.addBlockdev(options);
        } catch (cause) {
          throw rename(cause, origin);
        }
      }
      for (const options of config.drives)
        b.driveMap.set(options.id, { state: await openDrive(options, b.graph, (line) => b.notes.push(line)), options });
      for (const c of config.chardevs) await b.openChardev(c, actions, signal);
      b.networks = await Networks.open(config, host);
      return b;
    } catch (e) {
      await b.close();
      throw e;
    }
  }

  /** `/dev/fdset/N` is the first descriptor of that set. @throws VmError */
  private resolveFdSet(path: string): string {
    const set = /^\/dev\/fdset\/(\d+)$/.exec(path)?.[1];
    if (set === undefined) return path;
    const found = this.fdSets.find((s) => s.set === Number(set));
    if (!found) throw new VmError("block/not-found", "No such descriptor set; -add-fd makes one");
    return `/dev/fd/${found.fd}`;
  }

  private async openLog(origin: string, path: string, append: boolean): Promise<LogFile> {
    try {
      const log = await LogFile.open(this.host.files, this.resolveFdSet(path), append, (e) =>
        this.host.note(`${origin} ${path}: ${e instanceof Error ? e.message : e}`),
      );
      this.logs.push(log);
      return log;
    } catch (cause) {
      throw rename(cause, `${origin} ${path}`);
    }
  }

  private async openChardev(config: ChardevConfig, actions: MuxActions, signal: AbortSignal | undefined): Promise<void> {
    let backend = await this.openBackend(config, signal);
    if (config.logFile !== undefined)
      backend = withLog(backend, await this.openLog(config.origin, config.logFile, config.logAppend ?? false));
    const mux = config.mux ? new ChardevMux(backend, actions) : undefined;
    this.chardevs.set(config.id, { config, backend, mux, taken: false });
  }

  private async openBackend(config: ChardevConfig, signal: AbortSignal | undefined): Promise<Chardev> {
    switch (config.backend) {
      case "null":
        return new NullChardev(config.id);
      case "ringbuf":
        return new RingbufChardev(config.id, config.sizeBytes);
      case "stream":
        return new StreamChardev(config.id);
      default:
        try {
          return await this.host.openChardev(
            config.backend === "file" ? { ...config, path: this.resolveFdSet(config.path) } : config,
            signal,
          );
        } catch (cause) {
          throw rename(cause, config.origin);
        }
    }
  }

  /** A frontend's end of a chardev. @throws VmError "chardev/unknown" | "device/invalid-property" when it is taken */
  chardev(id: string): Chardev {
    const c = this.chardevs.get(id);
    if (!c) throw new VmError("chardev/unknown", `chardev '${id}' not found`);
    if (c.mux) return c.mux.port();
    if (c.taken) throw new VmError("device/invalid-property", `${c.config.origin}: chardev '${id}' is in use`);
    c.taken = true;
    return c.backend;
  }

  /** The streams of a chardev with the stream backend. */
  stream(id: string): StreamChardev | undefined {
    const backend = this.chardevs.get(id)?.backend;
    return backend instanceof StreamChardev ? backend : undefined;
  }

  ringbuf(id: string): RingbufChardev | undefined {
    const backend = this.chardevs.get(id)?.backend;
    return backend instanceof RingbufChardev ? backend : undefined;
  }

  chardevSummaries(): { label: string; filename: string; frontendOpen: boolean }[] {
    return [...this.chardevs.values()].map(({ config, backend, mux, taken }) => ({
      label: config.id,
      filename: mux ? "mux" : (backend.filename?.() ?? chardevName(config)),
      frontendOpen: taken || mux !== undefined,
    }));
  }

  drive(id: string): Drive {
    const d = this.driveMap.get(id);
    if (d) return d.state;
    const node = this.graph.find(id);
    if (!node?.explicit) throw new VmError("block/not-found", `drive '${id}' not found`);
    return this.nodeDrive(node);
  }

  /** The drive of a node: a device takes it without any `-drive`. */
  private nodeDrive(node: GraphNode): DriveState {
    const id = node.nodeName;
    const here = this.nodeDrives.get(id);
    if (here) return here;
    const state = new DriveState({
      id,
      media: "disk",
      bootSector: this.bootSectors.get(id),
      backend: attach(this.graph, node, {
        id,
        readOnly: node.readOnly,
        cache: "writeback",
        discard: true,
        detectZeroes: node.options.detectZeroes,
      }),
    });
    this.nodeDrives.set(id, state);
    return state;
  }

  private readonly bootSectors = new Map<string, Uint8Array | undefined>();

  /** `blockdev-add`. @throws VmError */
  async addBlockdev(options: NodeOptions): Promise<void> {
    const node = await this.graph.add(options);
    this.bootSectors.set(node.nodeName, await firstSector(node));
  }

  /** `blockdev-del`. @throws VmError while it is used */
  async delBlockdev(nodeName: string): Promise<void> {
    await this.graph.del(nodeName);
    this.bootSectors.delete(nodeName);
  }

  /** Drives that devices made of nodes, in order. */
  nodeDriveStates(): readonly DriveState[] {
    return [...this.nodeDrives.values()];
  }

  /** The device that had the drive of a node is gone: the node is free again. */
  async releaseNodeDrive(id: string): Promise<void> {
    const state = this.nodeDrives.get(id);
    this.nodeDrives.delete(id);
    await state?.close();
  }

  /** The image of a drive or node by either name. @throws VmError "block/not-found" */
  node(name: string): GraphNode {
    const drive = this.driveMap.get(name)?.state.backend ?? this.nodeDrives.get(name)?.backend;
    const node = drive instanceof AttachedImage ? drive.node : this.graph.find(name);
    if (!node) throw new VmError("block/not-found", `Cannot find device='${name}' nor node-name='${name}'`);
    return node;
  }

  /** `block_resize`: the image, and what its device says of its size. @throws VmError */
  async resizeBlock(name: string, sizeBytes: number): Promise<void> {
    const node = this.node(name);
    if (!node.resize) throw new VmError("option/unsupported", `Cannot resize ${name}`);
    await node.resize(sizeBytes);
    for (const state of [...[...this.driveMap.values()].map((d) => d.state), ...this.nodeDrives.values()])
      if (state.backend instanceof AttachedImage && state.backend.node === node) state.onMediaChange();
  }

  drives(): readonly { readonly state: DriveState; readonly options: DriveOptions }[] {
    return [...this.driveMap.values()];
  }

  private removable(id: string): { state: DriveState; options: DriveOptions } {
    const d = this.driveMap.get(id);
    if (!d) throw new VmError("device/unknown", `Device '${id}' not found`);
    return d;
  }

  async eject(id: string, force: boolean): Promise<void> {
    const d = this.removable(id);
    await d.state.eject(force);
    this.driveMap.set(id, { state: d.state, options: { ...d.options, file: undefined } });
  }

  async change(id: string, file: string, mode: "retain" | "read-only" | "read-write"): Promise<void> {
    const { state, options } = this.removable(id);
    if (!state.removable) throw new VmError("monitor/bad-command", `Device '${id}' is not removable`);
    const readOnly = options.media === "cdrom" || (mode === "retain" ? options.readOnly : mode === "read-only");
    const next: DriveOptions = {
      ...options,
      file,
      tree: undefined,
      nodeName: undefined,
      readOnly,
      origin: `change ${id} ${file}`,
    };
    // The new image is open before the old one goes.
    const image = await openImage(next, this.graph, (line) => this.host.note(line));
    if (state.backend)
      try {
        await state.eject(false);
      } catch (e) {
        await image.close();
        throw e;
      }
    await state.setMedium(image);
    this.driveMap.set(id, { state, options: next });
  }

  /** Writes out what drives hold. @throws the first error, once every drive has had its turn */
  flush(): Promise<void> {
    return inTurn(
      [...this.driveMap.values()]
        .map(({ state, options }) => ({
          origin: options.origin,
          run: () => (state.backend && !state.backend.readOnly ? state.backend.flush() : undefined),
        }))
        .concat(
          [...this.nodeDrives.values()].map((state) => ({
            origin: state.id,
            run: () => (state.backend && !state.backend.readOnly ? state.backend.flush() : undefined),
          })),
        ),
    );
  }

  /** Closes everything, disks first. @throws the first error, once all is closed */
  close(): Promise<void> {
    return inTurn([
      ...[...this.driveMap.values()].map(({ state, options }) => ({ origin: options.origin, run: () => state.close() })),
      ...[...this.nodeDrives.values()].map((state) => ({ origin: state.id, run: () => state.close() })),
      { origin: "-blockdev", run: () => this.graph.close() },
      ...[...this.chardevs.values()].map(({ config, backend }) => ({ origin: config.origin, run: () => backend.close() })),
      { origin: "-netdev", run: () => (this.networks as Networks | undefined)?.close() },
      ...this.logs.map((log) => ({ origin: "-D", run: () => log.close() })),
    ]);
  }
}

/** Does every piece of work, whatever happens to those before. @throws VmError the first error, led by its option */
async function inTurn(works: readonly { readonly origin: string; readonly run: () => unknown }[]): Promise<void> {
  let first: VmError | undefined;
  for (const { origin, run } of works)
    try {
      await run();
    } catch (e) {
      first ??= rename(e, origin);
    }
  if (first) throw first;
}

/** The same failure, its message led by the option. */
function rename(cause: unknown, origin: string): VmError {
  const message = cause instanceof Error ? cause.message : String(cause);
  return new VmError(cause instanceof VmError ? cause.code : "chardev/io", `${origin}: ${message}`, { cause });
}

/** Copies the guest's output to a log. */
function withLog(backend: Chardev, log: LogFile): Chardev {
  return {
    id: backend.id,
    filename: () => backend.filename?.() ?? backend.id,
    write: (data) => {
      log.write(data);
      backend.write(data);
    },
    attach: (frontend: ChardevFrontend | undefined) => backend.attach(frontend),
    resume: () => backend.resume(),
    close: () => backend.close(),
  };
}

/** A chardev as `info chardev` shows it. */
export function chardevName(c: ChardevConfig): string {
  switch (c.backend) {
    case "file":
    case "pipe":
      return `${c.backend}:${c.path}`;
    case "socket": {
      const where =
        c.address.kind === "unix"
          ? `unix:${c.address.path}`
          : c.address.kind === "fd"
            ? `fd:${c.address.fd}`
            : `tcp:${c.address.host}:${c.address.port}`;
      return c.server ? `${where},server=on` : where;
    }
    default:
      return c.backend;
  }
}
