/**
 * AssemblyScript entry: everything the x86 runtime exports. What each helper takes and gives: docs/helpers.md.
 */
export { setEnv } from "./env";
export { physHost, physLoad, physStore } from "./phys";
export * from "./mmu";
export * from "./eflags";
export * from "./hflags";
export * from "./segments";
export * from "./code";
export { raise } from "./env";
export * from "./control-regs";
export * from "./exceptions";
export * from "./iret";
export * from "./debug";
export * from "./events";
export * from "./reset";
export * from "./smm";
export * from "./tasks";
export * from "./far";
export * from "./syscall";
export * from "./system";
export * from "./msr";
export * from "./strings";
export * from "./arith";
export * from "./atomic";
export * from "./xsave";
export * from "./fp-adapters";
export * from "./x87-arith";
export * from "./x87-move";
export * from "./x87-control";
export * from "./sse-fp";
export { h_fpu_note } from "./x87-state";
export * from "./sse-lanes";
export * from "./x87-trans";
export * from "./simd";
