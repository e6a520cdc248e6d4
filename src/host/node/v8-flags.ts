/**
 * V8 options that pay for generated code. They must be set before the first WebAssembly module is compiled, and are no
 * options of the guest's machine: a V8 that does not know one runs all the same.
 */
import { setFlagsFromString } from "node:v8";

/** Branch hints (metadata.code.branch_hint): slow paths out of the way of hot ones. On by default in newer V8. */
const FLAGS = ["--experimental-wasm-branch-hinting"];

let set = false;

/** Sets the options once a process. */
export function setV8Flags(): void {
  if (set) return;
  set = true;
  for (const flag of FLAGS) setFlagsFromString(flag);
}
