/** The vCPUs and CPU models. Source: QEMU 7.2 qapi/machine.json, qapi/machine-target.json. */
import type { GuestArch } from "../../../machine/config.js";
import { cpuModelNames, cpuTypeName } from "../../../machine/cpu-types.js";
import { CPU_MODELS, cpuModel, featureProperties } from "../../../target/x86/cpu-models.js";
import { command, type QmpCommand } from "../command.js";
import { generic } from "../errors.js";
import { any, array, bool, enumeration, int, optional, str, struct } from "../types.js";

const TOPOLOGY = struct("CpuInstanceProperties", {
  "socket-id": optional(int),
  "core-id": optional(int),
  "thread-id": optional(int),
});
const MODEL_INFO = struct("CpuModelInfo", { name: str, props: optional(any) });

/** The features of a model as properties. @throws QmpError */
function expand(name: string, props: { readonly [name: string]: unknown }) {
  if (!Object.hasOwn(CPU_MODELS, name)) throw generic(`The CPU type '${name}' is not a known CPU type`);
  const known = featureProperties();
  const changes: { name: string; on: boolean }[] = [];
  for (const [key, value] of Object.entries(props)) {
    if (!known.includes(key)) {
      if (key === "migratable") continue;
      throw generic(`Property '${name}-x86_64-cpu.${key}' not found`);
    }
    if (typeof value !== "boolean") throw generic(`Invalid parameter type for '${key}', expected: boolean`);
    changes.push({ name: key, on: value });
  }
  const { features } = cpuModel(name, changes);
  return Object.fromEntries(known.map((name) => [name, features.has(name)]));
}

/** What a model should have and has not here. */
function unavailable(arch: GuestArch, name: string): readonly string[] {
  if (arch === "ppc64") return [];
  return [...(CPU_MODELS[name]?.longMode && arch === "i386" ? ["lm"] : []), ...cpuModel(name, []).missing];
}

export const CPU_COMMANDS: readonly QmpCommand[] = [
  command("query-cpus-fast", {
    doc: "The vCPUs, without stopping them.",
    returns: array(
      struct("CpuInfoFast", {
        "cpu-index": int,
        "qom-path": str,
        "thread-id": int,
        props: optional(TOPOLOGY),
        target: enumeration("SysEmuTarget", ["i386", "x86_64", "ppc", "ppc64"]),
      }),
    ),
    run: ({ target }) => {
      const { smp, arch } = target.config;
      return target.inspect.cpus().map(({ index }) => ({
        "cpu-index": index,
        "qom-path": `/machine/unattached/device[${index}]`,
        // vCPUs that are not threads of their own have the process's.
        "thread-id": target.threadId(index),
        props: {
          "socket-id": Math.floor(index / (smp.cores * smp.threads)),
          "core-id": Math.floor(index / smp.threads) % smp.cores,
          "thread-id": index % smp.threads,
        },
        target: arch,
      }));
    },
  }),
  command("query-cpu-definitions", {
    doc: "The CPU models.",
    returns: array(
      struct("CpuDefinitionInfo", {
        name: str,
        typename: str,
        "migration-safe": optional(bool),
        static: bool,
        "unavailable-features": optional(array(str)),
        deprecated: bool,
      }),
    ),
    run: ({ target: { config } }) =>
      cpuModelNames(config.arch).map((name) => ({
        name,
        typename: cpuTypeName(config.arch, name),
        "migration-safe": name !== "max",
        static: false,
        "unavailable-features": unavailable(config.arch, name),
        deprecated: false,
      })),
  }),
  command("query-cpu-model-expansion", {
    doc: "The features that a CPU model has here.",
    args: { type: enumeration("CpuModelExpansionType", ["static", "full"]), model: MODEL_INFO },
    returns: struct("CpuModelExpansionInfo", { model: MODEL_INFO }),
    run: (_, { type, model }) => {
      const props = expand(model.name, (model.props ?? {}) as { readonly [name: string]: unknown });
      return { model: { name: type === "static" ? "base" : model.name, props } };
    },
  }),
];
