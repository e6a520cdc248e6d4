/** SSE data movement: loads, stores, parts of registers, shuffles (Intel SDM vol 2). */
import { NONE } from "../../../accel/tcg/ir/builder.js";
import type { Emit } from "../insn.js";
import { gpr, ir, type Translator } from "../translator.js";
import {
  bitselect,
  checkPending,
  constVector,
  enterMmx,
  lanePlaces,
  load128,
  mm,
  mmx,
  permute,
  readQ,
  regV,
  shiftBytes,
  sse,
  tv,
  w128,
  wLow,
  writeMm,
  xmm,
} from "./vector.js";

// --- whole registers ---
const load = (aligned: boolean): Emit => (t) => {
  if (t.isMem) load128(t, t.mem(), aligned, regV(t));
  else t.op("vmov", regV(t), xmm(t.i.rm));
};
const store = (aligned: boolean): Emit => (t) => {
  if (!t.isMem) {
    t.op("vmov", xmm(t.i.rm), regV(t));
    return;
  }
  const m = t.mem();
  if (aligned) t.checkAligned(m);
  t.stv(m, regV(t));
};
for (const [prefix, letter, feature] of [["np", "S", "sse"], ["66", "D", "sse2"]] as const) {
  sse(`${prefix} 0f 10`, `MOVUP${letter} Vx,Wx`, feature, load(false));
  sse(`${prefix} 0f 11`, `MOVUP${letter} Wx,Vx`, feature, store(false));
  sse(`${prefix} 0f 28`, `MOVAP${letter} Vx,Wx`, feature, load(true));
  sse(`${prefix} 0f 29`, `MOVAP${letter} Wx,Vx`, feature, store(true));
  sse(`${prefix} 0f 2b m`, `MOVNTP${letter} Mx,Vx`, feature, store(true));
}
sse("66 0f 6f", "MOVDQA Vx,Wx", "sse2", load(true));
sse("66 0f 7f", "MOVDQA Wx,Vx", "sse2", store(true));
sse("f3 0f 6f", "MOVDQU Vx,Wx", "sse2", load(false));
sse("f3 0f 7f", "MOVDQU Wx,Vx", "sse2", store(false));
sse("66 0f e7 m", "MOVNTDQ Mx,Vx", "sse2", store(true));
sse("66 0f 38 2a m", "MOVNTDQA Vx,Mx", "sse4.1", load(true));
sse("f2 0f f0 m", "LDDQU Vx,Mx", "pni", load(false));

// --- scalars: a load clears the rest of the register, a register move keeps it ---
for (const [prefix, letter, feature, size] of [["f3", "S", "sse", 2], ["f2", "D", "sse2", 3]] as const) {
  sse(`${prefix} 0f 10`, `MOVS${letter} Vx,Wx`, feature, (t) => {
    if (t.isMem) t.op("vfromlo", regV(t), t.ld(t.mem(), size));
    else t.op(size === 2 ? "vmerge_lo32" : "vmerge_lo", regV(t), regV(t), xmm(t.i.rm));
  });
  sse(`${prefix} 0f 11`, `MOVS${letter} Wx,Vx`, feature, (t) => {
    if (t.isMem) t.st(t.mem(), size, t.t(size === 2 ? "vlane32_0" : "vlane64_0", regV(t)));
    else t.op(size === 2 ? "vmerge_lo32" : "vmerge_lo", xmm(t.i.rm), xmm(t.i.rm), regV(t));
  });
}

// --- halves ---
for (const [prefix, letter, feature] of [["np", "S", "sse"], ["66", "D", "sse2"]] as const) {
  sse(`${prefix} 0f 12 m`, `MOVLP${letter} Vq,Mq`, feature, (t) => t.op("vins64_0", regV(t), regV(t), t.ld(t.mem(), 3)));
  sse(`${prefix} 0f 13 m`, `MOVLP${letter} Mq,Vq`, feature, (t) => t.st(t.mem(), 3, t.t("vlane64_0", regV(t))));
  sse(`${prefix} 0f 16 m`, `MOVHP${letter} Vq,Mq`, feature, (t) => t.op("vins64_1", regV(t), regV(t), t.ld(t.mem(), 3)));
  sse(`${prefix} 0f 17 m`, `MOVHP${letter} Mq,Vq`, feature, (t) => t.st(t.mem(), 3, t.t("vlane64_1", regV(t))));
}
sse("np 0f 12 r", "MOVHLPS Vx,Ux", "sse", (t) => t.op("vins64_0", regV(t), regV(t), t.t("vlane64_1", xmm(t.i.rm))));
sse("np 0f 16 r", "MOVLHPS Vx,Ux", "sse", (t) => t.op("vins64_1", regV(t), regV(t), t.t("vlane64_0", xmm(t.i.rm))));
sse("f2 0f 12", "MOVDDUP Vx,Wx", "pni", (t) => t.op("vdup_lo", regV(t), wLow(t, 3)));
sse("f3 0f 12", "MOVSLDUP Vx,Wx", "pni", (t) => permute(t, regV(t), w128(t), lanePlaces(4, [0, 0, 2, 2])));
sse("f3 0f 16", "MOVSHDUP Vx,Wx", "pni", (t) => permute(t, regV(t), w128(t), lanePlaces(4, [1, 1, 3, 3])));

// --- between general and vector registers ---
const wide = (t: Translator) => (t.i.opsize === 3 ? 3 : 2);
sse("66 0f 6e", "MOVD Vx,Ey", "sse2", (t) => {
  const size = wide(t);
  const v = t.readE(size);
  t.op(size === 3 ? "vfromlo" : "vfrom32", regV(t), v);
});
sse("66 0f 7e", "MOVD Ey,Vx", "sse2", (t) => {
  const size = wide(t);
  t.writeE(size, t.t(size === 3 ? "vlane64_0" : "vlane32_0", regV(t)));
});
sse("f3 0f 7e", "MOVQ Vx,Wq", "sse2", (t) => {
  if (t.isMem) t.op("vfromlo", regV(t), t.ld(t.mem(), 3));
  else t.op("vlow", regV(t), xmm(t.i.rm));
});
sse("66 0f d6", "MOVQ Wq,Vx", "sse2", (t) => {
  if (t.isMem) t.st(t.mem(), 3, t.t("vlane64_0", regV(t)));
  else t.op("vlow", xmm(t.i.rm), regV(t));
});
sse("f3 0f d6 r", "MOVQ2DQ Vx,Nq", "sse2", (t) => {
  checkPending(t);
  t.op("vfromlo", regV(t), mm(t.i.rm));
  enterMmx(t);
});
sse("f2 0f d6 r", "MOVDQ2Q Pq,Ux", "sse2", (t) => {
  checkPending(t);
  writeMm(t, t.i.reg, t.t("vlane64_0", xmm(t.i.rm)));
  enterMmx(t);
});
mmx("np 0f 6e", "MOVD Pq,Ey", "mmx", (t) => {
  const size = wide(t);
  writeMm(t, t.i.reg, t.zext(t.readE(size), size));
});
mmx("np 0f 7e", "MOVD Ey,Pq", "mmx", (t) => {
  const size = wide(t);
  t.writeE(size, t.zext(mm(t.i.reg), size));
});
mmx("np 0f 6f", "MOVQ Pq,Qq", "mmx", (t) => writeMm(t, t.i.reg, readQ(t)));
mmx("np 0f 7f", "MOVQ Qq,Pq", "mmx", (t) => {
  if (t.isMem) t.st(t.mem(), 3, mm(t.i.reg));
  else writeMm(t, t.i.rm, mm(t.i.reg));
});
mmx("np 0f e7 m", "MOVNTQ Mq,Pq", "sse", (t) => t.st(t.mem(), 3, mm(t.i.reg)));

// --- sign masks ---
sse("np 0f 50 r", "MOVMSKPS Gd,Ux", "sse", (t) => t.op("vmask32", gpr(t.i.reg), xmm(t.i.rm)));
sse("66 0f 50 r", "MOVMSKPD Gd,Ux", "sse2", (t) => t.op("vmask64", gpr(t.i.reg), xmm(t.i.rm)));
sse("66 0f d7 r", "PMOVMSKB Gd,Ux", "sse2", (t) => t.op("vmask8", gpr(t.i.reg), xmm(t.i.rm)));
mmx("np 0f d7 r", "PMOVMSKB Gd,Nq", "sse", (t) => t.op("vmask8", gpr(t.i.reg), tv(t, "vfromlo", mm(t.i.rm))));

// --- byte-wise conditional stores to DS:rDI ---
function maskedStore(t: Translator, count: number, mask: (k: number) => number, data: (k: number) => number): void {
  const size = t.i.adsize;
  const base = size === 3 ? gpr(7) : t.t(size === 2 ? "ext32u" : "ext16u", gpr(7));
  const m = t.memAt(base, 0, t.dataSegment);
  for (let k = 0; k < count; k++) t.when(t.t("andi", mask(k), NONE, 0x80), () => t.st(t.memPlus(m, k), 0, data(k)));
}
sse("66 0f f7 r", "MASKMOVDQU Vx,Ux", "sse2", (t) => {
  const mask = xmm(t.i.rm);
  const data = regV(t);
  maskedStore(t, 16, (k) => t.t(`vlane8_${k}`, mask), (k) => t.t(`vlane8_${k}`, data));
});
mmx("np 0f f7 r", "MASKMOVQ Pq,Nq", "sse", (t) => {
  const shift = (s: number, k: number) => (k ? t.t("shri", s, NONE, 8 * k) : s);
  maskedStore(t, 8, (k) => shift(mm(t.i.rm), k), (k) => shift(mm(t.i.reg), k));
});

// --- shuffles and unpacks of floating-point lanes ---
const bits2 = (imm: number, k: number) => (imm >> (2 * k)) & 3;
sse("np 0f c6", "SHUFPS Vx,Wx,Ib", "sse", (t) => {
  const imm = t.i.imm;
  const src = w128(t);
  if (src === regV(t)) {
    permute(t, regV(t), src, lanePlaces(4, [0, 1, 2, 3].map((k) => bits2(imm, k))));
    return;
  }
  const lowHalf = permute(t, t.b.vtemp(), regV(t), lanePlaces(4, [bits2(imm, 0), bits2(imm, 1), 0, 0]));
  const highHalf = permute(t, t.b.vtemp(), src, lanePlaces(4, [bits2(imm, 2), bits2(imm, 3), 0, 0]));
  t.op("vunpackl64", regV(t), lowHalf, highHalf);
});
sse("66 0f c6", "SHUFPD Vx,Wx,Ib", "sse2", (t) => {
  const imm = t.i.imm;
  const src = w128(t);
  const a = t.t(imm & 1 ? "vlane64_1" : "vlane64_0", regV(t));
  const b = t.t(imm & 2 ? "vlane64_1" : "vlane64_0", src);
  t.op("vins64_1", regV(t), tv(t, "vfromlo", a), b);
});
for (const [prefix, letter, feature, size] of [["np", "S", "sse", 32], ["66", "D", "sse2", 64]] as const)
  for (const [code, half, name] of [["14", "l", "L"], ["15", "h", "H"]] as const)
    sse(`${prefix} 0f ${code}`, `UNPCK${name}P${letter} Vx,Wx`, feature, (t) => {
      const src = w128(t);
      t.op(`vunpack${half}${size}`, regV(t), regV(t), src);
    });

// --- integer shuffles ---
const four = (imm: number) => [0, 1, 2, 3].map((k) => bits2(imm, k));
sse("66 0f 70", "PSHUFD Vx,Wx,Ib", "sse2", (t) => permute(t, regV(t), w128(t), lanePlaces(4, four(t.i.imm))));
sse("f2 0f 70", "PSHUFLW Vx,Wx,Ib", "sse2", (t) => permute(t, regV(t), w128(t), lanePlaces(2, [...four(t.i.imm), 4, 5, 6, 7])));
sse("f3 0f 70", "PSHUFHW Vx,Wx,Ib", "sse2", (t) =>
  permute(t, regV(t), w128(t), lanePlaces(2, [0, 1, 2, 3, ...four(t.i.imm).map((k) => k + 4)])),
);
mmx("np 0f 70", "PSHUFW Pq,Qq,Ib", "sse", (t) => {
  const v = tv(t, "vfromlo", readQ(t));
  permute(t, v, v, lanePlaces(2, [...four(t.i.imm), 4, 5, 6, 7]));
  writeMm(t, t.i.reg, t.t("vlane64_0", v));
});
sse("66 0f 3a 0f", "PALIGNR Vx,Wx,Ib", "ssse3", (t) => {
  const n = t.i.imm & 255;
  const src = w128(t);
  const d = regV(t);
  if (n === 0) t.op("vmov", d, src);
  else if (n === 8) t.op("vins64_1", d, tv(t, "vfromlo", t.t("vlane64_1", src)), t.t("vlane64_0", d));
  else if (src === d && n < 16) permute(t, d, d, Array.from({ length: 16 }, (_, k) => (k + n) & 15));
  else if (n < 16) {
    const right = shiftBytes(t, t.b.vtemp(), src, n);
    const left = shiftBytes(t, t.b.vtemp(), d, n - 16);
    t.op("vor", d, left, right);
  } else if (n < 32) shiftBytes(t, d, d, n - 16);
  else t.op("vzero", d);
});
mmx("np 0f 3a 0f", "PALIGNR Pq,Qq,Ib", "ssse3", (t) => {
  const n = t.i.imm & 255;
  const both = tv(t, "vins64_1", tv(t, "vfromlo", readQ(t)), mm(t.i.reg));
  shiftBytes(t, both, both, Math.min(n, 16));
  writeMm(t, t.i.reg, t.t("vlane64_0", both));
});
for (const [code, sign] of [["73 /7", -1], ["73 /3", 1]] as const)
  sse(`66 0f ${code} r`, `${sign < 0 ? "PSLLDQ" : "PSRLDQ"} Ux,Ib`, "sse2", (t) => {
    const n = t.i.imm & 255;
    const v = xmm(t.i.rm);
    if (n === 0) return;
    if (n > 15) t.op("vzero", v);
    else if (n === 8 && sign > 0) t.op("vfromlo", v, t.t("vlane64_1", v));
    else shiftBytes(t, v, v, sign * n);
  });

// --- single lanes in and out ---
sse("66 0f c4", "PINSRW Vx,Ew,Ib", "sse2", (t) => {
  const v = t.isMem ? t.ld(t.mem(), 1) : gpr(t.i.rm);
  t.op(`vins16_${t.i.imm & 7}`, regV(t), regV(t), v);
});
mmx("np 0f c4", "PINSRW Pq,Ew,Ib", "sse", (t) => {
  const v = t.isMem ? t.ld(t.mem(), 1) : gpr(t.i.rm);
  const r = tv(t, `vins16_${t.i.imm & 3}`, tv(t, "vfromlo", mm(t.i.reg)), v);
  writeMm(t, t.i.reg, t.t("vlane64_0", r));
});
sse("66 0f c5 r", "PEXTRW Gd,Ux,Ib", "sse2", (t) => t.op(`vlane16_${t.i.imm & 7}`, gpr(t.i.reg), xmm(t.i.rm)));
mmx("np 0f c5 r", "PEXTRW Gd,Nq,Ib", "sse", (t) =>
  t.op("ext16u", gpr(t.i.reg), t.t("shri", mm(t.i.rm), NONE, 16 * (t.i.imm & 3))),
);
const insert = (lanes: number, bits: number, size: (t: Translator) => number): Emit => (t) => {
  const s = size(t);
  const v = t.isMem ? t.ld(t.mem(), s) : gpr(t.i.rm);
  const n = s === 3 ? 64 : bits;
  t.op(`vins${n}_${t.i.imm & (s === 3 ? 1 : lanes - 1)}`, regV(t), regV(t), v);
};
sse("66 0f 3a 20", "PINSRB Vx,Eb,Ib", "sse4.1", insert(16, 8, () => 0));
sse("66 0f 3a 22", "PINSRD Vx,Ey,Ib", "sse4.1", insert(4, 32, wide));
/** To memory, or zero-extended to a register. */
const extract = (lanes: number, bits: number, size: (t: Translator) => number): Emit => (t) => {
  const s = size(t);
  const n = s === 3 ? 64 : bits;
  const v = t.t(`vlane${n}_${t.i.imm & (s === 3 ? 1 : lanes - 1)}`, regV(t));
  if (t.isMem) t.st(t.mem(), s, v);
  else t.mov(gpr(t.i.rm), v);
};
sse("66 0f 3a 14", "PEXTRB Eb,Vx,Ib", "sse4.1", extract(16, 8, () => 0));
sse("66 0f 3a 15", "PEXTRW Ew,Vx,Ib", "sse4.1", extract(8, 16, () => 1));
sse("66 0f 3a 16", "PEXTRD Ey,Vx,Ib", "sse4.1", extract(4, 32, wide));
sse("66 0f 3a 17", "EXTRACTPS Ed,Vx,Ib", "sse4.1", extract(4, 32, () => 2));
sse("66 0f 3a 21", "INSERTPS Vx,Wd,Ib", "sse4.1", (t) => {
  const imm = t.i.imm & 255;
  const v = t.isMem ? t.ld(t.mem(), 2) : t.t(`vlane32_${imm >> 6}`, xmm(t.i.rm));
  const d = regV(t);
  t.op(`vins32_${(imm >> 4) & 3}`, d, d, v);
  if (imm & 15) {
    const keep = [0, 1, 2, 3].flatMap((k) => new Array<number>(4).fill(imm & (1 << k) ? 0 : 255));
    t.op("vand", d, d, constVector(t, keep));
  }
});

// --- blends ---
const blend = (lanes: number): Emit => (t) => {
  const size = 16 / lanes;
  const src = w128(t);
  const mask = Array.from({ length: 16 }, (_, k) => ((t.i.imm >> Math.floor(k / size)) & 1 ? 255 : 0));
  bitselect(t, regV(t), src, regV(t), constVector(t, mask));
};
sse("66 0f 3a 0c", "BLENDPS Vx,Wx,Ib", "sse4.1", blend(4));
sse("66 0f 3a 0d", "BLENDPD Vx,Wx,Ib", "sse4.1", blend(2));
sse("66 0f 3a 0e", "PBLENDW Vx,Wx,Ib", "sse4.1", blend(8));
for (const [code, name, width] of [["10", "PBLENDVB", 8], ["14", "BLENDVPS", 32], ["15", "BLENDVPD", 64]] as const)
  sse(`66 0f 38 ${code}`, `${name} Vx,Wx`, "sse4.1", (t) => {
    const src = w128(t);
    t.b.emit(ir(`vblendv${width}`), regV(t), regV(t), src, xmm(0), 0);
  });
