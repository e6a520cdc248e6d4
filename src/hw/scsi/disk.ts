/**
 * `scsi-hd`: a direct access block device.
 * Source: SBC-3 (read, write, unmap, write same, capacity), SPC-4 (inquiry, mode, request sense).
 * Not emulated: protection information, persistent reservations, read and write long, defect lists, log pages.
 */
import type { Drive } from "../../block/backend.js";
import type { DeviceProperty, DeviceType } from "../core/device-type.js";
import { BAD_ADDRESS, BAD_FIELD, be16, be32, NO_MEDIUM, NO_SAVING, NO_SENSE, type Sense, senseData } from "../ide/mmc.js";
import {
  ascii,
  BAD_LIST,
  be64,
  CAPACITY_CHANGED,
  DONE,
  Op,
  POWER_ON,
  put16,
  put32,
  put64,
  type ScsiPlan,
  type ScsiUnit,
  SHORT_LIST,
  sense,
  UNKNOWN,
  WRITE_PROTECTED,
} from "./target.js";

/** Largest parameter lists taken. */
const MAX_MODE_LIST = 512;
const MAX_UNMAP_LIST = 24 + 16 * 256;
/** Most blocks that one UNMAP or WRITE SAME may name: 1 GiB of 512 bytes. */
const MAX_UNMAP_BLOCKS = 2 ** 21;
const MAX_TRANSFER_BYTES = 2 ** 25;
const PAGE_ERROR_RECOVERY = 0x01;
const PAGE_GEOMETRY = 0x04;
const PAGE_CACHING = 0x08;

export interface ScsiDiskOptions {
  readonly target: number;
  readonly lun: number;
  readonly drive: Drive;
  readonly blockBytes: number;
  readonly serial?: string | undefined;
  readonly vendor?: string | undefined;
  readonly product?: string | undefined;
  readonly version?: string | undefined;
  readonly wwn?: bigint | undefined;
  readonly rotationRate?: number | undefined;
}

export class ScsiDisk implements ScsiUnit {
  readonly target: number;
  readonly lun: number;
  readonly drive: Drive;
  onChange: ((sense: Sense) => void) | undefined;
  private readonly blockBytes: number;
  /** What the next command is told instead of its own outcome. */
  private attention: Sense | undefined = POWER_ON;
  private writeCache = true;

  constructor(private readonly o: ScsiDiskOptions) {
    this.target = o.target;
    this.lun = o.lun;
    this.drive = o.drive;
    this.blockBytes = o.blockBytes;
    o.drive.onMediaChange = () => {
      this.attention = CAPACITY_CHANGED;
      this.onChange?.(CAPACITY_CHANGED);
    };
  }

  get writethrough(): boolean {
    return !this.writeCache;
  }

  private get blocks(): number {
    return Math.floor((this.drive.backend?.sizeBytes ?? 0) / this.blockBytes);
  }

  command(cdb: Uint8Array): ScsiPlan {
    const op = cdb[0]!;
    if (op === Op.inquiry) return this.inquiry(cdb);
    if (op === Op.requestSense) {
      const s = this.attention ?? NO_SENSE;
      this.attention = undefined;
      return { kind: "in", data: senseData(s).subarray(0, cdb[4]!) };
    }
    if (this.attention) {
      const s = this.attention;
      this.attention = undefined;
      return sense(s);
    }
    if (!this.drive.backend) return sense(NO_MEDIUM);
    switch (op) {
      case Op.testUnitReady:
      case Op.startStop:
      case Op.preventRemoval:
      case Op.reserve6:
      case Op.release6:
        return DONE;
      case Op.read6:
      case Op.read10:
      case Op.read12:
      case Op.read16:
        return this.transfer(cdb, false);
      case Op.write6:
      case Op.write10:
      case Op.write12:
      case Op.write16:
        return this.transfer(cdb, true);
      case Op.verify10:
      case Op.verify12:
      case Op.verify16: {
        const { lba, count } = this.range(cdb);
        if (cdb[1]! & 6) return sense(BAD_FIELD);
        return lba + count > this.blocks ? sense(BAD_ADDRESS) : DONE;
      }
      case Op.synchronizeCache10:
      case Op.synchronizeCache16:
        return { kind: "flush" };
      case Op.readCapacity10:
        return {
          kind: "in",
          data: Uint8Array.from([...put32(Math.min(0xffffffff, this.blocks - 1)), ...put32(this.blockBytes)]),
        };
      case Op.serviceAction16:
        return (cdb[1]! & 31) === 0x10 ? this.readCapacity16(cdb) : sense(BAD_FIELD);
      case Op.modeSense6:
      case Op.modeSense10:
        return this.modeSense(cdb);
      case Op.modeSelect6:
      case Op.modeSelect10:
        return this.modeSelect(cdb);
      case Op.unmap:
        return this.unmap(cdb);
      case Op.writeSame10:
      case Op.writeSame16:
        return this.writeSame(cdb);
      default:
        return UNKNOWN;
    }
  }

  private range(cdb: Uint8Array): { lba: number; count: number } {
    switch (cdb[0]! >> 5) {
      case 0:
        return { lba: ((cdb[1]! & 31) << 16) | be16(cdb, 2), count: cdb[4] || 256 };
      case 4:
        return { lba: be64(cdb, 2), count: be32(cdb, 10) };
      case 5:
        return { lba: be32(cdb, 2), count: be32(cdb, 6) };
      default:
        return { lba: be32(cdb, 2), count: be16(cdb, 7) };
    }
  }

  private transfer(cdb: Uint8Array, write: boolean): ScsiPlan {
    const { lba, count } = this.range(cdb);
    const six = cdb[0]! >> 5 === 0;
    if (!six && cdb[1]! & 0xe0) return sense(BAD_FIELD);
    if (write && this.drive.backend!.readOnly) return sense(WRITE_PROTECTED);
    if (lba + count > this.blocks) return sense(BAD_ADDRESS);
    const size = count * this.blockBytes;
    if (size > MAX_TRANSFER_BYTES) return sense(BAD_FIELD);
    if (size === 0) return DONE;
    const offset = lba * this.blockBytes;
    return write ? { kind: "write", offset, size, fua: !six && (cdb[1]! & 8) !== 0 } : { kind: "read", offset, size };
  }

  private inquiry(cdb: Uint8Array): ScsiPlan {
    const room = be16(cdb, 3);
    const answer = (data: number[]): ScsiPlan => ({ kind: "in", data: Uint8Array.from(data).subarray(0, room) });
    const page = cdb[2]!;
    const { o } = this;
    if (!(cdb[1]! & 1)) {
      if (page !== 0) return sense(BAD_FIELD);
      return answer([
        0,
        0,
        5,
        0x12,
        31,
        0,
        0,
        0x02,
        ...ascii(o.vendor ?? "QEMU", 8),
        ...ascii(o.product ?? "QEMU HARDDISK", 16),
        ...ascii(o.version ?? "2.5+", 4),
      ]);
    }
    const vpd = (body: number[]) => answer([0, page, ...put16(body.length), ...body]);
    const serial = o.serial ?? this.drive.serial;
    switch (page) {
      case 0x00:
        return vpd([0x00, ...(serial === undefined ? [] : [0x80]), 0x83, 0xb0, 0xb1, 0xb2]);
      case 0x80:
        return serial === undefined ? sense(BAD_FIELD) : vpd(ascii(serial, Math.min(36, serial.length)));
      case 0x83: {
        const name = ascii(serial ?? this.drive.id, Math.min(32, (serial ?? this.drive.id).length));
        const wwn =
          o.wwn === undefined ? [] : [0x01, 0x03, 0, 8, ...put32(Number(o.wwn >> 32n)), ...put32(Number(o.wwn & 0xffffffffn))];
        return vpd([0x02, 0x00, 0, name.length, ...name, ...wwn]);
      }
      case 0xb0: {
        const body = new Uint8Array(0x3c);
        body.set([0x01, 0, ...put16(0), ...put32(Math.floor(MAX_TRANSFER_BYTES / this.blockBytes))], 0);
        body.set([...put32(MAX_UNMAP_BLOCKS), ...put32(255), ...put32(4096 / Math.min(4096, this.blockBytes))], 16);
        body.set(put64(MAX_UNMAP_BLOCKS), 32);
        return vpd([...body]);
      }
      case 0xb1: {
        const body = new Uint8Array(0x3c);
        body.set(put16(o.rotationRate ?? 0));
        return vpd([...body]);
      }
      case 0xb2:
        // UNMAP and WRITE SAME give space back; the provisioning is thin, and what is unmapped reads as zeroes.
        return vpd([0, 0xe4, 0x02, 0]);
      default:
        return sense(BAD_FIELD);
    }
  }

  private readCapacity16(cdb: Uint8Array): ScsiPlan {
    const data = new Uint8Array(32);
    data.set([...put64(this.blocks - 1), ...put32(this.blockBytes)]);
    // Provisioned thinly, zeroes after an unmap.
    data[14] = 0xc0;
    return { kind: "in", data: data.subarray(0, be32(cdb, 10)) };
  }

  private page(page: number, control: number): number[] | undefined {
    // Which bits can be changed, or what they are.
    const changeable = control === 1;
    switch (page) {
      case PAGE_CACHING: {
        const body = new Array<number>(18).fill(0);
        body[0] = changeable ? 4 : control === 2 || this.writeCache ? 4 : 0;
        return [page, 18, ...body];
      }
      case PAGE_ERROR_RECOVERY: {
        const body = new Array<number>(10).fill(0);
        if (!changeable) body[0] = 0x80;
        return [page, 10, ...body];
      }
      case PAGE_GEOMETRY: {
        const body = new Array<number>(22).fill(0);
        if (!changeable) {
          const cylinders = Math.min(0xffffff, Math.max(2, Math.floor(this.blocks / (16 * 63))));
          body.splice(0, 4, (cylinders >> 16) & 255, (cylinders >> 8) & 255, cylinders & 255, 16);
          body.splice(18, 2, ...put16(5400));
        }
        return [page, 22, ...body];
      }
      default:
        return undefined;
    }
  }

  private modeSense(cdb: Uint8Array): ScsiPlan {
    const six = cdb[0] === Op.modeSense6;
    const control = cdb[2]! >> 6;
    const wanted = cdb[2]! & 0x3f;
    if (control === 3) return sense(NO_SAVING);
    const pages = wanted === 0x3f ? [PAGE_ERROR_RECOVERY, PAGE_GEOMETRY, PAGE_CACHING] : [wanted];
    const body: number[] = [];
    for (const p of pages) {
      const bytes = this.page(p, control);
      if (!bytes) return sense(BAD_FIELD);
      body.push(...bytes);
    }
    // Write protected; DPO and FUA are known.
    const flags = (this.drive.backend?.readOnly ? 0x80 : 0) | 0x10;
    const descriptor = cdb[1]! & 8 ? [] : [...put32(Math.min(0xffffff, this.blocks)), ...put32(this.blockBytes)];
    const data = six
      ? [3 + descriptor.length + body.length, 0, flags, descriptor.length, ...descriptor, ...body]
      : [...put16(6 + descriptor.length + body.length), 0, flags, 0, 0, ...put16(descriptor.length), ...descriptor, ...body];
    return { kind: "in", data: Uint8Array.from(data).subarray(0, six ? cdb[4]! : be16(cdb, 7)) };
  }

  private modeSelect(cdb: Uint8Array): ScsiPlan {
    const six = cdb[0] === Op.modeSelect6;
    const size = six ? cdb[4]! : be16(cdb, 7);
    if ((cdb[1]! & 0x11) !== 0x10) return sense(BAD_FIELD);
    if (size === 0) return DONE;
    if (size > MAX_MODE_LIST) return sense(BAD_LIST);
    return {
      kind: "list",
      size,
      next: (list) => {
        const head = six ? 4 : 8;
        if (list.length < head) return sense(SHORT_LIST);
        const descriptor = six ? list[3]! : be16(list, 6);
        for (let at = head + descriptor; at < list.length; ) {
          const page = list[at]! & 0x3f;
          const length = list[at + 1] ?? 0;
          if (at + 2 + length > list.length) return sense(SHORT_LIST);
          const now = this.page(page, 0);
          if (!now || now.length !== length + 2) return sense(BAD_LIST);
          const mask = this.page(page, 1)!;
          for (let i = 2; i < length + 2; i++) if ((list[at + i]! ^ now[i]!) & ~mask[i]!) return sense(BAD_LIST);
          if (page === PAGE_CACHING) this.writeCache = (list[at + 2]! & 4) !== 0;
          at += 2 + length;
        }
        return this.writeCache ? DONE : { kind: "flush" };
      },
    };
  }

  private unmap(cdb: Uint8Array): ScsiPlan {
    const size = be16(cdb, 7);
    if (cdb[1]! & 1) return sense(BAD_FIELD);
    if (this.drive.backend!.readOnly) return sense(WRITE_PROTECTED);
    if (size === 0) return DONE;
    if (size > MAX_UNMAP_LIST) return sense(BAD_LIST);
    return {
      kind: "list",
      size,
      next: (list) => {
        if (list.length < 8) return sense(SHORT_LIST);
        const end = Math.min(list.length, 8 + be16(list, 2));
        const ranges: { offset: number; size: number }[] = [];
        for (let at = 8; at + 16 <= end; at += 16) {
          const lba = be64(list, at);
          const count = be32(list, at + 8);
          if (lba + count > this.blocks) return sense(BAD_ADDRESS);
          if (count > MAX_UNMAP_BLOCKS) return sense(BAD_LIST);
          if (count > 0) ranges.push({ offset: lba * this.blockBytes, size: count * this.blockBytes });
        }
        return { kind: "discard", ranges };
      },
    };
  }

  private writeSame(cdb: Uint8Array): ScsiPlan {
    const { lba, count } = this.range(cdb);
    if (this.drive.backend!.readOnly) return sense(WRITE_PROTECTED);
    // No protection, no logical block data of other kinds; a count of 0 would be the whole disk.
    if (cdb[1]! & 0xe6 || count === 0 || count > MAX_UNMAP_BLOCKS) return sense(BAD_FIELD);
    if (lba + count > this.blocks) return sense(BAD_ADDRESS);
    const offset = lba * this.blockBytes;
    const size = count * this.blockBytes;
    const fill = (pattern: Uint8Array): ScsiPlan => ({ kind: "fill", offset, size, pattern });
    // NDOB: no buffer comes, and zeroes are meant.
    if (cdb[1]! & 1) return fill(new Uint8Array(this.blockBytes));
    return {
      kind: "list",
      size: this.blockBytes,
      next: (list) => (list.length < this.blockBytes ? sense(BAD_FIELD) : fill(list)),
    };
  }

  reset(): void {
    this.attention = POWER_ON;
    this.writeCache = true;
  }

  save() {
    return { attention: this.attention ? [...this.attention] : null, writeCache: this.writeCache };
  }

  restore(state: { readonly [name: string]: unknown }): void {
    const a = state.attention as number[] | null;
    this.attention = a ? [a[0]!, a[1]!, a[2]!] : undefined;
    this.writeCache = state.writeCache === true;
  }
}

const PLACE: readonly DeviceProperty[] = [
  { name: "drive", type: "drive", default: undefined, description: "the drive" },
  { name: "serial", type: "str", default: undefined, description: "serial number, at most 36 characters" },
  { name: "bootindex", type: "uint32", default: undefined, description: "place in the firmware's boot order" },
  { name: "channel", type: "uint32", default: 0, description: "channel of the bus; only 0" },
  { name: "scsi-id", type: "uint32", default: undefined, description: "target on the bus; default the first that is free" },
  { name: "lun", type: "uint32", default: undefined, description: "logical unit of the target; default 0" },
  { name: "vendor", type: "str", default: undefined, description: "vendor that INQUIRY gives, 8 characters" },
  { name: "product", type: "str", default: undefined, description: "product that INQUIRY gives, 16 characters" },
  { name: "ver", type: "str", default: undefined, description: "revision that INQUIRY gives, 4 characters" },
  {
    name: "device_id",
    type: "str",
    default: undefined,
    description: "name in the vital product data; default the serial number",
  },
];

export const scsiHdType: DeviceType = {
  name: "scsi-hd",
  aliases: [],
  bus: "scsi",
  category: "storage",
  description: "virtual SCSI disk",
  properties: [
    ...PLACE,
    { name: "logical_block_size", type: "size", default: 512, description: "bytes of a block: 512 or 4096" },
    { name: "rotation_rate", type: "uint16", default: 0, description: "turns a minute; 1 for a solid state disk" },
    { name: "wwn", type: "uint64", default: undefined, description: "world wide name" },
  ],
};

export const scsiCdType: DeviceType = {
  name: "scsi-cd",
  aliases: [],
  bus: "scsi",
  category: "storage",
  description: "virtual SCSI CD-ROM",
  properties: PLACE,
};
