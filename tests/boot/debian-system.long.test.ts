/**
 * A Debian 12 system with systemd, from disk to login prompt: on virtio and on IDE. The image is made by
 * tools/make-debian-rootfs.sh; TANDEM_ROOTFS names its folder, else it is made in the cache folder (root and network needed).
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { needsPackage } from "../../testkit/debian.js";
import { Guest } from "../../testkit/guest.js";

const script = fileURLToPath(new URL("../../tools/make-debian-rootfs.sh", import.meta.url));
const folder =
  process.env.TANDEM_ROOTFS ?? path.join(process.env.XDG_CACHE_HOME ?? path.join(homedir(), ".cache"), "tandem/debian-12-amd64");

/** Whether the image is there, or could be made. */
function image(t: TestContext): boolean {
  if (existsSync(path.join(folder, "rootfs.img"))) return true;
  if (!needsPackage(t, "debootstrap", "/usr/sbin/debootstrap")) return false;
  if (process.getuid?.() !== 0) {
    t.skip(`making ${folder} with debootstrap needs root`);
    return false;
  }
  const { status, stderr } = spawnSync(script, [folder], { encoding: "utf8", maxBuffer: 2 ** 26 });
  assert.equal(status, 0, stderr);
  return true;
}

/** Rows: interface, the disk's name in the guest. */
for (const [kind, disk] of [
  ["virtio", "vda"],
  ["ide", "sda"],
] as const)
  test(`Debian 12 with systemd on ${kind}: login, state of the system, power off`, async (t) => {
    if (!image(t)) return;
    const guest = await Guest.start(t, [
      ...["-m", "512", "-vga", "none", "-kernel", path.join(folder, "vmlinuz"), "-initrd", path.join(folder, "initrd.img")],
      ...["-append", `console=ttyS0 root=/dev/${disk}`],
      ...["-drive", `file=${path.join(folder, "rootfs.img")},format=raw,if=${kind},snapshot=on`],
      ...["-device", "virtio-rng-pci"],
    ]);
    const prompt = await guest.onSerial("tandem login: ", 900);
    await guest.send("root\n");
    await guest.onSerial("tandem# ", 180, prompt);
    const state = await guest.ask("systemctl is-system-running --wait", /^(running|degraded|starting|maintenance)$/m, 300);
    assert.match(state, /^running$/m);
    assert.match(await guest.ask("findmnt -no SOURCE /", "tandem# ", 60), new RegExp(`^/dev/${disk}$`, "m"));
    // Everything read once, and a file that was written, read back.
    await guest.ask(
      "dd if=/dev/urandom of=/root/a bs=1M count=16 && sync && md5sum </root/a >/root/sum; echo written",
      /^written$/m,
      180,
    );
    await guest.ask("echo 3 >/proc/sys/vm/drop_caches; md5sum </root/a | cmp - /root/sum && echo same", /^same$/m, 120);
    assert.doesNotMatch(guest.serial, /BUG:|Call Trace|segfault|I\/O error|EXT4-fs error|Failed to start/);
    await guest.send("systemctl poweroff\n");
    assert.deepEqual(await guest.end(180), { reason: "guest-shutdown", status: 0 });
  });
