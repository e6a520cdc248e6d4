/** Structure sizes and request numbers against those that the kernel's headers give. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { System, Vcpu, Vm } from "./ioctls.js";
import { layout, Struct } from "./layout.js";
import * as S from "./structs.js";

/** Sizes from sizeof() with Linux 6.1's headers. */
const SIZES: readonly (readonly [keyof typeof S, number])[] = [
  ["REGS", 144],
  ["SEGMENT", 24],
  ["DTABLE", 16],
  ["SREGS", 312],
  ["SREGS2", 320],
  ["DEBUGREGS", 128],
  ["XCRS", 392],
  ["XSAVE_AREA", 4096],
  ["VCPU_EVENTS", 64],
  ["MP_STATE", 4],
  ["MSR_ENTRY", 16],
  ["MSRS", 8],
  ["CPUID_ENTRY", 40],
  ["CPUID", 8],
  ["MEMORY_REGION", 32],
  ["DIRTY_LOG", 16],
  ["ENABLE_CAP", 104],
  ["IRQ_LEVEL", 8],
  ["PIT_CONFIG", 64],
  ["PIT_CHANNEL", 24],
  ["PIT_STATE2", 112],
  ["LAPIC", 1024],
  ["IRQCHIP", 520],
  ["IRQFD", 32],
  ["IOEVENTFD", 64],
  ["MSI", 32],
  ["CLOCK_DATA", 48],
  ["MSR_FILTER_RANGE", 24],
  ["MSR_FILTER", 392],
  ["GUEST_DEBUG", 72],
  ["RUN", 2352],
  ["PIC_STATE", 16],
  ["IOAPIC_STATE", 216],
];

test("sizes of structures", () => {
  for (const [name, size] of SIZES) assert.equal((S[name] as { sizeBytes: number }).sizeBytes, size, `struct ${name}`);
});

test("request numbers", () => {
  const rows: [number, number][] = [
    [System.createVm, 0xae01],
    [System.getSupportedCpuid, 0xc008ae05],
    [Vm.setUserMemoryRegion, 0x4020ae46],
    [Vm.irqfd, 0x4020ae76],
    [Vm.ioeventfd, 0x4040ae79],
    [Vm.getIrqchip, 0xc208ae62],
    [Vm.setIrqchip, 0x8208ae63],
    [Vm.enableCap, 0x4068aea3],
    [Vm.getPit2, 0x8070ae9f],
    [Vm.getClock, 0x8030ae7c],
    [Vm.x86SetMsrFilter, 0x4188aec6],
    [Vcpu.run, 0xae80],
    [Vcpu.getSregs, 0x8138ae83],
    [Vcpu.setSregs2, 0x4140aecd],
    [Vcpu.getXsave, 0x9000aea4],
    [Vcpu.setXcrs, 0x4188aea7],
    [Vcpu.getVcpuEvents, 0x8040ae9f],
    [Vcpu.setDebugregs, 0x4080aea2],
    [Vcpu.getMsrs, 0xc008ae88],
    [Vcpu.setCpuid2, 0x4008ae90],
    [Vcpu.setGuestDebug, 0x4048ae9b],
  ];
  for (const [is, want] of rows) assert.equal(is.toString(16), want.toString(16));
});

test("fields are at C's offsets", () => {
  const l = layout({ a: "u8", b: "u32", c: ["u16", 3], d: "u64" });
  assert.deepEqual(l.at, { a: 0, b: 4, c: 8, d: 16 });
  assert.equal(l.sizeBytes, 24);
  const s = new Struct(l);
  s.set("b", 0x89abcdef);
  s.set64("d", 0xffff_0000_0000_0001n);
  assert.equal(s.get("b"), 0x89abcdef);
  assert.equal(s.get64("d"), 0xffff_0000_0000_0001n);
  assert.deepEqual([S.RUN.at.exit_reason, S.EXIT_AT, S.RUN.at.kvm_valid_regs, S.SYNC_AT], [8, 32, 288, 304]);
  assert.equal(S.EXIT_AT + S.EXIT_EMULATION.at.insn_bytes, 49);
});
