/** The programs from outside: output, one line of error, exit status. They must be built (npm test does). */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
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

const guest = path.join(root, "guests/x86_64");
writeFileSync(path.join(folder, "empty"), "");
writeFileSync(path.join(folder, "text"), "not a kernel\n".repeat(1000));
copyFileSync(path.join(guest, "bzImage"), path.join(folder, "short"));
truncateSync(path.join(folder, "short"), 40_000);
// An ELF of another machine: AArch64, 64 bits.
const elf = Buffer.alloc(4096);
elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
elf.writeUInt16LE(2, 16);
elf.writeUInt16LE(183, 18);
elf.writeUInt32LE(1, 20);
writeFileSync(path.join(folder, "arm.elf"), elf);

/** Rows: arguments, and the line on stderr after the program's name. */
const refused: [args: string[], line: RegExp][] = [
  [["-foo"], /^-foo: invalid option$/],
  [["-m"], /^-m: requires an argument$/],
  [["-m", "lots"], /^-m lots: /],
  [["-m", "64T"], /^.*(memory|-m)/],
  [["-machine", "foo"], /^-machine foo: /],
  [["-cpu", "foo"], /^-cpu foo: /],
  [["-device", "foo"], /^-device foo: /],
  [["-enable-kvm"], /^-enable-kvm: /],
  [["-accel", "kvm"], /^-accel kvm: /],
  [["-kernel", "missing"], /^-kernel missing: No such file or directory$/],
  [["-kernel", "."], /^-kernel \.: Is a directory$/],
  [["-kernel", "empty"], /^-kernel empty: /],
  [["-kernel", "text"], /^-kernel text: /],
  [["-kernel", "short"], /^-kernel short: /],
  [["-kernel", "arm.elf"], /^-kernel arm\.elf: /],
  [["-kernel", path.join(guest, "bzImage"), "-initrd", "missing"], /^-initrd missing: No such file or directory$/],
  [["-hda", "missing"], /^-hda missing: .*No such file or directory$/],
  [["-drive", "file=missing,if=virtio,format=raw"], /^-drive file=missing,if=virtio,format=raw: .*No such file or directory$/],
  [["-bios", "missing"], /^-bios missing: /],
  [["-bios", "empty"], /^-bios empty: /],
  [["-D", "no/such/log", "-d", "int"], /^-D no\/such\/log: No such file or directory$/],
  [["-serial", "file:no/such"], /^-serial file:no\/such: /],
];

test("bad input: one line, status 1", () => {
  for (const [args, line] of refused) {
    const r = run("tandem-system-x86_64", "-display", "none", ...args);
    const what = `${args.join(" ")}: ${r.stderr}`;
    assert.equal(r.status, 1, what);
    assert.equal(r.stdout, "", what);
    const lines = r.stderr.trimEnd().split("\n");
    assert.equal(lines.length, 1, what);
    assert.ok(lines[0]!.startsWith("tandem-system-x86_64: "), what);
    assert.match(lines[0]!.slice("tandem-system-x86_64: ".length), line, what);
  }
});

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
  assert.match(run("tandem", "doctor").stderr, /^tandem: doctor: not in this version$/m);
  assert.equal(run("tandem", "nonsense").status, 1);
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

test("SIGTERM ends a machine in order", async () => {
  const log = path.join(folder, "trace.log");
  const child = spawn(
    path.join(root, "bin/tandem-system-x86_64"),
    ["-S", "-display", "none", "-monitor", "stdio", "-d", "guest_errors", "-D", log],
    { stdio: ["pipe", "pipe", "pipe"] },
  );
  let stderr = "";
  child.stderr.on("data", (d) => {
    stderr += d;
  });
  // The prompt says that the machine is there.
  await once(child.stdout, "data");
  child.kill("SIGTERM");
  const [status] = await once(child, "close");
  assert.equal(status, 0, stderr);
  assert.match(stderr, /^tandem-system-x86_64: terminating on signal 15 \(SIGTERM\)\n$/);
});

test("a disk that another machine writes to is refused", { skip: process.platform !== "linux" }, async () => {
  const disk = path.join(folder, "disk.img");
  writeFileSync(disk, Buffer.alloc(1 << 20));
  const args = ["-S", "-display", "none", "-monitor", "stdio", "-drive", `file=${disk},format=raw`];
  const first = spawn(path.join(root, "bin/tandem-system-x86_64"), args, { stdio: ["pipe", "pipe", "inherit"] });
  await once(first.stdout, "data");
  const second = run("tandem-system-x86_64", ...args);
  assert.equal(second.status, 1);
  assert.match(second.stderr, /^tandem-system-x86_64: -drive file=.*disk\.img,format=raw: .*lock.*\n$/);
  first.stdin.write("quit\n");
  assert.deepEqual(await once(first, "close"), [0, null]);
});
