/**
 * How fast this host's KVM is, by mode, in a few milliseconds: a KVM without hardware support runs 64-bit user code natively and
 * emulates everything else.
 */
import { AddressSpace } from "../../memory/address-space.js";
import { GuestRam } from "../../memory/ram.js";
import type { X86CpuState } from "../../target/x86/cpu-state.js";
import { BARE_CODE, BARE_RAM, type BareMode, enterBareGuest, loadBareGuest } from "./bare-guest.js";
import type { KvmDevice } from "./device.js";
import { X86Transfer } from "./state-x86.js";
import { KvmVcpu } from "./vcpu.js";
import { KvmVm } from "./vm.js";

/** Time for each mode. */
const SPAN_NS = 2_000_000;
const NO_LIMIT = { insns: 0, ns: 0 };
const PORT_EXITS = 100;

/** Million instructions a second of a counting loop, and the cost of an exit. */
export interface KvmSpeed {
  readonly real: number;
  readonly kernel64: number;
  readonly user64: number;
  readonly portExitUs: number;
}

/** A vCPU with RAM of its own. */
export class CalibrationGuest {
  readonly ram = new GuestRam(0, BARE_RAM + 0x10000);
  readonly vm: KvmVm;
  readonly vcpu: KvmVcpu<X86CpuState>;
  readonly bytes: Uint8Array;

  constructor(device: KvmDevice) {
    const memory = new AddressSpace("memory", 2 ** 40, this.ram);
    const block = this.ram.allocate("ram", BARE_RAM);
    memory.map(0, BARE_RAM, { kind: "ram", block, offset: 0 });
    this.bytes = this.ram.bytes(block);
    this.vm = new KvmVm(device, memory, this.ram);
    this.vm.mapMemory();
    const transfer = new X86Transfer(device, { irqchip: false, features: new Set(["lm", "syscall"]) });
    this.vcpu = new KvmVcpu(device.sys, this.vm.fd, 0, device.mmapBytes, transfer);
  }

  /** Puts the vCPU at the beginning of some code. */
  begin(code: ArrayLike<number>, mode: BareMode, handlers?: ReadonlyMap<number, number>): void {
    loadBareGuest(this.bytes, code, handlers);
    const s = this.vcpu.getState();
    enterBareGuest(s, mode);
    this.vcpu.setState(s);
  }

  dispose(): void {
    this.vcpu.dispose();
    this.vm.close();
  }
}

/** dec ecx; jnz: counts down from 2^32 - 1. In 64-bit mode, and in real mode with an operand size prefix. */
const LOOP64 = [0xff, 0xc9, 0x75, 0xfc];
const LOOP16 = [0x66, 0x49, 0x75, 0xfc];

/**
 * Whether SYSCALL in 64-bit user code enters ring 0. A KVM that runs user code natively without hardware may leave it in ring 3,
 * and then no operating system's programs can run on it.
 */
export function syscallEntersKernel(device: KvmDevice): boolean {
  const guest = new CalibrationGuest(device);
  try {
    // syscall; then, at its target, mov eax, cs; out 10h, al.
    const code = new Uint8Array(0x40);
    code.set([0x0f, 0x05]);
    code.set([0x8c, 0xc8, 0xe6, 0x10], 0x20);
    loadBareGuest(guest.bytes, code);
    const s = guest.vcpu.getState();
    enterBareGuest(s, "user");
    Object.assign(s.msrs, { star: 0x0020_0008_0000_0000n, lstar: BigInt(BARE_CODE + 0x20), sfmask: 0n });
    guest.vcpu.setState(s);
    const e = guest.vcpu.run(NO_LIMIT);
    return e.kind === "io" && (e.data.getUint8(e.at) & 3) === 0;
  } finally {
    guest.dispose();
  }
}

/** @param nowNs the host's clock */
export function calibrate(device: KvmDevice, nowNs: () => number): KvmSpeed {
  const guest = new CalibrationGuest(device);
  const alarm = device.sys.alarm();
  try {
    const rate = (mode: BareMode): number => {
      guest.begin(mode === "real" ? LOOP16 : LOOP64, mode);
      const start = nowNs();
      alarm.arm(SPAN_NS, SPAN_NS);
      const end = guest.vcpu.run(NO_LIMIT);
      alarm.disarm();
      const tookNs = nowNs() - start;
      if (end.kind !== "budget") return 0;
      const count = Number(BigInt.asUintN(32, -guest.vcpu.getState().gpr.rcx));
      return (2 * count * 1000) / tookNs;
    };
    const [real, kernel64, user64] = [rate("real"), rate("kernel"), rate("user")];
    // out 10h, al; jmp.
    guest.begin([0xe6, 0x10, 0xeb, 0xfc], "kernel");
    guest.vcpu.run(NO_LIMIT);
    const start = nowNs();
    for (let i = 0; i < PORT_EXITS; i++) guest.vcpu.run(NO_LIMIT);
    return { real, kernel64, user64, portExitUs: (nowNs() - start) / PORT_EXITS / 1000 };
  } finally {
    alarm.dispose();
    guest.dispose();
  }
}
