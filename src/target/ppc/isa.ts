/**
 * The instruction table's notation: a bit picture of 32 bits, most significant first, in words. A word of 0 and 1 is fixed
 * bits; `#v:n` the value v in n bits (extended opcodes, in decimal as the manual has them); `/n` that many ignored bits;
 * `name:n` a field of n bits, `name:sn` a signed one. A field may come in pieces (`sh:5 ... sh.5:1`): piece `.k` begins at
 * bit k of the field's value, counted from the least significant, the piece without a suffix at the lowest place left.
 */
import type { PpcTranslator } from "./translator.js";

/** Field names of a picture. */
type Words<P extends string> = P extends `${infer W} ${infer R}` ? W | Words<R> : P;
type FieldName<W extends string> = W extends `${infer N}:${string}` ? (N extends `${infer B}.${string}` ? B : N) : never;
export type Fields<P extends string> = { readonly [N in FieldName<Words<P>>]: number };

/** A part of a field: bits of the instruction word, and where they go in the value. */
interface Piece {
  readonly shift: number;
  readonly mask: number;
  readonly at: number;
}

interface Field {
  readonly name: string;
  readonly pieces: readonly Piece[];
  readonly bits: number;
  readonly signed: boolean;
}

export type Emit = (t: PpcTranslator, f: { readonly [name: string]: number }) => void;

/** What an instruction needs besides its meaning. */
export interface RowOptions {
  /** Facility that MSR must enable; "or": by whether the register `xt` is of the lower or the upper half. */
  readonly needs?: "fp" | "vec" | "vsx" | "vsx-or-vec" | "fp-or-vec";
  /** Supervisor state only: else a privileged instruction interrupt. */
  readonly privileged?: boolean;
  /** Only CPUs of Power ISA 3.0. */
  readonly isa300?: boolean;
}

export interface Row extends RowOptions {
  readonly mnemonic: string;
  readonly picture: string;
  /** Section of the Power ISA 3.0B. */
  readonly source: string;
  readonly mask: number;
  readonly value: number;
  readonly fields: readonly Field[];
  readonly emit: Emit | undefined;
}

export const rows: Row[] = [];

function parse(mnemonic: string, picture: string): { mask: number; value: number; fields: Field[] } {
  let bit = 32;
  let mask = 0;
  let value = 0;
  const parts = new Map<string, { shift: number; bits: number; suffix: number; signed: boolean }[]>();
  for (const word of picture.split(/\s+/)) {
    if (/^[01]+$/.test(word)) {
      for (const c of word) {
        bit--;
        mask |= 1 << bit;
        if (c === "1") value |= 1 << bit;
      }
      continue;
    }
    const code = /^#(\d+):(\d+)$/.exec(word);
    if (code) {
      const bits = Number(code[2]);
      bit -= bits;
      mask |= (2 ** bits - 1) << bit;
      value |= Number(code[1]) << bit;
      continue;
    }
    const skip = /^\/(\d+)$/.exec(word);
    if (skip) {
      bit -= Number(skip[1]);
      continue;
    }
    const m = /^([a-z][a-z0-9]*)(?:\.(\d+))?:(s?)(\d+)$/.exec(word);
    if (!m) throw new Error(`${mnemonic}: bad word "${word}" in its picture`);
    const bits = Number(m[4]);
    bit -= bits;
    const list = parts.get(m[1]!) ?? [];
    list.push({ shift: bit, bits, suffix: m[2] === undefined ? -1 : Number(m[2]), signed: m[3] === "s" });
    parts.set(m[1]!, list);
  }
  if (bit !== 0) throw new Error(`${mnemonic}: its picture has ${32 - bit} bits`);
  const fields = [...parts].map(([name, list]): Field => {
    // The piece without a suffix lies where the others leave room.
    const total = list.reduce((sum, p) => sum + p.bits, 0);
    const taken = new Set<number>();
    for (const p of list) if (p.suffix >= 0) for (let i = 0; i < p.bits; i++) taken.add(p.suffix + i);
    let free = 0;
    while (taken.has(free)) free++;
    const pieces = list.map((p) => ({ shift: p.shift, mask: 2 ** p.bits - 1, at: p.suffix >= 0 ? p.suffix : free }));
    return { name, pieces, bits: total, signed: list.some((p) => p.signed) };
  });
  return { mask, value: value >>> 0, fields };
}

/** Declares one row. Without `emit` the instruction is not emulated: it raises a program interrupt and stands in the coverage page as such. */
export function insn<P extends string>(
  mnemonic: string,
  picture: P,
  source: string,
  emit?: (t: PpcTranslator, f: Fields<P>) => void,
  options: RowOptions = {},
): void {
  rows.push({ mnemonic, picture, source, ...parse(mnemonic, picture), emit: emit as Emit | undefined, ...options });
}

/** The rows of one section, so that its number is said once. */
export function section(source: string, common: RowOptions = {}) {
  return <P extends string>(
    mnemonic: string,
    picture: P,
    emit?: (t: PpcTranslator, f: Fields<P>) => void,
    options: RowOptions = {},
  ): void => insn(mnemonic, picture, source, emit, { ...common, ...options });
}

/** Values of a row's fields in a word. */
export function fieldsOf(row: Row, word: number): { readonly [name: string]: number } {
  const out: { [name: string]: number } = {};
  for (const f of row.fields) {
    let v = 0;
    for (const p of f.pieces) v |= ((word >>> p.shift) & p.mask) << p.at;
    if (f.signed) v = (v << (32 - f.bits)) >> (32 - f.bits);
    out[f.name] = v;
  }
  return out;
}

const cache = new Map<number, readonly Row[]>();
const KEY_MASK = 0xfc0007ff | 0;

/** The row of an instruction word: of those that match, the one with most fixed bits. */
export function lookup(word: number): Row | undefined {
  const key = word & KEY_MASK;
  let list = cache.get(key);
  if (!list) {
    const ones = (x: number) => {
      let n = 0;
      for (let v = x >>> 0; v; v = Math.floor(v / 2)) n += v % 2;
      return n;
    };
    list = rows.filter((r) => ((key ^ r.value) & r.mask & KEY_MASK) === 0).sort((a, b) => ones(b.mask) - ones(a.mask));
    cache.set(key, list);
  }
  for (const r of list) if (((word ^ r.value) & r.mask) === 0) return r;
  return undefined;
}
