/**
 * The 8042 keyboard controller with an auxiliary (mouse) port, ports 60h and 64h.
 *
 * Source: IBM PS/2 hardware interface technical reference, "Keyboard and auxiliary device controller"; Intel UPI-41A/8042
 * datasheet for the status bits.
 *
 * The controller's own replies are there at once. A byte from a device comes at the earliest 250 µs after the last byte
 * was read (a real line takes about 1 ms), so that a handler which reads port 60h twice sees the same byte.
 *
 * *Not emulated*: the keyboard lock switch, time-outs and parity errors on the lines, password commands (A4h says there is
 * none; A5h and A6h are ignored), the controller's internal RAM beyond the configuration byte, MCA's reset state.
 */
import type { AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Timer } from "../core/clock.js";
import type { Device, DeviceContext, DeviceState } from "../core/device.js";
import type { IrqLine } from "../core/irq.js";
import { Ps2Keyboard } from "./ps2-keyboard.js";
import { Ps2Mouse } from "./ps2-mouse.js";
import { translateSet2 } from "./qcodes.js";

const Status = { outputFull: 0x01, system: 0x04, command: 0x08, unlocked: 0x10, auxFull: 0x20 } as const;
/** Configuration ("command") byte. */
const Config = { keyboardIrq: 0x01, auxIrq: 0x02, system: 0x04, keyboardOff: 0x10, auxOff: 0x20, translate: 0x40 } as const;
const OutputPort = { notReset: 0x01, a20: 0x02, keyboardIrq: 0x10, auxIrq: 0x20 } as const;
const Command = {
  readConfig: 0x20,
  writeConfig: 0x60,
  testPassword: 0xa4,
  auxDisable: 0xa7,
  auxEnable: 0xa8,
  auxTest: 0xa9,
  selfTest: 0xaa,
  keyboardTest: 0xab,
  keyboardDisable: 0xad,
  keyboardEnable: 0xae,
  readInputPort: 0xc0,
  readOutputPort: 0xd0,
  writeOutputPort: 0xd1,
  writeKeyboardOutput: 0xd2,
  writeAuxOutput: 0xd3,
  writeAux: 0xd4,
  a20Off: 0xdd,
  a20On: 0xdf,
  readTestInputs: 0xe0,
  pulse: 0xf0,
} as const;
const SELF_TEST_PASSED = 0x55;
const NO_PASSWORD = 0xf1;
/** Keyboard unlocked, manufacturing jumper open. */
const INPUT_PORT = 0x80;
/** Least time between a read and the next byte of a device. */
const BYTE_GAP_NS = 250_000;
/** Replies that wait for the output buffer. */
const REPLY_LIMIT = 8;

type Source = "controller" | "keyboard" | "aux";

export interface I8042Options {
  /** The A20 gate, shared with port 92h: whoever writes last sets it. */
  readonly a20: IrqLine;
  /** The processor's reset line was pulled. */
  readonly onReset: () => void;
}

/** Controller with a keyboard and a mouse attached. */
export class I8042 implements Device {
  readonly type = "i8042";
  readonly keyboard: Ps2Keyboard;
  readonly mouse: Ps2Mouse;
  private config = 0;
  private output = 0;
  private full: Source | undefined;
  /** Replies that wait; bit 8 says for the auxiliary port. */
  private replies: number[] = [];
  private toAux = false;
  /** The last write was to the command port. */
  private lastWasCommand = false;
  private system = false;
  /** The command that waits for a byte at port 60h, or 0. */
  private awaiting = 0;
  /** F0 was seen: the next keyboard byte is a break code. */
  private breakSeen = false;
  private readyNs = 0;
  private readonly timer: Timer;

  private readonly dataPort: IoHandler = {
    name: "i8042-data",
    maxAccess: 1,
    read: () => this.readData(),
    write: (_offset, _size, value) => this.writeData(value & 0xff),
  };

  private readonly commandPort: IoHandler = {
    name: "i8042-cmd",
    maxAccess: 1,
    read: () => this.readStatus(),
    write: (_offset, _size, value) => this.writeCommand(value & 0xff),
  };

  /** @param keyboardIrq IRQ1 @param auxIrq IRQ12 */
  constructor(
    private readonly ctx: DeviceContext,
    readonly keyboardIrq: IrqLine,
    readonly auxIrq: IrqLine,
    private readonly options: I8042Options,
  ) {
    this.keyboard = new Ps2Keyboard(ctx.trace);
    this.mouse = new Ps2Mouse(ctx.trace);
    this.keyboard.onData = () => this.fill();
    this.mouse.onData = () => this.fill();
    this.timer = ctx.timers.create(() => this.fill());
    this.config = Config.keyboardIrq | Config.auxIrq;
  }

  map(io: AddressSpace): void {
    io.mapIo(0x60, 1, this.dataPort);
    io.mapIo(0x64, 1, this.commandPort);
  }

  /** Moves a reply, or a device's byte if its port is on, into the output buffer when that is free. */
  private fill(): void {
    if (this.full) return;
    const reply = this.replies.shift();
    if (reply !== undefined) {
      this.put("controller", reply & 0xff, reply > 0xff);
      return;
    }
    const keyboard = this.keyboard.hasData && !(this.config & Config.keyboardOff);
    const aux = this.mouse.hasData && !(this.config & Config.auxOff);
    if (!keyboard && !aux) return;
    const now = this.ctx.clock.nowNs();
    if (now < this.readyNs) {
      this.timer.arm(this.readyNs);
      return;
    }
    if (keyboard) {
      const byte = this.nextKeyboardByte();
      if (byte !== undefined) this.put("keyboard", byte);
      else this.fill();
    } else this.put("aux", this.mouse.next()!);
  }

  /** The next byte after translation; undefined when only a break prefix came. */
  private nextKeyboardByte(): number | undefined {
    const byte = this.keyboard.next()!;
    if (!(this.config & Config.translate)) return byte;
    if (byte === 0xf0) {
      this.breakSeen = true;
      return this.keyboard.hasData ? this.nextKeyboardByte() : undefined;
    }
    const code = translateSet2(byte) | (this.breakSeen ? 0x80 : 0);
    this.breakSeen = false;
    return code;
  }

  private put(source: Source, byte: number, toAux = source === "aux"): void {
    this.full = source;
    this.toAux = toAux;
    this.output = byte;
    this.updateIrqs();
  }

  /** The controller's replies go out as from the keyboard port, or the auxiliary one; a byte not yet read stays. */
  private reply(byte: number, aux = false): void {
    if (this.replies.length < REPLY_LIMIT) this.replies.push(byte | (aux ? 0x100 : 0));
    this.fill();
  }

  private updateIrqs(): void {
    const full = this.full !== undefined;
    this.keyboardIrq.set(full && !this.toAux && (this.config & Config.keyboardIrq) !== 0);
    this.auxIrq.set(full && this.toAux && (this.config & Config.auxIrq) !== 0);
  }

  private readStatus(): number {
    this.fill();
    return (
      (this.full ? Status.outputFull : 0) |
      (this.full && this.toAux ? Status.auxFull : 0) |
      (this.system ? Status.system : 0) |
      (this.lastWasCommand ? Status.command : 0) |
      Status.unlocked
    );
  }

  private readData(): number {
    if (!this.full) this.fill();
    const byte = this.output;
    if (this.full) {
      const wasDevice = this.full !== "controller";
      this.full = undefined;
      if (wasDevice) this.readyNs = this.ctx.clock.nowNs() + BYTE_GAP_NS;
      this.updateIrqs();
      this.fill();
    }
    return byte;
  }

  private writeCommand(command: number): void {
    this.lastWasCommand = true;
    this.awaiting = 0;
    if ((command & 0xf0) === Command.pulse) {
      // Bits 3:0 low pulse outputs; only the reset line leads anywhere.
      if (!(command & OutputPort.notReset)) this.options.onReset();
      return;
    }
    switch (command) {
      case Command.readConfig:
        this.reply(this.config);
        return;
      case Command.writeConfig:
      case Command.writeOutputPort:
      case Command.writeKeyboardOutput:
      case Command.writeAuxOutput:
      case Command.writeAux:
        this.awaiting = command;
        return;
      case Command.testPassword:
        this.reply(NO_PASSWORD);
        return;
      case Command.auxDisable:
        this.setConfig(this.config | Config.auxOff);
        return;
      case Command.auxEnable:
        this.setConfig(this.config & ~Config.auxOff);
        return;
      case Command.auxTest:
      case Command.keyboardTest:
        this.reply(0);
        return;
      case Command.selfTest:
        this.system = true;
        this.config |= Config.system;
        this.reply(SELF_TEST_PASSED);
        return;
      case Command.keyboardDisable:
        this.setConfig(this.config | Config.keyboardOff);
        return;
      case Command.keyboardEnable:
        this.setConfig(this.config & ~Config.keyboardOff);
        return;
      case Command.readInputPort:
        this.reply(INPUT_PORT);
        return;
      case Command.readOutputPort:
        this.reply(this.outputPort());
        return;
      case Command.a20Off:
        this.options.a20.set(false);
        return;
      case Command.a20On:
        this.options.a20.set(true);
        return;
      case Command.readTestInputs:
        this.reply(0);
        return;
      default:
        this.ctx.trace.guestError("i8042", () => `command ${command.toString(16)}`);
    }
  }

  private outputPort(): number {
    return (
      0xcc | // bits 7:6 clock and data of the keyboard, 3:2 of the mouse: idle
      OutputPort.notReset |
      (this.options.a20.level ? OutputPort.a20 : 0) |
      (this.full && !this.toAux ? OutputPort.keyboardIrq : 0) |
      (this.full && this.toAux ? OutputPort.auxIrq : 0)
    );
  }

  private setConfig(value: number): void {
    this.config = value;
    this.system = (value & Config.system) !== 0;
    this.updateIrqs();
    this.fill();
  }

  private writeData(value: number): void {
    this.lastWasCommand = false;
    const command = this.awaiting;
    this.awaiting = 0;
    switch (command) {
      case 0:
        // A write to the keyboard turns its line on.
        this.config &= ~Config.keyboardOff;
        this.keyboard.receive(value);
        break;
      case Command.writeConfig:
        this.setConfig(value);
        break;
      case Command.writeOutputPort:
        this.options.a20.set((value & OutputPort.a20) !== 0);
        if (!(value & OutputPort.notReset)) this.options.onReset();
        break;
      case Command.writeKeyboardOutput:
        this.reply(value);
        break;
      case Command.writeAuxOutput:
        this.reply(value, true);
        break;
      case Command.writeAux:
        this.config &= ~Config.auxOff;
        this.mouse.receive(value);
        break;
    }
    this.fill();
  }

  reset(): void {
    this.config = Config.keyboardIrq | Config.auxIrq;
    this.replies = [];
    this.output = 0;
    this.full = undefined;
    this.toAux = false;
    this.lastWasCommand = true;
    this.system = false;
    this.awaiting = 0;
    this.breakSeen = false;
    this.readyNs = 0;
    this.timer.disarm();
    this.options.a20.set(true);
    this.keyboard.reset();
    this.mouse.reset();
    this.updateIrqs();
  }

  save(): DeviceState {
    return {
      config: this.config,
      output: this.output,
      replies: [...this.replies],
      full: this.full ?? null,
      toAux: this.toAux,
      lastWasCommand: this.lastWasCommand,
      system: this.system,
      awaiting: this.awaiting,
      breakSeen: this.breakSeen,
      readyNs: this.readyNs,
      a20: this.options.a20.level,
      keyboardIrq: this.keyboardIrq.level,
      auxIrq: this.auxIrq.level,
      keyboard: this.keyboard.save(),
      mouse: this.mouse.save(),
    };
  }

  restore(s: DeviceState): void {
    this.config = s.config as number;
    this.output = s.output as number;
    this.replies = (s.replies as number[]).slice(0, REPLY_LIMIT);
    this.full = s.full === null ? undefined : (s.full as Source);
    this.toAux = s.toAux as boolean;
    this.lastWasCommand = s.lastWasCommand as boolean;
    this.system = s.system as boolean;
    this.awaiting = s.awaiting as number;
    this.breakSeen = s.breakSeen as boolean;
    this.readyNs = s.readyNs as number;
    this.options.a20.set(s.a20 as boolean);
    this.keyboardIrq.level = s.keyboardIrq as boolean;
    this.auxIrq.level = s.auxIrq as boolean;
    this.keyboard.restore(s.keyboard as DeviceState);
    this.mouse.restore(s.mouse as DeviceState);
    this.fill();
  }
}
