import assert from "node:assert/strict";
import { test } from "node:test";
import * as L from "../layout.js";
import { BareMachine, REG } from "./bare-machine.js";

const m = new BareMachine();
const { RAX, RBX, RCX, RDX } = REG;

/** Boundary values of an operand size. */
function values(size: number): bigint[] {
  const bits = BigInt(8 << size);
  const top = 1n << (bits - 1n);
  return [
    0n,
    1n,
    2n,
    0x55n,
    top - 1n,
    top,
    top + 1n,
    (1n << bits) - 2n,
    (1n << bits) - 1n,
    0x123456789abcdef0n & ((1n << bits) - 1n),
  ];
}

const parity = (v: bigint) => [...(v & 0xffn).toString(2)].filter((c) => c === "1").length % 2 === 0;

/** SF ZF PF of a result. */
function zsp(r: bigint, bits: bigint): number {
  return (r === 0n ? 0x40 : 0) | ((r >> (bits - 1n)) & 1n ? 0x80 : 0) | (parity(r) ? 4 : 0);
}

test("lazy flags of additions and subtractions", () => {
  m.reset();
  for (let size = 0; size < 4; size++) {
    const bits = BigInt(8 << size);
    const mask = (1n << bits) - 1n;
    const s = (v: bigint) => BigInt.asIntN(Number(bits), v);
    // Bits above the operand size are junk.
    const junk = size === 3 ? 0n : 0xa5a5a5a5a5a5a5a5n & ~mask;
    for (const x of values(size)) {
      for (const y of values(size)) {
        for (const c of [0n, 1n]) {
          const sum = (x + y + c) & mask;
          let want = zsp(sum, bits) | (x + y + c > mask ? 1 : 0) | (s(x) + s(y) + c !== s(sum) ? 0x800 : 0);
          want |= Number((x ^ y ^ sum) & 16n);
          const put = (op: number, dst: bigint, src: bigint) => {
            m.set(L.CC_OP, BigInt(op + size));
            m.set(L.CC_DST, dst | junk);
            m.set(L.CC_SRC, src | junk);
            m.set(L.CC_SRC2, c);
          };
          const name = `size ${size} ${x.toString(16)} ${y.toString(16)} ${c}`;
          put(L.CC_ADC, sum, y);
          assert.equal(Number(m.call("h_cc_compute")), want, `adc ${name}`);
          const diff = (x - y - c) & mask;
          want = zsp(diff, bits) | (x < y + c ? 1 : 0) | (s(x) - s(y) - c !== s(diff) ? 0x800 : 0) | Number((x ^ y ^ diff) & 16n);
          put(L.CC_SBB, diff, y);
          assert.equal(Number(m.call("h_cc_compute")), want, `sbb ${name}`);
          if (c) continue;
          put(L.CC_SUB, x, y);
          assert.equal(Number(m.call("h_cc_compute")), want, `sub ${name}`);
          // Conditions B, E, BE, L, LE after a comparison.
          const conditions = [x < y, x === y, x <= y, s(x) < s(y), s(x) <= s(y)];
          for (const [i, cc] of [2, 4, 6, 12, 14].entries()) {
            assert.equal(m.call("h_cond", 0, 0, cc), conditions[i] ? 1n : 0n, `cond ${cc} ${name}`);
            assert.equal(m.call("h_cond", 0, 0, cc + 1), conditions[i] ? 0n : 1n);
          }
          put(L.CC_ADD, (x + y) & mask, y);
          want = zsp(sum, bits) | (x + y > mask ? 1 : 0) | (s(x) + s(y) !== s(sum) ? 0x800 : 0) | Number((x ^ y ^ sum) & 16n);
          assert.equal(Number(m.call("h_cc_compute")), want, `add ${name}`);
        }
      }
    }
  }
});

test("flags of INC, DEC, shifts, MUL, logic", () => {
  m.reset();
  const rows: [string, number, bigint, bigint, number][] = [
    ["inc to top", L.CC_INC, 0x80n, 1n, 0x891],
    ["inc to 0", L.CC_INC, 0n, 0n, 0x54],
    ["dec from top", L.CC_DEC, 0x7fn, 0n, 0x810],
    ["dec to -1", L.CC_DEC, 0xffn, 1n, 0x95],
    ["shl", L.CC_SHL, 0x80n, 0n, 0x880],
    ["shl, carry", L.CC_SHL, 0x80n, 1n, 0x81],
    ["shr", L.CC_SHR, 0x40n, 1n, 0x801],
    ["sar", L.CC_SHR, 0xc0n, 0n, 0x84],
    ["mul", L.CC_MUL, 1n, 0x100n, 0x801],
    ["logic", L.CC_LOGIC, 0x100n, 0n, 0x44],
  ];
  for (const [name, op, dst, src, want] of rows) {
    m.set(L.CC_OP, BigInt(op));
    m.set(L.CC_DST, dst);
    m.set(L.CC_SRC, src);
    assert.equal(Number(m.call("h_cc_compute")).toString(16), want.toString(16), name);
  }
});

test("DIV and IDIV", () => {
  m.reset();
  for (let size = 0; size < 4; size++) {
    const bits = BigInt(8 << size);
    const mask = (1n << bits) - 1n;
    const trial = (name: string, high: bigint, low: bigint, d: bigint, signed: boolean) => {
      if (size === 0) m.setReg(RAX, (high << 8n) | low);
      else {
        m.setReg(RAX, low);
        m.setReg(RDX, high);
      }
      let want = "#0(0)";
      const n = (high << bits) | low;
      const x = signed ? BigInt.asIntN(Number(bits) * 2, n) : n;
      const y = signed ? BigInt.asIntN(Number(bits), d) : d;
      if (y !== 0n) {
        const q = x / y;
        const fits = signed ? q === BigInt.asIntN(Number(bits), q) : q <= mask;
        if (fits) want = `${(q & mask).toString(16)} ${((x % y) & mask).toString(16)}`;
      }
      const r = m.call(signed ? "h_idiv" : "h_div", d, 0, size);
      const a = m.reg(RAX);
      const got =
        typeof r === "string"
          ? r
          : size === 0
            ? `${(a & 255n).toString(16)} ${((a >> 8n) & 255n).toString(16)}`
            : `${(a & mask).toString(16)} ${(m.reg(RDX) & mask).toString(16)}`;
      assert.equal(got, want, `${name} ${size}: ${high.toString(16)}:${low.toString(16)} / ${d.toString(16)}`);
    };
    for (const high of values(size)) {
      for (const low of values(size)) {
        for (const d of values(size)) {
          trial("div", high, low, d, false);
          trial("idiv", high, low, d, true);
        }
      }
    }
  }
});

test("high products", () => {
  for (const x of values(3)) {
    for (const y of values(3)) {
      assert.equal(m.call("h_mulhi_u", x, y), (x * y) >> 64n);
      const s = (BigInt.asIntN(64, x) * BigInt.asIntN(64, y)) >> 64n;
      assert.equal(m.call("h_mulhi_s", x, y), BigInt.asUintN(64, s));
    }
  }
});

test("RCL, RCR, SHLD, SHRD", () => {
  m.reset();
  for (let size = 0; size < 4; size++) {
    const bits = 8 << size;
    const mask = (1n << BigInt(bits)) - 1n;
    for (const v of values(size)) {
      for (const count of [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63]) {
        for (const cf of [0, 1]) {
          const n = (count & (size === 3 ? 63 : 31)) % (bits + 1);
          // One bit at a time.
          let [l, r, lc, rc] = [v, v, BigInt(cf), BigInt(cf)];
          for (let i = 0; i < n; i++) {
            const out = (l >> BigInt(bits - 1)) & 1n;
            l = ((l << 1n) | lc) & mask;
            lc = out;
            const low = r & 1n;
            r = (r >> 1n) | (rc << BigInt(bits - 1));
            rc = low;
          }
          const name = `size ${size} ${v.toString(16)} by ${count} CF ${cf}`;
          m.flags = 2 | cf;
          assert.equal(m.call("h_rcl", v, count, size), l, `rcl ${name}`);
          assert.equal(m.flags & 1, Number(lc), `rcl CF ${name}`);
          m.flags = 2 | cf;
          assert.equal(m.call("h_rcr", v, count, size), r, `rcr ${name}`);
          assert.equal(m.flags & 1, Number(rc), `rcr CF ${name}`);
        }
        const n = count & (size === 3 ? 63 : 31);
        if (size === 0 || n === 0 || n > bits) continue;
        const src = 0xfedcba9876543210n & mask;
        const left = (((v << BigInt(bits)) | src) >> BigInt(bits - n)) & mask;
        assert.equal(m.call("h_shld", v, src, size | (count << 8)), left, `shld ${size} ${v.toString(16)} ${count}`);
        assert.equal(m.flags & 1, Number((v >> BigInt(bits - n)) & 1n));
        const right = (((src << BigInt(bits)) | v) >> BigInt(n)) & mask;
        assert.equal(m.call("h_shrd", v, src, size | (count << 8)), right, `shrd ${size} ${v.toString(16)} ${count}`);
        assert.equal(m.flags & 1, Number((v >> BigInt(n - 1)) & 1n));
      }
    }
  }
});

test("decimal adjustments", () => {
  const rows: [string, number, number, number, number, number][] = [
    // helper, imm, AX, flags before, AX, flags after (CF AF ZF SF PF)
    ["h_daa", 0, 0x2e, 2, 0x34, 0x12],
    ["h_daa", 0, 0x9a, 2, 0x00, 0x57],
    ["h_daa", 0, 0x15, 3, 0x75, 0x03],
    ["h_das", 0, 0x2e, 2, 0x28, 0x16],
    ["h_das", 0, 0x05, 0x12, 0xff, 0x97],
    ["h_aaa", 0, 0x010b, 2, 0x0201, 0x13],
    ["h_aas", 0, 0x0205, 0x12, 0x000f, 0x17],
    ["h_aam", 10, 0x0063, 2, 0x0909, 0x06],
    ["h_aad", 10, 0x0909, 2, 0x0063, 0x06],
  ];
  for (const [name, imm, ax, before, want, flags] of rows) {
    m.reset();
    m.setReg(RAX, ax);
    m.flags = before;
    m.call(name, 0, 0, imm);
    assert.equal(m.reg(RAX).toString(16), want.toString(16), `${name} ${ax.toString(16)}`);
    assert.equal((m.flags & 0xd7).toString(16), flags.toString(16), `${name} ${ax.toString(16)}: flags`);
  }
  assert.equal(m.call("h_aam", 0, 0, 0), "#0(0)");
});

test("compare-and-exchange, locked operations", () => {
  m.reset();
  m.protect(0);
  for (const at of [0x5000, 0x5003, 0x5ffe]) {
    m.w32(at, 0x11223344);
    assert.equal(m.call("h_lock_add", at, 0x10, 2), 0x11223344n);
    assert.equal(m.p32(at), 0x11223354);
    m.setReg(RAX, 0x11223354);
    assert.equal(m.call("h_cmpxchg", at, 0x99, 2), 0x11223354n);
    assert.equal(m.p32(at), 0x99);
    assert.equal(m.call("h_cmpxchg", at, 0x77, 2), 0x99n);
    assert.equal(m.p32(at), 0x99);
    assert.equal(m.call("h_xchg", at, 0x55, 0), 0x99n);
    assert.equal(m.p32(at), 0x55);
    m.w64(at, 0x100000002n);
    for (const [r, v] of [
      [RAX, 2],
      [RDX, 1],
      [RBX, 7],
      [RCX, 8],
    ] as const)
      m.setReg(r, v);
    m.call("h_cmpxchg8b", at);
    assert.equal(m.flags & 0x40, 0x40);
    assert.equal(m.p64(at), 0x800000007n);
    m.call("h_cmpxchg8b", at);
    assert.equal(m.flags & 0x40, 0);
    assert.deepEqual([m.reg(RAX), m.reg(RDX)], [7n, 8n]);
  }
  assert.equal(m.call("h_cmpxchg16b", 0x5008), "#13(0)");
});

test("ENTER, BOUND, CRC32, PEXT, PDEP", () => {
  m.reset();
  m.protect(0);
  m.setReg(REG.RBP, 0x50000);
  m.w32(0x4fffc, 0xaaaa);
  m.setReg(REG.RSP, 0x40000);
  m.call("h_enter", 0x20, 2, 2);
  assert.deepEqual([m.p32(0x3fffc), m.p32(0x3fff8), m.p32(0x3fff4)], [0x50000, 0xaaaa, 0x3fffc]);
  assert.deepEqual([m.reg(REG.RBP), m.reg(REG.RSP)], [0x3fffcn, 0x3ffd4n]);
  m.w32(0x6000, 0xfffffff0);
  m.w32(0x6004, 0x10);
  assert.equal(m.call("h_bound", 0x6000, 0xfffffff0, 2), 0n);
  assert.equal(m.call("h_bound", 0x6000, 0x11, 2), "#5(0)");
  // The check value of CRC-32C over "123456789".
  let crc: bigint | string = 0xffffffffn;
  for (const c of "123456789") crc = m.call("h_crc32", crc as bigint, c.charCodeAt(0), 0);
  assert.equal((crc as bigint) ^ 0xffffffffn, 0xe3069283n);
  assert.equal(m.call("h_pext", 0xabcd, 0xf0f0), 0xacn);
  assert.equal(m.call("h_pdep", 0xac, 0xf0f0), 0xa0c0n);
});

test("FXSAVE and FXRSTOR, XSAVE and XRSTOR", () => {
  m.reset();
  m.long(0);
  m.set(L.CR4, 0x40220n);
  m.rt.exports.updateHflags();
  m.set(L.XCR0, 7n);
  const fill = () => {
    for (let i = 0; i < 0x80 + 0x100; i += 8)
      m.set(L.FPR + i, (i & 8) === 8 && i < 0x80 ? BigInt(0x4000 + i) : BigInt(i + 1) * 0x0101010101n);
    for (let i = 0; i < 0x100; i += 8) m.set(L.YMMH + i, BigInt(i + 3));
    m.rt.set32(L.FCW, 0x37f);
    m.rt.set32(L.FSW, 0x4100);
    m.rt.set32(L.FTOP, 3);
    m.rt.set32(L.FTAGS, 0x0f);
    m.rt.set32(L.MXCSR, 0x1fa0);
  };
  const image = (avx: boolean) => {
    const out = [m.rt.get32(L.FCW), m.rt.get32(L.FSW), m.rt.get32(L.FTOP), m.rt.get32(L.FTAGS), m.rt.get32(L.MXCSR)].map(BigInt);
    for (let i = 0; i < 0x180; i += 8) out.push(m.get(L.FPR + i));
    for (let i = 0; avx && i < 0x100; i += 8) out.push(m.get(L.YMMH + i));
    return out;
  };
  fill();
  let before = image(false);
  assert.equal(m.call("h_fxsave", 0x7000, 0, 1), 0n);
  assert.equal(m.p16(0x7002), 0x4100 | (3 << 11));
  assert.equal(m.p8(0x7004), 0xf0);
  m.rt.exports.resetCpu();
  m.long(0);
  assert.equal(m.call("h_fxrstor", 0x7000, 0, 1), 0n);
  assert.deepEqual(image(false), before);
  assert.equal(m.rt.get32(L.FP_FAST), 1);
  m.w32(0x7018, 0x10000);
  assert.equal(m.call("h_fxrstor", 0x7000, 0, 1), "#13(0)");
  assert.equal(m.call("h_fxrstor", 0x7008, 0, 1), "#13(0)");

  m.set(L.CR4, 0x40220n);
  m.set(L.XCR0, 7n);
  fill();
  before = image(true);
  m.setReg(RAX, 7);
  m.setReg(RDX, 0);
  assert.equal(m.call("h_xsave", 0x8000, 0, 1), 0n);
  assert.equal(m.p64(0x8200), 7n);
  m.w64(0x8200, 0n);
  assert.equal(m.call("h_xrstor", 0x8000, 0, 1), 0n);
  assert.deepEqual([m.rt.get32(L.FCW), m.rt.get32(L.FTAGS), m.get(L.XMM), m.get(L.YMMH)], [0x37f, 0xff, 0n, 0n], "initial state");
  m.w64(0x8200, 7n);
  assert.equal(m.call("h_xrstor", 0x8000, 0, 1), 0n);
  assert.deepEqual(image(true), before);
  m.w64(0x8200, 8n);
  assert.equal(m.call("h_xrstor", 0x8000, 0, 1), "#13(0)");
  assert.equal(m.call("h_xsave", 0x8010, 0, 1), "#13(0)");
});
