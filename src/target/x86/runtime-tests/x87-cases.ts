/**
 * x87 instructions as [first byte, second byte] with the calls a front end makes of the helpers, and random states to
 * run them on. Memory operands are at RSI (ModRM.rm 6).
 */
import type { TestRuntime } from "../../../../testkit/runtime.js";
import { FCW, FPR, FSW, FTAGS, FTOP, HELPER_HI } from "../layout.js";
import { AT_FLAGS, AT_IMAGE, AT_MEMORY, KIND_X87, type Random, RECORD } from "./host-oracle.js";

const ARITH = [0, 1, 4, 5, 6, 7];
const NO_STORE = 1n << 32n;

export interface Machine {
  runtime: TestRuntime;
  /** Memory operand. */
  memory: DataView;
  eflags: number;
  rax: bigint;
}

export interface X87Case {
  name: string;
  bytes: readonly [number, number];
  pushes?: boolean;
  /** Results may differ from the host by a unit in the last place. */
  approximate?: boolean;
  run(m: Machine): void;
}

const FLAGS = 0x8d5;
const conditions: ((flags: number) => boolean)[] = [
  (f) => (f & 1) !== 0,
  (f) => (f & 0x40) !== 0,
  (f) => (f & 0x41) !== 0,
  (f) => (f & 4) !== 0,
];

function build(): X87Case[] {
  const cases: X87Case[] = [];
  const add = (name: string, first: number, second: number, run: X87Case["run"], more: Partial<X87Case> = {}) =>
    cases.push({ name, bytes: [first, second], run, ...more });
  const call = (m: Machine, name: string, a = 0n, b = 0n, imm = 0) => m.runtime.helper(name)(a, b, imm);
  const simple = (name: string, first: number, second: number, helper: string, imm = 0, more: Partial<X87Case> = {}) =>
    add(name, first, second, (m) => void call(m, helper, 0n, 0n, imm), more);
  const u16 = (m: Machine) => BigInt(m.memory.getUint16(0, true));
  const u32 = (m: Machine) => BigInt(m.memory.getUint32(0, true));
  const u64 = (m: Machine) => m.memory.getBigUint64(0, true);
  const hi = (m: Machine) => m.runtime.get64(HELPER_HI);
  const formats = [
    ["f32", 0xd8, u32],
    ["i32", 0xda, u32],
    ["f64", 0xdc, u64],
    ["i16", 0xde, u16],
  ] as const;
  for (const [format, first, read] of formats) {
    for (const op of ARITH) {
      add(`arith${op} ${format}`, first, 6 | (op << 3), (m) => void call(m, `h_farith_st0_${format}`, read(m), 0n, op));
    }
    add(`fcom ${format}`, first, 0x16, (m) => void call(m, `h_fcom_${format}`, read(m), 0n, 0));
    add(`fcomp ${format}`, first, 0x1e, (m) => void call(m, `h_fcom_${format}`, read(m), 0n, 1 << 8));
  }
  for (const i of [0, 1, 2, 5]) {
    for (const op of ARITH) {
      simple(`arith${op} st, st${i}`, 0xd8, 0xc0 + op * 8 + i, "h_farith_st0_sti", op | (i << 3));
      // DC and DE: /4 is subr, /5 sub and so on, seen from ST(i).
      const to = op >= 4 ? op ^ 1 : op;
      simple(`arith${to} st${i}, st`, 0xdc, 0xc0 + op * 8 + i, "h_farith_sti_st0", to | (i << 3));
      simple(`arith${to}p st${i}, st`, 0xde, 0xc0 + op * 8 + i, "h_farith_sti_st0", to | (i << 3) | 64);
    }
    simple(`fcom st${i}`, 0xd8, 0xd0 + i, "h_fcom_sti", i << 3);
    simple(`fcomp st${i}`, 0xd8, 0xd8 + i, "h_fcom_sti", (i << 3) | 256);
    simple(`fucom st${i}`, 0xdd, 0xe0 + i, "h_fcom_sti", (i << 3) | 64);
    simple(`fucomp st${i}`, 0xdd, 0xe8 + i, "h_fcom_sti", (i << 3) | 64 | 256);
    const fcomi = (name: string, first: number, second: number, imm: number) =>
      add(name, first, second, (m) => {
        m.eflags = (m.eflags & ~FLAGS) | Number(call(m, "h_fcomi", 0n, 0n, imm));
      });
    fcomi(`fcomi st${i}`, 0xdb, 0xf0 + i, i << 3);
    fcomi(`fucomi st${i}`, 0xdb, 0xe8 + i, (i << 3) | 64);
    fcomi(`fcomip st${i}`, 0xdf, 0xf0 + i, (i << 3) | 256);
    fcomi(`fucomip st${i}`, 0xdf, 0xe8 + i, (i << 3) | 64 | 256);
    simple(`fxch st${i}`, 0xd9, 0xc8 + i, "h_fxch", i);
    simple(`ffree st${i}`, 0xdd, 0xc0 + i, "h_ffree", i);
    simple(`fld st${i}`, 0xd9, 0xc0 + i, "h_fld_sti", i, { pushes: true });
    simple(`fst st${i}`, 0xdd, 0xd0 + i, "h_fst_sti", i << 3);
    simple(`fstp st${i}`, 0xdd, 0xd8 + i, "h_fst_sti", (i << 3) | 64);
    for (let c = 0; c < 4; c++) {
      const condition = conditions[c] as (flags: number) => boolean;
      add(`fcmov${c} st${i}`, 0xda, 0xc0 + c * 8 + i, (m) => void call(m, "h_fcmov", condition(m.eflags) ? 1n : 0n, 0n, i));
      add(`fcmovn${c} st${i}`, 0xdb, 0xc0 + c * 8 + i, (m) => void call(m, "h_fcmov", condition(m.eflags) ? 0n : 1n, 0n, i));
    }
  }
  simple("fcompp", 0xde, 0xd9, "h_fcom_sti", (1 << 3) | (2 << 8));
  simple("fucompp", 0xda, 0xe9, "h_fcom_sti", (1 << 3) | 64 | (2 << 8));
  const push = { pushes: true };
  add("fld m32", 0xd9, 0x06, (m) => void call(m, "h_fld_f32", u32(m)), push);
  add("fld m64", 0xdd, 0x06, (m) => void call(m, "h_fld_f64", u64(m)), push);
  add("fld m80", 0xdb, 0x2e, (m) => void call(m, "h_fld_f80", u64(m), BigInt(m.memory.getUint16(8, true))), push);
  add("fild m16", 0xdf, 0x06, (m) => void call(m, "h_fld_i16", u16(m)), push);
  add("fild m32", 0xdb, 0x06, (m) => void call(m, "h_fld_i32", u32(m)), push);
  add("fild m64", 0xdf, 0x2e, (m) => void call(m, "h_fld_i64", u64(m)), push);
  add("fbld", 0xdf, 0x26, (m) => void call(m, "h_fbld", u64(m), BigInt(m.memory.getUint16(8, true))), push);
  for (let k = 0; k < 7; k++) simple(`fldconst ${k}`, 0xd9, 0xe8 + k, "h_fld_const", k, push);

  const store = (name: string, first: number, reg: number, pops: boolean, helper: string, imm: number, bytes: number) =>
    add(name, first, 6 | (reg << 3), (m) => {
      const value = call(m, helper, 0n, 0n, imm);
      if (hi(m) >= NO_STORE) return;
      if (bytes === 2) m.memory.setUint16(0, Number(value & 0xffffn), true);
      else if (bytes === 4) m.memory.setUint32(0, Number(value & 0xffffffffn), true);
      else m.memory.setBigUint64(0, value, true);
      if (bytes === 10) m.memory.setUint16(8, Number(hi(m) & 0xffffn), true);
      if (pops) call(m, "h_fpop");
    });
  store("fst m32", 0xd9, 2, false, "h_fst_f32", 0, 4);
  store("fstp m32", 0xd9, 3, true, "h_fst_f32", 0, 4);
  store("fst m64", 0xdd, 2, false, "h_fst_f64", 0, 8);
  store("fstp m64", 0xdd, 3, true, "h_fst_f64", 0, 8);
  store("fstp m80", 0xdb, 7, true, "h_fst_f80", 0, 10);
  store("fist m16", 0xdf, 2, false, "h_fist16", 0, 2);
  store("fistp m16", 0xdf, 3, true, "h_fist16", 0, 2);
  store("fisttp m16", 0xdf, 1, true, "h_fist16", 1, 2);
  store("fist m32", 0xdb, 2, false, "h_fist32", 0, 4);
  store("fistp m32", 0xdb, 3, true, "h_fist32", 0, 4);
  store("fisttp m32", 0xdb, 1, true, "h_fist32", 1, 4);
  store("fistp m64", 0xdf, 7, true, "h_fist64", 0, 8);
  store("fisttp m64", 0xdd, 1, true, "h_fist64", 1, 8);
  store("fbstp", 0xdf, 6, true, "h_fbstp", 0, 10);

  simple("fchs", 0xd9, 0xe0, "h_fchs");
  simple("fabs", 0xd9, 0xe1, "h_fabs");
  simple("ftst", 0xd9, 0xe4, "h_ftst");
  simple("fxam", 0xd9, 0xe5, "h_fxam");
  simple("fsqrt", 0xd9, 0xfa, "h_fsqrt");
  simple("frndint", 0xd9, 0xfc, "h_frndint");
  simple("fscale", 0xd9, 0xfd, "h_fscale");
  simple("fxtract", 0xd9, 0xf4, "h_fxtract", 0, push);
  simple("fprem", 0xd9, 0xf8, "h_fprem");
  simple("fprem1", 0xd9, 0xf5, "h_fprem1");
  simple("fdecstp", 0xd9, 0xf6, "h_fdecstp");
  simple("fincstp", 0xd9, 0xf7, "h_fincstp");
  add("fnstcw", 0xd9, 0x3e, (m) => m.memory.setUint16(0, Number(call(m, "h_fnstcw")), true));
  add("fldcw", 0xd9, 0x2e, (m) => void call(m, "h_fldcw", u16(m)));
  add("fnstsw m16", 0xdd, 0x3e, (m) => m.memory.setUint16(0, Number(call(m, "h_fnstsw")), true));
  simple("fnclex", 0xdb, 0xe2, "h_fnclex");
  simple("fninit", 0xdb, 0xe3, "h_fninit");
  simple("emms", 0x0f, 0x77, "h_emms");

  const approximate = { approximate: true };
  simple("f2xm1", 0xd9, 0xf0, "h_f2xm1", 0, approximate);
  simple("fyl2x", 0xd9, 0xf1, "h_fyl2x", 0, approximate);
  simple("fptan", 0xd9, 0xf2, "h_fptan", 0, { approximate: true, pushes: true });
  simple("fpatan", 0xd9, 0xf3, "h_fpatan", 0, approximate);
  simple("fyl2xp1", 0xd9, 0xf9, "h_fyl2xp1", 0, approximate);
  simple("fsincos", 0xd9, 0xfb, "h_fsincos", 0, { approximate: true, pushes: true });
  simple("fsin", 0xd9, 0xfe, "h_fsin", 0, approximate);
  simple("fcos", 0xd9, 0xff, "h_fcos", 0, approximate);
  return cases;
}

export const X87_CASES: readonly X87Case[] = build();

// --- random states ---

const MSB = 1n << 63n;

/** A significand: random, or nearly a power of two, or with a short fraction. */
function significand(r: Random): bigint {
  switch (r.below(5)) {
    case 0:
      return MSB;
    case 1:
      return MSB | BigInt(r.below(4));
    case 2:
      return BigInt.asUintN(64, -1n - BigInt(r.below(4)));
    case 3:
      return MSB | ((r.u64() << BigInt(r.below(63))) & (MSB - 1n));
    default:
      return MSB | r.u64();
  }
}

export type Value80 = readonly [sig: bigint, se: number];

/** @param middle biased exponent around which most values lie */
export function value80(r: Random, middle: number): Value80 {
  const sign = r.below(2) << 15;
  switch (r.below(24)) {
    case 0:
      return [0n, sign];
    case 1:
      return [MSB, sign | 0x7fff];
    case 2:
      return [MSB | (1n << 62n) | (r.u64() >> BigInt(2 + r.below(60))), sign | 0x7fff];
    case 3:
      return [MSB | (r.u64() >> 2n) | 1n, sign | 0x7fff];
    case 4:
      return [(r.u64() >> BigInt(1 + r.below(62))) | 1n, sign];
    case 5:
      return r.below(2)
        ? [MSB | r.u64(), sign]
        : [(r.u64() >> 1n) | (r.below(2) ? 0n : 1n << 62n), sign | r.pick([1, 0x7fff, 0x4000])];
    case 6:
      return [significand(r), sign | (1 + r.below(70))];
    case 7:
      return [significand(r), sign | (0x7ffe - r.below(70))];
    case 8: {
      // A small integer.
      const n = BigInt(1 + r.below(1000));
      const shift = 64 - n.toString(2).length;
      return [n << BigInt(shift), sign | (16383 + 63 - shift)];
    }
    case 9:
      return [significand(r), sign | (1 + r.below(0x7ffe))];
    case 10:
      // Near the ends of binary64 and binary32.
      return [significand(r), sign | (16383 + r.pick([-1074, -1022, 1023, -149, -126, 127]) + r.below(8) - 4)];
    default:
      return [significand(r), sign | (middle + r.below(r.pick([1, 3, 70, 140])))];
  }
}

/** A random request for one instruction. */
export function x87Request(c: X87Case, r: Random): Uint8Array {
  const record = new Uint8Array(RECORD);
  const view = new DataView(record.buffer);
  record[0] = KIND_X87;
  record[1] = 2;
  record.set(c.bytes, 2);
  view.setUint32(AT_FLAGS, 0x202 | (r.u32() & FLAGS), true);
  const masks = r.below(3) ? 0x3f : r.u32() & 0x3f;
  const fcw = 0x40 | masks | (r.below(4) << 10) | (r.pick([0, 2, 3, 3, 3]) << 8);
  const top = r.below(8);
  // Sticky flags: only masked ones, as an unmasked one would trap in the oracle.
  const fsw = (r.u32() & 0x4700) | (r.below(2) ? r.u32() & masks & 0x3f : 0) | (top << 11) | (r.below(4) ? 0 : 0x40);
  const mostly = r.below(10);
  const emptyAll = mostly === 0 ? r.u32() & 0xff : 0;
  let tags = 0;
  const wantFree = c.pushes && r.below(8) !== 0;
  for (let i = 0; i < 8; i++) {
    const free = ((emptyAll >> i) & 1) !== 0 || (wantFree && i === ((top + 7) & 7));
    if (free) tags |= 3 << (i * 2);
  }
  view.setUint32(AT_IMAGE, fcw, true);
  view.setUint32(AT_IMAGE + 4, fsw, true);
  view.setUint32(AT_IMAGE + 8, tags, true);
  const middle = c.approximate ? 16383 - r.below(r.pick([4, 70])) : 1 + r.below(0x7ffe - 140);
  for (let i = 0; i < 8; i++) {
    const [sig, se] = value80(r, middle);
    view.setBigUint64(AT_IMAGE + 28 + i * 10, sig, true);
    view.setUint16(AT_IMAGE + 36 + i * 10, se, true);
  }
  if (c.name === "fyl2xp1") {
    // Undefined beyond 1 - sqrt(1/2); processors differ.
    const se = view.getUint16(AT_IMAGE + 36, true);
    if ((se & 0x7fff) > 16380) view.setUint16(AT_IMAGE + 36, (se & 0x8000) | 16380, true);
  }
  if (r.below(3) === 0) for (let i = 0; i < 16; i++) record[AT_MEMORY + i] = r.u32();
  else memoryOperand(c, r, view, middle);
  return record;
}

/** A floating-point operand of the right format near ST(0). */
function memoryOperand(c: X87Case, r: Random, view: DataView, middle: number): void {
  const [first, second] = c.bytes;
  const f64 = (first === 0xdc || first === 0xdd) && second < 0xc0;
  const f32 = (first === 0xd8 || first === 0xd9) && second < 0xc0;
  if (f64) {
    const e = r.below(8) ? Math.min(2046, Math.max(0, middle - 16383 + 1023 + r.below(60))) : r.pick([0, 2047]);
    view.setBigUint64(AT_MEMORY, (BigInt(r.below(2)) << 63n) | (BigInt(e) << 52n) | (r.below(3) ? r.u64() >> 12n : 0n), true);
  } else if (f32) {
    const e = r.below(8) ? Math.min(254, Math.max(0, middle - 16383 + 127 + r.below(30))) : r.pick([0, 255]);
    view.setUint32(AT_MEMORY, (r.below(2) << 31) | (e << 23) | (r.below(3) ? r.u32() >>> 9 : 0), true);
  } else if (c.name === "fbld") {
    for (let i = 0; i < 9; i++) view.setUint8(AT_MEMORY + i, r.below(10) | (r.below(10) << 4));
    view.setUint8(AT_MEMORY + 9, r.below(2) << 7);
  } else if (c.name === "fldcw") {
    view.setUint16(AT_MEMORY, 0x40 | (r.u32() & 0xf3f), true);
  } else {
    const [sig, se] = value80(r, middle);
    view.setBigUint64(AT_MEMORY, sig, true);
    view.setUint16(AT_MEMORY + 8, se, true);
  }
}

// --- running a request on the runtime ---

/** What is compared: 0x37f-style words, registers from ST(0), memory operand, flags. */
export interface X87Result {
  fcw: number;
  fsw: number;
  tags: number;
  st: Value80[];
  memory: string;
  flags: number;
}

const hex = (bytes: Uint8Array) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");

/** Reads an FSAVE image with memory operand and flags out of an oracle's record. */
export function x87Result(record: Uint8Array, flagsAt: number): X87Result {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const st: Value80[] = [];
  for (let i = 0; i < 8; i++) {
    st.push([view.getBigUint64(AT_IMAGE + 28 + i * 10, true), view.getUint16(AT_IMAGE + 36 + i * 10, true)]);
  }
  return {
    fcw: view.getUint16(AT_IMAGE, true),
    fsw: view.getUint16(AT_IMAGE + 4, true),
    tags: view.getUint16(AT_IMAGE + 8, true),
    st,
    memory: hex(record.subarray(AT_MEMORY, AT_MEMORY + 16)),
    flags: view.getUint32(flagsAt, true) & FLAGS,
  };
}

export function runX87(runtime: TestRuntime, c: X87Case, record: Uint8Array): X87Result {
  const input = x87Result(record, AT_FLAGS);
  const top = (input.fsw >> 11) & 7;
  runtime.set32(FCW, input.fcw);
  runtime.set32(FSW, input.fsw & 0xc7ff);
  runtime.set32(FTOP, top);
  let empty = 0;
  for (let i = 0; i < 8; i++) if (((input.tags >> (i * 2)) & 3) === 3) empty |= 1 << i;
  runtime.set32(FTAGS, empty);
  input.st.forEach(([sig, se], i) => {
    const reg = FPR + ((top + i) & 7) * 16;
    runtime.set64(reg, sig);
    runtime.set64(reg + 8, BigInt(se));
  });
  const memory = record.slice(AT_MEMORY, AT_MEMORY + 16);
  const m: Machine = { runtime, memory: new DataView(memory.buffer), eflags: input.flags, rax: 0n };
  c.run(m);
  const newTop = runtime.get32(FTOP);
  const st: Value80[] = [];
  for (let i = 0; i < 8; i++) {
    const reg = FPR + ((newTop + i) & 7) * 16;
    st.push([runtime.get64(reg), runtime.get32(reg + 8) & 0xffff]);
  }
  return {
    fcw: runtime.get32(FCW),
    fsw: (runtime.get32(FSW) & 0xc7ff) | (newTop << 11),
    tags: Number(runtime.exports.fullTags() >>> 0) & 0xffff,
    st,
    memory: hex(memory),
    flags: m.eflags & FLAGS,
  };
}

/** Equal, for approximate instructions but for one unit in the last place and C1. */
export function sameX87(want: X87Result, got: X87Result, approximate: boolean): boolean {
  if (showX87(want) === showX87(got)) return true;
  if (!approximate) return false;
  const near = ([aSig, aSe]: Value80, [bSig, bSe]: Value80) => {
    const d = ((BigInt(aSe & 0x7fff) << 63n) | (aSig & (MSB - 1n))) - ((BigInt(bSe & 0x7fff) << 63n) | (bSig & (MSB - 1n)));
    return aSe >> 15 === bSe >> 15 && d <= 1n && d >= -1n;
  };
  return (
    ((want.fsw ^ got.fsw) & ~0x200) === 0 &&
    want.tags === got.tags &&
    want.memory === got.memory &&
    want.st.every((value, i) => near(value, got.st[i] as Value80))
  );
}

/** One line a result, for messages and captured rows. */
export function showX87(x: X87Result): string {
  const regs = x.st.map(([sig, se]) => `${se.toString(16).padStart(4, "0")}:${sig.toString(16).padStart(16, "0")}`);
  const word = (n: number) => n.toString(16).padStart(4, "0");
  return `${word(x.fcw)} ${word(x.fsw)} ${word(x.tags)} ${word(x.flags)} ${x.memory} ${regs.join(" ")}`;
}
