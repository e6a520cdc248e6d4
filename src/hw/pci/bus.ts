/**
 * A conventional PCI bus: 32 slots of 8 functions, type 0 configuration cycles, and the INTx# wires down to the four
 * PIRQ lines of the south bridge.
 * Source: PCI Local Bus 3.0 §2.2.6 (interrupts), §3.2.2.3.4 (device selection), §6.2.1 (multi-function bit).
 * Not emulated: PCI-to-PCI bridges (there is bus 0 only), special cycles, parity and SERR#.
 */
import { VmError } from "../../base/errors.js";
import type { DeviceState, StateValue } from "../core/device.js";
import { type PciDevice, PciReg } from "./device.js";

const SLOTS = 32;
const FUNCTIONS = 8;
const MULTIFUNCTION = 0x80;

/** Where and how a function is attached. */
export interface PciAttachOptions {
  /** slot << 3 | function; without it, function 0 of the first free slot is taken. */
  readonly devfn?: number | undefined;
  /** `multifunction=on`: other functions may share the slot (given on function 0). */
  readonly multifunction?: boolean | undefined;
}

/** Makes a devfn out of a slot (0-31) and a function (0-7). */
export function pciDevfn(slot: number, fn = 0): number {
  return (slot << 3) | fn;
}

/**
 * Parses a slot as in `addr=`: "05", "5.1", "0x1f.7"; slot and function are hexadecimal.
 * @throws VmError "device/invalid-property"
 */
export function parsePciAddress(text: string): number {
  const m = /^(?:0x)?([0-9a-f]{1,2})(?:\.(?:0x)?([0-7]))?$/i.exec(text);
  const slot = m ? Number.parseInt(m[1]!, 16) : SLOTS;
  if (!m || slot >= SLOTS)
    throw new VmError("device/invalid-property", `Parameter 'addr' expects slot[.function] with slot 0-1f, not '${text}'`);
  return pciDevfn(slot, m[2] ? Number.parseInt(m[2], 16) : 0);
}

/** The name of a devfn as people write it: "03.0". */
export function formatPciAddress(devfn: number): string {
  return `${(devfn >> 3).toString(16).padStart(2, "0")}.${devfn & 7}`;
}

/** The bus. The board sets `onPirq` to the south bridge. */
export class PciBus {
  private readonly functions: (PciDevice | undefined)[] = new Array(SLOTS * FUNCTIONS).fill(undefined);
  private readonly multifunction = new Set<number>();
  /** Levels of INTA#-INTD# as driven by each function, one bit a pin. */
  private readonly pinLevels = new Uint8Array(SLOTS * FUNCTIONS);
  /** How many pins hold each PIRQ high. */
  private readonly pirqCount = [0, 0, 0, 0];
  /** Receives the level of PIRQA#-PIRQD# (0-3) when it changes. */
  onPirq: (pirq: number, level: boolean) => void = () => {};

  constructor(
    readonly name = "pci.0",
    readonly number = 0,
  ) {}

  /**
   * Puts a function into its place; it answers configuration cycles from here on.
   * @throws VmError "device/invalid-property" when the place is taken or the slot's multi-function rules forbid it,
   *   "device/no-bus" when the bus is full
   */
  attach(device: PciDevice, options: PciAttachOptions = {}): number {
    const devfn = options.devfn ?? this.freeDevfn(device);
    if (!(devfn >= 0 && devfn < SLOTS * FUNCTIONS))
      throw new VmError("device/invalid-property", `PCI: ${device.type}: there is no slot for devfn ${devfn}`);
    const there = this.functions[devfn];
    if (there)
      throw new VmError(
        "device/invalid-property",
        `PCI: slot ${formatPciAddress(devfn)} is in use by ${there.id ?? there.type}, ${device.id ?? device.type} cannot use it`,
      );
    this.checkMultifunction(devfn, device, options.multifunction ?? false);
    this.functions[devfn] = device;
    if (options.multifunction) this.multifunction.add(devfn);
    device.attach({ bus: this.number, devfn, setIrq: (pin, level) => this.setPin(devfn, pin, level) });
    return devfn;
  }

  private freeDevfn(device: PciDevice): number {
    for (let devfn = 0; devfn < SLOTS * FUNCTIONS; devfn += FUNCTIONS) {
      if (this.functions.slice(devfn, devfn + FUNCTIONS).every((f) => !f)) return devfn;
    }
    throw new VmError("device/no-bus", `PCI: no slot is free on ${this.name} for ${device.id ?? device.type}`);
  }

  private checkMultifunction(devfn: number, device: PciDevice, multifunction: boolean): void {
    const slot = devfn & ~7;
    const who = device.id ?? device.type;
    if (devfn & 7) {
      const first = this.functions[slot];
      if (first && !this.multifunction.has(slot))
        throw new VmError(
          "device/invalid-property",
          `PCI: single function device ${first.id ?? first.type} in slot ${formatPciAddress(slot)}: function ${devfn & 7} cannot be ${who}`,
        );
    } else if (!multifunction && this.functions.slice(slot, slot + FUNCTIONS).some((f) => f)) {
      throw new VmError(
        "device/invalid-property",
        `PCI: slot ${formatPciAddress(slot)} has other functions; ${who} needs multifunction=on`,
      );
    }
  }

  /** Hot unplug: unmaps the function's BARs, lets go of its interrupt and empties its place. */
  detach(device: PciDevice): void {
    const devfn = this.functions.indexOf(device);
    if (devfn < 0) return;
    device.dispose();
    for (let pin = 0; pin < 4; pin++) this.setPin(devfn, pin, false);
    this.functions[devfn] = undefined;
    this.multifunction.delete(devfn);
  }

  /** The function at a place, if any. */
  at(devfn: number): PciDevice | undefined {
    return this.functions[devfn];
  }

  /** All functions in the order of their devfn. */
  devices(): PciDevice[] {
    return this.functions.filter((f) => f !== undefined);
  }

  /** A type 0 configuration read; all ones when nobody answers. */
  configRead(devfn: number, offset: number, size: 1 | 2 | 4): number {
    const device = this.functions[devfn & 0xff];
    if (!device) return size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff;
    let value = device.configRead(offset, size);
    const at = PciReg.headerType - offset;
    if (at >= 0 && at < size && this.multifunction.has(devfn)) value = (value | (MULTIFUNCTION << (8 * at))) >>> 0;
    return value;
  }

  /** A type 0 configuration write. */
  configWrite(devfn: number, offset: number, size: 1 | 2 | 4, value: number): void {
    this.functions[devfn & 0xff]?.configWrite(offset, size, value);
  }

  /** The PIRQ line (0-3) that a function's interrupt pin (0 = INTA#) is wired to: pins rotate by slot, slot 1 is straight. */
  pirqOf(devfn: number, pin: number): number {
    return (pin + (devfn >> 3) - 1) & 3;
  }

  private setPin(devfn: number, pin: number, level: boolean): void {
    const bit = 1 << pin;
    if (((this.pinLevels[devfn]! & bit) !== 0) === level) return;
    this.pinLevels[devfn]! ^= bit;
    const pirq = this.pirqOf(devfn, pin);
    const count = this.pirqCount[pirq]! + (level ? 1 : -1);
    this.pirqCount[pirq] = count;
    if (level ? count === 1 : count === 0) this.onPirq(pirq, level);
  }

  /** Resets every function. */
  reset(): void {
    for (const f of this.devices()) f.reset();
  }

  /** The wires only; functions are saved as devices of the machine. */
  save(): DeviceState {
    const pins: StateValue[] = [];
    this.pinLevels.forEach((levels, devfn) => {
      if (levels) pins.push([devfn, levels]);
    });
    return { pins };
  }

  restore(state: DeviceState): void {
    this.pinLevels.fill(0);
    this.pirqCount.fill(0);
    for (const [devfn, levels] of state.pins as [number, number][]) {
      if (!(devfn >= 0 && devfn < SLOTS * FUNCTIONS)) continue;
      this.pinLevels[devfn] = levels & 15;
      for (let pin = 0; pin < 4; pin++) if (levels & (1 << pin)) this.pirqCount[this.pirqOf(devfn, pin)]!++;
    }
  }
}
