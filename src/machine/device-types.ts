/** Every `-device` type of the machine. Each is declared beside its class; a board wires it in `pc-devices.ts`. */
import { isaSerialType } from "../hw/char/uart16550.js";
import type { DeviceType } from "../hw/core/device-type.js";
import { VGA_ISA_TYPE } from "../hw/display/vga-isa.js";
import { VGA_PCI_TYPE } from "../hw/display/vga-pci.js";
import { IDE_HD } from "../hw/ide/ata-disk.js";
import { IDE_CD } from "../hw/ide/atapi-cdrom.js";
import { debugconType } from "../hw/misc/debugcon.js";
import { isaDebugExitType } from "../hw/misc/isa-debug-exit.js";
import { pcTestdevType } from "../hw/misc/pc-testdev.js";
import { pciTestdevType } from "../hw/misc/pci-testdev.js";
import { pvpanicType } from "../hw/misc/pvpanic.js";
import { virtioBlkType } from "../hw/virtio/blk.js";
import { virtioRngType } from "../hw/virtio/rng.js";

export const DEVICE_TYPES: readonly DeviceType[] = [
  IDE_CD,
  IDE_HD,
  VGA_ISA_TYPE,
  VGA_PCI_TYPE,
  debugconType,
  isaDebugExitType,
  isaSerialType,
  pcTestdevType,
  pciTestdevType,
  pvpanicType,
  virtioBlkType,
  virtioRngType,
];
