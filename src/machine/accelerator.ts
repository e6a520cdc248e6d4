/** The choice among `-accel`s. */
import { VmError } from "../base/errors.js";
import type { AccelConfig } from "./config.js";

/** What was chosen, and a line for each that was passed over. */
export interface AcceleratorChoice {
  readonly accel: AccelConfig;
  readonly notes: readonly string[];
}

/** Takes the first that this host can give. @throws VmError "accel/unavailable" with the reasons when there is none */
export function chooseAccelerator(wanted: readonly AccelConfig[]): AcceleratorChoice {
  const reasons: string[] = [];
  for (const accel of wanted) {
    if (accel.name === "tcg") return { accel, notes: reasons.length > 0 ? [...reasons, "falling back to tcg"] : [] };
    reasons.push(`-accel ${accel.name}: accelerator ${accel.name} is not in this version`);
  }
  throw new VmError("accel/unavailable", `${reasons.join("; ")}; use -accel tcg`);
}
