/** The three that run a workload for so many rounds: TCG, KVM, and the host itself. Each gives the nanoseconds it took. */
import { BARE_RAM, enterBareGuest, loadBareGuest } from "../../../accel/kvm/bare-guest.js";
import { CalibrationGuest } from "../../../accel/kvm/calibrate.js";
import type { KvmDevice } from "../../../accel/kvm/device.js";
import { TcgEngine } from "../../../accel/tcg/engine.js";
import { ENGINE_BYTES, MAP_RAM, PHYS_MAP } from "../../../accel/tcg/map.js";
import { Trace } from "../../../base/trace.js";
import { GuestRam } from "../../../memory/ram.js";
import { cpuModel } from "../../../target/x86/cpu-models.js";
import { type EnvAccess, readCpuState, writeCpuState } from "../../../target/x86/cpu-state-tcg.js";
import * as L from "../../../target/x86/layout.js";
import { applyModel, x86Target } from "../../../target/x86/target.js";
import { DONE_PORT, handlersOf, IRQ_VECTOR, imageOf, type Workload } from "./workloads.js";

export interface Runner {
  readonly name: "tcg" | "kvm" | "native";
  /** @returns nanoseconds, or undefined when it cannot run this one */
  run(w: Workload, rounds: number): number | undefined;
  dispose(): void;
}

const now = () => Number(process.hrtime.bigint());
const NO_LIMIT = { insns: 0, ns: 0 };
const TURN = 1_000_000;
const CACHE_LINE = 64;

export class KvmRunner implements Runner {
  readonly name = "kvm";
  private readonly guest: CalibrationGuest;

  constructor(device: KvmDevice) {
    this.guest = new CalibrationGuest(device);
  }

  run(w: Workload, rounds: number): number | undefined {
    const { vcpu } = this.guest;
    loadBareGuest(this.guest.bytes, imageOf(w), handlersOf(w));
    const s = vcpu.getState();
    enterBareGuest(s, w.mode);
    s.gpr.rcx = BigInt(rounds);
    s.gpr.rbx = BigInt(w.rbx ?? 0);
    vcpu.setState(s);
    vcpu.wantWindow = w.interrupts === true;
    const start = now();
    for (;;) {
      const e = vcpu.run(NO_LIMIT);
      if (e.kind === "io" && e.port === DONE_PORT) break;
      if (e.kind === "interrupt-window") vcpu.interrupt(IRQ_VECTOR);
      else if (e.kind !== "io" && e.kind !== "mmio" && e.kind !== "asked" && e.kind !== "budget") return undefined;
    }
    const took = now() - start;
    vcpu.wantWindow = false;
    return took;
  }

  dispose(): void {
    this.guest.dispose();
  }
}

export class TcgRunner implements Runner {
  readonly name = "tcg";
  private readonly ram = new GuestRam(ENGINE_BYTES, BARE_RAM);
  private readonly bytes: Uint8Array;
  private readonly engine: TcgEngine;
  private readonly access: EnvAccess;
  private done = false;
  private interrupts = false;

  constructor(runtime: WebAssembly.Module) {
    const block = this.ram.allocate("ram", BARE_RAM);
    this.bytes = this.ram.bytes(block);
    const model = cpuModel("qemu64", []);
    this.engine = new TcgEngine(
      this.ram,
      x86Target(model),
      runtime,
      1,
      {
        ioRead: () => 0,
        ioWrite: (port) => {
          if (port !== DONE_PORT) return;
          this.done = true;
          this.engine.signal(0, L.EV_EXIT);
        },
        physRead: () => 0,
        physWrite: () => {},
        tsc: now,
        msrRead: () => 0,
        msrWrite: () => 0,
        acknowledge: () => IRQ_VECTOR,
        tprRead: () => 0,
        tprWrite: () => {},
        cpuid: (_cpu, _leaf, _subleaf, out) => void out.fill(0),
        random: () => {},
        notify: () => {},
      },
      new Trace(),
      true,
    );
    applyModel(this.ram.u32, this.engine.envOf(0), model);
    for (let p = 0; p < BARE_RAM / 4096; p++) this.ram.u32[(PHYS_MAP >>> 2) + p] = (block.hostOffset + p * 4096) | MAP_RAM;
    const r = this.engine.runtime as unknown as EnvAccess["runtime"];
    this.access = { u8: this.ram.u8, view: this.ram.view, runtime: r, tsc: now };
  }

  run(w: Workload, rounds: number): number {
    const { engine, access } = this;
    loadBareGuest(this.bytes, imageOf(w), handlersOf(w));
    engine.select(0);
    engine.runtime.resetCpu();
    const env = engine.envOf(0);
    const s = readCpuState(access, env);
    enterBareGuest(s, w.mode);
    s.gpr.rcx = BigInt(rounds);
    s.gpr.rbx = BigInt(w.rbx ?? 0);
    writeCpuState(access, env, s);
    engine.flushAll();
    engine.mapChanged();
    this.done = false;
    this.interrupts = w.interrupts === true;
    const start = now();
    // The controller's line stays up: a new interrupt as soon as the last one is served.
    while (!this.done) {
      if (this.interrupts) engine.signal(0, L.EV_INTR);
      engine.run(0, this.interrupts ? 1 : TURN);
    }
    return now() - start;
  }

  dispose(): void {}
}

/** Machine code called in this process. */
export class NativeRunner implements Runner {
  readonly name = "native";

  private constructor(
    private readonly memory: { readonly bytes: Uint8Array; readonly address: number },
    private readonly call: (address: number, rounds: number, data: number) => void,
    private readonly data: number,
  ) {}

  /** @returns undefined where the FFI library is missing */
  static async make(): Promise<NativeRunner | undefined> {
    try {
      const { nativeCode } = await import("../../../host/node/native-code.js");
      const n = await nativeCode(4096, 1 << 20);
      return new NativeRunner(n.code, n.call, n.data);
    } catch {
      return undefined;
    }
  }

  run(w: Workload, rounds: number): number | undefined {
    if (!w.native) return undefined;
    // push rbx; mov rcx, rdi; mov rbx, rsi; ...; pop rbx; ret. The body lies on a cache line as the guest's does.
    this.memory.bytes.fill(0x90, 0, CACHE_LINE);
    this.memory.bytes.set([0x53, 0x48, 0x89, 0xf9, 0x48, 0x89, 0xf3]);
    this.memory.bytes.set([...w.native, 0x5b, 0xc3], CACHE_LINE);
    const start = now();
    this.call(this.memory.address, rounds, this.data);
    return now() - start;
  }

  dispose(): void {}
}
