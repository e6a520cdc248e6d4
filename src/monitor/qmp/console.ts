/**
 * The monitor protocol on a character device. Lines end with CR LF. Events go out as they happen, so before the reply to
 * the command that led to them. A client that sends faster than it is answered, or does not read, is read no further.
 */
import type { Chardev, ChardevFrontend } from "../../host/chardev.js";
import type { MonitorTarget } from "../target.js";
import { type JsonMessage, JsonStream, writeJson } from "./json.js";
import { type Message, QmpSession } from "./session.js";

/** Requests that wait for the one under way, as in QEMU. */
const QUEUE_LIMIT = 8;
/** Bytes taken at a time. */
const CHUNK = 4096;
/** Replies that a client may leave unread before it is read no further. */
const UNREAD_LIMIT = 256 * 1024;
/** Named descriptors a client may hold. */
const FD_LIMIT = 64;

export class QmpConsole implements ChardevFrontend {
  /** The client's; a command that ends after its client has gone answers nobody. */
  private session: QmpSession | undefined;
  private readonly stream = new JsonStream();
  private readonly encoder = new TextEncoder();
  private queue: JsonMessage[] = [];
  private busy = false;
  private readonly fds = new Map<string, number>();
  private received: number[] = [];

  constructor(
    private readonly target: MonitorTarget,
    private readonly chardev: Chardev,
    private readonly pretty = false,
  ) {
    target.occurred.on((e) => this.session?.event(e));
    chardev.attach(this);
  }

  canReceive(): number {
    if (this.queue.length >= QUEUE_LIMIT || (this.chardev.unread?.() ?? 0) > UNREAD_LIMIT) return 0;
    return CHUNK;
  }

  receive(data: Uint8Array): void {
    this.queue.push(...this.stream.push(data));
    if (!this.busy) void this.work();
  }

  receiveFds(fds: readonly number[]): void {
    for (const fd of fds) {
      if (this.received.length + this.fds.size >= FD_LIMIT) this.target.closeFd(fd);
      else this.received.push(fd);
    }
  }

  event(event: "opened" | "closed" | "break"): void {
    if (event === "break") return;
    this.queue = [];
    this.stream.reset();
    for (const fd of [...this.received, ...this.fds.values()]) this.target.closeFd(fd);
    this.received = [];
    this.fds.clear();
    this.session = undefined;
    if (event === "closed") return;
    const session = new QmpSession(this.target, { fds: this.fds, takeFd: () => this.received.shift() }, (message) => {
      if (this.session === session) this.write(message);
    });
    this.session = session;
    session.open();
  }

  private async work(): Promise<void> {
    this.busy = true;
    for (let m = this.queue.shift(); m; m = this.queue.shift()) {
      if ("error" in m) this.session?.malformed(m.error);
      else await this.session?.execute(m.value);
      this.chardev.resume();
    }
    this.busy = false;
    this.chardev.resume();
  }

  private write(message: Message): void {
    this.chardev.write(this.encoder.encode(`${writeJson(message, this.pretty)}\r\n`));
  }
}
