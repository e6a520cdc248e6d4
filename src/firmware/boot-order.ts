/**
 * In which order the firmware tries devices: the `bootorder` file with the paths that SeaBIOS matches, and boot menu files.
 * Source: SeaBIOS, docs/Runtime_config.md; Open Firmware (IEEE 1275) device paths as QEMU writes them.
 */
import { VmError } from "../base/errors.js";
import { ByteWriter, encodeText } from "./bytes.js";
import { type FwCfg, FwCfgKey } from "./fw-cfg.js";

const hex = (n: number): string => n.toString(16);

/** A function on the first PCI bus; `kind` is "scsi", "ide", "ethernet", "usb", "isa". */
export function pciPath(kind: string, slot: number, fn = 0): string {
  return `/pci@i0cf8/${kind}@${hex(slot)}${fn ? `,${hex(fn)}` : ""}`;
}

/** The path of a boot device. */
export const BootPath = {
  /** A drive on an IDE channel of a PCI controller. */
  ide: (slot: number, fn: number, channel: number, unit: number): string =>
    `${pciPath("ide", slot, fn)}/drive@${channel}/disk@${unit}`,
  virtioBlk: (slot: number, fn = 0): string => `${pciPath("scsi", slot, fn)}/disk@0,0`,
  scsi: (slot: number, fn: number, target: number, lun: number): string =>
    `${pciPath("scsi", slot, fn)}/channel@0/disk@${hex(target)},${hex(lun)}`,
  /** A floppy drive of the controller behind the ISA bridge in slot 1. */
  floppy: (unit: number): string => `${pciPath("isa", 1)}/fdc@03f0/floppy@${unit}`,
  network: (slot: number, fn = 0): string => `${pciPath("ethernet", slot, fn)}/ethernet-phy@0`,
  /** Mass storage on a port of a USB controller. */
  usbStorage: (slot: number, fn: number, port: number): string =>
    `${pciPath("usb", slot, fn)}/storage@${hex(port)}/channel@0/disk@0,0`,
  /** An option ROM given as a fw_cfg file. */
  rom: (file: string): string => `/rom@${file}`,
} as const;

/** A device with a boot index; lower is earlier. */
export interface BootDevice {
  readonly path: string;
  readonly index: number;
}

/** SeaBIOS stops here instead of trying devices that are not listed. */
const STOP = "HALT";

/**
 * The `bootorder` file.
 * @throws VmError "option/invalid" when two devices have the same index
 */
export function bootOrderFile(devices: readonly BootDevice[], strict: boolean): Uint8Array {
  const seen = new Set<number>();
  for (const d of devices) {
    if (seen.has(d.index)) throw new VmError("option/invalid", `bootindex=${d.index} is given to two devices`);
    seen.add(d.index);
  }
  const lines = [...devices].sort((a, b) => a.index - b.index).map((d) => d.path);
  if (strict) lines.push(STOP);
  return lines.length === 0 ? new Uint8Array(0) : encodeText(lines.join("\n"), true);
}

/** Options of `-boot`. */
export interface BootOptions {
  readonly strict: boolean;
  readonly menu: boolean;
  /** How long the menu or splash picture stays; undefined is the firmware's default. */
  readonly splashTimeMs?: number | undefined;
  /** Wait this long before a reboot when nothing boots; -1 waits for ever. */
  readonly rebootTimeoutMs?: number | undefined;
}

const TIMEOUT_MAX_MS = 0xffff;

/**
 * Offers boot order and menu to the firmware.
 * @throws VmError "option/invalid"
 */
export function addBootFiles(fwCfg: FwCfg, devices: readonly BootDevice[], options: BootOptions): void {
  fwCfg.addFile("bootorder", bootOrderFile(devices, options.strict));
  fwCfg.addU16(FwCfgKey.bootMenu, options.menu ? 1 : 0);
  if (options.splashTimeMs !== undefined) {
    if (!(options.splashTimeMs >= 0 && options.splashTimeMs <= TIMEOUT_MAX_MS))
      throw new VmError("option/invalid", `-boot splash-time=${options.splashTimeMs}: must be 0 to ${TIMEOUT_MAX_MS}`);
    fwCfg.addFile("etc/boot-menu-wait", new ByteWriter(2).u16(options.splashTimeMs).finish());
  }
  const timeout = options.rebootTimeoutMs;
  if (timeout !== undefined && !(timeout >= -1 && timeout <= TIMEOUT_MAX_MS))
    throw new VmError("option/invalid", `-boot reboot-timeout=${timeout}: must be -1 to ${TIMEOUT_MAX_MS}`);
  fwCfg.addFile("etc/boot-fail-wait", new ByteWriter(4).u32((timeout ?? -1) >>> 0).finish());
}
