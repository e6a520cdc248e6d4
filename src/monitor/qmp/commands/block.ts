/** Drives. Source: QEMU 7.2 qapi/block-core.json, qapi/block.json. */
import type { BlockBackend } from "../../../block/backend.js";
import type { BlockSummary } from "../../target.js";
import { command, type QmpCommand } from "../command.js";
import { deviceNotFound } from "../errors.js";
import { any, array, bool, optional, str, struct } from "../types.js";

const BLOCK_INFO = struct("BlockInfo", {
  device: str,
  qdev: optional(str),
  type: str,
  removable: bool,
  locked: bool,
  tray_open: optional(bool),
  inserted: optional(any),
});

function info({ drive, file, cache, trayOpen }: BlockSummary) {
  const { backend } = drive;
  const removable = drive.media !== "disk";
  return {
    device: drive.id,
    type: "unknown",
    removable,
    locked: drive.trayLocked ?? false,
    tray_open: removable ? trayOpen : undefined,
    inserted: backend && node({ drive, file, cache, trayOpen }, backend),
  };
}

/** A drive's image as a block node. */
function node({ drive, file, cache }: BlockSummary, backend: BlockBackend) {
  return {
    "node-name": drive.id,
    file: file === "" ? backend.name : file,
    ro: backend.readOnly,
    drv: "raw",
    encrypted: false,
    backing_file_depth: 0,
    image: { filename: file, format: "raw", "virtual-size": backend.sizeBytes },
    cache: {
      writeback: cache !== "writethrough" && cache !== "directsync",
      direct: cache === "none" || cache === "directsync",
      "no-flush": cache === "unsafe",
    },
  };
}

export const BLOCK_COMMANDS: readonly QmpCommand[] = [
  command("query-block", {
    doc: "The drives and what is in them.",
    returns: array(BLOCK_INFO),
    run: ({ target }) => target.blocks().map(info),
  }),
  command("query-named-block-nodes", {
    doc: "The block nodes.",
    args: { flat: optional(bool) },
    returns: array(any),
    run: ({ target }) => target.blocks().flatMap((b) => (b.drive.backend ? [node(b, b.drive.backend)] : [])),
  }),
  command("eject", {
    doc: "Takes the medium out of a removable drive.",
    args: { device: str, force: optional(bool) },
    run: ({ target }, { device, force = false }) => {
      if (!target.blocks().some((b) => b.drive.id === device)) throw deviceNotFound(device);
      return target.eject(device, force);
    },
  }),
];
