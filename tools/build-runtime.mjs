#!/usr/bin/env node
// Compiles the AssemblyScript runtime: src/target/x86/runtime/index.ts -> dist/runtime/x86.wasm.
//   node tools/build-runtime.mjs [--entry src/target/x86/runtime/index.ts] [--out dist/runtime/x86.wasm] [--if-newer]
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, renameSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Everything a runtime module may be made from. */
const SOURCES = ["src/accel/tcg/map.ts", "src/accel/tcg/runtime", "src/target/x86/layout.ts", "src/target/x86/runtime"];

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
  if (ifNewer && built && built.mtimeMs > Math.max(...SOURCES.map((source) => newest(path.join(root, source))))) return;
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
      entry: { type: "string", default: "src/target/x86/runtime/index.ts" },
      out: { type: "string", default: "dist/runtime/x86.wasm" },
      "if-newer": { type: "boolean", default: false },
    },
  });
  const out = path.resolve(root, values.out);
  buildRuntime(values.entry, out, { ifNewer: values["if-newer"] });
  console.log(`built ${path.relative(root, out)} (${statSync(out).size} bytes)`);
}
