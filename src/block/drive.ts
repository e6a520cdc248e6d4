/** A drive of the machine: an image that may be absent, and what happens when the host fails. */
import { VmError } from "../base/errors.js";
import { AttachedImage } from "./attached-image.js";
import type { BlockBackend, Drive, ErrorPolicy } from "./backend.js";
import type { DriveOptions } from "./drive-options.js";
import type { BlockGraph } from "./graph.js";
import type { GraphNode } from "./graph-node.js";
import { OverlayBackend } from "./overlay.js";

/** What a drive is made of when its image is already open. */
export interface DriveParts {
  readonly id: string;
  readonly media: "disk" | "cdrom" | "floppy";
  readonly backend?: BlockBackend | undefined;
  readonly werror?: ErrorPolicy | undefined;
  readonly rerror?: ErrorPolicy | undefined;
  readonly serial?: string | undefined;
  readonly bootSector?: Uint8Array | undefined;
}

/** A drive. The device that uses it sets `onMediaChange` and `onRetry`, the board `onIoError`. */
export class DriveState implements Drive {
  readonly id: string;
  readonly media: "disk" | "cdrom" | "floppy";
  readonly werror: ErrorPolicy;
  readonly rerror: ErrorPolicy;
  readonly serial?: string | undefined;
  readonly bootSector?: Uint8Array | undefined;
  backend: BlockBackend | undefined;
  onIoError: (error: unknown, isWrite: boolean) => void = () => {};
  onMediaChange: () => void = () => {};
  onRetry: () => void = () => {};
  onEjectRequest: () => void = () => {};
  trayOpen = false;
  trayLocked = false;
  private inFlightCount = 0;
  private waiting: (() => void)[] = [];

  constructor(parts: DriveParts) {
    this.id = parts.id;
    this.media = parts.media;
    this.backend = parts.backend;
    this.werror = parts.werror ?? "enospc";
    this.rerror = parts.rerror ?? "report";
    this.serial = parts.serial;
    this.bootSector = parts.bootSector;
  }

  /** Whether the medium can be taken out. */
  get removable(): boolean {
    return this.media !== "disk";
  }

  get inFlight(): number {
    return this.inFlightCount;
  }

  set inFlight(count: number) {
    this.inFlightCount = count;
    if (count > 0) return;
    const waiting = this.waiting;
    this.waiting = [];
    for (const w of waiting) w();
  }

  /** Resolves when no request is under way, also none that the device started when an earlier one ended. */
  async settled(): Promise<void> {
    while (this.inFlightCount > 0) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  /** Tries again what a `stop` policy held back. */
  retry(): void {
    this.onRetry();
  }

  /**
   * Takes the medium out and closes its image. A tray that the guest has locked stays shut unless `force`; the guest is
   * told of the wish.
   * @throws VmError "monitor/bad-command"
   */
  async eject(force = false): Promise<void> {
    if (!this.removable) throw new VmError("monitor/bad-command", `Device '${this.id}' is not removable`);
    if (this.trayLocked && !force) {
      this.onEjectRequest();
      throw new VmError(
        "monitor/bad-command",
        `Device '${this.id}' is locked and force was not specified, wait for tray to open and try again`,
      );
    }
    await this.setMedium(undefined);
  }

  /** Puts another medium in (the drive owns it from here on) and closes the old one. */
  async setMedium(backend: BlockBackend | undefined): Promise<void> {
    const old = this.backend;
    this.backend = backend;
    this.onMediaChange();
    if (!old || old === backend) return;
    // Requests under way still belong to the old image.
    await this.settled();
    await old.close();
  }

  /** Writes everything out and closes the image. */
  async close(): Promise<void> {
    const backend = this.backend;
    this.backend = undefined;
    if (!backend) return;
    await this.settled();
    try {
      if (!backend.readOnly) await backend.flush();
    } finally {
      await backend.close();
    }
  }
}

/**
 * Opens the image that options name, with the overlay of `snapshot=on`, and takes it into use as `options.id`.
 * @throws VmError, led by the option as written
 */
export async function openImage(
  options: DriveOptions,
  graph: BlockGraph,
  note: (line: string) => void = () => {},
): Promise<BlockBackend> {
  const path = options.file ?? "";
  const readOnly = options.readOnly || options.snapshot;
  try {
    const node =
      options.tree === undefined
        ? await graph.openFile(path, {
            readOnly,
            format: options.format,
            noFlush: options.cache === "unsafe",
            discard: options.discard,
            nodeName: options.nodeName,
            warn: (line) => note(`warning: ${line}`),
          })
        : await graph.openTree(options.tree, {
            file: options.file,
            readOnly,
            noFlush: options.cache === "unsafe",
            discard: options.discard,
          });
    return attach(graph, node, options);
  } catch (cause) {
    if (!(cause instanceof VmError)) throw cause;
    const said = /^Could not open|^Unknown protocol|^'/.test(cause.message) || path === "";
    throw new VmError(cause.code, `${options.origin}: ${said ? "" : `Could not open '${path}': `}${cause.message}`, { cause });
  }
}

/** How a device uses an image. */
export interface DriveUse {
  readonly id: string;
  readonly readOnly: boolean;
  readonly snapshot?: boolean | undefined;
  readonly cache: "writeback" | "writethrough" | "unsafe";
  readonly discard?: boolean | undefined;
  readonly detectZeroes?: "off" | "on" | "unmap" | undefined;
}

/** Takes a node into use for a device. */
export function attach(graph: BlockGraph, node: GraphNode, use: DriveUse): BlockBackend {
  const image: AttachedImage = new AttachedImage(
    node,
    {
      readOnly: use.readOnly && !use.snapshot,
      writethrough: use.cache === "writethrough",
      discard: use.discard,
      detectZeroes: use.detectZeroes,
    },
    graph.use(node, `by device '${use.id}'`, (other) => {
      image.node = other;
    }),
  );
  return use.snapshot ? new OverlayBackend(image) : image;
}

/** Opens a drive as its options say. @throws VmError */
export async function openDrive(options: DriveOptions, graph: BlockGraph, note?: (line: string) => void): Promise<DriveState> {
  const media = options.if === "floppy" ? "floppy" : options.media;
  const backend = options.file === undefined && options.tree === undefined ? undefined : await openImage(options, graph, note);
  return new DriveState({
    id: options.id,
    media,
    werror: options.werror,
    rerror: options.rerror,
    serial: options.serial,
    backend,
    bootSector: backend && media === "disk" ? await firstSector(backend) : undefined,
  });
}

/** A disk whose first sector cannot be read still opens; the guest will meet the error. */
export async function firstSector(backend: BlockBackend): Promise<Uint8Array | undefined> {
  const sector = new Uint8Array(512);
  if (backend.sizeBytes < sector.length) return undefined;
  try {
    await backend.read(0, sector);
    return sector;
  } catch {
    return undefined;
  }
}
