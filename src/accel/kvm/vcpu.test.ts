/** Unit guests: a few instructions for every reason to leave the guest. */
import assert from "node:assert/strict";
import { kvmTest } from "../../../testkit/kvm.js";
import { CODE, ROM, UnitGuest } from "./test-guest.js";

const OUT_AL = (port: number) => [0xe6, port];
const HLT = 0xf4;

kvmTest("OUT leaves the guest with port, size and data", (t, kvm) => {
  // mov ax,1234h; out 10h,ax; hlt
  const g = new UnitGuest(t, kvm, [0xb8, 0x34, 0x12, 0xe7, 0x10, HLT]);
  const e = g.run();
  assert.equal(e.kind, "io");
  if (e.kind !== "io") return;
  assert.deepEqual([e.direction, e.port, e.size, e.count], ["out", 0x10, 2, 1]);
  assert.equal(e.data.getUint16(e.at, true), 0x1234);
  assert.equal(g.run().kind, "halted");
});

kvmTest("IN takes what it is given", (t, kvm) => {
  // in al,20h; mov [500h],al; hlt
  const g = new UnitGuest(t, kvm, [0xe4, 0x20, 0xa2, 0x00, 0x05, HLT]);
  const e = g.run();
  assert.equal(e.kind, "io");
  if (e.kind === "io") e.data.setUint8(e.at, 0x5a);
  assert.equal(g.run().kind, "halted");
  assert.equal(g.byte(0x500), 0x5a);
});

kvmTest("registers set after an access are not overwritten by its completion", (t, kvm) => {
  const g = new UnitGuest(t, kvm, [0xe4, 0x20, HLT, HLT, 0xb0, 0x77, ...OUT_AL(0x11), HLT]);
  assert.equal(g.run().kind, "io");
  const s = g.vcpu.getState();
  assert.equal(s.rip, BigInt(CODE + 2));
  s.rip = BigInt(CODE + 4);
  g.vcpu.setState(s);
  const e = g.run();
  assert.ok(e.kind === "io" && e.direction === "out" && e.data.getUint8(e.at) === 0x77, JSON.stringify(e.kind));
});

kvmTest("accesses to what is not memory, read and write", (t, kvm) => {
  // mov ax,0ffffh; mov ds,ax; mov al,[8010h] -> 107ff0h+... beyond RAM; mov [8011h],al; hlt
  const g = new UnitGuest(t, kvm, [0xb8, 0xff, 0xff, 0x8e, 0xd8, 0xa0, 0x10, 0x80, 0xa2, 0x11, 0x80, HLT]);
  const r = g.run();
  assert.ok(r.kind === "mmio" && !r.write && r.address === 0x108000 && r.size === 1, JSON.stringify(r.kind));
  if (r.kind === "mmio") r.data.setUint8(r.at, 0xa5);
  const w = g.run();
  assert.ok(w.kind === "mmio" && w.write && w.address === 0x108001 && w.data.getUint8(w.at) === 0xa5);
  assert.equal(g.run().kind, "halted");
});

kvmTest("a write to ROM leaves the guest, a read does not", (t, kvm) => {
  const g = new UnitGuest(t, kvm, [0x8a, 0x07, 0x88, 0x07, HLT], (s) => {
    // DS as big real mode leaves it.
    Object.assign(s.segments.ds, { base: BigInt(ROM), limit: 0xffff });
  });
  g.ram.u8[g.ram.blocks[1]!.hostOffset] = 0x42;
  const e = g.run();
  assert.ok(e.kind === "mmio" && e.write && e.address === ROM && e.data.getUint8(e.at) === 0x42, JSON.stringify(e.kind));
});

kvmTest("an interrupt is taken when IF is set, and its window is reported", (t, kvm) => {
  // out 11h; sti; jmp $: an emulating KVM looks at the window every thousand instructions only
  const g = new UnitGuest(t, kvm, [...OUT_AL(0x11), 0xfb, 0xeb, 0xfe]);
  g.vector(0x21);
  assert.equal(g.run().kind, "io");
  assert.equal(g.vcpu.readyForInterrupt, false);
  g.vcpu.wantWindow = true;
  assert.equal(g.run().kind, "interrupt-window");
  g.vcpu.wantWindow = false;
  g.vcpu.interrupt(0x21);
  const e = g.run();
  assert.ok(e.kind === "io" && e.port === 0x31 && e.data.getUint8(e.at) === 0x21, JSON.stringify(e.kind));
  g.vcpu.wantWindow = true;
  assert.equal(g.run().kind, "interrupt-window");
  assert.equal(g.vcpu.interruptFlag, true);
});

kvmTest("an NMI is taken with IF clear", (t, kvm) => {
  const g = new UnitGuest(t, kvm, [HLT, HLT]);
  g.vector(2);
  assert.equal(g.run().kind, "halted");
  g.vcpu.nmi();
  const e = g.run();
  assert.ok(e.kind === "io" && e.data.getUint8(e.at) === 2, JSON.stringify(e.kind));
});

kvmTest("a triple fault is a shutdown", (t, kvm) => {
  // ud2 in protected mode without a descriptor table for it.
  const g = new UnitGuest(t, kvm, [0x0f, 0x0b], (s) => {
    s.control.cr0 |= 1n;
    s.idtr = { base: 0n, limit: 0 };
  });
  assert.equal(g.run().kind, "shutdown");
});

kvmTest("an instruction that cannot be emulated comes back with its bytes, or runs", (t, kvm) => {
  const fninit_fld1_faddp = [0xdb, 0xe3, 0xd9, 0xe8, 0xd9, 0xe8, 0xde, 0xc1, HLT];
  const g = new UnitGuest(t, kvm, fninit_fld1_faddp);
  const e = g.run();
  if (kvm.hardware) return assert.equal(e.kind, "halted");
  assert.ok(e.kind === "emulation-failure" && e.bytes[0] === 0xd9, JSON.stringify(e));
  assert.equal(g.vcpu.getState().rip, BigInt(CODE + 2));
});

kvmTest("MSRs of the machine leave the guest; a refusal is #GP", (t, kvm) => {
  // mov ecx,6e0h; wrmsr; rdmsr; wrmsr
  const g = new UnitGuest(t, kvm, [0x66, 0xb9, 0xe0, 0x06, 0, 0, 0x0f, 0x30, 0x0f, 0x32, 0x0f, 0x30], (s) => {
    s.gpr.rax = 0x55n;
    s.gpr.rdx = 0n;
  });
  g.vector(13);
  const w = g.run();
  assert.ok(w.kind === "msr-write" && w.index === 0x6e0 && w.value === 0x55n, JSON.stringify(w.kind));
  if (w.kind === "msr-write") w.reply(true);
  const r = g.run();
  assert.ok(r.kind === "msr-read" && r.index === 0x6e0);
  if (r.kind === "msr-read") r.reply(0x66n);
  const again = g.run();
  assert.ok(again.kind === "msr-write" && again.value === 0x66n);
  if (again.kind === "msr-write") again.reply(false);
  const gp = g.run();
  assert.ok(gp.kind === "io" && gp.data.getUint8(gp.at) === 13, JSON.stringify(gp.kind));
});

kvmTest("an alarm and a kick end a guest that spins", (t, kvm) => {
  const g = new UnitGuest(t, kvm, [0xeb, 0xfe]);
  const alarm = kvm.device.sys.alarm();
  alarm.arm(1_000_000, 500_000);
  assert.equal(g.run().kind, "budget");
  alarm.disarm();
  alarm.dispose();
  g.vcpu.kick();
  assert.equal(g.run().kind, "budget");
});

kvmTest("a vCPU's state goes in and comes out", (t, kvm) => {
  const g = new UnitGuest(t, kvm, [HLT]);
  const s = g.vcpu.getState();
  let n = 0x1122_3344_5566_7700n;
  for (const k of Object.keys(s.gpr)) s.gpr[k as "rax"] = n++;
  s.msrs.lstar = 0x7fff_0000_1000n;
  s.msrs.star = 0x23_0010_0000_0000n;
  s.msrs.sysenter_cs = 0x10n;
  s.debug.dr0 = 0x1234n;
  s.control.cr2 = 0x5678n;
  s.gdtr = { base: 0x500n, limit: 0x7f };
  const x = new DataView(s.xsave.buffer);
  x.setBigUint64(512, 3n, true);
  x.setUint16(0, 0x27f, true);
  x.setUint32(24, 0x1fa0, true);
  s.xsave.fill(0x5a, 160, 416);
  g.vcpu.setState(s);
  const back = g.vcpu.getState();
  assert.deepEqual(back.gpr, s.gpr);
  assert.deepEqual(back.segments, s.segments);
  assert.deepEqual([back.gdtr, back.control, back.debug], [s.gdtr, s.control, s.debug]);
  for (const m of ["lstar", "star", "sysenter_cs", "pat"]) assert.equal(back.msrs[m], s.msrs[m], m);
  assert.deepEqual(back.xsave.subarray(160, 416), s.xsave.subarray(160, 416));
  assert.deepEqual([back.xsave[0], back.xsave[1], back.xsave[24]], [0x7f, 2, 0xa0]);
});

kvmTest("the log of written pages", (t, kvm) => {
  // mov [3000h],al; hlt
  const g = new UnitGuest(t, kvm, [0xa2, 0x00, 0x30, HLT]);
  g.vm.setDirtyLog(true);
  assert.equal(g.run().kind, "halted");
  const pages: number[] = [];
  g.vm.takeDirtyPages((host) => pages.push(host - g.at));
  assert.ok(pages.includes(0x3000), pages.map((p) => p.toString(16)).join(" "));
});

kvmTest("memory slots follow the memory map", (t, kvm) => {
  const g = new UnitGuest(t, kvm, [0xa0, 0x00, 0x80, HLT]);
  const device = g.memory.mapIo(0x8000, 0x1000, { name: "window", read: () => 0, write() {} }, { priority: 1 });
  g.vm.mapMemory();
  const e = g.run();
  assert.ok(e.kind === "mmio" && e.address === 0x8000, JSON.stringify(e.kind));
  g.memory.unmap(device);
  g.vcpu.settle();
  g.vm.mapMemory();
  assert.equal(g.run().kind, "halted");
  assert.equal(g.vm.slotCount, 2);
});
