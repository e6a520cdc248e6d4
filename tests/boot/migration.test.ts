/** A machine's state: saved, loaded in another process, bit for bit the same; refused when it is damaged or of another machine. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { guestOptions } from "../../src/cli/verbs/run.js";
import { createMachine, type Machine, monitorCommand } from "../../src/index.js";
import type { Board } from "../../src/machine/board.js";
import { Guest } from "../../testkit/guest.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), "tandem-migration-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => path.join(folder, name);

const boardOf = (machine: Machine) => (machine as unknown as { board: Board }).board;
/** What a stream would hold of the machine, less what follows the wall clock. */
const partsOf = (machine: Machine) => Object.fromEntries(boardOf(machine).snapshot!().saveParts());

/** A BIOS that counts at 0:500 for ever, and stops (isa-debug-exit, status 15) when the byte at 0:600 is not 0x5a any more. */
function countingBios(): string {
  const rom = new Uint8Array(0x10000);
  const code = [
    ...[0xfa, 0x31, 0xc0, 0x8e, 0xd8], // cli; xor ax, ax; mov ds, ax
    ...[0xc6, 0x06, 0x00, 0x06, 0x5a], // mov byte [0x600], 0x5a
    ...[0x66, 0xff, 0x06, 0x00, 0x05], // loop: inc dword [0x500]
    ...[0x80, 0x3e, 0x00, 0x06, 0x5a], // cmp byte [0x600], 0x5a
    ...[0x74, 0xf4], // je loop
    ...[0xba, 0x01, 0x05, 0xb0, 0x07, 0xee, 0xf4, 0xeb, 0xfd], // out 0x501, 7
  ];
  rom.set(code);
  rom.set([0xea, 0x00, 0x00, 0x00, 0xf0], 0xfff0);
  const file = at("count.bin");
  writeFileSync(file, rom);
  return file;
}

const SMALL = ["-display", "none", "-nodefaults", "-vga", "none", "-device", "isa-debug-exit"];

function counter(machine: Machine): number {
  const out = new Uint8Array(4);
  boardOf(machine).addressSpaces()[0]!.readBytes(0x500, out);
  return new DataView(out.buffer).getUint32(0, true);
}

async function until(what: string, reached: () => boolean): Promise<void> {
  const start = performance.now();
  while (!reached()) {
    assert.ok(performance.now() - start < 30_000, what);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("a counting guest goes on where it was, over each kind of stream", async () => {
  const bios = countingBios();
  const rows: [save: string, load: string][] = [
    [`file:${at("a")}`, `file:${at("a")}`],
    [`exec:gzip > '${at("b")}'`, `exec:gzip -dc '${at("b")}'`],
    [`file:${at("c")},offset=0`, `exec:cat '${at("c")}'`],
  ];
  for (const [save, load] of rows) {
    await using from = await createMachine({ args: [...SMALL, "-m", "1", "-bios", bios] });
    from.run();
    await until("counting", () => counter(from) > 1000);
    assert.equal(await monitorCommand(from, `migrate "${save}"`), "", save);
    assert.equal(from.runState, "postmigrate");
    const count = counter(from);
    await using to = await createMachine({ args: [...SMALL, "-m", "1", "-bios", bios, "-incoming", "defer"] });
    to.run();
    assert.equal(to.runState, "inmigrate");
    assert.equal(await monitorCommand(to, `migrate_incoming "${load}"`), "", load);
    assert.equal(to.runState, "running");
    await until("counting again", () => counter(to) > count + 1000);
    // The one that was saved may go on, too.
    from.run();
    await until("counting on", () => counter(from) > count + 1000);
  }
});

test("a unix socket and a stopped machine; -S keeps it stopped", async () => {
  const bios = countingBios();
  const args = [...SMALL, "-m", "1", "-bios", bios];
  await using from = await createMachine({ args });
  await using to = await createMachine({ args: [...args, "-incoming", "defer"] });
  from.run();
  await until("counting", () => counter(from) > 1000);
  const loaded = to.load(`unix:${at("socket")}`);
  let reply = "";
  // Until the other side listens.
  for (let i = 0; i < 100 && !(reply === "" && i > 0); i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    reply = await monitorCommand(from, `migrate unix:${at("socket")}`);
  }
  await loaded;
  assert.equal(to.runState, "paused");
  assert.equal(counter(to), counter(from));
  assert.deepEqual(partsOf(to), partsOf(from));
});

/** Rows: what is done to a good state or to the machine, and what is said of it. */
const refused: [name: string, damage: (good: Uint8Array) => Uint8Array, args: string[], text: RegExp][] = [
  ["cut in the middle", (b) => b.subarray(0, b.length >> 1), [], /ends in the middle/],
  ["cut at the end", (b) => b.subarray(0, b.length - 1), [], /ends in the middle/],
  ["empty", () => new Uint8Array(0), [], /ends in the middle/],
  ["another file", () => new TextEncoder().encode("#!/bin/sh\necho a program\n"), [], /not a state of a Tandem machine/],
  ["a byte changed", (b) => b.with(b.length >> 1, b[b.length >> 1]! ^ 1) as Uint8Array, [], /wrong checksum/],
  ["a byte of a later format", (b) => b.with(8, 2) as Uint8Array, [], /format 2; this version reads format 1/],
  ["more memory", (b) => b, ["-m", "2"], /shape.memoryBytes is 1048576 there and 2097152 here/],
  ["another processor", (b) => b, ["-cpu", "max"], /shape.cpu.*is/],
  ["more processors", (b) => b, ["-smp", "2"], /shape.cpus is 1 there and 2 here/],
  ["another device", (b) => b, ["-device", "virtio-rng-pci"], /parts\[\d+\] is .* there and virtio-rng-pci@16 here/],
];

test("a state that does not fit ends -incoming with one line and status 1, and touches nothing", async () => {
  const bios = countingBios();
  const args = [...SMALL, "-m", "1", "-bios", bios];
  await using from = await createMachine({ args });
  from.run();
  await until("counting", () => counter(from) > 1000);
  await monitorCommand(from, `migrate file:${at("good")}`);
  const good = new Uint8Array(readFileSync(at("good")));
  for (const [name, damage, more, text] of refused) {
    writeFileSync(at("bad"), damage(good));
    await using to = await createMachine({ args: [...args, ...more, "-incoming", "defer"] });
    const before = partsOf(to);
    await assert.rejects(to.load(`file:${at("bad")}`), { name: "VmError", message: text }, name);
    assert.equal(to.runState, "inmigrate", name);
    assert.equal(counter(to), 0, name);
    assert.deepEqual(partsOf(to), before, name);
    // The good one is still welcome where the machine is the same.
    if (more.length === 0) await to.load(`file:${at("good")}`);
  }
  const r = await program([...args, "-incoming", `file:${at("nothing")}`], async () => {});
  assert.equal(r.status, 1);
  assert.match(r.stderr, /^tandem-system-x86_64: -incoming file:\S+: file:\S+: No such file or directory\n$/);
});

test("a save that fails leaves the machine running", async () => {
  const bios = countingBios();
  await using from = await createMachine({ args: [...SMALL, "-m", "1", "-bios", bios] });
  from.run();
  for (const [uri, text] of [
    ["exec:exit 3", /ended with status 3|EPIPE/],
    ["file:/nowhere/state", /No such file or directory/],
    ["nonsense:x", /unknown migration protocol/],
    ["fd:none", /'none' has not been found/],
    ["exec:head -c 100 > /dev/null; exit 4", /EPIPE|status 4|closed/],
  ] as const) {
    assert.match(await monitorCommand(from, `migrate "${uri}"`), text, uri);
    assert.equal(from.runState, "running", uri);
    const count = counter(from);
    await until(`counting after ${uri}`, () => counter(from) > count);
  }
});

/** Starts the real program; `talk` gets what it prints, and may type. */
async function program(
  args: string[],
  talk: (output: () => string, type: (text: string) => void) => Promise<void>,
): Promise<{ status: number | null; stderr: string; output: string }> {
  const child = spawn(path.join(root, "bin/tandem-system-x86_64"), args, { stdio: ["pipe", "pipe", "pipe"] });
  let output = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (d) => {
    output += d;
  });
  child.stderr.setEncoding("utf8").on("data", (d) => {
    stderr += d;
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  try {
    await talk(
      () => output,
      (text) => child.stdin.write(text),
    );
    const status = await Promise.race([ended, new Promise<null>((resolve) => setTimeout(resolve, 20_000, null))]);
    return { status, stderr, output };
  } finally {
    child.kill("SIGKILL");
  }
}

/** Cursor movement, and what the shell asks of its terminal. */
const SEQUENCES = new RegExp(`${String.fromCharCode(27)}\\[[0-9;?]*[A-Za-z]`, "g");

const WORK =
  "dd if=/dev/urandom of=/tmp/r bs=1M count=8 2>/dev/null; md5sum < /tmp/r > /tmp/sum; i=0; " +
  "while true; do i=$((i+1)); md5sum < /tmp/r | cmp - /tmp/sum || echo BROKEN; echo tick $i at $(cut -d. -f1 /proc/uptime); sleep 0.1; done";

test("the embedded Linux guest with two processors and many devices goes on in another process", {
  timeout: 180_000,
}, async (t) => {
  writeFileSync(at("ide.img"), new Uint8Array(2 ** 20));
  writeFileSync(at("virtio.img"), new Uint8Array(2 ** 20));
  const args = [
    ...["-vga", "std", "-smp", "2", ...guestOptions(root)],
    ...["-drive", `file=${at("ide.img")},format=raw,if=ide,snapshot=on`],
    ...["-drive", `file=${at("virtio.img")},format=raw,if=virtio,snapshot=on`],
    ...["-device", "virtio-rng-pci", "-device", "virtio-balloon-pci", "-device", "virtio-serial-pci"],
  ];
  const guest = await Guest.start(t, args);
  const { machine } = guest;
  await guest.onSerial(/# $/, 90);
  await guest.ask("echo $((6*7))", "42", 30);
  await guest.send(`${WORK}\n`);
  await guest.onSerial(/tick 3 at/, 60);
  assert.equal(await monitorCommand(machine, `migrate file:${at("linux")}`), "");
  const saved = [...guest.serial.matchAll(/tick (\d+) at (\d+)/g)].at(-1)!;

  // In this process: the same state, part by part, also after a second journey.
  const again = await createMachine({ args: ["-display", "none", ...args, "-incoming", "defer"] });
  t.after(() => again[Symbol.asyncDispose]());
  await again.load(`file:${at("linux")}`);
  assert.deepEqual(partsOf(again), partsOf(machine));
  const [a, b] = [boardOf(again).snapshot!().memory(), boardOf(machine).snapshot!().memory()];
  for (const [i, block] of a.entries())
    assert.ok(Buffer.compare(block.bytes, b[i]!.bytes) === 0, `memory ${block.name} is the same`);

  // In another process: it goes on counting, its memory and its clock are whole.
  const r = await program(
    ["-display", "none", "-serial", "stdio", "-monitor", "none", ...args, "-incoming", `exec:cat '${at("linux")}'`],
    async (output, type) => {
      const wanted = Number(saved[1]) + 5;
      await until(`tick ${wanted}`, () => output().includes(`tick ${wanted} at`));
      type("\x03");
      await until("the prompt", () => /# $/.test(output().replaceAll(SEQUENCES, "").replaceAll("\r", "")));
      type(
        "grep -c processor /proc/cpuinfo; dd if=/dev/vda of=/dev/null 2>&1 | tail -1; dd if=/dev/sda of=/dev/null 2>&1 | tail -1; poweroff -f\n",
      );
    },
  );
  assert.equal(r.status, 0, r.output + r.stderr);
  assert.ok(!r.output.includes("BROKEN"), r.output);
  const ticks = [...r.output.matchAll(/tick (\d+) at (\d+)/g)].map((m) => [Number(m[1]), Number(m[2])] as const);
  assert.equal(ticks[0]![0], Number(saved[1]) + 1, r.output);
  for (const [i, [n, seconds]] of ticks.entries()) {
    const [n0, s0] = i === 0 ? [Number(saved[1]), Number(saved[2])] : ticks[i - 1]!;
    assert.equal(n, n0 + 1);
    assert.ok(seconds >= s0 && seconds - s0 < 60, `${s0} to ${seconds}`);
  }
  assert.match(r.output, /\n2\r?\n/);
  assert.equal(r.output.match(/2048\+0 records out/g)?.length, 2, r.output);
});
