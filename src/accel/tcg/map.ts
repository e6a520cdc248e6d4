/**
 * The machine's one linear memory: fixed addresses of the engine's tables, below guest RAM. Plain numeric constants only:
 * read by TypeScript and by the AssemblyScript runtime.
 *
 * 0x0000000 runtime's static data and scratch; 0x0800000 PHYS_MAP; 0x1000000 CODE_PAGES; 0x1200000 translation blocks;
 * 0x4000000 vCPU states; 0x5000000 guest RAM and ROM.
 */

/** u32: number of vCPU states in use. */
export const CPU_COUNT = 0xffff0;
/** vCPU states, ENV_SIZE (target layout) each. */
export const ENVS = 0x4000000;
export const MAX_CPUS = 16;
/** Jump cache entries: 2^JC_BITS, by (PC ^ PC >> JC_BITS). */
export const JC_BITS = 14;
/** u32 per guest physical 4 KiB page of the first 8 GiB: host page address (bits 12-31) and one of MAP_*. */
export const PHYS_MAP = 0x800000;
export const PHYS_MAP_PAGES = 0x200000;
/** Not memory: through physRead and physWrite. */
export const MAP_MMIO = 0;
export const MAP_RAM = 1;
/** Reads direct; writes through physWrite. */
export const MAP_ROM = 2;
export const MAP_KIND = 3;
/** u8 per 4 KiB page of the linear memory: nonzero = holds translated code. */
export const CODE_PAGES = 0x1000000;
/** Heads of the chains of block headers, by host address of the code and page of the PC: u32 each. */
export const BLOCK_HASH = 0x1100000;
export const BLOCK_HASH_SIZE = 0x10000;
/**
 * A block in memory: this header, IR records, then per instruction u16 record index and u16 guest offset.
 * BH_FUNC: table index of the region that begins here, 0 = none. BH_MAP: 0, or the address of a list of places whose
 * mapping the region relies on: u32 count, then per place u32 PC low, PC high, host address.
 */
export const BH_INSNS = 0;
export const BH_COUNTER = 4;
export const BH_HOST = 8;
export const BH_RECORDS = 12;
export const BH_PC = 16;
export const BH_FLAGS = 24;
export const BH_BASE = 28;
export const BH_NEXT = 32;
export const BH_FUNC = 36;
export const BH_MAP = 40;
/** Host address of the second page if the block reaches into it, else 0. */
export const BH_HOST2 = 44;
/** u64 each: recent targets of the indirect jump that ends the block, by a hash of the target; 0 = none. */
export const BH_TARGETS = 48;
export const BH_TARGET_COUNT = 8;
/**
 * u32 each: the block that the jump at the end leads to, when its PC lies in this block's page: what maps this block maps it.
 * 0 = not known yet, LINK_NEVER = in another page. A block that dies has BH_FLAGS that no mode has.
 */
export const BH_LINK_JMP = 112;
export const BH_LINK_JNZ = 116;
export const LINK_NEVER = 1;
export const DEAD_FLAGS = 0xffffffff;
export const BH_SIZE = 120;
/** Translation blocks and IR records. */
export const BLOCKS = 0x1210000;
export const BLOCKS_END = 0x4000000;
/** One block at a time that is not kept. */
export const SCRATCH_BLOCK = 0x1200000;
/** A page that translated code may touch harmlessly before its page tags are set. */
export const POISON_PAGE = 0x120e000;
/** First byte that is not the engine's. */
export const ENGINE_BYTES = 0x5000000;
