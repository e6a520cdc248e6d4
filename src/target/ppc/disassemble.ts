/** Instructions as text from the table: mnemonic and operand fields in the order of the picture, for `-d in_asm`. */
import { fieldsOf, lookup } from "./isa.js";

export interface Disassembly {
  readonly length: number;
  readonly text: string;
}

/** Fields that hold register numbers, by their letter. */
const REGISTERS: readonly [RegExp, string][] = [
  [/^r[tsabc]p?$/, "r"],
  [/^fr[tsabc]p?$/, "f"],
  [/^vr[tsabc]$/, "v"],
  [/^x[tsabc]$/, "vs"],
  [/^bfa?$/, "cr"],
];

/** @param address of the instruction, for relative branches */
export function disassemble(word: number, address: bigint): Disassembly {
  const row = lookup(word);
  if (!row) return { length: 4, text: `.long 0x${(word >>> 0).toString(16).padStart(8, "0")}` };
  const f = fieldsOf(row, word);
  let mnemonic = row.mnemonic;
  if (f.oe) mnemonic += "o";
  if (f.lk) mnemonic += "l";
  if (f.aa) mnemonic += "a";
  if (f.rc) mnemonic += ".";
  const parts: string[] = [];
  for (const { name } of row.fields) {
    const v = f[name]!;
    if (name === "oe" || name === "rc" || name === "lk" || name === "aa") continue;
    if (name === "li" || name === "bd") {
      const at = BigInt.asUintN(64, (f.aa ? 0n : address) + BigInt(v * 4));
      parts.push(`0x${at.toString(16)}`);
      continue;
    }
    const register = REGISTERS.find(([re]) => re.test(name));
    parts.push(register ? `${register[1]}${v}` : String(v));
  }
  return { length: 4, text: `${mnemonic.padEnd(8)} ${parts.join(",")}`.trimEnd() };
}
