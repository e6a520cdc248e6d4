/** The events of the protocol, and which of them a machine's event is. Source: QEMU 7.2 qapi/run-state.json, qapi/block-core.json, ... */
import { type MachineEvent, WATCHDOG_ACTIONS } from "../../machine/events.js";
import { event, type QmpEvent } from "./command.js";
import { addressInfo } from "./commands/display.js";
import { bool, enumeration, int, optional, str, struct } from "./types.js";

const SHUTDOWN_CAUSES = enumeration("ShutdownCause", [
  "none",
  "host-error",
  "host-qmp-quit",
  "host-qmp-system-reset",
  "host-signal",
  "host-ui",
  "guest-shutdown",
  "guest-reset",
  "guest-panic",
  "subsystem-reset",
  "snapshot-load",
]);
const MIGRATION_STATUS = enumeration("MigrationStatus", [
  "none",
  "setup",
  "cancelling",
  "cancelled",
  "active",
  "completed",
  "failed",
]);

const VNC_ADDRESS = struct("VncBasicInfo", {
  host: str,
  service: str,
  family: enumeration("NetworkAddressFamily", ["ipv4", "ipv6", "unix", "vsock", "unknown"]),
  websocket: bool,
  auth: optional(str),
});

const ACCELERATOR = enumeration("Accelerator", ["kvm", "tcg"]);

export { ACCELERATOR, MIGRATION_STATUS };

/** Every event that is sent. */
export const QMP_EVENTS: readonly QmpEvent[] = [
  event("SHUTDOWN", "The machine has been shut down.", { guest: bool, reason: SHUTDOWN_CAUSES }),
  event("POWERDOWN", "The power button has been pressed."),
  event("RESET", "The machine has been reset.", { guest: bool, reason: SHUTDOWN_CAUSES }),
  event("STOP", "The vCPUs have been stopped."),
  event("RESUME", "The vCPUs run again."),
  event("SUSPEND", "The guest has gone to sleep (S3)."),
  event("WAKEUP", "The guest has been woken."),
  event("GUEST_PANICKED", "The guest has told that it panicked.", {
    action: enumeration("GuestPanicAction", ["pause", "poweroff", "run"]),
  }),
  event("GUEST_CRASHLOADED", "The guest's crash kernel has been loaded.", {
    action: enumeration("GuestPanicAction", ["pause", "poweroff", "run"]),
  }),
  event("BLOCK_IO_ERROR", "A disk request has failed on the host.", {
    device: str,
    "node-name": optional(str),
    operation: enumeration("IoOperationType", ["read", "write"]),
    action: enumeration("BlockErrorAction", ["ignore", "report", "stop"]),
    nospace: optional(bool),
    reason: str,
  }),
  event("BALLOON_CHANGE", "The guest's balloon has another size.", { actual: int }),
  event("DEVICE_DELETED", "A device has been removed.", { device: optional(str), path: str }),
  event("DEVICE_UNPLUG_GUEST_ERROR", "The guest refuses to let a device go.", { device: optional(str), path: str }),
  event("DEVICE_TRAY_MOVED", "A tray has opened or closed.", { device: str, id: str, "tray-open": bool }),
  event("X_ACCEL_CHANGED", "The vCPUs run on another accelerator.", { from: ACCELERATOR, to: ACCELERATOR }),
  event("WATCHDOG", "A watchdog's time is up.", { action: enumeration("WatchdogAction", WATCHDOG_ACTIONS) }),
  event("VNC_CONNECTED", "A VNC client has connected.", { server: VNC_ADDRESS, client: VNC_ADDRESS }),
  event("VNC_INITIALIZED", "A VNC client is in.", { server: VNC_ADDRESS, client: VNC_ADDRESS }),
  event("VNC_DISCONNECTED", "A VNC client has gone.", { server: VNC_ADDRESS, client: VNC_ADDRESS }),
  event("MIGRATION", "The state of a migration has changed.", { status: MIGRATION_STATUS }),
];

const ROWS: { readonly [K in MachineEvent["type"]]?: string } = {
  resume: "RESUME",
  stop: "STOP",
  powerdown: "POWERDOWN",
  suspend: "SUSPEND",
  wakeup: "WAKEUP",
};

/** What a client is told of a machine's event; undefined when nothing. */
export function qmpEvent(
  e: MachineEvent,
): { readonly event: string; readonly data?: { readonly [member: string]: unknown } } | undefined {
  switch (e.type) {
    case "reset":
      return { event: "RESET", data: { guest: e.guest, reason: e.reason } };
    case "shutdown":
      return { event: "SHUTDOWN", data: { guest: e.guest, reason: e.reason } };
    case "guest-panicked":
      return e.action === "panicked"
        ? { event: "GUEST_PANICKED", data: { action: "pause" } }
        : { event: "GUEST_CRASHLOADED", data: { action: "run" } };
    case "io-error":
      return {
        event: "BLOCK_IO_ERROR",
        data: {
          device: e.drive,
          operation: e.write ? "write" : "read",
          action: "stop",
          nospace: /No space/.test(e.message),
          reason: e.message,
        },
      };
    case "balloon":
      return { event: "BALLOON_CHANGE", data: { actual: e.actualBytes } };
    case "device-deleted":
      return { event: "DEVICE_DELETED", data: { device: e.id, path: e.path } };
    case "tray-moved":
      return { event: "DEVICE_TRAY_MOVED", data: { device: e.drive, id: e.qdev, "tray-open": e.open } };
    case "watchdog":
      return { event: "WATCHDOG", data: { action: e.action } };
    case "vnc": {
      const server = { ...addressInfo(e.server, e.websocket), auth: e.auth };
      return { event: `VNC_${e.event.toUpperCase()}`, data: { server, client: addressInfo(e.client, e.websocket) } };
    }
    case "migration":
      return { event: "MIGRATION", data: { status: e.status } };
    case "accelerator":
      return { event: "X_ACCEL_CHANGED", data: { from: e.from, to: e.to } };
    case "internal-error":
      return undefined;
    default: {
      const name = ROWS[e.type];
      return name === undefined ? undefined : { event: name };
    }
  }
}
