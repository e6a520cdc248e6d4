/**
 * SSE instructions that use helpers, with the calls a front end makes, and random operands. Operands: XMM0 destination,
 * XMM1 source, RAX.
 */
import { GuestFault, type TestRuntime } from "../../../../testkit/runtime.js";
import { GPR, HF_OSXMMEXCPT, HFLAGS, MXCSR, XMM } from "../layout.js";
import {
  AT_FLAGS,
  AT_FLAGS_OUT,
  AT_MXCSR_IN,
  AT_MXCSR_OUT,
  AT_RAX_IN,
  AT_RAX_OUT,
  AT_RCX_OUT,
  AT_RDX,
  AT_XMM0,
  AT_XMM1,
  KIND_SSE,
  type Random,
  RECORD,
} from "./host-oracle.js";

const FLAGS = 0x8d5;

export interface SseMachine {
  call(name: string, a?: bigint, b?: bigint, imm?: number): bigint;
  /** Addresses of XMM0 and of a copy of XMM1. */
  dst: bigint;
  src: bigint;
  /** Operand bits. */
  low64(n: 0 | 1): bigint;
  low32(n: 0 | 1): bigint;
  setLow64(value: bigint): void;
  setLow32(value: bigint): void;
  rax: bigint;
  rcx: bigint;
  flags: number;
}

export interface SseCase {
  name: string;
  bytes: readonly number[];
  kind: "f32" | "f64" | "i32" | "int" | "text";
  /** RAX, RCX or flags are results. */
  run(m: SseMachine): void;
}

function build(): SseCase[] {
  const cases: SseCase[] = [];
  const add = (name: string, kind: SseCase["kind"], bytes: number[], run: SseCase["run"]) =>
    cases.push({ name, kind, bytes, run });
  const XMM01 = 0xc1;
  const operations = { sqrt: 1, add: 8, mul: 9, sub: 0xc, min: 0xd, div: 0xe, max: 0xf } as const;
  for (const [name, op] of Object.entries(operations)) {
    const opcode = 0x50 | op;
    add(`${name}sd`, "f64", [0xf2, 0x0f, opcode, XMM01], (m) => m.setLow64(m.call("h_sse_f64", m.low64(0), m.low64(1), op)));
    add(`${name}ss`, "f32", [0xf3, 0x0f, opcode, XMM01], (m) => m.setLow32(m.call("h_sse_f32", m.low32(0), m.low32(1), op)));
    add(`${name}pd`, "f64", [0x66, 0x0f, opcode, XMM01], (m) => void m.call("h_sse_pd", m.dst, m.src, op));
    add(`${name}ps`, "f32", [0x0f, opcode, XMM01], (m) => void m.call("h_sse_ps", m.dst, m.src, op));
  }
  for (const [name, opcode, op] of [
    ["addsub", 0xd0, 0x10],
    ["hadd", 0x7c, 0x1c],
    ["hsub", 0x7d, 0x1d],
  ] as const) {
    add(`${name}pd`, "f64", [0x66, 0x0f, opcode, XMM01], (m) => void m.call("h_sse_pd", m.dst, m.src, op));
    add(`${name}ps`, "f32", [0xf2, 0x0f, opcode, XMM01], (m) => void m.call("h_sse_ps", m.dst, m.src, op));
  }
  for (let p = 0; p < 8; p++) {
    add(`cmpsd ${p}`, "f64", [0xf2, 0x0f, 0xc2, XMM01, p], (m) => m.setLow64(m.call("h_sse_cmp_f64", m.low64(0), m.low64(1), p)));
    add(`cmpss ${p}`, "f32", [0xf3, 0x0f, 0xc2, XMM01, p], (m) => m.setLow32(m.call("h_sse_cmp_f32", m.low32(0), m.low32(1), p)));
    add(`cmppd ${p}`, "f64", [0x66, 0x0f, 0xc2, XMM01, p], (m) => void m.call("h_sse_cmp_pd", m.dst, m.src, p));
    add(`cmpps ${p}`, "f32", [0x0f, 0xc2, XMM01, p], (m) => void m.call("h_sse_cmp_ps", m.dst, m.src, p));
  }
  for (let p = 8; p < 32; p++) {
    // vcmpsd xmm0, xmm0, xmm1
    add(`vcmpsd ${p}`, "f64", [0xc5, 0xfb, 0xc2, XMM01, p], (m) =>
      m.setLow64(m.call("h_sse_cmp_f64", m.low64(0), m.low64(1), p)),
    );
  }
  for (const [name, opcode, quiet] of [
    ["comis", 0x2f, 0],
    ["ucomis", 0x2e, 1],
  ] as const) {
    add(`${name}d`, "f64", [0x66, 0x0f, opcode, XMM01], (m) => {
      m.flags = Number(m.call("h_sse_comi_f64", m.low64(0), m.low64(1), quiet));
    });
    add(`${name}s`, "f32", [0x0f, opcode, XMM01], (m) => {
      m.flags = Number(m.call("h_sse_comi_f32", m.low32(0), m.low32(1), quiet));
    });
  }
  // cvtsi2sd xmm0, rax and kin
  add("cvtsi2sd 32", "int", [0xf2, 0x0f, 0x2a, 0xc0], (m) => m.setLow64(m.call("h_cvt_i32_f64", m.rax)));
  add("cvtsi2sd 64", "int", [0xf2, 0x48, 0x0f, 0x2a, 0xc0], (m) => m.setLow64(m.call("h_cvt_i64_f64", m.rax)));
  add("cvtsi2ss 32", "int", [0xf3, 0x0f, 0x2a, 0xc0], (m) => m.setLow32(m.call("h_cvt_i32_f32", m.rax)));
  add("cvtsi2ss 64", "int", [0xf3, 0x48, 0x0f, 0x2a, 0xc0], (m) => m.setLow32(m.call("h_cvt_i64_f32", m.rax)));
  // cvtsd2si rax, xmm1
  for (const [t, opcode] of [
    [0, 0x2d],
    [1, 0x2c],
  ] as const) {
    const name = t ? "cvtt" : "cvt";
    add(`${name}sd2si 32`, "f64", [0xf2, 0x0f, opcode, 0xc1], (m) => {
      m.rax = m.call("h_cvt_f64_i32", m.low64(1), 0n, t);
    });
    add(`${name}sd2si 64`, "f64", [0xf2, 0x48, 0x0f, opcode, 0xc1], (m) => {
      m.rax = m.call("h_cvt_f64_i64", m.low64(1), 0n, t);
    });
    add(`${name}ss2si 32`, "f32", [0xf3, 0x0f, opcode, 0xc1], (m) => {
      m.rax = m.call("h_cvt_f32_i32", m.low32(1), 0n, t);
    });
    add(`${name}ss2si 64`, "f32", [0xf3, 0x48, 0x0f, opcode, 0xc1], (m) => {
      m.rax = m.call("h_cvt_f32_i64", m.low32(1), 0n, t);
    });
  }
  add("cvtss2sd", "f32", [0xf3, 0x0f, 0x5a, XMM01], (m) => m.setLow64(m.call("h_cvt_f32_f64", m.low32(1))));
  add("cvtsd2ss", "f64", [0xf2, 0x0f, 0x5a, XMM01], (m) => m.setLow32(m.call("h_cvt_f64_f32", m.low64(1))));
  add("cvtps2pd", "f32", [0x0f, 0x5a, XMM01], (m) => void m.call("h_cvt_ps_pd", m.dst, m.src));
  add("cvtpd2ps", "f64", [0x66, 0x0f, 0x5a, XMM01], (m) => void m.call("h_cvt_pd_ps", m.dst, m.src));
  add("cvtdq2ps", "i32", [0x0f, 0x5b, XMM01], (m) => void m.call("h_cvt_dq_ps", m.dst, m.src));
  add("cvtps2dq", "f32", [0x66, 0x0f, 0x5b, XMM01], (m) => void m.call("h_cvt_ps_dq", m.dst, m.src, 0));
  add("cvttps2dq", "f32", [0xf3, 0x0f, 0x5b, XMM01], (m) => void m.call("h_cvt_ps_dq", m.dst, m.src, 1));
  add("cvtdq2pd", "i32", [0xf3, 0x0f, 0xe6, XMM01], (m) => void m.call("h_cvt_dq_pd", m.dst, m.src));
  add("cvtpd2dq", "f64", [0xf2, 0x0f, 0xe6, XMM01], (m) => void m.call("h_cvt_pd_dq", m.dst, m.src, 0));
  add("cvttpd2dq", "f64", [0x66, 0x0f, 0xe6, XMM01], (m) => void m.call("h_cvt_pd_dq", m.dst, m.src, 1));
  for (const imm of [0, 1, 2, 3, 4, 8, 9, 10, 11, 12]) {
    const op = (n: number) => [0x66, 0x0f, 0x3a, n, XMM01, imm];
    add(`roundps ${imm}`, "f32", op(8), (m) => void m.call("h_round_ps", m.dst, m.src, imm));
    add(`roundpd ${imm}`, "f64", op(9), (m) => void m.call("h_round_pd", m.dst, m.src, imm));
    add(`roundss ${imm}`, "f32", op(10), (m) => m.setLow32(m.call("h_round_f32", m.low32(1), 0n, imm)));
    add(`roundsd ${imm}`, "f64", op(11), (m) => m.setLow64(m.call("h_round_f64", m.low64(1), 0n, imm)));
  }
  for (const imm of [0xff, 0x71, 0x5a, 0x38, 0xf2]) {
    add(`dpps ${imm}`, "f32", [0x66, 0x0f, 0x3a, 0x40, XMM01, imm], (m) => void m.call("h_dpps", m.dst, m.src, imm));
    add(`dppd ${imm}`, "f64", [0x66, 0x0f, 0x3a, 0x41, XMM01, imm], (m) => void m.call("h_dppd", m.dst, m.src, imm));
  }
  // Integer vectors.
  for (const [name, opcode] of [
    ["aesimc", 0xdb],
    ["aesenc", 0xdc],
    ["aesenclast", 0xdd],
    ["aesdec", 0xde],
    ["aesdeclast", 0xdf],
  ] as const) {
    add(name, "int", [0x66, 0x0f, 0x38, opcode, XMM01], (m) => void m.call(`h_${name}`, m.dst, m.src));
  }
  for (const imm of [0, 1, 0x36]) {
    add(
      `aeskeygenassist ${imm}`,
      "int",
      [0x66, 0x0f, 0x3a, 0xdf, XMM01, imm],
      (m) => void m.call("h_aeskeygenassist", m.dst, m.src, imm),
    );
  }
  for (const imm of [0, 1, 0x10, 0x11]) {
    add(`pclmulqdq ${imm}`, "int", [0x66, 0x0f, 0x3a, 0x44, XMM01, imm], (m) => void m.call("h_pclmulqdq", m.dst, m.src, imm));
  }
  for (let imm = 0; imm < 8; imm++) {
    add(`mpsadbw ${imm}`, "int", [0x66, 0x0f, 0x3a, 0x42, XMM01, imm], (m) => void m.call("h_mpsadbw", m.dst, m.src, imm));
  }
  add("psadbw", "int", [0x66, 0x0f, 0xf6, XMM01], (m) => void m.call("h_psadbw", m.dst, m.src));
  add("phminposuw", "int", [0x66, 0x0f, 0x38, 0x41, XMM01], (m) => void m.call("h_phminposuw", m.dst, m.src));
  const stringFlags = (m: SseMachine, result: bigint) => {
    m.flags = Number(result >> 32n);
    return result & 0xffffffffn;
  };
  for (let imm = 0; imm < 128; imm++) {
    for (const [name, opcode, extra] of [
      ["pcmpestrm", 0x60, 0x100],
      ["pcmpestri", 0x61, 0x100],
      ["pcmpistrm", 0x62, 0],
      ["pcmpistri", 0x63, 0],
    ] as const) {
      const wide = extra && imm & 1;
      const bytes = [0x66, ...(wide ? [0x48] : []), 0x0f, 0x3a, opcode, XMM01, imm];
      add(`${name} ${imm}`, "text", bytes, (m) => {
        const helper = opcode & 1 ? "h_pcmpstri" : "h_pcmpstrm";
        const low = stringFlags(m, m.call(helper, m.dst, m.src, imm | extra | (wide ? 0x200 : 0)));
        if (opcode & 1) m.rcx = low;
      });
    }
  }
  return cases;
}

export const SSE_CASES: readonly SseCase[] = build();

// --- random operands ---

function f64Bits(r: Random, middle: number): bigint {
  const sign = BigInt(r.below(2)) << 63n;
  const fraction = r.pick([
    0n,
    1n,
    (1n << 52n) - 1n,
    r.u64() >> 12n,
    r.u64() >> 12n,
    (r.u64() >> 40n) << 28n,
    (r.u64() >> 12n) & ~0x1fffffffn,
  ]);
  const e = (n: number) => BigInt(Math.max(0, Math.min(2047, n))) << 52n;
  switch (r.below(16)) {
    case 0:
      return sign;
    case 1:
      return sign | (0x7ffn << 52n) | r.pick([0n, 0n, 1n, 1n << 51n, fraction]);
    case 2:
      return sign | (fraction >> BigInt(r.below(52)));
    case 3:
      return sign | e(r.pick([1, 2, 52, 53, 2045, 2046])) | fraction;
    case 4:
      return sign | e(1023 + r.pick([-150, -149, -127, -126, -1, 0, 1, 30, 31, 32, 62, 63, 64, 127, 128])) | fraction;
    default:
      return sign | e(middle + r.below(r.pick([1, 3, 60]))) | fraction;
  }
}

function f32Bits(r: Random, middle: number): bigint {
  const sign = r.below(2) * 0x80000000;
  const fraction = r.pick([0, 1, 0x7fffff, r.u32() >>> 9, r.u32() >>> 9, (r.u32() >>> 20) << 10]);
  const e = (n: number) => Math.max(0, Math.min(255, n)) * 0x800000;
  switch (r.below(16)) {
    case 0:
      return BigInt(sign);
    case 1:
      return BigInt(sign + 0x7f800000 + r.pick([0, 0, 1, 0x400000, fraction]));
    case 2:
      return BigInt(sign + (fraction >>> r.below(23)));
    case 3:
      return BigInt(sign + e(r.pick([1, 2, 23, 24, 253, 254])) + fraction);
    case 4:
      return BigInt(sign + e(127 + r.pick([-1, 0, 1, 30, 31, 32, 62, 63, 64])) + fraction);
    default:
      return BigInt(sign + e(middle + r.below(r.pick([1, 3, 40]))) + fraction);
  }
}

export function sseRequest(c: SseCase, r: Random): Uint8Array {
  const record = new Uint8Array(RECORD);
  const view = new DataView(record.buffer);
  record[0] = KIND_SSE;
  record[1] = c.bytes.length;
  record.set(c.bytes, 2);
  view.setUint32(AT_FLAGS, 0x202, true);
  const masks = r.below(3) ? 0x3f : r.u32() & 0x3f;
  const flush = r.pick([0, 0, 0, 0x40, 0x8000, 0x8040]);
  const sticky = r.below(2) ? 0 : r.u32() & 0x3f;
  view.setUint32(AT_MXCSR_IN, (masks << 7) | (r.below(4) << 13) | flush | sticky, true);
  const middle64 = r.below(2000);
  const middle32 = r.below(220);
  for (let i = 0; i < 4; i++) {
    const at = AT_XMM0 + i * 8;
    if (c.kind === "f64") view.setBigUint64(at, f64Bits(r, middle64), true);
    else if (c.kind === "f32") view.setBigUint64(at, f32Bits(r, middle32) | (f32Bits(r, middle32) << 32n), true);
    else if (c.kind === "i32")
      view.setBigUint64(
        at,
        BigInt.asUintN(32, BigInt.asIntN(32, r.u64()) >> BigInt(r.below(32))) | (BigInt(r.u32()) << 32n),
        true,
      );
    else if (c.kind === "text")
      for (let k = 0; k < 8; k++) record[at + k] = r.below(8) ? 0x60 + r.below(4) : r.pick([0, 0, 0x80, 0xe0]);
    else view.setBigUint64(at, r.u64(), true);
  }
  if (c.kind === "text" && r.below(3) === 0) record.copyWithin(AT_XMM1, AT_XMM0, AT_XMM0 + 16);
  const signed = BigInt.asIntN(64, r.u64());
  view.setBigUint64(
    AT_RAX_IN,
    BigInt.asUintN(64, c.kind === "text" ? BigInt(r.below(44) - 22) : signed >> BigInt(r.below(64))),
    true,
  );
  view.setBigUint64(AT_RDX, BigInt.asUintN(64, r.below(8) ? BigInt(r.below(44) - 22) : signed), true);
  return record;
}

// --- running ---

export interface SseResult {
  /** Vector of the exception, or -1. */
  fault: number;
  mxcsr: number;
  xmm0: string;
  rax: bigint;
  rcx: bigint;
  flags: number;
}

const SIGFPE = 8;
const hex = (bytes: Uint8Array) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");

export function sseResult(record: Uint8Array): SseResult {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const fault = record[0] === 0 ? -1 : record[0] === SIGFPE ? 19 : 1000 + (record[0] ?? 0);
  return {
    fault,
    mxcsr: view.getUint32(AT_MXCSR_OUT, true),
    xmm0: hex(record.subarray(AT_XMM0, AT_XMM0 + 16)),
    rax: view.getBigUint64(AT_RAX_OUT, true),
    rcx: view.getBigUint64(AT_RCX_OUT, true),
    flags: view.getUint32(AT_FLAGS_OUT, true) & FLAGS,
  };
}

export function runSse(runtime: TestRuntime, c: SseCase, record: Uint8Array): SseResult {
  const { view, env } = runtime;
  const input = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const bytes = new Uint8Array(view.buffer);
  const dst = env + XMM;
  const src = env + XMM + 16;
  bytes.set(record.subarray(AT_XMM0, AT_XMM0 + 32), dst);
  runtime.set32(MXCSR, input.getUint32(AT_MXCSR_IN, true));
  runtime.set32(HFLAGS, HF_OSXMMEXCPT);
  runtime.set64(GPR, input.getBigUint64(AT_RAX_IN, true));
  runtime.set64(GPR + 16, input.getBigUint64(AT_RDX, true));
  const at = (n: 0 | 1) => (n ? src : dst);
  const m: SseMachine = {
    call: (name, a = 0n, b = 0n, imm = 0) => runtime.helper(name)(a, b, imm),
    dst: BigInt(dst),
    src: BigInt(src),
    low64: (n) => view.getBigUint64(at(n), true),
    low32: (n) => BigInt(view.getUint32(at(n), true)),
    setLow64: (value) => view.setBigUint64(dst, value, true),
    setLow32: (value) => view.setUint32(dst, Number(value), true),
    rax: input.getBigUint64(AT_RAX_IN, true),
    rcx: 0n,
    flags: 0,
  };
  let fault = -1;
  try {
    c.run(m);
  } catch (error) {
    if (!(error instanceof GuestFault)) throw error;
    fault = error.vector;
  }
  return { fault, mxcsr: runtime.get32(MXCSR), xmm0: hex(bytes.slice(dst, dst + 16)), rax: m.rax, rcx: m.rcx, flags: m.flags };
}

/** What is compared; after a fault the oracle tells MXCSR only. */
export function showSse(x: SseResult): string {
  const mxcsr = x.mxcsr.toString(16).padStart(4, "0");
  if (x.fault >= 0) return `fault ${x.fault} mxcsr ${mxcsr}`;
  return `mxcsr ${mxcsr} xmm0 ${x.xmm0} rax ${x.rax.toString(16)} rcx ${x.rcx.toString(16)} flags ${x.flags.toString(16)}`;
}
