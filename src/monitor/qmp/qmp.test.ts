import assert from "node:assert/strict";
import { test } from "node:test";
import type { Chardev, ChardevFrontend } from "../../host/chardev.js";
import { defaultConfig, type MachineConfig } from "../../machine/config.js";
import { FakeBoard, fakeHost } from "../../machine/test-board.js";
import { Machine } from "../../machine/vm.js";
import { QmpConsole } from "./console.js";
import { QMP_EVENTS } from "./events.js";
import { introspection } from "./introspect.js";
import { QMP_COMMANDS } from "./table.js";

type Reply = { readonly [member: string]: never };

/** A client on a chardev that the test plays. */
class Client implements Chardev {
  readonly id = "qmp";
  private frontend: ChardevFrontend | undefined;
  private waiting: Uint8Array[] = [];
  lines: string[] = [];
  unreadBytes = 0;
  attach(frontend: ChardevFrontend | undefined): void {
    this.frontend = frontend;
  }
  open(): void {
    this.frontend!.event!("opened");
  }
  close(): void {
    this.frontend!.event!("closed");
  }
  unread(): number {
    return this.unreadBytes;
  }
  write(data: Uint8Array): void {
    const text = new TextDecoder().decode(data);
    assert.ok(text.endsWith("\r\n"), JSON.stringify(text));
    this.lines.push(text.slice(0, -2));
  }
  resume(): void {
    while (this.waiting.length > 0) {
      const n = this.frontend!.canReceive();
      if (n <= 0) return;
      const head = this.waiting[0]!;
      if (head.length <= n) this.waiting.shift();
      else this.waiting[0] = head.subarray(n);
      this.frontend!.receive(head.subarray(0, n));
    }
  }
  send(text: string): void {
    this.waiting.push(new TextEncoder().encode(text));
    this.resume();
  }
  /** Sends requests and gives what came in, once so many replies (errors too) are there. */
  async ask(...requests: string[]): Promise<Reply[]> {
    this.lines = [];
    this.send(requests.map((r) => `${r}\r\n`).join(""));
    const replies = () => this.lines.filter((l) => !l.startsWith('{"timestamp"')).length;
    while (replies() < requests.length) await new Promise((resolve) => setImmediate(resolve));
    return this.lines.map((l) => JSON.parse(l));
  }
}

async function make(change: Partial<MachineConfig> = {}) {
  let board!: FakeBoard;
  const host = fakeHost();
  const machine = await Machine.create(
    { ...defaultConfig(), name: "guest", ...change },
    {
      host,
      createBoard: async (config, parts) => {
        board = new FakeBoard(config, parts);
        return board;
      },
      openMonitor: () => {},
    },
  );
  const connect = async (negotiate = true) => {
    const client = new Client();
    new QmpConsole(machine, client);
    client.open();
    if (negotiate) await client.ask('{"execute":"qmp_capabilities"}');
    return client;
  };
  return { machine, board, host, connect };
}

test("greeting and negotiation", async () => {
  const { connect } = await make();
  const client = await connect(false);
  const greeting = JSON.parse(client.lines[0]!);
  assert.deepEqual(greeting.QMP.version.qemu, { micro: 0, minor: 2, major: 7 });
  assert.deepEqual(greeting.QMP.capabilities, []);
  const replies = await client.ask(
    '{"execute":"query-status"}',
    '{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}',
    '{"execute":"qmp_capabilities","id":7}',
    '{"execute":"qmp_capabilities"}',
  );
  assert.deepEqual(
    replies.map((r: Reply) => (r as { error?: { class: string } }).error?.class ?? "ok"),
    ["CommandNotFound", "GenericError", "ok", "CommandNotFound"],
  );
  assert.equal((replies[2] as { id?: number }).id, 7);
  // A client that comes later starts anew.
  client.close();
  client.lines = [];
  client.open();
  assert.ok(client.lines[0]!.startsWith('{"QMP"'));
  assert.match(JSON.stringify(await client.ask('{"execute":"query-status"}')), /Expecting capabilities negotiation/);
});

/** Rows: a request, and what its error says (class, text). */
const refused: [request: string, errorClass: string, text: RegExp][] = [
  ["[]", "GenericError", /must be a JSON object/],
  ["5", "GenericError", /must be a JSON object/],
  ["{}", "GenericError", /lacks member 'execute'/],
  ['{"execute":1}', "GenericError", /'execute' must be a string/],
  ['{"execute":"stop","arguments":[]}', "GenericError", /'arguments' must be an object/],
  ['{"execute":"stop","extra":1}', "GenericError", /member 'extra' is unexpected/],
  ['{"execute":"no-such"}', "CommandNotFound", /The command no-such has not been found/],
  ['{"execute":"__proto__"}', "CommandNotFound", /has not been found/],
  ['{"execute":"stop","arguments":{"a":1}}', "GenericError", /Parameter 'a' is unexpected/],
  ['{"execute":"stop","arguments":{"__proto__":1}}', "GenericError", /Parameter '__proto__' is unexpected/],
  ['{"execute":"qom-get","arguments":{"path":"/machine"}}', "GenericError", /Parameter 'property' is missing/],
  [
    '{"execute":"qom-get","arguments":{"path":1,"property":"x"}}',
    "GenericError",
    /Invalid parameter type for 'path', expected: string/,
  ],
  ['{"execute":"qom-get","arguments":{"path":"/nothing","property":"x"}}', "DeviceNotFound", /'\/nothing' not found/],
  [
    '{"execute":"qom-get","arguments":{"path":"/machine","property":"x"}}',
    "GenericError",
    /Property 'pc-i440fx-7.2-machine.x' not found/,
  ],
  ['{"execute":"qom-list-properties","arguments":{"typename":"nope"}}', "DeviceNotFound", /Class 'nope' not found/],
  ['{"execute":"device-list-properties","arguments":{"typename":"nope"}}', "DeviceNotFound", /Device 'nope' not found/],
  ['{"execute":"device-list-properties","arguments":{"typename":"tcg-accel"}}', "GenericError", /non-abstract device type/],
  ['{"execute":"set-action","arguments":{"reboot":"later"}}', "GenericError", /'reboot' does not accept value 'later'/],
  ['{"execute":"send-key","arguments":{"keys":[{"type":"number"}]}}', "GenericError", /Parameter 'keys\[0\].data' is missing/],
  ['{"execute":"send-key","arguments":{"keys":[{"type":"other","data":1}]}}', "GenericError", /does not accept value 'other'/],
  ['{"execute":"balloon","arguments":{"value":1}}', "DeviceNotActive", /No balloon device/],
  ['{"execute":"balloon","arguments":{"value":99999999999999999999}}', "GenericError", /expected: integer/],
  ['{"execute":"eject","arguments":{"device":"x"}}', "DeviceNotFound", /Device 'x' not found/],
  ['{"execute":"ringbuf-read","arguments":{"device":"x","size":1}}', "DeviceNotFound", /Device 'x' not found/],
  ['{"execute":"getfd","arguments":{"fdname":"a"}}', "GenericError", /No file descriptor supplied/],
  ['{"execute":"closefd","arguments":{"fdname":"a"}}', "GenericError", /named 'a' not found/],
  ["{'execute':}", "GenericError", /JSON parse error/],
];

test("what is refused, and how", async () => {
  const { connect } = await make();
  const client = await connect();
  for (const [request, errorClass, text] of refused) {
    const [reply] = (await client.ask(request)) as unknown as { error?: { class: string; desc: string } }[];
    assert.equal(reply?.error?.class, errorClass, request);
    assert.match(reply!.error!.desc, text, request);
  }
});

test("events come before the replies they lead to, to every client that has negotiated", async () => {
  const { connect } = await make();
  const client = await connect();
  const other = await connect();
  const silent = await connect(false);
  other.lines = [];
  silent.lines = [];
  const replies = await client.ask('{"execute":"cont"}', '{"execute":"stop","id":"s"}', '{"execute":"system_reset"}');
  assert.deepEqual(
    replies.map((r) => (r as { event?: string }).event ?? "reply"),
    ["RESUME", "reply", "STOP", "reply", "RESET", "reply"],
  );
  assert.deepEqual(replies[4]!.data, { guest: false, reason: "host-qmp-system-reset" });
  assert.deepEqual(replies[0]!.timestamp, { seconds: 0, microseconds: 0 });
  assert.equal(other.lines.length, 3);
  assert.equal(silent.lines.length, 0);
});

test("set-action changes what a guest's request leads to", async () => {
  const { machine, board, connect } = await make();
  const client = await connect();
  await client.ask('{"execute":"cont"}', '{"execute":"set-action","arguments":{"shutdown":"pause","reboot":"shutdown"}}');
  client.lines = [];
  board.onRequest({ kind: "reset", reason: "guest-reset" });
  await Promise.resolve();
  assert.equal(machine.runState, "shutdown");
  assert.match(client.lines[0]!, /"SHUTDOWN", "data": \{"guest": true, "reason": "guest-reset"\}/);
  assert.match(client.lines[1]!, /"STOP"/);
});

test("quit is answered before the machine ends", async () => {
  const { machine, connect } = await make();
  const client = await connect();
  const [reply, event] = [
    ...(await client.ask('{"execute":"quit","id":"q"}')),
    ...client.lines.slice(1).map((l) => JSON.parse(l)),
  ];
  assert.deepEqual(reply, { return: {}, id: "q" });
  assert.equal(event.event, "SHUTDOWN");
  assert.equal((await machine.ended).status, 0);
});

test("10,000 pipelined commands are all answered, in order, a few at a time", async () => {
  const { connect } = await make();
  const client = await connect();
  const requests = Array.from({ length: 10_000 }, (_, id) => `{"execute":"query-status","id":${id}}`);
  const replies = await client.ask(...requests);
  assert.deepEqual(
    replies.map((r) => r.id),
    requests.map((_, id) => id),
  );
});

test("a client that does not read is read no further; one that goes is not answered; the next is served", async () => {
  const { connect } = await make();
  const client = await connect();
  client.unreadBytes = 2 ** 20;
  client.lines = [];
  client.send('{"execute":"query-status"}\r\n');
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(client.lines, []);
  client.unreadBytes = 0;
  client.resume();
  while (client.lines.length === 0) await new Promise((resolve) => setImmediate(resolve));
  client.lines = [];
  client.send('{"execute":"stop"}\r\n{"execute":"query-status","arg');
  client.close();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(client.lines, []);
  client.open();
  assert.equal(client.lines.length, 1);
  assert.equal((await client.ask('{"execute":"qmp_capabilities","id":1}'))[0]!.id, 1);
});

test("every command of the table can be introspected, once; every type that is named is there", () => {
  const schema = introspection(QMP_COMMANDS, QMP_EVENTS);
  const names = schema.map((e) => e.name);
  assert.equal(new Set(names).size, names.length);
  const known = new Set(names);
  const check = (name: unknown, where: string) => assert.ok(known.has(name as string), `${where}: type ${name}`);
  for (const e of schema) {
    if ("arg-type" in e) check(e["arg-type"], e.name);
    if ("ret-type" in e) check(e["ret-type"], e.name);
    if ("element-type" in e) check(e["element-type"], e.name);
    if (e["meta-type"] === "object") for (const m of e.members as { type: string }[]) check(m.type, e.name);
    if ("variants" in e) for (const v of e.variants as { type: string }[]) check(v.type, e.name);
  }
  for (const c of [...QMP_COMMANDS, ...QMP_EVENTS]) {
    assert.ok(known.has(c.name));
    assert.match(c.doc, /^[A-Z].*\.$/, c.name);
  }
});

test("queries answer what they declare", async () => {
  const { connect } = await make();
  const client = await connect();
  // Queries without arguments, on a machine without anything: an answer or a plain refusal, never an internal error.
  for (const c of QMP_COMMANDS.filter((c) => c.name.startsWith("query-"))) {
    const [reply] = (await client.ask(`{"execute":"${c.name}"}`)) as unknown as { error?: { desc: string } }[];
    assert.doesNotMatch(reply?.error?.desc ?? "", /internal error/, c.name);
  }
});
