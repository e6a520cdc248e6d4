import assert from "node:assert/strict";
import { test } from "node:test";
import { VmError } from "../../base/errors.js";
import type { DeviceType } from "../../hw/core/device-type.js";
import { defaultConfig, type MachineConfig } from "../../machine/config.js";
import { PrintAndExit } from "./draft.js";
import { parseCommandLine } from "./parse.js";
import { OPTION_GROUPS } from "./table.js";

const blk: DeviceType = {
  name: "virtio-blk-pci",
  aliases: ["virtio-blk"],
  bus: "pci",
  category: "storage",
  description: "",
  properties: [
    { name: "drive", type: "drive", default: undefined, description: "the drive" },
    { name: "queue-size", type: "uint16", default: 256, description: "entries" },
  ],
};
const uart: DeviceType = {
  name: "isa-serial",
  aliases: [],
  bus: "isa",
  category: "input",
  description: "",
  properties: [{ name: "chardev", type: "chardev", default: undefined, description: "backend" }],
};
const personality = { program: "tandem-system-x86_64", arch: "x86_64", deviceTypes: [blk, uart] } as const;

function parse(line: string | readonly string[]): MachineConfig {
  const result = parseCommandLine(typeof line === "string" ? line.split(" ").filter((w) => w !== "") : line, personality);
  if (result instanceof PrintAndExit) assert.fail(`printed: ${result.text}`);
  return result;
}

/** Rows: a command line and what it must be in the configuration. */
const accepted: [line: string, part: (c: MachineConfig) => unknown, expected: unknown][] = [
  ["", (c) => c.memoryBytes, 128 * 2 ** 20],
  ["", (c) => c.drives.map((d) => d.id), ["ide1-cd0", "floppy0"]],
  ["-nodefaults", (c) => [c.drives, c.serials, c.chardevs, c.vga], [[], [], [], "none"]],
  ["-m 512", (c) => c.memoryBytes, 512 * 2 ** 20],
  ["--m 1G", (c) => c.memoryBytes, 2 ** 30],
  ["-m size=1.5G", (c) => c.memoryBytes, 1.5 * 2 ** 30],
  ["-machine pc,accel=kvm:tcg,hpet=off", (c) => [c.accel.map((a) => a.name), c.hpet], [["kvm", "tcg"], false]],
  ["-M pc-i440fx-7.2 -no-acpi", (c) => [c.machine.type, c.acpi], ["pc", false]],
  ["-enable-kvm", (c) => c.accel, [{ name: "kvm", props: {} }]],
  [
    "-accel kvm,x-assist=off -accel tcg",
    (c) => c.accel.map((a) => [a.name, a.props["x-assist"]]),
    [
      ["kvm", "off"],
      ["tcg", undefined],
    ],
  ],
  ["-accel tcg,thread=single,tb-size=64", (c) => c.accel, [{ name: "tcg", props: { "tb-size": "64" } }]],
  [
    "-cpu Nehalem,+aes,-popcnt,sse4.2=off",
    (c) => c.cpu,
    {
      model: "Nehalem",
      features: [
        { name: "aes", on: true },
        { name: "popcnt", on: false },
        { name: "sse4.2", on: false },
      ],
      props: {},
    },
  ],
  ["-smp 4", (c) => c.smp, { cpus: 4, maxCpus: 4, sockets: 1, cores: 4, threads: 1 }],
  ["-smp 8,sockets=2,threads=2", (c) => c.smp, { cpus: 8, maxCpus: 8, sockets: 2, cores: 2, threads: 2 }],
  ["-smp 3", (c) => c.smp, { cpus: 3, maxCpus: 3, sockets: 1, cores: 3, threads: 1 }],
  ["-smp sockets=2,cores=2", (c) => c.smp, { cpus: 4, maxCpus: 4, sockets: 2, cores: 2, threads: 1 }],
  ["-kernel k -initrd i -append a=b", (c) => c.kernel, { image: "k", initrd: "i", append: "a=b" }],
  ["-bios b -L one -L two", (c) => [c.bios, c.firmwarePath], ["b", ["one", "two"]]],
  ["disk.img", (c) => [c.drives[0]!.file, c.drives[0]!.id], ["disk.img", "ide0-hd0"]],
  [
    "-cdrom cd.iso",
    (c) => c.drives.map((d) => [d.id, d.readOnly]),
    [
      ["ide1-cd0", true],
      ["floppy0", false],
    ],
  ],
  [
    "-drive file=d,if=virtio,format=raw",
    (c) => c.devices.map((d) => [d.driver, d.props]),
    [["virtio-blk-pci", { drive: "virtio0" }]],
  ],
  [
    "-drive file=d,if=none,id=x -device virtio-blk,drive=x,queue-size=64",
    (c) => c.devices.map((d) => [d.driver, d.props]),
    [["virtio-blk-pci", { drive: "x", "queue-size": "64" }]],
  ],
  [
    "-hda a -hdb b -snapshot",
    (c) => c.drives.slice(0, 2).map((d) => [d.index, d.snapshot]),
    [
      [0, true],
      [1, true],
    ],
  ],
  [
    "-nographic",
    (c) => [c.chardevs.map((x) => [x.id, x.backend, x.mux]), c.serials, c.monitors, c.graphics],
    [[["serial0", "stdio", true]], [{ chardev: "serial0" }], [{ chardev: "serial0", mode: "readline" }], false],
  ],
  [
    "-nographic -monitor none",
    (c) => [c.chardevs.map((x) => [x.id, x.backend, x.mux]), c.monitors],
    [[["serial0", "stdio", false]], []],
  ],
  ["-nographic -serial mon:stdio", (c) => c.monitors.length, 1],
  ["-serial stdio -monitor none -display none", (c) => c.chardevs.map((x) => [x.id, x.backend]), [["serial0", "stdio"]]],
  ["-serial none -serial file:log", (c) => c.serials, [{ chardev: undefined }, { chardev: "serial1" }]],
  [
    "-serial unix:/tmp/s,server,nowait",
    (c) => c.chardevs.map((x) => x.backend === "socket" && [x.address, x.server, x.wait]),
    [[{ kind: "unix", path: "/tmp/s" }, true, false]],
  ],
  [
    "-serial tcp:[::1]:4000,server=on",
    (c) => c.chardevs.map((x) => x.backend === "socket" && [x.address, x.server, x.wait]),
    [[{ kind: "tcp", host: "::1", port: 4000 }, true, true]],
  ],
  ["-chardev socket,id=c,host=localhost,port=1,reconnect=2 -serial chardev:c", (c) => c.serials, [{ chardev: "c" }]],
  ["-chardev stdio,id=c,mux=on -serial chardev:c -mon chardev=c", (c) => c.monitors, [{ chardev: "c", mode: "readline" }]],
  ["-chardev ringbuf,id=r,size=64K -device isa-serial,chardev=r", (c) => [c.devices.length, c.serials.length], [1, 0]],
  ["-rtc base=2020-02-03T04:05:06,clock=vm", (c) => c.rtc, { base: { startMs: Date.UTC(2020, 1, 3, 4, 5, 6) }, clock: "vm" }],
  ["-icount shift=3,sleep=off", (c) => c.icount, { shift: 3, align: false, sleep: false }],
  ["-icount auto", (c) => c.icount, { shift: "auto", align: false, sleep: true }],
  ["-boot dc", (c) => c.boot.order, "dc"],
  ["-boot once=d,menu=on,strict=on", (c) => [c.boot.order, c.boot.once, c.boot.menu, c.boot.strict], ["cad", "d", true, true]],
  ["-name guest=vm,debug-threads=on", (c) => c.name, "vm"],
  ["-uuid 8C0B2A2E-0000-4000-8000-0123456789AB", (c) => c.uuid, "8c0b2a2e-0000-4000-8000-0123456789ab"],
  ["-d int,guest_errors -d int -D log", (c) => c.trace, { items: ["int", "guest_errors"], file: "log" }],
  ["-global VGA.vgamem_mb=32", (c) => c.globals.map((g) => [g.driver, g.property, g.value]), [["VGA", "vgamem_mb", "32"]]],
  [
    "-object rng-random,id=r,filename=/dev/urandom",
    (c) => c.objects.map((o) => [o.type, o.id, o.props]),
    [["rng-random", "r", { filename: "/dev/urandom" }]],
  ],
  [
    "-S -no-reboot -no-shutdown -no-fd-bootchk",
    (c) => [c.startPaused, c.noReboot, c.noShutdown, c.fdBootCheck],
    [true, true, true, false],
  ],
  ["-qmp stdio", (c) => c.monitors, [{ chardev: "compat_monitor0", mode: "control" }]],
  [
    "-chardev socket,id=c,fd=7,server=on,wait=off -mon chardev=c,mode=control,pretty=on -serial none",
    (c) => [c.chardevs.map((x) => x.backend === "socket" && [x.address, x.passFds]), c.monitors],
    [[[{ kind: "fd", fd: 7 }, true]], [{ chardev: "c", mode: "control", pretty: true }]],
  ],
  ["-machine none", (c) => [c.machine.type, c.drives.length, c.serials.length], ["none", 0, 0]],
  ["-object memory-backend-ram,id=m,size=67108864 -machine memory-backend=m", (c) => c.memoryBytes, 67108864],
  ["-add-fd fd=30,set=2,opaque=log", (c) => c.fdSets, [{ set: 2, fd: 30, opaque: "log" }]],
  [
    "-daemonize -pidfile p -msg timestamp=on",
    (c) => c.launch,
    { daemonize: true, pidFile: "p", msgTimestamp: true, msgGuestName: false },
  ],
  ["-incoming defer", (c) => c.incoming, "defer"],
  [
    "-cpu qemu64,svm=off,-vmx",
    (c) => c.cpu.features.map((f) => [f.name, f.on]),
    [
      ["svm", false],
      ["vmx", false],
    ],
  ],
  ["-vga none -net none -nic none -parallel none -no-user-config -display none", (c) => c.vga, "none"],
];

test("accepted options act on the configuration", () => {
  for (const [line, part, expected] of accepted) {
    assert.deepEqual(part(parse(line)), expected, line);
  }
});

test("no arguments give the default configuration", () => {
  const { drives, chardevs, serials, ...rest } = parse("");
  const { drives: _d, chardevs: _c, serials: _s, ...expected } = defaultConfig();
  assert.deepEqual(JSON.parse(JSON.stringify(rest)), JSON.parse(JSON.stringify(expected)));
});

/** Rows: a command line and the one line it must be refused with. */
const refused: [line: string | string[], message: string | RegExp][] = [
  ["-foo", "-foo: invalid option"],
  ["--foo", "--foo: invalid option"],
  ["-m", "-m: requires an argument"],
  ["-m x", /^-m x: Parameter 'size' expects a size/],
  ["-m 0", "-m 0: the guest needs memory: size=0"],
  ["-m 1G,slots=2", "-m 1G,slots=2: Parameter 'slots' is not supported"],
  ["-machine q35", /^-machine q35: machine type 'q35' is not supported/],
  ["-machine foo", /^-machine foo: unsupported machine type 'foo'/],
  ["-machine pc,foo=on", "-machine pc,foo=on: Property 'pc.foo' not found"],
  ["-machine pc,usb=maybe", /usb=maybe is invalid: off or on/],
  ["-usbdevice disk", /USB device .disk. is not supported/],
  ["-watchdog-action bark", /unknown watchdog action/],
  ["-vnc foo", /expected .HOST.:DISPLAY/],
  ["-accel xyz", "-accel xyz: invalid accelerator xyz"],
  ["-accel tcg,thread=multi", /thread=multi is not supported/],
  ["-accel kvm,kernel-irqchip=foo", /kernel-irqchip=foo is not supported/],
  ["-accel kvm,thread=single", "-accel kvm,thread=single: Invalid parameter 'thread'"],
  ["-cpu foo", "-cpu foo: unable to find CPU model 'foo'"],
  ["-cpu qemu64,+foo", "-cpu qemu64,+foo: Property 'cpu.foo' not found"],
  ["-smp 0", /Parameter 'cpus' expects 1 to/],
  ["-smp 4,sockets=3,cores=1,threads=1", /Invalid CPU topology/],
  ["-smp 6,sockets=2,cores=3", /sockets=2,cores=3,threads=1: only powers of two/],
  ["-smp 6,cores=2,threads=3", /threads=3: only powers of two/],
  ["-smp 300", /takes at most 255/],
  ["-append x", "-append: only allowed with -kernel option"],
  ["-initrd x", "-initrd: only allowed with -kernel option"],
  ["-drive file=x,foo=1", "-drive file=x,foo=1: Invalid parameter 'foo'"],
  ["-drive file=x,format=vmdk", /Unknown driver 'vmdk'/],
  ["-hda a -hda b", /^-hda b: drive with .* exists/],
  ["-device foo", "-device foo: 'foo' is not a valid device model name"],
  ["-device virtio-blk-pci,foo=1", "-device virtio-blk-pci,foo=1: Property 'virtio-blk-pci.foo' not found"],
  ["-device virtio-blk-pci,drive=x", /can't find value 'x'/],
  ["-device virtio-blk-pci,queue-size=70000", /number below 2\^16/],
  ["-drive file=x,if=none,id=d -device virtio-blk,drive=d -device virtio-blk,drive=d", /already in use/],
  [["-device", '{"driver":'], /^-device \{"driver":: JSON parse error/],
  ["-chardev foo,id=a", "-chardev foo,id=a: 'foo' is not a valid char driver"],
  ["-chardev udp,id=a", "-chardev udp,id=a: chardev backend 'udp' is not supported"],
  ["-daemonize -serial stdio", /cannot use stdio with -daemonize/],
  ["-daemonize -nographic", /cannot be used with -daemonize/],
  ["-add-fd fd=1,set=0", /'fd' expects 3 to/],
  ["-add-fd set=0", /'fd' is missing/],
  ["-msg timestamp=maybe", /expects 'on' or 'off'/],
  ["-overcommit mem-lock=on", /mem-lock=on is not supported/],
  ["-audiodev alsa,id=a", /driver=alsa is not supported/],
  ["-incoming defer -loadvm a", /mutually exclusive/],
  ["-incoming nonsense", /unknown migration protocol/],
  ["-chardev null", "-chardev null: Parameter 'id' is missing"],
  ["-chardev null,id=a,foo=1", "-chardev null,id=a,foo=1: Invalid parameter 'foo'"],
  ["-chardev ringbuf,id=a,size=3", /power of two/],
  ["-chardev null,id=a -chardev null,id=a", /Duplicate ID 'a' for chardev/],
  ["-chardev null,id=a -serial chardev:a -serial chardev:a", /chardev 'a' is in use by -serial chardev:a/],
  ["-serial chardev:x", "-serial chardev:x: chardev 'x' not found"],
  ["-serial stdio -monitor stdio", "-monitor stdio: cannot use stdio by multiple character devices"],
  ["-serial vc", "-serial vc: 'vc' is not supported"],
  ["-serial foo", "-serial foo: 'foo' is not a character device"],
  ["-serial null -serial null -serial null -serial null -serial null", /4 serial ports/],
  ["-mon chardev=x,mode=control", /chardev .x. not found/],
  ["-mon chardev=x,mode=other", /does not accept value .other./],
  ["-mon chardev=x,pretty=on", /only for mode=control/],
  ["-chardev socket,id=x,fd=5,path=/tmp/s", /exclude each other/],
  ["-machine memory-backend=nope", /Memory backend .nope. not found/],
  ["-object memory-backend-ram,id=m,size=1M -machine memory-backend=m -m 2", /must match size/],
  ["-vga cirrus", "-vga cirrus: vga type 'cirrus' is not supported"],
  ["-vga foo", "-vga foo: unknown vga type: foo"],
  ["-display gtk", /display 'gtk' is not supported/],
  ["-rtc base=2020-13-40", /invalid datetime/],
  ["-rtc base=2021-02-30", /invalid datetime/],
  ["-icount shift=11", /Invalid shift value '11'/],
  ["-boot x1", /Invalid boot device/],
  ["-boot cc", /given twice/],
  ["-uuid 12", "-uuid 12: failed to parse UUID string: wrong format"],
  ["-d foo", /unknown or unsupported log item 'foo'/],
  ["-global foo", /Parameter 'driver' is missing/],
];

test("refused options name themselves", () => {
  for (const [line, message] of refused)
    assert.throws(
      () => parse(line),
      (e: unknown) => {
        assert.ok(e instanceof VmError, `${line}: ${e}`);
        assert.ok(!e.message.includes("\n"), `${line}: one line`);
        if (typeof message === "string") assert.equal(e.message, message, String(line));
        else assert.match(e.message, message, String(line));
        return true;
      },
    );
});

const printed: [line: string, text: RegExp][] = [
  ["-version", /^QEMU emulator version 7\.2\.0 \(Tandem 0\.1\.0\)\n/],
  ["--version", /^QEMU emulator version 7\.2\.0 \(Tandem 0\.1\.0\)\n/],
  ["-help", /usage: tandem-system-x86_64 \[options\] \[disk_image\]/],
  ["-machine help", /^Supported machines are:\npc /],
  ["-machine pc,help", /hpet=<on\|off>/],
  ["-accel help", /^tcg$/m],
  ["-cpu help", /x86 Nehalem/],
  ["-cpu ?", /Recognized CPUID flags/],
  ["-device help", /name "virtio-blk-pci", bus PCI, alias "virtio-blk"/],
  ["-device virtio-blk-pci,help", /queue-size=<uint16> {3}- entries \(default: 256\)/],
  ["-chardev help", /ringbuf/],
  ["-vga help", /^std/m],
  ["-display help", /^none$/m],
  ["-object help", /rng-random/],
  ["-object rng-random,help", /filename/],
  ["-d help", /guest_errors/],
];

test("help values print and end", () => {
  for (const [line, text] of printed) {
    const result = parseCommandLine(line.split(" "), personality);
    assert.ok(result instanceof PrintAndExit, line);
    assert.match(result.text, text, line);
  }
});

test("every option is in -help, once", () => {
  const names = OPTION_GROUPS.flatMap((g) => g.options.flatMap((o) => o.names));
  assert.equal(new Set(names).size, names.length);
  const result = parseCommandLine(["-help"], personality);
  assert.ok(result instanceof PrintAndExit);
  for (const n of names) assert.match(result.text, new RegExp(`-${n}\\b`), n);
});

test("the API's default character devices are streams", () => {
  const c = parseCommandLine([], { ...personality, streams: true });
  assert.ok(!(c instanceof PrintAndExit));
  assert.deepEqual(
    c.chardevs.map((x) => [x.id, x.backend]),
    [
      ["serial0", "stream"],
      ["monitor0", "stream"],
    ],
  );
  const d = parseCommandLine(["-serial", "null", "-monitor", "none"], { ...personality, streams: true });
  assert.ok(!(d instanceof PrintAndExit));
  assert.deepEqual(
    d.chardevs.map((x) => x.backend),
    ["null"],
  );
});
