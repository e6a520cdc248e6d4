/** Hot-plug. Source: QEMU 7.2 qapi/qdev.json. */
import { VmError } from "../../../base/errors.js";
import { deviceConfig } from "../../hotplug.js";
import { command, type QmpCommand } from "../command.js";
import { deviceNotFound } from "../errors.js";
import { writeJson } from "../json.js";
import { optional, str } from "../types.js";

/** "device/unknown" is a class of its own to clients. */
async function finding<T>(id: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (e) {
    if (e instanceof VmError && e.code === "device/unknown") throw deviceNotFound(id);
    throw e;
  }
}

export const DEVICE_COMMANDS: readonly QmpCommand[] = [
  command("device_add", {
    doc: "Adds a device to the running machine; PCI devices can be.",
    args: { driver: str, bus: optional(str), id: optional(str) },
    openArgs: true,
    features: ["json-cli", "json-cli-hotplug"],
    run: ({ target }, args) => target.plugDevice(deviceConfig(writeJson(args), "device_add")),
  }),
  command("device_del", {
    doc: "Asks the guest to let a device go; DEVICE_DELETED tells when it has.",
    args: { id: str },
    run: ({ target }, { id }) => finding(id, () => target.unplugDevice(id)),
  }),
];
