/**
 * The floppy controller of the PC: an 82078 with two drives, IRQ 6 and DMA channel 2.
 * Source: Intel 82078 datasheet (290474): registers §2.1, phases §4, commands §5 and §6, results table 6-3.
 *
 * A transfer works on runs: the sectors of one track and side from the wanted one to the last one asked for. A run goes to
 * or from the host in one request, and between buffer and guest by DMA or byte by byte (SPECIFY's ND bit).
 * Bounded: parameters are counted per command, a run is at most one track, a transfer two; bytes that nobody asked for are
 * dropped.
 * Not emulated: seek, head and motor times (READ ID takes the time of one sector), deleted data marks (writing one writes
 * ordinary data), sectors of other than 512 bytes, SCAN (refused as invalid), power-down, the FIFO's threshold (in non-DMA
 * mode there is one interrupt a run), and tape drives. Implied seek is on after power-on, as PC firmware expects.
 *
 * Longer than most: commands and the transfer engine share the controller's phases.
 */
import type { IoHandler } from "../../memory/address-space.js";
import type { Timer } from "../core/clock.js";
import type { Device, DeviceContext, DeviceState } from "../core/device.js";
import type { IrqLine } from "../core/irq.js";
import { type CommandName, Config, commandOf, Dor, Dsr, FdcReg, Msr, St0, St1, St2, St3 } from "./fdc-commands.js";
import type { FloppyDrive } from "./floppy-drive.js";

/** One channel of the DMA controller, as the floppy controller uses it (hw/misc/i8237.ts is one). */
export interface DmaChannel {
  /** Stores bytes where the channel points; `count` is less at terminal count or while the channel is masked. */
  toMemory(bytes: Uint8Array): { readonly count: number; readonly terminalCount: boolean };
  /** Fills `out`; `count` is less at terminal count or while the channel is masked. */
  fromMemory(out: Uint8Array): { readonly count: number; readonly terminalCount: boolean };
  /** DREQ. */
  setRequest(level: boolean): void;
  /** Set by the device; called when a channel that is asked for becomes able to transfer. */
  onReady: () => void;
}

const SECTOR = 512;
const SIZE_CODE_512 = 2;
const MAX_RUN_SECTORS = 48;
const DRIVES = 4;
const PART_ID = 0x41;
const VERSION = 0x90;
const POWER_ON_CONFIG = Config.impliedSeek | Config.fifoOff;
/** One turn at 300 rpm. */
const TURN_NS = 200_000_000;
const FORMAT_ENTRY = 4;

type Phase = "reset" | "command" | "execute" | "pio-in" | "pio-out" | "result";
type Operation = "" | "read" | "write" | "format" | "read-id";

/** The wires of the controller. */
export interface FdcOptions {
  readonly irq: IrqLine;
  /** Without it only non-DMA mode transfers anything. */
  readonly dma?: DmaChannel | undefined;
  /** Drive A and drive B. */
  readonly drives: readonly (FloppyDrive | undefined)[];
  /** Default 0x3f0. */
  readonly base?: number | undefined;
}

/** The controller ("isa-fdc"). */
export class Fdc implements Device {
  readonly type = "isa-fdc";
  private readonly drives: readonly (FloppyDrive | undefined)[];
  private readonly dma: DmaChannel | undefined;
  private readonly rotation: Timer;

  private dor = Dor.notReset | Dor.dmaGate;
  private tdr = 0;
  private rate = 2;
  private precompensation = 0;
  private phase: Phase = "command";
  private interrupt = false;

  /** Bytes of the command phase. */
  private params: number[] = [];
  private command: CommandName = "invalid";
  private paramLength = 0;
  private results: number[] = [];
  /** Interrupts that SENSE INTERRUPT has to tell: ST0 and cylinder. */
  private pendingSense: [st0: number, cylinder: number][] = [];

  private specify: [number, number] = [0, 0];
  private config = POWER_ON_CONFIG;
  private preTrack = 0;
  private perpendicular = 0;
  private locked = false;
  private lastEot = 0;

  /** The transfer under way. */
  private operation: Operation = "";
  private buffer = new Uint8Array(MAX_RUN_SECTORS * SECTOR);
  private length = 0;
  private pos = 0;
  /** The next sector of the run, and the side. */
  private sector = 0;
  private head = 0;
  private ended = false;
  private movedHead = false;

  private readonly ports: IoHandler = {
    name: "fdc",
    maxAccess: 1,
    read: (offset) => this.read(offset),
    write: (offset, _size, value) => this.write(offset, value),
  };

  constructor(
    private readonly ctx: DeviceContext,
    private readonly options: FdcOptions,
    readonly id?: string | undefined,
  ) {
    this.drives = options.drives.slice(0, 2);
    this.dma = options.dma;
    const base = options.base ?? 0x3f0;
    // 0x3f6 belongs to the IDE channel.
    ctx.io.mapIo(base, 6, this.ports);
    ctx.io.mapIo(base + FdcReg.dir, 1, this.ports, { offset: FdcReg.dir });
    this.rotation = ctx.timers.create(() => this.idPassed());
    if (this.dma) this.dma.onReady = () => this.dmaReady();
    for (const d of this.drives) if (d) d.drive.onRetry = () => this.retry(d);
    this.softReset();
  }

  /** Numbers of drives A and B for CMOS register 0x10; 0 = none. */
  get cmosTypes(): readonly [number, number] {
    return [this.drives[0]?.cmosType ?? 0, this.drives[1]?.cmosType ?? 0];
  }

  // Registers

  private read(offset: number): number {
    switch (offset) {
      case FdcReg.sra:
        // Interrupt; no second drive, not at track 0, no index: active-low lines rest high.
        return (this.interrupt ? 0x80 : 0) | (this.drives[1] ? 0 : 0x40);
      case FdcReg.srb:
        return 0xc0 | ((this.dor & 1) << 5) | ((this.dor >> 4) & 3);
      case FdcReg.dor:
        return this.dor;
      case FdcReg.tdr:
        return this.tdr;
      case FdcReg.msr:
        return this.mainStatus();
      case FdcReg.fifo:
        return this.readFifo();
      case FdcReg.dir: {
        const selected = this.drives[this.dor & Dor.select];
        return selected && !selected.changed ? 0 : 0x80;
      }
      default:
        return 0xff;
    }
  }

  private write(offset: number, value: number): void {
    switch (offset) {
      case FdcReg.dor:
        return this.writeDor(value);
      case FdcReg.tdr:
        this.tdr = value & 3;
        return;
      case FdcReg.dsr:
        this.rate = value & Dsr.rate;
        this.precompensation = (value >> 2) & 7;
        if (value & Dsr.reset) this.pulseReset();
        return;
      case FdcReg.fifo:
        return this.writeFifo(value);
      case FdcReg.ccr:
        this.rate = value & Dsr.rate;
        return;
    }
  }

  private writeDor(value: number): void {
    const before = this.dor;
    this.dor = value;
    if (!(value & Dor.notReset)) {
      this.softReset();
      this.phase = "reset";
    } else if (!(before & Dor.notReset)) this.leaveReset();
    this.driveIrq();
  }

  private pulseReset(): void {
    if (!(this.dor & Dor.notReset)) return;
    this.softReset();
    this.leaveReset();
  }

  private mainStatus(): number {
    switch (this.phase) {
      case "reset":
        return 0;
      case "command":
        return Msr.request | (this.params.length > 0 ? Msr.commandBusy : 0);
      case "execute":
        return Msr.commandBusy;
      case "pio-in":
        return Msr.request | Msr.toHost | Msr.nonDma | Msr.commandBusy;
      case "pio-out":
        return Msr.request | Msr.nonDma | Msr.commandBusy;
      case "result":
        return Msr.request | Msr.toHost | Msr.commandBusy;
    }
  }

  private setInterrupt(level: boolean): void {
    this.interrupt = level;
    this.driveIrq();
  }

  private driveIrq(): void {
    this.options.irq.set(this.interrupt && (this.dor & Dor.dmaGate) !== 0);
  }

  // FIFO

  private readFifo(): number {
    if (this.phase === "result") {
      this.setInterrupt(false);
      const value = this.results.shift() ?? 0;
      if (this.results.length === 0) this.toCommandPhase();
      return value;
    }
    if (this.phase === "pio-in") {
      this.setInterrupt(false);
      const value = this.buffer[this.pos++]!;
      if (this.pos >= this.length) this.runDone();
      return value;
    }
    this.ctx.trace.guestError(this.type, "data register read when there is nothing");
    return 0;
  }

  private writeFifo(value: number): void {
    if (this.phase === "pio-out") {
      this.setInterrupt(false);
      this.buffer[this.pos++] = value;
      if (this.pos >= this.length) this.runCollected();
      return;
    }
    if (this.phase !== "command") {
      this.ctx.trace.guestError(this.type, () => `data register written with 0x${value.toString(16)} when nothing is wanted`);
      return;
    }
    if (this.params.length === 0) {
      const { name, length } = commandOf(value);
      this.command = name;
      this.paramLength = length;
    }
    this.params.push(value);
    // DRIVE SPECIFICATION ends early, at a byte with its top bit set.
    const early = this.command === "drive-specification" && this.params.length > 1 && (value & 0x80) !== 0;
    if (this.params.length >= this.paramLength || early) this.execute();
  }

  private toCommandPhase(): void {
    this.phase = "command";
    this.params = [];
    this.results = [];
    this.operation = "";
  }

  private reply(...results: number[]): void {
    this.results = results;
    this.phase = "result";
  }

  // Commands

  private param(n: number): number {
    return this.params[n] ?? 0;
  }

  /** The drive that a command's second byte names. */
  private get unit(): number {
    return this.param(1) & 3;
  }

  private get selected(): FloppyDrive | undefined {
    return this.drives[this.unit];
  }

  private execute(): void {
    switch (this.command) {
      case "specify":
        this.specify = [this.param(1), this.param(2)];
        return this.toCommandPhase();
      case "sense-drive":
        return this.senseDrive();
      case "sense-interrupt":
        return this.senseInterrupt();
      case "recalibrate":
        return this.recalibrate();
      case "seek":
        return this.seekTo(this.param(2));
      case "relative-seek":
        return this.relativeSeek();
      case "read-id":
        return this.startReadId();
      case "read":
      case "read-deleted":
      case "read-track":
      case "write":
      case "write-deleted":
      case "verify":
        return this.startTransfer();
      case "format":
        return this.startFormat();
      case "dumpreg":
        return this.reply(...this.dump());
      case "version":
        return this.reply(VERSION);
      case "part-id":
        return this.reply(PART_ID);
      case "perpendicular":
        // Without OW only gap and write gate change.
        this.perpendicular = this.param(1) & 0x80 ? this.param(1) & 0x3f : (this.perpendicular & 0x3c) | (this.param(1) & 3);
        return this.toCommandPhase();
      case "configure":
        this.config = this.param(2) & 0x7f;
        this.preTrack = this.param(3);
        return this.toCommandPhase();
      case "lock":
        this.locked = (this.param(0) & 0x80) !== 0;
        return this.reply(this.locked ? 0x10 : 0);
      case "power-down-mode":
        return this.reply(this.param(1));
      case "option":
        return this.toCommandPhase();
      case "drive-specification":
        // With DONE set and NRP clear the drives' settings are told; they are all the default.
        return (this.params.at(-1)! & 0xc0) === 0x80 ? this.reply(0, 0, 0, 0) : this.toCommandPhase();
      case "save":
        return this.reply(0, 0, 0, 0, 0, ...this.dump().slice(0, 7), this.perpendicular, this.config, this.preTrack, 0);
      case "restore":
        this.restoreRegisters();
        return this.toCommandPhase();
      case "scan":
      case "invalid":
        this.ctx.trace.unimp(this.type, () => `command 0x${this.param(0).toString(16)}`);
        return this.reply(St0.invalid);
    }
  }

  private dump(): number[] {
    const track = (n: number) => this.drives[n]?.track ?? 0;
    const lock = this.locked ? 0x80 : 0;
    return [
      track(0),
      track(1),
      0,
      0,
      ...this.specify,
      this.lastEot,
      lock | (this.perpendicular & 0x7f),
      this.config,
      this.preTrack,
    ];
  }

  private restoreRegisters(): void {
    for (const n of [0, 1]) this.drives[n]?.seek(this.param(6 + n));
    this.specify = [this.param(10), this.param(11)];
    this.lastEot = this.param(12);
    this.perpendicular = this.param(13) & 0x3f;
    this.config = this.param(14) & 0x7f;
    this.preTrack = this.param(15);
  }

  private senseDrive(): void {
    const d = this.selected;
    const track0 = d && d.track === 0 ? St3.track0 : 0;
    this.reply((d?.writeProtected ? St3.writeProtected : 0) | track0 | St3.always | (this.param(1) & 7));
  }

  private senseInterrupt(): void {
    const sense = this.pendingSense.shift();
    if (!sense) return this.reply(St0.invalid);
    this.setInterrupt(false);
    this.reply(...sense);
  }

  /** Ends a command that has no result phase but an interrupt. */
  private seekEnded(status: number, cylinder: number): void {
    const { unit } = this;
    this.pendingSense = [...this.pendingSense.filter(([st0]) => (st0 & 3) !== unit), [status | unit, cylinder]];
    this.toCommandPhase();
    this.setInterrupt(true);
  }

  private recalibrate(): void {
    const d = this.selected;
    if (!d) return this.seekEnded(St0.abnormal | St0.seekEnd | St0.equipmentCheck, 0);
    d.seek(0);
    this.seekEnded(St0.seekEnd, 0);
  }

  private seekTo(track: number): void {
    this.selected?.seek(track);
    this.seekEnded(St0.seekEnd | (this.param(1) & St0.head), track);
  }

  private relativeSeek(): void {
    const d = this.selected;
    const step = this.param(0) & 0x40 ? this.param(2) : -this.param(2);
    d?.seek(d.track + step);
    this.seekEnded(St0.seekEnd | (this.param(1) & St0.head), d?.track ?? 0);
  }

  // Reading IDs

  private startReadId(): void {
    this.operation = "read-id";
    this.head = (this.param(1) >> 2) & 1;
    this.movedHead = false;
    this.phase = "execute";
    this.rotation.arm(this.ctx.clock.nowNs() + Math.floor(TURN_NS / (this.selected?.format?.sectors ?? 2)));
  }

  private idPassed(): void {
    if (this.operation !== "read-id") return;
    const d = this.selected;
    const error = d ? this.diskError(d) : St1.missingMark;
    if (!d?.format || error) return this.finish(St0.abnormal, error, 0, [0, 0, 1]);
    d.passing = (d.passing % d.format.sectors) + 1;
    this.finish(0, 0, 0, [d.track, this.head, d.passing]);
  }

  /** Why nothing on the disk can be found: no disk, another rate, no such side or track. */
  private diskError(d: FloppyDrive): number {
    const f = d.format;
    if (!f?.rates.includes(this.rate)) return St1.missingMark;
    return this.head >= f.heads || d.track >= f.tracks ? St1.missingMark : 0;
  }

  // Transfers

  private get multiTrack(): boolean {
    return (this.param(0) & 0x80) !== 0;
  }

  private get writes(): boolean {
    return this.command === "write" || this.command === "write-deleted";
  }

  /** The last sector of each side that the command asks for. */
  private get lastSector(): number {
    return this.param(6);
  }

  private get nonDma(): boolean {
    return (this.specify[1] & 1) !== 0;
  }

  private startTransfer(): void {
    const d = this.selected;
    const cylinder = this.param(2);
    this.head = (this.param(1) >> 2) & 1;
    this.sector = this.command === "read-track" ? 1 : this.param(4);
    this.lastEot = this.param(6);
    this.ended = false;
    this.movedHead = false;
    this.phase = "execute";
    if (d?.format && this.config & Config.impliedSeek && d.track !== cylinder && cylinder < d.format.tracks) {
      d.seek(cylinder);
      this.movedHead = true;
    }
    if (!d || this.diskError(d)) return this.failHere(St1.missingMark);
    if (this.writes && d.writeProtected) return this.failHere(St1.notWritable);
    if (d.track !== cylinder) return this.failHere(St1.noData, St2.wrongCylinder);
    if (this.param(3) !== this.head || this.param(5) !== SIZE_CODE_512) return this.failHere(St1.noData);
    if (this.command === "verify") return this.verify(d);
    // There are only ordinary marks: a reader of deleted data that skips the others finds nothing.
    if (this.command === "read-deleted" && this.param(0) & 0x20) {
      this.sector = this.lastSector;
      return this.finish(St0.abnormal, St1.endOfCylinder, 0, this.nextId());
    }
    this.operation = this.writes ? "write" : "read";
    this.startRun();
  }

  /** Sectors from the current one to the end of the run; 0 when the disk has no such sector. */
  private runSectors(d: FloppyDrive): number {
    const last = Math.min(this.lastSector, d.format!.sectors, this.command === "read-deleted" ? this.sector : 255);
    if (this.sector === 0 || this.sector > d.format!.sectors) return 0;
    // An EOT below the first sector is never met: the run goes on to the end of the track.
    return (this.lastSector < this.sector ? d.format!.sectors : last) - this.sector + 1;
  }

  private startRun(): void {
    const d = this.selected;
    const sectors = d?.format ? this.runSectors(d) : 0;
    if (!d || sectors <= 0) return this.failHere(St1.noData);
    this.length = Math.min(MAX_RUN_SECTORS, sectors) * SECTOR;
    this.pos = 0;
    if (this.operation === "write") this.collect();
    else this.issue();
  }

  /** Sends the request of the current operation to the host. */
  private issue(): void {
    const d = this.selected;
    if (!d?.format) return this.failHere(St1.missingMark);
    this.phase = "execute";
    const { buffer } = this;
    const offset = d.offset(this.head, this.sector);
    switch (this.operation) {
      case "read": {
        const out = buffer.subarray(0, this.length);
        return d.requests.start(
          "read",
          () => d.read(offset, out),
          (error) => (error === undefined ? this.deliver() : this.failHere(St1.dataError, St2.dataError)),
        );
      }
      case "write": {
        const data = buffer.subarray(0, Math.ceil(this.pos / SECTOR) * SECTOR);
        return d.requests.start(
          "write",
          () => d.write(offset, data),
          (error) => (error === undefined ? this.runDone() : this.failHere(St1.dataError, St2.dataError)),
        );
      }
      case "format":
        return d.requests.start(
          "write",
          () => this.formatSectors(d, buffer),
          (error) => (error === undefined ? this.formatDone(d) : this.failHere(St1.dataError)),
        );
      default:
        return this.failHere(St1.noData);
    }
  }

  /** From the buffer to the guest. */
  private deliver(): void {
    if (this.nonDma) {
      this.phase = "pio-in";
      return this.setInterrupt(true);
    }
    const { dma } = this;
    this.phase = "execute";
    if (!dma || !(this.dor & Dor.dmaGate)) return;
    const { count, terminalCount } = dma.toMemory(this.buffer.subarray(this.pos, this.length));
    this.pos += count;
    this.ended = terminalCount;
    if (this.ended || this.pos >= this.length) this.runDone();
    else dma.setRequest(true);
  }

  /** From the guest into the buffer. */
  private collect(): void {
    if (this.nonDma) {
      this.phase = "pio-out";
      return this.setInterrupt(true);
    }
    const { dma } = this;
    this.phase = "execute";
    if (!dma || !(this.dor & Dor.dmaGate)) return;
    const { count, terminalCount } = dma.fromMemory(this.buffer.subarray(this.pos, this.length));
    this.pos += count;
    this.ended = terminalCount;
    if (this.ended || this.pos >= this.length) this.runCollected();
    else dma.setRequest(true);
  }

  private runCollected(): void {
    if (this.pos === 0) return this.runDone();
    // The rest of a sector that terminal count cuts short is zero.
    this.buffer.fill(0, this.pos, Math.ceil(this.pos / SECTOR) * SECTOR);
    this.issue();
  }

  /** The DMA channel can go on. */
  private dmaReady(): void {
    this.dma?.setRequest(false);
    if (this.phase !== "execute" || this.nonDma || (this.selected?.drive.inFlight ?? 0) > 0) return;
    if (this.operation === "read" && this.pos < this.length) this.deliver();
    else if ((this.operation === "write" || this.operation === "format") && this.pos < this.length) this.collect();
  }

  /** A run is through, to its end or to terminal count. */
  private runDone(): void {
    const sectors = Math.max(1, Math.ceil(this.pos / SECTOR));
    const last = this.sector + sectors - 1;
    this.sector = last;
    const mark = this.command === "read-deleted" ? St2.controlMark : 0;
    if (mark) return this.finish(0, 0, mark, [this.param(2), this.head, last]);
    if (this.ended) return this.finish(0, 0, 0, this.nextId());
    if (last !== this.lastSector) {
      // The command asks for sectors that the track does not have.
      this.sector = last + 1;
      return this.startRun();
    }
    if (this.multiTrack && this.head === 0 && this.command !== "read-track" && (this.selected?.format?.heads ?? 1) > 1) {
      this.head = 1;
      this.sector = 1;
      return this.startRun();
    }
    this.finish(St0.abnormal, St1.endOfCylinder, 0, this.nextId());
  }

  /** C, H and R in the result of a transfer whose last sector was the current one (table 6-3). */
  private nextId(): [number, number, number] {
    const cylinder = this.param(2);
    if (this.sector !== this.lastSector) return [cylinder, this.head, this.sector + 1];
    if (!this.multiTrack) return [cylinder + 1, this.head, 1];
    return this.head === 0 ? [cylinder, 1, 1] : [cylinder + 1, 0, 1];
  }

  private failHere(st1: number, st2 = 0): void {
    const id: [number, number, number] =
      this.command === "format" ? [this.selected?.track ?? 0, this.head, 1] : [this.param(2), this.param(3), this.sector];
    this.finish(St0.abnormal, st1, st2, id);
  }

  /** The result phase of a data command. */
  private finish(st0: number, st1: number, st2: number, [c, h, r]: readonly [number, number, number]): void {
    const size = this.command === "read-id" ? SIZE_CODE_512 : this.command === "format" ? this.param(2) : this.param(5);
    const where = (this.head << 2) | this.unit;
    this.operation = "";
    this.dma?.setRequest(false);
    this.reply(st0 | (this.movedHead ? St0.seekEnd : 0) | where, st1, st2, c & 255, h & 255, r & 255, size);
    this.setInterrupt(true);
  }

  /** VERIFY: with EC the last byte counts sectors, else EOT ends it; no data moves. */
  private verify(d: FloppyDrive): void {
    const counted = (this.param(1) & 0x80) !== 0;
    let left = counted ? this.param(8) : 2 * 256;
    for (;;) {
      if (this.sector === 0 || this.sector > d.format!.sectors) return this.failHere(St1.noData);
      if (--left === 0) return this.finish(0, 0, 0, this.nextId());
      if (this.sector === this.lastSector) {
        if (!this.multiTrack || this.head === 1 || d.format!.heads < 2) break;
        this.head = 1;
        this.sector = 1;
      } else this.sector++;
    }
    return counted ? this.finish(St0.abnormal, St1.endOfCylinder, 0, this.nextId()) : this.finish(0, 0, 0, this.nextId());
  }

  // Formatting

  private startFormat(): void {
    const d = this.selected;
    this.head = (this.param(1) >> 2) & 1;
    this.sector = 1;
    this.ended = false;
    this.movedHead = false;
    this.phase = "execute";
    if (!d || this.diskError(d)) return this.failHere(St1.missingMark);
    if (d.writeProtected) return this.failHere(St1.notWritable);
    const sectors = this.param(3);
    if (this.param(2) !== SIZE_CODE_512 || sectors === 0 || sectors > d.format!.sectors) {
      this.ctx.trace.unimp(this.type, () => `format with ${sectors} sectors of size code ${this.param(2)}`);
      return this.failHere(St1.noData);
    }
    this.operation = "format";
    this.length = sectors * FORMAT_ENTRY;
    this.pos = 0;
    this.collect();
  }

  /** Fills each sector whose ID the guest gave; IDs that the image has no place for are passed over. */
  private async formatSectors(d: FloppyDrive, ids: Uint8Array): Promise<void> {
    const entries = ids.slice(0, this.pos - (this.pos % FORMAT_ENTRY));
    const { head } = this;
    const { track, format } = d;
    const filler = new Uint8Array(SECTOR).fill(this.param(5));
    for (let at = 0; at < entries.length; at += FORMAT_ENTRY) {
      const [c, h, r, n] = [entries[at]!, entries[at + 1]!, entries[at + 2]!, entries[at + 3]!];
      if (!format || c !== track || h !== head || r === 0 || r > format.sectors || n !== SIZE_CODE_512) continue;
      await d.write(d.offset(head, r), filler);
    }
  }

  private formatDone(d: FloppyDrive): void {
    this.finish(0, 0, 0, [d.track, this.head, 1]);
  }

  /** Issues again what an error policy held back. */
  private retry(d: FloppyDrive): void {
    if (d.requests.heldCount > 0) d.requests.retry();
    else if (this.waitsForHost && this.selected === d && d.drive.inFlight === 0) this.issue();
  }

  /** Whether the phase of execution is one in which the host has the data. */
  private get waitsForHost(): boolean {
    if (this.phase !== "execute") return false;
    if (this.operation === "read") return this.pos === 0;
    return (this.operation === "write" || this.operation === "format") && (this.ended || this.pos >= this.length);
  }

  // Reset and snapshot

  /** What a reset through DOR or DSR changes: the phase, and what LOCK does not keep. */
  private softReset(): void {
    for (const d of this.drives) d?.requests.cancel();
    this.rotation.disarm();
    this.dma?.setRequest(false);
    // The host may still be reading into the old buffer.
    this.buffer = new Uint8Array(MAX_RUN_SECTORS * SECTOR);
    this.toCommandPhase();
    this.pendingSense = [];
    if (!this.locked) {
      this.config = (this.config & ~Config.threshold) | Config.fifoOff;
      this.preTrack = 0;
    }
    this.setInterrupt(false);
  }

  /** Polling finds every drive's ready line changed. */
  private leaveReset(): void {
    this.phase = "command";
    if (this.config & Config.pollingOff) return;
    this.pendingSense = Array.from({ length: DRIVES }, (_, n) => [St0.readyChanged | n, this.drives[n]?.track ?? 0]);
    this.setInterrupt(true);
  }

  reset(): void {
    this.locked = false;
    this.softReset();
    this.dor = Dor.notReset | Dor.dmaGate;
    this.tdr = 0;
    this.rate = 2;
    this.precompensation = 0;
    this.specify = [0, 0];
    this.config = POWER_ON_CONFIG;
    this.perpendicular = 0;
    for (const d of this.drives) d?.seek(0);
    this.driveIrq();
  }

  save(): DeviceState {
    const { dor, tdr, rate, precompensation, phase, interrupt, command, paramLength } = this;
    const { config, preTrack, perpendicular, locked, lastEot, operation, length, pos, sector, head, ended, movedHead } = this;
    const registers = { dor, tdr, rate, precompensation, phase, interrupt, command, paramLength };
    const settings = { config, preTrack, perpendicular, locked, lastEot, specify: [...this.specify] };
    const transfer = { operation, length, pos, sector, head, ended, movedHead };
    return {
      ...registers,
      ...settings,
      ...transfer,
      params: [...this.params],
      results: [...this.results],
      pendingSense: this.pendingSense.map((s) => [...s]),
      buffer: operation === "" ? new Uint8Array(0) : this.buffer.slice(0, length),
      rotationNs: this.rotation.armed ? this.rotation.deadlineNs : null,
      drives: this.drives.map((d) => d?.save() ?? null),
    };
  }

  restore(s: DeviceState): void {
    this.softReset();
    this.dor = s.dor as number;
    this.tdr = s.tdr as number;
    this.rate = s.rate as number;
    this.precompensation = s.precompensation as number;
    this.phase = s.phase as Phase;
    this.interrupt = s.interrupt as boolean;
    this.command = s.command as CommandName;
    this.paramLength = s.paramLength as number;
    this.config = s.config as number;
    this.preTrack = s.preTrack as number;
    this.perpendicular = s.perpendicular as number;
    this.locked = s.locked as boolean;
    this.lastEot = s.lastEot as number;
    const [first, second] = s.specify as number[];
    this.specify = [first ?? 0, second ?? 0];
    this.operation = s.operation as Operation;
    this.length = Math.min(this.buffer.length, s.length as number);
    this.pos = Math.min(this.length, s.pos as number);
    this.sector = s.sector as number;
    this.head = s.head as number;
    this.ended = s.ended as boolean;
    this.movedHead = s.movedHead as boolean;
    this.params = [...(s.params as number[])];
    this.results = [...(s.results as number[])];
    this.pendingSense = (s.pendingSense as number[][]).map(([st0, cylinder]) => [st0 ?? 0, cylinder ?? 0]);
    this.buffer.set((s.buffer as Uint8Array).subarray(0, this.buffer.length));
    if (s.rotationNs !== null) this.rotation.arm(s.rotationNs as number);
    (s.drives as (DeviceState | null)[]).forEach((d, i) => {
      if (d) this.drives[i]?.restore(d);
    });
    this.options.irq.level = this.interrupt && (this.dor & Dor.dmaGate) !== 0;
  }

  dispose(): void {
    this.softReset();
    this.ctx.timers.remove(this.rotation);
  }
}
