/** `-cpu host`, and named models cut down to what the accelerator has. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cpuModel } from "./cpu-models.js";
import type { HostCpu } from "./host-cpu.js";

/** A Xeon of family 6, model 85, stepping 4 with AVX, without SSE3. */
const rows: Readonly<Record<string, readonly number[]>> = {
  "0:0": [0x16, 0x756e6547, 0x6c65746e, 0x49656e69],
  "1:0": [0x00050654, 0, (1 << 28) | (1 << 13) | (1 << 26), 0x0f8bfbff],
  "7:0": [0, 1 << 5, 0, 0x1234],
  "80000000:0": [0x80000008, 0, 0, 0],
  "80000001:0": [0, 0, 1, (1 << 29) | (1 << 11) | (1 << 20)],
  "80000002:0": [0x41205845, 0x4e4f4e, 0, 0],
};
const host = (completed: boolean): HostCpu => ({ row: (leaf, sub) => rows[`${leaf.toString(16)}:${sub}`], completed });
const topology = { index: 0, cores: 1, threads: 1, osxsave: false, apicEnabled: true, xcr0: 1 };

test("-cpu host is the host: identity, leaves, features", () => {
  const m = cpuModel("host", [], false, host(false));
  assert.equal(m.signature, 0x50654);
  assert.ok(m.features.has("avx") && m.features.has("avx2") && m.features.has("lm") && m.features.has("hypervisor"));
  assert.deepEqual(m.warnings, []);
  assert.ok(m.beyondTcg.includes("avx"));
  const out = new Uint32Array(4);
  m.cpuid(0, 0, topology, out);
  assert.deepEqual([...out], rows["0:0"]);
  m.cpuid(7, 0, topology, out);
  assert.deepEqual([...out], rows["7:0"], "bits without a name pass too");
  m.cpuid(1, 0, { ...topology, index: 3 }, out);
  assert.deepEqual([out[0], out[1]! >>> 24], [0x50654, 3]);
  assert.throws(() => cpuModel("host", []), /-cpu host: CPU model 'host' requires KVM/);
});

test("a named model is cut down, with QEMU's warnings; a switch takes a feature of the host away", () => {
  const cut = cpuModel("qemu64", [], false, host(false));
  assert.ok(!cut.features.has("pni"));
  assert.deepEqual(cut.warnings, ["host doesn't support requested feature: CPUID.01H:ECX.pni [bit 0]"]);
  assert.throws(() => cpuModel("qemu64", [], true, host(false)), /enforce: host doesn't support/);
  // TCG completes a KVM without hardware: what it has is there.
  const whole = cpuModel("qemu64", [], false, host(true));
  assert.ok(whole.features.has("pni"));
  assert.deepEqual([whole.warnings, whole.beyondTcg], [[], []]);
  assert.ok(!cpuModel("host", [{ name: "avx", on: false }], false, host(false)).features.has("avx"));
});
