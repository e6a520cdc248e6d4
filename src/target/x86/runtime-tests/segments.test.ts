import assert from "node:assert/strict";
import { test } from "node:test";
import * as L from "../layout.js";
import { BareMachine, GDT_AT, REG, SEG, STACK0, STACK3, TSS_AT } from "./bare-machine.js";

const m = new BareMachine();
const where = () => `${m.sel(SEG.CS).toString(16)}:${m.rip.toString(16)}`;
const dwords = (at: number, n: number) => Array.from({ length: n }, (_, i) => m.p32(at + i * 4).toString(16));
/** Result of a call that transfers control. */
const going = (r: bigint | string) => (typeof r === "string" ? r : where());

test("segment register loads", () => {
  const rows: [string, number, number, number, number, string][] = [
    // name, CPL, segment, selector, descriptor flags of 0x30, result
    ["DS, null", 0, SEG.DS, 2, 0, "2"],
    ["SS, null", 0, SEG.SS, 0, 0, "#13(0)"],
    ["outside the GDT", 0, SEG.DS, 0x1230, 0, "#13(1230)"],
    ["LDT without one", 0, SEG.DS, 0x34, 0xc09200, "#13(34)"],
    ["DS, data", 0, SEG.DS, 0x30, 0xc09200, "30"],
    ["DS, readable code", 0, SEG.DS, 0x30, 0xc09a00, "30"],
    ["DS, execute only", 0, SEG.DS, 0x30, 0xc09800, "#13(30)"],
    ["DS, system", 0, SEG.DS, 0x30, 0x8200, "#13(30)"],
    ["DS, not present", 0, SEG.DS, 0x30, 0xc01200, "#11(30)"],
    ["DS, CPL over DPL", 3, SEG.DS, 0x30, 0xc0b200, "#13(30)"],
    ["DS, RPL over DPL", 0, SEG.DS, 0x31, 0xc09200, "#13(30)"],
    ["DS, conforming from CPL 3", 3, SEG.DS, 0x33, 0xc09e00, "33"],
    ["SS, read-only", 0, SEG.SS, 0x30, 0xc09000, "#13(30)"],
    ["SS, code", 0, SEG.SS, 0x30, 0xc09a00, "#13(30)"],
    ["SS, RPL is not CPL", 0, SEG.SS, 0x33, 0xc0f200, "#13(30)"],
    ["SS, DPL is not CPL", 3, SEG.SS, 0x33, 0xc0d200, "#13(30)"],
    ["SS, not present", 0, SEG.SS, 0x30, 0xc01200, "#12(30)"],
    ["SS, good", 3, SEG.SS, 0x33, 0xc0f200, "33"],
  ];
  for (const [name, level, seg, sel, flags, want] of rows) {
    m.reset();
    m.protect(level);
    m.gdt(0x30, 0x12345678, 0xfffff, flags);
    const r = m.call("h_load_seg", sel, 0, seg);
    assert.equal(typeof r === "string" ? r : m.sel(seg).toString(16), want, name);
    if (typeof r !== "string" && sel > 3) {
      assert.equal(m.get(L.SEG_BASE + seg * 8), 0x12345678n, name);
      assert.equal(m.p8(GDT_AT + 0x35) & 1, 1, `${name}: accessed`);
    }
  }
  m.reset();
  m.protect(0);
  m.call("h_load_seg", 0x10, 0, SEG.SS + 0x100);
  assert.notEqual(m.rt.get32(L.INHIBIT), 0);
});

test("limits", () => {
  const rows: [string, number, number, number, number, boolean, string][] = [
    // name, flags, limit, offset, bytes, write, result
    ["last byte", 0x409200, 0xfff, 0xffc, 4, true, "0"],
    ["over the end", 0x409200, 0xfff, 0xffd, 4, true, "#13(0)"],
    ["wraps", 0xc09200, 0xffffffff, 0xfffffffe, 4, false, "#13(0)"],
    ["expand-down, below", 0x409600, 0xfff, 0xfff, 1, false, "#13(0)"],
    ["expand-down, above", 0x409600, 0xfff, 0x1000, 4, true, "0"],
    ["expand-down 16-bit, over 64 KiB", 0x009600, 0xfff, 0xfffe, 4, true, "#13(0)"],
    ["read-only", 0x409000, 0xfff, 0, 1, true, "#13(0)"],
    ["execute only", 0x409800, 0xfff, 0, 1, false, "#13(0)"],
  ];
  for (const [name, flags, limit, offset, bytes, write, want] of rows) {
    m.reset();
    m.protect(0);
    m.segment(SEG.DS, 0x30, flags, 0, limit);
    m.rt.exports.updateHflags();
    assert.equal(String(m.call("h_segchk", offset, 0, bytes | (write ? 0x100 : 0) | (SEG.DS << 16))), want, name);
    const quick = m.get((write ? L.SEG_WLIM : L.SEG_RLIM) + SEG.DS * 8);
    if (want !== "0") assert.ok(quick < BigInt(offset + bytes), `${name}: the quick limit says so too`);
  }
  m.reset();
  m.protect(0);
  assert.equal(m.rt.get32(L.HFLAGS) & (L.HF_SEGCHK | L.HF_CSCHK | L.HF_ADDSEG), 0, "flat");
});

test("LAR, LSL, VERR, VERW, ARPL", () => {
  m.reset();
  m.protect(3);
  m.gdt(0x30, 0, 0x12345, 0xc0f200);
  m.gdt(0x38, 0, 0x12345, 0x40f800);
  m.gdt(0x40, 0, 0x67, 0xe900);
  const zf = () => (m.flags >> 6) & 1;
  const rows: [string, number, string, number][] = [
    ["h_lar", 0x33, "c0f200", 1],
    ["h_lsl", 0x33, "12345fff", 1],
    ["h_lsl", 0x3b, "12345", 1],
    ["h_lar", 0x43, "e900", 1],
    ["h_lar", 0x10, "99", 0],
    ["h_lsl", 0, "99", 0],
    ["h_verr", 0x3b, "0", 0],
    ["h_verr", 0x33, "0", 1],
    ["h_verw", 0x33, "0", 1],
    ["h_verw", 0x43, "0", 0],
  ];
  for (const [name, sel, want, z] of rows) {
    assert.equal((m.call(name, sel, 0x99) as bigint).toString(16), want, `${name} ${sel}`);
    assert.equal(zf(), z, `${name} ${sel}: ZF`);
  }
  assert.equal(m.call("h_arpl", 0x1230, 0x13), 0x1233n);
  assert.equal(zf(), 1);
});

test("LLDT, LTR", () => {
  m.reset();
  m.protect(0);
  m.gdt(0x30, 0x5000, 0xff, 0x8200);
  m.gdt(0x38, 0x6000, 0x67, 0x8900);
  assert.equal(m.call("h_lldt", 0x38), "#13(38)");
  assert.equal(m.call("h_lldt", 0x30), 0n);
  assert.equal(m.get(L.LDTR_BASE), 0x5000n);
  m.w32(0x5008, 0xffff);
  m.w32(0x500c, 0xcf9200);
  assert.equal(m.call("h_load_seg", 0xc, 0, SEG.ES), 0n);
  assert.equal(m.call("h_ltr", 0x30), "#13(30)");
  assert.equal(m.call("h_ltr", 0x38), 0n);
  assert.equal(m.call("h_ltr", 0x38), "#13(38)", "busy now");
  m.protect(3);
  assert.equal(m.call("h_lldt", 0x30), "#13(0)");
});

test("far jumps and calls", () => {
  const rows: [string, number, string, number, number, () => void, string][] = [
    // name, CPL, helper, selector, offset, preparation, result
    ["JMP, code", 0, "h_far_jmp", 8, 0x5000, () => {}, "8:5000"],
    ["JMP, null", 0, "h_far_jmp", 0, 0x5000, () => {}, "#13(0)"],
    ["JMP, data", 0, "h_far_jmp", 0x10, 0x5000, () => {}, "#13(10)"],
    ["JMP, inner code", 3, "h_far_jmp", 8, 0x5000, () => {}, "#13(8)"],
    ["JMP, conforming", 3, "h_far_jmp", 0x30, 0x5000, () => m.gdt(0x30, 0, 0xfffff, 0xc09e00), "33:5000"],
    ["JMP, over the limit", 0, "h_far_jmp", 0x30, 0x5000, () => m.gdt(0x30, 0, 0x4fff, 0x409a00), "#13(0)"],
    ["JMP, not present", 0, "h_far_jmp", 0x30, 0x5000, () => m.gdt(0x30, 0, 0xfffff, 0xc01a00), "#11(30)"],
    ["JMP, call gate to inner code", 3, "h_far_jmp", 0x33, 0, () => callGate(0xec00), "#13(8)"],
    ["CALL, code", 0, "h_far_call", 8, 0x5000, () => {}, "8:5000"],
    ["CALL, call gate", 3, "h_far_call", 0x33, 0, () => callGate(0xec02), "8:6000"],
    ["CALL, call gate of DPL 0", 3, "h_far_call", 0x33, 0, () => callGate(0x8c02), "#13(30)"],
    ["CALL, call gate not present", 3, "h_far_call", 0x33, 0, () => callGate(0x6c02), "#11(30)"],
  ];
  for (const [name, level, helper, sel, offset, prepare, want] of rows) {
    m.reset();
    m.protect(level);
    prepare();
    m.set(L.NEXT_RIP, 0x1007n);
    assert.equal(going(m.call(helper, sel, offset, 2)), want, name);
  }
  // The frame of an inner call with two parameters, and the return.
  m.reset();
  m.protect(3);
  callGate(0xec02);
  m.w32(STACK3, 0x1111);
  m.w32(STACK3 + 4, 0x2222);
  m.set(L.NEXT_RIP, 0x1007n);
  m.call("h_far_call", 0x33, 0, 2);
  assert.equal(m.cpl, 0);
  assert.equal(m.reg(REG.RSP), BigInt(STACK0 - 24));
  assert.deepEqual(dwords(STACK0 - 24, 6), ["1007", "1b", "1111", "2222", STACK3.toString(16), "23"]);
  assert.equal(going(m.call("h_far_ret", 8, 0, 2)), "1b:1007");
  assert.equal(m.cpl, 3);
  assert.equal(m.reg(REG.RSP), BigInt(STACK3 + 8));
});

/** Call gate 0x30 to 8:6000. */
function callGate(flags: number): void {
  m.w32(GDT_AT + 0x30, 0x00086000);
  m.w32(GDT_AT + 0x34, flags);
}

test("64-bit call gate", () => {
  m.reset();
  m.long(3);
  m.w32(GDT_AT + 0x30, 0x00086000);
  m.w32(GDT_AT + 0x34, 0xec00);
  m.w64(GDT_AT + 0x38, 0xffff8000n);
  m.set(L.NEXT_RIP, 0x1007n);
  assert.equal(m.call("h_far_call", 0x33, 0, 2), 0n);
  assert.equal(m.get(L.RIP), 0xffff800000006000n);
  assert.equal(m.reg(REG.RSP), BigInt(STACK0 - 32));
  assert.equal(m.p64(STACK0 - 32), 0x1007n);
  assert.equal(m.p64(STACK0 - 16), BigInt(STACK3));
  assert.equal(going(m.call("h_far_ret", 0, 0, 3)), "1b:1007");
  assert.equal(m.reg(REG.RSP), BigInt(STACK3));
});

test("SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS", () => {
  m.reset();
  m.long(3);
  m.set(L.STAR, (0x18n << 48n) | (0x08n << 32n));
  m.set(L.LSTAR, 0xffffffff80001000n);
  m.set(L.SFMASK, 0x700n);
  m.flags = 0x3746;
  m.set(L.NEXT_RIP, 0x1002n);
  assert.equal(m.call("h_syscall"), 0n);
  assert.equal(m.get(L.RIP), 0xffffffff80001000n);
  assert.equal(m.reg(1), 0x1002n);
  assert.equal(m.reg(11), 0x3746n);
  assert.equal(m.flags, 0x3046);
  assert.deepEqual([m.sel(SEG.CS), m.sel(SEG.SS), m.cpl], [8, 0x10, 0]);
  m.set(L.SEG_BASE + 40, 0x1000n);
  m.set(L.KERNEL_GS_BASE, 0x2000n);
  assert.equal(m.call("h_swapgs"), 0n);
  assert.deepEqual([m.get(L.SEG_BASE + 40), m.get(L.KERNEL_GS_BASE)], [0x2000n, 0x1000n]);
  assert.equal(m.call("h_sysret", 0, 0, 3), 0n);
  assert.equal(where(), "2b:1002");
  assert.deepEqual([m.sel(SEG.SS), m.cpl, m.flags], [0x23, 3, 0x3746]);
  assert.equal(m.call("h_sysret", 0, 0, 3), "#13(0)");
  assert.equal(m.call("h_swapgs"), "#13(0)");
  m.set(L.SYSENTER_CS, 8n);
  m.set(L.SYSENTER_EIP, 0x7000n);
  m.set(L.SYSENTER_ESP, 0x8000n);
  assert.equal(m.call("h_sysenter"), 0n);
  assert.deepEqual([where(), m.sel(SEG.SS), m.reg(REG.RSP), m.cpl], ["8:7000", 0x10, 0x8000n, 0]);
  m.setReg(REG.RCX, 0x9000);
  m.setReg(REG.RDX, 0x5000);
  assert.equal(m.call("h_sysexit", 0, 0, 2), 0n);
  assert.deepEqual([where(), m.sel(SEG.SS), m.reg(REG.RSP), m.cpl], ["1b:5000", 0x23, 0x9000n, 3]);
  m.set(L.EFER, 0xd00n);
  assert.equal(m.call("h_syscall"), "#6(0)");
});

/** A second 32-bit task at 0x13000, selector 0x40, starting at CS:2000. */
function secondTask(): void {
  m.gdt(0x40, 0x13000, 0x67, 0x8900);
  for (const [o, v] of [
    [0x20, 0x2000],
    [0x24, 0x202],
    [0x28, 0xaaaa],
    [0x38, 0x50000],
  ] as const)
    m.w32(0x13000 + o, v);
  for (const [i, v] of [0x10, 8, 0x10, 0x10, 0, 0].entries()) m.w32(0x13048 + i * 4, v);
}

test("task switches", () => {
  m.reset();
  m.protect(0);
  secondTask();
  m.setReg(REG.RBX, 0xbbbb);
  m.set(L.NEXT_RIP, 0x1007n);
  assert.equal(going(m.call("h_far_call", 0x40, 0, 2)), "8:2000");
  assert.equal(m.reg(REG.RAX), 0xaaaan);
  assert.equal(m.reg(REG.RSP), 0x50000n);
  assert.equal(m.p16(0x13000), 0x28, "link");
  assert.equal(m.flags & 0x4000, 0x4000, "NT");
  assert.equal(m.p32(TSS_AT + 0x20), 0x1007);
  assert.equal(m.p32(TSS_AT + 0x34), 0xbbbb);
  assert.equal(m.get(L.CR0) & 8n, 8n, "TS");
  assert.equal(m.p8(GDT_AT + 0x45), 0x8b, "busy");
  m.w8(GDT_AT + 0x2d, 0x8b);
  m.set(L.NEXT_RIP, 0x2001n);
  assert.equal(going(m.call("h_iret", 0, 0, 2)), "8:1007");
  assert.equal(m.reg(REG.RBX), 0xbbbbn);
  assert.equal(m.p8(GDT_AT + 0x45), 0x89, "free again");
  assert.equal(m.flags & 0x4000, 0);
  assert.equal(m.rt.get32(L.RIP_EXACT), 0);

  // Through a task gate, from an exception with an error code.
  m.reset();
  m.protect(3);
  secondTask();
  m.gate(13, 0x40, 0, 5);
  assert.equal(m.deliver(13, 0x18), 0);
  assert.equal(where(), "8:2000");
  assert.equal(m.cpl, 0);
  assert.equal(m.p32(0x50000 - 4), 0x18);
  assert.equal(m.p32(TSS_AT + 0x20), 0x1000);

  const rows: [string, () => void, string][] = [
    ["busy", () => m.gdt(0x40, 0x13000, 0x67, 0x8b00), "#13(40)"],
    ["too short", () => m.gdt(0x40, 0x13000, 0x66, 0x8900), "#10(40)"],
    ["not present", () => m.gdt(0x40, 0x13000, 0x67, 0x0900), "#11(40)"],
    ["CS of the new task is data", () => m.w32(0x1304c, 0x10), "#10(10)"],
    ["SS of the new task is null", () => m.w32(0x13050, 0), "#10(0)"],
    ["DS of the new task", () => m.w32(0x13054, 0x1230), "#10(1230)"],
    ["LDT of the new task", () => m.w32(0x13060, 0x10), "#10(10)"],
  ];
  for (const [name, prepare, want] of rows) {
    m.reset();
    m.protect(0);
    secondTask();
    prepare();
    assert.equal(going(m.call("h_far_jmp", 0x40, 0, 2)), want, name);
    // Faults after the switch belong to the new task.
    assert.equal(m.rip, want.startsWith("#10") && name !== "too short" ? 0x2000 : 0x1000, name);
  }
});

test("control registers", () => {
  const rows: [string, number, bigint, number, string][] = [
    // name, CPL, value, register, result
    ["CPL 3", 3, 0x11n, 0, "#13(0)"],
    ["PG without PE", 0, 0x80000010n, 0, "#13(0)"],
    ["NW without CD", 0, 0x20000011n, 0, "#13(0)"],
    ["reserved bits of CR4", 0, 1n << 30n, 4, "#13(0)"],
    ["CR1", 0, 0n, 1, "#6(0)"],
    ["good", 0, 0x11n, 0, "0"],
    ["CR8", 0, 16n, 8, "#13(0)"],
  ];
  for (const [name, level, v, n, want] of rows) {
    m.reset();
    m.protect(level);
    assert.equal(String(m.call("h_mov_to_cr", v, 0, n)), want, name);
  }
  // Into long mode: LMA follows PG and LME.
  m.reset();
  m.protect(0);
  m.set(L.EFER, 0x100n);
  assert.equal(m.call("h_mov_to_cr", 0x80000011n, 0, 0), "#13(0)", "needs PAE");
  m.call("h_mov_to_cr", 0x20, 0, 4);
  assert.equal(m.call("h_mov_to_cr", 0x80000011n, 0, 0), 0n);
  assert.equal(m.get(L.EFER), 0x500n);
  assert.equal(m.call("h_mov_to_cr", 0, 0, 4), "#13(0)", "PAE cannot go");
  m.call("h_mov_to_cr", 0x11, 0, 0);
  assert.equal(m.get(L.EFER), 0x100n);
  assert.equal(m.call("h_lmsw", 0xe), 0n);
  assert.equal(m.get(L.CR0), 0x1fn, "LMSW cannot clear PE");
});

test("POPF, PUSHF, CLI, STI", () => {
  const all = 0x3f7fd7;
  const rows: [string, number, number, number, number, string][] = [
    // name, CPL, flags before, value, size, flags after or fault
    ["CPL 0", 0, 2, all, 2, "247fd7"],
    ["CPL 3, IOPL 0: IF and IOPL stay", 3, 0x202, 0x3000, 2, "202"],
    ["CPL 3, IOPL 3: IF follows, IOPL stays", 3, 0x3202, 0, 2, "3002"],
    ["16-bit keeps AC and ID", 0, 0x240002, 0, 1, "240002"],
  ];
  for (const [name, level, before, value, size, want] of rows) {
    m.reset();
    m.protect(level);
    m.flags = before;
    const r = m.call("h_popf", value, 0, size);
    assert.equal(typeof r === "string" ? r : m.flags.toString(16), want, name);
  }
  m.reset();
  m.protect(3);
  assert.equal(m.call("h_cli"), "#13(0)");
  m.set(L.CR4, 2n);
  assert.equal(m.call("h_sti"), 0n, "PVI");
  assert.equal(m.flags, 0x80002);
  // Virtual-8086 mode.
  m.flags = 0x20202;
  assert.equal(m.call("h_pushf", 0, 0, 1), "#13(0)");
  assert.equal(m.call("h_popf", 2, 0, 1), "#13(0)");
  m.set(L.CR4, 1n);
  assert.equal(m.call("h_pushf", 0, 0, 1), 0x3002n);
  assert.equal(m.call("h_popf", 0x202, 0, 1), 0n);
  assert.equal(m.flags, 0xa0202);
});

test("I/O permission bitmap", () => {
  m.reset();
  m.protect(3);
  m.w16(TSS_AT + 0x66, 0x100);
  m.w8(TSS_AT + 0x100 + (0x378 >> 3), 0b10);
  assert.equal(m.call("h_in", 0x378, 0, 1), 0n);
  assert.equal(m.call("h_in", 0x379, 0, 1), "#13(0)");
  assert.equal(m.call("h_out", 0x378, 0x1234, 2), "#13(0)");
  assert.equal(m.call("h_out", 0x37a, 0x1234, 2), 0n);
  m.rt.set32(L.TR_LIMIT, 0x16f);
  assert.equal(m.call("h_in", 0x378, 0, 1), "#13(0)", "over the limit");
  m.flags = 0x3002;
  assert.equal(m.call("h_in", 0x379, 0, 1), 0n);
  assert.deepEqual(m.log, ["in1 378", "out2 37a=1234", "in1 379"]);
});

test("MSRs", () => {
  const set = (n: number, v: bigint) => {
    m.setReg(REG.RCX, n);
    m.setReg(REG.RAX, v & 0xffffffffn);
    m.setReg(REG.RDX, v >> 32n);
    return String(m.call("h_wrmsr"));
  };
  const get = (n: number) => {
    m.setReg(REG.RCX, n);
    const r = m.call("h_rdmsr");
    return typeof r === "string" ? r : ((m.reg(REG.RDX) << 32n) | m.reg(REG.RAX)).toString(16);
  };
  m.reset();
  m.protect(0);
  assert.equal(get(0xfe), "508");
  assert.equal(get(0x10), "0", "the TSC starts at reset");
  assert.equal(set(0x10, 0x1000n), "0");
  assert.equal(get(0x10), "1000");
  assert.equal(get(0x3b), "1000");
  assert.equal(set(0x277, 0x0007040600070402n), "#13(0)");
  assert.equal(set(0xc0000102, 0x800000000000n), "#13(0)");
  assert.equal(set(0xc0000102, 0xffff800000000000n), "0");
  assert.equal(get(0xc0000102), "ffff800000000000");
  assert.equal(set(0xc0000080, 2n), "#13(0)");
  assert.equal(set(0xc0000080, 0x901n), "0");
  m.protect(3);
  assert.equal(get(0x10), "#13(0)");
});
