/** Registers of the ATA command block. Source: ATA/ATAPI-7 vol. 2 §5. */

/** Offsets in the command block (0x1f0, 0x170); 1 and 7 differ between reads and writes. */
export const AtaReg = {
  data: 0,
  error: 1,
  features: 1,
  count: 2,
  lbaLow: 3,
  lbaMid: 4,
  lbaHigh: 5,
  device: 6,
  status: 7,
  command: 7,
} as const;

export const Status = { err: 0x01, drq: 0x08, dsc: 0x10, df: 0x20, drdy: 0x40, bsy: 0x80 } as const;

/** The error register after an ATA command; ATAPI keeps the sense key in bits 7-4. */
export const AtaError = { abrt: 0x04, idnf: 0x10, unc: 0x40 } as const;

export const DeviceControl = { nIen: 0x02, srst: 0x04, hob: 0x80 } as const;

/** The device register: bits 7 and 5 are obsolete and read as ones. */
export const DeviceBits = { head: 0x0f, dev: 0x10, lba: 0x40, ones: 0xa0 } as const;

/** The count register of a packet command: interrupt reason. */
export const Reason = { command: 0x01, toHost: 0x02 } as const;
