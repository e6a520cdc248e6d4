/**
 * One instruction (or a few) in a vCPU of KVM, with the records of insn-rig.ts: 64-bit user code, which every KVM runs on the
 * processor itself. It ends with OUT; exceptions end in a handler that says their vector.
 */
import { BARE_CODE, enterBareGuest, loadBareGuest } from "../src/accel/kvm/bare-guest.js";
import { CalibrationGuest } from "../src/accel/kvm/calibrate.js";
import type { KvmHost } from "../src/accel/kvm/host.js";
import { GPR_NAMES, XSAVE } from "../src/target/x86/cpu-state.js";
import { CODE_AT, type CpuState, DATA_AT, MEMORY_AT, MEMORY_BYTES, STACK_AT } from "./cpu-state.js";

const DONE_PORT = 0x10;
/** A handler's port is this and its vector. */
const TRAP_PORT = 0x40;
const HANDLERS_AT = BARE_CODE;
const NO_LIMIT = { insns: 0, ns: 0 };

export class KvmRig {
  private readonly guest: CalibrationGuest;

  constructor({ device }: KvmHost) {
    this.guest = new CalibrationGuest(device);
    const image = new Uint8Array(32 * 16);
    const handlers = new Map<number, number>();
    for (let n = 0; n < 32; n++) {
      // out TRAP_PORT + n, al; hlt.
      image.set([0xe6, TRAP_PORT + n, 0xf4], n * 16);
      handlers.set(n, HANDLERS_AT + n * 16);
    }
    loadBareGuest(this.guest.bytes, image, handlers);
  }

  /** Executes the state's code once; `trap` is the exception's vector, or 0. @returns undefined where KVM cannot run it */
  run(start: CpuState): CpuState | undefined {
    const { vcpu, bytes } = this.guest;
    const code = [...start.bytes.subarray(1, 1 + start.bytes[0]!), 0xe6, DONE_PORT];
    bytes.fill(0xf4, CODE_AT, CODE_AT + 64);
    bytes.set(code, CODE_AT);
    bytes.fill(0, DATA_AT, DATA_AT + 4096);
    bytes.set(start.memory, MEMORY_AT);
    bytes.fill(0, STACK_AT, STACK_AT + 4096);
    const s = vcpu.getState();
    enterBareGuest(s, "user");
    Object.assign(s.events, { exception: -1, interrupt: -1, activity: "running" });
    for (const [n, name] of GPR_NAMES.entries()) s.gpr[name] = start.gpr(n);
    s.rip = BigInt(CODE_AT);
    s.rflags = BigInt((start.flags & 0x244dd5) | 0x2);
    const x = new DataView(s.xsave.buffer);
    x.setUint16(XSAVE.fcw, start.fcw, true);
    x.setUint16(XSAVE.fsw, start.fsw, true);
    s.xsave[XSAVE.ftw] = start.ftw;
    x.setUint16(XSAVE.fop, 0, true);
    x.setBigUint64(XSAVE.fip, 0n, true);
    x.setBigUint64(XSAVE.fdp, 0n, true);
    x.setUint32(XSAVE.mxcsr, start.mxcsr, true);
    for (let i = 0; i < 8; i++) s.xsave.set(start.st(i), XSAVE.st + 16 * i);
    for (let n = 0; n < 16; n++) s.xsave.set(start.xmm(n), XSAVE.xmm + 16 * n);
    x.setBigUint64(XSAVE.xstateBv, 3n, true);
    vcpu.setState(s);
    const e = vcpu.run(NO_LIMIT);
    if (e.kind !== "io") return undefined;
    const out = start.copy();
    out.trap = e.port >= TRAP_PORT ? e.port - TRAP_PORT || 32 : 0;
    const end = vcpu.getState();
    for (const [n, name] of GPR_NAMES.entries()) out.setGpr(n, end.gpr[name]);
    out.flags = Number(end.rflags);
    const v = new DataView(end.xsave.buffer);
    out.fcw = v.getUint16(XSAVE.fcw, true);
    out.fsw = v.getUint16(XSAVE.fsw, true);
    out.ftw = end.xsave[XSAVE.ftw]!;
    for (let i = 0; i < 8; i++) out.st(i).set(end.xsave.subarray(XSAVE.st + 16 * i, XSAVE.st + 16 * i + 10));
    for (let n = 0; n < 16; n++) out.xmm(n).set(end.xsave.subarray(XSAVE.xmm + 16 * n, XSAVE.xmm + 16 * n + 16));
    out.mxcsr = v.getUint32(XSAVE.mxcsr, true);
    out.memory.set(bytes.subarray(MEMORY_AT, MEMORY_AT + MEMORY_BYTES));
    out.stack.set(bytes.subarray(STACK_AT + 0x800 - 128, STACK_AT + 0x800 + 128));
    return out;
  }

  dispose(): void {
    this.guest.dispose();
  }
}
