/** Debian's TigerVNC viewer under Xvfb: the guest's screen in its window, pixel by pixel, and keys typed into it. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { debianTest } from "../../testkit/debian.js";
import { Guest } from "../../testkit/guest.js";

const images = fileURLToPath(new URL("../../guests/x86_64/", import.meta.url));
const NEEDS = [
  { package: "tigervnc-viewer", path: "/usr/bin/xtigervncviewer" },
  { package: "xvfb", path: "/usr/bin/Xvfb" },
  { package: "imagemagick", path: "/usr/bin/import" },
  { package: "xdotool", path: "/usr/bin/xdotool" },
];
/** Of all pixels: the cursor blinks. */
const EQUAL = 0.995;

debianTest("TigerVNC shows the guest's screen and types into it", NEEDS, async (t) => {
  const guest = await Guest.start(t, [
    ...["-m", "256", "-kernel", `${images}bzImage`, "-initrd", `${images}initrd.lz4`, "-append", "quiet"],
    ...["-name", "guest", "-vnc", "127.0.0.1:60,to=160"],
  ]);
  await guest.onScreen(/~ #$/, 120);
  const { port } = guest.machine.vnc.list()[0]!.address!;
  const DISPLAY = await xvfb(t);
  const env = { ...process.env, DISPLAY };
  const viewer = spawn("/usr/bin/xtigervncviewer", ["-SecurityTypes", "None", `127.0.0.1::${port}`], { env, stdio: "ignore" });
  t.after(() => viewer.kill());
  const start = performance.now();
  for (;;) {
    const picture = shot(env);
    const same = likeness(guest, picture);
    if (same >= EQUAL) break;
    assert.ok(performance.now() - start < 60_000, `${(same * 100).toFixed(1)} % of the pixels are the guest's`);
    await delay(500);
  }
  const window = execFileSync("xdotool", ["search", "--sync", "--name", "QEMU"], { env, encoding: "utf8" }).split("\n")[0]!;
  execFileSync("xdotool", ["windowfocus", "--sync", window], { env });
  execFileSync("xdotool", ["type", "--delay", "100", "echo $((6 * 7)) Up"], { env });
  execFileSync("xdotool", ["key", "Return"], { env });
  await guest.onScreen(/^42 Up$/m, 60);
  await delay(1000);
  const kept = path.join(process.env.TANDEM_ARTEFACTS ?? tmpdir(), "tigervnc.ppm");
  writeFileSync(kept, shot(env));
  t.diagnostic(`picture: ${kept}`);
});

/** Starts an X server on a free display. */
async function xvfb(t: { after(f: () => void): void }): Promise<string> {
  const p = spawn("/usr/bin/Xvfb", ["-displayfd", "3", "-screen", "0", "1024x768x24"], {
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  t.after(() => p.kill());
  const number = await new Promise<string>((resolve, reject) => {
    p.stdio[3]!.once("data", (d: Buffer) => resolve(d.toString().trim()));
    p.once("exit", () => reject(new Error("Xvfb ended")));
  });
  return `:${number}`;
}

function shot(env: NodeJS.ProcessEnv): Buffer {
  return execFileSync("import", ["-window", "root", "-depth", "8", "ppm:-"], { env, maxBuffer: 2 ** 24 });
}

/** How many pixels of the guest's screen are at the same place of a PPM picture. */
function likeness(guest: Guest, ppm: Buffer): number {
  const head = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(ppm.subarray(0, 64).toString("latin1"));
  if (!head) return 0;
  const width = Number(head[1]);
  const at = head[0].length;
  const s = guest.machine.inspect.display()!.refresh();
  let same = 0;
  for (let y = 0; y < s.height; y++)
    for (let x = 0; x < s.width; x++) {
      const i = at + 3 * (y * width + x);
      if (ppm.readUIntBE(i, 3) === s.pixels[y * s.width + x]) same++;
    }
  return same / (s.width * s.height);
}
