// Installs the development dependencies with npm when they are missing or old. npm's output goes to stderr.
import { spawnSync } from "node:child_process";
import { needsInstall, ROOT } from "./stamp.mjs";

/** Exits with npm's status if it fails. */
export function install() {
  if (!needsInstall()) return;
  process.stderr.write("installing dependencies (npm ci)\n");
  // Run by npm, its own path is in the environment; else it is looked up.
  const npm = process.env.npm_execpath;
  const args = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
  const result = npm?.endsWith(".js")
    ? spawnSync(process.execPath, [npm, ...args], { cwd: ROOT, stdio: ["ignore", 2, 2] })
    : spawnSync("npm", args, { cwd: ROOT, stdio: ["ignore", 2, 2], shell: process.platform === "win32" });
  if (result.status !== 0) {
    process.stderr.write("npm ci failed\n");
    process.exit(result.status ?? 1);
  }
}
