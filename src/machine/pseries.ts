/**
 * The pseries machine, wired: a PAPR partition with its hypervisor, which is this program. Processors without hypervisor
 * state, XICS or XIVE interrupts, a virtual terminal and NVRAM, one PCI host bridge.
 * Source: LoPAR; addresses and numbers as in QEMU 7.2's pseries.
 * Not emulated: CPU, memory and PCI hot-plug, NUMA, USB and graphics, VIO network and SCSI.
 */
import { ENGINE_BYTES } from "../accel/tcg/map.js";
import { VmError } from "../base/errors.js";
import type { Drive } from "../block/backend.js";
import type { BootDevice } from "../firmware/boot-order.js";
import { InstructionClock, type MachineClock, TimerQueue, VirtualClock } from "../hw/core/clock.js";
import type { Device, DeviceContext } from "../hw/core/device.js";
import { IrqLine } from "../hw/core/irq.js";
import type { PciDevice } from "../hw/pci/device.js";
import { SpaprEvents } from "../hw/spapr/events.js";
import { Hcall, type HcallFrame, HcallTable, HStatus } from "../hw/spapr/hcall.js";
import { HashPageTable, hptShift } from "../hw/spapr/hpt.js";
import { SpaprIrq } from "../hw/spapr/irq.js";
import { addLogicalHcalls } from "../hw/spapr/logical-io.js";
import { SpaprNvram } from "../hw/spapr/nvram.js";
import { MSI_WINDOW, PHB_LSIS, SpaprPciHost } from "../hw/spapr/pci-host.js";
import { Rtas } from "../hw/spapr/rtas.js";
import { addSystemServices, RtasClock } from "../hw/spapr/rtas-system.js";
import { addTceHcalls } from "../hw/spapr/tce.js";
import { addVtyHcalls, type SpaprVty } from "../hw/spapr/vty.js";
import { Xics } from "../hw/spapr/xics.js";
import { addXicsHcalls, addXicsRtas } from "../hw/spapr/xics-calls.js";
import { Xive } from "../hw/spapr/xive.js";
import { addXiveHcalls } from "../hw/spapr/xive-calls.js";
import type { VirtioBalloon } from "../hw/virtio/balloon.js";
import { AddressSpace } from "../memory/address-space.js";
import { GuestRam } from "../memory/ram.js";
import { type PpcCpuModel, ppcCpuModel } from "../target/ppc/cpu-models.js";
import { disassemble } from "../target/ppc/disassemble.js";
import * as L from "../target/ppc/layout.js";
import type {
  Board,
  BoardParts,
  BoardRequest,
  BusNode,
  CreateBoard,
  DisassembledInsn,
  ReportTopic,
  VcpuSummary,
} from "./board.js";
import type { MachineConfig } from "./config.js";
import { type SiteBoard, withOrigin } from "./pc-device-site.js";
import { PseriesBoot } from "./pseries-boot.js";
import { PseriesCpus } from "./pseries-cpus.js";
import { addPseriesDevices, VIO_FIRST_UNIT } from "./pseries-devices.js";
import { PseriesCpuState } from "./pseries-hcalls.js";
import { pseriesReport, pseriesTree } from "./pseries-inspection.js";
import { registerByName, registersText } from "./pseries-registers.js";

const MIB = 2 ** 20;
/** Memory comes in blocks of this size. */
const MEMORY_BLOCK = 256 * MIB;
const MAX_CPUS = 16;
/** The pages of the interrupt controller lie highest. */
const ADDRESS_BITS = 51;

/** What has been read before the board is wired. */
export interface PseriesFiles {
  readonly runtime: WebAssembly.Module;
  readonly model: PpcCpuModel;
  readonly boot: PseriesBoot;
}

/** Everything wired; see board.ts for the contract. */
export class PseriesBoard implements Board, SiteBoard {
  readonly accelerator = "tcg";
  onRequest: (request: BoardRequest) => void = () => {};
  readonly ram: GuestRam;
  readonly memory: AddressSpace;
  readonly io: AddressSpace;
  readonly ctx: DeviceContext;
  readonly pciCtx: DeviceContext;
  readonly clock: MachineClock;
  readonly timers: TimerQueue;
  readonly processors: PseriesCpus;
  readonly cpuState: PseriesCpuState;
  readonly hcalls: HcallTable;
  readonly rtas: Rtas;
  readonly xics: Xics;
  readonly xive: Xive;
  /** The guest works XIVE rather than XICS. */
  xiveActive = false;
  /** The guest may choose between them. */
  readonly interruptChoice: boolean;
  readonly pci: SpaprPciHost;
  readonly hpt: HashPageTable;
  readonly hptShift: number;
  readonly nvram: SpaprNvram;
  readonly events: SpaprEvents;
  readonly largeDecrementer: boolean;
  // What pseries-devices.ts fills in as it makes devices.
  readonly ttys: SpaprVty[] = [];
  readonly vioUnits = new Set<number>();
  readonly bootDevices: BootDevice[] = [];
  balloon: VirtioBalloon | undefined;
  /** There is a source for H_RANDOM. */
  random = false;
  private readonly xiveAtStart: boolean;
  private readonly all: Device[] = [];
  private readonly driveList: Drive[] = [];
  private requested: BoardRequest | undefined;
  /** Each vCPU's registers as hypercalls see them. */
  private readonly frames: readonly HcallFrame[];

  constructor(
    readonly config: MachineConfig,
    private readonly parts: BoardParts,
    readonly files: PseriesFiles,
  ) {
    const { host, trace } = parts;
    const { model } = files;
    const shared = true;
    const ramBytes = config.memoryBytes;
    this.hptShift = hptShift(ramBytes);
    const hptBytes = 2 ** this.hptShift;
    this.ram = withOrigin(`-m ${ramBytes / MIB}M`, () => new GuestRam(ENGINE_BYTES, ramBytes + hptBytes, shared));
    this.memory = new AddressSpace("memory", 2 ** ADDRESS_BITS, this.ram);
    this.io = new AddressSpace("I/O", 0x10000, this.ram);
    const { icount } = config;
    if (icount && icount.shift === "auto")
      throw new VmError("option/unsupported", "-icount shift=auto: not supported; give a number from 0 to 10");
    if (icount?.align) throw new VmError("option/unsupported", "-icount align=on: not supported");
    this.clock = icount ? new InstructionClock(icount.shift as number) : new VirtualClock(host.clock);
    this.timers = new TimerQueue(this.clock);
    const wallMs = this.wallClock();
    this.ctx = {
      clock: this.clock,
      timers: this.timers,
      memory: this.memory,
      io: this.io,
      ram: this.ram,
      trace,
      wallMs,
    };
    const ramBlock = this.ram.allocate("ppc_spapr.ram", ramBytes);
    this.memory.map(0, ramBytes, { kind: "ram", block: ramBlock, offset: 0 });
    this.largeDecrementer = model.isa300 && config.machine.props["cap-large-decr"] !== "off";

    // --- processors ---
    this.hcalls = new HcallTable(trace);
    this.rtas = new Rtas(this.memory, trace);
    const accel = config.accel.find((a) => a.name === "tcg");
    this.processors = new PseriesCpus(this.memory, this.ram, {
      count: config.smp.cpus,
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
      hypercall: (cpu) => this.hypercall(cpu),
      onTurn: config.smp.cpus > 1 ? (cpu, begins) => this.cpuState.onTurn(cpu, begins) : undefined,
      onInternalError: (error) => {
        const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
        this.onRequest({ kind: "internal-error", message });
      },
    });
    const { cpus, loop } = this.processors;
    this.frames = cpus.map((cpu) => registerFrame(this.ram.u32, this.processors.engine.envOf(cpu.index) + L.GPR, cpu.index));
    this.cpuState = new PseriesCpuState({
      cpus,
      memory: this.memory,
      isa300: model.isa300,
      yieldTurn: (cpu) => cpus[cpu]!.requestExit(),
      wake: () => loop.wake(),
      onTranslation: () => {},
    });
    this.hpt = new HashPageTable(this.ram, this.ram.allocate("spapr.hpt", hptBytes), this.memory, () => {
      for (const cpu of cpus) cpu.flushTlb();
    });
    for (const cpu of cpus) cpu.setRmaSize(ramBytes);

    // --- interrupts, PCI, virtual I/O ---
    const output = (xive: boolean) => (server: number, level: boolean) => {
      if (xive !== this.xiveActive) return;
      cpus[server]!.setExternal(level);
      if (level) loop.wake();
    };
    this.xics = new Xics(SpaprIrq.first, SpaprIrq.count, cpus.length, output(false));
    this.xive = new Xive(this.memory, SpaprIrq.xiveCount, cpus.length, () => loop.current, output(true));
    const mode = config.machine.props["ic-mode"] ?? "dual";
    this.interruptChoice = mode === "dual" && model.isa300;
    this.xiveAtStart = mode === "xive";
    this.pci = new SpaprPciHost({
      ram: this.ram,
      memory: this.memory,
      io: this.io,
      lsis: Array.from({ length: PHB_LSIS }, (_, n) => {
        const lines = [this.xics.line(SpaprIrq.pciLsi + n), this.xive.line(SpaprIrq.pciLsi + n)];
        return new IrqLine((level) => {
          for (const line of lines) line.set(level);
        });
      }),
      msiFirst: SpaprIrq.msi,
      msiCount: SpaprIrq.msiCount,
    });
    this.pciCtx = { ...this.ctx, memory: this.pci.memory };
    const rtc = new RtasClock(wallMs);
    this.events = new SpaprEvents(
      () => this.pulse(SpaprIrq.epow),
      () => rtc.nowMs,
    );
    this.all.push(this.xics, this.xive, this.hpt, this.pci, rtc, this.events);
    addPseriesDevices(this, parts);
    this.nvram = new SpaprNvram(this.freeVioUnit());
    this.vioUnits.add(this.nvram.unit);
    this.all.push(this.nvram);

    // --- services ---
    this.cpuState.addHcalls(this.hcalls);
    this.hpt.addHcalls(this.hcalls);
    addLogicalHcalls(this.hcalls, this.memory);
    addVtyHcalls(this.hcalls, this.ttys);
    addTceHcalls(this.hcalls, [this.pci.dma], this.memory);
    addXicsHcalls(
      this.hcalls,
      this.xics,
      () => {
        const tb = this.processors.timeBase();
        return { hi: Math.floor(tb / 2 ** 32), lo: tb % 2 ** 32 };
      },
      () => !this.xiveActive,
    );
    if (model.isa300) addXiveHcalls(this.hcalls, this.xive, () => this.xiveActive);
    if (this.random)
      this.hcalls.on(Hcall.H_RANDOM, (f) => {
        const view = new DataView(this.randomBytes(8).buffer);
        f.result64(0, view.getUint32(0), view.getUint32(4));
        return HStatus.H_SUCCESS;
      });
    this.hcalls.on(Hcall.KVMPPC_H_RTAS, (f) => this.rtas.hcall(f));
    this.hcalls.on(Hcall.KVMPPC_H_CAS, (f) => files.boot.architectureSupport(this, f));
    // What firmware has made of the tree: nothing here needs it.
    this.hcalls.on(Hcall.KVMPPC_H_UPDATE_DT, () => HStatus.H_SUCCESS);
    addSystemServices(this.rtas, {
      wallMs,
      putCharacter: (code) => this.ttys[0]?.write(Uint8Array.of(code)),
      powerOff: () => this.request({ kind: "shutdown", reason: "guest-shutdown" }),
      reboot: () => this.request({ kind: "reset", reason: "guest-reset" }),
      panic: () => this.request({ kind: "panic", action: "panicked" }),
      cpus: cpus.length,
      memoryBytes: ramBytes,
      name: config.name,
      uuid: uuidBytes(config.uuid),
    });
    rtc.addServices(this.rtas);
    this.cpuState.addServices(this.rtas);
    addXicsRtas(this.rtas, this.xics);
    this.pci.addServices(this.rtas);
    this.nvram.addServices(this.rtas);
    this.events.addServices(this.rtas);
    files.boot.check(this);
    this.reset();
  }

  private wallClock(): () => number {
    const { rtc } = this.config;
    const { host } = this.parts;
    const startWall = host.clock.wallMs();
    const base =
      typeof rtc.base === "object"
        ? rtc.base.startMs
        : rtc.base === "localtime"
          ? startWall + host.localOffsetMinutes(startWall) * 60_000
          : startWall;
    const hostStart = host.clock.monotonicNs();
    return () => (rtc.clock === "vm" ? base + this.clock.nowNs() / 1e6 : base + (host.clock.monotonicNs() - hostStart) / 1e6);
  }

  /** `sc 1`. */
  private hypercall(index: number): void {
    const cpu = this.processors.cpus[index]!;
    cpu.setGpr(3, this.hcalls.call(cpu.arg(3), this.frames[index]!));
  }

  /** The next unit address on the virtual I/O bus. */
  freeVioUnit(): number {
    let unit = VIO_FIRST_UNIT;
    while (this.vioUnits.has(unit)) unit++;
    return unit;
  }

  vioIrq(unit: number): number {
    return SpaprIrq.vio + ((unit - VIO_FIRST_UNIT) % SpaprIrq.vioCount);
  }

  /** An event of an interrupt source. */
  pulse(irq: number): void {
    if (this.xiveActive) this.xive.pulse(irq);
    else this.xics.pulse(irq);
  }

  /** What client-architecture-support has agreed on, or the start. */
  setXive(on: boolean): void {
    this.xiveActive = on;
    this.xive.setEnabled(on);
  }

  sendMsi(address: number, data: number): void {
    if (address === MSI_WINDOW) this.pulse(data);
    else this.parts.trace.guestError("spapr-pci-host-bridge", () => `message to 0x${address.toString(16)}`);
  }

  randomBytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    this.parts.host.randomBytes(bytes);
    return bytes;
  }

  addDevice(device: Device): void {
    this.all.push(device);
  }

  addDrive(drive: Drive): void {
    if (!this.driveList.includes(drive)) this.driveList.push(drive);
  }

  attachPci(device: PciDevice, devfn: number | undefined, multifunction: boolean): void {
    this.pci.bus.attach(device, { devfn, multifunction });
    this.all.push(device);
  }

  /** A request of the guest: reported once it has left guest code. */
  request(request: BoardRequest): void {
    this.processors.loop.requestBreak();
    if (this.requested && request.kind !== "exit") return;
    this.requested = request;
    this.parts.host.scheduler.soon(() => {
      if (this.requested === request) this.requested = undefined;
      this.onRequest(request);
    });
  }

  // --- run control ---
  get running(): boolean {
    return this.processors.loop.running;
  }

  start(): void {
    this.processors.loop.start();
  }

  async stop(): Promise<void> {
    await this.processors.loop.stop();
    for (const d of this.driveList) {
      const settle = (d as { settled?: () => Promise<void> }).settled;
      if (settle) await settle.call(d);
    }
  }

  reset(): void {
    if (this.parts.trace.on("cpu_reset"))
      for (let i = 0; i < this.config.smp.cpus; i++)
        this.parts.trace.log("cpu_reset", `CPU Reset (CPU ${i})\n${this.registers(i)}`);
    this.memory.batch(() => {
      for (const d of this.all) d.reset();
    });
    this.setXive(this.xiveAtStart);
    this.processors.reset();
    this.cpuState.reset();
    const { hostOffset, sizeBytes } = this.hpt.block;
    for (const cpu of this.processors.cpus) {
      cpu.setHashTable(hostOffset, sizeBytes);
      cpu.lpcr = this.largeDecrementer ? BigInt(L.LPCR_LD) : 0n;
    }
    this.files.boot.afterReset(this);
  }

  powerdown(): void {
    this.events.powerdown();
  }

  wakeup(): void {}

  nmi(): void {
    for (const cpu of this.processors.cpus) cpu.systemReset();
    this.processors.loop.wake();
  }

  sendKeys(): void {
    throw new VmError("monitor/bad-command", "this machine has no keyboard");
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
  cpus(): readonly VcpuSummary[] {
    return this.processors.cpus.map((cpu, index) => ({ index, halted: cpu.halted, pc: cpu.reg("nip") }));
  }

  registers(cpu: number): string {
    return registersText(this.processors.cpus[cpu]!, this.processors.timeBase(), this.files.model.pvr);
  }

  register(cpu: number, name: string): bigint | undefined {
    return registerByName(this.processors.cpus[cpu]!, name);
  }

  readVirtual(cpu: number, address: bigint, out: Uint8Array): boolean {
    for (let i = 0; i < out.length; ) {
      const p = this.processors.cpus[cpu]!.debugPhys(address + BigInt(i));
      if (p < 0) return false;
      const n = Math.min(out.length - i, 4096 - (p % 4096));
      this.memory.readBytes(p, out.subarray(i, i + n));
      i += n;
    }
    return true;
  }

  disassemble(cpu: number, address: bigint, count: number, physical: boolean): readonly DisassembledInsn[] {
    const out: DisassembledInsn[] = [];
    const little = this.processors.cpus[cpu]!.littleEndian;
    for (let at = address & ~3n; out.length < count; at = BigInt.asUintN(64, at + 4n)) {
      const bytes = new Uint8Array(4);
      if (!(physical ? this.memory.readBytes(Number(at), bytes) : this.readVirtual(cpu, at, bytes))) break;
      out.push({ address: at, bytes, text: disassemble(new DataView(bytes.buffer).getUint32(0, little), at).text });
    }
    return out;
  }

  report(topic: ReportTopic, cpu: number): string {
    return pseriesReport(this, topic, cpu);
  }

  addressSpaces(): readonly AddressSpace[] {
    return [this.memory, this.io, this.pci.memory];
  }

  pciFunctions(): readonly { readonly bus: number; readonly device: PciDevice }[] {
    return this.pci.bus.devices().map((device) => ({ bus: 0, device }));
  }

  deviceTree(): BusNode {
    return pseriesTree(this);
  }

  display(): undefined {
    return undefined;
  }
}

/** A hypercall's arguments and results in the GPRs from r4 on, which lie at `gprs`. */
function registerFrame(u32: Uint32Array, gprs: number, cpu: number): HcallFrame {
  const at = (i: number) => (gprs + 8 * (4 + i)) >>> 2;
  return {
    cpu,
    arg: (i) => u32[at(i)]! + u32[at(i) + 1]! * 2 ** 32,
    lo: (i) => u32[at(i)]!,
    hi: (i) => u32[at(i) + 1]!,
    result(i, value) {
      u32[at(i)] = value % 2 ** 32;
      u32[at(i) + 1] = Math.floor(value / 2 ** 32);
    },
    result64(i, hi, lo) {
      u32[at(i)] = lo;
      u32[at(i) + 1] = hi;
    },
  };
}

function uuidBytes(uuid: string | undefined): Uint8Array {
  const hex = (uuid ?? "").replaceAll("-", "").padEnd(32, "0");
  return Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}

/** Builds the pseries machine. */
export const createPseries: CreateBoard = async (config, parts) => {
  const { smp, memoryBytes, cpu } = config;
  if (smp.cpus > MAX_CPUS) throw new VmError("machine/invalid", `-smp ${smp.cpus}: this version runs at most ${MAX_CPUS} vCPUs`);
  if (smp.threads > 1)
    throw new VmError("machine/invalid", `-smp threads=${smp.threads}: TCG runs one thread a core on a pseries machine`);
  if (memoryBytes === 0 || memoryBytes % MEMORY_BLOCK)
    throw new VmError(
      "machine/invalid",
      `-m ${memoryBytes / MIB}M: Memory size 0x${memoryBytes.toString(16)} is not aligned to 256 MiB; give a multiple of 256M`,
    );
  if (config.vga !== "none")
    throw new VmError("option/unsupported", `-vga ${config.vga}: not supported on pseries; use -vga none`);
  const model = ppcCpuModel(cpu.model);
  if (!model) throw new VmError("cpu/unknown", `-cpu ${cpu.model}: unable to find CPU model '${cpu.model}'`);
  if (!model.isa300 && config.machine.props["ic-mode"] === "xive")
    throw new VmError("machine/invalid", "-machine ic-mode=xive: POWER8 has no XIVE; use ic-mode=xics");
  const boot = await PseriesBoot.load(config, parts);
  const runtime = new WebAssembly.Module(await parts.host.readBuiltIn("dist/runtime/ppc.wasm"));
  return new PseriesBoard(config, parts, { runtime, model, boot });
};
