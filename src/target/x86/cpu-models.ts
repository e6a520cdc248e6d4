/**
 * CPU models and CPUID (Intel SDM vol 2 CPUID; AMD APM vol 3 appendix E). Feature names are QEMU's. A model lists what it
 * claims; the guest sees that, cut down to what the translator has.
 */
import { VmError } from "../../base/errors.js";
import { bitName, type HostCpu, hostIdentity, hostWord, MACHINE_FEATURES, MACHINE_LEAVES } from "./host-cpu.js";

type Word = "1.edx" | "1.ecx" | "7.ebx" | "7.ecx" | "81.edx" | "81.ecx" | "d1.eax" | "6.eax";

/** Bits by CPUID word; names as in `-cpu model,+name`. */
const FEATURES: Record<Word, Record<string, number>> = {
  "1.edx": {
    fpu: 0, vme: 1, de: 2, pse: 3, tsc: 4, msr: 5, pae: 6, mce: 7, cx8: 8, apic: 9, sep: 11, mtrr: 12, pge: 13, mca: 14, cmov: 15,
    pat: 16, pse36: 17, clflush: 19, mmx: 23, fxsr: 24, sse: 25, sse2: 26, ss: 27, ht: 28,
  },
  "1.ecx": {
    pni: 0, sse3: 0, pclmulqdq: 1, monitor: 3, ssse3: 9, fma: 12, cx16: 13, pcid: 17, "sse4.1": 19, "sse4.2": 20, x2apic: 21, movbe: 22,
    popcnt: 23, "tsc-deadline": 24, aes: 25, xsave: 26, avx: 28, f16c: 29, rdrand: 30, hypervisor: 31,
  },
  "7.ebx": {
    fsgsbase: 0, "tsc-adjust": 1, bmi1: 3, avx2: 5, smep: 7, bmi2: 8, erms: 9, invpcid: 10, rdseed: 18, adx: 19, smap: 20, clflushopt: 23,
    clwb: 24, "sha-ni": 29,
  },
  "7.ecx": { umip: 2, rdpid: 22 },
  "81.edx": { syscall: 11, nx: 20, mmxext: 22, pdpe1gb: 26, rdtscp: 27, lm: 29 },
  "81.ecx": { lahf_lm: 0, cr8legacy: 4, lzcnt: 5, abm: 5, sse4a: 6, "3dnowprefetch": 8 },
  "d1.eax": { xsaveopt: 0 },
  "6.eax": { arat: 2 },
};

/** Features of QEMU's CPU models that are not here: they may be switched off, and are missing when asked for. */
const ABSENT = new Set(
  (
    "3dnow 3dnowext ace2 ace2-en acpi amd-no-ssb amd-ssbd amd-stibp amx-bf16 amx-int8 amx-tile arch-capabilities arch-lbr avic avx-vnni " +
    "avx512-4fmaps avx512-4vnniw avx512-bf16 avx512-fp16 avx512-vp2intersect avx512-vpopcntdq avx512bitalg avx512bw avx512cd avx512dq " +
    "avx512er avx512f avx512ifma avx512pf avx512vbmi avx512vbmi2 avx512vl avx512vnni bus-lock-detect cid cldemote clzero cmp-legacy " +
    "core-capability dca decodeassists ds ds-cpl dtes64 est extapic flushbyasid fma4 fsrm full-width-write fxsr-opt gfni hle ia64 ibpb " +
    "ibrs ibrs-all ibs intel-pt intel-pt-lip invtsc la57 lbrv lmce lwp md-clear mds-no misalignsse movdir64b movdiri mpx nodeid-msr npt " +
    "nrip-save osvw pause-filter pbe pcommit pdcm perfctr-core perfctr-nb pfthreshold phe phe-en pks pku pmm pmm-en pn pschange-mc-no " +
    "rdctl-no rsba rtm serialize sgx sgxlc skinit skip-l1dfl-vmentry smx spec-ctrl split-lock-detect ssb-no ssbd stibp svm svm-lock " +
    "svme-addr-chk taa-no tbm tce tm tm2 topoext tsc-scale tsx-ctrl tsx-ldtrk v-vmsave-vmload vaes vgif virt-ssbd vmcb-clean vmx " +
    "vpclmulqdq waitpkg wbnoinvd wdt xcrypt xcrypt-en xfd xgetbv1 xop xsavec xsaveerptr xsaves xstore xstore-en xtpr"
  ).split(" "),
);
/** Other names of features. */
const ALIASES: Record<string, string> = {
  i64: "lm", xd: "nx", pclmuldq: "pclmulqdq", "lahf-lm": "lahf_lm", ffxsr: "fxsr-opt",
  "sse4-1": "sse4.1", "sse4_1": "sse4.1", "sse4-2": "sse4.2", "sse4_2": "sse4.2",
};

/** What the translator implements. */
const SUPPORTED: Record<Word, string> = {
  "1.edx": "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 ss ht",
  "1.ecx": "pni pclmulqdq monitor ssse3 cx16 sse4.1 sse4.2 x2apic movbe popcnt tsc-deadline aes xsave rdrand hypervisor",
  "7.ebx": "fsgsbase tsc-adjust smep erms invpcid rdseed smap clflushopt",
  "7.ecx": "umip rdpid",
  "81.edx": "syscall nx pdpe1gb rdtscp lm",
  "81.ecx": "lahf_lm cr8legacy lzcnt 3dnowprefetch",
  "d1.eax": "xsaveopt",
  "6.eax": "arat",
};

interface Model {
  readonly vendor: "GenuineIntel" | "AuthenticAMD";
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
  readonly level: number;
  readonly xlevel: number;
  readonly features: string;
  readonly id: string;
  /** Not offered by the 32-bit binary when true. */
  readonly longMode: boolean;
  readonly description: string;
}

const P6 = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 mmx fxsr sse ss";
const X64 = "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 pni syscall nx lm";

/** Every feature that is implemented. */
const EVERYTHING = Object.values(SUPPORTED).join(" ");

export const CPU_MODELS: Record<string, Model> = {
  qemu64: {
    vendor: "AuthenticAMD", family: 15, model: 107, stepping: 1, level: 13, xlevel: 0x8000000a, longMode: true,
    features: `${X64} cx16 hypervisor lahf_lm`, id: "QEMU Virtual CPU version 2.5+", description: "QEMU Virtual CPU version 2.5+",
  },
  qemu32: {
    vendor: "GenuineIntel", family: 6, model: 6, stepping: 3, level: 4, xlevel: 0x80000004, longMode: false,
    features: `${P6} sse2 pni hypervisor`, id: "QEMU Virtual CPU version 2.5+", description: "QEMU Virtual CPU version 2.5+",
  },
  max: {
    vendor: "AuthenticAMD", family: 6, model: 6, stepping: 3, level: 13, xlevel: 0x8000000a, longMode: true,
    features: EVERYTHING, id: "QEMU TCG CPU version 2.5+", description: "Enables all features supported by the accelerator in the current host",
  },
  "486": {
    vendor: "GenuineIntel", family: 4, model: 8, stepping: 0, level: 1, xlevel: 0, longMode: false,
    features: "fpu vme pse hypervisor", id: "", description: "(alias configured by machine type)",
  },
  pentium3: {
    vendor: "GenuineIntel", family: 6, model: 8, stepping: 3, level: 3, xlevel: 0x80000008, longMode: false,
    features: `${P6} hypervisor`, id: "", description: "Intel Pentium III",
  },
  Nehalem: {
    vendor: "GenuineIntel", family: 6, model: 26, stepping: 3, level: 11, xlevel: 0x80000008, longMode: true,
    features: `${X64} vme cx16 ssse3 sse4.1 sse4.2 popcnt hypervisor lahf_lm`, id: "Intel Core i7 9xx (Nehalem Class Core i7)",
    description: "Intel Core i7 9xx (Nehalem Class Core i7)",
  },
};

/** Words that CPUID hands out, and what the translator needs to know. */
export interface CpuModel {
  readonly name: string;
  readonly features: ReadonlySet<string>;
  readonly words: Record<Word, number>;
  /** CPUID 1.EAX. */
  readonly signature: number;
  /** Features asked for and not there, as QEMU warns of them. */
  readonly warnings: string[];
  /** The same features by name. */
  readonly missing: string[];
  /** Features that the translator has not: a machine with them stays on KVM. */
  readonly beyondTcg: readonly string[];
  cpuid(leaf: number, subleaf: number, cpu: CpuTopology, out: Uint32Array): void;
  readonly physBits: number;
}

/** State that CPUID reports besides the model. */
export interface CpuTopology {
  /** The vCPU, and its APIC ID: thread in core in socket. */
  readonly index: number;
  /** Cores of a socket, threads of a core: powers of two where there is more of what holds them. */
  readonly cores: number;
  readonly threads: number;
  readonly osxsave: boolean;
  readonly apicEnabled: boolean;
  readonly xcr0: number;
  /** Twelve letters of leaf 0x40000000: the accelerator's. */
  readonly hypervisor?: string;
}

/** Where a name lives. */
function place(name: string): { word: Word; bit: number } | undefined {
  for (const [word, bits] of Object.entries(FEATURES) as [Word, Record<string, number>][]) {
    if (Object.hasOwn(bits, name)) return { word, bit: bits[name]! };
  }
  return undefined;
}

/** All names of a feature's bit. */
function synonyms(name: string): string[] {
  const { word, bit } = place(name)!;
  return Object.keys(FEATURES[word]).filter((n) => FEATURES[word][n] === bit);
}

const canonical = (name: string) => {
  if (Object.hasOwn(ALIASES, name)) return ALIASES[name]!;
  const n = name.replaceAll("_", "-");
  if (place(name)) return name;
  if (place(n)) return n;
  const dotted = name.replace(/^sse4[-_]([12])$/, "sse4.$1");
  if (place(dotted)) return dotted;
  if (name === "lahf-lm") return "lahf_lm";
  return name;
};

/**
 * Makes a model from `-cpu name,+feature,-feature,feature=on`.
 * @throws VmError "cpu/unknown", "cpu/unsupported-feature"
 */
export function cpuModel(
  name: string, changes: readonly { name: string; on: boolean }[], enforce = false, host?: HostCpu,
): CpuModel {
  if (name === "host" && !host) throw new VmError("cpu/unknown", "-cpu host: CPU model 'host' requires KVM");
  const passHost = host !== undefined && (name === "host" || name === "max");
  const m = passHost ? hostModel(host) : Object.hasOwn(CPU_MODELS, name) ? CPU_MODELS[name] : undefined;
  if (!m) throw new VmError("cpu/unknown", `unable to find CPU model '${name}' (try -cpu help)`);
  const wanted = new Set(m.features.split(" ").map(canonical));
  const warnings: string[] = [];
  const missing: string[] = [];
  for (const c of changes) {
    const f = canonical(c.name);
    const absent = f.replaceAll("_", "-");
    if (!place(f) && ABSENT.has(absent)) {
      if (c.on) warnings.push(`${host ? "host" : "TCG"} doesn't support requested feature: ${absent}`);
      if (c.on) missing.push(absent);
      continue;
    }
    if (!place(f)) throw new VmError("cpu/unsupported-feature", `-cpu ${name}: Property '${c.name}' not found`);
    if (c.on) wanted.add(f);
    else for (const name of synonyms(f)) wanted.delete(name);
  }
  const words = { "1.edx": 0, "1.ecx": 0, "7.ebx": 0, "7.ecx": 0, "81.edx": 0, "81.ecx": 0, "d1.eax": 0, "6.eax": 0 } as Record<Word, number>;
  const features = new Set<string>();
  const beyondTcg: string[] = [];
  for (const f of wanted) {
    const p = place(f)!;
    const tcg = SUPPORTED[p.word].split(" ").some((s) => FEATURES[p.word][s] === p.bit);
    const supported = host
      ? MACHINE_FEATURES.has(f) || (hostWord(host, p.word) & (1 << p.bit)) !== 0 || (host.completed && tcg)
      : tcg;
    if (!supported) {
      warnings.push(
        host
          ? `host doesn't support requested feature: ${bitName(p.word, f, p.bit)}`
          : `TCG doesn't support requested feature: CPUID.${p.word.toUpperCase()}.${f} [bit ${p.bit}]`,
      );
      missing.push(f);
      continue;
    }
    words[p.word] = (words[p.word] | (1 << p.bit)) >>> 0;
    if (!tcg) beyondTcg.push(f);
  }
  if (enforce && warnings.length) throw new VmError("cpu/unsupported-feature", `-cpu ${name},enforce: ${warnings[0]}`);
  for (const [w, bits] of Object.entries(FEATURES) as [Word, Record<string, number>][])
    for (const [f, bit] of Object.entries(bits)) if (words[w] & (1 << bit)) features.add(f);
  if (features.has("pni")) features.add("sse3");
  const signature =
    m.stepping | ((m.model & 15) << 4) | (Math.min(m.family, 15) << 8) | ((m.model >> 4) << 16) | (Math.max(0, m.family - 15) << 20);
  const lm = features.has("lm");
  const physBits = lm ? 40 : features.has("pse36") || features.has("pae") ? 36 : 32;
  const level = features.has("xsave") ? Math.max(m.level, 13) : words["7.ebx"] || words["7.ecx"] ? Math.max(m.level, 7) : m.level;
  const vendor = [0, 4, 8].map((o) => fourBytes(m.vendor, o));
  const brand = m.id.padEnd(48, "\0");
  return {
    name,
    features,
    words,
    signature,
    warnings,
    missing,
    beyondTcg,
    physBits,
    cpuid(leaf, subleaf, cpu, out) {
      out.fill(0);
      let l = leaf;
      const logical = cpu.cores * cpu.threads;
      if (l >= 0x40000000 && l < 0x40000100) {
        if (!features.has("hypervisor")) return;
        const name = cpu.hypervisor ?? "TCGTCGTCGTCG";
        if (l === 0x40000000) out.set([0x40000001, fourBytes(name, 0), fourBytes(name, 4), fourBytes(name, 8)]);
        return;
      }
      if (l >= 0x80000000 ? l > m.xlevel : l > level) {
        if (l >= 0x80000000 && m.xlevel === 0) return;
        l = level;
      }
      if (passHost && !MACHINE_LEAVES.has(l) && l !== 0) {
        const row = host.row(l, subleaf);
        if (row) for (let i = 0; i < 4; i++) out[i] = row[i]!;
        return;
      }
      switch (l) {
        case 0:
          out.set([level, vendor[0]!, vendor[2]!, vendor[1]!]);
          return;
        case 1:
          out[0] = signature;
          out[1] = (cpu.index << 24) | ((logical > 1 ? logical : 0) << 16) | (8 << 8);
          out[2] = words["1.ecx"] | (cpu.osxsave ? 1 << 27 : 0);
          out[3] = (words["1.edx"] & (cpu.apicEnabled ? -1 : ~(1 << 9))) | (logical > 1 ? 1 << 28 : 0);
          return;
        case 2:
          out.set([1, 0, 0x4d, 0x2c307d]);
          return;
        case 4: {
          // Level 1 data and instruction 32 KiB, level 2 4 MiB.
          const caches = [[1, 1, 8, 64], [2, 1, 8, 64], [3, 2, 16, 4096]];
          const k = caches[subleaf];
          if (!k) return;
          out.set([k[0]! | (k[1]! << 5) | 0x100 | ((cpu.threads - 1) << 14) | ((cpu.cores - 1) << 26), ((k[2]! - 1) << 22) | 63, k[3]! - 1, 1]);
          return;
        }
        case 5:
          out.set([0, 0, 3, 0]);
          return;
        case 6:
          out[0] = words["6.eax"];
          return;
        case 7:
          if (subleaf === 0) out.set([0, words["7.ebx"], words["7.ecx"], 0]);
          return;
        case 0xb:
          if (subleaf === 0) out.set([Math.ceil(Math.log2(cpu.threads)), cpu.threads, 0x100, cpu.index]);
          else if (subleaf === 1) out.set([Math.ceil(Math.log2(logical)), logical, 0x201, cpu.index]);
          else out.set([0, 0, subleaf & 255, cpu.index]);
          return;
        case 0xd:
          if (!features.has("xsave")) return;
          if (subleaf === 0) out.set([3, 576, 576, 0]);
          else if (subleaf === 1) out[0] = words["d1.eax"];
          return;
        case 0x80000000:
          out.set([m.xlevel, vendor[0]!, vendor[2]!, vendor[1]!]);
          return;
        case 0x80000001:
          out[0] = signature;
          // CmpLegacy: the logical processors of a package are cores.
          out[2] = words["81.ecx"] | (logical > 1 && m.vendor === "AuthenticAMD" ? 2 : 0);
          out[3] = words["81.edx"] | (m.vendor === "AuthenticAMD" ? words["1.edx"] & 0x0183f3ff : 0);
          return;
        case 0x80000002:
        case 0x80000003:
        case 0x80000004:
          for (let i = 0; i < 4; i++) out[i] = fourBytes(brand, (l - 0x80000002) * 16 + i * 4);
          return;
        case 0x80000005:
          out.set([0x01ff01ff, 0x01ff01ff, 0x40020140, 0x40020140]);
          return;
        case 0x80000006:
          out.set([0, 0x42004200, 0x02008140, 0]);
          return;
        case 0x80000008:
          out[0] = physBits | ((lm ? 48 : 32) << 8);
          out[2] = logical - 1;
          return;
      }
    },
  };
}

/** The host's processor as a model: every feature that has a name here; others of the same leaves pass unnamed. */
function hostModel(host: HostCpu): Model {
  const features = (Object.entries(FEATURES) as [Word, Record<string, number>][]).flatMap(([word, bits]) =>
    Object.keys(bits).filter((f) => (hostWord(host, word) & (1 << bits[f]!)) !== 0));
  return {
    ...hostIdentity(host), longMode: features.includes("lm"), features: [...features, "hypervisor", "apic"].join(" "),
    description: "processor with all supported host features",
  };
}

function fourBytes(s: string, at: number): number {
  let v = 0;
  for (let i = 0; i < 4; i++) v |= (s.charCodeAt(at + i) || 0) << (8 * i);
  return v >>> 0;
}

/** The names that `+` and `-` take, for `-cpu help`. */
export function cpuFeatureNames(): string[] {
  return Object.values(FEATURES).flatMap((bits) => Object.keys(bits));
}

/** The boolean properties of a CPU as QEMU has them: features that are not here are false and can only be switched off. */
export function featureProperties(): readonly string[] {
  return [...cpuFeatureNames(), ...ABSENT];
}

/** Every CPUID feature with a name, and whether the translator has it; for help texts and the coverage page. */
export function knownFeatures(): readonly { readonly name: string; readonly word: string; readonly bit: number; readonly supported: boolean }[] {
  return (Object.keys(FEATURES) as Word[]).flatMap((word) => {
    const have = new Set(SUPPORTED[word].split(" "));
    return Object.entries(FEATURES[word]).map(([name, bit]) => ({
      name,
      word,
      bit,
      supported: [...have].some((h) => FEATURES[word][h] === bit),
    }));
  });
}
