/**
 * The public face on Node: makes machines.
 *
 *     await using vm = await createMachine({ args: ["-m", "256", "-kernel", "bzImage", "-append", "console=ttyS0"] });
 *     vm.run();
 *     await vm.waitForSerial("login:", { signal: AbortSignal.timeout(60_000) });
 */

import { VmError } from "./base/errors.js";
import { PrintAndExit } from "./cli/options/draft.js";
import { readNetdev } from "./cli/options/network.js";
import { parseCommandLine } from "./cli/options/parse.js";
import type { Host } from "./host/host.js";
import { nodeHost } from "./host/node/index.js";
import { createBoard } from "./machine/boards.js";
import type { MachineConfig } from "./machine/config.js";
import { deviceTypes } from "./machine/device-types.js";
import { Machine } from "./machine/vm.js";
import { HmpConsole } from "./monitor/hmp/console.js";
import { HmpSession } from "./monitor/hmp/session.js";
import { QmpConsole } from "./monitor/qmp/console.js";

export { VmError, type VmErrorCode } from "./base/errors.js";
export { QEMU_VERSION, TANDEM_VERSION } from "./base/version.js";
export type { Host } from "./host/host.js";
export type * from "./machine/config.js";
export type { MachineEvent, RunState } from "./machine/events.js";
export { type ByteStreams, Machine, type MachineEnd } from "./machine/vm.js";
export { HmpSession };

/** How to make a machine. */
export interface MachineOptions extends Partial<MachineConfig> {
  /**
   * QEMU options; what else is given here wins over them. Where they say nothing, the first serial port (`vm.serial()`)
   * and the monitor (`vm.chardev("monitor0")`) are streams.
   */
  readonly args?: readonly string[];
  /** Gives up while files and sockets are being opened. */
  readonly signal?: AbortSignal;
  /** Another world than this process's. */
  readonly host?: Host;
}

/**
 * Makes a machine; `run` starts it. `await using` ends it and closes its files.
 * @throws VmError for everything that the options may have wrong
 */
export async function createMachine(options: MachineOptions = {}): Promise<Machine> {
  const { args = [], signal, host = nodeHost(), ...config } = options;
  const parsed = parseCommandLine(args, {
    program: "tandem",
    arch: config.arch ?? "x86_64",
    deviceTypes: deviceTypes(config.arch ?? "x86_64"),
    streams: true,
  });
  if (parsed instanceof PrintAndExit) throw new VmError("option/invalid", "an option that only prints makes no machine");
  return startMachine({ ...parsed, ...config }, host, signal);
}

/** Makes a machine from a complete configuration. */
export function startMachine(config: MachineConfig, host: Host, signal?: AbortSignal): Promise<Machine> {
  return Machine.create(
    config,
    {
      host,
      createBoard,
      openMonitor: (machine, chardev, { mode, pretty }) =>
        void (mode === "control" ? new QmpConsole(machine, chardev, pretty) : new HmpConsole(machine, chardev)),
      readNetdev: (text, origin) => {
        try {
          return readNetdev(text, origin);
        } catch (e) {
          throw e instanceof PrintAndExit ? new VmError("option/invalid", e.text.trimEnd()) : e;
        }
      },
    },
    signal,
  );
}

/** Runs one command of the human monitor. @returns its output, lines ending with "\n" */
export async function monitorCommand(machine: Machine, line: string): Promise<string> {
  let out = "";
  await new HmpSession(machine).execute(line, (text) => {
    out += text;
  });
  return out;
}
