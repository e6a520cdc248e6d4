/**
 * virtio over PCI (virtio 1.2 §4.1), transitional or modern only, and the legacy interface (§4.1.4.10 and the legacy
 * sections), in QEMU's layout: BAR0 legacy I/O, BAR1 MSI-X, BAR4 (64-bit, prefetchable, 16 KiB) with common
 * configuration at 0, ISR at 0x1000, device configuration at 0x2000 and notification at 0x3000, four bytes a queue.
 *
 * Not emulated: PCI Express and power management capabilities, notification through an I/O BAR, shared memory
 * capabilities, VIRTIO_F_NOTIFICATION_DATA, big-endian legacy guests.
 */
import { VmError } from "../../base/errors.js";
import type { AccessSize, IoHandler } from "../../memory/address-space.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { DeviceProperty } from "../core/device-type.js";
import { PciCommand, PciDevice, PciReg } from "../pci/device.js";
import type { VirtioDevice, VirtioTransport } from "./device.js";
import { MSIX_CAPABILITY, MsixTable, type SendMsi } from "./msix.js";
import type { VirtQueue } from "./queue.js";
import { IsrBit, LEGACY_ONLY_FEATURES, NO_VECTOR, VirtioId, VirtioStatus } from "./spec.js";

const VENDOR = 0x1af4;
const MODERN_DEVICE_BASE = 0x1040;
const PURE_MODERN_SUBSYSTEM = 0x1100;

/** Transitional device ids (§4.1.2.1). */
const transitionalIds: { readonly [id: number]: number } = {
  [VirtioId.net]: 0x1000,
  [VirtioId.block]: 0x1001,
  [VirtioId.balloon]: 0x1002,
  [VirtioId.console]: 0x1003,
  [VirtioId.scsi]: 0x1004,
  [VirtioId.rng]: 0x1005,
};

/** PCI class codes as QEMU gives them. */
const classCodes: { readonly [id: number]: number } = {
  [VirtioId.net]: 0x020000,
  [VirtioId.block]: 0x010000,
  [VirtioId.balloon]: 0x00ff00,
  [VirtioId.console]: 0x078000,
  [VirtioId.scsi]: 0x010000,
  [VirtioId.rng]: 0x00ff00,
};

/** Where things lie in the modern BAR, and the capability types (§4.1.4). */
const Region = {
  common: { type: 1, offset: 0x0000, size: 0x1000 },
  isr: { type: 3, offset: 0x1000, size: 0x1000 },
  device: { type: 4, offset: 0x2000, size: 0x1000 },
  notify: { type: 2, offset: 0x3000, size: 0x1000 },
} as const;
const PCI_CFG_TYPE = 5;
const VENDOR_CAPABILITY = 0x09;
const NOTIFY_MULTIPLIER = 4;
const MODERN_BAR_BYTES = 0x4000;
const LEGACY_BAR = 0;
const MSIX_BAR = 1;
const MODERN_BAR = 4;

/** The PCI configuration access capability: where its fields lie from the capability on. */
const PciCfg = { bar: 4, offset: 8, length: 12, data: 16 } as const;

/** Common configuration structure (§4.1.4.3). */
const Common = {
  deviceFeatureSelect: 0x00,
  deviceFeature: 0x04,
  driverFeatureSelect: 0x08,
  driverFeature: 0x0c,
  configMsixVector: 0x10,
  numQueues: 0x12,
  deviceStatus: 0x14,
  configGeneration: 0x15,
  queueSelect: 0x16,
  queueSize: 0x18,
  queueMsixVector: 0x1a,
  queueEnable: 0x1c,
  queueNotifyOff: 0x1e,
  queueDesc: 0x20,
  queueDriver: 0x28,
  queueDevice: 0x30,
  queueNotifyData: 0x38,
  queueReset: 0x3a,
} as const;

/** Legacy registers (§4.1.4.10). Device configuration follows at 0x14, or at 0x18 while MSI-X is enabled. */
const Legacy = {
  deviceFeatures: 0x00,
  driverFeatures: 0x04,
  queuePage: 0x08,
  queueSize: 0x0c,
  queueSelect: 0x0e,
  queueNotify: 0x10,
  deviceStatus: 0x12,
  isr: 0x13,
  configVector: 0x14,
  queueVector: 0x16,
  config: 0x14,
  configWithMsix: 0x18,
} as const;

export interface VirtioPciOptions {
  id?: string | undefined;
  /** MSI-X vectors; 0 = no MSI-X. Default 2. */
  vectors?: number | undefined;
  /** Where MSI-X messages go; without it there is no MSI-X capability. */
  sendMsi?: SendMsi | undefined;
  /** Default: legacy interface present (the slot is a conventional one). */
  disableLegacy?: "on" | "off" | "auto" | undefined;
  disableModern?: boolean | undefined;
}

/** A virtio device in a PCI slot. */
export class VirtioPci extends PciDevice implements VirtioTransport {
  readonly legacy: boolean;
  readonly modern: boolean;
  readonly msix: MsixTable | undefined;
  private msixCap = -1;
  private pciCfgCap = -1;
  private deviceFeatureSelect = 0;
  private driverFeatureSelect = 0;
  /** What the driver has written so far, by 32-bit word. */
  private readonly featureWords: [number, number] = [0, 0];
  private queueSelect = 0;

  /**
   * @param type QEMU's type name, e.g. "virtio-blk-pci"
   * @throws VmError "device/invalid-property" when both interfaces are disabled
   */
  constructor(
    ctx: DeviceContext,
    override readonly type: string,
    readonly virtio: VirtioDevice,
    options: VirtioPciOptions = {},
  ) {
    const legacy = options.disableLegacy !== "on";
    const modern = !options.disableModern;
    if (!legacy && !modern)
      throw new VmError("device/invalid-property", `${type}: device cannot work as neither modern nor legacy mode is enabled`);
    const vectors = options.vectors ?? 2;
    if (!(Number.isInteger(vectors) && vectors >= 0 && vectors <= 2048))
      throw new VmError("device/invalid-property", `${type}: vectors=${vectors}: 0 to 2048`);
    const vid = virtio.virtioId;
    super(
      ctx,
      {
        vendor: VENDOR,
        device: legacy ? (transitionalIds[vid] ?? 0) : MODERN_DEVICE_BASE + vid,
        revision: legacy ? 0 : 1,
        class: classCodes[vid] ?? 0x00ff00,
        subsystemVendor: VENDOR,
        subsystem: legacy ? vid : PURE_MODERN_SUBSYSTEM,
        interruptPin: 1,
      },
      options.id,
    );
    this.legacy = legacy;
    this.modern = modern;
    if (modern) this.addModern();
    if (vectors > 0 && options.sendMsi) {
      this.msix = new MsixTable(vectors, options.sendMsi);
      this.msixCap = this.addCapability(MSIX_CAPABILITY, this.msix.capabilityBytes(MSIX_BAR), [0, 0xc0]);
      this.addBar(MSIX_BAR, "mem32", this.msix.barBytes, this.msix);
    }
    if (legacy) {
      const bytes = (this.msix ? Legacy.configWithMsix : Legacy.config) + virtio.config.length;
      this.addBar(LEGACY_BAR, "io", 2 ** Math.ceil(Math.log2(bytes)), this.legacyHandler);
    }
    virtio.transport = this;
  }

  private addModern(): void {
    const cap = (region: { type: number; offset: number; size: number }, extra: number[] = []) =>
      this.addCapability(VENDOR_CAPABILITY, [
        16 + extra.length,
        region.type,
        MODERN_BAR,
        0,
        0,
        0,
        ...word32(region.offset),
        ...word32(region.size),
        ...extra,
      ]);
    cap(Region.common);
    cap(Region.isr);
    cap(Region.device);
    cap(Region.notify, word32(NOTIFY_MULTIPLIER));
    const all = [255, 255, 255, 255];
    this.pciCfgCap = this.addCapability(
      VENDOR_CAPABILITY,
      [20, PCI_CFG_TYPE, 0, 0, 0, 0, ...word32(0), ...word32(0), ...word32(0)],
      [0, 0, 255, 0, 0, 0, ...all, ...all, ...all],
    );
    this.addBarRegion(
      MODERN_BAR,
      "mem64",
      MODERN_BAR_BYTES,
      { kind: "io", handler: this.modernHandler, offset: 0 },
      true, // prefetchable
    );
  }

  // Interrupts.

  get dmaAllowed(): boolean {
    return this.busMaster;
  }

  queueInterrupt(queue: VirtQueue): void {
    this.signal(queue.vector);
  }

  configInterrupt(): void {
    this.signal(this.virtio.configVector);
  }

  private signal(vector: number): void {
    if (this.msix?.enabled) {
      if (vector !== NO_VECTOR) this.msix.notify(vector);
    } else this.updateIntx();
  }

  private updateIntx(): void {
    this.irq.set(!this.msix?.enabled && (this.virtio.isr & (IsrBit.queue | IsrBit.config)) !== 0);
  }

  private readIsr(): number {
    const isr = this.virtio.isr;
    this.virtio.isr = 0;
    this.updateIntx();
    return isr;
  }

  /** A vector as the driver may set it: one that does not exist reads back as "no vector". */
  private checkedVector(value: number): number {
    return this.msix && value < this.msix.entries ? value : NO_VECTOR;
  }

  // Shared between both interfaces.

  private get selected(): VirtQueue | undefined {
    return this.virtio.queues[this.queueSelect];
  }

  private setStatus(value: number): void {
    if (value === 0) this.resetRegisters();
    this.virtio.setStatus(value);
    if (value === 0) this.updateIntx();
  }

  private resetRegisters(): void {
    this.deviceFeatureSelect = 0;
    this.driverFeatureSelect = 0;
    this.featureWords[0] = this.featureWords[1] = 0;
    this.queueSelect = 0;
  }

  private guestError(what: string): void {
    this.ctx.trace.guestError(this.type, what);
  }

  // The legacy interface.

  private readonly legacyHandler: IoHandler = {
    name: "virtio-pci-legacy",
    read: (offset, size) => this.legacyRead(offset, size),
    write: (offset, size, value) => this.legacyWrite(offset, size, value),
  };

  private legacyRead(offset: number, size: AccessSize): number {
    const { virtio } = this;
    const part = (word: number, at: number) => slice(word, offset - at, size);
    if (offset < Legacy.driverFeatures) return part(Number(virtio.hostFeatures & 0xffffffffn) >>> 0, Legacy.deviceFeatures);
    if (offset < Legacy.queuePage) return part(Number(virtio.driverFeatures & 0xffffffffn) >>> 0, Legacy.driverFeatures);
    if (offset < Legacy.queueSize) return part(this.selected?.pfn ?? 0, Legacy.queuePage);
    if (offset < Legacy.queueSelect) return part(this.selected?.size ?? 0, Legacy.queueSize);
    if (offset < Legacy.queueNotify) return part(this.queueSelect, Legacy.queueSelect);
    if (offset < Legacy.deviceStatus) return 0;
    if (offset === Legacy.deviceStatus) return size === 1 ? virtio.status : virtio.status | (this.readIsr() << 8);
    if (offset === Legacy.isr) return this.readIsr();
    if (this.msix?.enabled) {
      if (offset < Legacy.queueVector) return part(virtio.configVector, Legacy.configVector);
      if (offset < Legacy.configWithMsix) return part(this.selected?.vector ?? NO_VECTOR, Legacy.queueVector);
      return virtio.readConfig(offset - Legacy.configWithMsix, size);
    }
    return virtio.readConfig(offset - Legacy.config, size);
  }

  private legacyWrite(offset: number, size: AccessSize, value: number): void {
    const { virtio } = this;
    switch (offset) {
      case Legacy.driverFeatures:
        virtio.setDriverFeatures(BigInt(value));
        return;
      case Legacy.queuePage: {
        if (value === 0) {
          this.setStatus(0);
          return;
        }
        this.selected?.setLegacyPage(value);
        return;
      }
      case Legacy.queueSelect:
        this.queueSelect = value & 0xffff;
        return;
      case Legacy.queueNotify:
        virtio.kick(value & 0xffff);
        return;
      case Legacy.deviceStatus:
        // Old drivers do not know of bus mastering.
        if (value & VirtioStatus.driverOk && !this.busMaster)
          this.config[PciReg.command] = this.config[PciReg.command]! | PciCommand.master;
        this.setStatus(value & 0xff);
        return;
    }
    if (this.msix?.enabled && offset >= Legacy.configVector && offset < Legacy.configWithMsix) {
      if (offset === Legacy.configVector) virtio.configVector = this.checkedVector(value & 0xffff);
      else if (offset === Legacy.queueVector && this.selected) this.selected.vector = this.checkedVector(value & 0xffff);
      return;
    }
    const config = this.msix?.enabled ? Legacy.configWithMsix : Legacy.config;
    if (offset >= config) virtio.writeConfig(offset - config, size, value);
    else this.guestError(`legacy write at ${offset}`);
  }

  // The modern interface.

  private readonly modernHandler: IoHandler = {
    name: "virtio-pci-modern",
    read: (offset, size) => this.modernRead(offset, size),
    write: (offset, size, value) => this.modernWrite(offset, size, value),
  };

  private modernRead(offset: number, size: AccessSize): number {
    if (offset < Region.isr.offset) return this.commonRead(offset, size);
    if (offset < Region.device.offset) return this.readIsr();
    if (offset < Region.notify.offset) return this.virtio.readConfig(offset - Region.device.offset, size);
    return 0;
  }

  private modernWrite(offset: number, size: AccessSize, value: number): void {
    if (offset < Region.isr.offset) this.commonWrite(offset, size, value);
    else if (offset < Region.device.offset) return;
    else if (offset < Region.notify.offset) this.virtio.writeConfig(offset - Region.device.offset, size, value);
    else this.virtio.kick((offset - Region.notify.offset) / NOTIFY_MULTIPLIER);
  }

  private commonRead(offset: number, size: AccessSize): number {
    const { virtio } = this;
    const q = this.selected;
    switch (offset) {
      case Common.deviceFeatureSelect:
        return this.deviceFeatureSelect;
      case Common.deviceFeature:
        return word(virtio.hostFeatures & ~LEGACY_ONLY_FEATURES, this.deviceFeatureSelect);
      case Common.driverFeatureSelect:
        return this.driverFeatureSelect;
      case Common.driverFeature:
        return this.driverFeatureSelect < 2 ? this.featureWords[this.driverFeatureSelect as 0 | 1] : 0;
      case Common.configMsixVector:
        return virtio.configVector;
      case Common.numQueues:
        return virtio.queues.length;
      case Common.deviceStatus:
        return virtio.status;
      case Common.configGeneration:
        return virtio.generation;
      case Common.queueSelect:
        return this.queueSelect;
      case Common.queueSize:
        return q?.size ?? 0;
      case Common.queueMsixVector:
        return q?.vector ?? NO_VECTOR;
      case Common.queueEnable:
        return q?.enabled ? 1 : 0;
      case Common.queueNotifyOff:
        return q ? this.queueSelect : 0;
      case Common.queueDesc:
      case Common.queueDesc + 4:
      case Common.queueDriver:
      case Common.queueDriver + 4:
      case Common.queueDevice:
      case Common.queueDevice + 4:
        return q ? this.addressHalves(q, offset)[(offset >> 2) & 1]! : 0;
      case Common.queueNotifyData:
        return q ? this.queueSelect : 0;
      case Common.queueReset:
        // A reset is complete at once: what is still under way no longer touches the guest's memory.
        return 0;
    }
    this.guestError(`common configuration read of ${size} bytes at 0x${offset.toString(16)}`);
    return 0;
  }

  private addressHalves(q: VirtQueue, offset: number): [number, number] {
    return offset < Common.queueDriver ? q.descAddr : offset < Common.queueDevice ? q.availAddr : q.usedAddr;
  }

  private commonWrite(offset: number, size: AccessSize, value: number): void {
    const { virtio } = this;
    const q = this.selected;
    switch (offset) {
      case Common.deviceFeatureSelect:
        this.deviceFeatureSelect = value;
        return;
      case Common.driverFeatureSelect:
        this.driverFeatureSelect = value;
        return;
      case Common.driverFeature:
        if (this.driverFeatureSelect > 1) {
          if (value !== 0) this.guestError(`feature word ${this.driverFeatureSelect} written`);
          return;
        }
        this.featureWords[this.driverFeatureSelect as 0 | 1] = value;
        virtio.setDriverFeatures(BigInt(this.featureWords[0]) | (BigInt(this.featureWords[1]) << 32n));
        return;
      case Common.configMsixVector:
        virtio.configVector = this.checkedVector(value & 0xffff);
        return;
      case Common.deviceStatus:
        this.setStatus(value & 0xff);
        return;
      case Common.queueSelect:
        this.queueSelect = value & 0xffff;
        return;
      case Common.queueSize:
        if (q && (q.enabled || !q.setSize(value & 0xffff)))
          this.guestError(`queue ${this.queueSelect}: size ${value & 0xffff} ${q.enabled ? "while enabled" : "is none"}`);
        return;
      case Common.queueMsixVector:
        if (q) q.vector = this.checkedVector(value & 0xffff);
        return;
      case Common.queueEnable:
        if ((value & 0xffff) !== 1) this.guestError(`queue_enable written with ${value & 0xffff}`);
        else if (q) q.enabled = true;
        return;
      case Common.queueDesc:
      case Common.queueDesc + 4:
      case Common.queueDriver:
      case Common.queueDriver + 4:
      case Common.queueDevice:
      case Common.queueDevice + 4:
        if (!q) return;
        if (q.enabled) {
          this.guestError(`queue ${this.queueSelect}: address written while enabled`);
          return;
        }
        this.addressHalves(q, offset)[(offset >> 2) & 1] = value;
        q.addressChanged();
        return;
      case Common.queueReset:
        if (q && value & 1) virtio.resetQueue(q);
        return;
    }
    this.guestError(`common configuration write of ${size} bytes at 0x${offset.toString(16)}`);
  }

  // Configuration space: MSI-X control, the window into the modern BAR, bus mastering.

  override configRead(offset: number, size: 1 | 2 | 4): number {
    const data = this.pciCfgCap + PciCfg.data;
    if (this.modern && offset < data + 4 && offset + size > data) {
      const w = this.window();
      if (w) {
        const value = this.modernRead(w.offset, w.length);
        for (let i = 0; i < w.length; i++) this.config[data + i] = (value >>> (8 * i)) & 255;
      }
    }
    return super.configRead(offset, size);
  }

  override configWrite(offset: number, size: 1 | 2 | 4, value: number): void {
    super.configWrite(offset, size, value);
    if (offset <= PciReg.command && offset + size > PciReg.command && !this.busMaster && this.virtio.status !== 0) {
      // A device that may not reach memory is not being driven.
      this.virtio.setStatus(this.virtio.status & ~VirtioStatus.driverOk || VirtioStatus.acknowledge);
    }
    const control = this.msixCap + 3;
    if (this.msix && offset <= control && offset + size > control) {
      this.msix.setControl(this.config[control]!);
      this.updateIntx();
    }
    const data = this.pciCfgCap + PciCfg.data;
    if (this.modern && offset < data + 4 && offset + size > data) {
      const w = this.window();
      if (w) {
        let v = 0;
        for (let i = w.length - 1; i >= 0; i--) v = v * 256 + this.config[data + i]!;
        this.modernWrite(w.offset, w.length, v);
      }
    }
  }

  /** What the driver has pointed the PCI configuration access capability at, if that is valid. */
  private window(): { offset: number; length: AccessSize } | undefined {
    const read32 = (at: number) => {
      const c = this.config;
      const o = this.pciCfgCap + at;
      return (c[o]! | (c[o + 1]! << 8) | (c[o + 2]! << 16) | (c[o + 3]! << 24)) >>> 0;
    };
    const length = read32(PciCfg.length);
    const offset = read32(PciCfg.offset);
    if (this.config[this.pciCfgCap + PciCfg.bar] !== MODERN_BAR) return undefined;
    if (length !== 1 && length !== 2 && length !== 4) return undefined;
    if (offset % length !== 0 || offset + length > MODERN_BAR_BYTES) return undefined;
    return { offset, length };
  }

  override reset(): void {
    this.virtio.reset();
    this.resetRegisters();
    this.msix?.reset();
    super.reset();
  }

  override save(): DeviceState {
    const virtio = this.virtio.save();
    return {
      ...super.save(),
      virtio,
      msix: this.msix?.save() ?? null,
      deviceFeatureSelect: this.deviceFeatureSelect,
      driverFeatureSelect: this.driverFeatureSelect,
      featureWords: [...this.featureWords],
      queueSelect: this.queueSelect,
    };
  }

  override restore(state: DeviceState): void {
    super.restore(state);
    if (this.msix && state.msix) this.msix.restore(state.msix as DeviceState, this.config[this.msixCap + 3]!);
    this.deviceFeatureSelect = state.deviceFeatureSelect as number;
    this.driverFeatureSelect = state.driverFeatureSelect as number;
    const words = state.featureWords as number[];
    this.featureWords[0] = words[0]! >>> 0;
    this.featureWords[1] = words[1]! >>> 0;
    this.queueSelect = state.queueSelect as number;
    this.virtio.restore(state.virtio as DeviceState);
  }

  override dispose(): void {
    this.virtio.dispose();
    super.dispose();
  }
}

/** Properties of every virtio-*-pci type. @param vectors the type's default */
export function virtioPciProperties(vectors: number): DeviceProperty[] {
  return [
    { name: "addr", type: "pci-address", default: undefined, description: "slot and function, e.g. 5 or 5.0" },
    { name: "multifunction", type: "bool", default: false, description: "other functions may share the slot" },
    { name: "disable-legacy", type: "on-off-auto", default: "auto", description: "no legacy interface (modern device id)" },
    { name: "disable-modern", type: "bool", default: false, description: "no virtio 1.x interface" },
    { name: "vectors", type: "uint32", default: vectors, description: "MSI-X vectors; 0 = no MSI-X" },
    ...virtioCommonProperties,
  ];
}

/** Properties of every virtio device on any transport. */
export const virtioCommonProperties: readonly DeviceProperty[] = [
  { name: "indirect_desc", type: "bool", default: true, description: "offer indirect descriptors" },
  { name: "event_idx", type: "bool", default: true, description: "offer event index" },
];

function word(bits: bigint, index: number): number {
  if (index > 1) return 0;
  return Number((bits >> BigInt(32 * index)) & 0xffffffffn);
}

function word32(v: number): number[] {
  return [v & 255, (v >>> 8) & 255, (v >>> 16) & 255, v >>> 24];
}

/** Bytes `at` to `at + size` of a 32-bit word. */
function slice(value: number, at: number, size: AccessSize): number {
  const shifted = value >>> (8 * at);
  return size === 4 ? shifted : size === 2 ? shifted & 0xffff : shifted & 0xff;
}
