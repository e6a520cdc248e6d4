#!/usr/bin/env node
// Compiles the AssemblyScript runtimes: src/target/CPU/runtime/index.ts -> dist/runtime/CPU.wasm.
//   node tools/build-runtime.mjs [--if-newer] [--entry src/target/x86/runtime/index.ts --out dist/runtime/x86.wasm]
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, renameSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Guest CPUs with a runtime. */
export const TARGETS = ["x86", "ppc"];

/** Everything a runtime module may be made from, by its entry. */
function sources(entry) {
  const runtime = path.dirname(entry);
  return ["src/accel/tcg/map.ts", "src/accel/tcg/runtime", `${path.dirname(runtime)}/layout.ts`, runtime];
}

const FLAGS = [
  ["-O3", "--noAssert", "--runtime", "stub"],
  ["--importMemory", "--sharedMemory", "--initialMemory", "16", "--maximumMemory", "65536"],
  ["--enable", "threads,simd,bulk-memory"],
].flat();

function newest(file) {
  const stat = statSync(file);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(stat.mtimeMs, ...readdirSync(file).map((name) => newest(path.join(file, name))));
}

/** Compiles `entry`; with ifNewer only when a source is newer than `out`. Throws with the compiler's messages. */
export function buildRuntime(entry, out, { ifNewer = false } = {}) {
  const built = statSync(out, { throwIfNoEntry: false });
  if (ifNewer && built && built.mtimeMs > Math.max(...sources(entry).map((source) => newest(path.join(root, source))))) return;
  mkdirSync(path.dirname(out), { recursive: true });
  const asc = createRequire(import.meta.url).resolve("assemblyscript/bin/asc.js");
  const temporary = `${out}.${process.pid}.tmp`;
  try {
    execFileSync(process.execPath, [asc, entry, ...FLAGS, "-o", path.relative(root, temporary)], { cwd: root, stdio: "pipe" });
  } catch (error) {
    throw new Error(`asc ${entry} failed:\n${error.stderr}`);
  }
  renameSync(temporary, out);
}

if (process.argv[1] && fileURLToPath(import.meta.url) === path.resolve(process.argv[1])) {
  const { values } = parseArgs({
    options: {
      entry: { type: "string" },
      out: { type: "string" },
      "if-newer": { type: "boolean", default: false },
    },
  });
  const wanted = values.entry
    ? [[values.entry, values.out ?? "dist/runtime/x86.wasm"]]
    : TARGETS.map((cpu) => [`src/target/${cpu}/runtime/index.ts`, `dist/runtime/${cpu}.wasm`]);
  for (const [entry, file] of wanted) {
    const out = path.resolve(root, file);
    buildRuntime(entry, out, { ifNewer: values["if-newer"] });
    console.log(`built ${path.relative(root, out)} (${statSync(out).size} bytes)`);
  }
}
