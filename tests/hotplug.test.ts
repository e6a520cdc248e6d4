/** PCI hot-plug from the monitor's side; the test plays the guest's ACPI code through the port space. tests/boot has Linux. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { createMachine, type Machine, monitorCommand } from "../src/index.js";
import type { MachineEvent } from "../src/machine/events.js";

const folder = mkdtempSync(path.join(tmpdir(), "tandem-hotplug-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const image = path.join(folder, "disk.img");
writeFileSync(image, new Uint8Array(2 ** 20));

const ARGS = ["-S", "-display", "none", "-nodefaults", "-m", "8"];
const BLOCKDEV = ["-blockdev", JSON.stringify({ driver: "raw", "node-name": "n0", file: { driver: "file", filename: image } })];

function ports(machine: Machine) {
  const io = machine.inspect.addressSpaces()[1]!;
  return { in: (at: number) => io.read(at, 4), out: (at: number, value: number) => io.write(at, 4, value) };
}

const slots = (machine: Machine) => machine.inspect.pciFunctions().map((f) => f.device.devfn >> 3);

async function deleted(machine: Machine, action: () => void): Promise<MachineEvent> {
  return new Promise((resolve) => {
    const listening = machine.occurred.on((e) => {
      if (e.type !== "device-deleted") return;
      listening.dispose();
      resolve(e);
    });
    action();
  });
}

test("a disk comes and goes, twice, with its node free in between", async () => {
  await using machine = await createMachine({ args: [...ARGS, ...BLOCKDEV] });
  const p = ports(machine);
  for (let round = 0; round < 2; round++) {
    assert.equal(await monitorCommand(machine, "device_add virtio-blk-pci,drive=n0,id=disk,addr=0x7,bootindex=1"), "");
    assert.ok(slots(machine).includes(7));
    assert.equal(machine.nodeDevice("n0"), "/machine/peripheral/disk/virtio-backend");
    assert.equal(p.in(0xae00), 1 << 7);
    assert.equal(p.in(0xae00), 0);
    assert.equal(p.in(0xafe0) & 2, 2);
    assert.match(await monitorCommand(machine, "device_add virtio-blk-pci,drive=n0"), /already in use/);
    assert.match(await monitorCommand(machine, "device_add virtio-rng-pci,id=disk"), /Duplicate device ID 'disk'/);
    assert.match(await monitorCommand(machine, "device_add virtio-rng-pci,addr=7"), /slot 07\.0 is in use/);
    assert.equal(await monitorCommand(machine, "device_del disk"), "");
    assert.equal(p.in(0xae04), 1 << 7);
    assert.ok(slots(machine).includes(7), "it stays until the guest ejects it");
    const event = await deleted(machine, () => p.out(0xae08, 1 << 7));
    assert.deepEqual(event, { type: "device-deleted", id: "disk", path: "/machine/peripheral/disk" });
    assert.ok(!slots(machine).includes(7));
    assert.equal(p.in(0xae04), 0);
    assert.match(await monitorCommand(machine, "device_del disk"), /Device 'disk' not found/);
  }
});

test("a network card and its network, a balloon, a serial bus; what fails leaves nothing behind", async () => {
  await using machine = await createMachine({ args: [...ARGS, "-netdev", "user,id=net0"] });
  const p = ports(machine);
  const before = machine.inspect.pciFunctions().length;
  for (const bad of [
    "virtio-net-pci,netdev=nothing",
    "virtio-blk-pci",
    "virtio-blk-pci,drive=nothing",
    "virtio-rng-pci,addr=0.3",
    "virtio-rng-pci,max-bytes=x",
    "no-such-device",
    "VGA",
    "isa-serial",
    "virtio-rng-pci,bus=pci.9",
    "virtio-rng-pci,id=1x",
    "",
  ])
    assert.notEqual(await monitorCommand(machine, `device_add ${bad}`), "", bad);
  assert.equal(machine.inspect.pciFunctions().length, before);
  for (const [n, device] of ["virtio-net-pci,netdev=net0", "virtio-balloon-pci", "virtio-serial-pci"].entries())
    for (let round = 0; round < 2; round++) {
      assert.equal(await monitorCommand(machine, `device_add ${device},id=d${n},addr=${(n + 8).toString(16)}`), "", device);
      assert.equal(await monitorCommand(machine, `device_del d${n}`), "");
      await deleted(machine, () => p.out(0xae08, 2 ** (n + 8)));
    }
  assert.equal(machine.inspect.pciFunctions().length, before);
  assert.equal(machine.inspect.balloon, undefined);
});

test("a reset finishes an unplug that the guest has not answered; a cold-plugged device can go, too", async () => {
  await using machine = await createMachine({ args: [...ARGS, "-device", "virtio-rng-pci,id=r,addr=5"] });
  assert.equal(await monitorCommand(machine, "device_del r"), "");
  const event = await deleted(machine, () => machine.reset());
  assert.equal(event.type === "device-deleted" && event.id, "r");
  assert.ok(!slots(machine).includes(5));
  // An eject of an empty slot, and of one whose devices stay, does nothing.
  const before = slots(machine);
  ports(machine).out(0xae08, 1 << 5);
  ports(machine).out(0xae08, 1 << 1);
  ports(machine).out(0xae08, 1);
  assert.deepEqual(slots(machine), before);
});
