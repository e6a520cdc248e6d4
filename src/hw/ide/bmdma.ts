/**
 * The bus master of one IDE channel: command, status, and a table of physical region descriptors in guest memory.
 * Source: Programming Interface for Bus Master IDE Controller, rev. 1.0 (16 May 1994); Intel 82371SB §2.7.
 *
 * Bounded: a table has at most 64 KiB, so after 8192 descriptors without an end mark it has ended. A descriptor table or
 * buffer that is not memory sets the error bit and stops.
 * Not emulated: the direction bit (the command decides), simplex mode, transfer timing.
 */
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { DmaGate } from "./dma.js";

const Command = { start: 0x01, toMemory: 0x08 } as const;
const BmStatus = { active: 0x01, error: 0x02, interrupt: 0x04, driveCapable: 0x60 } as const;
const PRD_BYTES = 8;
const MAX_PRDS = 8192;
const END_OF_TABLE = 0x80000000;

/** One channel's bus master. `onStart` is called when the guest starts it. */
export class BusMaster implements DmaGate {
  private command = 0;
  private status = 0;
  private table = 0;
  /** Where the walk is: next descriptor, descriptors left, and the rest of the current region. */
  private next = 0;
  private left = 0;
  private regionAddress = 0;
  private regionBytes = 0;
  private lastRegion = false;
  failed = false;
  onStart: () => void = () => {};
  private readonly prd = new Uint8Array(PRD_BYTES);
  private readonly prdView = new DataView(this.prd.buffer);

  constructor(
    private readonly ctx: DeviceContext,
    private readonly name: string,
    /** Whether the function may do DMA now. */
    private readonly enabled: () => boolean,
  ) {}

  get active(): boolean {
    return (this.status & BmStatus.active) !== 0;
  }

  /** Offsets 0-7 of the channel's half of BAR 4, one byte. */
  read(offset: number): number {
    switch (offset) {
      case 0:
        return this.command;
      case 2:
        return this.status;
      case 1:
      case 3:
        return 0;
      default:
        return (this.table >>> (8 * (offset - 4))) & 0xff;
    }
  }

  write(offset: number, value: number): void {
    switch (offset) {
      case 0:
        return this.writeCommand(value);
      case 2:
        this.status =
          (this.status & BmStatus.active) |
          (value & BmStatus.driveCapable) |
          (this.status & ~value & (BmStatus.error | BmStatus.interrupt));
        return;
      case 1:
      case 3:
        return;
      default: {
        const shift = 8 * (offset - 4);
        this.table = ((this.table & ~(0xff << shift)) | (value << shift)) & ~3;
        this.table >>>= 0;
      }
    }
  }

  private writeCommand(value: number): void {
    const start = (value & Command.start) !== 0;
    const was = (this.command & Command.start) !== 0;
    this.command = value & (Command.start | Command.toMemory);
    if (!start) this.status &= ~BmStatus.active;
    if (!start || was) return;
    this.status |= BmStatus.active;
    this.failed = false;
    this.next = this.table;
    this.left = MAX_PRDS;
    this.regionBytes = 0;
    this.lastRegion = false;
    this.onStart();
  }

  /** The channel's interrupt request went up. */
  interrupt(): void {
    this.status |= BmStatus.interrupt;
  }

  private fault(what: string): void {
    this.ctx.trace.guestError(this.name, what);
    this.failed = true;
    this.status = (this.status | BmStatus.error) & ~BmStatus.active;
  }

  /** Makes the current region non-empty. @returns false at the end of the table or after a fault */
  private fetch(): boolean {
    if (this.regionBytes > 0) return true;
    if (this.lastRegion || this.left-- <= 0) return false;
    if (!this.enabled()) {
      this.fault("DMA while bus mastering is off");
      return false;
    }
    if (!this.ctx.memory.readBytes(this.next, this.prd)) {
      this.fault(`descriptor at 0x${this.next.toString(16)} is not in memory`);
      return false;
    }
    // A table does not cross 64 KiB.
    this.next = ((this.next & 0xffff0000) | ((this.next + PRD_BYTES) & 0xffff)) >>> 0;
    const flags = this.prdView.getUint32(4, true);
    this.regionAddress = (this.prdView.getUint32(0, true) & ~1) >>> 0;
    this.regionBytes = flags & 0xfffe || 0x10000;
    this.lastRegion = (flags & END_OF_TABLE) !== 0;
    return true;
  }

  private walk(total: number, move: (address: number, start: number, length: number) => boolean): number {
    let done = 0;
    while (done < total && this.active && this.fetch()) {
      const length = Math.min(total - done, this.regionBytes);
      if (!move(this.regionAddress, done, length)) {
        this.fault(`buffer at 0x${this.regionAddress.toString(16)} is not in memory`);
        break;
      }
      done += length;
      this.regionAddress += length;
      this.regionBytes -= length;
    }
    if (this.lastRegion && this.regionBytes === 0) this.status &= ~BmStatus.active;
    return done;
  }

  toMemory(data: Uint8Array): number {
    return this.walk(data.length, (address, start, length) =>
      this.ctx.memory.writeBytes(address, data.subarray(start, start + length)),
    );
  }

  fromMemory(out: Uint8Array): number {
    return this.walk(out.length, (address, start, length) =>
      this.ctx.memory.readBytes(address, out.subarray(start, start + length)),
    );
  }

  stop(): void {
    this.status &= ~BmStatus.active;
  }

  reset(): void {
    this.command = 0;
    this.status = 0;
    this.table = 0;
    this.next = 0;
    this.left = 0;
    this.regionAddress = 0;
    this.regionBytes = 0;
    this.lastRegion = false;
    this.failed = false;
  }

  save(): DeviceState {
    const { command, status, table, next, left, regionAddress, regionBytes, lastRegion, failed } = this;
    return { command, status, table, next, left, regionAddress, regionBytes, lastRegion, failed };
  }

  restore(s: DeviceState): void {
    this.command = s.command as number;
    this.status = s.status as number;
    this.table = s.table as number;
    this.next = s.next as number;
    this.left = s.left as number;
    this.regionAddress = s.regionAddress as number;
    this.regionBytes = s.regionBytes as number;
    this.lastRegion = s.lastRegion as boolean;
    this.failed = s.failed as boolean;
  }
}
