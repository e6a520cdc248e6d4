/**
 * The pc machine (i440FX, PIIX3), wired: which device is where, on which interrupt. Sources: Intel 82441FX, 82371FB/SB
 * datasheets; QEMU's pc-i440fx for addresses that guests expect.
 */

import { ENGINE_BYTES } from "../accel/tcg/map.js";
import { VmError } from "../base/errors.js";
import type { Drive } from "../block/backend.js";
import type { Chardev } from "../host/chardev.js";
import { COM_PORTS, Uart16550 } from "../hw/char/uart16550.js";
import { TimerQueue, VirtualClock } from "../hw/core/clock.js";
import type { Device, DeviceContext } from "../hw/core/device.js";
import { IrqLine, OrIrq } from "../hw/core/irq.js";
import { VgaPci } from "../hw/display/vga-pci.js";
import { AtaDisk } from "../hw/ide/ata-disk.js";
import { AtapiCdrom } from "../hw/ide/atapi-cdrom.js";
import { Piix3Ide } from "../hw/ide/piix3-ide.js";
import { I8042 } from "../hw/input/i8042.js";
import { qcode } from "../hw/input/qcodes.js";
import { ApicPage } from "../hw/intc/apic-page.js";
import { I8259Pair } from "../hw/intc/i8259.js";
import { IoApic } from "../hw/intc/ioapic.js";
import { I8237Pair } from "../hw/misc/i8237.js";
import { Piix4Pm } from "../hw/misc/piix4-pm.js";
import { Port61 } from "../hw/misc/port61.js";
import { Port92 } from "../hw/misc/port92.js";
import { PciBus, pciDevfn } from "../hw/pci/bus.js";
import { PciConfigPorts } from "../hw/pci/config-ports.js";
import type { PciDevice } from "../hw/pci/device.js";
import { I440fx, splitRam } from "../hw/pci/i440fx.js";
import { Piix3Isa } from "../hw/pci/piix3.js";
import { Hpet } from "../hw/timer/hpet.js";
import { I8254 } from "../hw/timer/i8254.js";
import { Mc146818 } from "../hw/timer/mc146818.js";
import { AddressSpace } from "../memory/address-space.js";
import { GuestRam, type RamBlock } from "../memory/ram.js";
import { cpuModel } from "../target/x86/cpu-models.js";
import * as L from "../target/x86/layout.js";
import type { Display } from "../ui/display.js";
import type { Board, BoardParts, BoardRequest, BusNode, CreateBoard, ReportTopic, VcpuSummary } from "./board.js";
import type { MachineConfig } from "./config.js";
import { PcBoot } from "./pc-boot.js";
import { PcCpus } from "./pc-cpus.js";
import { addUserDevices } from "./pc-devices.js";
import { RegisterView } from "./pc-registers.js";

const MIB = 2 ** 20;
const VRAM_BYTES = 16 * MIB;
/** Room for firmware images and option ROMs. */
const ROM_BYTES = 8 * MIB;

/** Everything wired; see board.ts for the contract. */
export class PcBoard implements Board {
  readonly accelerator = "tcg";
  onRequest: (request: BoardRequest) => void = () => {};
  readonly ram: GuestRam;
  readonly memory: AddressSpace;
  readonly io: AddressSpace;
  readonly ctx: DeviceContext;
  readonly clock: VirtualClock;
  readonly timers: TimerQueue;
  readonly processors: PcCpus;
  readonly pci = new PciBus("pci.0", 0);
  readonly pic: I8259Pair;
  readonly ioapic: IoApic;
  readonly pit: I8254;
  readonly rtc: Mc146818;
  readonly i8042: I8042 | undefined;
  readonly dma: I8237Pair;
  readonly ide: Piix3Ide;
  readonly pm: Piix4Pm;
  readonly host: I440fx;
  readonly isa: Piix3Isa;
  readonly vga: VgaPci | undefined;
  readonly ramBlock: RamBlock;
  readonly serials: (Uart16550 | undefined)[] = [];
  private readonly all: Device[] = [];
  private readonly driveList: Drive[] = [];
  /** ISA interrupt wires with any number of drivers. */
  private readonly isaIrqs: OrIrq[];
  private readonly gsis: OrIrq[];
  private readonly boot: PcBoot;
  private keyReleases: { fire: () => void; disarm: () => void }[] = [];

  constructor(
    readonly config: MachineConfig,
    private readonly parts: BoardParts,
    files: { runtime: WebAssembly.Module; bios: Uint8Array; vgaBios: Uint8Array | undefined; boot: PcBoot },
  ) {
    const { host, trace } = parts;
    const shared = true;
    const ramBytes = config.memoryBytes;
    this.boot = files.boot;
    this.ram = new GuestRam(ENGINE_BYTES, ramBytes + VRAM_BYTES + ROM_BYTES, shared);
    this.memory = new AddressSpace("memory", 2 ** 40, this.ram);
    this.io = new AddressSpace("I/O", 0x10000, this.ram);
    this.clock = new VirtualClock(host.clock);
    this.timers = new TimerQueue(this.clock);
    const startWall = host.clock.wallMs();
    const rtcBase =
      typeof config.rtc.base === "object"
        ? config.rtc.base.startMs
        : config.rtc.base === "localtime"
          ? startWall + host.localOffsetMinutes(startWall) * 60_000
          : startWall;
    const hostStart = host.clock.monotonicNs();
    const ctx: DeviceContext = {
      clock: this.clock,
      timers: this.timers,
      memory: this.memory,
      io: this.io,
      ram: this.ram,
      trace,
      wallMs: () =>
        config.rtc.clock === "vm" ? rtcBase + this.clock.nowNs() / 1e6 : rtcBase + (host.clock.monotonicNs() - hostStart) / 1e6,
    };
    this.ctx = ctx;
    this.ramBlock = this.ram.allocate("pc.ram", ramBytes);
    const bios = this.romBlock("pc.bios", files.bios);
    this.host = new I440fx(ctx, { ram: this.ramBlock, ramSizeBytes: ramBytes, bios });

    // --- processors and interrupt controllers ---
    const model = cpuModel(config.cpu.model, config.cpu.features, config.cpu.props.enforce === "on");
    for (const w of model.warnings) host.note(`warning: ${w}`);
    const accel = config.accel.find((a) => a.name === "tcg");
    this.processors = new PcCpus(ctx, this.memory, this.ram, {
      count: config.smp.cpus,
      model,
      runtime: files.runtime,
      shared,
      trace,
      scheduler: host.scheduler,
      clock: this.clock,
      timers: this.timers,
      randomBytes: (out) => host.randomBytes(out),
      tier1: accel?.props.tier1 !== "off",
      hostMs: () => host.clock.monotonicNs() / 1e6,
      onTripleFault: () => this.request({ kind: "reset", reason: "triple-fault" }),
      onInternalError: (error) => {
        const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
        this.onRequest({ kind: "internal-error", message });
      },
    });
    this.pic = new I8259Pair(ctx, new IrqLine(() => this.processors.updateInterrupt(0)));
    this.pic.map(this.io);
    this.processors.pic = this.pic;
    this.ioapic = new IoApic(ctx, this.processors.bus, { picAcknowledge: () => this.pic.acknowledge() });
    this.ioapic.map(this.memory);
    const apicPage = new ApicPage(ctx, this.processors.bus, this.processors.apics, () => this.processors.current);
    apicPage.map(this.memory);
    this.gsis = this.ioapic.inputs.map((line) => new OrIrq(line));
    // An ISA interrupt reaches the 8259 and the I/O APIC pin of the same number; IRQ0 reaches pin 2.
    this.isaIrqs = this.pic.inputs.map((line, n) => {
      const gsi = this.gsis[n === 0 ? 2 : n]!.input();
      return new OrIrq(
        new IrqLine((level) => {
          line.set(level);
          if (n !== 2) gsi.set(level);
        }),
      );
    });

    // --- PCI ---
    const configPorts = new PciConfigPorts(this.pci, this.io);
    this.pci.attach(this.host, { devfn: 0 });
    this.isa = new Piix3Isa(ctx, {
      irqs: this.isaIrqs.map((o) => o.input()),
      onReset: () => this.request({ kind: "reset", reason: "guest-reset" }),
    });
    this.pci.attach(this.isa, { devfn: pciDevfn(1, 0), multifunction: true });
    this.pci.onPirq = (pirq, level) => this.isa.setPirq(pirq, level);
    configPorts.resetControl = this.isa.resetControl;
    this.ide = new Piix3Ide(ctx, { irq14: this.irq(14), irq15: this.irq(15) });
    this.pci.attach(this.ide, { devfn: pciDevfn(1, 1) });
    this.pm = new Piix4Pm(ctx, this.irq(9), {
      smm: false,
      onSleep: (state) => {
        if (state === "S5") this.request({ kind: "shutdown", reason: "guest-shutdown" });
        else if (state === "S3") this.request({ kind: "suspend" });
      },
    });
    this.pci.attach(this.pm, { devfn: pciDevfn(1, 3) });
    this.pm.pm.map(this.io);

    // --- timers, DMA, input ---
    const pit = new I8254(ctx, this.irq(0));
    this.pit = pit;
    pit.map(this.io);
    const port61 = new Port61(ctx, pit);
    port61.map(this.io);
    const rtcLine = this.irq(8);
    let hpetLegacy = false;
    const rtcIrq = new IrqLine((level) => rtcLine.set(level && !hpetLegacy));
    this.rtc = new Mc146818(ctx, rtcIrq);
    this.rtc.map(this.io);
    this.rtc.onAlarm = () => this.pm.pm.rtcAlarm();
    this.dma = new I8237Pair(ctx);
    this.dma.map(this.io);
    const a20 = new IrqLine((open) => this.processors.setA20(open));
    a20.level = true;
    const reset = () => this.request({ kind: "reset", reason: "guest-reset" });
    const port92 = new Port92({ a20, onReset: reset });
    port92.map(this.io);
    if (config.machine.props.i8042 !== "off") {
      this.i8042 = new I8042(ctx, this.irq(1), this.irq(12), { a20, onReset: reset });
      this.i8042.map(this.io);
      this.all.push(this.i8042);
    }
    if (config.hpet) {
      const hpet = new Hpet(ctx, {
        gsi: this.gsis.map((g) => g.input()),
        irq0: this.irq(0),
        irq8: this.irq(8),
        onLegacy: (on) => {
          hpetLegacy = on;
          pit.setIrqEnabled(!on);
        },
        msi: (address, data) => this.processors.bus.deliverMsi(address, data),
      });
      hpet.map(this.memory);
      this.all.push(hpet);
    }
    this.all.push(
      this.pic,
      this.ioapic,
      ...this.processors.apics,
      configPorts,
      this.host,
      this.isa,
      this.ide,
      this.pm,
      pit,
      port61,
      this.rtc,
      this.dma,
      port92,
    );

    // --- display ---
    if (config.vga === "std") {
      this.vga = new VgaPci(ctx, {
        vram: this.ram.allocate("vga.vram", VRAM_BYTES),
        rom: files.vgaBios ? this.romBlock("vga.rom", files.vgaBios) : undefined,
      });
      this.pci.attach(this.vga, { devfn: pciDevfn(2, 0) });
      this.all.push(this.vga);
    }

    // --- serial ports ---
    for (const [n, s] of config.serials.entries()) {
      if (s.chardev === undefined) continue;
      const port = COM_PORTS[n];
      if (!port) break;
      this.addSerial(n, parts.chardev(s.chardev));
    }

    // --- drives ---
    for (const d of config.drives) {
      const drive = parts.drive(d.id);
      this.driveList.push(drive);
      if (d.if === "ide") this.addIdeDrive(d.index, drive, d.media);
    }
    addUserDevices(this, parts);
    this.boot.prepare(this);
    this.reset();
  }

  addSerial(n: number, chardev: Chardev | undefined): void {
    const port = COM_PORTS[n]!;
    const uart = new Uart16550(this.ctx, this.irq(port.irq), chardev);
    uart.map(this.io, port.base);
    this.serials[n] = uart;
    this.all.push(uart);
  }

  addIdeDrive(index: number, drive: Drive, media: "disk" | "cdrom"): void {
    const channel = this.ide.channels[index >> 1]!;
    const device = media === "cdrom" ? new AtapiCdrom(this.ctx, drive) : new AtaDisk(this.ctx, drive);
    channel.attach(device, (index & 1) as 0 | 1);
    this.all.push(device);
  }

  /** A further driver of an ISA interrupt. */
  irq(n: number): IrqLine {
    return this.isaIrqs[n]!.input();
  }

  gsi(n: number): IrqLine {
    return this.gsis[n]!.input();
  }

  addDevice(device: Device): void {
    this.all.push(device);
  }

  addDrive(drive: Drive): void {
    if (!this.driveList.includes(drive)) this.driveList.push(drive);
  }

  attachPci(device: PciDevice, devfn: number | undefined, multifunction: boolean): void {
    this.pci.attach(device, { devfn, multifunction });
    this.all.push(device);
  }

  private romBlock(name: string, bytes: Uint8Array): RamBlock {
    let size = 4096;
    while (size < bytes.length) size *= 2;
    const block = this.ram.allocate(name, size);
    this.ram.bytes(block).set(bytes, name === "pc.bios" ? size - bytes.length : 0);
    return block;
  }

  /** A request of the guest: reported once it has left guest code. */
  request(request: BoardRequest): void {
    this.processors.requestBreak();
    this.parts.host.scheduler.soon(() => this.onRequest(request));
  }

  // --- run control ---
  get running(): boolean {
    return this.processors.running;
  }

  start(): void {
    this.processors.start();
  }

  async stop(): Promise<void> {
    await this.processors.stop();
    for (const d of this.driveList) {
      const settle = (d as { settled?: () => Promise<void> }).settled;
      if (settle) await settle.call(d);
    }
  }

  reset(): void {
    this.memory.batch(() => {
      for (const d of this.all) d.reset();
    });
    this.processors.setA20(true);
    this.processors.reset();
    this.boot.afterReset(this);
  }

  powerdown(): void {
    this.pm.pm.powerButton();
  }

  wakeup(): void {
    this.pm.pm.wake();
  }

  nmi(): void {
    for (let i = 0; i < this.config.smp.cpus; i++) this.processors.signal(i, L.EV_NMI);
  }

  sendKeys(names: readonly string[], holdMs: number): void {
    const codes = names.map((n) => {
      const q = qcode(n);
      if (q === undefined) throw new VmError("monitor/bad-command", `invalid parameter: ${n}`);
      return q;
    });
    const keyboard = this.i8042?.keyboard;
    if (!keyboard) throw new VmError("monitor/bad-command", "this machine has no keyboard");
    for (const q of codes) keyboard.keyEvent(q, true);
    const timer = this.timers.create(() => {
      for (const q of [...codes].reverse()) keyboard.keyEvent(q, false);
      this.timers.remove(timer);
    });
    timer.arm(this.clock.nowNs() + holdMs * 1e6);
    void this.keyReleases;
  }

  drives(): readonly Drive[] {
    return this.driveList;
  }

  devices(): readonly Device[] {
    return this.all;
  }

  async dispose(): Promise<void> {
    await this.stop();
    for (const d of this.all) d.dispose?.();
  }

  // --- inspection ---
  private view(cpu: number): RegisterView {
    const env = this.processors.engine.envOf(cpu);
    return new RegisterView(this.ram, env, () => {
      this.processors.engine.select(cpu);
      return (this.processors.engine.runtime.getEflags as () => number)() >>> 0;
    });
  }

  cpus(): readonly VcpuSummary[] {
    return Array.from({ length: this.config.smp.cpus }, (_, index) => {
      const v = this.view(index);
      return {
        index,
        halted: this.processors.halted(index),
        pc: v.u64(L.RIP) + (v.u32(L.HFLAGS) & L.HF_CS64 ? 0n : v.u64(L.SEG_BASE + 8)),
      };
    });
  }

  registers(cpu: number): string {
    return this.view(cpu).text();
  }

  register(cpu: number, name: string): bigint | undefined {
    return this.view(cpu).register(name);
  }

  readVirtual(cpu: number, address: bigint, out: Uint8Array): boolean {
    this.processors.engine.select(cpu);
    const phys = this.processors.engine.runtime.debugPhys as (linear: bigint) => number;
    for (let i = 0; i < out.length; ) {
      const a = address + BigInt(i);
      const p = phys(BigInt.asUintN(64, a));
      if (p < 0) return false;
      const n = Math.min(out.length - i, 4096 - (p % 4096));
      this.memory.readBytes(p, out.subarray(i, i + n));
      i += n;
    }
    return true;
  }

  report(topic: ReportTopic, cpu: number): string {
    switch (topic) {
      case "pic":
        return `${this.pic.describe().join("\n")}\n`;
      case "jit": {
        const e = this.processors.engine;
        const rows: [string, number | string][] = [
          ["translated blocks", e.cache.blocks],
          ["blocks ever", e.stats.blocks],
          ["guest instructions translated", e.stats.translatedInsns],
          ["block area bytes", e.cache.usedBytes],
          ["full flushes", e.cache.flushes],
          ["jump cache misses", e.stats.misses],
          ["exceptions", e.stats.faults],
          ["self-modifying stores", e.stats.smc],
          ["regions compiled", e.tier1.stats.regions],
          ["WebAssembly modules", e.tier1.stats.modules],
          ["region WebAssembly bytes", e.tier1.stats.bytes],
          ["region guest instructions", e.tier1.stats.insns],
          ["region compile ms", Math.round(e.tier1.stats.compileMs)],
          ["blocks not compilable", e.tier1.stats.failed],
          ["region exit sites taken", e.stats.siteBlocks],
        ];
        return `${rows.map(([n, v]) => `${n.padEnd(32)}${v}`).join("\n")}\n`;
      }
      case "tlb":
        return this.describeTlb(cpu);
      case "mem":
        return "";
      case "irq":
        return `${this.pic.describe().join("\n")}\n`;
    }
  }

  private describeTlb(cpu: number): string {
    const env = this.processors.engine.envOf(cpu);
    const out: string[] = [];
    const u32 = this.ram.u32;
    for (let mmu = 0; mmu < L.TLB_MODES; mmu++)
      for (let i = 0; i < 1024; i++) {
        const e = (env + L.TLB + mmu * L.TLB_MMU_SIZE + i * L.TLB_ENTRY) >>> 2;
        const tags = [u32[e]!, u32[e + 2]!, u32[e + 4]!];
        const k = tags.findIndex((t) => !(t & L.TAG_INVALID));
        if (k < 0) continue;
        const lin = (BigInt(u32[e + 2 * k + 1]!) << 32n) | BigInt(tags[k]! & ~4095);
        const rwx = tags.map((t, j) => (t & L.TAG_INVALID ? "-" : "rwx"[j])).join("");
        out.push(
          `${BigInt.asUintN(64, lin).toString(16).padStart(16, "0")}: ${((u32[e + 7]! & 0xfffffff) * 4096).toString(16).padStart(10, "0")} ${rwx} mmu${mmu}`,
        );
      }
    return `${out.join("\n")}\n`;
  }

  addressSpaces(): readonly AddressSpace[] {
    return [this.memory, this.io];
  }

  pciFunctions(): readonly { readonly bus: number; readonly device: PciDevice }[] {
    return this.all.filter((d): d is PciDevice => "configRead" in d).map((device) => ({ bus: 0, device }));
  }

  deviceTree(): BusNode {
    return {
      name: "main-system-bus",
      type: "System",
      devices: [
        {
          type: "i440FX-pcihost",
          props: [],
          buses: [
            {
              name: "pci.0",
              type: "PCI",
              devices: this.pciFunctions().map(({ device }) => ({
                type: device.type,
                id: device.id,
                props: [["addr", `${(device.devfn >> 3).toString(16).padStart(2, "0")}.${device.devfn & 7}`] as const],
                buses: [],
              })),
            },
          ],
        },
      ],
    };
  }

  display(): Display | undefined {
    return this.vga;
  }
}

/** Builds the pc machine. */
export const createPc: CreateBoard = async (config, parts) => {
  if (config.smp.cpus > 16) throw new VmError("machine/invalid", `-smp ${config.smp.cpus}: this version runs at most 16 vCPUs`);
  const split = splitRam(config.memoryBytes);
  if (split.below4g < MIB) throw new VmError("machine/invalid", `-m ${config.memoryBytes}: the pc machine needs at least 1 MiB`);
  const runtimeBytes = await parts.host.readBuiltIn("dist/runtime/x86.wasm");
  const runtime = new WebAssembly.Module(runtimeBytes);
  const bios = await parts.readFirmware("-bios", config.bios ?? "bios-256k.bin");
  if (bios.length === 0 || bios.length % 65536)
    throw new VmError("image/bad-format", `-bios ${config.bios}: size ${bios.length} is not a multiple of 64 KiB`);
  const vgaBios = config.vga === "std" ? await parts.readFirmware("-vga", "vgabios-stdvga.bin") : undefined;
  const boot = await PcBoot.load(config, parts);
  return new PcBoard(config, parts, { runtime, bios, vgaBios, boot });
};
