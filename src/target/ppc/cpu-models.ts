/** PowerPC CPU models: what distinguishes them for the translator and for a machine's device tree. */

export interface PpcCpuModel {
  readonly name: string;
  readonly description: string;
  /** Processor Version Register. */
  readonly pvr: number;
  /** Logical PVR of its architecture level, for client-architecture-support. */
  readonly logicalPvr: number;
  /** Power ISA 3.0: radix translation, VSX 3.0, large decrementer. */
  readonly isa300: boolean;
  readonly slbEntries: number;
  readonly decrementerBits: number;
  readonly timeBaseHz: number;
  readonly cacheLineBytes: number;
}

export const PPC_CPU_MODELS: { readonly [name: string]: PpcCpuModel } = {
  power8: {
    name: "power8_v2.0",
    description: "POWER8 (Power ISA 2.07)",
    pvr: 0x004d0200,
    logicalPvr: 0x0f000004,
    isa300: false,
    slbEntries: 32,
    decrementerBits: 32,
    timeBaseHz: 512_000_000,
    cacheLineBytes: 128,
  },
  power9: {
    name: "power9_v2.0",
    description: "POWER9 (Power ISA 3.0)",
    pvr: 0x004e1200,
    logicalPvr: 0x0f000005,
    isa300: true,
    slbEntries: 32,
    decrementerBits: 56,
    timeBaseHz: 512_000_000,
    cacheLineBytes: 128,
  },
};

/** A model by its name or its alias (`power9`), whatever the case. */
export function ppcCpuModel(name: string): PpcCpuModel | undefined {
  const wanted = name.toLowerCase();
  if (Object.hasOwn(PPC_CPU_MODELS, wanted)) return PPC_CPU_MODELS[wanted];
  return Object.values(PPC_CPU_MODELS).find((m) => m.name === wanted);
}
