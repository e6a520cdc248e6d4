/** The programs: chooses the personality by name, runs it, and gives the exit status. */
import { VmError } from "../base/errors.js";
import { bench } from "./verbs/bench.js";
import { doctor } from "./verbs/doctor.js";
import { run } from "./verbs/run.js";
import { system } from "./verbs/system.js";
import { tandem } from "./verbs/tandem.js";

export type ProgramName = "tandem" | "tandem-system-x86_64" | "tandem-system-i386" | "tandem-system-ppc64";

const ARCHS = { "tandem-system-x86_64": "x86_64", "tandem-system-i386": "i386", "tandem-system-ppc64": "ppc64" } as const;

/**
 * Runs a program to its end. The process ends with its exit status: 0, 1 for whatever the user got wrong (one line on
 * stderr says what), or the guest's own through isa-debug-exit.
 */
export async function main(program: ProgramName, args: readonly string[]): Promise<void> {
  let status: number;
  // A reader that has seen enough (`| head`) closes its pipe: no failure of ours.
  for (const stream of [process.stdout, process.stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
  try {
    status = program === "tandem" ? await tandem(args, { run, doctor, bench }) : await system(program, args, ARCHS[program]);
  } catch (e) {
    if (!(e instanceof VmError)) throw e;
    process.stderr.write(`${program}: ${e.message}\n`);
    status = 1;
  }
  // What is still on its way to a pipe goes out first.
  await Promise.all([process.stdout, process.stderr].map((s) => new Promise<void>((resolve) => s.write("", () => resolve()))));
  process.exit(status);
}
