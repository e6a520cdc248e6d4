import assert from "node:assert/strict";
import { test } from "node:test";
import { ENGINE_BYTES } from "../../../accel/tcg/map.js";
import * as L from "../layout.js";
import { BareMachine, MMIO } from "./bare-machine.js";

const m = new BareMachine();
const CR3_AT = 0x100000;

/** Paging mode: CR0.WP on, as given. */
function paging(cr4: bigint, efer: bigint, wp = true): void {
  m.reset();
  m.set(L.CR0, wp ? 0x80010001n : 0x80000001n);
  m.set(L.CR4, cr4);
  m.set(L.EFER, efer);
  m.set(L.CR3, BigInt(CR3_AT));
  m.rt.exports.updateHflags();
  m.rt.exports.flushTlb(0);
}

const READ = 0;
const WRITE = 1;
const EXEC = 2;
const USER = 0;
const KERNEL = 1;
const SMAP = 2;

/** Physical address of an access, or the fault. */
function access(linear: bigint, mmu: number, kind: number): string {
  const r = m.try(() => m.rt.exports.tlbFill(linear, mmu, kind) as number);
  if (typeof r === "string") return r;
  const phys = m.rt.view.getUint32((r >>> 0) + L.TLB_PHYS, true) & 0x0fffffff;
  return (BigInt(phys) * 4096n + (linear & 0xfffn)).toString(16);
}

test("32-bit paging", () => {
  const rows: [string, number, number, bigint, number, number, string, boolean?][] = [
    // name, PDE, PTE, linear, mmu, kind, result, WP off
    ["not present PDE", 0, 0, 0x400123n, KERNEL, READ, "#14(0)@400123"],
    ["not present PTE", 0x101007, 0, 0x400123n, USER, WRITE, "#14(6)@400123"],
    ["user read", 0x101007, 0x5007, 0x400123n, USER, READ, "5123"],
    ["user read of supervisor page", 0x101007, 0x5003, 0x400123n, USER, READ, "#14(5)@400123"],
    ["user read, supervisor PDE", 0x101003, 0x5007, 0x400123n, USER, READ, "#14(5)@400123"],
    ["user write of read-only", 0x101007, 0x5005, 0x400123n, USER, WRITE, "#14(7)@400123"],
    ["supervisor write of read-only, WP", 0x101007, 0x5001, 0x400123n, KERNEL, WRITE, "#14(3)@400123"],
    ["supervisor write of read-only, no WP", 0x101007, 0x5001, 0x400123n, KERNEL, WRITE, "5123", true],
    ["4 MiB page", 0x4000e7, 0, 0x412345n, USER, WRITE, "412345"],
    ["4 MiB page, PSE-36", 0x4040e7, 0, 0x412345n, USER, READ, "200412345"],
    ["4 MiB page, reserved bit 21", 0x6000e7, 0, 0x412345n, USER, READ, "#14(d)@412345"],
    ["page table in a device", 0x801007, 0, 0x400000n, KERNEL, READ, "fffff000"],
  ];
  for (const [name, pde, pte, linear, mmu, kind, want, noWp] of rows) {
    paging(0x10n, 0n, !noWp);
    m.w32(CR3_AT + 4, pde);
    if ((pde & ~0xfff) === 0x101000) m.w32(0x101000, pte);
    assert.equal(access(linear, mmu, kind), want, name);
  }
});

test("accessed and dirty bits", () => {
  paging(0n, 0n);
  m.w32(CR3_AT, 0x101007);
  m.w32(0x101000 + 5 * 4, 0x5007);
  access(0x5000n, USER, READ);
  assert.equal(m.p32(CR3_AT), 0x101027);
  assert.equal(m.p32(0x101014), 0x5027);
  // The read must not have made the page writable without setting D.
  m.rt.exports.st32(0x5000n, 7n, USER);
  assert.equal(m.p32(0x101014), 0x5067);
  assert.equal(m.p32(0x5000), 7);
  // A failing access changes nothing.
  m.w32(0x101018, 0x6001);
  assert.equal(access(0x6000n, USER, READ), "#14(5)@6000");
  assert.equal(m.p32(0x101018), 0x6001);
});

test("PAE paging", () => {
  const NX = 1n << 63n;
  const rows: [string, bigint, bigint, number, number, string][] = [
    ["4 KiB", 0x102007n, 0x5007n, USER, READ, "5123"],
    ["no execute", 0x102007n, 0x5007n | NX, USER, EXEC, "#14(15)@600123"],
    ["no execute in the PDE", 0x102007n | NX, 0x5007n, KERNEL, EXEC, "#14(11)@600123"],
    ["NX page is readable", 0x102007n, 0x5007n | NX, USER, READ, "5123"],
    ["reserved bit 52 of a PTE", 0x102007n, 0x5007n | (1n << 52n), USER, READ, "#14(d)@600123"],
    ["beyond the physical width", 0x102007n, 0x5007n | (1n << 41n), USER, READ, "#14(d)@600123"],
    ["2 MiB page", 0x600087n, 0n, USER, READ, "600123"],
    ["2 MiB page, reserved bit 13", 0x602087n, 0n, USER, READ, "#14(d)@600123"],
    ["not present", 0x102007n, 0n, USER, EXEC, "#14(14)@600123"],
  ];
  for (const [name, pde, pte, mmu, kind, want] of rows) {
    paging(0x20n, 0x800n);
    m.w64(CR3_AT, 0x101001n);
    m.w64(0x101000 + 3 * 8, pde);
    m.w64(0x102000, pte);
    assert.equal(m.rt.exports.writeCr3(BigInt(CR3_AT)), 1, name);
    assert.equal(access(0x600123n, mmu, kind), want, name);
  }
  // PDPTEs are checked when CR3 is loaded, and only then read.
  paging(0x20n, 0x800n);
  m.w64(CR3_AT, 0x101003n);
  assert.equal(m.call("h_mov_to_cr", CR3_AT, 0, 3), "#13(0)");
});

test("4-level paging", () => {
  const NX = 1n << 63n;
  const rows: [string, bigint[], bigint, number, number, string, bigint?][] = [
    // name, PML4E PDPTE PDE PTE, linear, mmu, kind, result, extra CR4
    ["4 KiB", [0x101007n, 0x102007n, 0x103007n, 0x5007n], 0x7fffff123n, USER, READ, "5123"],
    ["2 MiB", [0x101007n, 0x102007n, 0x400087n], 0x7ffe12345n, USER, READ, "412345"],
    ["1 GiB", [0x101007n, 0x87n], 0x7c0012345n, USER, WRITE, "12345"],
    ["1 GiB, reserved bit 13", [0x101007n, 0x2087n], 0x7c0012345n, USER, WRITE, "#14(f)@7c0012345"],
    ["PS in the PML4E", [0x101087n], 0x7c0012345n, USER, READ, "#14(d)@7c0012345"],
    ["not canonical", [], 0x800000000000n, KERNEL, READ, "#13(0)"],
    ["not canonical, stack", [], 0x800000000000n, KERNEL + 4, READ, "#12(0)"],
    ["upper half", [0x101003n, 0x102003n, 0x103003n, 0x5003n], 0xfffff87fffffff10n, KERNEL, READ, "5f10"],
    ["no execute, supervisor", [0x101007n, 0x102007n, 0x103007n | NX, 0x5007n], 0x7fffff123n, KERNEL, EXEC, "#14(11)@7fffff123"],
    ["SMEP", [0x101007n, 0x102007n, 0x103007n, 0x5007n], 0x7fffff123n, KERNEL, EXEC, "#14(11)@7fffff123", 0x100000n],
    ["SMAP", [0x101007n, 0x102007n, 0x103007n, 0x5007n], 0x7fffff123n, SMAP, READ, "#14(1)@7fffff123", 0x200000n],
    ["SMAP, supervisor page", [0x101007n, 0x102007n, 0x103007n, 0x5003n], 0x7fffff123n, SMAP, WRITE, "5123", 0x200000n],
  ];
  for (const [name, entries, linear, mmu, kind, want, extra] of rows) {
    paging(0x20n | (extra ?? 0n), 0xd00n);
    const at = [CR3_AT, 0x101000, 0x102000, 0x103000];
    entries.forEach((e, level) => {
      m.w64(at[level]! + Number((linear >> BigInt(39 - 9 * level)) & 511n) * 8, e);
    });
    assert.equal(access(linear, mmu, kind), want, name);
  }
});

test("loads and stores across pages, devices, ROM, code", () => {
  paging(0n, 0n);
  m.w32(CR3_AT, 0x101007);
  m.w32(0x101000 + 5 * 4, 0x5007);
  m.w32(0x101000 + 6 * 4, 0x9007);
  m.w32(0x101000 + 8 * 4, MMIO + 7);
  m.rt.exports.st64(0x5ffdn, 0x1122334455667788n, USER);
  assert.deepEqual([...m.bytes(0x5ffd, 3), ...m.bytes(0x9000, 5)], [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
  assert.equal(BigInt.asUintN(64, m.rt.exports.ld64(0x5ffdn, USER)), 0x1122334455667788n);
  // The second page faults: nothing of the first is written.
  assert.equal(
    m.try(() => m.rt.exports.st32(0x6ffen, 0xffffffffn, USER)),
    "#14(6)@7000",
  );
  assert.deepEqual(m.bytes(0x9ffe, 2), [0, 0]);
  m.readValue = 0x42;
  assert.equal(m.rt.exports.ld16(0x8004n, USER), 0x42n);
  m.rt.exports.st64(0x8008n, 0x100000002n, USER);
  assert.deepEqual(m.log, ["r2 801004", "w4 801008=2", "w4 80100c=1"]);
  assert.equal(m.rt.exports.probe(0x8000n, 4, USER, READ), 0, "a device has no host page");
  assert.equal(m.rt.exports.probe(0x7000n, 4, USER, READ), 0, "nor an absent page");
  assert.equal(m.rt.exports.probe(0x5ffdn, 4, USER, READ), 0, "nor a crossing access");
  assert.equal(m.rt.exports.probe(0x5123n, 4, USER, WRITE), ENGINE_BYTES + 0x5000);
  m.rt.exports.protectCode(ENGINE_BYTES + 0x5000);
  assert.equal(m.rt.exports.probe(0x5123n, 4, USER, WRITE), 0, "code");
  m.rt.exports.st16(0x5123n, 1n, USER);
  assert.deepEqual(m.codeWrites, ["5123+2"]);
  m.rt.exports.unprotectCode(ENGINE_BYTES + 0x5000);
  assert.equal(m.rt.exports.probe(0x5123n, 4, USER, WRITE), ENGINE_BYTES + 0x5000);
});

test("INVLPG, global pages, A20", () => {
  paging(0x80n, 0n);
  m.w32(CR3_AT, 0x101007);
  m.w32(0x101000 + 5 * 4, 0x5107);
  m.w32(0x101000 + 6 * 4, 0x6007);
  const ld = (a: bigint) => m.try(() => m.rt.exports.ld32(a, KERNEL));
  assert.equal(ld(0x5000n), 0n);
  assert.equal(ld(0x6000n), 0n);
  m.w32(0x101000 + 5 * 4, 0);
  m.w32(0x101000 + 6 * 4, 0);
  assert.equal(ld(0x6000n), 0n, "still in the TLB");
  const gen = m.rt.get32(L.TLB_GEN);
  m.rt.exports.writeCr3(BigInt(CR3_AT));
  assert.notEqual(m.rt.get32(L.TLB_GEN), gen);
  assert.equal(ld(0x6000n), "#14(0)@6000");
  assert.equal(ld(0x5000n), 0n, "global");
  m.rt.exports.invlpg(0x5000n);
  assert.equal(ld(0x5000n), "#14(0)@5000");

  m.reset();
  m.w32(0x1000, 0x11111111);
  m.rt.set32(L.A20_MASK, 0xffefffff);
  m.rt.exports.flushTlb(0);
  assert.equal(m.rt.exports.ld32(0x101000n, KERNEL), 0x11111111n);
});
