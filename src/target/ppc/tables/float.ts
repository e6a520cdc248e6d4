/** Floating point (Power ISA 3.0B I 4). Decimal floating point is not emulated. */
import { NONE } from "../../../accel/tcg/ir/builder.js";
import { section } from "../isa.js";
import * as L from "../layout.js";
import { gpr, type PpcTranslator, vsr } from "../translator.js";

/** CR1 of a record form: FX, FEX, VX, OX. */
function record(t: PpcTranslator, rc: number): void {
  if (rc) t.setField(1, t.t("andi", t.t("shri", L.FPSCR, NONE, 28), NONE, 15));
}

/** An FPR gets a 64-bit value; doubleword 1 of its VSR becomes zero. */
export function setFpr(t: PpcTranslator, n: number, slot: number): void {
  t.op("vfromlo", vsr(n), slot);
}
export const fprBits = (t: PpcTranslator, n: number) => t.t("vlane64_0", vsr(n));

const M = section("Power ISA I 4.6.2", { needs: "fp" });
function loadFloat(t: PpcTranslator, frt: number, slot: number, disp: number, single: boolean): void {
  const v = t.load(t.b.temp(), slot, disp, single ? 4 : 8);
  setFpr(t, frt, single ? t.t("f32_f64", v) : v);
}
function storeFloat(t: PpcTranslator, frs: number, slot: number, disp: number, single: boolean): void {
  const v = fprBits(t, frs);
  t.store(single ? t.t("f64_f32", v) : v, slot, disp, single ? 4 : 8);
}
for (const [name, op, xop, single, store] of [
  ["lfs", 48, 535, true, false],
  ["lfd", 50, 599, false, false],
  ["stfs", 52, 663, true, true],
  ["stfd", 54, 727, false, true],
] as const) {
  const access = store ? storeFloat : loadFloat;
  M(name, `#${op}:6 frt:5 ra:5 d:s16`, (t, f) => {
    const a = t.addressD(f.ra, f.d);
    access(t, f.frt, a.slot, a.disp, single);
  });
  M(`${name}u`, `#${(op + 1) as 49 | 51 | 53 | 55}:6 frt:5 ra:5 d:s16`, (t, f) => {
    if (f.ra === 0) return t.program(L.PROGRAM_ILLEGAL);
    const a = t.addressD(f.ra, f.d);
    access(t, f.frt, a.slot, a.disp, single);
    t.mov(gpr(f.ra), t.effective(a.slot, a.disp));
  });
  M(`${name}x`, `011111 frt:5 ra:5 rb:5 #${xop}:10 /1`, (t, f) => access(t, f.frt, t.addressX(f.ra, f.rb), 0, single));
  M(`${name}ux`, `011111 frt:5 ra:5 rb:5 #${(xop + 32) as 567 | 631 | 695 | 759}:10 /1`, (t, f) => {
    if (f.ra === 0) return t.program(L.PROGRAM_ILLEGAL);
    const ea = t.addressX(f.ra, f.rb);
    access(t, f.frt, ea, 0, single);
    t.mov(gpr(f.ra), t.effective(ea));
  });
}
M("lfiwax", "011111 frt:5 ra:5 rb:5 #855:10 /1", (t, f) => {
  setFpr(t, f.frt, t.load(t.b.temp(), t.addressX(f.ra, f.rb), 0, 4, true));
});
M("lfiwzx", "011111 frt:5 ra:5 rb:5 #887:10 /1", (t, f) => {
  setFpr(t, f.frt, t.load(t.b.temp(), t.addressX(f.ra, f.rb), 0, 4));
});
M("stfiwx", "011111 frt:5 ra:5 rb:5 #983:10 /1", (t, f) => t.store(fprBits(t, f.frt), t.addressX(f.ra, f.rb), 0, 4));
function pair(t: PpcTranslator, f: number, ea: number, store: boolean): void {
  const [first, second] = t.le ? [f + 1, f] : [f, f + 1];
  if (store) {
    t.store(fprBits(t, first), ea, 0, 8);
    t.store(fprBits(t, second), ea, 8, 8);
    return;
  }
  const a = t.load(t.b.temp(), ea, 0, 8);
  const b = t.load(t.b.temp(), ea, 8, 8);
  setFpr(t, first, a);
  setFpr(t, second, b);
}
for (const [name, op, xop, store] of [
  ["lfdp", 57, 791, false],
  ["stfdp", 61, 919, true],
] as const) {
  M(name, `#${op}:6 frtp:5 ra:5 ds:s14 00`, (t, f) => {
    if (f.frtp & 1) return t.program(L.PROGRAM_ILLEGAL);
    const a = t.addressD(f.ra, f.ds << 2);
    pair(t, f.frtp, t.effective(a.slot, a.disp), store);
  });
  M(`${name}x`, `011111 frtp:5 ra:5 rb:5 #${xop}:10 /1`, (t, f) => {
    if (f.frtp & 1) return t.program(L.PROGRAM_ILLEGAL);
    pair(t, f.frtp, t.effective(t.addressX(f.ra, f.rb)), store);
  });
}

const MOVE = section("Power ISA I 4.6.5", { needs: "fp" });
const X = (op: number) => `111111 frt:5 fra:5 frb:5 #${op}:10 rc:1` as "111111 frt:5 fra:5 frb:5 #0:10 rc:1";
/** The same without FRA. */
const XB = (op: number) => `111111 frt:5 /5 frb:5 #${op}:10 rc:1` as "111111 frt:5 /5 frb:5 #0:10 rc:1";
const low = (t: PpcTranslator, frt: number, v: number) => void t.op("vlow", vsr(frt), v);
MOVE("fmr", XB(72), (t, f) => {
  low(t, f.frt, vsr(f.frb));
  record(t, f.rc);
});
MOVE("fneg", XB(40), (t, f) => {
  low(t, f.frt, t.v("f64x2.neg", vsr(f.frb)));
  record(t, f.rc);
});
MOVE("fabs", XB(264), (t, f) => {
  low(t, f.frt, t.v("f64x2.abs", vsr(f.frb)));
  record(t, f.rc);
});
MOVE("fnabs", XB(136), (t, f) => {
  low(t, f.frt, t.v("f64x2.neg", t.v("f64x2.abs", vsr(f.frb))));
  record(t, f.rc);
});
MOVE("fcpsgn", X(8), (t, f) => {
  const sign = t.mask(fprBits(t, f.fra), 0, -0x80000000);
  setFpr(t, f.frt, t.t("or", sign, t.mask(fprBits(t, f.frb), -1, 0x7fffffff)));
  record(t, f.rc);
});
MOVE("fmrgew", "111111 frt:5 fra:5 frb:5 #966:10 /1", (t, f) => {
  const a = t.mask(fprBits(t, f.fra), 0, -1);
  setFpr(t, f.frt, t.t("or", a, t.t("shri", fprBits(t, f.frb), NONE, 32)));
});
MOVE("fmrgow", "111111 frt:5 fra:5 frb:5 #838:10 /1", (t, f) => {
  const a = t.t("shli", fprBits(t, f.fra), NONE, 32);
  setFpr(t, f.frt, t.t("or", a, t.t("ext32u", fprBits(t, f.frb))));
});

/** Operations of the runtime's fp-arith.ts. */
const OPS = { add: 0, sub: 1, mul: 2, div: 3, sqrt: 4, madd: 5, msub: 6, nmadd: 7, nmsub: 8, re: 9, rsqrte: 10, rsp: 11 } as const;
export type FpOperation = keyof typeof OPS;
const SINGLE = 0x20;
/** Scalar arithmetic on doublewords 0 of VSRs. */
export function scalar(t: PpcTranslator, op: FpOperation, single: boolean, d: number, a: number, b: number, c: number): void {
  t.fcall("h_fp", vsr(d), vsr(a), vsr(b), vsr(c), OPS[op] | (single ? SINGLE : 0) | (d << 10));
}
export function vector(t: PpcTranslator, op: FpOperation, single: boolean, d: number, a: number, b: number, c: number): void {
  t.fcall("h_vfp", vsr(d), vsr(a), vsr(b), vsr(c), OPS[op] | (single ? SINGLE : 0) | (d << 10));
}

const AR = section("Power ISA I 4.6.6", { needs: "fp" });
for (const [primary, single] of [
  [63, false],
  [59, true],
] as const) {
  const s = single ? "s" : "";
  for (const [name, op, what] of [
    ["fadd", 21, "add"],
    ["fsub", 20, "sub"],
    ["fdiv", 18, "div"],
  ] as const)
    AR(name + s, `#${primary}:6 frt:5 fra:5 frb:5 /5 #${op}:5 rc:1`, (t, f) => {
      scalar(t, what, single, f.frt, f.fra, f.frb, f.frb);
      record(t, f.rc);
    });
  for (const [name, op, what] of [
    ["fsqrt", 22, "sqrt"],
    ["fre", 24, "re"],
    ["frsqrte", 26, "rsqrte"],
  ] as const)
    AR(name + s, `#${primary}:6 frt:5 /5 frb:5 /5 #${op}:5 rc:1`, (t, f) => {
      scalar(t, what, single, f.frt, f.frb, f.frb, f.frb);
      record(t, f.rc);
    });
  AR(`fmul${s}`, `#${primary}:6 frt:5 fra:5 /5 frc:5 #25:5 rc:1`, (t, f) => {
    scalar(t, "mul", single, f.frt, f.fra, f.frc, f.frc);
    record(t, f.rc);
  });
  for (const [name, op, what] of [
    ["fmadd", 29, "madd"],
    ["fmsub", 28, "msub"],
    ["fnmadd", 31, "nmadd"],
    ["fnmsub", 30, "nmsub"],
  ] as const)
    AR(name + s, `#${primary}:6 frt:5 fra:5 frb:5 frc:5 #${op}:5 rc:1`, (t, f) => {
      scalar(t, what, single, f.frt, f.fra, f.frb, f.frc);
      record(t, f.rc);
    });
}
AR("frsp", XB(12), (t, f) => {
  scalar(t, "rsp", false, f.frt, f.frb, f.frb, f.frb);
  record(t, f.rc);
});
AR("fsel", "111111 frt:5 fra:5 frb:5 frc:5 #23:5 rc:1", (t, f) => {
  t.op3("fsel", vsr(f.frt), vsr(f.fra), vsr(f.frb), vsr(f.frc));
  record(t, f.rc);
});
AR("ftdiv", "111111 bf:3 /2 fra:5 frb:5 #128:10 /1", (t, f) => t.setField(f.bf, t.callPure("h_ftdiv", fprBits(t, f.fra), fprBits(t, f.frb))));
AR("ftsqrt", "111111 bf:3 /2 /5 frb:5 #160:10 /1", (t, f) => t.setField(f.bf, t.callPure("h_ftsqrt", fprBits(t, f.frb))));

/** Helper with one vector operand b. */
export function unary(t: PpcTranslator, helper: string, d: number, b: number, imm: number): void {
  t.fcall(helper, vsr(d), vsr(b), vsr(b), vsr(b), imm | (d << 10));
}
const CV = section("Power ISA I 4.6.7", { needs: "fp" });
for (const [name, op, kind] of [
  ["fctiw", 14, 0],
  ["fctiwz", 15, 4],
  ["fctiwu", 142, 1],
  ["fctiwuz", 143, 5],
  ["fctid", 814, 2],
  ["fctidz", 815, 6],
  ["fctidu", 942, 3],
  ["fctiduz", 943, 7],
] as const)
  CV(name, XB(op), (t, f) => {
    unary(t, "h_fcti", f.frt, f.frb, kind | 16);
    record(t, f.rc);
  });
for (const [name, primary, op, imm] of [
  ["fcfid", 63, 846, 0],
  ["fcfidu", 63, 974, 1],
  ["fcfids", 59, 846, SINGLE],
  ["fcfidus", 59, 974, 1 | SINGLE],
] as const)
  CV(name, `#${primary}:6 frt:5 /5 frb:5 #${op}:10 rc:1`, (t, f) => {
    unary(t, "h_fcfid", f.frt, f.frb, imm);
    record(t, f.rc);
  });
for (const [name, op, mode] of [
  ["frin", 392, 0],
  ["friz", 424, 1],
  ["frip", 456, 2],
  ["frim", 488, 3],
] as const)
  CV(name, XB(op), (t, f) => {
    unary(t, "h_fri", f.frt, f.frb, mode);
    record(t, f.rc);
  });

const CMP = section("Power ISA I 4.6.8", { needs: "fp" });
for (const [name, op, ordered] of [
  ["fcmpu", 0, 0],
  ["fcmpo", 32, 1],
] as const)
  CMP(name, `111111 bf:3 /2 fra:5 frb:5 #${op}:10 /1`, (t, f) => {
    t.setField(f.bf, t.fscalar("h_fcmp", t.b.temp(), fprBits(t, f.fra), fprBits(t, f.frb), ordered));
  });

const FPSCR = section("Power ISA I 4.6.10", { needs: "fp" });
/** FPSCR bits that mffsl and kin show: enables, NI, RN, DRN; with the status FR, FI, FPRF. */
const CONTROL = 0xff;
const STATUS = 0x7f000;
FPSCR("mffs", "111111 frt:5 00000 /5 #583:10 rc:1", (t, f) => {
  setFpr(t, f.frt, L.FPSCR);
  record(t, f.rc);
});
const write = (t: PpcTranslator, value: number, maskLo: number, maskHi: number, explicit = 0) =>
  void t.call("h_write_fpscr", value, t.const(maskLo, maskHi), explicit);
FPSCR("mffsce", "111111 frt:5 00001 /5 #583:10 /1", (t, f) => {
  const old = t.t("mov", L.FPSCR);
  write(t, t.const(0), 0xf8, 0);
  setFpr(t, f.frt, old);
}, { isa300: true });
FPSCR("mffsl", "111111 frt:5 11000 /5 #583:10 /1", (t, f) => setFpr(t, f.frt, t.mask(L.FPSCR, CONTROL | STATUS, 7)), { isa300: true });
for (const [name, sub, field] of [
  ["mffscdrn", 20, "drn"],
  ["mffscrn", 22, "rn"],
] as const)
  FPSCR(name, `111111 frt:5 #${sub}:5 frb:5 #583:10 /1`, (t, f) => {
    const old = t.mask(L.FPSCR, CONTROL, 7);
    const value = fprBits(t, f.frb);
    if (field === "rn") write(t, value, 3, 0);
    else write(t, value, 0, 7);
    setFpr(t, f.frt, old);
  }, { isa300: true });
FPSCR("mffscdrni", "111111 frt:5 10101 /2 drm:3 #583:10 /1", (t, f) => {
  const old = t.mask(L.FPSCR, CONTROL, 7);
  write(t, t.const(0, f.drm), 0, 7);
  setFpr(t, f.frt, old);
}, { isa300: true });
FPSCR("mffscrni", "111111 frt:5 10111 /3 rm:2 #583:10 /1", (t, f) => {
  const old = t.mask(L.FPSCR, CONTROL, 7);
  write(t, t.const(f.rm), 3, 0);
  setFpr(t, f.frt, old);
}, { isa300: true });
FPSCR("mcrfs", "111111 bf:3 /2 bfa:3 /7 #64:10 /1", (t, f) => t.setField(f.bf, t.call("h_mcrfs", NONE, NONE, f.bfa)));
FPSCR("mtfsfi", "111111 bf:3 /6 w:1 u:4 /1 #134:10 rc:1", (t, f) => {
  const shift = 28 - f.bf * 4;
  if (f.w) write(t, t.const(0, f.u << shift), 0, 15 << shift);
  else write(t, t.const(f.u << shift, 0), 15 << shift, 0);
  record(t, f.rc);
});
FPSCR("mtfsf", "111111 l:1 flm:8 w:1 frb:5 #711:10 rc:1", (t, f) => {
  let mask = 0;
  for (let i = 0; i < 8; i++) if (f.flm & (0x80 >> i)) mask |= 15 << (28 - i * 4);
  const value = fprBits(t, f.frb);
  if (f.l) write(t, value, -1, -1);
  else if (f.w) write(t, value, 0, mask);
  else write(t, value, mask, 0);
  record(t, f.rc);
});
FPSCR("mtfsb0", "111111 bt:5 /5 /5 #70:10 rc:1", (t, f) => {
  write(t, t.const(0), 1 << (31 - f.bt), 0);
  record(t, f.rc);
});
FPSCR("mtfsb1", "111111 bt:5 /5 /5 #38:10 rc:1", (t, f) => {
  write(t, t.const(-1, 0), 1 << (31 - f.bt), 0, 1);
  record(t, f.rc);
});

// --- decimal floating point: not emulated ---
const D = section("Power ISA I 5.6");
for (const [name, op] of [
  ["dadd", 2],
  ["dmul", 34],
  ["dcmpo", 130],
  ["dtstex", 162],
  ["dctdp", 258],
  ["dctfix", 290],
  ["ddedpd", 322],
  ["dxex", 354],
  ["dsub", 514],
  ["ddiv", 546],
  ["dcmpu", 642],
  ["dtstsf", 674],
  ["drsp", 770],
  ["dcffix", 802],
  ["denbcd", 834],
  ["diex", 866],
] as const) {
  D(name, `111011 frt:5 fra:5 frb:5 #${op}:10 rc:1`);
  D(`${name}q`, `111111 frt:5 fra:5 frb:5 #${op}:10 rc:1`);
}
for (const [name, op] of [
  ["dqua", 3],
  ["drrnd", 35],
  ["dquai", 67],
  ["drintx", 99],
  ["drintn", 227],
] as const) {
  D(name, `111011 frt:5 fra:5 frb:5 rmc:2 #${op}:8 rc:1`);
  D(`${name}q`, `111111 frt:5 fra:5 frb:5 rmc:2 #${op}:8 rc:1`);
}
for (const [name, op] of [
  ["dscli", 66],
  ["dscri", 98],
  ["dtstdc", 194],
  ["dtstdg", 226],
] as const) {
  D(name, `111011 frt:5 fra:5 sh:6 #${op}:9 rc:1`);
  D(`${name}q`, `111111 frt:5 fra:5 sh:6 #${op}:9 rc:1`);
}
