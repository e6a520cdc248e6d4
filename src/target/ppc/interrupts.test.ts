/**
 * Interrupts of supervisor and problem state on both tiers: vector, SRR0, SRR1, DAR, DSISR, where AIL and ILE lead, what
 * waits for MSR.EE, and the way back. Translation by a radix tree that the test builds, and by a hashed table.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { PpcRig } from "../../../testkit/ppc-rig.js";
import * as L from "./layout.js";

const SF = 1n << 63n;
const BASE = SF | BigInt(L.MSR_ME | L.MSR_RI | L.MSR_LE);
const ON = BASE | BigInt(L.MSR_IR | L.MSR_DR);
const USER = ON | BigInt(L.MSR_PR | L.MSR_EE);
const CODE = 0x10000;
const DATA = 0x20000;
const TABLES = 0x40000;
const KERNEL_BASE = 0xc000000000000000n;

/** Tree of 13, 9, 9, 9 bits, pages of 4 KiB. */
class Radix {
  private next = TABLES + 0x20000;
  constructor(readonly rig: PpcRig) {
    rig.map(TABLES, 0x100000);
    // Entry 0 is the kernel's (quadrant 3), entry 1 a process's: RTS = 52 - 31, root of 13 bits.
    for (const pid of [0, 1])
      this.put(TABLES + pid * 16, (2n << 61n) | (5n << 5n) | BigInt(TABLES + 0x10000 + pid * 0x10000) | 13n);
    this.next = TABLES + 0x30000;
    rig.cpu.lpcr = BigInt(L.LPCR_ILE | L.LPCR_HR | L.LPCR_UPRT | L.LPCR_GTSE);
    rig.cpu.setProcessTable(BigInt(TABLES));
    rig.cpu.setReg("pid", 1n);
  }
  private put(at: number, v: bigint): void {
    this.rig.ram.view.setBigUint64(this.rig.host(at), BigInt.asUintN(64, v), false);
  }
  private get(at: number): bigint {
    return this.rig.ram.view.getBigUint64(this.rig.host(at), false);
  }
  /** rights: EAA bits 1 execute, 2 read and write, 4 read, 8 privileged; reference and change are set. */
  page(ea: bigint, phys: number, rights: number): void {
    let table = TABLES + 0x10000 + (ea >> 62n === 0n ? 0x10000 : 0);
    let shift = 52n;
    for (const bits of [13n, 9n, 9n]) {
      shift -= bits;
      const at = table + Number((ea >> shift) & ((1n << bits) - 1n)) * 8;
      if (this.get(at) === 0n) {
        this.put(at, (1n << 63n) | BigInt(this.next) | 9n);
        this.next += 4096;
      }
      table = Number(this.get(at) & 0xffffff00n);
    }
    this.put(table + Number((ea >> 12n) & 511n) * 8, (3n << 62n) | BigInt(phys) | 0x180n | BigInt(rights));
    this.rig.cpu.flushTlb();
  }
}

interface Seen {
  vector: string;
  srr0: string;
  srr1: string;
  dar?: string;
  dsisr?: string;
}

const hex = (v: bigint) => BigInt.asUintN(64, v).toString(16);

interface Setup {
  readonly msr: bigint;
  readonly at?: bigint;
  readonly lpcr?: bigint;
  readonly gpr?: readonly [number, bigint][];
  readonly prepare?: (rig: PpcRig, radix: Radix) => void;
}

/** Runs words at CODE (also mapped at the same address for users and at 0xc000... for the kernel) to the first interrupt. */
function run(tier: 0 | 1, words: readonly number[], o: Setup): { seen: Seen; rig: PpcRig } {
  const rig = new PpcRig({ tier, threshold: 1 });
  rig.map(CODE, 0x1000);
  rig.map(DATA, 0x3000);
  const radix = new Radix(rig);
  for (const at of [0x0n, BigInt(CODE)])
    for (let p = 0n; p < 16n; p++) radix.page(KERNEL_BASE + at + p * 4096n, Number(at + p * 4096n), 2 | 4 | 1 | 8);
  radix.page(BigInt(CODE), CODE, 4 | 1);
  radix.page(BigInt(DATA), DATA, 4 | 2);
  radix.page(BigInt(DATA + 0x1000), DATA + 0x1000, 4);
  radix.page(BigInt(DATA + 0x2000), DATA + 0x2000, 8 | 4 | 2);
  for (const [i, w] of words.entries()) rig.poke32(CODE + i * 4, w);
  if (o.lpcr !== undefined) rig.cpu.lpcr = rig.cpu.lpcr | o.lpcr;
  o.prepare?.(rig, radix);
  let seen: Seen | undefined;
  rig.onHypercall = (cpu) => {
    const vector = cpu.reg("nip") - 4n;
    seen = { vector: hex(vector), srr0: hex(cpu.reg("srr0")), srr1: hex(cpu.reg("srr1")) };
    const v = Number(vector & 0xfffn);
    if (v === 0x300 || v === 0x380 || v === 0x600) seen.dar = hex(cpu.reg("dar"));
    if (v === 0x300) seen.dsisr = hex(cpu.reg("dsisr"));
    rig.exitCode = 0;
    cpu.stop();
  };
  // sc's vector too ends the run here.
  rig.poke32(0xc00, 0x44000022);
  for (let v = 0x100; v < 0x1000; v += 0x20) rig.poke32(0x4000 + v, 0x44000022);
  rig.map(0x4000, 0x1000);
  rig.cpu.start(o.at ?? BigInt(CODE), 0n, o.msr);
  for (const [n, v] of o.gpr ?? []) rig.cpu.setGpr(n, v);
  rig.run(10_000);
  return { seen: seen!, rig };
}

const insn = {
  sc: 0x44000002,
  trap: 0x7fe00008,
  nop: 0x60000000,
  illegal: 0x00000000,
  mfmsr: 0x7c6000a6,
  fadd: 0xfc22182a,
  vand: 0x10221c04,
  xxlor: 0xf0221c90,
  bctar: 0x4e800460,
  lwarx: 0x7c601828,
  ld: 0xe8640000,
  std: 0xf8640000,
  blr: 0x4e800020,
  tdnei: 0x0b030000 | (24 << 21),
} as const;

const at = (n: number) => hex(BigInt(CODE + n));
const s1 = (msr: bigint, cause = 0n) => hex(msr | cause);

const ROWS: readonly [string, readonly number[], Setup, Seen][] = [
  ["system call", [insn.nop, insn.sc], { msr: BASE }, { vector: "c00", srr0: at(8), srr1: s1(BASE) }],
  ["system call of a process", [insn.sc], { msr: USER }, { vector: "c00", srr0: at(4), srr1: s1(USER) }],
  ["trap", [insn.nop, insn.trap], { msr: BASE }, { vector: "700", srr0: at(4), srr1: s1(BASE, 0x20000n) }],
  ["conditional trap", [insn.tdnei], { msr: BASE, gpr: [[3, 1n]] }, { vector: "700", srr0: at(0), srr1: s1(BASE, 0x20000n) }],
  ["illegal instruction", [insn.illegal], { msr: BASE }, { vector: "700", srr0: at(0), srr1: s1(BASE, 0x80000n) }],
  ["privileged instruction", [insn.mfmsr], { msr: USER }, { vector: "700", srr0: at(0), srr1: s1(USER, 0x40000n) }],
  ["floating point unavailable", [insn.fadd], { msr: BASE }, { vector: "800", srr0: at(0), srr1: s1(BASE) }],
  ["vector unavailable", [insn.vand], { msr: BASE }, { vector: "f20", srr0: at(0), srr1: s1(BASE) }],
  ["VSX unavailable", [insn.xxlor], { msr: BASE }, { vector: "f40", srr0: at(0), srr1: s1(BASE) }],
  ["facility unavailable", [insn.bctar], { msr: USER }, { vector: "f60", srr0: at(0), srr1: s1(USER) }],
  [
    "alignment",
    [insn.lwarx],
    { msr: BASE, gpr: [[3, BigInt(DATA + 2)]] },
    { vector: "600", srr0: at(0), srr1: s1(BASE), dar: hex(BigInt(DATA + 2)) },
  ],
  [
    "load from nowhere",
    [insn.ld],
    { msr: USER, gpr: [[4, 0x123456000n]] },
    { vector: "300", srr0: at(0), srr1: s1(USER), dar: "123456000", dsisr: "40000000" },
  ],
  [
    "store to nowhere",
    [insn.nop, insn.std],
    { msr: USER, gpr: [[4, 0x123456000n]] },
    { vector: "300", srr0: at(4), srr1: s1(USER), dar: "123456000", dsisr: "42000000" },
  ],
  [
    "store to a read-only page",
    [insn.std],
    { msr: USER, gpr: [[4, BigInt(DATA + 0x1000)]] },
    { vector: "300", srr0: at(0), srr1: s1(USER), dar: hex(BigInt(DATA + 0x1000)), dsisr: "a000000" },
  ],
  [
    "a process reads the kernel's page",
    [insn.ld],
    { msr: USER, gpr: [[4, BigInt(DATA + 0x2008)]] },
    { vector: "300", srr0: at(0), srr1: s1(USER), dar: hex(BigInt(DATA + 0x2008)), dsisr: "8000000" },
  ],
  [
    "a load across the end of what is mapped",
    [insn.ld],
    { msr: USER, gpr: [[4, BigInt(DATA + 0x1ffc)]] },
    { vector: "300", srr0: at(0), srr1: s1(USER), dar: hex(BigInt(DATA + 0x2000)), dsisr: "8000000" },
  ],
  [
    "an address of no quadrant",
    [insn.ld],
    { msr: USER, gpr: [[4, 0x4000000000000000n]] },
    { vector: "380", srr0: at(0), srr1: s1(USER), dar: "4000000000000000" },
  ],
  [
    "jump to nowhere",
    [insn.blr],
    { msr: USER, prepare: (rig) => rig.cpu.setReg("lr", 0x7000000n) },
    { vector: "400", srr0: "7000000", srr1: s1(USER, 0x40000000n) },
  ],
  [
    "jump to data",
    [insn.blr],
    { msr: USER, prepare: (rig) => rig.cpu.setReg("lr", BigInt(DATA)) },
    { vector: "400", srr0: hex(BigInt(DATA)), srr1: s1(USER, 0x10000000n) },
  ],
  [
    "jump out of the quadrants",
    [insn.blr],
    { msr: USER, prepare: (rig) => rig.cpu.setReg("lr", 0x8000000000000000n) },
    { vector: "480", srr0: "8000000000000000", srr1: s1(USER) },
  ],
  [
    "AIL 3: relocated",
    [insn.sc],
    { msr: USER, lpcr: 3n << BigInt(L.LPCR_AIL_SHIFT) },
    { vector: "c000000000004c00", srr0: at(4), srr1: s1(USER) },
  ],
  [
    "AIL 3 from real mode: not relocated",
    [insn.sc],
    { msr: BASE, lpcr: 3n << BigInt(L.LPCR_AIL_SHIFT) },
    { vector: "c00", srr0: at(4), srr1: s1(BASE) },
  ],
  [
    "external interrupt",
    [0x48000000],
    { msr: BASE | BigInt(L.MSR_EE), prepare: (rig) => rig.cpu.setExternal(true) },
    { vector: "500", srr0: at(0), srr1: s1(BASE | BigInt(L.MSR_EE)) },
  ],
  [
    "decrementer",
    [0x48000000],
    { msr: BASE | BigInt(L.MSR_EE), prepare: (rig) => rig.cpu.decrementerExpired() },
    { vector: "900", srr0: at(0), srr1: s1(BASE | BigInt(L.MSR_EE)) },
  ],
  [
    "an interrupt waits for mtmsrd",
    // li r3,EE|RI by ori; nop; mtmsrd r3,1; b .
    [0x38600002, 0x60638000, insn.nop, 0x7c610164, 0x48000000],
    { msr: BASE, prepare: (rig) => rig.cpu.setExternal(true) },
    { vector: "500", srr0: at(16), srr1: s1(BASE | BigInt(L.MSR_EE)) },
  ],
  [
    "system reset is not masked",
    [0x48000000],
    { msr: BASE, prepare: (rig) => rig.cpu.systemReset() },
    { vector: "100", srr0: at(0), srr1: s1(BASE) },
  ],
];

for (const tier of [0, 1] as const)
  for (const [name, words, setup, expected] of ROWS)
    test(`${name}: tier ${tier}`, () => {
      const { seen, rig } = run(tier, words, setup);
      assert.deepEqual(seen, expected);
      const located = expected.vector.length > 4;
      const msr = SF | BigInt(L.MSR_ME | L.MSR_LE) | (located ? BigInt(L.MSR_IR | L.MSR_DR) : 0n);
      assert.equal(hex(rig.cpu.msr), hex(msr), "MSR in the handler");
      if (name === "facility unavailable")
        assert.equal(Number(BigInt.asUintN(64, rig.ram.view.getBigUint64(rig.env + L.SPR + 8 * L.SPR_FSCR, true)) >> 56n), 8);
    });

test("interrupt of a little-endian program into a big-endian kernel (ILE 0)", () => {
  const rig = new PpcRig({ tier: 0 });
  rig.cpu.lpcr = 0n;
  rig.map(CODE, 0x1000);
  rig.poke32(CODE, insn.sc);
  // sc 1 in big-endian order.
  rig.ram.view.setUint32(rig.host(0xc00), 0x44000022, false);
  rig.onHypercall = (cpu) => {
    rig.exitCode = 0;
    cpu.stop();
  };
  rig.cpu.start(BigInt(CODE), 0n, BASE);
  rig.run(100);
  assert.equal(rig.cpu.littleEndian, false);
  assert.equal(rig.cpu.reg("srr1") & 1n, 1n);
});

for (const tier of [0, 1] as const)
  test(`rfid goes back to problem state: tier ${tier}`, () => {
    // In supervisor state: rfid to the user's sc.
    const { seen } = run(tier, [0x4c000024, insn.nop, insn.sc], {
      msr: BASE,
      prepare: (rig) => {
        rig.cpu.setReg("srr0", BigInt(CODE + 8));
        rig.cpu.setReg("srr1", USER);
      },
    });
    assert.deepEqual(seen, { vector: "c00", srr0: at(12), srr1: s1(USER) });
  });

test("the hashed table: a page, its protection, reference and change bits", () => {
  for (const tier of [0, 1] as const) {
    const rig = new PpcRig({ tier, threshold: 1 });
    rig.map(CODE, 0x1000);
    rig.map(DATA, 0x2000);
    const hpt = rig.ram.allocate("hpt", 32768).hostOffset;
    rig.ram.u8.fill(0, hpt, hpt + 32768);
    rig.cpu.setHashTable(hpt, 32768);
    // Segment 0: VSID 1, 256 MiB, keys off; slots of the group by the hash VSID ^ page.
    const enter = (ea: number, phys: number, pp: number): number => {
      const page = ea >>> 12;
      const group = (1 ^ page) & (32768 / 128 - 1);
      let at = hpt + group * 128;
      while (rig.ram.view.getBigUint64(at, false) !== 0n) at += 16;
      rig.ram.view.setBigUint64(at, (1n << 12n) | (BigInt(ea >>> 23) << 7n) | 1n, false);
      rig.ram.view.setBigUint64(at + 8, BigInt(phys) | BigInt(pp), false);
      return at;
    };
    enter(CODE, CODE, 2);
    const data = enter(DATA, DATA, 2);
    const readOnly = enter(DATA + 0x1000, DATA + 0x1000, 3);
    // slbmte r4,r5 in real mode; then rfid to the translated program: std, ld, std to the read-only page.
    const words = [0x7c802b24, 0x4c000024, 0xf8660000, 0xe8e60000, 0xf8680000];
    for (const [i, w] of words.entries()) rig.poke32(CODE + i * 4, w);
    let seen: string[] = [];
    rig.onHypercall = (cpu) => {
      seen = [hex(cpu.reg("nip") - 4n), hex(cpu.reg("srr0")), hex(cpu.reg("dar")), hex(cpu.reg("dsisr"))];
      rig.exitCode = 0;
      cpu.stop();
    };
    rig.cpu.start(BigInt(CODE), 0n, BASE);
    rig.cpu.setReg("srr0", BigInt(CODE + 8));
    rig.cpu.setReg("srr1", ON);
    rig.cpu.setGpr(4, 1n << 12n);
    rig.cpu.setGpr(5, 0x08000000n);
    rig.cpu.setGpr(3, 0x123456789abcdef0n);
    rig.cpu.setGpr(6, BigInt(DATA));
    rig.cpu.setGpr(8, BigInt(DATA + 0x1000));
    rig.run(1000);
    assert.deepEqual(seen, ["300", at(16), hex(BigInt(DATA + 0x1000)), "a000000"], `tier ${tier}`);
    assert.equal(rig.cpu.gpr(7), 0x123456789abcdef0n);
    assert.equal(rig.ram.view.getBigUint64(data + 8, false) & 0x180n, 0x180n, "R and C");
    assert.equal(rig.ram.view.getBigUint64(readOnly + 8, false) & 0x180n, 0n, "no R, no C");
  }
});
