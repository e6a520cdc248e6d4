import assert from "node:assert/strict";
import { test } from "node:test";
import * as L from "../layout.js";
import { BareMachine, MMIO, REG, SEG } from "./bare-machine.js";

const m = new BareMachine();
const { RAX, RCX, RDX, RSI, RDI } = REG;

const REP = 0x100;
const REPNE = 0x200;
/** Immediate: log2 size, address size (1 = 16, 2 = 32, 3 = 64), repeat kind. */
const imm = (size: number, address: number, rep: number, seg: number = SEG.DS) => size | (address << 2) | (seg << 4) | rep;

/** Runs a string helper until it is finished. */
function all(name: string, i: number): string {
  for (let n = 0; n < 1000; n++) {
    const r = m.call(name, 0, 0, i);
    if (r !== 1n) return String(r);
  }
  throw new Error("does not end");
}

function start(si: number, di: number, count: number, down = false): void {
  m.setReg(RSI, si);
  m.setReg(RDI, di);
  m.setReg(RCX, count);
  m.set(L.DF, down ? 0xffffffffffffffffn : 1n);
}

/** What MOVS does, one element at a time, on a copy of memory. */
function model(memory: number[], si: number, di: number, count: number, bytes: number, down: boolean): void {
  for (let i = 0; i < count; i++) {
    const step = (down ? -i : i) * bytes;
    const element = memory.slice(si + step, si + step + bytes);
    for (const [k, v] of element.entries()) memory[di + step + k] = v;
  }
}

test("REP MOVS equals element-by-element copying", () => {
  const rows: [number, number, number, number, boolean][] = [
    // size, SI, DI, count, down
    [0, 0x100, 0x2000, 0x1800, false],
    [2, 0x101, 0x2003, 0x700, false],
    [0, 0x100, 0x101, 0x1234, false],
    [0, 0x100, 0x107, 0x1234, false],
    [3, 0x100, 0x103, 0x300, false],
    [2, 0x108, 0x100, 0x500, false],
    [1, 0x100, 0x104, 0x900, false],
    [0, 0x3000, 0x2fff, 0x1234, true],
    [0, 0x3000, 0x3001, 0x1234, true],
    [2, 0x3000, 0x2ffd, 0x600, true],
    [3, 0x2ffe, 0x4ffb, 0x200, true],
  ];
  for (const [size, si, di, count, down] of rows) {
    const name = `size ${1 << size}, ${si.toString(16)} -> ${di.toString(16)}, ${count.toString(16)}${down ? " down" : ""}`;
    m.reset();
    m.protect(0);
    const memory = Array.from({ length: 0x6000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
    m.put(0x100000, memory);
    start(0x100000 + si, 0x100000 + di, count, down);
    assert.equal(all("h_rep_movs", imm(size, 2, REP)), "0", name);
    model(memory, si, di, count, 1 << size, down);
    assert.deepEqual(m.bytes(0x100000, memory.length), memory, name);
    const moved = (down ? -count : count) << size;
    assert.deepEqual(
      [m.reg(RSI), m.reg(RDI), m.reg(RCX)],
      [BigInt(0x100000 + si + moved), BigInt(0x100000 + di + moved), 0n],
      name,
    );
  }
});

test("bounds: work a call, no repeat, count zero, trap flag", () => {
  m.reset();
  m.protect(0);
  start(0x100000, 0x200000, 0x30000);
  assert.equal(m.call("h_rep_movs", 0, 0, imm(0, 2, REP)), 1n);
  assert.equal(m.reg(RCX), 0x20000n);
  start(0x100000, 0x200000, 5);
  assert.equal(m.call("h_rep_movs", 0, 0, imm(2, 2, 0)), 0n);
  assert.deepEqual([m.reg(RSI), m.reg(RCX)], [0x100004n, 5n]);
  start(0x100000, 0x200000, 0);
  assert.equal(m.call("h_rep_movs", 0, 0, imm(2, 2, REP)), 0n);
  assert.equal(m.reg(RSI), 0x100000n);
  m.flags = 0x102;
  start(0x100000, 0x200000, 5);
  assert.equal(m.call("h_rep_movs", 0, 0, imm(2, 2, REP)), 1n);
  assert.equal(m.reg(RCX), 4n, "one element a step");
});

test("16-bit addresses wrap and keep the upper halves", () => {
  m.reset();
  m.segment(SEG.DS, 0x1000, 0x9300, 0x10000, 0xffff);
  m.segment(SEG.ES, 0x2000, 0x9300, 0x20000, 0xffff);
  m.rt.exports.updateHflags();
  for (let i = 0; i < 8; i++) m.w8(0x10000 + ((0xfffc + i) & 0xffff), i + 1);
  start(0x1234fffc, 0xabcd0010, 0x77770008);
  assert.equal(all("h_rep_movs", imm(0, 1, REP)), "0");
  assert.deepEqual(m.bytes(0x20010, 8), [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.deepEqual([m.reg(RSI), m.reg(RDI), m.reg(RCX)], [0x12340004n, 0xabcd0018n, 0x77770000n]);
  // A word at the last byte is over the limit.
  start(0xfffd, 0x10, 4);
  assert.equal(all("h_rep_movs", imm(1, 1, REP)), "#13(0)");
  assert.deepEqual([m.reg(RSI), m.reg(RCX)], [0xffffn, 3n]);
});

test("a fault in the middle leaves exact registers", () => {
  m.reset();
  m.protect(0);
  m.w32(0x100000, 0x101007);
  for (let i = 0; i < 1024; i++) m.w32(0x101000 + i * 4, i * 4096 + 7);
  m.w32(0x101000 + 0x203 * 4, 0);
  m.set(L.CR3, 0x100000n);
  assert.equal(m.call("h_mov_to_cr", 0x80000011, 0, 0), 0n);
  m.rt.exports.flushTlb(0);
  start(0x180000, 0x202002, 0x1000);
  assert.equal(all("h_rep_movs", imm(2, 2, REP)), "#14(2)@203000");
  // The element across the boundary is not begun.
  assert.deepEqual([m.reg(RDI), m.reg(RSI), m.reg(RCX)], [0x202ffen, 0x180ffcn, 0x1000n - 0x3ffn]);
  start(0, 0x202ff0, 0x100);
  m.setReg(RAX, 0x55);
  assert.equal(all("h_rep_stos", imm(0, 2, REP)), "#14(2)@203000");
  assert.equal(m.reg(RCX), 0xf0n);
});

test("STOS of every size, both directions", () => {
  for (const [size, down] of [
    [0, false],
    [1, false],
    [2, false],
    [3, false],
    [1, true],
    [3, true],
  ] as const) {
    m.reset();
    m.protect(0);
    m.setReg(RAX, 0x8877665544332211n);
    start(0, 0x100ff8, 0x300, down);
    assert.equal(all("h_rep_stos", imm(size, 2, REP)), "0");
    const bytes = 1 << size;
    const low = down ? 0x100ff8 - 0x2ff * bytes : 0x100ff8;
    const want = Array.from({ length: 0x300 * bytes }, (_, i) => 0x11 * ((i % bytes) + 1));
    assert.deepEqual(m.bytes(low, want.length), want, `size ${bytes} ${down}`);
    assert.deepEqual([m.p8(low - 1), m.p8(low + want.length)], [0, 0]);
  }
});

test("CMPS, SCAS, LODS", () => {
  m.reset();
  m.protect(0);
  m.put(0x100000, [1, 2, 3, 4, 5, 6]);
  m.put(0x200000, [1, 2, 3, 9, 5, 6]);
  start(0x100000, 0x200000, 6);
  assert.equal(all("h_rep_cmps", imm(0, 2, REP)), "0");
  assert.deepEqual([m.reg(RCX), m.reg(RSI)], [2n, 0x100004n]);
  assert.equal(m.flags & 0x41, 1, "4 < 9");
  m.setReg(RAX, 5);
  start(0, 0x100000, 6);
  assert.equal(all("h_rep_scas", imm(0, 2, REPNE)), "0");
  assert.deepEqual([m.reg(RCX), m.flags & 0x40], [1n, 0x40]);
  m.setReg(RAX, 0x77);
  start(0, 0x100000, 0x2345);
  assert.equal(all("h_rep_scas", imm(0, 2, REPNE)), "0");
  assert.deepEqual([m.reg(RCX), m.flags & 0x40], [0n, 0]);
  start(0x100000, 0, 3);
  m.setReg(RAX, 0xffffffffffffffffn);
  assert.equal(all("h_rep_lods", imm(2, 2, REP)), "0");
  assert.equal(m.reg(RAX), 0n);
});

test("INS, OUTS, device memory", () => {
  m.reset();
  m.protect(0);
  m.setReg(RDX, 0x1f0);
  m.readValue = 0xbeef;
  start(0, 0x100000, 3);
  assert.equal(all("h_rep_ins", imm(1, 2, REP)), "0");
  assert.deepEqual(m.bytes(0x100000, 6), [0xef, 0xbe, 0xef, 0xbe, 0xef, 0xbe]);
  start(0x100000, 0, 2);
  assert.equal(all("h_rep_outs", imm(1, 2, REP)), "0");
  m.setReg(RAX, 0x720);
  start(0, MMIO, 2);
  assert.equal(all("h_rep_stos", imm(1, 2, REP)), "0");
  assert.deepEqual(m.log, ["in2 1f0", "in2 1f0", "in2 1f0", "out2 1f0=beef", "out2 1f0=beef", "w2 801000=720", "w2 801002=720"]);
});
