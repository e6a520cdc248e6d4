/**
 * What the machine writes into the RTC's battery-backed memory before the firmware starts.
 * Source: the registers' traditional meaning (IBM PC AT Technical Reference; Ralf Brown's CMOS.LST), those above 0x50 as
 * SeaBIOS and Bochs use them.
 */
import type { FloppyGeometry } from "./acpi/config.js";

/** Registers by their address in the RTC. */
export const CmosReg = {
  floppyTypes: 0x10,
  diskTypes: 0x12,
  equipment: 0x14,
  baseMemory: 0x15,
  extendedMemory: 0x17,
  disk0Type: 0x19,
  disk1Type: 0x1a,
  disk0Geometry: 0x1b,
  disk1Geometry: 0x24,
  systemFlags: 0x2d,
  extendedMemoryPost: 0x30,
  memoryAbove16M: 0x34,
  bootFlag1: 0x38,
  diskTranslation: 0x39,
  bootFlag2: 0x3d,
  memoryAbove4G: 0x5b,
  smpCount: 0x5f,
} as const;

/** CHS geometry of a hard disk as its drive reports it. */
export interface DiskGeometry {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectors: number;
  /** How the BIOS is to translate it: 0 none, 1 LBA, 2 large, 3 revised ECHS. */
  readonly translation: 0 | 1 | 2 | 3;
}

export interface CmosConfig {
  readonly ram: { readonly belowBytes: number; readonly aboveBytes: number };
  readonly cpus: number;
  readonly floppies: readonly (FloppyGeometry | undefined)[];
  /** The four IDE drives in the order of channel and unit; only hard disks. */
  readonly disks: readonly (DiskGeometry | undefined)[];
  /** Letters of `-boot order=`, at most three: a floppy, c hard disk, d CD-ROM, n to p network. */
  readonly bootLetters: string;
  /** Check a floppy's boot signature (`-no-fd-bootchk` off). */
  readonly floppyBootCheck: boolean;
}

const KIB = 1024;
const MIB = 2 ** 20;
const DISK_TYPE_EXTENDED = 47;
const EquipmentBit = { floppy: 0x01, fpu: 0x02, mouse: 0x04, twoFloppies: 0x40 } as const;

const BOOT_CODE: Readonly<Record<string, number>> = { a: 1, b: 1, c: 2, d: 3, n: 4, o: 4, p: 4 };

/** Boot device letters as the numbers the BIOS knows, in order; unknown letters are left out. */
export function bootCodes(letters: string): number[] {
  return [...letters].flatMap((l) => BOOT_CODE[l] ?? []).slice(0, 3);
}

/** Register values to write, as pairs of register and byte. */
export function cmosContents(c: CmosConfig): [register: number, value: number][] {
  const out: [number, number][] = [];
  const put = (register: number, ...bytes: number[]) => {
    bytes.forEach((b, i) => {
      out.push([register + i, b & 255]);
    });
  };
  const put16 = (register: number, value: number) => put(register, value, value >> 8);

  const below = c.ram.belowBytes;
  put16(CmosReg.baseMemory, Math.min(640, Math.floor(below / KIB)));
  const extendedKib = Math.min(65535, Math.max(0, Math.floor((below - MIB) / KIB)));
  put16(CmosReg.extendedMemory, extendedKib);
  put16(CmosReg.extendedMemoryPost, extendedKib);
  put16(CmosReg.memoryAbove16M, Math.min(65535, Math.max(0, Math.floor((below - 16 * MIB) / (64 * KIB)))));
  const above = Math.floor(c.ram.aboveBytes / (64 * KIB));
  put(CmosReg.memoryAbove4G, above % 256, Math.floor(above / 256) % 256, Math.floor(above / 65536));
  put(CmosReg.smpCount, c.cpus - 1);

  const [boot0 = 0, boot1 = 0, boot2 = 0] = bootCodes(c.bootLetters);
  put(CmosReg.bootFlag2, (boot1 << 4) | boot0);
  put(CmosReg.bootFlag1, (boot2 << 4) | (c.floppyBootCheck ? 0 : 1));

  const floppies = c.floppies.slice(0, 2).filter((f) => f !== undefined).length;
  put(CmosReg.floppyTypes, ((c.floppies[0]?.cmosType ?? 0) << 4) | (c.floppies[1]?.cmosType ?? 0));
  put(
    CmosReg.equipment,
    EquipmentBit.fpu |
      EquipmentBit.mouse |
      (floppies > 0 ? EquipmentBit.floppy : 0) |
      (floppies > 1 ? EquipmentBit.twoFloppies : 0),
  );

  const [disk0, disk1] = c.disks;
  put(CmosReg.diskTypes, (disk0 ? 0xf0 : 0) | (disk1 ? 0x0f : 0));
  for (const [disk, type, geometry] of [
    [disk0, CmosReg.disk0Type, CmosReg.disk0Geometry],
    [disk1, CmosReg.disk1Type, CmosReg.disk1Geometry],
  ] as const) {
    if (!disk) continue;
    const cylinders = Math.min(disk.cylinders, 0xffff);
    put(type, DISK_TYPE_EXTENDED);
    put16(geometry, cylinders);
    put(geometry + 2, disk.heads, 0xff, 0xff, 0xc0 | (disk.heads > 8 ? 8 : 0));
    put16(geometry + 6, cylinders);
    put(geometry + 8, disk.sectors);
  }
  let translation = 0;
  c.disks.slice(0, 4).forEach((d, i) => {
    if (d) translation |= d.translation << (2 * i);
  });
  put(CmosReg.diskTranslation, translation);
  return out;
}

/** Floppy drive types by the size of their usual medium: what `CmosReg.floppyTypes` holds. */
export const FLOPPY_TYPES: Readonly<Record<"360" | "1200" | "720" | "1440" | "2880", FloppyGeometry>> = {
  "360": { cmosType: 1, cylinders: 40, heads: 2, sectors: 9 },
  "1200": { cmosType: 2, cylinders: 80, heads: 2, sectors: 15 },
  "720": { cmosType: 3, cylinders: 80, heads: 2, sectors: 9 },
  "1440": { cmosType: 4, cylinders: 80, heads: 2, sectors: 18 },
  "2880": { cmosType: 5, cylinders: 80, heads: 2, sectors: 36 },
};
