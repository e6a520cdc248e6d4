/**
 * e1000: Intel 82540EM gigabit Ethernet card, PCI 8086:100e, with its EEPROM and transceiver.
 *
 * Source: Intel "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual" (317453).
 * Not emulated: flow control frames, wake-up, management, loop-back, diagnostic registers, the flash.
 */
import type { AccessSize, IoHandler } from "../../memory/address-space.js";
import { detachNic, type NetBackend } from "../../net/backend.js";
import type { Timer } from "../core/clock.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { DeviceType } from "../core/device-type.js";
import { PciDevice } from "../pci/device.js";
import { Eeprom, eepromWords } from "./e1000-eeprom.js";
import { Phy88e1011 } from "./e1000-phy.js";
import { ReceiveRing } from "./e1000-receive.js";
import { Cause, Ctrl, RAH_VALID, Rctl, Reg, RegisterFile, Status } from "./e1000-registers.js";
import { TransmitRing } from "./e1000-transmit.js";

const IDS = { vendor: 0x8086, device: 0x100e, revision: 3, class: 0x020000, interruptPin: 1 } as const;
const SUBSYSTEM = { subsystemVendor: 0x1af4, subsystem: 0x1100 } as const;
const MEMORY_BYTES = 0x20000;
const IO_BYTES = 64;
/** ITR counts in 256 ns. */
const ITR_NS = 256;

export interface E1000Options {
  /** Six bytes. */
  readonly mac: Uint8Array;
  /** None: the cable is not plugged in. */
  readonly netdev?: NetBackend | undefined;
  readonly id?: string | undefined;
}

export class E1000 extends PciDevice {
  readonly type = "e1000";
  private readonly regs = new RegisterFile();
  private readonly phy = new Phy88e1011();
  private readonly eeprom: Eeprom;
  private readonly tx: TransmitRing;
  private readonly rx: ReceiveRing;
  private readonly mac: Uint8Array;
  private readonly backend: NetBackend | undefined;
  /** Sends on after the guest has run for a while. */
  private readonly sendOn: Timer;
  private readonly throttle: Timer;
  private lastInterruptNs = Number.NEGATIVE_INFINITY;
  private ioAddress = 0;
  /** Packets that could not be sent. */
  dropped = 0;

  constructor(ctx: DeviceContext, options: E1000Options) {
    super(ctx, { ...IDS, ...SUBSYSTEM }, options.id);
    this.mac = options.mac.slice(0, 6);
    this.backend = options.netdev;
    this.eeprom = new Eeprom(eepromWords({ ...IDS, ...SUBSYSTEM, mac: this.mac }));
    const card = this;
    const common = {
      memory: ctx.memory,
      get vlanMode() {
        return (card.regs.get(Reg.ctrl) & Ctrl.vme) !== 0;
      },
      cause: (bits: number) => this.cause(bits),
    };
    this.tx = new TransmitRing(this.regs, {
      ...common,
      get vlanMode() {
        return common.vlanMode;
      },
      backend: this.backend,
      get linkUp() {
        return card.linkUp;
      },
      drop: (what) => {
        this.dropped++;
        ctx.trace.guestError(this.type, what);
      },
    });
    this.rx = new ReceiveRing(this.regs, common);
    this.sendOn = ctx.timers.create(() => this.transmit());
    this.throttle = ctx.timers.create(() => this.updateInterrupt());
    this.addBar(0, "mem32", MEMORY_BYTES, this.memoryHandler);
    this.addBar(1, "io", IO_BYTES, this.ioHandler);
    if (this.backend) {
      this.backend.canReceive = () => !this.rx.enabled || !this.busMaster || this.rx.hasRoom;
      this.backend.onReceive = (frame) => this.receive(frame);
      this.backend.onLinkChange = () => this.linkChanged();
    }
    this.resetRegisters();
  }

  private get linkUp(): boolean {
    return (this.regs.get(Reg.status) & Status.linkUp) !== 0;
  }

  private linkChanged(): void {
    this.showLink();
    this.cause(Cause.linkChange);
  }

  private showLink(): void {
    const up = this.backend?.linkUp ?? false;
    const status = this.regs.get(Reg.status);
    this.regs.set(Reg.status, up ? status | Status.linkUp : status & ~Status.linkUp);
    this.phy.setLink(up);
  }

  private receive(frame: Uint8Array): boolean {
    if (!this.linkUp || !this.rx.enabled || !this.busMaster) return true;
    return this.rx.receive(frame);
  }

  private transmit(): void {
    if (!this.busMaster) return;
    if (this.tx.run()) this.sendOn.arm(this.ctx.clock.nowNs() + 1);
  }

  // Interrupts.

  private cause(bits: number): void {
    this.regs.set(Reg.icr, (this.regs.get(Reg.icr) | bits) >>> 0);
    this.updateInterrupt();
  }

  /** Raises the line for what is asked for, no sooner after the last time than ITR allows. */
  private updateInterrupt(): void {
    const pending = (this.regs.get(Reg.icr) & this.regs.get(Reg.ims)) !== 0;
    if (!pending) {
      this.throttle.disarm();
      this.irq.lower();
      return;
    }
    if (this.irq.level) return;
    const now = this.ctx.clock.nowNs();
    const earliest = this.lastInterruptNs + this.regs.get(Reg.itr) * ITR_NS;
    if (now < earliest) {
      if (!this.throttle.armed) this.throttle.arm(earliest);
      return;
    }
    this.lastInterruptNs = now;
    this.irq.raise();
  }

  // Registers.

  private readonly memoryHandler: IoHandler = {
    name: "e1000-mmio",
    read: (offset, size) => this.read(offset, size),
    write: (offset, size, value) => this.write(offset, size, value),
  };

  private readonly ioHandler: IoHandler = {
    name: "e1000-io",
    read: (offset, size) => (offset < 4 ? this.ioAddress : offset < 8 ? this.read(this.ioAddress, size) : 0),
    write: (offset, size, value) => {
      if (offset === 0 && size === 4) this.ioAddress = value % MEMORY_BYTES;
      else if (offset === 4) this.write(this.ioAddress, size, value);
    },
  };

  private read(offset: number, size: AccessSize): number {
    const at = offset & ~3;
    if (at >= this.regs.words.length * 4) return 0;
    // Registers are read in words; a part of one reads all of it.
    const v = this.readRegister(at);
    if (size === 4) return v;
    return Math.floor(v / 2 ** (8 * (offset & 3))) % 2 ** (8 * size);
  }

  private readRegister(offset: number): number {
    const { regs } = this;
    switch (offset) {
      case Reg.icr: {
        const v = regs.get(Reg.icr);
        regs.set(Reg.icr, 0);
        this.updateInterrupt();
        return v;
      }
      case Reg.eecd:
        return this.eeprom.readEecd(regs.get(Reg.eecd));
    }
    return regs.read(offset);
  }

  private write(offset: number, size: AccessSize, value: number): void {
    const at = offset & ~3;
    if (at >= this.regs.words.length * 4) return;
    // Writes are of words (§13.2).
    if (size < 4) {
      this.ctx.trace.guestError(this.type, () => `write of ${size} bytes at 0x${offset.toString(16)}`);
      return;
    }
    const { regs } = this;
    switch (at) {
      case Reg.ctrl:
        if (value & Ctrl.reset) {
          this.resetRegisters();
          return;
        }
        if (value & Ctrl.phyReset) {
          this.phy.reset();
          this.showLink();
        }
        regs.write(at, value & ~Ctrl.phyReset);
        return;
      case Reg.eecd:
        regs.write(at, value);
        this.eeprom.writeEecd(value);
        return;
      case Reg.eerd:
        regs.set(at, this.eeprom.readWord(value) >>> 0);
        return;
      case Reg.mdic: {
        const { value: result, renegotiated, interrupt } = this.phy.access(value);
        regs.set(at, result);
        if (renegotiated && this.linkUp) this.cause(Cause.linkChange);
        if (interrupt) this.cause(Cause.mdio);
        return;
      }
      case Reg.icr:
        regs.set(Reg.icr, (regs.get(Reg.icr) & ~value) >>> 0);
        this.updateInterrupt();
        return;
      case Reg.ics:
        this.cause(value & 0xffff);
        return;
      case Reg.ims:
        regs.set(Reg.ims, ((regs.get(Reg.ims) | value) & 0xffff) >>> 0);
        this.updateInterrupt();
        return;
      case Reg.imc:
        regs.set(Reg.ims, (regs.get(Reg.ims) & ~value) >>> 0);
        this.updateInterrupt();
        return;
      case Reg.tdt:
        regs.write(at, value);
        this.transmit();
        return;
      case Reg.tctl:
        regs.write(at, value);
        this.transmit();
        return;
      case Reg.rdt:
        regs.write(at, value);
        this.backend?.resume();
        return;
      case Reg.rctl:
        regs.write(at, value);
        if (value & Rctl.enable) this.backend?.resume();
        return;
    }
    if (!regs.row(at)) this.ctx.trace.unimp(this.type, () => `write of register 0x${at.toString(16)}`);
    regs.write(at, value);
  }

  private resetRegisters(): void {
    const { regs } = this;
    regs.reset();
    this.tx.reset();
    this.phy.reset();
    this.sendOn.disarm();
    this.throttle.disarm();
    this.lastInterruptNs = Number.NEGATIVE_INFINITY;
    this.ioAddress = 0;
    const m = this.mac;
    regs.set(Reg.ra, (m[0]! | (m[1]! << 8) | (m[2]! << 16) | (m[3]! << 24)) >>> 0);
    regs.set(Reg.ra + 4, (m[4]! | (m[5]! << 8) | RAH_VALID) >>> 0);
    this.showLink();
    this.irq.lower();
  }

  override reset(): void {
    super.reset();
    this.resetRegisters();
  }

  override save(): DeviceState {
    return {
      ...super.save(),
      regs: [...this.regs.words],
      phy: [...this.phy.words],
      tx: this.tx.save(),
      ioAddress: this.ioAddress,
    };
  }

  override restore(state: DeviceState): void {
    super.restore(state);
    this.regs.words.set((state.regs as number[]).slice(0, this.regs.words.length));
    this.phy.words.set((state.phy as number[]).slice(0, this.phy.words.length));
    this.tx.restore(state.tx as ReturnType<TransmitRing["save"]>);
    this.ioAddress = state.ioAddress as number;
    this.lastInterruptNs = Number.NEGATIVE_INFINITY;
    // The cable is this host's, not the saved one's.
    this.showLink();
    this.updateInterrupt();
    if (this.regs.get(Reg.tdh) !== this.regs.get(Reg.tdt)) this.sendOn.arm(this.ctx.clock.nowNs() + 1);
  }

  override dispose(): void {
    super.dispose();
    this.ctx.timers.remove(this.sendOn);
    this.ctx.timers.remove(this.throttle);
    if (this.backend) detachNic(this.backend);
  }
}

export const e1000Type: DeviceType = {
  name: "e1000",
  aliases: ["e1000-82540em"],
  bus: "pci",
  category: "network",
  description: "Intel Gigabit Ethernet",
  properties: [
    { name: "netdev", type: "netdev", default: undefined, description: "id of the network" },
    { name: "mac", type: "macaddr", default: undefined, description: "Ethernet address; default the next of 52:54:00:12:34:56" },
    { name: "bootindex", type: "uint32", default: undefined, description: "place in the firmware's boot order" },
  ],
};
