/** Random encodings of the opcode tables' rows, and random states to run them in. */
import { MEM, MMX, NO64, REG, type Row, SSE, X87 } from "../src/target/x86/insn.js";
import { CpuState, MIDDLE } from "./cpu-state.js";

/** xorshift32: the same stream everywhere. */
export class Random {
  constructor(private state: number) {}
  u32(): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x;
    return x >>> 0;
  }
  below(n: number): number {
    return this.u32() % n;
  }
  chance(n: number): boolean {
    return this.below(n) === 0;
  }
  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
}

/** One encoding of a row for 64-bit mode; memory operands are [rsi + disp8]. Undefined: not in 64-bit mode. */
export function encode(row: Row, r: Random): number[] | undefined {
  if (row.flags & NO64) return undefined;
  const words = row.key.split(" ");
  const prefix: number[] = [];
  if (words[0] === "66" || words[0] === "f3" || words[0] === "f2") prefix.push(Number.parseInt(words.shift()!, 16));
  const plain = words[0] === "np";
  if (plain) words.shift();
  const vector = (row.flags & (SSE | MMX | X87)) !== 0;
  const opcode: number[] = [];
  let reg = -1;
  let modrm = -1;
  let plus = false;
  for (const w of words) {
    if (w.startsWith("/")) reg = Number(w.slice(1));
    else if (w.startsWith("=")) modrm = Number.parseInt(w.slice(1), 16);
    else if (w === "m" || w === "r") continue;
    else if (w.endsWith("+r")) {
      opcode.push(Number.parseInt(w.slice(0, 2), 16));
      plus = true;
    } else opcode.push(Number.parseInt(w, 16));
  }
  const sized =
    row.operands.some((o) => /^[A-Z][vzy]$/.test(o) || o === "rAX") ||
    /^(CBW|CWD|MOVSv|STOSv|LODSv|SCASv|CMPSv)$/.test(row.mnemonic);
  const general = row.operands.some((o) => /^[EGRMZ][bwdvyq]$/.test(o) || o === "Zb") || sized;
  let rex = 0;
  let size = 2;
  if (sized) {
    size = row.operands.some((o) => /y$/.test(o)) && vector ? r.pick([2, 3]) : r.pick([1, 2, 3]);
    if (size === 1 && !prefix.length && !plain) prefix.push(0x66);
    else if (size === 1) size = 2;
    if (size === 3) rex |= 0x48;
  }
  const mem = row.modrm && modrm < 0 && !(row.flags & REG) && (row.flags & MEM ? true : r.chance(2));
  const bytes: number[] = [];
  if (row.modrm) {
    if (modrm >= 0) bytes.push(modrm);
    else {
      // rsp is left alone as a general register.
      const any = () => {
        const n = r.below(16);
        return general && n === 4 ? 1 : n;
      };
      const regField = reg >= 0 ? reg : vector && row.flags & MMX ? r.below(8) : any();
      if (regField > 7) rex |= 0x44;
      if (mem) {
        const disp = r.chance(6) ? r.below(32) : r.below(4) * 16;
        bytes.push(0x46 | ((regField & 7) << 3), disp);
      } else {
        const rm = row.flags & (MMX | X87) ? r.below(8) : any();
        if (rm > 7) rex |= 0x41;
        bytes.push(0xc0 | ((regField & 7) << 3) | (rm & 7));
      }
    }
  }
  if (plus) {
    const n = r.pick([0, 1, 2, 3, 5, 6, 7, 8, 9, 15]);
    if (n > 7) rex |= 0x41;
    opcode[opcode.length - 1]! |= n & 7;
  }
  for (const k of row.imms) {
    const n = k === "b" ? 1 : k === "w" ? 2 : k === "z" ? (size === 1 ? 2 : 4) : k === "v" ? 1 << size : 0;
    if (!n) return undefined;
    const small = r.chance(3);
    for (let i = 0; i < n; i++) bytes.push(small && i ? 0 : r.below(256));
  }
  if (!rex && general && r.chance(4)) rex = 0x40;
  return [...prefix, ...(rex ? [rex] : []), ...opcode, ...bytes];
}

const INTEGERS = [
  0n,
  1n,
  2n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x10000n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  0x100000000n,
  0x7fffffffffffffffn,
  0x8000000000000000n,
  0xffffffffffffffffn,
  0xfffffffffffffffen,
];
const F64 = [
  0n,
  0x8000000000000000n,
  0x3ff0000000000000n,
  0xbff0000000000000n,
  0x7ff0000000000000n,
  0xfff0000000000000n,
  0x7ff8000000000001n,
  0xfff8000000000000n,
  0x7ff0000000000001n,
  0xfff4000000000000n,
  1n,
  0x800fffffffffffffn,
  0x0010000000000000n,
  0x7fefffffffffffffn,
  0x4000000000000000n,
  0x3fe0000000000000n,
  0x41dfffffffc00000n,
  0xc1e0000000000000n,
  0x43e0000000000000n,
  0x3ca0000000000000n,
  0x380fffffffffffffn,
  0x47efffffe0000000n,
  0x36a0000000000000n,
  0x4004000000000000n,
];
const F32 = [
  0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00001, 0xffc00000, 0x7f800001, 0xffa00000, 1, 0x807fffff,
  0x00800000, 0x7f7fffff, 0x40000000, 0x3f000000, 0x4effffff, 0x4f000000, 0xcf000000, 0x33800000, 0x40200000,
];
const F80: [number, bigint][] = [
  [0, 0n],
  [0x8000, 0n],
  [0x3fff, 0x8000000000000000n],
  [0xbfff, 0x8000000000000000n],
  [0x7fff, 0x8000000000000000n],
  [0xffff, 0x8000000000000000n],
  [0x7fff, 0xc000000000000001n],
  [0xffff, 0xc000000000000000n],
  [0x7fff, 0x8000000000000001n],
  [0x7fff, 0x4000000000000000n],
  [0, 1n],
  [0, 0x8000000000000000n],
  [1, 0x8000000000000000n],
  [0x7ffe, 0xffffffffffffffffn],
  [0x4000, 0xc90fdaa22168c235n],
  [0x3ffe, 0x8000000000000000n],
  [0x403e, 0x8000000000000000n],
  [0x401e, 0x8000000000000000n],
  [0xc01d, 0xffffffff00000000n],
  [0x3c00, 0xffffffffffffffffn],
  [0x1234, 0x1234n],
  [0x4001, 0xa000000000000000n],
  [0xffff, 0n],
  [0x7fff, 0x123n],
  [0x3ffd, 0xaaaaaaaaaaaaaaaan],
];

function lane64(r: Random): bigint {
  switch (r.below(5)) {
    case 0:
      return r.u64();
    case 1:
      return r.pick(F64);
    case 2:
      return BigInt(r.pick(F32)) | (BigInt(r.pick(F32)) << 32n);
    case 3:
      return (r.u64() & 0x800fffffffffffffn) | (BigInt(0x3f0 + r.below(0x20)) << 52n);
    default: {
      const f = () => BigInt((r.u32() & 0x807fffff) | ((0x70 + r.below(0x20)) << 23)) & 0xffffffffn;
      return f() | (f() << 32n);
    }
  }
}

/** A random start state: registers point at memory where instructions want that. */
export function randomState(r: Random): CpuState {
  const s = new CpuState();
  for (let n = 0; n < 16; n++) if (n !== 4) s.setGpr(n, r.chance(2) ? r.u64() : r.pick(INTEGERS));
  if (r.chance(2)) s.setGpr(1, BigInt(r.below(70)));
  s.setGpr(6, BigInt(MIDDLE));
  s.setGpr(7, BigInt(MIDDLE + 128));
  s.flags = 0x202 | (r.u32() & 0x8d5);
  s.mxcsr = 0x1f80 | (r.chance(2) ? 0x20 : 0) | (r.chance(3) ? r.u32() & 0x603f : 0);
  if (r.chance(8)) s.mxcsr |= r.pick([0x8000, 0x40, 0x8040]);
  if (r.chance(8)) s.mxcsr = s.mxcsr & ~0x3f & ~(r.u32() & 0x1f80);
  s.fcw = 0x37f;
  if (r.chance(3)) s.fcw = 0x7f | (r.pick([0, 0x200, 0x300]) | (r.below(4) << 10));
  if (r.chance(8)) s.fcw &= ~(r.u32() & 0x3f);
  const top = r.below(8);
  s.fsw = (top << 11) | (r.u32() & 0x4700) | (r.chance(4) ? r.u32() & s.fcw & 0x3f : 0);
  s.ftw = r.chance(3) ? r.below(256) : r.pick([0xff, 0xfe, 0x0f, 0xf0, 0]);
  const view = s.view;
  for (let i = 0; i < 8; i++) {
    const st = s.st(i);
    const at = st.byteOffset;
    let se = (r.u32() & 0x8000) | (0x3ff0 + r.below(0x20));
    let sig = r.u64() | (1n << 63n);
    if (r.chance(2)) [se, sig] = r.pick(F80);
    view.setBigUint64(at, sig, true);
    view.setUint16(at + 8, se, true);
  }
  for (let n = 0; n < 16; n++) {
    const at = s.xmm(n).byteOffset;
    const low = lane64(r);
    view.setBigUint64(at, low, true);
    view.setBigUint64(at + 8, r.chance(4) ? low : lane64(r), true);
  }
  const at = s.memory.byteOffset;
  for (let k = 0; k < 512; k += 8) view.setBigUint64(at + k, lane64(r), true);
  return s;
}

/** A host signal as the vectors it can mean. */
export function signalOf(vector: number): number {
  if (vector === 0) return 0;
  if (vector === 32 || vector === 16 || vector === 19) return 8;
  if (vector === 6) return 4;
  if (vector === 1 || vector === 3) return 5;
  if (vector === 255) return 255;
  return 11;
}
