import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { VmError } from "../../base/errors.js";
import type { Chardev } from "../chardev.js";
import { nodeFiles } from "./files.js";
import { checkLockTable } from "./image-lock.js";
import { nodeHost } from "./index.js";
import { SocketChardev } from "./socket-chardev.js";

const folder = mkdtempSync(join(tmpdir(), "tandem-test-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string) => join(folder, name);
const code = (c: string) => (e: unknown) => e instanceof VmError && e.code === c;

/** A frontend that collects, and a promise for when it has seen a text. */
function listen(chardev: Chardev, room = Number.POSITIVE_INFINITY) {
  const decoder = new TextDecoder();
  let text = "";
  const events: string[] = [];
  let check = () => {};
  chardev.attach({
    canReceive: () => Math.min(room, 4096),
    receive: (d) => {
      text += decoder.decode(d);
      check();
    },
    event: (e) => {
      events.push(e);
      check();
    },
  });
  const until = (done: () => boolean) =>
    new Promise<void>((resolve) => {
      check = () => done() && resolve();
      check();
    });
  return {
    events,
    text: () => text,
    has: (t: string) => until(() => text.includes(t)),
    event: (e: string) => until(() => events.includes(e)),
  };
}

test("files: read, write, grow, errors by their reason", async () => {
  writeFileSync(path("disk"), "0123456789");
  const f = await nodeFiles.open(path("disk"), { readOnly: false, lock: false });
  assert.equal(f.sizeBytes, 10);
  await f.write(8, new TextEncoder().encode("abcd"));
  assert.equal(f.sizeBytes, 12);
  const out = new Uint8Array(20);
  assert.equal(await f.read(6, out), 6);
  assert.equal(new TextDecoder().decode(out.subarray(0, 6)), "67abcd");
  await f.flush();
  await f.close();
  const r = await nodeFiles.open(path("disk"), { readOnly: true, lock: false });
  await assert.rejects(r.write(0, out), code("block/read-only"));
  await r.close();
  const rows: [string, boolean, string, RegExp][] = [
    [path("missing"), true, "block/not-found", /^VmError: No such file or directory$/],
    [folder, true, "block/not-found", /Is a directory/],
    [path("disk/x"), true, "block/not-found", /Not a directory/],
  ];
  for (const [p, readOnly, c, message] of rows)
    await assert.rejects(nodeFiles.open(p, { readOnly, lock: false }), (e) => code(c)(e) && message.test(String(e)), p);
});

test("locks: one writer, or readers", { skip: process.platform !== "linux" }, async () => {
  writeFileSync(path("image"), "x");
  const open = (readOnly: boolean) => nodeFiles.open(path("image"), { readOnly, lock: true });
  const writer = await open(false);
  await assert.rejects(open(false), code("block/locked"));
  await assert.rejects(open(true), code("block/locked"));
  await writer.close();
  const one = await open(true);
  const two = await open(true);
  await assert.rejects(open(false), code("block/locked"));
  await one.close();
  await two.close();
  await (await open(false)).close();
});

test("locks die with their process", { skip: process.platform !== "linux" }, async () => {
  writeFileSync(path("held"), "x");
  const script = `import { nodeFiles } from ${JSON.stringify(fileURLToPath(new URL("./files.ts", import.meta.url)))};
    await nodeFiles.open(${JSON.stringify(path("held"))}, { readOnly: false, lock: true });
    console.log("held"); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  await assert.rejects(nodeFiles.open(path("held"), { readOnly: true, lock: true }), code("block/locked"));
  child.kill("SIGKILL");
  await once(child, "close");
  await (await nodeFiles.open(path("held"), { readOnly: false, lock: true })).close();
});

test("locks of other programs in /proc/locks", () => {
  const device = 0x801n; // 08:01
  /** Rows: a line, whether a writer and whether a reader is refused. */
  const rows: [string, boolean, boolean][] = [
    ["1: OFDLCK ADVISORY  READ -1 08:01:1234 100 101", true, true],
    ["1: OFDLCK ADVISORY  READ -1 08:01:1234 100 100", false, false],
    ["1: OFDLCK ADVISORY  READ -1 08:01:1234 201 201", true, false],
    ["1: FLOCK  ADVISORY  WRITE 77 08:01:1234 0 EOF", true, true],
    ["1: POSIX  ADVISORY  WRITE 99 08:01:1234 0 EOF", false, false],
    ["1: FLOCK  ADVISORY  WRITE 77 08:01:1235 0 EOF", false, false],
    ["1: FLOCK  ADVISORY  WRITE 77 08:02:1234 0 EOF", false, false],
    ["1: -> FLOCK ADVISORY WRITE 77 08:01:1234 0 EOF", false, false],
    ["", false, false],
    ["garbage", false, false],
  ];
  for (const [line, writer, reader] of rows)
    for (const [exclusive, refused] of [
      [true, writer],
      [false, reader],
    ] as const) {
      const check = () => checkLockTable(`${line}\n`, device, 1234n, exclusive, 99);
      if (refused) assert.throws(check, code("block/locked"), `${line} ${exclusive}`);
      else check();
    }
});

test("file chardev: output in order, input from a file", async () => {
  writeFileSync(path("in"), "typed");
  const c = await nodeHost().openChardev({ id: "f", backend: "file", path: path("out"), append: false, inputPath: path("in") });
  const l = listen(c);
  for (const ch of "hello") c.write(new TextEncoder().encode(ch));
  await l.has("typed");
  c.close();
  while (statSync(path("out")).size < 5) await new Promise((r) => setImmediate(r));
  assert.equal(readFileSync(path("out"), "utf8"), "hello");
  await assert.rejects(
    nodeHost().openChardev({ id: "g", backend: "file", path: path("no/such"), append: false }),
    code("chardev/io"),
  );
  await assert.rejects(nodeHost().openChardev({ id: "p", backend: "pipe", path: path("in") }), code("chardev/io"));
});

test("socket chardev: a server, its clients in turn", async () => {
  const address = { kind: "unix", path: path("sock") } as const;
  const spec = { id: "s", backend: "socket", address, server: true, wait: false, nodelay: false, reconnectSec: 0 } as const;
  const c = await SocketChardev.open(spec);
  const l = listen(c);
  c.write(new TextEncoder().encode("nobody hears this"));
  const dial = async () => {
    const s = connect(address.path);
    await once(s, "connect");
    return s;
  };
  const read = async (s: Socket) => String((await once(s, "data"))[0]);
  const first = await dial();
  await l.event("opened");
  const second = await dial();
  first.write("from one");
  await l.has("from one");
  const heard = read(first);
  c.write(new TextEncoder().encode("to one"));
  assert.equal(await heard, "to one");
  second.write("from two");
  first.end();
  await l.has("from two");
  assert.deepEqual(l.events, ["opened", "closed", "opened"]);
  const end = once(second, "close");
  second.resume();
  c.close();
  await end;
  await assert.rejects(
    SocketChardev.open({ ...spec, server: false, address: { kind: "unix", path: path("none") } }),
    (e) => code("chardev/io")(e) && /Failed to connect socket '.*none': No such file or directory/.test(String(e)),
  );
});

test("socket chardev: a server that waits, a client", async () => {
  const server = await SocketChardev.open({
    id: "s",
    backend: "socket",
    address: { kind: "tcp", host: "127.0.0.1", port: 0 },
    server: true,
    wait: false,
    nodelay: true,
    reconnectSec: 0,
  });
  const client = await SocketChardev.open({
    id: "c",
    backend: "socket",
    address: server.address,
    server: false,
    wait: false,
    nodelay: true,
    reconnectSec: 0,
  });
  const a = listen(server);
  client.write(new TextEncoder().encode("hello"));
  await a.has("hello");
  client.close();
  await a.event("closed");
  server.close();
  const abort = new AbortController();
  const waiting = SocketChardev.open(
    {
      id: "w",
      backend: "socket",
      address: { kind: "unix", path: path("w") },
      server: true,
      wait: true,
      nodelay: false,
      reconnectSec: 0,
    },
    abort.signal,
  );
  abort.abort();
  await assert.rejects(waiting, code("aborted"));
});

test("a frontend without room holds the source back", async () => {
  const server = await SocketChardev.open({
    id: "s",
    backend: "socket",
    address: { kind: "unix", path: path("flow") },
    server: true,
    wait: false,
    nodelay: false,
    reconnectSec: 0,
  });
  let room = 0;
  let received = 0;
  server.attach({
    canReceive: () => room,
    receive: (d) => {
      received += d.length;
      room -= d.length;
    },
  });
  const s = connect(path("flow"));
  await once(s, "connect");
  const total = 1 << 20;
  s.end(Buffer.alloc(total, 97));
  while (received < total) {
    room = 4096;
    server.resume();
    assert.ok(room >= 0);
    await new Promise((r) => setImmediate(r));
  }
  assert.equal(received, total);
  server.close();
});

test("built-in files, clock, scheduler", async () => {
  const host = nodeHost();
  assert.equal((await host.readBuiltIn("firmware/bios-256k.bin")).length, 262144);
  await assert.rejects(host.readBuiltIn("firmware/none"), code("image/not-found"));
  const t = host.clock.monotonicNs();
  await new Promise<void>((r) => host.scheduler.after(0.1, r));
  await new Promise<void>((r) => host.scheduler.soon(r));
  await new Promise<void>((r) => host.scheduler.after(1, r));
  assert.ok(host.clock.monotonicNs() > t);
  host.scheduler.after(1, () => assert.fail("cancelled"))();
});
