/** Terminal, accesses by real address, DMA windows, PCI host bridge. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { hcall, partition } from "../../../testkit/hcall.js";
import type { Chardev } from "../../host/chardev.js";
import { AddressSpace } from "../../memory/address-space.js";
import { TimerQueue } from "../core/clock.js";
import type { DeviceContext } from "../core/device.js";
import { IrqLine } from "../core/irq.js";
import { VirtioPci } from "../virtio/pci.js";
import { VirtioRng } from "../virtio/rng.js";
import { Hcall, HcallTable, HStatus } from "./hcall.js";
import { addLogicalHcalls } from "./logical-io.js";
import { MSI_WINDOW, PHB_BUID, PHB_IO, PHB_MEM32, PHB_MEM64, SpaprPciHost } from "./pci-host.js";
import { Rtas } from "./rtas.js";
import { addTceHcalls, PciMemory, TceTable } from "./tce.js";
import { addVtyHcalls, SpaprVty } from "./vty.js";

const H = HStatus;

class Wire implements Chardev {
  readonly id = "c";
  out = "";
  attached = false;
  write(data: Uint8Array): void {
    this.out += Buffer.from(data).toString("latin1");
  }
  attach(frontend: unknown): void {
    this.attached = frontend !== undefined;
  }
  resume(): void {}
  close(): void {}
}

test("terminal: output and input, eight bytes a register, big-endian", () => {
  const table = new HcallTable(partition().trace);
  const wire = new Wire();
  let interrupts = 0;
  const tty = new SpaprVty(0x71000000, wire, () => interrupts++);
  addVtyHcalls(table, [tty]);
  const word = (s: string) => Buffer.from(s.padEnd(8, "\0"), "latin1").readBigUInt64BE();
  const put = (...args: (bigint | number)[]) => hcall(table, Hcall.H_PUT_TERM_CHAR, args).status;
  assert.equal(put(0x71000000, 10, word("0123456789".slice(0, 8)), word("89")), H.H_SUCCESS);
  assert.equal(put(0, 1, word("!"), 0), H.H_SUCCESS);
  assert.equal(wire.out, "0123456789!");
  assert.equal(put(0x71000000, 17, 0, 0), H.H_PARAMETER);
  assert.equal(put(0x71000005, 1, 0, 0), H.H_PARAMETER);
  assert.equal(put((1n << 64n) - 1n, 1, 0, 0), H.H_PARAMETER);
  tty.receive(Buffer.from("a line of input that is long"));
  assert.equal(interrupts, 1);
  const get = () => hcall(table, Hcall.H_GET_TERM_CHAR, [0x71000000]).r.slice(0, 3);
  assert.deepEqual(get(), [16n, word("a line o"), word("f input ")]);
  assert.deepEqual(get(), [12n, word("that is "), word("long")]);
  assert.deepEqual(get(), [0n, 0n, 0n]);
  // A guest that never reads takes no more than there is room for.
  for (let i = 0; i < 100; i++) tty.receive(new Uint8Array(100));
  assert.equal(tty.canReceive(), 0);
});

test("accesses by real address: sizes, byte order, devices", () => {
  const { memory, trace } = partition();
  const table = new HcallTable(trace);
  addLogicalHcalls(table, memory);
  memory.writeBytes(0x100, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
  const seen: number[] = [];
  memory.mapIo(0x200000000000, 16, {
    name: "dev",
    read: (offset, size) => 0x10 * size + offset,
    write: (offset, size, value) => seen.push(offset, size, value),
  });
  const load = (size: number, at: number | bigint) => hcall(table, Hcall.H_LOGICAL_CI_LOAD, [size, at]);
  for (const [size, value] of [
    [1, 1n],
    [2, 0x0102n],
    [4, 0x01020304n],
    [8, 0x0102030405060708n],
  ] as const)
    assert.equal(load(size, 0x100).r[0], value, `load of ${size}`);
  assert.equal(load(3, 0x100).status, H.H_PARAMETER);
  assert.equal(load(4, 0x200000000004).r[0], 0x44000000n);
  assert.equal(load(4, (1n << 64n) - 4n).r[0], 0xffffffffn);
  hcall(table, Hcall.H_LOGICAL_CI_STORE, [4, 0x200000000008, 0x11223344]);
  assert.deepEqual(seen, [8, 4, 0x44332211]);
  hcall(table, Hcall.H_LOGICAL_CI_STORE, [8, 0x200, 0x1122334455667788n]);
  assert.equal(load(8, 0x200).r[0], 0x1122334455667788n);
});

test("H_LOGICAL_MEMOP: copies both ways, inverts, refuses what is too much", () => {
  const { memory, trace } = partition();
  const table = new HcallTable(trace);
  addLogicalHcalls(table, memory);
  const big = Uint8Array.from({ length: 200_000 }, (_, i) => i * 7);
  const op = (...args: (bigint | number)[]) => hcall(table, Hcall.KVMPPC_H_LOGICAL_MEMOP, args).status;
  const check = (at: number, what: Uint8Array) => {
    const out = new Uint8Array(what.length);
    memory.readBytes(at, out);
    assert.deepEqual(Buffer.compare(out, what), 0);
  };
  memory.writeBytes(0x1000, big);
  assert.equal(op(0x1100, 0x1000, 0, big.length, 0), H.H_SUCCESS);
  check(0x1100, big);
  assert.equal(op(0x1000, 0x1100, 3, big.length / 8, 0), H.H_SUCCESS);
  check(0x1000, big);
  assert.equal(op(0x1000, 0x1000, 0, 16, 1), H.H_SUCCESS);
  check(
    0x1000,
    big.slice(0, 16).map((b) => ~b),
  );
  for (const args of [
    [0, 0, 4, 1, 0],
    [0, 0, 0, 1, 2],
    [1, 0, 1, 1, 0],
    [0, 0, 3, 1n << 40n, 0],
    [0, 0, 0, (1n << 64n) - 1n, 0],
  ])
    assert.equal(op(...args), H.H_PARAMETER, `${args}`);
});

function dma() {
  const p = partition();
  const table = new HcallTable(p.trace);
  const window = new TceTable(0x80000000, 0x40000000);
  addTceHcalls(table, [window], p.memory);
  return { ...p, table, window, pci: new PciMemory("pci", 2 ** 47, p.ram, p.memory, window) };
}

test("DMA windows: entries by hypercall", () => {
  const { table, window, memory } = dma();
  const L = 0x80000000;
  const list = new Uint8Array(24);
  new DataView(list.buffer).setBigUint64(8, 0x5003n);
  memory.writeBytes(0x3000, list);
  const rows: [name: string, code: number, args: (bigint | number)[], status: number][] = [
    ["one", Hcall.H_PUT_TCE, [L, 0x2000, 0x9003], H.H_SUCCESS],
    ["another bus", Hcall.H_PUT_TCE, [0x80000001, 0x2000, 0x9003], H.H_PARAMETER],
    ["not a page", Hcall.H_PUT_TCE, [L, 0x2001, 0x9003], H.H_PARAMETER],
    ["beyond the window", Hcall.H_PUT_TCE, [L, 0x40000000, 0x9003], H.H_PARAMETER],
    ["far beyond", Hcall.H_PUT_TCE, [L, 1n << 63n, 0x9003], H.H_PARAMETER],
    ["many", Hcall.H_STUFF_TCE, [L, 0x10000, 0x7001, 16], H.H_SUCCESS],
    ["too many", Hcall.H_STUFF_TCE, [L, 0x10000, 0x7001, 1n << 63n], H.H_PARAMETER],
    ["a list", Hcall.H_PUT_TCE_INDIRECT, [L, 0x20000, 0x3000, 3], H.H_SUCCESS],
    ["a long list", Hcall.H_PUT_TCE_INDIRECT, [L, 0x20000, 0x3000, 513], H.H_PARAMETER],
    ["a list outside memory", Hcall.H_PUT_TCE_INDIRECT, [L, 0x20000, 1n << 40n, 3], H.H_PARAMETER],
  ];
  for (const [name, code, args, status] of rows) assert.equal(hcall(table, code, args).status, status, name);
  assert.equal(hcall(table, Hcall.H_GET_TCE, [L, 0x2000]).r[0], 0x9003n);
  assert.deepEqual(
    [0x2004, 0x10000, 0x1f000, 0x20fff, 0x21004].map((a) => window.translate(a, true)),
    [0x9004, -1, -1, -1, 0x5004],
  );
  assert.equal(window.translate(0x1f123, false), 0x7123);
});

test("DMA windows: a device reaches memory only through them", () => {
  const { window, pci, memory } = dma();
  window.put(1, 0, 0x8003);
  window.put(2, 0, 0x9003);
  window.put(3, 0, 0x4001);
  const data = Uint8Array.from({ length: 16 }, (_, i) => i + 1);
  assert.equal(pci.writeBytes(0x1ff8, data), true);
  const back = new Uint8Array(16);
  memory.readBytes(0x8ff8, back);
  assert.deepEqual(back, data);
  assert.equal(pci.hostOffset(0x1ff8, 16), memory.hostOffset(0x8ff8, 16));
  // Read-only, unmapped, and beyond.
  for (const at of [0x3000, 0x4000, 0x2ff8, 2 ** 40]) assert.equal(pci.writeBytes(at, data), false, `${at}`);
  assert.equal(pci.hostOffset(0x2ff8, 16), -1);
  assert.equal(pci.readBytes(0x3ff8, back), false);
});

function bridge() {
  const { memory, ram, trace } = partition();
  const io = new AddressSpace("I/O", 0x10000, ram);
  const clock = { nowNs: () => 0 };
  const levels: string[] = [];
  const host = new SpaprPciHost({
    ram,
    memory,
    io,
    lsis: [0, 1, 2, 3].map((n) => new IrqLine((level) => levels.push(`${n}${level ? "+" : "-"}`))),
    msiFirst: 0x1300,
    msiCount: 8,
  });
  const ctx: DeviceContext = { clock, timers: new TimerQueue(clock), memory: host.memory, io, ram, trace, wallMs: () => 0 };
  const sent: [number, number][] = [];
  const device = (slot: number, vectors: number) => {
    const rng = new VirtioRng({ ...ctx, memory }, { fill: () => {}, maxBytes: 1, periodMs: 1000 });
    const d = new VirtioPci(ctx, "virtio-rng-pci", rng, { vectors, sendMsi: (a, v) => sent.push([a, v]) });
    host.bus.attach(d, { devfn: slot << 3 });
    return d;
  };
  const rtas = new Rtas(memory, trace);
  host.addServices(rtas);
  const table = new HcallTable(trace);
  table.on(Hcall.KVMPPC_H_RTAS, (f) => rtas.hcall(f));
  const call = (name: string, args: number[], returns: number): number[] => {
    const bytes = new Uint8Array(4 * (3 + args.length + returns));
    const view = new DataView(bytes.buffer);
    for (const [i, w] of [rtas.token(name), args.length, returns, ...args].entries()) view.setUint32(4 * i, w >>> 0);
    memory.writeBytes(0x1000, bytes);
    hcall(table, Hcall.KVMPPC_H_RTAS, [0x1000]);
    memory.readBytes(0x1000, bytes);
    return Array.from({ length: returns }, (_, i) => view.getInt32(4 * (3 + args.length + i)));
  };
  return { host, memory, io, call, device, levels, sent };
}

const B = [PHB_BUID.hi, PHB_BUID.lo] as const;

test("PCI host bridge: configuration by RTAS", () => {
  const { call, device } = bridge();
  device(2, 2);
  const at = (register: number) => (2 << 11) | register;
  const rows: [name: string, service: string, args: number[], returns: number, expected: number[]][] = [
    ["vendor and device", "ibm,read-pci-config", [at(0), ...B, 4], 2, [0, 0x10051af4]],
    ["two bytes", "ibm,read-pci-config", [at(2), ...B, 2], 2, [0, 0x1005]],
    ["the call without the bridge's name", "read-pci-config", [at(0), 2], 2, [0, 0x1af4]],
    ["an empty slot", "ibm,read-pci-config", [3 << 11, ...B, 4], 2, [-3, -1]],
    ["another bus", "ibm,read-pci-config", [(1 << 16) | at(0), ...B, 4], 2, [-3, -1]],
    ["another bridge", "ibm,read-pci-config", [at(0), 0, 1, 4], 2, [-3, -1]],
    ["not aligned", "ibm,read-pci-config", [at(1), ...B, 2], 2, [-3, -1]],
    ["no such size", "ibm,read-pci-config", [at(0), ...B, 3], 2, [-3, -1]],
    ["extended space", "ibm,read-pci-config", [0x10000000 | at(0), ...B, 4], 2, [-3, -1]],
    ["a write", "ibm,write-pci-config", [at(0x3c), ...B, 1, 0x55], 1, [0]],
    ["what it wrote", "ibm,read-pci-config", [at(0x3c), ...B, 1], 2, [0, 0x55]],
  ];
  for (const [name, service, args, returns, expected] of rows) assert.deepEqual(call(service, args, returns), expected, name);
});

test("PCI host bridge: base address registers appear in the windows", () => {
  const { memory, device } = bridge();
  const d = device(0, 2);
  d.configWrite(0x10, 4, 0x1000);
  d.configWrite(0x20, 4, 0);
  d.configWrite(0x24, 4, PHB_MEM64.bus / 2 ** 32);
  d.configWrite(0x14, 4, PHB_MEM32.bus);
  d.configWrite(4, 2, 3);
  // Legacy registers: queue size; common configuration: number of queues; MSI-X: a masked entry.
  assert.equal(memory.read(PHB_IO.system + 0x1000 + 0x0c, 2), 8);
  assert.equal(memory.read(PHB_MEM32.system + 12, 4), 1);
  // At bus address 0 of the 64-bit window nothing is assigned.
  d.configWrite(0x20, 4, 0x4000);
  assert.equal(memory.read(PHB_MEM64.system + 0x4000 + 0x12, 2), 1);
});

test("PCI host bridge: INTA# of a slot is wired by its number", () => {
  const { device, levels } = bridge();
  for (const slot of [0, 1, 6]) {
    const d = device(slot, 0);
    d.irq.set(true);
    d.irq.set(false);
  }
  assert.deepEqual(levels, ["0+", "0-", "1+", "1-", "2+", "2-"]);
});

test("PCI host bridge: messages", () => {
  const { call, device, sent, host } = bridge();
  const d = device(1, 3);
  device(2, 6);
  const change = (slot: number, fn: number, count: number) => call("ibm,change-msi", [slot << 11, ...B, fn, count, 1], 4);
  const query = (slot: number, n: number) => call("ibm,query-interrupt-source-number", [slot << 11, ...B, n], 3);
  assert.deepEqual(change(1, 4, 2), [0, 2, 2, 2]);
  assert.deepEqual(query(1, 1), [0, 0x1301, 1]);
  assert.deepEqual(query(1, 2), [-3, 0, 0]);
  d.msix!.setControl(0x80);
  d.msix!.write(16 + 12, 4, 0);
  d.msix!.notify(1);
  assert.deepEqual(sent, [[MSI_WINDOW, 0x1301]]);
  // Six do not fit beside them; after a reset of the first they do.
  assert.deepEqual(change(2, 4, 6), [0, 6, 2, 2]);
  assert.deepEqual(query(2, 0), [0, 0x1302, 1]);
  assert.deepEqual(change(1, 4, 3).slice(0, 2), [-1, 0]);
  assert.deepEqual(change(2, 1, 0).slice(0, 2), [0, 0]);
  assert.deepEqual(change(1, 4, 9).slice(0, 2), [0, 3]);
  // Plain messages are not there, nor the function in slot 5.
  assert.equal(change(1, 3, 1)[0], -3);
  assert.equal(change(5, 4, 1)[0], -3);
  host.reset();
  assert.deepEqual(query(1, 0), [-3, 0, 0]);
});
