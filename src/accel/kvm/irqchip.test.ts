/** Interrupt controllers, timers, eventfds and messages in the kernel, each by a guest of a few instructions. */
import assert from "node:assert/strict";
import { kvmTest } from "../../../testkit/kvm.js";
import { setCpuid, supportedCpuid } from "./cpuid.js";
import { setDoorbell } from "./irqchip.js";
import { CHIP, PIC_STATE } from "./structs.js";
import { UnitGuest } from "./test-guest.js";
import type { KvmVcpu } from "./vcpu.js";

/** 8259 to vector 20h, every line open. */
const PIC_INIT = [
  0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x20, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21, 0xb0, 0x00, 0xe6, 0x21,
];
const STI_LOOP = [0xfb, 0xe6, 0x10, 0xf4, 0xeb, 0xfd];

/** A handler that says its vector on port 31h and ends the interrupt at the 8259. */
function handler(g: UnitGuest, vector: number): void {
  g.vector(vector);
  g.ram.u8.set([0xb0, vector, 0xe6, 0x31, 0xb0, 0x20, 0xe6, 0x20, 0xcf], g.at + 0x2000 + vector * 16);
}

function said(g: UnitGuest): string {
  const e = g.run();
  return e.kind === "io" ? `${e.port.toString(16)}:${e.data.getUint8(e.at).toString(16)}` : e.kind;
}

kvmTest("an interrupt line, an eventfd and a chip's state", (t, kvm) => {
  const g = new UnitGuest(t, kvm, [...PIC_INIT, ...STI_LOOP], undefined, "on");
  const chip = g.irqchip!;
  for (const v of [0x24, 0x25]) handler(g, v);
  assert.equal(said(g), "10:0");
  chip.setLine(4, true);
  chip.setLine(4, false);
  assert.equal(said(g), "31:24");
  const { sys } = kvm.device;
  const fd = sys.eventfd();
  t.after(() => sys.close(fd));
  chip.irqfd(fd, 5);
  sys.eventfdSignal(fd);
  assert.equal(said(g), "31:25");
  chip.irqfd(fd, 5, false);
  const pic = chip.getChip(CHIP.picMaster);
  assert.deepEqual([pic[PIC_STATE.at.irq_base], pic[PIC_STATE.at.imr]], [0x20, 0]);
  pic[PIC_STATE.at.imr] = 0xef;
  chip.setChip(CHIP.picMaster, pic);
  assert.equal(chip.getChip(CHIP.picMaster)[PIC_STATE.at.imr], 0xef);
});

kvmTest("the kernel's i8254 ticks into HLT", (t, kvm) => {
  // Channel 0 at 1 kHz.
  const pit = [0xb0, 0x34, 0xe6, 0x43, 0xb0, 1193 & 255, 0xe6, 0x40, 0xb0, 1193 >> 8, 0xe6, 0x40];
  const g = new UnitGuest(t, kvm, [...PIC_INIT, ...pit, 0xfb, 0xf4, 0xeb, 0xfd], undefined, "on");
  g.irqchip!.createPit();
  handler(g, 0x20);
  for (let i = 0; i < 20; i++) assert.equal(said(g), "31:20");
  const state = g.irqchip!.getPit();
  assert.equal(new DataView(state.buffer).getUint32(0, true), 1193);
  g.irqchip!.setPit(state);
});

kvmTest("split: vectors from user space, halts in the kernel", (t, kvm) => {
  const g = new UnitGuest(t, kvm, [0xfb, 0xe6, 0x10, 0xf4, 0xe6, 0x11, 0xf4], undefined, "split");
  handler(g, 0x21);
  assert.equal(said(g), "10:0");
  g.vcpu.settle();
  g.vcpu.interrupt(0x21);
  assert.equal(said(g), "31:21");
});

kvmTest("a message reaches an enabled local APIC alone; its state moves", (t, kvm) => {
  const g = new UnitGuest(t, kvm, [0xfb, 0xe6, 0x10, 0xf4, 0xeb, 0xfd], undefined, "on");
  handler(g, 0x45);
  const chip = g.irqchip!;
  assert.equal(said(g), "10:0");
  g.vcpu.settle();
  assert.equal(chip.signalMsi(0xfee00000, 0x45), false);
  const regs = chip.getLapic(g.vcpu);
  // Spurious-interrupt vector register: software enable.
  new DataView(regs.buffer).setUint32(0xf0, 0x1ff, true);
  chip.setLapic(g.vcpu, regs);
  assert.equal(new DataView(chip.getLapic(g.vcpu).buffer).getUint32(0xf0, true), 0x1ff);
  assert.equal(chip.signalMsi(0xfee00000, 0x45), true);
  assert.equal(said(g), "31:45");
});

kvmTest("doorbells: only what matches is swallowed, and nothing leaves the guest", (t, kvm) => {
  // mov ax,5; out 50h,ax; out 54h,ax; mov ax,7; out 54h,ax; mov ax,0ffffh; mov ds,ax; mov [8010h],al; out 10h,al
  const code = [
    0xb8, 5, 0, 0xe7, 0x50, 0xe7, 0x54, 0xb8, 7, 0, 0xe7, 0x54, 0xb8, 0xff, 0xff, 0x8e, 0xd8, 0xa2, 0x10, 0x80, 0xe6, 0x10,
  ];
  const g = new UnitGuest(t, kvm, code);
  const { sys } = kvm.device;
  const fds = [sys.eventfd(), sys.eventfd(), sys.eventfd()] as const;
  t.after(() => {
    for (const fd of fds) sys.close(fd);
  });
  setDoorbell(g.vm, fds[0], { space: "port", address: 0x50, size: 2 });
  setDoorbell(g.vm, fds[1], { space: "port", address: 0x54, size: 2, value: 7 });
  setDoorbell(g.vm, fds[2], { space: "memory", address: 0x108000, size: 1 });
  // 54h with another value than 7 is an access like any other.
  const e = g.run();
  assert.ok(e.kind === "io" && e.port === 0x54 && e.data.getUint16(e.at, true) === 5, JSON.stringify(e.kind));
  assert.equal(said(g), "10:ff");
  assert.deepEqual(
    fds.map((fd) => sys.eventfdTake(fd)),
    [1, 1, 1],
  );
  setDoorbell(g.vm, fds[0], { space: "port", address: 0x50, size: 2 }, false);
});

kvmTest("kvm-clock writes its page, and time in it goes on", (t, kvm) => {
  if (kvm.device.capability("clocksource") === 0) return t.skip("this KVM has no kvm-clock");
  // wrmsr 4b564d01h = 3001h (page 3000h, on); l: out 10h,al; jmp l.
  const code = [
    0x66, 0xb9, 0x01, 0x4d, 0x56, 0x4b, 0x66, 0xb8, 0x01, 0x30, 0, 0, 0x66, 0x31, 0xd2, 0x0f, 0x30, 0xe6, 0x10, 0xeb, 0xfc,
  ];
  const g = new UnitGuest(t, kvm, code);
  setCpuid(g.vcpu as KvmVcpu<unknown>, supportedCpuid(kvm.device));
  const view = new DataView(g.ram.u8.buffer, g.at + 0x3000, 32);
  const e = g.run();
  assert.ok(e.kind === "io" && e.port === 0x10, JSON.stringify(e.kind));
  const read = () => ({ version: view.getUint32(0, true), tsc: view.getBigUint64(8, true), ns: view.getBigUint64(16, true) });
  const first = read();
  assert.ok(first.version > 0 && first.version % 2 === 0 && first.tsc > 0n, `version ${first.version}`);
  const s = g.vcpu.getState();
  assert.equal(s.otherMsrs["4b564d01"], 0x3001n);
  // Set again, it is updated again, and does not go back.
  g.vcpu.setState(s);
  g.run();
  const second = read();
  assert.ok(second.ns >= first.ns && second.version >= first.version, `${second.ns} after ${first.ns}`);
});
