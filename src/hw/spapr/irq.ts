/** Interrupt sources of the pseries machine: where each kind begins. Numbers as in QEMU's pseries machine since 4.2. */
export const SpaprIrq = {
  first: 0x1000,
  /** Power events. */
  epow: 0x1000,
  /** Virtual I/O devices, one each. */
  vio: 0x1100,
  vioCount: 0x100,
  /** INTA# to INTD# of the PCI host bridge. */
  pciLsi: 0x1200,
  /** PCI messages. */
  msi: 0x1300,
  msiCount: 0xd00,
  count: 0x1000,
  /** XIVE numbers the vCPUs' own sources from 0. */
  xiveCount: 0x2000,
} as const;

/** How an interrupt specifier of the device tree says its kind: the second cell. */
export const IrqSense = { edge: 0, level: 1 } as const;
