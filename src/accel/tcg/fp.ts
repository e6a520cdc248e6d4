/**
 * Floating-point IR operations for both tiers. Native arithmetic is used where it gives exact results *and* exact sticky
 * flags: rounding to nearest, exceptions masked and the inexact flag already set (the state's fpFast word is 1), operands not
 * denormal, result normal. Everything else goes to the exact helper.
 */
import type { OpDef } from "./ir/ops.js";
import type { FunctionWriter } from "./wasm/writer.js";

/** Table indexes of the runtime's exact helpers (uniform helper signature). */
export interface FpHelperIndexes {
  segchk: number;
  /** (a, b, operation) -> bits; operation 0 add, 1 sub, 2 mul, 3 div, 6 sqrt of b */
  arith32: number;
  arith64: number;
  /** (address of a, address of b, operation): all lanes at once, into a's place */
  packed32: number;
  packed64: number;
  /** (a, b, signalling) -> flags image */
  compare32: number;
  compare64: number;
  /** (bits, 0, kind) -> bits */
  convert: number;
}

/** `convert` kinds. */
export const Convert = { f32f64: 0, f64f32: 1, i64f64: 2, i32f32: 3, f64i32: 4, f64i64: 5, f32i32: 6, f32i64: 7 } as const;

export interface FpContext {
  /** Emits the call of a helper, its arguments on the stack. */
  call(tableIndex: number): void;
  indexes: FpHelperIndexes;
  env: number;
  fpFast: number;
  push(operand: "a" | "b" | "c", type: "i64" | "v128"): void;
  imm(): void;
  /** Emits the call of the helper whose table index is the upper half of the immediate. */
  callImm(): void;
  /** Tier 1: the lower half's value. */
  immLo?: number;
  /** Offset of 48 bytes in the state for the operands of vector helpers. */
  scratch: number;
  temps: { vec: number; vec2: number; vec3: number; val: number; t32: number };
  /** Tier 0: prepares for a helper that may raise. */
  slow(): void;
  /** Tier 1: emits `br_if` out of the region (condition on the stack). Absent in tier 0, which always calls the helper. */
  leaveIf?: () => void;
}

/** The state's fpFast word: 0 exceptions may be raised, 1 native arithmetic is exact, 2 nothing is raised, but not native. */
const FP_NATIVE = 1;

const ARITH: Record<string, number> = { add: 0, sub: 1, mul: 2, div: 3, sqrt: 6 };

/** Whether the upper half of the operation's immediate is the table index of its exact helper. */
export function namesHelper(name: string): boolean {
  return (
    name === "fhelper" ||
    name === "fvhelper" ||
    name === "vcallp" ||
    name === "fv3helper" ||
    name === "vcall3p" ||
    /^v(f(min|max|cmp|sqrt|round)|cvt(i32f32|f32i32|f32f64))/.test(name)
  );
}

/** Leaves the operation's result on the stack. */
export function emitFpOp(w: FunctionWriter, op: OpDef, c: FpContext): void {
  if (namesHelper(op.name) && op.name !== "fhelper") {
    emitVector(w, c, op.name);
    return;
  }
  const arith = /^(v?)f(add|sub|mul|div|sqrt)(32|64)$/.exec(op.name);
  if (arith) {
    const packed = arith[1] === "v";
    const kind = arith[2]!;
    const bits = arith[3] === "32" ? 32 : 64;
    c.push("a", "v128");
    w.set(c.temps.vec2);
    c.push("b", "v128");
    w.set(c.temps.vec3);
    if (packed) emitPacked(w, c, kind, bits);
    else emitScalar(w, c, kind, bits);
    return;
  }
  if (op.name === "fcom32" || op.name === "fcom64") {
    const bits = op.name === "fcom32" ? 32 : 64;
    if (c.leaveIf) emitFastCompare(w, c, bits);
    else {
      c.slow();
      laneBits(w, () => c.push("a", "v128"), bits, 0);
      laneBits(w, () => c.push("b", "v128"), bits, 0);
      c.imm();
      c.call(bits === 32 ? c.indexes.compare32 : c.indexes.compare64);
    }
    return;
  }
  if (op.name === "fhelper") {
    if (c.leaveIf) emitGuard(w, c);
    else c.slow();
    c.push("a", "i64");
    c.push("b", "i64");
    c.imm();
    c.callImm();
    return;
  }
  emitConvert(w, op.name, c);
}

/** Tier 1: leaves the region unless all exceptions are masked. */
function emitGuard(w: FunctionWriter, c: FpContext): void {
  w.get(c.env);
  w.op("i32.load", c.fpFast);
  w.op("i32.eqz");
  c.leaveIf!();
}

/** Pushes 1 if only the helper gives exact results and flags in the current mode. */
function pushNotNative(w: FunctionWriter, c: FpContext): void {
  w.get(c.env);
  w.op("i32.load", c.fpFast);
  w.i32(FP_NATIVE);
  w.op("i32.ne");
}

/** Pushes the helper's result for the operands in vec2 and vec3, which it gets in memory. */
function vectorHelper(w: FunctionWriter, c: FpContext, imm = c.imm, call = () => c.callImm()): void {
  for (const [v, at] of [
    [c.temps.vec2, c.scratch],
    [c.temps.vec3, c.scratch + 16],
  ] as const) {
    w.get(c.env);
    w.get(v);
    w.op("v128.store", at);
  }
  for (const at of [c.scratch, c.scratch + 16]) {
    w.get(c.env);
    w.i32(at);
    w.op("i32.add");
    w.op("i64.extend_i32_u");
  }
  imm();
  call();
  w.drop();
  w.get(c.env);
  w.op("v128.load", c.scratch);
}

/** A helper with three vector operands; its immediate is the upper half of the record's lower one. */
function emitThree(w: FunctionWriter, c: FpContext, pure: boolean): void {
  if (!c.leaveIf) c.slow();
  else if (!pure) emitGuard(w, c);
  for (const [i, o] of (["a", "b", "c"] as const).entries()) {
    w.get(c.env);
    c.push(o, "v128");
    w.op("v128.store", c.scratch + i * 16);
  }
  for (const at of [c.scratch, c.scratch + 16]) {
    w.get(c.env);
    w.i32(at);
    w.op("i32.add");
    w.op("i64.extend_i32_u");
  }
  c.imm();
  w.i32(16);
  w.op("i32.shr_u");
  c.callImm();
  w.drop();
  w.get(c.env);
  w.op("v128.load", c.scratch);
}

/** Operations with a helper in their immediate. Natively only where no lane could signal more than inexact. */
function emitVector(w: FunctionWriter, c: FpContext, name: string): void {
  if (name === "fv3helper" || name === "vcall3p") {
    emitThree(w, c, name === "vcall3p");
    return;
  }
  c.push("a", "v128");
  w.set(c.temps.vec2);
  c.push("b", "v128");
  w.set(c.temps.vec3);
  const a = c.temps.vec2;
  const b = c.temps.vec3;
  if (!c.leaveIf) {
    c.slow();
    vectorHelper(w, c);
    return;
  }
  if (name !== "vcallp") emitGuard(w, c);
  if (name === "fvhelper" || name === "vcallp") {
    vectorHelper(w, c);
    return;
  }
  const imm = c.immLo!;
  const bits = name.startsWith("vf") ? (name.endsWith("64") ? 64 : 32) : 32;
  const f = bits === 64 ? "f64x2" : "f32x4";
  const both = (op: string, x = a, y = b) => {
    w.get(x);
    w.get(y);
    w.op(op);
  };
  const unary = (op: string) => {
    w.get(b);
    w.op(op);
  };
  /** Lanes of `v` that are NaN. */
  const nan = (v: number) => both(`${f}.ne`, v, v);
  const or = () => w.op("v128.or");
  // The mask of lanes that need the helper, then (in `native`) the result.
  let native: () => void;
  const kind = name.replace(/(32|64)$/, "");
  switch (kind) {
    case "vfmin":
    case "vfmax":
      native = () => both(`${f}.p${kind.slice(2)}`, b, a);
      break;
    case "vfcmp": {
      // Without NaNs "not less than" is "greater or equal".
      const op = ["eq", "lt", "le", "", "ne", "ge", "gt", ""][imm & 7]!;
      native = () => {
        if (op) both(`${f}.${op}`);
        else w.v128(new Uint8Array(16).fill((imm & 7) === 7 ? 255 : 0));
      };
      break;
    }
    case "vfsqrt":
      native = () => unary(`${f}.sqrt`);
      break;
    case "vfround": {
      const op = imm & 4 ? "nearest" : ["nearest", "floor", "ceil", "trunc"][imm & 3]!;
      native = () => unary(`${f}.${op}`);
      break;
    }
    default:
      native = () => {
        if (name === "vcvti32f32") unary("f32x4.convert_i32x4_s");
        else if (name === "vcvtf32f64") unary("f64x2.promote_low_f32x4");
        else {
          w.get(b);
          if (!imm) w.op("f32x4.nearest");
          w.op("i32x4.trunc_sat_f32x4_s");
        }
      };
  }
  if (name === "vcvti32f32") {
    pushNotNative(w, c);
    w.if("v128");
    vectorHelper(w, c);
    w.else();
    native();
    w.end();
    return;
  }
  if (kind === "vfmin" || kind === "vfmax" || kind === "vfcmp") {
    packedMask(w, a, bits, false);
    packedMask(w, b, bits, false);
    or();
    nan(a);
    or();
    nan(b);
    or();
  } else if (kind === "vfsqrt") {
    // The square root of a negative number is a NaN.
    native();
    w.set(c.temps.vec);
    packedMask(w, b, bits, false);
    nan(c.temps.vec);
    or();
  } else if (kind === "vfround") nan(b);
  else if (name === "vcvtf32f64") {
    packedMask(w, b, 32, false);
    nan(b);
    or();
  } else {
    // CVT(T)PS2DQ: every magnitude below 2^31.
    unary("f32x4.abs");
    w.f32(2 ** 31);
    w.op("f32x4.splat");
    w.op("f32x4.lt");
    w.op("v128.not");
  }
  w.op("v128.any_true");
  pushNotNative(w, c);
  w.op("i32.or");
  w.if("v128");
  vectorHelper(w, c);
  w.else();
  native();
  w.end();
}

/** Pushes the bits of a lane as i64. */
function laneBits(w: FunctionWriter, push: () => void, bits: 32 | 64, lane: number): void {
  push();
  if (bits === 64) w.op("i64x2.extract_lane", lane);
  else {
    w.op("i32x4.extract_lane", lane);
    w.op("i64.extend_i32_u");
  }
}

function helperArith(w: FunctionWriter, c: FpContext, kind: string, bits: 32 | 64, lane: number): void {
  laneBits(w, () => w.get(c.temps.vec2), bits, lane);
  laneBits(w, () => w.get(c.temps.vec3), bits, lane);
  w.i32(ARITH[kind]!);
  c.call(bits === 32 ? c.indexes.arith32 : c.indexes.arith64);
}

/** Replaces a lane of `vec2` by the i64 bits on the stack below it: [v128, i64] -> v128. */
function insertBits(w: FunctionWriter, bits: 32 | 64, lane: number): void {
  if (bits === 64) w.op("i64x2.replace_lane", lane);
  else {
    w.op("i32.wrap_i64");
    w.op("i32x4.replace_lane", lane);
  }
}

/** Pushes 1 if the value (pushed by `push` as i64/i32 bits) is a denormal. */
function pushDenormal(w: FunctionWriter, push: () => void, bits: 32 | 64): void {
  push();
  if (bits === 64) {
    w.i64n(1);
    w.op("i64.shl");
    w.i64n(1);
    w.op("i64.sub");
    w.i64(0xffffffff, 0x001fffff);
    w.op("i64.lt_u");
  } else {
    w.i32(1);
    w.op("i32.shl");
    w.i32(1);
    w.op("i32.sub");
    w.i32(0x00ffffff);
    w.op("i32.lt_u");
  }
}

function pushNotNormal(w: FunctionWriter, push: () => void, bits: 32 | 64): void {
  push();
  if (bits === 64) {
    w.i64n(1);
    w.op("i64.shl");
    w.i64(0, 0x00200000);
    w.op("i64.sub");
    w.i64(0, 0xffc00000 | 0);
    w.op("i64.ge_u");
  } else {
    w.i32(1);
    w.op("i32.shl");
    w.i32(0x01000000);
    w.op("i32.sub");
    w.i32(0xfe000000 | 0);
    w.op("i32.ge_u");
  }
}

function emitScalar(w: FunctionWriter, c: FpContext, kind: string, bits: 32 | 64): void {
  const lanes = bits === 64 ? "f64x2" : "f32x4";
  const ints = bits === 64 ? "i64x2" : "i32x4";
  const f = bits === 64 ? "f64" : "f32";
  const bitsOf = (v: number) => () => {
    w.get(v);
    w.op(`${ints}.extract_lane`, 0);
  };
  if (!c.leaveIf) {
    c.slow();
    w.get(c.temps.vec2);
    helperArith(w, c, kind, bits, 0);
    insertBits(w, bits, 0);
    return;
  }
  emitGuard(w, c);
  w.get(c.temps.vec2);
  if (kind === "sqrt") {
    w.get(c.temps.vec3);
    w.op(`${lanes}.extract_lane`, 0);
    w.op(`${f}.sqrt`);
  } else {
    w.get(c.temps.vec2);
    w.op(`${lanes}.extract_lane`, 0);
    w.get(c.temps.vec3);
    w.op(`${lanes}.extract_lane`, 0);
    w.op(`${f}.${kind}`);
  }
  w.op(`${lanes}.replace_lane`, 0);
  w.set(c.temps.vec);
  pushNotNormal(w, bitsOf(c.temps.vec), bits);
  if (kind !== "sqrt") {
    pushDenormal(w, bitsOf(c.temps.vec2), bits);
    w.op("i32.or");
  }
  pushDenormal(w, bitsOf(c.temps.vec3), bits);
  w.op("i32.or");
  pushNotNative(w, c);
  w.op("i32.or");
  w.if();
  w.get(c.temps.vec2);
  helperArith(w, c, kind, bits, 0);
  insertBits(w, bits, 0);
  w.set(c.temps.vec);
  w.end();
  w.get(c.temps.vec);
}

/** Pushes a lane-wise mask vector: lanes that are denormal (or, with `notNormal`, not normal). */
function packedMask(w: FunctionWriter, v: number, bits: 32 | 64, notNormal: boolean): void {
  const t = bits === 64 ? "i64x2" : "i32x4";
  // Signed comparison after moving the unsigned range down by half.
  w.get(v);
  w.i32(1);
  w.op(`${t}.shl`);
  if (bits === 64) {
    const base = notNormal ? [0, 0x00200000] : [1, 0];
    w.i64(base[0]!, base[1]!);
    w.op("i64x2.splat");
    w.op("i64x2.sub");
    w.i64(0, 0x80000000 | 0);
    w.op("i64x2.splat");
    w.op("v128.xor");
    if (notNormal) {
      w.i64(0, 0x7fc00000);
      w.op("i64x2.splat");
      w.op("i64x2.ge_s");
    } else {
      w.i64(0xffffffff, 0x801fffff | 0);
      w.op("i64x2.splat");
      w.op("i64x2.lt_s");
    }
    return;
  }
  w.i32(notNormal ? 0x01000000 : 1);
  w.op("i32x4.splat");
  w.op("i32x4.sub");
  w.i32(notNormal ? 0xfe000000 | 0 : 0x00ffffff);
  w.op("i32x4.splat");
  w.op(notNormal ? "i32x4.ge_u" : "i32x4.lt_u");
}

function emitPacked(w: FunctionWriter, c: FpContext, kind: string, bits: 32 | 64): void {
  const lanes = bits === 64 ? "f64x2" : "f32x4";
  const slow = () =>
    vectorHelper(
      w,
      c,
      () => w.i32(ARITH[kind]!),
      () => c.call(bits === 32 ? c.indexes.packed32 : c.indexes.packed64),
    );
  if (!c.leaveIf) {
    c.slow();
    slow();
    return;
  }
  emitGuard(w, c);
  w.get(c.temps.vec2);
  w.get(c.temps.vec3);
  w.op(`${lanes}.${kind}`);
  w.set(c.temps.vec);
  packedMask(w, c.temps.vec, bits, true);
  packedMask(w, c.temps.vec2, bits, false);
  w.op("v128.or");
  packedMask(w, c.temps.vec3, bits, false);
  w.op("v128.or");
  w.op("v128.any_true");
  pushNotNative(w, c);
  w.op("i32.or");
  w.if();
  slow();
  w.set(c.temps.vec);
  w.end();
  w.get(c.temps.vec);
}

/** Ordered, no denormals: ZF = equal, CF = less. Otherwise the helper (masked by fpFast) gives image and sticky flags. */
function emitFastCompare(w: FunctionWriter, c: FpContext, bits: 32 | 64): void {
  const lanes = bits === 64 ? "f64x2" : "f32x4";
  const ints = bits === 64 ? "i64x2" : "i32x4";
  const f = bits === 64 ? "f64" : "f32";
  emitGuard(w, c);
  c.push("a", "v128");
  w.set(c.temps.vec2);
  c.push("b", "v128");
  w.set(c.temps.vec3);
  const lane = (v: number) => {
    w.get(v);
    w.op(`${lanes}.extract_lane`, 0);
  };
  for (const [i, v] of [c.temps.vec2, c.temps.vec3].entries()) {
    pushDenormal(
      w,
      () => {
        w.get(v);
        w.op(`${ints}.extract_lane`, 0);
      },
      bits,
    );
    if (i) w.op("i32.or");
    lane(v);
    lane(v);
    w.op(`${f}.ne`);
    w.op("i32.or");
  }
  pushNotNative(w, c);
  w.op("i32.or");
  w.if("i64");
  laneBits(w, () => w.get(c.temps.vec2), bits, 0);
  laneBits(w, () => w.get(c.temps.vec3), bits, 0);
  c.imm();
  c.call(bits === 32 ? c.indexes.compare32 : c.indexes.compare64);
  w.else();
  lane(c.temps.vec2);
  lane(c.temps.vec3);
  w.op(`${f}.lt`);
  lane(c.temps.vec2);
  lane(c.temps.vec3);
  w.op(`${f}.eq`);
  w.i32(6);
  w.op("i32.shl");
  w.op("i32.or");
  w.op("i64.extend_i32_u");
  w.end();
}

function emitConvert(w: FunctionWriter, name: string, c: FpContext): void {
  const helper = (kind: number) => {
    w.i64n(0);
    w.i32(kind);
    c.call(c.indexes.convert);
  };
  const guard = () => {
    if (!c.leaveIf) {
      c.slow();
      return;
    }
    emitGuard(w, c);
  };
  switch (name) {
    case "cvti32f64":
      c.push("a", "v128");
      c.push("b", "i64");
      w.op("i32.wrap_i64");
      w.op("f64.convert_i32_s");
      w.op("f64x2.replace_lane", 0);
      return;
    case "cvti64f64":
    case "cvti32f32": {
      guard();
      c.push("a", "v128");
      const bits = name === "cvti64f64" ? 64 : 32;
      if (c.leaveIf) {
        // Rounding to nearest with the inexact flag already set: native.
        pushNotNative(w, c);
        w.if("i64");
        c.push("b", "i64");
        helper(bits === 64 ? Convert.i64f64 : Convert.i32f32);
        w.else();
        c.push("b", "i64");
        if (bits === 64) {
          w.op("f64.convert_i64_s");
          w.op("i64.reinterpret_f64");
        } else {
          w.op("i32.wrap_i64");
          w.op("f32.convert_i32_s");
          w.op("i32.reinterpret_f32");
          w.op("i64.extend_i32_u");
        }
        w.end();
      } else {
        c.push("b", "i64");
        helper(bits === 64 ? Convert.i64f64 : Convert.i32f32);
      }
      insertBits(w, bits, 0);
      return;
    }
    case "cvtf32f64":
      guard();
      c.push("a", "v128");
      if (c.leaveIf) {
        c.push("b", "v128");
        w.set(c.temps.vec3);
        pushNotNormal(
          w,
          () => {
            w.get(c.temps.vec3);
            w.op("i32x4.extract_lane", 0);
          },
          32,
        );
        pushNotNative(w, c);
        w.op("i32.or");
        w.if("i64");
        laneBits(w, () => w.get(c.temps.vec3), 32, 0);
        helper(Convert.f32f64);
        w.else();
        w.get(c.temps.vec3);
        w.op("f32x4.extract_lane", 0);
        w.op("f64.promote_f32");
        w.op("i64.reinterpret_f64");
        w.end();
      } else {
        laneBits(w, () => c.push("b", "v128"), 32, 0);
        helper(Convert.f32f64);
      }
      w.op("i64x2.replace_lane", 0);
      return;
    case "cvtf64f32":
      guard();
      c.push("a", "v128");
      laneBits(w, () => c.push("b", "v128"), 64, 0);
      helper(Convert.f64f32);
      insertBits(w, 32, 0);
      return;
    default: {
      // CVTTSD2SI, CVTTSS2SI: native while the value is well inside the range.
      const from = name.startsWith("cvttf64") ? 64 : 32;
      const to = name.endsWith("i64") ? 64 : 32;
      const kind = from === 64 ? (to === 64 ? Convert.f64i64 : Convert.f64i32) : to === 64 ? Convert.f32i64 : Convert.f32i32;
      guard();
      if (!c.leaveIf) {
        laneBits(w, () => c.push("a", "v128"), from as 32 | 64, 0);
        helper(kind);
        return;
      }
      c.push("a", "v128");
      w.set(c.temps.vec3);
      const lanes = from === 64 ? "f64x2" : "f32x4";
      const f = from === 64 ? "f64" : "f32";
      w.get(c.temps.vec3);
      w.op(`${lanes}.extract_lane`, 0);
      w.op(`${f}.abs`);
      const limit = to === 64 ? 2 ** 62 : 2 ** 30;
      if (from === 64) w.f64(limit);
      else w.f32(limit);
      w.op(`${f}.lt`);
      pushDenormal(
        w,
        () => {
          w.get(c.temps.vec3);
          w.op(from === 64 ? "i64x2.extract_lane" : "i32x4.extract_lane", 0);
        },
        from as 32 | 64,
      );
      w.op("i32.eqz");
      w.op("i32.and");
      pushNotNative(w, c);
      w.op("i32.eqz");
      w.op("i32.and");
      w.if("i64");
      w.get(c.temps.vec3);
      w.op(`${lanes}.extract_lane`, 0);
      if (to === 64) w.op(`i64.trunc_sat_${f}_s`);
      else if (from === 64) {
        w.op("i32.trunc_sat_f64_s");
        w.op("i64.extend_i32_u");
      } else {
        w.op("i64.trunc_sat_f32_s");
        w.op("i32.wrap_i64");
        w.op("i64.extend_i32_u");
      }
      w.else();
      laneBits(w, () => w.get(c.temps.vec3), from as 32 | 64, 0);
      helper(kind);
      w.end();
    }
  }
}
