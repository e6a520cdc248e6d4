/** Drives. Source: QEMU 7.2 qapi/block-core.json, qapi/block.json. */
import { AttachedImage } from "../../../block/attached-image.js";
import type { Drive } from "../../../block/backend.js";
import { type OptionTree, readNodeOptions } from "../../../block/blockdev-options.js";
import { blockDeviceInfo } from "../../../block/node-info.js";
import { OverlayBackend } from "../../../block/overlay.js";
import type { BlockSummary } from "../../target.js";
import { command, type QmpCommand } from "../command.js";
import { deviceNotFound, generic } from "../errors.js";
import { any, array, bool, int, optional, str, struct } from "../types.js";

const BLOCK_INFO = struct("BlockInfo", {
  device: str,
  qdev: optional(str),
  type: str,
  removable: bool,
  locked: bool,
  tray_open: optional(bool),
  inserted: optional(any),
});

async function info({ drive, file, cache, trayOpen }: BlockSummary) {
  const removable = drive.media !== "disk";
  return {
    device: drive.id,
    type: "unknown",
    removable,
    locked: drive.trayLocked ?? false,
    tray_open: removable ? trayOpen : undefined,
    inserted: await inserted(drive, file, cache),
  };
}

/** The image of a drive; one that lives in memory (`snapshot=on`) is shown as what is below it. */
async function inserted({ backend }: Drive, file: string, cache: string) {
  const image = backend instanceof OverlayBackend ? backend.below : backend;
  if (image instanceof AttachedImage)
    return blockDeviceInfo(image.node, { writeback: cache !== "writethrough", noFlush: cache === "unsafe" });
  return image && { file: file === "" ? image.name : file, ro: image.readOnly, drv: "raw" };
}

/** Either name of an image. */
const names = { device: optional(str), "node-name": optional(str) };
const nameOf = (args: { readonly device?: string | undefined; readonly "node-name"?: string | undefined }): string => {
  const name = args["node-name"] ?? args.device;
  if (name === undefined) throw generic("Either 'device' or 'node-name' must be given");
  return name;
};

export const BLOCK_COMMANDS: readonly QmpCommand[] = [
  command("query-block", {
    doc: "The drives and what is in them.",
    returns: array(BLOCK_INFO),
    run: async ({ target }) => [
      ...(await Promise.all(target.blocks().map(info))),
      ...(await Promise.all(
        target.block.nodeDriveStates().map(async (drive) => ({
          ...(await info({ drive, file: "", cache: "writeback", trayOpen: false })),
          device: "",
          qdev: target.nodeDevice(drive.id),
        })),
      )),
    ],
  }),
  command("query-named-block-nodes", {
    doc: "The block nodes.",
    args: { flat: optional(bool) },
    returns: array(any),
    run: ({ target }, { flat = false }) =>
      Promise.all(
        target.block.graph.all().map(async (node) => {
          const shown = await blockDeviceInfo(node);
          if (!flat) return shown;
          const { "backing-image": _, ...image } = shown.image;
          return { ...shown, image };
        }),
      ),
  }),
  command("blockdev-add", {
    doc: "Opens an image as a node of the block graph.",
    args: { driver: str, "node-name": optional(str) },
    openArgs: true,
    run: ({ target }, args) => target.block.addBlockdev(readNodeOptions(args as OptionTree, "")),
  }),
  command("blockdev-del", {
    doc: "Closes a node that blockdev-add opened.",
    args: { "node-name": str },
    run: ({ target }, args) => target.block.delBlockdev(args["node-name"]),
  }),
  command("blockdev-reopen", {
    doc: "Gives nodes other options; who uses them keeps them.",
    args: { options: array(any) },
    run: async ({ target }, { options }) => {
      for (const o of options) await target.block.graph.reopen(readNodeOptions(o as OptionTree, ""));
    },
  }),
  command("blockdev-snapshot", {
    doc: "Puts an overlay above a node: what is written goes there from now on.",
    args: { node: str, overlay: str },
    run: ({ target }, { node, overlay }) => target.block.graph.insertOverlay(target.block.node(node), target.block.node(overlay)),
  }),
  command("block_resize", {
    doc: "Makes an image longer or shorter.",
    args: { ...names, size: int },
    run: ({ target }, args) => target.block.resizeBlock(nameOf(args), args.size),
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
