/**
 * Packed integers in MMX and XMM registers: the P* instructions of MMX, SSE, SSE2, SSSE3, SSE4.1 and SSE4.2. One row of
 * the lists below declares both forms where both exist (Intel SDM vol 2).
 */
import { NONE } from "../../../accel/tcg/ir/builder.js";
import { RAX, RCX, RDX } from "../insn.js";
import * as L from "../layout.js";
import { gpr, type Translator } from "../translator.js";
import { constVector, mm, mmx, readQ, regV, sse, tv, w128, wLow, writeMm, xmm } from "./vector.js";

/** Vector operation on two 64-bit operands as vectors; the result's lower half is taken. */
type Narrow = (t: Translator, a: number, b: number) => number;

/** opcode, name, IR operation, feature of the MMX form ("" = none), that form where it is not simply the lower half */
const BINARY: [string, string, string, string, Narrow?][] = [
  ["60", "PUNPCKLBW", "vunpackl8", "mmx"],
  ["61", "PUNPCKLWD", "vunpackl16", "mmx"],
  ["62", "PUNPCKLDQ", "vunpackl32", "mmx"],
  ["63", "PACKSSWB", "i8x16.packss", "mmx", joined("i8x16.packss")],
  ["64", "PCMPGTB", "i8x16.gt_s", "mmx"],
  ["65", "PCMPGTW", "i16x8.gt_s", "mmx"],
  ["66", "PCMPGTD", "i32x4.gt_s", "mmx"],
  ["67", "PACKUSWB", "i8x16.packus", "mmx", joined("i8x16.packus")],
  ["68", "PUNPCKHBW", "vunpackh8", "mmx", upper("vunpackl8")],
  ["69", "PUNPCKHWD", "vunpackh16", "mmx", upper("vunpackl16")],
  ["6a", "PUNPCKHDQ", "vunpackh32", "mmx", upper("vunpackl32")],
  ["6b", "PACKSSDW", "i16x8.packss", "mmx", joined("i16x8.packss")],
  ["6c", "PUNPCKLQDQ", "vunpackl64", ""],
  ["6d", "PUNPCKHQDQ", "vunpackh64", ""],
  ["74", "PCMPEQB", "i8x16.eq", "mmx"],
  ["75", "PCMPEQW", "i16x8.eq", "mmx"],
  ["76", "PCMPEQD", "i32x4.eq", "mmx"],
  ["d4", "PADDQ", "i64x2.add", "sse2"],
  ["d5", "PMULLW", "i16x8.mul", "mmx"],
  ["d8", "PSUBUSB", "i8x16.sub_sat_u", "mmx"],
  ["d9", "PSUBUSW", "i16x8.sub_sat_u", "mmx"],
  ["da", "PMINUB", "i8x16.min_u", "sse"],
  ["db", "PAND", "vand", "mmx"],
  ["dc", "PADDUSB", "i8x16.add_sat_u", "mmx"],
  ["dd", "PADDUSW", "i16x8.add_sat_u", "mmx"],
  ["de", "PMAXUB", "i8x16.max_u", "sse"],
  ["df", "PANDN", "vandn", "mmx"],
  ["e0", "PAVGB", "i8x16.avgr_u", "sse"],
  ["e3", "PAVGW", "i16x8.avgr_u", "sse"],
  ["e4", "PMULHUW", "i16x8.mulhi_u", "sse"],
  ["e5", "PMULHW", "i16x8.mulhi_s", "mmx"],
  ["e8", "PSUBSB", "i8x16.sub_sat_s", "mmx"],
  ["e9", "PSUBSW", "i16x8.sub_sat_s", "mmx"],
  ["ea", "PMINSW", "i16x8.min_s", "sse"],
  ["eb", "POR", "vor", "mmx"],
  ["ec", "PADDSB", "i8x16.add_sat_s", "mmx"],
  ["ed", "PADDSW", "i16x8.add_sat_s", "mmx"],
  ["ee", "PMAXSW", "i16x8.max_s", "sse"],
  ["ef", "PXOR", "vxor", "mmx"],
  ["f4", "PMULUDQ", "i32x4.muludq", "sse2"],
  ["f5", "PMADDWD", "i16x8.dot", "mmx"],
  ["f6", "PSADBW", "i8x16.sad", "sse"],
  ["f8", "PSUBB", "i8x16.sub", "mmx"],
  ["f9", "PSUBW", "i16x8.sub", "mmx"],
  ["fa", "PSUBD", "i32x4.sub", "mmx"],
  ["fb", "PSUBQ", "i64x2.sub", "sse2"],
  ["fc", "PADDB", "i8x16.add", "mmx"],
  ["fd", "PADDW", "i16x8.add", "mmx"],
  ["fe", "PADDD", "i32x4.add", "mmx"],
];

/** Both operands side by side, then the operation on that with itself. */
function joined(name: string): Narrow {
  return (t, a, b) => {
    const both = tv(t, "vunpackl64", a, b);
    return tv(t, name, both, both);
  };
}

/** The upper half of the result of a "low" interleave is what the "high" one gives. */
function upper(name: string): Narrow {
  return (t, a, b) => tv(t, "vfromlo", t.t("vlane64_1", tv(t, name, a, b)));
}

/** The MMX form of a vector operation. */
function narrow(t: Translator, name: string, form: Narrow | undefined, size = 3): void {
  const b = tv(t, "vfromlo", readQ(t, size));
  const a = tv(t, "vfromlo", mm(t.i.reg));
  const r = form ? form(t, a, b) : tv(t, name, a, b);
  writeMm(t, t.i.reg, t.t("vlane64_0", r));
}

/** 64-bit logic without vectors. */
const LOGIC: Record<string, string> = { vand: "and", vor: "or", vxor: "xor" };

for (const [code, name, irOp, feature, form] of BINARY) {
  sse(`66 0f ${code}`, `${name} Vx,Wx`, "sse2", (t) => {
    const src = w128(t);
    if (src === regV(t) && irOp === "vxor") t.op("vzero", src);
    else t.op(irOp, regV(t), regV(t), src);
  });
  if (!feature) continue;
  // The low interleaves read 32 bits of memory.
  const size = irOp.startsWith("vunpackl") ? 2 : 3;
  const logic = LOGIC[irOp];
  mmx(`np 0f ${code}`, `${name} Pq,Qq`, feature, (t) => {
    if (logic) writeMm(t, t.i.reg, t.t(logic, mm(t.i.reg), readQ(t)));
    else narrow(t, irOp, form, size);
  });
}

/** SSSE3: opcode in map 0F 38, name, the XMM form, the MMX form where it differs */
const horizontal =
  (lane: 16 | 32, name: string): Narrow =>
  (t, a, b) =>
    tv(t, name, tv(t, `vpairs0_${lane}`, a, b), tv(t, `vpairs1_${lane}`, a, b));
const horizontalNarrow =
  (lane: 16 | 32, name: string): Narrow =>
  (t, a, b) => {
    const both = tv(t, "vunpackl64", a, b);
    return horizontal(lane, name)(t, both, both);
  };
const plain =
  (name: string): Narrow =>
  (t, a, b) =>
    tv(t, name, a, b);
const unary =
  (name: string): Narrow =>
  (t, _a, b) =>
    tv(t, name, b);
const SSSE3: [string, string, Narrow, Narrow?][] = [
  [
    "00",
    "PSHUFB",
    plain("vpshufb"),
    (t, a, b) => tv(t, "vswizzle", a, tv(t, "vand", b, constVector(t, new Array<number>(16).fill(0x87)))),
  ],
  ["01", "PHADDW", horizontal(16, "i16x8.add"), horizontalNarrow(16, "i16x8.add")],
  ["02", "PHADDD", horizontal(32, "i32x4.add"), horizontalNarrow(32, "i32x4.add")],
  ["03", "PHADDSW", horizontal(16, "i16x8.add_sat_s"), horizontalNarrow(16, "i16x8.add_sat_s")],
  ["04", "PMADDUBSW", plain("i8x16.maddubs")],
  ["05", "PHSUBW", horizontal(16, "i16x8.sub"), horizontalNarrow(16, "i16x8.sub")],
  ["06", "PHSUBD", horizontal(32, "i32x4.sub"), horizontalNarrow(32, "i32x4.sub")],
  ["07", "PHSUBSW", horizontal(16, "i16x8.sub_sat_s"), horizontalNarrow(16, "i16x8.sub_sat_s")],
  ["08", "PSIGNB", plain("i8x16.sign")],
  ["09", "PSIGNW", plain("i16x8.sign")],
  ["0a", "PSIGND", plain("i32x4.sign")],
  ["0b", "PMULHRSW", plain("i16x8.mulhrs")],
  ["1c", "PABSB", unary("i8x16.abs")],
  ["1d", "PABSW", unary("i16x8.abs")],
  ["1e", "PABSD", unary("i32x4.abs")],
];
for (const [code, name, form, formNarrow] of SSSE3) {
  sse(`66 0f 38 ${code}`, `${name} Vx,Wx`, "ssse3", (t) => {
    const src = w128(t);
    t.op("vmov", regV(t), form(t, regV(t), src));
  });
  mmx(`np 0f 38 ${code}`, `${name} Pq,Qq`, "ssse3", (t) => narrow(t, "", formNarrow ?? form));
}

/** SSE4.1 and SSE4.2, XMM only. */
const SSE4: [string, string, string, string][] = [
  ["28", "PMULDQ", "i32x4.muldq", "sse4.1"],
  ["29", "PCMPEQQ", "i64x2.eq", "sse4.1"],
  ["2b", "PACKUSDW", "i16x8.packus", "sse4.1"],
  ["37", "PCMPGTQ", "i64x2.gt_s", "sse4.2"],
  ["38", "PMINSB", "i8x16.min_s", "sse4.1"],
  ["39", "PMINSD", "i32x4.min_s", "sse4.1"],
  ["3a", "PMINUW", "i16x8.min_u", "sse4.1"],
  ["3b", "PMINUD", "i32x4.min_u", "sse4.1"],
  ["3c", "PMAXSB", "i8x16.max_s", "sse4.1"],
  ["3d", "PMAXSD", "i32x4.max_s", "sse4.1"],
  ["3e", "PMAXUW", "i16x8.max_u", "sse4.1"],
  ["3f", "PMAXUD", "i32x4.max_u", "sse4.1"],
  ["40", "PMULLD", "i32x4.mul", "sse4.1"],
];
for (const [code, name, irOp, feature] of SSE4)
  sse(`66 0f 38 ${code}`, `${name} Vx,Wx`, feature, (t) => {
    const src = w128(t);
    t.op(irOp, regV(t), regV(t), src);
  });

// --- widening: the memory operand is as wide as the lanes that are read ---
const WIDEN: [string, string, number, string[]][] = [
  ["0", "BW", 3, ["bw"]],
  ["1", "BD", 2, ["bw", "wd"]],
  ["2", "BQ", 1, ["bw", "wd", "dq"]],
  ["3", "WD", 3, ["wd"]],
  ["4", "WQ", 2, ["wd", "dq"]],
  ["5", "DQ", 3, ["dq"]],
];
for (const [code, lanes, size, steps] of WIDEN)
  for (const [row, letter, sign] of [["2", "S", "s"], ["3", "Z", "u"]] as const)
    sse(`66 0f 38 ${row}${code}`, `PMOV${letter}X${lanes} Vx,Wx`, "sse4.1", (t) => {
      let v = wLow(t, size);
      for (const s of steps) {
        t.op(`vext_${s}_${sign}`, regV(t), v);
        v = regV(t);
      }
    });

// --- shifts ---
/** By the low 64 bits of the second operand, or by an immediate: opcode, immediate's opcode and /reg, lanes, IR suffix */
const SHIFTS: [string, string, string, string, number, "shl" | "shr_u" | "shr_s"][] = [
  ["d1", "71 /2", "PSRLW", "i16x8", 16, "shr_u"],
  ["e1", "71 /4", "PSRAW", "i16x8", 16, "shr_s"],
  ["f1", "71 /6", "PSLLW", "i16x8", 16, "shl"],
  ["d2", "72 /2", "PSRLD", "i32x4", 32, "shr_u"],
  ["e2", "72 /4", "PSRAD", "i32x4", 32, "shr_s"],
  ["f2", "72 /6", "PSLLD", "i32x4", 32, "shl"],
  ["d3", "73 /2", "PSRLQ", "i64x2", 64, "shr_u"],
  ["f3", "73 /6", "PSLLQ", "i64x2", 64, "shl"],
];
const IMMEDIATE = { shl: "shli", shr_u: "shri_u", shr_s: "shri_s" } as const;
for (const [code, group, name, lanes, bits, kind] of SHIFTS) {
  sse(`66 0f ${code}`, `${name} Vx,Wx`, "sse2", (t) => {
    const count = t.t("vlane64_0", w128(t));
    t.op(`${lanes}.${kind}`, regV(t), regV(t), count);
  });
  mmx(`np 0f ${code}`, `${name} Pq,Qq`, "mmx", (t) => {
    const count = readQ(t);
    const r = tv(t, `${lanes}.${kind}`, tv(t, "vfromlo", mm(t.i.reg)), count);
    writeMm(t, t.i.reg, t.t("vlane64_0", r));
  });
  const shift = (t: Translator, d: number, v: number) => {
    let n = t.i.imm & 255;
    if (n >= bits && kind !== "shr_s") return t.op("vzero", d);
    n = Math.min(n, bits - 1);
    return t.op(`${lanes}.${IMMEDIATE[kind]}`, d, v, NONE, n);
  };
  sse(`66 0f ${group} r`, `${name} Ux,Ib`, "sse2", (t) => shift(t, xmm(t.i.rm), xmm(t.i.rm)));
  mmx(`np 0f ${group} r`, `${name} Nq,Ib`, "mmx", (t) => {
    const v = tv(t, "vfromlo", mm(t.i.rm));
    shift(t, v, v);
    writeMm(t, t.i.rm, t.t("vlane64_0", v));
  });
}

// --- tests and odd ones ---
sse("66 0f 38 17", "PTEST Vx,Wx", "sse4.1", (t) => {
  const src = w128(t);
  const zf = t.t("shli", t.t("vtestz", regV(t), src), NONE, 6);
  t.setEflags(t.t("or", zf, t.t("vtestc", regV(t), src)));
});
sse("66 0f 38 41", "PHMINPOSUW Vx,Wx", "sse4.1", (t) => {
  const src = w128(t);
  t.fp("vcallp", regV(t), regV(t), src, "h_phminposuw");
});
sse("66 0f 3a 42", "MPSADBW Vx,Wx,Ib", "sse4.1", (t) => {
  const src = w128(t);
  t.fp("vcallp", regV(t), regV(t), src, "h_mpsadbw", t.i.imm & 7);
});

// --- AES, carry-less multiplication ---
for (const [code, name] of [["db", "AESIMC"], ["dc", "AESENC"], ["dd", "AESENCLAST"], ["de", "AESDEC"], ["df", "AESDECLAST"]] as const)
  sse(`66 0f 38 ${code}`, `${name} Vx,Wx`, "aes", (t) => {
    const src = w128(t);
    t.fp("vcallp", regV(t), regV(t), src, `h_${name.toLowerCase()}`);
  });
sse("66 0f 3a df", "AESKEYGENASSIST Vx,Wx,Ib", "aes", (t) => {
  const src = w128(t);
  t.fp("vcallp", regV(t), regV(t), src, "h_aeskeygenassist", t.i.imm & 255);
});
sse("66 0f 3a 44", "PCLMULQDQ Vx,Wx,Ib", "pclmulqdq", (t) => {
  const src = w128(t);
  t.fp("vcallp", regV(t), regV(t), src, "h_pclmulqdq", t.i.imm & 0x11);
});

// --- SSE4.2 string compares: memory operands need no alignment ---
for (const [code, name, explicit, mask] of [
  ["60", "PCMPESTRM", true, true],
  ["61", "PCMPESTRI", true, false],
  ["62", "PCMPISTRM", false, true],
  ["63", "PCMPISTRI", false, false],
] as const)
  sse(`66 0f 3a ${code}`, `${name} Vx,Wx,Ib`, "sse4.2", (t) => {
    const src = w128(t, false);
    t.op("vmov", L.SCRATCH, regV(t));
    t.op("vmov", L.SCRATCH + 16, src);
    const imm = (t.i.imm & 255) | (explicit ? 0x100 : 0) | (t.i.opsize === 3 ? 0x200 : 0);
    const found = t.callPure(`h_pcmpstr${mask ? "m" : "i"}_scratch`, gpr(RAX), gpr(RDX), imm);
    if (mask) t.op("vmov", xmm(0), L.SCRATCH);
    else t.op("ext32u", gpr(RCX), found);
    t.setEflags(t.t("shri", found, NONE, 32));
  });
