/** Fixed-point loads and stores, reservations, storage control (Power ISA 3.0B I 3.3.2 to 3.3.8, II 4.3 to 4.6). */
import { NONE } from "../../../accel/tcg/ir/builder.js";
import { section } from "../isa.js";
import * as L from "../layout.js";
import { gpr, type PpcTranslator } from "../translator.js";

/** Bytes of a cache block, for dcbz. */
const CACHE_BLOCK = 128;

function load(t: PpcTranslator, rt: number, ra: number, disp: number, size: number, signed: boolean, update: boolean): void {
  const a = t.addressD(ra, disp);
  if (!update) {
    t.load(gpr(rt), a.slot, a.disp, size, signed);
    return;
  }
  if (ra === 0 || ra === rt) return t.program(L.PROGRAM_ILLEGAL);
  t.load(gpr(rt), a.slot, a.disp, size, signed);
  t.mov(gpr(ra), t.effective(a.slot, a.disp));
}

function loadX(t: PpcTranslator, f: { rt: number; ra: number; rb: number }, size: number, signed: boolean, update: boolean): void {
  const ea = t.addressX(f.ra, f.rb);
  if (!update) {
    t.load(gpr(f.rt), ea, 0, size, signed);
    return;
  }
  if (f.ra === 0 || f.ra === f.rt) return t.program(L.PROGRAM_ILLEGAL);
  t.load(gpr(f.rt), ea, 0, size, signed);
  t.mov(gpr(f.ra), t.effective(ea));
}

function store(t: PpcTranslator, rs: number, ra: number, disp: number, size: number, update: boolean): void {
  const a = t.addressD(ra, disp);
  if (update && ra === 0) return t.program(L.PROGRAM_ILLEGAL);
  t.store(gpr(rs), a.slot, a.disp, size);
  if (update) t.mov(gpr(ra), t.effective(a.slot, a.disp));
}

const LD = section("Power ISA I 3.3.2");
for (const [name, op, size, signed, update] of [
  ["lbz", 34, 1, false, false],
  ["lbzu", 35, 1, false, true],
  ["lhz", 40, 2, false, false],
  ["lhzu", 41, 2, false, true],
  ["lha", 42, 2, true, false],
  ["lhau", 43, 2, true, true],
  ["lwz", 32, 4, false, false],
  ["lwzu", 33, 4, false, true],
] as const)
  LD(name, `#${op}:6 rt:5 ra:5 d:s16`, (t, f) => load(t, f.rt, f.ra, f.d, size, signed, update));
for (const [name, op, size, signed, update] of [
  ["ld", 0, 8, false, false],
  ["ldu", 1, 8, false, true],
  ["lwa", 2, 4, true, false],
] as const)
  LD(name, `111010 rt:5 ra:5 ds:s14 #${op}:2`, (t, f) => load(t, f.rt, f.ra, f.ds << 2, size, signed, update));
for (const [name, op, size, signed, update] of [
  ["lbzx", 87, 1, false, false],
  ["lbzux", 119, 1, false, true],
  ["lhzx", 279, 2, false, false],
  ["lhzux", 311, 2, false, true],
  ["lhax", 343, 2, true, false],
  ["lhaux", 375, 2, true, true],
  ["lwzx", 23, 4, false, false],
  ["lwzux", 55, 4, false, true],
  ["lwax", 341, 4, true, false],
  ["lwaux", 373, 4, true, true],
  ["ldx", 21, 8, false, false],
  ["ldux", 53, 8, false, true],
] as const)
  LD(name, `011111 rt:5 ra:5 rb:5 #${op}:10 /1`, (t, f) => loadX(t, f, size, signed, update));

const ST = section("Power ISA I 3.3.3");
for (const [name, op, size, update] of [
  ["stb", 38, 1, false],
  ["stbu", 39, 1, true],
  ["sth", 44, 2, false],
  ["sthu", 45, 2, true],
  ["stw", 36, 4, false],
  ["stwu", 37, 4, true],
] as const)
  ST(name, `#${op}:6 rs:5 ra:5 d:s16`, (t, f) => store(t, f.rs, f.ra, f.d, size, update));
for (const [name, op, update] of [
  ["std", 0, false],
  ["stdu", 1, true],
] as const)
  ST(name, `111110 rs:5 ra:5 ds:s14 #${op}:2`, (t, f) => store(t, f.rs, f.ra, f.ds << 2, 8, update));
for (const [name, op, size, update] of [
  ["stbx", 215, 1, false],
  ["stbux", 247, 1, true],
  ["sthx", 407, 2, false],
  ["sthux", 439, 2, true],
  ["stwx", 151, 4, false],
  ["stwux", 183, 4, true],
  ["stdx", 149, 8, false],
  ["stdux", 181, 8, true],
] as const)
  ST(name, `011111 rs:5 ra:5 rb:5 #${op}:10 /1`, (t, f) => {
    const ea = t.addressX(f.ra, f.rb);
    if (update && f.ra === 0) return t.program(L.PROGRAM_ILLEGAL);
    t.store(gpr(f.rs), ea, 0, size);
    if (update) t.mov(gpr(f.ra), t.effective(ea));
  });

// --- quadwords: the even register has the doubleword at the lower address, in either byte order the more significant one ---
const Q = section("Power ISA I 3.3.4");
Q("lq", "111000 rtp:5 ra:5 dq:s12 /4", (t, f) => {
  if (f.rtp & 1 || f.rtp === f.ra) return t.program(L.PROGRAM_ILLEGAL);
  const a = t.addressD(f.ra, f.dq << 4);
  const ea = t.effective(a.slot, a.disp);
  t.alignment(ea, 16);
  const first = t.load(t.b.temp(), ea, 0, 8);
  const second = t.load(t.b.temp(), ea, 8, 8);
  t.mov(gpr(f.rtp), t.le ? second : first);
  t.mov(gpr(f.rtp + 1), t.le ? first : second);
});
Q("stq", "111110 rsp:5 ra:5 ds:s14 10", (t, f) => {
  if (f.rsp & 1) return t.program(L.PROGRAM_ILLEGAL);
  const a = t.addressD(f.ra, f.ds << 2);
  const ea = t.effective(a.slot, a.disp);
  t.alignment(ea, 16);
  t.store(gpr(t.le ? f.rsp + 1 : f.rsp), ea, 0, 8);
  t.store(gpr(t.le ? f.rsp : f.rsp + 1), ea, 8, 8);
});

const BR = section("Power ISA I 3.3.5");
for (const [name, op, size] of [
  ["lhbrx", 790, 2],
  ["lwbrx", 534, 4],
  ["ldbrx", 532, 8],
] as const)
  BR(name, `011111 rt:5 ra:5 rb:5 #${op}:10 /1`, (t, f) => void t.load(gpr(f.rt), t.addressX(f.ra, f.rb), 0, size, false, true));
for (const [name, op, size] of [
  ["sthbrx", 918, 2],
  ["stwbrx", 662, 4],
  ["stdbrx", 660, 8],
] as const)
  BR(name, `011111 rs:5 ra:5 rb:5 #${op}:10 /1`, (t, f) => t.store(gpr(f.rs), t.addressX(f.ra, f.rb), 0, size, true));

const LM = section("Power ISA I 3.3.6");
LM("lmw", "101110 rt:5 ra:5 d:s16", (t, f) => {
  // In little-endian mode these take an alignment interrupt.
  if (t.le) return t.raise(L.V_ALIGNMENT);
  if (f.ra >= f.rt) return t.program(L.PROGRAM_ILLEGAL);
  const a = t.addressD(f.ra, f.d);
  for (let r = f.rt; r < 32; r++) t.load(gpr(r), a.slot, a.disp + (r - f.rt) * 4, 4);
});
LM("stmw", "101111 rs:5 ra:5 d:s16", (t, f) => {
  if (t.le) return t.raise(L.V_ALIGNMENT);
  const a = t.addressD(f.ra, f.d);
  for (let r = f.rs; r < 32; r++) t.store(gpr(r), a.slot, a.disp + (r - f.rs) * 4, 4);
});

// Helpers take the address, the byte count, and first register | MMU index << 8 | 32-bit mode << 10.
const STRING = section("Power ISA I 3.3.7");
const where = (t: PpcTranslator, r: number) => r | (t.mmu << 8) | (t.sf ? 0 : 0x400);
STRING("lswi", "011111 rt:5 ra:5 nb:5 #597:10 /1", (t, f) => {
  if (t.le) return t.raise(L.V_ALIGNMENT);
  const bytes = f.nb || 32;
  const last = (f.rt + ((bytes + 3) >> 2) - 1) & 31;
  const inRange = (r: number) => (f.rt <= last ? r >= f.rt && r <= last : r >= f.rt || r <= last);
  if (f.ra && inRange(f.ra)) return t.program(L.PROGRAM_ILLEGAL);
  t.call("h_lsw", t.gprOrZero(f.ra), t.const(bytes), where(t, f.rt));
});
STRING("lswx", "011111 rt:5 ra:5 rb:5 #533:10 /1", (t, f) => {
  if (t.le) return t.raise(L.V_ALIGNMENT);
  t.call("h_lsw", t.addressX(f.ra, f.rb), L.XER_BYTES, where(t, f.rt));
});
STRING("stswi", "011111 rs:5 ra:5 nb:5 #725:10 /1", (t, f) => {
  if (t.le) return t.raise(L.V_ALIGNMENT);
  t.call("h_stsw", t.gprOrZero(f.ra), t.const(f.nb || 32), where(t, f.rs));
});
STRING("stswx", "011111 rs:5 ra:5 rb:5 #661:10 /1", (t, f) => {
  if (t.le) return t.raise(L.V_ALIGNMENT);
  t.call("h_stsw", t.addressX(f.ra, f.rb), L.XER_BYTES, where(t, f.rs));
});

// --- reservations: by address and value seen; other vCPUs do not run between a load and its check ---
const RES = section("Power ISA II 4.6");
for (const [name, op, size] of [
  ["lbarx", 52, 1],
  ["lharx", 116, 2],
  ["lwarx", 20, 4],
  ["ldarx", 84, 8],
] as const)
  RES(name, `011111 rt:5 ra:5 rb:5 #${op}:10 eh:1`, (t, f) => {
    const ea = t.effective(t.t("mov", t.addressX(f.ra, f.rb)));
    if (size > 1) t.alignment(ea, size);
    t.load(L.RESERVE_VAL, ea, 0, size);
    t.mov(gpr(f.rt), L.RESERVE_VAL);
    t.mov(L.RESERVE_EA, ea);
  });
RES("lqarx", "011111 rtp:5 ra:5 rb:5 #276:10 eh:1", (t, f) => {
  if (f.rtp & 1 || f.rtp === f.ra || f.rtp === f.rb) return t.program(L.PROGRAM_ILLEGAL);
  const ea = t.effective(t.t("mov", t.addressX(f.ra, f.rb)));
  t.alignment(ea, 16);
  const first = t.load(t.b.temp(), ea, 0, 8);
  const second = t.load(t.b.temp(), ea, 8, 8);
  t.mov(L.RESERVE_VAL, first);
  t.mov(L.RESERVE_VAL2, second);
  t.mov(L.RESERVE_EA, ea);
  t.mov(gpr(f.rtp), t.le ? second : first);
  t.mov(gpr(f.rtp + 1), t.le ? first : second);
});
/** CR0 = 0b00 || done || SO, and the reservation is gone. */
function conditionalDone(t: PpcTranslator, done: number): void {
  t.setField(0, t.t("or", t.t("shli", done, NONE, 1), L.SO));
  t.movWide(L.RESERVE_EA, -1, -1);
}
for (const [name, op, size] of [
  ["stbcx.", 694, 1],
  ["sthcx.", 726, 2],
  ["stwcx.", 150, 4],
  ["stdcx.", 214, 8],
] as const)
  RES(name, `011111 rs:5 ra:5 rb:5 #${op}:10 1`, (t, f) => {
    const ea = t.effective(t.t("mov", t.addressX(f.ra, f.rb)));
    if (size > 1) t.alignment(ea, size);
    const done = t.t("seteq", ea, L.RESERVE_EA);
    t.when(done, () => {
      const now = t.load(t.b.temp(), ea, 0, size);
      t.op("seteq", done, now, L.RESERVE_VAL);
    });
    t.when(done, () => t.store(gpr(f.rs), ea, 0, size));
    conditionalDone(t, done);
  });
RES("stqcx.", "011111 rsp:5 ra:5 rb:5 #182:10 1", (t, f) => {
  if (f.rsp & 1) return t.program(L.PROGRAM_ILLEGAL);
  const ea = t.effective(t.t("mov", t.addressX(f.ra, f.rb)));
  t.alignment(ea, 16);
  const done = t.t("seteq", ea, L.RESERVE_EA);
  t.when(done, () => {
    const first = t.load(t.b.temp(), ea, 0, 8);
    const second = t.load(t.b.temp(), ea, 8, 8);
    t.op("and", done, t.t("seteq", first, L.RESERVE_VAL), t.t("seteq", second, L.RESERVE_VAL2));
  });
  t.when(done, () => {
    t.store(gpr(t.le ? f.rsp + 1 : f.rsp), ea, 0, 8);
    t.store(gpr(t.le ? f.rsp : f.rsp + 1), ea, 8, 8);
  });
  conditionalDone(t, done);
});

// Helpers take address, operands' first register, and function code | MMU index << 8 | size << 12.
const ATOMIC = section("Power ISA II 4.5", { isa300: true });
for (const [name, op, size] of [
  ["lwat", 582, 4],
  ["ldat", 614, 8],
] as const)
  ATOMIC(name, `011111 rt:5 ra:5 fc:5 #${op}:10 /1`, (t, f) => {
    t.alignment(t.gprOrZero(f.ra), size);
    t.call("h_lat", t.gprOrZero(f.ra), t.const(f.rt), f.fc | (t.mmu << 8) | (size << 12) | (t.le ? 0x800 : 0));
  });
for (const [name, op, size] of [
  ["stwat", 710, 4],
  ["stdat", 742, 8],
] as const)
  ATOMIC(name, `011111 rs:5 ra:5 fc:5 #${op}:10 /1`, (t, f) => {
    t.alignment(t.gprOrZero(f.ra), size);
    t.call("h_stat", t.gprOrZero(f.ra), gpr(f.rs), f.fc | (t.mmu << 8) | (size << 12) | (t.le ? 0x800 : 0));
  });
ATOMIC("copy", "011111 /4 1 ra:5 rb:5 #774:10 /1");
ATOMIC("paste.", "011111 /4 1 ra:5 rb:5 #902:10 1");
ATOMIC("cpabort", "011111 /5 /5 /5 #838:10 /1", () => {});

// --- cache and order: one coherent memory, no caches ---
const CACHE = section("Power ISA II 4.3");
const touch = (t: PpcTranslator, f: { ra: number; rb: number }) => void t.load(t.b.temp(), t.addressX(f.ra, f.rb), 0, 1);
CACHE("icbi", "011111 /5 ra:5 rb:5 #982:10 /1", touch);
CACHE("icbt", "011111 /1 ct:4 ra:5 rb:5 #22:10 /1", () => {});
CACHE("dcbt", "011111 th:5 ra:5 rb:5 #278:10 /1", () => {});
CACHE("dcbtst", "011111 th:5 ra:5 rb:5 #246:10 /1", () => {});
// Data streams, which these processors take as no operation.
CACHE("dst", "011111 t:1 /2 strm:2 ra:5 rb:5 #342:10 /1", () => {});
CACHE("dstst", "011111 t:1 /2 strm:2 ra:5 rb:5 #374:10 /1", () => {});
CACHE("dss", "011111 a:1 /2 strm:2 /5 /5 #822:10 /1", () => {});
CACHE("dcbst", "011111 /5 ra:5 rb:5 #54:10 /1", touch);
CACHE("dcbf", "011111 /3 l:2 ra:5 rb:5 #86:10 /1", touch);
CACHE("dcbz", "011111 /5 ra:5 rb:5 #1014:10 /1", (t, f) => {
  const ea = t.mask(t.effective(t.addressX(f.ra, f.rb)), -CACHE_BLOCK, -1);
  const zero = t.v("vzero");
  for (let at = 0; at < CACHE_BLOCK; at += 16) t.storeVector(zero, ea, at);
});
const SYNC = section("Power ISA II 4.6.3");
SYNC("sync", "011111 /3 l:2 /5 /5 #598:10 /1", () => {});
SYNC("eieio", "011111 /5 /5 /5 #854:10 /1", () => {});
SYNC("isync", "010011 /5 /5 /5 #150:10 /1", () => {});
SYNC("wait", "011111 /3 wc:2 /5 /5 #30:10 /1", () => {});
