/**
 * Sequences of IR records that tier 0 runs as one: their handler is the handlers of the records one after the other, with a
 * single dispatch at the end. Only the operation code of the first record changes, so that places in a block (faults, skips)
 * stay what they are. The list is what kernels and programs have most of.
 */
import { OPS, type OpDef, opCode } from "./ir/ops.js";

const comparisons = ["eq", "ne", "lt", "ltu", "le", "leu"].flatMap((c) => ["", "32", "i", "i32"].map((kind) => `set${c}${kind}`));

const LIST: string[] = [
  // call, push, pop, return
  "movi st64 addi jmp",
  "movi st64 addi",
  "st64 addi",
  "st64 addi st64 addi",
  "ld64 addi",
  "ld64 addi ld64 addi",
  "ld64 addi jind",
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
  "setcci addi",
  "xor32 setcci",
  "or setcci",
  "and setcci",
  "add32 setcc",
  // addresses and moves
  "lea ld64",
  "lea st64",
  "lea addi",
  "add ld64",
  "add st64",
  "addi mov",
  "addi st64",
  "addi ld64",
  "addi ext32u",
  "ext32s lea",
  "ext32u mov",
  "mov mov",
  "mov movi",
  "mov ld64",
  "mov st64",
  "movi movi",
  "movi st64",
  "movi ld64",
  "movi mov",
  "movi add",
  "movi jmp",
  "mov jmp",
  "addi jmp",
  "ld64 mov",
  "ld64 ld64",
  "ld64 st64",
  "ld64 jmp",
  "ld32u mov",
  "ld64 movi",
  "st64 st64",
  "st64 ld64",
  "st64 mov",
  "st64 jmp",
  "shri andi",
  "shri shri",
  "shli add",
];

interface Place {
  /** Operation code of the sequence that ends here, 0 = none. */
  code: number;
  readonly next: Map<number, Place>;
}

/** Operations by sequence; the sequence's code is its index after the last operation's. */
export const SEQUENCES: readonly (readonly OpDef[])[] = LIST.map((text) => text.split(" ").map((name) => OPS[opCode(name)]!));

const root: Place = { code: 0, next: new Map() };
for (const [n, ops] of SEQUENCES.entries()) {
  let at = root;
  for (const op of ops) {
    let next = at.next.get(op.code);
    if (!next) {
      next = { code: 0, next: new Map() };
      at.next.set(op.code, next);
    }
    at = next;
  }
  at.code = OPS.length + n;
}

/** Marks the longest sequences among `count` records of four words that begin at index `at`. */
export function joinRecords(words: Int32Array, at: number, count: number): void {
  for (let i = 0; i < count; ) {
    let length = 1;
    let code = 0;
    let place: Place | undefined = root;
    for (let k = 0; i + k < count; k++) {
      place = place.next.get(words[at + (i + k) * 4]! & 0xffff);
      if (!place) break;
      if (place.code) {
        code = place.code;
        length = k + 1;
      }
    }
    if (code) words[at + i * 4] = (words[at + i * 4]! & ~0xffff) | code;
    i += length;
  }
}
