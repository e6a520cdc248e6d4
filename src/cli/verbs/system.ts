/** `tandem-system-*`: QEMU's command line. */
import { VmError } from "../../base/errors.js";
import { nodeHost } from "../../host/node/index.js";
import { startMachine } from "../../index.js";
import type { GuestArch } from "../../machine/config.js";
import { DEVICE_TYPES } from "../../machine/device-types.js";
import type { Machine } from "../../machine/vm.js";
import { PrintAndExit } from "../options/draft.js";
import { parseCommandLine } from "../options/parse.js";
import { onTermination } from "./signals.js";

/** Loads the state that `-incoming` names. @throws VmError; the machine has ended then */
async function loadOrEnd(machine: Machine, uri: string, signal: AbortSignal): Promise<void> {
  try {
    await machine.load(uri, signal);
  } catch (e) {
    if (signal.aborted) return;
    machine.quit(1);
    await machine.ended;
    throw e instanceof VmError ? new VmError(e.code, `-incoming ${uri}: ${e.message}`, { cause: e }) : e;
  }
}

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
    machine?.quit(0, "host-signal");
    abort.abort();
  });
  machine = await startMachine(config, host, abort.signal);
  if (abort.signal.aborted) machine.quit();
  else {
    if (!config.startPaused) machine.run();
    if (config.incoming !== undefined && config.incoming !== "defer") await loadOrEnd(machine, config.incoming, abort.signal);
  }
  const { status } = await machine.ended;
  stop();
  return status;
}
