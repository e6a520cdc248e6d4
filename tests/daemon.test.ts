/** The process around the machine: -daemonize, -pidfile, inherited descriptors, pseudo terminals. The programs must be built. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, linkSync, mkdtempSync, openSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("../bin/tandem-system-x86_64", import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), "tandem-daemon-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => path.join(folder, name);

/** A line-wise QMP client that has negotiated. */
class Qmp {
  private lines: { [member: string]: unknown }[] = [];
  private wake = () => {};
  private rest = "";
  closed: Promise<void>;
  private constructor(readonly socket: Socket) {
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    socket.setEncoding("utf8").on("data", (text) => {
      const parts = (this.rest + text).split("\r\n");
      this.rest = parts.pop()!;
      this.lines.push(...parts.map((l) => JSON.parse(l)));
      this.wake();
    });
  }
  static async open(where: string): Promise<Qmp> {
    const socket = connect(where);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    const q = new Qmp(socket);
    assert.ok("QMP" in (await q.next()));
    await q.ask("qmp_capabilities");
    return q;
  }
  async next(): Promise<{ [member: string]: unknown }> {
    while (this.lines.length === 0)
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    return this.lines.shift()!;
  }
  async ask(execute: string, args?: object): Promise<unknown> {
    this.socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    for (;;) {
      const m = await this.next();
      if ("return" in m) return m.return;
      if ("error" in m) throw new Error(JSON.stringify(m.error));
    }
  }
}

const alive = (pid: number) => existsSync(`/proc/${pid}/fd`);

async function until(what: string, reached: () => boolean): Promise<void> {
  const start = performance.now();
  while (!reached()) {
    assert.ok(performance.now() - start < 15_000, what);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("-daemonize: the first process ends when sockets listen and the pid file is there; nobody's pipes stay open", async (t) => {
  const args = [
    ...["-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=tcg"],
    ...["-qmp", `unix:${at("qmp")},server=on,wait=off`, "-pidfile", at("pid"), "-daemonize"],
  ];
  // spawnSync waits for the end of the pipes too.
  const r = spawnSync(program, args, { encoding: "utf8", timeout: 30_000, cwd: folder });
  assert.equal(r.status, 0, r.stderr);
  assert.equal(r.stdout + r.stderr, "");
  const pid = Number(readFileSync(at("pid"), "utf8"));
  t.after(() => alive(pid) && process.kill(pid, "SIGKILL"));
  assert.notEqual(pid, r.pid);
  assert.equal(readlinkSync(`/proc/${pid}/cwd`), "/");
  const qmp = await Qmp.open(at("qmp"));
  assert.deepEqual(await qmp.ask("query-target"), { arch: "x86_64" });
  qmp.socket.end();
  await qmp.closed;
  // Another client, later.
  const again = await Qmp.open(at("qmp"));
  // A second machine must not take the pid file of the first.
  const second = spawnSync(program, ["-S", "-machine", "none", "-display", "none", "-pidfile", at("pid")], {
    encoding: "utf8",
    timeout: 30_000,
  });
  assert.equal(second.status, 1);
  assert.match(second.stderr, /^tandem-system-x86_64: -pidfile \S+: cannot create PID file: process \d+ has it\n$/);
  assert.equal(Number(readFileSync(at("pid"), "utf8")), pid);
  process.kill(pid, "SIGTERM");
  assert.deepEqual((await again.next()).data, { guest: false, reason: "host-signal" });
  await until("the end", () => !alive(pid));
  assert.ok(!existsSync(at("pid")));
  assert.ok(!existsSync(at("qmp")));
});

test("-daemonize passes on what went wrong", () => {
  const r = spawnSync(program, ["-daemonize", "-display", "none", "-hda", at("nothing")], { encoding: "utf8", timeout: 30_000 });
  assert.equal(r.status, 1);
  assert.match(r.stderr, /^tandem-system-x86_64: -hda \S+nothing: Could not open '\S+nothing': No such file or directory\n$/);
});

test("an inherited listening socket serves QMP; an inherited descriptor takes the serial port's log", async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(at("inherited"), resolve));
  const fd = (server as unknown as { _handle: { fd: number } })._handle.fd;
  const log = openSync(at("log"), "a");
  const child = spawn(
    program,
    [
      ...["-S", "-nodefaults", "-display", "none", "-m", "8"],
      ...["-chardev", "socket,id=m,fd=5,server=on,wait=off", "-mon", "chardev=m,mode=control"],
      ...["-add-fd", "set=0,fd=6,opaque=log", "-chardev", "null,id=s,logfile=/dev/fdset/0,logappend=on"],
      ...["-device", "isa-serial,chardev=s"],
    ],
    { stdio: ["ignore", "inherit", "inherit", "ignore", "ignore", fd, log] },
  );
  const ended = new Promise((resolve) => child.once("close", resolve));
  t.after(() => child.kill("SIGKILL"));
  // The test's own copy would take every other client; closing it takes the path away, so there is a second one.
  linkSync(at("inherited"), at("kept"));
  server.close();
  const qmp = await Qmp.open(at("kept"));
  assert.deepEqual(await qmp.ask("query-fdsets"), [{ "fdset-id": 0, fds: [{ fd: 6, opaque: "log" }] }]);
  for (const c of "hi") await qmp.ask("human-monitor-command", { "command-line": `o /b 0x3f8 ${c.charCodeAt(0)}` });
  await until("the log", () => readFileSync(at("log"), "utf8") === "hi");
  await qmp.ask("quit");
  assert.equal(await ended, 0);
});

test("-msg: messages begin with the time and the guest's name", () => {
  writeFileSync(at("bad"), "x");
  const r = spawnSync(
    program,
    [
      "-msg",
      "timestamp=on,guest-name=on",
      "-name",
      "vm",
      "-machine",
      "none",
      "-display",
      "none",
      "-accel",
      "kvm",
      "-accel",
      "tcg",
      "-qmp",
      "stdio",
    ],
    { encoding: "utf8", timeout: 30_000, input: '{"execute":"qmp_capabilities"}{"execute":"quit"}' },
  );
  assert.equal(r.status, 0, r.stderr);
  for (const line of r.stderr.split("\n").filter((l) => l !== ""))
    assert.match(line, /^\d{4}-\d\d-\d\dT[\d:.]+Z vm tandem-system-x86_64: |^Could not access KVM/);
});
