/** A guest that writes nonsense everywhere: no exception, bounded work, state that can be saved and restored. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Uart16550 } from "../char/uart16550.js";
import type { Device } from "../core/device.js";
import { IrqLine } from "../core/irq.js";
import { I8042 } from "../input/i8042.js";
import { Apic } from "../intc/apic.js";
import { ApicBus } from "../intc/apic-bus.js";
import { ApicPage } from "../intc/apic-page.js";
import { I8259Pair } from "../intc/i8259.js";
import { IoApic } from "../intc/ioapic.js";
import { Hpet } from "../timer/hpet.js";
import { I8254 } from "../timer/i8254.js";
import { Mc146818 } from "../timer/mc146818.js";
import { I8237Pair } from "./i8237.js";
import { Piix4Pm } from "./piix4-pm.js";
import { Port61 } from "./port61.js";
import { Port92 } from "./port92.js";
import { testContext } from "./test-context.js";

function machine() {
  const ctx = testContext();
  const pic = new I8259Pair(ctx, new IrqLine());
  const bus = new ApicBus(ctx.trace);
  const none = () => {};
  const cpu = { updateInterrupt: none, nmi: none, smi: none, init: none, startup: none };
  const apics = [0, 1].map((id) => new Apic(ctx, bus, cpu, { id, bsp: id === 0, tscToNs: Number }));
  let current = 0;
  new ApicPage(ctx, bus, apics, () => current).map(ctx.memory);
  const ioapic = new IoApic(ctx, bus, { picAcknowledge: () => pic.acknowledge() });
  const irq = (n: number) => pic.inputs[n]!;
  const pit = new I8254(ctx, irq(0));
  const a20 = new IrqLine();
  const kbc = new I8042(ctx, irq(1), irq(12), { a20, onReset: none });
  const pm = new Piix4Pm(ctx, irq(9), { smm: false, onSleep: none });
  pm.attach({ bus: 0, devfn: 11, setIrq: none });
  const hpet = new Hpet(ctx, { gsi: ioapic.inputs, irq0: irq(0), irq8: irq(8), msi: (a, d) => bus.deliverMsi(a, d) });
  const devices: Device[] = [
    pic,
    ...apics,
    ioapic,
    pit,
    new Port61(ctx, pit),
    new Mc146818(ctx, irq(8)),
    new I8237Pair(ctx),
    new Port92({ a20, onReset: none }),
    kbc,
    pm,
    hpet,
  ];
  const uart = new Uart16550(ctx, irq(4), undefined);
  uart.map(ctx.io, 0x3f8);
  devices.push(uart);
  for (const d of devices) {
    // The PM function and the serial port have no fixed place.
    if (d !== uart && (d as Device) !== pm && "map" in d)
      (d as unknown as { map(s: unknown): void }).map(d === ioapic || d === hpet ? ctx.memory : ctx.io);
    d.reset();
  }
  pm.pm.map(ctx.io);
  pm.configWrite(0x40, 4, 0xb001);
  pm.configWrite(0x80, 1, 1);
  return {
    ctx,
    devices,
    apics,
    pic,
    kbc,
    switchCpu: (n: number) => {
      current = n;
    },
  };
}

const PORTS = [
  [0x00, 16],
  [0x20, 2],
  [0x40, 4],
  [0x60, 5],
  [0x70, 2],
  [0x80, 16],
  [0x92, 1],
  [0xa0, 2],
  [0xb2, 2],
  [0xc0, 32],
  [0x3f8, 8],
  [0x4d0, 2],
  [0xafe0, 4],
  [0xb000, 64],
] as const;
const MMIO = [
  [0xfec00000, 0x50],
  [0xfed00000, 0x160],
  [0xfee00000, 0x400],
] as const;

for (const seed of [1, 2, 3])
  test(`hostile guest, seed ${seed}`, () => {
    const m = machine();
    let state = seed;
    const random = (n: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * n);
    };
    const sizes = [1, 2, 4] as const;
    for (let i = 0; i < 20000; i++) {
      const io = random(3) > 0;
      const list = io ? PORTS : MMIO;
      const [base, length] = list[random(list.length)]!;
      const size = sizes[random(3)]!;
      const addr = base + random(length);
      const value = random(4) ? random(256) : random(2 ** 32);
      const space = io ? m.ctx.io : m.ctx.memory;
      if (random(3)) space.write(addr, size, value >>> 0);
      else {
        const v = space.read(addr, size);
        assert.ok(v >= 0 && v < 2 ** (8 * size) && Number.isInteger(v), `read ${addr.toString(16)} gives ${v}`);
      }
      if (random(8) === 0) {
        m.ctx.clock.advance(random(1e6));
        m.ctx.timers.runDue();
      }
      if (random(8) === 0) m.pic.acknowledge();
      if (random(8) === 0) m.apics[random(2)]!.acknowledge();
      if (random(16) === 0) m.kbc.keyboard.keyEvent("pause", true);
      if (random(16) === 0) m.kbc.mouse.mouseEvent(random(1e6), -random(1e6), 1, random(32));
      if (random(64) === 0) m.switchCpu(random(2));
      if (random(64) === 0) m.apics[0]!.writeMsr(0x800 + random(0x40), BigInt(random(2 ** 32)));
    }
    m.ctx.log.length = 0;
    for (const d of m.devices) {
      const saved = d.save();
      d.restore(structuredClone(saved) as typeof saved);
      assert.deepEqual(d.save(), saved, d.type);
      d.reset();
    }
    assert.equal(m.kbc.save().full, null);
  });
