/** `tandem-system-*`: QEMU's command line. */
import { VmError } from "../../base/errors.js";
import { nodeHost } from "../../host/node/index.js";
import { startMachine } from "../../index.js";
import type { GuestArch, MachineConfig } from "../../machine/config.js";
import { deviceTypes } from "../../machine/device-types.js";
import type { Machine } from "../../machine/vm.js";
import { PrintAndExit } from "../options/draft.js";
import { parseCommandLine } from "../options/parse.js";
import { becomeDaemon, daemonReady, isDaemon, writePidFile } from "./daemon.js";
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

/** Goes back to the snapshot that `-loadvm` names. @throws VmError; the machine has ended then */
async function snapshotOrEnd(machine: Machine, name: string): Promise<void> {
  try {
    await machine.snapshots.load(name);
  } catch (e) {
    machine.quit(1);
    await machine.ended;
    throw e instanceof VmError ? new VmError(e.code, `-loadvm ${name}: ${e.message}`, { cause: e }) : e;
  }
}

/** `-msg`: what stands before the program's name. */
function messagePrefix({ launch: { msgTimestamp, msgGuestName }, name }: MachineConfig): () => string {
  return () => `${msgTimestamp ? `${new Date().toISOString()} ` : ""}${msgGuestName && name !== undefined ? `${name} ` : ""}`;
}

/** Runs a machine as the arguments say. @returns the exit status @throws VmError */
export async function system(program: string, args: readonly string[], arch: GuestArch): Promise<number> {
  const config = parseCommandLine(args, { program, arch, deviceTypes: deviceTypes(arch) });
  if (config instanceof PrintAndExit) {
    process.stdout.write(config.text);
    return 0;
  }
  if (config.launch.daemonize && !isDaemon()) return becomeDaemon(config);
  const host = nodeHost(program, messagePrefix(config));
  const abort = new AbortController();
  let machine: Machine | undefined;
  const stop = onTermination((name, number) => {
    host.note(`terminating on signal ${number} (${name})`);
    machine?.quit(0, "host-signal");
    abort.abort();
  });
  machine = await startMachine(config, host, abort.signal);
  let removePidFile = () => {};
  try {
    if (config.launch.pidFile !== undefined) removePidFile = writePidFile(config.launch.pidFile);
  } catch (e) {
    machine.quit(1);
    await machine.ended;
    throw e;
  }
  process.once("exit", removePidFile);
  if (isDaemon()) daemonReady();
  if (abort.signal.aborted) machine.quit();
  else {
    if (config.loadSnapshot !== undefined) await snapshotOrEnd(machine, config.loadSnapshot);
    if (!config.startPaused) machine.run();
    if (config.incoming !== undefined && config.incoming !== "defer") await loadOrEnd(machine, config.incoming, abort.signal);
  }
  const { status } = await machine.ended;
  stop();
  return status;
}
