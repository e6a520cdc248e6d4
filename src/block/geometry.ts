/**
 * The cylinder/head/sector shape of a hard disk: from its partition table when a partition ends at a cylinder boundary,
 * else the ATA default translation.
 * Source: ATA/ATAPI-5 Annex (IDENTIFY words 1, 3, 6); PC partition table (end CHS at entry + 5).
 */

/** A disk's shape. */
export interface Geometry {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectors: number;
  /** BIOS translation, for the CMOS: none while INT 13h reaches the cylinders as they are. */
  readonly translation: "none" | "lba" | "large";
}

const MAX_CYLINDERS = 16383;
const PARTITION_TABLE = 0x1be;

/** The default shape by size: 16 heads of 63 sectors, at most 16383 cylinders. */
export function defaultGeometry(totalSectors: number): Geometry {
  const cylinders = Math.min(MAX_CYLINDERS, Math.max(2, Math.floor(totalSectors / (16 * 63))));
  return { cylinders, heads: 16, sectors: 63, translation: cylinders <= 1024 ? "none" : "lba" };
}

/** The shape a partition table tells, or undefined when it tells none that fits. `boot` is the first sector. */
export function partitionGeometry(boot: Uint8Array, totalSectors: number): Geometry | undefined {
  if (boot.length < 512 || boot[510] !== 0x55 || boot[511] !== 0xaa) return undefined;
  for (let entry = PARTITION_TABLE; entry < PARTITION_TABLE + 64; entry += 16) {
    const length = new DataView(boot.buffer, boot.byteOffset, boot.length).getUint32(entry + 12, true);
    const endHead = boot[entry + 5]!;
    const sectors = boot[entry + 6]! & 63;
    if (length === 0 || endHead === 0 || sectors === 0) continue;
    const heads = endHead + 1;
    const cylinders = Math.floor(totalSectors / (heads * sectors));
    if (cylinders < 1 || cylinders > MAX_CYLINDERS) continue;
    return { cylinders, heads, sectors, translation: "none" };
  }
  return undefined;
}

/** The shape to report: the partition table's when the disk itself could have it, else the default. */
export function guessGeometry(boot: Uint8Array | undefined, totalSectors: number): Geometry {
  const logical = boot && partitionGeometry(boot, totalSectors);
  const physical = defaultGeometry(totalSectors);
  if (!logical) return physical;
  // More than 16 heads cannot be a physical shape: it is a translated one, so only the translation is learned.
  if (logical.heads > 16) return { ...physical, translation: physical.cylinders * physical.heads <= 131072 ? "large" : "lba" };
  return logical;
}
