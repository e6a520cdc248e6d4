import assert from "node:assert/strict";
import test from "node:test";
import { VmError } from "../../base/errors.js";
import type { Chardev, ChardevFrontend } from "../../host/chardev.js";
import { createVirtioSerialPci, type VirtioSerialOptions } from "./console.js";
import {
  type DriverQueue,
  kitMachine,
  le,
  legacyTransport,
  modernTransport,
  plug,
  VirtioDriver,
  WITHOUT_EVENT_IDX,
} from "./driver-kit.js";

/** A stream with an outside of arrays; holds input until there is room. */
class TestChardev implements Chardev {
  readonly id = "c";
  written = "";
  frontend: ChardevFrontend | undefined;
  private input: number[] = [];
  write(data: Uint8Array): void {
    this.written += new TextDecoder().decode(data);
  }
  attach(frontend: ChardevFrontend | undefined): void {
    this.frontend = frontend;
  }
  resume(): void {
    for (;;) {
      const n = Math.min(this.frontend?.canReceive() ?? 0, this.input.length);
      if (n === 0) return;
      this.frontend!.receive(Uint8Array.from(this.input.splice(0, n)));
    }
  }
  type(text: string): void {
    this.input.push(...new TextEncoder().encode(text));
    this.resume();
  }
  close(): void {}
}

function setup(options: VirtioSerialOptions & { modern?: boolean; without?: bigint } = {}) {
  const machine = kitMachine();
  const { pci, device } = createVirtioSerialPci(machine, options);
  const console = new TestChardev();
  const agent = new TestChardev();
  device.addPort({ console: true, chardev: console });
  if (device.maxPorts > 1) device.addPort({ console: false, name: "org.qemu.guest_agent.0", chardev: agent });
  const wires = plug(pci);
  const transport = options.modern === false ? legacyTransport(machine, pci) : modernTransport(machine, pci);
  const driver = new VirtioDriver(machine, transport);
  assert.ok(driver.init(device.maxPorts > 1 ? 6 : 2, WITHOUT_EVENT_IDX | (options.without ?? 0n)));
  const [rx0, tx0, ctrlIn, ctrlOut, rx1, tx1] = driver.queues as DriverQueue[];
  const say = (id: number, event: number, value: number) => {
    ctrlOut!.add([{ out: le([id, 4], [event, 2], [value, 2]) }]);
    ctrlOut!.kick();
    ctrlOut!.take();
  };
  const heard = () =>
    ctrlIn!.take().map((u) => {
      const b = u.in[0]!.subarray(0, u.length);
      return [b[0], b[4], b[6], new TextDecoder().decode(b.subarray(8)).replace("\0", "")];
    });
  return {
    machine,
    pci,
    device,
    console,
    agent,
    driver,
    rx0: rx0!,
    tx0: tx0!,
    ctrlIn: ctrlIn!,
    rx1: rx1!,
    tx1: tx1!,
    say,
    heard,
    ...wires,
  };
}

const text = (u: { in: Uint8Array[]; length: number }[]) =>
  u.map((e) => new TextDecoder().decode(Uint8Array.from(e.in.flatMap((b) => [...b]).slice(0, e.length)))).join("");

for (const modern of [true, false])
  test(`ports are announced, opened and used, ${modern ? "modern" : "legacy"}`, async () => {
    const k = setup({ modern });
    const opened: boolean[] = [];
    k.device.portList()[1]!.onGuestOpen = (open) => opened.push(open);
    for (let i = 0; i < 16; i++) k.ctrlIn.add([{ in: 64 }]);
    k.say(0, 0, 1);
    assert.deepEqual(k.heard(), [
      [0, 1, 1, ""],
      [1, 1, 1, ""],
    ]);
    k.say(0, 3, 1);
    k.say(1, 3, 1);
    assert.deepEqual(k.heard(), [
      [0, 4, 1, ""],
      [0, 6, 1, ""],
      [1, 7, 1, "org.qemu.guest_agent.0"],
      [1, 6, 1, ""],
    ]);
    // Input waits for the guest to open the port, and for buffers.
    k.agent.type("hello, guest");
    k.rx1.add([{ in: 5 }]);
    k.rx1.kick();
    assert.equal(k.rx1.take().length, 0);
    k.say(1, 6, 1);
    assert.deepEqual(opened, [true]);
    assert.equal(text(k.rx1.take()), "hello");
    k.rx1.add([{ in: 64 }]);
    k.rx1.kick();
    assert.equal(text(k.rx1.take()), ", guest");
    await k.machine.settle();
    assert.equal(k.intx(), true);
    k.tx1.add([{ out: new TextEncoder().encode("hello, ") }, { out: new TextEncoder().encode("host") }]);
    k.tx1.kick();
    assert.equal(k.agent.written, "hello, host");
    // The outside goes, and what is written is lost.
    k.agent.frontend!.event!("closed");
    assert.deepEqual(k.heard(), [[1, 6, 0, ""]]);
    k.tx1.add([{ out: new TextEncoder().encode("lost") }]);
    k.tx1.kick();
    assert.equal(k.tx1.take().length, 2);
    assert.equal(k.agent.written, "hello, host");
    k.driver.transport.setStatus(0);
    assert.deepEqual(opened, [true, false]);
  });

test("one port without control messages", () => {
  for (const options of [{ maxPorts: 1 }, { without: 1n << 1n }]) {
    const k = setup(options);
    k.rx0.add([{ in: 64 }]);
    k.rx0.kick();
    k.console.type("root\n");
    assert.equal(text(k.rx0.take()), "root\n");
    k.tx0.add([{ out: new TextEncoder().encode("login: ") }]);
    k.tx0.kick();
    assert.equal(k.console.written, "login: ");
  }
});

test("emergency write", () => {
  const k = setup();
  k.driver.transport.setConfig(8, 4, 0x41);
  assert.equal(k.console.written, "A");
  assert.equal(k.driver.transport.config(4, 4), 31);
});

test("ports come and go while the guest runs", () => {
  const k = setup();
  for (let i = 0; i < 8; i++) k.ctrlIn.add([{ in: 64 }]);
  k.say(0, 0, 1);
  k.heard();
  const port = k.device.addPort({ console: false, name: "x" });
  assert.equal(port.nr, 2);
  assert.deepEqual(k.heard(), [[2, 1, 1, ""]]);
  k.device.removePort(2);
  assert.deepEqual(k.heard(), [[2, 2, 1, ""]]);
});

test("port numbers and names, rows", () => {
  for (const options of [
    { console: false, nr: 0 },
    { console: false, nr: 1 },
    { console: true, nr: 31 },
    { console: true, nr: -1 },
    { console: false, name: "org.qemu.guest_agent.0" },
  ])
    assert.throws(
      () => setup().device.addPort(options),
      (e) => e instanceof VmError,
      JSON.stringify(options),
    );
  assert.throws(
    () => setup({ maxPorts: 32 }),
    (e) => e instanceof VmError,
  );
});

test("hostile control messages", () => {
  const k = setup();
  for (const [id, event, value] of [
    [77, 3, 1],
    [0xffffffff, 6, 1],
    [0, 99, 1],
    [0, 3, 0],
  ] as const)
    k.say(id, event, value);
  assert.equal(k.machine.errors.length, 4);
  // No buffers for the answers: they wait, and their number is bounded.
  for (let i = 0; i < 1000; i++) k.say(0, 0, 1);
  let answers = 0;
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 32; i++) k.ctrlIn.add([{ in: 8 }]);
    k.ctrlIn.kick();
    answers += k.heard().length;
  }
  assert.equal(answers, 256);
  // A message of three bytes, and gigabytes of output.
  const q = k.driver.queues[3]!;
  q.add([{ out: Uint8Array.of(1, 2, 3) }]);
  q.kick();
  k.tx0.add(Array.from({ length: 100 }, () => ({ addr: 0, length: 8 << 20, write: false })));
  k.tx0.kick();
  assert.equal(k.tx0.take().length, 1);
  assert.equal(k.console.written.length <= 1 << 20, true);
});

test("a snapshot keeps ports open and messages waiting", () => {
  const k = setup();
  k.say(0, 0, 1);
  k.say(1, 6, 1);
  const state = structuredClone(k.pci.save());
  k.pci.reset();
  k.pci.restore(state);
  k.rx1.add([{ in: 8 }]);
  k.agent.type("abc");
  assert.equal(text(k.rx1.take()), "abc");
  for (let i = 0; i < 8; i++) k.ctrlIn.add([{ in: 64 }]);
  k.ctrlIn.kick();
  assert.equal(k.heard().length, 2);
});
