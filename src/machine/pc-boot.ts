/**
 * How the pc machine starts: what firmware learns (fw_cfg, CMOS, ACPI, SMBIOS, boot order), and `-kernel`: by a boot ROM
 * under the BIOS when the kernel needs what a BIOS leaves, else without firmware, the chipset set up as firmware would
 * have left it.
 */
import { ACPI_DIRECT_BASE, addAcpiFiles, buildPcAcpi, placeAcpi } from "../firmware/acpi/build.js";
import { type FloppyGeometry, PC_ACPI_DEFAULTS, type PcAcpiConfig } from "../firmware/acpi/config.js";
import { addBootFiles, BootPath } from "../firmware/boot-order.js";
import { BOOT_ROM_FILE, installBootRom } from "../firmware/boot-rom.js";
import type { BootPlan, BootState } from "../firmware/boot-state.js";
import { CmosReg, cmosContents, type DiskGeometry, FLOPPY_TYPES } from "../firmware/cmos.js";
import { directE820 } from "../firmware/e820.js";
import { FwCfg } from "../firmware/fw-cfg.js";
import { parseBzImage } from "../firmware/loaders/bzimage.js";
import { kernelKind, planKernel } from "../firmware/loaders/load-kernel.js";
import { parseModuleList } from "../firmware/loaders/multiboot.js";
import { addMachineItems } from "../firmware/machine-items.js";
import { MP_POINTER_BASE, mpPointer, mpTable } from "../firmware/mp-table.js";
import {
  addSmbiosFiles,
  parseUuid,
  pcSmbiosDefaults,
  type SmbiosConfig,
  smbiosAnchor,
  smbiosTables,
} from "../firmware/smbios.js";
import { VgaIsa } from "../hw/display/vga-isa.js";
import { AtaDisk } from "../hw/ide/ata-disk.js";
import { PCI_HOTPLUG_BASE } from "../hw/misc/acpi-pci-hotplug.js";
import { PciCommand, PciReg } from "../hw/pci/device.js";
import { splitRam } from "../hw/pci/i440fx.js";
import * as L from "../target/x86/layout.js";
import type { BoardParts } from "./board.js";
import type { MachineConfig } from "./config.js";
import type { PcBoard } from "./pc.js";

const KERNEL_LIMIT = 1024 * 2 ** 20;
const PM_BASE = 0x600;
const SMB_BASE = 0x700;
/** Command byte of the keyboard controller: translated scan codes, keyboard interrupt, mouse off until a driver wants it. */
const I8042_WRITE_MODE = 0x60;
const I8042_MODE = 0x61;
/** Entry point of the SMBIOS structures in a start without firmware, and where they follow. */
const SMBIOS_BASE = 0xf0000;
const SMBIOS_ANCHOR_BYTES = 32;
const HPET_BASE = 0xfed00000;
/** Where BARs go in a start without firmware. */
const PCI_IO_FIRST = 0xc000;
const PCI_MEM_FIRST = 0xf0000000;
/** The chipset's own addresses begin here. */
const PCI_MEM_END = 0xfec00000;
/** Where the PIRQ lines go. */
const PIRQ_ROUTES = [10, 10, 11, 11];
/** As in the ACPI tables: the SCI, and what PCI's interrupt links can be routed to. */
const LEVEL_IRQS = [5, 9, 10, 11];
const IO_APIC_VERSION = 0x20;

/** MTRRs as firmware leaves them: types uncached, write-through, write-protected, write-back. */
const Mtrr = {
  /** Enabled, fixed ranges too, else write-back. */
  default: 0x00000c06,
  valid: 0x800,
  /** Eight ranges of one register: all write-back, uncached, write-protected. */
  writeBack: 0x06060606,
  uncached: 0,
  writeProtected: 0x05050505,
} as const;

/** The start of one machine. */
export class PcBoot {
  fwCfg: FwCfg | undefined;
  /** Resets seen: `-boot once=` holds for the first start only. */
  starts = 0;

  private constructor(
    private readonly config: MachineConfig,
    /** With `-kernel`: the plan, carried out at every start. */
    readonly plan: BootPlan | undefined,
    /** The kernel needs what a BIOS leaves (text mode, INT 10h): SeaBIOS runs first and starts it from a boot ROM. */
    readonly afterBios: boolean,
  ) {}

  /** Reads kernel and initrd. @throws VmError naming option and file */
  static async load(
    config: MachineConfig,
    parts: BoardParts,
    machine: { readonly hasDisplay: boolean; readonly longMode: boolean },
  ): Promise<PcBoot> {
    const k = config.kernel;
    if (!k) return new PcBoot(config, undefined, false);
    const image = { option: "-kernel", name: k.image, bytes: await parts.readFile("-kernel", k.image, KERNEL_LIMIT) };
    const kind = kernelKind(image);
    const list =
      k.initrd === undefined ? [] : kind === "multiboot" ? parseModuleList(k.initrd) : [{ path: k.initrd, arguments: "" }];
    const modules = [];
    for (const m of list)
      modules.push({
        image: { option: "-initrd", name: m.path, bytes: await parts.readFile("-initrd", m.path, KERNEL_LIMIT) },
        arguments: m.arguments,
      });
    // Someone looks at the screen, or a ROM image was given to run: the kernel starts as under a BIOS.
    const longMode = machine.longMode && config.arch === "x86_64";
    const afterBios =
      config.bios !== undefined ||
      (machine.hasDisplay && (config.graphics || kind === "multiboot")) ||
      // It says itself, through the BIOS, that this is no processor for it.
      (!longMode && kind === "bzImage" && parseBzImage(image).has64BitEntry);
    const start = afterBios ? "unpacked16" : "unpacked";
    const plan = planKernel(image, { commandLine: k.append ?? "", modules, start, longMode });
    const split = splitRam(config.memoryBytes);
    plan.check(directE820(split.below4g, split.above4g));
    return new PcBoot(config, plan, afterBios);
  }

  private floppies(board: PcBoard): (FloppyGeometry | undefined)[] {
    const types = Object.values(FLOPPY_TYPES);
    return board.floppies.map((f) => types.find((t) => t.cmosType === f?.cmosType));
  }

  private acpiConfig(board: PcBoard): PcAcpiConfig {
    const { config } = this;
    const below = board.host.split.below4g;
    return {
      ...PC_ACPI_DEFAULTS,
      apicIds: Array.from({ length: config.smp.cpus }, (_, i) => i),
      pciHole: { first: Math.max(below, 0x08000000), last: 0xfebfffff },
      serialPorts: Array.from(board.serials, (s) => (s ? { base: s.base, irq: s.irq } : undefined)),
      floppies: this.floppies(board),
      i8042: board.i8042 !== undefined,
      pciHotplug: { base: PCI_HOTPLUG_BASE, slots: board.hotplug.ejectableSlots() },
      hpet: config.hpet,
      pm: { ...PC_ACPI_DEFAULTS.pm, base: PM_BASE },
    };
  }

  private smbiosConfig(board: PcBoard): SmbiosConfig {
    const { config } = this;
    const env = board.processors.engine.envOf(0);
    return {
      ...pcSmbiosDefaults(config.name),
      uuid: config.uuid ? parseUuid(config.uuid) : undefined,
      processor: {
        manufacturer: "Tandem",
        version: "pc-i440fx",
        sockets: config.smp.sockets,
        cores: config.smp.cores,
        threads: config.smp.threads,
        cpuidEax: board.ram.u32[(env + L.CPU_SIGNATURE) >>> 2]!,
        cpuidEdx: board.ram.u32[(env + L.FEAT_1_EDX) >>> 2]!,
        speedMhz: 2000,
      },
      ram: { belowBytes: board.host.split.below4g, aboveBytes: board.host.split.above4g },
    };
  }

  /** Once, when everything is wired. @throws VmError "option/invalid" */
  prepare(board: PcBoard): void {
    const { config } = this;
    const fw = new FwCfg(board.ctx);
    this.fwCfg = fw;
    fw.mapPorts(board.io);
    board.addDevice(fw);
    const { below4g, above4g } = board.host.split;
    const ram = { belowBytes: below4g, aboveBytes: above4g };
    const acpi = this.acpiConfig(board);
    addMachineItems(fw, {
      ram,
      cpus: config.smp.cpus,
      maxCpus: config.smp.cpus,
      apicIdLimit: config.smp.cpus,
      uuid: config.uuid ? parseUuid(config.uuid) : undefined,
      noGraphic: !config.graphics,
      s3: acpi.s3,
      s4: acpi.s4,
      s4SleepType: acpi.s4SleepType,
      hpet: config.hpet ? { base: HPET_BASE } : undefined,
      serialConsolePort: config.graphics ? undefined : board.serials[0]?.base,
    });
    if (config.acpi) addAcpiFiles(fw, buildPcAcpi(acpi), () => buildPcAcpi(this.acpiConfig(board)));
    addSmbiosFiles(fw, this.smbiosConfig(board));
    const devices = [...board.bootDevices];
    if (this.plan && this.afterBios) {
      installBootRom(fw, board.memory, this.plan, (error) => board.note(error.message));
      devices.push({ path: BootPath.rom(BOOT_ROM_FILE), index: -1 });
    }
    addBootFiles(fw, devices, config.boot);
    if (board.vga instanceof VgaIsa && board.files.vgaBios) fw.addFile("vgaroms/vgabios-isavga.bin", board.files.vgaBios);
    this.writeCmos(board, config.boot.once ?? config.boot.order);
  }

  private writeCmos(board: PcBoard, bootLetters: string, only?: readonly number[]): void {
    const { config } = this;
    const { below4g, above4g } = board.host.split;
    for (const [register, value] of cmosContents({
      ram: { belowBytes: below4g, aboveBytes: above4g },
      cpus: config.smp.cpus,
      floppies: this.floppies(board),
      disks: disks(board),
      bootLetters,
      floppyBootCheck: config.fdBootCheck,
    }))
      if (!only || only.includes(register)) board.rtc.set(register, value);
  }

  /** After each reset: a direct start puts the kernel into memory and the CPU at its entry. */
  afterReset(board: PcBoard): void {
    // The board resets itself once before its first start.
    if (++this.starts === 2 && this.config.boot.once !== undefined)
      this.writeCmos(board, this.config.boot.order, [CmosReg.bootFlag1, CmosReg.bootFlag2]);
    if (!this.plan || this.afterBios) return;
    configureChipset(board);
    enableMtrrs(board);
    const split = board.host.split;
    const map = directE820(split.below4g, split.above4g);
    placeSmbios(board, this.smbiosConfig(board));
    const rsdp = this.config.acpi ? placeAcpi(board.memory, buildPcAcpi(this.acpiConfig(board))) : undefined;
    placeMpTable(board, this.acpiConfig(board), rsdp?.end ?? ACPI_DIRECT_BASE);
    const state = this.plan.place({ memory: board.memory, map, rsdpAddress: rsdp?.rsdpAddress });
    enter(board, state);
  }
}

const TRANSLATION = { none: 0, lba: 1, large: 2 } as const;

/** The four IDE drives as the CMOS describes them. */
function disks(board: PcBoard): (DiskGeometry | undefined)[] {
  return [0, 1, 2, 3].map((n) => {
    const drive = board.ide.channels[n >> 1]!.at((n & 1) as 0 | 1);
    if (!(drive instanceof AtaDisk)) return undefined;
    const { cylinders, heads, sectors, translation } = drive.geometry;
    return { cylinders, heads, sectors, translation: TRANSLATION[translation] };
  });
}

/** Puts entry point and structures where operating systems look for them. */
function placeSmbios(board: PcBoard, config: SmbiosConfig): void {
  const tables = smbiosTables(config);
  board.memory.writeBytes(SMBIOS_BASE, smbiosAnchor(tables, SMBIOS_BASE + SMBIOS_ANCHOR_BYTES));
  board.memory.writeBytes(SMBIOS_BASE + SMBIOS_ANCHOR_BYTES, tables.bytes);
}

/** Puts the table at `address`, or the next multiple of 16, and the pointer where operating systems look for it. */
function placeMpTable(board: PcBoard, acpi: PcAcpiConfig, address: number): void {
  const env = board.processors.engine.envOf(0);
  const at = Math.ceil(address / 16) * 16;
  const table = mpTable({
    apicIds: acpi.apicIds,
    cpuSignature: board.ram.u32[(env + L.CPU_SIGNATURE) >>> 2]!,
    cpuFeatures: board.ram.u32[(env + L.FEAT_1_EDX) >>> 2]!,
    localApicAddress: acpi.localApicAddress,
    ioApicId: acpi.ioApicId,
    ioApicAddress: acpi.ioApicAddress,
    ioApicVersion: IO_APIC_VERSION,
    levelIrqs: LEVEL_IRQS,
    pciInterrupts: board.pciFunctions().map(({ device: d }) => {
      const pin = d.config[PciReg.interruptPin]!;
      return { slot: d.devfn >> 3, pin, irq: pirqRoute(d.devfn >> 3, pin) };
    }),
  });
  board.memory.writeBytes(at, table);
  board.memory.writeBytes(MP_POINTER_BASE, mpPointer(at));
}

/** The IRQ of a device's interrupt pin (1 is INTA#). */
const pirqRoute = (slot: number, pin: number): number => PIRQ_ROUTES[(slot + pin - 2) & 3]!;

/** What firmware would have done: shadow RAM open, ACPI and SMBus ports, keyboard translation, BARs, interrupt lines. */
function configureChipset(board: PcBoard): void {
  board.host.configWrite(0x59, 1, 0x30);
  for (let r = 0x5a; r <= 0x5f; r++) board.host.configWrite(r, 1, 0x33);
  for (const [i, irq] of PIRQ_ROUTES.entries()) board.isa.configWrite(0x60 + i, 1, irq);
  board.io.write(0x4d0, 1, 0);
  board.io.write(0x4d1, 1, 0x0c);
  board.pm.configWrite(0x40, 4, PM_BASE | 1);
  board.pm.configWrite(0x80, 1, 1);
  board.pm.configWrite(0x90, 4, SMB_BASE | 1);
  board.pm.configWrite(0xd2, 1, 9);
  if (board.i8042) {
    board.io.write(0x64, 1, I8042_WRITE_MODE);
    board.io.write(0x60, 1, I8042_MODE);
  }
  board.ide.configWrite(0x40, 2, 0x8000);
  board.ide.configWrite(0x42, 2, 0x8000);
  const functions = board.pciFunctions().map((f) => f.device);
  const bars = functions.flatMap((d) => d.barList().map((b) => ({ d, b }))).filter(({ b }) => b.kind !== "rom");
  // Largest first keeps everything aligned without gaps.
  bars.sort((x, y) => y.b.size - x.b.size);
  const memoryBytes = bars.reduce((n, { b }) => (b.kind === "io" ? n : n + b.size), 0);
  let io = PCI_IO_FIRST;
  let mem = PCI_MEM_FIRST + memoryBytes <= PCI_MEM_END ? PCI_MEM_FIRST : 0xe0000000;
  for (const { d, b } of bars) {
    const at = PciReg.bar0 + 4 * b.index;
    if (b.kind === "io") {
      io = Math.ceil(io / b.size) * b.size;
      d.configWrite(at, 4, io);
      io += b.size;
    } else {
      mem = Math.ceil(mem / b.size) * b.size;
      d.configWrite(at, 4, mem);
      if (b.kind === "mem64") d.configWrite(at + 4, 4, 0);
      mem += b.size;
    }
  }
  for (const d of functions) {
    if (d.barList().length) d.configWrite(PciReg.command, 2, d.command | PciCommand.io | PciCommand.memory);
    const pin = d.config[PciReg.interruptPin]!;
    if (pin) d.configWrite(PciReg.interruptLine, 1, pirqRoute(d.devfn >> 3, pin));
  }
}

/** Memory types: RAM write-back, the VGA window and everything from 3 GiB on uncached, ROMs write-protected. */
function enableMtrrs(board: PcBoard): void {
  const u32 = board.ram.u32;
  const physMaskHigh = 2 ** (board.files.model.physBits - 32) - 1;
  for (let cpu = 0; cpu < board.config.smp.cpus; cpu++) {
    const env = board.processors.engine.envOf(cpu);
    const put = (offset: number, low: number, high: number) => {
      u32[(env + offset) >>> 2] = low;
      u32[(env + offset + 4) >>> 2] = high;
    };
    // 64K (0), 16K (0x80000, 0xa0000), then eight of 4K from 0xc0000.
    put(L.MTRR_FIXED, Mtrr.writeBack, Mtrr.writeBack);
    put(L.MTRR_FIXED + 8, Mtrr.writeBack, Mtrr.writeBack);
    put(L.MTRR_FIXED + 16, Mtrr.uncached, Mtrr.uncached);
    for (let i = 3; i < 11; i++) put(L.MTRR_FIXED + 8 * i, Mtrr.writeProtected, Mtrr.writeProtected);
    const base = board.host.split.below4g > 0xc0000000 ? 0xe0000000 : 0xc0000000;
    put(L.MTRR_VAR, base, 0);
    put(L.MTRR_VAR + 8, (base | Mtrr.valid) >>> 0, physMaskHigh);
    put(L.MTRR_DEF_TYPE, Mtrr.default, 0);
    board.processors.stateChanged(cpu);
  }
}

const CS32 = 0x00cf9b00;
const CS64 = 0x00af9b00;
const DS32 = 0x00cf9300;

/** Puts vCPU 0 into the state a kernel asks for. */
function enter(board: PcBoard, s: BootState): void {
  const env = board.processors.engine.envOf(0);
  const u32 = board.ram.u32;
  const w32 = (o: number, v: number) => {
    u32[(env + o) >>> 2] = v;
  };
  const w64 = (o: number, v: number) => {
    w32(o, v % 2 ** 32);
    w32(o + 4, Math.floor(v / 2 ** 32));
  };
  const r = s.registers;
  for (const [i, v] of [r.eax, r.ecx, r.edx, r.ebx, r.esp, r.ebp, r.esi, r.edi].entries()) w64(L.GPR + 8 * i, v ?? 0);
  for (let i = 8; i < 16; i++) w64(L.GPR + 8 * i, 0);
  w64(L.RIP, s.entry);
  if (s.cpuMode === "real16") {
    const seg = s.segments ?? { cs: 0, ds: 0, ss: 0 };
    for (const [i, sel] of [seg.ds, seg.cs, seg.ss, seg.ds, seg.ds, seg.ds].entries()) {
      w32(L.SEG_SEL + 4 * i, sel);
      w64(L.SEG_BASE + 8 * i, sel * 16);
    }
  } else {
    const long = s.cpuMode === "long64";
    for (let i = 0; i < 6; i++) {
      w32(L.SEG_SEL + 4 * i, i === 1 ? 0x10 : 0x18);
      w64(L.SEG_BASE + 8 * i, 0);
      w32(L.SEG_LIMIT + 4 * i, 0xffffffff);
      w32(L.SEG_FLAGS + 4 * i, i === 1 ? (long ? CS64 : CS32) : DS32);
    }
    w64(L.GDT_BASE, s.gdt?.base ?? 0);
    w32(L.GDT_LIMIT, s.gdt?.limit ?? 0);
    w64(L.CR0, long ? 0x80000011 : 0x11);
    if (long) {
      w64(L.CR3, s.cr3 ?? 0);
      w64(L.CR4, 0x20);
      w64(L.EFER, 0x500);
    }
  }
  board.processors.stateChanged(0);
  const e = board.processors.engine;
  e.select(0);
  (e.runtime.updateHflags as () => void)();
  e.runtime.flushTlbAll();
}
