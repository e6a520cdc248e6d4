/** `info kvm`. The first line is QEMU's; the rest is what KVM did and what the translator did for it. */
import type { PcCpus } from "./pc-cpus.js";

/** Exits by KVM's number; those that cannot occur have no row. */
const EXIT_NAMES: Readonly<Record<number, string>> = {
  2: "io",
  4: "debug",
  5: "hlt",
  6: "mmio",
  7: "interrupt window",
  8: "shutdown",
  9: "entry failed",
  10: "signal",
  17: "internal error",
  26: "eoi",
  29: "rdmsr",
  30: "wrmsr",
};

export function kvmText(cpus: PcCpus): string {
  const { kvm } = cpus;
  if (!kvm) return "kvm support: disabled\n";
  const { log, device, vm } = kvm;
  const rows: [string, number | string][] = [];
  for (const v of kvm.vcpus) {
    rows.push([`CPU #${v.index} entries`, v.runs]);
    for (const [n, name] of Object.entries(EXIT_NAMES)) {
      const count = v.exits[Number(n)]!;
      if (count > 0) rows.push([`CPU #${v.index} exits, ${name}`, count]);
    }
  }
  rows.push(["memory slots", `${vm.slotCount} of ${device.capability("nr_memslots")}`]);
  rows.push(["time stamp counter, kHz", cpus.tscKhz]);
  rows.push(["instructions run by TCG", log.insns]);
  rows.push(["instructions KVM could not emulate", log.failures]);
  for (const [name, n] of [...log.byMnemonic].sort((a, b) => b[1] - a[1])) rows.push([`  ${name}`, n]);
  rows.push(["states KVM refused", [...log.refusals.values()].reduce((a, b) => a + b, 0)]);
  for (const [reason, n] of log.refusals) rows.push([`  ${reason}`, n]);
  rows.push(["shutdowns tried again by TCG", log.shutdowns]);
  rows.push(["interrupt windows missed", log.lateWindows]);
  rows.push(["stretches of TCG in slow modes", log.assists]);
  rows.push(["guarded native runs of user code", log.guardedRuns]);
  return `kvm support: enabled\n${rows.map(([n, v]) => `${n.padEnd(40)}${v}`).join("\n")}\n`;
}
