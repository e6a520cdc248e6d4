import assert from "node:assert/strict";
import { test } from "node:test";
import { formatIp, parseIpv4, parseIpv6 } from "../address.js";
import { get16, get32, put16 } from "../bytes.js";
import { addWords, foldChecksum } from "../offload.js";
import { DEFAULT_USER_NET, parseForward, parseForwardSource } from "./config.js";
import { DhcpServer } from "./dhcp.js";
import { buildPacket, ETH_HEADER, fragmentIpv4 } from "./frames.js";
import { GUEST, GUEST_MAC, HOST, TestGuest } from "./test-guest.js";

const DNS = DEFAULT_USER_NET.dns;

test("addresses as text", () => {
  const rows: readonly (readonly [string, string | undefined])[] = [
    ["10.0.2.15", "10.0.2.15"],
    ["10.0.2.256", undefined],
    ["10.0.2", undefined],
    ["::", "::"],
    ["::1", "::1"],
    ["fec0::2", "fec0::2"],
    ["fe80:0:0:1:0:0:0:2", "fe80:0:0:1::2"],
    ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"],
    ["::ffff:1.2.3.4", "::ffff:102:304"],
    ["1::2::3", undefined],
    ["1:2:3:4:5:6:7:8:9", undefined],
    ["1:2:3:4:5:6:7", undefined],
    ["12345::", undefined],
    ["", undefined],
  ];
  for (const [text, expected] of rows) {
    const a = parseIpv4(text) ?? parseIpv6(text);
    assert.equal(a && formatIp(a), expected, text);
  }
});

test("forwarding rules", () => {
  const rows: readonly (readonly [string, string | undefined])[] = [
    ["tcp::2222-:22", "tcp  2222  22"],
    ["udp:127.0.0.1:53-10.0.2.15:5353", "udp 127.0.0.1 53 10.0.2.15 5353"],
    ["::8080-:80", "tcp  8080  80"],
    ["tcp:[::1]:80-[fec0::15]:80", "tcp ::1 80 fec0::15 80"],
    ["tcp::0-:22", "tcp  0  22"],
    ["tcp::2222-:0", undefined],
    ["tcp::65536-:22", undefined],
    ["icmp::1-:1", undefined],
    ["tcp:host:1-:1", undefined],
    ["tcp::22", undefined],
    ["", undefined],
  ];
  for (const [text, expected] of rows) {
    const f = parseForward(text);
    const shown =
      f && [f.protocol, f.hostAddress, f.hostPort, f.guestAddress ? formatIp(f.guestAddress) : "", f.guestPort].join(" ");
    assert.equal(shown, expected, text);
  }
  assert.equal(parseForwardSource("udp::99")?.hostPort, 99);
});

test("ARP: the gateway and the name server answer, nobody else", () => {
  for (const [target, answers] of [
    [HOST, true],
    [DNS, true],
    [Uint8Array.of(10, 0, 2, 99), false],
  ] as const) {
    const guest = new TestGuest();
    const f = new Uint8Array(42);
    f.fill(255, 0, 6);
    f.set(GUEST_MAC, 6);
    f.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 1], 12);
    f.set(GUEST_MAC, 22);
    f.set(GUEST, 28);
    f.set(target, 38);
    guest.net.send(f);
    const [reply] = guest.take();
    if (!answers) assert.equal(reply, undefined);
    else assert.deepEqual([...reply!.subarray(20, 32)], [0, 2, 0x52, 0x55, ...HOST, ...target]);
    for (let n = 0; n < 42; n++) guest.net.send(f.subarray(0, n));
    assert.equal(guest.take().length, 0);
  }
});

test("ping of the gateway, by IPv4 and IPv6", () => {
  const guest = new TestGuest();
  const echo = Uint8Array.of(8, 0, 0, 0, 1, 2, 3, 4, 5, 6);
  guest.send(1, HOST, echo, 2);
  guest.send(1, Uint8Array.of(192, 0, 2, 1), echo, 2);
  const [reply, more] = guest.take();
  assert.deepEqual([reply![34], ...reply!.subarray(38)], [0, 1, 2, 3, 4, 5, 6]);
  assert.equal(foldChecksum(addWords(0, reply!, 34, reply!.length)), 0);
  assert.equal(more, undefined);
  const from = parseIpv6("fec0::5054:ff:fe12:3456")!;
  echo[0] = 128;
  guest.send(58, DEFAULT_USER_NET.host6, echo, 2, from);
  assert.equal(guest.take()[0]![54], 129);
});

test("IPv6: router advertisement, neighbour advertisement", () => {
  const guest = new TestGuest();
  const from = parseIpv6("fe80::1")!;
  guest.send(58, parseIpv6("ff02::2")!, Uint8Array.of(133, 0, 0, 0, 0, 0, 0, 0), 2, from);
  const [ra] = guest.take();
  assert.equal(ra![54], 134);
  assert.equal(formatIp(ra!.subarray(54 + 40, 54 + 56)), "fec0::");
  assert.equal(formatIp(ra!.subarray(54 + 64, 54 + 80)), "fec0::3");
  const solicit = new Uint8Array(24);
  solicit[0] = 135;
  solicit.set(DEFAULT_USER_NET.host6, 8);
  guest.send(58, DEFAULT_USER_NET.host6, solicit, 2, from);
  const [na] = guest.take();
  assert.equal(na![54], 136);
  assert.deepEqual([...na!.subarray(54 + 26)], [0x52, 0x55, ...HOST]);
});

/** A DHCP message with options. */
function dhcp(options: number[], mac: Uint8Array = GUEST_MAC): Uint8Array {
  const m = new Uint8Array(240 + options.length);
  m.set([1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
  m.set(mac, 28);
  m.set([0x63, 0x82, 0x53, 0x63], 236);
  m.set(options, 240);
  return m;
}

test("DHCP: who gets what", () => {
  const server = new DhcpServer({ ...DEFAULT_USER_NET, hostname: "guest", dnsSearch: ["a.example"] });
  const other = Uint8Array.of(2, 0, 0, 0, 0, 1);
  const offer = server.answer(dhcp([53, 1, 1, 255]))!;
  assert.equal(formatIp(offer.bytes.subarray(16, 20)), "10.0.2.15");
  assert.deepEqual([...offer.bytes.subarray(240, 243)], [53, 1, 2]);
  assert.equal(get32(offer.bytes, 4), 0xdeadbeef);
  const text = String.fromCharCode(...offer.bytes);
  assert.ok(text.includes("\x0c\x05guest") && text.includes("\x77\x0b\x01a\x07example\0"));
  assert.equal(formatIp(server.answer(dhcp([53, 1, 1, 255], other))!.bytes.subarray(16, 20)), "10.0.2.16");
  const rows: readonly (readonly [string, number[], number | undefined])[] = [
    ["request of the offer", [53, 1, 3, 50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2, 255], 5],
    ["request of another's", [53, 1, 3, 50, 4, 10, 0, 2, 16, 255], 6],
    ["request of another server", [53, 1, 3, 50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 9, 255], undefined],
    ["inform", [53, 1, 8, 255], 5],
    ["release", [53, 1, 7, 255], undefined],
    ["options that overrun", [53, 200, 1], 0],
    ["option without length", [53], 0],
  ];
  for (const [name, options, type] of rows) {
    const reply = server.answer(dhcp(options));
    const got = reply && (reply.bytes[240] === 53 ? reply.bytes[242] : 0);
    assert.equal(got, type, name);
  }
  for (let n = 0; n < 236; n++) assert.equal(server.answer(dhcp([255]).subarray(0, n)), undefined);
  for (let i = 0; i < 200; i++) server.answer(dhcp([53, 1, 1, 255], Uint8Array.of(2, 0, 0, 0, 1, i)));
  assert.equal(server.answer(dhcp([53, 1, 1, 255], Uint8Array.of(2, 0, 0, 0, 2, 0))), undefined);
});

test("DHCP over the wire; restricted guests get no router", () => {
  for (const restrict of [false, true]) {
    const guest = new TestGuest({ restrict });
    guest.sendUdp(Uint8Array.of(255, 255, 255, 255), 68, 67, dhcp([53, 1, 1, 255]), Uint8Array.of(0, 0, 0, 0));
    const [frame] = guest.take();
    assert.deepEqual([get16(frame!, 34), get16(frame!, 36)], [67, 68]);
    const options = frame!.subarray(42 + 240);
    assert.equal(String.fromCharCode(...options).includes("\x03\x04\x0a\x00\x02\x02"), !restrict);
  }
});

test("UDP: to the host, to its name server, and back", async () => {
  const guest = new TestGuest();
  guest.sendUdp(HOST, 5000, 7, Uint8Array.of(1, 2, 3));
  guest.sendUdp(DNS, 5001, 53, Uint8Array.of(4));
  guest.sendUdp(DNS, 5001, 54, Uint8Array.of(4));
  guest.sendUdp(Uint8Array.of(10, 0, 2, 77), 5001, 7, Uint8Array.of(4));
  guest.sendUdp(Uint8Array.of(224, 0, 0, 1), 5001, 7, Uint8Array.of(4));
  await Promise.resolve();
  await Promise.resolve();
  const [a, b] = guest.network.sockets;
  assert.deepEqual(a?.sent, [{ bytes: [1, 2, 3], to: { host: "127.0.0.1", port: 7 } }]);
  assert.deepEqual(b?.sent, [{ bytes: [4], to: { host: "192.0.2.53", port: 5353 } }]);
  a!.onDatagram(Uint8Array.of(9), { host: "127.0.0.1", port: 7 });
  b!.onDatagram(Uint8Array.of(8), { host: "192.0.2.53", port: 5353 });
  const [x, y] = guest.take();
  assert.deepEqual([formatIp(x!.subarray(26, 30)), get16(x!, 34), get16(x!, 36), x![42]], ["10.0.2.2", 7, 5000, 9]);
  assert.deepEqual([formatIp(y!.subarray(26, 30)), get16(y!, 34), get16(y!, 36), y![42]], ["10.0.2.3", 53, 5001, 8]);
  guest.scheduler.advance(20_000);
  assert.deepEqual([a!.closed, b!.closed], [false, true]);
  guest.scheduler.advance(300_000);
  assert.equal(a!.closed, true);
  assert.equal(guest.scheduler.pending, 0);
});

test("UDP larger than the MTU, in fragments both ways", async () => {
  const guest = new TestGuest();
  const part = new Uint8Array(8 + 5000).fill(3);
  put16(part, 0, 5000);
  put16(part, 2, 7);
  put16(part, 4, part.length);
  const whole = buildPacket({ version: 4, guest: HOST, other: GUEST, guestMac: guest.net.gatewayMac }, GUEST_MAC, 17, part, 6);
  const pieces = fragmentIpv4(whole);
  assert.equal(pieces.length, 4);
  for (const p of [...pieces].reverse()) guest.net.send(p);
  await Promise.resolve();
  await Promise.resolve();
  const [socket] = guest.network.sockets;
  assert.equal(socket?.sent[0]?.bytes.length, 5000);
  socket!.onDatagram(new Uint8Array(4000), { host: "127.0.0.1", port: 7 });
  assert.equal(guest.take().length, 3);
  // Pieces that overrun, that never end, of many packets.
  for (let i = 0; i < 1000; i++) {
    const p = pieces[i % 3]!.slice();
    put16(p, ETH_HEADER + 4, i);
    put16(p, ETH_HEADER + 6, 0x2000 | ((i * 37) % 8192));
    put16(p, ETH_HEADER + 10, 0);
    put16(p, ETH_HEADER + 10, foldChecksum(addWords(0, p, ETH_HEADER, ETH_HEADER + 20)));
    guest.net.send(p);
  }
});

test("frames that are not what they say: dropped", () => {
  const guest = new TestGuest();
  const good = buildPacket(
    { version: 4, guest: HOST, other: GUEST, guestMac: guest.net.gatewayMac },
    GUEST_MAC,
    1,
    Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 0),
    2,
  );
  for (let n = 0; n < good.length; n++) guest.net.send(good.subarray(0, n));
  for (const [at, value] of [
    [14, 0x65],
    [14, 0x44],
    [14, 0x4f],
    [16, 0xff],
    [17, 10],
    [24, 0],
  ] as const) {
    const bad = good.slice();
    bad[at] = value;
    guest.net.send(bad);
  }
  assert.deepEqual(guest.take(), []);
  assert.ok(guest.net.dropped > 0);
  let seed = 5;
  for (let i = 0; i < 20_000; i++) {
    const f = Uint8Array.from({ length: 14 + (i % 90) }, () => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return seed >>> 16;
    });
    f.set(
      [
        [8, 0],
        [8, 6],
        [0x86, 0xdd],
      ][i % 3]!,
      12,
    );
    f[14] = i % 3 === 2 ? 0x60 : 0x45;
    guest.net.send(f);
  }
});

test("a card without room for long: frames for it are bounded", () => {
  const guest = new TestGuest();
  guest.room = false;
  for (let i = 0; i < 1000; i++) guest.send(1, HOST, Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 0), 2);
  guest.room = true;
  guest.net.resume();
  assert.equal(guest.take().length, 256);
  assert.equal(guest.net.dropped, 744);
});

test("without a host network the guest is alone, and its network still answers", () => {
  const guest = new TestGuest({}, false);
  guest.sendUdp(HOST, 5000, 7, Uint8Array.of(1));
  guest.send(1, HOST, Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 0), 2);
  assert.equal(guest.take().length, 1);
});
