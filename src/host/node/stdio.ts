/**
 * The terminal, or whatever stdin and stdout are. A terminal is made raw, so that Ctrl-C and the like reach the guest,
 * and is put back when the process ends in any way.
 */
import { NodeChardev } from "./stream-chardev.js";

const CTRL_C = 0x03;
const CTRL_Z = 0x1a;
const CTRL_BACKSLASH = 0x1c;

let taken = false;

/** `signal`: Ctrl-C, Ctrl-Z and Ctrl-\ are signals to the emulator, as on a terminal that is not raw. */
export class StdioChardev extends NodeChardev {
  private readonly restore: () => void;

  constructor(id: string, signal: boolean) {
    super(id);
    if (taken) throw new Error("cannot use stdio by multiple character devices");
    taken = true;
    const { stdin, stdout } = process;
    this.restore = () => {
      if (stdin.isTTY) stdin.setRawMode(false);
    };
    if (stdin.isTTY) {
      stdin.setRawMode(true);
      process.on("exit", this.restore);
      // After a stop (Ctrl-Z) the shell has reset the terminal.
      process.on("SIGCONT", this.rawAgain);
      if (signal) this.filter = (data) => this.signals(data);
    }
    // A reader that is gone ends nothing: the guest goes on, its output is dropped.
    stdout.on("error", this.ignore);
    stdin.on("error", this.ignore);
    this.connect(stdin, stdout);
  }

  private readonly ignore = (): void => {};

  private readonly rawAgain = (): void => {
    if (process.stdin.isTTY) process.stdin.setRawMode(true);
  };

  private signals(data: Uint8Array): Uint8Array {
    const kept: number[] = [];
    for (const b of data) {
      if (b === CTRL_C) process.kill(process.pid, "SIGINT");
      else if (b === CTRL_BACKSLASH) process.kill(process.pid, "SIGQUIT");
      else if (b === CTRL_Z) {
        this.restore();
        process.kill(process.pid, "SIGTSTP");
      } else kept.push(b);
    }
    return Uint8Array.from(kept);
  }

  override close(): void {
    super.close();
    this.restore();
    process.off("exit", this.restore);
    process.off("SIGCONT", this.rawAgain);
    process.stdin.pause();
    taken = false;
  }
}
