/** Waits for a shell's prompt in a guest's output. */

/** The embedded guest's prompt at the end of the output: a path, a space, `#`, a space. */
const PROMPT = /(?:^|\n)[^\n]*[~/]\S* # $/;
/** What terminals are told and asked: colours, cursor position (BusyBox asks after each prompt). */
const ESCAPE = String.fromCharCode(27);
const SEQUENCES = new RegExp(`${ESCAPE}\\[[0-9;?]*[A-Za-z]`, "g");
const KEEP = 4096;

export class PromptWatch {
  private readonly decoder = new TextDecoder();
  private tail = "";
  private waiter: (() => void) | undefined;

  /** More of the guest's output. */
  output(data: Uint8Array): void {
    this.tail = (this.tail + this.decoder.decode(data, { stream: true })).slice(-KEEP);
    this.check();
  }

  /** Resolves when the output ends with a prompt that has not been answered. One caller at a time. */
  prompt(): Promise<void> {
    return new Promise((resolve) => {
      this.waiter = resolve;
      this.check();
    });
  }

  private check(): void {
    if (!this.waiter || !PROMPT.test(this.tail.replace(SEQUENCES, "").replaceAll("\r", ""))) return;
    const resolve = this.waiter;
    this.waiter = undefined;
    // The echo of what is typed now must not look like the next prompt: that one starts a line.
    this.tail = "x";
    resolve();
  }
}
