/** The screen of a whole machine: the VGA BIOS sets a text mode, a guest's console draws on it, keys typed there arrive. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { createMachine, type Machine } from "../src/index.js";
import { typeText } from "../src/ui/keymap.js";

const LIMIT_MS = 120_000;
const POLL_MS = 50;
const guest = (name: string) => fileURLToPath(new URL(`../guests/x86_64/${name}`, import.meta.url));

/** The screen's lines once they match. Polls: a display has no events. */
async function screen(vm: Machine, wanted: RegExp): Promise<string> {
  const until = Date.now() + LIMIT_MS;
  for (;;) {
    const text = vm.inspect.display()?.text()?.join("\n") ?? "";
    if (wanted.test(text)) return text;
    assert.ok(Date.now() < until, `no ${wanted} on the screen:\n${text}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

test("BIOS messages on the screen", async () => {
  await using vm = await createMachine({ args: ["-m", "32"] });
  vm.run();
  await screen(vm, /SeaBIOS/);
  const surface = vm.inspect.display()?.refresh();
  assert.deepEqual([surface?.width, surface?.height], [720, 400]);
  assert.ok(surface?.pixels.some((p) => p !== 0));
});

test("a shell on the screen, typed to through the keyboard", async () => {
  const args = ["-m", "128", "-kernel", guest("bzImage"), "-initrd", guest("initrd.lz4"), "-append", "console=tty0"];
  await using vm = await createMachine({ args });
  vm.run();
  await screen(vm, /~ # *$/m);
  for (const chord of typeText(`echo "<$(uname -m)>" | tr _ -; echo A+B\n`)) {
    vm.sendKeys(chord, 10);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  await screen(vm, /^<x86-64>\nA\+B$/m);
});
