/**
 * Registers of the 82540EM. Source: Intel "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual"
 * (317453), chapter 13, table 13-2.
 */

/** Byte offsets. */
export const Reg = {
  ctrl: 0x0000,
  status: 0x0008,
  eecd: 0x0010,
  eerd: 0x0014,
  ctrlExt: 0x0018,
  mdic: 0x0020,
  fcal: 0x0028,
  fcah: 0x002c,
  fct: 0x0030,
  vet: 0x0038,
  icr: 0x00c0,
  itr: 0x00c4,
  ics: 0x00c8,
  ims: 0x00d0,
  imc: 0x00d8,
  rctl: 0x0100,
  fcttv: 0x0170,
  txcw: 0x0178,
  rxcw: 0x0180,
  tctl: 0x0400,
  tipg: 0x0410,
  aifs: 0x0458,
  ledctl: 0x0e00,
  pba: 0x1000,
  fcrtl: 0x2160,
  fcrth: 0x2168,
  rdbal: 0x2800,
  rdbah: 0x2804,
  rdlen: 0x2808,
  rdh: 0x2810,
  rdt: 0x2818,
  rdtr: 0x2820,
  rxdctl: 0x2828,
  radv: 0x282c,
  rsrpd: 0x2c00,
  tdbal: 0x3800,
  tdbah: 0x3804,
  tdlen: 0x3808,
  tdh: 0x3810,
  tdt: 0x3818,
  tidv: 0x3820,
  txdctl: 0x3828,
  tadv: 0x382c,
  tspmt: 0x3830,
  mpc: 0x4010,
  gprc: 0x4074,
  bprc: 0x4078,
  mprc: 0x407c,
  gptc: 0x4080,
  gorcl: 0x4088,
  gorch: 0x408c,
  gotcl: 0x4090,
  gotch: 0x4094,
  rnbc: 0x40a0,
  roc: 0x40ac,
  torl: 0x40c0,
  torh: 0x40c4,
  totl: 0x40c8,
  toth: 0x40cc,
  tpr: 0x40d0,
  tpt: 0x40d4,
  mptc: 0x40f0,
  bptc: 0x40f4,
  tsctc: 0x40f8,
  rxcsum: 0x5000,
  mta: 0x5200,
  ra: 0x5400,
  vfta: 0x5600,
  wuc: 0x5800,
  wufc: 0x5808,
  wus: 0x5810,
  manc: 0x5820,
  ipav: 0x5838,
} as const;

/** A register, or a run of equal ones. Bits outside `mask` keep their reset value. */
export interface RegisterRow {
  readonly offset: number;
  readonly count?: number;
  readonly reset?: number;
  /** Bits that the guest writes; none = read-only. */
  readonly mask?: number;
  /** Reading clears it: a counter. */
  readonly counter?: true;
}

const ALL = 0xffffffff;

export const REGISTERS: readonly RegisterRow[] = [
  // Full duplex, 1 Gb/s.
  { offset: Reg.ctrl, reset: 0x00000201, mask: 0xdfffffff },
  { offset: Reg.status, reset: 0x00000681 },
  { offset: Reg.eecd, mask: 0x4f },
  { offset: Reg.eerd },
  { offset: Reg.ctrlExt, mask: ALL },
  { offset: Reg.mdic, reset: 0x10000000 },
  { offset: Reg.fcal, reset: 0x00c28001, mask: ALL },
  { offset: Reg.fcah, reset: 0x00000100, mask: 0xffff },
  { offset: Reg.fct, reset: 0x00008808, mask: 0xffff },
  { offset: Reg.vet, reset: 0x00008100, mask: 0xffff },
  { offset: Reg.icr },
  { offset: Reg.itr, mask: 0xffff },
  { offset: Reg.ims },
  { offset: Reg.rctl, mask: 0x0ff7ffff },
  { offset: Reg.fcttv, mask: 0xffff },
  { offset: Reg.txcw, mask: ALL },
  { offset: Reg.rxcw },
  { offset: Reg.tctl, mask: 0x03fffffa },
  { offset: Reg.tipg, mask: 0x3fffffff },
  { offset: Reg.aifs, mask: 0xffff },
  { offset: Reg.ledctl, reset: 0x07061302, mask: ALL },
  { offset: Reg.pba, reset: 0x00100030, mask: 0xffff },
  { offset: Reg.fcrtl, mask: 0x8000fff8 },
  { offset: Reg.fcrth, mask: 0x0000fff8 },
  { offset: Reg.rdbal, mask: 0xfffffff0 },
  { offset: Reg.rdbah, mask: ALL },
  { offset: Reg.rdlen, mask: 0x000fff80 },
  { offset: Reg.rdh, mask: 0xffff },
  { offset: Reg.rdt, mask: 0xffff },
  { offset: Reg.rdtr, mask: 0xffff },
  { offset: Reg.rxdctl, mask: ALL },
  { offset: Reg.radv, mask: 0xffff },
  { offset: Reg.rsrpd, mask: 0xfff },
  { offset: Reg.tdbal, mask: 0xfffffff0 },
  { offset: Reg.tdbah, mask: ALL },
  { offset: Reg.tdlen, mask: 0x000fff80 },
  { offset: Reg.tdh, mask: 0xffff },
  { offset: Reg.tdt, mask: 0xffff },
  { offset: Reg.tidv, mask: 0xffff },
  { offset: Reg.txdctl, mask: ALL },
  { offset: Reg.tadv, mask: 0xffff },
  { offset: Reg.tspmt, reset: 0x01000400, mask: ALL },
  // Statistics, 4000h to 40FCh.
  { offset: 0x4000, count: 64, counter: true },
  { offset: Reg.rxcsum, mask: 0x3ff },
  { offset: Reg.mta, count: 128, mask: ALL },
  { offset: Reg.ra, count: 32, mask: ALL },
  { offset: Reg.vfta, count: 128, mask: ALL },
  { offset: Reg.wuc, mask: ALL },
  { offset: Reg.wufc, mask: ALL },
  { offset: Reg.wus, mask: ALL },
  { offset: Reg.manc, mask: ALL },
  { offset: Reg.ipav, mask: ALL },
];

export const Ctrl = { reset: 1 << 26, vme: 1 << 30, phyReset: 0x80000000 } as const;
export const Status = { linkUp: 2 } as const;
/** Causes in ICR, ICS, IMS, IMC. */
export const Cause = {
  txDescWritten: 1,
  txQueueEmpty: 2,
  linkChange: 4,
  rxMinimum: 0x10,
  rxOverrun: 0x40,
  rxTimer: 0x80,
  mdio: 0x200,
} as const;
export const Rctl = {
  enable: 2,
  storeBad: 4,
  unicastPromisc: 8,
  multicastPromisc: 0x10,
  longPackets: 0x20,
  minimumShift: 8,
  multicastOffsetShift: 12,
  broadcast: 1 << 15,
  sizeShift: 16,
  vlanFilter: 1 << 18,
  sizeExtension: 1 << 25,
  stripCrc: 1 << 26,
} as const;
export const Tctl = { enable: 2, padShort: 8 } as const;
export const Rxcsum = { ip: 0x100, tcpUdp: 0x200 } as const;
/** RAH: address valid. */
export const RAH_VALID = 0x80000000;

/** The register file: masks, reset values, counters. */
export class RegisterFile {
  readonly words = new Uint32Array(0x6000 / 4);
  private readonly rows: (RegisterRow | undefined)[] = [];

  constructor() {
    for (const row of REGISTERS) for (let i = 0; i < (row.count ?? 1); i++) this.rows[row.offset / 4 + i] = row;
    this.reset();
  }

  reset(): void {
    for (let i = 0; i < this.words.length; i++) this.words[i] = this.rows[i]?.reset ?? 0;
  }

  row(offset: number): RegisterRow | undefined {
    return this.rows[offset / 4];
  }

  get(offset: number): number {
    return this.words[offset / 4]!;
  }

  set(offset: number, value: number): void {
    this.words[offset / 4] = value;
  }

  /** A guest's read; counters are cleared by it. */
  read(offset: number): number {
    const row = this.rows[offset / 4];
    if (!row) return 0;
    const v = this.words[offset / 4]!;
    if (row.counter) this.words[offset / 4] = 0;
    return v;
  }

  /** A guest's write, as far as the register takes it. */
  write(offset: number, value: number): void {
    const mask = this.rows[offset / 4]?.mask ?? 0;
    const at = offset / 4;
    this.words[at] = ((this.words[at]! & ~mask) | (value & mask)) >>> 0;
  }

  /** Counts, up to the register's end. */
  count(offset: number, n = 1): void {
    this.words[offset / 4] = Math.min(0xffffffff, this.words[offset / 4]! + n);
  }

  /** Counts in a pair of registers. */
  count64(low: number, n: number): void {
    const sum = this.words[low / 4]! + n;
    this.words[low / 4] = sum;
    if (sum > 0xffffffff) this.count(low + 4);
  }
}
