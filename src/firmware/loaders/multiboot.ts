/**
 * Multiboot 1 kernels: ELF (32-bit) or "a.out kludge" images, with modules.
 * Source: Multiboot Specification 0.6.96 (section named at each part).
 * Not done: video modes (the request is ignored), symbols, drives, configuration table, APM table.
 */
import { VmError } from "../../base/errors.js";
import { BOOT_GDT_LIMIT, type BootPlan, type BootState, type BootTarget, bootGdt, LowMemory } from "../boot-state.js";
import { ByteWriter } from "../bytes.js";
import { type E820Entry, ramEnd } from "../e820.js";
import { isElf, layoutElf, parseElf } from "./elf.js";
import { ImageReader, type ImageSource, imageError, Layout } from "./image.js";
import { commandLineBytes } from "./zero-page.js";

const HEADER_MAGIC = 0x1badb002;
const LOADER_MAGIC = 0x2badb002;
/** The header lies wholly in this much of the file (3.1). */
const HEADER_SEARCH = 8192;

/** Bits of the header's flags (3.1.2). */
const HeaderFlag = { pageAlign: 1 << 0, memoryInfo: 1 << 1, video: 1 << 2, addresses: 1 << 16 } as const;
/** Bits 0 to 15 that are set must be understood. */
const REQUIRED_KNOWN = HeaderFlag.pageAlign | HeaderFlag.memoryInfo | HeaderFlag.video;

/** Bits of the information structure's flags (3.3). */
const InfoFlag = { memory: 1, bootDevice: 2, commandLine: 4, modules: 8, memoryMap: 1 << 6, loaderName: 1 << 9 } as const;

const INFO_BYTES = 120;
const MODULE_BYTES = 16;
const MAP_ENTRY_BYTES = 24;
/** First BIOS hard disk, no partition. */
const BOOT_DEVICE = 0x8000ffff;
const PAGE = 4096;
/** Modules at most. */
const MODULES_MAX = 256;
export const MULTIBOOT_LOADER_NAME = "tandem";

/** What the header says. */
export interface MultibootHeader {
  readonly offset: number;
  readonly flags: number;
  /** The address fields, when flag 16 is set. */
  readonly addresses?: {
    readonly header: number;
    readonly load: number;
    readonly loadEnd: number;
    readonly bssEnd: number;
    readonly entry: number;
  };
}

/** The header, undefined when there is none. */
export function findMultiboot(bytes: Uint8Array): MultibootHeader | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = Math.min(bytes.length, HEADER_SEARCH);
  for (let offset = 0; offset + 12 <= end; offset += 4) {
    if (view.getUint32(offset, true) !== HEADER_MAGIC) continue;
    const flags = view.getUint32(offset + 4, true);
    if ((HEADER_MAGIC + flags + view.getUint32(offset + 8, true)) % 2 ** 32 !== 0) continue;
    if (!(flags & HeaderFlag.addresses)) return { offset, flags };
    if (offset + 32 > bytes.length) return undefined;
    const u = (i: number) => view.getUint32(offset + 12 + 4 * i, true);
    return { offset, flags, addresses: { header: u(0), load: u(1), loadEnd: u(2), bssEnd: u(3), entry: u(4) } };
  }
  return undefined;
}

/** A module: its file, and the text after the file's name. */
export interface MultibootModule {
  readonly image: ImageSource;
  readonly arguments: string;
}

/**
 * `-initrd "file args,file args"`: names and arguments. A comma within is written twice.
 * @throws VmError "option/invalid"
 */
export function parseModuleList(option: string): { path: string; arguments: string }[] {
  const items = splitCommas(option);
  if (items.length > MODULES_MAX) throw new VmError("option/invalid", `-initrd: more than ${MODULES_MAX} modules`);
  return items.map((item) => {
    const text = item.trim();
    const space = text.indexOf(" ");
    if (text === "") throw new VmError("option/invalid", `-initrd ${option}: a module without a file name`);
    return space < 0 ? { path: text, arguments: "" } : { path: text.slice(0, space), arguments: text.slice(space + 1).trim() };
  });
}

function splitCommas(text: string): string[] {
  const out: string[] = [];
  let item = "";
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== ",") item += text[i];
    else if (text[i + 1] === ",") {
      item += ",";
      i++;
    } else {
      out.push(item);
      item = "";
    }
  }
  out.push(item);
  return out;
}

export interface MultibootOptions {
  readonly commandLine: string;
  readonly modules: readonly MultibootModule[];
}

/**
 * A plan to start a multiboot kernel.
 * @throws VmError "image/bad-format", "image/wrong-architecture", "image/truncated", "option/invalid"
 */
export function planMultiboot(image: ImageSource, options: MultibootOptions): BootPlan {
  const header = findMultiboot(image.bytes);
  if (!header) throw imageError(image, "image/bad-format", "no multiboot header");
  const unknown = header.flags & 0xffff & ~REQUIRED_KNOWN;
  if (unknown)
    throw imageError(image, "image/bad-format", `multiboot flags 0x${unknown.toString(16)} are required and not known`);
  if (options.modules.length > MODULES_MAX) throw new VmError("option/invalid", `-initrd: more than ${MODULES_MAX} modules`);
  const load = header.addresses ? planAddresses(image, header.offset, header.addresses) : planElf(image);

  const arrange = (map: readonly E820Entry[]): { layout: Layout; state: BootState } => {
    const layout = new Layout(map);
    const { entry, end } = load(layout);
    let next = Math.ceil(end / PAGE) * PAGE;
    const modules = options.modules.map((m) => {
      const base = next;
      layout.put(m.image, "modules", base, m.image.bytes);
      next = Math.ceil((base + m.image.bytes.length) / PAGE) * PAGE;
      return { base, end: base + m.image.bytes.length, text: `${m.image.name}${m.arguments ? ` ${m.arguments}` : ""}` };
    });
    // The structure stands in low memory unless the kernel is there.
    const size = bootInformation(0, map, image.name, options.commandLine, modules).length;
    const at = layout.isFree("boot information", LowMemory.pageTables, size)
      ? LowMemory.pageTables
      : layout.after(Math.max(next, 2 ** 20), PAGE);
    layout.put(image, "boot information", at, bootInformation(at, map, image.name, options.commandLine, modules));
    layout.put(image, "descriptor table", LowMemory.gdt, bootGdt("protected32"));
    return {
      layout,
      state: {
        cpuMode: "protected32",
        entry,
        registers: { eax: LOADER_MAGIC, ebx: at },
        gdt: { base: LowMemory.gdt, limit: BOOT_GDT_LIMIT },
      },
    };
  };

  return {
    description: `multiboot kernel (${header.addresses ? "address fields" : "ELF"}, ${options.modules.length} modules)`,
    check: (map) => void arrange(map),
    place: (target: BootTarget) => {
      const { layout, state } = arrange(target.map);
      layout.commit(target.memory);
      return state;
    },
  };
}

type Load = (layout: Layout) => { entry: number; end: number };

/** 3.1.3: the header's own addresses say what goes where. */
function planAddresses(image: ImageSource, offset: number, a: NonNullable<MultibootHeader["addresses"]>): Load {
  const hex = (n: number) => `0x${n.toString(16)}`;
  if (a.header < a.load)
    throw imageError(image, "image/bad-format", `multiboot header_addr ${hex(a.header)} is below load_addr ${hex(a.load)}`);
  const fileStart = offset - (a.header - a.load);
  if (fileStart < 0) throw imageError(image, "image/bad-format", `multiboot load_addr ${hex(a.load)} is before the file's start`);
  if (a.loadEnd !== 0 && a.loadEnd < a.load)
    throw imageError(image, "image/bad-format", `multiboot load_end_addr ${hex(a.loadEnd)} is below load_addr ${hex(a.load)}`);
  const length = a.loadEnd ? a.loadEnd - a.load : image.bytes.length - fileStart;
  if (a.bssEnd !== 0 && a.bssEnd < a.load + length)
    throw imageError(image, "image/bad-format", `multiboot bss_end_addr ${hex(a.bssEnd)} is below the end of the loaded part`);
  const data = new ImageReader(image).bytes(fileStart, length);
  const end = Math.max(a.bssEnd, a.load + length);
  return (layout) => {
    layout.claim(image, "kernel", a.load, end - a.load);
    layout.put(image, "kernel", a.load, data);
    layout.putZero(image, "kernel", a.load + length, end - a.load - length);
    return { entry: a.entry, end };
  };
}

function planElf(image: ImageSource): Load {
  if (!isElf(image.bytes))
    throw imageError(image, "image/bad-format", "a multiboot image that is not ELF needs the address fields (flag 16)");
  const elf = parseElf(image);
  if (elf.bits === 64)
    throw imageError(image, "image/wrong-architecture", "a 64-bit ELF image; multiboot starts 32-bit images only");
  // Some kernels give a virtual entry; it is meant where its segment lies.
  const segment = elf.loads.find((s) => elf.entry >= s.virtualAddress && elf.entry < s.virtualAddress + s.memorySize);
  const inPhysical = elf.loads.some((s) => elf.entry >= s.physicalAddress && elf.entry < s.physicalAddress + s.memorySize);
  const entry = segment && !inPhysical ? elf.entry - segment.virtualAddress + segment.physicalAddress : elf.entry;
  return (layout) => ({ entry, end: layoutElf(layout, image, elf, "kernel").end });
}

/** The information structure (3.3) and, behind it, modules, memory map and strings. */
function bootInformation(
  address: number,
  map: readonly E820Entry[],
  kernelName: string,
  commandLine: string,
  modules: readonly { base: number; end: number; text: string }[],
): Uint8Array {
  const modulesAt = address + INFO_BYTES;
  const mapAt = modulesAt + modules.length * MODULE_BYTES;
  let textAt = mapAt + map.length * MAP_ENTRY_BYTES;
  const texts = new ByteWriter(256);
  const text = (s: string): number => {
    const bytes = commandLineBytes(s);
    texts.bytes(bytes);
    const at = textAt;
    textAt += bytes.length;
    return at;
  };
  const lower = Math.min(640, Math.floor(ramEnd(map, 0) / 1024));
  const upper = Math.max(0, Math.floor((ramEnd(map, 2 ** 20) - 2 ** 20) / 1024));
  const flags =
    InfoFlag.memory |
    InfoFlag.bootDevice |
    InfoFlag.commandLine |
    (modules.length > 0 ? InfoFlag.modules : 0) |
    InfoFlag.memoryMap |
    InfoFlag.loaderName;
  const w = new ByteWriter(1024)
    .u32(flags, lower, upper, BOOT_DEVICE)
    .u32(text(commandLine === "" ? kernelName : `${kernelName} ${commandLine}`))
    .u32(modules.length, modules.length > 0 ? modulesAt : 0)
    .zero(16)
    .u32(map.length * MAP_ENTRY_BYTES, mapAt)
    .zero(12)
    .u32(text(MULTIBOOT_LOADER_NAME));
  w.zero(INFO_BYTES - w.length);
  for (const m of modules) w.u32(m.base, m.end, text(m.text), 0);
  for (const e of map)
    w.u32(MAP_ENTRY_BYTES - 4)
      .u64(e.base, e.length)
      .u32(e.type);
  return w.bytes(texts.finish()).finish();
}
