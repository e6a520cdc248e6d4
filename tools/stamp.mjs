// Whether dist/ and node_modules/ are up to date: a stamp over names, times and sizes of what they are made from.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("..", import.meta.url)).replace(/[\\/]$/, "");
const STAMP = path.join(ROOT, "dist/.stamp");
const SOURCES = [
  "src",
  "package-lock.json",
  "tsconfig.json",
  "tsconfig.node.json",
  "tsconfig.build.json",
  "tools/build.mjs",
  "tools/build-runtime.mjs",
];

function collect(file, hash) {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (!stat) return;
  if (stat.isDirectory()) {
    for (const name of readdirSync(file).sort()) collect(path.join(file, name), hash);
    return;
  }
  if (/\.test\.ts$/.test(file)) return;
  hash.update(`${path.relative(ROOT, file)} ${stat.mtimeMs} ${stat.size}\n`);
}

function digest() {
  const hash = createHash("sha256");
  for (const s of SOURCES) collect(path.join(ROOT, s), hash);
  return hash.digest("hex");
}

/** Whether a build is due. */
export function isStale() {
  if (!existsSync(path.join(ROOT, "dist/bin/main.js"))) return true;
  return !existsSync(STAMP) || readFileSync(STAMP, "utf8") !== digest();
}

export function writeStamp() {
  mkdirSync(path.dirname(STAMP), { recursive: true });
  writeFileSync(STAMP, digest());
}

/** Whether `npm ci` is due: no dependencies, or the lock file is newer than what was installed from it. */
export function needsInstall() {
  const installed = statSync(path.join(ROOT, "node_modules/.package-lock.json"), { throwIfNoEntry: false });
  if (!installed || !existsSync(path.join(ROOT, "node_modules/typescript"))) return true;
  const wanted = JSON.parse(readFileSync(path.join(ROOT, "package-lock.json"), "utf8")).packages;
  const have = JSON.parse(readFileSync(path.join(ROOT, "node_modules/.package-lock.json"), "utf8")).packages;
  // Packages for other platforms are in the lock file only.
  return Object.entries(wanted).some(([name, p]) => name !== "" && !p.optional && have[name]?.version !== p.version);
}
