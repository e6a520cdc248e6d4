/**
 * The fixed ACPI tables of the `pc` machine, each as bytes with its checksum still zero and its pointers still relative.
 * Source: ACPI 6.4, chapter 5.2; IA-PC HPET 1.0a, 3.2.4; Windows ACPI Emulated Devices Table (WAET).
 * Not built: SRAT, SLIT, MCFG (i440FX has no ECAM), BGRT, TPM2, x2APIC entries (APIC ids from 255).
 */
import { assert } from "../../base/errors.js";
import { ByteWriter } from "../bytes.js";
import type { PcAcpiConfig } from "./config.js";

/** Bytes of the header every table but FACS begins with. */
export const ACPI_HEADER_BYTES = 36;
/** Where its checksum stands. */
export const ACPI_CHECKSUM_OFFSET = 9;

/** A table around its body (5.2.6). */
export function table(c: PcAcpiConfig, signature: string, revision: number, body: Uint8Array): Uint8Array {
  return new ByteWriter(ACPI_HEADER_BYTES + body.length)
    .text(signature, 4)
    .u32(ACPI_HEADER_BYTES + body.length)
    .u8(revision, 0)
    .text(c.oemId, 6, 0x20)
    .text(c.oemTableId, 8, 0x20)
    .u32(1)
    .text("TNDM", 4)
    .u32(1)
    .bytes(body)
    .finish();
}

/** Firmware ACPI control structure (5.2.10): no header, aligned to 64. */
export function facs(): Uint8Array {
  return new ByteWriter(64).text("FACS", 4).u32(64).zero(56).finish();
}

const AddressSpaceId = { memory: 0, io: 1 } as const;

/** Generic address structure (5.2.3.2); access size in bytes. */
function genericAddress(w: ByteWriter, space: number, widthBits: number, accessBytes: number, address: number): void {
  w.u8(space, widthBits, 0, accessBytes === 0 ? 0 : Math.log2(accessBytes) + 1).u64(address);
}

/** Bits of the FADT's flags (table 5.10). */
const FadtFlag = {
  wbinvd: 1 << 0,
  procC1: 1 << 2,
  sleepButton: 1 << 5,
  rtcS4: 1 << 7,
  resetRegister: 1 << 10,
  forceApicClusterModel: 1 << 18,
} as const;

const BOOT_ARCH_LEGACY_DEVICES = 1;
const BOOT_ARCH_8042 = 2;
const CMOS_CENTURY = 0x32;
const RESET_CONTROL_PORT = 0xcf9;
const RESET_CONTROL_HARD = 6;
/** Over this latency in microseconds the state does not exist. */
const NO_C2_LATENCY = 0xfff;
const NO_C3_LATENCY = 0xfff;

/** Where pointers stand in the FADT. */
export const FadtPointer = { facs: 36, dsdt: 40, xDsdt: 140 } as const;

/** Fixed ACPI description table, revision 3 (5.2.9). */
export function fadt(c: PcAcpiConfig): Uint8Array {
  const pm = c.pm;
  const w = new ByteWriter(256);
  w.u32(0, 0); // FACS, DSDT
  w.u8(1, 0).u16(pm.sciIrq);
  w.u32(pm.smiCommand.port);
  w.u8(pm.smiCommand.port ? pm.smiCommand.enable : 0, pm.smiCommand.port ? pm.smiCommand.disable : 0, 0, 0);
  w.u32(pm.base, 0, pm.base + 4, 0, 0, pm.base + 8, pm.gpe0Base, 0);
  w.u8(4, 2, 0, 4, pm.gpe0Length, 0, 0, 0);
  w.u16(NO_C2_LATENCY, NO_C3_LATENCY, 0, 0);
  w.u8(0, 0, 0, 0, CMOS_CENTURY);
  w.u16(BOOT_ARCH_LEGACY_DEVICES | (c.i8042 ? BOOT_ARCH_8042 : 0)).u8(0);
  w.u32(
    FadtFlag.wbinvd |
      FadtFlag.procC1 |
      FadtFlag.sleepButton |
      FadtFlag.rtcS4 |
      (c.resetPort ? FadtFlag.resetRegister : 0) |
      (c.apicIds.length > 8 ? FadtFlag.forceApicClusterModel : 0),
  );
  if (c.resetPort) genericAddress(w, AddressSpaceId.io, 8, 1, RESET_CONTROL_PORT);
  else w.zero(12);
  w.u8(c.resetPort ? RESET_CONTROL_HARD : 0).zero(3);
  w.u64(0, 0); // extended FACS (unused), extended DSDT
  genericAddress(w, AddressSpaceId.io, 32, 2, pm.base);
  w.zero(12);
  genericAddress(w, AddressSpaceId.io, 16, 2, pm.base + 4);
  w.zero(24);
  genericAddress(w, AddressSpaceId.io, 32, 4, pm.base + 8);
  genericAddress(w, AddressSpaceId.io, pm.gpe0Length * 8, 1, pm.gpe0Base);
  w.zero(12);
  return table(c, "FACP", 3, w.finish());
}

const MadtEntry = { localApic: 0, ioApic: 1, interruptOverride: 2, localApicNmi: 4 } as const;
const MADT_PCAT_COMPAT = 1;
const LOCAL_APIC_ENABLED = 1;
/** Active high, level-triggered (MPS INTI flags). */
const OVERRIDE_LEVEL_HIGH = 0x0d;
const ALL_PROCESSORS = 0xff;

/** Multiple APIC description table, revision 1 (5.2.12). The timer's IRQ 0 is on input 2; PCI's and the SCI are level. */
export function madt(c: PcAcpiConfig): Uint8Array {
  const w = new ByteWriter(128).u32(c.localApicAddress, MADT_PCAT_COMPAT);
  c.apicIds.forEach((apicId, i) => {
    assert(apicId < 255, `APIC id ${apicId}`);
    w.u8(MadtEntry.localApic, 8, i, apicId).u32(LOCAL_APIC_ENABLED);
  });
  w.u8(MadtEntry.ioApic, 12, c.ioApicId, 0).u32(c.ioApicAddress, 0);
  w.u8(MadtEntry.interruptOverride, 10, 0, 0).u32(2).u16(0);
  for (const irq of [5, 9, 10, 11]) w.u8(MadtEntry.interruptOverride, 10, 0, irq).u32(irq).u16(OVERRIDE_LEVEL_HIGH);
  w.u8(MadtEntry.localApicNmi, 6, ALL_PROCESSORS).u16(0).u8(1);
  return table(c, "APIC", 1, w.finish());
}

/** Revision 1, three comparators, 64-bit counter, legacy replacement, vendor Intel. */
const HPET_BLOCK_ID = 0x8086a201;

/** HPET description table (IA-PC HPET 1.0a, table 3). */
export function hpet(c: PcAcpiConfig): Uint8Array {
  const w = new ByteWriter(20).u32(HPET_BLOCK_ID);
  genericAddress(w, AddressSpaceId.memory, 0, 0, c.hpetBase);
  w.u8(0).u16(0).u8(0);
  return table(c, "HPET", 1, w.finish());
}

/** Windows may read the ACPI PM timer once instead of three times. */
const WAET_PM_TIMER_GOOD = 2;

/** Windows ACPI emulated devices table. */
export function waet(c: PcAcpiConfig): Uint8Array {
  return table(c, "WAET", 1, new ByteWriter(4).u32(WAET_PM_TIMER_GOOD).finish());
}
