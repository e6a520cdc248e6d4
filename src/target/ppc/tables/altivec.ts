/** The vector facility (Power ISA 3.0B I 6). VSCR.SAT is kept as a vector in which any bit counts. */
import { NONE } from "../../../accel/tcg/ir/builder.js";
import { section } from "../isa.js";
import * as L from "../layout.js";
import { gpr, type PpcTranslator, vr } from "../translator.js";
import { fprBits } from "./float.js";
import { loadArranged, storeArranged } from "./vsx.js";

const VX = (op: number) => `000100 vrt:5 vra:5 vrb:5 #${op}:11` as "000100 vrt:5 vra:5 vrb:5 #0:11";
/** The same without VRA, without VRB. */
const VXB = (op: number) => `000100 vrt:5 /5 vrb:5 #${op}:11` as "000100 vrt:5 /5 vrb:5 #0:11";
const VXA = (op: number) => `000100 vrt:5 vra:5 /5 #${op}:11` as "000100 vrt:5 vra:5 /5 #0:11";
const VA = (op: number) => `000100 vrt:5 vra:5 vrb:5 vrc:5 #${op}:6` as "000100 vrt:5 vra:5 vrb:5 vrc:5 #0:6";
const VC = (op: number) => `000100 vrt:5 vra:5 vrb:5 rc:1 #${op}:10` as "000100 vrt:5 vra:5 vrb:5 rc:1 #0:10";
const V3 = { isa300: true } as const;

/** Takes over what a saturating helper has noted in the state. */
function noteSaturation(t: PpcTranslator): void {
  t.op("vor", L.SATURATED, L.SATURATED, L.SATURATED_NOW);
}

// --- loads and stores ---
const LS = section("Power ISA I 6.7", { needs: "vec" });
const aligned = (t: PpcTranslator, f: { ra: number; rb: number }, bytes: number) => t.mask(t.effective(t.addressX(f.ra, f.rb)), -bytes, -1);
LS("lvx", "011111 vrt:5 ra:5 rb:5 #103:10 /1", (t, f) => loadArranged(t, vr(f.vrt), aligned(t, f, 16), 0, "quad"));
LS("lvxl", "011111 vrt:5 ra:5 rb:5 #359:10 /1", (t, f) => loadArranged(t, vr(f.vrt), aligned(t, f, 16), 0, "quad"));
LS("stvx", "011111 vrs:5 ra:5 rb:5 #231:10 /1", (t, f) => storeArranged(t, vr(f.vrs), aligned(t, f, 16), 0, "quad"));
LS("stvxl", "011111 vrs:5 ra:5 rb:5 #487:10 /1", (t, f) => storeArranged(t, vr(f.vrs), aligned(t, f, 16), 0, "quad"));
// Elements other than the addressed one are undefined: they come from memory too.
for (const [name, op] of [
  ["lvebx", 7],
  ["lvehx", 39],
  ["lvewx", 71],
] as const)
  LS(name, `011111 vrt:5 ra:5 rb:5 #${op}:10 /1`, (t, f) => loadArranged(t, vr(f.vrt), aligned(t, f, 16), 0, "quad"));
for (const [name, op, size] of [
  ["stvebx", 135, 1],
  ["stvehx", 167, 2],
  ["stvewx", 199, 4],
] as const)
  LS(name, `011111 vrs:5 ra:5 rb:5 #${op}:10 /1`, (t, f) => {
    const ea = aligned(t, f, size);
    const upper = t.t("bit", ea, NONE, 3);
    const [first, second] = [t.t("vlane64_0", vr(f.vrs)), t.t("vlane64_1", vr(f.vrs))];
    const half = t.le ? t.select(first, second, upper) : t.select(second, first, upper);
    const at = t.t("shli", t.t("andi", ea, NONE, 7), NONE, 3);
    const shift = t.le ? at : t.t("sub", t.const(64 - size * 8), at);
    t.store(t.t("shr", half, shift), ea, 0, size);
  });
for (const [name, op, lo, hi, down] of [
  ["lvsl", 6, [0x04050607, 0x00010203], [0x0c0d0e0f, 0x08090a0b], false],
  ["lvsr", 38, [0x14151617, 0x10111213], [0x1c1d1e1f, 0x18191a1b], true],
] as const)
  LS(name, `011111 vrt:5 ra:5 rb:5 #${op}:10 /1`, (t, f) => {
    const sh = t.t("andi", t.addressX(f.ra, f.rb), NONE, 15);
    const all = t.t("mul", sh, t.const(0x01010101, 0x01010101));
    const what = down ? "sub" : "add";
    const first = t.t(what, t.const(lo[0], lo[1]), all);
    const second = t.t(what, t.const(hi[0], hi[1]), all);
    t.op("vins64_1", vr(f.vrt), t.v("vfromlo", first), second);
  });

// --- lane-wise operations that WebAssembly has ---
const S = section("Power ISA I 6.9", { needs: "vec" });
for (const [name, op, what] of [
  ["vaddubm", 0, "i8x16.add"],
  ["vadduhm", 64, "i16x8.add"],
  ["vadduwm", 128, "i32x4.add"],
  ["vaddudm", 192, "i64x2.add"],
  ["vsububm", 1024, "i8x16.sub"],
  ["vsubuhm", 1088, "i16x8.sub"],
  ["vsubuwm", 1152, "i32x4.sub"],
  ["vsubudm", 1216, "i64x2.sub"],
  ["vmaxub", 2, "i8x16.max_u"],
  ["vmaxuh", 66, "i16x8.max_u"],
  ["vmaxuw", 130, "i32x4.max_u"],
  ["vmaxsb", 258, "i8x16.max_s"],
  ["vmaxsh", 322, "i16x8.max_s"],
  ["vmaxsw", 386, "i32x4.max_s"],
  ["vminub", 514, "i8x16.min_u"],
  ["vminuh", 578, "i16x8.min_u"],
  ["vminuw", 642, "i32x4.min_u"],
  ["vminsb", 770, "i8x16.min_s"],
  ["vminsh", 834, "i16x8.min_s"],
  ["vminsw", 898, "i32x4.min_s"],
  ["vavgub", 1026, "i8x16.avgr_u"],
  ["vavguh", 1090, "i16x8.avgr_u"],
  ["vmuluwm", 137, "i32x4.mul"],
  ["vand", 1028, "vand"],
  ["vor", 1156, "vor"],
  ["vxor", 1220, "vxor"],
  ["vnor", 1284, "vnor"],
  ["vorc", 1348, "vorc"],
  ["vnand", 1412, "vnand"],
  ["veqv", 1668, "veqv"],
  ["vmrghb", 12, "vmergeh8"],
  ["vmrghh", 76, "vmergeh16"],
  ["vmrghw", 140, "vmergeh32"],
  ["vmrglb", 268, "vmergel8"],
  ["vmrglh", 332, "vmergel16"],
  ["vmrglw", 396, "vmergel32"],
  ["vmrgow", 1676, "vmergeow"],
  ["vmrgew", 1932, "vmergeew"],
  ["vpkuhum", 14, "vpackm16"],
  ["vpkuwum", 78, "vpackm32"],
  ["vpkudum", 1102, "vpackm64"],
] as const)
  S(name, VX(op), (t, f) => {
    if (what === "vor" && f.vra === f.vrb) t.op("vmov", vr(f.vrt), vr(f.vra));
    else if (what === "vxor" && f.vra === f.vrb) t.op("vzero", vr(f.vrt));
    else t.op(what, vr(f.vrt), vr(f.vra), vr(f.vrb));
  });
S("vandc", VX(1092), (t, f) => void t.op("vandn", vr(f.vrt), vr(f.vrb), vr(f.vra)));
for (const [name, op, compare, swap] of [
  ["vmaxud", 194, "i64x2.gt_u", false],
  ["vmaxsd", 450, "i64x2.gt_s", false],
  ["vminud", 706, "i64x2.gt_u", true],
  ["vminsd", 962, "i64x2.gt_s", true],
] as const)
  S(name, VX(op), (t, f) => {
    const greater = t.v(compare, vr(f.vra), vr(f.vrb));
    if (swap) t.op3("vbitselect", vr(f.vrt), vr(f.vrb), vr(f.vra), greater);
    else t.op3("vbitselect", vr(f.vrt), vr(f.vra), vr(f.vrb), greater);
  });
// Saturated: where it differs from the modular result SAT is set.
for (const [name, op, sat, plain] of [
  ["vaddubs", 512, "i8x16.add_sat_u", "i8x16.add"],
  ["vadduhs", 576, "i16x8.add_sat_u", "i16x8.add"],
  ["vaddsbs", 768, "i8x16.add_sat_s", "i8x16.add"],
  ["vaddshs", 832, "i16x8.add_sat_s", "i16x8.add"],
  ["vsububs", 1536, "i8x16.sub_sat_u", "i8x16.sub"],
  ["vsubuhs", 1600, "i16x8.sub_sat_u", "i16x8.sub"],
  ["vsubsbs", 1792, "i8x16.sub_sat_s", "i8x16.sub"],
  ["vsubshs", 1856, "i16x8.sub_sat_s", "i16x8.sub"],
] as const)
  S(name, VX(op), (t, f) => {
    const modular = t.v(plain, vr(f.vra), vr(f.vrb));
    const v = t.v(sat, vr(f.vra), vr(f.vrb));
    t.op("vor", L.SATURATED, L.SATURATED, t.v("vxor", v, modular));
    t.op("vmov", vr(f.vrt), v);
  });
for (const [name, op, what] of [
  ["vupkhsb", 526, "vunpackhsbh"],
  ["vupklsb", 654, "vunpacklsbh"],
  ["vupkhsh", 590, "vunpackhshw"],
  ["vupklsh", 718, "vunpacklshw"],
  ["vupkhsw", 1614, "vunpackhswd"],
  ["vupklsw", 1742, "vunpacklswd"],
] as const)
  S(name, VXB(op), (t, f) => void t.op(what, vr(f.vrt), vr(f.vrb)));
for (const [name, op, size] of [
  ["vspltb", 524, 1],
  ["vsplth", 588, 2],
  ["vspltw", 652, 4],
] as const)
  S(name, `000100 vrt:5 /1 uim:4 vrb:5 #${op}:11`, (t, f) => {
    const lane = (f.uim & (16 / size - 1)) ^ (8 / size - 1);
    t.op(`vsplat${size * 8}`, vr(f.vrt), t.t(`vlane${size * 8}_${lane}`, vr(f.vrb)));
  });
for (const [name, op, size] of [
  ["vspltisb", 780, 1],
  ["vspltish", 844, 2],
  ["vspltisw", 908, 4],
] as const)
  S(name, `000100 vrt:5 sim:s5 /5 #${op}:11`, (t, f) => {
    const word = size === 1 ? (f.sim & 255) * 0x01010101 : size === 2 ? (f.sim & 0xffff) * 0x00010001 : f.sim;
    t.opWide("vsplati", vr(f.vrt), NONE, word, word);
  });
S("vsel", VA(42), (t, f) => void t.op3("vbitselect", vr(f.vrt), vr(f.vrb), vr(f.vra), vr(f.vrc)));
S("vperm", VA(43), (t, f) => void t.op3("vperm", vr(f.vrt), vr(f.vra), vr(f.vrb), vr(f.vrc)));
S("vpermr", VA(59), (t, f) => void t.op3("vperm", vr(f.vrt), vr(f.vra), vr(f.vrb), t.v("vnot", vr(f.vrc))), V3);
S("vsldoi", "000100 vrt:5 vra:5 vrb:5 /1 shb:4 #44:6", (t, f) => {
  if (f.shb) t.op(`vsldoi${f.shb}`, vr(f.vrt), vr(f.vra), vr(f.vrb));
  else t.op("vmov", vr(f.vrt), vr(f.vra));
});
S("vmladduhm", VA(34), (t, f) => void t.op("i16x8.add", vr(f.vrt), t.v("i16x8.mul", vr(f.vra), vr(f.vrb)), vr(f.vrc)));

// --- comparisons ---
const C = section("Power ISA I 6.9.3", { needs: "vec" });
for (const [name, op, what, invert] of [
  ["vcmpequb", 6, "i8x16.eq", false],
  ["vcmpequh", 70, "i16x8.eq", false],
  ["vcmpequw", 134, "i32x4.eq", false],
  ["vcmpequd", 199, "i64x2.eq", false],
  ["vcmpgtub", 518, "i8x16.gt_u", false],
  ["vcmpgtuh", 582, "i16x8.gt_u", false],
  ["vcmpgtuw", 646, "i32x4.gt_u", false],
  ["vcmpgtud", 711, "i64x2.gt_u", false],
  ["vcmpgtsb", 774, "i8x16.gt_s", false],
  ["vcmpgtsh", 838, "i16x8.gt_s", false],
  ["vcmpgtsw", 902, "i32x4.gt_s", false],
  ["vcmpgtsd", 967, "i64x2.gt_s", false],
  ["vcmpneb", 7, "i8x16.eq", true],
  ["vcmpneh", 71, "i16x8.eq", true],
  ["vcmpnew", 135, "i32x4.eq", true],
] as const)
  C(
    name,
    VC(op),
    (t, f) => {
      if (invert) t.op("vnot", vr(f.vrt), t.v(what, vr(f.vra), vr(f.vrb)));
      else t.op(what, vr(f.vrt), vr(f.vra), vr(f.vrb));
      if (f.rc) t.recordVector(vr(f.vrt));
    },
    invert ? V3 : {},
  );
for (const [name, op, shape] of [
  ["vcmpnezb", 263, "i8x16"],
  ["vcmpnezh", 327, "i16x8"],
  ["vcmpnezw", 391, "i32x4"],
] as const)
  C(
    name,
    VC(op),
    (t, f) => {
      const zero = t.v("vzero");
      const same = t.v("vnot", t.v(`${shape}.eq`, vr(f.vra), vr(f.vrb)));
      const either = t.v("vor", t.v(`${shape}.eq`, vr(f.vra), zero), t.v(`${shape}.eq`, vr(f.vrb), zero));
      t.op("vor", vr(f.vrt), same, either);
      if (f.rc) t.recordVector(vr(f.vrt));
    },
    V3,
  );
for (const [name, op, kind] of [
  ["vcmpeqfp", 198, 0],
  ["vcmpgefp", 454, 1],
  ["vcmpgtfp", 710, 2],
] as const)
  C(name, VC(op), (t, f) => {
    t.vcall("h_vcmpfp", vr(f.vrt), vr(f.vra), vr(f.vrb), kind);
    if (f.rc) t.recordVector(vr(f.vrt));
  });
C("vcmpbfp", VC(966), (t, f) => {
  t.vcall("h_vcmpfp", vr(f.vrt), vr(f.vra), vr(f.vrb), 3);
  // Only "all within bounds" is recorded.
  if (f.rc) t.setField(6, t.t("shli", t.t("vzeros", vr(f.vrt)), NONE, 1));
});

// --- helpers: two operands ---
const H = section("Power ISA I 6.9", { needs: "vec" });
for (const [name, op, helper, imm, options] of [
  ["vaddcuw", 384, "h_vcarry", 0, {}],
  ["vsubcuw", 1408, "h_vcarry", 1, {}],
  ["vaddcuq", 320, "h_vquad", 1, {}],
  ["vadduqm", 256, "h_vquad", 0, {}],
  ["vsubuqm", 1280, "h_vquad", 2, {}],
  ["vsubcuq", 1344, "h_vquad", 3, {}],
  ["vavguw", 1154, "h_vavg", 2, {}],
  ["vavgsb", 1282, "h_vavg", 4, {}],
  ["vavgsh", 1346, "h_vavg", 5, {}],
  ["vavgsw", 1410, "h_vavg", 6, {}],
  ["vrlb", 4, "h_vshift", 0, {}],
  ["vrlh", 68, "h_vshift", 1, {}],
  ["vrlw", 132, "h_vshift", 2, {}],
  ["vrld", 196, "h_vshift", 3, {}],
  ["vslb", 260, "h_vshift", 4, {}],
  ["vslh", 324, "h_vshift", 5, {}],
  ["vslw", 388, "h_vshift", 6, {}],
  ["vsld", 1476, "h_vshift", 7, {}],
  ["vsrb", 516, "h_vshift", 8, {}],
  ["vsrh", 580, "h_vshift", 9, {}],
  ["vsrw", 644, "h_vshift", 10, {}],
  ["vsrd", 1732, "h_vshift", 11, {}],
  ["vsrab", 772, "h_vshift", 12, {}],
  ["vsrah", 836, "h_vshift", 13, {}],
  ["vsraw", 900, "h_vshift", 14, {}],
  ["vsrad", 964, "h_vshift", 15, {}],
  ["vsl", 452, "h_vshiftall", 0, {}],
  ["vsr", 708, "h_vshiftall", 1, {}],
  ["vslo", 1036, "h_vshiftall", 2, {}],
  ["vsro", 1100, "h_vshiftall", 3, {}],
  ["vslv", 1860, "h_vshiftall", 4, V3],
  ["vsrv", 1796, "h_vshiftall", 5, V3],
  ["vmuloub", 8, "h_vmul", 0, {}],
  ["vmulouh", 72, "h_vmul", 1, {}],
  ["vmulouw", 136, "h_vmul", 2, {}],
  ["vmulosb", 264, "h_vmul", 4, {}],
  ["vmulosh", 328, "h_vmul", 5, {}],
  ["vmulosw", 392, "h_vmul", 6, {}],
  ["vmuleub", 520, "h_vmul", 8, {}],
  ["vmuleuh", 584, "h_vmul", 9, {}],
  ["vmuleuw", 648, "h_vmul", 10, {}],
  ["vmulesb", 776, "h_vmul", 12, {}],
  ["vmulesh", 840, "h_vmul", 13, {}],
  ["vmulesw", 904, "h_vmul", 14, {}],
  ["vpmsumb", 1032, "h_vpmsum", 0, {}],
  ["vpmsumh", 1096, "h_vpmsum", 1, {}],
  ["vpmsumw", 1160, "h_vpmsum", 2, {}],
  ["vpmsumd", 1224, "h_vpmsum", 3, {}],
  ["vcipher", 1288, "h_vaes", 0, {}],
  ["vcipherlast", 1289, "h_vaes", 1, {}],
  ["vncipher", 1352, "h_vaes", 2, {}],
  ["vncipherlast", 1353, "h_vaes", 3, {}],
  ["vpkpx", 782, "h_vpkpx", 0, {}],
  ["vbpermq", 1356, "h_vbpermq", 0, {}],
  ["vbpermd", 1484, "h_vbpermd", 0, V3],
  ["vabsdub", 1027, "h_vabsd", 0, V3],
  ["vabsduh", 1091, "h_vabsd", 1, V3],
  ["vabsduw", 1155, "h_vabsd", 2, V3],
  ["vrlwnm", 389, "h_vrlm", 0, V3],
  ["vrldnm", 453, "h_vrlm", 1, V3],
  ["vmul10euq", 577, "h_vmul10", 2, V3],
  ["vmul10ecuq", 65, "h_vmul10", 3, V3],
  ["vaddfp", 10, "h_vfpa", 0, {}],
  ["vsubfp", 74, "h_vfpa", 1, {}],
  ["vmaxfp", 1034, "h_vfpa", 2, {}],
  ["vminfp", 1098, "h_vfpa", 3, {}],
] as const)
  H(name, VX(op), (t, f) => void t.vcall(helper, vr(f.vrt), vr(f.vra), vr(f.vrb), imm), options);
for (const [name, op, helper, imm] of [
  ["vadduws", 640, "h_vsatw", 0],
  ["vaddsws", 896, "h_vsatw", 1],
  ["vsubuws", 1664, "h_vsatw", 2],
  ["vsubsws", 1920, "h_vsatw", 3],
  ["vpkuhus", 142, "h_vpack", 0],
  ["vpkuwus", 206, "h_vpack", 1],
  ["vpkudus", 1230, "h_vpack", 2],
  ["vpkshus", 270, "h_vpack", 4],
  ["vpkswus", 334, "h_vpack", 5],
  ["vpksdus", 1358, "h_vpack", 6],
  ["vpkshss", 398, "h_vpack", 8],
  ["vpkswss", 462, "h_vpack", 9],
  ["vpksdss", 1486, "h_vpack", 10],
  ["vsum4ubs", 1544, "h_vsum", 0],
  ["vsum4sbs", 1800, "h_vsum", 1],
  ["vsum4shs", 1608, "h_vsum", 2],
  ["vsum2sws", 1672, "h_vsum", 3],
  ["vsumsws", 1928, "h_vsum", 4],
] as const)
  H(name, VX(op), (t, f) => {
    t.vcall(helper, vr(f.vrt), vr(f.vra), vr(f.vrb), imm);
    noteSaturation(t);
  });
// The target is an operand too.
for (const [name, op, imm] of [
  ["vrlwmi", 133, 0],
  ["vrldmi", 197, 1],
] as const)
  H(name, VX(op), (t, f) => void t.vcall3("h_vrlmi", vr(f.vrt), vr(f.vra), vr(f.vrb), vr(f.vrt), imm), V3);
for (const [name, op, imm] of [
  ["vmul10uq", 513, 0],
  ["vmul10cuq", 1, 1],
] as const)
  H(name, VXA(op), (t, f) => void t.vcall("h_vmul10", vr(f.vrt), vr(f.vra), vr(f.vra), imm), V3);
H("vsbox", VXA(1480), (t, f) => void t.vcall("h_vaes", vr(f.vrt), vr(f.vra), vr(f.vra), 4));
for (const [name, op, wide] of [
  ["vshasigmaw", 1666, 0],
  ["vshasigmad", 1730, 32],
] as const)
  H(name, `000100 vrt:5 vra:5 st:1 six:4 #${op}:11`, (t, f) => void t.vcall("h_vshasigma", vr(f.vrt), vr(f.vra), vr(f.vra), f.six | (f.st << 4) | wide));

// --- helpers: one operand ---
for (const [name, op, helper, imm, options] of [
  ["vclzb", 1794, "h_vcount", 0, {}],
  ["vclzh", 1858, "h_vcount", 1, {}],
  ["vclzw", 1922, "h_vcount", 2, {}],
  ["vclzd", 1986, "h_vcount", 3, {}],
  ["vpopcntb", 1795, "h_vcount", 4, {}],
  ["vpopcnth", 1859, "h_vcount", 5, {}],
  ["vpopcntw", 1923, "h_vcount", 6, {}],
  ["vpopcntd", 1987, "h_vcount", 7, {}],
  ["vgbbd", 1292, "h_vgbbd", 0, {}],
  ["vupkhpx", 846, "h_vupkpx", 0, {}],
  ["vupklpx", 974, "h_vupkpx", 1, {}],
  ["vrefp", 266, "h_vfp1", 0, {}],
  ["vrsqrtefp", 330, "h_vfp1", 1, {}],
  ["vexptefp", 394, "h_vfp1", 2, {}],
  ["vlogefp", 458, "h_vfp1", 3, {}],
  ["vrfin", 522, "h_vfp1", 4, {}],
  ["vrfiz", 586, "h_vfp1", 5, {}],
  ["vrfip", 650, "h_vfp1", 6, {}],
  ["vrfim", 714, "h_vfp1", 7, {}],
] as const)
  H(name, VXB(op), (t, f) => void t.vcall(helper, vr(f.vrt), vr(f.vrb), vr(f.vrb), imm), options);
for (const [name, sub, helper, imm] of [
  ["vnegw", 6, "h_vneg", 2],
  ["vnegd", 7, "h_vneg", 3],
  ["vprtybw", 8, "h_vparity", 2],
  ["vprtybd", 9, "h_vparity", 3],
  ["vprtybq", 10, "h_vparity", 4],
  ["vextsb2w", 16, "h_vexts", 0],
  ["vextsh2w", 17, "h_vexts", 1],
  ["vextsb2d", 24, "h_vexts", 2],
  ["vextsh2d", 25, "h_vexts", 3],
  ["vextsw2d", 26, "h_vexts", 4],
  ["vctzb", 28, "h_vcount", 8],
  ["vctzh", 29, "h_vcount", 9],
  ["vctzw", 30, "h_vcount", 10],
  ["vctzd", 31, "h_vcount", 11],
] as const)
  H(name, `000100 vrt:5 #${sub}:5 vrb:5 #1538:11`, (t, f) => void t.vcall(helper, vr(f.vrt), vr(f.vrb), vr(f.vrb), imm), V3);
for (const [name, sub, imm] of [
  ["vclzlsbb", 0, 0],
  ["vctzlsbb", 1, 1],
] as const)
  H(name, `000100 rt:5 #${sub}:5 vrb:5 #1538:11`, (t, f) => {
    const v = vr(f.vrb);
    t.callPure("h_vlsbb", t.t("vlane64_0", v), t.t("vlane64_1", v), imm, gpr(f.rt));
  }, V3);
for (const [name, op, helper, saturates] of [
  ["vcfux", 778, 0, false],
  ["vcfsx", 842, 1, false],
  ["vctuxs", 906, 2, true],
  ["vctsxs", 970, 3, true],
] as const)
  H(name, `000100 vrt:5 uim:5 vrb:5 #${op}:11`, (t, f) => {
    t.vcall("h_vcf", vr(f.vrt), vr(f.vrb), vr(f.vrb), helper | (f.uim << 4));
    if (saturates) noteSaturation(t);
  });

// --- helpers: three operands ---
for (const [name, op, helper, imm, saturates] of [
  ["vaddeuqm", 60, "h_vquad3", 0, false],
  ["vaddecuq", 61, "h_vquad3", 1, false],
  ["vsubeuqm", 62, "h_vquad3", 2, false],
  ["vsubecuq", 63, "h_vquad3", 3, false],
  ["vmhaddshs", 32, "h_vmhadd", 0, true],
  ["vmhraddshs", 33, "h_vmhadd", 1, true],
  ["vmsumubm", 36, "h_vmsum", 0, false],
  ["vmsummbm", 37, "h_vmsum", 1, false],
  ["vmsumuhm", 38, "h_vmsum", 2, false],
  ["vmsumuhs", 39, "h_vmsum", 3, true],
  ["vmsumshm", 40, "h_vmsum", 4, false],
  ["vmsumshs", 41, "h_vmsum", 5, true],
  ["vmsumudm", 35, "h_vmsum", 6, false],
  ["vpermxor", 45, "h_vpermxor", 0, false],
  ["vmaddfp", 46, "h_vmaddfp", 0, false],
  ["vnmsubfp", 47, "h_vmaddfp", 1, false],
] as const)
  H(
    name,
    VA(op),
    (t, f) => {
      t.vcall3(helper, vr(f.vrt), vr(f.vra), vr(f.vrb), vr(f.vrc), imm);
      if (saturates) noteSaturation(t);
    },
    name === "vmsumudm" ? V3 : {},
  );

// --- elements to and from registers ---
for (const [name, op, size] of [
  ["vextractub", 525, 1],
  ["vextractuh", 589, 2],
  ["vextractuw", 653, 4],
  ["vextractd", 717, 8],
] as const)
  H(name, `000100 vrt:5 /1 uim:4 vrb:5 #${op}:11`, (t, f) => void t.vcall("h_vextract", vr(f.vrt), vr(f.vrb), vr(f.vrb), f.uim | (size << 4)), V3);
for (const [name, op, size] of [
  ["vinsertb", 781, 1],
  ["vinserth", 845, 2],
  ["vinsertw", 909, 4],
  ["vinsertd", 973, 8],
] as const)
  H(name, `000100 vrt:5 /1 uim:4 vrb:5 #${op}:11`, (t, f) => void t.vcall("h_vinsert", vr(f.vrt), vr(f.vrt), vr(f.vrb), f.uim | (size << 4)), V3);
for (const [name, op, size, right] of [
  ["vextublx", 1549, 1, false],
  ["vextuhlx", 1613, 2, false],
  ["vextuwlx", 1677, 4, false],
  ["vextubrx", 1805, 1, true],
  ["vextuhrx", 1869, 2, true],
  ["vextuwrx", 1933, 4, true],
] as const)
  H(name, `000100 rt:5 ra:5 vrb:5 #${op}:11`, (t, f) => {
    // The 128-bit number shifted right by bits, its low element.
    const v = vr(f.vrb);
    const index = t.t("andi", gpr(f.ra), NONE, 15);
    const bits = t.t("shli", right ? index : t.t("andi", t.t("sub", t.const(16 - size), index), NONE, 15), NONE, 3);
    const low = t.t("vlane64_1", v);
    const high = fprBits(t, 32 + f.vrb);
    const far = t.t("bit", bits, NONE, 6);
    const count = t.t("andi", bits, NONE, 63);
    const down = t.t("shr", low, count);
    const carried = t.t("shli", t.t("shl", high, t.t("xori", count, NONE, 63)), NONE, 1);
    const near = t.t("or", down, carried);
    const value = t.select(t.t("shr", high, count), near, far);
    t.op(size === 1 ? "ext8u" : size === 2 ? "ext16u" : "ext32u", gpr(f.rt), value);
  }, V3);

// --- VSCR ---
const SCR = section("Power ISA I 6.13", { needs: "vec" });
SCR("mfvscr", "000100 vrt:5 /5 /5 #1540:11", (t, f) => {
  const sat = t.t("xori", t.t("vzeros", L.SATURATED), NONE, 1);
  const nj = t.op("ldst32", t.b.temp(), NONE, NONE, L.VSCR);
  t.op("vins64_1", vr(f.vrt), t.v("vzero"), t.t("or", sat, nj));
});
SCR("mtvscr", "000100 /5 /5 vrb:5 #1604:11", (t, f) => {
  const low = t.t("vlane64_1", vr(f.vrb));
  t.callPure("h_write_vscr", low);
  t.op("vfromlo", L.SATURATED, t.t("andi", low, NONE, 1));
});

// --- decimal integers: not emulated ---
const B = section("Power ISA I 6.17");
B("bcdadd.", "000100 vrt:5 vra:5 vrb:5 1 ps:1 #1:9");
B("bcdsub.", "000100 vrt:5 vra:5 vrb:5 1 ps:1 #65:9");
for (const [name, op] of [
  ["bcdus.", 129],
  ["bcds.", 193],
  ["bcdtrunc.", 257],
  ["bcdutrunc.", 321],
  ["bcdcpsgn.", 833],
  ["bcdsr.", 449],
] as const)
  B(name, `000100 vrt:5 vra:5 vrb:5 1 ps:1 #${op}:9`);
B("bcdcfn.", "000100 vrt:5 sub:5 vrb:5 1 ps:1 #385:9");
