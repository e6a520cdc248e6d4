/** The human monitor on a character device: greeting, prompt, line editing, one command at a time. */
import { QEMU_VERSION } from "../../base/version.js";
import type { Chardev, ChardevFrontend } from "../../host/chardev.js";
import type { MonitorTarget } from "../target.js";
import { LineEditor } from "./line-editor.js";
import { HmpSession, LINE_LIMIT } from "./session.js";

const PROMPT = "(qemu) ";
/** Typed ahead while a command runs. */
const TYPE_AHEAD = 4096;

export class HmpConsole implements ChardevFrontend {
  private readonly session: HmpSession;
  private readonly editor: LineEditor;
  private readonly encoder = new TextEncoder();
  private greeted = false;
  private busy = false;
  private ahead: number[] = [];

  constructor(
    target: MonitorTarget,
    private readonly chardev: Chardev,
  ) {
    this.session = new HmpSession(target);
    this.editor = new LineEditor(
      {
        write: (text) => this.write(text),
        line: (text) => void this.run(text),
        complete: (text) => this.session.complete(text),
      },
      PROMPT,
      LINE_LIMIT,
    );
    chardev.attach(this);
  }

  canReceive(): number {
    return this.busy ? TYPE_AHEAD - this.ahead.length : TYPE_AHEAD;
  }

  receive(data: Uint8Array): void {
    for (const b of data) {
      if (this.busy) this.ahead.push(b);
      else this.editor.byte(b);
    }
  }

  event(event: "opened" | "closed" | "break"): void {
    if (event !== "opened") return;
    if (this.greeted) this.write("\r\n");
    else this.write(`QEMU ${QEMU_VERSION} monitor - type 'help' for more information\r\n`);
    this.greeted = true;
    this.editor.show();
  }

  private async run(line: string): Promise<void> {
    this.busy = true;
    await this.session.execute(line, (text) => this.write(text.replaceAll("\n", "\r\n")));
    this.busy = false;
    this.editor.show();
    // A line among what was typed ahead makes us busy again; the rest waits for it.
    while (!this.busy && this.ahead.length > 0) this.editor.byte(this.ahead.shift()!);
    this.chardev.resume();
  }

  private write(text: string): void {
    this.chardev.write(this.encoder.encode(text));
  }
}
