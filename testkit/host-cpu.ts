/** The host's processor as reference for instruction tests: builds and runs host-cpu.c. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { CpuState, RECORD } from "./cpu-state.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const source = path.join(root, "testkit/host-cpu.c");

/** Runs states (with their code) on the host. Undefined where there is no x86-64 Linux host or no gcc. */
export function hostCpu(): ((states: readonly CpuState[]) => CpuState[]) | undefined {
  if (process.arch !== "x64" || process.platform !== "linux") return undefined;
  const binary = path.join(root, "dist/testkit/host-cpu");
  try {
    const built = statSync(binary, { throwIfNoEntry: false });
    if (!built || built.mtimeMs < statSync(source).mtimeMs) {
      mkdirSync(path.dirname(binary), { recursive: true });
      execFileSync("gcc", ["-O1", "-fno-pie", "-no-pie", "-o", binary, source], { stdio: "pipe" });
    }
  } catch {
    return undefined;
  }
  return (states) => {
    const input = new Uint8Array(states.length * RECORD);
    for (const [i, s] of states.entries()) input.set(s.bytes, i * RECORD);
    const done = spawnSync(binary, { input, maxBuffer: 1 << 30 });
    if (done.status !== 0 || done.stdout.length !== input.length)
      throw new Error(
        `host-cpu: status ${done.status} signal ${done.signal}, ${done.stdout.length / RECORD} of ${states.length} results`,
      );
    return states.map((_, i) => new CpuState(new Uint8Array(done.stdout.subarray(i * RECORD, (i + 1) * RECORD))));
  };
}

/** Feature names of the host's processor (/proc/cpuinfo). */
export function hostFeatures(): Set<string> {
  const line = /^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"));
  return new Set((line?.[1] ?? "").trim().split(/\s+/));
}
