import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { VmError } from "../../base/errors.js";
import { BOOT_ROM_KEY, bootRom, encodeBootState, installBootRom } from "../boot-rom.js";
import { bootGdt, identityPageTables } from "../boot-state.js";
import { ByteWriter, checksumByte } from "../bytes.js";
import { FwCfg } from "../fw-cfg.js";
import { type ElfShape, image, makeBzImage, makeElf, RAM_BYTES, testMachine } from "../test-machine.js";
import { type BzImageStart, parseBzImage, unpackKernel } from "./bzimage.js";
import { isElf } from "./elf.js";
import { planKernel } from "./load-kernel.js";
import { unpackLz4Legacy } from "./lz4.js";
import { parseModuleList } from "./multiboot.js";

const u32 = (b: Uint8Array, at: number) => new DataView(b.buffer, b.byteOffset).getUint32(at, true);
const KERNEL = Uint8Array.from({ length: 4096 }, (_, i) => (i * 7 + 1) & 255);

interface Setup {
  start?: BzImageStart;
  commandLine?: string;
  initrd?: Uint8Array;
}

function plan(bytes: Uint8Array, s: Setup = {}) {
  return planKernel(image(bytes), {
    commandLine: s.commandLine ?? "console=ttyS0",
    modules: s.initrd ? [{ image: image(s.initrd, "-initrd", "rd"), arguments: "a b" }] : [],
    start: s.start ?? "protected32",
  });
}

/** A multiboot header in front of 64 bytes of code; `fields` are the five addresses. */
function multiboot(flags: number, fields: readonly number[] = [], checksum?: number): Uint8Array {
  const w = new ByteWriter(256).u32(0, 0x1badb002, flags, checksum ?? -(0x1badb002 + flags) >>> 0, ...fields);
  w.zero(64 - w.length);
  return w.bytes(new Uint8Array(64).fill(0x90)).finish();
}

test("hostile and wrong images: one line that names option and file, nothing written", () => {
  const elf = (shape: ElfShape) => makeElf({ pvhEntry: 0x200000, ...shape });
  const big = new Uint8Array(RAM_BYTES);
  const rows: [name: string, bytes: Uint8Array, code: string, words: RegExp, setup?: Setup][] = [
    ["empty", new Uint8Array(0), "image/truncated", /empty/],
    ["text", new TextEncoderLike("hello world").bytes, "image/bad-format", /not a kernel/],
    ["gzip", Uint8Array.of(0x1f, 0x8b, 8, 0), "image/bad-format", /gzip/],
    ["ppc64 ELF", elf({ machine: 21, bigEndian: true }), "image/wrong-architecture", /PowerPC \(64-bit\).*x86/],
    ["ARM ELF", elf({ bits: 32, machine: 40 }), "image/wrong-architecture", /ARM \(32-bit\)/],
    ["RISC-V ELF", elf({ machine: 243 }), "image/wrong-architecture", /RISC-V/],
    ["unknown machine", elf({ machine: 999 }), "image/wrong-architecture", /machine 999/],
    [
      "arm64 Image",
      Uint8Array.from({ length: 64 }, (_, i) => [0x41, 0x52, 0x4d, 0x64][i - 0x38] ?? 0),
      "image/wrong-architecture",
      /ARM \(64/,
    ],
    ["ELF without PVH note", makeElf(), "image/bad-format", /PVH/],
    ["ELF header cut", elf({}).subarray(0, 40), "image/truncated", /needs/],
    ["ELF program headers cut", elf({}).subarray(0, 100), "image/truncated", /needs/],
    ["ELF segment cut", elf({ fileSize: 0x100000, memorySize: 0x100000 }), "image/truncated", /needs/],
    ["ELF segment offset 2^63", elf({ fileOffset: 2 ** 63 }), "image/truncated", /needs/],
    ["ELF memsz 4 GiB", elf({ memorySize: 2 ** 32 }), "image/too-large", /4 GiB.*do not fit/],
    ["ELF memsz 2^63", elf({ memorySize: 2 ** 63 }), "image/too-large", /do not fit/],
    ["ELF at 2^63", elf({ address: 2 ** 63 }), "image/too-large", /do not fit/],
    ["ELF memsz below filesz", elf({ memorySize: 1 }), "image/bad-format", /smaller in memory/],
    ["ELF over video memory", elf({ address: 0x9f000, memorySize: 0x2000 }), "image/too-large", /do not fit/],
    ["ELF with 65535 headers", elf({ segments: 65535 }), "image/bad-format", /65535/],
    ["ELF with no headers", elf({ segments: 0 }), "image/bad-format", /without program headers/],
    ["ELF with tiny headers", elf({ headerSize: 1 }), "image/bad-format", /headers of 1/],
    ["ELF note with a huge name", elf({ noteNameSize: 0xffffffff }), "image/bad-format", /PVH/],
    ["ELF over the zero page", elf({ address: 0x7000 }), "image/too-large", /overlap the kernel/],
    ["bzImage cut in the header", makeBzImage(KERNEL).subarray(0, 0x210), "image/truncated", /needs/],
    ["bzImage cut in the setup code", makeBzImage(KERNEL, [[0x1f1, 1, 64]]), "image/truncated", /needs/],
    ["bzImage cut in the kernel", makeBzImage(KERNEL, [[0x1f4, 4, 0x10000]]), "image/truncated", /holds 4096/],
    ["bzImage without a kernel", makeBzImage(new Uint8Array(0)), "image/truncated", /no kernel/],
    ["bzImage of an old protocol", makeBzImage(KERNEL, [[0x206, 2, 0x201]]), "image/bad-format", /2\.01/],
    ["bzImage without the boot flag", makeBzImage(KERNEL, [[0x1fe, 2, 0]]), "image/bad-format", /not a Linux/],
    ["bzImage larger than RAM", makeBzImage(big), "image/too-large", /do not fit/],
    ["bzImage with init_size 4 GiB", makeBzImage(KERNEL, [[0x260, 4, 0xffffffff]]), "image/too-large", /4 GiB/],
    ["bzImage with pref_address 2^63", makeBzImage(KERNEL, [[0x25c, 4, 0x80000000]]), "image/too-large", /do not fit/],
    ["command line too long", makeBzImage(KERNEL), "option/invalid", /-append.*2047/, { commandLine: "x".repeat(3000) }],
    ["initrd larger than RAM", makeBzImage(KERNEL), "image/too-large", /-initrd rd/, { initrd: big }],
    [
      "initrd with no room below the limit",
      makeBzImage(KERNEL, [[0x22c, 4, 0x100fff]]),
      "image/too-large",
      /-initrd rd/,
      { initrd: KERNEL },
    ],
    ["PVH initrd larger than RAM", elf({}), "image/too-large", /-initrd rd/, { initrd: big }],
    ["multiboot with unknown required flags", multiboot(0x8), "image/bad-format", /flags 0x8/],
    ["multiboot neither ELF nor addresses", multiboot(0), "image/bad-format", /flag 16/],
    ["multiboot header below load", multiboot(0x10000, [0x100000, 0x200000, 0, 0, 0]), "image/bad-format", /header_addr/],
    ["multiboot load before the file", multiboot(0x10000, [0x100004, 0xff000, 0, 0, 0]), "image/bad-format", /before the file/],
    ["multiboot load_end below load", multiboot(0x10000, [0x100004, 0x100000, 0x1000, 0, 0]), "image/bad-format", /load_end/],
    ["multiboot bss_end below load_end", multiboot(0x10000, [0x100004, 0x100000, 0, 0x100010, 0]), "image/bad-format", /bss_end/],
    ["multiboot load over the file", multiboot(0x10000, [0x100004, 0x100000, 0x200000, 0, 0]), "image/truncated", /needs/],
    ["multiboot bss of 3 GiB", multiboot(0x10000, [0x100004, 0x100000, 0, 0xc0000000, 0]), "image/too-large", /do not fit/],
    [
      "multiboot module larger than RAM",
      multiboot(0x10000, [0x100004, 0x100000, 0, 0, 0]),
      "image/too-large",
      /-initrd rd/,
      { initrd: big },
    ],
  ];
  for (const [name, bytes, code, words, setup] of rows) {
    const m = testMachine();
    let error: unknown;
    try {
      plan(bytes, setup).place({ memory: m.memory, map: m.map });
    } catch (e) {
      error = e;
    }
    assert.ok(error instanceof VmError, `${name}: ${error}`);
    assert.equal(error.code, code, `${name}: ${error.message}`);
    assert.match(error.message, words, name);
    assert.match(error.message, /^-(kernel file|initrd rd|append)\b/, name);
    assert.ok(!error.message.includes("\n"), name);
    assert.ok(
      m.bytes(0, 0x200000).every((b) => b === 0),
      `${name}: memory untouched`,
    );
  }
});

/** Text as bytes, without the host's encoder. */
class TextEncoderLike {
  readonly bytes: Uint8Array;
  constructor(s: string) {
    this.bytes = Uint8Array.from({ length: 256 }, (_, i) => s.charCodeAt(i % s.length));
  }
}

test("bzImage starts", () => {
  const bytes = makeBzImage(KERNEL);
  const rd = new Uint8Array(5000).fill(0xaa);
  for (const [start, mode, entry] of [
    ["protected32", "protected32", 0x100000],
    ["long64", "long64", 0x100200],
    ["unpacked", "long64", 0x100200],
    ["real16", "real16", 0],
  ] as const) {
    const m = testMachine();
    const p = plan(bytes, { start, initrd: rd });
    p.check(m.map);
    const s = p.place({ memory: m.memory, map: m.map, rsdpAddress: 0xe0000, vgaText: true });
    assert.equal(s.cpuMode, mode);
    assert.equal(s.entry, entry);
    assert.deepEqual(m.bytes(0x100000, KERNEL.length), KERNEL, "kernel");
    const rdAt = RAM_BYTES - 8192;
    assert.deepEqual(m.bytes(rdAt, 5000), rd, "initrd at the top");
    assert.equal(String.fromCharCode(...m.bytes(0x20000, 14)), "console=ttyS0\0");
    if (mode === "real16") {
      assert.deepEqual(s.segments, { cs: 0x1020, ds: 0x1000, ss: 0x1000 });
      const setup = m.bytes(0x10000, 1024);
      assert.deepEqual(
        [u32(setup, 0x228), u32(setup, 0x218), u32(setup, 0x21c), setup[0x210], setup[0x211]],
        [0x20000, rdAt, 5000, 0xff, 0x81],
      );
      continue;
    }
    const page = m.bytes(s.registers.esi!, 4096);
    assert.deepEqual([u32(page, 0x228), u32(page, 0x218), u32(page, 0x21c), page[0x210]], [0x20000, rdAt, 5000, 0xff]);
    assert.equal(u32(page, 0x70), 0xe0000, "RSDP");
    assert.equal(u32(page, 0x202), 0x53726448);
    assert.equal(page[0x1e8], m.map.length);
    assert.equal(u32(page, 0x2d0 + 8), 0x9fc00);
    assert.equal(page[0x0f], 1);
    assert.deepEqual(m.bytes(s.gdt!.base, 32), bootGdt(mode));
    if (mode === "long64") assert.deepEqual(m.bytes(s.cr3!, 6 * 4096), identityPageTables(s.cr3!));
  }
  const old = plan(makeBzImage(KERNEL, [[0x236, 2, 0]]), { start: "long64" }).place(testMachine());
  assert.equal(old.cpuMode, "protected32", "no 64-bit entry");
  const z = testMachine();
  const zs = plan(makeBzImage(KERNEL, [[0x211, 1, 0]])).place(z);
  assert.deepEqual([zs.cpuMode, zs.segments!.ds], ["real16", 0x9000], "zImage");
  assert.deepEqual(z.bytes(0x10000, KERNEL.length), KERNEL);
});

/** A bzImage around a packed ELF kernel at 16 MiB; fields as in `makeBzImage`. */
function packedKernel(shape: ElfShape, pack: (elf: Uint8Array) => Uint8Array, fields: Parameters<typeof makeBzImage>[1] = []) {
  const payload = pack(makeElf({ address: 0x1000000, memorySize: 0x2000, ...shape }));
  return makeBzImage(Uint8Array.of(...KERNEL.subarray(0, 64), ...payload), [
    [0x230, 4, 0x200000],
    [0x236, 2, shape.bits === 32 ? 0 : 1],
    [0x248, 4, 64],
    [0x24c, 4, payload.length],
    ...fields,
  ]);
}
const gzip = (elf: Uint8Array) => new Uint8Array(gzipSync(elf));
/** As the kernel's build does for packings without a size of their own. */
const withSize = (data: Uint8Array, size: number) => new ByteWriter(data.length + 4).bytes(data).u32(size).finish();

test("unpacked kernels", () => {
  const w = { bits: 64 } as const;
  const n = { bits: 32 } as const;
  const [packed64, packed32] = [packedKernel(w, gzip), packedKernel(n, gzip)];
  type Row = [
    name: string,
    bytes: Uint8Array,
    start: BzImageStart,
    longMode: boolean,
    mode: string,
    entry: number,
    code32?: number,
  ];
  const rows: Row[] = [
    ["64 bits", packed64, "unpacked", true, "long64", 0x1000000],
    ["64 bits, entry behind the base", packedKernel({ ...w, entry: 0x1000002 }, gzip), "unpacked", true, "long64", 0x1000002],
    ["64 bits, not packed", packedKernel(w, (e) => withSize(e, e.length)), "unpacked", true, "long64", 0x1000000],
    ["64 bits, no such processor", packed64, "unpacked", false, "protected32", 0x100000],
    ["64 bits under a BIOS", packed64, "unpacked16", true, "real16", 0, 0x100000],
    ["64 bits under a BIOS, no such processor", packed64, "unpacked16", false, "real16", 0, 0x100000],
    ["32 bits", packed32, "unpacked", true, "protected32", 0x1000000],
    ["32 bits, so is the processor", packed32, "unpacked", false, "protected32", 0x1000000],
    ["32 bits under a BIOS", packed32, "unpacked16", false, "real16", 0, 0x1000000],
    // What is not as expected starts packed.
    ["elsewhere than preferred", packedKernel({ ...w, address: 0x1200000 }, gzip), "unpacked", true, "long64", 0x100200],
    ["not aligned", packedKernel(w, gzip, [[0x230, 4, 0x2000000]]), "unpacked", true, "long64", 0x100200],
    ["entry outside", packedKernel({ ...w, entry: 0x100100 }, gzip), "unpacked", true, "long64", 0x100200],
    ["a virtual entry", packedKernel({ ...n, entry: 0xc1000000 }, gzip), "unpacked", true, "protected32", 0x100000],
    ["another size behind", packedKernel(w, (e) => withSize(gzip(e), 5)), "unpacked", true, "long64", 0x100200],
    ["too large", packedKernel(w, (e) => withSize(gzip(e), 2 ** 32 - 1)), "unpacked", true, "long64", 0x100200],
    ["damaged", packedKernel(w, (e) => gzip(e).map((b, i) => (i === 40 ? b ^ 1 : b))), "unpacked", true, "long64", 0x100200],
    ["no ELF", packedKernel(w, () => gzip(KERNEL)), "unpacked", true, "long64", 0x100200],
    ["an unknown packing", packedKernel(w, () => KERNEL), "unpacked16", true, "real16", 0, 0x100000],
    ["32 bits in an image with a 64-bit entry", packedKernel(n, gzip, [[0x236, 2, 1]]), "unpacked", true, "long64", 0x100200],
  ];
  for (const [name, bytes, start, longMode, mode, entry, code32] of rows) {
    const m = testMachine();
    const p = planKernel(image(bytes), {
      commandLine: "console=ttyS0",
      modules: [{ image: image(KERNEL, "-initrd", "rd"), arguments: "" }],
      start,
      longMode,
    });
    p.check(m.map);
    const unpacked = /unpacked/.test(p.description);
    // Every reset places it again.
    for (let times = 0; times < 2; times++) {
      m.memory.writeBytes(0x100000, new Uint8Array(256));
      m.memory.writeBytes(0x1000000, new Uint8Array(0x2001).fill(0xcc));
      const s = p.place({ memory: m.memory, map: m.map });
      assert.deepEqual([s.cpuMode, s.entry], [mode, entry], name);
      assert.equal(u32(m.bytes(0x1000000, 4), 0), unpacked ? 0x00fdebf4 : 0xcccccccc, `${name}: code`);
      assert.deepEqual([...m.bytes(0x1001fff, 2)], [unpacked ? 0 : 0xcc, 0xcc], `${name}: bss`);
      assert.deepEqual(m.bytes(RAM_BYTES - 4096, 4096), KERNEL, `${name}: initrd`);
      assert.equal(
        m.bytes(0x100000, 64).some((b, i) => b !== KERNEL[i]),
        unpacked,
        `${name}: packed part`,
      );
      const header = mode === "real16" ? m.bytes(0x10000, 1024) : m.bytes(s.registers.esi!, 4096);
      assert.deepEqual([u32(header, 0x214), u32(header, 0x218)], [code32 ?? 0x100000, RAM_BYTES - 4096], name);
      if (code32 === 0x100000 && unpacked) {
        // mov eax, tables; descriptors and tables where its code says.
        assert.deepEqual([...m.bytes(0x100000, 5)], [0xb8, 0, 0x10, 0x10, 0], name);
        assert.deepEqual(m.bytes(0x100080, 32), bootGdt("long64"), name);
        assert.deepEqual(m.bytes(0x101000, 6 * 4096), identityPageTables(0x101000), name);
      }
    }
  }
});

test("PVH", () => {
  for (const bits of [32, 64] as const) {
    const m = testMachine();
    m.memory.writeBytes(0x200000, new Uint8Array(0x3000).fill(0xcc));
    const bytes = makeElf({ bits, pvhEntry: 0x200004, memorySize: 0x2000 });
    const s = plan(bytes, { initrd: KERNEL }).place({ memory: m.memory, map: m.map, rsdpAddress: 0xe0000 });
    assert.deepEqual([s.cpuMode, s.entry], ["protected32", 0x200004]);
    assert.deepEqual([...m.bytes(0x200000, 4)], [0xf4, 0xeb, 0xfd, 0]);
    assert.deepEqual([...m.bytes(0x201fff, 2)], [0, 0xcc], "bss is zeroed, no more");
    const info = m.bytes(s.registers.ebx!, 512);
    assert.equal(u32(info, 0), 0x336ec578);
    assert.deepEqual([u32(info, 4), u32(info, 12)], [1, 1]);
    const modules = u32(info, 16) - s.registers.ebx!;
    assert.deepEqual([u32(info, modules), u32(info, modules + 8)], [RAM_BYTES - 4096, 4096]);
    assert.equal(u32(info, 32), 0xe0000);
    const map = u32(info, 40) - s.registers.ebx!;
    assert.equal(u32(info, 48), m.map.length);
    assert.equal(u32(info, map + 8), 0x9fc00);
  }
});

test("multiboot", () => {
  const elf32 = makeElf({ bits: 32, entry: 0xc0200000, virtualAddress: 0xc0200000, code: multiboot(3) });
  const rows: [string, Uint8Array, number, number][] = [
    ["addresses", multiboot(0x10003, [0x100004, 0x100000, 0, 0x102000, 0x100040]), 0x100040, 0x103000 - 0x1000],
    ["ELF with a virtual entry", elf32, 0x200000, 0x201000],
  ];
  for (const [name, bytes, entry, moduleAt] of rows) {
    const m = testMachine();
    const s = plan(bytes, { commandLine: "x=1", initrd: KERNEL }).place({ memory: m.memory, map: m.map });
    assert.deepEqual([s.cpuMode, s.entry, s.registers.eax], ["protected32", entry, 0x2badb002], name);
    const at = s.registers.ebx!;
    const info = m.bytes(at, 1024);
    const str = (p: number) => {
      const b = m.bytes(p, 64);
      return String.fromCharCode(...b.subarray(0, b.indexOf(0)));
    };
    assert.deepEqual([u32(info, 0), u32(info, 4), u32(info, 8)], [0x24f, 639, RAM_BYTES / 1024 - 1024], name);
    assert.equal(str(u32(info, 16)), "file x=1");
    assert.equal(str(u32(info, 64)), "tandem");
    const mod = u32(info, 24) - at;
    assert.deepEqual([u32(info, 20), u32(info, mod), u32(info, mod + 4)], [1, moduleAt, moduleAt + 4096], name);
    assert.equal(str(u32(info, mod + 8)), "rd a b");
    assert.deepEqual(m.bytes(moduleAt, 4096), KERNEL);
    const map = u32(info, 48) - at;
    assert.deepEqual([u32(info, 44), u32(info, map), u32(info, map + 12)], [24 * m.map.length, 20, 0x9fc00]);
  }
  assert.throws(
    () => plan(makeElf({ bits: 64, code: multiboot(3) })),
    (e) => e instanceof VmError && e.code === "image/wrong-architecture" && /64-bit ELF/.test(e.message),
  );
});

test("module lists", () => {
  for (const [option, want] of [
    ["a", [["a", ""]]],
    [
      "a x y,b",
      [
        ["a", "x y"],
        ["b", ""],
      ],
    ],
    [
      "a p=1,,2, b",
      [
        ["a", "p=1,2"],
        ["b", ""],
      ],
    ],
  ] as const)
    assert.deepEqual(
      parseModuleList(option).map((m) => [m.path, m.arguments]),
      want.map((w) => [...w]),
    );
  for (const bad of ["", "a,,,", Array.from({ length: 300 }, () => "m").join(",")])
    assert.throws(
      () => parseModuleList(bad),
      (e) => e instanceof VmError && e.code === "option/invalid",
    );
});

test("LZ4 legacy frames", () => {
  const frame = (...blocks: number[][]) => {
    const w = new ByteWriter(64).u32(0x184c2102);
    for (const b of blocks) w.u32(b.length).bytes(b);
    return w.finish();
  };
  for (const [name, data, max, want] of [
    ["literals", frame([0x30, 1, 2, 3]), 100, [1, 2, 3]],
    ["an overlapping match", frame([0x11, 7, 1, 0, 0x10, 9]), 100, [7, 7, 7, 7, 7, 7, 9]],
    ["two blocks", frame([0x10, 1], [0x10, 2]), 100, [1, 2]],
    ["a size field behind", Uint8Array.of(...frame([0x10, 1]), 9, 0, 0, 0), 100, [1]],
    ["no match distance", frame([0x10, 7, 0, 0]), 100, undefined],
    ["distance before the block", frame([0x10, 1], [0x10, 7, 2, 0]), 100, undefined],
    ["literals past the end", frame([0xf0, 255]), 100, undefined],
    ["a bomb", frame([0x1f, 7, 1, 0, ...new Array<number>(60).fill(255), 0]), 1000, undefined],
    ["not LZ4", Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), 100, undefined],
    ["cut", Uint8Array.of(2, 0x21), 100, undefined],
  ] as const)
    for (const size of [undefined, 0, 3, 1000])
      assert.deepEqual(unpackLz4Legacy(data, max, size)?.slice(), want && Uint8Array.from(want), `${name}, size ${size}`);
});

test("the embedded guest's kernel", () => {
  const bytes = new Uint8Array(readFileSync(new URL("../../../guests/x86_64/bzImage", import.meta.url)));
  const b = parseBzImage(image(bytes));
  assert.match(b.kernelVersion, /^6\.1\./);
  assert.ok(b.has64BitEntry);
  const kernel = unpackKernel(b)!;
  assert.ok(isElf(kernel.bytes));
  const state = planKernel(image(bytes), { commandLine: "", modules: [], start: "unpacked" }).place(testMachine());
  assert.deepEqual([state.cpuMode, state.entry], ["long64", 0x1000000]);
  const screen = planKernel(image(bytes), { commandLine: "", modules: [], start: "unpacked16" });
  assert.match(screen.description, /unpacked16 start/);
  assert.equal(screen.place(testMachine()).cpuMode, "real16");
  const pvh = planKernel(kernel, { commandLine: "", modules: [], start: "unpacked" }).place(testMachine());
  assert.equal(pvh.cpuMode, "protected32");
  // Every cut of the file is refused or loads; nothing else comes out of it.
  for (let n = 0; n < 2048; n += 64) assert.throws(() => plan(bytes.subarray(0, n)), VmError);
});

test("boot ROM", () => {
  const rom = bootRom();
  assert.deepEqual([...rom.subarray(0, 4)], [0x55, 0xaa, 1, 0xcb]);
  assert.equal(checksumByte(rom), 0);
  assert.equal(checksumByte(rom, 0x20, 32), 0);
  assert.equal(String.fromCharCode(...rom.subarray(0x20, 0x24)), "$PnP");
  assert.equal(rom[0x20 + 0x1a]! + rom[0x20 + 0x1b]! * 256, 0x80, "bootstrap entry vector");

  const m = testMachine();
  const fw = new FwCfg(m);
  fw.mapPorts(m.io);
  const errors: VmError[] = [];
  installBootRom(fw, m.memory, plan(makeBzImage(KERNEL), { start: "real16", initrd: KERNEL }), (e) => errors.push(e));
  const select = () => {
    m.io.write(0x510, 2, BOOT_ROM_KEY);
    return Uint8Array.from({ length: 64 }, () => m.io.read(0x511, 1));
  };
  // As the ROM leaves it: two entries, the second ends below the top of RAM.
  const leaveMap = (end: number) =>
    m.memory.writeBytes(
      0x8000,
      new ByteWriter(64)
        .u32(2, 0)
        .u64(0, 0x9fc00)
        .u32(1)
        .u64(0x100000, end - 0x100000)
        .u32(1)
        .finish(),
    );
  assert.equal(select()[0], 2, "no map: the ROM goes on");
  assert.equal(errors.length, 1);
  leaveMap(RAM_BYTES - 0x20000);
  const state = select();
  assert.deepEqual([state[0], u32(state, 4), u32(state, 36), state[40]! + state[41]! * 256], [0, 0, 0xfe00, 0x1020]);
  assert.equal(u32(m.bytes(0x10000, 1024), 0x218), RAM_BYTES - 0x20000 - 4096, "the initrd stays below what the BIOS took");
  m.memory.write(0x8000, 2, 0xffff);
  select();

  const p = encodeBootState({ cpuMode: "protected32", entry: 0x123456, registers: { ebx: 7 }, gdt: { base: 0x540, limit: 31 } });
  assert.deepEqual([p[0], u32(p, 12), p[48], u32(p, 50), u32(p, 56), p[60]], [1, 7, 31, 0x540, 0x123456, 0x10]);
  assert.equal(encodeBootState({ cpuMode: "long64", entry: 0, registers: {} })[0], 2);
});
