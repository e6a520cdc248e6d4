/**
 * Resource descriptors and templates: what `_CRS`, `_PRS` hold.
 * Source: ACPI 6.4, 6.4 "Resource Data Types for ACPI".
 */
import { ByteWriter, checksumByte } from "../bytes.js";
import { type Aml, buffer, concat } from "./aml.js";

/** A descriptor's bytes. */
export type Resource = Uint8Array;

/** `IO(Decode16, min, max, align, length)` (6.4.2.5). */
export function ioPorts(min: number, length: number, max = min, align = 1): Resource {
  return new ByteWriter(8).u8(0x47, 1).u16(min, max).u8(align, length).finish();
}

/** `IRQNoFlags { irqs }`: edge, active high, exclusive (6.4.2.1). */
export function irqNoFlags(...irqs: number[]): Resource {
  return new ByteWriter(3)
    .u8(0x22)
    .u16(irqs.reduce((m, i) => m | (1 << i), 0))
    .finish();
}

/** `DMA(Compatibility, NotBusMaster, Transfer8) { channel }` (6.4.2.2). */
export function dmaChannel(channel: number): Resource {
  return Uint8Array.of(0x2a, 1 << channel, 0);
}

/** `Interrupt(ResourceConsumer, Level, ActiveHigh, Shared) { irqs }` (6.4.3.6); the first number is at byte 5. */
export function levelInterrupt(...irqs: number[]): Resource {
  return new ByteWriter(16)
    .u8(0x89)
    .u16(2 + 4 * irqs.length)
    .u8(0x09, irqs.length)
    .u32(...irqs)
    .finish();
}

/** Byte offset of the first interrupt number in `levelInterrupt`. */
export const LEVEL_INTERRUPT_NUMBER = 5;

/** `Memory32Fixed(ReadWrite, base, length)` (6.4.3.4). */
export function memory32Fixed(base: number, length: number, writable = true): Resource {
  return new ByteWriter(12)
    .u8(0x86)
    .u16(9)
    .u8(writable ? 1 : 0)
    .u32(base, length)
    .finish();
}

const SpaceType = { memory: 0, io: 1, bus: 2 } as const;
/** Minimum and maximum fixed, positive decode, producer. */
const FIXED_RANGE = 0x0c;
const IO_ENTIRE_RANGE = 3;
const MEMORY_READ_WRITE = 1;
const MEMORY_CACHEABLE = 2;

function word(type: number, typeFlags: number, min: number, max: number): Resource {
  return new ByteWriter(16)
    .u8(0x88)
    .u16(13)
    .u8(type, FIXED_RANGE, typeFlags)
    .u16(0, min, max, 0, max - min + 1)
    .finish();
}

/** `WordBusNumber`: a bridge's buses, first and last (6.4.3.5.3). */
export const busRange = (first: number, last: number): Resource => word(SpaceType.bus, 0, first, last);

/** `WordIO`: ports a bridge passes on, first and last; the last may not make it 64 KiB in all. */
export const ioWindow = (first: number, last: number): Resource => word(SpaceType.io, IO_ENTIRE_RANGE, first, last);

/** `DWordMemory`: memory a bridge passes on (6.4.3.5.2). */
export function memoryWindow32(first: number, last: number, cacheable: boolean): Resource {
  return new ByteWriter(26)
    .u8(0x87)
    .u16(23)
    .u8(SpaceType.memory, FIXED_RANGE, MEMORY_READ_WRITE | (cacheable ? MEMORY_CACHEABLE : 0))
    .u32(0, first, last, 0, last - first + 1)
    .finish();
}

/** `QWordMemory`: memory above 4 GiB that a bridge passes on (6.4.3.5.1). */
export function memoryWindow64(first: number, last: number, cacheable: boolean): Resource {
  return new ByteWriter(46)
    .u8(0x8a)
    .u16(43)
    .u8(SpaceType.memory, FIXED_RANGE, MEMORY_READ_WRITE | (cacheable ? MEMORY_CACHEABLE : 0))
    .u64(0, first, last, 0, last - first + 1)
    .finish();
}

/** `ResourceTemplate() { descriptors }`: a buffer that ends in an end tag with its checksum (6.4.2.9). */
export function resourceTemplate(...descriptors: Resource[]): Aml {
  const body = concat(...descriptors, Uint8Array.of(0x79));
  return buffer(concat(body, Uint8Array.of(checksumByte(body))));
}
