/** -cpu of the PowerPC programs. Source: QEMU 7.2's `-cpu help`; names are read whatever their case. */
import { VmError } from "../../base/errors.js";
import { PPC_CPU_MODELS, ppcCpuModel } from "../../target/ppc/cpu-models.js";
import { type Draft, PrintAndExit } from "./draft.js";
import { isHelp } from "./grammar.js";

function help(): string {
  let out = "";
  for (const [alias, m] of Object.entries(PPC_CPU_MODELS)) {
    out += `PowerPC ${m.name.padEnd(16)} PVR ${m.pvr.toString(16).padStart(8, "0")}\n`;
    out += `PowerPC ${alias.padEnd(16)} (alias for ${m.name})\n`;
  }
  return out;
}

export function parsePpcCpu(draft: Draft, value: string, origin: string): void {
  const [name = "", ...properties] = value.split(",");
  if (isHelp(name)) throw new PrintAndExit(help());
  if (name === "host")
    throw new VmError(
      "cpu/unknown",
      `${origin}: CPU model 'host' requires KVM, which runs guest code of the host's own kind only`,
    );
  const model = ppcCpuModel(name);
  if (!model)
    throw new VmError("cpu/unknown", `${origin}: unable to find CPU model '${name}'; use -cpu help to list those there are`);
  const property = properties.find((p) => p !== "");
  if (property !== undefined)
    throw new VmError("option/unsupported", `${origin}: CPU property '${property.split("=")[0]}' is not supported`);
  draft.cpu = { model: model.name, features: [], props: {} };
}
