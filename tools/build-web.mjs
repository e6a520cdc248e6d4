#!/usr/bin/env node
// Builds the page into dist/web: bundles web/, copies firmware, guests and the translator's wasm beside it.
//   node tools/build-web.mjs [--out dist/web] [--minify]
import { cp, mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { buildRuntime, TARGETS } from "./build-runtime.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/** What the machine reads at run time (`Host.readBuiltIn`), by its name there. */
const BUILT_IN = ["firmware", "guests", "dist/runtime/x86.wasm", "dist/runtime/ppc.wasm"];

/** Builds into a folder; what was there before is removed. */
export async function buildWeb(out, { minify = false } = {}) {
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  await build({
    absWorkingDir: root,
    entryPoints: ["web/main.ts", "web/worker.ts"],
    outdir: out,
    bundle: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    sourcemap: true,
    minify,
    legalComments: "linked",
    logLevel: "warning",
  });
  await cp(path.join(root, "web/index.html"), path.join(out, "index.html"));
  for (const cpu of TARGETS)
    buildRuntime(`src/target/${cpu}/runtime/index.ts`, path.join(root, `dist/runtime/${cpu}.wasm`), { ifNewer: true });
  for (const name of BUILT_IN) await cp(path.join(root, name), path.join(out, name), { recursive: true });
}

if (process.argv[1] && fileURLToPath(import.meta.url) === path.resolve(process.argv[1])) {
  const { values } = parseArgs({ options: { out: { type: "string" }, minify: { type: "boolean", default: false } } });
  const out = path.resolve(values.out ?? path.join(root, "dist/web"));
  await buildWeb(out, { minify: values.minify });
  console.log(`built ${out}`);
}
