/**
 * Translated blocks: where they lie in linear memory, which guest code they came from, and how they die when it is
 * written. Keys are host addresses of guest code, so aliases of one page share blocks only when their PC agrees too.
 */
import {
  BH_FLAGS,
  BH_FUNC,
  BH_MAP,
  BH_NEXT,
  BLOCK_HASH,
  BLOCK_HASH_SIZE,
  BLOCKS,
  BLOCKS_END,
  CODE_PAGES,
  DEAD_FLAGS,
} from "./map.js";
import type { BlockEnd } from "./target.js";

/** One translated basic block. */
export class Block {
  /** Address of the header in linear memory. */
  header = 0;
  valid = true;
  constructor(
    readonly host: number,
    /** Host address of the second page's first byte if the block reaches into it, else 0. */
    readonly host2: number,
    readonly pcLo: number,
    readonly pcHi: number,
    readonly flags: number,
    readonly base: number,
    readonly insns: number,
    readonly size: number,
    readonly simple: boolean,
    readonly end: BlockEnd,
    readonly records: number,
  ) {}
}

/** Something that depends on code bytes: a block or a compiled region. */
export interface CodeUser {
  valid: boolean;
}

export class CodeCache {
  private readonly byHost = new Map<number, Block[]>();
  private readonly byPage = new Map<number, Set<Block>>();
  /** Regions by page they contain code of. */
  private readonly regionsByPage = new Map<number, Set<CodeUser>>();
  private next = BLOCKS;
  blocks = 0;
  flushes = 0;

  constructor(
    private readonly u8: Uint8Array,
    private readonly u32: Uint32Array,
    /** Write-protects a page (by host address) against stores that bypass us. */
    private readonly protect: (hostPage: number) => void,
    private readonly unprotect: (hostPage: number) => void,
    /** Something was dropped: cached look-ups are stale. */
    private readonly onDropped: (region: CodeUser | undefined, block: Block | undefined) => void,
  ) {}

  find(host: number, pcLo: number, pcHi: number, flags: number, base: number): Block | undefined {
    const list = this.byHost.get(keyOf(host, pcLo));
    if (!list) return undefined;
    for (const b of list) if (b.pcLo === pcLo && b.pcHi === pcHi && b.flags === flags && b.base === base) return b;
    return undefined;
  }

  /** Bytes for a block's header and records, 0 when the area is full (the caller flushes everything). */
  allocate(bytes: number): number {
    const at = this.next;
    if (at + bytes > BLOCKS_END) return 0;
    this.next = (at + bytes + 15) & ~15;
    return at;
  }

  get usedBytes(): number {
    return this.next - BLOCKS;
  }

  add(b: Block): void {
    const list = this.byHost.get(keyOf(b.host, b.pcLo));
    if (list) list.push(b);
    else this.byHost.set(keyOf(b.host, b.pcLo), [b]);
    const head = hashSlot(b);
    this.u32[(b.header + BH_NEXT) >>> 2] = this.u32[head]!;
    this.u32[head] = b.header;
    this.addPage(b.host - (b.host % 4096), b);
    if (b.host2) this.addPage(b.host2, b);
    this.blocks++;
  }

  /** The region that begins at a block: its function (0 = none) and the list of places it relies on (0 = none). */
  setRegion(b: Block, func: number, map: number): void {
    this.u32[(b.header + BH_FUNC) >>> 2] = func;
    this.u32[(b.header + BH_MAP) >>> 2] = map;
  }

  private addPage(page: number, b: Block): void {
    let set = this.byPage.get(page);
    if (!set) {
      set = new Set();
      this.byPage.set(page, set);
    }
    set.add(b);
    if (!this.u8[CODE_PAGES + (page >>> 12)]) this.protect(page);
  }

  addRegion(pages: Iterable<number>, region: CodeUser): void {
    for (const p of pages) {
      let set = this.regionsByPage.get(p);
      if (!set) {
        set = new Set();
        this.regionsByPage.set(p, set);
      }
      set.add(region);
    }
  }

  /** Blocks that overlap host bytes [at, at + length). */
  private overlapping(at: number, length: number): Block[] {
    const out: Block[] = [];
    for (let page = at - (at % 4096); page < at + length; page += 4096) {
      const set = this.byPage.get(page);
      if (!set) continue;
      for (const b of set) {
        // A block's part in this page: from its start, or (second page) from the page's beginning.
        const inFirst = b.host - (b.host % 4096) === page;
        const start = inFirst ? b.host : page;
        const end = inFirst ? Math.min(b.host + b.size, page + 4096) : page + (b.size - (4096 - (b.host % 4096)));
        if (start < at + length && at < end) out.push(b);
      }
    }
    return out;
  }

  /** Host addresses of the pages that code was translated from. */
  codePages(): Iterable<number> {
    return this.byPage.keys();
  }

  /** Whether a write to host bytes would hit this block. */
  hits(at: number, length: number, header: number): boolean {
    return this.overlapping(at, length).some((b) => b.header === header);
  }

  /** Guest code changed: drops what overlaps. */
  invalidate(at: number, length: number): void {
    const dead = this.overlapping(at, length);
    for (const b of dead) this.remove(b);
    if (dead.length)
      for (let page = at - (at % 4096); page < at + length; page += 4096) {
        const regions = this.regionsByPage.get(page);
        if (!regions) continue;
        for (const r of regions) {
          r.valid = false;
          this.onDropped(r, undefined);
        }
        this.regionsByPage.delete(page);
      }
    for (let page = at - (at % 4096); page < at + length; page += 4096) {
      const set = this.byPage.get(page);
      if ((!set || set.size === 0) && this.u8[CODE_PAGES + page / 4096]) {
        this.byPage.delete(page);
        this.unprotect(page);
      }
    }
  }

  private remove(b: Block): void {
    b.valid = false;
    this.u32[(b.header + BH_FLAGS) >>> 2] = DEAD_FLAGS;
    const list = this.byHost.get(keyOf(b.host, b.pcLo));
    if (list) {
      const i = list.indexOf(b);
      if (i >= 0) list.splice(i, 1);
      if (list.length === 0) this.byHost.delete(keyOf(b.host, b.pcLo));
    }
    let at = hashSlot(b);
    while (this.u32[at] !== 0 && this.u32[at] !== b.header) at = (this.u32[at]! + BH_NEXT) >>> 2;
    if (this.u32[at] === b.header) this.u32[at] = this.u32[(b.header + BH_NEXT) >>> 2]!;
    this.byPage.get(b.host - (b.host % 4096))?.delete(b);
    if (b.host2) this.byPage.get(b.host2)?.delete(b);
    this.blocks--;
    this.onDropped(undefined, b);
  }

  /** Forgets everything. */
  flush(): void {
    this.flushes++;
    for (const page of this.byPage.keys()) this.unprotect(page);
    for (const set of this.regionsByPage.values()) for (const r of set) r.valid = false;
    this.u32.fill(0, BLOCK_HASH >>> 2, (BLOCK_HASH >>> 2) + BLOCK_HASH_SIZE);
    this.byHost.clear();
    this.byPage.clear();
    this.regionsByPage.clear();
    this.next = BLOCKS;
    this.blocks = 0;
  }
}

/** Index (of u32) of the chain head for a block: as the runtime's `refill` has it. */
function hashSlot(b: Block): number {
  const pcPage = (b.pcLo >>> 12) | (b.pcHi << 20);
  return (BLOCK_HASH >>> 2) + ((b.host ^ (b.host >>> 12) ^ pcPage ^ (pcPage >>> 8)) & (BLOCK_HASH_SIZE - 1));
}

/** Key of a block by host address and the PC's page: a program's code has another PC in every process. */
function keyOf(host: number, pcLo: number): number {
  return host * 2 ** 20 + (pcLo >>> 12);
}
