/**
 * The map of guest physical memory as firmware and operating systems are told it.
 * Source: ACPI 6.4, chapter 15 "System Address Map Interfaces".
 */
import { ByteWriter } from "./bytes.js";

/** Address range types (table 15.374). */
export const E820Type = { ram: 1, reserved: 2, acpi: 3, nvs: 4, unusable: 5 } as const;

export interface E820Entry {
  readonly base: number;
  readonly length: number;
  readonly type: number;
}

export const FOUR_GIB = 2 ** 32;
/** Conventional memory ends here when an extended BIOS data area of 1 KiB is on top of it. */
export const EBDA_BASE = 0x9fc00;
const VIDEO_BASE = 0xa0000;
const BIOS_AREA = 0xe0000;
const ONE_MIB = 0x100000;

/** What is RAM: the entries of `etc/e820`, from which SeaBIOS makes its own map. */
export function ramE820(belowBytes: number, aboveBytes: number, reserved: readonly E820Entry[] = []): E820Entry[] {
  const map: E820Entry[] = [{ base: 0, length: belowBytes, type: E820Type.ram }, ...reserved];
  if (aboveBytes > 0) map.push({ base: FOUR_GIB, length: aboveBytes, type: E820Type.ram });
  return map;
}

/** The map for a start without firmware: video and BIOS area left out, tables in the BIOS area reserved. */
export function directE820(belowBytes: number, aboveBytes: number, reserved: readonly E820Entry[] = []): E820Entry[] {
  const map: E820Entry[] = [
    { base: 0, length: EBDA_BASE, type: E820Type.ram },
    { base: EBDA_BASE, length: VIDEO_BASE - EBDA_BASE, type: E820Type.reserved },
    { base: BIOS_AREA, length: ONE_MIB - BIOS_AREA, type: E820Type.reserved },
  ];
  if (belowBytes > ONE_MIB) map.push({ base: ONE_MIB, length: belowBytes - ONE_MIB, type: E820Type.ram });
  map.push(...reserved);
  if (aboveBytes > 0) map.push({ base: FOUR_GIB, length: aboveBytes, type: E820Type.ram });
  return map.sort((a, b) => a.base - b.base);
}

/** The last byte + 1 of the RAM that holds `address`, 0 if none does. */
export function ramEnd(map: readonly E820Entry[], address: number): number {
  for (const e of map) if (e.type === E820Type.ram && address >= e.base && address < e.base + e.length) return e.base + e.length;
  return 0;
}

/** Entries of 20 bytes: base, length, type; the layout of `etc/e820`, INT 15h and the zero page. */
export function encodeE820(map: readonly E820Entry[]): Uint8Array {
  const w = new ByteWriter(20 * map.length || 1);
  for (const e of map) w.u64(e.base, e.length).u32(e.type);
  return w.finish();
}
