/**
 * A PS/2 mouse with wheel: standard (id 0), IntelliMouse (3) and IntelliMouse Explorer with five buttons (4).
 *
 * Source: IBM PS/2 hardware interface technical reference, "Mouse"; Microsoft IntelliMouse protocol (sample rates
 * 200, 100, 80 and 200, 200, 80).
 *
 * Self test and replies take no time. Movement is gathered until the host has read what was sent before, so that a slow
 * guest loses no distance; a packet is made whenever the queue has room.
 *
 * *Not emulated*: the sample rate as a limit, resolution as a scale (both are stored and reported; 2:1 scaling works).
 */
import type { Trace } from "../../base/trace.js";
import type { Device, DeviceState } from "../core/device.js";
import { type Ps2Device, Ps2Queue } from "./ps2-port.js";

const Command = {
  scaling1: 0xe6,
  scaling2: 0xe7,
  setResolution: 0xe8,
  status: 0xe9,
  setStream: 0xea,
  readData: 0xeb,
  resetWrap: 0xec,
  setWrap: 0xee,
  setRemote: 0xf0,
  identify: 0xf2,
  setSampleRate: 0xf3,
  enable: 0xf4,
  disable: 0xf5,
  setDefaults: 0xf6,
  resend: 0xfe,
  reset: 0xff,
} as const;
const ACK = 0xfa;
const NACK = 0xfe;
const SELF_TEST_PASSED = 0xaa;
const Status = { remote: 0x40, enabled: 0x20, scaling2: 0x10 } as const;
/** Packets that wait are few: what comes later is added up. */
const QUEUE_LIMIT = 16;
/** Movement kept back, in counts. */
const MAX_PENDING = 0x7fff;

/** Bits of the `buttons` argument. */
export const MouseButton = { left: 1, right: 2, middle: 4, side: 8, extra: 16 } as const;

/** 2:1 scaling: small counts are mapped, larger ones doubled. */
const SCALED = [0, 1, 1, 3, 6, 9] as const;

export class Ps2Mouse implements Device, Ps2Device {
  readonly type = "ps2-mouse";
  onData: () => void = () => {};
  private readonly queue = new Ps2Queue(QUEUE_LIMIT);
  private mouseId: 0 | 3 | 4 = 0;
  private enabled = false;
  private remote = false;
  private wrap = false;
  private scaling2 = false;
  private resolution = 2;
  private sampleRate = 100;
  private awaiting = 0;
  /** How far the sequence of sample rates has got: the last three. */
  private rates = [0, 0, 0];
  private dx = 0;
  private dy = 0;
  private dz = 0;
  private buttons = 0;
  /** Buttons in the last packet. */
  private sentButtons = 0;
  private lastSent = 0;

  constructor(private readonly trace: Trace) {}

  get hasData(): boolean {
    return this.queue.length > 0;
  }

  next(): number | undefined {
    const byte = this.queue.shift();
    if (byte !== undefined) this.lastSent = byte;
    this.flush();
    return byte;
  }

  /** Whether the guest's driver listens: what `info mice` and input routing ask. */
  get reporting(): boolean {
    return this.enabled;
  }

  /**
   * Movement in counts (x to the right, y down, as screens count), wheel steps (positive towards the user), and the
   * buttons now held (`MouseButton`).
   */
  mouseEvent(dx: number, dy: number, dz: number, buttons: number): void {
    const clamp = (v: number) => Math.max(-MAX_PENDING, Math.min(MAX_PENDING, Math.trunc(v) || 0));
    this.dx = clamp(this.dx + dx);
    this.dy = clamp(this.dy - dy);
    this.dz = clamp(this.dz + dz);
    this.buttons = buttons & 0x1f;
    this.flush();
    if (this.queue.length > 0) this.onData();
  }

  /** Stream mode: makes packets while there is something to tell and room for it. */
  private flush(): void {
    if (!this.enabled || this.remote || this.wrap) return;
    const size = this.mouseId === 0 ? 3 : 4;
    while (
      (this.dx !== 0 || this.dy !== 0 || (this.dz !== 0 && this.mouseId !== 0) || this.buttons !== this.sentButtons) &&
      this.queue.dataLength + size <= QUEUE_LIMIT
    ) {
      this.queue.push(this.packet());
    }
    if (this.mouseId === 0) this.dz = 0;
  }

  private packet(): number[] {
    const take = (v: number) => Math.max(-255, Math.min(255, v));
    const dx = take(this.dx);
    const dy = take(this.dy);
    this.dx -= dx;
    this.dy -= dy;
    const scale = (v: number) => {
      // Scaling applies to stream mode only.
      if (!this.scaling2 || this.remote) return v;
      const a = Math.abs(v);
      return Math.sign(v) * Math.min(255, SCALED[a] ?? 2 * a);
    };
    const x = scale(dx);
    const y = scale(dy);
    const bytes = [0x08 | (this.buttons & 7) | (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0), x & 0xff, y & 0xff];
    if (this.mouseId !== 0) {
      const limit = this.mouseId === 3 ? 127 : 7;
      const dz = Math.max(-limit, Math.min(limit, this.dz));
      this.dz -= dz;
      bytes.push(this.mouseId === 3 ? dz & 0xff : (dz & 0x0f) | ((this.buttons & 0x18) << 1));
    }
    this.sentButtons = this.buttons;
    return bytes;
  }

  receive(byte: number): void {
    if (this.awaiting !== 0) this.argument(byte);
    else if (this.wrap && byte !== Command.resetWrap && byte !== Command.reset) this.queue.reply(byte);
    else this.command(byte);
    if (this.queue.length > 0) this.onData();
  }

  private command(byte: number): void {
    const q = this.queue;
    switch (byte) {
      case Command.scaling1:
      case Command.scaling2:
        this.scaling2 = byte === Command.scaling2;
        break;
      case Command.setResolution:
      case Command.setSampleRate:
        this.awaiting = byte;
        break;
      case Command.status:
        q.reply(
          ACK,
          (this.remote ? Status.remote : 0) |
            (this.enabled ? Status.enabled : 0) |
            (this.scaling2 ? Status.scaling2 : 0) |
            (this.buttons & 1 ? 4 : 0) |
            (this.buttons & 4 ? 2 : 0) |
            (this.buttons & 2 ? 1 : 0),
          this.resolution,
          this.sampleRate,
        );
        return;
      case Command.setStream:
        this.remote = false;
        break;
      case Command.setRemote:
        this.remote = true;
        q.clearData();
        break;
      case Command.setWrap:
        this.wrap = true;
        q.clearData();
        break;
      case Command.resetWrap:
        this.wrap = false;
        break;
      case Command.readData:
        q.reply(ACK, ...this.packet());
        return;
      case Command.identify:
        q.reply(ACK, this.mouseId);
        return;
      case Command.enable:
        this.enabled = true;
        this.sentButtons = this.buttons;
        this.dx = 0;
        this.dy = 0;
        this.dz = 0;
        break;
      case Command.disable:
        this.enabled = false;
        q.clearData();
        break;
      case Command.setDefaults:
        this.defaults();
        break;
      case Command.resend:
        q.reply(this.lastSent);
        return;
      case Command.reset:
        this.defaults();
        this.mouseId = 0;
        q.clear();
        q.reply(ACK, SELF_TEST_PASSED, this.mouseId);
        return;
      default:
        this.trace.guestError("ps2-mouse", () => `command ${byte.toString(16)}`);
        q.reply(NACK);
        return;
    }
    q.reply(ACK);
  }

  private argument(byte: number): void {
    const command = this.awaiting;
    this.awaiting = 0;
    if (command === Command.setResolution) this.resolution = byte & 3;
    else {
      this.sampleRate = byte;
      this.rates = [this.rates[1]!, this.rates[2]!, byte];
      const [a, b, c] = this.rates;
      if (a === 200 && b === 100 && c === 80) this.mouseId = 3;
      else if (a === 200 && b === 200 && c === 80) this.mouseId = 4;
    }
    this.queue.reply(ACK);
  }

  private defaults(): void {
    this.enabled = false;
    this.remote = false;
    this.wrap = false;
    this.scaling2 = false;
    this.resolution = 2;
    this.sampleRate = 100;
    this.awaiting = 0;
    this.rates = [0, 0, 0];
    this.dx = 0;
    this.dy = 0;
    this.dz = 0;
    this.queue.clearData();
  }

  reset(): void {
    this.defaults();
    this.mouseId = 0;
    this.buttons = 0;
    this.sentButtons = 0;
    this.lastSent = 0;
    this.queue.clear();
  }

  save(): DeviceState {
    return {
      queue: this.queue.save(),
      deviceId: this.mouseId,
      enabled: this.enabled,
      remote: this.remote,
      wrap: this.wrap,
      scaling2: this.scaling2,
      resolution: this.resolution,
      sampleRate: this.sampleRate,
      awaiting: this.awaiting,
      rates: [...this.rates],
      move: [this.dx, this.dy, this.dz],
      buttons: this.buttons,
      sentButtons: this.sentButtons,
      lastSent: this.lastSent,
    };
  }

  restore(s: DeviceState): void {
    this.queue.restore(s.queue as { replies: number[]; data: number[] });
    this.mouseId = s.deviceId as 0 | 3 | 4;
    this.enabled = s.enabled as boolean;
    this.remote = s.remote as boolean;
    this.wrap = s.wrap as boolean;
    this.scaling2 = s.scaling2 as boolean;
    this.resolution = s.resolution as number;
    this.sampleRate = s.sampleRate as number;
    this.awaiting = s.awaiting as number;
    this.rates = (s.rates as number[]).slice(0, 3);
    [this.dx, this.dy, this.dz] = s.move as [number, number, number];
    this.buttons = s.buttons as number;
    this.sentButtons = s.sentButtons as number;
    this.lastSent = s.lastSent as number;
  }
}
