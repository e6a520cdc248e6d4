/** AT&T mnemonics of the tables' rows: operand size suffixes and the names that differ from Intel's. */
import type { Insn, Row } from "./insn.js";

const SUFFIX = "bwlq";

/** Names whose suffix follows the operand size. */
const SIZED = new Set(
  (
    "ADD OR ADC SBB AND SUB XOR CMP TEST INC DEC NOT NEG MUL IMUL DIV IDIV ROL ROR RCL RCR SHL SHR SAR SHLD SHRD BT BTS BTR BTC BSF BSR " +
    "POPCNT TZCNT LZCNT BSWAP CMPXCHG XADD MOVBE MOV LEA XCHG PUSH POP PUSHA POPA PUSHF POPF LES LDS LSS LFS LGS IN OUT CALL RET IRET " +
    "LAR LSL SLDT STR SMSW MOVNTI CRC32 BOUND RDRAND RDSEED RDFSBASE RDGSBASE WRFSBASE WRGSBASE SYSRET SYSEXIT"
  ).split(" "),
);

/** Conditions as AT&T assemblers name them. */
const CONDITION: Record<string, string> = {
  O: "o",
  NO: "no",
  B: "b",
  NB: "ae",
  Z: "e",
  NZ: "ne",
  BE: "be",
  NBE: "a",
  S: "s",
  NS: "ns",
  P: "p",
  NP: "np",
  L: "l",
  NL: "ge",
  LE: "le",
  NLE: "g",
};

/** By operand size: word, long, quad. */
const BY_SIZE: Record<string, readonly [string, string, string]> = {
  CBW: ["cbtw", "cwtl", "cltq"],
  CWD: ["cwtd", "cltd", "cqto"],
};

/** Memory types of x87 rows. */
const FPU_SUFFIX: Record<string, string> = { Mf32: "s", Mf64: "l", Mf80: "t", Mi16: "s", Mi32: "l", Mi64: "ll", Mbcd: "" };

const PREDICATES = ["eq", "lt", "le", "unord", "neq", "nlt", "nle", "ord"];
const WITH_W: Record<string, string> = {
  MOVD: "movq",
  PINSRD: "pinsrq",
  PEXTRD: "pextrq",
  CMPXCHG8B: "cmpxchg16b",
  FXSAVE: "fxsave64",
  FXRSTOR: "fxrstor64",
  XSAVE: "xsave64",
  XRSTOR: "xrstor64",
  XSAVEOPT: "xsaveopt64",
};
const RENAMED: Record<string, string> = { XLAT: "xlatb", ICEBP: "int1", INT3: "int3", UD0: "ud0", UD1: "ud1" };

function sizeOf(i: Insn, operand: string): number {
  switch (operand[1]) {
    case "b":
      return 0;
    case "w":
      return 1;
    case "d":
      return 2;
    case "q":
      return 3;
    case "y":
      return i.opsize === 3 ? 3 : 2;
    case "z":
      return Math.min(i.opsize, 2);
  }
  return i.opsize;
}

/** Size of the instruction's operation, as log2 of bytes. */
function operationSize(i: Insn, row: Row, long: boolean): number {
  const first = row.operands[0] ?? "";
  switch (row.mnemonic) {
    case "MOV":
      if (/[CD]y/.test(row.text)) return long ? 3 : 2;
      if (row.text.includes("Sw")) return i.mod === 3 ? (first === "Sw" ? 2 : i.opsize) : 1;
      break;
    case "SLDT":
    case "STR":
    case "SMSW":
      return i.mod === 3 ? i.opsize : 1;
    case "IN":
    case "OUT":
      return row.operands.includes("AL") ? 0 : Math.min(i.opsize, 2);
    case "CRC32":
      return sizeOf(i, row.operands[1]!);
  }
  if (first === "AL") return 0;
  if (first === "Ob") return 0;
  if (first === "rAX") return i.opsize;
  return /^[EGMZRO][a-z]/.test(first) ? sizeOf(i, first) : i.opsize;
}

/** The AT&T mnemonic of a decoded instruction. */
export function attMnemonic(i: Insn, row: Row, long: boolean): string {
  const m = row.mnemonic;
  const size = SUFFIX[i.opsize]!;
  const bySize = BY_SIZE[m];
  if (bySize) return bySize[i.opsize - 1]!;
  if (i.opsize === 3 && WITH_W[m]) return WITH_W[m];
  const string = /^(INS|OUTS|MOVS|CMPS|STOS|LODS|SCAS)([bv])$/.exec(m);
  if (string) {
    const io = string[1] === "INS" || string[1] === "OUTS";
    return string[1]!.toLowerCase() + (string[2] === "b" ? "b" : SUFFIX[io ? Math.min(i.opsize, 2) : i.opsize]!);
  }
  const conditional = /^(J|CMOV|SET)(N?[OBZSPL]|N?BE|N?LE)$/.exec(m);
  if (conditional) {
    const name = conditional[1]!.toLowerCase() + CONDITION[conditional[2]!];
    return conditional[1] === "CMOV" ? name + size : name;
  }
  if (m === "JrCXZ") return ["", "jcxz", "jecxz", "jrcxz"][i.adsize]!;
  if (m === "NOP") return nop(i, size);
  if (m === "MOVZX" || m === "MOVSX") return `mov${m === "MOVZX" ? "z" : "s"}${row.operands[1] === "Eb" ? "b" : "w"}${size}`;
  if (m === "MOVSXD") return i.opsize === 3 ? "movslq" : `mov${size}`;
  if (m === "MOV" && row.operands.some((o) => o === "Iv") && i.opsize === 3) return "movabsq";
  if (m === "MOV" && row.operands.some((o) => o[0] === "O"))
    return `mov${i.adsize === 3 ? "abs" : ""}${SUFFIX[operationSize(i, row, long)]}`;
  if (m === "JMP" || m === "CALL") return transfer(i, row);
  if (m === "RETF") return `lret${size}`;
  if (m === "WAIT") return "wait";
  if (/^CMP[PS][SD]$/.test(m) && (i.imm & 255) < 8) return `cmp${PREDICATES[i.imm & 7]}${m.slice(3).toLowerCase()}`;
  if (m === "CVTSI2SS" || m === "CVTSI2SD") return m.toLowerCase() + (i.opsize === 3 ? "q" : "l");
  if (m[0] === "F" && row.operands.length) return fpu(row);
  if (SIZED.has(m)) return m.toLowerCase() + SUFFIX[operationSize(i, row, long)]!;
  return RENAMED[m] ?? m.toLowerCase();
}

function nop(i: Insn, size: string): string {
  if (i.map === 0) return i.rep === 0xf3 ? "pause" : "nop";
  if (i.opcode === 0x1e && i.rep === 0xf3) {
    if (i.modrm === 0xfa) return "endbr64";
    if (i.modrm === 0xfb) return "endbr32";
  }
  const hint = (i.modrm >> 3) & 7;
  if (i.mod !== 3) {
    if (i.opcode === 0x0d) return hint === 1 ? "prefetchw" : "prefetch";
    if (i.opcode === 0x18 && hint < 4) return ["prefetchnta", "prefetcht0", "prefetcht1", "prefetcht2"][hint]!;
  }
  return `nop${size}`;
}

function transfer(i: Insn, row: Row): string {
  const name = row.mnemonic.toLowerCase();
  const size = SUFFIX[i.opsize]!;
  const o = row.operands[0]!;
  if (o === "Ap" || o === "Mp") return `l${name}${size}`;
  if (o[0] === "J" && name === "jmp") return "jmp";
  return name + size;
}

function fpu(row: Row): string {
  const m = row.mnemonic;
  const memory = row.operands.find((o) => o[0] === "M");
  if (memory) return m.toLowerCase() + (FPU_SUFFIX[memory] ?? "");
  // AT&T assemblers exchange the reversed forms where the destination is not the top.
  const reversed = /^F(SUB|DIV)(R?)(P?)$/.exec(m);
  if (reversed && row.operands[0] === "STi")
    return `f${reversed[1]!.toLowerCase()}${reversed[2] ? "" : "r"}${reversed[3] ? "p" : ""}`;
  return m.toLowerCase();
}
