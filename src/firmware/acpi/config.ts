/** What the ACPI tables of the `pc` machine are built from. */

/** An address range, both ends included. */
export interface AddressRange {
  readonly first: number;
  readonly last: number;
}

export interface LegacyPort {
  readonly base: number;
  readonly irq: number;
}

/** A floppy drive; `cmosType` is the number CMOS register 0x10 holds for it (4: 1.44 MB). */
export interface FloppyGeometry {
  readonly cmosType: number;
  readonly cylinders: number;
  readonly heads: number;
  readonly sectors: number;
}

/** Where the power management block and its interrupt are, and how it is taken over from the firmware. */
export interface PmConfig {
  /** PM1a event block; control is at +4, the timer at +8. */
  readonly base: number;
  readonly gpe0Base: number;
  readonly gpe0Length: number;
  readonly sciIrq: number;
  /** The port and values that switch between legacy and ACPI mode; port 0 when ACPI mode is always on. */
  readonly smiCommand: { readonly port: number; readonly enable: number; readonly disable: number };
}

export interface PcAcpiConfig {
  /** One a vCPU, each below 255. */
  readonly apicIds: readonly number[];
  /** Memory below 4 GiB that PCI may use. */
  readonly pciHole: AddressRange;
  readonly pciHole64?: AddressRange | undefined;
  readonly pm: PmConfig;
  /** COM1 to COM4; undefined where there is none. */
  readonly serialPorts: readonly (LegacyPort | undefined)[];
  readonly parallelPort?: LegacyPort | undefined;
  readonly floppies: readonly (FloppyGeometry | undefined)[];
  readonly i8042: boolean;
  /** The hot-plug registers, and the slots whose devices may come and go; undefined when there is none. */
  readonly pciHotplug?: { readonly base: number; readonly slots: readonly number[] } | undefined;
  readonly hpet: boolean;
  readonly hpetBase: number;
  readonly s3: boolean;
  readonly s4: boolean;
  readonly s4SleepType: number;
  readonly ioApicAddress: number;
  readonly ioApicId: number;
  readonly localApicAddress: number;
  /** The chipset's reset control register at port 0xcf9 resets the machine. */
  readonly resetPort: boolean;
  /** Six characters, eight characters. */
  readonly oemId: string;
  readonly oemTableId: string;
}

/** The machine as it comes, for one vCPU and 128 MiB. */
export const PC_ACPI_DEFAULTS: PcAcpiConfig = {
  apicIds: [0],
  pciHole: { first: 0x08000000, last: 0xfebfffff },
  pm: {
    base: 0x600,
    gpe0Base: 0xafe0,
    gpe0Length: 4,
    sciIrq: 9,
    smiCommand: { port: 0xb2, enable: 0xf1, disable: 0xf0 },
  },
  serialPorts: [{ base: 0x3f8, irq: 4 }],
  floppies: [],
  i8042: true,
  hpet: true,
  hpetBase: 0xfed00000,
  s3: false,
  s4: false,
  s4SleepType: 2,
  ioApicAddress: 0xfec00000,
  ioApicId: 0,
  localApicAddress: 0xfee00000,
  resetPort: true,
  oemId: "TANDEM",
  oemTableId: "TANDEMPC",
};
