/**
 * Hypervisor calls of the pseries machine that are about its vCPUs: sleep and wake, modes, translation, pages.
 * Source: LoPAR §14.5.4, §14.11 (virtual processor areas); H_REGISTER_PROC_TBL: Linux's arch/powerpc and QEMU's pseries as
 * observed, the call being documented nowhere else in public.
 * Not there: breakpoint registers (H_SET_DABR, H_SET_MODE resources 1 and 2), dispatch trace logs (accepted, never filled).
 */
import { Hcall, type HcallTable, HStatus } from "../hw/spapr/hcall.js";
import { type Rtas, RtasStatus } from "../hw/spapr/rtas.js";
import type { AddressSpace } from "../memory/address-space.js";
import type { PpcCpu } from "../target/ppc/cpu.js";
import * as L from "../target/ppc/layout.js";

const PAGE = 4096;
/** Sub-functions of H_REGISTER_VPA, in r4 bits 16-18 from the top. */
const Vpa = { register: 1, registerSlb: 3, registerDtl: 2, deregister: 5, deregisterSlb: 7, deregisterDtl: 6 } as const;
const VPA_MIN_BYTES = 640;
const VPA_SIZE_AT = 4;
const VPA_FLAGS_AT = 9;
const VPA_SHARED = 2;
const VPA_YIELD_COUNT = 0x100;

/** Resources of H_SET_MODE. */
const Resource = { addressTranslation: 3, littleEndian: 4 } as const;

/** Flags of H_PAGE_INIT. */
const PageInit = { zero: 0x8000, copy: 0x4000 } as const;

/** Flags of H_REGISTER_PROC_TBL. */
const ProcTable = { gtse: 1, radix: 4, register: 8, modify: 0x10, all: 0x1f } as const;
const PATE1_RADIX = 1n << 63n;

/** MSR that RTAS starts a vCPU with. */
export const START_MSR = (1n << 63n) | BigInt(L.MSR_ME);

export interface CpuCalls {
  readonly cpus: readonly PpcCpu[];
  readonly memory: AddressSpace;
  readonly isa300: boolean;
  /** The vCPU's turn is to end. */
  readonly yieldTurn: (cpu: number) => void;
  /** A vCPU that slept may have something to do. */
  readonly wake: () => void;
  /** A caller's whole partition goes on in radix (true) or hash translation. */
  readonly onTranslation: (radix: boolean) => void;
}

/** State of the calls that belongs to no device: areas registered, process table. */
export class PseriesCpuState {
  /** Guest addresses of virtual processor areas, 0 = none. */
  readonly vpa: number[];
  private readonly prodded: boolean[];
  /** As RTAS means it: until start-cpu. */
  private readonly stopped: boolean[];
  private processTable = 0n;

  constructor(private readonly o: CpuCalls) {
    this.vpa = o.cpus.map(() => 0);
    this.prodded = o.cpus.map(() => false);
    this.stopped = o.cpus.map((c) => c.index !== 0);
  }

  reset(): void {
    this.vpa.fill(0);
    this.prodded.fill(false);
    for (const cpu of this.o.cpus) this.stopped[cpu.index] = cpu.index !== 0;
    this.processTable = 0n;
    for (const cpu of this.o.cpus) cpu.setProcessTable(0n);
  }

  /** A turn begins or ends: the yield count, even while the vCPU runs. */
  onTurn(cpu: number, begins: boolean): void {
    const at = this.vpa[cpu]!;
    if (at === 0) return;
    const bytes = new Uint8Array(4);
    const view = new DataView(bytes.buffer);
    this.o.memory.readBytes(at + VPA_YIELD_COUNT, bytes);
    let count = (view.getUint32(0) + 1) >>> 0;
    if ((count % 2 === 0) !== begins) count = (count + 1) >>> 0;
    view.setUint32(0, count);
    this.o.memory.writeBytes(at + VPA_YIELD_COUNT, bytes);
  }

  addHcalls(table: HcallTable): void {
    const { cpus, memory } = this.o;
    const target = (n: number): PpcCpu | undefined => cpus[n];
    table.on(Hcall.H_CEDE, (f) => {
      const cpu = cpus[f.cpu]!;
      if (this.prodded[f.cpu]) {
        this.prodded[f.cpu] = false;
        cpu.setReg("msr", cpu.msr | BigInt(L.MSR_EE));
      } else cpu.cede();
      return HStatus.H_SUCCESS;
    });
    table.on(Hcall.H_PROD, (f) => {
      const cpu = target(f.arg(0));
      if (!cpu) return HStatus.H_PARAMETER;
      this.prodded[cpu.index] = !cpu.halted;
      cpu.prod();
      this.o.wake();
      return HStatus.H_SUCCESS;
    });
    table.on(Hcall.H_CONFER, (f) => {
      this.o.yieldTurn(f.cpu);
      return HStatus.H_SUCCESS;
    });
    table.on(Hcall.H_SIGNAL_SYS_RESET, (f) => {
      // One vCPU, or all (-1), or all others (-2).
      const everyone = f.hi(0) === 0xffffffff;
      const one = target(f.arg(0));
      if (!everyone && !one) return HStatus.H_PARAMETER;
      for (const cpu of cpus) if (everyone ? !(f.lo(0) === 0xfffffffe && cpu.index === f.cpu) : cpu === one) cpu.systemReset();
      this.o.wake();
      return HStatus.H_SUCCESS;
    });
    table.on(Hcall.H_SET_SPRG0, (f) => {
      const cpu = cpus[f.cpu]!;
      cpu.setReg("sprg0", cpu.gpr(4));
      return HStatus.H_SUCCESS;
    });
    table.on(Hcall.H_REGISTER_VPA, (f) => {
      const cpu = target(f.arg(1));
      const address = f.arg(2);
      if (!cpu) return HStatus.H_PARAMETER;
      switch ((f.hi(0) >>> 13) & 7) {
        case Vpa.register:
          return this.registerVpa(cpu.index, address);
        case Vpa.deregister:
          this.vpa[cpu.index] = 0;
          return HStatus.H_SUCCESS;
        case Vpa.registerSlb:
        case Vpa.registerDtl:
          // Read by a hypervisor that needs them; this one does not.
          return this.vpa[cpu.index] === 0 ? HStatus.H_RESOURCE : HStatus.H_SUCCESS;
        case Vpa.deregisterSlb:
        case Vpa.deregisterDtl:
          return HStatus.H_SUCCESS;
      }
      return HStatus.H_PARAMETER;
    });
    table.on(Hcall.H_SET_MODE, (f) => {
      const flags = f.arg(0);
      if (f.arg(2) !== 0) return HStatus.H_P3;
      if (f.arg(3) !== 0) return HStatus.H_P4;
      if (f.arg(1) === Resource.littleEndian) {
        if (flags > 1) return HStatus.H_UNSUPPORTED_FLAG;
        this.setLpcr(L.LPCR_ILE, flags === 1 ? L.LPCR_ILE : 0);
        return HStatus.H_SUCCESS;
      }
      if (f.arg(1) === Resource.addressTranslation) {
        if (flags !== 0 && flags !== 2 && flags !== 3) return HStatus.H_UNSUPPORTED_FLAG;
        this.setLpcr(L.LPCR_AIL, flags << L.LPCR_AIL_SHIFT);
        return HStatus.H_SUCCESS;
      }
      return HStatus.H_P2;
    });
    table.on(Hcall.H_PAGE_INIT, (f) => {
      const flags = f.lo(0);
      const to = f.arg(1);
      const from = f.arg(2);
      const inRam = (at: number) => at % PAGE === 0 && memory.hostOffset(at, PAGE) >= 0;
      if (!inRam(to)) return HStatus.H_PARAMETER;
      const page = new Uint8Array(PAGE);
      if (flags & PageInit.copy) {
        if (!inRam(from)) return HStatus.H_PARAMETER;
        memory.readBytes(from, page);
      }
      if (flags & (PageInit.copy | PageInit.zero)) memory.writeBytes(to, page);
      return HStatus.H_SUCCESS;
    });
    if (this.o.isa300) table.on(Hcall.H_REGISTER_PROC_TBL, (f) => this.registerProcessTable(f.arg(0), cpus[f.cpu]!));
  }

  private registerVpa(cpu: number, address: number): number {
    const { memory } = this.o;
    if (address === 0 || address % 128) return HStatus.H_PARAMETER;
    const head = new Uint8Array(16);
    if (!memory.readBytes(address, head)) return HStatus.H_PARAMETER;
    const size = head[VPA_SIZE_AT]! * 256 + head[VPA_SIZE_AT + 1]!;
    if (size < VPA_MIN_BYTES || Math.floor(address / PAGE) !== Math.floor((address + size - 1) / PAGE))
      return HStatus.H_PARAMETER;
    this.vpa[cpu] = address;
    // vCPUs share a host processor: a lock holder may have to be waited for.
    memory.writeBytes(address + VPA_FLAGS_AT, Uint8Array.of(head[VPA_FLAGS_AT]! | VPA_SHARED));
    return HStatus.H_SUCCESS;
  }

  /** Changes LPCR bits of every vCPU. */
  private setLpcr(mask: number, bits: number): void {
    for (const cpu of this.o.cpus) cpu.lpcr = (cpu.lpcr & ~BigInt(mask)) | BigInt(bits);
  }

  /** r4 flags, r5 table, r6 page size of a segment table, r7 log2 of the table's size less 12. */
  private registerProcessTable(flags: number, cpu: PpcCpu): number {
    const table = cpu.gpr(5);
    const pageSize = cpu.gpr(6);
    const size = cpu.gpr(7);
    if (flags & ~ProcTable.all) return HStatus.H_PARAMETER;
    const radix = (flags & ProcTable.radix) !== 0;
    if ((flags & ProcTable.modify) === 0 || (flags & ProcTable.register) === 0) {
      // Nothing is changed, or the table is given up.
      if (table !== 0n) return HStatus.H_P2;
      if (pageSize !== 0n) return HStatus.H_P3;
      if (size !== 0n) return HStatus.H_P4;
      if (flags & ProcTable.modify) this.processTable &= PATE1_RADIX;
    } else if (radix) {
      if (table & 0xfffn || table >> 60n) return HStatus.H_P2;
      if (pageSize !== 0n) return HStatus.H_P3;
      if (size > 24n) return HStatus.H_P4;
      this.processTable = PATE1_RADIX | table | size;
    } else {
      if (table >> 38n) return HStatus.H_P2;
      if (pageSize & ~7n) return HStatus.H_P3;
      if (size > 24n) return HStatus.H_P4;
      this.processTable = (table << 25n) | (pageSize << 5n) | size;
    }
    const isRadix = (this.processTable & PATE1_RADIX) !== 0n;
    for (const c of this.o.cpus) c.setProcessTable(this.processTable & ~PATE1_RADIX);
    this.setLpcr(
      L.LPCR_HR | L.LPCR_UPRT | L.LPCR_GTSE,
      (isRadix ? L.LPCR_HR | L.LPCR_UPRT : 0) | (isRadix && flags & ProcTable.gtse ? L.LPCR_GTSE : 0),
    );
    this.o.onTranslation(isRadix);
    return HStatus.H_SUCCESS;
  }

  /** RTAS start-cpu and its relatives. */
  addServices(rtas: Rtas): void {
    const { cpus } = this.o;
    rtas.add(
      {
        name: "query-cpu-stopped-state",
        args: 1,
        returns: 2,
        call: (c) => {
          const cpu = cpus[c.args[0]!];
          if (!cpu) return RtasStatus.parameterError;
          // 0 stopped, 2 running.
          c.set(1, this.stopped[cpu.index] ? 0 : 2);
          return RtasStatus.success;
        },
      },
      {
        name: "start-cpu",
        args: 3,
        returns: 1,
        call: (c) => {
          const [id, start, r3] = c.args as [number, number, number];
          const cpu = cpus[id];
          if (!cpu) return RtasStatus.parameterError;
          if (!this.stopped[id]) return RtasStatus.hardwareError;
          cpu.lpcr = cpus[c.cpu]!.lpcr;
          cpu.start(BigInt(start), BigInt(r3), START_MSR);
          this.stopped[id] = false;
          this.o.wake();
          return RtasStatus.success;
        },
      },
      {
        name: "stop-self",
        args: 0,
        returns: 1,
        call: (c) => {
          this.stopped[c.cpu] = true;
          cpus[c.cpu]!.stop();
          return undefined;
        },
      },
    );
  }
}
