/**
 * Collects the opcode tables. Keys: optional mandatory prefix ("66", "f3", "f2"; "np" = none of them), map ("0f",
 * "0f 38", "0f 3a"), opcode byte, then "/0".."/7" for the ModRM reg field, "m" or "r" for memory or register forms, "=c8"
 * for one whole ModRM byte; a range of eight register opcodes is "50+r".
 */
import type { Emit, Row } from "./insn.js";
import { MEM, NO64, ONLY64, REG } from "./insn.js";

const MODRM_LETTERS = new Set(["E", "G", "M", "S", "C", "D", "P", "Q", "V", "W", "U", "N", "R"]);

/** All rows in the order of declaration: the coverage page and the tests read them. */
export const rows: Row[] = [];

/** Candidates by map << 8 | opcode; the first that matches prefix and ModRM is taken. */
interface Candidate {
  /** -1 any, 0 none, 0x66, 0xf3, 0xf2 */
  prefix: number;
  /** -1 any */
  reg: number;
  /** -1 any */
  modrm: number;
  row: Row;
}
const table: Candidate[][] = Array.from({ length: 4 * 256 }, () => []);

/** Declares one row. Without `emit` the instruction raises #UD and stands in the coverage page as not emulated. */
export function op(key: string, text: string, emit?: Emit, flags = 0): void {
  const words: string[] = key.split(" ");
  let prefix = -1;
  if (words[0] === "66" || words[0] === "f3" || words[0] === "f2") prefix = Number.parseInt(words.shift()!, 16);
  else if (words[0] === "np") {
    prefix = 0;
    words.shift();
  }
  let map = 0;
  if (words[0] === "0f" && words.length > 1) {
    words.shift();
    map = 1;
    const second = words[0] as string;
    if ((second === "38" || second === "3a") && words.length > 1 && /^[0-9a-f]{2}/.test(words[1]!)) {
      words.shift();
      map = second === "38" ? 2 : 3;
    }
  }
  const code = words.shift()!;
  let reg = -1;
  let modrm = -1;
  for (const w of words) {
    if (w.startsWith("/")) reg = Number(w.slice(1));
    else if (w.startsWith("=")) modrm = Number.parseInt(w.slice(1), 16);
    else if (w === "m") flags |= MEM;
    else if (w === "r") flags |= REG;
    else throw new Error(`opcode key ${key}`);
  }
  const [mnemonic = "", rest = ""] = text.split(" ");
  const operands = rest ? rest.split(",") : [];
  let imms = "";
  let hasModrm = reg >= 0 || modrm >= 0 || (flags & (MEM | REG)) !== 0;
  for (const o of operands) {
    const k = o[0]!;
    if (MODRM_LETTERS.has(k) && o.length > 1 && !["CL", "DX", "CS", "DS", "ES", "SS", "FS", "GS"].includes(o)) hasModrm = true;
    if (k === "I" || k === "J") imms += o[1];
    if (o === "Ap") imms += "a";
    if (k === "O") imms += "o";
  }
  const row: Row = { text, mnemonic, operands, modrm: hasModrm, imms, emit, flags, key };
  rows.push(row);
  const plus = code.endsWith("+r");
  const first = Number.parseInt(code.slice(0, 2), 16);
  for (let i = 0; i < (plus ? 8 : 1); i++) {
    const list = table[(map << 8) | (first + i)]!;
    // A mandatory prefix is more specific than none: TZCNT before BSF.
    const at = prefix > 0 ? list.findIndex((c) => c.prefix === -1) : -1;
    list.splice(at < 0 ? list.length : at, 0, { prefix, reg, modrm, row });
  }
}

/** Whether any row of this opcode has a ModRM byte (known before the row is). */
const modrmOf = new Int8Array(4 * 256).fill(-1);

export function hasModrm(map: number, opcode: number): boolean {
  const i = (map << 8) | opcode;
  if (modrmOf[i]! < 0) modrmOf[i] = table[i]!.some((c) => c.row.modrm) ? 1 : 0;
  return modrmOf[i] === 1;
}

/** The row for an opcode, or undefined (#UD). `rep` is 0, 0xf2 or 0xf3; mandatory F2/F3 win over 66. */
export function lookup(map: number, opcode: number, rep: number, p66: boolean, modrm: number, long: boolean): Row | undefined {
  const list = table[(map << 8) | opcode]!;
  const prefix = rep || (p66 ? 0x66 : 0);
  const not = long ? NO64 : ONLY64;
  for (const c of list) {
    if (c.modrm >= 0 && c.modrm !== modrm) continue;
    if (c.reg >= 0 && c.reg !== ((modrm >> 3) & 7)) continue;
    if (c.row.flags & MEM && modrm >= 0xc0) continue;
    if (c.row.flags & REG && modrm < 0xc0) continue;
    if (c.row.flags & not) continue;
    if (c.prefix === -1 || c.prefix === prefix) return c.row;
  }
  return undefined;
}
