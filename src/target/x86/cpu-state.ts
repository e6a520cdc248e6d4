/**
 * The state of an x86 vCPU as its architecture names it, the same for every engine: plain data that a snapshot holds, KVM
 * takes (accel/kvm) and the translator loads (cpu-state-tcg.ts). The tables say each register once.
 *
 * The local APIC is a device of its own (hw/intc) and not in here; CR8 is its task priority.
 *
 * Sources: Intel SDM vol 1 13.4 (XSAVE area), vol 3 2, 3.4.5, 10.2 (IA32_* MSRs in vol 4); Linux's KVM API
 * (KVM_GET_SREGS2, KVM_GET_VCPU_EVENTS) for what of a vCPU is between two instructions.
 */

/** General registers in encoding order. */
export const GPR_NAMES = [
  "rax",
  "rcx",
  "rdx",
  "rbx",
  "rsp",
  "rbp",
  "rsi",
  "rdi",
  "r8",
  "r9",
  "r10",
  "r11",
  "r12",
  "r13",
  "r14",
  "r15",
] as const;
export type GprName = (typeof GPR_NAMES)[number];

/** Segment registers in encoding order. */
export const SEGMENT_NAMES = ["es", "cs", "ss", "ds", "fs", "gs"] as const;
/** The system segments after them. */
export const SYSTEM_SEGMENT_NAMES = ["ldtr", "tr"] as const;
export type SegmentName = (typeof SEGMENT_NAMES)[number] | (typeof SYSTEM_SEGMENT_NAMES)[number];

/** A segment register with its hidden part. */
export type SegmentState = {
  selector: number;
  base: bigint;
  /** In bytes: granularity is applied. */
  limit: number;
  /** Bits 8-15 and 20-23 of the descriptor's high dword. P clear: the segment is unusable. SS's DPL is the CPL. */
  flags: number;
};

/** GDTR, IDTR. */
export type TableState = { base: bigint; limit: number };

/** Control registers and what else is one 64-bit value. */
export const CONTROL_NAMES = ["cr0", "cr2", "cr3", "cr4", "efer", "xcr0"] as const;
export type ControlName = (typeof CONTROL_NAMES)[number];

/** DR4 and DR5 are aliases. */
export const DEBUG_NAMES = ["dr0", "dr1", "dr2", "dr3", "dr6", "dr7"] as const;
export type DebugName = (typeof DEBUG_NAMES)[number];

/** A model-specific register that every engine keeps. */
export interface MsrRow {
  readonly name: string;
  readonly index: number;
  /** Only with this CPUID feature. */
  readonly feature?: string;
}

const fixed: readonly [string, number][] = [
  ["mtrr_fix64k_00000", 0x250],
  ["mtrr_fix16k_80000", 0x258],
  ["mtrr_fix16k_a0000", 0x259],
  ...[..."01234567"].map((n, i): [string, number] => [`mtrr_fix4k_${(0xc0000 + i * 0x8000).toString(16)}`, 0x268 + Number(n)]),
];

/** Number of variable MTRRs. */
export const MTRR_VARIABLE = 8;

/** The MSRs of a vCPU's state; FS.base and GS.base stand with their segments, EFER with the control registers. */
export const MSR_ROWS: readonly MsrRow[] = [
  { name: "tsc_adjust", index: 0x3b, feature: "tsc-adjust" },
  { name: "sysenter_cs", index: 0x174, feature: "sep" },
  { name: "sysenter_esp", index: 0x175, feature: "sep" },
  { name: "sysenter_eip", index: 0x176, feature: "sep" },
  { name: "misc_enable", index: 0x1a0 },
  { name: "pat", index: 0x277, feature: "pat" },
  { name: "star", index: 0xc0000081, feature: "syscall" },
  { name: "lstar", index: 0xc0000082, feature: "lm" },
  { name: "cstar", index: 0xc0000083, feature: "lm" },
  { name: "sfmask", index: 0xc0000084, feature: "lm" },
  { name: "kernel_gs_base", index: 0xc0000102, feature: "lm" },
  { name: "tsc_aux", index: 0xc0000103, feature: "rdtscp" },
  { name: "mtrr_def_type", index: 0x2ff, feature: "mtrr" },
  ...fixed.map(([name, index]) => ({ name, index, feature: "mtrr" })),
  ...Array.from({ length: MTRR_VARIABLE * 2 }, (_, i) => ({
    name: `mtrr_phys${i & 1 ? "mask" : "base"}${i >> 1}`,
    index: 0x200 + i,
    feature: "mtrr",
  })),
];

/** What a vCPU does when it may run: MP states of the KVM API, and the shutdown after a triple fault. */
export type Activity = "running" | "halted" | "wait-for-sipi" | "shutdown";

/** What is between two instructions: pending events and their blocks. */
export type VcpuEvents = {
  activity: Activity;
  /** Interrupts are held off for one instruction: after STI, or after MOV SS or POP SS. */
  interruptShadow: "none" | "sti" | "mov-ss";
  nmiPending: boolean;
  /** In an NMI handler: further NMIs wait for IRET. */
  nmiBlocked: boolean;
  smiPending: boolean;
  /** In system management mode. */
  smm: boolean;
  smbase: number;
  initPending: boolean;
  /** The vector of a pending start-up IPI, or -1. */
  sipiVector: number;
  /** DR6 bits of a debug trap that is due before the next instruction; 0 = none. */
  pendingDebug: number;
  /** An exception to be delivered before the next instruction, or -1. */
  exception: number;
  /** Its error code; -1 = it has none. */
  exceptionError: number;
  /** An interrupt's vector that the controller has given up already, to be delivered first, or -1. */
  interrupt: number;
};

/** Everything of one vCPU. Each value is plain data, so that a snapshot can hold it as it is. */
export type X86CpuState = {
  gpr: Record<GprName, bigint>;
  rip: bigint;
  rflags: bigint;
  segments: Record<SegmentName, SegmentState>;
  gdtr: TableState;
  idtr: TableState;
  control: Record<ControlName, bigint>;
  /** PDPTE0-3 as loaded with CR3, in PAE mode. */
  pdpte: bigint[];
  debug: Record<DebugName, bigint>;
  /** Time stamp counter when the state was taken. */
  tsc: bigint;
  /** By names of MSR_ROWS. */
  msrs: Record<string, bigint>;
  /** MSRs that only one engine knows (paravirtual clocks), by number in hexadecimal: others carry them along. */
  otherMsrs: Record<string, bigint>;
  /**
   * The XSAVE area in the standard format, with 64-bit FIP and FDP. Components beyond those an engine has are carried along.
   */
  xsave: Uint8Array;
  /** FCS and FDS, which the area's 64-bit form has no room for. */
  fpuSelectors: { fcs: number; fds: number };
  events: VcpuEvents;
};

/** Components of XCR0 and XSTATE_BV. */
export const XFEATURE = { x87: 1n, sse: 2n, avx: 4n } as const;

/** Offsets in the XSAVE area (SDM vol 1 13.4.1-13.4.2, table 10-2). */
export const XSAVE = {
  fcw: 0,
  fsw: 2,
  /** Abridged: bit i set = physical register i is in use. */
  ftw: 4,
  fop: 6,
  fip: 8,
  fdp: 16,
  mxcsr: 24,
  mxcsrMask: 28,
  st: 32,
  xmm: 160,
  xstateBv: 512,
  ymmh: 576,
  /** x87, SSE and AVX. */
  bytes: 832,
} as const;

/** The most an XSAVE area may have: what KVM_GET_XSAVE gives without permission for AMX. */
export const XSAVE_MAX = 4096;
