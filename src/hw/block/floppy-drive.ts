/**
 * A floppy drive: where the head is, what disk is in, the disk change line.
 * Source: Intel 82078 datasheet §4.2 (DSKCHG), §6.2.6 (ST3). Not emulated: the motor (disks always turn), step rates.
 */
import type { Drive } from "../../block/backend.js";
import { DriveRequests } from "../../block/requests.js";
import type { DeviceState } from "../core/device.js";
import type { DeviceType } from "../core/device-type.js";
import { CMOS_DRIVE_TYPE, driveTypeFor, type FloppyDriveType, type FloppyFormat, formatOfSize } from "./floppy-media.js";

export const FLOPPY_TYPE: DeviceType = {
  name: "floppy",
  aliases: [],
  bus: "floppy",
  category: "storage",
  description: "virtual floppy drive",
  properties: [
    { name: "drive", type: "drive", default: undefined, description: "Node name or ID of a drive to use as a backend" },
    { name: "unit", type: "uint32", default: undefined, description: "0 = drive A, 1 = drive B" },
    { name: "drive-type", type: "str", default: "auto", description: "144, 288, 120 or auto (by the disk that is in)" },
    { name: "bootindex", type: "uint32", default: undefined, description: "place in the firmware's boot order" },
  ],
};

const SECTOR = 512;
/** Steps of the outermost a head can go. */
const MAX_TRACK = 85;

/** A drive on the controller's cable. */
export class FloppyDrive {
  readonly type: FloppyDriveType;
  readonly requests: DriveRequests;
  track = 0;
  /** DSKCHG: a disk was taken out since the head last stepped over one. */
  changed = true;
  /** What the disk can be, while one is in. */
  format: FloppyFormat | undefined;
  /** The sector that passed last under the head, for READ ID. */
  passing = 0;

  /** @param type the kind of drive; by default the one that suits the disk, and 2.88 MB when empty */
  constructor(
    readonly drive: Drive,
    type?: FloppyDriveType,
  ) {
    this.requests = new DriveRequests(drive);
    this.insert();
    this.type = type ?? (this.format ? driveTypeFor(this.format) : "288");
    drive.onMediaChange = () => {
      this.changed = true;
      this.insert();
    };
  }

  /** The number in CMOS register 0x10. */
  get cmosType(): number {
    return CMOS_DRIVE_TYPE[this.type];
  }

  private insert(): void {
    const { backend } = this.drive;
    this.format = backend ? formatOfSize(backend.sizeBytes) : undefined;
  }

  get writeProtected(): boolean {
    return this.drive.backend?.readOnly ?? false;
  }

  /** Moves the head. Stepping with a disk in resets the change line. */
  seek(track: number): void {
    const to = Math.max(0, Math.min(MAX_TRACK, track));
    if (to !== this.track && this.format) this.changed = false;
    this.track = to;
  }

  /** Byte offset of a sector under the head. */
  offset(head: number, sector: number): number {
    const f = this.format!;
    return ((this.track * f.heads + head) * f.sectors + sector - 1) * SECTOR;
  }

  /** Reads what is there; a short image reads as zeroes past its end. */
  async read(offset: number, out: Uint8Array): Promise<void> {
    const { backend } = this.drive;
    if (!backend) throw new Error("no disk");
    const there = Math.max(0, Math.min(out.length, backend.sizeBytes - offset));
    if (there > 0) await backend.read(offset, out.subarray(0, there));
    out.fill(0, there);
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    const { backend } = this.drive;
    if (!backend) throw new Error("no disk");
    await backend.write(offset, data);
  }

  save(): DeviceState {
    return { track: this.track, changed: this.changed, passing: this.passing };
  }

  restore(s: DeviceState): void {
    this.requests.cancel();
    this.track = Math.min(MAX_TRACK, s.track as number);
    this.changed = s.changed as boolean;
    this.passing = s.passing as number;
    this.insert();
  }
}
