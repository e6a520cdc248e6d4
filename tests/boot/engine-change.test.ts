/**
 * A running machine changes its engine 200 times, in both directions, under a guest that checks its own memory, its x87 and SSE
 * registers, its timer and its time stamp counter.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { type Machine, monitorCommand } from "../../src/index.js";
import type { Board } from "../../src/machine/board.js";
import { needsPackage } from "../../testkit/debian.js";
import { Guest } from "../../testkit/guest.js";
import { kvmTest } from "../../testkit/kvm.js";

const CHANGES = 200;
const FLAGS =
  "-m32 -O1 -march=i686 -mno-sse -ffreestanding -fno-pic -no-pie -nostdlib -fno-stack-protector -Wl,--build-id=none -Wl,-Ttext=0x100000 -Wl,-N -w";

/** Compiles the guest. */
function buildGuest(t: TestContext): string {
  const dir = mkdtempSync(path.join(tmpdir(), "tandem-change-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const out = path.join(dir, "guest.elf");
  const source = fileURLToPath(new URL("engine-change-guest.c", import.meta.url));
  execFileSync("gcc", [...FLAGS.split(" "), "-Wl,--no-warn-rwx-segments", source, "-o", out]);
  return out;
}

/** What a stream would hold of the machine. */
const partsOf = (machine: Machine) => Object.fromEntries((machine as unknown as { board: Board }).board.snapshot!().saveParts());

/** Rounds and timer ticks that the guest has counted. */
function progress(serial: string): { rounds: number; ticks: number } {
  const all = [...serial.matchAll(/^R (\d+) (\d+)$/gm)];
  const last = all.at(-1);
  return { rounds: Number(last?.[1] ?? -1), ticks: Number(last?.[2] ?? -1) };
}

kvmTest(`${CHANGES} engine changes under a guest that checks itself`, async (t) => {
  if (!needsPackage(t, "gcc", "/usr/bin/gcc")) return;
  const guest = await Guest.start(t, ["-m", "64", "-vga", "none", "-kernel", buildGuest(t)]);
  const changes: string[] = [];
  guest.machine.occurred.on((e) => {
    if (e.type === "accelerator") changes.push(e.to);
  });
  await guest.onSerial(/^R 3 \d+$/m, 60);
  for (let n = 0; n < CHANGES; n++) {
    const before = progress(guest.serial).rounds;
    const to = n % 2 ? "tcg" : "kvm";
    assert.equal(await monitorCommand(guest.machine, `accel ${to}`), "");
    assert.equal(guest.machine.accelerator, to);
    // The guest works on under each engine before the next change.
    if (n % 10 === 0) await guest.onSerial(new RegExp(`^(R ${before + 3} \\d+|BAD .*)$`, "m"), 60);
    assert.doesNotMatch(guest.serial, /BAD/);
  }
  const { rounds, ticks } = progress(guest.serial);
  await guest.onSerial(new RegExp(`^R ${rounds + 10} \\d+$`, "m"), 60);
  assert.doesNotMatch(guest.serial, /BAD/);
  assert.deepEqual([changes.length, changes[0], changes.at(-1)], [CHANGES, "kvm", "tcg"]);
  assert.ok(progress(guest.serial).ticks > ticks, `${ticks} ticks, then no more`);
  // Every round has its line, in order.
  const numbers = [...guest.serial.matchAll(/^R (\d+) /gm)].map((m) => Number(m[1]));
  assert.deepEqual(numbers, [...numbers.keys()]);
});

for (const [from, to] of [
  ["kvm", "tcg"],
  ["tcg", "kvm"],
] as const)
  kvmTest(`a state written under ${from} is read under ${to}, the same machine`, async (t) => {
    if (!needsPackage(t, "gcc", "/usr/bin/gcc")) return;
    const image = buildGuest(t);
    const file = path.join(path.dirname(image), "state");
    const options = ["-m", "64", "-vga", "none", "-kernel", image];
    const first = await Guest.start(t, ["-accel", from, ...options]);
    await first.onSerial(/^R 80 \d+$/m, 60);
    await first.machine.stop();
    assert.equal(await monitorCommand(first.machine, `migrate file:${file}`), "");
    const second = await Guest.start(t, ["-accel", to, ...options, "-incoming", "defer"]);
    await second.machine.load(`file:${file}`);
    // A KVM without TSC scaling has its own rate, and says so.
    const ratesApart = (parts: Record<string, unknown>) => ({ ...parts, clock: { ...(parts.clock as object), tscKhz: 0 } });
    assert.deepEqual(ratesApart(partsOf(second.machine)), ratesApart(partsOf(first.machine)));
    const { rounds } = progress(first.serial);
    second.machine.cont();
    await second.onSerial(new RegExp(`^(R ${rounds + 70} \\d+|BAD .*)$`, "m"), 60);
    assert.doesNotMatch(second.serial, /BAD/);
    assert.equal(second.machine.accelerator, to);
  });
