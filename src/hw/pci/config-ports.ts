/**
 * PCI configuration mechanism #1: CONFIG_ADDRESS at 0xcf8 and CONFIG_DATA at 0xcfc.
 * Source: PCI Local Bus 3.0 §3.2.2.3.2; Intel 82441FX datasheet §3.1; Intel 82371SB (PIIX3) §2.3.1 for port 0xcf9.
 * Not emulated: type 1 cycles (buses other than 0 read all ones), mechanism #2.
 */
import type { AccessSize, AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Device, DeviceState } from "../core/device.js";
import type { PciBus } from "./bus.js";

const ENABLE = 0x80000000;
const CONFIG_ADDRESS_MASK = 0x80fffffc;
const RESET_CONTROL = 1;

/** The one-byte register at 0xcf9, which lies inside CONFIG_ADDRESS but belongs to the south bridge. */
export interface ResetControlPort {
  read(): number;
  write(value: number): void;
}

/**
 * The two registers. Only dword accesses reach CONFIG_ADDRESS; a byte at 0xcf9 goes to `resetControl`; everything else in
 * 0xcf8-0xcfb floats.
 */
export class PciConfigPorts implements Device {
  readonly type = "i440FX-pcihost";
  private address = 0;
  resetControl: ResetControlPort | undefined;

  private readonly addressPort: IoHandler = {
    name: "pci-conf-idx",
    read: (offset, size) => this.readAddress(offset, size),
    write: (offset, size, value) => this.writeAddress(offset, size, value),
  };
  private readonly dataPort: IoHandler = {
    name: "pci-conf-data",
    read: (offset, size) => this.readData(offset, size),
    write: (offset, size, value) => this.writeData(offset, size, value),
  };

  constructor(
    private readonly bus: PciBus,
    io: AddressSpace,
  ) {
    io.mapIo(0xcf8, 4, this.addressPort);
    io.mapIo(0xcfc, 4, this.dataPort);
  }

  private readAddress(offset: number, size: AccessSize): number {
    if (size === 4) return this.address;
    if (size === 1 && offset === RESET_CONTROL && this.resetControl) return this.resetControl.read();
    return size === 2 ? 0xffff : 0xff;
  }

  private writeAddress(offset: number, size: AccessSize, value: number): void {
    if (size === 4) this.address = (value & CONFIG_ADDRESS_MASK) >>> 0;
    else if (size === 1 && offset === RESET_CONTROL) this.resetControl?.write(value);
  }

  /** Bus, devfn and register that CONFIG_ADDRESS names, or undefined when the data port is off or nobody is there. */
  private target(): { devfn: number; register: number } | undefined {
    const a = this.address;
    if ((a & ENABLE) === 0 || ((a >>> 16) & 0xff) !== this.bus.number) return undefined;
    return { devfn: (a >>> 8) & 0xff, register: a & 0xfc };
  }

  private readData(offset: number, size: AccessSize): number {
    const t = this.target();
    return t ? this.bus.configRead(t.devfn, t.register + offset, size) : size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff;
  }

  private writeData(offset: number, size: AccessSize, value: number): void {
    const t = this.target();
    if (t) this.bus.configWrite(t.devfn, t.register + offset, size, value);
  }

  reset(): void {
    this.address = 0;
  }

  save(): DeviceState {
    return { address: this.address };
  }

  restore(state: DeviceState): void {
    this.address = state.address as number;
  }
}
