import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { checkPpcFirmware } from "./ppc-firmware.js";
import { parsePpcKernel } from "./ppc-kernel.js";

interface Shape {
  bits?: 32 | 64;
  le?: boolean;
  machine?: number;
  entry?: bigint;
  segments?: { virtual: bigint; physical: bigint; file: number; memory: bigint }[];
}

function elf(s: Shape = {}): Uint8Array {
  const { bits = 64, le = true, machine = 21, entry = 0xc000000000000040n } = s;
  const segments = s.segments ?? [
    { virtual: 0xc000000000000000n, physical: 0n, file: 64, memory: 0x1000n },
    { virtual: 0xc000000000010000n, physical: 0x10000n, file: 16, memory: 16n },
  ];
  const bytes = new Uint8Array(64 + 56 * segments.length + segments.reduce((n, x) => n + x.file, 0));
  const v = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, bits === 64 ? 2 : 1, le ? 1 : 2, 1]);
  v.setUint16(16, 2, le);
  v.setUint16(18, machine, le);
  v.setBigUint64(24, entry, le);
  v.setBigUint64(32, 64n, le);
  v.setUint16(54, 56, le);
  v.setUint16(56, segments.length, le);
  let at = 64 + 56 * segments.length;
  for (const [i, x] of segments.entries()) {
    const h = 64 + 56 * i;
    v.setUint32(h, 1, le);
    v.setBigUint64(h + 8, BigInt(at), le);
    v.setBigUint64(h + 16, x.virtual, le);
    v.setBigUint64(h + 24, x.physical, le);
    v.setBigUint64(h + 32, BigInt(x.file), le);
    v.setBigUint64(h + 40, x.memory, le);
    bytes.fill(i + 1, at, at + x.file);
    at += x.file;
  }
  return bytes;
}

const source = (bytes: Uint8Array) => ({ option: "-kernel", name: "k", bytes });

for (const le of [true, false])
  test(`a ${le ? "little" : "big"}-endian kernel`, () => {
    const k = parsePpcKernel(source(elf({ le })));
    assert.deepEqual(
      [k.littleEndian, k.entry, k.size, k.segments.map((s) => [s.offset, s.bytes.length, s.memorySize])],
      [
        le,
        0x40,
        0x10010,
        [
          [0, 64, 0x1000],
          [0x10000, 16, 16],
        ],
      ],
    );
    assert.deepEqual(parsePpcKernel(source(gzipSync(elf({ le })))).entry, 0x40);
  });

test("a program linked elsewhere is placed by distances", () => {
  const segments = [{ virtual: 0x20000000n, physical: 0x2000000n, file: 32, memory: 32n }];
  assert.deepEqual(parsePpcKernel(source(elf({ entry: 0x20000010n, segments }))).entry, 0x10);
});

const x = (bytes: ArrayLike<number>, at = 0, length = 0x300) => {
  const out = new Uint8Array(length);
  out.set(Array.from(bytes), at);
  return out;
};
const one = (o: object) => [{ virtual: 0xc000000000000000n, physical: 0n, file: 64, memory: 64n, ...o }];

const refused: [name: string, bytes: Uint8Array, message: RegExp][] = [
  ["an empty file", new Uint8Array(0), /-kernel k: the file is empty$/],
  ["text", Buffer.from("#!/bin/sh\n"), /not a kernel \(an ELF file for 64-bit PowerPC/],
  ["a bzImage", x([0x48, 0x64, 0x72, 0x53], 0x202), /an x86 Linux kernel \(bzImage\); this machine is PowerPC/],
  ["a disk image", x([0x51, 0x46, 0x49, 0xfb]), /qcow2 disk image; use it with -drive/],
  ["an x86-64 ELF", elf({ machine: 62, le: true }), /an ELF image for x86-64, little-endian; this machine is 64-bit PowerPC/],
  ["an S/390 ELF", elf({ machine: 22, le: false }), /IBM S\/390, big-endian/],
  ["a 32-bit wrapper", elf({ bits: 32, machine: 20, le: false }), /a 32-bit PowerPC image, big-endian; pseries starts 64-bit/],
  ["32 bits, little-endian", elf({ bits: 32, machine: 20 }), /a 32-bit PowerPC image, little-endian/],
  ["a damaged gzip file", gzipSync(elf()).subarray(0, 40), /the packed kernel is damaged/],
  ["no program headers", elf({ segments: [] }), /without program headers/],
  ["an entry in no segment", elf({ entry: 0x1234n }), /the entry 0x1234 lies in no segment/],
  ["a segment smaller in memory", elf({ segments: one({ memory: 8n }) }), /smaller in memory than in the file/],
  ["a segment of 2^63 bytes", elf({ segments: one({ memory: 1n << 63n }) }), /an ELF segment of/],
  ["headers far away", elf().map((b, i) => (i === 38 ? 0xff : b)), /needs \d+ bytes, the file has/],
];
for (const [name, bytes, message] of refused)
  test(`refused: ${name}`, () => assert.throws(() => parsePpcKernel(source(bytes)), message));

test("truncated kernels are refused at every length", () => {
  const good = elf();
  for (let n = 0; n < good.length; n++)
    assert.throws(() => parsePpcKernel(source(good.subarray(0, n))), /^VmError: -kernel k: [^\n]+$/, `${n} bytes`);
});

const firmware: [name: string, bytes: Uint8Array, message: RegExp | undefined][] = [
  ["plain code", x([0x48, 0, 0, 0], 0x100), undefined],
  ["SeaBIOS", x([0xea, 0x5b, 0xe0, 0x00, 0xf0], 65536 - 16, 65536), /-bios b: an x86 BIOS; this machine is PowerPC/],
  ["OVMF", x([0x0f, 0x20, 0xc0, 0xa8, 0x01], 65536 - 16, 65536), /an x86 BIOS/],
  ["an option ROM", x([0x55, 0xaa]), /an x86 option ROM/],
  ["an ELF file", elf(), /an ELF file; firmware is a plain image/],
  ["nothing", new Uint8Array(0), /the file is empty/],
  ["too much", new Uint8Array(2 ** 22 + 1), /4194305 bytes, the machine has room for 4194304/],
];
for (const [name, bytes, message] of firmware)
  test(`firmware: ${name}`, () => {
    const check = () => checkPpcFirmware({ option: "-bios", name: "b", bytes }, 2 ** 22);
    if (message) assert.throws(check, message);
    else check();
  });
