/** The command line of `tandem-img`: short options that may be joined, long ones with `=`, operands between them, as getopt_long reads it. */
import { VmError } from "../../base/errors.js";

export interface OptionTable {
  /** Letters; with a colon behind those that take an argument: "qf:". */
  readonly short: string;
  /** Long names; with "=" at the end of those that take an argument; the letter they stand for where there is one. */
  readonly long?: { readonly [name: string]: string };
}

export interface Arguments {
  /** The last argument of an option by its letter or long name; "" for one that takes none. */
  get(name: string): string | undefined;
  has(name: string): boolean;
  /** All arguments of an option that may be repeated. */
  all(name: string): readonly string[];
  readonly operands: readonly string[];
}

/** @throws VmError "option/unknown" | "option/missing" */
export function parseArguments(args: readonly string[], table: OptionTable): Arguments {
  const values = new Map<string, string[]>();
  const operands: string[] = [];
  const add = (name: string, value: string) => values.set(name, [...(values.get(name) ?? []), value]);
  const long = new Map<string, { name: string; takes: boolean }>();
  for (const [name, letter] of Object.entries(table.long ?? {})) {
    const takes = name.endsWith("=");
    const bare = takes ? name.slice(0, -1) : name;
    long.set(bare, { name: letter || bare, takes });
  }
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "--") {
      operands.push(...args.slice(i + 1));
      break;
    }
    if (arg.startsWith("--")) {
      const equals = arg.indexOf("=");
      const name = equals < 0 ? arg.slice(2) : arg.slice(2, equals);
      const option = long.get(name);
      if (!option) throw new VmError("option/unknown", `unrecognized option '--${name}'`);
      if (!option.takes) {
        if (equals >= 0) throw new VmError("option/invalid", `option '--${name}' doesn't allow an argument`);
        add(option.name, "");
      } else if (equals >= 0) add(option.name, arg.slice(equals + 1));
      else if (i + 1 < args.length) add(option.name, args[++i]!);
      else throw new VmError("option/missing", `option '--${name}' requires an argument`);
      continue;
    }
    if (!arg.startsWith("-") || arg === "-") {
      operands.push(arg);
      continue;
    }
    for (let k = 1; k < arg.length; k++) {
      const letter = arg[k]!;
      const at = letter === ":" ? -1 : table.short.indexOf(letter);
      if (at < 0) throw new VmError("option/unknown", `unrecognized option '-${letter}'`);
      if (table.short[at + 1] !== ":") {
        add(letter, "");
        continue;
      }
      if (k + 1 < arg.length) add(letter, arg.slice(k + 1));
      else if (i + 1 < args.length) add(letter, args[++i]!);
      else throw new VmError("option/missing", `option requires an argument -- '${letter}'`);
      break;
    }
  }
  return {
    get: (name) => values.get(name)?.at(-1),
    has: (name) => values.has(name),
    all: (name) => values.get(name) ?? [],
    operands,
  };
}
