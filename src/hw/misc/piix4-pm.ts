/**
 * PCI function 3 of the PIIX4 (8086:7113): power management. It places the ACPI block in port space.
 *
 * Source: Intel 82371AB (PIIX4) datasheet, §7.1 and §7.2 (PCI configuration registers of function 3).
 *
 * PMBASE (40h) decodes while PMREGMISC (80h) bit 0 is set; the I/O enable of the command register does not matter for it.
 *
 * *Not emulated*: the SMBus host controller (SMBBASE and SMBHSTCFG store; nothing answers at the base), device resource
 * and activity registers (they store).
 */
import type { Mapping } from "../../memory/address-space.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { IrqLine } from "../core/irq.js";
import { PciDevice, PciReg } from "../pci/device.js";
import { AcpiPm, type AcpiPmOptions } from "./acpi-pm.js";

const Reg = { pmBase: 0x40, deviceActivityB: 0x58, pmMisc: 0x80, smbBase: 0x90, smbConfig: 0xd2 } as const;
const PM_IO_ENABLE = 0x01;
const PM_BLOCK_SIZE = 64;
/** Byte 3 of DEVACTB: APMC_EN. */
const APMC_ENABLE = 0x02;

export interface Piix4PmOptions extends Omit<AcpiPmOptions, "smiEnabled"> {
  /**
   * The processors have system management mode. Without it APMC_EN reads as set from the start, which tells firmware that
   * SMM has been set up already, and no SMI is made.
   */
  readonly smm: boolean;
  /** Serial and parallel ports that the board has, shown in DEVRES registers for older ACPI tables. */
  readonly serialPorts?: number;
  readonly parallelPorts?: number;
}

/** Attach as function 3 of the ISA bridge's slot. `pm` is the ACPI block: its `map` gives GPE0 and the APM ports. */
export class Piix4Pm extends PciDevice {
  readonly type = "PIIX4_PM";
  readonly pm: AcpiPm;
  private mapping: Mapping | undefined;
  private mappedAt = -1;

  /** @param sci IRQ9 */
  constructor(
    ctx: DeviceContext,
    sci: IrqLine,
    private readonly options: Piix4PmOptions,
  ) {
    super(ctx, { vendor: 0x8086, device: 0x7113, revision: 3, class: 0x068000, interruptPin: 1 });
    this.pm = new AcpiPm(ctx, sci, {
      ...options,
      smiEnabled: () => options.smm && (this.config[Reg.deviceActivityB + 3]! & APMC_ENABLE) !== 0,
    });
    const { config, writeMask } = this;
    config[PciReg.status] = 0x80;
    config[PciReg.status + 1] = 0x02;
    writeMask[PciReg.command] = 0x05;
    writeMask[PciReg.command + 1] = 0x00;
    config[PciReg.interruptLine] = 9;
    for (let i = 0x44; i < 0x80; i++) writeMask[i] = 0xff;
    // Bits 15:6 of the bases; bit 0 says I/O space.
    for (const base of [Reg.pmBase, Reg.smbBase]) {
      config[base] = 0x01;
      writeMask[base] = 0xc0;
      writeMask[base + 1] = 0xff;
    }
    writeMask[Reg.pmMisc] = PM_IO_ENABLE;
    config[Reg.smbConfig] = 0x09;
    writeMask[Reg.smbConfig] = 0x0f;
    for (const shadow of [0xd3, 0xd4, 0xd5]) writeMask[shadow] = 0xff;
    config[0x5f] = ((options.parallelPorts ?? 0) > 0 ? 0x80 : 0) | 0x10;
    config[0x63] = 0x60;
    config[0x67] = ((options.serialPorts ?? 0) > 0 ? 0x08 : 0) | ((options.serialPorts ?? 0) > 1 ? 0x90 : 0);
    if (!options.smm) config[Reg.deviceActivityB + 3] = APMC_ENABLE;
  }

  /** The port at which the block decodes, or -1. */
  get pmBase(): number {
    return this.mappedAt;
  }

  private remap(): void {
    const c = this.config;
    const base = (c[Reg.pmBase]! & 0xc0) | (c[Reg.pmBase + 1]! << 8);
    const at = c[Reg.pmMisc]! & PM_IO_ENABLE && base !== 0 ? base : -1;
    if (at === this.mappedAt) return;
    this.mappedAt = at;
    this.ctx.io.batch(() => {
      if (this.mapping) this.ctx.io.unmap(this.mapping);
      this.mapping = at < 0 ? undefined : this.ctx.io.mapIo(at, PM_BLOCK_SIZE, this.pm);
    });
  }

  override configWrite(offset: number, size: 1 | 2 | 4, value: number): void {
    super.configWrite(offset, size, value);
    if (!this.options.smm) this.config[Reg.deviceActivityB + 3]! |= APMC_ENABLE;
    this.remap();
  }

  override reset(): void {
    super.reset();
    this.pm.reset();
    this.remap();
  }

  override save(): DeviceState {
    return { ...super.save(), pm: this.pm.save() };
  }

  override restore(state: DeviceState): void {
    super.restore(state);
    this.pm.restore(state.pm as DeviceState);
    this.remap();
  }

  override dispose(): void {
    super.dispose();
    this.config[Reg.pmMisc] = 0;
    this.remap();
  }
}
