/**
 * What a user may get wrong, from outside: one line on stderr that names option and value, exit status 1, nothing on
 * stdout, no file touched. And the ends that are not a guest's: signals, locks, I/O errors.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), "tandem-bad-input-"));
after(() => rmSync(folder, { recursive: true, force: true }));
/** Programs that run at once. */
const AT_ONCE = 2;
const TIMEOUT_MS = 120_000;

const KERNEL = path.join(root, "guests/x86_64/bzImage");
const PPC_KERNEL = path.join(root, "guests/ppc64le/vmlinux.zst");

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(program: string, args: readonly string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(path.join(root, "bin", program), args, { cwd: folder, stdio: ["pipe", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (d) => (stdout += d));
  child.stderr.on("data", (d) => (stderr += d));
  const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
  const ended = once(child, "close").then(([status]) => {
    clearTimeout(timer);
    return { status: status as number | null, stdout, stderr };
  });
  return { child, ended };
}

function run(program: string, args: readonly string[]): Promise<Ended> {
  const { child, ended } = start(program, args);
  child.stdin!.end();
  return ended;
}

/** A file with an ELF header. */
function elf(name: string, bits: 32 | 64, machine: number): void {
  const file = Buffer.alloc(4096);
  file.set([0x7f, 0x45, 0x4c, 0x46, bits === 64 ? 2 : 1, 1, 1]);
  file.writeUInt16LE(2, 16);
  file.writeUInt16LE(machine, 18);
  file.writeUInt32LE(1, 20);
  writeFileSync(path.join(folder, name), file);
}

before(() => {
  const at = (name: string) => path.join(folder, name);
  mkdirSync(at("dir"));
  writeFileSync(at("empty"), "");
  writeFileSync(at("text"), "not a kernel\n".repeat(1000));
  writeFileSync(at("disk"), Buffer.alloc(4096, "disk"));
  for (const [name, size] of [
    ["kernel-100", 100],
    ["kernel-600", 600],
    ["kernel-40000", 40_000],
  ] as const) {
    copyFileSync(KERNEL, at(name));
    truncateSync(at(name), size);
  }
  writeFileSync(at("bios-1000"), Buffer.alloc(1000));
  writeFileSync(at("bios-16M"), "");
  truncateSync(at("bios-16M"), 16 << 20);
  writeFileSync(at("initrd-200M"), "");
  truncateSync(at("initrd-200M"), 200 << 20);
  writeFileSync(at("initrd-300M"), "");
  truncateSync(at("initrd-300M"), 300 << 20);
  copyFileSync(path.join(root, "firmware/bios-256k.bin"), at("x86-bios"));
  elf("ppc-be.elf", 32, 20);
  const bigEndian = readFileSync(at("ppc-be.elf"));
  bigEndian[5] = 2;
  bigEndian.writeUInt16BE(20, 18);
  writeFileSync(at("ppc-be.elf"), bigEndian);
  elf("arm64.elf", 64, 183);
  elf("ppc.elf", 32, 20);
  writeFileSync(at("disk.qcow2"), Buffer.from([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]));
});

const kernel = ["-kernel", KERNEL];

/**
 * Rows: arguments, and how the line on stderr goes on after the program's name. A string is the beginning: option and
 * value as they were given.
 */
const refused: [args: string[], line: string | RegExp][] = [
  // Options
  [["-foo"], /^-foo: invalid option$/],
  [["-m"], /^-m: requires an argument$/],
  [["-netdev", "tap,id=n"], "-netdev tap,id=n: a tap needs fd="],
  [["-netdev", "user,id=n,hostfwd=tcp:80"], "-netdev user,id=n,hostfwd=tcp:80: Invalid host forwarding rule 'tcp:80'"],
  [
    ["-netdev", "user,id=n,hostfwd=tcp:203.0.113.1:5-:5"],
    "-netdev user,id=n,hostfwd=tcp:203.0.113.1:5-:5: could not listen on 203.0.113.1:5",
  ],
  [
    ["-netdev", "socket,id=n,listen=203.0.113.1:5"],
    "-netdev socket,id=n,listen=203.0.113.1:5: could not listen on 203.0.113.1:5",
  ],
  [["-device", "e1000,netdev=x"], /^-device e1000,netdev=x: Property 'e1000.netdev' can't find value 'x'$/],
  [
    ["-netdev", "user,id=n", "-device", "e1000,netdev=n", "-device", "virtio-net-pci,netdev=n"],
    /^-device virtio-net-pci,netdev=n: netdev 'n' is in use$/,
  ],
  [
    ["-netdev", "user,id=n", "-object", "filter-dump,id=d,netdev=n,file=/nonexistent/x"],
    "-object filter-dump,id=d,netdev=n,file=/nonexistent/x: could not open '/nonexistent/x'",
  ],
  [
    ["-object", "filter-dump,id=d,netdev=n,file=x"],
    "-object filter-dump,id=d,netdev=n,file=x: Parameter 'netdev' expects a network",
  ],
  [["-vnc", "x"], "-vnc x: 'x': expected [HOST]:DISPLAY"],
  [["-vnc", "203.0.113.1:1"], "-vnc 203.0.113.1:1: could not listen on 203.0.113.1:5901"],
  [["first", "second"], /^second: drive with bus=0, unit=0 \(index=0\) exists$/],
  // Memory
  [["-m", "lots"], "-m lots: "],
  [["-m", "0"], "-m 0: "],
  [["-m", "512K"], "-m 512K: "],
  [["-m", "64G"], "-m 64G: "],
  [["-m", "64T"], "-m 65536G: "],
  [["-m", "99999999999999999999G"], "-m 99999999999999999999G: "],
  // Machine, accelerator, processor
  [["-machine", "foo"], "-machine foo: "],
  [["-machine", "q35"], "-machine q35: "],
  [["-machine", "pc,foo=on"], "-machine pc,foo=on: "],
  [["-accel", "kvm,foo=1"], "-accel kvm,foo=1: "],
  [["-accel", "foo"], "-accel foo: "],
  [["-accel", "tcg,foo=1"], "-accel tcg,foo=1: "],
  [["-cpu", "foo"], "-cpu foo: "],
  [["-cpu", "host"], "-cpu host: "],
  [["-cpu", "qemu64,+foo"], "-cpu qemu64,+foo: "],
  [["-smp", "0"], "-smp 0: "],
  [["-smp", "x"], "-smp x: "],
  [["-smp", "4,maxcpus=2"], "-smp 4,maxcpus=2: "],
  [["-smp", "200"], "-smp 200: "],
  [["-icount", "shift=99"], "-icount shift=99: "],
  [["-rtc", "base=yesterday"], "-rtc base=yesterday: "],
  [["-uuid", "1"], "-uuid 1: "],
  [["-boot", "x"], "-boot x: "],
  [["-global", "foo.bar=1"], "-global foo.bar=1: "],
  [["-global", "virtio-blk-pci.foo=1"], "-global virtio-blk-pci.foo=1: "],
  // Devices
  [["-device", "foo"], "-device foo: "],
  [["-device", "virtio-rng-pci,foo=1"], "-device virtio-rng-pci,foo=1: "],
  [["-device", "virtio-rng-pci,addr=99"], "-device virtio-rng-pci,addr=99: "],
  [["-device", "virtio-blk-pci"], "-device virtio-blk-pci: "],
  [["-device", "virtio-blk-pci,drive=x"], "-device virtio-blk-pci,drive=x: "],
  [["-device", "isa-serial,chardev=x"], "-device isa-serial,chardev=x: "],
  [["-device", '{"driver":"foo"}'], '-device {"driver":"foo"}: '],
  [["-device", '{"driver":'], '-device {"driver":: '],
  [["-vga", "foo"], "-vga foo: "],
  [["-display", "gtk"], "-display gtk: "],
  // Kernels
  [["-kernel", "missing"], /^-kernel missing: No such file or directory$/],
  [["-kernel", "dir"], /^-kernel dir: Is a directory$/],
  [["-kernel", "empty"], "-kernel empty: "],
  [["-kernel", "text"], "-kernel text: "],
  [["-kernel", "kernel-100"], "-kernel kernel-100: "],
  [["-kernel", "kernel-600"], "-kernel kernel-600: "],
  [["-kernel", "kernel-40000"], /^-kernel kernel-40000: the kernel has \d+ bytes, the file holds \d+ of them$/],
  [["-kernel", "arm64.elf"], "-kernel arm64.elf: "],
  [["-kernel", "ppc.elf"], "-kernel ppc.elf: "],
  [["-append", "x"], "-append: "],
  [["-initrd", "empty"], "-initrd: "],
  [[...kernel, "-initrd", "missing"], /^-initrd missing: No such file or directory$/],
  [[...kernel, "-initrd", "dir"], /^-initrd dir: Is a directory$/],
  [[...kernel, "-initrd", "initrd-200M"], /^-initrd initrd-200M: 200 MiB do not fit guest memory/],
  [["-m", "2", ...kernel], "-kernel "],
  // Firmware
  [["-bios", "missing"], "-bios missing: "],
  [["-bios", "dir"], "-bios dir: "],
  [["-bios", "empty"], "-bios empty: "],
  [["-bios", "bios-1000"], "-bios bios-1000: "],
  [["-bios", "bios-16M"], "-bios bios-16M: "],
  // Drives
  [["-hda", "missing"], /^-hda missing: .*No such file or directory$/],
  [["-hda", "dir"], /^-hda dir: .*Is a directory$/],
  [["-hda", "/dev/null"], /^-hda \/dev\/null: .*Not a regular file or block device$/],
  [["-cdrom", "missing"], /^-cdrom missing: .*No such file or directory$/],
  [["-fda", "missing"], /^-fda missing: .*No such file or directory$/],
  [["-drive", "file=missing,if=virtio,format=raw"], /^-drive file=missing,if=virtio,format=raw: .*No such file or directory$/],
  [["-drive", "file=disk,if=foo"], "-drive file=disk,if=foo: "],
  [["-drive", "file=disk,format=foo"], "-drive file=disk,format=foo: "],
  [["-drive", "file=disk,format=qcow2"], "-drive file=disk,format=qcow2: "],
  [["-hda", "disk.qcow2"], "-hda disk.qcow2: "],
  [["-drive", "if=virtio"], "-drive if=virtio: "],
  [["-hda", "disk", "-hdb", "disk"], /^-hdb disk: .*lock/],
  // Character devices, logs
  [["-serial", "foo"], "-serial foo: "],
  [["-serial", "file:no/such"], "-serial file:no/such: "],
  [["-monitor", "unix:/no/such/socket,server,nowait"], "-monitor unix:/no/such/socket,server,nowait: "],
  [["-serial", "stdio", "-monitor", "stdio"], "-monitor stdio: "],
  [["-chardev", "foo,id=x"], "-chardev foo,id=x: "],
  [["-chardev", "file,id=x"], "-chardev file,id=x: "],
  [["-mon", "x"], "-mon x: "],
  [["-d", "foo"], "-d foo: "],
  [["-D", "no/such/log", "-d", "int"], /^-D no\/such\/log: No such file or directory$/],
];

/** The same for tandem-system-ppc64. */
const refusedPpc: [args: string[], line: string | RegExp][] = [
  [["-m", "300"], /^-m 300M: Memory size 0x12c00000 is not aligned to 256 MiB; give a multiple of 256M$/],
  [["-m", "64G"], /^-m 65536M: guest memory .* has room for/],
  [["-smp", "17"], "-smp 17: "],
  [["-smp", "2,threads=2"], /^-smp threads=2: TCG runs one thread a core/],
  [["-machine", "pc"], "-machine pc: "],
  [["-machine", "powernv"], /^-machine powernv: machine type 'powernv' is not supported/],
  [["-machine", "pseries,cap-htm=on"], "-machine pseries,cap-htm=on: "],
  [["-machine", "pseries,cap-foo=on"], /Property 'pseries.cap-foo' not found$/],
  [["-machine", "pseries,resize-hpt=required"], /resize-hpt=required is not supported: disabled$/],
  [["-machine", "pseries,ic-mode=xive", "-cpu", "POWER8"], /^-machine ic-mode=xive: POWER8 has no XIVE/],
  [["-cpu", "qemu64"], "-cpu qemu64: "],
  [["-cpu", "host"], /^-cpu host: CPU model 'host' requires KVM/],
  [["-cpu", "POWER9,foo=on"], "-cpu POWER9,foo=on: "],
  [["-vga", "std"], /^-vga std: not supported on pseries/],
  [["-hda", "disk"], /^-hda disk: if=ide is not supported on pseries; use -drive if=virtio$/],
  [["-device", "isa-serial"], "-device isa-serial: "],
  [["-device", "spapr-vty,reg=5"], "-device spapr-vty,reg=5: "],
  [["-device", "spapr-rng"], /^-device spapr-rng: spapr-rng needs an RNG backend/],
  [["-bios", "x86-bios"], /^-bios x86-bios: an x86 BIOS; this machine is PowerPC$/],
  [["-bios", "bios-16M"], "-bios bios-16M: "],
  [["-bios", "empty"], "-bios empty: "],
  [["-kernel", KERNEL], /an x86 Linux kernel \(bzImage\); this machine is PowerPC$/],
  [["-kernel", "ppc.elf"], "-kernel ppc.elf: "],
  [["-kernel", "ppc-be.elf"], /^-kernel ppc-be.elf: a 32-bit PowerPC image, big-endian; pseries starts 64-bit kernels/],
  [
    ["-kernel", "arm64.elf"],
    /^-kernel arm64.elf: an ELF image for ARM \(64-bit\), little-endian; this machine is 64-bit PowerPC$/,
  ],
  [["-kernel", "text"], "-kernel text: "],
  [
    ["-m", "256", "-kernel", PPC_KERNEL, "-initrd", "initrd-300M"],
    /^-initrd initrd-300M: 300 MiB do not fit guest memory \(256 MiB\)$/,
  ],
  [["-initrd", "empty"], "-initrd: "],
];

/** Names and contents of the folder. */
function files(): Map<string, string> {
  return new Map(
    readdirSync(folder)
      .filter((f) => f !== "dir" && f !== "bios-16M" && !f.startsWith("initrd-"))
      .map((f) => [f, readFileSync(path.join(folder, f), "latin1")]),
  );
}

test("bad input: one line that names option and value, status 1, nothing overwritten", async (t) => {
  const old = files();
  const queue = [
    ...refused.map((row, n) => [n % 2 ? "tandem-system-i386" : "tandem-system-x86_64", row] as const),
    ...refusedPpc.map((row) => ["tandem-system-ppc64", row] as const),
  ].values();
  const worker = async () => {
    for (const [program, [args, line]] of queue)
      await t.test(`${program} ${args.join(" ").replaceAll(root, "")}`, async () => {
        const { status, stdout, stderr } = await run(program, ["-display", "none", ...args]);
        assert.equal(status, 1, stderr);
        assert.equal(stdout, "");
        assert.match(stderr, /^[^\n]+\n$/, "one line");
        const said = stderr.trimEnd();
        assert.ok(said.startsWith(`${program}: `), said);
        const rest = said.slice(program.length + 2);
        if (typeof line === "string") assert.ok(rest.startsWith(line) && rest.length > line.length, rest);
        else assert.match(rest, line);
      });
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  assert.deepEqual(files(), old);
});

/** A machine that stands before its first instruction, once its monitor shows a prompt. */
async function paused(args: readonly string[]): Promise<ReturnType<typeof start>> {
  const machine = start("tandem-system-x86_64", ["-S", "-display", "none", "-monitor", "stdio", ...args]);
  await Promise.race([
    once(machine.child.stdout!, "data"),
    machine.ended.then((e) => assert.fail(`ended with ${e.status}: ${e.stderr}`)),
  ]);
  return machine;
}

/** Rows: the signal, its number, and whether the guest runs. */
const signals: [NodeJS.Signals, number, running: boolean][] = [
  ["SIGTERM", 15, false],
  ["SIGTERM", 15, true],
  ["SIGINT", 2, false],
  ["SIGINT", 2, true],
  ["SIGHUP", 1, true],
];

for (const [signal, number, running] of signals)
  test(`${signal} ends a ${running ? "running" : "stopped"} machine in order, what is written is on the disk`, async () => {
    const disk = path.join(folder, `disk-${signal}-${running}`);
    writeFileSync(disk, Buffer.alloc(1 << 20));
    const { child, ended } = await paused(["-drive", `file=${disk},format=raw`]);
    if (running) {
      child.stdin!.write("cont\ninfo status\n");
      for await (const data of child.stdout!) if (/VM status: running/.test(String(data))) break;
    }
    child.kill(signal);
    const { status, stderr } = await ended;
    assert.equal(status, 0, stderr);
    assert.equal(stderr, `tandem-system-x86_64: terminating on signal ${number} (${signal})\n`);
    // The lock is gone.
    const next = await paused(["-drive", `file=${disk},format=raw`]);
    next.child.stdin!.end("quit\n");
    assert.equal((await next.ended).status, 0);
  });

test("a machine without a terminal, monitor or work stays until a signal", async () => {
  const { child, ended } = start("tandem-system-x86_64", [
    "-S",
    "-display",
    "none",
    "-monitor",
    "none",
    "-serial",
    "file:serial",
  ]);
  let over = false;
  void ended.then(() => {
    over = true;
  });
  child.stdin!.end();
  // Node ends a process whose event loop is empty: long before another machine has come and gone.
  await run("tandem-system-x86_64", ["-display", "none", "-kernel", "text"]);
  const other = await paused([]);
  other.child.stdin!.end("quit\n");
  await other.ended;
  assert.equal(over, false, "still there");
  child.kill("SIGTERM");
  assert.equal((await ended).status, 0);
});

test("a disk that another machine writes to is refused, readers share one", { skip: process.platform !== "linux" }, async () => {
  const disk = path.join(folder, "shared.img");
  writeFileSync(disk, Buffer.alloc(1 << 20));
  const writer = `file=${disk},format=raw`;
  const reader = `${writer},readonly=on,if=virtio`;
  const refusal = async (drive: string) => {
    const { status, stderr } = await run("tandem-system-x86_64", ["-S", "-display", "none", "-drive", drive]);
    assert.equal(status, 1, stderr);
    assert.match(stderr, /^tandem-system-x86_64: -drive file=.*shared\.img,format=raw.*: .*lock.*\n$/);
  };
  const first = await paused(["-drive", writer]);
  await refusal(writer);
  await refusal(reader);
  first.child.stdin!.end("quit\n");
  assert.equal((await first.ended).status, 0);
  const readers = [await paused(["-drive", reader]), await paused(["-drive", reader])];
  await refusal(writer);
  for (const r of readers) {
    r.child.stdin!.end("quit\n");
    assert.equal((await r.ended).status, 0);
  }
});

test("a guest that stops by itself ends with its own words", async () => {
  // A kernel without a root file system panics; panic=-1 resets at once, and -no-reboot makes an end of it.
  const { status, stdout, stderr } = await run("tandem-system-x86_64", [
    ...["-nographic", "-no-reboot", ...kernel, "-append", "console=ttyS0 panic=-1 root=/dev/none"],
  ]);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /Kernel panic - not syncing: VFS: Unable to mount root fs/);
});

test("an initrd that is none is the guest's to complain about", async () => {
  const { status, stdout } = await run("tandem-system-x86_64", [
    ...["-nographic", "-no-reboot", ...kernel, "-initrd", "text", "-append", "console=ttyS0 panic=-1"],
  ]);
  assert.equal(status, 0);
  assert.match(stdout, /Initramfs unpacking failed: invalid magic at start of compressed archive/);
});
