/** Every way a guest resets or powers off the machine, from a BIOS image of a few bytes. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { createMachine } from "../../src/index.js";

const folder = mkdtempSync(path.join(tmpdir(), "tandem-reset-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const RESETS = 1000;
const ROM_BYTES = 0x10000;
/** Where the ROM has six zero bytes: an interrupt table of length 1. */
const NO_IDT_AT = 0x200;
const STOP = [0xf4, 0xeb, 0xfd];
/** mov dx, 0x501; mov al, 7; out dx, al: isa-debug-exit makes 15 of it. */
const EXIT = [0xba, 0x01, 0x05, 0xb0, 0x07, 0xee];
const EXIT_STATUS = 15;

/** A BIOS of 64 KiB that runs `code` at F000:0000 with interrupts off and DS 0. */
function bios(name: string, code: readonly number[]): string {
  const rom = new Uint8Array(ROM_BYTES);
  // cli; xor ax, ax; mov ds, ax
  rom.set([0xfa, 0x31, 0xc0, 0x8e, 0xd8, ...code, ...STOP]);
  // jmp F000:0000
  rom.set([0xea, 0x00, 0x00, 0x00, 0xf0], 0xfff0);
  const file = path.join(folder, `${name}.bin`);
  writeFileSync(file, rom);
  return file;
}

/** Counts its starts at 0:500, which a reset leaves alone; resets until there were enough, then ends the machine. */
function counting(reset: readonly number[]): number[] {
  const rest = [...reset, ...STOP];
  return [
    ...[0xff, 0x06, 0x00, 0x05], // inc word [0x500]
    ...[0x81, 0x3e, 0x00, 0x05, RESETS & 255, RESETS >> 8], // cmp word [0x500], RESETS
    ...[0x77, rest.length], // ja done
    ...rest,
    ...EXIT,
  ];
}

const MACHINE = ["-display", "none", "-nodefaults", "-m", "1", "-device", "isa-debug-exit"];

/** Rows: the way, and its code. */
const ways: [name: string, code: number[]][] = [
  ["port CF9h, hard", [0xba, 0xf9, 0x0c, 0xb0, 0x02, 0xee, 0xb0, 0x06, 0xee]],
  ["port CF9h, the FADT's value at once", [0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee]],
  ["port CF9h, CPU only", [0xba, 0xf9, 0x0c, 0xb0, 0x04, 0xee]],
  ["keyboard controller, FEh", [0xb0, 0xfe, 0xe6, 0x64]],
  ["keyboard controller, output port", [0xb0, 0xd1, 0xe6, 0x64, 0xb0, 0xfe, 0xe6, 0x60]],
  ["port 92h", [0xe4, 0x92, 0x24, 0xfe, 0xe6, 0x92, 0x0c, 0x01, 0xe6, 0x92]],
  // lidt cs:[NO_IDT_AT]; int3
  ["triple fault", [0x2e, 0x0f, 0x01, 0x1e, NO_IDT_AT & 255, NO_IDT_AT >> 8, 0xcc]],
];

for (const [name, code] of ways)
  test(`${RESETS} resets: ${name}`, { timeout: 240_000 }, async () => {
    await using machine = await createMachine({ args: [...MACHINE, "-bios", bios("reset", counting(code))] });
    let resets = 0;
    void (async () => {
      for await (const event of machine.events()) if (event.type === "reset") resets++;
    })();
    machine.run();
    assert.deepEqual(await machine.ended, { reason: "guest-exit", status: EXIT_STATUS });
    assert.equal(resets, RESETS);
  });

test("-no-reboot ends the machine", { timeout: 60_000 }, async () => {
  const [, code] = ways[0]!;
  await using machine = await createMachine({ args: [...MACHINE, "-no-reboot", "-bios", bios("once", counting(code))] });
  machine.run();
  assert.deepEqual(await machine.ended, { reason: "guest-reset", status: 0 });
});

test(`${RESETS} resets from outside, the BIOS at any point of its start`, { timeout: 240_000 }, async () => {
  await using machine = await createMachine({ args: ["-display", "none", "-m", "16"] });
  machine.run();
  for (let i = 0; i < RESETS; i++) {
    if (i % 10 === 0) await delay(1 + (i % 70));
    machine.reset();
  }
  for (let i = 0; i < 600 && !machine.inspect.display()?.text()?.join("\n").includes("No bootable device."); i++)
    await delay(100);
  assert.match(machine.inspect.display()?.text()?.join("\n") ?? "", /No bootable device\./);
});

/** Opens the power management block at 600h: PCI 00:01.3, registers 40h and 80h. */
const OPEN_PM = [
  ...[0x66, 0xb8, 0x40, 0x0b, 0x00, 0x80], // mov eax, 0x80000b40
  ...[0xba, 0xf8, 0x0c, 0x66, 0xef], // mov dx, 0xcf8; out dx, eax
  ...[0x66, 0xb8, 0x01, 0x06, 0x00, 0x00], // mov eax, 0x601
  ...[0xba, 0xfc, 0x0c, 0x66, 0xef], // mov dx, 0xcfc; out dx, eax
  ...[0x66, 0xb8, 0x80, 0x0b, 0x00, 0x80],
  ...[0xba, 0xf8, 0x0c, 0x66, 0xef],
  ...[0xb0, 0x01, 0xba, 0xfc, 0x0c, 0xee], // mov al, 1; mov dx, 0xcfc; out dx, al
];
/** mov dx, 0x604; mov ax, SLP_EN; out dx, ax */
const SLEEP_S5 = [0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef];

test("ACPI S5 powers off", { timeout: 60_000 }, async () => {
  await using machine = await createMachine({ args: [...MACHINE, "-bios", bios("s5", [...OPEN_PM, ...SLEEP_S5])] });
  machine.run();
  assert.deepEqual(await machine.ended, { reason: "guest-shutdown", status: 0 });
});

test("-no-shutdown keeps a machine that has powered off, for a reset", { timeout: 60_000 }, async () => {
  const args = [...MACHINE, "-no-shutdown", "-bios", bios("s5", [...OPEN_PM, ...SLEEP_S5])];
  await using machine = await createMachine({ args });
  const events = machine.events();
  machine.run();
  for (let i = 0; i < 3; i++) {
    for (;;) {
      const { value } = await events.next();
      if (value?.type === "shutdown") break;
    }
    assert.equal(machine.runState, "shutdown");
    assert.throws(() => machine.run(), /Resetting the Virtual Machine is required/);
    machine.reset();
    machine.run();
  }
});

test("the power button reaches the guest", { timeout: 60_000 }, async () => {
  // wait: mov dx, 0x600; in ax, dx; test ah, 1; jz wait; then exit.
  const wait = [0xba, 0x00, 0x06, 0xed, 0xf6, 0xc4, 0x01, 0x74, 0xf7];
  await using machine = await createMachine({ args: [...MACHINE, "-bios", bios("button", [...OPEN_PM, ...wait, ...EXIT])] });
  machine.run();
  await delay(300);
  assert.equal(machine.runState, "running");
  machine.powerdown();
  assert.deepEqual(await machine.ended, { reason: "guest-exit", status: EXIT_STATUS });
});
