/** What a monitor command is, and how it reads its arguments. */
import { VmError } from "../../base/errors.js";
import type { MonitorTarget } from "../target.js";
import { evaluate } from "./expression.js";

/** What a session remembers between commands. */
export interface SessionState {
  /** The vCPU that registers and virtual addresses belong to. */
  cpu: number;
  /** The last format and size of x, xp and p. */
  format: string;
  size: number;
}

export interface CommandContext {
  readonly target: MonitorTarget;
  readonly session: SessionState;
  /** Adds to the output; lines end with "\n". */
  print(text: string): void;
}

/** One row of the command table. */
export interface Command {
  /** The first is the full name. */
  readonly names: readonly string[];
  /** The arguments as `help` shows them. */
  readonly args: string;
  readonly help: string;
  /** Takes `/fmt` directly after its name. */
  readonly format?: boolean;
  /** Words that may follow, for completion. */
  readonly complete?: (target: MonitorTarget) => readonly string[];
  readonly run: (context: CommandContext, args: Args) => void | Promise<void>;
}

/** How `x`, `xp`, `p` and `i` show values. */
export interface Format {
  readonly count: number;
  readonly format: string;
  readonly size: number;
}

/** More than this is a mistake. */
const COUNT_LIMIT = 65536;

/** The rest of a command line, read from left to right. */
export class Args {
  private pos = 0;

  constructor(
    readonly command: string,
    private readonly text: string,
    private readonly context: CommandContext,
  ) {}

  fail(what: string): never {
    throw new VmError("monitor/bad-command", `${this.command}: ${what}\nTry "help ${this.command}" for more information`);
  }

  private skip(): void {
    while (this.text[this.pos] === " " || this.text[this.pos] === "\t") this.pos++;
  }

  get atEnd(): boolean {
    this.skip();
    return this.pos >= this.text.length;
  }

  /** Single-letter switches, as in `-f -a`. */
  flags(allowed: string): Set<string> {
    const found = new Set<string>();
    for (;;) {
      this.skip();
      const m = /^-([A-Za-z]+)(?=\s|$)/.exec(this.text.slice(this.pos));
      if (!m) return found;
      for (const c of m[1]!) {
        if (!allowed.includes(c)) this.fail(`unsupported option -${c}`);
        found.add(c);
      }
      this.pos += m[0].length;
    }
  }

  /** A switch with a value: `-f png`. */
  option(letter: string): string | undefined {
    this.skip();
    const m = new RegExp(`^-${letter}\\s+`).exec(this.text.slice(this.pos));
    if (!m) return undefined;
    this.pos += m[0].length;
    return this.word();
  }

  /** The next word, quotes taken off; undefined at the end. */
  optionalWord(): string | undefined {
    this.skip();
    if (this.pos >= this.text.length) return undefined;
    if (this.text[this.pos] !== '"') {
      const w = /^\S+/.exec(this.text.slice(this.pos))![0];
      this.pos += w.length;
      return w;
    }
    let out = "";
    for (this.pos++; this.text[this.pos] !== '"'; this.pos++) {
      let c = this.text[this.pos];
      if (c === undefined) return this.fail("unterminated string");
      if (c === "\\") {
        c = this.text[++this.pos];
        if (c === undefined) return this.fail("unterminated string");
        c = c === "n" ? "\n" : c === "r" ? "\r" : c;
      }
      out += c;
    }
    this.pos++;
    return out;
  }

  word(): string {
    return this.optionalWord() ?? this.fail("string expected");
  }

  /** Everything that is left. */
  rest(): string {
    this.skip();
    const r = this.text.slice(this.pos).trimEnd();
    this.pos = this.text.length;
    return r;
  }

  /** `/4xw`. @throws VmError for characters it does not know */
  format(): Format {
    const { session } = this.context;
    this.skip();
    if (this.text[this.pos] !== "/") return { count: 1, format: session.format, size: session.size };
    const m = /^\/(\d*)([a-zA-Z]*)(?=\s|$)/.exec(this.text.slice(this.pos));
    if (!m) return this.fail("invalid format");
    this.pos += m[0].length;
    let { format, size } = session;
    let sizeGiven = false;
    for (const c of m[2]!) {
      const n = { b: 1, h: 2, w: 4, g: 8, L: 8 }[c];
      if (n !== undefined) {
        size = n;
        sizeGiven = true;
      } else if ("xduoci".includes(c)) format = c;
      else this.fail(`invalid char in format: '${c}'`);
    }
    if (format === "c" && !sizeGiven) size = 1;
    const count = m[1] === "" ? 1 : Number(m[1]);
    if (count < 1 || count > COUNT_LIMIT) this.fail(`count of 1 to ${COUNT_LIMIT} expected`);
    session.format = format;
    if (format !== "i" && format !== "c") session.size = size;
    return { count, format, size };
  }

  /** An expression in 64 bits. */
  number(): bigint {
    const { target, session } = this.context;
    this.skip();
    try {
      const { value, end } = evaluate(this.text, this.pos, (name) => target.inspect.register(session.cpu, name));
      this.pos = end;
      return value;
    } catch (e) {
      return this.fail(e instanceof Error ? e.message : String(e));
    }
  }

  /** An expression that must lie in a range. */
  integer(min: number, max: number, what: string): number {
    const n = this.number();
    if (n < BigInt(min) || n > BigInt(max)) this.fail(`${what}: ${min} to ${max} expected`);
    return Number(n);
  }

  /** @throws VmError if anything is left */
  end(): void {
    if (!this.atEnd) this.fail("extraneous characters at the end of line");
  }
}
