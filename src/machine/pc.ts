/**
 * The pc machine (i440FX, PIIX3), wired: which device is where, on which interrupt. Sources: Intel 82441FX, 82371FB/SB
 * datasheets; QEMU's pc-i440fx for addresses that guests expect.
 */

import type { AcceleratorName } from "../accel/accelerator.js";
import { hostCpu } from "../accel/kvm/cpuid.js";
import type { KvmHost } from "../accel/kvm/host.js";
import { ENGINE_BYTES } from "../accel/tcg/map.js";
import { VmError } from "../base/errors.js";
import type { Drive } from "../block/backend.js";
import type { BootDevice } from "../firmware/boot-order.js";
import { Fdc } from "../hw/block/fdc.js";
import type { FloppyDrive } from "../hw/block/floppy-drive.js";
import type { Uart16550 } from "../hw/char/uart16550.js";
import { InstructionClock, type MachineClock, TimerQueue, VirtualClock } from "../hw/core/clock.js";
import type { Device, DeviceContext, DeviceState } from "../hw/core/device.js";
import { IrqLine, OrIrq } from "../hw/core/irq.js";
import type { VgaIsa } from "../hw/display/vga-isa.js";
import type { VgaPci } from "../hw/display/vga-pci.js";
import { Piix3Ide } from "../hw/ide/piix3-ide.js";
import { I8042 } from "../hw/input/i8042.js";
import { qcode, qcodeByNumber } from "../hw/input/qcodes.js";
import { ApicPage } from "../hw/intc/apic-page.js";
import { I8259Pair } from "../hw/intc/i8259.js";
import { IoApic } from "../hw/intc/ioapic.js";
import { I8237Pair } from "../hw/misc/i8237.js";
import { Piix4Pm } from "../hw/misc/piix4-pm.js";
import { Port61 } from "../hw/misc/port61.js";
import { Port92 } from "../hw/misc/port92.js";
import { PciBus, pciDevfn } from "../hw/pci/bus.js";
import { PciConfigPorts } from "../hw/pci/config-ports.js";
import { PciDevice } from "../hw/pci/device.js";
import { I440fx, splitRam } from "../hw/pci/i440fx.js";
import { Piix3Isa } from "../hw/pci/piix3.js";
import { Hpet } from "../hw/timer/hpet.js";
import { I8254 } from "../hw/timer/i8254.js";
import { Mc146818 } from "../hw/timer/mc146818.js";
import type { VirtioBalloon } from "../hw/virtio/balloon.js";
import { VirtioPci } from "../hw/virtio/pci.js";
import { AddressSpace } from "../memory/address-space.js";
import { GuestRam, type RamBlock } from "../memory/ram.js";
import type { Snapshotable } from "../migration/index.js";
import { type CpuModel, cpuModel } from "../target/x86/cpu-models.js";
import * as L from "../target/x86/layout.js";
import type { Display } from "../ui/display.js";
import { InputHub } from "../ui/input.js";
import type {
  Board,
  BoardParts,
  BoardRequest,
  BusNode,
  CreateBoard,
  DeviceRecord,
  DisassembledInsn,
  ReportTopic,
  VcpuSummary,
} from "./board.js";
import type { DeviceConfig, MachineConfig } from "./config.js";
import { defaultValues } from "./device-properties.js";
import type { MachineEvent } from "./events.js";
import { PC_BOARD_TYPES } from "./pc-board-types.js";
import { PcBoot } from "./pc-boot.js";
import { PcCpus } from "./pc-cpus.js";
import { DeviceSite, withOrigin } from "./pc-device-site.js";
import { addDevices, displayNeeds } from "./pc-devices.js";
import { disassembleAt, mnemonicOf } from "./pc-disassemble.js";
import { PcHotplug } from "./pc-hotplug.js";
import { deviceTree, report } from "./pc-inspection.js";
import { RegisterView } from "./pc-registers.js";
import { PcSnapshot } from "./pc-snapshot.js";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
/** Room for firmware images and option ROMs. */
const ROM_BYTES = 9 * MIB;

/** The flash ends at 4 GiB; below it are the chipset's own addresses. */
const BIOS_MAX = 8 * MIB;
const MAX_CPUS = 16;
const FLOPPY_DMA = 2;

/** What has been read before the board is wired. */
export interface PcFiles {
  readonly runtime: WebAssembly.Module;
  readonly bios: Uint8Array;
  readonly vgaBios: Uint8Array | undefined;
  readonly vramBytes: number;
  readonly model: CpuModel;
  readonly boot: PcBoot;
}

/** Everything wired; see board.ts for the contract. */
export class PcBoard implements Board {
  onRequest: (request: BoardRequest) => void = () => {};
  onEvent: (event: MachineEvent) => void = () => {};
  readonly ram: GuestRam;
  readonly memory: AddressSpace;
  readonly io: AddressSpace;
  readonly ctx: DeviceContext;
  readonly pciCtx: DeviceContext;
  readonly clock: MachineClock;
  readonly timers: TimerQueue;
  readonly processors: PcCpus;
  readonly pci = new PciBus("pci.0", 0);
  readonly pic: I8259Pair;
  readonly ioapic: IoApic;
  readonly pit: I8254;
  readonly rtc: Mc146818;
  readonly i8042: I8042 | undefined;
  readonly inputs = new InputHub();
  readonly dma: I8237Pair;
  readonly ide: Piix3Ide;
  readonly pm: Piix4Pm;
  readonly host: I440fx;
  readonly isa: Piix3Isa;
  readonly ramBlock: RamBlock;
  /** COM1 to COM4, and where they are. */
  readonly serials: ({ readonly uart: Uart16550; readonly base: number; readonly irq: number } | undefined)[] = [];
  // What pc-devices.ts fills in as it makes devices.
  vga: VgaPci | VgaIsa | undefined;
  balloon: VirtioBalloon | undefined;
  /** What was made for the configuration and by hot-plug, in its order. */
  readonly deviceRecords: DeviceRecord[] = [];
  readonly hotplug: PcHotplug;
  /** Drives A and B. */
  readonly floppies: (FloppyDrive | undefined)[] = [];
  /** Devices with a boot index. */
  readonly bootDevices: BootDevice[] = [];
  /** The COM port that the next serial port without `index=` gets. */
  nextSerial = 0;
  private readonly all: Device[] = [];
  private readonly driveList: Drive[] = [];
  /** ISA interrupt wires with any number of drivers. */
  private readonly isaIrqs: OrIrq[];
  private readonly gsis: OrIrq[];
  /** The end of each ISA interrupt at the I/O APIC. */
  private readonly isaGsis: IrqLine[] = [];
  private readonly boot: PcBoot;
  private readonly a20: IrqLine;
  /** A request that has not been reported: the guest may go on for a few instructions and ask again. */
  private requested: BoardRequest | undefined;

  constructor(
    readonly config: MachineConfig,
    private readonly parts: BoardParts,
    readonly files: PcFiles,
  ) {
    const { host, trace } = parts;
    const shared = true;
    const ramBytes = config.memoryBytes;
    this.boot = files.boot;
    this.ram = withOrigin(
      `-m ${sizeText(ramBytes)}`,
      () => new GuestRam(ENGINE_BYTES, ramBytes + files.vramBytes + ROM_BYTES, shared),
    );
    this.memory = new AddressSpace("memory", 2 ** 40, this.ram);
    this.io = new AddressSpace("I/O", 0x10000, this.ram);
    const { icount } = config;
    if (icount && icount.shift === "auto")
      throw new VmError("option/unsupported", "-icount shift=auto: not supported; give a number from 0 to 10");
    if (icount?.align) throw new VmError("option/unsupported", "-icount align=on: not supported");
    this.clock = icount ? new InstructionClock(icount.shift as number) : new VirtualClock(host.clock);
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
    this.pciCtx = ctx;
    this.ramBlock = this.ram.allocate("pc.ram", ramBytes);
    const bios = this.romBlock("pc.bios", files.bios);
    this.host = new I440fx(ctx, { ram: this.ramBlock, ramSizeBytes: ramBytes, bios });

    // --- processors and interrupt controllers ---
    const model = files.model;
    for (const w of model.warnings) host.note(`warning: ${w}`);
    const accel = config.accel.find((a) => a.name === "tcg");
    this.processors = new PcCpus(ctx, this.memory, this.ram, {
      count: config.smp.cpus,
      cores: config.smp.cores,
      threads: config.smp.threads,
      model,
      runtime: files.runtime,
      shared,
      trace,
      scheduler: host.scheduler,
      clock: this.clock,
      icountSleep: icount?.sleep ?? true,
      timers: this.timers,
      randomBytes: (out) => host.randomBytes(out),
      tier1: accel?.props.tier1 !== "off",
      hostMs: () => host.clock.monotonicNs() / 1e6,
      kvm: parts.kvm,
      kvmAssist: config.accel.find((a) => a.name === "kvm")?.props["x-assist"] !== "off",
      note: (line) => host.note(line),
      disassemble: (bytes, hflags) => mnemonicOf(bytes, hflags),
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
      this.isaGsis.push(gsi);
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
    this.a20 = a20;
    a20.level = true;
    const reset = () => this.request({ kind: "reset", reason: "guest-reset" });
    const port92 = new Port92({ a20, onReset: reset });
    port92.map(this.io);
    if (config.machine.props.i8042 !== "off") {
      this.i8042 = new I8042(ctx, this.irq(1), this.irq(12), { a20, onReset: reset });
      this.i8042.map(this.io);
      this.addPs2(this.i8042);
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

    const site = new DeviceSite(this, parts);
    this.hotplug = new PcHotplug(this, site, parts);
    this.all.push(this.hotplug.registers);
    addDevices(site);
    // The controller is there also without drives.
    this.all.push(new Fdc(ctx, { irq: this.irq(6), dma: this.dma.channel(FLOPPY_DMA), drives: this.floppies }));
    this.boot.prepare(this);
    this.reset();
  }

  /** A further driver of an ISA interrupt. */
  irq(n: number): IrqLine {
    return this.isaIrqs[n]!.input();
  }

  gsi(n: number): IrqLine {
    return this.gsis[n]!.input();
  }

  sendMsi(address: number, data: number): void {
    this.processors.bus.deliverMsi(address, data);
  }

  /** Wires that belong to no device. */
  saveWires(): DeviceState {
    return { a20: this.a20.level, isa: this.isaIrqs.map((o) => o.high), starts: this.boot.starts };
  }

  /** After the devices at both ends have their state: the wires between them follow, untold. */
  restoreWires(state: DeviceState): void {
    for (const [n, irq] of this.isaIrqs.entries()) {
      irq.sync();
      if (n !== 2) this.isaGsis[n]!.level = irq.high;
    }
    for (const gsi of this.gsis) gsi.sync();
    this.a20.level = state.a20 === true;
    this.processors.setA20(this.a20.level);
    this.boot.starts = state.starts as number;
  }

  addDevice(device: Device): void {
    this.all.push(device);
  }

  removeDrive(id: string): void {
    const at = this.driveList.findIndex((d) => d.id === id);
    if (at >= 0) this.driveList.splice(at, 1);
  }

  /** Takes a hot-plugged device out of the machine. */
  removeDevice(device: Device): void {
    const at = this.all.indexOf(device);
    if (at >= 0) this.all.splice(at, 1);
    if (device instanceof PciDevice) {
      if (device instanceof VirtioPci && device.virtio === this.balloon) this.balloon = undefined;
      this.pci.detach(device);
    } else device.dispose?.();
  }

  plugDevice(config: DeviceConfig): void {
    this.hotplug.plug(config);
  }

  unplugDevice(id: string): void {
    this.hotplug.unplug(id);
  }

  addDrive(drive: Drive): void {
    if (!this.driveList.includes(drive)) this.driveList.push(drive);
  }

  attachPci(device: PciDevice, devfn: number | undefined, multifunction: boolean): void {
    this.pci.attach(device, { devfn, multifunction });
    this.all.push(device);
  }

  /** A line for the user. */
  note(text: string): void {
    this.parts.host.note(text);
  }

  romBlock(name: string, bytes: Uint8Array): RamBlock {
    let size = 4096;
    while (size < bytes.length) size *= 2;
    const block = this.ram.allocate(name, size);
    this.ram.bytes(block).set(bytes, name === "pc.bios" ? size - bytes.length : 0);
    return block;
  }

  /** A request of the guest: reported once it has left guest code. */
  request(request: BoardRequest): void {
    this.processors.requestBreak();
    if (this.requested && request.kind !== "exit") return;
    this.requested = request;
    this.parts.host.scheduler.soon(() => {
      if (this.requested === request) this.requested = undefined;
      this.onRequest(request);
    });
  }

  get accelerator(): AcceleratorName {
    return this.processors.accelerator;
  }

  setAccelerator(name: AcceleratorName, kvm: KvmHost | undefined): void {
    if (name === "kvm") this.processors.useKvm(kvm!);
    else this.processors.useTcg();
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
    if (this.parts.trace.on("cpu_reset"))
      for (let i = 0; i < this.config.smp.cpus; i++)
        this.parts.trace.log("cpu_reset", `CPU Reset (CPU ${i})\n${this.registers(i)}`);
    this.hotplug?.beforeReset();
    this.memory.batch(() => {
      for (const d of this.all) d.reset();
    });
    this.a20.level = true;
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

  /** Keys and pointers go to the PS/2 devices until something better comes. */
  private addPs2({ keyboard, mouse }: I8042): void {
    this.inputs.add({
      name: "QEMU PS/2 Keyboard",
      key: (name, down) => {
        const q = qcode(name);
        if (q !== undefined) keyboard.keyEvent(q, down);
      },
    });
    this.inputs.add({ name: "QEMU PS/2 Mouse", moveBy: (dx, dy, dz, buttons) => mouse.mouseEvent(dx, dy, dz, buttons) });
  }

  sendKeys(names: readonly string[], holdMs: number): void {
    const codes = names.map((n) => {
      const q = /^0x/i.test(n) ? qcodeByNumber(Number(n)) : qcode(n);
      if (q === undefined) throw new VmError("monitor/bad-command", `invalid parameter: ${n}`);
      return q;
    });
    const { inputs } = this;
    if (!inputs.hasKeyboard) throw new VmError("monitor/bad-command", "this machine has no keyboard");
    for (const q of codes) inputs.key(q, true);
    const timer = this.timers.create(() => {
      for (const q of [...codes].reverse()) inputs.key(q, false);
      this.timers.remove(timer);
    });
    timer.arm(this.clock.nowNs() + holdMs * 1e6);
  }

  drives(): readonly Drive[] {
    return this.driveList;
  }

  devices(): readonly Device[] {
    return this.all;
  }

  async dispose(): Promise<void> {
    await this.stop();
    this.processors.dispose();
    for (const d of this.all) d.dispose?.();
  }

  // --- inspection ---
  private view(cpu: number): RegisterView {
    const env = this.processors.stateOf(cpu);
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
    this.processors.stateOf(cpu);
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

  disassemble(cpu: number, address: bigint, count: number, physical: boolean): readonly DisassembledInsn[] {
    const read = (at: bigint, out: Uint8Array) =>
      physical ? this.memory.readBytes(Number(at), out) : this.readVirtual(cpu, at, out);
    return disassembleAt(read, address, count, this.view(cpu).u32(L.HFLAGS));
  }

  report(topic: ReportTopic, cpu: number): string {
    return report(this, topic, cpu);
  }

  addressSpaces(): readonly AddressSpace[] {
    return [this.memory, this.io];
  }

  pciFunctions(): readonly { readonly bus: number; readonly device: PciDevice }[] {
    return this.all.filter((d): d is PciDevice => "configRead" in d).map((device) => ({ bus: 0, device }));
  }

  deviceTree(): BusNode {
    return deviceTree(this);
  }

  display(): Display | undefined {
    return this.vga;
  }

  clockNs(): number {
    return this.clock.nowNs();
  }

  snapshot(): Snapshotable {
    return new PcSnapshot(this);
  }

  records(): readonly DeviceRecord[] {
    const listed = new Set(this.deviceRecords.map((r) => r.device));
    const own = this.all
      .filter((d) => !listed.has(d))
      .flatMap((device): DeviceRecord[] => {
        const type = PC_BOARD_TYPES.find((t) => t.name === device.type);
        return type ? [{ type, id: undefined, place: "unattached", values: defaultValues(type), hotplugged: false, device }] : [];
      });
    return [...this.deviceRecords, ...own];
  }

  deviceById(id: string): Device | undefined {
    return this.deviceRecords.find((r) => r.id === id)?.device;
  }
}

/** A size as `-m` takes it. */
function sizeText(bytes: number): string {
  for (const [unit, suffix] of [
    [GIB, "G"],
    [MIB, "M"],
    [1024, "K"],
  ] as const)
    if (bytes >= unit && bytes % unit === 0) return `${bytes / unit}${suffix}`;
  return `${bytes}B`;
}

/** Builds the pc machine. */
export const createPc: CreateBoard = async (config, parts) => {
  if (config.smp.cpus > MAX_CPUS)
    throw new VmError("machine/invalid", `-smp ${config.smp.cpus}: this version runs at most ${MAX_CPUS} vCPUs`);
  if (splitRam(config.memoryBytes).below4g < MIB)
    throw new VmError("machine/invalid", `-m ${sizeText(config.memoryBytes)}: the pc machine needs at least 1 MiB`);
  const display = displayNeeds(config);
  const { kvm } = parts;
  const host = kvm && hostCpu(kvm, config.accel.find((a) => a.name === "kvm")?.props["x-assist"] !== "off");
  const model = cpuModel(config.cpu.model, config.cpu.features, config.cpu.props.enforce === "on", host);
  const runtime = new WebAssembly.Module(await parts.host.readBuiltIn("dist/runtime/x86.wasm"));
  const bios = await parts.readFirmware("-bios", config.bios ?? "bios-256k.bin");
  if (bios.length === 0 || bios.length % 65536)
    throw new VmError("image/bad-format", `-bios ${config.bios}: size ${bios.length} is not a multiple of 64 KiB`);
  if (bios.length > BIOS_MAX)
    throw new VmError("image/too-large", `-bios ${config.bios}: ${bios.length} bytes, the machine has room for ${BIOS_MAX}`);
  const vgaBios = display.bios === undefined ? undefined : await parts.readFirmware("-vga", display.bios);
  const boot = await PcBoot.load(config, parts, { hasDisplay: display.bios !== undefined, longMode: model.features.has("lm") });
  return new PcBoard(config, parts, { runtime, bios, vgaBios, vramBytes: display.vramBytes, model, boot });
};
