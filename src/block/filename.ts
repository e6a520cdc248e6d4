/**
 * File names as users write them: plain paths, `file:`, `nbd:` and `nbd://` addresses, `http://`, `null-co://`, and `json:`
 * pseudo names; and how the name of a backing file is meant relative to its overlay.
 * Source: QEMU's documentation, "Disk Images", "NBD access", "Device URL Syntax".
 */
import { VmError } from "../base/errors.js";
import { type OptionTree, sizeOf } from "./blockdev-options.js";

const DEFAULT_NBD_PORT = "10809";

/** Whether a name has a protocol: a colon before any slash. */
export function protocolOf(name: string): string | undefined {
  return /^([A-Za-z0-9+.-]+):/.exec(name)?.[1];
}

/** The options of the protocol node that a name stands for. @throws VmError "option/..." */
export function parseFilename(name: string): OptionTree {
  const protocol = protocolOf(name);
  switch (protocol) {
    case undefined:
      return { driver: "file", filename: name };
    case "file":
      return { driver: "file", filename: name.slice("file:".length) };
    case "host_device":
      return { driver: "host_device", filename: name.slice("host_device:".length) };
    case "null-co": {
      const size = /[?,]size=([^&,]+)/.exec(name)?.[1];
      return size === undefined ? { driver: "null-co" } : { driver: "null-co", size: sizeOf(size) };
    }
    case "http":
    case "https":
      return { driver: protocol, url: name };
    case "nbd":
    case "nbd+unix":
    case "nbd+tcp":
      return parseNbd(name, protocol);
    default:
      throw new VmError("option/unsupported", `Unknown protocol '${protocol}'`);
  }
}

function parseNbd(name: string, protocol: string): OptionTree {
  const bad = (what: string): never => {
    throw new VmError("option/invalid", `'${name}': ${what}`);
  };
  // The old form: nbd:host:port[:exportname=x], nbd:unix:path[:exportname=x]
  if (!name.startsWith(`${protocol}://`)) {
    const m = /^nbd:(?:unix:([^:]+)|(\[[^\]]+\]|[^:/]+):(\d+))(?::exportname=(.*))?$/.exec(name);
    if (!m) return bad("No valid NBD address");
    const server: OptionTree =
      m[1] !== undefined ? { type: "unix", path: m[1] } : { type: "inet", host: m[2]!.replace(/^\[|\]$/g, ""), port: m[3]! };
    return { driver: "nbd", server, ...(m[4] ? { export: m[4] } : {}) };
  }
  const m = /^nbd(?:\+unix|\+tcp)?:\/\/([^/?]*)(\/[^?]*)?(?:\?(.*))?$/.exec(name);
  if (!m) return bad("No valid NBD URL");
  const exportName = safeDecode((m[2] ?? "").replace(/^\//, ""), bad);
  const named: OptionTree = exportName === "" ? {} : { export: exportName };
  if (protocol === "nbd+unix") {
    const socket = /(?:^|&)socket=([^&]*)/.exec(m[3] ?? "")?.[1];
    if (socket === undefined || m[1] !== "") return bad("nbd+unix needs ?socket= and no host");
    return { driver: "nbd", server: { type: "unix", path: safeDecode(socket, bad) }, ...named };
  }
  const host = /^(\[[^\]]+\]|[^:]*)(?::(\d+))?$/.exec(m[1]!);
  if (!host) return bad("No valid NBD host");
  return {
    driver: "nbd",
    server: { type: "inet", host: host[1]!.replace(/^\[|\]$/g, "") || "localhost", port: host[2] ?? DEFAULT_NBD_PORT },
    ...named,
  };
}

function safeDecode(text: string, bad: (what: string) => never): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return bad("broken % escape");
  }
}

/** The name of a backing file as the one who opens it must say it: relative to the folder of its overlay. */
export function resolveBacking(overlay: string, backing: string): string {
  if (backing.startsWith("/") || protocolOf(backing) !== undefined) return backing;
  const url = /^(https?:\/\/[^?#]*\/)/.exec(overlay);
  const plain = overlay.startsWith("file:") ? overlay.slice(5) : overlay;
  const folder = url ? url[1]! : plain.slice(0, plain.lastIndexOf("/") + 1);
  if (!url && protocolOf(overlay) !== undefined && !overlay.startsWith("file:")) return backing;
  return folder + backing;
}
