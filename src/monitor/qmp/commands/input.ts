/** Keys and screens. Source: QEMU 7.2 qapi/ui.json. */
import { DEFAULT_HOLD_MS } from "../../../ui/keymap.js";
import { encodePng } from "../../../ui/png.js";
import { encodePpm } from "../../../ui/ppm.js";
import { command, type QmpCommand } from "../command.js";
import { generic } from "../errors.js";
import { array, enumeration, int, optional, str, struct, union } from "../types.js";

type KeyValue = { readonly type: "number"; readonly data: number } | { readonly type: "qcode"; readonly data: string };
const KEY_VALUE = union<KeyValue>("KeyValue", { type: enumeration("KeyValueKind", ["number", "qcode"]) }, "type", {
  number: struct("IntWrapper", { data: int }),
  qcode: struct("QKeyCodeWrapper", { data: str }),
});
/** Keys pressed together. */
const KEYS_LIMIT = 16;

export const INPUT_COMMANDS: readonly QmpCommand[] = [
  command("send-key", {
    doc: "Presses keys together and lets them go after hold-time milliseconds.",
    args: { keys: array(KEY_VALUE), "hold-time": optional(int) },
    run: ({ target }, { keys, "hold-time": holdMs = DEFAULT_HOLD_MS }) => {
      if (keys.length > KEYS_LIMIT) throw generic(`Parameter 'keys' expects at most ${KEYS_LIMIT} keys`);
      if (holdMs < 0 || holdMs > 60_000) throw generic("Parameter 'hold-time' expects 0 to 60000");
      target.sendKeys(
        keys.map((k) => (k.type === "number" ? `0x${k.data.toString(16)}` : k.data)),
        holdMs,
      );
    },
  }),
  command("screendump", {
    doc: "Writes the screen to a file of the host.",
    args: {
      filename: str,
      device: optional(str),
      head: optional(int),
      format: optional(enumeration("ImageFormat", ["ppm", "png"])),
    },
    run: async ({ target }, { filename, device, head = 0, format = "ppm" }) => {
      if (head !== 0) throw generic(`Parameter 'head' expects 0, not ${head}: the machine has one screen`);
      const display = target.inspect.display();
      if (device !== undefined && target.inspect.deviceById?.(device) !== (display as unknown))
        throw generic(`Device '${device}' not found or not a display`);
      if (!display) throw generic("There is no console to take a screendump from.");
      const surface = display.refresh();
      await target.writeFile(filename, format === "png" ? encodePng(surface) : encodePpm(surface));
    },
  }),
];
