#!/usr/bin/env node
// npm test: installs, builds, checks types and style, runs the tests. Arguments choose test files by a part of their path:
//   npm test -- monitor block
// Files named *.long.test.ts (boots of minutes) run with `npm run test:long` only.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import path from "node:path";
import { install } from "./install.mjs";
import { isStale, ROOT } from "./stamp.mjs";

/** Tests are few big files on a small machine: two at a time. */
const CONCURRENCY = 2;
/** A file that takes longer hangs. */
const TIMEOUT_MS = 20 * 60_000;
const FOLDERS = ["bench", "src", "testkit", "tests", "tools", "web"];

function testFiles(folder) {
  try {
    return readdirSync(path.join(ROOT, folder), { recursive: true })
      .filter((f) => /\.test\.(ts|mjs)$/.test(f))
      .map((f) => path.join(folder, f))
      .sort();
  } catch {
    return [];
  }
}

function step(name, script, ...args) {
  process.stderr.write(`${name}\n`);
  const { status, signal } = spawnSync(process.execPath, [...(Array.isArray(script) ? script : [script]), ...args], {
    cwd: ROOT,
    stdio: "inherit",
  });
  if (status !== 0) {
    process.stderr.write(`${name}: failed${signal ? ` (${signal})` : ""}\n`);
    process.exit(status ?? 1);
  }
}

install();
if (isStale()) step("build", "tools/build.mjs");
const long = process.argv.includes("--long");
const patterns = process.argv.slice(2).filter((a) => a !== "--long");
if (patterns.length === 0 && !long) {
  step("types", "node_modules/typescript/bin/tsc", "-p", "tsconfig.node.json", "--noEmit");
  step("style", "node_modules/@biomejs/biome/bin/biome", "check", "--diagnostic-level=error");
}
const files = FOLDERS.flatMap(testFiles)
  .filter((f) => f.includes(".long.test.") === long)
  .filter((f) => patterns.length === 0 || patterns.some((p) => f.includes(p)));
if (files.length === 0) {
  process.stderr.write("no test file has that in its path\n");
  process.exit(1);
}
step(
  "tests",
  ["--import", "tsx", "--test"],
  `--test-concurrency=${CONCURRENCY}`,
  `--test-timeout=${TIMEOUT_MS}`,
  "--test-reporter=spec",
  ...files,
);
