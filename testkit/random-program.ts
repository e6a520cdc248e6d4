/**
 * Random guest programs from the opcode tables: a loop around random instructions, forward jumps into whatever comes,
 * inner loops that may be entered in the middle, calls. rBX points to data, rSP to the stack; both stay as they are.
 */
import { disassemble } from "../src/target/x86/disassemble.js";
import { NO64, ONLY64, type Row } from "../src/target/x86/insn.js";
import { HF_CS32, HF_CS64 } from "../src/target/x86/layout.js";
import { rows } from "../src/target/x86/opcodes.js";
import "../src/target/x86/tables/index.js";
import { CODE_AT, DATA_AT, type Mode } from "./program-rig.js";

/** A small generator with a seed (xorshift32). */
export class Random {
  private s: number;
  constructor(readonly seed: number) {
    this.s = (Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995) >>> 0 || 1;
    for (let i = 0; i < 4; i++) this.next();
  }

  next(): number {
    let s = this.s;
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    this.s = s >>> 0;
    return this.s;
  }

  below(n: number): number {
    return this.next() % n;
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** A number whose bits are like those that programs have: small, extreme or random. */
  value(): bigint {
    const r = this.below(8);
    const wide = (BigInt(this.next()) << 32n) | BigInt(this.next());
    if (r === 0) return BigInt(this.below(4));
    if (r === 1) return BigInt.asUintN(64, -BigInt(this.below(4)));
    if (r === 2) return 1n << BigInt(this.below(64));
    if (r === 3) return BigInt.asUintN(64, (1n << BigInt(this.below(64))) - 1n);
    if (r === 4) return wide & 0xffffffffn;
    return wide;
  }
}

/** Mnemonics that leave control flow, mode, stack and address registers alone. */
const INTEGER =
  /^(ADD|OR|ADC|SBB|AND|SUB|XOR|CMP|TEST|INC|DEC|NOT|NEG|MUL|IMUL|ROL|ROR|RCL|RCR|SHL|SHR|SAR|SHLD|SHRD|DAA|DAS|AAA|AAS|AAD|SALC|BT|BTS|BTR|BTC|BSF|BSR|POPCNT|TZCNT|LZCNT|BSWAP|CMOV.*|SET.*|CMPXCHG|XADD|CMPXCHG8B|CRC32|MOVBE|MOV|MOVZX|MOVSX|MOVSXD|CBW|CWD|LEA|XLAT|XCHG|NOP|MOVNTI|CMC|CLC|STC|CLD|STD|SAHF|LAHF)$/;
/** May raise #DE. */
const DIVIDE = /^(DIV|IDIV|AAM)$/;
const VECTOR_LETTERS = /^[VWUPQN][a-z]/;

export type Kind = "integer" | "vector" | "x87";

/** The rows of one kind that a random program may use. */
export function rowsFor(kind: Kind, mode: Mode): Row[] {
  return rows.filter((r) => {
    if (r.flags & (mode === 64 ? NO64 : ONLY64)) return false;
    const vector = r.operands.some((o) => VECTOR_LETTERS.test(o));
    if (kind === "integer")
      return (
        (INTEGER.test(r.mnemonic) || DIVIDE.test(r.mnemonic)) && !vector && !r.operands.some((o) => /^([SCD][wy]|O[bv])$/.test(o))
      );
    if (kind === "vector") return vector && !/^MASKMOV/.test(r.mnemonic);
    return r.mnemonic[0] === "F" && r.key[0] === "d" && !/^(FLDENV|FRSTOR|FLDCW|FNSAVE|FNSTENV)$/.test(r.mnemonic);
  });
}

interface Item {
  bytes: number[];
  /** A relative 32-bit (16-bit code: 16-bit) displacement to this item stands at the end of `bytes`. */
  to?: number;
}

export interface RandomProgram {
  readonly seed: number;
  readonly mode: Mode;
  readonly code: Uint8Array;
  readonly gpr: readonly bigint[];
  readonly data: Uint8Array;
  readonly vectors: Uint8Array;
  listing(): string;
}

export interface ProgramOptions {
  readonly seed: number;
  readonly mode: Mode;
  readonly kinds: readonly Kind[];
  /** Random instructions in the main loop. */
  readonly length: number;
  /** Times the main loop runs. */
  readonly iterations: number;
  /** Whether memory operands may move a stride further each time round. */
  readonly stride?: number;
}

/** rBX at the start: the middle of the data pages. */
export const DATA_MIDDLE = DATA_AT + 0x1000;
/** Counters of the loops lie at the beginning of the data. */
const COUNTERS = DATA_AT;

export function randomProgram(o: ProgramOptions): RandomProgram {
  const r = new Random(o.seed);
  const g = new Generator(r, o.mode);
  const lists = o.kinds.map((k) => rowsFor(k, o.mode));
  const items: Item[] = [];
  const add = (bytes: number[], to?: number) => items.push(to === undefined ? { bytes } : { bytes, to });
  const random = () => add(g.instruction(r.pick(r.pick(lists))));
  const functions: { call: Item }[] = [];

  add(g.setCounter(0, o.iterations));
  const top = items.length;
  let inner = -1;
  for (let n = 0; n < o.length; n++) {
    const what = r.below(24);
    if (what < 3) add(g.condition(r.below(16)), items.length + 2 + r.below(8));
    else if (what === 3 && inner < 0) {
      add(g.setCounter(1, 1 + r.below(6)));
      inner = items.length;
    } else if (what === 4 && inner >= 0) {
      add(g.loop(1), inner);
      inner = -1;
    } else if (what === 5) {
      const item: Item = { bytes: g.call(), to: -1 };
      items.push(item);
      functions.push({ call: item });
    } else if (what === 6) for (const b of g.pushPop()) add(b);
    else random();
  }
  if (inner >= 0) add(g.loop(1), inner);
  if (o.stride) add(g.addBx(o.stride));
  add(g.loop(0), top);
  add([0xf4]);
  const end = items.length - 1;
  for (const f of functions) {
    f.call.to = items.length;
    for (let n = r.below(6); n > 0; n--) random();
    add([0xc3]);
  }
  for (const item of items) if (item.to !== undefined && item.to > end && item.bytes[0] !== CALL) item.to = end;

  // Layout and links.
  const wide = o.mode === 16 ? 2 : 4;
  const offsets: number[] = [];
  let at = 0;
  for (const i of items) {
    offsets.push(at);
    at += i.bytes.length;
  }
  const code = new Uint8Array(at + 16).fill(0xf4);
  const view = new DataView(code.buffer);
  for (const [k, i] of items.entries()) {
    code.set(i.bytes, offsets[k]!);
    if (i.to === undefined) continue;
    const next = offsets[k]! + i.bytes.length;
    const delta = offsets[i.to]! - next;
    if (wide === 2) view.setInt16(next - 2, delta, true);
    else view.setInt32(next - 4, delta, true);
  }
  const gpr = Array.from({ length: 16 }, () => (o.mode === 64 ? r.value() : r.value() & 0xffffffffn));
  const data = Uint8Array.from({ length: 0x2000 }, () => r.below(256));
  const vectors = Uint8Array.from({ length: 256 }, () => r.below(256));
  return {
    seed: o.seed,
    mode: o.mode,
    code,
    gpr,
    data,
    vectors,
    listing: () => listing(code, at, o.mode),
  };
}

function listing(code: Uint8Array, length: number, mode: Mode): string {
  const flags = { 16: 0, 32: HF_CS32, 64: HF_CS32 | HF_CS64 }[mode];
  const out: string[] = [];
  for (let at = 0; at < length; ) {
    const d = disassemble({ byte: (k) => code[k] ?? 0 }, at, BigInt(CODE_AT + at), flags);
    const hex = Array.from(code.subarray(at, at + d.length), (b) => b.toString(16).padStart(2, "0")).join(" ");
    out.push(`${(CODE_AT + at).toString(16)}:  ${hex.padEnd(30)} ${d.text}`);
    at += d.length;
  }
  return out.join("\n");
}

const CALL = 0xe8;
const le = (v: number, n: number) => Array.from({ length: n }, (_, k) => (v >> (8 * k)) & 255);

class Generator {
  constructor(
    private readonly r: Random,
    private readonly mode: Mode,
  ) {}

  private get address(): number {
    return this.mode === 16 ? 2 : 4;
  }

  /** ModRM and displacement of an absolute address, reg field given. */
  private absolute(reg: number, at: number): number[] {
    if (this.mode === 16) return [(reg << 3) | 6, ...le(at, 2)];
    if (this.mode === 32) return [(reg << 3) | 5, ...le(at, 4)];
    return [(reg << 3) | 4, 0x25, ...le(at, 4)];
  }

  setCounter(n: number, value: number): number[] {
    return [0xc7, ...this.absolute(0, COUNTERS + 8 * n), ...le(value, this.address)];
  }

  /** Counts down, jumps back while the counter is positive: one item, so that nothing jumps in between. */
  loop(n: number): number[] {
    return [0x83, ...this.absolute(5, COUNTERS + 8 * n), 1, ...this.condition(15)];
  }

  /** A conditional jump whose displacement is filled in later. */
  condition(cc: number): number[] {
    return [0x0f, 0x80 | cc, ...le(0, this.address)];
  }

  call(): number[] {
    return [CALL, ...le(0, this.address)];
  }

  addBx(stride: number): number[] {
    return [...(this.mode === 64 ? [0x48] : []), 0x81, 0xc3, ...le(stride, this.address)];
  }

  pushPop(): number[][] {
    const regs = [0, 1, 2, 5, 6, 7];
    return [[0x50 | this.r.pick(regs)], [0x58 | this.r.pick(regs)]];
  }

  /** A register that may be changed; `narrow`: a byte register without REX. */
  private register(rex: boolean, narrow: boolean): number {
    if (narrow && !rex) return this.r.pick([0, 1, 2, 4, 5, 6]);
    const n = this.r.pick(rex ? [0, 1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14] : [0, 1, 2, 5, 6, 7]);
    return n;
  }

  /** One encoding of a row. */
  instruction(row: Row): number[] {
    const r = this.r;
    const words = row.key.split(" ");
    const out: number[] = [];
    let mandatory = true;
    if (/^(66|f2|f3)$/.test(words[0]!)) out.push(Number.parseInt(words.shift()!, 16));
    else if (words[0] === "np") words.shift();
    else mandatory = false;
    if (
      !mandatory &&
      r.chance(4) &&
      row.operands.some((x) => /^[EGZRM][vy]$/.test(x)) &&
      !/^(MOVNTI|CMPXCHG8B)$/.test(row.mnemonic)
    )
      out.push(0x66);
    const rex = this.mode === 64 && r.chance(2);
    let bits = rex ? 0x40 | (r.below(2) << 3) : 0;
    const code: number[] = [];
    while (words.length > 1 && /^(0f|38|3a)$/.test(words[0]!) && /^[0-9a-f]{2}(\+r)?$/.test(words[1]!))
      code.push(Number.parseInt(words.shift()!, 16));
    const last = words.shift()!;
    let opcode = Number.parseInt(last.slice(0, 2), 16);
    if (row.operands.some((x) => x[0] === "Z") || last.endsWith("+r")) {
      const n = this.register(rex, row.operands[0] === "Zb");
      opcode = (opcode & 0xf8) | (n & 7);
      if (n > 7) bits |= 1;
    }
    code.push(opcode);
    let tail: number[] = [];
    if (row.modrm) {
      let reg = -1;
      let memory = r.chance(2) || row.operands.some((x) => x[0] === "M");
      for (const w of words) {
        if (w[0] === "/") reg = Number(w[1]);
        else if (w === "m") memory = true;
        else if (w === "r") memory = false;
        else if (w[0] === "=") return [...out, ...(rex ? [bits & 0x48] : []), ...code, Number.parseInt(w.slice(1), 16)];
      }
      // Bit offsets in registers reach anywhere.
      if (/^BT[SRC]? Ev,Gv$/.test(row.text)) memory = false;
      const g = row.operands.find((x) => /^[GVPSU]/.test(x) && (x[0] === "G" || x[0] === "V" || x[0] === "P"));
      if (reg < 0) {
        reg = g && g[0] === "G" ? this.register(rex, g[1] === "b") : g?.[0] === "P" ? r.below(8) : r.below(rex ? 16 : 8);
        if (reg > 7) bits |= 4;
      }
      if (memory) tail = this.memory(reg & 7, row);
      else {
        const e = row.operands.find((x) => /^[ERWUQN]/.test(x));
        let rm =
          e && (e[0] === "E" || e[0] === "R")
            ? this.register(rex, e[1] === "b")
            : e && /^[QN]/.test(e)
              ? r.below(8)
              : r.below(rex ? 16 : 8);
        if (!e) rm = r.below(8);
        if (rm > 7) bits |= 1;
        tail = [0xc0 | ((reg & 7) << 3) | (rm & 7)];
      }
    }
    const opsize = bits & 8 ? 8 : this.mode === 16 ? (out.includes(0x66) ? 4 : 2) : out.includes(0x66) ? 2 : 4;
    for (const k of row.imms) {
      const n = k === "b" ? 1 : k === "w" ? 2 : k === "v" ? opsize : Math.min(opsize, 4);
      const v = r.value();
      for (let q = 0; q < n; q++) tail.push(Number((v >> BigInt(8 * q)) & 255n));
    }
    return [...out, ...(rex ? [bits] : []), ...code, ...tail];
  }

  /** [rBX + displacement], aligned for vectors. */
  private memory(reg: number, row: Row): number[] {
    const r = this.r;
    const vector = row.operands.some((x) => VECTOR_LETTERS.test(x)) || row.mnemonic === "CMPXCHG8B";
    if (this.mode === 16) {
      const d = vector ? 16 * (r.below(64) - 32) : r.below(0x400) - 0x200;
      return [0x80 | (reg << 3) | 7, ...le(d, 2)];
    }
    if (r.chance(2)) {
      const d = vector ? 16 * (r.below(16) - 8) : r.below(256) - 128;
      return [0x40 | (reg << 3) | 3, d & 255];
    }
    const d = vector ? 16 * (r.below(64) - 32) : r.below(0x400) - 0x200;
    return [0x80 | (reg << 3) | 3, ...le(d, 4)];
  }
}
