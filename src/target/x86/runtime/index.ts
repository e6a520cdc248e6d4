/** AssemblyScript entry: everything the x86 runtime exports. */
export { setEnv } from "./env";
