import assert from "node:assert/strict";
import { test } from "node:test";
import { checksumByte } from "../bytes.js";
import { FwCfg } from "../fw-cfg.js";
import { testMachine } from "../test-machine.js";
import * as aml from "./aml.js";
import { type AcpiBlob, AcpiFile, addAcpiFiles, buildPcAcpi, linkAcpi, placeAcpi, tableLoader } from "./build.js";
import { PC_ACPI_DEFAULTS, type PcAcpiConfig } from "./config.js";
import * as resources from "./resources.js";

const hex = (b: Uint8Array) => [...b].map((v) => v.toString(16).padStart(2, "0")).join(" ");
const text = (b: Uint8Array, at: number, n: number) => String.fromCharCode(...b.subarray(at, at + n));

test("AML terms", () => {
  for (const [term, want] of [
    [aml.integer(0), "00"],
    [aml.integer(1), "01"],
    [aml.integer(0xff), "0a ff"],
    [aml.integer(0x100), "0b 00 01"],
    [aml.integer(0x10000), "0c 00 00 01 00"],
    [aml.integer(2 ** 32), "0e 00 00 00 00 01 00 00 00"],
    [aml.nameString("\\_SB.PCI0"), "5c 2e 5f 53 42 5f 50 43 49 30"],
    [aml.nameString("A.B.C"), "2f 03 41 5f 5f 5f 42 5f 5f 5f 43 5f 5f 5f"],
    [aml.nameString("^X"), "5e 58 5f 5f 5f"],
    [aml.eisaId("PNP0A03"), "0c 41 d0 0a 03"],
    [aml.string("ab"), "0d 61 62 00"],
    [aml.buffer(Uint8Array.of(7)), "11 03 01 07"],
    [aml.pack(aml.integer(0), aml.integer(2)), "12 05 02 00 0a 02"],
    [aml.name("_ADR", aml.integer(0)), "08 5f 41 44 52 00"],
    [aml.scope("\\"), "10 03 5c 00"],
    [aml.method("MTHD", 2, true), "14 06 4d 54 48 44 0a"],
    [aml.ret(aml.arg(0)), "a4 68"],
    [aml.when(aml.lessThan(aml.local(0), aml.integer(1))), "a0 04 95 60 01"],
    [aml.store(aml.integer(1), aml.local(1)), "70 01 61"],
    [aml.processor("C000", 3), "5b 83 0b 43 30 30 30 03 00 00 00 00 00"],
  ] as const)
    assert.equal(hex(term), want);
});

test("package lengths", () => {
  // Around the ends of the one-, two- and three-byte forms.
  for (const payload of [0, 59, 60, 61, 4000, 4088, 4089, 4090, 4091, 70000, 2 ** 20 + 1]) {
    const b = aml.buffer(new Uint8Array(payload));
    const extra = b[1]! >> 6;
    let length = extra === 0 ? b[1]! & 63 : b[1]! & 15;
    for (let i = 0; i < extra; i++) length += b[2 + i]! << (4 + 8 * i);
    assert.equal(length, b.length - 1, `${payload}`);
  }
});

test("resource descriptors", () => {
  for (const [descriptor, want] of [
    [resources.ioPorts(0x3f8, 8), "47 01 f8 03 f8 03 01 08"],
    [resources.irqNoFlags(4), "22 10 00"],
    [resources.irqNoFlags(12), "22 00 10"],
    [resources.dmaChannel(2), "2a 04 00"],
    [resources.levelInterrupt(9), "89 06 00 09 01 09 00 00 00"],
    [resources.memory32Fixed(0xfed00000, 0x400, false), "86 09 00 00 00 00 d0 fe 00 04 00 00"],
    [resources.busRange(0, 255), "88 0d 00 02 0c 00 00 00 00 00 ff 00 00 00 00 01"],
  ] as const)
    assert.equal(hex(descriptor), want);
  const t = resources.resourceTemplate(resources.irqNoFlags(1));
  assert.equal(hex(t), "11 08 0a 05 22 02 00 79 63");
});

/** Finds a table by its signature, from the RSDP through `root`. */
function walk(rsdp: Uint8Array, tables: Uint8Array, base: number): Map<string, number> {
  const u32 = (b: Uint8Array, at: number) => new DataView(b.buffer, b.byteOffset).getUint32(at, true);
  const out = new Map<string, number>();
  assert.equal(text(rsdp, 0, 8), "RSD PTR ");
  assert.equal(checksumByte(rsdp, 0, 20), 0);
  assert.equal(checksumByte(rsdp, 0, 36), 0);
  for (const [rootAt, size] of [
    [u32(rsdp, 16) - base, 4],
    [u32(rsdp, 24) - base, 8],
  ] as const) {
    out.set(text(tables, rootAt, 4), rootAt);
    for (let at = rootAt + 36; at < rootAt + u32(tables, rootAt + 4); at += size) {
      const t = u32(tables, at) - base;
      out.set(text(tables, t, 4), t);
    }
  }
  const facp = out.get("FACP")!;
  out.set("DSDT", u32(tables, facp + 40) - base);
  assert.equal(u32(tables, facp + 140) - base, out.get("DSDT"));
  const facsAt = u32(tables, facp + 36) - base;
  assert.equal(text(tables, facsAt, 4), "FACS");
  assert.equal((facsAt + base) % 64, 0);
  for (const [name, at] of out) assert.equal(checksumByte(tables, at, u32(tables, at + 4)), 0, `checksum of ${name}`);
  return out;
}

const configs: [string, Partial<PcAcpiConfig>, string[]][] = [
  ["default", {}, ["APIC", "DSDT", "FACP", "HPET", "RSDT", "WAET", "XSDT"]],
  ["without HPET", { hpet: false }, ["APIC", "DSDT", "FACP", "RSDT", "WAET", "XSDT"]],
  ["many CPUs", { apicIds: Array.from({ length: 254 }, (_, i) => i) }, ["APIC", "DSDT", "FACP", "HPET", "RSDT", "WAET", "XSDT"]],
];

test("tables hang together, for each way of placing them", () => {
  for (const [name, change, want] of configs) {
    const blob = buildPcAcpi({ ...PC_ACPI_DEFAULTS, ...change });
    const linked = linkAcpi(blob, 0xf0000, 0x7fe0000);
    assert.deepEqual([...walk(linked.rsdp, linked.tables, 0x7fe0000).keys()].sort(), want, name);
    const m = testMachine();
    const placed = placeAcpi(m.memory, blob)!;
    assert.equal(placed.rsdpAddress, 0xe0000);
    assert.ok(placed.end <= 0x100000, name);
    const base = 0xe0040;
    walk(m.bytes(0xe0000, 36), m.bytes(base, placed.end - base), base);
    assert.deepEqual(runLoader(blob, 0xf0010, 0x7fd0000), linkAcpi(blob, 0xf0010, 0x7fd0000), `${name}: loader commands`);
  }
  assert.equal(placeAcpi(testMachine().memory, buildPcAcpi(PC_ACPI_DEFAULTS), 2 ** 31), undefined, "not RAM");
});

/** Carries out the commands as firmware does. */
function runLoader(blob: AcpiBlob, rsdpAddress: number, tablesAddress: number): { rsdp: Uint8Array; tables: Uint8Array } {
  const script = tableLoader(blob);
  assert.equal(script.length % 128, 0);
  const files = new Map([
    [AcpiFile.rsdp as string, { bytes: blob.rsdp.slice(), address: rsdpAddress, allocated: false }],
    [AcpiFile.tables as string, { bytes: blob.tables.slice(), address: tablesAddress, allocated: false }],
  ]);
  for (let at = 0; at < script.length; at += 128) {
    const v = new DataView(script.buffer, at, 128);
    const name = (o: number) => {
      const s = text(script, at + o, 56);
      return files.get(s.slice(0, s.indexOf("\0")))!;
    };
    const target = name(4);
    const td = new DataView(target.bytes.buffer);
    switch (v.getUint32(0, true)) {
      case 1:
        assert.equal(target.address % v.getUint32(60, true), 0);
        target.allocated = true;
        break;
      case 2: {
        const source = name(60);
        const offset = v.getUint32(116, true);
        assert.ok(target.allocated && source.allocated);
        td.setUint32(offset, td.getUint32(offset, true) + source.address, true);
        break;
      }
      case 3: {
        const [offset, start, length] = [60, 64, 68].map((o) => v.getUint32(o, true)) as [number, number, number];
        target.bytes[offset] = (target.bytes[offset]! + checksumByte(target.bytes, start, length)) & 255;
        break;
      }
      default:
        assert.fail("unknown command");
    }
  }
  return { rsdp: files.get(AcpiFile.rsdp)!.bytes, tables: files.get(AcpiFile.tables)!.bytes };
}

test("MADT lists processors, the I/O APIC and the overrides", () => {
  const blob = buildPcAcpi({ ...PC_ACPI_DEFAULTS, apicIds: [0, 2] });
  const at = blob.index.APIC!;
  const b = blob.tables.subarray(at.offset, at.offset + at.length);
  const entries: string[] = [];
  for (let i = 44; i < b.length; i += b[i + 1]!) entries.push(hex(b.subarray(i, i + b[i + 1]!)));
  assert.deepEqual(entries.slice(0, 5), [
    "00 08 00 00 01 00 00 00",
    "00 08 01 02 01 00 00 00",
    "01 0c 00 00 00 00 c0 fe 00 00 00 00",
    "02 0a 00 00 02 00 00 00 00 00",
    "02 0a 00 05 05 00 00 00 0d 00",
  ]);
  assert.equal(entries.at(-1), "04 06 ff 00 00 01");
});

test("files are rebuilt when firmware starts over", () => {
  const m = testMachine();
  const fw = new FwCfg(m);
  fw.mapPorts(m.io);
  let cpus = 1;
  const build = () => buildPcAcpi({ ...PC_ACPI_DEFAULTS, apicIds: Array.from({ length: cpus }, (_, i) => i) });
  addAcpiFiles(fw, build(), build);
  const sizeOf = (n: number) => {
    m.io.write(0x510, 2, 0x19);
    const d = Array.from({ length: 4 + 64 * 3 }, () => m.io.read(0x511, 1));
    return d[4 + 64 * n + 2]! * 256 + d[4 + 64 * n + 3]!;
  };
  const before = sizeOf(1);
  cpus = 4;
  assert.equal(sizeOf(1), before);
  fw.reset();
  assert.ok(sizeOf(1) > before);
});
