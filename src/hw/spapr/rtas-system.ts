/**
 * RTAS services of the system as a whole: clock, console, power, parameters.
 * Source: LoPAR §7.3.
 */
import type { Device, DeviceState } from "../core/device.js";
import { type Rtas, type RtasCall, RtasStatus } from "./rtas.js";

/** What the services act on. */
export interface SystemServices {
  /** Wall-clock time in ms since 1970 UTC. */
  wallMs(): number;
  /** A character for the console. */
  putCharacter(code: number): void;
  powerOff(): void;
  reboot(): void;
  /** The guest has panicked. */
  panic(): void;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly name: string | undefined;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
}

/** Parameters of ibm,get-system-parameter. */
const Parameter = { splparCharacteristics: 20, diagnosticsRunMode: 42, uuid: 48, lparName: 55 } as const;
/** The global interrupt queue server, an indicator that is always on. */
const INDICATOR_GIQ = 9005;
const FULL_POWER = 100;

/** The clock: an offset from the machine's. */
export class RtasClock implements Device {
  readonly type = "spapr-rtc";
  private offsetMs = 0;

  constructor(private readonly wallMs: () => number) {}

  get nowMs(): number {
    return this.wallMs() + this.offsetMs;
  }

  addServices(rtas: Rtas): void {
    rtas.add(
      {
        name: "get-time-of-day",
        args: 0,
        returns: 8,
        call: (c) => {
          const ms = this.nowMs;
          const d = new Date(ms);
          const fields = [d.getUTCFullYear(), d.getUTCMonth() + 1, d.getUTCDate(), d.getUTCHours(), d.getUTCMinutes()];
          for (const [i, v] of [...fields, d.getUTCSeconds(), Math.floor((ms % 1000) * 1e6)].entries()) c.set(1 + i, v);
          return RtasStatus.success;
        },
      },
      {
        name: "set-time-of-day",
        args: 7,
        returns: 1,
        call: (c) => {
          const [year, month, day, hour, minute, second] = c.args as [number, number, number, number, number, number];
          const at = Date.UTC(year, month - 1, day, hour, minute, second);
          if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 59 || Number.isNaN(at))
            return RtasStatus.parameterError;
          this.offsetMs = at - this.wallMs();
          return RtasStatus.success;
        },
      },
    );
  }

  reset(): void {}

  save(): DeviceState {
    return { offsetMs: this.offsetMs };
  }

  restore(state: DeviceState): void {
    this.offsetMs = state.offsetMs as number;
  }
}

export function addSystemServices(rtas: Rtas, system: SystemServices): void {
  const parameter = (c: RtasCall): number => {
    const [which, buffer, length] = c.args as [number, number, number];
    const value = parameterValue(system, which);
    if (!value) return RtasStatus.parameterError;
    // A length of two bytes, then as much of the value as there is room for.
    const out = new Uint8Array(2 + value.length);
    out[0] = value.length >> 8;
    out[1] = value.length & 255;
    out.set(value, 2);
    return c.memory.writeBytes(buffer, out.subarray(0, length)) ? RtasStatus.success : RtasStatus.systemParameterError;
  };
  rtas.add(
    {
      name: "display-character",
      args: 1,
      returns: 1,
      call(c) {
        system.putCharacter(c.args[0]! & 0xff);
        return RtasStatus.success;
      },
    },
    {
      name: "power-off",
      args: 2,
      returns: 1,
      call() {
        system.powerOff();
        return RtasStatus.success;
      },
    },
    {
      name: "system-reboot",
      args: 0,
      returns: 1,
      call() {
        system.reboot();
        return RtasStatus.success;
      },
    },
    {
      name: "ibm,os-term",
      args: 1,
      returns: 1,
      call() {
        system.panic();
        return RtasStatus.success;
      },
    },
    { name: "ibm,get-system-parameter", args: 3, returns: 1, call: parameter },
    { name: "ibm,set-system-parameter", args: 2, returns: 1, call: () => RtasStatus.notAuthorized },
    {
      name: "set-indicator",
      args: 3,
      returns: 1,
      call: (c) => (c.args[0] === INDICATOR_GIQ ? RtasStatus.success : RtasStatus.parameterError),
    },
    { name: "get-sensor-state", args: 2, returns: 2, call: () => RtasStatus.parameterError },
    {
      name: "set-power-level",
      args: 2,
      returns: 2,
      call(c) {
        c.set(1, FULL_POWER);
        return RtasStatus.success;
      },
    },
    {
      name: "get-power-level",
      args: 1,
      returns: 2,
      call(c) {
        c.set(1, FULL_POWER);
        return RtasStatus.success;
      },
    },
    { name: "quiesce", args: 0, returns: 1, call: () => RtasStatus.success },
  );
}

function parameterValue(system: SystemServices, which: number): Uint8Array | undefined {
  const text = (s: string) => Uint8Array.from([...s].map((ch) => ch.charCodeAt(0) & 0xff).concat(0));
  switch (which) {
    case Parameter.splparCharacteristics:
      return text(
        `MaxEntCap=${system.cpus},DesMem=${Math.floor(system.memoryBytes / 2 ** 20)},DesProcs=${system.cpus},MaxPlatProcs=${system.cpus}`,
      );
    case Parameter.diagnosticsRunMode:
      return Uint8Array.of(0);
    case Parameter.uuid:
      return system.uuid;
    case Parameter.lparName:
      return text(system.name ?? "");
  }
  return undefined;
}
