/** Kernels by -kernel: the embedded guest, memory testers, a multiboot game. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { debianTest } from "../../testkit/debian.js";
import { Guest } from "../../testkit/guest.js";

const images = fileURLToPath(new URL("../../guests/x86_64/", import.meta.url));
const EMBEDDED = ["-m", "256", "-kernel", `${images}bzImage`, "-initrd", `${images}initrd.lz4`];

/** Rows: what is different, and the options. */
const starts: [name: string, options: string[]][] = [
  ["without firmware", ["-vga", "none", "-append", "console=ttyS0"]],
  ["from the boot ROM", ["-append", "console=ttyS0"]],
  ["on two vCPUs", ["-smp", "2", "-vga", "none", "-append", "console=ttyS0"]],
];

for (const [name, options] of starts)
  test(`embedded guest ${name}: shell, uname, power off`, async (t) => {
    const guest = await Guest.start(t, [...EMBEDDED, ...options]);
    await guest.onSerial("~ # ", 120);
    assert.match(await guest.ask("uname -m", "~ # ", 30), /^x86_64$/m);
    if (options.includes("-smp")) assert.match(await guest.ask("grep -c ^processor /proc/cpuinfo", "~ # ", 30), /^2$/m);
    assert.doesNotMatch(guest.serial, /BUG:|WARNING:|Call Trace|MTRRs disabled|DMI not present/);
    await guest.send("poweroff\n");
    assert.deepEqual(await guest.end(60), { reason: "guest-shutdown", status: 0 });
  });

test("embedded guest on the screen and keyboard: shell, reboot", async (t) => {
  const guest = await Guest.start(t, EMBEDDED);
  await guest.onScreen(/~ #$/, 120);
  await guest.type("uname -m\n");
  await guest.onScreen(/^x86_64$/m, 30);
  await guest.type("reboot\n");
  await guest.onScreen(/^SeaBIOS|Linux version|BusyBox/m, 120);
  await guest.onScreen(/~ #$/, 120);
  assert.equal(guest.ended, undefined);
});

for (const file of ["memtest86+x64.bin", "memtest86+ia32.bin"])
  debianTest(`${file} tests memory for a while`, [{ package: "memtest86+", path: `/boot/${file}` }], async (t) => {
    const guest = await Guest.start(t, ["-m", "32", "-kernel", `/boot/${file}`], file.includes("x64") ? "x86_64" : "i386");
    await guest.onScreen(/Memtest86\+ v6/, 60);
    const screen = await guest.onScreen(/Test #([3-9]|10) /, 180);
    assert.match(screen, /Errors: 0/);
  });

debianTest(
  "GRUB Invaders (multiboot): its first frame",
  [{ package: "grub-invaders", path: "/boot/invaders.exec" }],
  async (t) => {
    const guest = await Guest.start(t, ["-m", "32", "-kernel", "/boot/invaders.exec"]);
    const screen = await guest.onScreen(/-\*-[\s\S]*\/ \\/, 60);
    const surface = guest.machine.inspect.display()!.refresh();
    assert.deepEqual([surface.width, surface.height], [720, 400]);
    assert.ok(surface.pixels.some((p) => p !== 0));
    await guest.press("spc");
    await delay(500);
    assert.notEqual(guest.screen, screen);
  },
);
