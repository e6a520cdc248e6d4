/**
 * i6300esb: the watchdog of Intel's 6300ESB, PCI 8086:25ab: two stages, an interrupt and then an action.
 * Source: Intel 6300ESB I/O Controller Hub datasheet (300641), chapter 16 (watchdog timer).
 * Not emulated: the interrupt of the first stage (its routing is by SMI or APIC 1, 10; no driver of a guest uses it).
 */
import type { IoHandler } from "../../memory/address-space.js";
import type { Timer } from "../core/clock.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { DeviceType } from "../core/device-type.js";
import { PciDevice } from "../pci/device.js";

const IDS = { vendor: 0x8086, device: 0x25ab, class: 0x088000, subsystemVendor: 0x1af4, subsystem: 0x1100 } as const;
const BAR_BYTES = 16;
const ConfigReg = { config: 0x60, lock: 0x68 } as const;
const Config = { interruptMask: 3, fastClock: 4, noReboot: 0x20 } as const;
const Lock = { locked: 1, enabled: 2, freeRunning: 4 } as const;
const Reg = { timer1: 0, timer2: 4, interrupt: 8, reload: 12 } as const;
const Reload = { reload: 0x100, timedOut: 0x200 } as const;
const UNLOCK = [0x80, 0x86] as const;
const PRELOAD_MASK = 0xfffff;
/** The counter runs on the PCI clock, divided by 2^15, or 2^5 with the fast clock. */
const PCI_HZ = 33_000_000;
const SLOW_SHIFT = 15;
const FAST_SHIFT = 5;

export class I6300esb extends PciDevice {
  readonly type = "i6300esb";
  private preload = [PRELOAD_MASK, PRELOAD_MASK];
  private stage: 1 | 2 = 1;
  /** How much of the unlock sequence has come. */
  private unlocking = 0;
  private timedOut = false;
  private dueNs = 0;
  private readonly timer: Timer;
  /** Time is up. */
  onExpired: () => void = () => {};

  constructor(ctx: DeviceContext, id?: string) {
    super(ctx, IDS, id);
    this.writeMask[ConfigReg.config] = 0x27;
    this.addBar(0, "mem32", BAR_BYTES, this.handler);
    this.timer = ctx.timers.create(() => this.expire());
  }

  private get locked(): boolean {
    return (this.config[ConfigReg.lock]! & Lock.locked) !== 0;
  }

  private get enabled(): boolean {
    return (this.config[ConfigReg.lock]! & Lock.enabled) !== 0;
  }

  override configWrite(offset: number, size: 1 | 2 | 4, value: number): void {
    super.configWrite(offset, size, value);
    if (offset > ConfigReg.lock || offset + size <= ConfigReg.lock || this.locked) return;
    const byte = (value >>> (8 * (ConfigReg.lock - offset))) & 7;
    const was = this.enabled;
    this.config[ConfigReg.lock] = byte;
    if (this.enabled && !was) this.start(1);
    else if (!this.enabled) this.timer.disarm();
  }

  private start(stage: 1 | 2, fromNs = this.ctx.clock.nowNs()): void {
    this.stage = stage;
    const shift = this.config[ConfigReg.config]! & Config.fastClock ? FAST_SHIFT : SLOW_SHIFT;
    const ns = ((this.preload[stage - 1]! + 1) * 2 ** shift * 1e9) / PCI_HZ;
    this.dueNs = fromNs + ns;
    this.timer.arm(this.dueNs);
  }

  private expire(): void {
    if (this.stage === 1) {
      this.start(2, this.dueNs);
      return;
    }
    this.timedOut = true;
    if (!(this.config[ConfigReg.config]! & Config.noReboot)) this.onExpired();
    // Free-running: it counts again.
    if (this.enabled && this.config[ConfigReg.lock]! & Lock.freeRunning) this.start(1);
  }

  private readonly handler: IoHandler = {
    name: "i6300esb",
    read: (offset, size) => {
      const v = (offset & ~3) === Reg.reload && this.timedOut ? Reload.timedOut : 0;
      return size === 4 ? v : (v >> (8 * (offset & 3))) & (2 ** (8 * size) - 1);
    },
    write: (offset, _size, value) => this.write(offset, value),
  };

  private write(offset: number, value: number): void {
    if (offset === Reg.reload && value === UNLOCK[0]) {
      this.unlocking = 1;
      return;
    }
    if (offset === Reg.reload && value === UNLOCK[1] && this.unlocking === 1) {
      this.unlocking = 2;
      return;
    }
    // One write follows the two words.
    const open = this.unlocking === 2;
    this.unlocking = 0;
    if (!open) return;
    switch (offset) {
      case Reg.timer1:
        this.preload[0] = value & PRELOAD_MASK;
        break;
      case Reg.timer2:
        this.preload[1] = value & PRELOAD_MASK;
        break;
      case Reg.reload:
        if (value & Reload.timedOut) this.timedOut = false;
        if (value & Reload.reload && this.enabled) this.start(1);
        break;
    }
  }

  override reset(): void {
    // What happened before a reset can be asked after it.
    const { timedOut } = this;
    super.reset();
    this.timer.disarm();
    this.preload = [PRELOAD_MASK, PRELOAD_MASK];
    this.stage = 1;
    this.unlocking = 0;
    this.timedOut = timedOut;
  }

  override save(): DeviceState {
    return {
      ...super.save(),
      preload: [...this.preload],
      stage: this.stage,
      unlocking: this.unlocking,
      timedOut: this.timedOut,
      leftNs: this.timer.armed ? this.timer.deadlineNs - this.ctx.clock.nowNs() : -1,
    };
  }

  override restore(s: DeviceState): void {
    super.restore(s);
    this.preload = [...(s.preload as number[])].slice(0, 2);
    this.stage = s.stage as 1 | 2;
    this.unlocking = s.unlocking as number;
    this.timedOut = s.timedOut as boolean;
    const left = s.leftNs as number;
    this.dueNs = this.ctx.clock.nowNs() + left;
    if (left >= 0) this.timer.arm(this.dueNs);
    else this.timer.disarm();
  }

  override dispose(): void {
    super.dispose();
    this.ctx.timers.remove(this.timer);
  }
}

export const i6300esbType: DeviceType = {
  name: "i6300esb",
  aliases: [],
  bus: "pci",
  category: "watchdog",
  description: "Intel 6300ESB watchdog",
  properties: [],
};
