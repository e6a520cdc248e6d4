/**
 * An ATAPI CD/DVD-ROM drive: PACKET with PIO or DMA data, tray and lock, medium change.
 * Source: SFF-8020i rev. 2.6 (packet protocol, §5), MMC-3 §6 (commands), ATA/ATAPI-7 vol. 1 §6 (PACKET, DEVICE RESET).
 *
 * A medium that the user changes shows twice: first as absent, then as a unit attention, so that hosts which look only for
 * one of them notice.
 * Not emulated: audio tracks and playing, writing, error correction bytes of raw sectors, overlapped commands, DVD keys.
 */
import type { BlockBackend, Drive } from "../../block/backend.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { DeviceType } from "../core/device-type.js";
import { AtaDevice, BUFFER_BYTES } from "./ata-device.js";
import { DEFAULT_DMA_MODE, identifyPacket, transferMode } from "./identify.js";
import * as mmc from "./mmc.js";
import { AtaError, AtaReg, Reason, Status } from "./registers.js";

const PACKET_BYTES = 12;
const FEATURE_DMA = 0x01;
const RAW_BLOCK = 2352;
const CHUNK_BLOCKS = Math.floor(BUFFER_BYTES / RAW_BLOCK / 16) * 16;
const LIMIT_MAX = 0xfffe;

/** `-device ide-cd`. */
export const IDE_CD: DeviceType = {
  name: "ide-cd",
  aliases: [],
  bus: "ide",
  category: "storage",
  description: "virtual IDE CD-ROM",
  properties: [
    { name: "drive", type: "drive", default: undefined, description: "Node name or ID of a drive to use as a backend" },
    { name: "bootindex", type: "uint32", default: undefined, description: "place in the firmware's boot order" },
    { name: "unit", type: "uint32", default: undefined, description: "position on the bus: 0 master, 1 slave" },
    { name: "serial", type: "str", default: undefined, description: "serial number, at most 20 characters" },
    { name: "model", type: "str", default: undefined, description: "model name, at most 40 characters" },
    { name: "ver", type: "str", default: undefined, description: "firmware version, at most 8 characters" },
  ],
};

/** What a drive tells of itself; what is absent has a default. */
export interface AtapiCdromOptions {
  readonly serial?: string | undefined;
  readonly model?: string | undefined;
  readonly firmware?: string | undefined;
}

const Cmd = {
  deviceReset: 0x08,
  packet: 0xa0,
  identifyPacket: 0xa1,
  identify: 0xec,
  setFeatures: 0xef,
  checkPower: 0xe5,
} as const;
/** Power commands that have nothing to do. */
const NO_OPERATION = new Set([0xe0, 0xe1, 0xe2, 0xe3, 0xe6, 0x94, 0x95, 0x96, 0x97, 0x99]);

const Op = {
  testUnitReady: 0x00,
  requestSense: 0x03,
  inquiry: 0x12,
  modeSelect6: 0x15,
  modeSense6: 0x1a,
  startStop: 0x1b,
  preventAllow: 0x1e,
  readCapacity: 0x25,
  read10: 0x28,
  seek10: 0x2b,
  readSubchannel: 0x42,
  readToc: 0x43,
  getConfiguration: 0x46,
  getEventStatus: 0x4a,
  readDiscInformation: 0x51,
  readTrackInformation: 0x52,
  modeSelect10: 0x55,
  modeSense10: 0x5a,
  read12: 0xa8,
  readDvdStructure: 0xad,
  readCdMsf: 0xb9,
  setSpeed: 0xbb,
  mechanismStatus: 0xbd,
  readCd: 0xbe,
} as const;

/** Commands that run in spite of a unit attention. */
const ALLOWED_IN_ATTENTION = new Set<number>([Op.requestSense, Op.inquiry, Op.getConfiguration, Op.getEventStatus]);
/** Commands that need a medium. */
const NEEDS_MEDIUM = new Set<number>([
  Op.testUnitReady,
  Op.readCapacity,
  Op.read10,
  Op.seek10,
  Op.readSubchannel,
  Op.readToc,
  Op.readDiscInformation,
  Op.readTrackInformation,
  Op.read12,
  Op.readDvdStructure,
  Op.readCdMsf,
  Op.readCd,
]);

/** How blocks of a read go to the guest. */
type BlockForm = "data" | "raw";
/** The two looks of a changed medium. */
type Change = "none" | "absent" | "attention";

/** A CD-ROM drive on the cable. */
export class AtapiCdrom extends AtaDevice {
  readonly type = "ide-cd";
  protected readonly signature = [1, 1, 0x14, 0xeb] as const;
  protected readonly resetStatus = 0;
  private dmaMode = DEFAULT_DMA_MODE;
  private sense: mmc.Sense = mmc.NO_SENSE;
  private event: mmc.MediaEvent = "none";
  private change: Change = "none";
  /** The packet under way. */
  private useDma = false;
  private byteLimit = LIMIT_MAX;
  private lba = 0;
  private blocksLeft = 0;
  private form: BlockForm = "data";
  /** Bytes of the reply in the buffer, and how many have gone. */
  private replyBytes = 0;
  private sentBytes = 0;

  constructor(
    ctx: DeviceContext,
    drive: Drive,
    private readonly options: AtapiCdromOptions = {},
    id?: string,
  ) {
    super(ctx, drive, id);
    drive.onMediaChange = () => this.mediumChanged();
    drive.onEjectRequest = () => {
      this.event = "eject-request";
    };
  }

  // The medium

  private get loaded(): boolean {
    return this.drive.backend !== undefined && !this.drive.trayOpen;
  }

  private get blocks(): number {
    return this.loaded ? Math.ceil(this.drive.backend!.sizeBytes / mmc.CD_BLOCK) : 0;
  }

  private get cdView(): mmc.CdView {
    return {
      blocks: this.blocks,
      loaded: this.loaded,
      trayOpen: this.drive.trayOpen ?? false,
      locked: this.drive.trayLocked ?? false,
    };
  }

  /** The user has taken the medium out (the tray is open then), or put one in. */
  private mediumChanged(): void {
    const loaded = this.drive.backend !== undefined;
    this.drive.trayOpen = !loaded;
    this.change = loaded ? "absent" : "none";
    this.event = loaded ? "new-media" : "media-removal";
  }

  // ATA side

  protected override drop(): void {
    super.drop();
    this.blocksLeft = 0;
    this.replyBytes = 0;
    this.sentBytes = 0;
  }

  override reset(): void {
    super.reset();
    this.dmaMode = DEFAULT_DMA_MODE;
    this.sense = mmc.NO_SENSE;
    this.drive.trayLocked = false;
    this.useDma = false;
  }

  protected override interruptsBusy(code: number): boolean {
    return code === Cmd.deviceReset;
  }

  override command(code: number): void {
    // DEVICE RESET leaves no interrupt and comes through while busy.
    if (code === Cmd.deviceReset) return this.softReset();
    super.command(code);
  }

  protected execute(code: number): void {
    switch (code) {
      case Cmd.packet:
        return this.startPacket();
      case Cmd.identifyPacket:
        this.buffer.set(
          identifyPacket({
            serial: this.options.serial ?? this.drive.serial ?? "TD00003",
            model: this.options.model ?? "TANDEM DVD-ROM",
            firmware: this.options.firmware ?? "1.0",
            dmaMode: this.dmaMode,
          }),
        );
        this.step = "identify";
        this.pio("pio-in", 0, 512);
        return this.setIntrq(true);
      case Cmd.identify:
      case 0x20:
        // A packet drive shows its signature to hosts that take it for a disk.
        this.putSignature();
        return this.abort();
      case Cmd.setFeatures:
        return this.setFeatures();
      case Cmd.checkPower:
      case 0x98:
        this.regs[AtaReg.count] = 0xff;
        return this.finish();
      default:
        return NO_OPERATION.has(code) ? this.finish() : this.abort();
    }
  }

  private setFeatures(): void {
    switch (this.regs[AtaReg.features]) {
      case 0x03: {
        const mode = transferMode(this.regs[AtaReg.count]!, this.dmaMode);
        if (mode === undefined) return this.abort();
        this.dmaMode = mode;
        return this.finish();
      }
      case 0x66:
      case 0xcc:
        return this.finish();
      default:
        return this.abort();
    }
  }

  // Packet protocol

  private startPacket(): void {
    const features = this.regs[AtaReg.features]!;
    this.useDma = (features & FEATURE_DMA) !== 0;
    if (features & 0x02) return this.abort();
    const limit = this.regs[AtaReg.lbaMid]! | (this.regs[AtaReg.lbaHigh]! << 8);
    // Zero would never get through; the most a block can have is even.
    this.byteLimit = limit === 0 || limit > LIMIT_MAX ? LIMIT_MAX : limit;
    this.step = "packet";
    this.pio("pio-out", 0, PACKET_BYTES);
    this.regs[AtaReg.count] = Reason.command;
  }

  private good(): void {
    this.sense = mmc.NO_SENSE;
    this.regs[AtaReg.count] = Reason.command | Reason.toHost;
    this.blocksLeft = 0;
    this.finish();
  }

  private check(sense: mmc.Sense): void {
    this.sense = sense;
    this.regs[AtaReg.count] = Reason.command | Reason.toHost;
    this.blocksLeft = 0;
    this.fail((sense[0] << 4) | (sense[0] === mmc.SenseKey.illegalRequest ? AtaError.abrt : 0));
  }

  /** Answers with data, cut to the allocation length. */
  private reply(reply: mmc.Reply, allocation: number): void {
    if (!(reply instanceof Uint8Array)) return this.check(reply.sense);
    const length = Math.min(reply.length, allocation);
    if (length === 0) return this.good();
    this.buffer.set(reply.subarray(0, length));
    this.replyBytes = length;
    this.sentBytes = 0;
    this.step = "reply";
    this.send();
  }

  /** Sends what is in the buffer. */
  private send(): void {
    if (!this.useDma) return this.sendBlock();
    this.phase = "dma";
    this.status = Status.drdy | Status.dsc | Status.drq;
    this.regs[AtaReg.count] = Reason.toHost;
    if (this.cable.dma.active) this.dmaReady();
  }

  /** One DRQ block, at most as long as the host wants. */
  private sendBlock(): void {
    const left = this.replyBytes - this.sentBytes + this.blocksLeft * this.blockBytes;
    let length = Math.min(left, this.byteLimit);
    // Only the last block may be odd.
    if (length < left) length &= ~1;
    if (length === 0) length = Math.min(2, left);
    length = Math.min(length, this.replyBytes - this.sentBytes);
    this.pio("pio-in", this.sentBytes, length);
    this.regs[AtaReg.count] = Reason.toHost;
    this.regs[AtaReg.lbaMid] = length & 0xff;
    this.regs[AtaReg.lbaHigh] = length >> 8;
    this.setIntrq(true);
  }

  protected pioDone(): void {
    switch (this.step) {
      case "packet":
        return this.runPacket(this.buffer.slice(0, PACKET_BYTES));
      case "identify":
        this.phase = "idle";
        this.step = "";
        this.status = Status.drdy | Status.dsc;
        return;
      case "reply":
      case "read":
        this.sentBytes = this.pioEnd;
        if (this.sentBytes < this.replyBytes) return this.sendBlock();
        return this.blocksLeft > 0 ? this.issue() : this.good();
      case "parameters":
        return this.good();
      default:
        return this.abort();
    }
  }

  protected dmaReady(): void {
    const { dma } = this.cable;
    const bytes = this.buffer.subarray(this.sentBytes, this.replyBytes);
    if (dma.toMemory(bytes) < bytes.length || (this.blocksLeft > 0 && !dma.active)) {
      if (dma.failed) return this.check([mmc.SenseKey.hardware, 0x44, 0x00]);
      this.trace.guestError(this.type, "descriptors end before the transfer");
      dma.stop();
      return this.good();
    }
    if (this.blocksLeft > 0) this.issue();
    else this.good();
  }

  // Reading

  private get blockBytes(): number {
    return this.form === "raw" ? RAW_BLOCK : mmc.CD_BLOCK;
  }

  private startRead(lba: number, blocks: number, form: BlockForm): void {
    if (blocks === 0) return this.good();
    if (lba + blocks > this.blocks) return this.check(mmc.BAD_ADDRESS);
    this.lba = lba;
    this.blocksLeft = blocks;
    this.form = form;
    this.step = "read";
    this.issue();
  }

  protected issue(): void {
    if (this.step !== "read") return this.abort();
    const blocks = Math.min(this.blocksLeft, CHUNK_BLOCKS);
    const { lba, form, buffer } = this;
    this.request(
      "read",
      (b) => readBlocks(b, lba, blocks, form, buffer),
      (failed) => {
        if (failed) return this.check(mmc.READ_ERROR);
        this.lba += blocks;
        this.blocksLeft -= blocks;
        this.replyBytes = blocks * this.blockBytes;
        this.sentBytes = 0;
        this.send();
      },
    );
  }

  // Packet commands

  private runPacket(p: Uint8Array): void {
    const op = p[0]!;
    if (this.change !== "none" && !ALLOWED_IN_ATTENTION.has(op)) {
      const first = this.change === "absent";
      this.change = first ? "attention" : "none";
      return this.check(first ? mmc.NO_MEDIUM : mmc.MEDIUM_CHANGED);
    }
    if (NEEDS_MEDIUM.has(op) && !this.loaded) return this.check(mmc.NO_MEDIUM);
    const cd = this.cdView;
    switch (op) {
      case Op.testUnitReady:
      case Op.setSpeed:
        return this.good();
      case Op.requestSense: {
        const sense = mmc.senseData(this.sense);
        return this.reply(sense, p[4]!);
      }
      case Op.inquiry:
        return this.reply(mmc.inquiry(p, this.inquiryName), mmc.be16(p, 3));
      case Op.modeSense6:
        return this.reply(mmc.modeSense(p, cd), p[4]!);
      case Op.modeSense10:
        return this.reply(mmc.modeSense(p, cd), mmc.be16(p, 7));
      case Op.modeSelect6:
        return this.takeParameters(p[4]!);
      case Op.modeSelect10:
        return this.takeParameters(mmc.be16(p, 7));
      case Op.startStop:
        return this.startStop(p[4]!);
      case Op.preventAllow:
        this.drive.trayLocked = (p[4]! & 1) !== 0;
        return this.good();
      case Op.readCapacity:
        return this.reply(mmc.readCapacity(cd), 8);
      case Op.read10:
        return this.startRead(mmc.be32(p, 2), mmc.be16(p, 7), "data");
      case Op.read12:
        return this.startRead(mmc.be32(p, 2), mmc.be32(p, 6), "data");
      case Op.readCd:
        return this.readCd(mmc.be32(p, 2), mmc.be16(p, 6) * 256 + p[8]!, p);
      case Op.readCdMsf: {
        const lba = (at: number) => (p[at]! * 60 + p[at + 1]!) * 75 + p[at + 2]! - 150;
        const start = lba(3);
        const end = lba(6);
        return start < 0 || end < start ? this.check(mmc.BAD_FIELD) : this.readCd(start, end - start, p);
      }
      case Op.seek10:
        return mmc.be32(p, 2) < cd.blocks ? this.good() : this.check(mmc.BAD_ADDRESS);
      case Op.readToc:
        return this.reply(mmc.readToc(p, cd), mmc.be16(p, 7));
      case Op.readSubchannel:
        return this.reply(subchannel(p), mmc.be16(p, 7));
      case Op.getConfiguration:
        return this.reply(mmc.getConfiguration(p, cd), mmc.be16(p, 7));
      case Op.getEventStatus: {
        const { reply, told } = mmc.getEventStatus(p, cd, this.event);
        if (told) this.event = "none";
        return this.reply(reply, mmc.be16(p, 7));
      }
      case Op.readDiscInformation:
        return this.reply(mmc.readDiscInformation(p), mmc.be16(p, 7));
      case Op.readTrackInformation:
        return this.reply(mmc.readTrackInformation(p, cd), mmc.be16(p, 7));
      case Op.readDvdStructure:
        return this.reply(mmc.readDvdStructure(p, cd), mmc.be16(p, 8));
      case Op.mechanismStatus:
        return this.reply(mmc.mechanismStatus(cd), mmc.be16(p, 8));
      default:
        this.trace.unimp(this.type, () => `packet command 0x${op.toString(16)}`);
        return this.check(mmc.BAD_OPCODE);
    }
  }

  private get inquiryName() {
    return {
      vendor: "TANDEM",
      product: this.options.model?.replace(/^TANDEM /, "") ?? "DVD-ROM",
      revision: this.options.firmware ?? "1.0",
      serial: this.options.serial ?? this.drive.serial ?? "TD00003",
    };
  }

  /** Expected sector type and what of a sector is wanted. */
  private readCd(lba: number, blocks: number, p: Uint8Array): void {
    if (p[10]! & 7) return this.check(mmc.BAD_FIELD);
    const type = (p[1]! >> 2) & 7;
    // Any, mode 1, mode 2 form 1: all as the data they hold; CD-DA is not there.
    if (type === 1) return this.check(mmc.BAD_TRACK_MODE);
    switch (p[9]! & 0xf8) {
      case 0x00:
        return this.good();
      case 0x10:
      case 0x50:
        return this.startRead(lba, blocks, "data");
      case 0xf8:
        return this.startRead(lba, blocks, "raw");
      default:
        return this.check(mmc.BAD_FIELD);
    }
  }

  /** Parameters are taken and change nothing: there is nothing to change. */
  private takeParameters(length: number): void {
    if (length === 0) return this.good();
    if (this.useDma) return this.check(mmc.BAD_FIELD);
    this.step = "parameters";
    this.pio("pio-out", 0, Math.min(length, this.byteLimit));
    this.regs[AtaReg.count] = 0;
    this.regs[AtaReg.lbaMid] = this.pioEnd & 0xff;
    this.regs[AtaReg.lbaHigh] = this.pioEnd >> 8;
    this.setIntrq(true);
  }

  private startStop(bits: number): void {
    if (bits & 0xf0 || !(bits & 2)) return this.good();
    const open = !(bits & 1);
    if (open && this.drive.trayLocked) return this.check(mmc.removalPrevented(this.loaded));
    if (open !== (this.drive.trayOpen ?? false)) {
      this.drive.trayOpen = open;
      if (open) this.event = "media-removal";
      else if (this.drive.backend) {
        this.event = "new-media";
        this.change = "attention";
      }
    }
    this.good();
  }

  override save(): DeviceState {
    const { dmaMode, event, change, useDma, byteLimit, lba, blocksLeft, form, replyBytes, sentBytes } = this;
    const packet = { useDma, byteLimit, lba, blocksLeft, form, replyBytes, sentBytes };
    const tray = { trayOpen: this.drive.trayOpen ?? false, trayLocked: this.drive.trayLocked ?? false };
    return { ...super.save(), dmaMode, event, change, sense: [...this.sense], ...tray, ...packet };
  }

  override restore(s: DeviceState): void {
    super.restore(s);
    const [key, asc, ascq] = s.sense as number[];
    this.sense = [key ?? 0, asc ?? 0, ascq ?? 0];
    this.dmaMode = s.dmaMode as number;
    this.event = s.event as mmc.MediaEvent;
    this.change = s.change as Change;
    this.drive.trayOpen = s.trayOpen as boolean;
    this.drive.trayLocked = s.trayLocked as boolean;
    this.useDma = s.useDma as boolean;
    this.byteLimit = s.byteLimit as number;
    this.lba = s.lba as number;
    this.blocksLeft = s.blocksLeft as number;
    this.form = s.form as BlockForm;
    this.replyBytes = Math.min(BUFFER_BYTES, s.replyBytes as number);
    this.sentBytes = Math.min(this.replyBytes, s.sentBytes as number);
  }
}

/** READ SUB-CHANNEL: no audio plays; other data than the audio status is not there. */
function subchannel(p: Uint8Array): mmc.Reply {
  if (!(p[2]! & 0x40)) return Uint8Array.from([0, 0x13, 0, 0]);
  return p[3] === 1 ? Uint8Array.from([0, 0x15, 0, 12, 1, 0x14, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]) : { sense: mmc.BAD_FIELD };
}

/** Reads blocks into a buffer in the wanted form; what lies past the end of the image reads as zeroes. */
async function readBlocks(b: BlockBackend, lba: number, blocks: number, form: BlockForm, buffer: Uint8Array): Promise<void> {
  const bytes = blocks * mmc.CD_BLOCK;
  const there = Math.max(0, Math.min(bytes, b.sizeBytes - lba * mmc.CD_BLOCK));
  const out = form === "data" ? buffer.subarray(0, bytes) : new Uint8Array(bytes);
  await b.read(lba * mmc.CD_BLOCK, out.subarray(0, there));
  out.fill(0, there);
  if (form === "data") return;
  for (let i = 0; i < blocks; i++) {
    const user = out.subarray(i * mmc.CD_BLOCK, (i + 1) * mmc.CD_BLOCK);
    mmc.rawSector(lba + i, user, buffer.subarray(i * RAW_BLOCK, (i + 1) * RAW_BLOCK));
  }
}
