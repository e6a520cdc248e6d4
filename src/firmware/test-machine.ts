/** For this folder's tests: a memory with a hole and a device, ports, a trace that collects, and images made by hand. */
import { Trace } from "../base/trace.js";
import { AddressSpace } from "../memory/address-space.js";
import { GuestRam } from "../memory/ram.js";
import { ByteWriter } from "./bytes.js";
import { directE820, type E820Entry } from "./e820.js";
import type { ImageSource } from "./loaders/image.js";

export const RAM_BYTES = 64 * 2 ** 20;
/** A register block of four bytes right above RAM, then nothing. */
export const MMIO_BASE = RAM_BYTES;

export interface TestMachine {
  readonly memory: AddressSpace;
  readonly io: AddressSpace;
  readonly trace: Trace;
  readonly errors: string[];
  readonly map: E820Entry[];
  /** Bytes that reached the device at `MMIO_BASE`. */
  readonly mmioWrites: number[];
  bytes(address: number, length: number): Uint8Array;
}

export function testMachine(): TestMachine {
  const ram = new GuestRam(0, RAM_BYTES, false);
  const block = ram.allocate("ram", RAM_BYTES);
  const memory = new AddressSpace("memory", 2 ** 40, ram);
  memory.map(0, RAM_BYTES, { kind: "ram", block, offset: 0 });
  const mmioWrites: number[] = [];
  memory.mapIo(MMIO_BASE, 4096, { name: "mmio", read: () => 0, write: (_o, _s, v) => void mmioWrites.push(v) });
  const errors: string[] = [];
  const trace = new Trace();
  trace.enable("guest_errors");
  trace.sink = (line) => void errors.push(line);
  return {
    memory,
    io: new AddressSpace("io", 65536, ram),
    trace,
    errors,
    map: directE820(RAM_BYTES, 0),
    mmioWrites,
    bytes: (address, length) => {
      const out = new Uint8Array(length);
      memory.readBytes(address, out);
      return out;
    },
  };
}

export function image(bytes: Uint8Array, option = "-kernel", name = "file"): ImageSource {
  return { option, name, bytes };
}

/** An ELF file of one segment and, if given, a PVH note. Fields can be overridden for hostile variants. */
export interface ElfShape {
  bits?: 32 | 64;
  machine?: number;
  bigEndian?: boolean;
  entry?: number;
  address?: number;
  virtualAddress?: number;
  code?: Uint8Array;
  fileSize?: number;
  memorySize?: number;
  fileOffset?: number;
  segments?: number;
  headerSize?: number;
  pvhEntry?: number;
  noteNameSize?: number;
}

export function makeElf(shape: ElfShape = {}): Uint8Array {
  const bits = shape.bits ?? 64;
  const wide = bits === 64;
  const code = shape.code ?? Uint8Array.of(0xf4, 0xeb, 0xfd);
  const address = shape.address ?? 0x200000;
  const headerBytes = wide ? 64 : 52;
  const entryBytes = wide ? 56 : 32;
  const table = headerBytes;
  const noteAt = table + 2 * entryBytes;
  const codeAt = noteAt + 32;
  const w = new ByteWriter(1024);
  w.u8(0x7f)
    .text("ELF")
    .u8(wide ? 2 : 1, shape.bigEndian ? 2 : 1, 1)
    .zero(9);
  const machine = shape.machine ?? (wide ? 62 : 3);
  if (shape.bigEndian) w.u16be(2).u16be(machine);
  else w.u16(2, machine);
  w.u32(1);
  const word = (...v: number[]) => (wide ? w.u64(...v) : w.u32(...v));
  word(shape.entry ?? address, table, 0);
  w.u32(0).u16(headerBytes, shape.headerSize ?? entryBytes, shape.segments ?? 2, 0, 0, 0);
  const segment = (type: number, offset: number, virtual: number, physical: number, file: number, memory: number) => {
    if (wide) w.u32(type, 7).u64(offset, virtual, physical, file, memory, 4096);
    else w.u32(type, offset, virtual, physical, file, memory, 7, 4096);
  };
  segment(
    1,
    shape.fileOffset ?? codeAt,
    shape.virtualAddress ?? address,
    address,
    shape.fileSize ?? code.length,
    shape.memorySize ?? code.length,
  );
  segment(4, noteAt, 0, 0, 24, 24);
  w.u32(shape.noteNameSize ?? 4, 4, shape.pvhEntry === undefined ? 1 : 18)
    .text("Xen", 4)
    .u32(shape.pvhEntry ?? 0)
    .zero(8 + 4);
  return w.bytes(code).finish();
}

/** A bzImage with `kernel` behind one setup sector. Fields are those of the setup header, by offset and size. */
export function makeBzImage(
  kernel: Uint8Array,
  fields: readonly (readonly [offset: number, size: 1 | 2 | 4, value: number])[] = [],
): Uint8Array {
  const bytes = new Uint8Array(1024 + kernel.length);
  const view = new DataView(bytes.buffer);
  const put = (offset: number, size: 1 | 2 | 4, value: number) => {
    if (size === 1) view.setUint8(offset, value);
    else if (size === 2) view.setUint16(offset, value, true);
    else view.setUint32(offset, value, true);
  };
  const defaults: typeof fields = [
    [0x1f1, 1, 1],
    [0x1f4, 4, kernel.length >> 4],
    [0x1fe, 2, 0xaa55],
    [0x200, 2, 0x66eb],
    [0x202, 4, 0x53726448],
    [0x206, 2, 0x20f],
    [0x211, 1, 1],
    [0x214, 4, 0x100000],
    [0x22c, 4, 0x7fffffff],
    [0x236, 2, 1],
    [0x238, 4, 2047],
    [0x258, 4, 0x1000000],
    [0x260, 4, 0x100000],
  ];
  for (const [o, s, v] of [...defaults, ...fields]) put(o, s, v);
  bytes.set(kernel, 1024);
  return bytes;
}
