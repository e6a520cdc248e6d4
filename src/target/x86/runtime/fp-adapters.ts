/** AssemblyScript. Exact scalar operations under the numbering of accel/tcg/fp.ts. */
import {
  h_cvt_f32_f64, h_cvt_f32_i32, h_cvt_f32_i64, h_cvt_f64_f32, h_cvt_f64_i32, h_cvt_f64_i64, h_cvt_i32_f32, h_cvt_i64_f64, h_sse_f32, h_sse_f64, SSE_ADD, SSE_DIV, SSE_MUL, SSE_SQRT, SSE_SUB,
} from "./sse-fp";

function operation(kind: u32): u32 {
  switch (kind) {
    case 0: return SSE_ADD;
    case 1: return SSE_SUB;
    case 2: return SSE_MUL;
    case 3: return SSE_DIV;
  }
  return SSE_SQRT;
}

export function h_fp_arith32(a: u64, b: u64, imm: u32): u64 {
  return h_sse_f32(a, b, operation(imm));
}

export function h_fp_arith64(a: u64, b: u64, imm: u32): u64 {
  return h_sse_f64(a, b, operation(imm));
}

/** Kinds as in accel/tcg/fp.ts `Convert`; to integers they truncate. */
export function h_fp_convert(a: u64, b: u64, imm: u32): u64 {
  switch (imm) {
    case 0: return h_cvt_f32_f64(a, 0, 0);
    case 1: return h_cvt_f64_f32(a, 0, 0);
    case 2: return h_cvt_i64_f64(a, 0, 0);
    case 3: return h_cvt_i32_f32(a, 0, 0);
    case 4: return h_cvt_f64_i32(a, 0, 1);
    case 5: return h_cvt_f64_i64(a, 0, 1);
    case 6: return h_cvt_f32_i32(a, 0, 1);
  }
  return h_cvt_f32_i64(a, 0, 1);
}
