/**
 * The choice among accelerators, with its reasons. A list is tried in its order, as QEMU does; the texts are QEMU's, each with
 * a second line that says why or what to do.
 */
import { VmError } from "../base/errors.js";
import type { Host } from "../host/host.js";
import type { AcceleratorName } from "./accelerator.js";
import { autoChoice } from "./facts.js";
import { calibrate } from "./kvm/calibrate.js";
import { cannotOpen, type KvmHost, openKvm } from "./kvm/host.js";

/** One entry of `-accel` or `-machine accel=`. */
export interface AcceleratorWish {
  readonly name: AcceleratorName | "auto";
}

/** What was chosen, and lines about those that were passed over. */
export interface AcceleratorChoice {
  readonly name: AcceleratorName;
  readonly kvm?: KvmHost | undefined;
  readonly notes: readonly string[];
}

/** Guests that KVM runs, by the host's architecture (Node's names). */
const KVM_GUESTS: Readonly<Record<string, readonly string[]>> = { x64: ["x86_64", "i386"] };

/** Why an accelerator cannot run a guest architecture on this host; undefined = it can. */
export function wrongArchitecture(name: AcceleratorName, guest: string, hostArch: string): string | undefined {
  if (name === "tcg" || KVM_GUESTS[hostArch]?.includes(guest)) return undefined;
  return `KVM runs guests of the host's own architecture: this host is ${hostArch === "x64" ? "x86_64" : hostArch}, the guest ${guest}; use -accel tcg`;
}

/** `auto`: KVM where it can run the guest and is fast in every mode. */
async function chooseByFacts(guest: string, host: Host): Promise<AcceleratorChoice> {
  if (wrongArchitecture("kvm", guest, host.arch)) return { name: "tcg", notes: [] };
  const kvm = await openKvm(host);
  if (cannotOpen(kvm)) return { name: "tcg", notes: [] };
  const { takes } = autoChoice(
    kvm,
    calibrate(kvm.device, () => host.clock.monotonicNs()),
  );
  if (takes === "kvm") return { name: "kvm", kvm, notes: [] };
  kvm.device.close();
  return { name: "tcg", notes: [] };
}

/**
 * Takes the first that this host can give.
 * @throws VmError "accel/unavailable" with the reasons when there is none
 */
export async function chooseAccelerator(
  wanted: readonly AcceleratorWish[],
  guest: string,
  host: Host,
): Promise<AcceleratorChoice> {
  const lines: string[] = [];
  for (const { name } of wanted) {
    if (name === "tcg") return { name, notes: lines.length > 0 ? [...lines, "falling back to tcg"] : [] };
    if (name === "auto") return chooseByFacts(guest, host);
    const reason = wrongArchitecture(name, guest, host.arch);
    if (reason) {
      lines.push(`invalid accelerator ${name}`, reason);
      continue;
    }
    const kvm = await openKvm(host);
    if (!cannotOpen(kvm)) return { name, kvm, notes: lines.length > 0 ? [...lines, `falling back to ${name}`] : [] };
    lines.push(kvm.line, kvm.advice);
  }
  throw new VmError("accel/unavailable", lines.join("\n"));
}
