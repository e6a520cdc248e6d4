/** `tandem-img convert`. */
import { VmError } from "../../base/errors.js";
import { driverOf } from "../../block/chain.js";
import { type CopySource, copyImage, joinedSource, ownSource, wholeSource } from "../../block/copy.js";
import { createImage } from "../../block/create-image.js";
import type { GraphNode } from "../../block/graph-node.js";
import { Qcow2Image } from "../../block/qcow2/image.js";
import { findSnapshot, showSnapshot } from "../../block/qcow2/snapshots.js";
import type { Arguments } from "./arguments.js";
import type { ImgContext } from "./context.js";

const DEFAULT_SPARSE = 4096;
const MAX_COROUTINES = 16;

/** @throws Exit | VmError */
export async function convert(c: ImgContext, args: Arguments): Promise<number> {
  const names = args.operands.slice(0, -1);
  const target = args.operands.at(-1);
  if (names.length === 0 || target === undefined) return c.fail("Must specify image file name");
  c.checkCache(args);
  if (args.has("r")) c.fail("-r (a rate limit) is not supported");
  const sparse = args.has("S") ? c.size(args.get("S")!) : DEFAULT_SPARSE;
  if (sparse % 512 !== 0 || sparse > 2 ** 20)
    c.fail(
      "Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to 1048576. Select 0 to disable sparse detection (fully allocates output).",
    );
  const coroutines = args.has("m") ? Number(args.get("m")) : 8;
  if (!Number.isInteger(coroutines) || coroutines < 1 || coroutines > MAX_COROUTINES)
    c.fail(`Invalid number of coroutines. Allowed number of coroutines is between 1 and ${MAX_COROUTINES}`);
  const outFormat = args.get("O") ?? "raw";
  const compress = args.has("c");
  if (compress && outFormat !== "qcow2") c.fail("Compression not supported for this file format");
  if (args.has("target-is-zero") && !args.has("n")) c.fail("--target-is-zero requires use of -n flag");
  const options = c.options(args);
  const backing = args.get("B") ?? options.get("backing_file");
  if (backing !== undefined && args.has("n")) c.fail("-B is not used with -n");
  if (backing !== undefined && names.length > 1)
    c.fail("Having a backing file for the target makes no sense when concatenating multiple input images");

  const sources: CopySource[] = [];
  const open: GraphNode[] = [];
  for (const name of names) {
    const node = await c.open(name, { readOnly: true, format: args.get("f"), forceShare: args.has("U") });
    open.push(node);
    const snapshot = args.get("l");
    if (snapshot !== undefined) await select(c, node, snapshot);
    sources.push(backing === undefined ? wholeSource(node) : ownSource(node));
  }
  const source = joinedSource(sources);
  if (!args.has("n")) {
    const backingFormat = args.get("F") ?? options.get("backing_fmt");
    options.delete("backing_file");
    options.delete("backing_fmt");
    // Nothing that is in use is overwritten: the lock of what is read says so.
    try {
      await createImage(c.host, c.graph, {
        format: outFormat,
        filename: target,
        sizeBytes: options.has("size") ? undefined : source.sizeBytes,
        backingFile: backing,
        backingFormat,
        options,
      });
    } catch (e) {
      if (!(e instanceof VmError)) throw e;
      c.fail(`${target}: error while converting ${outFormat}: ${e.message.replace(`${target}: `, "")}`);
    }
  }
  const out = await c.open(target, { readOnly: false, format: outFormat, noBacking: false });
  if (out.sizeBytes < source.sizeBytes) {
    if (args.has("n")) c.fail("output file is smaller than input file");
    c.fail(`the size of the output (${out.sizeBytes}) is smaller than the input's (${source.sizeBytes})`);
  }
  const progress = c.progress(args);
  try {
    await copyImage(source, out, {
      sparseBytes: sparse,
      compress,
      targetIsZero:
        (!args.has("n") && backing === undefined && options.get("preallocation") !== "full") || args.has("target-is-zero"),
      keepUnallocated: backing !== undefined,
      parallel: coroutines,
      salvage: args.has("salvage")
        ? (offset, e) => c.error(`warning: error while reading offset ${offset}: ${e.message}`)
        : undefined,
      progress,
    });
    await out.flush();
  } catch (e) {
    if (!(e instanceof VmError)) throw e;
    c.fail(`error while converting: ${e.message}`);
  }
  await out.close();
  for (const node of open) await node.close();
  c.endProgress(args);
  return 0;
}

/** `-l snapshot.id=1,snapshot.name=x` or a plain id or name. */
async function select(c: ImgContext, node: GraphNode, text: string): Promise<void> {
  const image = driverOf(node);
  if (!(image instanceof Qcow2Image)) return c.fail(`Failed to load snapshot: the format ${node.driver} has none`);
  const wanted = new Map<string, string>();
  if (text.startsWith("snapshot."))
    for (const item of text.split(",")) wanted.set(item.slice(0, item.indexOf("=")), item.slice(item.indexOf("=") + 1));
  const snapshot =
    wanted.size === 0
      ? findSnapshot(image, text)
      : image.core.snapshots.find(
          (s) =>
            (!wanted.has("snapshot.id") || s.id === wanted.get("snapshot.id")) &&
            (!wanted.has("snapshot.name") || s.name === wanted.get("snapshot.name")),
        );
  if (!snapshot) return c.fail(`Failed to load snapshot: Can't find snapshot`);
  await showSnapshot(image.core, snapshot);
}
