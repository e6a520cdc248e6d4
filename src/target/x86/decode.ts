/** The x86 instruction decoder: prefixes, opcode maps, ModRM, SIB, displacement, immediates (Intel SDM vol 2 ch. 2). */
import { D64, F64, type Insn } from "./insn.js";
import { HF_CS32, HF_CS64 } from "./layout.js";
import { hasModrm, lookup } from "./opcodes.js";

/** Gives code bytes by offset from the block's start. */
export interface Bytes {
  byte(offset: number): number;
}

/** What decoding can come to. */
export type Decoded = "ok" | "undefined" | "too-long";

const SEGMENTS: Record<number, number> = { 0x26: 0, 0x2e: 1, 0x36: 2, 0x3e: 3, 0x64: 4, 0x65: 5 };

/** Decodes the instruction at `offset` into `i`. */
export function decode(i: Insn, src: Bytes, offset: number, hflags: number): Decoded {
  const long = (hflags & HF_CS64) !== 0;
  const def32 = long || (hflags & HF_CS32) !== 0;
  let p = offset;
  const start = offset;
  i.offset = offset;
  i.rex = 0;
  i.hasRex = false;
  i.prefix66 = false;
  i.prefix67 = false;
  i.rep = 0;
  i.lock = false;
  i.segment = -1;
  i.modrm = 0;
  i.mod = 0;
  i.reg = 0;
  i.rm = 0;
  i.base = -1;
  i.index = -1;
  i.scale = 0;
  i.disp = 0;
  i.imm = 0;
  i.immHi = 0;
  i.imm2 = 0;
  i.row = undefined;
  let b: number;
  for (;;) {
    if (p - start >= 15) {
      i.length = 15;
      return "too-long";
    }
    b = src.byte(p++);
    if (b === 0x66) i.prefix66 = true;
    else if (b === 0x67) i.prefix67 = true;
    else if (b === 0xf2 || b === 0xf3) i.rep = b;
    else if (b === 0xf0) i.lock = true;
    else if (b === 0x26 || b === 0x2e || b === 0x36 || b === 0x3e || b === 0x64 || b === 0x65) {
      // In 64-bit mode CS, DS, ES, SS overrides do nothing, not even undo an FS or GS override.
      if (!long || b >= 0x64) i.segment = SEGMENTS[b]!;
    } else if (long && (b & 0xf0) === 0x40) {
      i.rex = b;
      i.hasRex = true;
      continue;
    } else break;
    i.rex = 0; // a REX not directly before the opcode is ignored
    i.hasRex = false;
  }
  let map = 0;
  if (b === 0x0f) {
    b = src.byte(p++);
    map = 1;
    if (b === 0x38) {
      map = 2;
      b = src.byte(p++);
    } else if (b === 0x3a) {
      map = 3;
      b = src.byte(p++);
    }
  }
  i.map = map;
  i.opcode = b;
  i.adsize = long ? (i.prefix67 ? 2 : 3) : def32 !== i.prefix67 ? 2 : 1;
  i.opsize = i.rex & 8 ? 3 : def32 !== i.prefix66 ? 2 : 1;
  let modrm = -1;
  if (hasModrm(map, b)) {
    modrm = src.byte(p++);
    i.modrm = modrm;
    i.mod = modrm >> 6;
    i.reg = ((modrm >> 3) & 7) | ((i.rex & 4) << 1);
    let rm = modrm & 7;
    if (i.mod === 3 || (map === 1 && b >= 0x20 && b <= 0x23)) i.rm = rm | ((i.rex & 1) << 3);
    else if (i.adsize === 1) {
      // 16-bit addressing.
      i.rm = rm;
      if (i.mod === 0 && rm === 6) {
        i.disp = (src.byte(p) | (src.byte(p + 1) << 8)) & 0xffff;
        p += 2;
      } else {
        i.base = [3, 3, 5, 5, 6, 7, 5, 3][rm]!;
        i.index = [6, 7, 6, 7, -1, -1, -1, -1][rm]!;
        if (i.mod === 1) i.disp = (src.byte(p++) << 24) >> 24;
        else if (i.mod === 2) {
          i.disp = ((src.byte(p) | (src.byte(p + 1) << 8)) << 16) >> 16;
          p += 2;
        }
      }
    } else {
      i.rm = rm;
      let dispSize = i.mod === 1 ? 1 : i.mod === 2 ? 4 : 0;
      if (rm === 4) {
        const sib = src.byte(p++);
        i.scale = sib >> 6;
        const index = ((sib >> 3) & 7) | ((i.rex & 2) << 2);
        i.index = index === 4 ? -1 : index;
        rm = sib & 7;
        if (rm === 5 && i.mod === 0) dispSize = 4;
        else i.base = rm | ((i.rex & 1) << 3);
      } else if (rm === 5 && i.mod === 0) {
        dispSize = 4;
        if (long) i.base = 16;
      } else i.base = rm | ((i.rex & 1) << 3);
      if (dispSize === 1) i.disp = (src.byte(p++) << 24) >> 24;
      else if (dispSize === 4) {
        i.disp = src.byte(p) | (src.byte(p + 1) << 8) | (src.byte(p + 2) << 16) | (src.byte(p + 3) << 24);
        p += 4;
      }
    }
  }
  const row = lookup(map, b, i.rep, i.prefix66, modrm, long);
  if (!row) {
    i.length = p - start;
    return i.length > 15 ? "too-long" : "undefined";
  }
  i.row = row;
  const f = row.flags;
  if (long) {
    if (f & F64) i.opsize = 3;
    else if (f & D64 && i.opsize === 2) i.opsize = 3;
  }
  for (let k = 0; k < row.imms.length; k++) {
    let lo = 0;
    let hi = 0;
    let n = 0;
    switch (row.imms[k]) {
      case "b":
        lo = (src.byte(p++) << 24) >> 24;
        hi = lo >> 31;
        break;
      case "w":
        lo = src.byte(p) | (src.byte(p + 1) << 8);
        p += 2;
        break;
      case "z":
        n = i.opsize === 1 ? 2 : 4;
        break;
      case "v":
        n = 1 << i.opsize;
        break;
      case "o":
        n = 1 << i.adsize;
        break;
      case "a":
        n = i.opsize === 1 ? 2 : 4;
        break;
    }
    if (n) {
      for (let q = 0; q < Math.min(n, 4); q++) lo |= src.byte(p + q) << (8 * q);
      if (n === 2 && row.imms[k] !== "a" && row.imms[k] !== "o") lo = (lo << 16) >> 16;
      if (n === 8) for (let q = 0; q < 4; q++) hi |= src.byte(p + 4 + q) << (8 * q);
      else hi = row.imms[k] === "o" ? 0 : lo >> 31;
      p += n;
    }
    if (row.imms[k] === "a") {
      i.imm2 = src.byte(p) | (src.byte(p + 1) << 8);
      p += 2;
    }
    if (k === 0) {
      i.imm = lo;
      i.immHi = hi;
    } else i.imm2 = lo;
  }
  i.length = p - start;
  return i.length > 15 ? "too-long" : "ok";
}
