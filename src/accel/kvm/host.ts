/** KVM on this host: opened, or the reason why not. */
import { VmError } from "../../base/errors.js";
import type { Host } from "../../host/host.js";
import { isObstacle, KvmDevice, type KvmObstacle } from "./device.js";

/** KVM of this host. */
export interface KvmHost {
  readonly device: KvmDevice;
  /** The processor has VT-x or AMD-V and shows it. Without, KVM is emulated by the host's kernel. */
  readonly hardware: boolean;
}

/** Flags of the host's processor that mean hardware virtualisation (/proc/cpuinfo). */
export const VIRTUALISATION_FLAGS = { vmx: "VT-x", svm: "AMD-V" } as const;

/** Which extension the flags show. */
export function virtualisationOf(flags: ReadonlySet<string>): "VT-x" | "AMD-V" | "none" {
  return flags.has("vmx") ? VIRTUALISATION_FLAGS.vmx : flags.has("svm") ? VIRTUALISATION_FLAGS.svm : "none";
}

/** The flags of the first processor. */
export function cpuFlags(cpuinfo: string): ReadonlySet<string> {
  return new Set(/^flags\s*:\s*(.*)$/m.exec(cpuinfo)?.[1]?.split(" ") ?? []);
}

/** Opens KVM. @returns it, or what stands in the way */
export async function openKvm(host: Host): Promise<KvmHost | KvmObstacle> {
  const { linux } = host;
  if (!linux)
    return {
      line: "Could not access KVM kernel module: No such file or directory",
      advice: "KVM is a part of Linux; use -accel tcg",
    };
  let sys: Awaited<ReturnType<typeof linux.syscalls>>;
  try {
    sys = await linux.syscalls();
  } catch (e) {
    if (!(e instanceof VmError)) throw e;
    return { line: "failed to initialize kvm: Function not implemented", advice: `${e.message}, or use -accel tcg` };
  }
  const device = KvmDevice.open(sys);
  if (isObstacle(device)) return device;
  const flags = cpuFlags((await linux.readText("/proc/cpuinfo")) ?? "");
  return { device, hardware: virtualisationOf(flags) !== "none" };
}

export function cannotOpen(x: KvmHost | KvmObstacle): x is KvmObstacle {
  return "advice" in x;
}
