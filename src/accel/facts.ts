/**
 * What accelerates guests on this host: each fact by itself, what `-accel auto` makes of them and why. `tandem doctor` prints it.
 *
 * Sources: Linux /proc/cpuinfo (flags vmx, svm, ept, npt, hypervisor), /sys/module/kvm_intel/parameters, api.rst.
 */
import type { Host } from "../host/host.js";
import type { AcceleratorName } from "./accelerator.js";
import { calibrate, type KvmSpeed } from "./kvm/calibrate.js";
import type { KvmObstacle } from "./kvm/device.js";
import { cannotOpen, cpuFlags, type KvmHost, openKvm, virtualisationOf } from "./kvm/host.js";
import { API_VERSION, CAPABILITIES } from "./kvm/ioctls.js";

/**
 * Slowest kernel mode, in million instructions a second, with which KVM is taken: TCG runs such code at 100 and more. Processors
 * with VT-x or AMD-V are above a thousand, an emulating KVM is below ten.
 */
export const AUTO_KERNEL_MIPS = 100;

/** Modules that may be part of the kernel, each with a parameter by which it is known. */
const MODULE_PARAMETERS = [
  ["kvm", "halt_poll_ns"],
  ["kvm_intel", "ept"],
  ["kvm_amd", "npt"],
  ["kvm_pvm", "pvm_native"],
] as const;

export interface HostFacts {
  readonly architecture: string;
  readonly cpu: { readonly vendor: string; readonly model: string };
  readonly extension: "VT-x" | "AMD-V" | "none";
  /** Extended or nested page tables. */
  readonly secondLevelTables: boolean;
  /** A guest of this host may have KVM itself. */
  readonly nested: boolean;
  /** This host is a guest. */
  readonly virtualised: boolean;
  /** Kernel modules of KVM, loaded or built in. */
  readonly modules: readonly string[];
  /** undefined = it can be used. */
  readonly obstacle: KvmObstacle | undefined;
  readonly apiVersion: number | undefined;
  readonly capabilities: readonly { readonly name: string; readonly value: number; readonly meaning: string }[];
  readonly speed: KvmSpeed | undefined;
  readonly auto: AutoChoice;
}

/** What `auto` takes, and the reason in one line. */
export interface AutoChoice {
  readonly takes: AcceleratorName;
  readonly why: string;
}

/** Chooses by an opened KVM's own speed. */
export function autoChoice(kvm: KvmHost | KvmObstacle, speed: KvmSpeed | undefined): AutoChoice {
  if (cannotOpen(kvm))
    return { takes: "tcg", why: `${kvm.line}; ${kvm.advice.replace(/,? or use -accel tcg$|; use -accel tcg$/, "")}` };
  const mips = Math.round((speed?.kernel64 ?? 0) * 10) / 10;
  if (mips < AUTO_KERNEL_MIPS)
    return {
      takes: "tcg",
      why: `this KVM runs kernel code at ${mips} million instructions a second${kvm.hardware ? "" : ": the processor shows neither VT-x nor AMD-V, so it emulates them"}`,
    };
  return { takes: "kvm", why: `KVM runs kernel code at ${mips} million instructions a second` };
}

/** Looks at everything; takes some ten milliseconds. Nothing stays open. */
export async function hostFacts(host: Host): Promise<HostFacts> {
  const read = async (path: string) => (await host.linux?.readText(path)) ?? "";
  const cpuinfo = await read("/proc/cpuinfo");
  const field = (name: string) => new RegExp(`^${name}\\s*:\\s*(.*)$`, "m").exec(cpuinfo)?.[1] ?? "unknown";
  const flags = cpuFlags(cpuinfo);
  const loaded = [...(await read("/proc/modules")).matchAll(/^(kvm\w*)/gm)].map((m) => m[1]!);
  const builtIn = await Promise.all(
    MODULE_PARAMETERS.map(async ([m, p]) => ((await read(`/sys/module/${m}/parameters/${p}`)) ? m : "")),
  );
  const modules = [...new Set([...loaded, ...builtIn.filter((m) => m !== "")])];
  const nested = await Promise.all(["kvm_intel", "kvm_amd"].map((m) => read(`/sys/module/${m}/parameters/nested`)));
  const kvm = await openKvm(host);
  let speed: KvmSpeed | undefined;
  let capabilities: HostFacts["capabilities"] = [];
  if (!cannotOpen(kvm)) {
    try {
      speed = calibrate(kvm.device, () => host.clock.monotonicNs());
      capabilities = CAPABILITIES.map(({ name, meaning }) => ({ name, value: kvm.device.capability(name), meaning }));
    } finally {
      kvm.device.close();
    }
  }
  return {
    architecture: host.arch === "x64" ? "x86_64" : host.arch,
    cpu: { vendor: field("vendor_id"), model: field("model name") },
    extension: virtualisationOf(flags),
    secondLevelTables: flags.has("ept") || flags.has("npt"),
    nested: nested.some((v) => /^[1Y]/.test(v)),
    virtualised: flags.has("hypervisor"),
    modules,
    obstacle: cannotOpen(kvm) ? kvm : undefined,
    apiVersion: cannotOpen(kvm) ? undefined : API_VERSION,
    capabilities,
    speed,
    auto: autoChoice(kvm, speed),
  };
}
