/** The pseries machine: SLOF, the embedded guest started directly and by firmware, its processors, interrupts and devices. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Guest } from "../../testkit/guest.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const images = path.join(root, "guests/ppc64le");
const KERNEL = ["-kernel", path.join(images, "vmlinux.zst"), "-initrd", path.join(images, "initrd.lz4")];
const PROMPT = /~ # (?!.)/;

/** Behind it the cursor is saved. */
const SLOF_PROMPT = /\d > .7$/;

test("SLOF without a disk: the Forth prompt, devices, reset, power off", async (t) => {
  const guest = await Guest.start(t, ["-m", "256", "-nic", "none", "-device", "virtio-rng-pci"], "ppc64");
  const ready = await guest.onSerial("Ready!", 120);
  await guest.onSerial(SLOF_PROMPT, 30, ready);
  assert.match(guest.serial, /1af4 1005/, "the PCI function it has found");
  await guest.send("1 2 + .\r");
  await guest.onSerial(/1 2 \+ \.\S*\s+3 +ok/, 30);
  await guest.send('s" /vdevice" find-device pwd\r');
  await guest.onSerial(/\/vdevice +ok/, 30);
  const before = guest.serial.length;
  await guest.send("reset-all\r");
  const again = await guest.onSerial("Ready!", 120, before);
  await guest.onSerial(SLOF_PROMPT, 30, again);
  await guest.send("power-off\r");
  assert.equal((await guest.machine.ended).reason, "guest-shutdown");
});

/** Rows: machines, how their kernel is started, and what it says of them. */
const machines: readonly [name: string, args: string[], says: RegExp[], asks: [command: string, answer: RegExp][]][] = [
  [
    "POWER9, radix, XICS, started directly",
    [],
    [/Using radix MMU under hypervisor/, /Freeing initrd memory/],
    [
      ["uname -m", /ppc64le/],
      ["grep -E '^(cpu|MMU)' /proc/cpuinfo", /POWER9 \(architected\)[\s\S]*Radix/],
      ["cat /proc/interrupts", /XICS[\s\S]*hvc_console/],
      ["date +%Y", /20\d\d/],
    ],
  ],
  [
    "POWER8, hashed page table",
    ["-cpu", "POWER8"],
    [/Initializing hash mmu with SLB/],
    [["grep -E '^(cpu|MMU)' /proc/cpuinfo", /POWER8 \(architected\)[\s\S]*Hash/]],
  ],
  [
    "two processors, XIVE, virtio by messages",
    [
      "-smp",
      "2",
      "-machine",
      "ic-mode=xive",
      "-device",
      "virtio-rng-pci",
      "-drive",
      "if=virtio,file=DISK,format=raw,readonly=on",
    ],
    [/xive: Interrupt handling initialized with spapr backend/, /Brought up 1 node, 2 CPUs/],
    [
      ["cat /proc/interrupts", /XIVE[\s\S]*virtio/],
      ["cat /sys/block/vda/size", /\b16\b/],
      ["dd if=/dev/vda bs=512 count=1 2>/dev/null | head -c 20", /a disk of ours/],
      ["dd if=/dev/hwrng bs=8 count=1 2>/dev/null | wc -c", /\b8\b/],
      ["taskset 2 sh -c 'echo on $(cut -d\" \" -f39 /proc/self/stat)'", /on 1/],
    ],
  ],
  [
    "by SLOF, which agrees on the architecture with it",
    ["-bios", "slof.bin", "-smp", "2", "-device", "virtio-serial-pci"],
    [/Calling ibm,client-architecture-support\.\.\. done/, /xive: Interrupt handling/, /Using radix MMU/],
    [["cat /proc/device-tree/chosen/bootargs", /console=hvc0/]],
  ],
];

for (const [name, args, says, asks] of machines)
  test(`the embedded ppc64le guest: ${name}`, async (t) => {
    const disk = path.join(await temporary(t), "disk");
    await writeDisk(disk);
    const guest = await Guest.start(
      t,
      ["-m", "256", "-nic", "none", ...args.map((a) => a.replace("DISK", disk)), ...KERNEL, "-append", "console=hvc0"],
      "ppc64",
    );
    await guest.onSerial(PROMPT, 240);
    for (const line of says) assert.match(guest.serial, line);
    for (const [command, answer] of asks) assert.match(await guest.ask(command, PROMPT, 60), answer, command);
    assert.doesNotMatch(guest.serial, /Oops|BUG:|WARNING:|Call Trace/);
    await guest.send("poweroff\n");
    assert.equal((await guest.machine.ended).reason, "guest-shutdown");
  });

test("the embedded ppc64le guest: reboot comes back, the power button reaches it", async (t) => {
  const guest = await Guest.start(t, ["-m", "256", ...KERNEL, "-append", "console=hvc0 quiet"], "ppc64");
  const up = await guest.onSerial(PROMPT, 240);
  await guest.send("reboot\n");
  const again = await guest.onSerial("BusyBox", 240, up);
  const prompt = await guest.onSerial(PROMPT, 60, again);
  guest.machine.powerdown();
  await guest.onSerial("Power off requested", 60, prompt);
});

async function temporary(t: TestContext): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "tandem-pseries-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A disk of 16 sectors. */
async function writeDisk(file: string): Promise<void> {
  const bytes = Buffer.alloc(8192);
  bytes.write("a disk of ours\n");
  await writeFile(file, bytes);
}
