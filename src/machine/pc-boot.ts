/**
 * How the pc machine starts: what firmware learns (fw_cfg, CMOS, ACPI, SMBIOS), or, with `-kernel`, a start without
 * firmware, the chipset set up as firmware would have left it.
 */
import { VmError } from "../base/errors.js";
import { AcpiFile, addAcpiFiles, buildPcAcpi, placeAcpi } from "../firmware/acpi/build.js";
import { PC_ACPI_DEFAULTS, type PcAcpiConfig } from "../firmware/acpi/config.js";
import type { BootPlan, BootState } from "../firmware/boot-state.js";
import { cmosContents } from "../firmware/cmos.js";
import { directE820, encodeE820, ramE820 } from "../firmware/e820.js";
import { FwCfg, FwCfgKey } from "../firmware/fw-cfg.js";
import { kernelKind, planKernel } from "../firmware/loaders/load-kernel.js";
import { parseModuleList } from "../firmware/loaders/multiboot.js";
import { addSmbiosFiles, parseUuid, pcSmbiosDefaults } from "../firmware/smbios.js";
import { COM_PORTS } from "../hw/char/uart16550.js";
import { PciCommand, PciReg } from "../hw/pci/device.js";
import { splitRam } from "../hw/pci/i440fx.js";
import * as L from "../target/x86/layout.js";
import type { BoardParts } from "./board.js";
import type { MachineConfig } from "./config.js";
import type { PcBoard } from "./pc.js";

const KERNEL_LIMIT = 1024 * 2 ** 20;
const PM_BASE = 0x600;
/** Where BARs go in a start without firmware. */
const PCI_IO_FIRST = 0xc000;
const PCI_MEM_FIRST = 0xf0000000;

/** The start of one machine. */
export class PcBoot {
  readonly fwCfg: { current?: FwCfg } = {};

  private constructor(
    private readonly config: MachineConfig,
    /** With `-kernel`: the plan, carried out after every reset. */
    readonly plan: BootPlan | undefined,
    /** The kernel needs what a BIOS leaves (multiboot: text mode): SeaBIOS runs first. */
    readonly afterBios: boolean,
  ) {}

  /** Reads kernel and initrd. @throws VmError naming option and file */
  static async load(config: MachineConfig, parts: BoardParts): Promise<PcBoot> {
    const k = config.kernel;
    if (!k) return new PcBoot(config, undefined, false);
    const image = { option: "-kernel", name: k.image, bytes: await parts.readFile("-kernel", k.image, KERNEL_LIMIT) };
    const kind = kernelKind(image);
    const list = k.initrd === undefined ? [] : kind === "multiboot" ? parseModuleList(k.initrd) : [{ path: k.initrd, arguments: "" }];
    const modules = [];
    for (const m of list)
      modules.push({
        image: { option: "-initrd", name: m.path, bytes: await parts.readFile("-initrd", m.path, KERNEL_LIMIT) },
        arguments: m.arguments,
      });
    const long = config.arch === "x86_64" && config.cpu.model !== "486" && config.cpu.model !== "pentium3" && config.cpu.model !== "qemu32";
    const plan = planKernel(image, { commandLine: k.append ?? "", modules, start: long ? "unpacked" : "protected32" });
    const split = splitRam(config.memoryBytes);
    plan.check(directE820(split.below4g, split.above4g));
    return new PcBoot(config, plan, kind === "multiboot" && config.vga !== "none");
  }

  private acpiConfig(board: PcBoard): PcAcpiConfig {
    const { config } = this;
    const below = board.host.split.below4g;
    return {
      ...PC_ACPI_DEFAULTS,
      apicIds: Array.from({ length: config.smp.cpus }, (_, i) => i),
      pciHole: { first: Math.max(below, 0x08000000), last: 0xfebfffff },
      serialPorts: COM_PORTS.map((p, n) => (board.serials[n] ? { base: p.base, irq: p.irq } : undefined)),
      i8042: board.i8042 !== undefined,
      hpet: config.hpet,
      pm: { ...PC_ACPI_DEFAULTS.pm, base: PM_BASE },
    };
  }

  /** Once, when everything is wired. */
  prepare(board: PcBoard): void {
    const { config } = this;
    const fw = new FwCfg(board.ctx);
    this.fwCfg.current = fw;
    fw.mapPorts(board.io);
    board.addDevice(fw);
    const split = board.host.split;
    const u16 = (v: number) => new Uint8Array([v & 255, v >> 8]);
    const u32 = (v: number) => new Uint8Array([v & 255, (v >>> 8) & 255, (v >>> 16) & 255, v >>> 24]);
    const u64 = (v: number) => new Uint8Array([...u32(v % 2 ** 32), ...u32(Math.floor(v / 2 ** 32))]);
    fw.addItem(FwCfgKey.ramSize, u64(config.memoryBytes));
    fw.addItem(FwCfgKey.nbCpus, u16(config.smp.cpus));
    fw.addItem(FwCfgKey.maxCpus, u16(config.smp.cpus));
    fw.addItem(FwCfgKey.noGraphic, u16(config.graphics ? 0 : 1));
    fw.addItem(FwCfgKey.bootMenu, u16(config.boot.menu ? 1 : 0));
    fw.addItem(FwCfgKey.irq0Override, u32(1));
    fw.addItem(FwCfgKey.numa, u64(0));
    if (config.uuid) fw.addItem(FwCfgKey.uuid, parseUuid(config.uuid));
    fw.addFile("etc/e820", encodeE820(ramE820(split.below4g, split.above4g)));
    fw.addFile("etc/system-states", new Uint8Array([128, 0, 0, 129, 2, 0]));
    if (config.boot.menu) fw.addFile("etc/boot-menu-wait", u16(config.boot.splashTimeMs ?? 3000));
    if (config.boot.rebootTimeoutMs !== undefined) fw.addFile("etc/boot-fail-wait", u32(config.boot.rebootTimeoutMs));
    if (config.acpi) {
      addAcpiFiles(fw, buildPcAcpi(this.acpiConfig(board)), () => buildPcAcpi(this.acpiConfig(board)));
    }
    addSmbiosFiles(fw, {
      ...pcSmbiosDefaults(config.name),
      uuid: config.uuid ? parseUuid(config.uuid) : undefined,
      processor: {
        manufacturer: "Tandem",
        version: "pc-i440fx",
        sockets: config.smp.cpus,
        cores: 1,
        threads: 1,
        cpuidEax: board.ram.u32[(board.processors.engine.envOf(0) + L.CPU_SIGNATURE) >>> 2]!,
        cpuidEdx: board.ram.u32[(board.processors.engine.envOf(0) + L.FEAT_1_EDX) >>> 2]!,
        speedMhz: 2000,
      },
      ram: { belowBytes: split.below4g, aboveBytes: split.above4g },
    });
    const order = config.boot.once ?? config.boot.order;
    for (const [register, value] of cmosContents({
      ram: { belowBytes: split.below4g, aboveBytes: split.above4g },
      cpus: config.smp.cpus,
      floppies: [],
      disks: [],
      bootLetters: order,
      floppyBootCheck: config.fdBootCheck,
    }))
      board.rtc.set(register, value);
    void AcpiFile;
  }

  /** After each reset: a direct start puts the kernel into memory and the CPU at its entry. */
  afterReset(board: PcBoard): void {
    if (!this.plan || this.afterBios) return;
    this.direct(board);
  }

  private direct(board: PcBoard): void {
    configureChipset(board);
    const split = board.host.split;
    const map = directE820(split.below4g, split.above4g);
    const rsdp = this.config.acpi ? placeAcpi(board.memory, buildPcAcpi(this.acpiConfig(board))) : undefined;
    const state = this.plan!.place({ memory: board.memory, map, rsdpAddress: rsdp?.rsdpAddress });
    enter(board, state);
  }
}

/** What firmware would have done: shadow RAM open, ACPI ports, BARs, interrupt lines. */
function configureChipset(board: PcBoard): void {
  board.host.configWrite(0x59, 1, 0x30);
  for (let r = 0x5a; r <= 0x5f; r++) board.host.configWrite(r, 1, 0x33);
  for (const [i, irq] of [10, 10, 11, 11].entries()) board.isa.configWrite(0x60 + i, 1, irq);
  board.io.write(0x4d0, 1, 0);
  board.io.write(0x4d1, 1, 0x0c);
  board.pm.configWrite(0x40, 4, PM_BASE | 1);
  board.pm.configWrite(0x80, 1, 1);
  board.ide.configWrite(0x40, 2, 0x8000);
  board.ide.configWrite(0x42, 2, 0x8000);
  let io = PCI_IO_FIRST;
  let mem = PCI_MEM_FIRST;
  const functions = board.pciFunctions().map((f) => f.device);
  const bars = functions.flatMap((d) => d.barList().map((b) => ({ d, b })));
  // Largest first keeps everything aligned without gaps.
  bars.sort((x, y) => y.b.size - x.b.size);
  for (const { d, b } of bars) {
    if (b.kind === "rom") continue;
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
    if (pin) d.configWrite(PciReg.interruptLine, 1, [10, 10, 11, 11][((d.devfn >> 3) + pin - 2) & 3]!);
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
  const e = board.processors.engine;
  e.select(0);
  (e.runtime.updateHflags as () => void)();
  e.runtime.flushTlbAll();
}

/** @throws VmError when RAM is too small for what was asked */
export function checkRam(bytes: number): void {
  if (bytes < 2 ** 20) throw new VmError("machine/invalid", "the pc machine needs at least 1 MiB of RAM");
}
