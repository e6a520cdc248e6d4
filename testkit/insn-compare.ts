/** Rows of the opcode tables that run on any processor in user mode, and which flags they leave undefined. */
import { MMX, type Row, SSE, X87 } from "../src/target/x86/insn.js";

const INTEGER = new RegExp(
  `^(${[
    "ADD|OR|ADC|SBB|AND|SUB|XOR|CMP|TEST|INC|DEC|NOT|NEG|MUL|IMUL|DIV|IDIV|ROL|ROR|RCL|RCR|SHL|SHR|SAR|SHLD|SHRD",
    "MOV|MOVZX|MOVSX|MOVSXD|CBW|CWD|LEA|XCHG|NOP|PUSH|POP|BT|BTS|BTR|BTC|BSF|BSR|POPCNT|LZCNT|BSWAP|CMOV\\w+|SET\\w+",
    "CMPXCHG|XADD|CRC32|MOVBE|CMC|CLC|STC|CLD|STD|SAHF|LAHF|MOVNTI|CMPXCHG8B|LEAVE",
  ].join("|")})$`,
);
/** Segment, control and debug registers, absolute addresses. */
const NOT_USER = /(Sw|Cy|Dy|O[bv]|[CDEFGS]S)(,|$)/;

/**
 * What no two processors agree on: approximations, and the undocumented D9 /3, which knows no stack underflow. TZCNT is
 * BSF without BMI1.
 */
const DIFFERENT = /^(RCP|RSQRT|TZCNT)/;
/** The last digit of these is each maker's own. */
const TRANSCENDENTAL = /^(F2XM1|FYL2X|FPTAN|FPATAN|FYL2XP1|FSINCOS|FSIN|FCOS)$/;

export function comparable(row: Row): boolean {
  if (!row.emit || DIFFERENT.test(row.mnemonic) || TRANSCENDENTAL.test(row.mnemonic)) return false;
  if (row.key === "d9 /3 r") return false;
  if (row.flags & (SSE | MMX | X87)) return true;
  return row.mnemonic === "WAIT" || (INTEGER.test(row.mnemonic) && !NOT_USER.test(row.text));
}

/** The count of a shift or rotation. */
function shiftCount(row: Row, code: readonly number[], cl: number): number {
  return row.text.endsWith("CL") ? cl : row.text.endsWith("Ib") ? code[code.length - 1]! : 1;
}

/** EFLAGS bits to compare. */
export function definedFlags(row: Row, code: readonly number[], cl: number): number {
  const all = 0xcd5;
  if (row.flags & (SSE | MMX | X87)) return all;
  const count = shiftCount(row, code, cl);
  const once = (count & 63) < 2;
  const size = row.text.includes(" Eb") ? 8 : code.includes(0x66) ? 16 : 32;
  switch (row.mnemonic) {
    case "MUL":
    case "IMUL":
      return 0x801;
    case "DIV":
    case "IDIV":
      return 0x400;
    // OF is defined for a count of 1 (and kept for 0), CF of SHL and SHR for counts below the operand's size: processors differ.
    case "ROL":
    case "ROR":
    case "RCL":
    case "RCR":
      return once ? all : all & ~0x800;
    case "SHL":
    case "SHR":
      return all & ~(once ? 0x10 : (count & 31) < size ? 0x810 : 0x811);
    case "SAR":
    case "SHLD":
    case "SHRD":
      return all & ~(once ? 0x10 : 0x810);
    case "BSF":
    case "BSR":
      return 0x440;
    case "BT":
    case "BTS":
    case "BTR":
    case "BTC":
    case "LZCNT":
      return 0x441;
  }
  return all;
}

/** 16-bit double shifts by more than 16 are undefined, result and all. */
export function undefinedResult(row: Row, code: readonly number[], cl: number): boolean {
  if (row.mnemonic !== "SHLD" && row.mnemonic !== "SHRD") return false;
  if (!code.includes(0x66)) return false;
  return (shiftCount(row, code, cl) & 31) > 16;
}
