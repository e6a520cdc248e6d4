/**
 * Debian's libvirt, unchanged, drives Tandem: probe, define, start, suspend, resume, screenshot, save, restore, managed save,
 * reset, destroy. libvirt's driver runs inside virsh (`qemu:///embed`), below a folder of its own, so that nothing of the host's
 * libvirt is touched. Needs root, for that driver runs as whoever starts it. The programs must be built.
 */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { debianTest, type PackageFile } from "../testkit/debian.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), "tandem-libvirt-"));
after(() => {
  // What a failed test left behind.
  const run = path.join(folder, "run/qemu");
  if (existsSync(run))
    for (const name of ["vm"]) {
      const file = path.join(run, `${name}.pid`);
      if (existsSync(file)) process.kill(Number(readFileSync(file, "utf8")), "SIGKILL");
    }
  rmSync(folder, { recursive: true, force: true });
});
const at = (...names: string[]) => path.join(folder, ...names);

const NEEDS: PackageFile[] = [
  { package: "libvirt-clients", path: "/usr/bin/virsh" },
  { package: "libvirt-daemon-driver-qemu", path: "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so" },
];

mkdirSync(at("bin"));
mkdirSync(at("etc"));
writeFileSync(
  at("etc/qemu.conf"),
  'security_driver = "none"\nuser = "root"\ngroup = "root"\ncgroup_controllers = []\nnamespaces = []\nremember_owner = 0\nstdio_handler = "file"\n',
);
// The only emulator and the only Node that libvirt sees.
symlinkSync(path.join(root, "bin/tandem-system-x86_64"), at("bin/qemu-system-x86_64"));
symlinkSync(process.execPath, at("bin/node"));

/** Runs virsh commands in one connection. @returns what they print, without libvirt's own log */
function virsh(...commands: string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile(
      "/usr/bin/virsh",
      ["-q", "-c", `qemu:///embed?root=${folder}`, commands.join("; ")],
      { env: { PATH: at("bin"), HOME: folder, LC_ALL: "C" }, timeout: 400_000 },
      (_error, stdout, stderr) =>
        resolve(`${stdout}${stderr.replace(/^\d{4}-\d\d-\d\d [\d:.+]+: \d+: (info|warning) .*\n/gm, "")}`),
    );
  });
}

/** Runs virsh commands in one connection, and after the first part waits for text in a file of the guest's. */
function virshAround(first: readonly string[], file: string, text: string, rest: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("/usr/bin/virsh", ["-q", "-c", `qemu:///embed?root=${folder}`], {
      env: { PATH: at("bin"), HOME: folder, LC_ALL: "C" },
      stdio: ["pipe", "pipe", "pipe"],
    });
    let output = "";
    const limit = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`no '${text}' in ${file} within 200 s\n${output}`));
    }, 200_000);
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (d) => {
        output += d;
      });
    const look = setInterval(() => {
      if (!existsSync(file) || !readFileSync(file, "utf8").includes(text)) return;
      clearInterval(look);
      child.stdin.end(rest.map((c) => `${c}\n`).join(""));
    }, 100);
    child.on("error", reject);
    child.on("close", () => {
      clearTimeout(limit);
      clearInterval(look);
      resolve(output.replace(/^\d{4}-\d\d-\d\d [\d:.+]+: \d+: (info|warning) .*\n/gm, "").replace(/^virsh # /gm, ""));
    });
    child.stdin.write(first.map((c) => `${c}\n`).join(""));
  });
}

const domain = (type: string) => `<domain type='${type}'>
  <name>vm</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type>
    <kernel>${root}guests/x86_64/bzImage</kernel><initrd>${root}guests/x86_64/initrd.lz4</initrd><cmdline>console=ttyS0</cmdline></os>
  <features><acpi/></features>
  <devices>
    <controller type='usb' model='none'/>
    <serial type='file'><source path='${at("serial.log")}' append='on'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='virtio'><stats period='1'/></memballoon>
    <video><model type='vga'/></video>
  </devices>
</domain>`;

const isRoot = process.getuid?.() === 0;

debianTest("libvirt's probe: capabilities and domain capabilities", NEEDS, async (t) => {
  if (!isRoot) return t.skip("needs root");
  const capabilities = await virsh("capabilities");
  assert.match(capabilities, /<machine maxCpus='\d+'>pc-i440fx-7\.2<\/machine>/, capabilities);
  assert.match(capabilities, /<machine canonical='pc-i440fx-7\.2' maxCpus='\d+'>pc<\/machine>/);
  assert.match(capabilities, /<domain type='qemu'\/>/);
  const offers = await virsh("domcapabilities --virttype qemu");
  assert.match(offers, /<machine>pc-i440fx-7\.2<\/machine>/, offers);
  assert.match(offers, /<model usable='yes' vendor='Intel'>Nehalem<\/model>/);
  assert.match(offers, /<mode name='maximum' supported='yes'>/);
  assert.match(offers, /<rng supported='yes'>/);
});

debianTest("a domain's life", NEEDS, async (t) => {
  if (!isRoot) return t.skip("needs root");
  writeFileSync(at("vm.xml"), domain("qemu"));
  const start = [`define ${at("vm.xml")}`, "start vm", "domstate vm --reason"];
  const life = [
    "suspend vm",
    "domstate vm --reason",
    "resume vm",
    "domstate vm --reason",
    `screenshot vm ${at("screen")}`,
    "send-key vm KEY_LEFTSHIFT KEY_A",
    "inject-nmi vm",
    "qemu-monitor-command vm --hmp info version",
    `save vm ${at("saved")}`,
    "domstate vm --reason",
    `restore ${at("saved")}`,
    "domstate vm --reason",
    "managedsave vm",
    "start vm",
    "domstate vm --reason",
    "reset vm",
    "dommemstat vm",
    "destroy vm",
    "domstate vm --reason",
  ];
  const out = await virshAround(start, at("serial.log"), "Linux version", life);
  assert.doesNotMatch(out, /^error:/m, out);
  const states = out.split("\n").filter((l) => /^(running|paused|shut off) \(/.test(l));
  assert.deepEqual(
    states,
    [
      "running (booted)",
      "paused (user)",
      "running (unpaused)",
      "shut off (saved)",
      "running (restored)",
      "running (restored)",
      "shut off (destroyed)",
    ],
    out,
  );
  assert.match(out, /7\.2\.0 \(Tandem/);
  assert.match(out, /^actual 65536$/m);
  // The picture is what libvirt got through the monitor.
  const picture = ["screen", "screen.ppm", "screen.png"].find((f) => existsSync(at(f)));
  assert.ok(picture !== undefined, out);
});

debianTest("a domain that cannot start says why, in our own words", NEEDS, async (t) => {
  if (!isRoot) return t.skip("needs root");
  writeFileSync(
    at("bad.xml"),
    domain("qemu")
      .replace(/<name>vm/, "<name>bad")
      .replace("bzImage", "nothing"),
  );
  const out = await virsh(`define ${at("bad.xml")}`, "start bad");
  assert.match(out, /error: .*(tandem-system-x86_64: -kernel|nothing).*No such file or directory/, out);
});
