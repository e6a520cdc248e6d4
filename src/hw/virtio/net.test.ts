import assert from "node:assert/strict";
import test from "node:test";
import { type CableEnd, crossedCable, LoopBackend, NetBackendBase, NullBackend } from "../../net/backend.js";
import { addWords, foldChecksum, type NetHeader } from "../../net/offload.js";
import {
  type Buffer,
  type DriverQueue,
  kitMachine,
  le,
  legacyTransport,
  modernTransport,
  plug,
  VirtioDriver,
  WITHOUT_EVENT_IDX,
} from "./driver-kit.js";
import { createVirtioNetPci, NetFeature, type VirtioNet, type VirtioNetOptions } from "./net.js";
import { featureBits } from "./spec.js";

const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);

/** Keeps what the guest sends. */
class Recorder extends NetBackendBase {
  readonly sent: Uint8Array[] = [];
  readonly headers: (NetHeader | undefined)[] = [];
  resumed = 0;
  constructor(
    id: string,
    override readonly takesOffload = false,
  ) {
    super(id);
  }
  override send(frame: Uint8Array, header?: NetHeader): void {
    this.sent.push(frame.slice());
    this.headers.push(header);
  }
  override resume(): void {
    this.resumed++;
  }
}

function setup(options: Partial<VirtioNetOptions> & { modern?: boolean; without?: bigint } = {}) {
  const machine = kitMachine();
  const netdev = new Recorder("net0");
  const pci = createVirtioNetPci(machine, { mac: MAC, netdev, ...options });
  const wires = plug(pci);
  const transport = options.modern === false ? legacyTransport(machine, pci) : modernTransport(machine, pci);
  const driver = new VirtioDriver(machine, transport);
  assert.ok(driver.init(3, WITHOUT_EVENT_IDX | (options.without ?? 0n)));
  const [rx, tx, ctrl] = driver.queues as [DriverQueue, DriverQueue, DriverQueue];
  return { machine, netdev, pci, net: pci.virtio as VirtioNet, driver, rx, tx, ctrl, ...wires };
}

/** A frame to an address, of a length, with a recognizable body. */
function frame(to: number[] | Uint8Array, length = 64, type = [0x08, 0x00]): Uint8Array {
  const f = new Uint8Array(length);
  for (let i = 14; i < length; i++) f[i] = i;
  f.set(to, 0);
  f.set([2, 0, 0, 0, 0, 1], 6);
  f.set(type, 12);
  return f;
}

const NO_HDR = new Uint8Array(12);

for (const modern of [true, false])
  for (const merge of [true, false])
    test(`there and back, ${modern ? "modern" : "legacy"}, ${merge ? "mergeable" : "single"} buffers`, async () => {
      const netdev = new LoopBackend("loop");
      const { rx, tx, machine, intx, driver } = setup({
        netdev,
        modern,
        without: merge ? 0n : featureBits(NetFeature.mrgRxbuf),
      });
      const hdr = modern || merge ? 12 : 10;
      for (const length of [14, 60, 1514, merge ? 9000 : 1000]) {
        for (let i = 0; i < 8; i++) rx.add(merge ? [{ in: 1500 }] : [{ in: hdr }, { in: 1514 }]);
        const sent = frame(MAC, length);
        tx.add([{ out: NO_HDR.slice(0, hdr) }, { out: sent }]);
        tx.kick();
        await machine.settle();
        assert.equal(tx.take()[0]?.length, 0);
        const got = rx.take();
        assert.equal(intx(), true);
        driver.transport.readIsr();
        const bytes = got.flatMap((u) => {
          const whole = u.in.flatMap((b) => [...b]);
          return whole.slice(0, u.length);
        });
        assert.deepEqual(Uint8Array.from(bytes.slice(hdr)), sent, `length ${length}`);
        if (hdr === 12) assert.equal(bytes[10]! | (bytes[11]! << 8), got.length);
        assert.equal(got.length, merge ? Math.ceil((length + hdr) / 1500) : 1);
      }
    });

test("transmit, rows of odd packets", () => {
  const rows: { name: string; buffers: Buffer[]; sent: number; dropped: number }[] = [
    { name: "header only", buffers: [{ out: NO_HDR }], sent: 0, dropped: 1 },
    { name: "shorter than the header", buffers: [{ out: NO_HDR.slice(0, 5) }], sent: 0, dropped: 1 },
    { name: "13 bytes", buffers: [{ out: NO_HDR }, { out: new Uint8Array(13) }], sent: 0, dropped: 1 },
    { name: "14 bytes", buffers: [{ out: NO_HDR }, { out: frame(MAC, 14) }], sent: 1, dropped: 0 },
    { name: "header and data together", buffers: [{ out: Uint8Array.of(...NO_HDR, ...frame(MAC)) }], sent: 1, dropped: 0 },
    { name: "64 KiB and a header", buffers: [{ out: NO_HDR }, { out: frame(MAC, 65536 + 14) }], sent: 1, dropped: 0 },
    { name: "too long", buffers: [{ out: NO_HDR }, { out: frame(MAC, 65536 + 30) }], sent: 0, dropped: 1 },
    {
      name: "gigabytes",
      buffers: [{ out: NO_HDR }, ...Array.from({ length: 200 }, (): Buffer => ({ addr: 0, length: 8 << 20, write: false }))],
      sent: 0,
      dropped: 1,
    },
    { name: "no readable part", buffers: [{ in: 100 }], sent: 0, dropped: 1 },
  ];
  for (const row of rows) {
    const { tx, netdev, net } = setup();
    tx.add(row.buffers);
    tx.kick();
    assert.equal(tx.take().length, 1, row.name);
    assert.equal(netdev.sent.length, row.sent, row.name);
    assert.equal(net.dropped, row.dropped, row.name);
  }
});

// Checksums and segmentation.

function ipv4Tcp(payload: number, flags: number): Uint8Array {
  const f = new Uint8Array(14 + 20 + 20 + payload);
  f.set(MAC, 0);
  f.set([8, 0], 12);
  const total = f.length - 14;
  f.set([0x45, 0, total >> 8, total & 255, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2], 14);
  f.set([0x30, 0x39, 0, 80, 0, 0, 0x10, 0, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0], 34);
  for (let i = 54; i < f.length; i++) f[i] = i * 7;
  // The pseudo header's sum, not inverted, is what a driver leaves in the field.
  const pseudo = ~foldChecksum(addWords(6 + 20 + payload, f, 26, 34)) & 0xffff;
  f[50] = pseudo >> 8;
  f[51] = pseudo;
  return f;
}

function tcpChecksumGood(f: Uint8Array): boolean {
  return foldChecksum(addWords(6 + f.length - 34, f, 26, 34) + addWords(0, f, 34, f.length)) === 0;
}

const hdr = (flags: number, gso: number, size: number, start: number, offset: number) =>
  le([flags, 1], [gso, 1], [54, 2], [size, 2], [start, 2], [offset, 2], [0, 2]);

test("a checksum is completed", () => {
  for (const payload of [0, 1, 2, 999, 1460]) {
    const { tx, netdev } = setup();
    tx.add([{ out: hdr(1, 0, 0, 34, 16) }, { out: ipv4Tcp(payload, 0x18) }]);
    tx.kick();
    assert.equal(tcpChecksumGood(netdev.sent[0]!), true, `payload ${payload}`);
  }
});

test("a large packet is cut", () => {
  for (const [payload, mss, frames] of [
    [4000, 1460, 3],
    [1460, 1460, 1],
    [1461, 1460, 2],
    [0, 1460, 1],
    [60000, 536, 112],
  ] as const) {
    const { tx, netdev } = setup();
    tx.add([{ out: hdr(1, 1, mss, 34, 16) }, { out: ipv4Tcp(payload, 0x19) }]);
    tx.kick();
    assert.equal(netdev.sent.length, frames);
    let seq = 0x1000;
    for (const [i, f] of netdev.sent.entries()) {
      assert.equal(tcpChecksumGood(f), true);
      assert.equal(foldChecksum(addWords(0, f, 14, 34)), 0);
      assert.equal((f[16]! << 8) | f[17]!, f.length - 14);
      assert.equal((f[40]! << 8) | f[41]!, seq & 0xffff);
      assert.equal(f[47], i + 1 === frames ? 0x19 : 0x10);
      seq += f.length - 54;
    }
    assert.equal(seq, 0x1000 + payload);
  }
});

test("hostile offload headers are dropped and counted", () => {
  const good = ipv4Tcp(4000, 0x18);
  const arp = frame(MAC, 2000, [8, 6]);
  const shortIp = good.slice(0, 40);
  for (const [name, header, packet] of [
    ["size 0", hdr(1, 1, 0, 34, 16), good],
    ["size 1", hdr(1, 1, 1, 34, 16), good],
    ["checksum start past the end", hdr(1, 0, 0, 60000, 16), good],
    ["checksum offset past the end", hdr(1, 0, 0, 34, 60000), good],
    ["unknown type", hdr(1, 9, 1000, 34, 16), good],
    ["UDP", hdr(1, 3, 1000, 34, 16), good],
    ["IPv6 type on IPv4", hdr(1, 4, 1000, 34, 16), good],
    ["not IP", hdr(1, 1, 1000, 34, 16), arp],
    ["cut short", hdr(1, 1, 1000, 34, 16), shortIp],
    ["TCP header longer than the packet", hdr(1, 1, 1000, 34, 16), good.slice(0, 54).fill(0xf0, 46, 47)],
  ] as const) {
    const { tx, netdev, net } = setup();
    tx.add([{ out: header }, { out: packet }]);
    tx.kick();
    if (name === "TCP header longer than the packet") assert.equal(netdev.sent.length, 0, name);
    assert.deepEqual([netdev.sent.length, net.dropped], [0, 1], name);
  }
});

// Receive filters.

test("a network that takes unfinished packets gets them whole, and gives them", async () => {
  const netdev = new Recorder("n", true);
  const { tx, rx, ctrl, net, machine } = setup({ netdev });
  const large = frame(MAC, 30_054);
  tx.add([{ out: hdr(1, 1, 1448, 34, 16) }, { out: large }]);
  tx.kick();
  assert.deepEqual(netdev.sent, [large]);
  const [h] = netdev.headers;
  assert.deepEqual([h?.flags, h?.gsoType, h?.gsoSize, h?.csumStart, h?.csumOffset], [1, 1, 1448, 34, 16]);
  for (const [name, header] of [
    ["size 0", hdr(1, 1, 0, 34, 16)],
    ["checksum past the packet", hdr(1, 1, 1448, 30_050, 16)],
    ["unknown kind", hdr(1, 9, 1448, 34, 16)],
  ] as const) {
    const before = net.dropped;
    tx.add([{ out: header }, { out: large }]);
    tx.kick();
    assert.equal(net.dropped, before + 1, name);
  }
  assert.equal(netdev.sent.length, 1);
  // To the guest: several buffers, the header in the first.
  assert.deepEqual(netdev.cardOffloads(), { csum: true, tso4: true, tso6: true });
  for (let i = 0; i < 40; i++) rx.add([{ in: 1600 }]);
  rx.kick();
  assert.equal(netdev.onReceive(large, { flags: 1, gsoType: 1, gsoSize: 1400, csumStart: 34, csumOffset: 16 }), true);
  await machine.settle();
  const got = rx.take();
  assert.equal(got.length, Math.ceil((large.length + 12) / 1600));
  const first = got[0]!.in[0]!;
  assert.deepEqual([...first.slice(0, 12)], [1, 1, 0, 0, 0x78, 5, 34, 0, 16, 0, got.length, 0]);
  // A driver that switches them off, and one that asks for what was not agreed on.
  for (const [bits, answer, tso4] of [
    [[1 << 1, 0, 0, 0, 0, 0, 0, 0], 0, false],
    [[0x82, 0, 0, 0, 0, 0, 0, 0], 0, true],
    [[0, 0, 0x10, 0, 0, 0, 0, 0], 1, true],
  ] as const) {
    ctrl.add([{ out: Uint8Array.of(5, 0, ...bits) }, { in: 1 }]);
    ctrl.kick();
    assert.equal(ctrl.take()[0]?.in[0]?.[0], answer);
    assert.equal(netdev.cardOffloads().tso4, tso4);
  }
});

test("filters, rows", async () => {
  const other = [0x52, 0x54, 0, 1, 2, 3];
  const group = [0x01, 0, 0x5e, 0, 0, 1];
  const all = [255, 255, 255, 255, 255, 255];
  const off = le([0, 1], [0, 1], [0, 1]);
  const table = (uni: number[][], multi: number[][]) =>
    Uint8Array.of(1, 0, ...le([uni.length, 4]), ...uni.flat(), ...le([multi.length, 4]), ...multi.flat());
  const many = Array.from({ length: 65 }, (_, i) => [0x52, 0x54, 9, 9, 9, i]);
  const tagged = frame(MAC, 64, [0x81, 0]);
  tagged.set([0x20, 5], 14);
  const rows: { name: string; commands: Uint8Array[]; take: Uint8Array[]; leave: Uint8Array[] }[] = [
    { name: "after reset: everything", commands: [], take: [frame(MAC), frame(other), frame(group), frame(all)], leave: [] },
    { name: "own address and broadcast", commands: [off], take: [frame(MAC), frame(all)], leave: [frame(other), frame(group)] },
    { name: "no broadcast", commands: [off, Uint8Array.of(0, 5, 1)], take: [frame(MAC)], leave: [frame(all)] },
    { name: "all multicast", commands: [off, Uint8Array.of(0, 1, 1)], take: [frame(group)], leave: [frame(other)] },
    { name: "all unicast", commands: [off, Uint8Array.of(0, 2, 1)], take: [frame(other)], leave: [frame(group)] },
    { name: "no unicast", commands: [off, Uint8Array.of(0, 4, 1)], take: [frame(all)], leave: [frame(MAC)] },
    {
      name: "table",
      commands: [off, table([other], [group])],
      take: [frame(other), frame(group), frame(MAC)],
      leave: [frame([2, 2, 2, 2, 2, 2])],
    },
    { name: "table overflow", commands: [off, table(many, [])], take: [frame(other)], leave: [frame(group)] },
    { name: "new address", commands: [off, Uint8Array.of(1, 1, ...other)], take: [frame(other)], leave: [frame(MAC)] },
    { name: "VLAN not added", commands: [off], take: [], leave: [tagged] },
    { name: "VLAN added", commands: [off, Uint8Array.of(2, 0, 5, 0)], take: [tagged], leave: [] },
    { name: "VLAN removed", commands: [off, Uint8Array.of(2, 0, 5, 0), Uint8Array.of(2, 1, 5, 0)], take: [], leave: [tagged] },
  ];
  for (const row of rows) {
    const { rx, ctrl, netdev, machine } = setup();
    for (let i = 0; i < 16; i++) rx.add([{ in: 1600 }]);
    rx.kick();
    for (const c of row.commands) {
      ctrl.add([{ out: c.slice(0, 2) }, { out: c.slice(2) }, { in: 1 }]);
      ctrl.kick();
      assert.equal(ctrl.take()[0]?.in[0]?.[0], 0, row.name);
    }
    for (const f of [...row.take, ...row.leave]) assert.equal(netdev.onReceive(f), true);
    await machine.settle();
    assert.equal(rx.take().length, row.take.length, row.name);
  }
});

test("control commands that are refused, rows", () => {
  for (const [name, bytes] of [
    ["unknown class", Uint8Array.of(9, 0, 0)],
    ["unknown receive mode", Uint8Array.of(0, 9, 0)],
    ["receive mode without value", Uint8Array.of(0, 0)],
    ["short address", Uint8Array.of(1, 1, 1, 2, 3)],
    ["VLAN 4096", Uint8Array.of(2, 0, 0, 16)],
    ["table that claims 2^32-1 entries", Uint8Array.of(1, 0, 255, 255, 255, 255, 1, 2, 3, 4, 5, 6)],
    ["table without the second", Uint8Array.of(1, 0, 0, 0, 0, 0)],
    ["announcement that was not asked for", Uint8Array.of(3, 0)],
  ] as const) {
    const { ctrl } = setup();
    ctrl.add([{ out: bytes }, { in: 1 }]);
    ctrl.kick();
    assert.equal(ctrl.take()[0]?.in[0]?.[0], 1, name);
  }
});

test("no room: frames wait for buffers", async () => {
  const [mine, theirs] = crossedCable("a", "b");
  const { rx, machine } = setup({ netdev: mine });
  for (let i = 0; i < 3; i++) (theirs as CableEnd).send(frame(MAC, 1000 + i));
  await machine.settle();
  assert.equal(rx.take().length, 0);
  assert.equal(rx.wantsKick(0), true);
  // Too little for one frame, though mergeable: still waits, and nothing is lost.
  rx.add([{ in: 512 }]);
  rx.kick();
  await machine.settle();
  assert.equal(rx.take().length, 0);
  for (let i = 0; i < 6; i++) rx.add([{ in: 512 }]);
  rx.kick();
  await machine.settle();
  assert.deepEqual(
    rx.take().map((u) => u.length),
    [512, 500, 512, 501, 512, 502],
  );
  for (let i = 0; i < 100; i++) theirs.send(frame(MAC));
  assert.equal(mine.dropped > 0, true);
});

test("a buffer that is too small for one frame loses the frame, not the buffer", async () => {
  const { rx, netdev, net, machine } = setup({ without: featureBits(NetFeature.mrgRxbuf) });
  rx.add([{ in: 100 }]);
  rx.kick();
  assert.equal(netdev.onReceive(frame(MAC, 200)), true);
  assert.equal(net.dropped, 1);
  assert.equal(netdev.onReceive(frame(MAC, 80)), true);
  await machine.settle();
  assert.equal(rx.take()[0]?.length, 92);
});

test("link, address, announcement in configuration space", () => {
  const { driver, netdev, net, ctrl, intx } = setup({ hostMtu: 9000 });
  const t = driver.transport;
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5].map((i) => t.config(i, 1)),
    [...MAC],
  );
  assert.equal(t.config(6, 2), 1);
  assert.equal(t.config(10, 2), 9000);
  netdev.setLink(false);
  assert.equal(intx(), true);
  assert.equal(t.readIsr() & 2, 2);
  assert.equal(t.config(6, 2), 0);
  netdev.setLink(true);
  net.announce();
  assert.equal(t.config(6, 2), 3);
  ctrl.add([{ out: Uint8Array.of(3, 0) }, { in: 1 }]);
  ctrl.kick();
  assert.equal(ctrl.take()[0]?.in[0]?.[0], 0);
  assert.equal(t.config(6, 2), 1);
});

test("a legacy driver writes the address", () => {
  const { driver, net } = setup({ modern: false, without: featureBits(NetFeature.ctrlMacAddr) });
  for (let i = 0; i < 6; i++) driver.transport.setConfig(i, 1, i + 2);
  assert.deepEqual([...net.mac], [2, 3, 4, 5, 6, 7]);
  net.reset();
  assert.deepEqual([...net.mac], [...MAC]);
});

test("no cable", () => {
  for (const netdev of [undefined, new NullBackend("none")]) {
    const machine = kitMachine();
    const pci = createVirtioNetPci(machine, { mac: MAC, netdev });
    plug(pci);
    const driver = new VirtioDriver(machine, modernTransport(machine, pci));
    driver.init(3, WITHOUT_EVENT_IDX);
    assert.equal(driver.transport.config(6, 2), 0);
    driver.queues[1]!.add([{ out: NO_HDR }, { out: frame(MAC) }]);
    driver.queues[1]!.kick();
    assert.equal(driver.queues[1]!.take().length, 1);
  }
});

test("without a driver frames are dropped, not held", () => {
  const { netdev, driver } = setup();
  driver.transport.setStatus(0);
  assert.equal(netdev.canReceive(), true);
  assert.equal(netdev.onReceive(frame(MAC)), true);
});

test("a snapshot keeps filters and address", async () => {
  const { ctrl, net, pci, netdev, rx, machine } = setup();
  const other = [0x52, 0x54, 0, 1, 2, 3];
  for (const c of [Uint8Array.of(0, 0, 0), Uint8Array.of(1, 1, ...other), Uint8Array.of(2, 0, 5, 0)]) {
    ctrl.add([{ out: c }, { in: 1 }]);
    ctrl.kick();
  }
  const state = structuredClone(pci.save());
  pci.reset();
  pci.restore(state);
  assert.deepEqual([...net.mac], other);
  rx.add([{ in: 1600 }]);
  rx.kick();
  netdev.onReceive(frame(MAC));
  netdev.onReceive(frame(other));
  await machine.settle();
  assert.equal(rx.take().length, 1);
});
