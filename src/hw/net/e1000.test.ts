import assert from "node:assert/strict";
import { test } from "node:test";
import { NetBackendBase } from "../../net/backend.js";
import { put16 } from "../../net/bytes.js";
import { addWords, foldChecksum, GsoType, type NetHeader } from "../../net/offload.js";
import { PciReg } from "../pci/device.js";
import { testMachine } from "../pci/test-machine.js";
import { E1000 } from "./e1000.js";
import { Cause, Ctrl, Rctl, REGISTERS, Reg, Rxcsum, Tctl } from "./e1000-registers.js";

const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const BAR = 0x80000000;
const TX = 0x1000;
const RX = 0x2000;
const BUFFERS = 0x10000;
const ENTRIES = 8;

class Recorder extends NetBackendBase {
  override readonly takesOffload: boolean;
  readonly sent: { frame: Uint8Array; header: NetHeader | undefined }[] = [];
  resumed = 0;
  constructor(takesOffload: boolean) {
    super("net0");
    this.takesOffload = takesOffload;
  }
  override send(frame: Uint8Array, header?: NetHeader): void {
    this.sent.push({ frame: frame.slice(), header });
  }
  override resume(): void {
    this.resumed++;
  }
}

function setup(takesOffload = false) {
  const m = testMachine();
  const net = new Recorder(takesOffload);
  const card = new E1000(m, { mac: MAC, netdev: net });
  let line = false;
  card.attach({
    bus: 0,
    devfn: 0x18,
    setIrq: (_pin, level) => {
      line = level;
    },
  });
  card.configWrite(PciReg.bar0, 4, BAR);
  card.configWrite(PciReg.bar0 + 4, 4, 0xc000);
  card.configWrite(PciReg.command, 2, 7);
  const read = (offset: number) => m.memory.read(BAR + offset, 4);
  const write = (offset: number, value: number) => m.memory.write(BAR + offset, 4, value);
  write(Reg.tdbal, TX);
  write(Reg.tdlen, ENTRIES * 16);
  write(Reg.rdbal, RX);
  write(Reg.rdlen, ENTRIES * 16);
  for (let i = 0; i < ENTRIES; i++) m.memory.write(RX + 16 * i, 4, BUFFERS + 0x1000 * i);
  let tail = 0;
  /** Puts descriptors into the transmit ring: address, lower and upper word. */
  const transmit = (...rows: [address: number, lower: number, upper: number][]) => {
    for (const [address, lower, upper] of rows) {
      const at = TX + 16 * tail;
      m.memory.write(at, 4, address);
      m.memory.write(at + 4, 4, 0);
      m.memory.write(at + 8, 4, lower >>> 0);
      m.memory.write(at + 12, 4, upper >>> 0);
      tail = (tail + 1) % ENTRIES;
    }
    write(Reg.tdt, tail);
  };
  return { m, net, card, read, write, transmit, irq: () => line };
}

const CMD = { eop: 0x01000000, ic: 0x04000000, tse: 0x04000000, rs: 0x08000000, dext: 0x20000000, vle: 0x40000000 };
const DATA = 0x00100000;

/** A TCP frame with a partial checksum, as a driver leaves it. */
function tcpFrame(payload: number): Uint8Array {
  const f = new Uint8Array(54 + payload);
  f.set([0x52, 0x55, 10, 0, 2, 2, ...MAC, 8, 0, 0x45], 0);
  f[23] = 6;
  f.set([10, 0, 2, 15, 10, 0, 2, 2], 26);
  f[46] = 0x50;
  for (let i = 54; i < f.length; i++) f[i] = i;
  const pseudo = addWords(6, f, 26, 34);
  put16(f, 50, ~foldChecksum(pseudo) & 0xffff);
  return f;
}

test("the registers have the manual's reset values, and only their own bits", () => {
  const { read, write, card } = setup();
  card.reset();
  card.configWrite(PciReg.bar0, 4, BAR);
  card.configWrite(PciReg.command, 2, 7);
  const acting = [Reg.ctrl, Reg.eecd, Reg.tctl, Reg.rctl, Reg.tdt, Reg.rdt, Reg.status, Reg.ra, Reg.ra + 4] as number[];
  for (const row of REGISTERS)
    for (let i = 0; i < (row.count ?? 1); i++) {
      const at = row.offset + 4 * i;
      if (acting.includes(at) || row.counter) continue;
      const reset = (row.reset ?? 0) >>> 0;
      assert.equal(read(at), reset, at.toString(16));
      if (row.mask === undefined) continue;
      write(at, 0xffffffff);
      assert.equal(read(at), (reset | row.mask) >>> 0, at.toString(16));
      write(at, 0);
      assert.equal(read(at), (reset & ~row.mask) >>> 0, at.toString(16));
    }
});

test("EEPROM by its wires and by EERD: the address, and the sum", () => {
  const { read, write } = setup();
  const CLOCK = 1;
  const SELECT = 2;
  const IN = 4;
  const bit = (level: number) => {
    write(Reg.eecd, SELECT | (level ? IN : 0));
    write(Reg.eecd, SELECT | (level ? IN : 0) | CLOCK);
    const out = (read(Reg.eecd) >> 3) & 1;
    write(Reg.eecd, SELECT | (level ? IN : 0));
    return out;
  };
  const word = (address: number) => {
    write(Reg.eecd, 0);
    for (const b of [1, 1, 0]) bit(b);
    for (let i = 5; i >= 0; i--) bit((address >> i) & 1);
    let v = 0;
    for (let i = 0; i < 16; i++) v = (v << 1) | bit(0);
    write(Reg.eecd, 0);
    return v;
  };
  let sum = 0;
  for (let i = 0; i < 64; i++) {
    write(Reg.eerd, (i << 8) | 1);
    assert.equal(read(Reg.eerd) & 0x10, 0x10);
    assert.equal(read(Reg.eerd) >>> 16, word(i), `${i}`);
    sum += word(i);
  }
  assert.equal(sum & 0xffff, 0xbaba);
  assert.deepEqual([word(0), word(1), word(2)], [0x5452, 0x1200, 0x5634]);
});

test("transceiver: identity, link, errors", () => {
  const { read, write, net } = setup();
  const phy = (register: number, address = 1) => {
    write(Reg.mdic, (2 << 26) | (address << 21) | (register << 16));
    return read(Reg.mdic);
  };
  assert.equal(phy(2), ((2 << 26) | (1 << 21) | (2 << 16) | (1 << 28) | 0x0141) >>> 0);
  assert.equal(phy(1) & 4, 4);
  assert.ok(phy(2, 3) & (1 << 30));
  assert.ok(phy(31) & (1 << 30));
  write(Reg.ims, Cause.linkChange);
  net.setLink(false);
  assert.equal(phy(1) & 4, 0);
  assert.equal(read(Reg.status) & 2, 0);
  assert.equal(read(Reg.icr) & Cause.linkChange, Cause.linkChange);
});

test("transmit: legacy, with a checksum, padded, with a VLAN tag", () => {
  const { m, net, write, read, transmit, irq } = setup();
  const f = tcpFrame(100);
  m.memory.writeBytes(BUFFERS, f);
  write(Reg.tctl, Tctl.enable | Tctl.padShort);
  write(Reg.ims, Cause.txDescWritten);
  // In two pieces; IC with CSS 34, CSO 50.
  transmit([BUFFERS, 60, 0], [BUFFERS + 60, (f.length - 60) | (50 << 16) | CMD.eop | CMD.ic | CMD.rs, 34 << 8]);
  const [sent] = net.sent;
  assert.equal(sent!.frame.length, f.length);
  const pseudo = addWords(6 + 120, sent!.frame, 26, 34);
  assert.equal(foldChecksum(addWords(pseudo - 120, sent!.frame, 34, f.length)), 0);
  assert.equal(m.memory.read(TX + 16 + 12, 1), 1);
  assert.equal(m.memory.read(TX + 12, 1), 0);
  assert.equal(irq(), true);
  assert.equal(read(Reg.icr), Cause.txDescWritten | Cause.txQueueEmpty);
  assert.equal(irq(), false);
  transmit([BUFFERS, 20 | CMD.eop, 0]);
  assert.equal(net.sent[1]!.frame.length, 60);
  write(Reg.ctrl, Ctrl.vme);
  transmit([BUFFERS, 100 | CMD.eop | CMD.vle, 0x00050000]);
  assert.deepEqual([...net.sent[2]!.frame.subarray(12, 18)], [0x81, 0, 0, 5, 8, 0]);
  assert.equal(net.sent[2]!.frame.length, 104);
  assert.deepEqual([read(Reg.tpt), read(Reg.tpt)], [3, 0]);
});

for (const offload of [false, true])
  test(`transmit: segmentation, ${offload ? "left to the network" : "here"}`, () => {
    const { m, net, write, transmit } = setup(offload);
    const f = tcpFrame(5000);
    m.memory.writeBytes(BUFFERS, f);
    write(Reg.tctl, Tctl.enable);
    const context: [number, number, number] = [
      // IPCSS 14, IPCSO 24, IPCSE 33.
      14 | (24 << 8) | (33 << 16),
      5000 | CMD.dext | CMD.tse | 0x03000000,
      (54 << 8) | (1460 << 16),
    ];
    m.memory.write(TX + 4, 4, 0);
    const rows: [number, number, number][] = [context, [BUFFERS, f.length | DATA | CMD.dext | CMD.tse | CMD.eop | CMD.rs, 0x300]];
    transmit(rows[0]!);
    m.memory.write(TX + 4, 4, 34 | (50 << 8));
    write(Reg.tdh, 0);
    write(Reg.tdt, 1);
    transmit(rows[1]!);
    if (offload) {
      const [{ frame, header }] = net.sent as [{ frame: Uint8Array; header: NetHeader }];
      assert.equal(net.sent.length, 1);
      assert.deepEqual([header.gsoType, header.gsoSize, header.csumStart, header.csumOffset], [GsoType.tcpv4, 1460, 34, 16]);
      assert.equal((frame[16]! << 8) | frame[17]!, 5040);
    } else {
      assert.deepEqual(
        net.sent.map((s) => s.frame.length),
        [1514, 1514, 1514, 674],
      );
    }
    for (const { frame } of net.sent) {
      assert.equal(foldChecksum(addWords(0, frame, 14, 34)), 0);
      if (offload) continue;
      const pseudo = addWords(6 + frame.length - 34, frame, 26, 34);
      assert.equal(foldChecksum(addWords(pseudo, frame, 34, frame.length)), 0);
    }
  });

test("receive: filters, buffers, checksum verdicts, VLAN", () => {
  const { m, net, write, read, irq } = setup();
  write(Reg.rctl, Rctl.enable | Rctl.broadcast);
  write(Reg.rdt, ENTRIES - 1);
  write(Reg.ims, Cause.rxTimer);
  const frame = (to: ArrayLike<number>, length = 100) => {
    const f = new Uint8Array(length).fill(7);
    f.set(to);
    return f;
  };
  const rows: readonly (readonly [string, ArrayLike<number>, boolean])[] = [
    ["own address", MAC, true],
    ["another's", [2, 0, 0, 0, 0, 9], false],
    ["broadcast", [255, 255, 255, 255, 255, 255], true],
    ["group without filter", [1, 0, 0x5e, 0, 0, 1], false],
  ];
  let expected = 0;
  for (const [name, to, taken] of rows) {
    assert.equal(net.onReceive(frame(to)), true, name);
    if (taken) expected++;
    assert.equal(read(Reg.rdh), expected, name);
  }
  assert.equal(irq(), true);
  // Length with the four bytes of the check sequence; done, end, no verdict.
  assert.deepEqual([m.memory.read(RX + 8, 2), m.memory.read(RX + 12, 1)], [104, 7]);
  // The group's bit in the table: address bits 47 to 36.
  write(Reg.mta + 4 * ((0x0100 >> 4) >> 5), 1 << ((0x0100 >> 4) & 31));
  net.onReceive(frame([1, 0, 0x5e, 0, 0, 1]));
  assert.equal(read(Reg.rdh), 3);
  // Several buffers of 256 bytes.
  write(Reg.rctl, Rctl.enable | (3 << Rctl.sizeShift));
  net.onReceive(frame(MAC, 600));
  assert.equal(read(Reg.rdh), 6);
  assert.deepEqual(
    [3, 4, 5].map((i) => [m.memory.read(RX + 16 * i + 8, 2), m.memory.read(RX + 16 * i + 12, 1) & 2]),
    [
      [256, 0],
      [256, 0],
      [92, 2],
    ],
  );
  // No room: kept by the network; asked again when the tail moves.
  assert.equal(net.onReceive(frame(MAC, 600)), false);
  const before = net.resumed;
  write(Reg.rdt, 5);
  assert.equal(net.resumed, before + 1);
  write(Reg.rctl, Rctl.enable);
  write(Reg.rxcsum, Rxcsum.ip | Rxcsum.tcpUdp);
  write(Reg.ctrl, Ctrl.vme);
  const tcp = tcpFrame(50);
  tcp.set(MAC);
  put16(tcp, 16, 90);
  put16(tcp, 24, foldChecksum(addWords(0, tcp, 14, 34)));
  const tagged = new Uint8Array(tcp.length + 4);
  tagged.set(tcp.subarray(0, 12));
  tagged.set([0x81, 0, 0x20, 5], 12);
  tagged.set(tcp.subarray(12), 16);
  const head = read(Reg.rdh);
  net.onReceive(tagged);
  const at = RX + 16 * head;
  // Tag taken out; IP right, TCP wrong.
  assert.deepEqual(
    [m.memory.read(at + 8, 2), m.memory.read(at + 12, 1), m.memory.read(at + 13, 1), m.memory.read(at + 14, 2)],
    [108, 0x6b, 0x20, 0x2005],
  );
});

test("interrupts: throttled by ITR, asked for by ICS, masked", () => {
  const { m, write, read, irq } = setup();
  write(Reg.itr, 1000);
  write(Reg.ics, 0x80);
  assert.equal(irq(), false);
  write(Reg.ims, 0x80);
  assert.equal(irq(), true);
  assert.equal(read(Reg.icr), 0x80);
  assert.equal(irq(), false);
  write(Reg.ics, 0x80);
  assert.equal(irq(), false, "too soon");
  m.advance(256_000);
  assert.equal(irq(), true);
  write(Reg.imc, 0x80);
  assert.equal(irq(), false);
});

test("state goes round, in mid-packet", () => {
  const a = setup();
  a.m.memory.writeBytes(BUFFERS, tcpFrame(100));
  a.write(Reg.tctl, Tctl.enable);
  a.transmit([BUFFERS, 60, 0]);
  const state = a.card.save();
  const b = setup();
  b.card.restore(state);
  b.m.memory.writeBytes(BUFFERS, tcpFrame(100));
  b.m.memory.write(TX + 16, 4, BUFFERS + 60);
  b.m.memory.write(TX + 16 + 8, 4, 40 | CMD.eop);
  b.write(Reg.tdt, 2);
  assert.deepEqual([...b.net.sent[0]!.frame], [...tcpFrame(100).subarray(0, 100)]);
});

test("hostile rings: length 0, head and tail outside, no end, addresses nowhere", () => {
  for (const [name, length, head, tail] of [
    ["no entries", 0, 0, 5],
    ["head outside", 128, 0xffff, 3],
    ["tail outside", 128, 0, 0xffff],
    ["both", 128, 0xfff0, 0xffff],
  ] as const) {
    const { net, write, card } = setup();
    write(Reg.tdlen, length);
    write(Reg.rdlen, length);
    write(Reg.tdh, head);
    write(Reg.rdh, head);
    write(Reg.rctl, Rctl.enable | Rctl.unicastPromisc);
    write(Reg.rdt, tail);
    write(Reg.tctl, Tctl.enable);
    write(Reg.tdt, tail);
    assert.equal(net.canReceive(), false, name);
    assert.equal(net.onReceive(new Uint8Array(100)), length !== 0 ? false : true, name);
    assert.equal(net.sent.length, 0, name);
    assert.ok(card.dropped >= 1, name);
  }
  // A megabyte ring of pieces that never end: bounded work a doorbell, and it goes on by itself.
  const { m, write, read, net, card } = setup();
  write(Reg.tdlen, 0xfff80);
  write(Reg.tctl, Tctl.enable);
  for (let i = 0; i < 0x100000 - 128; i += 16) m.memory.write(TX + i + 8, 4, 0xffff);
  write(Reg.tdt, 0xfff0);
  const first = read(Reg.tdh);
  assert.ok(first > 0 && first <= 512, `${first}`);
  m.advance(1000);
  assert.ok(read(Reg.tdh) > first);
  assert.equal(net.sent.length, 0);
  assert.equal(card.dropped, 0);
  // Contexts that lie.
  for (const [name, context, mss] of [
    ["MSS 0", 34 | (50 << 8), 0],
    ["start past the packet", 0xff | (0xff << 8), 1460],
    ["checksum before its start", 60 | (2 << 8), 1460],
  ] as const) {
    const t = setup();
    t.write(Reg.tctl, Tctl.enable);
    t.m.memory.writeBytes(TX, new Uint8Array(32));
    t.m.memory.write(TX + 4, 4, context);
    t.m.memory.write(TX + 8, 4, 5000 | CMD.dext | CMD.tse | 0x03000000);
    t.m.memory.write(TX + 12, 4, ((54 << 8) | (mss << 16)) >>> 0);
    t.m.memory.write(TX + 16, 4, BUFFERS);
    t.m.memory.write(TX + 24, 4, 200 | DATA | CMD.dext | CMD.tse | CMD.eop | CMD.rs);
    t.m.memory.write(TX + 28, 4, 0x300);
    t.write(Reg.tdt, 2);
    assert.ok(t.net.sent.length <= 1, name);
    assert.equal(t.read(Reg.tdh), 2, name);
  }
});

test("accesses of every size at every place", () => {
  const { m, card } = setup();
  for (let at = 0; at < 0x20000; at += 1023)
    for (const size of [1, 2, 4] as const) {
      m.memory.read(BAR + at, size);
      m.memory.write(BAR + at, size, 0xffffffff % 2 ** (8 * size));
      m.io.write(0xc000, 4, at);
      m.io.read(0xc004, size);
    }
  card.reset();
});
