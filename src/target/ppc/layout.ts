/**
 * The 64-bit PowerPC vCPU state in linear memory ("env"), in bytes from the env's base. Plain numeric constants only: this
 * file is read both by TypeScript and by the AssemblyScript runtime. Register names as in the Power ISA 3.0B; bit numbers
 * of masks count from the least significant bit, as in C.
 */

/** Bytes of one env, TLB and jump cache included. */
export const ENV_SIZE = 0xb0000;

// --- IR globals: 8-byte slots, kept in locals by compiled regions ---
/** GPR0..GPR31. */
export const GPR = 0x000;
/** Address of the next instruction. */
export const NIP = 0x100;
export const LR = 0x108;
export const CTR = 0x110;
/** XER in parts, 0 or 1 each. */
export const CA = 0x118;
export const CA32 = 0x120;
export const OV = 0x128;
export const OV32 = 0x130;
export const SO = 0x138;
/** CR0..CR7, 8 bytes each: LT 8, GT 4, EQ 2, SO 1. */
export const CRF = 0x140;
/** Reservation: effective address (all ones = none) and the value seen; the second doubleword for lqarx. */
export const RESERVE_EA = 0x180;
export const RESERVE_VAL = 0x188;
export const RESERVE_VAL2 = 0x190;
/** What the last native floating-point operation was: FPSCR's FR, FI and FPRF follow from it when asked for; 0 = FPSCR is exact. */
export const FP_LAZY = 0x198;
export const GLOBALS_END = 0x1a0;

// --- vector slots, 16 bytes each: doubleword 0 in the low half, doubleword 1 in the high half, each little-endian ---
/** VSR0..VSR63; FPRs are the low halves of VSR0-31, VR0-31 are VSR32-63. */
export const VSR = 0x400;
/** Operands of the last native floating-point operation. */
export const FP_LAZY_A = 0x800;
export const FP_LAZY_B = 0x810;
export const FP_LAZY_C = 0x820;
/** VSCR.SAT is set while any bit here is. */
export const SATURATED = 0x830;
export const VECTORS_END = 0x840;
/** 16 bytes, no slot of regions: a saturating helper leaves what it saturated here. */
export const SATURATED_NOW = 0xb60;
/** 32 vector temporaries of the translator. */
export const VTEMP = 0x840;
export const VTEMP_END = 0xa40;

// --- the rest of the state ---
/** u64. */
export const MSR = 0xa40;
/** u64: FPSCR without what FP_LAZY holds. */
export const FPSCR = 0xa48;
/** u32: VSCR.NJ (bit 16). */
export const VSCR = 0xa50;
/** u32: what translated code depends on, HF_* below. */
export const HFLAGS = 0xa54;
/** u32, always 0. */
export const CODE_BASE = 0xa58;
/** u32: 1 = native arithmetic is exact (round to nearest, XX set, no exception enabled, no NI), 2 = nothing is raised, 0 = it may be. */
export const FP_FAST = 0xa5c;
/** u32 pending event word, EV_* below; then u32: nonzero while halted, HALT_* below. */
export const EVENTS = 0xa60;
export const HALTED = 0xa64;
/** u32: interrupts that are asserted, INT_* below, whether MSR lets them through or not. */
export const PENDING = 0xa68;
/** i32 vector of the exception being raised, u32 detail. */
export const EXC_VECTOR = 0xa6c;
export const EXC_ERROR = 0xa70;
/** u32: nonzero = NIP is already what SRR0 must get. */
export const PC_EXACT = 0xa74;
export const IR_PC = 0xa78;
/** i32: guest instructions left until the run loop must look up. */
export const BUDGET = 0xa7c;
export const CUR_BLOCK = 0xa80;
export const EXIT_SITE = 0xa84;
export const CPU_INDEX = 0xa88;
/** Two u32: generations of code look-ups, for addresses with bit 63 clear and set. */
export const TLB_GEN = 0xa90;
/** u64 counters: instructions run by tier 0; region functions entered; regions left for one instruction. */
export const COUNT_TIER0 = 0xa98;
export const COUNT_REGIONS = 0xaa0;
export const COUNT_SITES = 0xaa8;
/** u32: bit m = MMU index m has had entries filled since its last flush; entries logged since then (257 = too many). */
export const TLB_USED = 0xab0;
export const TLB_LOG_COUNT = 0xab4;
/** u64: the address of an access that faulted, and its DSISR (or SRR1 bits for a fetch). */
export const FAULT_ADDR = 0xab8;
export const FAULT_STATUS = 0xac0;
/** u64: time base at which the decrementer becomes negative. */
export const DEC_DEADLINE = 0xac8;
/** u32: linear-memory address of the hashed page table, 0 = none; u64: its size in bytes minus 1. */
export const HPT_HOST = 0xad0;
export const HPT_MASK = 0xad8;
/** u64: second doubleword of the partition table entry: process table's address and size (Power ISA III 5.7.6). */
export const PATE1 = 0xae0;
/** u64: real-mode accesses at or above it fault. */
export const RMA_SIZE = 0xae8;
/** u64: TB minus the machine's time base. */
export const TB_OFFSET = 0xaf0;
/** u64: Processor Version Register. */
export const PVR = 0xaf8;
/** u32: SLB entries of the CPU model; POWER9 rules (1) or POWER8's (0). */
export const SLB_SIZE = 0xb00;
export const IS_ISA300 = 0xb04;
/** u64: LPCR. */
export const LPCR = 0xb08;
/** u64: XER bits 57-63, the byte count of lswx and stswx. */
export const XER_BYTES = 0xb10;
/** u32: AMR bits 0-1 that entries of MMU_KERNEL were filled under. */
export const AMR_FILLED = 0xb18;
/** 96 bytes: free scratch for helpers; the first 64 take the operands of vector helpers. */
export const SCRATCH = 0xb80;
/** 64 SLB entries: u64 ESID word (as slbmte's RB), u64 VSID word (RS). */
export const SLB = 0xc00;

/** IR temporaries: 8-byte slots. */
export const TEMPS = 0x1000;
export const TEMPS_END = 0x2000;
/** Special purpose registers that are plain storage: u64 each, by SPR number. */
export const SPR = 0x2000;

// --- softmmu TLB: per MMU index 1024 entries of 32 bytes, direct-mapped by (address >> 12) & 1023 ---
export const TLB = 0x4000;
export const TLB_BITS = 10;
export const TLB_ENTRY = 32;
export const TLB_MMU_SIZE = 0x8000;
export const TLB_MODES = 4;
export const TLB_READ = 0;
export const TLB_WRITE = 8;
export const TLB_EXEC = 16;
/** u32: host (linear-memory) address of the page; of a device's page bits 44 and up of its physical address. */
export const TLB_HOST = 24;
/** u32: guest physical page number, its lower 32 bits. */
export const TLB_PHYS = 28;
export const TAG_INVALID = 1;
/** Translation valid, but the access must take the slow path: device memory, or ROM for writes. */
export const TAG_SLOW = 2;
/** Writes only: RAM page that holds translated code. */
export const TAG_CODE = 4;

/** 512 u16: TLB entries (MMU index * 1024 + index) filled with translations of addresses whose bit 63 is clear, since the last flush. */
export const TLB_LOG = 0x24000;
export const TLB_LOG_SIZE = 512;
/** 4096 bits: pages (by number modulo 4096) that code was fetched from since the last flush of the TLB. */
export const CODE_FILTER = 0x24400;
export const CODE_FILTER_SIZE = 0x200;

/** Jump cache: 2^JC_BITS (accel/tcg/map) entries of 32 bytes. */
export const JC = 0x28000;
export const JC_ENTRY = 32;

// --- MMU indexes ---
export const MMU_KERNEL = 0;
export const MMU_USER = 1;
export const MMU_REAL = 2;
/** Supervisor state with AMR key 0 closed to reads and writes of problem state's pages (radix). */
export const MMU_KERNEL_LOCKED = 3;

// --- HFLAGS ---
/** MMU index of data accesses, bits 0-1, and of instruction fetches, bits 2-3. */
export const HF_FETCH_SHIFT = 2;
export const HF_LE = 0x10;
export const HF_SF = 0x20;
export const HF_PR = 0x40;
export const HF_FP = 0x80;
export const HF_VEC = 0x100;
export const HF_VSX = 0x200;
/** Single-step and branch trace. */
export const HF_SE = 0x400;
export const HF_BE = 0x800;
/** FSCR.TAR, FSCR.SCV, FSCR.DSCR or supervisor state. */
export const HF_TAR = 0x1000;
export const HF_SCV = 0x2000;

// --- MSR bits (Power ISA III 3.2.1) ---
export const MSR_LE = 1;
export const MSR_RI = 0x2;
export const MSR_DR = 0x10;
export const MSR_IR = 0x20;
export const MSR_FE1 = 0x100;
export const MSR_BE = 0x200;
export const MSR_SE = 0x400;
export const MSR_FE0 = 0x800;
export const MSR_ME = 0x1000;
export const MSR_FP = 0x2000;
export const MSR_PR = 0x4000;
export const MSR_EE = 0x8000;
export const MSR_VSX = 0x800000;
export const MSR_VEC = 0x2000000;

// --- EVENTS ---
/** Look at PENDING. */
export const EV_CHECK = 1;
/** The run loop must return to its caller. */
export const EV_EXIT = 32;

// --- PENDING ---
export const INT_EXTERNAL = 1;
export const INT_DECREMENTER = 2;
export const INT_DOORBELL = 4;
export const INT_RESET = 8;
/** Hypervisor virtualization interrupt of XIVE is not seen by guests. */

// --- HALTED ---
/** H_CEDE: ends with any interrupt. */
export const HALT_CEDED = 1;
/** Not started, or stopped by RTAS stop-self: only the machine starts it. */
export const HALT_STOPPED = 2;
/** stop or nap. */
export const HALT_STOP = 3;

// --- EXC_VECTOR: interrupt vectors (Power ISA III 6.5), with the cause in EXC_ERROR ---
export const V_RESET = 0x100;
export const V_MACHINE_CHECK = 0x200;
export const V_DATA_STORAGE = 0x300;
export const V_DATA_SEGMENT = 0x380;
export const V_INSN_STORAGE = 0x400;
export const V_INSN_SEGMENT = 0x480;
export const V_EXTERNAL = 0x500;
export const V_ALIGNMENT = 0x600;
/** EXC_ERROR: SRR1 bits >> 16: PROGRAM_*. */
export const V_PROGRAM = 0x700;
export const V_FP_UNAVAILABLE = 0x800;
export const V_DECREMENTER = 0x900;
export const V_DOORBELL = 0xa00;
export const V_SYSTEM_CALL = 0xc00;
export const V_TRACE = 0xd00;
export const V_PERFORMANCE = 0xf00;
export const V_VEC_UNAVAILABLE = 0xf20;
export const V_VSX_UNAVAILABLE = 0xf40;
/** EXC_ERROR: FSCR's interrupt cause. */
export const V_FACILITY_UNAVAILABLE = 0xf60;

/** SRR1 bits of a program interrupt, >> 16. */
export const PROGRAM_FP = 0x10;
export const PROGRAM_ILLEGAL = 0x8;
export const PROGRAM_PRIVILEGED = 0x4;
export const PROGRAM_TRAP = 0x2;

// --- LPCR bits ---
export const LPCR_HR = 0x100000;
export const LPCR_UPRT = 0x400000;
export const LPCR_GTSE = 0x400;
export const LPCR_ILE = 0x2000000;
/** Alternate interrupt location, bits 23-24. */
export const LPCR_AIL_SHIFT = 23;
export const LPCR_AIL = 0x1800000;
export const LPCR_LD = 0x20000;
/** Which exits from stop are enabled (PECE); not consulted here. */

// --- SPR numbers the runtime uses ---
export const SPR_DSCR = 17;
export const SPR_DSISR = 18;
export const SPR_DAR = 19;
export const SPR_SRR0 = 26;
export const SPR_SRR1 = 27;
export const SPR_CFAR = 28;
export const SPR_PID = 48;
export const SPR_FSCR = 153;
export const SPR_VRSAVE = 256;
export const SPR_SPRG0 = 272;
export const SPR_CTRL = 152;
export const SPR_AMR = 29;
export const SPR_IAMR = 61;
export const SPR_UAMOR = 157;
export const SPR_PIR = 1023;
export const SPR_TAR = 815;
