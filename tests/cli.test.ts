/** The programs from outside: output and exit status. They must be built (npm test does). */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), "tandem-cli-"));
after(() => rmSync(folder, { recursive: true, force: true }));

function run(program: string, ...args: string[]) {
  return spawnSync(path.join(root, "bin", program), args, { encoding: "utf8", cwd: folder, timeout: 60_000, input: "" });
}

test("versions and help", () => {
  for (const program of ["tandem-system-x86_64", "tandem-system-i386"])
    for (const option of ["-version", "--version"]) {
      const r = run(program, option);
      assert.equal(r.status, 0);
      assert.equal(r.stdout.split("\n")[0], "QEMU emulator version 7.2.0 (Tandem 0.1.0)");
      assert.equal(r.stderr, "");
    }
  assert.match(run("tandem-system-i386", "-help").stdout, /^usage: tandem-system-i386 /m);
  assert.match(run("tandem").stdout, /usage: tandem VERB/);
  assert.match(run("tandem", "doctor").stdout, /kvm/i);
  assert.equal(run("tandem", "nonsense").status, 1);
});

test("a reader that closes its pipe is no error", () => {
  const r = spawnSync("sh", ["-c", `"${path.join(root, "bin/tandem-system-x86_64")}" -help | head -1`], {
    encoding: "utf8",
    timeout: 60_000,
  });
  assert.match(r.stdout, /^QEMU emulator version /);
  assert.equal(r.stderr, "");
});

test("the programs are real files that name their interpreter", () => {
  for (const program of ["tandem", "tandem-system-x86_64", "tandem-system-i386"])
    assert.ok(readFileSync(path.join(root, "bin", program), "utf8").startsWith("#!/usr/bin/env node\n"));
});

test("a machine that does not start still answers its monitor, and quits", () => {
  const r = spawnSync(
    path.join(root, "bin/tandem-system-x86_64"),
    ["-S", "-display", "none", "-monitor", "stdio", "-serial", "null", "-name", "vm"],
    {
      encoding: "utf8",
      timeout: 60_000,
      input: "info status\ninfo name\ninfo pci\nquit\n",
    },
  );
  assert.equal(r.status, 0, r.stderr);
  assert.match(r.stdout, /VM status: paused \(prelaunch\)/);
  assert.match(r.stdout, /\r\nvm\r\n/);
  assert.match(r.stdout, /PCI device 8086:1237/);
});
