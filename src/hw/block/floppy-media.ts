/** Floppy formats by image size. All have sectors of 512 bytes, numbered from 1. Source: Intel 82078 datasheet §7, Linux fd(4). */

/** Data rates as bits 1-0 of CCR and DSR select them. */
export const Rate = { k500: 0, k300: 1, k250: 2, m1: 3 } as const;

/** A format. */
export interface FloppyFormat {
  readonly tracks: number;
  readonly heads: number;
  readonly sectors: number;
  /** Rates at which it can be read: a 40-track disk turns at 300 rpm or, in a 1.2 MB drive, at 360. */
  readonly rates: readonly number[];
}

/** A kind of drive: its number in CMOS register 0x10. */
export type FloppyDriveType = "360" | "120" | "720" | "144" | "288";
export const CMOS_DRIVE_TYPE: Readonly<Record<FloppyDriveType, number>> = { "360": 1, "120": 2, "720": 3, "144": 4, "288": 5 };

const SECTOR = 512;
const format = (tracks: number, heads: number, sectors: number, ...rates: number[]): FloppyFormat => ({
  tracks,
  heads,
  sectors,
  rates,
});

/** Common formats first, then the odd ones that drives also manage. */
const FORMATS: readonly FloppyFormat[] = [
  format(40, 1, 8, Rate.k250, Rate.k300),
  format(40, 1, 9, Rate.k250, Rate.k300),
  format(40, 2, 8, Rate.k250, Rate.k300),
  format(40, 2, 9, Rate.k250, Rate.k300),
  format(80, 2, 9, Rate.k250),
  format(80, 2, 15, Rate.k500),
  format(80, 2, 18, Rate.k500),
  format(80, 2, 36, Rate.m1),
];
const EXTRA_FORMATS: readonly FloppyFormat[] = [
  format(41, 2, 10, Rate.k250, Rate.k300),
  format(42, 2, 10, Rate.k250, Rate.k300),
  format(80, 1, 9, Rate.k250),
  format(80, 2, 8, Rate.k250),
  format(80, 2, 10, Rate.k250),
  format(82, 2, 10, Rate.k250),
  format(83, 2, 10, Rate.k250),
  format(80, 2, 11, Rate.k250),
  format(80, 2, 13, Rate.k250),
  format(80, 2, 14, Rate.k250),
  format(82, 2, 18, Rate.k500),
  format(83, 2, 18, Rate.k500),
  format(80, 2, 20, Rate.k500),
  format(80, 2, 21, Rate.k500),
  format(82, 2, 21, Rate.k500),
  format(83, 2, 21, Rate.k500),
  format(80, 2, 22, Rate.k500),
  format(80, 2, 23, Rate.k500),
  format(80, 2, 24, Rate.k500),
  format(80, 2, 39, Rate.m1),
  format(80, 2, 40, Rate.m1),
  format(80, 2, 44, Rate.m1),
  format(80, 2, 48, Rate.m1),
];

/** Bytes of a format. */
export function formatBytes(f: FloppyFormat): number {
  return f.tracks * f.heads * f.sectors * SECTOR;
}

/** The format of an image; one of no known size gets the smallest common format that holds it. */
export function formatOfSize(sizeBytes: number): FloppyFormat {
  const exact = [...FORMATS, ...EXTRA_FORMATS].find((f) => formatBytes(f) === sizeBytes);
  return exact ?? FORMATS.find((f) => formatBytes(f) >= sizeBytes) ?? FORMATS.at(-1)!;
}

/** The drive that suits a medium: 1.2 MB and 2.88 MB disks need their own, all else goes into a 1.44 MB one. */
export function driveTypeFor(f: FloppyFormat): FloppyDriveType {
  if (f.rates.includes(Rate.m1)) return "288";
  return f.tracks === 80 && f.sectors === 15 ? "120" : "144";
}
