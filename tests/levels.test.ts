/** The level table of docs/architecture.md, held: a file imports from lower levels, or from its own folder. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The first row whose prefix a file has says its level. Rows of one level are sideways of each other unless `with` allows it. */
const LEVELS: readonly { readonly prefix: string; readonly level: number; readonly with?: readonly string[] }[] = [
  { prefix: "src/base/", level: 0 },
  // Interfaces only; the implementations are at the top.
  { prefix: "src/host/node/", level: 7, with: ["src/index.ts"] },
  { prefix: "src/host/browser/", level: 7 },
  { prefix: "src/host/", level: 1 },
  { prefix: "src/memory/", level: 1 },
  { prefix: "src/accel/tcg/ir/", level: 2, with: ["src/accel/tcg/wasm/"] },
  { prefix: "src/accel/tcg/wasm/", level: 2, with: ["src/accel/tcg/ir/"] },
  { prefix: "src/accel/tcg/runtime/", level: 2, with: ["src/accel/tcg/map.ts"] },
  { prefix: "src/accel/tcg/map.ts", level: 2 },
  { prefix: "src/hw/core/", level: 2 },
  { prefix: "src/block/", level: 2 },
  { prefix: "src/net/", level: 2 },
  { prefix: "src/ui/", level: 2 },
  // Devices know no CPU and no accelerator; they may use each other's public parts (a board is still what wires them).
  { prefix: "src/hw/", level: 3, with: ["src/hw/"] },
  // Guest CPUs know no device. The front end fills in what the translator asks of a target.
  { prefix: "src/target/", level: 3, with: ["src/accel/tcg/"] },
  { prefix: "src/accel/tcg/", level: 3 },
  { prefix: "src/accel/", level: 4 },
  { prefix: "src/firmware/", level: 5 },
  { prefix: "src/migration/", level: 5 },
  { prefix: "src/machine/", level: 5, with: ["src/firmware/", "src/migration/"] },
  { prefix: "src/cli/main.ts", level: 7, with: ["src/cli/", "src/host/node/", "src/index.ts"] },
  { prefix: "src/cli/verbs/", level: 7, with: ["src/cli/", "src/host/node/", "src/index.ts"] },
  // QMP tells the option table and reads options in commands; options know no monitor.
  { prefix: "src/monitor/", level: 6, with: ["src/cli/options/"] },
  { prefix: "src/manage/", level: 6 },
  { prefix: "src/cli/", level: 6 },
  { prefix: "src/index.ts", level: 7, with: ["src/host/node/"] },
];

/** Imports that one level's rule forbids for other reasons than its number. */
const FORBIDDEN: readonly { readonly from: string; readonly to: string; readonly why: string }[] = [
  { from: "src/hw/", to: "src/target/", why: "devices know no CPU" },
  { from: "src/hw/", to: "src/accel/", why: "devices know no accelerator" },
  { from: "src/target/", to: "src/hw/", why: "CPUs know no device" },
  { from: "src/accel/", to: "src/hw/", why: "accelerators know no device" },
];

function rowOf(file: string) {
  return LEVELS.find((l) => file.startsWith(l.prefix));
}

/** Files of src that ship, with what they import; node: modules by their name, others as paths from the root. */
function imports(): { file: string; targets: string[] }[] {
  return readdirSync(path.join(root, "src"), { recursive: true, encoding: "utf8" })
    .map((f) => `src/${f.replaceAll("\\", "/")}`)
    .filter((f) => f.endsWith(".ts") && !/\.test\.ts$|\/test-[^/]*\.ts$|-tests\//.test(f))
    .map((file) => {
      const text = readFileSync(path.join(root, file), "utf8");
      const found = [...text.matchAll(/^\s*(?:import|export)\b[^;]*?\bfrom\s*"([^"]+)"|\bimport\(\s*"([^"]+)"\s*\)/gm)];
      const targets = found.map((m) => {
        const name = m[1] ?? m[2]!;
        return name.startsWith(".")
          ? path.posix.normalize(path.posix.join(path.posix.dirname(file), name)).replace(/\.js$/, ".ts")
          : name;
      });
      return { file, targets };
    });
}

const folder = (file: string) => path.posix.dirname(file);

test("imports go down the level table", () => {
  const wrong: string[] = [];
  for (const { file, targets } of imports()) {
    const from = rowOf(file);
    if (!from) {
      wrong.push(`${file}: its folder is not in the level table`);
      continue;
    }
    for (const target of targets) {
      if (!target.startsWith("src/")) {
        if (from.level < 7)
          wrong.push(`${file} (level ${from.level}) imports ${target}: only the top level sees the environment`);
        continue;
      }
      const to = rowOf(target);
      const rule = FORBIDDEN.find((f) => file.startsWith(f.from) && target.startsWith(f.to));
      if (rule) wrong.push(`${file} imports ${target}: ${rule.why}`);
      else if (!to) wrong.push(`${file} imports ${target}, whose folder is not in the level table`);
      else if (to.level < from.level || to === from || folder(file) === folder(target)) continue;
      else if (!from.with?.some((w) => target.startsWith(w)))
        wrong.push(`${file} (level ${from.level}) imports ${target} (level ${to.level})`);
    }
  }
  assert.deepEqual(wrong, []);
});

test("the core reads no clock, opens no file, starts no thread by itself", () => {
  const wrong: string[] = [];
  const globals =
    /\b(?:process\.(?!env\b)\w+|Date\.now\(|performance\.now\(|setTimeout\(|setInterval\(|setImmediate\(|new Worker\(|Math\.random\()/;
  for (const { file } of imports()) {
    const row = rowOf(file);
    if (!row || row.level >= 7) continue;
    readFileSync(path.join(root, file), "utf8")
      .split("\n")
      .forEach((line, i) => {
        const code = line.replace(/\/\/.*|^\s*\*.*|\/\*.*/, "");
        if (globals.test(code)) wrong.push(`${file}:${i + 1}: ${line.trim()}`);
      });
  }
  assert.deepEqual(wrong, []);
});
