/**
 * Streams between the embedded guest and the host, beside QEMU's user mode with the same guest and translation on the same
 * host in the same run.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import type { TestContext } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { debianTest } from "../../testkit/debian.js";
import { Guest } from "../../testkit/guest.js";
import { httpServer, sinkServer } from "../../testkit/host-services.js";

const images = fileURLToPath(new URL("../../guests/x86_64/", import.meta.url));
const GUEST = ["-m", "256", "-vga", "none", "-kernel", `${images}bzImage`, "-initrd", `${images}initrd.lz4`];
const APPEND = ["-append", "console=ttyS0 quiet tandem.net"];
const PROMPT = "~ # ";
/** A pipe into nc is slow in both: it is bound by the guest's processor. */
const MEGABYTES = { in: 100, out: 10 };
const PAIRS = 3;
/** Of QEMU's throughput. */
const ASKED = 0.5;
const QEMU = "/usr/bin/qemu-system-x86_64";

type Ask = (line: string) => Promise<string>;

async function qemu(t: TestContext, card: string): Promise<Ask> {
  const p = spawn(QEMU, [
    "-accel",
    "tcg",
    "-display",
    "none",
    "-serial",
    "stdio",
    ...GUEST,
    ...APPEND,
    "-nic",
    `user,model=${card}`,
  ]);
  t.after(() => p.kill());
  let out = "";
  p.stdout.on("data", (d: Buffer) => {
    out += d.toString("latin1");
  });
  const until = async (from: number) => {
    const start = performance.now();
    while (!out.includes(PROMPT, from)) {
      assert.ok(performance.now() - start < 120_000, out.slice(-1000));
      await delay(5);
    }
  };
  await until(0);
  return async (line) => {
    const from = out.length + line.length;
    p.stdin.write(`${line}\n`);
    await until(from);
    return out.slice(from);
  };
}

const median = (values: number[]) => [...values].sort((a, b) => a - b)[values.length >> 1]!;

for (const card of ["virtio-net-pci", "e1000"])
  debianTest(`throughput of ${card} against QEMU's user mode`, [{ package: "qemu-system-x86", path: QEMU }], async (t) => {
    const http = await httpServer(t);
    const sink = await sinkServer(t, () => {});
    const guest = await Guest.start(t, [...GUEST, ...APPEND, "-nic", `user,model=${card}`]);
    await guest.onSerial(PROMPT, 120);
    const tandem: Ask = (line) => guest.ask(line, PROMPT, 120);
    const other = await qemu(t, card);
    const lines: [name: string, megabytes: number, line: string][] = [
      ["to the guest", MEGABYTES.in, `wget -q -O /dev/null http://10.0.2.2:${http}/${MEGABYTES.in * 1e6}`],
      ["from the guest", MEGABYTES.out, `head -c ${MEGABYTES.out * 1e6} /dev/zero | nc 10.0.2.2 ${sink}`],
    ];
    const ratios: number[] = [];
    for (const [name, megabytes, line] of lines) {
      const times: { tandem: number[]; qemu: number[] } = { tandem: [], qemu: [] };
      // The first time is warm-up: code is translated.
      for (let i = 0; i <= PAIRS; i++)
        for (const [who, ask] of [
          ["tandem", tandem],
          ["qemu", other],
        ] as const) {
          const start = performance.now();
          await ask(line);
          if (i > 0) times[who].push((performance.now() - start) / 1000);
        }
      const ratio = median(times.qemu) / median(times.tandem);
      const rate = (s: number[]) => `${(megabytes / median(s)).toFixed(1)} MB/s`;
      t.diagnostic(`${name}: Tandem ${rate(times.tandem)}, QEMU ${rate(times.qemu)}, ratio ${ratio.toFixed(2)}`);
      ratios.push(ratio);
    }
    for (const [n, r] of ratios.entries()) assert.ok(r >= ASKED, `${lines[n]![0]}: ${r.toFixed(2)} of QEMU`);
  });

debianTest("a thousand requests to the guest's HTTP server", [], async (t) => {
  const guest = await Guest.start(t, [...GUEST, ...APPEND, "-nic", "user,model=virtio,hostfwd=tcp:127.0.0.1:0-:80"]);
  await guest.onSerial(PROMPT, 120);
  await guest.ask("mkdir /tmp/w; echo 0123456789 > /tmp/w/f; httpd -p 80 -h /tmp/w", PROMPT, 30);
  const { port } = guest.machine.networks.users()[0]!.forwardedPorts()[0]!;
  let next = 0;
  let good = 0;
  const worker = async () => {
    while (next++ < 1000) {
      const s = connect({ port, host: "127.0.0.1" });
      s.end("GET /f HTTP/1.0\r\n\r\n");
      let got = "";
      s.on("data", (d) => {
        got += d;
      });
      await once(s, "close");
      if (got.endsWith("0123456789\n")) good++;
    }
  };
  await Promise.all(Array.from({ length: 32 }, worker));
  assert.equal(good, 1000);
});
