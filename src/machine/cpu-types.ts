/** CPU models of every architecture as monitors and management programs name them. */
import { PPC_CPU_MODELS } from "../target/ppc/cpu-models.js";
import { CPU_MODELS } from "../target/x86/cpu-models.js";
import type { GuestArch } from "./config.js";

/** Architectures as QEMU's CPU types end. */
const SUFFIX: { readonly [A in GuestArch]: string } = { x86_64: "x86_64", i386: "i386", ppc64: "powerpc64" };

/** The object type that all CPU types of an architecture come from. */
export function cpuBaseType(arch: GuestArch): string {
  return `${SUFFIX[arch]}-cpu`;
}

/** "qemu64-x86_64-cpu", "power9_v2.0-powerpc64-cpu". */
export function cpuTypeName(arch: GuestArch, model: string): string {
  return `${model}-${cpuBaseType(arch)}`;
}

/** The names that `-cpu` takes, without aliases. */
export function cpuModelNames(arch: GuestArch): string[] {
  return arch === "ppc64" ? Object.values(PPC_CPU_MODELS).map((m) => m.name) : Object.keys(CPU_MODELS);
}
