/** FNSTENV, FLDENV, FNSAVE, FRSTOR: the four image formats, restartability, and MMX marks. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { GuestFault } from "../../../../testkit/runtime.js";
import { FCS, FCW, FDP, FDS, FIP, FOP, FPR, FSW, FTAGS, FTOP } from "../layout.js";
import { BareMachine } from "./bare-machine.js";

const machine = new BareMachine();
const { rt } = machine;
const AT = 0x2000;
const call = (name: string, a = 0n, imm = 0) => rt.helper(name)(a, 0n, imm);

function fill(): void {
  rt.set32(FCW, 0x340);
  rt.set32(FSW, 0x4100);
  rt.set32(FTOP, 7);
  rt.set32(FTAGS, 0x7f);
  rt.set64(FPR + 0x70, 1n << 63n);
  rt.set64(FPR + 0x78, 0x3fffn);
  rt.set64(FIP, 0x11223344n);
  rt.set64(FDP, 0x99887766n);
  rt.set32(FOP, 0x777);
  rt.set32(FCS, 0x5566);
  rt.set32(FDS, 0xabcd);
}

const bytes = (at: number, n: number) =>
  Array.from({ length: n }, (_, i) =>
    machine
      .p8(at + i)
      .toString(16)
      .padStart(2, "0"),
  ).join("");

// Protected-mode images as an AMD processor writes them; real-mode ones from the SDM's figures 8-10 and 8-12.
const IMAGES: [format: string, imm: number, image: string][] = [
  ["32-bit protected", 1, "4003ffff0079ffffff3fffff443322116655770766778899cdabffff"],
  ["16-bit protected", 0, "40030079ff3f443366556677cdab"],
  // CS:IP = 5566:11223344 -> linear 112789a4; DS:DP = abcd:99887766 -> 99933436.
  ["16-bit real", 2, "40030079ff3fa489777736340030"],
  ["32-bit real", 3, "4003ffff0079ffffff3fffffa489ffff777712013634ffff00309909"],
];

for (const [format, imm, image] of IMAGES) {
  test(`FNSTENV ${format}`, () => {
    machine.reset();
    fill();
    call("h_fnstenv", BigInt(AT), imm);
    assert.equal(bytes(AT, image.length / 2), image);
    assert.equal(rt.get32(FCW), 0x37f);
  });
}

for (const imm of [0, 1]) {
  test(`FNSAVE, FRSTOR round trip, format ${imm}`, () => {
    machine.reset();
    fill();
    call("h_fsave", BigInt(AT), imm);
    assert.deepEqual([rt.get32(FCW), rt.get32(FSW), rt.get32(FTOP), rt.get32(FTAGS)], [0x37f, 0, 0, 0xff]);
    assert.equal(bytes(AT + (imm ? 28 : 14), 10), "0000000000000080ff3f");
    rt.set64(FPR + 0x70, 0n);
    rt.set64(FPR + 0x78, 0n);
    call("h_frstor", BigInt(AT), imm);
    assert.deepEqual([rt.get32(FCW), rt.get32(FSW), rt.get32(FTOP), rt.get32(FTAGS)], [0x340, 0x4100, 7, 0x7f]);
    assert.equal(rt.get64(FPR + 0x70), 1n << 63n);
    assert.equal(rt.get32(FPR + 0x78) & 0xffff, 0x3fff);
    assert.equal(rt.get32(FCS), 0x5566);
  });
}

test("FLDENV with a pending exception sets ES and B", () => {
  machine.reset();
  fill();
  call("h_fnstenv", BigInt(AT), 1);
  rt.view.setUint16(rt.scratch, 0, true);
  machine.rt.exports.st16(BigInt(AT + 4), 0x3904n, 1);
  call("h_fldenv", BigInt(AT), 1);
  assert.equal(rt.get32(FSW), 0x8184);
});

test("FLDCW: ES follows the masks", () => {
  machine.reset();
  fill();
  rt.set32(FSW, 4);
  call("h_fldcw", 0x37fn);
  assert.equal(rt.get32(FSW), 4);
  call("h_fldcw", 0x37bn);
  assert.equal(rt.get32(FSW), 0x8084);
  call("h_fldcw", 0xffffn);
  assert.equal(rt.get32(FCW), 0x1f7f);
  assert.equal(rt.get32(FSW), 4);
});

test("a fault in FRSTOR's second page leaves the state alone", () => {
  machine.reset();
  fill();
  // The second page is beyond RAM and paging maps nothing there: an identity page table of one page at 2000.
  const directory = 0x10000;
  const table = 0x11000;
  rt.exports.st32(BigInt(directory), BigInt(table | 7), 1);
  rt.exports.st32(BigInt(table + 8), BigInt(0x2000 | 7), 1);
  rt.helper("h_mov_to_cr")(BigInt(directory), 0n, 3);
  rt.helper("h_mov_to_cr")(0x80000011n, 0n, 0);
  assert.throws(
    () => call("h_frstor", 0x2ff0n, 1),
    (e) => e instanceof GuestFault && e.vector === 14,
  );
  assert.deepEqual([rt.get32(FCW), rt.get32(FSW), rt.get32(FTOP), rt.get32(FTAGS)], [0x340, 0x4100, 7, 0x7f]);
});

test("MMX instructions validate all tags, EMMS empties them", () => {
  machine.reset();
  rt.set32(FTOP, 5);
  call("h_mmx_enter");
  assert.deepEqual([rt.get32(FTOP), rt.get32(FTAGS)], [0, 0]);
  rt.set32(FTOP, 5);
  call("h_mmx_write", 0n, 3);
  assert.deepEqual([rt.get32(FTOP), rt.get32(FTAGS), rt.get32(FPR + 0x38) & 0xffff], [0, 0, 0xffff]);
  call("h_emms");
  assert.equal(rt.get32(FTAGS), 0xff);
});
