/** Vector-scalar floating point and moves (Power ISA 3.0B I 7). Quad precision is not emulated. */
import { NONE } from "../../../accel/tcg/ir/builder.js";
import { section } from "../isa.js";
import { gpr, type PpcTranslator, vsr } from "../translator.js";
import { type FpOperation, fprBits, scalar, setFpr, unary, vector } from "./float.js";

const XX1 = (op: number) => `011111 xt:5 ra:5 rb:5 #${op}:10 xt.5:1` as "011111 xt:5 ra:5 rb:5 #0:10 xt.5:1";
const XX2 = (op: number) => `111100 xt:5 /5 xb:5 #${op}:9 xb.5:1 xt.5:1` as "111100 xt:5 /5 xb:5 #0:9 xb.5:1 xt.5:1";
const XX2S = (op: number, sub: number) => `111100 xt:5 #${sub}:5 xb:5 #${op}:9 xb.5:1 xt.5:1` as "111100 xt:5 #0:5 xb:5 #0:9 xb.5:1 xt.5:1";
const XX3 = (op: number) => `111100 xt:5 xa:5 xb:5 #${op}:8 xa.5:1 xb.5:1 xt.5:1` as "111100 xt:5 xa:5 xb:5 #0:8 xa.5:1 xb.5:1 xt.5:1";

// --- loads and stores: memory in byte order of the mode, registers by doubleword ---
/** Arrangements of 16 bytes in memory: how they become a register, by byte order; the same undoes it. */
type Layout = "quad" | "doublewords" | "words" | "halfwords" | "bytes";
function arranged(t: PpcTranslator, v: number, layout: Layout, d = t.b.vtemp()): number {
  if (!t.le || layout === "bytes") return t.op("vrev64", d, v);
  switch (layout) {
    case "quad":
      return t.op("vswap", d, v);
    case "doublewords":
      return t.op("vmov", d, v);
    case "words":
      return t.op("vswap32", d, v);
    case "halfwords":
      return t.op("vswap16", d, v);
  }
}
export function loadArranged(t: PpcTranslator, d: number, slot: number, disp: number, layout: Layout): void {
  if (t.le && layout === "doublewords") t.loadVector(slot, disp, d);
  else arranged(t, t.loadVector(slot, disp), layout, d);
}
export function storeArranged(t: PpcTranslator, v: number, slot: number, disp: number, layout: Layout): void {
  t.storeVector(t.le && layout === "doublewords" ? v : arranged(t, v, layout), slot, disp);
}

const LS = section("Power ISA I 7.6.2", { needs: "vsx" });
const EITHER = { needs: "vsx-or-vec", isa300: true } as const;
for (const [name, store, op, layout, options] of [
  ["lxvd2x", false, 844, "doublewords", {}],
  ["stxvd2x", true, 972, "doublewords", {}],
  ["lxvw4x", false, 780, "words", {}],
  ["stxvw4x", true, 908, "words", {}],
  ["lxvh8x", false, 812, "halfwords", { isa300: true }],
  ["stxvh8x", true, 940, "halfwords", { isa300: true }],
  ["lxvb16x", false, 876, "bytes", { isa300: true }],
  ["stxvb16x", true, 1004, "bytes", { isa300: true }],
] as const)
  LS(
    name,
    XX1(op),
    (t, f) => {
      const ea = t.addressX(f.ra, f.rb);
      if (store) storeArranged(t, vsr(f.xt), ea, 0, layout);
      else loadArranged(t, vsr(f.xt), ea, 0, layout);
    },
    options,
  );
LS("lxvx", "011111 xt:5 ra:5 rb:5 0100 /1 01100 xt.5:1", (t, f) => loadArranged(t, vsr(f.xt), t.addressX(f.ra, f.rb), 0, "quad"), EITHER);
LS("stxvx", XX1(396), (t, f) => storeArranged(t, vsr(f.xt), t.addressX(f.ra, f.rb), 0, "quad"), EITHER);
LS(
  "lxv",
  "111101 xt:5 ra:5 dq:s12 xt.5:1 001",
  (t, f) => {
    const a = t.addressD(f.ra, f.dq << 4);
    loadArranged(t, vsr(f.xt), a.slot, a.disp, "quad");
  },
  EITHER,
);
LS(
  "stxv",
  "111101 xt:5 ra:5 dq:s12 xt.5:1 101",
  (t, f) => {
    const a = t.addressD(f.ra, f.dq << 4);
    storeArranged(t, vsr(f.xt), a.slot, a.disp, "quad");
  },
  EITHER,
);
LS("lxvdsx", XX1(332), (t, f) => void t.op("vsplat64", vsr(f.xt), t.load(t.b.temp(), t.addressX(f.ra, f.rb), 0, 8)));
LS("lxvwsx", XX1(364), (t, f) => void t.op("vsplat32", vsr(f.xt), t.load(t.b.temp(), t.addressX(f.ra, f.rb), 0, 4)), EITHER);
for (const [name, op, size, signed, options] of [
  ["lxsdx", 588, 8, false, {}],
  ["lxsiwzx", 12, 4, false, {}],
  ["lxsiwax", 76, 4, true, {}],
  ["lxsibzx", 781, 1, false, { isa300: true }],
  ["lxsihzx", 813, 2, false, { isa300: true }],
] as const)
  LS(name, XX1(op), (t, f) => setFpr(t, f.xt, t.load(t.b.temp(), t.addressX(f.ra, f.rb), 0, size, signed)), options);
for (const [name, op, size, options] of [
  ["stxsdx", 716, 8, {}],
  ["stxsiwx", 140, 4, {}],
  ["stxsibx", 909, 1, { isa300: true }],
  ["stxsihx", 941, 2, { isa300: true }],
] as const)
  LS(name, XX1(op), (t, f) => t.store(fprBits(t, f.xt), t.addressX(f.ra, f.rb), 0, size), options);
LS("lxsspx", XX1(524), (t, f) => setFpr(t, f.xt, t.t("f32_f64", t.load(t.b.temp(), t.addressX(f.ra, f.rb), 0, 4))));
LS("stxsspx", XX1(652), (t, f) => t.store(t.t("f64_f32", fprBits(t, f.xt)), t.addressX(f.ra, f.rb), 0, 4));
const VR = { needs: "vec", isa300: true } as const;
LS("lxsd", "111001 vrt:5 ra:5 ds:s14 10", (t, f) => {
  const a = t.addressD(f.ra, f.ds << 2);
  setFpr(t, f.vrt + 32, t.load(t.b.temp(), a.slot, a.disp, 8));
}, VR);
LS("lxssp", "111001 vrt:5 ra:5 ds:s14 11", (t, f) => {
  const a = t.addressD(f.ra, f.ds << 2);
  setFpr(t, f.vrt + 32, t.t("f32_f64", t.load(t.b.temp(), a.slot, a.disp, 4)));
}, VR);
LS("stxsd", "111101 vrs:5 ra:5 ds:s14 10", (t, f) => {
  const a = t.addressD(f.ra, f.ds << 2);
  t.store(fprBits(t, f.vrs + 32), a.slot, a.disp, 8);
}, VR);
LS("stxssp", "111101 vrs:5 ra:5 ds:s14 11", (t, f) => {
  const a = t.addressD(f.ra, f.ds << 2);
  t.store(t.t("f64_f32", fprBits(t, f.vrs + 32)), a.slot, a.disp, 4);
}, VR);
// Helpers: address, length register, register | MMU index << 6 | little-endian << 8 | left-justified << 9.
for (const [name, op, helper, left] of [
  ["lxvl", 269, "h_lxvl", 0],
  ["lxvll", 301, "h_lxvl", 0x200],
  ["stxvl", 397, "h_stxvl", 0],
  ["stxvll", 429, "h_stxvl", 0x200],
] as const)
  LS(name, XX1(op), (t, f) => {
    t.call(helper, t.gprOrZero(f.ra), gpr(f.rb), f.xt | (t.mmu << 6) | (t.le ? 0x100 : 0) | left);
  }, EITHER);

const MV = section("Power ISA I 7.6.1", { needs: "fp-or-vec" });
MV("mfvsrd", "011111 xt:5 ra:5 /5 #51:10 xt.5:1", (t, f) => void t.op("vlane64_0", gpr(f.ra), vsr(f.xt)));
MV("mfvsrwz", "011111 xt:5 ra:5 /5 #115:10 xt.5:1", (t, f) => void t.op("ext32u", gpr(f.ra), fprBits(t, f.xt)));
MV("mfvsrld", "011111 xt:5 ra:5 /5 #307:10 xt.5:1", (t, f) => void t.op("vlane64_1", gpr(f.ra), vsr(f.xt)), EITHER);
MV("mtvsrd", "011111 xt:5 ra:5 /5 #179:10 xt.5:1", (t, f) => setFpr(t, f.xt, gpr(f.ra)));
MV("mtvsrwa", "011111 xt:5 ra:5 /5 #211:10 xt.5:1", (t, f) => setFpr(t, f.xt, t.t("ext32s", gpr(f.ra))));
MV("mtvsrwz", "011111 xt:5 ra:5 /5 #243:10 xt.5:1", (t, f) => setFpr(t, f.xt, t.t("ext32u", gpr(f.ra))));
MV("mtvsrws", "011111 xt:5 ra:5 /5 #403:10 xt.5:1", (t, f) => void t.op("vsplat32", vsr(f.xt), gpr(f.ra)), EITHER);
MV("mtvsrdd", XX1(435), (t, f) => void t.op("vins64_1", vsr(f.xt), t.v("vfromlo", t.gprOrZero(f.ra)), gpr(f.rb)), EITHER);

// --- logic and permutation ---
const LG = section("Power ISA I 7.6.3", { needs: "vsx" });
for (const [name, op, what] of [
  ["xxland", 130, "vand"],
  ["xxlor", 146, "vor"],
  ["xxlxor", 154, "vxor"],
  ["xxlnor", 162, "vnor"],
  ["xxlorc", 170, "vorc"],
  ["xxlnand", 178, "vnand"],
  ["xxleqv", 186, "veqv"],
  ["xxmrghw", 18, "vmergeh32"],
  ["xxmrglw", 50, "vmergel32"],
] as const)
  LG(name, XX3(op), (t, f) => {
    if (what === "vor" && f.xa === f.xb) t.op("vmov", vsr(f.xt), vsr(f.xa));
    else if (what === "vxor" && f.xa === f.xb) t.op("vzero", vsr(f.xt));
    else t.op(what, vsr(f.xt), vsr(f.xa), vsr(f.xb));
  });
// vandn is ~a & b.
LG("xxlandc", XX3(138), (t, f) => void t.op("vandn", vsr(f.xt), vsr(f.xb), vsr(f.xa)));
LG("xxsel", "111100 xt:5 xa:5 xb:5 xc:5 11 xc.5:1 xa.5:1 xb.5:1 xt.5:1", (t, f) => void t.op3("vbitselect", vsr(f.xt), vsr(f.xb), vsr(f.xa), vsr(f.xc)));
LG("xxpermdi", "111100 xt:5 xa:5 xb:5 0 dm:2 01010 xa.5:1 xb.5:1 xt.5:1", (t, f) => {
  t.op(`vpermdi${f.dm >> 1}${f.dm & 1}`, vsr(f.xt), vsr(f.xa), vsr(f.xb));
});
LG("xxsldwi", "111100 xt:5 xa:5 xb:5 0 shw:2 00010 xa.5:1 xb.5:1 xt.5:1", (t, f) => {
  if (f.shw) t.op(`vsldoi${f.shw * 4}`, vsr(f.xt), vsr(f.xa), vsr(f.xb));
  else t.op("vmov", vsr(f.xt), vsr(f.xa));
});
LG("xxspltw", "111100 xt:5 /3 uim:2 xb:5 #164:9 xb.5:1 xt.5:1", (t, f) => {
  t.op("vsplat32", vsr(f.xt), t.t(`vlane32_${f.uim ^ 1}`, vsr(f.xb)));
});
LG("xxspltib", "111100 xt:5 00 imm8:8 #360:10 xt.5:1", (t, f) => void t.opWide("vsplati", vsr(f.xt), NONE, f.imm8 * 0x01010101, f.imm8 * 0x01010101), EITHER);
LG("xxperm", XX3(26), (t, f) => void t.op3("vperm", vsr(f.xt), vsr(f.xa), vsr(f.xt), vsr(f.xb)), { isa300: true });
LG("xxpermr", XX3(58), (t, f) => void t.op3("vperm", vsr(f.xt), vsr(f.xa), vsr(f.xt), t.v("vnot", vsr(f.xb))), { isa300: true });
LG("xxextractuw", "111100 xt:5 /1 uim:4 xb:5 #165:9 xb.5:1 xt.5:1", (t, f) => void t.vcall("h_xxextractuw", vsr(f.xt), vsr(f.xb), vsr(f.xb), f.uim), { isa300: true });
LG("xxinsertw", "111100 xt:5 /1 uim:4 xb:5 #181:9 xb.5:1 xt.5:1", (t, f) => void t.vcall("h_xxinsertw", vsr(f.xt), vsr(f.xt), vsr(f.xb), f.uim), { isa300: true });
for (const [name, sub, what] of [
  ["xxbrh", 7, "vrevh"],
  ["xxbrw", 15, "vrevw"],
  ["xxbrd", 23, "vrev64"],
  ["xxbrq", 31, "vrev128"],
] as const)
  LG(name, XX2S(475, sub), (t, f) => {
    // A quadword is two halves here, the more significant one first.
    t.op(what, vsr(f.xt), vsr(f.xb));
  }, { isa300: true });

// --- sign operations ---
const SG = section("Power ISA I 7.6.1.2", { needs: "vsx" });
for (const [name, op, shape, ops, isScalar] of [
  ["xsabsdp", 345, "f64x2", ["abs"], true],
  ["xsnabsdp", 361, "f64x2", ["abs", "neg"], true],
  ["xsnegdp", 377, "f64x2", ["neg"], true],
  ["xvabssp", 409, "f32x4", ["abs"], false],
  ["xvnabssp", 425, "f32x4", ["abs", "neg"], false],
  ["xvnegsp", 441, "f32x4", ["neg"], false],
  ["xvabsdp", 473, "f64x2", ["abs"], false],
  ["xvnabsdp", 489, "f64x2", ["abs", "neg"], false],
  ["xvnegdp", 505, "f64x2", ["neg"], false],
] as const)
  SG(name, XX2(op), (t, f) => {
    let v = vsr(f.xb);
    for (const o of ops) v = t.v(`${shape}.${o}`, v);
    t.op(isScalar ? "vlow" : "vmov", vsr(f.xt), v);
  });
for (const [name, op, lo, hi, isScalar] of [
  ["xscpsgndp", 176, 0, -0x80000000, true],
  ["xvcpsgndp", 240, 0, -0x80000000, false],
  ["xvcpsgnsp", 208, -0x80000000, -0x80000000, false],
] as const)
  SG(name, XX3(op), (t, f) => {
    const sign = t.opWide("vsplati", t.b.vtemp(), NONE, lo, hi);
    const v = t.v3("vbitselect", vsr(f.xa), vsr(f.xb), sign);
    t.op(isScalar ? "vlow" : "vmov", vsr(f.xt), v);
  });

// --- arithmetic ---
const AR = section("Power ISA I 7.6.1.3", { needs: "vsx" });
const BASES: readonly [string, number, FpOperation][] = [
  ["add", 0, "add"],
  ["sub", 8, "sub"],
  ["mul", 16, "mul"],
  ["div", 24, "div"],
];
for (const [kind, base, single, isVector] of [
  ["sp", 0, true, false],
  ["dp", 32, false, false],
  ["sp", 64, true, true],
  ["dp", 96, false, true],
] as const) {
  const x = isVector ? "xv" : "xs";
  const run = isVector ? vector : scalar;
  for (const [name, op, what] of BASES) AR(x + name + kind, XX3(base + op), (t, f) => run(t, what, single, f.xt, f.xa, f.xb, f.xb));
  for (const [name, op, what] of [
    ["madd", 1, "madd"],
    ["msub", 17, "msub"],
    ["nmadd", 129, "nmadd"],
    ["nmsub", 145, "nmsub"],
  ] as const) {
    // Type A adds the target, type M multiplies by it.
    AR(`${x}${name}a${kind}`, XX3(base + op), (t, f) => run(t, what, single, f.xt, f.xa, f.xt, f.xb));
    AR(`${x}${name}m${kind}`, XX3(base + op + 8), (t, f) => run(t, what, single, f.xt, f.xa, f.xb, f.xt));
  }
  for (const [name, op, what] of [
    ["sqrt", 11, "sqrt"],
    ["rsqrte", 10, "rsqrte"],
    ["re", 26, "re"],
  ] as const)
    AR(x + name + kind, XX2(base * 2 + op), (t, f) => run(t, what, single, f.xt, f.xb, f.xb, f.xb));
}
AR("xsrsp", XX2(281), (t, f) => scalar(t, "rsp", false, f.xt, f.xb, f.xb, f.xb));
const binary = (t: PpcTranslator, helper: string, f: { xt: number; xa: number; xb: number }, imm: number) =>
  void t.fcall(helper, vsr(f.xt), vsr(f.xa), vsr(f.xb), vsr(f.xb), imm | (f.xt << 10));
for (const [name, op, helper, imm, options] of [
  ["xsmaxdp", 160, "h_fminmax", 0, {}],
  ["xsmindp", 168, "h_fminmax", 1, {}],
  ["xvmaxdp", 224, "h_vfminmax", 0, {}],
  ["xvmindp", 232, "h_vfminmax", 1, {}],
  ["xvmaxsp", 192, "h_vfminmax", 0x20, {}],
  ["xvminsp", 200, "h_vfminmax", 0x21, {}],
  ["xsmaxcdp", 128, "h_fminmaxc", 0, { isa300: true }],
  ["xsmincdp", 136, "h_fminmaxc", 1, { isa300: true }],
  ["xsmaxjdp", 144, "h_fminmaxc", 2, { isa300: true }],
  ["xsminjdp", 152, "h_fminmaxc", 3, { isa300: true }],
  ["xscmpeqdp", 3, "h_fcmpmask", 0, { isa300: true }],
  ["xscmpgtdp", 11, "h_fcmpmask", 1, { isa300: true }],
  ["xscmpgedp", 19, "h_fcmpmask", 2, { isa300: true }],
] as const)
  AR(name, XX3(op), (t, f) => binary(t, helper, f, imm), options);
for (const [name, op, imm] of [
  ["xvcmpeqsp", 67, 0x20],
  ["xvcmpgtsp", 75, 0x21],
  ["xvcmpgesp", 83, 0x22],
  ["xvcmpeqdp", 99, 0],
  ["xvcmpgtdp", 107, 1],
  ["xvcmpgedp", 115, 2],
] as const)
  AR(name, `111100 xt:5 xa:5 xb:5 rc:1 #${op}:7 xa.5:1 xb.5:1 xt.5:1`, (t, f) => {
    binary(t, "h_vfcmp", f, imm);
    if (f.rc) t.recordVector(vsr(f.xt));
  });
const COMPARE = (op: number) => `111100 bf:3 /2 xa:5 xb:5 #${op}:8 xa.5:1 xb.5:1 /1` as "111100 bf:3 /2 xa:5 xb:5 #0:8 xa.5:1 xb.5:1 /1";
for (const [name, op, helper, imm, options] of [
  ["xscmpudp", 35, "h_fcmp", 0, {}],
  ["xscmpodp", 43, "h_fcmp", 1, {}],
  ["xscmpexpdp", 59, "h_fcmpexp", 0, { isa300: true }],
] as const)
  AR(name, COMPARE(op), (t, f) => t.setField(f.bf, t.fscalar(helper, t.b.temp(), fprBits(t, f.xa), fprBits(t, f.xb), imm)), options);
AR("xstdivdp", COMPARE(61), (t, f) => t.setField(f.bf, t.callPure("h_ftdiv", fprBits(t, f.xa), fprBits(t, f.xb))));
const UNARY_CR = (op: number) => `111100 bf:3 /2 /5 xb:5 #${op}:9 xb.5:1 /1` as "111100 bf:3 /2 /5 xb:5 #0:9 xb.5:1 /1";
AR("xstsqrtdp", UNARY_CR(106), (t, f) => t.setField(f.bf, t.callPure("h_ftsqrt", fprBits(t, f.xb))));
const high = (t: PpcTranslator, n: number) => t.t("vlane64_1", vsr(n));
for (const [name, op, imm] of [
  ["xvtdivsp", 93, 0x20],
  ["xvtdivdp", 125, 0],
] as const)
  AR(name, COMPARE(op), (t, f) => {
    const a = t.callPure("h_vftdiv", fprBits(t, f.xa), fprBits(t, f.xb), imm);
    t.setField(f.bf, t.t("or", a, t.callPure("h_vftdiv", high(t, f.xa), high(t, f.xb), imm)));
  });
for (const [name, op, imm] of [
  ["xvtsqrtsp", 170, 0x20],
  ["xvtsqrtdp", 234, 0],
] as const)
  AR(name, UNARY_CR(op), (t, f) => {
    t.setField(f.bf, t.t("or", t.callPure("h_vftsqrt", fprBits(t, f.xb), NONE, imm), t.callPure("h_vftsqrt", high(t, f.xb), NONE, imm)));
  });

// --- conversions and rounding ---
const CV = section("Power ISA I 7.6.1.5", { needs: "vsx" });
for (const [name, op, helper, imm] of [
  ["xscvdpsxws", 88, "h_fcti", 0 | 4 | 8],
  ["xscvdpuxws", 72, "h_fcti", 1 | 4 | 8],
  ["xscvdpsxds", 344, "h_fcti", 2 | 4],
  ["xscvdpuxds", 328, "h_fcti", 3 | 4],
  ["xscvsxddp", 376, "h_fcfid", 0],
  ["xscvuxddp", 360, "h_fcfid", 1],
  ["xscvsxdsp", 312, "h_fcfid", 0x20],
  ["xscvuxdsp", 296, "h_fcfid", 0x21],
  ["xscvdpsp", 265, "h_fcvt", 0],
  ["xscvspdp", 329, "h_fcvt", 1],
  ["xsrdpi", 73, "h_fri", 0],
  ["xsrdpiz", 89, "h_fri", 1],
  ["xsrdpip", 105, "h_fri", 2],
  ["xsrdpim", 121, "h_fri", 3],
  ["xsrdpic", 107, "h_fri", 4],
  ["xvrdpi", 201, "h_vfri", 0],
  ["xvrdpiz", 217, "h_vfri", 1],
  ["xvrdpip", 233, "h_vfri", 2],
  ["xvrdpim", 249, "h_vfri", 3],
  ["xvrdpic", 235, "h_vfri", 4],
  ["xvrspi", 137, "h_vfri", 0x20],
  ["xvrspiz", 153, "h_vfri", 0x21],
  ["xvrspip", 169, "h_vfri", 0x22],
  ["xvrspim", 185, "h_vfri", 0x23],
  ["xvrspic", 171, "h_vfri", 0x24],
  ["xvcvdpsp", 393, "h_vfcvt", 0],
  ["xvcvspdp", 457, "h_vfcvt", 1],
  ["xvcvspsxws", 152, "h_vfcti", 0x20],
  ["xvcvspuxws", 136, "h_vfcti", 0x21],
  ["xvcvspsxds", 408, "h_vfcti", 0x22],
  ["xvcvspuxds", 392, "h_vfcti", 0x23],
  ["xvcvdpsxws", 216, "h_vfcti", 0],
  ["xvcvdpuxws", 200, "h_vfcti", 1],
  ["xvcvdpsxds", 472, "h_vfcti", 2],
  ["xvcvdpuxds", 456, "h_vfcti", 3],
  ["xvcvsxwsp", 184, "h_vfcf", 0x20],
  ["xvcvuxwsp", 168, "h_vfcf", 0x21],
  ["xvcvsxdsp", 440, "h_vfcf", 0x22],
  ["xvcvuxdsp", 424, "h_vfcf", 0x23],
  ["xvcvsxwdp", 248, "h_vfcf", 0],
  ["xvcvuxwdp", 232, "h_vfcf", 1],
  ["xvcvsxddp", 504, "h_vfcf", 2],
  ["xvcvuxddp", 488, "h_vfcf", 3],
] as const)
  CV(name, XX2(op), (t, f) => unary(t, helper, f.xt, f.xb, imm));
for (const [name, op, sub, imm] of [
  ["xscvhpdp", 347, 16, 0],
  ["xscvdphp", 347, 17, 1],
  ["xvcvhpsp", 475, 24, 2],
  ["xvcvsphp", 475, 25, 3],
] as const)
  CV(name, XX2S(op, sub), (t, f) => unary(t, "h_half", f.xt, f.xb, imm), { isa300: true });
CV("xscvdpspn", XX2(267), (t, f) => setFpr(t, f.xt, t.callPure("h_fcvtn", fprBits(t, f.xb), NONE, 0)));
CV("xscvspdpn", XX2(331), (t, f) => setFpr(t, f.xt, t.callPure("h_fcvtn", fprBits(t, f.xb), NONE, 1)));

// --- exponents, significands, classes ---
const EX = section("Power ISA I 7.6.1.9", { needs: "vsx", isa300: true });
EX("xsxexpdp", "111100 rt:5 #0:5 xb:5 #347:9 xb.5:1 /1", (t, f) => {
  t.op("andi", gpr(f.rt), t.t("shri", fprBits(t, f.xb), NONE, 52), NONE, 0x7ff);
});
EX("xsxsigdp", "111100 rt:5 #1:5 xb:5 #347:9 xb.5:1 /1", (t, f) => void t.callPure("h_xsxsigdp", fprBits(t, f.xb), NONE, 0, gpr(f.rt)));
EX("xsiexpdp", "111100 xt:5 ra:5 rb:5 #918:10 xt.5:1", (t, f) => {
  const body = t.mask(gpr(f.ra), -1, 0x800fffff | 0);
  setFpr(t, f.xt, t.t("or", body, t.t("shli", t.t("andi", gpr(f.rb), NONE, 0x7ff), NONE, 52)));
});
for (const [name, sub] of [
  ["xvxexpdp", 0],
  ["xvxsigdp", 1],
  ["xvxexpsp", 8],
  ["xvxsigsp", 9],
] as const)
  EX(name, XX2S(475, sub), (t, f) => void t.vcall("h_vfparts", vsr(f.xt), vsr(f.xb), vsr(f.xb), sub));
EX("xviexpdp", XX3(248), (t, f) => void t.vcall("h_vfinsert", vsr(f.xt), vsr(f.xa), vsr(f.xb), 0));
EX("xviexpsp", XX3(216), (t, f) => void t.vcall("h_vfinsert", vsr(f.xt), vsr(f.xa), vsr(f.xb), 1));
EX("xststdcdp", "111100 bf:3 dcmx:7 xb:5 #362:9 xb.5:1 /1", (t, f) => t.setField(f.bf, t.callPure("h_tstdc", fprBits(t, f.xb), NONE, f.dcmx)));
EX("xststdcsp", "111100 bf:3 dcmx:7 xb:5 #298:9 xb.5:1 /1", (t, f) => t.setField(f.bf, t.callPure("h_tstdc", fprBits(t, f.xb), NONE, f.dcmx | 0x80)));
EX("xvtstdcsp", "111100 xt:5 dcmx:5 xb:5 1101 dcmx.6:1 101 dcmx.5:1 xb.5:1 xt.5:1", (t, f) => void t.vcall("h_vtstdc", vsr(f.xt), vsr(f.xb), vsr(f.xb), f.dcmx | 0x80));
EX("xvtstdcdp", "111100 xt:5 dcmx:5 xb:5 1111 dcmx.6:1 101 dcmx.5:1 xb.5:1 xt.5:1", (t, f) => void t.vcall("h_vtstdc", vsr(f.xt), vsr(f.xb), vsr(f.xb), f.dcmx));

// --- quad precision: not emulated ---
const QP = section("Power ISA I 7.6.1.10", { isa300: true });
for (const [name, op] of [
  ["xsaddqp", 4],
  ["xsmulqp", 36],
  ["xscpsgnqp", 100],
  ["xscmpoqp", 132],
  ["xscmpexpqp", 164],
  ["xsmaddqp", 388],
  ["xsmsubqp", 420],
  ["xsnmaddqp", 452],
  ["xsnmsubqp", 484],
  ["xssubqp", 516],
  ["xsdivqp", 548],
  ["xscmpuqp", 644],
  ["xststdcqp", 708],
  ["xsabsqp", 804],
  ["xscvqpdp", 836],
  ["xsiexpqp", 868],
] as const)
  QP(name, `111111 vrt:5 vra:5 vrb:5 #${op}:10 ro:1`);
for (const [name, op] of [
  ["xsrqpi", 5],
  ["xsrqpxp", 37],
] as const)
  QP(name, `111111 vrt:5 /4 r:1 vrb:5 rmc:2 #${op}:8 ex:1`);
