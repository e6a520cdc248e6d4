/** Every `-device` type that a board can make. Each is declared beside its class; a board wires it. */
import type { DeviceType } from "../hw/core/device-type.js";
import type { GuestArch } from "./config.js";
import { PC_DEVICE_TYPES } from "./pc-devices.js";
import { PSERIES_DEVICE_TYPES } from "./pseries-devices.js";

/** Types of a program's default machine. */
export function deviceTypes(arch: GuestArch): readonly DeviceType[] {
  return arch === "ppc64" ? PSERIES_DEVICE_TYPES : PC_DEVICE_TYPES;
}

/** Types of all machines. */
export const DEVICE_TYPES: readonly DeviceType[] = [...new Set([...PC_DEVICE_TYPES, ...PSERIES_DEVICE_TYPES])];
