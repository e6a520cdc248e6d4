/**
 * How a pseries machine starts: a kernel directly, with a device tree in r3 as after client-architecture-support; or
 * firmware (SLOF, or any image) at address 0, entered at 0x100, with a kernel in memory for it when there is one.
 * Source: Linux Documentation/powerpc/booting (flat tree entry: r3 tree, r4 kernel, r5 0); places as in QEMU's pseries.
 */
import { VmError } from "../base/errors.js";
import { flatten } from "../firmware/fdt/flatten.js";
import type { FdtNode } from "../firmware/fdt/tree.js";
import { type ImageSource, imageError, sizeText } from "../firmware/loaders/image.js";
import { checkPpcFirmware } from "../firmware/loaders/ppc-firmware.js";
import { type PpcKernel, parsePpcKernel } from "../firmware/loaders/ppc-kernel.js";
import { acceptsVersion, agreedVector5, readCasRequest, Vector5, vector5Byte } from "../firmware/spapr/cas.js";
import { RTAS_SIZE, type SpaprTree, spaprTree } from "../firmware/spapr/device-tree.js";
import { assignPciAddresses, PHB_NODE } from "../firmware/spapr/pci-nodes.js";
import { type HcallFrame, HStatus } from "../hw/spapr/hcall.js";
import { rtasEntryCode } from "../hw/spapr/rtas.js";
import type { BoardParts } from "./board.js";
import type { MachineConfig } from "./config.js";
import type { PseriesBoard } from "./pseries.js";
import { slofBootPath } from "./pseries-devices.js";
import { START_MSR } from "./pseries-hcalls.js";

const KERNEL_LIMIT = 1024 * 2 ** 20;
/** Where a kernel goes; it copies itself down. */
const KERNEL_ADDRESS = 0x400000;
const INITRD_ALIGN = 0x10000;
/** Room above the kernel that it may use before it looks at its memory map. */
const INITRD_GAP = 0x10000;
/** The device tree ends at the end of memory, or here. */
const FDT_MAX_ADDRESS = 0x80000000;
const FDT_MAX_BYTES = 0x200000;
const FIRMWARE_ENTRY = 0x100n;
const FIRMWARE_MAX_BYTES = 0x400000;
const FIRMWARE = "slof.bin";
const CAS_HEADER_BYTES = 4;
const CAS_VERSION = 1;
const ZEROES = new Uint8Array(65536);

interface Kernel {
  readonly source: ImageSource;
  readonly kernel: PpcKernel;
  readonly initrd: ImageSource | undefined;
}

/** Hypervisor calls that there are, as ibm,hypertas-functions groups them. */
const HYPERTAS = [
  "hcall-pft",
  "hcall-term",
  "hcall-interrupt",
  "hcall-tce",
  "hcall-multi-tce",
  "hcall-splpar",
  "hcall-bulk",
  "hcall-set-mode",
  "hcall-sprg0",
  "hcall-copy",
];

export class PseriesBoot {
  private constructor(
    private readonly config: MachineConfig,
    private readonly kernel: Kernel | undefined,
    /** Absent: the kernel is started directly. */
    private readonly firmware: ImageSource | undefined,
  ) {}

  /** Reads kernel, initial RAM disk and firmware. @throws VmError naming option and file */
  static async load(config: MachineConfig, parts: BoardParts): Promise<PseriesBoot> {
    const k = config.kernel;
    let kernel: Kernel | undefined;
    if (k) {
      const source = { option: "-kernel", name: k.image, bytes: await parts.readFile("-kernel", k.image, KERNEL_LIMIT) };
      const initrd =
        k.initrd === undefined
          ? undefined
          : { option: "-initrd", name: k.initrd, bytes: await parts.readFile("-initrd", k.initrd, KERNEL_LIMIT) };
      kernel = { source, kernel: parsePpcKernel(source), initrd };
    }
    let firmware: ImageSource | undefined;
    if (config.bios !== undefined || !kernel) {
      const name = config.bios ?? FIRMWARE;
      firmware = { option: "-bios", name, bytes: await parts.readFirmware("-bios", name) };
      checkPpcFirmware(firmware, FIRMWARE_MAX_BYTES);
    }
    const boot = new PseriesBoot(config, kernel, firmware);
    boot.initrdPlace();
    return boot;
  }

  /** Where device tree and RTAS code go: below the end of memory and 2 GiB. */
  private get fdtAddress(): number {
    return Math.min(this.config.memoryBytes, FDT_MAX_ADDRESS) - FDT_MAX_BYTES;
  }

  private get rtasAddress(): number {
    return this.fdtAddress - 0x10000;
  }

  /** @throws VmError "image/too-large" when kernel and RAM disk do not fit below the tables */
  private initrdPlace(): { start: number; end: number } | undefined {
    if (!this.kernel) return undefined;
    const { kernel, initrd, source } = this.kernel;
    const limit = this.rtasAddress;
    const end = KERNEL_ADDRESS + kernel.size;
    const tooLarge = (image: ImageSource, bytes: number) =>
      imageError(image, "image/too-large", `${sizeText(bytes)} do not fit guest memory (${sizeText(this.config.memoryBytes)})`);
    if (end > limit) throw tooLarge(source, kernel.size);
    if (!initrd) return undefined;
    const start = Math.ceil((end + INITRD_GAP) / INITRD_ALIGN) * INITRD_ALIGN;
    if (start + initrd.bytes.length > limit) throw tooLarge(initrd, initrd.bytes.length);
    return { start, end: start + initrd.bytes.length };
  }

  private tree(board: PseriesBoard, agreed: { readonly vector5: Uint8Array; readonly cpuVersion: number } | undefined): FdtNode {
    const { config, kernel } = this;
    const { model } = board.files;
    const direct = !this.firmware;
    const order = config.boot.once ?? config.boot.order;
    const description: SpaprTree = {
      cpu: {
        name: model.isa300 ? "POWER9" : "POWER8",
        version: agreed?.cpuVersion ?? model.pvr,
        isa300: model.isa300,
        slbEntries: model.slbEntries,
        cacheLineBytes: model.cacheLineBytes,
        timeBaseHz: model.timeBaseHz,
        decrementerBits: board.largeDecrementer ? model.decrementerBits : undefined,
      },
      cpus: config.smp.cpus,
      memoryBytes: config.memoryBytes,
      hptShift: board.hptShift,
      uuid: config.uuid,
      name: config.name,
      ttys: board.ttys.map((t) => ({ unit: t.unit, irq: board.vioIrq(t.unit) })),
      nvram: { unit: board.nvram.unit, irq: board.vioIrq(board.nvram.unit) },
      pci: board.pci,
      rtas: board.rtas.tokens(),
      hypertas: HYPERTAS,
      interrupts: board.xiveActive ? "xive" : "xics",
      interruptChoice: board.interruptChoice,
      random: board.random,
      rngSeed: board.randomBytes(32),
      graphic: { width: 800, height: 600, depth: 32 },
      bootargs: config.kernel?.append,
      initrd: this.initrdPlace(),
      vector5: agreed?.vector5,
      kernel:
        kernel && !direct
          ? { address: KERNEL_ADDRESS, size: kernel.kernel.size, littleEndian: kernel.kernel.littleEndian }
          : undefined,
      bootMenu: config.boot.menu,
      bootOrder: order === "cad" ? undefined : order,
      bootList: [...board.bootDevices].sort((a, b) => a.index - b.index).map((d) => slofBootPath(d.path, PHB_NODE)),
      rtasBase: direct ? this.rtasAddress : undefined,
    };
    return spaprTree(description);
  }

  /** @throws VmError "image/too-large" when -append, -name or the like make the tree too large */
  check(board: PseriesBoard): void {
    this.flattened(board);
  }

  private flattened(board: PseriesBoard): Uint8Array {
    const direct = !this.firmware;
    if (direct) assignPciAddresses(board.pci.bus.devices());
    const agreed = direct ? directAgreement(board) : undefined;
    try {
      return flatten(this.tree(board, agreed), {
        limitBytes: FDT_MAX_BYTES,
        reserved: direct ? [{ address: this.rtasAddress, size: RTAS_SIZE }] : [],
      });
    } catch (cause) {
      if (!(cause instanceof VmError)) throw cause;
      throw new VmError(cause.code, `-append: ${cause.message}`, { cause });
    }
  }

  /** After each reset: memory is filled and vCPU 0 started. */
  afterReset(board: PseriesBoard): void {
    const { memory } = board;
    const tree = this.flattened(board);
    const first = board.processors.cpus[0]!;
    if (this.kernel) {
      for (const s of this.kernel.kernel.segments) {
        const at = KERNEL_ADDRESS + s.offset;
        memory.writeBytes(at, s.bytes);
        for (let done = s.bytes.length; done < s.memorySize; done += ZEROES.length)
          memory.writeBytes(at + done, ZEROES.subarray(0, Math.min(ZEROES.length, s.memorySize - done)));
      }
      const place = this.initrdPlace();
      if (place) memory.writeBytes(place.start, this.kernel.initrd!.bytes);
    }
    memory.writeBytes(this.fdtAddress, tree);
    for (let n = 3; n <= 9; n++) first.setGpr(n, 0);
    if (this.firmware) {
      memory.writeBytes(0, this.firmware.bytes);
      first.start(FIRMWARE_ENTRY, BigInt(this.fdtAddress), START_MSR);
      return;
    }
    memory.writeBytes(this.rtasAddress, rtasEntryCode());
    first.setGpr(4, KERNEL_ADDRESS);
    first.start(BigInt(KERNEL_ADDRESS + this.kernel!.kernel.entry), BigInt(this.fdtAddress), START_MSR);
  }

  /** KVMPPC_H_CAS: r4 the kernel's option vectors, r5 and r6 a buffer for the tree that follows from them. */
  architectureSupport(board: PseriesBoard, f: HcallFrame): number {
    const request = readCasRequest(board.memory, f.arg(0));
    const buffer = f.arg(1);
    const room = f.arg(2);
    if (!request) return HStatus.H_PARAMETER;
    const { model } = board.files;
    const version = acceptsVersion(request, model.logicalPvr)
      ? model.logicalPvr
      : acceptsVersion(request, model.pvr)
        ? model.pvr
        : undefined;
    if (version === undefined) return HStatus.H_HARDWARE;
    const radix = model.isa300 && (vector5Byte(request, Vector5.mmu.byte) & Vector5.mmu.mask) !== 0;
    if (board.interruptChoice)
      board.setXive((vector5Byte(request, Vector5.xive.byte) & Vector5.xive.mask) === Vector5.xive.exploit);
    const gtse = radix && (vector5Byte(request, Vector5.radixGtse.byte) & Vector5.radixGtse.bit) !== 0;
    const tree = this.tree(board, { vector5: agreedVector5({ radix, gtse, xive: board.xiveActive }), cpuVersion: version });
    let bytes: Uint8Array;
    try {
      bytes = flatten(tree, { limitBytes: Math.max(0, room - CAS_HEADER_BYTES) });
    } catch {
      return HStatus.H_TOO_BIG;
    }
    const answer = new Uint8Array(CAS_HEADER_BYTES + bytes.length);
    new DataView(answer.buffer).setUint32(0, CAS_VERSION);
    answer.set(bytes, CAS_HEADER_BYTES);
    return board.memory.writeBytes(buffer, answer) ? HStatus.H_SUCCESS : HStatus.H_PARAMETER;
  }
}

/** What a kernel that is started directly finds agreed on: its processor's own level, radix translation where there is it. */
function directAgreement(board: PseriesBoard): { vector5: Uint8Array; cpuVersion: number } {
  const { model } = board.files;
  return {
    vector5: agreedVector5({ radix: model.isa300, gtse: model.isa300, xive: board.xiveActive }),
    cpuVersion: model.logicalPvr,
  };
}
