/** `tandem VERB`: what QEMU's command line has no word for. */
import { VmError } from "../../base/errors.js";
import { VERSION_LINE } from "../../base/version.js";

const HELP = `${VERSION_LINE}
usage: tandem VERB [arguments]

  run [--arch x86_64|ppc64] [-- QEMU options]
                          boots the embedded Linux guest to a shell; with input from a pipe, runs its lines there
  doctor [--json]         what accelerates guests on this host, what -accel auto takes and why
  bench accel [--json]    the same work under tcg, under kvm and on the host, side by side
  help                    this text
  version                 versions

Machines of your own: tandem-system-x86_64 -help, tandem-system-i386 -help, tandem-system-ppc64 -help
`;

/** Verbs that are planned and refused until they are there. */
const LATER = ["img", "manage"];

/** @returns the exit status @throws VmError */
export async function tandem(
  args: readonly string[],
  verbs: Readonly<Record<"run" | "doctor" | "bench", (args: readonly string[]) => Promise<number>>>,
): Promise<number> {
  const [verb = "help", ...rest] = args;
  switch (verb) {
    case "run":
      return verbs.run(rest[0] === "--" ? rest.slice(1) : rest);
    case "doctor":
      return verbs.doctor(rest);
    case "bench":
      return verbs.bench(rest);
    case "help":
    case "-h":
    case "-help":
    case "--help":
      process.stdout.write(HELP);
      return 0;
    case "version":
    case "-version":
    case "--version":
      process.stdout.write(`${VERSION_LINE}\n`);
      return 0;
  }
  if (LATER.includes(verb)) throw new VmError("option/unsupported", `${verb}: not in this version`);
  throw new VmError("option/unknown", `${verb}: no such verb; tandem help lists them`);
}
