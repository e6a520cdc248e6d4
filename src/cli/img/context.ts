/** What the commands of `tandem-img` have in common: the host, the graph, output, progress, and how images are opened. */
import { VmError } from "../../base/errors.js";
import { sizeOf } from "../../block/blockdev-options.js";
import { BlockGraph, type OpenOptions } from "../../block/graph.js";
import type { GraphNode } from "../../block/graph-node.js";
import type { Host } from "../../host/host.js";
import type { Arguments } from "./arguments.js";

/** Ends the program with a status; what was to be said has been said. */
export class Exit {
  constructor(readonly status: number) {}
}

export class ImgContext {
  readonly graph: BlockGraph;
  private lastPercent = -1;

  constructor(
    readonly host: Host,
    readonly program: string,
    /** stdout */
    readonly out: (text: string) => void,
    /** stderr */
    readonly err: (text: string) => void,
  ) {
    this.graph = new BlockGraph(host);
  }

  error(what: string): void {
    this.err(`${this.program}: ${what}\n`);
  }

  /** @throws Exit */
  fail(what: string, status = 1): never {
    this.error(what);
    throw new Exit(status);
  }

  /** A line of progress: `-p`. */
  progress(args: Arguments): ((done: number) => void) | undefined {
    if (!args.has("p") || args.has("q")) return undefined;
    this.show(0);
    return (done) => {
      const percent = Math.min(100, done * 100);
      // Two more per cent are worth a line.
      if (percent - this.lastPercent >= 2 || (percent === 100 && this.lastPercent < 100)) this.show(percent);
    };
  }

  private show(percent: number): void {
    this.lastPercent = percent;
    this.out(`    (${percent.toFixed(2)}/100%)\r`);
  }

  endProgress(args: Arguments): void {
    if (!args.has("p") || args.has("q")) return;
    this.show(100);
    this.out("\n");
  }

  /** @throws Exit */
  async open(name: string, options: OpenOptions, status = 1): Promise<GraphNode> {
    try {
      return await this.graph.openFile(name, { warn: (line) => this.error(`warning: ${line}`), ...options });
    } catch (e) {
      if (!(e instanceof VmError)) throw e;
      return this.fail(`Could not open '${name}': ${e.message}`, status);
    }
  }

  /** A size with suffixes. @throws Exit */
  size(text: string): number {
    const n = sizeOf(text);
    if (Number.isSafeInteger(n)) return n;
    this.error("Invalid image size specified. You may use k, M, G, T, P or E suffixes for");
    return this.fail("kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.");
  }

  /** `--output=`. */
  json(args: Arguments): boolean {
    const output = args.get("output") ?? "human";
    if (output !== "human" && output !== "json") this.fail("--output must be used with human or json as argument.");
    return output === "json";
  }

  /** `-t`, `-T`: cache modes are checked; the host's page cache is always used, and what is written is flushed at the end. */
  checkCache(args: Arguments): void {
    for (const letter of ["t", "T"]) {
      const mode = args.get(letter);
      if (mode !== undefined && !["none", "off", "directsync", "writeback", "unsafe", "writethrough"].includes(mode))
        this.fail(`Invalid ${letter === "T" ? "source " : ""}cache option: ${mode}`);
    }
  }

  /** `-o a=b,c=d`, several times. @throws Exit */
  options(args: Arguments): Map<string, string> {
    const map = new Map<string, string>();
    for (const text of args.all("o"))
      for (const item of text.split(/,(?!,)/)) {
        if (item === "") continue;
        const equals = item.indexOf("=");
        if (equals < 0) map.set(item, "on");
        else map.set(item.slice(0, equals), item.slice(equals + 1));
      }
    return map;
  }
}
