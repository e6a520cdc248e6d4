import assert from "node:assert/strict";
import { test } from "node:test";
import { PromptWatch } from "./prompt.js";

/** Rows: pieces of output, and how many prompts they answer when each is answered at once. */
const rows: [pieces: string[], prompts: number][] = [
  [["booting\r\n", "~ # "], 1],
  [["~ # \x1b[6n"], 1],
  [["\x1b[6n~ ", "# "], 1],
  [["~ # ", "uname -m\r\nx86_64\r\n~ # "], 2],
  [["~ # ", "echo '/ # '"], 1],
  [["~ # ", "cd /tmp\r\n", "/tmp # "], 2],
  [["# "], 0],
  [["100 # done\r\n"], 0],
];

test("prompts", async () => {
  for (const [pieces, prompts] of rows) {
    const watch = new PromptWatch();
    let seen = 0;
    const wait = () => {
      void watch.prompt().then(() => {
        seen++;
        wait();
      });
    };
    wait();
    for (const p of pieces) {
      watch.output(new TextEncoder().encode(p));
      await Promise.resolve();
      await Promise.resolve();
    }
    assert.equal(seen, prompts, JSON.stringify(pieces));
  }
});
