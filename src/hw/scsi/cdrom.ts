/**
 * `scsi-cd`: a CD/DVD-ROM drive, with the same data as the ATAPI one.
 * Source: MMC-3 (INCITS 360), SPC-4. Not emulated: audio, raw reads.
 */
import type { Drive } from "../../block/backend.js";
import {
  BAD_ADDRESS,
  BAD_FIELD,
  be16,
  be32,
  CD_BLOCK,
  type CdView,
  getConfiguration,
  getEventStatus,
  inquiry,
  MEDIUM_CHANGED,
  type MediaEvent,
  mechanismStatus,
  modeSense,
  NO_MEDIUM,
  NO_SENSE,
  type Reply,
  readCapacity,
  readDiscInformation,
  readDvdStructure,
  readToc,
  removalPrevented,
  type Sense,
  senseData,
} from "../ide/mmc.js";
import { DONE, Op, POWER_ON, type ScsiPlan, type ScsiUnit, sense, UNKNOWN } from "./target.js";

const MAX_TRANSFER_BYTES = 2 ** 25;

export interface ScsiCdromOptions {
  readonly target: number;
  readonly lun: number;
  readonly drive: Drive;
  readonly serial?: string | undefined;
  readonly vendor?: string | undefined;
  readonly product?: string | undefined;
  readonly version?: string | undefined;
}

export class ScsiCdrom implements ScsiUnit {
  readonly target: number;
  readonly lun: number;
  readonly drive: Drive;
  readonly writethrough = false;
  onChange: ((sense: Sense) => void) | undefined;
  private attention: Sense | undefined = POWER_ON;
  private event: MediaEvent = "none";

  constructor(private readonly o: ScsiCdromOptions) {
    this.target = o.target;
    this.lun = o.lun;
    this.drive = o.drive;
    o.drive.onMediaChange = () => {
      const loaded = o.drive.backend !== undefined;
      o.drive.trayOpen = !loaded;
      this.event = loaded ? "new-media" : "media-removal";
      this.attention = MEDIUM_CHANGED;
      this.onChange?.(MEDIUM_CHANGED);
    };
    o.drive.onEjectRequest = () => {
      this.event = "eject-request";
    };
  }

  private get view(): CdView {
    const { backend } = this.drive;
    const trayOpen = this.drive.trayOpen === true;
    const loaded = backend !== undefined && !trayOpen;
    return {
      blocks: loaded ? Math.floor(backend.sizeBytes / CD_BLOCK) : 0,
      loaded,
      trayOpen,
      locked: this.drive.trayLocked === true,
    };
  }

  command(cdb: Uint8Array): ScsiPlan {
    const op = cdb[0]!;
    const cd = this.view;
    const answer = (reply: Reply, room: number): ScsiPlan =>
      reply instanceof Uint8Array ? { kind: "in", data: reply.subarray(0, room) } : sense(reply.sense);
    if (op === Op.inquiry) {
      const { o } = this;
      const reply = inquiry(cdb, {
        vendor: o.vendor ?? "QEMU",
        product: o.product ?? "QEMU CD-ROM",
        revision: o.version ?? "2.5+",
        serial: o.serial ?? this.drive.serial ?? this.drive.id,
      });
      // A logical unit of a SCSI bus speaks SPC-3 and keeps several commands; the ATAPI drive does not.
      if (reply instanceof Uint8Array && !(cdb[1]! & 1)) reply.set([5, 0x12, 31, 0, 0, 2], 2);
      return answer(reply, be16(cdb, 3));
    }
    if (op === Op.requestSense) {
      const s = this.attention ?? NO_SENSE;
      this.attention = undefined;
      return { kind: "in", data: senseData(s).subarray(0, cdb[4]!) };
    }
    if (op === Op.getEventStatus) {
      const { reply, told } = getEventStatus(cdb, cd, this.event);
      if (told) this.event = "none";
      return answer(reply, be16(cdb, 7));
    }
    if (this.attention) {
      const s = this.attention;
      this.attention = undefined;
      return sense(s);
    }
    switch (op) {
      case Op.getConfiguration:
        return answer(getConfiguration(cdb, cd), be16(cdb, 7));
      case Op.mechanismStatus:
        return answer(mechanismStatus(cd), be16(cdb, 8));
      case Op.modeSense6:
        return answer(modeSense(cdb, cd), cdb[4]!);
      case Op.modeSense10:
        return answer(modeSense(cdb, cd), be16(cdb, 7));
      case Op.preventRemoval:
        this.drive.trayLocked = (cdb[4]! & 1) !== 0;
        return DONE;
      case Op.startStop:
        return this.startStop(cdb);
      case Op.reserve6:
      case Op.release6:
        return DONE;
    }
    if (!cd.loaded) return sense(NO_MEDIUM);
    switch (op) {
      case Op.testUnitReady:
      case Op.synchronizeCache10:
        return DONE;
      case Op.readCapacity10:
        return answer(readCapacity(cd), 8);
      case Op.readToc:
        return answer(readToc(cdb, cd), be16(cdb, 7));
      case Op.readDiscInformation:
        return answer(readDiscInformation(cdb), be16(cdb, 7));
      case Op.readDvdStructure:
        return answer(readDvdStructure(cdb, cd), be16(cdb, 8));
      case Op.read6:
        return this.read(((cdb[1]! & 31) << 16) | be16(cdb, 2), cdb[4] || 256, cd);
      case Op.read10:
        return this.read(be32(cdb, 2), be16(cdb, 7), cd);
      case Op.read12:
        return this.read(be32(cdb, 2), be32(cdb, 6), cd);
      default:
        return UNKNOWN;
    }
  }

  private read(lba: number, count: number, cd: CdView): ScsiPlan {
    if (lba + count > cd.blocks) return sense(BAD_ADDRESS);
    if (count * CD_BLOCK > MAX_TRANSFER_BYTES) return sense(BAD_FIELD);
    return count === 0 ? DONE : { kind: "read", offset: lba * CD_BLOCK, size: count * CD_BLOCK };
  }

  private startStop(cdb: Uint8Array): ScsiPlan {
    if (!(cdb[4]! & 2)) return DONE;
    const open = !(cdb[4]! & 1);
    if (open && this.drive.trayLocked) return sense(removalPrevented(this.view.loaded));
    this.drive.trayOpen = open;
    return DONE;
  }

  reset(): void {
    this.attention = POWER_ON;
    this.event = "none";
    this.drive.trayLocked = false;
  }

  save() {
    return {
      attention: this.attention ? [...this.attention] : null,
      event: this.event,
      trayOpen: this.drive.trayOpen === true,
      locked: this.drive.trayLocked === true,
    };
  }

  restore(state: { readonly [name: string]: unknown }): void {
    const a = state.attention as number[] | null;
    this.attention = a ? [a[0]!, a[1]!, a[2]!] : undefined;
    this.event = state.event as MediaEvent;
    this.drive.trayOpen = state.trayOpen === true;
    this.drive.trayLocked = state.locked === true;
  }
}
