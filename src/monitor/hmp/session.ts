/** Runs command lines of the human monitor: finds the row, gives it its arguments, reports errors. */
import { VmError } from "../../base/errors.js";
import type { MonitorTarget } from "../target.js";
import { Args, type Command, type CommandContext, type SessionState } from "./command.js";
import { CONTROL_COMMANDS } from "./control.js";
import { INFO_COMMANDS as BASIC_INFO } from "./info.js";
import { MEMORY_COMMANDS } from "./memory.js";
import { NETWORK_COMMANDS, NETWORK_INFO } from "./network.js";
import { VNC_COMMANDS, VNC_INFO } from "./vnc.js";

/** A line longer than this is refused. */
export const LINE_LIMIT = 4096;

const byName = (a: Command, b: Command) => (a.names[0]! < b.names[0]! ? -1 : 1);

function usage(command: Command, prefix = ""): string {
  const args = command.args === "" ? "" : command.args.startsWith("/") ? command.args : ` ${command.args}`;
  return `${prefix}${command.names.join("|")}${args} -- ${command.help}\n`;
}

function find(table: readonly Command[], name: string): Command | undefined {
  return table.find((c) => c.names.includes(name));
}

/** Topics of `info`. */
export const INFO_COMMANDS: readonly Command[] = [...BASIC_INFO, ...NETWORK_INFO, ...VNC_INFO].sort(byName);

const HELP: Command = {
  names: ["help", "?"],
  args: "[cmd]",
  help: "show the help",
  complete: () => COMMANDS.map((c) => c.names[0]!),
  run: ({ print }, args) => {
    const name = args.optionalWord();
    const sub = args.optionalWord();
    args.end();
    if (name === undefined) {
      for (const c of COMMANDS) print(usage(c));
      return;
    }
    if (name === "info") {
      for (const c of INFO_COMMANDS) if (sub === undefined || c.names.includes(sub)) print(usage(c, "info "));
      return;
    }
    const found = find(COMMANDS, name);
    print(found ? usage(found) : `unknown command: '${name}'\n`);
  },
};

const INFO: Command = {
  names: ["info"],
  args: "[subcommand]",
  help: "show various information about the system state",
  complete: () => INFO_COMMANDS.map((c) => c.names[0]!),
  run: async (context, args) => {
    const name = args.optionalWord();
    if (name === undefined) {
      for (const c of INFO_COMMANDS) context.print(usage(c, "info "));
      return;
    }
    const found = find(INFO_COMMANDS, name);
    if (!found) throw new VmError("monitor/bad-command", `unknown command: 'info ${name}'`);
    await found.run(context, new Args(`info ${name}`, args.rest(), context));
  },
};

/** The command table, in the order of `help`. */
export const COMMANDS: readonly Command[] = [
  HELP,
  INFO,
  ...CONTROL_COMMANDS,
  ...MEMORY_COMMANDS,
  ...NETWORK_COMMANDS,
  ...VNC_COMMANDS,
].sort(byName);

/** One user's conversation with a machine. */
export class HmpSession {
  private readonly state: SessionState = { cpu: 0, format: "x", size: 4 };

  constructor(private readonly target: MonitorTarget) {}

  /** Runs a line; output lines end with "\n". Never throws: errors are output. */
  async execute(line: string, print: (text: string) => void): Promise<void> {
    const text = line.trim();
    if (text === "" || text.startsWith("#")) return;
    if (text.length > LINE_LIMIT) {
      print(`Error: line longer than ${LINE_LIMIT} characters\n`);
      return;
    }
    const name = /^[^\s/]+/.exec(text)?.[0] ?? text;
    const command = find(COMMANDS, name);
    const rest = text.slice(name.length);
    if (!command || (rest.startsWith("/") && !command.format)) {
      print(`unknown command: '${command ? text.split(/\s/)[0] : name}'\n`);
      return;
    }
    const context: CommandContext = { target: this.target, session: this.state, print };
    try {
      await command.run(context, new Args(command.names[0]!, rest, context));
    } catch (e) {
      const message = e instanceof Error ? e.message : String(e);
      // A mistake in the line speaks for itself; a failure of the machine is marked as one.
      const prefix = e instanceof VmError && /^(unknown command|[a-z_ ]+: .*\nTry )/s.test(message) ? "" : "Error: ";
      print(`${prefix}${message}\n`);
    }
  }

  /** What the last word of a line may become. */
  complete(line: string): readonly string[] {
    const words = line.split(/\s+/);
    const last = words.at(-1) ?? "";
    const candidates = () => {
      if (words.length <= 1) return COMMANDS.flatMap((c) => c.names);
      if (words[0] === "info" && words.length > 2) return find(INFO_COMMANDS, words[1]!)?.complete?.(this.target) ?? [];
      if (words[0] === "help" && words[1] === "info" && words.length > 2) return INFO_COMMANDS.map((c) => c.names[0]!);
      return find(COMMANDS, words[0]!)?.complete?.(this.target) ?? [];
    };
    return [...candidates()].filter((c) => c.startsWith(last)).sort();
  }
}
