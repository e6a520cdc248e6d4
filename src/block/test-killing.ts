/** Kills a writer (test-writer.ts) again and again, and looks at what is left of its image. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { checkedByQemu, openQcow2, qemuImg, randomFrom } from "./test-images.js";
import { SLOT_BYTES, SLOTS } from "./test-writer.js";

const WRITER = fileURLToPath(new URL("test-writer.ts", import.meta.url));

/** One life of a writer. @returns its lines, whole ones only */
function live(file: string, seed: number, first: number, lines: number): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--import", "tsx", WRITER, file, String(seed), String(first)], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let text = "";
    let errors = "";
    let seen = 0;
    child.stderr.on("data", (d) => (errors += d));
    child.stdout.on("data", (d: Buffer) => {
      text += d.toString("latin1");
      for (const b of d) if (b === 10) seen++;
      if (seen >= lines) child.kill("SIGKILL");
    });
    child.on("close", (_code, signal) => {
      if (signal !== "SIGKILL") return reject(new Error(`the writer ended by itself: ${errors}`));
      resolve(
        text
          .slice(0, text.lastIndexOf("\n") + 1)
          .split("\n")
          .filter(Boolean),
      );
    });
  });
}

/**
 * `kills` lives of a writer on one image of a layout. After each: no corruption (leaks may be), and every slot holds what a
 * flush acknowledged or something written later.
 */
export async function killWriters(file: string, layout: string, kills: number, seed: number): Promise<void> {
  rmSync(file, { force: true });
  qemuImg("create", "-q", "-f", "qcow2", "-o", layout, file, String(SLOTS * SLOT_BYTES));
  const random = randomFrom(seed);
  /** Per slot: of the writes that a flush covered, the one that began last. */
  const safe = new Map<number, number>();
  /** Writes by number; `began` and `ended` count lines. */
  const writes = new Map<number, { slot: number; count: number; began: number; ended: number }>();
  const overwritten = new Map<number, Set<number>>();
  let line = 0;
  let last = 0;
  for (let kill = 0; kill < kills; kill++) {
    const lines = await live(file, seed + kill, last, 20 + random(400));
    for (const text of lines) {
      line++;
      const [what, ...numbers] = text.split(" ");
      if (what === "w") {
        const [n, slot, count] = numbers.map(Number) as [number, number, number];
        last = Math.max(last, n);
        writes.set(n, { slot, count, began: line, ended: Number.POSITIVE_INFINITY });
        for (let i = slot; i < slot + count; i++) {
          const all = overwritten.get(i) ?? new Set([0]);
          overwritten.set(i, all.add(n));
        }
      } else if (what === "d") {
        const w = writes.get(Number(numbers[0]));
        if (w) w.ended = line;
      } else if (what === "f")
        for (const n of numbers.map(Number)) {
          const w = writes.get(n);
          if (!w) continue;
          for (let i = w.slot; i < w.slot + w.count; i++) {
            const before = writes.get(safe.get(i) ?? 0);
            if (!before || before.began < w.began) safe.set(i, n);
          }
        }
    }
    const lazy = layout.includes("lazy");
    if (!lazy) checkedByQemu(file, true);
    // Opening repairs an image that lazy refcounts left dirty.
    const image = await openQcow2(file);
    const slot = new Uint8Array(SLOT_BYTES);
    const view = new DataView(slot.buffer);
    for (let i = 0; i < SLOTS; i++) {
      await image.read(i * SLOT_BYTES, slot);
      for (let at = 0; at < SLOT_BYTES; at += 512) {
        const n = view.getUint32(at);
        // A write that had ended before a covered one began is gone; one that was under way then may have ended after it.
        const covered = writes.get(safe.get(i) ?? 0);
        const possible =
          n === 0
            ? !covered
            : overwritten.get(i)?.has(n) && (!covered || n === safe.get(i) || writes.get(n)!.ended > covered.began);
        assert.ok(possible, `${layout}, kill ${kill}: slot ${i} holds write ${n}; a flush acknowledged ${safe.get(i)}`);
      }
    }
    await image.close();
    checkedByQemu(file, true);
  }
}
