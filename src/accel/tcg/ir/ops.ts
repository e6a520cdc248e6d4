/**
 * The one table of IR operations. A record is 16 bytes: op u16, d u16, a u16, b u16, imm i64; d, a, b are byte offsets of
 * 8-byte slots (vectors: 16-byte) in the vCPU's state, as is c in the upper half of imm where an operation has three
 * operands. Value operations carry their meaning as a WebAssembly expression; the others are control, memory and calls,
 * lowered by each tier.
 */
import { type Expr, exprInputs, type Operand, parseExpr } from "./expr.js";

/** What a record's result is: a slot, a vector slot, or nothing. */
export type ResultKind = "i64" | "v128" | "none";

export interface OpDef {
  readonly code: number;
  readonly name: string;
  readonly result: ResultKind;
  readonly expr?: Expr | undefined;
  readonly inputs: readonly { which: Operand; type: "i64" | "v128" }[];
  /** Control, memory, call, state: lowered by name in the tiers. */
  readonly special: boolean;
  /** Bytes moved, for memory operations. */
  readonly size: number;
  readonly doc: string;
}

const table: OpDef[] = [];
const byName = new Map<string, OpDef>();

function value(name: string, expr: string, doc = ""): void {
  const e = parseExpr(expr);
  const result: ResultKind = e.type === "v128" ? "v128" : "i64";
  push({ code: table.length, name, result, expr: e, inputs: exprInputs(e), special: false, size: 0, doc });
}

function special(name: string, result: ResultKind, inputs: string, size: number, doc: string): void {
  const list = inputs
    .split(" ")
    .filter(Boolean)
    .map((s) => (s[0] === "v" ? { which: s[1] as Operand, type: "v128" as const } : { which: s as Operand, type: "i64" as const }));
  push({ code: table.length, name, result, inputs: list, special: true, size, doc });
}

function push(def: OpDef): void {
  if (byName.has(def.name)) throw new Error(`IR operation ${def.name} twice`);
  table.push(def);
  byName.set(def.name, def);
}

// --- control ---
special("exit", "none", "", 0, "continue at the state's RIP");
special("jmp", "none", "", 0, "RIP = imm, continue there");
special("jnz", "none", "a", 0, "if a: RIP = imm, continue there; else the next record");
special("jind", "none", "a", 0, "RIP = a, continue there");
special("skipz", "none", "a", 0, "if a is zero skip the next imm records");
special("call", "i64", "a b", 0, "d = helper[imm hi](a, b, imm lo); may fault, may read and write all state: tier 0 only");
special("callp", "i64", "a b", 0, "the same for a helper that neither faults nor touches slots: both tiers");
special("callcc", "i64", "a b", 0, "like callp for a helper that reads the lazy flags in the state");
special("slowcall", "i64", "a b", 0, "like call, on a path compiled code rarely takes: tier 1 leaves the region there");
special("raise", "none", "", 0, "exception: vector imm lo, error code imm hi");
special("raisenz", "none", "a", 0, "if a: exception vector imm lo, error code imm hi");
// --- memory: address = (a + imm lo) [mod 2^32 if imm hi bit 8], MMU index imm hi bits 0-1 ---
for (const [n, size] of [["8u", 1], ["8s", 1], ["16u", 2], ["16s", 2], ["32u", 4], ["32s", 4], ["64", 8]] as [string, number][])
  special(`ld${n}`, "i64", "a", size, `d = guest ${size * 8}-bit value at a + disp`);
for (const size of [1, 2, 4, 8]) special(`st${size * 8}`, "none", "a b", size, `guest ${size * 8}-bit value at a + disp = b`);
special("ldv", "v128", "a", 16, "d = guest 16 bytes at a + disp");
special("stv", "none", "a vb", 16, "guest 16 bytes at a + disp = b");
special("segchk", "none", "a", 0, "check offset a + disp against a segment: imm hi = MMU bits unused, segment << 16 | write << 12 | size");
// --- state words that are not slots ---
special("ldst32", "i64", "", 0, "d = u32 state word at offset imm lo");
special("setcc", "none", "a b", 0, "CC_DST = a, CC_SRC = b, CC_OP = imm lo");
special("setcci", "none", "a", 0, "CC_DST = a, CC_SRC = sign-extended imm lo, CC_OP = imm hi");

// --- 64-bit ---
value("movi", "imm");
value("mov", "a");
value("add", "i64.add(a, b)");
value("sub", "i64.sub(a, b)");
value("addi", "i64.add(a, imm)");
value("lea", "i64.add(a, i64.shl(b, u32(imm32)))", "a + (b << imm)");
value("and", "i64.and(a, b)");
value("or", "i64.or(a, b)");
value("xor", "i64.xor(a, b)");
value("andi", "i64.and(a, imm)");
value("ori", "i64.or(a, imm)");
value("xori", "i64.xor(a, imm)");
value("shl", "i64.shl(a, b)");
value("shr", "i64.shr_u(a, b)");
value("sar", "i64.shr_s(a, b)");
value("shli", "i64.shl(a, imm)");
value("shri", "i64.shr_u(a, imm)");
value("sari", "i64.shr_s(a, imm)");
value("rotl", "i64.rotl(a, b)");
value("rotr", "i64.rotr(a, b)");
value("mul", "i64.mul(a, b)");
value("muli", "i64.mul(a, imm)");
value("neg", "i64.sub(0L, a)");
value("not", "i64.xor(a, -1L)");
value("clz", "i64.clz(a)");
value("ctz", "i64.ctz(a)");
value("popcnt", "i64.popcnt(a)");
value("parity", "i64.xor(i64.and(i64.popcnt(i64.and(a, 255L)), 1L), 1L)", "1 if the low byte has an even number of ones");
// --- 32-bit, results zero-extended ---
value("add32", "i32.add(a32, b32)");
value("sub32", "i32.sub(a32, b32)");
value("addi32", "i32.add(a32, imm32)");
value("and32", "i32.and(a32, b32)");
value("or32", "i32.or(a32, b32)");
value("xor32", "i32.xor(a32, b32)");
value("andi32", "i32.and(a32, imm32)");
value("ori32", "i32.or(a32, imm32)");
value("xori32", "i32.xor(a32, imm32)");
value("shl32", "i32.shl(a32, b32)");
value("shr32", "i32.shr_u(a32, b32)");
value("sar32", "i32.shr_s(a32, b32)");
value("shli32", "i32.shl(a32, imm32)");
value("shri32", "i32.shr_u(a32, imm32)");
value("sari32", "i32.shr_s(a32, imm32)");
value("rotl32", "i32.rotl(a32, b32)");
value("rotr32", "i32.rotr(a32, b32)");
value("mul32", "i32.mul(a32, b32)");
value("muli32", "i32.mul(a32, imm32)");
value("neg32", "i32.sub(0, a32)");
value("not32", "i32.xor(a32, -1)");
value("clz32", "i32.clz(a32)");
value("lea32", "i32.add(a32, i32.shl(b32, imm32))");
value("bswap32", "i32.or(i32.and(i32.rotl(a32, 8), 0x00ff00ff), i32.and(i32.rotr(a32, 8), 0xff00ff00))");
value(
  "bswap64",
  "i64.or(u32(i32.or(i32.and(i32.rotl(i32.wrap_i64(i64.shr_u(a, 32L)), 8), 0x00ff00ff), i32.and(i32.rotr(i32.wrap_i64(i64.shr_u(a, 32L)), 8), 0xff00ff00))), i64.shl(u32(i32.or(i32.and(i32.rotl(a32, 8), 0x00ff00ff), i32.and(i32.rotr(a32, 8), 0xff00ff00))), 32L))",
);
// --- widening ---
value("ext8u", "i64.and(a, 255L)");
value("ext8s", "i64.extend8_s(a)");
value("ext16u", "i64.and(a, 0xffffL)");
value("ext16s", "i64.extend16_s(a)");
value("ext32u", "u32(a32)");
value("ext32s", "s32(a32)");
value("ext8s32", "i32.extend8_s(a32)");
value("ext16s32", "i32.extend16_s(a32)");
value("ext8h", "i64.and(i64.shr_u(a, 8L), 255L)", "bits 8-15");
// --- parts of registers ---
value("dep8", "i64.or(i64.and(a, -256L), i64.and(b, 255L))", "a with bits 0-7 from b");
value("dep8h", "i64.or(i64.and(a, -65281L), i64.shl(i64.and(b, 255L), 8L))", "a with bits 8-15 from b's low byte");
value("dep16", "i64.or(i64.and(a, -65536L), i64.and(b, 0xffffL))", "a with bits 0-15 from b");
// --- comparisons: 0 or 1 ---
for (const [n, w] of [["eq", "eq"], ["ne", "ne"], ["lt", "lt_s"], ["ltu", "lt_u"], ["le", "le_s"], ["leu", "le_u"]] as const) {
  value(`set${n}`, `u32(i64.${w}(a, b))`);
  value(`set${n}32`, `u32(i32.${w}(a32, b32))`);
  value(`set${n}i`, `u32(i64.${w}(a, imm))`);
  value(`set${n}i32`, `u32(i32.${w}(a32, imm32))`);
}
value("select", "select(a, b, i32.wrap_i64(c))", "c (0 or 1) ? a : b");
// Three-way: 8 less, 4 greater, 2 equal, or'ed with c (b for comparisons with zero): a condition field of PowerPC.
for (const [n, x, y, lt, gt] of [
  ["s", "a", "b", "i64.lt_s", "i64.gt_s"],
  ["u", "a", "b", "i64.lt_u", "i64.gt_u"],
  ["s32", "a32", "b32", "i32.lt_s", "i32.gt_s"],
  ["u32", "a32", "b32", "i32.lt_u", "i32.gt_u"],
] as const)
  value(`cmp_${n}`, `i64.or(c, select(8L, select(4L, 2L, ${gt}(${x}, ${y})), ${lt}(${x}, ${y})))`);
value("cmp_s0", "i64.or(b, select(8L, select(4L, 2L, i64.gt_s(a, 0L)), i64.lt_s(a, 0L)))");
value("cmp_s032", "i64.or(b, select(8L, select(4L, 2L, i32.gt_s(a32, 0)), i32.lt_s(a32, 0)))");
value("carries", "i64.or(i64.and(a, b), i64.and(i64.or(a, b), i64.xor(c, -1L)))", "c = a + b (+ 1): bit i = carry out of bit i");
value("andc", "i64.and(a, i64.xor(b, -1L))", "a & ~b");
value("orc", "i64.or(a, i64.xor(b, -1L))", "a | ~b");
value("nand", "i64.xor(i64.and(a, b), -1L)");
value("nor", "i64.xor(i64.or(a, b), -1L)");
value("eqv", "i64.xor(i64.xor(a, b), -1L)");
value("rotli", "i64.rotl(a, imm)");
value("rotli32", "i32.rotl(a32, imm32)");
value("ctz32", "i32.ctz(a32)");
value("bit", "i64.and(i64.shr_u(a, imm), 1L)", "bit imm of a");
value("bswap16", "i64.or(i64.shl(i64.and(a, 255L), 8L), i64.and(i64.shr_u(a, 8L), 255L))");
value("mulhi32u", "i64.shr_u(i64.mul(u32(a32), u32(b32)), 32L)");
value("divu32", "i64.div_u(a, b)", "b is not zero");
value("remu32", "i64.rem_u(a, b)", "b is not zero");
value("divs32", "i64.div_s(a, b)", "b is not zero, no overflow");
value("rems32", "i64.rem_s(a, b)", "b is not zero");

// --- vectors: moves ---
value("vmov", "va");
value("vzero", "vzero");
value("vfromlo", "i64x2.replace_lane[0](vzero, a)", "lane 0 = a, lane 1 = 0");
value("vfrom32", "i32x4.replace_lane[0](vzero, a32)");
value("vins64_0", "i64x2.replace_lane[0](va, b)");
value("vins64_1", "i64x2.replace_lane[1](va, b)");
value("vlane64_0", "i64x2.extract_lane[0](va)");
value("vlane64_1", "i64x2.extract_lane[1](va)");
for (let i = 0; i < 4; i++) {
  value(`vins32_${i}`, `i32x4.replace_lane[${i}](va, b32)`);
  value(`vlane32_${i}`, `u32(i32x4.extract_lane[${i}](va))`);
}
for (let i = 0; i < 8; i++) {
  value(`vins16_${i}`, `i16x8.replace_lane[${i}](va, b32)`);
  value(`vlane16_${i}`, `u32(i16x8.extract_lane_u[${i}](va))`);
}
for (let i = 0; i < 16; i++) {
  value(`vins8_${i}`, `i8x16.replace_lane[${i}](va, b32)`);
  value(`vlane8_${i}`, `u32(i8x16.extract_lane_u[${i}](va))`);
}
value("vsplat64", "i64x2.splat(a)");
value("vsplati", "i64x2.splat(imm)");
value("vins64_1i", "i64x2.replace_lane[1](va, imm)");
value("vlow", "i64x2.replace_lane[1](va, 0L)", "upper half cleared");
value("vmerge_lo", "i64x2.replace_lane[0](va, i64x2.extract_lane[0](vb))", "lane 0 from b");
value("vmerge_lo32", "i32x4.replace_lane[0](va, i32x4.extract_lane[0](vb))");
// --- vectors: lane-wise ---
for (const n of ["and", "or", "xor"]) value(`v${n}`, `v128.${n}(va, vb)`);
value("vandn", "v128.andnot(vb, va)", "~a & b");
const SAT = ["add_sat_s", "add_sat_u", "sub_sat_s", "sub_sat_u", "min_s", "min_u", "max_s", "max_u", "avgr_u"];
const lanes: [string, string[]][] = [
  ["i8x16", ["add", "sub", ...SAT, "eq", "gt_s"]],
  ["i16x8", ["add", "sub", "mul", ...SAT, "eq", "gt_s"]],
  ["i32x4", ["add", "sub", "mul", "min_s", "min_u", "max_s", "max_u", "eq", "gt_s"]],
  ["i64x2", ["add", "sub", "eq", "gt_s"]],
];
for (const [t, names] of lanes) for (const n of names) value(`${t}.${n}`, `${t}.${n}(va, vb)`);
for (const t of ["i8x16", "i16x8", "i32x4"]) value(`${t}.abs`, `${t}.abs(va)`);
for (const [t, m] of [["i16x8", 15], ["i32x4", 31], ["i64x2", 63]] as const) {
  // Shift counts are the whole low 64 bits of b: too large gives zero (or all sign bits).
  value(`${t}.shl`, `select(${t}.shl(va, i32.wrap_i64(b)), vzero, i64.le_u(b, ${m}L))`);
  value(`${t}.shr_u`, `select(${t}.shr_u(va, i32.wrap_i64(b)), vzero, i64.le_u(b, ${m}L))`);
  if (m !== 63) value(`${t}.shr_s`, `${t}.shr_s(va, select(i32.wrap_i64(b), ${m}, i64.le_u(b, ${m}L)))`);
  value(`${t}.shli`, `${t}.shl(va, imm32)`, "imm within the lane");
  value(`${t}.shri_u`, `${t}.shr_u(va, imm32)`, "imm within the lane");
  if (m !== 63) value(`${t}.shri_s`, `${t}.shr_s(va, imm32)`, "imm within the lane");
}
value("i16x8.dot", "i32x4.dot_i16x8_s(va, vb)", "PMADDWD");
value("i16x8.mulhi_s", "i8x16.shuffle[2,3,6,7,10,11,14,15,18,19,22,23,26,27,30,31](i32x4.extmul_low_i16x8_s(va, vb), i32x4.extmul_high_i16x8_s(va, vb))");
value("i16x8.mulhi_u", "i8x16.shuffle[2,3,6,7,10,11,14,15,18,19,22,23,26,27,30,31](i32x4.extmul_low_i16x8_u(va, vb), i32x4.extmul_high_i16x8_u(va, vb))");
value(
  "i16x8.mulhrs",
  "i8x16.shuffle[0,1,4,5,8,9,12,13,16,17,20,21,24,25,28,29](i32x4.shr_s(i32x4.add(i32x4.shr_s(i32x4.extmul_low_i16x8_s(va, vb), 14), i32x4.splat(1)), 1), i32x4.shr_s(i32x4.add(i32x4.shr_s(i32x4.extmul_high_i16x8_s(va, vb), 14), i32x4.splat(1)), 1))",
  "PMULHRSW",
);
value("i32x4.muludq", "i64x2.extmul_low_i32x4_u(i8x16.shuffle[0,1,2,3,8,9,10,11,0,1,2,3,8,9,10,11](va, va), i8x16.shuffle[0,1,2,3,8,9,10,11,0,1,2,3,8,9,10,11](vb, vb))", "PMULUDQ");
value("i32x4.muldq", "i64x2.extmul_low_i32x4_s(i8x16.shuffle[0,1,2,3,8,9,10,11,0,1,2,3,8,9,10,11](va, va), i8x16.shuffle[0,1,2,3,8,9,10,11,0,1,2,3,8,9,10,11](vb, vb))", "PMULDQ");
value(
  "i8x16.sad",
  "i64x2.extend_low_i32x4_u(i8x16.shuffle[0,1,2,3,8,9,10,11,0,0,0,0,0,0,0,0](i32x4.add(i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_u(v128.or(i8x16.sub_sat_u(va, vb), i8x16.sub_sat_u(vb, va)))), i64x2.shr_u(i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_u(v128.or(i8x16.sub_sat_u(va, vb), i8x16.sub_sat_u(vb, va)))), 32)), vzero))",
  "PSADBW",
);
value(
  "i8x16.maddubs",
  "i16x8.add_sat_s(i16x8.mul(v128.and(va, i16x8.splat(255)), i16x8.shr_s(i16x8.shl(vb, 8), 8)), i16x8.mul(i16x8.shr_u(va, 8), i16x8.shr_s(vb, 8)))",
  "PMADDUBSW: a unsigned, b signed",
);
value("i8x16.packss", "i8x16.narrow_i16x8_s(va, vb)");
value("i8x16.packus", "i8x16.narrow_i16x8_u(va, vb)");
value("i16x8.packss", "i16x8.narrow_i32x4_s(va, vb)");
value("i16x8.packus", "i16x8.narrow_i32x4_u(va, vb)");
const unpack = (size: number, high: boolean) => {
  const out: number[] = [];
  for (let i = 0; i < 8 / size; i++) for (const src of [0, 16]) for (let k = 0; k < size; k++) out.push(src + (high ? 8 : 0) + i * size + k);
  return out.join(",");
};
for (const size of [1, 2, 4, 8]) {
  value(`vunpackl${size * 8}`, `i8x16.shuffle[${unpack(size, false)}](va, vb)`);
  value(`vunpackh${size * 8}`, `i8x16.shuffle[${unpack(size, true)}](va, vb)`);
}
value("vswizzle", "i8x16.swizzle(va, vb)", "byte i = b[i] < 16 ? a[b[i]] : 0");
value("vpshufb", "i8x16.swizzle(va, v128.and(vb, i8x16.splat(143)))", "PSHUFB");
value("vbitselect", "v128.bitselect(va, vb, vc)");
value("vblendv8", "v128.bitselect(vb, va, i8x16.shr_s(vc, 7))", "per byte: sign of c ? b : a");
value("vblendv32", "v128.bitselect(vb, va, i32x4.shr_s(vc, 31))");
value("vblendv64", "v128.bitselect(vb, va, i64x2.shr_s(vc, 63))");
value("vmask8", "u32(i8x16.bitmask(va))");
value("vmask32", "u32(i32x4.bitmask(va))");
value("vmask64", "u32(i64x2.bitmask(va))");
value("vtestz", "u32(i32.eqz(v128.any_true(v128.and(va, vb))))", "1 if a & b is zero");
value("vtestc", "u32(i32.eqz(v128.any_true(v128.andnot(vb, va))))", "1 if ~a & b is zero");
for (const [n, from, to] of [
  ["bw", "i8x16", "i16x8"],
  ["wd", "i16x8", "i32x4"],
  ["dq", "i32x4", "i64x2"],
] as const) {
  value(`vext_${n}_s`, `${to}.extend_low_${from}_s(va)`);
  value(`vext_${n}_u`, `${to}.extend_low_${from}_u(va)`);
}
for (const t of ["i8x16", "i16x8", "i32x4"] as const) {
  // PSIGN: negate where b < 0, zero where b = 0.
  const m = t === "i8x16" ? 7 : t === "i16x8" ? 15 : 31;
  value(`${t}.sign`, `v128.andnot(${t}.sub(v128.xor(va, ${t}.shr_s(vb, ${m})), ${t}.shr_s(vb, ${m})), ${t}.eq(vb, vzero))`);
}
value("vswap", "i8x16.shuffle[8,9,10,11,12,13,14,15,0,1,2,3,4,5,6,7](va, va)", "halves exchanged");
value("vrev64", "i8x16.shuffle[7,6,5,4,3,2,1,0,15,14,13,12,11,10,9,8](va, va)", "bytes of each half reversed");
value("vrev128", "i8x16.shuffle[15,14,13,12,11,10,9,8,7,6,5,4,3,2,1,0](va, va)", "all bytes reversed");
value("vswap32", "i8x16.shuffle[4,5,6,7,0,1,2,3,12,13,14,15,8,9,10,11](va, va)", "words of each half exchanged");
value("vswap16", "i8x16.shuffle[6,7,4,5,2,3,0,1,14,15,12,13,10,11,8,9](va, va)", "16-bit pieces of each half in reverse");
value("vrevh", "i8x16.shuffle[1,0,3,2,5,4,7,6,9,8,11,10,13,12,15,14](va, va)", "bytes of each 16 bits reversed");
value("vrevw", "i8x16.shuffle[3,2,1,0,7,6,5,4,11,10,9,8,15,14,13,12](va, va)", "bytes of each word reversed");
value("vsplat32", "i32x4.splat(a32)");
value("vsplat16", "i16x8.splat(a32)");
value("vsplat8", "i8x16.splat(a32)");
value("fsel", "i64x2.replace_lane[1](select(vc, vb, f64.ge(f64x2.extract_lane[0](va), f64.convert_i32_s(0))), 0L)", "lane 0 = a >= 0 ? c : b; lane 1 = 0");
value("vnot", "v128.not(va)");
value("vnor", "v128.not(v128.or(va, vb))");
value("vnand", "v128.not(v128.and(va, vb))");
value("veqv", "v128.not(v128.xor(va, vb))");
value("vorc", "v128.or(va, v128.not(vb))");
for (const t of ["i8x16", "i16x8", "i32x4"]) value(`${t}.gt_u`, `${t}.gt_u(va, vb)`);
value("i64x2.gt_u", "i64x2.gt_s(i64x2.sub(va, i64x2.splat(0x8000000000000000L)), i64x2.sub(vb, i64x2.splat(0x8000000000000000L)))");
value("vones", "u32(i8x16.all_true(va))", "1 if no byte is zero");
value("vzeros", "u32(i32.eqz(v128.any_true(va)))", "1 if all is zero");
value("f64x2.neg", "f64x2.neg(va)");
value("f64x2.abs", "f64x2.abs(va)");
value("f32x4.neg", "f32x4.neg(va)");
value("f32x4.abs", "f32x4.abs(va)");
// --- big-endian elements in the layout of PowerPC registers: byte element e is byte e ^ 7 ---
const elements = (list: readonly number[]) =>
  Array.from({ length: 16 }, (_, j) => {
    const e = list[j ^ 7]!;
    return e < 16 ? e ^ 7 : 16 + ((e - 16) ^ 7);
  }).join(",");
const wide = (size: number, list: readonly number[]) => list.flatMap((e) => Array.from({ length: size }, (_, k) => e * size + k));
for (let n = 1; n < 16; n++)
  value(`vsldoi${n}`, `i8x16.shuffle[${elements(Array.from({ length: 16 }, (_, i) => i + n))}](va, vb)`, "bytes n to n + 15 of a, b");
for (const size of [1, 2, 4]) {
  const n = 16 / size;
  const merge = (from: number) => wide(size, Array.from({ length: n }, (_, i) => (i & 1 ? n : 0) + from + (i >> 1)));
  value(`vmergeh${size * 8}`, `i8x16.shuffle[${elements(merge(0))}](va, vb)`, "high elements of a and b in turn");
  value(`vmergel${size * 8}`, `i8x16.shuffle[${elements(merge(n / 2))}](va, vb)`, "low elements of a and b in turn");
}
for (const [name, odd] of [["vmergeew", 0], ["vmergeow", 1]] as const)
  value(name, `i8x16.shuffle[${elements(wide(4, [odd, 4 + odd, 2 + odd, 6 + odd]))}](va, vb)`, "even (odd) words of a and b in turn");
for (const size of [2, 4, 8])
  value(
    `vpackm${size * 8}`,
    `i8x16.shuffle[${elements(Array.from({ length: 32 / size }, (_, i) => i * size).flatMap((e) => Array.from({ length: size / 2 }, (_, k) => e + size / 2 + k)))}](va, vb)`,
    "low halves of the elements of a, then of b",
  );
for (const [a, b] of [[0, 0], [0, 1], [1, 0], [1, 1]] as const)
  value(`vpermdi${a}${b}`, `i8x16.shuffle[${elements(wide(8, [a, 2 + b]))}](va, vb)`, "doubleword of a, doubleword of b");
for (const [name, from, to] of [["bh", "i8x16", "i16x8"], ["hw", "i16x8", "i32x4"], ["wd", "i32x4", "i64x2"]] as const)
  for (const half of [0, 1])
    value(
      `vunpack${half ? "l" : "h"}s${name}`,
      `i8x16.shuffle[8,9,10,11,12,13,14,15,0,1,2,3,4,5,6,7](${to}.extend_${half ? "high" : "low"}_${from}_s(va), vzero)`,
      "high (low) elements of a, sign-extended",
    );
value(
  "vperm",
  "v128.or(i8x16.swizzle(va, v128.xor(v128.and(vc, i8x16.splat(31)), i8x16.splat(7))), i8x16.swizzle(vb, i8x16.sub(v128.xor(v128.and(vc, i8x16.splat(31)), i8x16.splat(7)), i8x16.splat(16))))",
  "byte element i = element c[i] of a, b",
);
// --- binary floating point in registers of 64 bits ---
value(
  "f32_f64",
  "select(i64.or(i64.shl(i64.and(a, 0x80000000L), 32L), i64.or(0x7ff0000000000000L, i64.shl(i64.and(a, 0x7fffffL), 29L))), i64.reinterpret_f64(f64.promote_f32(f32.reinterpret_i32(a32))), i64.eq(i64.and(a, 0x7f800000L), 0x7f800000L))",
  "the double with the bits of a single: nothing is quieted or signalled",
);
value(
  "f64_f32",
  "select(i64.or(i64.and(i64.shr_u(a, 32L), 0xc0000000L), i64.and(i64.shr_u(a, 29L), 0x3fffffffL)), i64.or(i64.and(i64.shr_u(a, 32L), 0x80000000L), select(i64.shr_u(i64.or(0x10000000000000L, i64.and(a, 0xfffffffffffffL)), i64.sub(926L, i64.and(i64.shr_u(a, 52L), 2047L))), 0L, i64.ge_u(i64.and(i64.shr_u(a, 52L), 2047L), 874L))), i64.gt_u(i64.and(i64.shr_u(a, 52L), 2047L), 896L))",
  "the single with the bits of a double that a single can hold: truncated, nothing is signalled",
);
value("vdup_lo", "i8x16.shuffle[0,1,2,3,4,5,6,7,0,1,2,3,4,5,6,7](va, va)");

// --- floating point: native when MXCSR allows and nothing is special, else an exact helper ---
for (const t of ["32", "64"] as const) {
  for (const n of ["add", "sub", "mul", "div"]) special(`f${n}${t}`, "v128", "va vb", 0, `lane 0: f${t} ${n}; other lanes from a`);
  special(`fsqrt${t}`, "v128", "va vb", 0, "lane 0 = square root of b's; other lanes from a");
  for (const n of ["add", "sub", "mul", "div"]) special(`vf${n}${t}`, "v128", "va vb", 0, `packed f${t} ${n}`);
  special(`fcom${t}`, "i64", "va vb", 0, "flags image of comparing lane 0 (imm as the compare helper takes it)");
}
special("cvtf32f64", "v128", "va vb", 0, "CVTSS2SD: lane 0 = f64 of b's f32; lane 1 from a");
special("cvtf64f32", "v128", "va vb", 0, "CVTSD2SS: lane 0 = f32 of b's f64; other lanes from a");
special("cvti32f64", "v128", "va b", 0, "CVTSI2SD from 32 bits: always exact");
special("cvti64f64", "v128", "va b", 0, "CVTSI2SD from 64 bits");
special("cvti32f32", "v128", "va b", 0, "CVTSI2SS from 32 bits");
special("cvttf64i32", "i64", "va", 0, "CVTTSD2SI to 32 bits");
special("cvttf64i64", "i64", "va", 0, "CVTTSD2SI to 64 bits");
special("cvttf32i32", "i64", "va", 0, "CVTTSS2SI to 32 bits");
special("cvttf32i64", "i64", "va", 0, "CVTTSS2SI to 64 bits");

// Exact helper imm hi, called with imm lo; where a name says what it computes, natively when nothing is special.
special("fhelper", "i64", "a b", 0, "d = helper(a, b, imm lo): may raise while exceptions are unmasked");
special("fvhelper", "v128", "va vb", 0, "d = what helper(address of a copy of a, address of a copy of b, imm lo) leaves at the first");
special("vcallp", "v128", "va vb", 0, "as fvhelper, for a helper that never raises");
special("fv3helper", "v128", "va vb vc", 0, "as fvhelper with a third operand: c imm lo bits 0-15, the helper's imm is bits 16-31");
special("vcall3p", "v128", "va vb vc", 0, "as fv3helper, for a helper that never raises");
for (const t of ["32", "64"] as const) {
  special(`vfmin${t}`, "v128", "va vb", 0, "a < b ? a : b");
  special(`vfmax${t}`, "v128", "va vb", 0, "a > b ? a : b");
  special(`vfcmp${t}`, "v128", "va vb", 0, "predicate imm lo (0-7 as CMPPS): all ones or zero");
  special(`vfsqrt${t}`, "v128", "va vb", 0, "square roots of b");
  special(`vfround${t}`, "v128", "va vb", 0, "b to integral values, imm lo as ROUNDPS");
}
special("vcvti32f32", "v128", "va vb", 0, "CVTDQ2PS of b");
special("vcvtf32i32", "v128", "va vb", 0, "CVTPS2DQ of b (imm lo 1: CVTTPS2DQ)");
special("vcvtf32f64", "v128", "va vb", 0, "CVTPS2PD of b, whose upper half is zero");
value("vcvti32f64", "f64x2.convert_low_i32x4_s(va)", "CVTDQ2PD: always exact");
value(
  "vpermi",
  "i8x16.swizzle(va, i8x16.shuffle[0,16,1,17,2,18,3,19,4,20,5,21,6,22,7,23](v128.and(i64x2.splat(imm), i8x16.splat(15)), v128.and(i64x2.splat(i64.shr_u(imm, 4L)), i8x16.splat(15))))",
  "byte i = a[nibble i of imm]; tier 1 makes it a constant shuffle",
);
value("vpairs0_32", "i8x16.shuffle[0,1,2,3,8,9,10,11,16,17,18,19,24,25,26,27](va, vb)", "even 32-bit lanes of a, then of b");
value("vpairs1_32", "i8x16.shuffle[4,5,6,7,12,13,14,15,20,21,22,23,28,29,30,31](va, vb)", "odd 32-bit lanes of a, then of b");
value("vpairs0_16", "i8x16.shuffle[0,1,4,5,8,9,12,13,16,17,20,21,24,25,28,29](va, vb)", "even 16-bit lanes of a, then of b");
value("vpairs1_16", "i8x16.shuffle[2,3,6,7,10,11,14,15,18,19,22,23,26,27,30,31](va, vb)", "odd 16-bit lanes of a, then of b");

/** All operations, by code. */
export const OPS: readonly OpDef[] = table;

/** Code of an operation. @throws Error for an unknown name (a bug of ours) */
export function opCode(name: string): number {
  const d = byName.get(name);
  if (!d) throw new Error(`no IR operation ${name}`);
  return d.code;
}

export function opDef(name: string): OpDef | undefined {
  return byName.get(name);
}
