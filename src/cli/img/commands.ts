/**
 * The commands of `tandem-img`, in qemu-img's words.
 * Source: qemu-img(1) of QEMU 7.2, and what the program prints.
 */
import { VmError } from "../../base/errors.js";
import { chainOf, chainStatus, driverOf } from "../../block/chain.js";
import { commitImage, compareImages, rebaseImage } from "../../block/copy.js";
import { CREATE_OPTIONS, createImage } from "../../block/create-image.js";
import { resolveBacking } from "../../block/filename.js";
import type { GraphNode } from "../../block/graph-node.js";
import { type ImageInfo, imageInfo } from "../../block/image-info.js";
import type { BlockNode } from "../../block/node.js";
import { checkImage, type RepairMode } from "../../block/qcow2/check.js";
import { Qcow2Image } from "../../block/qcow2/image.js";
import { applySnapshot, createSnapshot, deleteSnapshot, findSnapshot } from "../../block/qcow2/snapshots.js";
import type { Arguments, OptionTable } from "./arguments.js";
import type { ImgContext } from "./context.js";
import { convert } from "./convert.js";
import { infoText, pretty, snapshotList } from "./texts.js";

export interface ImgCommand {
  readonly usage: string;
  readonly options: OptionTable;
  /** @returns the exit status @throws Exit | VmError */
  readonly run: (c: ImgContext, args: Arguments) => Promise<number>;
}

function operand(c: ImgContext, args: Arguments, count = 1): string {
  if (args.operands.length !== count) c.fail(count === 1 ? "Expecting one image file name" : "Expecting two image file names");
  return args.operands[0]!;
}

function qcow2Of(node: BlockNode): Qcow2Image | undefined {
  const image = driverOf(node);
  return image instanceof Qcow2Image ? image : undefined;
}

async function create(c: ImgContext, args: Arguments): Promise<number> {
  const format = args.get("f") ?? "raw";
  const options = c.options(args);
  if (options.has("help") || options.has("?")) {
    if (!Object.hasOwn(CREATE_OPTIONS, format)) c.fail(`Unknown file format '${format}'`);
    const rows = Object.entries(CREATE_OPTIONS[format]!).map(([name, what]) => `  ${`${name}=<str>`.padEnd(22)} - ${what}\n`);
    c.out(`Supported ${format} options:\n${rows.join("")}`);
    return 0;
  }
  const [filename, sizeText, ...more] = args.operands;
  if (filename === undefined) c.fail("Expecting image file name");
  if (more.length > 0) c.fail("Unexpected argument: " + more[0]);
  const sizeBytes = sizeText === undefined ? undefined : c.size(sizeText);
  try {
    const line = await createImage(c.host, c.graph, {
      format,
      filename: filename!,
      sizeBytes,
      backingFile: args.get("b"),
      backingFormat: args.get("F"),
      unsafe: args.has("u"),
      options,
    });
    if (!args.has("q")) c.out(`${line}\n`);
    return 0;
  } catch (e) {
    if (!(e instanceof VmError)) throw e;
    return c.fail(e.message.startsWith(`${filename}: `) ? e.message : `${filename}: ${e.message}`);
  }
}

async function info(c: ImgContext, args: Arguments): Promise<number> {
  const name = operand(c, args);
  const json = c.json(args);
  const offset = (ms: number) => c.host.localOffsetMinutes(ms);
  const all: ImageInfo[] = [];
  const seen = new Set<string>();
  let next: string | undefined = name;
  let format = args.get("f");
  while (next !== undefined) {
    if (seen.has(next)) c.fail(`Backing file '${next}' creates an infinite loop.`);
    seen.add(next);
    const node = await c.open(next, { readOnly: true, format, forceShare: args.has("U"), noBacking: true });
    const one = await imageInfo(node);
    await node.close();
    all.push(one);
    next = args.has("backing-chain") ? one["full-backing-filename"] : undefined;
    format = one["backing-filename-format"];
  }
  if (json) c.out(pretty(args.has("backing-chain") ? all : all[0]));
  else c.out(all.map((i) => infoText(i, offset)).join("\n"));
  return 0;
}

async function check(c: ImgContext, args: Arguments): Promise<number> {
  const name = operand(c, args);
  const json = c.json(args);
  c.checkCache(args);
  const repairText = args.get("r");
  if (repairText !== undefined && repairText !== "leaks" && repairText !== "all")
    c.fail("-r expects an option: 'leaks' or 'all'");
  const repair = (repairText ?? "none") as RepairMode;
  const node = await c.open(name, {
    readOnly: repair === "none",
    format: args.get("f"),
    forceShare: args.has("U"),
    noBacking: true,
    forCheck: true,
  });
  const image = qcow2Of(node);
  if (!image) return c.fail("This image format does not support checks", 63);
  const say = (line: string) => {
    if (!args.has("q") && !json) c.err(`${line}\n`);
  };
  let result = await checkImage(image, repair, say);
  const fixed = { leaks: result.leaksFixed, corruptions: result.corruptionsFixed };
  if (fixed.leaks > 0 || fixed.corruptions > 0) {
    await node.close();
    const again = await c.open(name, { readOnly: true, format: args.get("f"), noBacking: true, forCheck: true });
    if (!args.has("q") && !json)
      c.out(
        `The following inconsistencies were found and repaired:\n\n    ${fixed.leaks} leaked clusters\n    ${fixed.corruptions} corruptions\n\nDouble checking the fixed image now...\n`,
      );
    result = await checkImage(qcow2Of(again)!, "none", say);
    await again.close();
  } else await node.close();
  if (json)
    c.out(
      pretty({
        "image-end-offset": result.imageEndOffset,
        "total-clusters": result.totalClusters,
        "check-errors": 0,
        ...(result.corruptions ? { corruptions: result.corruptions } : {}),
        ...(result.leaks ? { leaks: result.leaks } : {}),
        ...(fixed.corruptions ? { "corruptions-fixed": fixed.corruptions } : {}),
        ...(fixed.leaks ? { "leaks-fixed": fixed.leaks } : {}),
        ...(result.allocatedClusters ? { "allocated-clusters": result.allocatedClusters } : {}),
        ...(result.fragmentedClusters ? { "fragmented-clusters": result.fragmentedClusters } : {}),
        ...(result.compressedClusters ? { "compressed-clusters": result.compressedClusters } : {}),
        filename: name,
        format: "qcow2",
      }),
    );
  else if (!args.has("q")) c.out(checkText(result));
  return result.corruptions > 0 ? 2 : result.leaks > 0 ? 3 : 0;
}

function checkText(r: Awaited<ReturnType<typeof checkImage>>): string {
  let text = "";
  if (r.corruptions === 0 && r.leaks === 0) text += "No errors were found on the image.\n";
  if (r.corruptions > 0)
    text += `\n${r.corruptions} errors were found on the image.\nData may be corrupted, or further writes to the image may corrupt it.\n`;
  if (r.leaks > 0)
    text += `\n${r.leaks} leaked clusters were found on the image.\nThis means waste of disk space, but no harm to data.\n`;
  if (r.totalClusters > 0 && r.allocatedClusters > 0) {
    const percent = (a: number, b: number) => ((a * 100) / b).toFixed(2);
    text += `${r.allocatedClusters}/${r.totalClusters} = ${percent(r.allocatedClusters, r.totalClusters)}% allocated, ${percent(r.fragmentedClusters, r.allocatedClusters)}% fragmented, ${percent(r.compressedClusters, r.allocatedClusters)}% compressed clusters\n`;
  }
  return `${text}Image end offset: ${r.imageEndOffset}\n`;
}

async function resize(c: ImgContext, args: Arguments): Promise<number> {
  // The size comes last, and may begin with a minus.
  const [name, sizeText] = args.operands;
  if (args.operands.length !== 2 || name === undefined || sizeText === undefined)
    return c.fail("Expecting image file name and size");
  const prealloc = args.get("preallocation") ?? "off";
  if (prealloc !== "off") c.fail(`--preallocation=${prealloc} is not supported`);
  const sign = sizeText[0] === "+" || sizeText[0] === "-" ? sizeText[0] : "";
  const amount = c.size(sizeText.slice(sign.length));
  const node = await c.open(name, { readOnly: false, format: args.get("f") });
  const current = node.sizeBytes;
  const size = sign === "+" ? current + amount : sign === "-" ? current - amount : amount;
  if (size <= 0) c.fail("New image size must be positive");
  if (size < current && !args.has("shrink")) {
    c.error("Use the --shrink option to perform a shrink operation.");
    c.fail(
      "warning: Shrinking an image will delete all data beyond the shrunken image's end. Before performing such an operation, make sure there is no important data there.",
    );
  }
  if (!node.resize) c.fail("Image format driver does not support resize");
  await node.resize!(Math.ceil(size / 512) * 512);
  await node.close();
  if (!args.has("q")) c.out("Image resized.\n");
  return 0;
}

async function snapshot(c: ImgContext, args: Arguments): Promise<number> {
  const name = operand(c, args);
  const actions = ["l", "a", "c", "d"].filter((a) => args.has(a));
  if (actions.length > 1) c.fail("Cannot mix '-l', '-a', '-c', '-d'");
  const action = actions[0] ?? "l";
  const node = await c.open(name, { readOnly: action === "l", forceShare: args.has("U") });
  const image = qcow2Of(node);
  const tag = args.get(action) ?? "";
  if (action === "l") {
    const { snapshots } = await imageInfo(node);
    c.out(snapshotList(snapshots ?? [], (ms) => c.host.localOffsetMinutes(ms)));
    await node.close();
    return 0;
  }
  const refuse = (what: string, e: unknown): never => {
    if (e instanceof VmError && e.code === "block/not-found")
      return c.fail(
        `Could not ${what} snapshot '${tag}': ${what === "delete" ? "snapshot not found" : "Failed to load snapshot: No such file or directory"}`,
      );
    if (e instanceof VmError) return c.fail(`Could not ${what} snapshot '${tag}': ${e.message}`);
    throw e;
  };
  if (!image)
    return c.fail(
      `Could not ${action === "c" ? "create" : action === "a" ? "apply" : "delete"} snapshot '${tag}': Operation not supported`,
    );
  switch (action) {
    case "c": {
      const now = c.host.clock.wallMs();
      await createSnapshot(image, {
        name: tag,
        dateSec: Math.floor(now / 1000),
        dateNsec: Math.floor((now % 1000) * 1e6),
        vmClockNs: 0,
        vmStateBytes: 0,
        icount: 0,
      }).catch((e) => refuse("create", e));
      break;
    }
    case "a":
      await applySnapshot(image, tag).catch((e) => refuse("apply", e));
      break;
    default:
      if (!findSnapshot(image, tag)) refuse("delete", new VmError("block/not-found", ""));
      await deleteSnapshot(image, tag).catch((e) => refuse("delete", e));
  }
  await node.close();
  return 0;
}

async function map(c: ImgContext, args: Arguments): Promise<number> {
  const name = operand(c, args);
  const json = c.json(args);
  const node = await c.open(name, { readOnly: true, format: args.get("f"), forceShare: args.has("U") });
  const start = args.has("start-offset") ? c.size(args.get("start-offset")!) : 0;
  const end = Math.min(
    node.sizeBytes,
    args.has("max-length") ? start + c.size(args.get("max-length")!) : Number.POSITIVE_INFINITY,
  );
  interface Entry {
    start: number;
    length: number;
    depth: number;
    present: boolean;
    zero: boolean;
    data: boolean;
    offset: number | undefined;
    file: string;
  }
  let last: Entry | undefined;
  let first = true;
  const hex = (n: number) => (n === 0 ? "0" : `0x${n.toString(16)}`).padEnd(16);
  if (!json) c.out(`${"Offset".padEnd(16)}${"Length".padEnd(16)}${"Mapped to".padEnd(16)}File\n`);
  const show = (e: Entry) => {
    if (json) {
      c.out(
        `${first ? "[" : ",\n"}{ "start": ${e.start}, "length": ${e.length}, "depth": ${e.depth}, "present": ${e.present}, "zero": ${e.zero}, "data": ${e.data}${e.offset === undefined ? "" : `, "offset": ${e.offset}`}}`,
      );
      first = false;
      return;
    }
    if (e.data && e.offset === undefined) c.fail("File contains external, encrypted or compressed clusters.");
    if (e.data && !e.zero) c.out(`${hex(e.start)}${hex(e.length)}${hex(e.offset!)}${e.file}\n`);
  };
  for (let at = start; at < end; ) {
    const s = await chainStatus(node, at, end - at);
    const e: Entry = {
      start: at,
      length: s.sizeBytes,
      depth: s.depth,
      present: s.present,
      zero: s.kind === "zero",
      data: s.kind === "data",
      offset: s.offsetBytes,
      file: s.node.filename,
    };
    at += s.sizeBytes;
    if (
      last &&
      last.depth === e.depth &&
      last.zero === e.zero &&
      last.data === e.data &&
      last.present === e.present &&
      (last.offset === undefined ? e.offset === undefined : e.offset === last.offset + last.length)
    ) {
      last.length += e.length;
      continue;
    }
    if (last) show(last);
    last = e;
  }
  if (last) show(last);
  if (json) c.out(first ? "[]\n" : "]\n");
  await node.close();
  return 0;
}

async function compare(c: ImgContext, args: Arguments): Promise<number> {
  operand(c, args, 2);
  const [nameA, nameB] = args.operands as [string, string];
  c.checkCache(args);
  const a = await c.open(nameA, { readOnly: true, format: args.get("f"), forceShare: args.has("U") }, 2);
  const b = await c.open(nameB, { readOnly: true, format: args.get("F"), forceShare: args.has("U") }, 2);
  const say = (text: string) => {
    if (!args.has("q")) c.out(text);
  };
  const strict = args.has("s");
  if (a.sizeBytes !== b.sizeBytes && strict) {
    say("Strict mode: Image size mismatch!\n");
    return 1;
  }
  const progress = c.progress(args);
  let different: Awaited<ReturnType<typeof compareImages>>;
  try {
    different = await compareImages(a, b, { strict, progress });
  } catch (e) {
    if (!(e instanceof VmError)) throw e;
    return c.fail(`Error while reading: ${e.message}`, 4);
  }
  if (different) {
    say(
      different.allocation
        ? `Strict mode: Offset ${different.offset} block status mismatch!\n`
        : `Content mismatch at offset ${different.offset}!\n`,
    );
    return 1;
  }
  c.endProgress(args);
  if (a.sizeBytes !== b.sizeBytes) say("Warning: Image size mismatch!\n");
  say("Images are identical.\n");
  await a.close();
  await b.close();
  return 0;
}

async function commit(c: ImgContext, args: Arguments): Promise<number> {
  const name = operand(c, args);
  c.checkCache(args);
  const top = await c.open(name, { readOnly: false, format: args.get("f") });
  const chain = chainOf(top);
  if (chain.length < 2) c.fail("Image does not have a backing file");
  const baseName = args.get("b");
  const base = (
    baseName === undefined
      ? chain[1]
      : chain.slice(1).find((n) => n.filename === baseName || n.filename === resolveBacking(name, baseName))
  ) as GraphNode | undefined;
  if (!base) return c.fail(`Did not find '${baseName}' in the backing chain of '${name}'`);
  await c.graph.reopenWritable(base);
  const progress = c.progress(args);
  await commitImage(top, base, progress);
  // What is below now need not be in the overlay any more; an overlay of others is left as it is.
  if (!args.has("d") && base === chain[1]) {
    const image = qcow2Of(top)!;
    await image.zeroClusters(0, Math.ceil(image.sizeBytes / image.core.clusterBytes) * image.core.clusterBytes, true, "empty");
  }
  await top.close();
  c.endProgress(args);
  if (!args.has("q")) c.out("Image committed.\n");
  return 0;
}

async function rebase(c: ImgContext, args: Arguments): Promise<number> {
  const name = operand(c, args);
  c.checkCache(args);
  const unsafe = args.has("u");
  const baseName = args.get("b");
  if (baseName === undefined && !unsafe) c.fail("Use backing file (-b) option or unsafe rebase (-u)");
  const node = await c.open(name, { readOnly: false, format: args.get("f"), noBacking: unsafe });
  const image = qcow2Of(node);
  if (!image)
    return c.fail("Could not change the backing file to '" + (baseName ?? "") + "': format does not support backing files");
  const progress = c.progress(args);
  let next: GraphNode | undefined;
  const none = baseName === undefined || baseName === "";
  const format = args.get("F");
  if (!none && format === undefined)
    c.fail(`Could not change the backing file to '${baseName}': backing format must be specified`);
  if (!unsafe) {
    if (!none) {
      const path = resolveBacking(name, baseName);
      next = await c.graph.openFile(path, { readOnly: true, format }).catch((e) => {
        if (!(e instanceof VmError)) throw e;
        return c.fail(`Could not open new backing file '${baseName}': ${e.message}`);
      });
    }
    await rebaseImage(node, next, progress);
  }
  await image.setBacking(none ? undefined : baseName, none ? undefined : format);
  await next?.close();
  await node.close();
  c.endProgress(args);
  return 0;
}

const OUTPUT = { "output=": "output" };

export const COMMANDS: { readonly [name: string]: ImgCommand } = {
  check: {
    usage: "[-q] [-f fmt] [--output=ofmt] [-r [leaks | all]] [-T src_cache] [-U] filename",
    options: { short: "qf:r:T:U", long: { ...OUTPUT, "format=": "f", "repair=": "r", "force-share": "U" } },
    run: check,
  },
  commit: {
    usage: "[-q] [-f fmt] [-t cache] [-b base] [-d] [-p] filename",
    options: { short: "qf:t:b:dp" },
    run: commit,
  },
  compare: {
    usage: "[-f fmt] [-F fmt] [-T src_cache] [-p] [-q] [-s] [-U] filename1 filename2",
    options: { short: "f:F:T:pqsU", long: { "force-share": "U" } },
    run: compare,
  },
  convert: {
    usage:
      "[-U] [-C] [-c] [-p] [-q] [-n] [-f fmt] [-t cache] [-T src_cache] [-O output_fmt] [-B backing_file [-F backing_fmt]] [-o options] [-l snapshot_param] [-S sparse_size] [-r rate_limit] [-m num_coroutines] [-W] [--salvage] filename [filename2 [...]] output_filename",
    options: {
      short: "UCcpqnf:t:T:O:B:F:o:l:S:r:m:W",
      long: { salvage: "salvage", "target-is-zero": "target-is-zero", "force-share": "U", "source-format=": "f" },
    },
    run: convert,
  },
  create: {
    usage: "[-q] [-f fmt] [-b backing_file [-F backing_fmt]] [-u] [-o options] filename [size]",
    options: { short: "qf:b:F:uo:" },
    run: create,
  },
  info: {
    usage: "[-f fmt] [--output=ofmt] [--backing-chain] [-U] filename",
    options: { short: "f:U", long: { ...OUTPUT, "backing-chain": "backing-chain", "format=": "f", "force-share": "U" } },
    run: info,
  },
  map: {
    usage: "[-f fmt] [--start-offset=offset] [--max-length=len] [--output=ofmt] [-U] filename",
    options: {
      short: "f:s:l:U",
      long: { ...OUTPUT, "start-offset=": "start-offset", "max-length=": "max-length", "format=": "f", "force-share": "U" },
    },
    run: map,
  },
  rebase: {
    usage: "[-q] [-f fmt] [-t cache] [-T src_cache] [-p] [-u] -b backing_file [-F backing_fmt] filename",
    options: { short: "qf:t:T:pub:F:" },
    run: rebase,
  },
  resize: {
    usage: "[-f fmt] [--preallocation=off] [-q] [--shrink] filename [+ | -]size",
    options: { short: "f:q", long: { "preallocation=": "preallocation", shrink: "shrink" } },
    run: resize,
  },
  snapshot: {
    usage: "[-U] [-q] [-l | -a snapshot | -c snapshot | -d snapshot] filename",
    options: { short: "Uqla:c:d:", long: { "force-share": "U" } },
    run: snapshot,
  },
};

/** Commands that qemu-img has and this program has not. */
export const OTHER_COMMANDS = ["amend", "bench", "bitmap", "dd", "measure"];
