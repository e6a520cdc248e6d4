/**
 * New image files: what `create` and `blockdev-create` make, with the options of each format as text.
 * Source: `BlockdevCreateOptions` of QEMU's QMP reference; `qemu-img create -o help`.
 */
import { VmError } from "../base/errors.js";
import { sizeOf } from "./blockdev-options.js";
import { FileNode } from "./file-node.js";
import { parseFilename, protocolOf, resolveBacking } from "./filename.js";
import type { BlockGraph, BlockHost } from "./graph.js";
import { createQcow2, type Preallocation } from "./qcow2/create.js";

export interface CreateRequest {
  readonly format: string;
  readonly filename: string;
  /** Absent: the backing file's. */
  readonly sizeBytes?: number | undefined;
  readonly backingFile?: string | undefined;
  readonly backingFormat?: string | undefined;
  /** The backing file is not looked at. */
  readonly unsafe?: boolean | undefined;
  /** `-o`: of the format. */
  readonly options: ReadonlyMap<string, string>;
}

/** Options by format, with what they mean when nobody says. */
export const CREATE_OPTIONS: { readonly [format: string]: { readonly [name: string]: string } } = {
  raw: {
    size: "Virtual disk size",
    preallocation: "Preallocation mode (allowed values: off, falloc, full)",
    nocow: "Turn off copy-on-write (valid only on btrfs)",
  },
  qcow2: {
    backing_file: "File name of a base image",
    backing_fmt: "Image format of the base image",
    cluster_size: "qcow2 cluster size",
    compat: "Compatibility level (v2 [0.10] or v3 [1.1])",
    compression_type: "Compression method used for image cluster compression",
    encryption: "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)",
    extended_l2: "Extended L2 tables",
    lazy_refcounts: "Postpone refcount updates",
    nocow: "Turn off copy-on-write (valid only on btrfs)",
    preallocation: "Preallocation mode (allowed values: off, metadata, falloc, full)",
    refcount_bits: "Width of a reference count entry in bits",
    size: "Virtual disk size",
  },
};

const SWITCH = new Map([
  ["on", true],
  ["off", false],
]);

/**
 * Makes an image. The line that is said about it has the options as they came out.
 * @throws VmError "option/..." | "block/..."; the message as qemu-img has it, without the program's name
 */
export async function createImage(host: BlockHost, graph: BlockGraph, request: CreateRequest): Promise<string> {
  const { format, filename } = request;
  const invalid = (what: string): never => {
    throw new VmError("option/invalid", what);
  };
  if (!Object.hasOwn(CREATE_OPTIONS, format)) invalid(`Unknown file format '${format}'`);
  const known = CREATE_OPTIONS[format]!;
  const options = new Map(request.options);
  for (const name of options.keys()) if (!Object.hasOwn(known, name)) invalid(`Invalid parameter '${name}'`);
  if (format !== "qcow2" && request.backingFile !== undefined) invalid(`Backing file not supported for file format '${format}'`);
  const flag = (name: string): boolean => {
    const v = options.get(name);
    if (v === undefined) return false;
    return SWITCH.get(v) ?? invalid(`Parameter '${name}' expects 'on' or 'off'`);
  };
  const number = (name: string, otherwise: number): number => {
    const v = options.get(name);
    if (v === undefined) return otherwise;
    const n = sizeOf(v);
    return Number.isSafeInteger(n) ? n : invalid(`Parameter '${name}' expects a size`);
  };
  if (flag("encryption")) throw new VmError("option/unsupported", "encryption is not supported");
  if (flag("nocow")) throw new VmError("option/unsupported", "nocow is not supported");
  const backingFile = request.backingFile ?? options.get("backing_file");
  const backingFormat = request.backingFormat ?? options.get("backing_fmt");
  let size = request.sizeBytes ?? (options.has("size") ? number("size", 0) : undefined);
  if (backingFile !== undefined && backingFile !== "")
    size = await lookAtBacking(graph, request, backingFile, backingFormat, size);
  if (size === undefined) invalid("Image creation needs a size parameter");
  const sizeBytes = Math.ceil(size! / 512) * 512;
  if (!Number.isSafeInteger(sizeBytes)) invalid("Image size is too large");
  const preallocation = (options.get("preallocation") ?? "off") as Preallocation;
  if (!["off", "falloc", "full", ...(format === "qcow2" ? ["metadata"] : [])].includes(preallocation))
    invalid(`Parameter 'preallocation' does not accept value '${preallocation}'`);

  if (backingFile !== undefined && backingFile !== "" && preallocation !== "off" && !flag("extended_l2"))
    invalid("Backing file and preallocation can only be used at the same time if extended_l2 is on");
  const compat = options.get("compat") ?? "1.1";
  const version = ["0.10", "v2"].includes(compat)
    ? 2
    : ["1.1", "v3"].includes(compat)
      ? 3
      : invalid(`Parameter 'version' does not accept value '${compat}'`);
  const compression = options.get("compression_type") ?? "zlib";
  if (compression !== "zlib" && compression !== "zstd")
    invalid(`Parameter 'compression_type' does not accept value '${compression}'`);
  const qcow2 = {
    sizeBytes,
    version: version as 2 | 3,
    clusterBytes: number("cluster_size", 65536),
    refcountBits: number("refcount_bits", 16),
    lazyRefcounts: flag("lazy_refcounts"),
    extendedL2: flag("extended_l2"),
    compression: compression as "zlib" | "zstd",
    backingFile: backingFile === "" ? undefined : backingFile,
    backingFormat: backingFile === undefined || backingFile === "" ? undefined : backingFormat,
    preallocation,
  };
  const tree = parseFilename(filename);
  if (tree.driver !== "file")
    throw new VmError("option/unsupported", `Protocol driver '${String(tree.driver)}' does not support image creation`);
  const file = new FileNode(await openNew(host, String(tree.filename), filename), filename);
  try {
    if (format === "qcow2") await createQcow2(file, qcow2);
    else {
      await file.resize(sizeBytes);
      if (preallocation !== "off") await file.writeZeroes(0, sizeBytes);
      await file.flush();
    }
  } finally {
    await file.close();
  }
  return `Formatting '${filename}', fmt=${format} ${describe(format, { ...qcow2, sizeBytes: size! }, options)}`;
}

async function openNew(host: BlockHost, path: string, said: string) {
  try {
    return await host.files.open(path, { readOnly: false, lock: true, create: true });
  } catch (e) {
    if (!(e instanceof VmError)) throw e;
    throw new VmError(e.code, `${said}: Could not create '${said}': ${e.message}`, { cause: e });
  }
}

async function lookAtBacking(
  graph: BlockGraph,
  request: CreateRequest,
  backing: string,
  format: string | undefined,
  size: number | undefined,
): Promise<number | undefined> {
  const name = resolveBacking(request.filename, backing);
  if (protocolOf(name) === undefined && name === request.filename)
    throw new VmError(
      "option/invalid",
      `${request.filename}: Error: Trying to create an image with the same filename as the backing file`,
    );
  if (format === undefined) {
    if (!request.unsafe) {
      const detail = await graph.openFile(name, { readOnly: true, noBacking: true }).then(
        async (n) => {
          const driver = n.driver;
          await n.close();
          return `Detected format of ${driver}.`;
        },
        () => "",
      );
      throw new VmError(
        "option/missing",
        `${request.filename}: Backing file specified without backing format${detail === "" ? "" : `\n${detail}`}`,
      );
    }
  }
  if (request.unsafe && size !== undefined) return size;
  const node = await graph.openFile(name, { readOnly: true, format }).catch((e) => {
    if (!(e instanceof VmError)) throw e;
    throw new VmError(e.code, `${request.filename}: ${e.message}\nCould not open backing image.`, { cause: e });
  });
  try {
    return size ?? node.sizeBytes;
  } finally {
    await node.close();
  }
}

interface Described {
  readonly clusterBytes: number;
  readonly extendedL2: boolean;
  readonly compression: string;
  readonly sizeBytes: number;
  readonly backingFile: string | undefined;
  readonly backingFormat: string | undefined;
  readonly lazyRefcounts: boolean;
  readonly refcountBits: number;
  readonly preallocation: string;
}

/** The options in qemu-img's order. */
function describe(format: string, q: Described, options: ReadonlyMap<string, string>): string {
  if (format !== "qcow2")
    return [`size=${q.sizeBytes}`, ...(options.has("preallocation") ? [`preallocation=${q.preallocation}`] : [])].join(" ");
  return [
    `cluster_size=${q.clusterBytes}`,
    `extended_l2=${q.extendedL2 ? "on" : "off"}`,
    ...(options.has("preallocation") ? [`preallocation=${q.preallocation}`] : []),
    `compression_type=${q.compression}`,
    `size=${q.sizeBytes}`,
    ...(options.has("compat") ? [`compat=${options.get("compat")}`] : []),
    ...(q.backingFile === undefined ? [] : [`backing_file=${q.backingFile}`]),
    ...(q.backingFormat === undefined ? [] : [`backing_fmt=${q.backingFormat}`]),
    `lazy_refcounts=${q.lazyRefcounts ? "on" : "off"}`,
    `refcount_bits=${q.refcountBits}`,
  ].join(" ");
}
