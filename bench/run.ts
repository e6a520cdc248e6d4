/**
 * npm run bench: the speed of guest programs in Tandem and in other emulators, as medians over runs, ratios and their
 * geometric mean. Runs alternate between the emulators, so that a slow phase of the host meets all.
 *
 *   npm run bench -- [options]
 *     --arch amd64|i386      guest architecture; default: both, amd64 against QEMU, i386 against v86 too when installed
 *     --runs N               runs of each emulator (3)
 *     --secs S               seconds of each workload (1)
 *     --only NAME            one workload
 *     --kernel FILE          kernel image; default: the Debian installer's, where its package is installed
 *     --initrd FILE          an initramfs built elsewhere whose process 1 prints the same lines
 *     --emulator NAME=WORDS  another emulator with QEMU's options; may be given several times
 *     --without NAME         leaves one out (tandem, qemu, v86)
 *     --history [--note N]   appends the medians to bench/history.jsonl
 *     --timeout S            limit of one run (600)
 */
import { execFileSync } from "node:child_process";
import { appendFileSync, existsSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Emulator, type Guest, qemu, qemuLike, type Result, run, tandem, v86 } from "./emulators.js";
import { type Arch, buildInitramfs } from "./initramfs.js";
import { geometricMean, median } from "./statistics.js";

const HISTORY = fileURLToPath(new URL("./history.jsonl", import.meta.url));

const { values } = parseArgs({
  options: {
    arch: { type: "string" },
    runs: { type: "string", default: "3" },
    secs: { type: "string", default: "1" },
    only: { type: "string" },
    kernel: { type: "string" },
    initrd: { type: "string" },
    emulator: { type: "string", multiple: true, default: [] },
    without: { type: "string", multiple: true, default: [] },
    history: { type: "boolean", default: false },
    note: { type: "string" },
    timeout: { type: "string", default: "600" },
    memory: { type: "string", default: "512" },
  },
});

function fail(message: string): never {
  console.error(`bench: ${message}`);
  process.exit(1);
}

function debianKernel(arch: Arch): string {
  const file = `/usr/lib/debian-installer/images/12/${arch}/text/debian-installer/${arch}/linux`;
  if (!existsSync(file)) fail(`no kernel: give --kernel, or install Debian's debian-installer-12-netboot-${arch}`);
  return file;
}

function emulators(arch: Arch): Emulator[] {
  const list = [qemu(arch), v86(arch), tandem(arch)].filter((e): e is Emulator => e !== undefined);
  for (const text of values.emulator) {
    const at = text.indexOf("=");
    if (at < 1) fail(`--emulator ${text}: want NAME=WORDS`);
    list.unshift(
      qemuLike(
        text.slice(0, at),
        text
          .slice(at + 1)
          .split(" ")
          .filter(Boolean),
      ),
    );
  }
  return list.filter((e) => !values.without.includes(e.name));
}

/** Medians by workload. */
function medians(results: readonly Result[]): Map<string, number> {
  const names = new Set(results.flatMap((r) => [...r.speeds.keys()]));
  return new Map([...names].map((n) => [n, median(results.flatMap((r) => r.speeds.get(n) ?? []))]));
}

async function compare(arch: Arch): Promise<void> {
  let initrd = values.initrd;
  try {
    initrd ??= buildInitramfs(arch);
  } catch (error) {
    fail((error as Error).message);
  }
  const guest: Guest = {
    arch,
    kernel: values.kernel ?? debianKernel(arch),
    initrd,
    seconds: Number(values.secs),
    only: values.only,
    memoryMib: Number(values.memory),
  };
  const list = emulators(arch);
  if (list.length === 0) fail("no emulator left");
  const results = new Map<string, Result[]>(list.map((e) => [e.name, []]));
  for (let n = 1; n <= Number(values.runs); n++)
    for (const e of list) {
      process.stderr.write(`${arch} ${e.name}: run ${n} of ${values.runs}\n`);
      try {
        results.get(e.name)!.push(await run(e, guest, Number(values.timeout)));
      } catch (error) {
        console.error((error as Error).message);
        process.exitCode = 1;
      }
    }
  report(arch, list, results);
}

function report(arch: Arch, list: readonly Emulator[], results: ReadonlyMap<string, readonly Result[]>): void {
  const done = list.filter((e) => results.get(e.name)!.length > 0);
  const speeds = new Map(done.map((e) => [e.name, medians(results.get(e.name)!)]));
  const last = done[done.length - 1];
  if (!last) return;
  const own = speeds.get(last.name)!;
  const others = done.slice(0, -1);
  const pad = (s: string) => s.padStart(13);
  console.log(`\n${arch}: units a second, median of ${values.runs}; ratio = ${last.name} / the other`);
  console.log(["workload".padEnd(10), ...done.map((e) => pad(e.name)), ...others.map((e) => pad(`/ ${e.name}`))].join(" "));
  const ratios = new Map<string, number[]>(others.map((e) => [e.name, []]));
  for (const [workload, speed] of own) {
    const cells = done.map((e) => pad(String(speeds.get(e.name)!.get(workload) ?? "-")));
    for (const e of others) {
      const other = speeds.get(e.name)!.get(workload);
      if (other) ratios.get(e.name)!.push(speed / other);
      cells.push(pad(other ? `x${(speed / other).toFixed(3)}` : "-"));
    }
    console.log([workload.padEnd(10), ...cells].join(" "));
  }
  const boot = (e: Emulator) => median(results.get(e.name)!.map((r) => r.bootSeconds));
  console.log(
    [
      "boot s".padEnd(10),
      ...done.map((e) => pad(boot(e).toFixed(2))),
      ...others.map((e) => pad(`x${(boot(e) / boot(last)).toFixed(3)}`)),
    ].join(" "),
  );
  if (others.length)
    console.log(
      [
        "geomean".padEnd(10),
        ...done.map(() => pad("")),
        ...others.map((e) => pad(`x${geometricMean(ratios.get(e.name)!).toFixed(3)}`)),
      ].join(" "),
    );
  if (values.history) {
    const record = {
      date: new Date().toISOString(),
      commit: commit(),
      note: values.note,
      cpu: cpus()[0]?.model,
      node: process.version,
      arch,
      runs: Number(values.runs),
      seconds: Number(values.secs),
      bootSeconds: Object.fromEntries(done.map((e) => [e.name, Number(boot(e).toFixed(2))])),
      speeds: Object.fromEntries([...speeds].map(([name, m]) => [name, Object.fromEntries(m)])),
      geomean: Object.fromEntries([...ratios].map(([name, r]) => [name, Number(geometricMean(r).toFixed(4))])),
    };
    appendFileSync(HISTORY, `${JSON.stringify(record)}\n`);
  }
}

function commit(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return "";
  }
}

const archs: Arch[] =
  values.arch === undefined
    ? ["amd64", "i386"]
    : values.arch === "amd64" || values.arch === "i386"
      ? [values.arch]
      : fail(`--arch ${values.arch}`);
for (const arch of archs) await compare(arch);
