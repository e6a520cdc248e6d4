/**
 * SSE floating point: arithmetic, comparison, conversion, rounding, MXCSR (Intel SDM vol 2). Natively where MXCSR allows,
 * else by the runtime's exact helpers (accel/tcg/fp.ts).
 */
import { NONE } from "../../../accel/tcg/ir/builder.js";
import type { Emit } from "../insn.js";
import * as L from "../layout.js";
import { gpr, type Translator } from "../translator.js";
import { checkPending, enterMmx, low, mm, regV, sse, tv, w128, wLow, wLowClean, writeMm } from "./vector.js";

/** The four data types of most opcodes. Size is that of scalars (log2), 4 for packed. */
const TYPES = [
  { prefix: "np", letters: "PS", feature: "sse", bits: 32, size: 4, lane: 2 },
  { prefix: "66", letters: "PD", feature: "sse2", bits: 64, size: 4, lane: 3 },
  { prefix: "f3", letters: "SS", feature: "sse", bits: 32, size: 2, lane: 2 },
  { prefix: "f2", letters: "SD", feature: "sse2", bits: 64, size: 3, lane: 3 },
] as const;
type FpType = (typeof TYPES)[number];

const merge = (type: FpType) => (type.bits === 32 ? "vmerge_lo32" : "vmerge_lo");
const packed = (type: FpType) => type.size === 4;
/** The packed helper of a type, e.g. h_sse_ps. */
const helperOf = (type: FpType) => (type.bits === 32 ? "h_sse_ps" : "h_sse_pd");

// --- arithmetic ---
for (const type of TYPES) {
  for (const [code, name, irOp] of [["58", "ADD", "add"], ["59", "MUL", "mul"], ["5c", "SUB", "sub"], ["5e", "DIV", "div"]] as const)
    sse(`${type.prefix} 0f ${code}`, `${name}${type.letters} Vx,Wx`, type.feature, (t) => {
      const src = packed(type) ? w128(t) : wLow(t, type.size);
      t.op(`${packed(type) ? "v" : ""}f${irOp}${type.bits}`, regV(t), regV(t), src);
    });
  sse(`${type.prefix} 0f 51`, `SQRT${type.letters} Vx,Wx`, type.feature, (t) => {
    if (packed(type)) {
      const src = w128(t);
      t.fp(`vfsqrt${type.bits}`, regV(t), regV(t), src, helperOf(type), 1);
    } else t.op(`fsqrt${type.bits}`, regV(t), regV(t), wLow(t, type.size));
  });
  for (const [code, name, irOp, helperOp] of [["5d", "MIN", "min", 0xd], ["5f", "MAX", "max", 0xf]] as const)
    sse(`${type.prefix} 0f ${code}`, `${name}${type.letters} Vx,Wx`, type.feature, (t) => {
      if (packed(type)) {
        const src = w128(t);
        t.fp(`vf${irOp}${type.bits}`, regV(t), regV(t), src, helperOf(type), helperOp);
        return;
      }
      // Zeros in the other lanes signal nothing.
      const b = wLowClean(t, type.lane);
      const r = t.fp(`vf${irOp}${type.bits}`, t.b.vtemp(), low(t, regV(t), type.lane), b, helperOf(type), helperOp);
      t.op(merge(type), regV(t), regV(t), r);
    });
  sse(`${type.prefix} 0f c2`, `CMP${type.letters} Vx,Wx,Ib`, type.feature, (t) => {
    const predicate = t.i.imm & 7;
    const helper = type.bits === 32 ? "h_sse_cmp_ps" : "h_sse_cmp_pd";
    if (packed(type)) {
      const src = w128(t);
      t.fp(`vfcmp${type.bits}`, regV(t), regV(t), src, helper, predicate);
      return;
    }
    const b = wLowClean(t, type.lane);
    const r = t.fp(`vfcmp${type.bits}`, t.b.vtemp(), low(t, regV(t), type.lane), b, helper, predicate);
    t.op(merge(type), regV(t), regV(t), r);
  });
}

// --- logic ---
for (const type of TYPES.slice(0, 2))
  for (const [code, name, irOp] of [["54", "AND", "vand"], ["55", "ANDN", "vandn"], ["56", "OR", "vor"], ["57", "XOR", "vxor"]] as const)
    sse(`${type.prefix} 0f ${code}`, `${name}${type.letters} Vx,Wx`, type.feature, (t) => {
      const src = w128(t);
      if (irOp === "vxor" && src === regV(t)) t.op("vzero", src);
      else t.op(irOp, regV(t), regV(t), src);
    });

// --- approximations: no exceptions ---
for (const [code, name, helper] of [["52", "RSQRT", "h_rsqrt_f32"], ["53", "RCP", "h_rcp_f32"]] as const) {
  sse(`f3 0f ${code}`, `${name}SS Vx,Wx`, "sse", (t) => {
    const src = t.t("vlane32_0", wLow(t, 2));
    t.op("vins32_0", regV(t), regV(t), t.callPure(helper, src));
  });
  sse(`np 0f ${code}`, `${name}PS Vx,Wx`, "sse", (t) => {
    const src = w128(t);
    const r = [0, 1, 2, 3].map((k) => t.callPure(helper, t.t(`vlane32_${k}`, src)));
    for (const [k, v] of r.entries()) t.op(`vins32_${k}`, regV(t), regV(t), v);
  });
}

// --- horizontal (SSE3) and dot products (SSE4.1) ---
for (const [prefix, letters, bits] of [["f2", "PS", 32], ["66", "PD", 64]] as const) {
  const helper = bits === 32 ? "h_sse_ps" : "h_sse_pd";
  sse(`${prefix} 0f d0`, `ADDSUB${letters} Vx,Wx`, "pni", (t) => {
    const src = w128(t);
    t.fp("fvhelper", regV(t), regV(t), src, helper, 0x10);
  });
  for (const [code, name, irOp] of [["7c", "HADD", "add"], ["7d", "HSUB", "sub"]] as const)
    sse(`${prefix} 0f ${code}`, `${name}${letters} Vx,Wx`, "pni", (t) => {
      const src = w128(t);
      const even = tv(t, bits === 32 ? "vpairs0_32" : "vunpackl64", regV(t), src);
      const odd = tv(t, bits === 32 ? "vpairs1_32" : "vunpackh64", regV(t), src);
      t.op(`vf${irOp}${bits}`, regV(t), even, odd);
    });
}
for (const [code, name, helper] of [["40", "DPPS", "h_dpps"], ["41", "DPPD", "h_dppd"]] as const)
  sse(`66 0f 3a ${code}`, `${name} Vx,Wx,Ib`, "sse4.1", (t) => {
    const src = w128(t);
    t.fp("fvhelper", regV(t), regV(t), src, helper, t.i.imm & 255);
  });

// --- rounding (SSE4.1) ---
for (const [code, bits] of [["08", 32], ["09", 64]] as const)
  sse(`66 0f 3a ${code}`, `ROUNDP${bits === 32 ? "S" : "D"} Vx,Wx,Ib`, "sse4.1", (t) => {
    const src = w128(t);
    t.fp(`vfround${bits}`, regV(t), regV(t), src, bits === 32 ? "h_round_ps" : "h_round_pd", t.i.imm & 15);
  });
for (const [code, bits] of [["0a", 32], ["0b", 64]] as const)
  sse(`66 0f 3a ${code}`, `ROUNDS${bits === 32 ? "S" : "D"} Vx,Wx,Ib`, "sse4.1", (t) => {
    const src = wLowClean(t, bits === 32 ? 2 : 3);
    const r = t.fp(`vfround${bits}`, t.b.vtemp(), src, src, bits === 32 ? "h_round_ps" : "h_round_pd", t.i.imm & 15);
    t.op(bits === 32 ? "vmerge_lo32" : "vmerge_lo", regV(t), regV(t), r);
  });

// --- comparison to EFLAGS: 0 COMIS, 1 UCOMIS ---
for (const [code, name, quiet] of [["2e", "UCOMI", 1], ["2f", "COMI", 0]] as const)
  for (const [prefix, letters, feature, size] of [["np", "SS", "sse", 2], ["66", "SD", "sse2", 3]] as const)
    sse(`${prefix} 0f ${code}`, `${name}${letters} Vx,Wx`, feature, (t) => {
      const src = wLow(t, size);
      t.setEflags(t.t(`fcom${size === 2 ? 32 : 64}`, regV(t), src, quiet));
    });

// --- conversions between floating-point formats ---
sse("np 0f 5a", "CVTPS2PD Vx,Wx", "sse2", (t) => {
  const src = wLowClean(t, 3);
  t.fp("vcvtf32f64", regV(t), src, src, "h_cvt_ps_pd");
});
sse("66 0f 5a", "CVTPD2PS Vx,Wx", "sse2", (t) => {
  const src = w128(t);
  t.fp("fvhelper", regV(t), src, src, "h_cvt_pd_ps");
});
sse("f3 0f 5a", "CVTSS2SD Vx,Wx", "sse2", (t) => t.op("cvtf32f64", regV(t), regV(t), wLow(t, 2)));
sse("f2 0f 5a", "CVTSD2SS Vx,Wx", "sse2", (t) => t.op("cvtf64f32", regV(t), regV(t), wLow(t, 3)));

// --- packed integers ---
const convert =
  (name: string, helper: string, imm = 0): Emit =>
  (t) => {
    const src = w128(t);
    t.fp(name, regV(t), src, src, helper, imm);
  };
sse("np 0f 5b", "CVTDQ2PS Vx,Wx", "sse2", convert("vcvti32f32", "h_cvt_dq_ps"));
sse("66 0f 5b", "CVTPS2DQ Vx,Wx", "sse2", convert("vcvtf32i32", "h_cvt_ps_dq", 0));
sse("f3 0f 5b", "CVTTPS2DQ Vx,Wx", "sse2", convert("vcvtf32i32", "h_cvt_ps_dq", 1));
sse("f2 0f e6", "CVTPD2DQ Vx,Wx", "sse2", convert("fvhelper", "h_cvt_pd_dq", 0));
sse("66 0f e6", "CVTTPD2DQ Vx,Wx", "sse2", convert("fvhelper", "h_cvt_pd_dq", 1));
sse("f3 0f e6", "CVTDQ2PD Vx,Wx", "sse2", (t) => t.op("vcvti32f64", regV(t), wLow(t, 3)));

// --- scalars and general registers ---
const wide = (t: Translator) => t.i.opsize === 3;
sse("f3 0f 2a", "CVTSI2SS Vx,Ey", "sse", (t) => {
  const src = t.readE(wide(t) ? 3 : 2);
  if (!wide(t)) t.op("cvti32f32", regV(t), regV(t), src);
  else t.op("vins32_0", regV(t), regV(t), t.fp("fhelper", t.b.temp(), src, NONE, "h_cvt_i64_f32"));
});
sse("f2 0f 2a", "CVTSI2SD Vx,Ey", "sse2", (t) => {
  const src = t.readE(wide(t) ? 3 : 2);
  t.op(wide(t) ? "cvti64f64" : "cvti32f64", regV(t), regV(t), src);
});
for (const [prefix, letters, feature, size] of [["f3", "SS", "sse", 2], ["f2", "SD", "sse2", 3]] as const) {
  const bits = size === 2 ? 32 : 64;
  sse(`${prefix} 0f 2c`, `CVTT${letters}2SI Gy,Wx`, feature, (t) => {
    t.mov(gpr(t.i.reg), t.t(`cvttf${bits}i${wide(t) ? 64 : 32}`, wLow(t, size)));
  });
  sse(`${prefix} 0f 2d`, `CVT${letters}2SI Gy,Wx`, feature, (t) => {
    const src = t.t(size === 2 ? "vlane32_0" : "vlane64_0", wLow(t, size));
    t.mov(gpr(t.i.reg), t.fp("fhelper", t.b.temp(), src, NONE, `h_cvt_f${bits}_i${wide(t) ? 64 : 32}`));
  });
}

// --- MMX registers ---
sse("np 0f 2a", "CVTPI2PS Vx,Qq", "sse", (t) => {
  // A memory operand leaves the MMX state alone.
  if (!t.isMem) checkPending(t);
  const src = tv(t, "vfromlo", t.isMem ? t.ld(t.mem(), 3) : mm(t.i.rm));
  const r = t.fp("vcvti32f32", t.b.vtemp(), src, src, "h_cvt_dq_ps");
  t.op("vmerge_lo", regV(t), regV(t), r);
  if (!t.isMem) enterMmx(t);
});
sse("66 0f 2a", "CVTPI2PD Vx,Qq", "sse2", (t) => {
  if (t.isMem) {
    t.op("vcvti32f64", regV(t), tv(t, "vfromlo", t.ld(t.mem(), 3)));
    return;
  }
  checkPending(t);
  t.op("vcvti32f64", regV(t), tv(t, "vfromlo", mm(t.i.rm)));
  enterMmx(t);
});
for (const [code, letter, truncate] of [["2c", "T", 1], ["2d", "", 0]] as const) {
  sse(`np 0f ${code}`, `CVT${letter}PS2PI Pq,Wx`, "sse", (t) => {
    checkPending(t);
    const src = wLowClean(t, 3);
    const r = t.fp("vcvtf32i32", t.b.vtemp(), src, src, "h_cvt_ps_dq", truncate);
    writeMm(t, t.i.reg, t.t("vlane64_0", r));
    enterMmx(t);
  });
  sse(`66 0f ${code}`, `CVT${letter}PD2PI Pq,Wx`, "sse2", (t) => {
    checkPending(t);
    const src = w128(t);
    const r = t.fp("fvhelper", t.b.vtemp(), src, src, "h_cvt_pd_dq", truncate);
    writeMm(t, t.i.reg, t.t("vlane64_0", r));
    enterMmx(t);
  });
}

// --- MXCSR ---
sse("np 0f ae /2 m", "LDMXCSR Md", "sse", (t) => {
  t.call("h_ldmxcsr", t.ld(t.mem(), 2));
});
sse("np 0f ae /3 m", "STMXCSR Md", "sse", (t) => t.st(t.mem(), 2, t.t("ldst32", NONE, NONE, L.MXCSR)));
