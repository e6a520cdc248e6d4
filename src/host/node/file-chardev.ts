/** `file` and `pipe` character backends. */
import { constants, createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { Socket } from "node:net";
import { VmError } from "../../base/errors.js";
import { reasonOf } from "./files.js";
import { NodeChardev } from "./stream-chardev.js";

const ignore = () => {};

/** Output to a file, input from another. */
export class FileChardev extends NodeChardev {
  private finish: () => void = ignore;

  /** @throws VmError "chardev/io" */
  static async open(id: string, path: string, append: boolean, inputPath: string | undefined): Promise<FileChardev> {
    const chardev = new FileChardev(id);
    try {
      const handle = await open(path, append ? "a" : "w");
      const sink = handle.createWriteStream();
      sink.on("error", ignore);
      let source: ReturnType<typeof createReadStream> | undefined;
      if (inputPath !== undefined) {
        await (await open(inputPath, "r")).close();
        source = createReadStream(inputPath);
        source.on("error", ignore);
      }
      chardev.connect(source, sink);
      chardev.finish = () => {
        source?.destroy();
        sink.end();
      };
    } catch (cause) {
      throw new VmError("chardev/io", `Could not open '${path}': ${reasonOf(cause)}`, { cause });
    }
    return chardev;
  }

  override close(): void {
    this.flushOutput();
    this.finish();
    super.close();
  }
}

/** FIFOs `path.in` and `path.out`, or one at `path`. */
export class PipeChardev extends NodeChardev {
  private sockets: Socket[] = [];

  /** @throws VmError "chardev/io" */
  static async open(id: string, path: string): Promise<PipeChardev> {
    const chardev = new PipeChardev(id);
    // Both ends of each, so that neither opening nor a peer that goes away ends the stream.
    const fifo = async (p: string) => {
      const handle = await open(p, constants.O_RDWR | constants.O_NONBLOCK);
      if (!(await handle.stat()).isFIFO()) {
        await handle.close();
        throw new VmError("chardev/io", `'${p}' is not a FIFO`);
      }
      return handle;
    };
    const socket = (fd: number, readable: boolean) => {
      const s = new Socket({ fd, readable, writable: true });
      s.on("error", ignore);
      chardev.sockets.push(s);
      return s;
    };
    try {
      const input = await fifo(`${path}.in`).catch(() => undefined);
      const output = input && (await fifo(`${path}.out`));
      if (input && output) chardev.connect(socket(input.fd, true), socket(output.fd, false));
      else {
        const both = await fifo(path);
        const s = socket(both.fd, true);
        chardev.connect(s, s);
      }
    } catch (cause) {
      if (cause instanceof VmError) throw cause;
      throw new VmError("chardev/io", `Could not open '${path}': ${reasonOf(cause)}`, { cause });
    }
    return chardev;
  }

  override close(): void {
    super.close();
    for (const s of this.sockets) s.destroy();
  }
}
