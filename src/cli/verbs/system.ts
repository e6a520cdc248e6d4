/** `tandem-system-*`: QEMU's command line. */
import { nodeHost } from "../../host/node/index.js";
import { startMachine } from "../../index.js";
import type { GuestArch } from "../../machine/config.js";
import { DEVICE_TYPES } from "../../machine/device-types.js";
import type { Machine } from "../../machine/vm.js";
import { PrintAndExit } from "../options/draft.js";
import { parseCommandLine } from "../options/parse.js";
import { onTermination } from "./signals.js";

/** Runs a machine as the arguments say. @returns the exit status @throws VmError */
export async function system(program: string, args: readonly string[], arch: GuestArch): Promise<number> {
  const config = parseCommandLine(args, { program, arch, deviceTypes: DEVICE_TYPES });
  if (config instanceof PrintAndExit) {
    process.stdout.write(config.text);
    return 0;
  }
  const host = nodeHost(program);
  const abort = new AbortController();
  let machine: Machine | undefined;
  const stop = onTermination((name, number) => {
    host.note(`terminating on signal ${number} (${name})`);
    if (machine) machine.quit();
    else abort.abort();
  });
  machine = await startMachine(config, host, abort.signal);
  if (abort.signal.aborted) machine.quit();
  else if (!config.startPaused) machine.run();
  const { status } = await machine.ended;
  stop();
  return status;
}
