/**
 * SMBIOS tables: what `dmidecode` in the guest shows.
 * Source: DMTF DSP0134, System Management BIOS Reference Specification 2.8.0 (section named at each structure).
 * Built: types 0, 1, 3, 4, 16, 17, 19, 32, 127, with types 2 and 11 when asked. Not built: caches (7), slots (9), the rest.
 */
import { VmError } from "../base/errors.js";
import { ByteWriter, checksumByte } from "./bytes.js";
import type { FwCfg } from "./fw-cfg.js";

/** Names of the fw_cfg files. */
export const SmbiosFile = { anchor: "etc/smbios/smbios-anchor", tables: "etc/smbios/smbios-tables" } as const;

/** Text that every structure of a kind may carry; absent means "not specified". */
export interface SmbiosIdentity {
  readonly manufacturer?: string | undefined;
  readonly product?: string | undefined;
  readonly version?: string | undefined;
  readonly serial?: string | undefined;
  readonly sku?: string | undefined;
  readonly family?: string | undefined;
  readonly asset?: string | undefined;
}

export interface SmbiosConfig {
  readonly bios?: {
    readonly vendor?: string;
    readonly version?: string;
    readonly date?: string;
    readonly major?: number;
    readonly minor?: number;
  };
  readonly system: SmbiosIdentity;
  /** 16 bytes in the order the UUID is written; undefined leaves it "not settable". */
  readonly uuid?: Uint8Array | undefined;
  readonly board?: SmbiosIdentity;
  readonly chassis: SmbiosIdentity;
  readonly oemStrings?: readonly string[];
  readonly processor: {
    readonly manufacturer: string;
    readonly version: string;
    readonly sockets: number;
    readonly cores: number;
    readonly threads: number;
    /** CPUID leaf 1 EAX and EDX. */
    readonly cpuidEax: number;
    readonly cpuidEdx: number;
    readonly speedMhz: number;
  };
  readonly ram: { readonly belowBytes: number; readonly aboveBytes: number };
}

/** The identity of the `pc` machine. `name` is the user's `-name`; it appears nowhere else by default. */
export function pcSmbiosDefaults(name?: string): Pick<SmbiosConfig, "bios" | "system" | "chassis"> {
  return {
    bios: { vendor: "SeaBIOS", version: "1.16.2-debian-1.16.2-1", date: "04/01/2014", major: 0, minor: 0 },
    system: {
      manufacturer: "Tandem",
      product: "Standard PC (i440FX + PIIX, 1996)",
      version: "pc-i440fx",
      ...(name === undefined ? {} : { sku: name }),
    },
    chassis: { manufacturer: "Tandem", version: "pc-i440fx" },
  };
}

const Type = {
  bios: 0,
  system: 1,
  board: 2,
  chassis: 3,
  processor: 4,
  oemStrings: 11,
  memoryArray: 16,
  memoryDevice: 17,
  memoryMapping: 19,
  systemBoot: 32,
  end: 127,
} as const;

/** One structure: header and fields, then its strings. String fields hold the string's number from 1, or 0. */
class Structure {
  readonly fields = new ByteWriter(64);
  private readonly strings: string[] = [];

  constructor(
    type: number,
    readonly handle: number,
  ) {
    this.fields.u8(type, 0).u16(handle);
  }

  text(s: string | undefined): this {
    if (s === undefined || s === "") this.fields.u8(0);
    else {
      this.strings.push(s);
      this.fields.u8(this.strings.length);
    }
    return this;
  }

  /** Adds a string that no field names (type 11). */
  addString(s: string): this {
    this.strings.push(s);
    return this;
  }

  finish(): Uint8Array {
    const fields = this.fields.finish();
    fields[1] = fields.length;
    const w = new ByteWriter(fields.length + 64).bytes(fields);
    for (const s of this.strings) w.text(s).u8(0);
    if (this.strings.length === 0) w.u8(0);
    return w.u8(0).finish();
  }
}

const MIB = 2 ** 20;
const KIB_FIELD_MAX = 0x80000000;
/** Memory devices hold at most 16 GiB each. */
const DIMM_MAX_MIB = 16 * 1024;

/** The structures, one after another, the number of them and the size of the largest. */
export function smbiosTables(c: SmbiosConfig): { bytes: Uint8Array; count: number; largest: number } {
  const parts: Structure[] = [];
  const add = (type: number, handle: number): Structure => {
    const s = new Structure(type, handle);
    parts.push(s);
    return s;
  };

  // 7.1: no characteristics known; extension byte 2: this is a virtual machine, targeted content distribution.
  const bios = add(Type.bios, 0x0000);
  bios.text(c.bios?.vendor).text(c.bios?.version);
  bios.fields.u16(0xe800);
  bios.text(c.bios?.date);
  bios.fields
    .u8(0)
    .u64(0x08)
    .u8(0, 0x14, c.bios?.major ?? 0, c.bios?.minor ?? 0, 0xff, 0xff);

  // 7.2: wake-up by power switch.
  const system = add(Type.system, 0x0100);
  system.text(c.system.manufacturer).text(c.system.product).text(c.system.version).text(c.system.serial);
  system.fields.bytes(encodeUuid(c.uuid)).u8(6);
  system.text(c.system.sku).text(c.system.family);

  if (c.board) {
    // 7.3: a hosting board, a motherboard.
    const board = add(Type.board, 0x0200);
    board.text(c.board.manufacturer).text(c.board.product).text(c.board.version).text(c.board.serial).text(c.board.asset);
    board.fields.u8(1);
    board.text(undefined);
    board.fields.u16(0x0300).u8(0x0a, 0);
  }

  // 7.4: other chassis; boot-up, power supply, thermal state safe; no security.
  const chassis = add(Type.chassis, 0x0300);
  chassis.text(c.chassis.manufacturer);
  chassis.fields.u8(1);
  chassis.text(c.chassis.version).text(c.chassis.serial).text(c.chassis.asset);
  chassis.fields.u8(3, 3, 3, 2).u32(0).u8(0, 0, 0, 0);
  chassis.text(c.chassis.sku);

  for (let i = 0; i < c.processor.sockets; i++) processorStructure(c, add(Type.processor, 0x0400 + i), i);

  if (c.oemStrings && c.oemStrings.length > 0) {
    const oem = add(Type.oemStrings, 0x0e00);
    oem.fields.u8(c.oemStrings.length);
    for (const s of c.oemStrings) oem.addString(s);
  }

  memoryStructures(c, add);

  // 7.33: no error.
  add(Type.systemBoot, 0x2000).fields.zero(7);
  add(Type.end, 0x7f00);

  const finished = parts.map((p) => p.finish());
  const w = new ByteWriter(1024);
  for (const f of finished) w.bytes(f);
  return { bytes: w.finish(), count: parts.length, largest: Math.max(...finished.map((f) => f.length)) };
}

/** 7.5: one a socket. */
function processorStructure(c: SmbiosConfig, s: Structure, socket: number): void {
  const p = c.processor;
  const f = s.fields;
  s.text(`CPU ${socket}`);
  f.u8(3, 1); // central processor, family "other"
  s.text(p.manufacturer);
  f.u32(p.cpuidEax, p.cpuidEdx);
  s.text(p.version);
  f.u8(0).u16(0, p.speedMhz, p.speedMhz);
  f.u8(0x41, 1); // populated and enabled; upgrade "other"
  f.u16(0xffff, 0xffff, 0xffff); // no cache structures
  s.text(undefined).text(undefined).text(undefined);
  f.u8(Math.min(p.cores, 255), Math.min(p.cores, 255), Math.min(p.cores * p.threads, 255));
  f.u16(2, 1); // characteristics unknown, family "other"
}

/** 7.17, 7.18, 7.20: one array, memory devices of at most 16 GiB, one mapping a piece of RAM. */
function memoryStructures(c: SmbiosConfig, add: (type: number, handle: number) => Structure): void {
  const total = c.ram.belowBytes + c.ram.aboveBytes;
  const totalMib = Math.ceil(total / MIB);
  const devices = Math.max(1, Math.ceil(totalMib / DIMM_MAX_MIB));
  const kib = Math.floor(total / 1024);

  const array = add(Type.memoryArray, 0x1000).fields;
  array.u8(1, 3, 6); // "other" location, system memory, multi-bit ECC
  array.u32(Math.min(kib, KIB_FIELD_MAX));
  array.u16(0xfffe, devices).u64(kib < KIB_FIELD_MAX ? 0 : total);

  for (let i = 0; i < devices; i++) {
    const d = add(Type.memoryDevice, 0x1100 + i);
    const f = d.fields;
    const mib = Math.min(DIMM_MAX_MIB, totalMib - i * DIMM_MAX_MIB);
    f.u16(0x1000, 0xfffe, 0xffff, 0xffff, Math.min(mib, 0x7fff)).u8(9, 0);
    d.text(`DIMM ${i}`).text(undefined);
    f.u8(7).u16(2, 0); // RAM, "other"
    d.text(c.system.manufacturer).text(undefined).text(undefined).text(undefined);
    f.u8(0)
      .u32(mib < 0x7fff ? 0 : mib)
      .u16(0, 0, 0, 0);
  }

  const mapping = (handle: number, base: number, length: number): void => {
    const f = add(Type.memoryMapping, handle).fields;
    const end = base + length - 1;
    if (end / 1024 < 0xffffffff)
      f.u32(base / 1024, Math.floor(end / 1024))
        .u16(0x1000)
        .u8(1)
        .u64(0, 0);
    else f.u32(0xffffffff, 0xffffffff).u16(0x1000).u8(1).u64(base, end);
  };
  mapping(0x1300, 0, c.ram.belowBytes);
  if (c.ram.aboveBytes > 0) mapping(0x1301, 2 ** 32, c.ram.aboveBytes);
}

/** The first three fields of a UUID are little-endian here (7.2.1). All zeroes: not present. */
function encodeUuid(uuid: Uint8Array | undefined): Uint8Array {
  if (!uuid) return new Uint8Array(16);
  const order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
  return Uint8Array.from(order, (i) => uuid[i]!);
}

/**
 * A UUID as text to its 16 bytes.
 * @throws VmError "option/invalid"
 */
export function parseUuid(text: string): Uint8Array {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text))
    throw new VmError("option/invalid", `-uuid ${text}: not of the form 01234567-89ab-cdef-0123-456789abcdef`);
  const hex = text.replaceAll("-", "");
  return Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}

const ANCHOR_BYTES = 31;
const INTERMEDIATE_OFFSET = 16;

/** The 32-bit entry point (5.2.1). @param address where the structures are; firmware replaces it and the checksums */
export function smbiosAnchor(tables: { bytes: Uint8Array; count: number; largest: number }, address = 0): Uint8Array {
  const w = new ByteWriter(ANCHOR_BYTES)
    .text("_SM_", 4)
    .u8(0, ANCHOR_BYTES, 2, 8)
    .u16(tables.largest)
    .zero(6)
    .text("_DMI_", 5)
    .u8(0)
    .u16(tables.bytes.length)
    .u32(address)
    .u16(tables.count)
    .u8(0x28)
    .finish();
  w[INTERMEDIATE_OFFSET + 5] = checksumByte(w, INTERMEDIATE_OFFSET, ANCHOR_BYTES - INTERMEDIATE_OFFSET);
  w[4] = checksumByte(w);
  return w;
}

/** Offers the tables to SeaBIOS. */
export function addSmbiosFiles(fwCfg: FwCfg, config: SmbiosConfig): void {
  const tables = smbiosTables(config);
  fwCfg.addFile(SmbiosFile.tables, tables.bytes);
  fwCfg.addFile(SmbiosFile.anchor, smbiosAnchor(tables));
}
