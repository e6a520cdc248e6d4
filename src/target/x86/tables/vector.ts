/** Operands and declarations that the MMX and SSE tables share (Intel SDM vol 2, letters P Q V W of appendix A). */
import { NONE } from "../../../accel/tcg/ir/builder.js";
import { type Emit, MMX, SSE } from "../insn.js";
import * as L from "../layout.js";
import { op } from "../opcodes.js";
import { ir, type Mem, type Translator } from "../translator.js";

/** Slot of XMM register n. */
export const xmm = (n: number) => L.XMM + n * 16;
/** Slot of MMX register n (the significand of physical x87 register n). */
export const mm = (n: number) => L.FPR + (n & 7) * 16;

/** An SSE row: #UD without the feature. */
export function sse(key: string, text: string, feature: string, emit: Emit, flags = 0): void {
  op(key, text, (t) => (t.feature(feature) ? emit(t) : t.raise(6)), SSE | flags);
}

/** An MMX row: #UD without the feature, #MF for a pending x87 exception; afterwards the registers count as MMX. */
export function mmx(key: string, text: string, feature: string, emit: Emit, flags = 0): void {
  op(
    key,
    text,
    (t) => {
      if (!t.feature(feature) || !t.feature("mmx")) return t.raise(6);
      checkPending(t);
      emit(t);
      enterMmx(t);
    },
    MMX | flags,
  );
}

/** #MF if an unmasked x87 exception is pending (with CR0.NE clear too, instead of FERR#). */
export function checkPending(t: Translator): void {
  t.raiseIf(t.t("andi", t.t("ldst32", NONE, NONE, L.FSW), NONE, 0x80), 16);
}

/** Every MMX instruction but EMMS: TOP = 0, all registers valid. The two words are adjacent. */
export function enterMmx(t: Translator): void {
  t.b.movi(L.FTOP, 0, 0);
}

/** Writes MMX register n; its exponent becomes all ones. */
export function writeMm(t: Translator, n: number, value: number): void {
  t.mov(mm(n), value);
  t.b.movi(mm(n) + 8, 0xffff, 0);
}

/** A new vector temporary holding op(a, b, imm). */
export function tv(t: Translator, name: string, a = NONE, b = NONE, imm = 0): number {
  return t.op(name, t.b.vtemp(), a, b, imm);
}

/** The V operand. */
export const regV = (t: Translator) => xmm(t.i.reg);

/** 16 bytes of memory, aligned unless said otherwise. */
export function load128(t: Translator, m: Mem, aligned = true, d = t.b.vtemp()): number {
  if (aligned) t.checkAligned(m);
  return t.ldv(m, d);
}

/** The W operand, 16 bytes. */
export function w128(t: Translator, aligned = true): number {
  return t.isMem ? load128(t, t.mem(), aligned) : xmm(t.i.rm);
}

/** The W operand when only its low `size` (log2) bytes are read; the rest of the slot may be anything. */
export function wLow(t: Translator, size: number): number {
  return t.isMem ? tv(t, "vfromlo", t.ld(t.mem(), size)) : xmm(t.i.rm);
}

/** The same with the upper bytes zero. */
export function wLowClean(t: Translator, size: 2 | 3): number {
  if (t.isMem) return wLow(t, size);
  return low(t, xmm(t.i.rm), size);
}

/** Lane 0 of a vector, the rest zero. */
export function low(t: Translator, v: number, size: 2 | 3): number {
  return size === 3 ? tv(t, "vlow", v) : tv(t, "vfrom32", t.t("vlane32_0", v));
}

/** The Q operand as an i64 slot; `size` (log2) bytes when it is memory. */
export function readQ(t: Translator, size = 3): number {
  return t.isMem ? t.ld(t.mem(), size) : mm(t.i.rm);
}

/** A constant vector from its 16 bytes. */
export function constVector(t: Translator, bytes: readonly number[]): number {
  const word = (k: number) => bytes[k]! | (bytes[k + 1]! << 8) | (bytes[k + 2]! << 16) | (bytes[k + 3]! << 24);
  const v = t.b.vtemp();
  t.b.emit(ir("vsplati"), v, NONE, NONE, word(0), word(4));
  if (word(0) !== word(8) || word(4) !== word(12)) t.b.emit(ir("vins64_1i"), v, v, NONE, word(8), word(12));
  return v;
}

/** d = the bytes of `a` at the given places, all below 16. */
export function permute(t: Translator, d: number, a: number, bytes: readonly number[]): number {
  let lo = 0;
  let hi = 0;
  for (let k = 0; k < 8; k++) {
    lo |= bytes[k]! << (4 * k);
    hi |= bytes[k + 8]! << (4 * k);
  }
  t.b.emit(ir("vpermi"), d, a, NONE, lo, hi);
  return d;
}

/** Byte places of lanes of `size` bytes. */
export function lanePlaces(size: number, lanes: readonly number[]): number[] {
  return lanes.flatMap((l) => Array.from({ length: size }, (_, k) => l * size + k));
}

/** d = byte k from `a` at places[k]; zero where the place is outside 0..15. */
export function shiftBytes(t: Translator, d: number, a: number, shift: number): number {
  const places = Array.from({ length: 16 }, (_, k) => (k + shift >= 0 && k + shift < 16 ? k + shift : 255));
  return t.op("vswizzle", d, a, constVector(t, places));
}

/** d = mask ? a : b, bit by bit. */
export function bitselect(t: Translator, d: number, a: number, b: number, mask: number): void {
  t.b.emit(ir("vbitselect"), d, a, b, mask, 0);
}
