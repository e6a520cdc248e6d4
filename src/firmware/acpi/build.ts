/**
 * All ACPI tables of a machine as two pieces of memory, the pointers and checksums in them, and the two ways to put them
 * into the guest: through SeaBIOS (fw_cfg files with linker/loader commands) or straight into RAM.
 * Source: ACPI 6.4, 5.2.5 (RSDP), 5.2.7 (RSDT), 5.2.8 (XSDT); QEMU's "etc/table-loader" interface.
 */
import type { AddressSpace } from "../../memory/address-space.js";
import { ByteWriter, checksumByte } from "../bytes.js";
import type { FwCfg } from "../fw-cfg.js";
import type { PcAcpiConfig } from "./config.js";
import { pcDsdt } from "./dsdt-pc.js";
import { ACPI_CHECKSUM_OFFSET, ACPI_HEADER_BYTES, FadtPointer, facs, fadt, hpet, madt, table, waet } from "./tables.js";

/** Names of the fw_cfg files. */
export const AcpiFile = { rsdp: "etc/acpi/rsdp", tables: "etc/acpi/tables", loader: "etc/table-loader" } as const;

/** A little-endian field that holds an offset into `tables` and is to become an address. */
export interface AcpiPointer {
  readonly file: "rsdp" | "tables";
  readonly offset: number;
  readonly size: 4 | 8;
}

/** A byte that is to make the sum of a range zero. */
export interface AcpiChecksum {
  readonly file: "rsdp" | "tables";
  readonly offset: number;
  readonly start: number;
  readonly length: number;
}

/** The tables before they have addresses. Checksum bytes are zero; the order of `checksums` matters. */
export interface AcpiBlob {
  readonly rsdp: Uint8Array;
  readonly tables: Uint8Array;
  readonly pointers: readonly AcpiPointer[];
  readonly checksums: readonly AcpiChecksum[];
  /** Offset in `tables` and length of each, by signature, for tests and `info`. */
  readonly index: Readonly<Record<string, { offset: number; length: number }>>;
}

const TABLES_ALIGN = 64;
const RSDP_ALIGN = 16;
const RSDP_BYTES = 36;
/** The part of the RSDP that its first checksum covers. */
const RSDP_V1_BYTES = 20;

/** Builds every table of the `pc` machine. `extra` are whole tables given by the user (`-acpitable`). */
export function buildPcAcpi(c: PcAcpiConfig, extra: readonly Uint8Array[] = []): AcpiBlob {
  const w = new ByteWriter(8192);
  const pointers: AcpiPointer[] = [];
  const checksums: AcpiChecksum[] = [];
  const index: Record<string, { offset: number; length: number }> = {};
  const listed: number[] = [];

  const put = (bytes: Uint8Array, hasChecksum = true): number => {
    w.align(8);
    const offset = w.length;
    w.bytes(bytes);
    const signature = String.fromCharCode(...bytes.subarray(0, 4));
    index[signature] ??= { offset, length: bytes.length };
    if (hasChecksum)
      checksums.push({ file: "tables", offset: offset + ACPI_CHECKSUM_OFFSET, start: offset, length: bytes.length });
    return offset;
  };

  const facsAt = put(facs(), false);
  const dsdtAt = put(table(c, "DSDT", 1, pcDsdt(c)));
  const fadtBytes = fadt(c);
  const view = new DataView(fadtBytes.buffer);
  view.setUint32(FadtPointer.facs, facsAt, true);
  view.setUint32(FadtPointer.dsdt, dsdtAt, true);
  view.setUint32(FadtPointer.xDsdt, dsdtAt, true);
  const fadtAt = put(fadtBytes);
  pointers.push({ file: "tables", offset: fadtAt + FadtPointer.facs, size: 4 });
  pointers.push({ file: "tables", offset: fadtAt + FadtPointer.dsdt, size: 4 });
  pointers.push({ file: "tables", offset: fadtAt + FadtPointer.xDsdt, size: 8 });
  listed.push(fadtAt);
  listed.push(put(madt(c)));
  if (c.hpet) listed.push(put(hpet(c)));
  listed.push(put(waet(c)));
  for (const t of extra) {
    const copy = t.slice();
    copy[ACPI_CHECKSUM_OFFSET] = 0;
    listed.push(put(copy));
  }

  const root = (signature: string, size: 4 | 8): number => {
    const body = new ByteWriter(64);
    for (const t of listed) size === 4 ? body.u32(t) : body.u64(t);
    const at = put(table(c, signature, 1, body.finish()));
    listed.forEach((_, i) => {
      pointers.push({ file: "tables", offset: at + ACPI_HEADER_BYTES + i * size, size });
    });
    return at;
  };
  const rsdtAt = root("RSDT", 4);
  const xsdtAt = root("XSDT", 8);

  const rsdp = new ByteWriter(RSDP_BYTES)
    .text("RSD PTR ", 8)
    .u8(0)
    .text(c.oemId, 6, 0x20)
    .u8(2)
    .u32(rsdtAt, RSDP_BYTES)
    .u64(xsdtAt)
    .u8(0, 0, 0, 0)
    .finish();
  pointers.push({ file: "rsdp", offset: 16, size: 4 }, { file: "rsdp", offset: 24, size: 8 });
  checksums.push({ file: "rsdp", offset: 8, start: 0, length: RSDP_V1_BYTES });
  checksums.push({ file: "rsdp", offset: 32, start: 0, length: RSDP_BYTES });
  return { rsdp, tables: w.finish(), pointers, checksums, index };
}

const LOADER_ENTRY_BYTES = 128;
const LOADER_NAME_BYTES = 56;
const LoaderCommand = { allocate: 1, addPointer: 2, addChecksum: 3 } as const;
const LoaderZone = { high: 1, fSegment: 2 } as const;

/** The commands by which firmware places the files and fixes pointers and checksums. */
export function tableLoader(blob: AcpiBlob): Uint8Array {
  const w = new ByteWriter(4096);
  const entry = (fill: () => void) => {
    const start = w.length;
    fill();
    w.zero(start + LOADER_ENTRY_BYTES - w.length);
  };
  const allocate = (file: string, align: number, zone: number) =>
    entry(() => w.u32(LoaderCommand.allocate).text(file, LOADER_NAME_BYTES).u32(align).u8(zone));
  allocate(AcpiFile.rsdp, RSDP_ALIGN, LoaderZone.fSegment);
  allocate(AcpiFile.tables, TABLES_ALIGN, LoaderZone.high);
  for (const p of blob.pointers)
    entry(() =>
      w
        .u32(LoaderCommand.addPointer)
        .text(AcpiFile[p.file], LOADER_NAME_BYTES)
        .text(AcpiFile.tables, LOADER_NAME_BYTES)
        .u32(p.offset)
        .u8(p.size),
    );
  for (const s of blob.checksums)
    entry(() => w.u32(LoaderCommand.addChecksum).text(AcpiFile[s.file], LOADER_NAME_BYTES).u32(s.offset, s.start, s.length));
  return w.finish();
}

/**
 * Offers the tables to SeaBIOS. With `rebuild`, they are built again when the firmware starts over and reads the directory,
 * so that they hold what was plugged before a reset.
 */
export function addAcpiFiles(fwCfg: FwCfg, blob: AcpiBlob, rebuild?: () => AcpiBlob): void {
  const offer = (b: AcpiBlob) => {
    fwCfg.addFile(AcpiFile.rsdp, b.rsdp);
    fwCfg.addFile(AcpiFile.tables, b.tables);
    fwCfg.addFile(AcpiFile.loader, tableLoader(b));
  };
  offer(blob);
  if (rebuild) fwCfg.onDirectory(() => offer(rebuild()));
}

/** The tables with addresses and checksums, for given places. */
export function linkAcpi(blob: AcpiBlob, _rsdpAddress: number, tablesAddress: number): { rsdp: Uint8Array; tables: Uint8Array } {
  const files = { rsdp: blob.rsdp.slice(), tables: blob.tables.slice() };
  for (const p of blob.pointers) {
    const view = new DataView(files[p.file].buffer);
    view.setUint32(p.offset, view.getUint32(p.offset, true) + tablesAddress, true);
  }
  for (const s of blob.checksums) {
    const bytes = files[s.file];
    bytes[s.offset] = (bytes[s.offset]! + checksumByte(bytes, s.start, s.length)) & 255;
  }
  return files;
}

/** Where `placeAcpi` puts the tables unless told: the area that operating systems scan for the RSDP. */
export const ACPI_DIRECT_BASE = 0xe0000;

/**
 * Puts the tables straight into guest RAM, for a start without firmware.
 * @param base 16-byte aligned, below 4 GiB; the memory there must be writable
 * @returns the address of the RSDP and the first byte behind the tables, or undefined when `base` is not RAM
 */
export function placeAcpi(
  memory: AddressSpace,
  blob: AcpiBlob,
  base = ACPI_DIRECT_BASE,
): { rsdpAddress: number; end: number } | undefined {
  const tablesAddress = Math.ceil((base + RSDP_BYTES) / TABLES_ALIGN) * TABLES_ALIGN;
  const { rsdp, tables } = linkAcpi(blob, base, tablesAddress);
  if (!memory.writeBytes(base, rsdp) || !memory.writeBytes(tablesAddress, tables)) return undefined;
  return { rsdpAddress: base, end: tablesAddress + tables.length };
}
