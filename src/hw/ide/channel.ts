/**
 * One IDE cable: the command block at 0x1f0 or 0x170, the control register at 0x3f6 or 0x376, up to two drives, one
 * interrupt wire.
 * Source: ATA/ATAPI-7 vol. 2 §5 and §7.4 (a single device answers for its absent neighbour with zeroes).
 * Not emulated: the floating bus of a cable without drives (it reads zeroes).
 */
import type { AccessSize, AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Device, DeviceContext, DeviceState } from "../core/device.js";
import type { IrqLine } from "../core/irq.js";
import type { AtaDevice, IdeCable } from "./ata-device.js";
import { type DmaGate, NO_DMA } from "./dma.js";
import { AtaReg, DeviceBits, DeviceControl } from "./registers.js";

const EXECUTE_DEVICE_DIAGNOSTIC = 0x90;

/** Where a channel answers. */
export interface IdeChannelPorts {
  readonly command: number;
  readonly control: number;
}

/** The legacy places of both channels. */
export const PRIMARY_PORTS: IdeChannelPorts = { command: 0x1f0, control: 0x3f6 };
export const SECONDARY_PORTS: IdeChannelPorts = { command: 0x170, control: 0x376 };

/** A channel. Drives are attached by position; `dma` is the bus master's side, if there is one. */
export class IdeChannel implements Device {
  readonly type = "IDE";
  private readonly drives: [AtaDevice | undefined, AtaDevice | undefined] = [undefined, undefined];
  private selected = 0;
  private control = 0;
  /** The interrupt request as the controller sees it. */
  intrq = false;
  /** Told when the interrupt request changes, before the wire. */
  onIntrq: (level: boolean) => void = () => {};
  dma: DmaGate = NO_DMA;

  private readonly commandBlock: IoHandler = {
    name: "ide",
    read: (offset, size) => this.read(offset, size),
    write: (offset, size, value) => this.write(offset, size, value),
  };
  private readonly controlBlock: IoHandler = {
    name: "ide-control",
    read: () => this.readStatus(false),
    write: (_offset, _size, value) => this.writeControl(value),
  };

  constructor(
    private readonly ctx: DeviceContext,
    readonly name: string,
    private readonly irq: IrqLine,
    ports: IdeChannelPorts,
    io: AddressSpace = ctx.io,
  ) {
    io.mapIo(ports.command, 8, this.commandBlock, { name });
    io.mapIo(ports.control, 1, this.controlBlock, { name });
  }

  /** Puts a drive on the cable: 0 is the master, 1 the slave. */
  attach(device: AtaDevice, position: 0 | 1): void {
    this.drives[position] = device;
    const channel = this;
    const cable: IdeCable = {
      intrqChanged: () => channel.updateIrq(),
      get dma() {
        return channel.dma;
      },
    };
    device.attachCable(cable, position);
  }

  /** The drive at a position. */
  at(position: 0 | 1): AtaDevice | undefined {
    return this.drives[position];
  }

  private get current(): AtaDevice | undefined {
    return this.drives[this.selected];
  }

  /** The bus master has been started. */
  dmaStarted(): void {
    this.current?.dmaStarted();
  }

  private updateIrq(): void {
    const level = (this.current?.intrq ?? false) && !(this.control & DeviceControl.nIen);
    if (level === this.intrq) return;
    this.intrq = level;
    this.onIntrq(level);
    this.irq.set(level);
  }

  private readStatus(acknowledge: boolean): number {
    return this.current?.readStatus(acknowledge) ?? 0;
  }

  private read(offset: number, size: AccessSize): number {
    if (offset === AtaReg.data) return this.current?.readData(size) ?? 0;
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + this.readRegister(offset + i);
    return value;
  }

  private readRegister(register: number): number {
    if (register === AtaReg.status) return this.readStatus(true);
    const device = this.current;
    if (device) return device.readRegister(register, (this.control & DeviceControl.hob) !== 0);
    // The device register is a latch that the other drive answers with.
    const other = this.drives[this.selected ^ 1];
    return other && register === AtaReg.device ? DeviceBits.ones | (this.selected ? DeviceBits.dev : 0) : 0;
  }

  private write(offset: number, size: AccessSize, value: number): void {
    if (offset === AtaReg.data) return this.current?.writeData(size, value);
    for (let i = 0; i < size; i++) this.writeRegister(offset + i, (value >>> (8 * i)) & 0xff);
  }

  private writeRegister(register: number, value: number): void {
    this.control &= ~DeviceControl.hob;
    if (register === AtaReg.command) return this.writeCommand(value);
    if (register === AtaReg.data || register > AtaReg.command) return;
    if (this.current?.busy) {
      this.ctx.trace.guestError(this.name, () => `register ${register} written while busy`);
      return;
    }
    for (const device of this.drives) device?.writeRegister(register, value);
    if (register === AtaReg.device) {
      this.selected = value & DeviceBits.dev ? 1 : 0;
      this.updateIrq();
    }
  }

  private writeCommand(code: number): void {
    if (code !== EXECUTE_DEVICE_DIAGNOSTIC) return this.current?.command(code);
    if (this.current?.busy) return;
    // Both drives run it; drive 0 is selected afterwards and reports.
    for (const device of this.drives) device?.softReset();
    this.selected = 0;
    this.drives[0]?.diagnosticDone();
    this.updateIrq();
  }

  private writeControl(value: number): void {
    const rising = (value & DeviceControl.srst) !== 0 && !(this.control & DeviceControl.srst);
    const falling = !(value & DeviceControl.srst) && (this.control & DeviceControl.srst) !== 0;
    this.control = value;
    if (rising) for (const device of this.drives) device?.holdReset();
    if (falling) {
      this.selected = 0;
      for (const device of this.drives) device?.softReset();
    }
    this.updateIrq();
  }

  reset(): void {
    this.selected = 0;
    this.control = 0;
    for (const device of this.drives) device?.reset();
    this.updateIrq();
  }

  save(): DeviceState {
    return {
      selected: this.selected,
      control: this.control,
      intrq: this.intrq,
      drives: this.drives.map((d) => d?.save() ?? null),
    };
  }

  restore(state: DeviceState): void {
    this.selected = state.selected as number;
    this.control = state.control as number;
    this.intrq = state.intrq as boolean;
    this.irq.level = this.intrq;
    (state.drives as (DeviceState | null)[]).forEach((s, i) => {
      if (s) this.drives[i as 0 | 1]?.restore(s);
    });
  }
}
