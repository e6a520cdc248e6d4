/** The page's choices as a machine's configuration. */

import type { DriveOptions } from "../src/block/drive-options.js";
import type { BrowserHost } from "../src/host/browser/host.js";
import { defaultConfig, type MachineConfig } from "../src/machine/config.js";
import type { PageMachine } from "./protocol.js";

/** The id of the chardev behind COM1. */
export const SERIAL = "serial0";
const MIB = 2 ** 20;
const GUEST = { kernel: "guests/x86_64/bzImage", initrd: "guests/x86_64/initrd.lz4" } as const;
const ORIGIN = "page";

/** Names under which chosen files are known to the machine. */
const FILES = { kernel: "kernel", initrd: "initrd", disk: "disk.img", cdrom: "cdrom.iso" } as const;

/** Puts the chosen files, or the embedded guest, on the host and says what machine is wanted. */
export async function pageConfig(page: PageMachine, host: BrowserHost): Promise<MachineConfig> {
  const { files } = host;
  const drives: DriveOptions[] = [];
  if (page.disk) {
    files.add(FILES.disk, page.disk);
    drives.push(drive("ide0-hd0", 0, "disk", FILES.disk));
  }
  if (page.cdrom) {
    files.add(FILES.cdrom, page.cdrom);
    drives.push(drive("ide1-cd0", 2, "cdrom", FILES.cdrom));
  }
  let { kernel, initrd } = page;
  if (!kernel && drives.length === 0) {
    const [image, disk] = await Promise.all([host.readBuiltIn(GUEST.kernel), initrd ?? host.readBuiltIn(GUEST.initrd)]);
    kernel = new Blob([image as Uint8Array<ArrayBuffer>]);
    initrd = disk instanceof Blob ? disk : new Blob([disk as Uint8Array<ArrayBuffer>]);
  }
  if (kernel) files.add(FILES.kernel, kernel);
  if (initrd) files.add(FILES.initrd, initrd);
  return {
    ...defaultConfig("x86_64"),
    memoryBytes: page.memoryMiB * MIB,
    ...(kernel && { kernel: { image: FILES.kernel, append: page.append, ...(initrd && { initrd: FILES.initrd }) } }),
    drives,
    boot: { order: page.cdrom && !page.disk ? "d" : "cad", menu: false, strict: false },
    chardevs: [{ id: SERIAL, mux: false, backend: "stream", origin: ORIGIN }],
    serials: [{ chardev: SERIAL }],
  };
}

function drive(id: string, index: number, media: "disk" | "cdrom", file: string): DriveOptions {
  return {
    id,
    if: "ide",
    index,
    media,
    file,
    readOnly: media === "cdrom",
    snapshot: false,
    cache: "writeback",
    discard: false,
    werror: "enospc",
    rerror: "report",
    origin: ORIGIN,
  };
}
