/** `-kernel`: what kind of image it is, and the plan that starts it. */
import type { BootPlan } from "../boot-state.js";
import { type BzImageStart, isBzImage, planBzImage } from "./bzimage.js";
import { isElf } from "./elf.js";
import { type ImageSource, imageError } from "./image.js";
import { findMultiboot, type MultibootModule, planMultiboot } from "./multiboot.js";
import { planPvh } from "./pvh.js";

export type KernelKind = "bzImage" | "multiboot" | "elf";

/** Beginnings of files that are kernels of other machines or not kernels at all. */
const FOREIGN: readonly { at: number; bytes: readonly number[]; what: string; wrongArchitecture: boolean }[] = [
  { at: 0x38, bytes: [0x41, 0x52, 0x4d, 0x64], what: "an ARM (64-bit) Linux image", wrongArchitecture: true },
  { at: 0x24, bytes: [0x18, 0x28, 0x6f, 0x01], what: "an ARM (32-bit) Linux zImage", wrongArchitecture: true },
  { at: 0x30, bytes: [0x52, 0x49, 0x53, 0x43, 0x56], what: "a RISC-V Linux image", wrongArchitecture: true },
  { at: 0, bytes: [0x27, 0x05, 0x19, 0x56], what: "a U-Boot image", wrongArchitecture: true },
  { at: 0, bytes: [0x1f, 0x8b], what: "a gzip file; unpack it first", wrongArchitecture: false },
  { at: 0, bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a], what: "an xz file; unpack it first", wrongArchitecture: false },
  { at: 0, bytes: [0x51, 0x46, 0x49, 0xfb], what: "a qcow2 disk image; use it with -drive", wrongArchitecture: false },
];

/**
 * The kind of a kernel image: a Linux setup header wins over a multiboot header, that over plain ELF.
 * @throws VmError "image/bad-format", "image/wrong-architecture"
 */
export function kernelKind(image: ImageSource): KernelKind {
  if (isBzImage(image.bytes)) return "bzImage";
  if (findMultiboot(image.bytes)) return "multiboot";
  if (isElf(image.bytes)) return "elf";
  if (image.bytes.length === 0) throw imageError(image, "image/truncated", "the file is empty");
  const foreign = FOREIGN.find((f) => f.bytes.every((b, i) => image.bytes[f.at + i] === b));
  if (foreign)
    throw imageError(
      image,
      foreign.wrongArchitecture ? "image/wrong-architecture" : "image/bad-format",
      foreign.wrongArchitecture ? `${foreign.what}; this machine is x86` : foreign.what,
    );
  throw imageError(image, "image/bad-format", "not a kernel (Linux bzImage, multiboot or ELF with a PVH entry)");
}

export interface KernelOptions {
  readonly commandLine: string;
  /** For Linux and PVH: at most one. For multiboot: modules. */
  readonly modules: readonly MultibootModule[];
  /** How a bzImage is to start. */
  readonly start: BzImageStart;
  /** Whether the processor has 64-bit mode. Default true. */
  readonly longMode?: boolean;
}

/** @throws VmError naming the option and the file */
export function planKernel(image: ImageSource, options: KernelOptions): BootPlan {
  const kind = kernelKind(image);
  if (kind === "multiboot") return planMultiboot(image, options);
  const { commandLine } = options;
  const initrd = options.modules[0]?.image;
  if (kind === "elf") return planPvh(image, { commandLine, initrd });
  return planBzImage(image, {
    commandLine,
    initrd,
    start: options.start,
    longMode: options.longMode ?? true,
  });
}
