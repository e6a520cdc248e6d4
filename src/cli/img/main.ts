/** `tandem-img`: finds the command, reads its options, and turns what goes wrong into one line and a status. */
import { VmError } from "../../base/errors.js";
import type { Host } from "../../host/host.js";
import { parseArguments } from "./arguments.js";
import { COMMANDS, OTHER_COMMANDS } from "./commands.js";
import { Exit, ImgContext } from "./context.js";

const HINT = (program: string) => `Try '${program} --help' for more information\n`;

function help(program: string, version: string): string {
  const rows = Object.entries(COMMANDS).map(([name, c]) => `  ${name} ${c.usage}\n`);
  return `${program} version ${version}
usage: ${program} [standard options] command [command options]
Tandem disk image utility

    '-h', '--help'       display this help and exit
    '-V', '--version'    output version information and exit

Command syntax:
${rows.join("")}
Supported formats: raw qcow2; file nbd http https null-co
`;
}

/** @returns the exit status */
export async function img(
  program: string,
  args: readonly string[],
  host: Host,
  version: string,
  out: (text: string) => void,
  err: (text: string) => void,
): Promise<number> {
  const [first, ...rest] = args;
  if (first === undefined) {
    err(`${program}: Not enough arguments\n${HINT(program)}`);
    return 1;
  }
  if (first === "--help" || first === "-h") {
    out(help(program, version));
    return 0;
  }
  if (first === "--version" || first === "-V") {
    out(`${program} version ${version}\n`);
    return 0;
  }
  const c = new ImgContext(host, program, out, err);
  const command = Object.hasOwn(COMMANDS, first) ? COMMANDS[first] : undefined;
  if (!command) {
    c.error(OTHER_COMMANDS.includes(first) ? `Command not supported: ${first}` : `Command not found: ${first}`);
    err(HINT(program));
    return 1;
  }
  if (rest.includes("--help") || rest.includes("-h")) {
    out(`usage: ${program} ${first} ${command.usage}\n`);
    return 0;
  }
  let status: number;
  try {
    // `resize image -1G`: the last word is a size, not an option.
    const last = first === "resize" && /^-\d/.test(rest.at(-1) ?? "") ? ["--", ...rest.slice(-1)] : rest.slice(-1);
    status = await command.run(c, parseArguments([...rest.slice(0, -1), ...last], command.options));
  } catch (e) {
    if (e instanceof Exit) status = e.status;
    else if (e instanceof VmError) {
      c.error(e.message);
      if (e.code === "option/unknown" || e.code === "option/missing") err(HINT(program));
      status = 1;
    } else throw e;
  }
  try {
    await c.graph.close();
  } catch (e) {
    c.error(e instanceof Error ? e.message : String(e));
    if (status === 0) status = 1;
  }
  return status;
}
