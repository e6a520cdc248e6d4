/**
 * A vCPU's state between KVM's structures and the target's own description (target/x86/cpu-state.ts).
 *
 * What a kernel does not know is left out: MSRs that KVM_GET_MSRS refuses, SREGS2, XCRs. FCS and FDS do not exist in KVM's
 * 64-bit XSAVE area and come back as 0.
 */
import { VmError } from "../../base/errors.js";
import type { HostSyscalls } from "../../host/syscalls.js";
import {
  DEBUG_NAMES,
  GPR_NAMES,
  MSR_ROWS,
  SEGMENT_NAMES,
  type SegmentName,
  type SegmentState,
  type VcpuEvents,
  type X86CpuState,
} from "../../target/x86/cpu-state.js";
import { type KvmDevice, strerror } from "./device.js";
import { System, Vcpu } from "./ioctls.js";
import { Struct } from "./layout.js";
import * as S from "./structs.js";
import type { KvmVcpu, StateTransfer } from "./vcpu.js";

const IA32_TSC = 0x10;
/** MSRs that a guest may use and only KVM knows: kvm-clock, steal time, asynchronous page faults, speculation control. */
const OTHER_MSRS = [0x48, 0x11, 0x12, 0x4b564d00, 0x4b564d01, 0x4b564d02, 0x4b564d03, 0x4b564d04, 0x4b564d05];
const MSR_LIST_MAX = 1024;

/** KVM's names of the segments. */
const KVM_SEGMENT: Readonly<Record<SegmentName, "cs" | "ds" | "es" | "fs" | "gs" | "ss" | "tr" | "ldt">> = {
  es: "es",
  cs: "cs",
  ss: "ss",
  ds: "ds",
  fs: "fs",
  gs: "gs",
  ldtr: "ldt",
  tr: "tr",
};
const SEGMENTS = [...SEGMENT_NAMES, "ldtr", "tr"] as const;
const MP_OF = {
  running: S.MP.runnable,
  halted: S.MP.halted,
  "wait-for-sipi": S.MP.uninitialized,
  shutdown: S.MP.runnable,
} as const;

export interface X86TransferOptions {
  /** The kernel has the APICs: it keeps halted and waiting vCPUs itself. */
  readonly irqchip: boolean;
  /** CPUID features of the guest: MSRs of others are not there. */
  readonly features: ReadonlySet<string>;
}

/** The transfer for one VM's vCPUs. Buffers are kept: a transfer may happen many thousand times a second. */
export class X86Transfer implements StateTransfer<X86CpuState> {
  /** Whether `set` writes the TSC: on a reset, a loaded snapshot or an engine change, else KVM's runs on by itself. */
  writesTsc = true;
  private readonly regs = new Struct(S.REGS);
  private readonly sregs: Struct<keyof typeof S.SREGS2.at>;
  private readonly sregs2: boolean;
  private readonly events = new Struct(S.VCPU_EVENTS);
  private readonly debug = new Struct(S.DEBUGREGS);
  private readonly xcrs = new Struct(S.XCRS);
  private readonly mp = new Struct(S.MP_STATE);
  private readonly hasXcrs: boolean;
  private readonly hasDebug: boolean;
  private readonly hasMp: boolean;
  /** Rows the kernel knows, found out at the first use. */
  private msrRows: { readonly name: string; readonly index: number; readonly other: boolean }[];
  private msrs: Uint8Array;

  constructor(
    device: KvmDevice,
    private readonly options: X86TransferOptions,
  ) {
    this.sregs2 = device.capability("sregs2") > 0;
    this.sregs = new Struct(S.SREGS2);
    this.hasXcrs = device.capability("xcrs") > 0;
    this.hasDebug = device.capability("debugregs") > 0;
    this.hasMp = options.irqchip && device.capability("mp_state") > 0;
    const known = msrIndexes(device.sys, device.fd);
    const rows = MSR_ROWS.filter((r) => (!r.feature || options.features.has(r.feature)) && known.has(r.index));
    this.msrRows = [
      { name: "tsc", index: IA32_TSC, other: false },
      ...rows.map((r) => ({ name: r.name, index: r.index, other: false })),
      // MTRRs are not in the kernel's list but are there.
      ...MSR_ROWS.filter((r) => r.name.startsWith("mtrr") && options.features.has("mtrr") && !known.has(r.index)).map((r) => ({
        name: r.name,
        index: r.index,
        other: false,
      })),
      ...OTHER_MSRS.filter((i) => known.has(i)).map((i) => ({ name: i.toString(16), index: i, other: true })),
    ];
    this.msrs = new Uint8Array(S.MSRS.sizeBytes + this.msrRows.length * S.MSR_ENTRY.sizeBytes);
  }

  get(v: KvmVcpu<X86CpuState>): X86CpuState {
    v.read("KVM_GET_REGS", Vcpu.getRegs, this.regs.bytes);
    v.read("KVM_GET_SREGS", this.sregs2 ? Vcpu.getSregs2 : Vcpu.getSregs, this.sregsBytes);
    v.read("KVM_GET_VCPU_EVENTS", Vcpu.getVcpuEvents, this.events.bytes);
    if (this.hasDebug) v.read("KVM_GET_DEBUGREGS", Vcpu.getDebugregs, this.debug.bytes);
    if (this.hasXcrs) v.read("KVM_GET_XCRS", Vcpu.getXcrs, this.xcrs.bytes);
    if (this.hasMp) v.read("KVM_GET_MP_STATE", Vcpu.getMpState, this.mp.bytes);
    const xsave = new Uint8Array(S.XSAVE_AREA.sizeBytes);
    v.read("KVM_GET_XSAVE", Vcpu.getXsave, xsave);
    const { msrs, otherMsrs } = this.getMsrs(v);
    const { regs, sregs } = this;
    const sv = sregs.view;
    return {
      gpr: Object.fromEntries(GPR_NAMES.map((n) => [n, regs.get64(n)])) as X86CpuState["gpr"],
      rip: regs.get64("rip"),
      rflags: regs.get64("rflags"),
      segments: Object.fromEntries(SEGMENTS.map((n) => [n, this.readSegment(n)])) as Record<SegmentName, SegmentState>,
      gdtr: { base: sv.getBigUint64(S.SREGS.at.gdt, true), limit: sv.getUint16(S.SREGS.at.gdt + 8, true) },
      idtr: { base: sv.getBigUint64(S.SREGS.at.idt, true), limit: sv.getUint16(S.SREGS.at.idt + 8, true) },
      control: {
        cr0: sregs.get64("cr0"),
        cr2: sregs.get64("cr2"),
        cr3: sregs.get64("cr3"),
        cr4: sregs.get64("cr4"),
        efer: sregs.get64("efer"),
        xcr0: this.hasXcrs && this.xcrs.get("nr_xcrs") > 0 ? this.xcrs.view.getBigUint64(S.XCRS.at.xcrs + 8, true) : 1n,
      },
      pdpte: [0, 1, 2, 3].map((i) => (this.sregs2 ? sv.getBigUint64(S.SREGS2.at.pdptrs + 8 * i, true) : 0n)),
      debug: {
        dr0: this.debug.get64("db"),
        dr1: this.debug.view.getBigUint64(8, true),
        dr2: this.debug.view.getBigUint64(16, true),
        dr3: this.debug.view.getBigUint64(24, true),
        dr6: this.debug.get64("dr6"),
        dr7: this.debug.get64("dr7"),
      },
      tsc: msrs.tsc ?? 0n,
      msrs,
      otherMsrs,
      xsave,
      fpuSelectors: { fcs: 0, fds: 0 },
      events: this.readEvents(),
    };
  }

  /** @throws VmError "accel/failed" when KVM refuses the state: the vCPU may then hold a part of it */
  set(v: KvmVcpu<X86CpuState>, s: X86CpuState): void {
    const { regs, sregs } = this;
    for (const n of GPR_NAMES) regs.set64(n, s.gpr[n]);
    regs.set64("rip", s.rip);
    regs.set64("rflags", s.rflags);
    // What a kernel keeps in there besides (APIC base, interrupt bitmap) stays.
    v.read("KVM_GET_SREGS", this.sregs2 ? Vcpu.getSregs2 : Vcpu.getSregs, this.sregsBytes);
    for (const n of SEGMENTS) this.writeSegment(n, s.segments[n]);
    const sv = sregs.view;
    for (const [name, t] of [
      ["gdt", s.gdtr],
      ["idt", s.idtr],
    ] as const) {
      sv.setBigUint64(S.SREGS.at[name], t.base, true);
      sv.setUint16(S.SREGS.at[name] + 8, t.limit, true);
    }
    for (const n of ["cr0", "cr2", "cr3", "cr4", "efer"] as const) sregs.set64(n, s.control[n]);
    sregs.set("cr8", v.cr8);
    if (this.sregs2) {
      // Without the flag the kernel loads the PDPTEs from memory, as MOV to CR3 does.
      sregs.set("flags", 0);
    } else sv.setBigUint64(S.SREGS.at.interrupt_bitmap, 0n, true);
    v.read("KVM_SET_XSAVE", Vcpu.setXsave, padded(s.xsave));
    if (this.hasXcrs && this.xcrs.get("nr_xcrs") > 0) {
      v.read("KVM_GET_XCRS", Vcpu.getXcrs, this.xcrs.bytes);
      this.xcrs.view.setBigUint64(S.XCRS.at.xcrs + 8, s.control.xcr0, true);
      v.read("KVM_SET_XCRS", Vcpu.setXcrs, this.xcrs.bytes);
    }
    v.read("KVM_SET_SREGS", this.sregs2 ? Vcpu.setSregs2 : Vcpu.setSregs, this.sregsBytes);
    this.setMsrs(v, s);
    v.read("KVM_SET_REGS", Vcpu.setRegs, regs.bytes);
    if (this.hasDebug) {
      for (const [i, n] of DEBUG_NAMES.entries()) this.debug.view.setBigUint64(8 * i, s.debug[n], true);
      v.read("KVM_SET_DEBUGREGS", Vcpu.setDebugregs, this.debug.bytes);
    }
    this.writeEvents(s.events);
    v.read("KVM_SET_VCPU_EVENTS", Vcpu.setVcpuEvents, this.events.bytes);
    if (this.hasMp) {
      this.mp.set("mp_state", MP_OF[s.events.activity]);
      v.read("KVM_SET_MP_STATE", Vcpu.setMpState, this.mp.bytes);
    }
  }

  /** Whether a vCPU is in 64-bit code at CPL 3. */
  inUserMode64(v: KvmVcpu<X86CpuState>): boolean {
    v.settle();
    v.read("KVM_GET_SREGS", this.sregs2 ? Vcpu.getSregs2 : Vcpu.getSregs, this.sregsBytes);
    return this.sregs.bytes[S.SREGS.at.cs + S.SEGMENT.at.l] !== 0 && this.sregs.bytes[S.SREGS.at.ss + S.SEGMENT.at.dpl] === 3;
  }

  private get sregsBytes(): Uint8Array {
    return this.sregs2 ? this.sregs.bytes : this.sregs.bytes.subarray(0, S.SREGS.sizeBytes);
  }

  private readSegment(name: SegmentName): SegmentState {
    const base = S.SREGS.at[KVM_SEGMENT[name]];
    const g = new Struct(S.SEGMENT, this.sregs.bytes.subarray(base, base + S.SEGMENT.sizeBytes));
    const present = g.get("present") !== 0 && g.get("unusable") === 0;
    const flags =
      (g.get("type") << 8) |
      (g.get("s") << 12) |
      (g.get("dpl") << 13) |
      (present ? 1 << 15 : 0) |
      (g.get("avl") << 20) |
      (g.get("l") << 21) |
      (g.get("db") << 22) |
      (g.get("g") << 23);
    return { selector: g.get("selector"), base: g.get64("base"), limit: g.get("limit"), flags };
  }

  private writeSegment(name: SegmentName, s: SegmentState): void {
    const base = S.SREGS.at[KVM_SEGMENT[name]];
    const g = new Struct(S.SEGMENT, this.sregs.bytes.subarray(base, base + S.SEGMENT.sizeBytes));
    const bit = (n: number) => (s.flags >>> n) & 1;
    g.set64("base", s.base);
    g.set("limit", s.limit);
    g.set("selector", s.selector);
    g.set("type", (s.flags >>> 8) & 15);
    g.set("s", bit(12));
    g.set("dpl", (s.flags >>> 13) & 3);
    g.set("present", bit(15));
    g.set("avl", bit(20));
    g.set("l", bit(21));
    g.set("db", bit(22));
    g.set("g", bit(23));
    g.set("unusable", bit(15) ^ 1);
  }

  private readEvents(): VcpuEvents {
    const e = this.events;
    const exception = e.get("exception_injected") !== 0 || e.get("exception_pending") !== 0;
    const shadow = e.get("interrupt_shadow");
    const mp = this.hasMp ? this.mp.get("mp_state") : S.MP.runnable;
    return {
      activity:
        mp === S.MP.halted ? "halted" : mp === S.MP.uninitialized || mp === S.MP.initReceived ? "wait-for-sipi" : "running",
      interruptShadow: shadow & S.SHADOW.movSs ? "mov-ss" : shadow & S.SHADOW.sti ? "sti" : "none",
      nmiPending: e.get("nmi_pending") !== 0 || e.get("nmi_injected") !== 0,
      nmiBlocked: e.get("nmi_masked") !== 0,
      smiPending: e.get("smi_pending") !== 0,
      smm: e.get("smi_smm") !== 0,
      smbase: 0x30000,
      initPending: e.get("smi_latched_init") !== 0,
      sipiVector: -1,
      pendingDebug: 0,
      exception: exception ? e.get("exception_nr") : -1,
      exceptionError: exception && e.get("exception_has_error_code") ? e.get("exception_error_code") : -1,
      interrupt: e.get("interrupt_injected") ? e.get("interrupt_nr") : -1,
    };
  }

  private writeEvents(v: VcpuEvents): void {
    const e = this.events;
    e.bytes.fill(0);
    if (v.exception >= 0) {
      e.set("exception_injected", 1);
      e.set("exception_nr", v.exception);
      e.set("exception_has_error_code", v.exceptionError >= 0 ? 1 : 0);
      e.set("exception_error_code", Math.max(0, v.exceptionError));
    }
    if (v.interrupt >= 0) {
      e.set("interrupt_injected", 1);
      e.set("interrupt_nr", v.interrupt);
    }
    e.set("interrupt_shadow", v.interruptShadow === "sti" ? S.SHADOW.sti : v.interruptShadow === "mov-ss" ? S.SHADOW.movSs : 0);
    e.set("nmi_pending", v.nmiPending ? 1 : 0);
    e.set("nmi_masked", v.nmiBlocked ? 1 : 0);
    e.set("flags", S.EVENT_VALID.nmiPending | S.EVENT_VALID.shadow);
  }

  private fillMsrList(): DataView {
    const view = new DataView(this.msrs.buffer);
    view.setUint32(0, this.msrRows.length, true);
    for (const [i, r] of this.msrRows.entries()) view.setUint32(S.MSRS.sizeBytes + i * S.MSR_ENTRY.sizeBytes, r.index, true);
    return view;
  }

  /** Reads all; a row that the kernel refuses is dropped for good. */
  private getMsrs(v: KvmVcpu<X86CpuState>): { msrs: Record<string, bigint>; otherMsrs: Record<string, bigint> } {
    for (;;) {
      const view = this.fillMsrList();
      const n = v.sys.ioctlData(v.fd, Vcpu.getMsrs, this.msrs);
      if (n < 0) throw new VmError("accel/failed", `KVM_GET_MSRS of vCPU ${v.index}: ${strerror(-n)}`);
      if (n < this.msrRows.length) {
        this.dropRow(n);
        continue;
      }
      const msrs: Record<string, bigint> = {};
      const otherMsrs: Record<string, bigint> = {};
      for (const [i, r] of this.msrRows.entries())
        (r.other ? otherMsrs : msrs)[r.name] = view.getBigUint64(S.MSRS.sizeBytes + i * S.MSR_ENTRY.sizeBytes + 8, true);
      return { msrs, otherMsrs };
    }
  }

  private dropRow(i: number): void {
    this.msrRows.splice(i, 1);
    this.msrs = new Uint8Array(S.MSRS.sizeBytes + this.msrRows.length * S.MSR_ENTRY.sizeBytes);
  }

  private setMsrs(v: KvmVcpu<X86CpuState>, s: X86CpuState): void {
    const bytes = new Uint8Array(this.msrs.length);
    const view = new DataView(bytes.buffer);
    let n = 0;
    const put = (index: number, value: bigint) => {
      const at = S.MSRS.sizeBytes + n++ * S.MSR_ENTRY.sizeBytes;
      view.setUint32(at, index, true);
      view.setBigUint64(at + 8, value, true);
    };
    for (const r of this.msrRows) {
      const value = r.name === "tsc" ? (this.writesTsc ? s.tsc : undefined) : r.other ? s.otherMsrs[r.name] : s.msrs[r.name];
      if (value !== undefined) put(r.index, value);
    }
    // The kernel stops at the first that it refuses; that one stays as it is.
    for (let from = 0; from < n; ) {
      const list = new Uint8Array(S.MSRS.sizeBytes + (n - from) * S.MSR_ENTRY.sizeBytes);
      list.set(bytes.subarray(S.MSRS.sizeBytes + from * S.MSR_ENTRY.sizeBytes, S.MSRS.sizeBytes + n * S.MSR_ENTRY.sizeBytes), 8);
      new DataView(list.buffer).setUint32(0, n - from, true);
      const done = v.sys.ioctlData(v.fd, Vcpu.setMsrs, list);
      if (done < 0) throw new VmError("accel/failed", `KVM_SET_MSRS of vCPU ${v.index}: ${strerror(-done)}`);
      from += done + 1;
    }
  }
}

/** The area as KVM wants it: 4096 bytes. */
function padded(xsave: Uint8Array): Uint8Array {
  if (xsave.length === S.XSAVE_AREA.sizeBytes) return xsave;
  const out = new Uint8Array(S.XSAVE_AREA.sizeBytes);
  out.set(xsave);
  return out;
}

/** Numbers of the MSRs that KVM saves and restores. */
function msrIndexes(sys: HostSyscalls, kvmFd: number): ReadonlySet<number> {
  const list = new Uint32Array(1 + MSR_LIST_MAX);
  list[0] = MSR_LIST_MAX;
  const r = sys.ioctlData(kvmFd, System.getMsrIndexList, new Uint8Array(list.buffer));
  return new Set(r < 0 ? [] : list.subarray(1, 1 + list[0]!));
}
