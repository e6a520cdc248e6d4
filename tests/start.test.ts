/** `npm start` with input from a pipe: the embedded guest runs the lines and powers off. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
/** Ten times what a slow machine needs. */
const TIMEOUT_MS = 120_000;

/** Rows: what is piped in, and what the guest must have printed on a line of its own. */
const rows: [input: string, lines: string[]][] = [
  ["uname -m\npoweroff\n", ["x86_64"]],
  // The end of the input powers the guest off; the last line may lack its end.
  ["echo $((6 * 7))\ncd /tmp\npwd", ["42", "/tmp"]],
];

test("npm start < lines", { timeout: rows.length * TIMEOUT_MS }, () => {
  for (const [input, lines] of rows) {
    const r = spawnSync(process.execPath, [path.join(root, "tools/start.mjs")], {
      input,
      encoding: "utf8",
      timeout: TIMEOUT_MS,
      cwd: root,
    });
    const what = `${JSON.stringify(input)}: ${r.stdout.slice(-2000)}\n${r.stderr}`;
    assert.equal(r.status, 0, what);
    const printed = r.stdout.replaceAll("\r", "").split("\n");
    for (const line of lines) assert.ok(printed.includes(line), `${line} in ${what}`);
  }
});
