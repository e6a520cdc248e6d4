/** Runs the benchmark guest in an emulator and reads its lines. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Arch } from "./initramfs.js";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const BINARIES: Record<Arch, string> = { amd64: "system-x86_64", i386: "system-i386" };

export interface Guest {
  readonly arch: Arch;
  readonly kernel: string;
  readonly initrd: string;
  readonly seconds: number;
  readonly only: string | undefined;
  readonly memoryMib: number;
}

/** A program that boots a guest and shows its serial console. */
export interface Emulator {
  readonly name: string;
  command(guest: Guest): string[];
}

/** What one run printed: units a second by workload, and times since boot by mark. */
export interface Result {
  readonly speeds: ReadonlyMap<string, number>;
  readonly marks: ReadonlyMap<string, number>;
  /** Host seconds from the start to the first line of the guest's process 1. */
  readonly bootSeconds: number;
}

export function commandLine(g: Guest): string {
  return `console=ttyS0 quiet rdinit=/init panic=-1 nocm=1 benchsecs=${g.seconds}${g.only ? ` benchonly=${g.only}` : ""}`;
}

/** Any emulator with QEMU's options. */
export function qemuLike(name: string, words: readonly string[]): Emulator {
  return {
    name,
    command: (g) => [
      ...words,
      "-m",
      String(g.memoryMib),
      "-nographic",
      "-no-reboot",
      "-kernel",
      g.kernel,
      "-initrd",
      g.initrd,
      "-append",
      commandLine(g),
    ],
  };
}

export function tandem(arch: Arch): Emulator {
  return qemuLike("tandem", [process.execPath, path.join(ROOT, "bin", `tandem-${BINARIES[arch]}`)]);
}

/** QEMU with its translator, or undefined when it is not installed. */
export function qemu(arch: Arch): Emulator | undefined {
  const program = `qemu-${BINARIES[arch]}`;
  if (spawnSync(program, ["--version"], { stdio: "ignore" }).status === 0) return qemuLike("qemu", [program, "-accel", "tcg"]);
  // One binary runs both.
  const wide = `qemu-${BINARIES.amd64}`;
  if (arch === "i386" && spawnSync(wide, ["--version"], { stdio: "ignore" }).status === 0)
    return qemuLike("qemu", [wide, "-accel", "tcg"]);
  return undefined;
}

/** v86 when its package is installed; it has no 64-bit mode. */
export function v86(arch: Arch): Emulator | undefined {
  const folder = path.join(ROOT, "node_modules/v86");
  if (arch !== "i386" || !existsSync(folder)) return undefined;
  return {
    name: "v86",
    command: (g) => [
      process.execPath,
      path.join(ROOT, "bench/v86-runner.mjs"),
      folder,
      g.kernel,
      g.initrd,
      String(g.memoryMib),
      `${commandLine(g)} tsc=reliable`,
    ],
  };
}

/**
 * Runs the guest once.
 * @throws Error when the guest panics, ends without results or takes longer than `timeoutSeconds`
 */
export function run(emulator: Emulator, guest: Guest, timeoutSeconds: number): Promise<Result> {
  const [program, ...args] = emulator.command(guest);
  const started = performance.now();
  const child = spawn(program!, args, { stdio: ["ignore", "pipe", "pipe"] });
  const speeds = new Map<string, number>();
  const marks = new Map<string, number>();
  let bootSeconds = 0;
  let rest = "";
  let tail = "";
  return new Promise((resolve, reject) => {
    let why = "";
    const stop = (reason: string) => {
      why ||= reason;
      child.kill("SIGKILL");
    };
    const timer = setTimeout(() => stop(`no end after ${timeoutSeconds} s`), timeoutSeconds * 1000);
    const read = (chunk: Buffer) => {
      tail = (tail + chunk.toString("latin1")).slice(-2000);
      const lines = (rest + chunk.toString("latin1")).split(/\r?\n/);
      rest = lines.pop()!.slice(-4096);
      for (const line of lines) {
        const bench = /BENCH (\S+) (\d+)/.exec(line);
        if (bench) speeds.set(bench[1]!, Number(bench[2]));
        const mark = /MARK (\S+) ([\d.]+)/.exec(line);
        if (mark) {
          marks.set(mark[1]!, Number(mark[2]));
          if (mark[1] === "userland") bootSeconds = (performance.now() - started) / 1000;
        }
        if (/Kernel panic/.test(line)) stop(line.trim());
      }
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(new Error(`${emulator.name}: ${error.message}`));
    });
    child.on("close", () => {
      clearTimeout(timer);
      if (!why && speeds.size > 0) resolve({ speeds, marks, bootSeconds });
      else reject(new Error(`${emulator.name}: ${why || "no results"}\n${tail.trim().split("\n").slice(-5).join("\n")}`));
    });
  });
}
