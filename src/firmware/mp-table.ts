/**
 * The MultiProcessor configuration table: processors and interrupt routing for systems without ACPI, for a start without
 * firmware (SeaBIOS makes its own). Systems with ACPI look for it all the same: Linux searches the BIOS area sixteen bytes at
 * a time, mapping the rest of it anew at each step, until it finds one.
 * Source: Intel MultiProcessor Specification 1.4, chapter 4.
 * Not done: extended entries; more PCI buses than one.
 */
import { ByteWriter, checksumByte } from "./bytes.js";
import { EBDA_BASE } from "./e820.js";

/** Where systems look for the floating pointer: the first kilobyte of the extended BIOS data area. */
export const MP_POINTER_BASE = EBDA_BASE;

const POINTER_BYTES = 16;
const POINTER_CHECKSUM_AT = 10;
const HEADER_LENGTH_AT = 4;
const HEADER_CHECKSUM_AT = 7;
const HEADER_COUNT_AT = 34;
/** Revision 1.4. */
const REVISION = 4;

const Entry = { processor: 0, bus: 1, ioApic: 2, interrupt: 3, localInterrupt: 4 } as const;
const Interrupt = { vectored: 0, nmi: 1, externalInt: 3 } as const;
const ProcessorFlag = { enabled: 1, boot: 2 } as const;
const IO_APIC_ENABLED = 1;
const LOCAL_APIC_VERSION = 0x14;
const ALL_LOCAL_APICS = 0xff;
/** Polarity and trigger as the bus has them; or active high, level-triggered. */
const BUS_DEFAULT = 0;
const LEVEL_HIGH = 0x0d;
const Bus = { pci: 0, isa: 1 } as const;

export interface MpConfig {
  readonly apicIds: readonly number[];
  /** CPUID 1, EAX and EDX. */
  readonly cpuSignature: number;
  readonly cpuFeatures: number;
  readonly localApicAddress: number;
  readonly ioApicId: number;
  readonly ioApicAddress: number;
  readonly ioApicVersion: number;
  /** IRQs that are level-triggered and active high: the SCI and those that PCI uses. */
  readonly levelIrqs: readonly number[];
  /** Interrupt pins of PCI functions: slot, pin (1 is INTA#), the IRQ it is routed to. */
  readonly pciInterrupts: readonly { readonly slot: number; readonly pin: number; readonly irq: number }[];
}

/** The floating pointer structure. */
export function mpPointer(tableAddress: number): Uint8Array {
  const bytes = new ByteWriter(POINTER_BYTES)
    .text("_MP_")
    .u32(tableAddress)
    .u8(POINTER_BYTES / 16, REVISION, 0)
    .zero(5)
    .finish();
  bytes[POINTER_CHECKSUM_AT] = checksumByte(bytes);
  return bytes;
}

/** The configuration table. */
export function mpTable(c: MpConfig): Uint8Array {
  const w = new ByteWriter(1024).text("PCMP").u16(0).u8(REVISION, 0).text("TANDEM", 8, 0x20).text("PC", 12, 0x20);
  w.u32(0).u16(0, 0).u32(c.localApicAddress, 0);
  let count = 0;
  const entry = (...bytes: number[]) => {
    w.u8(...bytes);
    count++;
    return w;
  };
  c.apicIds.forEach((id, i) => {
    entry(Entry.processor, id, LOCAL_APIC_VERSION, ProcessorFlag.enabled | (i === 0 ? ProcessorFlag.boot : 0))
      .u32(c.cpuSignature, c.cpuFeatures)
      .zero(8);
  });
  entry(Entry.bus, Bus.pci).text("PCI", 6, 0x20);
  entry(Entry.bus, Bus.isa).text("ISA", 6, 0x20);
  entry(Entry.ioApic, c.ioApicId, c.ioApicVersion, IO_APIC_ENABLED).u32(c.ioApicAddress);
  const interrupt = (type: number, flags: number, bus: number, irq: number, input: number) =>
    entry(Entry.interrupt, type, flags, 0, bus, irq, c.ioApicId, input);
  const pins = new Set<number>();
  for (const { slot, pin, irq } of c.pciInterrupts) {
    // Functions of a device may share a pin.
    const source = (slot << 2) | (pin - 1);
    if (pin < 1 || pin > 4 || pins.has(source)) continue;
    pins.add(source);
    interrupt(Interrupt.vectored, LEVEL_HIGH, Bus.pci, source, irq);
  }
  // The timer's IRQ 0 is on input 2, where the cascade would be.
  for (let irq = 0; irq < 16; irq++)
    if (irq !== 2)
      interrupt(Interrupt.vectored, c.levelIrqs.includes(irq) ? LEVEL_HIGH : BUS_DEFAULT, Bus.isa, irq, irq === 0 ? 2 : irq);
  entry(Entry.localInterrupt, Interrupt.externalInt, BUS_DEFAULT, 0, Bus.isa, 0, ALL_LOCAL_APICS, 0);
  entry(Entry.localInterrupt, Interrupt.nmi, BUS_DEFAULT, 0, Bus.isa, 0, ALL_LOCAL_APICS, 1);
  const bytes = w.finish();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  view.setUint16(HEADER_LENGTH_AT, bytes.length, true);
  view.setUint16(HEADER_COUNT_AT, count, true);
  bytes[HEADER_CHECKSUM_AT] = checksumByte(bytes);
  return bytes;
}
