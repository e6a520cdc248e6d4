/** `-drive` options, read and checked. Names, defaults and meanings are QEMU's. */
import { VmError } from "../base/errors.js";
import type { ErrorPolicy } from "./backend.js";
import { type OptionTree, unflatten } from "./blockdev-options.js";

export type DriveInterface = "ide" | "floppy" | "virtio" | "none";
export type CacheMode = "writeback" | "writethrough" | "unsafe";

/** A drive as the user asked for it. */
export interface DriveOptions {
  readonly id: string;
  readonly if: DriveInterface;
  /** Position on its interface: IDE 0-3, floppy 0-1, else in order. */
  readonly index: number;
  readonly media: "disk" | "cdrom";
  /** Absent: a drive without a medium. */
  readonly file?: string | undefined;
  /** Absent: it is guessed from the image. */
  readonly format?: string | undefined;
  /** Options of the image beyond its file name (`file.driver=`, `backing.file.filename=`), as `-blockdev` would have them. */
  readonly tree?: OptionTree | undefined;
  readonly nodeName?: string | undefined;
  readonly readOnly: boolean;
  readonly snapshot: boolean;
  readonly cache: CacheMode;
  readonly discard: boolean;
  readonly detectZeroes?: "off" | "on" | "unmap" | undefined;
  readonly werror: ErrorPolicy;
  readonly rerror: ErrorPolicy;
  readonly serial?: string | undefined;
  /** The option as written, for messages. */
  readonly origin: string;
}

/** What the options before this one have taken. */
export interface DriveContext {
  /** The next free index of an interface. */
  nextIndex(kind: DriveInterface): number;
  /** `-snapshot`. */
  readonly snapshot?: boolean | undefined;
}

const CACHE: Record<string, CacheMode> = {
  writeback: "writeback",
  none: "writeback",
  off: "writeback",
  writethrough: "writethrough",
  directsync: "writethrough",
  unsafe: "unsafe",
};
/** Units a bus holds. */
const UNITS: Record<DriveInterface, number> = { ide: 2, floppy: 2, virtio: 1, none: 1 };
const LIMIT: Record<DriveInterface, number> = { ide: 4, floppy: 2, virtio: 32, none: 1024 };
const SERIAL_MAX = 20;

/**
 * Reads the properties of one `-drive`. `origin` is the option as written and starts every message.
 * @throws VmError "option/unknown" | "option/invalid" | "option/unsupported" | "option/missing"
 */
export function parseDriveOptions(props: ReadonlyMap<string, string>, origin: string, context: DriveContext): DriveOptions {
  const fail = (code: "unknown" | "invalid" | "unsupported" | "missing", what: string): never => {
    throw new VmError(`option/${code}`, `${origin}: ${what}`);
  };
  const choice = <T extends string>(name: string, choices: readonly T[], otherwise: T): T => {
    const v = props.get(name);
    if (v === undefined) return otherwise;
    const found = choices.find((c) => c === v);
    return found ?? fail("invalid", `${name}=${v}: expected one of ${choices.join(", ")}`);
  };
  const flag = (name: string, otherwise: boolean): boolean => {
    const v = props.get(name);
    if (v === undefined) return otherwise;
    if (["on", "yes", "true", ""].includes(v)) return true;
    if (["off", "no", "false"].includes(v)) return false;
    return fail("invalid", `${name}=${v}: expected on or off`);
  };
  const number = (name: string): number | undefined => {
    const v = props.get(name);
    if (v === undefined) return undefined;
    return /^(?:\d{1,9}|0x[0-9a-f]{1,8})$/i.test(v) ? Number(v) : fail("invalid", `${name}=${v}: expected a number`);
  };
  for (const name of props.keys()) {
    if (KNOWN.has(name) || name.startsWith("file.") || name.startsWith("backing.") || IMAGE_OPTIONS.has(name)) continue;
    if (REFUSED.has(name) || name.startsWith("throttling.")) fail("unsupported", `${name} is not supported`);
    fail("unknown", `Invalid parameter '${name}'`);
  }

  const kindText = props.get("if") ?? "ide";
  if (["scsi", "sd", "mtd", "pflash", "xen"].includes(kindText)) fail("unsupported", `if=${kindText} is not supported`);
  const kind = choice("if", ["ide", "floppy", "virtio", "none"], "ide");
  const media = choice("media", ["disk", "cdrom"], "disk");
  const format = props.get("format") ?? props.get("driver");
  if (format !== undefined && !FORMATS.includes(format))
    fail("unsupported", `Unknown driver '${format}'; one of ${FORMATS.join(", ")}`);
  const imageProps = new Map(
    [...props].filter(([name]) => name.startsWith("file.") || name.startsWith("backing.") || IMAGE_OPTIONS.has(name)),
  );

  const bus = number("bus");
  const unit = number("unit");
  let index = number("index");
  if (index !== undefined && (bus !== undefined || unit !== undefined)) fail("invalid", "index cannot be used with bus and unit");
  if (unit !== undefined && unit >= UNITS[kind])
    fail("invalid", `unit=${unit}: if=${kind} has units 0 to ${UNITS[kind] - 1} on a bus`);
  if (bus !== undefined || unit !== undefined) index = (bus ?? 0) * UNITS[kind] + (unit ?? 0);
  index ??= context.nextIndex(kind);
  if (index >= LIMIT[kind]) fail("invalid", `index=${index}: if=${kind} takes drives 0 to ${LIMIT[kind] - 1}`);

  const file = props.get("file");
  const fixed = media === "disk" && kind !== "floppy";
  if ((file === undefined || file === "") && fixed && imageProps.size === 0 && format !== "null-co")
    fail("missing", "a disk needs file=");
  const cache = props.get("cache") ?? "writeback";
  const mode = Object.hasOwn(CACHE, cache)
    ? CACHE[cache]!
    : fail("invalid", `cache=${cache}: expected one of ${Object.keys(CACHE).join(", ")}`);
  // How requests reach the kernel is the host layer's choice; the words are checked and otherwise mean nothing here.
  choice("aio", ["threads", "native", "io_uring"], "threads");
  const detectZeroes = choice("detect-zeroes", ["off", "on", "unmap"], "off");
  const discard = choice("discard", ["ignore", "off", "unmap", "on"], "ignore");
  if (flag("copy-on-read", false)) fail("unsupported", "copy-on-read=on is not supported");
  const serial = props.get("serial");
  if (serial !== undefined && (serial.length > SERIAL_MAX || !/^[\x20-\x7e]*$/.test(serial)))
    fail("invalid", `serial=${serial}: at most ${SERIAL_MAX} printable characters`);
  const readOnly = flag("read-only", flag("readonly", media === "cdrom")) || media === "cdrom";
  return {
    id: props.get("id") ?? defaultDriveId(kind, index, media),
    if: kind,
    index,
    media,
    file: file === "" ? undefined : file,
    format,
    tree:
      imageProps.size > 0 || format === "null-co"
        ? unflatten(new Map([...imageProps, ...(format === undefined ? [] : [["driver", format] as const])]), origin)
        : undefined,
    nodeName: props.get("node-name"),
    readOnly,
    snapshot: flag("snapshot", context.snapshot ?? false) && !readOnly,
    cache: flag("cache.no-flush", false) ? "unsafe" : flag("cache.writeback", true) ? mode : "writethrough",
    discard: discard === "unmap" || discard === "on",
    detectZeroes,
    werror: choice<ErrorPolicy>("werror", ["report", "ignore", "stop", "enospc"], "enospc"),
    rerror: choice<ErrorPolicy>("rerror", ["report", "ignore", "stop"], "report"),
    serial,
    origin,
  };
}

const KNOWN = new Set(
  "file if index bus unit media format driver snapshot readonly read-only auto-read-only cache cache.direct cache.writeback cache.no-flush aio discard detect-zeroes copy-on-read werror rerror id serial node-name".split(
    " ",
  ),
);
const REFUSED = new Set(["addr", "cyls", "heads", "secs", "trans", "bps", "iops", "boot"]);
/** Formats, and protocols that take the place of one. */
const FORMATS = ["raw", "qcow2", "null-co", "nbd", "http", "https", "file", "host_device"];
/** Options of drivers that may stand beside `file=`. */
const IMAGE_OPTIONS = new Set(
  "backing lazy-refcounts pass-discard-request overlap-check cache-size l2-cache-size l2-cache-entry-size refcount-cache-size cache-clean-interval offset size locking filename server.type server.host server.port server.path export url force-share".split(
    " ",
  ),
);

/** The id of a drive that the user gave none: "ide0-hd0", "ide1-cd0", "floppy0", "virtio0". */
export function defaultDriveId(kind: DriveInterface, index: number, media: "disk" | "cdrom"): string {
  if (kind === "ide") return `ide${index >> 1}-${media === "cdrom" ? "cd" : "hd"}${index & 1}`;
  return `${kind}${index}`;
}
