import assert from "node:assert/strict";
import { test } from "node:test";
import * as L from "../layout.js";
import { BareMachine, REG, SEG, STACK0, STACK3, TSS_AT } from "./bare-machine.js";

const m = new BareMachine();

const words = (at: number, n: number) => Array.from({ length: n }, (_, i) => m.p16(at + i * 2).toString(16));
const dwords = (at: number, n: number) => Array.from({ length: n }, (_, i) => m.p32(at + i * 4).toString(16));
const qwords = (at: number, n: number) => Array.from({ length: n }, (_, i) => m.p64(at + i * 8).toString(16));
const where = () => `${m.sel(SEG.CS).toString(16)}:${m.rip.toString(16)}`;

test("real mode: INT, IRET, fault", () => {
  m.reset();
  m.set(L.IDT_BASE, 0n);
  m.w16(0x21 * 4, 0x1234);
  m.w16(0x21 * 4 + 2, 0xf00);
  m.segment(SEG.CS, 0x100, 0x9b00, 0x1000, 0xffff);
  m.segment(SEG.SS, 0x200, 0x9300, 0x2000, 0xffff);
  m.setReg(REG.RSP, 0xabcd0000n);
  m.flags = 0x302;
  m.set(L.NEXT_RIP, 0x57n);
  assert.equal(m.call("h_int_n", 0, 0, 0x21), 0n);
  assert.equal(where(), "f00:1234");
  assert.equal(m.reg(REG.RSP), 0xabcdfffan);
  assert.deepEqual(words(0x2000 + 0xfffa, 3), ["57", "100", "302"]);
  assert.equal(m.flags, 2);
  assert.equal(m.call("h_iret", 0, 0, 1), 0n);
  assert.equal(where(), "100:57");
  assert.equal(m.flags, 0x302);
  assert.equal(m.reg(REG.RSP), 0xabcd0000n);
  // Vector beyond the IDT's limit: #GP, whose entry is there.
  m.rt.set32(L.IDT_LIMIT, 0x7f);
  assert.equal(m.call("h_int_n", 0, 0, 0x21), "#13(10a)");
  m.rip = 0x55;
  m.w32(13 * 4, 0x0e000077);
  assert.equal(m.deliver(13, 0x10a), 0);
  assert.equal(where(), "e00:77");
  assert.deepEqual(words(0x2000 + 0xfffa, 2), ["55", "100"]);
});

test("protected mode: gates and their errors", () => {
  type Row = [string, number, () => void, string];
  const rows: Row[] = [
    ["software, DPL too low", 3, () => m.gate(0x40, 8, 0x5000, 14, 0), "#13(202)"],
    ["not present", 3, () => m.gate(0x40, 8, 0x5000, 14, 3, false), "#11(202)"],
    ["bad type", 3, () => m.gate(0x40, 8, 0x5000, 12, 3), "#13(202)"],
    ["null code selector", 3, () => m.gate(0x40, 0, 0x5000, 14, 3), "#13(0)"],
    ["data selector", 3, () => m.gate(0x40, 0x10, 0x5000, 14, 3), "#13(10)"],
    ["code not present", 3, () => (m.gate(0x40, 0x30, 0x5000, 14, 3), m.gdt(0x30, 0, 0xfffff, 0xc01a00)), "#11(30)"],
    ["code selector outside the GDT", 3, () => m.gate(0x40, 0x2000, 0x5000, 14, 3), "#13(2000)"],
    ["offset over the limit", 3, () => (m.gate(0x40, 0x30, 0x5000, 14, 3), m.gdt(0x30, 0, 0xfff, 0x409a00)), "#13(0)"],
    ["inner stack null", 3, () => (m.gate(0x40, 8, 0x5000, 14, 3), m.w16(TSS_AT + 8, 0)), "#10(0)"],
    ["inner stack with the wrong DPL", 3, () => (m.gate(0x40, 8, 0x5000, 14, 3), m.w16(TSS_AT + 8, 0x20)), "#10(20)"],
    [
      "inner stack not present",
      3,
      () => (m.gate(0x40, 8, 0x5000, 14, 3), m.w16(TSS_AT + 8, 0x30), m.gdt(0x30, 0, 0xfffff, 0xc01200)),
      "#12(30)",
    ],
    [
      "inner stack too small",
      3,
      () => (m.gate(0x40, 8, 0x5000, 14, 3), m.w16(TSS_AT + 8, 0x30), m.gdt(0x30, 0, 0xfff, 0x409200)),
      "#12(30)",
    ],
    ["TSS too short", 3, () => (m.gate(0x40, 8, 0x5000, 14, 3), m.rt.set32(L.TR_LIMIT, 5)), "#10(28)"],
    ["IDT too short", 3, () => m.rt.set32(L.IDT_LIMIT, 0x1ff), "#13(202)"],
    ["good, inner", 3, () => m.gate(0x40, 8, 0x5000, 14, 3), "8:5000"],
    ["good, trap gate, same level", 0, () => m.gate(0x40, 8, 0x5000, 15, 0), "8:5000"],
    ["good, 16-bit", 0, () => m.gate(0x40, 8, 0x5000, 6, 0), "8:5000"],
    ["good, conforming", 3, () => (m.gate(0x40, 0x30, 0x5000, 14, 3), m.gdt(0x30, 0, 0xfffff, 0xc09e00)), "33:5000"],
  ];
  for (const [name, level, prepare, want] of rows) {
    m.reset();
    m.protect(level);
    prepare();
    m.set(L.NEXT_RIP, 0x1002n);
    const r = m.call("h_int_n", 0, 0, 0x40);
    assert.equal(typeof r === "string" ? r : where(), want, name);
    if (typeof r === "string") {
      assert.equal(where(), level ? "1b:1000" : "8:1000", name);
      assert.equal(m.reg(REG.RSP), BigInt(STACK3), name);
    }
  }
});

test("protected mode: frames, there and back", () => {
  m.reset();
  m.protect(3);
  m.gate(14, 8, 0x5000, 14);
  m.flags = 0x3246;
  assert.equal(m.deliver(14, 6), 0);
  assert.equal(where(), "8:5000");
  assert.equal(m.cpl, 0);
  assert.deepEqual(dwords(STACK0 - 24, 6), ["6", "1000", "1b", "13246", STACK3.toString(16), "23"]);
  assert.equal(m.flags, 0x3046);
  m.setReg(REG.RSP, STACK0 - 20);
  assert.equal(m.call("h_iret", 0, 0, 2), 0n);
  assert.equal(where(), "1b:1000");
  assert.equal(m.cpl, 3);
  assert.equal(m.reg(REG.RSP), BigInt(STACK3));
  assert.equal(m.flags, 0x3246);
  // Kernel data segments do not survive the return.
  m.reset();
  m.protect(0);
  for (const [i, v] of [0x1000, 0x1b, 0x202, STACK3, 0x23].entries()) m.w32(STACK3 + i * 4, v);
  m.call("h_iret", 0, 0, 2);
  assert.deepEqual(
    [SEG.DS, SEG.ES, SEG.FS, SEG.SS].map((s) => m.sel(s)),
    [0, 0, 0, 0x23],
  );
});

test("IRET: refusals in protected mode", () => {
  const rows: [string, number, number[], string][] = [
    ["null CS", 0, [0x1000, 0, 2], "#13(0)"],
    ["inner CS", 3, [0x1000, 8, 2], "#13(8)"],
    ["data as CS", 0, [0x1000, 0x10, 2], "#13(10)"],
    ["RPL 3 with DPL 0", 0, [0x1000, 0xb, 2], "#13(8)"],
    ["null SS", 0, [0x1000, 0x1b, 2, STACK3, 0], "#13(0)"],
    ["SS of the wrong level", 0, [0x1000, 0x1b, 2, STACK3, 0x13], "#13(10)"],
  ];
  for (const [name, level, frame, want] of rows) {
    m.reset();
    m.protect(level);
    for (const [i, v] of frame.entries()) m.w32(STACK3 + i * 4, v);
    assert.equal(m.call("h_iret", 0, 0, 2), want, name);
    assert.equal(m.reg(REG.RSP), BigInt(STACK3), name);
  }
});

test("virtual-8086 mode: exception out of it and IRET into it; INT n rules", () => {
  m.reset();
  m.protect(0);
  m.gate(13, 8, 0x5000, 14);
  const frame = [0x77, 0x1000, 0x23202, 0x8000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000];
  for (const [i, v] of frame.entries()) m.w32(STACK3 + i * 4, v);
  assert.equal(m.call("h_iret", 0, 0, 2), 0n);
  assert.equal(where(), "1000:77");
  assert.equal(m.cpl, 3);
  assert.equal(m.flags, 0x23202);
  assert.deepEqual(
    [SEG.SS, SEG.ES, SEG.DS, SEG.FS, SEG.GS].map((s) => m.sel(s)),
    [0x2000, 0x3000, 0x4000, 0x5000, 0x6000],
  );
  assert.equal(m.get(L.SEG_BASE + SEG.DS * 8), 0x40000n);
  assert.equal(m.deliver(13, 0), 0);
  assert.equal(where(), "8:5000");
  assert.deepEqual(dwords(STACK0 - 40, 10), ["0", "77", "1000", "33202", "8000", "2000", "3000", "4000", "5000", "6000"]);
  assert.equal(m.sel(SEG.DS), 0);
  assert.equal(m.flags & 0x20000, 0);
  // INT n: IOPL 3 goes through the gate, else #GP(0); with VME the redirection bitmap decides.
  for (const [name, flags, vme, bitmap, want] of [
    ["IOPL 0", 0x20202, false, 1, "#13(0)"],
    ["IOPL 0, VME, redirected", 0x20202, true, 0, "f00:1234"],
    ["IOPL 0, VME, not redirected", 0x20202, true, 1, "#13(0)"],
    ["IOPL 3", 0x23202, false, 0, "8:6000"],
  ] as const) {
    m.reset();
    m.protect(0);
    m.gate(0x21, 8, 0x6000, 14, 3);
    for (const [i, v] of [0x77, 0x1000, flags, 0x8000, 0x2000, 0, 0, 0, 0].entries()) m.w32(STACK3 + i * 4, v);
    m.call("h_iret", 0, 0, 2);
    if (vme) m.set(L.CR4, 1n);
    m.w8(TSS_AT + 0x88 - 32 + 4, bitmap << 1);
    m.w32(0x21 * 4, 0x0f001234);
    m.set(L.NEXT_RIP, 0x79n);
    const r = m.call("h_int_n", 0, 0, 0x21);
    assert.equal(typeof r === "string" ? r : where(), want, name);
  }
});

test("64-bit mode", () => {
  m.reset();
  m.long(3);
  m.gate64(14, 8, 0xffff800000005000n, 14);
  m.flags = 0x202;
  m.setReg(REG.RSP, 0x40005);
  assert.equal(m.deliver(14, 4), 0);
  assert.equal(m.get(L.RIP), 0xffff800000005000n);
  assert.deepEqual(qwords(STACK0 - 48, 6), ["4", "1000", "1b", "10202", "40005", "23"]);
  assert.equal(m.sel(SEG.SS), 0);
  assert.equal(m.cpl, 0);
  m.setReg(REG.RSP, STACK0 - 40);
  assert.equal(m.call("h_iret", 0, 0, 3), 0n);
  assert.equal(where(), "1b:1000");
  assert.equal(m.sel(SEG.SS), 0x23);
  assert.equal(m.reg(REG.RSP), 0x40005n);
  // Same level: the stack is aligned; SS stays.
  m.reset();
  m.long(0);
  m.gate64(0x20, 8, 0x5000n, 14);
  m.setReg(REG.RSP, 0x4000f);
  m.rt.exports.deliverInterrupt(0x20);
  assert.equal(m.reg(REG.RSP), 0x40000n - 40n);
  assert.equal(m.sel(SEG.SS), 0x10);
  // IST.
  m.reset();
  m.long(0);
  m.gate64(8, 8, 0x5000n, 14, 0, 2);
  m.w64(TSS_AT + 0x2c, 0x50000n);
  assert.equal(m.deliver(8), 0);
  assert.deepEqual(qwords(0x50000 - 48, 1), ["0"]);
  const rows: [string, () => void, string][] = [
    ["16-bit gate", () => m.gate64(0x40, 8, 0x5000n, 6, 3), "#13(202)"],
    ["32-bit code", () => (m.gate64(0x40, 0x30, 0x5000n, 14, 3), m.gdt(0x30, 0, 0xfffff, 0xc09a00)), "#13(30)"],
    ["stack not canonical", () => (m.gate64(0x40, 8, 0x5000n, 14, 3), m.w64(TSS_AT + 4, 0x800000000000n)), "#12(0)"],
    ["TSS too short", () => (m.gate64(0x40, 8, 0x5000n, 14, 3), m.rt.set32(L.TR_LIMIT, 10)), "#10(28)"],
  ];
  for (const [name, prepare, want] of rows) {
    m.reset();
    m.long(3);
    prepare();
    assert.equal(m.call("h_int_n", 0, 0, 0x40), want, name);
  }
  // IRETQ to an address that is not canonical.
  m.reset();
  m.long(0);
  for (const [i, v] of [0x800000000000n, 0x1bn, 2n, 0n, 0x23n].entries()) m.w64(STACK3 + i * 8, v);
  assert.equal(m.call("h_iret", 0, 0, 3), "#13(0)");
});

test("faults during delivery: serial, double, triple", () => {
  const rows: [string, number, () => void, number, string][] = [
    ["#UD without a gate: #GP", 6, () => m.gate(13, 8, 0x5000, 14), 1, "8:5000"],
    ["#GP without a gate: #DF", 13, () => m.gate(8, 8, 0x6000, 14), 1, "8:6000"],
    ["#PF without a gate: #DF", 14, () => m.gate(8, 8, 0x6000, 14), 1, "8:6000"],
    ["#DE, then #NP: #DF", 0, () => (m.gate(0, 8, 0x5000, 14, 0, false), m.gate(8, 8, 0x6000, 14)), 1, "8:6000"],
    ["nothing at all: shut down", 13, () => {}, 2, "8:1000"],
  ];
  for (const [name, vector, prepare, faults, want] of rows) {
    m.reset();
    m.protect(0);
    prepare();
    assert.equal(m.deliver(vector, 0), faults, name);
    assert.equal(where(), want, name);
    assert.equal(m.rt.get32(L.RIP_EXACT), 0, name);
  }
  assert.equal(m.rt.get32(L.HALTED), 3);
  assert.deepEqual(m.notes, ["2"]);
  assert.equal(m.rt.exports.serviceEvents(), 2);
});

test("events between instructions", () => {
  m.reset();
  m.protect(0);
  m.gate(0x30, 8, 0x5000, 14);
  m.gate(2, 8, 0x6000, 14);
  m.gate(1, 8, 0x7000, 14);
  m.vector = 0x30;
  m.rt.set32(L.EVENTS, L.EV_INTR);
  assert.equal(m.rt.exports.serviceEvents(), 0);
  assert.equal(where(), "8:1000", "IF is clear");
  assert.equal(m.rt.get32(L.EVENTS), 0, "and the polling word quiet");
  m.call("h_sti");
  assert.equal(m.rt.get32(L.EVENTS), L.EV_INTR);
  assert.equal(m.rt.exports.serviceEvents(), 1, "shadow");
  assert.equal(m.rt.exports.serviceEvents(), 0);
  assert.equal(where(), "8:5000");
  // NMI, blocked until IRET.
  m.rt.set32(L.EVENTS, L.EV_NMI);
  m.rt.exports.serviceEvents();
  assert.equal(where(), "8:6000");
  m.rt.set32(L.EVENTS, L.EV_NMI);
  m.rip = 0x6004;
  m.rt.exports.serviceEvents();
  assert.equal(where(), "8:6004");
  m.call("h_iret", 0, 0, 2);
  assert.equal(where(), "8:5000");
  m.rt.exports.serviceEvents();
  assert.equal(where(), "8:6000");
  // Single step.
  m.call("h_step_trap");
  m.rt.exports.serviceEvents();
  assert.equal(where(), "8:7000");
  assert.equal(m.get(L.DR + 48), 0xffff4ff0n);
  // HLT wakes up.
  m.reset();
  m.protect(0);
  m.gate(0x30, 8, 0x5000, 14);
  m.flags = 0x202;
  m.set(L.NEXT_RIP, 0x1001n);
  m.call("h_hlt");
  assert.equal(m.rt.exports.serviceEvents(), 2);
  m.vector = 0x30;
  m.rt.set32(L.EVENTS, L.EV_INTR);
  assert.equal(m.rt.exports.serviceEvents(), 0);
  assert.equal(m.rt.get32(L.HALTED), 0);
  assert.equal(m.p32(STACK3 - 12), 0x1001);
  // INIT and SIPI.
  m.rt.set32(L.CPU_INDEX, 1);
  m.rt.set32(L.EVENTS, L.EV_INIT);
  assert.equal(m.rt.exports.serviceEvents(), 2);
  m.rt.set32(L.SIPI_VECTOR, 0x9a);
  m.rt.set32(L.EVENTS, L.EV_SIPI);
  assert.equal(m.rt.exports.serviceEvents(), 0);
  assert.equal(where(), "9a00:0");
  assert.equal(m.get(L.SEG_BASE + 8), 0x9a000n);
  m.rt.set32(L.EVENTS, L.EV_INIT | L.EV_SIPI);
  m.rt.set32(L.SIPI_VECTOR, 0x12);
  assert.equal(m.rt.exports.serviceEvents(), 0);
  assert.equal(where(), "1200:0", "both at once");
  m.rt.set32(L.CPU_INDEX, 0);
});

test("breakpoint registers", () => {
  m.reset();
  m.protect(0);
  m.gate(1, 8, 0x7000, 14);
  m.set(L.DR, 0x1000n);
  m.set(L.DR + 8, 0x2004n);
  assert.equal(m.call("h_mov_to_dr", 0xd0_0005, 0, 7), 0n);
  assert.equal(m.rt.get32(L.HFLAGS) & L.HF_DR7, L.HF_DR7);
  assert.equal(m.call("h_dr_exec", 0x1000), "#1(1)");
  m.deliver(1, 1);
  assert.equal(m.p32(STACK3 - 4) & 0x10000, 0x10000, "RF, so that the instruction can be resumed");
  m.call("h_iret", 0, 0, 2);
  assert.equal(m.call("h_dr_exec", 0x1000), 0n);
  assert.equal(m.call("h_dr_exec", 0x1000), "#1(1)");
  m.rt.set32(L.PENDING_DR6, 0);
  m.call("h_dr_check", 0x2003, 0, 1 | 0x100);
  assert.equal(m.rt.get32(L.EVENTS) & L.EV_TRAP, 0);
  m.call("h_dr_check", 0x2003, 0, 2 | 0x100);
  assert.equal(m.rt.get32(L.EVENTS) & L.EV_TRAP, L.EV_TRAP);
});

test("SMM and back", () => {
  m.reset();
  m.long(3);
  for (let i = 0; i < 16; i++) m.setReg(i, 0x1111111111111111n * BigInt(i));
  m.flags = 0x246;
  const before = Array.from({ length: 0x220 / 8 }, (_, i) => m.get(i * 8));
  m.rt.set32(L.EVENTS, L.EV_SMI);
  assert.equal(m.rt.exports.serviceEvents(), 0);
  assert.equal(where(), "3000:8000");
  assert.equal(m.rt.get32(L.HFLAGS) & (L.HF_PE | L.HF_SMM), L.HF_SMM);
  assert.equal(m.p32(0x30000 + 0xfefc), 0x20064);
  m.setReg(0, 5);
  assert.equal(m.call("h_rsm"), 0n);
  const after = before.map((_, i) => m.get(i * 8));
  // CC_* may be another form of the same flags.
  for (const i of [17, 18, 19, 20]) after[i] = before[i]!;
  assert.deepEqual(after, before);
  assert.equal(m.flags, 0x246);
  assert.deepEqual(m.notes, ["0", "1"]);
  assert.equal(m.call("h_rsm"), "#6(0)");
});
