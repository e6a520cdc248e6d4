/**
 * AssemblyScript. System management mode: entry, RSM. Source: AMD APM vol 2 chapter 10 (64-bit save state map, revision
 * 20064h), which firmware recognises by its revision number; Intel's is the same idea with other offsets.
 * Not emulated: I/O instruction restart.
 */
import {
  CR0,
  CR3,
  CR4,
  DR,
  EFER,
  GDT_BASE,
  GDT_LIMIT,
  HALTED,
  IDT_BASE,
  IDT_LIMIT,
  INHIBIT,
  LDTR_BASE,
  LDTR_FLAGS,
  LDTR_LIMIT,
  LDTR_SEL,
  NMI_BLOCKED,
  SMBASE,
  SMM,
  TR_BASE,
  TR_FLAGS,
  TR_LIMIT,
  TR_SEL,
} from "../layout";
import { getEflags, setEflags } from "./eflags";
import { notify, raise } from "./env";
import { updateHflags } from "./hflags";
import { flushTlb } from "./mmu";
import { physLoad, physStore } from "./phys";
import { loadPdptes, usesPdptes } from "./page-walk";
import { setSeg } from "./segments";
import {
  canonical,
  cr0,
  CR0_EM,
  CR0_PE,
  CR0_PG,
  CR0_TS,
  CS,
  gpr,
  r32,
  r64,
  rip,
  segBase,
  segFlags,
  segLimit,
  segSel,
  setGpr,
  setRip,
  w32,
  w64,
  X_UD,
} from "./state";

const REVISION: u64 = 0x20064;

/** Save area: offsets from SMBASE + 8000h. */
const SEGS: u32 = 0x7e00;
const GDTR: u32 = 0x7e60;
const LDTR: u32 = 0x7e70;
const IDTR: u32 = 0x7e80;
const TR: u32 = 0x7e90;
const AUTO_HALT: u32 = 0x7ec9;
const S_EFER: u32 = 0x7ed0;
const S_REVISION: u32 = 0x7efc;
const S_SMBASE: u32 = 0x7f00;
const S_CR4: u32 = 0x7f48;
const S_CR3: u32 = 0x7f50;
const S_CR0: u32 = 0x7f58;
const S_DR7: u32 = 0x7f60;
const S_DR6: u32 = 0x7f68;
const S_RFLAGS: u32 = 0x7f70;
const S_RIP: u32 = 0x7f78;
/** R15 first, down to RAX; the middle eight are RDI RSI RBP RSP RBX RDX RCX RAX as in the opcode map backwards. */
const S_R15: u32 = 0x7f80;

function area(): u64 {
  return <u64>r32(SMBASE) + 0x8000;
}

function saveSeg(at: u64, sel: u32, flags: u32, limit: u32, base: u64): void {
  physStore(at, <u64>sel, 1);
  physStore(at + 2, <u64>((flags >> 8) & 0xf0ff), 1);
  physStore(at + 4, <u64>limit, 2);
  physStore(at + 8, base, 3);
}

export function enterSmm(): void {
  notify(0, 0);
  flushTlb(0);
  w32(SMM, 1 | (r32(NMI_BLOCKED) << 1));
  const a = area();
  for (let s: u32 = 0; s < 6; s++) saveSeg(a + SEGS + (s << 4), segSel(s), segFlags(s), segLimit(s), segBase(s));
  saveSeg(a + GDTR, 0, 0, r32(GDT_LIMIT), r64(GDT_BASE));
  saveSeg(a + LDTR, r32(LDTR_SEL), r32(LDTR_FLAGS), r32(LDTR_LIMIT), r64(LDTR_BASE));
  saveSeg(a + IDTR, 0, 0, r32(IDT_LIMIT), r64(IDT_BASE));
  saveSeg(a + TR, r32(TR_SEL), r32(TR_FLAGS), r32(TR_LIMIT), r64(TR_BASE));
  physStore(a + AUTO_HALT, r32(HALTED) == 1 ? 1 : 0, 0);
  physStore(a + S_EFER, r64(EFER), 3);
  physStore(a + S_REVISION, REVISION, 2);
  physStore(a + S_SMBASE, <u64>r32(SMBASE), 2);
  physStore(a + S_CR4, r64(CR4), 3);
  physStore(a + S_CR3, r64(CR3), 3);
  physStore(a + S_CR0, r64(CR0), 3);
  physStore(a + S_DR7, r64(DR + 56), 3);
  physStore(a + S_DR6, r64(DR + 48), 3);
  physStore(a + S_RFLAGS, <u64>getEflags(), 3);
  physStore(a + S_RIP, rip(), 3);
  for (let i: u32 = 0; i < 16; i++) physStore(a + S_R15 + (i << 3), gpr(15 - i), 3);

  w32(HALTED, 0);
  w32(INHIBIT, 0);
  w32(NMI_BLOCKED, 1);
  w64(CR0, cr0() & ~(CR0_PE | CR0_EM | CR0_TS | CR0_PG));
  w64(CR4, 0);
  w64(EFER, 0);
  w64(DR + 56, 0x400);
  for (let s: u32 = 0; s < 6; s++) setSeg(s, 0, 0, 0xffffffff, 0x809300);
  setSeg(CS, (r32(SMBASE) >> 4) & 0xffff, <u64>r32(SMBASE), 0xffffffff, 0x809300);
  setRip(0x8000);
  setEflags(0, <u32>-1);
  flushTlb(0);
  updateHflags();
}

function loadFlags(at: u64): u32 {
  return (<u32>physLoad(at + 2, 1) & 0xf0ff) << 8;
}

export function h_rsm(x: u64, y: u64, imm: u32): u64 {
  if (r32(SMM) == 0) raise(X_UD, 0);
  const a = area();
  for (let s: u32 = 0; s < 6; s++) {
    const at = a + SEGS + (s << 4);
    setSeg(s, <u32>physLoad(at, 1), physLoad(at + 8, 3), <u32>physLoad(at + 4, 2), loadFlags(at));
  }
  w32(GDT_LIMIT, <u32>physLoad(a + GDTR + 4, 2));
  w64(GDT_BASE, physLoad(a + GDTR + 8, 3));
  w32(IDT_LIMIT, <u32>physLoad(a + IDTR + 4, 2));
  w64(IDT_BASE, physLoad(a + IDTR + 8, 3));
  w32(LDTR_SEL, <u32>physLoad(a + LDTR, 1));
  w32(LDTR_FLAGS, loadFlags(a + LDTR));
  w32(LDTR_LIMIT, <u32>physLoad(a + LDTR + 4, 2));
  w64(LDTR_BASE, physLoad(a + LDTR + 8, 3));
  w32(TR_SEL, <u32>physLoad(a + TR, 1));
  w32(TR_FLAGS, loadFlags(a + TR));
  w32(TR_LIMIT, <u32>physLoad(a + TR + 4, 2));
  w64(TR_BASE, physLoad(a + TR + 8, 3));
  const halted = (physLoad(a + AUTO_HALT, 0) & 1) != 0;
  w64(EFER, physLoad(a + S_EFER, 3));
  w64(CR4, physLoad(a + S_CR4, 3));
  w64(CR3, physLoad(a + S_CR3, 3));
  w64(CR0, physLoad(a + S_CR0, 3) & 0xffffffff);
  w64(DR + 56, physLoad(a + S_DR7, 3));
  w64(DR + 48, physLoad(a + S_DR6, 3));
  setRip(physLoad(a + S_RIP, 3));
  for (let i: u32 = 0; i < 16; i++) setGpr(15 - i, physLoad(a + S_R15 + (i << 3), 3));
  const flags = <u32>physLoad(a + S_RFLAGS, 3);
  if ((<u32>physLoad(a + S_REVISION, 2) & 0x20000) != 0) w32(SMBASE, <u32>physLoad(a + S_SMBASE, 2));
  w32(NMI_BLOCKED, (r32(SMM) >> 1) & 1);
  w32(SMM, 0);
  if (usesPdptes()) loadPdptes(r64(CR3));
  notify(1, 0);
  flushTlb(0);
  setEflags(flags, <u32>-1);
  updateHflags();
  // A hostile save area must not leave a state the rest of the runtime does not expect.
  if (!canonical(rip())) setRip(0);
  if (halted) w32(HALTED, 1);
  return 0;
}
