/** AssemblyScript. Floating point and SIMD helpers of the x86 runtime (docs/helpers-fp.md). Compiles by itself for tests. */
export * from "./x87-arith";
export * from "./x87-move";
export * from "./x87-control";
export * from "./x87-trans";
export * from "./sse-fp";
export * from "./simd";
export { h_fpu_note } from "./x87-state";
export { setEnv } from "./env";
