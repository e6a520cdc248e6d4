/**
 * The graph of block nodes: images by node name, opened from options (`-blockdev`, `blockdev-add`) or from file names
 * (`-drive file=`, backing files), with QEMU's rules about formats that nobody named.
 *
 * What an image says about other files is not trusted further than this: its backing file is opened for reading only, under
 * a plain name or an address and never a `json:` description, and an image whose own format was guessed because its overlay
 * did not record it must not name another.
 * Source: QEMU's documentation, "Block device options"; `BlockdevOptions` in the QMP reference.
 */
import { VmError } from "../base/errors.js";
import type { Host } from "../host/host.js";
import { type NodeOptions, type OptionTree, readNodeOptions } from "./blockdev-options.js";
import { FileNode } from "./file-node.js";
import { parseFilename, protocolOf, resolveBacking } from "./filename.js";
import { GraphNode } from "./graph-node.js";
import { HttpNode } from "./http-node.js";
import { NbdNode } from "./nbd/nbd-node.js";
import type { BlockNode } from "./node.js";
import { NullNode } from "./null-node.js";
import { PROBE_BYTES, probeFormat } from "./probe.js";
import { Qcow2Image } from "./qcow2/image.js";
import { RawNode } from "./raw-node.js";

/** What of the host images need. */
export type BlockHost = Pick<Host, "files" | "codecs" | "connections" | "http">;

/** Images below one another; more is a loop, or was made to look like one. */
const MAX_CHAIN = 200;

/** How an image is opened by its file name. */
export interface OpenOptions {
  readonly readOnly: boolean;
  /** Absent: it is guessed. */
  readonly format?: string | undefined;
  readonly noFlush?: boolean | undefined;
  readonly discard?: boolean | undefined;
  readonly forceShare?: boolean | undefined;
  /** Without the chain of its backing files. */
  readonly noBacking?: boolean | undefined;
  /** For a check or a repair: `Qcow2Options.forCheck`. */
  readonly forCheck?: boolean | undefined;
  /** Says something that is not an error. */
  readonly warn?: ((line: string) => void) | undefined;
  readonly nodeName?: string | undefined;
}

interface Opening {
  /** Files on the way down, by identity or name. */
  readonly chain: readonly string[];
  /** The format of the image above was guessed from an overlay that does not record it. */
  readonly untrusted: boolean;
  readonly readOnly: boolean;
  readonly noFlush: boolean;
  readonly discard: boolean;
  readonly forceShare: boolean;
  readonly warn: (line: string) => void;
}

const ROOT: Opening = {
  chain: [],
  untrusted: false,
  readOnly: false,
  noFlush: false,
  discard: false,
  forceShare: false,
  warn: () => {},
};

/** A driver and the nodes it stands on. */
interface Built {
  readonly inner: BlockNode;
  readonly children: readonly (readonly [GraphNode, string])[];
}

function opening(options: OpenOptions): Opening {
  return {
    ...ROOT,
    readOnly: options.readOnly,
    noFlush: options.noFlush ?? false,
    discard: options.discard ?? false,
    forceShare: options.forceShare ?? false,
    warn: options.warn ?? (() => {}),
  };
}

/** Closes what could not be used; the error that led here is the one that counts. */
async function abandon(node: BlockNode): Promise<void> {
  try {
    await node.close();
  } catch {
    // See above.
  }
}

async function guessFormat(file: BlockNode): Promise<string> {
  const head = new Uint8Array(Math.min(PROBE_BYTES, file.sizeBytes));
  await file.read(0, head);
  return probeFormat(head);
}

/** What tells two names of one file. */
function identityOf(node: BlockNode): string {
  const inner = node instanceof GraphNode ? node.inner : node;
  return inner instanceof FileNode ? (inner.identity ?? inner.filename) : inner.filename;
}

function invalid(what: string): never {
  throw new VmError("option/invalid", what);
}

export class BlockGraph {
  private readonly nodes = new Map<string, GraphNode>();
  private counter = 100;

  constructor(private readonly host: BlockHost) {}

  /** Nodes in the order they came. */
  all(): readonly GraphNode[] {
    return [...this.nodes.values()];
  }

  find(nodeName: string): GraphNode | undefined {
    return this.nodes.get(nodeName);
  }

  /** `blockdev-add`. @throws VmError */
  async add(options: NodeOptions): Promise<GraphNode> {
    if (options.nodeName === undefined) invalid("'node-name' must be specified for the root node");
    return this.open(options, ROOT, true);
  }

  /** `blockdev-del`. @throws VmError "block/not-found" | "option/invalid" while it is used */
  async del(nodeName: string): Promise<void> {
    const node = this.nodes.get(nodeName);
    if (!node) throw new VmError("block/not-found", `Failed to find node with node-name='${nodeName}'`);
    if (!node.explicit) invalid(`Node ${nodeName} is not owned by the monitor`);
    const [user] = node.users;
    if (user !== undefined) invalid(`Node '${nodeName}' is busy: node is used ${user}`);
    this.nodes.delete(nodeName);
    this.unlink(nodeName);
    node.closed = true;
    await node.inner.close();
  }

  /**
   * `blockdev-reopen`: the node with other options, its users unaware. When the new options fail the old ones hold again.
   * @throws VmError
   */
  async reopen(options: NodeOptions): Promise<void> {
    if (options.nodeName === undefined) invalid("node-name not specified");
    const node = this.nodes.get(options.nodeName);
    if (!node) throw new VmError("block/not-found", `Failed to find node with node-name='${options.nodeName}'`);
    if (options.driver !== node.driver) invalid(`Cannot change the option 'driver'`);
    if (!node.explicit) invalid(`Node ${options.nodeName} is not owned by the monitor`);
    await node.alone(async () => {
      const old = node.options;
      this.unlink(node.nodeName);
      await node.inner.close();
      let built: Built;
      try {
        built = await this.build(options, ROOT);
        node.options = options;
      } catch (e) {
        built = await this.build(old, ROOT);
        node.inner = built.inner;
        this.link(node.nodeName, built.children);
        throw e;
      }
      node.inner = built.inner;
      this.link(node.nodeName, built.children);
    });
  }

  /** Opens a node that came with a file name again, for writing: a commit is about to write into it. @throws VmError */
  async reopenWritable(node: GraphNode): Promise<void> {
    if (!node.readOnly) return;
    const file = node.file instanceof GraphNode ? node.file : undefined;
    await node.alone(async () => {
      const below = node.inner;
      const backing = below.backing;
      if (!file || !(file.inner instanceof FileNode))
        throw new VmError("block/read-only", `Block node is read-only: ${node.filename}`);
      await file.alone(async () => {
        const { filename } = file;
        const options: NodeOptions = { ...file.options, readOnly: false };
        await file.inner.close();
        const path = String(options.own.get("filename"));
        try {
          file.inner = await this.openHostFile(path, false, options, ROOT, filename);
        } catch (e) {
          file.inner = await this.openHostFile(path, true, options, ROOT, filename);
          throw e;
        }
      });
      if (below instanceof Qcow2Image) {
        const image = await Qcow2Image.open(file, { readOnly: false, codecs: this.host.codecs });
        image.backing = backing;
        node.inner = image;
      } else node.inner = new RawNode(file, { readOnly: false });
    });
  }

  /**
   * Puts an overlay above a node: the overlay gets the node as its backing file, and the node's devices get the overlay
   * (`blockdev-snapshot`). @throws VmError
   */
  async insertOverlay(node: GraphNode, overlay: GraphNode): Promise<void> {
    if (!(overlay.inner instanceof Qcow2Image)) invalid("The overlay does not support backing images");
    if (overlay.backing) invalid("The overlay already has a backing image");
    if (overlay.users.size > 0) invalid("The overlay is already in use");
    if (overlay.readOnly) invalid("The overlay is read-only");
    if (overlay.sizeBytes !== node.sizeBytes) invalid("The overlay has another size than the node below it");
    await node.alone(async () => {
      if (!node.readOnly) await node.inner.flush();
      overlay.backing = node;
      for (const [user, replace] of [...node.users]) {
        if (!replace) continue;
        node.users.delete(user);
        overlay.users.set(user, replace);
        replace(overlay);
      }
      this.link(overlay.nodeName, [[node, "as 'backing' of"]]);
    });
  }

  /** Opens an image by the name a user gave. @throws VmError */
  async openFile(name: string, options: OpenOptions): Promise<GraphNode> {
    if (name.startsWith("json:")) {
      let tree: OptionTree;
      try {
        tree = JSON.parse(name.slice(5)) as OptionTree;
      } catch (cause) {
        throw new VmError(
          "option/invalid",
          `Could not parse the JSON options: ${cause instanceof Error ? cause.message : cause}`,
        );
      }
      return this.open(readNodeOptions(tree, ""), opening(options), false);
    }
    return this.openNamed(name, options, opening(options));
  }

  /**
   * Opens what `-drive` says beyond a file name: `tree` as `-blockdev` would have it, whose file may be given by name and whose
   * driver may be missing. @throws VmError
   */
  async openTree(tree: OptionTree, options: OpenOptions & { readonly file?: string | undefined }): Promise<GraphNode> {
    const whole: OptionTree = { ...tree };
    const o = opening(options);
    const protocol = (file: OptionTree): OptionTree => {
      if (file.driver !== undefined || typeof file.filename !== "string") return file;
      return { ...parseFilename(file.filename), ...file, filename: parseFilename(file.filename).filename ?? file.filename };
    };
    for (const key of ["file", "backing"]) {
      const child = whole[key];
      if (typeof child === "object" && child !== null && !Array.isArray(child)) {
        if (key === "file") whole.file = protocol(child);
        else if (child.driver === undefined) invalid(`Parameter '${key}.driver' is missing`);
        else if (typeof child.file === "object" && child.file !== null && !Array.isArray(child.file))
          whole.backing = { ...child, file: protocol(child.file) };
      }
    }
    if (options.file !== undefined) {
      if (whole.file !== undefined) invalid("Cannot specify both 'file' and 'file.*'");
      whole.file = parseFilename(options.file);
    }
    if (whole.driver === undefined) {
      if (whole.file === undefined) return this.open(readNodeOptions(protocol(whole), ""), o, false);
      const probe = await this.open(readNodeOptions(whole.file, ""), { ...o, readOnly: true, forceShare: true }, false);
      try {
        whole.driver = await guessFormat(probe);
      } finally {
        await probe.close();
      }
    }
    return this.open(readNodeOptions(whole, ""), o, false);
  }

  /** Guards a node for a user. @returns lets go; closes a node that came with a file name when nobody else has it */
  use(node: GraphNode, user: string, replace: (node: GraphNode) => void): () => Promise<void> {
    node.users.set(user, replace);
    return async () => {
      for (const n of this.all())
        if (n.users.get(user) === replace) {
          n.users.delete(user);
          await this.unused(n);
        }
    };
  }

  private async openNamed(name: string, options: OpenOptions, o: Opening): Promise<GraphNode> {
    const tree = parseFilename(name);
    const file = await this.open(readNodeOptions(tree, ""), { ...o, readOnly: options.readOnly }, false, name);
    try {
      let { format } = options;
      let guessed = false;
      if (format === undefined) {
        format = await guessFormat(file);
        guessed = format === "raw";
        if (format !== "raw" && format !== "qcow2")
          throw new VmError(
            "block/bad-format",
            `'${name}' is a ${format} image, which is not supported; convert it to raw, or say format=raw to use its bytes as they are`,
          );
        if (guessed && !options.readOnly)
          o.warn(
            `Image format was not specified for '${name}' and probing guessed raw: writes to its first sector that would make it look like another format are refused; specify format=raw to allow them`,
          );
      }
      return await this.format(format, file, name, options, { ...o, readOnly: options.readOnly }, guessed && !options.readOnly);
    } catch (e) {
      await file.close();
      throw e;
    }
  }

  /** A format node over an open file, and its backing chain. */
  private async format(
    format: string,
    file: GraphNode,
    name: string,
    options: OpenOptions,
    o: Opening,
    guessed: boolean,
  ): Promise<GraphNode> {
    if (format === "file" || format === file.driver) return file;
    const plain: NodeOptions = {
      driver: format,
      nodeName: options.nodeName,
      readOnly: options.readOnly,
      autoReadOnly: false,
      forceShare: o.forceShare,
      discard: o.discard,
      noFlush: o.noFlush,
      direct: undefined,
      detectZeroes: "off",
      own: new Map(),
      children: new Map(),
    };
    if (format === "raw") {
      const raw = new RawNode(file, { readOnly: options.readOnly, guessed });
      return this.register(raw, plain, false, [[file, "as 'file' of"]]);
    }
    if (format !== "qcow2") throw new VmError("option/unsupported", `Unknown driver '${format}'`);
    const image = await Qcow2Image.open(file, {
      readOnly: options.readOnly,
      codecs: this.host.codecs,
      discard: options.discard,
      forCheck: options.forCheck,
    });
    try {
      const backing = options.noBacking ? undefined : await this.openBacking(image, name, o);
      image.backing = backing;
      return this.register(image, plain, false, [
        [file, "as 'file' of"],
        ...(backing ? [[backing, "as 'backing' of"] as const] : []),
      ]);
    } catch (e) {
      await abandon(image);
      throw e;
    }
  }

  private async openBacking(image: Qcow2Image, overlay: string, o: Opening): Promise<GraphNode | undefined> {
    const { backingFile, backingFormat } = image.core.header;
    if (backingFile === undefined || backingFile === "") return undefined;
    const fail = (what: string): never => {
      throw new VmError("block/io", `Could not open backing file: ${what}`);
    };
    if (o.untrusted)
      fail(`'${overlay}' names '${backingFile}', but its own format was guessed; record it in its overlay (rebase -u -F)`);
    if (protocolOf(backingFile) === "json") fail("a json: name in an image is not followed");
    if (o.chain.length >= MAX_CHAIN) fail(`more than ${MAX_CHAIN} images below one another`);
    const name = resolveBacking(overlay, backingFile);
    if (name === overlay || o.chain.includes(name)) fail(`the backing files form a loop at '${name}'`);
    const chain = [...o.chain, identityOf(image.file), overlay];
    try {
      return await this.openNamed(
        name,
        { readOnly: true, format: backingFormat, noFlush: o.noFlush, forceShare: o.forceShare },
        { ...o, chain, readOnly: true, discard: false, untrusted: backingFormat === undefined },
      );
    } catch (e) {
      if (!(e instanceof VmError)) throw e;
      const prefix = "Could not open backing file: ";
      throw new VmError(e.code, e.message.startsWith(prefix) ? e.message : prefix + e.message, { cause: e });
    }
  }

  /** Opens a node and its children as options say. */
  private async open(options: NodeOptions, o: Opening, explicit: boolean, origin?: string): Promise<GraphNode> {
    if (options.nodeName !== undefined && this.nodes.has(options.nodeName))
      invalid(`Duplicate nodes with node-name='${options.nodeName}'`);
    const { inner, children } = await this.build(options, o, origin);
    return this.register(inner, options, explicit, children);
  }

  /** The driver of a node, over its children. */
  private async build(options: NodeOptions, o: Opening, origin?: string): Promise<Built> {
    const readOnly = options.readOnly ?? o.readOnly;
    const inherit: Opening = {
      ...o,
      readOnly,
      noFlush: options.noFlush ?? o.noFlush,
      discard: options.discard ?? o.discard,
      forceShare: options.forceShare || o.forceShare,
    };
    const own = options.own;
    const need = (key: string): string => {
      const v = own.get(key);
      if (typeof v !== "string") throw new VmError("option/missing", `Parameter '${key}' is missing`);
      return v;
    };
    const readOnlyOrDie = (driver: string) => {
      if (!readOnly && !options.autoReadOnly) invalid(`${driver} block driver supports only read-only`);
    };
    switch (options.driver) {
      case "file":
      case "host_device": {
        const filename = need("filename");
        // Such a node is writable from when a writer comes.
        const auto = options.autoReadOnly && options.nodeName !== undefined;
        return { inner: await this.openHostFile(filename, auto || readOnly, options, inherit, origin ?? filename), children: [] };
      }
      case "null-co":
        return { inner: new NullNode(own.get("size") as number | undefined, readOnly), children: [] };
      case "http":
      case "https": {
        readOnlyOrDie("HTTP");
        const { http } = this.host;
        if (!http) throw new VmError("option/unsupported", `driver ${options.driver} is not supported on this host`);
        const node = await HttpNode.open(http, options.driver, need("url"), {
          readaheadBytes: own.get("readahead") as number | undefined,
          timeoutSec: own.get("timeout") as number | undefined,
          cookie: own.get("cookie") as string | undefined,
        });
        return { inner: node, children: [] };
      }
      case "nbd": {
        const { connections } = this.host;
        if (!connections) throw new VmError("option/unsupported", "driver nbd is not supported on this host");
        const type = need("server.type");
        const address =
          type === "unix"
            ? { kind: "unix" as const, path: need("server.path") }
            : { kind: "tcp" as const, host: need("server.host"), port: Number(need("server.port")) };
        const node = await NbdNode.open(connections, address, (own.get("export") as string | undefined) ?? "", readOnly);
        if (node.readOnly && !readOnly && !options.autoReadOnly) {
          await node.close();
          throw new VmError("block/read-only", "request on write denied: the export is read-only");
        }
        return { inner: node, children: [] };
      }
      case "raw": {
        const file = await this.child(options, "file", inherit, readOnly);
        try {
          const raw = new RawNode(file, {
            readOnly,
            offsetBytes: own.get("offset") as number | undefined,
            sizeBytes: own.get("size") as number | undefined,
          });
          return { inner: raw, children: [[file, "as 'file' of"]] };
        } catch (e) {
          await file.close();
          throw e;
        }
      }
      default: {
        const file = await this.child(options, "file", inherit, readOnly);
        let image: Qcow2Image | undefined;
        try {
          image = await Qcow2Image.open(file, {
            readOnly,
            codecs: this.host.codecs,
            lazyRefcounts: own.get("lazy-refcounts") as boolean | undefined,
            discard:
              own.get("pass-discard-request") === undefined ? inherit.discard : (own.get("pass-discard-request") as boolean),
          });
          const backing = options.children.has("backing")
            ? options.children.get("backing") === null
              ? undefined
              : await this.child(options, "backing", { ...inherit, readOnly: true }, true)
            : await this.openBacking(image, file.filename, { ...inherit, readOnly: true });
          image.backing = backing;
          return {
            inner: image,
            children: [[file, "as 'file' of"], ...(backing ? [[backing, "as 'backing' of"] as const] : [])],
          };
        } catch (e) {
          if (image) await abandon(image);
          await file.close();
          throw e;
        }
      }
    }
  }

  private async openHostFile(
    filename: string,
    readOnly: boolean,
    options: NodeOptions,
    o: Opening,
    said: string,
  ): Promise<FileNode> {
    const lock = !o.forceShare && options.own.get("locking") !== "off";
    try {
      const file = await this.host.files.open(filename, { readOnly, lock });
      const identity = file.identity ?? filename;
      if (o.chain.includes(identity)) {
        await file.close();
        throw new VmError("block/bad-format", "the backing files form a loop");
      }
      return new FileNode(file, said, options.driver as "file" | "host_device", o.noFlush);
    } catch (e) {
      if (!(e instanceof VmError)) throw e;
      if (e.code === "block/read-only" && options.autoReadOnly && !readOnly)
        return this.openHostFile(filename, true, options, o, said);
      const hint = e.code === "block/locked" ? `; is another process using the image [${filename}]?` : "";
      throw new VmError(e.code, `Could not open '${said}': ${e.message}${hint}`, { cause: e });
    }
  }

  /** A writer comes to a node that is read-only until then (`auto-read-only`). @throws VmError */
  async makeWritable(node: GraphNode): Promise<void> {
    const { options } = node;
    if (!node.readOnly) return;
    if (!(node.inner instanceof FileNode) || !options.autoReadOnly || options.readOnly === true)
      invalid(`Block node '${node.nodeName}' is read-only`);
    await node.alone(async () => {
      const filename = String(options.own.get("filename"));
      const o = { ...ROOT, noFlush: options.noFlush ?? false, forceShare: options.forceShare };
      const { inner } = node;
      await inner.close();
      try {
        node.inner = await this.openHostFile(filename, false, { ...options, autoReadOnly: false }, o, inner.filename);
      } catch (e) {
        node.inner = await this.openHostFile(filename, true, options, o, inner.filename);
        throw e;
      }
    });
  }

  /** A child: a node by name, or a new one. */
  private async child(options: NodeOptions, role: string, o: Opening, readOnly: boolean): Promise<GraphNode> {
    const child = options.children.get(role);
    if (child === undefined || child === null) throw new VmError("option/missing", `Parameter '${role}' is missing`);
    if (typeof child !== "string") return this.open(child, { ...o, readOnly }, false);
    const node = this.nodes.get(child);
    if (!node) throw new VmError("block/not-found", `Cannot find device='' nor node-name='${child}'`);
    if (role === "file" && !readOnly) {
      const writer = [...node.users.keys()][0];
      if (writer !== undefined) invalid(`Node '${child}' is busy: node is used ${writer}`);
      await this.makeWritable(node);
    }
    return node;
  }

  private register(
    inner: BlockNode,
    options: NodeOptions,
    explicit: boolean,
    children: readonly (readonly [GraphNode, string])[],
  ): GraphNode {
    const nodeName = options.nodeName ?? `#block${this.counter++}`;
    const node = new GraphNode(nodeName, inner, options, explicit, (n) => this.unused(n));
    this.nodes.set(nodeName, node);
    this.link(nodeName, children);
    return node;
  }

  private link(nodeName: string, children: Built["children"]): void {
    for (const [child, how] of children) child.users.set(`${how} '${nodeName}'`, undefined);
  }

  /** The node is no parent any more. */
  private unlink(nodeName: string): void {
    for (const n of this.nodes.values())
      for (const how of ["as 'file' of", "as 'backing' of"]) n.users.delete(`${how} '${nodeName}'`);
  }

  /** Closes a node that nobody names and nobody uses; its children lose a user. */
  private async unused(node: GraphNode): Promise<void> {
    if (node.explicit || node.closed || node.users.size > 0) return;
    node.closed = true;
    this.nodes.delete(node.nodeName);
    this.unlink(node.nodeName);
    await node.inner.close();
  }

  /** Closes everything, whoever uses it. @throws the first error */
  async close(): Promise<void> {
    let first: unknown;
    // Parents came after their children.
    for (const node of [...this.nodes.values()].reverse()) {
      if (node.closed) continue;
      node.closed = true;
      try {
        await node.inner.close();
      } catch (e) {
        first ??= e;
      }
    }
    this.nodes.clear();
    if (first) throw first;
  }
}
