/**
 * A few instructions that take a Linux kernel's real-mode setup code to a 64-bit kernel's own entry: what the setup code jumps
 * to in 32-bit protected mode (code32_start), ESI being the address of the zero page.
 * Sources: Intel SDM vol 3, 9.8.5 "Initializing IA-32e Mode"; Linux boot protocol, "64-bit Boot Protocol".
 */
import { BOOT_CS, BOOT_DS, BOOT_GDT_LIMIT, bootGdt, identityPageTables } from "../boot-state.js";
import { ByteWriter } from "../bytes.js";

/** Where the compressed kernel would be: the kernel's own, and free until it runs. */
export const LONG_MODE_STUB = 0x100000;

const CODE64_AT = 96;
const CODE_BYTES = 128;
const GDT_AT = LONG_MODE_STUB + CODE_BYTES;
const GDTR_AT = GDT_AT + BOOT_GDT_LIMIT + 1;
const TABLES_AT = LONG_MODE_STUB + 4096;

const CR4_PAE = 0x20;
const MSR_EFER = 0xc0000080;
const EFER_LME = 0x100;
const CR0_PG = 0x80000000;

const u32 = (v: number) => [v & 255, (v >>> 8) & 255, (v >>> 16) & 255, v >>> 24];

/** Code, descriptors and page tables, for `LONG_MODE_STUB`. @param entry of the kernel, below 4 GiB */
export function longModeStub(entry: number): Uint8Array {
  const code: readonly (readonly [bytes: readonly number[], text: string])[] = [
    [[0xb8, ...u32(TABLES_AT)], "mov eax, tables"],
    [[0x0f, 0x22, 0xd8], "mov cr3, eax"],
    [[0x0f, 0x20, 0xe0], "mov eax, cr4"],
    [[0x83, 0xc8, CR4_PAE], "or eax, PAE"],
    [[0x0f, 0x22, 0xe0], "mov cr4, eax"],
    [[0xb9, ...u32(MSR_EFER)], "mov ecx, EFER"],
    [[0x0f, 0x32], "rdmsr"],
    [[0x0d, ...u32(EFER_LME)], "or eax, LME"],
    [[0x0f, 0x30], "wrmsr"],
    [[0x0f, 0x20, 0xc0], "mov eax, cr0"],
    [[0x0d, ...u32(CR0_PG)], "or eax, PG"],
    [[0x0f, 0x22, 0xc0], "mov cr0, eax"],
    [[0x0f, 0x01, 0x15, ...u32(GDTR_AT)], "lgdt [gdtr]"],
    [[0xb8, BOOT_DS, 0, 0, 0], "mov eax, data"],
    [[0x8e, 0xd8], "mov ds, eax"],
    [[0x8e, 0xc0], "mov es, eax"],
    [[0x8e, 0xd0], "mov ss, eax"],
    [[0x8e, 0xe0], "mov fs, eax"],
    [[0x8e, 0xe8], "mov gs, eax"],
    [[0xea, ...u32(LONG_MODE_STUB + CODE64_AT), BOOT_CS, 0], "jmp code:next"],
  ];
  const code64: typeof code = [
    [[0x89, 0xf6], "next: mov esi, esi"],
    [[0xb8, ...u32(entry)], "mov eax, entry"],
    [[0xff, 0xe0], "jmp rax"],
  ];
  const w = new ByteWriter(4096 * 7);
  for (const [bytes] of code) w.u8(...bytes);
  w.zero(CODE64_AT - w.length);
  for (const [bytes] of code64) w.u8(...bytes);
  w.zero(CODE_BYTES - w.length);
  w.bytes(bootGdt("long64")).u16(BOOT_GDT_LIMIT).u32(GDT_AT);
  w.zero(4096 - w.length);
  return w.bytes(identityPageTables(TABLES_AT)).finish();
}
