import assert from "node:assert/strict";
import { test } from "node:test";
import { AcpiPciHotplug } from "./acpi-pci-hotplug.js";

function make() {
  const log: string[] = [];
  const device = new AcpiPciHotplug({
    notify: () => log.push("notify"),
    onEject: (slot) => log.push(`eject ${slot}`),
    removable: () => 0x8000_0008,
  });
  return { device, log };
}

test("a plugged slot is told once, one that should go until it has gone", () => {
  const { device, log } = make();
  device.plugged(31);
  device.plugged(3);
  assert.equal(device.read(0, 4), 0x8000_0008);
  assert.equal(device.read(0, 4), 0);
  device.requestUnplug(4);
  assert.equal(device.read(4, 4), 0x10);
  assert.equal(device.read(4, 4), 0x10);
  assert.ok(device.unplugRequested(4));
  device.emptied(4);
  assert.equal(device.read(4, 4), 0);
  assert.deepEqual(log, ["notify", "notify", "notify"]);
});

/** Rows: a write, and what it ejects. */
const ejects: [value: number, slot: string | undefined][] = [
  [1, "eject 0"],
  [0x10, "eject 4"],
  [0x8000_0000, "eject 31"],
  [0x18, "eject 3"],
  [0, undefined],
];

test("a guest ejects the slot of the lowest bit", () => {
  for (const [value, slot] of ejects) {
    const { device, log } = make();
    device.write(8, 4, value);
    assert.deepEqual(log, slot === undefined ? [] : [slot], String(value));
  }
});

test("other buses are empty; bytes and words are parts of the registers; state survives; reset forgets", () => {
  const { device, log } = make();
  device.plugged(3);
  device.write(16, 4, 7);
  assert.equal(device.read(0, 4), 0);
  assert.equal(device.read(16, 4), 7);
  device.write(8, 4, 8);
  assert.deepEqual(log, ["notify"]);
  device.write(16, 4, 0);
  assert.equal(device.read(12, 1), 8);
  assert.equal(device.read(14, 2), 0x8000);
  const copy = make().device;
  copy.restore(device.save());
  assert.deepEqual(copy.save(), device.save());
  assert.equal(copy.read(0, 4), 8);
  device.reset();
  assert.equal(device.read(0, 4), 0);
});

test("no access of any size at any offset throws", () => {
  const { device } = make();
  for (let offset = 0; offset < 0x18; offset++)
    for (const size of [1, 2, 4]) {
      device.write(offset, size, 0xffffffff);
      assert.ok(device.read(offset, size) >= 0);
    }
});
