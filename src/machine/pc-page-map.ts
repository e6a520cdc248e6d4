/**
 * `info mem` of an x86 vCPU: the linear ranges that its page tables map, each with what all levels together allow.
 *
 * Source: Intel SDM vol 3 4.3 to 4.5; the output as QEMU 7.2's. *Not emulated*: 5-level paging.
 */

const PRESENT = 1n;
const WRITABLE = 2n;
const USER = 4n;
const LARGE = 0x80n;
const RIGHTS = WRITABLE | USER;
const ADDRESS = 0x000f_ffff_ffff_f000n;
const CR0_PG = 1 << 31;
const CR4_PSE = 1 << 4;
const CR4_PAE = 1 << 5;
const EFER_LMA = 1 << 10;
/** Tables that map themselves make a tree without end. */
const TABLES_MAX = 20_000;

/** The control registers that say which tables there are. */
export interface PagingState {
  readonly cr0: number;
  readonly cr3: bigint;
  readonly cr4: number;
  readonly efer: number;
}

interface Level {
  /** Linear bytes that one entry maps. */
  readonly entryBytes: bigint;
  readonly entries: number;
  /** Whether an entry can map a page itself. */
  readonly leaf: "always" | "large" | "never";
}

const LEVEL_4K: Level = { entryBytes: 1n << 12n, entries: 512, leaf: "always" };
const LEVEL_2M: Level = { entryBytes: 1n << 21n, entries: 512, leaf: "large" };
const LONG: readonly Level[] = [
  { entryBytes: 1n << 39n, entries: 512, leaf: "never" },
  { entryBytes: 1n << 30n, entries: 512, leaf: "large" },
  LEVEL_2M,
  LEVEL_4K,
];
/** The four pointers have no rights of their own. */
const PAE: readonly Level[] = [{ entryBytes: 1n << 30n, entries: 4, leaf: "never" }, LEVEL_2M, LEVEL_4K];
const legacy = (pse: boolean): readonly Level[] => [
  { entryBytes: 1n << 22n, entries: 1024, leaf: pse ? "large" : "never" },
  { entryBytes: 1n << 12n, entries: 1024, leaf: "always" },
];

/** @param read little-endian bytes of physical memory; what is not RAM reads as anything */
export function pageMapText(state: PagingState, read: (address: number, sizeBytes: number) => DataView): string {
  if (!(state.cr0 & CR0_PG)) return "PG disabled\n";
  const long = (state.efer & EFER_LMA) !== 0;
  const wide = long || (state.cr4 & CR4_PAE) !== 0;
  const levels = long ? LONG : wide ? PAE : legacy((state.cr4 & CR4_PSE) !== 0);
  const out: string[] = [];
  const hex = (n: bigint) => n.toString(16).padStart(16, "0");
  let run: { start: bigint; end: bigint; rights: bigint } | undefined;
  let tables = 0;

  const flush = () => {
    if (!run) return;
    const { start, end, rights } = run;
    out.push(`${hex(start)}-${hex(end)} ${hex(end - start)} ${rights & USER ? "u" : "-"}r${rights & WRITABLE ? "w" : "-"}`);
    run = undefined;
  };
  const map = (start: bigint, size: bigint, rights: bigint) => {
    if (run?.end === start && run.rights === rights) run.end = start + size;
    else {
      flush();
      run = { start, end: start + size, rights };
    }
  };
  const walk = (table: bigint, depth: number, base: bigint, above: bigint) => {
    if (++tables > TABLES_MAX) return;
    const { entryBytes, entries, leaf } = levels[depth]!;
    const bytes = wide ? 8 : 4;
    const view = read(Number(table), entries * bytes);
    for (let i = 0; i < entries; i++) {
      const entry = wide ? view.getBigUint64(8 * i, true) : BigInt(view.getUint32(4 * i, true));
      if (!(entry & PRESENT)) continue;
      let linear = base + BigInt(i) * entryBytes;
      // Bit 47 fills the rest of a canonical address.
      if (long && depth === 0 && i >= 256) linear |= 0xffff_0000_0000_0000n;
      const rights = levels === PAE && depth === 0 ? above : above & entry & RIGHTS;
      if (leaf === "always" || (leaf === "large" && entry & LARGE)) map(linear, entryBytes, rights);
      else walk(entry & ADDRESS, depth + 1, linear, rights);
    }
  };
  walk(state.cr3 & (levels === PAE ? 0xffff_ffe0n : long ? ADDRESS : 0xffff_f000n), 0, 0n, RIGHTS);
  flush();
  if (tables > TABLES_MAX) out.push(`(more than ${TABLES_MAX} tables; the rest is left out)`);
  return `${out.join("\n")}\n`;
}
