/**
 * The table that CPUID answers from under KVM. Source: Linux, api.rst KVM_SET_CPUID2, KVM_GET_SUPPORTED_CPUID;
 * Documentation/virt/kvm/x86/cpuid.rst.
 */
import { VmError } from "../../base/errors.js";
import type { HostCpu } from "../../target/x86/host-cpu.js";
import { type KvmDevice, strerror } from "./device.js";
import type { KvmHost } from "./host.js";
import { System, Vcpu } from "./ioctls.js";
import { Struct } from "./layout.js";
import { CPUID, CPUID_ENTRY, CPUID_SIGNIFICANT_INDEX } from "./structs.js";
import type { KvmVcpu } from "./vcpu.js";

/** The most rows asked for. */
const ENTRIES_MAX = 256;

/** A row: CPUID(leaf, subleaf) gives EAX, EBX, ECX, EDX. */
export interface CpuidEntry {
  readonly leaf: number;
  readonly subleaf: number;
  /** The subleaf matters. */
  readonly indexed: boolean;
  readonly values: ArrayLike<number>;
}

/** What the host's KVM can give a guest, host bits included. */
export function supportedCpuid(device: KvmDevice): readonly CpuidEntry[] {
  const bytes = new Uint8Array(CPUID.sizeBytes + ENTRIES_MAX * CPUID_ENTRY.sizeBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, ENTRIES_MAX, true);
  if (device.sys.ioctlData(device.fd, System.getSupportedCpuid, bytes) < 0) return [];
  return Array.from({ length: Math.min(ENTRIES_MAX, view.getUint32(0, true)) }, (_, i) => {
    const at = CPUID.sizeBytes + i * CPUID_ENTRY.sizeBytes;
    const word = (k: number) => view.getUint32(at + 4 * k, true);
    return {
      leaf: word(0),
      subleaf: word(1),
      indexed: (word(2) & CPUID_SIGNIFICANT_INDEX) !== 0,
      values: [word(3), word(4), word(5), word(6)],
    };
  });
}

/** The host's processor as this KVM offers it. `assisted`: the translator completes a KVM without hardware. */
export function hostCpu({ device, hardware }: KvmHost, assisted: boolean): HostCpu {
  const rows = supportedCpuid(device);
  return {
    completed: !hardware && assisted,
    row: (leaf, subleaf) => rows.find((r) => r.leaf === leaf && (!r.indexed || r.subleaf === subleaf))?.values,
  };
}

/** Gives a vCPU its table. @throws VmError "accel/failed" */
export function setCpuid(vcpu: KvmVcpu<unknown>, entries: readonly CpuidEntry[]): void {
  const bytes = new Uint8Array(CPUID.sizeBytes + entries.length * CPUID_ENTRY.sizeBytes);
  new Struct(CPUID, bytes).set("nent", entries.length);
  for (const [i, e] of entries.entries()) {
    const at = CPUID.sizeBytes + i * CPUID_ENTRY.sizeBytes;
    const row = new Struct(CPUID_ENTRY, bytes.subarray(at, at + CPUID_ENTRY.sizeBytes));
    row.set("function", e.leaf);
    row.set("index", e.subleaf);
    row.set("flags", e.indexed ? CPUID_SIGNIFICANT_INDEX : 0);
    for (const [k, name] of (["eax", "ebx", "ecx", "edx"] as const).entries()) row.set(name, e.values[k]! >>> 0);
  }
  const r = vcpu.sys.ioctlData(vcpu.fd, Vcpu.setCpuid2, bytes);
  if (r < 0) throw new VmError("accel/failed", `kvm: vCPU ${vcpu.index}: KVM_SET_CPUID2: ${strerror(-r)}`);
}
