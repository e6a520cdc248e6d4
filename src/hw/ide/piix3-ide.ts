/**
 * The IDE function of the PIIX3, PCI 8086:7010: two channels at the legacy ports with IRQ 14 and 15, bus master in BAR 4.
 * Source: Intel 82371SB datasheet (290550) §2.6, §2.7.
 * Not emulated: the timing registers (they store), and the IDE decode enable bits: both channels always answer.
 */
import type { AccessSize, IoHandler } from "../../memory/address-space.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { IrqLine } from "../core/irq.js";
import { PciDevice, PciReg } from "../pci/device.js";
import { BusMaster } from "./bmdma.js";
import { IdeChannel, PRIMARY_PORTS, SECONDARY_PORTS } from "./channel.js";

const BAR_BUS_MASTER = 4;
const CHANNEL_BYTES = 8;

/** The wires: interrupt 14 and 15. */
export interface Piix3IdeOptions {
  readonly irq14: IrqLine;
  readonly irq15: IrqLine;
}

/** IDE controller. Attach at slot 1, function 1; put drives on `channels[0]` and `channels[1]`. */
export class Piix3Ide extends PciDevice {
  readonly type = "piix3-ide";
  readonly channels: readonly [IdeChannel, IdeChannel];
  private readonly masters: readonly [BusMaster, BusMaster];

  private readonly busMasterPorts: IoHandler = {
    name: "piix-bmdma",
    read: (offset, size) => this.readBusMaster(offset, size),
    write: (offset, size, value) => this.writeBusMaster(offset, size, value),
  };

  constructor(ctx: DeviceContext, options: Piix3IdeOptions, id?: string) {
    super(ctx, { vendor: 0x8086, device: 0x7010, class: 0x010180 }, id);
    this.config[PciReg.status] = 0x80;
    this.config[PciReg.status + 1] = 0x02;
    for (const register of [0x40, 0x41, 0x42, 0x43, 0x44]) this.writeMask[register] = 0xff;
    this.addBar(BAR_BUS_MASTER, "io", 2 * CHANNEL_BYTES, this.busMasterPorts);
    this.channels = [
      new IdeChannel(ctx, "ide.0", options.irq14, PRIMARY_PORTS),
      new IdeChannel(ctx, "ide.1", options.irq15, SECONDARY_PORTS),
    ];
    this.masters = [this.wire(0), this.wire(1)];
  }

  private wire(index: 0 | 1): BusMaster {
    const channel = this.channels[index];
    const master = new BusMaster(this.ctx, `ide.${index}-bmdma`, () => this.busMaster);
    channel.dma = master;
    channel.onIntrq = (level) => {
      if (level) master.interrupt();
    };
    master.onStart = () => channel.dmaStarted();
    return master;
  }

  private readBusMaster(offset: number, size: AccessSize): number {
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + (this.masters[(offset + i) >> 3]?.read((offset + i) & 7) ?? 0xff);
    return value;
  }

  private writeBusMaster(offset: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) this.masters[(offset + i) >> 3]?.write((offset + i) & 7, (value >>> (8 * i)) & 0xff);
  }

  override reset(): void {
    super.reset();
    for (const m of this.masters) m.reset();
    for (const c of this.channels) c.reset();
  }

  override save(): DeviceState {
    return { ...super.save(), masters: this.masters.map((m) => m.save()), channels: this.channels.map((c) => c.save()) };
  }

  override restore(state: DeviceState): void {
    super.restore(state);
    (state.masters as DeviceState[]).forEach((s, i) => {
      this.masters[i]?.restore(s);
    });
    (state.channels as DeviceState[]).forEach((s, i) => {
      this.channels[i]?.restore(s);
    });
  }
}
