import assert from "node:assert/strict";
import { test } from "node:test";
import type { Chardev, ChardevFrontend } from "../../host/chardev.js";
import { defaultConfig } from "../../machine/config.js";
import { FakeBoard, fakeHost } from "../../machine/test-board.js";
import { Machine } from "../../machine/vm.js";
import type { MonitorTarget } from "../target.js";
import { HmpConsole } from "./console.js";
import { evaluate } from "./expression.js";
import { COMMANDS, HmpSession, INFO_COMMANDS } from "./session.js";

async function make() {
  let board!: FakeBoard;
  const host = fakeHost({ "cd.iso": new Uint8Array(4096), disk: new Uint8Array(512) });
  const config = {
    ...defaultConfig(),
    name: "guest",
    chardevs: [{ id: "r", mux: false, origin: "-chardev", backend: "ringbuf", sizeBytes: 16 }] as const,
    serials: [{ chardev: "r" }],
    drives: [
      {
        id: "ide1-cd0",
        if: "ide",
        index: 2,
        media: "cdrom",
        readOnly: true,
        snapshot: false,
        cache: "writeback",
        discard: false,
        werror: "enospc",
        rerror: "report",
        origin: "",
      },
      {
        id: "ide0-hd0",
        if: "ide",
        index: 0,
        media: "disk",
        file: "disk",
        readOnly: false,
        snapshot: false,
        cache: "unsafe",
        discard: false,
        werror: "enospc",
        rerror: "report",
        origin: "",
      },
    ] as const,
  };
  const machine = await Machine.create(config, {
    host,
    createBoard: async (c, parts) => {
      board = new FakeBoard(c, parts);
      return board;
    },
    openMonitor: () => {},
  });
  // The machine has the shape that monitors depend on.
  const target: MonitorTarget = machine;
  const session = new HmpSession(target);
  const execute = async (line: string) => {
    let out = "";
    await session.execute(line, (text) => {
      out += text;
    });
    return out;
  };
  return { machine, board, host, target, execute, session };
}

/** Rows run in order on one machine: a line and its output. */
const rows: [line: string, output: string | RegExp][] = [
  ["", ""],
  ["# a remark", ""],
  ["info status", "VM status: paused (prelaunch)\n"],
  ["c", ""],
  ["info status", "VM status: running\n"],
  ["stop", ""],
  ["info status", "VM status: paused\n"],
  ["info version", /^7\.2\.0 \(Tandem \d/],
  ["info name", "guest\n"],
  ["info uuid", "00000000-0000-0000-0000-000000000000\n"],
  ["info registers", "RAX=0000000000000000\n"],
  ["info registers -a", /CPU#0\nRAX=0+\n\nCPU#1\nRAX=0+1\n/],
  ["info registers -z", /unsupported option -z/],
  ["info cpus", "* CPU #0: pc=0x0000000000007c00\n  CPU #1: pc=0xffffffff80000000 (halted)\n"],
  ["cpu 1", ""],
  ["info registers", "RAX=0000000000000001\n"],
  ["cpu 9", "Error: invalid CPU index\n"],
  ["cpu 0", ""],
  ["info pic", "pic report\n"],
  ["info irq", "irq report\n"],
  ["info tlb", "tlb report\n"],
  ["info mem", "mem report\n"],
  ["info jit", "jit report\n"],
  ["info pci", ""],
  ["info qtree", /bus: main-system-bus\n {2}type System\n {2}dev: i440FX-pcihost, id ""\n {4}x-n = 1\n {4}bus: pci\.0/],
  ["info mtree", /address-space: memory\n.*\n {4}0000000000000000-000000000000ffff \(prio 0, ram\): pc\.ram\n/],
  ["info mtree -f", /FlatView\n AS "I\/O"\n {2}0000000000000080-0000000000000080 \(prio 0, i\/o\): post\n/],
  [
    "info block",
    "ide1-cd0: [not inserted]\n    Removable device: not locked, tray closed\n\nide0-hd0: disk (raw)\n    Cache mode:       unsafe\n",
  ],
  ["info chardev", "r: filename=ringbuf\n"],
  ["info nothing", "unknown command: 'info nothing'\n"],
  ["nothing", "unknown command: 'nothing'\n"],
  ["stop/4x", "unknown command: 'stop/4x'\n"],
  ["stop now", /^stop: extraneous characters/],
  ["xp 0x10", "0000000000000010: 0x13121110\n"],
  ["xp/4xb 0x10", "0000000000000010: 0x10 0x11 0x12 0x13\n"],
  ["xp/2xg 0", "0000000000000000: 0x0706050403020100 0x0f0e0d0c0b0a0908\n"],
  ["xp /5xw 0", "0000000000000000: 0x03020100 0x07060504 0x0b0a0908 0x0f0e0d0c\n0000000000000010: 0x13121110\n"],
  ["xp/2c 0x41", "0000000000000041: 'A' 'B'\n"],
  ["xp/1db 0xff", "00000000000000ff:  -1\n"],
  ["xp/1ub 0xff", "00000000000000ff: 255\n"],
  ["xp/1ob 0xff", "00000000000000ff: 0377\n"],
  ["x/1xb $rsp+1", "0000000000000011: 0x11\n"],
  ["x/1xw 0x1000", "0000000000001000: Cannot access memory\n"],
  ["x/2i 0", /^0x00000000: {2}90 +nop\n0x00000001: /],
  ["xp/0x 0", /count of 1 to 65536 expected/],
  ["xp/4z 0", /invalid char in format: 'z'/],
  ["xp", /unexpected end of expression/],
  ["x $nope", /unknown register/],
  ["p 1 + 2 * 3", "0x7\n"],
  ["p/x 0x10 | 1", "0x11\n"],
  ["p/d -1", "-1\n"],
  ["p/c 65", "'A'\n"],
  ["i/b 0x80", "portb[0x0080] = 0x5a\n"],
  ["o/b 0x80 7", ""],
  ["sendkey ctrl-alt-f1", ""],
  ["sendkey a 50", ""],
  ["sendkey foo", /unknown key: 'foo'/],
  ["system_powerdown", ""],
  ["nmi", ""],
  ["system_reset", ""],
  ["system_wakeup", "Error: Unable to wake up: guest is not in suspended state\n"],
  ["screendump shot.ppm", ""],
  ["screendump shot -f png", ""],
  ["screendump -f png shot2", ""],
  ["screendump shot -f gif", /unknown format 'gif'/],
  ["change ide1-cd0 cd.iso", ""],
  ["info block", /^ide1-cd0: cd\.iso \(raw, read-only\)\n/],
  ["eject ide1-cd0", ""],
  ["eject ide0-hd0", /not removable/],
  ["eject nothing", /Device 'nothing' not found/],
  ["change ide1-cd0 missing.iso", /No such file or directory/],
  ["change ide1-cd0 cd.iso qcow2", /format 'qcow2' is not supported/],
  ["ringbuf_write r abc", ""],
  ["ringbuf_read r 100", "ABC\n"],
  ["ringbuf_read x 1", /'x' is not a ringbuf device/],
  ["log int,guest_errors", ""],
  ["log foo", "Error: unknown log item 'foo'\n"],
  ["log none", ""],
  ["pmemsave 0x41 3 mem.bin", ""],
  ["memsave 0x1000 3 mem.bin", /Invalid addr/],
  ["help stop", "stop|s -- stop emulation\n"],
  ["help xp", "xp/fmt addr -- physical memory dump starting at 'addr'\n"],
  ["help info status", "info status -- show the current VM status (running|paused)\n"],
  ['screendump "a b.ppm', /unterminated string/],
  ["x".repeat(5000), /line longer than 4096/],
];

test("commands", async () => {
  const { execute, board, host, machine } = await make();
  for (const [line, output] of rows) {
    const got = await execute(line);
    if (typeof output === "string") assert.equal(got, output, line);
    else assert.match(got, output, line);
  }
  assert.deepEqual(board.log, ["start", "stop", "out 7", "keys ctrl+alt+f1 100", "keys a 50", "powerdown", "nmi", "reset"]);
  assert.equal(new TextDecoder().decode(host.contents.get("shot.ppm")!.subarray(0, 10)), "P6\n2 1\n255");
  assert.deepEqual(host.contents.get("shot")!.subarray(1, 4), new TextEncoder().encode("PNG"));
  assert.equal(new TextDecoder().decode(host.contents.get("mem.bin")), "ABC");
  const help = await execute("help");
  for (const c of COMMANDS) assert.match(help, new RegExp(`^${c.names[0]!.replace("?", "\\?")}`, "m"));
  const info = await execute("info");
  for (const c of INFO_COMMANDS) assert.match(info, new RegExp(`^info ${c.names[0]}`, "m"));
  assert.equal(await execute("quit"), "");
  assert.deepEqual(await machine.ended, { reason: "quit", status: 0 });
});

test("expressions", () => {
  const register = (name: string) => (name === "eax" ? 5n : undefined);
  const good: [string, bigint][] = [
    ["1", 1n],
    ["0x10", 16n],
    ["010", 8n],
    ["'A'", 65n],
    ["$eax*2", 10n],
    ["(1+2)*3", 9n],
    ["1+2*3", 7n],
    ["7&3+1", 4n],
    ["-1", 0xffff_ffff_ffff_ffffn],
    ["~0", 0xffff_ffff_ffff_ffffn],
    ["7%4", 3n],
    ["9/2", 4n],
    ["0xffffffffffffffff+1", 0n],
  ];
  for (const [text, value] of good) assert.deepEqual(evaluate(text, 0, register), { value, end: text.length }, text);
  for (const text of [
    "",
    "(",
    "1+",
    "1/0",
    "$",
    "$foo",
    "0x",
    "08",
    "12ab",
    "0x1ffffffffffffffff",
    "'a",
    "(".repeat(1000),
    "-".repeat(1000),
  ])
    assert.throws(() => evaluate(text, 0, register), /^VmError/, text.slice(0, 20));
});

test("completion", async () => {
  const { session, machine } = await make();
  const good: [string, string[]][] = [
    ["sto", ["stop"]],
    ["system_", ["system_powerdown", "system_reset", "system_wakeup"]],
    ["info pi", ["pic"]],
    ["info p", ["pci", "pic"]],
    ["eject ", ["ide1-cd0"]],
    ["sendkey f1", ["f1", "f10", "f11", "f12"]],
    ["zzz ", []],
  ];
  for (const [line, expected] of good) assert.deepEqual(session.complete(line), expected, line);
  machine.quit();
});

test("the console: greeting, prompt, editing", async () => {
  const { machine, target } = await make();
  let out = "";
  let frontend!: ChardevFrontend;
  const chardev: Chardev = {
    id: "mon",
    write: (d) => {
      out += new TextDecoder().decode(d);
    },
    attach: (f) => {
      frontend = f!;
    },
    resume: () => {},
    close: () => {},
  };
  new HmpConsole(target, chardev);
  frontend.event?.("opened");
  assert.equal(out, "QEMU 7.2.0 monitor - type 'help' for more information\r\n(qemu) ");
  const type = async (keys: string) => {
    out = "";
    frontend.receive(new TextEncoder().encode(keys));
    for (let i = 0; i < 20; i++) await Promise.resolve();
    return out;
  };
  const keys: [string, string][] = [
    ["info name\r", "info name\r\nguest\r\n(qemu) "],
    ["\x1b[A\r\n", "info name\x1b[K\r\nguest\r\n(qemu) "],
    ["info nme\x1b[D\x1b[Da\r", "info nme\x1b[1D\x1b[1Dame\x1b[2D\r\nguest\r\n(qemu) "],
    ["xyz\x15", "xyz\x1b[3D\x1b[K"],
    ["info na\t\r", "info name \r\nguest\r\n(qemu) "],
    ["info name\rinfo uuid\r", "info name\r\nguest\r\n(qemu) info uuid\r\n00000000-0000-0000-0000-000000000000\r\n(qemu) "],
    ["\x1b[99;99;99;99;99;99;99;99Zok\x7f\x7f", "ok\x1b[1D\x1b[K\x1b[1D\x1b[K"],
  ];
  for (const [k, expected] of keys) assert.equal(await type(k), expected, JSON.stringify(k));
  machine.quit();
});
