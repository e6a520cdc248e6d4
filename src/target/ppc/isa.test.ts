/** The instruction table: pictures are whole, every row is found again, foreign words are refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { disassemble } from "./disassemble.js";
import { fieldsOf, insn, lookup, rows } from "./isa.js";
import "./tables/index.js";

test("every row is found by its own word, with no field set and with all set", () => {
  for (const row of rows) {
    const free = ~row.mask >>> 0;
    for (const word of [row.value, row.value | free]) {
      const found = lookup(word | 0);
      assert.ok(found, `${row.mnemonic} ${word.toString(16)}`);
      // Bits that the picture ignores may make another, more special row of it (mfocrf of mfcr and the like).
      const same = found === row || (found.mask & row.mask) >>> 0 === row.mask >>> 0;
      assert.ok(same, `${row.mnemonic}: ${(word >>> 0).toString(16)} is ${found.mnemonic}`);
    }
  }
});

test("two rows with the same fixed bits would hide each other", () => {
  const seen = new Map<string, string>();
  for (const row of rows) {
    const key = `${row.mask}:${row.value}`;
    assert.equal(seen.get(key), undefined, `${row.mnemonic} and ${seen.get(key)}`);
    seen.set(key, row.mnemonic);
  }
});

/** Word, text: encodings from the GNU assembler. */
const TEXTS: [number, string][] = [
  [0x38610020, "addi     r3,r1,32"],
  [0x7c632214, "add      r3,r3,r4"],
  [0x7c632215, "add.     r3,r3,r4"],
  [0x7c632614, "addo     r3,r3,r4"],
  [0x786307c6, "rldicr   r3,r3,32,31"],
  [0x4bfffff0, "b        0xff0"],
  [0x48000011, "bl       0x1010"],
  [0x4e800020, "bclr     20,0,0"],
  [0xe8610ff8, "ld       r3,r1,1022"],
  [0xf0421cd3, "xxlxor   vs34,vs2,vs35"],
  [0x00000000, ".long 0x00000000"],
  [0x04000000, ".long 0x04000000"],
];
for (const [word, text] of TEXTS)
  test(`${word.toString(16).padStart(8, "0")}: ${text}`, () => assert.equal(disassemble(word | 0, 0x1000n).text, text));

test("split fields are put together", () => {
  // sradi r4,r3,40: sh[0] lies apart.
  const sradi = lookup(0x7c644676 | 0)!;
  assert.deepEqual([sradi.mnemonic, fieldsOf(sradi, 0x7c644676).sh], ["sradi", 40]);
  // mfspr r3,LR: the halves of the number are exchanged.
  const mflr = lookup(0x7c6802a6)!;
  assert.deepEqual([mflr.mnemonic, fieldsOf(mflr, 0x7c6802a6).spr], ["mfspr", 8]);
  // ld with a negative displacement.
  assert.equal(fieldsOf(lookup(0xe861fff8 | 0)!, 0xe861fff8 | 0).ds, -2);
});

const BAD: [string, RegExp][] = [
  ["000000", /has 6 bits/],
  ["000000 rt:5 ra:5 rb:5 #266:9 rc:1", /has 31 bits/],
  ["000000 rt:5 ra:5 rb:5 0000000000 Rc:1", /bad word "Rc:1"/],
];
for (const [picture, message] of BAD) test(`refused: ${picture}`, () => assert.throws(() => insn("bad", picture, ""), message));
