/** A drive of the machine: an image that may be absent, and what happens when the host fails. */
import { VmError } from "../base/errors.js";
import type { HostFile, HostFiles } from "../host/file.js";
import type { BlockBackend, Drive, ErrorPolicy } from "./backend.js";
import type { DriveOptions } from "./drive-options.js";
import { NullBackend } from "./null.js";
import { OverlayBackend } from "./overlay.js";
import { RawBackend } from "./raw.js";

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

const QCOW_MAGIC = [0x51, 0x46, 0x49, 0xfb];
/** Formats that are recognized, to be refused rather than shown to the guest as a raw disk. */
const FOREIGN: readonly { readonly format: string; readonly at: number; readonly magic: readonly number[] }[] = [
  { format: "qcow2", at: 0, magic: QCOW_MAGIC },
  { format: "vmdk", at: 0, magic: [0x4b, 0x44, 0x4d, 0x56] },
  { format: "vdi", at: 0x40, magic: [0x7f, 0x10, 0xda, 0xbe] },
  { format: "vhdx", at: 0, magic: [0x76, 0x68, 0x64, 0x78, 0x66, 0x69, 0x6c, 0x65] },
  { format: "qed", at: 0, magic: [0x51, 0x45, 0x44, 0x00] },
  { format: "luks", at: 0, magic: [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe] },
];

/** The foreign format that a file's first bytes tell, if any. */
export function foreignFormat(head: Uint8Array): string | undefined {
  return FOREIGN.find((f) => f.magic.every((b, i) => head[f.at + i] === b))?.format;
}

/** Opens the image that options name, with the overlay of `snapshot=on`. @throws VmError, with the option as written */
export async function openImage(options: DriveOptions, files: HostFiles): Promise<BlockBackend> {
  const path = options.file ?? "";
  const say = (what: string) => `${options.origin}: ${what}`;
  if (/^null-co:\/\//.test(path)) return openNull(options);
  const protocol = /^([a-z][a-z0-9+.-]+):/i.exec(path)?.[1];
  const name = protocol === "file" ? path.slice("file:".length) : path;
  if (protocol && protocol !== "file" && !path.startsWith("/"))
    throw new VmError("option/unsupported", say(`Unknown protocol '${protocol}'; images are files, or null-co://`));
  const readOnly = options.readOnly || options.snapshot;
  let file: HostFile;
  try {
    file = await files.open(name, { readOnly, lock: true });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new VmError(cause instanceof VmError ? cause.code : "block/io", say(`Could not open '${name}': ${reason}`), { cause });
  }
  try {
    if (options.probe) {
      const head = new Uint8Array(512);
      await file.read(0, head);
      const foreign = foreignFormat(head);
      if (foreign)
        throw new VmError(
          "block/bad-format",
          say(
            `'${name}' is a ${foreign} image, which is not supported; convert it to raw, or say format=raw to use its bytes as they are`,
          ),
        );
    }
    const raw = new RawBackend(file, {
      name: `file=${path}`,
      readOnly: options.readOnly,
      cache: options.cache,
      discard: options.discard,
    });
    return options.snapshot ? new OverlayBackend(raw) : raw;
  } catch (error) {
    await file.close();
    throw error;
  }
}

function openNull(options: DriveOptions): BlockBackend {
  const size = /[?,]size=(\d+)([kMGT]?)/.exec(options.file ?? "");
  const unit = { "": 1, k: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }[size?.[2] ?? ""] ?? 1;
  return new NullBackend(size ? Number(size[1]) * unit : undefined, options.readOnly);
}

/** Opens a drive as its options say. @throws VmError */
export async function openDrive(options: DriveOptions, files: HostFiles): Promise<DriveState> {
  const media = options.if === "floppy" ? "floppy" : options.media;
  const backend = options.file === undefined ? undefined : await openImage(options, files);
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
async function firstSector(backend: BlockBackend): Promise<Uint8Array | undefined> {
  const sector = new Uint8Array(512);
  if (backend.sizeBytes < sector.length) return undefined;
  try {
    await backend.read(0, sector);
    return sector;
  } catch {
    return undefined;
  }
}
