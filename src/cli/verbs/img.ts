/** `tandem-img` as a program: Node's host, standard output and error, the exit status. */
import { QEMU_VERSION, TANDEM_VERSION } from "../../base/version.js";
import { nodeHost } from "../../host/node/index.js";
import { img } from "../img/main.js";

/** Runs the program to its end. */
export async function imgMain(program: string, args: readonly string[]): Promise<void> {
  process.stdout.on("error", () => process.exit(1));
  const status = await img(
    program,
    args,
    nodeHost(program),
    `${QEMU_VERSION} (Tandem ${TANDEM_VERSION})`,
    (text) => void process.stdout.write(text),
    (text) => void process.stderr.write(text),
  );
  // What is still on its way to a pipe goes out first.
  await Promise.all([process.stdout, process.stderr].map((s) => new Promise<void>((resolve) => s.write("", () => resolve()))));
  process.exit(status);
}
