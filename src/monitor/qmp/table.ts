/** Every command of the protocol. */

import type { QmpCommand } from "./command.js";
import { BLOCK_COMMANDS } from "./commands/block.js";
import { CHARDEV_COMMANDS } from "./commands/chardev.js";
import { CPU_COMMANDS } from "./commands/cpu.js";
import { DEVICE_COMMANDS } from "./commands/device.js";
import { DISPLAY_COMMANDS } from "./commands/display.js";
import { INPUT_COMMANDS } from "./commands/input.js";
import { MACHINE_COMMANDS } from "./commands/machine.js";
import { META_COMMANDS } from "./commands/meta.js";
import { MIGRATION_COMMANDS } from "./commands/migration.js";
import { NETWORK_COMMANDS } from "./commands/network.js";
import { QOM_COMMANDS } from "./commands/qom.js";
import { RUN_COMMANDS } from "./commands/run.js";

export const QMP_COMMANDS: readonly QmpCommand[] = [
  ...META_COMMANDS,
  ...RUN_COMMANDS,
  ...MACHINE_COMMANDS,
  ...CPU_COMMANDS,
  ...QOM_COMMANDS,
  ...CHARDEV_COMMANDS,
  ...BLOCK_COMMANDS,
  ...INPUT_COMMANDS,
  ...DISPLAY_COMMANDS,
  ...NETWORK_COMMANDS,
  ...DEVICE_COMMANDS,
  ...MIGRATION_COMMANDS,
];

let byName: Map<string, QmpCommand> | undefined;

export function findCommand(name: string): QmpCommand | undefined {
  // Built at the first use: the commands that list commands import this file.
  byName ??= new Map(QMP_COMMANDS.map((c) => [c.name, c]));
  return byName.get(name);
}
