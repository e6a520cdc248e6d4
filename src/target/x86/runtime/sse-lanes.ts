/** AssemblyScript. Packed arithmetic under the numbering of accel/tcg/fp.ts: exceptions of all lanes together. */
import { h_sse_pd, h_sse_ps, SSE_ADD, SSE_DIV, SSE_MUL, SSE_SUB } from "./sse-fp";

function operation(kind: u32): u32 {
  switch (kind) {
    case 0:
      return SSE_ADD;
    case 1:
      return SSE_SUB;
    case 2:
      return SSE_MUL;
  }
  return SSE_DIV;
}

/** a, b = addresses of the operands, result at a; imm 0 add, 1 sub, 2 mul, 3 div. */
export function h_fp_packed32(a: u64, b: u64, imm: u32): u64 {
  return h_sse_ps(a, b, operation(imm));
}

export function h_fp_packed64(a: u64, b: u64, imm: u32): u64 {
  return h_sse_pd(a, b, operation(imm));
}
