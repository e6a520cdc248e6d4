/** A thousand connections at a time through a user-mode network and the host's real sockets, in both directions. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { test } from "node:test";
import { nodeNetwork } from "../../src/host/node/network.js";
import { get16 } from "../../src/net/bytes.js";
import { TcpFlag as F, parseTcp, seqDiff, type TcpSegment } from "../../src/net/user/tcp-segment.js";
import { GuestTcp, HOST, TestGuest } from "../../src/net/user/test-guest.js";

const COUNT = 1000;
const BYTES = 20_000;

/** One connection of a guest that echoes nothing: it sends, counts what comes back in order, and closes. */
class Client {
  readonly tcp: GuestTcp;
  private received = 0;
  private sent = 0;
  state: "opening" | "open" | "closing" | "done" | "reset" = "opening";

  constructor(guest: TestGuest, port: number, toPort: number) {
    this.tcp = new GuestTcp(guest, port, HOST, toPort, port * 1000);
    this.tcp.send(F.syn, undefined, { mss: 1460, windowScale: 4 });
  }

  input(s: TcpSegment): void {
    const { tcp } = this;
    if (s.flags & F.rst) {
      this.state = "reset";
      return;
    }
    if (this.state === "opening") {
      tcp.ack = (s.seq + 1) >>> 0;
      this.state = "open";
      tcp.send(F.ack);
    } else if (seqDiff(s.seq, tcp.ack) === 0 && s.data.length + (s.flags & F.fin) > 0) {
      for (const [i, b] of s.data.entries()) assert.equal(b, (this.received + i) & 255);
      this.received += s.data.length;
      tcp.ack = (tcp.ack + s.data.length + (s.flags & F.fin ? 1 : 0)) >>> 0;
      if (s.flags & F.fin) this.state = "done";
      tcp.send(F.ack);
    }
  }

  /** Sends everything. */
  talk(): void {
    const { tcp } = this;
    while (this.state === "open" && this.sent < BYTES) {
      const n = Math.min(1000, BYTES - this.sent);
      const from = this.sent;
      tcp.send(
        F.ack | F.psh,
        Uint8Array.from({ length: n }, (_, i) => (from + i) & 255),
      );
      this.sent += n;
      if (this.sent === BYTES) {
        tcp.send(F.ack | F.fin);
        this.state = "closing";
      }
    }
  }

  get complete(): boolean {
    return this.state === "done" && this.received === BYTES;
  }
}

test("1,000 connections of the guest to an echo server", { timeout: 60_000 }, async (t) => {
  let most = 0;
  let open = 0;
  const server = createServer({ allowHalfOpen: true }, (s) => {
    most = Math.max(most, ++open);
    s.on("close", () => open--);
    s.on("error", () => {});
    s.pipe(s);
  });
  server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 });
  await once(server, "listening");
  t.after(() => server.close());
  const guest = new TestGuest({}, true, nodeNetwork());
  t.after(() => guest.net.close());
  const clients = new Map<number, Client>();
  let pending: { port: number; segment: TcpSegment }[] = [];
  guest.net.onReceive = (frame) => {
    if (get16(frame, 12) === 0x0800 && frame[23] === 6) {
      const segment = parseTcp(frame.slice(34))!;
      pending.push({ port: segment.destinationPort, segment });
    }
    return true;
  };
  const port = (server.address() as AddressInfo).port;
  for (let i = 0; i < COUNT; i++) clients.set(10_000 + i, new Client(guest, 10_000 + i, port));
  let talking = false;
  while ([...clients.values()].some((c) => c.state !== "done" && c.state !== "reset")) {
    const batch = pending;
    pending = [];
    for (const { port: p, segment } of batch) clients.get(p)!.input(segment);
    if (!talking && open === COUNT && [...clients.values()].every((c) => c.state === "open")) {
      talking = true;
      for (const c of clients.values()) c.talk();
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal([...clients.values()].filter((c) => c.complete).length, COUNT);
  assert.equal(most, COUNT);
  guest.scheduler.advance(10_000);
  assert.deepEqual(guest.net.rows(), []);
});

test("1,000 connections from outside to a forwarded port", { timeout: 60_000 }, async (t) => {
  const guest = new TestGuest(
    { forwards: [{ protocol: "tcp", hostAddress: "127.0.0.1", hostPort: 0, guestPort: 80 }] },
    true,
    nodeNetwork(),
  );
  await guest.net.open();
  t.after(() => guest.net.close());
  const { port } = guest.net.forwardedPorts()[0]!;
  // The guest: accepts, answers "ok" to the first bytes, closes.
  const servers = new Map<number, GuestTcp>();
  let pending: TcpSegment[] = [];
  guest.net.onReceive = (frame) => {
    if (get16(frame, 12) === 0x0800 && frame[23] === 6) pending.push(parseTcp(frame.slice(34))!);
    return true;
  };
  let done = 0;
  for (let i = 0; i < COUNT; i++) {
    const s = connect({ port, host: "127.0.0.1" });
    let got = "";
    s.write(`hello ${i}`);
    s.on("data", (d) => {
      got += d;
    });
    s.on("end", () => {
      assert.equal(got, "ok");
      done++;
      s.end();
    });
    s.on("error", (e) => assert.fail(e));
  }
  while (done < COUNT) {
    const batch = pending;
    pending = [];
    for (const s of batch) {
      let tcp = servers.get(s.sourcePort);
      if (s.flags === F.syn) {
        tcp = new GuestTcp(guest, 80, HOST, s.sourcePort, s.sourcePort);
        servers.set(s.sourcePort, tcp);
        tcp.ack = (s.seq + 1) >>> 0;
        tcp.send(F.syn | F.ack, undefined, { mss: 1460 });
      } else if (tcp && seqDiff(s.seq, tcp.ack) === 0 && s.data.length > 0) {
        tcp.ack = (tcp.ack + s.data.length) >>> 0;
        tcp.send(F.ack | F.psh, new TextEncoder().encode("ok"));
        tcp.send(F.ack | F.fin);
      } else if (tcp && s.flags & F.fin) {
        tcp.ack = (tcp.ack + 1) >>> 0;
        tcp.send(F.ack);
      }
    }
    guest.scheduler.advance(10);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(servers.size, COUNT);
});
