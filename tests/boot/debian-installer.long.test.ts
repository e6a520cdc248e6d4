/** Debian 12's installer, all architectures: kernel, its 50 MiB of initial RAM disk, and the first dialog. */
import assert from "node:assert/strict";
import { debianTest } from "../../testkit/debian.js";
import { Guest } from "../../testkit/guest.js";

for (const [arch, debian, kernel, console, firmware] of [
  ["x86_64", "amd64", "linux", "ttyS0", []],
  ["i386", "i386", "linux", "ttyS0", []],
  ["ppc64", "ppc64el", "vmlinux", "hvc0", []],
  ["ppc64", "ppc64el", "vmlinux", "hvc0", ["-bios", "slof.bin"]],
] as const) {
  const folder = `/usr/lib/debian-installer/images/12/${debian}/text/debian-installer/${debian}`;
  debianTest(
    `Debian installer, ${[debian, ...firmware].join(" ")}: the language dialog on the serial console`,
    [{ package: `debian-installer-12-netboot-${debian}`, path: `${folder}/${kernel}` }],
    async (t) => {
      const guest = await Guest.start(
        t,
        [
          "-m",
          "1024",
          "-vga",
          "none",
          "-kernel",
          `${folder}/${kernel}`,
          "-initrd",
          `${folder}/initrd.gz`,
          "-append",
          `console=${console}`,
          ...firmware,
        ],
        arch,
      );
      await guest.onSerial("Linux version", 120);
      await guest.onSerial("Run /init as init process", 300);
      await guest.onSerial("Select a language", 600);
      await guest.onSerial(/English[\s\S]*<Go Back>/, 60);
      assert.doesNotMatch(guest.serial, /BUG:|WARNING:|Call Trace|segfault|MTRRs disabled/);
    },
  );
}
