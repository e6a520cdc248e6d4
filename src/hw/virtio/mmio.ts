/**
 * virtio over MMIO, version 2 (virtio 1.2 §4.2), with QEMU's vendor id. A window without a device has device id 0, as
 * boards put a fixed number of windows into their memory map.
 *
 * Not emulated: version 1 (the legacy layout), shared memory regions (they read as absent).
 */
import type { AccessSize, IoHandler } from "../../memory/address-space.js";
import type { Device, DeviceContext, DeviceState } from "../core/device.js";
import type { IrqLine } from "../core/irq.js";
import type { VirtioDevice, VirtioTransport } from "./device.js";
import type { VirtQueue } from "./queue.js";
import { LEGACY_ONLY_FEATURES } from "./spec.js";

/** Bytes of a window on QEMU's boards. */
export const VIRTIO_MMIO_BYTES = 0x200;

const MAGIC = 0x74726976;
const VERSION = 2;
const VENDOR = 0x554d4551;

/** Registers (§4.2.2). */
const Reg = {
  magic: 0x000,
  version: 0x004,
  deviceId: 0x008,
  vendorId: 0x00c,
  deviceFeatures: 0x010,
  deviceFeaturesSel: 0x014,
  driverFeatures: 0x020,
  driverFeaturesSel: 0x024,
  queueSel: 0x030,
  queueNumMax: 0x034,
  queueNum: 0x038,
  queueReady: 0x044,
  queueNotify: 0x050,
  interruptStatus: 0x060,
  interruptAck: 0x064,
  status: 0x070,
  queueDescLow: 0x080,
  queueDescHigh: 0x084,
  queueDriverLow: 0x090,
  queueDriverHigh: 0x094,
  queueDeviceLow: 0x0a0,
  queueDeviceHigh: 0x0a4,
  shmLenLow: 0x0b0,
  shmLenHigh: 0x0b4,
  shmBaseLow: 0x0b8,
  shmBaseHigh: 0x0bc,
  queueReset: 0x0c0,
  configGeneration: 0x0fc,
  config: 0x100,
} as const;

/** A window in the memory map; map it with `memory.mapIo(base, VIRTIO_MMIO_BYTES, window)`. */
export class VirtioMmio implements Device, IoHandler, VirtioTransport {
  readonly type = "virtio-mmio";
  readonly name = "virtio-mmio";
  private deviceFeaturesSel = 0;
  private driverFeaturesSel = 0;
  private readonly featureWords: [number, number] = [0, 0];
  private queueSel = 0;

  /**
   * @param virtio the device, or none: an empty window
   * @param irq level-triggered, high while InterruptStatus is not zero
   */
  constructor(
    private readonly ctx: DeviceContext,
    readonly virtio: VirtioDevice | undefined,
    private readonly irq: IrqLine,
    readonly id?: string | undefined,
  ) {
    if (virtio) virtio.transport = this;
  }

  get dmaAllowed(): boolean {
    return true;
  }

  queueInterrupt(): void {
    this.updateIrq();
  }

  configInterrupt(): void {
    this.updateIrq();
  }

  private updateIrq(): void {
    this.irq.set((this.virtio?.isr ?? 0) !== 0);
  }

  private guestError(what: string): void {
    this.ctx.trace.guestError(this.type, what);
  }

  read(offset: number, size: AccessSize): number {
    const { virtio } = this;
    if (!virtio) {
      if (offset === Reg.magic) return MAGIC;
      if (offset === Reg.version) return VERSION;
      return offset === Reg.vendorId ? VENDOR : 0;
    }
    if (offset >= Reg.config) return virtio.readConfig(offset - Reg.config, size);
    if (size !== 4) {
      this.guestError(`read of ${size} bytes at 0x${offset.toString(16)}`);
      return 0;
    }
    const q = virtio.queues[this.queueSel];
    switch (offset) {
      case Reg.magic:
        return MAGIC;
      case Reg.version:
        return VERSION;
      case Reg.deviceId:
        return virtio.virtioId;
      case Reg.vendorId:
        return VENDOR;
      case Reg.deviceFeatures:
        if (this.deviceFeaturesSel > 1) return 0;
        return Number(((virtio.hostFeatures & ~LEGACY_ONLY_FEATURES) >> BigInt(32 * this.deviceFeaturesSel)) & 0xffffffffn);
      case Reg.queueNumMax:
        return q?.maxSize ?? 0;
      case Reg.queueReady:
        return q?.enabled ? 1 : 0;
      case Reg.interruptStatus:
        return virtio.isr;
      case Reg.status:
        return virtio.status;
      case Reg.shmLenLow:
      case Reg.shmLenHigh:
      case Reg.shmBaseLow:
      case Reg.shmBaseHigh:
        return 0xffffffff;
      case Reg.queueReset:
        return 0;
      case Reg.configGeneration:
        return virtio.generation;
    }
    this.guestError(`read at 0x${offset.toString(16)}`);
    return 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    const { virtio } = this;
    if (!virtio) return;
    if (offset >= Reg.config) {
      virtio.writeConfig(offset - Reg.config, size, value);
      return;
    }
    if (size !== 4) {
      this.guestError(`write of ${size} bytes at 0x${offset.toString(16)}`);
      return;
    }
    const q = virtio.queues[this.queueSel];
    switch (offset) {
      case Reg.deviceFeaturesSel:
        this.deviceFeaturesSel = value;
        return;
      case Reg.driverFeatures:
        if (this.driverFeaturesSel > 1) {
          if (value !== 0) this.guestError(`feature word ${this.driverFeaturesSel} written`);
          return;
        }
        this.featureWords[this.driverFeaturesSel as 0 | 1] = value;
        virtio.setDriverFeatures(BigInt(this.featureWords[0]) | (BigInt(this.featureWords[1]) << 32n));
        return;
      case Reg.driverFeaturesSel:
        this.driverFeaturesSel = value;
        return;
      case Reg.queueSel:
        this.queueSel = value;
        return;
      case Reg.queueNum:
        if (q && (q.enabled || value > 0xffff || !q.setSize(value))) this.guestError(`queue ${this.queueSel}: size ${value}`);
        return;
      case Reg.queueReady:
        if (!q) return;
        if (value & 1) q.enabled = true;
        else virtio.resetQueue(q);
        return;
      case Reg.queueNotify:
        virtio.kick(value);
        return;
      case Reg.interruptAck:
        virtio.isr &= ~value;
        this.updateIrq();
        return;
      case Reg.status:
        if ((value & 0xff) === 0) this.resetRegisters();
        virtio.setStatus(value & 0xff);
        this.updateIrq();
        return;
      case Reg.queueDescLow:
      case Reg.queueDescHigh:
        this.setAddress(q, q?.descAddr, offset, value);
        return;
      case Reg.queueDriverLow:
      case Reg.queueDriverHigh:
        this.setAddress(q, q?.availAddr, offset, value);
        return;
      case Reg.queueDeviceLow:
      case Reg.queueDeviceHigh:
        this.setAddress(q, q?.usedAddr, offset, value);
        return;
      case Reg.queueReset:
        if (q && value & 1) virtio.resetQueue(q);
        return;
    }
    this.guestError(`write at 0x${offset.toString(16)}`);
  }

  private setAddress(q: VirtQueue | undefined, halves: [number, number] | undefined, offset: number, value: number): void {
    if (!q || !halves) return;
    if (q.enabled) {
      this.guestError(`queue ${this.queueSel}: address written while ready`);
      return;
    }
    halves[(offset >> 2) & 1] = value;
    q.addressChanged();
  }

  private resetRegisters(): void {
    this.deviceFeaturesSel = 0;
    this.driverFeaturesSel = 0;
    this.featureWords[0] = this.featureWords[1] = 0;
    this.queueSel = 0;
  }

  reset(): void {
    this.virtio?.reset();
    this.resetRegisters();
    this.updateIrq();
  }

  save(): DeviceState {
    return {
      virtio: this.virtio?.save() ?? null,
      deviceFeaturesSel: this.deviceFeaturesSel,
      driverFeaturesSel: this.driverFeaturesSel,
      featureWords: [...this.featureWords],
      queueSel: this.queueSel,
    };
  }

  restore(state: DeviceState): void {
    this.deviceFeaturesSel = state.deviceFeaturesSel as number;
    this.driverFeaturesSel = state.driverFeaturesSel as number;
    const words = state.featureWords as number[];
    this.featureWords[0] = words[0]! >>> 0;
    this.featureWords[1] = words[1]! >>> 0;
    this.queueSel = state.queueSel as number;
    if (this.virtio && state.virtio) this.virtio.restore(state.virtio as DeviceState);
    // The interrupt controller restores its own inputs; the wire only remembers.
    this.irq.level = (this.virtio?.isr ?? 0) !== 0;
  }

  dispose(): void {
    this.virtio?.dispose();
  }
}
