/**
 * Sequences of IR records that tier 0 runs as one: their handler is the handlers of the records one after the other, with a
 * single dispatch at the end. Only the operation code of the first record changes, so that places in a block (faults, skips)
 * stay what they are. The list is what kernels and programs have most of.
 */
import { OPS, type OpDef, opCode } from "./ir/ops.js";

const comparisons = ["eq", "ne", "lt", "ltu", "le", "leu"].flatMap((c) => ["", "32", "i", "i32"].map((kind) => `set${c}${kind}`));

/** Once for 64-bit code (ST = st64, LD = ld64, ADDI = addi), once for 32-bit code (st32, ld32u, addi32). */
const NATURAL = [
  // call, push, pop, return
  "movi ST ADDI jmp",
  "movi ST ADDI",
  "ST ADDI",
  "ST ADDI jmp",
  "ST ADDI ST ADDI",
  "LD ADDI",
  "LD ADDI mov",
  "LD ADDI mov LD ADDI mov",
  "LD ADDI jind",
  "LD ADDI ext32u ADDI jind",
  // addresses and moves
  "lea LD",
  "lea ST",
  "add LD",
  "add ST",
  "ADDI ST",
  "ADDI LD",
  "mov LD",
  "mov ST",
  "movi ST",
  "movi LD",
  "LD mov",
  "LD LD",
  "LD ST",
  "LD jmp",
  "LD movi",
  "LD setcc",
  "LD setcci",
  "ST ST",
  "ST LD",
  "ST mov",
  "ST jmp",
  "ADDI jmp",
];
const natural = (text: string, bits: 64 | 32) =>
  text.replace(
    /[A-Z]+/g,
    (name) => ({ ST: `st${bits}`, LD: bits === 64 ? "ld64" : "ld32u", ADDI: bits === 64 ? "addi" : "addi32" })[name]!,
  );

/** Sequences without memory, the same for all code. */
const PLAIN = [
  // compare and branch
  "jnz jmp",
  ...comparisons.map((c) => `${c} jnz jmp`),
  ...comparisons.filter((c) => !c.includes("i")).map((c) => `setcc ${c} jnz jmp`),
  ...["seteqi", "setnei", "seteqi32", "setnei32", "setlti", "setlti32", "setlei", "setlei32"].map((c) => `setcci ${c} jnz jmp`),
  "setcci ext8u seteqi32 jnz jmp",
  "setcci ext8u setnei32 jnz jmp",
  "and32 setcci",
  "and32 setcci ext8u seteqi32 jnz jmp",
  "and32 setcci ext8u setnei32 jnz jmp",
  // arithmetic with flags
  "add setcc",
  "addi setcc",
  "addi setcci",
  "addi32 setcci",
  "sub setcc",
  "setcc sub",
  "setcc sub32",
  "setcci addi",
  "xor32 setcci",
  "or setcci",
  "and setcci",
  "add32 setcc",
  "lea addi",
  "addi mov",
  "addi ext32u",
  "addi32 ext32u",
  "ext32s lea",
  "ext32u mov",
  "ext32u ext32u",
  "mov mov",
  "mov movi",
  "movi movi",
  "movi mov",
  "movi add",
  "movi jmp",
  "mov jmp",
  "shri andi",
  "shri shri",
  "shli add",
];

/** Single accesses gain too: their width of address is no longer read from the record. */
const SINGLE = ["ld64", "ld32u", "ld32s", "ld16u", "ld8u", "ld8s", "st64", "st32", "st16", "st8"];

/** A sequence; `addressBits` says which records of memory it stands for. */
export interface Sequence {
  readonly ops: readonly OpDef[];
  readonly addressBits: 64 | 32;
}

const parse = (text: string, addressBits: 64 | 32): Sequence => ({
  ops: text.split(" ").map((name) => OPS[opCode(name)]!),
  addressBits,
});

/** A sequence's operation code is its index after the last operation's. */
export const SEQUENCES: readonly Sequence[] = [
  ...[...PLAIN, ...SINGLE].map((t) => parse(t, 64)),
  ...NATURAL.map((t) => parse(natural(t, 64), 64)),
  ...[...NATURAL.map((t) => natural(t, 32)), ...SINGLE.filter((t) => !t.endsWith("64"))].map((t) => parse(t, 32)),
];

interface Place {
  /** Operation code of the sequence that ends here, 0 = none. */
  code: number;
  readonly next: Map<number, Place>;
}

const roots: Record<64 | 32, Place> = { 64: { code: 0, next: new Map() }, 32: { code: 0, next: new Map() } };

function enter(root: Place, ops: readonly OpDef[], code: number): void {
  let at = root;
  for (const op of ops) {
    let next = at.next.get(op.code);
    if (!next) {
      next = { code: 0, next: new Map() };
      at.next.set(op.code, next);
    }
    at = next;
  }
  at.code = code;
}

const MEMORY = new Set(OPS.filter((op) => op.special && /^(ld|st)(v|\d+[us]?)$/.test(op.name)).map((op) => op.code));
for (const [n, { ops, addressBits }] of SEQUENCES.entries())
  for (const bits of [64, 32] as const)
    if (bits === addressBits || !ops.some((op) => MEMORY.has(op.code))) enter(roots[bits], ops, OPS.length + n);

/** Bit of a memory record's upper immediate: the address is taken modulo 2^32. */
const ADDRESS_32 = 0x100;

/** Marks the longest sequences among `count` records of four words that begin at index `at`. */
export function joinRecords(words: Int32Array, at: number, count: number): void {
  for (let i = 0; i < count; ) {
    let length = 0;
    let code = 0;
    for (const bits of [64, 32] as const) {
      let place: Place | undefined = roots[bits];
      for (let k = 0; i + k < count; k++) {
        const w = at + (i + k) * 4;
        const op = words[w]! & 0xffff;
        if (MEMORY.has(op) && ((words[w + 3]! & ADDRESS_32) !== 0) !== (bits === 32)) break;
        place = place.next.get(op);
        if (!place) break;
        if (place.code && k + 1 > length) {
          code = place.code;
          length = k + 1;
        }
      }
    }
    if (code) words[at + i * 4] = (words[at + i * 4]! & ~0xffff) | code;
    i += length || 1;
  }
}
