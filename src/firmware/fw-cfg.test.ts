import assert from "node:assert/strict";
import { test } from "node:test";
import { FW_CFG_DMA_FILL_MAX, FwCfg, FwCfgKey } from "./fw-cfg.js";
import { MMIO_BASE, RAM_BYTES, testMachine } from "./test-machine.js";

function machine() {
  const m = testMachine();
  const fw = new FwCfg(m);
  fw.mapPorts(m.io);
  const port = (key: number, n: number): number[] => {
    m.io.write(0x510, 2, key);
    return Array.from({ length: n }, () => m.io.read(0x511, 1));
  };
  /** One DMA request at 0x1000; returns the control word afterwards. */
  const dma = (control: number, length: number, address: number, at = 0x1000): number => {
    const request = new Uint8Array(16);
    const v = new DataView(request.buffer);
    v.setUint32(0, control);
    v.setUint32(4, length);
    v.setUint32(8, Math.floor(address / 2 ** 32));
    v.setUint32(12, address % 2 ** 32);
    m.memory.writeBytes(at, request);
    const swap = (n: number) => new DataView(Uint8Array.of(n, n >> 8, n >> 16, n >> 24).buffer).getUint32(0);
    m.io.write(0x514, 4, swap(Math.floor(at / 2 ** 32)));
    m.io.write(0x518, 4, swap(at % 2 ** 32));
    return new DataView(m.bytes(at, 4).buffer).getUint32(0);
  };
  return { ...m, fw, port, dma };
}

const text = (s: string) => [...s].map((c) => c.charCodeAt(0));

test("data port", () => {
  const { fw, port, io } = machine();
  fw.addU16(FwCfgKey.nbCpus, 0x0102);
  for (const [name, key, want] of [
    ["signature", 0, [...text("QEMU"), 0, 0]],
    ["id: traditional and DMA", 1, [3, 0, 0, 0, 0]],
    ["an item", FwCfgKey.nbCpus, [2, 1, 0]],
    ["write channel bit", 0x4000, text("QEMU")],
    ["unknown item", 0x15, [0, 0]],
    ["selector 0xffff", 0xffff, [0, 0]],
    ["past the last file", 0x21, [0]],
  ] as const)
    assert.deepEqual(port(key, want.length), [...want], name);
  io.write(0x511, 1, 7);
  assert.deepEqual(port(0, 4), text("QEMU"), "a write to the data port changes nothing");
  assert.equal(io.read(0x514, 4), 0x554d4551, "DMA register reads QEMU");
  assert.equal(io.read(0x518, 4), 0x47464320);
});

test("directory is sorted and big-endian", () => {
  const { fw, port } = machine();
  fw.addFile("etc/b", Uint8Array.of(1, 2, 3));
  fw.addFile("etc/a", Uint8Array.of(9));
  const dir = port(FwCfgKey.fileDir, 4 + 2 * 64);
  assert.deepEqual(dir.slice(0, 12), [0, 0, 0, 2, 0, 0, 0, 1, 0, 0x20, 0, 0]);
  assert.deepEqual(dir.slice(12, 18), [...text("etc/a"), 0]);
  assert.deepEqual(dir.slice(68, 76), [0, 0, 0, 3, 0, 0x21, 0, 0]);
  assert.deepEqual(port(0x21, 4), [1, 2, 3, 0]);
  assert.equal(fw.fileKey("etc/b"), 0x21);
});

test("callbacks", () => {
  const { fw, port } = machine();
  let selected = 0;
  let directories = 0;
  fw.addItem(0x801f, new Uint8Array(0), {
    onSelect: (replace) => {
      selected++;
      replace(Uint8Array.of(selected));
    },
  });
  fw.addFile("f", Uint8Array.of(1));
  fw.onDirectory(() => {
    directories++;
    fw.addFile("f", new Uint8Array(5));
  });
  assert.deepEqual(port(0x801f, 1), [1]);
  assert.deepEqual(port(0x801f, 1), [2]);
  assert.deepEqual(port(FwCfgKey.fileDir, 8), [0, 0, 0, 1, 0, 0, 0, 5]);
  port(FwCfgKey.fileDir, 1);
  assert.equal(directories, 1, "once a reset");
  fw.reset();
  port(FwCfgKey.fileDir, 1);
  assert.equal(directories, 2);
});

test("DMA", () => {
  const { fw, dma, bytes, memory, errors } = machine();
  fw.addItem(
    0x12,
    Uint8Array.from({ length: 100 }, (_, i) => i),
  );
  let wrote: number[] = [];
  const file = new Uint8Array(8);
  fw.addFile("w", file, { writable: true, onWrite: (_b, offset, length) => (wrote = [offset, length]) });
  memory.writeBytes(0x2000, new Uint8Array(200).fill(0xee));
  assert.equal(dma(0x0012_0000 | 8 | 2, 4, 0x2000), 0, "select and read");
  assert.deepEqual([...bytes(0x2000, 5)], [0, 1, 2, 3, 0xee]);
  assert.equal(dma(4, 10, 0), 0, "skip");
  assert.equal(dma(2, 100, 0x2000), 0, "read over the end");
  assert.deepEqual([...bytes(0x2000, 2)], [14, 15]);
  assert.deepEqual([...bytes(0x2000 + 85, 3)], [99, 0, 0]);
  memory.writeBytes(0x3000, Uint8Array.of(5, 6, 7));
  assert.equal(dma(0x0020_0000 | 8 | 4, 2, 0), 0);
  assert.equal(dma(16, 3, 0x3000), 0, "write");
  assert.deepEqual([...file], [0, 0, 5, 6, 7, 0, 0, 0]);
  assert.deepEqual(wrote, [2, 3]);
  assert.deepEqual(errors, []);
});

test("hostile DMA ends with the error bit, and nothing else happens", () => {
  const { fw, dma, memory, mmioWrites, bytes } = machine();
  const readOnly = Uint8Array.of(1, 2, 3, 4);
  fw.addItem(0x12, readOnly);
  fw.addFile("w", new Uint8Array(8), { writable: true });
  for (const [name, control, length, address] of [
    ["length 2^32-1", 0x0012_000a, 0xffffffff, 0x2000],
    ["length 2^32-1 of nothing", 0xffff_000a, 0xffffffff, 0x2000],
    ["over the fill limit", 0x0012_000a, FW_CFG_DMA_FILL_MAX + 5, 0x2000],
    ["into a device", 0x0012_000a, 4, MMIO_BASE],
    ["across the end of RAM", 0x0012_000a, 8, RAM_BYTES - 4],
    ["into nothing", 0x0012_000a, 4, 2 ** 41],
    ["at 2^64", 0x0012_000a, 4, 0xffffffff_fffff000],
    ["write to a read-only item", 0x0012_0018, 4, 0x2000],
    ["write to selector 0xffff", 0xffff_0018, 4, 0x2000],
    ["write longer than the file", 0x0020_0018, 9, 0x2000],
    ["write of 2^32-1", 0x0020_0018, 0xffffffff, 0x2000],
    ["write from a device", 0x0020_0018, 4, MMIO_BASE],
  ] as const)
    assert.equal(dma(control, length, address), 1, name);
  assert.deepEqual([...readOnly], [1, 2, 3, 4]);
  assert.deepEqual(mmioWrites, []);
  // A request that is not in memory: nothing to write the error to.
  memory.writeBytes(RAM_BYTES - 8, new Uint8Array(8).fill(0x55));
  dma(0x0012_000a, 4, 0x2000, RAM_BYTES - 8);
  assert.deepEqual(mmioWrites.length > 0, true, "only the test's own bytes of the request");
  assert.deepEqual([...bytes(RAM_BYTES - 8, 1)], [0]);
});

test("state survives a snapshot", () => {
  const a = machine();
  const b = machine();
  for (const m of [a, b]) m.fw.addFile("w", new Uint8Array(4), { writable: true });
  a.memory.writeBytes(0x2000, Uint8Array.of(1, 2, 3, 4));
  a.dma(0x0020_0018, 4, 0x2000);
  a.port(0, 2);
  b.fw.restore(a.fw.save());
  assert.equal(b.io.read(0x511, 1), "M".charCodeAt(0));
  assert.deepEqual(b.port(0x20, 4), [1, 2, 3, 4]);
});
