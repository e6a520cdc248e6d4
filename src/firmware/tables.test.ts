import assert from "node:assert/strict";
import { test } from "node:test";
import { VmError } from "../base/errors.js";
import { addBootFiles, type BootDevice, BootPath, bootOrderFile } from "./boot-order.js";
import { checksumByte, encodeText } from "./bytes.js";
import { type CmosConfig, cmosContents, FLOPPY_TYPES } from "./cmos.js";
import { directE820, E820Type, encodeE820, ramE820, ramEnd } from "./e820.js";
import { FwCfg } from "./fw-cfg.js";
import { addMachineItems } from "./machine-items.js";
import { parseUuid, pcSmbiosDefaults, type SmbiosConfig, smbiosAnchor, smbiosTables } from "./smbios.js";
import { testMachine } from "./test-machine.js";

const MIB = 2 ** 20;
const GIB = 2 ** 30;

test("memory map", () => {
  assert.deepEqual(ramE820(3 * GIB, GIB), [
    { base: 0, length: 3 * GIB, type: 1 },
    { base: 4 * GIB, length: GIB, type: 1 },
  ]);
  const direct = directE820(128 * MIB, 0);
  assert.deepEqual(
    direct.map((e) => [e.base, e.base + e.length, e.type]),
    [
      [0, 0x9fc00, 1],
      [0x9fc00, 0xa0000, 2],
      [0xe0000, 0x100000, 2],
      [0x100000, 128 * MIB, 1],
    ],
  );
  for (const [address, want] of [
    [0, 0x9fc00],
    [0x9fc00, 0],
    [0xb8000, 0],
    [0x100000, 128 * MIB],
    [128 * MIB, 0],
  ] as const)
    assert.equal(ramEnd(direct, address), want);
  assert.deepEqual(
    [...encodeE820([{ base: 4 * GIB, length: 16, type: E820Type.ram }])],
    [0, 0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
  );
});

test("CMOS", () => {
  const base: CmosConfig = {
    ram: { belowBytes: 128 * MIB, aboveBytes: 0 },
    cpus: 1,
    floppies: [],
    disks: [],
    bootLetters: "cad",
    floppyBootCheck: true,
  };
  const disk = { cylinders: 1024, heads: 16, sectors: 63, translation: 1 } as const;
  for (const [name, change, want] of [
    [
      "base memory",
      {},
      [
        [0x15, 0x80],
        [0x16, 2],
      ],
    ],
    [
      "128 MiB",
      {},
      [
        [0x17, 0xff],
        [0x18, 0xff],
        [0x30, 0xff],
        [0x31, 0xff],
        [0x34, 0x00],
        [0x35, 0x07],
      ],
    ],
    [
      "8 MiB",
      { ram: { belowBytes: 8 * MIB, aboveBytes: 0 } },
      [
        [0x17, 0],
        [0x18, 0x1c],
        [0x34, 0],
        [0x35, 0],
      ],
    ],
    [
      "above 4 GiB",
      { ram: { belowBytes: 3 * GIB, aboveBytes: 5 * GIB } },
      [
        [0x5b, 0],
        [0x5c, 0x40],
        [0x5d, 1],
        [0x34, 0x00],
        [0x35, 0xbf],
      ],
    ],
    [
      "boot order cad",
      {},
      [
        [0x3d, 0x12],
        [0x38, 0x30],
      ],
    ],
    [
      "no floppy check, network",
      { bootLetters: "n", floppyBootCheck: false },
      [
        [0x3d, 0x04],
        [0x38, 1],
      ],
    ],
    ["8 CPUs", { cpus: 8 }, [[0x5f, 7]]],
    [
      "no floppy",
      {},
      [
        [0x10, 0],
        [0x14, 0x06],
      ],
    ],
    [
      "two floppies",
      { floppies: [FLOPPY_TYPES["1440"], FLOPPY_TYPES["1200"]] },
      [
        [0x10, 0x42],
        [0x14, 0x47],
      ],
    ],
    [
      "second floppy only",
      { floppies: [undefined, FLOPPY_TYPES["1440"]] },
      [
        [0x10, 0x04],
        [0x14, 0x07],
      ],
    ],
    [
      "disk",
      { disks: [disk] },
      [
        [0x12, 0xf0],
        [0x19, 47],
        [0x1b, 0],
        [0x1c, 4],
        [0x1d, 16],
        [0x20, 0xc8],
        [0x23, 63],
        [0x39, 1],
      ],
    ],
    [
      "fourth disk",
      { disks: [undefined, undefined, undefined, disk] },
      [
        [0x12, 0],
        [0x39, 0x40],
      ],
    ],
  ] as const) {
    const got = new Map(cmosContents({ ...base, ...(change as Partial<CmosConfig>) }));
    for (const [register, value] of want) assert.equal(got.get(register), value, `${name}: 0x${register.toString(16)}`);
  }
});

test("boot order", () => {
  for (const [path, want] of [
    [BootPath.ide(1, 1, 0, 0), "/pci@i0cf8/ide@1,1/drive@0/disk@0"],
    [BootPath.virtioBlk(3), "/pci@i0cf8/scsi@3/disk@0,0"],
    [BootPath.scsi(0x1f, 2, 10, 1), "/pci@i0cf8/scsi@1f,2/channel@0/disk@a,1"],
    [BootPath.floppy(0), "/pci@i0cf8/isa@1/fdc@03f0/floppy@0"],
    [BootPath.network(3), "/pci@i0cf8/ethernet@3/ethernet-phy@0"],
    [BootPath.rom("genroms/x.bin"), "/rom@genroms/x.bin"],
  ] as const)
    assert.equal(path, want);
  const devices: BootDevice[] = [
    { path: "/b", index: 2 },
    { path: "/a", index: 0 },
  ];
  for (const [list, strict, want] of [
    [devices, false, "/a\n/b"],
    [devices, true, "/a\n/b\nHALT"],
    [[], true, "HALT"],
  ] as const)
    assert.deepEqual(bootOrderFile(list, strict), encodeText(want, true));
  assert.equal(bootOrderFile([], false).length, 0);
  const code = (f: () => void) => {
    try {
      f();
    } catch (e) {
      return (e as VmError).code;
    }
    return undefined;
  };
  assert.equal(
    code(() => bootOrderFile([...devices, { path: "/c", index: 2 }], false)),
    "option/invalid",
  );
  const fw = new FwCfg(testMachine());
  assert.equal(
    code(() => addBootFiles(fw, [], { strict: false, menu: true, splashTimeMs: 70000 })),
    "option/invalid",
  );
  assert.equal(
    code(() => addBootFiles(fw, [], { strict: false, menu: true, rebootTimeoutMs: -2 })),
    "option/invalid",
  );
  assert.equal(
    code(() => addBootFiles(fw, devices, { strict: false, menu: true, splashTimeMs: 3000 })),
    undefined,
  );
  assert.deepEqual(fw.fileNames(), ["bootorder", "etc/boot-fail-wait", "etc/boot-menu-wait"]);
});

test("machine items", () => {
  const m = testMachine();
  const fw = new FwCfg(m);
  fw.mapPorts(m.io);
  addMachineItems(fw, {
    ram: { belowBytes: 3 * GIB, aboveBytes: GIB },
    cpus: 2,
    maxCpus: 4,
    apicIdLimit: 4,
    noGraphic: true,
    numa: [
      { cpus: [0, 1], bytes: 3 * GIB },
      { cpus: [2, 3], bytes: GIB },
    ],
    s3: true,
    s4: false,
    s4SleepType: 2,
    hpet: { base: 0xfed00000 },
    serialConsolePort: 0x3f8,
    reservedMemoryEnd: 8 * GIB,
  });
  const read = (key: number, n: number) => {
    m.io.write(0x510, 2, key);
    return Array.from({ length: n }, () => m.io.read(0x511, 1));
  };
  for (const [name, key, want] of [
    ["RAM size", 3, [0, 0, 0, 0, 1, 0, 0, 0]],
    ["no graphic", 4, [1, 0]],
    ["CPUs", 5, [2, 0]],
    ["APIC ids", 0x0f, [4, 0]],
    ["NUMA", 0x0d, [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
    ["IRQ 0", 0x8002, [1, 0, 0, 0]],
    ["HPET", 0x8004, [1, 0x01, 0xa2, 0x86, 0x80, 0, 0, 0xd0, 0xfe]],
    ["system states", fw.fileKey("etc/system-states")!, [0x80, 0, 0, 0x81, 2, 0x80, 0]],
    ["serial console", fw.fileKey("etc/sercon-port")!, [0xf8, 3]],
    ["reserved end", fw.fileKey("etc/reserved-memory-end")!, [0, 0, 0, 0, 2, 0]],
  ] as const)
    assert.deepEqual(read(key, want.length), [...want], name);
});

const SMBIOS: SmbiosConfig = {
  ...pcSmbiosDefaults("my machine"),
  uuid: parseUuid("00112233-4455-6677-8899-aabbccddeeff"),
  processor: { manufacturer: "M", version: "V", sockets: 2, cores: 2, threads: 1, cpuidEax: 0x663, cpuidEdx: 1, speedMhz: 2000 },
  ram: { belowBytes: 3 * GIB, aboveBytes: 17 * GIB },
};

/** Structures as [type, formatted bytes, strings]. */
function parseSmbios(bytes: Uint8Array): [number, Uint8Array, string[]][] {
  const out: [number, Uint8Array, string[]][] = [];
  for (let at = 0; at < bytes.length; ) {
    const fields = bytes.subarray(at, at + bytes[at + 1]!);
    let p = at + fields.length;
    const strings: string[] = [];
    while (bytes[p] !== 0) {
      const end = bytes.indexOf(0, p);
      strings.push(String.fromCharCode(...bytes.subarray(p, end)));
      p = end + 1;
    }
    if (strings.length === 0) p++;
    out.push([fields[0]!, fields, strings]);
    at = p + 1;
  }
  return out;
}

test("SMBIOS structures", () => {
  const tables = smbiosTables(SMBIOS);
  const list = parseSmbios(tables.bytes);
  assert.equal(list.length, tables.count);
  assert.deepEqual(
    list.map(([type]) => type),
    [0, 1, 3, 4, 4, 16, 17, 17, 19, 19, 32, 127],
  );
  // Lengths of SMBIOS 2.8.
  const lengths: Record<number, number> = { 0: 24, 1: 27, 3: 22, 4: 42, 16: 23, 17: 40, 19: 31, 32: 11, 127: 4 };
  for (const [type, fields] of list) assert.equal(fields.length, lengths[type], `type ${type}`);
  const system = list[1]!;
  assert.deepEqual(
    [...system[1].subarray(8, 24)],
    [0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff],
  );
  assert.ok(system[2].includes("my machine"));
  const devices = list.filter(([type]) => type === 17).map(([, f]) => f[12]! + f[13]! * 256);
  assert.deepEqual(devices, [16384, 4096]);
  const handles = new Set(list.map(([, f]) => f[2]! + f[3]! * 256));
  assert.equal(handles.size, list.length, "handles are different");
  const anchor = smbiosAnchor(tables, 0xf1000);
  assert.equal(anchor.length, 31);
  assert.equal(checksumByte(anchor), 0);
  assert.equal(checksumByte(anchor, 16, 15), 0);
  assert.equal(smbiosTables({ ...SMBIOS, board: { product: "B" }, oemStrings: ["one", "two"] }).count, tables.count + 2);
});

test("UUID", () => {
  for (const bad of ["", "0", "00112233445566778899aabbccddeeff", "zz112233-4455-6677-8899-aabbccddeeff"])
    assert.throws(
      () => parseUuid(bad),
      (e) => e instanceof VmError && e.code === "option/invalid",
    );
});
