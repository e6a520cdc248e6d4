import assert from "node:assert/strict";
import { test } from "node:test";
import { testContext } from "../misc/test-context.js";
import { Apic, type ApicCpu } from "./apic.js";
import { ApicBus } from "./apic-bus.js";
import { ApicPage } from "./apic-page.js";
import { IoApic } from "./ioapic.js";

class Cpu implements ApicCpu {
  log: string[] = [];
  updates = 0;
  updateInterrupt(): void {
    this.updates++;
  }
  nmi(): void {
    this.log.push("nmi");
  }
  smi(): void {
    this.log.push("smi");
  }
  init(): void {
    this.log.push("init");
  }
  startup(v: number): void {
    this.log.push(`sipi ${v.toString(16)}`);
  }
}

const PAGE = 0xfee00000;

function smp(n = 4) {
  const ctx = testContext();
  const bus = new ApicBus(ctx.trace);
  const cpus = Array.from({ length: n }, () => new Cpu());
  const apics = cpus.map((c, id) => new Apic(ctx, bus, c, { id, bsp: id === 0, tscToNs: (t) => Number(t) / 2 }));
  let current = 0;
  const page = new ApicPage(ctx, bus, apics, () => current);
  page.map(ctx.memory);
  const ioapic = new IoApic(ctx, bus);
  ioapic.map(ctx.memory);
  const on = (cpu: number) => {
    current = cpu;
  };
  const w = (off: number, v: number) => ctx.memory.write(PAGE + off, 4, v >>> 0);
  const r = (off: number) => ctx.memory.read(PAGE + off, 4);
  for (let i = 0; i < n; i++) {
    on(i);
    w(0xf0, 0x1ff);
  }
  on(0);
  const icr = (dest: number, low: number) => {
    w(0x310, (dest << 24) >>> 0);
    w(0x300, low);
  };
  const redirect = (pin: number, low: number, dest = 0) => {
    ctx.memory.write(0xfec00000, 4, 0x11 + 2 * pin);
    ctx.memory.write(0xfec00010, 4, (dest << 24) >>> 0);
    ctx.memory.write(0xfec00000, 4, 0x10 + 2 * pin);
    ctx.memory.write(0xfec00010, 4, low);
  };
  const entry = (pin: number) => {
    ctx.memory.write(0xfec00000, 4, 0x10 + 2 * pin);
    return ctx.memory.read(0xfec00010, 4);
  };
  const vectors = () => apics.map((a) => a.pendingVector());
  return { ctx, bus, cpus, apics, page, ioapic, on, w, r, icr, redirect, entry, vectors };
}
type M = ReturnType<typeof smp>;

const rows: [string, (m: M) => unknown, unknown][] = [
  [
    "id and version",
    (m) => {
      m.on(2);
      return [m.r(0x20), m.r(0x30), m.r(0xe0), m.r(0xd0)];
    },
    [0x02000000, 0x50014, 0xffffffff, 0],
  ],
  ["fixed physical IPI", (m) => [m.icr(2, 0x4031), m.vectors()][1], [-1, -1, 0x31, -1]],
  ["broadcast by destination", (m) => [m.icr(0xff, 0x4031), m.vectors()][1], [0x31, 0x31, 0x31, 0x31]],
  ["shorthand self", (m) => [m.icr(0, 0x44031), m.vectors()][1], [0x31, -1, -1, -1]],
  ["shorthand all", (m) => [m.icr(0, 0x84031), m.vectors()][1], [0x31, 0x31, 0x31, 0x31]],
  ["shorthand others", (m) => [m.icr(0, 0xc4031), m.vectors()][1], [-1, 0x31, 0x31, 0x31]],
  [
    "logical flat",
    (m) => {
      for (let i = 0; i < 4; i++) {
        m.on(i);
        m.w(0xd0, (1 << (24 + i)) >>> 0);
      }
      m.on(0);
      m.icr(0x0a, 0x4831);
      return m.vectors();
    },
    [-1, 0x31, -1, 0x31],
  ],
  [
    "logical cluster",
    (m) => {
      [0x11, 0x12, 0x21, 0x22].forEach((l, i) => {
        m.on(i);
        m.w(0xe0, 0x0fffffff);
        m.w(0xd0, (l << 24) >>> 0);
      });
      m.on(0);
      m.icr(0x23, 0x4831);
      return m.vectors();
    },
    [-1, -1, 0x31, 0x31],
  ],
  [
    "lowest priority: lowest TPR, then in turn",
    (m) => {
      for (let i = 0; i < 4; i++) {
        m.on(i);
        m.w(0xd0, (1 << (24 + i)) >>> 0);
      }
      m.apics[0]!.tpr = 0x20;
      m.apics[3]!.tpr = 0x20;
      for (const v of [0x41, 0x42, 0x43]) m.icr(0x0f, 0x4900 | v);
      return m.vectors();
    },
    [-1, 0x43, 0x42, -1],
  ],
  [
    "NMI, SMI, INIT, STARTUP; INIT de-assert is nothing",
    (m) => {
      m.icr(1, 0x4400);
      m.icr(1, 0x4200);
      m.icr(1, 0xc500);
      m.icr(1, 0x8500);
      m.icr(1, 0x4699);
      m.on(1);
      return [m.cpus[1]!.log, m.r(0xf0)];
    },
    [["nmi", "smi", "init", "sipi 99"], 0xff],
  ],
  [
    "priorities: IRR, ISR, PPR, EOI",
    (m) => {
      const a = m.apics[0]!;
      m.icr(0, 0x44041);
      const first = a.acknowledge();
      m.icr(0, 0x44045);
      const sameClass = a.pendingVector();
      m.icr(0, 0x44055);
      const higher = a.acknowledge();
      const ppr = m.r(0xa0);
      m.w(0xb0, 0);
      const afterEoi = [a.pendingVector(), m.r(0xa0), m.r(0x120), m.r(0x220)];
      m.w(0xb0, 0);
      return [first, sameClass, higher, ppr, afterEoi, a.pendingVector()];
    },
    [0x41, -1, 0x55, 0x50, [-1, 0x40, 2, 0x20], 0x45],
  ],
  [
    "TPR masks; acknowledge after that is spurious",
    (m) => {
      const a = m.apics[0]!;
      m.icr(0, 0x44041);
      m.w(0x80, 0x40);
      return [a.hasInterrupt(), a.acknowledge(), m.r(0x220)];
    },
    [false, 0xff, 2],
  ],
  [
    "illegal vectors set ESR and raise the error interrupt",
    (m) => {
      m.w(0x370, 0xfe);
      m.icr(0, 0x44003);
      const before = m.r(0x280);
      m.w(0x280, 0);
      const e = m.r(0x280);
      m.bus.deliverMsi(0xfee00000, 5);
      m.w(0x280, 0);
      return [before, e, m.r(0x280), m.apics[0]!.pendingVector()];
    },
    [0, 0x20, 0x40, 0xfe],
  ],
  [
    "software disable masks LVT and refuses fixed",
    (m) => {
      m.w(0x320, 0x20);
      m.w(0xf0, 0xff);
      const lvt = m.r(0x320);
      m.w(0x320, 0x20);
      m.icr(0, 0x44041);
      return [lvt, m.r(0x320), m.vectors()[0]];
    },
    [0x10020, 0x10020, -1],
  ],
  [
    "8259 through LINT0",
    (m) => {
      const [bsp, ap] = [m.apics[0]!, m.apics[1]!];
      const start = [bsp.acceptsPicInterrupt(), ap.acceptsPicInterrupt()];
      m.w(0x350, 0x10700);
      const masked = bsp.acceptsPicInterrupt();
      bsp.writeApicBase(0xfee00100n);
      return [...start, masked, bsp.acceptsPicInterrupt(), m.r(0x20)];
    },
    [true, false, false, true, 0xffffffff],
  ],
  [
    "LINT1 is NMI",
    (m) => {
      m.w(0x360, 0x400);
      m.apics[0]!.lint[1].pulse();
      return m.cpus[0]!.log;
    },
    ["nmi"],
  ],
  [
    "MSI: physical, logical with hint, edge",
    (m) => {
      m.ctx.memory.write(0xfee03000, 4, 0x4061);
      m.ctx.memory.write(0xfee00000, 4, 0x0062);
      return m.vectors();
    },
    [0x62, -1, -1, 0x61],
  ],
  ["MSI elsewhere", (m) => m.bus.deliverMsi(0, 0x41), false],
  [
    "one-shot timer",
    (m) => {
      m.w(0x3e0, 0x0b);
      m.w(0x320, 0x30);
      m.w(0x380, 1000);
      m.ctx.run(400);
      const mid = m.r(0x390);
      m.ctx.run(599);
      const before = m.vectors()[0];
      m.ctx.run(1);
      return [mid, before, m.vectors()[0], m.r(0x390), m.ctx.timers.nextDeadlineNs()];
    },
    [600, -1, 0x30, 0, Number.POSITIVE_INFINITY],
  ],
  [
    "periodic timer, divided by 16",
    (m) => {
      m.w(0x3e0, 3);
      m.w(0x320, 0x20030);
      m.w(0x380, 10000);
      let n = 0;
      for (let i = 0; i < 10; i++) {
        m.ctx.run(160_000);
        if (m.apics[0]!.acknowledge() === 0x30) n++;
        m.w(0xb0, 0);
      }
      return [n, m.r(0x390)];
    },
    [10, 10000],
  ],
  [
    "a period of 1 ns is held at 20 us",
    (m) => {
      m.w(0x3e0, 0x0b);
      m.w(0x320, 0x20030);
      m.w(0x380, 1);
      const before = m.cpus[0]!.updates;
      for (let i = 0; i < 1000; i++) {
        m.ctx.run(1000);
        if (m.apics[0]!.hasInterrupt()) m.apics[0]!.acknowledge();
        m.w(0xb0, 0);
      }
      return m.cpus[0]!.updates - before <= 102;
    },
    true,
  ],
  [
    "TSC deadline",
    (m) => {
      const a = m.apics[0]!;
      a.setTscDeadline(5000n);
      const ignored = a.tscDeadline;
      m.w(0x320, 0x40030);
      a.setTscDeadline(5000n);
      m.ctx.run(2499);
      const before = [a.tscDeadline, a.pendingVector()];
      m.ctx.run(1);
      return [ignored, before, a.tscDeadline, a.pendingVector()];
    },
    [0n, [5000n, -1], 0n, 0x30],
  ],
  [
    "IA32_APIC_BASE transitions",
    (m) => {
      const a = m.apics[1]!;
      const go = (v: bigint) => a.writeApicBase(0xfee00000n | v);
      return [
        go(0x400n),
        go(0xc00n),
        a.x2,
        go(0x800n),
        go(0x000n),
        go(0xc00n),
        go(0x800n),
        a.writeApicBase(1n << 40n),
        a.writeApicBase(0xfee00801n),
      ];
    },
    [false, true, true, false, true, false, true, false, false],
  ],
  [
    "x2APIC registers",
    (m) => {
      const a = m.apics[3]!;
      const early = a.readMsr(0x802);
      a.writeApicBase(0xfee00c00n);
      return [
        early,
        a.readMsr(0x802),
        a.readMsr(0x80d),
        a.readMsr(0x80b),
        a.writeMsr(0x80b, 1n),
        a.writeMsr(0x80b, 0n),
        a.writeMsr(0x802, 1n),
        a.writeMsr(0x808, 0x100n),
        a.readMsr(0x80e),
        a.writeMsr(0x831, 0n),
        a.writeMsr(0x83f, 0x77n),
        a.pendingVector(),
      ];
    },
    [undefined, 3n, 8n, undefined, false, true, false, false, undefined, false, true, 0x77],
  ],
  [
    "x2APIC ICR: 32-bit physical, logical, broadcast",
    (m) => {
      for (const a of m.apics) a.writeApicBase(a.readApicBase() | 0x400n);
      const a = m.apics[0]!;
      a.writeMsr(0x830, (2n << 32n) | 0x4051n);
      a.writeMsr(0x830, (0x0000000an << 32n) | 0x4852n);
      const v = m.vectors();
      a.writeMsr(0x830, (0xffffffffn << 32n) | 0x4063n);
      a.writeMsr(0x830, (0xffn << 32n) | 0x4073n);
      return [v, m.vectors(), a.readMsr(0x830)];
    },
    [[-1, 0x52, 0x51, 0x52], [0x63, 0x63, 0x63, 0x63], (0xffn << 32n) | 0x4073n],
  ],
  [
    "the page can lie over RAM",
    (m) => {
      m.apics[0]!.writeApicBase(0x1900n);
      return [m.ctx.memory.read(0x1030, 4), m.apics[0]!.writeApicBase(0xfee00900n), m.ctx.memory.read(0x1030, 4)];
    },
    [0x50014, true, 0],
  ],
  [
    "I/O APIC edge",
    (m) => {
      m.redirect(4, 0x44, 2);
      m.ioapic.inputs[4]!.pulse();
      return [m.vectors(), m.entry(4)];
    },
    [[-1, -1, 0x44, -1], 0x44],
  ],
  [
    "I/O APIC masked edge is lost, masked level is not",
    (m) => {
      m.redirect(4, 0x10044);
      m.redirect(5, 0x18045);
      m.ioapic.inputs[4]!.raise();
      m.ioapic.inputs[5]!.raise();
      m.redirect(4, 0x44);
      const a = m.vectors()[0];
      m.redirect(5, 0x8045);
      return [a, m.vectors()[0]];
    },
    [-1, 0x45],
  ],
  [
    "I/O APIC level: remote IRR until the EOI, again while high",
    (m) => {
      m.redirect(10, 0x8071);
      m.ioapic.inputs[10]!.raise();
      const e1 = m.entry(10);
      const a = m.apics[0]!;
      const v1 = a.acknowledge();
      const tmr = m.r(0x180 + 0x30);
      m.w(0xb0, 0);
      const v2 = a.acknowledge();
      m.ioapic.inputs[10]!.lower();
      m.w(0xb0, 0);
      return [e1, v1, tmr, v2, m.entry(10), a.pendingVector()];
    },
    [0xc071, 0x71, 0x20000, 0x71, 0x8071, -1],
  ],
  [
    "changing to edge clears remote IRR",
    (m) => {
      m.redirect(10, 0x8071);
      m.ioapic.inputs[10]!.raise();
      m.redirect(10, 0x10071);
      m.redirect(10, 0x8071);
      return m.entry(10);
    },
    0xc071,
  ],
  [
    "I/O APIC id and version",
    (m) => {
      const out: number[] = [];
      m.ctx.memory.write(0xfec00000, 4, 0);
      m.ctx.memory.write(0xfec00010, 4, 0x0f000000);
      for (const i of [0, 1, 2, 0x40]) {
        m.ctx.memory.write(0xfec00000, 4, i);
        out.push(m.ctx.memory.read(0xfec00010, 4));
      }
      return out;
    },
    [0x0f000000, 0x170020, 0x0f000000, 0],
  ],
];
for (const [name, run, want] of rows)
  test(`apic: ${name}`, () => {
    assert.deepEqual(run(smp()), want);
  });

test("apic: state survives", () => {
  const a = smp();
  a.icr(0, 0x44041);
  a.apics[0]!.acknowledge();
  a.icr(0, 0x44061);
  a.w(0x3e0, 3);
  a.w(0x320, 0x20030);
  a.w(0x380, 10000);
  a.redirect(3, 0x8044);
  a.ioapic.inputs[3]!.raise();
  const b = smp();
  b.apics[0]!.restore(a.apics[0]!.save());
  b.ioapic.restore(a.ioapic.save());
  assert.deepEqual(b.apics[0]!.save(), a.apics[0]!.save());
  assert.equal(b.apics[0]!.pendingVector(), 0x61);
  assert.equal(b.entry(3), a.entry(3));
});
