/**
 * The PC's pair of 8237A DMA controllers with page registers: channels 0-3 of bytes, 5-7 of words, 4 the cascade.
 *
 * Source: Intel 8237A datasheet (231466-005); 82371SB (PIIX3) datasheet, "DMA register description"; IBM PC/AT technical
 * reference for the page registers at 80h to 8Fh.
 *
 * A device moves data by asking its channel; the transfer happens at once and ends at terminal count, so the difference
 * between demand, single and block mode cannot be seen.
 *
 * *Not emulated*: memory-to-memory transfers, software requests without a device (the bit shows in the status), rotating
 * priority and timing bits of the command register (stored), the dependence of channels 0-3 on channel 4 being open,
 * page registers above 16 MiB.
 */
import type { AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Device, DeviceContext, DeviceState } from "../core/device.js";

const CONTROLLER_DISABLE = 0x04;
const Mode = { autoInit: 0x10, decrement: 0x20, channel: 0x03 } as const;
const CASCADE = 3;
const CASCADE_CHANNEL = 4;
/** Page register (80h + index) of each channel; index 0Fh is the refresh page, which channel 4 has. */
const PAGE_INDEX = [7, 3, 1, 2, 0x0f, 0x0b, 0x09, 0x0a] as const;

/** Which way the guest has programmed a channel. */
export type DmaDirection = "verify" | "toMemory" | "fromMemory" | "invalid";
const DIRECTIONS: readonly DmaDirection[] = ["verify", "toMemory", "fromMemory", "invalid"];

/** What a transfer did. */
export interface DmaResult {
  /** Bytes moved. */
  readonly count: number;
  /** The channel reached terminal count. */
  readonly terminalCount: boolean;
}

const NOTHING: DmaResult = { count: 0, terminalCount: false };

/** One channel, as its device uses it. */
export class DmaChannel {
  /** Counted in transfers: bytes or words. */
  baseAddress = 0;
  baseCount = 0;
  address = 0;
  count = 0;
  mode = 0;
  masked = true;
  /** DREQ. */
  requested = false;
  softwareRequest = false;
  reachedTc = false;
  /** The channel has become ready while its device asks: time to go on. */
  onReady: () => void = () => {};

  constructor(
    readonly number: number,
    private readonly ctx: DeviceContext,
    private readonly page: () => number,
    private readonly controllerOn: () => boolean,
  ) {}

  /** Bytes moved by one transfer. */
  get unit(): 1 | 2 {
    return this.number > 4 ? 2 : 1;
  }

  get direction(): DmaDirection {
    return DIRECTIONS[(this.mode >> 2) & 3]!;
  }

  /** Whether a transfer would move anything now. */
  get ready(): boolean {
    return !this.masked && this.controllerOn() && this.mode >> 6 !== CASCADE && this.number !== CASCADE_CHANNEL;
  }

  /** Bytes until terminal count. */
  get remaining(): number {
    return (this.count + 1) * this.unit;
  }

  /** DREQ of the device. */
  setRequest(level: boolean): void {
    this.requested = level;
  }

  /** The device gives bytes (a disk read). Verify mode counts without storing. */
  toMemory(data: Uint8Array): DmaResult {
    if (!this.allowed("toMemory")) return NOTHING;
    return this.run(data.length, (address, at, n) => {
      this.ctx.memory.writeBytes(address, data.subarray(at, at + n));
    });
  }

  /** The device takes bytes (a disk write). In verify mode `out` is left as it is. */
  fromMemory(out: Uint8Array): DmaResult {
    if (!this.allowed("fromMemory")) return NOTHING;
    return this.run(out.length, (address, at, n) => {
      this.ctx.memory.readBytes(address, out.subarray(at, at + n));
    });
  }

  private allowed(direction: DmaDirection): boolean {
    if (!this.ready) return false;
    if (this.direction === direction || this.direction === "verify") return true;
    this.ctx.trace.guestError("i8237", () => `channel ${this.number}: device goes ${direction}, mode says ${this.direction}`);
    return false;
  }

  /** Moves up to `bytes`, in pieces that do not cross the 16-bit address counter's end; stops at terminal count. */
  private run(bytes: number, move: (address: number, at: number, n: number) => void): DmaResult {
    const { unit } = this;
    const down = (this.mode & Mode.decrement) !== 0;
    const total = Math.min(Math.floor(bytes / unit), this.count + 1);
    const verify = this.direction === "verify";
    for (let done = 0; done < total; ) {
      // Downwards one transfer at a time: the order of bytes in memory is the reverse.
      const n = down ? 1 : Math.min(total - done, 0x10000 - this.address);
      if (!verify) move(this.physical(), done * unit, n * unit);
      this.address = (this.address + (down ? -n : n)) & 0xffff;
      done += n;
    }
    const terminalCount = total === this.count + 1 && total > 0;
    if (terminalCount) {
      this.reachedTc = true;
      this.softwareRequest = false;
      if (this.mode & Mode.autoInit) {
        this.address = this.baseAddress;
        this.count = this.baseCount;
      } else {
        this.masked = true;
        this.count = 0xffff;
      }
    } else this.count -= total;
    return { count: total * unit, terminalCount };
  }

  private physical(): number {
    const page = this.page();
    return this.unit === 2 ? ((page & 0xfe) << 16) | (this.address << 1) : (page << 16) | this.address;
  }

  save(): DeviceState {
    return {
      baseAddress: this.baseAddress,
      baseCount: this.baseCount,
      address: this.address,
      count: this.count,
      mode: this.mode,
      masked: this.masked,
      requested: this.requested,
      softwareRequest: this.softwareRequest,
      reachedTc: this.reachedTc,
    };
  }

  restore(s: DeviceState): void {
    this.baseAddress = s.baseAddress as number;
    this.baseCount = s.baseCount as number;
    this.address = s.address as number;
    this.count = s.count as number;
    this.mode = s.mode as number;
    this.masked = s.masked as boolean;
    this.requested = s.requested as boolean;
    this.softwareRequest = s.softwareRequest as boolean;
    this.reachedTc = s.reachedTc as boolean;
  }
}

/** One 8237A: register numbers 0 to 15. */
class Controller {
  command = 0;
  private flipFlop = false;

  constructor(readonly channels: readonly DmaChannel[]) {}

  private half(low: number, value: number): number {
    return this.flipFlop ? (low & 0xff) | (value << 8) : (low & 0xff00) | value;
  }

  read(reg: number): number {
    if (reg < 8) {
      const ch = this.channels[reg >> 1]!;
      const v = reg & 1 ? ch.count : ch.address;
      const byte = this.flipFlop ? v >> 8 : v & 0xff;
      this.flipFlop = !this.flipFlop;
      return byte;
    }
    switch (reg) {
      case 8: {
        let v = 0;
        this.channels.forEach((c, i) => {
          if (c.reachedTc) v |= 1 << i;
          if (c.requested || c.softwareRequest) v |= 0x10 << i;
          c.reachedTc = false;
        });
        return v;
      }
      case 15:
        return this.channels.reduce((v, c, i) => v | (c.masked ? 1 << i : 0), 0xf0);
      default:
        return 0; // the temporary register, and registers that can only be written
    }
  }

  write(reg: number, value: number): void {
    if (reg < 8) {
      const ch = this.channels[reg >> 1]!;
      if (reg & 1) ch.count = ch.baseCount = this.half(ch.baseCount, value);
      else ch.address = ch.baseAddress = this.half(ch.baseAddress, value);
      this.flipFlop = !this.flipFlop;
      return;
    }
    const ch = this.channels[value & 3]!;
    switch (reg) {
      case 8:
        this.command = value;
        break;
      case 9:
        ch.softwareRequest = (value & 4) !== 0;
        break;
      case 10:
        ch.masked = (value & 4) !== 0;
        break;
      case 11:
        ch.mode = value & ~Mode.channel;
        break;
      case 12:
        this.flipFlop = false;
        return;
      case 13:
        this.reset();
        return;
      case 14:
        for (const c of this.channels) c.masked = false;
        break;
      default:
        this.channels.forEach((c, i) => {
          c.masked = (value & (1 << i)) !== 0;
        });
    }
    for (const c of this.channels) if (c.requested && c.ready) c.onReady();
  }

  /** Master clear: addresses, counts and modes stay. */
  reset(): void {
    this.command = 0;
    this.flipFlop = false;
    for (const c of this.channels) {
      c.masked = true;
      c.softwareRequest = false;
      c.reachedTc = false;
    }
  }

  save(): DeviceState {
    return { command: this.command, flipFlop: this.flipFlop };
  }

  restore(s: DeviceState): void {
    this.command = s.command as number;
    this.flipFlop = s.flipFlop as boolean;
  }
}

/** Both controllers, at 00h-0Fh and C0h-DFh, and the page registers at 80h-8Fh. */
export class I8237Pair implements Device {
  readonly type = "i8257";
  private readonly pages = new Uint8Array(16);
  private readonly channels: readonly DmaChannel[];
  private readonly controllers: readonly [Controller, Controller];
  /** A power-on self-test code was written to port 80h. */
  onPostCode: (code: number) => void = () => {};

  constructor(ctx: DeviceContext) {
    const on = (n: number) => () => !(this.controllers[n >> 2]!.command & CONTROLLER_DISABLE);
    this.channels = Array.from({ length: 8 }, (_, n) => new DmaChannel(n, ctx, () => this.pages[PAGE_INDEX[n]!]!, on(n)));
    this.controllers = [new Controller(this.channels.slice(0, 4)), new Controller(this.channels.slice(4))];
  }

  /** Channel 0 to 7 for its device: 2 is the floppy's. */
  channel(n: number): DmaChannel {
    return this.channels[n & 7]!;
  }

  map(io: AddressSpace): void {
    const [low, high] = this.controllers;
    const handler = (name: string, read: IoHandler["read"], write: IoHandler["write"]): IoHandler => ({
      name,
      maxAccess: 1,
      read,
      write,
    });
    io.mapIo(
      0x00,
      16,
      handler(
        "dma-chan",
        (o) => low.read(o),
        (o, _s, v) => low.write(o, v & 0xff),
      ),
    );
    io.mapIo(
      0xc0,
      32,
      handler(
        "dma-cont",
        (o) => high.read(o >> 1),
        (o, _s, v) => high.write(o >> 1, v & 0xff),
      ),
    );
    io.mapIo(
      0x80,
      16,
      handler(
        "dma-page",
        (o) => this.pages[o]!,
        (o, _s, v) => {
          this.pages[o] = v;
          if (o === 0) this.onPostCode(v & 0xff);
        },
      ),
    );
  }

  reset(): void {
    for (const c of this.controllers) c.reset();
    for (const c of this.channels) c.requested = false;
    this.pages.fill(0);
  }

  save(): DeviceState {
    return {
      pages: this.pages.slice(),
      channels: this.channels.map((c) => c.save()),
      controllers: this.controllers.map((c) => c.save()),
    };
  }

  restore(s: DeviceState): void {
    this.pages.set((s.pages as Uint8Array).subarray(0, 16));
    (s.channels as DeviceState[]).forEach((c, i) => {
      this.channels[i]?.restore(c);
    });
    (s.controllers as DeviceState[]).forEach((c, i) => {
      this.controllers[i & 1]!.restore(c);
    });
  }
}
