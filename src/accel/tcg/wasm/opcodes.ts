/** WebAssembly instructions without control flow: mnemonic to encoding and type. Source: WebAssembly Core 2.0 §5.4. */

export type ValType = "i32" | "i64" | "f32" | "f64" | "v128" | "none";

/** Value type encodings (§5.3.1). */
export const VALTYPE = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b, none: 0x40 } as const;

export interface WasmOp {
  readonly name: string;
  readonly bytes: readonly number[];
  readonly params: readonly ValType[];
  readonly result: ValType;
  /** Immediate: a memory argument, a lane number, or none. */
  readonly imm: "none" | "mem" | "lane";
}

const ops = new Map<string, WasmOp>();

function leb(n: number): number[] {
  return n < 128 ? [n] : [(n & 127) | 128, n >> 7];
}

function add(name: string, bytes: number[], params: ValType[], result: ValType, imm: WasmOp["imm"] = "none"): void {
  ops.set(name, { name, bytes, params, result, imm });
}

/** Numbered from `first`: names separated by blanks; "-" skips a number. */
function seq(prefix: string, first: number, names: string, params: ValType[], result: ValType): void {
  let code = first;
  for (const n of names.split(" ")) {
    if (n !== "-") add(`${prefix}.${n}`, [code], params, result);
    code++;
  }
}

const memOps: [string, number, ValType, boolean][] = [
  ["i32.load", 0x28, "i32", false],
  ["i64.load", 0x29, "i64", false],
  ["f32.load", 0x2a, "f32", false],
  ["f64.load", 0x2b, "f64", false],
  ["i32.load8_s", 0x2c, "i32", false],
  ["i32.load8_u", 0x2d, "i32", false],
  ["i32.load16_s", 0x2e, "i32", false],
  ["i32.load16_u", 0x2f, "i32", false],
  ["i64.load8_s", 0x30, "i64", false],
  ["i64.load8_u", 0x31, "i64", false],
  ["i64.load16_s", 0x32, "i64", false],
  ["i64.load16_u", 0x33, "i64", false],
  ["i64.load32_s", 0x34, "i64", false],
  ["i64.load32_u", 0x35, "i64", false],
  ["i32.store", 0x36, "i32", true],
  ["i64.store", 0x37, "i64", true],
  ["f32.store", 0x38, "f32", true],
  ["f64.store", 0x39, "f64", true],
  ["i32.store8", 0x3a, "i32", true],
  ["i32.store16", 0x3b, "i32", true],
  ["i64.store8", 0x3c, "i64", true],
  ["i64.store16", 0x3d, "i64", true],
  ["i64.store32", 0x3e, "i64", true],
];
for (const [name, code, t, store] of memOps) add(name, [code], store ? ["i32", t] : ["i32"], store ? "none" : t, "mem");

add("i32.eqz", [0x45], ["i32"], "i32");
seq("i32", 0x46, "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u", ["i32", "i32"], "i32");
add("i64.eqz", [0x50], ["i64"], "i32");
seq("i64", 0x51, "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u", ["i64", "i64"], "i32");
seq("f32", 0x5b, "eq ne lt gt le ge", ["f32", "f32"], "i32");
seq("f64", 0x61, "eq ne lt gt le ge", ["f64", "f64"], "i32");
seq("i32", 0x67, "clz ctz popcnt", ["i32"], "i32");
seq("i32", 0x6a, "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr", ["i32", "i32"], "i32");
seq("i64", 0x79, "clz ctz popcnt", ["i64"], "i64");
seq("i64", 0x7c, "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr", ["i64", "i64"], "i64");
seq("f32", 0x8b, "abs neg ceil floor trunc nearest sqrt", ["f32"], "f32");
seq("f32", 0x92, "add sub mul div min max copysign", ["f32", "f32"], "f32");
seq("f64", 0x99, "abs neg ceil floor trunc nearest sqrt", ["f64"], "f64");
seq("f64", 0xa0, "add sub mul div min max copysign", ["f64", "f64"], "f64");
add("i32.wrap_i64", [0xa7], ["i64"], "i32");
add("i64.extend_i32_s", [0xac], ["i32"], "i64");
add("i64.extend_i32_u", [0xad], ["i32"], "i64");
add("f32.convert_i32_s", [0xb2], ["i32"], "f32");
add("f32.convert_i64_s", [0xb4], ["i64"], "f32");
add("f32.demote_f64", [0xb6], ["f64"], "f32");
add("f64.convert_i32_s", [0xb7], ["i32"], "f64");
add("f64.convert_i64_s", [0xb9], ["i64"], "f64");
add("f64.promote_f32", [0xbb], ["f32"], "f64");
add("i32.reinterpret_f32", [0xbc], ["f32"], "i32");
add("i64.reinterpret_f64", [0xbd], ["f64"], "i64");
add("f32.reinterpret_i32", [0xbe], ["i32"], "f32");
add("f64.reinterpret_i64", [0xbf], ["i64"], "f64");
add("i32.extend8_s", [0xc0], ["i32"], "i32");
add("i32.extend16_s", [0xc1], ["i32"], "i32");
add("i64.extend8_s", [0xc2], ["i64"], "i64");
add("i64.extend16_s", [0xc3], ["i64"], "i64");
add("i64.extend32_s", [0xc4], ["i64"], "i64");
add("i32.trunc_sat_f64_s", [0xfc, 2], ["f64"], "i32");
add("i64.trunc_sat_f32_s", [0xfc, 4], ["f32"], "i64");
add("i64.trunc_sat_f64_s", [0xfc, 6], ["f64"], "i64");
add("memory.copy", [0xfc, 10, 0, 0], ["i32", "i32", "i32"], "none");

// --- SIMD (prefix 0xfd) ---
function v(name: string, code: number, params: ValType[], result: ValType, imm: WasmOp["imm"] = "none"): void {
  add(name, [0xfd, ...leb(code)], params, result, imm);
}
const V: ValType[] = ["v128"];
const VV: ValType[] = ["v128", "v128"];
const VVV: ValType[] = ["v128", "v128", "v128"];
v("v128.load", 0, ["i32"], "v128", "mem");
v("v128.store", 11, ["i32", "v128"], "none", "mem");
for (const [i, [n, t]] of (
  [["i8x16", "i32"], ["i16x8", "i32"], ["i32x4", "i32"], ["i64x2", "i64"], ["f32x4", "f32"], ["f64x2", "f64"]] as [string, ValType][]
).entries())
  v(`${n}.splat`, 15 + i, [t], "v128");
v("i8x16.swizzle", 14, VV, "v128");
v("i8x16.extract_lane_s", 21, V, "i32", "lane");
v("i8x16.extract_lane_u", 22, V, "i32", "lane");
v("i8x16.replace_lane", 23, ["v128", "i32"], "v128", "lane");
v("i16x8.extract_lane_s", 24, V, "i32", "lane");
v("i16x8.extract_lane_u", 25, V, "i32", "lane");
v("i16x8.replace_lane", 26, ["v128", "i32"], "v128", "lane");
v("i32x4.extract_lane", 27, V, "i32", "lane");
v("i32x4.replace_lane", 28, ["v128", "i32"], "v128", "lane");
v("i64x2.extract_lane", 29, V, "i64", "lane");
v("i64x2.replace_lane", 30, ["v128", "i64"], "v128", "lane");
v("f32x4.extract_lane", 31, V, "f32", "lane");
v("f32x4.replace_lane", 32, ["v128", "f32"], "v128", "lane");
v("f64x2.extract_lane", 33, V, "f64", "lane");
v("f64x2.replace_lane", 34, ["v128", "f64"], "v128", "lane");
const cmps = "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u".split(" ");
for (const [i, c] of cmps.entries()) {
  v(`i8x16.${c}`, 35 + i, VV, "v128");
  v(`i16x8.${c}`, 45 + i, VV, "v128");
  v(`i32x4.${c}`, 55 + i, VV, "v128");
}
for (const [i, c] of "eq ne lt gt le ge".split(" ").entries()) {
  v(`f32x4.${c}`, 65 + i, VV, "v128");
  v(`f64x2.${c}`, 71 + i, VV, "v128");
}
v("v128.not", 77, V, "v128");
v("v128.and", 78, VV, "v128");
v("v128.andnot", 79, VV, "v128");
v("v128.or", 80, VV, "v128");
v("v128.xor", 81, VV, "v128");
v("v128.bitselect", 82, VVV, "v128");
v("v128.any_true", 83, V, "i32");
v("f32x4.demote_f64x2_zero", 94, V, "v128");
v("f64x2.promote_low_f32x4", 95, V, "v128");
const intOps: [string, number, string][] = [
  ["i8x16", 96, "abs neg popcnt"],
  ["i16x8", 128, "abs neg"],
  ["i32x4", 160, "abs neg"],
  ["i64x2", 192, "abs neg"],
];
for (const [t, base, names] of intOps) for (const [i, n] of names.split(" ").entries()) v(`${t}.${n}`, base + i, V, "v128");
const single: [string, number][] = [
  ["i8x16.all_true", 99], ["i8x16.bitmask", 100], ["i16x8.all_true", 131], ["i16x8.bitmask", 132],
  ["i32x4.all_true", 163], ["i32x4.bitmask", 164], ["i64x2.all_true", 195], ["i64x2.bitmask", 196],
];
for (const [n, c] of single) v(n, c, V, "i32");
const binary: [string, number][] = [
  ["i8x16.narrow_i16x8_s", 101], ["i8x16.narrow_i16x8_u", 102],
  ["i8x16.add", 110], ["i8x16.add_sat_s", 111], ["i8x16.add_sat_u", 112], ["i8x16.sub", 113], ["i8x16.sub_sat_s", 114],
  ["i8x16.sub_sat_u", 115], ["i8x16.min_s", 118], ["i8x16.min_u", 119], ["i8x16.max_s", 120], ["i8x16.max_u", 121],
  ["i8x16.avgr_u", 123], ["i16x8.q15mulr_sat_s", 130], ["i16x8.narrow_i32x4_s", 133], ["i16x8.narrow_i32x4_u", 134],
  ["i16x8.add", 142], ["i16x8.add_sat_s", 143], ["i16x8.add_sat_u", 144], ["i16x8.sub", 145], ["i16x8.sub_sat_s", 146],
  ["i16x8.sub_sat_u", 147], ["i16x8.mul", 149], ["i16x8.min_s", 150], ["i16x8.min_u", 151], ["i16x8.max_s", 152],
  ["i16x8.max_u", 153], ["i16x8.avgr_u", 155], ["i16x8.extmul_low_i8x16_s", 156], ["i16x8.extmul_high_i8x16_s", 157],
  ["i16x8.extmul_low_i8x16_u", 158], ["i16x8.extmul_high_i8x16_u", 159],
  ["i32x4.add", 174], ["i32x4.sub", 177], ["i32x4.mul", 181], ["i32x4.min_s", 182], ["i32x4.min_u", 183], ["i32x4.max_s", 184],
  ["i32x4.max_u", 185], ["i32x4.dot_i16x8_s", 186], ["i32x4.extmul_low_i16x8_s", 188], ["i32x4.extmul_high_i16x8_s", 189],
  ["i32x4.extmul_low_i16x8_u", 190], ["i32x4.extmul_high_i16x8_u", 191],
  ["i64x2.add", 206], ["i64x2.sub", 209], ["i64x2.mul", 213], ["i64x2.eq", 214], ["i64x2.ne", 215], ["i64x2.lt_s", 216],
  ["i64x2.gt_s", 217], ["i64x2.le_s", 218], ["i64x2.ge_s", 219], ["i64x2.extmul_low_i32x4_s", 220], ["i64x2.extmul_high_i32x4_s", 221],
  ["i64x2.extmul_low_i32x4_u", 222], ["i64x2.extmul_high_i32x4_u", 223],
  ["f32x4.add", 228], ["f32x4.sub", 229], ["f32x4.mul", 230], ["f32x4.div", 231], ["f32x4.min", 232], ["f32x4.max", 233],
  ["f32x4.pmin", 234], ["f32x4.pmax", 235], ["f64x2.add", 240], ["f64x2.sub", 241], ["f64x2.mul", 242], ["f64x2.div", 243],
  ["f64x2.min", 244], ["f64x2.max", 245], ["f64x2.pmin", 246], ["f64x2.pmax", 247],
];
for (const [n, c] of binary) v(n, c, VV, "v128");
const unary: [string, number][] = [
  ["f32x4.abs", 224], ["f32x4.neg", 225], ["f32x4.sqrt", 227], ["f64x2.abs", 236], ["f64x2.neg", 237], ["f64x2.sqrt", 239],
  ["i16x8.extend_low_i8x16_s", 135], ["i16x8.extend_high_i8x16_s", 136], ["i16x8.extend_low_i8x16_u", 137], ["i16x8.extend_high_i8x16_u", 138],
  ["i32x4.extend_low_i16x8_s", 167], ["i32x4.extend_high_i16x8_s", 168], ["i32x4.extend_low_i16x8_u", 169], ["i32x4.extend_high_i16x8_u", 170],
  ["i64x2.extend_low_i32x4_s", 199], ["i64x2.extend_high_i32x4_s", 200], ["i64x2.extend_low_i32x4_u", 201], ["i64x2.extend_high_i32x4_u", 202],
  ["i16x8.extadd_pairwise_i8x16_s", 124], ["i16x8.extadd_pairwise_i8x16_u", 125], ["i32x4.extadd_pairwise_i16x8_s", 126],
  ["f32x4.ceil", 103], ["f32x4.floor", 104], ["f32x4.trunc", 105], ["f32x4.nearest", 106],
  ["f64x2.ceil", 116], ["f64x2.floor", 117], ["f64x2.trunc", 122], ["f64x2.nearest", 148],
  ["i32x4.trunc_sat_f32x4_s", 248], ["f32x4.convert_i32x4_s", 250], ["f64x2.convert_low_i32x4_s", 254],
];
for (const [n, c] of unary) v(n, c, V, "v128");
const shifts: [string, number][] = [
  ["i8x16.shl", 107], ["i8x16.shr_s", 108], ["i8x16.shr_u", 109], ["i16x8.shl", 139], ["i16x8.shr_s", 140], ["i16x8.shr_u", 141],
  ["i32x4.shl", 171], ["i32x4.shr_s", 172], ["i32x4.shr_u", 173], ["i64x2.shl", 203], ["i64x2.shr_s", 204], ["i64x2.shr_u", 205],
];
for (const [n, c] of shifts) v(n, c, ["v128", "i32"], "v128");

/** @throws Error for a name that is not in the table (a bug of ours) */
export function wasmOp(name: string): WasmOp {
  const op = ops.get(name);
  if (!op) throw new Error(`no WebAssembly instruction ${name}`);
  return op;
}

export function hasWasmOp(name: string): boolean {
  return ops.has(name);
}

/** All of the table, for printing. */
export function wasmOps(): Iterable<WasmOp> {
  return ops.values();
}
