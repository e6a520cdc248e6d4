/**
 * Disassembly to AT&T text from the same tables and decoder that translate: `x/i` in the monitor, `-d in_asm`. The layout
 * is that of `qemu -d in_asm`: a suffix on every integer instruction, immediates up to 9 in decimal.
 *
 * Not shown: which of two encodings was used, redundant prefixes.
 */
import { attMnemonic } from "./att-names.js";
import { type Bytes, decode } from "./decode.js";
import { Insn, type Row } from "./insn.js";
import { HF_CS64 } from "./layout.js";
import "./tables/index.js";

const R8 = "al cl dl bl spl bpl sil dil".split(" ");
const R8_LEGACY = "al cl dl bl ah ch dh bh".split(" ");
const R16 = "ax cx dx bx sp bp si di".split(" ");
const SEGMENTS = "es cs ss ds fs gs ? ?".split(" ");

/** One instruction as text. */
export interface Disassembly {
  /** Bytes; 1 when nothing is encoded there. */
  readonly length: number;
  readonly text: string;
}

/** Name of a general register, `size` as log2 of bytes. */
function general(n: number, size: number, rex: boolean): string {
  if (size === 0) return n >= 8 ? `%r${n}b` : `%${(rex ? R8 : R8_LEGACY)[n]}`;
  if (n >= 8) return `%r${n}${["", "w", "d", ""][size]}`;
  return `%${["", "", "e", "r"][size]}${R16[n]}`;
}

/** A number in capstone's manner: up to 9 in decimal, more in hexadecimal. */
function number(v: bigint): string {
  if (v < 0n) return `-${number(-v)}`;
  return v > 9n ? `0x${v.toString(16)}` : v.toString();
}

const unsigned = (v: number, size: number) => BigInt.asUintN(8 << size, BigInt(v));

class Printer {
  private readonly i = new Insn();
  private long = false;
  private address = 0n;

  run(src: Bytes, offset: number, address: bigint, hflags: number): Disassembly {
    const i = this.i;
    this.long = (hflags & HF_CS64) !== 0;
    this.address = address;
    const what = decode(i, src, offset, hflags);
    const accumulator = i.row?.mnemonic === "NOP" && i.map === 0 && (i.rex & 1) === 1;
    if (accumulator)
      return {
        length: i.length,
        text: `xchg${" wlq"[i.opsize]}    ${general(8, i.opsize, true)}, ${general(0, i.opsize, true)}`,
      };
    if (what !== "ok" || !i.row) return { length: 1, text: `.byte    0x${src.byte(offset).toString(16).padStart(2, "0")}` };
    const row = i.row;
    const operands = row.operands.map((o, k) => this.operand(row, o, k)).filter((o) => o !== "");
    const name = attMnemonic(i, row, this.long);
    // AT&T order is the reverse of Intel's, with two exceptions as old as the syntax.
    if (row.mnemonic !== "ENTER" && row.mnemonic !== "BOUND") operands.reverse();
    const implied = this.implied(row);
    const list = implied ?? operands.join(", ");
    const prefixed = `${this.prefixes(row)}${name}`;
    return { length: i.length, text: list ? `${prefixed.padEnd(8)} ${list}` : prefixed };
  }

  private prefixes(row: Row): string {
    const i = this.i;
    let out = i.lock ? "lock " : "";
    const string = /^(INS|OUTS|MOVS|STOS|LODS)[bv]$/.test(row.mnemonic);
    const compare = /^(CMPS|SCAS)[bv]$/.test(row.mnemonic);
    if (i.rep && (string || compare)) out += i.rep === 0xf2 ? "repne " : compare ? "repe " : "rep ";
    return out;
  }

  /** Operands that the row's text leaves out; undefined when it does not. */
  private implied(row: Row): string | undefined {
    const i = this.i;
    const kind = /^(INS|OUTS|MOVS|CMPS|STOS|LODS|SCAS)([bv])$/.exec(row.mnemonic);
    if (kind) {
      const io = kind[1] === "INS" || kind[1] === "OUTS";
      const size = kind[2] === "b" ? 0 : io ? Math.min(i.opsize, 2) : i.opsize;
      const acc = general(0, size, true);
      const src = `${i.segment >= 0 ? `%${SEGMENTS[i.segment]}:` : ""}(${general(6, i.adsize, true)})`;
      const dst = `%es:(${general(7, i.adsize, true)})`;
      switch (kind[1]) {
        case "INS":
          return `%dx, ${dst}`;
        case "OUTS":
          return `${src}, %dx`;
        case "MOVS":
          return `${src}, ${dst}`;
        case "CMPS":
          return `${dst}, ${src}`;
        case "STOS":
          return `${acc}, ${dst}`;
        case "LODS":
          return `${src}, ${acc}`;
        case "SCAS":
          return `${dst}, ${acc}`;
      }
    }
    // endbr32 and endbr64 are NOPs with a ModRM byte that names nothing.
    if (row.mnemonic === "NOP" && i.map === 1 && i.rep === 0xf3 && i.opcode === 0x1e && (i.modrm === 0xfa || i.modrm === 0xfb))
      return "";
    if (row.mnemonic === "NOP" && i.map === 1 && this.memoryHint()) return this.memory();
    if (/^P?BLENDV/.test(row.mnemonic))
      return `%xmm0, ${row.operands
        .map((o, k) => this.operand(row, o, k))
        .reverse()
        .join(", ")}`;
    return undefined;
  }

  private memoryHint(): boolean {
    const i = this.i;
    return i.mod !== 3 && (i.opcode === 0x0d || (i.opcode === 0x18 && ((i.modrm >> 3) & 7) < 4));
  }

  /** Size of an operand letter as log2 of bytes. */
  private size(letter: string): number {
    switch (letter) {
      case "b":
        return 0;
      case "w":
        return 1;
      case "d":
        return 2;
      case "q":
        return 3;
      case "z":
        return Math.min(this.i.opsize, 2);
      case "y":
        return this.i.opsize === 3 ? 3 : 2;
      default:
        return this.i.opsize;
    }
  }

  private operand(row: Row, o: string, index: number): string {
    const i = this.i;
    if (o === "ST") return "%st(0)";
    if (o === "STi") return `%st(${i.modrm & 7})`;
    if (o === "1") return "";
    if (o === "rAX") return general(0, i.opsize, true);
    if (o === "eAX") return general(0, Math.min(i.opsize, 2), true);
    if (/^(AL|AX|CL|DX|ES|CS|SS|DS|FS|GS)$/.test(o)) return `%${o.toLowerCase()}`;
    const size = this.size(o[1] ?? "v");
    const indirect = (row.mnemonic === "CALL" || row.mnemonic === "JMP") && (o[0] === "E" || o[0] === "M") ? "*" : "";
    switch (o[0]) {
      case "E":
        return indirect + (i.mod === 3 ? general(i.rm, this.registerSize(row, o, size), i.hasRex) : this.memory());
      case "M":
        return indirect + this.memory();
      case "R": {
        const control = row.mnemonic === "MOV" || row.mnemonic === "RDPID";
        return general(i.rm, control ? (this.long ? 3 : 2) : size, i.hasRex);
      }
      case "G": {
        if (row.mnemonic === "INVPCID") return general(i.reg, this.long ? 3 : 2, i.hasRex);
        if (row.mnemonic === "CRC32") return general(i.reg, i.opsize === 3 ? 3 : 2, true);
        return general(i.reg, size, i.hasRex);
      }
      case "Z":
        return general((i.opcode & 7) | ((i.rex & 1) << 3), size, i.hasRex);
      case "S":
        return `%${SEGMENTS[i.reg & 7]}`;
      case "C":
        return `%cr${i.reg}`;
      case "D":
        return `%dr${i.reg}`;
      case "P":
        return `%mm${i.reg & 7}`;
      case "Q":
        return i.mod === 3 ? `%mm${i.rm & 7}` : this.memory();
      case "N":
        return `%mm${i.rm & 7}`;
      case "V":
        return `%xmm${i.reg}`;
      case "W":
        return i.mod === 3 ? `%xmm${i.rm}` : this.memory();
      case "U":
        return `%xmm${i.rm}`;
      case "I":
        return this.immediate(row, o, index);
      case "J":
        return number(this.target());
      case "A":
        return `$${number(unsigned(i.imm2, 1))}:$${number(unsigned(i.imm, this.size("z")))}`;
      case "O":
        return `${this.override()}${number(i.adsize === 3 ? (unsigned(i.immHi, 2) << 32n) | unsigned(i.imm, 2) : unsigned(i.imm, i.adsize))}`;
    }
    return o;
  }

  /** Registers of byte and word operands that stand for their whole register. */
  private registerSize(row: Row, o: string, size: number): number {
    if (row.mnemonic === "PINSRB" || row.mnemonic === "PINSRW" || row.mnemonic === "PEXTRB" || row.mnemonic === "PEXTRW")
      return 2;
    if (row.mnemonic === "MOV" && (o === "Ew" || (o === "Ev" && row.operands.includes("Sw"))))
      return o === "Ew" ? 2 : this.i.opsize;
    if (row.mnemonic === "MOVSXD" && this.i.opsize !== 3) return this.i.opsize;
    return size;
  }

  private immediate(row: Row, o: string, index: number): string {
    const i = this.i;
    // CMPPS and its kin carry the predicate in the name.
    if (/^CMP[PS][SD]$/.test(row.mnemonic) && (i.imm & 255) < 8) return "";
    const second = row.imms.length > 1 && row.operands.slice(0, index).some((p) => p[0] === "I");
    const lo = second ? i.imm2 : i.imm;
    if (o === "Iw") return `$${number(unsigned(lo, 1))}`;
    if (o === "Ib") {
      const byte =
        row.operands.some((p) => p === "AL" || p === "Zb" || p === "Eb") && !/^(SH|RO|RC|SA|IN|OUT|P)/.test(row.mnemonic);
      if (byte) return `$${number(BigInt(lo))}`;
      if (/^(ADD|OR|ADC|SBB|AND|SUB|XOR|CMP|IMUL|PUSH)$/.test(row.mnemonic)) return `$${number(BigInt(lo))}`;
      return `$${number(unsigned(lo, 0))}`;
    }
    if (o === "Iv" && i.opsize === 3) return `$${number(BigInt.asIntN(64, (unsigned(i.immHi, 2) << 32n) | unsigned(lo, 2)))}`;
    return `$${number(i.opsize === 3 ? BigInt(lo) : unsigned(lo, Math.min(i.opsize, 2)))}`;
  }

  private target(): bigint {
    const i = this.i;
    const sum = this.address + BigInt(i.length) + BigInt(i.imm);
    return BigInt.asUintN(this.long ? 64 : i.opsize === 1 ? 16 : 32, sum);
  }

  private override(): string {
    return this.i.segment >= 0 ? `%${SEGMENTS[this.i.segment]}:` : "";
  }

  private memory(): string {
    const i = this.i;
    const seg = this.override();
    const absolute = i.base < 0 && i.index < 0;
    if (absolute) {
      const bits = this.long ? 64 : i.adsize === 1 ? 16 : 32;
      return `${seg}${number(BigInt.asUintN(i.adsize === 2 ? 32 : bits, BigInt(i.disp)))}`;
    }
    const disp = i.disp ? number(BigInt(i.disp)) : "";
    if (i.base === 16) return `${seg}${disp}(${i.adsize === 2 ? "%eip" : "%rip"})`;
    const base = i.base >= 0 ? general(i.base, i.adsize, true) : "";
    if (i.index < 0) return `${seg}${disp}(${base})`;
    const scale = i.adsize === 1 || (i.scale === 0 && i.base >= 0) ? "" : `, ${1 << i.scale}`;
    return `${seg}${disp}(${base}, ${general(i.index, i.adsize, true)}${scale})`;
  }
}

const printer = new Printer();

/**
 * Disassembles the instruction at `offset` of `src`.
 * @param address program counter of the instruction, for relative jumps
 * @param hflags mode bits HF_CS32 and HF_CS64 (layout.ts)
 */
export function disassemble(src: Bytes, offset: number, address: bigint, hflags: number): Disassembly {
  return printer.run(src, offset, address, hflags);
}
