/** The same boots on KVM. What a KVM without hardware lacks, the translator runs; both are told apart in `info kvm`. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { guestOptions } from "../../src/cli/verbs/run.js";
import { needsPackage } from "../../testkit/debian.js";
import { Guest } from "../../testkit/guest.js";
import { kvmTest } from "../../testkit/kvm.js";

const KVM = ["-accel", "kvm"];

kvmTest("SeaBIOS finds nothing to boot, on KVM", async (t) => {
  const guest = await Guest.start(t, [...KVM, "-m", "64"]);
  assert.match(await guest.onScreen("No bootable device.", 60), /^SeaBIOS \(version 1\.16\.2/);
  assert.equal(guest.machine.accelerator, "kvm");
});

/** A boot sector that says what it is on the first serial port, through ports alone. */
function bootSector(text: string): Uint8Array {
  // cs: lodsb; test al,al; jz; out dx,al; jmp; hlt
  const code = [0xbe, 0x12, 0x7c, 0xba, 0xf8, 0x03, 0x2e, 0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf7, 0xf4, 0xeb, 0xfd];
  const sector = new Uint8Array(512);
  sector.set(code);
  sector.set(new TextEncoder().encode(text), code.length);
  sector.set([0x55, 0xaa], 510);
  return sector;
}

function imageFile(t: TestContext, bytes: number, head: Uint8Array): string {
  const dir = mkdtempSync(path.join(tmpdir(), "tandem-kvm-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const image = new Uint8Array(bytes);
  image.set(head);
  const file = path.join(dir, "image.raw");
  writeFileSync(file, image);
  return file;
}

for (const [where, bytes, options] of [
  ["floppy", 1474560, (f: string) => ["-boot", "a", "-drive", `file=${f},if=floppy,format=raw`]],
  ["disk", 1 << 20, (f: string) => ["-boot", "c", "-drive", `file=${f},if=ide,format=raw`]],
] as const)
  kvmTest(`a boot sector from ${where}, on KVM`, async (t) => {
    const file = imageFile(t, bytes, bootSector("a sector speaks"));
    const guest = await Guest.start(t, [...KVM, "-m", "64", ...options(file)]);
    await guest.onSerial("a sector speaks", 60);
  });

kvmTest("grub-invaders draws its first frame, on KVM", async (t) => {
  if (!needsPackage(t, "grub-invaders", "/boot/invaders.exec")) return;
  const guest = await Guest.start(t, [...KVM, "-m", "64", "-kernel", "/boot/invaders.exec"]);
  await guest.onScreen(/-\*-\s+-\*-/, 60);
});

kvmTest("GRUB from a CD says Welcome, on KVM", async (t) => {
  const iso = "/usr/lib/grub-rescue/grub-rescue-cdrom.iso";
  if (!needsPackage(t, "grub-rescue-pc", iso)) return;
  const guest = await Guest.start(t, [...KVM, "-m", "64", "-boot", "d", "-cdrom", iso]);
  await guest.onScreen(/Welcome to GRUB!|GNU GRUB/, 60);
});

kvmTest("U-Boot goes past its 32-bit IRET to its prompt, on KVM", async (t) => {
  const rom = "/usr/lib/u-boot/qemu-x86/u-boot.rom";
  if (!needsPackage(t, "u-boot-qemu", rom)) return;
  // Without display: the video BIOS reads beyond a segment's limit in real mode, which a processor refuses and TCG does not.
  const guest = await Guest.start(t, [...KVM, "-m", "128", "-vga", "none", "-bios", rom], "i386");
  await guest.onSerial("Hit any key to stop autoboot", 60);
  await guest.send(" ");
  await guest.onSerial(/^=> /m, 60);
});

kvmTest("the embedded Linux guest gets to its shell, on KVM", async (t) => {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const guest = await Guest.start(t, [...guestOptions(root, "kvm"), ...KVM, "-vga", "none"]);
  await guest.onSerial("~ # ", 120);
  assert.match(await guest.ask("echo $((6 * 7))", "42", 60), /42/);
});

kvmTest("two vCPUs come up under Linux, on KVM", async (t) => {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const guest = await Guest.start(t, [...guestOptions(root, "kvm"), ...KVM, "-smp", "2", "-vga", "none"]);
  await guest.onSerial("~ # ", 120);
  await guest.ask("echo n=$(nproc)", "n=2", 60);
});

kvmTest("memtest86+ goes past FWAIT into its tests, on KVM", async (t) => {
  const image = "/boot/memtest86+x64.bin";
  if (!needsPackage(t, "memtest86+", image)) return;
  const guest = await Guest.start(t, [...KVM, "-m", "64", "-kernel", image]);
  await guest.onScreen(/Pass\s+\d+%[\s\S]*Test\s+\d+%/, 60);
});

kvmTest("OVMF goes past SEC, on KVM", async (t) => {
  const image = "/usr/share/ovmf/OVMF.fd";
  if (!needsPackage(t, "ovmf", image)) return;
  const guest = await Guest.start(t, [...KVM, "-m", "128", "-vga", "none", "-bios", image]);
  // The terminal is cleared by DXE's console driver, long after SEC.
  await guest.onSerial(/\S/, 60);
});
