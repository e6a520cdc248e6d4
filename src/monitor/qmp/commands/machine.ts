/** What the machine is: types, accelerators, memory, PCI. Source: QEMU 7.2 qapi/machine.json, qapi/machine-target.json, qapi/pci.json. */
import { MACHINE_TYPES } from "../../../machine/catalog.js";
import { command, type QmpCommand } from "../command.js";
import { QmpError } from "../errors.js";
import { ACCELERATOR } from "../events.js";
import { pciInfo } from "../pci-info.js";
import { any, array, bool, enumeration, int, optional, str, struct, wide } from "../types.js";

const MACHINE_INFO = struct("MachineInfo", {
  name: str,
  alias: optional(str),
  "is-default": optional(bool),
  "cpu-max": int,
  "hotpluggable-cpus": bool,
  "numa-mem-supported": bool,
  deprecated: bool,
  "default-cpu-type": optional(str),
  "default-ram-id": optional(str),
});

/** No balloon: the class that clients ask for. */
function needBalloon<T>(balloon: T | undefined): T {
  if (!balloon) throw new QmpError("DeviceNotActive", "No balloon device has been activated");
  return balloon;
}

export const MACHINE_COMMANDS: readonly QmpCommand[] = [
  command("query-target", {
    doc: "The guest's architecture.",
    returns: struct("TargetInfo", { arch: enumeration("SysEmuTarget", ["i386", "x86_64", "ppc", "ppc64"]) }),
    run: ({ target }) => ({ arch: target.config.arch }),
  }),
  command("query-kvm", {
    doc: "Whether KVM runs the guest, and whether this host has it.",
    returns: struct("KvmInfo", { enabled: bool, present: bool }),
    run: ({ target }) => ({ enabled: target.accelerator === "kvm", present: target.accelerators().includes("kvm") }),
  }),
  command("query-accelerators", {
    doc: "The accelerators: which one runs the guest, which this host has for it.",
    returns: struct("AcceleratorInfo", { enabled: ACCELERATOR, present: array(ACCELERATOR) }),
    run: ({ target }) => ({ enabled: target.accelerator, present: target.accelerators() }),
  }),
  command("x-accel-set", {
    doc: "Goes on on another accelerator, between two instructions of each vCPU.",
    args: { accel: ACCELERATOR },
    run: ({ target }, { accel }) => target.setAccelerator(accel as "kvm" | "tcg"),
  }),
  command("query-machines", {
    doc: "The machine types.",
    returns: array(MACHINE_INFO),
    run: ({ target }) =>
      MACHINE_TYPES.filter((m) => m.archs.includes(target.config.arch)).map((m) => ({
        name: m.canonical,
        alias: m.canonical === m.name ? undefined : m.name,
        "is-default": m.isDefault || undefined,
        "cpu-max": m.maxCpus,
        "hotpluggable-cpus": false,
        "numa-mem-supported": false,
        deprecated: false,
        "default-cpu-type": m.defaultCpu?.[target.config.arch],
        "default-ram-id": m.defaultRamId,
      })),
  }),
  command("query-current-machine", {
    doc: "What the machine can do besides its type.",
    returns: struct("CurrentMachineParams", { "wakeup-suspend-support": bool }),
    run: ({ target }) => ({ "wakeup-suspend-support": target.config.machine.type !== "none" && target.config.acpi }),
  }),
  command("query-memory-size-summary", {
    doc: "The guest's memory in bytes.",
    returns: struct("MemoryInfo", { "base-memory": wide, "plugged-memory": optional(wide) }),
    run: ({ target }) => ({ "base-memory": target.config.memoryBytes, "plugged-memory": 0 }),
  }),
  command("query-pci", {
    doc: "The PCI functions with their regions.",
    returns: array(any),
    run: ({ target }) => pciInfo(target.inspect.pciFunctions()),
  }),
  command("balloon", {
    doc: "Asks the guest to come to this size, in bytes.",
    args: { value: int },
    run: ({ target }, { value }) => {
      const balloon = needBalloon(target.inspect.balloon);
      if (value <= 0) throw new QmpError("GenericError", "Parameter 'target' expects a size");
      balloon.setTarget(value);
    },
  }),
  command("query-balloon", {
    doc: "The size the guest has come to, in bytes.",
    returns: struct("BalloonInfo", { actual: int }),
    run: ({ target }) => ({ actual: needBalloon(target.inspect.balloon).actualBytes }),
  }),
];
