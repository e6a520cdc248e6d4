/** Random PowerPC cases from the instruction table: operands at the borders, registers that stay clear of the harness's. */
import { type Row, rows } from "../../src/target/ppc/isa.js";
import { MEMORY_AT, MEMORY_BYTES, type PpcCase } from "./oracle.js";
import "../../src/target/ppc/tables/index.js";

/** A small generator: the same sequence for the same seed. */
export class Random {
  constructor(private state: number) {}
  next(): number {
    this.state = (Math.imul(this.state ^ (this.state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0;
    let x = this.state;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    return (x ^ (x >>> 16)) >>> 0;
  }
  below(n: number): number {
    return this.next() % n;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
  u64(): bigint {
    return (BigInt(this.next()) << 32n) | BigInt(this.next());
  }
}

const INTEGERS = [
  0n,
  1n,
  2n,
  7n,
  8n,
  31n,
  32n,
  33n,
  63n,
  64n,
  65n,
  127n,
  128n,
  0x7fn,
  0xffn,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  0x100000000n,
  0x7fffffffffffffffn,
  0x8000000000000000n,
  0xffffffffffffffffn,
  0xffffffff80000000n,
  0xfffffffffffffffen,
  0x0123456789abcdefn,
];
const F64 = [
  0n,
  1n << 63n,
  0x3ff0000000000000n,
  0xbff0000000000000n,
  0x4000000000000000n,
  0x7ff0000000000000n,
  0xfff0000000000000n,
  0x7ff8000000000000n,
  0x7ff0000000000001n,
  0xfff8000000000001n,
  0x7ff4000000000000n,
  1n,
  0x000fffffffffffffn,
  0x0010000000000000n,
  0x7fefffffffffffffn,
  0x3ff0000000000001n,
  0x41dfffffffc00000n,
  0x41e0000000000000n,
  0xc1e0000000000000n,
  0x43e0000000000000n,
  0xc3e0000000000000n,
  0x43f0000000000000n,
  0x3fe0000000000000n,
  0x3ff8000000000000n,
  0x4004000000000000n,
  0xbfe0000000000000n,
  0x36a0000000000000n,
  0x380fffffffffffffn,
  0x47efffffe0000000n,
  0x47efffffffffffffn,
  0x3ca0000000000000n,
  0x4330000000000001n,
];
const F32 = [
  0n,
  0x80000000n,
  0x3f800000n,
  0xbf800000n,
  0x7f800000n,
  0xff800000n,
  0x7fc00000n,
  0x7f800001n,
  0xffc00001n,
  1n,
  0x007fffffn,
  0x00800000n,
  0x7f7fffffn,
  0x4f000000n,
  0xcf000000n,
  0x4f800000n,
  0x3f000000n,
  0x3fc00000n,
  0x40200000n,
];

export type Values = "integer" | "f64" | "f32" | "single";

function value(r: Random, kind: Values): bigint {
  if (kind === "single") {
    // A double that a single can hold.
    if (r.below(3) === 0)
      return r.pick([
        0n,
        1n << 63n,
        0x3ff0000000000000n,
        0x7ff0000000000000n,
        0x7ff8000000000000n,
        0x7ff4000000000000n,
        0x36a0000000000000n,
        0x47efffffe0000000n,
        0x3810000000000000n,
      ]);
    const b = new DataView(new ArrayBuffer(8));
    b.setUint32(0, r.below(2) ? r.next() : ((r.next() & 0x807fffff) | ((110 + r.below(34)) << 23)) >>> 0);
    b.setFloat64(0, b.getFloat32(0));
    return b.getBigUint64(0);
  }
  if (kind === "f64") {
    if (r.below(2)) return r.pick(F64);
    if (r.below(3) === 0) return r.u64();
    return (r.u64() & 0x800fffffffffffffn) | (BigInt(1023 - 60 + r.below(120)) << 52n);
  }
  if (kind === "f32") {
    const one = () =>
      r.below(2)
        ? r.pick(F32)
        : r.below(3)
          ? BigInt((r.next() & 0x807fffff) | ((100 + r.below(60)) << 23)) & 0xffffffffn
          : BigInt(r.next());
    return (one() << 32n) | one();
  }
  switch (r.below(4)) {
    case 0:
      return r.pick(INTEGERS);
    case 1:
      return BigInt.asUintN(64, BigInt.asIntN(32, r.u64()));
    default:
      return r.u64();
  }
}

/** Fields that are registers an instruction may change, which must not be r1. */
const GPR_FIELD = /^(r[tsabc]|rtp|rsp)$/;

export interface RandomOptions {
  readonly values?: Values;
  /** Instructions in one case. */
  readonly length?: number;
  readonly fpscr?: (r: Random) => bigint;
}

/** A word of a row with random fields. */
export function randomWord(r: Random, row: Row): number {
  let word = row.value;
  for (const f of row.fields) {
    let v = r.next();
    if (GPR_FIELD.test(f.name)) {
      v &= 31;
      if (f.name.endsWith("p") && f.name.length === 3) v &= ~1;
      if (v === 1 || v === 0 || (f.name.endsWith("p") && v === 0)) v = f.name.endsWith("p") ? 4 : 3;
    }
    if (f.name === "cy") v = 0;
    // One field: more are undefined (mtocrf, mfocrf).
    if (f.name === "fxm" && row.mnemonic.includes("o")) v = 1 << r.below(8);
    if (f.name === "rc" && f.bits === 1) v = r.below(2);
    for (const p of f.pieces) word |= ((v >>> p.at) & p.mask) << p.shift;
  }
  return word >>> 0;
}

export function randomCase(r: Random, code: readonly number[], o: RandomOptions = {}): PpcCase {
  const kind = o.values ?? "integer";
  return {
    code,
    gpr: Array.from({ length: 32 }, () => value(r, "integer")),
    vsr: Array.from({ length: 128 }, () => value(r, r.below(8) ? kind : "integer")),
    cr: r.next(),
    xer: (BigInt(r.below(8)) << 29n) | (BigInt(r.below(4)) << 18n) | BigInt(r.below(40)),
    lr: value(r, "integer"),
    ctr: value(r, "integer"),
    fpscr: o.fpscr ? o.fpscr(r) : 0n,
    vscr: (r.below(4) ? 0 : 0x10000) | r.below(2),
    memory: Uint8Array.from({ length: MEMORY_BYTES }, () => r.next() & 255),
  };
}

/** Points an address register pair into the case's memory. */
export function withAddress(c: PpcCase, ra: number, offset: number): PpcCase {
  const gpr = [...c.gpr];
  gpr[ra] = BigInt(MEMORY_AT + offset);
  return { ...c, gpr };
}

export const rowsOf = (wanted: (r: Row) => boolean): Row[] => rows.filter((r) => r.emit && wanted(r));
