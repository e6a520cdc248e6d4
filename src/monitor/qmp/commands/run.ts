/** Run control. Source: QEMU 7.2 qapi/run-state.json, qapi/misc.json. */
import { type RunState, WATCHDOG_ACTIONS } from "../../../machine/events.js";
import { command, type QmpCommand } from "../command.js";
import { bool, enumeration, optional, struct } from "../types.js";

const RUN_STATES = [
  "prelaunch",
  "running",
  "paused",
  "shutdown",
  "suspended",
  "io-error",
  "guest-panicked",
  "internal-error",
  "inmigrate",
  "postmigrate",
  "finish-migrate",
  "restore-vm",
  "save-vm",
  "watchdog",
] as const satisfies readonly RunState[];

export const RUN_COMMANDS: readonly QmpCommand[] = [
  command("query-status", {
    doc: "Whether the machine runs, and why not.",
    returns: struct("StatusInfo", { running: bool, singlestep: bool, status: enumeration("RunState", RUN_STATES) }),
    run: ({ target }) => ({ running: target.runState === "running", singlestep: false, status: target.runState }),
  }),
  command("stop", { doc: "Stops the vCPUs; disk requests under way are finished.", run: ({ target }) => target.stop() }),
  command("cont", { doc: "Lets the vCPUs run.", run: ({ target }) => target.cont() }),
  command("system_reset", { doc: "Presses the reset button.", run: ({ target }) => target.reset() }),
  command("system_powerdown", { doc: "Presses the power button (ACPI).", run: ({ target }) => target.powerdown() }),
  command("system_wakeup", { doc: "Wakes the guest from S3.", run: ({ target }) => target.wakeup() }),
  command("inject-nmi", { doc: "Sends a non-maskable interrupt to every vCPU.", run: ({ target }) => target.nmi() }),
  command("set-action", {
    doc: "What a guest's reset, power-off, panic or watchdog leads to.",
    args: {
      reboot: optional(enumeration("RebootAction", ["reset", "shutdown"])),
      shutdown: optional(enumeration("ShutdownAction", ["poweroff", "pause"])),
      panic: optional(enumeration("PanicAction", ["pause", "shutdown", "exit-failure", "none"])),
      watchdog: optional(enumeration("WatchdogAction", WATCHDOG_ACTIONS)),
    },
    run: ({ target }, args) => {
      Object.assign(target.policy, Object.fromEntries(Object.entries(args).filter(([, v]) => v !== undefined)));
    },
  }),
];
