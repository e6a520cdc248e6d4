/** The user-visible state that one instruction test starts from and ends in; the record format of host-cpu.c. */

/** Fixed addresses, the same for the guest and for the host program. */
export const CODE_AT = 0x110000;
export const DATA_AT = 0x120000;
export const STACK_AT = 0x130000;
/** Where the memory operands of a state lie. */
export const MEMORY_AT = DATA_AT + 0x800;
export const MEMORY_BYTES = 512;
/** The middle of that memory: where tests point their registers. */
export const MIDDLE = MEMORY_AT + 256;

export const RECORD = 1536;
const AT_GPR = 32;
const AT_FLAGS = 160;
const AT_FX = 176;
const AT_MEMORY = 688;
const AT_STACK = AT_MEMORY + MEMORY_BYTES;

export class CpuState {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(bytes?: Uint8Array) {
    this.bytes = bytes ? bytes.slice() : new Uint8Array(RECORD);
    this.view = new DataView(this.bytes.buffer);
    if (bytes) return;
    this.flags = 0x202;
    this.mxcsr = 0x1f80;
    this.fcw = 0x37f;
    this.setGpr(4, BigInt(STACK_AT + 0x800));
  }

  copy(): CpuState {
    return new CpuState(this.bytes);
  }

  /** Signal or exception: 0 none. */
  get trap(): number {
    return this.bytes[0]!;
  }
  set trap(v: number) {
    this.bytes[0] = v;
  }

  setCode(code: readonly number[]): void {
    this.bytes[0] = code.length;
    this.bytes.fill(0, 1, 32);
    this.bytes.set(code, 1);
  }

  gpr(n: number): bigint {
    return this.view.getBigUint64(AT_GPR + 8 * n, true);
  }
  setGpr(n: number, v: bigint): void {
    this.view.setBigUint64(AT_GPR + 8 * n, v, true);
  }

  get flags(): number {
    return this.view.getUint32(AT_FLAGS, true);
  }
  set flags(v: number) {
    this.view.setUint32(AT_FLAGS, v, true);
  }

  get fcw(): number {
    return this.view.getUint16(AT_FX, true);
  }
  set fcw(v: number) {
    this.view.setUint16(AT_FX, v, true);
  }
  /** With TOP. */
  get fsw(): number {
    return this.view.getUint16(AT_FX + 2, true);
  }
  set fsw(v: number) {
    this.view.setUint16(AT_FX + 2, v, true);
  }
  /** One bit a physical register: 1 = valid. */
  get ftw(): number {
    return this.bytes[AT_FX + 4]!;
  }
  set ftw(v: number) {
    this.bytes[AT_FX + 4] = v;
  }
  get mxcsr(): number {
    return this.view.getUint32(AT_FX + 24, true);
  }
  set mxcsr(v: number) {
    this.view.setUint32(AT_FX + 24, v, true);
  }

  /** ST(i) (i counts from TOP): ten bytes. */
  st(i: number): Uint8Array {
    return this.bytes.subarray(AT_FX + 32 + 16 * i, AT_FX + 42 + 16 * i);
  }
  xmm(n: number): Uint8Array {
    return this.bytes.subarray(AT_FX + 160 + 16 * n, AT_FX + 176 + 16 * n);
  }
  get memory(): Uint8Array {
    return this.bytes.subarray(AT_MEMORY, AT_MEMORY + MEMORY_BYTES);
  }
  /** 256 bytes around the stack pointer of the start. */
  get stack(): Uint8Array {
    return this.bytes.subarray(AT_STACK, AT_STACK + 256);
  }
}

const hex = (b: Uint8Array) =>
  [...b]
    .reverse()
    .map((x) => x.toString(16).padStart(2, "0"))
    .join("");
const GPRS = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(" ");

export interface CompareMasks {
  /** EFLAGS bits that are compared. */
  flags?: number;
  /** Bits of MXCSR and FSW that are compared. */
  mxcsr?: number;
  fsw?: number;
}

/** What differs, as lines; empty when equal. */
export function differences(want: CpuState, got: CpuState, m: CompareMasks = {}): string[] {
  const out: string[] = [];
  const num = (name: string, a: number, b: number) => {
    if (a !== b) out.push(`${name}: want ${a.toString(16)}, got ${b.toString(16)}`);
  };
  const bytes = (name: string, a: Uint8Array, b: Uint8Array) => {
    if (hex(a) !== hex(b)) out.push(`${name}: want ${hex(a)}, got ${hex(b)}`);
  };
  if (want.trap || got.trap) {
    num("trap", want.trap, got.trap);
    num("mxcsr", want.mxcsr & 0x3f, got.mxcsr & 0x3f);
    return out;
  }
  for (let n = 0; n < 16; n++)
    if (want.gpr(n) !== got.gpr(n)) out.push(`${GPRS[n]}: want ${want.gpr(n).toString(16)}, got ${got.gpr(n).toString(16)}`);
  const f = m.flags ?? 0xcd5;
  num("flags", want.flags & f, got.flags & f);
  num("mxcsr", want.mxcsr & (m.mxcsr ?? 0xffff), got.mxcsr & (m.mxcsr ?? 0xffff));
  num("fcw", want.fcw, got.fcw);
  num("fsw", want.fsw & (m.fsw ?? 0xffff), got.fsw & (m.fsw ?? 0xffff));
  num("ftw", want.ftw, got.ftw);
  for (let n = 0; n < 8; n++) bytes(`st${n}`, want.st(n), got.st(n));
  for (let n = 0; n < 16; n++) bytes(`xmm${n}`, want.xmm(n), got.xmm(n));
  for (let k = 0; k < MEMORY_BYTES; k += 16)
    bytes(`memory+${k - 256}`, want.memory.subarray(k, k + 16), got.memory.subarray(k, k + 16));
  for (let k = 0; k < 256; k += 16) bytes(`stack+${k - 128}`, want.stack.subarray(k, k + 16), got.stack.subarray(k, k + 16));
  return out;
}

/** The start state as text: only what is not zero. */
export function describe(s: CpuState): string {
  const parts: string[] = [];
  for (let n = 0; n < 16; n++) if (s.gpr(n)) parts.push(`${GPRS[n]}=${s.gpr(n).toString(16)}`);
  parts.push(
    `flags=${s.flags.toString(16)} mxcsr=${s.mxcsr.toString(16)} fcw=${s.fcw.toString(16)} fsw=${s.fsw.toString(16)} ftw=${s.ftw.toString(16)}`,
  );
  for (let n = 0; n < 8; n++) if (s.st(n).some((x) => x)) parts.push(`st${n}=${hex(s.st(n))}`);
  for (let n = 0; n < 16; n++) if (s.xmm(n).some((x) => x)) parts.push(`xmm${n}=${hex(s.xmm(n))}`);
  parts.push(`[middle]=${hex(s.memory.subarray(256, 272))}`);
  return parts.join(" ");
}
