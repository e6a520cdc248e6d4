/**
 * A PS/2 keyboard (IBM enhanced, 102 keys and the multimedia extensions), scan code sets 1, 2 and 3.
 *
 * Source: IBM PS/2 hardware interface technical reference, "Keyboards (101- and 102-key)"; Microsoft keyboard scan code
 * specification.
 *
 * Self test and replies take no time. The data queue holds 256 bytes instead of 16, so that pasted text survives.
 *
 * *Not emulated*: typematic repetition of its own (rate and delay are taken and stored; a repeat is another `keyEvent` with
 * `down`), the fake shifts around navigation keys with Num Lock, per-key types of set 3 (taken and ignored).
 */
import type { Trace } from "../../base/trace.js";
import type { Device, DeviceState } from "../core/device.js";
import { type Ps2Device, Ps2Queue } from "./ps2-port.js";
import { keySequence, type QKeyCode } from "./qcodes.js";

const Command = {
  setLeds: 0xed,
  echo: 0xee,
  scanCodeSet: 0xf0,
  identify: 0xf2,
  setRate: 0xf3,
  enable: 0xf4,
  disable: 0xf5,
  setDefaults: 0xf6,
  allTypematic: 0xf7,
  allMakeBreak: 0xf8,
  allMake: 0xf9,
  allTypematicMakeBreak: 0xfa,
  keyTypematic: 0xfb,
  keyMakeBreak: 0xfc,
  keyMake: 0xfd,
  resend: 0xfe,
  reset: 0xff,
} as const;
const ACK = 0xfa;
const RESEND = 0xfe;
const SELF_TEST_PASSED = 0xaa;
const ID = [0xab, 0x83] as const;
const QUEUE_LIMIT = 256;
const DEFAULT_RATE = 0x2b;

/** LED bits as the host writes them. */
export const KeyboardLed = { scrollLock: 1, numLock: 2, capsLock: 4 } as const;

export class Ps2Keyboard implements Device, Ps2Device {
  readonly type = "ps2-kbd";
  onData: () => void = () => {};
  /** The guest has set the LEDs. */
  onLeds: (leds: number) => void = () => {};
  private readonly queue = new Ps2Queue(QUEUE_LIMIT);
  private scanning = true;
  private set: 1 | 2 | 3 = 2;
  private rate = DEFAULT_RATE;
  private ledBits = 0;
  /** A command that waits for its argument, or 0. */
  private awaiting = 0;
  private lastSent = 0;
  private readonly held = new Set<QKeyCode>();

  constructor(private readonly trace: Trace) {}

  get hasData(): boolean {
    return this.queue.length > 0;
  }

  get leds(): number {
    return this.ledBits;
  }

  next(): number | undefined {
    const byte = this.queue.shift();
    if (byte !== undefined) this.lastSent = byte;
    return byte;
  }

  /** A key has gone down (or repeats) or up. Dropped while scanning is off or the queue is full. */
  keyEvent(key: QKeyCode, down: boolean): void {
    if (down) this.held.add(key);
    else this.held.delete(key);
    if (!this.scanning) return;
    const held = (a: QKeyCode, b: QKeyCode) => this.held.has(a) || this.held.has(b);
    const bytes = keySequence(key, down, this.set, {
      shift: held("shift", "shift_r"),
      ctrl: held("ctrl", "ctrl_r"),
      alt: held("alt", "alt_r"),
    });
    if (bytes.length > 0 && this.queue.push(bytes)) this.onData();
  }

  receive(byte: number): void {
    if (this.awaiting !== 0) this.argument(byte);
    else this.command(byte);
    if (this.queue.length > 0) this.onData();
  }

  private command(byte: number): void {
    const q = this.queue;
    switch (byte) {
      case Command.setLeds:
      case Command.setRate:
      case Command.scanCodeSet:
      case Command.keyTypematic:
      case Command.keyMakeBreak:
      case Command.keyMake:
        this.awaiting = byte;
        q.reply(ACK);
        return;
      case Command.echo:
        q.reply(Command.echo);
        return;
      case Command.identify:
        q.reply(ACK, ...ID);
        return;
      case Command.enable:
        q.clearData();
        this.scanning = true;
        q.reply(ACK);
        return;
      case Command.disable:
        this.defaults();
        this.scanning = false;
        q.reply(ACK);
        return;
      case Command.setDefaults:
        this.defaults();
        this.scanning = true;
        q.reply(ACK);
        return;
      case Command.allTypematic:
      case Command.allMakeBreak:
      case Command.allMake:
      case Command.allTypematicMakeBreak:
        q.reply(ACK);
        return;
      case Command.resend:
        q.reply(this.lastSent);
        return;
      case Command.reset:
        this.defaults();
        this.scanning = true;
        this.setLeds(0);
        q.clear();
        q.reply(ACK, SELF_TEST_PASSED);
        return;
      default:
        this.trace.guestError("ps2-kbd", () => `command ${byte.toString(16)}`);
        q.reply(RESEND);
    }
  }

  private argument(byte: number): void {
    const command = this.awaiting;
    this.awaiting = 0;
    switch (command) {
      case Command.setLeds:
        this.setLeds(byte & 7);
        break;
      case Command.setRate:
        this.rate = byte & 0x7f;
        break;
      case Command.scanCodeSet:
        if (byte === 0) {
          this.queue.reply(ACK, this.set);
          return;
        }
        if (byte > 3) {
          this.queue.reply(RESEND);
          return;
        }
        this.set = byte as 1 | 2 | 3;
        this.queue.clearData();
        break;
      default: // types of single keys: a command byte ends the list
        if (byte >= Command.setLeds) {
          this.command(byte);
          return;
        }
        this.awaiting = command;
    }
    this.queue.reply(ACK);
  }

  private defaults(): void {
    this.set = 2;
    this.rate = DEFAULT_RATE;
    this.awaiting = 0;
    this.queue.clearData();
  }

  private setLeds(leds: number): void {
    this.ledBits = leds;
    this.onLeds(leds);
  }

  reset(): void {
    this.defaults();
    this.queue.clear();
    this.scanning = true;
    this.lastSent = 0;
    this.held.clear();
    this.setLeds(0);
  }

  save(): DeviceState {
    return {
      queue: this.queue.save(),
      scanning: this.scanning,
      set: this.set,
      rate: this.rate,
      leds: this.ledBits,
      awaiting: this.awaiting,
      lastSent: this.lastSent,
      held: [...this.held],
    };
  }

  restore(s: DeviceState): void {
    this.queue.restore(s.queue as { replies: number[]; data: number[] });
    this.scanning = s.scanning as boolean;
    this.set = s.set as 1 | 2 | 3;
    this.rate = s.rate as number;
    this.ledBits = s.leds as number;
    this.awaiting = s.awaiting as number;
    this.lastSent = s.lastSent as number;
    this.held.clear();
    for (const k of s.held as QKeyCode[]) this.held.add(k);
    this.onLeds(this.ledBits);
  }
}
