import assert from "node:assert/strict";
import { test } from "node:test";
import { put16 } from "../bytes.js";
import { GsoType } from "../offload.js";
import { MAX_CONNECTIONS } from "./tcp.js";
import { BUFFER_BYTES, TICK_MS } from "./tcp-connection.js";
import { TcpFlag as F, parseTcp } from "./tcp-segment.js";
import { GUEST, GuestTcp, HOST, TestGuest } from "./test-guest.js";

const bytes = (n: number, from = 0) => Uint8Array.from({ length: n }, (_, i) => (from + i) & 255);

function connected(options?: { mss?: number; windowScale?: number }) {
  const guest = new TestGuest();
  const tcp = new GuestTcp(guest, 4000);
  return { guest, tcp, stream: tcp.open(options) };
}

test("the guest connects, talks, and closes first", () => {
  const { guest, tcp, stream } = connected();
  assert.deepEqual(stream.remote, { host: "127.0.0.1", port: 80 });
  tcp.send(F.ack | F.psh, bytes(3000));
  assert.equal(guest.segments().at(-1)?.ack, tcp.seq);
  assert.deepEqual(stream.written, [...bytes(3000)]);
  stream.events.data(bytes(2000));
  const got = guest.segments();
  assert.deepEqual(
    got.map((s) => s.data.length),
    [1460, 540],
  );
  tcp.ack += 2000;
  tcp.send(F.ack | F.fin);
  assert.equal(guest.segments().at(-1)?.ack, tcp.seq);
  assert.equal(stream.ended, true);
  stream.events.ended();
  assert.equal(guest.segments().at(-1)?.flags, F.ack | F.fin);
  tcp.ack++;
  tcp.send(F.ack);
  assert.equal(guest.net.rows()[0]?.state, "TIME_WAIT");
  guest.scheduler.advance(5000);
  assert.deepEqual(guest.net.rows(), []);
  assert.equal(guest.scheduler.pending, 0);
});

test("the host closes first; the guest still sends", () => {
  const { guest, tcp, stream } = connected();
  stream.events.data(bytes(10));
  stream.events.ended();
  const got = guest.segments();
  assert.equal(got.at(-1)!.flags & F.fin, F.fin);
  tcp.ack += 11;
  tcp.send(F.ack | F.psh, bytes(5));
  assert.deepEqual(stream.written, [...bytes(5)]);
  tcp.send(F.ack | F.fin);
  assert.equal(guest.segments().at(-1)?.ack, tcp.seq);
  assert.equal(stream.ended, true);
});

test("what the host says of a connection that fails", () => {
  for (const [reason, expected] of [
    ["refused", "rst"],
    ["unreachable", "icmp"],
    ["timeout", "icmp"],
    ["failed", "rst"],
  ] as const) {
    const guest = new TestGuest();
    new GuestTcp(guest, 4000).send(F.syn, undefined, { mss: 1460 });
    guest.network.streams[0]!.events.closed(reason);
    const [frame] = guest.take();
    if (expected === "rst") assert.equal(parseTcp(frame!.subarray(34))?.flags, F.rst | F.ack, reason);
    else {
      assert.deepEqual([frame![23], frame![34], frame![35]], [1, 3, 1], reason);
      // The guest finds its connection by the addresses and ports in the answer.
      assert.deepEqual([...frame!.subarray(34 + 8 + 12, 34 + 8 + 24)], [...GUEST, ...HOST, 4000 >> 8, 4000 & 255, 0, 80]);
    }
    assert.deepEqual(guest.net.rows(), [], reason);
  }
});

test("a reset of either side reaches the other", () => {
  const a = connected();
  a.stream.events.closed("reset");
  assert.equal(a.guest.segments()[0]?.flags, F.rst | F.ack);
  const b = connected();
  b.tcp.send(F.rst);
  assert.equal(b.stream.destroyed, true);
  // One that does not fit the window is nobody's.
  const c = connected();
  c.tcp.send(F.rst, undefined, { seq: c.tcp.seq + 2 ** 30 });
  assert.equal(c.stream.destroyed, false);
});

test("segments that come twice, late, or out of order", () => {
  const { guest, tcp, stream } = connected();
  const start = tcp.seq;
  tcp.send(F.ack, bytes(100, 100), { seq: start + 100 });
  assert.equal(guest.segments()[0]?.ack, start);
  tcp.send(F.ack, bytes(100));
  tcp.send(F.ack, bytes(100), { seq: start });
  assert.equal(guest.segments().at(-1)?.ack, start + 100);
  // Half known, half new.
  tcp.send(F.ack, bytes(100, 50), { seq: start + 50 });
  tcp.seq = start + 150;
  tcp.send(F.ack, bytes(1500, 150));
  assert.deepEqual(stream.written, [...bytes(1650)]);
});

test("flow control: what the host does not take closes the window, and what it takes opens it", () => {
  const { guest, tcp, stream } = connected({ mss: 1460, windowScale: 7 });
  let sent = 0;
  for (let i = 0; i < 1000; i++) {
    stream.queuedBytes = stream.written.length;
    const before = stream.written.length;
    tcp.send(F.ack, bytes(1460));
    sent += 1460;
    if (stream.written.length - before < 1460) break;
  }
  assert.ok(sent > BUFFER_BYTES && sent < BUFFER_BYTES + 70_000, `${sent}`);
  assert.equal(guest.segments().at(-1)?.window, 0);
  stream.queuedBytes = 0;
  stream.events.drained();
  const opened = guest.segments().at(-1)!;
  assert.ok(opened.window << 5 >= BUFFER_BYTES / 2, `${opened.window}`);
});

test("flow control: the guest's window holds the host back, and probes open it again", () => {
  const { guest, tcp, stream } = connected();
  tcp.window = 0;
  tcp.send(F.ack);
  for (let i = 0; i < 20; i++) stream.events.data(bytes(65536));
  assert.equal(stream.reading, false);
  assert.deepEqual(
    guest.segments().filter((s) => s.data.length > 0),
    [],
  );
  for (let i = 0; i < 40; i++) {
    guest.scheduler.advance(100 * 1000);
    for (const s of guest.segments()) {
      assert.ok(s.data.length <= 1);
      if (s.data.length === 1) tcp.send(F.ack);
    }
  }
  assert.equal(stream.destroyed, false, "a guest that answers probes may take its time");
  tcp.window = 5000;
  tcp.send(F.ack);
  const got = guest.segments();
  assert.equal(got[0]?.seq, tcp.ack);
  assert.equal(
    got.reduce((n, s) => n + s.data.length, 0),
    5000 - (5000 % 1460),
  );
});

test("what gets lost is sent again: three duplicates, then time", () => {
  const { guest, tcp, stream } = connected();
  stream.events.data(bytes(14600));
  const first = guest.segments();
  assert.equal(first.length, 10);
  for (let i = 0; i < 4; i++) tcp.send(F.ack);
  const again = guest.segments();
  assert.deepEqual(
    again.map((s) => [s.seq, s.data.length]),
    [[tcp.ack, 1460]],
  );
  // Nothing is acknowledged: the timer, each time later.
  const times: number[] = [];
  for (let ms = 0; ms < 4000; ms += TICK_MS) {
    guest.scheduler.advance(TICK_MS);
    if (guest.segments().length > 0) times.push(ms);
  }
  assert.equal(times.length, 2, `${times}`);
  tcp.ack = (tcp.ack + 14600) >>> 0;
  tcp.send(F.ack);
  guest.scheduler.advance(60_000);
  assert.deepEqual(guest.segments(), []);
});

test("a guest that is gone: given up after ten times", () => {
  const { guest, stream } = connected();
  stream.events.data(bytes(10));
  guest.scheduler.advance(20 * 60_000);
  assert.equal(stream.destroyed, true);
  assert.equal(guest.segments().at(-1)?.flags, F.rst | F.ack);
});

test("a stopped machine gets nothing and loses nothing", () => {
  const { guest, tcp, stream } = connected();
  guest.net.setRunning(false);
  stream.events.data(bytes(100));
  guest.scheduler.advance(3600_000);
  assert.deepEqual(guest.take(), []);
  guest.net.setRunning(true);
  assert.deepEqual(
    guest.segments().map((s) => [s.seq, s.data.length]),
    [[tcp.ack, 100]],
  );
});

test("a card without room: the data waits", () => {
  const { guest, tcp, stream } = connected();
  guest.room = false;
  stream.events.data(bytes(5000));
  assert.deepEqual(guest.take(), []);
  guest.room = true;
  guest.net.resume();
  assert.equal(
    guest.segments().reduce((n, s) => n + s.data.length, 0),
    5000,
  );
  assert.ok(tcp);
});

test("a card with offloads gets large packets with the pseudo header's sum", () => {
  const guest = new TestGuest();
  guest.offloads = { csum: true, tso4: true, tso6: false };
  const tcp = new GuestTcp(guest, 4000);
  const stream = tcp.open({ mss: 1448, windowScale: 7 });
  stream.events.data(bytes(200_000));
  const large = guest.received.find((r) => r.frame.length > 50_000);
  assert.deepEqual(
    [large?.header?.gsoType, large?.header?.gsoSize, large?.header?.csumStart, large?.header?.csumOffset],
    [GsoType.tcpv4, 1448, 34, 16],
  );
  assert.equal((large!.frame.length - 54) % 1448, 0);
});

test("window scaling only when the guest offers it", () => {
  for (const windowScale of [undefined, 7]) {
    const guest = new TestGuest();
    const tcp = new GuestTcp(guest, 4000);
    tcp.send(F.syn, undefined, windowScale === undefined ? { mss: 1460 } : { mss: 1460, windowScale });
    guest.network.streams[0]!.events.connected!();
    const [answer] = guest.segments();
    assert.equal(answer?.windowScale, windowScale === undefined ? undefined : 5);
    assert.equal(answer?.mss, 1460);
  }
});

test("hostfwd: a connection from outside, and a guest that refuses it", async () => {
  const guest = new TestGuest({
    forwards: [{ protocol: "tcp", hostAddress: "127.0.0.1", hostPort: 2222, guestPort: 22 }],
  });
  await guest.net.open();
  const [listener] = guest.network.listeners;
  assert.deepEqual(listener?.at, { host: "127.0.0.1", port: 2222 });
  for (const refuse of [false, true]) {
    const stream = guest.network.connectTcp({ host: "127.0.0.1", port: refuse ? 5001 : 5000 }, {} as never);
    listener!.onConnection(stream);
    const frames = guest.take();
    // Who has the guest's address is asked first; the SYN goes to everybody.
    const syn = parseTcp(frames.at(-1)!.subarray(34))!;
    assert.deepEqual([syn.flags, syn.destinationPort, syn.sourcePort], [F.syn, 22, refuse ? 5001 : 5000]);
    const tcp = new GuestTcp(guest, 22, HOST, syn.sourcePort, 9000);
    tcp.ack = (syn.seq + 1) >>> 0;
    tcp.send(refuse ? F.rst | F.ack : F.syn | F.ack, undefined, refuse ? {} : { mss: 1460 });
    const fake = guest.network.streams.at(-1)!;
    if (refuse) assert.equal(fake.destroyed, true);
    else {
      assert.equal(guest.segments()[0]?.flags, F.ack);
      tcp.send(F.ack | F.psh, bytes(4));
      assert.deepEqual(fake.written, [0, 1, 2, 3]);
    }
  }
  assert.equal(guest.net.removeForward({ protocol: "tcp", hostAddress: "127.0.0.1", hostPort: 2222 }), true);
  assert.equal(listener!.closed, true);
  assert.equal(guest.net.removeForward({ protocol: "tcp", hostAddress: "127.0.0.1", hostPort: 2222 }), false);
});

test("bounds: connections, and segments that belong to nothing", () => {
  const guest = new TestGuest();
  for (let i = 0; i < MAX_CONNECTIONS + 10; i++) new GuestTcp(guest, i + 1).send(F.syn, undefined, { mss: 1460 });
  assert.equal(guest.network.streams.length, MAX_CONNECTIONS);
  const refused = guest.segments();
  assert.equal(refused.length, 10);
  assert.ok(refused.every((s) => s.flags === (F.rst | F.ack)));
  new GuestTcp(new TestGuest(), 1).send(F.ack | F.rst);
});

test("restricted: no way out, ports forwarded to the guest work", () => {
  const guest = new TestGuest({ restrict: true });
  new GuestTcp(guest, 4000).send(F.syn, undefined, { mss: 1460 });
  assert.equal(guest.network.streams.length, 0);
  assert.equal(guest.segments()[0]?.flags, F.rst | F.ack);
});

test("hostile segments: cut short, options that overrun, lengths that lie", () => {
  const { guest, stream } = connected();
  let seed = 1;
  const random = () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return seed >>> 16;
  };
  for (let n = 0; n < 80; n++) guest.send(6, HOST, new Uint8Array(n).fill(0xff), Math.min(16, Math.max(0, n - 2)));
  for (let i = 0; i < 5000; i++) {
    const part = Uint8Array.from({ length: 20 + (random() % 60) }, () => random());
    put16(part, 0, 4000);
    put16(part, 2, 80);
    part[13]! &= ~F.rst;
    guest.send(6, HOST, part, 16);
  }
  guest.scheduler.advance(10 * 60_000);
  assert.ok(stream.written.length < 2 ** 20);
});
