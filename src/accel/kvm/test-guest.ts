/** A vCPU in real mode for unit tests of KVM: code at 0:1000h, 1 MiB of RAM and a page of ROM. */
import type { TestContext } from "node:test";
import { AddressSpace } from "../../memory/address-space.js";
import { GuestRam } from "../../memory/ram.js";
import type { X86CpuState } from "../../target/x86/cpu-state.js";
import type { VcpuExit } from "../exits.js";
import type { KvmHost } from "./host.js";
import { type IrqchipKind, KvmIrqchip } from "./irqchip.js";
import { X86Transfer } from "./state-x86.js";
import { KvmVcpu } from "./vcpu.js";
import { KvmVm } from "./vm.js";

const RAM = 1 << 20;
/** Read-only memory after it, then nothing. */
export const ROM = 0x200000;
export const CODE = 0x1000;
const HANG_NS = 5e9;
const NO_LIMIT = { insns: 0, ns: 0 };
const FEATURES = new Set("sep pat mtrr syscall lm tsc-adjust".split(" "));

/** One vCPU in real mode with its code at 0:1000h, 1 MiB of RAM and a page of ROM. */
export class UnitGuest {
  readonly ram = new GuestRam(0, RAM + 0x10000);
  readonly memory = new AddressSpace("memory", 2 ** 40, this.ram);
  readonly vm: KvmVm;
  readonly vcpu: KvmVcpu<X86CpuState>;
  readonly at: number;
  /** Controllers in the kernel, when asked for. */
  readonly irqchip: KvmIrqchip | undefined;

  constructor(
    t: TestContext,
    { device }: KvmHost,
    code: readonly number[],
    change: (s: X86CpuState) => void = () => {},
    kind: IrqchipKind = "off",
  ) {
    const block = this.ram.allocate("ram", RAM);
    const rom = this.ram.allocate("rom", 0x1000);
    this.at = block.hostOffset;
    this.memory.map(0, RAM, { kind: "ram", block, offset: 0 });
    this.memory.map(ROM, 0x1000, { kind: "rom", block: rom, offset: 0 });
    this.vm = new KvmVm(device, this.memory, this.ram);
    this.vm.mapMemory();
    this.irqchip = kind === "off" ? undefined : new KvmIrqchip(this.vm, kind);
    this.vm.interceptMsrs([{ first: 0x6e0, count: 1 }]);
    this.vcpu = new KvmVcpu(
      device.sys,
      this.vm.fd,
      0,
      device.mmapBytes,
      new X86Transfer(device, { irqchip: kind !== "off", features: FEATURES }),
    );
    t.after(() => {
      this.vcpu.dispose();
      this.vm.close();
    });
    this.ram.u8.set(code, this.at + CODE);
    const s = this.vcpu.getState();
    for (const n of ["cs", "ds", "es", "ss"] as const) Object.assign(s.segments[n], { selector: 0, base: 0n });
    s.rip = BigInt(CODE);
    s.rflags = 2n;
    s.gpr.rsp = 0x7000n;
    change(s);
    this.vcpu.setState(s);
  }

  /** Runs to the next exit; a guest that waits or spins for ever is "budget". */
  run(): VcpuExit {
    const alarm = this.vm.sys.alarm();
    alarm.arm(HANG_NS, HANG_NS);
    try {
      for (;;) {
        const e = this.vcpu.run(NO_LIMIT);
        if (e.kind !== "asked") return e;
      }
    } finally {
      alarm.dispose();
    }
  }

  byte(at: number): number {
    return this.ram.u8[this.at + at]!;
  }

  /** Real-mode vector to a handler that writes its number to port 31h. */
  vector(n: number): void {
    const at = 0x2000 + n * 16;
    this.ram.u8.set([at & 255, at >> 8, 0, 0], this.at + n * 4);
    this.ram.u8.set([0xb0, n, 0xe6, 0x31, 0xcf], this.at + at);
  }
}
