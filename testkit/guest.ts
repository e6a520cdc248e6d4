/** A machine under test: what its guest shows, typed answers, and waiting for milestones with a readable failure. */

import type { TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { createMachine, type GuestArch, type Host, type Machine, type MachineEnd } from "../src/index.js";

const POLL_MS = 50;
const KEY_MS = 40;
/** Lines of serial output in a failure. */
const TAIL_LINES = 40;
const ESCAPE = String.fromCharCode(27);
/** Cursor movement, colours, character sets. */
const SEQUENCES = new RegExp(`${ESCAPE}(\\[[0-9;?=]*[A-Za-z]|[()][0-9A-Z])`, "g");

const PARTIAL = new RegExp(`${ESCAPE}(\\[[0-9;?=]*|[()])?$`);

/** US keyboard: what is typed for a character that is not its own key's name. */
const KEYS: { readonly [character: string]: string } = {
  " ": "spc",
  "\n": "ret",
  "-": "minus",
  "=": "equal",
  "/": "slash",
  ".": "dot",
  ",": "comma",
  "(": "shift-9",
  ")": "shift-0",
  ":": "shift-semicolon",
  _: "shift-minus",
};

/** The machine, with everything its guest has said on the first serial port. */
export class Guest {
  /** The serial output so far, without terminal sequences and carriage returns. */
  serial = "";
  ended: MachineEnd | undefined;

  private constructor(
    readonly machine: Machine,
    private readonly writer: WritableStreamDefaultWriter<Uint8Array | string>,
  ) {}

  /** Makes and starts a machine from QEMU options; it ends with the test. */
  static async start(t: TestContext, args: readonly string[], arch: GuestArch = "x86_64", host?: Host): Promise<Guest> {
    const machine = await createMachine({ args: ["-display", "none", ...args], arch, ...(host ? { host } : {}) });
    t.after(() => machine[Symbol.asyncDispose]());
    const { readable, writable } = machine.serial();
    const guest = new Guest(machine, writable.getWriter());
    void guest.listen(readable);
    void machine.ended.then((end) => {
      guest.ended = end;
    });
    machine.run();
    return guest;
  }

  private async listen(readable: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    const reader = readable.getReader();
    let held = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      held += decoder.decode(value, { stream: true });
      // A sequence may come in pieces; positions in `serial` must not move when its end comes.
      const whole = held.length - (PARTIAL.exec(held)?.[0].length ?? 0);
      this.serial += held.slice(0, whole).replaceAll("\r", "").replace(SEQUENCES, "");
      held = held.slice(whole);
    }
  }

  /** The text screen, trailing spaces and empty lines left out; "" in a graphics mode. */
  get screen(): string {
    const lines = this.machine.inspect.display()?.text() ?? [];
    return lines
      .map((l) => l.trimEnd())
      .filter((l) => l !== "")
      .join("\n");
  }

  private async until(what: string, limitSec: number, reached: () => boolean): Promise<void> {
    const start = performance.now();
    while (!reached()) {
      const seconds = (performance.now() - start) / 1000;
      if (this.ended && !reached())
        throw new Error(`the machine ended (${JSON.stringify(this.ended)}) before ${what}\n${this.report()}`);
      if (seconds > limitSec) throw new Error(`no ${what} within ${limitSec} s\n${this.report()}`);
      await delay(POLL_MS);
    }
  }

  /** Waits for text on the serial port, from `from` on. @returns where it ends */
  async onSerial(text: string | RegExp, limitSec: number, from = 0): Promise<number> {
    let end = 0;
    await this.until(`${text} on the serial port`, limitSec, () => {
      end = endOf(this.serial, text, from);
      return end > 0;
    });
    return end;
  }

  /** Waits for text on the VGA screen. */
  async onScreen(text: string | RegExp, limitSec: number): Promise<string> {
    await this.until(`${text} on the screen`, limitSec, () => endOf(this.screen, text, 0) > 0);
    return this.screen;
  }

  /** Waits until the machine has ended. */
  async end(limitSec: number): Promise<MachineEnd> {
    await this.until("the end", limitSec, () => this.ended !== undefined);
    return this.ended!;
  }

  /** Types on the serial port. */
  send(text: string): Promise<void> {
    return this.writer.write(text);
  }

  /** Types a line on the serial port and waits for text behind its echo. @returns the output from the line on */
  async ask(line: string, answer: string | RegExp, limitSec: number): Promise<string> {
    const from = this.serial.length;
    await this.send(`${line}\n`);
    const echo = await this.onSerial(line, limitSec, from);
    const end = await this.onSerial(answer, limitSec, echo);
    return this.serial.slice(echo, end);
  }

  /** Presses keys one after another, by QEMU's names ("ret", "ctrl-b"). */
  async press(...keys: string[]): Promise<void> {
    for (const key of keys) {
      this.machine.sendKeys(key.split("-"), KEY_MS);
      await delay(3 * KEY_MS);
    }
  }

  /** Types text on the keyboard, US layout. */
  type(text: string): Promise<void> {
    return this.press(...[...text].map((c) => KEYS[c] ?? c));
  }

  private report(): string {
    const { inspect } = this.machine;
    const serial = this.serial.split("\n").slice(-TAIL_LINES).join("\n");
    const registers = this.ended ? "" : inspect.registers(0).split("\n").slice(0, 12).join("\n");
    return `--- serial port ---\n${serial}\n--- screen ---\n${this.screen}\n--- vCPU 0 ---\n${registers}`;
  }
}

function endOf(haystack: string, text: string | RegExp, from: number): number {
  if (typeof text === "string") {
    const at = haystack.indexOf(text, from);
    return at < 0 ? 0 : at + text.length;
  }
  const m = text.exec(haystack.slice(from));
  return m ? from + m.index + m[0].length : 0;
}
