/**
 * What ATA disks and ATAPI drives share: the command block, the PIO buffer, the interrupt, the reset signature, and
 * requests to the drive with their place in a snapshot.
 * Source: ATA/ATAPI-7 vol. 2 §5 (registers), §9 (protocols), vol. 1 §6.2 (signature).
 *
 * A command that waits for the host is a named step over plain fields (`phase` "io"), so that a request held back by an
 * error policy is part of the saved state and is issued again after a restore.
 */
import type { Trace } from "../../base/trace.js";
import type { BlockBackend, Drive } from "../../block/backend.js";
import { DriveRequests, type RequestKind } from "../../block/requests.js";
import type { Device, DeviceContext, DeviceState } from "../core/device.js";
import { type DmaGate, NO_DMA } from "./dma.js";
import { AtaError, AtaReg, DeviceBits, Status } from "./registers.js";

/** Bytes of a drive's buffer: the most that goes to the host in one request. */
export const BUFFER_BYTES = 0x40000;

/** So that the last access of an odd window stays within the buffer. */
const SLACK_BYTES = 4;

/** What a drive is doing. */
export type Phase = "idle" | "io" | "pio-in" | "pio-out" | "dma";

/** What a drive needs of its cable; given by `IdeChannel.attach`. */
export interface IdeCable {
  /** The interrupt request of this drive may have changed. */
  intrqChanged(): void;
  readonly dma: DmaGate;
}

const LOOSE: IdeCable = { intrqChanged() {}, dma: NO_DMA };

/** A drive on an IDE cable. */
export abstract class AtaDevice implements Device {
  abstract readonly type: string;
  /** The registers as last written (with results stored over them), and as written before that. */
  protected readonly regs = new Uint8Array(8);
  protected readonly previous = new Uint8Array(8);
  protected status = 0;
  protected error = 0;
  protected phase: Phase = "idle";
  /** The step that the phase belongs to; a name of the subclass. */
  protected step = "";
  protected buffer = new Uint8Array(BUFFER_BYTES + SLACK_BYTES);
  private view = new DataView(this.buffer.buffer);
  /** The PIO window in the buffer. */
  protected pioPos = 0;
  protected pioEnd = 0;
  private intrqLevel = false;
  protected cable: IdeCable = LOOSE;
  /** 0 or 1: the position on the cable. */
  protected position = 0;
  protected readonly requests: DriveRequests;
  protected readonly trace: Trace;

  constructor(
    protected readonly ctx: DeviceContext,
    readonly drive: Drive,
    readonly id?: string | undefined,
  ) {
    this.trace = ctx.trace;
    this.requests = new DriveRequests(drive);
    drive.onRetry = () => this.retry();
  }

  /** Puts the drive on a cable; its reset state follows from the position. */
  attachCable(cable: IdeCable, position: 0 | 1): void {
    this.cable = cable;
    this.position = position;
    this.reset();
  }

  get intrq(): boolean {
    return this.intrqLevel;
  }

  protected setIntrq(level: boolean): void {
    this.intrqLevel = level;
    this.cable.intrqChanged();
  }

  get busy(): boolean {
    return (this.status & (Status.bsy | Status.drq)) !== 0;
  }

  /** Reads a register of the command block (not data). The status is read by `readStatus`. */
  readRegister(register: number, hob: boolean): number {
    if (register === AtaReg.error) return this.error;
    return hob && register >= AtaReg.count && register <= AtaReg.lbaHigh ? this.previous[register]! : this.regs[register]!;
  }

  /** Writes a register of the command block (not data, not command). */
  writeRegister(register: number, value: number): void {
    this.previous[register] = this.regs[register]!;
    this.regs[register] =
      register === AtaReg.device ? (value & ~DeviceBits.dev) | DeviceBits.ones | (this.position ? DeviceBits.dev : 0) : value;
  }

  /** The status; reading the primary one acknowledges the interrupt. */
  readStatus(acknowledge: boolean): number {
    if (acknowledge) this.setIntrq(false);
    return this.status;
  }

  /** A write of the command register. */
  command(code: number): void {
    if (this.busy && !this.interruptsBusy(code)) {
      this.trace.guestError(this.type, () => `command 0x${code.toString(16)} while busy`);
      return;
    }
    this.setIntrq(false);
    this.error = 0;
    this.execute(code);
  }

  /** Whether a command is taken although the drive is busy (DEVICE RESET). */
  protected interruptsBusy(_code: number): boolean {
    return false;
  }

  /** Runs a command. */
  protected abstract execute(code: number): void;
  /** The PIO window has been read or written to its end. */
  protected abstract pioDone(): void;
  /** Issues the request of the current step again. */
  protected abstract issue(): void;
  /** The bus master has been started while the drive waits for it. */
  protected abstract dmaReady(): void;
  /** Registers 2-5 after a reset, which tell a disk from a packet drive. */
  protected abstract readonly signature: readonly [count: number, low: number, mid: number, high: number];
  /** Status after a reset. */
  protected abstract readonly resetStatus: number;

  /** A read of the data register, 2 or 4 bytes; zeroes when nothing is to be read. */
  readData(size: 1 | 2 | 4): number {
    if (this.phase !== "pio-in") return 0;
    const left = this.pioEnd - this.pioPos;
    const value = size === 4 ? this.view.getUint32(this.pioPos, true) : this.view.getUint16(this.pioPos, true);
    this.pioPos += size === 4 ? 4 : 2;
    if (left <= (size === 4 ? 4 : 2)) this.pioDone();
    return size === 1 ? value & 0xff : value;
  }

  /** A write of the data register; ignored when nothing is wanted. */
  writeData(size: 1 | 2 | 4, value: number): void {
    if (this.phase !== "pio-out") return;
    const step = size === 4 ? 4 : 2;
    const left = this.pioEnd - this.pioPos;
    if (step === 4 && left >= 4) this.view.setUint32(this.pioPos, value, true);
    else this.view.setUint16(this.pioPos, value & 0xffff, true);
    this.pioPos += step;
    if (left <= step) this.pioDone();
  }

  /** The guest has opened the bus master. */
  dmaStarted(): void {
    if (this.phase === "dma") this.dmaReady();
  }

  /** Offers buffer bytes [start, start + length) to be read or written by the guest. */
  protected pio(direction: "pio-in" | "pio-out", start: number, length: number): void {
    this.phase = direction;
    this.pioPos = start;
    this.pioEnd = start + length;
    this.status = Status.drdy | Status.dsc | Status.drq;
  }

  /** Ends a command. */
  protected finish(): void {
    this.phase = "idle";
    this.step = "";
    this.status = Status.drdy | Status.dsc;
    this.setIntrq(true);
  }

  /** Ends a command with an error. */
  protected fail(error: number): void {
    this.finish();
    this.error = error;
    this.status |= Status.err;
  }

  protected abort(): void {
    this.fail(AtaError.abrt);
  }

  /**
   * Sends a request to the host; the drive is busy until it ends, then `done` gets the error to report, if any. A drive
   * without a medium fails.
   */
  protected request(
    kind: RequestKind,
    operation: (backend: BlockBackend) => Promise<void>,
    done: (failed: boolean) => void,
  ): void {
    this.phase = "io";
    this.status = Status.bsy;
    this.requests.start(
      kind,
      async () => {
        const { backend } = this.drive;
        if (!backend) throw new Error("no medium");
        await operation(backend);
      },
      (error) => {
        this.status &= ~Status.bsy;
        done(error !== undefined);
      },
    );
  }

  /** Issues again what an error policy held back, also when that happened before the state was saved. */
  private retry(): void {
    if (this.requests.heldCount > 0) this.requests.retry();
    else if (this.phase === "io" && this.drive.inFlight === 0) this.issue();
  }

  protected putSignature(): void {
    this.regs.set(this.signature, AtaReg.count);
    this.previous.fill(0);
    this.regs[AtaReg.device] = DeviceBits.ones | (this.position ? DeviceBits.dev : 0);
  }

  /** Drops the command under way. */
  protected drop(): void {
    this.requests.cancel();
    if (this.phase === "io") {
      // The host may still be reading into the old buffer, or writing out of it.
      this.buffer = new Uint8Array(BUFFER_BYTES + SLACK_BYTES);
      this.view = new DataView(this.buffer.buffer);
    }
    this.phase = "idle";
    this.step = "";
    this.pioPos = 0;
    this.pioEnd = 0;
  }

  /** SRST, or EXECUTE DEVICE DIAGNOSTIC. */
  softReset(): void {
    this.drop();
    this.putSignature();
    this.error = 0x01;
    this.status = this.resetStatus;
    this.setIntrq(false);
  }

  /** Drive 0 reports the end of EXECUTE DEVICE DIAGNOSTIC. */
  diagnosticDone(): void {
    this.setIntrq(true);
  }

  /** Between the edges of SRST. */
  holdReset(): void {
    this.drop();
    this.status = Status.bsy;
    this.setIntrq(false);
  }

  reset(): void {
    this.regs.fill(0);
    this.buffer.fill(0);
    this.softReset();
  }

  save(): DeviceState {
    return {
      regs: this.regs.slice(),
      previous: this.previous.slice(),
      status: this.status,
      error: this.error,
      phase: this.phase,
      step: this.step,
      buffer: this.phase === "idle" ? new Uint8Array(0) : this.buffer.slice(),
      pioPos: this.pioPos,
      pioEnd: this.pioEnd,
      intrq: this.intrqLevel,
    };
  }

  restore(state: DeviceState): void {
    this.drop();
    this.regs.set((state.regs as Uint8Array).subarray(0, 8));
    this.previous.set((state.previous as Uint8Array).subarray(0, 8));
    this.status = state.status as number;
    this.error = state.error as number;
    this.phase = state.phase as Phase;
    this.step = state.step as string;
    this.buffer.set((state.buffer as Uint8Array).subarray(0, this.buffer.length));
    this.pioEnd = Math.min(BUFFER_BYTES, state.pioEnd as number);
    this.pioPos = Math.min(this.pioEnd, state.pioPos as number);
    this.intrqLevel = state.intrq as boolean;
  }
}
