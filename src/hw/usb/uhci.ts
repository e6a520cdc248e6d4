/**
 * UHCI host controller of the PIIX3, PCI 8086:7020: two root ports, frames of one millisecond.
 * Sources: Intel "Universal Host Controller Interface Design Guide" 1.1; 82371SB datasheet (290550) for the function.
 * Not emulated: legacy keyboard support (LEGSUP is stored), isochronous transfers (they find no device that has them),
 * resume signalling.
 */
import type { AccessSize, IoHandler } from "../../memory/address-space.js";
import type { Timer } from "../core/clock.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { DeviceType } from "../core/device-type.js";
import { PciDevice } from "../pci/device.js";
import { type UsbDevice, UsbPid, type UsbResult } from "./usb-device.js";

const IDS = { vendor: 0x8086, device: 0x7020, revision: 1, class: 0x0c0300, interruptPin: 4 } as const;
const BAR = 4;
const BAR_BYTES = 32;
const PORTS = 2;
const FRAME_NS = 1e6;
/** Frames made at once while nothing has happened for a while: an idle guest is woken less often. */
const IDLE_FRAMES = 4;
const BUSY_FRAMES = 64;
/** Work of one frame: bytes on the bus (12 Mbit/s), queue heads looked at, transfers. */
const MAX_FRAME_BYTES = 1280;
const MAX_STEPS = 256;
const MAX_PACKET = 1280;

const Reg = { command: 0, status: 2, interrupt: 4, frame: 6, base: 8, sof: 12, port: 16 } as const;
const Cmd = { run: 1, hostReset: 2, globalReset: 4, debug: 0x20, configured: 0x40 } as const;
const Sts = { interrupt: 1, error: 2, resume: 4, hostError: 8, processError: 0x10, halted: 0x20 } as const;
const Intr = { timeout: 1, resume: 2, complete: 4, short: 8 } as const;
const Port = {
  connected: 1,
  connectChange: 2,
  enabled: 4,
  enableChange: 8,
  reserved: 0x80,
  lowSpeed: 0x100,
  reset: 0x200,
  suspend: 0x1000,
} as const;
const PORT_WRITABLE = Port.enabled | 0x40 | Port.reset | Port.suspend;
const Link = { end: 1, queue: 2, depth: 4 } as const;
const Td = {
  active: 1 << 23,
  stalled: 1 << 22,
  babble: 1 << 20,
  nak: 1 << 19,
  timeout: 1 << 18,
  complete: 1 << 24,
  isochronous: 1 << 25,
  errorShift: 27,
  shortDetect: 1 << 29,
} as const;
const STATUS_BITS = 0x00ff0000;

export class Uhci extends PciDevice {
  readonly type = "piix3-usb-uhci";
  readonly ports: (UsbDevice | undefined)[] = new Array(PORTS).fill(undefined);
  private usbCommand = 0;
  private status = Sts.halted as number;
  private interrupts = 0;
  private frame = 0;
  private base = 0;
  private sof = 64;
  private readonly port = new Uint16Array(PORTS).fill(Port.reserved);
  /** Causes of USBINT: completion, short packet. */
  private causes = 0;
  private readonly timer: Timer;
  private busy = 0;
  private nextFrameNs = 0;
  private readonly words = new Uint8Array(16);
  private readonly view = new DataView(this.words.buffer);
  private readonly packet = new Uint8Array(MAX_PACKET);

  constructor(ctx: DeviceContext, id?: string) {
    super(ctx, IDS, id);
    this.config[0x60] = 0x10;
    this.config[0xc1] = 0x20;
    this.writeMask[0xc0] = this.writeMask[0xc1] = 0xff;
    this.addBar(BAR, "io", BAR_BYTES, this.handler);
    this.timer = ctx.timers.create(() => this.tick());
  }

  /** Plugs a device into a root port; -1: the first that is free. @returns the port, or -1 when none is */
  plug(device: UsbDevice, wanted = -1): number {
    const n = wanted >= 0 ? (this.ports[wanted] === undefined && wanted < PORTS ? wanted : -1) : this.ports.indexOf(undefined);
    if (n < 0) return -1;
    this.ports[n] = device;
    device.onWork = () => {
      this.busy = BUSY_FRAMES;
    };
    this.port[n] = this.port[n]! | Port.connected | Port.connectChange | (device.lowSpeed ? Port.lowSpeed : 0);
    return n;
  }

  /** Pulls a device. */
  unplug(device: UsbDevice): void {
    const n = this.ports.indexOf(device);
    if (n < 0) return;
    this.ports[n] = undefined;
    device.onWork = () => {};
    const had = this.port[n]!;
    const change = Port.connectChange | (had & Port.enabled ? Port.enableChange : 0);
    this.port[n] = (had & ~(Port.connected | Port.enabled | Port.lowSpeed)) | change;
  }

  private readonly handler: IoHandler = {
    name: "uhci",
    read: (offset, size) => {
      const v = this.read(offset & ~1);
      if (size === 4) return v + this.read((offset & ~1) + 2) * 0x10000;
      return size === 2 ? v : (v >> (8 * (offset & 1))) & 0xff;
    },
    write: (offset, size, value) => this.write(offset, size, value),
  };

  private read(offset: number): number {
    switch (offset) {
      case Reg.command:
        return this.usbCommand;
      case Reg.status:
        return this.status;
      case Reg.interrupt:
        return this.interrupts;
      case Reg.frame:
        return this.frame;
      case Reg.base:
        return this.base & 0xffff;
      case Reg.base + 2:
        return this.base >>> 16;
      case Reg.sof:
        return this.sof;
    }
    const n = (offset - Reg.port) >> 1;
    return offset >= Reg.port && n < PORTS ? this.port[n]! : offset >= Reg.port ? 0xff7f : 0;
  }

  private write(offset: number, size: AccessSize, value: number): void {
    if (size === 4 && offset !== Reg.base) {
      this.write(offset, 2, value & 0xffff);
      this.write(offset + 2, 2, value >>> 16);
      return;
    }
    switch (offset) {
      case Reg.command:
        this.writeCommand(value & 0xff);
        return;
      case Reg.status:
        this.status &= ~(value & 0x1f);
        if (value & Sts.interrupt) this.causes = 0;
        this.updateLine();
        return;
      case Reg.interrupt:
        this.interrupts = value & 15;
        this.updateLine();
        return;
      case Reg.frame:
        if (this.status & Sts.halted) this.frame = value & 0x7ff;
        return;
      case Reg.base:
        this.base = size === 4 ? (value & 0xfffff000) >>> 0 : ((this.base & 0xffff0000) | (value & 0xf000)) >>> 0;
        return;
      case Reg.base + 2:
        this.base = ((this.base & 0xffff) | (value << 16)) >>> 0;
        return;
      case Reg.sof:
        this.sof = value & 0x7f;
        return;
    }
    const n = (offset - Reg.port) >> 1;
    if (offset >= Reg.port && n < PORTS) this.writePort(n, value);
  }

  private writeCommand(value: number): void {
    if (value & Cmd.hostReset) {
      this.resetController();
      return;
    }
    if (value & Cmd.globalReset) for (const d of this.ports) d?.reset();
    const started = (value & Cmd.run) !== 0 && !(this.usbCommand & Cmd.run);
    this.usbCommand = value;
    if (started) {
      this.status &= ~Sts.halted;
      this.busy = BUSY_FRAMES;
      this.nextFrameNs = this.ctx.clock.nowNs() + FRAME_NS;
      this.timer.arm(this.nextFrameNs);
    } else if (!(value & Cmd.run)) {
      this.status |= Sts.halted;
      this.timer.disarm();
    }
  }

  private writePort(n: number, value: number): void {
    const old = this.port[n]!;
    const device = this.ports[n];
    if (value & Port.reset && !(old & Port.reset)) device?.reset();
    let next = (old & ~PORT_WRITABLE) | (value & PORT_WRITABLE);
    next &= ~(value & (Port.connectChange | Port.enableChange));
    // Nothing there, or in reset: not enabled.
    if (!device || value & Port.reset) next &= ~Port.enabled;
    this.port[n] = next;
    if (next & Port.enabled) this.busy = BUSY_FRAMES;
  }

  private updateLine(): void {
    const { status, interrupts, causes } = this;
    const level =
      (status & Sts.interrupt && ((causes & 1 && interrupts & Intr.complete) || (causes & 2 && interrupts & Intr.short))) ||
      (status & Sts.error && interrupts & Intr.timeout) ||
      (status & Sts.resume && interrupts & Intr.resume) ||
      status & (Sts.hostError | Sts.processError);
    if (level) this.irq.raise();
    else this.irq.lower();
  }

  // Frames (§3.4).

  private tick(): void {
    if (!(this.usbCommand & Cmd.run)) return;
    const now = this.ctx.clock.nowNs();
    // A host that was away does not get its frames back all at once.
    let frames = Math.min(IDLE_FRAMES, Math.max(1, Math.round((now - this.nextFrameNs) / FRAME_NS) + 1));
    while (frames-- > 0 && this.usbCommand & Cmd.run) {
      if (this.busMaster) this.runFrame();
      this.frame = (this.frame + 1) & 0x7ff;
    }
    this.updateLine();
    const ahead = this.busy > 0 ? 1 : IDLE_FRAMES;
    if (this.busy > 0) this.busy--;
    this.nextFrameNs = Math.max(now, this.nextFrameNs) + FRAME_NS;
    if (this.usbCommand & Cmd.run) this.timer.arm(this.nextFrameNs + (ahead - 1) * FRAME_NS);
  }

  private load(address: number, words: number): void {
    this.ctx.memory.readBytes(address, this.words.subarray(0, 4 * words));
  }

  private store(address: number, value: number): void {
    const b = new Uint8Array(4);
    new DataView(b.buffer).setUint32(0, value >>> 0, true);
    this.ctx.memory.writeBytes(address, b);
  }

  private runFrame(): void {
    this.load(this.base + 4 * (this.frame & 0x3ff), 1);
    let link = this.view.getUint32(0, true);
    let bytes = 0;
    // A queue head seen again with nothing done since: the schedule is a circle, and idle.
    const seen = new Set<number>();
    for (let step = 0; step < MAX_STEPS && !(link & Link.end) && bytes < MAX_FRAME_BYTES; step++) {
      if (!(link & Link.queue)) {
        const td = (link & ~15) >>> 0;
        const { moved } = this.transfer(td);
        bytes += moved;
        this.load(td, 1);
        link = this.view.getUint32(0, true);
        continue;
      }
      const qh = (link & ~15) >>> 0;
      if (seen.has(qh)) break;
      seen.add(qh);
      this.load(qh, 2);
      const next = this.view.getUint32(0, true);
      let element = this.view.getUint32(4, true);
      link = next;
      // Down the queue while transfers succeed and ask for depth first.
      for (let depth = 0; depth < MAX_STEPS && !(element & Link.end) && bytes < MAX_FRAME_BYTES; depth++) {
        if (element & Link.queue) {
          link = element;
          break;
        }
        const td = (element & ~15) >>> 0;
        const { moved, advance } = this.transfer(td);
        bytes += moved + (advance ? 1 : 0);
        if (!advance) break;
        seen.clear();
        seen.add(qh);
        this.load(td, 1);
        element = this.view.getUint32(0, true);
        this.store(qh + 4, element);
        if (!(element & Link.depth)) break;
      }
    }
  }

  /** One transfer descriptor. `advance`: the queue goes on behind it. */
  private transfer(td: number): { moved: number; advance: boolean } {
    this.load(td, 4);
    const control = this.view.getUint32(4, true);
    const token = this.view.getUint32(8, true);
    const buffer = this.view.getUint32(12, true);
    if (!(control & Td.active)) return { moved: 0, advance: false };
    const pid = token & 0xff;
    const length = ((token >>> 21) + 1) & 0x7ff;
    const none = { moved: 0, advance: false };
    if ((pid !== UsbPid.in && pid !== UsbPid.out && pid !== UsbPid.setup) || length > MAX_PACKET) {
      // The controller stops at what it cannot understand (§3.2.3).
      this.status |= Sts.processError | Sts.halted;
      this.usbCommand &= ~Cmd.run;
      this.timer.disarm();
      return none;
    }
    const device = this.deviceAt((token >>> 8) & 0x7f);
    const bytes = this.packet.subarray(0, length);
    let result: UsbResult | "timeout" = "timeout";
    if (device) {
      if (pid !== UsbPid.in) this.ctx.memory.readBytes(buffer, bytes);
      result = device.transaction(pid, (token >>> 15) & 15, bytes);
    }
    let status = control & ~STATUS_BITS & ~0x7ff;
    if (typeof result === "number") {
      if (pid === UsbPid.in && result > 0) this.ctx.memory.writeBytes(buffer, bytes.subarray(0, result));
      this.busy = BUSY_FRAMES;
      status |= (result - 1) & 0x7ff;
      this.store(td + 4, status);
      if (control & Td.complete) this.cause(1);
      if (pid === UsbPid.in && result < length && control & Td.shortDetect) {
        this.cause(2);
        return { moved: result, advance: false };
      }
      return { moved: length, advance: true };
    }
    if (result === "nak") {
      this.store(td + 4, (control & ~0x7ff) | Td.nak | 0x7ff);
      return none;
    }
    if (result === "timeout") {
      const errors = (control >>> Td.errorShift) & 3;
      status |= Td.timeout | 0x7ff;
      if (errors !== 1) {
        // Tried again until the count has run out; a count of 0 has no end.
        const left = errors === 0 ? 0 : errors - 1;
        this.store(td + 4, (status & ~(3 << Td.errorShift)) | (left << Td.errorShift) | Td.active);
        return none;
      }
      status = (status & ~(3 << Td.errorShift)) | Td.stalled;
    } else status |= Td.stalled | 0x7ff | (result === "babble" ? Td.babble : 0);
    this.store(td + 4, status);
    this.status |= Sts.error;
    if (control & Td.complete) this.cause(1);
    return none;
  }

  private cause(bit: 1 | 2): void {
    this.causes |= bit;
    this.status |= Sts.interrupt;
  }

  private deviceAt(address: number): UsbDevice | undefined {
    for (let n = 0; n < PORTS; n++) if (this.port[n]! & Port.enabled && this.ports[n]?.address === address) return this.ports[n];
    return undefined;
  }

  private resetController(): void {
    this.usbCommand = 0;
    this.status = Sts.halted;
    this.interrupts = 0;
    this.frame = 0;
    this.base = 0;
    this.sof = 64;
    this.causes = 0;
    this.timer.disarm();
    for (let n = 0; n < PORTS; n++) {
      const d = this.ports[n];
      d?.reset();
      this.port[n] = Port.reserved | (d ? Port.connected | Port.connectChange | (d.lowSpeed ? Port.lowSpeed : 0) : 0);
    }
    this.updateLine();
  }

  override reset(): void {
    super.reset();
    this.resetController();
  }

  override save(): DeviceState {
    return {
      ...super.save(),
      command: this.usbCommand,
      status: this.status,
      interrupts: this.interrupts,
      frame: this.frame,
      base: this.base,
      sof: this.sof,
      causes: this.causes,
      port: [...this.port],
      devices: this.ports.map((d) => d?.save() ?? null),
    };
  }

  override restore(s: DeviceState): void {
    super.restore(s);
    this.usbCommand = s.command as number;
    this.status = s.status as number;
    this.interrupts = s.interrupts as number;
    this.frame = s.frame as number;
    this.base = s.base as number;
    this.sof = s.sof as number;
    this.causes = s.causes as number;
    this.port.set((s.port as number[]).slice(0, PORTS));
    for (const [n, state] of (s.devices as (DeviceState | null)[]).slice(0, PORTS).entries())
      if (state) this.ports[n]?.restore(state);
    this.busy = BUSY_FRAMES;
    this.nextFrameNs = this.ctx.clock.nowNs() + FRAME_NS;
    if (this.usbCommand & Cmd.run) this.timer.arm(this.nextFrameNs);
    else this.timer.disarm();
    this.updateLine();
  }

  override dispose(): void {
    super.dispose();
    this.ctx.timers.remove(this.timer);
  }
}

export const uhciType: DeviceType = {
  name: "piix3-usb-uhci",
  aliases: [],
  bus: "pci",
  category: "usb",
  description: "USB 1.1 host controller with two ports",
  properties: [],
};
