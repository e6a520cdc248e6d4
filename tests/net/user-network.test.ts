/** User-mode networking from inside the embedded guest. Everything stays on this host's loopback. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { nodeHost } from "../../src/host/node/index.js";
import { nodeNetwork } from "../../src/host/node/network.js";
import { monitorCommand } from "../../src/index.js";
import { Guest } from "../../testkit/guest.js";
import { dnsServer, httpServer, sinkServer } from "../../testkit/host-services.js";

const images = fileURLToPath(new URL("../../guests/x86_64/", import.meta.url));
const EMBEDDED = ["-m", "256", "-vga", "none", "-kernel", `${images}bzImage`, "-initrd", `${images}initrd.lz4`];
const APPEND = ["-append", "console=ttyS0 quiet tandem.net"];
const PROMPT = "~ # ";

/** Sends a request to a forwarded port. @returns everything that comes back */
async function talk(port: number, text: string): Promise<string> {
  const s = connect({ host: "127.0.0.1", port });
  s.end(text);
  let out = "";
  s.on("data", (d) => {
    out += d.toString("latin1");
  });
  s.on("error", () => {});
  await once(s, "close");
  return out;
}

/** Rows: the card, and how the options say it. */
const cards: [name: string, options: string[]][] = [
  ["virtio-net", ["-netdev", "user,id=n0,hostfwd=tcp:127.0.0.1:0-:80", "-device", "virtio-net-pci,netdev=n0"]],
  [
    "virtio-net without offloads, by -nic",
    [
      "-nic",
      "user,model=virtio,hostfwd=tcp:127.0.0.1:0-:80",
      ...["csum=off", "guest_csum=off", "mrg_rxbuf=off"].flatMap((p) => ["-global", `virtio-net-pci.${p}`]),
    ],
  ],
];

for (const [name, options] of cards)
  test(`${name}: DHCP, ping, names, HTTP both ways`, async (t) => {
    const http = await httpServer(t);
    const dns = await dnsServer(t);
    const host = { ...nodeHost(), network: nodeNetwork([{ host: "127.0.0.1", port: dns }]) };
    const pcap = path.join(tmpdir(), `tandem-${process.pid}-${name.length}.pcap`);
    t.after(() => rmSync(pcap, { force: true }));
    const dump = name === "virtio-net" ? ["-object", `filter-dump,id=d,netdev=n0,file=${pcap}`] : [];
    const guest = await Guest.start(t, [...EMBEDDED, ...APPEND, ...options, ...dump], "x86_64", host);
    await guest.onSerial(PROMPT, 120);
    assert.match(guest.serial, /lease of 10\.0\.2\.15 obtained from 10\.0\.2\.2/);
    assert.match(await guest.ask("ping -c 2 10.0.2.2", PROMPT, 30), /2 packets received/);
    assert.match(await guest.ask("nslookup name.example", PROMPT, 30), /192\.0\.2\.7/);
    const got = await guest.ask(`wget -q -O - http://10.0.2.2:${http}/3000000 | md5sum`, PROMPT, 60);
    const { createHash } = await import("node:crypto");
    const block = Uint8Array.from({ length: 65536 }, (_, i) => (i * 7 + (i >> 8)) & 255);
    const all = Buffer.alloc(3_000_000, block);
    assert.ok(got.includes(createHash("md5").update(all).digest("hex")), got);
    const sink = await sinkServer(t, () => {});
    const put = await guest.ask(`head -c 2000000 /dev/zero | nc 10.0.2.2 ${sink}`, PROMPT, 60);
    assert.match(put, /^2000000$/m);
    assert.match(await guest.ask("wget -q -O - http://10.0.2.2:1/", PROMPT, 60), /refused/);
    // From outside.
    await guest.ask("mkdir -p /tmp/w; echo hello from the guest > /tmp/w/f; httpd -p 80 -h /tmp/w", PROMPT, 30);
    const port = guest.machine.networks.users()[0]!.forwardedPorts()[0]!.port;
    assert.match(await talk(port, "GET /f HTTP/1.0\r\n\r\n"), /hello from the guest/);
    const network = await monitorCommand(guest.machine, "info network");
    assert.match(
      network,
      /type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56\n \\ .*type=user,net=10\.0\.2\.0,restrict=off/,
    );
    assert.match(await monitorCommand(guest.machine, "info usernet"), /HOST_FORWARD/);
    // A pulled cable, and plugged in again.
    await monitorCommand(guest.machine, `set_link ${name === "virtio-net" ? "n0" : "#net0"} off`);
    assert.match(await guest.ask("ping -c 1 -W 1 10.0.2.2", PROMPT, 30), /0 packets received|unreachable/);
    await monitorCommand(guest.machine, `set_link ${name === "virtio-net" ? "n0" : "#net0"} on`);
    assert.match(await guest.ask("sleep 1; ping -c 2 10.0.2.2", PROMPT, 30), /[12] packets received/);
    guest.machine.quit();
    await guest.machine.ended;
    if (dump.length > 0) checkPcap(readFileSync(pcap));
  });

/** The file is whole, and the first exchange in it is the guest's DHCP. */
function checkPcap(file: Buffer): void {
  assert.equal(file.readUInt32LE(0), 0xa1b2c3d4);
  assert.equal(file.readUInt32LE(20), 1);
  const frames: Buffer[] = [];
  for (let at = 24; at < file.length; ) {
    const n = file.readUInt32LE(at + 8);
    frames.push(file.subarray(at + 16, at + 16 + n));
    at += 16 + n;
    assert.ok(at <= file.length);
  }
  const dhcp = frames.filter(
    (f) => f.readUInt16BE(12) === 0x0800 && f[23] === 17 && f.readUInt16BE(34) + f.readUInt16BE(36) === 135,
  );
  assert.deepEqual(
    dhcp.slice(0, 4).map((f) => f.readUInt16BE(34)),
    [68, 67, 68, 67],
  );
  assert.ok(frames.length > 100);
}

test("two machines at one cable: -netdev socket", async (t) => {
  const args = (mac: string, socket: string) => [
    ...EMBEDDED,
    "-append",
    "console=ttyS0 quiet",
    "-netdev",
    `socket,id=s,${socket}`,
    "-device",
    `virtio-net-pci,netdev=s,mac=${mac}`,
  ];
  const a = await Guest.start(t, args("52:54:00:00:00:01", "listen=127.0.0.1:0"));
  const listening = a.machine.networks.list()[0]!.info;
  assert.match(listening, /^socket: wait from/);
  const port = a.machine.networks.listeningPort("s");
  const b = await Guest.start(t, args("52:54:00:00:00:02", `connect=127.0.0.1:${port}`));
  for (const [guest, address] of [
    [a, "192.168.7.1"],
    [b, "192.168.7.2"],
  ] as const) {
    await guest.onSerial(PROMPT, 120);
    await guest.ask(`ifconfig eth0 ${address} up`, PROMPT, 30);
  }
  assert.match(await b.ask("ping -c 3 192.168.7.1", PROMPT, 30), /[123] packets received/);
});
