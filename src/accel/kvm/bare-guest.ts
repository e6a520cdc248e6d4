/**
 * A few instructions on a vCPU of their own, without a machine: what calibration and benchmarks run. 64-bit code in ring 0 or 3
 * with identity-mapped 2 MiB pages, or real mode.
 */
import { GPR_NAMES, type X86CpuState } from "../../target/x86/cpu-state.js";

/** Bytes of RAM that a bare guest gets. */
export const BARE_RAM = 4 << 20;
/** Where its code begins. */
export const BARE_CODE = 0x10000;
/** Free for its data. */
export const BARE_DATA = 0x200000;
/** An address that is no memory. */
export const BARE_MMIO = 0xe0000000;
const TABLES = 0x1000;
const GDT = 0x6000;
const IDT = 0x7000;
const TSS = 0x8000;
const STACK = 0xf000;
const KERNEL_CS = 0x08;
const USER_CS = 0x33;
const USER_SS = 0x2b;

export type BareMode = "real" | "kernel" | "user";

/** Writes page tables, descriptor tables and code into a guest's RAM. @param handlers vector to address in ring 0 */
export function loadBareGuest(ram: Uint8Array, code: ArrayLike<number>, handlers: ReadonlyMap<number, number> = new Map()): void {
  const v = new DataView(ram.buffer, ram.byteOffset, ram.byteLength);
  // 512 GiB, 1 GiB, then 4 GiB of 2 MiB pages; present, writable, user.
  v.setBigUint64(TABLES, BigInt(TABLES + 0x1000) | 7n, true);
  for (let g = 0; g < 4; g++) {
    const directory = TABLES + 0x2000 + (g === 3 ? 0x1000 : 0);
    v.setBigUint64(TABLES + 0x1000 + 8 * g, BigInt(directory) | 7n, true);
  }
  for (let i = 0; i < 512; i++) {
    v.setBigUint64(TABLES + 0x2000 + 8 * i, (BigInt(i) << 21n) | 0x87n, true);
    v.setBigUint64(TABLES + 0x3000 + 8 * i, 0xc0000000n | (BigInt(i) << 21n) | 0x87n, true);
  }
  // 08: 64-bit code, 10: data, 28: user data, 30: user 64-bit code, 40: task state segment.
  const gdt: [number, bigint][] = [
    [0x08, 0x00af9b000000ffffn],
    [0x10, 0x00cf93000000ffffn],
    [0x28, 0x00cff3000000ffffn],
    [0x30, 0x00affb000000ffffn],
    [0x40, (BigInt(TSS) << 16n) | 0x0000_8b00_0000_2067n],
  ];
  for (const [at, d] of gdt) v.setBigUint64(GDT + at, d, true);
  // RSP0, and a permission map that lets ring 3 use every port.
  v.setBigUint64(TSS + 4, BigInt(STACK), true);
  v.setUint16(TSS + 0x66, 0x68, true);
  ram.fill(0, TSS + 0x68, TSS + 0x68 + 0x2000);
  for (const [vector, at] of handlers) {
    v.setUint16(IDT + 16 * vector, at & 0xffff, true);
    v.setUint16(IDT + 16 * vector + 2, KERNEL_CS, true);
    v.setUint16(IDT + 16 * vector + 4, 0xee00, true);
    v.setUint16(IDT + 16 * vector + 6, at >>> 16, true);
    v.setBigUint64(IDT + 16 * vector + 8, 0n, true);
  }
  ram.set(code, BARE_CODE);
}

/** Changes a reset state into that at the first instruction. */
export function enterBareGuest(s: X86CpuState, mode: BareMode): void {
  for (const n of GPR_NAMES) s.gpr[n] = 0n;
  s.gpr.rsp = BigInt(STACK - 0x800);
  s.rflags = 2n;
  s.rip = BigInt(BARE_CODE);
  if (mode === "real") {
    for (const n of ["cs", "ds", "es", "ss"] as const) Object.assign(s.segments[n], { selector: 0, base: 0n });
    Object.assign(s.segments.cs, { selector: BARE_CODE >> 4, base: BigInt(BARE_CODE) });
    s.rip = 0n;
    return;
  }
  const ring = mode === "user" ? 3 : 0;
  const dpl = ring << 13;
  s.segments.cs = { selector: ring ? USER_CS : KERNEL_CS, base: 0n, limit: 0xffffffff, flags: 0xa09b00 | dpl };
  for (const n of ["ss", "ds", "es", "fs", "gs"] as const)
    s.segments[n] = { selector: ring ? USER_SS : 0x10, base: 0n, limit: 0xffffffff, flags: 0xc09300 | dpl };
  s.segments.tr = { selector: 0x40, base: BigInt(TSS), limit: 0x2067, flags: 0x8b00 };
  s.gdtr = { base: BigInt(GDT), limit: 0x4f };
  s.idtr = { base: BigInt(IDT), limit: 0xfff };
  Object.assign(s.control, { cr0: 0x80010033n, cr3: BigInt(TABLES), cr4: 0x620n, efer: 0xd01n });
}
