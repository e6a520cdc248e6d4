/** `device_add`'s arguments, from the option's text or from JSON, as a configuration. */

import { VmError } from "../base/errors.js";
import { checkId } from "../cli/options/characters.js";
import { parseObject, toProperties } from "../cli/options/grammar.js";
import type { DeviceConfig } from "../machine/config.js";

/** @throws VmError "option/missing" | "option/invalid" */
export function deviceConfig(text: string, origin: string): DeviceConfig {
  const props = parseObject(text, "driver", origin);
  const driver = props.get("driver") ?? "";
  if (driver === "") throw new VmError("option/missing", `${origin}: Parameter 'driver' is missing`);
  const id = props.get("id");
  if (id !== undefined) checkId(id, origin);
  const bus = props.get("bus");
  for (const name of ["driver", "id", "bus"]) props.delete(name);
  return { driver, id, bus, props: toProperties(props), origin };
}
