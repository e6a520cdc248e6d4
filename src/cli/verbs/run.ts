/**
 * `tandem run`: the embedded guest. On a terminal it is `tandem-system-x86_64 -nographic` with the guest's images; with
 * input from a pipe or file each line is typed when the guest's shell shows its prompt, and at the end of the input the
 * guest is powered off.
 */
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chooseAccelerator } from "../../accel/choose.js";
import { VmError } from "../../base/errors.js";
import { packageRoot } from "../../host/node/built-in.js";
import { nodeHost } from "../../host/node/index.js";
import { createMachine, type Machine } from "../../index.js";
import { PromptWatch } from "./prompt.js";
import { onTermination } from "./signals.js";
import { system } from "./system.js";

const END_LINE = "poweroff";
/** The embedded guests by `--arch`. */
const GUESTS = {
  x86_64: {
    folder: "x86_64",
    kernel: "bzImage",
    /** No kernel messages, no checks that a virtual machine does not need; the time stamp counter's rate, which is 1 GHz. */
    append: "console=ttyS0 quiet tsc=reliable tsc_early_khz=1000000 no_timer_check",
    /** On KVM the rate is the host's. */
    appendKvm: "console=ttyS0 quiet tsc=reliable no_timer_check",
    // With deadlines in TSC ticks the APIC timer's rate need not be measured either.
    options: ["-cpu", "qemu64,+tsc-deadline"],
  },
  ppc64: { folder: "ppc64le", kernel: "vmlinux.zst", append: "console=hvc0 quiet", appendKvm: "console=hvc0 quiet", options: [] },
} as const;
type EmbeddedArch = keyof typeof GUESTS;

/** The embedded guest as options; what the user adds comes later and wins. */
export function guestOptions(root: string, accelerator: "tcg" | "kvm" = "tcg", arch: EmbeddedArch = "x86_64"): string[] {
  const { folder, kernel, append, appendKvm, options } = GUESTS[arch];
  const image = (name: string) => join(root, "guests", folder, name);
  return [
    ...options,
    "-m",
    "256",
    "-kernel",
    image(kernel),
    "-initrd",
    image("initrd.lz4"),
    "-append",
    accelerator === "kvm" ? appendKvm : append,
  ];
}

/** Takes `--arch ARCH` off the front. @throws VmError "option/invalid" */
function takeArch(args: readonly string[]): { arch: EmbeddedArch; rest: readonly string[] } {
  const [first = "", second] = args;
  const joined = /^--?arch=(.*)$/.exec(first);
  if (!joined && first !== "--arch" && first !== "-arch") return { arch: "x86_64", rest: args };
  const arch = joined ? joined[1]! : (second ?? "");
  if (!Object.hasOwn(GUESTS, arch))
    throw new VmError("option/invalid", `--arch ${arch}: there is no embedded guest for it; ${Object.keys(GUESTS).join(" or ")}`);
  const rest = args.slice(joined ? 1 : 2);
  return { arch: arch as EmbeddedArch, rest: rest[0] === "--" ? rest.slice(1) : rest };
}

/** @returns the exit status @throws VmError */
export async function run(extra: readonly string[]): Promise<number> {
  const { arch, rest } = takeArch(extra);
  const accelerator = arch === "x86_64" ? await acceleratorFor(rest) : "tcg";
  const options = [...guestOptions(packageRoot(), accelerator, arch), ...(asksFor(rest) ? [] : ["-accel", accelerator]), ...rest];
  if (process.stdin.isTTY) return system("tandem", ["-nographic", ...options], arch);
  const machine = await createMachine({ arch, args: ["-nodefaults", "-vga", "none", ...options], ...STREAM_SERIAL });
  const stop = onTermination(() => machine.quit());
  try {
    const output = show(machine);
    machine.run();
    // Lines go in at their own pace; the machine's end is what counts.
    void type(machine, output.watch);
    const { status } = await machine.ended;
    await output.done;
    return status;
  } finally {
    stop();
  }
}

/** Whether the user has named an accelerator. */
const asksFor = (extra: readonly string[]) =>
  extra.some((o, i) => /^-?-(accel|enable-kvm)$/.test(o) || (/^-?-(machine|M)$/.test(extra[i - 1] ?? "") && /accel=/.test(o)));

/** The accelerator that the guest will run on: the user's first, else `auto`'s. */
async function acceleratorFor(extra: readonly string[]): Promise<"tcg" | "kvm"> {
  if (asksFor(extra))
    return /(^| )(-?-accel (accel=)?kvm|-?-enable-kvm|-?-(machine|M) \S*accel=kvm)/.test(extra.join(" ")) ? "kvm" : "tcg";
  const { name, kvm } = await chooseAccelerator([{ name: "auto" }], "x86_64", nodeHost());
  kvm?.device.close();
  return name;
}

const STREAM_SERIAL = {
  chardevs: [{ id: "serial0", mux: false, origin: "tandem run", backend: "stream" }],
  serials: [{ chardev: "serial0" }],
} as const;

/** Copies the guest's output to stdout and watches it for the prompt. */
function show(machine: Machine): { watch: PromptWatch; done: Promise<void> } {
  const watch = new PromptWatch();
  const reader = machine.serial().readable.getReader();
  process.stdout.on("error", () => machine.quit());
  const done = (async () => {
    for (;;) {
      const { done: end, value } = await reader.read();
      if (end) return;
      process.stdout.write(value!);
      watch.output(value!);
    }
  })();
  return { watch, done };
}

async function type(machine: Machine, watch: PromptWatch): Promise<void> {
  const writer = machine.serial().writable.getWriter();
  const send = async (line: string) => {
    await watch.prompt();
    await writer.write(`${line}\n`);
  };
  for await (const line of createInterface({ input: process.stdin })) await send(line);
  await send(END_LINE);
}
