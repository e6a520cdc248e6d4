/**
 * Linux kernels in bzImage (and old zImage) format, started in one of four ways:
 *
 *   real16        the setup code runs in real mode and asks the BIOS: what a boot loader under firmware does
 *   protected32   the 32-bit entry, with a zero page; the kernel unpacks itself
 *   long64        the same at the 64-bit entry (protocol 2.12)
 *   unpacked      the kernel proper, unpacked here, at its own 64-bit entry: no decompressor runs in the guest
 *
 * Source: Linux, Documentation/arch/x86/boot.rst, "The Linux/x86 Boot Protocol" 2.02 to 2.15.
 * Not done: protocols before 2.02, the EFI handover entry, initial RAM disks above 4 GiB, setup_data.
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
import { ElfMachine, isElf, layoutElf, parseElf } from "./elf.js";
import { ImageReader, type ImageSource, imageError, Layout } from "./image.js";
import { LZ4_LEGACY_MAGIC, unpackLz4Legacy } from "./lz4.js";
import { commandLineBytes, LOADER_TYPE_UNDEFINED, LoadFlag, SetupHeader, XloadFlag, zeroPage } from "./zero-page.js";

const HDRS = 0x53726448;
const BOOT_FLAG = 0xaa55;
const SECTOR = 512;
const PROTOCOL = {
  cmdLinePtr: 0x202,
  initrdMax: 0x203,
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

/**
 * The kernel proper, when it is packed in a way we can undo (LZ4, or gzip when `inflate` is given): an x86-64 ELF file.
 * Undefined when it is not.
 */
export function unpackKernel(
  b: BzImage,
  inflate?: (gzip: Uint8Array, maxBytes: number) => Uint8Array | undefined,
): ImageSource | undefined {
  const p = b.payload;
  if (p.length < 8) return undefined;
  const magic = new DataView(p.buffer, p.byteOffset).getUint32(0, true);
  let bytes: Uint8Array | undefined;
  if (isElf(p)) bytes = p;
  else if (magic === LZ4_LEGACY_MAGIC) bytes = unpackLz4Legacy(p, UNPACKED_MAX);
  else if ((magic & 0xffff) === 0x8b1f) bytes = inflate?.(p, UNPACKED_MAX);
  if (!bytes || !isElf(bytes)) return undefined;
  const source = { ...b.image, bytes };
  const elf = parseElf(source);
  return elf.bits === 64 && elf.machine === ElfMachine.x86_64 ? source : undefined;
}

export type BzImageStart = "real16" | "protected32" | "long64" | "unpacked";

export interface LinuxOptions {
  readonly commandLine: string;
  readonly initrd?: ImageSource | undefined;
  readonly start: BzImageStart;
  readonly inflate?: (gzip: Uint8Array, maxBytes: number) => Uint8Array | undefined;
}

/**
 * A plan to start the kernel. `long64` falls back to `protected32` when the kernel has no 64-bit entry, `unpacked` to
 * `long64` when its packing is not known.
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
  const unpacked = options.start === "unpacked" ? unpackKernel(b, options.inflate) : undefined;
  let start = options.start;
  if (start === "unpacked" && !unpacked) start = "long64";
  if (start === "long64" && !b.has64BitEntry) start = "protected32";
  if (!b.loadedHigh) start = "real16";

  const arrange = (map: readonly E820Entry[], vgaText = false, rsdpAddress?: number): { layout: Layout; state: BootState } => {
    const layout = new Layout(map);
    // RAM disk and kernel first: it is their size that the user can do something about.
    let elfEntry = 0;
    if (unpacked) {
      const elf = parseElf(unpacked);
      layoutElf(layout, unpacked, elf, "kernel");
      elfEntry = elf.entry;
    } else layout.put(image, "kernel", b.loadAddress, b.kernel);
    // The decompressor's working room; a kernel that is unpacked already has all it needs in its segments.
    if (b.loadedHigh && !unpacked) layout.claim(image, "kernel", b.runArea.base, b.runArea.size);
    let initrd: { base: number; length: number } | undefined;
    if (options.initrd) {
      const base = layout.top(options.initrd, options.initrd.bytes.length, PAGE, b.initrdAddressMax + 1);
      layout.put(options.initrd, "initial RAM disk", base, options.initrd.bytes);
      initrd = { base, length: options.initrd.bytes.length };
    }
    if (start === "real16") {
      const where = b.loadedHigh ? REAL_MODE.high : REAL_MODE.low;
      layout.put(image, "setup code", where.setup, realModeSetup(b, where, initrd));
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
    const mode = start === "protected32" ? "protected32" : "long64";
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
        entry: unpacked ? elfEntry : b.loadAddress + (mode === "long64" ? ENTRY64_OFFSET : 0),
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
      return state;
    },
  };
}

/** The setup part with the fields a boot loader fills in. */
function realModeSetup(
  b: BzImage,
  where: { heapEnd: number; commandLine: number },
  initrd: { base: number; length: number } | undefined,
): Uint8Array {
  const setup = b.setup.slice();
  const view = new DataView(setup.buffer);
  setup[SetupHeader.typeOfLoader] = LOADER_TYPE_UNDEFINED;
  setup[SetupHeader.loadFlags] = setup[SetupHeader.loadFlags]! | LoadFlag.canUseHeap;
  view.setUint16(SetupHeader.heapEndPtr, where.heapEnd - 0x200, true);
  view.setUint32(SetupHeader.cmdLinePtr, where.commandLine, true);
  if (initrd) {
    view.setUint32(SetupHeader.ramdiskImage, initrd.base, true);
    view.setUint32(SetupHeader.ramdiskSize, initrd.length, true);
  }
  // "normal": the mode the BIOS has set.
  view.setUint16(SetupHeader.vidMode, 0xffff, true);
  return setup;
}
