/** From a command line to a configuration. */
import { VmError } from "../../base/errors.js";
import type { DeviceType } from "../../hw/core/device-type.js";
import type { GuestArch, MachineConfig } from "../../machine/config.js";
import { addDiskImage } from "./boot-and-block.js";
import { newDraft, PrintAndExit } from "./draft.js";
import { finish } from "./finish.js";
import { helpText, versionText } from "./help.js";
import { findOption, UNSUPPORTED_OPTIONS } from "./table.js";

/** Which program the command line is for. */
export interface Personality {
  readonly program: string;
  readonly arch: GuestArch;
  readonly deviceTypes: readonly DeviceType[];
  /** Serial port and monitor that nobody spoke of are streams of the API rather than nothing. */
  readonly streams?: boolean;
}

/**
 * Reads a command line without the program's name. Options may have one dash or two.
 * @returns the configuration, or a text to print before ending with status 0
 * @throws VmError whose message is one line that names the option and its value
 */
export function parseCommandLine(args: readonly string[], personality: Personality): MachineConfig | PrintAndExit {
  const draft = newDraft(personality.program, personality.arch, personality.deviceTypes);
  try {
    for (let i = 0; i < args.length; i++) {
      const arg = args[i]!;
      if (!arg.startsWith("-") || arg === "-") {
        if (arg === "") throw new VmError("option/invalid", "'': a disk image's name cannot be empty");
        addDiskImage(draft, arg);
        continue;
      }
      const name = arg.startsWith("--") ? arg.slice(2) : arg.slice(1);
      const option = findOption(name);
      if (!option)
        throw UNSUPPORTED_OPTIONS.has(name)
          ? new VmError("option/unsupported", `${arg}: option is not supported`)
          : new VmError("option/unknown", `${arg}: invalid option`);
      if (name === "version") return new PrintAndExit(versionText());
      if (name === "h" || name === "help") return new PrintAndExit(helpText(personality.program));
      if (option.argument === undefined) {
        option.parse(draft, "", arg);
        continue;
      }
      const value = args[++i];
      if (value === undefined) throw new VmError("option/missing", `${arg}: requires an argument`);
      option.parse(draft, value, `${arg} ${value}`);
    }
    return finish(draft, personality.streams ?? false);
  } catch (e) {
    if (e instanceof PrintAndExit) return e;
    throw e;
  }
}
