import assert from "node:assert/strict";
import { test } from "node:test";
import { VmError } from "../base/errors.js";
import type { BoardRequest } from "./board.js";
import { defaultConfig, type MachineConfig } from "./config.js";
import type { MachineEvent } from "./events.js";
import { FakeBoard, fakeHost } from "./test-board.js";
import { Machine } from "./vm.js";

async function make(change: Partial<MachineConfig> = {}, host = fakeHost()) {
  let board!: FakeBoard;
  const machine = await Machine.create(
    { ...defaultConfig(), ...change },
    {
      host,
      createBoard: async (config, parts) => {
        board = new FakeBoard(config, parts);
        return board;
      },
      openMonitor: () => {},
    },
  );
  const events: MachineEvent[] = [];
  const collected = (async () => {
    for await (const e of machine.events()) events.push(e);
  })();
  return { machine, board, host, events, collected };
}

/** Rows: flags, what the guest asks, and what must have happened. */
const policy: {
  name: string;
  config?: Partial<MachineConfig>;
  request: BoardRequest;
  log: string[];
  state?: string;
  end?: { reason: string; status: number };
  events: string[];
}[] = [
  {
    name: "reset",
    request: { kind: "reset", reason: "guest-reset" },
    log: ["start", "reset"],
    state: "running",
    events: ["resume", "reset"],
  },
  {
    name: "reset with -no-reboot",
    config: { noReboot: true },
    request: { kind: "reset", reason: "triple-fault" },
    log: ["start", "stop", "dispose"],
    end: { reason: "guest-reset", status: 0 },
    events: ["resume", "shutdown"],
  },
  {
    name: "power-off",
    request: { kind: "shutdown", reason: "guest-shutdown" },
    log: ["start", "stop", "dispose"],
    end: { reason: "guest-shutdown", status: 0 },
    events: ["resume", "shutdown"],
  },
  {
    name: "power-off with -no-shutdown",
    config: { noShutdown: true },
    request: { kind: "shutdown", reason: "guest-shutdown" },
    log: ["start", "stop"],
    state: "shutdown",
    events: ["resume", "shutdown", "stop"],
  },
  {
    name: "isa-debug-exit",
    request: { kind: "exit", status: 33 },
    log: ["start", "stop", "dispose"],
    end: { reason: "guest-exit", status: 33 },
    events: ["resume", "shutdown"],
  },
  {
    name: "panic",
    request: { kind: "panic", action: "panicked" },
    log: ["start", "stop", "dispose"],
    end: { reason: "guest-panicked", status: 0 },
    events: ["resume", "guest-panicked", "shutdown"],
  },
  {
    name: "panic with -no-shutdown",
    config: { noShutdown: true },
    request: { kind: "panic", action: "panicked" },
    log: ["start", "stop"],
    state: "guest-panicked",
    events: ["resume", "guest-panicked", "shutdown", "stop"],
  },
  {
    name: "a crash kernel is loaded",
    request: { kind: "panic", action: "crash-loaded" },
    log: ["start"],
    state: "running",
    events: ["resume", "guest-panicked"],
  },
  {
    name: "disk error",
    request: { kind: "io-error", drive: "d", write: true, message: "No space left on device" },
    log: ["start", "stop"],
    state: "io-error",
    events: ["resume", "io-error", "stop"],
  },
  {
    name: "suspend",
    request: { kind: "suspend" },
    log: ["start", "stop"],
    state: "suspended",
    events: ["resume", "suspend", "stop"],
  },
  {
    name: "a bug of ours",
    request: { kind: "internal-error", message: "oops" },
    log: ["start", "stop", "dispose"],
    end: { reason: "internal-error", status: 1 },
    events: ["resume", "internal-error"],
  },
];

test("what a guest's requests lead to", async () => {
  for (const row of policy) {
    const { machine, board, events, collected } = await make(row.config);
    machine.run();
    board.onRequest(row.request);
    if (row.end) assert.deepEqual(await machine.ended, row.end, row.name);
    else {
      await machine.pause().catch(() => {});
      assert.deepEqual(
        machine.runState === "paused"
          ? row.state === "running" || row.state === "suspended"
            ? row.state
            : "paused"
          : machine.runState,
        row.state,
        row.name,
      );
    }
    const wanted = row.end ? row.log : board.log.slice(0, row.log.length);
    assert.deepEqual(wanted, row.log, row.name);
    machine.quit();
    await collected;
    assert.deepEqual(
      events.slice(0, row.events.length).map((e) => e.type),
      row.events,
      row.name,
    );
  }
});

test("after a power-off a reset is needed", async () => {
  const { machine, board } = await make({ noShutdown: true });
  machine.run();
  board.onRequest({ kind: "shutdown", reason: "guest-shutdown" });
  assert.throws(() => machine.run(), /Resetting the Virtual Machine is required/);
  machine.reset();
  assert.equal(machine.runState, "paused");
  machine.run();
  assert.equal(machine.runState, "running");
  machine.quit(3);
  assert.deepEqual(await machine.ended, { reason: "quit", status: 3 });
  assert.throws(
    () => machine.run(),
    (e) => e instanceof VmError && e.code === "closed",
  );
});

test("serial streams, and waiting for text", async () => {
  const { machine } = await make({
    chardevs: [{ id: "s", mux: false, origin: "", backend: "stream" }],
    serials: [{ chardev: "s" }],
  });
  const { readable, writable } = machine.serial();
  const seen = machine.waitForSerial("HELLO");
  const writer = writable.getWriter();
  await writer.write("hello world, longer than sixteen bytes");
  assert.match(await seen, /HELLO WORLD/);
  const reader = readable.getReader();
  let text = "";
  while (text.length < 38) {
    const { value } = await reader.read();
    text += new TextDecoder().decode(value);
  }
  assert.equal(text, "HELLO WORLD, LONGER THAN SIXTEEN BYTES");
  const abort = new AbortController();
  const never = machine.waitForSerial("never", { signal: abort.signal });
  abort.abort();
  await assert.rejects(never, (e) => e instanceof VmError && e.code === "aborted");
  const closed = machine.waitForSerial("never");
  await machine[Symbol.asyncDispose]();
  await assert.rejects(closed, (e) => e instanceof VmError && e.code === "closed");
  assert.equal((await reader.read()).done, true);
});

test("accelerators: kvm falls back, alone it is refused", async () => {
  const host = fakeHost();
  const { machine } = await make(
    {
      accel: [
        { name: "kvm", props: {} },
        { name: "tcg", props: {} },
      ],
    },
    host,
  );
  assert.deepEqual(host.notes, [
    "Could not access KVM kernel module: No such file or directory",
    "KVM is a part of Linux; use -accel tcg",
    "falling back to tcg",
  ]);
  machine.quit();
  await assert.rejects(
    make({ accel: [{ name: "kvm", props: {} }] }),
    (e) => e instanceof VmError && e.code === "accel/unavailable",
  );
});

test("files that are missing or too large", async () => {
  const host = fakeHost({ big: new Uint8Array(100) });
  const { machine, board } = await make({ firmwarePath: ["fw"] }, host);
  const read = (path: string) => board.parts.readFile("-kernel", path, 50);
  await assert.rejects(read("none"), /^VmError: -kernel none: No such file or directory$/);
  await assert.rejects(read("big"), /^VmError: -kernel big: 100 bytes are too large: at most 50 fit$/);
  host.contents.set("fw/a", Uint8Array.of(1)).set("builtin:firmware/b", Uint8Array.of(2));
  assert.deepEqual(await board.parts.readFirmware("-bios", "a"), Uint8Array.of(1));
  assert.deepEqual(await board.parts.readFirmware("", "b"), Uint8Array.of(2));
  await assert.rejects(board.parts.readFirmware("-bios", "c"), /^VmError: -bios c: Could not find the firmware image$/);
  machine.quit();
});

test("the trace log and a chardev's log file", async () => {
  const host = fakeHost();
  const { machine, board } = await make(
    {
      trace: { items: ["guest_errors"], file: "log" },
      chardevs: [{ id: "r", mux: false, origin: "-chardev", backend: "ringbuf", sizeBytes: 16, logFile: "copy" }],
      serials: [{ chardev: "r" }],
    },
    host,
  );
  machine.trace.guestError("pit", "bad mode");
  board.parts.trace.log("int", "not asked for");
  machine.quit();
  await machine.ended;
  assert.equal(new TextDecoder().decode(host.contents.get("log")), "pit: bad mode\n");
  assert.equal(host.contents.get("copy")?.length, 0);
});

test("a failure while building leaves nothing open", async () => {
  const host = fakeHost();
  await assert.rejects(
    make({ chardevs: [{ id: "x", mux: false, origin: "-serial file:x", backend: "file", path: "x", append: false }] }, host),
    /^VmError: -serial file:x: no such thing here$/,
  );
});
