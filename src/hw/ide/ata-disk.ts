/**
 * An ATA hard disk: general feature set, 28- and 48-bit addresses and CHS, PIO, multiple, DMA, SMART, TRIM.
 * Source: ATA/ATAPI-7 vol. 1 §6 (commands), vol. 2 §9 (protocols).
 *
 * Data goes to and from the host in pieces of at most 256 KiB, so that the largest command (32 MiB) needs no more. A PIO
 * block that is already in the buffer follows the one before it without BSY.
 * Not emulated: SET MAX and the host protected area, security, queued commands, READ/WRITE LONG, logs (READ LOG EXT),
 * media cards, transfer timing. SLEEP is STANDBY: any command wakes the drive.
 *
 * The file is longer than most for the command table and the data protocols that share its fields.
 */
import { VmError } from "../../base/errors.js";
import type { Drive } from "../../block/backend.js";
import { type Geometry, guessGeometry } from "../../block/geometry.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { DeviceType } from "../core/device-type.js";
import { AtaDevice, BUFFER_BYTES } from "./ata-device.js";
import { DEFAULT_DMA_MODE, identifyDisk, MAX_MULTIPLE, MAX_TRIM_BLOCKS, transferMode } from "./identify.js";
import { AtaError, AtaReg, DeviceBits, Status } from "./registers.js";
import { Smart, smartData, smartLog, smartThresholds } from "./smart.js";

const SECTOR = 512;
const BUFFER_SECTORS = BUFFER_BYTES / SECTOR;
const LBA28_SECTORS = 0x10000000;
const MAX_HEADS = 16;

/** `-device ide-hd`. */
export const IDE_HD: DeviceType = {
  name: "ide-hd",
  aliases: [],
  bus: "ide",
  category: "storage",
  description: "virtual IDE disk",
  properties: [
    { name: "drive", type: "drive", default: undefined, description: "Node name or ID of a drive to use as a backend" },
    { name: "bootindex", type: "uint32", default: undefined, description: "place in the firmware's boot order" },
    { name: "unit", type: "uint32", default: undefined, description: "position on the bus: 0 master, 1 slave" },
    { name: "serial", type: "str", default: undefined, description: "serial number, at most 20 characters" },
    { name: "model", type: "str", default: undefined, description: "model name, at most 40 characters" },
    { name: "ver", type: "str", default: undefined, description: "firmware version, at most 8 characters" },
    { name: "cyls", type: "uint32", default: 0, description: "cylinders, 0 = by size or partition table" },
    { name: "heads", type: "uint32", default: 0, description: "heads, 1-16" },
    { name: "secs", type: "uint32", default: 0, description: "sectors a track, 1-255" },
  ],
};

/** What a disk tells of itself; what is absent has a default. */
export interface AtaDiskOptions {
  readonly serial?: string | undefined;
  readonly model?: string | undefined;
  readonly firmware?: string | undefined;
  /** The physical shape; else a guess from size and the drive's boot sector. */
  readonly geometry?: Geometry | undefined;
}

/** How the address registers of a command are read. */
type Addressing = "28" | "48";
type Protocol = "pio" | "multiple" | "dma";

/** A data command. */
interface DataCommand {
  readonly write: boolean;
  readonly protocol: Protocol;
  readonly addressing: Addressing;
  readonly fua?: boolean;
}

const data = (write: boolean, protocol: Protocol, addressing: Addressing, fua = false): DataCommand => ({
  write,
  protocol,
  addressing,
  fua,
});

/** ATA/ATAPI-7 vol. 1 §6, and obsolete twins (without retry). */
const DATA_COMMANDS: { readonly [code: number]: DataCommand } = {
  32: data(false, "pio", "28"),
  33: data(false, "pio", "28"),
  36: data(false, "pio", "48"),
  37: data(false, "dma", "48"),
  41: data(false, "multiple", "48"),
  48: data(true, "pio", "28"),
  49: data(true, "pio", "28"),
  52: data(true, "pio", "48"),
  53: data(true, "dma", "48"),
  57: data(true, "multiple", "48"),
  60: data(true, "pio", "28"),
  61: data(true, "dma", "48", true),
  196: data(false, "multiple", "28"),
  197: data(true, "multiple", "28"),
  200: data(false, "dma", "28"),
  201: data(false, "dma", "28"),
  202: data(true, "dma", "28"),
  203: data(true, "dma", "28"),
  206: data(true, "multiple", "48", true),
};

const Cmd = {
  dataSetManagement: 0x06,
  recalibrate: 0x10,
  readNativeMaxExt: 0x27,
  verify: 0x40,
  verifyNoRetry: 0x41,
  verifyExt: 0x42,
  seek: 0x70,
  initDeviceParameters: 0x91,
  standbyImmediateOld: 0x94,
  idleImmediateOld: 0x95,
  standbyOld: 0x96,
  idleOld: 0x97,
  checkPowerOld: 0x98,
  sleepOld: 0x99,
  identifyPacket: 0xa1,
  smart: 0xb0,
  setMultiple: 0xc6,
  standbyImmediate: 0xe0,
  idleImmediate: 0xe1,
  standby: 0xe2,
  idle: 0xe3,
  readBuffer: 0xe4,
  checkPower: 0xe5,
  sleep: 0xe6,
  flush: 0xe7,
  writeBuffer: 0xe8,
  flushExt: 0xea,
  identify: 0xec,
  setFeatures: 0xef,
  readNativeMax: 0xf8,
} as const;

/** A disk on the cable. */
export class AtaDisk extends AtaDevice {
  readonly type = "ide-hd";
  protected readonly signature = [1, 1, 0, 0] as const;
  protected readonly resetStatus = Status.drdy | Status.dsc;
  /** The physical shape, also for the CMOS. */
  readonly geometry: Geometry;
  readonly totalSectors: number;
  private currentHeads = MAX_HEADS;
  private currentSectors = 63;
  private multiple = MAX_MULTIPLE;
  private dmaMode = DEFAULT_DMA_MODE;
  private writeCache = true;
  private smart = true;
  private smartAutosave = true;
  private standby = false;
  /** The data command under way. */
  private opcode = 0;
  private lba = 0;
  /** Sectors not yet with the guest (reads) or the host (writes). */
  private remaining = 0;
  /** Sectors in the buffer, and how many of them the guest has read or written. */
  private buffered = 0;
  private passed = 0;

  constructor(
    ctx: DeviceContext,
    drive: Drive,
    private readonly options: AtaDiskOptions = {},
    id?: string,
  ) {
    super(ctx, drive, id);
    if (!drive.backend) throw new VmError("device/invalid-property", `ide-hd: drive '${drive.id}' is empty`);
    if (drive.backend.readOnly)
      throw new VmError(
        "device/invalid-property",
        `ide-hd: drive '${drive.id}' is read-only, and an IDE disk is not; use snapshot=on`,
      );
    this.totalSectors = Math.floor(drive.backend.sizeBytes / SECTOR);
    this.geometry = options.geometry ?? guessGeometry(drive.bootSector, this.totalSectors);
  }

  override reset(): void {
    this.multiple = MAX_MULTIPLE;
    this.dmaMode = DEFAULT_DMA_MODE;
    this.writeCache = true;
    this.smart = true;
    this.smartAutosave = true;
    this.currentHeads = this.geometry.heads;
    this.currentSectors = this.geometry.sectors;
    super.reset();
  }

  override softReset(): void {
    super.softReset();
    this.standby = false;
  }

  protected override drop(): void {
    super.drop();
    this.opcode = 0;
    this.remaining = 0;
    this.buffered = 0;
    this.passed = 0;
  }

  protected execute(code: number): void {
    const command = DATA_COMMANDS[code];
    if (command) return this.startData(code, command);
    if (code >= Cmd.recalibrate && code < Cmd.recalibrate + 16) {
      this.setAddress("28", 0);
      return this.finish();
    }
    if (code >= Cmd.seek && code < Cmd.seek + 16)
      return this.address("28") < this.totalSectors ? this.finish() : this.fail(AtaError.idnf);
    switch (code) {
      case Cmd.identify:
        return this.sendBlock(this.identity());
      case Cmd.verify:
      case Cmd.verifyNoRetry:
        return this.startVerify("28");
      case Cmd.verifyExt:
        return this.startVerify("48");
      case Cmd.flush:
      case Cmd.flushExt:
        return this.startStep("flush");
      case Cmd.dataSetManagement:
        return this.startTrim();
      case Cmd.setMultiple:
        return this.setMultiple();
      case Cmd.setFeatures:
        return this.setFeatures();
      case Cmd.initDeviceParameters:
        return this.setTranslation();
      case Cmd.readNativeMax:
        this.regs[AtaReg.device]! |= DeviceBits.lba;
        this.setAddress("28", Math.min(this.totalSectors, LBA28_SECTORS) - 1);
        return this.finish();
      case Cmd.readNativeMaxExt:
        this.setAddress("48", this.totalSectors - 1);
        return this.finish();
      case Cmd.standby:
      case Cmd.standbyOld:
      case Cmd.standbyImmediate:
      case Cmd.standbyImmediateOld:
      case Cmd.sleep:
      case Cmd.sleepOld:
        this.standby = true;
        return this.startStep("flush");
      case Cmd.idle:
      case Cmd.idleOld:
      case Cmd.idleImmediate:
      case Cmd.idleImmediateOld:
        this.standby = false;
        return this.finish();
      case Cmd.checkPower:
      case Cmd.checkPowerOld:
        this.regs[AtaReg.count] = this.standby ? 0x00 : 0xff;
        return this.finish();
      case Cmd.smart:
        return this.executeSmart();
      case Cmd.readBuffer:
        this.buffer.fill(0, 0, SECTOR);
        return this.sendBlock(this.buffer.slice(0, SECTOR));
      case Cmd.writeBuffer:
        this.step = "write-buffer";
        return this.pio("pio-out", 0, SECTOR);
      default:
        this.trace.unimp(this.type, () => `command 0x${code.toString(16)}`);
        return this.abort();
    }
  }

  // Addresses

  /** The sector that the registers name; past the end for a CHS address that does not exist. */
  private address(addressing: Addressing): number {
    const [low, mid, high] = [this.regs[AtaReg.lbaLow]!, this.regs[AtaReg.lbaMid]!, this.regs[AtaReg.lbaHigh]!];
    const device = this.regs[AtaReg.device]!;
    if (addressing === "48") {
      const upper =
        this.previous[AtaReg.lbaLow]! + this.previous[AtaReg.lbaMid]! * 0x100 + this.previous[AtaReg.lbaHigh]! * 0x10000;
      return upper * 0x1000000 + high * 0x10000 + mid * 0x100 + low;
    }
    const head = device & DeviceBits.head;
    if (device & DeviceBits.lba) return head * 0x1000000 + high * 0x10000 + mid * 0x100 + low;
    if (low === 0 || low > this.currentSectors || head >= this.currentHeads) return Number.POSITIVE_INFINITY;
    return ((high * 256 + mid) * this.currentHeads + head) * this.currentSectors + low - 1;
  }

  private setAddress(addressing: Addressing, lba: number): void {
    const byte = (n: number) => Math.floor(lba / 2 ** (8 * n)) & 0xff;
    const r = this.regs;
    const keep = r[AtaReg.device]! & ~DeviceBits.head;
    if (addressing === "48") {
      r.set([byte(0), byte(1), byte(2)], AtaReg.lbaLow);
      this.previous.set([byte(3), byte(4), byte(5)], AtaReg.lbaLow);
    } else if (r[AtaReg.device]! & DeviceBits.lba) {
      r.set([byte(0), byte(1), byte(2)], AtaReg.lbaLow);
      r[AtaReg.device] = keep | (byte(3) & DeviceBits.head);
    } else {
      const track = Math.floor(lba / this.currentSectors);
      const cylinder = Math.floor(track / this.currentHeads);
      r.set([(lba % this.currentSectors) + 1, cylinder & 0xff, (cylinder >> 8) & 0xff], AtaReg.lbaLow);
      r[AtaReg.device] = keep | (track % this.currentHeads);
    }
  }

  private count(addressing: Addressing): number {
    const low = this.regs[AtaReg.count]!;
    return addressing === "48" ? this.previous[AtaReg.count]! * 256 + low || 65536 : low || 256;
  }

  /** Reads address and count; false (and the command has failed) when they are past the end. */
  private aim(addressing: Addressing): boolean {
    this.lba = this.address(addressing);
    this.remaining = this.count(addressing);
    if (this.lba + this.remaining <= this.totalSectors) return true;
    this.remaining = 0;
    this.fail(AtaError.idnf);
    return false;
  }

  // Data commands

  private startData(code: number, command: DataCommand): void {
    if (command.protocol === "multiple" && this.multiple === 0) return this.abort();
    if (!this.aim(command.addressing)) return;
    this.standby = false;
    this.opcode = code;
    this.buffered = 0;
    this.passed = 0;
    if (!command.write) {
      this.step = "read";
      return this.issue();
    }
    this.step = "write";
    if (command.protocol === "dma") this.waitForDma();
    else this.offerBlock();
  }

  private get dataCommand(): DataCommand {
    return DATA_COMMANDS[this.opcode] ?? data(false, "pio", "28");
  }

  /** Sectors a DRQ block. */
  private get blockSectors(): number {
    return this.dataCommand.protocol === "multiple" ? Math.max(1, this.multiple) : 1;
  }

  /** Starts a step that is a request to the host. */
  private startStep(step: string): void {
    this.step = step;
    this.issue();
  }

  protected issue(): void {
    switch (this.step) {
      case "read":
      case "verify": {
        const sectors = Math.min(this.remaining, BUFFER_SECTORS);
        const out = this.buffer.subarray(0, sectors * SECTOR);
        return this.request(
          "read",
          (b) => b.read(this.lba * SECTOR, out),
          (failed) => this.readDone(sectors, failed),
        );
      }
      case "write": {
        const bytes = this.buffer.subarray(0, this.buffered * SECTOR);
        const last = this.buffered === this.remaining;
        const durable = last && (this.dataCommand.fua === true || !this.writeCache);
        return this.request(
          "write",
          async (b) => {
            await b.write(this.lba * SECTOR, bytes);
            if (durable) await b.flush();
          },
          (failed) => this.writeDone(failed),
        );
      }
      case "flush":
        return this.request(
          "flush",
          (b) => b.flush(),
          (failed) => (failed ? this.abort() : this.finish()),
        );
      case "trim":
        return this.request(
          "discard",
          (b) => this.trim(b),
          (failed) => (failed ? this.abort() : this.finish()),
        );
      default:
        // A snapshot of something else: end the command rather than hang.
        return this.abort();
    }
  }

  /** The command has failed at the current sector. */
  private failHere(error: number): void {
    this.setAddress(this.dataCommand.addressing, this.lba);
    this.regs[AtaReg.count] = this.remaining & 0xff;
    this.remaining = 0;
    this.fail(error);
  }

  /** All sectors are through: the address is that of the last one. */
  private complete(): void {
    this.setAddress(this.dataCommand.addressing, this.lba - 1);
    this.regs[AtaReg.count] = 0;
    this.previous[AtaReg.count] = 0;
    this.finish();
  }

  private readDone(sectors: number, failed: boolean): void {
    if (failed) return this.failHere(AtaError.unc);
    this.buffered = sectors;
    this.passed = 0;
    if (this.step === "verify") {
      this.advance(sectors);
      return this.remaining > 0 ? this.issue() : this.complete();
    }
    if (this.dataCommand.protocol === "dma") return this.waitForDma();
    this.offerBlock();
    this.setIntrq(true);
  }

  private advance(sectors: number): void {
    this.lba += sectors;
    this.remaining -= sectors;
  }

  /** Shows the guest the next PIO block of the buffer: to be read, or to be filled. */
  private offerBlock(): void {
    const reading = this.step === "read";
    const left = reading ? this.buffered - this.passed : Math.min(this.remaining, BUFFER_SECTORS) - this.buffered;
    const sectors = Math.min(left, this.blockSectors);
    this.pio(reading ? "pio-in" : "pio-out", (reading ? this.passed : this.buffered) * SECTOR, sectors * SECTOR);
  }

  protected pioDone(): void {
    const sectors = Math.floor((this.pioEnd - this.passedBytes()) / SECTOR);
    switch (this.step) {
      case "read":
        this.passed += sectors;
        this.advance(sectors);
        if (this.remaining === 0) return this.endRead();
        if (this.passed === this.buffered) return this.issue();
        this.offerBlock();
        return this.setIntrq(true);
      case "write":
        this.buffered += sectors;
        if (this.buffered === this.remaining || this.buffered === BUFFER_SECTORS) return this.issue();
        this.offerBlock();
        return this.setIntrq(true);
      case "block":
        // The guest has read a block of the drive's own; there is no interrupt at its end.
        this.phase = "idle";
        this.step = "";
        this.status = Status.drdy | Status.dsc;
        return;
      default:
        return this.finish();
    }
  }

  private passedBytes(): number {
    return (this.step === "read" ? this.passed : this.step === "write" ? this.buffered : 0) * SECTOR;
  }

  /** A PIO read ends with its last block: no further interrupt. */
  private endRead(): void {
    this.setAddress(this.dataCommand.addressing, this.lba - 1);
    this.regs[AtaReg.count] = 0;
    this.phase = "idle";
    this.step = "";
    this.status = Status.drdy | Status.dsc;
  }

  private writeDone(failed: boolean): void {
    if (failed) return this.failHere(AtaError.abrt);
    this.advance(this.buffered);
    this.buffered = 0;
    if (this.remaining === 0) return this.complete();
    if (this.dataCommand.protocol === "dma") return this.waitForDma();
    this.offerBlock();
    this.setIntrq(true);
  }

  // DMA

  /** Goes on at once if the bus master runs, else when the guest starts it. */
  private waitForDma(): void {
    this.phase = "dma";
    this.status = Status.drdy | Status.dsc | Status.drq;
    if (this.cable.dma.active) this.dmaReady();
  }

  protected dmaReady(): void {
    const { dma } = this.cable;
    if (this.step === "read") {
      const bytes = this.buffered * SECTOR;
      if (dma.toMemory(this.buffer.subarray(0, bytes)) < bytes) return this.dmaShort();
      this.advance(this.buffered);
      if (this.remaining === 0) return this.complete();
      return dma.active ? this.issue() : this.dmaShort();
    }
    const sectors = this.step === "trim" ? this.remaining : Math.min(this.remaining, BUFFER_SECTORS);
    const bytes = sectors * SECTOR;
    if (dma.fromMemory(this.buffer.subarray(0, bytes)) < bytes) return this.dmaShort();
    if (!dma.active && sectors < this.remaining) return this.dmaShort();
    this.buffered = sectors;
    this.issue();
  }

  /** The descriptors were too short (no interrupt: the bus master tells by its status), or led to no memory. */
  private dmaShort(): void {
    const { dma } = this.cable;
    if (dma.failed) return this.failHere(AtaError.abrt);
    this.trace.guestError(this.type, "descriptors end before the transfer");
    dma.stop();
    this.remaining = 0;
    this.phase = "idle";
    this.step = "";
    this.status = Status.drdy | Status.dsc;
  }

  // Others

  private startVerify(addressing: Addressing): void {
    if (!this.aim(addressing)) return;
    this.opcode = addressing === "48" ? 0x24 : 0x20;
    this.startStep("verify");
  }

  private get canTrim(): boolean {
    return this.drive.backend?.discard !== undefined;
  }

  private startTrim(): void {
    const blocks = this.count("48");
    if (!(this.regs[AtaReg.features]! & 1) || !this.canTrim || blocks > MAX_TRIM_BLOCKS) return this.abort();
    this.remaining = blocks;
    this.step = "trim";
    this.waitForDma();
  }

  /** Entries of 48 bits of address and 16 of count; a count of zero is no entry. */
  private async trim(backend: NonNullable<Drive["backend"]>): Promise<void> {
    const view = new DataView(this.buffer.buffer);
    for (let at = 0; at < this.buffered * SECTOR; at += 8) {
      const lba = view.getUint32(at, true) + view.getUint16(at + 4, true) * 2 ** 32;
      const sectors = view.getUint16(at + 6, true);
      if (sectors === 0 || lba + sectors > this.totalSectors) continue;
      await backend.discard?.(lba * SECTOR, sectors * SECTOR);
    }
  }

  /** Sends 512 bytes of the drive's own. */
  private sendBlock(bytes: Uint8Array): void {
    this.buffer.set(bytes);
    this.step = "block";
    this.pio("pio-in", 0, SECTOR);
    this.setIntrq(true);
  }

  private identity(): Uint8Array {
    return identifyDisk({
      geometry: this.geometry,
      currentHeads: this.currentHeads,
      currentSectors: this.currentSectors,
      totalSectors: this.totalSectors,
      serial: this.options.serial ?? this.drive.serial ?? "TD00001",
      model: this.options.model ?? "TANDEM HARDDISK",
      firmware: this.options.firmware ?? "1.0",
      multiple: this.multiple,
      dmaMode: this.dmaMode,
      writeCache: this.writeCache,
      smart: this.smart,
      trim: this.canTrim,
    });
  }

  private setMultiple(): void {
    const n = this.regs[AtaReg.count]!;
    if (n > MAX_MULTIPLE || (n & (n - 1)) !== 0) return this.abort();
    this.multiple = n;
    this.finish();
  }

  private setTranslation(): void {
    const sectors = this.regs[AtaReg.count]!;
    if (sectors === 0) return this.abort();
    this.currentHeads = (this.regs[AtaReg.device]! & DeviceBits.head) + 1;
    this.currentSectors = sectors;
    this.finish();
  }

  private setFeatures(): void {
    const value = this.regs[AtaReg.count]!;
    switch (this.regs[AtaReg.features]) {
      case 0x02:
        this.writeCache = true;
        return this.finish();
      case 0x82:
        this.writeCache = false;
        return this.startStep("flush");
      case 0x03: {
        const mode = transferMode(value, this.dmaMode);
        if (mode === undefined) return this.abort();
        this.dmaMode = mode;
        return this.finish();
      }
      // Look-ahead, power-on defaults, acoustic and power management: accepted, nothing to change.
      case 0x05:
      case 0x42:
      case 0x55:
      case 0x66:
      case 0x85:
      case 0xaa:
      case 0xc2:
      case 0xcc:
        return this.finish();
      default:
        return this.abort();
    }
  }

  private executeSmart(): void {
    if (this.regs[AtaReg.lbaMid] !== 0x4f || this.regs[AtaReg.lbaHigh] !== 0xc2) return this.abort();
    const sub = this.regs[AtaReg.features]!;
    if (!this.smart && sub !== Smart.enable) return this.abort();
    switch (sub) {
      case Smart.enable:
      case Smart.disable:
        this.smart = sub === Smart.enable;
        return this.finish();
      case Smart.autosave:
        this.smartAutosave = this.regs[AtaReg.count] !== 0;
        return this.finish();
      // Health is good: the signature stays 4F C2.
      case Smart.returnStatus:
      case Smart.saveAttributes:
      case Smart.offlineImmediate:
      case Smart.autoOffline:
        return this.finish();
      case Smart.readData:
        return this.sendBlock(smartData(this.smartAutosave));
      case Smart.readThresholds:
        return this.sendBlock(smartThresholds());
      case Smart.readLog: {
        const log = smartLog(this.regs[AtaReg.lbaLow]!);
        return log ? this.sendBlock(log) : this.abort();
      }
      default:
        return this.abort();
    }
  }

  override save(): DeviceState {
    const { currentHeads, currentSectors, multiple, dmaMode, writeCache, smart, smartAutosave, standby } = this;
    const { opcode, remaining, buffered, passed } = this;
    const lba = Number.isFinite(this.lba) ? this.lba : 0;
    const settings = { currentHeads, currentSectors, multiple, dmaMode, writeCache, smart, smartAutosave, standby };
    return { ...super.save(), ...settings, opcode, lba, remaining, buffered, passed };
  }

  override restore(s: DeviceState): void {
    super.restore(s);
    this.currentHeads = s.currentHeads as number;
    this.currentSectors = s.currentSectors as number;
    this.multiple = s.multiple as number;
    this.dmaMode = s.dmaMode as number;
    this.writeCache = s.writeCache as boolean;
    this.smart = s.smart as boolean;
    this.smartAutosave = s.smartAutosave as boolean;
    this.standby = s.standby as boolean;
    this.opcode = s.opcode as number;
    this.lba = s.lba as number;
    this.remaining = Math.min(65536, s.remaining as number);
    this.buffered = Math.min(BUFFER_SECTORS, s.buffered as number);
    this.passed = Math.min(this.buffered, s.passed as number);
  }
}
