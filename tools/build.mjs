#!/usr/bin/env node
// npm run build: checks the layers, compiles TypeScript to dist/, compiles the translator's runtime to wasm.
//   node tools/build.mjs [--if-stale]
import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build as bundle } from "esbuild";
import { isStale, ROOT, writeStamp } from "./stamp.mjs";

const quiet = process.argv.includes("--quiet");

/** Runs a Node script; its output goes to stderr, so that stdout stays the guest's. */
function node(script, ...args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [path.join(ROOT, script), ...args], { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (d) => (output += d));
    child.on("error", reject);
    child.on("close", (code) => {
      if (output && (code !== 0 || !quiet)) process.stderr.write(output);
      if (code === 0) resolve();
      else reject(new Error(`${script} ${args.join(" ")} failed`));
    });
  });
}

const tsc = (project, ...args) => node("node_modules/typescript/bin/tsc", "-p", project, ...args);

/** Removes compiled files whose source is gone. */
function removeOrphans(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) removeOrphans(file);
    else {
      const source = path.join(ROOT, path.relative(path.join(ROOT, "dist"), file)).replace(/(\.d\.ts|\.js\.map|\.js)$/, ".ts");
      if (!statSync(source, { throwIfNoEntry: false })) rmSync(file);
    }
  }
}

/** The programs of bin/ in few files: a Node that loads 400 modules one by one takes a third of a second longer. */
function bundlePrograms() {
  const out = path.join(ROOT, "dist/bin");
  rmSync(out, { recursive: true, force: true });
  return bundle({
    absWorkingDir: ROOT,
    entryPoints: { main: "src/cli/main.ts", img: "src/cli/verbs/img.ts" },
    outdir: out,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    packages: "external",
    sourcemap: true,
    logLevel: "warning",
  });
}

export async function build() {
  const started = Date.now();
  mkdirSync(path.join(ROOT, "dist"), { recursive: true });
  // The core sees neither Node nor DOM types; the second project builds everything; tests are checked by `npm test`.
  const results = await Promise.allSettled([
    tsc("tsconfig.json", "--noEmit"),
    tsc("tsconfig.build.json"),
    node("tools/build-runtime.mjs", "--if-newer"),
    bundlePrograms(),
  ]);
  const failed = results.find((r) => r.status === "rejected");
  if (failed) throw failed.reason;
  removeOrphans(path.join(ROOT, "dist/src"));
  writeStamp();
  if (!quiet) process.stderr.write(`built in ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  if (!process.argv.includes("--if-stale") || isStale())
    build().catch((error) => {
      process.stderr.write(`${error.message}\n`);
      process.exit(1);
    });
}
