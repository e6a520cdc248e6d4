/** What `tandem doctor` says of hosts of several kinds. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { autoChoice, type HostFacts } from "../../accel/facts.js";
import type { KvmHost } from "../../accel/kvm/host.js";
import { doctorLines } from "./doctor.js";

const base: HostFacts = {
  architecture: "x86_64",
  cpu: { vendor: "GenuineIntel", model: "A Xeon" },
  extension: "VT-x",
  secondLevelTables: true,
  nested: true,
  virtualised: false,
  modules: ["kvm", "kvm_intel"],
  obstacle: undefined,
  apiVersion: 12,
  capabilities: [{ name: "irqchip", value: 1, meaning: "" }],
  speed: { real: 1000, kernel64: 3000, user64: 3000, portExitUs: 2 },
  auto: { takes: "kvm", why: "KVM runs kernel code at 3000 million instructions a second" },
};
const denied = { line: "Could not access KVM kernel module: Permission denied", advice: "join the group kvm, or use -accel tcg" };

const rows: [name: string, facts: Partial<HostFacts>, topic: string, verdict: string, text: RegExp][] = [
  ["hardware", {}, "hardware virtualization", "PASS", /^VT-x$/],
  ["a guest", { extension: "none", virtualised: true }, "hardware virtualization", "WARN", /nested virtualization must be/],
  ["firmware", { extension: "none" }, "hardware virtualization", "WARN", /firmware's setup/],
  ["no module", { modules: [] }, "kernel modules", "FAIL", /modprobe/],
  ["no permission", { obstacle: denied, apiVersion: undefined }, "device /dev/kvm", "FAIL", /Permission denied; join the group/],
  ["emulated", { speed: { ...base.speed!, kernel64: 3 } }, "speed of 64-bit kernel code", "WARN", /3\.0 million.*emulated/],
  ["type 1", {}, "what that is", "PASS", /type 1 hypervisor/],
  ["type 2", { auto: { takes: "tcg", why: "x" } }, "what that is", "PASS", /type 2 hypervisor/],
];

test("facts become lines with a verdict and advice", () => {
  for (const [name, facts, topic, verdict, text] of rows) {
    const line = doctorLines({ ...base, ...facts }).find((l) => l.topic === topic);
    assert.equal(line?.verdict, verdict, name);
    assert.match(line!.text, text, name);
  }
});

test("auto takes KVM only when its kernel mode is fast", () => {
  const kvm = (hardware: boolean) => ({ device: {}, hardware }) as unknown as KvmHost;
  assert.equal(autoChoice(kvm(true), { real: 900, kernel64: 2500, user64: 2500, portExitUs: 1 }).takes, "kvm");
  const slow = autoChoice(kvm(false), { real: 3, kernel64: 3.2, user64: 4000, portExitUs: 9 });
  assert.equal(slow.takes, "tcg");
  assert.match(slow.why, /3\.2 million.*neither VT-x nor AMD-V/);
  assert.deepEqual(autoChoice(denied, undefined), { takes: "tcg", why: `${denied.line}; join the group kvm` });
});
