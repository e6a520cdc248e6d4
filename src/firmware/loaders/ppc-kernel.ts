/**
 * Kernels of 64-bit PowerPC partitions: ELF executables, little or big endian, and those packed with gzip, xz, Zstandard or
 * LZ4, which are unpacked here.
 * Not started: Linux's boot wrappers (zImage.pseries), which are 32-bit ELF programs for Open Firmware; Debian's kernels are
 * plain ELF files.
 * Source: 64-Bit ELF V2 ABI (OpenPOWER) §4; Linux Documentation/powerpc/bootwrapper, booting.
 */
import { isElf } from "./elf.js";
import { type ImageSource, imageError, sizeText } from "./image.js";
import { gunzip, isGzip } from "./inflate.js";
import { isLz4Legacy, unpackLz4Legacy } from "./lz4.js";
import { isXz, unpackXz } from "./xz.js";
import { isZstd, unpackZstd } from "./zstd.js";

/** What a packed kernel may unpack to. */
export const UNPACKED_MAX = 512 * 2 ** 20;
const MAX_SEGMENTS = 128;

const Elf = { bits32: 1, bits64: 2, little: 1, big: 2, ppc: 20, ppc64: 21, load: 1 } as const;
const MACHINES: { readonly [machine: number]: string } = {
  3: "x86 (32-bit)",
  8: "MIPS",
  22: "IBM S/390",
  40: "ARM (32-bit)",
  62: "x86-64",
  183: "ARM (64-bit)",
  243: "RISC-V",
};
/** Linux links its kernels at 0xc000000000000000; the lower bits are the address in memory. */
const ADDRESS_MASK = 0x0fffffffn;

export interface PpcSegment {
  /** From the image's first byte. */
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly memorySize: number;
}

export interface PpcKernel {
  readonly littleEndian: boolean;
  /** From the image's first byte. */
  readonly entry: number;
  readonly segments: readonly PpcSegment[];
  /** Bytes in memory, from the first byte to the end of the last segment. */
  readonly size: number;
}

/** Beginnings of files that are something else. */
const FOREIGN: readonly { readonly at: number; readonly bytes: readonly number[]; readonly what: string }[] = [
  { at: 0x202, bytes: [0x48, 0x64, 0x72, 0x53], what: "an x86 Linux kernel (bzImage); this machine is PowerPC" },
  { at: 0x38, bytes: [0x41, 0x52, 0x4d, 0x64], what: "an ARM (64-bit) Linux image; this machine is PowerPC" },
  { at: 0x30, bytes: [0x52, 0x49, 0x53, 0x43, 0x56], what: "a RISC-V Linux image; this machine is PowerPC" },
  { at: 0, bytes: [0x27, 0x05, 0x19, 0x56], what: "a U-Boot image; pseries starts ELF kernels" },
  { at: 0, bytes: [0x51, 0x46, 0x49, 0xfb], what: "a qcow2 disk image; use it with -drive" },
];

/** Unpacks a kernel file if it is packed. @throws VmError "image/bad-format" when the packed data are damaged */
function unpack(image: ImageSource): ImageSource {
  const { bytes } = image;
  const how = isGzip(bytes)
    ? gunzip
    : isXz(bytes)
      ? unpackXz
      : isZstd(bytes)
        ? unpackZstd
        : isLz4Legacy(bytes)
          ? unpackLz4Legacy
          : undefined;
  if (!how) return image;
  const out = how(bytes, UNPACKED_MAX);
  if (!out) throw imageError(image, "image/bad-format", `the packed kernel is damaged or larger than ${sizeText(UNPACKED_MAX)}`);
  return { ...image, bytes: out };
}

/**
 * Reads a kernel file.
 * @throws VmError "image/bad-format", "image/truncated", "image/wrong-architecture", "image/too-large"
 */
export function parsePpcKernel(file: ImageSource): PpcKernel {
  if (file.bytes.length === 0) throw imageError(file, "image/truncated", "the file is empty");
  const image = unpack(file);
  const { bytes } = image;
  if (!isElf(bytes)) {
    const foreign = FOREIGN.find((f) => f.bytes.every((b, i) => bytes[f.at + i] === b));
    throw imageError(
      image,
      foreign ? "image/wrong-architecture" : "image/bad-format",
      foreign?.what ?? "not a kernel (an ELF file for 64-bit PowerPC, or one packed with gzip, xz, zstd or lz4)",
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const need = (end: number) => {
    if (!(end <= bytes.length)) throw imageError(image, "image/truncated", `needs ${end} bytes, the file has ${bytes.length}`);
  };
  need(52);
  const elfClass = bytes[4]!;
  const data = bytes[5]!;
  if ((elfClass !== Elf.bits32 && elfClass !== Elf.bits64) || (data !== Elf.little && data !== Elf.big))
    throw imageError(image, "image/bad-format", `ELF class ${elfClass}, data encoding ${data}`);
  const le = data === Elf.little;
  const wide = elfClass === Elf.bits64;
  const machine = view.getUint16(18, le);
  const order = le ? "little" : "big";
  if (machine !== Elf.ppc64 && machine !== Elf.ppc)
    throw imageError(
      image,
      "image/wrong-architecture",
      `an ELF image for ${MACHINES[machine] ?? `machine ${machine}`}, ${order}-endian; this machine is 64-bit PowerPC`,
    );
  if (!wide || machine === Elf.ppc)
    throw imageError(
      image,
      "image/wrong-architecture",
      `a 32-bit PowerPC image, ${order}-endian; pseries starts 64-bit kernels (the vmlinux, not a zImage wrapper)`,
    );
  need(64);
  const u64 = (at: number) => view.getBigUint64(at, le);
  const entry = u64(24);
  const table = Number(u64(32));
  const entrySize = view.getUint16(54, le);
  const count = view.getUint16(56, le);
  if (count === 0) throw imageError(image, "image/bad-format", "an ELF file without program headers (not an executable)");
  if (count > MAX_SEGMENTS) throw imageError(image, "image/bad-format", `${count} ELF program headers`);
  if (entrySize < 56) throw imageError(image, "image/bad-format", `ELF program headers of ${entrySize} bytes`);
  need(table + count * entrySize);
  const loads: { virtual: bigint; physical: bigint; bytes: Uint8Array; memorySize: number }[] = [];
  for (let i = 0; i < count; i++) {
    const at = table + i * entrySize;
    if (view.getUint32(at, le) !== Elf.load) continue;
    const from = Number(u64(at + 8));
    const fileSize = Number(u64(at + 32));
    const memorySize = Number(u64(at + 40));
    need(from + fileSize);
    if (memorySize < fileSize)
      throw imageError(image, "image/bad-format", "an ELF segment is smaller in memory than in the file");
    if (memorySize > 2 ** 32) throw imageError(image, "image/too-large", `an ELF segment of ${sizeText(memorySize)}`);
    if (memorySize === 0) continue;
    loads.push({
      virtual: u64(at + 16),
      physical: u64(at + 24) & ADDRESS_MASK,
      bytes: bytes.subarray(from, from + fileSize),
      memorySize,
    });
  }
  if (loads.length === 0) throw imageError(image, "image/bad-format", "an ELF file with nothing to load");
  // A kernel's place is free, so only distances count.
  const base = loads.reduce((n, l) => (l.physical < n ? l.physical : n), loads[0]!.physical);
  const inside = loads.find((l) => entry >= l.virtual && entry < l.virtual + BigInt(l.memorySize));
  if (!inside) throw imageError(image, "image/bad-format", `the entry 0x${entry.toString(16)} lies in no segment`);
  const segments = loads.map((l) => ({ offset: Number(l.physical - base), bytes: l.bytes, memorySize: l.memorySize }));
  return {
    littleEndian: le,
    entry: Number(inside.physical - base + (entry - inside.virtual)),
    segments,
    size: segments.reduce((n, s) => Math.max(n, s.offset + s.memorySize), 0),
  };
}
