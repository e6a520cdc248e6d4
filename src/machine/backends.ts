/** Opens what a configuration names on the host (drives, character backends, logs), gives it to the board, and closes it. */
import { VmError } from "../base/errors.js";
import type { Drive } from "../block/backend.js";
import { type DriveState, openDrive, openImage } from "../block/drive.js";
import type { DriveOptions } from "../block/drive-options.js";
import type { Chardev, ChardevFrontend } from "../host/chardev.js";
import type { Host } from "../host/host.js";
import { ChardevMux, type MuxActions } from "./chardev-mux.js";
import type { ChardevConfig, MachineConfig } from "./config.js";
import { LogFile } from "./log-file.js";
import { NullChardev, RingbufChardev, StreamChardev } from "./memory-chardevs.js";
import { Networks } from "./networks.js";

interface OpenChardev {
  readonly config: ChardevConfig;
  readonly backend: Chardev;
  readonly mux: ChardevMux | undefined;
  taken: boolean;
}

/** Everything of one machine that is open on the host. */
export class Backends {
  private readonly chardevs = new Map<string, OpenChardev>();
  private readonly driveMap = new Map<string, { state: DriveState; options: DriveOptions }>();
  private readonly logs: LogFile[] = [];
  traceLog: LogFile | undefined;
  networks!: Networks;

  private constructor(private readonly host: Host) {}

  /** @throws VmError for the first that cannot be opened; the others are closed again */
  static async open(config: MachineConfig, host: Host, actions: MuxActions, signal?: AbortSignal): Promise<Backends> {
    const b = new Backends(host);
    try {
      if (config.trace.file !== undefined) b.traceLog = await b.openLog("-D", config.trace.file, false);
      for (const options of config.drives) b.driveMap.set(options.id, { state: await openDrive(options, host.files), options });
      for (const c of config.chardevs) await b.openChardev(c, actions, signal);
      b.networks = await Networks.open(config, host);
      return b;
    } catch (e) {
      await b.close();
      throw e;
    }
  }

  private async openLog(origin: string, path: string, append: boolean): Promise<LogFile> {
    try {
      const log = await LogFile.open(this.host.files, path, append, (e) =>
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
          return await this.host.openChardev(config, signal);
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
    if (!d) throw new VmError("block/not-found", `drive '${id}' not found`);
    return d.state;
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
    const next: DriveOptions = { ...options, file, readOnly, origin: `change ${id} ${file}` };
    // The new image is open before the old one goes.
    const image = await openImage(next, this.host.files);
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
      [...this.driveMap.values()].map(({ state, options }) => ({
        origin: options.origin,
        run: () => (state.backend && !state.backend.readOnly ? state.backend.flush() : undefined),
      })),
    );
  }

  /** Closes everything, disks first. @throws the first error, once all is closed */
  close(): Promise<void> {
    return inTurn([
      ...[...this.driveMap.values()].map(({ state, options }) => ({ origin: options.origin, run: () => state.close() })),
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
