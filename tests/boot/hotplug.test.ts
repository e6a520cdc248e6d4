/** Debian's kernel sees a disk come and go through ACPI. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after } from "node:test";
import { monitorCommand } from "../../src/index.js";
import { debianTest, type PackageFile } from "../../testkit/debian.js";
import { Guest } from "../../testkit/guest.js";

const folder = mkdtempSync(path.join(tmpdir(), "tandem-hotplug-boot-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const [version] = readdirSync("/boot")
  .filter((f) => /^vmlinuz-.*-amd64$/.test(f))
  .map((f) => f.slice("vmlinuz-".length));
const NEEDS: PackageFile[] = [
  { package: "linux-image-amd64", path: `/boot/vmlinuz-${version}` },
  { package: "busybox-static", path: "/usr/bin/busybox" },
];

/** In the order of their dependencies. */
const MODULES = [
  "virtio/virtio_ring",
  "virtio/virtio",
  "virtio/virtio_pci_legacy_dev",
  "virtio/virtio_pci_modern_dev",
  "virtio/virtio_pci",
  "block/virtio_blk",
];

/** An initial file system: busybox, the modules, a shell. */
function initramfs(): string {
  const root = path.join(folder, "root");
  for (const d of ["bin", "dev", "proc", "sys", "lib"]) mkdirSync(path.join(root, d), { recursive: true });
  copyFileSync("/usr/bin/busybox", path.join(root, "bin/busybox"));
  for (const m of MODULES)
    copyFileSync(`/lib/modules/${version}/kernel/drivers/${m}.ko`, path.join(root, "lib", `${path.basename(m)}.ko`));
  const lines = [
    "#!/bin/busybox sh",
    "/bin/busybox --install -s /bin",
    "mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev",
    ...MODULES.map((m) => `insmod /lib/${path.basename(m)}.ko`),
    "exec setsid cttyhack sh",
  ];
  writeFileSync(path.join(root, "init"), `${lines.join("\n")}\n`, { mode: 0o755 });
  const file = path.join(folder, "initrd");
  execFileSync("sh", ["-c", `cd '${root}' && find . | cpio -o -H newc 2>/dev/null | gzip -1 > '${file}'`]);
  return file;
}

debianTest("a disk comes, is read, and goes", NEEDS, async (t) => {
  const image = path.join(folder, "disk.img");
  writeFileSync(image, new Uint8Array(2 ** 20).fill(0x41));
  const guest = await Guest.start(t, [
    ...["-m", "256", "-kernel", `/boot/vmlinuz-${version}`, "-initrd", initramfs(), "-vga", "none"],
    ...["-append", "console=ttyS0 quiet tsc=reliable tsc_early_khz=1000000 no_timer_check", "-cpu", "qemu64,+tsc-deadline"],
    ...["-blockdev", JSON.stringify({ driver: "raw", "node-name": "n0", file: { driver: "file", filename: image } })],
  ]);
  await guest.onSerial("/ # ", 240);
  const { machine } = guest;
  const gone = new Promise<void>((resolve) => {
    machine.occurred.on((e) => {
      if (e.type === "device-deleted" && e.id === "disk") resolve();
    });
  });
  assert.equal(await monitorCommand(machine, "device_add virtio-blk-pci,drive=n0,id=disk"), "");
  await guest.ask("while [ ! -b /dev/vda ]; do sleep 1; done; echo $((6*7))", "\n42\n", 60);
  assert.match(await guest.ask("dd if=/dev/vda bs=4k | md5sum; echo $((5*8))", "\n40\n", 60), /[0-9a-f]{32}/);
  assert.equal(await monitorCommand(machine, "device_del disk"), "");
  await guest.ask("while [ -b /dev/vda ]; do sleep 1; done; echo $((6*8))", "\n48\n", 60);
  await gone;
  assert.doesNotMatch(guest.serial, /BUG:|Call Trace|ACPI Error|ACPI BIOS Error/);
});
