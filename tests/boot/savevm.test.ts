/** savevm, loadvm, delvm: disks and machine go back together. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { createMachine, type Machine, monitorCommand } from "../../src/index.js";
import { needsPackage } from "../../testkit/debian.js";

const folder = mkdtempSync(path.join(tmpdir(), "tandem-savevm-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => path.join(folder, name);
const img = fileURLToPath(new URL("../../bin/tandem-img", import.meta.url));

/** A BIOS that counts at 0:500 for ever. */
function countingBios(): string {
  const rom = new Uint8Array(0x10000);
  rom.set([0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x66, 0xff, 0x06, 0x00, 0x05, 0xeb, 0xf9]);
  rom.set([0xea, 0x00, 0x00, 0x00, 0xf0], 0xfff0);
  writeFileSync(at("count.bin"), rom);
  return at("count.bin");
}

function counter(machine: Machine): number {
  const out = new Uint8Array(4);
  machine.inspect.addressSpaces()[0]!.readBytes(0x500, out);
  return new DataView(out.buffer).getUint32(0, true);
}

async function until(what: string, reached: () => boolean): Promise<void> {
  const start = performance.now();
  while (!reached()) {
    assert.ok(performance.now() - start < 30_000, what);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const diskOf = (machine: Machine, id: string) => machine.blocks().find((b) => b.drive.id === id)!.drive.backend!;

test("disks and machine go back together, also in a later process", async (t) => {
  if (!needsPackage(t, "qemu-utils", "/usr/bin/qemu-img")) return;
  for (const name of ["a.qcow2", "b.qcow2"]) execFileSync(process.execPath, [img, "create", "-f", "qcow2", at(name), "8M"]);
  const args = [
    ...["-display", "none", "-nodefaults", "-vga", "none", "-m", "4", "-bios", countingBios()],
    ...["-drive", `file=${at("a.qcow2")},format=qcow2,if=ide,index=0,id=a`],
    ...["-drive", `file=${at("b.qcow2")},format=qcow2,if=none,id=b`, "-device", "virtio-blk-pci,drive=b"],
  ];
  const sector = (fill: number) => new Uint8Array(512).fill(fill);
  const first = async (machine: Machine, id: string) => {
    const out = new Uint8Array(512);
    await diskOf(machine, id).read(0, out);
    return out[0];
  };
  {
    await using machine = await createMachine({ args });
    machine.run();
    await until("counting", () => counter(machine) > 1000);
    await diskOf(machine, "a").write(0, sector(1));
    await diskOf(machine, "b").write(0, sector(2));
    assert.equal(await monitorCommand(machine, "savevm one"), "");
    assert.equal(machine.runState, "running");
    const after = counter(machine);
    await diskOf(machine, "a").write(0, sector(3));
    await diskOf(machine, "b").write(0, sector(4));
    await until("counting on", () => counter(machine) > after + 100_000);
    await machine.stop();
    const late = counter(machine);
    assert.equal(await monitorCommand(machine, "savevm two"), "");
    assert.match(await monitorCommand(machine, "info snapshots"), /one[\s\S]*two/);
    assert.equal(await monitorCommand(machine, "loadvm one"), "");
    assert.equal(machine.runState, "paused");
    assert.ok(counter(machine) > 1000 && counter(machine) <= after);
    assert.deepEqual([await first(machine, "a"), await first(machine, "b")], [1, 2]);
    assert.equal(await monitorCommand(machine, "loadvm two"), "");
    assert.equal(counter(machine), late);
    assert.deepEqual([await first(machine, "a"), await first(machine, "b")], [3, 4]);
    assert.match(await monitorCommand(machine, "loadvm three"), /Snapshot 'three' does not exist in one or more devices/);
    assert.match(await monitorCommand(machine, "delvm three"), /not found/);
    // Another of the same name takes its place.
    assert.equal(await monitorCommand(machine, "savevm two"), "");
    assert.equal(machine.snapshots.list().length, 2);
  }
  {
    await using machine = await createMachine({ args });
    assert.equal(await monitorCommand(machine, "loadvm one"), "");
    assert.deepEqual([await first(machine, "a"), await first(machine, "b")], [1, 2]);
    const count = counter(machine);
    machine.run();
    await until("counting again", () => counter(machine) > count + 1000);
    assert.equal(await monitorCommand(machine, "delvm one"), "");
    assert.deepEqual(
      machine.snapshots.list().map((s) => s.name),
      ["two"],
    );
  }
  {
    // Another machine does not take it, and its disks stay as they are.
    await using machine = await createMachine({ args: [...args, "-smp", "2"] });
    assert.match(
      await monitorCommand(machine, "loadvm two"),
      /the state is of another machine: shape.cpus is 1 there and 2 here/,
    );
    assert.deepEqual([await first(machine, "a"), await first(machine, "b")], [1, 2]);
  }
  for (const name of ["a.qcow2", "b.qcow2"])
    assert.match(execFileSync("/usr/bin/qemu-img", ["check", at(name)], { encoding: "utf8" }), /No errors/);
  assert.match(execFileSync("/usr/bin/qemu-img", ["snapshot", "-l", at("a.qcow2")], { encoding: "utf8" }), /two/);
});

test("a machine whose disks have no snapshots says so", async () => {
  writeFileSync(at("raw.img"), new Uint8Array(2 ** 20));
  await using machine = await createMachine({
    args: ["-display", "none", "-nodefaults", "-m", "4", "-S", "-drive", `file=${at("raw.img")},format=raw,if=ide,id=r`],
  });
  assert.match(await monitorCommand(machine, "savevm x"), /Device 'r' is writable but does not support snapshots/);
  assert.match(await monitorCommand(machine, "info snapshots"), /no snapshot/i);
  await using empty = await createMachine({ args: ["-display", "none", "-nodefaults", "-m", "4", "-S"] });
  assert.match(await monitorCommand(empty, "savevm x"), /No block device supports snapshots/);
});
