/** Numbers of the virtio specification, version 1.2, that devices, transports and drivers share. */

/** Device types (virtio 1.2 §5). */
export const VirtioId = { net: 1, block: 2, console: 3, rng: 4, balloon: 5, scsi: 8 } as const;

/** Device status bits (§2.1). */
export const VirtioStatus = {
  acknowledge: 1,
  driver: 2,
  driverOk: 4,
  featuresOk: 8,
  needsReset: 0x40,
  failed: 0x80,
} as const;

/** Feature bits of every device (§6, and §6.3 for the legacy interface). */
export const VirtioFeature = {
  notifyOnEmpty: 24,
  anyLayout: 27,
  indirectDesc: 28,
  eventIdx: 29,
  version1: 32,
  ringReset: 40,
} as const;

/** Bits that exist only on the legacy interface. */
export const LEGACY_ONLY_FEATURES = (1n << 24n) | (1n << 27n);

/** A feature word out of bit numbers. */
export function featureBits(...bits: number[]): bigint {
  let word = 0n;
  for (const b of bits) word |= 1n << BigInt(b);
  return word;
}

/** Descriptor flags (§2.7.5). */
export const DescFlag = { next: 1, write: 2, indirect: 4 } as const;
/** Flag of the available ring: the driver wants no interrupts (§2.7.7). */
export const AVAIL_NO_INTERRUPT = 1;
/** Flag of the used ring: the device wants no notifications (§2.7.10). */
export const USED_NO_NOTIFY = 1;

/** Bytes of a descriptor. */
export const DESC_BYTES = 16;

/** "No vector" (§4.1.5.1.3). */
export const NO_VECTOR = 0xffff;

/** ISR bits (§4.1.4.5, §4.2.2). */
export const IsrBit = { queue: 1, config: 2 } as const;

/** Largest queue that a device here offers or a driver may set. */
export const MAX_QUEUE_SIZE = 1024;

/** Most descriptors of one chain with its indirect table together. */
export const MAX_CHAIN_DESCRIPTORS = 1024;

/** Most bytes of one chain that may lie outside RAM (a framebuffer, ROM): these go byte by byte. */
export const MAX_NON_RAM_BYTES = 65536;
