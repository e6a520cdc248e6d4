/**
 * A vCPU with 8 MiB of RAM at guest physical 0 and a page of device memory above it, for tests of the system runtime: no
 * translator, no devices.
 */

import { GuestFault, type HostImports, loadRuntime, type TestRuntime } from "../../../../testkit/runtime.js";
import { ENGINE_BYTES, PHYS_MAP } from "../../../accel/tcg/map.js";
import * as L from "../layout.js";

export const RAM = 8 << 20;
/** Guest physical address that is a device's. */
export const MMIO = RAM + 0x1000;

export const SEG = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5 } as const;
export const REG = { RAX: 0, RCX: 1, RDX: 2, RBX: 3, RSP: 4, RBP: 5, RSI: 6, RDI: 7 } as const;

export class BareMachine {
  readonly rt: TestRuntime;
  /** Device accesses seen: "r4 801000" or "w4 801000=12345678"; ports likewise. */
  readonly log: string[] = [];
  /** What devices and ports read as. */
  readValue = 0;
  /** Vector the interrupt controller has, -1 = none. */
  vector = -1;
  codeWrites: string[] = [];
  notes: string[] = [];

  constructor() {
    const host: HostImports = {
      physRead: (low: number, high: number, size: number) => {
        this.log.push(`r${size} ${(high * 2 ** 32 + (low >>> 0)).toString(16)}`);
        return this.readValue;
      },
      physWrite: (low: number, high: number, size: number, value: number) => {
        this.log.push(`w${size} ${(high * 2 ** 32 + (low >>> 0)).toString(16)}=${(value >>> 0).toString(16)}`);
      },
      ioRead: (port: number, size: number) => {
        this.log.push(`in${size} ${port.toString(16)}`);
        return this.readValue;
      },
      ioWrite: (port: number, size: number, value: number) => {
        this.log.push(`out${size} ${port.toString(16)}=${(value >>> 0).toString(16)}`);
      },
      codeWrite: (at: number, size: number) => {
        this.codeWrites.push(`${((at >>> 0) - ENGINE_BYTES).toString(16)}+${size}`);
      },
      acknowledge: () => {
        const v = this.vector;
        this.vector = -1;
        return v;
      },
      notify: (what: number) => {
        this.notes.push(String(what));
      },
      tsc: () => 1000,
    };
    this.rt = loadRuntime("index", host, RAM);
    this.reset();
  }

  /** Zeroed RAM, power-on state, every feature on. */
  reset(): void {
    new Uint8Array(this.rt.memory.buffer, ENGINE_BYTES, RAM).fill(0);
    for (let i = 0; i < RAM >> 12; i++) this.rt.view.setUint32(PHYS_MAP + i * 4, ENGINE_BYTES + i * 4096 + 1, true);
    this.set(L.CR4_VALID, 0x370fffn);
    this.set(L.EFER_VALID, 0xd01n);
    this.set(L.XCR0_VALID, 7n);
    this.set(L.PHYS_MASK, 0xffffffffffn);
    this.rt.set32(L.FEAT_81_EDX, 0xffffffff);
    this.rt.set32(L.FEAT_1_ECX, 0xffffffff);
    this.rt.set32(L.A20_MASK, 0xffffffff);
    this.rt.set32(L.EVENTS, 0);
    this.rt.set32(L.SMM, 0);
    this.rt.exports.resetCpu();
    this.log.length = 0;
    this.codeWrites.length = 0;
    this.notes.length = 0;
    this.readValue = 0;
    this.vector = -1;
  }

  get(offset: number): bigint {
    return this.rt.get64(offset);
  }
  set(offset: number, value: bigint): void {
    this.rt.set64(offset, value);
  }
  reg(n: number): bigint {
    return this.get(L.GPR + n * 8);
  }
  setReg(n: number, value: bigint | number): void {
    this.set(L.GPR + n * 8, BigInt.asUintN(64, BigInt(value)));
  }
  get rip(): number {
    return Number(this.get(L.RIP));
  }
  set rip(v: number) {
    this.set(L.RIP, BigInt(v));
  }
  get flags(): number {
    return this.rt.exports.getEflags() >>> 0;
  }
  set flags(v: number) {
    this.rt.exports.setEflags(v, -1);
  }
  sel(seg: number): number {
    return this.rt.get32(L.SEG_SEL + seg * 4);
  }
  get cpl(): number {
    return this.rt.get32(L.HFLAGS) & 3;
  }

  // --- physical memory ---
  p8(at: number): number {
    return this.rt.view.getUint8(ENGINE_BYTES + at);
  }
  p16(at: number): number {
    return this.rt.view.getUint16(ENGINE_BYTES + at, true);
  }
  p32(at: number): number {
    return this.rt.view.getUint32(ENGINE_BYTES + at, true);
  }
  p64(at: number): bigint {
    return this.rt.view.getBigUint64(ENGINE_BYTES + at, true);
  }
  w8(at: number, v: number): void {
    this.rt.view.setUint8(ENGINE_BYTES + at, v);
  }
  w16(at: number, v: number): void {
    this.rt.view.setUint16(ENGINE_BYTES + at, v, true);
  }
  w32(at: number, v: number): void {
    this.rt.view.setUint32(ENGINE_BYTES + at, v, true);
  }
  w64(at: number, v: bigint): void {
    this.rt.view.setBigUint64(ENGINE_BYTES + at, BigInt.asUintN(64, v), true);
  }
  bytes(at: number, length: number): number[] {
    return [...new Uint8Array(this.rt.memory.buffer, ENGINE_BYTES + at, length)];
  }
  put(at: number, values: readonly number[]): void {
    new Uint8Array(this.rt.memory.buffer, ENGINE_BYTES + at, values.length).set(values);
  }

  /** Calls a helper. @returns its result, or the fault as "#vector(error)" with the page-fault address after "@" */
  call(name: string, a: bigint | number = 0, b: bigint | number = 0, imm = 0): bigint | string {
    const wide = (v: bigint | number) => BigInt.asUintN(64, BigInt(v));
    return this.try(() => this.rt.helper(name)(wide(a), wide(b), imm));
  }

  /** Any call of the runtime, faults as text. */
  try<T>(body: () => T): T | string {
    try {
      return body();
    } catch (e) {
      if (!(e instanceof GuestFault)) throw e;
      const cr2 = e.vector === 14 ? `@${this.get(L.CR2).toString(16)}` : "";
      return `#${e.vector}(${e.errorCode.toString(16)})${cr2}`;
    }
  }

  /** Delivers an exception as the run loop does. @returns how often a fault came during delivery */
  deliver(vector: number, error = 0): number {
    this.rt.set32(L.EXC_VECTOR, vector);
    this.rt.set32(L.EXC_ERROR, error);
    for (let n = 0; n < 8; n++) {
      if (typeof this.try(() => this.rt.exports.deliverException()) !== "string") return n;
    }
    throw new Error("delivery does not end");
  }

  /** A segment register's cache, flat unless said otherwise. */
  segment(seg: number, sel: number, flags: number, base = 0, limit = 0xffffffff): void {
    this.rt.set32(L.SEG_SEL + seg * 4, sel);
    this.set(L.SEG_BASE + seg * 8, BigInt(base));
    this.rt.set32(L.SEG_LIMIT + seg * 4, limit >>> 0);
    this.rt.set32(L.SEG_FLAGS + seg * 4, flags >>> 0);
  }

  /** Writes a descriptor into the GDT at GDT_AT. Flags as the high dword's bits 8-15 and 20-23. */
  gdt(sel: number, base: number, limit: number, flags: number): void {
    const at = GDT_AT + (sel & ~7);
    this.w32(at, ((base & 0xffff) << 16) | (limit & 0xffff));
    this.w32(at + 4, (base & 0xff000000) | ((base >> 16) & 0xff) | (limit & 0xf0000) | flags);
  }

  /** Writes a legacy gate into the IDT at IDT_AT. */
  gate(vector: number, sel: number, offset: number, type: number, dpl = 0, present = true): void {
    const at = IDT_AT + vector * 8;
    this.w32(at, (sel << 16) | (offset & 0xffff));
    this.w32(at + 4, (offset & 0xffff0000) | (present ? 0x8000 : 0) | (dpl << 13) | (type << 8));
  }

  gate64(vector: number, sel: number, offset: bigint, type: number, dpl = 0, ist = 0): void {
    const at = IDT_AT + vector * 16;
    const low = Number(offset & 0xffffffffn);
    this.w32(at, (sel << 16) | (low & 0xffff));
    this.w32(at + 4, (low & 0xffff0000) | 0x8000 | (dpl << 13) | (type << 8) | ist);
    this.w64(at + 8, offset >> 32n);
  }

  /** Protected mode at a privilege level, flat 32-bit segments, no paging; GDT, IDT, TSS in place. */
  protect(level = 0): void {
    this.set(L.CR0, 0x11n);
    this.set(L.GDT_BASE, BigInt(GDT_AT));
    this.rt.set32(L.GDT_LIMIT, 0xfff);
    this.set(L.IDT_BASE, BigInt(IDT_AT));
    this.rt.set32(L.IDT_LIMIT, 0x7ff);
    this.gdt(0x08, 0, 0xfffff, 0xc09a00);
    this.gdt(0x10, 0, 0xfffff, 0xc09200);
    this.gdt(0x18, 0, 0xfffff, 0xc0fa00);
    this.gdt(0x20, 0, 0xfffff, 0xc0f200);
    this.gdt(0x28, TSS_AT, 0x20ff, 0x8b00);
    this.rt.set32(L.TR_SEL, 0x28);
    this.set(L.TR_BASE, BigInt(TSS_AT));
    this.rt.set32(L.TR_LIMIT, 0x20ff);
    this.rt.set32(L.TR_FLAGS, 0x8b00);
    this.w32(TSS_AT + 4, STACK0);
    this.w16(TSS_AT + 8, 0x10);
    this.w16(TSS_AT + 0x66, 0x88);
    const dpl = level << 13;
    this.segment(SEG.CS, level ? 0x1b : 0x08, 0xc09b00 | dpl);
    for (const s of [SEG.ES, SEG.SS, SEG.DS, SEG.FS, SEG.GS]) this.segment(s, level ? 0x23 : 0x10, 0xc09300 | dpl);
    this.setReg(REG.RSP, STACK3);
    this.rip = 0x1000;
    this.rt.exports.updateHflags();
  }

  /** 64-bit mode at a privilege level, identity-mapped by one 1 GiB page. */
  long(level = 0): void {
    this.protect(level);
    this.gdt(0x08, 0, 0, 0x209a00);
    this.gdt(0x18, 0, 0, 0x20fa00);
    this.w64(PML4_AT, BigInt(PML4_AT + 0x1000) | 7n);
    this.w64(PML4_AT + 0x1000, 0x87n);
    this.set(L.CR3, BigInt(PML4_AT));
    this.set(L.CR4, 0x20n);
    this.set(L.EFER, 0xd01n);
    this.set(L.CR0, 0x80010011n);
    this.segment(SEG.CS, level ? 0x1b : 0x08, 0x209b00 | (level << 13));
    this.w64(TSS_AT + 4, BigInt(STACK0));
    this.rt.set32(L.IDT_LIMIT, 0xfff);
    this.rt.exports.updateHflags();
    this.rt.exports.flushTlb(0);
  }
}

export const GDT_AT = 0x10000;
export const IDT_AT = 0x11000;
export const TSS_AT = 0x12000;
export const PML4_AT = 0x20000;
export const STACK0 = 0x30000;
export const STACK3 = 0x40000;
