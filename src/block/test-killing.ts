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
  /** Per slot: the newest write that a flush covered. */
  const safe = new Uint32Array(SLOTS);
  /** Writes by number. */
  const writes = new Map<number, { slot: number; count: number }>();
  const overwritten = new Map<number, Set<number>>();
  let last = 0;
  for (let kill = 0; kill < kills; kill++) {
    const lines = await live(file, seed + kill, last, 20 + random(400));
    for (const line of lines) {
      const [what, ...numbers] = line.split(" ");
      if (what === "w") {
        const [n, slot, count] = numbers.map(Number) as [number, number, number];
        last = Math.max(last, n);
        writes.set(n, { slot, count });
        for (let i = slot; i < slot + count; i++) {
          const all = overwritten.get(i) ?? new Set([0]);
          overwritten.set(i, all.add(n));
        }
      } else if (what === "f")
        for (const n of numbers.map(Number)) {
          const w = writes.get(n);
          if (w) for (let i = w.slot; i < w.slot + w.count; i++) safe[i] = Math.max(safe[i]!, n);
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
        const possible =
          n === 0 ? safe[i] === 0 : overwritten.get(i)?.has(n) && (n >= safe[i]! || concurrent(writes, n, safe[i]!));
        assert.ok(possible, `${layout}, kill ${kill}: slot ${i} holds write ${n}; a flush acknowledged ${safe[i]}`);
      }
    }
    await image.close();
    checkedByQemu(file, true);
  }
}

/** Three writes are under way at a time: one with a lower number may have ended later. */
function concurrent(writes: ReadonlyMap<number, unknown>, n: number, safe: number): boolean {
  return writes.has(n) && safe - n <= 3;
}
