/**
 * spapr-pci-host-bridge: a PCI bus behind a PAPR hypervisor. Configuration cycles and MSIs go through RTAS, memory and ports
 * through windows in the machine's address space, DMA through a TCE window.
 * Source: LoPAR §7.3.2 (configuration), §7.3.10.5 (ibm,change-msi); addresses as in QEMU's pseries machine.
 * Not emulated: more than one bridge, PCI-to-PCI bridges, EEH, hot-plug.
 */
import type { AddressSpace, IoHandler, Mapping } from "../../memory/address-space.js";
import type { GuestRam } from "../../memory/ram.js";
import type { DeviceState } from "../core/device.js";
import type { IrqLine } from "../core/irq.js";
import { PciBus } from "../pci/bus.js";
import type { PciDevice } from "../pci/device.js";
import { type Rtas, type RtasCall, RtasStatus } from "./rtas.js";
import { PciMemory, TceTable } from "./tce.js";

/** Bus unit id: how RTAS calls and the device tree name the bridge. */
export const PHB_BUID = { hi: 0x08000000, lo: 0x20000000 } as const;
/** Windows: bus address, system address, bytes. */
export const PHB_IO = { bus: 0, system: 0x200000000000, size: 0x10000 } as const;
export const PHB_MEM32 = { bus: 0x80000000, system: 0x200080000000, size: 0x80000000 } as const;
export const PHB_MEM64 = { bus: 0x210000000000, system: 0x210000000000, size: 0x10000000000 } as const;
export const PHB_LIOBN = 0x80000000;
export const PHB_DMA_BYTES = 0x40000000;
/** Where messages go: an address that is no memory. */
export const MSI_WINDOW = 0x40000000000;
/** INTA# to INTD# of slot 0. */
export const PHB_LSIS = 4;

/** Functions of ibm,change-msi. */
const MsiFunction = { reset: 1, msi: 3, msix: 4, msi32: 5 } as const;
const TYPE_MSIX = 2;
const EDGE = 1;

/** The part of a function's MSI-X table that the hypervisor programs. */
interface MsixMessages {
  readonly entries: number;
  setMessage(vector: number, address: number, data: number): void;
}

/** MSI-X of a function, if it has it. */
export function msixOf(device: PciDevice): MsixMessages | undefined {
  const { msix } = device as { msix?: MsixMessages };
  return msix && typeof msix.setMessage === "function" ? msix : undefined;
}

export interface PciHostOptions {
  readonly ram: GuestRam;
  readonly memory: AddressSpace;
  /** The 64 KiB of ports. */
  readonly io: AddressSpace;
  /** The four level sources. */
  readonly lsis: readonly IrqLine[];
  /** First and number of the event sources for messages. */
  readonly msiFirst: number;
  readonly msiCount: number;
}

export class SpaprPciHost {
  readonly type = "spapr-pci-host-bridge";
  readonly bus = new PciBus("pci.0", 0);
  readonly dma = new TceTable(PHB_LIOBN, PHB_DMA_BYTES);
  readonly memory: PciMemory;
  /** Source numbers that a function has been given, by devfn. */
  private readonly msis = new Map<number, { first: number; count: number }>();
  private aliases: Mapping[] = [];

  constructor(private readonly o: PciHostOptions) {
    this.memory = new PciMemory("pci@800000020000000.mmio", 2 ** 47, o.ram, o.memory, this.dma);
    o.memory.mapIo(PHB_IO.system, PHB_IO.size, window("pci@800000020000000.io", o.io, 0));
    for (const w of [PHB_MEM32, PHB_MEM64])
      o.memory.mapIo(w.system, w.size, window("pci@800000020000000.mmio-window", this.memory, w.bus));
    this.memory.changed.on(() => this.mapMemoryBars());
    // The bus counts slots from 1 as a south bridge wires them; here INTA# of slot 0 is line 0.
    this.bus.onPirq = (pirq, level) => o.lsis[(pirq + 1) % PHB_LSIS]!.set(level);
  }

  /** RAM behind base address registers (video memory) shows up in system memory as RAM. */
  private mapMemoryBars(): void {
    this.o.memory.batch(() => {
      for (const m of this.aliases) this.o.memory.unmap(m);
      this.aliases = [];
      for (const r of this.memory.ranges()) {
        const { region, base } = r.mapping;
        if (region.kind !== "ram" && region.kind !== "rom") continue;
        const w = [PHB_MEM32, PHB_MEM64].find((x) => r.start >= x.bus && r.end <= x.bus + x.size);
        if (!w) continue;
        const offset = region.offset + r.start - base;
        this.aliases.push(
          this.o.memory.map(
            r.start - w.bus + w.system,
            r.end - r.start,
            { ...region, offset },
            { priority: 1, name: r.mapping.name },
          ),
        );
      }
    });
  }

  addServices(rtas: Rtas): void {
    const read = (c: RtasCall, addr: number, size: number, bridge: boolean) => {
      c.set(1, 0xffffffff);
      const at = this.config(addr, size, bridge);
      if (!at) return RtasStatus.parameterError;
      c.set(1, this.bus.configRead(at.devfn, at.register, at.size));
      return RtasStatus.success;
    };
    const write = (addr: number, size: number, value: number, bridge: boolean) => {
      const at = this.config(addr, size, bridge);
      if (!at) return RtasStatus.parameterError;
      this.bus.configWrite(at.devfn, at.register, at.size, value);
      return RtasStatus.success;
    };
    const isMine = (c: RtasCall, hi: number) => c.args[hi] === PHB_BUID.hi && c.args[hi + 1] === PHB_BUID.lo;
    rtas.add(
      { name: "read-pci-config", args: 2, returns: 2, call: (c) => read(c, c.args[0]!, c.args[1]!, true) },
      { name: "write-pci-config", args: 3, returns: 1, call: (c) => write(c.args[0]!, c.args[1]!, c.args[2]!, true) },
      { name: "ibm,read-pci-config", args: 4, returns: 2, call: (c) => read(c, c.args[0]!, c.args[3]!, isMine(c, 1)) },
      {
        name: "ibm,write-pci-config",
        args: 5,
        returns: 1,
        call: (c) => write(c.args[0]!, c.args[3]!, c.args[4]!, isMine(c, 1)),
      },
      {
        name: "ibm,change-msi",
        args: 6,
        returns: 3,
        call: (c) => (isMine(c, 1) ? this.changeMsi(c) : RtasStatus.parameterError),
      },
      {
        name: "ibm,query-interrupt-source-number",
        args: 4,
        returns: 3,
        call: (c) => {
          const msi = this.msis.get((c.args[0]! >>> 8) & 0xff);
          if (!isMine(c, 1) || !msi || c.args[3]! >= msi.count) return RtasStatus.parameterError;
          c.set(1, msi.first + c.args[3]!);
          c.set(2, EDGE);
          return RtasStatus.success;
        },
      },
    );
  }

  /** A configuration address as RTAS writes it: bus in bits 16-23, devfn, register; bits 8-11 of the register on top. */
  private config(addr: number, size: number, mine: boolean) {
    const register = ((addr >>> 20) & 0xf00) | (addr & 0xff);
    const devfn = (addr >>> 8) & 0xff;
    if (!mine || (addr >>> 16) & 0xff || !this.bus.at(devfn)) return undefined;
    if ((size !== 1 && size !== 2 && size !== 4) || register % size || register + size > 256) return undefined;
    return { devfn, register, size: size as 1 | 2 | 4 };
  }

  private changeMsi(c: RtasCall): number {
    const devfn = (c.args[0]! >>> 8) & 0xff;
    const [, , , fn, wanted, sequence] = c.args as [number, number, number, number, number, number];
    const device = this.bus.at(devfn);
    if (!device) return RtasStatus.parameterError;
    c.set(1, 0);
    c.set(2, sequence + 1);
    const done = (count: number, type: number) => {
      c.set(1, count);
      if (c.returns > 3) c.set(3, type);
      return RtasStatus.success;
    };
    if (fn === MsiFunction.reset || wanted === 0) {
      this.release(devfn);
      return done(0, TYPE_MSIX);
    }
    const msix = msixOf(device);
    // There are no functions with plain MSI.
    if (fn !== MsiFunction.msix || !msix) return RtasStatus.parameterError;
    const count = Math.min(wanted, msix.entries);
    this.release(devfn);
    const first = this.allocate(count);
    if (first === undefined) return RtasStatus.hardwareError;
    this.msis.set(devfn, { first, count });
    for (let i = 0; i < count; i++) msix.setMessage(i, MSI_WINDOW, first + i);
    return done(count, TYPE_MSIX);
  }

  private release(devfn: number): void {
    const msix = msixOf(this.bus.at(devfn)!);
    const had = this.msis.get(devfn);
    if (msix && had) for (let i = 0; i < had.count; i++) msix.setMessage(i, 0, 0);
    this.msis.delete(devfn);
  }

  /** The first gap of so many source numbers. */
  private allocate(count: number): number | undefined {
    const { msiFirst, msiCount } = this.o;
    const used = [...this.msis.values()].sort((a, b) => a.first - b.first);
    let first = msiFirst;
    for (const u of used) {
      if (first + count <= u.first) break;
      first = u.first + u.count;
    }
    return first + count <= msiFirst + msiCount ? first : undefined;
  }

  reset(): void {
    this.msis.clear();
    this.dma.reset();
  }

  save(): DeviceState {
    return { bus: this.bus.save(), dma: this.dma.save(), msis: [...this.msis].map(([d, m]) => [d, m.first, m.count]) };
  }

  restore(state: DeviceState): void {
    this.bus.restore(state.bus as DeviceState);
    this.dma.restore(state.dma as DeviceState);
    this.msis.clear();
    for (const [d, first, count] of state.msis as [number, number, number][]) this.msis.set(d, { first, count });
  }
}

/** System memory's view of a bus. */
function window(name: string, space: AddressSpace, base: number): IoHandler {
  return {
    name,
    read: (offset, size) => space.read(base + offset, size),
    write: (offset, size, value) => space.write(base + offset, size, value),
  };
}
