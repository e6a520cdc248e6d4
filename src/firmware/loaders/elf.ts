/**
 * ELF executables for x86, 32 and 64 bits: what a loader needs of them.
 * Source: System V ABI, "Object Files" (gABI 4.1), chapters 4 and 5.
 * Not read: section headers, symbols, relocations, program header counts over 65534 (PN_XNUM).
 */
import { ImageReader, type ImageSource, imageError, type Layout } from "./image.js";

/** Machines that people are likely to try, by e_machine. */
const MACHINE_NAMES: Readonly<Record<number, string>> = {
  2: "SPARC",
  3: "x86 (32-bit)",
  4: "Motorola 68000",
  8: "MIPS",
  20: "PowerPC (32-bit)",
  21: "PowerPC (64-bit)",
  22: "IBM S/390",
  40: "ARM (32-bit)",
  43: "SPARC V9",
  50: "Itanium",
  62: "x86-64",
  183: "ARM (64-bit)",
  243: "RISC-V",
  258: "LoongArch",
};

export const ElfMachine = { i386: 3, x86_64: 62 } as const;

const ElfClass = { bits32: 1, bits64: 2 } as const;
const ELF_BIG_ENDIAN = 2;
const SegmentType = { load: 1, note: 4 } as const;
/** Segments a loadable image may have; real ones have a handful. */
export const ELF_MAX_SEGMENTS = 128;

export interface ElfSegment {
  readonly fileOffset: number;
  readonly virtualAddress: number;
  readonly physicalAddress: number;
  readonly fileSize: number;
  readonly memorySize: number;
}

export interface ElfImage {
  readonly bits: 32 | 64;
  readonly machine: number;
  /** May be a virtual address. */
  readonly entry: number;
  readonly loads: readonly ElfSegment[];
  readonly notes: readonly ElfSegment[];
}

/** Whether the bytes begin as an ELF file does. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

/**
 * Reads headers and checks that every segment's bytes are in the file.
 * @throws VmError "image/bad-format", "image/truncated", "image/wrong-architecture"
 */
export function parseElf(image: ImageSource): ElfImage {
  const r = new ImageReader(image);
  if (!isElf(image.bytes)) throw imageError(image, "image/bad-format", "not an ELF file");
  const cls = r.u8(4);
  const bigEndian = r.u8(5) === ELF_BIG_ENDIAN;
  const machine = bigEndian ? r.u8(18) * 256 + r.u8(19) : r.u16(18);
  if (bigEndian || (machine !== ElfMachine.i386 && machine !== ElfMachine.x86_64))
    throw imageError(
      image,
      "image/wrong-architecture",
      `an ELF image for ${MACHINE_NAMES[machine] ?? `machine ${machine}`}${bigEndian ? ", big-endian" : ""}; this machine is x86`,
    );
  if (cls !== ElfClass.bits32 && cls !== ElfClass.bits64) throw imageError(image, "image/bad-format", `ELF class ${cls}`);
  const wide = cls === ElfClass.bits64;
  const entry = wide ? r.u64(24) : r.u32(24);
  const table = wide ? r.u64(32) : r.u32(28);
  const entrySize = r.u16(wide ? 54 : 42);
  const count = r.u16(wide ? 56 : 44);
  if (count === 0) throw imageError(image, "image/bad-format", "an ELF file without program headers (not an executable)");
  if (count > ELF_MAX_SEGMENTS) throw imageError(image, "image/bad-format", `${count} ELF program headers`);
  if (entrySize < (wide ? 56 : 32)) throw imageError(image, "image/bad-format", `ELF program headers of ${entrySize} bytes`);
  const loads: ElfSegment[] = [];
  const notes: ElfSegment[] = [];
  for (let i = 0; i < count; i++) {
    const at = table + i * entrySize;
    const type = r.u32(at);
    const segment = wide
      ? {
          fileOffset: r.u64(at + 8),
          virtualAddress: r.u64(at + 16),
          physicalAddress: r.u64(at + 24),
          fileSize: r.u64(at + 32),
          memorySize: r.u64(at + 40),
        }
      : {
          fileOffset: r.u32(at + 4),
          virtualAddress: r.u32(at + 8),
          physicalAddress: r.u32(at + 12),
          fileSize: r.u32(at + 16),
          memorySize: r.u32(at + 20),
        };
    if (type !== SegmentType.load && type !== SegmentType.note) continue;
    r.bytes(segment.fileOffset, segment.fileSize);
    if (type === SegmentType.note) notes.push(segment);
    else {
      if (segment.memorySize < segment.fileSize)
        throw imageError(image, "image/bad-format", "an ELF segment is smaller in memory than in the file");
      if (segment.memorySize > 0) loads.push(segment);
    }
  }
  if (loads.length === 0) throw imageError(image, "image/bad-format", "an ELF file with nothing to load");
  return { bits: wide ? 64 : 32, machine, entry, loads, notes };
}

/**
 * Puts the loadable segments at their physical addresses.
 * @returns lowest address and first address behind
 * @throws VmError "image/too-large"
 */
export function layoutElf(layout: Layout, image: ImageSource, elf: ElfImage, owner: string): { start: number; end: number } {
  let start = Number.POSITIVE_INFINITY;
  let end = 0;
  let total = 0;
  for (const s of elf.loads) {
    // Claimed first: the whole of it must fit before a byte of it is prepared.
    layout.claim(image, owner, s.physicalAddress, s.memorySize);
    total += s.memorySize;
    if (total > 2 ** 32) throw imageError(image, "image/too-large", "ELF segments of more than 4 GiB together");
    layout.put(image, owner, s.physicalAddress, image.bytes.subarray(s.fileOffset, s.fileOffset + s.fileSize));
    layout.putZero(image, owner, s.physicalAddress + s.fileSize, s.memorySize - s.fileSize);
    start = Math.min(start, s.physicalAddress);
    end = Math.max(end, s.physicalAddress + s.memorySize);
  }
  return { start, end };
}

/**
 * The bytes of a note, by owner name and type.
 * Each note is bounded by its segment, so the walk ends with the file.
 */
export function findNote(image: ImageSource, elf: ElfImage, name: string, type: number): Uint8Array | undefined {
  const r = new ImageReader(image);
  for (const s of elf.notes) {
    let at = s.fileOffset;
    const end = s.fileOffset + s.fileSize;
    while (at + 12 <= end) {
      const nameSize = r.u32(at);
      const descSize = r.u32(at + 4);
      const nameAt = at + 12;
      const descAt = nameAt + Math.ceil(nameSize / 4) * 4;
      const next = descAt + Math.ceil(descSize / 4) * 4;
      if (descAt + descSize > end) break;
      if (r.u32(at + 8) === type && r.text(nameAt, nameSize) === name) return r.bytes(descAt, descSize);
      at = next;
    }
  }
  return undefined;
}
