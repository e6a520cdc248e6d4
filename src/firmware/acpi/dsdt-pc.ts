/**
 * The DSDT of the `pc` machine: i440FX host bridge, PIIX3 ISA bridge, and what stands on the board.
 * Source: ACPI 6.4 (names and objects); Intel 82371SB (PIIX3) datasheet, PIRQRC[A:D] at function 0 offset 0x60; the pc
 * machine's wiring of slots to PIRQ lines.
 * Not described: CPU hot-plug, thermal zones, C-states beyond C1.
 */

import { ByteWriter } from "../bytes.js";
import {
  type Aml,
  and,
  arg,
  buffer,
  byteField,
  call,
  concat,
  createDwordField,
  device,
  dwordField,
  eisaId,
  integer,
  lessThan,
  method,
  name,
  notify,
  operationRegion,
  or,
  pack,
  processor,
  RegionSpace,
  ref,
  ret,
  scope,
  store,
  when,
} from "./aml.js";
import type { PcAcpiConfig } from "./config.js";
import {
  busRange,
  dmaChannel,
  ioPorts,
  ioWindow,
  irqNoFlags,
  LEVEL_INTERRUPT_NUMBER,
  levelInterrupt,
  memory32Fixed,
  memoryWindow32,
  memoryWindow64,
  resourceTemplate,
} from "./resources.js";

/** Interrupts that PCI may use: the board leaves 5, 10 and 11 free, 9 is the SCI. */
const PCI_IRQS = [5, 10, 11] as const;
/** PIRQRC bit 7: the line is not routed. */
const PIRQ_DISABLED = 0x80;
const STA_PRESENT = 0x0b;
const STA_DISABLED = 0x09;
/** The ISA bridge's slot; the PM function there has the SCI as its interrupt. */
const ISA_SLOT = 1;
const PCI_SLOTS = 32;

const hid = (id: string): Aml => name("_HID", eisaId(id));
const uid = (n: number): Aml => name("_UID", integer(n));
const crs = (...resources: Uint8Array[]): Aml => name("_CRS", resourceTemplate(...resources));

/** The AML of the whole table, without its header. */
export function pcDsdt(c: PcAcpiConfig): Aml {
  return concat(
    sleepStates(c),
    scope("\\_SB", ...cpus(c), hostBridge(c), ...linkDevices(c), ...boardDevices(c)),
    ...(c.pciHotplug ? [scope("\\_GPE", method("_E01", 0, false, call("\\_SB.PCI0.PCNT")))] : []),
  );
}

/** What `Notify` tells of a slot (ACPI 6.4 §5.6.6, table 5.163). */
const NOTIFY_DEVICE_CHECK = 1;
const NOTIFY_EJECT = 3;

const slotName = (slot: number) => `S${(slot << 3).toString(16).toUpperCase().padStart(2, "0")}`;

/**
 * Slots whose devices come and go: `_EJ0` writes the slot's bit; the general purpose event 1 calls PCNT, which reads what
 * has changed and notifies the slots.
 */
function pciHotplug({ base, slots }: NonNullable<PcAcpiConfig["pciHotplug"]>): Aml[] {
  const bit = (slot: number) => integer(2 ** slot);
  return [
    operationRegion("PCST", RegionSpace.io, base, 8),
    dwordField("PCST", ["PCIU", "PCID"]),
    operationRegion("SEJ", RegionSpace.io, base + 8, 4),
    dwordField("SEJ", ["B0EJ"], true),
    operationRegion("BNMR", RegionSpace.io, base + 16, 4),
    dwordField("BNMR", ["BNUM"]),
    ...slots.map((slot) =>
      device(
        slotName(slot),
        name("_ADR", integer(slot * 0x10000)),
        name("_SUN", integer(slot)),
        method("_EJ0", 1, true, store(integer(0), ref("BNUM")), store(bit(slot), ref("B0EJ"))),
      ),
    ),
    method("DVNT", 2, false, ...slots.map((slot) => when(and(arg(0), bit(slot)), notify(slotName(slot), arg(1))))),
    method(
      "PCNT",
      0,
      true,
      store(integer(0), ref("BNUM")),
      call("DVNT", ref("PCIU"), integer(NOTIFY_DEVICE_CHECK)),
      call("DVNT", ref("PCID"), integer(NOTIFY_EJECT)),
    ),
  ];
}

/** `\_Sx`: what to write to SLP_TYP of PM1a and PM1b control. */
function sleepStates(c: PcAcpiConfig): Aml {
  const state = (path: string, type: number) => name(path, pack(integer(type), integer(type), integer(0), integer(0)));
  return concat(...(c.s3 ? [state("\\_S3", 1)] : []), ...(c.s4 ? [state("\\_S4", c.s4SleepType)] : []), state("\\_S5", 0));
}

function cpus(c: PcAcpiConfig): Aml[] {
  return c.apicIds.map((_, i) => processor(`C${i.toString(16).toUpperCase().padStart(3, "0")}`, i));
}

function hostBridge(c: PcAcpiConfig): Aml {
  const windows = [
    busRange(0, 255),
    ioPorts(0xcf8, 8),
    ioWindow(0x0000, 0x0cf7),
    ioWindow(0x0d00, 0xffff),
    memoryWindow32(0xa0000, 0xbffff, true),
    memoryWindow32(c.pciHole.first, c.pciHole.last, false),
  ];
  if (c.pciHole64) windows.push(memoryWindow64(c.pciHole64.first, c.pciHole64.last, true));
  return device(
    "PCI0",
    hid("PNP0A03"),
    uid(0),
    crs(...windows),
    routingTable(),
    isaBridge(c),
    ...(c.pciHotplug ? pciHotplug(c.pciHotplug) : []),
  );
}

/** `_PRT` for all 32 slots: pin p of slot s is on PIRQ (s - 1 + p) mod 4; pin A of the ISA bridge's slot is the SCI. */
function routingTable(): Aml {
  const links = ["LNKA", "LNKB", "LNKC", "LNKD"];
  const rows: Aml[] = [];
  for (let slot = 0; slot < PCI_SLOTS; slot++)
    for (let pin = 0; pin < 4; pin++) {
      const link = slot === ISA_SLOT && pin === 0 ? "LNKS" : links[(slot + pin + 3) & 3]!;
      rows.push(pack(integer(slot * 0x10000 + 0xffff), integer(pin), ref(link), integer(0)));
    }
  return name("_PRT", pack(...rows));
}

function isaBridge(c: PcAcpiConfig): Aml {
  const parts: Aml[] = [
    name("_ADR", integer(ISA_SLOT * 0x10000)),
    operationRegion("PIRQ", RegionSpace.pciConfig, 0x60, 4),
    byteField("PIRQ", [
      ["PRQA", 8],
      ["PRQB", 8],
      ["PRQC", 8],
      ["PRQD", 8],
    ]),
    device("RTC", hid("PNP0B00"), crs(ioPorts(0x70, 8, 0x70, 1), irqNoFlags(8))),
  ];
  if (c.i8042)
    parts.push(
      device("KBD", hid("PNP0303"), name("_STA", integer(0x0f)), crs(ioPorts(0x60, 1), ioPorts(0x64, 1), irqNoFlags(1))),
      device("MOU", hid("PNP0F13"), name("_STA", integer(0x0f)), crs(irqNoFlags(12))),
    );
  if (c.floppies.length > 0) parts.push(floppyController(c));
  c.serialPorts.forEach((port, i) => {
    if (port)
      parts.push(
        device(`COM${i + 1}`, hid("PNP0501"), uid(i + 1), crs(ioPorts(port.base, 8, port.base, 8), irqNoFlags(port.irq))),
      );
  });
  if (c.parallelPort)
    parts.push(
      device(
        "LPT1",
        hid("PNP0400"),
        uid(1),
        crs(ioPorts(c.parallelPort.base, 8, c.parallelPort.base, 8), irqNoFlags(c.parallelPort.irq)),
      ),
    );
  return device("ISA", ...parts);
}

/** ACPI 9.9: which drives there are (`_FDE`) and their geometry (`_FDI`, as INT 13h function 8 gives it). */
function floppyController(c: PcAcpiConfig): Aml {
  const present = new ByteWriter(20);
  for (let i = 0; i < 4; i++) present.u32(c.floppies[i] ? 1 : 0);
  // No tape drive ("never present").
  present.u32(2);
  const drives = c.floppies.flatMap((f, i) =>
    f
      ? [
          device(
            `FLP${i}`,
            name("_ADR", integer(i)),
            name(
              "_FDI",
              pack(
                ...[
                  i,
                  f.cmosType,
                  f.cylinders - 1,
                  f.sectors,
                  f.heads - 1,
                  0xaf,
                  0x02,
                  0x25,
                  0x02,
                  0x12,
                  0x1b,
                  0xff,
                  0x6c,
                  0xf6,
                  0x0f,
                  0x08,
                ].map(integer),
              ),
            ),
          ),
        ]
      : [],
  );
  return device(
    "FDC0",
    hid("PNP0700"),
    crs(ioPorts(0x3f2, 4), ioPorts(0x3f7, 1), irqNoFlags(6), dmaChannel(2)),
    name("_FDE", buffer(present.finish())),
    ...drives,
  );
}

/** The four PIRQ lines as interrupt links that the operating system can route, and the fixed SCI. */
function linkDevices(c: PcAcpiConfig): Aml[] {
  const parts: Aml[] = [
    // Status and current setting from a PIRQRC value.
    method("IQST", 1, false, when(and(integer(PIRQ_DISABLED), arg(0)), ret(integer(STA_DISABLED))), ret(integer(STA_PRESENT))),
    method(
      "IQCR",
      1,
      true,
      name("PRR0", resourceTemplate(levelInterrupt(0))),
      createDwordField(ref("PRR0"), LEVEL_INTERRUPT_NUMBER, "PRRI"),
      when(lessThan(arg(0), integer(PIRQ_DISABLED)), store(arg(0), ref("PRRI"))),
      ret(ref("PRR0")),
    ),
  ];
  for (const [i, letter] of ["A", "B", "C", "D"].entries()) {
    const register = ref(`\\_SB.PCI0.ISA.PRQ${letter}`);
    parts.push(
      device(
        `LNK${letter}`,
        hid("PNP0C0F"),
        uid(i),
        name("_PRS", resourceTemplate(levelInterrupt(...PCI_IRQS))),
        method("_STA", 0, false, ret(call("IQST", register))),
        method("_DIS", 0, false, or(register, integer(PIRQ_DISABLED), register)),
        method("_CRS", 0, false, ret(call("IQCR", register))),
        method("_SRS", 1, true, createDwordField(arg(0), LEVEL_INTERRUPT_NUMBER, "PRRI"), store(ref("PRRI"), register)),
      ),
    );
  }
  const sci = resourceTemplate(levelInterrupt(c.pm.sciIrq));
  parts.push(
    device(
      "LNKS",
      hid("PNP0C0F"),
      uid(4),
      name("_PRS", sci),
      name("_CRS", sci),
      method("_STA", 0, false, ret(integer(STA_PRESENT))),
      method("_DIS", 0, false),
      method("_SRS", 1, false),
    ),
  );
  return parts;
}

/** What has addresses that PCI must not be given. */
function boardDevices(c: PcAcpiConfig): Aml[] {
  const parts: Aml[] = [
    device(
      "MRES",
      hid("PNP0C02"),
      uid(0),
      crs(
        ioPorts(c.pm.base, 0x40),
        ioPorts(c.pm.gpe0Base, c.pm.gpe0Length),
        ioPorts(0xb2, 2),
        ...(c.pciHotplug ? [ioPorts(c.pciHotplug.base, 0x18)] : []),
      ),
    ),
  ];
  if (c.hpet) parts.push(device("HPET", hid("PNP0103"), uid(0), crs(memory32Fixed(c.hpetBase, 0x400, false))));
  return parts;
}
