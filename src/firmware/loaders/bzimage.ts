/**
 * Linux kernels in bzImage (and old zImage) format, started in one of five ways:
 *
 *   real16        the setup code runs in real mode and asks the BIOS: what a boot loader under firmware does
 *   unpacked16    the same, but the setup code jumps to the kernel proper, unpacked here (code32_start)
 *   protected32   the 32-bit entry, with a zero page; the kernel unpacks itself
 *   long64        the same at the 64-bit entry (protocol 2.12)
 *   unpacked      the kernel proper, unpacked here, at its own entry (32 or 64 bits, by its ELF class)
 *
 * Unpacked, no decompressor runs in the guest, which takes an emulator ten times as long as it takes here. What the
 * decompressor also does is left out: the kernel stays at the addresses it was linked for (no KASLR, as with `nokaslr`).
 *
 * Source: Linux, Documentation/arch/x86/boot.rst, "The Linux/x86 Boot Protocol" 2.02 to 2.15.
 * Not done: protocols before 2.02, the EFI handover entry, initial RAM disks above 4 GiB, setup_data; kernels packed by
 * bzip2, LZMA alone or LZO unpack themselves.
 */
import { VmError } from "../../base/errors.js";
import {
  BOOT_GDT_LIMIT,
  type BootPlan,
  type BootState,
  type BootTarget,
  bootGdt,
  identityPageTables,
  LowMemory,
} from "../boot-state.js";
import type { E820Entry } from "../e820.js";
import { type ElfImage, ElfMachine, isElf, layoutElf, parseElf } from "./elf.js";
import { ImageReader, type ImageSource, imageError, Layout } from "./image.js";
import { gunzip, isGzip } from "./inflate.js";
import { LONG_MODE_STUB, longModeStub } from "./long-mode-stub.js";
import { isLz4Legacy, unpackLz4Legacy } from "./lz4.js";
import { isXz, unpackXz } from "./xz.js";
import { commandLineBytes, LOADER_TYPE_UNDEFINED, LoadFlag, SetupHeader, XloadFlag, zeroPage } from "./zero-page.js";
import { isZstd, unpackZstd } from "./zstd.js";

const HDRS = 0x53726448;
const BOOT_FLAG = 0xaa55;
const SECTOR = 512;
const PROTOCOL = {
  cmdLinePtr: 0x202,
  initrdMax: 0x203,
  alignment: 0x205,
  syssize32: 0x204,
  cmdlineSize: 0x206,
  payload: 0x208,
  pref: 0x20a,
  xload: 0x20c,
};
const HIGH_LOAD = 0x100000;
const LOW_LOAD = 0x10000;
const DEFAULT_INITRD_MAX = 0x37ffffff;
const DEFAULT_CMDLINE_MAX = 255;
const PAGE = 4096;
const ENTRY64_OFFSET = 0x200;
/** More than any kernel unpacks to; nothing larger is allocated. */
const UNPACKED_MAX = 256 * 2 ** 20;
/** Where the real-mode part goes, how far its heap reaches within its segment, where the command line goes. */
const REAL_MODE = {
  high: { setup: LowMemory.setup, heapEnd: 0xfe00, commandLine: LowMemory.commandLine },
  low: { setup: 0x90000, heapEnd: 0x9800, commandLine: 0x99800 },
} as const;

/** The header of a bzImage, checked against its file. */
export interface BzImage {
  readonly image: ImageSource;
  readonly version: number;
  /** "6.1.0-39-amd64 (…) #1 SMP", or empty. */
  readonly kernelVersion: string;
  /** Real-mode part and the rest. */
  readonly setup: Uint8Array;
  readonly kernel: Uint8Array;
  readonly setupHeader: Uint8Array;
  readonly loadAddress: number;
  readonly loadedHigh: boolean;
  readonly initrdAddressMax: number;
  readonly commandLineMax: number;
  readonly has64BitEntry: boolean;
  /** What the kernel needs to run in, before it has read the memory map. */
  readonly runArea: { readonly base: number; readonly size: number };
  /** What the kernel's base must be a multiple of; 1 when the protocol does not say. */
  readonly alignment: number;
  /** The compressed kernel inside `kernel`; empty when the protocol does not say. */
  readonly payload: Uint8Array;
}

/** Whether the bytes have a Linux setup header. */
export function isBzImage(bytes: Uint8Array): boolean {
  const m = SetupHeader.magic;
  return bytes.length >= m + 4 && bytes[m] === 0x48 && bytes[m + 1] === 0x64 && bytes[m + 2] === 0x72 && bytes[m + 3] === 0x53;
}

/** @throws VmError "image/truncated", "image/bad-format" */
export function parseBzImage(image: ImageSource): BzImage {
  const r = new ImageReader(image);
  if (r.u16(SetupHeader.bootFlag) !== BOOT_FLAG || r.u32(SetupHeader.magic) !== HDRS)
    throw imageError(image, "image/bad-format", "not a Linux bzImage");
  const version = r.u16(SetupHeader.version);
  if (version < PROTOCOL.cmdLinePtr)
    throw imageError(image, "image/bad-format", `boot protocol ${versionText(version)} is too old (2.02 is needed)`);
  const setupSize = ((r.u8(SetupHeader.setupSects) || 4) + 1) * SECTOR;
  const headerEnd = SetupHeader.magic + r.u8(SetupHeader.jumpOffset);
  const setup = r.bytes(0, setupSize);
  const setupHeader = r.bytes(SetupHeader.setupSects, headerEnd - SetupHeader.setupSects);
  const kernel = r.bytes(setupSize, r.length - setupSize);
  // 16 bits before protocol 2.04.
  const declared = (version < PROTOCOL.syssize32 ? r.u16(SetupHeader.syssize) : r.u32(SetupHeader.syssize)) * 16;
  // The size counts paragraphs, so the file may end up to 15 bytes earlier.
  if (declared > kernel.length + 15)
    throw imageError(image, "image/truncated", `the kernel has ${declared} bytes, the file holds ${kernel.length} of them`);
  if (kernel.length === 0) throw imageError(image, "image/truncated", "there is no kernel behind the setup code");
  const loadedHigh = (r.u8(SetupHeader.loadFlags) & LoadFlag.loadedHigh) !== 0;
  const loadAddress = loadedHigh ? HIGH_LOAD : LOW_LOAD;
  const versionAt = r.u16(SetupHeader.kernelVersion);
  const hasPref = version >= PROTOCOL.pref;
  return {
    image,
    version,
    kernelVersion: versionAt ? new ImageReader({ ...image, bytes: setup }).text(versionAt + SECTOR, 80) : "",
    setup,
    kernel,
    setupHeader,
    loadAddress,
    loadedHigh,
    initrdAddressMax: version >= PROTOCOL.initrdMax ? r.u32(SetupHeader.initrdAddrMax) : DEFAULT_INITRD_MAX,
    commandLineMax: version >= PROTOCOL.cmdlineSize ? r.u32(SetupHeader.cmdlineSize) : DEFAULT_CMDLINE_MAX,
    has64BitEntry: version >= PROTOCOL.xload && (r.u16(SetupHeader.xloadFlags) & XloadFlag.kernel64) !== 0,
    runArea: hasPref
      ? { base: r.u64(SetupHeader.prefAddress), size: r.u32(SetupHeader.initSize) }
      : { base: loadAddress, size: kernel.length },
    alignment: version >= PROTOCOL.alignment ? r.u32(SetupHeader.kernelAlignment) || 1 : 1,
    payload: version >= PROTOCOL.payload ? payloadOf(r, kernel) : new Uint8Array(0),
  };
}

function payloadOf(r: ImageReader, kernel: Uint8Array): Uint8Array {
  const offset = r.u32(SetupHeader.payloadOffset);
  const length = r.u32(SetupHeader.payloadLength);
  return offset + length <= kernel.length ? kernel.subarray(offset, offset + length) : new Uint8Array(0);
}

function versionText(version: number): string {
  return `${version >> 8}.${String(version & 255).padStart(2, "0")}`;
}

/** How kernels are packed that can be unpacked here. */
const PACKINGS: readonly {
  is(data: Uint8Array): boolean;
  unpack(data: Uint8Array, maxBytes: number, sizeBytes: number): Uint8Array | undefined;
}[] = [
  { is: isLz4Legacy, unpack: unpackLz4Legacy },
  { is: isXz, unpack: unpackXz },
  { is: isGzip, unpack: gunzip },
  { is: isZstd, unpack: unpackZstd },
  // Its four bytes of size are no part of it, but in nobody's way.
  { is: isElf, unpack: (data) => data.subarray(0, data.length - 4) },
];

/**
 * The kernel proper, when it is packed in a way that can be undone: an ELF file for x86, 32 or 64 bits. Undefined when it is
 * not, when it is damaged, or larger than 256 MiB.
 */
export function unpackKernel(b: BzImage): ImageSource | undefined {
  const p = b.payload;
  if (p.length < 8) return undefined;
  // The build puts the size behind the packed kernel (gzip ends with it anyway).
  const size = new DataView(p.buffer, p.byteOffset).getUint32(p.length - 4, true);
  if (size > UNPACKED_MAX) return undefined;
  const bytes = PACKINGS.find((k) => k.is(p))?.unpack(p, UNPACKED_MAX, size);
  return bytes?.length === size && isElf(bytes) ? { ...b.image, bytes } : undefined;
}

/** Whether an unpacked kernel can be entered where its headers put it. */
function isStartable(b: BzImage, elf: ElfImage): boolean {
  const is64 = elf.bits === 64 && elf.machine === ElfMachine.x86_64;
  if (!is64 && !(elf.bits === 32 && elf.machine === ElfMachine.i386)) return false;
  const base = Math.min(...elf.loads.map((s) => s.physicalAddress));
  return (
    is64 === b.has64BitEntry &&
    (b.version < PROTOCOL.pref || base === b.runArea.base) &&
    base % b.alignment === 0 &&
    elf.loads.some((s) => elf.entry >= s.physicalAddress && elf.entry < s.physicalAddress + s.fileSize)
  );
}

export type BzImageStart = "real16" | "unpacked16" | "protected32" | "long64" | "unpacked";

export interface LinuxOptions {
  readonly commandLine: string;
  readonly initrd?: ImageSource | undefined;
  readonly start: BzImageStart;
  /** Whether the processor has 64-bit mode. Default true. */
  readonly longMode?: boolean;
}

/**
 * A plan to start the kernel. `unpacked` falls back to `long64` and `unpacked16` to `real16` when the packing is not known,
 * `long64` to `protected32` when kernel or processor have no 64-bit mode; there a 64-bit kernel stops by itself.
 * @throws VmError "image/..." for the file, "option/invalid" for a command line that is too long
 */
export function planBzImage(image: ImageSource, options: LinuxOptions): BootPlan {
  const b = parseBzImage(image);
  const commandLine = commandLineBytes(options.commandLine);
  if (commandLine.length - 1 > b.commandLineMax)
    throw new VmError(
      "option/invalid",
      `-append: ${commandLine.length - 1} bytes; this kernel takes at most ${b.commandLineMax}`,
    );
  const longMode = options.longMode ?? true;
  let start: BzImageStart = options.start;
  if (!b.loadedHigh) start = "real16";
  // Many megabytes: let go of after each start, unpacked again for the next.
  let held: ImageSource | undefined;
  let elf: ElfImage | undefined;
  if (start === "unpacked" || start === "unpacked16") {
    if (longMode || !b.has64BitEntry) held = unpackKernel(b);
    if (held) elf = parseElf(held);
    if (elf && !isStartable(b, elf)) elf = held = undefined;
    if (!elf) start = start === "unpacked" ? "long64" : "real16";
  }
  if (start === "long64" && !(b.has64BitEntry && longMode)) start = "protected32";

  const arrange = (map: readonly E820Entry[], vgaText = false, rsdpAddress?: number): { layout: Layout; state: BootState } => {
    const layout = new Layout(map);
    // RAM disk and kernel first: it is their size that the user can do something about.
    if (elf) {
      held ??= unpackKernel(b)!;
      layoutElf(layout, held, elf, "kernel");
    } else {
      layout.put(image, "kernel", b.loadAddress, b.kernel);
      // The decompressor's working room; a kernel that is unpacked already has all it needs in its segments.
      if (b.loadedHigh) layout.claim(image, "kernel", b.runArea.base, b.runArea.size);
    }
    let initrd: { base: number; length: number } | undefined;
    if (options.initrd) {
      const base = layout.top(options.initrd, options.initrd.bytes.length, PAGE, b.initrdAddressMax + 1);
      layout.put(options.initrd, "initial RAM disk", base, options.initrd.bytes);
      initrd = { base, length: options.initrd.bytes.length };
    }
    if (start === "real16" || start === "unpacked16") {
      let code32Start = b.loadAddress;
      if (elf?.bits === 32) code32Start = elf.entry;
      else if (elf) {
        code32Start = LONG_MODE_STUB;
        layout.put(image, "64-bit start", LONG_MODE_STUB, longModeStub(elf.entry));
      }
      const where = b.loadedHigh ? REAL_MODE.high : REAL_MODE.low;
      layout.put(image, "setup code", where.setup, realModeSetup(b, where, initrd, code32Start));
      layout.put(image, "command line", where.commandLine, commandLine);
      const segment = where.setup >> 4;
      return {
        layout,
        state: {
          cpuMode: "real16",
          entry: 0,
          segments: { cs: segment + SECTOR / 16, ds: segment, ss: segment },
          registers: { esp: where.heapEnd },
        },
      };
    }
    const mode = start === "protected32" || elf?.bits === 32 ? "protected32" : "long64";
    layout.put(
      image,
      "zero page",
      LowMemory.info,
      zeroPage({
        setupHeader: b.setupHeader,
        map,
        commandLineAddress: LowMemory.commandLine,
        initrd,
        code32Start: b.loadAddress,
        rsdpAddress,
        vgaText,
      }),
    );
    layout.put(image, "command line", LowMemory.commandLine, commandLine);
    layout.put(image, "descriptor table", LowMemory.gdt, bootGdt(mode));
    if (mode === "long64") layout.put(image, "page tables", LowMemory.pageTables, identityPageTables(LowMemory.pageTables));
    return {
      layout,
      state: {
        cpuMode: mode,
        entry: elf ? elf.entry : b.loadAddress + (mode === "long64" ? ENTRY64_OFFSET : 0),
        registers: { esi: LowMemory.info },
        gdt: { base: LowMemory.gdt, limit: BOOT_GDT_LIMIT },
        ...(mode === "long64" ? { cr3: LowMemory.pageTables } : {}),
      },
    };
  };

  const release = b.kernelVersion.split(" ")[0];
  return {
    description: `Linux ${release ? `${release} ` : ""}(bzImage, boot protocol ${versionText(b.version)}, ${start} start)`,
    check: (map) => void arrange(map),
    place: (target: BootTarget) => {
      const { layout, state } = arrange(target.map, target.vgaText, target.rsdpAddress);
      layout.commit(target.memory);
      held = undefined;
      return state;
    },
  };
}

/** The setup part with the fields a boot loader fills in. */
function realModeSetup(
  b: BzImage,
  where: { heapEnd: number; commandLine: number },
  initrd: { base: number; length: number } | undefined,
  code32Start: number,
): Uint8Array {
  const setup = b.setup.slice();
  const view = new DataView(setup.buffer);
  setup[SetupHeader.typeOfLoader] = LOADER_TYPE_UNDEFINED;
  setup[SetupHeader.loadFlags] = setup[SetupHeader.loadFlags]! | LoadFlag.canUseHeap;
  view.setUint16(SetupHeader.heapEndPtr, where.heapEnd - 0x200, true);
  view.setUint32(SetupHeader.code32Start, code32Start, true);
  view.setUint32(SetupHeader.cmdLinePtr, where.commandLine, true);
  if (initrd) {
    view.setUint32(SetupHeader.ramdiskImage, initrd.base, true);
    view.setUint32(SetupHeader.ramdiskSize, initrd.length, true);
  }
  // "normal": the mode the BIOS has set.
  view.setUint16(SetupHeader.vidMode, 0xffff, true);
  return setup;
}
