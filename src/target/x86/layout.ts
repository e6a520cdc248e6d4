/**
 * The x86 vCPU state in linear memory ("env"), in bytes from the env's base. Plain numeric constants only: this file is
 * read both by TypeScript and by the AssemblyScript runtime. Register names as in the Intel SDM and AMD APM.
 */

/** Bytes of one env, TLB and jump cache included. */
export const ENV_SIZE = 0xa0000;

// --- IR globals: 8-byte slots (slot number = offset / 8) ---
/** RAX RCX RDX RBX RSP RBP RSI RDI R8..R15, 8 bytes each. */
export const GPR = 0x000;
/** Instruction pointer within the code segment (not linear). */
export const RIP = 0x080;
/** Lazy flags: see CC_* below. */
export const CC_DST = 0x088;
export const CC_SRC = 0x090;
export const CC_SRC2 = 0x098;
export const CC_OP = 0x0a0;
/** Direction: 1 or -1 as i64. */
export const DF = 0x0a8;
/** Segment bases ES CS SS DS FS GS, 8 bytes each. */
export const SEG_BASE = 0x0b0;

// --- the rest of the state ---
/** u32: EFLAGS without CF PF AF ZF SF OF and DF, which live in CC_* and DF; bit 1 set. */
export const EFLAGS = 0x100;
/** u32: what translated code depends on, HF_* below. */
export const HFLAGS = 0x104;
/** u32 each, ES CS SS DS FS GS. */
export const SEG_SEL = 0x108;
/** u32 each, in bytes (granularity applied). */
export const SEG_LIMIT = 0x120;
/** u32 each: the descriptor's high dword (attribute bits 8-15 and 20-23 as in memory). */
export const SEG_FLAGS = 0x138;
export const LDTR_SEL = 0x150;
export const LDTR_LIMIT = 0x154;
export const LDTR_FLAGS = 0x158;
export const LDTR_BASE = 0x160;
export const TR_SEL = 0x168;
export const TR_LIMIT = 0x16c;
export const TR_FLAGS = 0x170;
export const TR_BASE = 0x178;
export const GDT_LIMIT = 0x180;
export const GDT_BASE = 0x188;
export const IDT_LIMIT = 0x190;
export const IDT_BASE = 0x198;
export const CR0 = 0x1a0;
export const CR2 = 0x1a8;
export const CR3 = 0x1b0;
export const CR4 = 0x1b8;
export const EFER = 0x1c0;
export const STAR = 0x1c8;
export const LSTAR = 0x1d0;
export const CSTAR = 0x1d8;
export const SFMASK = 0x1e0;
export const KERNEL_GS_BASE = 0x1e8;
export const SYSENTER_CS = 0x1f0;
export const SYSENTER_ESP = 0x1f8;
export const SYSENTER_EIP = 0x200;
export const PAT = 0x208;
export const MISC_ENABLE = 0x210;
/** u64 added to the host's TSC (wraps). */
export const TSC_OFFSET = 0x218;
export const TSC_AUX = 0x220;
export const TSC_ADJUST = 0x228;
export const MTRR_DEF_TYPE = 0x230;
/** Eleven fixed-range MTRRs. */
export const MTRR_FIXED = 0x240;
/** Eight pairs base, mask. */
export const MTRR_VAR = 0x2a0;
/** DR0..DR7, u64 each. */
export const DR = 0x320;
export const XCR0 = 0x360;
/** u32 each. */
export const FCW = 0x370;
/** u32: status word with TOP (bits 11-13) always zero here; TOP is in FTOP. */
export const FSW = 0x374;
/** u32, 0..7. */
export const FTOP = 0x378;
/** u32: bit i set = physical register i is empty. */
export const FTAGS = 0x37c;
export const FOP = 0x380;
export const FCS = 0x384;
export const FDS = 0x388;
export const MXCSR = 0x38c;
export const FIP = 0x390;
export const FDP = 0x398;
/** Physical x87 registers, 16 bytes each: u64 significand, u16 sign and exponent. MM registers are the significands. */
export const FPR = 0x3a0;
/** XMM0..XMM15, 16 bytes each; then 16 vector temporaries of the translator (v slots 16..31). */
export const XMM = 0x420;
export const VTEMP = 0x520;
/** Upper halves of YMM0..YMM15 (kept for AVX). */
export const YMMH = 0x620;
/** i32: exception vector of the fault being raised. */
export const EXC_VECTOR = 0x720;
/** u32 error code. */
export const EXC_ERROR = 0x724;
/** u32: pending event word, EV_* below; tested between blocks. */
export const EVENTS = 0x728;
/** u32: 1 while in HLT, 2 waiting for SIPI, 3 shut down (triple fault). */
export const HALTED = 0x72c;
/** u32: interrupts inhibited for one instruction (STI, MOV SS, POP SS). */
export const INHIBIT = 0x730;
export const NMI_BLOCKED = 0x734;
export const SMM = 0x738;
export const SMBASE = 0x73c;
/** u32: address of the IR record tier 0 was executing when it left for a helper or slow path. */
export const IR_PC = 0x740;
/** i32: guest instructions left until the run loop must look up. */
export const BUDGET = 0x744;
/** Two u32, for the lower and the upper half of the linear addresses (bit 63): moves whenever a translation of code addresses may have changed. */
export const TLB_GEN = 0x930;
/** u32: 0xffffffff or 0xffefffff (A20 gate). */
export const A20_MASK = 0x74c;
/** u32: vCPU number. */
export const CPU_INDEX = 0x750;
/** u32: why a region was left: site number (tier 1). */
export const EXIT_SITE = 0x754;
/** u32: region or block being executed. */
export const CUR_BLOCK = 0x758;
/** u64: length in bytes of the instruction for which a helper wants the next RIP (set by `helper` IR before the call). */
export const NEXT_RIP = 0x760;
/** u64: valid bits of CR4, EFER, XCR0 and of physical addresses, from the CPU model. */
export const CR4_VALID = 0x770;
export const EFER_VALID = 0x778;
export const XCR0_VALID = 0x780;
export const PHYS_MASK = 0x788;
/** u64: instructions retired. */
export const ICOUNT = 0x790;
/** u32: CPUID feature words as the guest sees them: 1.EDX, 1.ECX, 7.EBX, 0x80000001.EDX, 0x80000001.ECX. */
export const FEAT_1_EDX = 0x800;
export const FEAT_1_ECX = 0x804;
export const FEAT_7_EBX = 0x808;
export const FEAT_81_EDX = 0x80c;
export const FEAT_81_ECX = 0x810;
export const FEAT_7_ECX = 0x814;
/** u64 each, per segment: one past the last offset that may be read (written) without a closer look; 0 = always look. */
export const SEG_RLIM = 0x820;
export const SEG_WLIM = 0x850;
/** u64: scratch for two-result helpers. */
export const HELPER_HI = 0x880;
/** u32: 1 = MXCSR allows native arithmetic (round to nearest, all exceptions masked, PE already set, no DAZ/FTZ); 2 = all masked, no more; 0 = exceptions may be raised. */
export const FP_FAST = 0x888;
/** u32: family/model/stepping (CPUID 1.EAX) and vendor for reset values. */
export const CPU_SIGNATURE = 0x88c;
/** u64 each: PDPTE0..3 as loaded with CR3 in PAE mode. */
export const PDPTE = 0x890;
/** u64: linear address of an access that faulted or needs a closer look. */
export const FAULT_ADDR = 0x8b0;
/** 64 bytes: free scratch for helpers. */
export const SCRATCH = 0x8c0;
/** u32: nonzero = RIP is already what a fault must report; the run loop leaves it alone. */
export const RIP_EXACT = 0x900;
/** i32: -1, or the exception vector being delivered, or 0x100 for an interrupt. */
export const EXC_OLD = 0x904;
/** u32: start-up vector of a pending SIPI. */
export const SIPI_VECTOR = 0x908;
/** u32: DR6 bits of a pending debug trap (EV_TRAP). */
export const PENDING_DR6 = 0x90c;
/** u32: nonzero = translations of large pages are in the TLB. */
export const LARGE_SEEN = 0x910;
/** u32: nonzero = global translations are in the TLB. */
export const GLOBAL_SEEN = 0x914;
/** u32: error code of the walk that failed. */
export const WALK_ERROR = 0x918;
/** u32: an interrupt is pending but IF is clear: EV_INTR was taken out of EVENTS and comes back when IF is set. */
export const INTR_WAIT = 0x91c;
/** u32: bit m = MMU index m has had entries filled since its last whole flush. */
export const TLB_USED = 0x920;

/** u32: how many entries of TLB_LOG are in use; 257 = the log is full. */
export const TLB_LOG_COUNT = 0x938;
/** u32: code was fetched from a page in the upper half that is not global. */
export const UPPER_LOCAL = 0x93c;
/** u64 counters: instructions run by tier 0; region functions entered; regions left for one instruction. */
export const COUNT_TIER0 = 0x940;
export const COUNT_REGIONS = 0x948;
export const COUNT_SITES = 0x950;
/** 256 u16: TLB entries (MMU index * 1024 + index) filled with translations that are not global since the last flush. */
export const TLB_LOG = 0xc00;
export const TLB_LOG_SIZE = 256;
/** 4096 bits: pages (by number modulo 4096) that code was fetched from since the last flush of the TLB. */
export const CODE_FILTER = 0xa00;
export const CODE_FILTER_SIZE = 0x200;

/** IR temporaries: 8-byte slots. */
export const TEMPS = 0x1000;
export const TEMPS_END = 0x3000;

// --- softmmu TLB: per MMU index 1024 entries of 32 bytes, direct-mapped by (address >> 12) & 1023 ---
export const TLB = 0x4000;
export const TLB_BITS = 10;
export const TLB_ENTRY = 32;
export const TLB_MMU_SIZE = 0x8000;
export const TLB_MODES = 3;
/** Entry fields. A tag is the page's linear address, or has TAG_* bits set so that no aligned compare matches. */
export const TLB_READ = 0;
export const TLB_WRITE = 8;
export const TLB_EXEC = 16;
/** u32: host (linear-memory) address of the page. */
export const TLB_HOST = 24;
/** u32: guest physical page number. */
export const TLB_PHYS = 28;
export const TAG_INVALID = 1;
/** Translation valid, but the access must take the slow path: device memory, or ROM for writes. */
export const TAG_SLOW = 2;
/** Writes only: RAM page that holds translated code. */
export const TAG_CODE = 4;

/** MMU indexes. */
export const MMU_USER = 0;
/** Supervisor without SMAP enforcement (SMAP off, EFLAGS.AC set, or implicit accesses). */
export const MMU_KERNEL = 1;
/** Supervisor with SMAP enforced. */
export const MMU_KERNEL_SMAP = 2;

// --- jump cache: 2^JC_BITS (accel/tcg/map) entries of 32 bytes ---
export const JC = 0x20000;
export const JC_ENTRY = 32;
/** u64 RIP, u32 HFLAGS, u32 low CS base, u32 TLB_GEN, u32 block, u32 function index (0 = none yet). */
export const JC_RIP = 0;
export const JC_HFLAGS = 8;
export const JC_CSBASE = 12;
export const JC_GEN = 16;
export const JC_BLOCK = 20;
export const JC_FUNC = 24;

// --- HFLAGS ---
export const HF_CPL = 3;
/** CS.D: default operand and address size 32. */
export const HF_CS32 = 1 << 2;
/** 64-bit code segment. */
export const HF_CS64 = 1 << 3;
/** SS.B. */
export const HF_SS32 = 1 << 4;
/** ES, SS or DS base is not zero. */
export const HF_ADDSEG = 1 << 5;
export const HF_PE = 1 << 6;
export const HF_VM = 1 << 7;
export const HF_TF = 1 << 8;
/** MMU index for data, bits 9-10. */
export const HF_MMU_SHIFT = 9;
export const HF_TS = 1 << 11;
export const HF_EM = 1 << 12;
export const HF_MP = 1 << 13;
export const HF_OSFXSR = 1 << 14;
export const HF_IOPL_SHIFT = 15;
export const HF_LMA = 1 << 17;
export const HF_OSXSAVE = 1 << 18;
export const HF_SMM = 1 << 19;
/** Some of ES, SS, DS is not a flat 4 GiB read/write segment (not in 64-bit mode): accesses are checked. */
export const HF_SEGCHK = 1 << 20;
/** CS is not a flat 4 GiB segment (not in 64-bit mode). */
export const HF_CSCHK = 1 << 21;
export const HF_CR4_DE = 1 << 22;
export const HF_UMIP = 1 << 23;
export const HF_FSGSBASE = 1 << 24;
/** An enabled debug-register breakpoint exists. */
export const HF_DR7 = 1 << 25;
/** CR4.OSXMMEXCPT: SSE exceptions go to #XM rather than #UD. */
export const HF_OSXMMEXCPT = 1 << 26;

// --- lazy flags: CC_OP = operation + size (0 byte, 1 word, 2 long, 3 quad). Bits above the operand size are junk. ---
/** CC_SRC holds CF PF AF ZF SF OF in place. */
export const CC_EFLAGS = 0;
/** CC_DST = result, CC_SRC = second operand. */
export const CC_ADD = 4;
/** CC_DST = result, CC_SRC = second operand, CC_SRC2 = carry in (0 or 1). */
export const CC_ADC = 8;
/** CC_DST = first operand, CC_SRC = second operand (the result is their difference). */
export const CC_SUB = 12;
/** CC_DST = result, CC_SRC = second operand, CC_SRC2 = borrow in. */
export const CC_SBB = 16;
/** CC_DST = result; CF = OF = AF = 0. */
export const CC_LOGIC = 20;
/** CC_DST = result, CC_SRC = CF kept from before. */
export const CC_INC = 24;
export const CC_DEC = 28;
/** CC_DST = result, CC_SRC bit 0 = CF; OF = MSB(result) ^ CF; AF = 0. */
export const CC_SHL = 32;
/** SHR and SAR: CC_DST = result, CC_SRC bit 0 = CF; OF = MSB(result) ^ next lower bit; AF = 0. */
export const CC_SHR = 36;
/** Signed 64-bit: CC_DST = low half of the product, CC_SRC and CC_SRC2 the factors. */
export const CC_IMULQ = 44;
/** CC_DST = low half of the product, CC_SRC nonzero = CF and OF. */
export const CC_MUL = 40;

// --- EVENTS ---
/** The interrupt controller has a vector. */
export const EV_INTR = 1;
export const EV_NMI = 2;
export const EV_SMI = 4;
export const EV_INIT = 8;
export const EV_SIPI = 16;
/** The run loop must return to its caller. */
export const EV_EXIT = 32;
/** A debug trap (#DB) is due after the instruction just finished: single step or data breakpoint. */
export const EV_TRAP = 64;

// --- EFLAGS ---
export const FL_CF = 0x1;
export const FL_PF = 0x4;
export const FL_AF = 0x10;
export const FL_ZF = 0x40;
export const FL_SF = 0x80;
export const FL_TF = 0x100;
export const FL_IF = 0x200;
export const FL_DF = 0x400;
export const FL_OF = 0x800;
export const FL_IOPL = 0x3000;
export const FL_NT = 0x4000;
export const FL_RF = 0x10000;
export const FL_VM = 0x20000;
export const FL_AC = 0x40000;
export const FL_VIF = 0x80000;
export const FL_VIP = 0x100000;
export const FL_ID = 0x200000;
export const FL_ARITH = 0x8d5;
