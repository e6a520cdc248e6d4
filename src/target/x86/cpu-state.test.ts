/** The vCPU state out of the translator and back: nothing is lost, and the XSAVE area is the architecture's. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MSR_ROWS, type X86CpuState, XSAVE } from "./cpu-state.js";
import { type EnvAccess, readCpuState, writeCpuState } from "./cpu-state-tcg.js";
import * as L from "./layout.js";
import { BareMachine } from "./runtime-tests/bare-machine.js";

const machine = new BareMachine();
const access: EnvAccess = {
  u8: new Uint8Array(machine.rt.memory.buffer),
  view: machine.rt.view,
  runtime: machine.rt.exports as unknown as EnvAccess["runtime"],
  tsc: () => 1000,
};
const env = machine.rt.env;

/** A state in which every field differs from its reset value. */
function unusual(): X86CpuState {
  machine.reset();
  const s = readCpuState(access, env);
  let n = 0x0123_4567_89ab_cd00n;
  for (const k of Object.keys(s.gpr)) s.gpr[k as "rax"] = n++;
  s.rip = 0xffff_8000_1234_5678n;
  // CF AF SF OF DF IF NT, IOPL 3, ID.
  s.rflags = 0x207fd7n & ~0x144n;
  let i = 0;
  for (const seg of Object.values(s.segments))
    Object.assign(seg, { selector: 0x10 + 8 * i++, base: n++, limit: 0xffffffff, flags: 0x00c09300 });
  s.segments.cs.flags = 0x00a09b00;
  s.gdtr = { base: n++, limit: 0x7f };
  s.idtr = { base: n++, limit: 0xfff };
  s.control = { cr0: 0x80050033n, cr2: n++, cr3: 0x1000n, cr4: 0x6a0n, efer: 0xd01n, xcr0: 3n };
  s.pdpte = [n++, n++, n++, n++];
  s.debug = { dr0: n++, dr1: n++, dr2: n++, dr3: n++, dr6: 0xffff0ff1n, dr7: 0x401n };
  s.tsc = 0x1_0000_0005n;
  for (const r of MSR_ROWS) s.msrs[r.name] = n++;
  s.otherMsrs = { "4b564d00": 0x1235n };
  const x = new Uint8Array(XSAVE.bytes);
  for (let k = 0; k < 256; k++) {
    x[XSAVE.xmm + k] = k;
    x[XSAVE.ymmh + k] = 255 - k;
  }
  for (let r = 0; r < 8; r++) for (let k = 0; k < 10; k++) x[XSAVE.st + 16 * r + k] = 16 * r + k + 1;
  const v = new DataView(x.buffer);
  v.setUint16(XSAVE.fcw, 0x37e, true);
  // TOP 5; invalid operation pending and unmasked: ES and B.
  v.setUint16(XSAVE.fsw, 0x8081 | (5 << 11), true);
  v.setUint8(XSAVE.ftw, 0xe1);
  v.setUint16(XSAVE.fop, 0x7ab, true);
  v.setBigUint64(XSAVE.fip, 0xffff_8000_0000_1111n, true);
  v.setBigUint64(XSAVE.fdp, 0x7fff_0000_2222n, true);
  v.setUint32(XSAVE.mxcsr, 0x9fc0, true);
  v.setUint32(XSAVE.mxcsrMask, 0xffff, true);
  v.setBigUint64(XSAVE.xstateBv, 7n, true);
  s.xsave = x;
  s.fpuSelectors = { fcs: 0x33, fds: 0x2b };
  Object.assign(s.events, {
    activity: "halted",
    interruptShadow: "sti",
    nmiPending: true,
    nmiBlocked: true,
    initPending: true,
    sipiVector: 0x9f,
    pendingDebug: 0x4000,
    smbase: 0xa0000,
  });
  return s;
}

test("a loaded state reads back as it was", () => {
  const s = unusual();
  machine.reset();
  const carried = writeCpuState(access, env, s);
  assert.deepEqual(readCpuState(access, env, carried), s);
});

test("every activity and shadow reads back", () => {
  for (const activity of ["running", "halted", "wait-for-sipi", "shutdown"] as const)
    for (const interruptShadow of ["none", "sti", "mov-ss"] as const) {
      const s = unusual();
      Object.assign(s.events, { activity, interruptShadow, smm: true });
      const carried = writeCpuState(access, env, s);
      assert.deepEqual(readCpuState(access, env, carried).events, s.events, `${activity} ${interruptShadow}`);
    }
});

test("lazy flags become RFLAGS", () => {
  machine.reset();
  // 3 - 5 as a long subtraction: borrow, sign, half borrow.
  machine.set(L.CC_OP, BigInt(L.CC_SUB + 2));
  machine.set(L.CC_DST, 3n);
  machine.set(L.CC_SRC, 5n);
  const s = readCpuState(access, env);
  assert.equal(s.rflags, 0x93n);
  writeCpuState(access, env, s);
  assert.equal(machine.flags, 0x93);
});

test("the register stack is relative to TOP in the area, absolute in the state", () => {
  machine.reset();
  machine.rt.set32(L.FTOP, 6);
  machine.set(L.FPR + 6 * 16, 0x8000_0000_0000_0000n);
  const area = new DataView(readCpuState(access, env).xsave.buffer);
  assert.equal(area.getUint16(XSAVE.fsw, true), 6 << 11);
  assert.equal(area.getBigUint64(XSAVE.st, true), 0x8000_0000_0000_0000n);
});

test("a component whose XSTATE_BV bit is clear is in its initial state", () => {
  const s = unusual();
  new DataView(s.xsave.buffer).setBigUint64(XSAVE.xstateBv, 0n, true);
  writeCpuState(access, env, s);
  assert.equal(machine.rt.get32(L.FCW), 0x37f);
  assert.equal(machine.rt.get32(L.FTAGS), 0xff);
  assert.deepEqual([machine.get(L.XMM), machine.get(L.FPR), machine.get(L.YMMH)], [0n, 0n, 0n]);
});

test("components beyond the translator's are carried along", () => {
  const s = unusual();
  const big = new Uint8Array(2696);
  big.set(s.xsave);
  big.fill(0x5a, XSAVE.bytes);
  new DataView(big.buffer).setBigUint64(XSAVE.xstateBv, 0xe7n, true);
  s.xsave = big;
  const carried = writeCpuState(access, env, s);
  assert.deepEqual(readCpuState(access, env, carried).xsave, big);
});

test("an area of no possible size is refused", () => {
  for (const bytes of [0, 512, 831, 4097]) {
    const s = unusual();
    s.xsave = new Uint8Array(bytes);
    assert.throws(() => writeCpuState(access, env, s), /XSAVE area/, String(bytes));
  }
});
