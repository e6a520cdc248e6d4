/**
 * AssemblyScript. Adapters between IR and the exact helpers: packed arithmetic under the numbering of accel/tcg/fp.ts
 * (exceptions of all lanes together), string compares.
 */
import { GPR, SCRATCH, XMM } from "../layout";
import { env } from "./env";
import { h_pcmpstri, h_pcmpstrm } from "./simd";
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

// --- string compares for both tiers: operands in SCRATCH, lengths as arguments, so that no register is in the way ---

// @ts-ignore: decorator
@inline
function compare(rax: u64, rdx: u64, imm: u32, mask: bool): u64 {
  const oldRax = load<u64>(env + GPR);
  const oldRdx = load<u64>(env + GPR, 16);
  store<u64>(env + GPR, rax);
  store<u64>(env + GPR, rdx, 16);
  const x = u64(env + SCRATCH);
  const found = mask ? h_pcmpstrm(x, x + 16, imm) : h_pcmpstri(x, x + 16, imm);
  store<u64>(env + GPR, oldRax);
  store<u64>(env + GPR, oldRdx, 16);
  return found;
}

/** PCMPxSTRI of the vectors at SCRATCH and SCRATCH + 16: as h_pcmpstri; a, b = rAX, rDX. */
export function h_pcmpstri_scratch(a: u64, b: u64, imm: u32): u64 {
  return compare(a, b, imm, false);
}

/** PCMPxSTRM likewise; the mask goes to SCRATCH. */
export function h_pcmpstrm_scratch(a: u64, b: u64, imm: u32): u64 {
  const xmm0 = v128.load(env + XMM);
  const found = compare(a, b, imm, true);
  v128.store(env + SCRATCH, v128.load(env + XMM));
  v128.store(env + XMM, xmm0);
  return found;
}
