/**
 * `pty` character backend: a pseudo terminal whose other side a user opens (`screen /dev/pts/3`, `virsh console`). While
 * nobody has it open the guest's output goes nowhere. Source: pts(4), termios(3) cfmakeraw.
 */
import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import { Readable, Writable } from "node:stream";
import { VmError } from "../../base/errors.js";
import { type Descriptors, descriptors } from "./descriptors.js";
import { reasonOf } from "./files.js";
import { NodeChardev } from "./stream-chardev.js";
import { nodeSyscalls } from "./syscalls.js";

const TIOCSPTLCK = 0x40045431;
const TIOCGPTN = 0x80045430;
const TCGETS = 0x5401;
const TCSETS = 0x5402;
const CS8 = 0x30;
/** How often it is looked whether somebody has come. */
const LOOK_MS = 200;
/** How long a full terminal is left alone. */
const AGAIN_MS = 10;
const READ_BYTES = 4096;
const OPEN_FLAGS = constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK;

export class PtyChardev extends NodeChardev {
  private timer: NodeJS.Timeout | undefined;
  private stopWaiting = () => {};
  private ended = false;

  private constructor(
    id: string,
    private readonly fd: number,
    /** `/dev/pts/N` */
    readonly path: string,
    private readonly io: Descriptors,
  ) {
    super(id);
    this.look();
  }

  /** @throws VmError "chardev/io" | "host/no-ffi" */
  static async open(id: string): Promise<PtyChardev> {
    const [calls, io] = await Promise.all([nodeSyscalls(), descriptors()]);
    let fd = -1;
    try {
      fd = openSync("/dev/ptmx", OPEN_FLAGS);
      const number = new Uint32Array(1);
      const bytes = new Uint8Array(number.buffer);
      if (calls.ioctlData(fd, TIOCSPTLCK, bytes) < 0 || calls.ioctlData(fd, TIOCGPTN, bytes) < 0)
        throw new VmError("chardev/io", "Failed to create PTY");
      const path = `/dev/pts/${number[0]}`;
      // Raw: what the guest sends must not come back as an echo. The settings stay when the other side is closed.
      const termios = new Uint32Array(16);
      const settings = new Uint8Array(termios.buffer);
      calls.ioctlData(fd, TCGETS, settings);
      termios[0] = 0;
      termios[1] = 0;
      termios[2] = (termios[2]! & ~0x130) | CS8;
      termios[3] = 0;
      calls.ioctlData(fd, TCSETS, settings);
      // Until it has been open once, a terminal does not say that nobody has it open.
      closeSync(openSync(path, OPEN_FLAGS));
      return new PtyChardev(id, fd, path, io);
    } catch (cause) {
      if (fd >= 0) closeSync(fd);
      if (cause instanceof VmError) throw cause;
      throw new VmError("chardev/io", `Failed to create PTY: ${reasonOf(cause)}`, { cause });
    }
  }

  filename(): string {
    return `pty:${this.path}`;
  }

  /** Waits for somebody. */
  private look(): void {
    this.timer = setTimeout(() => {
      if (this.ended) return;
      if (this.io.hungUp(this.fd)) this.look();
      else this.come();
    }, LOOK_MS);
    this.timer.unref();
  }

  private come(): void {
    const source = new Readable({ read: () => this.wait(source), highWaterMark: READ_BYTES });
    const sink = new Writable({
      write: (chunk: Buffer, _encoding, done) => this.put(chunk, done),
      highWaterMark: READ_BYTES,
    });
    this.connect(source, sink);
  }

  private wait(source: Readable): void {
    this.stopWaiting();
    this.stopWaiting = this.io.once(this.fd, () => {
      if (this.ended) return;
      const buffer = Buffer.alloc(READ_BYTES);
      try {
        source.push(buffer.subarray(0, readSync(this.fd, buffer)));
      } catch (e) {
        if ((e as NodeJS.ErrnoException).code === "EAGAIN") this.wait(source);
        else this.gone(source);
      }
    });
  }

  private put(chunk: Buffer, done: () => void): void {
    if (this.ended) return done();
    try {
      const n = writeSync(this.fd, chunk);
      if (n === chunk.length) return done();
      this.put(chunk.subarray(n), done);
    } catch (e) {
      // Nobody reads at the moment; or nobody is there any more, which the reading side finds.
      if ((e as NodeJS.ErrnoException).code === "EAGAIN" && !this.io.hungUp(this.fd))
        setTimeout(() => this.put(chunk, done), AGAIN_MS).unref();
      else done();
    }
  }

  /** The other side has been closed. */
  private gone(source: Readable): void {
    this.disconnect();
    source.destroy();
    this.look();
  }

  override close(): void {
    if (this.ended) return;
    super.close();
    this.ended = true;
    clearTimeout(this.timer);
    this.stopWaiting();
    closeSync(this.fd);
  }
}
