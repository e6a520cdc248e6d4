/**
 * The host's processor as an accelerator offers it to a guest, for `-cpu host` and for cutting named models down to it.
 * Source: Intel SDM vol 2 CPUID; Linux, api.rst KVM_GET_SUPPORTED_CPUID.
 */

/** What the accelerator answers for CPUID. */
export interface HostCpu {
  /** EAX, EBX, ECX, EDX; undefined where the accelerator has no row. */
  row(leaf: number, subleaf: number): ArrayLike<number> | undefined;
  /** The translator completes what the accelerator lacks: features that it has are not missed. */
  readonly completed: boolean;
}

/** Register of a CPUID word by name: "1.ecx" is ECX of leaf 1. */
const WORD_AT = {
  "1.edx": [1, 0, 3],
  "1.ecx": [1, 0, 2],
  "7.ebx": [7, 0, 1],
  "7.ecx": [7, 0, 2],
  "81.edx": [0x80000001, 0, 3],
  "81.ecx": [0x80000001, 0, 2],
  "d1.eax": [0xd, 1, 0],
  "6.eax": [6, 0, 0],
} as const;

/** The host's feature word; 0 where there is none. */
export function hostWord(host: HostCpu, word: keyof typeof WORD_AT): number {
  const [leaf, subleaf, register] = WORD_AT[word];
  return (host.row(leaf, subleaf)?.[register] ?? 0) >>> 0;
}

/** QEMU's name for a bit in a warning: "CPUID.01H:ECX.avx [bit 28]". */
export function bitName(word: keyof typeof WORD_AT, feature: string, bit: number): string {
  const [leaf, , register] = WORD_AT[word];
  return `CPUID.${leaf.toString(16).toUpperCase().padStart(2, "0")}H:${["EAX", "EBX", "ECX", "EDX"][register]}.${feature} [bit ${bit}]`;
}

/** Features that the machine gives whatever the accelerator says: its own APICs, and that it is one. */
export const MACHINE_FEATURES: ReadonlySet<string> = new Set(["hypervisor", "apic", "x2apic", "tsc-deadline", "arat"]);

/** Leaves that say where the vCPU is or what the hypervisor is: the machine's, not the host's. */
export const MACHINE_LEAVES: ReadonlySet<number> = new Set([1, 4, 0xb, 0x1f, 0x80000008]);

/** Vendor, family, model, stepping, highest leaves and name of the host. */
export function hostIdentity(host: HostCpu) {
  const text = (words: readonly number[]) =>
    words.map((w) => String.fromCharCode(w & 255, (w >>> 8) & 255, (w >>> 16) & 255, w >>> 24)).join("");
  const r0 = host.row(0, 0) ?? [0, 0, 0, 0];
  const eax = host.row(1, 0)?.[0] ?? 0;
  const brand = [0x80000002, 0x80000003, 0x80000004].flatMap((l) => Array.from(host.row(l, 0) ?? [0, 0, 0, 0]));
  const family = (eax >>> 8) & 15;
  return {
    vendor: text([r0[1]!, r0[3]!, r0[2]!]) === "AuthenticAMD" ? ("AuthenticAMD" as const) : ("GenuineIntel" as const),
    family: family === 15 ? 15 + ((eax >>> 20) & 255) : family,
    model: ((eax >>> 4) & 15) | (family === 6 || family === 15 ? ((eax >>> 16) & 15) << 4 : 0),
    stepping: eax & 15,
    level: Math.min(r0[0]!, 0x20),
    xlevel: Math.min((host.row(0x80000000, 0)?.[0] ?? 0) >>> 0, 0x80000020),
    id: text(brand).replace(/\0.*$/s, "").trim(),
  };
}
