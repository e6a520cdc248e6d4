/**
 * ELF kernels with a PVH entry: 32-bit protected mode, and a start information structure that describes the machine.
 * Source: Xen, "x86/HVM direct boot ABI" (docs/misc/pvh.pandoc) and its public header arch-x86/hvm/start_info.h.
 */
import { BOOT_GDT_LIMIT, type BootPlan, type BootState, type BootTarget, bootGdt, LowMemory } from "../boot-state.js";
import { ByteWriter } from "../bytes.js";
import type { E820Entry } from "../e820.js";
import { type ElfImage, findNote, layoutElf, parseElf } from "./elf.js";
import { type ImageSource, imageError, Layout } from "./image.js";
import { commandLineBytes } from "./zero-page.js";

const NOTE_NAME = "Xen";
/** XEN_ELFNOTE_PHYS32_ENTRY */
const NOTE_PHYS32_ENTRY = 18;
/** XEN_HVM_START_MAGIC_VALUE: "xEn3" with the top bit of the E set. */
const START_MAGIC = 0x336ec578;
const START_VERSION = 1;
const START_INFO_BYTES = 56;
const MODULE_BYTES = 32;
const PAGE = 4096;

/** The physical address of the PVH entry, undefined when the kernel has none. */
export function pvhEntry(image: ImageSource, elf: ElfImage): number | undefined {
  const note = findNote(image, elf, NOTE_NAME, NOTE_PHYS32_ENTRY);
  if (!note || note.length < 4) return undefined;
  return new DataView(note.buffer, note.byteOffset).getUint32(0, true);
}

export interface PvhOptions {
  readonly commandLine: string;
  readonly initrd?: ImageSource | undefined;
}

/**
 * A plan to start an ELF kernel at its PVH entry.
 * @throws VmError "image/bad-format" (no PVH note), "image/wrong-architecture", "image/truncated"
 */
export function planPvh(image: ImageSource, options: PvhOptions): BootPlan {
  const elf = parseElf(image);
  const entry = pvhEntry(image, elf);
  if (entry === undefined)
    throw imageError(
      image,
      "image/bad-format",
      "an ELF kernel without a PVH entry note, a multiboot header or a Linux setup header",
    );

  const arrange = (map: readonly E820Entry[], rsdpAddress = 0): { layout: Layout; state: BootState } => {
    const layout = new Layout(map);
    layoutElf(layout, image, elf, "kernel");
    let initrd: { base: number; length: number } | undefined;
    if (options.initrd) {
      const base = layout.top(options.initrd, options.initrd.bytes.length, PAGE, 2 ** 32);
      layout.put(options.initrd, "initial RAM disk", base, options.initrd.bytes);
      initrd = { base, length: options.initrd.bytes.length };
    }
    layout.put(image, "descriptor table", LowMemory.gdt, bootGdt("protected32"));
    layout.put(
      image,
      "start information",
      LowMemory.info,
      startInfo(LowMemory.info, LowMemory.commandLine, map, initrd, rsdpAddress),
    );
    layout.put(image, "command line", LowMemory.commandLine, commandLineBytes(options.commandLine));
    return {
      layout,
      state: {
        cpuMode: "protected32",
        entry,
        registers: { ebx: LowMemory.info },
        gdt: { base: LowMemory.gdt, limit: BOOT_GDT_LIMIT },
      },
    };
  };

  return {
    description: `ELF kernel (PVH, ${elf.bits} bits)`,
    check: (map) => void arrange(map),
    place: (target: BootTarget) => {
      const { layout, state } = arrange(target.map, target.rsdpAddress);
      layout.commit(target.memory);
      return state;
    },
  };
}

/** `hvm_start_info` version 1, followed by its module list and memory map. */
export function startInfo(
  address: number,
  commandLineAddress: number,
  map: readonly E820Entry[],
  initrd: { base: number; length: number } | undefined,
  rsdpAddress: number,
): Uint8Array {
  const modulesAt = address + START_INFO_BYTES;
  const mapAt = modulesAt + MODULE_BYTES;
  const w = new ByteWriter(512)
    .u32(START_MAGIC, START_VERSION, 0, initrd ? 1 : 0)
    .u64(initrd ? modulesAt : 0, commandLineAddress, rsdpAddress, mapAt)
    .u32(map.length, 0);
  w.u64(initrd?.base ?? 0, initrd?.length ?? 0, 0, 0);
  for (const e of map) w.u64(e.base, e.length).u32(e.type, 0);
  return w.finish();
}
