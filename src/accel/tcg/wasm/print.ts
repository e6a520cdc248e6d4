/**
 * WebAssembly function bodies as text, one instruction a line, for `-d out_wasm` and golden tests. It reads what writer.ts
 * writes (WebAssembly Core 2.0 §5.4), no more: no memories but the first, no reference types, no data segments.
 */
import { VALTYPE, type WasmOp, wasmOps } from "./opcodes.js";

const TYPE_NAME = new Map<number, string>(Object.entries(VALTYPE).map(([n, c]) => [c, n]));

/** By encoding: the opcode byte, or prefix and number. */
const byCode = new Map<number, WasmOp>();
for (const op of wasmOps()) {
  let code = op.bytes[0]!;
  if (code >= 0xfc) {
    let n = op.bytes[1]! & 127;
    if (op.bytes[1]! > 127) n |= op.bytes[2]! << 7;
    code = (code << 16) | n;
  }
  byCode.set(code, op);
}

/** Control and variable instructions, and what follows each. */
const CONTROL: {
  readonly [code: number]: readonly [string, "" | "type" | "label" | "labels" | "local" | "function" | "indirect"];
} = {
  0: ["unreachable", ""],
  1: ["nop", ""],
  2: ["block", "type"],
  3: ["loop", "type"],
  4: ["if", "type"],
  5: ["else", ""],
  11: ["end", ""],
  12: ["br", "label"],
  13: ["br_if", "label"],
  14: ["br_table", "labels"],
  15: ["return", ""],
  16: ["call", "function"],
  17: ["call_indirect", "indirect"],
  18: ["return_call", "function"],
  19: ["return_call_indirect", "indirect"],
  26: ["drop", ""],
  27: ["select", ""],
  32: ["local.get", "local"],
  33: ["local.set", "local"],
  34: ["local.tee", "local"],
};

/** What a body holds. */
export interface WasmListing {
  /** "i32 x 3", in order. */
  readonly locals: readonly string[];
  readonly lines: readonly string[];
  /** Instructions, `end` and `else` not counted. */
  readonly instructions: number;
}

class Reader {
  pos = 0;
  constructor(readonly bytes: Uint8Array) {}

  u8(): number {
    if (this.pos >= this.bytes.length) throw new Error("the function body ends in the middle of an instruction");
    return this.bytes[this.pos++]!;
  }

  u32(): number {
    let v = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const b = this.u8();
      v |= (b & 127) << shift;
      if (b < 128) break;
    }
    return v >>> 0;
  }

  signed(bits: 32 | 64): bigint {
    let v = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const b = this.u8();
      v |= BigInt(b & 127) << shift;
      if (b < 128) break;
      if (shift === 63n) throw new Error("LEB128 too long");
    }
    // The sign is the top bit of the last group; the width takes care of it.
    const used = this.lastGroupBits();
    return BigInt.asIntN(bits, BigInt.asIntN(used, v));
  }

  /** Bits of the number just read. */
  private lastGroupBits(): number {
    let n = 1;
    while (this.pos - 1 - n >= 0 && n < 10 && this.bytes[this.pos - 1 - n]! > 127) n++;
    return Math.min(7 * n, 70);
  }
}

/** Up to 9 in decimal, more in hexadecimal. */
const hex = (v: bigint): string => (v < 0n ? `-${hex(-v)}` : v > 9n ? `0x${v.toString(16)}` : v.toString());

/**
 * Decodes a code entry as FunctionWriter.finish makes it: size, locals, body.
 * @throws Error for bytes that are none (a bug of ours)
 */
export function printWasm(code: Uint8Array): WasmListing {
  const r = new Reader(code);
  const size = r.u32();
  const end = r.pos + size;
  const locals: string[] = [];
  for (let n = r.u32(); n > 0; n--) {
    const count = r.u32();
    locals.push(`${TYPE_NAME.get(r.u8())} x ${count}`);
  }
  const lines: string[] = [];
  let depth = 0;
  let instructions = 0;
  while (r.pos < end) {
    const first = r.u8();
    const [text, change] = instruction(r, first);
    if (change < 0) depth += change;
    // The function's own `end`.
    if (depth < 0) break;
    lines.push(`${"  ".repeat(first === 5 ? Math.max(0, depth - 1) : depth)}${text}`);
    if (change > 0) depth++;
    if (first !== 5 && first !== 11) instructions++;
  }
  return { locals, lines, instructions };
}

/** One instruction's text, and how the nesting changes. */
function instruction(r: Reader, first: number): [text: string, change: number] {
  const control = CONTROL[first];
  if (control) {
    const [name, what] = control;
    switch (what) {
      case "type": {
        const t = r.u8();
        return [t === VALTYPE.none ? name : `${name} ${TYPE_NAME.get(t)}`, 1];
      }
      case "labels": {
        const labels = Array.from({ length: r.u32() }, () => r.u32());
        return [`${name} ${labels.join(" ")} else ${r.u32()}`, 0];
      }
      case "indirect": {
        const type = r.u32();
        r.u8();
        return [`${name} type ${type}`, 0];
      }
      case "":
        return [name, first === 11 ? -1 : 0];
      default:
        return [`${name} ${r.u32()}`, 0];
    }
  }
  switch (first) {
    case 0x41:
      return [`i32.const ${hex(r.signed(32))}`, 0];
    case 0x42:
      return [`i64.const ${hex(r.signed(64))}`, 0];
    case 0x43:
    case 0x44: {
      const n = first === 0x43 ? 4 : 8;
      const view = new DataView(r.bytes.slice(r.pos, r.pos + n).buffer);
      r.pos += n;
      return [n === 4 ? `f32.const ${view.getFloat32(0, true)}` : `f64.const ${view.getFloat64(0, true)}`, 0];
    }
  }
  let code = first;
  if (first >= 0xfc) {
    const n = r.u32();
    code = (first << 16) | n;
    if (first === 0xfd && (n === 12 || n === 13)) {
      const bytes = Array.from({ length: 16 }, () => r.u8());
      if (n === 13) return [`i8x16.shuffle ${bytes.join(" ")}`, 0];
      return [`v128.const ${bytes.map((b) => b.toString(16).padStart(2, "0")).join("")}`, 0];
    }
  }
  const op = byCode.get(code);
  if (!op) throw new Error(`no WebAssembly instruction ${code.toString(16)}`);
  // Immediates that the table holds as part of the encoding (memory.copy's two memories).
  r.pos += op.bytes.length - (first >= 0xfc ? (op.bytes[1]! > 127 ? 3 : 2) : 1);
  if (op.imm === "mem") {
    r.u32();
    const offset = r.u32();
    return [offset ? `${op.name} offset=0x${offset.toString(16)}` : op.name, 0];
  }
  if (op.imm === "lane") return [`${op.name} ${r.u8()}`, 0];
  return [op.name, 0];
}
