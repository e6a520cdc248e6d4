/**
 * What a user can name: machine types with their properties, accelerators, displays. (CPU models are
 * in target/x86/cpu-models.ts, devices beside their classes.) Option parser, `help`
 * values and coverage pages derive from these tables.
 */
import type { GuestArch } from "./config.js";

/** A machine property. `accepts`: the values that can be honoured, the first being the default; others are refused. */
export interface MachineProperty {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly accepts: readonly string[];
  readonly description: string;
}

export interface MachineType {
  readonly name: "pc" | "pseries" | "none";
  /** The name that says the version too; what `query-machines` gives and management tools keep. */
  readonly canonical: string;
  readonly aliases: readonly string[];
  readonly archs: readonly GuestArch[];
  readonly isDefault: boolean;
  /** The CPU type that holds without `-cpu`, by architecture. */
  readonly defaultCpu?: { readonly [arch in GuestArch]?: string };
  /** The name under which `memory-backend=` may give the guest's RAM. */
  readonly defaultRamId?: string;
  readonly description: string;
  readonly maxCpus: number;
  readonly properties: readonly MachineProperty[];
}

const ON_OFF = ["on", "off"] as const;
const PC_PROPERTIES: readonly MachineProperty[] = [
  { name: "acpi", accepts: [...ON_OFF, "auto"], description: "ACPI tables and power management" },
  { name: "hpet", accepts: ON_OFF, description: "high precision event timer" },
  { name: "pit", accepts: ["on"], description: "8254 interval timer" },
  { name: "sata", accepts: ["off", "on"], description: "accepted as QEMU does; the pc machine has no SATA" },
  { name: "i8042", accepts: ON_OFF, description: "PS/2 keyboard and mouse controller" },
  { name: "fd-bootchk", accepts: ON_OFF, description: "BIOS checks the signature of a floppy's boot sector" },
  { name: "graphics", accepts: ON_OFF, description: "off: the firmware uses the serial console too" },
  { name: "smm", accepts: ["auto", "off"], description: "system management mode; auto is off under this machine's firmware" },
  { name: "usb", accepts: ["off", "on"], description: "USB controller" },
  { name: "vmport", accepts: ["auto", "off"], description: "VMware port; auto is off" },
  {
    name: "kernel-irqchip",
    aliases: ["kernel_irqchip"],
    accepts: ["off"],
    description: "interrupt controllers in the host's kernel",
  },
  {
    name: "dump-guest-core",
    accepts: ["off", "on"],
    description: "guest RAM in the host's core dumps; JavaScript hosts write none",
  },
  { name: "mem-merge", accepts: ["off"], description: "merging of equal pages by the host" },
  { name: "suppress-vmdesc", accepts: ["off"], description: "leaves the description out of migration streams" },
];

/** Capabilities that can be told the guest only as this machine has them, or that change nothing without speculation. */
const PSERIES_PROPERTIES: readonly MachineProperty[] = [
  { name: "cap-htm", accepts: ["off"], description: "hardware transactional memory" },
  { name: "cap-vsx", accepts: ["on"], description: "vector scalar extensions" },
  { name: "cap-dfp", accepts: ["off"], description: "decimal floating point" },
  {
    name: "cap-cfpc",
    accepts: ["workaround", "broken", "fixed"],
    description: "cache flush on privilege change; nothing leaks here",
  },
  {
    name: "cap-sbbc",
    accepts: ["workaround", "broken", "fixed"],
    description: "speculation barrier bounds checking; there is no speculation",
  },
  {
    name: "cap-ibs",
    accepts: ["workaround", "broken", "fixed-ibs", "fixed-ccd", "fixed-na"],
    description: "indirect branch speculation; there is none",
  },
  { name: "cap-ccf-assist", accepts: ON_OFF, description: "count cache flush assist; there is no count cache" },
  { name: "cap-hpt-max-page-size", accepts: ["64k", "65536"], description: "largest page of hashed page tables" },
  { name: "cap-nested-hv", accepts: ["off"], description: "nested KVM" },
  { name: "cap-large-decr", accepts: ON_OFF, description: "decrementer of more than 32 bits (POWER9)" },
  { name: "cap-fwnmi", accepts: ["off"], description: "machine checks through firmware" },
  { name: "cap-rpt-invalidate", accepts: ["off"], description: "H_RPT_INVALIDATE" },
  {
    name: "ic-mode",
    accepts: ["dual", "xics", "xive"],
    description: "interrupt controller that the guest is offered (POWER9; POWER8 has XICS)",
  },
  { name: "resize-hpt", accepts: ["disabled"], description: "resizing of the hashed page table" },
  { name: "graphics", accepts: ["on", "off"], description: "there is no graphics adapter; accepted as QEMU does" },
  { name: "usb", accepts: ["off"], description: "USB controller" },
  {
    name: "dump-guest-core",
    accepts: ["off", "on"],
    description: "guest RAM in the host's core dumps; JavaScript hosts write none",
  },
  { name: "mem-merge", accepts: ["off"], description: "merging of equal pages by the host" },
  { name: "suppress-vmdesc", accepts: ["off"], description: "leaves the description out of migration streams" },
];

export const MACHINE_TYPES: readonly MachineType[] = [
  {
    name: "pc",
    canonical: "pc-i440fx-7.2",
    aliases: ["pc-i440fx-7.2"],
    archs: ["x86_64", "i386"],
    isDefault: true,
    defaultCpu: { x86_64: "qemu64-x86_64-cpu", i386: "qemu32-i386-cpu" },
    defaultRamId: "pc.ram",
    description: "Standard PC (i440FX + PIIX, 1996)",
    maxCpus: 255,
    properties: PC_PROPERTIES,
  },
  {
    name: "pseries",
    canonical: "pseries-7.2",
    aliases: ["pseries-7.2"],
    archs: ["ppc64"],
    isDefault: true,
    defaultCpu: { ppc64: "power9_v2.0-powerpc64-cpu" },
    defaultRamId: "ppc_spapr.ram",
    description: "pSeries Logical Partition (PAPR compliant)",
    maxCpus: 16,
    properties: PSERIES_PROPERTIES,
  },
  {
    name: "none",
    canonical: "none",
    aliases: [],
    archs: ["x86_64", "i386", "ppc64"],
    isDefault: false,
    description: "empty machine",
    maxCpus: 1,
    properties: [],
  },
];

/** Machines of QEMU that a user may well name and that are not there. */
export const OTHER_MACHINES = [
  "q35",
  "microvm",
  "isapc",
  "xenfv",
  "xenpv",
  "powernv",
  "mac99",
  "g3beige",
  "ppce500",
  "40p",
  "bamboo",
];

export const ACCELERATORS = [
  { name: "tcg", description: "translation of guest code to WebAssembly" },
  { name: "auto", description: "kvm where it can run the guest and is fast, else tcg" },
  { name: "kvm", description: "the host's processor through Linux's KVM" },
] as const;

export const VGA_TYPES = [
  { name: "none", description: "no graphic card" },
  { name: "std", description: "standard VGA with Bochs VBE (default)" },
] as const;

/** Models of `-nic` and `-net nic`; the default is the one that a machine has when nothing is said of networks. */
export const NIC_MODELS: readonly { readonly name: string; readonly device: string; readonly default?: boolean }[] = [
  { name: "e1000", device: "e1000", default: true },
  { name: "virtio", device: "virtio-net-pci" },
];

/** What a `-chardev` can be. */
export const CHARDEV_BACKENDS = ["null", "ringbuf", "memory", "stdio", "file", "pipe", "pty", "socket"] as const;

/** Items of `-d`. */
export const TRACE_ITEMS = [
  { name: "in_asm", description: "show guest assembly code for each translated block" },
  { name: "op", description: "show IR for each translated block" },
  { name: "out_wasm", description: "show generated WebAssembly for each compiled region" },
  { name: "int", description: "show interrupts and exceptions in short format" },
  { name: "cpu_reset", description: "show CPU state before CPU resets" },
  { name: "guest_errors", description: "log when the guest does something invalid" },
  { name: "unimp", description: "log unimplemented functionality" },
] as const;
