import assert from "node:assert/strict";
import { test } from "node:test";
import { type CpuTopology, cpuModel } from "./cpu-models.js";

const ONE: CpuTopology = { index: 0, cores: 1, threads: 1, osxsave: false, apicEnabled: true, xcr0: 1 };

function cpuid(spec: string, leaf: number, subleaf = 0, topology: Partial<CpuTopology> = {}): number[] {
  const [name, ...changes] = spec.split(",");
  const model = cpuModel(
    name!,
    changes.map((c) => ({ name: c.slice(1), on: c[0] === "+" })),
  );
  const out = new Uint32Array(4);
  model.cpuid(leaf, subleaf, { ...ONE, ...topology }, out);
  return [...out];
}

/** Rows: model, leaf, register (EAX to EDX), bit, whether it is set. */
const bits: [spec: string, leaf: number, register: number, bit: number, set: boolean][] = [
  ["qemu64", 1, 2, 0, true],
  ["qemu64,-sse3", 1, 2, 0, false],
  ["qemu64,-pni", 1, 2, 0, false],
  ["qemu64,-pni,+sse3", 1, 2, 0, true],
  ["qemu64", 1, 2, 30, false],
  ["qemu64,+rdrand", 1, 2, 30, true],
  ["qemu64,+sse4_2", 1, 2, 20, true],
  ["qemu64,+lahf-lm", 0x80000001, 2, 0, true],
  ["max,-nx", 0x80000001, 3, 20, false],
  ["max", 7, 1, 20, true],
  ["max", 7, 2, 2, true],
  ["486", 1, 3, 0, true],
  ["486", 1, 3, 4, false],
  ["pentium3", 1, 3, 25, true],
  ["pentium3", 1, 3, 26, false],
  ["Nehalem", 1, 2, 20, true],
  ["Nehalem", 0x80000001, 3, 29, true],
];

test("feature bits", () => {
  for (const [spec, leaf, register, bit, set] of bits)
    assert.equal(((cpuid(spec, leaf)[register]! >>> bit) & 1) === 1, set, `${spec}: ${leaf.toString(16)}.${register} bit ${bit}`);
});

/** Rows: topology of two sockets, four cores, two threads as vCPU 13 sees it: model, leaf, subleaf, and what of it. */
const topology: [spec: string, leaf: number, subleaf: number, read: (r: number[]) => unknown, value: unknown][] = [
  ["qemu64", 1, 0, (r) => [r[1]! >>> 24, (r[1]! >>> 16) & 255, (r[3]! >>> 28) & 1], [13, 8, 1]],
  ["Nehalem", 4, 0, (r) => [r[0]! >>> 26, (r[0]! >>> 14) & 0xfff], [3, 1]],
  ["Nehalem", 0xb, 0, (r) => r, [1, 2, 0x100, 13]],
  ["Nehalem", 0xb, 1, (r) => r, [3, 8, 0x201, 13]],
  ["Nehalem", 0x80000001, 0, (r) => r[2]! & 2, 0],
  ["qemu64", 0x80000001, 0, (r) => r[2]! & 2, 2],
  ["qemu64", 0x80000008, 0, (r) => r[2]! & 0xff, 7],
];

test("topology", () => {
  for (const [spec, leaf, subleaf, read, value] of topology)
    assert.deepEqual(
      read(cpuid(spec, leaf, subleaf, { index: 13, cores: 4, threads: 2 })),
      value,
      `${spec}: ${leaf.toString(16)}`,
    );
  const [, ebx, , edx] = cpuid("qemu64", 1);
  assert.deepEqual([ebx! >>> 16, (edx! >>> 28) & 1], [0, 0], "alone");
});

test("unknown models and features", () => {
  assert.throws(() => cpuModel("foo", []), /unable to find CPU model 'foo'/);
  assert.throws(() => cpuModel("constructor", []), /unable to find CPU model 'constructor'/);
  assert.throws(() => cpuModel("qemu64", [{ name: "foo", on: true }]), /Property 'foo' not found/);
  assert.throws(() => cpuModel("qemu64", [{ name: "constructor", on: true }]), /Property 'constructor' not found/);
  const { warnings } = cpuModel("qemu64", [{ name: "avx", on: true }]);
  assert.match(warnings.join(), /TCG doesn't support requested feature: CPUID\..*avx/);
  assert.throws(() => cpuModel("qemu64", [{ name: "avx", on: true }], true), /enforce/);
});
