/**
 * The 440FX host bridge (PMC), PCI function 8086:1237: which physical addresses decode to DRAM.
 * Source: Intel 82441FX datasheet (290549), §3.2 registers, §4.1 system address map.
 *
 * DRAM is mapped above everything that sits on the PCI side (BARs have priority 1, ROM 0), but only in the pieces that the
 * bridge decodes: 0-640K, 1M-top, above 4G, and of 0xa0000-0xfffff what SMRAM and the PAM registers open. What DRAM does
 * not decode falls through to PCI: the VGA window, the BIOS ROM alias, BARs.
 *
 * PAM, two attribute bits a segment: reads and writes go to DRAM or to PCI separately. Read-only shadow is a ROM view of
 * DRAM; write-only shadow reads the ROM that lies there (all ones without one) while writes land in DRAM.
 *
 * Not emulated: DRAM timing and ECC registers (they store), DRB row sizing, the turbo/reset register at 0x93; a write to a
 * read-only shadow segment is dropped instead of being forwarded to PCI.
 */
import type { AddressSpace, IoHandler, Mapping, Region } from "../../memory/address-space.js";
import type { RamBlock } from "../../memory/ram.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import { PciDevice, PciReg } from "./device.js";

/** Priority of DRAM in the system memory space. */
export const DRAM_PRIORITY = 10;
/** Priority of the BIOS ROM and of other legacy memory on the PCI side. */
export const ROM_PRIORITY = 0;

const GIB = 2 ** 30;
const FOUR_GIB = 4 * GIB;
const MIB = 2 ** 20;
const VGA_BASE = 0xa0000;
const VGA_END = 0xc0000;
const PAM_BASE = 0xc0000;
const ISA_BIOS_MAX = 0x20000;

const Reg = {
  pmccfg: 0x50,
  dramTimingEnd: 0x58,
  pam0: 0x59,
  drb0: 0x60,
  fdhc: 0x68,
  mtt: 0x70,
  smram: 0x72,
  errcmd: 0x90,
} as const;
const Smram = { baseSegment: 0x02, enable: 0x08, lock: 0x10, close: 0x20, open: 0x40 } as const;
/** FDHC bits 7:6. */
const HOLE_512K = 1;
const HOLE_15M = 2;
/** PAM attribute bits. */
const READ = 1;
const WRITE = 2;

/** How guest RAM is split around the PCI hole. */
export interface RamSplit {
  readonly below4g: number;
  readonly above4g: number;
}

/** The split of the pc machine: all of it below while under 3.5 GiB, else 3 GiB below and the rest from 4 GiB up. */
export function splitRam(sizeBytes: number): RamSplit {
  const below4g = sizeBytes >= 0xe0000000 ? 0xc0000000 : sizeBytes;
  return { below4g, above4g: sizeBytes - below4g };
}

/** What a vCPU in system management mode sees at 0xa0000-0xbffff. */
export interface SmramView {
  /** SMRAM is there for a vCPU in SMM. */
  readonly enabled: boolean;
  /** SMRAM is visible to everyone (also through the ordinary mappings). */
  readonly open: boolean;
  /** In SMM only code fetches reach SMRAM; data goes to the VGA window. */
  readonly closed: boolean;
}

/** What the bridge is made of. */
export interface I440fxOptions {
  /** All guest RAM in one block; the part above the hole is its tail. */
  readonly ram: RamBlock;
  /** Size of guest RAM; the block may be larger by page rounding. */
  readonly ramSizeBytes: number;
  /** The BIOS image; mapped below 4 GiB, and its last 128 KiB below 1 MiB. */
  readonly bios?: RamBlock | undefined;
}

type Attribute = 0 | 1 | 2 | 3;

/** Host bridge. Attach it at devfn 0 and give its PciBus a PciConfigPorts. */
export class I440fx extends PciDevice {
  readonly type = "i440FX";
  readonly split: RamSplit;
  private readonly memory: AddressSpace;
  private readonly ram: RamBlock;
  private bios: RamBlock | undefined;
  private biosMappings: Mapping[] = [];
  private dram: Mapping[] = [];
  private decoded = "";
  private smramView: SmramView = { enabled: false, open: false, closed: false };
  /** Called when what SMM sees at 0xa0000 has changed. */
  onSmram: (view: SmramView) => void = () => {};

  constructor(ctx: DeviceContext, options: I440fxOptions) {
    super(ctx, { vendor: 0x8086, device: 0x1237, revision: 2, class: 0x060000 });
    this.memory = ctx.memory;
    this.ram = options.ram;
    this.split = splitRam(options.ramSizeBytes);
    this.config[PciReg.command] = 0x06;
    this.config[PciReg.status] = 0x80;
    this.config[PciReg.status + 1] = 0x02;
    this.config[Reg.smram] = Smram.baseSegment;
    for (let r: number = Reg.pmccfg; r < Reg.mtt; r++) this.writeMask[r] = 0xff;
    for (let r = Reg.pam0; r < Reg.pam0 + 7; r++) this.writeMask[r] = 0x33;
    this.writeMask[Reg.pam0] = 0x30;
    this.writeMask[Reg.fdhc] = 0xc0;
    this.writeMask[Reg.smram] = Smram.enable | Smram.lock | Smram.close | Smram.open;
    this.writeMask[Reg.errcmd] = 0xff;
    if (options.bios) this.mapBios(options.bios);
    this.updateDecode();
  }

  /** Maps (or replaces) the BIOS image: it ends at 4 GiB, and its last 128 KiB end at 1 MiB as well. */
  mapBios(bios: RamBlock): void {
    this.bios = bios;
    this.memory.batch(() => {
      for (const m of this.biosMappings) this.memory.unmap(m);
      const isa = Math.min(bios.sizeBytes, ISA_BIOS_MAX);
      this.biosMappings = [
        this.memory.map(FOUR_GIB - bios.sizeBytes, bios.sizeBytes, this.romRegion(bios, 0), {
          priority: ROM_PRIORITY,
          name: "pc.bios",
        }),
        this.memory.map(MIB - isa, isa, this.romRegion(bios, bios.sizeBytes - isa), { priority: ROM_PRIORITY, name: "isa-bios" }),
      ];
      this.decoded = "";
      this.updateDecode();
    });
  }

  private romRegion(block: RamBlock, offset: number, onWrite?: IoHandler): Region {
    return onWrite ? { kind: "rom", block, offset, onWrite } : { kind: "rom", block, offset };
  }

  /** What SMM sees now. */
  get smram(): SmramView {
    return this.smramView;
  }

  /** Host byte offset of the DRAM behind 0xa0000, for the SMM view. */
  get smramHostOffset(): number {
    return this.ram.hostOffset + VGA_BASE;
  }

  override configWrite(offset: number, size: 1 | 2 | 4, value: number): void {
    const locked = this.config[Reg.smram]! & Smram.lock;
    super.configWrite(offset, size, value);
    if (offset <= Reg.smram && offset + size > Reg.smram) {
      let smram = this.config[Reg.smram]!;
      if (locked) smram |= Smram.lock;
      if (smram & Smram.lock) smram &= ~Smram.open;
      this.config[Reg.smram] = smram;
    }
    if (offset + size > Reg.pam0 && offset <= Reg.smram) this.updateDecode();
  }

  /** The attribute of each 16 KiB of 0xc0000-0xfffff; the BIOS segment is one of 64 KiB. */
  private attributes(): Attribute[] {
    const pam = (register: number, high: boolean) =>
      ((this.config[Reg.pam0 + register]! >> (high ? 4 : 0)) & (READ | WRITE)) as Attribute;
    const out: Attribute[] = [];
    for (let segment = 0; segment < 12; segment++) out.push(pam(1 + (segment >> 1), (segment & 1) === 1));
    for (let i = 0; i < 4; i++) out.push(pam(0, true));
    return out;
  }

  /** Maps DRAM as the registers say; does nothing when the picture is the same as before. */
  private updateDecode(): void {
    const smram = this.config[Reg.smram]!;
    const open = (smram & Smram.open) !== 0;
    const hole = this.config[Reg.fdhc]! >> 6;
    const attributes = this.attributes();
    const key = `${open} ${hole} ${attributes.join("")}`;
    if (key !== this.decoded) {
      this.decoded = key;
      this.memory.batch(() => {
        for (const m of this.dram) this.memory.unmap(m);
        this.dram = [];
        this.mapDram(0, hole === HOLE_512K ? 0x80000 : VGA_BASE);
        if (open) this.mapDram(VGA_BASE, VGA_END);
        this.mapShadow(attributes);
        if (hole === HOLE_15M) {
          this.mapDram(MIB, 15 * MIB);
          this.mapDram(16 * MIB, this.split.below4g);
        } else this.mapDram(MIB, this.split.below4g);
        this.mapDram(FOUR_GIB, FOUR_GIB + this.split.above4g);
      });
    }
    const view = { enabled: (smram & Smram.enable) !== 0, open, closed: (smram & Smram.close) !== 0 };
    const old = this.smramView;
    this.smramView = view;
    if (view.enabled !== old.enabled || view.open !== old.open || view.closed !== old.closed) this.onSmram(view);
  }

  /** Runs of equal attribute become one mapping each. */
  private mapShadow(attributes: readonly Attribute[]): void {
    const segment = 0x4000;
    let first = 0;
    for (let i = 1; i <= attributes.length; i++) {
      if (i < attributes.length && attributes[i] === attributes[first]) continue;
      this.mapShadowRun(PAM_BASE + first * segment, PAM_BASE + i * segment, attributes[first]!);
      first = i;
    }
  }

  private mapShadowRun(start: number, end: number, attribute: Attribute): void {
    if (attribute === (READ | WRITE)) this.mapDram(start, end);
    else if (attribute === READ) this.mapDram(start, end, "read-only");
    else if (attribute === WRITE) this.mapWriteOnly(start, end);
  }

  /** Maps guest physical [start, end) onto DRAM, as far as there is DRAM. */
  private mapDram(start: number, end: number, access: "read-write" | "read-only" = "read-write"): void {
    if (start < FOUR_GIB) end = Math.min(end, this.split.below4g);
    if (end <= start) return;
    const offset = start < FOUR_GIB ? start : this.split.below4g + (start - FOUR_GIB);
    const region: Region = access === "read-write" ? { kind: "ram", block: this.ram, offset } : this.romRegion(this.ram, offset);
    this.dram.push(this.memory.map(start, end - start, region, { priority: DRAM_PRIORITY, name: this.ram.name }));
  }

  /** Reads come from the BIOS ROM where it lies, else from nowhere; writes go to DRAM. */
  private mapWriteOnly(start: number, end: number): void {
    end = Math.min(end, this.split.below4g);
    if (end <= start) return;
    const isa = this.bios ? Math.min(this.bios.sizeBytes, ISA_BIOS_MAX) : 0;
    const romStart = MIB - isa;
    const split = Math.min(end, Math.max(start, romStart));
    if (split > start) {
      const handler = this.shadowWriter(start);
      this.dram.push(this.memory.mapIo(start, split - start, handler, { priority: DRAM_PRIORITY }));
    }
    if (this.bios && end > split) {
      const offset = this.bios.sizeBytes - isa + (split - romStart);
      this.dram.push(
        this.memory.map(split, end - split, this.romRegion(this.bios, offset, this.shadowWriter(split - offset)), {
          priority: DRAM_PRIORITY,
          name: "isa-bios",
        }),
      );
    }
  }

  /** Stores into DRAM at `base` + offset, where offset counts as the region's own offsets do. */
  private shadowWriter(base: number): IoHandler {
    const { memory, ram } = this;
    return {
      name: "pam-write-only",
      read: (_offset, size) => (size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff),
      write: (offset, size, value) => {
        const host = ram.hostOffset + base + offset;
        for (let i = 0; i < size; i++) memory.ram.u8[host + i] = value >>> (8 * i);
        memory.onRamWrite(host, size);
      },
    };
  }

  override reset(): void {
    super.reset();
    this.updateDecode();
  }

  override restore(state: DeviceState): void {
    super.restore(state);
    this.updateDecode();
  }
}
