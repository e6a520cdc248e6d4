/** The machine with nothing but its firmware, with other firmware, and with boot loaders from Debian packages. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { debianTest } from "../../testkit/debian.js";
import { Guest } from "../../testkit/guest.js";

test("SeaBIOS finds nothing to boot", async (t) => {
  const guest = await Guest.start(t, ["-m", "64"]);
  const screen = await guest.onScreen("No bootable device.", 60);
  assert.match(screen, /^SeaBIOS \(version 1\.16\.2/);
  // -boot order is cad.
  assert.match(screen, /Floppy[\s\S]*DVD\/CD[\s\S]*Hard Disk|Hard Disk[\s\S]*Floppy[\s\S]*DVD\/CD/);
});

test("SeaBIOS talks on the serial port with -nographic", async (t) => {
  const guest = await Guest.start(t, ["-machine", "graphics=off", "-m", "64"]);
  await guest.onSerial("No bootable device.", 60);
  assert.match(guest.serial, /SeaBIOS \(version/);
});

debianTest(
  "GRUB from a CD: prompt, ls",
  [{ package: "grub-rescue-pc", path: "/usr/lib/grub-rescue/grub-rescue-cdrom.iso" }],
  async (t) => {
    const guest = await Guest.start(t, ["-m", "64", "-boot", "d", "-cdrom", "/usr/lib/grub-rescue/grub-rescue-cdrom.iso"]);
    await guest.onScreen("GNU GRUB", 120);
    await guest.type("c");
    await guest.onScreen(/^grub>/m, 60);
    await guest.type("ls\n");
    await guest.onScreen(/\(cd\)/, 60);
  },
);

debianTest(
  "GRUB from a floppy: prompt, ls",
  [{ package: "grub-rescue-pc", path: "/usr/lib/grub-rescue/grub-rescue-floppy.img" }],
  async (t) => {
    const image = "/usr/lib/grub-rescue/grub-rescue-floppy.img";
    const guest = await Guest.start(t, ["-m", "64", "-boot", "a", "-drive", `file=${image},if=floppy,format=raw,readonly=on`]);
    await guest.onScreen("GNU GRUB", 120);
    await guest.type("c");
    await guest.onScreen(/^grub>/m, 60);
    await guest.type("ls\n");
    await guest.onScreen(/\(fd0\)/, 60);
  },
);

debianTest("iPXE as a kernel: its shell", [{ package: "ipxe", path: "/boot/ipxe.lkrn" }], async (t) => {
  const guest = await Guest.start(t, ["-m", "64", "-kernel", "/boot/ipxe.lkrn"]);
  await guest.onScreen("Ctrl-B", 120);
  await guest.press("ctrl-b");
  await guest.onScreen(/^iPXE>/m, 60);
});

debianTest("iPXE from a CD", [{ package: "ipxe", path: "/usr/lib/ipxe/ipxe.iso" }], async (t) => {
  const guest = await Guest.start(t, ["-m", "64", "-boot", "d", "-cdrom", "/usr/lib/ipxe/ipxe.iso"]);
  const screen = await guest.onScreen(/iPXE initialising devices\.\.\.ok[\s\S]*Features:/, 120);
  assert.match(screen, /ISOLINUX/);
});

for (const [name, arch] of [
  ["qemu-x86", "i386"],
  ["qemu-x86_64", "x86_64"],
] as const)
  debianTest(
    `U-Boot (${name}) as -bios: its prompt, version`,
    [{ package: "u-boot-qemu", path: `/usr/lib/u-boot/${name}/u-boot.rom` }],
    async (t) => {
      const guest = await Guest.start(t, ["-m", "256", "-bios", `/usr/lib/u-boot/${name}/u-boot.rom`], arch);
      await guest.onSerial("Hit any key to stop autoboot", 120);
      await guest.send(" ");
      await guest.onSerial(/^=> /m, 60);
      assert.match(await guest.ask("version", /=> $/, 30), /U-Boot 20\d\d/);
    },
  );

debianTest("OVMF as -bios: the UEFI shell", [{ package: "ovmf", path: "/usr/share/ovmf/OVMF.fd" }], async (t) => {
  const guest = await Guest.start(t, ["-m", "256", "-bios", "/usr/share/ovmf/OVMF.fd"]);
  await guest.onSerial("UEFI Interactive Shell", 300);
  await guest.send(" ");
  await guest.onSerial("Shell> ", 60);
  await guest.send("ver\r");
  await guest.onSerial("UEFI v2.", 60, guest.serial.lastIndexOf("Shell> "));
});
