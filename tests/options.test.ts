/** Options that change what the guest sees: the embedded guest tells. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Guest } from "../testkit/guest.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), "tandem-options-"));
after(() => rmSync(folder, { recursive: true, force: true }));
/** Many times what a slow machine needs. */
const LIMIT_SEC = 180;

const PROMPT = "~ # ";
const embedded = (append = "console=ttyS0 quiet tsc=reliable no_timer_check") => [
  ...["-m", "256", "-kernel", path.join(root, "guests/x86_64/bzImage"), "-initrd", path.join(root, "guests/x86_64/initrd.lz4")],
  ...["-append", append],
];

async function boot(t: TestContext, ...args: string[]): Promise<Guest> {
  const guest = await Guest.start(t, ["-vga", "none", ...embedded(), ...args]);
  await guest.onSerial(PROMPT, LIMIT_SEC);
  return guest;
}

async function powerOff(guest: Guest): Promise<void> {
  await guest.send("poweroff\n");
  assert.deepEqual(await guest.end(LIMIT_SEC), { reason: "guest-shutdown", status: 0 });
}

/** Rows: options, a line for the guest's shell, and what it must answer before the next prompt. */
const rows: [options: string[], line: string, answer: RegExp][] = [
  [["-smp", "2"], "nproc; grep -c ^processor /proc/cpuinfo", /^2\n2\n/],
  [["-smp", "2"], "for m in 1 2; do taskset $m cut -d' ' -f39 /proc/self/stat; done", /^0\n1\n/],
  [["-smp", "4,sockets=2"], "(cd /proc; nproc; grep ^phys cpuinfo | sort -u | wc -l)", /^4\n2\n/],
  [["-m", "512"], "grep MemTotal /proc/meminfo", /^MemTotal: +(4[89]|5[012])\d{4} kB\n/],
  [["-cpu", "Nehalem"], "(cd /proc; grep -o Nehalem cpuinfo; grep -ow sse4_2 cpuinfo)", /^Nehalem\nsse4_2\n/],
  [["-cpu", "qemu64,+rdrand,-sse3"], "(cd /proc; grep -ow rdrand cpuinfo; grep -cw pni cpuinfo)", /^rdrand\n0\n/],
  [["-rtc", "base=2001-02-03T04:05:06"], "date -u +%Y-%m-%d,%H", /^2001-02-03,04\n/],
  [["-rtc", "base=2001-02-03T04:05:06,clock=vm"], "date -u +%Y-%m-%d,%H", /^2001-02-03,04\n/],
  [["-device", "virtio-rng-pci"], "head -c 8 /dev/hwrng | wc -c", /^8\n/],
  [
    ["-drive", "file=DISK,format=raw,if=virtio,readonly=on"],
    "(cd /sys/block/vda; cat size ro; echo x > /dev/vda)",
    /^2048\n1\n.*(not permitted|Read-only|denied|error)/,
  ],
];

test("options as the guest sees them", async (t) => {
  const disk = path.join(folder, "rows.img");
  writeFileSync(disk, Buffer.alloc(1 << 20));
  for (const [options, line, answer] of rows)
    await t.test(options.join(" "), async (t) => {
      const guest = await boot(t, ...options.map((o) => o.replace("DISK", disk)));
      const said = (await guest.ask(line, `\n${PROMPT}`, LIMIT_SEC)).replace(/^\n/, "");
      assert.match(said, answer, line);
      await powerOff(guest);
    });
});

test("-icount: two runs are the same to the nanosecond", async (t) => {
  const logs: string[] = [];
  for (let i = 0; i < 2; i++) {
    const guest = await Guest.start(t, [
      ...["-vga", "none", "-icount", "shift=0,sleep=off", "-rtc", "base=2001-02-03,clock=vm"],
      ...embedded("console=ttyS0 panic=-1 rdinit=/bin/false"),
      "-no-reboot",
    ]);
    await guest.end(LIMIT_SEC);
    logs.push(guest.serial);
  }
  assert.match(logs[0]!, /Attempted to kill init/);
  assert.equal(logs[1], logs[0]);
});

/** Rows: how the disk is opened, and whether what the guest writes is in the file afterwards. */
const disks: [options: string[], kept: boolean][] = [
  [["-drive", "file=DISK,format=raw,if=virtio"], true],
  [["-drive", "file=DISK,format=raw,if=virtio,snapshot=on"], false],
  [["-snapshot", "-drive", "file=DISK,format=raw,if=virtio"], false],
];

test("writes go to the file, those of a snapshot to memory", async (t) => {
  for (const [options, kept] of disks)
    await t.test(options.join(" "), async (t) => {
      const disk = path.join(folder, "write.img");
      writeFileSync(disk, Buffer.alloc(1 << 20));
      const guest = await boot(t, ...options.map((o) => o.replace("DISK", disk)));
      await guest.ask("echo hello > /dev/vda; sync; head -c5 /dev/vda", "hello", LIMIT_SEC);
      await powerOff(guest);
      assert.equal(readFileSync(disk).subarray(0, 5).toString(), kept ? "hello" : "\0\0\0\0\0");
      assert.equal(statSync(disk).size, 1 << 20);
    });
});

test("-serial file:, a second serial port, -monitor none", () => {
  const ports = [path.join(folder, "com1"), path.join(folder, "com2")];
  for (const [n, used] of ports.entries()) {
    const { status, stderr } = spawnSync(
      path.join(root, "bin/tandem-system-x86_64"),
      [
        ...["-display", "none", "-monitor", "none", "-vga", "none", ...ports.flatMap((p) => ["-serial", `file:${p}`])],
        ...embedded(`console=ttyS${n} panic=-1 rdinit=/bin/false`),
        "-no-reboot",
      ],
      { encoding: "utf8", timeout: LIMIT_SEC * 1000 },
    );
    assert.equal(status, 0, stderr);
    for (const p of ports)
      assert.equal(readFileSync(p, "latin1").includes("Attempted to kill init"), p === used, `console=ttyS${n}: ${p}`);
  }
});
