/**
 * How a loaded kernel wants the first processor to start, and the plan that puts a kernel into guest memory.
 * Sources: Linux x86 boot protocol; Multiboot 0.6.96, 3.2; Xen PVH boot ABI; Intel SDM vol 3, 3.4 and 4.5.
 */
import type { AddressSpace } from "../memory/address-space.js";
import { ByteWriter } from "./bytes.js";
import type { E820Entry } from "./e820.js";

export type CpuMode = "real16" | "protected32" | "long64";

/** General registers at the start; those not named are 0. In `long64` they are the low halves of RAX and so on. */
export interface BootRegisters {
  readonly eax?: number;
  readonly ebx?: number;
  readonly ecx?: number;
  readonly edx?: number;
  readonly esi?: number;
  readonly edi?: number;
  readonly ebp?: number;
  readonly esp?: number;
}

/**
 * The processor's state. Interrupts are off, A20 is open, the direction flag is clear; in every mode.
 * - `real16`: segments as in `segments`, `entry` is the instruction pointer within CS.
 * - `protected32`: CR0.PE on, paging off; CS 0x10 and DS, ES, FS, GS, SS 0x18, flat 4 GiB, 32-bit.
 * - `long64`: as above with CS 64-bit, CR4.PAE, EFER.LME and LMA, CR0.PG and CR3 as given: the first 4 GiB are mapped to
 *   themselves.
 */
export interface BootState {
  readonly cpuMode: CpuMode;
  readonly entry: number;
  readonly registers: BootRegisters;
  /** `real16` only. */
  readonly segments?: { readonly cs: number; readonly ds: number; readonly ss: number };
  /** Where the descriptors for CS and DS lie in guest memory; not in `real16`. */
  readonly gdt?: { readonly base: number; readonly limit: number };
  /** `long64` only. */
  readonly cr3?: number;
}

/** What a plan is carried out on. */
export interface BootTarget {
  readonly memory: AddressSpace;
  /** What the kernel is told about memory. */
  readonly map: readonly E820Entry[];
  /** Where the ACPI tables begin, when no firmware has left them where kernels search. */
  readonly rsdpAddress?: number | undefined;
  /** A VGA BIOS has set text mode 3, so the kernel may write to it. Default false. */
  readonly vgaText?: boolean;
}

/** A kernel that has been read and checked, ready to be placed any number of times (once after every reset). */
export interface BootPlan {
  /** What it is, for messages: "Linux 6.1.0 (bzImage, protocol 2.15)". */
  readonly description: string;
  /** @throws VmError "image/too-large" when it does not fit this memory; writes nothing */
  check(map: readonly E820Entry[]): void;
  /** Writes everything into guest memory. @throws VmError as `check` does, before the first write */
  place(target: BootTarget): BootState;
}

/** Selectors that the Linux boot protocol asks for (__BOOT_CS, __BOOT_DS). */
export const BOOT_CS = 0x10;
export const BOOT_DS = 0x18;

/** Where small structures go in conventional memory, unless the kernel itself is there. */
export const LowMemory = {
  gdt: 0x540,
  /** Zero page, PVH start information. */
  info: 0x7000,
  pageTables: 0x9000,
  /** Real-mode part of a bzImage. */
  setup: 0x10000,
  commandLine: 0x20000,
} as const;

const CODE32 = [0xffff, 0x0000, 0x9b00, 0x00cf];
const CODE64 = [0xffff, 0x0000, 0x9b00, 0x00af];
const DATA32 = [0xffff, 0x0000, 0x9300, 0x00cf];

/** The descriptor table of `protected32` and `long64`: null, null, code, data; flat. */
export function bootGdt(mode: "protected32" | "long64"): Uint8Array {
  return new ByteWriter(32)
    .zero(16)
    .u16(...(mode === "long64" ? CODE64 : CODE32))
    .u16(...DATA32)
    .finish();
}

export const BOOT_GDT_LIMIT = 31;

const PAGE = 4096;
const PRESENT_WRITABLE = 3;
const LARGE_PAGE = 0x80;
const TWO_MIB = 2 ** 21;

/** Page tables at `base` (six pages) that map the first 4 GiB to themselves with 2 MiB pages. */
export function identityPageTables(base: number): Uint8Array {
  const w = new ByteWriter(6 * PAGE);
  w.u64(base + PAGE + PRESENT_WRITABLE).zero(PAGE - 8);
  for (let i = 0; i < 4; i++) w.u64(base + (2 + i) * PAGE + PRESENT_WRITABLE);
  w.zero(PAGE - 32);
  for (let i = 0; i < 2048; i++) w.u64(i * TWO_MIB + PRESENT_WRITABLE + LARGE_PAGE);
  return w.finish();
}
