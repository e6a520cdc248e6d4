/**
 * AssemblyScript entry: everything the x86 runtime exports. What each helper takes and gives: docs/helpers.md.
 */
export { setEnv } from "./env";
export * from "./mmu";
