/** Every `-device` type that a board can make. Each is declared beside its class; a board wires it. */
import type { DeviceType } from "../hw/core/device-type.js";
import { PC_DEVICE_TYPES } from "./pc-devices.js";

export const DEVICE_TYPES: readonly DeviceType[] = PC_DEVICE_TYPES;
