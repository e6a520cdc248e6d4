/**
 * A vCPU's state out of the translator's memory (layout.ts) and into it. Lazy flags become RFLAGS; what is derived
 * (HFLAGS, segment limits, TLB) is made again.
 */
import {
  type Activity,
  DEBUG_NAMES,
  GPR_NAMES,
  MSR_ROWS,
  SEGMENT_NAMES,
  type SegmentName,
  type SegmentState,
  type X86CpuState,
  XFEATURE,
  XSAVE,
  XSAVE_MAX,
} from "./cpu-state.js";
import * as L from "./layout.js";

/** The memory and the runtime functions that the transfer uses; `setEnv` has chosen the vCPU before each call. */
export interface EnvAccess {
  readonly u8: Uint8Array;
  readonly view: DataView;
  readonly runtime: {
    getEflags(): number;
    updateHflags(): void;
    updateFpFast(): void;
    flushTlb(keepGlobal: number): void;
  };
  /** The machine's time stamp counter before TSC_OFFSET. */
  tsc(): number;
}

/** Offset in the env by MSR name. */
const MSR_AT: Record<string, number> = {
  tsc_adjust: L.TSC_ADJUST,
  sysenter_cs: L.SYSENTER_CS,
  sysenter_esp: L.SYSENTER_ESP,
  sysenter_eip: L.SYSENTER_EIP,
  misc_enable: L.MISC_ENABLE,
  pat: L.PAT,
  star: L.STAR,
  lstar: L.LSTAR,
  cstar: L.CSTAR,
  sfmask: L.SFMASK,
  kernel_gs_base: L.KERNEL_GS_BASE,
  tsc_aux: L.TSC_AUX,
  mtrr_def_type: L.MTRR_DEF_TYPE,
};

function msrOffset(name: string, index: number): number {
  const at = MSR_AT[name];
  if (at !== undefined) return at;
  if (index === 0x250) return L.MTRR_FIXED;
  if (index >= 0x258 && index <= 0x259) return L.MTRR_FIXED + 8 + (index - 0x258) * 8;
  if (index >= 0x268 && index < 0x270) return L.MTRR_FIXED + 24 + (index - 0x268) * 8;
  return L.MTRR_VAR + (index - 0x200) * 8;
}

const CONTROL_AT = { cr0: L.CR0, cr2: L.CR2, cr3: L.CR3, cr4: L.CR4, efer: L.EFER, xcr0: L.XCR0 } as const;
const DEBUG_AT = { dr0: 0, dr1: 8, dr2: 16, dr3: 24, dr6: 48, dr7: 56 } as const;
/** Values of HALTED. */
const ACTIVITIES: readonly Activity[] = ["running", "halted", "wait-for-sipi", "shutdown"];
const SHADOWS = ["none", "sti", "mov-ss"] as const;
/** Attribute bits of a descriptor's high dword. */
const FLAG_BITS = 0x00f0ff00;
/** FSW's TOP, kept apart in the env. */
const FSW_TOP = 0x3800;
/** ES and B: an unmasked exception is pending. */
const FSW_SUMMARY = 0x8080;
const U64 = 0xffff_ffff_ffff_ffffn;

/** Fields of an env by offset. */
class Env {
  constructor(
    readonly m: EnvAccess,
    readonly base: number,
  ) {}
  u32(o: number): number {
    return this.m.view.getUint32(this.base + o, true);
  }
  u64(o: number): bigint {
    return this.m.view.getBigUint64(this.base + o, true);
  }
  set32(o: number, v: number): void {
    this.m.view.setUint32(this.base + o, v, true);
  }
  set64(o: number, v: bigint): void {
    this.m.view.setBigUint64(this.base + o, v, true);
  }
}

/**
 * Reads the state of the vCPU at `env`.
 * @param carried what a state loaded before had beyond the translator's own: it is put back as it was
 */
export function readCpuState(m: EnvAccess, env: number, carried?: Carried): X86CpuState {
  const e = new Env(m, env);
  const events = e.u32(L.EVENTS);
  const segments = Object.fromEntries(SEGMENT_NAMES.map((n, i) => [n, readSegment(e, i)])) as Record<SegmentName, SegmentState>;
  segments.ldtr = readSystemSegment(e, L.LDTR_SEL, L.LDTR_BASE);
  segments.tr = readSystemSegment(e, L.TR_SEL, L.TR_BASE);
  return {
    gpr: Object.fromEntries(GPR_NAMES.map((n, i) => [n, e.u64(L.GPR + 8 * i)])) as X86CpuState["gpr"],
    rip: e.u64(L.RIP),
    rflags: BigInt(m.runtime.getEflags() >>> 0),
    segments,
    gdtr: { base: e.u64(L.GDT_BASE), limit: e.u32(L.GDT_LIMIT) },
    idtr: { base: e.u64(L.IDT_BASE), limit: e.u32(L.IDT_LIMIT) },
    control: mapRecord(CONTROL_AT, (at) => e.u64(at)),
    pdpte: [0, 8, 16, 24].map((o) => e.u64(L.PDPTE + o)),
    debug: mapRecord(DEBUG_AT, (at) => e.u64(L.DR + at)),
    tsc: (BigInt(m.tsc()) + e.u64(L.TSC_OFFSET)) & U64,
    msrs: Object.fromEntries(MSR_ROWS.map((r) => [r.name, e.u64(msrOffset(r.name, r.index))])),
    otherMsrs: { ...carried?.otherMsrs },
    xsave: readXsave(e, carried?.xsave),
    fpuSelectors: { fcs: e.u32(L.FCS), fds: e.u32(L.FDS) },
    events: {
      activity: ACTIVITIES[e.u32(L.HALTED)] ?? "running",
      interruptShadow: SHADOWS[e.u32(L.INHIBIT)] ?? "none",
      nmiPending: (events & L.EV_NMI) !== 0,
      nmiBlocked: e.u32(L.NMI_BLOCKED) !== 0,
      smiPending: (events & L.EV_SMI) !== 0,
      smm: e.u32(L.SMM) !== 0,
      smbase: e.u32(L.SMBASE),
      initPending: (events & L.EV_INIT) !== 0,
      sipiVector: events & L.EV_SIPI ? e.u32(L.SIPI_VECTOR) : -1,
      pendingDebug: events & L.EV_TRAP ? e.u32(L.PENDING_DR6) : 0,
      exception: -1,
      exceptionError: -1,
      interrupt: -1,
    },
  };
}

/** What of a loaded state the translator has no place for. */
export interface Carried {
  readonly otherMsrs: Readonly<Record<string, bigint>>;
  readonly xsave: Uint8Array;
}

/**
 * Loads a state into the vCPU at `env`. Pending interrupts of the controllers (EV_INTR) are the caller's to signal again.
 * An `exception` or `interrupt` to be delivered first is the caller's too (`deliverPending`).
 */
export function writeCpuState(m: EnvAccess, env: number, s: X86CpuState): Carried {
  const e = new Env(m, env);
  for (const [i, n] of GPR_NAMES.entries()) e.set64(L.GPR + 8 * i, s.gpr[n]);
  e.set64(L.RIP, s.rip);
  writeFlags(e, s.rflags);
  for (const [i, n] of SEGMENT_NAMES.entries()) writeSegment(e, i, s.segments[n]);
  writeSystemSegment(e, L.LDTR_SEL, L.LDTR_BASE, s.segments.ldtr);
  writeSystemSegment(e, L.TR_SEL, L.TR_BASE, s.segments.tr);
  e.set64(L.GDT_BASE, s.gdtr.base);
  e.set32(L.GDT_LIMIT, s.gdtr.limit);
  e.set64(L.IDT_BASE, s.idtr.base);
  e.set32(L.IDT_LIMIT, s.idtr.limit);
  for (const [n, at] of Object.entries(CONTROL_AT)) e.set64(at, s.control[n as keyof typeof CONTROL_AT]);
  for (const [i, v] of s.pdpte.entries()) e.set64(L.PDPTE + 8 * i, v);
  for (const n of DEBUG_NAMES) e.set64(L.DR + DEBUG_AT[n], s.debug[n]);
  e.set64(L.TSC_OFFSET, (s.tsc - BigInt(m.tsc())) & U64);
  for (const r of MSR_ROWS) {
    const v = s.msrs[r.name];
    if (v !== undefined) e.set64(msrOffset(r.name, r.index), v);
  }
  writeXsave(e, s.xsave);
  e.set32(L.FCS, s.fpuSelectors.fcs);
  e.set32(L.FDS, s.fpuSelectors.fds);
  writeEvents(e, s.events);
  m.runtime.updateFpFast();
  m.runtime.flushTlb(0);
  m.runtime.updateHflags();
  return { otherMsrs: s.otherMsrs, xsave: s.xsave };
}

function mapRecord<K extends string>(table: Readonly<Record<K, number>>, read: (at: number) => bigint): Record<K, bigint> {
  return Object.fromEntries(Object.entries<number>(table).map(([n, at]) => [n, read(at)])) as Record<K, bigint>;
}

function readSegment(e: Env, i: number): SegmentState {
  return {
    selector: e.u32(L.SEG_SEL + 4 * i),
    base: e.u64(L.SEG_BASE + 8 * i),
    limit: e.u32(L.SEG_LIMIT + 4 * i),
    flags: e.u32(L.SEG_FLAGS + 4 * i) & FLAG_BITS,
  };
}

function writeSegment(e: Env, i: number, s: SegmentState): void {
  e.set32(L.SEG_SEL + 4 * i, s.selector);
  e.set64(L.SEG_BASE + 8 * i, s.base);
  e.set32(L.SEG_LIMIT + 4 * i, s.limit);
  e.set32(L.SEG_FLAGS + 4 * i, s.flags & FLAG_BITS);
}

/** LDTR and TR: selector, limit and flags follow each other. */
function readSystemSegment(e: Env, at: number, baseAt: number): SegmentState {
  return { selector: e.u32(at), base: e.u64(baseAt), limit: e.u32(at + 4), flags: e.u32(at + 8) & FLAG_BITS };
}

function writeSystemSegment(e: Env, at: number, baseAt: number, s: SegmentState): void {
  e.set32(at, s.selector);
  e.set64(baseAt, s.base);
  e.set32(at + 4, s.limit);
  e.set32(at + 8, s.flags & FLAG_BITS);
}

function writeFlags(e: Env, rflags: bigint): void {
  const f = Number(rflags & 0xffffffffn);
  e.set64(L.CC_OP, BigInt(L.CC_EFLAGS));
  e.set64(L.CC_SRC, BigInt(f & L.FL_ARITH));
  e.set64(L.CC_SRC2, 0n);
  e.set64(L.CC_DST, 0n);
  e.set64(L.DF, f & L.FL_DF ? U64 : 1n);
  e.set32(L.EFLAGS, (f & ~(L.FL_ARITH | L.FL_DF)) | 2);
}

function writeEvents(e: Env, v: X86CpuState["events"]): void {
  e.set32(L.HALTED, ACTIVITIES.indexOf(v.activity));
  e.set32(L.INHIBIT, SHADOWS.indexOf(v.interruptShadow));
  e.set32(L.NMI_BLOCKED, v.nmiBlocked ? 1 : 0);
  e.set32(L.SMM, v.smm ? 1 : 0);
  e.set32(L.SMBASE, v.smbase);
  if (v.sipiVector >= 0) e.set32(L.SIPI_VECTOR, v.sipiVector);
  e.set32(L.PENDING_DR6, v.pendingDebug);
  e.set32(L.EXC_VECTOR, 0xffffffff);
  e.set32(L.EXC_OLD, 0xffffffff);
  e.set32(L.RIP_EXACT, 0);
  e.set32(L.INTR_WAIT, 0);
  let events = 0;
  if (v.nmiPending) events |= L.EV_NMI;
  if (v.smiPending) events |= L.EV_SMI;
  if (v.initPending) events |= L.EV_INIT;
  if (v.sipiVector >= 0) events |= L.EV_SIPI;
  if (v.pendingDebug) events |= L.EV_TRAP;
  e.set32(L.EVENTS, events);
}

function readXsave(e: Env, rest: Uint8Array | undefined): Uint8Array {
  const area = new Uint8Array(Math.max(XSAVE.bytes, rest?.length ?? 0));
  if (rest) area.set(rest);
  const v = new DataView(area.buffer);
  const top = e.u32(L.FTOP) & 7;
  v.setUint16(XSAVE.fcw, e.u32(L.FCW), true);
  v.setUint16(XSAVE.fsw, (e.u32(L.FSW) & ~FSW_TOP) | (top << 11), true);
  v.setUint16(XSAVE.ftw, ~e.u32(L.FTAGS) & 0xff, true);
  v.setUint16(XSAVE.fop, e.u32(L.FOP) & 0x7ff, true);
  v.setBigUint64(XSAVE.fip, e.u64(L.FIP), true);
  v.setBigUint64(XSAVE.fdp, e.u64(L.FDP), true);
  v.setUint32(XSAVE.mxcsr, e.u32(L.MXCSR), true);
  v.setUint32(XSAVE.mxcsrMask, 0xffff, true);
  for (let i = 0; i < 8; i++) {
    const from = e.base + L.FPR + 16 * ((top + i) & 7);
    area.set(e.m.u8.subarray(from, from + 10), XSAVE.st + 16 * i);
    area.fill(0, XSAVE.st + 16 * i + 10, XSAVE.st + 16 * i + 16);
  }
  area.set(e.m.u8.subarray(e.base + L.XMM, e.base + L.XMM + 256), XSAVE.xmm);
  area.set(e.m.u8.subarray(e.base + L.YMMH, e.base + L.YMMH + 256), XSAVE.ymmh);
  const bv = v.getBigUint64(XSAVE.xstateBv, true);
  v.setBigUint64(XSAVE.xstateBv, bv | XFEATURE.x87 | XFEATURE.sse, true);
  return area;
}

/** A component whose XSTATE_BV bit is clear is in its initial state, whatever the bytes say. */
function writeXsave(e: Env, area: Uint8Array): void {
  if (area.length < XSAVE.bytes || area.length > XSAVE_MAX) throw new RangeError(`XSAVE area of ${area.length} bytes`);
  const v = new DataView(area.buffer, area.byteOffset, area.length);
  const bv = v.getBigUint64(XSAVE.xstateBv, true);
  const x87 = (bv & XFEATURE.x87) !== 0n;
  const fcw = x87 ? v.getUint16(XSAVE.fcw, true) : 0x37f;
  const fsw = x87 ? v.getUint16(XSAVE.fsw, true) : 0;
  const top = (fsw >> 11) & 7;
  const pending = (fsw & ~fcw & 0x3f) !== 0;
  e.set32(L.FCW, fcw);
  e.set32(L.FSW, (fsw & ~(FSW_TOP | FSW_SUMMARY)) | (pending ? FSW_SUMMARY : 0));
  e.set32(L.FTOP, top);
  e.set32(L.FTAGS, x87 ? ~v.getUint8(XSAVE.ftw) & 0xff : 0xff);
  e.set32(L.FOP, x87 ? v.getUint16(XSAVE.fop, true) & 0x7ff : 0);
  e.set64(L.FIP, x87 ? v.getBigUint64(XSAVE.fip, true) : 0n);
  e.set64(L.FDP, x87 ? v.getBigUint64(XSAVE.fdp, true) : 0n);
  e.set32(L.MXCSR, v.getUint32(XSAVE.mxcsr, true) & 0xffff);
  for (let i = 0; i < 8; i++) {
    const to = e.base + L.FPR + 16 * ((top + i) & 7);
    e.m.u8.fill(0, to, to + 16);
    if (x87) e.m.u8.set(area.subarray(XSAVE.st + 16 * i, XSAVE.st + 16 * i + 10), to);
  }
  loadVectors(e, L.XMM, area, XSAVE.xmm, (bv & XFEATURE.sse) !== 0n);
  loadVectors(e, L.YMMH, area, XSAVE.ymmh, (bv & XFEATURE.avx) !== 0n);
}

function loadVectors(e: Env, to: number, area: Uint8Array, from: number, used: boolean): void {
  const at = e.base + to;
  if (used) e.m.u8.set(area.subarray(from, from + 256), at);
  else e.m.u8.fill(0, at, at + 256);
}
