/**
 * `tandem bench accel`: the same guest work under TCG, under KVM and natively, side by side: what acceleration is worth on this
 * machine, per kind of work.
 */
import { parseArgs } from "node:util";
import { cannotOpen, openKvm } from "../../accel/kvm/host.js";
import { VmError } from "../../base/errors.js";
import { nodeHost } from "../../host/node/index.js";
import { KvmRunner, NativeRunner, type Runner, TcgRunner } from "./bench/runners.js";
import { WORKLOADS, type Workload } from "./bench/workloads.js";

/** A measurement lasts at least this long. */
const DEFAULT_MS = 100;
const REPEATS = 3;
const ROUNDS_MAX = 2 ** 40;

/** Things a second. */
export interface BenchRow {
  readonly name: string;
  readonly unit: string;
  readonly tcg?: number | undefined;
  readonly kvm?: number | undefined;
  readonly native?: number | undefined;
}

/** Finds a number of rounds that lasts long enough, and takes the best of a few. */
function measure(runner: Runner, w: Workload, spanMs: number): number | undefined {
  let rounds = 4;
  let best = 0;
  for (let left = REPEATS; left > 0; ) {
    const ns = runner.run(w, rounds);
    if (ns === undefined) return undefined;
    if (ns < spanMs * 1e6 && rounds < ROUNDS_MAX) {
      rounds = Math.ceil(rounds * Math.min(16, Math.max(1.5, (spanMs * 1.2e6) / Math.max(1, ns))));
      continue;
    }
    best = Math.max(best, (rounds * w.perRound * 1e9) / ns);
    left--;
  }
  return best;
}

function number(perSecond: number | undefined): string {
  if (perSecond === undefined) return "-";
  const [value, unit] =
    perSecond >= 1e6 ? [perSecond / 1e6, "M/s"] : perSecond >= 1e3 ? [perSecond / 1e3, "k/s"] : [perSecond, "/s"];
  return `${value >= 100 ? value.toFixed(0) : value.toPrecision(3)} ${unit}`;
}

const ratio = (a: number | undefined, b: number | undefined) => (a && b ? `${(a / b).toPrecision(3)}` : "-");

/** The rows as a table. */
export function benchTable(rows: readonly BenchRow[]): string {
  const cells = [
    ["work", "tcg", "kvm", "native", "kvm/tcg", "kvm/native"],
    ...rows.map((r) => [
      `${r.name} (${r.unit})`,
      number(r.tcg),
      number(r.kvm),
      number(r.native),
      ratio(r.kvm, r.tcg),
      ratio(r.kvm, r.native),
    ]),
  ];
  const widths = cells[0]!.map((_, i) => Math.max(...cells.map((c) => c[i]!.length)));
  return `${cells.map((c) => c.map((x, i) => (i === 0 ? x.padEnd(widths[i]!) : x.padStart(widths[i]!))).join("  ")).join("\n")}\n`;
}

/** @returns the exit status @throws VmError "option/invalid" */
export async function bench(args: readonly string[]): Promise<number> {
  const [what, ...rest] = args;
  if (what !== "accel")
    throw new VmError("option/invalid", `bench ${what ?? ""}: there is only accel; usage: tandem bench accel [--json] [--ms N]`);
  let values: { json: boolean; ms: string };
  try {
    values = parseArgs({
      args: rest,
      options: { json: { type: "boolean", default: false }, ms: { type: "string", default: String(DEFAULT_MS) } },
    }).values;
  } catch (e) {
    throw new VmError("option/invalid", `bench accel: ${e instanceof Error ? e.message : e}`);
  }
  const spanMs = Number(values.ms);
  if (!(spanMs >= 1 && spanMs <= 10_000))
    throw new VmError("option/invalid", `bench accel: --ms ${values.ms}: milliseconds of a measurement, 1 to 10000`);
  const host = nodeHost();
  const runners: Runner[] = [new TcgRunner(new WebAssembly.Module(await host.readBuiltIn("dist/runtime/x86.wasm")))];
  const kvm = await openKvm(host);
  if (cannotOpen(kvm)) process.stderr.write(`tandem: ${kvm.line}\ntandem: ${kvm.advice}\n`);
  else runners.push(new KvmRunner(kvm.device));
  const native = await NativeRunner.make();
  if (native) runners.push(native);
  const rows: BenchRow[] = [];
  let done = 0;
  for (const w of WORKLOADS) {
    const row: Record<string, number | undefined> = {};
    for (const r of runners) {
      progress(`${++done}/${WORKLOADS.length * runners.length} ${w.name}, ${r.name}`);
      row[r.name] = measure(r, w, spanMs);
      // Interrupts and a terminal have their turn.
      await new Promise((resolve) => setImmediate(resolve));
    }
    rows.push({ name: w.name, unit: w.unit, ...row });
  }
  progress("");
  for (const r of runners) r.dispose();
  if (!cannotOpen(kvm)) kvm.device.close();
  process.stdout.write(values.json ? `${JSON.stringify(rows, null, 2)}\n` : benchTable(rows));
  return 0;
}

/** One line that is written over, on a terminal; else a line each. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${text.padEnd(72)}\r`);
  else if (text !== "") process.stderr.write(`${text}\n`);
}
